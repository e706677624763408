"""`lock --try` and `check --start`: what is made of a start on this machine that works, fails or cannot be."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from packager.cli.lock import command
from packager.errors import ContextError, LockError, PackagerError, ServiceError
from packager.serving.service import failed
from packager.spec import load_spec
from packager.spec.load import SpecFile
from packager.steps.check import check
from packager.steps.doctor import start_finding
from packager.steps.lock import LockResult
from packager.steps.run import RunWish
from packager.steps.trial import Trial, require_started, try_start

SPEC = 'name: a\nversion: "1"\nentry_script: score.py\ntargets: [cpu, arm-edge]\nenvironment: {pip: [six]}\n'
DIES = ServiceError("the service ended", remedy="mend it")
NO_PYTHON = LockError("this machine has no CPython 3.13", remedy="install it")


class Starts:
    """Stands for `start`: each target ends as it is told to."""

    def __init__(self, **ends: PackagerError) -> None:
        self.ends, self.wishes = ends, list[RunWish]()
        self.running = 0

    @contextmanager
    def __call__(self, wish: RunWish, spec_file: SpecFile, *, reporter: Any) -> Iterator[None]:
        self.wishes.append(wish)
        if str(wish.target) in self.ends:
            raise self.ends[str(wish.target)]
        self.running += 1
        yield
        self.running -= 1


class Warnings:
    def __init__(self) -> None:
        self.said: list[str] = []

    def step(self, text: str) -> None: ...

    def detail(self, text: str) -> None: ...

    def warn(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture
def spec_file(tmp_path: Path) -> SpecFile:
    (tmp_path / "packager.yaml").write_text(SPEC)
    (tmp_path / "score.py").write_text("def init(): ...\ndef run(data): return 1\n")
    return load_spec(tmp_path)


def starting(monkeypatch: pytest.MonkeyPatch, **ends: PackagerError) -> Starts:
    starts = Starts(**ends)
    monkeypatch.setattr("packager.steps.trial.start", starts)
    return starts


def test_each_target_is_started_without_docker_and_ended(spec_file: SpecFile, monkeypatch: pytest.MonkeyPatch) -> None:
    starts = starting(monkeypatch)
    assert [(each.target, each.outcome) for each in try_start(spec_file)] == [
        ("cpu", "started"),
        ("arm-edge", "started"),
    ]
    assert starts.running == 0
    assert {(wish.docker, wish.devices, wish.publish) for wish in starts.wishes} == {(False, False, "free")}


def test_a_failure_is_an_error_and_what_cannot_be_tried_a_warning(
    spec_file: SpecFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    starting(monkeypatch, cpu=NO_PYTHON, **{"arm-edge": DIES})
    trials = try_start(spec_file)
    assert [each.outcome for each in trials] == ["untried", "failed"]
    reporter = Warnings()
    with pytest.raises(ServiceError, match="'arm-edge' is written, and does not start: the service"):
        require_started(trials, reporter)
    assert reporter.said == ["the target 'cpu' was not started: this machine has no CPython 3.13"]
    require_started((Trial(target="cpu", outcome="started"),))


def test_a_start_that_fails_is_a_finding(spec_file: SpecFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("packager.steps.check._lock", lambda _: ())
    monkeypatch.setattr("packager.steps.check._planned", lambda *_, **__: ())
    starting(monkeypatch, cpu=NO_PYTHON, **{"arm-edge": DIES})
    found = {each.rule: each for each in check(spec_file, start=True)}
    assert (found["start-failed"].severity, found["start-failed"].remedy) == ("error", "mend it")
    assert found["start-failed"].message == "target arm-edge: the service ended"
    assert found["start-untried"].severity == "info"
    assert not {"start-failed", "start-untried"} & {each.rule for each in check(spec_file)}, "off by default"
    starting(monkeypatch, cpu=ContextError("a model changed"))
    assert "a model changed" in {each.message for each in check(spec_file, start=True)}


def test_what_is_known_to_be_wrong_is_not_started(spec_file: SpecFile, monkeypatch: pytest.MonkeyPatch) -> None:
    starts = starting(monkeypatch)
    assert any(each.rule == "lock-stale" for each in check(spec_file, start=True))
    assert starts.wishes == []


def test_lock_tries_after_it_has_written(spec_file: SpecFile, monkeypatch: pytest.MonkeyPatch) -> None:
    from packager.environments.lock import Lock

    result = LockResult(lock=Lock(), changed=False, changes={}, bases={}, written=())
    monkeypatch.setattr("packager.steps.lock.lock", lambda *_, **__: result)
    starts = starting(monkeypatch, **{"arm-edge": DIES})
    file = str(spec_file.document.path)
    tried = CliRunner().invoke(command, ["-f", file, "--try"])
    assert isinstance(tried.exception, ServiceError)
    assert tried.stdout == "unchanged\n"
    assert len(starts.wishes) == 2
    assert CliRunner().invoke(command, ["-f", file]).exit_code == 0
    assert len(starts.wishes) == 2, "off by default"
    refused = CliRunner().invoke(command, ["-f", file, "--check", "--try"])
    assert "packager check --start" in str(refused.exception)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("ValueError: numpy.dtype size changed, may indicate binary incompatibility", "numpy<2"),
        ("AttributeError: _ARRAY_API not found", "numpy<2"),
        ("ModuleNotFoundError: No module named 'pkg_resources'", "setuptools<81"),
        ("ModuleNotFoundError: No module named 'distutils'", "setuptools<81"),
    ],
)
def test_what_is_not_the_scripts_fault_is_not_laid_on_it(line: str, says: str) -> None:
    error = failed("the server could not load the entry script (exit code 3)", f"Traceback\n{line}\nbye\n")
    assert says in str(error.remedy)
    assert line in str(error)


def test_doctor_names_the_pythons_that_can_be_started() -> None:
    entry = '{"version": "%s", "implementation": "%s"}'
    listed = f"[{entry % ('3.9.1', 'cpython')}, {entry % ('3.13.0', 'cpython')}, {entry % ('3.10.1', 'pypy')}]"
    assert start_finding(listed, "linux").detail.startswith("Python 3.9, 3.13 (`packager lock --try`")
    assert start_finding("[]", "linux").status == "warning"
    assert start_finding(None, "linux").remedy
    assert start_finding(listed, "darwin").status == "warning"
