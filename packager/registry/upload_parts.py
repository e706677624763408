"""What an upload is made of: how far it is, the bytes of a request, what the registry's answers say (see `upload`)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from packager.errors import ContextError
from packager.http import Answer
from packager.oci.values import Descriptor
from packager.registry.session import RegistrySession
from packager.storage.reading import failure

#: Bytes that are given to the connection at once. Each such part must be on its way within the time to connect: a
#: mebibyte is not, on a slow line.
BLOCK = 64 << 10

Progress = Callable[[int], None]


class State:
    """How far the upload of one blob is."""

    def __init__(self, *, descriptor: Descriptor, path: Path, on_bytes: Progress, location: str | None) -> None:
        self.descriptor = descriptor
        self.path = path
        self.on_bytes = on_bytes
        self.location = location
        self.offset = 0
        #: Whether `offset` is what the registry has.
        self.sure = True
        #: `location` is what another run left, and was not asked yet.
        self.recalled = False
        #: The upload is the rest of another run's, or of one that was cut.
        self.resumed = False
        self.restarts = 0
        #: The most that the registry ever had.
        self.best = 0
        self.step: Callable[[State], object] = lambda state: None


class Part:
    """Bytes of a file from `start` to `end`, as the body of a request; each iteration begins anew.

    With a length requests sends Content-Length, which registries want; a file as such would go in small blocks.
    """

    def __init__(self, path: Path, start: int, end: int, on_bytes: Progress) -> None:
        self._path = path
        self._start = start
        self._end = end
        self._on_bytes = on_bytes

    def __len__(self) -> int:
        return self._end - self._start

    def __iter__(self) -> Iterator[bytes]:
        try:
            with self._path.open("rb", buffering=0) as stream:
                stream.seek(self._start)
                left = len(self)
                while left:
                    data = stream.read(min(BLOCK, left))
                    if not data:
                        raise ContextError(f"{self._path} is shorter than its descriptor says")
                    left -= len(data)
                    yield data
                    self._on_bytes(len(data))
        except OSError as error:
            raise failure("read", self._path, error) from None


def has_blob(session: RegistrySession, descriptor: Descriptor) -> bool:
    """Ask once whether a repository has a blob.

    Raises:
        DroppedError: it does not answer now.
        RegistryError: it refuses.
    """
    answer = session.once("HEAD", session.url(f"blobs/{descriptor.digest}"))
    if answer.status in (401, 403):
        raise session.refusal(answer)
    # A registry may have kept a blob that its disk cut short.
    return answer.status == 200 and answer.headers.get("Content-Length", str(descriptor.size)) == str(descriptor.size)


def received_bytes(answer: Answer) -> int | None:
    """Return how many bytes a registry has by its Range header (`0-9` is ten); None where it does not say."""
    found = re.fullmatch(r"(?:bytes=)?0-([0-9]{1,18})", answer.headers.get("Range", ""))
    if found is None:
        return None
    # `0-0` is one byte by the spec; the reference implementation says it of none, and no chunk is that small.
    return int(found[1]) + 1 if int(found[1]) else 0
