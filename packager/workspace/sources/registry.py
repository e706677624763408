"""A model from a registry: an artifact, or an image with the files (`oci://registry/name:tag`)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from packager.errors import UsageError
from packager.reference import Reference
from packager.workspace.pulling import Pulled, pull_artifact
from packager.workspace.sources.values import Fetched


def fetch_reference(uri: str, scratch: Path, pull: Callable[[str, Path], Pulled] = pull_artifact) -> Fetched:
    """Return the model that a registry has, with files as the artifact names them: their digest is the same here.

    Args:
        uri: `oci://`, and a reference.
        scratch: see `packager.workspace.sources.fetch`.
        pull: pulls what is behind a reference.

    Raises:
        UsageError: it is no reference.
        RegistryError, TemporaryError, ContextError: as `pull_artifact`.
    """
    text = uri.partition("://")[2]
    if "@" in text.partition("/")[0]:
        raise UsageError("the address has a user or password in it", remedy="leave it out, and log in: `docker login`")
    Reference.parse(text)
    pulled = pull(text, scratch)
    draft, tops = pulled.draft, {each.path.partition("/")[0] for each in pulled.files}
    return Fetched(
        path=pulled.folder / tops.pop() if len(tops) == 1 else pulled.folder,
        files=pulled.files,
        source=draft.source,
        framework=draft.framework,
        framework_version=draft.framework_version,
        details=draft.details,
        samples=pulled.samples,
        run_id=draft.run_id,
        name=draft.name,
        description=draft.description,
        tags=draft.tags,
        properties=draft.properties,
        resources=draft.resources,
    )
