"""What a user has set for this machine: in environment variables, or in `~/.config/packager/config.yaml`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from packager.errors import UsageError
from packager.units import parse_size


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of the file; `cache_limit` is a size (`20GB`), of which `PACKAGER_CACHE_LIMIT` takes the place."""

    cache_limit: str | int | None = None


def settings_file(environ: Mapping[str, str]) -> Path:
    """Return where the file is: in `$XDG_CONFIG_HOME/packager`, below `~/.config` when unset."""
    # The XDG base directory specification: a relative path is invalid and to be ignored.
    folder = environ.get("XDG_CONFIG_HOME", "")
    return (Path(folder) if folder.startswith("/") else Path.home() / ".config") / "packager/config.yaml"


def read_settings(path: Path) -> Settings:
    """Return what a file sets; nothing where it is not there.

    Raises:
        SpecError: it cannot be read, or is not YAML.
        UsageError: it has a key that there is not, or a value of another type.
    """
    if not path.exists():
        return Settings()
    # Imported late: most people have no such file.
    from packager.spec.document import parse_yaml, read_text

    try:
        return msgspec.convert(parse_yaml(read_text(path), path).data, Settings)
    except msgspec.ValidationError as error:
        raise UsageError(f"{path}: {error}", remedy="it may have the key `cache_limit`, a size: 20GB") from None


def cache_limit(environ: Mapping[str, str]) -> int | None:
    """Return how many bytes packager may keep on this machine; None where the user has set no limit.

    Raises:
        SpecError, UsageError: the file of settings cannot be read, or the limit is no size.
    """
    if text := environ.get("PACKAGER_CACHE_LIMIT"):
        return parse_size(text, "PACKAGER_CACHE_LIMIT")
    path = settings_file(environ)
    limit = read_settings(path).cache_limit
    return None if limit is None else parse_size(str(limit), f"cache_limit in {path}")
