"""How long a workspace takes to register, list and give back, and what a new version sends.

    python benchmarks/bench_workspace.py folder [--size 2048 --models 1000 --versions 20]
    python benchmarks/bench_workspace.py registry --location oci://127.0.0.1:5000/bench [--models 1000 --versions 20]

Needs credentials for the registry (`docker login`). Names and indexes of a registry are written as registrations write
them, without the artifacts themselves: a list does not read those. Each part is a function, and prints what it found.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import resource
import secrets
import subprocess
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from packager.storage.content import ContentStore
from packager.workspace.actions import download
from packager.workspace.documents import Index, Record, pack_index
from packager.workspace.folder import FolderWorkspace
from packager.workspace.records import json_of
from packager.workspace.registry import RegistryWorkspace
from packager.workspace.remote import OWN, Remote
from packager.workspace.tags import Name, index_tag, name_tag
from packager.workspace.values import Content, File, Version

#: In seconds: the first list of 1,000 models with 20 versions each, at a registry on localhost.
TARGET = 3.0


def timed(act: Callable[[], object]) -> tuple[float, object]:
    """Seconds that something takes, and what it returns."""
    start = time.perf_counter()
    found = act()
    return time.perf_counter() - start, found


def version(name: str, number: int) -> Version:
    """A version as a registration makes it."""
    files = (File(path="model/weights.bin", size=1 << 20, sha256=secrets.token_hex(32)),)
    return Version(
        kind="model", name=name, version=number, created="2026-01-01T00:00:00Z", files=files, framework="sklearn",
        tags={"area": "mnist", "run": secrets.token_hex(4)}, description="made to be listed",
    )  # fmt: skip


def fill(remote: Remote, models: int, versions: int) -> None:
    """Write names and indexes."""
    remote.begin()

    def write(number: int) -> None:
        name: Name = ("model", f"model-{number}")
        records = tuple(Record(edits=1, version=version(name[1], each)) for each in range(1, versions + 1))
        remote.put(OWN, name_tag(name), "name", name_tag(name))
        remote.put(OWN, index_tag(name, 1, "ab" * 4), "index", pack_index(Index(records=records)))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(models)))


def registry_lists(location: str, models: int, versions: int) -> dict[str, float]:
    """The first list ever of a workspace in a registry, the next, and the first of another machine."""
    with tempfile.TemporaryDirectory() as folder:
        content = ContentStore(Path(folder) / "store")
        with RegistryWorkspace(location, content=content) as writer:
            filling, _ = timed(lambda: fill(writer._remote, models, versions))
        with RegistryWorkspace(location, content=content) as reader:
            first, found = timed(lambda: reader.versions("model"))
            assert isinstance(found, tuple)
            assert len(found) == models * versions, len(found)
            second, again = timed(lambda: reader.versions("model"))
            assert again == found
        with RegistryWorkspace(location, content=ContentStore(Path(folder) / "other")) as other:
            third, again = timed(lambda: other.versions("model"))
            assert again == found
    return {"filling": filling, "first list ever": first, "second list": second, "first of another machine": third}


def registry_shards(location: str, shards: int, size: int) -> dict[str, float]:
    """What is sent of a second version of which one of several shards changed."""
    with tempfile.TemporaryDirectory() as folder:
        content = ContentStore(Path(folder) / "store")
        os.environ["XDG_CACHE_HOME"] = folder
        contents = []
        for number in range(shards):
            path = Path(folder) / f"shard-{number}.bin"
            path.write_bytes(os.urandom(size))
            contents.append(Content(path=f"model/{path.name}", origin=path))
        with RegistryWorkspace(location, content=content) as workspace:
            draft = Version(kind="model", name="sharded")
            first, _ = timed(lambda: workspace.add(draft, contents))
            contents[0].origin.write_bytes(os.urandom(size))
            second, _ = timed(lambda: workspace.add(draft, contents))
    return {"first version": first, "one shard of all": second, "MiB in all": shards * size / (1 << 20)}


def registry_part(options: argparse.Namespace) -> None:
    """What a workspace in a registry costs."""
    location = f"{options.location}/{secrets.token_hex(4)}"
    lists = registry_lists(location, options.models, options.versions)
    shards = registry_shards(location, 20, options.shard << 20)
    print(json.dumps({"lists": lists, "target of a first list": TARGET, "shards": shards}, indent=1))


def folder_transfers(top: Path, size: int) -> dict[str, float]:
    """Registering and downloading one file, as ratios to `cp` and `sha256sum` of it, in the same run."""
    model, copy = top / "model.bin", top / "copy.bin"
    with model.open("wb") as target:
        for _ in range(size >> 20):
            target.write(os.urandom(1 << 20))
    time.sleep(1)  # what was written just now is never believed to be unchanged
    workspace, contents = FolderWorkspace(top / "workspace"), [Content(path=model.name, origin=model)]
    draft = Version(kind="model", name="big")
    copied, _ = timed(lambda: subprocess.run(["cp", model, copy], check=True))
    hashed, _ = timed(lambda: subprocess.run(["sha256sum", copy], check=True, capture_output=True))
    copy.unlink()
    first, _ = timed(lambda: workspace.add(draft, contents))
    again, _ = timed(lambda: workspace.add(draft, contents))
    given, _ = timed(lambda: download(workspace, workspace.get("model", "big"), top / "given"))
    return {
        "cp and sha256sum": copied + hashed,
        "register": first / (copied + hashed),
        "register what is known, seconds": again,
        "download, to cp": given / copied,
        "peak MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def folder_lists(top: Path, models: int, versions: int) -> dict[str, float]:
    """Seconds of a list: read, and from memory. Records are written without the files themselves."""
    workspace = FolderWorkspace(top / "many")
    workspace.create()
    for name, number in itertools.product((f"model-{each:04}" for each in range(models)), range(1, versions + 1)):
        record = top / "many/models" / name / str(number) / "version.json"
        record.parent.mkdir(parents=True)
        record.write_bytes(json_of(version(name, number)))
    time.sleep(5)  # a folder that changed just now is read again
    read, found = timed(lambda: workspace.versions("model"))
    known, again = timed(lambda: workspace.versions("model"))
    assert found == again
    return {"read": read, "from memory": known}


def folder_part(options: argparse.Namespace) -> None:
    """What a workspace in a folder costs."""
    with tempfile.TemporaryDirectory(dir=options.dir) as top:
        os.environ["XDG_CACHE_HOME"] = f"{top}/cache"
        transfers = folder_transfers(Path(top), options.size << 20)
        lists = folder_lists(Path(top), options.models, options.versions)
    print(json.dumps({"transfers": transfers, "lists": lists}, indent=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(required=True)
    folder = parts.add_parser("folder")
    folder.add_argument("--dir", help="where the files are; the system's folder for them by default")
    folder.add_argument("--size", type=int, default=2048, help="MiB of the model")
    folder.set_defaults(part=folder_part)
    registry = parts.add_parser("registry")
    registry.add_argument("--location", required=True, help="oci://HOST/PATH")
    for each in (folder, registry):
        each.add_argument("--models", type=int, default=1000)
        each.add_argument("--versions", type=int, default=20)
    registry.add_argument("--shard", type=int, default=8, help="MiB of each of 20 shards")
    registry.set_defaults(part=registry_part)
    options = parser.parse_args()
    options.part(options)


if __name__ == "__main__":
    main()
