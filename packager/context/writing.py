"""Writing a build context into an empty folder: generated texts, links to models, and copies of the app's files."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from collections.abc import Sequence
from pathlib import Path

from packager.context.build_context import BuildContext, ContextFile, mtime_of
from packager.context.walk import Root
from packager.contract import FOLDER_MODE, MTIME
from packager.progress import reading
from packager.storage.models import Store
from packager.storage.reading import changed_since, copy_hashed, opened, read_small, write_all

#: Files from which on a second process copies half of them; below, it takes longer to start than it saves.
SHARED = 2000

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


def write_folder(context: BuildContext, root: Root, folder: bytes, store: Store) -> None:
    """Write all files, with the modes and times that they have in every context like it.

    Args:
        context: what to write.
        root: the folder of the spec.
        folder: absolute path; empty.
        store: where models are linked from; they are added if they are not in it.

    Raises:
        ContextError: a source file is missing, unreadable, or changed since it was read.
        OSError: the folder cannot be written.
    """
    write_files((*context.files, context.manifest_file), context.folders, root, folder, store)


def write_files(files: Sequence[ContextFile], folders: Sequence[str], root: Root, folder: bytes, store: Store) -> None:
    """Write files and folders of a tree; parameters and errors as of `write_folder`, folders sorted by path."""
    start = os.path.join(folder, b"")
    for each in folders:
        os.mkdir(start + each.encode())
    copies = []
    size = 0
    # A link to the store takes no time; a copy, or reading again what somebody may have changed, does. A second
    # link to one blob would be a hard link of the first for BuildKit, which the plan's twins alone are: it is a copy.
    linked: set[str] = set()
    with reading("writing models", sum(file.size for file in files if file.model)) as reached:
        for file in files:
            path = start + file.path.encode()
            if file.text is not None:
                _write_data(file, path, file.text.encode())
            elif file.model and (file.same_as or file.digest not in linked):
                linked.add(file.digest)
                _link_model(file, root, path, store, start)
                size += file.size
                reached(size)
            else:
                copies.append(file)
    _copy_shared(copies, root, start)
    # At the end, for writing into a folder sets its time; and modes too, for the umask would have its say.
    for each in folders:
        _settle(start + each.encode())
    _settle(folder)


def _settle(folder: bytes) -> None:
    os.chmod(folder, FOLDER_MODE)
    os.utime(folder, (MTIME, MTIME))


def _link_model(file: ContextFile, root: Root, path: bytes, store: Store, start: bytes) -> None:
    assert file.origin is not None
    if file.same_as:
        # To the file in this context, which may be a copy of the store's: BuildKit keeps links within what it copies.
        with contextlib.suppress(OSError):
            os.link(start + file.same_as.encode(), path)
            return
    origin = Path(os.fsdecode(root.join(file.origin)))
    store.link(file.digest, Path(os.fsdecode(path)), size=file.size, origin=origin)


def _copy_shared(files: Sequence[ContextFile], root: Root, start: bytes) -> None:
    """Copy files, many of them in two processes: it is the interpreter that takes the time, and threads share it."""
    # A process with other threads must not fork: locks that these hold would never be released in the child.
    if len(files) < SHARED or (os.cpu_count() or 1) < 2 or threading.active_count() > 1:
        _copy_all(files, root, start)
        return
    half = len(files) // 2
    child = os.fork()
    if child == 0:
        status = 1
        try:
            _copy_all(files[half:], root, start)
            status = 0
        finally:
            # Whatever happened, nothing of the parent's (handlers, buffers, `finally` blocks) may run twice.
            os._exit(status)
    try:
        _copy_all(files[:half], root, start)
    finally:
        _, status = os.waitpid(child, 0)
    if status:
        # Once more here, where the error can be told.
        for file in files[half:]:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(start + file.path.encode())
        _copy_all(files[half:], root, start)


def _copy_all(files: Sequence[ContextFile], root: Root, start: bytes) -> None:
    for file in files:
        _copy(file, root, start + file.path.encode())


def _copy(file: ContextFile, root: Root, path: bytes) -> None:
    assert file.origin is not None
    origin = root.join(file.origin)
    small = read_small(origin)
    if small is not None:
        if hashlib.sha256(small[0]).hexdigest() != file.digest:
            raise changed_since(origin)
        _write_data(file, path, small[0])
        return
    with opened(origin) as source:
        target = os.open(path, _NEW, 0o600)
        try:
            digest, _ = copy_hashed(source, target)
            os.fchmod(target, file.mode)
            os.utime(target, (MTIME, MTIME))
        finally:
            os.close(target)
    if digest != file.digest:
        raise changed_since(origin)


def _write_data(file: ContextFile, path: bytes, data: bytes) -> None:
    seconds = mtime_of(file.path, file.digest)
    target = os.open(path, _NEW, 0o600)
    try:
        write_all(target, data)
        os.fchmod(target, file.mode)
        os.utime(target, (seconds, seconds))
    finally:
        os.close(target)
