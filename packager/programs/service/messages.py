"""Heads and bodies of HTTP/1.1 messages (RFC 9112), read strictly. Runs in the forwarder's container.

Strictly where a lenient reading could let one request hide in another (sections 5.1, 5.2, 6.3, 11.2). Standard library
only, Python 3.9 or newer.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import NamedTuple

#: Bytes that are passed on at a time.
PIECE = 32 * 1024

#: Before Python 3.11 it is another class than the built-in one.
TimedOut = asyncio.TimeoutError

_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
REQUEST_LINE = re.compile(rb"[!-~]+ [!-~\x80-\xff]+ HTTP/1\.[01]")
STATUS_LINE = re.compile(rb"HTTP/1\.[01] (\d{3})(?: .*)?")
#: Headers that are about one connection (RFC 9110, section 7.6.1); framing is written anew.
_HOP = {b"connection", b"keep-alive", b"proxy-connection", b"te", b"upgrade", b"expect", b"transfer-encoding"}


class Head(NamedTuple):
    """The head of a message: its first line, its headers, and how its body is framed.

    Attributes:
        length: of the body in bytes; None where it is chunked or lasts until the connection ends.
        chunked: the body comes in chunks.
        words: of the header `Connection`, in lower case.
    """

    line: bytes
    headers: list[tuple[bytes, bytes]]
    length: int | None
    chunked: bool
    words: set[bytes]

    def expects_continue(self) -> bool:
        """Return whether the client waits for a word before it sends the body."""
        return any(name.lower() == b"expect" and value.lower() == b"100-continue" for name, value in self.headers)

    def text(self, keep: bool) -> bytes:
        """Return it as it is passed on."""
        drop = _HOP | self.words
        lines = [self.line] + [name + b": " + value for name, value in self.headers if name.lower() not in drop]
        lines += [b"Transfer-Encoding: chunked"] if self.chunked else []
        return b"\r\n".join([*lines, b"Connection: " + (b"keep-alive" if keep else b"close"), b"", b""])


def parse_head(raw: bytes, first: re.Pattern[bytes]) -> Head:
    """Return the head that ends `raw`.

    Raises:
        ValueError: it is not of the format, or its body could be read in two ways.
    """
    line, *lines = raw[:-4].split(b"\r\n")
    if not first.fullmatch(line):
        raise ValueError("the first line is not HTTP/1.1")
    headers = []
    for each in lines:
        name, colon, value = each.partition(b":")
        if not colon or not _TOKEN.fullmatch(name) or re.search(rb"[\r\n\0]", value):
            raise ValueError("a header is not of the form `Name: value`")
        headers.append((name, value.strip(b" \t")))
    values: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        values.setdefault(name.lower(), []).append(value)
    lengths, codings = set(values.get(b"content-length", ())), values.get(b"transfer-encoding", [])
    if codings and (lengths or [each.lower() for each in codings] != [b"chunked"]):
        raise ValueError("the length of the body is not clear")
    if len(lengths) > 1 or any(not re.fullmatch(rb"[0-9]{1,18}", each) for each in lengths):
        raise ValueError("the length of the body is not clear")
    words = {word.strip().lower() for value in values.get(b"connection", ()) for word in value.split(b",")} - {b""}
    # Nobody may have the framing dropped by naming it in `Connection`.
    words -= {b"content-length", b"host"}
    return Head(line, headers, int(lengths.pop()) if lengths else None, bool(codings), words)


async def pieces(reader: asyncio.StreamReader, head: Head, until_end: bool, time: float | None) -> AsyncIterator[bytes]:
    """Give the body that follows a head, in pieces.

    Args:
        reader: just after the head.
        head: says how it is framed.
        until_end: a body without a length lasts until the connection ends (answers), or there is none (requests).
        time: seconds between two pieces; None for as long as it takes.

    Raises:
        ValueError: chunks that are none.
        EOFError: it ended before its time.
    """
    if head.chunked:
        while True:
            line = await asyncio.wait_for(reader.readuntil(b"\r\n"), time)
            size = re.fullmatch(rb"([0-9a-fA-F]{1,8})[ \t]*(?:;[^\r\n]*)?\r\n", line)
            if size is None:
                raise ValueError("a chunk has no size")
            left = int(size[1], 16)
            if left == 0:
                break
            async for piece in counted(reader, left, time):
                yield piece
            if await reader.readexactly(2) != b"\r\n":
                raise ValueError("a chunk does not end where it should")
        while await asyncio.wait_for(reader.readuntil(b"\r\n"), time) != b"\r\n":
            pass  # trailers are not passed on
    elif head.length is not None:
        async for piece in counted(reader, head.length, time):
            yield piece
    elif until_end:
        while piece := await asyncio.wait_for(reader.read(PIECE), time):
            yield piece


async def counted(reader: asyncio.StreamReader, left: int, time: float | None) -> AsyncIterator[bytes]:
    """Give as many bytes as are said to come."""
    while left:
        piece = await asyncio.wait_for(reader.read(min(left, PIECE)), time)
        if not piece:
            raise EOFError("the body ended before its time")
        left -= len(piece)
        yield piece


def framed(piece: bytes, chunked: bool) -> bytes:
    """Return a piece of a body as it is sent."""
    return b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece
