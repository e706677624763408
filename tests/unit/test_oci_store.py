"""The content store: nothing half, nothing wrong, and nobody in anybody's way."""

from __future__ import annotations

import errno
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, cast

import pytest

from packager.contract import MTIME
from packager.errors import ContextError
from packager.oci.values import digest_of
from packager.storage.content import ContentStore, Memory, content_root
from packager.storage.locks import alone, lock_of

WRONG = "sha256:" + "0" * 64


@pytest.fixture
def content(tmp_path: Path) -> ContentStore:
    return ContentStore(tmp_path / "content")


def leftovers(content: ContentStore) -> list[Path]:
    return [path for path in content.root.rglob("*") if path.is_file()]


def test_what_comes_in_is_there_under_its_digest(content: ContentStore) -> None:
    data = os.urandom((3 << 20) + 7)
    digest, size = content.put(io.BytesIO(data), digest_of(data))
    assert (digest, size) == (digest_of(data), len(data))
    assert content.has(digest)
    assert content.has(digest, size)
    assert not content.has(digest, size - 1)
    assert content.path(digest).read_bytes() == data
    with content.open(digest) as stream:
        assert stream.read(1) == data[:1]
    assert content.put_bytes(data) == digest
    assert [status.st_size for _, status in content.blobs.all()] == [len(data)]


def test_other_bytes_than_expected_are_not_kept(content: ContentStore) -> None:
    with pytest.raises(ContextError, match="what arrived as"):
        content.put(io.BytesIO(b"data"), WRONG)
    assert leftovers(content) == []
    with pytest.raises(ContextError, match="is not in the store"):
        content.open(WRONG)


@pytest.mark.parametrize("digest", ["", "sha256:", "sha256:../../x", "sha512:" + "0" * 64, WRONG + "\n", WRONG.upper()])
def test_a_digest_is_no_path(content: ContentStore, digest: str) -> None:
    with pytest.raises(ContextError, match="is not a sha256 digest"):
        content.path(digest)
    with pytest.raises(ContextError):
        content.put(io.BytesIO(b""), digest)


class Breaking:
    """A stream that fails after its first block."""

    def __init__(self, error: BaseException) -> None:
        self._parts: list[Callable[[], bytes]] = [lambda: b"x" * 1000, self._fail]
        self._error = error

    def _fail(self) -> bytes:
        raise self._error

    def read(self, size: int = -1) -> bytes:
        return self._parts.pop(0)()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError("x"), ContextError("changed")])
def test_a_stream_that_breaks_leaves_nothing(content: ContentStore, error: BaseException) -> None:
    with pytest.raises(type(error)):
        content.put(cast(BinaryIO, Breaking(error)))
    assert leftovers(content) == []


def test_a_full_disk(content: ContentStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("packager.storage.content.write_all", full)
    with pytest.raises(ContextError, match="the disk is full") as caught:
        content.put_bytes(b"data")
    assert "store gc" in str(caught.value.remedy)
    assert leftovers(content) == []


def test_a_blob_that_somebody_changed_is_not_taken_for_whole(content: ContentStore) -> None:
    digest = content.put_bytes(b"data")
    path = content.path(digest)
    path.chmod(0o644)
    path.write_bytes(b"evil")
    assert not content.has(digest)
    assert content.put_bytes(b"data") == digest
    assert path.read_bytes() == b"data"
    assert content.verify() == ()


def test_verify_finds_and_removes_what_is_damaged(content: ContentStore) -> None:
    digest, good = content.put_bytes(b"data"), content.put_bytes(b"good")
    path = content.path(digest)
    before = path.stat()
    path.chmod(0o644)
    path.write_bytes(b"evil")
    path.chmod(0o444)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert content.verify() == (digest,)
    assert not path.exists()
    assert content.has(good)


def test_a_use_is_noted(content: ContentStore) -> None:
    """By the access time: it is what a collection goes by."""
    old, used = content.put_bytes(b"old"), content.put_bytes(b"used")
    for digest in (old, used):
        os.utime(content.path(digest), (0, MTIME))
    assert content.has(used)
    times = [content.path(digest).stat() for digest in (old, used)]
    assert times[0].st_atime == 0
    assert times[1].st_atime > time.time() - 60
    assert times[1].st_mtime == MTIME
    assert content.verify() == ()
    assert content.path(old).stat().st_atime == 0, "to look after it is no use of it"


def test_what_was_given_is_held_as_long_as_the_store_lives(tmp_path: Path) -> None:
    root = tmp_path / "content"
    digest = ContentStore(root).put_bytes(b"data")
    with alone(lock_of(root)) as free:
        assert free
    store = ContentStore(root)
    assert store.has(digest)
    with alone(lock_of(root)) as free:
        assert not free
    del store
    with alone(lock_of(root)) as free:
        assert free


def test_a_folder_that_cannot_be_locked_can_be_read(tmp_path: Path) -> None:
    root = tmp_path / "content"
    digest = ContentStore(root).put_bytes(b"data")
    lock_of(root).unlink()
    lock_of(root).symlink_to("/proc/nothing")
    assert ContentStore(root).has(digest)


WRITER = """
import sys, io, os
from pathlib import Path
from packager.storage.content import ContentStore
content = ContentStore(Path(sys.argv[1]))
for number in range(200):
    content.put(io.BytesIO(b"%d" % number * 5000))
print("done", flush=True)
if len(sys.argv) > 2:
    class Slow:
        def read(self, size):
            print("reading", flush=True)
            import time; time.sleep(60)
    content.put(Slow())
"""


def test_two_processes_at_once_and_one_that_is_interrupted(content: ContentStore) -> None:
    command = [sys.executable, "-c", WRITER, str(content.root)]
    runs = [subprocess.Popen([*command, *more], stdout=subprocess.PIPE, text=True, stderr=subprocess.PIPE)
            for more in ([], ["slow"])]  # fmt: skip
    assert runs[1].stdout is not None
    while "reading" not in runs[1].stdout.readline():
        pass
    runs[1].send_signal(signal.SIGINT)
    said = [run.communicate(timeout=60)[0] for run in runs]
    assert said[0] == "done\n"
    assert runs[1].returncode != 0
    assert len(list(content.blobs.all())) == 200
    assert content.verify() == ()
    assert list((content.root / "tmp").glob("*")) == []


def test_memories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    memory = Memory("uploads")
    assert memory.recall("a", "b") is None
    memory.remember(b"1", "a", "b")
    memory.remember(b"2", "a", "b")
    assert memory.recall("a", "b") == b"2"
    assert memory.recall("ab") is None
    assert Memory("other").recall("a", "b") is None
    (file,) = (content_root() / "memory" / "uploads").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    memory.forget("a", "b")
    memory.forget("a", "b")
    assert memory.recall("a", "b") is None


def test_a_memory_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    Memory("uploads", tmp_path / "file").remember(b"x", "key")
