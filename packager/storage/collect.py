"""The one collector of all that packager leaves on a machine: what there is of each kind, and which of it goes.

A kind is data: where its things are, what tells their last use, who holds one, and how dear one is to make again. What
is held is a root, and stays. A file may have several names (a model of the store in a staged context, a file of uv's
cache in an environment): it takes space once, and removing a name frees something only when no other is left.
"""

from __future__ import annotations

import math
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Literal

import msgspec

from packager.storage.locks import alone, lock_of
from packager.storage.reading import failure

DAY = 86400.0

#: Seconds without use after which a collection takes what would make another build faster.
UNUSED = 30 * DAY


class Guard(msgspec.Struct, frozen=True, kw_only=True):
    """A lock that keeps things; see `packager.storage.locks`.

    Attributes:
        over: what the lock is of: one for all things of a kind; each thing's own where None.
        itself: the thing is a folder that is locked itself, not a file beside it.
        spares: seconds without use after which the lock does not keep a thing: nobody who holds it means that one.
    """

    over: Path | None = None
    itself: bool = False
    spares: float = math.inf

    def lock(self, path: Path) -> Path:
        """Return what has to be locked to have a thing alone."""
        return path if self.itself else lock_of(self.over or path)


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of what is kept on this machine.

    Attributes:
        name: of one of them, for people.
        root: folder of all.
        patterns: below the root: what is one of them.
        things: what else a name that fits must be.
        cost: of making one again, for its size: 0 nothing, 1 some work with what is here, 2 much work or a download,
            3 little files that save all of that.
        keeps: seconds without use after which a collection by age takes it at the latest.
        used: which of its times is its last use.
        marker: suffix of a file beside it that has that time; its own where empty.
        beside: suffixes of files beside it that go with it.
        guards: who holds one of them keeps it.
        young: seconds after its last use in which it is somebody's, with no lock.
        linked: its files are there for others to link to: one goes when no other name of it is left, and then at once.
        kept: paths of those that somebody uses who holds no lock.
    """

    name: str
    root: Path
    patterns: tuple[str, ...]
    things: Literal["file", "folder", "any"]
    cost: int
    keeps: float = UNUSED
    used: Literal["mtime", "atime", "ctime"] = "mtime"
    marker: str = ""
    beside: tuple[str, ...] = ()
    guards: tuple[Guard, ...] = ()
    young: float = 0.0
    linked: bool = False
    kept: frozenset[str] = frozenset()


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is kept.

    Attributes:
        kind: what it is.
        path: absolute.
        used: its last use, in seconds since the epoch.
        size: bytes on the disk of what is in it and has no other name.
        links: files in it that have several names, once for each name in it; keys of `Inventory.shared`.
        held: somebody uses it now.
    """

    kind: Kind
    path: str
    used: float
    size: int
    links: tuple[int, ...] = ()
    held: bool = False


class Inventory(msgspec.Struct, frozen=True, kw_only=True):
    """All that is kept; `shared` has bytes on the disk and the number of all names of the files with several names."""

    entries: tuple[Entry, ...]
    shared: Mapping[int, tuple[int, int]] = {}


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What a collection is to remove, of what nobody holds.

    Attributes:
        older_than: what was not used for so many seconds, and what nothing needs; nothing by its age where None.
        max_size: then more, until what is left takes at most so many bytes; no limit where None.
    """

    older_than: float | None = UNUSED
    max_size: int | None = None


class Collected(msgspec.Struct, frozen=True, kw_only=True):
    """What was there, and what of it was removed."""

    inventory: Inventory
    gone: tuple[Entry, ...]

    @property
    def freed(self) -> int:
        """Bytes on the disk that its removal frees."""
        return sum(space(self.inventory, self.gone).values())


# --- decide -----------------------------------------------------------------------------------------------------------


class _Space:
    """How much is freed while one entry after the other goes."""

    def __init__(self, inventory: Inventory) -> None:
        self._shared = inventory.shared
        self._names = {file: names for file, (_, names) in inventory.shared.items()}
        self.freed = 0

    def remove(self, entry: Entry) -> None:
        self.freed += entry.size
        for file in entry.links:
            self._names[file] -= 1
            if self._names[file] == 0:
                self.freed += self._shared[file][0]

    def only_name(self, entry: Entry) -> bool:
        return all(self._names[file] == 1 for file in entry.links)


def space(inventory: Inventory, entries: Iterable[Entry]) -> dict[str, int]:
    """Return the bytes on the disk that are freed when entries go in this order, by the names of their kinds. Pure.

    A file with several names counts where the last of them goes, and nowhere when somebody else has another.
    """
    gone, result = _Space(inventory), dict[str, int]()
    for entry in entries:
        before = gone.freed
        gone.remove(entry)
        result[entry.kind.name] = result.get(entry.kind.name, 0) + gone.freed - before
    return result


def decide(inventory: Inventory, policy: Policy, now: float) -> tuple[Entry, ...]:
    """Return what goes, in that order: cheap before dear, and of the same cost what was not used for longest. Pure.

    Args:
        inventory: what there is.
        policy: what is to go.
        now: seconds since the epoch.
    """
    free = sorted(
        (entry for entry in inventory.entries if not entry.held),
        key=lambda entry: (entry.kind.cost, entry.kind.linked, entry.used, entry.path),
    )
    linked = {file: entry for entry in free if entry.kind.linked for file in entry.links}
    total = sum(space(inventory, inventory.entries).values())
    gone, going = _Space(inventory), dict[str, Entry]()

    def take(entry: Entry) -> None:
        if entry.path in going or (entry.kind.linked and not gone.only_name(entry)):
            return
        going[entry.path] = entry
        gone.remove(entry)
        for file in entry.links:
            if file in linked:
                take(linked[file])

    for entry in free if policy.older_than is not None else ():
        if max(now - entry.used, 0.0) >= min(entry.kind.keeps, policy.older_than or 0.0):
            take(entry)
    for entry in free if policy.max_size is not None else ():
        if total - gone.freed <= (policy.max_size or 0):
            break
        take(entry)
    return tuple(going.values())


# --- act --------------------------------------------------------------------------------------------------------------


def take_stock(kinds: Iterable[Kind], now: float) -> Inventory:
    """Return all that there is of some kinds; nothing is read but folders.

    Args:
        kinds: which.
        now: seconds since the epoch.
    """
    shared: dict[int, tuple[int, int]] = {}
    entries = [entry for kind in kinds for path in _paths(kind) if (entry := _entry(kind, path, now, shared))]
    return Inventory(entries=tuple(entries), shared=shared)


def collect(kinds: Iterable[Kind], policy: Policy, now: float, *, dry_run: bool = False) -> Collected:
    """Remove what is to go; what somebody began to use meanwhile stays.

    Args:
        kinds: all, so that what one of them needs of another is known.
        policy: what is to go.
        now: seconds since the epoch.
        dry_run: remove nothing, only say what would go.

    Raises:
        ContextError: something cannot be removed.
    """
    inventory = take_stock(kinds, now)
    going = decide(inventory, policy, now)
    gone = going if dry_run else tuple(entry for entry in going if _remove(entry, now))
    return Collected(inventory=inventory, gone=gone)


def _paths(kind: Kind) -> Iterator[Path]:
    for pattern in kind.patterns:
        yield from sorted(kind.root.glob(pattern))


def _entry(kind: Kind, path: Path, now: float, shared: dict[int, tuple[int, int]]) -> Entry | None:
    try:
        status = path.lstat()
        used = _last_use(kind, path, status)
    except FileNotFoundError:
        return None
    is_folder = stat.S_ISDIR(status.st_mode)
    if kind.things != "any" and is_folder != (kind.things == "folder"):
        return None
    size, links = 0, []
    for found in (status, *(_below(os.fspath(path)) if is_folder else ())):
        if stat.S_ISDIR(found.st_mode) or found.st_nlink == 1:
            size += found.st_blocks * 512
        else:
            file = found.st_dev << 64 | found.st_ino
            shared[file] = (found.st_blocks * 512, found.st_nlink)
            links.append(file)
    unused = now - used
    held = os.fspath(path) in kind.kept
    held = held or unused < kind.young or any(unused < guard.spares and _taken(guard, path) for guard in kind.guards)
    return Entry(kind=kind, path=os.fspath(path), used=used, size=size, links=tuple(links), held=held)


def _below(folder: str) -> Iterator[os.stat_result]:
    """Yield the status of all that is in a folder, at any depth; what vanishes meanwhile is left out."""
    with suppress(OSError), os.scandir(folder) as names:
        for name in names:
            with suppress(FileNotFoundError):
                status = name.stat(follow_symlinks=False)
                yield status
                if stat.S_ISDIR(status.st_mode):
                    yield from _below(name.path)


def _last_use(kind: Kind, path: Path, status: os.stat_result) -> float:
    if kind.marker:
        with suppress(FileNotFoundError):
            return path.with_name(path.name + kind.marker).stat().st_mtime
        return 0.0  # it was never finished
    return float(getattr(status, f"st_{kind.used}"))


def _taken(guard: Guard, path: Path) -> bool:
    with alone(guard.lock(path), make=False) as free:
        return not free


def _remove(entry: Entry, now: float) -> bool:
    """Remove an entry, unless somebody uses it by now; return whether it went."""
    kind, path, unused = entry.kind, Path(entry.path), now - entry.used
    try:
        with ExitStack() as locks:
            free = [locks.enter_context(alone(guard.lock(path))) or unused >= guard.spares for guard in kind.guards]
            status = path.lstat()
            # Whoever has used it since it was looked at may be about to read it. The time of a link is another: that of
            # a context which went just now.
            again = status.st_nlink > 1 if kind.linked else _last_use(kind, path, status) > entry.used
            if again or not all(free):
                return False
            for suffix in kind.beside:
                path.with_name(path.name + suffix).unlink(missing_ok=True)
            if stat.S_ISDIR(status.st_mode):
                _remove_folder(path)
            else:
                path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise failure("removed", path, error) from None
    return True


def _remove_folder(path: Path) -> None:
    """Remove a folder that is gone for others in one step: a half of it, left by a killed process, is nobody's."""
    if path.name.startswith("."):
        shutil.rmtree(path)
        return
    outer = tempfile.mkdtemp(prefix=f".{path.name[:40]}.packager-", dir=path.parent)
    try:
        os.rename(path, os.path.join(outer, "gone"))
    finally:
        shutil.rmtree(outer)
