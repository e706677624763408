"""Size, licence and needs of locked packages, by their own metadata; each is looked into once on a machine.

Wheels are laid down for a moment by uv, from its cache where it has them; nothing of theirs is run. What is told of
conda's packages is what rattler has unpacked.

Formats: the packaging specifications "Core metadata" and "Recording installed projects"; conda's `info/`.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from email.parser import HeaderParser
from pathlib import Path

import msgspec

from packager.environments.conda import CondaPackage
from packager.environments.declare.requirement import canonical_name
from packager.environments.dependencies import PackageFacts
from packager.environments.lock import LockedPackage
from packager.environments.locked import LockedPlatform
from packager.errors import PackagerError
from packager.given import read_given
from packager.laying.kinds import PACKAGES
from packager.laying.package_memory import keep_facts, recall_facts
from packager.laying.records import recorded_size
from packager.laying.venv import STAGING
from packager.laying.wheels import Source, unpack
from packager.storage.memory import Memory
from packager.storage.reading import failure

#: Bytes of a metadata file that is read: above any real one.
_LIMIT = 64 << 20
#: Characters of the name of a licence; what is longer is its text.
_LONGEST = 60
_CLASSIFIER = "License :: "
#: Runs of uv with which it is found out which packages its cache has not.
TRIES = 24


def wheel_facts(
    locked: LockedPlatform,
    source: Source,
    cache: Path,
    *,
    fetch: bool,
    tries: int = TRIES,
    memory: Memory | None = None,
) -> dict[str, PackageFacts]:
    """Return the facts of pip's packages, by name; what is not known on this machine is left out, or fetched.

    Args:
        locked: the environment; what is built from source has no wheel, and is left out.
        source: index settings of this machine; its `offline` is not looked at.
        cache: packager's, below which wheels are laid down for a moment.
        fetch: take what neither the memory nor uv's cache has from the index.
        tries: runs of uv at most with which it is found out what its cache has.
        memory: of packages that were looked into; this user's where None.

    Raises:
        LockError: a wheel is not what was locked, or is not there for this platform; only where it is to be fetched.
        TemporaryError: the index does not answer; likewise.
        ContextError: the cache cannot be written.
    """
    found = recall_facts(locked, memory)
    waiting = [each for each in locked.packages if each.name not in found and each.name not in locked.from_source]
    looked = dict(
        _look(locked, waiting, source, cache) if fetch else _look_offline(locked, waiting, source, cache, [tries])
    )
    keep_facts(locked, looked, memory)
    return found | looked


def _look_offline(
    locked: LockedPlatform, packages: Sequence[LockedPackage], source: Source, cache: Path, tries: list[int]
) -> Iterator[tuple[str, PackageFacts]]:
    """Look into what uv's cache has: where it lacks some of them, each half is asked for by itself."""
    if not packages or not tries[0]:
        return
    tries[0] -= 1
    try:
        yield from _look(locked, packages, msgspec.structs.replace(source, offline=True), cache)
    except PackagerError:
        middle = len(packages) // 2
        for half in (packages[:middle], packages[middle:]) if middle else ():
            yield from _look_offline(locked, half, source, cache, tries)


def _look(
    locked: LockedPlatform, packages: Sequence[LockedPackage], source: Source, cache: Path
) -> Iterable[tuple[str, PackageFacts]]:
    if not packages:
        return ()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        outer = Path(tempfile.mkdtemp(prefix=".looking-", dir=cache))
    except OSError as error:
        raise failure("written", cache, error) from None
    try:
        staging = outer / f"{STAGING}0"
        site = staging / unpack(packages, locked.python, locked.platform, locked.tags, source, staging)
        return [
            (canonical_name(info.name.removesuffix(".dist-info").partition("-")[0]), facts_in(info))
            for info in sorted(site.glob("*.dist-info"))
        ]
    finally:
        shutil.rmtree(outer, ignore_errors=True)


def facts_in(info: Path) -> PackageFacts:
    """Return what a `.dist-info` folder tells; what of it cannot be read is as if it said nothing."""
    metadata, record = (_text(info / name) for name in ("METADATA", "RECORD"))
    return parse_facts(metadata, record)


def parse_facts(metadata: str, record: str) -> PackageFacts:
    """Return what the texts of METADATA and RECORD tell. Pure."""
    headers = HeaderParser().parsestr(metadata)
    size = 0
    with contextlib.suppress(ValueError):  # a RECORD that is no CSV
        size = recorded_size(record)
    return PackageFacts(
        size=size,
        license=_license(
            str(headers.get("License-Expression") or ""),
            [str(each) for each in headers.get_all("Classifier") or ()],
            str(headers.get("License") or ""),
        ),
        requires=tuple(str(each) for each in headers.get_all("Requires-Dist") or ()),
    )


def _license(expression: str, classifiers: Iterable[str], text: str) -> str:
    """Return the name of a licence: the expression, else what the classifiers name, else a text that is short."""
    named = [
        each.removeprefix(_CLASSIFIER).rpartition(" :: ")[2] for each in classifiers if each.startswith(_CLASSIFIER)
    ]
    first = text.strip().partition("\n")[0].strip()
    short = first if 0 < len(first) <= _LONGEST and first.upper() != "UNKNOWN" else ""
    # "OSI Approved" alone names none.
    return expression.strip() or ", ".join(each for each in named if each != "OSI Approved") or short


def conda_facts(packages: Iterable[CondaPackage], subdir: str, cache: Path) -> dict[str, PackageFacts]:
    """Return the facts of conda's packages, by name, of those that were unpacked on this machine.

    Args:
        packages: of one platform.
        subdir: that platform, in conda's words.
        cache: packager's.
    """
    found = {}
    for package in packages:
        stem = package.file_name.removesuffix(".conda").removesuffix(".tar.bz2")
        info = cache / PACKAGES / subdir / stem / "info"
        with contextlib.suppress(ValueError, TypeError, KeyError, AttributeError):
            index, paths = json.loads(_text(info / "index.json")), json.loads(_text(info / "paths.json"))
            size = sum(int(each.get("size_in_bytes") or 0) for each in paths["paths"])
            found[package.name] = PackageFacts(size=size, license=str(index.get("license") or ""))
    return found


def _text(path: Path) -> str:
    with contextlib.suppress(OSError):
        return read_given(path, _LIMIT).decode("utf-8", "replace")
    return ""
