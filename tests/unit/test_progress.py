"""Work is told by whoever does it, and heard by whoever listens."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from packager.context.sources import scan_sources
from packager.context.verify import verify
from packager.oci.archives import Archive
from packager.oci.layers import write_layer
from packager.oci.outputs import write_oci_archive
from packager.oci.tar import Entry
from packager.progress import count_read, in_thread, is_heard, listening, reading, working
from packager.registry.origins import LayoutOrigin
from packager.spec import load_spec
from packager.storage.content import ContentStore
from packager.storage.models import Store
from packager.storage.reading import BLOCK, digest_file
from tests.unit.heard import Heard
from tests.unit.oci_images import image_of


def test_nobody_hears_what_nobody_asked_for() -> None:
    heard = Heard()
    with working("a", 3) as advance, reading("b", 3) as reached:
        assert not is_heard()
        advance(1)
        reached(2)
        count_read(1)
    with listening(heard):
        assert is_heard()
    with listening(heard), listening(None), working("silent"):
        pass
    assert (heard.told, is_heard()) == ([], False)


def test_work_is_heard_to_its_end_whatever_the_end() -> None:
    heard = Heard()
    with listening(heard):
        with working("well", 3) as advance:
            advance(1)
            advance(2)
        with suppress(ValueError), working("not well") as advance:
            advance(5)
            raise ValueError
    assert heard.told == [("well", 3, 3), ("not well", None, 5)]
    assert not heard.running


def test_work_of_a_pool_is_heard_where_it_is_told_so() -> None:
    heard = Heard()

    def work(title: str) -> None:
        with working(title, 1) as advance:
            advance(1)

    with listening(heard), ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(in_thread(work), str(number)) for number in range(20)]:
            done.result()
        pool.submit(work, "of somebody else").result()
    assert sorted(heard.titles, key=int) == [str(number) for number in range(20)]


def test_what_is_read_counts_once(tmp_path: Path) -> None:
    """Large files tell each block; what is small or remembered is told by where the work has come to."""
    sizes = (3 * BLOCK + 5, 10)
    heard = Heard()
    with listening(heard), reading("files", sum(sizes)) as reached:
        come = 0
        for number, size in enumerate(sizes):
            path = tmp_path / str(number)
            path.write_bytes(os.urandom(size))
            digest_file(path)
            if not number:
                assert list(heard.running.values()) == [size]
            come += size
            reached(come)
    assert heard.told == [("files", sum(sizes), sum(sizes))]


@pytest.mark.parametrize("names", [("model.bin",), ("model/a.bin", "model/sub/b.bin")])
@pytest.mark.parametrize("how", ["digest", "add"])
def test_the_bytes_of_a_model_are_told_whether_they_are_read_or_remembered(
    tmp_path: Path, names: Sequence[str], how: str
) -> None:
    spec = "name: m\nversion: '1'\nentry_script: score.py\nenvironment: requirements.txt\nsource_dir: src\n"
    model = names[0].partition("/")[0]
    (tmp_path / "packager.yaml").write_text(f"{spec}models: [{{name: weights, path: {model}}}]\n")
    (tmp_path / "src").mkdir()
    (tmp_path / "src/score.py").write_text("def init(): ...\n")
    (tmp_path / "requirements.txt").write_text("")
    for name in names:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(2 * BLOCK + 1))
    size = len(names) * (2 * BLOCK + 1)
    store = Store(tmp_path / "store")
    for _ in range(2):
        heard = Heard()
        with listening(heard):
            scan_sources(load_spec(tmp_path), getattr(store, how))
        assert heard.told == [("reading model weights", size, size)]


def test_a_layer_is_told_by_its_title(tmp_path: Path) -> None:
    data = os.urandom(BLOCK)
    (tmp_path / "w").write_bytes(data)
    entry = Entry(path="w", size=BLOCK, origin=tmp_path / "w", digest=hashlib.sha256(data).hexdigest())
    heard = Heard()
    with listening(heard):
        layer = write_layer("model weights", [entry], "gzip", ContentStore(tmp_path / "content"))
    ((title, total, done),) = heard.told
    assert (title, total) == ("packing model weights", BLOCK)
    assert done >= BLOCK  # headers are more
    with listening(None):
        assert write_layer("model weights", [entry], "gzip", ContentStore(tmp_path / "other")) == layer


def test_a_base_that_is_an_archive_is_told_by_its_layers(tmp_path: Path) -> None:
    content = ContentStore(tmp_path / "content")
    image = image_of(content, os.urandom(BLOCK), os.urandom(2 * BLOCK))
    heard = Heard()
    with listening(heard):
        write_oci_archive([image], [], tmp_path / "base.tar", content)
    ((title, total, done),) = heard.told
    assert (title, done >= (total or 0) > 3 * BLOCK) == ("writing base.tar", True)
    heard.told.clear()
    with listening(heard), LayoutOrigin(Archive(kind="oci-archive", path=tmp_path / "base.tar")) as origin:
        for layer in image.layers:
            origin.blob(layer.blob, ContentStore(tmp_path / "other"))
    sizes = [layer.blob.size for layer in image.layers]
    assert [(total, done) for _, total, done in heard.told] == [(size, size) for size in sizes]
    assert all(title.endswith(" of base.tar") for title in heard.titles)


def test_an_unread_context_is_no_work(tmp_path: Path) -> None:
    heard = Heard()
    with listening(heard), pytest.raises(Exception, match="not a saved context"):
        verify(tmp_path)
    assert heard.told == []
