"""The page as values, and its text: one HTML file that fetches nothing. Pure but for reading the template itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import msgspec

from packager.finding import Finding
from packager.reports.treemap import Block, Box, Shape, draw
from packager.resources import data_folder
from packager.units import human_size

#: Units of the drawing; a browser shows it as wide as the page is.
WIDTH, HEIGHT = 1120.0, 460.0


class PackageRow(msgspec.Struct, frozen=True, kw_only=True):
    """A package of the environment.

    Attributes:
        name: as its manager knows it.
        version: exact.
        manager: `pip` or `conda`.
        license: as the package says it; empty where unknown.
        size: bytes, unpacked; None where unknown.
        why: how it is asked for, or who needs it.
    """

    name: str
    version: str
    manager: str
    license: str
    size: int | None
    why: str


class LayerRow(msgspec.Struct, frozen=True, kw_only=True):
    """A layer: what it is, how many files, bytes (None where unknown), where it comes from, and its digest."""

    title: str
    files: str
    size: int | None
    origin: str
    digest: str


class TestRow(msgspec.Struct, frozen=True, kw_only=True):
    """How a test went: times in milliseconds; `times` is how often its request was sent."""

    name: str
    differences: tuple[str, ...]
    times: int
    least: float
    median: float
    p95: float
    most: float

    __test__ = False  # for pytest: it is no test


class TestPart(msgspec.Struct, frozen=True, kw_only=True):
    """How an image did in its tests: seconds until it was healthy, why it did not start, and its tests."""

    start: float
    failure: str
    rows: tuple[TestRow, ...]

    __test__ = False


class ChangedPart(msgspec.Struct, frozen=True, kw_only=True):
    """What changed since the last push.

    Attributes:
        since: what was pushed; empty where nobody knows.
        digest: of it.
        lines: what changed, a line each; nothing where all is as it was.
        unknown: why it is not known; empty where it is.
    """

    since: str = ""
    digest: str = ""
    lines: tuple[str, ...] = ()
    unknown: str = ""


class ImagePart(msgspec.Struct, frozen=True, kw_only=True):
    """One image.

    Attributes:
        target: that it is for.
        platform: OCI os/arch.
        references: its names.
        blocks: what it is made of, by size.
        note: what of the sizes is to be known.
        layers: in their order, the base first.
        packages: the largest first.
        changed: since the last push.
        tests: None where they were not run.
        untested: why not.
        digests: name → digest.
        commands: how to run it: a heading → lines of a shell.
        config: name → value of what it runs as.
    """

    target: str
    platform: str
    references: tuple[str, ...]
    blocks: tuple[Block, ...]
    note: str
    layers: tuple[LayerRow, ...]
    packages: tuple[PackageRow, ...]
    changed: ChangedPart
    tests: TestPart | None
    untested: str
    digests: dict[str, str]
    commands: dict[str, str]
    config: dict[str, str]

    @property
    def size(self) -> int:
        """Bytes of all parts whose size is known."""
        return sum(each.size for each in self.blocks)

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """The treemap."""
        return draw(self.blocks, Box(x=0, y=0, width=WIDTH, height=HEIGHT))

    @property
    def licenses(self) -> tuple[tuple[str, int], ...]:
        """Licences and how many packages have each, the most frequent first."""
        counted = Counter(each.license or "not told" for each in self.packages)
        return tuple(sorted(counted.items(), key=lambda each: (-each[1], each[0])))


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """A package.

    Attributes:
        name: of the spec.
        version: of the spec.
        description: of the spec; empty for none.
        made: when the page was made, for people.
        by: the packager that made it.
        findings: of `packager check`.
        images: one for each target.
    """

    name: str
    version: str
    description: str
    made: str
    by: str
    findings: tuple[Finding, ...]
    images: tuple[ImagePart, ...]

    @property
    def severities(self) -> dict[str, int]:
        """How many findings there are of each severity, the worst first."""
        return {name: sum(each.severity == name for each in self.findings) for name in ("error", "warning", "info")}


def html(page: Page) -> str:
    """Return the page as text: whatever names, findings and answers hold, it is shown and never obeyed."""
    import jinja2

    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"size": _size, "share": _share, "number": _number, "counted": _counted}
    text = data_folder("templates").joinpath("report.html.j2").read_text("utf-8")
    return environment.from_string(text).render(page=page, width=WIDTH, height=HEIGHT)


def _size(size: int | None) -> str:
    return "unknown" if size is None else human_size(size)


def _share(size: int | None, whole: int) -> str:
    """Return how much of the whole a size is, in percent, for the length of a bar."""
    return "0" if not size or not whole else f"{100 * size / whole:.1f}"


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _counted(values: Iterable[object], noun: str) -> str:
    number = len(tuple(values))
    return f"{number} {noun}" + ("" if number == 1 else "s")
