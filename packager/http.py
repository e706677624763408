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
    return name in ("localhost", "::1") or re.fullmatch(r"127(?:\.[0-9]+){3}", name) is not None


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

    def __init__(self, problem: str, retry_after: str | None = None) -> None:
        super().__init__(problem)
        self.problem = problem
        self.retry_after = retry_after


@contextmanager
def failures(host: str) -> Iterator[None]:
    """Turn what requests and urllib3 raise into `DroppedError`, or an error of ours where another try cannot help."""
    import urllib3.exceptions
    from requests import exceptions as errors

    try:
        yield
    except errors.SSLError:
        raise _certificate(host) from None
    except (errors.ConnectionError, errors.Timeout, errors.ChunkedEncodingError) as error:
        raise DroppedError(f"does not answer ({type(error).__name__})") from None
    except urllib3.exceptions.HTTPError as error:
        raise DroppedError(f"broke off ({type(error).__name__})") from None
    except errors.RequestException as error:
        raise RegistryError(f"{host} cannot be asked ({type(error).__name__})") from None


def _certificate(host: str) -> RegistryError:
    return RegistryError(
        f"the certificate of {host} is not trusted",
        remedy="name the CA bundle of your network in REQUESTS_CA_BUNDLE or SSL_CERT_FILE",
    )


def new_session() -> requests.Session:
    """Return a session that several threads may use."""
    import requests
    from requests.adapters import HTTPAdapter

    session = requests.Session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(pool_maxsize=8))
    # Cookies are the one part of a session that several threads would write; no registry needs any.
    session.cookies.set_policy(_no_cookies())
    bundle = os.environ.get("SSL_CERT_FILE")
    # requests knows two variables of its own; the one that OpenSSL, uv and Go know should do as well.
    if bundle and not any(os.environ.get(name) for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")):
        session.verify = bundle
    return session


def _no_cookies() -> Any:
    from http.cookiejar import DefaultCookiePolicy

    return DefaultCookiePolicy(allowed_domains=[])
