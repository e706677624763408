"""What is delivered next, what an error says of a version, what is remembered; and the watcher, without Docker."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from packager.cli import cli
from packager.delivery.decide import LONGEST, following, pause, verdict
from packager.delivery.records import Records
from packager.delivery.values import Bad, Delivered, Event, State, Trying
from packager.errors import (
    ContextError,
    EngineError,
    LintError,
    LockError,
    PackagerError,
    RegistryError,
    ServiceError,
    SpecError,
    TemporaryError,
    UsageError,
)
from packager.serving.status import Status
from packager.serving.status import Version as Share
from packager.spec import load_spec
from packager.spec.load import SpecFile
from packager.steps.goals import WatchWish, require_ready
from packager.steps.watch import watch
from packager.workspace.base import NotRegisteredError
from packager.workspace.folder import FolderWorkspace
from packager.workspace.values import Change, Content, File, Version
from tests.unit.test_outputs import hold

# --- what comes next --------------------------------------------------------------------------------------------------


def version(number: int, content: str = "a", **tags: str) -> Version:
    file = File(path="model.pkl", size=1, sha256=content * 64)
    return Version(kind="model", name="m", version=number, files=(file,), tags=tags)


def state(done: int | None = None, bad: tuple[int, ...] = (), tags: tuple[str, ...] = ()) -> State:
    digest = version(1).digest
    return State(
        done=None if done is None else Delivered(version=done, digest=digest, tags=tags),
        bad={each: Bad(version=each, digest=digest, step="test", reason="wrong") for each in bad},
    )


@pytest.mark.parametrize(
    ("versions", "known", "tags", "expected"),
    [
        ((), state(), (), None),
        ((version(1), version(2)), state(), (), 2),
        ((version(1), version(2)), state(done=1), (), 2),
        ((version(1), version(2)), state(done=2), (), None),
        # Of several the newest; a bad one is passed over, for an older one that is newer than what runs.
        ((version(1), version(2), version(3)), state(done=1, bad=(3,)), (), 2),
        ((version(1), version(2), version(3)), state(done=2, bad=(3,)), (), None),
        # The number of a bad version with other content is another version: the workspace was made anew.
        ((version(1), version(2, "b")), state(done=1, bad=(2,)), (), 2),
        ((version(1, "b"),), state(done=1), (), 1),
        # What was delivered and deleted since is still not to be delivered again.
        ((version(1),), state(done=2), (), None),
        # Tags: who asks for others than last time starts anew.
        ((version(1, stage="live"), version(2)), state(), ("stage=live",), 1),
        ((version(1, stage="live"), version(2)), state(done=2), ("stage=live",), 1),
        ((version(1, stage="live"), version(2)), state(done=2, tags=("stage=live",)), ("stage=live",), None),
        ((version(1), version(2, stage="test")), state(), ("stage=live",), None),
    ],
)
def test_what_is_delivered_next(
    versions: tuple[Version, ...], known: State, tags: tuple[str, ...], expected: int | None
) -> None:
    found = following(versions, known, tags)
    assert (None if found is None else found.version) == expected


def full_disk() -> ContextError:
    try:
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError as error:
            raise ContextError(f"it cannot be written: {error.strerror}") from None
    except ContextError as error:
        return error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ServiceError("wrong answer"), "bad"),
        (LockError("no solution"), "bad"),
        (SpecError("registered without a framework"), "bad"),
        (LintError("it may not start"), "bad"),
        (ContextError("model.pkl is not what was registered"), "bad"),
        (TemporaryError("no answer"), "away"),
        (EngineError("no engine"), "away"),
        (RegistryError("wrong password"), "away"),
        (NotRegisteredError("deleted meanwhile"), "away"),
        (full_disk(), "away"),
        (UsageError("the image serves on another port"), "wrong"),
        (PackagerError("the installation lacks a folder"), "wrong"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value,
)
def test_what_an_error_says_of_a_version(error: PackagerError, expected: str) -> None:
    assert verdict(error) == expected


def test_pauses_grow_up_to_a_minute() -> None:
    assert [pause(1.0, failures) for failures in range(9)] == [1, 1, 2, 4, 8, 16, 32, LONGEST, LONGEST]
    assert pause(0.2, 0) == 0.2
    assert pause(0.2, 1) == 1.0, "what does not answer is not asked five times a second"
    assert pause(300.0, 50) == 300.0


# --- what is remembered -----------------------------------------------------------------------------------------------


def test_what_is_remembered_and_files_that_cannot_be_read(tmp_path: Path) -> None:
    records = Records("service churn", ("/ws", "m"), tmp_path)
    assert records.read() == State()
    bad = Bad(version=3, digest="sha256:x", step="test", reason="wrong")
    trying = Trying(version=4, files={"packager.lock": "{}"}, images={"churn:1": "sha256:y"})
    records.keep_out(bad)
    records.begin(trying)
    assert records.read() == State(bad={3: bad}, trying=trying)
    assert Records("service churn", ("/ws", "other"), tmp_path).read() == State()
    assert Records("service churn", ("/other", "m"), tmp_path).read() == State()
    done = Delivered(version=4, digest="sha256:z", image="churn:1")
    records.delivered(done)
    assert records.read() == State(done=done, bad={3: bad})
    assert records.forget(3)
    assert not records.forget(3)
    for path in tmp_path.rglob("*.json"):
        path.write_text('{"version": ')
    assert records.read() == State()


def test_one_watcher_a_goal_whatever_it_watches(tmp_path: Path) -> None:
    one, other = (Records("service churn", (place, "m"), tmp_path) for place in ("/ws", "/other"))
    with one.held(Path("/spec/packager.yaml")):
        said = rf"service churn is watched already by process {os.getpid()} on .* for /spec/packager.yaml"
        with pytest.raises(TemporaryError, match=said), other.held(Path("elsewhere")):
            pass
        with Records("service other", ("/ws", "m"), tmp_path).held(Path("elsewhere")):
            pass
    with other.held(Path("elsewhere")):
        pass


# --- the watcher, where a command takes the place of a service --------------------------------------------------------


class Here:
    """A locked package, whose workspace is a folder; a command notes what is delivered, and fails as it is told."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.workspace = folder, FolderWorkspace(folder / "models")
        self.delivered, self.codes = folder.parent / "delivered", folder.parent / "codes"
        self.codes.mkdir()
        self.events: list[Event] = []

    @property
    def spec_file(self) -> SpecFile:
        return load_spec(self.folder)

    @property
    def command(self) -> str:
        told = 'echo "$PACKAGER_MODEL_NAME:$PACKAGER_MODEL_VERSION"'
        return f'{told} >> {self.delivered}; exit "$(cat {self.codes}/$PACKAGER_MODEL_VERSION 2>/dev/null || echo 0)"'

    @property
    def wish(self) -> WatchWish:
        return WatchWish(model="petal-width", command=self.command, docker=False)

    def register(self, *, code: int = 0, **tags: str) -> int:
        new = Content(path="petal_width.onnx", origin=self.folder / "packager.yaml")
        number = self.workspace.add(Version(kind="model", name="petal-width", tags=tags), [new]).version
        self.fails(number, code)
        return number

    def fails(self, number: int, code: int) -> None:
        (self.codes / str(number)).write_text(str(code))

    def once(self, **wishes: Any) -> Delivered | None:
        return watch(self.spec_file, self.wish, on_event=self.events.append, once=True, **wishes)

    def lock(self) -> str:
        return (self.folder / "packager.lock").read_text()

    @property
    def locked(self) -> int:
        return int(json.loads(self.lock())["registered"]["models"]["petal-width"]["version"])

    @property
    def told(self) -> list[tuple[str, int | None]]:
        return [(each.event, each.version) for each in self.events if each.event not in ("step", "watching")]

    def noted(self) -> list[str]:
        return self.delivered.read_text().split() if self.delivered.exists() else []


@pytest.fixture
def here(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Here:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
    return Here(Path(shutil.copytree(checkout / "tests/golden/cpu-registered/input", tmp_path / "golden")))


def test_a_newer_version_is_delivered_once(here: Here) -> None:
    done = here.once()
    assert done is not None
    assert done.version == 2
    assert here.once() is None
    assert here.register() == 3
    assert (here.once() or done).version == 3
    assert here.noted() == ["petal-width:2", "petal-width:3"]
    assert here.locked == 3
    assert [each.step for each in here.events if each.event == "step"] == ["lock", "update"] * 2
    assert here.told == [
        ("newer", 2), ("delivered", 2), ("nothing", None), ("newer", 3), ("delivered", 3),
    ]  # fmt: skip
    for event in here.events:
        hold("watch", json.loads(json.dumps({name: getattr(event, name) for name in event.__struct_fields__})))


def test_a_bad_version_is_kept_out_and_the_lock_is_put_back(here: Here) -> None:
    here.once()
    assert here.register() == 3
    assert here.register(code=4) == 4
    done = here.once()
    assert done is not None
    assert done.version == 3, "newer than what was delivered, and not bad"
    assert here.register(code=4) == 5
    before = here.lock()
    with pytest.raises(ServiceError, match="exit code 4"):
        here.once()
    assert here.lock() == before
    assert here.once() is None, "it is not tried again"
    assert here.events[-1].message.endswith("(--retry 5)")
    assert here.noted() == [f"petal-width:{number}" for number in (2, 4, 3, 5)]
    here.fails(5, 0)
    done = here.once(retry=(5,))
    assert done is not None
    assert done.version == 5
    assert ("bad", 4) in here.told
    assert here.locked == 5


def test_a_failure_that_may_pass_says_nothing_of_the_version(here: Here) -> None:
    here.once()
    before = here.lock()
    here.register(code=75)
    with pytest.raises(TemporaryError, match="75"):
        here.once()
    assert here.lock() == before
    here.fails(3, 0)
    assert here.once() is not None


def test_tags_choose_and_another_choice_starts_anew(here: Here) -> None:
    here.register(stage="live")
    here.register()
    assert (here.once(tags=("stage=live",)) or 0) != 0
    assert here.locked == 3
    assert here.once(tags=("stage=live",)) is None
    assert here.once() is not None
    assert here.locked == 4
    here.workspace.change(here.workspace.get("model", "petal-width", 2), Change(add_tags={"stage": "live"}))
    assert here.once() is None, "what is older is not delivered"
    here.register()
    assert here.once(tags=("stage=next",)) is None
    here.workspace.change(here.workspace.get("model", "petal-width", 5), Change(add_tags={"stage": "next"}))
    done = here.once(tags=("stage=next",))
    assert done is not None
    assert done.version == 5, "a tag that comes later is what starts it"


class Ended(BaseException):
    """Ends a watcher, as a signal does."""


def test_a_workspace_that_is_away_is_said_once_waited_for_and_comes_back(here: Here) -> None:
    away, pauses = here.folder.parent / "away", list[float]()

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            here.workspace.root.rename(away)
        if len(pauses) == 62:
            away.rename(here.workspace.root)
            here.register()
        if len(pauses) == 64:
            raise Ended

    with pytest.raises(Ended):
        watch(here.spec_file, here.wish, on_event=here.events.append, sleep=sleep)
    assert here.told == [("newer", 2), ("delivered", 2), ("away", None), ("newer", 3), ("delivered", 3), ("back", None)]
    assert pauses[:10] == [1, 1, 1, 2, 4, 8, 16, 32, 60, 60]
    assert sum(pauses[2:62]) > 3000
    assert pauses[-2:] == [1, 1]


def test_a_spec_that_is_being_edited_is_waited_for(here: Here) -> None:
    spec, pauses = here.folder / "packager.yaml", list[float]()
    text = spec.read_text()

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 1:
            spec.write_text(text.replace("name:", "name"))
            here.register()
        if len(pauses) == 4:
            spec.write_text(text)
        if len(pauses) == 6:
            raise Ended

    with pytest.raises(Ended):
        watch(here.spec_file, here.wish, on_event=here.events.append, sleep=sleep)
    assert [event for event, _ in here.told] == ["newer", "delivered", "away", "newer", "delivered", "back"]
    assert here.locked == 3


@contextmanager
def ended_in(step: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """End a watcher as kill -9 does: nothing is put back."""

    def leave(*_: object, **__: object) -> None:
        raise Ended

    with monkeypatch.context() as patch:
        patch.setattr(f"packager.steps.goals.{step}", leave)
        patch.setattr("packager.steps.watch._Watcher._undo", lambda *_: None)
        with pytest.raises(Ended):
            yield


def test_what_was_ended_in_the_midst_is_put_back_and_tried_again(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    here.once()
    before = here.lock()
    here.register(code=9)
    with ended_in("_run", monkeypatch):
        here.once()
    assert here.locked == 3
    with pytest.raises(ServiceError):
        here.once()
    assert here.lock() == before, "that of before the first try"
    assert here.locked == 2


def test_what_was_delivered_again_and_ended_in_the_midst_is_delivered_once_more(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.once()
    with monkeypatch.context() as patch:  # as where its service is gone
        patch.setattr("packager.steps.watch.is_missing", lambda _: True)
        with ended_in("_run", monkeypatch):
            here.once()
    assert here.noted() == ["petal-width:2"]
    done = here.once()
    assert done is not None
    assert done.version == 2
    assert here.once() is None


def test_a_lock_that_somebody_changed_meanwhile_stays(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    here.once()
    here.register()
    with ended_in("_run", monkeypatch):
        here.once()
    theirs = here.lock().replace('"version": 3', '"version": 1')
    (here.folder / "packager.lock").write_text(theirs)
    here.workspace.delete(here.workspace.get("model", "petal-width", 3))
    assert here.once() is None
    assert here.lock() == theirs


def test_one_spec_is_delivered_to_one_goal_at_a_time(here: Here) -> None:
    other = Records("service other", ("/ws", "m"))
    with other.alone_with(here.spec_file.lock_path), pytest.raises(TemporaryError, match="another one delivers what"):
        here.once()
    assert here.noted() == []
    assert here.once() is not None


def test_nothing_that_is_kept_or_said_holds_the_command(here: Here) -> None:
    here.once()
    here.register(code=4)
    with pytest.raises(ServiceError) as raised:
        here.once(command=f": password; {here.command}")
    data = Path(os.environ["XDG_DATA_HOME"])
    kept = [f"{path} {path.read_text()}" for path in data.rglob("*") if path.is_file()]
    assert any("ended with exit code 4" in each for each in kept)
    for text in (*kept, str(raised.value), *(each.message for each in here.events)):
        assert "password" not in text


def test_who_comes_second_may_ask_for_another_try(here: Here) -> None:
    here.once()
    here.register(code=4)
    tries = list[int]()

    def sleep(_seconds: float) -> None:
        tries.append(len(here.noted()))
        if len(tries) == 1:
            with pytest.raises(TemporaryError, match="is watched already"):
                here.once()
            here.fails(3, 0)
            assert here.once(retry=(3,)) is None
        if len(tries) == 2:
            raise Ended

    with pytest.raises(Ended):
        watch(here.spec_file, here.wish, on_event=here.events.append, sleep=sleep)
    assert here.noted() == ["petal-width:2", "petal-width:3", "petal-width:3"]
    assert ("delivered", 3) in here.told


@pytest.mark.parametrize(
    ("status", "error", "said"),
    [
        ({"state": "Stopped"}, TemporaryError, "is stopped, and nothing is delivered to it"),
        (
            {"state": "Healthy", "versions": (Share(name="b", traffic=100, state="Healthy", reason="", image=""),)},
            UsageError,
            "has several versions",
        ),
    ],
)
def test_a_service_that_cannot_be_updated_is_told_before_anything_is_done(
    status: dict[str, Any], error: type[PackagerError], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Status(**{"name": "mnist", "reason": "", "image": "", "url": "", **status})
    monkeypatch.setattr("packager.steps.goals._status", {"mnist": found}.get)
    require_ready(WatchWish(service="other", docker=False))
    with pytest.raises(error, match=said):
        require_ready(WatchWish(service="mnist", docker=False))


# --- what cannot be meant ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--model", "petal-width"), "nothing is to be done with a newer version"),
        (("--model", "species", "--push"), "the spec names species:1, and no other version is taken"),
        (("--model", "setosa", "--push"), "the spec names no registered model setosa"),
        (("--service", "a", "--exec", "b"), "--service and --exec are 2 goals"),
        (("--exec", "b", "--apply"), "--apply is of the files of a platform"),
        (("--deploy", "nowhere"), "nowhere has no files of a platform"),
        (("--service", "A!"), "cannot be the name of a service"),
        (("--exec", "b", "-p", "5001"), "--publish is of a service"),
        (("--exec", "b", "--tag", "=x", "--no-docker", "--once"), "names no tag"),
        (("--exec", "b", "--target", "gpu"), "the spec has no target 'gpu'"),
    ],
)
def test_what_cannot_be_meant(here: Here, words: tuple[str, ...], said: str) -> None:
    done = CliRunner().invoke(cli, ["watch", "-f", str(here.folder), *words])
    assert isinstance(done.exception, UsageError)
    assert said in str(done.exception)


def test_the_command_line_says_whether_there_was_something(here: Here) -> None:
    def run(*more: str) -> tuple[int, str]:
        words = ("watch", "-f", str(here.folder), "--exec", here.command, "--no-docker", "--once", *more)
        done = CliRunner().invoke(cli, words)
        return done.exit_code, done.stdout

    code, printed = run("--format", "json")
    assert code == 0
    events = [json.loads(line) for line in printed.splitlines()]
    assert [each["event"] for each in events] == ["watching", "newer", "step", "step", "delivered"]
    assert run() == (1, "")
    here.register()
    assert run("-q") == (0, "petal-width:3\n")
    here.register(code=4)
    words = ("watch", "-f", str(here.folder), "--exec", here.command, "--no-docker", "--once")
    done = CliRunner().invoke(cli, words)
    assert isinstance(done.exception, ServiceError)
    assert "warning: petal-width:4 is kept out, as update failed\n  what was delivered before stays" in done.stderr
    assert "exit code 4" not in done.stderr, "the error that ends the verb tells it, once"
    assert "exit code 4" in str(done.exception)


def test_a_place_where_nobody_can_push_is_told_before_anything_is_done(here: Here) -> None:
    spec = here.folder / "packager.yaml"
    spec.write_text(spec.read_text().replace("registry.example.com/ml/iris", "iris"))
    with pytest.raises(UsageError, match="names no registry"):
        here.once(push=True)
    assert here.noted() == []
