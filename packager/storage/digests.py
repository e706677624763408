"""Digests of files that were read before, so that an unchanged model is never read again.

A file is the same when its path, device, inode, size and both times are (git's index trusts the same). Whatever is
wrong with what is remembered, a command reads the file instead and goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import msgspec

from packager.decoding import json_decoder
from packager.storage.memory import Memory
from packager.storage.reading import Stamp

#: Nanoseconds that a file must have rested before its times tell a later change. The kernel stamps files by a clock
#: that ticks every 1 to 10 ms, so a write just after ours could leave them as they were (git: "racily clean").
RESTED_NS = 50_000_000


class _Note(msgspec.Struct, frozen=True):
    stamp: Stamp
    digest: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]


#: Made when there is one thread: of several that decode a new type at once, one crashes (msgspec 0.22).
_NOTE = json_decoder(_Note)


class DigestMemory:
    """Digests by path and stamp.

    Args:
        root: of the store that has the files.
        clock: the time now, in nanoseconds since the epoch.
    """

    def __init__(self, root: Path, clock: Callable[[], int] = time.time_ns) -> None:
        self._memory = Memory("digests", root)
        self.now = clock

    def recall(self, path: str, stamp: Stamp) -> str | None:
        """Return the digest of a file that still has this stamp; None when it is not known."""
        with suppress(msgspec.MsgspecError):
            note = _NOTE.decode(self._memory.recall(path) or b"")
            return note.digest if note.stamp == stamp else None
        return None

    def remember(self, path: str, stamp: Stamp, digest: str, *, read_at: int) -> None:
        """Remember a digest, unless the file was written so shortly before that its times could miss a change.

        Args:
            path: absolute.
            stamp: of the file, the same before and after it was read.
            digest: sha256 as 64 hex digits.
            read_at: when reading began, in nanoseconds since the epoch, by the same clock.
        """
        if max(stamp.mtime_ns, stamp.ctime_ns) + RESTED_NS <= read_at:
            self.note(path, stamp, digest)

    def note(self, path: str, stamp: Stamp, digest: str) -> None:
        """Remember a digest of a file that nobody writes to, however short the time since it got this stamp."""
        self._memory.remember(msgspec.json.encode(_Note(stamp, digest)), path)
