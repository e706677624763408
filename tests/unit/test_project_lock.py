"""Versions of uv's, Poetry's and PDM's locks, and of pylock.toml, beside a pyproject.toml."""

from __future__ import annotations

from pathlib import Path

import pytest

from packager.environments.declare.environment import read_environment
from packager.environments.declare.project_lock import of_image, read_versions
from packager.environments.declare.request import make_request
from packager.environments.dependencies import marker_words
from packager.environments.lock import LockRequest, changes
from packager.environments.solve.pylock import format_preferences
from packager.errors import SpecError
from packager.spec.load import SpecFile, load_spec
from packager.targets import load_target

UV = """
version = 1
resolution-markers = ["python_full_version >= '3.12'", "python_full_version < '3.12'"]

[[package]]
name = "churn"
version = "0.1"
source = { editable = "." }
dependencies = [{ name = "Cat_Boost" }]

[package.dev-dependencies]
dev = [{ name = "ruff" }]

[[package]]
name = "cat-boost"
version = "1.2.10"
source = { registry = "https://index.example/simple" }
dependencies = [
    { name = "numpy", version = "2.4.6", marker = "python_full_version < '3.12'" },
    { name = "ours" },
]
sdist = { url = "https://index.example/cat.tar.gz", hash = "sha256:0", size = 1 }
wheels = [
    { url = "https://index.example/cat-1.whl", hash = "sha256:0" },
    { url = "https://index.example/cat-2.whl", hash = "sha256:0" },
]

[package.optional-dependencies]
fast = [{ name = "orjson" }]

[[package]]
name = "numpy"
version = "2.4.6"
source = { registry = "https://index.example/simple" }
resolution-markers = ["python_full_version < '3.12' and sys_platform == 'win32'", "python_full_version < '3.12'"]

[[package]]
name = "numpy"
version = "2.5.5"
source = { registry = "https://index.example/simple" }
resolution-markers = ["python_full_version >= '3.12'"]

[[package]]
name = "orjson"
version = "3.1"
source = { registry = "https://index.example/simple" }

[[package]]
name = "ours"
version = "9"
source = { git = "https://git.example/ours?rev=1#1" }

[[package]]
name = "ruff"
version = "0.9"
source = { registry = "https://index.example/simple" }
"""

POETRY = """
[[package]]
name = "cat-boost"
version = "1.2.10"
optional = false
groups = ["main", "dev"]
files = [
    {file = "cat-1.whl", hash = "sha256:0"},
]

[package.dependencies]
numpy = {version = ">=2", markers = "python_version >= \\"3.11\\""}
ours = "*"

[package.extras]
fast = ["orjson"]

[[package]]
name = "numpy"
version = "2.4.6"
groups = ["main"]
markers = "python_version < \\"3.12\\""

[[package]]
name = "numpy"
version = "2.5.5"
groups = ["main"]
markers = {main = "python_version >= \\"3.12\\"", dev = "python_version == \\"3.14\\""}

[[package]]
name = "ours"
version = "9"
groups = ["main"]

[package.source]
type = "git"
url = "https://git.example/ours"

[[package]]
name = "ruff"
version = "0.9"
groups = ["dev"]
"""

PDM = """
[[package]]
name = "Cat.Boost"
version = "1.2.10"
groups = ["default"]
dependencies = [
    "numpy>=2; python_version >= \\"3.11\\"",
    "ours",
]

[[package]]
name = "numpy"
version = "2.4.6"
groups = ["default"]
marker = "python_version < \\"3.12\\""

[[package]]
name = "numpy"
version = "2.5.5"
groups = ["default"]
marker = "python_version >= \\"3.12\\""

[[package]]
name = "ours"
version = "9"
groups = ["default"]
path = "./ours"

[[package]]
name = "ruff"
version = "0.9"
groups = ["dev"]
"""

PYLOCK = """
lock-version = "1.0"

[[packages]]
name = "cat-boost"
version = "1.2.10"
index = "https://index.example/simple"

[[packages]]
name = "numpy"
version = "2.4.6"
marker = "python_full_version < '3.12'"

[[packages]]
name = "numpy"
version = "2.5.5"
marker = "python_full_version >= '3.12'"

[[packages]]
name = "ours"
vcs = { type = "git", url = "https://git.example/ours" }
"""

LOCKS = {"uv.lock": UV, "poetry.lock": POETRY, "pdm.lock": PDM, "pylock.toml": PYLOCK}


@pytest.mark.parametrize("name", LOCKS)
@pytest.mark.parametrize(("python", "numpy"), [("3.11", "2.4.6"), ("3.13", "2.5.5")])
def test_versions_of_what_is_asked_and_needed(tmp_path: Path, name: str, python: str, numpy: str) -> None:
    (tmp_path / name).write_text(LOCKS[name])
    versions = read_versions(tmp_path / name, tmp_path, ["cat-boost"])
    found = of_image(versions, marker_words(python, "linux/amd64"))
    assert found.pop("orjson", "3.1") == "3.1"
    assert found == {"cat-boost": "1.2.10", "numpy": numpy}


def test_versions_of_several_markers_that_fit_are_no_preference() -> None:
    versions = {"a": ("1 ; python_version > '3'", "2 ; sys_platform == 'linux'"), "b": ("1 ; nonsense",), "c": ("x",)}
    assert of_image(versions, marker_words("3.13", "linux/amd64")) == {}


def spec_of(folder: Path, name: str, text: str) -> SpecFile:
    (folder / "packager.yaml").write_text(
        "name: x\nversion: '1'\nentry_script: score.py\nenvironment: pyproject.toml\n"
    )
    (folder / "score.py").write_text("")
    (folder / "pyproject.toml").write_text(
        '[project]\nname = "churn"\nversion = "1"\ndependencies = ["cat_boost>=1"]\n'
    )
    (folder / name).write_text(text)
    return load_spec(folder / "packager.yaml")


def request_of(spec_file: SpecFile) -> LockRequest:
    return make_request(spec_file.spec, load_target("cpu"), read_environment(spec_file))


@pytest.mark.parametrize("name", LOCKS)
def test_another_version_in_the_projects_lock_makes_ours_stale(tmp_path: Path, name: str) -> None:
    before = request_of(spec_of(tmp_path, name, LOCKS[name]))
    assert changes(before, request_of(spec_of(tmp_path, name, LOCKS[name].replace('"0.9"', '"1.0"')))) == ()
    after = request_of(spec_of(tmp_path, name, LOCKS[name].replace("1.2.10", "1.2.11")))
    assert changes(before, after) == (
        "version of the project's lock removed: cat-boost 1.2.10",
        "version of the project's lock added: cat-boost 1.2.11",
    )


def test_it_is_said_that_they_lead(tmp_path: Path) -> None:
    environment = read_environment(spec_of(tmp_path, "uv.lock", UV))
    assert [each.partition("uv.lock:1: ")[2] for each in environment.notes] == [
        "its versions lead where they fit (3 packages)"
    ]


@pytest.mark.parametrize(
    "text",
    [
        "x = = 1",
        "package = 3",
        "[[package]]\nname = 'a'\ngroups = 3",
        "[[package]]\nname = 'cat-boost'\ndependencies = 3",
        "x = " + "[" * 5000,
    ],
)
def test_a_lock_that_cannot_be_read(tmp_path: Path, text: str) -> None:
    with pytest.raises(SpecError, match=r"uv\.lock is no lock that can be read") as caught:
        read_environment(spec_of(tmp_path, "uv.lock", text))
    assert "`uv lock`" in str(caught.value.remedy)


def test_odd_names_stay_names() -> None:
    assert 'name = "a\\"\\nb"' in format_preferences({'a"\nb': "1"})
