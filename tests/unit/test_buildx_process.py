import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from packager.engine.process import Finished, plain_lines, run_shown, show_on_stderr
from packager.interruption import terminated_as_interrupted

ENVIRON = {"PATH": os.environ["PATH"]}


def run(script: str, terminal: bool = False) -> tuple[Finished, bytes]:
    shown = bytearray()
    finished = run_shown(["sh", "-c", script], environ=ENVIRON, show=shown.extend, terminal=terminal)
    return finished, bytes(shown)


def test_standard_error_is_shown_and_kept() -> None:
    finished, shown = run("echo out; echo one >&2; printf two >&2; exit 3")
    assert finished == Finished(code=3, lines=("one", "two"))
    assert shown == b"one\ntwo"


def test_a_terminal_is_a_terminal() -> None:
    finished, shown = run("test -t 2 && printf '\\033[31mred\\033[0m\\n' >&2", terminal=True)
    assert finished == Finished(code=0, lines=("red", ""))
    assert b"\x1b[31mred" in shown
    assert run("test -t 2")[0].code == 1


def test_only_the_end_of_a_long_output_is_kept() -> None:
    finished, shown = run("yes 0123456789abcdef | head -n 100000 >&2; echo end >&2")
    assert len(shown) > 1_600_000
    assert sum(map(len, finished.lines)) < 600_000
    assert finished.lines[-2:] == ("end", "")


def test_there_is_no_input_to_wait_for() -> None:
    assert run("cat")[0].code == 0


def test_a_missing_program() -> None:
    with pytest.raises(FileNotFoundError):
        run_shown(["no-such-program"], environ=ENVIRON, show=None, terminal=False)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_reaches_the_whole_group_and_it_is_awaited(tmp_path: Path, number: int) -> None:
    # `sh` ends by itself on SIGINT, and says so; `sleep` is of its group.
    script = f"trap 'echo stopped > {tmp_path}/told; exit 1' INT; echo $$ > {tmp_path}/pid; sleep 60"
    timer = threading.Timer(0.5, os.kill, (os.getpid(), number))
    timer.start()
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run(script)
    assert time.monotonic() - start < 10
    assert (tmp_path / "told").read_text() == "stopped\n"
    with pytest.raises(ProcessLookupError):
        os.killpg(int((tmp_path / "pid").read_text()), 0)


def test_a_reader_that_went_away_ends_the_child() -> None:
    def show(_: bytes) -> None:
        raise BrokenPipeError

    start = time.monotonic()
    with pytest.raises(BrokenPipeError):
        run_shown(["sh", "-c", "echo x >&2; exec sleep 60"], environ=ENVIRON, show=show, terminal=False)
    assert time.monotonic() - start < 10


def test_an_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with terminated_as_interrupted():
            os.kill(os.getpid(), signal.SIGHUP)
            time.sleep(0.05)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_it_works_in_a_thread() -> None:
    results: list[Finished] = []
    thread = threading.Thread(target=lambda: results.append(run("exit 4")[0]))
    thread.start()
    thread.join()
    assert results[0].code == 4


def test_lines_of_a_terminal() -> None:
    assert plain_lines("\x1b[1A\x1b[0G\x1b[?25lone  \r\n\x1b[34mtwo\x1b[0m\n") == ("one", "two", "")


def test_bytes_reach_standard_error_as_they_are() -> None:
    code = "from packager.engine.process import show_on_stderr; show_on_stderr(bytes([0xff, 0x0a]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stderr == b"\xff\n"


def test_a_text_stream_in_the_place_of_standard_error(monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    show_on_stderr(b"a\xff")
    assert stream.getvalue() == "a\N{REPLACEMENT CHARACTER}"
