"""Which files scripts name in their text. Pure.

It is looked for the other way round than who opens what: a file that no text names, by its name or by a folder that
holds it, is hardly opened. What is put together of pieces (f"samples/{name}.json") names the folder.
"""

from __future__ import annotations

import ast
import posixpath
import re
from collections.abc import Collection, Iterable, Iterator
from fnmatch import fnmatchcase

#: Ends of names of what may name files: scripts, and configurations that they read.
NAMING = (".py", ".json", ".yaml", ".yml", ".toml", ".ini", ".cfg", ".conf")
_MAX_TEXT = 4096
_LOOKED_UP = frozenset({"get", "pop", "setdefault"})


def named_files(
    paths: Collection[str], texts: Iterable[tuple[str, bytes]], without: Collection[str] = ()
) -> frozenset[str]:
    """Return the files that scripts and configurations name.

    Args:
        paths: of files, relative to the folder of the scripts.
        texts: path and content of each that may name one; of what is no Python file, only whole names count, as of a
            script that is not valid.
        without: texts of scripts that name something else.
    """
    found: set[str] = set()
    for file, source in texts:
        left = [path for path in paths if path not in found and path != file]
        if not left:
            continue
        if not file.endswith(".py"):
            found.update(path for path in left if posixpath.basename(path).encode() in source)
            continue
        parts = {part for text in _texts(source) if text not in without for part in re.split(r"[/\\]", text)}
        patterns = [part for part in parts if "*" in part]
        found.update(path for path in left if _is_named(path, parts, patterns))
    return frozenset(found)


def _is_named(path: str, parts: Collection[str], patterns: Collection[str]) -> bool:
    *folders, name = posixpath.normpath(path).split("/")
    stem, ending = posixpath.splitext(name)
    if name in parts or any(each in parts for each in folders) or any(fnmatchcase(name, each) for each in patterns):
        return True
    return bool(ending) and ending in parts and stem in parts


def _texts(source: bytes) -> Iterator[str]:
    """Iterate over the texts of a script, but for keys, which are names of fields."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        yield from re.findall(r"[\w.*-]+", source.decode("utf-8", "replace"))
        return
    keys = {id(key) for node in ast.walk(tree) for key in _keys(node)}
    for node in ast.walk(tree):
        text = node.value if isinstance(node, ast.Constant) and id(node) not in keys else None
        if isinstance(text, str) and len(text) <= _MAX_TEXT:
            yield text


def _keys(node: ast.AST) -> Iterable[ast.expr | None]:
    if isinstance(node, ast.Subscript):
        return [node.slice]
    if isinstance(node, ast.Dict):
        return node.keys
    looks_up = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _LOOKED_UP
    return node.args[:1] if looks_up and isinstance(node, ast.Call) else []
