"""The step `init`: what a folder tells of itself → a commented spec."""

from __future__ import annotations

from pathlib import Path

from packager.errors import SpecError
from packager.init.look import Found, look
from packager.init.starter import starter_spec
from packager.spec.find import spec_in
from packager.spec.load import SCHEMA_NAME, parse_spec
from packager.spec.schema import json_schema, schema_text
from packager.steps.taking_over import write_ignores
from packager.storage.files import write_text

__all__ = ["Found", "init"]


def init(folder: Path, *, entry_script: str | None = None, force: bool = False) -> tuple[Path, Found]:
    """Write a commented spec for a folder, with its JSON Schema beside it for editors; nothing in it is run.

    Args:
        folder: with an entry script, or a model that needs none.
        entry_script: relative to the folder; found by its syntax where None.
        force: replace a spec that is there.

    Returns:
        the path of the spec, and what was found.

    Raises:
        SpecError: there is a spec already; the folder has no entry script and no model, or several scripts.
    """
    path = spec_in(folder)
    if path.exists() and not force:
        raise SpecError(f"{path} exists", remedy="edit it, or replace it with --force")
    found = look(folder, entry_script)
    text = f"# yaml-language-server: $schema={SCHEMA_NAME}\n{starter_spec(found)}"
    parse_spec(text, path)  # what we write is held to what we read
    write_text(path, text)
    # Beside the spec, where every editor of every checkout finds it: packager has no server that serves it.
    write_text(folder / SCHEMA_NAME, schema_text(json_schema()))
    write_ignores(folder, found)
    return path, found
