"""Recomputes every digest of a saved context, folder or archive, and says what differs. It only reads."""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

import msgspec

from packager.context import manifest as m
from packager.context.archive_reader import open_archive
from packager.context.entries import Entry, folder_entries
from packager.contract import FOLDER_MODE, MTIME
from packager.errors import ContextError
from packager.progress import reading
from packager.storage.reading import failure, opened

#: Entries of an archive that are not listed, before reading it ends.
_EXTRA = 1000


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is not as `packager.json` says.

    Attributes:
        kind: `missing`, `extra`, `changed`, or `manifest` when packager.json contradicts itself.
        path: in the context.
        detail: what of it: `content`, `size`, `mode`, in words.
    """

    kind: Literal["missing", "extra", "changed", "manifest"]
    path: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.kind}: {self.path}" + (f" ({self.detail})" if self.detail else "")


class VerifyResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a verification found.

    Attributes:
        digest: of the context (`sha256:…`), as its packager.json says.
        name: of the package.
        version: of the package.
        target: deployment flavour.
        platform: OCI os/arch.
        files: how many are listed.
        size: bytes of these.
        differences: sorted by path; empty when all is as listed.
        retimed: what has another modification time than `save` gave it (a copy without times, a checkout). Nothing is
            wrong with the content, but layers built from it have other digests.
    """

    digest: str
    name: str
    version: str
    target: str
    platform: str
    files: int
    size: int
    differences: tuple[Difference, ...] = ()
    retimed: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every file is as listed."""
        return not self.differences


def verify(path: Path | str) -> VerifyResult:
    """Recompute digest, size and mode of all that a saved context holds.

    Args:
        path: its folder, or its archive.

    Raises:
        ContextError: it is missing, cannot be read, is truncated, or not a context that packager saved.
    """
    path = Path(path)
    full = os.fsencode(os.path.abspath(path))
    if not os.path.isdir(full):
        return _verify_archive(full)
    data = _read_manifest(full, path)
    manifest = m.decode_manifest(data, str(path / m.NAME))
    return _result(manifest, data, _told(folder_entries(full), manifest, full))


def _read_manifest(folder: bytes, shown: Path) -> bytes:
    path = os.path.join(folder, m.NAME.encode())
    if not os.path.lexists(path):
        raise ContextError(
            f"{shown} is not a saved context: it has no {m.NAME}", remedy="name what `packager save` wrote"
        )
    if os.path.islink(path):
        raise ContextError(f"{shown / m.NAME} is a link", remedy="name what `packager save` wrote")
    try:
        with opened(path) as descriptor, os.fdopen(os.dup(descriptor), "rb") as stream:
            data = stream.read(m.MAX_BYTES + 1)
    except OSError as error:
        raise failure("read", path, error) from None
    if len(data) > m.MAX_BYTES:
        raise ContextError(f"{shown / m.NAME} is larger than {m.MAX_BYTES} bytes", remedy="do not use this context")
    return data


def _verify_archive(path: bytes) -> VerifyResult:
    with open_archive(path) as reader:
        manifest = m.decode_manifest(reader.manifest, m.NAME)
        # A few entries more than are listed are differences to be told; many are an attack.
        count = len(manifest.files) + len(manifest.folders) + _EXTRA
        entries = reader.entries(size=sum(file.size for file in manifest.files), count=count)
        return _result(manifest, reader.manifest, itertools.chain((reader.first,), _told(entries, manifest, path)))


def _told(entries: Iterable[Entry], manifest: m.Manifest, path: bytes) -> Iterator[Entry]:
    """Pass on entries that are read while this is iterated over, and tell how far it is."""
    size = 0
    with reading(
        f"verifying {os.path.basename(os.fsdecode(path))}", sum(file.size for file in manifest.files)
    ) as reached:
        for entry in entries:
            # Small files are read in one go, and tell nothing themselves.
            size += entry.size
            reached(size)
            yield entry


# --- pure -------------------------------------------------------------------------------------------------------------


def _result(manifest: m.Manifest, data: bytes, entries: Iterable[Entry]) -> VerifyResult:
    differences, retimed = compare(manifest, data, entries)
    return VerifyResult(
        digest=manifest.digest,
        name=manifest.name,
        version=manifest.version,
        target=manifest.target,
        platform=manifest.platform,
        files=len(manifest.files),
        size=sum(file.size for file in manifest.files),
        differences=differences,
        retimed=retimed,
    )


def compare(
    manifest: m.Manifest, data: bytes, entries: Iterable[Entry]
) -> tuple[tuple[Difference, ...], tuple[str, ...]]:
    """Return what differs between a manifest and what is there, and what has another time; both sorted by path.

    Args:
        manifest: what is expected.
        data: its bytes: it does not list itself.
        entries: what is there.
    """
    expected = _expected(manifest, data)
    found: dict[str, Entry] = {}
    differences = _contradictions(manifest)
    retimed = []
    for entry in entries:
        shown = entry.path.encode("utf-8", "backslashreplace").decode()
        listed = expected.get(entry.path)
        if entry.path in found:
            differences.append(Difference(kind="extra", path=shown, detail="a second entry of this name"))
        elif listed is None:
            differences.append(Difference(kind="extra", path=shown, detail="" if entry.kind == "file" else entry.kind))
        elif detail := _detail(listed, entry):
            differences.append(Difference(kind="changed", path=shown, detail=detail))
        elif listed.mtime_ns != entry.mtime_ns:
            retimed.append(shown)
        found[entry.path] = entry
    missing = (listed for path, listed in expected.items() if path not in found)
    differences += [
        Difference(kind="missing", path=listed.path, detail="" if listed.kind == "file" else listed.kind)
        for listed in missing
    ]
    return tuple(sorted(differences, key=lambda each: (each.path, each.kind))), tuple(sorted(retimed))


def _expected(manifest: m.Manifest, data: bytes) -> dict[str, Entry]:
    entries = [Entry(folder, "folder", FOLDER_MODE, mtime_ns=MTIME * 10**9) for folder in manifest.folders]
    own = m.ManifestFile(path=m.NAME, size=len(data), mode="0644", sha256=hashlib.sha256(data).hexdigest())
    for file in (own, *manifest.files):
        mtime_ns = m.mtime_of(file.path, file.sha256) * 10**9
        entries.append(Entry(file.path, "file", int(file.mode, 8), file.size, mtime_ns, file.sha256))
    return {entry.path: entry for entry in entries}


def _detail(listed: Entry, entry: Entry) -> str:
    if listed.kind != entry.kind:
        return f"{entry.kind} instead of {listed.kind}"
    details = []
    if listed.digest != entry.digest:
        details.append("content")
    if listed.size != entry.size:
        details.append(f"size {entry.size} instead of {listed.size}")
    if listed.mode != entry.mode:
        details.append(f"mode {entry.mode:04o} instead of {listed.mode:04o}")
    return ", ".join(details)


def _contradictions(manifest: m.Manifest) -> list[Difference]:
    """Return where packager.json does not fit itself: somebody edited it."""
    found = []
    if m.context_digest(manifest) != manifest.digest:
        found.append(Difference(kind="manifest", path=m.NAME, detail="its digest is not that of what it says"))
    digests = m.layer_digests(manifest)
    for layer in manifest.layers:
        if digests.get(layer.folder) != layer.digest:
            found.append(
                Difference(kind="manifest", path=layer.folder, detail="the layer's digest is not that of its files")
            )
    return found
