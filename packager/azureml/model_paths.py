"""Where the file of a model is, as an entry script asks for it: azureml-core 1.61's `Model.get_model_path`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from packager.azureml.exceptions import ModelNotFoundException, WebserviceException
from packager.contract import MODELS_FOLDER
from packager.errors import PackagerError

if TYPE_CHECKING:
    from packager.azureml.core.workspace import Workspace


def model_path(name: str, version: int | None, workspace: Workspace | None) -> str:
    """Return the path of a model's file or folder.

    Looked for in this order: `azureml-models/<name>/<version or the highest>` below AML_APP_ROOT or here; `<name>`
    here; the workspace, from which it is fetched into the first of these.

    Raises:
        ModelNotFoundException: it is nowhere.
        WebserviceException: there is not one file or folder in its place.
    """
    root = Path(os.environ.get("AML_APP_ROOT", ""), MODELS_FOLDER)
    if workspace is not None and (version is None or not (root / name / str(version)).is_dir()):
        return _fetched(name, version, workspace, root)
    if (found := _local(root / name, version)) is not None:
        return found
    if os.path.exists(name):
        return name
    raise ModelNotFoundException(
        f"Model {name} not found in cache at {root} or in current working directory {os.getcwd()}."
    )


def _local(folder: Path, version: int | None) -> str | None:
    if not folder.is_dir():
        return None
    if version is None:
        numbers = [int(each) for each in os.listdir(folder) if each.isdecimal()]
        if not numbers:
            raise WebserviceException(f"there is no version in {folder}")
        version = max(numbers)
    own = folder / str(version)
    if not own.is_dir():
        return None
    entries = os.listdir(own)
    if len(entries) != 1:
        raise WebserviceException(f"Dir {own} can contain only 1 file or folder. Found {entries}")
    return str(own / entries[0])


def _fetched(name: str, version: int | None, workspace: Workspace, root: Path) -> str:
    try:
        found = workspace._facade.models.get(name, version)
        if (there := _local(root / name, found.version)) is not None:
            return there
        return str(workspace._facade.models.download(found.id, root / name / str(found.version)))
    except PackagerError as error:
        raise ModelNotFoundException(
            f"Model/Version {name}/{version} not found in workspace. {error.message}", inner_exception=error
        ) from error
