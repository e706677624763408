"""Build context → archive: `.tar`, `.tar.gz` or `.tar.zst`, the same bytes every time, streamed.

The tar is the same on every machine. Compressed, it is the same wherever zlib or zstd have the same version.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Protocol

from packager.context.archive_reader import is_saved_archive
from packager.context.build_context import BuildContext, ContextFile, mtime_of
from packager.context.save import new_file
from packager.context.walk import Root
from packager.contract import FOLDER_MODE, MTIME
from packager.errors import ContextError, UsageError
from packager.progress import count_read, reading
from packager.storage.blobs import not_as_read
from packager.storage.models import Store
from packager.storage.reading import BLOCK, opened

SUFFIXES = {".tar": "", ".tar.gz": "gzip", ".tgz": "gzip", ".tar.zst": "zstd"}

_GZIP_LEVEL = 6
_ZSTD_LEVEL = 3
#: Bytes: a quarter of zstd's own choice, for half the memory and 0.4 % larger archives.
_ZSTD_JOB = 1 << 21


def archive(context: BuildContext, root: Path, file: Path, store: Store, *, force: bool = False) -> Path:
    """Write a build context to an archive; `packager.json` is its first entry, so that it can be checked on the way.

    Args:
        context: what to write.
        root: the folder of the spec.
        file: the archive; its suffix says the compression. An archive that packager made is replaced.
        store: where models are read from that are in it; others are read from `root`.
        force: replace any other file, too.

    Returns:
        `file`.

    Raises:
        UsageError: no suffix that packager knows.
        ContextError: something else is at `file`; a source file changed since it was read; the disk is full. Nothing is
            left behind, and what was there is as it was.
    """
    compression = _compression(file)
    target = Path(os.path.abspath(file))
    _check_previous(target, force)
    size = sum(each.size for each in context.files)
    with new_file(target) as stream, _compressed(stream, compression) as packed, reading(f"writing {file.name}", size):
        _write(context, Root.of(root), packed, store)
    return file


def _compression(file: Path) -> str:
    for suffix, compression in SUFFIXES.items():
        if file.name.endswith(suffix):
            return compression
    raise UsageError(f"{file.name!r} does not say which archive to write", remedy=f"end it with {', '.join(SUFFIXES)}")


def _check_previous(target: Path, force: bool) -> None:
    if not os.path.lexists(target):
        return
    if target.is_symlink() or not target.is_file():
        raise ContextError(f"{target} is there and not a file", remedy="name a new file")
    if not force and not is_saved_archive(os.fsencode(target)):
        raise ContextError(f"{target} is there and was not made by packager", remedy="name a new file, or use --force")


class _Sink(Protocol):
    def write(self, data: bytes, /) -> object: ...


class _Gzip:
    """A gzip stream (RFC 1952) whose header holds neither time nor name."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._state = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, 16 + zlib.MAX_WBITS)

    def write(self, data: bytes) -> None:
        self._stream.write(self._state.compress(data))

    def finish(self) -> None:
        self._stream.write(self._state.flush())


@contextmanager
def _compressed(stream: IO[bytes], compression: str) -> Iterator[_Sink]:
    if compression == "gzip":
        packed = _Gzip(stream)
        yield packed
        packed.finish()
    elif compression == "zstd":
        # Imported late: most contexts are folders.
        import zstandard

        # One worker or more: zstd cuts its input into the same jobs however many there are; without any it does not.
        threads = max(1, min(4, os.cpu_count() or 1))
        parameters = zstandard.ZstdCompressionParameters.from_level(
            _ZSTD_LEVEL, threads=threads, job_size=_ZSTD_JOB, write_checksum=True
        )
        compressor = zstandard.ZstdCompressor(compression_params=parameters)
        with compressor.stream_writer(stream, closefd=False) as writer:
            yield writer
    else:
        yield stream


def _write(context: BuildContext, root: Root, sink: _Sink, store: Store) -> None:
    entries: dict[str, ContextFile | None] = {file.path: file for file in context.files}
    entries.update(dict.fromkeys(context.folders))
    first = context.manifest_file
    for path, file in ((first.path, first), *sorted(entries.items(), key=lambda entry: entry[0])):
        if file is None:
            sink.write(_header(path, tarfile.DIRTYPE, FOLDER_MODE, MTIME))
            continue
        if file.same_as:
            sink.write(_header(path, tarfile.LNKTYPE, file.mode, mtime_of(path, file.digest), target=file.same_as))
            continue
        sink.write(_header(path, tarfile.REGTYPE, file.mode, mtime_of(path, file.digest), file.size))
        for block in _content(file, root, store):
            sink.write(block)
            count_read(len(block))
        sink.write(bytes(-file.size % tarfile.BLOCKSIZE))
    # Two empty blocks are the end of a tar (POSIX pax, "ustar Interchange Format").
    sink.write(bytes(2 * tarfile.BLOCKSIZE))


def _header(path: str, kind: bytes, mode: int, mtime: int, size: int = 0, target: str = "") -> bytes:
    info = tarfile.TarInfo(path)
    info.linkname = target
    info.type, info.mode, info.mtime, info.size = kind, mode, mtime, size
    # Names that are long or not ASCII get an extended header, with the same content every time.
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict")


def _content(file: ContextFile, root: Root, store: Store) -> Iterator[bytes]:
    """Iterate over the blocks of a file; they are as many bytes as the header says, with the digest of the plan."""
    if file.text is not None:
        yield file.text.encode()
        return
    assert file.origin is not None
    path: bytes = root.join(file.origin)
    if file.model and store.has(file.digest, file.size):
        path = os.fsencode(store.path(file.digest))
    state, left = hashlib.sha256(), file.size
    with opened(path) as descriptor:
        while data := os.read(descriptor, BLOCK):
            state.update(data)
            left -= len(data)
            if left < 0:
                break
            yield data
    if left or state.hexdigest() != file.digest:
        raise not_as_read(path, file.digest)
