"""What is registered, laid down on this machine: a folder with its files, each a link to the store's blob.

    registered/<64 hex digits>/        the files of a version, read-only; the digits are those of its digest
    registered/<64 hex digits>.lock    held by whoever uses it

Whoever packages, checks or mounts a registered model reads this folder, and needs no workspace once it is there. The
files of a digest are remembered, so that a folder that a collection removed comes back from the store.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from packager.decoding import json_decoder
from packager.errors import ContextError
from packager.spec.laid import Laid, LaidFile
from packager.storage.collect import DAY, Guard, Kind
from packager.storage.locks import hold
from packager.storage.memory import Memory, cache_root
from packager.storage.models import Store
from packager.storage.reading import failure
from packager.workspace.drafts import check_paths
from packager.workspace.values import File, content_digest

#: Makes what the store lacks of some files; raises where it cannot be had.
Fetch = Callable[[], None]

_FOLDER_MODE = 0o755
#: Suffix of a file beside a folder that a container was given.
_MOUNTED = ".mounted"
_FILES = json_decoder(tuple[File, ...])
#: Descriptors that keep folders from removal as long as this process runs: a plan may be used at any time.
_held: dict[Path, int] = {}


@contextmanager
def let_go() -> Iterator[None]:
    """Let what the block keeps from removal be removed after it: for a process that goes on to other versions."""
    before = set(_held)
    try:
        yield
    finally:
        for folder in set(_held) - before:
            os.close(_held.pop(folder))


def registered_kind(cache: Path, kept: Iterable[str] = ()) -> Kind:
    """Return what is registered and laid down in a cache.

    Args:
        cache: the folder of all that packager remembers.
        kept: paths of folders that are mounted somewhere, or that a service is started with again.
    """
    return Kind(
        name="registered model",
        root=cache / "registered",
        patterns=("[0-9a-f]*",),
        things="folder",
        cost=2,
        young=60.0,
        guards=(Guard(),),
        beside=(_MOUNTED,),
        kept=frozenset(kept),
    )


def folder_of(digest: str, cache: Path | None = None) -> Path:
    """Return where the content of a digest (`sha256:…`) is laid down, or would be."""
    return (cache or cache_root()) / "registered" / digest.removeprefix("sha256:")


def mark_mounted(folder: Path) -> None:
    """Note that a container is given a folder: a collection asks the engine then whether one still has it.

    Raises:
        ContextError: the cache cannot be written.
    """
    try:
        folder.with_name(folder.name + _MOUNTED).touch()
    except OSError as error:
        raise failure("written", folder, error) from None


def mounted_once(cache: Path) -> tuple[Path, ...]:
    """Return the folders that some container was given, at some time."""
    marks = (cache / "registered").glob(f"*{_MOUNTED}")
    return tuple(sorted(path.with_name(path.name.removesuffix(_MOUNTED)) for path in marks))


def recall(name: str, version: int, digest: str, store: Store | None = None) -> Laid | None:
    """Return what is registered from this machine alone; None where not all of it is here as it was registered.

    Args:
        name: of it.
        version: of it.
        digest: of its content, `sha256:…`: the folder is held against it.
        store: has the blobs; this user's where None.

    Raises:
        ContextError: the cache cannot be written.
    """
    store, folder = store or Store(), folder_of(digest)
    if not folder.is_dir() and _remembered(digest) is None:
        return None
    _keep(folder)
    files = _remembered(digest) or _read(folder, store)
    if content_digest(files) != digest:
        _remove(folder)
        return None
    if not _is_whole(folder, files, store):
        _remove(folder)
        if not all(store.is_sound(file.sha256, file.size) for file in files):
            return None
        _lay(folder, files, store)
    return _laid(name, version, digest, files)


def lay(name: str, version: int, files: tuple[File, ...], fetch: Fetch, store: Store | None = None) -> Laid:
    """Lay down what is registered.

    Args:
        name: of it.
        version: of it.
        files: of it.
        fetch: puts into the store what that lacks of them.
        store: has the blobs then; this user's where None.

    Raises:
        ContextError: something is gone or not what was registered; the cache cannot be written, or the disk is full.
        RegistryError, TemporaryError: it is not to be fetched.
    """
    store, digest = store or Store(), content_digest(files)
    # Of a workspace that others keep: no path in it leads out of the folder.
    check_paths([file.path for file in files], name)
    _keep(folder := folder_of(digest))
    for file in files:
        if store.has(file.sha256, file.size) and not store.is_sound(file.sha256, file.size):
            store.blobs.remove(store.path(file.sha256))
    fetch()
    if not _is_whole(folder, files, store):
        _remove(folder)
        _lay(folder, files, store)
    Memory("files", cache_root() / "registered").remember(msgspec.json.encode(files), digest)
    return _laid(name, version, digest, files)


def _laid(name: str, version: int, digest: str, files: tuple[File, ...]) -> Laid:
    own = tuple(LaidFile(file.path, file.size, file.sha256) for file in sorted(files, key=lambda each: each.path))
    return Laid(name=name, version=version, digest=digest, folder=folder_of(digest), files=own)


def _remembered(digest: str) -> tuple[File, ...] | None:
    data = Memory("files", cache_root() / "registered").recall(digest)
    if data is None:
        return None
    try:
        return _FILES.decode(data)
    except msgspec.MsgspecError:
        return None


def _read(folder: Path, store: Store) -> tuple[File, ...]:
    """Return the files of a folder whose list was forgotten; none where something in it is no file of ours."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            continue
        if path.is_symlink() or not path.is_file():
            return ()
        digest, size = store.digest(path)
        found.append(File(path=path.relative_to(folder).as_posix(), size=size, sha256=digest))
    return tuple(found)


def _is_whole(folder: Path, files: tuple[File, ...], store: Store) -> bool:
    """Whether a folder has these files and no others, each with its content."""
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_symlink() or path.is_file()}
    return there == {file.path for file in files} and all(_is_sound(folder / file.path, file, store) for file in files)


def _is_sound(path: Path, file: File, store: Store) -> bool:
    try:
        own, blob = path.lstat(), store.path(file.sha256).lstat()
        if (own.st_dev, own.st_ino) == (blob.st_dev, blob.st_ino):
            return store.is_sound(file.sha256, file.size)
    except OSError:
        pass  # the blob is gone, or it is a copy
    try:
        return not path.is_symlink() and store.digest(path) == (file.sha256, file.size)
    except ContextError:
        return False


def _lay(folder: Path, files: tuple[File, ...], store: Store) -> None:
    """Make the folder in one step; where another process made it meanwhile, that is it."""
    try:
        new = Path(tempfile.mkdtemp(prefix=f".{folder.name[:40]}.packager-", dir=folder.parent))
        try:
            for file in files:
                target = new / file.path
                target.parent.mkdir(parents=True, exist_ok=True)
                store.link(file.sha256, target, size=file.size)
            # Containers read it as another user.
            for each in (new, *(path for path in new.rglob("*") if path.is_dir())):
                each.chmod(_FOLDER_MODE)
            if not folder.is_dir():
                os.rename(new, folder)
        finally:
            shutil.rmtree(new, ignore_errors=True)
    except OSError as error:
        raise failure("written", folder, error) from None


def _remove(folder: Path) -> None:
    """Remove a folder, at once for all who look."""
    if not folder.is_dir():
        return
    try:
        outer = tempfile.mkdtemp(prefix=f".{folder.name[:40]}.packager-", dir=folder.parent)
        try:
            os.rename(folder, os.path.join(outer, "gone"))
        except FileNotFoundError:
            pass  # by another process
        finally:
            shutil.rmtree(outer, ignore_errors=True)
    except OSError as error:
        raise failure("removed", folder, error) from None


def _keep(folder: Path) -> None:
    """Keep a folder from removal as long as this process runs, and note that it was used."""
    try:
        # What is registered may be private, and files are readable for all: nobody else gets into this folder.
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise failure("written", folder.parent, error) from None
    if folder not in _held:
        _held[folder] = hold(folder)
    try:
        if folder.stat().st_mtime < time.time() - DAY:
            os.utime(folder)
    except OSError:
        pass  # it is not there yet, or another user's
