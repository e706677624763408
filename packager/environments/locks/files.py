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

from packager.decoding import decode_json
from packager.environments.conda import CondaPackage, LockedConda, minor
from packager.environments.declare.requirements_txt import logical_lines
from packager.environments.lock import FORMAT, Lock, LockedPackage, LockedTarget
from packager.environments.locked import LockedCondaHalf, LockedPlatform
from packager.environments.locks.conda_file import conda_lock_path, lock_folder, parse_conda_lock
from packager.errors import Location, LockError, PackagerError, SpecError
from packager.given import find_conflict, read_given
from packager.reference import Reference
from packager.spec.load import LOCK_NAME, SpecFile
from packager.spec.model import canonical
from packager.targets import machine

#: Bytes: those of some ten thousand packages.
MAX_LOCK_BYTES = 64 << 20

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


def requirements_path(target: str, lock: str = LOCK_NAME) -> str:
    """Return the path of a target's requirements file, relative to the folder of the spec.

    Args:
        target: its name.
        lock: name of the lock's own file.
    """
    return f"{lock_folder(lock)}/{target}.requirements.txt"


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
    name = file.rpartition("/")[2]
    conflict = find_conflict(text)
    if conflict is not None:
        raise LockError(
            f"{name} has an unresolved merge conflict",
            where=Location(file=file, line=conflict),
            remedy="take either side of packager.lock and locks/, then run `packager lock`",
        )
    remedy = "take the file back from version control, or delete it and run `packager lock`"
    try:
        version = decode_json(text, _Version).version
        if version != FORMAT:
            raise LockError(
                f"{name} has the format version {version}; this packager knows {FORMAT}",
                where=Location(file=file),
                remedy="use the version of packager that wrote it, or delete it and run `packager lock`",
            )
        lock = decode_json(text, Lock)
    except (msgspec.DecodeError, RecursionError) as error:
        where = Location(file=file, line=_line_of(error, text))
        raise LockError(f"{name} is not a lock: {error}", where=where, remedy=remedy) from None
    for target, locked in lock.targets.items():
        if not _is_ours(target, locked, name):
            where = Location(file=file, field=f"targets.{target}")
            raise LockError(f"{name} holds what packager does not write", where=where, remedy=remedy)
    return lock


class _Version(msgspec.Struct, frozen=True):
    version: int


def _line_of(error: Exception, text: str) -> int | None:
    found = re.search(r"\(byte (\d+)\)", str(error))
    return text.encode().count(b"\n", 0, int(found[1])) + 1 if found else None


def _is_ours(name: str, locked: LockedTarget, lock: str) -> bool:
    """Whether paths and references are what we write: they are read, and go into a Dockerfile, later on."""
    ours = locked.requirements == requirements_path(name, lock) and _HASH.fullmatch(locked.digest) is not None
    return ours and _is_pinned(locked.base) and _is_our_conda(name, locked, lock)


def _is_pinned(reference: str) -> bool:
    try:
        return Reference.parse(reference).digest is not None and str(Reference.parse(reference)) == reference
    except PackagerError:
        return False


def _is_our_conda(name: str, locked: LockedTarget, lock: str) -> bool:
    if isinstance(locked.conda, UnsetType) or isinstance(locked.request.conda, UnsetType):
        return locked.conda is locked.request.conda
    conda: LockedConda = locked.conda
    return (
        conda.file == conda_lock_path(name, lock)
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
        LockError: it cannot be read, is no regular file, or larger than `MAX_LOCK_BYTES`.
    """
    try:
        return read_given(path, MAX_LOCK_BYTES).decode()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        remedy = "take it back from version control, or delete it and run `packager lock`"
        raise LockError(
            f"{path.name} cannot be read: {reason}", where=Location(file=str(path)), remedy=remedy
        ) from None


class TargetLock(msgspec.Struct, frozen=True, kw_only=True):
    """A target's part of the lock, and what its files hold for all of its platforms.

    Attributes:
        target: its name.
        locked: its part of `packager.lock`.
        packages: pip's.
        requirements: text of the requirements file.
        conda_packages: conda's; none for an environment of pip alone.
        conda_text: text of the conda-lock file; empty where there is none.
    """

    target: str
    locked: LockedTarget
    packages: tuple[LockedPackage, ...]
    requirements: str
    conda_packages: tuple[CondaPackage, ...] = ()
    conda_text: str = ""

    def on(self, platform: str, variables: Mapping[str, str] | None = None) -> LockedPlatform:
        """Return what is locked for one platform.

        Args:
            platform: OCI os/arch.
            variables: environment variables that the environment declares.

        Raises:
            SpecError: the target was not locked for this platform.
            LockError: the conda-lock file holds nothing for it.
        """
        request, conda = self.locked.request, None
        if platform not in request.platforms:
            raise SpecError(
                f"target {self.target!r} is not locked for {platform}",
                remedy=f"locked: {', '.join(request.platforms)}; name others under `targets: "
                f"{{{self.target}: {{platforms: […]}}}}` and run `packager lock`",
            )
        if not isinstance(self.locked.conda, UnsetType) and not isinstance(request.conda, UnsetType):
            conda = LockedCondaHalf(
                packages=tuple(package for package in self.conda_packages if package.platform == platform),
                channels=request.conda.channels,
                digest=self.locked.conda.digest,
                installer=self.locked.conda.installer,
            )
            if not conda.packages:
                raise LockError(f"the lock holds no conda packages for {platform}", remedy="run `packager lock`")
        pythons = (minor(package.version) for package in (conda.packages if conda else ()) if package.name == "python")
        return LockedPlatform(
            target=self.target,
            platform=platform,
            tags=request.platforms[platform],
            python=next(pythons, request.python),
            base=self.locked.base,
            packages=tuple(
                msgspec.structs.replace(package, platforms=())
                for package in self.packages
                if not package.platforms or platform in package.platforms
            ),
            from_source=request.build_from_source,
            requirements_digest=self.locked.digest,
            lock_digest=f"sha256:{hashlib.sha256(canonical(self.locked)).hexdigest()}",
            conda=conda,
            variables=dict(variables or {}),
        )


def target_lock(spec_file: SpecFile, target: str, locked: LockedTarget, requirements: str, conda: str) -> TargetLock:
    """Return a target's part of a lock with what its files hold.

    Args:
        spec_file: the spec, for error messages.
        target: name of the target.
        locked: its part of the lock.
        requirements: text of its requirements file.
        conda: text of its conda-lock file; empty where it has none.

    Raises:
        LockError: a text is not what packager writes.
    """
    shown, platforms = spec_file.document.path.parent, locked.request.platforms
    conda_packages: tuple[CondaPackage, ...] = ()
    if not isinstance(locked.conda, UnsetType):
        conda_packages = parse_conda_lock(conda, file=str(shown / locked.conda.file), platforms=platforms)
    return TargetLock(
        target=target,
        locked=locked,
        packages=parse_requirements(requirements, platforms, file=str(shown / locked.requirements)),
        requirements=requirements,
        conda_packages=conda_packages,
        conda_text=conda,
    )
