"""Child processes: what they leave, and that they end with those who wait for them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from packager.environments import child_processes
from packager.environments.child_processes import Children, Ended
from packager.errors import LockError


def gone(pid: int) -> bool:
    """Whether a process ends within two seconds; one that only waits to be reaped has ended."""
    for _ in range(200):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.01)
    return False


def test_what_a_child_leaves(tmp_path: Path) -> None:
    code = "import os, sys; print(os.getcwd(), os.environ['A'], sys.stdin.read()); os.write(2, b'\\xff'); sys.exit(3)"
    ended = Children().run([sys.executable, "-c", code], b"in", cwd=tmp_path, environ={"A": "b"})
    assert ended == Ended(code=3, output=f"{tmp_path} b in\n", errors="\ufffd")


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Children().run([str(tmp_path / "none")], cwd=tmp_path, environ={})


def test_an_interruption_ends_the_child_and_what_it_started(tmp_path: Path) -> None:
    code = (
        "import os, signal, subprocess, sys, time\n"
        "sys.stdin.read()\n"
        "child = subprocess.Popen(['sleep', '60'])\n"
        "open('pid', 'w').write(str(child.pid))\n"
        "os.kill(os.getppid(), signal.SIGUSR1)\n"
        "time.sleep(60)"
    )

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            Children().run([sys.executable, "-c", code], cwd=tmp_path, environ=os.environ)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert gone(int((tmp_path / "pid").read_text()))


def test_children_can_be_stopped_with_all_that_it_started(tmp_path: Path) -> None:
    children = Children()
    code = (
        "import subprocess, time\n"
        "child = subprocess.Popen(['sleep', '60'])\n"
        "open('pid', 'w').write(str(child.pid))\n"
        "time.sleep(60)"
    )
    caught: list[BaseException] = []

    def run() -> None:
        try:
            children.run([sys.executable, "-c", code], cwd=tmp_path, environ=os.environ)
        except LockError as error:
            caught.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    pid = tmp_path / "pid"
    deadline = time.monotonic() + 20
    while not (pid.is_file() and pid.read_text()) and time.monotonic() < deadline:
        time.sleep(0.01)
    children.stop()
    thread.join(20)
    assert not thread.is_alive()
    assert "stopped" in str(caught[0])
    assert gone(int(pid.read_text()))
    with pytest.raises(LockError, match="stopped"):
        children.run([sys.executable, "-c", ""], cwd=tmp_path, environ=os.environ)


def test_signals_end_the_group() -> None:
    """`_end` is for children that may have gone already."""
    with subprocess.Popen(["sleep", "60"], process_group=0, stdout=subprocess.PIPE) as process:
        child_processes._end(process)
        assert process.wait(20) == -signal.SIGKILL
        child_processes._end(process)
