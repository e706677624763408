"""The Dockerfile that packager writes, beside an expert's (expert.Dockerfile), in one run and as ratios.

    python benchmarks/bench_dockerfile.py [--base local/python:3.13-slim] [--rounds 3] [--downloads]

Both have the same base, lock, models and script. Each round builds the expert's first, then ours: the saved context by
`docker buildx build`, then `packager build --builder engine`. What is printed is the least of the rounds.

Cold is without BuildKit's cache of steps; the wheels are in cache mounts that are this run's own, filled before, or new
for every build with `--downloads` (then the network is measured, too). An edit is one line more in the script.
Compare the ratios: seconds are of one machine on one day.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

EXAMPLE = Path(__file__).parents[1] / "examples/diabetes"
TEMPLATES = Path(__file__).parents[1] / "templates"
TAG = "packager-bench/dockerfile"
#: What is built → the most that it may take, in parts of the expert's.
LIMITS = {"cold": 0.8, "nothing changed": 1.3, "edit": 1.3}
#: Seconds that packager's own process may take besides, where `docker build` has little to do.
OWN = 0.15


def wall(command: list[str], folder: Path) -> float:
    start = time.perf_counter()
    done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{command}: {done.stdout[-3000:]}{done.stderr[-3000:]}")
    return time.perf_counter() - start


class Contexts:
    """The same package three times: the expert's, the saved context, and the spec that it is saved from."""

    def __init__(self, work: Path, base: str, downloads: bool) -> None:
        self._base, self._downloads = base, downloads
        self._cache = uuid.uuid4().hex
        self.spec = Path(shutil.copytree(EXAMPLE, work / "spec"))
        self.expert = Path(shutil.copytree(EXAMPLE, work / "expert"))
        self.saved = work / "saved"
        shutil.copyfile(self.expert / "locks/cpu.requirements.txt", self.expert / "requirements.txt")
        shutil.copyfile(TEMPLATES / "uv.txt", self.expert / "uv.txt")
        shutil.copyfile(Path(__file__).with_name("expert.Dockerfile"), self.expert / "Dockerfile")
        self.save()

    def save(self) -> None:
        wall(
            [sys.executable, "-m", "packager", "save", "-q", "--base", self._base, "--force", "-o", str(self.saved)],
            self.spec,
        )

    def by_expert(self, *more: str) -> float:
        args = ("--build-arg", f"BASE={self._base}", "--build-arg", f"CACHE={self._id()}")
        return wall([*buildx(f"{TAG}:expert"), *args, *more, "."], self.expert)

    def by_docker(self, *more: str) -> float:
        if "--no-cache" in more:
            # A cache of this run's own; what else the Dockerfile says is what operations get.
            text = (self.saved / "Dockerfile").read_text()
            (self.saved / "Dockerfile").write_text(text.replace("id=packager-wheels", f"id={self._id()}"))
        return wall([*buildx(f"{TAG}:saved"), *more, "."], self.saved)

    def by_packager(self, *more: str) -> float:
        words = ["build", "-q", "--builder", "engine", "--no-test", "--base", self._base, "-t", f"{TAG}:packager"]
        return wall([sys.executable, "-m", "packager", *words, *more], self.spec)

    def edit(self) -> None:
        for folder in (self.spec, self.expert):
            with (folder / "src/score.py").open("a") as script:
                script.write(f"# {time.time_ns()}\n")
        self.save()

    def _id(self) -> str:
        return uuid.uuid4().hex if self._downloads else self._cache


def buildx(tag: str) -> list[str]:
    words = ["docker", "buildx", "build", "--quiet", "--provenance=false", "--load", "--tag", tag]
    bundle = os.environ.get("SSL_CERT_FILE")
    return [*words, *(["--secret", f"id=ca,src={bundle}"] if bundle else [])]


def report(what: str, ways: Mapping[str, Callable[[], float]], rounds: int, before: Callable[[], object]) -> None:
    """Run each way in turn, several times, and print the least of each beside the expert's."""
    least = dict.fromkeys(ways, float("inf"))
    for _ in range(rounds):
        before()
        for name, build in ways.items():
            least[name] = min(least[name], build())
    expert = least.pop("expert")
    for name, seconds in least.items():
        most = LIMITS[what] * expert + (OWN if name == "packager build" and what != "cold" else 0)
        print(f"{what:16} {name:26} {seconds:7.2f} s   expert {expert:7.2f} s   ratio {seconds / expert:5.2f}"
              f"   (at most {most:.2f} s)", flush=True)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default="local/python:3.13-slim", help="an image that the engine has")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--downloads", action="store_true", help="cold builds download every wheel")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        contexts = Contexts(Path(temporary), options.base, options.downloads)
        ways = {
            "expert": contexts.by_expert,
            "docker build": contexts.by_docker,
            "packager build": contexts.by_packager,
        }
        for build in ways.values():
            build()
        cold = {name: (lambda build=build: build("--no-cache")) for name, build in ways.items()}
        if options.downloads:
            del cold["packager build"]  # whose cache is everybody's
        else:
            contexts.by_docker("--no-cache")
        report("cold", cold, min(options.rounds, 2), lambda: None)
        for build in ways.values():
            build()
        report("nothing changed", dict(ways), options.rounds, lambda: None)
        report("edit", dict(ways), options.rounds, contexts.edit)
    subprocess.run(["docker", "image", "rm", "-f", *(f"{TAG}:{name}" for name in ("expert", "saved", "packager"))],
                   capture_output=True, check=False)  # fmt: skip


if __name__ == "__main__":
    main()
