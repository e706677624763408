"""The verbs of a workspace as programs: several at once, and one that is killed while it registers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import packager

AT_ONCE = 10


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    homes = {f"XDG_{name}_HOME": str(tmp_path / name.lower()) for name in ("DATA", "CACHE", "CONFIG", "STATE")}
    return {**os.environ, **homes, "DOCKER_HOST": "unix:///nonexistent/docker.sock"}


def start(environ: dict[str, str], *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "packager", *words],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(environ: dict[str, str], *words: str) -> str:
    with start(environ, *words) as process:
        out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out


def test_ten_at_once_get_ten_versions(tmp_path: Path, environ: dict[str, str]) -> None:
    paths = [tmp_path / f"model-{number}.bin" for number in range(AT_ONCE)]
    for number, path in enumerate(paths):
        path.write_bytes(b"%d" % number)
    processes = [start(environ, "model", "register", "-n", "m", "-p", str(path)) for path in paths]
    ended = [(*process.communicate(timeout=120), process.returncode) for process in processes]
    assert [code for _, _, code in ended] == [0] * AT_ONCE, ended
    assert sorted(out for out, _, _ in ended) == sorted(f"m:{number}\n" for number in range(1, AT_ONCE + 1))
    assert run(environ, "model", "verify").count("ok ") == AT_ONCE
    there = {
        each.id: each.top for each in packager.Workspace(tmp_path / "data/packager/workspaces/default").models.list()
    }
    told = {out.strip(): path.name for path, (out, _, _) in zip(paths, ended, strict=True)}
    assert there == told, "each is told the version that has its own file"


def test_one_that_is_killed_leaves_no_half(tmp_path: Path, environ: dict[str, str]) -> None:
    model = tmp_path / "model.bin"
    with model.open("wb") as file:
        for _ in range(32):
            file.write(os.urandom(1 << 20))
    with start(environ, "model", "register", "-n", "m", "-p", str(model)) as process:
        # In the middle of it, wherever that is on this machine.
        folder = tmp_path / "data/packager/workspaces/default/models/m"
        end = time.monotonic() + 60
        while not folder.exists() and process.poll() is None and time.monotonic() < end:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
    before = run(environ, "model", "list").splitlines()
    assert len(before) <= 1
    version = run(environ, "model", "register", "-q", "-n", "m", "-p", str(model)).strip()
    assert version in ("m:1", "m:2", "m:3")
    assert len(run(environ, "model", "list").splitlines()) == len(before) + 1
    assert run(environ, "model", "verify").count("ok ") == len(before) + 1
