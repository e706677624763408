"""What needs a registered version: images and locks that its workspace knows, this folder's lock, services."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Literal

import msgspec

from packager.contract import ENVIRONMENT_LABEL, MODELS_LABEL
from packager.decoding import decode_json
from packager.errors import ContextError
from packager.given import read_given
from packager.spec.find import find_spec
from packager.spec.load import LOCK_NAME
from packager.workspace.base import Workspace
from packager.workspace.values import Held, ImageRecord, Kind, Version

#: Bytes of a lock: those of some ten thousand packages.
_LOCK_LIMIT = 64 << 20


class NeededError(ContextError):
    """A version that is to be deleted is needed."""


class Use(msgspec.Struct, frozen=True, kw_only=True):
    """What needs a version.

    Attributes:
        kind: of what it is.
        what: reference of an image, name of a service, path of a lock.
        digest: of an image, where it is known.
        when: an image was made, RFC 3339 in UTC; else empty.
    """

    kind: Literal["image", "service", "lock"]
    what: str
    digest: str | None = None
    when: str = ""


class _Named(msgspec.Struct, frozen=True):
    """What a label says of one model."""

    name: str
    version: int
    digest: str | None = None


class _Pin(msgspec.Struct, frozen=True):
    version: int
    digest: str | None = None


class _Pins(msgspec.Struct, frozen=True):
    models: dict[str, _Pin] = {}
    environments: dict[str, _Pin] = {}


class _Lock(msgspec.Struct, frozen=True):
    """What of a lock counts here; one that is wrong elsewhere needs a version none the less."""

    registered: _Pins = _Pins()


def uses(workspace: Workspace, version: Version, say: Callable[[str], None]) -> tuple[Use, ...]:
    """Return what needs a version; the newest of equal images alone.

    Args:
        workspace: has it.
        version: it.
        say: is told what cannot be looked at.

    Raises:
        ContextError, RegistryError, TemporaryError: the workspace cannot be read now.
    """
    from packager.serving.holding import labels_of_services

    records = workspace.images()
    images = {
        (record.reference, record.digest): Use(
            kind="image", what=record.reference, digest=record.digest, when=record.when
        )
        for record in records
        if any(_is(version, each.name, each.version, each.digest) for each in _held(record, version.kind))
    }
    locks = (Use(kind="lock", what=str(path)) for path in locks_of(records) if _pins(path, version))
    services = {name for name, labels in labels_of_services(say) if _holds(labels, version)}
    return (*images.values(), *locks, *(Use(kind="service", what=name) for name in sorted(services)))


def refuse_needed(version: Version, found: Iterable[Use]) -> None:
    """Refuse to delete what is needed.

    Raises:
        NeededError: it is.
    """
    # What runs or is locked matters more than images, of which each build of one reference is another.
    counts = Counter((_WEIGHT.index(each.kind), each.kind, each.what) for each in found)
    if not counts:
        return
    shown = [
        f"the {kind} {what}" + (f" ({count} builds)" if count > 1 else "")
        for (_, kind, what), count in sorted(counts.items(), key=lambda each: each[0][0])
    ]
    more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
    kinds = {kind for _, kind, _ in counts}
    first = "; ".join(text.format(kind=version.kind) for kind, text in _INSTEAD.items() if kind in kinds)
    force = f"`packager {version.kind} delete {version.id} --force` deletes it none the less"
    raise NeededError(
        f"{version.id} is needed by {', '.join(shown[:_SHOWN])}{more}",
        remedy=f"{first}; or {force}" if first else f"{force}: its images stay, and cannot be built again",
    )


#: Kinds of what needs a version, the gravest first; how many are named; and what lets go of it.
_WEIGHT, _SHOWN = ("service", "lock", "image"), 3
_INSTEAD = {
    "service": "`packager service delete NAME`, or update it to an image without it",
    "lock": "let the spec take another {kind}, and `packager lock`",
}


def locks_of(records: Iterable[ImageRecord]) -> Iterator[Path]:
    """Give the locks of the specs that images were made of, as far as they are still there, and this folder's.

    Nobody tells a workspace of a spec that is locked and not built; who stands in its folder has it at hand.
    """
    here = find_spec(Path.cwd(), Path.home())
    specs = [Path(record.spec).absolute() for record in records if record.spec]
    seen = set()
    for spec in (*specs, *(() if here is None else (here.absolute(),))):
        own, common = spec.with_name(f"{spec.stem}.{LOCK_NAME}"), spec.with_name(LOCK_NAME)
        path = own if own.exists() else common
        if path not in seen and spec.exists() and path.exists():
            seen.add(path)
            yield path


def _held(record: ImageRecord, kind: Kind) -> tuple[Held, ...]:
    if kind == "model":
        return record.models
    return () if record.environment is None else (record.environment,)


def _pins(path: Path, version: Version) -> bool:
    try:
        lock = decode_json(read_given(path, _LOCK_LIMIT), _Lock)
    except (OSError, msgspec.MsgspecError):
        return False
    pins = lock.registered.models if version.kind == "model" else lock.registered.environments
    return any(_is(version, name.partition(":")[0], pin.version, pin.digest) for name, pin in pins.items())


def _holds(labels: Mapping[str, str], version: Version) -> bool:
    if version.kind == "environment":
        called, _, digest = labels.get(ENVIRONMENT_LABEL, "").partition("@")
        return called == version.id and digest in ("", version.digest)
    try:
        models = decode_json(labels.get(MODELS_LABEL, "[]"), tuple[_Named, ...])
    except msgspec.MsgspecError:
        return False
    return any(_is(version, each.name, each.version, each.digest) for each in models)


def _is(version: Version, name: str, number: int, digest: str | None) -> bool:
    """Whether something means a version: another workspace may have other content by the same name and number."""
    return (name, number) == (version.name, version.version) and digest in (None, version.digest)
