"""Mini-batches are given to workers as these get free; one that hangs or ends is replaced, and what it had tried again.

A thread waits for each worker. Outcomes come as they are ready; which worker had what is nowhere to be seen in them.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import msgspec

from packager.batches.answers import answered, failed, one_of
from packager.batches.local import fetched
from packager.batches.splitting import kind_of
from packager.batches.values import Form, InputFile, MiniBatch, Outcome
from packager.batches.workers import LostError, Start, Worker
from packager.errors import ContextError, ServiceError, TemporaryError
from packager.progress import in_thread

#: Seconds of a mini-batch after which the next one is sent ahead; of a longer one, another worker may have it sooner.
_QUICK = 0.2
#: Characters of paths that a pipe takes while nobody reads it, with what is around them.
_SHORT = 16 * 1024


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How long and how often.

    Attributes:
        timeout: seconds that one run() may take.
        init_timeout: seconds that loading the script and init() may take.
        tries: how often a mini-batch is tried that fails, hangs or ends its worker.
    """

    timeout: float = 60.0
    init_timeout: float = 600.0
    tries: int = 3


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What the workers are to do.

    Attributes:
        form: how run() gets its items.
        script: path of the entry script, as a worker sees it.
        files: the inputs.
        scratch: folder for inputs that are fetched.
        limits: how long and how often.
    """

    form: Form
    script: str
    files: tuple[InputFile, ...]
    scratch: Path
    limits: Limits


class _Over(Exception):  # noqa: N818 - it is no error
    """The run ends, and no worker is wanted any more."""


class Hand:
    """Does mini-batches one after the other, with a worker that is started when it is needed.

    Args:
        number: of the worker, from 0.
        job: what is to be done.
        start: starts a worker.
    """

    def __init__(self, number: int, job: Job, start: Start) -> None:
        self._number, self._job, self._start = number, job, start
        self._worker: Worker | None = None
        self._over, self._quick = False, False
        #: What was sent and not asked for yet, and what was answered before it was asked for.
        self._ahead: MiniBatch | None = None
        self._early: tuple[MiniBatch, dict[str, Any], bytes] | None = None

    @property
    def quick(self) -> bool:
        """Whether the next mini-batch is better sent ahead, so that the worker never waits for it."""
        return self._quick

    def outcome(self, batch: MiniBatch, upcoming: MiniBatch | None = None) -> Outcome:
        """Return what became of a mini-batch.

        Args:
            batch: it.
            upcoming: the one that is asked for next, which may be sent ahead.

        Raises:
            ServiceError: the script cannot be loaded, or its init() fails.
        """
        reason, tries = "", 0
        for tries in range(1, self._job.limits.tries + 1):
            try:
                answer, data = self._tried(batch, upcoming if tries == 1 else None)
            except LostError as error:
                self.kill()
                reason = str(error)
                continue
            except TemporaryError as error:
                reason = error.message
                continue
            if "error" not in answer:
                return answered(batch, self._job.files, answer, data, tries)
            reason = answer["error"]
            self._take_early()
        if self._job.form == "requests" and batch.items > 1:
            return self._one_by_one(batch, tries)
        return failed(batch, self._job.files, reason, tries)

    def _tried(self, batch: MiniBatch, upcoming: MiniBatch | None) -> tuple[dict[str, Any], bytes]:
        """Return the worker's answer to a mini-batch, which may be there already, or be sent."""
        if self._early is not None and self._early[0] is batch:
            (_, answer, data), self._early = self._early, None
            return answer, data
        with self._inputs(batch) as paths:
            worker = self._asked()
            if self._ahead is not batch:
                worker.send(self._message(batch, paths))
            self._ahead = None
            if upcoming is not None and worker.ahead and not self._is_remote(upcoming):
                message = self._message(upcoming, [each.path for each in self._files(upcoming)])
                if sum(map(len, message.get("paths", ()))) < _SHORT:
                    worker.send(message)
                    self._ahead = upcoming
            begin = time.monotonic()
            found = worker.receive(self._job.limits.timeout)
            self._quick = time.monotonic() - begin < _QUICK
            return found

    def _take_early(self) -> None:
        """Take the answer to what was sent ahead: what failed is now sent again, and answers come in order."""
        if self._ahead is None or self._worker is None:
            return
        ahead, self._ahead = self._ahead, None
        try:
            self._early = (ahead, *self._worker.receive(self._job.limits.timeout))
        except LostError:
            self.kill()

    def _one_by_one(self, batch: MiniBatch, tries: int) -> Outcome:
        """Return what becomes of the requests of a mini-batch, each alone: one of them ends the worker, or hangs."""
        parts = []
        for index in range(batch.items):
            one = one_of(batch, index)
            only = None if batch.whole else index
            try:
                with self._inputs(one) as paths:
                    message = {**self._message(one, paths), **({} if only is None else {"only": only})}
                    worker = self._asked()
                    worker.send(message)
                    answer, data = worker.receive(self._job.limits.timeout)
            except (LostError, TemporaryError) as error:
                if isinstance(error, LostError):
                    self.kill()
                parts.append(failed(one, self._job.files, str(error), tries + 1))
                continue
            if "error" in answer:
                parts.append(failed(one, self._job.files, answer["error"], tries + 1))
            else:
                parts.append(answered(one, self._job.files, answer, data, tries + 1))
        return Outcome(
            number=batch.number,
            items=sum(each.items for each in parts),
            succeeded=sum(each.succeeded for each in parts),
            data=b"".join(each.data for each in parts),
            failures=tuple(failure for each in parts for failure in each.failures),
            tries=tries + 1,
        )

    def stop(self) -> str:
        """Let the worker call shutdown() and end; return what was wrong with that, for people."""
        worker, self._worker = self._worker, None
        if worker is None:
            return ""
        try:
            worker.send({"do": "stop"})
            well = worker.receive(self._job.limits.timeout)[0].get("stopped", False)
        except LostError:
            well = False
        finally:
            worker.kill()
        return "" if well else "shutdown() failed, or took too long: see the logs"

    def kill(self) -> None:
        """End the worker at once."""
        worker, self._worker = self._worker, None
        self._ahead = None
        if worker is not None:
            worker.kill()

    def end(self) -> None:
        """End the worker for good; from another thread, in which it may be asked or started."""
        self._over = True
        if (worker := self._worker) is not None:
            worker.kill()

    def ask(self, message: dict[str, Any]) -> dict[str, Any]:
        """Return the answer of the worker to what is no mini-batch.

        Raises:
            LostError: it was silent, or ended.
            ServiceError: see `outcome`.
        """
        worker = self._asked()
        worker.send(message)
        return worker.receive(self._job.limits.timeout)[0]

    def _asked(self) -> Worker:
        """Return the worker, started where there is none."""
        if self._worker is None:
            limits, reason = self._job.limits, ""
            for _ in range(limits.tries):
                if self._over:
                    raise _Over
                self._worker = self._start(self._number)
                start = {"do": "start", "script": self._job.script, "form": self._job.form, "tries": limits.tries}
                try:
                    self._worker.send(start)
                    answer, _ = self._worker.receive(limits.init_timeout)
                except LostError as error:
                    self.kill()
                    reason = str(error)
                    continue
                if "error" in answer:
                    self.kill()
                    raise ServiceError(f"the entry script cannot start: {answer['error']}", remedy=_SEE_LOGS)
                return self._worker
            raise ServiceError(f"no worker can start: {reason}", remedy=_SEE_LOGS)
        return self._worker

    def _inputs(self, batch: MiniBatch) -> AbstractContextManager[list[str]]:
        files = self._files(batch)
        if self._is_remote(batch):
            return fetched(files, self._job.scratch / f"worker-{self._number}")
        return nullcontext([each.path for each in files])

    def _files(self, batch: MiniBatch) -> Sequence[InputFile]:
        return self._job.files[batch.file : batch.file + batch.files]

    def _is_remote(self, batch: MiniBatch) -> bool:
        return any(each.remote for each in self._files(batch))

    def _message(self, batch: MiniBatch, paths: list[str]) -> dict[str, Any]:
        if batch.whole:
            return {"do": "run", "paths": paths}
        kind = kind_of(self._job.files[batch.file], self._job.form)
        return {
            "do": "run", "kind": kind, "path": paths[0], "start": batch.start, "stop": batch.stop, "head": batch.head,
        }  # fmt: skip


_SEE_LOGS = "the whole traceback is in the output's folder `logs`"


def outcomes(
    batches: Sequence[MiniBatch], job: Job, start: Start, processes: int, warn: Callable[[str], None]
) -> Iterator[Outcome]:
    """Give what becomes of mini-batches, as soon as it is known. Whoever ends the iteration ends the workers.

    Args:
        batches: to be run.
        job: what is to be done.
        start: starts a worker.
        processes: how many workers there are at the most.
        warn: is told of a shutdown() that failed.

    Raises:
        ServiceError: the script cannot be loaded, or its init() fails.
    """
    hands = [Hand(number, job, start) for number in range(min(processes, len(batches)))]
    waiting = iter(batches)
    lock, ended = threading.Lock(), threading.Event()
    # Whoever writes them down may be slower.
    ready: queue.Queue[Outcome | BaseException | str] = queue.Queue(maxsize=4 * len(hands) + 4)

    def take() -> MiniBatch | None:
        with lock:
            return next(waiting, None)

    def work(hand: Hand) -> None:
        said: BaseException | str = ""
        upcoming: MiniBatch | None = None
        try:
            while not ended.is_set():
                batch = upcoming or take()
                if batch is None:
                    said = hand.stop()
                    break
                upcoming = take() if hand.quick else None
                _put(ready, hand.outcome(batch, upcoming), ended)
        except BaseException as error:
            said = error
        _put(ready, said, ended)

    threads = [threading.Thread(target=in_thread(work), args=(hand,), daemon=True) for hand in hands]
    for each in threads:
        each.start()
    try:
        running = len(threads)
        while running:
            found = ready.get()
            if isinstance(found, Outcome):
                yield found
                continue
            running -= 1
            if isinstance(found, BaseException):
                raise found
            if found:
                warn(found)
    finally:
        ended.set()
        for hand in hands:
            hand.end()
        for each in threads:
            each.join(30)
        # One may have been started between the two.
        for hand in hands:
            hand.end()


def _put(ready: queue.Queue[Any], found: Any, ended: threading.Event) -> None:
    while not ended.is_set():
        try:
            ready.put(found, timeout=0.5)
            return
        except queue.Full:
            continue


def row_groups(hand: Hand) -> Callable[[str], Sequence[tuple[int, int]]]:
    """Return what looks into Parquet files: the environment of the script has what reads them, and this one has not.

    It raises ValueError for a file that is damaged, and ContextError where nothing there reads them.
    """

    def groups(path: str) -> Sequence[tuple[int, int]]:
        try:
            answer = hand.ask({"do": "groups", "path": path})
        except LostError as error:
            hand.kill()
            raise ValueError(str(error)) from None
        if answer.get("kind") in ("ImportError", "ModuleNotFoundError"):
            raise ContextError(
                f"Parquet files cannot be read: {answer['error']}", remedy="add pyarrow and pandas to `environment:`"
            )
        if "error" in answer:
            raise ValueError(answer["error"])
        return [(rows, size) for rows, size in answer["groups"]]

    return groups
