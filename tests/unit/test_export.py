from __future__ import annotations

import re
import tomllib
from pathlib import Path

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from packager.environments.conda import CondaPackage, CondaRequest, LockedConda
from packager.environments.lock import Lock, LockedPackage, LockedTarget, LockRequest, Move
from packager.environments.locked import LockedCondaHalf, LockedPlatform
from packager.environments.locks.difference import Side, difference, read_side
from packager.environments.locks.files import TargetLock, format_lock, format_requirements, parse_requirements
from packager.environments.locks.formats import environment_yml, explicit, requirements
from packager.environments.solve.pylock_export import make_pylock
from packager.errors import LockError, UsageError

AMD, ARM = "linux/amd64", "linux/arm64"


def conda(
    name: str, version: str = "1.0", *, platform: str = AMD, build: str = "h0_0", depends: tuple[str, ...] = ()
) -> CondaPackage:
    subdir = {AMD: "linux-64", ARM: "linux-aarch64"}[platform]
    return CondaPackage(
        name=name, version=version, build=build, platform=platform, depends=depends, sha256="a" * 64, md5="b" * 32,
        url=f"https://conda.example.com/forge/{subdir}/{name}-{version}-{build}.conda",
    )  # fmt: skip


def pip(name: str, version: str = "1.0", *platforms: str, digest: str = "c") -> LockedPackage:
    return LockedPackage(name=name, version=version, digests=(digest * 64,), platforms=platforms)


PYTHON = conda("python", "3.13.5", depends=("libgcc >=14", "pip"))
PIP = conda("pip", "26", depends=("python >=3.10", "setuptools"))
LOCKED = LockedPlatform(
    target="cpu", platform=AMD, tags="x86_64-manylinux_2_28", python="3.13", base="",
    conda=LockedCondaHalf(
        packages=(conda("app", depends=("python", "pip", "app", "__glibc >=2")), PIP, PYTHON, conda("libgcc")),
        channels=("https://conda.example.com/forge", "conda-forge"), digest="", installer="",
    ),
    packages=(pip("six"),), variables={"A": 'x: "y"'},
)  # fmt: skip


# --- formats ---


def test_one_platform_gets_its_part_of_a_lock() -> None:
    request = CondaRequest(specs=(), channels=("forge",), virtual_packages={})
    half = LockedConda(file="", digest="", installer="")
    asked = LockRequest(python="", platforms={AMD: "x", ARM: "y"}, requirements=(), base="", conda=request)
    lock = TargetLock(
        target="cpu",
        locked=LockedTarget(request=asked, base="", requirements="", digest="", conda=half),
        packages=(pip("six"), pip("one", "1", AMD), pip("two", "2", ARM)),
        requirements="",
        conda_packages=(PYTHON, conda("python", "3.12.1", platform=ARM)),
    )
    found = lock.on(ARM)
    assert [(each.name, each.version) for each in found.conda_packages] == [("python", "3.12.1")]
    assert found.python == "3.12"
    assert found.packages == (pip("six"), pip("two", "2"))


def test_explicit_lists_what_is_needed_first() -> None:
    lines = explicit(LOCKED).splitlines()
    assert lines[1:3] == ["# platform: linux-64", "@EXPLICIT"]
    # conda's own pattern for such a line, in its module `misc`, in our words.
    urls = [re.fullmatch(r"(https://\S+\.conda)#sha256:[0-9a-f]{64}", each) for each in lines[3:7]]
    names = [found[1].rpartition("/")[2].split("-")[0] for found in urls if found]
    assert names == ["libgcc", "python", "pip", "app"]
    assert lines[7:] == [f"# pip six==1.0 --hash=sha256:{'c' * 64}"]


@given(st.dictionaries(st.sampled_from("abcdef"), st.frozensets(st.sampled_from("abcdefg"), max_size=3)))
def test_explicit_lists_all_once_even_in_circles(graph: dict[str, frozenset[str]]) -> None:
    packages = tuple(conda(name, depends=tuple(sorted(needs))) for name, needs in graph.items())
    assert LOCKED.conda is not None
    half = msgspec.structs.replace(LOCKED.conda, packages=packages)
    lines = explicit(msgspec.structs.replace(LOCKED, conda=half, packages=())).splitlines()[3:]
    assert sorted(lines) == sorted(f"{each.url}#sha256:{each.sha256}" for each in packages)


def test_requirements_of_one_platform_have_no_markers() -> None:
    text = requirements(LOCKED)
    assert parse_requirements(text) == (pip("six"),)
    assert "do not edit" not in text


def test_environment_yml_holds_exact_versions() -> None:
    data = yaml.safe_load(environment_yml(LOCKED, "diabetes"))
    assert data == {
        "name": "diabetes",
        "channels": ["https://conda.example.com/forge", "conda-forge", "nodefaults"],
        "dependencies": [
            "app=1.0=h0_0", "libgcc=1.0=h0_0", "pip=26=h0_0", "python=3.13.5=h0_0", {"pip": ["six==1.0"]}
        ],
        "variables": {"A": 'x: "y"'},
    }  # fmt: skip


def test_environment_yml_of_pip_alone_takes_python_from_conda() -> None:
    data = yaml.safe_load(environment_yml(msgspec.structs.replace(LOCKED, conda=None), "diabetes"))
    assert data["channels"] == ["conda-forge", "nodefaults"]
    assert data["dependencies"] == ["python=3.13", "pip", {"pip": ["six==1.0"]}]


def test_pylock_of_nothing_needs_no_index(tmp_path: Path) -> None:
    text = make_pylock(msgspec.structs.replace(LOCKED, platform=ARM, packages=()), root=tmp_path)
    assert tomllib.loads(text) == {
        "lock-version": "1.0",
        "requires-python": ">=3.13",
        "created-by": "packager",
        "environments": ["sys_platform == 'linux' and platform_machine == 'aarch64'"],
    }


# --- differences ---


def moved(old: Side, new: Side) -> list[tuple[str, str, str | None, str | None]]:
    return [
        (move.manager, move.name, move.before, move.after)
        for each in difference({"cpu": old}, {"cpu": new})
        for move in each.moves
    ]


def test_what_moved_is_told_for_both_halves() -> None:
    old = Side(conda=(PYTHON, conda("gone"), conda("built")), pip=(pip("six", "1"), pip("same")))
    new = Side(conda=(conda("python", "3.13.6"), conda("built", build="h1_0")), pip=(pip("six", "2"), pip("same")))
    assert moved(old, new) == [
        ("conda", "built", "1.0 h0_0", "1.0 h1_0"),
        ("conda", "gone", "1.0", None),
        ("conda", "python", "3.13.5", "3.13.6"),
        ("pip", "six", "1", "2"),
    ]
    assert moved(old, old) == []


def test_a_half_that_a_file_says_nothing_of_is_not_compared() -> None:
    assert moved(Side(conda=(PYTHON,)), Side(conda=(PYTHON,), pip=(pip("six"),))) == []
    assert moved(Side(pip=()), Side(conda=(PYTHON,), pip=(pip("six"),))) == [("pip", "six", None, "1.0")]


def test_targets_that_only_one_lock_has() -> None:
    one, two = Side(pip=(pip("six"),)), Side(pip=(pip("six", "2"),))
    found = difference({"cpu": one, "gone": one}, {"cpu": one, "gpu": two})
    assert [(each.target, each.status, each.moves) for each in found] == [
        ("gone", "removed", (Move(name="six", before="1.0", after=None),)),
        ("gpu", "added", (Move(name="six", before=None, after="2"),)),
    ]


def test_single_targets_are_compared_whatever_their_names_are() -> None:
    found = difference({"a": Side(pip=(pip("six"),))}, {"b": Side(pip=(pip("six", "2"),))})
    assert [(each.target, each.status) for each in found] == [("b", "changed")]


def lock() -> Lock:
    request = LockRequest(python="3.13", platforms={AMD: "x86_64-manylinux_2_28"}, requirements=("six",), base="b:1")
    locked = LockedTarget(
        request=request, base=f"docker.io/library/b:1@sha256:{'0' * 64}", requirements="locks/cpu.requirements.txt",
        digest=f"sha256:{'0' * 64}",
    )  # fmt: skip
    return Lock(targets={"cpu": locked})


def nothing(_path: str) -> None:
    return None


def test_a_lock_is_read_with_the_files_that_it_names() -> None:
    text = format_requirements([pip("six")])
    files = {"locks/cpu.requirements.txt": text}
    found = read_side("x/packager.lock", format_lock(lock()), files.__getitem__)
    assert found == {"cpu": Side(pip=(pip("six"),), conda=())}
    assert read_side("locks/cpu.requirements.txt", text, files.__getitem__) == {"cpu": Side(pip=(pip("six"),))}
    with pytest.raises(LockError, match=r"locks/cpu\.requirements\.txt, which is not there"):
        read_side("packager.lock", format_lock(lock()), nothing)


def test_markers_of_a_lone_file_are_led_back_to_usual_platforms() -> None:
    text = format_requirements([pip("six", "1", AMD), pip("six", "2", ARM)])
    assert read_side("cpu.requirements.txt", text, nothing)["cpu"].pip == (pip("six", "1", AMD), pip("six", "2", ARM))


def test_what_is_no_file_of_a_lock_is_refused() -> None:
    with pytest.raises(UsageError, match="no file of a lock"):
        read_side("README.md", "", nothing)
    with pytest.raises(LockError):
        read_side("a.requirements.txt", "six>=1\n", nothing)
    with pytest.raises(LockError):
        read_side("environment.yml", "dependencies: []\n", nothing)
