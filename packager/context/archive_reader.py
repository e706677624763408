"""Reading a saved archive from front to end: nothing is unpacked, and no input makes it use much memory or time."""

from __future__ import annotations

import hashlib
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, cast

from packager.context.entries import Entry
from packager.context.manifest import MAX_BYTES, NAME, is_manifest_start
from packager.errors import ContextError
from packager.progress import count_read
from packager.storage.reading import BLOCK, opened

if TYPE_CHECKING:
    import tarfile

_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_SUFFIXES = (b".tar", b".tar.gz", b".tgz", b".tar.zst")

#: Bytes of headers and padding that one entry may need: a long name is in a header of its own, with one before it.
_HEADERS = 16384


class ArchiveReader:
    """The entries of an archive, one after the other; see `open_archive`.

    Attributes:
        manifest: the content of `packager.json`, its first entry.
        first: that entry.
    """

    def __init__(self, stream: _Forward) -> None:
        import tarfile

        self._stream = stream
        # Our stream and not tarfile's own (`r|`), which keeps in memory what a header pretends to be long.
        self._tar = tarfile.TarFile(fileobj=cast(Any, stream), mode="r", errorlevel=2)
        info = self._tar.next()
        if info is None or info.name != NAME or not info.isreg() or info.size > MAX_BYTES:
            raise ContextError(
                f"it is not an archive of packager: its first entry is not {NAME}",
                remedy="unpack it and verify the folder, if it was packed again",
            )
        self.manifest = b"".join(self._blocks(info))
        self.first = self._entry(info, hashlib.sha256(self.manifest).hexdigest())

    def entries(self, *, size: int, count: int) -> Iterator[Entry]:
        """Iterate over the entries behind the first, which may be of `size` bytes, and no more than `count`."""
        self._stream.limit = self._stream.tell() + size + (count + 1) * _HEADERS
        files: dict[str, Entry] = {}
        while (info := self._tar.next()) is not None:
            count -= 1
            if count < 0:
                raise _too_much()
            # tarfile keeps every member that it met; nothing here needs them.
            cast(Any, self._tar).members.clear()
            digest = ""
            if info.isreg():
                state = hashlib.sha256()
                for block in self._blocks(info):
                    state.update(block)
                    count_read(len(block))
                digest = state.hexdigest()
            entry = self._entry(info, digest)
            first = files.get(info.linkname) if info.islnk() else None
            if first is not None:
                entry = first._replace(path=entry.path, mode=entry.mode, mtime_ns=entry.mtime_ns)
            if entry.kind == "file":
                files[entry.path] = entry
            yield entry
        self._check_end()

    def _blocks(self, info: tarfile.TarInfo) -> Iterator[bytes]:
        self._stream.seek(info.offset_data)
        left = info.size
        while left:
            data = self._stream.read(min(BLOCK, left))
            if not data:
                raise EOFError("it ends in the middle of a file")
            left -= len(data)
            yield data

    def _entry(self, info: tarfile.TarInfo, digest: str) -> Entry:
        kind = "link" if info.issym() or info.islnk() else "special file"
        if info.isdir():
            kind = "folder"
        elif info.isreg() and not info.issparse():
            kind = "file"
        size = info.size if kind == "file" else 0
        return Entry(info.name, kind, stat.S_IMODE(info.mode), size, int(info.mtime * 10**9), digest)

    def _check_end(self) -> None:
        """Two empty blocks end a tar; behind them there may be padding, and nothing that some other tool would read.

        tarfile takes any block that is no header for the end, and the end of the file as well.
        """
        if self._stream.last.strip(b"\0"):
            raise ValueError("a header is damaged")
        size = len(self._stream.last)
        while block := self._stream.read(BLOCK):
            if block.strip(b"\0"):
                raise ContextError("it has data behind its end", remedy="do not use this archive")
            size += len(block)
        if size < 1024:
            raise EOFError("its end is missing")


class _Forward:
    """A stream of decompressed bytes that only goes forward, in small steps, and not beyond a limit."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._position = 0
        self.last = b""
        self.limit = MAX_BYTES + (1 << 20)

    def tell(self) -> int:
        return self._position

    def read(self, size: int) -> bytes:
        if not 0 <= size <= BLOCK:
            raise ContextError("it has a header that is too long", remedy="do not use this archive")
        parts = []
        while size and (part := self._stream.read(size)):
            parts.append(part)
            size -= len(part)
            self._position += len(part)
        if self._position > self.limit:
            raise _too_much()
        self.last = b"".join(parts)
        return self.last

    def seek(self, position: int) -> int:
        if position < self._position:
            raise ContextError("its headers point backwards", remedy="do not use this archive")
        while self._position < position and self.read(min(BLOCK, position - self._position)):
            pass
        return self._position


@contextmanager
def open_archive(path: bytes) -> Iterator[ArchiveReader]:
    """Open a `.tar`, `.tar.gz` or `.tar.zst` (told by its content) for reading once, from front to end.

    Raises:
        ContextError: it cannot be read, is truncated, no archive, or none of packager. Errors that come up while the
            block reads the archive become the same.
    """
    shown = os.fsdecode(path)
    with opened(path) as descriptor, os.fdopen(os.dup(descriptor), "rb") as stream:
        start = stream.peek(4)
        kind = next((kind for magic, kind in _MAGIC.items() if start.startswith(magic)), "")
        try:
            yield ArchiveReader(_Forward(_decompressed(stream, kind)))
        except ContextError as error:
            raise ContextError(f"{shown}: {error.message}", where=error.where, remedy=error.remedy) from None
        except _damage(kind) as error:
            raise ContextError(
                f"{shown} is not an archive that can be read to its end: {error}", remedy="copy or save it again"
            ) from None


def _too_much() -> ContextError:
    return ContextError(f"it holds more than its {NAME} lists", remedy="do not use this archive")


def _decompressed(stream: IO[bytes], kind: str) -> IO[bytes]:
    if kind == "gzip":
        import gzip

        return cast(IO[bytes], gzip.GzipFile(fileobj=stream, mode="rb"))
    if kind == "zstd":
        import zstandard

        # 128 MiB is what zstd itself accepts without being asked to; a hostile frame could want gigabytes.
        decompressor = zstandard.ZstdDecompressor(max_window_size=1 << 27)
        return decompressor.stream_reader(stream, read_across_frames=True, closefd=False)
    return stream


def _damage(kind: str) -> tuple[type[Exception], ...]:
    """Return what the readers below raise for bytes that are no archive: tarfile does not only raise its own."""
    import tarfile

    errors = (tarfile.TarError, EOFError, OSError, ValueError, OverflowError, RecursionError, KeyError, zlib.error)
    if kind == "zstd":
        import zstandard

        return (*errors, zstandard.ZstdError)
    return errors


def is_saved_archive(path: bytes) -> bool:
    """Whether a file is called like an archive and starts with a `packager.json` of ours."""
    if not path.endswith(_SUFFIXES):
        return False
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return False
        with open_archive(path) as reader:
            return is_manifest_start(reader.manifest)
    except (ContextError, OSError):
        return False
