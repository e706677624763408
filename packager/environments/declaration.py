"""The environment that a spec names, read and normalised: requirements.txt, pyproject.toml, or inline."""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from packager.environments.requirement import INFERENCE_SERVER, normalise, requirement_name
from packager.environments.requirements_txt import RequirementsReader
from packager.errors import Location, SpecError
from packager.spec.document import read_text
from packager.spec.load import SpecFile
from packager.spec.model import InlineEnvironment

_KINDS = "requirements.txt (any *.txt or *.in), pyproject.toml, or inline `environment: {pip: […]}`"


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """What the user asks for, in normal form.

    Attributes:
        requirements: sorted, without repetition, the inference server among them.
        constraints: sorted, without repetition.
        inputs: digest (`sha256:…`) of each file that was read, by path relative to the spec, with `/`.
    """

    requirements: tuple[str, ...]
    constraints: tuple[str, ...] = ()
    inputs: dict[str, str] = {}


def read_environment(spec_file: SpecFile) -> Environment:
    """Read the environment of a spec.

    `azureml-inference-server-http` is added where the user names none; a pin of theirs wins.

    Raises:
        SpecError: a file is missing, outside the folder, of an unknown kind, or says what cannot be locked; with file,
            line and what to do.
    """
    source = spec_file.spec.environment
    if isinstance(source, InlineEnvironment):
        lines = [normalise(text, spec_file.at(f"environment.pip[{index}]")) for index, text in enumerate(source.pip)]
        return _environment(lines, (), {})
    path = _checked(Path(source), spec_file)
    if path.name == "pyproject.toml":
        shown = spec_file.document.path.parent / path
        lines = _pyproject(read_text(shown), spec_file.spec.python, shown)
        return _environment(lines, (), _digests(spec_file.root, [path]))
    reader = RequirementsReader(spec_file.root, spec_file.document.path.parent)
    reader.read(path)
    return _environment(reader.requirements, reader.constraints, _digests(spec_file.root, reader.files))


def _checked(path: Path, spec_file: SpecFile) -> Path:
    where = spec_file.at("environment")
    if path.suffix in (".yml", ".yaml"):
        raise SpecError(
            "conda environments are not supported by this version",
            where=where,
            remedy=f"name the requirements in {_KINDS}",
        )
    if path.name != "pyproject.toml" and path.suffix not in (".txt", ".in"):
        raise SpecError(f"{str(path)!r} is no known kind of environment", where=where, remedy=f"use {_KINDS}")
    if not (spec_file.root / path).resolve().is_relative_to(spec_file.root.resolve()):
        raise SpecError(
            f"{str(path)!r} leaves the folder of the spec", where=where, remedy="copy the file below that folder"
        )
    return path


def _environment(requirements: Iterable[str], constraints: Iterable[str], inputs: dict[str, str]) -> Environment:
    wanted = set(requirements)
    if INFERENCE_SERVER not in {requirement_name(each) for each in wanted}:
        wanted.add(INFERENCE_SERVER)
    return Environment(requirements=tuple(sorted(wanted)), constraints=tuple(sorted(set(constraints))), inputs=inputs)


def _digests(root: Path, files: Iterable[Path]) -> dict[str, str]:
    return {
        path.as_posix(): f"sha256:{hashlib.sha256((root / path).read_bytes()).hexdigest()}" for path in sorted(files)
    }


# --- pyproject.toml: the packaging specification "Declaring project metadata" -----------------------------------------


def _pyproject(text: str, python: str, path: Path) -> list[str]:
    project = _project(text, path)
    where = Location(file=str(path), line=_line(text, "[project]"), field="project")
    if "dependencies" in project.get("dynamic", ()):
        raise SpecError(
            "the dependencies are dynamic: only a build of the project could tell them",
            where=where,
            remedy="list them under [project] dependencies, or name a requirements.txt in the spec",
        )
    _check_python(project.get("requires-python"), python, text, path)
    dependencies = project.get("dependencies", [])
    if not isinstance(dependencies, list) or not all(isinstance(each, str) for each in dependencies):
        raise SpecError("dependencies is not a list of texts", where=where, remedy='dependencies = ["name==1.2"]')
    field = "project.dependencies"
    return [
        normalise(each, Location(file=str(path), line=_line(text, each), field=f"{field}[{index}]"))
        for index, each in enumerate(dependencies)
    ]


def _project(text: str, path: Path) -> dict[str, Any]:
    try:
        project = tomllib.loads(text).get("project")
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"\(at line (\d+), column (\d+)\)", str(error))
        line, column = (int(found[1]), int(found[2])) if found else (None, None)
        message = str(error).partition(" (at ")[0]
        where = Location(file=str(path), line=line, column=column)
        raise SpecError(f"is not valid TOML: {message}", where=where) from None
    except RecursionError:
        raise SpecError("is nested too deeply", where=Location(file=str(path))) from None
    if not isinstance(project, dict):
        raise SpecError(
            "has no [project] table",
            where=Location(file=str(path)),
            remedy="add [project] with dependencies, or name a requirements.txt in the spec",
        )
    return project


def _check_python(wanted: object, python: str, text: str, path: Path) -> None:
    if wanted is None:
        return
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    where = Location(file=str(path), line=_line(text, "requires-python"), field="project.requires-python")
    try:
        specifiers = SpecifierSet(wanted if isinstance(wanted, str) else "?")
    except InvalidSpecifier:
        raise SpecError(f"{wanted!r} is not a version specifier", where=where, remedy='such as ">=3.11"') from None
    # The spec names a minor version: it is enough that some patch release of it is admitted.
    if not any(specifiers.contains(f"{python}.{patch}") for patch in range(100)):
        raise SpecError(
            f"requires-python {wanted!r} does not admit the spec's Python {python}",
            where=where,
            remedy="change `python:` in the spec, or requires-python",
        )


def _line(text: str, part: str) -> int | None:
    """Line of the first appearance of a text; the TOML parser of the standard library keeps none."""
    start = text.find(part)
    return text.count("\n", 0, start) + 1 if start >= 0 else None
