"""What defines an environment that is to be registered: a file, or the files of a folder that belong together."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from packager.environments.declare.conda_file import read_conda_file
from packager.environments.declare.requirements_txt import RequirementsReader
from packager.errors import ContextError, Location, SpecError
from packager.given import read_given
from packager.workspace.values import Content

V1_FILE, V1_CONDA, V1_DOCKERFILE = "azureml_environment.json", "conda_dependencies.yml", "BaseDockerfile"

#: The file of a folder that says which packages: the first that is there.
_PACKAGES = (V1_CONDA, "environment.yml", "environment.yaml", "conda.yml", "conda.yaml", "requirements.txt")
_YAML = (".yml", ".yaml")
_LOCK = "packager.lock"


class Definition(msgspec.Struct, frozen=True, kw_only=True):
    """An environment that is to be registered.

    Attributes:
        files: its definition, what that includes, and its locks, where there are any.
        main: path of the file that says which packages; of the Dockerfile where no file does.
        name: that the definition itself has; None where it says none.
    """

    files: tuple[Content, ...]
    main: str
    name: str | None


def read_definition(path: Path, scratch: Path) -> Definition:
    """Read what defines an environment, so that what could never be used is not registered.

    A folder has `azureml_environment.json` as Azure ML v1 writes it, with `conda_dependencies.yml` or `BaseDockerfile`;
    or `environment.yml` or `requirements.txt`. Of its other files only locks and what these include are taken.

    Args:
        path: the folder, or one such file.
        scratch: an empty folder, for the conda file of an environment that is written into a JSON file.

    Raises:
        SpecError: a file is not valid, with its line, or says what cannot be locked.
        ContextError: there is nothing of the kind; a file leads out of the folder, or cannot be read.
    """
    root = path if path.is_dir() else path.parent
    if not path.exists():
        raise ContextError(f"{path} is not there", remedy="name a folder with an environment's files, or such a file")
    there = [name for name in (V1_FILE, *_PACKAGES, V1_DOCKERFILE) if (root / name).is_file()]
    if not path.is_dir():
        there = [path.name]
    v1 = _read_v1(root / V1_FILE) if V1_FILE in there else {}
    main = next((name for name in there if name != V1_FILE), None)
    extra: tuple[Content, ...] = ()
    if v1 and (main is None or main == V1_DOCKERFILE) and (inline := _inline(v1)):
        (scratch / V1_CONDA).write_text(json.dumps(inline, indent=2) + "\n", encoding="utf-8")
        extra, main = (_content(scratch, Path(V1_CONDA)),), V1_CONDA
    if main is None:
        raise _nothing(path, v1)
    own = {V1_FILE, V1_DOCKERFILE} & set(there)
    try:
        read = _included(scratch if extra else root, main)
    except SpecError as error:
        if not extra:
            raise
        where = Location(file=str(root / V1_FILE), field="python.condaDependencies")
        raise SpecError(error.message, where=where, remedy=error.remedy) from None
    files = {Path(name) for name in own} | (set() if extra else read) | set(_locks(root) if path.is_dir() else ())
    name = v1.get("name")
    return Definition(
        files=(*extra, *(_content(root, each) for each in sorted(files))),
        main=main,
        name=name if isinstance(name, str) and name else None,
    )


def _included(root: Path, main: str) -> set[Path]:
    """Return the files that say which packages, the first among them; all are read."""
    if main == V1_DOCKERFILE:
        return {Path(main)}
    if Path(main).suffix in _YAML:
        return set(read_conda_file(root.resolve(), root, Path(main)).files)
    if Path(main).suffix != ".txt":
        raise ContextError(
            f"{root / main} defines no environment",
            remedy=f"name a conda file (.yml), a requirements file (.txt), {V1_FILE}, or a folder with one of them",
        )
    reader = RequirementsReader(root.resolve(), root)
    reader.read(Path(main))
    return set(reader.files)


def _locks(root: Path) -> Iterable[Path]:
    """Return the files of a lock that stands beside the definition."""
    if not (root / _LOCK).is_file():
        return ()
    locks = (path for path in (root / "locks").glob("*") if path.is_file())
    return (Path(_LOCK), *(path.relative_to(root) for path in locks))


def _content(root: Path, path: Path) -> Content:
    below, origin = root.resolve(), (root / path).resolve()
    if not origin.is_relative_to(below):
        raise ContextError(f"{root / path} leads out of {root}", remedy="put the file itself there")
    return Content(path=path.as_posix(), origin=origin, below=os.fsencode(below))


def _read_v1(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(read_given(path).decode("utf-8-sig"))
    except OSError as error:
        raise ContextError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SpecError("it is not UTF-8", where=Location(file=str(path))) from None
    except json.JSONDecodeError as error:
        where = Location(file=str(path), line=error.lineno, column=error.colno)
        raise SpecError(f"it is not valid JSON: {error.msg}", where=where) from None
    except RecursionError:
        raise SpecError("it is nested too deeply", where=Location(file=str(path))) from None
    if not isinstance(data, dict):
        raise SpecError("it is no environment of Azure ML: an object is", where=Location(file=str(path)))
    return data


def _inline(v1: dict[str, Any]) -> dict[str, Any] | None:
    """Return the conda file that is written into an environment of v1."""
    python = v1.get("python")
    inline = python.get("condaDependencies") if isinstance(python, dict) else None
    return inline if isinstance(inline, dict) and inline.get("dependencies") else None


def _nothing(path: Path, v1: dict[str, Any]) -> ContextError:
    if v1:
        return ContextError(
            f"{path} names neither packages nor a Dockerfile",
            remedy=f"put {V1_CONDA} beside it, or write python.condaDependencies into it",
        )
    return ContextError(
        f"{path} has no environment in it", remedy=f"it is {V1_FILE}, environment.yml or requirements.txt"
    )
