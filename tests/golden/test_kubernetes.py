"""Workloads give committed files of Kubernetes; `pytest --update-golden` rewrites them."""

from __future__ import annotations

from pathlib import Path

import jinja2
import msgspec
import pytest

from packager.deployment.kubernetes import render
from packager.deployment.workload import Rendering, Toleration, Wishes
from packager.resources import data_folder, program
from packager.spec.service import ServiceWishes, Tls
from tests.unit.kubernetes_workloads import CASES, PLAIN

FOLDER = Path(__file__).parent / "kubernetes"
TEMPLATES = data_folder("templates") / "deploy/kubernetes"


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


@pytest.mark.parametrize("template", sorted(path.name for path in TEMPLATES.glob("*.j2")))
def test_every_word_of_a_template_is_in_a_golden(template: str) -> None:
    """But for what an image of one's own lacks, and the tolerations of a company's nodes."""
    card = Toleration(key="example.com/card", operator="Equal", value="u200")
    bare = msgspec.structs.replace(PLAIN, service=ServiceWishes(tls=Tls(), gpu=1), tolerations=(card,), gpus="")
    bare = msgspec.structs.replace(bare, device_resource="example.com/card", needs_key=False)
    ways = (Wishes(route="gateway", gateway="a/b"), Wishes(route="ingress", host="a"), Wishes(flavor="kserve"))
    plain = msgspec.structs.replace(bare, service=ServiceWishes(gpu=1))
    renderings = [*(render(*each) for each in CASES.values()), *(render(bare, each) for each in ways)]
    renderings.append(render(plain, ways[0]))
    shown = "\n".join(each.text for rendering in renderings for each in rendering.manifests)
    tokens = jinja2.Environment().lex((TEMPLATES / template).read_text())
    words = [line.strip() for _, kind, text in tokens if kind == "data" for line in text.splitlines()]
    assert words
    assert [word for word in words if word not in shown] == []


def test_there_is_no_golden_of_nothing() -> None:
    assert {path.name for path in FOLDER.iterdir()} == set(CASES)
