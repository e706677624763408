"""Tars and compressed data that somebody else made: damage is one kind of error, and nothing fills memory or disk."""

from __future__ import annotations

import os
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast

from packager.errors import ContextError

#: What reading a tar through `unpacked` raises where it is damaged, besides OSError.
DAMAGE = (tarfile.TarError, zlib.error, EOFError, ValueError)

#: Bytes of a header that says what does not fit into a tar's own: names, links, attributes. tarfile reads it whole.
LONGEST_HEADER = 1 << 20
#: How many times its size an archive may unpack to, where that is more than `ALWAYS` bytes. gzip reaches a thousand
#: with zeros, zstd any number; archives of images reach ten.
EXPANSION = 200
ALWAYS = 1 << 30

# Bytes that are unpacked at a time: `tarfile` cuts each header off what is left of them, by copying the rest.
_PART = 32 << 10
_EXTENDING = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)


class BoundedInfo(tarfile.TarInfo):
    """For `tarfile.open(tarinfo=…)`: no header is larger than `LONGEST_HEADER`."""

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo | None:
        # tarfile's own place for what subclasses do with a type of members.
        if self.type in _EXTENDING and self.size > LONGEST_HEADER:
            raise tarfile.ReadError(f"a header of {self.size} bytes")
        return cast("tarfile.TarInfo | None", super()._proc_member(archive))  # type: ignore[misc]


class _Unpacked:
    """Reads what an unpacker gives; its errors are zlib's, whoever unpacks."""

    def __init__(self, stream: BinaryIO, errors: tuple[type[Exception], ...], most: int | None) -> None:
        self._stream = stream
        self._errors = errors
        self._left = most

    def read(self, size: int = -1) -> bytes:
        try:
            data = self._stream.read(size)
        except self._errors as error:
            raise zlib.error(str(error)) from None
        if self._left is not None:
            self._left -= len(data)
            if self._left < 0:
                raise ContextError(
                    f"an archive unpacks to more than {EXPANSION} times its size, as a bomb does",
                    remedy="unpack it by hand, if you trust it, and name what is in it",
                )
        return data


@contextmanager
def unpacked(stream: BinaryIO, magic: bytes, *, most: int | None = None) -> Iterator[BinaryIO]:
    """Give what a stream holds, by its first bytes (RFC 1952, RFC 8878): gzip, zstd, or neither; for `read` alone.

    Args:
        stream: at its beginning.
        magic: its first bytes.
        most: bytes that it may unpack to; any number where None.

    Raises:
        zlib.error: it is damaged.
        ContextError: it holds more than `most`.
    """
    if magic[:2] == b"\x1f\x8b":
        import gzip

        with gzip.GzipFile(fileobj=stream, mode="rb") as file:
            yield cast(BinaryIO, _Unpacked(cast(BinaryIO, file), (gzip.BadGzipFile, EOFError, zlib.error), most))
    elif magic == b"\x28\xb5\x2f\xfd":
        import zstandard

        with zstandard.ZstdDecompressor().stream_reader(stream, read_across_frames=True, closefd=False) as reader:
            yield cast(BinaryIO, _Unpacked(cast(BinaryIO, reader), (zstandard.ZstdError,), most))
    else:
        yield stream


def most_of(stream: BinaryIO) -> int:
    """Return how many bytes a packed file may unpack to; the stream is at its beginning afterwards."""
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    return max(ALWAYS, EXPANSION * size)


@contextmanager
def layer_members(stream: BinaryIO) -> Iterator[tarfile.TarFile]:
    """Give the members of a layer's archive (tar, gzip, zstd), to be read once in their order.

    Args:
        stream: at its beginning.

    Raises:
        DAMAGE: it is damaged.
    """
    magic = stream.read(4)
    stream.seek(0)
    with (
        unpacked(stream, magic) as plain,
        tarfile.open(fileobj=plain, mode="r|", bufsize=_PART, errorlevel=2, tarinfo=BoundedInfo) as archive,
    ):
        yield archive
