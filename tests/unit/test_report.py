"""`packager report`: a page that fetches nothing, whatever names and findings hold, and its treemap."""

from __future__ import annotations

import itertools
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import packager
from packager.contract import BASE_DIGEST_LABEL, BASE_NAME_LABEL, INPUTS_LABEL, LOCK_LABEL, TITLE_LABEL
from packager.engine.api import LocalImage
from packager.environments.declare.requirement import INFERENCE_SERVER
from packager.environments.dependencies import PackageFacts, dependencies
from packager.finding import Finding
from packager.reports.page import ChangedPart, ImagePart, LayerRow, PackageRow, Page, TestPart, TestRow, html
from packager.reports.treemap import Block, Box, draw, squarify
from packager.spec import load_spec
from packager.steps.report import blocks_of, commands_of, report
from packager.steps.stale import changes_since, remember_inputs
from tests.unit.plans import example_plan, example_spec
from tests.unit.test_dependencies import diabetes, run  # noqa: F401  (a fixture)

HOSTILE = '</title><script src="https://evil.example.com/x.js"></script>"\'&<b>'

# --- the treemap ------------------------------------------------------------------------------------------------------


def overlap(one: Box, other: Box) -> float:
    width = min(one.x + one.width, other.x + other.width) - max(one.x, other.x)
    height = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
    return max(width, 0) * max(height, 0)


@given(
    st.lists(st.integers(1, 10**10), min_size=1, max_size=30),
    st.floats(10, 2000),
    st.floats(10, 2000),
)
def test_areas_are_in_proportion_and_fill_the_drawing(sizes: list[int], width: float, height: float) -> None:
    sizes.sort(reverse=True)
    area = Box(x=3, y=5, width=width, height=height)
    boxes = squarify(sizes, area)
    whole, total = width * height, sum(sizes)
    for size, box in zip(sizes, boxes, strict=True):
        assert box.width * box.height == pytest.approx(whole * size / total, rel=1e-3, abs=whole * 1e-6)
        assert box.x >= 3 - 1e-6
        assert box.y >= 5 - 1e-6
        assert box.x + box.width <= 3 + width * (1 + 1e-6)
        assert box.y + box.height <= 5 + height * (1 + 1e-6)
    assert sum(overlap(*pair) for pair in itertools.combinations(boxes, 2)) <= whole * 1e-5


def test_equal_areas_are_squares_where_that_is_possible() -> None:
    boxes = squarify([1, 1, 1, 1], Box(x=0, y=0, width=100, height=100))
    assert [(box.width, box.height) for box in boxes] == [(50, 50)] * 4


def test_a_part_of_no_size_is_not_drawn_and_a_name_that_does_not_fit_is_cut() -> None:
    parts = [
        Block(title="a-package-with-a-very-long-name 1.0", kind="environment", size=10),
        Block(title="x 1", kind="environment", size=1),
    ]
    blocks = [Block(title="environment", kind="environment", size=11, parts=tuple(parts)),
              Block(title="empty", kind="app", size=0)]  # fmt: skip
    shapes = draw(blocks, Box(x=0, y=0, width=150, height=100))
    assert [each.group for each in shapes] == [True, False, False]
    assert shapes[1].label == "environment: a-package-with-a-very-long-name 1.0, 10 B"
    assert shapes[1].lines[0].endswith("…")
    for each in shapes:
        assert all(len(line) * 7 <= each.box.width for line in each.lines)
    assert draw([], Box(x=0, y=0, width=1, height=1)) == ()


# --- the page ---------------------------------------------------------------------------------------------------------


class Parsed(HTMLParser):
    """What a browser would make of a page: elements with their attributes, all of them closed."""

    VOID = ("meta", "br")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def example_page(text: str = "plain", **more: Any) -> Page:
    image = ImagePart(
        target=text,
        platform="linux/amd64",
        references=(f"r.example.com/{text}:1",),
        blocks=(
            Block(title=text, kind="base", size=4_000_000),
            Block(
                title="environment", kind="environment", size=9_000_000,
                parts=(Block(title=f"{text} 1", kind="environment", size=9_000_000),),
            ),
        ),
        note=text,
        layers=(LayerRow(title=text, files="1 file", size=None, origin=text, digest="sha256:" + "a" * 64),),
        packages=(
            PackageRow(name=text, version="1", manager="pip", license=text, size=10, why=text),
            PackageRow(name="b", version="2", manager="conda", license="", size=None, why="not known"),
        ),
        changed=ChangedPart(since=text, digest="sha256:1", lines=(text,)),
        tests=TestPart(
            start=1.2, failure="",
            rows=(TestRow(name=text, differences=(text,), times=3, least=1, median=2, p95=3, most=3),),
        ),
        untested="",
        digests={text: text},
        commands={text: text},
        config={text: text},
    )  # fmt: skip
    findings = (Finding(rule="r", severity="warning", message=text, file=text, line=3, remedy=text),)
    page = Page(name=text, version="1", description=text, made=text, by="0", findings=findings, images=(image,))
    return msgspec.structs.replace(page, **more)


def check_page(text: str) -> Parsed:
    """Hold a page against what it promises: whole, of one file, readable by all."""
    page = Parsed(text)
    assert page.open == []
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "link", "img", "iframe", "object", "embed", "form", "base", "b"}
    for tag, attributes in page.elements:
        assert not {name for name in attributes if name.startswith("on")}, tag
        assert (attributes.get("href") or "#").startswith("#"), "a link out of the page"
        assert "src" not in attributes
    style = text[text.index("<style>") : text.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    assert any("default-src 'none'" in (each.get("content") or "") for each in page.all("meta"))
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in page.elements:
        for name in (attributes.get("aria-labelledby") or "").split():
            assert name in ids
        if (href := attributes.get("href")) is not None:
            assert href[1:] in ids
    assert page.all("html") == [{"lang": "en"}]
    assert (len(page.all("h1")), len(page.all("main")), len(page.all("title")) > 1) == (1, 1, True)
    for drawing in page.all("svg"):
        assert drawing.get("aria-hidden") == "true" or (drawing.get("role"), "aria-labelledby" in drawing) == (
            "img",
            True,
        )
    assert all("scope" in cell for cell in page.all("th"))
    return page


def test_the_page_is_one_file_for_everybody() -> None:
    page = check_page(html(example_page()))
    for each in (
        "plain 1, 9.0 MB",
        "95th percentile",
        "warning",
        "not told",
        "FAIL",
        "(conda)",
        "r.example.com/plain:1",
    ):
        assert each in page.text


def test_whatever_others_wrote_is_shown_and_not_obeyed() -> None:
    text = html(example_page(HOSTILE))
    page = check_page(text)
    assert page.text.count("<script src=") > 10


def test_what_is_not_known_is_said() -> None:
    image = msgspec.structs.replace(
        example_page().images[0], tests=None, untested="none were run", changed=ChangedPart(unknown="no registry"),
        packages=(), blocks=(),
    )  # fmt: skip
    page = check_page(html(example_page(images=(image,), findings=(), description="")))
    assert "none were run" in page.text
    assert "Not known: no registry" in page.text
    failed = msgspec.structs.replace(image, tests=TestPart(start=0, failure="it ended", rows=()))
    assert "it ended" in check_page(html(example_page(images=(failed,)))).text


def luminance(color: str) -> float:
    parts = (int(color[at : at + 2], 16) / 255 for at in (1, 3, 5))
    linear = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_text_can_be_read_by_day_by_night_and_on_paper() -> None:
    """WCAG 2.2, 1.4.3: a contrast of 4.5 at least."""
    palettes = [dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", part)) for part in
                re.findall(r":root \{(.*?)\}", html(example_page()), re.S)]  # fmt: skip
    assert len(palettes) == 3
    for palette in palettes:
        pairs = [("text", under) for under in ("page", "soft", "base", "environment", "server", "model", "app")]
        pairs += [(over, "page") for over in ("quiet", "link", "head", "good", "bad", "warn")]
        for over, under in pairs:
            light, dark = sorted((luminance(palette[over]), luminance(palette[under])), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (over, under, palette[over], palette[under])


# --- what is shown ----------------------------------------------------------------------------------------------------


def test_the_parts_of_an_image() -> None:
    plan = example_plan()
    facts = {INFERENCE_SERVER: PackageFacts(size=7, requires=("numpy",)), "numpy": PackageFacts(size=5)}
    known = dependencies(plan.environment.locked, [INFERENCE_SERVER], facts)
    found = blocks_of(plan, known, 11)
    assert [(each.kind, each.size) for each in found[:2]] == [("base", 11), ("environment", 12)]
    assert [each.title for each in found[1].parts] == [f"{INFERENCE_SERVER} 1.5.1", "numpy 2.4.0"]
    assert [each.kind for each in found[2:]] == ["server", "model", "app"]
    assert blocks_of(plan, known, None)[0].kind == "environment"


@pytest.mark.parametrize(
    ("case", "data"),
    [
        ("request: {data: [1, it's]}", """'{"data": [1, "it'"'"'s"]}'"""),
        ("file: a request.json", "'@a request.json'"),
        (f"request: {'x' * 700}", "@request.json"),
        ("path: /swagger.json", "@request.json"),
    ],
)
def test_the_request_that_is_shown_is_one_of_the_tests(case: str, data: str) -> None:
    more = f"models: [{{path: models/m.pkl, version: 1}}]\ntest: [{{name: a, {case}}}]\n"
    commands = commands_of(example_plan(more), example_spec(more).spec.test)
    assert f" --data-binary {data} http://127.0.0.1:5001/score" in commands["A request:"]
    assert "keys" not in str(commands)
    keyed = example_plan(more + "server: {auth: key}\n")
    assert "Bearer" in commands_of(keyed, ())["A request:"]


def test_instructions_ask_as_a_test_of_the_spec_does(diabetes: Path, tmp_path: Path) -> None:  # noqa: F811
    folder = Path(shutil.copytree(diabetes, tmp_path / "diabetes"))

    def handoff() -> str:
        packager.save(packager.plan_image(load_spec(folder), "cpu"), tmp_path / "context")
        return (tmp_path / "context/HANDOFF.md").read_text()

    spec, text = folder / "packager.yaml", (folder / "packager.yaml").read_text().partition("\ntest:")[0]
    spec.write_text(text)
    assert "--data @request.json http" in handoff()
    cases = "{name: bad, request: 1, expect: {status: 400}}, {name: good, request: {data: [it's]}}"
    spec.write_text(f"{text}\ntest: [{cases}]\n")
    said = handoff()
    assert """--data '{"data": ["it'"'"'s"]}' http""" in said
    assert "the request is that of a test, in the form that the entry script takes" in said
    assert "request.json" not in said
    assert " 1 files," not in said
    (folder / "one.json").write_text('{\n  "data": 1\n}\n')
    for file, shown in (("one.json", """'{"data": 1}'"""), ("gone.json", "@request.json")):
        spec.write_text(f"{text}\ntest: [{{name: good, file: {file}}}]\n")
        assert f"--data {shown} http" in handoff()


def test_what_changed_since_an_image_was_pushed(diabetes: Path) -> None:  # noqa: F811
    spec_file = load_spec(diabetes).for_target("cpu")
    plan = packager.plan_image(load_spec(diabetes), "cpu").plan
    labels = plan.config.labels
    assert changes_since(plan, spec_file, labels) == ()
    remember_inputs(plan, spec_file)
    script = next(each for each in plan.app.tree.files if each.origin)
    files = tuple(msgspec.structs.replace(each, digest="0" * 64) if each is script else each
                  for each in plan.app.tree.files)  # fmt: skip
    app = msgspec.structs.replace(plan.app, tree=msgspec.structs.replace(plan.app.tree, files=files))
    locked = plan.environment.locked
    fewer = tuple(
        msgspec.structs.replace(each, version="9") if each.name == "numpy" else each
        for each in locked.packages
        if each.name != "idna"
    )
    changed = msgspec.structs.replace(
        plan,
        app=app,
        lock_digest="sha256:other",
        environment=msgspec.structs.replace(plan.environment, locked=msgspec.structs.replace(locked, packages=fewer)),
        config=msgspec.structs.replace(plan.config, labels={**labels, INPUTS_LABEL: "sha256:other"}),
        base=msgspec.structs.replace(plan.base, digest="sha256:new"),
    )
    lines = changes_since(changed, spec_file, labels)
    assert lines[:2] == ("src/score.py changed", "packager.lock changed")
    assert lines[2].startswith("idna: ")
    assert lines[2].endswith(" -> not there")
    assert lines[3].endswith(" -> 9")
    assert lines[4].startswith("base: ")
    elsewhere = {INPUTS_LABEL: "sha256:1", LOCK_LABEL: "sha256:2", BASE_DIGEST_LABEL: plan.base.digest}
    assert changes_since(plan, spec_file, elsewhere) == ("its inputs changed (which is known where it was built)",)


def test_the_base_is_that_of_the_image_where_it_was_built_on_another(
    diabetes: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan = packager.plan_image(load_spec(diabetes), "cpu").plan
    other, local = "sha256:" + "4" * 64, "local/python:3.13"
    labels = plan.config.labels | {BASE_NAME_LABEL: local, BASE_DIGEST_LABEL: other}
    images = {
        plan.references[0]: LocalImage(id="sha256:1", platform="linux/amd64", size=9, repo_digests=(), labels=labels),
        local: LocalImage(id=other, platform="linux/amd64", size=77, repo_digests=(), labels={}),
    }
    for module in ("packager.steps.report", "packager.builders.base_size"):
        monkeypatch.setattr(f"{module}.inspect_local", images.get)
    (shown,) = report(load_spec(diabetes), tmp_path / "page.html", offline=True).images
    base = shown.layers[0]
    assert (base.origin, base.digest, base.size) == (local, other, 77)
    assert shown.digests["base"] == other
    assert shown.digests["image id in the engine"] == "sha256:1"
    labels |= {TITLE_LABEL: "another"}
    (shown,) = report(load_spec(diabetes), tmp_path / "page.html", offline=True).images
    assert shown.digests["base"] == plan.base.digest, "the image is another package's"


def test_the_verb_writes_the_page(diabetes: Path, tmp_path: Path) -> None:  # noqa: F811
    output = tmp_path / "page.html"
    assert run("report", "-f", diabetes, "--offline", "-o", output) == f"{output}\n"
    page = check_page(output.read_text())
    for each in ("diabetes 1", "scikit-learn", "no registry was asked", "They were not run", "packager run"):
        assert each in page.text
    made = report(load_spec(diabetes), output, offline=True)
    assert [each.name for each in made.images[0].packages][:1] == ["annotated-types"]
