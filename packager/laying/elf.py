"""What an ELF file (a library, an extension module) asks of the machine that loads it. Pure: bytes in, values out.

Format: System V ABI, "Object Files" and "Dynamic Linking"; for symbol versions the Linux Standard Base, "Symbol
Versioning". Only what the dynamic loader itself reads is read: program headers and the dynamic section.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import islice
from mmap import mmap

import msgspec

#: e_machine → what `uname -m` says there.
MACHINES = {3: "i686", 22: "s390x", 21: "ppc64le", 40: "arm", 62: "x86_64", 183: "aarch64", 243: "riscv64"}

_LOAD, _DYNAMIC, _INTERP = 1, 2, 3
_NEEDED, _STRTAB, _STRSZ, _SONAME, _RPATH, _RUNPATH = 1, 5, 10, 14, 15, 29
_VERDEF, _VERDEFNUM, _VERNEED, _VERNEEDNUM = 0x6FFFFFFC, 0x6FFFFFFD, 0x6FFFFFFE, 0x6FFFFFFF
_WEAK = 2
# More than any real file has, and few enough that a made-up one costs no time.
_MANY = 4096
_LONGEST = 4096

Bytes = bytes | memoryview | mmap


class NotElf(Exception):  # noqa: N818 - it is no failure
    """The bytes are not an ELF file, or one that is cut off or contradicts itself."""


class Elf(msgspec.Struct, frozen=True, kw_only=True):
    """What the dynamic loader reads of a file.

    Attributes:
        machine: in the words of `uname -m`; `machine-<number>` where that is not known.
        needed: names of libraries, as they are searched.
        soname: its own name.
        search: folders of DT_RUNPATH, else DT_RPATH, as they are written (`$ORIGIN/../numpy.libs`).
        interpreter: the loader, of a program.
        wants: (library, version) of the symbols that it must find (`("libc.so.6", "GLIBC_2.28")`).
        offers: versions of symbols that it defines.
    """

    machine: str
    needed: tuple[str, ...] = ()
    soname: str = ""
    search: tuple[str, ...] = ()
    interpreter: str = ""
    wants: tuple[tuple[str, str], ...] = ()
    offers: tuple[str, ...] = ()


def parse_elf(data: Bytes) -> Elf:
    """Return what a file asks for.

    Raises:
        NotElf: it is none, or is damaged.
    """
    try:
        return _Reader(data).read()
    except (struct.error, IndexError, OverflowError, ValueError) as error:
        raise NotElf(str(error)) from None


class _Reader:
    def __init__(self, data: Bytes) -> None:
        if data[:4] != b"\x7fELF" or data[4] not in (1, 2) or data[5] not in (1, 2):
            raise NotElf("no ELF header")
        self._data = data
        self._wide = data[4] == 2
        self._order = "<" if data[5] == 1 else ">"
        self._loads: list[tuple[int, int, int]] = []
        self._strings = (0, 0)

    def read(self) -> Elf:
        machine = self._unpack("H", 18)[0]
        dynamic, interpreter = self._segments()
        tags = self._dynamic(*dynamic) if dynamic else []
        first = dict(reversed(tags))
        if _STRTAB in first:
            self._strings = (self._offset(first[_STRTAB]), first.get(_STRSZ, 0))
        search = first.get(_RUNPATH, first.get(_RPATH))
        return Elf(
            machine=MACHINES.get(machine, f"machine-{machine}"),
            needed=tuple(self._string(value) for tag, value in tags if tag == _NEEDED),
            soname=self._string(first[_SONAME]) if _SONAME in first else "",
            search=tuple(filter(None, self._string(search).split(":"))) if search is not None else (),
            interpreter=interpreter,
            wants=tuple((file, name) for file, name, flags in islice(self._wanted(first), _MANY) if not flags & _WEAK),
            offers=tuple(self._offered(first)),
        )

    def _unpack(self, form: str, offset: int) -> tuple[int, ...]:
        if offset < 0:
            raise NotElf("negative offset")
        return struct.unpack_from(self._order + form, self._data, offset)

    def _segments(self) -> tuple[tuple[int, int] | None, str]:
        start = self._unpack("Q", 32)[0] if self._wide else self._unpack("I", 28)[0]
        size, count = self._unpack("HH", 54 if self._wide else 42)
        dynamic, interpreter = None, ""
        for number in range(min(count, _MANY)):
            at = start + number * size
            if self._wide:
                kind, _, offset, address, _, length = self._unpack("IIQQQQ", at)
            else:
                kind, offset, address, _, length = self._unpack("IIIII", at)
            if kind == _LOAD:
                if offset + length > len(self._data):
                    raise NotElf("cut off")
                self._loads.append((address, offset, length))
            elif kind == _DYNAMIC:
                dynamic = (offset, length)
            elif kind == _INTERP:
                interpreter = self._text(offset, min(length, _LONGEST))
        return dynamic, interpreter

    def _dynamic(self, offset: int, length: int) -> list[tuple[int, int]]:
        form, step = ("QQ", 16) if self._wide else ("II", 8)
        tags: list[tuple[int, int]] = []
        for number in range(min(length // step, _MANY)):
            tag, value = self._unpack(form, offset + number * step)
            if tag == 0:
                break
            tags.append((tag, value))
        return tags

    def _offset(self, address: int) -> int:
        for start, offset, length in self._loads:
            if start <= address < start + length:
                return address - start + offset
        raise NotElf("an address that is in no segment")

    def _string(self, index: int) -> str:
        start, size = self._strings
        if index >= size:
            raise NotElf("a name outside the string table")
        return self._text(start + index, min(size - index, _LONGEST))

    def _text(self, offset: int, longest: int) -> str:
        # The loader takes names as bytes; what is not UTF-8 stays visible in messages.
        return bytes(self._data[offset : offset + longest]).partition(b"\0")[0].decode("utf-8", "backslashreplace")

    def _wanted(self, tags: dict[int, int]) -> Iterator[tuple[str, str, int]]:
        """Elf_Verneed: version, count, file name, first entry, next; Elf_Vernaux: hash, flags, other, name, next."""
        if _VERNEED not in tags:
            return
        at = self._offset(tags[_VERNEED])
        for _ in range(min(tags.get(_VERNEEDNUM, 0), _MANY)):
            _, count, file, first, following = self._unpack("HHIII", at)
            entry = at + first
            for _ in range(min(count, _MANY)):
                _, flags, _, name, after = self._unpack("IHHII", entry)
                yield self._string(file), self._string(name), flags
                if not after:
                    break
                entry += after
            if not following:
                break
            at += following

    def _offered(self, tags: dict[int, int]) -> Iterator[str]:
        """Elf_Verdef: version, flags, index, count, hash, first entry, next; Elf_Verdaux: name, next."""
        if _VERDEF not in tags:
            return
        at = self._offset(tags[_VERDEF])
        for _ in range(min(tags.get(_VERDEFNUM, 0), _MANY)):
            _, flags, _, _, _, first, following = self._unpack("HHHHIII", at)
            if not flags & 1:  # VER_FLG_BASE: the name of the file itself
                yield self._string(self._unpack("II", at + first)[0])
            if not following:
                break
            at += following
