from __future__ import annotations

import errno
import hashlib
import json
import multiprocessing
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from packager.contract import MTIME
from packager.errors import ContextError
from packager.storage import blobs
from packager.storage.blobs import DamagedError
from packager.storage.content import ContentStore
from packager.storage.digests import DigestMemory
from packager.storage.files import require_place
from packager.storage.memory import Memory
from packager.storage.models import Store, default_root
from packager.storage.reading import Stamp, digest_file, failure

MIB = 1 << 20


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def later() -> int:
    """A clock by which every file rested long enough for its times to be trusted."""
    return time.time_ns() + 10**9


class Reads:
    """Counts the files that are opened for reading through `packager.storage.reading`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.paths: list[str] = []
        real = os.open

        def spy(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
            if flags & os.O_ACCMODE == os.O_RDONLY:
                self.paths.append(os.fsdecode(path))
            return real(path, flags, *args, **kwargs)

        monkeypatch.setattr(os, "open", spy)

    def of(self, path: Path) -> int:
        return self.paths.count(str(path))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.bin"
    path.write_bytes(b"weights" * 1000)
    return path


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store", clock=later)


def files_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


# --- add and digest ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, MIB - 1, MIB, MIB + 1, 3 * MIB + 7])
def test_added_file_is_the_same_bytes_read_only_and_of_a_fixed_time(tmp_path: Path, store: Store, size: int) -> None:
    data = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    (tmp_path / "m").write_bytes(data)
    assert store.add(tmp_path / "m") == (sha(data), size)
    blob = store.root / "sha256" / sha(data)[:2] / sha(data)
    assert blob.read_bytes() == data
    status = blob.stat()
    assert stat.S_IMODE(status.st_mode) == 0o444
    assert status.st_mtime_ns == MTIME * 10**9
    assert status.st_nlink == 1
    assert files_in(store.root / "tmp") == []
    assert store.digest(tmp_path / "m") == (sha(data), size)


def test_the_umask_has_no_say(model: Path, store: Store) -> None:
    before = os.umask(0o077)
    try:
        digest, _ = store.add(model)
    finally:
        os.umask(before)
    assert stat.S_IMODE(store.path(digest).stat().st_mode) == 0o444


def test_nobody_else_gets_into_the_store(model: Path, store: Store) -> None:
    store.add(model)
    assert stat.S_IMODE(store.root.stat().st_mode) == 0o700


def test_digest_writes_no_blob(model: Path, store: Store) -> None:
    store.digest(model)
    assert not (store.root / "sha256").exists()


def test_same_content_is_stored_once(tmp_path: Path, model: Path, store: Store) -> None:
    (tmp_path / "copy").write_bytes(model.read_bytes())
    digest, _ = store.add(model)
    inode = store.path(digest).stat().st_ino
    assert store.add(tmp_path / "copy")[0] == digest
    assert store.path(digest).stat().st_ino == inode
    assert len(list(store.blobs.all())) == 1


def test_a_clone_is_hashed_where_the_filesystem_can(model: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def cloned(source: int, target: int) -> bool:
        os.write(target, os.pread(source, MIB, 0))
        os.lseek(target, 0, os.SEEK_SET)
        return True

    def refused(*_: object) -> tuple[str, int]:
        raise AssertionError("the source was copied")

    monkeypatch.setattr(blobs, "clone", cloned)
    monkeypatch.setattr(blobs, "copy_hashed", refused)
    assert store.add(model) == (sha(model.read_bytes()), 7000)


@pytest.mark.parametrize("action", ["add", "digest"])
def test_an_unchanged_model_is_not_read_again(
    tmp_path: Path, model: Path, action: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = Reads(monkeypatch)
    for _ in range(3):
        # A new store each time: what is remembered is on disk.
        found = getattr(Store(tmp_path / "store", clock=later), action)(model)
        assert found == (sha(b"weights" * 1000), 7000)
    assert reads.of(model) == 1


def test_add_after_digest_reads_once_more_for_the_copy_and_never_again(
    model: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = Reads(monkeypatch)
    store.digest(model)
    store.add(model)
    store.add(model)
    assert reads.of(model) == 2


@pytest.mark.parametrize("edit", ["same length", "longer", "replaced", "touched"])
def test_a_changed_model_is_read_again(tmp_path: Path, model: Path, store: Store, edit: str) -> None:
    store.add(model)
    status = model.stat()
    if edit == "same length":
        model.write_bytes(b"WEIGHTS" * 1000)
        # Even with its old time: the time of the change itself cannot be set back.
        os.utime(model, ns=(status.st_atime_ns, status.st_mtime_ns))
    elif edit == "longer":
        model.write_bytes(b"weights" * 1001)
    elif edit == "replaced":
        (tmp_path / "other").write_bytes(b"WEIGHTS" * 1000)
        os.utime(tmp_path / "other", ns=(status.st_atime_ns, status.st_mtime_ns))
        (tmp_path / "other").replace(model)
    else:
        os.utime(model)
    assert store.add(model) == (sha(model.read_bytes()), model.stat().st_size)


def test_a_file_written_just_now_is_not_remembered(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = max(model.stat().st_mtime_ns, model.stat().st_ctime_ns)
    store = Store(tmp_path / "store", clock=lambda: written + 20_000_000)
    reads = Reads(monkeypatch)
    store.digest(model)
    store.digest(model)
    assert reads.of(model) == 2
    assert not (store.root / "memory").exists()


class Writer:
    """Changes a file as soon as somebody read from it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, change: Callable[[], object]) -> None:
        real_read, real_readv = os.read, os.readv

        def read(descriptor: int, size: int) -> bytes:
            data = real_read(descriptor, size)
            change()
            return data

        def readv(descriptor: int, buffers: Any) -> int:
            count = real_readv(descriptor, buffers)
            change()
            return count

        monkeypatch.setattr(os, "read", read)
        monkeypatch.setattr(os, "readv", readv)


@pytest.mark.parametrize("size", [10, MIB + 10])
@pytest.mark.parametrize("action", ["add", "digest"])
def test_a_model_that_changes_while_it_is_read(
    tmp_path: Path, store: Store, size: int, action: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m"
    path.write_bytes(bytes(size))
    Writer(monkeypatch, lambda: os.utime(path, ns=(0, time.time_ns())))
    with pytest.raises(ContextError, match="changed while it was read"):
        getattr(store, action)(path)
    monkeypatch.undo()
    assert not list(store.root.glob("sha256/*/*"))
    assert files_in(store.root) == []


@pytest.mark.parametrize("size", [10, MIB + 10])
def test_a_file_that_others_link_to_meanwhile_is_read_again(
    tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So do other builds with the files of uv's cache; only the time of the inode tells of it."""
    path = tmp_path / "m"
    path.write_bytes(bytes(size))
    links = iter(range(3 if size > MIB else 1))

    def link() -> None:
        for number in links:
            before = path.stat().st_ctime_ns
            (tmp_path / str(number)).hardlink_to(path)
            while path.stat().st_ctime_ns == before:  # the clock of files is a slow one
                path.chmod(0o644)
            return

    Writer(monkeypatch, link)
    assert digest_file(path).digest == hashlib.sha256(bytes(size)).hexdigest()
    assert next(links, None) is None


@pytest.mark.parametrize("action", ["add", "digest"])
def test_what_is_no_readable_file(tmp_path: Path, store: Store, action: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, problem in (("missing", "No such file"), ("pipe", "not a regular file"), ("", "not a regular file")):
        with pytest.raises(ContextError, match=problem):
            getattr(store, action)(tmp_path / path)
    assert files_in(store.root) == []


def test_a_full_disk_leaves_nothing(tmp_path: Path, model: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(ContextError, match="disk is full") as caught:
        store.add(model)
    assert "store gc" in str(caught.value.remedy)
    assert caught.value.exit_code == 6
    assert files_in(store.root) == []


def test_the_store_is_named_where_it_is_on_the_disk_that_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "not/there/yet"))
    assert "store gc" in str(failure("written", tmp_path / "x.tar", full).remedy)
    elsewhere = failure("written", "/proc/self/x.tar", full)
    assert (elsewhere.message, elsewhere.exit_code) == ("/proc/self/x.tar cannot be written: the disk is full", 6)
    assert elsewhere.remedy == "free some space on the disk of /proc/self, or name a place on another one"


def test_a_place_for_a_file_is_looked_at_before_the_work(tmp_path: Path) -> None:
    require_place(tmp_path / "page.html")
    for path, says in ((tmp_path, "it is a folder"), (tmp_path / "no/x", "there is no folder"), ("/proc/x", "denied")):
        if says != "denied" or os.geteuid():
            with pytest.raises(ContextError, match=says) as caught:
                require_place(Path(path))
            assert caught.value.remedy


@pytest.mark.parametrize("size", [10, 2 * MIB])
def test_an_interruption_leaves_nothing(
    tmp_path: Path, store: Store, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "m").write_bytes(bytes(size))

    def interrupted(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store.add(tmp_path / "m")
    assert files_in(store.root) == []


def test_a_store_that_cannot_be_made(tmp_path: Path, model: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ContextError, match="cannot be written") as caught:
        Store(tmp_path / "file/store").add(model)
    assert "XDG_CACHE_HOME" in str(caught.value.remedy)
    # Looking does not need a store.
    assert Store(tmp_path / "file/store").digest(model)[1] == 7000


# --- the memory of digests --------------------------------------------------------------------------------------------


def note_of(root: Path) -> Path:
    (note,) = (root / "memory/digests").iterdir()
    return note


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'[[1, 2], ""]'])
def test_a_broken_note_is_made_anew(
    tmp_path: Path, model: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "store"
    Store(root, clock=later).digest(model)
    note_of(root).write_bytes(content)
    assert Store(root, clock=later).digest(model) == (sha(model.read_bytes()), 7000)
    reads = Reads(monkeypatch)
    assert Store(root, clock=later).digest(model)[1] == 7000
    assert reads.of(model) == 0


@pytest.mark.parametrize("digest", ["", "0" * 63 + "g", "../../../etc/passwd", None, 7, "0" * 64 + "\n"])
def test_a_remembered_value_that_is_no_digest_is_not_used(tmp_path: Path, model: Path, digest: object) -> None:
    root = tmp_path / "store"
    Store(root, clock=later).digest(model)
    memory, key = Memory("digests", root), os.path.abspath(model)
    content = json.loads(memory.recall(key) or b"")
    content["digest"] = digest
    memory.remember(json.dumps(content).encode(), key)
    assert Store(root, clock=later).digest(model)[0] == sha(model.read_bytes())


def test_a_name_that_is_no_text_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Path(os.fsdecode(os.fsencode(tmp_path) + b"/m\xff"))
    model.write_bytes(b"weights")
    store = Store(tmp_path / "store", clock=later)
    store.digest(model)
    reads = Reads(monkeypatch)
    assert store.digest(model) == (sha(b"weights"), 7)
    assert reads.of(model) == 0


def test_a_file_in_the_place_of_the_memory(tmp_path: Path, model: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store/memory").touch()
    assert Store(tmp_path / "store", clock=later).add(model)[1] == 7000


# --- link -------------------------------------------------------------------------------------------------------------


def test_link_is_a_hard_link(tmp_path: Path, model: Path, store: Store) -> None:
    digest, size = store.add(model)
    store.link(digest, tmp_path / "a", size=size)
    store.link(digest, tmp_path / "b")
    blob = store.path(digest).stat()
    assert (tmp_path / "a").stat().st_ino == (tmp_path / "b").stat().st_ino == blob.st_ino
    assert blob.st_nlink == 3
    assert model.stat().st_nlink == 1


@pytest.mark.parametrize("code", [errno.EXDEV, errno.EMLINK, errno.EPERM, errno.EOPNOTSUPP])
def test_link_copies_where_no_link_can_be(
    tmp_path: Path, model: Path, store: Store, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest, _ = store.add(model)

    def refused(*_: object) -> None:
        raise OSError(code, "no link")

    monkeypatch.setattr(os, "link", refused)
    store.link(digest, tmp_path / "a")
    status = (tmp_path / "a").stat()
    assert (tmp_path / "a").read_bytes() == model.read_bytes()
    assert status.st_ino != store.path(digest).stat().st_ino
    assert stat.S_IMODE(status.st_mode) == 0o444
    assert status.st_mtime_ns == MTIME * 10**9


def test_link_never_replaces_anything(tmp_path: Path, model: Path, store: Store) -> None:
    digest, _ = store.add(model)
    (tmp_path / "a").write_text("mine")
    with pytest.raises(ContextError, match="File exists"):
        store.link(digest, tmp_path / "a")
    with pytest.raises(ContextError, match="No such file"):
        store.link(digest, tmp_path / "none/a")
    assert (tmp_path / "a").read_text() == "mine"


def damage(blob: Path, how: str) -> None:
    blob.chmod(0o644)
    if how == "content":
        data = blob.read_bytes()
        blob.write_bytes(data[:-1] + b"X")
        blob.chmod(0o444)
    elif how == "size":
        blob.write_bytes(b"short")
        os.utime(blob, (MTIME, MTIME))
        blob.chmod(0o444)
    elif how == "link":
        blob.unlink()
        blob.symlink_to("/etc/hostname")


@pytest.mark.parametrize("how", ["content", "size", "mode", "link"])
def test_a_damaged_blob_is_added_again_from_its_origin(tmp_path: Path, model: Path, store: Store, how: str) -> None:
    digest, size = store.add(model)
    damage(store.path(digest), how)
    assert not store.has(digest, size)
    store.link(digest, tmp_path / "a", size=size, origin=model)
    assert (tmp_path / "a").read_bytes() == model.read_bytes()
    assert store.has(digest, size)


@pytest.mark.parametrize("how", ["content", "size", "mode", "link"])
def test_a_damaged_blob_is_removed_and_told_without_an_origin(
    tmp_path: Path, model: Path, store: Store, how: str
) -> None:
    digest, size = store.add(model)
    damage(store.path(digest), how)
    with pytest.raises(ContextError, match="damaged"):
        store.link(digest, tmp_path / "a", size=size)
    assert not (tmp_path / "a").exists()
    with pytest.raises(ContextError, match="not there"):
        store.link(digest, tmp_path / "a", size=size)
    assert store.add(model) == (digest, size)


def test_add_repairs_a_damaged_blob(model: Path, store: Store) -> None:
    digest, size = store.add(model)
    damage(store.path(digest), "content")
    assert store.add(model) == (digest, size)
    assert sha(store.path(digest).read_bytes()) == digest


def test_an_origin_with_other_content_is_refused(tmp_path: Path, model: Path, store: Store) -> None:
    (tmp_path / "other").write_bytes(b"other")
    with pytest.raises(ContextError, match="changed since it was read"):
        store.link(sha(model.read_bytes()), tmp_path / "a", origin=tmp_path / "other")
    assert not (tmp_path / "a").exists()


def test_a_blob_that_vanishes_before_the_link_comes_back(
    tmp_path: Path, model: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest, size = store.add(model)
    real, calls = os.link, []

    def link(source: Path, target: Path) -> None:
        calls.append(target)
        if len(calls) == 1:
            store.path(digest).unlink()
        real(source, target)

    monkeypatch.setattr(os, "link", link)
    store.link(digest, tmp_path / "a", size=size, origin=model)
    assert (tmp_path / "a").read_bytes() == model.read_bytes()


# --- verify ----------------------------------------------------------------------------------------------------------


def test_a_small_blob_is_read_before_it_counts_as_there(tmp_path: Path, model: Path, store: Store) -> None:
    digest, size = store.add(model)
    flip(store.path(digest))
    assert not store.has(digest, size)
    assert store.add(model) == (digest, size)
    assert store.has(digest, size)


def flip(blob: Path) -> None:
    """Change one byte, and nothing that a look at the file would tell."""
    data = blob.read_bytes()
    blob.chmod(0o644)
    blob.write_bytes(bytes([data[0] ^ 1]) + data[1:])
    os.utime(blob, (MTIME, MTIME))
    blob.chmod(0o444)


def test_what_is_copied_out_of_the_store_is_hashed(
    tmp_path: Path, model: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    model.write_bytes(bytes(100_000))
    digest, size = store.add(model)
    damaged: list[Path] = []

    def other_filesystem(source: Path, target: Path) -> None:
        if target.name == "a":
            if not damaged:
                damaged.append(source)
                flip(source)
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        os.rename(source, target)

    monkeypatch.setattr(os, "link", other_filesystem)
    with pytest.raises(DamagedError):
        store.link(digest, tmp_path / "a", size=size, origin=model)
    assert not (tmp_path / "a").exists()
    store.link(digest, tmp_path / "a", size=size, origin=model)
    assert (tmp_path / "a").read_bytes() == bytes(100_000)


# --- what is linked was read since it changed last ---


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """What the store hashed only to hash it."""
    found: list[Path] = []

    def digest(path: Path, below: bytes | None = None) -> Any:
        found.append(path)
        return digest_file(path, below)

    monkeypatch.setattr("packager.storage.models.digest_file", digest)
    return found


@pytest.fixture
def weights(model: Path) -> Path:
    model.write_bytes(os.urandom(100_000))
    return model


@pytest.mark.parametrize("linked", [0, 1, 3])
def test_a_blob_with_other_content_and_its_old_time_is_not_linked(
    tmp_path: Path, weights: Path, store: Store, linked: int
) -> None:
    digest, size = store.add(weights)
    for number in range(linked):
        store.link(digest, tmp_path / f"before{number}", size=size, origin=weights)
    flip(store.path(digest))
    with pytest.raises(ContextError, match="damaged"):
        store.link(digest, tmp_path / "a", size=size)
    store.link(digest, tmp_path / "a", size=size, origin=weights)
    assert (tmp_path / "a").read_bytes() == weights.read_bytes()


def test_a_blob_is_not_read_again_for_links_of_the_store(
    tmp_path: Path, weights: Path, store: Store, hashed: list[Path]
) -> None:
    digest, size = store.add(weights)
    for number in range(3):
        Store(store.root).link(digest, tmp_path / str(number), size=size)
    with store.relinking([digest]):
        (tmp_path / "0").unlink()
    store.link(digest, tmp_path / "4", size=size)
    assert hashed == []
    (tmp_path / "1").unlink()
    store.link(digest, tmp_path / "5", size=size)
    assert hashed == [store.path(digest)], "somebody else changed the inode: once"
    store.link(digest, tmp_path / "6", size=size)
    assert len(hashed) == 1


def test_a_blob_that_is_there_already_is_read_before_it_is_trusted(
    tmp_path: Path, weights: Path, store: Store, hashed: list[Path]
) -> None:
    digest, size = store.add(weights)
    flip(store.path(digest))
    twin = tmp_path / "twin"
    twin.write_bytes(weights.read_bytes())
    assert store.add(twin) == (digest, size)
    store.link(digest, tmp_path / "a", size=size, origin=twin)
    assert hashed == [store.path(digest)]
    assert (tmp_path / "a").read_bytes() == weights.read_bytes()


def test_what_is_written_while_links_change_is_not_taken_for_read(weights: Path, store: Store, tmp_path: Path) -> None:
    digest, size = store.add(weights)
    with store.relinking([digest]):
        store.path(digest).chmod(0o644)
        store.path(digest).write_bytes(bytes(size))
        store.path(digest).chmod(0o444)
    os.utime(store.path(digest), (MTIME, MTIME))
    with pytest.raises(ContextError, match="damaged"):
        store.link(digest, tmp_path / "a", size=size)


def test_verify_finds_damage_that_times_do_not_tell(tmp_path: Path, model: Path, store: Store) -> None:
    model.write_bytes(bytes(100_000))
    digest, size = store.add(model)
    sound, _ = store.add(Path(__file__))
    assert store.verify().damaged == ()
    blob = store.path(digest)
    blob.chmod(0o644)
    blob.write_bytes(b"W" + model.read_bytes()[1:])
    os.utime(blob, (MTIME, MTIME))
    blob.chmod(0o444)
    assert store.has(digest, size)
    found = store.verify()
    assert found.damaged == (digest,)
    assert found.checked == 2
    assert not store.has(digest)
    assert store.has(sound)


def test_an_empty_store_is_fine(store: Store) -> None:
    assert store.verify().checked == 0
    assert not store.root.exists()


@pytest.mark.parametrize(("value", "expected"), [("/x/cache", "/x/cache"), ("relative", "~/.cache"), ("", "~/.cache")])
def test_default_root_follows_the_xdg_specification(value: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("XDG_CACHE_HOME", value)
    assert str(default_root()) == expected.replace("~", "/home/me") + "/packager/store"


def add_and_link(root: Path, model: Path, target: Path) -> None:
    store = Store(root)
    digest, size = store.add(model)
    store.link(digest, target, size=size, origin=model)


def test_processes_at_the_same_time_keep_one_copy(tmp_path: Path) -> None:
    model = tmp_path / "m"
    model.write_bytes(os.urandom(4 * MIB))
    start = multiprocessing.get_context("spawn")
    processes = [
        start.Process(target=add_and_link, args=(tmp_path / "store", model, tmp_path / f"link{number}"))
        for number in range(4)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    inodes = {(tmp_path / f"link{number}").stat().st_ino for number in range(4)}
    assert len(inodes) == 1
    assert Store(tmp_path / "store").verify().damaged == ()
    assert files_in(tmp_path / "store/tmp") == []


# --- the verb ---------------------------------------------------------------------------------------------------------


def test_the_verb(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from packager.cli.store import command

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    store = Store()
    digest, _ = store.add(model)
    run = CliRunner().invoke
    assert run(command, ["verify", "-q"]).stdout == "1 file, 7.0 kB, 0 damaged\n"
    damage(store.path(digest), "content")
    failed = run(command, ["verify", "--format", "json"])
    assert isinstance(failed.exception, ContextError)
    assert digest in failed.stdout


# --- memories ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["memory", "content", "digests"])
def test_nobody_else_reads_what_is_remembered(kind: str, tmp_path: Path) -> None:
    """Whatever the umask is: an unfinished upload's place may have a signature in it."""
    before = os.umask(0)
    try:
        if kind == "content":
            ContentStore(tmp_path / "kept").put_bytes(b"x")
        elif kind == "memory":
            Memory("uploads", tmp_path / "kept").remember(b"x", "key")
        else:
            DigestMemory(tmp_path / "kept", later).remember("/m", Stamp(1, 2, 3, 4, 5), "0" * 64, read_at=later())
    finally:
        os.umask(before)
    files = [path for path in (tmp_path / "kept").rglob("*") if path.is_file()]
    assert files
    for path in files:
        open_to_others = [each for each in (path, *path.parents) if each.is_relative_to(tmp_path / "kept")]
        assert any(not stat.S_IMODE(each.stat().st_mode) & 0o077 for each in open_to_others if each.is_dir())


RESTED = 50_000_000


@pytest.mark.parametrize("time_of", ["mtime_ns", "ctime_ns"])
def test_a_digest_is_remembered_where_both_times_rested(time_of: str, tmp_path: Path) -> None:
    now = later()
    old = Stamp(device=1, inode=2, size=3, mtime_ns=1, ctime_ns=1)
    fresh = old._replace(**{time_of: now - RESTED + 1})
    memory = DigestMemory(tmp_path, lambda: now)
    memory.remember("/fresh", fresh, "0" * 64, read_at=now)
    assert memory.recall("/fresh", fresh) is None
    rested = old._replace(**{time_of: now - RESTED})
    memory.remember("/rested", rested, "0" * 64, read_at=now)
    assert memory.recall("/rested", rested) == "0" * 64


@pytest.mark.parametrize("field", Stamp._fields)
def test_a_digest_is_recalled_where_all_of_the_stamp_is_the_same(field: str, tmp_path: Path) -> None:
    memory, stamp = DigestMemory(tmp_path), Stamp(1, 2, 3, 4, 5)
    memory.remember("/m", stamp, "0" * 64, read_at=later())
    assert memory.recall("/m", stamp) == "0" * 64
    assert memory.recall("/m", stamp._replace(**{field: 9})) is None


def test_the_stamp_has_the_time_that_nobody_can_set(model: Path) -> None:
    before = Stamp.of(model.stat())
    assert before == (
        model.stat().st_dev, model.stat().st_ino, 7000, model.stat().st_mtime_ns, model.stat().st_ctime_ns
    )  # fmt: skip


@pytest.mark.parametrize("action", ["digest", "add"])
def test_the_time_of_a_reading_is_that_of_its_begin(action: str, model: Path, tmp_path: Path) -> None:
    """A write of the file while it is read may leave its times as they were."""
    rested = model.stat().st_ctime_ns + RESTED

    def clock() -> int:
        # By this clock the file rests when the reading ends, and did not when it began.
        return rested + 1 if reads.of(model) else rested - 1

    with pytest.MonkeyPatch.context() as patch:
        reads = Reads(patch)
        getattr(Store(tmp_path / "store", clock=clock), action)(model)
        assert reads.of(model) == 1
        getattr(Store(tmp_path / "store", clock=later), action)(model)
        assert reads.of(model) == 2, "it was not remembered"
        getattr(Store(tmp_path / "store", clock=later), action)(model)
        assert reads.of(model) == 2, "and now it was"
