"""`templates/<target>.toml` → `Target`: a deployment flavour as data."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from packager.errors import SpecError
from packager.images.reference import Reference
from packager.resources import data_folder


class TargetFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a `<target>.toml` holds; the comments of `templates/cpu.toml` explain each field."""

    description: str
    template: str
    platforms: Annotated[tuple[str, ...], Meta(min_length=1)]
    wheels: dict[str, str]
    bases: dict[str, str]
    env: dict[str, str] = {}


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
    """

    name: str
    description: str
    template: str
    platforms: tuple[str, ...]
    wheels: dict[str, str]
    bases: dict[str, Reference]
    env: dict[str, str]


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
    )
