"""Image references → their registries, through the engine, with the user's own Docker credentials."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from typing import Any

import msgspec

from packager.engine.api import connect, require_local
from packager.engine.failures import registry_failure
from packager.errors import EngineError, PackagerError, RegistryError, UsageError
from packager.progress import Advance, working
from packager.reference import Reference


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


def push_image(reference: str) -> Pushed:
    """Push one image. The engine tries a failed upload again by itself, for about a minute.

    Args:
        reference: with a tag; the engine has an image of that name.

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
        return read_push(reference, records)


def read_push(reference: str, records: Iterable[Mapping[str, Any]]) -> Pushed:
    """Return what the engine's records of a push say (Engine API, `POST /images/{name}/push`).

    A failure has no status code there: it is a record with `error`, after the 200 of the request.

    Raises:
        EngineError, RegistryError, TemporaryError: as `push`.
    """
    states: dict[str, str] = {}
    digest = ""
    with ExitStack() as stack:
        layers = _Layers(stack)
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
            layers.reach(layer, int(detail.get("current", 0)), int(detail.get("total", 0)))
            if status == "Pushed":
                layers.end(layer)
    if not digest:
        raise RegistryError(f"the push of {reference} ended without a digest", remedy="push it again")
    uploaded = sum(status == "Pushed" for status in states.values())
    present = sum(status.startswith(("Layer already exists", "Mounted from")) for status in states.values())
    return Pushed(reference=reference, digest=digest, uploaded=uploaded, present=present)


class _Layers:
    """What the engine sends, as work that is told; bytes are those before compression.

    Args:
        stack: ends what is not pushed when all ends.
    """

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._sending: dict[str, tuple[ExitStack, Advance, int]] = {}

    def reach(self, layer: str, current: int, total: int) -> None:
        """Tell that so many bytes of a layer are sent."""
        if total <= 0:
            return
        if layer not in self._sending:
            work = self._stack.enter_context(ExitStack())
            self._sending[layer] = work, work.enter_context(working(f"pushing {layer}", total)), 0
        work, advance, before = self._sending[layer]
        if current > before:
            advance(current - before)
            self._sending[layer] = work, advance, current

    def end(self, layer: str) -> None:
        """Tell that a layer is pushed."""
        if layer in self._sending:
            self._sending.pop(layer)[0].close()


def _failure(reference: str, message: str) -> PackagerError:
    if "does not exist locally" in message:
        return EngineError(f"the engine has no image {reference}", remedy="`packager build` makes it")
    return registry_failure(message, reference)
