from __future__ import annotations

import json
from pathlib import Path

import pytest

from packager.dockerfile.lint import lint
from packager.dockerfile.render import render
from packager.errors import SpecError
from packager.resources import data_folder
from packager.targets import load_target, read_target, target_names
from tests.unit.plans import example_plan

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.mark.parametrize("name", target_names())
def test_the_contract_of_every_target(name: str) -> None:
    target = load_target(name)
    assert target.description
    assert target.template == f"{name}.Dockerfile.j2"
    for file in target.files:
        assert (data_folder("templates") / f"{file}.j2").is_file()
    for platform in target.platforms:
        assert platform in target.wheels
    bases = {f"Python {python}": base for python, base in target.bases.items()}
    if target.cuda is not None:
        assert target.cuda.default in target.cuda.bases
        bases |= {f"CUDA {version}": base for version, base in target.cuda.bases.items()}
    if target.conda is not None and target.conda.base is not None:
        bases["conda"] = target.conda.base
    assert bases, "it has no base at all"
    for what, base in bases.items():
        assert base.digest is not None or target.resolve_bases, f"{what} is not pinned"
        assert base.tag is not None, f"{what} has no tag for people to read"
    for installer in target.conda.installers.values() if target.conda is not None else ():
        assert installer.digest is not None
    kinds = ("pip", "conda") if target.conda is not None else ("pip",)
    wanted = {(name, kind, models) for kind in kinds for models in ("one model", "several")}
    missing = wanted - {golden_kind(each) for each in GOLDEN.iterdir() if (each / "packager.json").is_file()}
    assert not missing, "goldens are what renders and lints a target"


def golden_kind(folder: Path) -> tuple[str, str, str]:
    """Target, what its packages come from, and how many models it has."""
    manifest = json.loads((folder / "packager.json").read_text())
    conda = any(file["path"] == "environment/conda-lock.yml" for file in manifest["files"])
    models = [layer for layer in manifest["layers"] if layer["name"].startswith("model-")]
    return manifest["target"], "conda" if conda else "pip", "one model" if len(models) == 1 else "several"


@pytest.mark.parametrize("name", [name for name in target_names() if load_target(name).bases])
def test_every_base_of_a_target_renders(name: str) -> None:
    target = load_target(name)
    for python, base in target.bases.items():
        text = render(example_plan(target=name, python=python, platform=target.platforms[0]))
        assert f"FROM {base} AS base" in text
        assert [finding for finding in lint(text) if finding.level != "ignore"] == []


def test_an_unknown_target_says_which_there_are() -> None:
    with pytest.raises(SpecError, match="unknown target 'tpu'") as caught:
        load_target("tpu")
    assert "cpu" in str(caught.value)
    with pytest.raises(SpecError):
        load_target("../cpu")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("template = ", "templat = "), "templat"),
        (("@sha256:", "@sha1:"), "not a sha256 digest"),
        (('"linux/amd64" = ', '"linux/riscv64" = '), "no wheel tags for linux/amd64"),
        (("[bases]", "[bases"), "compare it"),
    ],
)
def test_a_broken_target_file_is_named(tmp_path: Path, change: tuple[str, str], says: str) -> None:
    text = (data_folder("templates") / "cpu.toml").read_text()
    file = tmp_path / "own.toml"
    file.write_text(text.replace(*change))
    with pytest.raises(Exception, match=says):
        read_target(file)
    file.write_text(text)
    assert read_target(file).name == "own"


def test_a_base_without_digest_is_refused(tmp_path: Path) -> None:
    import re

    text = (data_folder("templates") / "cpu.toml").read_text()
    file = tmp_path / "own.toml"
    file.write_text(re.sub(r"@sha256:\w+", "", text))
    with pytest.raises(SpecError, match="has no digest"):
        read_target(file)
