"""How long an environment takes to lay down without an engine, what byte-compilation costs, and what it saves.

    python benchmarks/bench_environment.py [--runs 5] [--spec examples/diabetes] [--image local/python:3.13-slim]

Beside each stands `uv pip install` alone, of the same wheels, in the same rounds: compare the ratios, not the seconds
of two machines. `--cold` adds a run with an empty cache of uv, so with downloads; start times need an engine with the
image.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from packager.environments.locks.status import read_inputs
from packager.laying.base_files import BaseFiles
from packager.laying.cache import cached
from packager.laying.compile import Compiler, find_interpreter
from packager.laying.environment import lay_down
from packager.laying.libraries import check_starts
from packager.laying.recipe import BasePython, Recipe, make_recipe
from packager.laying.wheels import Source, unpack
from packager.spec import load_spec

PLATFORM = "linux/amd64"
LIMIT_WARM = 3.0
START = "import sklearn.linear_model, flask, inference_schema, azureml_inference_server_http.api.aml_request"


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def rounds(recipe: Recipe, source: Source, folder: Path, runs: int) -> dict[str, list[float]]:
    """Times with a warm cache of uv."""
    found: dict[str, list[float]] = {"uv alone": [], "lay_down": [], "check_starts": [], "unchanged": []}
    staging, env = folder / "packager-staging-bench", folder / "env"
    base, locked = recipe.base.minor, recipe.locked
    for _ in range(runs):
        found["uv alone"].append(
            timed(lambda: unpack(locked.packages, base, locked.platform, locked.tags, source, staging))
        )
        shutil.rmtree(staging)
        found["lay_down"].append(timed(lambda: lay_down(recipe, env, source)))
        found["check_starts"].append(
            timed(lambda: check_starts(env, BaseFiles(paths={}), recipe.locked.platform, recipe.locked.tags))
        )
        shutil.rmtree(env)
        cached(recipe, folder / "cache", source)
        found["unchanged"].append(timed(lambda: cached(recipe, folder / "cache", source)))
    return found


def cold(recipe: Recipe, source: Source, folder: Path) -> float:
    """Seconds with an empty cache of uv: downloads are in it."""
    own = msgspec.structs.replace(source, environ=source.environ | {"UV_CACHE_DIR": str(folder / "uv")})
    return timed(lambda: lay_down(recipe, folder / "cold", own))


def start_time(folder: Path, image: str) -> float:
    """Seconds until a read-only container has imported what the service imports."""
    command = ["docker", "run", "--rm", "--read-only", "--env", "PYTHONDONTWRITEBYTECODE=1", "--env", "HOME=/tmp"]
    command += ["--volume", f"{folder}:/opt/env:ro", "--entrypoint", "/opt/env/bin/python", image, "-c", START]
    return timed(lambda: subprocess.run(command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))


def compiling(recipe: Recipe, source: Source, folder: Path, runs: int, image: str, version: str) -> None:
    interpreter = find_interpreter(version, source.environ)
    if interpreter is None:
        print(f"compile: no CPython {version} on this machine")
        return
    compiler = Compiler(lambda prefix: interpreter, folder / "cache")
    plain = lay_down(recipe, folder / "plain", source)
    compiled_recipe = msgspec.structs.replace(recipe, compiler=version)
    seconds = timed(lambda: lay_down(compiled_recipe, folder / "compiled", source, compiler))
    size = sum(path.stat().st_size for path in (folder / "compiled").rglob("*.pyc"))
    what = f"lay_down, compiled by {version}"
    print(f"{what:34} {seconds:7.2f} s, {size / 1e6:.0f} MB more than {plain.size / 1e6:.0f}")
    times: dict[str, list[float]] = {"plain": [], "compiled": []}
    for _ in range(runs):
        for name, found in times.items():
            found.append(start_time(folder / name, image))
    for name, found in times.items():
        print(f"start, {name:27} {statistics.median(found):7.2f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--spec", default="examples/diabetes")
    parser.add_argument("--image", default="local/python:3.13-slim")
    parser.add_argument("--python", default="3.13.5", help="version of the image's Python, in full")
    parser.add_argument("--cold", action="store_true")
    args = parser.parse_args()
    spec_file = load_spec(Path(args.spec))
    locked = read_inputs(spec_file, "cpu").locked(PLATFORM)
    recipe = make_recipe(locked, BasePython(path="/usr/local/bin/python3", version=locked.python))
    source = Source.of(spec_file.root, os.environ)
    # Beside uv's cache, as the product's own is: hard links do not cross filesystems.
    near = Path.home() / ".cache"
    near.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=near) as name:
        folder = Path(name)
        for title, seconds in rounds(recipe, source, folder, args.runs).items():
            limit = f"  (at most {LIMIT_WARM} x uv alone)" if title == "lay_down" else ""
            print(f"{title:34} {statistics.median(seconds):7.2f} s{limit}")
        if args.cold:
            print(f"{'lay_down, nothing cached':34} {cold(recipe, source, folder):7.2f} s")
        compiling(recipe, source, folder, args.runs, args.image, args.python)


if __name__ == "__main__":
    main()
