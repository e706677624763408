"""Configuration files of Azure ML v1 → what a package is made of, and what a service of it wants."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from packager.errors import ContextError, SpecError, UsageError
from packager.init.azure_files import read_hints
from packager.init.declarations import read_declaration
from packager.init.hints import Hints, folded, shown
from packager.init.service_fields import whole
from packager.spec.document import parse_yaml, read_text
from packager.steps.declared import NAME_LENGTH, NO_CODE, Declared, DeclaredModel, package_name, unasked_python
from packager.steps.reporting import Reporter
from packager.steps.v1_wanted import Compute
from packager.steps.workspace import Workspace
from packager.workspace.base import NotRegisteredError
from packager.workspace.names import parse_id

_COMPUTES: dict[str, Compute] = {"LOCAL": "Local", "ACI": "ACI", "AKS": "AKS", "AKSENDPOINT": "AKS"}
_CONFIG = "inferenceconfig.json"
_MAX_FILES = 100_000


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody asks for on the command line of v1.

    Attributes:
        models: `name:version`, names of the latest, or paths of files and folders of this machine.
        inference: path of an inference configuration; None for a model without code.
        deployment: path of a deployment configuration.
        metadata: paths of files that `model register -t` wrote; each names a model.
        target: name of a compute target.
    """

    models: tuple[str, ...] = ()
    inference: Path | None = None
    deployment: Path | None = None
    metadata: tuple[Path, ...] = ()
    target: str | None = None


class Deployment(msgspec.Struct, frozen=True, kw_only=True):
    """What a deployment configuration says beside what the spec has of it.

    Attributes:
        compute: where it goes, as v1 calls it.
        port: of this machine; a free one where None.
        keys: that it holds; nothing is written of them.
        description: for people.
        tags: to find the service by.
        properties: of it.
        target: name of the compute target.
    """

    compute: Compute = "ACI"
    port: int | None = None
    keys: tuple[str, ...] = ()
    description: str = ""
    tags: dict[str, str] = {}
    properties: dict[str, str] = {}
    target: str = ""

    def __repr__(self) -> str:
        return f"Deployment(compute={self.compute!r}, keys=…)"


def declare(workspace: Workspace, name: str, asked: Asked, reporter: Reporter) -> Declared:
    """Return what files and models declare.

    Args:
        workspace: that has the models.
        name: of the service, or of the package.
        asked: what is asked for.
        reporter: is told what of the files is not taken over.

    Raises:
        SpecError: a file is broken (with line and column), or is another one than was meant.
        UsageError: no model, one without code that nothing serves, two models of one name, a script that is not named.
        NotRegisteredError: a model is not registered in this workspace.
        ContextError: a file is not there.
    """
    models = find_models(workspace, asked, code=asked.inference is not None)
    declared = Declared(name=package_name(name), workspace=workspace.location, models=models)
    if asked.inference is None:
        return with_service(declared, asked.deployment, reporter)
    root, path = _root_of(asked.inference)
    hints = _hints(root, path, "entryScript", reporter)
    if hints.entry_script is None:
        raise SpecError(
            f"{asked.inference} names no entry script that packager serves",
            remedy='"entryScript": "score.py", a Python file, relative to "sourceDirectory" or to the file',
        )
    declared = msgspec.structs.replace(
        declared,
        **_script(root, hints, asked.inference),
        **_environment(root, hints),
        env=hints.env,
        server=hints.server,
        system_packages=tuple(hints.system_packages),
        target="gpu" if hints.gpu else "cpu",
        description=hints.description,
    )
    return with_service(declared, asked.deployment, reporter)


def with_service(declared: Declared, deployment: Path | None, reporter: Reporter) -> Declared:
    """Return what is declared, with what a deployment configuration wants of the place where it runs.

    Raises:
        SpecError: it is broken, or none.
    """
    if deployment is None:
        return declared
    root, path = _root_of(deployment)
    hints = _hints(root, path, "computeType", reporter)
    # The port of a local service is this machine's; that of the image stays.
    server = {name: value for name, value in hints.server.items() if name != "port"}
    return msgspec.structs.replace(
        declared,
        server={**declared.server, **server},
        service=hints.service,
        target="gpu" if hints.gpu else declared.target,
    )


def read_deployment(path: Path | None, target: str | None) -> Deployment:
    """Return what a deployment configuration says beside what goes into the spec.

    Args:
        path: of it; ACI without one, or AKS where a target is named.
        target: name of a compute target.

    Raises:
        SpecError: it is broken, says no `computeType` that there is, or has a value that is none of its key.
        UsageError: it is for AKS, and no target is named.
    """
    if path is None:
        return Deployment(compute="AKS" if target else "ACI", target=target or "")
    data = _mapping(path)
    kind = str(data.get("computetype") or "")
    if kind.upper() not in _COMPUTES:
        raise SpecError(f"{path} says no computeType", remedy='"computeType": "local", "aci" or "aks"')
    target = target or _text(data, "computetarget") or _text(data, "computetargetname")
    compute = _COMPUTES[kind.upper()]
    if compute == "AKS" and not target:
        raise UsageError(
            f"{path} is for AKS, and no compute target is named",
            remedy="--ct NAME says which; its service runs on this machine",
        )
    own = data.get("keys")
    keys = {folded(key): value for key, value in own.items()} if isinstance(own, Mapping) else data
    return Deployment(
        compute=compute,
        port=_port(path, data.get("port")),
        keys=tuple(each for name in ("primarykey", "secondarykey") if (each := _text(keys, name))),
        description=_text(data, "description") or "",
        tags=_pairs(path, data, "tags"),
        properties=_pairs(path, data, "properties"),
        target=target or "",
    )


# --- models -----------------------------------------------------------------------------------------------------------


def find_models(workspace: Workspace, asked: Asked, *, code: bool) -> tuple[DeclaredModel, ...]:
    """Return the models that are asked for.

    Args:
        workspace: that has them.
        asked: names them.
        code: there is an entry script.

    Raises:
        UsageError: none is named, one needs an entry script, or two have one name.
        NotRegisteredError: one is not registered in this workspace.
        SpecError, ContextError: a metadata file cannot be read.
    """
    names = [*asked.models, *(_model_of(path, workspace) for path in asked.metadata)]
    if not names:
        raise UsageError("no model is named", remedy="-m NAME:VERSION, or -f FILE that `model register -t` wrote")
    if not code and len(names) > 1:
        raise UsageError("several models need an entry script", remedy="name it: --ic inferenceconfig.json")
    found = tuple(_model(workspace, name, code=code) for name in names)
    _refuse_equal(found)
    return found


def _model(workspace: Workspace, name: str, *, code: bool) -> DeclaredModel:
    if _is_path(name):
        if not code:
            raise UsageError(
                f"{name} is no registered model, and needs an entry script",
                remedy="name it with --ic; or register the model, with its framework: packager model register",
            )
        return DeclaredModel(path=Path(name).absolute(), name=Path(name).resolve().name[:NAME_LENGTH])
    try:
        version = workspace.models.get(name)
    except NotRegisteredError as error:
        raise _elsewhere(workspace, name, error) from None
    framework = NO_CODE.get(version.framework or "") if not code else None
    if not code and framework is None:
        raise UsageError(
            f"the model {version.id} has the framework {version.framework or 'Custom'}, which needs an entry script",
            remedy=f"name it with --ic; without one it is {', '.join(NO_CODE)}",
        )
    saved_by = version.framework_version if framework in ("sklearn", "tensorflow") else None
    return DeclaredModel(registered=version.id, framework=framework, framework_version=saved_by)


def _is_path(name: str) -> bool:
    """Whether a model is a file or folder of this machine; a registered one of the name goes before."""
    return os.sep in name or (os.path.exists(name) and (":" not in name and "." in name))


def _elsewhere(workspace: Workspace, name: str, error: NotRegisteredError) -> NotRegisteredError:
    """Return the error for a model that is not here, which says where it is, if it is in another of the workspaces."""
    from packager.errors import PackagerError
    from packager.steps.workspaces import names

    for other in names():
        try:
            with Workspace(other) as opened:
                if opened.location != workspace.location and opened.models.get(name):
                    return NotRegisteredError(
                        f"the model {name} is of the workspace {other}, and not of {workspace.name}",
                        remedy=f"--workspace {other}; or `packager workspace copy {other} {workspace.name}`",
                    )
        except PackagerError:
            continue
    return error


def _refuse_equal(models: Iterable[DeclaredModel]) -> None:
    seen: dict[str, DeclaredModel] = {}
    for each in models:
        name = each.registered or str(each.name)
        if name in seen:
            where = f": {seen[name].path} and {each.path}" if each.path is not None else ""
            raise UsageError(
                f"two models are called {name}{where}",
                remedy="register them under names of their own: packager model register -n NAME -p PATH",
            )
        seen[name] = each


def _model_of(path: Path, workspace: Workspace) -> str:
    data = _mapping(path)
    model, of = _text(data, "modelid"), _text(data, "workspacename")
    if model is None:
        raise SpecError(
            f"{path} names no model", remedy='it is {"modelId": "NAME:VERSION"}, as `model register -t` writes'
        )
    parse_id(model, "model")
    if of is not None and of != workspace.name:
        raise NotRegisteredError(
            f"{path}: the model {model} is of the workspace {of}, and not of {workspace.name}",
            remedy=f"--workspace {of}",
        )
    return model


# --- files ------------------------------------------------------------------------------------------------------------


def _root_of(path: Path) -> tuple[Path, str]:
    """Return the folder from which what a file names is looked for, and the file relative to it.

    That is the current one, as for `az ml`; that of the file where it is not below.
    """
    here, own = Path.cwd(), Path(os.path.abspath(path))
    root = here if own.is_relative_to(here) else own.parent
    return root, own.relative_to(root).as_posix()


def _hints(root: Path, path: str, key: str, reporter: Reporter) -> Hints:
    if folded(key) not in _mapping(root / path, path):
        kind = "inference" if key == "entryScript" else "deployment"
        raise SpecError(
            f"{path} is no {kind} configuration: it has no {key}", remedy="`packager import` reads other files"
        )
    hints = read_hints(root, _files(root), [path])
    for each in hints.entries:
        # Where it goes is said here, so that these are no loss.
        if each.outcome == "unknown":
            reporter.warn(str(each))
        elif each.outcome == "left" and "not there" not in each.reason and each.key.lower() not in _SAID:
            reporter.step(str(each))
    return hints


#: Keys of which something is made beside the spec.
_SAID = ("tags", "properties", "keys", "primarykey", "secondarykey", "computetarget", "computetargetname", "port")


def _files(root: Path) -> list[str]:
    """Return the files below a folder, but for hidden and installed ones."""
    found: list[str] = []
    for where, folders, names in os.walk(root):
        inside = os.path.relpath(where, root).replace(os.sep, "/")
        if "pyvenv.cfg" in names:
            folders.clear()
            continue
        folders[:] = [each for each in folders if not each.startswith(".") and each != "node_modules"]
        found += [name if inside == "." else f"{inside}/{name}" for name in names]
        if len(found) > _MAX_FILES:
            raise ContextError(f"{root} holds too many files", remedy="go into the folder of the configuration")
    return found


def _script(root: Path, hints: Hints, named: Path) -> dict[str, Any]:
    script = str(hints.entry_script)
    if not (root / script).is_file():
        raise ContextError(
            f"there is no {script}, which {named} names as entry script",
            remedy='"entryScript" is relative to "sourceDirectory", and both to the file or to this folder',
        )
    if "source_dir" not in hints.origins:
        return {"entry_script": str(root / script)}
    source = str(hints.source_dir)
    return {"entry_script": os.path.relpath(root / script, root / source), "source_dir": root / source}


def _environment(root: Path, hints: Hints) -> dict[str, Any]:
    if hints.registered is not None:
        return {"named": {"registered": hints.registered}}
    if hints.curated is not None:
        return {"named": {"curated": hints.curated}}
    if hints.environment is None:
        dependencies: list[Any] = [*hints.conda, {"pip": hints.pip}]
        return {"conda": {"channels": hints.channels, "dependencies": dependencies}, "python": hints.python}
    if not (root / hints.environment).is_file():
        raise ContextError(
            f"there is no {hints.environment}", remedy="it is the conda file of the inference configuration"
        )
    text = read_text(root / hints.environment)
    data = parse_yaml(text, root / hints.environment).data
    if not isinstance(data.get("dependencies"), list):
        raise SpecError(
            f"{hints.environment} is no conda file: it has no `dependencies`", remedy="write them as a list"
        )
    unasked = unasked_python(text)
    return {"conda": {**data, "dependencies": [each for each in data["dependencies"] if each != unasked]}}


def _mapping(path: Path, shown: str = "") -> dict[str, Any]:
    """Return what a file holds, its keys without case and `_`; messages name it as `shown`."""
    shown = shown or str(path)
    if not path.is_file():
        raise ContextError(f"there is no file {shown}", remedy="name one that is there")
    data, _ = read_declaration(path, shown)
    if not isinstance(data, dict):
        raise SpecError(f"{shown} is no mapping", remedy=f"see the documents of {_CONFIG}")
    return {folded(key): value for key, value in data.items()}


def _text(data: Mapping[str, Any], key: str) -> str | None:
    value = data.get(key)
    return value if isinstance(value, str) and value and value.isprintable() else None


def _pairs(path: Path, data: Mapping[str, Any], key: str) -> dict[str, str]:
    value = data.get(key) or {}
    if not isinstance(value, Mapping):
        raise SpecError(f"{path}: {key} are no names with values", remedy=f'"{key}": {{"NAME": "VALUE"}}, or none')
    return {str(key): str(each) for key, each in value.items()}


def _port(path: Path, value: Any) -> int | None:
    if value is None:
        return None
    try:
        port = whole(value)
    except ValueError:
        port = 0
    if not 0 < port < 65536:
        raise SpecError(
            f"{path}: {shown(str(value))} is no port",
            remedy="a number from 1 to 65535; without one, a free port is taken",
        )
    return port
