"""A layer is a tree: files and folders with fixed modes, and one digest for all. Values only; no file is touched."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cached_property

import msgspec

from packager.contract import FILE_MODE, FOLDER_MODE, MODEL_MODE

#: Bytes from which a file of a model with the same content as another one is a hard link to it.
TWIN_SIZE = 64 << 10


class TreeFile(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One file of a tree.

    Attributes:
        path: in the tree, with `/`, not starting with one.
        size: bytes.
        mode: permission bits (0o644, 0o755, or 0o444 for what is hard-linked from the store).
        digest: sha256 of the content, as 64 hex digits.
        origin: where the bytes come from, relative to the folder of the spec; empty for a generated file.
        text: the content of a generated file.
    """

    path: str
    size: int
    mode: int
    digest: str
    origin: str = ""
    text: str | None = None


class Tree(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """Files and folders below one root, sorted by path.

    Attributes:
        files: sorted by path.
        folders: every folder, the empty ones included, without the root; sorted; always of mode 0o755.
    """

    files: tuple[TreeFile, ...] = ()
    folders: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    @cached_property
    def digest(self) -> str:
        """sha256 (64 hex digits) of kind, mode, content digest and path of every entry."""
        state = hashlib.sha256()
        for folder in self.folders:
            state.update(f"d {FOLDER_MODE:o} - {folder}\0".encode())
        for file in self.files:
            state.update(f"f {file.mode:o} {file.digest} {file.path}\0".encode())
        return state.hexdigest()

    @cached_property
    def twins(self) -> dict[str, str]:
        """Files of a model whose content an earlier one has: path → path of the first. They are hard links to it.

        So is what lies behind links in the user's folder (snapshots of a Hugging Face cache, `latest -> v3`) kept once.
        Small files that happen to be the same save nothing.
        """
        first: dict[str, str] = {}
        models = [file for file in self.files if file.mode == MODEL_MODE and file.size >= TWIN_SIZE and file.digest]
        pairs = ((file.path, first.setdefault(file.digest, file.path)) for file in models)
        return {path: other for path, other in pairs if path != other}

    def below(self, prefix: str) -> Tree:
        """Return the same tree under another root: `prefix` and its parents become folders of it."""
        files = tuple(
            TreeFile(
                path=f"{prefix}/{file.path}",
                size=file.size,
                mode=file.mode,
                digest=file.digest,
                origin=file.origin,
                text=file.text,
            )
            for file in self.files
        )
        return make_tree(files, (prefix, *(f"{prefix}/{folder}" for folder in self.folders)))


def generated_file(path: str, text: str) -> TreeFile:
    """Return a file that no source of the user's holds: `path` in its tree, `text` its content."""
    data = text.encode()
    return TreeFile(path=path, size=len(data), mode=FILE_MODE, digest=hashlib.sha256(data).hexdigest(), text=text)


def make_tree(files: Iterable[TreeFile], folders: Iterable[str] = ()) -> Tree:
    """Return the tree of some files, with the parents of all, sorted."""
    ordered = sorted(files, key=lambda file: file.path)
    known: set[str] = set()
    for path in (*folders, *(parent_of(file.path) for file in ordered)):
        folder = path
        while folder and folder not in known:
            known.add(folder)
            folder = parent_of(folder)
    return Tree(files=tuple(ordered), folders=tuple(sorted(known)))


def parent_of(path: str) -> str:
    """Return the folder of a `/` path; empty at the root."""
    return path.rpartition("/")[0]


class Sources(msgspec.Struct, frozen=True, kw_only=True):
    """What a scan of the user's files found.

    Attributes:
        app: the source directory; paths relative to it.
        models: one tree for each model of the spec, in its order; each has one top entry, the file's or folder's name.
        left_out: paths below the source directory that are not packaged, relative to it (folders end with `/`).
        secrets: those of `left_out` that are where secrets are kept.
        generated: files of the app's layer that packager makes; paths from the root of the image.
        server: files of the server's layer; paths from the root of the image.
    """

    app: Tree
    models: tuple[Tree, ...]
    left_out: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    generated: tuple[TreeFile, ...] = ()
    server: tuple[TreeFile, ...] = ()
