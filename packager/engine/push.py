"""Image references → their registries, through the engine, with the user's own Docker credentials."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from packager.engine.api import connect, require_local
from packager.engine.failures import registry_failure
from packager.errors import EngineError, PackagerError, RegistryError, UsageError
from packager.reference import Reference


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far one layer is.

    Attributes:
        layer: its short id.
        status: in the engine's words (`Pushing`, `Pushed`, `Layer already exists` …).
        current: bytes sent, uncompressed; 0 where unknown.
        total: bytes to send, uncompressed; 0 where unknown.
    """

    layer: str
    status: str
    current: int
    total: int


class Pushed(msgspec.Struct, frozen=True, kw_only=True):
    """A reference that is at its registry.

    Attributes:
        reference: as it was given, with its tag.
        digest: `sha256:…` of the manifest.
        uploaded: layers that were sent.
        present: layers that the registry had, in this repository or another one.
    """

    reference: str
    digest: str
    uploaded: int
    present: int

    @property
    def pinned(self) -> str:
        """The reference with its digest."""
        return f"{self.reference}@{self.digest}"


def tagged(reference: str) -> str:
    """Return a reference with its tag, `latest` where it has none; otherwise as the user wrote it.

    Raises:
        UsageError: it is no valid reference, or has a digest: a registry makes those, nobody can push one.
    """
    parsed = Reference.parse(reference)
    if parsed.digest is not None:
        raise UsageError(f"{reference} has a digest, and a push needs a tag", remedy=reference.partition("@")[0])
    return reference if parsed.tag else f"{reference}:latest"


def push_image(reference: str, *, on_progress: Callable[[Progress], None] = lambda _: None) -> Pushed:
    """Push one image. The engine tries a failed upload again by itself, for about a minute.

    Args:
        reference: with a tag; the engine has an image of that name.
        on_progress: is told of each step of each layer.

    Raises:
        UsageError: no valid reference.
        EngineError: no engine, or no such image in it.
        RegistryError: the registry does not let us in, or refuses the image.
        TemporaryError: the registry is out of reach or has trouble (5xx).
    """
    reference = tagged(reference)
    require_local(reference)
    repository, _, tag = reference.rpartition(":")
    with connect() as client:
        records = client.api.push(repository, tag=tag, stream=True, decode=True)
        return read_push(reference, records, on_progress)


def read_push(
    reference: str, records: Iterable[Mapping[str, Any]], on_progress: Callable[[Progress], None] = lambda _: None
) -> Pushed:
    """Return what the engine's records of a push say (Engine API, `POST /images/{name}/push`).

    A failure has no status code there: it is a record with `error`, after the 200 of the request.

    Raises:
        EngineError, RegistryError, TemporaryError: as `push`.
    """
    states: dict[str, str] = {}
    digest = ""
    for record in records:
        if "error" in record or "errorDetail" in record:
            raise _failure(reference, str(record.get("error") or record["errorDetail"].get("message", "")))
        aux = record.get("aux") or {}
        digest = str(aux.get("Digest") or digest)
        layer, status = record.get("id"), str(record.get("status", ""))
        if not layer:
            continue
        states[layer] = status
        detail = record.get("progressDetail") or {}
        on_progress(
            Progress(
                layer=layer, status=status, current=int(detail.get("current", 0)), total=int(detail.get("total", 0))
            )
        )
    if not digest:
        raise RegistryError(f"the push of {reference} ended without a digest", remedy="push it again")
    uploaded = sum(status == "Pushed" for status in states.values())
    present = sum(status.startswith(("Layer already exists", "Mounted from")) for status in states.values())
    return Pushed(reference=reference, digest=digest, uploaded=uploaded, present=present)


def _failure(reference: str, message: str) -> PackagerError:
    if "does not exist locally" in message:
        return EngineError(f"the engine has no image {reference}", remedy="`packager build` makes it")
    return registry_failure(message, reference)
