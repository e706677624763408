"""The solver of pip's half: the arguments and files that uv gets, and what becomes of its end."""

from __future__ import annotations

import os
import stat
import threading
import time
from pathlib import Path

import msgspec
import pytest

from packager.environments.child_processes import Stoppable
from packager.environments.conda import Provided
from packager.environments.lock import LockedPackage, LockRequest, changes
from packager.environments.solve.pip import Solved, Upgrade, UvSolver, arguments
from packager.errors import LockError, PackagerError
from tests.unit.test_child_processes import gone
from tests.unit.test_pylock import pylock, wheels

A, B, C = "a" * 64, "b" * 64, "c" * 64
AMD = "x86_64-manylinux_2_28"
REQUEST = LockRequest(
    python="3.13",
    platforms={"linux/amd64": AMD},
    requirements=("numpy", "six<2"),
    constraints=("idna<4",),
    base="docker.io/library/python:3.13",
)
FOLDER = Path("/tmp/x")


# --- arguments ---


def test_wheels_only() -> None:
    words = arguments(REQUEST, "linux/amd64", Upgrade(), False, FOLDER)
    assert " ".join(words).startswith("pip compile /tmp/x/requirements.in --constraints /tmp/x/constraints.in ")
    assert words[words.index("--only-binary") + 1] == ":all:"
    assert words[words.index("--python-version") + 1] == "3.13"
    assert words[words.index("--python-platform") + 1] == AMD
    assert "--python" in words
    assert not {"--no-binary", "--upgrade", "--upgrade-package", "--offline"} & set(words)


def test_exceptions_upgrades_and_offline() -> None:
    request = LockRequest(
        python="3.13", platforms=REQUEST.platforms, requirements=(), build_from_source=("docopt", "x"), base="b"
    )
    words = " ".join(arguments(request, "linux/amd64", Upgrade(names=("a", "b")), True, FOLDER))
    assert "--only-binary :all: --no-binary docopt --no-binary x --upgrade-package a --upgrade-package b" in words
    assert words.endswith("--offline")
    assert "--python " not in words, "a build wants an interpreter of the right version"
    assert "--upgrade" in arguments(request, "linux/amd64", Upgrade(all=True), False, FOLDER)


# --- the process ---


def program(folder: Path, script: str) -> None:
    path = folder / "uv"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def fake_uv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose program `uv` is run in place of the real one."""
    monkeypatch.setattr("uv.find_uv_bin", lambda: str(tmp_path / "uv"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    return tmp_path


def test_files_arguments_and_preferences_reach_uv(fake_uv: Path) -> None:
    program(
        fake_uv,
        # Of what moved, uv is asked for newer releases, too: `test_held_back`.
        'case "$*" in *--no-deps*) exit 1 ;; esac\n'
        f'pwd > "{fake_uv}/cwd"; cp "$3" "{fake_uv}/requirements"; cp "$5" "{fake_uv}/constraints"\n'
        f'cp "$7" "{fake_uv}/preferences"; echo "$@" > "{fake_uv}/args"\n'
        f"cat > \"$7\" <<'E'\n{pylock(wheels('six', '1', ('six-1-py3-none-any.whl', A)))}\nE\n",
    )
    root = fake_uv / "root"
    root.mkdir()
    preferences = (
        f"six==0.9 \\\n    --hash=sha256:{B}\narm==1 ; platform_machine == 'aarch64' \\\n  --hash=sha256:{B}\n"
    )
    solver = UvSolver(root, {**os.environ, "PIP_NO_INDEX": "1"})
    solved = solver.solve(REQUEST, "linux/amd64", preferences, Upgrade(all=True), True)
    assert solved.packages == (LockedPackage(name="six", version="1", digests=(A,)),)
    assert (fake_uv / "cwd").read_text() == f"{root}\n", "uv.toml is looked for from the folder of the spec"
    assert (fake_uv / "requirements").read_text() == "numpy\nsix<2\n"
    assert (fake_uv / "constraints").read_text() == "idna<4\n"
    assert 'name = "six"\nversion = "0.9"' in (fake_uv / "preferences").read_text()
    assert "arm" not in (fake_uv / "preferences").read_text(), "versions of another platform say nothing"
    assert (fake_uv / "args").read_text().endswith("--upgrade --offline --no-index\n")
    assert list((fake_uv / "tmp").iterdir()) == []


HASHED = pylock(
    wheels("six", "1", ("six-1-py3-none-any.whl", A), ("six-1-cp313-cp313-manylinux_2_17_x86_64.whl", B)),
    wheels("idna", "3", ("idna-3-py3-none-any.whl", B)),
)


def solve_hashed(fake_uv: Path, hashes: dict[str, tuple[str, ...]], provided: Provided | None = None) -> set[str]:
    program(fake_uv, f"cat > \"$7\" <<'E'\n{HASHED}\nE\n")
    request = msgspec.structs.replace(REQUEST, hashes=hashes)
    found = UvSolver(fake_uv).solve(request, "linux/amd64", None, Upgrade(), False, provided)
    return {digest for package in found.packages for digest in package.digests if package.name == "six"}


def test_only_files_with_the_hashes_of_the_environment_are_taken(fake_uv: Path) -> None:
    assert solve_hashed(fake_uv, {"six==1": (A, C)}) == {A}, "the other fits better, and is not named"
    assert solve_hashed(fake_uv, {"six==1": (A, B)}) == {B}
    with pytest.raises(LockError, match=r"no file of six 1 that fits has a hash"):
        solve_hashed(fake_uv, {"six==1": (C,)})
    with pytest.raises(LockError, match="no file of six"):
        solve_hashed(fake_uv, {"six==1": ()})


def test_hashes_hold_where_their_marker_does_and_all_together(fake_uv: Path) -> None:
    arm, amd = 'six==1; platform_machine == "aarch64"', 'six==1; platform_machine == "x86_64"'
    assert solve_hashed(fake_uv, {arm: (C,), amd: (A,)}) == {A}
    assert solve_hashed(fake_uv, {'six==1; python_version < "3.9"': (C,)}) == {B}
    assert solve_hashed(fake_uv, {'six==1; sys_platform == "win32"': (C,), "six[x]==1": (A, B), amd: (A,)}) == {A}
    with pytest.raises(LockError, match="no file of six"):
        solve_hashed(fake_uv, {"six==1": (A,), amd: (B,)})


def test_hashes_of_what_conda_brings_are_refused(fake_uv: Path) -> None:
    provided = Provided(python="3.13", versions={"six": "1"})
    with pytest.raises(LockError, match="conda brings six"):
        solve_hashed(fake_uv, {"six==1": (A,)}, provided)


def test_a_lock_says_which_hashes_changed() -> None:
    before = msgspec.structs.replace(REQUEST, hashes={"six==1": (A,)})
    after = msgspec.structs.replace(REQUEST, hashes={"six==1": (B,)})
    assert changes(before, after) == (f"hash removed: six==1 sha256:{A}", f"hash added: six==1 sha256:{B}")
    assert not before.same_solve(after)
    assert changes(REQUEST, before) == (f"hash added: six==1 sha256:{A}",)


@pytest.mark.parametrize("preferences", [None, "", "<<<<<<< ours\n"])
def test_without_usable_preferences_uv_gets_none(fake_uv: Path, preferences: str | None) -> None:
    program(fake_uv, f'test ! -e "$7" || exit 9\ncat > "$7" <<\'E\'\n{pylock()}\nE\n')
    assert UvSolver(fake_uv).solve(REQUEST, "linux/amd64", preferences, Upgrade(), False) == Solved(packages=())


def test_a_failure_is_explained_and_leaves_nothing(fake_uv: Path) -> None:
    program(fake_uv, "echo 'error: No solution found' >&2; echo '  cause: Because of rain' >&2; exit 1")
    with pytest.raises(LockError, match="Because of rain"):
        UvSolver(fake_uv).solve(REQUEST, "linux/amd64", None, Upgrade(), False)
    assert list((fake_uv / "tmp").iterdir()) == []


def test_a_killed_uv_is_named(fake_uv: Path) -> None:
    program(fake_uv, "kill -9 $$")
    with pytest.raises(PackagerError, match="ended by SIGKILL"):
        UvSolver(fake_uv).solve(REQUEST, "linux/amd64", None, Upgrade(), False)


def test_stop_ends_uv_and_what_it_started(fake_uv: Path) -> None:
    program(fake_uv, f'sleep 60 & echo $! > "{fake_uv}/pid.new"; mv "{fake_uv}/pid.new" "{fake_uv}/pid"; wait')
    solver = UvSolver(fake_uv)
    assert isinstance(solver, Stoppable)
    failed: list[PackagerError] = []

    def work() -> None:
        try:
            solver.solve(REQUEST, "linux/amd64", None, Upgrade(), False)
        except PackagerError as error:
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    while not (fake_uv / "pid").exists():
        time.sleep(0.01)
    solver.stop()
    thread.join(timeout=10)
    assert not thread.is_alive()
    assert len(failed) == 1
    assert list((fake_uv / "tmp").iterdir()) == []
    assert gone(int((fake_uv / "pid").read_text()))
    with pytest.raises(LockError, match="stopped"):
        solver.solve(REQUEST, "linux/amd64", None, Upgrade(), False)


def test_a_missing_uv(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def missing() -> str:
        raise FileNotFoundError("uv")

    monkeypatch.setattr("uv.find_uv_bin", missing)
    with pytest.raises(PackagerError, match="uv is not there") as caught:
        UvSolver(tmp_path).solve(REQUEST, "linux/amd64", None, Upgrade(), False)
    assert "pip install uv" in str(caught.value.remedy)
