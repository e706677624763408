"""A model from a registry: an artifact, or an image with the files (`oci://registry/name:tag`)."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Protocol, cast

from packager.errors import UsageError
from packager.reference import Reference
from packager.workspace.sources.values import Fetched
from packager.workspace.values import Content, Source, Version


class _PullReference(Protocol):
    def __call__(self, reference: str, scratch: Path) -> tuple[Version, Path]: ...


def fetch_reference(uri: str, scratch: Path, pull: _PullReference | None = None) -> Fetched:
    """Return the model that a registry has.

    Args:
        uri: `oci://`, and a reference.
        scratch: see `packager.workspace.sources.fetch`.
        pull: gives a version without number, and the folder with its files; `artifacts.pull_reference` where None.

    Raises:
        UsageError: it is no reference.
        RegistryError, TemporaryError, ContextError: as `pull_reference`.
    """
    text = uri.partition("://")[2]
    if "@" in text.partition("/")[0]:
        raise UsageError("the address has a user or password in it", remedy="leave it out, and log in: `docker login`")
    reference = Reference.parse(text)
    if pull is None:
        pull = cast(_PullReference, importlib.import_module("packager.workspace.artifacts").pull_reference)
    version, folder = pull(text, scratch)
    samples = ((each, folder / each.path) for each in version.samples)
    return Fetched(
        path=folder / version.top if version.top else folder,
        source=Source(uri=uri, revision=reference.digest or version.digest),
        framework=version.framework,
        framework_version=version.framework_version,
        details=version.details,
        samples=tuple(Content(path=each.path, origin=at, sha256=each.sha256) for each, at in samples if at.is_file()),
        run_id=version.run_id,
        description=version.description,
        resources=version.resources,
    )
