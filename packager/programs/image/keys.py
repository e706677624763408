"""Keys: requests need `Authorization: Bearer KEY` where the spec says so (PACKAGER_AUTH=key in the image).

There are two, so that one can be replaced while clients use the other. They come from a folder with the files `primary`
and `secondary` (as Kubernetes and Docker mount secrets), or a file with one key a line; where there is none, from the
environment. What is mounted is read again when it changes; keys that are removed, or that are none any more, let in no
longer.

A token that ends is made of a key, and let in as long as that is a key and the time is not over: nothing is kept of it.

An image that asks for keys starts by `start`, so that they hang on no variable: what GUNICORN_CMD_ARGS, PACKAGER_AUTH
or a user's own settings take away, the application itself still has around it.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import stat
import sys
import time
from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, Tuple

AUTH = "PACKAGER_AUTH"
KEYS_FILE = "PACKAGER_KEYS_FILE"
VARIABLES = ("PACKAGER_PRIMARY_KEY", "PACKAGER_SECONDARY_KEY")
DEFAULT_PATH = "/run/secrets/packager-keys"
NAMES = ("primary", "secondary")

#: Exit code of a server that needs keys and has none (EX_CONFIG of sysexits.h).
NO_KEYS = 78

#: Seconds for which the keys before hold while what is mounted holds none.
HALF_WRITTEN = 2.0

#: Visible ASCII, as it goes into a header.
FORM = re.compile(r"[!-~]{16,512}\Z")

#: A token: until when it holds, in seconds of Unix, and an HMAC over it, whose key is the SHA-256 of one of the keys.
_TOKEN = re.compile(r"packager-token\.([0-9]{1,12})\.([0-9a-f]{64})\Z")

_BODY = b'{"message": "The request needs a key."}'


class KeysError(Exception):
    """There are no keys, or what is there cannot be one. The message holds none."""


def parse(texts: Iterable[str], where: str) -> Tuple[str, ...]:
    """Return the keys of some texts: one a line; empty lines and `#` lines are left out.

    Raises:
        KeysError: there are none, more than two, or one cannot be a key.
    """
    lines = [line.strip() for text in texts for line in text.splitlines()]
    found = tuple(line for line in lines if line and not line.startswith("#"))
    if not found:
        raise KeysError(f"{where} holds no key")
    if len(found) > len(NAMES):
        raise KeysError(f"{where} holds more than two keys")
    if not all(FORM.match(each) for each in found):
        raise KeysError(f"{where} holds what cannot be a key: 16 to 512 characters of visible ASCII, no spaces")
    return found


def make_token(key: str, end: int) -> str:
    """Return a token that lets in until it ends, or the key is another one.

    Args:
        key: one of the server's.
        end: in seconds of Unix.
    """
    return f"packager-token.{end}.{_seal(_digest(key), str(end))}"


def _seal(digest: bytes, end: str) -> str:
    return hmac.new(digest, f"packager-token.{end}".encode("ascii"), "sha256").hexdigest()


def _files(path: str) -> List[str]:
    if os.path.isdir(path):
        return [each for each in (os.path.join(path, name) for name in NAMES) if os.path.exists(each)]
    return [path] if os.path.exists(path) else []


def _read(path: str) -> Tuple[str, ...]:
    texts = []
    for each in _files(path):
        # A named pipe would keep a request waiting for ever.
        descriptor = os.open(each, os.O_RDONLY | os.O_NONBLOCK)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise KeysError(f"{each} is not a regular file")
            texts.append(os.read(descriptor, 1 << 16).decode("ascii", "replace"))
        finally:
            os.close(descriptor)
    return parse(texts, path)


def _signature(path: str) -> Any:
    found = []
    for each in _files(path):
        status = os.stat(each)
        found.append((each, status.st_ino, status.st_size, status.st_mtime_ns))
    return found


class Keys:
    """The keys of the moment.

    Raises:
        KeysError: there are none.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        say: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._path = environ.get(KEYS_FILE) or DEFAULT_PATH
        self._say, self._clock, self._now = say, clock, now
        self._seen: Any = None
        #: Since when what is mounted holds no key.
        self._without: Optional[float] = None
        self._mounted = bool(_files(self._path))
        if self._mounted:
            self._seen = _signature(self._path)
            found = _read_or_raise(self._path)
        elif environ.get(KEYS_FILE):
            raise KeysError(f"{KEYS_FILE} names {self._path}, and there is no such file or folder")
        else:
            given = [environ[name] for name in VARIABLES if environ.get(name)]
            if not given:
                raise KeysError(
                    f"there is neither {self._path} (a folder with `primary` and `secondary`, or a file with a key a"
                    f" line; {KEYS_FILE} names another one) nor {VARIABLES[0]} in the environment"
                )
            found = parse(given, "the environment")
        self._digests = tuple(map(_digest, found))

    def allow(self, header: Optional[str]) -> bool:
        """Tell whether an Authorization header holds a key, or a token of one that has not ended.

        It takes as long whichever key it is, or whether it is any.
        """
        self._look()
        scheme, _, key = (header or "").strip().partition(" ")
        key = key.strip()
        given = _digest(key)
        matches = [hmac.compare_digest(given, each) for each in self._digests]
        token = _TOKEN.match(key)
        if token and int(token.group(1)) > self._now():
            matches += [hmac.compare_digest(token.group(2), _seal(each, token.group(1))) for each in self._digests]
        return any(matches) and scheme.lower() == "bearer"

    def _look(self) -> None:
        """Read again what is mounted when it has changed.

        What is no key any more lets in no longer: not at once, as it may be half written, but after `HALF_WRITTEN`.
        """
        if not self._mounted:
            return
        try:
            now = _signature(self._path)
            if now == self._seen:
                return
            self._digests = tuple(map(_digest, _read(self._path)))
        except (OSError, KeysError) as error:
            if self._without is None:
                self._without = self._clock()
            if self._digests and self._clock() - self._without >= HALF_WRITTEN:
                self._digests = ()
                self._say(
                    f"packager: the keys before are revoked, and no request is let in until there are others: {error}"
                )
            return
        self._seen, self._without = now, None
        self._say(f"packager: the keys in {self._path} have changed, and are read")


def _read_or_raise(path: str) -> Tuple[str, ...]:
    try:
        return _read(path)
    except OSError as error:
        raise KeysError(f"{path} cannot be read: {error.strerror}") from None


def _digest(key: str) -> bytes:
    # latin-1: WSGI's encoding of headers.
    return hashlib.sha256(key.encode("latin-1", "replace")).digest()


#: In a request's environment (what clients send starts with HTTP_): a guard further out has let it in.
_LET_IN = "packager.let_in"


class Guard:
    """A WSGI application that lets in what has a key, and everybody's `GET /`, which probes ask."""

    def __init__(self, app: Callable[..., Iterable[bytes]], keys: Keys) -> None:
        self._app, self._keys = app, keys

    def __call__(self, environ: Dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer a request."""
        if environ.get(_LET_IN) is self._keys:
            return self._app(environ, start_response)
        environ[_LET_IN] = self._keys
        # Scripts do not see it, and so cannot write it into a log.
        header = environ.pop("HTTP_AUTHORIZATION", None)
        if self._keys.allow(header) or environ.get("PATH_INFO") == "/":
            return self._app(environ, start_response)
        if environ.get("REQUEST_METHOD") == "OPTIONS":
            # A browser asks before it sends a key. `/` answers with the same CORS headers, and runs no script, as
            # @rawhttp would.
            return self._app({**environ, "PATH_INFO": "/"}, start_response)
        _skip(environ)
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(_BODY)))]
        start_response("401 Unauthorized", [*headers, ("WWW-Authenticate", "Bearer")])
        return [_BODY]


def _skip(environ: Dict[str, Any], limit: int = 1 << 16) -> None:
    """Take in a short body: a connection that is closed before would be a reset, and the answer lost."""
    try:
        length = int(environ.get("CONTENT_LENGTH") or 0)
    except ValueError:
        return
    if 0 < length <= limit:
        environ["wsgi.input"].read(length)


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def wanted(environ: Mapping[str, str]) -> bool:
    """Tell whether requests need a key; what cannot be understood ends the program, as it must not mean no."""
    value = environ.get(AUTH, "none")
    if value not in ("key", "none"):
        sys.exit(f"packager: {AUTH}={value} is neither `key` nor `none`")
    return value == "key"


#: The keys that `start` has loaded.
_started: List[Keys] = []


def start(run: Callable[[], Any]) -> None:
    """Start the inference server with keys in front of its application, whatever variables and settings say.

    Args:
        run: the server's own start.
    """
    from gunicorn.app.base import BaseApplication

    # gunicorn's settings, which put a guard further out, are to ask for the same.
    os.environ[AUTH] = "key"
    _started.append(load(os.environ))
    BaseApplication.wsgi = guarded(BaseApplication.wsgi, _started[0])
    sys.exit(run())


def guarded(wsgi: Callable[[Any], Any], store: Keys) -> Callable[[Any], Any]:
    """Return what gives a worker its application, so that it has a guard around it."""

    def guard(application: Any) -> Any:
        if not isinstance(application.callable, Guard):
            for name in VARIABLES:
                os.environ.pop(name, None)
            application.callable = Guard(wsgi(application), store)
        return application.callable

    return guard


def load(environ: Mapping[str, str]) -> Keys:
    """Return the keys, or end the program and say why."""
    if _started:
        return _started[0]
    try:
        return Keys(environ, _say)
    except KeysError as error:
        sys.stderr.write(f"packager: requests need a key, and the server has none: {error}\n")
        sys.exit(NO_KEYS)
