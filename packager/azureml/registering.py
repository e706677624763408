"""`Model.register`, done by the workspace."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packager.azureml.calling import tell
from packager.azureml.exceptions import WebserviceException
from packager.errors import ContextError
from packager.steps.registering import large_scratch
from packager.workspace.values import Resources

if TYPE_CHECKING:
    from packager.azureml.core.resource_configuration import ResourceConfiguration
    from packager.azureml.core.workspace import Workspace
    from packager.workspace.values import Version


def register_model(
    workspace: Workspace,
    path: str,
    name: str,
    *,
    children: tuple[str, ...] = (),
    samples: Any = None,
    resources: ResourceConfiguration | None = None,
    **facts: Any,
) -> Version:
    """Register the next version of a model, and return it.

    Args:
        workspace: that gets it.
        path: of a file or folder, or an address.
        name: of the model.
        children: paths in the folder that are taken alone.
        samples: a dataset with requests.
        resources: that a service with it wants.
        facts: as of `packager.Workspace.models.register`.

    Raises:
        WebserviceException: a child is not there.
        PackagerError: see `packager.Workspace.models.register`.
    """
    own = Resources(cpu=resources.cpu, memory_gb=resources.memory_in_gb, gpu=resources.gpu) if resources else None
    paths = tuple(getattr(samples, "_paths", ()))
    with _chosen(path, children) as chosen:
        try:
            return workspace._facade.models.register(name, chosen, resources=own, sample_inputs=paths, **facts)
        except ContextError as error:
            # v1 looked at no file: a version that the file contradicts was said by many, and did no harm.
            if facts.get("framework_version") is None:
                raise
            said = {**facts, "framework_version": None}
            version = workspace._facade.models.register(name, chosen, resources=own, sample_inputs=paths, **said)
            tell(f"warning: {error.message}: {version.framework_version} is registered")
            return version


@contextmanager
def _chosen(path: str, children: tuple[str, ...]) -> Iterator[str]:
    """Give a path, or a folder of its name that has some of its files alone."""
    if not children:
        yield path
        return
    root = Path(path)
    with large_scratch() as scratch:
        top = Path(scratch, root.resolve().name)
        for child in children:
            relative = os.path.relpath(child, root) if os.path.exists(child) else child
            source = root / relative
            if relative.startswith("..") or not source.exists():
                raise WebserviceException(f'Error, provided child path "{child}" cannot be found')
            target = top / relative
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, symlinks=True)
            else:
                shutil.copyfile(source, target)
        yield str(top)
