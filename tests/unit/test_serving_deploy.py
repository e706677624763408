"""The algorithm of named services, on a host of lists: what it does in which order, and what is left when it fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from packager.errors import ContextError, EngineError, PackagerError, ServiceError, TemporaryError, UsageError
from packager.serving import deploy as steps
from packager.serving import deployed, taken
from packager.serving.service import KeyPair, Mounted, Publish, Request, Server, Service, State
from packager.serving.status import Change, StateName, Status, nothing_before

OLD = KeyPair(primary="p" * 20, secondary="s" * 20)


class FakeBackend:
    """Runs until it is stopped; `trouble` names the step that it fails in."""

    def __init__(self, service: FakeService, title: str, trouble: str = "") -> None:
        self.service, self.title, self.trouble, self.runs = service, title, trouble, trouble != "ends"
        self.shown = f"{title} (1)"

    def state(self) -> State:
        return State(running=self.runs, exit_code=3)

    def logs(self, lines: int) -> str:
        return f"{self.title} wrote this"

    def tail(self, lines: int | None, *, follow: bool = False) -> Iterator[bytes]:
        yield f"{self.title} {lines} {follow}".encode()

    def healthy(self) -> bool:
        if self.trouble == "interrupted":
            raise KeyboardInterrupt
        return True

    def point(self) -> bool:
        self.service.pointed = self
        self.service.events.append(f"point {self.title}")
        return self.trouble != "not seen"

    def keep(self) -> None:
        self.service.events.append(f"keep {self.title}")

    def renewal(self, mounts: Sequence[Mounted]) -> Callable[[], FakeBackend] | None:
        def start() -> FakeBackend:
            self.service.events.append(f"renew {self.title}")
            self.runs = self.trouble != "ends anew"
            return self

        return start if mounts else None

    def leave(self, grace: float) -> None:
        self.runs = False
        self.service.events.append(f"leave {self.title}")

    def retire(self) -> None:
        self.service.kept = self
        self.service.events.append(f"retire {self.title}")

    def stop(self, grace: float) -> None:
        self.runs = False
        self.service.events.append(f"stop {self.title}")


class FakeForwarder:
    """Answers what it was given, one answer after the other."""

    def __init__(self, *answers: dict[str, Any], running: bool = True) -> None:
        self.answers, self.running = list(answers), running

    def ask(self, command: str, /) -> dict[str, Any]:
        assert command == "status"
        return self.answers.pop(0) if self.answers else {"address": "new", "in_flight": {"new": 5}}


class FakeService:
    """A service: its backends, which one is pointed at, and what was done."""

    unit, spec = "thing", "a spec"

    def __init__(self, name: str, whole: FakeService | None = None, version: str = "") -> None:
        self.name, self.events, self.forwarder = name, list[str](), FakeForwarder()
        self.title = f"{name} ({version})" if version else name
        #: The service as a whole, its versions, and their shares.
        self.whole, self.shares, self.parts = whole or self, dict[str, int](), dict[str, FakeService]()
        if whole is not None:
            self.events, self.forwarder = whole.events, whole.forwarder
        self.backends: list[FakeBackend] = []
        self.pointed: FakeBackend | None = None
        self.state: StateName = "Healthy"
        self.pair: KeyPair | None = None
        self.kept: FakeBackend | None = None
        #: Of the next backend: how it fails, or the error that starting it raises.
        self.trouble: str | BaseException = ""
        self.deaf, self.refuses = False, ""
        #: How often the forwarder is asked before it passes anything on.
        self.late = 0

    def status(self) -> Status | None:
        if not self.backends:
            return None
        image = self.pointed.title if self.pointed else ""
        if self.state == "Healthy" and self.late:
            self.late -= 1
            return Status(name=self.name, state="Transitioning", reason="not yet", image=image, url="http://x/")
        return Status(name=self.name, state=self.state, reason="why", image=image, url="http://x/")

    def current(self) -> FakeBackend | None:
        return self.pointed

    def remove(self) -> None:
        self.events.append("remove")
        self.backends, self.pointed = [], None
        self.shares, self.parts = {}, {}

    def first(self, request: Request) -> FakeBackend:
        self.pointed = self.start("first")
        self.state, self.pair = "Healthy", request.keys
        return self.pointed

    def replacement(self, change: Change, say: Callable[[str], None]) -> Callable[[], FakeBackend]:
        if change.cpus:
            raise UsageError("no limits")
        return lambda: self.start(change.reference or "again")

    def anew(self, request: Request) -> Callable[[], FakeBackend] | None:
        return (lambda: self.start("anew")) if request.publish.port == 0 else None

    def retired(self, env: dict[str, str]) -> Callable[[], FakeBackend]:
        kept = self.kept
        if kept is None:
            raise nothing_before(self.name)
        return lambda: self.start(" ".join([kept.title, *env.values()]))

    def halt(self) -> None:
        self.events.append("halt")
        self.state = "Stopped"

    def resume(self, env: dict[str, str]) -> FakeBackend:
        backend = self.start(" ".join(["first", *env.values()]))
        self.pointed, self.state = backend, "Healthy"
        return backend

    def start(self, title: str) -> FakeBackend:
        self.events.append(f"start {title}")
        if isinstance(self.trouble, BaseException):
            raise self.trouble
        self.backends.append(FakeBackend(self, title, self.trouble))
        return self.backends[-1]

    def clear(self) -> None:
        self.events.append("clear")
        self.backends = [backend for backend in self.backends if backend in (self.pointed, self.kept)]

    def versions(self) -> dict[str, int]:
        return dict(self.whole.shares)

    def of(self, version: str) -> FakeService:
        whole = self.whole
        if version == "default":
            return whole
        return whole.parts.setdefault(version, FakeService(self.name, whole, version))

    def route(self, shares: Mapping[str, int]) -> bool:
        self.events.append("route " + " ".join(f"{name}={share}" for name, share in shares.items()))
        self.whole.shares = {} if set(shares) == {"default"} else dict(shares)
        return not self.whole.deaf and self.events[-1] != self.whole.refuses

    def join(self, request: Request) -> FakeBackend:
        self.pointed = self.start(f"{self.title} joins")
        self.state = "Healthy"
        return self.pointed

    def drop(self) -> None:
        self.events.append(f"drop {self.title}")
        self.backends, self.pointed = [], None

    def keys(self) -> KeyPair | None:
        return self.pair

    def put_keys(self, pair: KeyPair) -> None:
        self.pair = pair


class FakeHost:
    """A host with services in memory; one that is `down` answers nothing."""

    def __init__(self, down: bool = False) -> None:
        self.services, self.down = dict[str, FakeService](), down

    def names(self) -> tuple[str, ...]:
        self._answer()
        return tuple(name for name, service in self.services.items() if service.backends)

    @contextmanager
    def service(self, name: str) -> Iterator[FakeService]:
        self._answer()
        yield self.services.setdefault(name, FakeService(name))

    def start(self, request: Request) -> AbstractContextManager[tuple[Service, Server]]:
        raise NotImplementedError

    def _answer(self) -> None:
        if self.down:
            raise EngineError("no engine")


def request(name: str = "a") -> Request:
    return Request(name=name, publish=Publish(container_port=1, port=0), keys=OLD)


def deploy(host: FakeHost, *others: FakeHost, name: str = "a") -> Status:
    return steps.deploy(host, request(name), timeout=5, say=lambda _: None, hosts=(*others, host))


@pytest.fixture
def host() -> FakeHost:
    """A host that has the service `a`, and whose events begin now."""
    host = FakeHost()
    deploy(host)
    host.services["a"].events.clear()
    return host


def update(host: FakeHost, said: list[str] | None = None, **change: Any) -> Status:
    say = (said if said is not None else []).append
    return steps.update("a", Change(**change), timeout=5, say=say, hosts=(host,))


def test_a_first_backend_is_kept_once_it_is_healthy() -> None:
    host = FakeHost()
    assert deploy(host).image == "first"
    assert host.services["a"].events == ["remove", "start first", "point first", "keep first"]


def test_it_is_there_when_its_forwarder_passes_on_what_it_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "PAUSE", 0.0)
    host = FakeHost()
    with host.service("a") as service:
        service.late = 3
    assert deploy(host).state == "Healthy"
    monkeypatch.setattr(steps, "FORWARDER_TIME", 0.0)
    host.services.clear()
    with host.service("a") as service:
        service.late = 3
    assert deploy(host).state == "Transitioning"


def test_one_that_does_not_become_healthy_stays_ended_and_makes_room_for_the_next() -> None:
    host = FakeHost()
    service = host.services["a"] = FakeService("a")
    service.trouble = "ends"
    with pytest.raises(ServiceError, match="first wrote this"):
        deploy(host)
    assert service.events[-1] == "stop first"
    assert service.pointed is not None
    service.state, service.trouble = "Failed", ""
    assert deploy(host).state == "Healthy"
    assert len(service.backends) == 1


@pytest.mark.parametrize("trouble", [EngineError("the port is taken"), KeyboardInterrupt(), "interrupted"])
def test_nothing_is_left_of_one_that_cannot_start(trouble: str | BaseException) -> None:
    host = FakeHost()
    service = host.services["a"] = FakeService("a")
    service.trouble = trouble
    with pytest.raises((EngineError, KeyboardInterrupt)):
        deploy(host)
    assert service.events[-1] == "remove"
    assert service.backends == []


def test_a_name_is_one_services_alone(host: FakeHost) -> None:
    with pytest.raises(UsageError, match=r"'a' already \(Healthy, first\)"):
        deploy(host)
    host.services["a"].state = "Failed"
    with pytest.raises(UsageError, match="already"):
        deploy(FakeHost(), host)  # one that failed makes room on its own host alone
    assert deploy(FakeHost(), FakeHost(down=True)).state == "Healthy"
    assert host.services["a"].events == []


def replace(host: FakeHost, port: int = 0) -> Status:
    wish = Request(name="a", publish=Publish(container_port=1, port=port))
    return steps.deploy(host, wish, timeout=5, say=lambda _: None, hosts=(host,), replace=True)


def test_a_service_is_replaced_behind_its_forwarder_and_the_old_one_is_not_waited_for(host: FakeHost) -> None:
    service = host.services["a"]
    assert replace(host).image == "anew"
    assert service.events == [
        "point first", "clear", "start anew", "point anew", "keep anew", "leave first", "retire first", "clear",
    ]  # fmt: skip


def test_a_replacement_that_fails_leaves_the_old_one_where_it_was(host: FakeHost) -> None:
    host.services["a"].trouble = "ends"
    with pytest.raises(ServiceError, match=r"a still runs first \(1\); the deployment failed"):
        replace(host)
    assert host.services["a"].events[-2:] == ["point first", "clear"]


@pytest.mark.parametrize(("port", "state"), [(7, "Healthy"), (0, "Unhealthy"), (0, "Stopped")])
def test_what_cannot_be_replaced_so_is_removed_before(host: FakeHost, port: int, state: StateName) -> None:
    service = host.services["a"]
    service.state = state
    assert replace(host, port).image == "first"
    assert service.events == ["remove", "remove", "start first", "point first", "keep first"]


MOUNTED = (Mounted(folder=Path("/copy"), path="/var/azureml-app/app"),)


def renew(host: FakeHost, mounts: Sequence[Mounted] = MOUNTED) -> Status | None:
    write = host.services["a"].events.append
    return steps.renew("a", mounts, lambda: write("write"), timeout=5, say=lambda _: None, hosts=(host,))


def test_what_is_mounted_is_written_and_read_again_in_place(host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "answers", lambda url, timeout, headers: url == "http://x/")
    assert renew(host, ()) is None
    assert host.services["a"].events == []
    assert renew(host) is not None
    assert host.services["a"].events == ["write", "renew first"]
    host.services["a"].backends[0].trouble = "ends anew"
    with pytest.raises(ServiceError, match="first wrote this"):
        renew(host)


def test_another_hosts_service_is_never_replaced(host: FakeHost) -> None:
    other = FakeHost()
    with pytest.raises(UsageError, match="already"):
        steps.deploy(other, request(), timeout=5, say=lambda _: None, hosts=(host, other), replace=True)
    assert host.services["a"].events == []


def test_an_update_switches_only_to_what_is_healthy_and_ends_the_old_one_when_it_is_drained(host: FakeHost) -> None:
    service, said = host.services["a"], list[str]()
    # One request is in flight to the old one; then the forwarder is too busy to answer; then there is none.
    service.forwarder = FakeForwarder({"address": "new", "in_flight": {"old": 1, "new": 2}}, {})
    assert update(host, said, reference="b:2").image == "b:2"
    assert service.events == [
        "point first", "clear", "start b:2", "point b:2", "keep b:2", "stop first", "retire first", "clear",
    ]  # fmt: skip
    assert service.forwarder.answers == []
    assert [backend.title for backend in service.backends] == ["first", "b:2"]
    assert said == ["a starts b:2 (1) beside first (1)", "a answers from the new one: b:2 (1)"]


def test_a_forwarder_that_is_gone_has_nothing_in_flight(host: FakeHost) -> None:
    host.services["a"].forwarder = FakeForwarder({}, running=False)
    assert update(host).image == "again"


@pytest.mark.parametrize(
    ("trouble", "error", "says"),
    [
        ("ends", ServiceError, "again wrote this"),
        ("not seen", ServiceError, "the thing that owns the port does not find the new one"),
        (ContextError("the disk is full", remedy="free some"), ContextError, "the disk is full"),
        ("interrupted", KeyboardInterrupt, None),
        (KeyboardInterrupt(), KeyboardInterrupt, None),
    ],
)
def test_an_update_that_fails_leaves_the_old_one_as_it_was(
    host: FakeHost, trouble: str | BaseException, error: type[BaseException], says: str | None
) -> None:
    service = host.services["a"]
    service.trouble = trouble
    with pytest.raises(error, match=says) as raised:
        update(host)
    if isinstance(raised.value, PackagerError):
        assert raised.value.message.startswith("a still runs first (1); the update failed: ")
    assert service.events[-2:] == ["point first", "clear"]
    assert [backend.title for backend in service.backends] == ["first"]
    assert service.backends[0].runs


def test_what_cannot_be_is_told_before_anything_is_done(host: FakeHost) -> None:
    with pytest.raises(UsageError, match=r"^no limits"):
        update(host, cpus=1.0)
    assert host.services["a"].events == []


def test_an_update_puts_in_order_what_a_killed_one_left(host: FakeHost) -> None:
    service = host.services["a"]
    service.start("left")
    update(host)
    assert service.events[1:4] == ["point first", "clear", "start again"]
    assert [backend.title for backend in service.backends] == ["first", "again"]


def rollback(host: FakeHost, said: list[str] | None = None, **env: str) -> Status:
    say = (said if said is not None else []).append
    return steps.rollback("a", env, timeout=5, say=say, hosts=(host,))


def start(host: FakeHost, said: list[str] | None = None, **env: str) -> Status:
    say = (said if said is not None else []).append
    return steps.start("a", env, timeout=5, say=say, hosts=(host,))


def test_a_rollback_is_the_switch_back_and_the_next_one_undoes_it(host: FakeHost) -> None:
    update(host, reference="b:2")
    service, said = host.services["a"], list[str]()
    service.events.clear()
    assert rollback(host, said).image == "first"
    assert service.events == [
        "point b:2", "clear", "start first", "point first", "keep first", "stop b:2", "retire b:2", "clear",
    ]  # fmt: skip
    assert said == ["a starts first (1) beside b:2 (1)", "a answers from the one before: first (1)"]
    assert rollback(host, ENV="x").image == "b:2 x"


def test_without_an_update_there_is_nothing_to_go_back_to(host: FakeHost) -> None:
    with pytest.raises(ServiceError, match="nothing is kept that a ran before") as raised:
        rollback(host)
    assert raised.value.remedy is not None
    assert "an update keeps what it replaces" in raised.value.remedy
    assert host.services["a"].events == []


@pytest.mark.parametrize(("trouble", "retires"), [("ends", True), ("not seen", True), (EngineError("no"), False)])
def test_a_rollback_that_fails_leaves_both_as_they_were(
    host: FakeHost, trouble: str | BaseException, retires: bool
) -> None:
    update(host, reference="b:2")
    service = host.services["a"]
    service.events.clear()
    service.trouble = trouble
    with pytest.raises((ServiceError, EngineError), match=r"^a still runs b:2 \(1\); the rollback failed: "):
        rollback(host)
    assert service.pointed is not None
    assert (service.pointed.title, service.pointed.runs) == ("b:2", True)
    assert service.kept is not None
    assert service.kept.title == "first"
    assert service.events[-4:] == (
        ["point b:2", "stop first", "retire first", "clear"]
        if retires
        else ["clear", "start first", "point b:2", "clear"]
    )
    service.trouble = ""
    assert rollback(host).image == "first"


def test_a_service_is_stopped_and_started(host: FakeHost) -> None:
    assert steps.stop("a", (host,)).state == "Stopped"
    with pytest.raises(ServiceError, match="a is stopped") as raised:
        update(host)
    assert raised.value.remedy == "`packager service start a`, and then again"
    with pytest.raises(ServiceError, match="a is stopped"):
        rollback(host)
    with pytest.raises(UsageError, match="already") as taken:
        deploy(host)
    assert taken.value.remedy == "`packager service start a` starts it; `packager service delete a` removes it"
    said = list[str]()
    assert start(host, said, ENV="x").state == "Healthy"
    assert host.services["a"].events == ["halt", "start first x", "point first x", "keep first x"]
    assert start(host, said).image == "first x"
    assert said == ["a starts first x (1)", "a runs already"]


def test_what_is_not_there_is_neither_stopped_nor_rolled_back() -> None:
    with pytest.raises(ServiceError, match="there is no service 'a'"):
        steps.stop("a", (FakeHost(),))
    with pytest.raises(ServiceError, match="there is no service 'a'"):
        rollback(FakeHost())
    with pytest.raises(ServiceError, match="there is no service 'a'"):
        start(FakeHost())


def test_only_one_changes_a_service_at_a_time(host: FakeHost) -> None:
    with taken.held("a"):
        for change in (
            lambda: update(host), lambda: rollback(host), lambda: start(host), lambda: steps.stop("a", (host,)),
            lambda: steps.delete("a", (host,)),
        ):  # fmt: skip
            with pytest.raises(TemporaryError, match="'a' is being changed"):
                change()
        with pytest.raises(TemporaryError):
            deployed.show_keys("a", "primary", (host,))
        assert deployed.show_keys("a", hosts=(host,)) == OLD
    assert host.services["a"].events == []


def test_keys_are_replaced_one_at_a_time(host: FakeHost) -> None:
    pair = deployed.show_keys("a", "secondary", (host,))
    assert pair.primary == OLD.primary
    assert pair.secondary != OLD.secondary
    assert host.services["a"].pair == pair
    host.services["a"].pair = None
    with pytest.raises(UsageError, match="need no key") as raised:
        deployed.show_keys("a", hosts=(host,))
    assert raised.value.remedy == "`server: {auth: key}` in a spec"


def test_a_service_is_looked_for_on_every_host(host: FakeHost) -> None:
    other = FakeHost()
    deploy(other, host, name="b")
    both = (host, other)
    assert [status.name for status in deployed.list_services(pytest.fail, both)] == ["a", "b"]
    assert b"".join(deployed.logs("b", 7, hosts=both)) == b"first 7 False"
    assert deployed.look("a", both).name == "a"
    steps.delete("b", both)
    for absent in (lambda: deployed.look("b", both), lambda: list(deployed.logs("b", 1, hosts=both))):
        with pytest.raises(ServiceError, match="there is no service 'b'"):
            absent()
    with pytest.raises(ServiceError, match="there is no service 'b'"):
        steps.update("b", Change(), timeout=1, say=pytest.fail, hosts=both)


def test_without_an_engine_the_others_are_listed_and_it_is_said(host: FakeHost) -> None:
    warnings: list[str] = []
    assert len(deployed.list_services(warnings.append, (host, FakeHost(down=True)))) == 1
    assert warnings == ["those on the engine are not listed: no engine"]
    with pytest.raises(EngineError):
        deployed.list_services(warnings.append, (FakeHost(), FakeHost(down=True)))
    with pytest.raises(EngineError):
        deployed.look("b", (host, FakeHost(down=True)))


def test_the_log_and_the_keys_go_with_the_backend(host: FakeHost) -> None:
    host.services["a"].pointed = None
    with pytest.raises(ServiceError, match="the thing of a is gone, and its log with it"):
        list(deployed.logs("a", 1, hosts=(host,)))
    with pytest.raises(ServiceError, match="the thing of a is gone, and its keys with it"):
        deployed.show_keys("a", hosts=(host,))
