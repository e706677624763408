"""As much of protobuf's wire format as it takes to read what a graph takes and gives. Pure.

Source: protobuf's documentation, "Encoding". Values are views of the message, so that weights are never copied.
"""

from __future__ import annotations

from collections.abc import Iterator

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MAX_VARINT = 10


class NotProtobuf(Exception):  # noqa: N818
    """These bytes are no message, or end too early."""


def fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield number and value of each field of a message.

    Args:
        message: of bytes.

    Raises:
        NotProtobuf: it is none; while yielding.
    """
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        number, kind = key >> 3, key & 7
        if not number:
            raise NotProtobuf
        if kind == _VARINT:
            value, position = _varint(message, position)
            yield number, value
            continue
        if kind == _BYTES:
            size, position = _varint(message, position)
        elif kind in (_FIXED64, _FIXED32):
            size = 8 if kind == _FIXED64 else 4
        else:
            raise NotProtobuf
        if position + size > len(message):
            raise NotProtobuf
        yield number, message[position : position + size]
        position += size


def parts(message: memoryview, number: int) -> list[memoryview]:
    """Return the values of one field that is a message or text, in their order."""
    return [value for found, value in fields(message) if found == number and isinstance(value, memoryview)]


def number_of(message: memoryview, number: int) -> int | None:
    """Return the last value of a field that is a number, as an int64; None where it is not given."""
    found = None
    for each, value in fields(message):
        if each == number and isinstance(value, int):
            found = value - (1 << 64) if value >= 1 << 63 else value
    return found


def text_of(message: memoryview, number: int) -> str:
    """Return the last value of a field that is text; empty where it is not given.

    Raises:
        NotProtobuf: it is not UTF-8.
    """
    found = parts(message, number)
    try:
        return bytes(found[-1]).decode() if found else ""
    except UnicodeDecodeError:
        raise NotProtobuf from None


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for index in range(_MAX_VARINT):
        if position >= len(message):
            raise NotProtobuf
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, position
    raise NotProtobuf
