#!/usr/bin/env python3
"""Write packager/checks/standard_names.txt: names of the standard library that some Python from 3.8 on does not have.

They are read from the stubs (typeshed) that come with mypy, with their conditions on `sys.version_info`.
"""

from __future__ import annotations

import ast
from pathlib import Path

import mypy

MINORS = range(8, 16)
STUBS = Path(mypy.__file__).parent / "typeshed/stdlib"
OUTPUT = Path(__file__).parents[1] / "packager/checks/standard_names.txt"


def holds(test: ast.expr, minor: int) -> bool | None:
    """Return whether a condition of a stub holds on Linux for a minor version; None where it does not say."""
    if isinstance(test, ast.BoolOp):
        values = [holds(each, minor) for each in test.values]
        deciding = isinstance(test.op, ast.Or)
        return deciding if deciding in values else None if None in values else not deciding
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        inner = holds(test.operand, minor)
        return None if inner is None else not inner
    if not isinstance(test, ast.Compare):
        return None
    left, right = ast.unparse(test.left), test.comparators[0]
    if left == "sys.platform" and isinstance(right, ast.Constant):
        return (right.value == "linux") is isinstance(test.ops[0], ast.Eq)
    if left != "sys.version_info" or not isinstance(right, ast.Tuple):
        return None
    asked = ast.literal_eval(right)
    own = (3, minor)
    return own >= asked[:2] if isinstance(test.ops[0], ast.GtE) else own < asked[:2]


def names(body: list[ast.stmt], minor: int) -> set[str]:
    """Return the names that a stub gives for a minor version."""
    found: set[str] = set()
    for node in body:
        if isinstance(node, ast.If):
            value = holds(node.test, minor)
            found |= names(node.body, minor) if value is not False else set()
            found |= names(node.orelse, minor) if value is not True else set()
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.ImportFrom | ast.Import):
            for alias in node.names:
                if alias.name == "*" and isinstance(node, ast.ImportFrom):
                    found |= stub_names(node.module or "", minor)
                else:
                    found.add(alias.asname or alias.name)
        else:
            stored = (each for each in ast.walk(node) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store))
            found |= {each.id for each in stored}
    return found


def stub_names(module: str, minor: int) -> set[str]:
    """Return the names of a module of the standard library for a minor version."""
    for end in (".pyi", "/__init__.pyi"):
        path = STUBS / (module.replace(".", "/") + end)
        if path.is_file():
            return names(ast.parse(path.read_text()).body, minor)
    return set()


def main() -> None:
    """Write the file."""
    lines = []
    for path in sorted(STUBS.rglob("*.pyi")):
        module = path.relative_to(STUBS).with_suffix("").as_posix().removesuffix("/__init__").replace("/", ".")
        by_minor = {minor: {each for each in stub_names(module, minor) if not each.startswith("_")} for minor in MINORS}
        some = set.union(*by_minor.values()) - set.intersection(*by_minor.values())
        if some:
            lines.append(" ".join([module, *sorted(some)]))
    OUTPUT.write_text("".join(f"{line}\n" for line in lines))


if __name__ == "__main__":
    main()
