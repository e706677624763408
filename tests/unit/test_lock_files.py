from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packager.environments.lock import Lock, LockedPackage, LockedTarget, LockRequest, Move, changes, moves
from packager.environments.locks.files import (
    HEADER,
    digest_of,
    format_lock,
    format_requirements,
    merge,
    parse_lock,
    parse_requirements,
)
from packager.environments.locks.writing import write_files
from packager.errors import LockError, PackagerError
from packager.targets import machine

A, B, C = "a" * 64, "b" * 64, "c" * 64
AMD, ARM, ARM7 = "linux/amd64", "linux/arm64", "linux/arm/v7"
BASE = "docker.io/library/python:3.13-slim@sha256:" + A
REQUEST = LockRequest(
    python="3.13", platforms={AMD: "x86_64-manylinux_2_28"}, requirements=("numpy", "six<2"), base=BASE
)


def package(name: str, version: str, *digests: str, platforms: tuple[str, ...] = ()) -> LockedPackage:
    return LockedPackage(name=name, version=version, digests=digests or (A,), platforms=platforms)


def locked(text: str = HEADER, request: LockRequest = REQUEST) -> LockedTarget:
    return LockedTarget(request=request, base=BASE, requirements="locks/cpu.requirements.txt", digest=digest_of(text))


# --- requirements ---


def test_the_form_of_a_requirements_file() -> None:
    packages = (package("six", "1.17.0"), package("numpy", "2.1.0", A, B, platforms=(ARM, ARM7)))
    assert format_requirements(packages) == (
        HEADER
        + "numpy==2.1.0 ; platform_machine == 'aarch64' or platform_machine == 'armv7l' \\\n"
        + f"    --hash=sha256:{A} \\\n    --hash=sha256:{B}\n"
        + f"six==1.17.0 \\\n    --hash=sha256:{A}\n"
    )


def test_platforms_are_merged() -> None:
    solved = {
        AMD: (package("both", "1", A), package("moved", "1", A), package("universal", "1", C), package("x86", "1")),
        ARM: (package("both", "1", B), package("moved", "2", B), package("universal", "1", C)),
    }
    assert merge(solved) == (
        package("both", "1", A, B),
        package("moved", "1", A, platforms=(AMD,)),
        package("moved", "2", B, platforms=(ARM,)),
        package("universal", "1", C),
        package("x86", "1", platforms=(AMD,)),
    )


@pytest.mark.parametrize(
    ("platform", "name"),
    [
        (AMD, "x86_64"),
        (ARM, "aarch64"),
        ("linux/arm64/v8", "aarch64"),
        (ARM7, "armv7l"),
        ("linux/arm/v6", "armv6l"),
        ("linux/386", "i686"),
        ("linux/s390x", "s390x"),
    ],
)
def test_machines(platform: str, name: str) -> None:
    assert machine(platform) == name


names = st.from_regex(r"[a-z0-9]+(-[a-z0-9]+){0,2}", fullmatch=True)
versions = st.from_regex(r"([0-9]!)?[0-9]{1,3}(\.[0-9]{1,3}){0,2}((a|b|rc)[0-9])?(\.post1)?(\+cpu)?", fullmatch=True)
digests = st.lists(st.from_regex(r"[0-9a-f]{64}", fullmatch=True), min_size=1, max_size=3, unique=True)
platforms = st.sets(st.sampled_from([AMD, ARM, ARM7, "linux/riscv64"]), max_size=3)
packages = st.lists(
    st.builds(
        lambda n, v, d, p: LockedPackage(name=n, version=v, digests=tuple(sorted(d)), platforms=tuple(sorted(p))),
        names,
        versions,
        digests,
        platforms,
    ),
    unique_by=lambda each: (each.name, each.version),
    max_size=8,
)


@given(packages)
def test_requirements_survive_a_round_trip(found: list[LockedPackage]) -> None:
    text = format_requirements(found)
    again = parse_requirements(text, [AMD, ARM, ARM7, "linux/riscv64"])
    assert again == tuple(sorted(found, key=lambda each: (each.name, each.version)))
    assert format_requirements(again) == text


@pytest.mark.parametrize(
    "line",
    [
        "numpy==2.1.0",
        f"numpy>=2 --hash=sha256:{A}",
        f"Numpy==2 --hash=sha256:{A}",
        f"numpy==two --hash=sha256:{A}",
        f"numpy==2 --hash=md5:{A}",
        f"numpy==2 ; python_version > '3' --hash=sha256:{A}",
        "-e .",
        "--index-url https://example.com/simple",
        "<<<<<<< ours",
    ],
)
def test_what_packager_does_not_write_is_refused_with_its_line(line: str) -> None:
    with pytest.raises(LockError) as caught:
        parse_requirements(f"{HEADER}{line}\n", file="locks/cpu.requirements.txt")
    assert str(caught.value.where) == "locks/cpu.requirements.txt:3"


# --- packager.lock ---


def test_the_lock_survives_a_round_trip() -> None:
    lock = Lock(inputs={"requirements.txt": "sha256:" + A}, targets={"cpu": locked()}, tools={"uv": "1"})
    text = format_lock(lock)
    assert parse_lock(text, "packager.lock") == lock
    assert text.endswith("}\n")
    assert '\n  "inputs": {\n' in text


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        ('{\n<<<<<<< HEAD\n  "version": 1\n=======\n', "merge conflict", 2),
        ('{\n  "version": 1,\n  oops\n}\n', "packager.lock is not a lock", 3),
        ("", "is not a lock", None),
        ("[]", "is not a lock", None),
        ('{"targets": {}}', "is not a lock", None),
        ('{"version": "1"}', "is not a lock", None),
        ('{"version": 2, "surprise": true}', "has the format version 2; this packager knows 1", None),
        ('{"version": 1, "targets": {"cpu": {}}}', "is not a lock", None),
        ("[" * 100_000, "is not a lock", None),
    ],
)
def test_a_damaged_lock_says_where(text: str, message: str, line: int | None) -> None:
    with pytest.raises(LockError) as caught:
        parse_lock(text, "packager.lock")
    assert message in caught.value.message
    assert caught.value.where is not None
    assert caught.value.where.file == "packager.lock"
    assert caught.value.where.line == line or line is None
    assert caught.value.remedy


@pytest.mark.parametrize(
    "change",
    [
        ("locks/cpu.requirements.txt", "/etc/passwd"),
        ("locks/cpu.requirements.txt", "locks/../../x"),
        (f'"base": "{BASE}"', '"base": "python:3.13"'),
        (f'"base": "{BASE}"', f'"base": "{BASE}\\nRUN x"'),
        (f'"base": "{BASE}"', '"base": "Ä"'),
        ('"digest": "sha256:', '"digest": "md5:'),
    ],
)
def test_a_lock_with_values_that_packager_does_not_write_is_refused(change: tuple[str, str]) -> None:
    text = format_lock(Lock(targets={"cpu": locked()}))
    assert change[0] in text
    with pytest.raises(LockError, match="does not write"):
        parse_lock(text.replace(*change), "packager.lock")


# --- what changed ---


def test_equal_requests_have_no_changes() -> None:
    assert changes(REQUEST, REQUEST) == ()


def test_each_change_of_a_request_is_named() -> None:
    wanted = LockRequest(
        python="3.12",
        platforms={ARM: "aarch64-manylinux_2_28"},
        requirements=("numpy>=2", "six<2"),
        constraints=("idna<4",),
        build_from_source=("docopt",),
        base="docker.io/library/python:3.12",
    )
    assert changes(REQUEST, wanted) == (
        "python: 3.13 -> 3.12",
        "platform removed: linux/amd64 (x86_64-manylinux_2_28)",
        "platform added: linux/arm64 (aarch64-manylinux_2_28)",
        "requirement removed: numpy",
        "requirement added: numpy>=2",
        "constraint added: idna<4",
        "build_from_source added: docopt",
        f"base: {BASE} -> docker.io/library/python:3.12",
    )
    assert not REQUEST.same_solve(wanted)


def test_moves() -> None:
    before = [package("a", "1"), package("b", "1"), package("c", "1"), package("d", "1"), package("same", "1")]
    after = [
        package("b", "2"),
        package("c", "1", platforms=(AMD,)),
        package("c", "2", platforms=(ARM,)),
        package("d", "1", B),
        package("e", "1"),
        package("same", "1"),
    ]
    assert moves(before, after) == (
        Move(name="a", before="1", after=None),
        Move(name="b", before="1", after="2"),
        Move(name="c", before="1", after="1 (linux/amd64), 2 (linux/arm64)"),
        Move(name="d", before="1", after="1"),
        Move(name="e", before=None, after="1"),
    )


# --- writing ---


def entries(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_files_are_written_with_the_users_usual_mode(tmp_path: Path) -> None:
    held = os.umask(0o027)
    try:
        write_files(tmp_path, {"locks/a.txt": "ä\n", "b": "2\n"})
    finally:
        os.umask(held)
    assert entries(tmp_path) == {"locks/a.txt": "ä\n", "b": "2\n"}
    assert (tmp_path / "b").stat().st_mode & 0o777 == 0o640


def test_nothing_is_written_when_one_file_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "b").write_text("before\n")
    (tmp_path / "file").write_text("")
    with pytest.raises(PackagerError, match="cannot be written"):
        write_files(tmp_path, {"locks/a.txt": "1\n", "b": "after\n", "file/c": "3\n"})
    assert entries(tmp_path) == {"b": "before\n", "file": ""}
    assert not (tmp_path / "locks").exists()


def test_a_full_disk_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "b").write_text("before\n")
    (tmp_path / "full").symlink_to("/dev/full")
    # The temporary file of `b` leads to a device that is always full.
    (tmp_path / f".b.{os.getpid()}.tmp").symlink_to("/dev/full")
    with pytest.raises(PackagerError, match="No space left"):
        write_files(tmp_path, {"locks/a.txt": "1\n", "b": "after\n"})
    assert (tmp_path / "b").read_text() == "before\n"
    assert not (tmp_path / "locks").exists()


@pytest.mark.parametrize("step", ["open", "replace", "unlink"])
def test_ctrl_c_is_answered_when_all_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    (tmp_path / "b").write_text("before\n")
    original = getattr(Path, step)

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        return original(*args, **kwargs)

    monkeypatch.setattr(Path, step, interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_files(tmp_path, {"locks/a.txt": "after\n", "b": "after\n"})
    monkeypatch.undo()
    assert entries(tmp_path) == {"locks/a.txt": "after\n", "b": "after\n"}
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
