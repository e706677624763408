"""Which models a script asks for, and where they have to lie for it: told by its text. Pure."""

from __future__ import annotations

import ast
import posixpath
from collections.abc import Sequence

import msgspec

from packager.checks.constants import World
from packager.checks.module_facts import read_facts

# Any folder that no path of a script begins with by itself.
_MODELS = "/packager-models"
# Folders in which trackers of experiments (MLflow, Lightning, Weights & Biases) keep what every run wrote.
_TRACKERS = frozenset({"mlruns", "lightning_logs", "wandb"})


class AskedModels(msgspec.Struct, frozen=True, kw_only=True):
    """What a script asks for.

    Attributes:
        paths: below AZUREML_MODEL_DIR, in their order.
        names: of `Model.get_model_path`, with the version where one is given.
    """

    paths: tuple[str, ...] = ()
    names: tuple[tuple[str, int | None], ...] = ()


def asked_models(text: str, file: str) -> AskedModels:
    """Return what a script asks for, as far as its text tells.

    Args:
        text: its source.
        file: its path.
    """
    try:
        tree = ast.parse(text)
        world = World(f"/app/{file}", "/app", {"AZUREML_MODEL_DIR": _MODELS, "AML_APP_ROOT": "/app"})
        facts = read_facts(tree, world, "3.13", frozenset({"init", "run"}))
    except (SyntaxError, ValueError, RecursionError):
        return AskedModels()
    paths = [posixpath.normpath(each.text).removeprefix(f"{_MODELS}/") for each in facts.paths]
    below = [each for each in paths if not each.startswith(("/", "..")) and not any(sign in each for sign in "*?[")]
    names = [(call.name, call.version) for call in facts.calls if call.clear and call.name is not None]
    return AskedModels(paths=tuple(dict.fromkeys(below)), names=tuple(dict.fromkeys(names)))


def meant_models(models: Sequence[str]) -> Sequence[str]:
    """Return the models that are no output of one run among many; all of them where there are no others."""
    return [each for each in models if _TRACKERS.isdisjoint(each.split("/"))] or models


def placed_models(
    models: Sequence[str], files: Sequence[str], asked: AskedModels
) -> tuple[list[str], dict[str, tuple[str, int]]]:
    """Return the models as the script needs them, and name and version of those where it tells them.

    A script that joins a folder and a file (`AZUREML_MODEL_DIR/model/a.pkl`) needs the folder as its model. One that
    names `<name>/<version>/<file>` has several models, with these names. One that names a file alone
    (`AZUREML_MODEL_DIR/a.pkl`) has one model, whatever lies about besides.

    Args:
        models: files and folders that are models.
        files: all files.
        asked: of the script.
    """
    placed = _the_one(models, files, asked) or list(models)
    names: dict[str, tuple[str, int]] = {}
    for path in asked.paths:
        parts = path.split("/")
        if len(parts) < 2:
            continue
        held = [each for each in files if each == path or each.endswith(f"/{path}")]
        if held:
            top = held[0].removesuffix(path) + parts[0]
            placed = [each for each in placed if each != top and not each.startswith(f"{top}/")] + [top]
        elif len(parts) > 2 and parts[1].isdigit():
            own = [each for each in placed if posixpath.basename(each) == parts[2]]
            if len(own) == 1:
                names[own[0]] = (parts[0], int(parts[1]))
    if len(placed) == 1 and len(asked.names) == 1 and placed[0] not in names:
        name, version = asked.names[0]
        names[placed[0]] = (name, version or 1)
    return sorted(placed), names


def _the_one(models: Sequence[str], files: Sequence[str], asked: AskedModels) -> list[str]:
    """Return the one model that a script asks for by the file's name alone; nothing where it asks otherwise.

    It may be a file of a folder that is a model by itself: MLflow's holds a `model.pkl` that older scripts load.
    """
    if len(asked.paths) != 1 or "/" in asked.paths[0] or asked.names:
        return []
    inside = [each for each in files if each.startswith(tuple(f"{model}/" for model in models))]
    for candidates in (models, inside):
        called = [each for each in candidates if posixpath.basename(each) == asked.paths[0]]
        # One that lies higher is the one of today: others are in `old` or `backup`.
        depth = min((each.count("/") for each in called), default=0)
        highest = [each for each in called if each.count("/") == depth]
        if called:
            return highest if len(highest) == 1 else []
    return []
