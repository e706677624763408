"""What goes in a collection, decided of values; and each kind of what is kept, in real folders."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from packager.errors import ContextError
from packager.storage import collect as module
from packager.storage.collect import DAY, Collected, Entry, Guard, Inventory, Kind, Policy, collect, decide, space
from packager.storage.content import ContentStore
from packager.storage.locks import hold, in_use, lock_of
from packager.storage.memory import Memory
from packager.storage.models import Store

NOW = 1_000 * DAY
OLD = time.time() - 31 * DAY


# --- what goes --------------------------------------------------------------------------------------------------------


def kind(name: str, cost: int = 1, *, keeps: float = 30 * DAY, linked: bool = False) -> Kind:
    return Kind(name=name, root=Path("/x"), patterns=(), things="any", cost=cost, keeps=keeps, linked=linked)


CONTEXT = kind("context", 0, keeps=0.0)
MODEL = kind("model", 0, keeps=0.0, linked=True)
CHEAP, DEAR = kind("cheap", 1), kind("dear", 2)


def entry(kind: Kind, name: str, days: float, size: int = 10, *links: int, held: bool = False) -> Entry:
    return Entry(kind=kind, path=name, used=NOW - days * DAY, size=size, links=links, held=held)


def going(policy: Policy, *entries: Entry, shared: dict[int, tuple[int, int]] | None = None) -> list[str]:
    return [each.path for each in decide(Inventory(entries=entries, shared=shared or {}), policy, NOW)]


def test_what_was_not_used_for_long_goes() -> None:
    things = entry(CHEAP, "old", 31), entry(CHEAP, "new", 29), entry(CONTEXT, "c", 0)
    assert going(Policy(), *things) == ["c", "old"]
    assert going(Policy(older_than=7 * DAY), *things) == ["c", "old", "new"]
    assert going(Policy(older_than=90 * DAY), *things) == ["c", "old"], "what nothing needs goes whatever its age"
    assert going(Policy(older_than=None), *things) == []


def test_what_is_held_stays_whatever_is_asked() -> None:
    things = entry(CHEAP, "held", 99, held=True), entry(CONTEXT, "building", 0, held=True)
    assert going(Policy(older_than=0.0, max_size=0), *things) == []


def test_a_clock_that_went_back_keeps_nothing() -> None:
    assert going(Policy(older_than=0.0), entry(CHEAP, "tomorrow", -1)) == ["tomorrow"]


def test_a_limit_takes_the_cheap_before_the_dear_and_the_least_used_first() -> None:
    things = [entry(DEAR, "d", 20), entry(CHEAP, "b", 5), entry(CHEAP, "a", 10), entry(CONTEXT, "c", 0)]
    order = ["c", "a", "b", "d"]
    for number in range(5):
        limit = Policy(older_than=None, max_size=40 - 10 * number)
        assert going(limit, *things) == order[:number]
    assert going(Policy(older_than=None, max_size=31), *things) == ["c"]


def test_a_limit_counts_what_went_by_its_age() -> None:
    things = entry(DEAR, "old", 40), entry(CHEAP, "new", 1)
    assert going(Policy(max_size=10), *things) == ["old"]


def test_a_model_goes_with_the_last_context_that_links_to_it() -> None:
    model, one, two = entry(MODEL, "m", 0, 0, 7), entry(CONTEXT, "one", 2, 1, 7), entry(CONTEXT, "two", 1, 1, 7)
    shared = {7: (1000, 3)}
    assert going(Policy(), model, one, two, shared=shared) == ["one", "two", "m"]
    limit = Policy(older_than=None, max_size=1001)
    assert going(limit, model, one, two, shared=shared) == ["one"]
    assert going(Policy(older_than=None, max_size=1000), model, one, two, shared=shared) == ["one", "two", "m"]
    building = msgspec.structs.replace(two, held=True)
    assert going(Policy(older_than=0.0), model, one, building, shared=shared) == ["one"]


def test_a_model_that_something_else_links_to_stays() -> None:
    """A saved context or a service has the third name; removing it here would free nothing."""
    model, context = entry(MODEL, "m", 99, 0, 7), entry(CONTEXT, "c", 0, 1, 7)
    shared = {7: (1000, 3)}
    assert going(Policy(older_than=0.0, max_size=0), model, context, shared=shared) == ["c"]
    assert space(Inventory(entries=(model, context), shared=shared), (model, context)) == {"model": 0, "context": 1}


def test_space_counts_a_file_once_where_its_last_name_goes() -> None:
    model, context = entry(MODEL, "m", 0, 0, 7), entry(CONTEXT, "c", 0, 1, 7, 7)
    stock = Inventory(entries=(model, context), shared={7: (1000, 3)})
    assert space(stock, (context, model)) == {"context": 1, "model": 1000}
    assert space(stock, (model, context)) == {"model": 0, "context": 1001}
    assert Collected(inventory=stock, gone=(context,)).freed == 1


def test_a_limit_that_only_others_files_break_removes_nothing() -> None:
    """uv's cache has each file, too: no byte would be freed."""
    assert going(Policy(older_than=None, max_size=5), entry(CHEAP, "e", 9, 5, 7), shared={7: (10**9, 2)}) == []


# --- real folders -----------------------------------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("PACKAGER_CACHE_LIMIT", raising=False)
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    return tmp_path / "cache/packager"


def folder(path: Path, *, old: bool = True) -> Path:
    (path / "lib").mkdir(parents=True)
    (path / "lib/file").write_bytes(b"x" * 100_000)
    os.symlink("/etc", path / "elsewhere")
    if old:
        os.utime(path, (OLD, OLD))
    return path


def aged(path: Path) -> Path:
    os.utime(path, (OLD, path.stat().st_mtime if path.parent.parent.name == "sha256" else OLD))
    return path


def run(policy: Policy | None = None) -> dict[str, int]:
    """Collect, and return how many of which kind went."""
    from packager.steps import store

    collected = store.gc(policy or Policy())
    names = [each.kind.name for each in collected.gone]
    return {name: names.count(name) for name in dict.fromkeys(names)}


ALL = Policy(older_than=0.0)


def test_nothing_at_all_is_fine(cache: Path) -> None:
    assert run() == run(ALL) == {}
    assert not cache.exists()


def test_conda_packages_and_local_environments(cache: Path, tmp_path: Path) -> None:
    package = folder(cache / "conda/linux-64/old-1-0")
    lock_of(package).touch()
    folder(cache / "conda/linux-64/new-1-0", old=False)
    prefix = folder(cache / "prefixes/old")
    folder(cache / "prefixes/new", old=False)
    theirs = folder(tmp_path / "theirs")
    os.symlink(theirs, cache / "prefixes/link")
    with in_use(cache / "conda"), in_use(cache / "conda"), in_use(prefix):
        assert run() == {}
    assert run() == {"local environment": 1, "conda package": 1}
    assert not package.exists()
    assert not lock_of(package).exists(), "rattler's, which notes the package"
    assert not prefix.exists()
    assert run(ALL) == {"local environment": 1, "conda package": 1}
    assert (theirs / "lib/file").exists()


def test_an_environment_stays_while_a_program_runs_in_it(cache: Path) -> None:
    """`environment run` becomes the program, which inherits the descriptor."""
    descriptor = hold(folder(cache / "prefixes/old"))
    command = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[descriptor]) as program:
        os.close(descriptor)
        assert run(ALL) == {}
        program.communicate()
    assert run() == {"local environment": 1}


def test_laid_down_environments(cache: Path) -> None:
    used, unused, unfinished = (folder(cache / "environments" / name) for name in ("used", "unused", "unfinished"))
    note = unused.with_suffix(".json")
    for path in (note, used.with_suffix(".json")):
        path.write_text("{}")
    aged(note)
    with in_use(unused):
        assert run() == {"laid-down environment": 1}
    assert not unfinished.exists()
    assert run() == {"laid-down environment": 1}
    assert (used.exists(), unused.exists(), note.exists()) == (True, False, False)


def test_layers(cache: Path) -> None:
    content = ContentStore()
    old, new = content.put_bytes(b"old"), content.put_bytes(b"new")
    aged(content.path(old))
    assert run() == {"layer": 1}
    # Whoever has found a layer may be about to read it; one that was of no use for a day was not found.
    assert run(ALL) == {}
    os.utime(content.path(new), (time.time() - 2 * DAY, content.path(new).stat().st_mtime))
    assert run(Policy(older_than=DAY)) == {"layer": 1}
    content.put_bytes(b"new")
    del content
    assert run(ALL) == {"layer": 1}


def test_notes(cache: Path) -> None:
    memory, own = Memory("uploads"), Memory("digests", cache / "store")
    for each in (memory, own):
        each.remember(b"1", "used")
        each.remember(b"2", "unused")
    for path in cache.glob("*/memory/*/*"):
        aged(path)
    assert memory.recall("used") == b"1"
    assert run() == {"note": 3}
    assert (memory.recall("used"), memory.recall("unused"), own.recall("used")) == (b"1", None, None)


def test_models(cache: Path, tmp_path: Path) -> None:
    store, digests = Store(), []
    for name in ("saved", "staged", "unused"):
        (tmp_path / name).write_bytes(name.encode() * 50_000)
        digests.append(store.add(tmp_path / name)[0])
    context = cache / "contexts/key"
    context.mkdir(parents=True)
    store.link(digests[0], tmp_path / "context")
    store.link(digests[0], context / "saved")
    store.link(digests[1], context / "staged")
    with in_use(context):
        assert run() == {"model": 1}
    assert [store.has(each) for each in digests] == [True, True, False]
    # A context that was staged and is built from no more goes, and with it the models that it alone has.
    assert run() == {"staged context": 1, "model": 1}
    assert [store.has(each) for each in digests] == [True, False, False]
    assert (tmp_path / "context").stat().st_nlink == 2


def test_a_model_that_a_build_without_an_engine_may_read_stays(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(b"weights")
    Store().add(tmp_path / "model")
    content = ContentStore()
    content.put_bytes(b"base")
    assert run(ALL) == {}
    del content
    assert run() == {"model": 1}


def test_a_model_that_is_linked_meanwhile_stays(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model").write_bytes(b"weights")
    store = Store()
    digest, _ = store.add(tmp_path / "model")

    def late(inventory: Inventory, policy: Policy, now: float) -> tuple[Entry, ...]:
        store.link(digest, tmp_path / "context")
        return decide(inventory, policy, now)

    monkeypatch.setattr(module, "decide", late)
    assert run() == {}
    assert store.has(digest)


def test_what_is_used_or_held_meanwhile_stays(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    used, taken, gone = (folder(cache / "prefixes" / name) for name in ("used", "taken", "gone"))
    descriptors = []

    def late(inventory: Inventory, policy: Policy, now: float) -> tuple[Entry, ...]:
        os.utime(used)
        descriptors.append(hold(taken))
        subprocess.run(["rm", "-r", str(gone)], check=True)
        return decide(inventory, policy, now)

    monkeypatch.setattr(module, "decide", late)
    assert run() == {}
    os.close(descriptors[0])
    assert used.exists()
    assert taken.exists()


def test_runs_and_services_without_docker(cache: Path, tmp_path: Path) -> None:
    from packager.serving.hosts.process.folders import run_folder
    from packager.storage.memory import state_root

    service, killed = folder(state_root() / "services/days"), folder(state_root() / "runs/killed")
    young = state_root() / "runs/young"
    young.mkdir()
    (tmp_path / "model").write_bytes(b"weights")
    digest, _ = Store().add(tmp_path / "model")
    Store().link(digest, service / "model")
    os.utime(service, (OLD, OLD))
    running = folder(state_root() / "runs/running")
    lock = os.open(running, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    assert run(ALL) == {"run": 1}
    os.close(lock)
    assert (killed.exists(), running.exists(), young.exists(), service.exists()) == (False, True, True, True)
    with run_folder() as mine:
        os.utime(mine, (OLD, OLD))
        assert run(ALL) == {}
    assert Store().has(digest)


def test_what_a_stopped_service_is_started_with_stays(cache: Path) -> None:
    """No process holds it then; its record names it."""
    from packager.serving.hosts.process.backend import Launch
    from packager.serving.hosts.process.process import Process
    from packager.serving.hosts.process.service_backend import NamedBackend
    from packager.serving.hosts.process.service_folder import ServiceFolder
    from packager.serving.hosts.process.service_records import BackendRecord

    prefix, model = folder(cache / "prefixes/locked"), folder(cache / "registered/abc")
    other = folder(cache / "prefixes/other"), folder(cache / "registered/def")
    service = ServiceFolder("days", "blue")
    service.backend_folder(2).mkdir(parents=True)
    (service.folder / "service.json").write_bytes(b"{}")
    launch = Launch(words=(), environ={}, folder="", prefix=str(prefix), volumes=(str(model),))
    ended = Process(pid=1, started=1, boot="another")
    record = BackendRecord(process=ended, port=1, title="t", variables=(), created="", launch=launch)
    NamedBackend(service, 2, record).write()
    assert run(ALL) == {"registered model": 1, "local environment": 1}
    assert prefix.exists()
    assert model.exists()
    assert not any(each.exists() for each in other)
    (service.folder / "service.json").unlink()
    assert run() == {"registered model": 1, "local environment": 1}, "it is no service any more"


def test_a_batch_that_may_be_gone_on_with_stays_thirty_days(cache: Path, tmp_path: Path) -> None:
    from packager.batches.output import output_at
    from packager.batches.values import JOURNAL
    from packager.serving.hosts.process.folders import batches_folder

    with output_at("memory://batch-to-collect") as place:
        folder(place.folder / JOURNAL)
        os.utime(place.folder, (OLD, OLD))
        assert run(ALL) == {}, "it is under way"
    assert run(Policy(older_than=0.0, max_size=0)) == {}, "it is of use from now on"
    os.utime(place.folder, (OLD, OLD))
    assert run() == {"batch result": 1}
    assert list(batches_folder().iterdir()) == []


def test_temporary_folders_of_killed_processes(cache: Path, tmp_path: Path) -> None:
    from packager.scratch import scratch

    with scratch("packager-build-") as used:
        folder(tmp_path / "tmp/packager-lock-killed")
        folder(tmp_path / "tmp/packager-lock-young", old=False)
        folder(tmp_path / "tmp/others")
        os.utime(used, (OLD, OLD))
        assert run() == {"temporary folder": 1}
        assert sorted(os.listdir(tmp_path / "tmp")) == sorted([Path(used).name, "others", "packager-lock-young"])
    assert run(ALL) == {}


LEFTOVERS = (
    "store/tmp/a", "content/tmp/a", "content/save-a.tar", ".looking-a", "environments/.laying-a", "checked-2",
    "prefixes/.a.packager-b", "contexts/.a.packager-b", "conda/linux-64/.a.packager-b", "base-files",
)  # fmt: skip


def test_what_killed_processes_left(cache: Path) -> None:
    for name in LEFTOVERS:
        folder(cache / name, old=False)
    assert run(ALL) == {}, "they may be somebody's"
    for name in LEFTOVERS:
        os.utime(cache / name, (OLD, OLD))
    assert run() == {"leftover": len(LEFTOVERS)}


def test_a_removal_that_is_interrupted_leaves_no_half_of_a_thing(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prefix = folder(cache / "prefixes/old")

    def interrupted(_path: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run()
    assert not prefix.exists()
    (left,) = (cache / "prefixes").glob(".old.packager-*")
    os.utime(left, (OLD, OLD))
    assert run() == {"leftover": 1}
    assert not left.exists()


def test_what_cannot_be_removed_is_said(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder(cache / "prefixes/old")

    def refused(_path: str) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr("shutil.rmtree", refused)
    with pytest.raises(ContextError, match="prefixes/old cannot be removed: Permission denied"):
        run()


def test_a_dry_run_removes_nothing(cache: Path) -> None:
    from packager.steps import store

    prefix = folder(cache / "prefixes/old")
    planned = store.gc(Policy(), dry_run=True)
    assert prefix.exists()
    assert store.gc(Policy()) == planned
    assert not prefix.exists()
    assert planned.freed >= 100_000


def test_a_kind_with_one_lock_for_all_and_one_for_each(tmp_path: Path) -> None:
    thing, common = folder(tmp_path / "things/a"), tmp_path / "common"
    guards = (Guard(), Guard(over=common, spares=40 * DAY))
    things = Kind(name="t", root=tmp_path / "things", patterns=("*",), things="folder", cost=0, guards=guards)
    with in_use(common):
        assert collect([things], Policy(), time.time()).gone == ()
        assert collect([things], Policy(), time.time() + 10 * DAY).gone
    assert not thing.exists()


# --- the verb, and the limit ------------------------------------------------------------------------------------------


def lines(text: str) -> dict[str, str]:
    return {line[:24].strip(): line[24:] for line in text.splitlines()}


def test_the_verb_says_what_there_is(cache: Path, tmp_path: Path) -> None:
    from packager.cli.store import command

    store, used, unused = Store(), tmp_path / "used", tmp_path / "unused"
    for path in (used, unused):
        path.write_bytes(path.name.encode() * 20_000)
        os.truncate(path, 81_920)
    store.link(store.add(used)[0], tmp_path / "context")
    store.add(unused)
    descriptor = hold(folder(cache / "prefixes/old"))
    shown = CliRunner().invoke(command, ["info"])
    os.close(descriptor)
    assert shown.exit_code == 0
    found = lines(shown.stdout)
    assert found["models"] == "2, 81.9 kB, 81.9 kB shared, 81.9 kB unneeded"
    assert found["local environments"].startswith("1, ")
    assert found["local environments"].endswith(" in use")
    assert found["layers"] == "0, 0 B"
    assert shown.stderr == "`packager store gc` frees 81.9 kB\n"
    data = json.loads(CliRunner().invoke(command, ["info", "--format", "json"]).stdout)
    assert [each["name"] for each in data["kinds"]] == [
        "model", "registered model", "staged context", "layer", "conda package", "laid-down environment",
        "compiled package", "base interpreter", "local environment", "download", "note", "service", "run",
        "batch result", "leftover", "temporary folder",
    ]  # fmt: skip
    assert data["size"] == sum(each["size"] for each in data["kinds"])


def test_the_verb_removes(cache: Path, tmp_path: Path) -> None:
    from packager.cli.store import command

    (tmp_path / "model").write_bytes(b"w" * 8192)
    Store().add(tmp_path / "model")
    for path in (cache / "store").glob("memory/*/*"):
        path.unlink()
    verb = CliRunner().invoke
    assert verb(command, ["gc", "--dry-run"]).stdout == (
        "1 model would be removed, 8.2 kB would be freed\n8.2 kB would be freed in all\n"
    )
    assert verb(command, ["gc"]).stdout == "1 model removed, 8.2 kB freed\n8.2 kB freed in all\n"
    assert verb(command, ["gc"]).stdout == "0 B freed in all\n"
    folder(cache / "prefixes/new", old=False)
    assert verb(command, ["gc", "--older-than", "1d", "--max-size", "1GB"]).stdout == "0 B freed in all\n"
    found = json.loads(verb(command, ["gc", "--max-size", "50kB", "--format", "json"]).stdout)
    assert found["kinds"] == {"local environment": {"removed": 1, "freed": found["freed"]}}
    folder(cache / "prefixes/new", old=False)
    assert verb(command, ["gc", "--all"]).stdout.startswith("1 local environment removed, ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--all", "--max-size", "1GB"], "--all leaves nothing"),
        (["--max-size", "much"], "--max-size: 'much' is no size"),
        (["--older-than", "7"], "--older-than: '7' is no time"),
    ],
)
def test_the_verb_refuses_what_cannot_be_meant(cache: Path, arguments: list[str], said: str) -> None:
    from packager.cli.store import command
    from packager.errors import UsageError

    failed = CliRunner().invoke(command, ["gc", *arguments])
    assert isinstance(failed.exception, UsageError)
    assert said in str(failed.exception)


def test_a_limit_is_kept_and_looked_at_once_an_hour(cache: Path) -> None:
    from packager.steps.store import keep_limit

    said: list[str] = []
    first = folder(cache / "prefixes/first")
    keep_limit({}, said.append)
    keep_limit({"PACKAGER_CACHE_LIMIT": "1 GB"}, said.append)
    assert (said, first.exists()) == ([], True)
    limit = {"PACKAGER_CACHE_LIMIT": "150kB"}
    second = folder(cache / "prefixes/second", old=False)
    keep_limit(limit, said.append)
    assert (first.exists(), second.exists()) == (False, True)
    (line,) = said
    assert line.endswith(" freed, to keep the cache below 150.0 kB")
    third = folder(cache / "prefixes/third")
    keep_limit(limit, said.append)
    assert third.exists(), "it was looked at just now"
    aged(cache / "limit")
    keep_limit(limit, said.append)
    assert (third.exists(), second.exists(), len(said)) == (False, True, 2)


def test_a_limit_that_is_none_makes_no_build_fail(cache: Path) -> None:
    from packager.steps.store import keep_limit

    said: list[str] = []
    keep_limit({"PACKAGER_CACHE_LIMIT": "much"}, said.append)
    assert said == ["warning: the cache is not kept below its limit: PACKAGER_CACHE_LIMIT: 'much' is no size"]
