"""Workloads give committed files for each platform; `pytest --update-golden` rewrites them."""

from __future__ import annotations

from pathlib import Path

import pytest

from packager.deployment.platforms import render_for
from packager.deployment.workload import Rendering, Wishes
from tests.unit.workloads import MACHINE, PLAIN, WHOLE

FOLDER = Path(__file__).parent / "deployments"

#: Folder → platform and workload.
CASES = {
    "compose-plain": ("compose", PLAIN),
    "compose-machine": ("compose", MACHINE),
    "quadlet-plain": ("quadlet", PLAIN),
    "quadlet-machine": ("quadlet", MACHINE),
    "aci-plain": ("aci", PLAIN),
    "aci-whole": ("aci", WHOLE),
    "iot-edge-plain": ("iot-edge", PLAIN),
    "iot-edge-machine": ("iot-edge", MACHINE),
}


def texts(rendering: Rendering) -> dict[str, str]:
    """The files, and what people are told beside them."""
    told = [*(f"unmet: {each}" for each in rendering.unmet), *(f"once: {each}" for each in rendering.secrets)]
    said = "\n".join([*told, f"apply: {rendering.apply}"])
    return {each.path: each.text for each in rendering.manifests} | {"said.txt": f"{said}\n"}


@pytest.mark.parametrize("case", CASES)
def test_golden(case: str, request: pytest.FixtureRequest) -> None:
    platform, workload = CASES[case]
    made = texts(render_for(platform, workload, Wishes(publish=8080 if case.endswith("machine") else None)))
    folder = FOLDER / case
    if request.config.getoption("--update-golden"):
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in made.items():
            (folder / name).write_text(text)
    assert {path.name: path.read_text() for path in folder.iterdir()} == made


def test_there_is_no_golden_of_nothing() -> None:
    assert {path.name for path in FOLDER.iterdir()} == set(CASES)
