"""What a container on the engine gets mounted: its keys, in a volume of its own, and models that its image lacks.

A forwarder has such a volume, too, for the table of its versions, which has to outlive it and the engine.

Keys come neither by the environment, which `docker inspect` shows, nor by a file of this machine, which an engine
elsewhere would not see. The volume is the container's alone, is removed with it, and can be written into while it runs,
although the container's root is read-only: so a key is replaced without a restart.
"""

from __future__ import annotations

import io
import tarfile
import time
from typing import TYPE_CHECKING, Any

from packager.errors import ServiceError
from packager.programs.image.keys import DEFAULT_PATH, NAMES
from packager.serving.service import ImageRequest, KeyPair

if TYPE_CHECKING:
    from docker.models.containers import Container

#: Readable for whatever user the image has; nobody else reaches the volume.
_MODE = 0o444

#: Where a forwarder has the table of its versions.
TABLE = "/run/packager/versions/traffic.json"
_TABLE_FOLDER = TABLE.rpartition("/")[0]


def mounts(request: ImageRequest) -> dict[str, Any]:
    """Return what the SDK's `containers.create` gets for keys and models. Pure."""
    if not (request.keys or request.mounts):
        return {}
    from docker.types import Mount

    # Not `volumes`: of a folder that is not there, the engine would make an empty one.
    found = [Mount(target=each.path, source=str(each.folder), type="bind", read_only=True) for each in request.mounts]
    if request.keys:
        found.append(Mount(target=DEFAULT_PATH, source=None, type="volume"))
    return {"mounts": found}


def put_keys(container: Container, pair: KeyPair) -> None:
    """Write the keys into a container that was created with `mounts`; it may run."""
    _put(container, DEFAULT_PATH, {name: getattr(pair, name).encode() for name in NAMES})


def _put(container: Container, folder: str, files: dict[str, bytes]) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode, member.mtime = len(content), _MODE, int(time.time())
            tar.addfile(member, io.BytesIO(content))
    container.put_archive(folder, packed.getvalue())


def table_mounts() -> dict[str, Any]:
    """Return what the SDK's `containers.create` gets for a forwarder's table. Pure."""
    from docker.types import Mount

    return {"mounts": [Mount(target=_TABLE_FOLDER, source=None, type="volume")]}


def put_table(forwarder: Container, table: bytes) -> None:
    """Write the table of a service's versions for its forwarder, which may run.

    Raises:
        ServiceError: an older packager has started it, and it has no place for one.
    """
    if not _has(forwarder, _TABLE_FOLDER):
        raise ServiceError(
            "this service was deployed by an older packager, and cannot have versions", remedy="delete and deploy it"
        )
    _put(forwarder, _TABLE_FOLDER, {TABLE.rpartition("/")[2]: table})


def get_table(forwarder: Container) -> bytes | None:
    """Return the table of a service's versions; None where there is none."""
    import docker.errors

    if not _has(forwarder, _TABLE_FOLDER):
        return None
    try:
        chunks, _ = forwarder.get_archive(TABLE)
    except docker.errors.NotFound:
        return None
    with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as tar:
        file = tar.extractfile(tar.getmembers()[0])
        return None if file is None else file.read()


def _has(container: Container, folder: str) -> bool:
    return any(each.get("Destination") == folder for each in container.attrs.get("Mounts") or ())


def has_keys(container: Container) -> bool:
    """Tell whether a container was created with keys."""
    return _has(container, DEFAULT_PATH)


def get_keys(container: Container) -> KeyPair | None:
    """Return the keys of a container; None where it has none."""
    if not has_keys(container):
        return None
    chunks, _ = container.get_archive(DEFAULT_PATH)
    with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as tar:
        found = {each.name.rpartition("/")[2]: tar.extractfile(each) for each in tar.getmembers() if each.isfile()}
        texts = {name: file.read().decode().strip() for name, file in found.items() if file is not None}
    if not all(texts.get(name) for name in NAMES):
        raise ServiceError("the keys of the service cannot be read", remedy="deploy it again")
    return KeyPair(primary=texts["primary"], secondary=texts["secondary"])
