"""A package without a `packager.yaml`: what somebody declares in Python or in files of Azure ML v1, laid out as one.

    packager.yaml        written from the declaration
    environment.yml      or requirements.txt
    app/                 the entry script, or the source directory under its own name
    models/              models that are registered nowhere
    packager.lock        kept for the next package with the same environment, which solves nothing then

The folder is remade whenever something is packaged; whoever wants to keep it copies it, and goes on with the verbs.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import msgspec
import yaml

from packager.context.sources import LEFT_OUT
from packager.context.strays import cache_folders
from packager.environments.declare.pip_for_conda import KEPT, pip_in_place_of_conda, said
from packager.environments.declare.v1_python import unasked_line, unasked_python
from packager.errors import ContextError, UsageError
from packager.init.ignore_files import as_dockerignore
from packager.spec.load import SpecFile, load_spec
from packager.spec.model import canonical
from packager.steps.lock import lock
from packager.steps.reporting import SILENT, Reporter
from packager.steps.settings import current_settings, with_settings
from packager.storage.files import write_bytes
from packager.storage.locks import lock_of, turn

__all__ = [
    "NAME_LENGTH", "NO_CODE", "Declared", "DeclaredModel", "environment_file", "lay_out", "lock_key", "package_name",
    "package_of", "pip_instead", "python_of", "spec_text", "taking_turns", "unasked_line", "unasked_python",
]  # fmt: skip

_SPEC, _LOCK, _LOCKS = "packager.yaml", "packager.lock", "locks"
_APP, _MODELS = "app", "models"
#: Packages of conda that a base image has: who asks conda for nothing else needs no conda.
_OF_BASE = re.compile(r"(?:[\w.-]+::)?(python|pip)(?:\s*[=<>!~].*)?\Z")
_MINOR = re.compile(r"[=<>~\s]*(3\.\d+)")

#: Frameworks whose models are served without code, by v1's names.
NO_CODE = {"ScikitLearn": "sklearn", "Onnx": "onnx", "TensorFlow": "tensorflow"}
#: Characters of the name of a model that is registered nowhere: v1's.
NAME_LENGTH = 30


class DeclaredModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model of a package: registered, or a file or folder of this machine.

    Attributes:
        registered: `name:version` in the workspace.
        path: of a file or folder; in place of it.
        name: of a file's or folder's model.
        framework: what it is a model of, where there is no entry script.
        framework_version: that saved it.
    """

    registered: str | None = None
    path: Path | None = None
    name: str | None = None
    framework: str | None = None
    framework_version: str | None = None


class Declared(msgspec.Struct, frozen=True, kw_only=True):
    """What a package is made of.

    Attributes:
        name: of the package.
        version: of it.
        workspace: that has the models, as `packager.Workspace` takes it.
        models: at least one, or an entry script.
        entry_script: relative to the source directory, or a path without one.
        source_dir: packaged whole, below its own name.
        beside: files and folders beside the entry script, without a source directory.
        conda: a conda file, as values; None where it follows from a model without code.
        named: an environment by its name, in place of a conda file: `registered: NAME:VERSION`, or `curated: NAME`.
        system_packages: Debian packages.
        python: minor version that is asked for; that of the conda file where None.
        base: image in place of the target's.
        env: variables of the image.
        server: fields of the spec's `server`.
        service: fields of the spec's `service`; whoever copies the folder has them.
        target: it is for.
        description: for people.
    """

    name: str
    version: str = "1"
    workspace: str | None = None
    models: tuple[DeclaredModel, ...] = ()
    entry_script: str | None = None
    source_dir: Path | None = None
    beside: tuple[Path, ...] = ()
    conda: dict[str, Any] | None = None
    named: dict[str, str] = {}
    system_packages: tuple[str, ...] = ()
    python: str | None = None
    base: str | None = None
    env: dict[str, str] = {}
    server: dict[str, Any] = {}
    service: dict[str, Any] = {}
    target: Literal["cpu", "gpu"] = "cpu"
    description: str = ""


def package_of(declared: Declared, folder: Path, locks: Path, *, reporter: Reporter = SILENT) -> SpecFile:
    """Lay a package out in a folder, and lock it; with the lock of an equal environment, where one is kept.

    Args:
        declared: what it is made of.
        folder: is replaced.
        locks: the folder that keeps locks, by what they are of.
        reporter: is told what is done.

    Returns:
        its spec, with this user's defaults.

    Raises:
        UsageError: it has neither an entry script nor a model.
        ContextError: a file is not there, or cannot be copied.
        SpecError, LockError, RegistryError, TemporaryError: see `packager.steps.lock.lock`.
    """
    if declared.entry_script is None and not declared.models:
        raise UsageError("there is nothing to package", remedy="name an entry script, or a model")
    if instead := pip_instead(declared):
        reporter.step(f"{said(instead)} ({KEPT})")
    try:
        lay_out(declared, folder)
    except OSError as error:
        raise ContextError(f"{error.filename or folder} cannot be copied: {error.strerror}") from None
    spec_file = load_spec(folder / _SPEC)
    kept = locks / lock_key(declared)
    with taking_turns(kept):
        _copy_lock(kept, folder)
        result = lock(spec_file, reporter=reporter)
        _copy_lock(folder, kept)
    for note in result.notes:
        reporter.warn(note)
    return with_settings(spec_file, current_settings(os.environ))


@contextmanager
def taking_turns(path: Path) -> Iterator[None]:
    """Wait until nobody else, thread or process, makes what is at a path.

    Raises:
        ContextError: the folder around it cannot be written.
    """
    with turn(lock_of(path)):
        yield


def lay_out(declared: Declared, folder: Path) -> None:
    """Write the folder of a package, in place of what is there.

    Raises:
        OSError: a file cannot be read or written.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        if declared.entry_script is not None:
            _copy_app(declared, new)
        for model in declared.models:
            if model.path is not None:
                _link(model.path, new / _model_path(model))
        if (environment := environment_file(declared)) is not None:
            name, text = environment
            (new / name).write_text(text, encoding="utf-8")
        (new / _SPEC).write_text(spec_text(declared), encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        os.rename(new, folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def spec_text(declared: Declared) -> str:
    """Return the `packager.yaml` of a package. Pure, but for the names of its files."""
    return yaml.safe_dump(_spec(declared), sort_keys=False, allow_unicode=True)


def package_name(text: str) -> str:
    """Return a package's name for one of v1: lower-case letters, digits, and single `-` between them. Pure."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:60].strip("-") or "package"


def environment_file(declared: Declared) -> tuple[str, str] | None:
    """Return name and text of the file that says which packages; None where it follows from the models. Pure."""
    if declared.conda is None:
        return None
    _, pip = _packages(declared.conda)
    instead = pip_instead(declared)
    if instead is not None:
        # The base image has Python and pip.
        return "requirements.txt", "".join(f"{line}\n" for line in (*instead, *pip))
    return "environment.yml", yaml.safe_dump(declared.conda, sort_keys=False)


def pip_instead(declared: Declared) -> tuple[str, ...] | None:
    """Return what pip is asked for in place of conda, beside Python and pip; None where conda is needed. Pure.

    On a base of somebody's own, of which nothing is known, conda is needed for all but Python and pip.
    """
    if declared.conda is None:
        return None
    conda, pip = _packages(declared.conda)
    asked = [each for each in conda if not _OF_BASE.match(each)]
    if not asked:
        return ()
    if declared.base is not None or declared.conda.keys() - {"name", "channels", "dependencies", "prefix"}:
        return None
    channels = declared.conda.get("channels") or ()
    return pip_in_place_of_conda(asked, [each for each in channels if isinstance(each, str)], pip)


def _packages(conda: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Return what a conda file asks conda for, and pip."""
    packages = conda.get("dependencies") or []
    lines = [line for each in packages if isinstance(each, Mapping) for line in each.get("pip") or ()]
    return [each for each in packages if isinstance(each, str)], lines


def python_of(declared: Declared) -> str | None:
    """Return the minor version of Python that is asked for; None where none is. Pure."""
    if declared.python is not None or declared.conda is None:
        return declared.python
    for each in declared.conda.get("dependencies") or []:
        found = _OF_BASE.match(each) if isinstance(each, str) else None
        if found is not None and found[1] == "python":
            minor = _MINOR.search(each.partition("python")[2])
            return minor[1] if minor else None
    return None


def lock_key(declared: Declared) -> str:
    """Return a name for what decides the packages of an environment. Pure."""
    # Of a model without code, framework and version; what else of it counts, the lock itself holds against its files.
    models = [(each.framework, each.framework_version) for each in declared.models]
    own: dict[str, Any] = {
        "file": environment_file(declared),
        "python": python_of(declared),
        "base": declared.base,
        "target": declared.target,
        "models": models if declared.conda is None and not declared.named else [],
    }
    if declared.named or declared.system_packages:
        own |= {"named": declared.named, "system_packages": declared.system_packages}
    return hashlib.sha256(canonical(own)).hexdigest()[:32]


def _spec(declared: Declared) -> dict[str, Any]:
    environment = environment_file(declared)
    python = python_of(declared) if environment is None or environment[0] == "requirements.txt" else None
    spec: dict[str, Any] = {
        "name": declared.name,
        "version": declared.version,
        "description": " ".join(declared.description.split()),
        "workspace": declared.workspace,
        "entry_script": None,
        "models": [_model(each) for each in declared.models],
        "python": python,
        "base": declared.base,
        "system_packages": list(declared.system_packages),
        "env": declared.env,
        "server": declared.server,
        "service": declared.service,
        "targets": [declared.target],
    }
    if declared.entry_script is not None:
        spec["entry_script"] = declared.entry_script.replace(os.sep, "/")
        spec["source_dir"] = _APP
        if declared.source_dir is None:
            spec["entry_script"] = Path(declared.entry_script).name
        else:
            spec["source_dir"], spec["keep_source_dir"] = _source_name(declared.source_dir), True
    if environment is not None or declared.named:
        spec["environment"] = declared.named if environment is None else environment[0]
    if not any(each.registered for each in declared.models) and "registered" not in declared.named:
        del spec["workspace"]
    return {name: value for name, value in spec.items() if value not in (None, "", [], {})}


def _model(model: DeclaredModel) -> dict[str, Any]:
    own = {"framework": model.framework, "framework_version": model.framework_version}
    said = {name: value for name, value in own.items() if value is not None}
    if model.registered is not None:
        return {"registered": model.registered, **said}
    return {"path": _model_path(model), "name": model.name, **said}


def _model_path(model: DeclaredModel) -> str:
    assert model.path is not None, "it is registered, or a path"
    return f"{_MODELS}/{model.name}/{model.path.resolve().name}"


def _source_name(source: Path) -> str:
    """Return the name of a source directory; one of ours in its place, so that nothing of the package is hidden."""
    name = source.resolve().name
    return name if name not in ("", _MODELS, _LOCKS, "templates") else f"{_APP}-{name or 'root'}"


def _copy_app(declared: Declared, new: Path) -> None:
    assert declared.entry_script is not None, "there is an app"
    if declared.source_dir is not None:
        _copy_tree(declared.source_dir.resolve(), new / _source_name(declared.source_dir))
        return
    app = new / _APP
    app.mkdir()
    for path in (Path(declared.entry_script), *declared.beside):
        if path.is_dir():
            _copy_tree(path.resolve(), app / path.resolve().name)
        else:
            shutil.copy(path, app / path.name)


def _copy_tree(source: Path, target: Path) -> None:
    """Copy a source directory without what is never packaged; links stay links, and are judged by the scan."""
    caches = cache_folders(os.environ)

    def left_out(folder: str, names: list[str]) -> Iterable[str]:
        # `pyvenv.cfg` makes a folder a virtual environment (PEP 405).
        environments = (name for name in names if os.path.exists(os.path.join(folder, name, "pyvenv.cfg")))
        # Sockets and pipes are no files; what cannot be read is said by the copy.
        special = (name for name in names if not _is_ordinary(os.path.join(folder, name)))
        # Build servers keep caches inside the project, and what is copied may come to lie in one of them.
        real = {name: os.path.realpath(os.fsencode(os.path.join(folder, name))) for name in names}
        cached = (name for name in names if real[name] in caches or real[name] == os.path.realpath(os.fsencode(target)))
        kept = {".dockerignore"}
        return {*(name for name in names if name in LEFT_OUT - kept), *environments, *special, *cached}

    shutil.copytree(source, target, symlinks=True, ignore=left_out)
    theirs, ours = target / ".amlignore", target / ".dockerignore"
    if theirs.is_file() and not ours.exists():
        ours.write_text(as_dockerignore(theirs.read_text(encoding="utf-8", errors="replace")), encoding="utf-8")


def _is_ordinary(path: str) -> bool:
    return os.path.islink(path) or os.path.isdir(path) or os.path.isfile(path)


def _link(source: Path, target: Path) -> None:
    """Put a model's file or folder into the package: linked where that can be, for it may be large."""
    if not source.exists():
        raise ContextError(f"there is no {source}", remedy="name a file or folder, or a registered model")

    def place(origin: str, path: str) -> str:
        try:
            os.link(os.path.realpath(origin), path)
        except OSError:
            shutil.copyfile(origin, path)
        return path

    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        within = os.path.realpath(target)

        def left_out(folder: str, names: list[str]) -> Iterable[str]:
            return {name for name in names if os.path.realpath(os.path.join(folder, name)) == within}

        shutil.copytree(source, target, copy_function=place, ignore=left_out)
    else:
        place(str(source), str(target))


def _copy_lock(source: Path, target: Path) -> None:
    """Copy the files of a lock, the one that vouches for the others last."""
    if not (source / _LOCK).is_file():
        return
    (target / _LOCKS).mkdir(parents=True, exist_ok=True)
    for path in sorted((source / _LOCKS).glob("*")):
        write_bytes(target / _LOCKS / path.name, path.read_bytes())
    write_bytes(target / _LOCK, (source / _LOCK).read_bytes())
