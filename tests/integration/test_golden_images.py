"""Goldens built for real, without an engine, on the Python image that `scripts/engine base` makes for both platforms.

That image stands in for CPython on Debian slim, for an image with CUDA and Python, and for Vitis AI. Not built here:
goldens of conda (their channel is made up; `test_conda_image` and `test_plain_dialect` build such Dockerfiles from a
channel that is there), those with Debian packages in pinned versions, which Debian's mirrors do not keep, and those
that need a compiler.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest

from packager.dockerfile.render import quoted
from packager.spec import load_spec
from packager.targets import target_names
from tests.golden.cases import CASES, GOLDEN, rendered
from tests.integration.conftest import NO_ENGINE, RunPackager

pytestmark = pytest.mark.network


def buildable() -> list[str]:
    cases = []
    for case in CASES:
        spec = load_spec(GOLDEN / case / "input").spec
        conda = list((GOLDEN / case / "input/locks").glob("*.conda-lock.yml"))
        if not conda and not spec.system_packages and not spec.build_from_source:
            cases.append(case)
    return cases


@pytest.mark.parametrize("case", buildable())
def test_a_golden_is_built(
    case: str, tmp_path: Path, base_archive: Path, index: None, run_packager: RunPackager
) -> None:
    folder = Path(shutil.copytree(GOLDEN / case / "input", tmp_path / "input"))
    words = ("build", "--builder", "oci", "--base", f"oci-archive:{base_archive}", "--compression", "none")
    run_packager(*words, "-o", f"type=oci,dest={tmp_path / 'layout'}", cwd=folder, env=NO_ENGINE)
    image = Layout(tmp_path / "layout")
    # All that the golden Dockerfile says of the image, but for the base's own name and digest.
    golden = rendered(case)
    text = golden.texts["Dockerfile"]
    assert image.platform == golden.plan.platform
    assert f"ENTRYPOINT {json.dumps(image.config['Entrypoint'])}\n" in text
    for each in image.config["Env"]:
        name, _, value = each.partition("=")
        assert f"ENV {name}={quoted(value)}\n" in text
    for name, value in image.config["Labels"].items():
        if "image.base." not in name and not name.endswith((".created", ".revision")):
            assert f"LABEL {name}={quoted(value)}\n" in text
    files = image.files()
    assert {"opt/env/bin/python", "opt/env/bin/azmlinfsrv"} <= files.keys()
    layered = [file for file in golden.context.files if file.path.startswith("layers/")]
    assert len(layered) > 1
    for file in layered:
        assert files[file.path.split("/", 2)[2]] == file.digest


def test_every_target_is_among_them() -> None:
    assert {rendered(case).plan.target for case in buildable()} == set(target_names())


class Layout:
    """An OCI layout with one image, whose layers are not compressed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        manifest = self._json(json.loads((folder / "index.json").read_text())["manifests"][0])
        self._layers = manifest["layers"]
        document = self._json(manifest["config"])
        self.platform = f"{document['os']}/{document['architecture']}"
        self.config: dict[str, Any] = document["config"]

    def files(self) -> dict[str, str]:
        """Path → sha256 of its content (of the last layer that has it); links have that of nothing."""
        found = {}
        for each in self._layers[1:]:
            with tarfile.open(self._blob(each), "r:") as layer:
                for member in layer:
                    stream = layer.extractfile(member) if member.isreg() else None
                    found[member.name] = hashlib.sha256(stream.read() if stream else b"").hexdigest()
        return found

    def _blob(self, descriptor: dict[str, str]) -> Path:
        return self._folder / "blobs" / descriptor["digest"].replace(":", "/")

    def _json(self, descriptor: dict[str, str]) -> Any:
        return json.loads(self._blob(descriptor).read_text())
