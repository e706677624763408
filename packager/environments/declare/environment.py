"""The environment that a spec names, read and normalised: a file of conda's or pip's, pyproject.toml, or inline."""

from __future__ import annotations

import hashlib
import os
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from packager.environments.conda import CondaDeclaration
from packager.environments.declare.azureml_defaults import imports_core, take_apart
from packager.environments.declare.conda_file import (
    DEFAULT_CHANNEL,
    Parts,
    all_channels,
    inline_parts,
    read_conda_file,
    read_name_map,
    requirements_parts,
)
from packager.environments.declare.conda_python import settle_python
from packager.environments.declare.curated import load_curated
from packager.environments.declare.needless_conda import without_conda
from packager.environments.declare.package_sources import is_member, joined, read_sources
from packager.environments.declare.poetry import has_own_dependencies, project_of
from packager.environments.declare.project_lock import versions_beside
from packager.environments.declare.registered import CONDA_SUFFIXES, registered_parts
from packager.environments.declare.requirement import INFERENCE_SERVER, canonical_name, normalise, requirement_name
from packager.environments.declare.requirements_txt import RequirementsReader, note
from packager.environments.declare.target_changes import changed_parts
from packager.environments.lock import PackageSources
from packager.errors import Location, SpecError
from packager.given import read_given
from packager.similar import meant
from packager.spec.document import read_text
from packager.spec.load import SpecFile
from packager.spec.model import DEFAULT_PYTHON, InlineEnvironment, Spec, canonical

_KINDS = (
    "environment.yml (any *.yml or *.yaml), requirements.txt (any *.txt or *.in), pyproject.toml, "
    "or inline `environment: {conda: […], pip: […]}`"
)


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """What the user asks for, in normal form.

    Attributes:
        requirements: sorted, without repetition, the inference server among them.
        constraints: sorted, without repetition.
        hashes: requirement or constraint → the sha256 that its `--hash=` admit, sorted.
        sources: indexes that are named for its packages.
        versions: those of the project's own lock, which lead where they fit.
        inputs: digest (`sha256:…`) of each file that was read, by path relative to the spec, with `/`.
        conda: what conda is asked; None for an environment of pip alone.
        python: minor version that the environment asks for; None where it says nothing, or leaves it to the solve.
        variables: environment variables of the image.
        names: conda name → PyPI name, of the spec's `conda.name_map`.
        curated: the curated environment that it stands on, whose locked versions are preferred.
        notes: what of a file was passed over, for people.
    """

    requirements: tuple[str, ...]
    constraints: tuple[str, ...] = ()
    hashes: dict[str, tuple[str, ...]] = {}
    sources: PackageSources = PackageSources()
    versions: dict[str, tuple[str, ...]] = {}
    inputs: dict[str, str] = {}
    conda: CondaDeclaration | None = None
    python: str | None = None
    variables: dict[str, str] = {}
    names: dict[str, str] = {}
    curated: str | None = None
    notes: tuple[str, ...] = ()


def read_environments(spec_file: SpecFile) -> dict[str, Environment]:
    """Read the environment of each target of a spec, in its order; those of targets that ask for the same once.

    Raises:
        SpecError: see `read_environment`.
    """
    read: dict[bytes, Environment] = {}
    found = {}
    for name in spec_file.spec.target_names:
        own = spec_file.for_target(name)
        # Without an environment, or beside what is added to one, it follows from the model.
        models = own.spec.models if own.spec.entry_script is None else ()
        # A conda file that asks for Python alone needs conda only where the target's own base has none.
        of_base = name if _may_do_without_conda(own.spec) else ""
        key = canonical([own.spec.python, own.spec.target_options(name).environment, models, of_base])
        if key not in read:
            read[key] = read_environment(own)
        found[name] = read[key]
    return found


def _may_do_without_conda(spec: Spec) -> bool:
    return spec.environment is None or (isinstance(spec.environment, str) and spec.environment.endswith(CONDA_SUFFIXES))


def read_environment(spec_file: SpecFile) -> Environment:
    """Read the environment of a spec, or of one target of it.

    `azureml-inference-server-http` is added where the user names none; a pin of theirs wins.

    Raises:
        SpecError: a file is missing, outside the folder, of an unknown kind, or says what cannot be locked; with file,
            line and what to do.
        ContextError: it follows from a model that is missing, or of another framework.
    """
    source = spec_file.spec.environment
    if source is None:
        return _of_model(spec_file)
    if isinstance(source, InlineEnvironment):
        return _of_model(spec_file, source) if _adds_to_default(source, spec_file.spec) else _inline(source, spec_file)
    shown = spec_file.document.path.parent
    path = _checked(Path(source), spec_file)
    if path.suffix in CONDA_SUFFIXES:
        (file,) = changed_parts((read_conda_file(spec_file.root, shown, path),), spec_file)
        pips = without_conda(file, spec_file, spec_file.at("environment"))
        if pips is None:
            return _of_conda((file,), spec_file)
        return msgspec.structs.replace(_of_pip((pips[0],), spec_file), python=pips[1])
    if path.name == "pyproject.toml":
        return _of_either((_pyproject(spec_file, path),), spec_file)
    reader = RequirementsReader(spec_file.root, shown)
    reader.read(path)
    return _of_either((requirements_parts(reader),), spec_file)


def _inline(source: InlineEnvironment, spec_file: SpecFile) -> Environment:
    parts = inline_parts(source, spec_file.at, spec_file.root, spec_file.document.path)
    return _written_in(source, parts, spec_file)


def _adds_to_default(source: InlineEnvironment, spec: Spec) -> bool:
    """Whether pip's packages of a model without code stand beside those that follow from it: they name no framework.

    `environment: {pip: [dill]}`, or `{curated: sklearn, pip: [dill]}`, would else forget which version saved the model.
    """
    kind = spec.models[0].kind if spec.entry_script is None and len(spec.models) == 1 else None
    if kind in (None, "mlflow") or source.conda or source.channels or source.curated not in (None, kind):
        return False
    if source.registered is not None:
        return False
    from packager.environments.declare.no_code import FRAMEWORK_PACKAGES

    named = set(map(_named, source.pip))
    # What a requirements file names is not known here.
    framework = {FRAMEWORK_PACKAGES[kind], "tensorflow-cpu", "onnxruntime-gpu"}
    return bool(named) and not named & framework and not any(each.startswith("-") for each in named)


def _named(requirement: str) -> str:
    """Return the name of a requirement as a user writes it."""
    return canonical_name(re.split(r"[\s\[<>=!~;@]", requirement.strip(), maxsplit=1)[0])


def _of_model(spec_file: SpecFile, more: InlineEnvironment | None = None) -> Environment:
    """Return the environment that follows from a model without code, with more that the spec asks for."""
    from packager.environments.declare.no_code import default_environment

    default = default_environment(spec_file)
    if default.inline is not None and more is not None:
        own = set(map(_named, more.pip))
        kept = tuple(each for each in default.inline.pip if _named(each) not in own)
        inline = msgspec.structs.replace(default.inline, pip=(*kept, *more.pip), variables=more.variables)
        default = msgspec.structs.replace(default, inline=inline)
    if default.inline is not None:
        # That a pin takes the place of a curated range is told in the default's own words.
        found = msgspec.structs.replace(_inline(default.inline, spec_file), notes=default.notes)
    else:
        found = _of_either((default.parts,), spec_file)
    return msgspec.structs.replace(found, python=default.python) if default.python and not found.conda else found


def _of_either(parts: tuple[Parts, ...], spec_file: SpecFile) -> Environment:
    """Return an environment of pip, unless the target adds packages of conda."""
    parts = changed_parts(parts, spec_file)
    return _of_conda(parts, spec_file) if parts[0].specs else _of_pip(parts, spec_file)


def _checked(path: Path, spec_file: SpecFile) -> Path:
    where = spec_file.at("environment")
    if path.name != "pyproject.toml" and path.suffix not in (".txt", ".in", *CONDA_SUFFIXES):
        raise SpecError(f"{str(path)!r} is no known kind of environment", where=where, remedy=f"use {_KINDS}")
    if not (spec_file.root / path).resolve().is_relative_to(spec_file.root.resolve()):
        raise SpecError(
            f"{str(path)!r} leaves the folder of the spec", where=where, remedy="copy the file below that folder"
        )
    if not os.path.lexists(spec_file.root / path):
        raise SpecError(
            f"the environment {str(path)!r} is not there",
            where=where,
            remedy=meant(spec_file.root, path.as_posix()) or "paths are relative to the folder of the spec",
        )
    return path


def _written_in(source: InlineEnvironment, parts: Parts, spec_file: SpecFile) -> Environment:
    """Return an environment that is written into the spec, on a curated one where it names one."""
    if source.registered is not None:
        laid, base = registered_parts(spec_file)
        return _on(base, parts, spec_file, f"registered environment {laid.id!r}")
    if source.curated is None:
        (parts,) = changed_parts((parts,), spec_file)
        return _of_conda((parts,), spec_file) if parts.specs else _of_pip((_told(parts, spec_file),), spec_file)
    base = load_curated(source.curated, spec_file.at("environment.curated")).parts
    return _on(base, parts, spec_file, f"curated environment {source.curated!r}", source.curated)


def _on(base: Parts, parts: Parts, spec_file: SpecFile, title: str, curated: str | None = None) -> Environment:
    """Return an environment that is written into the spec, on another one, whose pins make room for its own."""
    parts, base = changed_parts((parts, base), spec_file)
    taken = {requirement_name(each) for each in parts.requirements}
    kept = [each for each in base.requirements if requirement_name(each) not in taken]
    where = spec_file.at("environment.pip")
    notes = [
        note(where, f"takes the place of {each!r} of the {title}")
        for each in base.requirements
        if each not in kept and each not in parts.requirements
    ]
    base = msgspec.structs.replace(base, requirements=tuple(kept), notes=tuple(notes))
    # With nothing but Python asked of conda, the base image's own will do.
    if parts.specs or any(each.spec.name != "python" for each in base.specs):
        return _of_conda((parts, base), spec_file, curated)
    python = None
    if base.specs:
        python, _ = settle_python(base.specs, spec_file.spec.python, spec_file.at("python"))
    environment = _of_pip((_told(parts, spec_file), base), spec_file)
    return msgspec.structs.replace(environment, python=python, curated=curated)


def _told(parts: Parts, spec_file: SpecFile) -> Parts:
    if not parts.channels:
        return parts
    said = note(spec_file.at("environment.channels"), "channels say nothing without packages of conda")
    return msgspec.structs.replace(parts, notes=(*parts.notes, said))


def _of_pip(parts: tuple[Parts, ...], spec_file: SpecFile) -> Environment:
    requirements, notes = _requirements(parts, spec_file, served=False)
    return Environment(
        requirements=requirements,
        constraints=tuple(sorted({line for each in parts for line in each.constraints})),
        hashes=_hashes(parts),
        sources=joined(each.sources for each in parts),
        versions=_versions(parts),
        inputs=_digests(spec_file.root, {path for each in parts for path in each.files}),
        variables=_variables(parts),
        notes=(*(text for each in parts for text in each.notes), *notes),
    )


def _of_conda(parts: tuple[Parts, ...], spec_file: SpecFile, curated: str | None = None) -> Environment:
    """Return an environment of conda; what earlier parts say goes before what later ones do."""
    spec = spec_file.spec
    specs = [each for part in parts for each in part.specs]
    python, added = settle_python(specs, spec.python, spec_file.at("python" if spec.python else "environment"))
    served = any(canonical_name(each.spec.name) == INFERENCE_SERVER for each in specs)
    files = {path for each in parts for path in each.files}
    names = {}
    if spec.conda.name_map is not None:
        names = read_name_map(spec_file.document.path.parent / spec.conda.name_map)
        files.add(Path(spec.conda.name_map))
    notes = [text for each in parts for text in each.notes]
    if not any(each.channels for each in parts):
        notes.append(note(spec_file.at("environment"), f"no channels are named: {DEFAULT_CHANNEL} is asked"))
    requirements, told = _requirements(parts, spec_file, served=served)
    return Environment(
        requirements=requirements,
        constraints=tuple(sorted({line for each in parts for line in each.constraints})),
        hashes=_hashes(parts),
        sources=joined(each.sources for each in parts),
        versions=_versions(parts),
        inputs=_digests(spec_file.root, files),
        conda=CondaDeclaration(
            specs=tuple(sorted({*(str(each.spec) for each in specs), *added})), channels=all_channels(parts)
        ),
        python=python,
        variables=_variables(parts),
        names=names,
        curated=curated,
        notes=(*notes, *told),
    )


def _requirements(
    parts: Iterable[Parts], spec_file: SpecFile, *, served: bool
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what pip is asked, with the inference server, unless that is `served` by conda; and notes."""
    parts = tuple(parts)
    asked = {line for each in parts for line in each.requirements}
    wanted, said = take_apart(
        asked,
        [line for each in parts for line in each.constraints],
        lambda: imports_core(spec_file.root / spec_file.spec.source_dir),
    )
    if served:
        wanted -= {INFERENCE_SERVER} - asked
    elif INFERENCE_SERVER not in {requirement_name(each) for each in wanted}:
        wanted |= {INFERENCE_SERVER}
    return tuple(sorted(wanted)), (note(spec_file.at("environment"), said),) if said else ()


def _hashes(parts: Iterable[Parts]) -> dict[str, tuple[str, ...]]:
    """Return the hashes of what is still asked: a target may have removed some, or a pin taken the place of one."""
    found: dict[str, frozenset[str]] = {}
    for each in parts:
        for line in {*each.requirements, *each.constraints} & each.hashes.keys():
            found[line] = found.get(line, each.hashes[line]) & each.hashes[line]
    return {line: tuple(sorted(digests)) for line, digests in sorted(found.items())}


def _versions(parts: Iterable[Parts]) -> dict[str, tuple[str, ...]]:
    return {name: lines for each in parts for name, lines in each.versions.items()}


def _variables(parts: Iterable[Parts]) -> dict[str, str]:
    found: dict[str, str] = {}
    for each in parts:
        found = each.variables | found
    return dict(sorted(found.items()))


def _digests(root: Path, files: Iterable[Path]) -> dict[str, str]:
    return {
        path.as_posix(): f"sha256:{hashlib.sha256(read_given(root / path, below=root)).hexdigest()}"
        for path in sorted(files)
    }


# --- pyproject.toml: the packaging specification "Declaring project metadata" -----------------------------------------


def _pyproject(spec_file: SpecFile, file: Path) -> Parts:
    """Return what a pyproject.toml asks, relative to the folder of the spec."""
    shown = spec_file.document.path.parent
    path = shown / file
    text = read_text(path, spec_file.root)
    data = _toml(text, path)
    requirements = _dependencies(data, text, path, spec_file.spec.python or DEFAULT_PYTHON)
    asked = {requirement_name(each) for each in requirements}

    def at(part: str) -> Location:
        return Location(file=str(path), line=_line(text, part))

    sources = read_sources(_tools(data, path), asked, at, uv_reads=file.parent == Path())
    notes = [
        note(
            at(name),
            f"{name} is taken from {' or '.join(places)}; whoever builds needs that index, too: UV_INDEX or "
            "PIP_EXTRA_INDEX_URL",
        )
        for name, places in sources.packages.items()
    ]
    versions, said = versions_beside(file, spec_file.root, shown, asked)
    return Parts(
        requirements=tuple(requirements),
        sources=sources,
        versions=versions,
        files=(file,),
        notes=(*notes, *said),
    )


def _tools(data: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return the table `tool`, with what the root of uv's workspace says for its members."""
    tool = data.get("tool")
    own: dict[str, Any] = tool if isinstance(tool, dict) else {}
    folder = path.resolve().parent
    for parent in folder.parents:
        file = parent / "pyproject.toml"
        if not file.is_file():
            continue
        theirs = (_toml(read_text(file), file).get("tool") or {}).get("uv") or {}
        if "workspace" not in theirs:
            continue
        if not is_member(folder.relative_to(parent), theirs["workspace"]):
            break
        mine = own.get("uv") or {}
        merged = {
            "sources": {**theirs.get("sources", {}), **mine.get("sources", {})},
            "index": [*mine.get("index", ()), *theirs.get("index", ())],
        }
        return {**own, "uv": {**mine, **merged}}
    return own


def _dependencies(data: dict[str, Any], text: str, path: Path, python: str) -> list[str]:
    project = _project(data, path)
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


def _toml(text: str, path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"\(at line (\d+), column (\d+)\)", str(error))
        line, column = (int(found[1]), int(found[2])) if found else (None, None)
        message = str(error).partition(" (at ")[0]
        where = Location(file=str(path), line=line, column=column)
        raise SpecError(f"{path.name} is not valid TOML: {message}", where=where) from None
    except RecursionError:
        raise SpecError(f"{path.name} is nested too deeply", where=Location(file=str(path))) from None


def _project(data: dict[str, Any], path: Path) -> dict[str, Any]:
    try:
        project = project_of(data) if has_own_dependencies(data) else data.get("project")
    except ValueError as error:
        raise SpecError(
            f"[tool.poetry.dependencies]: {error}",
            where=Location(file=str(path)),
            remedy="write it otherwise, or `poetry export -o requirements.txt` (of poetry-plugin-export) and name "
            "that in the spec",
        ) from None
    if not isinstance(project, dict):
        raise SpecError(
            f"{path.name} has no [project] table",
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
