"""How fast layers are written: the tar beside `tar cf`, a model beside `cp` and `sha256sum`, and the memory it takes.

    python benchmarks/bench_layers.py [--size 2048] [--files 8000] [--folder DIR]

All are measured in one run: compare the ratios, not the seconds of two machines. The tree of files is a copy of this
Python's own site-packages, cut or repeated to the number of files; the model is noise, as weights are.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from packager.builders.unread_models import layer_ahead
from packager.oci.compression import Compression
from packager.oci.layers import folder_entries, folder_layer, tree_layer
from packager.oci.tar import tar_blocks
from packager.oci.values import Layer
from packager.plan.trees import Tree, TreeFile, make_tree
from packager.storage.content import ContentStore, Memory
from packager.storage.models import Store

COMPRESSIONS: tuple[Compression, ...] = ("gzip", "zstd", "none")


def seconds(action: Callable[[], object]) -> float:
    # Else the one pays for what the other before it has left to be written to the disk.
    os.sync()
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def best(action: Callable[[], object], runs: int = 3) -> float:
    return min(seconds(action) for _ in range(runs))


def write_tar(folder: Path, file: Path) -> None:
    with file.open("wb", buffering=0) as stream:
        for block in tar_blocks(folder_entries(folder, "/")):
            stream.write(block)


def make_files(folder: Path, count: int) -> int:
    """Fill a folder with so many files of site-packages; return their bytes."""
    made = size = 0
    source = Path(sysconfig.get_path("purelib"))
    names = [path for path in sorted(source.rglob("*")) if path.is_file()]
    while made < count:
        for path in names[: count - made]:
            target = folder / str(made // len(names)) / path.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
            size += path.stat().st_size
        made += min(len(names), count - made)
    return size


def make_model(file: Path, mebibytes: int) -> None:
    with file.open("wb") as stream:
        for _ in range(mebibytes):
            stream.write(os.urandom(1 << 20))


def compare(title: str, ours: float, theirs: float, size: int, limit: float) -> None:
    verdict = "" if ours <= limit * theirs else f"   OVER the limit of {limit}"
    print(f"{title:44} {ours:7.2f} s {size / 1e6 / ours:7.0f} MB/s {ours / theirs:6.2f}x{verdict}")


def gnu_tar(folder: Path, file: Path) -> None:
    subprocess.run(["tar", "--create", "--file", str(file), "--directory", str(folder), "."], check=True)


def bench_tree(work: Path, count: int) -> None:
    folder = work / "files"
    size = make_files(folder, count)
    theirs = best(lambda: gnu_tar(folder, work / "theirs.tar"))
    compare(f"tar cf, {count} files", theirs, theirs, size, 1)
    compare("tar of ours", best(lambda: write_tar(folder, work / "ours.tar")), theirs, size, 2)
    # What an engine's push makes of a layer: gzip's own level.
    packed = subprocess.run(["gzip", "-6", "--stdout", work / "ours.tar"], check=True, capture_output=True).stdout
    for compression in COMPRESSIONS:
        content, memory = ContentStore(work / compression), Memory("layers", work / compression)

        def build(compression: Compression = compression) -> Layer:
            return folder_layer(folder, "/opt/env", "environment", "k", content, compression, memory)  # noqa: B023

        compare(f"layer, {compression}, first", seconds(build), theirs, size, 99)
        compare(f"layer, {compression}, again", best(build), theirs, size, 99)
        written = build().blob.size
        print(f"{'  its size, beside gzip -6':44} {written / 1e6:7.1f} MB {written / len(packed):15.2f}x")
        shutil.rmtree(work / compression)


def unread(file: Path) -> Tree:
    return make_tree([TreeFile(path=f"var/{file.name}", size=0, mode=0o444, digest="", origin=file.name)])


def read(file: Path, store: Store) -> Tree:
    digest, size = store.digest(file)
    return make_tree([TreeFile(path=f"var/{file.name}", size=size, mode=0o444, digest=digest, origin=file.name)])


def bench_model(work: Path, mebibytes: int) -> None:
    model, size = work / "model.bin", mebibytes << 20
    make_model(model, mebibytes)
    file = work.parent / "file.tar"
    taken: dict[Callable[[Path, Path], None], list[float]] = {gnu_tar: [], write_tar: []}
    # In turns, each into a new file with nothing left to be written: else the disk decides, not the writer.
    for _ in range(2):
        for write, found in taken.items():
            found.append(seconds(lambda: write(work, file)))  # noqa: B023
            file.unlink()
    theirs = min(taken[gnu_tar])
    compare("tar cf, one file", theirs, theirs, size, 1)
    compare("tar of ours", min(taken[write_tar]), theirs, size, 2)
    copy = work / "copy.bin"
    theirs = seconds(lambda: subprocess.run(["cp", str(model), str(copy)], check=True))
    theirs += seconds(lambda: subprocess.run(["sha256sum", str(copy)], check=True, stdout=subprocess.DEVNULL))
    copy.unlink()
    compare("cp and sha256sum, the model", theirs, theirs, size, 1)
    for compression in COMPRESSIONS:
        cache = work / "cache"
        store, content, memory = Store(cache / "s"), ContentStore(cache / "c"), Memory("layers", cache / "c")

        def first(compression: Compression = compression) -> None:
            layer_ahead(unread(model), "model", work, store, content, compression, memory)  # noqa: B023

        def again(compression: Compression = compression) -> None:
            tree_layer(read(model, store), "model", work, store, content, compression, memory)  # noqa: B023

        compare(f"digest and layer of the model, {compression}", seconds(first), theirs, size, 1.3)
        compare("  again", best(again), theirs, size, 0.5)
        shutil.rmtree(cache)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=2048, help="MiB of the model")
    parser.add_argument("--files", type=int, default=8000)
    parser.add_argument("--folder", help="where to work; as much free space as three models")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        (Path(name) / "tree").mkdir()
        (Path(name) / "model").mkdir()
        bench_tree(Path(name) / "tree", args.files)
        bench_model(Path(name) / "model", args.size)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory {peak:.0f} MiB")
    sys.exit(peak > 150)


if __name__ == "__main__":
    main()
