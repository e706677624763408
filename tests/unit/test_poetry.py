"""Poetry's table of dependencies, as requirements."""

from __future__ import annotations

from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

from packager.environments.declare.environment import Environment, read_environment
from packager.environments.declare.poetry import specifiers
from packager.environments.declare.requirement import INFERENCE_SERVER
from packager.errors import SpecError
from packager.spec import load_spec


@pytest.mark.parametrize(
    ("constraint", "expected"),
    [
        ("^1.2.3", ">=1.2.3,<2"),
        ("^1.2", ">=1.2,<2"),
        ("^0.2.3", ">=0.2.3,<0.3"),
        ("^0.0.3", ">=0.0.3,<0.0.4"),
        ("^0.0", ">=0.0,<0.1"),
        ("^0", ">=0,<1"),
        ("^2.0b1", ">=2.0b1,<3"),
        ("~1.2.3", ">=1.2.3,<1.3"),
        ("~1.2", ">=1.2,<1.3"),
        ("~1", ">=1,<2"),
        ("1.2.3", "==1.2.3"),
        ("= 1.2", "==1.2"),
        ("1.2.*", "==1.2.*"),
        ("!=1.2.*", "!=1.2.*"),
        ("*", ""),
        (">=1.0,<2.0,!=1.5", ">=1.0,<2.0,!=1.5"),
        (">= 1.0 <2.0", ">=1.0,<2.0"),
        ("~=1.4.2", "~=1.4.2"),
        ("v1.2", "==1.2"),
    ],
)
def test_constraints(constraint: str, expected: str) -> None:
    assert specifiers(constraint) == expected
    SpecifierSet(expected)


@pytest.mark.parametrize("constraint", ["^1 || ^2", "^1.2.*", "latest", ">", "^x", "1.2 - 1.4", ","])
def test_what_is_none(constraint: str) -> None:
    with pytest.raises(ValueError, match=r"alternatives|no constraint"):
        specifiers(constraint)


def read(folder: Path, table: str, more: str = "") -> Environment:
    (folder / "packager.yaml").write_text(
        'name: a\nversion: "1"\nentry_script: score.py\nenvironment: pyproject.toml\npython: "3.12"\n'
    )
    (folder / "pyproject.toml").write_text(f"[tool.poetry.dependencies]\n{table}\n{more}")
    return read_environment(load_spec(folder))


def test_the_table_is_taken_as_requirements(tmp_path: Path) -> None:
    table = """\
python = "^3.11"
Scikit_Learn = "^1.3"
pandas = {version = "2.0.3", extras = ["excel"]}
pywin32 = {version = "*", platform = "win32"}
numpy = [{version = "<2", python = "<3.13"}, {version = ">=2.1", python = ">=3.13"}]
tomli = {version = "~2.0", markers = "python_version < '3.11' or extra == 'x'", python = ">=3.8"}
boto3 = {version = "^1", optional = true}
"""
    environment = read(tmp_path, table, '[tool.poetry.group.dev.dependencies]\npytest = "*"\n')
    assert environment.requirements == (
        INFERENCE_SERVER,
        'numpy<2; python_version < "3.13"',
        'numpy>=2.1; python_version >= "3.13"',
        "pandas[excel]==2.0.3",
        'pywin32; sys_platform == "win32"',
        "scikit-learn<2,>=1.3",
        'tomli<2.1,>=2.0; (python_version < "3.11" or extra == "x") and python_version >= "3.8"',
    )


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ('six = "^1 || ^2"', "alternatives"),
        ("six = 1", "not text"),
        ('python = ">=3.8,<3.11"\nsix = "*"', "does not admit"),
        ('six = {git = "https://example.com/six"}', "a repository"),
    ],
)
def test_what_cannot_be_taken_is_said(tmp_path: Path, table: str, says: str) -> None:
    with pytest.raises(SpecError, match=says) as refused:
        read(tmp_path, table)
    assert refused.value.remedy


def test_the_table_of_the_project_goes_before_poetrys(tmp_path: Path) -> None:
    environment = read(tmp_path, 'six = "*"', '[project]\nname = "x"\ndependencies = ["idna"]\n')
    assert environment.requirements == (INFERENCE_SERVER, "idna")
