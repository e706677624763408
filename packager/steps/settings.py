"""What a user has set for this machine: in environment variables, or in `~/.config/packager/config.yaml`.

What others get follows from the spec alone: nothing of this reaches a lock, a saved context or a bake file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from packager.decoding import convert
from packager.errors import Location, PackagerError, SpecError, UsageError
from packager.reference import Reference, parse_mirrors
from packager.spec.document import Document, parse_yaml, read_text
from packager.spec.load import SpecFile, typed
from packager.storage.files import write_text
from packager.units import parse_size

#: Setting → the variable that goes before the file.
VARIABLES = {
    "registry": "PACKAGER_REGISTRY",
    "mirrors": "PACKAGER_REGISTRY_MIRROR",
    "base": "PACKAGER_BASE",
    "builder": "PACKAGER_BUILDER",
    "compression": "PACKAGER_COMPRESSION",
    "cache_limit": "PACKAGER_CACHE_LIMIT",
    "workspace": "PACKAGER_WORKSPACE",
}


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A user's defaults, under options and variables.

    Attributes:
        registry: where images of specs go that name no `image.repository`: this and the spec's name.
        mirrors: a registry's host → the host to ask in its place, before those of a spec.
        base: what `--base` is without it, for specs that name no base; for images that are built here.
        builder: what `--builder` is without it.
        compression: what `--compression` is without it, for specs that name none.
        cache_limit: a size (`20GB`); `build` keeps the cache below it.
        workspace: where models and environments are registered where nothing else says it: a name, a path, or
            `oci://registry/prefix`; `packager workspace use` writes it.
    """

    registry: Annotated[str, Meta(min_length=1, max_length=255)] | None = None
    mirrors: dict[str, str] = {}
    base: Annotated[str, Meta(min_length=1, max_length=512)] | None = None
    builder: Annotated[str, Meta(min_length=1, max_length=128)] = "auto"
    compression: Literal["gzip", "zstd", "none"] | None = None
    cache_limit: str | int | None = None
    workspace: Annotated[str, Meta(min_length=1, max_length=4096)] | None = None


#: For the JSON Schema, as `packager.spec.examples` has those of the spec.
EXAMPLES = {
    "registry": "registry.example.com/team",
    "mirrors": {"docker.io": "mirror.example.com"},
    "base": "registry.example.com/python:3.13",
    "builder": "oci",
    "compression": "zstd",
    "cache_limit": "20GB",
    "workspace": "oci://registry.example.com/ml",
}


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """One setting as it holds now.

    Attributes:
        name: its key in the file.
        value: that holds; null where none is set.
        origin: `default`, the name of a variable, or the file with its line.
        variable: that goes before the file.
    """

    name: str
    value: Any
    origin: str
    variable: str


def settings_file(environ: Mapping[str, str]) -> Path:
    """Return where the file is: in `$XDG_CONFIG_HOME/packager`, below `~/.config` when unset."""
    # The XDG base directory specification: a relative path is invalid and to be ignored.
    folder = environ.get("XDG_CONFIG_HOME", "")
    return (Path(folder) if folder.startswith("/") else Path.home() / ".config") / "packager/config.yaml"


def read_settings(path: Path) -> Settings:
    """Return what a file sets; nothing where it is not there, or has comments alone.

    Raises:
        SpecError: with its line: it cannot be read, is not YAML, has a key that there is not, or a wrong value.
    """
    document = _document(path)
    return Settings() if document is None else _checked(document)


def current_settings(environ: Mapping[str, str]) -> Settings:
    """Return what holds on this machine: variables before the file; of mirrors, registry by registry.

    Raises:
        SpecError: the file is wrong (see `read_settings`).
        UsageError: a variable is.
    """
    return convert({each.name: each.value for each in show_settings(environ)}, Settings)


def show_settings(environ: Mapping[str, str]) -> tuple[Setting, ...]:
    """Return every setting, with where it comes from.

    Raises:
        SpecError, UsageError: see `current_settings`.
    """
    path = settings_file(environ)
    document = _document(path)
    settings = Settings() if document is None else _checked(document)
    shown = []
    for name, variable in VARIABLES.items():
        value = getattr(settings, name)
        origin = f"{path}:{document.lines[name]}" if document is not None and name in document.data else "default"
        if text := environ.get(variable):
            given = parse_mirrors(text) if name == "mirrors" else text
            origin = f"{variable}, {origin}" if name == "mirrors" and value else variable
            value = {**value, **given} if isinstance(given, dict) else given
            _require(name, value, variable)
        shown.append(Setting(name=name, value=value, origin=origin, variable=variable))
    return tuple(shown)


def with_settings(spec_file: SpecFile, settings: Settings) -> SpecFile:
    """Return a spec with a user's defaults where it says nothing itself, for images that this machine builds and runs.

    None of them changes a file of the image: its name, how layers are compressed, and what `--base` does for a run.
    """
    spec, lines = spec_file.spec, spec_file.document.lines
    if settings.registry is not None and spec.image.repository is None:
        repository = f"{settings.registry.rstrip('/')}/{spec.name}"
        spec = msgspec.structs.replace(spec, image=msgspec.structs.replace(spec.image, repository=repository))
    if settings.compression is not None and "compression" not in lines:
        spec = msgspec.structs.replace(spec, compression=settings.compression)
    named = spec.base is not None or any(spec.target_options(name).base for name in spec.target_names)
    return msgspec.structs.replace(spec_file, spec=spec, other_base=None if named else settings.base)


def cache_limit(environ: Mapping[str, str]) -> int | None:
    """Return how many bytes packager may keep on this machine; None where the user has set no limit.

    Raises:
        SpecError, UsageError: the file of settings cannot be read, or the limit is no size.
    """
    if text := environ.get(VARIABLES["cache_limit"]):
        return parse_size(text, VARIABLES["cache_limit"])
    path = settings_file(environ)
    limit = read_settings(path).cache_limit
    return None if limit is None else parse_size(str(limit), f"cache_limit in {path}")


def write_workspace(path: Path, wish: str) -> None:
    """Put a workspace into a file of settings, which is made when needed; all else in it stays as it is written.

    Raises:
        SpecError: the file is not valid, or has that key in a form in which no line can be replaced.
        UsageError, ContextError: it cannot be written.
    """
    text = read_text(path) if path.exists() else ""
    document = _document(path)
    lines = text.splitlines()
    line = f"workspace: {json.dumps(wish, ensure_ascii=False)}"
    if document is not None and "workspace" in document.data:
        lines[document.lines["workspace"] - 1] = line
    else:
        lines.append(line)
    new = "\n".join(lines) + "\n"
    before = {} if document is None else dict(document.data)
    try:
        written = parse_yaml(new, path).data
    except SpecError:
        written = {}
    if dict(written) != {**before, "workspace": wish}:
        where = Location(file=str(path)) if document is None else document.at("workspace")
        raise SpecError("it cannot be changed without changing more", where=where, remedy=f"write it yourself: {line}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None
    # People keep such files elsewhere, and link them to where programs look.
    write_text(path.resolve(), new)


def _document(path: Path) -> Document | None:
    if not path.exists():
        return None
    text = read_text(path)
    lines = (line.strip() for line in text.splitlines())
    return parse_yaml(text, path) if any(line and not line.startswith("#") for line in lines) else None


def _checked(document: Document) -> Settings:
    settings = typed(document, Settings)
    for name in document.data:
        value = getattr(settings, name)
        try:
            if value is not None:
                _require(name, value, f"{name} in {document.path}")
        except PackagerError as error:
            raise SpecError(error.message, where=document.at(name), remedy=error.remedy) from None
    return settings


def _require(name: str, value: Any, shown: str) -> None:
    """Refuse what a type cannot tell."""
    if name == "cache_limit":
        parse_size(str(value), shown)
    elif name == "compression" and value not in ("gzip", "zstd", "none"):
        raise UsageError(f"{shown}: {value!r} is no compression", remedy="gzip, zstd or none")
    elif name == "registry":
        host = value.partition("/")[0]
        if not ("." in host or ":" in host or host == "localhost"):
            raise UsageError(
                f"{shown}: {value!r} begins with no registry's host", remedy="such as registry.example.com/team"
            )
        Reference.parse(f"{value.rstrip('/')}/x")
    elif name == "mirrors":
        # One text for all, as the variable has them: a comma or a space in one would make two.
        for registry, mirror in value.items():
            if re.search(r"[,=\s]", registry + mirror):
                raise UsageError(f"{shown}: {registry}: {mirror!r} is no host", remedy="such as mirror.example.com")
            try:
                parse_mirrors(f"{registry}={mirror}")
            except UsageError as error:
                message = error.message.removeprefix(f"{VARIABLES[name]}: ")
                raise UsageError(f"{shown}: {message}", remedy=error.remedy) from None
