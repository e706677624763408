"""The forwarder with several versions: a process of its own, real backends, real connections."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from packager.programs.service.forwarder import Forwarder
from packager.programs.service.versions import Routes, marked
from packager.serving.hosts.forwarder import forwarder_text
from tests.unit.test_serving_forwarder import backend_of, head, port_of

HEADER = "azureml-model-deployment"


class Front:
    """A forwarder as a process, and its versions as files of the working directory."""

    def __init__(self) -> None:
        self.port = 0
        self.backends = list[asyncio.Server]()

    async def backend(self, mark: str) -> None:
        """Let the version `mark` be answered by a new backend that answers with its name."""

        async def answer(raw: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            own = f"{HEADER}: forged".encode()
            writer.write(head(b"HTTP/1.1 200 OK", own, b"Content-Length: %d" % len(mark)) + mark.encode())

        self.backends.append(await backend_of(answer))
        Path(mark).write_text(f"{port_of(self.backends[-1])} 1\n")

    async def route(self, **shares: int) -> dict[str, object]:
        rows = [{"name": name, "backend": name, "percent": share} for name, share in shares.items()]
        Path("traffic").write_text(json.dumps(rows))
        return await self.command("switch")

    async def command(self, word: str) -> dict[str, object]:
        while True:
            try:
                reader, writer = await asyncio.open_unix_connection("control")
                break
            except OSError:  # it has only just been started
                await asyncio.sleep(0.02)
        writer.write(word.encode() + b"\n")
        answer = json.loads(await reader.readline())
        writer.close()
        assert isinstance(answer, dict)
        return answer

    async def ask(self, count: int = 1, *lines: str) -> Counter[tuple[int, str, str]]:
        """Ask on one connection; status, name of the version, and body of each answer."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        found = Counter[tuple[int, str, str]]()
        for _ in range(count):
            writer.write(head(b"GET / HTTP/1.1", *(each.encode() for each in lines)))
            raw = (await reader.readuntil(b"\r\n\r\n")).decode()
            headers = dict(line.lower().split(": ", 1) for line in raw.splitlines()[1:] if line)
            body = await reader.readexactly(int(headers["content-length"]))
            assert raw.lower().count(HEADER) <= 1
            found[int(raw[9:12]), headers.get(HEADER, ""), body.decode()] += 1
        writer.close()
        return found


@asynccontextmanager
async def front() -> AsyncIterator[Front]:
    """A forwarder whose one backend is called `default`."""
    found = Front()
    await found.backend("default")
    Path("forwarder.py").write_text(forwarder_text())
    with socket.create_server(("127.0.0.1", 0)) as listening:
        found.port, descriptor = listening.getsockname()[1], listening.fileno()
        words = ("-I", "-S", "forwarder.py", f"fd:{descriptor}", "default", "0", "traffic", "control")
        process = await asyncio.create_subprocess_exec(sys.executable, *words, pass_fds=(descriptor,))
    try:
        yield found
    finally:
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 30) == 0
        for each in found.backends:
            each.close()


@pytest.fixture(autouse=True)
def _there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_each_request_goes_to_a_version_by_its_share() -> None:
    async def run() -> None:
        async with front() as tested:
            await tested.backend("b")
            assert (await tested.route(default=90, b=10))["traffic"] == {"default": 90, "b": 10}
            # 3 points are 4.5 times the standard deviation of such a share: by chance it fails once in 100,000 times.
            found = Counter[tuple[int, str, str]]()
            for each in await asyncio.gather(*(tested.ask(500) for _ in range(4))):
                assert len(each) == 2, "requests of one connection go to several versions"
                found += each
            assert set(found) == {(200, "default", "default"), (200, "b", "b")}
            assert found.total() == 2000
            assert abs(found[200, "b", "b"] - 200) < 60

    asyncio.run(run())


def test_a_version_without_a_share_answers_when_it_is_asked_for() -> None:
    async def run() -> None:
        async with front() as tested:
            await tested.backend("b")
            await tested.route(default=100, b=0)
            assert await tested.ask(100) == {(200, "default", "default"): 100}
            assert await tested.ask(3, f"{HEADER.title()}: b") == {(200, "b", "b"): 3}
            ((status, version, body),) = await tested.ask(1, f"{HEADER}: c")
            assert (status, version) == (404, "")
            assert json.loads(body)["message"] == "the service has no version 'c'; it has default, b"

    asyncio.run(run())


def test_without_a_table_nothing_is_as_with_versions() -> None:
    async def run() -> None:
        async with front() as tested:
            plain = {(200, "forged", "default"): 1}
            assert await tested.ask(1, f"{HEADER}: b") == plain, "headers are the backend's, in both directions"
            await tested.backend("b")
            await tested.route(default=0, b=100)
            assert await tested.ask() == {(200, "b", "b"): 1}
            Path("traffic").write_text("[]")
            assert (await tested.command("switch"))["traffic"] == {"": 100}
            assert await tested.ask() == plain

    asyncio.run(run())


def test_shares_and_versions_change_under_load_and_no_request_is_lost() -> None:
    async def run() -> None:
        async with front() as tested:
            await tested.backend("b")
            done = asyncio.Event()

            async def load() -> Counter[tuple[int, str, str]]:
                found = Counter[tuple[int, str, str]]()
                while not done.is_set():
                    found += await tested.ask(7)
                return found

            loads = [asyncio.ensure_future(load()) for _ in range(4)]
            for round_ in range(10):
                await tested.route(default=100 - round_, b=round_)
                await tested.route(b=100)
                await tested.backend("b")  # as an update does it: another backend under the same name
                await tested.route(default=50, b=50)
            done.set()
            found = sum(await asyncio.gather(*loads), Counter[tuple[int, str, str]]())
            assert set(found) == {(200, "default", "default"), (200, "b", "b")}

    asyncio.run(run())


def test_the_share_of_one_that_is_down_goes_to_nobody() -> None:
    async def run() -> None:
        tested = Front()
        await tested.backend("default")
        Path("b").write_text("1 1\n")
        Path("traffic").write_text(
            '[{"name": "default", "backend": "default", "percent": 50}, {"name": "b", "backend": "b", "percent": 50}]'
        )
        forwarder = Forwarder(0, "default", 0, 0.1, table="traffic")
        await forwarder.routes.look(0)
        server = await asyncio.start_server(forwarder.serve_client, "127.0.0.1", 0)
        tested.port = port_of(server)
        ((status, version, body),) = await tested.ask(1, f"{HEADER}: b")
        assert (status, version) == (503, "b")
        assert "version b of the service does not run" in body
        assert await tested.ask(1, f"{HEADER}: default") == {(200, "default", "default"): 1}
        found = Counter[tuple[int, str]]()
        for _ in range(30):
            found += Counter(each[:2] for each in await tested.ask())
        assert set(found) == {(200, "default"), (503, "b")}
        assert not forwarder.in_flight
        for each in (server, *tested.backends):
            each.close()

    asyncio.run(run())


def test_a_table_that_cannot_be_read_changes_nothing_and_a_backend_that_stays_is_the_same(tmp_path: Path) -> None:
    table = tmp_path / "table"
    routes = Routes(str(table), "current")
    routes.read()
    (one,) = routes.versions.values()
    one.address = "10.0.0.1"
    table.write_text(
        '[{"name": "default", "backend": "current", "percent": 60}, {"name": "b", "backend": "x", "percent": 40}]'
    )
    routes.read()
    assert routes.versions["default"] is one, "a service is in no time one with versions"
    assert [each.percent for each in routes.versions.values()] == [60, 40]
    for broken in ("", "[", '[{"name": "a"}]', "7"):
        table.write_text(broken)
        routes.read()
        assert list(routes.versions) == ["default", "b"]
    b = routes.versions["b"]
    table.write_text('[{"name": "default", "backend": "current", "percent": 100}]')
    routes.read()
    assert routes.has(one)
    assert not routes.has(b)
    table.unlink()
    routes.read()
    assert routes.pick("anything") is one
    assert (one.name, one.percent) == ("", 100)


def test_an_address_that_is_another_versions_now_is_forgotten() -> None:
    """As on the engine: `a` ended, and what was started next got its address."""

    async def run() -> None:
        Path("a").write_text("1001 1\n")
        Path("b").write_text("1002 1\n")
        Path("traffic").write_text(
            '[{"name": "a", "backend": "a", "percent": 50}, {"name": "b", "backend": "b", "percent": 50}]'
        )
        routes = Routes("traffic", "a")
        await routes.look(0)
        Path("a").unlink()
        Path("b").write_text("1001 1\n")
        keeping_up = asyncio.ensure_future(routes.keep_up(0, 0.01))
        while routes.versions["b"].address != "127.0.0.1:1001":
            await asyncio.sleep(0.01)
        forgotten = routes.versions["a"].address is None
        assert forgotten
        Path("a").write_text("1003 1\n")
        while routes.versions["a"].address != "127.0.0.1:1003":
            await asyncio.sleep(0.01)
        keeping_up.cancel()

    asyncio.run(run())


def test_an_answer_has_one_name() -> None:
    assert marked([(b"A", b"1"), (b"AzureML-Model-Deployment", b"x")], "b") == [
        (b"A", b"1"), (b"azureml-model-deployment", b"b"),
    ]  # fmt: skip
    assert marked([(b"A", b"1")], "") == [(b"A", b"1")]
