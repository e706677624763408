"""Workers that begin anew in a container: on an engine of lists."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import docker.errors
import pytest

from packager.serving.hosts.docker import workers as renewing
from packager.serving.service import Mounted

APP = "/var/azureml-app"


class Gunicorn:
    """A container: its first process has workers; SIGHUP starts another, and the old one ends two looks later."""

    def __init__(self, *, breaks: bool = False) -> None:
        self.breaks, self.signals = breaks, list[str]()
        self.looks = 0
        self.attrs: dict[str, Any] = {"State": {"Running": True}, "RestartCount": 2, "Mounts": []}

    def top(self, *, ps_args: str) -> dict[str, Any]:
        if self.breaks and self.signals:
            raise docker.errors.APIError("is not running")
        self.looks += bool(self.signals)
        new = [["30", "10"]] if self.signals else []
        old = [["20", "10"]] if self.looks < 3 else []
        return {"Titles": ["PID", "PPID"], "Processes": [["10", "1"], *old, *new]}

    def kill(self, signal: str) -> None:
        self.signals.append(signal)
        if self.breaks:
            self.attrs["RestartCount"] += 1

    def reload(self) -> None:
        pass


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renewing, "_PAUSE", 0.0)


def test_the_old_workers_are_waited_for() -> None:
    container: Any = Gunicorn()
    assert renewing.workers(container) == {"20"}
    renewed = renewing.renew_workers(container)
    assert container.signals == ["SIGHUP"]
    assert renewing.workers(container) == {"30"}
    assert renewed.state().running


def test_one_that_the_engine_started_again_has_not_come_up() -> None:
    container: Any = Gunicorn(breaks=True)
    state = renewing.renew_workers(container).state()
    assert (state.running, state.exit_code) == (False, 3)


def test_only_exactly_these_folders_count_as_mounted() -> None:
    container: Any = Gunicorn()
    wanted = (Mounted(folder=Path("/copy"), path=f"{APP}/app"),)
    assert not renewing.has_mounted(container, wanted, APP)
    own = {"Type": "bind", "Source": "/copy", "Destination": f"{APP}/app"}
    container.attrs["Mounts"] = [own, {"Type": "volume", "Source": "/keys", "Destination": "/run/secrets"}]
    assert renewing.has_mounted(container, wanted, APP)
    assert not renewing.has_mounted(container, (), APP)
    container.attrs["Mounts"].append({**own, "Destination": f"{APP}/other"})
    assert not renewing.has_mounted(container, wanted, APP)
