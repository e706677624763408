"""Small facts about files that never change (by digest), in one SQLite file, so that they are found out once.

A cache, as `packager.digest_memory` is one: whatever is wrong with it, nothing is remembered and the work is done anew.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import sqlite3

#: Seconds to wait for another process before going on without the memory.
_PATIENCE = 0.5

_SCHEMA = "CREATE TABLE IF NOT EXISTS facts (key TEXT PRIMARY KEY, fact BLOB) WITHOUT ROWID"


class FactsMemory:
    """Facts by key.

    Args:
        file: the database; made with its folder when something is first remembered. None remembers nothing.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._connection: sqlite3.Connection | None = None

    def recall(self, key: str) -> bytes | None:
        """Return a fact; None when it is not known."""
        if self._file is None or (self._connection is None and not self._file.exists()):
            return None
        rows = self._run("SELECT fact FROM facts WHERE key = ?", key)
        return rows[0][0] if rows and isinstance(rows[0][0], bytes) else None

    def remember(self, key: str, fact: bytes) -> None:
        """Keep a fact."""
        self._run("INSERT OR REPLACE INTO facts VALUES (?, ?)", key, fact)

    def close(self) -> None:
        """Close the database; the next use opens it again."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def __del__(self) -> None:
        # Python warns of connections that are left open.
        self.close()

    def _run(self, statement: str, *values: Any) -> list[Any]:
        """Execute one statement; nothing is found and nothing kept when the database cannot be used."""
        import sqlite3

        for _ in range(2):
            if self._file is None:
                return []
            try:
                if self._connection is None:
                    self._connection = self._connect(self._file)
                return self._connection.execute(statement, values).fetchall()
            except (sqlite3.Error, OSError) as error:
                self._give_up(error)
        return []

    def _connect(self, file: Path) -> sqlite3.Connection:
        import sqlite3

        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        connection = sqlite3.connect(file, timeout=_PATIENCE, isolation_level=None)
        # A cache may be lost in a power failure.
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute(_SCHEMA)
        return connection

    def _give_up(self, error: Exception) -> None:
        """After an error: start over with an empty database where the file is broken, else do without it."""
        import sqlite3

        with contextlib.suppress(sqlite3.Error):
            self.close()
        self._connection = None
        # The low byte of an extended code is the primary one.
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if self._file is None or code not in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            self._file = None
            return
        try:
            self._file.unlink()
        except OSError:
            self._file = None
