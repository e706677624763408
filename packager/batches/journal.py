"""What is done of a run, kept so that nothing of it is lost when the run is: results, and a line for each mini-batch.

Both files only grow. Results are written first, then the line that says where they are, with their checksum; so a line
without its results, after a power cut, is found out, and its mini-batch is run again. A kill of the process loses
nothing that was written.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import msgspec

from packager.batches.values import FAILURES, JOURNAL, RESULTS, SUMMARY, Failure, Identity, Outcome, Summary
from packager.decoding import decode_json
from packager.errors import ContextError
from packager.storage.files import write_bytes
from packager.storage.reading import failure

#: Seconds between two writes to the disk itself.
_SYNC = 1.0
#: Bytes that are copied at a time.
_BLOCK = 1 << 20

_NAMES = {
    "package": "the package",
    "script": "the entry script",
    "form": "--input-format",
    "mini_batch_size": "--mini-batch-size",
    "inputs": "the inputs",
    "stamps": "the content of the inputs",
    "keeps_rows": "--summary-only",
    "shard": "--shard",
    "shards": "--shard",
}


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the journal says of a mini-batch.

    Attributes:
        number: of it.
        items: how many there were.
        succeeded: how many of them have a result.
        offset: where its results are in the file of results.
        size: their bytes.
        checksum: their CRC-32.
        tries: how often it was tried.
        failures: items without a result.
    """

    number: int
    items: int
    succeeded: int
    offset: int
    size: int
    checksum: int
    tries: int = 1
    failures: tuple[Failure, ...] = ()

    @property
    def failed(self) -> int:
        """How many items have no result."""
        return sum(each.failed for each in self.failures)


def differences(before: Identity, now: Identity) -> list[str]:
    """Return in words what is not as it was. Pure."""
    names = (name for name in Identity.__struct_fields__ if getattr(before, name) != getattr(now, name))
    return list(dict.fromkeys(_NAMES[name] for name in names))


class Journal:
    """The journal of a run in a folder of its own, which nobody else writes meanwhile; made by `opened`.

    Attributes:
        folder: that has it.
        done: mini-batch → what became of it, as the journal says so far.
    """

    def __init__(self, folder: Path, results: BinaryIO, lines: BinaryIO, done: dict[int, Line]) -> None:
        self.folder, self.done = folder, done
        self._results, self._lines = results, lines
        self._offset = results.seek(0, os.SEEK_END)
        self._synced = time.monotonic()

    def add(self, outcome: Outcome) -> None:
        """Write down what became of a mini-batch.

        Raises:
            ContextError: the disk is full.
        """
        line = Line(
            number=outcome.number,
            items=outcome.items,
            succeeded=outcome.succeeded,
            offset=self._offset,
            size=len(outcome.data),
            checksum=zlib.crc32(outcome.data),
            tries=outcome.tries,
            failures=outcome.failures,
        )
        try:
            self._results.write(outcome.data)
            self._results.flush()
            self._lines.write(msgspec.json.encode(line) + b"\n")
            self._lines.flush()
            if time.monotonic() - self._synced > _SYNC:
                self.sync()
        except OSError as error:
            raise _unwritten(self.folder, error) from None
        self._offset += len(outcome.data)
        self.done[outcome.number] = line

    def sync(self) -> None:
        """Have all on the disk, in this order."""
        os.fsync(self._results.fileno())
        os.fsync(self._lines.fileno())
        self._synced = time.monotonic()

    def join(self, output: Path, *, keeps_rows: bool) -> None:
        """Write the results of all mini-batches in their order, and the failures beside them, each file in one step.

        Raises:
            ContextError: the disk is full, or the journal is damaged.
        """
        lines = [self.done[number] for number in sorted(self.done)]
        try:
            if keeps_rows:
                self._join_results(lines, output / RESULTS)
            failures = [msgspec.json.encode(each) + b"\n" for line in lines for each in line.failures]
        except OSError as error:
            raise _unwritten(output, error) from None
        if failures:
            write_bytes(output / FAILURES, b"".join(failures))
        else:
            with suppress(FileNotFoundError):
                (output / FAILURES).unlink()

    def _join_results(self, lines: list[Line], path: Path) -> None:
        new = path.with_name(f".{path.name}.new")
        with new.open("wb") as target:
            for line in lines:
                self._results.seek(line.offset)
                left = line.size
                while left:
                    piece = self._results.read(min(left, _BLOCK))
                    if not piece:
                        raise ContextError(f"{self.folder} is damaged: results of mini-batch {line.number} are missing")
                    target.write(piece)
                    left -= len(piece)
            target.flush()
            os.fsync(target.fileno())
        new.replace(path)


@contextmanager
def opened(
    output: Path, identity: Identity, *, resume: bool, overwrite: bool, shown: str | None = None
) -> Iterator[Journal]:
    """Give the journal of a run; it stays until `remove_journal`.

    Args:
        output: folder of the results; it is made.
        identity: what runs over what.
        resume: go on with a run that did not end; mini-batches of which something failed are run again.
        overwrite: begin anew, whatever is there of another run.
        shown: what people know the folder by; its path where None.

    Raises:
        ContextError: another run is there, or is under way; it is not the same one; the folder cannot be written.
    """
    folder, shown = output / JOURNAL, shown or str(output)
    try:
        output.mkdir(parents=True, exist_ok=True)
        lock = os.open(output, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise _unwritten(output, error) from None
    try:
        _lock(lock, output)
        if overwrite:
            _remove_all(output)
        known = _read_identity(folder)
        if known is not None and resume:
            if changed := differences(known, identity):
                raise ContextError(
                    f"the run in {shown} was another one: {', '.join(changed)} changed since",
                    remedy="--overwrite begins anew",
                )
        elif known is not None or any((output / name).exists() for name in (RESULTS, SUMMARY)):
            state = "a run that has not ended, or had failures" if known is not None else "the results of a run"
            remedy = (
                "--resume goes on with it, --overwrite begins anew"
                if known is not None
                else "--overwrite replaces them"
            )
            raise ContextError(f"{shown} has {state}", remedy=remedy)
        try:
            folder.mkdir(exist_ok=True)
            write_bytes(folder / "run.json", msgspec.json.encode(identity))
            with (folder / "results").open("a+b") as results, (folder / "journal").open("a+b") as lines:
                done = _done(results, lines)
                yield Journal(folder, results, lines, {n: line for n, line in done.items() if not line.failures})
        except OSError as error:
            raise _unwritten(output, error) from None
    finally:
        os.close(lock)


def remove_journal(output: Path) -> None:
    """Remove the journal of a run that has ended well."""
    shutil.rmtree(output / JOURNAL, ignore_errors=True)


def finished(output: Path, identity: Identity) -> Summary | None:
    """Return what a run came to that ended well, and needs no more; None where it did not, or was another one."""
    with suppress(OSError, msgspec.DecodeError):
        summary = decode_json((output / SUMMARY).read_bytes(), Summary)
        if summary.complete and not summary.failed and not differences(summary.identity, identity):
            return summary
    return None


def write_summary(output: Path, summary: Summary) -> None:
    """Write down what a run came to, beside its results.

    Raises:
        ContextError: the disk is full.
    """
    write_bytes(output / SUMMARY, msgspec.json.format(msgspec.json.encode(summary), indent=2) + b"\n")


def _lock(descriptor: int, output: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ContextError(f"another run is writing to {output}", remedy="another --output, or wait for it") from None
    except OSError:
        pass  # not every filesystem has locks


def _read_identity(folder: Path) -> Identity | None:
    try:
        return decode_json((folder / "run.json").read_bytes(), Identity)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError):
        raise ContextError(f"{folder} is damaged: run.json cannot be read", remedy="--overwrite begins anew") from None


def _done(results: BinaryIO, lines: BinaryIO) -> Mapping[int, Line]:
    """Return what a journal says, as far as it is whole; a half line at the end, of a power cut, is taken off."""
    end = results.seek(0, os.SEEK_END)
    done: dict[int, Line] = {}
    good = 0
    lines.seek(0)
    for text in lines:
        try:
            line = decode_json(text, Line)
        except msgspec.DecodeError:
            break
        if not text.endswith(b"\n"):
            break
        good += len(text)
        if line.offset + line.size <= end and _checksum(results, line) == line.checksum:
            done[line.number] = line
        else:
            done.pop(line.number, None)
    lines.truncate(good)
    lines.seek(good)
    return done


def _checksum(results: BinaryIO, line: Line) -> int:
    results.seek(line.offset)
    found, left = 0, line.size
    while left and (piece := results.read(min(left, _BLOCK))):
        found = zlib.crc32(piece, found)
        left -= len(piece)
    return found


def _remove_all(output: Path) -> None:
    """Remove what a run wrote, and nothing else."""
    remove_journal(output)
    for name in (RESULTS, FAILURES, SUMMARY):
        with suppress(FileNotFoundError):
            (output / name).unlink()


def _unwritten(path: Path, error: OSError) -> ContextError:
    found = failure("written", path, error)
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    remedy = "make room, and go on with --resume: what is done is kept" if full else found.remedy
    return ContextError(found.message, where=found.where, remedy=remedy)
