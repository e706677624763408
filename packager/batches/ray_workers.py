"""Workers on the nodes of a Ray cluster: an actor for each, which starts the worker beside itself.

The actor's code goes to the node as it is, and so do `worker.py` and what makes its folder; a node needs neither
packager nor what packager needs.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from packager import scratch
from packager.batches.workers import LostError, Program, Start, Worker
from packager.errors import EngineError, UsageError
from packager.programs.batch import pipe
from packager.resources import program

#: Seconds beside its own that an answer may take through the cluster.
_MORE = 60.0
#: Seconds until the cluster must have a place for an actor.
_PLACE = 300.0


class Remote:
    """A worker on the node of this object, which Ray makes there.

    Args:
        source: text of `worker.py`.
        words: the program and its arguments.
        environ: variables of the program.
        folder: it works in.
        end: words that end what a kill does not reach.
    """

    def __init__(
        self, source: str, words: Sequence[str], environ: Mapping[str, str], folder: str, end: Sequence[str]
    ) -> None:
        self._here = ExitStack()
        name = self._here.enter_context(scratch.scratch("packager-batch-"))
        with open(os.path.join(name, "worker.py"), "w", encoding="utf-8") as file:
            file.write(source)
        words = [each.replace("{program}", name) for each in words]
        self._end = list(end)
        # Ray keeps what actors write to standard error.
        self._pipe = pipe.Pipe(words, environ, folder, "/dev/stderr", end=self._finish)

    def ask(self, message: Mapping[str, Any], timeout: float) -> tuple[str, Any, bytes]:
        """Return the worker's answer, or with `lost` why there is none: errors of ours are unknown to Ray."""
        try:
            self._pipe.send(message)
            answer, data = self._pipe.receive(timeout)
        except pipe.LostError as error:
            return "lost", str(error), b""
        return "answered", answer, data

    def kill(self) -> None:
        """End the worker at once, and remove its folder: Ray ends actors without a word to them."""
        self._pipe.kill()
        self._here.close()

    def _finish(self) -> None:
        if self._end:
            subprocess.run(self._end, check=False, stdin=subprocess.DEVNULL, capture_output=True)


class RayWorker:
    """A worker, asked through Ray, as `packager.batches.workers.Worker`.

    Args:
        actor: a `Remote`.
    """

    #: An actor that can be told to end its worker takes messages in no order.
    ahead = False

    def __init__(self, actor: Any) -> None:
        self._actor = actor
        self._first = True
        self._message: dict[str, Any] = {}

    def send(self, message: Mapping[str, Any]) -> None:
        """See `Worker`; it goes with the call that receives."""
        self._message = dict(message)

    def receive(self, timeout: float) -> tuple[dict[str, Any], bytes]:
        """See `Worker`."""
        place, self._first = (_PLACE if self._first else 0.0), False
        state, answer, data = self._get(self._actor.ask.remote(self._message, timeout), timeout + place)
        if state == "lost":
            raise LostError(answer)
        return answer, data

    def kill(self) -> None:
        """See `Worker`."""
        import ray

        # The actor first ends its worker: one that hangs would outlive it, where the system has no other way.
        with suppress(Exception):
            ray.get(self._actor.kill.remote(), timeout=5)
        with suppress(Exception):
            ray.kill(self._actor)

    def _get(self, reference: Any, timeout: float) -> Any:
        import ray

        try:
            return ray.get(reference, timeout=timeout + _MORE)
        except ray.exceptions.GetTimeoutError:
            raise LostError(f"the cluster gave no answer for {timeout + _MORE:g} s") from None
        except ray.exceptions.RayError as error:
            raise LostError(f"the node of the worker was lost: {str(error).splitlines()[0]}") from None


@contextmanager
def cluster(address: str | None) -> Iterator[int]:
    """Connect to a Ray cluster, and give how many processors it has.

    Args:
        address: of the cluster (`ray://HOST:10001`, `HOST:6379`, `auto`); None for the one of RAY_ADDRESS.

    Raises:
        UsageError: Ray is not installed.
        EngineError: no cluster answers.
    """
    try:
        import ray
    except ImportError:
        raise UsageError("Ray is not installed here", remedy="pip install 'packager[ray]'") from None
    try:
        ray.init(address=address or "auto", log_to_driver=False, logging_level="ERROR")
    except Exception as error:  # of several kinds
        where = address or "RAY_ADDRESS"
        raise EngineError(f"no Ray cluster answers at {where}: {error}", remedy="--address HOST:6379") from None
    try:
        yield int(ray.cluster_resources().get("CPU", 1))
    finally:
        ray.shutdown()


def start_on_ray(described: Program) -> Start:
    """Return what starts workers on the cluster that is connected, one for each processor.

    Args:
        described: how a worker is started on a node: what it names must be there.
    """
    import ray
    from ray import cloudpickle

    for module in (pipe, scratch, __import__(__name__, fromlist=["Remote"])):
        cloudpickle.register_pickle_by_value(module)
    made = ray.remote(num_cpus=1, max_restarts=0, max_concurrency=2, scheduling_strategy="SPREAD")(Remote)
    source = Path(program("batch/worker.py")).read_text()
    started = 0

    def start(number: int) -> Worker:
        nonlocal started
        started += 1
        words, end = (
            [each.replace("{worker}", f"{number}-{started}") for each in group]
            for group in (described.words, described.end)
        )
        return RayWorker(made.remote(source, words, described.environ, described.folder, end))

    return start
