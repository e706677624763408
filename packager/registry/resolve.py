"""A registry, asked for the digest of a tag: plain HTTP, as in the OCI distribution spec 1.1, "Pulling manifests"."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any

import msgspec

from packager.decoding import decode_json
from packager.errors import PackagerError, RegistryError
from packager.http import MAX_DOCUMENT, Answer
from packager.oci.values import DOCKER_INDEX, DOCKER_MANIFEST, INDEX, MANIFEST, digest_of
from packager.reference import Reference
from packager.registry.session import RegistrySession

MEDIA_TYPES = (INDEX, DOCKER_INDEX, MANIFEST, DOCKER_MANIFEST)
#: Fewer than for an upload: somebody waits for one small answer.
TRIES = 3

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def resolve_digest(
    reference: Reference, mirrors: Mapping[str, str] | None = None, *, pause: Callable[[float], None] = time.sleep
) -> str:
    """Return the digest that a tag has at its registry now.

    Args:
        reference: with a tag (`latest` without one); one with a digest is answered without asking.
        mirrors: registry → host, or host and path, that is asked in its place.
        pause: waits for so many seconds between two tries.

    Returns:
        `sha256:…` of the index, or of the manifest of an image for one platform.

    Raises:
        RegistryError: the registry refuses the credentials, has no such image, or answers what cannot be trusted.
        TemporaryError: it does not answer, or not now.
    """
    if reference.digest is not None:
        return reference.digest
    at = reference.mirrored(mirrors or {})
    with closing(RegistrySession(at, tries=TRIES, pause=pause)) as session:
        return _digest(session, reference)


def require_digest(
    reference: Reference, mirrors: Mapping[str, str] | None = None, *, pause: Callable[[float], None] = time.sleep
) -> str:
    """Return the digest of an image that its registry has now: one with a digest is asked for, too.

    Args, Raises: as for `resolve_digest`.
    """
    at = reference.mirrored(mirrors or {})
    with closing(RegistrySession(at, tries=TRIES, pause=pause)) as session:
        digest = _digest(session, reference)
    if reference.digest not in (None, digest):
        raise RegistryError(f"{at.registry} answers {digest} where it was asked for {reference}")
    return digest


def _digest(session: RegistrySession, asked: Reference) -> str:
    url = session.url(f"manifests/{asked.digest or session.at.tag or 'latest'}")
    headers, doing = {"Accept": ", ".join(MEDIA_TYPES)}, f"the digest of {asked} is not known"
    answer = session.ask("HEAD", url, doing=doing, headers=headers)
    digest = answer.headers.get("Docker-Content-Digest", "")
    if answer.status == 200 and _DIGEST.fullmatch(digest):
        _check_type(answer, asked)
        return digest
    if answer.status == 401:
        raise session.refusal(answer)
    # Some registries and proxies know no HEAD, or leave the digest out of its answer; and it never says why it refuses.
    answer = session.ask("GET", url, doing=doing, headers=headers)
    digest = check_manifest(session, asked, answer)
    # Its digest would be kept: whoever pulls says more of what it is.
    if not _is_manifest(answer.body):
        raise _no_manifest(asked)
    return digest


def check_manifest(session: RegistrySession, asked: Reference, answer: Answer) -> str:
    """Return the digest of an answer that is a manifest.

    Raises:
        RegistryError: it is none, or cannot be trusted.
    """
    if answer.status != 200:
        raise _refusal(session, asked, answer)
    _check_type(answer, asked)
    if len(answer.body) > MAX_DOCUMENT:
        raise RegistryError(f"the manifest of {asked} is larger than {MAX_DOCUMENT} bytes")
    digest = digest_of(answer.body)
    if answer.headers.get("Docker-Content-Digest", digest) != digest:
        raise RegistryError(
            f"{session.at.registry} answers a manifest of {asked} that does not have the digest it claims",
            remedy="a proxy in between may change answers; ask the registry itself",
        )
    return digest


def _check_type(answer: Answer, asked: Reference) -> None:
    kind = answer.headers.get("Content-Type", "").partition(";")[0].strip()
    if kind.startswith("application/vnd.docker.distribution.manifest.v1"):
        raise RegistryError(
            f"{asked} is in Docker's schema 1, which has no digest to rely on",
            remedy="push the image again with a current engine",
        )
    if kind.lower().startswith("text/html"):
        raise _no_manifest(asked)


def _is_manifest(body: bytes) -> bool:
    """Whether a document is one of those that are asked for: an index has manifests, and a manifest a configuration."""
    try:
        document = decode_json(body, dict[str, Any])
    except msgspec.DecodeError:
        return False
    return isinstance(document.get("manifests"), list) or isinstance(document.get("config"), dict)


def _no_manifest(asked: Reference) -> RegistryError:
    return RegistryError(
        f"what is answered to the question for {asked} is no manifest",
        remedy="see whether a page to sign in at stands before the registry (of the network, or of a proxy), and "
        "whether the name is that of a registry",
    )


def _refusal(session: RegistrySession, asked: Reference, answer: Answer) -> PackagerError:
    if answer.status in (401, 403):
        return session.refusal(answer)
    via = "" if session.at.name == asked.name else f" (asked as {session.at})"
    if answer.status == 404:
        return RegistryError(f"there is no image {asked}{via}", remedy="check its name and tag")
    said = f"answers {answer.status} to the question for {asked}{via}{session.words(answer)}"
    return RegistryError(f"{session.at.registry} {said}")
