"""Every example that has tests in its spec, as a newcomer builds it: its committed lock, its image, its own tests."""

from __future__ import annotations

import json
import secrets
import shutil
from pathlib import Path

import pytest

from packager.spec import load_spec
from tests.integration.conftest import RunPackager

#: The other examples are built, run and asked in test_pipeline.py, test_oci_build.py and test_readme.py.
EXAMPLES = ("multi-model", "onnx-no-code", "rawhttp-image", "registered")


@pytest.mark.engine
@pytest.mark.network
@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_passes_its_own_tests(
    name: str, checkout: Path, base_image: str, run_packager: RunPackager, removed: list[str], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(checkout / "examples" / name, tmp_path / name))
    assert run_packager("lock", "--check", cwd=folder).stdout.strip() == "fresh"
    assert "nothing found" in run_packager("check", "--fail-on", "info", cwd=folder).stderr
    reference = f"packager-test/{name}:{secrets.token_hex(4)}"
    removed.append(reference)
    run_packager("build", "--base", base_image, "--load", "-t", reference, cwd=folder)
    done = run_packager("test", "--image", reference, "--format", "json", cwd=folder)
    (report,) = json.loads(done.stdout)
    assert len(report["tests"]) == len(load_spec(folder).spec.test)
    assert all(not each["differences"] for each in report["tests"])


def test_every_example_has_tests_and_a_lock(checkout: Path) -> None:
    folders = [path.parent for path in checkout.glob("examples/*/packager.yaml")]
    assert {each.name for each in folders} >= {"diabetes", "iris-onnx", *EXAMPLES}
    for folder in folders:
        assert load_spec(folder).spec.test, folder
        assert (folder / "packager.lock").is_file()
        assert (folder / "README.md").is_file()
