"""`-o type=oci,dest=…` and `-o type=docker,dest=…`, as `docker buildx build` writes them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, cast

import msgspec


class Output(msgspec.Struct, frozen=True, kw_only=True):
    """Where an image goes besides a registry and an engine.

    Attributes:
        kind: `oci` (layout) or `docker` (archive for `docker load`).
        destination: a file, or for `oci` a folder where its name does not end with `.tar`.
    """

    kind: Literal["oci", "docker"]
    destination: Path

    @property
    def is_folder(self) -> bool:
        """Whether the destination is a folder."""
        return self.kind == "oci" and self.destination.suffix != ".tar"


def parse_output(text: str) -> Output | None:
    """Return the output that a text names; None where it is one that only BuildKit knows."""
    fields = dict(each.partition("=")[::2] for each in text.split(","))
    kind, destination = fields.get("type"), fields.get("dest")
    if kind not in ("oci", "docker") or not destination or destination == "-" or set(fields) - {"type", "dest"}:
        return None
    return Output(kind=cast(Literal["oci", "docker"], kind), destination=Path(destination))


def takes_several(push: bool, outputs: Sequence[str]) -> bool:
    """Whether images for several platforms have a place under one name where a build sends them."""
    found = [parse_output(text) for text in outputs]
    layouts = [output is not None and output.kind == "oci" for output in found]
    return all(layouts) and (push or bool(layouts))
