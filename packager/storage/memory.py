"""Small values by a key of words, for what may be forgotten at any time: each a file below the user's cache folder."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from pathlib import Path

from packager.given import read_given
from packager.storage.collect import DAY, Kind


def cache_root() -> Path:
    """Return the folder of all that packager remembers: `$XDG_CACHE_HOME/packager`, below `~/.cache` when unset."""
    return _xdg("XDG_CACHE_HOME", ".cache")


def data_root() -> Path:
    """Return the folder of what a user registers: `$XDG_DATA_HOME/packager`, below `~/.local/share` when unset."""
    return _xdg("XDG_DATA_HOME", ".local/share")


def state_root() -> Path:
    """Return the folder of what runs here: `$XDG_STATE_HOME/packager`, below `~/.local/state` when unset."""
    return _xdg("XDG_STATE_HOME", ".local/state")


def _xdg(variable: str, otherwise: str) -> Path:
    # The XDG base directory specification: a relative path is invalid and to be ignored.
    named = os.environ.get(variable, "")
    return (Path(named) if named.startswith("/") else Path.home() / otherwise) / "packager"


def note_kind(cache: Path) -> Kind:
    """Return the small values in the memories of a cache."""
    return Kind(name="note", root=cache, patterns=("*/memory/*/*",), things="file", cost=3)


#: Bytes: far above what is remembered of anything; whatever else lies at such a place is not read.
_LIMIT = 256 << 20


class Memory:
    """Small values by a key of words, for what may be forgotten at any time; each in a file that only its owner reads.

    A file starts with the sha256 of its name and its value: one that is damaged, cut short or another's is as none.

    Args:
        kind: what they are (`uploads`), a folder.
        root: of the store that they are about, the content store where None.

    Attributes:
        folder: that has them.
    """

    def __init__(self, kind: str, root: Path | None = None) -> None:
        self.folder = (root if root is not None else cache_root() / "content") / "memory" / kind

    def recall(self, *key: str) -> bytes | None:
        """Return what was remembered."""
        path = self._path(key)
        try:
            data = read_given(path, _LIMIT)
            if path.stat().st_mtime < time.time() - DAY:
                os.utime(path)  # it is of use: see `note_kind`
        except OSError:
            return None
        value = data[_SEAL:]
        return value if data[:_SEAL] == _seal(path, value) else None

    def remember(self, value: bytes, *key: str) -> None:
        """Remember a value; that it cannot be written costs time later, and is no error now."""
        # Imported late: it costs 4 ms, and most commands only recall.
        import tempfile

        with contextlib.suppress(OSError):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(dir=self.folder)  # of mode 0600
            try:
                with os.fdopen(descriptor, "wb") as stream:
                    stream.write(_seal(self._path(key), value) + value)
                os.replace(name, self._path(key))
            except BaseException:
                os.unlink(name)
                raise

    def forget(self, *key: str) -> None:
        """Forget a value."""
        with contextlib.suppress(OSError):
            self._path(key).unlink(missing_ok=True)

    def _path(self, key: tuple[str, ...]) -> Path:
        return self.folder / hashlib.sha256("\0".join(key).encode(errors="surrogateescape")).hexdigest()


_SEAL = hashlib.sha256().digest_size


def _seal(path: Path, value: bytes) -> bytes:
    return hashlib.sha256(path.name.encode() + value).digest()
