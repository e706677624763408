"""Proxies, certificates and the least speed of answers, at a registry in this process."""

from __future__ import annotations

import io
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from packager.connections import LEAST_RATE, WINDOW, Pace, PacedReader
from packager.errors import TemporaryError, UsageError
from packager.oci.values import LAYER, Descriptor
from packager.reference import Reference
from packager.registry.client import RegistryClient
from packager.registry.resolve import resolve_digest
from packager.storage.content import ContentStore
from tests.unit.registry_fake import FakeRegistry, digest_of, log_in, running

SOCKS = "socks5://bob:hunter2@proxy.example.com:1080"


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with running() as server:
        yield server


@pytest.fixture(autouse=True)
def own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)


def ask(host: str) -> str:
    return resolve_digest(Reference.parse(f"{host}/ml/x:1"), pause=lambda seconds: None)


# --- proxies ---


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_no_proxy_sees_the_password_for_a_registry_of_this_machine(
    registry: FakeRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, host: str
) -> None:
    at = registry.address.replace("127.0.0.1", host)
    log_in(tmp_path, at)
    registry.manifests["ml/x", "1"] = ("application/vnd.oci.image.manifest.v1+json", b"{}")
    registry.token = "t0ken"
    with running() as proxy:
        monkeypatch.setenv(name, f"http://bob:hunter2@{proxy.address}")
        assert ask(at) == digest_of(b"{}")
        assert proxy.asked == []
    assert registry.asked


@pytest.mark.parametrize("value", [SOCKS, "socks4://proxy.example.com", "SOCKS5H://proxy.example.com"])
@pytest.mark.parametrize("name", ["ALL_PROXY", "HTTPS_PROXY"])
def test_a_socks_proxy_without_its_package(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setattr("packager.connections.find_spec", lambda package: None)
    monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=f"{name} names a SOCKS proxy") as caught:
        ask("registry.example.com")
    assert "pip install pysocks" in str(caught.value.remedy)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("value", ["http://", "http://[::1", "ftp://bob:hunter2@proxy", "http://proxy:port", "://"])
def test_what_is_no_proxy(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("HTTPS_PROXY", value)
    with pytest.raises(UsageError, match="HTTPS_PROXY does not name a proxy") as caught:
        ask("registry.example.com")
    assert "hunter2" not in str(caught.value)


def test_a_proxy_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://bob:hunter2@127.0.0.1:1")
    with pytest.raises(TemporaryError, match="through the proxy") as caught:
        ask("registry.example.com")
    assert "hunter2" not in str(caught.value)


# --- certificates ---


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"])
@pytest.mark.parametrize("content", [None, "", "no certificate"])
def test_a_variable_that_names_no_certificates(
    registry: FakeRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: str | None
) -> None:
    if content is not None:
        (tmp_path / "ca.pem").write_text(content)
    monkeypatch.setenv(name, str(tmp_path / "ca.pem"))
    with pytest.raises(UsageError, match=f"{name} names a file .*ca.pem") as caught:
        ask("registry.example.com")
    assert ("is not there" in caught.value.message) is (content is None)
    registry.manifests["ml/x", "1"] = ("application/vnd.oci.image.manifest.v1+json", b"{}")
    assert ask(registry.address) == digest_of(b"{}"), "nobody needs certificates without TLS"


# --- speed ---


def test_a_slow_line_is_fast_enough() -> None:
    pace = Pace()
    for _ in range(1000):
        pace.add(WINDOW / 7, int(WINDOW / 7 * LEAST_RATE * 1.1))


def test_a_pause_is_no_slow_line() -> None:
    pace = Pace()
    pace.add(WINDOW - 1, 1)
    pace.add(0.1, 1 << 20)
    pace.add(WINDOW - 1, 1)


@pytest.mark.parametrize("each", [0.5, 1.0, WINDOW / 2])
def test_one_byte_now_and_then_is_too_slow(each: float) -> None:
    pace = Pace()

    def drip() -> None:
        for _ in range(1000):
            pace.add(each, 1)

    with pytest.raises(TimeoutError, match="bytes a second"):
        drip()


def test_the_time_before_the_first_byte_is_not_counted() -> None:
    times = iter([0.0, 10 * WINDOW, 10 * WINDOW + 1])
    reader = PacedReader(io.FileIO(_pipe(b"ab")), lambda: next(times))
    assert reader.readinto(bytearray(1)) == 1
    assert reader.readinto(bytearray(1)) == 1
    reader.close()


def _pipe(data: bytes) -> int:
    read, write = os.pipe()
    os.write(write, data)
    os.close(write)
    return read


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"


@contextmanager
def dripping(first: bytes, *, drips: bool = True, more: int = 0) -> Iterator[tuple[str, list[int]]]:
    """A registry that sends `first`, with `more` bytes each time, and then one byte after the other; and how often."""
    listener = socket.create_server(("127.0.0.1", 0))
    asked: list[int] = []

    def answer(connection: socket.socket) -> None:
        with connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while not connection.recv(1 << 16).endswith(b"\r\n\r\n"):
                pass
            asked.append(1)
            try:
                connection.sendall(first + b"x" * (more * len(asked)))
                while drips:
                    connection.sendall(b"x")
            except OSError:
                pass

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}", asked
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def everything_is_too_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("packager.connections.WINDOW", 0.0)
    monkeypatch.setattr("packager.connections.LEAST_RATE", 10**12)


@pytest.mark.parametrize("first", [b"HTTP/1.1 200 OK\r\nX-Long: ", HEAD])
def test_an_answer_that_drips_is_given_up(monkeypatch: pytest.MonkeyPatch, first: bytes) -> None:
    everything_is_too_slow(monkeypatch)
    with dripping(first) as (address, asked):
        client = RegistryClient(Reference.parse(f"{address}/ml/x:1"), pause=lambda seconds: None, tries=3)
        with client, pytest.raises(TemporaryError, match="too slow"):
            client.get_manifest()
    assert len(asked) == 3


@pytest.mark.parametrize("drips", [True, False])
def test_a_download_that_hardly_gets_further_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drips: bool
) -> None:
    """Each try brings some bytes, so that the one after it is not the same again; and yet they must have an end."""
    everything_is_too_slow(monkeypatch)
    waited: list[float] = []
    with dripping(HEAD, drips=drips, more=1000) as (address, asked):
        client = RegistryClient(Reference.parse(f"{address}/ml/x:1"), pause=waited.append, tries=3)
        blob = Descriptor(media_type=LAYER, digest=digest_of(b"x" * 100000), size=100000)
        with client, pytest.raises(TemporaryError):
            client.download(blob, ContentStore(tmp_path / "content"))
    assert len(asked) == 3
    assert len(waited) == 2
