"""The program that fetches a model before a pod's server starts: what it believes, and what it refuses."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import stat
import tarfile
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from packager.programs.pod.fetch_model import FetchError, credentials_of, fetch

SECRET = base64.b64encode(b"alice:s3cret").decode()


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def tar_of(*members: tuple[str, bytes | str | None], kind: bytes = tarfile.REGTYPE) -> bytes:
    """A tar: a file for bytes, a link to a text, a folder for None; `kind` is that of links."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            if content is None:
                member.type = tarfile.DIRTYPE
            elif isinstance(content, str):
                member.type, member.linkname = kind, content
            else:
                member.size = len(content)
            archive.addfile(member, io.BytesIO(content) if isinstance(content, bytes) else None)
    return out.getvalue()


class FakeRegistry:
    """A registry on this machine that gives tokens for a password."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.seen: list[str] = []
        self.elsewhere = ""
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                authorization = self.headers.get("Authorization", "")
                registry.seen.append(f"{self.path.partition('?')[0]} {authorization}")
                if self.path.startswith("/token"):
                    known = authorization == f"Basic {SECRET}"
                    self.answer(200 if known else 401, b'{"token": "good"}' if known else b"{}")
                elif registry.elsewhere and "/blobs/" in self.path:
                    self.answer(307, b"", Location=f"{registry.elsewhere}{self.path}")
                elif authorization != "Bearer good" and not self.path.startswith("/open"):
                    realm = f'Bearer realm="{registry.url}/token",service="here",scope="pull"'
                    self.answer(401, b"", **{"WWW-Authenticate": realm})
                else:
                    found = registry.blobs.get(self.path.rpartition("/")[2])
                    self.answer(404 if found is None else 200, found or b"")

            def answer(self, status: int, body: bytes, **headers: str) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def put(self, data: bytes | dict[str, Any]) -> str:
        content = data if isinstance(data, bytes) else json.dumps(data).encode()
        self.blobs[digest_of(content)] = content
        return digest_of(content)

    def image(self, *layers: bytes) -> str:
        """Reference of an image with these layers, behind an index."""
        manifest = self.put({"layers": [{"digest": self.put(layer)} for layer in layers]})
        return f"{self.url.removeprefix('http://')}/ml/bert@{self.put({'manifests': [{'digest': manifest}]})}"


@pytest.fixture
def start() -> Iterator[Callable[[], FakeRegistry]]:
    started: list[FakeRegistry] = []

    def make() -> FakeRegistry:
        started.append(FakeRegistry())
        return started[-1]

    yield make
    for each in started:
        each.close()


@pytest.fixture
def registry(start: Callable[[], FakeRegistry]) -> FakeRegistry:
    return start()


@pytest.fixture
def environ(tmp_path: Path, registry: FakeRegistry) -> dict[str, str]:
    (tmp_path / "config").mkdir()
    auths = {registry.url.removeprefix("http://"): {"auth": SECRET}}
    (tmp_path / "config/config.json").write_text(json.dumps({"auths": auths}))
    return {"DOCKER_CONFIG": str(tmp_path / "config")}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "to").mkdir()
    return tmp_path / "to"


def test_files_are_laid_down_by_a_token_and_cannot_be_written(
    registry: FakeRegistry, environ: dict[str, str], folder: Path
) -> None:
    layer = tar_of(("bert", None), ("bert/a.bin", b"1234"), ("./bert/deep/b.bin", b""))
    again = gzip.compress(tar_of(("bert/c.bin", b"c")))
    assert fetch(registry.image(layer, again), str(folder), environ) == 3
    found = {str(each.relative_to(folder)): each.read_bytes() for each in folder.rglob("*") if each.is_file()}
    assert found == {"bert/a.bin": b"1234", "bert/deep/b.bin": b"", "bert/c.bin": b"c"}
    assert stat.S_IMODE((folder / "bert/a.bin").stat().st_mode) == 0o444


def test_a_second_run_lays_the_files_down_again(registry: FakeRegistry, environ: dict[str, str], folder: Path) -> None:
    """As when a pod starts its init containers again."""
    image = registry.image(tar_of(("a.bin", b"1234"), ("b.bin", "a.bin"), kind=tarfile.LNKTYPE))
    fetch(image, str(folder), environ)
    (folder / "a.bin").chmod(0o644)
    (folder / "a.bin").write_bytes(b"12")
    assert fetch(image, str(folder), environ) == 2
    assert [(folder / each).read_bytes() for each in ("a.bin", "b.bin")] == [b"1234", b"1234"]


def test_content_that_a_model_has_twice_is_once(registry: FakeRegistry, environ: dict[str, str], folder: Path) -> None:
    layer = tar_of(("a.bin", b"1"), ("latest.bin", "a.bin"), kind=tarfile.LNKTYPE)
    assert fetch(registry.image(layer), str(folder), environ) == 2
    assert (folder / "latest.bin").samefile(folder / "a.bin")


def test_a_layer_may_be_elsewhere_and_the_password_stays(
    start: Callable[[], FakeRegistry], registry: FakeRegistry, environ: dict[str, str], folder: Path
) -> None:
    other = start()
    image = registry.image(tar_of(("a.bin", b"1")))
    # Of the other host, nothing but this path is open to everybody.
    other.blobs, registry.elsewhere = dict(registry.blobs), f"{other.url}/open"
    assert fetch(image, str(folder), environ) == 1
    assert [each for each in other.seen if not each.endswith(" ")] == []
    assert other.seen


def test_without_the_password_it_is_refused(registry: FakeRegistry, folder: Path) -> None:
    with pytest.raises(FetchError, match="refuses"):
        fetch(registry.image(tar_of(("a", b"1"))), str(folder), {})


@pytest.mark.parametrize("what", ["manifest", "layer"])
def test_what_is_not_of_its_digest_is_refused(
    what: str, registry: FakeRegistry, environ: dict[str, str], folder: Path
) -> None:
    layer = tar_of(("a.bin", b"1"))
    image = registry.image(layer)
    digest = image.partition("@")[2] if what == "manifest" else digest_of(layer)
    registry.blobs[digest] = registry.blobs[digest][:-1] + b" "
    with pytest.raises(FetchError, match=r"another document|other content"):
        fetch(image, str(folder), environ)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    "layer",
    [
        tar_of(("../out", b"1")),
        tar_of(("a/../../out", b"1")),
        tar_of(("a", "/etc/passwd"), kind=tarfile.SYMTYPE),
        tar_of(("a", "../../out"), kind=tarfile.LNKTYPE),
        tar_of(("a", ""), kind=tarfile.FIFOTYPE),
        b"no tar",
    ],
)
def test_a_hostile_image_gets_nothing_out_of_its_folder(
    layer: bytes, registry: FakeRegistry, environ: dict[str, str], folder: Path
) -> None:
    with pytest.raises(FetchError):
        fetch(registry.image(layer), str(folder), environ)
    assert list(folder.iterdir()) == []


def test_an_absolute_name_is_below_the_folder(registry: FakeRegistry, environ: dict[str, str], folder: Path) -> None:
    assert fetch(registry.image(tar_of(("/a.bin", b"1"))), str(folder), environ) == 1
    assert (folder / "a.bin").read_bytes() == b"1"


@pytest.mark.parametrize("reference", ["registry.example.com/a:1", "a@sha256:00", "registry.example.com/a@sha256:0"])
def test_a_reference_without_a_digest_is_refused(reference: str, folder: Path) -> None:
    with pytest.raises(FetchError, match="is not REGISTRY/REPOSITORY"):
        fetch(reference, str(folder), {})


def test_credentials_are_those_of_docker(tmp_path: Path) -> None:
    named = {"username": "alice", "password": "s3cret"}
    auths = {"https://index.docker.io/v1/": {"auth": "hub"}, "https://r.example.com": named}
    (tmp_path / "config.json").write_text(json.dumps({"auths": auths}))
    environ = {"DOCKER_CONFIG": str(tmp_path)}
    assert credentials_of("docker.io", environ) == "hub"
    assert credentials_of("r.example.com", environ) == SECRET
    assert credentials_of("other.example.com", environ) == ""
    assert credentials_of("r.example.com", {}) == ""
