"""Workloads give committed files of Kubernetes; `pytest --update-golden` rewrites them."""

from __future__ import annotations

from pathlib import Path

import pytest

from packager.deployment.kubernetes import render
from packager.deployment.workload import Rendering
from packager.resources import program
from tests.unit.kubernetes_workloads import CASES

FOLDER = Path(__file__).parent / "kubernetes"


def texts(rendering: Rendering) -> dict[str, str]:
    """The files, but for the program that one of them holds; and what people are told beside them."""
    told = [*(f"unmet: {each}" for each in rendering.unmet), *(f"once: {each}" for each in rendering.secrets)]
    own = program("pod/fetch_model.py").read_text()
    files = {each.path: each.text for each in rendering.manifests}
    if (fetcher := files.get("model-fetcher.yaml")) is not None:
        start, _, written = fetcher.partition("  fetch_model.py: |\n")
        assert "".join(line.removeprefix("    ") for line in written.splitlines(keepends=True)) == own
        files["model-fetcher.yaml"] = f"{start}  fetch_model.py: (the program)\n"
    return {**files, "said.txt": "\n".join([*told, f"apply: {rendering.apply}"]) + "\n"}


@pytest.mark.parametrize("case", CASES)
def test_golden(case: str, request: pytest.FixtureRequest) -> None:
    made = texts(render(*CASES[case]))
    folder = FOLDER / case
    if request.config.getoption("--update-golden"):
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in made.items():
            (folder / name).write_text(text)
    assert {path.name: path.read_text() for path in folder.iterdir()} == made


def test_there_is_no_golden_of_nothing() -> None:
    assert {path.name for path in FOLDER.iterdir()} == set(CASES)
