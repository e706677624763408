"""The conda half of an environment as values: what is asked, and what was locked. Pure."""

from __future__ import annotations

from typing import Literal

import msgspec

#: OCI platform → conda's word for it. Source: the subdirs that `conda.base.constants` and py-rattler know.
SUBDIRS = {
    "linux/386": "linux-32",
    "linux/amd64": "linux-64",
    "linux/arm/v6": "linux-armv6l",
    "linux/arm/v7": "linux-armv7l",
    "linux/arm64": "linux-aarch64",
    "linux/arm64/v8": "linux-aarch64",
    "linux/ppc64le": "linux-ppc64le",
    "linux/riscv64": "linux-riscv64",
    "linux/s390x": "linux-s390x",
}

Priority = Literal["strict", "flexible", "disabled"]


class CondaDeclaration(msgspec.Struct, frozen=True, kw_only=True):
    """What an environment asks of conda, in normal form.

    Attributes:
        specs: match specs, sorted, without repetition; `python` is among them.
        channels: in the order of their priority, without credentials; `nodefaults` is gone.
    """

    specs: tuple[str, ...]
    channels: tuple[str, ...]


class CondaRequest(msgspec.Struct, frozen=True, kw_only=True):
    """All that a conda solve depends on.

    Attributes:
        specs: as declared.
        channels: as declared.
        channel_priority: between them.
        virtual_packages: platform → name (`__glibc`) → version: what the target promises. `__unix`, `__linux` and
            `__archspec` are among them; a version may be followed by `=build`.
        names: conda name → PyPI name, of the user's map.
    """

    specs: tuple[str, ...]
    channels: tuple[str, ...]
    channel_priority: Priority = "strict"
    virtual_packages: dict[str, dict[str, str]]
    names: dict[str, str] = {}


class CondaPackage(msgspec.Struct, frozen=True, kw_only=True):
    """One package of a conda lock, for one platform.

    Attributes:
        name: conda's.
        version: exact.
        build: build string (`py313h5f3_0`).
        platform: OCI os/arch that it was solved for; a noarch package is listed for each.
        url: of the very file, without credentials; never of a mirror.
        sha256: of that file, 64 hex digits.
        md5: of that file, 32 hex digits; empty where the channel names none.
        depends: match specs of what it needs.
    """

    name: str
    version: str
    build: str
    platform: str
    url: str
    sha256: str
    md5: str = ""
    depends: tuple[str, ...] = ()

    @property
    def file_name(self) -> str:
        """`numpy-2.3.1-py313h5f3_0.conda`."""
        return self.url.rpartition("/")[2]

    @property
    def subdir(self) -> str:
        """`linux-64` or `noarch`: the folder that the file stands in."""
        return self.url.rpartition("/")[0].rpartition("/")[2]

    @property
    def channel(self) -> str:
        """URL of the channel: what comes before the subdir."""
        return self.url.rpartition("/")[0].rpartition("/")[0]


class LockedConda(msgspec.Struct, frozen=True, kw_only=True):
    """The conda half of a target's lock.

    Attributes:
        file: path of the conda-lock file, relative to the folder of the spec.
        digest: of that file, as `sha256:…`.
        installer: image of the stage that installs it, with its digest.
        provides: PyPI name → name of the conda package that stands for it: pip installs none of these again.
    """

    file: str
    digest: str
    installer: str
    provides: dict[str, str] = {}


class SolvedConda(msgspec.Struct, frozen=True, kw_only=True):
    """What a conda solve found, for all platforms of a target.

    Attributes:
        packages: sorted by name and platform.
        provides: as in `LockedConda`.
    """

    packages: tuple[CondaPackage, ...]
    provides: dict[str, str] = {}


class Provided(msgspec.Struct, frozen=True, kw_only=True):
    """What conda provides to pip's half on one platform, which is solved around it.

    Attributes:
        python: version in full (`3.13.5`).
        versions: PyPI name → version, of what conda brings as PyPI has it.
    """

    python: str
    versions: dict[str, str] = {}


def provided_by(solved: SolvedConda, platform: str) -> Provided:
    """Return what a solve for pip must take as given on a platform."""
    versions = {each.name: each.version for each in solved.packages if each.platform == platform}
    return Provided(
        python=versions["python"],
        versions={name: versions[conda] for name, conda in sorted(solved.provides.items()) if conda in versions},
    )


def minor(version: str) -> str:
    """Return `3.13` of `3.13.5`."""
    return ".".join(version.split(".")[:2])
