"""What to run and how to tell that it is well: values and decisions. Pure but for the clock that is handed in."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, Protocol
from urllib.parse import urljoin

import msgspec

from packager.contract import SCORE_PATH, SWAGGER_PATH
from packager.errors import ServiceError
from packager.progress import working
from packager.serving.killed import AGAIN, INIT_RETURNED, killed_workers
from packager.units import binary_size

LOOPBACK = "127.0.0.1"

#: Lines of a container's log that an error shows.
LOG_LINES = 20
#: Lines that are read to find out why: the log of a start that failed.
LOG_READ = 200

#: Seconds that a stopping service gets to finish requests in flight.
GRACE = 30.0

#: Seconds between two looks at a starting service: the first, and the longest.
_FIRST_WAIT, _LONGEST_WAIT = 0.1, 1.0


class Publish(msgspec.Struct, frozen=True, kw_only=True):
    """A port of the container, made reachable.

    Attributes:
        container_port: in the container.
        port: on the engine's machine; 0 lets the engine choose a free one.
        address: of the engine's machine; None where the user gave none.
    """

    container_port: int
    port: int
    address: str | None = None


Which = Literal["primary", "secondary"]


class KeyPair(msgspec.Struct, frozen=True, kw_only=True):
    """The two keys of a service; either is enough."""

    primary: str
    secondary: str

    def __repr__(self) -> str:
        return "KeyPair(…)"

    def regenerated(self, which: Which) -> KeyPair:
        """Return the pair with one key new."""
        return msgspec.structs.replace(self, **{which: new_key()})


def new_key() -> str:
    """Return a key: 256 random bits as text."""
    return secrets.token_urlsafe(32)


class Package(msgspec.Struct, frozen=True, kw_only=True):
    """What is served, as far as callers need to know it: an image of the engine, or a package on this machine.

    Attributes:
        title: what it is, for people.
        target: that it was made for; empty where nobody knows.
        platform: OCI os/arch[/variant].
        port: of its server.
        labels: of the image.
    """

    title: str
    target: str
    platform: str
    port: int
    labels: dict[str, str]

    @property
    def note(self) -> str:
        """In one sentence what is not as in the image; empty for an image."""
        return ""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be started, as every host understands it.

    Attributes:
        name: of the container, or of the service.
        publish: how it is reached; for a named service, port 0 takes a free one, once.
        env: variables beside the image's own.
        keys: that its requests need; None where they need none.
    """

    name: str
    publish: Publish
    env: dict[str, str] = {}
    keys: KeyPair | None = None


class HealthTimes(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """When a container is asked for its health, in seconds; None keeps what the image has.

    Attributes:
        interval: between two questions.
        timeout: for an answer.
        start_period: after the start in which bad answers do not count.
        retries: bad answers after which it is unwell.
    """

    interval: int | None = None
    timeout: int | None = None
    start_period: int | None = None
    retries: int | None = None


class Mounted(msgspec.Struct, frozen=True, kw_only=True):
    """A folder of this machine that a container sees, and cannot write to.

    Attributes:
        folder: on this machine, absolute.
        path: in the container.
    """

    folder: Path
    path: str


class ImageRequest(Request, frozen=True, kw_only=True):
    """A container of a packaged image.

    Attributes:
        reference: of the image; the engine has it.
        memory: limit in Docker's form (`512m`), or in bytes; None for none.
        cpus: limit in processors; None for none.
        gpus: how many it is given; True for all, as `--gpus all` does.
        devices: device files of the machine that it may open.
        health: times of its health check; the image's where None.
        detach: leave it running, unless it does not become healthy; a named service always is.
        mounts: models that are not in the image.
    """

    reference: str
    memory: str | int | None = None
    cpus: float | None = None
    gpus: bool | int = False
    devices: tuple[str, ...] = ()
    health: HealthTimes | None = None
    detach: bool = False
    mounts: tuple[Mounted, ...] = ()


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """A running server that answers.

    Attributes:
        container_id: as the engine knows it; the number of a process.
        name: of the container; without one, what it is, for people.
        url: its root, with a final `/`.
        unit: what it is and which, in words.
        key_hint: a command that prints a key of it.
        seconds: from its start to its first good answer.
        keys: that its requests need; None where they need none.
    """

    container_id: str
    name: str
    url: str
    unit: str = ""
    key_hint: str = ""
    seconds: float = 0.0
    keys: KeyPair | None = None

    @property
    def key(self) -> str | None:
        """One of its keys; None where its requests need none."""
        return self.keys.primary if self.keys is not None else None

    @property
    def scoring_url(self) -> str:
        """Where requests are posted."""
        return urljoin(self.url, SCORE_PATH)

    @property
    def swagger_url(self) -> str:
        """Where the description of the service is."""
        return urljoin(self.url, SWAGGER_PATH)


class State(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a container runs, and how it ended if not.

    Attributes:
        running: it runs.
        exit_code: of its first process; 128 + n for signal n.
        out_of_memory: the kernel ended a process of it at its memory limit.
        memory: that limit in bytes; 0 where there is none, or nobody knows.
    """

    running: bool
    exit_code: int = 0
    out_of_memory: bool = False
    memory: int = 0


class Container(Protocol):
    """What waiting for a service needs of its container, or of the process in its place."""

    def state(self) -> State:
        """Return its state now."""

    def logs(self, lines: int) -> str:
        """Return the last lines that it wrote, to standard output and standard error."""


class Server(Container, Protocol):
    """A container, or a process that takes its place, which can be followed and ended."""

    def tail(self, lines: int | None, *, follow: bool = False) -> Iterator[bytes]:
        """Give what it wrote: its last lines, or all; and what it writes until it ends."""

    def stop(self, grace: float) -> None:
        """Let it finish the requests in flight, and end; after so many seconds end it."""


def container_name(image_name: str) -> str:
    """Return a name for a container that no other one has (Docker's pattern: `[a-zA-Z0-9][a-zA-Z0-9_.-]+`)."""
    return f"packager-{re.sub(r'[^a-zA-Z0-9_.-]', '-', image_name)}-{secrets.token_hex(3)}"


def wait_until_healthy(
    container: Container,
    healthy: Callable[[], bool],
    timeout: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> float:
    """Wait until a service answers, and return the seconds that it took.

    Args:
        container: in which the service starts.
        healthy: asks it once.
        timeout: seconds.
        clock: the time, in seconds.
        sleep: waits for some seconds.

    Raises:
        ServiceError: the container ended, memory ran out, or time is up; with the last lines of its log.
    """
    start, pause = clock(), _FIRST_WAIT
    with working("waiting until it is healthy"):
        before = killed_workers(container.logs(LOG_READ))
        while True:
            # The state goes first: when the container ended, whatever answers on that port is not ours.
            state = container.state()
            if not state.running or state.out_of_memory:
                raise failed(why_it_ended(state), container.logs(LOG_READ))
            if healthy():
                return clock() - start
            passed, log = clock() - start, container.logs(LOG_READ)
            # Not every engine counts what the kernel ended for its memory; the log tells of it everywhere.
            if len(killed_workers(log) - before) >= AGAIN:
                raise failed(why_it_is_killed(state.memory), log)
            if passed >= timeout:
                raise failed(why_it_hangs(log, timeout), log)
            sleep(min(pause, timeout - passed))
            pause = min(pause * 1.5, _LONGEST_WAIT)


def why_it_ended(state: State) -> str:
    """Return in words how a container ended."""
    limit = f" (limit: {binary_size(state.memory)})" if state.memory else ""
    if state.out_of_memory:
        return f"the service ran out of memory{limit} and was ended (exit code 137)"
    reasons = {
        0: "the service ended by itself (exit code 0)",
        # azureml-inference-server-http: the worker could not boot.
        3: "the server could not load the entry script: its import or its init() failed (exit code 3)",
        # `programs/image/keys.py`
        78: "its requests need a key, and it has none that it can use (exit code 78)",
        126: "the image's program cannot be run (exit code 126)",
        127: "the image's program was not found (exit code 127)",
        # Not every engine counts what the kernel ended for its memory.
        137: f"the service was killed, as when memory runs out{limit} (exit code 137)",
    }
    return reasons.get(state.exit_code, f"the service ended with exit code {state.exit_code}")


def why_it_is_killed(memory: int = 0) -> str:
    """Return in words what a service does whose workers are killed one after the other.

    Args:
        memory: bytes of its limit; 0 where there is none, or nobody knows.
    """
    killed = "its workers are killed, one after the other"
    if memory:
        return f"the service ran out of memory (limit: {binary_size(memory)}): {killed}"
    return f"{killed}, as when the machine's memory runs out"


def why_it_hangs(log: str, timeout: float) -> str:
    """Return in words what a service does that runs and does not answer, by its log.

    Args:
        log: of it.
        timeout: seconds that it had.
    """
    # What azureml-inference-server-http 1.x writes before and after it calls init().
    if len(killed_workers(log)) >= AGAIN:
        return why_it_is_killed()
    if _INIT_CALLED in log and INIT_RETURNED not in log:
        return f"init() has not returned within {timeout:g} s"
    return f"the service did not answer within {timeout:g} s"


_MORE_MEMORY = (
    "give it more (--memory SIZE, `service: {memory: SIZE}` in the spec, or memoryInGB of a deployment configuration), "
    "or make the model smaller"
)
_INIT_CALLED = "Invoking user's init function"


def failed(reason: str, log: str, more_memory: str = _MORE_MEMORY) -> ServiceError:
    """Return the error for a service that does not serve, with the last lines of its log.

    Args:
        reason: how it ended (`why_it_ended`), or that it does not answer.
        log: of it; more lines than are shown tell what is at fault: script, environment, model or machine.
        more_memory: what to do where it ran out of memory.
    """
    # Imported late: a service that starts has none.
    from packager.serving.tracebacks import advice, known, raised_in

    text = "\n".join(f"    {line}" for line in log.strip().splitlines()[-LOG_LINES:])
    remedies = {
        "memory": more_memory,
        "exit code 3": "mend the entry script",
        "init() has not": "give it more time, such as --timeout 600, or let init() do less: see the log above",
        "did not answer": "give it more time, such as --timeout 600, or look at the log above",
    }
    look = "look at the log above" if text else "look at what the image starts, and whether that serves"
    remedy = next((remedy for word, remedy in remedies.items() if word in reason), look)
    raised = raised_in(log) if "exit code 3" in reason else None
    if raised is not None:
        remedy = advice(raised)
    # Where it stands goes first: whoever wrote the script looks for nothing else.
    head = f"{raised.line}: {raised.said}\n{reason}" if raised and raised.line else reason
    head = f"{reason}: {raised}" if raised and not raised.line else head
    return ServiceError(f"{head}\n{text or '    (it wrote nothing)'}", remedy=known(log) or remedy)
