"""What is really in a saved context: the entries of its folder, read without following any link."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from typing import NamedTuple

from packager.context import manifest
from packager.storage.reading import digest_file, failure

#: First value of a `docker-bake.json` of ours; HCL's JSON syntax passes over its key.
BAKE_MARK = "Made by packager; run `packager bake` to make it anew."


class Entry(NamedTuple):
    """One entry of a folder or an archive.

    Attributes:
        path: relative, with `/`.
        kind: `file`, `folder`, or what else it is.
        mode: permission bits.
        size: bytes; 0 for what is no file.
        mtime_ns: modification time in nanoseconds since the epoch.
        digest: sha256 of a file's content (64 hex digits); empty where it was not read.
    """

    path: str
    kind: str
    mode: int
    size: int = 0
    mtime_ns: int = 0
    digest: str = ""


def folder_entries(folder: bytes, *, read: bool = True) -> Iterator[Entry]:
    """Iterate over all that is below a folder.

    Args:
        folder: absolute path.
        read: whether files are read, for their digests.

    Raises:
        ContextError: something cannot be read, or changes meanwhile.
    """
    waiting = [(folder, "")]
    while waiting:
        full, path = waiting.pop()
        try:
            with os.scandir(full) as listing:
                found = sorted((entry.name, entry.stat(follow_symlinks=False)) for entry in listing)
        except OSError as error:
            raise failure("read", full, error) from None
        for name, status in found:
            below = os.path.join(full, name)
            text = path + name.decode("utf-8", "surrogateescape")
            kind = _kind(status.st_mode)
            mode = stat.S_IMODE(status.st_mode)
            if kind == "folder":
                waiting.append((below, f"{text}/"))
            if kind != "file":
                yield Entry(text, kind, mode, mtime_ns=status.st_mtime_ns)
                continue
            digest = digest_file(below).digest if read else ""
            yield Entry(text, kind, mode, status.st_size, status.st_mtime_ns, digest)


def _kind(mode: int) -> str:
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "folder"
    return "link" if stat.S_ISLNK(mode) else "special file"


def is_saved_context(folder: bytes) -> bool:
    """Whether a folder has a `packager.json` of ours, of any format version."""
    try:
        descriptor = os.open(os.path.join(folder, manifest.NAME.encode()), os.O_RDONLY | os.O_NONBLOCK)
        try:
            return manifest.is_manifest_start(os.read(descriptor, 512))
        finally:
            os.close(descriptor)
    except OSError:
        return False


def is_bake_file(path: bytes) -> bool:
    """Whether a file is called like JSON and starts as a `docker-bake.json` of ours."""
    if not path.endswith(b".json"):
        return False
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            start = os.read(descriptor, 512)
        finally:
            os.close(descriptor)
    except OSError:
        return False
    return re.match(rb'\{\s*"//":\s*"' + re.escape(BAKE_MARK.encode()), start) is not None
