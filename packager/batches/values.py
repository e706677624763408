"""What a batch is made of: inputs, mini-batches, what became of each, and all of it together. Pure."""

from __future__ import annotations

import hashlib
from typing import Any, Literal

import msgspec

from packager.contract import BATCH_JOURNAL

#: How run() gets its items: `files` as a list of paths, `table` as a DataFrame, `requests` one by one as a text.
Form = Literal["files", "table", "requests"]

#: The one file that all results are joined into, as Azure ML v1 calls it.
RESULTS = "parallel_run_step.txt"
FAILURES = "failures.jsonl"
SUMMARY = "batch.json"
#: Folder of the output for the logs of the workers.
LOGS = "logs"
#: Folder of the output that is there while a run is under way, or has failures that may be tried again.
JOURNAL = BATCH_JOURNAL
#: Folder of the output for what each shard put out.
SHARDS = "shards"


class _Value(msgspec.Struct, frozen=True, kw_only=True):
    """Base."""


class InputFile(_Value, frozen=True):
    """A file that is read.

    Attributes:
        name: below the input, for people and in `failures.jsonl`.
        path: absolute on this machine, or its URL.
        size: bytes.
        stamp: what changes when the file does, as far as its place tells.
        remote: its path is a URL.
    """

    name: str
    path: str
    size: int
    stamp: str = ""
    remote: bool = False


class MiniBatch(msgspec.Struct, frozen=True, array_like=True):
    """What one run() gets, or in the form `requests`, as many calls of it as there are items.

    Attributes:
        number: from 0, in the order of the results.
        file: index of its first file.
        files: how many files; one where it is a part of a file.
        items: how many there are: files, rows or requests.
        start: of the part of the file: bytes, of Parquet rows; -1 where it is whole files.
        stop: where the part ends.
        first: number of its first record in the file, from 0.
        head: bytes of the file's header, which belongs to each part.
    """

    number: int
    file: int
    files: int
    items: int
    start: int = -1
    stop: int = -1
    first: int = 0
    head: int = 0

    @property
    def whole(self) -> bool:
        """Whether it is whole files."""
        return self.start < 0


class Failure(_Value, frozen=True, omit_defaults=True):
    """Items that have no result.

    Attributes:
        mini_batch: its number.
        inputs: names of the files that they are in, or are.
        failed: how many items of these have failed.
        record: number of the one record that failed, in its file, from 1.
        records: the first and the last record of which some failed, from 1.
        reason: why.
        tries: how often it was tried.
    """

    mini_batch: int
    inputs: tuple[str, ...]
    failed: int
    reason: str
    tries: int
    record: int | None = None
    records: tuple[int, int] | None = None


def said_of(failure: Failure) -> str:
    """Return a failure in a line, for people."""
    first = failure.inputs[0]
    if failure.record is not None:
        first = f"{first}, record {failure.record}"
    elif failure.records is not None:
        first = f"{first}, records {failure.records[0]} to {failure.records[1]}"
    elif len(failure.inputs) > 1:
        first = f"{first} and {len(failure.inputs) - 1} more"
    reason = failure.reason.splitlines()[0] if failure.reason else "failed"
    return f"{first}: {reason}"


class Outcome(_Value, frozen=True):
    """What became of a mini-batch.

    Attributes:
        number: of the mini-batch.
        items: how many there were.
        succeeded: how many of them have a result.
        data: the lines of the results.
        failures: those without.
        tries: how often it was tried, more than once included.
    """

    number: int
    items: int
    succeeded: int
    data: bytes = b""
    failures: tuple[Failure, ...] = ()
    tries: int = 1

    @property
    def failed(self) -> int:
        """How many items have no result."""
        return sum(each.failed for each in self.failures)


class Identity(_Value, frozen=True):
    """What must be the same for a run to be gone on with, and for shards to be merged.

    Attributes:
        package: what runs, with its digest.
        script: the entry script.
        form: how run() gets its items.
        mini_batch_size: as it was said.
        inputs: digest of their names and sizes.
        stamps: digest of what tells that one changed; on another machine it may be another.
        keeps_rows: results are kept, and not only counted.
        shard: its number, from 0.
        shards: how many there are.
    """

    package: str
    script: str
    form: str
    mini_batch_size: str
    inputs: str
    stamps: str
    keeps_rows: bool
    shard: int = 0
    shards: int = 1


class Summary(_Value, frozen=True):
    """What a batch came to.

    Attributes:
        identity: what ran over what.
        output: folder that has the results.
        results: file of the results; null where they were only counted.
        failures: file of the items that failed; null where none did.
        items: how many there were: files, rows or requests.
        succeeded: how many have a result.
        failed: how many have none.
        mini_batches: how many there were.
        tried_again: how many of these took more than one try.
        taken_over: how many of these were done before, by a run that did not end.
        seconds: of this run.
        items_per_second: in this run; null where it did nothing.
        complete: every item was tried; a run that ended at the error threshold is not.
    """

    identity: Identity
    output: str
    results: str | None
    failures: str | None
    items: int
    succeeded: int
    failed: int
    mini_batches: int
    tried_again: int
    taken_over: int
    seconds: float
    items_per_second: float | None
    complete: bool


def digest_of(values: Any) -> str:
    """Return the sha256 of values, as JSON has them."""
    return f"sha256:{hashlib.sha256(msgspec.json.encode(values)).hexdigest()}"


def inputs_digest(files: tuple[InputFile, ...]) -> str:
    """Return the digest of names and sizes, which are the same on every machine."""
    return digest_of([[each.name.encode("utf-8", "surrogateescape"), each.size] for each in files])


def stamps_digest(files: tuple[InputFile, ...]) -> str:
    """Return the digest of what tells that a file changed."""
    return digest_of([each.stamp for each in files])
