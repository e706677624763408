"""What packager wrote of a package is no part of it; what others wrote in the same forms is. Files of tests neither."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from PIL import Image

from packager.cli.findings import sarif
from packager.context.sources import scan_sources
from packager.dockerfile.render import render
from packager.finding import Finding
from packager.reports.page import Page, html
from packager.resources import data_folder
from packager.serving.gate import Report
from packager.serving.picture import svg
from packager.serving.picture_png import png
from packager.serving.profile import Limits, Profile, Row
from packager.serving.profile_plot import picture
from packager.serving.reports import as_data, junit
from packager.spec.load import load_spec
from packager.spec.schema import json_schema, schema_text
from packager.steps import profile_outputs
from packager.steps.schema import schema
from tests.unit import context_factory as factory
from tests.unit.plans import example_plan
from tests.unit.test_sources import paths, root, scan

__all__ = ["root"]

FINDING = Finding(rule="entry-missing", severity="error", message="m", file="score.py")
REPORT = Report(image="x:1", target="cpu", platform="linux/amd64", outcomes=())
PROFILE = Profile(
    name="p",
    image="x:1",
    target="cpu",
    platform="linux/amd64",
    created="2026-01-01T00:00:00+00:00",
    cpus=4,
    machine_memory=1 << 34,
    samples=("a",),
    rows=(Row(limits=Limits(cpu=1, memory=1 << 30), reason="init() raised"),),
)
LOCKED = Path(__file__).parents[2] / "examples/diabetes"
METADATA = {"containerimage.digest": "sha256:00"}


def page() -> str:
    return html(Page(name="a", version="1", description="", made="today", by="0", findings=(FINDING,), images=()))


def pretty(data: object) -> str:
    return json.dumps(data, indent=2) + "\n"


WRITTEN = {
    "report.html": page(),
    "out/page.htm": page(),
    "junit.xml": junit([REPORT]),
    "profile.svg": svg(picture(PROFILE)),
    "check.sarif": pretty(sarif([FINDING])),
    "sarif.json": pretty(sarif([FINDING])),
    "findings.json": pretty(msgspec.to_builtins([FINDING])),
    "tests.json": pretty([as_data(REPORT)]),
    "profile.json": pretty(profile_outputs.as_data(PROFILE)),
    "one.json": pretty(METADATA),
    "several.json": pretty({"cpu": METADATA, "gpu": METADATA}),
    "az.json": pretty({"modelId": "m:1", "workspaceName": "w"}),
    "spec.json": schema_text(json_schema()),
    "build.json": schema_text(schema("build")),
    "image.id": f"sha256:{'0' * 64}",
    "Dockerfile": render(example_plan()),
    "team/packager.lock": (LOCKED / "packager.lock").read_text(),
    "locks-of/cpu.requirements.txt": (LOCKED / "locks/cpu.requirements.txt").read_text(),
    ".gitlab-ci.yml": (data_folder("templates") / "ci/gitlab.yml.j2").read_text(),
}
KEPT = {
    "index.html": "<!DOCTYPE html>\n<html>\n<head>\n<title>Mine</title>",
    "other.xml": '<?xml version="1.0"?>\n<testsuites name="pytest tests"/>',
    "other.svg": '<svg xmlns="http://www.w3.org/2000/svg"/>',
    "other.sarif": pretty({"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": []}),
    "schema.json": pretty({"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "config.yaml"}),
    "rows.json": pretty([{"target": 1, "builder": "x"}, {"rule": "a"}]),
    "named.json": pretty({"name": "a", "description": "b", "image": "c.png"}),
    "sums.sha256": f"sha256:{'0' * 64}  model.pkl\n",
    "Dockerfile.mine": "FROM scratch\n",
    "pipeline.yml": "# Made by me\n",
    "flake.lock": pretty({"nodes": {}, "version": 7}),
    "requirements.txt": "numpy==2.3.1\n",
}


def test_what_packager_wrote_is_left_out_and_what_looks_alike_is_not(root: Path) -> None:
    before = scan(root).app
    factory.write_files(root, WRITTEN)
    (root / "profile.png").write_bytes(png(picture(PROFILE)))
    sources = scan(root)
    assert sources.app == before
    assert sources.left_out == tuple(sorted({*WRITTEN, "packager.yaml", "profile.png"}))
    factory.write_files(root, KEPT)
    Image.new("RGB", (8, 8)).save(root / "other.png")
    assert paths(scan(root)) == sorted([*KEPT, "other.png", "score.py"])


def test_who_asks_for_it_gets_it(root: Path) -> None:
    factory.write_files(root, {"page/report.html": page(), ".dockerignore": "!page/report.html\n"})
    assert paths(scan(root)) == ["page/report.html", "score.py"]


# --- files of tests ---------------------------------------------------------------------------------------------------

TESTS = """
test:
  - {name: a, file: req.json, expect: {file: answers/a.json, schema: answers/schema.json}}
  - {name: b, form: {picture: {file: seven.png}, text: words}}
  - {name: c, file: score.py}
"""
SENT = {"req.json": "{}", "answers/a.json": "{}", "answers/schema.json": "{}", "seven.png": "x", "kept.json": "{}"}


@pytest.mark.parametrize(
    ("script", "more", "packaged"),
    [
        (factory.SCORE, {}, []),
        ('SAMPLE = open("req.json")\n', {}, ["req.json"]),
        ('FOLDER = Path(__file__).parent / "answers"\n', {}, ["answers/a.json", "answers/schema.json"]),
        (factory.SCORE, {"deep/helper.py": "NAMES = ['seven.png']\n"}, ["deep/helper.py", "seven.png"]),
        (factory.SCORE, {"config.yaml": "sample: req.json\n"}, ["config.yaml", "req.json"]),
        (factory.SCORE, {".dockerignore": "*.md\n!seven.png\n"}, ["seven.png"]),
    ],
)
def test_files_of_tests_are_packaged_only_where_a_script_names_them(
    tmp_path: Path, script: str, more: dict[str, str], packaged: list[str]
) -> None:
    factory.write_files(tmp_path, {**SENT, **more, "score.py": script})
    factory.write_spec(tmp_path, source_dir=".", models=())
    spec = tmp_path / "packager.yaml"
    spec.write_text(spec.read_text() + TESTS)
    found = paths(factory.scan(load_spec(spec)))
    assert found == sorted([*packaged, "kept.json", "score.py"])


OTHER = "name: other\nversion: '2'\nentry_script: score.py\nenvironment: requirements.txt\n"


@pytest.mark.parametrize(
    ("more", "packaged"),
    [
        ({"other.yaml": OTHER, "deep/packager.yml": f"# Another\n{OTHER}"}, []),
        ({"other.yaml": OTHER, "again.yaml": OTHER.replace("name: other", "name: other.yaml")}, []),
        ({"other.yaml": OTHER, "tool.py": "SPEC = 'other.yaml'\n"}, ["other.yaml", "tool.py"]),
        ({"other.yaml": OTHER, ".dockerignore": "!other.yaml\n"}, ["other.yaml"]),
        ({"chart.yaml": "name: a\nversion: 1\n", "app.yaml": f"{OTHER}color: red\n"}, ["app.yaml", "chart.yaml"]),
        ({"broken.yaml": f"{OTHER}: [\n", "latin.yaml": OTHER}, ["broken.yaml"]),
    ],
)
def test_a_spec_of_another_package_is_no_part_of_this_one(
    root: Path, more: dict[str, str], packaged: list[str]
) -> None:
    factory.write_files(root, more)
    assert paths(scan(root)) == sorted([*packaged, "score.py"])
    left = {name for name in more if name not in packaged and not name.startswith(".")}
    assert left <= set(scan(root).left_out)


def test_files_of_tests_in_a_folder_of_sources(tmp_path: Path) -> None:
    factory.write_files(tmp_path, {"src/score.py": factory.SCORE, "src/req.json": "{}", "req.json": "{}"})
    factory.write_spec(tmp_path, models=())
    spec = tmp_path / "packager.yaml"
    spec.write_text(spec.read_text() + "\ntest: [{name: a, file: src/req.json}]\n")
    sources = scan_sources(load_spec(spec), factory.read_digest)
    assert (paths(sources), sources.left_out) == (["score.py"], ("req.json",))
