"""Inputs → mini-batches; mini-batches → those of a shard. Pure: what run() gets hangs on no worker and no clock."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from packager.batches.values import Form, InputFile, MiniBatch
from packager.errors import UsageError
from packager.units import parse_size

#: Ending of a file → how its rows are read.
TABLES = {".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}
#: Endings of files with a request a line.
LINES = (".jsonl", ".ndjson")
#: Endings that stand after another one.
COMPRESSED = (".gz", ".bz2", ".xz")

_SHARD = re.compile(r"(auto|[0-9]{1,9})(?:/([0-9]{1,9}))?")

#: What tells a job of an array its number, and how many there are.
_ARRAYS = (
    ("JOB_COMPLETION_INDEX", "PACKAGER_SHARDS", ""),
    ("AWS_BATCH_JOB_ARRAY_INDEX", "AWS_BATCH_JOB_ARRAY_SIZE", ""),
    ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT", "SLURM_ARRAY_TASK_MIN"),
)


class Size(msgspec.Struct, frozen=True, kw_only=True):
    """How large a mini-batch is; it ends with the first item that reaches one of them.

    Attributes:
        items: so many; None for any number.
        size: so many bytes; None for any size.
        text: as it was said.
    """

    items: int | None = None
    size: int | None = None
    text: str


class Shard(msgspec.Struct, frozen=True):
    """One of several equal parts.

    Attributes:
        number: from 0.
        count: how many there are.
    """

    number: int = 0
    count: int = 1


def parse_mini_batch_size(text: str | None, form: Form) -> Size:
    """Return the size that `10` (items) or `1MB` mean; where nothing is said v1's: 10 files, 1 MB of a table.

    Requests, which v1 has not, are 10 as well: what is lost with a worker, or waited for at the end, is small.

    Raises:
        UsageError: it is neither, or nothing.
    """
    said = text or ("1MB" if form == "table" else "10")
    size = Size(items=int(said), text=said) if said.strip().isdecimal() else None
    size = size or Size(size=parse_size(said, "--mini-batch-size"), text=said)
    if not (size.items or size.size):
        raise UsageError("--mini-batch-size is nothing", remedy="a number of items, such as 10, or a size: 1MB")
    return size


def form_of(files: Sequence[InputFile], asked: str) -> Form:
    """Return how run() gets its items: as asked for, else by the ending that all files have.

    Raises:
        UsageError: a table is asked for, and a file has no ending of one.
    """
    kinds = {ending_of(each) for each in files}
    if asked == "table":
        if strange := sorted(kinds - set(TABLES)):
            example = next(each.name for each in files if ending_of(each) == strange[0])
            raise UsageError(
                f"{example} is no table: a table ends with {', '.join(TABLES)}",
                remedy="name the tables alone: --input 'DIR/*.csv'; or --input-format files",
            )
        return "table"
    if asked in ("files", "requests"):
        return "requests" if asked == "requests" else "files"
    if kinds and kinds <= set(LINES):
        return "requests"
    return "table" if kinds and kinds <= set(TABLES) else "files"


def ending_of(file: InputFile) -> str:
    """Return the ending of a file's name, in lower case; that before the ending of a compression, where it has one."""
    stem, ending = posixpath.splitext(file.name.lower())
    return posixpath.splitext(stem)[1] if ending in COMPRESSED else ending


def kind_of(file: InputFile, form: Form) -> str:
    """Return how the records of a file are told apart: `csv`, `tsv`, `jsonl`, `parquet`; empty for a whole file."""
    ending = ending_of(file)
    if form == "table":
        return TABLES[ending]
    return "jsonl" if form == "requests" and ending in LINES else ""


def of_files(files: Sequence[InputFile], first: int, size: Size) -> Iterator[tuple[int, int]]:
    """Give the first index and the number of the files of each mini-batch.

    Args:
        files: whole ones, in order.
        first: index of the first.
        size: of a mini-batch.
    """
    begin, total = 0, 0
    for index, file in enumerate(files):
        total += file.size
        if _is_full(size, index + 1 - begin, total):
            yield first + begin, index + 1 - begin
            begin, total = index + 1, 0
    if begin < len(files):
        yield first + begin, len(files) - begin


def of_records(ends: Iterable[int], start: int, size: Size) -> Iterator[tuple[int, int, int, int]]:
    """Give start and stop, the number of the first record, and the number of records of each mini-batch of a file.

    Args:
        ends: where each record ends, in bytes; what is between two is the second one's.
        start: where the first one starts.
        size: of a mini-batch.
    """
    first, count, end = 0, 0, start
    for end in ends:
        count += 1
        if _is_full(size, count, end - start):
            yield start, end, first, count
            start, first, count = end, first + count, 0
    if count:
        yield start, end, first, count


def of_groups(groups: Sequence[tuple[int, int]], size: Size) -> Iterator[tuple[int, int]]:
    """Give the first row, and that after the last, of each mini-batch of a Parquet file.

    Args:
        groups: rows and bytes of each.
        size: of a mini-batch; bytes are those of a mean row of the file.
    """
    rows = sum(count for count, _ in groups)
    step = size.items
    if step is None:
        total = sum(each for _, each in groups)
        step = max(1, (size.size or 1) * rows // max(total, 1))
    for start in range(0, rows, step):
        yield start, min(start + step, rows)


def numbered(batches: Iterable[MiniBatch]) -> tuple[MiniBatch, ...]:
    """Return mini-batches with their numbers, from 0."""
    return tuple(msgspec.structs.replace(each, number=number) for number, each in enumerate(batches))


def parse_shard(text: str | None, environ: Mapping[str, str]) -> Shard:
    """Return the shard that `I/N` means, I from 0; `auto` and `auto/N` ask the variables of a job of an array.

    Kubernetes tells an Indexed Job no number of completions: `auto/N`, or PACKAGER_SHARDS.

    Raises:
        UsageError: it is none, or the variables say nothing.
    """
    if text is None:
        return Shard()
    found = _SHARD.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"--shard {text!r} is no shard", remedy="I/N with I from 0, auto, or auto/N")
    said, count = found[1], found[2]
    number = int(said) if said != "auto" else -1
    if said == "auto":
        array = next((each for each in _ARRAYS if environ.get(each[0], "").isdecimal()), None)
        if array is None:
            raise UsageError(
                f"--shard {text}: this is no job of an array: none of {', '.join(each[0] for each in _ARRAYS)} is set",
                remedy="--shard I/N says it",
            )
        number = int(environ[array[0]])
        if array[2]:
            # `--array=10-18:2` has numbers of its own.
            least, step = (environ.get(name, "") for name in (array[2], "SLURM_ARRAY_TASK_STEP"))
            number = (number - int(least or 0)) // int(step or 1)
        count = count or environ.get(array[1])
        if not (count or "").isdecimal():
            raise UsageError(f"--shard auto: {array[1]} does not say how many there are", remedy="--shard auto/N")
    if count is None or not 0 <= number < int(count):
        raise UsageError(f"--shard {text} is no shard: {number} of {count}", remedy="I/N with I from 0 to N-1")
    return Shard(number, int(count))


def of_shard(batches: Sequence[MiniBatch], shard: Shard) -> Sequence[MiniBatch]:
    """Return the mini-batches of a shard: those between two of N equal marks, so that results are joined in order."""
    begin, end = (len(batches) * each // shard.count for each in (shard.number, shard.number + 1))
    return batches[begin:end]


def _is_full(size: Size, items: int, total: int) -> bool:
    return (size.items is not None and items >= size.items) or (size.size is not None and total >= size.size)
