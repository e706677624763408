"""Base images from a registry in this process, OCI layouts and `docker save` archives, good and bad."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard

from packager.builders.base import fetch_base
from packager.builders.base_option import resolve_base
from packager.builders.inspect import inspect_image
from packager.errors import ContextError, PackagerError, RegistryError, UsageError
from packager.handoff.context import require_no_archive
from packager.oci.archives import Archive
from packager.oci.parse import ImageIndex as Index
from packager.oci.parse import choose, normal, parse
from packager.oci.values import (
    DOCKER_LAYER_GZIP,
    DOCKER_MANIFEST,
    INDEX,
    LAYER,
    LAYER_GZIP,
    LAYER_ZSTD,
    MANIFEST,
    BaseImage,
    digest_of,
)
from packager.plan.plan import Base
from packager.storage.content import ContentStore
from tests.unit.oci_images import config_of, manifest_of, tar_of
from tests.unit.registry_fake import FakeRegistry, running

ONE, TWO = tar_of(**{"etc/one": b"1" * 5000}), tar_of(two=b"2")
PACKED = gzip.compress(ONE, mtime=0)
CONFIG = config_of(
    [digest_of(ONE), digest_of(TWO)],
    config={"User": "5", "Labels": {"a": "b"}, "Entrypoint": ["/x"], "ExposedPorts": {"80/tcp": {}}},
    history=[{"created_by": "ADD one"}, {"created_by": "ENV x", "empty_layer": True}, {"created_by": "ADD two"}],
)
IMAGE = manifest_of(CONFIG, (LAYER_GZIP, PACKED), (LAYER, TWO))
BLOBS = (CONFIG, PACKED, TWO)


@pytest.fixture(autouse=True)
def own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with running() as server:
        for blob in BLOBS:
            server.add("base", blob)
        yield server


@pytest.fixture
def content(tmp_path: Path) -> ContentStore:
    return ContentStore(tmp_path / "content")


def at_registry(registry: FakeRegistry, manifest: bytes, kind: str = MANIFEST) -> Base:
    digest = digest_of(manifest)
    registry.manifests["base", digest] = (kind, manifest)
    name = f"{registry.address}/base"
    return Base(reference=name, digest=digest, source=f"{name}@{digest}")


def index_of(*entries: tuple[bytes, str | None], **more: Any) -> bytes:
    manifests = []
    for manifest, platform in entries:
        entry: dict[str, Any] = {"mediaType": MANIFEST, "digest": digest_of(manifest), "size": len(manifest)}
        if platform is not None:
            os, architecture, *variant = platform.split("/")
            entry["platform"] = {"os": os, "architecture": architecture, "os.features": ["x"]}
            entry["platform"] |= {"variant": variant[0]} if variant else {}
        manifests.append(entry | more)
    return json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}).encode()


def layout(folder: Path, index: bytes, *blobs: bytes) -> Path:
    (folder / "blobs/sha256").mkdir(parents=True)
    (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (folder / "index.json").write_bytes(index)
    for blob in blobs:
        (folder / "blobs/sha256" / digest_of(blob)[7:]).write_bytes(blob)
    return folder


def docker_archive(path: Path, *, tags: tuple[str, ...] = ("me/base:1",), two: bytes = TWO, old: bool = False) -> Path:
    with tarfile.open(path, "w") as tar:

        def add(name: str, data: bytes) -> None:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))

        entry = {"Config": "c.json", "RepoTags": list(tags) or None, "Layers": ["a/layer.tar", "b/layer.tar"]}
        add("c.json", CONFIG)
        add("real/layer.tar", ONE)
        link = tarfile.TarInfo("a/layer.tar")
        link.type, link.linkname = tarfile.SYMTYPE, "../real/layer.tar"
        tar.addfile(link)
        add("b/layer.tar", two)
        add("manifest.json", json.dumps([entry]).encode())
    return path


def check(image: BaseImage, content: ContentStore) -> None:
    assert [layer.diff_id for layer in image.layers] == [digest_of(ONE), digest_of(TWO)]
    assert [layer.title for layer in image.layers] == ["ADD one", "ADD two"]
    assert all(content.has(layer.blob.digest, layer.blob.size) for layer in image.layers)


def refused(base: Base, content: ContentStore, platform: str = "linux/amd64") -> PackagerError:
    with pytest.raises((RegistryError, ContextError)) as caught:
        fetch_base(base, platform, content)
    return caught.value


# --- registries ---


def test_from_a_registry_once(registry: FakeRegistry, content: ContentStore) -> None:
    base = at_registry(registry, index_of((IMAGE, "linux/amd64"), (b"{}", "unknown/unknown")), INDEX)
    at_registry(registry, IMAGE)
    image = fetch_base(base, "linux/amd64", content)
    check(image, content)
    assert [layer.blob.media_type for layer in image.layers] == [LAYER_GZIP, LAYER]
    asked = len(registry.asked)
    assert fetch_base(base, "linux/amd64", content) == image
    assert len(registry.asked) == asked, "the second time nobody is asked"


def test_docker_s_media_types_become_oci_s(registry: FakeRegistry, content: ContentStore) -> None:
    config = config_of([digest_of(ONE)])
    registry.add("base", config)
    manifest = manifest_of(config, (DOCKER_LAYER_GZIP, PACKED), mediaType=DOCKER_MANIFEST)
    image = fetch_base(at_registry(registry, manifest, DOCKER_MANIFEST), "linux/amd64", content)
    assert [layer.blob.media_type for layer in image.layers] == [LAYER_GZIP]


def test_another_platform(registry: FakeRegistry, content: ContentStore) -> None:
    index = index_of((IMAGE, "linux/amd64"), (b"x", "linux/arm/v7"), (b"y", "unknown/unknown"))
    error = refused(at_registry(registry, index, INDEX), content, "linux/arm64")
    assert error.message.endswith("is not there for linux/arm64, only for linux/amd64, linux/arm/v7")
    error = refused(at_registry(registry, IMAGE), content, "linux/arm64")
    assert "only for linux/amd64" in error.message


FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        (b'{"schemaVersion": 1, "fsLayers": []}', "schema 1"),
        (manifest_of(CONFIG, (FOREIGN, PACKED), (LAYER, TWO)), "not at its registry"),
        (manifest_of(CONFIG, (LAYER.replace(".layer", ".layer.nondistributable"), PACKED)), "not at its registry"),
        (manifest_of(CONFIG, (f"{LAYER}+encrypted", PACKED)), "does not know"),
        (manifest_of(CONFIG, (LAYER, TWO)), "has 1 layers, and its configuration says 2"),
        (b'{"schemaVersion": 2}', "not an image"),
        (b"nonsense", "not valid"),
        (b"[" * 5000, "not valid"),
        (IMAGE.replace(digest_of(TWO).encode(), b"sha256:../../x"), "not valid"),
        (IMAGE.replace(b"image.config", b"helm.config"), "not an image"),
    ],
)
def test_what_is_no_image_for_us(registry: FakeRegistry, content: ContentStore, manifest: bytes, said: str) -> None:
    assert said in refused(at_registry(registry, manifest), content).message


def test_a_manifest_with_another_digest(registry: FakeRegistry, content: ContentStore) -> None:
    base = at_registry(registry, IMAGE)
    registry.manifests["base", base.digest] = (MANIFEST, IMAGE + b" ")
    assert "answers another manifest" in refused(base, content).message


def test_a_damaged_layer(registry: FakeRegistry, content: ContentStore) -> None:
    registry.blobs["base", digest_of(TWO)] = b"?" * len(TWO)
    assert "sends other bytes" in refused(at_registry(registry, IMAGE), content).message
    assert not content.has(digest_of(TWO))


def test_an_endless_index(registry: FakeRegistry, content: ContentStore) -> None:
    index = index_of((IMAGE, None))
    for _ in range(6):
        at_registry(registry, index, INDEX)
        index = index_of((index, None))
    assert "and so on" in refused(at_registry(registry, index, INDEX), content).message


@pytest.mark.parametrize(
    ("wanted", "found"),
    [("linux/arm64", "linux/arm64/v8"), ("linux/arm64/v8", "linux/arm64"), ("linux/arm", "linux/arm/v7"),
     ("linux/amd64", "linux/amd64"), ("linux/arm/v6", "linux/arm/v6"), ("linux/x86_64", "linux/amd64")],
)  # fmt: skip
def test_platforms_that_are_the_same(wanted: str, found: str) -> None:
    assert normal(wanted) == normal(found)
    index = parse(index_of((b"a", "linux/s390x"), (b"b", found)), "x")
    assert isinstance(index, Index)
    assert choose(index, wanted, "x").digest == digest_of(b"b")


@pytest.mark.parametrize(("wanted", "found"), [("linux/arm/v6", "linux/arm/v7"), ("linux/amd64", "linux/amd64/v3")])
def test_platforms_that_are_not(wanted: str, found: str) -> None:
    assert normal(wanted) != normal(found)


# --- archives ---


def packed(path: Path, how: str) -> Path:
    data = path.read_bytes()
    target = path.with_name(f"{path.name}.{how}")
    if how == "gz":
        target.write_bytes(gzip.compress(data))
    elif how == "zst":
        target.write_bytes(zstandard.compress(data))
    else:
        return path
    return target


@pytest.mark.parametrize("how", ["", "gz", "zst"])
def test_a_docker_save_archive(tmp_path: Path, content: ContentStore, how: str) -> None:
    path = packed(docker_archive(tmp_path / "save.tar"), how)
    base = resolve_base(f"docker-archive:{path}", {})
    assert (base.reference, base.digest, base.archived) == ("me/base:1", digest_of(CONFIG), True)
    image = fetch_base(base, "linux/amd64", content)
    check(image, content)
    assert gzip.decompress(content.path(image.layers[0].blob.digest).read_bytes()) == ONE
    path.unlink()
    assert fetch_base(base, "linux/amd64", content) == image, "the second time the file is not read"


@pytest.mark.parametrize("how", ["folder", "tar", "tar.zst"])
def test_an_oci_layout(tmp_path: Path, content: ContentStore, how: str) -> None:
    annotations = {"org.opencontainers.image.ref.name": "1.0"}
    folder = layout(tmp_path / "a:b", index_of((IMAGE, None), annotations=annotations), IMAGE, *BLOBS)
    text = f"oci:{folder}"
    if how != "folder":
        with tarfile.open(tmp_path / "l.tar", "w") as tar:
            tar.add(folder, ".")
        text = f"oci-archive:{packed(tmp_path / 'l.tar', how[4:])}"
    for suffix in ("", ":1.0"):
        base = resolve_base(text + suffix, {})
        assert base.digest == digest_of(IMAGE)
        check(fetch_base(base, "linux/amd64", content), content)
    assert str(tmp_path) not in base.reference, "where a folder is must not be in an image"
    with pytest.raises(ContextError, match=r"no image 'no': 1\.0"):
        resolve_base(f"{text}:no", {})


def test_a_layout_of_several_platforms_side_by_side(tmp_path: Path, content: ContentStore) -> None:
    index = index_of((IMAGE, "linux/amd64"), (b"{}", "linux/arm64"))
    base = resolve_base(f"oci:{layout(tmp_path / 'l', index, IMAGE, *BLOBS)}", {})
    check(fetch_base(base, "linux/amd64", content), content)


@pytest.mark.parametrize("blob", range(3))
def test_a_damaged_layout(tmp_path: Path, content: ContentStore, blob: int) -> None:
    folder = layout(tmp_path / "l", index_of((IMAGE, None)), IMAGE, *BLOBS)
    base = resolve_base(f"oci:{folder}", {})
    path = folder / "blobs/sha256" / digest_of(BLOBS[blob])[7:]
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    refused(base, content)
    path.unlink()
    refused(base, content)


@pytest.mark.parametrize("kind", [LAYER_GZIP, LAYER_ZSTD, LAYER])
def test_a_layout_whose_layer_is_not_its_diff_id(tmp_path: Path, content: ContentStore, kind: str) -> None:
    config = config_of([digest_of(b"other")])
    data = {LAYER_GZIP: PACKED, LAYER_ZSTD: zstandard.compress(ONE), LAYER: ONE}[kind]
    image = manifest_of(config, (kind, data))
    base = resolve_base(f"oci:{layout(tmp_path / 'l', index_of((image, None)), image, config, data)}", {})
    assert "as its configuration says" in refused(base, content).message


def test_a_docker_archive_whose_layer_is_not_its_diff_id(tmp_path: Path, content: ContentStore) -> None:
    base = resolve_base(f"docker-archive:{docker_archive(tmp_path / 'x.tar', two=ONE)}", {})
    assert "its configuration says" in refused(base, content).message
    assert "is damaged" in refused(base, content).message, "also the second time"


def test_an_archive_that_was_written_again(tmp_path: Path, content: ContentStore) -> None:
    base = Base(reference="x", digest=digest_of(b"then"), source=f"docker-archive:{docker_archive(tmp_path / 'x.tar')}")
    assert "another image by now" in refused(base, content).message
    folder = layout(tmp_path / "l", index_of((IMAGE, None)), IMAGE, *BLOBS)
    base = Base(reference="x", digest=digest_of(b"then"), source=f"oci:{folder}")
    assert "another image by now" in refused(base, content).message


@pytest.mark.parametrize("how", ["", "gz", "zst"])
@pytest.mark.parametrize("share", [0.3, 0.5])
def test_a_cut_archive(tmp_path: Path, content: ContentStore, how: str, share: float) -> None:
    path = packed(docker_archive(tmp_path / "x.tar"), how)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(ContextError):
        fetch_base(resolve_base(f"docker-archive:{path}", {}), "linux/amd64", content)


@pytest.mark.parametrize("kind", ["oci", "oci-archive", "docker-archive"])
def test_an_archive_that_is_missing(tmp_path: Path, kind: str) -> None:
    with pytest.raises(ContextError):
        resolve_base(f"{kind}:{tmp_path}/no", {})
    with pytest.raises(UsageError):
        resolve_base(f"{kind}:", {})


def test_buildkit_cannot_build_on_an_archive(tmp_path: Path) -> None:
    require_no_archive(Base(reference="oci:1", digest="", source="oci:1", local=True))
    with pytest.raises(UsageError, match="BuildKit cannot build"):
        require_no_archive(Base(reference="x", digest="", source="oci:x"))


def test_archives_by_their_looks(tmp_path: Path) -> None:
    folder = layout(tmp_path / "l", index_of((IMAGE, None)), IMAGE, *BLOBS)
    assert Archive.at(folder).kind == "oci"
    assert Archive.at(docker_archive(tmp_path / "x.tar")).kind == "docker-archive"
    assert Archive.parse("python:3.13") is None
    (tmp_path / "y.tar").write_bytes(b"")
    with pytest.raises(ContextError):
        Archive.at(tmp_path / "y.tar")


# --- inspection ---


def test_inspect_says_what_is_in_the_layers(tmp_path: Path, registry: FakeRegistry, content: ContentStore) -> None:
    index = index_of((IMAGE, "linux/amd64"))
    folder = layout(tmp_path / "l", index_of((IMAGE, None)), IMAGE, *BLOBS)
    base = at_registry(registry, index, INDEX)
    at_registry(registry, IMAGE)
    for text in (base.source, str(folder), f"oci:{folder}", str(docker_archive(tmp_path / "x.tar"))):
        before = registry.count("GET", "blobs")
        (view,) = inspect_image(text, ContentStore(tmp_path / text[-8:]), {}).images
        assert registry.count("GET", "blobs") - before <= 1, "no layer is pulled for this"
        assert (view.platform, view.user, view.labels, view.ports) == ("linux/amd64", "5", {"a": "b"}, ("80/tcp",))
        assert [layer.title for layer in view.layers] == ["ADD one", "ADD two"]
        assert [layer.files for layer in view.layers] == [None, None]
        (view,) = inspect_image(text, content, {}, files=True).images
        files = [[(file.path, file.size) for file in layer.files or ()] for layer in view.layers]
        assert files == [[("etc/one", 5000)], [("two", 1)]]
    with pytest.raises(RegistryError, match=r"only for linux/amd64"):
        inspect_image(base.source, content, {}, platform="linux/arm64")
