"""The archives of the wheels of a lock, looked at: what uv leaves out without a word when it unpacks them.

uv 0.13 (seen, and kept by tests) leaves out members whose names leave the folder, writes RECORD anew where its rows and
the members differ, and makes a small text file of a symbolic link. Its cache keeps what was unpacked and no wheel, so
nothing on disk tells. The names of the members stand at the end of a wheel: that part alone is read, once for each
wheel, from where uv finds the wheel too.

A wheel that cannot be looked at (no network, an index that does not answer to us) is laid down all the same: what uv
leaves out can do no harm. Then it is missing in the image without a word, which is all that this here is against.
"""

from __future__ import annotations

import io
import re
import sys
import tomllib
import zipfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast
from urllib.parse import unquote, urlsplit

from packager.environments.lock import LockedPackage
from packager.environments.locks.files import format_requirements
from packager.environments.uv import index_logins
from packager.errors import LockError
from packager.laying.wheel_members import Member, Unfit, judge, record_name
from packager.laying.wheels import Source
from packager.scratch import scratch
from packager.storage.content import Memory

if TYPE_CHECKING:
    import requests

#: Of the rules: a higher number looks at every wheel anew.
RULES = "1"
#: Bytes at the end of a wheel that are asked for first: all names and RECORD of most.
_TAIL = 64 << 10
#: Bytes of the largest wheel that is read whole, from an index that gives no parts of files.
_LARGEST = 64 << 20
_JOBS = 8
_TIMEOUT = (10, 30)


def require_safe(
    packages: Iterable[LockedPackage], python: str, tags: str, source: Source, memory: Memory | None = None
) -> None:
    """Refuse wheels with members that would not, or not as they are, be in the environment.

    Args:
        packages: of a lock, after uv has laid them down: it knows then where they come from.
        python: minor version of the image.
        tags: the platform in uv's words.
        source: index settings of this machine.
        memory: of wheels that were looked at; this user's where None.

    Raises:
        LockError: a member leaves the folder, has an absolute name, is a link, or is not what RECORD says.
    """
    memory = memory if memory is not None else Memory("wheels")
    new = [each for each in packages if any(memory.recall(RULES, digest) is None for digest in each.digests)]
    if not new:
        return
    places = _places(new, python, tags, source)
    wanted = [(each, digest, places[digest]) for each in new for digest in each.digests if digest in places]
    reader = _Reader(source)
    try:
        with ThreadPoolExecutor(_JOBS) as pool:
            found = list(pool.map(lambda item: reader.look(item[2]), wanted))
    finally:
        reader.close()
    for (package, digest, _), result in zip(wanted, found, strict=True):
        if isinstance(result, Unfit):
            raise LockError(f"the wheel of {package.name}=={package.version} {result.message}", remedy=result.remedy)
        if result:
            memory.remember(b"", RULES, digest)


def look_at(archive: BinaryIO) -> Unfit | None:
    """Return what is wrong with the members of a wheel.

    Raises:
        zipfile.BadZipFile, OSError: it cannot be read.
    """
    with zipfile.ZipFile(archive) as opened:
        # `orig_filename`: `filename` ends at a NUL, and has backslashes replaced on some systems.
        members = [Member(name=each.orig_filename, mode=each.external_attr >> 16) for each in opened.infolist()]
        name = record_name(members)
        record = opened.read(name).decode("utf-8", "surrogateescape") if name else None
    return judge(members, record)


def _places(packages: Iterable[LockedPackage], python: str, tags: str, source: Source) -> dict[str, str]:
    """Return where wheels are: sha256 → URL, as far as uv's cache knows."""
    with scratch("packager-wheels-") as name:
        requirements = Path(name) / "requirements.txt"
        requirements.write_text(format_requirements(list(packages)), "utf-8")
        words = ["pip", "compile", str(requirements), "--format", "pylock.toml", "--quiet", "--no-header"]
        words += ["--python-version", python, "--python-platform", tags, "--python", sys.executable]
        words += ["--no-deps", "--only-binary", ":all:", "--offline"]
        answer = source.uv.run(words).output
    with suppress(tomllib.TOMLDecodeError, AttributeError, TypeError):
        return dict(_urls(tomllib.loads(answer)))
    return {}


def _urls(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for package in document.get("packages", ()):
        for wheel in package.get("wheels", ()):
            digest, url = wheel.get("hashes", {}).get("sha256"), wheel.get("url")
            if isinstance(digest, str) and isinstance(url, str):
                yield digest, url


class _Reader:
    """Reads the ends of wheels, in several threads.

    Args:
        source: index settings of this machine.
    """

    def __init__(self, source: Source) -> None:
        self._offline = source.offline
        self._logins = index_logins(source.environ)
        self._session: requests.Session | None = None
        if not self._offline:
            from packager.http import new_session

            self._session = new_session()

    def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            self._session.close()

    def look(self, url: str) -> Unfit | bool:
        """Return what is wrong with a wheel; else whether it could be looked at."""
        import requests

        try:
            with self._open(url) as archive:
                return look_at(archive) or True
        except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, requests.RequestException):
            return False

    def _open(self, url: str) -> BinaryIO:
        parts = urlsplit(url)
        if parts.scheme == "file":
            return open(unquote(parts.path), "rb")
        if self._session is None or parts.scheme not in ("http", "https"):
            raise OSError("offline")
        return cast(BinaryIO, io.BufferedReader(_Remote(self._session, url, self._logins.get(parts.netloc))))


class _Remote(io.RawIOBase):
    """A file at a URL, read in parts from its end."""

    def __init__(self, session: requests.Session, url: str, login: tuple[str, str] | None) -> None:
        super().__init__()
        self._session, self._url, self._login = session, url, login
        self._at = 0
        self._start, self._data, self._size = self._ask(f"-{_TAIL}")

    def _ask(self, asked: str) -> tuple[int, bytes, int]:
        """Return a part of the file: where it starts, its bytes, and the bytes of the whole file."""
        headers = {"Range": f"bytes={asked}", "Accept-Encoding": "identity"}
        with self._session.get(self._url, headers=headers, auth=self._login, timeout=_TIMEOUT, stream=True) as answer:
            if answer.status_code == 200 and int(answer.headers.get("Content-Length", _LARGEST + 1)) <= _LARGEST:
                return 0, answer.content, len(answer.content)
            found = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", answer.headers.get("Content-Range", ""))
            if answer.status_code != 206 or found is None:
                raise OSError(f"the index answers {answer.status_code}")
            return int(found[1]), answer.content, int(found[2])

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        end = min(self._at + len(buffer), self._size)
        if self._at >= end:
            return 0
        if not self._start <= self._at < self._start + len(self._data):
            self._start, self._data, self._size = self._ask(f"{self._at}-{max(end, self._at + _TAIL) - 1}")
        data = self._data[self._at - self._start : end - self._start]
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)
