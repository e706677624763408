"""`templates/<target>.toml` → `Target`: a deployment flavour as data."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from packager.errors import SpecError
from packager.images.reference import Reference
from packager.resources import data_folder

# OCI architecture (and variant) → what `platform.machine()` says there: the same names but for these.
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64", "arm64/v8": "aarch64", "386": "i686"}
_ARM = re.compile(r"arm/(v[0-9]+)")


class TargetFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a `<target>.toml` holds; the comments of `templates/cpu.toml` explain each field."""

    description: str
    template: str
    platforms: Annotated[tuple[str, ...], Meta(min_length=1)]
    wheels: dict[str, str]
    bases: dict[str, str]
    env: dict[str, str] = {}
    conda: CondaFile | None = None


class CondaFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The table `[conda]` of a `<target>.toml`."""

    base: str
    virtual_packages: dict[str, str]
    installers: dict[str, str]


class CondaTarget(msgspec.Struct, frozen=True, kw_only=True):
    """What a target has for environments of conda.

    Attributes:
        base: the image under the environment, with digest; it needs no Python.
        virtual_packages: name (`__cuda`) → version: what the target promises about every machine that it runs on.
        installers: `rattler` and `micromamba` → image of the stage that installs, with digest.
    """

    base: Reference
    virtual_packages: dict[str, str]
    installers: dict[str, Reference]


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """A deployment flavour.

    Attributes:
        name: from the file's name.
        description: one line for people.
        template: file name of its Dockerfile template.
        platforms: what a spec gets that names none.
        wheels: platform → wheel tags in uv's words (`x86_64-manylinux_2_28`).
        bases: Python minor version → base image, with digest.
        env: environment variables of every image of this target.
        conda: for environments of conda; None where the target takes none.
    """

    name: str
    description: str
    template: str
    platforms: tuple[str, ...]
    wheels: dict[str, str]
    bases: dict[str, Reference]
    env: dict[str, str]
    conda: CondaTarget | None = None


def target_names() -> tuple[str, ...]:
    """Return the names of all targets, sorted."""
    return tuple(sorted(path.stem for path in data_folder("templates").glob("*.toml")))


def load_target(name: str) -> Target:
    """Return a target by its name.

    Raises:
        SpecError: there is none, or its file is not valid.
    """
    names = target_names()
    if name not in names:
        raise SpecError(f"unknown target {name!r}", remedy=f"targets: {', '.join(names)}")
    return read_target(data_folder("templates") / f"{name}.toml")


def read_target(path: Path) -> Target:
    """Read a target's file.

    Raises:
        SpecError: not valid TOML, or fields missing, unknown or of a wrong type.
    """
    try:
        data = msgspec.convert(tomllib.loads(path.read_text("utf-8")), TargetFile)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise SpecError(f"{path.name}: {error}", remedy="compare it with templates/cpu.toml") from None
    bases = {python: Reference.parse(text) for python, text in data.bases.items()}
    loose = [python for python, base in bases.items() if base.digest is None]
    if loose:
        raise SpecError(f"{path.name}: the base of Python {loose[0]} has no digest", remedy="pin it: NAME:TAG@sha256:…")
    missing = [platform for platform in data.platforms if platform not in data.wheels]
    if missing:
        raise SpecError(f"{path.name}: no wheel tags for {missing[0]}", remedy="add it to [wheels]")
    return Target(
        name=path.stem,
        description=data.description,
        template=data.template,
        platforms=data.platforms,
        wheels=data.wheels,
        bases=bases,
        env=data.env,
        conda=_conda(path, data.conda) if data.conda else None,
    )


def _conda(path: Path, data: CondaFile) -> CondaTarget:
    images = {"base": data.base, **data.installers}
    pinned = {name: Reference.parse(text) for name, text in images.items()}
    loose = [name for name, reference in pinned.items() if reference.digest is None]
    if loose:
        raise SpecError(f"{path.name}: [conda] {loose[0]} has no digest", remedy="pin it: NAME:TAG@sha256:…")
    base = pinned.pop("base")
    return CondaTarget(base=base, virtual_packages=data.virtual_packages, installers=pinned)


def machine(platform: str) -> str:
    """Return what `platform.machine()` says on an OCI platform (`linux/arm64` → `aarch64`)."""
    architecture = platform.partition("/")[2]
    arm = _ARM.fullmatch(architecture)
    return f"arm{arm[1]}l" if arm else _MACHINES.get(architecture, architecture)
