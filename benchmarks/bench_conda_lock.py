"""How long `packager lock` of a conda environment takes, beside a bare py-rattler solve plus a bare uv compile.

    python benchmarks/bench_conda_lock.py [--runs 7] [--platforms 2]

The bare solves are whole processes too: a Python that imports rattler and solves all platforms with one gateway, then
uv for each platform, of the same requirements with the same settings, one after the other as a script would have it.
All caches are warm, the tests' conda channel is served on this machine. Twice: both sides ask channel and index; both
sides are offline, where starting programs is most of what is left. Measured in the same rounds: compare the ratio, not
the seconds of two machines. Beside it: the same with nothing changed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from uv import find_uv_bin

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.integration.conda_channel import channels
from tests.integration.conda_server import ChannelServer

LIMIT = 1.3
PLATFORMS = {"linux/amd64": ("linux-64", "x86_64"), "linux/arm64": ("linux-aarch64", "aarch64")}
SPECS = ("python 3.13.*", "numpy", "scikit-learn", "fastmath", "python-flatbuffers")
REQUIREMENTS = ("azureml-inference-server-http", "six", "requests")
VIRTUAL = {"__unix": "0", "__linux": "5.10", "__glibc": "2.41"}
BARE = """
import asyncio, json, os, sys
from rattler import BuildString, Gateway, GenericVirtualPackage, PackageName, SourceConfig, Version, solve
channel, specs, subdirs, virtual, offline = json.loads(sys.argv[1])
promised = [GenericVirtualPackage(PackageName(n), Version(v), BuildString("0")) for n, v in virtual.items()]
async def main():
    asked = SourceConfig(cache_action="force-cache-only" if offline else "cache-or-fetch")
    gateway = Gateway(cache_dir=os.environ["RATTLER_CACHE_DIR"] + "/repodata", default_config=asked)
    for subdir in subdirs:
        found = await solve([channel], specs, gateway=gateway, platforms=[subdir, "noarch"], virtual_packages=promised)
        assert len(found) > 5
asyncio.run(main())
os._exit(0)
"""


def prepare(folder: Path, channel: str, platforms: list[str]) -> None:
    (folder / "packager.yaml").write_text(
        'name: bench\nversion: "1"\nentry_script: score.py\nenvironment: environment.yml\n'
        f"targets: {{cpu: {{platforms: [{', '.join(platforms)}]}}}}\n"
    )
    lines = [f"channels: [{channel}]", "dependencies:", *(f"- {each.replace(' ', '=')}" for each in SPECS), "- pip:"]
    (folder / "environment.yml").write_text("\n".join([*lines, *(f"  - {each}" for each in REQUIREMENTS[1:]), ""]))
    (folder / "bare.in").write_text("\n".join([*REQUIREMENTS, ""]))


def bare_commands(channel: str, platforms: list[str], offline: bool) -> list[list[str]]:
    question = [channel, SPECS, [PLATFORMS[each][0] for each in platforms], VIRTUAL, offline]
    commands = [[sys.executable, "-c", BARE, json.dumps(question)]]
    for platform in platforms:
        words = [find_uv_bin(), "pip", "compile", "bare.in", "--output-file", "pylock.bare.toml"]
        words += ["--format", "pylock.toml", "--no-header", "--quiet", "--only-binary", ":all:", "--upgrade"]
        words += ["--python-version", "3.13.5", "--python-platform", f"{PLATFORMS[platform][1]}-manylinux_2_28"]
        words += ["--python", sys.executable]
        commands.append([*words, *(["--offline"] if offline else [])])
    return commands


def wall(commands: list[list[str]], folder: Path, environ: dict[str, str]) -> float:
    start = time.perf_counter()
    for command in commands:
        subprocess.run(command, cwd=folder, env=environ, check=True, capture_output=True)
    return time.perf_counter() - start


def forget(folder: Path) -> None:
    for path in (folder / "packager.lock", *(folder / "locks").glob("*")):
        path.unlink(missing_ok=True)


def measure(folder: Path, channel: str, platforms: list[str], runs: int, offline: bool) -> dict[str, list[float]]:
    # Compiled modules are kept, as they are for users; the cache of channels is this run's own.
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environ["RATTLER_CACHE_DIR"] = str(folder / "rattler")
    prepare(folder, channel, platforms)
    ours = [[sys.executable, "-m", "packager", "lock", *(["--offline"] if offline else [])]]
    bare = bare_commands(channel, platforms, offline)
    times: dict[str, list[float]] = {"bare rattler": [], "bare uv": [], "packager lock": [], "  unchanged": []}
    for run in range(runs + 1):
        found = [wall(bare[:1], folder, environ), wall(bare[1:], folder, environ)]
        forget(folder)
        found += [wall(ours, folder, environ), wall(ours, folder, environ)]
        if run:  # the first round fills caches
            for name, seconds in zip(times, found, strict=True):
                times[name].append(seconds)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--platforms", type=int, choices=(1, 2), default=2)
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "packager-engine"
    parser.add_argument("--base-archive", type=Path, default=caches / "base.oci.tar", help="./scripts/engine base")
    args = parser.parse_args()
    platforms = list(PLATFORMS)[: args.platforms]
    with ChannelServer(channels(caches, args.base_archive)) as server, tempfile.TemporaryDirectory() as name:
        for offline in (False, True):
            times = measure(Path(name), f"{server.url}/forge", platforms, args.runs, offline)
            show("offline" if offline else "asking channel and index", times)


def show(title: str, times: dict[str, list[float]]) -> None:
    medians = {title: statistics.median(found) for title, found in times.items()}
    bare = medians["bare rattler"] + medians["bare uv"]
    print(f"{title}:")
    for name, median in medians.items():
        limit = f"  (at most {LIMIT} x)" if name == "packager lock" else ""
        print(f"  {name:16} {median:6.3f} s  {median / bare:5.2f} x{limit}")


if __name__ == "__main__":
    main()
