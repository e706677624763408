"""Pushing to and pulling from a registry in this process, over real HTTP, with faults."""

from __future__ import annotations

import concurrent.futures
import json
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from packager.errors import ContextError, PackagerError, RegistryError, TemporaryError, UsageError
from packager.http import TRIES, wait_before
from packager.oci.compose import make_index
from packager.oci.outputs import write_layout as write_images
from packager.oci.values import INDEX, LAYER, MANIFEST, Descriptor, digest_of
from packager.progress import Work, listening
from packager.reference import Reference
from packager.registry.client import RegistryClient
from packager.registry.pull import pull_image, write_layout
from packager.registry.push import PushResult, push_images
from packager.registry.upload import StoppedError
from packager.registry.upload_parts import Part
from packager.steps.pull import pull
from packager.steps.reporting import Silent
from packager.storage.blobs import DamagedError
from packager.storage.content import ContentStore, Memory
from tests.unit.heard import Heard
from tests.unit.oci_images import image_of
from tests.unit.registry_fake import FakeRegistry, Fault, log_in, running

CHUNK = 1 << 20
BIG = bytes(range(256)) * (5 * CHUNK // 256) + b"end"


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with running() as server:
        yield server


@pytest.fixture(autouse=True)
def own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def content(tmp_path: Path) -> ContentStore:
    return ContentStore(tmp_path / "content")


class Connect:
    """Clients that wait for nobody, and cut blobs into small chunks."""

    def __init__(self) -> None:
        self.waited: list[float] = []

    def __call__(self, reference: Reference, mirrors: Any = None, **options: Any) -> RegistryClient:
        settings = {"pause": self.waited.append, "chunk": CHUNK, "monolithic": CHUNK, **options}
        return RegistryClient(reference, mirrors, **settings)


def client(registry: FakeRegistry, connect: Connect | None = None, **options: Any) -> RegistryClient:
    options.setdefault("push", True)
    return (connect or Connect())(Reference.parse(f"{registry.address}/ml/x:1"), **options)


def blob_of(content: ContentStore, data: bytes) -> Descriptor:
    return Descriptor(media_type=LAYER, digest=content.put_bytes(data), size=len(data))


def push(registry: FakeRegistry, content: ContentStore, *layers: bytes, **options: Any) -> PushResult:
    options.setdefault("connect", Connect())
    (result,) = push_images([image_of(content, *layers)], content, [f"{registry.address}/ml/x:1"], **options)
    return result


# --- pushing ---


def test_blobs_go_first_each_once_then_the_manifest_then_the_tags(
    registry: FakeRegistry, content: ContentStore
) -> None:
    image = image_of(content, b"one", b"two" * CHUNK)
    heard = Heard()
    references = [f"{registry.address}/ml/x:{tag}" for tag in ("1", "2", "1")]
    with listening(heard):
        (result,) = push_images([image], content, references, connect=Connect())
    assert result.digest == image.digest
    assert result.references == tuple(references[:2])
    assert {blob.size for blob in result.uploaded} == {3, 3 * CHUNK, len(image.config)}
    assert result.bytes_sent == 3 + 3 * CHUNK + len(image.config)
    assert registry.manifests["ml/x", "1"] == registry.manifests["ml/x", "2"] == (MANIFEST, image.manifest)
    assert registry.count("POST") == 3
    writes = [asked.path for asked in registry.asked if asked.method in ("POST", "PUT", "PATCH")]
    assert [path.rpartition("/")[2] for path in writes[-2:]] == ["1", "2"]
    assert sorted((total, done) for _, total, done in heard.told) == sorted(
        (each.size,) * 2 for each in result.uploaded
    )
    assert not list((content.root.parent / "cache").rglob("memory/uploads/*")), "finished uploads are forgotten"


def test_what_is_there_is_not_sent_again(registry: FakeRegistry, content: ContentStore) -> None:
    push(registry, content, b"one", b"two")
    registry.asked.clear()
    result = push(registry, content, b"one", b"two")
    assert (result.uploaded, len(result.present), result.bytes_sent) == ((), 3, 0)
    assert [asked.method for asked in registry.asked] == ["HEAD", "PUT"], (
        "one question for the manifest, one for the tag"
    )
    registry.asked.clear()
    result = push(registry, content, b"one", b"three")
    assert ([blob.size for blob in result.present], len(result.uploaded)) == ([3], 2)


def test_blobs_of_the_base_are_mounted(registry: FakeRegistry, content: ContentStore) -> None:
    digest = registry.add("library/python", b"base")
    registry.token = "t0ken"
    result = push(registry, content, b"base", b"app", mount_from={digest: "library/python"})
    assert [blob.digest for blob in result.mounted] == [digest]
    assert registry.blobs["ml/x", digest] == b"base"
    assert registry.scopes == ["repository:ml/x:pull,push", "repository:library/python:pull"]


def test_a_mount_that_is_not_possible_becomes_an_upload(registry: FakeRegistry, content: ContentStore) -> None:
    result = push(registry, content, b"base", mount_from={digest_of(b"base"): "not/there"})
    assert digest_of(b"base") in {blob.digest for blob in result.uploaded}
    assert registry.count("POST") == 2, "the upload that the registry opened instead is used"


def test_a_second_repository_mounts_from_the_first(registry: FakeRegistry, content: ContentStore) -> None:
    image = image_of(content, b"one", b"two")
    names = [f"{registry.address}/{name}" for name in ("a/x:1", "b/x:1")]
    first, second = push_images([image], content, names, connect=Connect())
    assert (len(first.uploaded), len(second.uploaded), len(second.mounted)) == (3, 0, 3)


def test_an_index_of_two_platforms(registry: FakeRegistry, content: ContentStore) -> None:
    images = [image_of(content, b"one", platform=each) for each in ("linux/amd64", "linux/arm64/v8")]
    (result,) = push_images(images, content, [f"{registry.address}/ml/x"], connect=Connect())
    kind, index = registry.manifests["ml/x", "latest"]
    assert (kind, digest_of(index)) == (INDEX, result.digest)
    assert b'"variant":"v8"' in index
    assert {("ml/x", image.digest) for image in images} <= set(registry.manifests)
    assert sum(blob.size == 3 for blob in result.uploaded) == 1, "a layer of both is sent once"


def test_what_is_pushed_is_what_is_written(registry: FakeRegistry, content: ContentStore, tmp_path: Path) -> None:
    images = [image_of(content, b"x", platform=each) for each in ("linux/amd64", "linux/arm64/v8")]
    (result,) = push_images(images, content, [f"{registry.address}/ml/x:1"], connect=Connect())
    write_images([*images], (), tmp_path / "layout", content)
    (entry,) = json.loads((tmp_path / "layout/index.json").read_text())["manifests"]
    assert entry["digest"] == result.digest == digest_of(make_index(images))


@pytest.mark.parametrize("references", [[], ["x@sha256:" + "0" * 64]])
def test_only_tags_can_be_pushed_to(content: ContentStore, references: list[str]) -> None:
    with pytest.raises(UsageError):
        push_images([image_of(content, b"one")], content, references)


# --- faults of uploads ---


def upload(registry: FakeRegistry, content: ContentStore, data: bytes = BIG, **options: Any) -> int:
    blob = blob_of(content, data)
    before = registry.received
    with client(registry, **options) as at:
        at.upload(blob, content.path(blob.digest))
    assert registry.blobs["ml/x", blob.digest] == data
    return registry.received - before


def test_a_large_blob_goes_in_chunks(registry: FakeRegistry, content: ContentStore) -> None:
    assert upload(registry, content) == len(BIG)
    assert (registry.count("PATCH"), registry.count("PUT")) == (5, 1)


@pytest.mark.parametrize("cut", [0, 1, CHUNK // 2, CHUNK - 1])
def test_an_upload_that_is_cut_continues_where_it_was(registry: FakeRegistry, content: ContentStore, cut: int) -> None:
    registry.fail("PATCH", "", Fault(drop_after=None), Fault(drop_after=cut))
    assert upload(registry, content) == len(BIG), "no byte that arrived is sent again"
    assert registry.count("POST") == 1


def test_a_small_blob_that_is_cut_is_sent_again(registry: FakeRegistry, content: ContentStore) -> None:
    connect = Connect()
    registry.fail("PUT", "", Fault(drop_after=1000))
    upload(registry, content, b"x" * 5000, connect=connect)
    assert registry.count("POST") == 2
    assert len(connect.waited) == 1


def test_parts_are_small_enough_for_slow_lines(content: ContentStore) -> None:
    """Each must be on its way within the ten seconds to connect."""
    path = content.path(blob_of(content, BIG).digest)
    parts = list(Part(path, 7, len(BIG), lambda count: None))
    assert b"".join(parts) == BIG[7:]
    assert max(map(len, parts)) <= 64 << 10


def test_an_upload_that_the_registry_gave_up_starts_again(registry: FakeRegistry, content: ContentStore) -> None:
    registry.fail("PATCH", "", Fault(), Fault(drop_after=10))
    registry.fail("GET", "uploads", Fault(status=404))
    assert upload(registry, content) == len(BIG) + CHUNK + 10
    assert registry.count("POST") == 2


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
@pytest.mark.parametrize("status", [404, 416])
def test_an_upload_that_is_always_given_up_ends(
    registry: FakeRegistry, content: ContentStore, method: str, status: int
) -> None:
    for each in {method, "PUT"}:  # who gets nowhere by PATCH tries PUT
        registry.fail(each, "uploads", *[Fault(status=status)] * 50)
    with pytest.raises(RegistryError, match=f"it answers {status}"):
        upload(registry, content)
    assert registry.count("POST") <= TRIES + 2, "each start is another upload at the registry"


def test_the_answer_to_the_last_request_gets_lost(registry: FakeRegistry, content: ContentStore) -> None:
    blob = blob_of(content, BIG)
    registry.fail("PUT", "", Fault(status=503))
    registry.add("ml/x", BIG)
    with client(registry) as at:
        at.upload(blob, content.path(blob.digest))
    assert registry.count("POST") == 1


def test_a_later_run_continues(registry: FakeRegistry, content: ContentStore, tmp_path: Path) -> None:
    memory = Memory("uploads", tmp_path)
    blob = blob_of(content, BIG)
    stopped = client(registry, stopped=lambda: registry.count("PATCH") == 3, memory=memory)
    with stopped as at, pytest.raises(StoppedError):
        at.upload(blob, content.path(blob.digest))
    (file,) = tmp_path.glob("memory/uploads/*")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert upload(registry, content, memory=memory) == len(BIG) - 3 * CHUNK
    assert registry.count("POST") == 1
    assert not file.exists()


@pytest.mark.parametrize("location", ["/v2/ml/x/blobs/uploads/gone", "http://127.0.0.1:1/x", "\udcff"])
def test_an_unfinished_upload_that_nobody_knows(
    registry: FakeRegistry, content: ContentStore, tmp_path: Path, location: str
) -> None:
    memory = Memory("uploads", tmp_path)
    where = f"http://{registry.address}{location}" if location.startswith("/") else location
    memory.remember(where.encode(errors="surrogateescape"), f"{registry.address}/ml/x", digest_of(BIG))
    assert upload(registry, content, memory=memory) == len(BIG)


def test_a_continued_upload_with_other_bytes_starts_again(
    registry: FakeRegistry, content: ContentStore, tmp_path: Path
) -> None:
    memory = Memory("uploads", tmp_path)
    registry.uploads["old"] = bytearray(b"x" * CHUNK)
    where = f"http://{registry.address}/v2/ml/x/blobs/uploads/old"
    memory.remember(where.encode(), f"{registry.address}/ml/x", digest_of(BIG))
    assert upload(registry, content, memory=memory) == 2 * len(BIG) - CHUNK


def test_a_registry_in_trouble_is_asked_again(registry: FakeRegistry, content: ContentStore) -> None:
    connect = Connect()
    registry.fail("POST", "", Fault(status=500), Fault(status=503))
    registry.fail("PUT", "manifests", Fault(status=502), Fault(status=429, headers=(("Retry-After", "7"),)))
    push(registry, content, b"one", connect=connect)
    assert 7.0 in connect.waited
    assert all(0.5 <= each <= 7 for each in connect.waited)


@pytest.mark.parametrize("size", [10, len(BIG)])
@pytest.mark.parametrize("fault", [Fault(status=500), Fault(drop_after=0), Fault(status=429)])
def test_trouble_that_does_not_pass(registry: FakeRegistry, content: ContentStore, size: int, fault: Fault) -> None:
    connect = Connect()
    registry.fail("PUT" if size == 10 else "PATCH", "", *[fault] * 20)
    with pytest.raises(TemporaryError) as caught:
        upload(registry, content, BIG[:size], connect=connect)
    assert caught.value.exit_code == 75
    assert len(connect.waited) == 4
    assert sum(connect.waited) < 15


def test_nobody_waits_for_an_hour(registry: FakeRegistry, content: ContentStore) -> None:
    connect = Connect()
    registry.fail("HEAD", "", Fault(status=429, headers=(("Retry-After", "3600"),)))
    with pytest.raises(TemporaryError, match="429"):
        push(registry, content, b"one", connect=connect)
    assert connect.waited == []


@pytest.mark.parametrize(
    ("method", "status", "said"), [("POST", 403, "docker login"), ("POST", 405, "405"), ("PUT", 413, "nginx")]
)
def test_a_registry_that_refuses(
    registry: FakeRegistry, content: ContentStore, method: str, status: int, said: str
) -> None:
    registry.fail(method, "", *[Fault(status=status)] * 9)
    with pytest.raises(RegistryError) as caught:
        push(registry, content, b"one")
    assert said in str(caught.value)


@pytest.mark.parametrize("status", [400, 405, 411, 415, 501, 404, 416])
def test_a_registry_that_knows_no_patch(registry: FakeRegistry, content: ContentStore, status: int) -> None:
    registry.fail("PATCH", "", *[Fault(status=status)] * 99)
    upload(registry, content)
    patches = registry.count("PATCH")
    assert patches <= 2
    other = blob_of(content, BIG + BIG)
    with client(registry) as at:
        at.upload(blob_of(content, BIG), content.path(digest_of(BIG)))
        patches = registry.count("PATCH")
        at.upload(other, content.path(other.digest))
    assert registry.blobs["ml/x", other.digest] == BIG + BIG
    assert registry.count("PATCH") == patches, "it is not asked for each blob"


@pytest.mark.parametrize("status", [400, 405, 411, 415, 501])
@pytest.mark.parametrize("size", [10, len(BIG)])
def test_a_registry_that_takes_nothing_by_put(
    registry: FakeRegistry, content: ContentStore, status: int, size: int
) -> None:
    registry.fail("PUT", "blobs", Fault(status=status))
    assert upload(registry, content, BIG[:size]) <= size + CHUNK
    assert (registry.count("PUT"), registry.count("PATCH")) == (2, -(-size // CHUNK))


@pytest.mark.parametrize("size", [10, len(BIG)])
def test_a_registry_that_takes_nothing_at_all(registry: FakeRegistry, content: ContentStore, size: int) -> None:
    for method in ("PUT", "PATCH"):
        registry.fail(method, "blobs", *[Fault(status=405)] * 99)
    with pytest.raises(RegistryError, match="405"):
        upload(registry, content, BIG[:size])
    assert registry.count("PUT") + registry.count("PATCH") <= 4


def test_a_registry_says_why(registry: FakeRegistry, content: ContentStore) -> None:
    body = b'{"errors": [{"code": "DENIED", "message": "quota \\u001b[31m reached"}]}'
    registry.fail("PUT", "manifests", Fault(status=400, body=body))
    with pytest.raises(RegistryError, match=r"DENIED quota \[31m reached"):
        push(registry, content, b"one")


def test_a_blob_that_is_unknown_for_a_moment(registry: FakeRegistry, content: ContentStore) -> None:
    # As Docker's registry answers while another client writes the same blob.
    fault = Fault(status=400, body=b'{"errors": [{"code": "DIGEST_INVALID"}, {"code": "MANIFEST_BLOB_UNKNOWN"}]}')
    connect = Connect()
    registry.fail("PUT", "manifests", fault, fault)
    push(registry, content, b"one", connect=connect)
    assert connect.waited == [0.2, 1.0]
    registry.fail("PUT", "manifests", fault, fault, fault)
    with pytest.raises(RegistryError, match="MANIFEST_BLOB_UNKNOWN"):
        push(registry, content, b"two", connect=connect)


def test_a_file_that_is_not_what_it_was(registry: FakeRegistry, content: ContentStore, tmp_path: Path) -> None:
    blob = blob_of(content, BIG)
    (tmp_path / "short").write_bytes(BIG[:-1])
    (tmp_path / "other").write_bytes(BIG[::-1])
    with client(registry) as at:
        with pytest.raises(ContextError, match="shorter"):
            at.upload(blob, tmp_path / "short")
        at.upload(blob_of(content, b"z" * 9), content.path(digest_of(b"z" * 9)))
    with (
        client(registry, memory=Memory("uploads", tmp_path)) as at,
        pytest.raises(RegistryError, match="DIGEST_INVALID"),
    ):
        at.upload(blob, tmp_path / "other")


def test_one_failure_ends_the_others(registry: FakeRegistry, content: ContentStore) -> None:
    registry.fail("PATCH", "", *[Fault(status=403)] * 99)
    layers = [bytes([number]) * (3 * CHUNK) for number in range(8)]
    with pytest.raises(RegistryError, match="does not let us write to"):
        push(registry, content, *layers)
    assert registry.count("PATCH") <= 4
    assert registry.count("PUT", "manifests") == 0


def test_an_interruption_waits_for_no_registry_that_hangs(
    registry: FakeRegistry, content: ContentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging, go_on = threading.Event(), threading.Event()

    def hang(*_: object) -> None:
        hanging.set()
        go_on.wait(30)
        raise StoppedError

    def interrupted(futures: Any, timeout: float | None = None, **_: object) -> object:
        if timeout is None:
            assert hanging.wait(30)
            raise KeyboardInterrupt
        return concurrent.futures.wait(futures, timeout)

    monkeypatch.setattr("packager.registry.sending.wait", interrupted)
    monkeypatch.setattr("packager.registry.sending.GRACE", 0.1)
    monkeypatch.setattr(RegistryClient, "upload", hang)
    try:
        with pytest.raises(KeyboardInterrupt):
            push(registry, content, b"a", b"b")
        assert not go_on.is_set()
    finally:
        go_on.set()
    assert registry.count("PUT", "manifests") == 0


# --- authorization ---


def test_one_token_for_all_and_another_when_it_runs_out(
    registry: FakeRegistry, content: ContentStore, tmp_path: Path
) -> None:
    log_in(tmp_path, registry.address)
    registry.token = "first"

    class RunsOut(Heard):
        def advance(self, work: Work, count: int) -> None:
            registry.token = "second"

    with listening(RunsOut()):
        push(registry, content, BIG)
    assert registry.count("GET", "^/token") == 2
    assert all("s3cret" not in str(asked) for asked in registry.asked)


def test_no_login(registry: FakeRegistry, content: ContentStore) -> None:
    challenge = (("WWW-Authenticate", 'Basic realm="x"'),)
    registry.fail("HEAD", "", *[Fault(status=401, headers=challenge)] * 9)
    with pytest.raises(RegistryError) as caught:
        push(registry, content, b"one")
    assert f"docker login {registry.address}" in str(caught.value.remedy)


def test_a_location_without_tls_is_not_followed(content: ContentStore) -> None:
    at = RegistryClient(Reference.parse("registry.example.com/x"), push=True)
    with pytest.raises(RegistryError, match="without TLS"):
        at.session.absolute("http://elsewhere.example.com/upload")
    assert at.session.absolute("http://registry.example.com/u?x=1") == "https://registry.example.com/u?x=1"
    assert at.session.absolute("/u") == "https://registry.example.com/u"
    at.close()


def test_waiting_grows_and_is_not_the_same_for_all() -> None:
    assert [wait_before(attempt, jitter=lambda: 0.0) for attempt in (1, 2, 3, 4)] == [0.5, 1, 2, 4]
    assert wait_before(1, jitter=lambda: 1.0) == 0.75
    assert wait_before(1, "30", lambda: 0.0) == 30
    assert wait_before(1, "Wed, 21 Oct 2015 07:28:00 GMT", lambda: 0.0) == 0.5


# --- pulling ---


def download(registry: FakeRegistry, content: ContentStore, data: bytes = BIG, **options: Any) -> None:
    digest = registry.add("ml/x", data)
    blob = Descriptor(media_type=LAYER, digest=digest, size=len(data))
    with client(registry, push=False, **options) as at:
        at.download(blob, content)
    assert content.path(digest).read_bytes() == data


@pytest.mark.parametrize("ranges", [True, False])
def test_a_download_that_is_cut_continues(registry: FakeRegistry, content: ContentStore, ranges: bool) -> None:
    registry.ranges = ranges
    registry.fail("GET", "blobs", Fault(drop_after=1000), Fault(drop_after=2 * CHUNK))
    download(registry, content)
    assert registry.count("GET", "blobs") == 3


def test_a_download_that_is_there(registry: FakeRegistry, content: ContentStore) -> None:
    download(registry, content)
    download(registry, content)
    assert registry.count("GET", "blobs") == 1


def test_bytes_that_are_damaged_on_the_way_once(registry: FakeRegistry, content: ContentStore) -> None:
    registry.fail("GET", "blobs", Fault(body=b"?" * len(BIG)))
    download(registry, content)


def test_bytes_that_are_damaged_for_good(registry: FakeRegistry, content: ContentStore) -> None:
    registry.fail("GET", "blobs", *[Fault(body=b"?" * len(BIG))] * 2)
    with pytest.raises(RegistryError, match="sends other bytes"):
        download(registry, content)
    assert list(content.blobs.all()) == []
    assert list((content.root / "tmp").glob("*")) == []


@pytest.mark.parametrize("status", [403, 404, 500])
def test_a_blob_that_cannot_be_had(registry: FakeRegistry, content: ContentStore, status: int) -> None:
    registry.fail("GET", "blobs", *[Fault(status=status)] * 9)
    with pytest.raises(TemporaryError if status == 500 else RegistryError) as caught:
        download(registry, content)
    assert isinstance(caught.value, PackagerError)


def test_a_manifest_that_is_another(registry: FakeRegistry, content: ContentStore) -> None:
    wanted = digest_of(b"wanted")
    registry.manifests["ml/x", wanted] = (MANIFEST, b"{}")
    with client(registry, push=False) as at, pytest.raises(RegistryError, match="answers another manifest"):
        at.get_manifest(wanted)


@pytest.mark.parametrize("name", ["layout", "layout.tar"])
def test_a_damaged_blob_is_not_written_into_a_layout_and_is_fetched_again(
    registry: FakeRegistry, content: ContentStore, tmp_path: Path, name: str
) -> None:
    reference = f"{registry.address}/ml/x:1"
    push_images([image_of(content, bytes(100_000))], content, [reference])
    mine = ContentStore()
    pulled = pull_image(Reference.parse(reference), mine, {})
    write_layout(pulled, mine, tmp_path / f"good-{name}")
    blob = max((mine.path(each) for each in pulled.blobs), key=lambda path: path.stat().st_size)
    times, data = blob.stat(), blob.read_bytes()
    assert len(data) > 1 << 16, "a look reads small ones"

    def damage() -> None:
        blob.chmod(0o644)
        blob.write_bytes(b"X" + data[1:])
        blob.chmod(0o444)
        os.utime(blob, ns=(times.st_atime_ns, times.st_mtime_ns))

    damage()
    with pytest.raises(DamagedError, match="was damaged, and is removed"):
        write_layout(pulled, mine, tmp_path / name)
    assert not (tmp_path / name).exists()
    blob.write_bytes(b"")
    damage()
    heard: list[str] = []

    class Heard(Silent):
        def warn(self, text: str) -> None:
            heard.append(text)

    pull(reference, tmp_path / name, reporter=Heard())
    assert [each.rpartition("; ")[2] for each in heard] == ["it is fetched again"]
    assert _bytes_of(tmp_path / name) == _bytes_of(tmp_path / f"good-{name}")


def _bytes_of(path: Path) -> dict[str, bytes]:
    found = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    return {str(each.relative_to(path)): each.read_bytes() for each in found}


def test_a_pull_tells_each_blob_and_what_is_written(
    registry: FakeRegistry, content: ContentStore, tmp_path: Path
) -> None:
    image = image_of(content, b"one", b"two" * CHUNK)
    push_images([image], content, [f"{registry.address}/ml/x:1"], connect=Connect())
    mine, heard = ContentStore(tmp_path / "mine"), Heard()
    with listening(heard):
        pulled = pull_image(Reference.parse(f"{registry.address}/ml/x:1"), mine, {})
        write_layout(pulled, mine, tmp_path / "x")
    *blobs, written = heard.told
    expected = [*(layer.blob.digest for layer in image.layers), image.id]
    assert sorted(title for title, _, _ in blobs) == sorted(f"pulling {digest[7:19]}" for digest in expected)
    assert all(total == done for _, total, done in blobs)
    assert written == ("writing x", pulled.size, pulled.size)


def test_an_image_is_pulled_as_it_is(registry: FakeRegistry, content: ContentStore, tmp_path: Path) -> None:
    images = [image_of(content, b"one", platform=each) for each in ("linux/amd64", "linux/arm64")]
    (result,) = push_images(images, content, [f"{registry.address}/ml/x:1"], connect=Connect())
    reference = Reference.parse(f"{registry.address}/ml/x:1")
    mine = ContentStore(tmp_path / "mine")
    pulled = pull_image(reference, mine, {})
    assert (pulled.top.digest, len(pulled.blobs)) == (result.digest, 6)
    one = pull_image(reference, mine, {}, "linux/arm64")
    assert one.top.digest == images[1].digest
    for name in ("a", "b"):
        write_layout(pulled, mine, tmp_path / f"{name}.tar")
        write_layout(pulled, mine, tmp_path / name)
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
    assert (tmp_path / "a/blobs/sha256" / result.digest[7:]).is_file()
    with pytest.raises(ContextError, match="is there"):
        write_layout(one, mine, tmp_path / "a.tar")
    write_layout(one, mine, tmp_path / "a.tar", force=True)
    assert sorted(os.listdir(tmp_path / "a")) == ["blobs", "index.json", "oci-layout"]
