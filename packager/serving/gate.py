"""A service, started as in production, is sent the spec's tests. Nothing of it stays."""

from __future__ import annotations

import http.client
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec

from packager.errors import ServiceError
from packager.serving.cases import Prepared
from packager.serving.hosts.choose import request_of
from packager.serving.keys import keys_for
from packager.serving.matching import Reply, differences
from packager.serving.serve import serve
from packager.serving.service import LOG_LINES, LOG_READ, Package, Publish, Server, container_name

#: Seconds that a service may be silent during a test.
SILENCE = 120.0


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How one test went.

    Attributes:
        name: of the test.
        seconds: that it took; the first time, where it was sent several times.
        differences: what was wrong, at the first time that something was.
        times: seconds of each time that it was sent, in this order.
        status: HTTP status of that answer; 0 where there was none.
    """

    name: str
    seconds: float
    differences: tuple[str, ...]
    times: tuple[float, ...] = ()
    status: int = 0

    @property
    def spread(self) -> Spread | None:
        """How its times are spread; None where it was sent once."""
        return spread_of(self.times) if len(self.times) > 1 else None


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """How times are spread, in seconds; `p95` is the least that 95 % of them are not above."""

    count: int
    min: float
    median: float
    p95: float
    max: float


def spread_of(times: Sequence[float]) -> Spread:
    """Return how times are spread; there is at least one."""
    ordered = sorted(times)
    return Spread(
        count=len(ordered),
        min=ordered[0],
        median=statistics.median(ordered),
        p95=ordered[-(-95 * len(ordered) // 100) - 1],
        max=ordered[-1],
    )


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """How an image did.

    Attributes:
        image: its reference, as people know it.
        target: it was made for.
        platform: of the image.
        outcomes: one for each test; none when it did not start.
        start: seconds until it was healthy.
        failure: why it did not start, with the last lines of its log.
        log: the last lines that it wrote once it served, when a test failed.
    """

    image: str
    target: str
    platform: str
    outcomes: tuple[Outcome, ...] = ()
    start: float = 0.0
    failure: str = ""
    log: str = ""

    @property
    def passed(self) -> bool:
        """Everything was as expected."""
        return not self.failure and not any(each.differences for each in self.outcomes)


def check(
    package: Package,
    cases: Sequence[Prepared],
    *,
    shown: str = "",
    repeat: int = 1,
    timeout: float = 120.0,
    env: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    options: Mapping[str, Any] | None = None,
    done: Callable[[Outcome], None] = lambda _: None,
) -> Report:
    """Start a package on a free port, send it requests, end it, and return how it did.

    Its keys are made here, are in no report, and go with it.

    Args:
        package: an image of the engine, or what is laid down on this machine.
        cases: the tests.
        shown: its title in the report, where it is another one.
        repeat: how often each request is sent, one after the other.
        timeout: seconds until it must be healthy.
        env: variables beside the image's own.
        headers: of each request, where the test itself gives none.
        options: the attributes of `ImageRequest` that a process does not have.
        done: is told of each test.

    Raises:
        EngineError: no engine, or no such image.
        UsageError: the variables take the keys' place.
    """
    variables = dict(env or {})
    keys = keys_for(package, None, {}, variables)
    publish = Publish(container_port=package.port, port=0)
    host, request = request_of(package, container_name("test"), publish, env=variables, keys=keys, **(options or {}))
    report = Report(image=shown or package.title, target=package.target, platform=package.platform)
    key = {"Authorization": f"Bearer {keys.primary}"} if keys else {}
    try:
        with serve(host, request, timeout=timeout) as (service, server):
            outcomes = []
            for case in cases:
                outcomes.append(_run(service.url, case, {**(key if case.key else {}), **(headers or {})}, repeat))
                done(outcomes[-1])
            report = msgspec.structs.replace(report, outcomes=tuple(outcomes), start=service.seconds)
            return report if report.passed else msgspec.structs.replace(report, log=_log_of(server, outcomes))
    except ServiceError as error:
        return msgspec.structs.replace(report, failure=error.message)


def _log_of(server: Server, outcomes: Sequence[Outcome]) -> str:
    """Return the last lines that a server wrote since it served; of an answer with an error, its traceback is there."""
    refused = sum(each.status == http.HTTPStatus.INTERNAL_SERVER_ERROR for each in outcomes)
    end = time.monotonic() + _LOG_LATE
    # What a container wrote reaches its engine's log a little later than its answer reaches us.
    while (log := served_log(server.logs(LOG_READ))).count(_ANSWERED_500) < refused and time.monotonic() < end:
        time.sleep(_LOG_PAUSE)
    return "\n".join(log.strip().splitlines()[-LOG_LINES:])


def served_log(log: str) -> str:
    """Return what a log has after the start of the server, which tells nothing of requests; all where nothing is."""
    return log.rpartition(_SERVES)[2].partition("\n")[2] if _SERVES in log else log


#: What azureml-inference-server-http 1.x writes once it has started, and of an answer, after the traceback to it.
_SERVES, _ANSWERED_500 = "ready for serving traffic", " azmlinfsrv - POST /score 500 "
#: Seconds that are waited for a traceback, and between two looks.
_LOG_LATE, _LOG_PAUSE = 2.0, 0.1


def _run(url: str, case: Prepared, headers: Mapping[str, str], repeat: int = 1) -> Outcome:
    outcomes = [_run_once(url, case, headers)]
    # What is wrong is wrong, however often it is asked.
    while len(outcomes) < repeat and not outcomes[-1].differences:
        outcomes.append(_run_once(url, case, headers))
    first, last = outcomes[0], outcomes[-1]
    times = tuple(each.seconds for each in outcomes)
    return Outcome(name=case.name, seconds=first.seconds, differences=last.differences, times=times, status=last.status)


def _run_once(url: str, case: Prepared, headers: Mapping[str, str]) -> Outcome:
    start = time.monotonic()
    try:
        reply = send(url, case, headers)
    except (OSError, http.client.HTTPException) as error:
        what = f"no answer: {error or type(error).__name__}"
        return Outcome(name=case.name, seconds=time.monotonic() - start, differences=(what,))
    found = differences(case.expected, reply)
    return Outcome(name=case.name, seconds=reply.seconds, differences=found, status=reply.status)


def send(url: str, case: Prepared, headers: Mapping[str, str]) -> Reply:
    """Send one test's request and return the answer, whatever its status.

    Raises:
        OSError, http.client.HTTPException: there is none.
    """
    parts = urlsplit(url)
    # A test that gives a header itself gives it in any case of its letters.
    own = {name.lower() for name in case.headers}
    headers = {name: value for name, value in headers.items() if name.lower() not in own}
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=SILENCE)
    try:
        start = time.monotonic()
        connection.request(case.method, case.path, body=case.body, headers={**headers, **case.headers})
        response = connection.getresponse()
        body = response.read()
        seconds = time.monotonic() - start
        return Reply(status=response.status, headers=tuple(response.getheaders()), body=body, seconds=seconds)
    finally:
        connection.close()
