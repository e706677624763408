"""What the members of a wheel may be: files inside it, each once, each in its RECORD, and nothing more. Pure.

Formats: PKWARE's APPNOTE, 4.4.15 (external attributes; the upper half is the Unix mode, as Info-ZIP writes it), and the
packaging specification "Binary distribution format": "installation will fail if any file in the archive is not both
mentioned and correctly hashed in RECORD".
"""

from __future__ import annotations

import posixpath
import re
import stat
from collections.abc import Iterator, Sequence

import msgspec

from packager.laying.records import record_rows

_DRIVE = re.compile(r"[A-Za-z]:")
_RECORD = re.compile(r"[^/]+\.dist-info/RECORD")
# A RECORD cannot name its own digest, and these are signatures of it.
_UNRECORDED = re.compile(r"[^/]+\.dist-info/RECORD(?:\.jws|\.p7s)?")
_DO_NOT_USE = "do not use this wheel: take another version, or another index"
_ENGINE = "take another version, or `--builder engine`, where pip takes the wheel as it is"


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """One member of a wheel: its name as it is written there, and its Unix mode (0 where it has none)."""

    name: str
    mode: int = 0


class Unfit(msgspec.Struct, frozen=True, kw_only=True):
    """Why a wheel is not laid down: what it does (`holds …`, for after its name), and what to do about it."""

    message: str
    remedy: str


def record_name(members: Sequence[Member]) -> str | None:
    """Return the name of a wheel's RECORD; None where there is not exactly one."""
    found = [member.name for member in members if _RECORD.fullmatch(member.name)]
    return found[0] if len(found) == 1 else None


def judge(members: Sequence[Member], record: str | None) -> Unfit | None:
    """Return the first reason against a wheel; None where there is none.

    Args:
        members: of the archive.
        record: text of its RECORD; None where that is not known, and members are not held against it.
    """
    for reason in _unsafe(members):
        return Unfit(message=reason, remedy=_DO_NOT_USE)
    for reason in _differences(members, record) if record is not None else ():
        return Unfit(message=reason, remedy=_ENGINE)
    return None


def _unsafe(members: Sequence[Member]) -> Iterator[str]:
    seen: set[str] = set()
    for member in members:
        problem = _problem(member)
        if problem is not None:
            yield f"holds {member.name!r}, {problem}"
        if member.name in seen:
            # Readers of archives differ in which of the two they take.
            yield f"holds {member.name!r} twice"
        seen.add(member.name)


def _problem(member: Member) -> str | None:
    name, kind = member.name, stat.S_IFMT(member.mode)
    if name.startswith("/") or _DRIVE.match(name):
        return "which is an absolute name"
    if ".." in name.split("/"):
        return "which leaves the folder that it is unpacked in"
    if "\\" in name or not name.isprintable():
        return "which is not inside the environment on every system"
    if kind == stat.S_IFLNK:
        return "which is a symbolic link"
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "which is neither a file nor a folder"
    return None


def _differences(members: Sequence[Member], record: str) -> Iterator[str]:
    files = {member.name for member in members if not member.name.endswith("/")}
    try:
        paths = [path for path, _, _ in record_rows(record)]
    except ValueError:
        return  # whoever reads what was laid down says it
    named = {posixpath.normpath(name) for name in paths if name and not name.endswith("/")}
    for name in sorted(named - files):
        yield f"names {name!r} in its RECORD and does not hold it"
    for name in sorted(files - named):
        if not _UNRECORDED.fullmatch(name):
            yield f"holds {name!r}, which is not in its RECORD"
