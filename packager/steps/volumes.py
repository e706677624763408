"""Models that are in no layer: what an image asks for by its label, found on this machine or fetched."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from packager.environments.lock import Pin
from packager.plan.volumes import labelled_models
from packager.serving.hosts.docker.image import ImagePackage
from packager.serving.service import Mounted, Package
from packager.spec.load import SpecFile
from packager.steps.registered import bring
from packager.steps.workspace_of import WorkspaceOf


def mounts_of(image: Package, spec_file: SpecFile | None, *, say: Callable[[str], None]) -> tuple[Mounted, ...]:
    """Return what a container of an image gets mounted.

    Args:
        image: says by a label which model belongs where, wherever it was built.
        spec_file: the spec, whose workspace is asked for what is not here; None where there is none.
        say: is told what is fetched.

    Raises:
        ContextError: the label is not ours; a model is neither here nor in the workspace, or is another there.
        RegistryError, TemporaryError: a registry's workspace does not give it.
    """
    wanted = [each for each in labelled_models(image.labels, image.title) if each.delivery == "volume"]
    if not wanted:
        return ()
    from packager.workspace.laid import mark_mounted

    found = []
    with WorkspaceOf(spec_file) as workspace:
        for model in wanted:
            laid = bring("model", model.name, Pin(version=model.version, digest=model.digest), workspace, say)
            mark_mounted(laid.folder)
            found.append(Mounted(folder=laid.folder, path=model.path))
    return tuple(found)


def with_mounts(image: ImagePackage, spec_file: SpecFile | None, *, say: Callable[[str], None]) -> ImagePackage:
    """Return an image with what its containers get mounted; see `mounts_of`."""
    return msgspec.structs.replace(image, mounts=mounts_of(image, spec_file, say=say))
