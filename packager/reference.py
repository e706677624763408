"""Image references: parsed by the grammar that registries and engines share, and written in full.

Source of the grammar: distribution/reference (github.com/distribution/reference, `reference.go`), and the OCI
distribution spec 1.1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from packager.errors import UsageError

DEFAULT_REGISTRY = "docker.io"
#: The variable with registries that may be spoken to without TLS.
INSECURE_VARIABLE = "PACKAGER_INSECURE_REGISTRY"

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_DOMAIN = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_DOMAIN_RE = re.compile(_DOMAIN)
_PATH_RE = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG_RE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST_RE = re.compile(r"sha256:[a-f0-9]{64}")


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """An image reference in full.

    Attributes:
        registry: host with optional port; `docker.io` where the text names none.
        repository: path in the registry; `library/` is put before one-part names of docker.io.
        tag: without `:`.
        digest: `sha256:` and 64 hex digits.
    """

    registry: str
    repository: str
    tag: str | None = None
    digest: str | None = None

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Return the reference that a text names.

        Raises:
            UsageError: it is none, and why.
        """
        scheme, is_url, plain = text.partition("://")
        if is_url:
            raise UsageError(f"{text!r} is a URL, and images have none", remedy=f"leave out {scheme}://: {plain}")
        rest, at, digest = text.partition("@")
        if at and not _DIGEST_RE.fullmatch(digest):
            raise UsageError(f"{digest!r} is not a sha256 digest", remedy="sha256: and 64 lower-case hex digits")
        head, slash, tail = rest.partition("/")
        if slash and ("." in head or ":" in head or head == "localhost" or head != head.lower()):
            registry, rest = head, tail
        else:
            registry = DEFAULT_REGISTRY
        path, colon, tag = rest.partition(":")
        if colon and not _TAG_RE.fullmatch(tag):
            raise UsageError(f"{tag!r} is not a valid image tag", remedy="letters, digits, `.`, `_`, `-`; at most 128")
        if not _DOMAIN_RE.fullmatch(registry):
            raise UsageError(f"{registry!r} is not a registry host", remedy="host or host:port")
        if not _PATH_RE.fullmatch(path) or len(path) > 255:
            raise UsageError(
                f"{path!r} is not a repository name",
                remedy="lower-case letters, digits, and single `.`, `_`, `-` between them, parts joined by `/`",
            )
        if registry == "index.docker.io":
            registry = DEFAULT_REGISTRY
        if registry == DEFAULT_REGISTRY and "/" not in path:
            path = f"library/{path}"
        return cls(registry=registry, repository=path, tag=tag or None, digest=digest or None)

    def __str__(self) -> str:
        return self.name + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    @property
    def name(self) -> str:
        """Registry and repository, in full."""
        return f"{self.registry}/{self.repository}"

    @property
    def unplaced(self) -> bool:
        """Whether it is below docker.io/library, as every name of one word is: Docker alone can push there."""
        return self.registry == DEFAULT_REGISTRY and self.repository.startswith("library/")

    def with_tag(self, tag: str) -> Reference:
        """The same repository under another tag, without a digest."""
        return msgspec.structs.replace(self, tag=tag, digest=None)

    def with_digest(self, digest: str) -> Reference:
        """The same reference, pinned."""
        return msgspec.structs.replace(self, digest=digest)

    def without_digest(self) -> Reference:
        """The same reference, by name and tag alone."""
        return msgspec.structs.replace(self, digest=None)

    def mirrored(self, mirrors: Mapping[str, str]) -> Reference:
        """The same image at its registry's mirror, where one is mapped.

        A mirror is a host, or a host and a path that goes before the repository (`mirror.example.com/dockerhub`).
        """
        mirror = mirrors.get(self.registry)
        if mirror is None:
            return self
        host, _, prefix = mirror.partition("/")
        repository = f"{prefix}/{self.repository}" if prefix else self.repository
        return msgspec.structs.replace(self, registry=host, repository=repository)


def parse_mirrors(text: str) -> dict[str, str]:
    """Return the mapping that `PACKAGER_REGISTRY_MIRROR` holds: `docker.io=host:port[/path]`, several with commas.

    Raises:
        UsageError: an entry is not of that form.
    """
    mirrors: dict[str, str] = {}
    for entry in re.split(r"[,\s]+", text.strip()):
        if not entry:
            continue
        registry, equals, mirror = entry.partition("=")
        if not equals:
            raise UsageError(
                f"PACKAGER_REGISTRY_MIRROR: {entry!r} is not REGISTRY=MIRROR", remedy="such as docker.io=127.0.0.1:5000"
            )
        for host in (registry, mirror):
            Reference.parse(f"{host}/x")
            if not _DOMAIN_RE.fullmatch(host.partition("/")[0]):
                raise UsageError(f"PACKAGER_REGISTRY_MIRROR: {host!r} is not a registry")
        mirrors[registry] = mirror
    return mirrors


def parse_insecure(text: str) -> tuple[str, ...]:
    """Return the registries that `PACKAGER_INSECURE_REGISTRY` holds, or one `--insecure-registry`.

    Raises:
        UsageError: one is not HOST or HOST:PORT, nor addresses in CIDR notation.
    """
    entries = tuple(each for each in re.split(r"[,\s]+", text) if each)
    for entry in entries:
        if not _is_network(entry) and not _is_registry(entry):
            raise UsageError(
                f"{entry!r} is no registry", remedy="HOST, HOST:PORT, or addresses such as 10.0.0.0/8; without http://"
            )
    return entries


def _is_registry(text: str) -> bool:
    try:
        return Reference.parse(f"{text}/x").registry == text
    except UsageError:
        return False


def _is_network(text: str) -> bool:
    from ipaddress import ip_network

    try:
        return "/" in text and bool(ip_network(text, strict=False))
    except ValueError:
        return False
