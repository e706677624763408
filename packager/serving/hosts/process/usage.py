"""What a service without Docker uses, by /proc; what this machine has; and processors for whoever starts meanwhile."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from packager.serving.usage import Machine, Usage

_PROC = Path("/proc")
_KIB = 1024


def process_usage(pid: int, proc: Path = _PROC) -> Usage | None:
    """Return what a process and its descendants use; None where it is gone.

    Memory that several share counts in parts (`Pss` of proc(5)); what descendants used that have ended counts, too.
    """
    found = [each for each in (_usage(one, proc) for one in _tree(pid, proc)) if each is not None]
    if not found:
        return None
    return Usage(cpu=sum(each.cpu for each in found), memory=sum(each.memory for each in found))


def this_machine() -> Machine:
    """Return the processors that this process may use, and the memory of this machine."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Machine(cpus=len(os.sched_getaffinity(0)), memory=memory)


@contextmanager
def on_processors(count: int) -> Iterator[None]:
    """Let whatever this thread starts meanwhile run on so many processors alone (sched_setaffinity(2))."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[: max(count, 1)])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _tree(pid: int, proc: Path) -> list[int]:
    found = [pid]
    for each in found:
        with suppress(OSError):
            for thread in (proc / str(each) / "task").iterdir():
                with suppress(OSError):
                    found += map(int, (thread / "children").read_text().split())
    return found


def _usage(pid: int, proc: Path) -> Usage | None:
    folder = proc / str(pid)
    try:
        # The name, in brackets, may have any characters; what follows it is fields 3 and on of proc(5).
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
        rollup = (folder / "smaps_rollup").read_text()
    except OSError:
        return None
    # utime, stime, cutime, cstime
    ticks = sum(map(int, fields[11:15]))
    sizes = (line.split() for line in rollup.splitlines())
    pss = next((int(words[1]) for words in sizes if words and words[0] == "Pss:"), 0)
    return Usage(cpu=ticks / os.sysconf("SC_CLK_TCK"), memory=pss * _KIB)
