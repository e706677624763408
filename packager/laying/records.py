"""What the wheels of an environment say they hold (RECORD), held against what is there.

uv checks a wheel against its sha256 when it downloads it, and from then on trusts its cache. Virtual environments on
the same machine are hard links into that cache: who edits a file in one of them edits the cache. Seen: certifi's
certificates with those of a company's proxy appended, in a virtual environment, and so in all that uv made afterwards.
So the content is compared once more before it goes into an image.

Format: the packaging specifications "Binary distribution format" and "Recording installed projects".
"""

from __future__ import annotations

import base64
import csv
import errno
import hashlib
import io
import os
import posixpath
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from packager.errors import LockError
from packager.programs.stage.wheels import TRACES
from packager.storage.reading import BLOCK, failure

#: Files of a `.dist-info` folder that say how, when or whence it was installed.
INSTALL_TRACES = frozenset({"INSTALLER", *TRACES})


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a RECORD.

    Attributes:
        path: relative to the environment's folder, normalised.
        digest: sha256 as 64 hex digits; empty where RECORD has none.
        size: as it is written there.
    """

    path: str
    digest: str
    size: str


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """The RECORD of one package.

    Attributes:
        info: its `.dist-info` folder's name.
        rows: sorted by path.
    """

    info: str
    rows: tuple[Row, ...]

    @property
    def title(self) -> str:
        """The package for people: `numpy 2.5.5`."""
        return self.info.removesuffix(".dist-info").replace("-", " ")


def record_rows(text: str) -> Iterator[tuple[str, str, str]]:
    """Iterate over path, digest and size of the lines of a RECORD, as they are written there.

    Raises:
        ValueError: not CSV.
    """
    try:
        for line in csv.reader(io.StringIO(text, newline=""), strict=True):
            if line:
                path, digest, size = (*line, "", "")[:3]
                yield path, digest, size
    except csv.Error as error:
        raise ValueError(str(error)) from None


def recorded_size(text: str) -> int:
    """Return the bytes of the files of a RECORD, but for bytecode, as far as it says them.

    Raises:
        ValueError: not CSV.
    """
    return sum(int(size) for path, _, size in record_rows(text) if size.isdecimal() and "__pycache__" not in path)


def parse_record(text: str, info: str, site: str) -> Record:
    """Return what a RECORD says.

    Args:
        text: of the file.
        info: name of its `.dist-info` folder.
        site: path of site-packages, relative to the environment's folder.

    Raises:
        LockError: not CSV, or a path that leaves the environment.
    """
    rows = {}
    try:
        for path, digest, size in record_rows(text):
            row = Row(path=_inside(path, site, info), digest=_hex(digest), size=size)
            rows[row.path] = row
    except ValueError as error:
        raise LockError(f"{info}: RECORD is not what a wheel has: {error}", remedy="take another version") from None
    return Record(info=info, rows=tuple(rows[path] for path in sorted(rows)))


def format_record(record: Record, site: str) -> str:
    """Return the text of a RECORD, paths relative to site-packages, sorted."""
    own = f"{site}/{record.info}/RECORD"
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    rows = [row for row in record.rows if row.path != own]
    for row in sorted((*rows, Row(path=own, digest="", size="")), key=lambda row: row.path):
        # `relpath` of each would take longer than all else here.
        inside = row.path.startswith(f"{site}/")
        shown = row.path[len(site) + 1 :] if inside else posixpath.relpath(row.path, site)
        writer.writerow((shown, _unhex(row.digest), row.size))
    return stream.getvalue()


def row_of(path: str, data: bytes) -> Row:
    """Return the line for a file that we write."""
    return Row(path=path, digest=hashlib.sha256(data).hexdigest(), size=str(len(data)))


def owners(records: Iterable[Record]) -> dict[str, tuple[Record, Row]]:
    """Return who owns each path: of several packages that hold one, the last by name, on every machine."""
    found: dict[str, tuple[Record, Row]] = {}
    for record in sorted(records, key=lambda each: each.info):
        for row in record.rows:
            found[row.path] = (record, row)
    return found


def collisions(records: Iterable[Record]) -> tuple[str, ...]:
    """Return, in words, which packages bring one file with different content, and whose stands; see `owners`."""
    found: dict[tuple[str, str], list[str]] = {}
    before: dict[str, tuple[Record, Row]] = {}
    for record in sorted(records, key=lambda each: each.info):
        for row in record.rows:
            other = before.get(row.path)
            if other is not None and row.digest and other[1].digest not in ("", row.digest):
                found.setdefault((other[0].title, record.title), []).append(row.path)
            before[row.path] = (record, row)
    return tuple(
        f"{first} and {last} both bring {paths[0]}"
        + (f" and {len(paths) - 1} more of the same names" if len(paths) > 1 else "")
        + f", with different content: that of {last} is taken"
        for (first, last), paths in found.items()
    )


def differing(folder: Path, owned: Mapping[str, tuple[Record, Row]]) -> tuple[str, ...]:
    """Return the paths that are missing or not what their owner's RECORD says, sorted; those without digest pass.

    Raises:
        ContextError: a file cannot be read.
    """
    paths = sorted(path for path, (_, row) in owned.items() if row.digest)
    root = str(folder)

    def differs(path: str) -> bool:
        return _digest_at(f"{root}/{path}") != owned[path][1].digest

    def check(some: list[str]) -> list[str]:
        return [path for path in some if differs(path)]

    # Hashing and reading give up the interpreter's lock; a task for each file would take longer than the files.
    workers = min(4, os.cpu_count() or 1)
    with ThreadPoolExecutor(workers) as pool:
        return tuple(
            sorted(path for bad in pool.map(check, (paths[i::workers] for i in range(workers))) for path in bad)
        )


def _digest_at(path: str) -> str:
    """Return the sha256 of a file, 64 hex digits; empty where there is no file.

    Not by `digest_file`: whoever makes or removes another link to a file of uv's cache (another build) changes its
    ctime, and it is told by its digest alone whether it is what it should be.
    """
    state = hashlib.sha256()
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            while data := os.read(descriptor, BLOCK):
                state.update(data)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP):
            return ""
        raise failure("read", path, error) from None
    return state.hexdigest()


def _inside(path: str, site: str, info: str) -> str:
    full = posixpath.normpath(posixpath.join(site, path))
    bad = path.startswith("/") or full == ".." or full.startswith("../")
    if bad or "\\" in path or not path.isprintable():
        raise LockError(
            f"{info} holds a file with the name {path!r}, which is not inside the environment",
            remedy="do not use this wheel: take another version, or another index",
        )
    return full


def _hex(text: str) -> str:
    """Return 64 hex digits of a RECORD's `sha256=…`; other algorithms are as none: uv has checked the whole wheel."""
    algorithm, _, value = text.partition("=")
    if algorithm != "sha256":
        return ""
    return base64.urlsafe_b64decode(value + "=" * (-len(value) % 4)).hex()


def _unhex(digest: str) -> str:
    if not digest:
        return ""
    return "sha256=" + base64.urlsafe_b64encode(bytes.fromhex(digest)).rstrip(b"=").decode()
