"""Blocks of an archive → a stream of compressed bytes: reading, hashing, compressing and writing at the same time."""

from __future__ import annotations

import contextlib
import hashlib
import io
import queue
import threading
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from packager.oci.compression import Bytes, Codec, workers

if TYPE_CHECKING:
    from concurrent.futures import Future


class PackedStream(io.RawIOBase):
    """Blocks as a stream of compressed bytes to be read (`Content.put`), while threads read, hash and compress ahead.

    All give up the interpreter's lock for it. At most `2 × workers + 4` blocks are held at a time. To be closed.

    Args:
        blocks: the archive; read in a thread of its own. What it raises, `read` raises.
        codec: compresses them; None passes them on.
        threads: how many compress.

    Attributes:
        diff_id: `sha256:…` of the uncompressed bytes, when all was read; None without a codec, where it is that of the
            stream.
    """

    def __init__(self, blocks: Iterator[Bytes], codec: Codec | None, threads: int | None = None) -> None:
        super().__init__()
        # Imported late: it brings `logging`, and most commands compress nothing.
        from concurrent.futures import ThreadPoolExecutor

        self.diff_id: str | None = None
        self._blocks, self._codec = blocks, codec
        self._threads = workers() if threads is None else threads
        self._packers = ThreadPoolExecutor(self._threads)
        self._hasher = ThreadPoolExecutor(1)
        self._queue: queue.Queue[Future[Bytes] | Bytes | BaseException | None] = queue.Queue(self._threads + 2)
        self._stopped = threading.Event()
        self._rest = memoryview(b"")
        self._ended = False
        self._producer = threading.Thread(target=self._produce, daemon=True)
        self._producer.start()

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer as far as the next compressed block goes; 0 at the end.

        Raises:
            ContextError: a source file changed or cannot be read; the stream is of no use then.
        """
        target = memoryview(buffer).cast("B")
        data = self.read(len(target))
        target[: len(data)] = data
        return len(data)

    def read(self, size: int = -1) -> bytes:
        """Return at most `size` bytes, as many as are ready; empty at the end. All that is left where `size` is -1."""
        if size < 0:
            return self.readall()
        while not self._rest and not self._ended:
            self._rest = memoryview(self._next())
        # In one copy, where the inherited way through `readinto` takes two.
        data = bytes(self._rest[:size])
        self._rest = self._rest[size:]
        return data

    def close(self) -> None:
        """Stop the threads, whether all was read or not."""
        if not self.closed:
            self._stopped.set()
            self._producer.join()
            self._packers.shutdown(cancel_futures=True)
            self._hasher.shutdown(cancel_futures=True)
        super().close()

    def _next(self) -> Bytes:
        item = self._queue.get()
        if item is None:
            self._ended = True
            return b""
        if isinstance(item, BaseException):
            self._ended = True
            raise item
        return item if isinstance(item, bytes | bytearray | memoryview) else item.result()

    def _produce(self) -> None:
        try:
            if self._codec is None:
                for block in self._blocks:
                    self._give(block)
            else:
                self._pack(self._codec)
            self._give(None)
        except _Stopped:
            pass
        except BaseException as error:
            with contextlib.suppress(_Stopped):
                self._give(error)

    def _pack(self, codec: Codec) -> None:
        state = hashlib.sha256()
        hashing: deque[Future[None]] = deque()
        for block in self._blocks:
            hashing.append(self._hasher.submit(state.update, block))
            self._give(self._packers.submit(codec, block))
            if len(hashing) > self._threads:
                hashing.popleft().result()
        for each in hashing:
            each.result()
        self.diff_id = f"sha256:{state.hexdigest()}"

    def _give(self, item: Future[Bytes] | Bytes | BaseException | None) -> None:
        while not self._stopped.is_set():
            try:
                # Awakes now and then to see whether anybody still reads.
                self._queue.put(item, timeout=0.1)
                return
            except queue.Full:
                continue
        raise _Stopped


class _Stopped(Exception):  # noqa: N818 - nobody sees it
    """The stream was closed before its end."""
