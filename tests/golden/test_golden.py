"""Committed inputs give committed outputs; `pytest --update-golden` rewrites them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from packager.context.save import save
from packager.dockerfile.lint import lint
from packager.pipeline import build_context, plan_image
from packager.spec import load_spec
from packager.store import Store

CASES = sorted(path for path in Path(__file__).parent.iterdir() if (path / "input").is_dir())
OUTPUTS = ("Dockerfile", "HANDOFF.md", "packager.json")


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name)
def test_golden(case: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    folder = tmp_path / "input"
    shutil.copytree(case / "input", folder)
    spec_file = load_spec(folder)
    store = Store()
    (target,) = spec_file.spec.target_names
    planned = plan_image(spec_file, target, digest_model=store.add)
    context = build_context(planned)
    saved = save(context, spec_file.root, tmp_path / "context", store)
    for name in (*OUTPUTS, *planned.plan.files):
        text = (saved / name).read_text()
        if request.config.getoption("--update-golden"):
            (case / name).write_text(text)
        assert (case / name).read_text() == text


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name)
def test_a_golden_dockerfile_is_clean(case: Path) -> None:
    assert [finding for finding in lint((case / "Dockerfile").read_text()) if finding.level != "ignore"] == []


def test_there_are_goldens() -> None:
    assert CASES
