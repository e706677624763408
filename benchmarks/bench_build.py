"""Images without an engine, beside an expert's Dockerfile (expert.Dockerfile) by BuildKit, in one run and as ratios.

    python benchmarks/bench_build.py [--base local/python:3.13-slim] [--push HOST:PORT/NAME] [--model-size 2048]

Both start from the same base (which both have already), the same lock and the same downloaded wheels (uv's cache here,
a cache mount there). Cold is without layers and steps of before: `never seen` with an empty cache of ours, `seen` with
wheels that were in another image before (one package is added to the lock, so that the environment is another). With
--push (docker login first) edits are pushed, and what a registry has of both images is compared: bytes that an edit
sends, and sizes. The first answer is timed from `docker run` to the first 200 of /score.

Compare the ratios: seconds are of one machine on one day.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

EXAMPLE = Path(__file__).parents[1] / "examples/diabetes"
TEMPLATES = Path(__file__).parents[1] / "templates"
#: A small package without needs: the lock that has it is another lock.
ADDED = "toolz"
OURS, EXPERT = "packager-bench:ours", "packager-bench:expert"
#: Fills the store with the base and the list of its files, as any build on it does.
FETCH_BASE = """
import sys
from packager.builders.base import fetch_base
from packager.builders.base_option import resolve_base
from packager.laying.base_files import FileBlob, read_base_files
from packager.storage.content import ContentStore
from packager.storage.memory import Memory

content = ContentStore()
base = fetch_base(resolve_base(sys.argv[1], {}), "linux/amd64", content)
blobs = [layer.blob.digest for layer in base.layers]
read_base_files((FileBlob(digest=each, path=str(content.path(each))) for each in blobs), Memory("base-files"))
"""


def wall(command: list[str], folder: Path, **environ: str) -> float:
    start = time.perf_counter()
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **environ}, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"{command}: {done.stdout[-3000:]}{done.stderr[-3000:]}")
    return time.perf_counter() - start


def show(what: str, ours: float, expert: float, limit: str, unit: str = "s") -> None:
    number = 2 if unit == "s" else 0
    print(f"{what:24} {ours:9.{number}f} {unit:2}  expert {expert:9.{number}f} {unit:2}  ratio {ours / expert:5.2f}"
          f"   ({limit})", flush=True)  # fmt: skip


class Bench:
    """The example twice, as ours and as the expert's, on one base."""

    def __init__(self, work: Path, base: str) -> None:
        self.work, self.base, self.cache_id = work, base, uuid.uuid4().hex
        archive = work / "base.tar"
        subprocess.run(["docker", "save", "--output", str(archive), base], check=True)
        self.source = f"docker-archive:{archive}"
        self.uv_cache = work / "uv"
        self.folder = Path(shutil.copytree(EXAMPLE, work / "diabetes"))
        self.more = Path(shutil.copytree(EXAMPLE, work / "more"))
        with (self.more / "requirements.txt").open("a") as stream:
            stream.write(f"{ADDED}\n")
        wall([sys.executable, "-m", "packager", "lock", "-q"], self.more, UV_CACHE_DIR=str(self.uv_cache))
        self.expert = Path(shutil.copytree(EXAMPLE, work / "expert"))
        shutil.copyfile(self.expert / "locks/cpu.requirements.txt", self.expert / "requirements.txt")
        shutil.copyfile(TEMPLATES / "uv.txt", self.expert / "uv.txt")
        shutil.copyfile(Path(__file__).with_name("expert.Dockerfile"), self.expert / "Dockerfile")
        self.prepared = work / "prepared"
        wall([sys.executable, "-c", FETCH_BASE, self.source], self.folder, **self.environ(self.prepared))

    def environ(self, cache: Path) -> dict[str, str]:
        return {"XDG_CACHE_HOME": str(cache), "UV_CACHE_DIR": str(self.uv_cache)}

    def ours(self, folder: Path, cache: Path, *more: str) -> float:
        command = [sys.executable, "-m", "packager", "build", "--builder", "oci", "-q", "--base", self.source]
        return wall([*command, *more], folder, **self.environ(cache))

    def experts(self, *more: str) -> float:
        bundle = os.environ.get("SSL_CERT_FILE")
        words = ["docker", "buildx", "build", "--quiet", "--provenance=false", "--build-arg", f"BASE={self.base}"]
        words += ["--build-arg", f"CACHE={self.cache_id}", *(["--secret", f"id=ca,src={bundle}"] if bundle else [])]
        return wall([*words, *more, "."], self.expert)

    def edit(self) -> None:
        for folder in (self.folder, self.expert):
            with (folder / "src/score.py").open("a") as script:
                script.write(f"# {time.time_ns()}\n")

    def copy(self, cache: Path) -> Path:
        return Path(shutil.copytree(cache, self.work / uuid.uuid4().hex, symlinks=True))


def builds(bench: Bench) -> None:
    output = ("-o", f"type=oci,dest={bench.work}/layout")
    # Wheels into uv's cache, by caches of packager that are thrown away.
    for folder in (bench.folder, bench.more):
        bench.ours(folder, bench.work / "warm", *output)
    bench.experts("--tag", EXPERT)
    expert = min(bench.experts("--no-cache", "--tag", EXPERT) for _ in range(2))
    never = min(bench.ours(bench.folder, bench.copy(bench.prepared), *output) for _ in range(2))
    bench.ours(bench.folder, bench.prepared, *output)
    seen = min(bench.ours(bench.more, bench.copy(bench.prepared), *output) for _ in range(2))
    show("cold, wheels never seen", never, expert, "at most 0.5")
    show("cold, wheels seen", seen, expert, "at most 0.2")
    again = min(bench.ours(bench.folder, bench.prepared, *output) for _ in range(5))
    show("nothing changed", again, min(bench.experts("--tag", EXPERT) for _ in range(5)), "at most 0.25 s")


def answers(bench: Bench) -> None:
    bench.ours(bench.folder, bench.prepared, "-t", OURS, "--load", "--no-test")
    body = (EXAMPLE / "sample-request.json").read_bytes()
    times: dict[str, list[float]] = {OURS: [], EXPERT: []}
    for _ in range(7):
        for image, seconds in times.items():
            seconds.append(first_answer(image, body))
    # The first of each reads the image from the disk.
    ours, expert = (statistics.median(seconds[1:]) for seconds in times.values())
    show("first answer", ours, expert, "at most 1.0; medians of 6")


def first_answer(image: str, body: bytes) -> float:
    start = time.perf_counter()
    run = ["docker", "run", "--detach", "--rm", "--read-only", "--tmpfs", "/tmp", "--publish", "127.0.0.1::5001", image]
    container = subprocess.run(run, check=True, capture_output=True, text=True).stdout.strip()
    try:
        port = subprocess.run(["docker", "port", container, "5001"], check=True, capture_output=True, text=True)
        url = f"http://{port.stdout.split()[0]}/score"
        while time.perf_counter() < start + 60:
            try:
                asked = urllib.request.Request(url, body, {"Content-Type": "application/json"})
                with urllib.request.urlopen(asked, timeout=10) as answer:
                    answer.read()
                return time.perf_counter() - start
            except (urllib.error.URLError, OSError):
                time.sleep(0.01)
        raise SystemExit(f"{image} did not answer in a minute")
    finally:
        subprocess.run(["docker", "kill", container], capture_output=True, check=False)


def pushes(bench: Bench, push: str) -> None:
    # Docker keeps its login in the folder of its configuration, for both.
    ours, expert = f"{push}:ours", f"{push}:expert"
    ways: dict[str, Callable[[], float]] = {
        ours: lambda: bench.ours(bench.folder, bench.prepared, "--push", "--no-test", "-t", ours),
        expert: lambda: bench.experts("--push", "--tag", expert),
    }
    seconds: dict[str, float] = dict.fromkeys(ways, float("inf"))
    sent: dict[str, int] = {}
    before: dict[str, set[str]] = {}
    for number in range(4):
        for reference, build in ways.items():
            took = build()
            blobs = blobs_of(reference)
            if number:
                seconds[reference] = min(seconds[reference], took)
                sent[reference] = sum(size for digest, size in blobs.items() if digest not in before[reference])
            before[reference] = set(blobs)
        bench.edit()
    show("edit script and push", seconds[ours], seconds[expert], "at most 0.35 s")
    show("bytes that it sends", sent[ours], sent[expert], "at most 2000", "B")
    size = {each: sum(blobs_of(each).values()) for each in ways}
    show("image, gzip", size[ours] / 1e6, size[expert] / 1e6, "at most 1.0", "MB")
    bench.ours(bench.folder, bench.prepared, "--push", "--no-test", "--compression", "zstd", "-t", f"{push}:zstd")
    show("image, zstd", sum(blobs_of(f"{push}:zstd").values()) / 1e6, size[expert] / 1e6, "at most 0.9", "MB")


def blobs_of(reference: str) -> dict[str, int]:
    """Return digest → size of all that a registry has of an image: manifest, configuration, layers."""
    show_it = ["docker", "buildx", "imagetools", "inspect", "--raw", reference]
    raw = subprocess.run(show_it, check=True, capture_output=True).stdout
    manifest: dict[str, Any] = json.loads(raw)
    blobs = {each["digest"]: int(each["size"]) for each in (manifest["config"], *manifest["layers"])}
    return {**blobs, f"manifest {uuid.uuid4().hex}": len(raw)}


def model(bench: Bench, megabytes: int) -> None:
    folder = Path(shutil.copytree(EXAMPLE, bench.work / "large"))
    weights = folder / "models/sklearn_regression_model.pkl"
    block = os.urandom(1 << 20)
    with weights.open("wb") as stream:
        for number in range(megabytes):
            stream.write(number.to_bytes(8, "big") + block[8:])
    start = time.perf_counter()
    subprocess.run(["cp", str(weights), str(bench.work / "copy")], check=True)
    subprocess.run(["sha256sum", str(bench.work / "copy")], check=True, stdout=subprocess.DEVNULL)
    plain = time.perf_counter() - start
    (bench.work / "copy").unlink()
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    output = ("-o", f"type=oci,dest={bench.work}/layout-large")
    first = bench.ours(folder, bench.prepared, *output)
    peak = max(before, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
    again = min(bench.ours(folder, bench.prepared, *output) for _ in range(3))
    print(f"model of {megabytes} MiB   {first:9.2f} s   cp + sha256sum {plain:.2f} s   ratio {first / plain:.2f}"
          "   (at most 1.3)")  # fmt: skip
    print(f"the same again       {again:12.2f} s   (at most 0.5 s)")
    print(f"peak memory          {peak / 1024:12.0f} MB  of any process of this run (at most 150)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default="local/python:3.13-slim", help="an image that the engine has")
    parser.add_argument("--push", metavar="HOST:PORT/NAME", help="where to push to (docker login first)")
    parser.add_argument("--model-size", type=int, default=2048, metavar="MIB", help="0 leaves the large model out")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        bench = Bench(Path(temporary), options.base)
        try:
            builds(bench)
            answers(bench)
            if options.push:
                pushes(bench, options.push)
            if options.model_size:
                model(bench, options.model_size)
        finally:
            subprocess.run(["docker", "image", "rm", "-f", OURS, EXPERT], capture_output=True, check=False)


if __name__ == "__main__":
    main()
