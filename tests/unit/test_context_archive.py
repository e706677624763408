from __future__ import annotations

import errno
import gzip
import io
import os
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
import zstandard

from packager.context.archive import archive
from packager.context.archive_reader import is_saved_archive
from packager.context.build_context import BuildContext
from packager.context.save import save
from packager.context.verify import verify
from packager.errors import ContextError, UsageError
from packager.spec.load import SpecFile, load_spec
from packager.storage.blobs import DamagedError
from packager.storage.models import Store
from tests.unit import context_factory as factory
from tests.unit.test_store import flip

NAMES = ("c.tar", "c.tar.gz", "c.tgz", "c.tar.zst")


@pytest.fixture
def spec_file(tmp_path: Path) -> SpecFile:
    return factory.write_project(tmp_path / "project")


@pytest.fixture
def context(spec_file: SpecFile) -> BuildContext:
    return factory.context(spec_file)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def unpacked(path: Path) -> bytes:
    data = path.read_bytes()
    if path.suffix == ".zst":
        return zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data)).read()
    return data if path.suffix == ".tar" else gzip.decompress(data)


@pytest.mark.parametrize("name", NAMES)
def test_an_unpacked_archive_is_the_saved_folder(
    tmp_path: Path, spec_file: SpecFile, context: BuildContext, store: Store, name: str
) -> None:
    assert archive(context, spec_file.root, tmp_path / name, store) == tmp_path / name
    save(context, spec_file.root, tmp_path / "folder", store)
    (tmp_path / "unpacked").mkdir()
    # tar itself, and not the module that wrote it.
    subprocess.run(["tar", "-xpf", "-", "-C", tmp_path / "unpacked"], input=unpacked(tmp_path / name), check=True)
    ours, theirs = factory.snapshot(tmp_path / "folder"), factory.snapshot(tmp_path / "unpacked")
    del ours["."], theirs["."]
    assert ours == theirs
    assert verify(tmp_path / name).ok
    assert not verify(tmp_path / name).retimed


def test_entries_are_sorted_and_nobodys(
    tmp_path: Path, spec_file: SpecFile, context: BuildContext, store: Store
) -> None:
    archive(context, spec_file.root, tmp_path / "c.tar", store)
    with tarfile.open(tmp_path / "c.tar") as tar:
        members = tar.getmembers()
    assert members[0].name == "packager.json"
    assert [member.name for member in members[1:]] == sorted(member.name for member in members[1:])
    assert {(each.uid, each.gid, each.uname, each.gname) for each in members} == {(0, 0, "", "")}
    assert {each.type for each in members} == {tarfile.REGTYPE, tarfile.DIRTYPE}


@pytest.mark.parametrize("name", NAMES)
def test_same_bytes_from_another_folder_with_another_umask(tmp_path: Path, name: str) -> None:
    found = []
    for number, umask in enumerate((0o022, 0o077)):
        before = os.umask(umask)
        try:
            root = tmp_path / ("deeper/" * number) / f"project{number}"
            spec_file = factory.write_project(root)
            for path in root.rglob("*"):
                os.utime(path, (number, number))
            store = Store(tmp_path / f"store{number}")
            if number:
                # From the store or from the folder of the spec: the same.
                store.add(root / "models/m.bin")
            path = archive(factory.context(spec_file), root, tmp_path / f"{number}" / name, store)
        finally:
            os.umask(before)
        found.append(path.read_bytes())
        assert path.stat().st_mode & 0o777 == 0o644
    assert found[0] == found[1]


def test_gzip_header_has_neither_time_nor_name(
    tmp_path: Path, spec_file: SpecFile, context: BuildContext, store: Store
) -> None:
    data = archive(context, spec_file.root, tmp_path / "c.tgz", store).read_bytes()
    # RFC 1952: magic, deflate, no flags (so no name), four bytes of time.
    assert data[:8] == b"\x1f\x8b\x08\x00\x00\x00\x00\x00"


def test_zstd_bytes_do_not_depend_on_the_number_of_processors(
    tmp_path: Path, spec_file: SpecFile, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Larger than one job of zstd, which is where workers make a difference.
    (spec_file.root / "src/data.bin").write_bytes(os.urandom(1 << 20) * 24)
    context = factory.context(spec_file)
    found = []
    for number in (1, 2, 64):
        monkeypatch.setattr(os, "cpu_count", lambda number=number: number)
        found.append(archive(context, spec_file.root, tmp_path / f"{number}.tar.zst", store).read_bytes())
    assert found[0] == found[1] == found[2]


def test_long_and_foreign_names(tmp_path: Path, spec_file: SpecFile, store: Store) -> None:
    factory.write_files(spec_file.root / "src", {f"{'d' * 120}/{'ü' * 100}/{'f' * 200}.txt": "x", "e" * 155: "y"})
    context = factory.context(spec_file)
    for name in NAMES:
        archive(context, spec_file.root, tmp_path / name, store)
        assert verify(tmp_path / name).ok


def test_the_suffix_says_the_compression(
    tmp_path: Path, spec_file: SpecFile, context: BuildContext, store: Store
) -> None:
    with pytest.raises(UsageError, match="does not say") as caught:
        archive(context, spec_file.root, tmp_path / "c.zip", store)
    assert ".tar.zst" in str(caught.value.remedy)
    assert not (tmp_path / "c.zip").exists()


def test_only_our_archives_are_replaced(
    tmp_path: Path, spec_file: SpecFile, context: BuildContext, store: Store
) -> None:
    target = tmp_path / "c.tar"
    archive(context, spec_file.root, target, store)
    changed = factory.context(spec_file, {"Dockerfile": "FROM other\n"})
    archive(changed, spec_file.root, target, store)
    assert verify(target).digest == changed.digest
    target.write_text("mine")
    with pytest.raises(ContextError, match="not made by packager"):
        archive(context, spec_file.root, target, store)
    assert target.read_text() == "mine"
    archive(context, spec_file.root, target, store, force=True)
    assert verify(target).ok
    target.unlink()
    target.mkdir()
    with pytest.raises(ContextError, match="not a file"):
        archive(context, spec_file.root, target, store, force=True)


class BadStore(Store):
    error: BaseException = KeyboardInterrupt()

    def has(self, *args: Any, **kwargs: Any) -> bool:
        raise self.error


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device")])
@pytest.mark.parametrize("previous", [False, True])
def test_an_interruption_leaves_what_was_there(
    tmp_path: Path, spec_file: SpecFile, context: BuildContext, name: str, error: BaseException, previous: bool
) -> None:
    target = tmp_path / "a/b" / name
    if previous:
        archive(context, spec_file.root, target, Store(tmp_path / "store"))
    before = target.read_bytes() if previous else b""
    bad = BadStore(tmp_path / "store")
    bad.error = error
    with pytest.raises((KeyboardInterrupt, ContextError)):
        archive(context, spec_file.root, target, bad)
    if previous:
        assert target.read_bytes() == before
        assert [path.name for path in target.parent.iterdir()] == [name]
    else:
        assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("path", ["src/score.py", "models/m.bin"])
@pytest.mark.parametrize("content", ["", "x" * 20_000, "same length"])
def test_a_source_that_changed_since_the_scan(
    tmp_path: Path, spec_file: SpecFile, context: BuildContext, store: Store, path: str, content: str
) -> None:
    source = spec_file.root / path
    source.write_bytes(b"y" * source.stat().st_size if content == "same length" else content.encode())
    with pytest.raises(ContextError, match="changed since it was read"):
        archive(context, spec_file.root, tmp_path / "c.tar", store)
    assert not (tmp_path / "c.tar").exists()


def test_what_is_ours_is_told_by_its_first_entry(
    tmp_path: Path, spec_file: SpecFile, context: BuildContext, store: Store
) -> None:
    for name in NAMES:
        path = archive(context, spec_file.root, tmp_path / name, store)
        assert is_saved_archive(os.fsencode(path))
        (tmp_path / f"cut{name}").write_bytes(path.read_bytes()[:100])
        assert not is_saved_archive(os.fsencode(tmp_path / f"cut{name}"))
    assert not is_saved_archive(os.fsencode(tmp_path / "missing.tar"))
    os.mkfifo(tmp_path / "pipe.tar")
    assert not is_saved_archive(os.fsencode(tmp_path / "pipe.tar"))


@pytest.mark.parametrize("linkable", [True, False])
def test_content_of_a_model_is_in_a_context_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, linkable: bool
) -> None:
    root, store = tmp_path / "project", Store(tmp_path / "store")
    factory.write_project(root)
    (root / "models/net/latest").symlink_to("parts")
    (root / "models/net/weights.bin").write_bytes(bytes(100_000))
    (root / "models/net/same.bin").symlink_to("weights.bin")
    spec_file = load_spec(root)
    context = factory.context(spec_file)
    real = os.link

    def link(source: Path | bytes, target: Path | bytes) -> None:
        if not linkable and str(store.root / "sha256") in os.fsdecode(source):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        real(source, target)

    monkeypatch.setattr(os, "link", link)
    save(context, root, tmp_path / "context", store)
    found = {path.name: path.stat() for path in (tmp_path / "context").rglob("*.bin")}
    assert found["weights.bin"].st_ino == found["same.bin"].st_ino
    assert verify(tmp_path / "context").ok
    archive(context, root, tmp_path / "c.tar", store)
    assert (tmp_path / "c.tar").stat().st_size < 200_000
    assert verify(tmp_path / "c.tar").digest == verify(tmp_path / "context").digest == context.digest
    with tarfile.open(tmp_path / "c.tar") as tar:
        links = {each.name.rpartition("/")[2]: each.linkname for each in tar if each.islnk()}
        assert links["weights.bin"].endswith("/net/same.bin")
        tar.extractall(tmp_path / "again", filter="fully_trusted")
    assert verify(tmp_path / "again").ok


def test_a_link_of_an_archive_to_what_is_not_in_it_is_told(tmp_path: Path) -> None:
    root, store = tmp_path / "project", Store(tmp_path / "store")
    factory.write_project(root)
    context = factory.context(load_spec(root))
    archive(context, root, tmp_path / "c.tar", store)
    with tarfile.open(tmp_path / "c.tar") as old, tarfile.open(tmp_path / "new.tar", "w") as new:
        for member in old:
            data = old.extractfile(member) if member.isfile() else None
            if member.name.endswith("m.bin"):
                member.type, member.linkname, data = tarfile.LNKTYPE, "/etc/hostname", None
            new.addfile(member, data)
    (difference,) = verify(tmp_path / "new.tar").differences
    assert difference.path.endswith("m.bin")


@pytest.mark.parametrize("size", [10, 100_000])
def test_a_damaged_model_of_the_store_is_not_shipped_and_comes_back(tmp_path: Path, size: int) -> None:
    root = tmp_path / "project"
    factory.write_project(root)
    (root / "models/m.bin").write_bytes(bytes(size))
    spec_file = load_spec(root)
    context, store = factory.context(spec_file), Store(tmp_path / "store")
    digest, _ = store.add(root / "models/m.bin")
    archive(context, root, tmp_path / "good.tar", store)
    flip(store.path(digest))
    if size > 1 << 16:
        with pytest.raises(DamagedError, match="was damaged, and is removed"):
            archive(context, root, tmp_path / "c.tar", store)
        assert not (tmp_path / "c.tar").exists()
    archive(context, root, tmp_path / "c.tar", store)
    assert (tmp_path / "c.tar").read_bytes() == (tmp_path / "good.tar").read_bytes()
