"""Wheels of a real index whose members would not be in the image: refused, however the index lets us look at them."""

from __future__ import annotations

import base64
import hashlib
import http.server
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from packager.errors import LockError
from packager.laying.environment import lay_down
from packager.laying.wheels import Source
from packager.storage.content import Memory, content_root
from tests.integration.conftest import NO_ENGINE, RunPackager
from tests.integration.tiny import make_tiny
from tests.unit.test_oci_environment import make_wheel, recipe

LARGE = {f"bad/data{number}.bin": os.urandom(3000).hex() for number in range(40)}


class Index(http.server.ThreadingHTTPServer):
    """A simple index (PEP 503) of the wheels in a folder.

    Attributes:
        ranges: parts of files can be had.
        login: user and password, where it asks for them.
        closed: files can be had by uv alone.
        sent: bytes of files that went to others than uv.
    """

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.ranges = True
        self.login = ""
        self.closed = False
        self.sent = 0

    def url(self) -> str:
        user = f"{self.login}@" if self.login else ""
        return f"http://{user}127.0.0.1:{self.server_address[1]}/simple"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Index

    def do_GET(self) -> None:
        ours = not self.headers.get("User-Agent", "").startswith("uv/")
        wanted = f"Basic {base64.b64encode(self.server.login.encode()).decode()}"
        if self.server.login and self.headers.get("Authorization") != wanted:
            self.answer(401, b"", ("WWW-Authenticate", "Basic realm=index"))
        elif self.path.startswith("/simple/"):
            name = self.path.strip("/").rpartition("/")[2]
            links = [
                f'<a href="/files/{each.name}#sha256={hashlib.sha256(each.read_bytes()).hexdigest()}">{each.name}</a>'
                for each in self.server.folder.glob(f"{name}-*.whl")
            ]
            self.answer(200 if links else 404, "\n".join(links).encode(), ("Content-Type", "text/html"))
        elif ours and self.server.closed:
            self.answer(403, b"")
        else:
            self.file(self.server.folder / self.path.rpartition("/")[2], ours)

    def do_HEAD(self) -> None:
        self.do_GET()

    def file(self, path: Path, ours: bool) -> None:
        data, asked = path.read_bytes(), re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        status, more = 200, ("Accept-Ranges", "bytes" if self.server.ranges else "none")
        if asked and self.server.ranges:
            size = len(data)
            start = int(asked[1]) if asked[1] else max(0, size - int(asked[2]))
            end = min(size, int(asked[2]) + 1) if asked[1] and asked[2] else size
            status, more, data = 206, ("Content-Range", f"bytes {start}-{end - 1}/{size}"), data[start:end]
        self.server.sent += len(data) * ours
        self.answer(status, data, more)

    def answer(self, status: int, data: bytes, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in (*headers, ("Content-Length", str(len(data)))):
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def simple_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "wheels"
    folder.mkdir()
    server = Index(folder)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def source_of(index: Index, folder: Path) -> Source:
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("UV_", "PIP_"))}
    return Source.of(folder, environ | {"UV_DEFAULT_INDEX": index.url(), "UV_CACHE_DIR": str(folder / "uv")})


@pytest.mark.parametrize("how", ["parts", "whole", "password"])
def test_it_is_refused_however_it_can_be_had(how: str, simple_index: Index, tmp_path: Path) -> None:
    simple_index.ranges = how != "whole"
    simple_index.login = "alice:s3cret" if how == "password" else ""
    package = make_wheel(simple_index.folder, "bad", {"bad/__init__.py": "", **LARGE, "../escaped.py": ""})
    with pytest.raises(LockError, match=r"the wheel of bad==1 holds '\.\./escaped\.py'"):
        lay_down(recipe(package), tmp_path / "env", source_of(simple_index, tmp_path))
    assert not (tmp_path / "env").exists()
    size = next(simple_index.folder.iterdir()).stat().st_size
    assert (simple_index.sent < size / 2) == (how != "whole")


def test_an_index_that_lets_nobody_look_stops_nothing(simple_index: Index, tmp_path: Path) -> None:
    """uv has left out what is bad, and it is not taken for looked at."""
    package = make_wheel(simple_index.folder, "bad", {"bad/__init__.py": "", "../escaped.py": ""})
    simple_index.closed = True
    lay_down(recipe(package), tmp_path / "one", source_of(simple_index, tmp_path))
    assert not list(tmp_path.rglob("escaped.py"))
    assert Memory("wheels").recall("1", *package.digests) is None
    assert content_root().is_relative_to(tmp_path)
    simple_index.closed = False
    with pytest.raises(LockError, match="escaped"):
        lay_down(recipe(package), tmp_path / "two", source_of(simple_index, tmp_path))


@pytest.mark.network
def test_a_build_says_which_wheel_which_member_and_what_to_do(
    tmp_path: Path, base_archive: Path, run_packager: RunPackager
) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    make_wheel(wheels, "bad", {"bad/__init__.py": "", "link": "/etc/passwd"}, links=["link"])
    folder = make_tiny(tmp_path / "tiny", requirements="bad\n")
    environ = {"UV_FIND_LINKS": str(wheels), **NO_ENGINE}
    run_packager("lock", cwd=folder, env=environ)
    words = (
        "build",
        "--builder",
        "oci",
        "--base",
        f"oci-archive:{base_archive}",
        "-o",
        f"type=oci,dest={tmp_path}/x.tar",
    )
    done = run_packager(*words, cwd=folder, env=environ, check=False)
    assert done.returncode == 3
    assert done.stdout == ""
    assert "error: the wheel of bad==1 holds 'link', which is a symbolic link\n" in done.stderr
    assert "  to do: do not use this wheel: take another version, or another index\n" in done.stderr
    assert not (tmp_path / "x.tar").exists()
