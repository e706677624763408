"""Plans for tests: made by the real functions from values in memory."""

from __future__ import annotations

from typing import Any

from packager.environments.conda import CondaPackage, CondaRequest, LockedConda
from packager.environments.lock import LockedPackage, LockedTarget, LockRequest
from packager.environments.locked import LockedPlatform
from packager.environments.locks.files import TargetLock
from packager.plan.make import make_plan
from packager.plan.plan import Plan
from packager.plan.trees import Sources, TreeFile, make_tree
from packager.spec import parse_spec
from packager.spec.load import SpecFile
from packager.targets import load_target

LEAST = 'name: diabetes\nversion: "1"\nentry_script: score.py\nenvironment: requirements.txt\n'
PACKAGES = (
    LockedPackage(name="azureml-inference-server-http", version="1.5.1", digests=("a" * 64,)),
    LockedPackage(name="numpy", version="2.4.0", digests=("b" * 64,)),
    LockedPackage(name="only-arm", version="1", digests=("c" * 64,), platforms=("linux/arm64",)),
)


def example_spec(more: str = "models: [{path: models/m.pkl, version: 1}]\n") -> SpecFile:
    from pathlib import Path

    return parse_spec(LEAST + more, Path("packager.yaml"))


def example_locked(target: str = "cpu", python: str = "3.13", **request: Any) -> LockedTarget:
    flavour = load_target(target)
    base = str(flavour.bases[python])
    platforms = request.pop("platforms", {each: flavour.wheels[each] for each in flavour.platforms})
    asked = LockRequest(python=python, platforms=platforms, requirements=("numpy",), base=base, **request)
    return LockedTarget(
        request=asked, base=base, requirements=f"locks/{target}.requirements.txt", digest="sha256:" + "d" * 64
    )


def example_sources(models: int = 1, **app: str) -> Sources:
    files = {"score.py": "def init(): ...", **app}
    return Sources(
        app=make_tree(_file(path, text, 0o644, path) for path, text in files.items()),
        models=tuple(make_tree([_file("m.pkl", f"model {n}", 0o444, f"models/{n}/m.pkl")]) for n in range(models)),
    )


def example_plan(
    more: str = "models: [{path: models/m.pkl, version: 1}]\n",
    *,
    target: str = "cpu",
    python: str = "3.13",
    platform: str = "linux/amd64",
    models: int = 1,
    **options: Any,
) -> Plan:
    locked = example_platform(
        options.pop("locked", example_locked(target, python)),
        platform,
        target=target,
        conda=options.pop("conda", ()),
        variables=options.pop("variables", None),
    )
    sources = options.pop("sources", example_sources(models))
    return make_plan(example_spec(more).spec.for_target(target), load_target(target), locked, sources, **options)


def example_platform(
    locked: LockedTarget,
    platform: str = "linux/amd64",
    *,
    target: str = "cpu",
    conda: tuple[CondaPackage, ...] = (),
    variables: dict[str, str] | None = None,
) -> LockedPlatform:
    lock = TargetLock(target=target, locked=locked, packages=PACKAGES, requirements="", conda_packages=conda)
    return lock.on(platform, variables)


def _conda_package(name: str, version: str, platform: str, subdir: str) -> CondaPackage:
    url = f"https://conda.example.com/forge/{subdir}/{name}-{version}-h0_0.conda"
    return CondaPackage(name=name, version=version, build="h0_0", platform=platform, url=url, sha256="e" * 64)


CONDA = (
    _conda_package("numpy", "2.4.0", "linux/amd64", "linux-64"),
    _conda_package("python", "3.13.5", "linux/amd64", "linux-64"),
    _conda_package("python", "3.13.5", "linux/arm64", "linux-aarch64"),
)


def example_conda_locked() -> LockedTarget:
    import msgspec

    target = load_target("cpu")
    assert target.conda is not None
    asked = CondaRequest(specs=("python 3.13.*",), channels=("https://conda.example.com/forge",), virtual_packages={})
    half = LockedConda(
        file="locks/cpu.conda-lock.yml", digest="sha256:" + "f" * 64, installer=str(target.conda.installers["rattler"])
    )
    plain = example_locked(platforms=dict(target.wheels), conda=asked)
    return msgspec.structs.replace(plain, conda=half, base=str(target.conda.base))


def example_conda_plan(more: str = "models: [{path: models/m.pkl, version: 1}]\n", **options: Any) -> Plan:
    return example_plan(more, locked=example_conda_locked(), conda=CONDA, **options)


def _file(path: str, text: str, mode: int, origin: str) -> TreeFile:
    import hashlib

    data = text.encode()
    return TreeFile(path=path, size=len(data), mode=mode, digest=hashlib.sha256(data).hexdigest(), origin=origin)
