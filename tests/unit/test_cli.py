from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import packager
from packager import errors
from packager.cli import VERBS, common
from packager.cli.common import count, human_size
from packager.environments.locks.status import read_inputs


def run(*words: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "packager", *words],
        cwd=cwd, env={**os.environ, **env}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, checkout: Path) -> Path:
    return Path(shutil.copytree(checkout / "examples/diabetes", tmp_path / "diabetes"))


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_of_its_own(verb: str, tmp_path: Path) -> None:
    done = run(verb, "--help", cwd=tmp_path)
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) > 4


def test_a_misspelt_verb_says_which_was_meant(tmp_path: Path) -> None:
    done = run("biuld", cwd=tmp_path)
    assert done.returncode == 2
    assert "Did you mean 'build'?" in done.stderr


def test_help_is_help_behind_a_verb_too(tmp_path: Path) -> None:
    assert run("build", "help", cwd=tmp_path).stdout == run("build", "--help", cwd=tmp_path).stdout
    (tmp_path / "help").mkdir()
    assert "packager.yaml" in run("build", "help", cwd=tmp_path).stderr, "a folder of that name is one"


def test_version(tmp_path: Path) -> None:
    assert run("--version", cwd=tmp_path).stdout == f"packager {packager.__version__}\n"


def test_each_error_class_has_its_exit_code() -> None:
    codes = {
        each.__name__: each.exit_code
        for each in vars(errors).values()
        if isinstance(each, type) and issubclass(each, errors.PackagerError)
    }
    assert codes == {
        "PackagerError": 1, "UsageError": 2, "SpecError": 2, "LockError": 3, "RenderError": 4, "LintError": 5,
        "ContextError": 6, "EngineError": 7, "RegistryError": 7, "ServiceError": 8, "TemporaryError": 75,
    }  # fmt: skip


def test_an_error_says_what_where_and_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "packager.yaml").write_text("name: a\nverison: '1'\n")
    done = run("plan", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        "error: unknown key 'verison'\n  at packager.yaml:2 (verison)\n  to do: did you mean 'version'?\n"
    )


def test_an_unexpected_error_shows_its_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from packager.cli import cli, main

    def broken(**_options: object) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(cli, "main", broken)
    with pytest.raises(RuntimeError, match="a defect"):
        main()


def test_interruption_ends_with_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from packager.cli import cli, main

    def interrupted(**_options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "main", interrupted)
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 130
    assert "Traceback" not in capsys.readouterr().err


def test_an_interruption_waits_for_no_other_thread() -> None:
    code = (
        "import threading, time\nfrom packager.cli import cli, main\n"
        "def interrupted(**_):\n    print('so far', end='')\n"
        "    threading.Thread(target=time.sleep, args=[60]).start()\n    raise KeyboardInterrupt\n"
        "cli.main = interrupted\nmain()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "so far", "interrupted\n")


def test_results_go_to_standard_output_alone(folder: Path) -> None:
    done = run("save", "-o", "context", cwd=folder)
    assert done.returncode == 0
    assert done.stdout == "context\n"
    assert "sha256:" in done.stderr
    quiet = run("save", "-q", "-o", "context", "--format", "json", cwd=folder)
    assert quiet.stderr == ""
    (saved,) = json.loads(quiet.stdout)
    assert saved["target"] == "cpu"
    assert saved["digest"] == json.loads((folder / "context/packager.json").read_text())["digest"]


def test_plan_as_data_has_every_file(folder: Path) -> None:
    done = run("plan", "--format", "json", cwd=folder)
    (plan,) = json.loads(done.stdout)
    paths = [file["path"] for file in plan["server"]["tree"]["files"]]
    assert [each for each in paths if "/lib/" not in each] == [
        "opt/packager/server.json",
        "opt/packager/server.py",
        "opt/packager/start.py",
    ]
    assert [file["path"] for file in plan["app"]["tree"]["files"]] == ["var/azureml-app/score.py"]
    assert plan["models"][0]["size"] == (folder / "models/sklearn_regression_model.pkl").stat().st_size
    assert plan["app"]["folder"].startswith("layers/app-")
    assert len(plan["environment"]["packages"]) > 20
    assert "numpy" in run("plan", "--files", cwd=folder).stdout


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("save",), 2, "-o DIR, or --archive FILE"),
        (("save", "-o", "x", "--archive", "y.tar"), 2, "one destination"),
        (("save", "--archive", "y.zip"), 2, ".tar"),
        (("plan", "--target", "gpu"), 2, "its targets: cpu"),
        (("plan", "--platform", "linux/arm64"), 2, "locked: linux/amd64"),
        (("plan", "--base", "Not A Reference"), 2, "--base"),
        (("plan", "-f", "nowhere.yaml"), 2, "no such file"),
        (("build", "src/score.py"), 2, "score.py is no spec"),
        (("lock", "--target", "gpu"), 2, "the lock is that of all targets"),
        (("lock", "--targe", "gpu"), 2, "No such option"),
        (("build", "--label", "x"), 2, "--label 'x' is not NAME=VALUE"),
        (("verify", "src"), 6, ""),
        (("verify", "nowhere"), 6, ""),
        (("save", "-o", "src"), 6, "not made by packager"),
        (("save", "-o", "."), 6, "holds the spec"),
        (("score", "--data", "sample-request.json", "--url", "http://127.0.0.1:9/score"), 8, "packager run"),
    ],
)
def test_wrong_use_has_its_exit_code(folder: Path, words: tuple[str, ...], code: int, says: str) -> None:
    done = run(*words, cwd=folder)
    assert done.returncode == code, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_stale_lock_stops_every_later_verb(folder: Path) -> None:
    (folder / "requirements.txt").write_text("scikit-learn==1.9.*\npandas\n")
    for words in (("plan",), ("render",), ("save", "-o", "x"), ("lock", "--check")):
        done = run(*words, cwd=folder)
        assert done.returncode == 3, done.stderr
        assert "pandas" in done.stderr
    assert not (folder / "x").exists()


def test_a_lock_edited_by_hand_is_named(folder: Path) -> None:
    file = folder / "locks/cpu.requirements.txt"
    file.write_text(file.read_text().replace("numpy==", "numpy== "))
    done = run("render", cwd=folder)
    assert done.returncode == 3
    assert "locks/cpu.requirements.txt" in done.stderr


def test_init_does_not_replace_a_spec(folder: Path) -> None:
    before = (folder / "packager.yaml").read_text()
    done = run("init", cwd=folder)
    assert done.returncode == 2
    assert (folder / "packager.yaml").read_text() == before
    assert run("init", "--force", cwd=folder).returncode == 0
    assert (folder / "packager.yaml").read_text() != before


def test_check_reports_rules_and_honours_the_threshold(folder: Path) -> None:
    spec = folder / "packager.yaml"
    spec.write_text(
        spec.read_text().replace("LOG_LEVEL: info", "DB_PASSWORD: hunter2") + "system_packages: [libgomp1]\n"
    )
    done = run("check", "--format", "json", cwd=folder)
    assert done.returncode == 0
    assert {finding["rule"] for finding in json.loads(done.stdout)} >= {"env-secret", "debian-unpinned"}
    assert run("check", "--fail-on", "warning", cwd=folder).returncode == 5
    assert not {finding["rule"] for finding in json.loads(done.stdout)} & {"DL3008", "image-repository-missing"}
    assert run("check", "--fail-on", "never", cwd=folder).returncode == 0
    assert "hunter2" not in run("check", "-v", cwd=folder).stdout


def test_check_finds_everything_in_one_run(folder: Path) -> None:
    (folder / "src/score.py").write_text("def init(x): ...\n")
    (folder / "models/sklearn_regression_model.pkl").unlink()
    (folder / "requirements.txt").write_text("numpy\n")
    done = run("check", "--format", "json", cwd=folder)
    assert done.returncode == 5
    rules = {finding["rule"] for finding in json.loads(done.stdout)}
    assert rules >= {"entry-init-parameters", "entry-run-missing", "lock-stale", "source-invalid"}


@pytest.mark.parametrize("lock", ["missing", "stale"])
def test_check_without_a_lock_finds_all_but_packages(folder: Path, lock: str) -> None:
    script = folder / "src/score.py"
    lines = (
        "from . import beside\nfrom json import no_such_name\nimport never_heard_of\nfrom azureml.core import Model\n"
    )
    script.write_text(lines + script.read_text().replace("sklearn_regression_model.pkl", "other.pkl"))
    (folder / "models/sklearn_regression_model.pkl").write_bytes(b"\x80\x04c__main__\nMine\n)\x81.")
    if lock == "missing":
        (folder / "packager.lock").unlink()
    else:
        (folder / "requirements.txt").write_text("numpy\n")
    done = run("check", "--format", "json", cwd=folder)
    found = {(finding["rule"], finding["line"]) for finding in json.loads(done.stdout) if finding["severity"] != "info"}
    assert {rule for rule, _ in found} == {
        *("lock-stale", "import-relative", "import-name-missing", "model-path-missing", "model-main"),
    }
    assert {("import-relative", 1), ("import-name-missing", 2)} <= found


def test_build_says_what_check_calls_an_error(folder: Path) -> None:
    from packager.steps.build import BuildWish, _heed_errors
    from packager.steps.reporting import Silent

    said: list[str] = []

    class Heard(Silent):
        def warn(self, text: str) -> None:
            said.append(text)

    def say() -> list[str]:
        said.clear()
        spec_file = packager.load_spec(folder)
        plan = packager.plan_image(spec_file, "cpu").plan
        _heed_errors(read_inputs(spec_file, "cpu"), plan, BuildWish(), Heard())
        return said

    assert say() == []
    script = folder / "src/score.py"
    script.write_text("from . import beside\n" + script.read_text())
    first, last = say()
    assert first.startswith("src/score.py:1: error import-relative")
    assert "`packager check` lists all of it" in last
    assert say() == [first, last]


def test_that_there_are_no_errors_is_remembered_for_the_same_inputs(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from packager.checks.packaged import Looker
    from packager.steps import known_errors
    from packager.steps.reporting import SILENT
    from packager.storage.memory import Memory

    looked: list[str] = []

    def note(what: str) -> tuple[()]:
        looked.append(what)
        return ()

    monkeypatch.setattr(Looker, "errors_known", lambda self, plan: note("code"))
    monkeypatch.setattr("packager.checks.serving.check_cors", lambda plan: note("environment"))
    monkeypatch.syspath_prepend(str(tmp_path))

    def look() -> list[str]:
        looked.clear()
        spec_file = packager.load_spec(folder)
        plan = packager.plan_image(spec_file, "cpu").plan
        known_errors.known_errors(read_inputs(spec_file, "cpu"), plan, SILENT)
        return list(looked)

    assert [look(), look()] == [["environment", "code"], []]
    (folder / "src/score.py").write_text("import os\n" + (folder / "src/score.py").read_text())
    assert [look(), look()] == [["code"], []]
    # What is known of a package may tell more.
    Memory("facts").remember(b"", "a wheel")
    assert [look(), look()] == [["code"], []]
    # A company's own checks may be installed.
    (tmp_path / "rules-1.dist-info").mkdir()
    assert [look(), look()] == [["environment"], []]
    monkeypatch.setattr(known_errors, "own_stamp", lambda: "other code")
    assert look() == ["environment", "code"]
    # They may look at whatever they want.
    rule = SimpleNamespace(load=lambda: lambda spec_file: ())
    monkeypatch.setattr("packager.extensions.extensions", lambda group: (rule,))
    monkeypatch.setattr(known_errors, "own_stamp", lambda: "and other")
    assert [look(), look()] == [["environment", "code"], ["environment"]]


@pytest.mark.parametrize("verb", ["build", "save", "bake"])
def test_secrets_that_are_not_packaged_are_said_in_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    from packager.steps.reporting import Silent
    from packager.steps.save import save_targets

    class Heard(Silent):
        def __init__(self) -> None:
            self.said: list[str] = []

        def step(self, text: str) -> None:
            self.said.append(text)

    def act() -> list[str]:
        heard, spec_file = Heard(), packager.load_spec(folder)
        if verb == "build":
            monkeypatch.setattr("packager.steps.build._build_all", lambda *_: ())
            monkeypatch.setattr("packager.steps.build._write_files", lambda *_: None)
            packager.build(spec_file, builder="engine", reporter=heard)
        elif verb == "save":
            list(save_targets(spec_file, output=folder / "out", force=True, reporter=heard))
        else:
            packager.bake([spec_file], folder / "docker-bake.json", force=True, reporter=heard)
        return [each for each in heard.said if "secrets" in each]

    assert act() == []
    (folder / "src/.aws").mkdir()
    for name in ("a", "b", "c", "d", "e"):
        (folder / f"src/.env.{name}").write_text("TOKEN=x")
    (folder / "src/.aws/credentials").write_text("x")
    (said,) = act()
    assert ": .aws/, .env.a, .env.b, .env.c, .env.d and 1 more (see" in said


def test_a_script_without_run_is_not_packaged(folder: Path) -> None:
    (folder / "src/score.py").write_text("def init(): ...\n")
    done = run("save", "-o", "context", cwd=folder)
    assert done.returncode == 6
    assert "entry-run-missing" in done.stderr
    assert not (folder / "context").exists()


def test_no_engine_is_said_in_words(folder: Path) -> None:
    for words in (("build", "-q", "--builder", "engine"), ("push",), ("run",)):
        done = run(*words, cwd=folder, DOCKER_HOST="unix:///nonexistent/docker.sock")
        assert done.returncode == 7, done.stderr
        assert "Traceback" not in done.stderr
        assert "to do:" in done.stderr


def test_sizes_and_counts_read_well() -> None:
    assert [human_size(size) for size in (0, 999, 1000, 1_300_000, 2 * 10**9, 5 * 10**12)] == [
        "0 B", "999 B", "1.0 kB", "1.3 MB", "2.0 GB", "5.0 TB",
    ]  # fmt: skip
    assert (count(1, "file"), count(0, "file")) == ("1 file", "0 files")


def test_the_steps_are_functions_of_the_package(folder: Path) -> None:
    spec_file = packager.load_spec(folder)
    planned = packager.plan_image(spec_file, "cpu")
    assert packager.render(planned).startswith("# diabetes 1")
    assert packager.check(spec_file) == ()
    saved = packager.save(planned, folder / "context")
    assert packager.verify(saved).ok
    archived = packager.archive(planned, folder / "context.tar")
    assert packager.verify(archived).digest == packager.verify(saved).digest
    assert all(hasattr(packager, name) for name in packager.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        packager.nothing  # noqa: B018


def test_check_finds_the_missing_file_of_a_test(folder: Path) -> None:
    (folder / "expected-answer.json").unlink()
    done = run("check", "--offline", "--fail-on", "error", cwd=folder)
    assert done.returncode == 5
    assert "error test-invalid: 'expected-answer.json' cannot be read" in done.stdout


def findings_of(folder: Path) -> list[tuple[str, str, int | None, str | None]]:
    done = run("check", "--offline", "--format", "json", cwd=folder)
    assert done.returncode in (0, 5), done.stderr
    return [(each["rule"], each["file"], each.get("line"), each.get("remedy")) for each in json.loads(done.stdout)]


def edit(folder: Path, before: str, after: str) -> None:
    spec = folder / "packager.yaml"
    assert before in spec.read_text()
    spec.write_text(spec.read_text().replace(before, after))


def test_each_fault_is_told_once_with_its_line_and_what_was_meant(folder: Path) -> None:
    """Misspelt files: what else is wrong is told beside them."""
    (folder / "data.json").write_text('{"data": [1, 2}')
    edit(folder, "environment: requirements.txt", "environment: requirement.txt")
    edit(folder, "entry_script: score.py", "entry_script: scorer.py")
    edit(folder, "file: sample-request.json", "file: data.json")
    edit(folder, "path: models/sklearn_regression_model.pkl", "path: model/sklearn_regression_model.pkl")
    found = {rule: (line, remedy) for rule, _, line, remedy in findings_of(folder)}
    assert found.keys() == {"environment-invalid", "entry-missing", "source-invalid", "test-invalid"}
    assert found["environment-invalid"][1] == "did you mean 'requirements.txt'?"
    assert found["entry-missing"][1] == "did you mean 'score.py'?"
    assert found["source-invalid"][1] == "did you mean 'models/sklearn_regression_model.pkl'?"
    assert all(line for line, _ in found.values())


def test_a_broken_lock_is_the_locks_fault_and_told_once(folder: Path) -> None:
    with (folder / "packager.lock").open("a") as lock:
        lock.write("<<<<<<< ours\n")
    assert [rule for rule, *_ in findings_of(folder)] == ["lock-invalid"]


def test_a_model_without_code_that_is_none_is_told_once(folder: Path) -> None:
    (folder / "m.pkl").write_text("hello")
    (folder / "packager.yaml").write_text(
        'name: m\nversion: "1"\nimage: {repository: r.example.com/m}\nmodels: [{path: m.pkl, framework: sklearn}]\n'
    )
    assert [rule for rule, *_ in findings_of(folder)] == ["source-invalid"]


def test_a_variable_that_looks_like_a_secret_is_told_once(folder: Path) -> None:
    edit(folder, "env:\n", "env:\n  DB_PASSWORD: hunter2\n")
    assert [rule for rule, *_ in findings_of(folder) if rule not in ("debian-unpinned",)] == ["env-secret"]


HOSTILE = "\x1b]0;title\x07\x9b31m\u202e"


def test_nothing_that_is_printed_holds_a_control_character(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = common.Reporter(1)
    for say in (reporter.step, reporter.detail, reporter.warn, common.emit):
        say(f"one{HOSTILE}\ntwo")
    common.emit_json({f"key{HOSTILE}": HOSTILE})
    captured = capsys.readouterr()
    printed = captured.out + captured.err
    assert not set(HOSTILE) & set("\x1b\x07\x9b\u202e") & set(printed)
    assert printed.count("one\\x1b]0;title\\x07\\x9b31m\\u202e\ntwo\n") == 4
    assert json.loads(captured.out.partition("two\n")[2]) == {f"key{HOSTILE}": HOSTILE}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('"a\\e[31mb": 1\n', ()),
        ('name: x\nversion: \'1\'\ntest: [{name: "a\\x9b2J", request: 1}, {name: "a\\x9b2J", request: 1}]\n', ()),
        ('name: "a\\e[31m"\n', ()),
        ("name: x\n", ("a\x07b",)),
    ],
)
def test_errors_about_files_and_words_hold_no_control_character(
    tmp_path: Path, text: str, words: tuple[str, ...]
) -> None:
    (tmp_path / "packager.yaml").write_text(text)
    done = run("check", *words, cwd=tmp_path)
    assert done.returncode == 2
    assert not [each for each in done.stdout + done.stderr if each != "\n" and not each.isprintable()]
    assert "\\x" in done.stderr or not words
