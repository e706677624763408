"""What files of Azure ML, and a Dockerfile, say of a package: hints for its spec. Nothing of it is run or fetched.

v1: inference and deployment configurations, environments, `.azureml/config.json` and `.amlignore`; v2: the YAML of
online deployments, endpoints and environments. They are known by what is in them, whatever they are called.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from packager.context.dockerignore import NAME as DOCKERIGNORE
from packager.environments.declare.pip_for_conda import pip_in_place_of_conda
from packager.environments.declare.v1_python import unasked_python
from packager.errors import SpecError
from packager.given import read_given
from packager.init.declarations import JSON, YAML, read_declaration
from packager.init.dockerfile import read_dockerfile
from packager.init.hints import Hints, Section, folded, shown
from packager.init.ignore_files import as_dockerignore
from packager.init.named_paths import NamedPaths
from packager.init.service_fields import settle_service
from packager.init.v1_deployment import read_deployment
from packager.init.v1_environments import PYTHON_OR_PIP, read_environment, settle_conda
from packager.init.v1_inference import read_inference_config
from packager.init.v2_files import read_endpoint, read_online_deployment, read_v2_environment
from packager.spec.document import parse_yaml
from packager.spec.load import is_spec

__all__ = ["Hints", "is_sample", "read_hints"]

#: What a file is.
Kind = Literal[
    "inference", "deployment", "environment", "workspace", "conda", "online-deployment", "endpoint", "v2-environment"
]

AMLIGNORE = ".amlignore"
#: Where v1 keeps which workspace is meant.
WORKSPACE_CONFIG = ".azureml/config.json"
CONDA_KEYS = frozenset({"name", "channels", "dependencies", "variables", "prefix", "platforms", "category"})

_SAMPLE = re.compile(r"(?:^|[-_.])(?:sample|request|payload|example[-_]?input|input[-_]?example)s?(?:[-_.0-9]|$)", re.I)
_NO_SAMPLE = re.compile(r"response|output|answer|result|expected|schema|config", re.I)
_IN_AZURE = ("packager has no subscription of Azure", "")
_LEFT_OF_WORKSPACE = {"subscriptionId": _IN_AZURE, "resourceGroup": _IN_AZURE, "scope": _IN_AZURE, "id": _IN_AZURE}


def read_hints(folder: Path, files: Iterable[str], named: Iterable[str] | None = None) -> Hints:
    """Return what the files of a folder say.

    Args:
        folder: that they are in.
        files: relative to it, with `/`.
        named: the files that somebody named, which are to be read and no others; paths that they name are taken
            whether they are there or not. None reads what is found among all.

    Raises:
        SpecError: a named file cannot be read, or is none that can be taken over.
    """
    known = frozenset(files)
    hints = Hints()
    chosen = known if named is None else dict.fromkeys(named)
    broken: list[SpecError] = []
    for path in sorted(chosen, key=lambda each: (each.count("/"), each)):
        try:
            _read(folder, path, hints, known, named=named is not None)
        except SpecError as error:
            broken.append(error)
    if broken:
        raise _all_of(broken)
    if named is not None:
        _unfold_conda_file(folder, hints)
    settle_conda(hints)
    settle_service(hints)
    _tell_of_pip_beside(hints)
    return hints


def _read(folder: Path, path: str, hints: Hints, known: frozenset[str], *, named: bool) -> None:
    """Read one file.

    Raises:
        SpecError: it is named, and cannot be taken over.
    """
    name = posixpath.basename(path)
    if name == "Dockerfile" or name.endswith(".Dockerfile"):
        read_dockerfile(_text(folder / path), path, hints, known)
    elif name == AMLIGNORE:
        _ignore_file(folder, path, hints, known)
    elif path.lower().endswith((*JSON, *YAML)) and (named or "packager" not in name):
        _declaration(folder, path, hints, known, lenient=named)
    elif named:
        raise _no_file_of_theirs(path)


def _all_of(broken: list[SpecError]) -> SpecError:
    """Return one error for all files that cannot be taken over, each with its place."""
    if len(broken) == 1:
        return broken[0]
    lines = [f"{error.message}{f' ({error.where})' if error.where is not None else ''}" for error in broken]
    remedies = dict.fromkeys(error.remedy for error in broken if error.remedy)
    return SpecError("\n  ".join([f"{len(broken)} files cannot be taken over:", *lines]), remedy="; ".join(remedies))


def is_sample(path: str) -> bool:
    """Whether a file's name says that it is a sample of a request, as JSON."""
    name = posixpath.basename(path).lower()
    return name.endswith(JSON) and bool(_SAMPLE.search(Path(name).stem)) and not _NO_SAMPLE.search(name)


def kind_of(data: dict[str, Any], path: str) -> Kind | None:
    """Return what a file is, by its keys; None where it is none that is known."""
    keys = {folded(key) for key in data}
    schema = str(data.get("$schema", ""))
    rules: tuple[tuple[bool, Kind], ...] = (
        ("entryscript" in keys, "inference"),
        ("computetype" in keys, "deployment"),
        ("workspacename" in keys, "workspace"),
        ("codeconfiguration" in keys or "OnlineDeployment" in schema, "online-deployment"),
        ("OnlineEndpoint" in schema or "authmode" in keys, "endpoint"),
        ({"python", "docker"} <= keys or posixpath.basename(path) == "azureml_environment.json", "environment"),
        ("condafile" in keys or schema.endswith("environment.schema.json"), "v2-environment"),
        (isinstance(data.get("dependencies"), list) and data.keys() <= CONDA_KEYS, "conda"),
    )
    return next((kind for holds, kind in rules if holds), None)


def can_be_read(path: Path) -> bool:
    """Whether a file, found and not named, is one that is taken over; a configuration that is broken is one."""
    name = path.name
    if name in ("Dockerfile", AMLIGNORE) or name.endswith(".Dockerfile"):
        return True
    if "packager" in name or is_sample(name):
        return False
    try:
        data, _ = read_declaration(path, name)
    except SpecError as error:
        return _expected(name) and not _is_empty(path) and "not a mapping" not in error.message
    return isinstance(data, dict) and not is_spec(data) and kind_of(data, name) is not None


def _expected(name: str) -> bool:
    """Whether a file has the name of a configuration."""
    lower = name.lower()
    return "config" in lower.replace("_", "") or "deployment" in lower or lower == "azureml_environment.json"


def _declaration(folder: Path, path: str, hints: Hints, known: frozenset[str], *, lenient: bool) -> None:
    try:
        data, twice = read_declaration(folder / path, path)
    except SpecError as error:
        if lenient:
            raise
        if (
            _expected(posixpath.basename(path))
            and not _is_empty(folder / path)
            and "not a mapping" not in error.message
        ):
            hints.say(str(error.where or path), f"not read: it {error.message}")
        return
    if is_sample(path) and not lenient:
        hints.tests.append(path)
        return
    if is_spec(data):
        if lenient:
            raise SpecError(f"{path} is a spec of packager already", remedy=f"`packager check -f {path}` looks at it")
        hints.specs.append(path)
        return
    kind = kind_of(data, path) if isinstance(data, dict) else None
    if kind is None:
        if lenient:
            raise _no_file_of_theirs(path)
        return
    if kind == "conda" and not lenient:
        return  # whoever looks at the folder chooses among those
    hints.begin(path)
    for key in twice:
        hints.say(path, f"the key {shown(key)!r} is there twice: the last one counts")
    section, at = Section(hints, path, data), NamedPaths(path, known, lenient=lenient)
    match kind:
        case "inference":
            read_inference_config(section, hints, at, _Texts(folder, known))
        case "deployment":
            read_deployment(section, hints)
        case "workspace":
            _workspace(section, hints)
        case "environment":
            read_environment(section, hints, at, beside=True)
        case "conda":
            _conda(section, hints)
        case "online-deployment":
            read_online_deployment(section, hints, at)
        case "endpoint":
            read_endpoint(section, hints)
        case "v2-environment":
            read_v2_environment(section, hints, at)


def _no_file_of_theirs(path: str) -> SpecError:
    return SpecError(
        f"{path} is no file that can be taken over",
        remedy="inference, deployment and workspace configurations, azureml_environment.json, conda's YAML and "
        ".amlignore of Azure ML v1; YAML of online deployments, endpoints and environments of v2; Dockerfiles",
    )


def _workspace(section: Section, hints: Hints) -> None:
    name = section.text("workspaceName")
    if name is not None and not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,254}", name):
        section.left("workspaceName", f"{shown(name)!r} is no name of a workspace")
    elif name is not None and hints.workspace is None:
        hints.workspace = name
        section.took("workspaceName", "workspace", f"one on this machine: `packager workspace create {name}`")
    elif name is not None:
        section.left("workspaceName", f"{hints.origins.get('workspace', 'another file')} has said it already")
    section.rest(_LEFT_OF_WORKSPACE)


def _conda(section: Section, hints: Hints) -> None:
    """Take a conda file as the environment: what it says is read when it is locked."""
    for key in section.names():
        section.get(key)
    if hints.environment in (None, section.file):
        hints.environment = section.file
        section.took("dependencies", "environment")
    else:
        section.left("dependencies", f"{hints.origins.get('environment', 'another file')} has said it already")


def _unfold_conda_file(folder: Path, hints: Hints) -> None:
    """Take what is in a conda file that another file names, where pip can install it; one that the user names stays.

    A file that says more than packages, or whose pip lines are options, stays, too.
    """
    path = hints.environment
    if path is None or hints.origins.get("environment", "").startswith(f"{path}: "):
        return
    text = _text(folder / path)
    try:
        data = parse_yaml(text, Path(path)).data
    except SpecError:
        return  # whoever locks says what is wrong with it
    packages, channels = data.get("dependencies"), data.get("channels") or []
    if data.keys() - {"name", "channels", "dependencies", "prefix"} or not isinstance(packages, list):
        return
    pip = [line for each in packages if isinstance(each, dict) for line in each.get("pip") or ()]
    unasked = unasked_python(text)
    conda = [each for each in packages if isinstance(each, str) and each != unasked]
    if not all(isinstance(each, str) and not each.startswith("-") for each in (*pip, *channels)):
        return
    asked = [each for each in conda if not PYTHON_OR_PIP.fullmatch(each.strip())]
    if (asked or unasked) and pip_in_place_of_conda(asked, channels, pip) is not None:
        hints.environment = None
        hints.conda, hints.channels, hints.pip = conda, channels, [*pip, *hints.pip]


def _ignore_file(folder: Path, path: str, hints: Hints, known: frozenset[str]) -> None:
    hints.begin(path)
    beside = posixpath.join(posixpath.dirname(path), DOCKERIGNORE)
    if beside in known or (folder / beside).exists():
        hints.say(path, f"not taken over: {beside} is there, and says what stays out of the image")
        return
    hints.ignores[path] = as_dockerignore(_text(folder / path))


def _tell_of_pip_beside(hints: Hints) -> None:
    """Say what of Dockerfiles is in no environment, where that is a file of its own."""
    if hints.environment is None or not hints.pip:
        return
    names = ", ".join(shown(each) for each in hints.pip[:5]) + (" …" if len(hints.pip) > 5 else "")
    hints.say(hints.environment, f"it is the environment; packages that other files install are not in it: {names}")


class _Texts(dict[str, str]):
    """Path → text of the files of a folder, each read when it is asked for."""

    def __init__(self, folder: Path, known: frozenset[str]) -> None:
        super().__init__()
        self._folder, self._known = folder, known

    def __contains__(self, path: object) -> bool:
        return path in self._known

    def __missing__(self, path: str) -> str:
        return _text(self._folder / path)


def _text(path: Path) -> str:
    try:
        return read_given(path).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return ""


def _is_empty(path: Path) -> bool:
    return not _text(path).strip()
