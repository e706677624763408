"""One image, planned: its plan with the texts and folders that whoever executes it needs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from packager.plan.plan import Dialect, Plan


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """One image, planned.

    Attributes:
        plan: of the image.
        spec: absolute path of the spec; the origins of files are relative to its folder.
        requirements: text of the hashed requirements.
        conda: text of the conda-lock file; empty for an environment of pip alone.
        secrets: paths below the source directory that are not packaged because secrets are kept there.
        request: body of a test of the spec, as JSON on one line; empty where none has a short one.
        created: when the lock last changed, in seconds since the epoch; None of one that does not say.
    """

    plan: Plan
    spec: Path
    requirements: str
    conda: str = ""
    secrets: tuple[str, ...] = ()
    request: str = ""
    created: int | None = None

    @property
    def root(self) -> Path:
        """The folder of the spec."""
        return self.spec.parent

    @property
    def templates(self) -> Path:
        """The folder of the user's templates; it need not be there."""
        return self.root / "templates"

    def in_dialect(self, dialect: Dialect | None) -> Planned:
        """Return the image as it is planned for builders of another dialect; None leaves that of the spec."""
        if dialect is None or dialect == self.plan.dialect:
            return self
        return msgspec.structs.replace(self, plan=msgspec.structs.replace(self.plan, dialect=dialect))


def by_references(planned: Iterable[Planned]) -> tuple[tuple[Planned, ...], ...]:
    """Return the plans of a target together that write the same tags: they are one image for several platforms."""
    images: dict[tuple[str, ...], list[Planned]] = {}
    for one in planned:
        images.setdefault(one.plan.references, []).append(one)
    return tuple(tuple(platforms) for platforms in images.values())
