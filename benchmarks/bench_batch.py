"""What `packager batch` costs over a bare loop of run(), and how it scales.

    python benchmarks/bench_batch.py [--items 20000] [--rounds 3] [--busy]

The script sleeps a millisecond an item, or with --busy works for it; mini-batches have 10 items. A bare loop in one
process is measured in turns with one worker and with two, from the first mini-batch to the joined results, without the
start of Python. Each round checks that all write the same bytes. Compare the ratios, not the seconds of two machines.
Two workers that are busy need two processors that nobody else uses.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from packager.batches.listing import find_inputs
from packager.batches.planning import split
from packager.batches.pool import Job, Limits
from packager.batches.run import Run, run_batch
from packager.batches.splitting import parse_mini_batch_size
from packager.batches.values import RESULTS, Identity, inputs_digest, stamps_digest
from packager.batches.workers import Program, start_here

SCRIPT = """\
import os, time

def init():
    pass

def run(mini_batch):
    for path in mini_batch:
        WORK
    return [os.path.basename(path) for path in mini_batch]
"""
SLEEP = "time.sleep(0.001)"
BUSY = "end = time.perf_counter() + 0.001\n        while time.perf_counter() < end: pass"

#: The loop that somebody would write, in a process of its own, as a worker is.
LOOP = """\
import sys, time
sys.path.insert(0, sys.argv[1])
from score import init, run
paths = open(sys.argv[2]).read().split()
init()
begin = time.perf_counter()
with open(sys.argv[3], "w") as out:
    for start in range(0, len(paths), 10):
        for row in run(paths[start : start + 10]):
            out.write(row + "\\n")
print(time.perf_counter() - begin)
"""


def processors() -> float:
    """Return the seconds of processors that this process and its children took so far."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def bare(folder: Path) -> float:
    words = [sys.executable, "-c", LOOP, str(folder), str(folder / "paths"), str(folder / "bare")]
    return float(subprocess.run(words, capture_output=True, text=True, check=True).stdout)


def ours(folder: Path, processes: int) -> float:
    """Return the seconds that the mini-batches take; workers are started, and call init(), before the clock does."""
    output = folder / "out"
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir()
    files = find_inputs([str(folder / "in")])
    job = Job(form="files", script=str(folder / "score.py"), files=files, scratch=folder, limits=Limits())
    words = (sys.executable, "{program}/worker.py")
    described = Program(words=words, environ=dict(os.environ), folder=str(folder), script=job.script)
    fresh = start_here(described, folder)
    ready = [fresh(number) for number in range(processes)]
    for worker in ready:
        worker.send({"do": "start", "script": job.script, "form": "files", "tries": 1})
        worker.receive(60)
    parts = split(files, "files", parse_mini_batch_size("10", "files"), folder, lambda _: ())
    identity = Identity(
        package="benchmark",
        script="score.py",
        form="files",
        mini_batch_size="10",
        inputs=inputs_digest(files),
        stamps=stamps_digest(files),
        keeps_rows=True,
    )
    run = Run(identity=identity, split=parts, batches=parts.batches, job=job, processes=processes, output=output)
    begin = time.perf_counter()
    # `start` once more loads the script anew, which takes a millisecond.
    run_batch(run, lambda number: ready[number], print)
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=20000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--busy", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "in").mkdir()
        (folder / "score.py").write_text(SCRIPT.replace("WORK", BUSY if options.busy else SLEEP))
        for number in range(options.items):
            (folder / f"in/{number:08d}").touch()
        (folder / "paths").write_text("\n".join(each.path for each in find_inputs([str(folder / "in")])))
        loops, ones, twos, costs = list[float](), list[float](), list[float](), list[float]()
        for _ in range(options.rounds):
            used = -processors()
            loops.append(bare(folder))
            used += processors()
            for processes, times in ((1, ones), (2, twos)):
                more = -processors()
                times.append(ours(folder, processes))
                costs.append(more + processors() - used)
                assert (folder / "bare").read_bytes() == (folder / "out" / RESULTS).read_bytes()
        loop, one, two = (statistics.median(each) for each in (loops, ones, twos))
        per_item = (one - loop) / options.items * 1e6
        print(f"{options.items} items, mini-batches of 10, run() {'works' if options.busy else 'sleeps'} 1 ms an item")
        print(f"bare loop:   {loop:.2f} s")
        print(f"one worker:  {one:.2f} s: {one / loop:.3f} of the loop, {per_item:.0f} us an item")
        cost = statistics.median(costs) / options.items * 1e6
        print(f"processors:  {cost:.0f} us an item more than the loop, in all processes, with listing and start")
        print(f"two workers: {two:.2f} s: {one / two:.2f} times as fast as one")


if __name__ == "__main__":
    main()
