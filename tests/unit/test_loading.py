"""An engine is sent no layer that it has; where it turns out to have lost one, it is sent all."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from packager.builders.loading import load_into_engine
from packager.engine.api import LocalImage
from packager.errors import EngineError
from packager.oci.values import Image
from packager.storage.content import ContentStore
from tests.unit.oci_images import image_of


class Engine:
    """It has images by id → the digests of their layers' archives; what it was sent last is in `sent`."""

    def __init__(self, *, containerd: bool = False) -> None:
        self.has: dict[str, tuple[str, ...]] = {}
        self.sent: list[set[str]] = []
        self.containerd, self.lost = containerd, False
        self.images = SimpleNamespace(load=self.load, get=lambda reference: SimpleNamespace(id=self.last))

    def expect(self, image: Image) -> Image:
        self.last = image.digest if self.containerd else image.id
        self.layers = tuple(layer.diff_id for layer in image.layers)
        self.blobs = {layer.blob.digest.removeprefix("sha256:") for layer in image.layers}
        return image

    def load(self, blocks: Iterable[bytes]) -> list[Any]:
        with tarfile.open(fileobj=io.BytesIO(b"".join(blocks))) as archive:
            names = {Path(name).name for name in archive.getnames()}
        self.sent.append(names & self.blobs)
        if self.lost and names & self.blobs != self.blobs:
            raise EngineError("open …/blobs/sha256/…: no such file or directory")
        self.has[self.last] = self.layers
        return [SimpleNamespace(id=self.last)]

    def inspect(self, reference: str, **_: Any) -> LocalImage | None:
        if reference not in self.has:
            return None
        found = self.has[reference]
        return LocalImage(id=reference, platform="linux/amd64", size=1, repo_digests=(), labels={}, layers=found)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Engine:
    made = Engine()

    @contextmanager
    def connect() -> Iterator[Engine]:
        yield made

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("packager.engine.api.connect", connect)
    monkeypatch.setattr("packager.engine.api.inspect_local", made.inspect)
    return made


@pytest.fixture
def content(tmp_path: Path) -> ContentStore:
    return ContentStore(tmp_path / "content")


def load(engine: Engine, content: ContentStore, *layers: bytes) -> int:
    """Load an image; how many of its layers were sent at last."""
    image = engine.expect(image_of(content, *layers))
    assert load_into_engine(image, ("a:1",), content) == engine.last
    return len(engine.sent[-1])


def test_a_layer_that_is_there_is_not_sent_again(engine: Engine, content: ContentStore) -> None:
    assert load(engine, content, b"base", b"environment", b"app") == 3
    assert load(engine, content, b"base", b"environment", b"edited") == 1
    assert load(engine, content, b"base", b"other", b"edited") == 2, "a layer counts with all that is below it"
    assert load(engine, content, b"base", b"environment", b"app") == 0


def test_what_was_removed_is_sent_again(engine: Engine, content: ContentStore) -> None:
    load(engine, content, b"base", b"app")
    engine.has.clear()
    assert load(engine, content, b"base", b"edited") == 2


def test_an_engine_that_has_lost_a_layer_is_sent_all(engine: Engine, content: ContentStore) -> None:
    load(engine, content, b"base", b"app")
    engine.lost = True
    assert load(engine, content, b"base", b"edited") == 2
    assert [len(each) for each in engine.sent] == [2, 1, 2]


def test_an_image_of_the_id_with_other_layers_is_no_such_image(engine: Engine, content: ContentStore) -> None:
    load(engine, content, b"base", b"app")
    engine.has = dict.fromkeys(engine.has, ("sha256:other", "sha256:more"))
    assert load(engine, content, b"base", b"edited") == 2


def test_a_store_that_wants_every_blob_is_sent_every_blob(engine: Engine, content: ContentStore) -> None:
    engine.containerd = True
    assert load(engine, content, b"base", b"app") == 2
    assert load(engine, content, b"base", b"edited") == 2


def test_an_engine_that_refuses_all_says_so(
    engine: Engine, content: ContentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(engine, content, b"base", b"app")

    def full(blocks: Iterable[bytes]) -> list[Any]:
        raise EngineError("no space left on device")

    monkeypatch.setattr(engine.images, "load", full)
    with pytest.raises(EngineError, match="no space left"):
        load(engine, content, b"base", b"edited")
