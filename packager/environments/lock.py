"""The lock as values, and whether it still fits what is asked. Pure: nothing is read or written here.

`packager.lock` (JSON) holds, for each target, what was asked (`LockRequest`), the base image with its digest, and the
digest of `locks/<target>.requirements.txt`. The request is stored whole, so that a stale lock can say what changed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import UNSET, UnsetType

from packager.environments.conda import CondaPackage, CondaRequest, LockedConda
from packager.spec.model import canonical

FORMAT = 1


class PackageSources(msgspec.Struct, frozen=True, kw_only=True):
    """The indexes that a project names for its packages, each as `NAME=URL` without credentials.

    Attributes:
        packages: package → the index that alone has it; with ` ; MARKER` after it where it is for some platforms.
        indexes: asked for every package before the default one, in this order.
        default: takes the place of the machine's default index; empty for that.
    """

    packages: dict[str, tuple[str, ...]] = {}
    indexes: tuple[str, ...] = ()
    default: str = ""

    def __bool__(self) -> bool:
        return bool(self.packages or self.indexes or self.default)


class LockRequest(msgspec.Struct, frozen=True, kw_only=True):
    """All that a solve depends on.

    Attributes:
        python: minor version (`3.13`); empty where conda is to find it.
        platforms: platform → wheel tags in uv's words.
        requirements: normalised requirement lines of the user, sorted, and the inference server's.
        constraints: normalised constraint lines, sorted.
        build_from_source: names that are built from an sdist, normalised and sorted.
        base: the base image that is asked for: the target's pin, or the spec's own reference.
        conda: what conda is asked; unset for an environment of pip alone.
        installer: the image of the stage that installs conda packages, as it is asked for.
        hashes: requirement or constraint → the sha256 of the files that alone may be taken for it; unset for none.
        sources: indexes that the project names; unset for none.
        versions: package → version in the lock of the project's own tool, which leads where it fits; several of one
            package each with ` ; MARKER`. Unset for none.
    """

    python: str
    platforms: dict[str, str]
    requirements: tuple[str, ...]
    constraints: tuple[str, ...] = ()
    build_from_source: tuple[str, ...] = ()
    base: str
    conda: CondaRequest | UnsetType = UNSET
    installer: str | UnsetType = UNSET
    hashes: dict[str, tuple[str, ...]] | UnsetType = UNSET
    sources: PackageSources | UnsetType = UNSET
    versions: dict[str, tuple[str, ...]] | UnsetType = UNSET

    @property
    def digest(self) -> str:
        """sha256 of the request, as `sha256:…`."""
        return f"sha256:{hashlib.sha256(canonical(self)).hexdigest()}"

    def same_solve(self, other: LockRequest) -> bool:
        """Whether the packages of `other`'s solve are right for this request too: all but the images is equal."""
        return msgspec.structs.replace(self, base=other.base, installer=other.installer) == other


class LockedTarget(msgspec.Struct, frozen=True, kw_only=True):
    """What was solved for one target.

    Attributes:
        request: what was asked.
        base: the base image with its digest, in full (`docker.io/library/python:3.13-slim@sha256:…`).
        requirements: path of the requirements file, relative to the folder of the spec.
        digest: of that file, as `sha256:…`.
        conda: the conda half; unset for an environment of pip alone.
    """

    request: LockRequest
    base: str
    requirements: str
    digest: str
    conda: LockedConda | UnsetType = UNSET


class Pin(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is locked of something registered.

    Attributes:
        version: of it.
        digest: of its content, `sha256:…`.
        framework: of a model, as it is registered: a spec without code need not say it.
        framework_version: that saved it.
    """

    version: Annotated[int, msgspec.Meta(ge=1)]
    digest: Annotated[str, msgspec.Meta(pattern=r"^sha256:[0-9a-f]{64}(?!\n)$")]
    framework: str | None = None
    framework_version: str | None = None


class Registered(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is locked of a workspace.

    Attributes:
        models: as the spec names them (`sklearn_mnist`, `tokenizer:3`) → what that is.
        environments: likewise.
    """

    models: dict[str, Pin] = {}
    environments: dict[str, Pin] = {}

    def __bool__(self) -> bool:
        return bool(self.models or self.environments)


class Lock(msgspec.Struct, frozen=True, kw_only=True):
    """`packager.lock`.

    Attributes:
        version: of the format.
        inputs: digest of each environment file that was read, by path relative to the spec.
        targets: by name.
        tools: versions of the tools that solved, for people; a newer tool alone does not make a lock stale.
        changed: when what images are made of last changed: their time `created`, which is everybody's so. Unset in a
            lock that has not changed since before there was such a time.
        registered: models and environments of the workspace that the spec names; unset where it names none.
    """

    version: int = FORMAT
    inputs: dict[str, str] = {}
    targets: dict[str, LockedTarget] = {}
    tools: dict[str, str] = {}
    changed: Annotated[datetime, msgspec.Meta(tz=True)] | UnsetType = UNSET
    registered: Registered | UnsetType = UNSET

    @property
    def pins(self) -> Registered:
        """What is locked of the workspace; empty where nothing is."""
        return Registered() if isinstance(self.registered, UnsetType) else self.registered

    @property
    def created(self) -> int | None:
        """The time `changed` in seconds since the epoch; None where it is unset."""
        return None if isinstance(self.changed, UnsetType) else int(self.changed.timestamp())


class LockedPackage(msgspec.Struct, frozen=True, kw_only=True):
    """One package of a requirements file.

    Attributes:
        name: normalised.
        version: exact.
        digests: sha256 of its wheels (or of its sdist), 64 hex digits each.
        platforms: the platforms it is for; empty for all.
    """

    name: str
    version: str
    digests: tuple[str, ...]
    platforms: tuple[str, ...] = ()


def changes(locked: LockRequest, wanted: LockRequest) -> tuple[str, ...]:
    """Return what differs between what was locked and what is wanted now, a line each; empty when nothing does."""
    lines = []
    if locked.python != wanted.python:
        lines.append(f"python: {locked.python or 'of conda'} -> {wanted.python or 'of conda'}")
    lines += _moved("platform", _flat(locked.platforms), _flat(wanted.platforms))
    for name in ("requirements", "constraints", "build_from_source"):
        label = {"requirements": "requirement", "constraints": "constraint"}.get(name, name)
        lines += _moved(label, getattr(locked, name), getattr(wanted, name))
    lines += _moved("hash", _hashes(locked), _hashes(wanted))
    lines += _moved("source", _sources(locked), _sources(wanted))
    lines += _moved("version of the project's lock", _of_project(locked), _of_project(wanted))
    if locked.base != wanted.base:
        lines.append(f"base: {locked.base} -> {wanted.base}")
    return (*lines, *_conda_changes(locked, wanted))


def _conda_changes(locked: LockRequest, wanted: LockRequest) -> list[str]:
    before, after = locked.conda, wanted.conda
    if isinstance(before, UnsetType) or isinstance(after, UnsetType):
        if before is after:
            return []
        return ["conda packages are asked for" if isinstance(before, UnsetType) else "no conda packages are asked for"]
    lines = _moved("conda requirement", before.specs, after.specs)
    if before.channels != after.channels:
        lines += _moved("channel", before.channels, after.channels) or [
            f"order of channels: {', '.join(before.channels)} -> {', '.join(after.channels)}"
        ]
    if before.channel_priority != after.channel_priority:
        lines.append(f"channel priority: {before.channel_priority} -> {after.channel_priority}")
    for platform in sorted(before.virtual_packages.keys() & after.virtual_packages.keys()):
        old, new = before.virtual_packages[platform], after.virtual_packages[platform]
        lines += [
            f"virtual package {name} ({platform}): {old.get(name, 'none')} -> {new.get(name, 'none')}"
            for name in sorted(old.keys() | new.keys())
            if old.get(name) != new.get(name)
        ]
    lines += _moved("name map", _pairs(before.names), _pairs(after.names))
    if locked.installer != wanted.installer:
        lines.append(f"installer: {locked.installer} -> {wanted.installer}")
    return lines


def _pairs(names: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(f"{conda}: {pypi}" for conda, pypi in sorted(names.items()))


def _hashes(request: LockRequest) -> tuple[str, ...]:
    named = {} if isinstance(request.hashes, UnsetType) else request.hashes
    return tuple(f"{line} sha256:{digest}" for line, digests in named.items() for digest in digests)


def _sources(request: LockRequest) -> tuple[str, ...]:
    if isinstance(request.sources, UnsetType):
        return ()
    named = [f"{name} from {place}" for name, places in request.sources.packages.items() for place in places]
    default = request.sources.default
    return (
        *named,
        *(f"index {each}" for each in request.sources.indexes),
        *([f"default index {default}"] * bool(default)),
    )


def _of_project(request: LockRequest) -> tuple[str, ...]:
    named = {} if isinstance(request.versions, UnsetType) else request.versions
    return tuple(f"{name} {version}" for name, versions in named.items() for version in versions)


def _flat(platforms: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(f"{platform} ({tags})" for platform, tags in sorted(platforms.items()))


def _moved(label: str, before: tuple[str, ...], after: tuple[str, ...]) -> list[str]:
    gone = [f"{label} removed: {each}" for each in before if each not in after]
    return gone + [f"{label} added: {each}" for each in after if each not in before]


class Move(msgspec.Struct, frozen=True, kw_only=True):
    """What happened to one package of a target when it was locked anew.

    Attributes:
        name: normalised.
        before: version so far, with its platforms in parentheses where it is not for all; `None` when it is new.
        after: version now; `None` when it is gone; equal to `before` when other files of the same version are taken.
        manager: who installs it, `pip` or `conda`.
    """

    name: str
    before: str | None
    after: str | None
    manager: str = "pip"


def moves(before: Iterable[LockedPackage], after: Iterable[LockedPackage]) -> tuple[Move, ...]:
    """Return what differs between two lists of packages, sorted by name."""
    old, new = _by_name(before), _by_name(after)
    return tuple(
        Move(name=name, before=_versions(old.get(name)), after=_versions(new.get(name)))
        for name in sorted({*old, *new})
        if old.get(name) != new.get(name)
    )


def _by_name(packages: Iterable[LockedPackage]) -> dict[str, tuple[LockedPackage, ...]]:
    found: dict[str, tuple[LockedPackage, ...]] = {}
    for package in packages:
        found[package.name] = (*found.get(package.name, ()), package)
    return found


def _versions(packages: tuple[LockedPackage, ...] | None) -> str | None:
    if not packages:
        return None
    parts = [each.version + (f" ({', '.join(each.platforms)})" if each.platforms else "") for each in packages]
    return ", ".join(parts)


def conda_moves(before: Iterable[CondaPackage], after: Iterable[CondaPackage]) -> tuple[Move, ...]:
    """Return what differs between the conda packages of two locks, sorted by name; builds where these alone differ."""
    old, new = _by_conda_name(before), _by_conda_name(after)
    found = []
    for name in sorted({*old, *new}):
        was, now = old.get(name, ()), new.get(name, ())
        if [_identity(each) for each in was] == [_identity(each) for each in now]:
            continue
        texts = _conda_versions(was, builds=False), _conda_versions(now, builds=False)
        if texts[0] == texts[1]:
            texts = _conda_versions(was, builds=True), _conda_versions(now, builds=True)
        found.append(Move(name=name, before=texts[0], after=texts[1], manager="conda"))
    return tuple(found)


def _identity(package: CondaPackage) -> tuple[str, ...]:
    return package.platform, package.version, package.build, package.sha256


def _by_conda_name(packages: Iterable[CondaPackage]) -> dict[str, tuple[CondaPackage, ...]]:
    found: dict[str, tuple[CondaPackage, ...]] = {}
    for package in sorted(packages, key=lambda each: (each.name, each.platform)):
        found[package.name] = (*found.get(package.name, ()), package)
    return found


def _conda_versions(packages: tuple[CondaPackage, ...], *, builds: bool) -> str | None:
    """Return `2.3.1`, or each version with its platforms where these have different ones."""
    found: dict[str, list[str]] = {}
    for each in packages:
        found.setdefault(f"{each.version} {each.build}" if builds else each.version, []).append(each.platform)
    if len(found) > 1:
        return ", ".join(f"{version} ({', '.join(platforms)})" for version, platforms in found.items())
    return next(iter(found), None)
