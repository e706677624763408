"""Conda environment files, and the same written into the spec → what they ask, in normal form.

Source of the format: conda's documentation, "Managing environments", and what conda-lock and micromamba read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from packager.contract import ENVIRONMENT_PREFIX
from packager.environments.declare.match_spec import Placed, parse_match_spec
from packager.environments.declare.package_sources import plain_sources
from packager.environments.declare.requirement import canonical_name
from packager.environments.declare.requirements_txt import RequirementsReader, note
from packager.environments.lock import PackageSources
from packager.errors import Location, SpecError
from packager.spec.channel import check_channel
from packager.spec.document import Document, parse_yaml, read_text
from packager.spec.model import InlineEnvironment
from packager.spec.rules import check_variable

#: Where packages come from when nothing is said.
DEFAULT_CHANNEL = "conda-forge"
#: What an environment file may have on its top level.
KEYS = ("name", "channels", "dependencies", "variables", "prefix", "platforms", "category")
#: What conda-lock calls packages that are needed where the program runs.
MAIN = "main"

# What conda-lock and conda-build read in a comment; to conda itself, and to YAML, it is one.
_SELECTOR = re.compile(r"^\s*-\s.*#\s*(\[[^\]]+\])\s*$")
_CONDA_NAME = re.compile(r"[a-z0-9_][a-z0-9_.-]*")
_PYPI_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """What one declaration asks, before anything is put together.

    Attributes:
        specs: in the order met.
        channels: normal forms, in the order of their priority; empty where none is named.
        requirements: pip's, normal forms, in the order met.
        constraints: pip's, normal forms, in the order met.
        hashes: requirement or constraint → the sha256 that its `--hash=` admit.
        sources: indexes that are named for them.
        versions: those of the project's own lock, as `project_lock.read_versions` gives them.
        files: each file that was read, relative to the folder of the spec.
        variables: environment variables.
        notes: what was passed over, each with its place.
    """

    specs: tuple[Placed, ...] = ()
    channels: tuple[str, ...] = ()
    requirements: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    hashes: dict[str, frozenset[str]] = {}
    sources: PackageSources = PackageSources()
    versions: dict[str, tuple[str, ...]] = {}
    files: tuple[Path, ...] = ()
    variables: dict[str, str] = {}
    notes: tuple[str, ...] = ()


def requirements_parts(reader: RequirementsReader) -> Parts:
    """Return what requirements files ask that a reader has read."""
    return Parts(
        requirements=tuple(reader.requirements),
        constraints=tuple(reader.constraints),
        hashes=reader.hashes,
        sources=plain_sources(reader.indexes, reader.default),
        files=tuple(reader.files),
        notes=tuple(reader.notes),
    )


def _line_of(text: str) -> int:
    found = re.search(r":(\d+): ", text)
    return int(found[1]) if found else 0


# --- files ------------------------------------------------------------------------------------------------------------


def read_conda_file(root: Path, shown: Path, path: Path) -> Parts:
    """Read a conda environment file, and the requirements files that its `pip:` section includes.

    Args:
        root: the folder that nothing may leave.
        shown: the same folder as messages name it.
        path: of the file, relative to the root.

    Raises:
        SpecError: with file, line and what to do.
    """
    text = read_text(shown / path, root)
    document = parse_yaml(text, shown / path)
    for key in document.data:
        if key not in KEYS:
            raise SpecError(
                f"unknown key {key!r}", where=document.at(key), remedy=f"an environment file has {', '.join(KEYS)}"
            )
    if document.data.get("category", MAIN) != MAIN:
        raise SpecError(
            f"its category (as conda-lock has them) is {document.data['category']!r}; images are made of {MAIN!r}",
            where=document.at("category"),
            remedy=f"name the file of the category {MAIN}, or remove `category:` where the image needs these packages",
        )
    reader = RequirementsReader(root, shown)
    reader.files.append(path)
    specs = _dependencies(document, reader, path)
    if not specs and not reader.requirements:
        raise SpecError(
            "the environment file names no dependencies",
            where=document.at("dependencies"),
            remedy="dependencies: [python=3.13, …]",
        )
    channels, notes = _channels(_texts(document, "channels"), document.at)
    found = requirements_parts(reader)
    of_file = sorted((*_ignored(document), *_selectors(text, document), *notes), key=_line_of)
    return msgspec.structs.replace(
        found,
        specs=specs,
        channels=channels,
        variables=_variables(document),
        notes=(*of_file, *found.notes),
    )


def inline_parts(inline: InlineEnvironment, at: Callable[[str], Location], root: Path, spec: Path) -> Parts:
    """Return what an environment asks that is written into the spec.

    Args:
        inline: of the spec.
        at: gives file and line of a field.
        root: the folder of the spec.
        spec: the file of the spec, as messages name it.

    Raises:
        SpecError: with file, line and what to do.
    """
    reader = RequirementsReader(root, spec.parent)
    for index, line in enumerate(inline.pip):
        reader.read_text(line, at(f"environment.pip[{index}]"), Path(spec.name))
    specs = []
    for index, line in enumerate(inline.conda):
        where = at(f"environment.conda[{index}]")
        specs.append(Placed(spec=parse_match_spec(line, where), where=where))
    channels, notes = _channels(inline.channels, lambda field: at(f"environment.{field}"))
    found = requirements_parts(reader)
    return msgspec.structs.replace(
        found, specs=tuple(specs), channels=channels, variables=inline.variables, notes=(*notes, *found.notes)
    )


def _dependencies(document: Document, reader: RequirementsReader, path: Path) -> tuple[Placed, ...]:
    """Return the match specs; the lines of `pip:` sections go to the reader."""
    specs = []
    for index, item in enumerate(_list(document, "dependencies")):
        field = f"dependencies[{index}]"
        where = document.at(field)
        if isinstance(item, str):
            specs.append(Placed(spec=parse_match_spec(item, where), where=where))
            continue
        if not isinstance(item, dict) or set(item) != {"pip"}:
            if item is None:
                raise SpecError("an item of `dependencies` is empty", where=where, remedy="remove its `-`")
            named = f"the section {next(iter(item))!r}" if isinstance(item, dict) and item else f"{item!r}"
            raise SpecError(
                f"{named} is no dependency",
                where=where,
                remedy="write packages as text, in quotes where they look like a number, and pip's under `- pip:`",
            )
        lines = item["pip"]
        for number, line in enumerate([lines] if isinstance(lines, str) else lines or ()):
            place = document.at(f"{field}.pip[{number}]")
            if line is None:
                raise SpecError("an item of `pip` is empty", where=place, remedy="remove its `-`")
            if not isinstance(line, str):
                raise SpecError(f"{line!r} is not a requirement", where=place, remedy="write it as text")
            reader.read_text(line, place, path)
    return tuple(specs)


def _list(document: Document, key: str) -> list[Any]:
    found = document.data.get(key)
    if found is None:
        return []
    if not isinstance(found, list):
        raise SpecError(f"{key!r} is not a list", where=document.at(key), remedy=f"{key}: [first, second]")
    return found


def _texts(document: Document, key: str) -> list[str]:
    found = _list(document, key)
    for index, item in enumerate(found):
        if not isinstance(item, str):
            raise SpecError(f"{item!r} is not text", where=document.at(f"{key}[{index}]"), remedy="write it in quotes")
    return found


def _channels(texts: Iterable[str], at: Callable[[str], Location]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return channels in normal form, each once, and notes of them."""
    found: dict[str, None] = {}
    notes = []
    for index, text in enumerate(texts):
        where = at(f"channels[{index}]")
        if text.strip() == "nodefaults":
            notes.append(note(where, "`nodefaults` says nothing here: only channels that are named are asked"))
            continue
        channel = check_channel(text, where)
        if text.strip() == "defaults":
            notes.append(note(where, f"`defaults` is asked for as the channel `{channel}`, Anaconda's own packages"))
        if channel.startswith("file://"):
            notes.append(note(where, f"{channel} is a folder of this machine; only where it is the lock can be used"))
        found[channel] = None
    return tuple(found), tuple(notes)


def _variables(document: Document) -> dict[str, str]:
    found = document.data.get("variables")
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise SpecError(
            "'variables' is not a mapping", where=document.at("variables"), remedy="variables: {NAME: text}"
        )
    result = {}
    for name, value in found.items():
        where = document.at(f"variables.{name}")
        # A whole number is the same text in any reading; `yes` and `1.10` are not.
        if not isinstance(value, str) and (isinstance(value, bool) or not isinstance(value, int)):
            raise SpecError(
                f"the value of {name} is not text", where=where, remedy="write it in quotes, so that YAML keeps it"
            )
        check_variable(name, str(value), where)
        result[name] = str(value)
    return result


def _ignored(document: Document) -> Iterator[str]:
    if "prefix" in document.data:
        yield note(
            document.at("prefix"), f"`prefix` is passed over: in the image the environment is at {ENVIRONMENT_PREFIX}"
        )
    if "platforms" in document.data:
        yield note(document.at("platforms"), "`platforms` is passed over: the targets of the spec say it")


def _selectors(text: str, document: Document) -> Iterator[str]:
    for number, line in enumerate(text.splitlines(), 1):
        found = _SELECTOR.match(line)
        if found:
            where = Location(file=str(document.path), line=number)
            yield note(where, f"`# {found[1]}` is a comment, as it is to conda: the line is taken for every platform")


# --- the whole --------------------------------------------------------------------------------------------------------


def all_channels(parts: Iterable[Parts]) -> tuple[str, ...]:
    """Return the channels to ask, those of earlier parts first; the default where none is named.

    A channel that stands only before a package (`channel::name`) is asked last, as by conda.
    """
    parts = tuple(parts)
    named = [channel for each in parts for channel in each.channels] or [DEFAULT_CHANNEL]
    used = [placed.spec.channel for each in parts for placed in each.specs if placed.spec.channel]
    return tuple(dict.fromkeys([*named, *used]))


def read_name_map(path: Path) -> dict[str, str]:
    """Return conda name → PyPI name, of a YAML file that a user keeps.

    Raises:
        SpecError: with file, line and what to do.
    """
    document = parse_yaml(read_text(path), path)
    result: dict[str, str] = {}
    for conda, pypi in document.data.items():
        if not _CONDA_NAME.fullmatch(conda) or not isinstance(pypi, str) or not _PYPI_NAME.fullmatch(pypi):
            raise SpecError(
                f"{conda!r} and what follows it are not names of packages",
                where=document.at(conda),
                remedy="one line a package: `conda-name: pypi-name`",
            )
        result[conda] = canonical_name(pypi)
    return result
