"""The step `lock` and its verb, with a solver and a registry made of values."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from packager.cli.lock import command
from packager.engine.api import LocalImage
from packager.environments.conda import Provided
from packager.environments.declare.environment import read_environment
from packager.environments.declare.request import make_request
from packager.environments.lock import Lock, LockedPackage, LockRequest, Move
from packager.environments.locks.status import lock_status, read_inputs
from packager.environments.locks.update import LockResult, update_lock
from packager.environments.solve.pip import Solved, Upgrade
from packager.errors import LockError, SpecError, TemporaryError, UsageError
from packager.progress import listening
from packager.reference import Reference
from packager.spec import load_spec
from packager.spec.load import SpecFile
from packager.steps.lock import lock
from packager.targets import Target, load_target
from tests.unit.heard import Heard

AMD, ARM = "linux/amd64", "linux/arm64"
DIGEST = "sha256:" + "d" * 64
OTHER = "sha256:" + "e" * 64
SPEC = """\
name: a
version: "1"
entry_script: score.py
environment: requirements.txt
"""


class FakeSolver:
    """Answers with the newest version of each requirement; remembers what it was asked."""

    def __init__(self, versions: Mapping[str, str] | None = None) -> None:
        self.versions = dict(versions or {})
        self.asked: list[tuple[LockRequest, str, str | None, Upgrade, bool]] = []
        self.stopped = False

    def solve(
        self,
        request: LockRequest,
        platform: str,
        preferences: str | None,
        upgrade: Upgrade,
        offline: bool,
        provided: Provided | None = None,
    ) -> Solved:
        self.asked.append((request, platform, preferences, upgrade, offline))
        names = sorted(each.split("=")[0] for each in request.requirements)
        found = []
        for name in names:
            version = self.versions.get(f"{name} {platform}") or self.versions.get(name, "1")
            found.append(LockedPackage(name=name, version=version, digests=(digest(f"{name}{version}{platform}"),)))
        return Solved(packages=tuple(found))

    def stop(self) -> None:
        self.stopped = True


def digest(text: str) -> str:
    import hashlib

    return hashlib.sha256(text.encode()).hexdigest()


class NoSolver:
    """For what must not be solved."""

    def solve(self, *_: Any) -> Solved:
        raise AssertionError("nothing is to be solved")


class FakeRegistry:
    def __init__(self, answer: str = DIGEST) -> None:
        self.answer = answer
        self.asked: list[str] = []

    def __call__(self, reference: Reference) -> str:
        self.asked.append(str(reference))
        return self.answer


def no_registry(reference: Reference) -> str:
    raise AssertionError(f"{reference} is not to be asked for")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "packager.yaml").write_text(SPEC)
    (tmp_path / "requirements.txt").write_text("six\n")
    return tmp_path


def spec(folder: Path, more: str = "") -> SpecFile:
    path = folder / "packager.yaml"
    if path.read_text() != SPEC + more:
        path.write_text(SPEC + more)
    return load_spec(folder)


def run(folder: Path, more: str = "", **options: Any) -> LockResult:
    """Lock the spec of a folder; with a solver and a registry that must not be asked unless others are given."""
    options = {"solver": NoSolver(), "resolve_base": no_registry, **options}
    return update_lock(spec(folder, more), **options)


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def flavours(*names: str) -> Callable[[str], Target]:
    """Targets that differ from cpu in nothing but their name."""

    def load(name: str) -> Target:
        assert name in names
        return msgspec.structs.replace(load_target("cpu"), name=name)

    return load


# --- the request ---


def test_the_request_of_a_target(folder: Path) -> None:
    spec_file = spec(folder, "build_from_source: [Foo_Bar, foo.bar, a]\n")
    target = load_target("cpu")
    assert make_request(spec_file.spec, target, read_environment(spec_file)) == LockRequest(
        python="3.13",
        platforms={AMD: "x86_64-manylinux_2_28"},
        requirements=("azureml-inference-server-http", "six"),
        build_from_source=("a", "foo-bar"),
        base=str(target.bases["3.13"]),
    )


def test_platforms_of_spec_and_caller(folder: Path) -> None:
    spec_file = spec(folder, "targets: {cpu: {platforms: [linux/arm64]}}\n")
    environment, target = read_environment(spec_file), load_target("cpu")
    assert list(make_request(spec_file.spec, target, environment).platforms) == [ARM]
    assert list(make_request(spec_file.spec, target, environment, [ARM, AMD]).platforms) == [AMD, ARM]


def test_the_specs_own_base_is_named_in_full_and_frees_the_python(folder: Path) -> None:
    spec_file = spec(folder, 'python: "3.10"\nbase: python:3.10\n')
    request = make_request(spec_file.spec, load_target("cpu"), read_environment(spec_file))
    assert request.base == "docker.io/library/python:3.10"


@pytest.mark.parametrize(
    ("more", "message", "line"),
    [
        ('python: "3.7"\n', "no base image for Python 3.7, which is older than 3.8", 5),
        ('python: "3.15"\n', "no base image for Python 3.15", 5),
        ("targets: {cpu: {platforms: [linux/s390x]}}\n", "no platform 'linux/s390x'", 5),
        ('build_from_source: ["docopt==0.6"]\n', "'docopt==0.6' is not the name", 5),
        ('build_from_source: ["a", "-x"]\n', "'-x' is not the name", 5),
        ("targets: [gpux]\n", "unknown target 'gpux'", None),
    ],
)
def test_requests_that_no_target_can_meet(folder: Path, more: str, message: str, line: int | None) -> None:
    with pytest.raises(SpecError) as caught:
        run(folder, more)
    assert message in caught.value.message
    assert caught.value.remedy
    assert line is None or (caught.value.where and caught.value.where.line == line)


# --- the step ---


def test_the_first_lock_writes_both_files(folder: Path) -> None:
    solver = FakeSolver()
    result = run(folder, solver=solver)
    assert result.changed
    assert result.written == ("locks/cpu.requirements.txt", "packager.lock")
    assert result.changes["cpu"][1] == Move(name="six", before=None, after="1")
    base = str(load_target("cpu").bases["3.13"])
    assert result.bases == {"cpu": (None, base)}, "the target's pin is taken as it is"
    assert result.lock.targets["cpu"].base == base
    assert list(result.lock.inputs) == ["requirements.txt"]
    assert set(result.lock.tools) == {"packager", "uv"}
    assert [(each[1:]) for each in solver.asked] == [(AMD, None, Upgrade(), False)]
    read_inputs(load_spec(folder), "cpu")


def test_nothing_changed_means_no_solve_no_network_and_no_file_written(folder: Path) -> None:
    run(folder, solver=FakeSolver())
    before = snapshot(folder)
    result = run(folder)
    assert (result.changed, result.written, result.changes, result.bases) == (False, (), {"cpu": ()}, {})
    assert snapshot(folder) == before


def test_what_means_the_same_is_no_change(folder: Path) -> None:
    run(folder, solver=FakeSolver())
    (folder / "requirements.txt").write_text("# why\nSIX\n")
    assert lock_status(load_spec(folder)) == {"cpu": ()}
    result = run(folder)
    assert (result.changed, result.written) == (False, ("packager.lock",)), "the inputs' digests are kept right"
    assert run(folder).written == ()


def at(second: int) -> Callable[[], datetime]:
    return lambda: datetime.fromtimestamp(second, UTC)


def test_the_time_of_the_lock_moves_with_what_images_are_made_of_and_with_nothing_else(folder: Path) -> None:
    first = run(folder, solver=FakeSolver(), now=at(1_790_000_000))
    assert first.lock.created == 1_790_000_000
    assert json.loads((folder / "packager.lock").read_text())["changed"] == "2026-09-21T14:13:20Z"

    (folder / "requirements.txt").write_text((folder / "requirements.txt").read_text() + "# a comment\n")
    assert run(folder, solver=NoSolver(), now=at(1_790_000_001)).lock.created == 1_790_000_000

    (folder / "requirements.txt").write_text("numpy==2.3.2\n")
    assert run(folder, solver=FakeSolver(), now=at(1_790_000_002)).lock.created == 1_790_000_002


def test_a_lock_without_a_time_stays_as_it_is_and_gets_one_when_it_changes(folder: Path) -> None:
    run(folder, solver=FakeSolver())
    path = folder / "packager.lock"
    before = {name: value for name, value in json.loads(path.read_text()).items() if name != "changed"}
    path.write_text(json.dumps(before, indent=2) + "\n")
    text = path.read_text()

    assert lock_status(spec(folder)) == {"cpu": ()}
    assert run(folder, solver=NoSolver()).written == ()
    assert path.read_text() == text
    inputs = read_inputs(spec(folder), "cpu")
    assert inputs.created is None

    (folder / "requirements.txt").write_text("numpy==2.3.2\n")
    assert run(folder, solver=FakeSolver(), now=at(1_790_000_002)).lock.created == 1_790_000_002
    assert read_inputs(spec(folder), "cpu").created == 1_790_000_002


def test_the_time_of_a_lock_is_in_no_digest_of_its_packages(folder: Path) -> None:
    run(folder, solver=FakeSolver(), now=at(0))
    before = read_inputs(spec(folder), "cpu").locked().lock_digest
    path = folder / "packager.lock"
    path.write_text(path.read_text().replace("1970-01-01T00:00:00Z", "2026-09-21T14:13:20Z"))

    assert read_inputs(spec(folder), "cpu").created == 1_790_000_000
    assert read_inputs(spec(folder), "cpu").locked().lock_digest == before


@pytest.mark.parametrize("time", ["yesterday", "2026-09-21T14:13:20", 5])
def test_a_time_that_is_none_is_an_error_of_the_lock(folder: Path, time: object) -> None:
    run(folder, solver=FakeSolver())
    path = folder / "packager.lock"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"changed": time}))
    with pytest.raises(LockError, match="is not a lock"):
        lock_status(spec(folder))


def test_a_changed_requirement_is_solved_with_the_locked_versions_preferred(folder: Path) -> None:
    run(folder, solver=FakeSolver())
    text = (folder / "locks/cpu.requirements.txt").read_text()
    (folder / "requirements.txt").write_text("six\nnumpy\n")
    assert lock_status(load_spec(folder)) == {"cpu": ("requirement added: numpy",)}
    with pytest.raises(LockError, match="requirement added: numpy"):
        read_inputs(load_spec(folder), "cpu")
    solver = FakeSolver()
    result = run(folder, solver=solver, offline=True)
    assert [each[1:] for each in solver.asked] == [(AMD, text, Upgrade(), True)]
    assert result.changes == {"cpu": (Move(name="numpy", before=None, after="1"),)}


def test_upgrades_solve_although_nothing_changed(folder: Path) -> None:
    run(folder, solver=FakeSolver())
    solver = FakeSolver({"six": "2"})
    result = run(folder, solver=solver, upgrade=Upgrade(names=("six",)))
    assert solver.asked[0][3] == Upgrade(names=("six",))
    assert result.changes == {"cpu": (Move(name="six", before="1", after="2"),)}
    again = run(folder, solver=solver, upgrade=Upgrade(all=True))
    assert (again.changed, again.written) == (False, ())


def test_an_upgrade_of_what_is_not_locked(folder: Path) -> None:
    run(folder, solver=FakeSolver())
    with pytest.raises(UsageError, match="'nmpy'"):
        run(folder, upgrade=Upgrade(names=("nmpy",)))


def test_platforms_are_solved_each_and_merged(folder: Path) -> None:
    solver = FakeSolver({f"six {ARM}": "2"})
    result = run(folder, f"targets: {{cpu: {{platforms: [{ARM}, {AMD}]}}}}\n", solver=solver)
    assert sorted(each[1] for each in solver.asked) == [AMD, ARM]
    text = (folder / "locks/cpu.requirements.txt").read_text()
    assert "six==1 ; platform_machine == 'x86_64' \\\n" in text
    assert "six==2 ; platform_machine == 'aarch64' \\\n" in text
    assert result.changes["cpu"][1].after == f"1 ({AMD}), 2 ({ARM})"
    assert run(folder, f"targets: {{cpu: {{platforms: [{AMD}, {ARM}]}}}}\n").written == (), "their order is no change"


def test_solves_run_side_by_side(folder: Path) -> None:
    both = threading.Barrier(2, timeout=10)

    class Meeting(FakeSolver):
        def solve(self, *args: Any) -> Solved:
            both.wait()
            return super().solve(*args)

    run(folder, f"targets: {{cpu: {{platforms: [{ARM}, {AMD}]}}}}\n", solver=Meeting())


def test_targets_that_ask_for_the_same_share_one_solve(folder: Path) -> None:
    solver = FakeSolver()
    result = run(folder, "targets: [one, two]\n", solver=solver, load=flavours("one", "two"))
    assert len(solver.asked) == 1
    assert result.lock.targets["one"].digest == result.lock.targets["two"].digest
    third = run(folder, "targets: [three, one, two]\n", load=flavours("one", "two", "three"))
    assert third.written == ("locks/three.requirements.txt", "packager.lock"), "a locked target lends its packages"


def test_targets_share_the_solve_of_a_platform_that_both_have(folder: Path) -> None:
    solver = FakeSolver()
    targets = f"targets: {{cpu: {{platforms: [{AMD}, {ARM}]}}, arm-edge: {{platforms: [{ARM}]}}}}\n"
    result = run(folder, targets, solver=solver)
    assert sorted(platform for _, platform, *_ in solver.asked) == [AMD, ARM]
    assert set(result.lock.targets) == {"cpu", "arm-edge"}
    fresh = FakeSolver()
    run(folder, targets.replace("arm-edge: {", "arm-edge: {python: '3.12', "), solver=fresh)
    assert [(request.python, platform) for request, platform, *_ in fresh.asked] == [("3.12", ARM)]


def test_a_target_that_is_gone_takes_its_file_along(folder: Path) -> None:
    load = flavours("one", "two", "three")
    run(folder, "targets: [one, two, three]\n", solver=FakeSolver(), load=load)
    (folder / "locks/three.requirements.txt").write_text("mine now\n")
    spec_file = spec(folder, "targets: [one]\n")
    assert lock_status(spec_file, load=load)["two"] == ("the spec no longer names this target",)
    read_inputs(spec_file, "one", load=load)
    with pytest.raises(LockError, match="does not name"):
        read_inputs(spec_file, "four", load=load)
    result = run(folder, "targets: [one]\n", load=load)
    assert list(result.lock.targets) == ["one"]
    assert sorted(path.name for path in (folder / "locks").iterdir()) == [
        "one.requirements.txt",
        "three.requirements.txt",
    ]


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda path: path.unlink(), "locks/cpu.requirements.txt is missing"),
        (lambda path: path.write_text(path.read_text() + "evil==1\n"), "locks/cpu.requirements.txt was edited by hand"),
        (
            lambda path: path.write_text("<<<<<<< ours\n"),
            "locks/cpu.requirements.txt has an unresolved merge conflict in line 1: take either side of it",
        ),
    ],
)
def test_a_damaged_requirements_file_is_named_and_written_anew(
    folder: Path, damage: Callable[[Path], Any], reason: str
) -> None:
    run(folder, solver=FakeSolver())
    path = folder / "locks/cpu.requirements.txt"
    text = path.read_text()
    damage(path)
    assert lock_status(load_spec(folder)) == {"cpu": (reason,)}
    run(folder, solver=FakeSolver())
    assert path.read_text() == text
    assert lock_status(load_spec(folder)) == {"cpu": ()}


def test_a_version_that_was_written_by_hand_is_kept_and_said_so(folder: Path) -> None:
    assert run(folder, solver=FakeSolver()).notes == ()
    path = folder / "locks/cpu.requirements.txt"
    path.write_text(path.read_text().replace("six==1", "six==2"))
    result = run(folder, solver=FakeSolver({"six": "2"}))
    assert result.notes[0] == (
        "locks/cpu.requirements.txt was edited by hand: six as it is written there "
        "(`packager lock --upgrade six` takes the newest)"
    )
    assert run(folder).notes == (), "once"
    path.write_text(path.read_text() + "evil==1\n")
    assert (
        run(folder, solver=FakeSolver({"six": "2"}))
        .notes[0]
        .endswith("was edited by hand: its versions stay where they fit")
    )


def test_a_merge_conflict_in_the_requirements_of_a_lock_is_named(folder: Path) -> None:
    run(folder, solver=FakeSolver())
    path = folder / "locks/cpu.requirements.txt"
    path.write_text(path.read_text() + "<<<<<<< HEAD\nsix==1\n=======\nsix==2\n>>>>>>> other\n")
    line = path.read_text().splitlines().index("<<<<<<< HEAD") + 1
    ((said,),) = lock_status(spec(folder)).values()
    assert said.startswith(f"locks/cpu.requirements.txt has an unresolved merge conflict in line {line}")


def test_a_missing_lock_is_named(folder: Path) -> None:
    assert lock_status(load_spec(folder)) == {"cpu": ("there is no packager.lock beside the spec",)}
    with pytest.raises(LockError, match="cpu: there is no packager"):
        read_inputs(load_spec(folder), "cpu")


def test_a_failed_solve_changes_nothing_and_stops_the_others(folder: Path) -> None:
    run(folder, solver=FakeSolver())
    before = snapshot(folder)
    other_started = threading.Event()

    class Failing(FakeSolver):
        def __init__(self) -> None:
            super().__init__()
            self.end = threading.Event()

        def solve(self, request: LockRequest, platform: str, *_: Any) -> Solved:
            if platform == AMD:
                other_started.wait(10)
                raise TemporaryError("no network", remedy="try again")
            other_started.set()
            assert self.end.wait(10), "the other solve is stopped"
            raise LockError("the solve was stopped")

        def stop(self) -> None:
            self.end.set()

    with pytest.raises(TemporaryError, match="target 'cpu': no network") as caught:
        run(folder, f"targets: {{cpu: {{platforms: [{AMD}, {ARM}]}}}}\n", solver=Failing())
    assert caught.value.remedy == "try again"
    (folder / "packager.yaml").write_text(SPEC)
    after = snapshot(folder)
    del before["packager.yaml"], after["packager.yaml"]
    assert after == before


def test_ctrl_c_while_solving_stops_the_solves(folder: Path) -> None:
    class Interrupted(FakeSolver):
        def solve(self, *_: Any) -> Solved:
            raise KeyboardInterrupt

    solver = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        run(folder, solver=solver)
    assert solver.stopped
    assert set(snapshot(folder)) == {"packager.yaml", "requirements.txt"}


# --- the base ---

BASE = "base: registry.example.com/python:3.13\n"
LOCKED_BASE = f"registry.example.com/python:3.13@{DIGEST}"


def test_the_specs_own_base_is_resolved_once(folder: Path) -> None:
    registry = FakeRegistry()
    result = run(folder, BASE, solver=FakeSolver(), resolve_base=registry)
    assert registry.asked == ["registry.example.com/python:3.13"]
    assert result.lock.targets["cpu"].base == LOCKED_BASE
    assert result.lock.targets["cpu"].request.base == "registry.example.com/python:3.13"
    assert run(folder, BASE).written == (), "no registry is asked again"
    assert run(folder, BASE, offline=True).written == ()


def test_the_official_image_of_a_python_that_is_not_shipped_is_resolved_and_kept(folder: Path) -> None:
    result = run(folder, 'python: "3.9"\n', solver=FakeSolver(), resolve_base=FakeRegistry())
    assert result.lock.targets["cpu"].base == f"docker.io/library/python:3.9-slim-bookworm@{DIGEST}"
    assert run(folder, 'python: "3.9"\n').written == (), "no registry is asked again"


def test_a_base_with_a_digest_is_taken_as_it_is(folder: Path) -> None:
    result = run(folder, f"base: python:3.13@{DIGEST}\n", solver=FakeSolver(), upgrade_base=True)
    assert result.lock.targets["cpu"].base == f"docker.io/library/python:3.13@{DIGEST}"


def test_a_base_without_a_tag_is_the_latest(folder: Path) -> None:
    result = run(folder, "base: python\n", solver=FakeSolver(), resolve_base=FakeRegistry())
    assert result.lock.targets["cpu"].base == f"docker.io/library/python:latest@{DIGEST}"


def test_only_the_base_changed_means_only_the_base_is_resolved(folder: Path) -> None:
    run(folder, solver=FakeSolver())
    result = run(folder, BASE, resolve_base=FakeRegistry())
    assert result.changed
    assert result.written == ("packager.lock",)
    assert result.changes == {"cpu": ()}
    assert result.bases["cpu"][1] == LOCKED_BASE


def test_upgrade_base_resolves_again_and_nothing_else(folder: Path) -> None:
    run(folder, BASE, solver=FakeSolver(), resolve_base=FakeRegistry())
    result = run(folder, BASE, resolve_base=FakeRegistry(OTHER), upgrade_base=True)
    assert result.bases == {"cpu": (LOCKED_BASE, LOCKED_BASE.replace(DIGEST, OTHER))}
    assert result.written == ("packager.lock",)


def test_targets_ask_for_one_base_once(folder: Path) -> None:
    registry = FakeRegistry()
    load = flavours("one", "two")
    run(folder, f"{BASE}targets: [one, two]\n", solver=FakeSolver(), resolve_base=registry, load=load)
    assert len(registry.asked) == 1


@pytest.mark.parametrize("field", ["base", "targets.cpu.base"])
@pytest.mark.parametrize("there", [True, False])
def test_a_base_that_the_engine_alone_has_is_in_no_lock(
    folder: Path, monkeypatch: pytest.MonkeyPatch, there: bool, field: str
) -> None:
    more = "base: local/python:3.13\n" if field == "base" else "targets: {cpu: {base: local/python:3.13}}\n"

    def nobody(reference: Reference, _mirrors: object) -> str:
        raise TemporaryError(f"{reference.registry} does not answer", remedy="try again")

    def engine(name: str) -> LocalImage | None:
        image = LocalImage(id=DIGEST, platform=AMD, size=1, repo_digests=(), labels={})
        return image if there and name == "local/python:3.13" else None

    monkeypatch.setattr("packager.registry.resolve.resolve_digest", nobody)
    monkeypatch.setattr("packager.engine.api.inspect_local", engine)
    with pytest.raises(LockError if there else TemporaryError) as caught:
        lock(spec(folder, more))
    assert caught.value.where is not None
    assert (caught.value.where.field, caught.value.where.line) == (field, SPEC.count("\n") + 1)
    said = "the engine has local/python:3.13, and no lock can name it"
    assert caught.value.message.startswith(said if there else "docker.io does not answer")
    assert ("--base local/python:3.13" if there else "--base REF or PACKAGER_BASE; try again") in str(
        caught.value.remedy
    )
    assert not (folder / "packager.lock").exists()


def test_offline_an_unknown_base_is_an_error(folder: Path) -> None:
    with pytest.raises(LockError, match="is not known, and --offline") as caught:
        run(folder, BASE, solver=FakeSolver(), offline=True)
    assert "@sha256:" in str(caught.value.remedy)
    assert not (folder / "packager.lock").exists()


# --- the verb ---


@pytest.fixture
def locked(folder: Path) -> Path:
    run(folder, solver=FakeSolver())
    return folder


def verb(folder: Path, *args: str) -> Result:
    return CliRunner().invoke(command, ["-f", str(folder), *args])


def test_verb_unchanged(locked: Path) -> None:
    assert verb(locked).stdout == "unchanged\n"
    shown = json.loads(verb(locked, "--format", "json").stdout)
    assert shown["changed"] is False
    assert shown["written"] == []
    assert shown["targets"]["cpu"]["packages"] == []
    assert shown["targets"]["cpu"]["requirements"] == "locks/cpu.requirements.txt"


def test_verb_check(locked: Path) -> None:
    assert verb(locked, "--check").stdout == "fresh\n"
    (locked / "requirements.txt").write_text("six\nnumpy\n")
    result = verb(locked, "--check")
    assert isinstance(result.exception, LockError)
    assert "cpu: requirement added: numpy" in result.exception.message
    assert result.stdout == ""
    result = verb(locked, "--check", "--format", "json")
    assert isinstance(result.exception, LockError)
    assert json.loads(result.stdout) == {"fresh": False, "targets": {"cpu": ["requirement added: numpy"]}}


def test_verb_shows_moves(locked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (locked / "requirements.txt").write_text("six\nnumpy\n")
    monkeypatch.setattr("packager.steps.lock.UvSolver", lambda root: FakeSolver({"six": "2"}))
    result = verb(locked)
    written = "locks/cpu.requirements.txt\npackager.lock\n"
    assert result.stdout == f"{written}cpu: 3 packages: 1 added, 1 updated\n  + numpy 1\n  six 1 -> 2\n"
    assert result.stderr == "solving cpu for linux/amd64, Python 3.13\n"
    (locked / "requirements.txt").write_text("numpy\n")
    shown = json.loads(verb(locked, "--upgrade", "numpy", "--format", "json").stdout)
    assert shown["targets"]["cpu"]["packages"] == [{"name": "six", "before": "2", "after": None}]


def test_verb_says_how_many_are_locked_and_lists_none_of_them_at_first(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("packager.steps.lock.UvSolver", lambda root: FakeSolver())
    lines = verb(folder).stdout.splitlines()
    assert lines[:3] == ["locks/cpu.requirements.txt", "packager.lock", "cpu: 2 packages: all new"]
    assert lines[3].startswith("  base ")
    assert len(lines) == 4
    (folder / "packager.lock").unlink()
    (folder / "locks/cpu.requirements.txt").unlink()
    assert "  + six 1" in verb(folder, "-v").stdout.splitlines()


def test_verb_lists_some_of_many_changes(locked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("packager.steps.lock.UvSolver", lambda root: FakeSolver())
    (locked / "requirements.txt").write_text("".join(f"p{number:02}\n" for number in range(30)))
    lines = verb(locked).stdout.splitlines()
    assert lines[2] == "cpu: 31 packages: 30 added, 1 removed"
    assert lines[3:] == [*(f"  + p{number:02} 1" for number in range(10)), "  and 21 more (-v)"]
    (locked / "requirements.txt").write_text("six\n")
    assert len(verb(locked, "-v").stdout.splitlines()) == 3 + 31


def test_verb_is_quiet_where_it_is_told_to_be(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("packager.steps.lock.UvSolver", lambda root: FakeSolver())
    done = verb(folder, "-q")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "")
    assert (folder / "packager.lock").is_file()
    assert verb(folder, "-q").stdout == ""
    assert json.loads(verb(folder, "-q", "--format", "json").stdout)["changed"] is False


def test_solves_are_told(folder: Path) -> None:
    heard = Heard()
    with listening(heard):
        run(folder, solver=FakeSolver())
        run(folder)
    assert heard.titles == ["solving cpu for linux/amd64"]


def test_verb_passes_upgrades_on(locked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    solver = FakeSolver()
    monkeypatch.setattr("packager.steps.lock.UvSolver", lambda root: solver)
    for args in (["--upgrade"], ["--upgrade", "Six"], ["--upgrade", "six", "--upgrade", "six"]):
        assert verb(locked, *args).exception is None
    assert [each[3] for each in solver.asked] == [Upgrade(all=True), Upgrade(names=("six",)), Upgrade(names=("six",))]


@pytest.mark.parametrize(
    "args", [["six"], ["--check", "--upgrade"], ["--check", "--upgrade-base"], ["--check", "--offline"]]
)
def test_verb_refuses_what_contradicts_itself(locked: Path, args: list[str]) -> None:
    assert isinstance(verb(locked, *args).exception, UsageError)


def test_verb_asks_the_mirror_of_the_machine_before_that_of_the_spec(
    locked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, Mapping[str, str]]] = []

    def resolve_digest(reference: Reference, mirrors: Mapping[str, str]) -> str:
        asked.append((str(reference), mirrors))
        return DIGEST

    monkeypatch.setattr("packager.registry.resolve.resolve_digest", resolve_digest)
    monkeypatch.setenv("PACKAGER_REGISTRY_MIRROR", "docker.io=machine:5000")
    mirrors = "registry_mirrors: {docker.io: spec.example.com, quay.io: quay.example.com}\n"
    (locked / "packager.yaml").write_text(f"{SPEC}base: python:3.13\n{mirrors}")
    result = verb(locked)
    reference = "docker.io/library/python:3.13"
    assert asked == [(reference, {"docker.io": "machine:5000", "quay.io": "quay.example.com"})]
    assert f"  base {load_target('cpu').bases['3.13']} -> {reference}@{DIGEST}\n" in result.stdout


def test_an_empty_lock_is_valid(locked: Path) -> None:
    from packager.environments.locks.files import format_lock

    (locked / "packager.lock").write_text(format_lock(Lock()))
    assert lock_status(load_spec(locked)) == {"cpu": ("the target is not locked yet",)}


# --- several specs in one folder --------------------------------------------------------------------------------------


def lock_of(path: Path, requirement: str) -> LockResult:
    """Lock a spec of one requirement."""
    path.write_text(SPEC.replace("requirements.txt", f"{{pip: [{requirement}]}}"))
    return update_lock(load_spec(path), solver=FakeSolver(), resolve_base=FakeRegistry())


def test_specs_in_one_folder_have_locks_of_their_own(tmp_path: Path) -> None:
    for name, requirement in (("packager.yaml", "six"), ("gpu.yaml", "attrs"), ("big.model.yml", "idna")):
        lock_of(tmp_path / name, requirement)
    written = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert [each for each in written if each.endswith(("lock", "txt"))] == [
        "big.model.packager.lock",
        "gpu.packager.lock",
        "locks/big.model/cpu.requirements.txt",
        "locks/cpu.requirements.txt",
        "locks/gpu/cpu.requirements.txt",
        "packager.lock",
    ]
    for name in ("packager.yaml", "gpu.yaml", "big.model.yml"):
        spec_file = load_spec(tmp_path / name)
        assert lock_status(spec_file) == {"cpu": ()}
        assert update_lock(spec_file, solver=NoSolver(), resolve_base=no_registry).written == ()


def test_a_lock_from_before_locks_had_names_is_still_that_of_its_spec(tmp_path: Path) -> None:
    lock_of(tmp_path / "packager.yaml", "six")
    (tmp_path / "packager.yaml").rename(tmp_path / "other.yaml")
    assert lock_status(load_spec(tmp_path / "other.yaml")) == {"cpu": ()}
    # With a spec of its own name beside it, it is that one's.
    (tmp_path / "packager.yaml").write_text(SPEC)
    assert lock_status(load_spec(tmp_path / "other.yaml"))["cpu"] != ()


def test_a_lock_whose_files_are_those_of_another_is_refused(tmp_path: Path) -> None:
    lock_of(tmp_path / "gpu.yaml", "six")
    path = tmp_path / "gpu.packager.lock"
    path.write_text(path.read_text().replace("locks/gpu/", "locks/"))
    with pytest.raises(LockError, match="does not write"):
        lock_status(load_spec(tmp_path / "gpu.yaml"))
