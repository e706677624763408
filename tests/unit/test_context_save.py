from __future__ import annotations

import errno
import multiprocessing
import os
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from packager.context import save as save_module
from packager.context import writing
from packager.context.build_context import BuildContext
from packager.context.save import save
from packager.context.verify import verify
from packager.contract import MTIME
from packager.errors import ContextError
from packager.spec.load import SpecFile
from packager.storage.models import Store
from packager.storage.reading import digest_file
from tests.unit import context_factory as factory

WEIGHTS = "layers/{}/var/azureml-app/azureml-models/model0/0/m.bin"


@pytest.fixture
def spec_file(tmp_path: Path) -> SpecFile:
    return factory.write_project(tmp_path / "project")


@pytest.fixture
def context(spec_file: SpecFile) -> BuildContext:
    return factory.context(spec_file)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "out"


def model_path(context: BuildContext, name: str = "m.bin") -> str:
    return next(file.path for file in context.files if file.model and file.path.endswith(name))


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if ".packager-" in path.name)


# --- what is written --------------------------------------------------------------------------------------------------


def test_everything_is_written_with_its_mode_and_time(
    spec_file: SpecFile, context: BuildContext, target: Path, store: Store
) -> None:
    assert save(context, spec_file.root, target, store) == target
    found = factory.snapshot(target)
    assert set(found) == {".", "packager.json", *context.folders, *(file.path for file in context.files)}
    for folder in (".", *context.folders):
        assert found[folder][:2] == (0o755, MTIME * 10**9)
    for file in context.files:
        mode, mtime, _, content = found[file.path]
        assert mode == file.mode
        assert content is not None
        assert len(content) == file.size
        assert (mtime == MTIME * 10**9) == file.path.startswith("layers/")
    assert found["packager.json"][3] == context.manifest_text.encode()
    assert found["Dockerfile"][3] == factory.TEXTS["Dockerfile"].encode()
    assert verify(target).ok
    assert not verify(target).retimed


def build(root: Path, number: int) -> tuple[dict[str, Any], str]:
    """Make the same sources differently, and save them."""
    files = {f"src/p{index % 7}/m{index}.py": f"X = {index}\n" for index in range(60)}
    files["src/score.py"] = factory.SCORE
    ordered = sorted(files.items(), reverse=bool(number))
    factory.write_files(root / "project", dict(ordered))
    spec_file = factory.write_project(root / "project")
    if number:
        for path in (root / "project").rglob("*"):
            os.utime(path, (1_000_000_000 + number, 1_000_000_000 + number))
    save(factory.context(spec_file), spec_file.root, root / "out", Store(root / "store"))
    return factory.snapshot(root / "out"), factory.context(spec_file).digest


def test_same_inputs_give_the_same_bytes_modes_and_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = build(tmp_path / "a", 0)
    monkeypatch.setenv("TZ", "Pacific/Auckland")
    monkeypatch.setenv("LC_ALL", "tr_TR.UTF-8")
    time.tzset()
    before = os.umask(0o077)
    try:
        second = build(tmp_path / "another/folder/of the user", 1)
    finally:
        os.umask(before)
        monkeypatch.undo()
        time.tzset()
    assert first == second


def test_locale_of_the_process_does_not_matter(tmp_path: Path) -> None:
    """It says how Python decodes names, and is fixed when a process starts."""
    import subprocess
    import sys

    spec_file = factory.write_project(tmp_path / "project")
    code = """\
import sys
from pathlib import Path
from packager.context.save import save
from packager.spec.load import load_spec
from packager.storage.models import Store
from tests.unit import context_factory as factory
spec, out, store = map(Path, sys.argv[1:])
spec_file = load_spec(spec)
save(factory.context(spec_file), spec_file.root, out, Store(store))
"""
    for number, locale in enumerate(("C.UTF-8", "C")):
        environment = {**os.environ, "LC_ALL": locale, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
        arguments = [str(spec_file.root), str(tmp_path / f"out{number}"), str(tmp_path / "store")]
        subprocess.run(
            [sys.executable, "-c", code, *arguments], check=True, env=environment, cwd=Path(__file__).parents[2]
        )
    assert factory.snapshot(tmp_path / "out0") == factory.snapshot(tmp_path / "out1")


def test_models_are_hard_links_to_one_copy(
    tmp_path: Path, spec_file: SpecFile, context: BuildContext, store: Store
) -> None:
    for name in ("out1", "out2"):
        save(context, spec_file.root, tmp_path / name, store)
    path = model_path(context)
    one, two = (tmp_path / "out1" / path).stat(), (tmp_path / "out2" / path).stat()
    blob = store.path(factory.read_digest(spec_file.root / "models/m.bin")[0]).stat()
    assert one.st_ino == two.st_ino == blob.st_ino
    assert blob.st_nlink == 3
    assert (spec_file.root / "models/m.bin").stat().st_nlink == 1
    # Nothing else is linked to anything.
    assert (tmp_path / "out1/Dockerfile").stat().st_nlink == 1


def test_a_changed_model_does_not_change_a_saved_context(
    spec_file: SpecFile, context: BuildContext, target: Path, store: Store
) -> None:
    save(context, spec_file.root, target, store)
    before = factory.snapshot(target)
    (spec_file.root / "models/m.bin").write_bytes(b"other")
    assert factory.snapshot(target) == before


def test_a_damaged_blob_is_replaced_and_told_by_verify_of_older_contexts(
    tmp_path: Path, spec_file: SpecFile, context: BuildContext, store: Store
) -> None:
    save(context, spec_file.root, tmp_path / "old", store)
    victim = tmp_path / "old" / model_path(context)
    victim.chmod(0o644)
    victim.write_bytes(b"edited through its other name")
    save(context, spec_file.root, tmp_path / "new", store)
    assert verify(tmp_path / "new").ok
    assert [each.path for each in verify(tmp_path / "old").differences] == [model_path(context)]


def test_models_are_read_once_for_all_contexts_that_replace_each_other(
    spec_file: SpecFile, target: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    (spec_file.root / "models/m.bin").write_bytes(os.urandom(100_000))
    context = factory.context(spec_file)
    save(context, spec_file.root, target, store)
    reads: list[Path] = []

    def digest(path: Path, below: bytes | None = None) -> Any:
        reads.append(path)
        return digest_file(path, below)

    monkeypatch.setattr("packager.storage.models.digest_file", digest)
    for _ in range(3):
        save(context, spec_file.root, target, store)
    assert reads == []
    # Through its other name, with the old size and time.
    victim = target / model_path(context)
    victim.chmod(0o644)
    victim.write_bytes(bytes(100_000))
    victim.chmod(0o444)
    os.utime(victim, (MTIME, MTIME))
    save(context, spec_file.root, target, store)
    assert verify(target).ok
    assert len(reads) == 1


@pytest.mark.parametrize("size", [10, 3 << 20])
def test_an_app_file_that_changed_since_the_scan(spec_file: SpecFile, target: Path, store: Store, size: int) -> None:
    (spec_file.root / "src/data.bin").write_bytes(bytes(size))
    context = factory.context(spec_file)
    (spec_file.root / "src/data.bin").write_bytes(b"x" * size)
    with pytest.raises(ContextError, match=r"data\.bin changed since it was read"):
        save(context, spec_file.root, target, store)
    assert not target.exists()
    assert leftovers(target.parent) == []


def test_a_model_that_changed_since_the_scan(
    spec_file: SpecFile, context: BuildContext, target: Path, store: Store
) -> None:
    (spec_file.root / "models/m.bin").write_bytes(b"x" * 10240)
    with pytest.raises(ContextError, match=r"m\.bin changed since it was read"):
        save(context, spec_file.root, target, store)
    assert not target.exists()


def test_a_large_app_file_is_copied(spec_file: SpecFile, target: Path, store: Store) -> None:
    (spec_file.root / "src/data.bin").write_bytes(os.urandom(3 << 20))
    (spec_file.root / "src/data.bin").chmod(0o700)
    save(factory.context(spec_file), spec_file.root, target, store)
    assert verify(target).ok
    assert not verify(target).retimed


# --- many files, two processes ----------------------------------------------------------------------------------------


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "SHARED", 2)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    # Not those that another test's library left running: the child copies two files, and ends without any handler.
    monkeypatch.setattr(threading, "active_count", lambda: 1)


@pytest.mark.usefixtures("shared")
def test_two_processes_write_the_same(
    tmp_path: Path, spec_file: SpecFile, context: BuildContext, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    forks = []
    real = os.fork

    def fork() -> int:
        forks.append(1)
        return real()

    monkeypatch.setattr(os, "fork", fork)
    save(context, spec_file.root, tmp_path / "two", store)
    assert forks
    monkeypatch.setattr(writing, "SHARED", 10**9)
    save(context, spec_file.root, tmp_path / "one", store)
    assert len(forks) == 1
    assert factory.snapshot(tmp_path / "one") == factory.snapshot(tmp_path / "two")


@pytest.mark.usefixtures("shared")
def test_a_process_with_other_threads_does_not_fork(
    spec_file: SpecFile, context: BuildContext, target: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threading, "active_count", lambda: 2)
    monkeypatch.setattr(os, "fork", lambda: pytest.fail("forked"))
    save(context, spec_file.root, target, store)
    assert verify(target).ok


@pytest.mark.usefixtures("shared")
@pytest.mark.parametrize("name", ["lib/run.sh", "ünï/Ω.txt"])
def test_errors_of_either_process_are_told(
    spec_file: SpecFile, context: BuildContext, target: Path, store: Store, name: str
) -> None:
    (spec_file.root / "src" / name).write_text("changed")
    with pytest.raises(ContextError, match="changed since it was read"):
        save(context, spec_file.root, target, store)
    assert not target.exists()
    assert leftovers(target.parent) == []


# --- nothing half-written ---------------------------------------------------------------------------------------------


class BadStore(Store):
    """Fails when something is linked."""

    error: BaseException = KeyboardInterrupt()

    def link(self, *args: Any, **kwargs: Any) -> None:
        raise self.error


@pytest.mark.parametrize(
    "error",
    [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device"), ContextError("refused"), RuntimeError()],
)
@pytest.mark.parametrize("previous", [False, True])
def test_an_interrupted_save_leaves_what_was_there(
    tmp_path: Path, spec_file: SpecFile, context: BuildContext, target: Path, error: BaseException, previous: bool
) -> None:
    if previous:
        save(context, spec_file.root, target, Store(tmp_path / "store"))
    before = factory.snapshot(target) if previous else {}
    bad = BadStore(tmp_path / "store")
    bad.error = error
    expected = ContextError if isinstance(error, OSError) else type(error)
    with pytest.raises(expected) as caught:
        save(context, spec_file.root, target, bad)
    if isinstance(error, OSError):
        assert "disk is full" in str(caught.value)
    assert target.exists() == previous
    if previous:
        assert factory.snapshot(target) == before
    assert leftovers(tmp_path) == []


def test_folders_made_on_the_way_go_with_a_failure(tmp_path: Path, spec_file: SpecFile, context: BuildContext) -> None:
    with pytest.raises(KeyboardInterrupt):
        save(context, spec_file.root, tmp_path / "a/b/c", BadStore(tmp_path / "store"))
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("step", [1, 2])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.EIO, "Input/output error")])
def test_an_interrupted_replacement_brings_the_old_one_back(
    tmp_path: Path,
    spec_file: SpecFile,
    context: BuildContext,
    target: Path,
    store: Store,
    step: int,
    error: BaseException,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    save(context, spec_file.root, target, store)
    before = factory.snapshot(target)
    real, calls = Path.rename, []

    def rename(self: Path, to: Path) -> Path:
        calls.append(to)
        if len(calls) == step:
            raise error
        return real(self, to)

    changed = factory.context(spec_file, {"Dockerfile": "FROM other\n"})
    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else ContextError):
        save(changed, spec_file.root, target, store)
    monkeypatch.undo()
    assert factory.snapshot(target) == before
    assert leftovers(tmp_path) == []


def save_in_process(root: Path, target: Path, store: Path) -> None:
    from packager.spec.load import load_spec

    spec_file = load_spec(root)
    for _ in range(10):
        save(factory.context(spec_file), root, target, Store(store))


def test_two_saves_at_the_same_time_end_with_a_whole_context(tmp_path: Path, spec_file: SpecFile) -> None:
    start = multiprocessing.get_context("spawn")
    arguments = (spec_file.root, tmp_path / "out", tmp_path / "store")
    processes = [start.Process(target=save_in_process, args=arguments) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert verify(tmp_path / "out").ok
    assert leftovers(tmp_path) == []


# --- destinations -----------------------------------------------------------------------------------------------------


def test_an_empty_folder_and_new_parents_are_fine(
    tmp_path: Path, spec_file: SpecFile, context: BuildContext, store: Store
) -> None:
    (tmp_path / "empty").mkdir()
    save(context, spec_file.root, tmp_path / "empty", store)
    save(context, spec_file.root, tmp_path / "a/b/c", store)
    assert verify(tmp_path / "empty").ok
    assert verify(tmp_path / "a/b/c").ok


def test_a_saved_context_is_replaced(spec_file: SpecFile, context: BuildContext, target: Path, store: Store) -> None:
    save(context, spec_file.root, target, store)
    (spec_file.root / "src/lib/tool.py").unlink()
    changed = factory.context(spec_file)
    save(changed, spec_file.root, target, store)
    assert verify(target).digest == changed.digest != context.digest
    assert verify(target).ok
    assert leftovers(target.parent) == []


@pytest.mark.parametrize("edit", ["content", "extra file", "extra folder", "missing", "manifest", "link", "version"])
def test_a_context_that_was_changed_by_hand_needs_force(
    spec_file: SpecFile, context: BuildContext, target: Path, store: Store, edit: str
) -> None:
    save(context, spec_file.root, target, store)
    if edit == "content":
        (target / "Dockerfile").write_text("FROM scratcH\n")
    elif edit == "extra file":
        (target / "notes.txt").write_text("mine")
    elif edit == "extra folder":
        (target / "layers/mine").mkdir()
    elif edit == "missing":
        (target / "HANDOFF.md").unlink()
    elif edit == "manifest":
        (target / "packager.json").write_text((target / "packager.json").read_text().replace("demo", "Demo"))
    elif edit == "link":
        (target / "HANDOFF.md").unlink()
        (target / "HANDOFF.md").symlink_to("/etc/hostname")
    else:
        (target / "packager.json").write_text('{"format": "packager.context/0"}')
    before = factory.snapshot(target)
    with pytest.raises(ContextError, match="was changed since it was saved") as caught:
        save(context, spec_file.root, target, store)
    assert "--force" in str(caught.value.remedy)
    assert factory.snapshot(target) == before
    save(context, spec_file.root, target, store, force=True)
    assert verify(target).ok


def test_an_edit_during_a_save_is_not_lost(
    tmp_path: Path, spec_file: SpecFile, context: BuildContext, target: Path, store: Store
) -> None:
    save(context, spec_file.root, target, store)

    class Slow(Store):
        def link(self, *args: Any, **kwargs: Any) -> None:
            (target / "notes.txt").write_text("mine")
            super().link(*args, **kwargs)

    with pytest.raises(ContextError, match=r"was changed since it was saved: notes\.txt"):
        save(context, spec_file.root, target, Slow(tmp_path / "store"))
    assert (target / "notes.txt").read_text() == "mine"
    assert leftovers(tmp_path) == []


def test_times_of_folders_are_no_change_by_hand(
    spec_file: SpecFile, context: BuildContext, target: Path, store: Store
) -> None:
    save(context, spec_file.root, target, store)
    (target / "layers/tmp").write_text("")
    (target / "layers/tmp").unlink()
    save(context, spec_file.root, target, store)


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("kind", ["files", "file", "link", "dangling", "other manifest", "manifest link"])
def test_what_packager_did_not_make_is_never_touched(
    tmp_path: Path, spec_file: SpecFile, context: BuildContext, target: Path, store: Store, force: bool, kind: str
) -> None:
    if kind == "files":
        factory.write_files(target, {"a": "mine"})
    elif kind == "file":
        target.write_text("mine")
    elif kind == "link":
        (tmp_path / "empty").mkdir()
        target.symlink_to(tmp_path / "empty")
    elif kind == "dangling":
        target.symlink_to(tmp_path / "nowhere")
    elif kind == "other manifest":
        factory.write_files(target, {"packager.json": '{"format": "mine/1"}'})
    else:
        target.mkdir()
        (target / "packager.json").mkdir()
    before = factory.snapshot(target)
    with pytest.raises(ContextError):
        save(context, spec_file.root, target, store, force=force)
    assert factory.snapshot(target) == before
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize(
    ("place", "problem"),
    [
        (".", "holds the spec"),
        ("..", "holds the spec"),
        ("models/net", "is in the model"),
        ("models/net/new", "is in the model"),
        ("alias/net/new", "is in the model"),
    ],
)
def test_places_that_a_save_must_not_take(
    spec_file: SpecFile, context: BuildContext, store: Store, place: str, problem: str
) -> None:
    (spec_file.root / "alias").symlink_to("models")
    with pytest.raises(ContextError, match=problem):
        save(context, spec_file.root, spec_file.root / place, store, force=True)
    assert (spec_file.root / "packager.yaml").exists()


def test_the_parent_is_a_file(tmp_path: Path, spec_file: SpecFile, context: BuildContext, store: Store) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ContextError, match="cannot be written"):
        save(context, spec_file.root, tmp_path / "file/out", store)


def test_a_name_as_long_as_names_can_be(
    tmp_path: Path, spec_file: SpecFile, context: BuildContext, store: Store
) -> None:
    save(context, spec_file.root, tmp_path / ("n" * 255), store)
    assert verify(tmp_path / ("n" * 255)).ok


def test_relative_destination(
    tmp_path: Path, spec_file: SpecFile, context: BuildContext, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert save(context, spec_file.root, Path("rel/../here"), store) == Path("rel/../here")
    assert verify(tmp_path / "here").ok
    shutil.rmtree(tmp_path / "here")


def test_changes_by_hand_lists_paths(spec_file: SpecFile, context: BuildContext, target: Path, store: Store) -> None:
    save(context, spec_file.root, target, store)
    assert save_module.changes_by_hand(target) == []
    (target / "new").write_text("")
    (target / "Dockerfile").write_text("")
    assert save_module.changes_by_hand(target) == ["Dockerfile", "new"]
