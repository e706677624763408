"""Locks between programs: whoever comes second waits, and where a filesystem has none nobody is stopped."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
import time
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import pytest

from packager.batches.output import output_at
from packager.builders.staging import _staging
from packager.errors import ContextError, TemporaryError
from packager.laying.create import _alone
from packager.scratch import scratch
from packager.serving.hosts.process.folders import live_runs, run_folder
from packager.serving.taken import held
from packager.steps.declared import taking_turns
from packager.storage.locks import alone, turn
from packager.workspace.sources.places import place


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("CACHE", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    return tmp_path


def test_the_second_waits_for_the_first(tmp_path: Path) -> None:
    order: list[str] = []

    def second() -> None:
        with turn(tmp_path / "deep/lock"):
            order.append("second")

    waiting = threading.Thread(target=second)
    with turn(tmp_path / "deep/lock") as descriptor:
        os.fstat(descriptor)
        waiting.start()
        time.sleep(0.1)
        order.append("first")
    waiting.join()
    assert order == ["first", "second"]


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ContextError, match="file/lock cannot be written: "), turn(tmp_path / "file/lock"):
        pass


def test_a_service_is_changed_by_one_at_a_time() -> None:
    with held("a"), held("b"), pytest.raises(TemporaryError, match="'a' is being changed"), held("a"):
        pass


def test_where_a_filesystem_has_no_locks_nobody_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(_descriptor: int, _how: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", none)
    blocks: list[AbstractContextManager[Any]] = [
        turn(tmp_path / "a"),
        held("service"),
        run_folder(),
        taking_turns(tmp_path / "package"),
        _alone(tmp_path / "prefix"),
        _staging(tmp_path / "packager.yaml", "cpu", "linux/amd64"),
        place("https", "x"),
        output_at("memory://out"),
        scratch("packager-lock-"),
    ]
    with ExitStack() as stack:
        for each in blocks:
            stack.enter_context(each)
    assert list(live_runs()) == []
    # What nobody can tell is in use to whoever removes, and free to whoever would only be kept from work.
    with alone(tmp_path / "a") as free, alone(tmp_path / "a", unsure=True) as sure:
        assert (free, sure) == (False, True)
