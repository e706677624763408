"""`packager save` against `cp` and `sha256sum`, side by side in one run; every figure is of whole processes.

    python benchmarks/bench_save.py [--size MIB] [--files NUMBER] [--folder DIR]

Targets: a first save of a 2 GiB model at most 1.2 times `cp` plus `sha256sum` of it, each next one at most 0.3 s, one
copy on disk, peak memory at most 100 MB; 20,000 small files at most 3 times `cp -r`.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from packager.environments.declare.environment import read_environments
from packager.environments.lock import Lock, LockedPackage, LockedTarget
from packager.environments.locks.files import digest_of, format_lock, format_requirements, requirements_path
from packager.environments.locks.status import requests
from packager.spec.load import load_spec
from packager.targets import load_target

MIB = 1 << 20
SCORE = "def init():\n    pass\n\n\ndef run(data):\n    return data\n"
SPEC = """\
name: bench
version: "1"
entry_script: score.py
source_dir: src
environment: {pip: [six==1.17.0]}
"""


def seconds(*command: str | Path, environment: dict[str, str] | None = None) -> float:
    """Run a command; return how long it took. Disk writes of the command before are waited for first."""
    os.sync()
    start = time.perf_counter()
    subprocess.run([os.fspath(each) for each in command], check=True, stdout=subprocess.DEVNULL, env=environment)
    return time.perf_counter() - start


def environ(folder: Path) -> dict[str, str]:
    """Return the environment of `packager`: a store of its own, and compiled modules kept as they are for users."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "XDG_CACHE_HOME": str(folder / "cache")}


def make_project(folder: Path, model: bool) -> Path:
    """Make a spec with a lock by hand (no solver is needed to save); return the spec."""
    (folder / "src").mkdir(parents=True)
    (folder / "src/score.py").write_text(SCORE)
    spec = folder / "packager.yaml"
    spec.write_text(SPEC + ("models: [{path: model.bin}]\n" if model else ""))
    spec_file = load_spec(spec)
    text = format_requirements([LockedPackage(name="six", version="1.17.0", digests=("00" * 32,))])
    targets = {
        name: LockedTarget(
            request=request,
            base=request.base if "@" in request.base else f"{request.base}@sha256:{'00' * 32}",
            requirements=requirements_path(name),
            digest=digest_of(text),
        )
        for name, request in requests(spec_file, read_environments(spec_file), load_target).items()
    }
    (folder / "locks").mkdir()
    for target in targets.values():
        (folder / target.requirements).write_text(text)
    spec_file.lock_path.write_text(format_lock(Lock(targets=targets)))
    return spec


def make_model(path: Path, size: int) -> None:
    """Write pseudo-random bytes: no filesystem can leave them out or squeeze them."""
    block = random.Random(1).randbytes(8 * MIB)
    with path.open("wb") as stream:
        for number in range(size // len(block)):
            stream.write(block[number:] + block[:number])


def make_files(folder: Path, number: int) -> None:
    """Write small source files, a hundred a folder."""
    block = random.Random(2).randbytes(1 << 16).hex()
    for index in range(number):
        target = folder / f"package{index // 1000:03}" / f"part{index // 100 % 10}" / f"module{index:05}.py"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(block[index : index + 200 + index % 4000])


def bench_model(folder: Path, size: int) -> None:
    """Print what one large model costs."""
    spec = make_project(folder / "large", model=True)
    model = folder / "large/model.bin"
    make_model(model, size)
    environment = environ(folder)
    save = (sys.executable, "-m", "packager", "save", "-q", "-f", spec, "-o")
    # One turn before the clock runs, so that neither pays for reading the file from disk.
    seconds("sha256sum", model)
    copy = seconds("cp", model, folder / "copy")
    (folder / "copy").unlink()
    plain = copy + seconds("sha256sum", model)
    first = seconds(*save, folder / "context1", environment=environment)
    following = [seconds(*save, folder / f"context{number}", environment=environment) for number in (2, 3, 4)]
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1000
    names = [path for path in folder.rglob("*") if path.is_file() and path.stat().st_size == size and path != model]
    inodes = {path.stat().st_ino: path.stat().st_blocks * 512 for path in names}
    print(f"model of {size // MIB} MiB")
    print(f"  cp + sha256sum        {plain:8.2f} s  (cp {copy:.2f} s)")
    print(f"  first save            {first:8.2f} s  = {first / plain:.2f} x cp + sha256sum (target 1.2)")
    print(f"  next saves            {max(following):8.2f} s  the slowest of {len(following)} (target 0.3)")
    print(f"  peak memory           {peak:8.0f} MB (of any process run so far; target 100)")
    print(f"  copies on disk        {len(inodes):8} for {len(names)} names: {sum(inodes.values()) / MIB:.0f} MiB")


def bench_files(folder: Path, number: int) -> None:
    """Print what many small files cost."""
    spec = make_project(folder / "many", model=False)
    make_files(folder / "many/src", number)
    environment = environ(folder)
    save = (sys.executable, "-m", "packager", "save", "-q", "-f", spec, "-o")
    plain, ours = [], []
    for turn in range(3):
        plain.append(seconds("cp", "-r", folder / "many/src", folder / f"copy{turn}"))
        ours.append(seconds(*save, folder / f"saved{turn}", environment=environment))
        shutil.rmtree(folder / f"copy{turn}")
        shutil.rmtree(folder / f"saved{turn}")
    print(f"{number} small files")
    print(f"  cp -r                 {min(plain):8.2f} s")
    print(f"  save                  {min(ours):8.2f} s  = {min(ours) / min(plain):.2f} x cp -r (target 3)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=2048, help="MiB of the model (default 2048)")
    parser.add_argument("--files", type=int, default=20_000, help="number of small files (default 20000)")
    parser.add_argument("--folder", type=Path, help="where to work (default: the system's folder for temporary files)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="bench-save-") as name:
        bench_files(Path(name), options.files)
        bench_model(Path(name), options.size // 8 * 8 * MIB)


if __name__ == "__main__":
    main()
