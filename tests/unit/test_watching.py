"""What people see of long work: bars on a terminal, lines elsewhere, nothing with -q; a clock of our own throughout."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from packager.cli import common
from packager.cli.watching import Lines, Seen, Watch, end_words, words
from packager.progress import Work, is_heard, listening, working

MB = 10**6


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("work", "done", "seconds", "said"),
    [
        (Work("a", 1000 * MB), 0, 1.0, "0 B of 1.0 GB"),
        (Work("a", 1000 * MB), 250 * MB, 2.0, "250.0 MB of 1.0 GB, 125.0 MB/s, 6 s left"),
        (Work("a", 100000 * MB), 100 * MB, 10.0, "100.0 MB of 100.0 GB, 10.0 MB/s, 2 h 46 min left"),
        (Work("a", 1000 * MB), 500 * MB, 75.0, "500.0 MB of 1.0 GB, 6.7 MB/s, 1 min 15 s left"),
        # All is sent, and the other side is still at it; some of it was sent twice.
        (Work("a", 10 * MB), 12 * MB, 6.0, "10.0 MB of 10.0 MB, 6 s"),
        (Work("a", 40, "items"), 10, 5.0, "10 of 40, 2/s, 15 s left"),
        (Work("a", 40000, "items"), 10000, 5.0, "10000 of 40000, 2000/s, 15 s left"),
        (Work("a"), 0, 61.2, "1 min 1 s"),
        (Work("a"), 5 * MB, 61.2, "5.0 MB, 1 min 1 s"),
        (Work("a", 0), 0, 0.0, "0 B of 0 B"),
    ],
)
def test_how_far_it_is_in_words(work: Work, done: int, seconds: float, said: str) -> None:
    assert words(Seen(work, done, seconds)) == said


def test_its_end_in_words() -> None:
    assert end_words(Seen(Work("a", 10 * MB), 10 * MB, 9.4)) == "10.0 MB in 9 s"
    assert end_words(Seen(Work("a", 40, "items"), 40, 61.0)) == "40 in 1 min 1 s"
    assert end_words(Seen(Work("a"), 0, 9.4)) == "9 s in all"


def test_lines_come_every_few_seconds_and_at_the_end_of_what_had_one() -> None:
    clock, said = Clock(), list[str]()
    watch = Watch(Lines(said.append, every=3), clock, look=None)
    with listening(watch):
        with working("short", 10), working("long", 100 * MB) as advance:
            for second in range(8):
                clock.now = second
                advance(10 * MB)
                watch.look()
                if second == 2:
                    assert said == []
        with working("after") as _:
            clock.now += 2.9
            watch.look()
    assert said == [
        "  short: 0 B of 10 B",
        "  long: 40.0 MB of 100.0 MB, 13.3 MB/s, 4 s left",
        "  short: 0 B of 10 B",
        "  long: 70.0 MB of 100.0 MB, 11.7 MB/s, 3 s left",
        "  long: 80.0 MB in 7 s",
        "  short: 7 s in all",
    ]


def test_lines_come_ever_more_seldom() -> None:
    clock, said = Clock(), list[str]()
    watch = Watch(Lines(said.append, every=3), clock, look=None)
    with listening(watch), working("waiting"):
        for second in range(120):
            clock.now = second
            watch.look()
    assert [each.partition(": ")[2] for each in said] == [
        "3 s", "6 s", "12 s", "24 s", "48 s", "1 min 18 s", "1 min 48 s", "1 min 59 s in all",
    ]  # fmt: skip


def test_the_thread_that_looks_ends_with_the_work() -> None:
    """Others fork only where there is no second thread."""
    before = set(threading.enumerate())
    looked = threading.Event()

    def begun() -> set[threading.Thread]:
        return set(threading.enumerate()) - before

    class Display(Lines):
        def show(self, running: Sequence[Seen]) -> None:
            if running:
                looked.set()

    watch = Watch(Display(pytest.fail), look=0.001)
    with listening(watch):
        for _ in range(3):
            looked.clear()
            with working("a"):
                assert looked.wait(60)
                assert len(begun()) == 1
            assert not begun()
        with working("a"), working("b"):
            pass
    assert not begun()


def test_the_end_of_whoever_reads_is_no_traceback_of_a_thread() -> None:
    """pytest makes an error of an exception that a thread does not handle."""
    looked = threading.Event()

    class Closed(Lines):
        def show(self, running: Sequence[Seen]) -> None:
            if running:
                looked.set()
                raise BrokenPipeError

    watch = Watch(Closed(pytest.fail), look=0.001)
    with listening(watch), working("a"):
        assert looked.wait(60)


def test_work_of_threads_is_counted_whole() -> None:
    seen: list[Seen] = []

    class Display(Lines):
        def ended(self, each: Seen) -> None:
            seen.append(each)

    watch = Watch(Display(pytest.fail), look=0.001)
    work = Work("a", 40_000)
    watch.begin(work)

    def advance() -> None:
        for _ in range(10_000):
            watch.advance(work, 1)

    threads = [threading.Thread(target=advance) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    watch.end(work)
    assert [each.done for each in seen] == [40_000]


# --- the command line ---

VERB = """
import os, signal, sys, threading
import click
from packager.cli import common, watching
from packager.progress import working

watching.LOOK = watching.SHORT = 0.01
watching.EVERY = 0.0

class Told:
    '''Says when something was shown so often.'''

    def __init__(self, display):
        self.display, self.shown, self.enough = display, 0, threading.Event()

    def show(self, running):
        self.display.show(running)
        self.shown += bool(running)
        if self.shown > 3:
            self.enough.set()

    def __getattr__(self, name):
        return getattr(self.display, name)

@click.command()
@common.standard_options
def verb(reporter):
    if reporter._watch is not None:
        told = Told(watching.Bars(short=0) if isinstance(reporter._watch._display, watching.Bars)
                    else watching.Lines(reporter._write, every=0.001))
        reporter._watch._display, reporter._watch._pause = told, 0.01
    with working("packing [bold]weights\\x1b[31m", 100_000_000) as advance, working("solving cpu"):
        advance(50_000_000)
        if reporter._watch is not None:
            assert told.enough.wait(60)
        if "INTERRUPTED" in os.environ:
            signal.raise_signal(signal.SIGINT)
        reporter.step("a line of a step")
        reporter.warn("a warning")
    print("result")

verb()
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "verb.py"
    path.write_text(VERB)
    return path


def on_terminal(script: Path, *options: str, **env: str) -> str:
    """Return what a verb writes to a terminal of 100 columns."""
    ours, theirs = pty.openpty()
    environ = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30", **env}
    process = subprocess.Popen(
        [sys.executable, str(script), *options], stdout=subprocess.PIPE, stderr=theirs, stdin=theirs, env=environ
    )
    os.close(theirs)
    found = b""
    try:
        while data := os.read(ours, 65536):
            found += data
    except OSError:  # Linux: the other side is closed
        pass
    assert process.stdout is not None
    assert process.stdout.read() == (b"" if "INTERRUPTED" in env else b"result\n")
    process.stdout.close()
    assert process.wait() == int("INTERRUPTED" in env)
    os.close(ours)
    return found.decode()


def elsewhere(script: Path, *options: str) -> str:
    done = subprocess.run([sys.executable, str(script), *options], capture_output=True, text=True, check=True)
    assert done.stdout == "result\n"
    return done.stderr


def test_a_terminal_gets_bars_that_go_again(script: Path) -> None:
    written = on_terminal(script)
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", written)
    frame = next(line for line in plain.split("\n") if "weights" in line)
    assert re.search(r"packing \[bold\]weights\\x1b\[31m +━+.*50\.0 MB of 100\.0 MB, .*/s, .* left", frame)
    assert re.search(r"solving cpu +━+ +\d+ s", plain)
    # Lines of steps stand whole, above the bars.
    assert re.search(r"[\r\n]a line of a step *\r?\n", plain)
    assert re.search(r"[\r\n]warning: a warning *\r?\n", plain)
    # The cursor, which was hidden, is back, and the last frame is erased.
    assert written.count("\x1b[?25l") == written.count("\x1b[?25h") >= 1
    assert written.rindex("\x1b[2K") > written.rindex("weights")


def test_an_interruption_leaves_the_terminal_as_it_was(script: Path) -> None:
    written = on_terminal(script, INTERRUPTED="1")
    assert written.count("\x1b[?25l") == written.count("\x1b[?25h") >= 1
    assert written.rindex("\x1b[2K") > written.rindex("weights")
    assert written.rstrip().endswith("Aborted!")


@pytest.mark.parametrize("options", [("--progress", "plain"), ()])
def test_lines_on_a_terminal_where_they_are_asked_for_or_it_cannot_do_more(
    script: Path, options: Sequence[str]
) -> None:
    written = on_terminal(script, *options, TERM="xterm" if options else "dumb", NO_COLOR="1")
    assert "\x1b" not in written
    assert "weights\\x1b[31m: 50.0 MB of 100.0 MB, " in written


def test_elsewhere_there_are_lines(script: Path) -> None:
    written = elsewhere(script)
    assert "\x1b" not in written
    assert re.search(r"^  packing .*weights\\x1b\[31m: 50\.0 MB of 100\.0 MB, .*/s, .* left$", written, flags=re.M)
    assert re.search(r"^  packing .*: 50\.0 MB in \d+ s$", written, flags=re.M)
    assert "━" in elsewhere(script, "--progress", "tty")


@pytest.mark.parametrize("options", [("-q",), ("--progress", "quiet"), ("-q", "--progress", "quiet")])
def test_quiet_is_silent(script: Path, options: Sequence[str]) -> None:
    step = "" if "-q" in options else "a line of a step\n"
    assert elsewhere(script, *options) == f"{step}warning: a warning\n"
    assert "weights" not in on_terminal(script, *options)


def test_a_verb_listens_and_its_error_finds_the_terminal_as_it_was() -> None:
    @click.command()
    @common.standard_options
    def verb(reporter: common.Reporter) -> None:
        assert is_heard()
        with working("a"):
            raise ValueError(reporter.progress)

    result = CliRunner().invoke(verb, ["--progress", "plain"])
    assert isinstance(result.exception, ValueError)
    assert (str(result.exception), is_heard()) == ("plain", False)
