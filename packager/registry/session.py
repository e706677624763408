"""Talking to one repository of a registry over HTTP: connections, authorization, tries again; what is said is others'.

The token flow is Docker's (distribution/distribution, `docs/content/spec/auth/token.md` and `oauth.md`).
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urljoin, urlsplit

import msgspec

from packager.errors import RegistryError, TemporaryError
from packager.http import (
    LONGEST_WAIT,
    MAX_DOCUMENT,
    TIMEOUT,
    TRIES,
    Answer,
    DroppedError,
    failures,
    is_local,
    new_session,
    wait_before,
)
from packager.reference import DEFAULT_REGISTRY, Reference
from packager.registry.auth import BareHeader, Credentials, basic, docker_credentials, parse_challenge
from packager.registry.logins import config_file

if TYPE_CHECKING:
    import requests

T = TypeVar("T")

#: docker.io is a name for people; the API of that registry answers at another host (distribution/reference has the
#: name, moby's `registry/config.go` the host).
DOCKER_IO_HOST = "registry-1.docker.io"


class RegistrySession:
    """Connections to the registry of one repository; several threads may use them.

    Args:
        at: the repository, at its mirror where one is mapped.
        scope: what a token is asked for (`repository:NAME:pull,push`); what the registry's challenge says where empty.
        plain: speak HTTP without TLS.
        action: what a refusal says that we may not do (`read`, `write to`).
        tries: of each request.
        pause: waits for so many seconds between two tries.
    """

    def __init__(
        self,
        at: Reference,
        *,
        scope: tuple[str, ...] = (),
        plain: bool,
        action: str = "read",
        tries: int = TRIES,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.at = at
        self.action = action
        self.tries = tries
        self.pause = pause
        host = DOCKER_IO_HOST if at.registry == DEFAULT_REGISTRY else at.registry
        self.origin = f"{'http' if plain else 'https'}://{host}"
        self._scope = scope
        self._opened: requests.Session | None = None
        self._authorization = ""
        self._lock = threading.Lock()
        self._lock_session = threading.Lock()

    def close(self) -> None:
        """Close the connections."""
        if self._opened is not None:
            self._opened.close()

    @property
    def _session(self) -> requests.Session:
        # Made late: what is in the store needs no connection, and the import of requests takes a tenth of a second.
        with self._lock_session:
            if self._opened is None:
                self._opened = new_session()
            return self._opened

    def url(self, path: str) -> str:
        """Return the URL of something in the repository (`blobs/uploads/`)."""
        return f"{self.origin}/v2/{self.at.repository}/{path}"

    def absolute(self, location: str) -> str:
        """Return the URL of a Location header.

        Behind a proxy that ends TLS, registries name themselves by `http://`: what goes to this host goes as the rest.
        """
        url = urljoin(self.origin, location)
        if urlsplit(url).netloc == urlsplit(self.origin).netloc:
            return self.origin + url.partition("://")[2].removeprefix(urlsplit(url).netloc)
        if not url.startswith("https://") and not self.origin.startswith("http://"):
            raise RegistryError(f"{self.at.registry} names a place without TLS to upload to")
        return url

    def ask(self, method: str, url: str, *, doing: str, **options: Any) -> Answer:
        """Send a request, again when the failure may pass; answers below 500 but 429 are the caller's to judge.

        Args:
            method: of HTTP.
            url: absolute.
            doing: completes "the registry HOST does not answer: …".
            options: of requests.

        Raises:
            RegistryError: the certificate is not trusted, or there is no login that helps.
            TemporaryError: every try failed.
        """
        return self.again(lambda: self.once(method, url, **options), doing)

    def again(self, action: Callable[[], T], doing: str) -> T:
        """Return what `action` does, after at most `tries` tries that end in `DroppedError`.

        Raises:
            TemporaryError: every try failed.
        """
        for attempt in range(1, self.tries + 1):
            try:
                return action()
            except DroppedError as error:
                problem = error.problem
                wait = wait_before(attempt, error.retry_after)
            if attempt == self.tries or wait > LONGEST_WAIT:
                break
            self.pause(wait)
        raise TemporaryError(
            f"the registry {self.at.registry} {problem}: {doing}",
            remedy="try again; a mirror can be named in PACKAGER_REGISTRY_MIRROR (docker.io=HOST)",
        )

    def once(self, method: str, url: str, **options: Any) -> Answer:
        """Send a request once, with the authorization that it needs.

        Raises:
            DroppedError: no answer, or 429 or 5xx.
            RegistryError: as for `ask`.
        """
        with self.streamed(method, url, **options) as answer, failures(self.at.registry):
            body = b""
            # Whoever asks for the head alone gets no body, whatever the headers promise.
            for part in answer.iter_content(1 << 16):
                body += part
                if len(body) > MAX_DOCUMENT:
                    break
            return Answer(
                status=answer.status_code,
                reason=answer.reason,
                headers=answer.headers,
                body=body[: MAX_DOCUMENT + 1],
            )

    @contextmanager
    def streamed(self, method: str, url: str, **options: Any) -> Iterator[requests.Response]:
        """Give the answer to a request whose body is still to be read; see `once`."""
        used = self._authorization
        answer = self._send(method, url, self._header_for(url, used), options)
        try:
            if answer.status_code == 401 and self._authorize(used, answer.headers.get("WWW-Authenticate", "")):
                answer.close()
                answer = self._send(method, url, self._header_for(url, self._authorization), options)
            if answer.status_code >= 500 or answer.status_code == 429:
                problem = f"answers {answer.status_code} {answer.reason}"
                raise DroppedError(problem, answer.headers.get("Retry-After"))
            yield answer
        finally:
            answer.close()

    def login(self, status: int) -> RegistryError:
        """Return the error for an answer that says we may not."""
        host = self.at.registry
        login = "docker login" if host == DEFAULT_REGISTRY else f"docker login {host}"
        config = config_file(os.environ)
        nobody = "" if config.is_file() else f"; nobody is logged in: there is no {config}"
        return RegistryError(
            f"{host} does not let us {self.action} {self.at.name} ({status}){nobody}",
            remedy=f"`{login}` with an account that may; a name that does not exist gives the same answer",
        )

    # --- authorization ---

    def _header_for(self, url: str, authorization: str) -> str:
        # An upload may go to another host (a store of blobs, which has its own signature in the URL).
        return authorization if urlsplit(url).netloc == urlsplit(self.origin).netloc else ""

    def _send(self, method: str, url: str, header: str, options: Mapping[str, Any]) -> requests.Response:
        with failures(self.at.registry):
            return self._session.request(
                method,
                url,
                auth=BareHeader(header),
                timeout=TIMEOUT,
                stream=True,
                **{"allow_redirects": True, **options},
            )

    def _authorize(self, used: str, challenge: str) -> bool:
        """Get an authorization in the place of `used`; return whether there is a new one."""
        with self._lock:
            if self._authorization != used:
                return True
            found = self._answer_to(challenge, known=bool(used))
            changed = found != used
            self._authorization = found
            return changed

    def _answer_to(self, challenge: str, *, known: bool) -> str:
        """Return the header that answers a challenge: `Basic` with the credentials, `Bearer` with a token for them."""
        kind, fields = parse_challenge(challenge)
        credentials = docker_credentials(self.at.registry)
        if kind == "basic" and credentials is not None and credentials.username:
            return basic(credentials)
        if kind != "bearer":
            raise self.login(401)
        realm = fields.pop("realm", "")
        # The realm gets the credentials, so it must be as safe as the registry itself.
        if not realm.startswith("https://") and not (realm.startswith("http://") and is_local(self.at.registry)):
            raise RegistryError(f"{self.at.registry} names no safe place to get a token from")
        # A token that was right may have run out: then there is another one.
        if known and fields.get("error") not in (None, "invalid_token"):
            return self._authorization
        return f"Bearer {self._token(realm, fields, credentials)}"

    def _token(self, realm: str, fields: Mapping[str, str], credentials: Credentials | None) -> str:
        scope = self._scope or (fields.get("scope") or f"repository:{self.at.repository}:pull",)
        question: dict[str, Any] = {"service": fields.get("service", "")}

        def asked() -> Answer:
            if credentials is not None and credentials.identity_token:
                data = {**question, "scope": " ".join(scope), "grant_type": "refresh_token", "client_id": "packager"}
                data["refresh_token"] = credentials.identity_token
                return self._token_answer("POST", realm, "", data=data)
            header = basic(credentials) if credentials is not None else ""
            return self._token_answer("GET", realm, header, params={**question, "scope": list(scope)})

        answer = self.again(asked, "it gives no token now")
        if answer.status != 200:
            raise self.login(answer.status)
        try:
            body = msgspec.json.decode(answer.body)
            token = body.get("token") or body.get("access_token")
        except (msgspec.DecodeError, AttributeError, RecursionError):
            token = None
        # What an HTTP header cannot hold is no token (RFC 6750, section 2.1).
        if not isinstance(token, str) or not re.fullmatch(r"[\x21-\x7e]+", token):
            raise RegistryError(f"the token service of {self.at.registry} gives no token")
        return token

    def _token_answer(self, method: str, realm: str, header: str, **options: Any) -> Answer:
        with self._send(method, realm, header, options) as answer, failures(self.at.registry):
            if answer.status_code >= 500 or answer.status_code == 429:
                problem = f"answers {answer.status_code} {answer.reason}"
                raise DroppedError(problem, answer.headers.get("Retry-After"))
            body = answer.raw.read(MAX_DOCUMENT, decode_content=True)
            return Answer(status=answer.status_code, reason=answer.reason, headers=answer.headers, body=body)
