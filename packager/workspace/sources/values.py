"""What is asked of a source, and what it gives."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from packager.errors import PackagerError, UsageError
from packager.workspace.values import Content, Resources, Source


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of a source besides its address.

    Attributes:
        sha256: of the file (64 hex digits), of `https://`.
        allow: patterns of paths as `fnmatch` has them; all files where empty. Of `hf://`, as `ignore`.
        ignore: patterns of paths that are not taken.
    """

    sha256: str | None = None
    allow: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()


class Fetched(msgspec.Struct, frozen=True, kw_only=True):
    """A model that was fetched, and what its source tells besides what its files do.

    Attributes:
        path: of its file or folder, under its own name: in the scratch folder, or where it is for a path.
        files: of it, where the source itself has their paths; empty where they follow from `path`.
        source: where it comes from; None for a path of this machine.
        framework: None where only the files tell.
        framework_version: that saved it.
        details: in plain JSON values, by the source's own words.
        samples: requests that it takes.
        run_id: of the run that made it.
        name: that it has there; empty where the source knows none.
        description: for people.
        tags: that it has there.
        properties: that it has there.
        resources: what a service wants.
        kept: folder of the cache from which another try would take it; see `packager.workspace.sources.forget`.
    """

    path: Path
    files: tuple[Content, ...] = ()
    source: Source | None = None
    framework: str | None = None
    framework_version: str | None = None
    details: dict[str, Any] = {}
    samples: tuple[Content, ...] = ()
    run_id: str | None = None
    name: str = ""
    description: str = ""
    tags: dict[str, str] = {}
    properties: dict[str, str] = {}
    resources: Resources | None = None
    kept: Path | None = None


def missing_extra(extra: str, scheme: str) -> PackagerError:
    """Return the error for a client that is not installed.

    Args:
        extra: of this project.
        scheme: that needs it, as people write it.
    """
    return UsageError(f"{scheme} needs a package that is not installed", remedy=f"pip install 'packager[{extra}]'")


def is_safe_path(path: str) -> bool:
    """Whether a path that somebody else names stays below a folder, and is plain text with `/`."""
    parts: Sequence[str] = path.split("/")
    return all(part not in ("", ".", "..") and "\\" not in part for part in parts) and path.isprintable()
