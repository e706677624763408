"""Pushing and pulling without an engine: a real registry, a proxy before it that injects faults, and other tools."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from packager.builders.base import fetch_base
from packager.builders.base_option import resolve_base
from packager.errors import RegistryError, TemporaryError
from packager.oci.values import Image
from packager.reference import Reference
from packager.registry.client import RegistryClient
from packager.registry.push import push_images
from packager.storage.content import ContentStore
from tests.integration.conftest import Engine, Registry, missing
from tests.integration.fault_proxy import Fault, FaultProxy, fault_proxy
from tests.unit.oci_images import image_of, tar_of

MB = 1_000_000
CHUNK = 32 << 20


@pytest.fixture
def proxy(registry: Registry) -> Iterator[FaultProxy]:
    with fault_proxy(registry.address) as running:
        yield running


@pytest.fixture(autouse=True)
def logged_in(registry: Registry, proxy: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Docker configuration of the test's own, good for the registry and the proxy before it."""
    auth = {"auth": base64.b64encode(f"{registry.user}:{registry.password}".encode()).decode()}
    folder = tmp_path / "docker"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"auths": {registry.address: auth, proxy.address: auth}}))
    plugins = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker") / "cli-plugins"
    if plugins.is_dir():
        (folder / "cli-plugins").symlink_to(plugins)
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder


@pytest.fixture
def content() -> ContentStore:
    return ContentStore()


@pytest.fixture
def repository() -> str:
    return f"packager-test/{uuid.uuid4().hex[:8]}"


def blobs_at(registry: Registry, repository: str, image: Image) -> int:
    """How many of an image's blobs a repository has."""
    found = 0
    for digest in (image.id, *(layer.blob.digest for layer in image.layers)):
        url = f"http://{registry.address}/v2/{repository}/blobs/{digest}"
        found += requests.head(url, auth=(registry.user, registry.password), timeout=10).ok
    return found


@pytest.fixture
def large(content: ContentStore) -> Image:
    return image_of(content, os.urandom(1 * MB) * 100)


def test_a_push_counts_and_an_edit_sends_the_edit_alone(
    registry: Registry, content: ContentStore, repository: str
) -> None:
    reference = f"{registry.address}/{repository}:1"
    model = os.urandom(2 * MB)
    first, edited = (image_of(content, model, tar_of(app=text)) for text in (b"print(1)", b"print(2)"))
    assert blobs_at(registry, repository, first) == 0
    (result,) = push_images([first], content, [reference, f"{registry.address}/{repository}:latest"])
    assert len(result.uploaded) == blobs_at(registry, repository, first) == 3
    assert blobs_at(registry, repository, edited) == 1
    (result,) = push_images([edited], content, [reference])
    assert (len(result.uploaded), len(result.present)) == (2, 1)
    assert result.bytes_sent < 12_000
    assert result.digest == edited.digest


def test_a_large_push_that_is_cut_continues(
    registry: Registry, proxy: FaultProxy, content: ContentStore, repository: str, large: Image
) -> None:
    proxy.buffered = True
    proxy.fail("PATCH", "", Fault(), Fault(cut_request=10 * MB), Fault(status=503))
    (result,) = push_images([large], content, [f"{proxy.address}/{repository}:1"])
    assert blobs_at(registry, repository, large) == 2
    # What was cut and the chunk that got 503 go again, and nothing else but what stood in the sockets' buffers.
    assert result.bytes_sent <= 100 * MB + 10 * MB + CHUNK + 8 * MB
    assert proxy.count("POST", "uploads") == 2


def test_a_registry_that_gives_a_cut_upload_up(
    registry: Registry, proxy: FaultProxy, content: ContentStore, repository: str, large: Image
) -> None:
    # Without a buffer in between, the reference implementation has half a chunk, and knows the upload no more.
    proxy.fail("PATCH", "", Fault(), Fault(cut_request=10 * MB))
    push_images([large], content, [f"{proxy.address}/{repository}:1"])
    assert blobs_at(registry, repository, large) == 2


def test_answers_that_get_lost(
    registry: Registry, proxy: FaultProxy, content: ContentStore, repository: str, large: Image
) -> None:
    proxy.fail("PUT", "uploads", Fault(lose_answer=True), Fault(lose_answer=True))
    proxy.fail("PUT", "manifests", Fault(lose_answer=True))
    proxy.fail("POST", "uploads", Fault(lose_answer=True))
    (result,) = push_images([large], content, [f"{proxy.address}/{repository}:1"])
    assert blobs_at(registry, repository, large) == 2
    assert result.bytes_sent < 101 * MB


PUSH = """
import sys
from pathlib import Path
from packager.oci.values import Descriptor, LAYER
from packager.registry.client import RegistryClient
from packager.storage.content import ContentStore
from packager.reference import Reference
content = ContentStore()
blob = Descriptor(media_type=LAYER, digest=sys.argv[2], size=int(sys.argv[3]))
with RegistryClient(Reference.parse(sys.argv[1]), push=True) as client:
    client.upload(blob, content.path(blob.digest))
"""


def test_a_killed_push_is_continued_by_the_next(
    registry: Registry, proxy: FaultProxy, content: ContentStore, repository: str, large: Image
) -> None:
    blob = large.layers[0].blob
    command = [sys.executable, "-c", PUSH, f"{proxy.address}/{repository}:1", blob.digest, str(blob.size)]
    proxy.buffered = True
    proxy.fail("PUT", "uploads", Fault(delay=30))
    with subprocess.Popen(command) as run:
        limit = time.monotonic() + 30
        while not proxy.count("PUT") and time.monotonic() < limit:
            time.sleep(0.01)
        run.send_signal(signal.SIGKILL)
    assert (proxy.count("PATCH"), proxy.count("PUT")) == (2, 1)
    sent, begun = proxy.received, proxy.count("POST", "uploads")
    subprocess.run(command, check=True)
    assert proxy.received - sent == 100 * MB - 2 * CHUNK, "two chunks are not sent again"
    assert proxy.count("POST", "uploads") == begun


def test_a_registry_in_trouble_for_long(proxy: FaultProxy, content: ContentStore, repository: str) -> None:
    proxy.fail("HEAD", "", *[Fault(status=503)] * 5)
    with pytest.raises(TemporaryError) as caught:
        push_images([image_of(content, b"x")], content, [f"{proxy.address}/{repository}:1"])
    assert caught.value.exit_code == 75


def test_a_wrong_password(registry: Registry, content: ContentStore, logged_in: Path, repository: str) -> None:
    auth = {"auth": base64.b64encode(f"{registry.user}:wrong".encode()).decode()}
    (logged_in / "config.json").write_text(json.dumps({"auths": {registry.address: auth}}))
    with pytest.raises(RegistryError) as caught:
        push_images([image_of(content, b"x")], content, [f"{registry.address}/{repository}:1"])
    assert f"docker login {registry.address}" in str(caught.value)
    assert "wrong" not in str(caught.value)


def test_a_download_that_is_cut_continues(
    registry: Registry, proxy: FaultProxy, content: ContentStore, repository: str, large: Image, tmp_path: Path
) -> None:
    push_images([large], content, [f"{registry.address}/{repository}:1"])
    proxy.fail("GET", "blobs", Fault(cut_answer=30 * MB), Fault(status=500), Fault(cut_answer=1_234_567))
    mine = ContentStore(tmp_path / "mine")
    with RegistryClient(Reference.parse(f"{proxy.address}/{repository}:1")) as client:
        assert client.get_manifest().data == large.manifest
        client.download(large.layers[0].blob, mine)
    assert mine.has(large.layers[0].blob.digest)
    assert proxy.count("GET", "blobs") == 4


def test_a_mount_needs_no_bytes(registry: Registry, content: ContentStore, repository: str) -> None:
    image = image_of(content, os.urandom(MB), b"app")
    push_images([image], content, [f"{registry.address}/{repository}/a:1"])
    base = image.layers[0].blob.digest
    (result,) = push_images(
        [image], content, [f"{registry.address}/{repository}/b:1"], mount_from={base: f"{repository}/a"}
    )
    assert [blob.digest for blob in result.mounted] == [base]
    assert result.bytes_sent < 10_000


def test_other_tools_read_what_was_pushed(
    engine: Engine, registry: Registry, content: ContentStore, repository: str, logged_in: Path
) -> None:
    images = [image_of(content, tar_of(app=b"x"), platform=each) for each in ("linux/amd64", "linux/arm64")]
    reference = f"{registry.address}/{repository}:1"
    (result,) = push_images(images, content, [reference])
    said = subprocess.run(
        ["docker", "buildx", "imagetools", "inspect", reference], check=True, capture_output=True, text=True
    ).stdout
    assert result.digest in said
    assert "linux/arm64" in said
    if shutil.which("skopeo") is None:
        missing("there is no skopeo (run ./scripts/engine)")
    command = ["skopeo", "inspect", "--tls-verify=false", "--authfile", str(logged_in / "config.json")]
    said = subprocess.run([*command, f"docker://{reference}"], check=True, capture_output=True, text=True).stdout
    assert json.loads(said)["Layers"] == [images[0].layers[0].blob.digest]
    assert json.loads(said)["Digest"] == result.digest


def test_a_base_is_the_same_wherever_it_comes_from(
    engine: Engine, registry: Registry, base_image: str, repository: str, content: ContentStore, tmp_path: Path
) -> None:
    save, folder, reference = tmp_path / "save.tar", tmp_path / "layout", f"{registry.address}/{repository}:1"
    subprocess.run(["docker", "save", "-o", str(save), base_image], check=True)
    subprocess.run(["docker", "tag", base_image, reference], check=True)
    try:
        subprocess.run(["docker", "push", "-q", reference], check=True, stdout=subprocess.DEVNULL)
    finally:
        subprocess.run(["docker", "rmi", reference], check=True, stdout=subprocess.DEVNULL)
    texts = [base_image, f"docker-archive:{save}", reference]
    if shutil.which("skopeo"):
        subprocess.run(["skopeo", "copy", "-q", f"docker-archive:{save}", f"oci:{folder}"], check=True)
        texts.append(f"oci:{folder}")
    images = []
    for number, text in enumerate(texts):
        own = ContentStore(tmp_path / str(number))
        images.append(fetch_base(resolve_base(text, {}), "linux/amd64", own))
        assert all(own.has(layer.blob.digest, layer.blob.size) for layer in images[-1].layers)
    assert len({tuple(layer.diff_id for layer in image.layers) for image in images}) == 1
    assert all(image.config["rootfs"] == images[0].config["rootfs"] for image in images)
    assert images[0].layers == images[1].layers, "the engine gives what it saves"
