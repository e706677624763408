"""Images as folders and archives: whole or not at all, the same bytes, and never over something else."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from packager.builders import oci as builder
from packager.builders.outputs import OciOutput, Sent, buildx_output, parse_output, takes_several
from packager.contract import MTIME
from packager.errors import ContextError, RegistryError, UsageError
from packager.oci.compose import make_image
from packager.oci.outputs import write_docker_archive, write_layout, write_oci_archive
from packager.oci.values import LAYER, BaseImage, Content, Descriptor, Image, Layer, digest_of
from packager.storage.blobs import DamagedError
from packager.storage.content import ContentStore
from tests.unit.oci_images import image_of
from tests.unit.plans import example_plan
from tests.unit.test_store import flip

REFERENCES = ("registry.example.com/ml/diabetes:1", "diabetes")


@pytest.fixture
def content(tmp_path: Path) -> ContentStore:
    return ContentStore(tmp_path / "content")


def image(content: ContentStore, platform: str = "linux/amd64") -> Image:
    layers = []
    for data in (b"base", platform.encode()):
        digest = content.put_bytes(data)
        blob = Descriptor(media_type=LAYER, digest=digest, size=len(data))
        layers.append(Layer(blob=blob, diff_id=digest, title=data.decode()))
    system, architecture = platform.split("/")
    base = BaseImage(config={"os": system, "architecture": architecture}, layers=(layers[0],))
    plan = msgspec.structs.replace(example_plan(), platform=platform)
    return make_image(plan, base, layers[1:], {}, 0, content)


def blob(folder: Path, digest: str) -> bytes:
    return (folder / "blobs/sha256" / digest.removeprefix("sha256:")).read_bytes()


def test_a_layout_is_complete(tmp_path: Path, content: ContentStore) -> None:
    made = image(content)
    assert write_layout([made], REFERENCES, tmp_path / "new/layout", content) == tmp_path / "new/layout"
    folder = tmp_path / "new/layout"
    assert json.loads((folder / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    found = json.loads((folder / "index.json").read_text())["manifests"]
    assert [each["digest"] for each in found] == [made.digest] * 2
    assert [each["annotations"] for each in found] == [
        {"io.containerd.image.name": "registry.example.com/ml/diabetes:1", "org.opencontainers.image.ref.name": "1"},
        {
            "io.containerd.image.name": "docker.io/library/diabetes:latest",
            "org.opencontainers.image.ref.name": "latest",
        },
    ]
    names = {path.name for path in (folder / "blobs/sha256").iterdir()}
    digests = {made.digest, made.id, *(each.blob.digest for each in made.layers)}
    assert names == {each.removeprefix("sha256:") for each in digests}
    for digest in digests:
        assert digest_of(blob(folder, digest)) == digest
    layer = made.layers[0].blob.digest
    assert (folder / "blobs/sha256" / layer[7:]).stat().st_ino == content.path(layer).stat().st_ino


def test_several_platforms_have_an_index(tmp_path: Path, content: ContentStore) -> None:
    images = [image(content), image(content, "linux/arm64")]
    folder = write_layout(images, (), tmp_path / "layout", content)
    (entry,) = json.loads((folder / "index.json").read_text())["manifests"]
    inner = json.loads(blob(folder, entry["digest"]))
    assert [each["digest"] for each in inner["manifests"]] == [each.digest for each in images]
    assert "annotations" not in entry


def test_a_layout_is_replaced_and_nothing_else_is(tmp_path: Path, content: ContentStore) -> None:
    folder = tmp_path / "layout"
    folder.mkdir()  # an empty one is fine
    write_layout([image(content, "linux/arm64")], (), folder, content)
    write_layout([image(content)], (), folder, content)
    assert len(list((folder / "blobs/sha256").iterdir())) == 4
    for name, make in (
        ("files", lambda path: (path.mkdir(), (path / "mine").touch())),
        ("mixed", lambda path: (path.mkdir(), (path / "oci-layout").touch(), (path / "mine").touch())),
        ("bare", lambda path: (path.mkdir(), (path / "blobs").mkdir())),
        ("file", lambda path: path.touch()),
        ("link", lambda path: path.symlink_to(folder)),
    ):
        make(tmp_path / name)
        with pytest.raises(ContextError, match="is there and"):
            write_layout([image(content)], (), tmp_path / name, content)
    names = {"content", "content.lock", "layout", "files", "mixed", "bare", "file", "link"}
    assert {path.name for path in tmp_path.iterdir()} == names


def test_a_missing_layer_leaves_nothing(tmp_path: Path, content: ContentStore) -> None:
    made = image(content)
    content.path(made.layers[1].blob.digest).unlink()
    for write in (write_layout, write_oci_archive):
        with pytest.raises(ContextError, match="not in the store"):
            write([made], (), tmp_path / "out", content)
    with pytest.raises(ContextError, match="not in the store"):
        write_docker_archive(made, (), tmp_path / "out", content)
    assert {path.name for path in tmp_path.iterdir()} == {"content", "content.lock"}


def test_archives_are_the_same_every_time(tmp_path: Path, content: ContentStore) -> None:
    made = image(content)
    first = write_oci_archive([made], REFERENCES, tmp_path / "a.tar", content).read_bytes()
    assert write_oci_archive([made], REFERENCES, tmp_path / "sub/b.tar", content).read_bytes() == first
    assert (tmp_path / "a.tar").stat().st_mode & 0o777 == 0o644
    with tarfile.open(tmp_path / "a.tar") as archive:
        assert {each.mtime for each in archive.getmembers()} == {MTIME}
        assert {"oci-layout", "index.json", "blobs/sha256"} <= set(archive.getnames())
        assert "manifest.json" not in archive.getnames()


def test_an_archive_for_docker(tmp_path: Path, content: ContentStore) -> None:
    made = image(content)
    write_docker_archive(made, (*REFERENCES, "docker.io/me/x:2"), tmp_path / "a.tar", content)
    with tarfile.open(tmp_path / "a.tar") as archive:
        stream = archive.extractfile("manifest.json")
        assert stream is not None
        (found,) = json.load(stream)
        names = archive.getnames()
    assert found["RepoTags"] == ["registry.example.com/ml/diabetes:1", "diabetes:latest", "me/x:2"]
    assert found["Config"] == f"blobs/sha256/{made.id[7:]}"
    assert found["Layers"] == [f"blobs/sha256/{each.blob.digest[7:]}" for each in made.layers]
    assert {found["Config"], *found["Layers"]} <= set(names)


def test_a_folder_is_no_archive(tmp_path: Path, content: ContentStore) -> None:
    with pytest.raises(ContextError, match="not a file"):
        write_oci_archive([image(content)], (), tmp_path, content)


def test_a_name_with_a_digest_is_refused(tmp_path: Path, content: ContentStore) -> None:
    made = image(content)
    with pytest.raises(UsageError, match="names a digest"):
        write_oci_archive([made], (f"a/b@{made.digest}",), tmp_path / "a.tar", content)


def test_the_store_is_a_content(content: ContentStore) -> None:
    store: Content = content
    assert not store.has(digest_of(b"nothing"))


def test_a_failed_exchange_keeps_what_was_there(
    tmp_path: Path, content: ContentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_layout([image(content)], (), tmp_path / "layout", content)
    before = (folder / "index.json").read_bytes()
    rename = Path.rename

    def fails_once(self: Path, target: Path) -> Path:
        if self.name == "layout" and target == folder:
            raise OSError(5, "I/O error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fails_once)
    with pytest.raises(ContextError, match="cannot be written"):
        write_layout([image(content, "linux/arm64")], (), folder, content)
    assert (folder / "index.json").read_bytes() == before


def test_blobs_are_copied_where_no_link_can_be(
    tmp_path: Path, content: ContentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(18, "cross-device link")

    made = image(content)
    monkeypatch.setattr("os.link", refuse)
    folder = write_layout([made], (), tmp_path / "layout", content)
    assert blob(folder, made.layers[0].blob.digest) == b"base"


@pytest.mark.parametrize(
    ("push", "outputs", "several"),
    [
        (True, (), True),
        (False, (), False),
        (False, ("type=oci,dest=layout",), True),
        (True, ("type=oci,dest=layout.tar",), True),
        (True, ("type=docker,dest=image.tar",), False),
        (True, ("type=local,dest=files",), False),
        (False, ("layout",), True),
        (False, ("./out/layout.tar",), True),
    ],
)
def test_where_several_platforms_have_a_place(push: bool, outputs: tuple[str, ...], several: bool) -> None:
    assert takes_several(push, outputs) is several


@pytest.mark.parametrize(
    ("text", "place", "buildx"),
    [
        ("layout", OciOutput(Path("layout")), "type=oci,tar=false,dest=layout"),
        ("a/b.tar", OciOutput(Path("a/b.tar")), "type=oci,dest=a/b.tar"),
        ("type=oci,dest=b.tar", OciOutput(Path("b.tar")), "type=oci,dest=b.tar"),
        ("type=local,dest=b", None, "type=local,dest=b"),
        ("-", None, "-"),
    ],
)
def test_a_path_is_a_layout_for_both_builders(text: str, place: OciOutput | None, buildx: str) -> None:
    assert parse_output(text) == place
    assert buildx_output(text) == buildx


# --- damage -----------------------------------------------------------------------------------------------------------


def large(content: ContentStore) -> Image:
    return image_of(content, bytes(100_000), bytes(200_000))


def test_a_layout_that_is_there_already_stays(tmp_path: Path, content: ContentStore) -> None:
    made, folder = large(content), tmp_path / "layout"
    for _ in range(2):
        write_layout([made], REFERENCES, folder, content)
    before = folder.stat().st_ino
    write_layout([made], REFERENCES, folder, content)
    assert folder.stat().st_ino == before
    write_layout([made], REFERENCES[:1], folder, content)
    assert folder.stat().st_ino != before


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "blobs/sha256/more").touch(),
        lambda folder: (folder / "oci-layout").chmod(0o600),
        lambda folder: (folder / "index.json").write_bytes((folder / "index.json").read_bytes().replace(b"a", b"b")),
        lambda folder: (folder / "blobs").chmod(0o700),
        lambda folder: max((folder / "blobs/sha256").iterdir(), key=lambda each: each.stat().st_size).unlink(),
    ],
)
def test_a_layout_that_was_touched_is_written_again(tmp_path: Path, content: ContentStore, change: Any) -> None:
    made, folder = large(content), tmp_path / "layout"
    write_layout([made], REFERENCES, folder, content)
    change(folder)
    touched = folder.stat().st_ino
    write_layout([made], REFERENCES, folder, content)
    assert folder.stat().st_ino != touched
    assert sorted(path.name for path in folder.iterdir()) == ["blobs", "index.json", "oci-layout"]


def test_a_layer_that_was_damaged_in_a_layout_is_found(tmp_path: Path, content: ContentStore) -> None:
    """It is the store's own file: bytes that changed while the time of change did not."""
    made, folder = large(content), tmp_path / "layout"
    write_layout([made], REFERENCES, folder, content)
    flip(content.path(made.layers[1].blob.digest))
    with pytest.raises(DamagedError, match="was damaged, and is removed"):
        write_layout([made], REFERENCES, folder, content)


@pytest.mark.parametrize("write", [write_layout, write_oci_archive, None])
def test_a_damaged_layer_is_removed_and_not_shipped(tmp_path: Path, content: ContentStore, write: Any) -> None:
    made = large(content)
    write = write or (lambda images, *rest: write_docker_archive(images[0], *rest))
    path = content.path(made.layers[1].blob.digest)
    flip(path)
    with pytest.raises(DamagedError, match="was damaged, and is removed"):
        write([made], REFERENCES, tmp_path / "out", content)
    assert not (tmp_path / "out").exists()
    assert not path.exists()
    write([large(content)], REFERENCES, tmp_path / "out", content)


class Place:
    """An output that ships what is in the store, as archives do, or sends it on, as a registry gets it."""

    takes_several = True

    def __init__(self, folder: Path, registry: bool) -> None:
        self.folder, self.registry = folder, registry

    def send(self, images: Any, references: Any, content: Any, say: Any) -> Sent:
        if self.registry:
            for layer in images[0].layers:
                if digest_of(content.path(layer.blob.digest).read_bytes()) != layer.blob.digest:
                    raise RegistryError("DIGEST_INVALID: provided digest did not match")
        else:
            write_oci_archive(images, references, self.folder / "out", content)
        return Sent(pushed=self.registry)


@pytest.mark.parametrize("registry", [False, True])
def test_a_build_makes_damaged_layers_again_and_says_so(
    tmp_path: Path, content: ContentStore, registry: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = list[str]()
    monkeypatch.setattr(builder, "write_image", lambda *_, **__: builder.Written(image=large(content), seconds={}))
    recipes = builder.Recipes(compression="gzip")
    place: Any = Place(tmp_path, registry)
    tested = builder.OciBuilder(
        content, recipes, lambda _: (place,), labels={}, created=0, mirrors={}, say=said.append
    )  # fmt: skip
    job: Any = SimpleNamespace(planned=(SimpleNamespace(plan=example_plan()),), references=REFERENCES, target="cpu")
    first = tested.build([job])
    for layer in large(content).layers:
        flip(content.path(layer.blob.digest))
    assert tested.build([job])[0].digest == first[0].digest
    assert len(said) == 2
    assert all("was damaged, and is removed; it is made again" in each for each in said)


def test_another_error_of_a_registry_reads_nothing_again(tmp_path: Path, content: ContentStore) -> None:
    recipes = builder.Recipes(compression="gzip")
    tested = builder.OciBuilder(content, recipes, lambda _: (), labels={}, created=0, mirrors={}, say=print)

    def refuse() -> None:
        raise RegistryError("unauthorized")

    with pytest.raises(RegistryError, match="unauthorized"):
        tested._healed((), refuse)
