"""How long `packager lock` and `lock --check` take when nothing has changed, as whole processes.

    python benchmarks/bench_lock.py [--runs 15] [--requirements 200]

Beside each stands a bare `python -c "import click"`, measured in the same rounds: compare the ratios, not the seconds
of two machines. The lock is made here by a solver that makes packages up, so no network is needed; it holds as many
packages as requirements, which is more than real environments have.
"""

from __future__ import annotations

import argparse
import hashlib
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

LIMIT = 0.3
SPEC = """\
name: bench
version: "1"
entry_script: score.py
environment: requirements.txt
targets: {cpu: {platforms: [linux/amd64, linux/arm64]}}
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


def prepare(folder: Path, count: int) -> None:
    (folder / "packager.yaml").write_text(SPEC)
    (folder / "requirements.txt").write_text("".join(f"package-{number}>=1,<2\n" for number in range(count)))
    update_lock(load_spec(folder), solver=MadeUp(), resolve_base=lambda reference: f"sha256:{'0' * 64}")


def wall(command: list[str], folder: Path) -> float:
    # Compiled modules are kept, as they are for users.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    start = time.perf_counter()
    subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--requirements", type=int, default=200)
    args = parser.parse_args()
    commands = {
        "import click": [sys.executable, "-c", "import click"],
        "packager lock": [sys.executable, "-m", "packager", "lock"],
        "packager lock --check": [sys.executable, "-m", "packager", "lock", "--check"],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder, args.requirements)
        for run in range(args.runs + 1):
            for title, command in commands.items():
                seconds = wall(command, folder)
                if run:  # the first round writes compiled modules
                    times[title].append(seconds)
    bare = statistics.median(times["import click"])
    for title, found in times.items():
        median = statistics.median(found)
        limit = f"  (at most {LIMIT} s)" if title != "import click" else ""
        print(f"{title:24} {median:6.3f} s  {median / bare:5.1f} x{limit}")


if __name__ == "__main__":
    main()
