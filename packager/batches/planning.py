"""Inputs → mini-batches: reads where the records of files are, which takes as long as reading them once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

import msgspec

from packager.batches.local import fetch, plain
from packager.batches.splitting import Size, kind_of, numbered, of_files, of_groups, of_records
from packager.batches.values import Form, InputFile, MiniBatch
from packager.progress import reading

#: Says how many rows and bytes each group of a Parquet file has, by its path.
Groups = Callable[[str], Sequence[tuple[int, int]]]


class Split(msgspec.Struct, frozen=True, kw_only=True):
    """Inputs, split.

    Attributes:
        files: as they are read: those with records on this machine, and not compressed.
        batches: the mini-batches of all shards.
        unread: index of a file whose records could not be told apart → why; it is one item, and failed.
    """

    files: tuple[InputFile, ...]
    batches: tuple[MiniBatch, ...]
    unread: dict[int, str]


def split(files: Sequence[InputFile], form: Form, size: Size, scratch: Path, groups: Groups) -> Split:
    """Return the mini-batches of inputs; they hang on the inputs and the size alone.

    Args:
        files: the inputs, in order.
        form: how run() gets its items.
        size: of a mini-batch.
        scratch: folder for what is fetched and written out, until the end of the run.
        groups: looks into a Parquet file.

    Raises:
        TemporaryError: a file could not be fetched.
        ContextError: the disk is full.
    """
    if form == "files":
        return Split(files=tuple(files), batches=numbered(_files(of_files(files, 0, size))), unread={})
    here, batches = list(files), list[MiniBatch]()
    unread: dict[int, str] = {}
    with reading("looking for records", sum(each.size for each in files)) as reached:
        done = 0
        for whole, indices in groupby(range(len(files)), lambda each: not kind_of(files[each], form)):
            chosen = list(indices)
            if whole:
                batches += _files(of_files([files[each] for each in chosen], chosen[0], size))
                done += sum(files[each].size for each in chosen)
                reached(done)
                continue
            for index in chosen:
                try:
                    here[index] = plain(fetch(files[index], scratch), scratch)
                    batches += _records(index, here[index], form, size, groups)
                except (OSError, EOFError, ValueError) as error:
                    unread[index] = f"it cannot be read: {getattr(error, 'strerror', None) or error}"
                    batches.append(MiniBatch(0, index, 1, 1))
                done += files[index].size
                reached(done)
    return Split(files=tuple(here), batches=numbered(batches), unread=unread)


def _files(parts: Iterator[tuple[int, int]]) -> Iterator[MiniBatch]:
    return (MiniBatch(0, first, count, count) for first, count in parts)


def _records(index: int, file: InputFile, form: Form, size: Size, groups: Groups) -> list[MiniBatch]:
    """Return the mini-batches of one file; all of them, so that one which breaks off has none."""
    kind = kind_of(file, form)
    if kind == "parquet":
        rows = of_groups(groups(file.path), size)
        return [MiniBatch(0, index, 1, stop - start, start, stop, start) for start, stop in rows]
    quoted = kind in ("csv", "tsv")
    ends = record_ends(file.path, quoted=quoted)
    head = next(ends, 0) if quoted else 0
    found = of_records(ends, head, size)
    return [MiniBatch(0, index, 1, items, start, stop, first, head) for start, stop, first, items in found]


def record_ends(path: str, *, quoted: bool) -> Iterator[int]:
    """Give where each record of a file ends, in bytes: at the end of a line that is not blank.

    Args:
        path: of the file.
        quoted: in double quotes, a line end is part of the record (RFC 4180).

    Raises:
        OSError: it cannot be read.
    """
    position, inside, begun = 0, False, False
    with open(path, "rb") as file:
        for line in file:
            position += len(line)
            if quoted and b'"' in line and line.count(b'"') % 2:
                inside = not inside
            begun = begun or bool(line.strip())
            if begun and not inside:
                begun = False
                yield position
    if begun:
        yield position
