"""azureml-defaults, which nearly every v1 environment names: taken for what it stands for, where no version is asked.

It has no code of its own, and neither has azureml-sdk, which is the whole of the SDK. Newer releases of both need an
sdist (fusepy), so that a solver that takes wheels goes back to the release of 2019 without a word.
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from packager.environments.declare.requirement import INFERENCE_SERVER, requirement_name

AZUREML_DEFAULTS = "azureml-defaults"
#: What has no code of its own, and needs packages that have no wheel.
_NAMES = frozenset({AZUREML_DEFAULTS, "azureml-sdk"})
_CORE, _SCHEMA = "azureml-core", "inference-schema"

#: Modules of azureml-core that scripts import.
_MODULES = ("azureml.core", "azureml.data", "azureml.exceptions", "azureml.history")
#: Folders that hold no script of the user's.
_PASSED_OVER = frozenset({"__pycache__", "node_modules", "site-packages"})
_LARGEST = 1 << 20


def take_apart(
    requirements: Collection[str], constraints: Iterable[str], imports_core: Callable[[], bool]
) -> tuple[frozenset[str], str | None]:
    """Return the requirements with what azureml-defaults (or azureml-sdk) means in its place, and what to say of it.

    Args:
        requirements: normal forms; a pin of azureml-defaults or azureml-sdk in them stays, and so does every other one.
        constraints: normal forms; a pin of one of the two in them holds, too.
        imports_core: tells whether the scripts need azureml-core; asked where that decides.
    """
    given = frozenset(requirements)
    pins = {requirement_name(line) for line in (*given, *constraints) if _is_pin(line)}
    names = {requirement_name(line) for line in given} & _NAMES - pins
    named = {line for line in given if requirement_name(line) in names}
    if not named:
        return given, None
    asked = " and ".join(sorted(names))
    core = imports_core()
    meant = (INFERENCE_SERVER, _SCHEMA, *((_CORE,) if core else ()))
    others = {requirement_name(line) for line in given}
    added = [name for name in meant if name not in others]
    why = "the scripts import azureml.core" if core else "no script imports azureml.core"
    text = (
        f"{asked} is taken for {', '.join(meant)} ({why}): as a package it needs one that has no wheel; "
        f"a version that you pin, such as {min(names)}==1.62.0, is taken as it stands"
    )
    return (given - named) | frozenset(added), text


def _is_pin(line: str) -> bool:
    # A lower bound alone says that any newer one will do; and there is no release of 2 or later to be held back from.
    said = re.sub(r"<=?(?:[2-9]|[1-9]\d+)(?:\.\d+)*(?=,|$)", "", line.partition(";")[0].strip())
    return re.search(r"==|~=|<|@", said) is not None


def imports_core(folder: Path) -> bool:
    """Whether a script below a folder imports what azureml-core brings; they are read, and never run."""
    for holder, folders, files in os.walk(folder):
        folders[:] = [each for each in folders if not each.startswith(".") and each not in _PASSED_OVER]
        paths = (Path(holder) / each for each in files if each.endswith(".py"))
        if any(_imports_core(path) for path in paths):
            return True
    return False


def _imports_core(path: Path) -> bool:
    try:
        if not path.is_file() or path.stat().st_size > _LARGEST:
            return False
        text = path.read_bytes()
        # Parsing takes a hundred times as long as this look.
        tree = ast.parse(text) if b"azureml" in text else None
    except (OSError, SyntaxError, ValueError, RecursionError):
        return False  # `check` tells what is wrong with it
    names = (name for node in ast.walk(tree) for name in _imported(node)) if tree is not None else iter(())
    return any(f"{name}.".startswith(tuple(f"{each}." for each in _MODULES)) for name in names)


def _imported(node: ast.AST) -> tuple[str, ...]:
    if isinstance(node, ast.Import):
        return tuple(alias.name for alias in node.names)
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        return (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))
    return ()
