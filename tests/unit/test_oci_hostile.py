"""Archives and layouts that are damaged, or made to do harm: one clear error, and neither memory nor disk is filled."""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
import zstandard

from packager.builders.inspect import files_in, inspect_image
from packager.errors import ContextError
from packager.oci import archives, unpacking
from packager.oci.archives import open_files, read_document
from packager.oci.outputs import write_layout
from packager.oci.unpacking import LONGEST_HEADER, BoundedInfo, most_of, unpacked
from packager.storage.content import ContentStore
from tests.unit.oci_images import image_of


def in_members(data: bytes) -> bytes:
    """Return a gzip file of two members, as packager's layers have many."""
    half = len(data) // 2
    return gzip.compress(data[:half]) + gzip.compress(data[half:])


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "members.gz": in_members,
    "zst": zstandard.ZstdCompressor().compress,
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def content(tmp_path: Path) -> ContentStore:
    return ContentStore(tmp_path / "content")


def tar_of(**files: bytes) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name.replace("_json", ".json"))
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return stream.getvalue()


# --- what is named outside ---


def docker_folder(folder: Path, config: str, layer: str) -> Path:
    folder.mkdir()
    (folder / "manifest.json").write_text(json.dumps([{"Config": config, "Layers": [layer], "RepoTags": None}]))
    (folder / "config.json").write_text(
        json.dumps({"os": "linux", "architecture": "amd64", "rootfs": {"diff_ids": ["sha256:" + "0" * 64]}})
    )
    return folder


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "../../../../../../etc/passwd", "link", "folder/secret"])
@pytest.mark.parametrize("part", ["config", "layer"])
def test_a_folder_names_nothing_outside_itself(tmp_path: Path, content: ContentStore, name: str, part: str) -> None:
    (tmp_path / "secret").write_text("s3cret")
    folder = docker_folder(tmp_path / "image", *((name, "x") if part == "config" else ("config.json", name)))
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "folder").symlink_to(tmp_path)
    with pytest.raises(ContextError, match="which is not in it"):
        inspect_image(f"docker-archive:{folder}", content, {})


def test_a_blob_of_a_layout_is_no_link_out_of_it(tmp_path: Path, content: ContentStore) -> None:
    write_layout([image_of(content, b"one")], (), tmp_path / "layout", content)
    blobs = tmp_path / "layout/blobs"
    blobs.rename(tmp_path / "blobs")
    blobs.symlink_to(tmp_path / "blobs")
    with pytest.raises(ContextError, match="which is not in it"):
        inspect_image(f"oci:{tmp_path / 'layout'}", ContentStore(tmp_path / "mine"), {})


def test_links_within_a_folder_are_followed(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    (tmp_path / "b").symlink_to("a")
    with open_files(tmp_path) as files:
        assert read_document(files, "b") == b"x"


def test_pipes_and_devices_are_not_read(tmp_path: Path, content: ContentStore) -> None:
    (tmp_path / "image").mkdir()
    os.mkfifo(tmp_path / "image/index.json")
    os.mkfifo(tmp_path / "x.tar")
    for text in (f"oci:{tmp_path / 'image'}", f"oci-archive:{tmp_path / 'x.tar'}", "docker-archive:/dev/zero"):
        with pytest.raises(ContextError, match="is not a regular file"):
            inspect_image(text, content, {})


# --- damage ---


@pytest.mark.parametrize("kind", PACKERS)
@pytest.mark.parametrize("damage", ["head", "middle", "cut", "end"])
def test_a_damaged_archive_is_a_clear_error(tmp_path: Path, content: ContentStore, kind: str, damage: str) -> None:
    whole = PACKERS[kind](tar_of(manifest_json=os.urandom(5000)))
    middle = len(whole) // 2
    broken = {
        "head": whole[:4] + b"\xff" * 40,
        "middle": whole[:middle] + bytes(each ^ 255 for each in whole[middle : middle + 64]) + whole[middle + 64 :],
        "cut": whole[:middle],
        "end": whole[:-8] + b"12345678",
    }[damage]
    (tmp_path / f"x.tar.{kind}").write_bytes(broken)
    with pytest.raises(ContextError):
        inspect_image(f"docker-archive:{tmp_path}/x.tar.{kind}", content, {})
    (tmp_path / "blob").write_bytes(broken)
    if damage in ("head", "cut"):
        with pytest.raises(ContextError, match="cannot be read"):
            list(files_in(tmp_path / "blob"))


@pytest.mark.parametrize("kind", PACKERS)
def test_damage_is_one_error_whoever_unpacks(kind: str) -> None:
    packed = PACKERS[kind](b"x" * 100)
    with unpacked(io.BytesIO(packed), packed[:4]) as plain:
        assert plain.read(1000) == b"x" * 100
    broken = packed[:6] + b"\xff" * 30
    with unpacked(io.BytesIO(broken), broken[:4]) as plain, pytest.raises(zlib.error):
        plain.read(1000)


# --- bombs ---


@pytest.mark.parametrize("kind", PACKERS)
def test_a_bomb_fills_no_disk(
    tmp_path: Path, content: ContentStore, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(unpacking, "ALWAYS", 1 << 20)
    (tmp_path / "x.tar").write_bytes(PACKERS[kind](bytes(64 << 20)))
    with pytest.raises(ContextError, match="as a bomb does"):
        inspect_image(f"docker-archive:{tmp_path / 'x.tar'}", content, {})


def test_what_an_archive_may_unpack_to() -> None:
    small = io.BytesIO(b"x" * 100)
    assert most_of(small) == 1 << 30
    assert small.tell() == 0
    assert most_of(cast(io.BytesIO, _Large())) == 200 << 30


class _Large:
    def seek(self, place: int, whence: int = 0) -> int:
        return 1 << 30 if whence else place


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK])
@pytest.mark.parametrize("size", [3 << 30, LONGEST_HEADER + 1])
def test_a_header_of_gigabytes_is_not_read(tmp_path: Path, content: ContentStore, kind: bytes, size: int) -> None:
    info = tarfile.TarInfo("x")
    info.type, info.size = kind, size
    with (tmp_path / "x.tar").open("wb") as stream:
        stream.write(info.tobuf(tarfile.GNU_FORMAT))
        stream.truncate(size + 4096)
    with pytest.raises(ContextError, match=f"a header of {size} bytes"):
        inspect_image(f"oci-archive:{tmp_path / 'x.tar'}", content, {})
    with pytest.raises(ContextError, match=f"a header of {size} bytes"):
        list(files_in(tmp_path / "x.tar"))


def test_long_names_are_read() -> None:
    stream = io.BytesIO()
    name = "x/" * 2000 + "y"
    for kind in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w", format=kind) as tar:
            tar.addfile(tarfile.TarInfo(name))
        stream.seek(0)
        with tarfile.open(fileobj=stream, tarinfo=BoundedInfo) as tar:
            assert tar.getnames() == [name]


def test_an_archive_of_countless_files_is_no_image(
    tmp_path: Path, content: ContentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "_MEMBERS", 3)
    (tmp_path / "x.tar").write_bytes(tar_of(a=b"", b=b"", c=b"", d=b""))
    with pytest.raises(ContextError, match="more than 3 files"):
        inspect_image(f"oci-archive:{tmp_path / 'x.tar'}", content, {})
