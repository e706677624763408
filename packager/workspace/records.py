"""The records of a folder workspace: read from its files, or from memory where nothing of a name changed.

A change makes a new name in the folder of what it is about, so that folder's time tells it. A folder that changed just
now is read again the next time: its time may be the same after the next change.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from packager.decoding import decode_msgpack, json_decoder
from packager.errors import ContextError
from packager.given import read_given
from packager.storage.memory import Memory, cache_root
from packager.storage.reading import failure
from packager.workspace.drafts import MOST_FILES, State, with_state
from packager.workspace.names import is_name
from packager.workspace.values import Kind, Version

#: Bytes of a record: 200,000 files with long paths.
_LIMIT = 64 << 20
#: Nanoseconds after which the time of a folder tells any later change, on a filesystem that counts in two seconds.
_RESTED = 4 * 10**9

_CHANGED = re.compile(r"([0-9]{1,9})\.([0-9]{1,9})\.json\Z", re.ASCII)
_NUMBER = re.compile(r"[0-9]{1,9}\Z", re.ASCII)

_RECORD = json_decoder(Version)
_STATE = json_decoder(State)


class _Known(msgspec.Struct, frozen=True, array_like=True):
    """What the folder of one name held when its time was `mtime` (nanoseconds)."""

    mtime: int
    versions: tuple[Version, ...]


class Records:
    """The versions of one kind.

    Args:
        folder: has a folder for each name.
        kind: of them.
    """

    def __init__(self, folder: Path, kind: Kind) -> None:
        self._folder, self._kind = folder, kind
        self._memory = Memory("versions", cache_root() / "workspaces")

    def read(self, name: str) -> tuple[dict[int, Version], tuple[str, ...]]:
        """Return number → version of one name, and what is damaged, a sentence each.

        Raises:
            ContextError: the folder cannot be read.
        """
        folder = self._folder / name
        try:
            there = set(os.listdir(folder)) if is_name(name) else set()
        except (FileNotFoundError, NotADirectoryError):
            return {}, ()
        except OSError as error:
            raise failure("read", folder, error) from None
        found, damage = dict[int, Version](), []
        latest = _latest(there)
        for entry in there:
            if not _NUMBER.match(entry) or f"{entry}.deleted" in there:
                continue
            try:
                found[int(entry)] = self._one(folder, entry, latest.get(int(entry)))
            except FileNotFoundError:
                if (folder / entry).exists() and not (folder / f"{entry}.deleted").exists():
                    damage.append(f"{name}:{entry} has no record ({folder / entry / 'version.json'} is gone)")
            except (OSError, msgspec.MsgspecError, ValueError) as error:
                damage.append(f"the record of {name}:{entry} cannot be read ({folder / entry}): {_reason(error)}")
        return found, tuple(sorted(damage))

    def read_all(self) -> tuple[tuple[Version, ...], tuple[str, ...]]:
        """Return all versions, sorted by name and number, and what is damaged.

        Raises:
            ContextError: the folder cannot be read.
        """
        known, key = self._recall(), (str(self._folder),)
        now, fresh, damage = time.time_ns(), dict[str, _Known](), list[str]()
        every, anew = list[Version](), False
        for name, mtime in self._names():
            if (seen := known.get(name)) is not None and seen.mtime == mtime:
                fresh[name] = seen
                every += seen.versions
                continue
            found, broken = self.read(name)
            versions = tuple(found[number] for number in sorted(found))
            every += versions
            damage += broken
            if not broken and mtime + _RESTED < now:
                fresh[name] = _Known(mtime, versions)
                anew = True
        if anew or fresh.keys() != known.keys():
            self._memory.remember(msgspec.msgpack.encode(fresh), *key)
        return tuple(every), tuple(damage)

    def _names(self) -> list[tuple[str, int]]:
        try:
            with os.scandir(self._folder) as entries:
                return sorted(
                    (entry.name, entry.stat().st_mtime_ns)
                    for entry in entries
                    if is_name(entry.name) and entry.is_dir()
                )
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise failure("read", self._folder, error) from None

    def _recall(self) -> Mapping[str, _Known]:
        data = self._memory.recall(str(self._folder))
        if data is None:
            return {}
        try:
            return decode_msgpack(data, dict[str, _Known])
        except msgspec.MsgspecError:
            return {}

    def _one(self, folder: Path, entry: str, change: int | None) -> Version:
        version = _RECORD.decode(read_given(folder / entry / "version.json", _LIMIT))
        if (version.kind, version.name, str(version.version)) != (self._kind, folder.name, entry):
            raise ValueError(f"it is one of {version.kind} {version.id}")
        if len(version.files) > MOST_FILES:
            raise ValueError("it has too many files")
        if change is None:
            return version
        return with_state(version, _STATE.decode(read_given(folder / f"{entry}.{change}.json")))


def json_of(value: Any) -> bytes:
    """Return a value as JSON that people read."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"


def _latest(there: set[str]) -> dict[int, int]:
    """Return number of the version → number of its last change."""
    found: dict[int, int] = {}
    for name in there:
        if match := _CHANGED.match(name):
            number, change = int(match[1]), int(match[2])
            found[number] = max(change, found.get(number, 0))
    return found


def _reason(error: Exception) -> str:
    if isinstance(error, ContextError):
        return error.message
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
