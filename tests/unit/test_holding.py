"""Labels of what services run, of both hosts; without an engine it is said what was not looked at."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from packager.errors import EngineError
from packager.serving.holding import labels_of_services
from packager.serving.hosts.docker.engine import DockerHost
from packager.serving.hosts.docker.service_facts import SERVICE


class Client:
    """An engine with two containers of one service."""

    def __init__(self) -> None:
        found = [SimpleNamespace(labels={SERVICE: "a", "n": str(number)}) for number in (1, 2)]
        self.containers = SimpleNamespace(list=lambda **asked: found if asked["filters"] == {"label": SERVICE} else [])

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        pass


@pytest.fixture(autouse=True)
def processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("packager.serving.hosts.process.machine.ProcessHost.labels", lambda _: (("p", {"x": "y"}),))


def test_labels_of_both_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("packager.serving.hosts.docker.engine.connect", Client)
    said: list[str] = []
    found = labels_of_services(said.append)
    assert found == (("p", {"x": "y"}), *(("a", {SERVICE: "a", "n": number}) for number in ("1", "2")))
    assert said == []


def test_without_an_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> Any:
        raise EngineError("no engine answers")

    monkeypatch.setattr(DockerHost, "labels", refuse)
    said: list[str] = []
    assert labels_of_services(said.append) == (("p", {"x": "y"}),)
    assert said == ["services on the engine are not looked at: no engine answers"]
