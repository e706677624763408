"""What a pickle holds, told by its opcodes alone: nothing is imported, made or called. Memory and steps are bounded.

The opcodes are those of `pickletools`. joblib writes arrays as raw bytes between them, right after the object that says
how many (`joblib/numpy_pickle.py`, `NumpyArrayWrapper`): the walk passes over them, so that gigabytes cost nothing.
"""

from __future__ import annotations

import math
import pickletools
import re
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from itertools import islice
from typing import Any, BinaryIO, NamedTuple

import msgspec

from packager.models.pickle_stream import STARTS, VERSION, ByteStream, EndsEarly, TooMuch, open_pickle, search_versions

#: Opcodes of one file; more than any estimator has, less than a second or two.
MAX_STEPS = 1_000_000
#: Opcodes without a fault by which a file that names no protocol is taken for a pickle.
_LEAST_STEPS = 16
#: Bytes of a text that are kept; names are shorter.
_TEXT = 512
_MAX_DEPTH = 50
_VERSION_KEY = "_sklearn_version"
#: The class behind which raw bytes follow; scikit-learn before 0.23 brings joblib as `sklearn.externals.joblib`.
_ARRAY = re.compile(r"(?:\w+\.)*joblib\.numpy_pickle:NumpyArrayWrapper")


class PickleFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a pickle.

    Attributes:
        protocol: of pickle; 0 for 0 and 1, which are not told apart.
        names: `module:name` of everything that loading it would import, sorted.
        sklearn: versions of scikit-learn that wrote estimators in it, sorted.
        complete: it was read to its end.
        broken: it ends too early, or is no pickle from some place on.
    """

    protocol: int
    names: tuple[str, ...] = ()
    sklearn: tuple[str, ...] = ()
    complete: bool = True
    broken: bool = False


class _Global(NamedTuple):
    module: str
    name: str


class _Made(NamedTuple):
    """An object that loading would make: by which class or function, from which arguments; and its state."""

    maker: Any
    arguments: Any
    state: Any = None


class _Mark:
    pass


_MARK = _Mark()
_CODES = {code.code: code for code in pickletools.opcodes}
_TEXTS = {"STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"}
_WIDTHS = {
    pickletools.TAKEN_FROM_ARGUMENT1: 1,
    pickletools.TAKEN_FROM_ARGUMENT4: 4,
    pickletools.TAKEN_FROM_ARGUMENT4U: 4,
    pickletools.TAKEN_FROM_ARGUMENT8U: 8,
}


class _Invalid(Exception):  # noqa: N818
    """These bytes are no pickle."""


def read_pickle(file: BinaryIO) -> PickleFacts | None:
    """Return what a pickle holds; None where a file is no pickle.

    Args:
        file: open for reading at its start, seekable and buffered.
    """
    stream = open_pickle(file)
    if stream is None:
        return None
    try:
        start = stream.read(1)
        protocol = stream.read(1)[0] if start == b"\x80" else 0
    except (EndsEarly, TooMuch):
        return None
    if start not in STARTS or (start == b"\x80" and not 2 <= protocol <= 9):
        return None
    # Protocols 0 and 1 are not written down, and many texts begin as theirs do: these have to go on as a pickle for a
    # while, or to their end.
    machine = _Machine(stream, protocol, first=b"" if protocol else start)
    least = 4 if protocol else _LEAST_STEPS
    broken = False
    try:
        complete = machine.run()
    except (EndsEarly, _Invalid, IndexError, ValueError, TypeError, RecursionError, OverflowError):
        # What fails in its first steps was never a pickle: many formats could begin with these two bytes.
        if machine.steps < least:
            return None
        complete, broken = False, True
    except TooMuch:
        complete = False
    if not complete:
        machine.versions |= search_versions(stream)
    return PickleFacts(
        protocol=protocol,
        names=tuple(sorted(machine.names)),
        sklearn=tuple(sorted(machine.versions)),
        complete=complete,
        broken=broken,
    )


class _Machine:
    """The machine of pickle, with stand-ins in place of objects."""

    def __init__(self, stream: ByteStream, protocol: int, *, first: bytes = b"") -> None:
        self._stream = stream
        self._first = first
        self.protocol = protocol
        self.names: set[str] = set()
        self.versions: set[str] = set()
        self.steps = 0
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._outer: list[tuple[list[Any], dict[int, Any], int]] = []

    def run(self) -> bool:
        """Walk to the end; return whether it was reached."""
        while self.steps < MAX_STEPS:
            self.steps += 1
            byte, self._first = self._first or self._stream.read(1), b""
            code = _CODES.get(byte.decode("latin-1"))
            if code is None:
                raise _Invalid
            argument = self._argument(code)
            if code.name == "STOP":
                if not self._outer:
                    return True
                # The end of an array of objects, which joblib writes as a pickle of its own.
                self._stack, self._memo, self.protocol = self._outer.pop()
            else:
                self._step(code.name, argument)
        return False

    # --- arguments ----------------------------------------------------------------------------------------------------

    def _argument(self, code: pickletools.OpcodeInfo) -> Any:
        kind = code.arg
        if kind is None:
            return None
        if kind.n == pickletools.UP_TO_NEWLINE:
            line = self._stream.line().decode("utf-8", "replace")
            return (
                f"{line} {self._stream.line().decode('utf-8', 'replace')}" if code.name in ("GLOBAL", "INST") else line
            )
        if kind.n in _WIDTHS:
            size = int.from_bytes(self._stream.read(_WIDTHS[kind.n]), "little")
            if size <= _TEXT and code.name in _TEXTS:
                return self._stream.read(size).decode("utf-8", "replace")
            self._stream.skip(size)
            return None
        data = self._stream.read(kind.n)
        return int.from_bytes(data, "little", signed=code.name == "BININT") if code.name != "BINFLOAT" else None

    # --- opcodes ------------------------------------------------------------------------------------------------------

    def _step(self, name: str, argument: Any) -> None:
        stack = self._stack
        if name in _TEXTS:
            stack.append(argument.strip("'\"") if name == "STRING" else argument)
        elif name in _PUSHED:
            stack.append(argument if name in _INTEGERS else None)
        elif name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            index = len(self._memo) if name == "MEMOIZE" else int(argument)
            self._memo[index] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(self._memo.get(int(argument)))
        elif name in ("GLOBAL", "INST"):
            module, _, attribute = argument.partition(" ")
            if name == "INST":
                self._to_mark()
            stack.append(self._global(module, attribute))
        elif name == "STACK_GLOBAL":
            attribute, module = stack.pop(), stack.pop()
            stack.append(self._global(module, attribute))
        elif name == "PROTO":
            self.protocol = int(argument)
        elif name not in ("FRAME", "READONLY_BUFFER"):
            self._compose(name)

    def _global(self, module: Any, name: Any) -> _Global | None:
        if not isinstance(module, str) or not isinstance(name, str) or not module.isprintable():
            return None
        if self.protocol < 3:
            # Written for Python 2 as well: `copy_reg` is `copyreg` now.
            module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
        self.names.add(f"{module}:{name}")
        return _Global(module, name)

    def _compose(self, name: str) -> None:
        stack = self._stack
        if name == "MARK":
            stack.append(_MARK)
        elif name in ("EMPTY_TUPLE", "EMPTY_DICT"):
            stack.append(() if name == "EMPTY_TUPLE" else {})
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            count = int(name[-1])
            stack[-count:] = [tuple(stack[-count:])]
        elif name in ("TUPLE", "LIST", "DICT", "FROZENSET", "OBJ"):
            items = self._to_mark()
            stack.append(
                tuple(items[:16]) if name == "TUPLE" else self._dictionary({}, items) if name == "DICT" else None
            )
        elif name in ("APPENDS", "ADDITEMS", "POP_MARK"):
            self._to_mark()
        elif name in ("SETITEMS", "SETITEM"):
            items = self._to_mark() if name == "SETITEMS" else [stack.pop(-2), stack.pop()]
            if isinstance(stack[-1], dict | type(None)):
                self._dictionary(stack[-1] if isinstance(stack[-1], dict) else {}, items)
        elif name in ("REDUCE", "NEWOBJ"):
            arguments, maker = stack.pop(), stack.pop()
            stack.append(_Made(maker, arguments))
        elif name == "NEWOBJ_EX":
            keywords, arguments, maker = stack.pop(), stack.pop(), stack.pop()
            stack.append(_Made(maker, arguments, keywords))
        elif name == "BUILD":
            self._build(stack.pop())
        elif name in ("POP", "APPEND"):
            stack.pop()
        elif name == "DUP":
            stack.append(stack[-1])
        elif name == "BINPERSID":
            stack[-1] = None
        else:
            raise _Invalid

    def _to_mark(self) -> list[Any]:
        stack = self._stack
        index = len(stack) - 1
        while stack[index] is not _MARK:
            index -= 1
            if index < 0:
                raise _Invalid
        items = stack[index + 1 :]
        del stack[index:]
        return items

    def _dictionary(self, found: dict[str, Any], items: list[Any]) -> dict[str, Any]:
        for key, value in zip(items[::2], items[1::2], strict=False):
            if key == _VERSION_KEY and isinstance(value, str) and VERSION.fullmatch(value):
                self.versions.add(value)
            if isinstance(key, str) and len(found) < 16:
                found[key] = value
        return found

    # --- joblib's arrays ----------------------------------------------------------------------------------------------

    def _build(self, state: Any) -> None:
        made = self._stack[-1]
        if not isinstance(made, _Made) or not isinstance(made.maker, _Global):
            return
        if _ARRAY.fullmatch(f"{made.maker.module}:{made.maker.name}") and isinstance(state, dict):
            self._array(state)
        elif made.maker[1] == "dtype":
            built = made._replace(state=state)
            # The memo has the dtype as it was before its state came; arrays share it.
            for index in [key for key in islice(reversed(self._memo), 4) if self._memo[key] is made]:
                self._memo[index] = built
            self._stack[-1] = built

    def _array(self, state: dict[str, Any]) -> None:
        dtype, shape = state.get("dtype"), state.get("shape")
        size = _item_size(dtype)
        if size is None:
            raise TooMuch  # how long the raw bytes are cannot be told: the walk ends here
        if size == 0:
            if len(self._outer) >= _MAX_DEPTH:
                raise _Invalid
            self._outer.append((self._stack, self._memo, self.protocol))
            self._stack, self._memo = [], {}
            return
        if not isinstance(shape, tuple) or not all(isinstance(each, int) for each in shape):
            raise TooMuch
        if state.get("numpy_array_alignment_bytes") is not None:
            self._stream.skip(self._stream.read(1)[0])
        self._stream.skip(math.prod(shape) * size)


def _item_size(dtype: Any) -> int | None:
    """Return the bytes of one item; 0 for objects, None where it cannot be told (records may hold objects)."""
    if not isinstance(dtype, _Made) or not isinstance(dtype.arguments, tuple) or not dtype.arguments:
        return None
    text = dtype.arguments[0]
    found = re.fullmatch(r"[<>|=]?([?bBiufcmMSUO])(\d{0,9})", text) if isinstance(text, str) else None
    if found is None:
        return None
    if found[1] == "O":
        return 0
    size = int(found[2] or 1)
    return size * 4 if found[1] == "U" else size


_INTEGERS = frozenset({"BININT", "BININT1", "BININT2"})
_PUSHED = _INTEGERS | {
    *("NONE", "NEWTRUE", "NEWFALSE", "INT", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "EMPTY_LIST", "EMPTY_SET"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8", "NEXT_BUFFER", "EXT1", "EXT2", "EXT4", "PERSID"),
}
