"""`Model.delete`: what deployments and packages leave behind needs no registered model, and does not hold one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from packager.azureml import records
from packager.steps.needed import refuse_needed

if TYPE_CHECKING:
    from packager.azureml.core.workspace import Workspace


def delete_model(workspace: Workspace, id: str) -> None:
    """Remove a version of a model.

    As in v1, services and images of the old API hold it until they are deleted. Images that `Model.deploy` and
    `Model.package` made, and their locks beside the workspace, do not: nobody who writes v1 can delete them, and each
    image has the model in it.

    Args:
        workspace: that has it.
        id: `name:version`.

    Raises:
        NeededError: a service, an image of the old API, or what the verbs made needs it.
        PackagerError: see `packager.Workspace.models.delete`.
    """
    models = workspace._facade.models
    version = models.get(id)
    # As `records.folder` has them all.
    own = records.folder(workspace, "services").parent
    kept = {each.get("location") for each in records.read_all(workspace, "images").values()}
    # The oldest first: what a reference names is the newest image of it.
    specs = {each.reference: each.spec for each in workspace._facade.images(id)}
    ours = {name for name, spec in specs.items() if name not in kept and Path(spec).is_relative_to(own)}
    found = models.uses(version)
    refuse_needed(
        version,
        (
            each
            for each in found
            if each.kind != "image" or each.what not in ours
            if each.kind != "lock" or not Path(each.what).is_relative_to(own)
        ),
    )
    models.delete(id, force=True)
