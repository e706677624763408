"""The one way from bytes and parsed documents to values of a type, whatever the thread.

msgspec (0.22) finds out what a `Struct` consists of when it is decoded for the first time, and crashes where two
threads do so at once: the second finds it half made. So what is known of a type is made here, under a lock.
"""

from __future__ import annotations

import threading
from typing import Any, TypeVar, overload

import msgspec

T = TypeVar("T")

_decoders: dict[Any, msgspec.json.Decoder[Any]] = {}
_making = threading.Lock()


@overload
def json_decoder(kind: type[T]) -> msgspec.json.Decoder[T]: ...
@overload
def json_decoder(kind: Any) -> msgspec.json.Decoder[Any]: ...
def json_decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    """Return what decodes JSON to a type; the same one for the same type.

    Raises:
        TypeError: nothing can be decoded to a type like this.
    """
    found = _decoders.get(kind)
    if found is None:
        with _making:
            found = _decoders.setdefault(kind, msgspec.json.Decoder(kind))
    return found


@overload
def decode_json(data: bytes | bytearray | memoryview | str, kind: type[T]) -> T: ...
@overload
def decode_json(data: bytes | bytearray | memoryview | str, kind: Any) -> Any: ...
def decode_json(data: bytes | bytearray | memoryview | str, kind: Any) -> Any:
    """Return the value of a type that a JSON text has.

    Raises:
        msgspec.ValidationError: it is JSON of another form.
        msgspec.DecodeError: it is no JSON.
        UnicodeDecodeError: a text of it is no UTF-8.
    """
    return json_decoder(kind).decode(data)


@overload
def decode_msgpack(data: bytes, kind: type[T]) -> T: ...
@overload
def decode_msgpack(data: bytes, kind: Any) -> Any: ...
def decode_msgpack(data: bytes, kind: Any) -> Any:
    """Return the value of a type that a MessagePack document has; errors as of `decode_json`."""
    json_decoder(kind)
    return msgspec.msgpack.decode(data, type=kind)


@overload
def convert(data: Any, kind: type[T], **options: Any) -> T: ...
@overload
def convert(data: Any, kind: Any, **options: Any) -> Any: ...
def convert(data: Any, kind: Any, **options: Any) -> Any:
    """Return the value of a type that parsed YAML, TOML or JSON has.

    Args:
        data: lists, mappings and scalars.
        kind: of the value.
        options: of `msgspec.convert`.

    Raises:
        msgspec.ValidationError: it is of another form.
    """
    json_decoder(kind)
    return msgspec.convert(data, kind, **options)
