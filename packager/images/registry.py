"""A registry, asked for the digest of a tag: plain HTTP, as in the OCI distribution spec 1.1, "Pulling manifests".

The token flow is Docker's (distribution/distribution, `docs/content/spec/auth/token.md` and `oauth.md`).
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from packager.errors import PackagerError, RegistryError, TemporaryError
from packager.images.reference import DEFAULT_REGISTRY, Reference
from packager.images.registry_auth import BareHeader, Credentials, basic, docker_credentials, parse_challenge

if TYPE_CHECKING:
    import requests

#: docker.io is a name for people; the API of that registry answers at another host (distribution/reference has the
#: name, moby's `registry/config.go` the host).
DOCKER_IO_HOST = "registry-1.docker.io"

MEDIA_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
TRIES = 3
#: Seconds to connect, and between two parts of an answer.
TIMEOUT = (10, 30)
#: The distribution spec asks registries to accept manifests up to this size, and none needs a larger one.
MAX_MANIFEST = 4 << 20

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
    import requests

    with requests.Session() as session:
        bundle = os.environ.get("SSL_CERT_FILE")
        # requests knows two variables of its own; the one that OpenSSL, uv and Go know should do as well.
        if bundle and not any(os.environ.get(name) for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")):
            session.verify = bundle
        return _Registry(session, reference, reference.mirrored(mirrors or {}), pause).digest()


def is_local(host: str) -> bool:
    """Whether a registry is on this machine, which Docker too speaks to without TLS."""
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    return name in ("localhost", "::1") or re.fullmatch(r"127(?:\.[0-9]+){3}", name) is not None


class _Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer; `body` ends one byte after `MAX_MANIFEST`."""

    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes


class _Registry:
    """One question to one registry; the authorization is found on the way."""

    def __init__(
        self, session: requests.Session, asked: Reference, at: Reference, pause: Callable[[float], None]
    ) -> None:
        self._session = session
        self._asked = asked
        self._at = at
        self._pause = pause
        self._authorization = ""

    def digest(self) -> str:
        host = DOCKER_IO_HOST if self._at.registry == DEFAULT_REGISTRY else self._at.registry
        scheme = "http" if is_local(host) else "https"
        url = f"{scheme}://{host}/v2/{self._at.repository}/manifests/{self._at.tag or 'latest'}"
        answer = self._authorized("HEAD", url)
        digest = answer.headers.get("Docker-Content-Digest", "")
        if answer.status == 200 and _DIGEST.fullmatch(digest):
            self._check_type(answer)
            return digest
        # Some registries and proxies know no HEAD, or leave the digest out of its answer.
        answer = self._authorized("GET", url)
        if answer.status != 200:
            raise self._refusal(answer)
        self._check_type(answer)
        return self._body_digest(answer)

    # --- asking ---

    def _authorized(self, method: str, url: str) -> _Answer:
        headers = {"Accept": ", ".join(MEDIA_TYPES)}
        answer = self._ask(method, url, headers=headers)
        if answer.status == 401 and not self._authorization:
            self._authorization = self._authorize(answer.headers.get("WWW-Authenticate", ""))
            answer = self._ask(method, url, headers=headers)
        if answer.status in (401, 403):
            raise self._refusal(answer)
        return answer

    def _ask(self, method: str, url: str, *, authorization: str | None = None, **options: Any) -> _Answer:
        """Send one request, again when the failure may pass; answers below 500 are the caller's to judge."""
        from requests import exceptions as errors

        header = self._authorization if authorization is None else authorization
        problem = ""
        for attempt in range(TRIES):
            if attempt:
                self._pause(0.5 * 2**attempt)
            try:
                answer = self._send(method, url, BareHeader(header), options)
            except errors.SSLError:
                raise RegistryError(
                    f"the certificate of {self._at.registry} is not trusted",
                    remedy="name the CA bundle of your network in REQUESTS_CA_BUNDLE or SSL_CERT_FILE",
                ) from None
            except (errors.ConnectionError, errors.Timeout, errors.ChunkedEncodingError) as error:
                problem = f"does not answer ({type(error).__name__})"
                continue
            except errors.RequestException as error:
                raise RegistryError(f"{self._at.registry} cannot be asked ({type(error).__name__})") from None
            if answer.status < 500 and answer.status != 429:
                return answer
            problem = f"answers {answer.status} {answer.reason}"
        raise TemporaryError(
            f"the registry {self._at.registry} {problem}: the digest of {self._asked} is not known",
            remedy="try again; a mirror can be named in PACKAGER_REGISTRY_MIRROR (docker.io=HOST)",
        )

    def _send(self, method: str, url: str, auth: BareHeader, options: Mapping[str, Any]) -> _Answer:
        with self._session.request(method, url, auth=auth, timeout=TIMEOUT, stream=True, **options) as answer:
            body = b""
            for part in answer.iter_content(1 << 16):
                body += part
                if len(body) > MAX_MANIFEST:
                    break
            return _Answer(
                status=answer.status_code,
                reason=answer.reason,
                headers=answer.headers,
                body=body[: MAX_MANIFEST + 1],
            )

    # --- authorization ---

    def _authorize(self, challenge: str) -> str:
        """Return the header that answers a challenge: `Basic` with the credentials, `Bearer` with a token for them."""
        kind, fields = parse_challenge(challenge)
        credentials = docker_credentials(self._at.registry)
        if kind == "basic" and credentials is not None and credentials.username:
            return basic(credentials)
        if kind != "bearer":
            raise self._login(401)
        realm = fields.pop("realm", "")
        # The realm gets the credentials, so it must be as safe as the registry itself.
        if not realm.startswith("https://") and not (realm.startswith("http://") and is_local(self._at.registry)):
            raise RegistryError(f"{self._at.registry} names no safe place to get a token from")
        return f"Bearer {self._token(realm, fields, credentials)}"

    def _token(self, realm: str, fields: Mapping[str, str], credentials: Credentials | None) -> str:
        scope = fields.get("scope") or f"repository:{self._at.repository}:pull"
        question = {"service": fields.get("service", ""), "scope": scope}
        if credentials is not None and credentials.identity_token:
            data = {**question, "grant_type": "refresh_token", "client_id": "packager"}
            data["refresh_token"] = credentials.identity_token
            answer = self._ask("POST", realm, authorization="", data=data)
        else:
            header = basic(credentials) if credentials is not None else ""
            answer = self._ask("GET", realm, authorization=header, params=question)
        if answer.status != 200:
            raise self._login(answer.status)
        try:
            body = msgspec.json.decode(answer.body)
            token = body.get("token") or body.get("access_token")
        except (msgspec.DecodeError, AttributeError, RecursionError):
            token = None
        # What an HTTP header cannot hold is no token (RFC 6750, section 2.1).
        if not isinstance(token, str) or not re.fullmatch(r"[\x21-\x7e]+", token):
            raise RegistryError(f"the token service of {self._at.registry} gives no token")
        return token

    # --- judging ---

    def _check_type(self, answer: _Answer) -> None:
        kind = answer.headers.get("Content-Type", "").partition(";")[0].strip()
        if kind.startswith("application/vnd.docker.distribution.manifest.v1"):
            raise RegistryError(
                f"{self._asked} is in Docker's schema 1, which has no digest to rely on",
                remedy="push the image again with a current engine",
            )

    def _body_digest(self, answer: _Answer) -> str:
        if len(answer.body) > MAX_MANIFEST:
            raise RegistryError(f"the manifest of {self._asked} is larger than {MAX_MANIFEST} bytes")
        digest = f"sha256:{hashlib.sha256(answer.body).hexdigest()}"
        if answer.headers.get("Docker-Content-Digest", digest) != digest:
            raise RegistryError(
                f"{self._at.registry} answers a manifest of {self._asked} that does not have the digest it claims",
                remedy="a proxy in between may change answers; ask the registry itself",
            )
        return digest

    def _refusal(self, answer: _Answer) -> PackagerError:
        if answer.status in (401, 403):
            return self._login(answer.status)
        via = "" if self._at.name == self._asked.name else f" (asked as {self._at})"
        if answer.status == 404:
            return RegistryError(f"there is no image {self._asked}{via}", remedy="check its name and tag")
        return RegistryError(f"{self._at.registry} answers {answer.status} to the question for {self._asked}{via}")

    def _login(self, status: int) -> RegistryError:
        host = self._at.registry
        login = "docker login" if host == DEFAULT_REGISTRY else f"docker login {host}"
        return RegistryError(
            f"{host} does not let us read {self._at.name} ({status})",
            remedy=f"`{login}` with an account that may; a name that does not exist gives the same answer",
        )
