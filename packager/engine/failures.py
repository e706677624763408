"""What engines, registries and BuildKit say when they fail → one of our errors, with what to do. Pure.

Their messages are all there is: neither the engine's API nor buildx has codes for these cases. The patterns were
collected from Docker Engine 26.1, BuildKit 0.13, pip 23 to 25 and uv 0.13, and from distribution's registry 2.8.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from packager.environments.install_failure import find_install_failure
from packager.errors import EngineError, PackagerError, RegistryError, TemporaryError
from packager.http import readable
from packager.reference import DEFAULT_REGISTRY, Reference

TAIL = 15
"""Lines of a failed step that are shown."""


class _AnyOf:
    """Patterns, compiled when something has failed: that takes a while, and most often nothing has."""

    def __init__(self, *patterns: str) -> None:
        self._pattern = "|".join(patterns)

    def search(self, text: str) -> re.Match[str] | None:
        """Return where any of them is in a text first, in whatever case."""
        return re.search(self._pattern, text, re.IGNORECASE)


_NETWORK = _AnyOf(
    r"connection refused",
    r"connection reset",
    r"connection timed out",
    r"broken pipe",
    r"no such host",
    r"(?:i/o|handshake|read|connect) ?time(?:d )?out",
    r"time-?out exceeded",
    r"deadline exceeded",
    r"network is unreachable",
    r"no route to host",
    r"temporary failure (?:in name resolution|resolving)",
    r"name or service not known",
    r"failed to establish a new connection",
    r"remote end closed connection",
    r"server misbehaving",
    r"unexpected EOF",
    r": EOF\b",
)
_UNAVAILABLE = _AnyOf(
    r"\b5\d\d (?:internal server error|bad gateway|service unavailable|gateway time-?out|server error)",
    r"status(?: code)?:? 5\d\d\b",
    r"\b429\b",
    r"too ?many ?requests",
)
_DENIED = _AnyOf(
    r"\b40[13]\b",
    r"unauthorized",
    r"no basic auth credentials",
    r"denied",
    r"insufficient_scope",
    r"authentication required",
    r"incorrect username or password",
)
_NOT_FOUND = _AnyOf(r"not found", r"manifest unknown", r"name unknown", r"does not exist", r"no match for platform")
_TLS = _AnyOf(
    r"x509:",
    r"certificate[_ ]verif",
    r"invalid peer certificate",
    r"SSLCertVerification",
    r"does not look like a TLS handshake",
    r"HTTP response to HTTPS client",
)
_CREDENTIALS = _AnyOf(r"docker-credential-\S+", r"error getting credentials", r"credentials store error")
_NO_SPACE = _AnyOf(r"no space left on device", r"disk quota exceeded")
_NO_BUILDX = _AnyOf(
    r"is not a docker command", r"unknown command: docker buildx", r"buildx.*(?:not found|missing or broken)"
)
_NO_ENGINE = _AnyOf(
    r"cannot connect to the docker daemon",
    r"error during connect",
    r"error while fetching server API version",
    r"permission denied while trying to connect",
    r"connection aborted",
)

# apt-get 2.6 to 3.0.
_NO_PACKAGE = re.compile(
    r"^E: (?:Unable to locate package (\S+)|Package '([^']+)' has no installation candidate)", re.MULTILINE
)
_NO_VERSION = re.compile(r"^E: Version '([^']+)' for '([^']+)' was not found", re.MULTILINE)

# What the final message of BuildKit says of where it failed.
_RESOLVING = re.compile(r"failed to resolve source metadata for (\S+?): ")
_PUSHING = re.compile(r"^ > (?:\[\S+\] )?(?:exporting|pushing) (\S+) with docker:|failed to push (\S+?): ")
_PROCESS = re.compile(r'process "(.*)" did not complete successfully: (?:exit code: (\d+)|(.*))')


def no_docker() -> EngineError:
    """There is no `docker` program."""
    return EngineError(
        "the program `docker` is not on PATH",
        remedy="install Docker (https://docs.docker.com/engine/install/), or use `packager save` and build elsewhere",
    )


def no_buildx() -> EngineError:
    """The `docker` program lacks its plugin for BuildKit."""
    return EngineError(
        "`docker` has no working buildx plugin, which BuildKit needs",
        remedy="install the package docker-buildx-plugin (Docker's own packages) or docker-buildx (Debian, Ubuntu)",
    )


def engine_failure(message: str, asked: str = "") -> EngineError:
    """Return the error for an engine that did not answer, from buildx's message or the SDK's.

    Args:
        message: what was said.
        asked: where the engine was looked for, and who says so (`unix:///x, of DOCKER_HOST`); empty where nobody knows.
    """
    at = f" at {asked}" if asked else ""
    # The SDK's holds Python exceptions in each other; the innermost says what happened.
    inner = re.findall(r"Error\(\d+, '([^']+)'\)|\[Errno \d+\] ([^'\")]+)", message)
    if inner:
        message = "".join(inner[-1])
    if "permission denied" in message.lower():
        return EngineError(
            f"no permission to use the engine{at}: {message}",
            remedy="add yourself to the group `docker` and log in again, or point DOCKER_HOST at an engine of yours",
        )
    return EngineError(
        f"the engine{at} does not answer: {message}",
        remedy="start Docker, or choose another engine: DOCKER_HOST, or `docker context use NAME`",
    )


def registry_failure(message: str, reference: str, *, base: bool = False) -> PackagerError:
    """Return the error for a registry's (or an engine's) refusal to hand out or to take an image.

    Args:
        message: what it said.
        reference: the image that it is about.
        base: the image is the base of a build, so that another one can be chosen.
    """
    host, said = _host(reference), readable(message)
    login = f"docker login {host}" if host != DEFAULT_REGISTRY else "docker login"
    what = f"the base image {reference}" if base else reference
    suffix = "; or choose another base (--base REF), or a mirror (PACKAGER_REGISTRY_MIRROR=HOST=MIRROR)" if base else ""
    if _CREDENTIALS.search(message):
        return RegistryError(
            f"{what}: the credentials for {host} cannot be read: {said}",
            remedy="install that credential helper, or take it out of Docker's config.json and log in again",
        )
    if _TLS.search(message):
        by_us = "" if base else f" (or push with --insecure-registry {host})"
        return RegistryError(
            f"{what}: no secure connection to {host}: {said}",
            remedy="give the engine the registry's CA (/etc/docker/certs.d/HOST/ca.crt), or name one without TLS "
            f"under insecure-registries in its daemon.json{by_us}",
        )
    if _UNAVAILABLE.search(message):
        return TemporaryError(f"{what}: {host} is in trouble: {said}", remedy=f"try again later{suffix}")
    if _NETWORK.search(message) and not _DENIED.search(message):
        return TemporaryError(f"{what}: {host} cannot be reached: {said}", remedy=f"try again later{suffix}")
    if _NO_SPACE.search(message):
        return _no_space(message)
    if _DENIED.search(message):
        return RegistryError(
            f"{what}: {host} does not let us in: {said}",
            remedy=f"`{login}` with an account that may {'read' if base else 'write to'} this repository{suffix}",
        )
    if _NOT_FOUND.search(message):
        return RegistryError(f"{what} is not at {host}: {said}", remedy=f"check its name and tag{suffix}")
    return RegistryError(f"{what}: {host} refused: {said}", remedy=f"check reference and registry{suffix}")


def build_failure(lines: Sequence[str], code: int) -> PackagerError:
    """Return the error for a failed `docker buildx build`.

    Args:
        lines: the last of its output, plain or drawn for a terminal, without control sequences.
        code: its exit code.
    """
    said = [line for line in lines if line.startswith("ERROR: ")]
    # Newer bakes name the target first.
    final = re.sub(r"\AERROR: (?:target \S+: )?(?:failed to solve: )?", "", said[-1]) if said else ""
    text = final or "\n".join(lines[-TAIL:]).strip() or f"exit code {code}"
    if _NO_ENGINE.search(text):
        return engine_failure(text)
    # The docker program without the plugin takes `buildx` for nothing and stumbles over our first option.
    if _NO_BUILDX.search(text) or ("unknown flag: --" in text and "buildx" not in text):
        return no_buildx()
    if process := _PROCESS.search(final):
        return _step_failure(_step_log(lines), process[2])
    if resolving := _RESOLVING.search(final):
        return registry_failure(final[resolving.end() :], resolving[1], base=True)
    pushing = [match for line in lines if (match := _PUSHING.search(line))]
    if pushing:
        return registry_failure(final, pushing[-1][1] or pushing[-1][2])
    if _NO_SPACE.search(text):
        return _no_space(final)
    if "exec format error" in text:
        return no_emulation()
    if _NETWORK.search(final):
        return TemporaryError(f"the build failed: {final}", remedy="check the network and try again")
    return EngineError(f"the build failed: {text}", remedy="the messages above say more")


def _step_log(lines: Sequence[str]) -> list[str]:
    """Return the title and the log of the failed step, without BuildKit's numbers and times."""
    failed = next((match for line in lines if (match := re.match(r"#(\d+) ERROR: process", line))), None)
    log: list[str] = []
    starts = [index for index, line in enumerate(lines) if line.startswith(" > ")]
    if starts:
        log.append(lines[starts[-1]].removeprefix(" > ").rstrip(":"))
    if failed is not None:
        pattern = re.compile(rf"#{failed[1]} \d+\.\d+ ?(.*)")
        return log + [match[1] for line in lines if (match := pattern.match(line))]
    for line in lines[starts[-1] + 1 :] if starts else []:
        if re.fullmatch(r"-{6,}", line):
            break
        log.append(re.sub(r"^\d+\.\d+ ?", "", line))
    return log


def _step_failure(log: Sequence[str], exit_code: str | None) -> PackagerError:
    """Return the error for a RUN step whose command failed; the log's first line is the step's title."""
    text = "\n".join(log[1:])
    tail = "\n".join(f"    {line}" for line in log[1:][-TAIL:])
    message = f"a step of the build failed{f' with exit code {exit_code}' if exit_code else ''}: {_short(log)}\n{tail}"
    named = re.findall(r"Hash mismatch for `([^`]+)`", text)
    if "DO NOT MATCH THE HASHES" in text:
        listed = text.partition("DO NOT MATCH THE HASHES")[2]
        named = re.findall(r"^ +(\S+) from \S+", listed, re.MULTILINE) or ["see above"]
    if named:
        return EngineError(
            f"the package index sent other files than were locked: {', '.join(dict.fromkeys(named))}\n{tail}",
            remedy="find out who changed them; `packager lock --upgrade NAME` takes the index's word for it",
        )
    if debian := _debian_failure(text):
        return debian
    conda = find_install_failure(text)
    if conda is not None:
        return conda
    if "exec format error" in text:
        return no_emulation()
    if _NO_SPACE.search(text):
        return _no_space(message)
    if exit_code == "137":
        return EngineError(f"{message}\n    killed, as when memory runs out", remedy="give the engine more memory")
    if _TLS.search(text):
        return EngineError(
            message, remedy="behind a proxy with a certificate of its own: --secret id=ca,src=CA-BUNDLE.pem"
        )
    if _NETWORK.search(text) or _UNAVAILABLE.search(text):
        return TemporaryError(message, remedy="check the network of the engine (index, proxy), and try again")
    if re.search(r"^wheels\.py: uv==\S+ cannot be had", text, re.MULTILINE):
        return EngineError(message, remedy="let the package index have uv, or do without it: `installer: pip`")
    return EngineError(message, remedy="the log above is that of the failed step")


def _debian_failure(text: str) -> EngineError | None:
    """Return the error for a package of Debian's that apt does not know; None where that is not the cause."""
    unknown = list(dict.fromkeys(found[1] or found[2] for found in _NO_PACKAGE.finditer(text)))
    versions = list(dict.fromkeys(f"{found[2]}={found[1]}" for found in _NO_VERSION.finditer(text)))
    if not unknown and not versions:
        return None
    if not unknown:
        return EngineError(
            f"the base's Debian has not this version: {', '.join(versions)}",
            remedy="correct `system_packages:` in the spec; `apt-cache madison NAME` in the base shows the versions, "
            "and Debian keeps old ones at snapshot.debian.org alone",
        )
    return EngineError(
        f"the base's Debian has no package {', '.join(unknown)}",
        remedy="correct `system_packages:` in the spec; names of libraries often end in their version, such as "
        "libgomp1 (`apt-cache search NAME` in the base finds them)",
    )


def _short(log: Sequence[str]) -> str:
    title = log[0] if log else "RUN"
    return title if len(title) <= 120 else f"{title[:117]}…"


def _no_space(message: str) -> EngineError:
    return EngineError(
        f"the engine's disk is full: {message}",
        remedy="`docker system df` shows what takes the space, `docker builder prune` frees the build cache",
    )


def no_emulation(platform: str = "this platform", detail: str = "exec format error") -> EngineError:
    """The engine can run no programs of a platform."""
    return EngineError(
        f"the engine cannot run programs of {platform} ({detail})",
        remedy="register emulation: `docker run --privileged --rm tonistiigi/binfmt --install all`, or the packages "
        "qemu-user-static and binfmt-support; or build on a machine of that platform (--builder NAME), or with "
        "`--builder oci`, which runs nothing",
    )


def _host(reference: str) -> str:
    try:
        return Reference.parse(reference).registry
    except PackagerError:
        return "the registry"
