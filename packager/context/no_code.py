"""The files of the app's layer that are made for a model without code: entry script, its helper, and swagger."""

from __future__ import annotations

import json

from packager.context.swagger import swagger_texts
from packager.contract import APP_ROOT
from packager.errors import ContextError
from packager.models.inspect import inspect_model
from packager.plan.trees import Tree, TreeFile, generated_file
from packager.resources import program
from packager.spec.framework import NO_CODE_SCRIPT, Kind
from packager.spec.load import SpecFile

HELPER = "packager_json.py"
#: What stands in the scripts for the model's file or folder.
_PLACEHOLDER = '"@MODEL@"'
_OLDEST_PYTHON = 10


def script_text(kind: Kind, file: str) -> str:
    """Return the entry script of a framework.

    Args:
        kind: the framework.
        file: the model's file or folder below AZUREML_MODEL_DIR.
    """
    # A JSON text is a Python text, too.
    return _source(f"{kind}_score.py").replace(_PLACEHOLDER, json.dumps(file, ensure_ascii=False))


def no_code_files(spec_file: SpecFile, python: str, app: Tree) -> tuple[TreeFile, ...]:
    """Return what is made for the model of a spec without an entry script; paths from the root of the image.

    Args:
        spec_file: of one target.
        python: minor version of the image.
        app: what the source directory gives; its swagger files go before ours.

    Raises:
        ContextError: the model is missing or of another framework; the source directory has a file of one of our
            names; the image's Python is too old for the script.
    """
    (model,) = spec_file.spec.models
    inspected = inspect_model(spec_file, model)
    theirs = {file.path for file in app.files}
    for name in (NO_CODE_SCRIPT, HELPER):
        if name in theirs:
            raise ContextError(
                f"the source directory has a file {name!r}, which is the name of one that packager makes",
                where=spec_file.at("source_dir"),
                remedy="rename it, or name it as `entry_script` where it is yours",
            )
    if int(python.partition(".")[2]) < _OLDEST_PYTHON:
        raise ContextError(
            f"the entry script for a model without code needs Python 3.{_OLDEST_PYTHON}, and the image has {python}",
            where=spec_file.at("models"),
            remedy="lock a newer Python, or write an entry script",
        )
    swagger = {
        name: text for name, text in swagger_texts(spec_file.spec, inspected).items() if not _has_swagger(theirs, name)
    }
    texts = {NO_CODE_SCRIPT: script_text(inspected.kind, inspected.file), HELPER: _source(HELPER), **swagger}
    folder = APP_ROOT.removeprefix("/")
    return tuple(generated_file(f"{folder}/{name}", text) for name, text in texts.items())


def _has_swagger(theirs: set[str], name: str) -> bool:
    return name in theirs or (name == "swagger2.json" and "swagger.json" in theirs)


def _source(name: str) -> str:
    return program(f"no_code/{name}").read_text("utf-8")
