"""Keys of a service on the engine: made here, handed to its container in a volume of its own, and read from there.

Not by the environment, which `docker inspect` shows, and not by a file of this machine, which an engine elsewhere would
not see. The volume is the container's alone, is removed with it, and can be written into while it runs, although the
container's root is read-only: so a key is replaced without a restart.
"""

from __future__ import annotations

import io
import tarfile
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from packager.engine.api import require_local
from packager.errors import ServiceError, UsageError
from packager.plan.plan import AUTH_LABEL
from packager.programs.image.keys import DEFAULT_PATH, KEYS_FILE, NAMES, VARIABLES, KeysError, parse
from packager.serving.service import KeyPair, new_key
from packager.spec.rules import GUNICORN_VARIABLE

if TYPE_CHECKING:
    from docker.models.containers import Container

#: Readable for whatever user the image has; nobody else reaches the volume.
_MODE = 0o444


def make_keys(text: str | None, environ: Mapping[str, str]) -> KeyPair:
    """Return the keys that a user gives, and new ones for those not given.

    Args:
        text: of a file with one key a line; it goes before the environment.
        environ: may have PACKAGER_PRIMARY_KEY and PACKAGER_SECONDARY_KEY.

    Raises:
        UsageError: one cannot be a key.
    """
    try:
        if text is not None:
            given = dict(zip(NAMES, parse([text], "the key file"), strict=False))
        else:
            variables = zip(NAMES, VARIABLES, strict=True)
            given = {name: parse([environ[each]], each)[0] for name, each in variables if environ.get(each)}
    except KeysError as error:
        raise UsageError(str(error), remedy="`openssl rand -hex 32` makes one; leave it out to have one made") from None
    return KeyPair(primary=given.get("primary") or new_key(), secondary=given.get("secondary") or new_key())


def keys_for(
    reference: str, text: str | None, environ: Mapping[str, str], variables: Mapping[str, str]
) -> KeyPair | None:
    """Return the keys for a container of an image; None where its requests need none.

    Args:
        reference: of an image that the engine has.
        text: as of `make_keys`.
        environ: as of `make_keys`.
        variables: that the container is given.

    Raises:
        UsageError: keys are given and the image asks for none, or the variables take the keys' place.
        EngineError: no engine, or no such image.
    """
    return wanted_keys(require_local(reference).labels, reference, text, environ, variables)


def wanted_keys(
    labels: Mapping[str, str], what: str, text: str | None, environ: Mapping[str, str], variables: Mapping[str, str]
) -> KeyPair | None:
    """Return the keys for what has these labels, an image or the plan of one; the rest is as of `keys_for`.

    Raises:
        UsageError: as of `keys_for`.
    """
    if labels.get(AUTH_LABEL) != "key":
        if text is not None:
            raise UsageError(f"{what} asks for no key", remedy="`server: {auth: key}` in its spec, and build it again")
        return None
    for name in (GUNICORN_VARIABLE, KEYS_FILE, *VARIABLES):
        if name in variables:
            raise UsageError(
                f"-e {name} does not go with a service whose requests need keys",
                remedy="keys: --key-file FILE; gunicorn's settings: a file gunicorn.conf.py in the app",
            )
    return make_keys(text, environ)


def mounted() -> dict[str, Any]:
    """Return what the SDK's `containers.create` gets for a container with keys. Pure."""
    from docker.types import Mount

    return {"mounts": [Mount(target=DEFAULT_PATH, source=None, type="volume")]}


def put_keys(container: Container, pair: KeyPair) -> None:
    """Write the keys into a container that was created with `mounted`; it may run."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name in NAMES:
            content = getattr(pair, name).encode()
            member = tarfile.TarInfo(name)
            member.size, member.mode, member.mtime = len(content), _MODE, int(time.time())
            tar.addfile(member, io.BytesIO(content))
    container.put_archive(DEFAULT_PATH, packed.getvalue())


def has_keys(container: Container) -> bool:
    """Tell whether a container was created with `mounted`."""
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
