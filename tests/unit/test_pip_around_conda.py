"""pip's half around conda's: how uv is told, and what is said when both ask for different versions."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet
from packaging.utils import parse_wheel_filename

from packager.environments.conda import CondaPackage, Provided, SolvedConda, provided_by
from packager.environments.solve.pip_around_conda import (
    check_direct,
    conflicts,
    constraints,
    in_words,
    notes,
    overrides,
    stub_version,
    write_stubs,
)
from packager.environments.solve.pylock import parse_pylock
from packager.environments.uv_errors import explain
from packager.errors import LockError

GIVEN = Provided(python="3.13.5", versions={"numpy": "2.3.1", "odd": "9e", "torch": "2.5.1+cu121", "type-x": "1.0rc1"})


@pytest.mark.parametrize(
    ("version", "stub"),
    [
        ("2.3.1", "2.3.1+conda"),
        ("1.0rc1", "1.0rc1+conda"),
        ("2025.08.01", "2025.8.1+conda"),
        ("1!2.0", "1!2.0+conda"),
        ("2.5.1+cu121", "2.5.1+cu121.conda"),
        ("9e", "0+conda"),
        ("1.1.1w", "0+conda"),
    ],
)
def test_versions_of_stubs(version: str, stub: str) -> None:
    assert stub_version(version) == stub


@pytest.mark.parametrize("specifier", ["==2.3.1", "<=2.3.1", ">=2.3.1", "~=2.3", "!=2.3.0", "==2.3.*"])
def test_a_stub_fits_what_conda_fits(specifier: str) -> None:
    assert SpecifierSet(specifier).contains(stub_version("2.3.1"))


def test_stubs_are_wheels_without_dependencies(tmp_path: Path) -> None:
    write_stubs(GIVEN, tmp_path / "stubs")
    files = sorted(path.name for path in (tmp_path / "stubs").iterdir())
    assert files[0] == "numpy-2.3.1+conda-py3-none-any.whl"
    assert [parse_wheel_filename(each)[0] for each in files] == ["numpy", "odd", "torch", "type-x"]
    with zipfile.ZipFile(tmp_path / "stubs" / files[3]) as wheel:
        text = wheel.read("type_x-1.0rc1+conda.dist-info/METADATA").decode()
    assert "Name: type-x\nVersion: 1.0rc1+conda\n" in text
    assert "Requires-Dist" not in text


def test_constraints_and_overrides() -> None:
    assert constraints(GIVEN) == [
        "numpy==2.3.1+conda",
        "odd==0+conda",
        "torch==2.5.1+cu121.conda",
        "type-x==1.0rc1+conda",
    ]
    assert overrides(GIVEN) == ["odd==0+conda"], "a version that cannot be compared meets every requirement"


@pytest.mark.parametrize("text", ["numpy<2", "numpy==2.3.2", "type-x>=1.0"])
def test_a_contradiction_names_both(text: str) -> None:
    with pytest.raises(LockError) as caught:
        check_direct(["six", text], GIVEN, "linux/arm64")
    name = text.split("<")[0].split("=")[0].split(">")[0]
    assert f"conda and pip ask for different versions of {name} for linux/arm64" in caught.value.message
    assert f"pip is asked for {text}" in caught.value.message
    assert caught.value.remedy


@pytest.mark.parametrize(
    "text", ["numpy", "numpy>=2", "numpy<2 ; python_version < '3.9'", "odd>=9", "six<1", "torch==2.5.1"]
)
def test_what_does_not_contradict(text: str) -> None:
    check_direct([text], GIVEN, "linux/amd64")


def test_notes() -> None:
    assert notes(["numpy>=2", "six", "torch[opt,a]>=1"], GIVEN.versions) == (
        "numpy>=2 is not installed by pip: conda brings numpy",
        "conda brings torch, so pip does not install what its extra a, opt needs: add that to the environment",
    )


# What uv 0.9 said when pandas<2 met numpy 2.3.1 of conda, shortened.
UV = """\
error: No solution found when resolving dependencies
  cause: Because scipy==1.11.0 depends on numpy>=1.21.6,<1.28.0 and numpy==2.3.1+conda, we can conclude that
         scipy==1.11.0 cannot be used.
         And because you require scipy==1.11.0, we can conclude that your requirements are unsatisfiable.
"""


def test_uvs_explanation_in_words() -> None:
    assert conflicts(UV) == {"numpy": "2.3.1"}
    assert "and numpy 2.3.1 (of conda), we" in in_words(UV)
    error = explain(UV, platform="linux/amd64", python="3.13.5")
    assert isinstance(error, LockError)
    head = "pip's packages do not fit what conda brings (numpy 2.3.1) for Python 3.13.5 on linux/amd64:\n"
    assert error.message.startswith(head)
    assert "+conda" not in error.message
    assert "ask conda for another version of numpy" in str(error.remedy)


def test_what_has_nothing_to_do_with_conda_is_explained_as_ever() -> None:
    error = explain(UV.replace("+conda", ""), platform="linux/amd64", python="3.13")
    assert error.message.startswith("no packages fit the requirements for Python 3.13")
    assert not conflicts("a==1+condax and b==1.conda")


def test_what_conda_brings_is_left_out_of_the_answer() -> None:
    text = """\
[[packages]]
name = "NumPy"
version = "2.3.1+conda"
[[packages]]
name = "six"
version = "1"
wheels = [{url = "https://x/six-1-py3-none-any.whl", hashes = {sha256 = "%s"}}]
""" % ("a" * 64)
    found = parse_pylock(text, python="3.13", tags="x86_64-manylinux_2_28", without={"numpy"})
    assert [each.name for each in found] == ["six"]


def test_what_is_given_on_a_platform() -> None:
    def package(name: str, version: str, platform: str) -> CondaPackage:
        url = f"https://x/noarch/{name}-{version}-0.conda"
        return CondaPackage(name=name, version=version, build="0", platform=platform, url=url, sha256="a" * 64)

    solved = SolvedConda(
        packages=(
            package("python", "3.13.5", "linux/amd64"),
            package("python", "3.13.4", "linux/arm64"),
            package("pytorch", "2.5", "linux/amd64"),
        ),
        provides={"torch": "pytorch"},
    )
    assert provided_by(solved, "linux/amd64") == Provided(python="3.13.5", versions={"torch": "2.5"})
    assert provided_by(solved, "linux/arm64") == Provided(python="3.13.4")
