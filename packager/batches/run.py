"""A batch from its mini-batches to its results: what is done already is left, the rest is run and written down."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from pathlib import Path

import msgspec

from packager.batches.answers import failed
from packager.batches.journal import Journal, finished, opened, remove_journal, write_summary
from packager.batches.planning import Split
from packager.batches.pool import Job, outcomes
from packager.batches.values import FAILURES, RESULTS, Identity, MiniBatch, Outcome, Summary, said_of
from packager.batches.workers import Start
from packager.errors import ContextError
from packager.progress import working

#: Failures that are told while a run is under way; all are in the file.
_TOLD, _MORE = 5, "; failures after this one are in the output's failures.jsonl"


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """What is run, and where its results go.

    Attributes:
        identity: what runs over what.
        split: the inputs.
        batches: the mini-batches of this shard.
        job: what workers are to do.
        processes: how many workers there are at the most.
        output: folder of this machine that gets the results.
        shown: what people know it by.
        error_threshold: failed items above which the run ends at once; None tries all, and -1 does, too.
        resume: go on with a run that did not end.
        overwrite: begin anew.
    """

    identity: Identity
    split: Split
    batches: Sequence[MiniBatch]
    job: Job
    processes: int
    output: Path
    shown: str | None = None
    error_threshold: int | None = None
    resume: bool = False
    overwrite: bool = False


def run_batch(run: Run, start: Start, warn: Callable[[str], None]) -> Summary:
    """Run what is not done yet, and return what it came to, with what was.

    Args:
        run: what.
        start: starts a worker.
        warn: is told what went wrong beside the items.

    Raises:
        ServiceError: the entry script cannot be loaded, or its init() fails.
        ContextError: another run is in the folder, or the disk is full; what is done is kept.
    """
    if run.resume and not run.overwrite and (known := finished(run.output, run.identity)) is not None:
        return msgspec.structs.replace(known, taken_over=known.mini_batches, seconds=0.0, items_per_second=None)
    begin = time.monotonic()
    with opened(run.output, run.identity, resume=run.resume, overwrite=run.overwrite, shown=run.shown) as journal:
        taken_over = len(journal.done)
        items = _work(run, journal, start, warn)
        seconds = time.monotonic() - begin
        complete = len(journal.done) == len(run.batches)
        try:
            journal.sync()
        except OSError as error:
            raise ContextError(f"{run.output} cannot be written: {error.strerror}") from None
        journal.join(run.output, keeps_rows=run.identity.keeps_rows and complete)
        lines = journal.done.values()
        lost = sum(line.failed for line in lines)
        summary = Summary(
            identity=run.identity,
            output=str(run.output),
            results=RESULTS if run.identity.keeps_rows and complete else None,
            failures=FAILURES if lost else None,
            items=sum(line.items for line in lines),
            succeeded=sum(line.succeeded for line in lines),
            failed=lost,
            mini_batches=len(run.batches),
            tried_again=sum(line.tries > 1 for line in lines),
            taken_over=taken_over,
            seconds=round(seconds, 3),
            items_per_second=round(items / seconds, 1) if items and seconds else None,
            complete=complete,
        )
        write_summary(run.output, summary)
    if complete and not lost:
        remove_journal(run.output)
    return summary


def _work(run: Run, journal: Journal, start: Start, warn: Callable[[str], None]) -> int:
    """Run what is not done yet until the error threshold; return how many items that were."""
    left = [batch for batch in run.batches if batch.number not in journal.done]
    lost, done, told = 0, 0, 0
    with (
        working("running mini-batches", sum(each.items for each in left), "items") as advance,
        # Closed at once, whatever happens: workers end with it.
        closing(_outcomes(run, left, start, warn)) as found,
    ):
        for outcome in found:
            journal.add(outcome)
            advance(outcome.items)
            for failure in outcome.failures[: max(_TOLD - told, 0)]:
                told += 1
                warn(f"{said_of(failure)}{_MORE if told == _TOLD else ''}")
            done += outcome.items
            lost += outcome.failed
            if run.error_threshold is not None and 0 <= run.error_threshold < lost:
                break
    return done


def _outcomes(
    run: Run, left: Sequence[MiniBatch], start: Start, warn: Callable[[str], None]
) -> Generator[Outcome, None, None]:
    unread = run.split.unread
    lost = [batch for batch in left if batch.file in unread]
    yield from (failed(batch, run.split.files, unread[batch.file], 1) for batch in lost)
    able = [batch for batch in left if batch.file not in unread]
    yield from outcomes(able, run.job, start, run.processes, warn)
