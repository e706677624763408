"""The files of a lock: `packager.lock` and `locks/<target>.requirements.txt`, as text and on disk.

The conda half, `locks/<target>.conda-lock.yml`, is read here; `conda.file` has its text.

The requirements file is in pip's own format and `pip install --require-hashes --no-deps -r` takes it; it names no
index, so it works with every mirror.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec
from msgspec import UnsetType

from packager.environments.conda import CondaPackage, LockedConda
from packager.environments.declare.requirements_txt import logical_lines
from packager.environments.lock import FORMAT, Lock, LockedPackage, LockedTarget
from packager.environments.locks.conda_file import conda_lock_path, find_conflict, parse_conda_lock
from packager.errors import Location, LockError, PackagerError
from packager.reference import Reference
from packager.spec.load import SpecFile
from packager.targets import machine

# No version, no date and no host: the same packages give the same bytes, on any day and machine.
HEADER = """\
# Made by packager; do not edit: `packager lock` writes this file anew when the requirements change,
# `packager lock --upgrade` takes newer versions.
"""

_MACHINE = re.compile(r"platform_machine == '([A-Za-z0-9_]+)'")
_MARKER = rf"{_MACHINE.pattern}(?: or {_MACHINE.pattern})*"
_ENTRY = re.compile(
    rf"(?P<name>[a-z0-9]+(?:-[a-z0-9]+)*)==(?P<version>\S+)(?: ; (?P<marker>{_MARKER}))?"
    r"(?P<hashes>(?:\s+--hash=sha256:[0-9a-f]{64})+)"
)
# What most versions are; the library that knows all is imported for others alone.
_RELEASE = re.compile(r"[0-9]+(?:\.[0-9]+)*(?:(?:a|b|rc)[0-9]+)?(?:\.post[0-9]+)?")
_HASH = re.compile(r"sha256:([0-9a-f]{64})")


def requirements_path(target: str) -> str:
    """Return the path of a target's requirements file, relative to the folder of the spec."""
    return f"locks/{target}.requirements.txt"


def digest_of(text: str) -> str:
    """Return the digest of a text in UTF-8, as `sha256:…`."""
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


# --- locks/<target>.requirements.txt ----------------------------------------------------------------------------------


def merge(solved: Mapping[str, Iterable[LockedPackage]]) -> tuple[LockedPackage, ...]:
    """Return the packages of all platforms in one list: equal versions joined, others marked with their platforms.

    Args:
        solved: platform → its packages.
    """
    found: dict[tuple[str, str], tuple[set[str], set[str]]] = {}
    for platform, packages in solved.items():
        for package in packages:
            platforms, digests = found.setdefault((package.name, package.version), (set(), set()))
            platforms.add(platform)
            digests.update(package.digests)
    return tuple(
        LockedPackage(
            name=name,
            version=version,
            digests=tuple(sorted(digests)),
            platforms=() if len(platforms) == len(solved) else tuple(sorted(platforms)),
        )
        for (name, version), (platforms, digests) in sorted(found.items())
    )


def format_requirements(packages: Iterable[LockedPackage]) -> str:
    """Return the text of a requirements file: one entry a package, sorted, its hashes below it."""
    parts = [HEADER]
    for package in sorted(packages, key=lambda each: (each.name, each.version)):
        line = f"{package.name}=={package.version}"
        if package.platforms:
            machines = sorted({machine(each) for each in package.platforms})
            line += " ; " + " or ".join(f"platform_machine == '{each}'" for each in machines)
        hashes = [f"    --hash=sha256:{digest}" for digest in package.digests]
        parts.append(" \\\n".join([line, *hashes]) + "\n")
    return "".join(parts)


def parse_requirements(text: str, platforms: Iterable[str] = (), *, file: str = "") -> tuple[LockedPackage, ...]:
    """Return the packages of a text that `format_requirements` wrote.

    Args:
        text: of the file.
        platforms: those that were locked, in OCI's words, to which markers are led back.
        file: named in errors.

    Raises:
        LockError: a line is not of that form.
    """
    names = {machine(platform): platform for platform in platforms}
    packages = []
    for number, line in logical_lines(text):
        entry = _ENTRY.fullmatch(line)
        if not entry or not _is_version(entry["version"]):
            raise LockError(
                "a line is not of the form that packager writes",
                where=Location(file=file or "the requirements file", line=number),
                remedy="take the file back from version control, or run `packager lock`",
            )
        machines = _MACHINE.findall(entry["marker"] or "")
        packages.append(
            LockedPackage(
                name=entry["name"],
                version=entry["version"],
                digests=tuple(_HASH.findall(entry["hashes"])),
                platforms=tuple(sorted(names.get(each, f"linux/{each}") for each in machines)),
            )
        )
    return tuple(packages)


def _is_version(text: str) -> bool:
    if _RELEASE.fullmatch(text):
        return True
    from packaging.version import InvalidVersion, Version

    try:
        Version(text)
    except InvalidVersion:
        return False
    return True


# --- packager.lock ----------------------------------------------------------------------------------------------------


def format_lock(lock: Lock) -> str:
    """Return the text of `packager.lock`: keys sorted, two spaces, a line break at the end."""
    return msgspec.json.format(msgspec.json.encode(lock, order="sorted"), indent=2).decode() + "\n"


def parse_lock(text: str, file: str) -> Lock:
    """Return the lock that a text holds.

    Raises:
        LockError: a merge conflict, not JSON, of another format version, or values that packager does not write.
    """
    conflict = find_conflict(text)
    if conflict is not None:
        raise LockError(
            "has an unresolved merge conflict",
            where=Location(file=file, line=conflict),
            remedy="take either side of packager.lock and locks/, then run `packager lock`",
        )
    remedy = "take the file back from version control, or delete it and run `packager lock`"
    try:
        version = msgspec.json.decode(text, type=_Version).version
        if version != FORMAT:
            raise LockError(
                f"has the format version {version}; this packager knows {FORMAT}",
                where=Location(file=file),
                remedy="use the version of packager that wrote it, or delete it and run `packager lock`",
            )
        lock = msgspec.json.decode(text, type=Lock)
    except (msgspec.DecodeError, RecursionError) as error:
        where = Location(file=file, line=_line_of(error, text))
        raise LockError(f"is not a lock: {error}", where=where, remedy=remedy) from None
    for name, locked in lock.targets.items():
        if not _is_ours(name, locked):
            where = Location(file=file, field=f"targets.{name}")
            raise LockError("holds what packager does not write", where=where, remedy=remedy)
    return lock


class _Version(msgspec.Struct):
    version: int


def _line_of(error: Exception, text: str) -> int | None:
    found = re.search(r"\(byte (\d+)\)", str(error))
    return text.encode().count(b"\n", 0, int(found[1])) + 1 if found else None


def _is_ours(name: str, locked: LockedTarget) -> bool:
    """Whether paths and references are what we write: they are read, and go into a Dockerfile, later on."""
    ours = locked.requirements == requirements_path(name) and _HASH.fullmatch(locked.digest) is not None
    return ours and _is_pinned(locked.base) and _is_our_conda(name, locked)


def _is_pinned(reference: str) -> bool:
    try:
        return Reference.parse(reference).digest is not None and str(Reference.parse(reference)) == reference
    except PackagerError:
        return False


def _is_our_conda(name: str, locked: LockedTarget) -> bool:
    if isinstance(locked.conda, UnsetType) or isinstance(locked.request.conda, UnsetType):
        return locked.conda is locked.request.conda
    conda: LockedConda = locked.conda
    return (
        conda.file == conda_lock_path(name)
        and _HASH.fullmatch(conda.digest) is not None
        and _is_pinned(conda.installer)
    )


def read_lock(spec_file: SpecFile) -> Lock | None:
    """Return the lock beside a spec; `None` where there is none.

    Raises:
        LockError: it cannot be read, or is not a lock of this format.
    """
    path = spec_file.lock_path
    text = read_file(path)
    return None if text is None else parse_lock(text, str(spec_file.document.path.parent / path.name))


def read_file(path: Path) -> str | None:
    """Return the UTF-8 text of a file of the lock, its line ends untouched; `None` where there is none.

    Raises:
        LockError: it cannot be read.
    """
    try:
        return path.read_bytes().decode()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        remedy = "take it back from version control, or delete it and run `packager lock`"
        raise LockError(f"cannot be read: {reason}", where=Location(file=str(path)), remedy=remedy) from None


def read_locked(spec_file: SpecFile, target_name: str) -> tuple[LockedTarget, tuple[LockedPackage, ...], str]:
    """Return a target's part of the lock, its packages, and the text of its requirements file.

    Whether the lock still fits the spec is asked of `locking.require_fresh`.

    Raises:
        LockError: there is no lock, the target is not in it, or its requirements file is missing or edited by hand.
    """
    shown = spec_file.document.path.parent
    lock = read_lock(spec_file)
    if lock is None:
        raise LockError("there is no packager.lock beside the spec", remedy="run `packager lock`, and commit its files")
    if target_name not in lock.targets:
        raise LockError(
            f"the target {target_name!r} is not in the lock",
            where=Location(file=str(shown / "packager.lock")),
            remedy="run `packager lock`",
        )
    locked = lock.targets[target_name]
    text = _untouched(spec_file, locked.requirements, locked.digest)
    file = str(shown / locked.requirements)
    return locked, parse_requirements(text, locked.request.platforms, file=file), text


def read_conda(spec_file: SpecFile, locked: LockedTarget) -> tuple[tuple[CondaPackage, ...], str]:
    """Return the conda packages of a target, of all its platforms, and the text of its conda-lock file.

    Both are empty for an environment of pip alone.

    Raises:
        LockError: the file is missing, or was edited by hand.
    """
    if isinstance(locked.conda, UnsetType):
        return (), ""
    text = _untouched(spec_file, locked.conda.file, locked.conda.digest)
    file = str(spec_file.document.path.parent / locked.conda.file)
    return parse_conda_lock(text, file=file, platforms=locked.request.platforms), text


def _untouched(spec_file: SpecFile, path: str, digest: str) -> str:
    text = read_file(spec_file.root / path)
    if text is None or digest_of(text) != digest:
        raise LockError(
            "the file is missing" if text is None else "the file was edited by hand: its digest is not the lock's",
            where=Location(file=str(spec_file.document.path.parent / path)),
            remedy="take it back from version control, or run `packager lock`",
        )
    return text
