"""What Azure ML v1's environments ask of conda, and pip can install: names and versions as values."""

from __future__ import annotations

import pytest
from packaging.requirements import Requirement

from packager.environments.declare.pip_for_conda import pip_in_place_of_conda, said
from packager.environments.declare.requirement import canonical_name
from packager.environments.names_of_conda import known_names, of_conda, same_names


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("numpy", "numpy"),
        ("numpy=1.19", "numpy==1.19.*"),
        ("numpy==1.19.5", "numpy==1.19.5"),
        ("numpy 1.19.*", "numpy==1.19.*"),
        ("numpy>=1.19,<2", "numpy>=1.19,<2"),
        ("numpy !=1.19.1", "numpy!=1.19.1"),
        ("numpy>1.19.*", "numpy>=1.19"),
        ("NumPy=*", "numpy"),
        ("matplotlib-base=3.3", "matplotlib==3.3.*"),
        ("pip==20.2.4", ""),
        ("python=3.8", ""),
    ],
)
def test_a_package_of_conda_as_pip_is_asked_for_it(asked: str, found: str) -> None:
    instead = pip_in_place_of_conda([asked], ["anaconda", "conda-forge"])
    assert instead == ((found,) if found else ())
    for each in instead:
        Requirement(each)


@pytest.mark.parametrize(
    "asked",
    [
        "lightgbm",
        "pytorch",
        "no-such-package",
        "numpy=1.19.5=py38_0",
        "numpy 1.19 py38*",
        "conda-forge::numpy",
        "numpy=1.19|1.20",
        "numpy=1.19dev_2",
        "numpy[build_number=1]",
        "numpy[subdir=linux-64]",
        "numpy==",
        "https://example.com/numpy.conda",
    ],
)
def test_conda_is_kept_where_pip_has_not_the_same(asked: str) -> None:
    assert pip_in_place_of_conda(["scipy", asked], []) is None


def test_a_channel_of_ones_own_keeps_conda_and_what_pip_names_is_pips() -> None:
    assert pip_in_place_of_conda(["numpy"], ["conda-forge", "pytorch"]) is None
    assert pip_in_place_of_conda(["numpy=1.19", "scipy"], [], ["--pre", "NumPy==1.20", "six"]) == ("scipy",)
    assert said(["a==1", "b", "c", "d", "e", "f"]).endswith("pip installs a, b, c, d, e and 1 more")


def test_the_table_has_names_as_both_write_them() -> None:
    assert not [each for each in same_names() if each != canonical_name(each)]
    assert of_conda() <= known_names().keys()
    assert not same_names() & known_names().keys()
