"""Asking a web server for a file: redirects, credentials, and what its answers mean."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from packager.errors import ContextError, RegistryError
from packager.http import TIMEOUT, DroppedError, failures, new_session, readable
from packager.registry.auth import BareHeader, Credentials, basic
from packager.registry.redirects import MOST, next_place, place
from packager.workspace.sources.addresses import Address

if TYPE_CHECKING:
    import requests

#: Answers that another try does not change, though they are above 500.
_FOR_GOOD = (501, 505)


class WebClient:
    """Connections to the server of one file.

    Args:
        address: of the file.
        may_be_asked: whether a URL is safe enough to be asked; `https://` is.
    """

    def __init__(self, address: Address, may_be_asked: Callable[[str], bool]) -> None:
        self._address = address
        self._may_be_asked = may_be_asked
        self._session: requests.Session | None = None
        self._credentials: Credentials | None = None

    def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            self._session.close()

    @contextmanager
    def asked(self, headers: Mapping[str, str]) -> Iterator[requests.Response]:
        """Give an answer that has content or says that nothing changed (200, 206, 304, 416), its body unread.

        Raises:
            DroppedError: the server does not answer, or not now.
            ContextError: it has no such file, or does not give it to us.
        """
        answer = self._follow(headers)
        try:
            self._judge(answer)
            yield answer
        finally:
            answer.close()

    def is_unchanged(self, validators: Mapping[str, str]) -> bool:
        """Whether the server says that a file is still the one that it gave these validators to."""
        conditions = {"ETag": "If-None-Match", "Last-Modified": "If-Modified-Since"}
        headers = {conditions[name]: value for name, value in validators.items()}
        if not headers:
            return False
        try:
            with self.asked(headers) as answer:
                return answer.status_code == 304
        except DroppedError:
            return False  # the download says what is wrong

    def _follow(self, headers: Mapping[str, str]) -> requests.Response:
        url = self._address.url
        for _ in range(MOST):
            answer = self._send(url, headers)
            try:
                target = next_place("GET", url, answer.status_code, answer.headers.get("Location"))
                if target is not None and not self._may_be_asked(target):
                    raise RegistryError("no TLS")
            except RegistryError:
                answer.close()
                # What it names may be signed.
                raise ContextError(
                    f"{self._address.host} sends us on to a place without TLS, or to none of the web",
                    remedy="name the address that the file is at itself",
                ) from None
            except BaseException:
                answer.close()
                raise
            if target is None:
                return answer
            answer.close()
            url = target
        raise ContextError(f"{self._address.host} sends us on without end", remedy="open the address in a browser")

    def _send(self, url: str, headers: Mapping[str, str]) -> requests.Response:
        if self._session is None:
            self._session = new_session()
        host = readable(urlsplit(url).netloc.rpartition("@")[2], 100)
        with failures(host):
            return self._session.get(
                url,
                headers={"Accept": "*/*", "Accept-Encoding": "identity", **headers},
                # With one that does nothing where there is none: else requests sends what ~/.netrc has for each host.
                auth=BareHeader(self._header(url)),
                timeout=TIMEOUT,
                stream=True,
                allow_redirects=False,
            )

    def _header(self, url: str) -> str:
        """Return the Authorization header for a place: of the host that was named, and on no weaker way than there."""
        own, asked = place(self._address.url), place(url)
        upgraded = own[1] == asked[1] and (own[0], own[2], asked[0], asked[2]) == ("http", 80, "https", 443)
        if asked != own and not upgraded:
            return ""
        credentials = self._known()
        return basic(credentials) if credentials.username or credentials.password else ""

    def _known(self) -> Credentials:
        if self._credentials is None:
            from requests.utils import get_netrc_auth

            address = self._address
            named = (address.user, address.password) if address.user or address.password else None
            user, password = named or get_netrc_auth(address.url) or ("", "")
            self._credentials = Credentials(username=user, password=password)
        return self._credentials

    def _judge(self, answer: requests.Response) -> None:
        status, address = answer.status_code, self._address
        if status in (200, 206, 304, 416):
            return
        reason = readable(answer.reason or "", 60)
        said = f"{status} {reason}".rstrip()
        if status == 429 or (status >= 500 and status not in _FOR_GOOD):
            raise DroppedError(f"answers {said}", answer.headers.get("Retry-After"))
        if status in (401, 403, 407):
            known = self._known()
            sent = bool(known.username or known.password)
            raise ContextError(
                f"{address.host} does not let us read {address.uri}: it answers {said}"
                + (", though we said who we are" if sent else ""),
                remedy=f"put user and password of {urlsplit(address.url).hostname} into ~/.netrc"
                + (", the right ones" if sent else "")
                + "; a signed address may have expired",
            )
        if status in (404, 410):
            raise ContextError(f"{address.host} has no {address.uri}: it answers {said}", remedy="check the address")
        raise ContextError(f"{address.host} answers {said} to the question for {address.uri}")
