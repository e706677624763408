from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packager.programs.service import forwarder
from packager.programs.service.forwarder import HEAD_LIMIT, READ_FIRST, Forwarder
from packager.programs.service.messages import REQUEST_LINE, STATUS_LINE, parse_head
from packager.serving.hosts.forwarder import forwarder_text

Answer = Callable[[bytes, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def head(*lines: bytes) -> bytes:
    return b"\r\n".join([*lines, b"", b""])


@pytest.mark.parametrize(
    "raw",
    [
        head(b"POST /score HTTP/1.1", b"Content-Length: 1", b"Content-Length: 2"),
        head(b"POST /score HTTP/1.1", b"Content-Length: 1", b"Transfer-Encoding: chunked"),
        head(b"POST /score HTTP/1.1", b"Transfer-Encoding: gzip, chunked"),
        head(b"POST /score HTTP/1.1", b"Content-Length: +1"),
        head(b"POST /score HTTP/1.1", b"Content-Length: -1"),
        head(b"POST /score HTTP/1.1", b"Content-Length : 1"),
        head(b"POST /score HTTP/1.1", b"A: 1", b" folded"),
        head(b"POST /score HTTP/1.1", b"A: 1\nContent-Length: 5"),
        head(b"POST /score HTTP/1.1", b"A: \x00"),
        head(b"POST /score HTTP/2.0"),
        head(b"POST  /score HTTP/1.1"),
        head(b"\x16\x03\x01"),
        head(b""),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"first line|header|length"):
        parse_head(raw, REQUEST_LINE)


def test_a_head_is_passed_on_without_what_is_about_the_connection() -> None:
    lines = (
        b"POST /score HTTP/1.1",
        b"Host: x",
        b"Connection: X-Own, Content-Length",
        b"x-own: 1",
        b"Expect: 100-continue",
    )
    found = parse_head(head(*lines, b"Content-Length: 3", b"Authorization: Bearer k"), REQUEST_LINE)
    assert found.text(keep=False) == head(
        b"POST /score HTTP/1.1", b"Host: x", b"Content-Length: 3", b"Authorization: Bearer k", b"Connection: close"
    )
    assert found.expects_continue()
    assert parse_head(head(b"HTTP/1.1 200 OK"), STATUS_LINE).length is None


@given(st.dictionaries(st.text("abcXYZ-", min_size=1), st.text("abc 1;=", min_size=1).map(str.strip)))
def test_headers_of_plain_text_are_a_head(headers: dict[str, str]) -> None:
    kept = {name.lower(): value for name, value in headers.items()}
    found = parse_head(
        head(b"GET /x HTTP/1.1", *(f"{name}: {value}".encode() for name, value in kept.items())), REQUEST_LINE
    )
    assert {name.decode().lower(): value.decode().strip() for name, value in found.headers} == kept


@given(st.binary(max_size=200))
def test_anything_is_a_head_or_refused(raw: bytes) -> None:
    try:
        found = parse_head(raw + b"\r\n\r\n", REQUEST_LINE)
    except ValueError:
        return
    assert b"\n" not in found.line
    assert not any(b"\n" in name + value for name, value in found.headers)


async def echo(raw: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers with the body that came, or with `none` where there is none."""
    found = parse_head(raw, REQUEST_LINE)
    body = b""
    if found.chunked:
        while size := int(await reader.readline(), 16):
            body += await reader.readexactly(size)
            await reader.readexactly(2)
        await reader.readline()
    elif found.length:
        body = await reader.readexactly(found.length)
    writer.write(head(b"HTTP/1.1 200 OK", b"Content-Length: %d" % len(body or b"none")) + (body or b"none"))


async def backend_of(answer: Answer, port: int = 0) -> asyncio.Server:
    """A backend, on a free port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await answer(await reader.readuntil(b"\r\n\r\n"), reader, writer)
            await writer.drain()
        except (OSError, EOFError):
            pass
        finally:
            writer.close()

    return await asyncio.start_server(serve, "127.0.0.1", port)


def port_of(server: asyncio.Server) -> int:
    return int(server.sockets[0].getsockname()[1])


def talk(answer: Answer, *requests: bytes, end: bool = False) -> bytes:
    """Send requests on one connection through a forwarder, and return all that came back until it was closed."""

    async def run() -> bytes:
        backend = await backend_of(answer)
        tested = Forwarder(0, "127.0.0.1", port_of(backend))
        front = await asyncio.start_server(tested.serve_client, "127.0.0.1", 0, limit=HEAD_LIMIT)
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(front))
        for each in requests:
            writer.write(each)
        if end:
            writer.write_eof()
        came = await asyncio.wait_for(reader.read(-1), 30)
        writer.close()
        front.close()
        backend.close()
        await asyncio.sleep(0)
        assert not tested.in_flight
        return came

    return asyncio.run(run())


LAST = b"Connection: close"


def test_several_requests_on_one_connection() -> None:
    came = talk(
        echo,
        head(b"POST /score HTTP/1.1", b"Content-Length: 3") + b"one",
        head(b"GET / HTTP/1.1"),
        head(b"POST /score HTTP/1.1", b"Transfer-Encoding: chunked", LAST)
        + b"2\r\ntw\r\n1;x=y\r\no\r\n0\r\nA: b\r\n\r\n",
    )
    assert [part.partition(b"\r\n\r\n")[2] for part in came.split(b"HTTP/1.1 200 OK")[1:]] == [b"one", b"none", b"two"]
    assert came.count(b"Connection: keep-alive") == 2


def test_large_bodies_stream_through() -> None:
    body = bytes(range(256)) * (READ_FIRST // 64)
    assert talk(echo, head(b"POST / HTTP/1.1", b"Content-Length: %d" % len(body), LAST) + body).endswith(body)


def test_expectation_is_answered() -> None:
    came = talk(echo, head(b"POST / HTTP/1.1", b"Expect: 100-continue", b"Content-Length: 2", LAST), b"ab")
    assert came.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK")
    assert came.endswith(b"ab")


async def streams(raw: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(head(b"HTTP/1.1 200 OK", b"Transfer-Encoding: chunked") + b"2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n")


async def without_length(raw: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(head(b"HTTP/1.1 200 OK") + b"until the end")


async def cut(raw: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(head(b"HTTP/1.1 200 OK", b"Content-Length: 100") + b"half")


async def silent(raw: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """As a worker that is killed."""


async def early(raw: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(head(b"HTTP/1.1 413 Too Large", b"Content-Length: 2") + b"no")
    await writer.drain()
    while await reader.read(65536):
        pass


async def bodiless(raw: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(head(b"HTTP/1.1 100 Continue") + head(b"HTTP/1.1 204 No Content"))


GET = head(b"GET / HTTP/1.1", LAST)


def test_chunks_come_as_chunks() -> None:
    assert talk(streams, GET).endswith(b"\r\n\r\n2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n")


def test_an_answer_without_length_ends_the_connection() -> None:
    came = talk(without_length, head(b"GET / HTTP/1.1"))
    assert came.endswith(b"until the end")
    assert b"Connection: close" in came


def test_an_answer_that_breaks_off_does_not_look_whole() -> None:
    # Where the reset comes before what was sent, the client sees even less, and that it is not whole.
    try:
        came = talk(cut, GET)
    except ConnectionResetError:
        return
    assert came.startswith(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n")
    assert came.partition(b"\r\n\r\n")[2] in (b"", b"half")


def test_a_worker_that_dies_is_a_502() -> None:
    came = talk(silent, GET)
    assert came.startswith(b"HTTP/1.1 502 ")
    assert b"without an answer" in came


def test_an_early_answer_gets_through() -> None:
    body = b"x" * (4 * READ_FIRST)
    came = talk(early, head(b"POST / HTTP/1.1", b"Content-Length: %d" % (100 * len(body))) + body, end=True)
    assert came.startswith(b"HTTP/1.1 413 ")
    assert came.endswith(b"no")


def test_no_body_where_none_belongs() -> None:
    assert talk(bodiless, GET).startswith(b"HTTP/1.1 204 ")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (head(b"POST / HTTP/1.1", b"Content-Length: 1", b"Content-Length: 2"), 400),
        (head(b"POST / HTTP/1.1", b"Transfer-Encoding: chunked") + b"x\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * (HEAD_LIMIT // 6 + 10), 431),
    ],
)
def test_hostile_requests_are_answered_by_ourselves(request_: bytes, status: int) -> None:
    async def never(raw: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise AssertionError("it reached the backend")

    assert talk(never, request_).startswith(b"HTTP/1.1 %d " % status)


def test_half_a_body_never_reaches_the_backend_as_a_whole() -> None:
    assert talk(echo, head(b"POST / HTTP/1.1", b"Content-Length: 10") + b"half", end=True) == b""


def test_a_kept_connection_moves_to_the_new_backend() -> None:
    """The switch is a new address for the same name; here, where all addresses are this machine's, a new port."""

    async def run() -> tuple[bytes, bytes, dict[str, int]]:
        going = asyncio.Event()

        async def slow(raw: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await going.wait()
            writer.write(head(b"HTTP/1.1 200 OK", b"Content-Length: 3") + b"old")

        async def new(raw: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(head(b"HTTP/1.1 200 OK", b"Content-Length: 3") + b"new")

        old_one, new_one = await backend_of(slow), await backend_of(new)
        tested = Forwarder(0, "127.0.0.1", port_of(old_one))
        front = await asyncio.start_server(tested.serve_client, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(front))
        writer.write(head(b"GET / HTTP/1.1"))
        while not tested.in_flight:
            await asyncio.sleep(0.01)
        during = dict(tested.in_flight)
        tested.port = port_of(new_one)
        going.set()
        answers = []
        for _ in range(2):
            await reader.readuntil(b"\r\n\r\n")
            answers.append(await reader.readexactly(3))
            writer.write(head(b"GET / HTTP/1.1"))
        for each in (writer, front, old_one, new_one):
            each.close()
        return answers[0], answers[1], during

    assert asyncio.run(run()) == (b"old", b"new", {"127.0.0.1": 1})


def test_without_an_engine_a_file_says_where_the_backend_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a process of its own: handed its socket, asked over a socket in its folder, ended by SIGTERM."""
    monkeypatch.chdir(tmp_path)

    async def marked(mark: bytes) -> asyncio.Server:
        async def answer(raw: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(head(b"HTTP/1.1 200 OK", b"Content-Length: 3") + mark)

        return await backend_of(answer)

    async def ask(port: int) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET)
        came = await asyncio.wait_for(reader.read(-1), 30)
        writer.close()
        return came[-3:]

    async def command(word: bytes) -> str:
        reader, writer = await asyncio.open_unix_connection("control")
        writer.write(word + b"\n")
        answer = json.loads(await reader.readline())
        writer.close()
        assert answer["in_flight"] == {}
        return str(answer["address"])

    async def run() -> None:
        first, second = await marked(b"one"), await marked(b"two")
        Path("current").write_text(f"{port_of(first)} 1\n")
        Path("forwarder.py").write_text(forwarder_text())
        with socket.create_server(("127.0.0.1", 0)) as listening:
            port, descriptor = listening.getsockname()[1], listening.fileno()
            words = ("-I", "-S", "forwarder.py", f"fd:{descriptor}", "current", "0", "", "control")
            process = await asyncio.create_subprocess_exec(sys.executable, *words, pass_fds=(descriptor,))
        assert await ask(port) == b"one"
        Path("current").write_text("nonsense\n")
        assert await command(b"switch") == f"127.0.0.1:{port_of(first)}", "what was known stays"
        Path("current").write_text(f"{port_of(second)} 2\n")
        assert await command(b"status") == f"127.0.0.1:{port_of(first)}"
        assert await ask(port) == b"one"
        assert await command(b"switch") == f"127.0.0.1:{port_of(second)}"
        assert await ask(port) == b"two"
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 30) == 0
        for each in (first, second):
            each.close()

    asyncio.run(run())


@pytest.mark.parametrize("comes_back", [True, False])
def test_a_backend_that_is_away_for_a_moment_loses_nothing(comes_back: bool) -> None:
    async def run() -> bytes:
        backend = await backend_of(echo)
        port = port_of(backend)
        backend.close()
        await backend.wait_closed()
        tried = asyncio.Event()

        class Watched(Forwarder):
            def done(self, address: str) -> None:
                super().done(address)
                tried.set()

        tested = Watched(0, "127.0.0.1", port, connect_time=30 if comes_back else 0.2)
        front = await asyncio.start_server(tested.serve_client, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(front))
        writer.write(GET)
        if comes_back:
            await asyncio.wait_for(tried.wait(), 20)
            backend = await backend_of(echo, port)
        came = await reader.read(-1)
        while tested.connections:
            await asyncio.sleep(0.01)
        assert not tested.in_flight, "what could not connect is in flight to nothing"
        for each in (writer, front, backend):
            each.close()
        return came

    came = asyncio.run(run())
    if comes_back:
        assert came.endswith(b"none")
    else:
        assert came.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After" in came


# --- limits -----------------------------------------------------------------------------------------------------------


def crowd(requests: list[bytes], last: bytes) -> tuple[bytes, Forwarder]:
    """Let clients send what they send and no more; then let another one ask, and return its answer."""

    async def run() -> tuple[bytes, Forwarder]:
        backend = await backend_of(echo)
        tested = Forwarder(0, "127.0.0.1", port_of(backend))
        front = await asyncio.start_server(tested.serve_client, "127.0.0.1", 0, limit=HEAD_LIMIT)
        waiting = []
        for each in requests:
            reader, writer = await asyncio.open_connection("127.0.0.1", port_of(front))
            writer.write(each)
            await writer.drain()
            waiting.append((reader, writer))
        while len(tested.awaited) + sum(tested.in_flight.values()) < min(len(requests), forwarder.CONNECTIONS):
            await asyncio.sleep(0.01)
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(front))
        writer.write(last)
        came = b""
        with suppress(ConnectionError):
            came = await asyncio.wait_for(reader.read(-1), 30)
        for _, client in waiting:
            client.transport.abort()
        writer.close()
        front.close()
        while tested.connections:
            await asyncio.sleep(0.01)
        backend.close()
        return came, tested

    return asyncio.run(run())


HEALTH = head(b"GET / HTTP/1.1", LAST)


@pytest.mark.parametrize("half", [b"", b"POST /sc", head(b"POST /score HTTP/1.1", b"Content-Length: 9") + b"1234"])
def test_clients_that_keep_us_waiting_make_place_for_others(half: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forwarder, "CONNECTIONS", 3)
    monkeypatch.setattr(forwarder, "HURRY", 0.0)
    came, tested = crowd([half] * 3, HEALTH)
    assert came.startswith(b"HTTP/1.1 200")
    assert (tested.held, tested.awaited, tested.in_flight) == (0, {}, {})


def test_clients_that_have_just_come_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forwarder, "CONNECTIONS", 3)
    came, _ = crowd([b"POST /sc"] * 3, HEALTH)
    assert came.startswith(b"HTTP/1.1 503")
    monkeypatch.setattr(forwarder, "TURNED_AWAY", 0)
    assert crowd([b"POST /sc"] * 3, HEALTH)[0] == b""


def test_bodies_are_held_up_to_a_limit_for_all_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forwarder, "ROOM", 100)
    half = head(b"POST /score HTTP/1.1", b"Content-Length: 99999") + bytes(60)
    came, tested = crowd([half] * 3, HEALTH)
    assert came.startswith(b"HTTP/1.1 200")
    assert tested.held == 0


def test_hundreds_of_half_bodies_leave_memory() -> None:
    code = """
import asyncio, re, sys
from packager.programs.service.forwarder import HEAD_LIMIT, Forwarder

def peak():  # not ru_maxrss, which begins with that of the process that started this one
    return int(re.search(r"VmHWM:\\s*(\\d+) kB", open("/proc/self/status").read())[1])

async def main():
    tested = Forwarder(0, "127.0.0.1", int(sys.argv[1]))
    front = await asyncio.start_server(tested.serve_client, "127.0.0.1", 0, limit=HEAD_LIMIT, backlog=1024)
    print(front.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    before, used = 0, 1
    while used > before:  # until all is read that will be
        await asyncio.sleep(0.5)
        before, used = used, peak()
    print(used, flush=True)

asyncio.run(main())
"""
    # The kernel takes connections and bytes for it, and nobody else does.
    backend = socket.create_server(("127.0.0.1", 0), backlog=1024)
    words = [sys.executable, "-c", code, str(backend.getsockname()[1])]
    with backend, subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        port = int(process.stdout.readline())
        half = head(b"POST /score HTTP/1.1", b"Content-Length: 9999999") + bytes(600_000)
        clients = []
        for _ in range(780):
            clients.append(socket.create_connection(("127.0.0.1", port)))
            clients[-1].settimeout(0.01)
            with suppress(OSError):
                clients[-1].sendall(half)
        process.stdin.write("\n")
        process.stdin.flush()
        used = int(process.stdout.readline())
        process.kill()
    for each in clients:
        each.close()
    # KiB; the container of a forwarder has 262,144. It was 190,000 to 235,000, the most on a busy machine.
    assert used < 250_000


def test_a_connect_that_is_given_up_is_not_in_flight() -> None:
    async def run() -> None:
        tested = Forwarder(0, "127.0.0.1", 1)
        # A listener whose queue is full lets nobody in, and refuses nobody: what it takes is cancelled from outside.
        with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
            tested.port = int(full.getsockname()[1])
            queue = []
            while True:
                connecting = asyncio.ensure_future(tested.connect(None))
                done, _ = await asyncio.wait({connecting}, timeout=0.2)
                if not done:
                    break
                queue.append(connecting.result())
            assert tested.in_flight == {"127.0.0.1": len(queue) + 1}
            connecting.cancel()
            await asyncio.gather(connecting, return_exceptions=True)
            assert tested.in_flight == {"127.0.0.1": len(queue)}
            for *_, writer in queue:
                writer.close()

    asyncio.run(run())


def test_while_it_stops_answers_end_their_connections_and_idle_ones_are_closed() -> None:
    """Else the forwarder would wait for clients that keep their connection until its time is over, and be killed."""

    async def run() -> tuple[bytes, bytes]:
        going, asked = asyncio.Event(), asyncio.Event()

        async def slow(raw: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            asked.set()
            await going.wait()
            writer.write(head(b"HTTP/1.1 200 OK", b"Content-Length: 4") + b"done")

        backend = await backend_of(slow)
        listening = socket.create_server(("127.0.0.1", 0))
        tested = Forwarder(listening, "127.0.0.1", port_of(backend), control=f"\0packager-test-{os.getpid()}")
        running = asyncio.ensure_future(tested.run())
        address = listening.getsockname()
        reader, writer = await asyncio.open_connection(*address)
        idle_reader, idle_writer = await asyncio.open_connection(*address)
        writer.write(head(b"GET / HTTP/1.1"))
        await asked.wait()
        while not tested.idle:
            await asyncio.sleep(0.01)
        tested.stopping.set()
        idle = await asyncio.wait_for(idle_reader.read(-1), 20)
        assert not running.done(), "one is in flight"
        writer.write(head(b"GET /second HTTP/1.1"))
        going.set()
        came = await asyncio.wait_for(reader.read(-1), 20)
        await asyncio.wait_for(running, 20)
        for each in (writer, idle_writer, backend):
            each.close()
        return came, idle

    came, idle = asyncio.run(run())
    assert idle == b""
    assert came.count(b"HTTP/1.1 ") == 1
    assert b"Connection: close" in came
    assert came.endswith(b"done")


def test_a_stopping_forwarder_takes_no_other_request() -> None:
    async def run() -> Any:
        tested = Forwarder(0, "127.0.0.1", 1)
        reader = asyncio.StreamReader()
        reader.feed_data(head(b"GET / HTTP/1.1"))
        writer: Any = object()
        assert (await tested.read_head(reader, writer)) is not None
        reader.feed_data(head(b"GET / HTTP/1.1"))
        tested.stopping.set()
        return await tested.read_head(reader, writer)

    assert asyncio.run(run()) is None


def test_no_more_of_a_body_is_read_first_than_its_limit() -> None:
    """The rest waits with the client: a thousand large requests would else be in memory at once."""

    async def run() -> tuple[bool, int]:
        tested = Forwarder(0, "127.0.0.1", 1)
        asked = 0

        async def endless() -> AsyncIterator[bytes]:
            nonlocal asked
            while asked < 100:
                asked += 1
                yield b"x" * (READ_FIRST // 4)

        whole = await tested.read_first(endless(), [])
        return whole, asked

    assert asyncio.run(run()) == (False, 4)


def test_more_connections_than_its_limit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("packager.programs.service.forwarder.CONNECTIONS", 2)

    async def run() -> tuple[bytes, bytes]:
        backend = await backend_of(echo)
        tested = Forwarder(0, "127.0.0.1", port_of(backend))
        front = await asyncio.start_server(tested.serve_client, "127.0.0.1", 0)
        kept = [await asyncio.open_connection("127.0.0.1", port_of(front)) for _ in range(2)]
        while len(tested.idle) < 2:
            await asyncio.sleep(0.01)

        async def ask() -> bytes:
            reader, writer = await asyncio.open_connection("127.0.0.1", port_of(front))
            writer.write(GET)
            writer.write_eof()
            came = await asyncio.wait_for(reader.read(-1), 20)
            writer.close()
            return came

        refused = await ask()
        kept[0][1].close()
        while tested.connections > 1:
            await asyncio.sleep(0.01)
        taken = await ask()
        for each in (kept[1][1], front, backend):
            each.close()
        return refused, taken

    refused, taken = asyncio.run(run())
    assert refused.startswith(b"HTTP/1.1 503 ")
    assert b"too many connections" in refused
    assert taken.startswith(b"HTTP/1.1 200 ")
