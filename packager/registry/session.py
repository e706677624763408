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

from packager.docker_config import config_file
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
    readable,
    speaks_tls,
    wait_before,
)
from packager.proxies import is_loopback
from packager.reference import DEFAULT_REGISTRY, Reference
from packager.registry.auth import BareHeader, Credentials, basic, docker_credentials, parse_challenges
from packager.registry.insecure import may_be_plain
from packager.registry.redirects import MOST, next_place, place
from packager.registry.words import words_of

if TYPE_CHECKING:
    import requests

T = TypeVar("T")

#: docker.io is a name for people; the API of that registry answers at another host (distribution/reference has the
#: name, moby's `registry/config.go` the host).
DOCKER_IO_HOST = "registry-1.docker.io"

#: Answers that another try does not change, though they are above 500.
_FOR_GOOD = (501, 505)


class RegistrySession:
    """Connections to the registry of one repository; several threads may use them.

    Args:
        at: the repository, at its mirror where one is mapped.
        scope: what a token is asked for (`repository:NAME:pull,push`); what the registry's challenge says where empty.
        action: what a refusal says that we may not do (`read`, `write to`).
        tries: of each request.
        pause: waits for so many seconds between two tries.
    """

    def __init__(
        self,
        at: Reference,
        *,
        scope: tuple[str, ...] = (),
        action: str = "read",
        tries: int = TRIES,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.at = at
        self.action = action
        self.tries = tries
        self.pause = pause
        self._host = DOCKER_IO_HOST if at.registry == DEFAULT_REGISTRY else at.registry
        self._origin = f"http://{self._host}" if is_local(self._host) else ""
        self._scope = scope
        #: What no message may show, should the registry repeat it.
        self._secrets: set[str] = set()
        self._opened: requests.Session | None = None
        self._authorization = ""
        self._lock = threading.Lock()
        self._lock_session = threading.Lock()

    def close(self) -> None:
        """Close the connections."""
        if self._opened is not None:
            self._opened.close()

    def beside(self, at: Reference, scope: tuple[str, ...], action: str) -> RegistrySession:
        """Return a session for another repository of the same registry, over the same connections; see the class."""
        other = RegistrySession(at, scope=scope, action=action, tries=self.tries, pause=self.pause)
        other._opened, other._origin, other._secrets = self._session, self.origin, self._secrets
        # A token is for one repository; a password is for all.
        other._authorization = self._authorization if self._authorization.startswith("Basic ") else ""
        return other

    @property
    def _session(self) -> requests.Session:
        # Made late: what is in the store needs no connection, and the import of requests takes a tenth of a second.
        with self._lock_session:
            if self._opened is None:
                self._opened = new_session()
            return self._opened

    @property
    def origin(self) -> str:
        """Scheme and host of the registry; without TLS where that is allowed, and the registry has none."""
        if not self._origin:
            plain = may_be_plain(self._host) and not speaks_tls(self._session, self._host)
            self._origin = f"{'http' if plain else 'https'}://{self._host}"
        return self._origin

    def url(self, path: str) -> str:
        """Return the URL of something in the repository (`blobs/uploads/`)."""
        return f"{self.origin}/v2/{self.at.repository}/{path}"

    def absolute(self, location: str) -> str:
        """Return the URL of a Location header.

        Behind a proxy that ends TLS, registries name themselves by `http://`: what goes to this host goes as the rest.
        """
        try:
            url = urljoin(self.origin, location)
        except ValueError:
            url = location
        scheme = place(url)[0]
        if urlsplit(url).netloc == urlsplit(self.origin).netloc:
            return self.origin + url.partition("://")[2].removeprefix(urlsplit(url).netloc)
        if scheme != "https" and not self.origin.startswith("http://"):
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
                self.wait(attempt, error, doing)
        raise AssertionError("the last try returns or raises")

    def wait(self, failed: int, error: DroppedError, doing: str, remedy: str | None = None) -> None:
        """Wait for the next try.

        Args:
            failed: tries that failed.
            error: of the last.
            doing: completes "the registry HOST does not answer: …".
            remedy: what to do; None for what helps with the registry itself.

        Raises:
            TemporaryError: that was the last try, or the registry wants to be left alone for long.
        """
        seconds = wait_before(failed, error.retry_after)
        if failed >= self.tries or seconds > LONGEST_WAIT:
            problem = f"the registry {self.at.registry} {error.problem}: {doing}"
            remedy = error.remedy or remedy or _advice(self.at.registry, error.problem)
            raise TemporaryError(problem, remedy=remedy) from None
        self.pause(seconds)

    def once(self, method: str, url: str, **options: Any) -> Answer:
        """Send a request once, with the authorization that it needs.

        Raises:
            DroppedError: no answer, or 429 or 5xx.
            RegistryError: as for `ask`.
        """
        with self.streamed(method, url, **options) as answer:
            return self.whole(answer)

    @contextmanager
    def streamed(self, method: str, url: str, **options: Any) -> Iterator[requests.Response]:
        """Give the answer to a request whose body is still to be read; see `once`."""
        used = self._authorization
        answer = self._send(method, url, self._header_for(url, used), options)
        try:
            # Another host that a redirect or a Location led to is not the one that we log in to.
            own = self._is_own(answer.url)
            if answer.status_code == 401 and own and self._authorize(used, answer):
                answer.close()
                answer = self._send(method, url, self._header_for(url, self._authorization), options)
            self._check(answer)
            yield answer
        finally:
            answer.close()

    def refusal(self, answer: Answer) -> RegistryError:
        """Return the error for an answer that says we may not, with the registry's own words."""
        host = self.at.registry
        login = "docker login" if host == DEFAULT_REGISTRY else f"docker login {host}"
        config = config_file(os.environ)
        nobody = "" if config.is_file() else f"; nobody is logged in: there is no {config}"
        return RegistryError(
            f"{host} does not let us {self.action} {self.at.name}: "
            f"it answers {answer.status}{self.words(answer)}{nobody}",
            remedy=f"`{login}` with an account that may; a name that does not exist gives the same answer",
        )

    def whole(self, answer: requests.Response) -> Answer:
        """Read the body of an answer, and return it all.

        Raises:
            DroppedError: it breaks off.
        """
        with failures(self.at.registry):
            return _whole(answer)

    def words(self, answer: Answer) -> str:
        """Return what the registry says in an answer (` (DENIED quota reached)`); nothing of what we are known by."""
        return words_of(answer, self._secrets)

    # --- authorization ---

    def _is_own(self, url: str) -> bool:
        return place(url) == place(self.origin)

    def _header_for(self, url: str, authorization: str) -> str:
        # An upload may go to another host (a store of blobs, which has its own signature in the URL).
        return authorization if self._is_own(url) else ""

    def _send(self, method: str, url: str, header: str, options: Mapping[str, Any]) -> requests.Response:
        """Send a request once, and after it where it is redirected to, as far as that is safe."""
        first = place(url)
        for _ in range(MOST):
            # Only the host that was meant gets a header.
            auth = BareHeader(header if place(url)[1:] == first[1:] else "")
            with self._failures(method, url):
                answer = self._session.request(
                    method, url, auth=auth, timeout=TIMEOUT, stream=True, allow_redirects=False, **options
                )
            try:
                target = next_place(method, url, answer.status_code, self._session.get_redirect_target(answer))
            except BaseException:
                answer.close()
                raise
            if target is None:
                return answer
            answer.close()
            # They are in the Location, if anywhere.
            url, options = target, {name: value for name, value in options.items() if name != "params"}
        raise RegistryError(f"{self.at.registry} sends us on without end")

    @contextmanager
    def _failures(self, method: str, url: str) -> Iterator[None]:
        """As `failures`, and says which host it is where the registry named another."""
        host = urlsplit(url).netloc.rpartition("@")[2]
        own = host in (self._host, self.at.registry)
        try:
            with failures(self.at.registry if own else readable(host, 100)):
                yield
        except DroppedError as error:
            if own:
                raise
            problem = f"sends us on to {readable(host, 100)}, which {error.problem}"
            # The place of an upload, not a token service: registries that do not know their own address name another.
            remedy = method in ("PATCH", "PUT") and (
                f"try again; where that host cannot be reached from here at all, {self.at.registry} must be told its "
                "own address (REGISTRY_HTTP_HOST; the headers Host and X-Forwarded-Proto of a proxy before it)"
            )
            raise DroppedError(problem, error.retry_after, remedy or None) from None

    def _check(self, answer: requests.Response) -> None:
        """Say that an answer is trouble which may pass.

        Raises:
            DroppedError: it is.
        """
        status = answer.status_code
        if status == 429 or (status >= 500 and status not in _FOR_GOOD):
            whole = self.whole(answer)
            problem = f"answers {status} {whole.reason}".rstrip() + self.words(whole)
            raise DroppedError(problem, answer.headers.get("Retry-After"))

    def _authorize(self, used: str, answer: requests.Response) -> bool:
        """Get an authorization in the place of `used`; return whether there is a new one."""
        with self._lock:
            if self._authorization != used:
                return True
            found = self._answer_to(answer, known=bool(used))
            changed = found != used
            self._authorization = found
            return changed

    def _answer_to(self, answer: requests.Response, *, known: bool) -> str:
        """Return the header that answers challenges: `Bearer` with a token, else `Basic` with the credentials."""
        challenges = parse_challenges(answer.headers.get("WWW-Authenticate", ""))
        bearer = next((fields for kind, fields in challenges if kind == "bearer"), None)
        credentials = docker_credentials(self.at.registry)
        if credentials is not None:
            self._secrets |= {credentials.password, credentials.identity_token, basic(credentials).partition(" ")[2]}
        if bearer is None:
            if credentials is not None and credentials.username and any(kind == "basic" for kind, _ in challenges):
                return basic(credentials)
            raise self.refusal(self.whole(answer))
        realm = bearer.pop("realm", "")
        if not self._is_safe(realm):
            raise RegistryError(
                f"{self.at.registry} names no safe place to get a token from: {readable(realm, 100)!r}",
                remedy="its token service needs TLS; where your network is safe enough without: "
                "--insecure-registry HOST:PORT of that service",
            )
        # A token that was right may have run out: then there is another one.
        if known and bearer.get("error") not in (None, "invalid_token"):
            return self._authorization
        token = self._token(realm, bearer, credentials)
        self._secrets.add(token)
        return f"Bearer {token}"

    def _is_safe(self, realm: str) -> bool:
        """Whether credentials may go to a token service: it must be as safe as the registry itself."""
        try:
            parts = urlsplit(realm)
            scheme, name, host = place(realm)[0], parts.hostname or "", parts.netloc.rpartition("@")[2]
        except (ValueError, RegistryError):
            return False
        if scheme == "https":
            return True
        if is_loopback(name):
            return is_local(self.at.registry)
        # Never from TLS to a place without; and a registry of this machine does not speak for the network.
        return self.origin.startswith("http://") and (name == place(self.origin)[1] or may_be_plain(host))

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
            raise self.refusal(answer)
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
        with self._send(method, realm, header, options) as answer:
            self._check(answer)
            return self.whole(answer)


def _whole(answer: requests.Response) -> Answer:
    body = b""
    # Whoever asks for the head alone gets no body, whatever the headers promise.
    for part in answer.iter_content(1 << 16):
        body += part
        if len(body) > MAX_DOCUMENT:
            break
    return Answer(
        status=answer.status_code,
        reason=readable(answer.reason or "", 60),
        headers=answer.headers,
        body=body[: MAX_DOCUMENT + 1],
    )


def _advice(host: str, problem: str) -> str:
    """Return what to do about a registry that does not answer, or has trouble."""
    silent = problem.startswith("does not answer") and host != DEFAULT_REGISTRY
    again = "check its name and port; if they are right, try again" if silent else "try again"
    if is_local(host):
        return again
    return f"{again}; a mirror can be named in PACKAGER_REGISTRY_MIRROR ({host}=MIRROR)"
