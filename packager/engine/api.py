"""The engine through its API: is it there, and which images has it.

The Docker SDK takes 0.25 s to import, so it waits until it is used.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import socket
import subprocess
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec

from packager.decoding import decode_json
from packager.docker_config import config_file, read_config
from packager.engine.failures import engine_failure, no_buildx, no_docker
from packager.errors import EngineError, PackagerError, RegistryError, TemporaryError, UsageError
from packager.reference import Reference

if TYPE_CHECKING:
    import docker

#: Seconds that the engine may take for one answer. A push or a stop gives none for a long time.
TIMEOUT = 600

#: Where an engine is that nothing names.
DEFAULT_ADDRESS = "unix:///var/run/docker.sock"

#: Seconds for each `docker buildx` command that only asks.
ASK_TIMEOUT = 5.0

#: The first engine whose BuildKit knows `COPY --link`, which the Dockerfile needs (BuildKit 0.10, Docker 23.0).
OLDEST = 23


class EngineInfo(msgspec.Struct, frozen=True, kw_only=True):
    """The engine and its builder.

    Attributes:
        version: of the engine (`26.1.5`).
        api: version of its API (`1.45`).
        platform: OCI os/arch that it runs on.
        buildkit: it can build with BuildKit.
        buildx: version of the plugin; None where there is none.
        platforms: that the current builder can run programs of, by itself or by emulation.
        containerd_store: images are kept in containerd's store, which holds manifests and several platforms.
    """

    version: str
    api: str
    platform: str
    buildkit: bool
    buildx: str | None
    platforms: tuple[str, ...]
    containerd_store: bool


class LocalImage(msgspec.Struct, frozen=True, kw_only=True):
    """An image that the engine has.

    Attributes:
        id: `sha256:…` by which the engine knows it.
        platform: OCI os/arch[/variant].
        size: bytes, uncompressed.
        repo_digests: `repository@sha256:…` under which registries have it.
        labels: of its configuration.
        ports: TCP ports that it exposes.
        layers: digests of its layers' archives, uncompressed.
    """

    id: str
    platform: str
    size: int
    repo_digests: tuple[str, ...]
    labels: dict[str, str]
    ports: tuple[int, ...] = ()
    layers: tuple[str, ...] = ()


@contextmanager
def connect(timeout: int = TIMEOUT) -> Iterator[docker.DockerClient]:
    """Give a client of the engine that DOCKER_HOST or Docker's current context names; its errors become ours.

    Args:
        timeout: seconds that one answer may take.

    Raises:
        EngineError: it does not answer, or refuses what is asked of it inside the `with`.
        UsageError: the context that is named is not there; config.json is no file that can be read.
        RegistryError: Docker's credentials cannot be read.
    """
    import docker
    import docker.errors
    import requests

    client = None
    read_config(os.environ)  # the library would hang over a pipe
    try:
        with warnings.catch_warnings():
            # A credential helper that is missing warns, and then raises as well.
            warnings.simplefilter("ignore", UserWarning)
            client = docker.from_env(version="auto", timeout=timeout, use_context=names_context(os.environ))
            if os.environ.get("DOCKER_CONFIG") and not config_file(os.environ).is_file():
                # The library would go on to the home folder, whatever DOCKER_CONFIG says.
                client.api.reload_config(os.devnull)
            yield client
    except docker.errors.APIError as error:
        raise EngineError(f"the engine refused: {error.explanation or error}") from None
    except docker.errors.DockerException as error:
        raise _sdk_failure(str(error)) from None
    except requests.exceptions.RequestException as error:
        raise engine_failure(str(error), engine_address(os.environ)) from None
    finally:
        if client is not None:
            client.close()


def engine_address(environ: Mapping[str, str]) -> str:
    """Return where the engine is looked for, and who says so, in words; without passwords."""
    if host := environ.get("DOCKER_HOST"):
        return f"{re.sub(r'//[^/@]*:[^/@]*@', '//…@', host)}, of DOCKER_HOST,"
    with suppress(UsageError):
        if names_context(environ):
            return f"the address of the Docker context {environ.get('DOCKER_CONTEXT') or _current_context(environ)!r}"
    return DEFAULT_ADDRESS


def names_context(environ: Mapping[str, str]) -> bool:
    """Whether a context says where the engine is, in the order in which Docker looks.

    The library takes the machine's own engine where the context is missing, as if nothing had been said.

    Raises:
        UsageError: the context that is named is not there.
    """
    if environ.get("DOCKER_HOST"):
        return False
    config = config_file(environ)
    name, by = environ.get("DOCKER_CONTEXT"), "DOCKER_CONTEXT"
    if not name:
        name, by = _current_context(environ), f"currentContext in {config}"
    if name in ("", "default"):
        return False
    # docker/cli, `cli/context/store/metadatastore.go`; the library finds the folder by config.json alone.
    meta = config.parent / "contexts" / "meta" / hashlib.sha256(name.encode()).hexdigest() / "meta.json"
    if not (meta.is_file() and config.is_file()):
        raise UsageError(
            f"{by} names the Docker context {name!r}, which is not in {config.parent}",
            remedy="`docker context ls` lists those that are there, and `docker context use NAME` takes one; "
            "or name the engine in DOCKER_HOST",
        )
    return True


def _current_context(environ: Mapping[str, str]) -> str:
    try:
        found = msgspec.json.decode(read_config(environ)).get("currentContext")
    except (ValueError, AttributeError):
        return ""
    return found if isinstance(found, str) else ""


def inspect_local(reference: str, *, required: bool = False) -> LocalImage | None:
    """Return what the engine knows of an image; None where it has none of that name.

    Args:
        reference: name, tag, digest or id.
        required: an engine that does not answer is an error, not an absence.

    Raises:
        EngineError: see `required`.
    """
    found, values = _by_socket(f"/images/{quote(reference, safe='/:@')}/json")
    if found:
        return None if values is None else local_image(values)
    import docker.errors

    try:
        with connect(timeout=60) as client:
            try:
                return local_image(client.images.get(reference).attrs)
            except docker.errors.NotFound:
                return None
    except EngineError:
        if required:
            raise
        return None


@contextmanager
def engine_or_registry(reference: str) -> Iterator[None]:
    """Say, where a registry is asked for an image in vain, that no engine answered which may have it.

    Args:
        reference: as the user wrote it; no engine has it, or none answers.

    Raises:
        RegistryError, TemporaryError: what was raised inside the `with`.
    """
    try:
        yield
    except (RegistryError, TemporaryError) as error:
        try:
            inspect_local(reference, required=True)
        except EngineError as silent:
            # A name of one word is hardly meant to be one of Docker's own images: then the engine is what is missing.
            parts = (silent, error) if Reference.parse(reference).unplaced else (error, silent)
            remedy = "; or ".join(each.remedy for each in parts if each.remedy)
            message = f"{parts[0].message}; and {parts[1].message}"
            raise type(error)(message, where=error.where, remedy=remedy) from None
        raise


def _by_socket(path: str) -> tuple[bool, dict[str, Any] | None]:
    """Ask the engine on this machine's socket without the SDK, which takes longer to import than the engine to answer.

    Returns:
        whether it answered, and what: None for "not found". Whatever else is the matter, the SDK finds words for it.
    """
    address = os.environ.get("DOCKER_HOST") or DEFAULT_ADDRESS
    with suppress(OSError, ValueError, msgspec.MsgspecError, UsageError):
        if address.startswith("unix://") and not names_context(os.environ):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
                stream.settimeout(60)
                stream.connect(address.removeprefix("unix://"))
                # HTTP/1.0: the answer ends with the connection, and comes in one piece.
                stream.sendall(f"GET {path} HTTP/1.0\r\nHost: docker\r\n\r\n".encode("ascii"))
                answer = b"".join(iter(lambda: stream.recv(1 << 16), b""))
            head, _, body = answer.partition(b"\r\n\r\n")
            status = head.split(b" ", 2)[1:2]
            if status == [b"404"]:
                return True, None
            if status == [b"200"]:
                return True, decode_json(body, dict[str, Any])
    return False, None


def remove_image(reference: str) -> None:
    """Remove a name from the engine, and the image where it has no other; nothing where there is none of that name.

    Raises:
        EngineError: no engine answers.
    """
    import docker.errors

    with connect() as client, suppress(docker.errors.ImageNotFound):
        client.images.remove(reference)


def name_image(image: str, reference: str) -> None:
    """Give an image of the engine a name, which another one may have had.

    Args:
        image: its id.
        reference: the name.

    Raises:
        EngineError: no engine, or it has no such image any more.
    """
    import docker.errors

    with connect() as client:
        try:
            client.images.get(image).tag(reference)
        except docker.errors.ImageNotFound:
            raise EngineError(f"the engine has no image {image}", remedy="`packager build` makes it again") from None


def require_local(reference: str) -> LocalImage:
    """Return what the engine knows of an image.

    Raises:
        EngineError: no engine, or it has no such image.
    """
    found = inspect_local(reference, required=True)
    if found is None:
        raise EngineError(
            f"the engine has no image {reference}", remedy="`packager build` makes it (or `docker pull` fetches it)"
        )
    return found


def check_engine() -> EngineInfo:
    """Return what engine and builder can do.

    Raises:
        EngineError: there is no docker program, no engine, no buildx, or no BuildKit that knows `COPY --link`.
    """
    if shutil.which("docker") is None:
        raise no_docker()
    info = look_at_engine()
    if info.buildx is None:
        raise no_buildx()
    if not info.buildkit:
        raise EngineError(
            f"the engine {info.version} has no BuildKit that knows `COPY --link`",
            remedy=f"update Docker to {OLDEST}.0 or newer, or choose another builder: "
            "`docker buildx create --driver docker-container --use`",
        )
    return info


def look_at_engine() -> EngineInfo:
    """Return what engine and builder say of themselves, whether or not that is enough.

    Raises:
        EngineError: no engine answers.
    """
    with connect(timeout=int(ASK_TIMEOUT)) as client:
        version, info = client.version(), client.info()
    buildx = ask("docker", "buildx", "version")
    builder = ask("docker", "buildx", "inspect") if buildx else None
    return engine_info(version, info, buildx, builder)


def engine_info(
    version: Mapping[str, Any], info: Mapping[str, Any], buildx: str | None, builder: str | None
) -> EngineInfo:
    """Return what the answers of an engine and of buildx mean. Pure.

    Args:
        version: the engine's `/version`.
        info: its `/info`.
        buildx: output of `docker buildx version`.
        builder: output of `docker buildx inspect`.
    """
    found = re.search(r"\bv?(\d+\.\d+\.\d+\S*)", buildx or "")
    driver = re.search(r"^Driver:\s*(\S+)", builder or "", re.MULTILINE)
    # Podman speaks this API too, and has no BuildKit. Other drivers than `docker` bring a BuildKit of their own.
    podman = any("podman" in str(each.get("Name", "")).lower() for each in version.get("Components") or ())
    own = not podman and _major(str(version.get("Version", ""))) >= OLDEST
    status = [tuple(each) for each in info.get("DriverStatus") or ()]
    return EngineInfo(
        version=str(version.get("Version", "")),
        api=str(version.get("ApiVersion", "")),
        platform=f"{version.get('Os', '')}/{version.get('Arch', '')}",
        buildkit=own or (driver is not None and driver[1] != "docker"),
        buildx=(found[1] if found else buildx.strip() or None) if buildx else None,
        platforms=runnable(builder or ""),
        containerd_store=("driver-type", "io.containerd.snapshotter.v1") in status,
    )


def runnable(text: str) -> tuple[str, ...]:
    """Return the platforms that `docker buildx inspect` lists, of all nodes; none where a builder is asleep. Pure.

    A `*` marks what a user has set (docker/buildx, commands/inspect.go).
    """
    listed = re.findall(r"^[ \t]*Platforms:[ \t]*(\S.*)$", text, re.MULTILINE)
    return tuple(dict.fromkeys(each.strip(" *") for line in listed for each in line.split(",")))


def local_image(values: Mapping[str, Any]) -> LocalImage:
    """Return the image that the engine's `/images/{name}/json` describes. Pure."""
    variant, config = values.get("Variant"), values.get("Config") or {}
    return LocalImage(
        id=values["Id"],
        platform=f"{values['Os']}/{values['Architecture']}" + (f"/{variant}" if variant else ""),
        size=values.get("Size", 0),
        repo_digests=tuple(values.get("RepoDigests") or ()),
        labels=dict(config.get("Labels") or {}),
        ports=tuple(
            sorted(int(port.partition("/")[0]) for port in config.get("ExposedPorts") or () if port.endswith("/tcp"))
        ),
        layers=tuple((values.get("RootFS") or {}).get("Layers") or ()),
    )


def _sdk_failure(message: str) -> PackagerError:
    if "credentials store" in message.lower():
        return RegistryError(
            f"Docker's credentials cannot be read: {message}",
            remedy="install that credential helper, or take it out of Docker's config.json and log in again",
        )
    return engine_failure(message, engine_address(os.environ))


def ask(*command: str) -> str | None:
    """Return what a command prints; None where it is missing, fails or takes too long."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ASK_TIMEOUT, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout if done.returncode == 0 else None


def _major(version: str) -> int:
    number = version.partition(".")[0]
    return int(number) if number.isdigit() else 0
