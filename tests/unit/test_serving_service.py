import re

import pytest

from packager.errors import ServiceError, UsageError
from packager.progress import listening
from packager.serving.ports import parse_publish, reachable_host, require_port
from packager.serving.service import (
    Publish,
    Service,
    State,
    container_name,
    failed,
    wait_until_healthy,
    why_it_ended,
    why_it_hangs,
)
from tests.unit.heard import Heard


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, Publish(container_port=5001, port=5001)),
        ("8080", Publish(container_port=8080, port=8080)),
        ("6789:5001", Publish(container_port=5001, port=6789)),
        ("0:5001", Publish(container_port=5001, port=0)),
        ("0.0.0.0:6789:5001", Publish(container_port=5001, port=6789, address="0.0.0.0")),
        ("[::1]:6789:5001", Publish(container_port=5001, port=6789, address="::1")),
    ],
)
def test_publish(text: str | None, expected: Publish) -> None:
    assert parse_publish(text, 5001) == expected


@pytest.mark.parametrize(
    "text", ["", "a", "1:2:3", "6789:", ":5001", "70000:5001", "1:0", "-1:5001", "999.0.0.1:1:2", "::1:1:2", "1:2\n"]
)
def test_what_cannot_be_published(text: str) -> None:
    with pytest.raises(UsageError):
        parse_publish(text, 5001)


@pytest.mark.parametrize(
    ("address", "engine", "host"),
    [
        ("127.0.0.1", None, "127.0.0.1"),
        ("0.0.0.0", None, "127.0.0.1"),
        ("::", None, "[::1]"),
        ("::1", None, "[::1]"),
        ("10.0.0.7", None, "10.0.0.7"),
        ("0.0.0.0", "docker", "docker"),
        ("10.0.0.7", "docker", "10.0.0.7"),
    ],
)
def test_where_it_is_reached(address: str, engine: str | None, host: str) -> None:
    assert reachable_host(address, engine) == host


def test_names_of_containers() -> None:
    assert re.fullmatch(r"packager-a-b-[0-9a-f]{6}", container_name("a/b"))
    assert container_name("a") != container_name("a")


def test_urls() -> None:
    service = Service(container_id="1", name="n", url="http://127.0.0.1:6789/")
    assert service.scoring_url == "http://127.0.0.1:6789/score"
    assert service.swagger_url == "http://127.0.0.1:6789/swagger.json"


class FakeContainer:
    """Runs for some looks, and then has ended in a way."""

    def __init__(self, looks: int = 10**6, end: State | None = None) -> None:
        self.looks, self.end = looks, end or State(running=False, exit_code=3)

    def state(self) -> State:
        self.looks -= 1
        return State(running=True) if self.looks >= 0 else self.end

    def logs(self, lines: int) -> str:
        return "\n".join(f"log {number}" for number in range(30))


class FakeTime:
    def __init__(self) -> None:
        self.now, self.pauses = 0.0, list[float]()

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


KILLED = "2026-11-28 09:50:{0} E [1] gunicorn.error - Worker (pid:{0}) was sent SIGKILL! Perhaps out of memory?\n"


class Killed:
    """Runs for ever; its workers are killed, one after the other, from a look on."""

    def __init__(self, *lines: str, memory: int = 0, flag: bool = False, before: str = "") -> None:
        self.lines, self.memory, self.flag, self.said = [*lines], memory, flag, before

    def state(self) -> State:
        return State(running=True, memory=self.memory, out_of_memory=self.flag)

    def logs(self, lines: int) -> str:
        said, self.said = self.said, self.said + (self.lines.pop(0) if self.lines else "")
        return said


def wait(container: FakeContainer | Killed, healthy_after: float, timeout: float, time: FakeTime) -> float:
    return wait_until_healthy(container, lambda: time.now >= healthy_after, timeout, clock=time.clock, sleep=time.sleep)


def test_waiting_looks_often_first() -> None:
    time = FakeTime()
    assert 5 <= wait(FakeContainer(), 5, 60, time) < 6
    assert time.pauses[0] == 0.1
    assert max(time.pauses) == 1.0
    assert time.pauses == sorted(time.pauses)


def test_it_is_told_that_we_wait() -> None:
    heard = Heard()
    with listening(heard):
        wait(FakeContainer(), 3, 60, FakeTime())
        with pytest.raises(ServiceError):
            wait(FakeContainer(looks=3), 100, 60, FakeTime())
    assert heard.told == [("waiting until it is healthy", None, 0)] * 2


def test_it_ends_before_it_answers() -> None:
    with pytest.raises(ServiceError) as caught:
        wait(FakeContainer(looks=3), 100, 60, FakeTime())
    assert "init()" in caught.value.message
    assert "log 29" in caught.value.message
    assert "log 9\n" not in caught.value.message  # the last 20 lines are shown


def test_an_answer_on_the_port_of_an_ended_container_is_not_its_own() -> None:
    with pytest.raises(ServiceError):
        wait(FakeContainer(looks=0), 0, 60, FakeTime())


def test_workers_that_are_killed_end_the_waiting_and_name_the_limit() -> None:
    time = FakeTime()
    with pytest.raises(ServiceError) as caught:
        wait(Killed(KILLED.format(80), KILLED.format(82), memory=64 << 20), 100, 60, time)
    assert caught.value.message.startswith("the service ran out of memory (limit: 64Mi): its workers are killed")
    assert "--memory" in str(caught.value.remedy)
    assert "--timeout" not in str(caught.value.remedy)
    assert time.now < 1


def test_memory_that_ran_out_is_told_by_the_state_too() -> None:
    with pytest.raises(ServiceError, match=r"ran out of memory \(limit: 1Gi\) and was ended"):
        wait(Killed(memory=1 << 30, flag=True), 0, 60, FakeTime())


@pytest.mark.parametrize(
    "lines",
    [
        (KILLED.format(80),),  # one of several workers, once
        ("CRITICAL WORKER TIMEOUT (pid:80)\n", KILLED.format(80), "WORKER TIMEOUT (pid:82)\n", KILLED.format(82)),
    ],
)
def test_what_is_not_memory_is_waited_for(lines: tuple[str, ...]) -> None:
    assert 5 <= wait(Killed(*lines), 5, 60, FakeTime()) < 6


def test_workers_that_were_killed_before_a_start_do_not_count() -> None:
    before = KILLED.format(10) + KILLED.format(12)
    assert 5 <= wait(Killed(before=before), 5, 60, FakeTime()) < 6


def test_time_is_up() -> None:
    time = FakeTime()
    with pytest.raises(ServiceError, match=r"within 2\.5 s"):
        wait(FakeContainer(), 100, 2.5, time)
    assert time.now == pytest.approx(2.5)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (State(running=False, exit_code=137, out_of_memory=True), "out of memory"),
        (State(running=False, exit_code=137, out_of_memory=True, memory=96 << 20), "limit: 96Mi"),
        (State(running=False, exit_code=137), "killed"),
        (State(running=False, exit_code=137, memory=24 << 20), "as when memory runs out (limit: 24Mi)"),
        (State(running=False, exit_code=3), "init()"),
        (State(running=False, exit_code=0), "by itself"),
        (State(running=False, exit_code=42), "42"),
    ],
)
def test_how_it_ended(state: State, words: str) -> None:
    assert words in why_it_ended(state)


INIT = "azmlinfsrv - Invoking user's init function\nloading weights\n"


def test_a_start_that_takes_too_long_says_whether_init_has_returned() -> None:
    hangs = failed(why_it_hangs(INIT, 2.5), INIT)
    assert hangs.message.startswith("init() has not returned within 2.5 s\n")
    assert "--timeout 600" in str(hangs.remedy)
    log = f"{INIT}azmlinfsrv - Users's init has completed successfully\n"
    assert why_it_hangs(log, 60) == "the service did not answer within 60 s"
    killed = KILLED.format(80) + KILLED.format(82)
    assert "memory runs out" in why_it_hangs(killed, 60)
    assert why_it_hangs("importing", 60) == "the service did not answer within 60 s"
    assert "--timeout 600" in str(failed(why_it_hangs(log, 60), log).remedy)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("7711:80", "-p 7711:5001"),
        ("80", "-p 80:5001"),
        ("0:80", "-p 0:5001"),
        ("0.0.0.0:7711:80", "-p 0.0.0.0:7711:5001"),
        ("[::1]:7711:80", "-p [::1]:7711:5001"),
    ],
)
def test_a_port_on_which_nobody_listens_is_not_published(text: str, says: str) -> None:
    publish = parse_publish(text, 5001)
    with pytest.raises(UsageError, match=r"a:1 listens on 5001, and nobody would answer on 80") as caught:
        require_port(publish, "a:1", (5001,))
    assert caught.value.remedy == says
    require_port(parse_publish(says.removeprefix("-p "), 5001), "a:1", (5001,))


def test_a_port_that_an_image_exposes_or_may_have_is_published() -> None:
    require_port(parse_publish("7711:80", 5001), "nginx", (80, 443))
    require_port(parse_publish("7711:80", 5001), "unknown", ())


def test_a_service_that_wrote_nothing() -> None:
    nothing = failed("it ended", " \n")
    assert "wrote nothing" in nothing.message
    assert "log above" not in str(nothing.remedy)
    assert "--memory" in str(failed("it ran out of memory", "x"))
