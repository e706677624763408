"""Requirements that are names of imports, and builds of an index of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from packager.checks.declared import check_unlocked
from packager.environments.declare.environment import Environment
from packager.environments.declare.import_names import PACKAGES, local_build, meant
from packager.environments.declare.requirement import canonical_name
from packager.environments.lock import PackageSources
from packager.environments.solve.conda_errors import explain
from packager.environments.uv import names_indexes
from packager.finding import Finding
from packager.spec import parse_spec
from tests.unit.plans import LEAST


@pytest.mark.parametrize(
    ("name", "package"),
    [("sklearn", "scikit-learn"), ("pil", "pillow"), ("yaml", "pyyaml"), ("cv2", "opencv-python-headless")],
)
def test_the_package_of_an_import_is_named(name: str, package: str) -> None:
    assert f"ask for `{package}`" in str(meant(name))


def test_what_is_a_package_by_its_own_name_is_left_alone() -> None:
    for package in PACKAGES.values():
        assert meant(package) is None, package
    for name in ("numpy", "bs4", "imblearn", "psycopg2", "tensorflow", "sentence-transformers", "azure-core"):
        assert meant(canonical_name(name)) is None, name


def test_a_local_version_needs_an_index_of_its_own() -> None:
    assert "`+cu118` is built for an index of its own" in str(local_build("torch==2.1.0+cu118"))
    assert "`jaxlib==0.4.25`" in str(local_build('jaxlib==0.4.25+cuda12.cudnn89; python_version < "3.12"'))
    for line in ("torch==2.1.0", "torch", "torch>=2,<3", "torch==2.1.*"):
        assert local_build(line) is None, line


def test_conda_is_told_its_own_names() -> None:
    def remedy(name: str) -> str:
        message = f"Cannot solve the request because of: No candidates were found for {name} *."
        error = {"kind": "unsolvable", "message": message, "platform": "linux/amd64", "elsewhere": {}}
        return str(explain(error, {}).remedy)

    assert "`opencv`" in remedy("cv2")
    assert "`pillow`" in remedy("PIL")
    assert "spelling" in remedy("nmpy")


def doubtful(*requirements: str, more_indexes: bool = False, **sources: str) -> list[Finding]:
    spec_file = parse_spec(LEAST, Path("packager.yaml"))
    places = PackageSources(packages={name: (place,) for name, place in sources.items()})
    environment = Environment(requirements=requirements, sources=places)
    return list(check_unlocked(environment, spec_file, more_indexes=more_indexes))


def test_check_says_it_before_lock_does() -> None:
    found = doubtful("sklearn==1.2", "torch==2.1.0+cu118", "numpy")
    assert [(each.rule, each.severity) for each in found] == [("requirement-doubtful", "warning")] * 2
    assert [each.message.split("`")[1] for each in found] == ["sklearn==1.2", "torch==2.1.0+cu118"]
    assert doubtful("torch==2.1.0+cu118", more_indexes=True) == []
    assert doubtful("torch==2.1.0+cu118", torch="cu=https://example.com/cu118") == []


def test_what_names_an_index() -> None:
    assert names_indexes({"PIP_EXTRA_INDEX_URL": "https://example.com"})
    assert names_indexes({"UV_INDEX": "https://example.com"})
    assert not names_indexes({"PATH": "/bin"})
