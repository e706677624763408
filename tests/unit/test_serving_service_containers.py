"""Which container of a service is the current one: names move, on an engine of dictionaries."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import docker.errors
import pytest

from packager.errors import EngineError, ServiceError, UsageError
from packager.serving.hosts.docker.service_backend import NamedBackend
from packager.serving.hosts.docker.service_containers import ServiceContainers
from packager.serving.hosts.docker.service_facts import SERVICE, VERSION
from packager.serving.hosts.docker.service_members import Role, container_of


class FakeContainer:
    """A container; as the forwarder, it answers with the address of the one that has the current one's name."""

    def __init__(self, engine: FakeEngine, name: str, address: str) -> None:
        self.engine, self.name, self.address = engine, name, address
        self.labels = {SERVICE: "a"}
        self.status = "running"
        self.policy: Any = None

    @property
    def attrs(self) -> dict[str, Any]:
        return {
            "NetworkSettings": {"Networks": {"packager_a": {"IPAddress": self.address}}, "Ports": {}},
            "HostConfig": {
                "RestartPolicy": self.policy,
                "PortBindings": {"5001/tcp": [{"HostIp": "127.0.0.1", "HostPort": "6001"}]}
                if self.address == "10.0.0.0"
                else {},
            },
            "State": {"Status": self.status, "Running": self.status == "running"},
            "Created": "2026-01-01T00:00:00Z",
            "Mounts": [],
            "Config": {"Env": []},
        }

    def logs(self, *, tail: int) -> bytes:
        lines = self.engine.log.encode().splitlines(keepends=True)
        return b"".join(lines[-tail:])

    def start(self) -> None:
        if self.engine.refuses:
            raise docker.errors.APIError("no", explanation=self.engine.refuses)
        self.status = "running"

    def stop(self, *, timeout: int) -> None:
        self.status = "exited"
        self.engine.grace = timeout

    def reload(self) -> None:
        if self not in self.engine.all:
            raise docker.errors.NotFound("gone")

    def rename(self, name: str) -> None:
        assert name not in [container.name for container in self.engine.all], f"{name} is another one's"
        self.name = name

    def remove(self, *, force: bool, v: bool) -> None:
        if self.engine.removal:
            raise docker.errors.APIError("409", explanation=self.engine.removal)
        self.engine.all.remove(self)

    def wait(self, *, condition: str, timeout: float) -> None:
        assert condition == "removed"
        self.engine.all.remove(self)

    def update(self, *, restart_policy: Any) -> None:
        self.policy = restart_policy

    def exec_run(self, words: list[str]) -> Any:
        assert words[-1] == "switch"
        found = {each.name: each.address for each in self.engine.all}
        addresses = {version: found.get(name) for version, name in self.engine.table.items()}
        output = json.dumps({"address": found.get("packager_a_current"), "addresses": addresses}).encode()
        return type("Done", (), {"output": output})


class FakeEngine:
    """As the SDK's client: `containers.get`."""

    def __init__(self, *roles: Role) -> None:
        names = [container_of("a", role) for role in ("forwarder", *roles)]
        self.refuses = self.removal = self.log = ""
        self.grace: int | None = None
        self.networks = SimpleNamespace(list=lambda filters: [])
        #: Names of the containers of versions.
        self.table = dict[str, str]()
        self.list = self._labelled
        self.api = SimpleNamespace(base_url="http+docker://localhost")
        self.all = [FakeContainer(self, name, f"10.0.0.{number}") for number, name in enumerate(names)]

    @property
    def containers(self) -> FakeEngine:
        return self

    def _labelled(self, filters: dict[str, list[str]], **_: bool) -> list[FakeContainer]:
        wanted = {each.partition("=")[0] for each in filters["label"]}
        return [container for container in self.all if wanted <= set(container.labels)]

    def get(self, name: str) -> FakeContainer:
        for container in self.all:
            if container.name == name:
                return container
        raise docker.errors.NotFound(name)

    def roles(self) -> list[str]:
        return [container.name.removeprefix("packager_a").removeprefix("_") for container in self.all[1:]]


def service_on(engine: Any) -> ServiceContainers:
    return ServiceContainers(engine, "a")


def backend(engine: Any, number: int) -> NamedBackend:
    return NamedBackend(service_on(engine), engine.all[number])


def test_the_next_one_becomes_the_current_one_and_back() -> None:
    engine = FakeEngine("current", "next")
    old, new = backend(engine, 1), backend(engine, 2)
    assert new.point()
    assert engine.roles() == ["previous", "current"]
    assert new.point(), "it may be so already"
    assert old.point()
    assert engine.roles() == ["current", "next"]
    service_on(engine).clear()
    assert engine.roles() == ["current"]


@pytest.mark.parametrize("roles", [("current", "next"), ("previous", "next"), ("previous", "current")])
def test_the_old_one_comes_back_however_far_the_switch_came(roles: tuple[Role, ...]) -> None:
    engine = FakeEngine(*roles)
    assert backend(engine, 1).point()
    service_on(engine).clear()
    assert engine.roles() == ["current"]
    assert engine.all[1].address == "10.0.0.1"


def test_what_was_killed_between_two_renames_is_still_the_current_one() -> None:
    current = service_on(FakeEngine("previous", "next")).current()
    assert current is not None
    assert current.container.name == "packager_a_previous"
    assert service_on(FakeEngine("next")).current() is None


def test_a_forwarder_that_is_gone_has_seen_nothing() -> None:
    engine = FakeEngine("current", "next")
    del engine.all[0]
    assert not NamedBackend(service_on(engine), engine.all[1]).point()  # type: ignore[arg-type]
    assert not service_on(engine).forwarder.running


def test_the_engine_starts_again_only_what_was_healthy() -> None:
    engine = FakeEngine("current", "next")
    backend(engine, 1).keep()
    assert [container.policy for container in engine.all] == [
        {"Name": "unless-stopped"},
        {"Name": "unless-stopped"},
        None,
    ]


def test_what_an_update_replaced_is_kept_and_comes_back() -> None:
    engine = FakeEngine("previous", "current", "kept")
    old = backend(engine, 1)
    old.stop(0)
    old.retire()
    service_on(engine).clear()
    assert engine.roles() == ["kept", "current"], "one is kept, and the one before it goes"
    service = service_on(engine)
    assert service.current() is not None
    again = service.retired({})()
    assert engine.roles() == ["next", "current"]
    assert again.state().running
    again.point()
    assert engine.roles() == ["current", "previous"]


def test_one_that_the_engine_does_not_start_is_still_kept() -> None:
    engine = FakeEngine("current", "kept")
    engine.refuses = "no space left on device"
    start = service_on(engine).retired({})
    with pytest.raises(EngineError, match="no space left"):
        start()
    assert engine.roles() == ["current", "kept"]


def test_without_an_update_nothing_is_kept() -> None:
    with pytest.raises(ServiceError, match="nothing is kept that a ran before"):
        service_on(FakeEngine("current")).retired({})
    for act in (service_on(FakeEngine("current", "kept")).retired, service_on(FakeEngine("current")).resume):
        with pytest.raises(UsageError, match="the container of a has its variables: KEY cannot be given here"):
            act({"KEY": "v"})


def test_both_containers_are_stopped_and_started() -> None:
    engine = FakeEngine("current", "kept")
    engine.all[2].status = "exited"
    backend(engine, 1).keep()
    service = service_on(engine)
    service.halt()
    assert [each.status for each in engine.all] == ["exited", "exited", "exited"]
    status = service.status()
    assert status is not None
    assert status.state == "Stopped"
    engine.refuses = "driver failed: port is already allocated"
    with pytest.raises(EngineError, match="port 6001 is taken") as raised:
        service.resume({})
    assert raised.value.remedy == "end what has it, and `packager service start a` again"
    engine.refuses = ""
    assert service.resume({}).state().running
    assert [each.status for each in engine.all] == ["running", "running", "exited"]


def test_a_log_tells_why_a_service_was_ended_where_no_counter_does() -> None:
    engine = FakeEngine("current")
    engine.all[1].status = "exited"
    engine.log = "".join(f"Worker (pid:{pid}) was sent SIGKILL! Perhaps out of memory?\n" for pid in (7, 8))
    status = service_on(engine).status()
    assert status is not None
    assert (
        status.reason
        == "its workers are killed, one after the other, as when the machine's memory runs out; it was ended"
    )


def test_a_container_that_is_gone_cannot_be_started() -> None:
    with pytest.raises(ServiceError, match="a container of a is gone"):
        service_on(FakeEngine("kept")).resume({})


def test_removing_a_service_removes_what_it_kept() -> None:
    engine = FakeEngine("current", "kept")
    service_on(engine).remove_role("current", "kept")
    assert engine.roles() == []


def test_a_version_has_containers_of_its_own_and_no_one_elses_labels_change() -> None:
    assert container_of("a", "current", "b") == "packager_a_b_current"
    assert container_of("a", "current", "default") == container_of("a", "current") == "packager_a_current"
    assert container_of("a", "forwarder", "b") == "packager_a"
    engine: Any = FakeEngine("current")
    engine.all += [
        FakeContainer(engine, f"packager_a_b_{role}", f"10.0.1.{n}") for n, role in enumerate(("current", "next"))
    ]
    service = service_on(engine).of("b")
    engine.table = {"default": "packager_a_current", "b": "packager_a_b_current"}
    new = NamedBackend(service, engine.all[3])
    assert new.point()
    service.clear()
    new.stop(0)
    new.retire()
    assert engine.roles() == ["current", "b_kept"]
    service.drop()
    assert engine.roles() == ["current"], "the other version is not touched"


@pytest.mark.parametrize(("roles", "grace"), [(("current",), 32), (("previous", "next"), 32), ((), None)])
def test_a_forwarder_without_a_server_is_not_waited_for(roles: tuple[Role, ...], grace: int | None) -> None:
    engine = FakeEngine(*roles)
    service_on(engine).remove()
    assert (engine.all, engine.grace) == ([], grace)


def test_a_container_that_is_being_removed_is_waited_for() -> None:
    engine = FakeEngine("current")
    engine.removal = "removal of container 1 is already in progress"
    service_on(engine).remove()
    assert engine.all == []
    engine = FakeEngine("current")
    engine.removal = "driver failed"
    with pytest.raises(docker.errors.APIError):
        service_on(engine).remove()


def test_a_forwarder_of_versions_finishes_its_requests_and_all_of_theirs_goes() -> None:
    engine = FakeEngine()
    engine.all += [FakeContainer(engine, f"packager_a_{version}_current", "10.0.1.1") for version in ("b", "c")]
    for container in engine.all[1:]:
        container.labels[VERSION] = "v"
    service_on(engine).remove()
    assert (engine.all, engine.grace) == ([], 32)
