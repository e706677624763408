"""`import azureml…` that gives `packager.azureml…`: in a script, in a notebook, and where the real one is there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from packager.azureml import aliases


def python(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *words], cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def test_a_script_runs_as_it_is_with_its_arguments_and_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/beside.py").write_text("WORD = 'beside'\n")
    (tmp_path / "sub/script.py").write_text(
        "import sys, beside\n"
        "import azureml.core\n"
        "from azureml.core.model import Model\n"
        "from azureml.core.webservice import AciWebservice, Webservice\n"
        "from azureml.core.webservice.aks import AksWebservice\n"
        "from azureml.contrib.services.aml_request import AMLRequest, rawhttp\n"
        "from azureml.contrib.services.aml_response import AMLResponse\n"
        "from azureml.exceptions import WebserviceException\n"
        "from azureml.telemetry import set_diagnostics_collection\n"
        "from azureml.train.hyperdrive import HyperDriveConfig\n"
        "import packager.azureml.core.model as ours\n"
        "assert ours.Model is Model and azureml.core.Model is Model\n"
        "assert sys.modules['azureml.core.model'] is ours and ours.__spec__.name == 'packager.azureml.core.model'\n"
        "print(__name__, sys.argv[1:], beside.WORD, azureml.core.VERSION)\n"
    )
    done = python(tmp_path, "-m", "packager.azureml", "sub/script.py", "--n", "1")
    assert (done.stdout, done.returncode) == ("__main__ ['--n', '1'] beside 1.61.0\n", 0), done.stderr


@pytest.mark.parametrize("name", ["json", "azureml_other", "azure.ml", "packager.azureml"])
def test_other_modules_are_none_of_its_business(name: str) -> None:
    assert aliases._Finder().find_spec(name) is None


@pytest.mark.parametrize("name", ["azureml", "azureml.core.model"])
def test_a_module_of_v1_is_found(name: str) -> None:
    found = aliases._Finder().find_spec("".join(name))  # a text of its own, not the one that is interned
    assert found is not None
    assert found.name == name


def test_what_is_not_here_is_said(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text("import azureml.interpret\n")
    done = python(tmp_path, "-m", "packager.azureml", "script.py")
    assert done.returncode == 1
    assert "No module named 'azureml.interpret': packager has of Azure ML v1 what registers" in done.stderr
    assert python(tmp_path, "-m", "packager.azureml").returncode == 2


@pytest.mark.parametrize("times", [1, 2])
def test_a_notebook_installs_it_in_a_cell(tmp_path: Path, times: int) -> None:
    code = "import packager.azureml\n" + "packager.azureml.install()\n" * times + "from azureml.core import Workspace\n"
    done = python(tmp_path, "-c", code + "import sys; print(len(sys.meta_path)); print(Workspace.__module__)")
    assert done.stdout.splitlines()[1] == "packager.azureml.core.workspace", done.stderr
    assert done.stdout == python(tmp_path, "-c", code + "import sys; print(len(sys.meta_path)); "
                                 "print(Workspace.__module__)").stdout  # fmt: skip


def test_it_refuses_to_stand_beside_the_real_one(tmp_path: Path) -> None:
    (tmp_path / "azureml/core").mkdir(parents=True)
    (tmp_path / "azureml/core/__init__.py").write_text("VERSION = 'real'\n")
    done = python(tmp_path, "-c", "import azureml.core, packager.azureml; packager.azureml.install()")
    assert done.returncode == 1
    assert "azureml.core is imported already, from" in done.stderr
    assert "restart the kernel" in done.stderr
