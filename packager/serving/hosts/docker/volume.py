"""What a container on the engine gets mounted: its keys, in a volume of its own, and models that its image lacks.

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
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name in NAMES:
            content = getattr(pair, name).encode()
            member = tarfile.TarInfo(name)
            member.size, member.mode, member.mtime = len(content), _MODE, int(time.time())
            tar.addfile(member, io.BytesIO(content))
    container.put_archive(DEFAULT_PATH, packed.getvalue())


def has_keys(container: Container) -> bool:
    """Tell whether a container was created with keys."""
    return any(each.get("Destination") == DEFAULT_PATH for each in container.attrs.get("Mounts") or ())


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
