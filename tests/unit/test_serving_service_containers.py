"""Which container of a service is the current one: names move, on an engine of dictionaries."""

from __future__ import annotations

import json
from typing import Any

import docker.errors
import pytest

from packager.serving.hosts.docker.service_containers import (
    SERVICE,
    NamedBackend,
    Role,
    ServiceContainers,
    container_of,
)


class FakeContainer:
    """A container; as the forwarder, it answers with the address of the one that has the current one's name."""

    def __init__(self, engine: FakeEngine, name: str, address: str) -> None:
        self.engine, self.name, self.address = engine, name, address
        self.labels = {SERVICE: "a"}
        self.status = "running"
        self.policy: Any = None

    @property
    def attrs(self) -> dict[str, Any]:
        return {"NetworkSettings": {"Networks": {"packager_a": {"IPAddress": self.address}}}}

    def reload(self) -> None:
        if self not in self.engine.all:
            raise docker.errors.NotFound("gone")

    def rename(self, name: str) -> None:
        assert name not in [container.name for container in self.engine.all], f"{name} is another one's"
        self.name = name

    def remove(self, *, force: bool, v: bool) -> None:
        self.engine.all.remove(self)

    def update(self, *, restart_policy: Any) -> None:
        self.policy = restart_policy

    def exec_run(self, words: list[str]) -> Any:
        assert words[-1] == "switch"
        current = [each.address for each in self.engine.all if each.name == "packager_a_current"]
        output = json.dumps({"address": current[0] if current else None}).encode()
        return type("Done", (), {"output": output})


class FakeEngine:
    """As the SDK's client: `containers.get`."""

    def __init__(self, *roles: Role) -> None:
        names = [container_of("a", role) for role in ("forwarder", *roles)]
        self.all = [FakeContainer(self, name, f"10.0.0.{number}") for number, name in enumerate(names)]

    @property
    def containers(self) -> FakeEngine:
        return self

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
    old.service.clear()
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
