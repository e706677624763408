"""Names and parameters of `packager.azureml` are those of azureml-core: held against the real one, installed here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from uv import find_uv_bin

from tests.integration.conftest import missing

VERSION = "1.61.0.post4"
SCRIPT = Path(__file__).with_name("v1_signatures.py")

Signatures = dict[str, dict[str, list[Any] | None]]

pytestmark = pytest.mark.network

#: What v1 has for training or Azure alone, and packager not at all: `docs/reference/azureml.md` says so.
LEFT_OUT = {
    "core.workspace:Workspace": {
        *("add_private_endpoint", "delete_connection", "delete_private_endpoint_connection", "diagnose_workspace"),
        *("get_connection", "get_default_compute_target", "get_default_keyvault", "get_run", "list_connections"),
        *("list_keys", "set_connection", "set_default_datastore", "sync_keys", "update", "update_dependencies"),
    },
    "core.model:InferenceConfig": {
        *("build_create_payload", "build_profile_payload", "validation_script_content"),
    },
    "core.environment:Environment": {"label"},
    "core.conda_dependencies:CondaDependencies": {"add_cntk_package", "get_default_number_of_packages"},
}
#: Classes of which only what scripts use is here.
PARTLY = {"core:Datastore", "core:Dataset", "core:Run", "core:Experiment", "core.compute:AksCompute"}
#: A constant of theirs is their own class's, or a text of their release.
CONFIGURATIONS = ("DeploymentConfiguration", "ContainerImageConfig")


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Signatures:
    folder = tmp_path_factory.mktemp("azureml") / "venv"
    uv = find_uv_bin()
    python = folder / "bin/python"
    try:
        for command in (
            [uv, "venv", "--quiet", "--python", sys.executable, str(folder)],
            [uv, "pip", "install", "--quiet", "--python", str(python), f"azureml-core=={VERSION}"],
        ):
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    except (OSError, subprocess.SubprocessError) as error:
        missing(f"azureml-core {VERSION} cannot be installed: {getattr(error, 'stderr', error)}"[:300])
    return read(python, "azureml")


@pytest.fixture(scope="module")
def ours() -> Signatures:
    return read(Path(sys.executable), "packager.azureml")


def read(python: Path, package: str) -> Signatures:
    done = subprocess.run(
        [python, SCRIPT, package],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        env={**os.environ, "AZUREML_LOG_DEPRECATION_WARNING_ENABLED": "False"},
    )
    found: Signatures = json.loads(done.stdout)
    return found


def test_every_method_has_the_parameters_and_defaults_of_v1(theirs: Signatures, ours: Signatures) -> None:
    different = []
    for owner, methods in ours.items():
        for name, own in methods.items():
            real = theirs[owner].get(name)
            if real is not None and own is not None and own != real:
                different.append(f"{owner}.{name}: {own} is {real} in azureml-core")
    assert "\n".join(different) == ""
    assert sum(name in theirs[owner] for owner, methods in ours.items() for name in methods) > 250


def test_no_method_of_v1_is_missing_that_is_not_left_out_on_purpose(theirs: Signatures, ours: Signatures) -> None:
    missing_ones = {}
    for owner, methods in theirs.items():
        gone = set(methods) - set(ours[owner]) - LEFT_OUT.get(owner, set())
        if owner not in PARTLY and not owner.endswith(CONFIGURATIONS) and not owner.startswith("exceptions"):
            missing_ones[owner] = gone
    assert {owner: gone for owner, gone in missing_ones.items() if gone} == {}
