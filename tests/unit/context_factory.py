"""Makes specs, plans and contexts for tests out of real files, with a lock made by hand."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from packager.context.build_context import BuildContext, assemble
from packager.context.sources import DigestModel, scan_sources
from packager.environments.lock import LockedPackage, LockedTarget, LockRequest
from packager.environments.locks.files import TargetLock
from packager.plan.make import make_plan
from packager.plan.plan import Plan
from packager.plan.trees import Sources
from packager.spec.load import SpecFile, load_spec
from packager.storage.reading import digest_file
from packager.targets import Target

BASE = f"registry.example.com/library/python:3.13-slim@sha256:{'ab' * 32}"
SCORE = "def init():\n    pass\n\n\ndef run(data):\n    return data\n"
TEXTS = {
    "Dockerfile": "FROM scratch\n",
    ".dockerignore": "*\n!layers\n",
    "environment/requirements.txt": "six==1.17.0 \\\n    --hash=sha256:00\n",
    "HANDOFF.md": "# How to build\n",
}


def write_files(folder: Path, files: Mapping[str, str | bytes]) -> Path:
    """Write files below a folder; a path that ends with `/` becomes an empty folder."""
    for path, content in files.items():
        target = folder / path
        if path.endswith("/"):
            target.mkdir(parents=True, exist_ok=True)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def write_spec(folder: Path, *, source_dir: str = "src", models: tuple[str, ...] = ("models/m.bin",)) -> SpecFile:
    """Write a `packager.yaml` and read it."""
    lines = ["name: demo", 'version: "1"', "entry_script: score.py", f"source_dir: {source_dir}"]
    lines += ["environment: {pip: [six==1.17.0]}"]
    if models:
        lines += ["models:"]
    for number, path in enumerate(models):
        lines += [f"  - path: {path}", f"    name: model{number}"]
    write_files(folder, {"packager.yaml": "\n".join(lines) + "\n"})
    return load_spec(folder)


def write_project(folder: Path) -> SpecFile:
    """Write a small package: an app with folders, one model that is a file and one that is a folder."""
    write_files(
        folder,
        {
            "src/score.py": SCORE,
            "src/lib/tool.py": "TOOL = 1\n",
            "src/lib/run.sh": "#!/bin/sh\n",
            "src/data/": "",
            "src/ünï/Ω.txt": "text",
            "models/m.bin": bytes(range(256)) * 40,
            "models/net/weights.bin": b"w" * 3000,
            "models/net/parts/a/b.json": "{}",
            "models/net/none/": "",
        },
    )
    (folder / "src/lib/run.sh").chmod(0o755)
    return write_spec(folder, models=("models/m.bin", "models/net"))


def read_digest(path: Path, below: bytes | None = None) -> tuple[str, int]:
    """A `DigestModel` that always reads."""
    found = digest_file(path)
    return found.digest, found.size


def scan(spec_file: SpecFile, digest_model: DigestModel = read_digest) -> Sources:
    """Scan the sources of a spec, without a store."""
    return scan_sources(spec_file, digest_model)


def plan(spec_file: SpecFile, sources: Sources | None = None) -> Plan:
    """Return the plan of a spec for a target and a lock that are made by hand."""
    request = LockRequest(
        python="3.13",
        platforms={"linux/amd64": "x86_64-manylinux_2_28"},
        requirements=("six==1.17.0",),
        base=BASE,
    )
    target = Target(
        name="cpu",
        description="",
        template="cpu.Dockerfile.j2",
        platforms=("linux/amd64",),
        wheels={"linux/amd64": "x86_64-manylinux_2_28"},
        bases={},
        env={},
    )
    requirements = TEXTS["environment/requirements.txt"].encode()
    locked = LockedTarget(
        request=request,
        base=BASE,
        requirements="locks/cpu.requirements.txt",
        digest=f"sha256:{hashlib.sha256(requirements).hexdigest()}",
    )
    packages = (LockedPackage(name="six", version="1.17.0", digests=("00" * 32,)),)
    lock = TargetLock(target="cpu", locked=locked, packages=packages, requirements="")
    return make_plan(spec_file.spec, target, lock.on("linux/amd64"), sources or scan(spec_file))


def context(spec_file: SpecFile, texts: Mapping[str, str] | None = None) -> BuildContext:
    """Return the build context of a spec, with short texts in the place of the generated ones."""
    return assemble(plan(spec_file), {**TEXTS, **(texts or {})})


def snapshot(folder: Path) -> dict[str, tuple[int, int, int, bytes | None]]:
    """Return all that a folder holds: mode, modification time (ns), hard kind, and content of files."""
    found: dict[str, tuple[int, int, int, bytes | None]] = {}
    for path in (folder, *folder.rglob("*")):
        status = path.lstat()
        content = path.read_bytes() if path.is_file() else None
        name = os.fsdecode(os.path.relpath(path, folder))
        found[name] = (status.st_mode & 0o7777, status.st_mtime_ns, status.st_mode >> 12, content)
    return found


def with_manifest(base: BuildContext, **changes: object) -> bytes:
    """Return a context's `packager.json` with some top-level fields replaced, as bytes."""
    data = msgspec.json.decode(base.manifest_text)
    data.update(changes)
    return msgspec.json.encode(data)
