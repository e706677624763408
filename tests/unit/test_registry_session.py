"""What is sent where: credentials, redirects, and what a registry says, at registries in this process.

Two names of this machine are two hosts: `localhost` is another than `127.0.0.1`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import requests

from packager.engine.api import LocalImage
from packager.engine.push import Pushed
from packager.errors import PackagerError, RegistryError, TemporaryError
from packager.http import speaks_tls
from packager.oci.values import LAYER, MANIFEST, Descriptor
from packager.reference import Reference
from packager.registry.client import RegistryClient
from packager.registry.push import PushResult, push_images
from packager.registry.resolve import resolve_digest
from packager.registry.session import RegistrySession
from packager.steps.push import push as push_step
from packager.storage.content import ContentStore
from tests.unit.oci_images import image_of
from tests.unit.registry_fake import FakeRegistry, Fault, digest_of, log_in, running

BASIC = (("WWW-Authenticate", 'Basic realm="x"'),)


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with running() as server:
        yield server


@pytest.fixture
def other() -> Iterator[FakeRegistry]:
    with running() as server:
        server.address = server.address.replace("127.0.0.1", "localhost")
        yield server


@pytest.fixture(autouse=True)
def own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_CONFIG_HOME", "PACKAGER_INSECURE_REGISTRY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def content(tmp_path: Path) -> ContentStore:
    return ContentStore(tmp_path / "content")


def connect(reference: Reference, mirrors: Any = None, **options: Any) -> RegistryClient:
    return RegistryClient(reference, mirrors, **{"pause": lambda seconds: None, **options})


def push(registry: FakeRegistry, content: ContentStore, tag: str = "1") -> PushResult:
    references = [f"{registry.address}/ml/x:{tag}"]
    (result,) = push_images([image_of(content, b"one")], content, references, connect=connect)
    return result


def resolve(registry: FakeRegistry) -> str:
    return resolve_digest(Reference.parse(f"{registry.address}/ml/x:1"), pause=lambda seconds: None)


def refused(registry: FakeRegistry, content: ContentStore) -> PackagerError:
    with pytest.raises(PackagerError) as caught:
        push(registry, content)
    assert "s3cret" not in str(caught.value)
    return caught.value


# --- redirects ---


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(("method", "pattern"), [("POST", "uploads"), ("PUT", "uploads"), ("PUT", "manifests")])
def test_nothing_is_written_elsewhere(
    registry: FakeRegistry, other: FakeRegistry, content: ContentStore, method: str, pattern: str, status: int
) -> None:
    location = (("Location", f"http://{other.address}/v2/ml/x/manifests/1"),)
    registry.fail(method, pattern, *[Fault(status=status, headers=location)] * 9)
    assert "nothing is written there" in refused(registry, content).message
    assert other.asked == []
    assert ("ml/x", "1") not in registry.manifests


def test_what_is_written_is_sent_again_to_the_same_host(registry: FakeRegistry, content: ContentStore) -> None:
    registry.fail("PUT", "manifests", Fault(status=307, headers=(("Location", "/v2/ml/x/manifests/2"),)))
    result = push(registry, content)
    assert digest_of(registry.manifests["ml/x", "2"][1]) == result.digest


def test_reading_goes_elsewhere_without_credentials(
    registry: FakeRegistry, other: FakeRegistry, content: ContentStore, tmp_path: Path
) -> None:
    log_in(tmp_path, registry.address)
    blob = Descriptor(media_type=LAYER, digest=other.add("ml/x", b"one"), size=3)
    elsewhere = (("Location", f"http://{other.address}/v2/ml/x/blobs/{blob.digest}"),)
    registry.fail("GET", "blobs", Fault(status=401, headers=BASIC), Fault(status=307, headers=elsewhere))
    with connect(Reference.parse(f"{registry.address}/ml/x:1")) as client:
        client.download(blob, content)
    assert [asked.authorization[:5] for asked in registry.asked] == ["", "Basic"]
    assert [asked.authorization for asked in other.asked] == [""]


@pytest.mark.parametrize("challenge", ['Basic realm="x"', 'Bearer realm="http://{0}/token"'])
def test_another_host_is_not_logged_in_to(
    registry: FakeRegistry, other: FakeRegistry, content: ContentStore, tmp_path: Path, challenge: str
) -> None:
    log_in(tmp_path, registry.address)
    blob = Descriptor(media_type=LAYER, digest=digest_of(b"one"), size=3)
    elsewhere = (("Location", f"http://{other.address}/v2/ml/x/blobs/{blob.digest}"),)
    registry.fail("GET", "blobs", *[Fault(status=307, headers=elsewhere)] * 9)
    asks = (("WWW-Authenticate", challenge.format(other.address)),)
    other.fail("GET", "", *[Fault(status=401, headers=asks)] * 9)
    with connect(Reference.parse(f"{registry.address}/ml/x:1")) as client, pytest.raises(RegistryError, match="401"):
        client.download(blob, content)
    assert all(asked.authorization == "" for asked in (*registry.asked, *other.asked))
    assert other.count("GET", "token") == 0


def test_an_upload_elsewhere_gets_no_credentials(
    registry: FakeRegistry, other: FakeRegistry, content: ContentStore, tmp_path: Path
) -> None:
    log_in(tmp_path, registry.address)
    registry.token = "t0ken"
    other.uploads["u"] = bytearray()
    place = (("Location", f"http://{other.address}/v2/ml/x/blobs/uploads/u"),)
    with connect(Reference.parse(f"{registry.address}/ml/x:1"), push=True) as client:
        client.has_manifest(digest_of(b""))
        registry.fail("POST", "uploads", Fault(status=202, headers=place))
        digest = content.put_bytes(b"one")
        client.upload(Descriptor(media_type=LAYER, digest=digest, size=3), content.path(digest))
    assert other.blobs["ml/x", digest] == b"one"
    assert [asked.authorization for asked in other.asked] == [""]


def test_redirects_have_an_end(registry: FakeRegistry) -> None:
    registry.fail("HEAD", "", *[Fault(status=302, headers=(("Location", "/v2/ml/x/manifests/1"),))] * 99)
    with pytest.raises(RegistryError, match="without end"):
        resolve(registry)
    assert len(registry.asked) <= 20


@pytest.mark.parametrize("location", ["http://[::1/x", "https://", "mailto:x"])
def test_a_location_that_is_none(registry: FakeRegistry, content: ContentStore, location: str) -> None:
    registry.fail("POST", "uploads", *[Fault(status=202, headers=(("Location", location),))] * 9)
    assert "no address of HTTP" in refused(registry, content).message


def test_a_location_that_cannot_be_reached_is_named(registry: FakeRegistry, content: ContentStore) -> None:
    place = (("Location", "http://127.0.0.1:1/v2/ml/x/blobs/uploads/u"),)
    registry.fail("POST", "uploads", *[Fault(status=202, headers=place)] * 20)
    error = refused(registry, content)
    assert isinstance(error, TemporaryError)
    assert "sends us on to 127.0.0.1:1, which does not answer" in error.message
    assert f"{registry.address} must be told its own address" in str(error.remedy)


# --- token services ---


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_an_identity_token_is_posted_to_its_own_service_alone(
    registry: FakeRegistry, other: FakeRegistry, tmp_path: Path, status: int
) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"auths": {registry.address: {"identitytoken": "s3cret"}}}))
    registry.token = "t0ken"
    registry.fail("POST", "^/token", Fault(status=status, headers=(("Location", f"http://{other.address}/token"),)))
    with pytest.raises(RegistryError, match="nothing is written there"):
        resolve(registry)
    assert registry.count("POST", "^/token") == 1
    assert other.asked == []


def test_a_password_is_sent_to_its_own_service_alone(
    registry: FakeRegistry, other: FakeRegistry, tmp_path: Path
) -> None:
    log_in(tmp_path, registry.address)
    registry.manifests["ml/x", "1"] = (MANIFEST, b"{}")
    registry.token = other.token = "t0ken"
    registry.fail("GET", "^/token", Fault(status=307, headers=(("Location", f"http://{other.address}/token"),)))
    assert resolve(registry) == digest_of(b"{}")
    assert [asked.authorization for asked in other.asked] == [""]


@pytest.mark.parametrize(
    ("registry", "insecure", "realm", "safe"),
    [
        ("127.0.0.1:5000", "", "https://auth.example.com/token", True),
        ("127.0.0.1:5000", "", "http://localhost:5001/token", True),
        ("127.0.0.1:5000", "", "http://[::1]:5001/token", True),
        ("127.0.0.1:5000", "", "http://auth.example.com/token", False),
        ("127.0.0.1:5000", "", "http://127.0.0.1@auth.example.com/token", False),
        ("127.0.0.1:5000", "", "http://127.0.0.1.example.com/token", False),
        ("127.0.0.1:5000", "auth.lan:5001", "http://auth.lan:5001/token", True),
        ("127.0.0.1:5000", "auth.lan:5001", "http://auth.lan/token", False),
        ("reg.example.com", "auth.lan:5001", "http://auth.lan:5001/token", False),
        ("reg.example.com", "", "http://localhost:5001/token", False),
        ("reg.example.com", "", "http://reg.example.com/token", False),
        ("reg.example.com", "", "https://auth.example.com/token", True),
        ("reg.lan:5000", "reg.lan:5000", "http://reg.lan:5001/token", True),
        ("reg.lan:5000", "reg.lan:5000", "http://auth.lan/token", False),
        ("reg.example.com", "", "https://[::1/token", False),
        ("reg.example.com", "", "ftp://reg.example.com", False),
        ("reg.example.com", "", "", False),
    ],
)
def test_where_credentials_go(
    monkeypatch: pytest.MonkeyPatch, registry: str, insecure: str, realm: str, safe: bool
) -> None:
    monkeypatch.setenv("PACKAGER_INSECURE_REGISTRY", insecure)
    monkeypatch.setattr("packager.registry.session.speaks_tls", lambda session, host: False)
    assert RegistrySession(Reference.parse(f"{registry}/x"))._is_safe(realm) is safe


def test_a_registry_of_this_machine_gets_no_password_sent_to_the_network(
    registry: FakeRegistry, content: ContentStore, tmp_path: Path
) -> None:
    log_in(tmp_path, registry.address)
    asks = (("WWW-Authenticate", 'Basic realm="x", Bearer realm="http://auth.example.com/token"'),)
    registry.fail("HEAD", "", Fault(status=401, headers=asks))
    error = refused(registry, content)
    assert "names no safe place" in error.message
    assert "--insecure-registry" in str(error.remedy)
    assert len(registry.asked) == 1


@pytest.mark.parametrize(
    "challenge", ['Negotiate, Basic realm="x"', 'Basic realm="a, Bearer realm=b"', 'NTLM, basic realm=x, Digest a="b"']
)
def test_one_of_several_challenges_is_answered(registry: FakeRegistry, tmp_path: Path, challenge: str) -> None:
    log_in(tmp_path, registry.address)
    registry.manifests["ml/x", "1"] = (MANIFEST, b"{}")
    registry.fail("HEAD", "", Fault(status=401, headers=(("WWW-Authenticate", challenge),)))
    assert resolve(registry) == digest_of(b"{}")
    assert registry.asked[-1].authorization.startswith("Basic ")


def test_challenges_in_several_headers(registry: FakeRegistry) -> None:
    registry.manifests["ml/x", "1"] = (MANIFEST, b"{}")
    registry.token = "t0ken"
    values = ("Negotiate", f'Bearer realm="http://{registry.address}/token",service="s"')
    registry.fail("HEAD", "", Fault(status=401, headers=tuple(("WWW-Authenticate", value) for value in values)))
    assert resolve(registry) == digest_of(b"{}")


# --- what registries say ---

DENIED = b'{"errors": [{"code": "DENIED", "message": "quota \\u001b[31mof \\"s3cret\\" reached"}]}'


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize(("method", "pattern"), [("POST", "uploads"), ("PUT", "uploads"), ("PUT", "manifests")])
def test_a_refusal_has_the_registrys_own_words(
    registry: FakeRegistry, content: ContentStore, tmp_path: Path, method: str, pattern: str, status: int
) -> None:
    log_in(tmp_path, registry.address)
    registry.fail("HEAD", "", Fault(status=401, headers=BASIC))
    registry.fail(method, pattern, *[Fault(status=status, headers=BASIC, body=DENIED)] * 9)
    error = refused(registry, content)
    assert f'{status} (DENIED quota [31mof "…" reached)' in error.message
    assert "docker login" in str(error.remedy)


def test_a_refusal_to_read_has_them_too(registry: FakeRegistry) -> None:
    registry.fail("HEAD", "", Fault(status=403))
    registry.fail("GET", "", Fault(status=403, body=DENIED))
    with pytest.raises(RegistryError, match="DENIED quota"):
        resolve(registry)


def test_a_token_service_that_cannot_be_reached_is_named(registry: FakeRegistry) -> None:
    asks = (("WWW-Authenticate", 'Bearer realm="http://127.0.0.1:1/token"'),)
    registry.fail("HEAD", "", Fault(status=401, headers=asks))
    with pytest.raises(TemporaryError, match=r"sends us on to 127\.0\.0\.1:1, which does not answer") as caught:
        resolve(registry)
    assert "its own address" not in str(caught.value.remedy)


def test_so_has_that_of_a_token_service(registry: FakeRegistry) -> None:
    registry.token = "t0ken"
    registry.fail("GET", "^/token", Fault(status=401, body=b'{"details": "your trial has ended"}'))
    with pytest.raises(RegistryError, match="your trial has ended"):
        resolve(registry)


def test_so_has_trouble_that_does_not_pass(registry: FakeRegistry) -> None:
    body = b'{"errors": [{"code": "TOOMANYREQUESTS", "message": "pull rate limit"}]}'
    registry.fail("HEAD", "", Fault(status=404))
    registry.fail("GET", "", *[Fault(status=429, body=body)] * 9)
    with pytest.raises(TemporaryError, match="TOOMANYREQUESTS pull rate limit"):
        resolve(registry)


@pytest.mark.parametrize("status", [400, 403, 418, 429, 500, 501, 503])
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_long_texts_are_shortened(registry: FakeRegistry, content: ContentStore, method: str, status: int) -> None:
    words = json.dumps({"errors": [{"code": "X" * 100_000, "message": "\u001b[2J" * 10_000}]}).encode()
    fault = Fault(status=status, body=words, reason="\x1b[31m" + "Y" * 60_000)
    registry.fail("HEAD", "manifests/1", Fault(status=404))
    registry.fail(method, "manifests", *[fault] * 9)
    with pytest.raises(PackagerError) as caught:
        push(registry, content) if method == "PUT" else resolve(registry)
    assert "XXX" in str(caught.value)
    assert len(str(caught.value)) < 1000
    assert "\x1b" not in str(caught.value)


# --- tags that cannot be moved ---


@pytest.mark.parametrize("status", [400, 403, 405, 409, 412])
@pytest.mark.parametrize("says_digests", [True, False])
def test_the_same_again_under_a_tag_that_cannot_be_moved_is_done(
    registry: FakeRegistry, content: ContentStore, status: int, says_digests: bool
) -> None:
    registry.says_digests = says_digests
    first = push(registry, content)
    registry.fail("PUT", "manifests/1", Fault(status=status, body=DENIED))
    assert push(registry, content).digest == first.digest


@pytest.mark.parametrize("status", [400, 403, 405, 409, 412])
def test_another_image_under_a_tag_that_cannot_be_moved(
    registry: FakeRegistry, content: ContentStore, status: int
) -> None:
    registry.manifests["ml/x", "1"] = (MANIFEST, b"{}")
    registry.fail("PUT", "manifests/1", Fault(status=status, body=b'{"errors": [{"message": "tag is immutable"}]}'))
    assert "tag is immutable" in refused(registry, content).message


# --- without TLS ---


@pytest.fixture
def elsewhere(registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch) -> FakeRegistry:
    """A registry without TLS that is not taken for one of this machine."""
    for room in ("session", "insecure"):
        monkeypatch.setattr(f"packager.registry.{room}.is_local", lambda host: False)
    registry.manifests["ml/x", "1"] = (MANIFEST, b"{}")
    return registry


def test_a_registry_without_tls_must_be_named(elsewhere: FakeRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RegistryError, match="there is no TLS with") as caught:
        resolve(elsewhere)
    assert f"--insecure-registry {elsewhere.address}" in str(caught.value.remedy)
    assert elsewhere.asked == []
    monkeypatch.setenv("PACKAGER_INSECURE_REGISTRY", elsewhere.address)
    assert resolve(elsewhere) == digest_of(b"{}")


def test_a_registry_without_tls_is_pushed_to_with_a_login(
    elsewhere: FakeRegistry, content: ContentStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_in(tmp_path, elsewhere.address)
    elsewhere.token = "t0ken"
    monkeypatch.setenv("PACKAGER_INSECURE_REGISTRY", elsewhere.address)
    monkeypatch.setattr("packager.registry.session.is_loopback", lambda name: False)
    assert push(elsewhere, content).digest


class TlsSession:
    """Says what a registry would, over TLS; what requests would send of itself is sent where there is no `auth`."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error
        self.netrc_sent = False

    def get(self, url: str, *, auth: object = None, **options: object) -> TlsSession:
        assert url == "https://reg.lan:5000/v2/"
        assert options["allow_redirects"] is False
        self.netrc_sent = auth is None
        if self.error is not None:
            raise self.error
        return self

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("error", "has_tls"),
    [
        (None, True),
        (requests.exceptions.SSLError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed"), True),
        (requests.exceptions.SSLError("[SSL: WRONG_VERSION_NUMBER] wrong version number"), False),
        (requests.exceptions.ConnectionError("refused"), False),
        (requests.exceptions.ReadTimeout(), False),
        (requests.exceptions.ProxyError(), False),
    ],
)
def test_a_certificate_that_is_not_trusted_is_no_reason_to_speak_in_clear(
    error: Exception | None, has_tls: bool
) -> None:
    session = TlsSession(error)
    assert speaks_tls(cast(requests.Session, session), "reg.lan:5000") is has_tls
    assert not session.netrc_sent


def test_a_registry_of_the_list_that_has_tls_gets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACKAGER_INSECURE_REGISTRY", "reg.lan:5000")
    monkeypatch.setattr("packager.registry.session.speaks_tls", lambda session, host: True)
    assert RegistrySession(Reference.parse("reg.lan:5000/x")).origin == "https://reg.lan:5000"


def engine_with(monkeypatch: pytest.MonkeyPatch, identity: str, *repo_digests: str) -> None:
    """An engine whose push is refused."""

    def refuse(reference: str) -> Pushed:
        raise RegistryError("tag is immutable")

    local = LocalImage(id=identity, platform="linux/amd64", size=1, repo_digests=repo_digests, labels={})
    monkeypatch.setattr("packager.steps.push.push_image", refuse)
    monkeypatch.setattr("packager.steps.push.require_local", lambda reference: local)


@pytest.mark.parametrize("known", ["configuration", "manifest"])
def test_the_engine_pushes_the_same_again_under_a_tag_that_cannot_be_moved(
    registry: FakeRegistry, content: ContentStore, monkeypatch: pytest.MonkeyPatch, known: str
) -> None:
    image = image_of(content, b"one")
    digest, reference = push(registry, content).digest, f"{registry.address}/ml/x:1"
    if known == "manifest":
        engine_with(monkeypatch, "sha256:" + "0" * 64, f"{registry.address}/ml/x@{digest}")
    else:
        engine_with(monkeypatch, image.id)
    (pushed,) = push_step(reference, test=False)
    assert pushed.pinned == f"{reference}@{digest}"


@pytest.mark.parametrize("tag", ["1", "unknown"])
def test_the_engine_pushes_another_image_under_a_tag_that_cannot_be_moved(
    registry: FakeRegistry, content: ContentStore, monkeypatch: pytest.MonkeyPatch, tag: str
) -> None:
    push(registry, content)
    engine_with(monkeypatch, "sha256:" + "0" * 64, f"{registry.address}/ml/x@sha256:{'1' * 64}")
    with pytest.raises(RegistryError, match="tag is immutable"):
        push_step(f"{registry.address}/ml/x:{tag}", test=False)
