"""How long small commands take, as whole processes.

`--help` and `--version` beside a bare click program, then the verbs that must feel instant (`lock` with nothing
changed, `plan`, `render`).

    python benchmarks/bench_start.py [--runs 15]

Medians of interleaved runs in one process tree; compare the ratios, not the milliseconds of two machines.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BARE = """\
import click
@click.group()
@click.version_option("1", prog_name="bare")
def cli(): "A bare program."
cli()
"""
EXAMPLE = Path(__file__).parents[1] / "examples/diabetes"


def wall(command: list[str], folder: Path) -> float:
    # Compiled modules are kept, as they are for users.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    start = time.perf_counter()
    subprocess.run(
        command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True
    )
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=15)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(shutil.copytree(EXAMPLE, Path(temporary) / "diabetes"))
        bare = Path(temporary) / "bare.py"
        bare.write_text(BARE)
        packager = [sys.executable, "-m", "packager"]
        commands = {
            "bare click --help": [sys.executable, str(bare), "--help"],
            "packager --help": [*packager, "--help"],
            "bare click --version": [sys.executable, str(bare), "--version"],
            "packager --version": [*packager, "--version"],
            "packager lock (nothing changed)": [*packager, "lock"],
            "packager plan": [*packager, "plan"],
            "packager render": [*packager, "render"],
        }
        times: dict[str, list[float]] = {name: [] for name in commands}
        for number in range(runs + 1):
            for name, command in commands.items():
                taken = wall(command, folder)
                if number:  # the first round warms up
                    times[name].append(taken)
        medians = {name: statistics.median(each) for name, each in times.items()}
        for name, median in medians.items():
            print(f"{name:34} {median * 1000:7.0f} ms")
        for option in ("--help", "--version"):
            ratio = medians[f"packager {option}"] / medians[f"bare click {option}"]
            print(f"packager {option} / bare click {option}: {ratio:.2f} (at most 2)")


if __name__ == "__main__":
    main()
