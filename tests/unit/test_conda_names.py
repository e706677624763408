"""Which PyPI names conda packages stand for."""

from __future__ import annotations

import pytest

from packager.environments.names_of_conda import known_names
from packager.environments.solve.conda_names import Named, provides

PYTHON = ("python >=3.13,<3.14.0a0", "python_abi 3.13.* *_cp313")


def of(*packages: Named, **names: str) -> dict[str, str]:
    return provides(packages, names)


def test_the_records_own_purls_go_first() -> None:
    mine = Named(name="python-flatbuffers", purls=("pkg:conda/x@1", "pkg:pypi/FlatBuffers@25?a=b"), noarch="python")
    assert of(mine, **{"python-flatbuffers": "wrong"}) == {"flatbuffers": "python-flatbuffers"}


def test_several_purls() -> None:
    mine = Named(name="opencv", purls=("pkg:pypi/opencv-python", "pkg:pypi/opencv_python_headless"))
    assert of(mine) == {"opencv-python": "opencv", "opencv-python-headless": "opencv"}


def test_the_users_map_goes_before_ours() -> None:
    mine = Named(name="pytorch", depends=PYTHON)
    assert of(mine) == {"torch": "pytorch"}
    assert of(mine, pytorch="My_Torch") == {"my-torch": "pytorch"}
    assert of(mine, pytorch="") == {}


@pytest.mark.parametrize(
    ("noarch", "depends", "expected"),
    [
        ("python", (), True),
        ("", PYTHON, True),
        ("", ("python",), True),
        ("generic", ("python_abi 3.13.*",), True),
        ("", ("python[version='>=3']",), True),
        ("generic", (), False),
        ("", ("libgcc >=13", "python-dateutil"), False),
        ("", ("pythonnet >=3",), False),
    ],
)
def test_the_same_name_is_believed_of_python_packages_alone(
    noarch: str, depends: tuple[str, ...], expected: bool
) -> None:
    assert of(Named(name="Typing_extensions", noarch=noarch, depends=depends)) == (
        {"typing-extensions": "Typing_extensions"} if expected else {}
    )


def test_python_itself_is_nothing_of_pypis() -> None:
    assert of(Named(name="python", depends=("python_abi 3.13.*",)), Named(name="python_abi", depends=("python",))) == {}


def test_of_several_the_one_with_the_very_name_stands_for_it() -> None:
    split = [Named(name=name, purls=("pkg:pypi/dask",)) for name in ("dask-core", "dask", "dask-expr")]
    assert of(*split) == of(*reversed(split)) == {"dask": "dask"}
    assert of(split[2], split[0]) == {"dask": "dask-core"}


def test_a_package_of_two_platforms_counts_once() -> None:
    mine = Named(name="numpy", depends=PYTHON)
    assert of(mine, mine) == {"numpy": "numpy"}


def test_our_map_is_in_order() -> None:
    names = known_names()
    assert list(names) == sorted(names)
    assert names["python-graphviz"] == "graphviz"
