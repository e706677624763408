"""A workspace that is a folder: what it keeps, what goes wrong around it, and many programs at once."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from packager.errors import ContextError, UsageError
from packager.workspace import actions
from packager.workspace.base import NotRegisteredError, TakenError
from packager.workspace.drafts import MOST_FILES
from packager.workspace.folder import FolderWorkspace
from packager.workspace.records import Records
from packager.workspace.values import Change, Content, Held, ImageRecord, Version


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "ws"


@pytest.fixture
def workspace(root: Path) -> FolderWorkspace:
    return FolderWorkspace(root)


def file_of(tmp_path: Path, data: bytes = b"weights", name: str = "model.pkl") -> Content:
    path = tmp_path / name
    path.write_bytes(data)
    return Content(path=name, origin=path)


def draft(name: str = "mnist", **more: Any) -> Version:
    return msgspec.structs.replace(Version(kind="model", name=name), **more)


def test_a_version_is_files_that_people_can_read(workspace: FolderWorkspace, tmp_path: Path, root: Path) -> None:
    one = file_of(tmp_path)
    sample = Content(path="sample.json", origin=one.origin)
    made = workspace.add(draft(framework="ScikitLearn", framework_version="1.9.1", tags={"a": "b"}), [one], [sample])
    assert (made.id, made.top, made.size) == ("mnist:1", "model.pkl", 7)
    folder = root / "models/mnist/1"
    assert (folder / "files/model.pkl").read_bytes() == (folder / "samples/sample.json").read_bytes() == b"weights"
    assert (folder / "files/model.pkl").stat().st_mode & 0o777 == 0o444
    record = json.loads((folder / "version.json").read_text())
    assert record["tags"] == {"a": "b"}
    assert workspace.get("model", "mnist") == workspace.get("model", "mnist", 1) == made
    assert FolderWorkspace(root).versions("model") == (made,)


def test_what_was_registered_does_not_follow_its_file(workspace: FolderWorkspace, tmp_path: Path) -> None:
    content = file_of(tmp_path)
    made = workspace.add(draft(), [content])
    content.origin.write_bytes(b"changed")
    with workspace.open(made, made.files[0]) as path:
        assert path.read_bytes() == b"weights"
    assert workspace.add(draft(), [content]).digest != made.digest


def test_the_next_version_shares_what_did_not_change(workspace: FolderWorkspace, tmp_path: Path, root: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.bin").write_bytes(bytes([number]) * 100_000)
    time.sleep(0.1)  # what was written just now is read again
    shards = [Content(path=f"m/{number}.bin", origin=tmp_path / f"{number}.bin") for number in range(3)]
    workspace.add(draft(), shards)
    shards[1].origin.write_bytes(b"x" * 100_000)
    workspace.add(draft(), shards)
    links = [(root / f"models/mnist/2/files/m/{number}.bin").stat().st_nlink for number in range(3)]
    assert links == [2, 1, 2]


def test_a_number_is_never_given_again(workspace: FolderWorkspace, tmp_path: Path) -> None:
    content = file_of(tmp_path)
    versions = [workspace.add(draft(), [content]) for _ in range(3)]
    workspace.delete(versions[2])
    workspace.delete(versions[0])
    assert [each.version for each in workspace.versions("model")] == [2]
    assert workspace.add(draft(), [content]).version == 4
    with pytest.raises(NotRegisteredError, match="the model mnist:1 is deleted"):
        workspace.get("model", "mnist", 1)
    with pytest.raises(NotRegisteredError):
        workspace.delete(versions[0])
    with pytest.raises(TakenError, match="deleted"):
        workspace.add(draft(), [content], number=1)


def test_the_remedy_names_the_versions_that_are_there(workspace: FolderWorkspace, tmp_path: Path) -> None:
    workspace.add(draft(), [file_of(tmp_path)])
    with pytest.raises(NotRegisteredError) as caught:
        workspace.get("model", "mnist", 7)
    assert caught.value.remedy == "it has version 1"
    with pytest.raises(NotRegisteredError, match="no environment 'mnist'"):
        workspace.get("environment", "mnist")


def test_tags_change_and_properties_do_not(workspace: FolderWorkspace, tmp_path: Path) -> None:
    made = workspace.add(draft(tags={"area": "mnist"}, properties={"by": "ci"}), [file_of(tmp_path)])
    changed = workspace.change(made, Change(add_tags={"x": "1"}, remove_tags=("area", "none"), description="new"))
    assert (changed.tags, changed.description, changed.changes, changed.digest) == ({"x": "1"}, "new", 1, made.digest)
    # What somebody else changed meanwhile stays.
    again = workspace.change(made, Change(add_properties={"by": "ci", "more": "yes"}))
    assert (again.tags, again.properties, again.changes) == ({"x": "1"}, {"by": "ci", "more": "yes"}, 2)
    assert workspace.change(made, Change(add_tags={"x": "1"})).changes == 2
    with pytest.raises(UsageError, match="'by' of mnist:1 is 'ci'"):
        workspace.change(made, Change(add_properties={"by": "hand"}))
    workspace.delete(made)
    with pytest.raises(NotRegisteredError):
        workspace.change(made, Change(description="late"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""}, {"name": "a/b"}, {"name": "-a"}, {"name": "a\n"}, {"name": "é"}, {"name": "a" * 256},
        {"tags": {"": "x"}}, {"tags": {"a": "x\x00"}}, {"tags": {"a\x1b": "x"}}, {"properties": {"a=b": "x"}},
        {"description": "\x07"}, {"description": "x" * 5000}, {"framework_version": "1.0"},
    ],
)  # fmt: skip
def test_what_is_no_name_or_text_is_refused(
    wrong: dict[str, Any], workspace: FolderWorkspace, tmp_path: Path, root: Path
) -> None:
    with pytest.raises(UsageError):
        workspace.add(draft(**wrong), [file_of(tmp_path)])
    assert not root.exists()


@pytest.mark.parametrize("paths", [[], ["/a"], ["../a"], ["a/../b"], ["a//b"], ["a", "a"], ["a", "a/b"], ["a\nb"]])
def test_paths_that_cannot_be_are_refused(paths: list[str], workspace: FolderWorkspace, tmp_path: Path) -> None:
    origin = file_of(tmp_path).origin
    with pytest.raises(ContextError):
        workspace.add(draft(), [Content(path=path, origin=origin) for path in paths])
    assert workspace.versions("model") == ()


def test_there_is_a_limit_of_files(workspace: FolderWorkspace, tmp_path: Path) -> None:
    origin = file_of(tmp_path).origin
    with pytest.raises(ContextError, match="more than"):
        workspace.add(draft(), [Content(path=str(number), origin=origin) for number in range(MOST_FILES + 1)])


def test_nothing_is_half_registered(workspace: FolderWorkspace, tmp_path: Path, root: Path) -> None:
    good = file_of(tmp_path)
    with pytest.raises(ContextError):
        workspace.add(draft(), [good, Content(path="gone", origin=tmp_path / "gone")])
    with pytest.raises(ContextError, match="changed since"):
        workspace.add(draft(), [msgspec.structs.replace(good, sha256="0" * 64)])
    assert workspace.versions("model") == ()
    assert [path.name for path in (root / "models/mnist").iterdir()] == []


def test_a_full_disk_says_so(
    workspace: FolderWorkspace, tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = file_of(tmp_path, b"x" * 5_000_000)

    def full(descriptor: int, data: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with pytest.raises(ContextError, match="the disk is full"):
            workspace.add(draft(), [content])
    assert not list(root.glob("models/mnist/*")) + list(root.glob("models/mnist/.new*"))
    assert workspace.add(draft(), [content]).version == 1


def test_a_share_that_is_read_only_is_read(
    workspace: FolderWorkspace, tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = workspace.add(draft(), [file_of(tmp_path)])

    def refuse(*arguments: object, **more: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "mkdir", refuse)
    assert FolderWorkspace(root).versions("model") == (made,)
    with pytest.raises(ContextError, match="cannot be written: Read-only file system"):
        workspace.add(draft(), [file_of(tmp_path)])


def test_a_workspace_of_a_newer_packager_is_left_alone(workspace: FolderWorkspace, root: Path) -> None:
    workspace.create()
    (root / "workspace.json").write_text('{"format": "packager.workspace/9", "name": "x"}')
    with pytest.raises(ContextError, match=r"the format 'packager\.workspace/9'") as caught:
        FolderWorkspace(root)
    assert caught.value.remedy == "use a newer packager"
    (root / "workspace.json").write_text("{")
    with pytest.raises(ContextError, match="not valid"):
        FolderWorkspace(root)


def test_a_folder_of_something_else_becomes_no_workspace(root: Path, tmp_path: Path) -> None:
    root.mkdir()
    (root / "mine").touch()
    with pytest.raises(ContextError, match="has other files"):
        FolderWorkspace(root).add(draft(), [file_of(tmp_path)])
    (tmp_path / "file").touch()
    with pytest.raises(ContextError, match="is a file"):
        FolderWorkspace(tmp_path / "file")


def test_a_workspace_that_somebody_makes_meanwhile_is_taken(
    workspace: FolderWorkspace, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = FolderWorkspace(root)
    workspace.add(draft(), [file_of(tmp_path)])
    looks = iter([False, True])
    monkeypatch.setattr(FolderWorkspace, "exists", property(lambda _: next(looks)))
    late.create()
    monkeypatch.undo()
    assert [each.id for each in late.versions("model")] == [f"{draft().name}:1"]


@pytest.mark.parametrize("text", ["{", "null", '{"kind": "model", "name": "other", "version": 1}', None])
def test_a_damaged_record_is_named_and_all_else_works(
    text: str | None, workspace: FolderWorkspace, tmp_path: Path, root: Path
) -> None:
    content = file_of(tmp_path)
    for name in ("a", "b"):
        workspace.add(draft(name), [content])
    record = root / "models/a/1/version.json"
    record.chmod(0o644)
    record.unlink() if text is None else record.write_text(text)
    fresh = FolderWorkspace(root)
    assert [each.id for each in fresh.versions("model")] == ["b:1"]
    (said,) = fresh.damage()
    assert "a:1" in said
    assert fresh.add(draft("a"), [content]).version == 2


@pytest.mark.parametrize("what", ["gone", "shorter", "link", "altered"])
def test_a_file_that_is_not_as_it_was_is_named(
    what: str, workspace: FolderWorkspace, tmp_path: Path, root: Path
) -> None:
    made = workspace.add(draft(), [file_of(tmp_path)])
    path = root / "models/mnist/1/files/model.pkl"
    path.unlink()
    if what == "link":
        path.symlink_to(tmp_path / "model.pkl")
    elif what != "gone":
        path.write_bytes(b"w" if what == "shorter" else b"WEIGHTS")
    (said,) = actions.verify(workspace, made)
    assert "model.pkl" in said
    with pytest.raises(ContextError):
        actions.download(workspace, made, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_a_rename_that_was_done_and_then_reported_as_failed(
    workspace: FolderWorkspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As NFS does where the answer was lost and the client asked again."""
    rename = os.rename

    def twice(source: str | Path, target: str | Path) -> None:
        rename(source, target)
        raise OSError(errno.ENOENT, "No such file or directory")

    monkeypatch.setattr(os, "rename", twice)
    assert workspace.add(draft(), [file_of(tmp_path)]).version == 1
    assert len(workspace.versions("model")) == 1


def test_a_filesystem_without_hard_links(
    workspace: FolderWorkspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    versions = [workspace.add(draft(), [file_of(tmp_path)]) for _ in range(2)]
    assert workspace.change(versions[1], Change(description="x")).changes == 1
    assert [each.version for each in workspace.versions("model")] == [1, 2]


def test_times_that_go_back_change_no_number(
    workspace: FolderWorkspace, tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = file_of(tmp_path)
    first = workspace.add(draft(), [content])
    os.utime(root / "models/mnist", (1_000_000, 1_000_000))
    assert workspace.versions("model") == (first,)
    monkeypatch.setattr(time, "time_ns", lambda: 0)
    second = workspace.add(draft(), [content])
    os.utime(root / "models/mnist", (1_000_000, 1_000_000 - 5))
    assert workspace.versions("model") == (first, second)


def test_a_list_comes_from_memory_and_follows_each_change(
    workspace: FolderWorkspace, tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = file_of(tmp_path)
    made = [workspace.add(draft(name), [content]) for name in ("a", "b")]
    for name in ("a", "b"):
        os.utime(root / f"models/{name}", (1_000_000, 1_000_000))
    assert workspace.versions("model") == tuple(made)
    read: list[str] = []

    def note(self: Records, name: str) -> tuple[dict[int, Version], tuple[str, ...]]:
        read.append(name)
        return {}, ()

    monkeypatch.setattr(Records, "read", note)
    assert workspace.versions("model") == tuple(made)
    assert read == []
    os.utime(root / "models/b", (1_000_001, 1_000_001))
    assert workspace.versions("model") == (made[0],)
    assert read == ["b"]


def test_images_are_remembered_in_their_order(workspace: FolderWorkspace) -> None:
    held = (Held(name="mnist", version=1, digest="sha256:0"),)
    records = [ImageRecord(reference=f"r/{n}:1", when=f"2026-01-0{n}T00:00:00Z", models=held) for n in (2, 1)]
    for record in records:
        workspace.note(record)
    assert workspace.images() == tuple(reversed(records))


# --- many at once, and ended at any step ------------------------------------------------------------------------------


def _register(root: Path, path: Path, count: int) -> None:
    for _ in range(count):
        FolderWorkspace(root).add(draft(), [Content(path="m", origin=path)])


def test_ten_processes_register_one_name(tmp_path: Path, root: Path) -> None:
    path = file_of(tmp_path).origin
    spawn = multiprocessing.get_context("fork")
    workers = [spawn.Process(target=_register, args=(root, path, 5)) for _ in range(10)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 10
    assert [each.version for each in FolderWorkspace(root).versions("model")] == list(range(1, 51))


def _change(root: Path, key: str, count: int) -> None:
    workspace = FolderWorkspace(root)
    for number in range(count):
        workspace.change(workspace.get("model", "mnist"), Change(add_tags={f"{key}{number}": "x"}))


def test_changes_at_once_are_all_there(workspace: FolderWorkspace, tmp_path: Path, root: Path) -> None:
    workspace.add(draft(), [file_of(tmp_path)])
    spawn = multiprocessing.get_context("fork")
    workers = [spawn.Process(target=_change, args=(root, key, 10)) for key in "abcde"]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    version = workspace.get("model", "mnist")
    assert (len(version.tags), version.changes) == (50, 50)


#: Ends itself at the n-th call of the system that changes a file.
_ENDED = """
import os, signal, sys
from pathlib import Path
from packager.workspace import actions
from packager.workspace.folder import FolderWorkspace
from packager.workspace.values import Content, Version

left = int(sys.argv[1])

def hook(event, arguments):
    global left
    made = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_CREAT | os.O_WRONLY | os.O_RDWR)
    here = any(sys.argv[2] in os.fsdecode(part) for part in arguments if isinstance(part, (str, bytes, os.PathLike)))
    if here and (made or event in ("os.rename", "os.mkdir", "os.link", "os.remove", "os.rmdir", "os.chmod")):
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

root, what = Path(sys.argv[2]), sys.argv[3]
workspace = FolderWorkspace(root)
sys.addaudithook(hook)
if what == "register":
    workspace.add(Version(kind="model", name="mnist"), [Content(path="m/a", origin=Path(sys.argv[4]))])
elif what == "delete":
    workspace.delete(workspace.get("model", "mnist", 1))
elif what == "copy":
    actions.copy(FolderWorkspace(Path(sys.argv[4])), workspace, FolderWorkspace(Path(sys.argv[4])).versions("model"))
else:
    version = FolderWorkspace(Path(sys.argv[4])).get("model", "mnist")
    actions.download(FolderWorkspace(Path(sys.argv[4])), version, root)
"""


@pytest.mark.parametrize("what", ["register", "delete", "copy", "download"])
def test_killed_at_any_step_leaves_nothing_half(what: str, tmp_path: Path) -> None:
    path, there = file_of(tmp_path, b"x" * 70_000).origin, tmp_path / "there"
    FolderWorkspace(there).add(draft(), [Content(path="m/a", origin=path)])
    for step in range(40):
        root = tmp_path / "each"
        shutil.rmtree(root, ignore_errors=True)
        if what == "delete":
            shutil.copytree(there, root)
        other = {"register": path, "delete": "", "copy": there, "download": there}[what]
        words = [sys.executable, "-c", _ENDED, str(step), str(root), what, str(other)]
        ended = subprocess.run(words, check=False).returncode
        assert ended in (0, -signal.SIGKILL)
        if what == "download":
            assert not (root / "m").exists() or (root / "m/a").read_bytes() == b"x" * 70_000
        else:
            _check_whole(FolderWorkspace(root), path, what)
        if ended == 0:
            break
    assert ended == 0
    assert step > 3


def _check_whole(workspace: FolderWorkspace, path: Path, what: str) -> None:
    """What is there is whole, and all goes on."""
    versions = workspace.versions("model")
    assert workspace.damage() == ()
    assert len(versions) <= 1
    assert [actions.verify(workspace, each) for each in versions] == [()] * len(versions)
    highest = max((each.version for each in versions), default=0)
    made = workspace.add(draft(), [Content(path="m/a", origin=path)])
    assert made.version > highest
    if what == "delete":
        assert made.version == 2
    assert not actions.verify(workspace, made)
