"""Poetry's own table of dependencies, as the table `[project]` would have it. Pure.

Source of the format: Poetry's documentation, "Dependency specification": version constraints, `python`, `platform`,
`markers`, `extras`, `optional`, and several constraints of one package. Where a package comes from is read elsewhere
(`package_sources`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

_VERSION = re.compile(r"v?(\d+(?:\.\d+)*)((?:[-.]?(?:a|b|rc|alpha|beta|dev|post)[-.]?\d*)*)")
# Constraints stand between commas or spaces; a space may stand after the operator, too.
_CONSTRAINT = re.compile(r"\s*(\^|~=|~|===|==|!=|>=|<=|>|<|=)?\s*([^\s,]+)\s*,?")


def has_own_dependencies(data: Mapping[str, Any]) -> bool:
    """Whether a pyproject.toml has its dependencies in Poetry's table, and not in `[project]`."""
    project = data.get("project")
    return bool(_table(data).get("dependencies")) and "dependencies" not in (
        project if isinstance(project, dict) else {}
    )


def project_of(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `[project]` would have in place of Poetry's table.

    Args:
        data: of a pyproject.toml that `has_own_dependencies`.

    Raises:
        ValueError: a constraint is none that requirements have; says which.
    """
    table = _table(data)
    own = data.get("project")
    project = dict(own) if isinstance(own, dict) else {}
    for key in ("name", "version", "description"):
        if isinstance(table.get(key), str):
            project.setdefault(key, table[key])
    dependencies = table["dependencies"]
    if not isinstance(dependencies, dict):
        raise ValueError("dependencies is not a table")
    lines: list[str] = []
    for name, value in dependencies.items():
        if name.lower() == "python":
            project.setdefault("requires-python", specifiers(str(value)))
        else:
            entries = value if isinstance(value, list) else [value]
            lines += [line for entry in entries for line in _requirement(name, entry)]
    return {**project, "dependencies": lines, "dynamic": []}


def specifiers(constraint: str) -> str:
    """Return the specifiers of a requirement that mean what one of Poetry's constraints does.

    Args:
        constraint: such as `^1.2`, `~1.2`, `1.2.*`, `>=1,<2`; a bare version is that one, and `*` is any.

    Raises:
        ValueError: it has alternatives (`||`), or is none.
    """
    if "|" in constraint:
        raise ValueError(f"{constraint!r} has alternatives, which no requirement has")
    found, at = [], 0
    while at < len(constraint.rstrip()):
        part = _CONSTRAINT.match(constraint, at)
        if part is None or not part[2]:
            raise ValueError(f"{constraint!r} is no constraint of versions")
        at = part.end()
        found += _one(part[1] or "", part[2], constraint)
    return ",".join(found)


def _one(operator: str, version: str, constraint: str) -> list[str]:
    if version == "*":
        return []
    if version.endswith(".*") and operator in ("", "=", "==", "!="):
        return [f"{'!=' if operator == '!=' else '=='}{version}"]
    parts = _VERSION.fullmatch(version)
    if parts is None:
        raise ValueError(f"{constraint!r} is no constraint of versions")
    version = version.removeprefix("v")
    if operator in ("^", "~"):
        release = [int(each) for each in parts[1].split(".")]
        return [f">={version}", f"<{'.'.join(map(str, _next(release, caret=operator == '^')))}"]
    return [f"{'==' if operator in ('', '=') else operator}{version}"]


def _next(release: list[int], *, caret: bool) -> list[int]:
    """Return the first release that a constraint does not admit: by the first part that is not 0, or by the minor."""
    place = min(1, len(release) - 1)
    if caret:
        place = next((index for index, part in enumerate(release) if part), len(release) - 1)
    return [*release[:place], release[place] + 1]


def _requirement(name: str, entry: Any) -> Iterator[str]:
    """Yield the requirement of one entry; nothing of an optional one, which is that of an extra."""
    table = entry if isinstance(entry, dict) else {"version": entry}
    if table.get("optional") is True:
        return
    version = table.get("version", "*")
    if not isinstance(version, str):
        raise ValueError(f"the version of {name!r} is not text")
    extras = table.get("extras") or ()
    markers = [f"({table['markers']})"] if table.get("markers") else []
    if table.get("python"):
        markers += [_of_python(each) for each in specifiers(str(table["python"])).split(",") if each]
    if table.get("platform"):
        markers.append(f"sys_platform == '{table['platform']}'")
    line = name + (f"[{','.join(map(str, extras))}]" if extras else "") + specifiers(version)
    yield f"{line} ; {' and '.join(markers)}" if markers else line


def _of_python(specifier: str) -> str:
    found = re.fullmatch(r"([=<>!~]+)(.+)", specifier)
    assert found, specifier
    name = "python_version" if found[2].count(".") <= 1 or found[2].endswith(".*") else "python_full_version"
    return f"{name} {found[1]} '{found[2]}'"


def _table(data: Mapping[str, Any]) -> Mapping[str, Any]:
    tool = data.get("tool")
    table = tool.get("poetry") if isinstance(tool, dict) else None
    return table if isinstance(table, dict) else {}
