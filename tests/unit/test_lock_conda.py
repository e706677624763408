"""The step `lock` with a conda half: what is solved when, what is kept, and what is said; solvers made of values."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from msgspec import UNSET

from packager.cli.lock import command
from packager.environments.conda import CondaPackage, CondaRequest, LockedConda, Provided, SolvedConda
from packager.environments.declare.requirement import requirement_name
from packager.environments.lock import LockedPackage, LockRequest, Move, changes, conda_moves
from packager.environments.locks.files import format_lock, parse_lock, read_lock
from packager.environments.locks.status import lock_status, read_inputs
from packager.environments.locks.update import LockResult, update_lock
from packager.environments.solve.pip import Solved, Upgrade
from packager.errors import LockError, PackagerError, UsageError
from packager.reference import Reference
from packager.resources import data_folder
from packager.spec import load_spec
from packager.targets import Target, load_target

AMD, ARM = "linux/amd64", "linux/arm64"
DIGEST = "sha256:" + "d" * 64
SPEC = """\
name: a
version: "1"
entry_script: score.py
environment: environment.yml
targets: {cpu: {platforms: [linux/amd64, linux/arm64]}}
"""
ENVIRONMENT = """\
channels: [https://conda.example.com/forge]
dependencies:
- python=3.13
- numpy
- pip:
  - six
  - numpy>=2
"""


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def package(name: str, version: str, platform: str, build: str = "0") -> CondaPackage:
    return CondaPackage(
        name=name,
        version=version,
        build=build,
        platform=platform,
        url=f"https://conda.example.com/forge/noarch/{name}-{version}-{build}.conda",
        sha256=digest(f"{name}{version}{build}"),
        md5="0" * 32,
        depends=(),
    )


class FakeConda:
    """Brings each package that is asked for, in version 3.13.5 if it says nothing else."""

    tools = ("no-such-project",)

    def __init__(self, **versions: str) -> None:
        self.versions = versions
        self.asked: list[tuple[CondaRequest, tuple[CondaPackage, ...], Upgrade, bool]] = []
        self.stopped = False

    def solve(
        self,
        request: CondaRequest,
        held: tuple[CondaPackage, ...],
        upgrade: Upgrade,
        offline: bool,
        before: CondaRequest | None = None,
    ) -> SolvedConda:
        self.asked.append((request, held, upgrade, offline))
        names = sorted({each.replace("=", " ").split(" ")[0] for each in request.specs})
        return SolvedConda(
            packages=tuple(
                package(name, self.versions.get(name, "3.13.5"), platform)
                for name in names
                for platform in sorted(request.virtual_packages)
            ),
            provides={name: name for name in names if name != "python"},
        )

    def stop(self) -> None:
        self.stopped = True


class FakePip:
    """Answers with version 1 of each requirement that conda does not bring."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str | None, Provided | None]] = []

    def solve(
        self,
        request: LockRequest,
        platform: str,
        preferences: str | None,
        upgrade: Upgrade,
        offline: bool,
        provided: Provided | None = None,
    ) -> Solved:
        self.asked.append((platform, preferences, provided))
        versions = provided.versions if provided else {}
        names = sorted({requirement_name(each) for each in request.requirements})
        found = (
            LockedPackage(name=name, version="1", digests=(digest(name),)) for name in names if name not in versions
        )
        return Solved(packages=tuple(found))


class Nobody:
    """For what must not be solved."""

    tools = ()

    def solve(self, *_: Any) -> Any:
        raise AssertionError("nothing is to be solved")


def no_registry(reference: Reference) -> str:
    raise AssertionError(f"{reference} is not to be asked for")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "packager.yaml").write_text(SPEC)
    (tmp_path / "environment.yml").write_text(ENVIRONMENT)
    return tmp_path


def run(folder: Path, **options: Any) -> LockResult:
    options = {"solver": Nobody(), "conda": Nobody(), "resolve_base": no_registry, **options}
    return update_lock(load_spec(folder), **options)


def make(folder: Path, **options: Any) -> LockResult:
    return run(folder, **{"solver": FakePip(), "conda": FakeConda(), **options})


def environment(folder: Path, before: str, after: str) -> None:
    path = folder / "environment.yml"
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def flavours(*names: str) -> Callable[[str], Target]:
    def load(name: str) -> Target:
        assert name in names
        return msgspec.structs.replace(load_target("cpu"), name=name)

    return load


# --- what is solved, and kept ---


def test_the_first_lock_writes_three_files(folder: Path) -> None:
    conda, pip = FakeConda(), FakePip()
    result = run(folder, conda=conda, solver=pip)
    assert result.written == ("locks/cpu.requirements.txt", "locks/cpu.conda-lock.yml", "packager.lock")
    ((request, held, upgrade, offline),) = conda.asked
    assert (held, upgrade, offline) == ((), Upgrade(), False)
    assert list(request.virtual_packages) == [AMD, ARM], "all platforms in one solve"
    given = Provided(python="3.13.5", versions={"numpy": "3.13.5"})
    assert sorted(pip.asked, key=str) == [(AMD, None, given), (ARM, None, given)]
    assert result.changes["cpu"] == (
        Move(name="numpy", before=None, after="3.13.5", manager="conda"),
        Move(name="python", before=None, after="3.13.5", manager="conda"),
        Move(name="azureml-inference-server-http", before=None, after="1"),
        Move(name="six", before=None, after="1"),
    )
    assert result.notes == ("numpy>=2 is not installed by pip: conda brings numpy",)
    assert "no-such-project" not in result.lock.tools
    locked = result.lock.targets["cpu"]
    target = load_target("cpu").conda
    assert target
    assert isinstance(locked.conda, LockedConda)
    assert locked.conda.provides == {"numpy": "numpy"}
    assert locked.conda.installer == str(target.installers["rattler"])
    assert locked.base == str(target.base)
    assert result.installers == {"cpu": (None, locked.conda.installer)}


def test_what_was_locked_is_read(folder: Path) -> None:
    make(folder)
    spec_file = load_spec(folder)
    lock = read_inputs(spec_file, "cpu").lock
    found, text = lock.conda_packages, lock.conda_text
    assert [each.name for each in lock.packages] == ["azureml-inference-server-http", "six"]
    assert [(each.name, each.platform) for each in found] == [
        ("numpy", AMD),
        ("numpy", ARM),
        ("python", AMD),
        ("python", ARM),
    ]
    assert text == (folder / "locks/cpu.conda-lock.yml").read_text()
    assert lock_status(spec_file) == {"cpu": ()}


def test_nothing_changed_means_no_solver_no_network_and_no_file_written(folder: Path) -> None:
    make(folder)
    before = snapshot(folder)
    result = run(folder)
    assert (result.changed, result.written, result.changes, result.notes) == (False, (), {"cpu": ()}, ())
    assert (result.bases, result.installers) == ({}, {})
    assert snapshot(folder) == before


def test_only_pip_changed_keeps_the_conda_half(folder: Path) -> None:
    make(folder)
    environment(folder, "  - six\n", "  - six\n  - flask\n")
    pip = FakePip()
    result = run(folder, solver=pip)
    assert result.written == ("locks/cpu.requirements.txt", "packager.lock")
    assert result.changes["cpu"] == (Move(name="flask", before=None, after="1"),)
    assert [each[2].python for each in pip.asked if each[2]] == ["3.13.5", "3.13.5"]


def test_only_conda_changed_solves_pip_anew_and_prefers_what_was(folder: Path) -> None:
    make(folder)
    text = (folder / "locks/cpu.requirements.txt").read_text()
    environment(folder, "- numpy\n", "- numpy\n- scipy\n")
    conda, pip = FakeConda(), FakePip()
    result = run(folder, conda=conda, solver=pip)
    assert [each.name for each in conda.asked[0][1]] == ["numpy", "numpy", "python", "python"], "held so far"
    assert {each[1] for each in pip.asked} == {text}
    assert result.written == ("locks/cpu.conda-lock.yml", "packager.lock")
    assert result.changes["cpu"] == (Move(name="scipy", before=None, after="3.13.5", manager="conda"),)


def test_what_conda_now_brings_leaves_pips_half(folder: Path) -> None:
    make(folder)
    environment(folder, "- numpy\n", "- numpy\n- six\n")
    result = make(folder)
    assert result.changes["cpu"] == (
        Move(name="six", before=None, after="3.13.5", manager="conda"),
        Move(name="six", before="1", after=None),
    )
    assert "six is not installed by pip: conda brings six" in result.notes


@pytest.mark.parametrize(
    ("upgrade", "expected"),
    [
        (Upgrade(all=True), [Upgrade(all=True)]),
        (Upgrade(names=("numpy",)), [Upgrade(names=("numpy",))]),
        (Upgrade(names=("six",)), []),
        (Upgrade(names=("python", "six")), [Upgrade(names=("python",))]),
    ],
)
def test_upgrades_reach_the_half_that_they_concern(folder: Path, upgrade: Upgrade, expected: list[Upgrade]) -> None:
    make(folder)
    conda, pip = FakeConda(numpy="9"), FakePip()
    result = run(folder, conda=conda, solver=pip, upgrade=upgrade)
    assert [each[2] for each in conda.asked] == expected
    assert len(pip.asked) == 2
    moved = (Move(name="numpy", before="3.13.5", after="9", manager="conda"),)
    assert result.changes["cpu"] == (moved if expected else ())


def test_an_upgrade_of_what_is_not_locked(folder: Path) -> None:
    make(folder)
    with pytest.raises(UsageError, match="'nmpy'"):
        run(folder, upgrade=Upgrade(names=("nmpy",)))


def test_targets_that_ask_the_same_of_conda_share_one_solve(folder: Path) -> None:
    (folder / "packager.yaml").write_text(
        SPEC.replace("targets: {cpu", "targets: {one: {platforms: [linux/amd64]}, two")
    )
    conda = FakeConda()
    load = flavours("one", "two", "three")
    make(folder, conda=conda, load=load)
    assert [list(each[0].virtual_packages) for each in conda.asked] == [[AMD], [AMD, ARM]], "other platforms: another"
    text = SPEC.replace(
        "targets: {cpu", "targets: {one: {platforms: [linux/amd64]}, three: {platforms: [linux/amd64]}, two"
    )
    (folder / "packager.yaml").write_text(text)
    result = run(folder, load=load)
    assert result.written[:2] == ("locks/three.requirements.txt", "locks/three.conda-lock.yml"), "lent by another"
    one, three = (result.lock.targets[name].conda for name in ("one", "three"))
    assert isinstance(one, LockedConda)
    assert isinstance(three, LockedConda)
    assert one.digest == three.digest


def test_a_cuda_of_the_target_is_a_solve_of_its_own(folder: Path) -> None:
    make(folder)
    cuda = SPEC.replace("arm64]", 'arm64], virtual_packages: {__cuda: "12.4"}')
    (folder / "packager.yaml").write_text(cuda)
    assert lock_status(load_spec(folder)) == {
        "cpu": tuple(f"virtual package __cuda ({each}): none -> 12.4" for each in (AMD, ARM))
    }
    conda = FakeConda()
    make(folder, conda=conda)
    assert conda.asked[0][0].virtual_packages[ARM]["__cuda"] == "12.4"


def test_without_a_solver_for_conda(folder: Path) -> None:
    with pytest.raises(PackagerError, match="no solver for conda"):
        run(folder, conda=None)


def test_a_failed_solve_changes_nothing_and_names_the_target(folder: Path) -> None:
    make(folder)
    environment(folder, "- numpy\n", "- scipy\n")
    before = snapshot(folder)

    class Failing(FakeConda):
        def solve(self, *_: Any) -> SolvedConda:
            raise LockError("no", remedy="do")

    conda = Failing()
    with pytest.raises(LockError, match="target 'cpu': no") as caught:
        run(folder, conda=conda)
    assert caught.value.remedy == "do"
    assert conda.stopped
    assert snapshot(folder) == before


# --- files ---


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda path: path.unlink(), "locks/cpu.conda-lock.yml is missing"),
        (lambda path: path.write_text(path.read_text() + "#"), "locks/cpu.conda-lock.yml was edited by hand"),
        (
            lambda path: path.write_text("<<<<<<< a"),
            "locks/cpu.conda-lock.yml has an unresolved merge conflict in line 1: take either side of it",
        ),
    ],
)
def test_a_damaged_conda_lock_is_named_and_written_anew(
    folder: Path, damage: Callable[[Path], Any], reason: str
) -> None:
    make(folder)
    path = folder / "locks/cpu.conda-lock.yml"
    text = path.read_text()
    damage(path)
    spec_file = load_spec(folder)
    assert lock_status(spec_file) == {"cpu": (reason,)}
    with pytest.raises(LockError, match=reason) as caught:
        read_inputs(spec_file, "cpu")
    assert "locks/cpu.conda-lock.yml" in caught.value.message
    make(folder)
    assert path.read_text() == text
    assert lock_status(spec_file) == {"cpu": ()}


def test_a_conda_half_that_is_gone_takes_its_file_along(folder: Path) -> None:
    make(folder)
    (folder / "requirements.txt").write_text("six\n")
    (folder / "packager.yaml").write_text(SPEC.replace("environment.yml", "requirements.txt"))
    assert "no conda packages are asked for" in lock_status(load_spec(folder))["cpu"]
    result = make(folder, conda=None)
    assert result.lock.targets["cpu"].conda is UNSET
    assert [path.name for path in (folder / "locks").iterdir()] == ["cpu.requirements.txt"]
    assert Move(name="numpy", before="3.13.5", after=None, manager="conda") in result.changes["cpu"]
    assert read_inputs(load_spec(folder), "cpu").lock.conda_packages == ()


def test_a_conda_lock_that_someone_made_theirs_stays(folder: Path) -> None:
    make(folder)
    (folder / "locks/cpu.conda-lock.yml").write_text("mine\n")
    (folder / "requirements.txt").write_text("six\n")
    (folder / "packager.yaml").write_text(SPEC.replace("environment.yml", "requirements.txt"))
    make(folder, conda=None)
    assert (folder / "locks/cpu.conda-lock.yml").read_text() == "mine\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("locks/cpu.conda-lock.yml", "../cpu.conda-lock.yml"),
        ('"installer": "docker.io/library/python:3.13-slim-trixie@sha256', '"installer": "evil\\nRUN x@sha256'),
    ],
)
def test_a_lock_that_names_other_files_or_images_is_refused(folder: Path, before: str, after: str) -> None:
    result = make(folder)
    text = format_lock(result.lock)
    assert before in text
    parse_lock(text, "packager.lock")
    # The request has the installer, too: the last one is that of the lock itself, or both are equal.
    with pytest.raises(LockError):
        parse_lock(text.replace(before, after), "packager.lock")


def test_a_lock_of_pip_alone_says_nothing_of_conda(folder: Path) -> None:
    (folder / "requirements.txt").write_text("six\n")
    (folder / "packager.yaml").write_text(SPEC.replace("environment.yml", "requirements.txt"))
    make(folder, conda=None)
    assert "conda" not in (folder / "packager.lock").read_text()


# --- the image of the installer ---


def test_the_specs_own_installer_is_resolved_once(folder: Path) -> None:
    asked: list[str] = []

    def resolve(reference: Reference) -> str:
        asked.append(str(reference))
        return DIGEST

    (folder / "packager.yaml").write_text(SPEC + "conda: {installer_base: registry.example.com/mine}\n")
    result = make(folder, resolve_base=resolve)
    assert asked == ["registry.example.com/mine:latest"]
    locked = result.lock.targets["cpu"].conda
    assert isinstance(locked, LockedConda)
    assert locked.installer == f"registry.example.com/mine:latest@{DIGEST}"
    assert run(folder).written == (), "no registry is asked again"
    other = "sha256:" + "e" * 64
    result = run(folder, resolve_base=lambda _: other, upgrade_base=True)
    assert result.installers["cpu"][1].endswith(other)
    assert result.written == ("packager.lock",), "nothing is solved for it"


# --- what changed ---


def request(**more: Any) -> LockRequest:
    conda: Mapping[str, Any] = {
        "specs": ("python 3.13.*",),
        "channels": ("a", "b"),
        "virtual_packages": {AMD: {"__glibc": "2.41"}},
        **more,
    }
    return LockRequest(
        python="", platforms={AMD: "x"}, requirements=(), base="b", conda=CondaRequest(**conda), installer="i"
    )


@pytest.mark.parametrize(
    ("wanted", "lines"),
    [
        (request(), ()),
        (
            request(specs=("numpy", "python 3.12.*")),
            (
                "conda requirement removed: python 3.13.*",
                "conda requirement added: numpy",
                "conda requirement added: python 3.12.*",
            ),
        ),
        (request(channels=("b", "a")), ("order of channels: a, b -> b, a",)),
        (request(channels=("a", "c")), ("channel removed: b", "channel added: c")),
        (request(channel_priority="flexible"), ("channel priority: strict -> flexible",)),
        (
            request(virtual_packages={AMD: {"__cuda": "12"}}),
            ("virtual package __cuda (linux/amd64): none -> 12", "virtual package __glibc (linux/amd64): 2.41 -> none"),
        ),
        (request(names={"pytorch": "torch"}), ("name map added: pytorch: torch",)),
        (msgspec.structs.replace(request(), installer="j"), ("installer: i -> j",)),
        (msgspec.structs.replace(request(), conda=UNSET, installer=UNSET), ("no conda packages are asked for",)),
        (msgspec.structs.replace(request(), python="3.13"), ("python: of conda -> 3.13",)),
    ],
)
def test_changes(wanted: LockRequest, lines: tuple[str, ...]) -> None:
    assert changes(request(), wanted) == lines


def test_a_change_back_is_a_change() -> None:
    flexible = request(channel_priority="flexible")
    assert changes(flexible, request()) == ("channel priority: flexible -> strict",)


def test_conda_moves() -> None:
    before = (package("a", "1", AMD), package("a", "1", ARM), package("b", "1", AMD), package("c", "1", AMD, "x"))
    after = (package("a", "2", AMD), package("a", "1", ARM), package("c", "1", AMD, "y"), package("d", "1", AMD))
    assert [(each.name, each.before, each.after) for each in conda_moves(before, after)] == [
        ("a", "1", f"2 ({AMD}), 1 ({ARM})"),
        ("b", "1", None),
        ("c", "1 x", "1 y"),
        ("d", None, "1"),
    ]
    assert conda_moves(before, before) == ()


# --- the verb ---


def test_verb(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    conda = FakeConda()
    mirrors: list[Any] = []

    def solver(_root: Path, found: Mapping[str, str]) -> FakeConda:
        mirrors.append(found)
        return conda

    monkeypatch.setattr("packager.steps.lock.RattlerSolver", solver)
    monkeypatch.setattr("packager.steps.lock.UvSolver", lambda root: FakePip())
    monkeypatch.setenv("PACKAGER_CHANNEL_MIRROR", "conda-forge=https://m.example.com/cf")
    spec = SPEC + "conda: {channel_mirrors: {conda-forge: https://n.example.com/cf, other: https://n.example.com/o}}\n"
    (folder / "packager.yaml").write_text(spec)
    done = CliRunner().invoke(command, ["-f", str(folder)])
    assert mirrors == [{"conda-forge": "https://m.example.com/cf", "other": "https://n.example.com/o"}]
    assert "cpu: 4 packages: all new\n  base " in done.stdout
    assert "note: numpy>=2 is not installed by pip: conda brings numpy\n" in done.stderr
    conda.versions = {"numpy": "3.13.6"}
    done = CliRunner().invoke(command, ["-f", str(folder), "--upgrade", "numpy"])
    assert (
        done.stdout
        == "locks/cpu.conda-lock.yml\npackager.lock\ncpu: 4 packages: 1 updated\n  conda numpy 3.13.5 -> 3.13.6\n"
    )
    shown = json.loads(CliRunner().invoke(command, ["-f", str(folder), "--format", "json"]).stdout)
    locked = read_lock(load_spec(folder))
    assert locked
    half = locked.targets["cpu"].conda
    assert isinstance(half, LockedConda)
    assert shown["targets"]["cpu"]["conda"] == {
        "file": "locks/cpu.conda-lock.yml",
        "digest": half.digest,
        "installer": half.installer,
        "packages": [],
    }


@pytest.mark.parametrize(
    "args", [["--solver", "conda-lock"], ["--conda", "x"], ["--solver", "rattler", "--conda", "x"]]
)
def test_verb_wants_both_or_neither(folder: Path, args: list[str]) -> None:
    error = CliRunner().invoke(command, ["-f", str(folder), *args]).exception
    assert isinstance(error, UsageError)
    assert "--conda /path/to/micromamba" in str(error.remedy)


# --- curated environments ---


def test_the_first_lock_prefers_what_the_curated_environment_was_locked_with(folder: Path) -> None:
    (folder / "packager.yaml").write_text(SPEC.replace("environment.yml", "{curated: minimal, pip: [six]}"))
    pip = FakePip()
    run(folder, solver=pip, conda=None)
    text = (data_folder("environments") / "minimal/locks/cpu.requirements.txt").read_text()
    assert {each[1] for each in pip.asked} == {text}
    (folder / "packager.yaml").write_text(SPEC.replace("environment.yml", "{curated: minimal, pip: [six, flask]}"))
    again = FakePip()
    run(folder, solver=again, conda=None)
    assert text not in {each[1] for each in again.asked}, "then its own"
