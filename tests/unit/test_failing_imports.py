"""Packages that do not start with what is locked beside them, told by their wheels: NumPy, modules that are gone."""

from __future__ import annotations

from pathlib import Path

import pytest

from packager.checks.failing_imports import Start, causes, failing_imports, starts_of_app, starts_of_packages
from packager.checks.installed import Installed, WheelModules, wheel_modules
from packager.checks.known_modules import BACK, REMOVED
from packager.checks.made_for import Certain, bound_names, certain_imports, gone_imports, missing_modules, needs_numpy_1
from packager.checks.packaged import Looker
from packager.checks.wheel_contents import WheelContents
from packager.checks.wheel_walk import ways
from packager.environments.lock import LockedPackage
from packager.environments.locked import LockedPlatform
from packager.environments.solve.pip import Solved
from packager.finding import Finding
from packager.laying.wheels import Source
from packager.spec import load_spec
from packager.steps.lock import lock
from packager.storage.memory import Memory
from tests.unit.check_images import follow, installed
from tests.unit.test_checks_wheels import source, wheel, wheels

__all__ = ["source"]

# The words of `import_array()` as they stand in real wheels: of scikit-learn 1.2.2, of pandas 2.2.2, and of polars,
# whose own code asks NumPy for its API in either place.
ABI = b"module compiled against ABI version 0x%x but this version of numpy is 0x%x"
OLD = b"\x7fELF\0_ARRAY_API\0" + ABI + b"\0module compiled against API version 0x%x but this version of numpy is 0x%x\0"
NEW = b"\x7fELF\0_ARRAY_API\0" + ABI + b"\0module was compiled against NumPy C-API version 0x%x (NumPy 1.20) but the "
OTHER = b"\x7fELF\0_ARRAY_API\0numpy.core.multiarray\0"


@pytest.mark.parametrize(("data", "needs"), [(OLD, True), (NEW, False), (OTHER, False), (b"", False)])
def test_a_compiled_module_tells_for_which_numpy_it_is(data: bytes, needs: bool) -> None:
    assert needs_numpy_1(data) is needs


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("import pkg_resources", ("pkg_resources",)),
        ("import os, imp", ("imp",)),
        ("from distutils.version import LooseVersion", ("distutils",)),
        ("class A:\n    import cgi", ("cgi",)),
        ("import sys\nif sys.version_info >= (3,):\n    import telnetlib", ("telnetlib",)),
        ("try:\n    import imp\nexcept ImportError:\n    raise", ("imp",)),
        ("try:\n    import imp\nexcept KeyError:\n    pass", ("imp",)),
        ("try:\n    import imp\nexcept ImportError:\n    imp = None", ()),
        ("try:\n    import pkg_resources\nexcept Exception:\n    print()", ()),
        ("from contextlib import suppress\nwith suppress(ImportError):\n    import imp", ()),
        ("import sys\nif sys.version_info < (3, 12):\n    import imp", ()),
        ("from sys import version_info as v\nif v[0] == 2:\n    import imp", ()),
        ("PY2 = False\nif PY2:\n    import imp", ()),
        ("from six import PY2\nif PY2:\n    import imp", ()),
        ("def f():\n    import imp", ()),
        ("import os.imp\nfrom . import imp\nfrom .imp import a\nfrom x import imp", ()),
        ("'''\nimport imp\n'''\nx = (", ()),
    ],
)
def test_what_a_module_certainly_imports(text: str, found: tuple[str, ...]) -> None:
    assert gone_imports(text.encode(), "one.two", "3.13", package=False) == found


def test_relative_imports_are_made_absolute() -> None:
    text = b"from . import a\nfrom .b import c\nfrom .. import d\nfrom ... import e"
    in_package = certain_imports(text, "p.q", "3.13", package=True)
    assert in_package == (Certain("p.q", ("a",)), Certain("p.q.b", ("c",)), Certain("p", ("d",)))
    in_module = certain_imports(text, "p.q", "3.13", package=False)
    assert in_module == (Certain("p", ("a",)), Certain("p.b", ("c",)))
    assert bound_names(b"from .b import c\nfrom . import d\nimport e\nimport f as g\nh = 1", "p") == {"c", "g", "h"}


@pytest.fixture
def site(tmp_path: Path) -> Path:
    files = {
        "one/__init__.py": "from .two import a\nfrom one import three\nfrom one import four",
        "one/two.py": "import other.deep",
        "one/three.py": "",
        "one/four.py": "",
        "one/fast.cpython-313-x86_64-linux-gnu.so": "",
        "one/never.py": "import one.late",
        "one/late.py": "",
        "other/__init__.py": "from .deep import four\n",
        "other/deep.py": "import one.fast\nfrom other import four\ndef four():\n    import one.never",
        "other/four.py": "",
    }
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    return tmp_path


def test_imports_are_followed_across_packages(site: Path) -> None:
    names = ("one.fast", "one.three", "one.never", "one.late", "other.four")
    first, second = ways(
        site, [[Certain("one", ())], [Certain("one.never", ()), Certain("one", ("three",))]], names, "3"
    )
    assert first == {"one.fast": ("one", "one.two", "other.deep", "one.fast"), "one.three": ("one", "one.three")}
    assert second == {"one.never": ("one.never",), "one.late": ("one.never", "one.late")}, "once for all groups"


# --- what an environment lacks ----------------------------------------------------------------------------------------


def test_the_shortest_way_to_a_cause_is_told() -> None:
    found = causes(Installed({"fast": FAST}), locked(numpy="2.1.0", fast="1"))
    found["fast.other"] = found["fast.core"]
    starts = (Start(Certain("fast", ()), "error", "score.py", 3),)
    reached = {"fast.core": ("fast", "fast.b", "fast.c", "fast.core"), "fast.other": ("fast", "fast.other")}
    (finding,) = failing_imports(found, [(starts, reached)], locked(numpy="2.1.0", fast="1"), (), "env.yml")
    assert "fast.other of fast" in finding.message


def test_what_an_environment_lacks() -> None:
    lacks = missing_modules(installed(), {}, "3.13")
    assert {"pkg_resources", "distutils", "imp", "cgi"} <= lacks
    assert "imp" not in missing_modules(installed(), {}, "3.11")
    assert "imp" in missing_modules(installed(), {}, "3.12")
    with_setuptools = Installed({"setuptools": wheel_modules(["setuptools/__init__.py"], {})})
    assert {"pkg_resources", "distutils"} & missing_modules(with_setuptools, {"setuptools": "84"}, "3.13") == {
        "pkg_resources"
    }
    old = Installed({"setuptools": wheel_modules(["pkg_resources/__init__.py"], {})})
    assert "pkg_resources" not in missing_modules(old, {"setuptools": "80"}, "3.13")
    unseen = missing_modules(installed("setuptools", "legacy-cgi"), {"setuptools": "84"}, "3.13")
    assert not {"pkg_resources", "distutils", "cgi"} & unseen, "nobody looked into them"
    brought = Installed({"legacy-cgi": wheel_modules(["cgi.py"], {})})
    assert "cgi" not in missing_modules(brought, {"legacy-cgi": "2"}, "3.13")


def locked(python: str = "3.11", **versions: str) -> LockedPlatform:
    packages = tuple(
        LockedPackage(name=name.replace("_", "-"), version=version, digests=()) for name, version in versions.items()
    )
    return LockedPlatform(target="cpu", platform="linux/amd64", tags="", python=python, base="", packages=packages)


FAST = WheelModules(modules=("fast", "fast.core"), for_numpy_1=("fast.core",))
SLOW = WheelModules(
    modules=("slow", "slow.build"),
    gone={"slow": ("pkg_resources",), "slow.build": ("distutils",)},
    at_once=("slow",),
)


def test_a_cause_is_a_module_that_cannot_load_here() -> None:
    both = Installed({"fast": FAST, "slow": SLOW})
    numpy = ("fast.core", ("fast", "numpy"))
    lost = ("slow", ("slow", "pkg_resources"))
    assert dict([numpy, lost]) == causes(both, locked(numpy="2.1.0", fast="1", slow="1"))
    assert dict([lost]) == causes(both, locked(numpy="1.26.4", fast="1", slow="1"))
    assert dict([lost]) == causes(both, locked(fast="1", slow="1")), "no NumPy at all"
    assert dict([numpy]) == causes(both, locked(numpy="2.1.0", fast="1", slow="1"), told={"slow"})
    named = (Start(Certain("slow.build", ()), "error", "score.py"),)
    assert "slow.build" in causes(both, locked("3.12", slow="1"), imported=named)
    assert "slow.build" not in causes(both, locked("3.11", slow="1"), imported=named), "Python 3.11 has distutils"


def test_what_the_app_imports_for_certain_is_a_start() -> None:
    text = "import numpy\nfrom sklearn import linear_model\ntry:\n    import joblib\nexcept ImportError: pass\n"
    image, reached = follow({"score.py": text + "def init():\n    import six\ndef helper():\n    import azure.core\n"})
    starts = starts_of_app(image, reached, "locks")
    ours = [(each.statement, each.line) for each in starts if each.file == "src/score.py"]
    assert ours == [(Certain("numpy", ()), 1), (Certain("sklearn", ("linear_model",)), 2), (Certain("six", ()), 7)]
    assert any(each.statement.module.startswith("azureml_inference_server_http") for each in starts)
    tops = starts_of_packages(installed(), ("scikit-learn==1.2.2", "azure-core", "not-there"), "locks")
    assert [each.statement.module for each in tops] == ["sklearn", "azure"]


@pytest.mark.parametrize(
    ("python", "requirements", "missing", "says"),
    [
        ("3.11", (), "numpy", "ask for `numpy<2` in env.yml and run `packager lock`, or for a newer fast"),
        ("3.11", ("numpy==2.1",), "numpy", "ask for `numpy<2` in place of your `numpy==2.1` in env.yml and run"),
        ("3.13", (), "numpy", 'or for `numpy<2`, with `python: "3.12"`: NumPy 1 has no wheel for Python 3.13'),
        ("3.13", (), "pkg_resources", "ask for `setuptools<81` in env.yml"),
        ("3.13", ("setuptools",), "distutils", "ask for `setuptools<81` in env.yml"),
        ("3.13", (), "cgi", "ask for `legacy-cgi` in env.yml"),
        ("3.13", (), "imp", 'ask for a newer fast in env.yml and run `packager lock`, or set `python: "3.11"`'),
    ],
)
def test_the_advice_can_be_followed(python: str, requirements: tuple[str, ...], missing: str, says: str) -> None:
    found = causes(Installed({"fast": FAST}), locked(numpy="2.1.0", fast="1"))
    found = {module: cause._replace(missing=missing) for module, cause in found.items()}
    starts = (Start(Certain("fast", ()), "error", "score.py", 3),)
    way = {"fast.core": ("fast", "fast.core")}
    here = locked(python, numpy="2.1.0", fast="1")
    (finding,) = failing_imports(found, [(starts, way), (starts, way)], here, requirements, "env.yml")
    assert says in str(finding.remedy)
    assert (finding.rule, finding.severity, finding.file, finding.line) == (
        "package-import-fails",
        "error",
        "score.py",
        3,
    )


def test_a_package_that_brings_a_module_back_is_known_for_modules_that_are_gone() -> None:
    assert BACK.keys() <= REMOVED.keys()


# --- from the wheels to the finding -----------------------------------------------------------------------------------


def findings(tmp_path: Path, source: Source, requirements: tuple[str, ...], *packages: LockedPackage) -> list[Finding]:
    (tmp_path / "packager.yaml").write_text('name: a\nversion: "1"\nentry_script: s.py\nenvironment: {pip: [six]}\n')
    memory = Memory("facts", tmp_path / "memory")
    contents = WheelContents(memory, source, tmp_path / "scratch")
    looker = Looker(load_spec(tmp_path), contents, memory, offline=True, say=lambda _: None)
    lock = wheels(*packages)
    return list(looker.failing(lock, contents.known(lock), requirements))


def test_wheels_for_numpy_1_beside_numpy_2_are_found(tmp_path: Path, source: Source) -> None:
    folder = tmp_path / "wheels"
    numpy = wheel(folder, "numpy", {"numpy/__init__.py": ""}, version="2.1.0")
    files = {
        "fast/__init__.py": "from fast import core",
        "fast/core.abi3.so": OLD.decode("latin-1"),
        "fast/optional.cpython-313-x86_64-linux-gnu.so": OLD.decode("latin-1"),
    }
    fast = wheel(folder, "fast", files)
    modern = wheel(folder, "modern", {"modern.abi3.so": NEW.decode("latin-1"), "modern.py": ""})
    guarded = wheel(folder, "guarded", {"guarded.py": "try:\n    import fast\nexcept ImportError:\n    pass"})
    there = (numpy, fast, modern, guarded)
    (found,) = findings(tmp_path, source, ("fast", "modern", "numpy"), *there)
    assert (
        found.message
        == "`import fast` fails: fast.core of fast 1 was compiled for NumPy 1, and the lock has numpy 2.1.0"
    )
    assert (found.severity, found.file) == ("warning", "locks/cpu.requirements.txt")
    assert findings(tmp_path, source, ("modern", "guarded", "numpy"), *there) == [], "nothing certainly imports it"
    older = wheel(folder, "numpy", {"numpy/__init__.py": ""}, version="1.26.4")
    assert findings(tmp_path, source, ("fast",), older, fast) == []


def test_wheels_that_import_what_is_gone_are_found(tmp_path: Path, source: Source) -> None:
    folder = tmp_path / "wheels"
    files = {
        "uses/__init__.py": "from .version import v",
        "uses/version.py": "import pkg_resources",
        "uses/setup.py": "import imp",
    }
    uses = wheel(folder, "uses", files)
    above = wheel(folder, "above", {"above.py": "import uses"})
    (found,) = findings(tmp_path, source, ("above",), uses, above)
    assert (
        found.message
        == "`import above` fails: uses.version of uses 1 imports pkg_resources, which no locked package has"
    )
    new = wheel(folder, "setuptools", {"setuptools/__init__.py": ""}, version="84")
    (found,) = findings(tmp_path, source, ("above",), uses, above, new)
    assert found.message.endswith("imports pkg_resources, which the locked setuptools 84 has no longer")
    old = wheel(folder, "setuptools", {"pkg_resources/__init__.py": ""}, version="80")
    assert findings(tmp_path, source, ("above",), uses, above, old) == []


def test_what_a_rule_has_told_is_not_told_again(tmp_path: Path, source: Source) -> None:
    uses = wheel(tmp_path / "wheels", "featuretools", {"featuretools.py": "import pkg_resources"})
    assert findings(tmp_path, source, ("featuretools",), uses) == []


class Solves:
    """Stands for uv: answers with packages."""

    def __init__(self, *packages: LockedPackage) -> None:
        self.packages = packages

    def solve(self, *_: object) -> Solved:
        return Solved(packages=tuple(sorted(self.packages, key=lambda each: each.name)))


def test_lock_says_it_where_the_wheels_are_here(
    tmp_path: Path, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    uses = wheel(tmp_path / "wheels", "uses", {"uses.py": "import pkg_resources"})
    for name, value in source.environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("packager.steps.lock.UvSolver", lambda _: Solves(uses))
    (tmp_path / "packager.yaml").write_text('name: a\nversion: "1"\nentry_script: s.py\nenvironment: {pip: [uses]}\n')
    notes = lock(load_spec(tmp_path)).notes
    assert any(
        "uses of uses 1 imports pkg_resources, which no locked package has (ask for `set" in each for each in notes
    )
    assert lock(load_spec(tmp_path)).notes == (), "nothing moved"
