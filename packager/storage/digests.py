"""Digests of files that were read before, so that an unchanged model is never read again.

A file is the same when its path, device, inode, size and both times are (git's index trusts the same). This is a cache
beside the store: whatever is wrong with it, a command reads the file instead and goes on.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packager.storage.reading import Stamp

if TYPE_CHECKING:
    import sqlite3

#: Nanoseconds that a file must have rested before its times tell a later change. The kernel stamps files by a clock
#: that ticks every 1 to 10 ms, so a write just after ours could leave them as they were (git: "racily clean").
RESTED_NS = 50_000_000

#: Seconds to wait for another process before going on without the memory.
_PATIENCE = 0.5

_SCHEMA = """
CREATE TABLE IF NOT EXISTS digests (
    path TEXT PRIMARY KEY, device INTEGER, inode INTEGER, size INTEGER, mtime_ns INTEGER, ctime_ns INTEGER, digest TEXT
) WITHOUT ROWID
"""
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")


class DigestMemory:
    """Digests by path and stamp, in one SQLite file.

    Args:
        file: the database; made with its folder when something is first remembered.
        clock: the time now, in nanoseconds since the epoch.
    """

    def __init__(self, file: Path, clock: Callable[[], int] = time.time_ns) -> None:
        self._file = file
        self._clock = clock
        self._connection: sqlite3.Connection | None = None
        self._usable = True

    def recall(self, path: str, stamp: Stamp) -> str | None:
        """Return the digest of a file that still has this stamp; None when it is not known."""
        if self._connection is None and not self._file.exists():
            return None
        rows = self._run("SELECT device, inode, size, mtime_ns, ctime_ns, digest FROM digests WHERE path = ?", path)
        if not rows or rows[0][:5] != _signed(stamp):
            return None
        digest = rows[0][5]
        return digest if isinstance(digest, str) and _DIGEST.match(digest) else None

    def remember(self, path: str, stamp: Stamp, digest: str, *, read_at: int) -> None:
        """Remember a digest, unless the file was written so shortly before that its times could miss a change.

        Args:
            path: absolute.
            stamp: of the file, the same before and after it was read.
            digest: sha256 as 64 hex digits.
            read_at: when reading began, in nanoseconds since the epoch, by the same clock.
        """
        if max(stamp.mtime_ns, stamp.ctime_ns) + RESTED_NS <= read_at:
            self._run("INSERT OR REPLACE INTO digests VALUES (?, ?, ?, ?, ?, ?, ?)", path, *_signed(stamp), digest)

    def now(self) -> int:
        """Return the time now, in nanoseconds since the epoch."""
        return self._clock()

    def __len__(self) -> int:
        rows = self._run("SELECT count(*) FROM digests") if self._file.exists() else []
        return int(rows[0][0]) if rows else 0

    def forget_missing(self) -> int:
        """Forget the digests of files that are gone; return how many."""
        rows = self._run("SELECT path FROM digests") if self._file.exists() else []
        gone = [path for (path,) in rows if not os.path.lexists(path)]
        for path in gone:
            self._run("DELETE FROM digests WHERE path = ?", path)
        return len(gone)

    def close(self) -> None:
        """Close the database; the next use opens it again."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def __del__(self) -> None:
        # Python warns of connections that are left open; a memory lives as long as its store, which nobody closes.
        self.close()

    def _run(self, statement: str, *values: Any) -> list[Any]:
        """Execute one statement; nothing is found and nothing kept when the database cannot be used."""
        import sqlite3

        for attempt in range(2):
            if not self._usable:
                return []
            try:
                if self._connection is None:
                    self._connection = self._connect()
                return self._connection.execute(statement, values).fetchall()
            except (sqlite3.Error, OSError, UnicodeError) as error:
                self._give_up(error, last=attempt == 1)
        return []

    def _connect(self) -> sqlite3.Connection:
        import sqlite3

        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        connection = sqlite3.connect(self._file, timeout=_PATIENCE, isolation_level=None)
        # A cache may be lost in a power failure; waiting for the disk at every file would cost more than it saves.
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute(_SCHEMA)
        return connection

    def _give_up(self, error: Exception, *, last: bool) -> None:
        """After an error: start over with an empty database where the file is broken, else do without it."""
        import sqlite3

        with contextlib.suppress(sqlite3.Error):
            self.close()
        self._connection = None
        # The low byte of an extended code is the primary one.
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        broken = code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)
        if last or not broken:
            self._usable = False
            return
        with contextlib.suppress(OSError):
            self._file.unlink()


def _signed(stamp: Stamp) -> tuple[int, ...]:
    """SQLite's integers are signed, and some filesystems use all 64 bits for an inode."""
    return tuple(value - (1 << 64) if value >= 1 << 63 else value for value in stamp)
