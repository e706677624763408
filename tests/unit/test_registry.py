"""The registry client against a registry made of values, over real HTTP."""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, NamedTuple
from urllib.parse import parse_qs, urlsplit

import pytest

from packager.errors import RegistryError, TemporaryError
from packager.http import is_local
from packager.reference import Reference
from packager.registry.auth import Credentials, docker_credentials, parse_challenges
from packager.registry.resolve import MEDIA_TYPES, TRIES, resolve_digest
from packager.registry.session import RegistrySession

MANIFEST = b'{"schemaVersion":2,"manifests":[]}'
DIGEST = f"sha256:{hashlib.sha256(MANIFEST).hexdigest()}"
WRONG = "sha256:" + "0" * 64


class Asked(NamedTuple):
    method: str
    path: str
    authorization: str
    accept: str
    body: str


class Answer(NamedTuple):
    status: int = 200
    headers: tuple[tuple[str, str], ...] = (("Docker-Content-Digest", DIGEST), ("Content-Type", MEDIA_TYPES[0]))
    body: bytes = MANIFEST


class FakeRegistry(http.server.ThreadingHTTPServer):
    """Answers with what `answer` says; remembers what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer: Callable[[Asked], Answer] = lambda asked: Answer()
        self.asked: list[Asked] = []
        self.address = f"127.0.0.1:{self.server_address[1]}"

    @property
    def reference(self) -> Reference:
        return Reference.parse(f"{self.address}/ml/python:3.13")


class _Handler(http.server.BaseHTTPRequestHandler):
    server: FakeRegistry

    def _any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        asked = Asked(
            self.command, self.path, self.headers.get("Authorization", ""), self.headers.get("Accept", ""), body
        )
        self.server.asked.append(asked)
        answer = self.server.answer(asked)
        self.send_response(answer.status)
        for name, value in answer.headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    do_GET = do_HEAD = do_POST = _any  # noqa: N815 - names of http.server

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    server = FakeRegistry()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Docker configuration of the test's own, and a netrc that must not be sent anywhere."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login netrc password hunter2\n")
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def log_in(config: Path, host: str, user: str = "alice", password: str = "s3cret") -> str:
    auth = base64.b64encode(f"{user}:{password}".encode()).decode()
    (config / "config.json").write_text(json.dumps({"auths": {host: {"auth": auth}}}))
    return f"Basic {auth}"


def ask(registry: FakeRegistry) -> str:
    waited: list[float] = []
    digest = resolve_digest(registry.reference, pause=waited.append)
    assert waited == [], "nothing was asked twice"
    return digest


def refused(registry: FakeRegistry) -> RegistryError:
    with pytest.raises(RegistryError) as caught:
        ask(registry)
    assert "s3cret" not in str(caught.value)
    assert "hunter2" not in str(caught.value)
    return caught.value


# --- digests ---


def test_the_digest_comes_from_one_small_question(registry: FakeRegistry) -> None:
    assert ask(registry) == DIGEST
    (asked,) = registry.asked
    assert (asked.method, asked.path) == ("HEAD", "/v2/ml/python/manifests/3.13")
    assert asked.accept == ", ".join(MEDIA_TYPES)
    assert asked.authorization == "", "neither netrc nor anything else is sent where nobody has asked for it"


def test_a_reference_with_a_digest_asks_nobody(registry: FakeRegistry) -> None:
    assert resolve_digest(registry.reference.with_digest(WRONG)) == WRONG
    assert registry.asked == []


def test_no_tag_means_latest(registry: FakeRegistry) -> None:
    resolve_digest(Reference.parse(f"{registry.address}/python"))
    assert registry.asked[0].path == "/v2/python/manifests/latest"


def test_the_mirror_is_asked_in_place_of_the_registry(registry: FakeRegistry) -> None:
    reference = Reference.parse("python:3.13")
    assert resolve_digest(reference, {"docker.io": f"{registry.address}/hub"}) == DIGEST
    assert registry.asked[0].path == "/v2/hub/library/python/manifests/3.13"


@pytest.mark.parametrize(
    "head", [Answer(405), Answer(404), Answer(200, ()), Answer(200, (("Docker-Content-Digest", "x"),))]
)
@pytest.mark.parametrize("headers", [(), (("Docker-Content-Digest", DIGEST),)])
def test_without_a_usable_head_the_body_is_digested(
    registry: FakeRegistry, head: Answer, headers: tuple[tuple[str, str], ...]
) -> None:
    registry.answer = lambda asked: head if asked.method == "HEAD" else Answer(200, headers)
    assert ask(registry) == DIGEST


def test_a_body_that_does_not_have_its_digest(registry: FakeRegistry) -> None:
    wrong = Answer(200, (("Docker-Content-Digest", WRONG),))
    registry.answer = lambda asked: Answer(405) if asked.method == "HEAD" else wrong
    assert "does not have the digest it claims" in refused(registry).message


def test_a_manifest_without_bounds(registry: FakeRegistry) -> None:
    registry.answer = lambda asked: Answer(200, (), b" " * ((4 << 20) + 1))
    assert "larger than" in refused(registry).message


@pytest.mark.parametrize("digest", [DIGEST, ""])
def test_schema_1_is_refused(registry: FakeRegistry, digest: str) -> None:
    kind = "application/vnd.docker.distribution.manifest.v1+prettyjws"
    registry.answer = lambda asked: Answer(200, (("Docker-Content-Digest", digest), ("Content-Type", kind)))
    assert "schema 1" in refused(registry).message


@pytest.mark.parametrize("head", [Answer(405), Answer(200, ())])
@pytest.mark.parametrize("body", [b"<!DOCTYPE html><title>Sign in</title>", b"[]", b"{}", b'{"manifests": null}', b""])
def test_a_page_to_sign_in_at_is_no_manifest(registry: FakeRegistry, head: Answer, body: bytes) -> None:
    registry.answer = lambda asked: head if asked.method == "HEAD" else Answer(200, (), body)
    assert "no manifest" in refused(registry).message


def test_a_page_that_claims_a_digest_is_no_manifest(registry: FakeRegistry) -> None:
    page = (("Docker-Content-Digest", DIGEST), ("Content-Type", "text/html; charset=utf-8"))
    registry.answer = lambda asked: Answer(200, page)
    assert "a page to sign in at" in str(refused(registry).remedy)


@pytest.mark.parametrize("location", ["http://[::1", "http://[::1/x", "http://[zz]/", "//[", "http://a:b/"])
def test_a_redirect_to_what_is_no_address_is_an_error_of_ours(registry: FakeRegistry, location: str) -> None:
    registry.answer = lambda asked: Answer(307, (("Location", location),))
    assert "is no address of HTTP" in refused(registry).message


def test_an_unknown_image(registry: FakeRegistry) -> None:
    registry.answer = lambda asked: Answer(404, ())
    error = refused(registry)
    assert error.message == f"there is no image {registry.address}/ml/python:3.13"
    with pytest.raises(RegistryError) as caught:
        resolve_digest(Reference.parse("python:3.13"), {"docker.io": registry.address})
    assert caught.value.message == (
        f"there is no image docker.io/library/python:3.13 (asked as {registry.address}/library/python:3.13)"
    )


def test_another_status(registry: FakeRegistry) -> None:
    registry.answer = lambda asked: Answer(418, ())
    assert "answers 418" in refused(registry).message


# --- trouble that may pass ---


@pytest.mark.parametrize("status", [500, 502, 503, 429])
def test_a_registry_in_trouble_is_asked_three_times(registry: FakeRegistry, status: int) -> None:
    registry.answer = lambda asked: Answer(status, ())
    waited: list[float] = []
    with pytest.raises(TemporaryError, match=f"answers {status}") as caught:
        resolve_digest(registry.reference, pause=waited.append)
    assert caught.value.exit_code == 75
    assert len(registry.asked) == TRIES
    assert waited == sorted(waited)
    assert len(waited) == TRIES - 1
    assert sum(waited) < 5


def test_trouble_that_passes(registry: FakeRegistry) -> None:
    registry.answer = lambda asked: Answer(500, ()) if len(registry.asked) < TRIES else Answer()
    assert resolve_digest(registry.reference, pause=lambda seconds: None) == DIGEST


def test_nobody_answers() -> None:
    with pytest.raises(TemporaryError, match="does not answer") as caught:
        resolve_digest(Reference.parse("127.0.0.1:1/x:1"), pause=lambda seconds: None)
    assert "127.0.0.1:1 does not answer (it refuses the connection)" in caught.value.message
    assert caught.value.remedy == "check its name and port; if they are right, try again"
    with pytest.raises(TemporaryError) as caught:
        resolve_digest(Reference.parse("registry.invalid/x:1"), pause=lambda seconds: None)
    assert "(no host of that name is known)" in caught.value.message
    assert "PACKAGER_REGISTRY_MIRROR (registry.invalid=MIRROR)" in str(caught.value.remedy)


def test_a_registry_that_does_not_speak_tls(registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    port = registry.address.partition(":")[2]
    monkeypatch.setattr("packager.registry.session.is_local", lambda host: False)
    monkeypatch.setattr("packager.registry.insecure.is_local", lambda host: False)
    with pytest.raises(RegistryError, match="there is no TLS with") as caught:
        resolve_digest(Reference.parse(f"127.0.0.1:{port}/x:1"), pause=lambda seconds: None)
    assert f"--insecure-registry 127.0.0.1:{port}" in str(caught.value.remedy)


# --- authorization ---


def basic(expected: str) -> Callable[[Asked], Answer]:
    def answer(asked: Asked) -> Answer:
        if asked.authorization == expected:
            return Answer()
        return Answer(401, (("WWW-Authenticate", 'Basic realm="x"'),))

    return answer


def test_basic_with_the_credentials_of_docker_login(registry: FakeRegistry, config: Path) -> None:
    registry.answer = basic(log_in(config, registry.address))
    assert ask(registry) == DIGEST
    assert [asked.authorization[:5] for asked in registry.asked] == ["", "Basic"], "sent only when asked for"


@pytest.mark.parametrize("password", ["wrong", None])
def test_wrong_or_no_password(registry: FakeRegistry, config: Path, password: str | None) -> None:
    if password:
        log_in(config, registry.address, password=password)
    registry.answer = basic("Basic never")
    error = refused(registry)
    assert error.exit_code == 7
    said = f"nobody is logged in: there is no {config / 'config.json'}"
    assert (said in error.message) is (password is None)
    assert f"`docker login {registry.address}`" in str(error.remedy)
    assert len(registry.asked) <= 2


def test_forbidden(registry: FakeRegistry, config: Path) -> None:
    registry.answer = lambda asked: Answer(403, ())
    assert "docker login" in str(refused(registry).remedy)


def test_a_challenge_that_nobody_knows(registry: FakeRegistry) -> None:
    registry.answer = lambda asked: Answer(401, (("WWW-Authenticate", "Negotiate"),))
    assert "docker login" in str(refused(registry).remedy)


def token_flow(registry: FakeRegistry, token: bytes, *, realm: str = "", status: int = 200) -> None:
    realm = realm or f"http://{registry.address}/token"
    challenge = f'Bearer realm="{realm}",service="reg",scope="repository:ml/python:pull"'

    def answer(asked: Asked) -> Answer:
        if asked.path.startswith("/token"):
            return Answer(status, (), token)
        if asked.authorization == "Bearer t0ken":
            return Answer()
        return Answer(401, (("WWW-Authenticate", challenge),))

    registry.answer = answer


@pytest.mark.parametrize("body", [b'{"token": "t0ken"}', b'{"access_token": "t0ken", "expires_in": 60}'])
def test_a_token_without_credentials(registry: FakeRegistry, body: bytes) -> None:
    token_flow(registry, body)
    assert ask(registry) == DIGEST
    question = registry.asked[1]
    assert parse_qs(urlsplit(question.path).query) == {"service": ["reg"], "scope": ["repository:ml/python:pull"]}
    assert question.authorization == ""


def test_a_docker_config_without_a_file_is_not_the_home_folder(
    registry: FakeRegistry, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = config / "home" / ".docker"
    home.mkdir(parents=True)
    log_in(home, registry.address)
    monkeypatch.setenv("HOME", str(config / "home"))
    for folder in (config, config / "missing"):
        monkeypatch.setenv("DOCKER_CONFIG", str(folder))
        assert docker_credentials(registry.address) is None
    monkeypatch.delenv("DOCKER_CONFIG")
    assert docker_credentials(registry.address) == Credentials(username="alice", password="s3cret")


def test_a_token_for_the_credentials_of_docker_login(registry: FakeRegistry, config: Path) -> None:
    header = log_in(config, registry.address)
    token_flow(registry, b'{"token": "t0ken"}')
    assert ask(registry) == DIGEST
    assert [asked.authorization for asked in registry.asked] == ["", header, "Bearer t0ken"]


def test_a_token_for_an_identity_token(registry: FakeRegistry, config: Path) -> None:
    (config / "config.json").write_text(json.dumps({"auths": {registry.address: {"identitytoken": "s3cret"}}}))
    token_flow(registry, b'{"access_token": "t0ken"}')
    assert ask(registry) == DIGEST
    question = registry.asked[1]
    assert question.method == "POST"
    assert parse_qs(question.body)["refresh_token"] == ["s3cret"]
    assert parse_qs(question.body)["grant_type"] == ["refresh_token"]


@pytest.mark.parametrize("body", [b"", b"[]", b'{"token": 3}', b'{"token": "a\\r\\nX-Evil: 1"}', b'{"token": ""}'])
def test_a_token_service_that_gives_no_token(registry: FakeRegistry, body: bytes) -> None:
    token_flow(registry, body)
    assert "gives no token" in refused(registry).message


def test_a_token_service_that_refuses(registry: FakeRegistry, config: Path) -> None:
    log_in(config, registry.address)
    token_flow(registry, b"{}", status=401)
    assert "docker login" in str(refused(registry).remedy)


def test_a_token_that_does_not_help(registry: FakeRegistry) -> None:
    token_flow(registry, b'{"token": "other"}')
    assert "docker login" in str(refused(registry).remedy)
    assert len(registry.asked) == 3, "no endless round"


def session(registry: FakeRegistry, name: str) -> RegistrySession:
    """Connections to a registry that people know by another name than the test's server has."""

    class Elsewhere(RegistrySession):
        @property
        def origin(self) -> str:
            return f"http://{registry.address}"

    return Elsewhere(Reference.parse(f"{name}/ml/python"))


@pytest.mark.parametrize("kind", ["Basic realm=x", "Bearer"])
def test_another_host_gets_no_authorization(registry: FakeRegistry, config: Path, kind: str) -> None:
    """As an upload's Location may name one; what it asks for changes nothing."""
    header = log_in(config, "reg.example.com")
    other = FakeRegistry()
    thread = threading.Thread(target=other.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        realm = f'{kind} realm="http://{registry.address}/token"' if kind == "Bearer" else kind
        registry.answer = basic(header)
        other.answer = lambda asked: Answer(401, (("WWW-Authenticate", realm),))
        connections = session(registry, "reg.example.com")
        assert connections.once("GET", connections.url("x")).status == 200
        with suppress(RegistryError):
            connections.once("POST", f"http://{other.address}/upload", data=b"x")
        connections.close()
        assert registry.asked[1].authorization == header
        assert other.asked
        assert {asked.authorization for asked in other.asked} == {""}
    finally:
        other.shutdown()
        thread.join()
        other.server_close()


@pytest.mark.parametrize("name", ["reg.example.com", "10.0.0.1:5000", "localhost.example.com"])
def test_a_realm_without_tls_is_for_registries_of_this_machine(registry: FakeRegistry, config: Path, name: str) -> None:
    log_in(config, name)
    realm = f'Bearer realm="http://{registry.address}/token"'
    registry.answer = lambda asked: Answer(401, (("WWW-Authenticate", realm),))
    with pytest.raises(RegistryError, match="no safe place"):
        session(registry, name).once("GET", f"http://{registry.address}/v2/")
    assert len(registry.asked) == 1, "nobody was sent the password"


def test_no_more_of_an_answer_is_read_than_a_document_may_have(
    registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Endless:
        status_code, reason, taken, url = 200, "OK", 0, "https://reg.example.com/v2/x"
        headers: ClassVar[dict[str, str]] = {}

        def iter_content(self, size: int) -> Iterator[bytes]:
            while self.taken < 50:
                self.taken += 1
                yield b"x" * size

        def close(self) -> None:
            pass

    answer = Endless()
    monkeypatch.setattr("packager.registry.session.MAX_DOCUMENT", 100_000)
    monkeypatch.setattr(RegistrySession, "_send", lambda *_: answer)
    connections = session(registry, "reg.example.com")
    # One more than it may have tells the caller that there was more.
    assert len(connections.once("GET", connections.url("x")).body) == 100_001
    assert answer.taken * 65536 < 200_000


def test_no_more_of_a_token_is_read_than_a_document_may_have(
    registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("packager.registry.session.MAX_DOCUMENT", 100_000)
    token_flow(registry, b'{"token": "t0ken", "more": "' + b"x" * 5_000_000 + b'"}')
    assert "gives no token" in refused(registry).message


@pytest.mark.parametrize("realm", ["ftp://x/token", "/token", ""])
def test_credentials_go_to_no_unsafe_place(registry: FakeRegistry, config: Path, realm: str) -> None:
    log_in(config, registry.address)
    registry.answer = lambda asked: Answer(401, (("WWW-Authenticate", f'Bearer realm="{realm}"'),))
    assert "no safe place" in refused(registry).message
    assert len(registry.asked) == 1


def test_credentials_are_not_sent_along_a_redirect_elsewhere(registry: FakeRegistry, config: Path) -> None:
    header = log_in(config, registry.address)
    port = registry.address.partition(":")[2]

    def answer(asked: Asked) -> Answer:
        if asked.path == "/elsewhere":
            return Answer()
        if asked.authorization == header:
            return Answer(307, (("Location", f"http://localhost:{port}/elsewhere"),), b"")
        return Answer(401, (("WWW-Authenticate", 'Basic realm="x"'),))

    registry.answer = answer
    assert ask(registry) == DIGEST
    assert registry.asked[-1].path == "/elsewhere"
    assert registry.asked[-1].authorization == ""


# --- credentials ---


def test_a_credential_helper_is_asked(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    helper = config / "docker-credential-fake"
    helper.write_text(
        '#!/bin/sh\nread host\necho "{\\"ServerURL\\":\\"$host\\",\\"Username\\":\\"bob\\",\\"Secret\\":\\"pw\\"}"\n'
    )
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", str(config), prepend=":")
    (config / "config.json").write_text(json.dumps({"credHelpers": {"reg.example.com": "fake"}}))
    assert docker_credentials("reg.example.com") == Credentials(username="bob", password="pw")
    assert docker_credentials("other.example.com") is None


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"auth": "Ym9iOnB3OngA"}, Credentials(username="bob", password="pw:x\0")),
        ({"identitytoken": "t", "auth": "Ym9iOnB3"}, Credentials(identity_token="t")),
        ({}, None),
    ],
)
def test_what_docker_login_wrote(config: Path, entry: dict[str, str], expected: Credentials | None) -> None:
    (config / "config.json").write_text(json.dumps({"auths": {"reg.example.com": entry}}))
    assert docker_credentials("reg.example.com") == expected
    (config / "config.json").write_text(json.dumps({"auths": {"https://reg.example.com/v1/": entry}}))
    assert docker_credentials("reg.example.com") == expected


def test_a_plain_login_needs_no_docker_library(config: Path) -> None:
    log_in(config, "reg.example.com")
    code = (
        "import sys; from packager.registry.auth import docker_credentials\n"
        "assert docker_credentials('reg.example.com').username == 'alice'\n"
        "assert 'docker' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_broken_credential_helper(config: Path) -> None:
    (config / "config.json").write_text(json.dumps({"credsStore": "is-not-there"}))
    with pytest.raises(RegistryError, match="cannot be read"):
        docker_credentials("reg.example.com")


def test_docker_io_is_known_by_its_old_name(config: Path) -> None:
    log_in(config, "https://index.docker.io/v1/")
    assert docker_credentials("docker.io") == Credentials(username="alice", password="s3cret")


def test_credentials_are_not_shown() -> None:
    assert "s3cret" not in repr(Credentials(username="alice", password="s3cret"))


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1:5000", True),
        ("localhost", True),
        ("localhost:5000", True),
        ("[::1]:5000", True),
        ("127.example.com", False),
        ("registry.example.com:5000", False),
        ("localhost.example.com", False),
    ],
)
def test_only_this_machine_is_spoken_to_without_tls(host: str, local: bool) -> None:
    assert is_local(host) is local


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (
            'Bearer realm="https://a/t?x=1,2",Service="s"',
            [("bearer", {"realm": "https://a/t?x=1,2", "service": "s"})],
        ),
        ("", []),
        ("Negotiate", [("negotiate", {})]),
        (
            'Negotiate, Basic realm="a, Bearer realm=b", Bearer realm="https://a/t", service=s , NTLM',
            [
                ("negotiate", {}),
                ("basic", {"realm": "a, Bearer realm=b"}),
                ("bearer", {"realm": "https://a/t", "service": "s"}),
                ("ntlm", {}),
            ],
        ),
        ('Negotiate YII=,Bearer realm = "x"', [("negotiate", {}), ("bearer", {"realm": "x"})]),
        ('Basic realm="a\\"b\\\\"', [("basic", {"realm": 'a"b\\'})]),
        ('Bearer realm="a", realm="b"', [("bearer", {"realm": "a"})]),
        ('realm="a"', []),
        ('Basic realm="unclosed', [("basic", {}), ("realm", {}), ("unclosed", {})]),
    ],
)
def test_challenges(header: str, expected: list[tuple[str, dict[str, str]]]) -> None:
    assert parse_challenges(header) == expected
