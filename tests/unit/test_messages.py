"""Every error's sentence has a subject: the place stands below it, and in JSON elsewhere."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import packager
from packager import errors

#: Words that no sentence begins with, but one whose subject is missing.
_VERBS = ("is", "has", "holds", "was", "does", "did", "could", "names", "cannot be")
_OURS = {name for name, each in vars(errors).items() if isinstance(each, type) and name.endswith("Error")}


def _beginnings(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line and first words of the message of each error that a module raises."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in _OURS and node.args:
            (message, *_) = node.args
            if isinstance(message, ast.JoinedStr) and message.values:
                message = message.values[0]
            if isinstance(message, ast.Constant) and isinstance(message.value, str):
                yield node.lineno, message.value


def test_no_sentence_is_without_its_subject() -> None:
    root = Path(packager.__file__).parent
    found = [(path, line, text) for path in sorted(root.rglob("*.py")) for line, text in _beginnings(path)]
    assert len(found) > 400, "the sentences are found"
    lacking = [
        f"{path.relative_to(root)}:{line}: {text}"
        for path, line, text in found
        if text.startswith(tuple(f"{verb} " for verb in _VERBS))
    ]
    assert not lacking, "\n".join(lacking)
