"""Which containers nobody will remove any more."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import docker.errors
import pytest

from packager.serving.hosts.docker.left_behind import OWNER, is_gone, owner, remove_left

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)


def of_an_ended_process() -> str:
    """Return the label of a process that has ended."""
    program = "from packager.serving.hosts.docker.left_behind import owner; print(owner())"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture(scope="module")
def ended() -> str:
    return of_an_ended_process()


def test_a_process_that_runs_is_there() -> None:
    assert owner().split("/")[2] == str(os.getpid())
    assert not is_gone(owner())


def test_a_process_that_ended_is_gone(ended: str) -> None:
    assert is_gone(ended)


def test_a_number_that_was_given_again_is_another_process() -> None:
    head, _, started = owner().rpartition("/")
    assert is_gone(f"{head}/{int(started) - 1}")


@pytest.mark.parametrize("part", [0, 1])
def test_what_another_machine_or_container_started_may_be_there(ended: str, part: int) -> None:
    words = ended.split("/")
    words[part] = "another"
    assert not is_gone("/".join(words))


@pytest.mark.parametrize("label", ["", "x", "a/b/c", "a/b/c/d", "a/b/1/d/e"])
def test_a_label_that_says_nothing_is_left_alone(label: str) -> None:
    assert not is_gone(label)


class FakeApi:
    """Containers by id → label, state and end; and which were removed."""

    def __init__(self, **containers: tuple[str, str, str]) -> None:
        self.there, self.removed = containers, list[str]()
        self.refuses: str | None = None

    def containers(self, **words: Any) -> list[dict[str, Any]]:
        assert words == {"all": True, "filters": {"label": OWNER}}
        return [
            {"Id": name, "Names": [f"/{name}"], "Labels": {OWNER: label}, "State": state}
            for name, (label, state, _) in self.there.items()
        ]

    def inspect_container(self, name: str) -> dict[str, Any]:
        return {"State": {"FinishedAt": self.there[name][2]}}

    def remove_container(self, name: str, *, force: bool, v: bool) -> None:
        assert force
        assert v
        if name == self.refuses:
            raise docker.errors.APIError("removal is in progress")
        self.removed.append(name)


def left(api: FakeApi) -> tuple[str, ...]:
    return remove_left(SimpleNamespace(api=api), clock=lambda: NOW)  # type: ignore[arg-type]


def test_what_is_left_behind_goes_and_nothing_else(ended: str) -> None:
    elsewhere = "/".join(["another", *ended.split("/")[1:]])
    api = FakeApi(
        killed=(ended, "running", "0001-01-01T00:00:00Z"),
        killed_and_ended=(ended, "exited", "2026-11-28T11:59:59.123456789Z"),
        mine=(owner(), "running", "0001-01-01T00:00:00Z"),
        mine_ended=(owner(), "exited", "2026-11-28T11:00:00Z"),
        elsewhere=(elsewhere, "running", "0001-01-01T00:00:00Z"),
        elsewhere_just_ended=(elsewhere, "exited", "2026-11-28T11:00:00.5Z"),
        before_the_boot=(elsewhere, "exited", "2026-11-26T11:00:00.5Z"),
        not_started=(elsewhere, "created", "0001-01-01T00:00:00Z"),
        no_time=(elsewhere, "exited", ""),
    )
    assert left(api) == ("killed", "killed_and_ended", "before_the_boot")
    assert api.removed == ["killed", "killed_and_ended", "before_the_boot"]


def test_what_cannot_be_removed_stops_nothing(ended: str) -> None:
    api = FakeApi(one=(ended, "running", ""), two=(ended, "running", ""))
    api.refuses = "one"
    assert left(api) == ("two",)


def test_an_engine_that_does_not_list_stops_nothing() -> None:
    class Silent(FakeApi):
        def containers(self, **_: Any) -> list[dict[str, Any]]:
            raise docker.errors.APIError("busy")

    assert left(Silent()) == ()
