"""Adding, weighing and removing versions, on a host of lists: in which order, and what is left when it fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from packager.errors import EngineError, ServiceError, UsageError
from packager.serving import deploy as steps
from packager.serving import deployed, split
from packager.serving.service import Mounted, Request
from packager.serving.status import Change, Status
from packager.serving.traffic import with_share
from tests.unit.test_serving_deploy import FakeForwarder, FakeHost, FakeService, request

KNOWS = {"traffic": {}, "address": "x", "in_flight": {}}


class Knowing(FakeForwarder):
    """Knows of versions, whatever else it was told to answer."""

    def ask(self, command: str, /) -> dict[str, object]:
        return {**KNOWS, **super().ask(command)}


@pytest.fixture
def host() -> FakeHost:
    """A host with the service `a`, which has no versions."""
    host = FakeHost()
    steps.deploy(host, request(), timeout=5, say=lambda _: None, hosts=(host,))
    service = host.services["a"]
    service.forwarder = Knowing()
    service.events.clear()
    return host


@pytest.fixture
def service(host: FakeHost) -> FakeService:
    """What `host` has."""
    return host.services["a"]


def add(host: FakeHost, version: str, share: int | None = None, wish: Request | None = None) -> Status:
    wish = wish or Request(name="a", publish=request().publish)
    return split.deploy_version(host, wish, version, share, timeout=5, say=lambda _: None, hosts=(host,))


def test_a_version_gets_its_share_when_it_is_healthy(host: FakeHost, service: FakeService) -> None:
    found = add(host, "b", 10)
    assert service.events == [
        "drop a (b)", "start a (b) joins", "route default=100 b=0", "point a (b) joins", "route default=90 b=10",
        "keep a (b) joins",
    ]  # fmt: skip
    assert [(each.name, each.traffic) for each in found.versions] == [("default", 90), ("b", 10)]
    add(host, "c")
    assert service.versions() == {"default": 90, "b": 10, "c": 0}, "without a share it gets none"


def test_the_first_version_gets_all() -> None:
    host = FakeHost()
    service = host.services["a"] = FakeService("a")
    add(host, "x")
    assert service.versions() == {"x": 100}
    assert service.events == [
        "remove", "start first", "route x=100", "route x=100", "point first", "keep first",
    ]  # fmt: skip
    with pytest.raises(UsageError, match="x is the only version"):
        add(FakeHost(), "x", 50)


@pytest.mark.parametrize("trouble", ["ends", EngineError("the machine is full"), KeyboardInterrupt()])
def test_one_that_fails_leaves_the_shares_as_they_were(
    host: FakeHost, service: FakeService, trouble: str | BaseException
) -> None:
    service.of("b").trouble = trouble
    with pytest.raises((ServiceError, EngineError, KeyboardInterrupt)):
        add(host, "b", 50)
    if trouble == "ends":
        assert service.versions() == {"default": 100, "b": 0}
        assert service.events[-1] == "stop a (b) joins", "it stays, for its log"
        service.of("b").state, service.of("b").trouble = "Failed", ""
        assert add(host, "b", 5).versions[1].traffic == 5, "another one takes its place"
        assert len(service.of("b").backends) == 1
    else:
        assert service.versions() == {}
        assert service.events[-2:] == ["route default=100", "drop a (b)"]


def test_what_is_there_is_not_replaced(host: FakeHost, service: FakeService) -> None:
    with pytest.raises(UsageError, match="there is a service 'a' already"):
        add(host, "default")
    add(host, "b")
    service.events.clear()
    with pytest.raises(UsageError, match="a has a version 'b' already") as raised:
        add(host, "b")
    assert "packager service update a --version b" in str(raised.value.remedy)
    with pytest.raises(UsageError, match="already"):
        split.deploy_version(FakeHost(), request(), "c", 0, timeout=5, say=pytest.fail, hosts=(host,))
    assert service.events == []


def test_what_cannot_have_a_version(host: FakeHost, service: FakeService) -> None:
    service.forwarder = FakeForwarder({"address": "x"})
    with pytest.raises(ServiceError, match="deployed by an older packager"):
        add(host, "b")
    service.forwarder = FakeForwarder({})
    with pytest.raises(ServiceError, match="does not answer"):
        add(host, "b")
    with pytest.raises(UsageError, match="the requests of a need no key, and it asks for one"):
        add(host, "b", wish=request())
    service.state = "Stopped"
    with pytest.raises(ServiceError, match="a is stopped"):
        add(host, "b")
    assert service.events == []


def test_shares_that_are_not_taken_over_are_taken_back(host: FakeHost, service: FakeService) -> None:
    add(host, "b")
    service.of("b").state = "Failed"
    service.events.clear()
    service.refuses = "route default=40 b=60"
    with pytest.raises(ServiceError, match="does not take the shares"):
        add(host, "b", 60)
    assert service.events[-3:] == ["route default=40 b=60", "route default=100 b=0", "stop a (b) joins"]
    assert service.versions() == {"default": 100, "b": 0}


def test_a_forwarder_that_does_not_take_the_shares_is_told(host: FakeHost, service: FakeService) -> None:
    service.deaf = True
    with pytest.raises(ServiceError, match="the thing that owns the port of a does not take the shares"):
        add(host, "b")


def test_shares_are_of_versions_that_are_there_and_run(host: FakeHost, service: FakeService) -> None:
    def share(**shares: int) -> dict[str, int]:
        return {each.name: each.traffic for each in split.set_traffic("a", shares, hosts=(host,)).versions}

    assert share(default=100) == {}, "a service without versions stays one"
    with pytest.raises(ServiceError, match="a has no version 'b'; it has default"):
        share(b=100)
    add(host, "b")
    add(host, "c")
    assert share(default=60, b=40) == {"default": 60, "b": 40, "c": 0}
    assert share(c=100) == {"default": 0, "b": 0, "c": 100}, "one that is not named gets nothing"
    service.of("b").state = "Failed"
    with pytest.raises(ServiceError, match="version b of a is Failed: why"):
        share(b=100)
    with pytest.raises(UsageError, match="sum to 90"):
        share(b=90)
    assert share(default=100) == {"default": 100, "b": 0, "c": 0}


def delete(host: FakeHost, version: str) -> None:
    split.delete_version("a", version, say=lambda _: None, hosts=(host,))


def test_a_version_goes_when_it_gets_no_requests_any_more(host: FakeHost, service: FakeService) -> None:
    with pytest.raises(UsageError, match="default is the only version of a"):
        delete(host, "default")
    add(host, "b", 10)
    with pytest.raises(UsageError, match="version b of a gets 10 % of the requests") as raised:
        delete(host, "b")
    assert "`packager service traffic a default=100`" in str(raised.value.remedy)
    split.set_traffic("a", {"default": 100}, hosts=(host,))
    service.events.clear()
    service.forwarder = Knowing({"address": "x", "in_flight": {"b": 1}}, {"address": "x", "in_flight": {}})
    delete(host, "b")
    assert service.events == ["route default=100", "stop a (b) joins", "drop a (b)"]
    assert service.forwarder.answers == [], "those in flight to it were waited for"
    assert service.versions() == {}, "it is a service without versions again"


def test_one_version_is_updated_rolled_back_and_read(host: FakeHost, service: FakeService) -> None:
    add(host, "b", 50)
    for act in (
        lambda: steps.update("a", Change(), timeout=5, say=pytest.fail, hosts=(host,)),
        lambda: steps.rollback("a", {}, timeout=5, say=pytest.fail, hosts=(host,)),
        lambda: list(deployed.logs("a", 1, hosts=(host,))),
    ):
        with pytest.raises(UsageError, match="a has the versions default, b"):
            act()
    said = list[str]()
    steps.update("a", Change(reference="b:2"), version="b", timeout=5, say=said.append, hosts=(host,))
    assert said == ["a (b) starts b:2 (1) beside a (b) joins (1)", "a (b) answers from the new one: b:2 (1)"]
    steps.rollback("a", {}, version="b", timeout=5, say=said.append, hosts=(host,))
    assert next(iter(deployed.logs("a", 7, version="b", hosts=(host,)))) == b"a (b) joins 7 False"
    assert service.pointed is not None
    assert service.pointed.title == "first", "the other one is as it was"
    assert deployed.look("a", (host,), version="b").image == "a (b) joins"
    with pytest.raises(ServiceError, match="a has no version 'c'; it has default, b"):
        deployed.look("a", (host,), version="c")


MOUNTS = (Mounted(folder=Path("/app"), path="/app"),)


def test_one_version_reads_its_scripts_again_and_it_is_the_one_that_is_asked(
    host: FakeHost, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = list[object]()

    def answers(url: str, timeout: float, headers: object) -> bool:
        asked.append(headers)
        return True

    monkeypatch.setattr(steps, "answers", answers)

    def renew(version: str | None, mounts: tuple[Mounted, ...] = MOUNTS) -> Status | None:
        write, say = (lambda: service.events.append("write")), lambda _: None
        return steps.renew("a", mounts, write, version=version, timeout=5, say=say, hosts=(host,))

    assert renew(None) is not None
    add(host, "b", 50)
    service.events.clear()
    with pytest.raises(UsageError, match="a has the versions default, b"):
        renew(None)
    assert renew("b", ()) is None
    assert service.events == [], "nothing is written where it cannot be done so"
    assert renew("b") is not None
    assert service.events == ["write", "renew a (b) joins"]
    assert asked == [{}, {"azureml-model-deployment": "b"}]


def replace(host: FakeHost) -> Status:
    wish = Request(name="a", publish=request().publish)
    return steps.deploy(host, wish, timeout=5, say=lambda _: None, hosts=(host,), replace=True)


@pytest.mark.parametrize("stopped", [False, True])
def test_a_deployment_does_not_take_the_place_of_several_versions(
    host: FakeHost, service: FakeService, stopped: bool
) -> None:
    add(host, "b", 50)
    if stopped:
        service.state = service.of("b").state = "Stopped"
    service.events.clear()
    with pytest.raises(UsageError, match="has the versions default, b") as raised:
        replace(host)
    assert raised.value.remedy is not None
    assert "`packager service update a --version default`" in raised.value.remedy
    assert "`packager service delete a` removes all" in raised.value.remedy
    assert service.events == []


def test_a_deployment_takes_the_place_of_versions_that_failed(host: FakeHost, service: FakeService) -> None:
    add(host, "b", 50)
    service.state = "Failed"
    service.events.clear()
    assert replace(host).image == "first"
    assert service.events[0] == "remove"


def test_all_versions_are_started_again(host: FakeHost, service: FakeService) -> None:
    add(host, "b", 50)
    add(host, "c", 0)
    for version in ("default", "b", "c"):
        service.of(version).state = "Stopped"
    service.of("c").trouble = "ends"
    service.events.clear()
    said = list[str]()
    steps.start("a", {}, timeout=5, say=said.append, hosts=(host,))
    assert [each for each in service.events if each.startswith("start")] == ["start first"] * 3
    assert "warning: version c, which gets no requests, did not start: " in said[-1]
    service.of("b").state, service.of("b").trouble = "Failed", "ends"
    with pytest.raises(ServiceError, match="first wrote this"):
        steps.start("a", {}, timeout=5, say=said.append, hosts=(host,))


def test_one_version_is_started_again_while_the_others_go_on(host: FakeHost, service: FakeService) -> None:
    add(host, "b", 50)
    service.of("b").state = "Failed"
    service.events.clear()
    said = list[str]()
    steps.start("a", {}, version="b", timeout=5, say=said.append, hosts=(host,))
    assert said == ["a (b) starts first (1)"]
    assert [each for each in service.events if each.startswith("start")] == ["start first"]
    service.of("b").state = "Healthy"
    steps.start("a", {}, version="b", timeout=5, say=said.append, hosts=(host,))
    assert said[1:] == ["a (b) runs already"]
    with pytest.raises(ServiceError, match="has no version 'c'"):
        steps.start("a", {}, version="c", timeout=5, say=said.append, hosts=(host,))
    for version in ("default", "b"):
        service.of(version).state = "Stopped"
    with pytest.raises(ServiceError, match="a is stopped"):
        steps.start("a", {}, version="b", timeout=5, say=said.append, hosts=(host,))


def test_a_lone_version_need_not_be_named() -> None:
    host = FakeHost()
    host.services["a"] = FakeService("a")
    add(host, "x")
    assert steps.update("a", Change(reference="x:2"), timeout=5, say=lambda _: None, hosts=(host,)).image == "x:2"
    assert with_share(host.services["a"].versions(), "x", 100) == {"x": 100}
