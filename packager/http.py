"""What every request to a registry needs: a session, which failures may pass, and how long to wait for the next try."""

from __future__ import annotations

import os
import random
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from packager.errors import RegistryError
from packager.proxies import is_loopback

if TYPE_CHECKING:
    import requests

TRIES = 5
#: Seconds to connect, and between two parts of an answer.
TIMEOUT = (10, 60)
#: Seconds that a registry may make us wait by Retry-After before we give up instead.
LONGEST_WAIT = 60.0
#: The distribution spec asks registries to accept manifests up to this size, and none needs a larger one.
MAX_DOCUMENT = 4 << 20


def is_local(host: str) -> bool:
    """Whether a registry is on this machine, which Docker too speaks to without TLS."""
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    return is_loopback(name)


def wait_before(attempt: int, retry_after: str | None = None, jitter: Callable[[], float] = random.random) -> float:
    """Return the seconds to wait before try `attempt` (the second is 1), twice as long each time; pure but for chance.

    Without chance, everyone whom an overloaded registry turned away would be back at the same moment.
    """
    asked = float(retry_after) if retry_after and re.fullmatch(r"[0-9]{1,9}", retry_after) else 0.0
    # A registry's wish is kept or not at all: coming back sooner only prolongs the trouble.
    return max(asked, 0.5 * float(2 ** (attempt - 1)) * (1 + jitter() / 2))


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer; `body` ends one byte after `MAX_DOCUMENT`."""

    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes = b""


class DroppedError(Exception):
    """A try failed in a way that may pass; a reason for the next, never seen outside the client."""

    def __init__(self, problem: str, retry_after: str | None = None, remedy: str | None = None) -> None:
        super().__init__(problem)
        self.problem = problem
        self.retry_after = retry_after
        self.remedy = remedy


@contextmanager
def failures(host: str) -> Iterator[None]:
    """Turn what requests and urllib3 raise into `DroppedError`, or an error of ours where another try cannot help."""
    import urllib3.exceptions
    from requests import exceptions as errors

    try:
        yield
    except errors.SSLError as error:
        raise _certificate(host) if _is_certificate(error) else _no_tls(host, error) from None
    except errors.ProxyError:
        raise DroppedError("cannot be reached through the proxy that HTTP_PROXY or HTTPS_PROXY names") from None
    except errors.ReadTimeout:
        raise DroppedError("does not answer, or too slowly") from None
    except (errors.ConnectionError, errors.Timeout, errors.ChunkedEncodingError) as error:
        if isinstance(error.args[0] if error.args else None, urllib3.exceptions.ReadTimeoutError):
            raise DroppedError("does not answer, or too slowly") from None
        raise DroppedError(f"does not answer ({_reason(error)})") from None
    except urllib3.exceptions.ReadTimeoutError:
        raise DroppedError("does not answer, or too slowly") from None
    except urllib3.exceptions.HTTPError as error:
        raise DroppedError(f"broke off ({type(error).__name__})") from None
    except errors.RequestException as error:
        raise RegistryError(f"{host} cannot be asked ({type(error).__name__})") from None


def _reason(error: Exception) -> str:
    """Return in words why nobody answers, as far as the library's text tells."""
    return next((said for words, said in _REASONS if any(word in str(error) for word in words)), type(error).__name__)


_REASONS = (
    (("Connection refused",), "it refuses the connection"),
    (("NameResolutionError", "Name or service not known", "Failed to resolve"), "no host of that name is known"),
    (("Network is unreachable", "No route to host"), "there is no way to it"),
    (("ConnectTimeout", "timed out"), "it takes no connection"),
)


def _is_certificate(error: Exception) -> bool:
    return "CERTIFICATE_VERIFY_FAILED" in str(error) or "doesn't match" in str(error)


def _certificate(host: str) -> RegistryError:
    return RegistryError(
        f"the certificate of {host} is not trusted",
        remedy="name the CA bundle of your network in REQUESTS_CA_BUNDLE or SSL_CERT_FILE",
    )


def _no_tls(host: str, error: Exception) -> RegistryError:
    found = re.search(r"\[SSL: ([A-Z0-9_]+)\]", str(error))
    return RegistryError(
        f"there is no TLS with {host}" + (f" ({found[1]})" if found else ""),
        remedy=f"where it speaks plain HTTP, and your network is safe enough for that: --insecure-registry {host}",
    )


def speaks_tls(session: requests.Session, host: str) -> bool:
    """Whether a registry answers over TLS; one whose certificate is not trusted does."""
    from requests import exceptions as errors

    options: dict[str, Any] = {"timeout": (TIMEOUT[0], TIMEOUT[0]), "stream": True, "allow_redirects": False}
    try:
        # With an `auth` that does nothing: without one, requests sends what ~/.netrc has.
        session.get(f"https://{host}/v2/", auth=lambda request: request, **options).close()
    except errors.SSLError as error:
        return _is_certificate(error)
    except errors.RequestException:
        return False
    return True


def readable(text: str, limit: int = 300) -> str:
    """Return what others wrote as one line for a message: no control characters, at most `limit` characters."""
    # A margin, so that a text of many megabytes is not looked at whole.
    line = " ".join("".join(each for each in part if each.isprintable()) for part in text[: 8 * limit].split())
    return line if len(line) <= limit else f"{line[:limit]}…"


def new_session() -> requests.Session:
    """Return a session that several threads may use.

    Its requests raise UsageError where a variable names no proxy that can be used, or a file without certificates.
    """
    import requests

    from packager.connections import Adapter, ca_bundle

    class Session(requests.Session):
        def resolve_redirects(self, *given: Any, yield_requests: bool = False, **options: Any) -> Iterator[Any]:
            # Where nothing is to be followed, requests looks where it would lead all the same, for an attribute that
            # nobody reads, and falls over an address that is none.
            return iter(()) if yield_requests else super().resolve_redirects(*given, **options)

    session = Session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, Adapter())
    # Cookies are the one part of a session that several threads would write; no registry needs any.
    session.cookies.set_policy(_no_cookies())
    if (bundle := ca_bundle(os.environ)) is not None:
        session.verify = bundle[1]
    return session


def _no_cookies() -> Any:
    from http.cookiejar import DefaultCookiePolicy

    return DefaultCookiePolicy(allowed_domains=[])
