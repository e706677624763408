"""Plan and render many specs for many targets: seconds, peak memory, and what all targets cost beside one.

    python benchmarks/bench_targets.py [--specs 200] [--packages 60] [--runs 5]

Targets: 200 specs for 4 targets each in under 10 s and 300 MB; all targets of a spec in less than twice one. Each
figure is of a process of its own; "first" is with an empty memory of rendered texts, "again" with that of the run
before. The locks are made here by a solver that makes packages up, so no network is needed. What the interpreter and
the imports alone take is measured beside it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from packager.environments.conda import Provided
from packager.environments.declare.requirement import requirement_name
from packager.environments.lock import LockedPackage, LockRequest
from packager.environments.locks.update import update_lock
from packager.environments.solve.pip import Solved, Upgrade
from packager.spec import load_spec

SECONDS, MEGABYTES, RATIO = 10, 300, 2
TARGETS = ("cpu", "gpu", "fpga", "arm-edge")
SPEC = """\
name: bench-{number}
version: "1"
entry_script: score.py
source_dir: src
environment: requirements.txt
models: [{{path: models/model.bin, version: 1}}]
targets:
  cpu: {{}}
  gpu: {{base: registry.example.com/cuda/python:3.13}}
  fpga:
    base: registry.example.com/fpga/python:3.13
    host: {{xrt: "2.13.466"}}
    models: [{{path: models/dpu.xclbin}}, {{path: models/net.xmodel}}]
  arm-edge: {{}}
"""
#: What a child process does: plans and renders, and says how long it took and how much memory it needed.
CHILD = """\
import json, resource, sys, time
start = time.perf_counter()
from pathlib import Path
from packager.dockerfile.text import dockerfile
from packager.spec import load_spec
from packager.steps.plan import plan_image
from packager.storage.models import Store
store, written = Store(), 0
for folder in sorted(Path(sys.argv[1]).iterdir()):
    spec_file = load_spec(folder)
    for target in sys.argv[2].split(","):
        if target:
            written += len(dockerfile(plan_image(spec_file, target, digest_model=store.digest)))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
print(json.dumps({"seconds": time.perf_counter() - start, "megabytes": peak, "written": written}))
"""


class MadeUp:
    """A solver that answers version 1 of what is asked."""

    def solve(
        self,
        request: LockRequest,
        platform: str,
        preferences: str | None,
        upgrade: Upgrade,
        offline: bool,
        provided: Provided | None = None,
    ) -> Solved:
        names = sorted(requirement_name(each) for each in request.requirements)
        found = (
            LockedPackage(name=name, version="1", digests=(hashlib.sha256(f"{name}{platform}".encode()).hexdigest(),))
            for name in names
        )
        return Solved(packages=tuple(found))


def prepare(folder: Path, number: int, packages: int) -> None:
    """Make a spec with its lock."""
    for name in ("src", "models"):
        (folder / name).mkdir(parents=True)
    (folder / "packager.yaml").write_text(SPEC.format(number=number))
    (folder / "requirements.txt").write_text("".join(f"package-{each}>=1,<2\n" for each in range(packages)))
    (folder / "src/score.py").write_text(f"def init(): ...\ndef run(data): return {number}\n")
    (folder / "models/model.bin").write_bytes(f"model {number}".encode())
    (folder / "models/dpu.xclbin").write_bytes(b"xclbin2" + f" of {number}".encode())
    (folder / "models/net.xmodel").write_bytes(f"xmodel {number}".encode())
    update_lock(load_spec(folder), solver=MadeUp(), resolve_base=lambda reference: f"sha256:{'0' * 64}")


def measure(folder: Path, cache: Path, targets: tuple[str, ...]) -> dict[str, float]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["XDG_CACHE_HOME"] = str(cache)
    start = time.perf_counter()
    words = [sys.executable, "-c", CHILD, str(folder), ",".join(targets)]
    done = subprocess.run(words, env=environment, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return {**found, "process": time.perf_counter() - start}


def many(work: Path, specs: int, packages: int) -> None:
    folder = work / "many"
    for number in range(specs):
        prepare(folder / f"{number:04}", number, packages)
    for title in ("first", "again"):
        found = measure(folder, work / "cache-many", TARGETS)
        print(
            f"{specs} specs x {len(TARGETS)} targets, {title:5}  {found['process']:6.2f} s  (at most {SECONDS} s)  "
            f"{found['megabytes']:4.0f} MB  (at most {MEGABYTES} MB)"
        )


def one(work: Path, packages: int, runs: int) -> None:
    folder = work / "one"
    prepare(folder / "0000", 0, packages)
    asked = {"nothing": (), "one target": TARGETS[:1], "all targets": TARGETS}
    for title in ("first", "again"):
        times: dict[str, list[float]] = {name: [] for name in asked}
        for run in range(runs + 1):
            for name, targets in asked.items():
                cache = work / (f"cache-{run}-{name}" if title == "first" else f"cache-{name}")
                seconds = measure(folder, cache, targets)["process"]
                if run:  # the first round writes compiled modules
                    times[name].append(seconds)
        median = {name: statistics.median(found) for name, found in times.items()}
        ratio = median["all targets"] / median["one target"]
        shown = "  ".join(f"{name} {seconds:.3f} s" for name, seconds in median.items())
        print(f"one spec, {title:5}  {shown}  all/one {ratio:.2f} x  (less than {RATIO} x)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--specs", type=int, default=200)
    parser.add_argument("--packages", type=int, default=60)
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        one(work, args.packages, args.runs)
        many(work, args.specs, args.packages)


if __name__ == "__main__":
    main()
