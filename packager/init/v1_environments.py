"""Environments of Azure ML v1: `azureml_environment.json`, and the same within an inference configuration."""

from __future__ import annotations

import posixpath
import re
from typing import Any, TypeGuard

import msgspec

from packager.checks.declared import looks_secret
from packager.environments.declare.pip_for_conda import KEPT, pip_in_place_of_conda, said
from packager.environments.declare.v1_names import PREFIX, nearest
from packager.init.dockerfile import read_steps, unread
from packager.init.hints import Hints, Section, shown
from packager.init.named_paths import NamedPaths
from packager.spec.rules import RESERVED_ENV
from packager.spec.texts import ENV_NAME

#: What v1 names the files that it saves beside `azureml_environment.json`.
CONDA_BESIDE, DOCKERFILE_BESIDE = "conda_dependencies.yml", "BaseDockerfile"

#: Conda packages that the base image has.
PYTHON_OR_PIP = re.compile(r"(?:[\w.-]+::)?(python|pip)(?:\s*[=<>!~]=*\s*(3\.\d+)?[\w.*,<>=!~| ]*)?")

_BASE = (
    "the target has a base image, with the Python that is asked for",
    "`base:` names yours, where it must be that one",
)
_LOGIN = ("packager keeps no credentials", "`docker login` keeps those of the registry")
_SPARK = ("it is for training on other compute, and no part of an inference image", "")
_LEFT = {
    "inferencingStackVersion": ("the lock pins the inference server", "name a version of it among the pip packages"),
    "spark": _SPARK,
    "databricks": _SPARK,
    "r": ("packager serves Python", ""),
    "assetId": ("it names the environment in a workspace of Azure", ""),
    "isCurated": ("it says where the environment came from", ""),
    "dependencies": ("it is not of this kind of file", ""),
}
_LEFT_PYTHON = {
    "interpreterPath": ("the image has one Python, of the locked environment", ""),
    "baseCondaEnvironment": ("the image has one environment, the locked one", "name its packages in the environment"),
}
_LEFT_DOCKER = {
    "baseImage": _BASE,
    "baseImageRegistry": _LOGIN,
    "enabled": ("it is always an image; without one: `packager run --no-docker`", ""),
    "arguments": ("they are `docker run`'s, said where the image runs", ""),
    "shmSize": ("it is said where the image runs", "`docker run --shm-size`"),
    "sharedVolumes": ("it is said where the image runs", "`docker run --mount`"),
    "gpuSupport": ("the target says it", "`targets: [gpu]`"),
    "buildContext": ("packager makes the Dockerfile", "a templates/ folder beside the spec changes blocks of it"),
}
#: What v1 writes into every environment.
_EXAMPLE = "EXAMPLE_ENV_VAR"
#: Lines of a Dockerfile that are named; of more, how many.
_MOST_LINES = 10


def read_environment(section: Section, hints: Hints, at: NamedPaths, *, beside: bool = False) -> None:
    """Read an environment, whole or by its name alone.

    Args:
        section: of it.
        hints: get what it says.
        at: resolves paths.
        beside: what v1 saves with it lies beside the file.
    """
    python, docker = section.section("python"), section.section("docker")
    if python is None and docker is None and "name" in section:
        _named(section, hints)
    else:
        for key in ("name", "version", "label"):
            if section.text(key) is not None:
                section.left(
                    key, "what it names is written out here", "`packager environment register` keeps it by name"
                )
    if python is not None:
        _python(python, hints, at)
    if docker is not None:
        _docker(docker, hints, at)
    if beside and hints.environment is None and not (hints.conda or hints.pip):
        _beside(section, hints, at)
    _variables(section, "environmentVariables", hints)
    section.rest(_LEFT)


def _beside(section: Section, hints: Hints, at: NamedPaths) -> None:
    """Take the files that v1 saves beside the environment's own."""
    folder = posixpath.dirname(at.path)
    for name in (CONDA_BESIDE, "conda_dependencies.yaml"):
        path = posixpath.join(folder, name)
        if path in at.known and hints.environment is None:
            hints.environment = path
            hints.origins.setdefault("environment", f"{path}, beside {section.file}")
    path = posixpath.join(folder, DOCKERFILE_BESIDE)
    if path in at.known:
        hints.say(path, _LEFT_DOCKER["buildContext"][0], _LEFT_DOCKER["buildContext"][1])


# --- by its name ------------------------------------------------------------------------------------------------------


def _named(section: Section, hints: Hints) -> None:
    name, version = section.text("name"), section.text("version") or section.text("label")
    if name is not None:
        name_environment(section, "name", name, version, hints)
        if version is not None and (hints.registered or hints.curated):
            section.took("version", "environment")


def name_environment(section: Section, key: str, name: str, version: str | None, hints: Hints) -> None:
    """Take an environment by its name: a curated one of v1's, or one that is registered in a workspace.

    Args:
        section: has the key.
        key: that names it.
        name: of the environment.
        version: of it; None, or `latest`, for the latest.
        hints: get it.
    """
    if hints.environment or hints.registered or hints.curated or hints.pip or hints.conda:
        section.left(key, f"{hints.origins.get('environment', 'another file')} has said the environment already")
        return
    if name.casefold().startswith(PREFIX.casefold()):
        hints.curated = nearest(name) or "minimal"
        reason = f"the nearest to {shown(name)}, with newer packages: `packager environment show {hints.curated}`"
        section.took(key, "environment.curated", reason)
        return
    number = version if version is not None and re.fullmatch(r"[1-9][0-9]{0,8}", version) else None
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,254}", name):
        section.left(key, f"{shown(name)!r} is no name of an environment in a workspace of packager's", "write it out")
        return
    hints.registered = name if number is None else f"{name}:{number}"
    if version is not None and number is None and version.lower() not in ("latest", "autosave"):
        section.left(key, f"{shown(version)!r} is no version of an environment: the latest is taken")
    section.took(key, "environment.registered", f"`packager environment register -n {name}` has to have it")


# --- python -----------------------------------------------------------------------------------------------------------


def _python(section: Section, hints: Hints, at: NamedPaths) -> None:
    path = section.text("condaDependenciesFile")
    if path is not None:
        found = at.file(section, "condaDependenciesFile", path)
        if found is not None and hints.environment is None:
            hints.environment = found
            section.took("condaDependenciesFile", "environment")
    inline = section.section("condaDependencies")
    if inline is not None:
        if hints.environment is None:
            read_dependencies(inline, hints)
        else:
            section.left("condaDependencies", f"{hints.environment} is the environment")
    if section.flag("userManagedDependencies"):
        section.left(
            "userManagedDependencies",
            "packages are locked and installed by packager, also those that a base image has",
            "name them in the environment",
        )
    if section.text("interpreterPath") not in (None, "python"):
        section.left("interpreterPath", *_LEFT_PYTHON["interpreterPath"])
    section.rest(_LEFT_PYTHON)


def read_dependencies(section: Section, hints: Hints) -> None:
    """Read what conda's files have, written into another one."""
    taken = False
    for index, item in enumerate(section.items("dependencies")):
        key = f"dependencies[{index}]"
        if is_requirement(item):
            hints.conda.append(item)
            taken = True
        elif isinstance(item, dict) and [*item] == ["pip"] and isinstance(item["pip"], list):
            texts = [_unpinned(each, section, key) for each in item["pip"] if is_requirement(each)]
            hints.pip += texts
            taken = True
            if len(texts) < len(item["pip"]):
                section.left(f"{key}.pip", "some of it is no text of one line")
        else:
            section.left(key, "it is no dependency: a text, or a list of texts below `pip`")
    named = section.items("channels")
    channels = [each for each in named if is_requirement(each) and len(each) <= 1024]
    hints.channels += channels
    if taken:
        section.took("dependencies", "environment")
    if channels and taken:
        section.took("channels", "environment.channels")
    if len(channels) < len(named):
        section.left("channels", "some of it is no text of one line")
    section.text("name")
    section.rest({"name": ("the environment is the spec's", ""), "prefix": ("it is at /opt/env", "")})


def is_requirement(item: object) -> TypeGuard[str]:
    """Whether an item is a text that a spec may have as a requirement."""
    return isinstance(item, str) and len(item.strip()) > 0 and len(item) <= 4096 and item.isprintable()


def _unpinned(requirement: str, section: Section, key: str) -> str:
    """Return a requirement without the version of azureml-defaults, which v1's SDK writes by itself: that of the SDK.

    It stands for the inference server, and of the old releases themselves there are no wheels.
    """
    if not re.fullmatch(r"azureml[-_]defaults\s*[~=<>!].*", requirement.strip(), re.IGNORECASE):
        return requirement
    section.left(
        f"{key}.pip", f"of `{shown(requirement)}` the version", "azureml-defaults stands for the inference server"
    )
    return "azureml-defaults"


def settle_conda(hints: Hints) -> None:
    """Let pip install what conda is asked for, where it can: then conda is not needed, and of Python the version is."""
    found = {text: PYTHON_OR_PIP.fullmatch(text.strip()) for text in hints.conda}
    asked = [text for text, each in found.items() if each is None]
    instead = pip_in_place_of_conda(asked, hints.channels, hints.pip) if asked else ()
    if not hints.conda or instead is None:
        return
    origin = hints.origins.get("environment", "")
    file, _, key = origin.partition(": ")
    for text, each in found.items():
        if each is not None and each[1] == "python" and each[2]:
            hints.python = each[2]
            hints.origins["python"] = origin
        if each is not None and each[1] == "pip" and re.search(r"\d", text):
            hints.say(
                file,
                f"{key or 'dependencies'}: `{shown(text)}` is not asked for: no pip is in the image that is "
                "built, and what installs the packages is pinned elsewhere",
            )
    if instead:
        hints.say(file, f"{key or 'dependencies'}: {said(instead)}", KEPT)
    hints.conda, hints.channels, hints.pip = [], [], [*instead, *hints.pip]
    for index, entry in enumerate(hints.entries):
        if entry.field == "environment.channels":
            why = "nothing is asked of conda: the base image has Python, and pip installs the rest"
            hints.entries[index] = msgspec.structs.replace(entry, outcome="left", field="", reason=why)


# --- docker and variables ---------------------------------------------------------------------------------------------


def _docker(section: Section, hints: Hints, at: NamedPaths) -> None:
    if section.flag("enabled") is False:
        section.left("enabled", *_LEFT_DOCKER["enabled"])
    steps = section.get("baseDockerfile")
    if isinstance(steps, str):
        _dockerfile(section, steps, hints, at)
    elif steps is not None:
        section.left("baseDockerfile", "it is no text")
    image = section.text("baseImage")
    if image is not None:
        reason = "Azure's image has Python and drivers that the target's base has" if _is_azures(image) else _BASE[0]
        section.left("baseImage", reason, "" if _is_azures(image) else f"`base: {shown(image)}`, where it must be it")
    platform = section.section("platform")
    if platform is not None:
        _platform(platform)
    section.rest(_LEFT_DOCKER)


def _is_azures(image: str) -> bool:
    return "mcr.microsoft.com/azureml" in image or image.startswith("mcr.microsoft.com/")


def _dockerfile(section: Section, text: str, hints: Hints, at: NamedPaths) -> None:
    """Take the packages of a Dockerfile: its text, or the path of one."""
    if "\n" not in text and not re.match(r"\s*FROM\s", text, re.IGNORECASE):
        section.left("baseDockerfile", "packager makes the Dockerfile", "see what is read of Dockerfiles")
        return
    if read_steps(text, hints):
        section.took("baseDockerfile", "system_packages", "of its apt and pip lines")
        leave_unread(section, "baseDockerfile", text)
    else:
        section.left("baseDockerfile", *_LEFT_DOCKER["buildContext"])


def leave_unread(section: Section, key: str, text: str) -> None:
    """Note which lines of a Dockerfile are not taken over; its first line names a base image, which the target has.

    Args:
        section: has the key.
        key: of the lines.
        text: they.
    """
    lines = unread(text)
    for number, line in lines[:_MOST_LINES]:
        reason = f"`{shown(line)}` is neither an apt nor a pip line"
        section.left_part(key, f"[{number}]", reason, "it goes into a templates/ folder")
    if len(lines) > _MOST_LINES:
        number = lines[_MOST_LINES][0]
        section.left_part(key, f"[{number}…]", f"{len(lines) - _MOST_LINES} more such lines", "a templates/ folder")


def _platform(section: Section) -> None:
    system, machine = section.text("os"), section.text("architecture")
    if system is not None and system.lower() != "linux":
        section.left("os", "images are Linux's")
    if machine is not None and machine.lower() not in ("amd64", "x86_64", "x64"):
        section.left("architecture", "the target says it", "`targets: {cpu: {platforms: [linux/arm64]}}`, or arm-edge")
    section.rest()


def _variables(section: Section, key: str, hints: Hints) -> None:
    given = section.section(key)
    if given is not None:
        take_variables(given, hints)


def take_variables(section: Section, hints: Hints) -> None:
    """Take environment variables, but for those that packager sets itself, and secrets."""
    for name in section.names():
        value: Any = section.get(name)
        text = str(value).lower() if isinstance(value, bool) else str(value)
        if value is None:
            continue
        if name in RESERVED_ENV:
            if name == "WORKER_COUNT" and re.fullmatch(r"[0-9]{1,4}", text) and 1 <= int(text) <= 1024:
                section.put(name, "server.workers", int(text), hints.server)
            else:
                section.left(name, RESERVED_ENV[name])
        elif looks_secret(name):
            section.left(
                name, "it looks like a secret", f"the container gets it when it starts: `packager run -e {name}`"
            )
        elif (
            isinstance(value, dict | list)
            or not re.match(ENV_NAME, name)
            or not text.isprintable()
            or len(text) > 32768
        ):
            section.left(name, "it is no variable of one line")
        elif name == _EXAMPLE:
            section.left(name, "v1 writes it into every environment as an example")
        elif hints.env.setdefault(name, text) != text:
            section.left(name, f"{hints.origins.get(f'env.{name}', 'another file')} has said it already")
        else:
            section.took(name, f"env.{name}")
    section.rest()
