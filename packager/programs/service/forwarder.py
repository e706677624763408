"""Owns a service's port and passes each HTTP request to the backend of the moment. Runs in a process of its own.

Two containers cannot hold one port of the engine's machine, so a service's port belongs to a small container that
stays while backends come and go. It runs this file by the image's own Python (`python -I -c …`; hence the standard
library only, Python 3.9 or newer, and no imports but `messages.py` and `versions.py`), and needs no configuration.

Where a service has several versions, a file says which, and the share of each; it is read at the start and after
`switch`. Each request goes to a version by chance, whatever the last one of its connection did, or to the one that it
asks for. The share of a version that does not answer goes to no other one: nobody would see what is wrong with it.

It works on requests, not on connections: a client may keep its connection across an update, and the next request on
it goes to the new backend. Which backend that is, the engine's DNS says: the container whose *name* is that of the
current one (`docker rename` moves a name in no time, and names survive a restart of the engine). The address is asked
for at the start, after `switch`, and when a backend does not let us in; a request costs no look-up. Without an engine
(`packager/serving/hosts/process`) a file in its working directory says it: the first word is a port of this machine.

Nothing is sent twice: only a connection that could not be made is tried again. A request's first 256 KiB are read
before the backend is asked, so that slow clients do not occupy its workers. What it costs, seen on a busy machine with
two processors: 1.2 to 1.5 ms a request (the median with one client), where a scikit-learn model takes 3 to 7 ms.
"""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

from packager.programs.service.messages import (
    PIECE,
    REQUEST_LINE,
    STATUS_LINE,
    Head,
    TimedOut,
    framed,
    parse_head,
    pieces,
)
from packager.programs.service.versions import Routes, Version, find, marked, wanted_version

#: The abstract Unix socket for `packager/programs/service/control.py`; only processes of this container can reach it.
CONTROL = "\0packager-forwarder"

# What a connection can hold: twice HEAD_LIMIT and a piece unread, a piece in hand, and a piece and as much again on its
# way to the backend, 192 KiB. With all of them and ROOM, it stays below the 256 MiB of the forwarder's container.
HEAD_LIMIT = 32 * 1024
READ_FIRST = 256 * 1024
CONNECTIONS = 800
#: Connections beyond these that are told so; more are ended without a word.
TURNED_AWAY = 100
#: Bytes of bodies that are read before the backend is asked, all together; beyond, the backend gets them as they come.
ROOM = 32 << 20
#: Seconds for which a client may keep us waiting while there is no free connection for others.
HURRY = 2.0
#: Seconds: between two requests of a connection, for a whole head, between two pieces of a body, until a backend must
#: let us in, and to end.
IDLE_TIME, HEAD_TIME, PIECE_TIME, CONNECT_TIME, GRACE = 75.0, 30.0, 60.0, 5.0, 30.0

_REASONS = {400: "Bad Request", 404: "Not Found", 408: "Request Timeout", 431: "Request Header Fields Too Large",
            502: "Bad Gateway", 503: "Service Unavailable"}  # fmt: skip


class RefusedError(Exception):
    """The answer is ours: a status, a message, and the version that should have answered."""

    def __init__(self, status: int, message: str, version: str = "") -> None:
        super().__init__(message)
        self.status, self.version = status, version


class Forwarder:
    """The forwarder: the backends of the moment, and what is in flight to each."""

    def __init__(
        self,
        listen: int | socket.socket,
        backend: str,
        port: int,
        connect_time: float = CONNECT_TIME,
        control: str = CONTROL,
        table: str = "",
    ) -> None:
        """Port 0 means that backends are files, and no names; `table` is the file with the versions."""
        self.listen, self.port = listen, port
        self.connect_time, self.control_at = connect_time, control
        self.routes = Routes(table, backend)
        self.in_flight: Counter[str] = Counter()
        self.idle: set[asyncio.StreamWriter] = set()
        self.connections = 0
        self.held = 0
        #: Connections whose client has to send something, and since when (seconds of the loop's clock).
        self.awaited: dict[asyncio.StreamWriter, float] = {}
        self.stopping = asyncio.Event()

    def pick(self, wanted: str | None) -> Version:
        """Return the version that a request goes to."""
        version = self.routes.pick(wanted)
        if version is None:
            raise RefusedError(404, f"the service has no version {wanted!r}; it has {', '.join(self.routes.versions)}")
        return version

    async def connect(self, wanted: str | None) -> tuple[Version, str, asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to the backend for a request, and count it as in flight to that from before the attempt."""
        end = asyncio.get_running_loop().time() + self.connect_time
        version = self.pick(wanted)
        while True:
            if version.address is None:
                await find(version, self.port)
            if not self.routes.has(version):
                version = self.pick(wanted)  # it was removed meanwhile
            address = version.address
            if address is not None:
                self.in_flight[address] += 1
                try:
                    host, _, port = address.partition(":")
                    connecting = asyncio.open_connection(host, int(port or self.port), limit=HEAD_LIMIT)
                    return (version, address, *await asyncio.wait_for(connecting, self.connect_time))
                except (OSError, TimedOut):
                    self.done(address)
                except BaseException:
                    self.done(address)
                    raise
            if asyncio.get_running_loop().time() > end:
                what = f"version {version.name} of the service" if version.name else "the service"
                raise RefusedError(503, f"{what} does not run at the moment", version.name)
            await asyncio.sleep(0.1)
            await find(version, self.port)

    def done(self, address: str) -> None:
        """Count a request as no longer in flight."""
        self.in_flight[address] -= 1
        self.in_flight += Counter()  # drops what is zero

    async def serve_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection, one after the other."""
        self.connections += 1
        bound(writer)
        try:
            if self.connections > CONNECTIONS + TURNED_AWAY:
                writer.transport.abort()
                return
            if self.connections > CONNECTIONS and not self.evict():
                raise RefusedError(503, "too many connections")
            while await self.serve_one(reader, writer):
                pass
        except RefusedError as refused:
            with suppress(OSError):
                await self.refuse(reader, writer, refused)
        except (OSError, EOFError, ValueError, TimedOut):
            writer.transport.abort()  # the client is gone, or must see that its answer is not whole
        finally:
            self.connections -= 1
            self.awaited.pop(writer, None)
            writer.close()

    def evict(self) -> bool:
        """End the connection whose client has kept us waiting for the longest; return whether there is one to end."""
        now = asyncio.get_running_loop().time()
        oldest = min(self.awaited, key=self.awaited.__getitem__, default=None)
        if oldest is None or now - self.awaited[oldest] < HURRY:
            return False
        del self.awaited[oldest]
        oldest.transport.abort()
        return True

    async def watched(self, body: AsyncIterator[bytes], writer: asyncio.StreamWriter) -> AsyncIterator[bytes]:
        """Give the pieces of a body, and note since when the next one is awaited."""
        loop = asyncio.get_running_loop()
        try:
            self.awaited[writer] = loop.time()
            async for piece in body:
                self.awaited.pop(writer, None)
                yield piece
                self.awaited[writer] = loop.time()
        finally:
            self.awaited.pop(writer, None)

    async def serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; return whether the connection can take another."""
        head = await self.read_head(reader, writer)
        if head is None:
            return False
        if head.expects_continue():
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = self.watched(pieces(reader, head, False, PIECE_TIME), writer)
        first: list[bytes] = []
        try:
            whole = await self.read_first(body, first)
            return await self.ask(head, first, body, whole, writer)
        finally:
            self.held -= sum(map(len, first))

    async def ask(
        self, head: Head, first: list[bytes], body: AsyncIterator[bytes], whole: bool, writer: asyncio.StreamWriter
    ) -> bool:
        """Let the backend answer a request whose body starts with `first`, and is that where it is `whole`."""
        version, address, backend_reader, backend_writer = await self.connect(wanted_version(head.headers))
        bound(backend_writer)
        sending = asyncio.ensure_future(send(backend_writer, head, first, body))
        try:
            # One that is answered before it was read to its end leaves a rest that is no request.
            return await pass_back(
                backend_reader, writer, head, version.name, lambda: self.keeps(head) and (whole or sent_whole(sending))
            )
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            backend_writer.close()
            self.done(address)

    def keeps(self, head: Head) -> bool:
        """Return whether the client may send another request on its connection."""
        return b"close" not in head.words and head.line.endswith(b"1.1") and not self.stopping.is_set()

    async def read_head(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Head | None:
        """Read the head of the next request; None where the client sends no other."""
        if self.stopping.is_set():
            return None
        try:
            self.idle.add(writer)
            self.awaited[writer] = asyncio.get_running_loop().time()
            start = await asyncio.wait_for(reader.read(1), IDLE_TIME)
        except TimedOut:
            return None
        finally:
            self.idle.discard(writer)
        try:
            raw = start + await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), HEAD_TIME)
            return parse_head(raw, REQUEST_LINE)
        except asyncio.LimitOverrunError:
            raise RefusedError(431, f"the head is larger than {HEAD_LIMIT} bytes") from None
        except TimedOut:
            raise RefusedError(408, "the request did not come in time") from None
        except EOFError:
            return None
        except ValueError as error:
            raise RefusedError(400, str(error)) from None
        finally:
            self.awaited.pop(writer, None)

    async def read_first(self, body: AsyncIterator[bytes], first: list[bytes]) -> bool:
        """Read the start of a body; return whether that was all of it."""
        size = 0
        try:
            async for piece in body:
                first.append(piece)
                size += len(piece)
                self.held += len(piece)
                if size >= READ_FIRST or self.held >= ROOM:
                    return False
        except TimedOut:
            raise RefusedError(408, "the body did not come in time") from None
        except asyncio.LimitOverrunError:
            raise RefusedError(400, "a chunk has no size") from None
        except EOFError:
            raise
        except ValueError as error:
            raise RefusedError(400, str(error)) from None
        return True

    async def refuse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, refused: RefusedError) -> None:
        """Answer by ourselves, and end the connection."""
        body = json.dumps({"message": str(refused)}).encode()
        reason = _REASONS[refused.status]
        retry = "Retry-After: 1\r\n" if refused.status == 503 else ""
        lines = marked([(b"Content-Type", b"application/json")], refused.version)
        named = b"".join(b"%s: %s\r\n" % each for each in lines).decode()
        head = f"HTTP/1.1 {refused.status} {reason}\r\n{named}{retry}"
        writer.write(f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
        await writer.drain()
        # Closing on what was not read would reset the connection, and the answer with it (RFC 9112, section 9.6).
        writer.write_eof()
        with suppress(TimedOut, OSError, ValueError):
            await asyncio.wait_for(discard(reader), 2.0)

    async def control(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one command: `switch` looks anew; all answer with what is in flight to which backend."""
        with suppress(OSError, EOFError):
            if (await reader.readline()).strip() == b"switch":
                await self.routes.look(self.port)
            versions = self.routes.versions
            answer = {
                "address": next(iter(versions.values())).address,
                "addresses": {name: version.address for name, version in versions.items()},
                "traffic": {name: version.percent for name, version in versions.items()},
                "in_flight": dict(self.in_flight),
                "connections": self.connections,
            }
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        writer.close()

    async def run(self) -> None:
        """Serve until SIGTERM, and then until nothing is in flight."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stopping.set)
        there = {"port": self.listen, "host": "0.0.0.0"} if isinstance(self.listen, int) else {"sock": self.listen}
        server = await asyncio.start_server(self.serve_client, limit=HEAD_LIMIT, backlog=1024, **there)
        control = await asyncio.start_unix_server(self.control, self.control_at)
        await self.routes.look(self.port)
        keeping_up = asyncio.ensure_future(self.routes.keep_up(self.port))
        await self.stopping.wait()
        keeping_up.cancel()
        server.close()
        control.close()
        for writer in tuple(self.idle):
            writer.close()
        with suppress(TimedOut):
            await asyncio.wait_for(self.emptied(), GRACE)

    async def emptied(self) -> None:
        """Wait until no connection is left."""
        while self.connections:
            await asyncio.sleep(0.05)


def bound(writer: asyncio.StreamWriter) -> None:
    """Let a connection hold little, for there may be hundreds."""
    writer.transport.set_write_buffer_limits(high=PIECE)
    # Of asyncio's own transports: bytes that are taken from the socket at once, 256 KiB where nobody says otherwise.
    writer.transport.max_size = PIECE  # type: ignore[attr-defined]


async def send(writer: asyncio.StreamWriter, head: Head, first: list[bytes], body: AsyncIterator[bytes]) -> None:
    """Send a request to a backend. Where the client gives up, so do we: half a body must not look like a whole one."""
    writer.write(head.text(keep=False) + b"".join(framed(piece, head.chunked) for piece in first))
    try:
        async for piece in body:
            if not await drained(writer):
                return
            writer.write(framed(piece, head.chunked))
        if head.chunked:
            writer.write(b"0\r\n\r\n")
    except BaseException:
        writer.transport.abort()
        raise
    await drained(writer)


async def drained(writer: asyncio.StreamWriter) -> bool:
    """Wait until a backend took what it was sent; False where it hung up, as it may after an early answer."""
    try:
        await writer.drain()
    except OSError:
        return False
    return True


async def pass_back(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Head, version: str, keeps: Callable[[], bool]
) -> bool:
    """Pass an answer on as it comes; return whether the connection can take another request."""
    try:
        while True:
            head = parse_head(await reader.readuntil(b"\r\n\r\n"), STATUS_LINE)
            status = int(head.line[9:12])
            if status >= 200:
                break
    except (OSError, EOFError, ValueError, asyncio.LimitOverrunError):
        raise RefusedError(502, "the service ended the connection without an answer", version) from None
    empty = request.line.startswith(b"HEAD ") or status in (204, 304)
    framing = empty or head.chunked or head.length is not None
    keep = framing and keeps()
    writer.write(head._replace(headers=marked(head.headers, version)).text(keep=keep))
    if not empty:
        async for piece in pieces(reader, head, True, None):
            writer.write(framed(piece, head.chunked))
            await writer.drain()
        if head.chunked:
            writer.write(b"0\r\n\r\n")
    await writer.drain()
    return keep


def sent_whole(sending: asyncio.Future[None]) -> bool:
    """Return whether a request was read to its end and sent."""
    return sending.done() and not sending.cancelled() and sending.exception() is None


async def discard(reader: asyncio.StreamReader) -> None:
    """Read on to the end."""
    while await reader.read(PIECE):
        pass


if __name__ == "__main__":

    async def _main() -> None:
        taken, backend, port, table, *rest = sys.argv[1:]
        control = rest[0] if rest else CONTROL
        listen = socket.socket(fileno=int(taken[3:])) if taken.startswith("fd:") else int(taken)
        await Forwarder(listen, backend, int(port), CONNECT_TIME, control, table).run()

    asyncio.run(_main())
