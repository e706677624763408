"""What a folder tells in other ways than packager reads: said, so that nobody wonders why it was not taken."""

from __future__ import annotations

import ast
import json
import posixpath
import re
import tomllib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from packager.environments.declare.poetry import has_own_dependencies, project_of

#: Files of requirements by their use, the likeliest to be that of a service first.
_USES = ("prod", "production", "serving", "inference", "deploy", "main", "base", "common")
_LOOSE = re.compile(r"(?:[^/]+/)*(?:requirements[^/]*|requirements/[^/]+)\.(?:txt|in)")
_WRITES = re.compile(r"^%%writefile\s+(?:-a\s+)?[\"']?([^\s\"']+\.py)\b", re.MULTILINE)
_WEB = re.compile(r"^\w+\s*=\s*(?:flask\.)?(Flask|FastAPI)\(", re.MULTILINE)
_PYTHON = re.compile(r"(?:^|[\[,])\s*-?\s*[\"']?python[=: \"']+(3\.\d+)", re.MULTILINE)

_Read = Callable[[Path], str]


def loose_requirements(files: Sequence[str]) -> list[str]:
    """Return requirements files that are not called by the usual name, the likeliest first."""

    def rank(path: str) -> tuple[int, int, str]:
        words = re.split(r"[^a-z]+", posixpath.basename(path).lower())
        use = next((place for place, each in enumerate(_USES) if each in words), len(_USES))
        # Of tools for developers there are many names: what is called plainly goes before all of them.
        plain = posixpath.basename(path) in ("requirements.in", "requirements.txt")
        return (-1 if plain else use), path.count("/"), path

    return sorted(filter(_LOOSE.fullmatch, files), key=rank)


def python_of_model(folder: Path, environment: str | None, read: _Read) -> str:
    """Return the Python that an MLflow model names beside the requirements that are taken of it; empty for none."""
    above = posixpath.dirname(environment or "")
    if not above or not (folder / above / "MLmodel").is_file():
        return ""
    texts = (read(folder / above / name) for name in ("python_env.yaml", "conda.yaml"))
    return next((found[1] for text in texts if (found := _PYTHON.search(text))), "")


def is_broken_entry(text: str) -> bool:
    """Whether a script is no Python of today and defines init() and run() by its lines: `check` says what is wrong."""
    if not all(re.search(rf"^def {name}\(", text, re.MULTILINE) for name in ("init", "run")):
        return False
    try:
        ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return True
    return False


def other_ways(
    folder: Path, files: Sequence[str], entries: Sequence[str], environment: str | None, read: _Read
) -> Iterator[str]:
    """Yield what is there and was not taken, and what to do about it.

    Args:
        folder: that is looked at.
        files: in it.
        entries: its entry scripts, the first of which is taken.
        environment: the file that is taken for it.
        read: gives the text of a file; empty where it has none.
    """
    if not entries:
        yield from (
            note for path in files if path.endswith(".ipynb") for note in _of_notebook(path, read(folder / path))
        )
        for path in files:
            found = _WEB.search(read(folder / path)) if path.endswith(".py") else None
            if found:
                yield f"{path}: not taken: it is a {found[1]} application; what it does goes into init() and run()"
    if environment is None:
        yield from _of_poetry(read(folder / "pyproject.toml"))
    others = [path for path in loose_requirements(files) if path != environment]
    if environment in loose_requirements(files) and others:
        yield f"{', '.join(others)}: not read by themselves, as {environment} is the environment"


def _of_notebook(path: str, text: str) -> Iterator[str]:
    try:
        cells = json.loads(text).get("cells", [])
        sources = ["".join(each["source"]) for each in cells if each.get("cell_type") == "code"]
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError):
        return
    for source in sources:
        found = _WRITES.search(source)
        if found and re.search(r"^def (?:init|run)\(", source, re.MULTILINE):
            yield f"{path}: a cell of it writes {found[1]}, which is not here: run that cell, then this again"


def _of_poetry(text: str) -> Iterator[str]:
    try:
        data = tomllib.loads(text)
        if has_own_dependencies(data):
            project_of(data)
    except tomllib.TOMLDecodeError:
        return  # who names it as the environment is told so
    except ValueError as error:
        writes = "`poetry export -o requirements.txt` (of poetry-plugin-export) writes one that is"
        yield f"pyproject.toml: not read: {error}; {writes}"
