"""Inference configurations of Azure ML v1, of both generations: with an environment, and with a conda file."""

from __future__ import annotations

from collections.abc import Mapping

from packager.init.dockerfile import read_steps
from packager.init.hints import Hints, Section, shown
from packager.init.named_paths import NamedPaths
from packager.init.v1_environments import leave_unread, name_environment, read_environment

_TEMPLATES = "Debian packages go into `system_packages`, all else into a templates/ folder"
_GPU = ("the gpu target has CUDA of its own", "`targets: {gpu: {cuda: …}}`; `packager target show gpu` says which")
_LEFT = {
    "schemaFile": (
        "the server makes the description of the service by the decorators of run()",
        "name a file of yours swagger2.json or swagger3.json, beside the entry script",
    ),
    "baseImage": ("the target has a base image", "`base:` names yours, where it must be that one"),
    "baseImageRegistry": ("packager keeps no credentials", "`docker login` keeps those of the registry"),
    "cudaVersion": _GPU,
    "enableGpu": _GPU,
}
_PYTHONS = ("python", "python-slim")


def read_inference_config(section: Section, hints: Hints, at: NamedPaths, texts: Mapping[str, str]) -> None:
    """Read an inference configuration.

    Args:
        section: the whole of it.
        hints: get what it says.
        at: resolves paths.
        texts: path → text of files that it may name.
    """
    source = section.text("sourceDirectory")
    _script(section, source or ".", hints, at)
    _conda_file(section, source or ".", hints, at)
    _environment(section, hints, at)
    runtime = section.text("runtime")
    if runtime is not None and runtime.lower() not in _PYTHONS:
        section.left("runtime", f"{shown(runtime)!r} is none of packager's: it serves Python")
    elif runtime is not None:
        section.took("runtime", "entry_script", "a script of Python; its version is the environment's")
    description = section.text("description")
    if description is not None and not hints.description:
        hints.description = description
        section.took("description", "description")
    if section.flag("enableGpu"):
        hints.gpu = True
        section.took("enableGpu", "targets")
    _steps(section, source or ".", hints, at, texts)
    section.rest(_LEFT)


def _script(section: Section, source: str, hints: Hints, at: NamedPaths) -> None:
    script = section.text("entryScript")
    if script is None:
        return
    if not script.endswith(".py"):
        section.left("entryScript", f"{shown(script)!r} is no Python file")
        return
    entry = at.file(section, "entryScript", source, script)
    folder = at.folder(source)
    if entry is None:
        return
    if hints.entry_script is not None:
        section.left("entryScript", f"{hints.origins.get('entry_script', 'another file')} has said it already")
        return
    hints.entry_script = entry
    section.took("entryScript", "entry_script")
    if folder is not None and (folder == "." or entry.startswith(f"{folder}/")):
        hints.source_dir, hints.keeps_name = folder, True
        if "sourceDirectory" in section:
            section.took("sourceDirectory", "source_dir")
    elif "sourceDirectory" in section:
        section.left("sourceDirectory", "it is no folder here that has the entry script")
    if "sourceDirectory" not in section:
        hints.say(
            section.file,
            "there is no sourceDirectory, with which v1 packages the entry script alone; the spec's `source_dir` is "
            "packaged whole",
            "a .dockerignore keeps files out",
        )


def _conda_file(section: Section, source: str, hints: Hints, at: NamedPaths) -> None:
    path = section.text("condaFile")
    if path is None:
        return
    # It is relative to the source directory, or to the file itself: people do both.
    inside = [each for each in at.below(source, path) if each in at.known]
    found = inside[0] if inside else at.file(section, "condaFile", path)
    if found is None:
        return
    if hints.environment is not None:
        section.left("condaFile", f"{hints.origins.get('environment', 'another file')} has said it already")
        return
    hints.environment = found
    section.took("condaFile", "environment")


def _environment(section: Section, hints: Hints, at: NamedPaths) -> None:
    value = section.get("environment")
    if isinstance(value, dict):
        read_environment(Section(hints, section.file, value, section.place("environment")), hints, at)
    elif isinstance(value, str):
        name, _, version = value.partition(":")
        name_environment(section, "environment", name, version or None, hints)
    elif value is not None:
        section.left("environment", "it is neither an environment nor the name of one")


def _steps(section: Section, source: str, hints: Hints, at: NamedPaths, texts: Mapping[str, str]) -> None:
    """Take the packages of Dockerfile steps: the path of a file, or their text."""
    key = "extraDockerfileSteps"  # and extraDockerFileSteps
    value = section.get(key)
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        value = "\n".join(value)
    if value is None or (not isinstance(value, str)):
        if value is not None:
            section.left(key, "it is no text")
        return
    text = value
    if "\n" not in value:
        places = [each for each in (*at.below(source, value), *at.below(value)) if each in texts]
        text = texts[places[0]] if places else value
    if read_steps(text, hints):
        section.took(key, "system_packages", "of its apt and pip lines")
        leave_unread(section, key, text)
    else:
        section.left(key, "nothing in it is an apt or pip line that can be read", _TEMPLATES)
