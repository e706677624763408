"""Entries → the bytes of a tar: the same on every machine, in blocks of one size, at the speed of reading the files.

Format: POSIX.1-1988 ustar headers, with a pax extended header (POSIX.1-2001) only before an entry that ustar cannot
hold: a name that is long or not ASCII, a long link, 8 GiB or more. Owner 0:0 without names, one fixed time. Headers are
formatted here because `tarfile` spends more time on an entry than reading a small file takes.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Literal

import msgspec

from packager.contract import FOLDER_MODE, MTIME
from packager.errors import ContextError
from packager.progress import Advance
from packager.storage.blobs import not_as_read
from packager.storage.reading import changed_since, failure, open_file

#: Bytes of a block that `tar_blocks` gives out: so many are read, hashed and compressed at a time.
BLOCK = 1 << 20

#: Counts up when the bytes of a tar change for the same entries, so that no layer of an older writer is taken for ours.
TAR_VERSION = 1

_RECORD = 512
# 11 octal digits: what a ustar header can say about a size.
_MAX_SIZE = 8**11 - 1

Kind = Literal["folder", "file", "link", "hard link"]
_TYPES = {"folder": b"5", "file": b"0", "link": b"2", "hard link": b"1"}


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of a tar.

    Attributes:
        path: from the root, with `/`, neither starting nor ending with one.
        kind: what it is.
        mode: permission bits.
        size: bytes of a file.
        digest: sha256 (64 hex digits) that the file's content must have; None where nobody knows it.
        origin: the file to read, or its content.
        below: folder (absolute, without links) that the file must be in, whoever replaces it by a link meanwhile.
        target: where a symbolic link leads; of a hard link, the path of a file before it.
    """

    path: str
    kind: Kind = "file"
    mode: int = FOLDER_MODE
    size: int = 0
    digest: str | None = None
    origin: bytes | str | os.PathLike[str] = b""
    below: bytes | None = None
    data: bytes | None = None
    target: str = ""


def in_order(entries: Iterable[Entry]) -> list[Entry]:
    """Return entries as a tar has them: sorted by path, so that folders come before what is in them.

    Raises:
        ContextError: two have the same path.
    """
    ordered = sorted(entries, key=lambda entry: entry.path)
    for before, after in pairwise(ordered):
        if before.path == after.path:
            raise ContextError(f"/{after.path} comes twice in one layer", remedy="rename one of the two")
    return ordered


def tar_blocks(
    entries: Iterable[Entry], block: int = BLOCK, digests: dict[str, str] | None = None
) -> Iterator[memoryview]:
    """Iterate over the bytes of a tar in blocks of `block` bytes, the last one shorter. Each is the caller's to keep.

    Args:
        entries: in the order that they shall have.
        block: bytes.
        digests: gets path → sha256 (64 hex digits) of every file that is read, when all was.

    Raises:
        ContextError: a file cannot be read, has become shorter, or has not the content of its digest.
    """
    filler = _Filler(block, digests)
    for entry in entries:
        filler.write(header(entry))
        if entry.data is not None:
            filler.write(entry.data)
        elif entry.size:
            yield from filler.read(entry)
        if entry.size % _RECORD:
            filler.write(_ZEROS[entry.size % _RECORD :])
        if filler.full:
            yield from filler.take()
    # Two empty records are the end of a tar (POSIX pax, "ustar Interchange Format").
    filler.write(_ZEROS + _ZEROS)
    yield from filler.take()
    yield from filler.rest()


def counted(blocks: Iterable[memoryview], advance: Advance) -> Iterator[memoryview]:
    """Pass blocks on, and say how many bytes they are."""
    for block in blocks:
        advance(len(block))
        yield block


class _Filler:
    """The block being filled, and those that are full."""

    def __init__(self, block: int, digests: dict[str, str] | None) -> None:
        self._block = block
        self._digests = digests
        self._buffer = memoryview(bytearray(block))
        self._filled = 0
        self.full: list[memoryview] = []

    def write(self, data: bytes) -> None:
        start = self._filled
        end = start + len(data)
        if end < self._block:
            self._buffer[start:end] = data
            self._filled = end
            return
        room = self._block - start
        self._buffer[start:] = data[:room]
        self._next()
        self.write(data[room:])

    def read(self, entry: Entry) -> Iterator[memoryview]:
        """Read a file into the blocks; give out those that are full."""
        wanted = entry.digest is not None or self._digests is not None
        state = hashlib.sha256() if wanted else None
        left = entry.size
        try:
            descriptor = open_file(entry.origin, entry.below)
            try:
                while left:
                    space = self._buffer[self._filled : self._filled + left]
                    count = os.readv(descriptor, [space])
                    if not count:
                        raise changed_since(entry.origin)
                    if state is not None:
                        state.update(space[:count])
                    left -= count
                    self._filled += count
                    if self._filled == self._block:
                        self._next()
                    if self.full:
                        yield from self.take()
            finally:
                os.close(descriptor)
        except OSError as error:
            raise failure("read", entry.origin, error) from None
        if state is None:
            return
        digest = state.hexdigest()
        if entry.digest is not None and digest != entry.digest:
            raise not_as_read(entry.origin, entry.digest)
        if self._digests is not None:
            self._digests[entry.path] = digest

    def take(self) -> list[memoryview]:
        full, self.full = self.full, []
        return full

    def rest(self) -> list[memoryview]:
        return [self._buffer[: self._filled]] if self._filled else []

    def _next(self) -> None:
        self.full.append(self._buffer)
        self._buffer, self._filled = memoryview(bytearray(self._block)), 0


# --- headers ----------------------------------------------------------------------------------------------------------


def header(entry: Entry) -> bytes:
    """Return the header of an entry, with a pax header before it where ustar cannot say it.

    Raises:
        ContextError: the path or the link's target is no text.
    """
    try:
        path, target = entry.path.encode(), entry.target.encode()
    except UnicodeEncodeError:
        shown = os.fsencode(entry.path).decode(errors="backslashreplace")
        raise ContextError(f"the name of {shown!r} is not UTF-8", remedy="rename the file") from None
    if entry.kind == "folder":
        path += b"/"
    records = []
    name, prefix = _split(path) if path.isascii() else (b"", b"")
    if not name:
        records.append(_record(b"path", path))
        # What a reader sees that knows no pax headers.
        name = path.decode().encode("ascii", "replace")[:100]
    if len(target) > 100 or not target.isascii():
        records.append(_record(b"linkpath", target))
        target = target.decode().encode("ascii", "replace")[:100]
    size = entry.size
    if size > _MAX_SIZE:
        records.append(_record(b"size", b"%d" % size))
        size = 0
    own = _ustar(name, prefix, entry.mode, size, _TYPES[entry.kind], target)
    if not records:
        return own
    extended = b"".join(records)
    first = _ustar(b"././@PaxHeader", b"", 0o644, len(extended), b"x", b"")
    return first + extended + bytes(-len(extended) % _RECORD) + own


def _split(path: bytes) -> tuple[bytes, bytes]:
    """Return a path as ustar's name (100 bytes) and prefix (155); an empty name where it does not fit."""
    if len(path) <= 100:
        return path, b""
    # The prefix as short as it can be; the slash between the two is written nowhere.
    cut = path.find(b"/", len(path) - 101)
    if not 0 < cut <= 155 or cut == len(path) - 1:
        return b"", b""
    return path[cut + 1 :], path[:cut]


def _record(key: bytes, value: bytes) -> bytes:
    """Return a line `LENGTH key=value`, whose length counts its own digits."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    length = rest + len(str(length))
    return b"%d %b=%b\n" % (length, key, value)


# What is the same in each header: uid and gid 0, the time; then magic, version, and no names of owner, group or device.
_OWNER = b"0000000\x000000000\x00"
_TIME = b"%011o\x00" % MTIME
_MAGIC = b"ustar\x0000" + bytes(64) + b"0000000\x000000000\x00"
_ZEROS = bytes(_RECORD)
# The checksum counts itself as eight spaces.
_CONSTANT_SUM = sum(_OWNER + _TIME + _MAGIC) + 8 * 0x20


def _ustar(name: bytes, prefix: bytes, mode: int, size: int, kind: bytes, target: bytes) -> bytes:
    permissions, length = b"%07o\x00" % mode, b"%011o\x00" % size
    total = _CONSTANT_SUM + sum(name) + sum(prefix) + sum(permissions) + sum(length) + kind[0] + sum(target)
    return b"%b%b%b%b%b%06o\x00 %b%b%b%b" % (
        name.ljust(100, b"\x00"),
        permissions,
        _OWNER,
        length,
        _TIME,
        total,
        kind,
        target.ljust(100, b"\x00"),
        _MAGIC,
        prefix.ljust(167, b"\x00"),
    )
