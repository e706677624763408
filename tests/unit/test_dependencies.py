"""Who needs whom: `packager tree` and `why`, from metadata of both managers."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from packager.builders.base_size import base_size
from packager.cli import cli
from packager.environments.conda import CondaPackage
from packager.environments.dependencies import Dependencies, PackageFacts, dependencies
from packager.environments.lock import LockedPackage
from packager.environments.locked import LockedCondaHalf, LockedPlatform
from packager.environments.locks.status import read_inputs
from packager.laying import package_facts, package_memory
from packager.laying.package_facts import conda_facts, parse_facts, wheel_facts
from packager.laying.wheels import Source
from packager.plan.plan import Base
from packager.spec import load_spec
from packager.steps.dependencies import find_package
from packager.storage.memory import Memory
from tests.unit.oci_content import FolderContent
from tests.unit.oci_images import image_of
from tests.unit.test_oci_environment import make_wheel

#: name → bytes, and what it needs.
FACTS: dict[str, tuple[int, tuple[str, ...]]] = {
    "app": (10, ("lib>=1", "extra-lib; extra == 'more'", "win; sys_platform == 'win32'", "Odd.Name")),
    "lib": (20, ("deep<2,>=1", "app")),
    "extra-lib": (30, ("shared",)),
    "odd-name": (40, ("shared; python_version < '3.0'", "not a requirement", "absent")),
    "deep": (50, ("shared",)),
    "shared": (60, ()),
    "other": (5, ("shared==1",)),
}


def platform(*names: str, conda: tuple[CondaPackage, ...] = (), name: str = "linux/amd64") -> LockedPlatform:
    packages = tuple(LockedPackage(name=each, version="1", digests=("a" * 64,)) for each in names or FACTS)
    half = LockedCondaHalf(packages=conda, channels=(), digest="", installer="") if conda else None
    return LockedPlatform(target="cpu", platform=name, tags="", python="3.13", base="b", packages=packages, conda=half)


def example(*asked: str, **more: Any) -> Dependencies:
    facts = {name: PackageFacts(size=size, requires=needs) for name, (size, needs) in FACTS.items()}
    return dependencies(more.pop("locked", platform()), asked, facts, **more)


def needs(found: Dependencies, key: str) -> dict[str, str]:
    return {need.key: need.text for need in found.packages[key].needs or ()}


def test_markers_and_names_are_those_of_the_image() -> None:
    found = example("app")
    assert needs(found, "app") == {"lib": "lib>=1", "odd-name": "Odd.Name"}
    assert needs(found, "odd-name") == {}
    assert found.packages["app"].asked == "app"


def test_an_extra_counts_where_somebody_asks_for_it() -> None:
    assert "extra-lib" in needs(example("app[more]"), "app")
    assert "extra-lib" not in needs(example("app"), "app")


def test_an_extra_that_a_package_asks_for_counts_too() -> None:
    facts = {
        "a": PackageFacts(size=1, requires=("b[x]",)),
        "b": PackageFacts(size=1, requires=("b[y]; extra == 'x'", "c; extra == 'y'")),
        "c": PackageFacts(size=1),
    }
    found = dependencies(platform("a", "b", "c"), ["a"], facts)
    assert needs(found, "b") == {"c": "c"}


def test_a_marker_of_another_machine() -> None:
    facts = {"a": PackageFacts(size=1, requires=("b; platform_machine == 'aarch64'",))}
    for name, there in (("linux/arm64", True), ("linux/amd64", False)):
        found = dependencies(platform("a", "b", name=name), ["a"], facts)
        assert ("b" in needs(found, "a")) is there


def test_circles_end_and_sizes_count_each_package_once() -> None:
    found = example("app", "other")
    assert found.total("app") == found.total("lib") == 10 + 20 + 40 + 50 + 60
    assert [each.key for each in found.roots()] == ["app", "other", "extra-lib"]
    assert [way[-1].key for way in found.ways("shared")] == ["shared", "shared"]
    assert [[each.key for each in way] for way in found.ways("shared")] == [
        ["other", "shared"], ["app", "lib", "deep", "shared"],
    ]  # fmt: skip


def test_what_goes_with_a_package_is_what_nothing_else_needs() -> None:
    found = example("app", "other")
    assert [each.key for each in found.freed("app")] == ["deep", "odd-name", "lib", "app"]
    assert [each.key for each in found.freed("other")] == ["other"]
    assert [each.key for each in found.freed("deep")] == ["deep"]


def test_a_package_that_nobody_looked_into() -> None:
    found = dependencies(platform("a", "b"), ["a"], {"b": PackageFacts(size=7)})
    assert (found.packages["a"].size, found.packages["a"].needs, found.unknown, found.size) == (None, None, ("a",), 7)


def conda(name: str, *depends: str) -> CondaPackage:
    url = f"https://c.example.com/x/linux-64/{name}-2-h0_0.conda"
    return CondaPackage(
        name=name, version="2", build="h0_0", platform="linux/amd64", url=url, sha256="e" * 64, depends=depends
    )


def test_both_managers_are_one_environment() -> None:
    half = (conda("python"), conda("pytorch", "python >=3.13", "__glibc >=2.17"), conda("zlib"))
    facts = {"a": PackageFacts(size=1, requires=("torch>=2", "zlib"))}
    found = dependencies(
        platform("a", "zlib", conda=half), ["a"], facts,
        conda_specs=("forge::python 3.13.*", "pytorch"), provides={"torch": "pytorch"},
    )  # fmt: skip
    assert needs(found, "a") == {"pytorch": "torch>=2", "zlib": "zlib"}
    assert needs(found, "pytorch") == {"python": "python >=3.13"}
    assert found.packages["conda:zlib"].manager == "conda"
    assert found.packages["python"].asked == "forge::python 3.13.*"


@pytest.mark.parametrize(
    ("headers", "license_"),
    [
        ("License-Expression: MIT\nLicense: x", "MIT"),
        ("Classifier: License :: OSI Approved :: BSD License\nLicense: long text", "BSD License"),
        ("Classifier: License :: OSI Approved\nLicense: Apache 2.0", "Apache 2.0"),
        ("License: UNKNOWN", ""),
        (f"License: {'all rights ' * 9}", ""),
        ("", ""),
    ],
)
def test_the_licence_of_a_package(headers: str, license_: str) -> None:
    assert parse_facts(f"Name: a\n{headers}\n\nbody: no header\n", "").license == license_


def test_facts_of_texts_that_others_made() -> None:
    record = 'a.py,sha256=x,10\n"b,c.py",,5\n__pycache__/a.pyc,,99\nbad.py,,-1\na/RECORD,,\n'
    found = parse_facts("Name: a\nRequires-Dist: b>=1\nRequires-Dist: c; extra == 'x'\n", record)
    assert (found.size, found.requires) == (15, ("b>=1", "c; extra == 'x'"))
    assert parse_facts("\0", '"never closed').size == 0


# --- wheels -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Source:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "links").mkdir()
    environ = {"PATH": "", "UV_FIND_LINKS": str(tmp_path / "links"), "UV_NO_INDEX": "1"}
    return Source.of(tmp_path, {**environ, "UV_CACHE_DIR": str(tmp_path / "uv")})


def test_a_wheel_is_looked_into_once_and_what_is_not_here_is_left_out(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = tuple(
        make_wheel(tmp_path / "links", name, {f"{name}.py": "x" * 1000}) for name in ("one", "two", "three")
    )
    gone = LockedPackage(name="gone", version="1", digests=("f" * 64,))
    locked = msgspec.structs.replace(platform(), packages=(gone, *packages), tags="x86_64-manylinux_2_28")
    found = wheel_facts(locked, source, tmp_path / "own", fetch=False)
    assert found.keys() == {"one", "two", "three"}
    assert all(1000 < each.size < 2000 for each in found.values())
    assert list((tmp_path / "own").iterdir()) == []
    asked: list[str] = []
    monkeypatch.setattr(package_facts, "unpack", lambda packages, *_: asked.extend(each.name for each in packages))
    whole = msgspec.structs.replace(locked, packages=packages)
    assert wheel_facts(whole, source, tmp_path / "own", fetch=True) == found
    assert asked == []


def test_a_damaged_note_is_as_none(source: Source, tmp_path: Path) -> None:
    package = make_wheel(tmp_path / "links", "one", {"one.py": ""})
    locked = msgspec.structs.replace(platform(), packages=(package,), tags="x86_64-manylinux_2_28")
    found = wheel_facts(locked, source, tmp_path / "own", fetch=False)
    Memory("packages").remember(b"[]", *package_memory._key(package, locked))
    assert wheel_facts(locked, source, tmp_path / "own", fetch=False) == found


def test_conda_packages_are_known_where_they_were_unpacked(tmp_path: Path) -> None:
    info = tmp_path / "conda/linux-64/zlib-2-h0_0/info"
    info.mkdir(parents=True)
    (info / "index.json").write_text('{"license": "Zlib"}')
    (info / "paths.json").write_text('{"paths": [{"size_in_bytes": 3}, {"size_in_bytes": 4}]}')
    bad = tmp_path / "conda/linux-64/bad-2-h0_0/info"
    bad.mkdir(parents=True)
    (bad / "index.json").write_text("[]")
    (bad / "paths.json").write_text("{}")
    found = conda_facts([conda("zlib"), conda("bad"), conda("absent")], "linux-64", tmp_path)
    assert found == {"zlib": PackageFacts(size=7, license="Zlib")}


# --- the verbs --------------------------------------------------------------------------------------------------------


@pytest.fixture
def diabetes(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A spec whose packages were looked into before: all are of 1 MB, and scikit-learn needs numpy."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = checkout / "examples/diabetes"
    locked = read_inputs(load_spec(folder), "cpu").locked()
    for each in locked.packages:
        requires = ("numpy>=2",) if each.name == "scikit-learn" else ()
        facts = PackageFacts(size=1_000_000, license="MIT", requires=requires)
        Memory("packages").remember(msgspec.json.encode(facts), *package_memory._key(each, locked))
    return folder


def run(*words: str | Path) -> str:
    done = CliRunner().invoke(cli, [str(each) for each in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_tree_shows_what_is_asked_for_first(diabetes: Path) -> None:
    lines = run("tree", "-f", diabetes, "--offline").splitlines()
    number = len(read_inputs(load_spec(diabetes), "cpu").locked().packages)
    assert lines[0] == f"target cpu, linux/amd64: {number} packages, {number}.0 MB"
    assert lines[1].startswith("scikit-learn ")
    assert lines[1].endswith("1.0 MB, 2.0 MB with what it needs")
    assert lines[2].startswith("└── numpy ")
    assert lines[3].startswith("azureml-inference-server-http ")
    assert not any("└──" in line for line in run("tree", "-f", diabetes, "--depth", "0").splitlines())
    assert len(run("tree", "-f", diabetes, "--flat").splitlines()) == number + 1
    (data,) = json.loads(run("tree", "-f", diabetes, "--format", "json"))
    assert (data["size"], len(data["packages"])) == (number * 1_000_000, number)


def test_why_takes_the_name_of_an_import(diabetes: Path) -> None:
    text = run("why", "sklearn", "-f", diabetes)
    assert text.splitlines()[1].startswith("  asked for by the environment: scikit-learn")
    (data,) = json.loads(run("why", "NumPy", "-f", diabetes, "--format", "json"))
    assert [each["as"] for each in data["needed_by"]] == ["numpy>=2"]
    assert data["alone"] == {"size": 1_000_000, "packages": ["numpy"]}


def test_why_of_what_is_not_there_says_what_is(diabetes: Path) -> None:
    from packager import why
    from packager.errors import UsageError

    with pytest.raises(UsageError, match="'nmpy' is not in the lock of target cpu") as caught:
        why(load_spec(diabetes), "nmpy")
    assert caught.value.remedy == "did you mean numpy?"
    assert find_package(example("app"), "ODD_name") is not None


# --- sizes in a plan --------------------------------------------------------------------------------------------------


def test_plan_tells_sizes_that_are_known(diabetes: Path) -> None:
    number = len(read_inputs(load_spec(diabetes), "cpu").locked().packages)
    text = run("plan", "-f", diabetes)
    assert f"{number} packages, {number}.0 MB" in text
    assert "largest: annotated-types 0.8.0 1.0 MB, " in text
    (data,) = json.loads(run("plan", "-f", diabetes, "--format", "json"))
    assert {each["size"] for each in data["environment"]["packages"]} == {1_000_000}
    assert data["base"]["size"] is None
    first = run("plan", "-f", diabetes, "--files").splitlines()[3]
    assert first.split() == ["1.0", "MB", "annotated-types", "0.8.0"]


def test_plan_says_that_it_knows_some_sizes_alone(
    diabetes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    locked = read_inputs(load_spec(diabetes), "cpu").locked()
    Memory("packages").forget(*package_memory._key(locked.packages[0], locked))
    text = run("plan", "-f", diabetes)
    assert "largest of those that are known: " in text
    assert " packages, " not in text


def test_plan_without_what_it_could_know_tells_none(
    diabetes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "empty"))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    text = run("plan", "-f", diabetes)
    assert "largest" not in text
    assert " packages, " not in text


def test_a_base_is_as_large_as_its_layers_where_the_store_knows_it(tmp_path: Path) -> None:
    content = FolderContent(tmp_path / "content")
    image = image_of(content, b"x" * 100, b"y" * 50)
    base = Base(reference="r.example.com/base:1", digest=image.digest, source=f"r.example.com/base@{image.digest}")
    assert base_size(base, "linux/amd64", content) is None
    for document in (image.manifest, image.config):
        content.put(io.BytesIO(document))
    assert base_size(base, "linux/amd64", content) == 150
    assert base_size(base, "linux/arm64", content) is None
