"""Bytes of a pickle, read once from its start with bounded memory: plain, or compressed in a way the library knows."""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import zlib
from collections.abc import Iterator
from contextlib import suppress
from typing import BinaryIO, Protocol

_BLOCK = 1 << 16

#: What a pickle begins with: its protocol, or, before protocol 2, the first object.
STARTS = frozenset(each.encode("latin-1") for each in "\x80()]}NIJKMLFGSTUVXc")

#: As packaging versions begin; nothing else is passed on to people.
VERSION = re.compile(r"[0-9]+(?:\.[0-9]+)+[\w.+]{0,20}", re.ASCII)

#: The key and its value as they stand in a pickle: each a text with its length, and perhaps a number for the memo.
_WRITTEN = re.compile(rb"_sklearn_version(?:\x94|q.|r....)?(?:X(.)\0\0\0|\x8c(.))", re.DOTALL)
_LONGEST = 80

#: Bytes that a compressed file may grow to before the rest is left unread.
MAX_UNPACKED = 1 << 29


class EndsEarly(Exception):  # noqa: N818 - it says where the bytes end; nobody outside the checks sees it
    """There are less bytes than there must be."""


class TooMuch(Exception):  # noqa: N818
    """The file is larger than what is looked at."""


class _Readable(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


class ByteStream:
    """Reads forward only.

    Args:
        source: gives the bytes.
        seekable: the file itself where bytes can be passed over without being read; None where they cannot.
        size: of the file, where it is seekable.
    """

    def __init__(self, source: _Readable, seekable: BinaryIO | None, size: int) -> None:
        self._source, self._seekable, self._size = source, seekable, size
        self._taken = 0
        self._block, self._at = b"", 0

    def read(self, count: int) -> bytes:
        """Return exactly so many bytes; for few of them.

        Raises:
            EndsEarly: there are less, or the compression is damaged.
            TooMuch: more was unpacked than is looked at.
        """
        data = self._some(count)
        if len(data) != count:
            raise EndsEarly
        return data

    def rest(self) -> Iterator[bytes]:
        """Yield what is left, a block at a time, until there is no more or it is too much."""
        with suppress(EndsEarly, TooMuch):
            while self._taken < MAX_UNPACKED and (data := self._some(_BLOCK)):
                yield data

    def _some(self, count: int) -> bytes:
        if self._seekable is not None:
            # A buffered file, which is read from in C.
            return self._take(count)
        if self._at + count > len(self._block):
            left = self._block[self._at :]
            self._block, self._at = left + self._take(max(_BLOCK, count)), 0
        data = self._block[self._at : self._at + count]
        self._at += len(data)
        return data

    def _take(self, count: int) -> bytes:
        try:
            data = self._source.read(count)
        except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
            raise EndsEarly(str(error)) from None
        self._taken += len(data)
        if self._seekable is None and self._taken > MAX_UNPACKED:
            raise TooMuch
        return data

    def skip(self, count: int) -> None:
        """Pass over bytes.

        Raises:
            EndsEarly, TooMuch: as `read`.
        """
        if self._seekable is not None and count > _BLOCK:
            if self._seekable.tell() + count > self._size:
                raise EndsEarly
            self._seekable.seek(count, 1)
            return
        while count:
            step = min(count, _BLOCK)
            self.read(step)
            count -= step

    def line(self, most: int = 4096) -> bytes:
        """Return the bytes to the next line break, without it."""
        data = bytearray()
        while len(data) < most:
            byte = self.read(1)
            if byte == b"\n":
                return bytes(data)
            data += byte
        raise EndsEarly


class _Inflater:
    """A zlib stream as joblib writes it, unpacked piece by piece: a small file may unpack to any size."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._state = zlib.decompressobj()
        self._rest = b""

    def read(self, size: int = -1, /) -> bytes:
        parts: list[bytes] = []
        missing = size
        while missing > 0 and not self._state.eof:
            packed = self._state.unconsumed_tail or self._file.read(_BLOCK)
            if not packed and not self._rest:
                break
            piece = self._state.decompress(packed, missing)
            if not piece and not packed:
                break
            parts.append(piece)
            missing -= len(piece)
        return b"".join(parts)


def open_pickle(file: BinaryIO) -> ByteStream | None:
    """Return the bytes of what may be a pickle; None of what begins as no pickle does.

    Args:
        file: open for reading at its start, seekable and buffered.
    """
    head = file.read(6)
    size = file.seek(0, 2)
    file.seek(0)
    source: _Readable
    if head[:2] == b"\x1f\x8b":
        source = gzip.GzipFile(fileobj=file, mode="rb")
    elif head[:3] == b"BZh":
        source = bz2.BZ2File(file)
    elif head[:6] == b"\xfd7zXZ\x00" or head[:3] == b"\x5d\x00\x00":
        source = lzma.LZMAFile(file)  # noqa: SIM115 - whoever opened `file` closes it
    elif head[:1] == b"\x78" and len(head) > 1 and int.from_bytes(head[:2], "big") % 31 == 0:
        # RFC 1950, 2.2: the two bytes of a zlib header are a multiple of 31.
        source = _Inflater(file)
    elif head[:1] in STARTS:
        return ByteStream(file, file, size)
    else:
        return None
    return ByteStream(source, None, size)


def search_versions(stream: ByteStream) -> set[str]:
    """Return the versions of scikit-learn that stand in what is left of a stream, where the walk could not go on."""
    found: set[str] = set()
    before = b""
    for block in stream.rest():
        data = before + block
        for each in _WRITTEN.finditer(data):
            size = (each[1] or each[2])[0]
            found.add(data[each.end() : each.end() + size].decode("latin-1"))
        before = data[-_LONGEST:]
    return {each for each in found if VERSION.fullmatch(each)}
