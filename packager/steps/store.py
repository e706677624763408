"""The steps of `store`: what packager keeps on this machine, and what of it goes."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

from packager.errors import PackagerError
from packager.scratch import ABANDONED, scratch_folders
from packager.steps.settings import cache_limit
from packager.storage.collect import DAY, UNUSED, Collected, Guard, Kind, Policy, collect, space
from packager.storage.content import ContentStore, layer_kind
from packager.storage.files import write_text
from packager.storage.memory import cache_root, note_kind, state_root
from packager.storage.models import Store, StoreCheck, model_kind
from packager.units import human_size
from packager.workspace.laid import mounted_once, registered_kind

__all__ = ["UNUSED", "KindSummary", "Policy", "gc", "info", "keep_limit", "kinds", "summaries", "verify"]

#: Seconds between two looks of `build` at the size of the cache: it takes a second for 100,000 files.
_LOOKS = 3600.0


class KindSummary(msgspec.Struct, frozen=True, kw_only=True):
    """How much there is of one kind.

    Attributes:
        name: of one of them.
        path: the folder of all.
        entries: how many.
        held: how many are in use now.
        size: bytes on the disk that they take; a file that several kinds have is counted at the first.
        shared: bytes on the disk that they have together with others (saved contexts, services, uv's cache), which
            their removal would not free.
        unneeded: how many `gc` removes without options.
        frees: bytes that this frees.
    """

    name: str
    path: str
    entries: int
    held: int
    size: int
    shared: int
    unneeded: int
    frees: int


def kinds() -> tuple[Kind, ...]:
    """Return all that packager keeps on this machine; what several have is counted at the first of them."""
    # Imported late: `build` asks whether there is a limit every time, and looks at what there is hardly ever.
    from packager.builders.staging import context_kind
    from packager.laying.cache import environment_kind
    from packager.laying.compile import bytecode_kind
    from packager.laying.interpreters import interpreter_kind
    from packager.laying.kinds import package_kind, prefix_kind
    from packager.serving.hosts.process.folders import batch_kind, run_kind, service_kind
    from packager.serving.hosts.process.machine import ProcessHost
    from packager.workspace.sources.places import download_kind

    cache, state = cache_root(), state_root()
    of_services = ProcessHost().needs()
    return (
        model_kind(cache),
        registered_kind(cache, (*_mounted(cache), *of_services)),
        context_kind(cache),
        layer_kind(cache),
        package_kind(cache),
        environment_kind(cache),
        bytecode_kind(cache),
        interpreter_kind(cache),
        prefix_kind(cache, of_services),
        download_kind(cache),
        note_kind(cache),
        service_kind(state),
        run_kind(state),
        batch_kind(state),
        _leftover_kind(cache),
        _temporary_kind(),
    )


def _mounted(cache: Path) -> tuple[str, ...]:
    """Return the folders of models that containers have mounted, or may have, where no engine can be asked."""
    candidates = tuple(map(str, mounted_once(cache)))
    if not candidates:
        return ()
    from packager.serving.hosts.docker.engine import DockerHost

    try:
        mounted = DockerHost().mounted()
    except PackagerError:
        return candidates
    return tuple(each for each in candidates if each in mounted or os.path.realpath(each) in mounted)


def _leftover_kind(cache: Path) -> Kind:
    """Return what killed processes have left half-made, and what earlier versions remembered in other places.

    After a day it belongs to no running process.
    """
    half_made = ("*/tmp/*", "content/save-*", ".looking-*", "environments/.laying-*", "*/.*.packager-*")
    earlier = ("checked-*", "base-files", "store/digests.sqlite")
    return Kind(
        name="leftover",
        root=cache,
        patterns=(*half_made, "conda/*/.*.packager-*", *earlier),
        things="any",
        cost=0,
        keeps=0.0,
        young=DAY,
    )


def _temporary_kind() -> Kind:
    """Return the folders for the moment in the temporary directory; whoever uses one locks it."""
    found = scratch_folders()
    return Kind(
        name="temporary folder",
        root=found[0].parent if found else Path(tempfile.gettempdir()),
        patterns=tuple(each.name for each in found),
        things="folder",
        cost=0,
        keeps=0.0,
        young=ABANDONED,
        guards=(Guard(itself=True),),
    )


def info() -> tuple[KindSummary, ...]:
    """Return how much there is of each kind; nothing is read but folders."""
    return summaries(kinds(), gc(Policy(), dry_run=True))


def gc(policy: Policy, *, dry_run: bool = False) -> Collected:
    """Remove what a policy says, of what nobody uses.

    Args:
        policy: what is to go.
        dry_run: only say what would go.

    Raises:
        ContextError: something cannot be removed.
    """
    return collect(kinds(), policy, time.time(), dry_run=dry_run)


def verify() -> tuple[StoreCheck, StoreCheck]:
    """Read every model and every layer of the store; the damaged ones are removed.

    Returns:
        what was found of models, and of the layers of images (whose digests start with `sha256:`).

    Raises:
        ContextError: a damaged one cannot be removed.
    """
    content = ContentStore()
    sizes = [status.st_size for _, status in content.blobs.all()]
    layers = StoreCheck(checked=len(sizes), size=sum(sizes), damaged=content.verify())
    return Store().verify(), layers


def keep_limit(environ: Mapping[str, str], say: Callable[[str], None]) -> None:
    """Keep what packager has on this machine below the user's limit, after a build; it looks once an hour.

    Args:
        environ: environment variables of this machine.
        say: is told what was freed; and what is wrong, which makes no build fail.
    """
    try:
        limit = cache_limit(environ)
        if limit is None or not _is_due(stamp := cache_root() / "limit", str(limit)):
            return
        collected = gc(Policy(older_than=None, max_size=limit))
        write_text(stamp, str(limit))
    except PackagerError as error:
        say(f"warning: the cache is not kept below its limit: {error.message}")
        return
    if collected.gone:
        say(f"{human_size(collected.freed)} freed, to keep the cache below {human_size(limit)}")


def _is_due(stamp: Path, limit: str) -> bool:
    with suppress(OSError):
        return stamp.read_text() != limit or time.time() - stamp.stat().st_mtime > _LOOKS
    return True


def summaries(kinds: tuple[Kind, ...], collected: Collected) -> tuple[KindSummary, ...]:
    """Return how much there was of each kind, and how much of it went. Pure."""
    stock = collected.inventory
    entries = {kind.name: [entry for entry in stock.entries if entry.kind == kind] for kind in kinds}
    size = space(stock, (entry for kind in reversed(kinds) for entry in entries[kind.name]))
    frees = space(stock, collected.gone)
    names = {file: names for file, (_, names) in stock.shared.items()}
    for file in (file for entry in stock.entries for file in entry.links):
        names[file] -= 1
    others = {file for file, left in names.items() if left > 0}
    result = []
    for kind in kinds:
        shared = others.intersection(file for entry in entries[kind.name] for file in entry.links)
        others -= shared
        result.append(
            KindSummary(
                name=kind.name,
                path=str(kind.root),
                entries=len(entries[kind.name]),
                held=sum(entry.held for entry in entries[kind.name]),
                size=size.get(kind.name, 0),
                shared=sum(stock.shared[file][0] for file in shared),
                unneeded=sum(entry.kind == kind for entry in collected.gone),
                frees=frees.get(kind.name, 0),
            )
        )
    return tuple(result)
