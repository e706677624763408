"""`packager.json`: what a build context is made of, with the digest of every file; written, and read strictly."""

from __future__ import annotations

import hashlib
import re
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from packager.contract import FOLDER_MODE, MTIME
from packager.decoding import decode_json
from packager.errors import ContextError
from packager.plan.trees import TreeFile, make_tree

NAME = "packager.json"
FORMAT = "packager.context/2"

#: Bytes: room for `walk.MAX_FILES` files, and no more memory than that for a hostile one.
MAX_BYTES = 1 << 27

_HEX = r"^[0-9a-f]{64}(?!\n)$"
_DIGEST = r"^sha256:[0-9a-f]{64}(?!\n)$"
_START = re.compile(rb'\s*\{\s*"format"\s*:\s*"packager\.context/')
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")

Digest = Annotated[str, Meta(pattern=_DIGEST)]
Size = Annotated[int, Meta(ge=0, le=2**53)]


class ManifestFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file: path in the context, bytes, permission bits as `0644`, sha256 as 64 hex digits."""

    path: str
    size: Size
    mode: Annotated[str, Meta(pattern=r"^0[0-7]{3}(?!\n)$")]
    sha256: Annotated[str, Meta(pattern=_HEX)]


class ManifestLayer(msgspec.Struct, frozen=True, kw_only=True):
    """One layer: its name, title for people, folder in the context, digest of its tree, bytes."""

    name: str
    title: str
    folder: str
    digest: Digest
    size: Size


class ManifestBase(msgspec.Struct, frozen=True, kw_only=True):
    """The base image: reference in full and digest."""

    reference: str
    digest: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """All of `packager.json`; fields in the order in which they are written.

    Attributes:
        format: of this file.
        packager: version that wrote it; other versions write the same otherwise, or change `format`.
        digest: of the context: over all that follows here, and so over all files but this one.
        name: of the package.
        version: of the package.
        target: deployment flavour.
        platform: OCI os/arch.
        base: the base image.
        spec: digest of the spec.
        lock: digest of this target's part of the lock.
        dialect: what its Dockerfile is written for: `buildkit`, or `plain` for every builder.
        layers: in the order of the image.
        folders: all, sorted.
        files: all but this one, sorted by path.
    """

    format: str = FORMAT
    packager: str
    digest: Digest
    name: str
    version: str
    target: str
    platform: str
    base: ManifestBase
    spec: str
    lock: str
    dialect: Literal["buildkit", "plain"] = "buildkit"
    layers: tuple[ManifestLayer, ...]
    folders: tuple[str, ...]
    files: tuple[ManifestFile, ...]


class _Format(msgspec.Struct, frozen=True):
    format: str


def context_digest(manifest: Manifest) -> str:
    """Return the digest of a context (`sha256:…`): of all that its manifest says but itself and packager's version.

    That is a line of JSON with what decides the image (name, version, platform, base, layers …), then kind, mode, size,
    content digest and path of every entry, sorted.
    """
    head = msgspec.structs.replace(manifest, packager="", digest="", folders=(), files=())
    entries = [f"d {FOLDER_MODE:04o} - - {folder}\0" for folder in sorted(manifest.folders)]
    ordered = sorted(manifest.files, key=lambda file: file.path)
    entries += [f"f {file.mode} {file.size} {file.sha256} {file.path}\0" for file in ordered]
    state = hashlib.sha256(msgspec.json.encode(head) + b"\n")
    state.update("".join(entries).encode())
    return f"sha256:{state.hexdigest()}"


def layer_digests(manifest: Manifest) -> dict[str, str]:
    """Return the digest (`sha256:…`) of the tree in each layer's folder, made of the files that the manifest lists."""
    files: dict[str, list[TreeFile]] = {}
    folders: dict[str, list[str]] = {}
    for file in manifest.files:
        layer, path = _split_layer(file.path)
        each = TreeFile(path=path, size=file.size, mode=int(file.mode, 8), digest=file.sha256, origin="")
        files.setdefault(layer, []).append(each)
    for folder in manifest.folders:
        layer, path = _split_layer(folder)
        folders.setdefault(layer, []).extend([path] if path else [])
    return {
        layer: f"sha256:{make_tree(files.get(layer, ()), folders.get(layer, ())).digest}"
        for layer in {*files, *folders}
    }


def _split_layer(path: str) -> tuple[str, str]:
    """Return the first two parts of a path (`layers/<name>-<digest>`), and the rest."""
    first, _, rest = path.partition("/")
    second, _, rest = rest.partition("/")
    return f"{first}/{second}", rest


def mtime_of(path: str, digest: str) -> int:
    """Return the modification time of a file of a context, in seconds since the epoch; always in the past.

    Args:
        path: in the context.
        digest: sha256 of its content (64 hex digits).
    """
    if path.startswith("layers/"):
        # These times are those of the files in the image, and a changed layer has another folder.
        return MTIME
    # BuildKit sends only files whose path, size, mode or time differ from what it was sent before. These files keep
    # their path, so with one time for all an edit that keeps the length would silently build the old text.
    return MTIME + int(digest[:7], 16)


def encode_manifest(manifest: Manifest) -> str:
    """Return the text of `packager.json`: the same for the same values, with a final line break."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2).decode() + "\n"


def decode_manifest(data: bytes, shown: str) -> Manifest:
    """Read a `packager.json`.

    Args:
        data: its content.
        shown: where it is from, for messages.

    Raises:
        ContextError: not JSON, not ours, of another format, of wrong types, or with a path that leaves the context.
    """
    try:
        found = decode_json(data, _Format)
        if found.format != FORMAT:
            raise ContextError(
                f"{shown} has the format {found.format[:80]!r}, not {FORMAT!r}", remedy="use the packager that wrote it"
            )
        manifest = decode_json(data, Manifest)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise ContextError(
            f"{shown} is not a manifest of packager: {error}", remedy="only folders and archives of `packager save`"
        ) from None
    _check_paths(manifest, shown)
    return manifest


def _check_paths(manifest: Manifest, shown: str) -> None:
    seen: set[str] = {NAME}
    for path in (*manifest.folders, *(file.path for file in manifest.files)):
        if not is_safe(path) or path in seen:
            reason = "twice" if path in seen else "which is not a path in a context"
            raise ContextError(f"{shown} lists {path[:200]!r}, {reason}", remedy="do not use this context")
        seen.add(path)


def is_safe(path: str) -> bool:
    """Whether a path stays in its folder, is in its shortest form, and is plain text."""
    parts = path.split("/")
    return not any(part in ("", ".", "..") for part in parts) and not _CONTROL.search(path)


def is_manifest_start(data: bytes) -> bool:
    """Whether bytes are the start of a `packager.json` of ours."""
    return _START.match(data) is not None
