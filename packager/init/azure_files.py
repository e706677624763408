"""What files of Azure ML, and a Dockerfile, say of a package: hints for its spec. Nothing of it is run or fetched.

v1: `inferenceconfig.json` and `deploymentconfig.json`, also as YAML; v2: the YAML of an online deployment. They are
known by what is in them, whatever they are called.
"""

from __future__ import annotations

import json
import posixpath
import re
import shlex
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec

from packager.checks.declared import looks_secret
from packager.errors import SpecError
from packager.given import read_given
from packager.spec.document import parse_yaml
from packager.spec.rules import RESERVED_ENV

_JSON, _YAML = (".json",), (".yml", ".yaml")
_SAMPLE = re.compile(r"(?:^|[-_.])(?:sample|request|payload|example[-_]?input|input[-_]?example)s?(?:[-_.0-9]|$)", re.I)
_NO_SAMPLE = re.compile(r"response|output|answer|result|expected|schema|config", re.I)
_PYTHON_OR_PIP = re.compile(r"(?:[\w.-]+::)?(?:python|pip)(?:\s*=+\s*(3\.\d+))?[\s\d.=*]*")
_DEBIAN = re.compile(r"[a-z0-9][a-z0-9+.-]+(?:=[A-Za-z0-9.+:~-]+)?")


class Hints(msgspec.Struct, kw_only=True):
    """What was read; each file adds to it.

    Attributes:
        entry_script: relative to the folder.
        source_dir: relative to the folder; holds the entry script.
        keeps_name: the source directory has its own name in the image, as v1 has it.
        environment: path of a file.
        conda, pip: an environment that is written into one of the files.
        models: paths.
        env: environment variables.
        server: fields of the spec's `server`.
        python: minor version.
        system_packages: Debian packages.
        tests: files with requests.
        read: files that were read.
        notes: what was passed over, and why.
    """

    entry_script: str | None = None
    source_dir: str | None = None
    keeps_name: bool = False
    environment: str | None = None
    conda: list[str] = []
    pip: list[str] = []
    models: list[str] = []
    env: dict[str, str] = {}
    server: dict[str, Any] = {}
    python: str | None = None
    system_packages: list[str] = []
    tests: list[str] = []
    read: list[str] = []
    notes: list[str] = []


def read_hints(folder: Path, files: Iterable[str]) -> Hints:
    """Return what the files of a folder say.

    Args:
        folder: that they are in.
        files: relative to it, with `/`.
    """
    known = frozenset(files)
    hints = Hints()
    for path in sorted(known, key=lambda each: (each.count("/"), each)):
        name = posixpath.basename(path)
        if name == "Dockerfile" or name.endswith(".Dockerfile"):
            _dockerfile(_text(folder / path), path, hints, known)
        elif path.endswith((*_JSON, *_YAML)) and "packager" not in name:
            _declaration(folder, path, hints, known)
    pythons = [
        re.fullmatch(r"(?:[\w.-]+::)?(?:python|pip)(?:\s*=+\s*(3\.\d+))?[\s\d.=*]*", each) for each in hints.conda
    ]
    if all(pythons):
        # The base image has Python and pip: conda is asked for nothing else.
        hints.python = next((each[1] for each in pythons if each and each[1]), hints.python)
        hints.conda = []
    return hints


def is_sample(path: str) -> bool:
    """Whether a file's name says that it is a sample of a request, as JSON."""
    name = posixpath.basename(path).lower()
    return name.endswith(_JSON) and bool(_SAMPLE.search(Path(name).stem)) and not _NO_SAMPLE.search(name)


def _text(path: Path) -> str:
    try:
        return read_given(path).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return ""


def _declaration(folder: Path, path: str, hints: Hints, known: frozenset[str]) -> None:
    name = posixpath.basename(path).lower()
    text = _text(folder / path)
    expected = "config" in name.replace("_", "") or "deployment" in name
    try:
        data = json.loads(text) if path.endswith(_JSON) else parse_yaml(text, Path(path)).data
    except (ValueError, RecursionError) as error:
        if expected and text.strip():
            place = f"{path}:{error.lineno}:{error.colno}" if isinstance(error, json.JSONDecodeError) else path
            reason = error.msg if isinstance(error, json.JSONDecodeError) else "it is nested too deeply"
            hints.notes.append(f"{place}: not read, it is no valid JSON: {reason}")
        return
    except SpecError as error:
        if expected and "not a mapping" not in error.message:
            hints.notes.append(f"{error.where or path}: not read: {error.message}")
        return
    at = _Paths(path, known, hints)
    if is_sample(path):
        hints.tests.append(path)
    elif not isinstance(data, dict):
        return
    elif "entryScript" in data:
        _inference_config(data, hints, at)
    elif "computeType" in data:
        _deployment_config(data, hints, at)
    elif isinstance(data.get("code_configuration"), dict) or "OnlineDeployment" in str(data.get("$schema")):
        _online_deployment(data, hints, at)
    elif {"python", "docker"} <= data.keys():
        _environment(data, hints, at)


class _Paths:
    """Paths that a file names, relative to its folder; those that are there."""

    def __init__(self, path: str, known: frozenset[str], hints: Hints) -> None:
        self.path, self.known, self._hints = path, known, hints

    def note(self, text: str) -> None:
        """Say what of the file was passed over."""
        self._hints.notes.append(f"{self.path}: {text}")

    def below(self, *parts: object) -> str:
        """Return a path relative to the folder of the package."""
        joined = posixpath.join(posixpath.dirname(self.path), *(str(each).replace("\\", "/") for each in parts))
        return posixpath.normpath(joined)

    def file(self, key: str, *parts: object) -> str | None:
        """Return a file that is there; a note says that it is not."""
        path = self.below(*parts)
        if path in self.known:
            return path
        self.note(f"{key} names {path!r}, which is not below this folder")
        return None

    def folder(self, *parts: object) -> str | None:
        """Return a folder that holds files."""
        path = self.below(*parts)
        return path if path == "." or any(each.startswith(f"{path}/") for each in self.known) else None


# --- Azure ML v1 ------------------------------------------------------------------------------------------------------


def _inference_config(data: dict[str, Any], hints: Hints, at: _Paths) -> None:
    hints.read.append(at.path)
    source = data.get("sourceDirectory") or "."
    entry = at.file("entryScript", source, data["entryScript"])
    if entry is not None and hints.entry_script is None:
        hints.entry_script, hints.source_dir, hints.keeps_name = entry, at.folder(source), True
    if data.get("condaFile"):
        # It is relative to the source directory, or to the file itself: people do both.
        inside = at.below(source, data["condaFile"])
        found = inside if at.folder(source) and inside in at.known else at.file("condaFile", data["condaFile"])
        hints.environment = hints.environment or found
    environment = data.get("environment")
    if isinstance(environment, dict):
        _environment(environment, hints, at)
    for key in ("extraDockerfileSteps", "extraDockerFileSteps", "baseImage", "baseImageRegistry", "schemaFile"):
        if data.get(key):
            at.note(f"{key} is not taken over{_INSTEAD.get(key, '')}")
    if data.get("enableGpu") or data.get("cudaVersion"):
        at.note("enableGpu is not taken over: for CUDA write `targets: [gpu]`")


_INSTEAD = {
    "baseImage": ": the target has a base; name yours as `base:` where it must be that one",
    "baseImageRegistry": ": `docker login` keeps credentials",
    "extraDockerfileSteps": ": Debian packages go into `system_packages`, all else into a templates/ folder",
    "extraDockerFileSteps": ": Debian packages go into `system_packages`, all else into a templates/ folder",
    "schemaFile": ": name the swagger file swagger2.json or swagger3.json beside the entry script",
}


def _environment(data: dict[str, Any], hints: Hints, at: _Paths) -> None:
    """Read an environment of v1: `azureml_environment.json`, or the same within an inference configuration."""
    if at.path not in hints.read:
        hints.read.append(at.path)
    python = data.get("python") if isinstance(data.get("python"), dict) else {}
    assert isinstance(python, dict), "made so"
    inline = python.get("condaDependencies")
    if isinstance(python.get("condaDependenciesFile"), str):
        hints.environment = hints.environment or at.file("condaDependenciesFile", python["condaDependenciesFile"])
    elif isinstance(inline, dict) and not hints.environment:
        _dependencies(inline.get("dependencies"), hints)
    _variables(data.get("environmentVariables"), hints, at)
    docker = data.get("docker") if isinstance(data.get("docker"), dict) else {}
    for key in ("baseImage", "baseDockerfile"):
        if docker and docker.get(key) and "mcr.microsoft.com/azureml" not in str(docker[key]):
            at.note(f"docker.{key} is not taken over{_INSTEAD['baseImage']}")


def _dependencies(given: Any, hints: Hints) -> None:
    for item in given if isinstance(given, list) else ():
        if isinstance(item, str):
            hints.conda.append(item)
        elif isinstance(item, dict) and isinstance(item.get("pip"), list):
            hints.pip += [each for each in item["pip"] if isinstance(each, str)]


def _deployment_config(data: dict[str, Any], hints: Hints, at: _Paths) -> None:
    hints.read.append(at.path)
    kind = str(data["computeType"]).upper()
    if data.get("authEnabled", kind == "AKS") is True:
        hints.server["auth"] = "key"
    port = data.get("port")
    if isinstance(port, int) and 1024 <= port <= 65535 and not isinstance(port, bool):
        hints.server["port"] = port
    _timeout(data.get("scoringTimeoutMs"), hints)
    others = sorted(
        {"containerResourceRequirements", "autoScaler", "numReplicas", "namespace", "dnsNameLabel"} & data.keys()
    )
    if others:
        at.note(f"{', '.join(others)}: said where the service runs, not in an image")


def _timeout(milliseconds: object, hints: Hints) -> None:
    if isinstance(milliseconds, int) and not isinstance(milliseconds, bool) and milliseconds > 0:
        seconds = milliseconds / 1000
        hints.server["scoring_timeout"] = int(seconds) if seconds == int(seconds) else seconds
        hints.server["timeout"] = max(300, int(seconds) + 60)


# --- Azure ML v2 ------------------------------------------------------------------------------------------------------


def _online_deployment(data: dict[str, Any], hints: Hints, at: _Paths) -> None:
    hints.read.append(at.path)
    code = data.get("code_configuration")
    if isinstance(code, dict) and code.get("scoring_script"):
        source = code.get("code") or "."
        entry = at.file("scoring_script", source, code["scoring_script"])
        if entry is not None and hints.entry_script is None:
            hints.entry_script, hints.source_dir = entry, at.folder(source)
    model = data.get("model")
    path = model.get("path") if isinstance(model, dict) else model
    if isinstance(path, str) and path.startswith("azureml:"):
        at.note(f"model {path} is in a workspace: download it, and name its file under `models`")
    elif isinstance(path, str):
        found = at.below(path)
        if found in at.known or (found != "." and at.folder(path)):
            hints.models.append(found)
        else:
            at.note(f"model names {found!r}, which is not below this folder")
    environment = data.get("environment")
    if isinstance(environment, dict):
        conda = environment.get("conda_file")
        if isinstance(conda, str):
            hints.environment = hints.environment or at.file("conda_file", conda)
        elif isinstance(conda, dict):
            _dependencies(conda.get("dependencies"), hints)
        if environment.get("image") and "mcr.microsoft.com/azureml" not in str(environment["image"]):
            at.note(f"environment.image is not taken over{_INSTEAD['baseImage']}")
    elif isinstance(environment, str):
        at.note(f"environment {environment} is in a workspace: write what it has into environment.yml")
    _variables(data.get("environment_variables"), hints, at)
    settings = data.get("request_settings")
    if isinstance(settings, dict):
        _timeout(settings.get("request_timeout_ms"), hints)
    others = sorted(
        {"instance_type", "instance_count", "liveness_probe", "readiness_probe", "scale_settings"} & data.keys()
    )
    if others:
        at.note(f"{', '.join(others)}: said where the service runs, not in an image")


def _variables(given: Any, hints: Hints, at: _Paths) -> None:
    for name, value in given.items() if isinstance(given, dict) else ():
        text = str(value).lower() if isinstance(value, bool) else str(value)
        if name in RESERVED_ENV:
            if name == "WORKER_COUNT" and text.isdigit() and 1 <= int(text) <= 1024:
                hints.server["workers"] = int(text)
            else:
                at.note(f"{name} is not taken over: {RESERVED_ENV[name]}")
        elif looks_secret(name):
            at.note(f"{name} is not taken over: it looks like a secret, which the container gets when it starts")
        elif not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) or not text.isprintable() or value is None:
            at.note(f"{name} is not taken over: it is no variable of one line")
        elif name != "EXAMPLE_ENV_VAR":  # what v1 writes into every environment
            hints.env[name] = text


# --- Dockerfile -------------------------------------------------------------------------------------------------------

_WORDS: dict[str, Callable[[str], bool]] = {
    "apt-get": lambda word: bool(_DEBIAN.fullmatch(word)),
    "pip": lambda word: bool(re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*(?:\[|[=<>!~ ]|$)", word)),
}

_NO_PACKAGES = ("pip", "setuptools", "wheel")
_FILES = (".whl", ".txt", ".tar.gz")


def _dockerfile(text: str, path: str, hints: Hints, known: frozenset[str]) -> None:
    """Take the packages of its `pip install` and `apt-get install` lines, and the Python of its FROM, as hints."""
    if not text:
        return
    hints.read.append(path)
    joined = re.sub(r"\\[ \t]*\r?\n(?:[ \t]*#.*\n)*", " ", text)
    base = re.search(r"(?im)^FROM\s+(?:--\S+\s+)*(?:\S+/)?python:(3\.\d+)", joined)
    hints.python = hints.python or (base[1] if base else None)
    for line in re.findall(r"(?im)^RUN\s+(.*)$", joined):
        for command in re.split(r"&&|\|\||;", line):
            try:
                words = shlex.split(command)
            except ValueError:
                continue
            for tool, names in (("apt-get", ("apt-get", "apt")), ("pip", ("pip", "pip3", "uv"))):
                used = next((index for index, word in enumerate(words) if posixpath.basename(word) in names), None)
                if used is not None and "install" in words[used:]:
                    _installed(words[words.index("install", used) + 1 :], tool, path, hints, known)
                    break
    if re.search(r"(?im)^(?:ENTRYPOINT|CMD)\s", joined):
        hints.notes.append(f"{path}: only its pip and apt lines are read; how the service starts is packager's")


def _installed(words: list[str], tool: str, path: str, hints: Hints, known: frozenset[str]) -> None:
    wanted = hints.system_packages if tool == "apt-get" else hints.pip
    skip = False
    for word in words:
        if skip:
            skip = False
        elif tool == "pip" and word in ("-r", "--requirement", "-c", "--constraint", "-i", "--index-url", "-f", "-t"):
            skip = True
        elif _WORDS[tool](word) and word not in (*wanted, *_NO_PACKAGES) and not word.endswith(_FILES):
            wanted.append(word)
    named = [after for word, after in pairwise(words) if word in ("-r", "--requirement")]
    for each in named if tool == "pip" else ():
        # The name in the image says nothing of the folder here.
        found = [file for file in sorted(known) if posixpath.basename(file) == posixpath.basename(each)]
        hints.environment = hints.environment or next(iter(found), None)
