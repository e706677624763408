"""The lock on one platform, as one value: made where locks are read, taken by all that plans, lays down or exports."""

from __future__ import annotations

import hashlib

import msgspec

from packager.environments.conda import SUBDIRS, CondaPackage
from packager.environments.lock import LockedPackage
from packager.spec.model import canonical


class LockedCondaHalf(msgspec.Struct, frozen=True, kw_only=True):
    """What conda brings on one platform.

    Attributes:
        packages: conda's, of this platform.
        channels: as they were asked for, the first with the highest priority.
        digest: `sha256:…` of the conda-lock file, which may hold other platforms, too.
        installer: image of the stage that lays them down, with its digest.
    """

    packages: tuple[CondaPackage, ...]
    channels: tuple[str, ...]
    digest: str
    installer: str


class LockedPlatform(msgspec.Struct, frozen=True, kw_only=True):
    """What a lock holds for one platform of a target.

    Attributes:
        target: name of the target.
        platform: OCI os/arch.
        tags: the wheel tags that the platform can load, in uv's words (`x86_64-manylinux_2_28`).
        python: minor version: conda's where conda brings Python, else the one that was asked for.
        base: the base image with its digest.
        packages: pip's, of this platform alone; their `platforms` are empty.
        from_source: names that are built from an sdist.
        requirements_digest: `sha256:…` of the requirements file, which may hold other platforms, too.
        lock_digest: `sha256:…` of this target's part of `packager.lock`.
        conda: conda's half; None for an environment of pip alone.
        variables: environment variables that the environment declares.
    """

    target: str
    platform: str
    tags: str
    python: str
    base: str
    packages: tuple[LockedPackage, ...] = ()
    from_source: tuple[str, ...] = ()
    requirements_digest: str = ""
    lock_digest: str = ""
    conda: LockedCondaHalf | None = None
    variables: dict[str, str] = {}

    @property
    def conda_packages(self) -> tuple[CondaPackage, ...]:
        """The packages of conda's half; none for an environment of pip alone."""
        return self.conda.packages if self.conda else ()

    @property
    def size(self) -> int:
        """How many packages there are, of both halves."""
        return len(self.conda_packages) + len(self.packages)

    @property
    def subdir(self) -> str:
        """The platform in conda's words (`linux-64`)."""
        return SUBDIRS[self.platform]

    @property
    def versions(self) -> dict[str, str]:
        """Name → version of every package; pip's stand before conda's of the same name."""
        conda = {package.name: package.version for package in self.conda_packages}
        return conda | {package.name: package.version for package in self.packages}

    @property
    def content_key(self) -> str:
        """32 hex digits of what is installed; equal for locks that differ in names, images or variables alone."""
        values = (self.platform, self.python, self.conda_packages, self.packages, self.from_source)
        return hashlib.sha256(canonical(values)).hexdigest()[:32]
