"""Build context → folder: written beside its destination, then renamed into place."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from packager.context.build_context import BuildContext, mtime_of
from packager.context.entries import folder_entries, is_saved_context
from packager.context.manifest import MAX_BYTES, NAME, decode_manifest
from packager.context.walk import Root
from packager.context.writing import write_folder
from packager.contract import FILE_MODE
from packager.errors import ContextError
from packager.storage.models import Store
from packager.storage.reading import failure


def save(context: BuildContext, root: Path, destination: Path, store: Store, *, force: bool = False) -> Path:
    """Write a build context to a folder: the same bytes, modes and times whenever and wherever it is done.

    Args:
        context: what to write.
        root: the folder of the spec.
        destination: a new or empty folder, or a saved context, which is replaced.
        store: where models are linked from; they are added if they are not in it.
        force: replace a saved context that was changed by hand, too.

    Returns:
        `destination`.

    Raises:
        ContextError: something else is at the destination; it is in a model or holds the spec; a source file changed
            since it was read; the disk is full. Nothing is left behind, and what was there is as it was.
    """
    target = Path(os.path.abspath(destination))
    _check_place(context, root, target)
    with _alone_in(target.parent):
        _check_previous(target, force)
    with new_parents(target):
        temporary = _folder_beside(target)
        try:
            write_folder(context, Root.of(root), os.fsencode(temporary), store)
            with _alone_in(target.parent):
                replaces = _check_previous(target, force)
                # With the context that is replaced, its links to the same models go.
                with store.relinking(file.digest for file in context.files if file.model):
                    _move_in(temporary, target, replaces=replaces)
        except OSError as error:
            raise failure("written", target, error) from None
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return destination


def changes_by_hand(folder: Path) -> list[str]:
    """Return what is not as `save` wrote it in a saved context, by sizes and times; nothing is read but the manifest.

    Raises:
        ContextError: the manifest cannot be read, or is not of this version.
    """
    with (folder / NAME).open("rb") as stream:
        data = stream.read(MAX_BYTES)
    manifest = decode_manifest(data, str(folder / NAME))
    expected: dict[str, tuple[str, int, int]] = dict.fromkeys(manifest.folders, ("folder", 0, 0))
    for file in manifest.files:
        expected[file.path] = ("file", file.size, mtime_of(file.path, file.sha256) * 10**9)
    found = {}
    for entry in folder_entries(os.fsencode(folder), read=False):
        # Times of folders say nothing: an editor's own temporary file changes them.
        found[entry.path] = (entry.kind, entry.size, entry.mtime_ns if entry.kind == "file" else 0)
    own = hashlib.sha256(data).hexdigest()
    expected[NAME] = ("file", len(data), mtime_of(NAME, own) * 10**9)
    return sorted(path for path in expected.keys() | found.keys() if expected.get(path) != found.get(path))


def _check_place(context: BuildContext, root: Path, target: Path) -> None:
    real = os.path.join(os.path.realpath(target.parent), target.name)
    if f"{os.path.realpath(root)}/".startswith(os.path.join(real, "")):
        raise ContextError(f"{target} holds the spec", remedy="name a new folder, such as `context`")
    for folder in context.model_folders:
        if f"{real}/".startswith(os.path.join(os.path.realpath(root / folder), "")):
            raise ContextError(f"{target} is in the model {folder!r}", remedy="name a folder outside of the models")


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Keep other saves out of a folder, for the moments when one context takes the place of another."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        # It is not there yet; or it cannot be written either, which will be told by who tries.
        yield
        return
    try:
        # Not every filesystem has locks; what they prevent there is a wrong error, never a half-written context.
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _check_previous(target: Path, force: bool) -> bool:
    """Return whether there is a saved context to replace."""
    if not os.path.lexists(target):
        return False
    try:
        if target.is_symlink() or not target.is_dir():
            raise ContextError(f"{target} is there and not a folder", remedy="name a new folder")
        if not any(target.iterdir()):
            return False
        if not is_saved_context(os.fsencode(target)):
            raise ContextError(
                f"{target} is there and was not made by packager",
                remedy="name a new folder; packager only replaces what it saved itself",
            )
        if not force:
            _check_untouched(target)
    except OSError as error:
        raise failure("replaced", target, error) from None
    return True


def _check_untouched(target: Path) -> None:
    remedy = "keep what you need of it and use --force, or name a new folder"
    try:
        touched = changes_by_hand(target)
    except ContextError as error:
        raise ContextError(f"{target} was changed since it was saved: {error.message}", remedy=remedy) from None
    if touched:
        shown = ", ".join(path.encode("utf-8", "backslashreplace").decode() for path in touched[:3])
        more = f" and {len(touched) - 3} more" if len(touched) > 3 else ""
        raise ContextError(f"{target} was changed since it was saved: {shown}{more}", remedy=remedy)


@contextmanager
def new_parents(target: Path) -> Iterator[None]:
    """Make the folders above a path; those that were made are removed when the block fails."""
    missing = [folder for folder in target.parents if not os.path.lexists(folder)]
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException as error:
        for folder in missing:
            with contextlib.suppress(OSError):
                folder.rmdir()
        if isinstance(error, OSError):
            raise failure("written", target, error) from None
        raise


@contextmanager
def new_file(target: Path) -> Iterator[BinaryIO]:
    """Give the stream of a file that takes a path's place in one step, its folders made; nothing is left when it fails.

    Raises:
        ContextError: it cannot be written.
    """
    with new_parents(target):
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name[:40]}.packager-", dir=target.parent)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                yield stream
            os.chmod(name, FILE_MODE)
            os.replace(name, target)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)


def _folder_beside(target: Path) -> Path:
    # On the same filesystem, so that a rename can finish it. Scans know this name and leave it out; it is kept short,
    # for the destination's own may be as long as names can be.
    return Path(tempfile.mkdtemp(prefix=f".{target.name[:40]}.packager-", dir=target.parent))


def _move_in(temporary: Path, target: Path, *, replaces: bool) -> None:
    if not replaces:
        # rename(2) takes the place of an empty folder, and refuses any other.
        temporary.rename(target)
        return
    aside = _folder_beside(target)
    try:
        target.rename(aside)
        temporary.rename(target)
    except BaseException:
        if not os.path.lexists(target):
            aside.rename(target)
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
