"""The bytes of a tar: `tarfile` and GNU tar read back what went in, and nothing of the machine is in them."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import tarfile
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packager.contract import MTIME
from packager.errors import ContextError
from packager.oci.tar import Entry, header, in_order, tar_blocks


def tar_of(*entries: Entry, block: int = 1 << 20) -> bytes:
    return b"".join(tar_blocks(in_order(entries), block))


def text(path: str, data: bytes = b"x", mode: int = 0o644) -> Entry:
    return Entry(path=path, size=len(data), data=data, mode=mode)


def read_back(data: bytes) -> list[tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
        return archive.getmembers()


#: Names of one folder or file: no slash, no NUL, and nothing that means another folder.
NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=120).filter(
    lambda name: name not in (".", "..")
)
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)


@settings(deadline=None)
@given(
    st.dictionaries(PATHS, st.tuples(st.binary(max_size=2000), st.sampled_from([0o444, 0o644, 0o755])), max_size=8),
    st.sampled_from([1, 512, 700, 4096, 1 << 20]),
)
def test_tarfile_reads_back_what_went_in(files: dict[str, tuple[bytes, int]], block: int) -> None:
    data = tar_of(*(text(path, content, mode) for path, (content, mode) in files.items()), block=block)
    assert len(data) % 512 == 0
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
        members = archive.getmembers()
        assert [each.name for each in members] == sorted(files)
        for each in members:
            content, mode = files[each.name]
            assert (each.mode, each.mtime, each.uid, each.gid) == (mode, MTIME, 0, 0)
            assert (each.uname, each.gname, each.type) == ("", "", tarfile.REGTYPE)
            stream = archive.extractfile(each)
            assert stream is not None
            assert stream.read() == content


@settings(deadline=None)
@given(st.dictionaries(PATHS, st.binary(max_size=600), max_size=5), st.integers(1, 3000))
def test_the_size_of_blocks_changes_nothing(files: dict[str, bytes], block: int) -> None:
    entries = [text(path, content) for path, content in files.items()]
    assert tar_of(*entries, block=block) == tar_of(*entries)


def test_folders_and_links() -> None:
    folder, link = read_back(
        tar_of(Entry(path="a", kind="folder", mode=0o755), Entry(path="a/b", kind="link", mode=0o777, target="../c"))
    )
    assert (folder.name, folder.isdir(), folder.mode) == ("a", True, 0o755)
    assert (link.name, link.issym(), link.linkname, link.mode) == ("a/b", True, "../c", 0o777)


def test_parents_come_first() -> None:
    ordered = in_order([text("a/b/c"), text("a.txt"), Entry(path="a/b", kind="folder"), Entry(path="a", kind="folder")])
    assert [entry.path for entry in ordered] == ["a", "a.txt", "a/b", "a/b/c"]


def test_a_path_that_comes_twice_is_refused() -> None:
    with pytest.raises(ContextError, match="/a comes twice"):
        in_order([text("a"), Entry(path="a", kind="folder")])


@pytest.mark.parametrize(
    ("path", "pax"),
    [
        ("a" * 100, False),
        ("a" * 101, True),
        (f"{'d' * 155}/{'n' * 100}", False),
        (f"{'d' * 156}/{'n' * 100}", True),
        (f"{'d' * 90}/{'n' * 101}", True),
        ("ä", True),
        ("plain name", False),
    ],
)
def test_pax_headers_only_where_ustar_has_no_room(path: str, pax: bool) -> None:
    assert (len(header(text(path))) > 512) is pax
    assert [each.name for each in read_back(tar_of(text(path)))] == [path]


@pytest.mark.parametrize("length", [99, 100])
def test_folders_count_their_slash(length: int) -> None:
    entry = Entry(path="f" * length, kind="folder")
    assert (len(header(entry)) > 512) is (length == 100)
    assert read_back(tar_of(entry))[0].name == entry.path


@pytest.mark.parametrize("target", ["t" * 100, "t" * 101, "ü"])
def test_long_targets_of_links(target: str) -> None:
    assert read_back(tar_of(Entry(path="l", kind="link", target=target)))[0].linkname == target


@pytest.mark.parametrize("size", [8**11 - 1, 8**11, 10**13])
def test_sizes_beyond_eight_gibibytes(size: int) -> None:
    found = tarfile.TarInfo.frombuf(header(Entry(path="m", size=size))[-512:], "utf-8", "strict")
    extended = header(Entry(path="m", size=size))[:-512]
    assert found.size == (size if size < 8**11 else 0)
    assert (f"size={size}\n".encode() in extended) is (size >= 8**11)


def test_names_that_are_no_text_are_refused() -> None:
    with pytest.raises(ContextError, match="not UTF-8"):
        header(text(os.fsdecode(b"a\xff")))


def write(path: Path, data: bytes, **options: str) -> Entry:
    path.write_bytes(data)
    return Entry(path=path.name, size=len(data), origin=path, digest=hashlib.sha256(data).hexdigest(), mode=0o644)


def test_files_are_read_in_blocks(tmp_path: Path) -> None:
    data = os.urandom(3_000_000)
    entries = [write(tmp_path / "a", b"small"), write(tmp_path / "b", data), write(tmp_path / "c", b"")]
    blocks = list(tar_blocks(entries))
    assert [len(block) for block in blocks[:-1]] == [1 << 20] * (len(blocks) - 1)
    assert b"".join(blocks) == tar_of(text("a", b"small"), text("b", data), text("c", b""))


def test_digests_are_taken_where_they_are_wanted(tmp_path: Path) -> None:
    entry = write(tmp_path / "a", b"content")
    digests: dict[str, str] = {}
    list(tar_blocks([Entry(path="a", size=7, origin=entry.origin)], digests=digests))
    assert digests == {"a": entry.digest}


@pytest.mark.parametrize("content", [b"other", b"cont", b""])
def test_a_file_that_changed_is_an_error(tmp_path: Path, content: bytes) -> None:
    entry = write(tmp_path / "a", b"right")
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(ContextError, match="changed since it was read"):
        list(tar_blocks([entry]))


def test_a_file_that_is_gone_or_a_folder_is_an_error(tmp_path: Path) -> None:
    for origin in (tmp_path / "none", tmp_path):
        with pytest.raises(ContextError, match="cannot be read"):
            list(tar_blocks([Entry(path="a", size=1, origin=origin)]))


def test_a_pipe_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ContextError):
        list(tar_blocks([Entry(path="a", size=1, origin=tmp_path / "pipe")]))


def test_gnu_tar_unpacks_it(tmp_path: Path) -> None:
    names = ["dir/plain", "dir/" + "n" * 150, "dir/ü"]
    data = tar_of(Entry(path="dir", kind="folder"), *(text(name, name.encode()) for name in names))
    subprocess.run(["tar", "--extract", "--directory", tmp_path], input=data, check=True)
    for name in names:
        assert (tmp_path / name).read_text() == name
        assert (tmp_path / name).stat().st_mtime == MTIME


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as stream:
        stream.truncate(64 << 20)
    tracemalloc.start()
    for _ in tar_blocks([Entry(path="large", size=64 << 20, origin=tmp_path / "large")]):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5 << 20
