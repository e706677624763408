"""What `doctor` and the verbs of the store print with `--format json`; see `packager.steps.outputs`."""

from __future__ import annotations

from typing import Literal

from packager.steps.output import Output
from packager.steps.store import KindSummary


class Examined(Output, frozen=True):
    """A tool or setting that `doctor` looked at.

    Attributes:
        name: of what was looked for.
        status: `ok`, `missing`, or `warning` for what works only in part.
        detail: what is there.
        remedy: what to do.
        required: `lock`, `check` and `save` need it.
    """

    name: str
    status: Literal["ok", "missing", "warning"]
    detail: str
    remedy: str | None
    required: bool


class StoreInfo(Output, frozen=True):
    """What is kept on this machine.

    Attributes:
        size: bytes on the disk.
        frees: bytes that `store gc` frees.
        kinds: each kind.
    """

    size: int
    frees: int
    kinds: tuple[KindSummary, ...]


class CheckedImages(Output, frozen=True):
    """Layers that were read.

    Attributes:
        checked: how many.
        damaged: digests of damaged ones.
    """

    checked: int
    damaged: tuple[str, ...]


class StoreVerified(Output, frozen=True):
    """What `store verify` found.

    Attributes:
        checked: models that were read.
        size: bytes of these.
        damaged: digests of damaged ones.
        images: the same of layers.
    """

    checked: int
    size: int
    damaged: tuple[str, ...]
    images: CheckedImages


class Removed(Output, frozen=True):
    """What went of one kind.

    Attributes:
        removed: how many.
        freed: bytes.
    """

    removed: int
    freed: int


class Collected(Output, frozen=True):
    """What `store gc` removed.

    Attributes:
        freed: bytes.
        dry_run: nothing was removed: it is what would be.
        kinds: name → what went of it.
    """

    freed: int
    dry_run: bool
    kinds: dict[str, Removed]
