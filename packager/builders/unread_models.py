"""Large models that were never read: their digests and their layer from one pass over the files.

A plan needs the digest of every file before anything is written, and a layer is a hash over the same bytes again. One
after the other, a model of many gigabytes would be read and hashed twice on one processor, with the other at rest. The
bytes of a tar do not depend on digests, though: so the layer is written while the digests are taken, and remembered
under the tree that they make.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from packager.context.walk import Root
from packager.contract import FOLDER_MODE
from packager.oci.compression import Compression
from packager.oci.layers import Known, hard_link, holds_weights, tree_key, tree_layer, write_layer
from packager.oci.tar import Entry, in_order
from packager.oci.values import Content, Layer
from packager.plan.trees import TWIN_SIZE, Tree, TreeFile, make_tree
from packager.storage.digests import DigestMemory
from packager.storage.memory import Memory
from packager.storage.models import Store
from packager.storage.reading import Stamp, changed, failure, not_regular


def layer_ahead(
    tree: Tree,
    title: str,
    root: Path,
    store: Store,
    content: Content,
    compression: Compression = "gzip",
    memory: Memory | None = None,
) -> tuple[Tree, Layer]:
    """Return a tree with its digests and its layer; `store.digest` and `tree_layer` then know both without reading.

    Args:
        tree: laid out from the root of the image; the digests in it are not looked at.
        title: for people.
        root: the folder of the spec, which the files' origins are relative to.
        store: remembers the digests.
        content: where the layer goes.
        compression: of the blob.
        memory: of the layers made before; this user's where None.

    Raises:
        ContextError: a file cannot be read, or changes meanwhile; the disk is full. Nothing is remembered.
    """
    digest_memory = DigestMemory(store.root)
    above = Root.of(root)
    origins = {file.path: above.join(file.origin) for file in tree.files}
    before = {path: _stamp(origin) for path, origin in origins.items()}
    read_at = digest_memory.now()
    entries = [Entry(path=folder, kind="folder", mode=FOLDER_MODE) for folder in tree.folders]
    # What is one file here, by several links, is read once.
    first: dict[tuple[int, int], str] = {}
    links: dict[str, str] = {}
    for file in tree.files:
        stamp = before[file.path]
        one = first.setdefault((stamp.device, stamp.inode), file.path)
        if one != file.path and stamp.size >= TWIN_SIZE:
            links[file.path] = one
            entries.append(hard_link(file.path, one))
            continue
        size, origin = before[file.path].size, origins[file.path]
        entries.append(Entry(path=file.path, mode=file.mode, size=size, origin=origin, below=above.real))
    entries = in_order(entries)
    digests: dict[str, str] = {}
    layer = write_layer(title, entries, "none" if holds_weights(entries) else compression, content, digests)
    digests.update((path, digests[one]) for path, one in links.items() if one in digests)
    files = [_with_digest(file, before[file.path].size, digests.get(file.path, _EMPTY)) for file in tree.files]
    for path, origin in origins.items():
        if _stamp(origin) != before[path]:
            raise changed(origin)
    for file in files:
        name = os.path.abspath(os.fsdecode(origins[file.path]))
        digest_memory.remember(name, before[file.path], file.digest, read_at=read_at)
    known = make_tree(files, tree.folders)
    if known.twins != links:
        # Other files have the same content, which nobody could know.
        return known, tree_layer(known, title, root, store, content, compression, memory)
    Known(tree_key(known), compression, content, memory).remember(layer)
    return known, layer


def is_known(tree: Tree, root: Path, store: Store) -> bool:
    """Whether the digests of all files of a tree are remembered, so that there is nothing to be read ahead.

    Raises:
        ContextError: a file is missing.
    """
    folder = Root.of(root)
    return all(store.recall(Path(os.fsdecode(folder.join(file.origin)))) is not None for file in tree.files)


#: Digest of nothing: an empty file is never read.
_EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def _with_digest(file: TreeFile, size: int, digest: str) -> TreeFile:
    return TreeFile(path=file.path, size=size, mode=file.mode, digest=digest, origin=file.origin)


def _stamp(path: bytes) -> Stamp:
    try:
        status = os.stat(path)
    except OSError as error:
        raise failure("read", path, error) from None
    if not stat.S_ISREG(status.st_mode):
        raise not_regular(path)
    return Stamp.of(status)
