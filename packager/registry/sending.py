"""Blobs, to one repository: in parallel, each at most once, from wherever they are files."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Literal, NamedTuple

from packager.oci.values import Descriptor
from packager.progress import in_thread, working
from packager.registry.client import RegistryClient
from packager.registry.upload import StoppedError

JOBS = 4
#: Seconds that an interrupted push may take to bring chunks under way to their end, where another run continues.
GRACE = 5.0

Status = Literal["present", "mounted", "uploaded"]


class Sent(NamedTuple):
    """A blob that is to be sent.

    Attributes:
        blob: what it is.
        title: for people; its digest where empty.
        path: gives its file, when it is needed.
    """

    blob: Descriptor
    title: str
    path: Callable[[], Path]


class Sender:
    """Sends blobs to one repository.

    Args:
        client: of the repository, told to stop by `stop`.
        mount_from: digest of a blob → repository of the same registry that has it.
        stop: is set when the sending ends before its time.

    Attributes:
        done: what became of each blob.
        bytes_sent: those that were sent in vain included.
    """

    def __init__(self, client: RegistryClient, mount_from: Mapping[str, str], stop: threading.Event) -> None:
        self._client = client
        self._mount_from = mount_from
        self._stop = stop
        self._lock = threading.Lock()
        self.bytes_sent = 0
        self.done: dict[Status, list[Descriptor]] = {"present": [], "mounted": [], "uploaded": []}

    def send_all(self, blobs: Iterable[Sent], jobs: int = JOBS) -> None:
        """Send blobs, each of its own digest, unless they are there.

        Raises:
            RegistryError, TemporaryError, ContextError: as for `upload.Uploader.upload`; of the first that failed.
        """
        # The largest first, so that it is not what everyone waits for at the end.
        order = sorted(blobs, key=lambda each: (-each.blob.size, each.blob.digest))
        if not order:
            return
        pool = ThreadPoolExecutor(min(jobs, len(order)))
        futures = [pool.submit(in_thread(self._send_or_stop), each) for each in order]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
            if self._stop.is_set():
                # Others may have ended for that reason before the one that failed has.
                pool.shutdown(wait=True, cancel_futures=True)
            _raise_first(each for each in futures if each.done() and not each.cancelled())
        except BaseException as error:
            # Ctrl-C too: what is being sent ends with its chunk, so that another run can continue there.
            self._stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            # Who wants to end does not wait for a registry that does not answer.
            running = [future for future in futures if not future.cancelled()]
            wait(running, None if isinstance(error, Exception) else GRACE)
            raise
        pool.shutdown()

    def _send_or_stop(self, each: Sent) -> None:
        try:
            self._send(each)
        except BaseException:
            # Here already: this thread would take the next blob before the one that waits has heard of it.
            self._stop.set()
            raise

    def _send(self, each: Sent) -> None:
        if self._stop.is_set():
            return None
        blob = each.blob
        source, location = self._mount_from.get(blob.digest), None
        if self._client.has_blob(blob):
            return self._finished(blob, "present")
        if source is not None and source != self._client.at.repository:
            mounted, location = self._client.mount(blob, source)
            if mounted:
                return self._finished(blob, "mounted")
        with working(f"pushing {each.title or blob.digest[7:19]}", blob.size) as advance:

            def on_bytes(count: int) -> None:
                with self._lock:
                    self.bytes_sent += count
                advance(count)

            self._client.upload(blob, each.path(), location, on_bytes)
        return self._finished(blob, "uploaded")

    def _finished(self, blob: Descriptor, status: Status) -> None:
        with self._lock:
            self.done[status].append(blob)


def _raise_first(done: Iterable[Future[None]]) -> None:
    errors = [error for future in done if (error := future.exception()) is not None]
    for error in errors:
        if not isinstance(error, StoppedError):
            raise error
