"""The step `import`: files of Azure ML, v1 and v2 → a commented spec, and an account of every key that they have."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Sequence
from pathlib import Path

import msgspec

from packager.errors import SpecError, UsageError
from packager.init.azure_files import AMLIGNORE, WORKSPACE_CONFIG
from packager.init.hints import Entry
from packager.init.look import Found, look
from packager.init.starter import starter_spec
from packager.spec.find import DEFAULT_FILE
from packager.spec.load import SCHEMA_NAME, parse_spec
from packager.spec.schema import json_schema, schema_text
from packager.storage.files import write_text

__all__ = ["Entry", "TakenOver", "take_over", "write_ignores"]

#: In place of a path: the text is returned, and nothing is written.
STANDARD_OUTPUT = "-"

_ENDINGS = (".json", ".yml", ".yaml", ".Dockerfile")
_NAMES = ("Dockerfile", AMLIGNORE)
_SKIPPED = ("node_modules", "__pycache__", "site-packages", "locks")


class TakenOver(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the files.

    Attributes:
        path: of the spec; None where it was not written.
        text: of the spec.
        written: the files that were written, relative to the folder of the spec.
        read: the files that were read.
        entries: what became of each key, in the order met.
    """

    path: Path | None
    text: str
    written: tuple[str, ...]
    read: tuple[str, ...]
    entries: tuple[Entry, ...]


def take_over(
    paths: Sequence[Path], output: str | None = None, *, entry_script: str | None = None, force: bool = False
) -> TakenOver:
    """Make a spec of files of Azure ML; nothing in them is run, and nothing is fetched.

    Args:
        paths: files, and folders in which such files are looked for.
        output: path of the spec, or `-` to write nothing; packager.yaml in the one folder that is named, else here.
        entry_script: relative to the folder of the spec; what the files name where None.
        force: replace a spec that is there.

    Raises:
        UsageError: nothing is named.
        SpecError: a file cannot be read or is none that can be taken over, with line and column; there is a spec
            already.
        ContextError: the spec cannot be written.
    """
    if not paths:
        raise UsageError("nothing is named to import", remedy="packager import inferenceconfig.json …")
    spec = _place(paths, output)
    write = output != STANDARD_OUTPUT
    if write and spec.exists() and not force:
        raise SpecError(f"{spec} exists", remedy="edit it, or replace it with --force; `-o -` only shows the new one")
    folder = spec.parent
    found = look(folder, entry_script, _named(paths, folder))
    head = f"# yaml-language-server: $schema={SCHEMA_NAME}\n" if write else ""
    text = head + starter_spec(found)
    parse_spec(text, spec)  # what we write is held to what we read
    written = []
    if write:
        write_text(spec, text)
        write_text(folder / SCHEMA_NAME, schema_text(json_schema()))
        written = [spec.name, SCHEMA_NAME, *write_ignores(folder, found)]
    return TakenOver(
        path=spec if write else None,
        text=text,
        written=tuple(written),
        read=tuple(found.hints.read),
        entries=(*found.hints.entries, *_ignore_entries(found)),
    )


def write_ignores(folder: Path, found: Found) -> tuple[str, ...]:
    """Write each `.amlignore` as a `.dockerignore` beside it, and return what was written, relative to the folder.

    Raises:
        ContextError: one cannot be written.
    """
    written = []
    for path, text in found.hints.ignores.items():
        beside = _beside(path)
        write_text(folder / beside, text)
        written.append(beside)
    return tuple(written)


def _beside(path: str) -> str:
    return posixpath.join(posixpath.dirname(path), ".dockerignore")


def _ignore_entries(found: Found) -> tuple[Entry, ...]:
    return tuple(
        Entry(file=path, key="", outcome="taken", field=_beside(path), reason="in Docker's syntax")
        for path in found.hints.ignores
    )


def _place(paths: Sequence[Path], output: str | None) -> Path:
    """Return where the spec is, or would be."""
    if output not in (None, STANDARD_OUTPUT):
        assert output is not None, "told apart above"
        path = Path(output)
        return path / DEFAULT_FILE if path.is_dir() else path
    return (paths[0] if len(paths) == 1 and paths[0].is_dir() else Path()) / DEFAULT_FILE


def _named(paths: Sequence[Path], folder: Path) -> tuple[str, ...]:
    """Return the files to read, relative to the folder of the spec.

    Raises:
        SpecError: there is no such file, or a folder has none.
    """
    found: list[str] = []
    for path in paths:
        if path.is_dir():
            inside = _in_folder(path)
            if not inside:
                raise SpecError(
                    f"no file of Azure ML is in {path}", remedy="name the files: packager import inferenceconfig.json …"
                )
            found += [os.path.relpath(each, folder) for each in inside]
        else:
            found.append(os.path.relpath(path, folder))
    return tuple(dict.fromkeys(each.replace(os.sep, "/") for each in found))


def _in_folder(folder: Path) -> list[Path]:
    """Return the files of a folder that can be taken over."""
    from packager.init.azure_files import can_be_read

    files: list[Path] = []
    for where, folders, names in os.walk(folder):
        folders[:] = sorted(each for each in folders if not each.startswith(".") and each not in _SKIPPED)
        files += [Path(where) / name for name in sorted(names) if name.endswith(_ENDINGS) or name in _NAMES]
        if len(files) > 20_000:
            raise SpecError(f"{folder} holds too many files", remedy="name the files that are to be imported")
    files += [folder / WORKSPACE_CONFIG] if (folder / WORKSPACE_CONFIG).is_file() else []
    return [each for each in files if can_be_read(each)]
