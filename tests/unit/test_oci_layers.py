"""Layers: same inputs, same digests; made once; never from a file that changed."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import random
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import msgspec
import pytest

from packager.builders.unread_models import is_known, layer_ahead
from packager.errors import ContextError
from packager.oci.layers import folder_layer, recall_folder_layer, tree_layer
from packager.oci.values import LAYER, LAYER_GZIP, LAYER_ZSTD, Layer, digest_of
from packager.plan.trees import TWIN_SIZE, Tree, TreeFile, make_tree
from packager.storage.content import ContentStore, Memory
from packager.storage.models import Store
from tests.unit.oci_content import FolderContent

CODE = b"def init(): ...\n" * 100


@pytest.fixture
def content(tmp_path: Path) -> FolderContent:
    return FolderContent(tmp_path / "content")


@pytest.fixture
def options(tmp_path: Path) -> dict[str, Any]:
    return {"memory": Memory("layers", tmp_path / "memory")}


def source(root: Path, name: str, data: bytes, mode: int = 0o644) -> TreeFile:
    root.mkdir(exist_ok=True)
    (root / name).write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    return TreeFile(path=f"var/app/{name}", size=len(data), mode=mode, digest=digest, origin=name)


def app(root: Path) -> Tree:
    return make_tree([source(root, "score.py", CODE), source(root, "run.sh", b"#!/bin/sh\n", 0o755)], ["var/app/empty"])


def build(tree: Tree, root: Path, content: Any, compression: Any = "gzip", **options: Any) -> Layer:
    return tree_layer(tree, "app", root, Store(root.parent / "store"), content, compression, **options)


def test_a_tree_becomes_a_layer(tmp_path: Path, content: FolderContent, options: dict[str, Any]) -> None:
    layer = build(app(tmp_path / "src"), tmp_path / "src", content, **options)
    blob = content.path(layer.blob.digest).read_bytes()
    tar = gzip.decompress(blob)
    assert (layer.blob.media_type, layer.blob.size, layer.title) == (LAYER_GZIP, len(blob), "app")
    assert (layer.blob.digest, layer.diff_id) == (digest_of(blob), digest_of(tar))
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        found = {each.name: (each.mode, each.size) for each in archive.getmembers()}
    assert found == {
        "var": (0o755, 0),
        "var/app": (0o755, 0),
        "var/app/empty": (0o755, 0),
        "var/app/run.sh": (0o755, 10),
        "var/app/score.py": (0o644, len(CODE)),
    }


def test_compressions_have_one_diff_id(tmp_path: Path, content: FolderContent, options: dict[str, Any]) -> None:
    root = tmp_path / "src"
    layers = [build(app(root), root, content, each, **options) for each in ("gzip", "zstd", "none")]
    assert [each.blob.media_type for each in layers] == [LAYER_GZIP, LAYER_ZSTD, LAYER]
    assert len({each.diff_id for each in layers}) == 1
    assert len({each.blob.digest for each in layers}) == 3


def test_an_unchanged_layer_is_not_made_again(tmp_path: Path, content: FolderContent, options: dict[str, Any]) -> None:
    root = tmp_path / "src"
    tree = app(root)
    first = build(tree, root, content, **options)
    (root / "score.py").unlink()  # not even read
    assert build(tree, root, content, **options) == first
    assert content.puts == 1


@pytest.mark.parametrize("harm", ["blob", "short", "record", "empty", "foreign"])
def test_what_is_lost_is_made_again(tmp_path: Path, content: FolderContent, harm: str, options: dict[str, Any]) -> None:
    root = tmp_path / "src"
    first = build(app(root), root, content, **options)
    blob = content.path(first.blob.digest)
    (record,) = (path for path in (tmp_path / "memory").rglob("*") if path.is_file())
    if harm == "blob":
        blob.unlink()
    elif harm == "short":
        blob.write_bytes(b"x")
    else:
        harmed = {"record": b"{", "empty": b"", "foreign": record.read_bytes().replace(b"sha256:", b"../../:")}
        record.write_bytes(harmed[harm])
    assert build(app(root), root, content, **options) == first
    assert content.puts == 2


def test_a_file_that_changed_makes_no_layer(tmp_path: Path, options: dict[str, Any]) -> None:
    root, content = tmp_path / "src", ContentStore(tmp_path / "content")
    tree = app(root)
    (root / "score.py").write_bytes(CODE.replace(b"init", b"exit"))
    with pytest.raises(ContextError, match="changed since it was read"):
        build(tree, root, content, **options)
    assert list(content.blobs.all()) == []
    assert not list((tmp_path / "content").glob("tmp/*"))


def test_models_are_read_from_the_store(tmp_path: Path, content: FolderContent, options: dict[str, Any]) -> None:
    root = tmp_path / "src"
    file = source(root, "m.bin", b"weights", 0o444)
    Store(tmp_path / "store").add(root / "m.bin")
    (root / "m.bin").unlink()
    layer = build(make_tree([file]), root, content, **options)
    assert b"weights" in gzip.decompress(content.path(layer.blob.digest).read_bytes())


def test_large_weights_become_a_plain_tar(tmp_path: Path, content: FolderContent, options: dict[str, Any]) -> None:
    root = tmp_path / "src"
    noise = random.Random(1).randbytes(17 << 20)
    weights = build(make_tree([source(root, "w.bin", noise)]), root, content, **options)
    zeros = build(make_tree([source(root, "z.bin", bytes(17 << 20))]), root, content, **options)
    assert (weights.blob.media_type, weights.blob.digest) == (LAYER, weights.diff_id)
    assert zeros.blob.media_type == LAYER_GZIP


# --- folders ----------------------------------------------------------------------------------------------------------


def environment(folder: Path) -> Path:
    (folder / "bin").mkdir(parents=True)
    (folder / "lib").mkdir()
    (folder / "bin/python").symlink_to("/usr/local/bin/python3")
    (folder / "bin/tool").write_text("#!/opt/env/bin/python\n")
    (folder / "bin/tool").chmod(0o700)
    (folder / "lib/module.py").write_text("x = 1\n")
    (folder / "lib/module.py").chmod(0o600)
    return folder


def members(layer: Layer, content: FolderContent) -> dict[str, tuple[int, str]]:
    with tarfile.open(content.path(layer.blob.digest), "r:*") as archive:
        return {each.name: (each.mode, each.linkname) for each in archive.getmembers()}


def test_a_folder_becomes_a_layer(tmp_path: Path, content: FolderContent, options: dict[str, Any]) -> None:
    layer = folder_layer(environment(tmp_path / "e"), "/opt/env", "environment", "key", content, **options)
    assert members(layer, content) == {
        "opt": (0o755, ""),
        "opt/env": (0o755, ""),
        "opt/env/bin": (0o755, ""),
        "opt/env/bin/python": (0o777, "/usr/local/bin/python3"),
        "opt/env/bin/tool": (0o755, ""),
        "opt/env/lib": (0o755, ""),
        "opt/env/lib/module.py": (0o644, ""),
    }


def test_a_folder_is_known_by_its_key(tmp_path: Path, content: FolderContent, options: dict[str, Any]) -> None:
    assert recall_folder_layer("/opt/env", "e", "key", content, "gzip", **options) is None
    first = folder_layer(environment(tmp_path / "e"), "/opt/env", "e", "key", content, **options)
    assert folder_layer(tmp_path / "gone", "/opt/env", "e", "key", content, **options) == first
    assert recall_folder_layer("/opt/env", "e", "key", content, "gzip", **options) == first
    assert recall_folder_layer("/opt/env", "e", "key", content, "zstd", **options) is None
    with pytest.raises(ContextError, match="cannot be read"):
        folder_layer(tmp_path / "gone", "/opt/env", "e", "other key", content, **options)


def test_what_is_no_file_is_refused(tmp_path: Path, content: FolderContent, options: dict[str, Any]) -> None:
    os.mkfifo(environment(tmp_path / "e") / "pipe")
    with pytest.raises(ContextError, match="not a regular file"):
        folder_layer(tmp_path / "e", "/opt/env", "e", "key", content, **options)


# --- ahead ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def rested(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files need not rest before `DigestMemory` trusts their times."""
    monkeypatch.setattr("packager.storage.digests.RESTED_NS", 0)


@pytest.mark.usefixtures("rested")
def test_digest_and_layer_from_one_pass(tmp_path: Path, content: FolderContent, options: dict[str, Any]) -> None:
    root, store = tmp_path / "src", Store(tmp_path / "store")
    tree = make_tree([source(root, "m.bin", CODE, 0o444), source(root, "empty", b"", 0o444)])
    for path in root.iterdir():
        os.utime(path, (1, 1))
    unread = make_tree(
        TreeFile(path=each.path, size=0, mode=each.mode, digest="", origin=each.origin) for each in tree.files
    )
    assert not is_known(unread, root, store)
    known, layer = layer_ahead(unread, "model", root, store, content, **options)
    assert known == tree
    assert is_known(unread, root, store)
    assert tree_layer(tree, "model", root, store, content, **options) == layer
    assert content.puts == 1


def kinds(layer: Layer, content: FolderContent) -> dict[str, tuple[bytes, int, str]]:
    data = content.path(layer.blob.digest).read_bytes()
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(data))) as archive:
        return {each.name: (each.type, each.size, each.linkname) for each in archive if not each.isdir()}


@pytest.mark.usefixtures("rested")
@pytest.mark.parametrize("how", ["symlink", "hard link", "copy"])
def test_content_of_a_model_is_in_its_layer_once(
    tmp_path: Path, content: FolderContent, options: dict[str, Any], how: str
) -> None:
    root, store = tmp_path / "src", Store(tmp_path / "store")
    weights = (CODE * TWIN_SIZE)[:TWIN_SIZE]
    files = [source(root, name, weights, 0o444) for name in ("a", "b", "c")]
    files += [source(root, name, data, 0o444) for name, data in (("d", b"other"), ("e", b""), ("f", b""))]
    for name in "bc":
        (root / name).unlink()
        if how == "symlink":
            (root / name).symlink_to("a")
        elif how == "hard link":
            (root / name).hardlink_to(root / "a")
        else:
            (root / name).write_bytes(weights)
    for path in root.iterdir():
        os.utime(path, (1, 1))
    tree = make_tree(files)
    assert tree.twins == {"var/app/b": "var/app/a", "var/app/c": "var/app/a"}, "small files save nothing"
    layer = tree_layer(tree, "model", root, store, content, **options)
    found = kinds(layer, content)
    file, link = tarfile.REGTYPE, tarfile.LNKTYPE
    assert found["var/app/a"] == (file, TWIN_SIZE, "")
    assert found["var/app/b"] == found["var/app/c"] == (link, 0, "var/app/a")
    assert (found["var/app/d"], found["var/app/f"]) == ((file, 5, ""), (file, 0, ""))
    unread = make_tree(msgspec.structs.replace(each, digest="", size=0) for each in tree.files)
    fresh = Memory("layers", tmp_path / "fresh")
    assert layer_ahead(unread, "model", root, store, content, memory=fresh) == (tree, layer)
    assert tree_layer(tree, "model", root, store, content, memory=fresh) == layer


def test_files_of_the_app_are_no_links(tmp_path: Path, content: FolderContent, options: dict[str, Any]) -> None:
    root = tmp_path / "src"
    tree = make_tree([source(root, "a.py", CODE), source(root, "b.py", CODE)])
    assert tree.twins == {}
    assert {kind for kind, _, _ in kinds(build(tree, root, content, **options), content).values()} == {tarfile.REGTYPE}


# --- everywhere the same ----------------------------------------------------------------------------------------------

SCRIPT = """
import os, sys
from pathlib import Path
from packager.oci.layers import folder_layer
from packager.storage.content import ContentStore, Memory
folder = Path(sys.argv[1])
os.umask(int(sys.argv[2], 8))
(folder / "e/b").mkdir(parents=True)
for name in ("z", "a", "b/ü", "b/x"):
    (folder / "e" / name).write_text(name * 1000)
(folder / "e/l").symlink_to("a")
store = ContentStore(folder / "c")
for compression in ("gzip", "zstd", "none"):
    layer = folder_layer(folder / "e", "/opt/env", "e", "k", store, compression, Memory("layers", folder / "m"))
    print(layer.blob.digest, layer.diff_id)
"""


def test_the_machine_changes_nothing(tmp_path: Path) -> None:
    found = set()
    for number, (umask, zone, locale, seed) in enumerate(
        [("022", "UTC", "C.UTF-8", "0"), ("077", "Asia/Kathmandu", "C", "1"), ("000", "America/Lima", "POSIX", "99")]
    ):
        folder = tmp_path / ("deep/" * number + f"f{number}")
        folder.mkdir(parents=True)
        environ = {**os.environ, "TZ": zone, "LC_ALL": locale, "PYTHONHASHSEED": seed}
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, str(folder), umask], env=environ, capture_output=True, text=True, check=True
        )
        found.add(done.stdout)
    assert len(found) == 1


def test_two_at_once_are_safe(tmp_path: Path) -> None:
    folder = environment(tmp_path / "e")
    code = (
        "import sys; from pathlib import Path\n"
        "from packager.oci.layers import folder_layer\n"
        "from packager.storage.content import ContentStore, Memory\n"
        "root = Path(sys.argv[1])\n"
        "layer = folder_layer(root / 'e', '/opt/env', 'e', 'k', ContentStore(root / 'c'), 'gzip', Memory('l', root))\n"
        "print(layer.blob.digest)"
    )
    command = [sys.executable, "-c", code, str(folder.parent)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    answers = {each.communicate()[0] for each in running}
    assert [each.returncode for each in running] == [0, 0, 0]
    assert len(answers) == 1


@pytest.mark.usefixtures("rested")
def test_a_model_that_changes_while_it_is_read_ahead(
    tmp_path: Path, content: FolderContent, options: dict[str, Any]
) -> None:
    root, store = tmp_path / "src", Store(tmp_path / "store")
    tree = make_tree([source(root, "m.bin", CODE, 0o444)])

    class Writes(FolderContent):
        def put(self, stream: Any, expected: str | None = None) -> tuple[str, int]:
            result = super().put(stream, expected)
            (root / "m.bin").write_bytes(CODE.swapcase())
            return result

    with pytest.raises(ContextError, match="changed while it was read"):
        layer_ahead(tree, "model", root, store, Writes(tmp_path / "content"), **options)
    assert not is_known(tree, root, store)
    assert not (tmp_path / "memory").exists()


def test_a_model_that_leads_out_of_the_folder_by_now(
    tmp_path: Path, content: FolderContent, options: dict[str, Any]
) -> None:
    root, store = tmp_path / "src", Store(tmp_path / "store")
    tree = make_tree([source(root, "m.bin", CODE, 0o444)])
    (root / "m.bin").rename(tmp_path / "outside")
    (root / "m.bin").symlink_to(tmp_path / "outside")
    with pytest.raises(ContextError, match="leads out of"):
        layer_ahead(tree, "model", root, store, content, **options)


def test_a_model_that_is_gone_or_a_folder(tmp_path: Path, content: FolderContent, options: dict[str, Any]) -> None:
    root, store = tmp_path / "src", Store(tmp_path / "store")
    tree = make_tree([source(root, "m.bin", CODE, 0o444)])
    (root / "m.bin").unlink()
    with pytest.raises(ContextError, match="cannot be read"):
        layer_ahead(tree, "model", root, store, content, **options)
    (root / "m.bin").mkdir()
    with pytest.raises(ContextError, match="not a regular file"):
        is_known(tree, root, store)
