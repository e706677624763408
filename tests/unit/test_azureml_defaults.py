"""azureml-defaults in an environment: what it is taken for, and when it is left alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from packager.environments.declare.azureml_defaults import imports_core
from packager.environments.declare.environment import Environment, read_environment
from packager.spec import load_spec

SERVER, SCHEMA, CORE = "azureml-inference-server-http", "inference-schema", "azureml-core"
SPEC = 'name: a\nversion: "1"\nentry_script: score.py\nsource_dir: src\n'
USES_CORE = "import os\nfrom azureml.core.model import Model\n"


def read(folder: Path, environment: str, script: str = "import os\n", **files: str) -> Environment:
    (folder / "src").mkdir()
    (folder / "src/score.py").write_text(script)
    (folder / "packager.yaml").write_text(f"{SPEC}environment: {environment}\n")
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    return read_environment(load_spec(folder))


@pytest.mark.parametrize(
    "line",
    [
        *("azureml-defaults", "AzureML_Defaults>=1.0.45", "azureml-defaults!=1.0.45", "azureml-defaults>=1.40,<2"),
        *("azureml-sdk", "azureml-sdk[notebooks]>=1.40", "azureml-sdk\nazureml-defaults"),
    ],
)
def test_without_a_version_it_is_the_server_and_the_schema(tmp_path: Path, line: str) -> None:
    found = read(tmp_path, "requirements.txt", requirements__txt=f"{line}\nnumpy\n")
    assert found.requirements == (SERVER, SCHEMA, "numpy")
    (note,) = found.notes
    named = "azureml-sdk" if line == "azureml-sdk" or "[" in line else "azureml-defaults"
    assert note.startswith(f"{tmp_path / 'packager.yaml'}:5: {named} ")
    assert " is taken for azureml-inference-server-http, inference-schema (" in note
    assert "no script imports azureml.core" in note


def test_where_a_script_imports_it_the_sdk_comes_too(tmp_path: Path) -> None:
    found = read(tmp_path, "requirements.txt", USES_CORE, requirements__txt="azureml-defaults\n")
    assert found.requirements == (CORE, SERVER, SCHEMA)
    assert CORE in found.notes[0]


def test_conda_files_are_of_the_same_kind(tmp_path: Path) -> None:
    text = "dependencies:\n- python=3.12\n- numpy\n- pip:\n  - azureml-defaults\n"
    found = read(tmp_path, "environment.yml", USES_CORE, environment__yml=f"channels: [conda-forge]\n{text}")
    assert found.requirements == (CORE, SERVER, SCHEMA)
    assert any("azureml-defaults is taken for" in each for each in found.notes)


def test_the_server_of_conda_is_not_asked_of_pip(tmp_path: Path) -> None:
    conda = f"python=3.12, {SERVER}"
    found = read(tmp_path, f"{{conda: [{conda}], channels: [conda-forge], pip: [azureml-defaults]}}")
    assert found.requirements == (SCHEMA,)


@pytest.mark.parametrize(
    "line",
    [
        "azureml-sdk==1.47.0",
        "azureml-defaults==1.47.0",
        "azureml-defaults~=1.47",
        "azureml-defaults<1.50",
        "azureml-defaults==1.*",
    ],
)
def test_a_pin_is_a_pin(tmp_path: Path, line: str) -> None:
    found = read(tmp_path, f"{{pip: ['{line}']}}", USES_CORE)
    assert found.requirements == tuple(sorted((line, SERVER)))
    assert found.notes == ()


def test_a_constraint_pins_too(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        "requirements.txt",
        requirements__txt="-c bounds.txt\nazureml-defaults\n",
        bounds__txt="azureml-defaults==1.47.0\n",
    )
    assert "azureml-defaults" in found.requirements


@pytest.mark.parametrize("other", ["aiohttp==3.9.5", "zipp==3.19.0"])
def test_a_constraint_of_another_package_does_not(tmp_path: Path, other: str) -> None:
    files = {"requirements__txt": "-c bounds.txt\nazureml-defaults\n", "bounds__txt": f"{other}\n"}
    found = read(tmp_path, "requirements.txt", **files)
    assert found.requirements == (SERVER, SCHEMA)


def test_what_the_user_pins_beside_it_stays(tmp_path: Path) -> None:
    lines = f"['azureml-defaults', '{CORE}==1.60.0', '{SERVER}==1.4.1']"
    found = read(tmp_path, f"{{pip: {lines}}}", USES_CORE)
    assert found.requirements == (f"{CORE}==1.60.0", f"{SERVER}==1.4.1", SCHEMA)


@pytest.mark.parametrize(
    ("text", "needs"),
    [
        ("from azureml.core.model import Model", True),
        ("from azureml.core import Workspace", True),
        ("import azureml.core as sdk", True),
        ("from azureml import core", True),
        ("def init():\n    from azureml.core import Model\n", True),
        ("try:\n    from azureml.exceptions import UserErrorException\nexcept ImportError:\n    pass\n", True),
        ("from azureml.contrib.services.aml_request import rawhttp", False),
        ("from azureml_inference_server_http.api import x", False),
        ("import azureml.corelike", False),
        ("from .azureml.core import Model", False),
        ("'from azureml.core import Model'", False),
        ("this is no Python, but has azureml.core", False),
        ("", False),
    ],
)
def test_scripts_are_read_for_their_imports(tmp_path: Path, text: str, needs: bool) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "score.py").write_text("import lib.helper\n")
    (tmp_path / "lib/helper.py").write_text(text)
    assert imports_core(tmp_path) is needs


def test_what_is_no_script_of_the_users_is_passed_over(tmp_path: Path) -> None:
    for folder in (".venv", "env/lib/site-packages", "__pycache__"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "x.py").write_text(USES_CORE)
    (tmp_path / "folder.py").mkdir()
    (tmp_path / "large.py").write_bytes(USES_CORE.encode() + b"#" * (1 << 20))
    (tmp_path / "nul.py").write_bytes(USES_CORE.encode() + b"\0")
    assert not imports_core(tmp_path)
    assert not imports_core(tmp_path / "missing")
