"""An image, from its registry into an OCI layout: byte for byte what the registry has, so its digest stays.

Source: OCI image spec 1.1, `image-layout.md`. The same image gives the same bytes, whenever and wherever it is pulled.
"""

from __future__ import annotations

import contextlib
import os
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec

from packager.contract import FILE_MODE, FOLDER_MODE, MTIME, REF_NAME
from packager.decoding import decode_json
from packager.errors import ContextError
from packager.oci.parse import ImageIndex as _Index
from packager.oci.parse import choose, named_by, parse
from packager.oci.values import INDEX, Descriptor
from packager.progress import in_thread, reading
from packager.reference import Reference
from packager.registry.origins import JOBS, RegistryOrigin, Say, document_of, download_shown
from packager.registry.resolve import require_digest
from packager.storage.content import ContentStore
from packager.storage.reading import failure, write_all

_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'


class Pulled(msgspec.Struct, frozen=True, kw_only=True):
    """An image in the content store.

    Attributes:
        reference: as it was asked for, in full.
        top: its manifest or index.
        blobs: digests of all that it is made of, documents included; sorted.
        size: bytes of all of them.
    """

    reference: str
    top: Descriptor
    blobs: tuple[str, ...]
    size: int


def pull_image(
    reference: Reference,
    content: ContentStore,
    mirrors: Mapping[str, str],
    platform: str | None = None,
    say: Say = lambda text: None,
) -> Pulled:
    """Pull an image into the content store.

    Args:
        reference: with tag or digest.
        content: the store.
        mirrors: registry → mirror.
        platform: of an index, this image alone; where None, everything there is.
        say: is told what takes long.

    Raises:
        RegistryError: there is no such image, or none for the platform; the registry refuses.
        TemporaryError: it does not answer, or not now.
    """
    named = str(reference)
    digest = require_digest(reference, mirrors)  # what is in the store need not be there
    with RegistryOrigin(reference, mirrors, say) as origin:
        data = document_of(digest, content, origin)
        if platform is not None and isinstance(index := parse(data, named), _Index):
            digest = choose(index, platform, named).digest
            data = document_of(digest, content, origin)
        media_type = _media_type(data)
        documents, blobs = {digest: len(data)}, dict[str, Descriptor]()
        todo = [data]
        while todo:
            below, found = named_by(todo.pop(), named)
            blobs.update({each.digest: each for each in found})
            for each in below:
                if each.digest not in documents:
                    todo.append(document_of(each.digest, content, origin))
                    documents[each.digest] = each.size
        _fetch_all([each for each in blobs.values() if not content.has(each.digest, each.size)], origin, content)
    sizes = {**documents, **{each.digest: each.size for each in blobs.values()}}
    top = Descriptor(
        media_type=media_type,
        digest=digest,
        size=len(data),
        annotations={REF_NAME: reference.tag} if reference.tag else None,
    )
    return Pulled(reference=named, top=top, blobs=tuple(sorted(sizes)), size=sum(sizes.values()))


def _fetch_all(missing: list[Descriptor], origin: RegistryOrigin, content: ContentStore) -> None:
    if not missing:
        return
    from concurrent.futures import ThreadPoolExecutor

    # Made before the threads, so that they share it.
    client = origin.client
    with ThreadPoolExecutor(min(JOBS, len(missing))) as pool:
        try:
            for done in [pool.submit(in_thread(download_shown), client, blob, content) for blob in missing]:
                done.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _media_type(data: bytes) -> str:
    document = decode_json(data, dict[str, object])
    found = document.get("mediaType")
    # OCI documents may leave it out; Docker's never do.
    default = INDEX if "manifests" in document else "application/vnd.oci.image.manifest.v1+json"
    return found if isinstance(found, str) else default


def write_layout(pulled: Pulled, content: ContentStore, destination: Path, *, force: bool = False) -> None:
    """Write an image as an OCI layout: a tar where the name ends with `.tar`, else a folder.

    Args:
        pulled: the image.
        content: has its blobs.
        destination: must not exist, or be an empty folder.
        force: replace a file that is there.

    Raises:
        DamagedError: a blob was not what its name says, and is removed from the store. Nothing is left behind.
        ContextError: something is there; the disk is full. Nothing is left behind.
    """
    tar = destination.name.endswith(".tar")
    target = Path(os.path.abspath(destination))
    if os.path.lexists(target):
        empty = target.is_dir() and not target.is_symlink() and not any(target.iterdir())
        if not (empty and not tar) and not (force and tar and target.is_file()):
            hint = ", or use --force" if tar and target.is_file() else ""
            raise ContextError(f"{destination} is there", remedy=f"name a new file or folder{hint}")
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [msgspec.to_builtins(pulled.top)]}
    documents = {"index.json": msgspec.json.encode(index), "oci-layout": _LAYOUT}
    try:
        with _temporary(target) as work, reading(f"writing {target.name}", pulled.size):
            if tar:
                _write_tar(pulled, content, documents, work)
            else:
                _write_folder(pulled, content, documents, work)
            os.replace(work, target)
    except OSError as error:
        raise failure("written", target, error) from None


@contextmanager
def _temporary(target: Path) -> Iterator[Path]:
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name[:40]}.packager-") as folder:
        yield Path(folder) / "new"


def _write_folder(pulled: Pulled, content: ContentStore, documents: Mapping[str, bytes], work: Path) -> None:
    blobs = work / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    for name, data in documents.items():
        (work / name).write_bytes(data)
    for digest in pulled.blobs:
        name = digest.removeprefix("sha256:")
        # A copy: what people do to a folder of theirs must not reach the store.
        with (blobs / name).open("xb") as target:
            content.copy(digest, target.fileno())
    for path in (work, *work.rglob("*")):
        path.chmod(FOLDER_MODE if path.is_dir() else FILE_MODE)
    for path in (*work.rglob("*"), work):
        os.utime(path, (MTIME, MTIME))


def _write_tar(pulled: Pulled, content: ContentStore, documents: Mapping[str, bytes], work: Path) -> None:
    # Without a buffer: blobs go into the file past it.
    with work.open("xb", buffering=0) as stream:

        def entry(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> None:
            info = tarfile.TarInfo(name)
            info.type, info.size, info.mtime = kind, size, MTIME
            info.mode = FOLDER_MODE if kind == tarfile.DIRTYPE else FILE_MODE
            write_all(stream.fileno(), info.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict"))

        for name, data in sorted(documents.items(), reverse=True):
            entry(name, len(data))
            write_all(stream.fileno(), data + bytes(-len(data) % tarfile.BLOCKSIZE))
        for folder in ("blobs", "blobs/sha256"):
            entry(folder, 0, tarfile.DIRTYPE)
        for digest in pulled.blobs:
            size = content.path(digest).stat().st_size
            entry(f"blobs/sha256/{digest.removeprefix('sha256:')}", size)
            content.copy(digest, stream.fileno())
            write_all(stream.fileno(), bytes(-size % tarfile.BLOCKSIZE))
        write_all(stream.fileno(), bytes(2 * tarfile.BLOCKSIZE))
    with contextlib.suppress(OSError):
        work.chmod(FILE_MODE)
