"""The verbs `model`, `environment`, `workspace` and `image`, each as it is typed, on a folder of this machine."""

from __future__ import annotations

import hashlib
import http.server
import json
import shlex
import shutil
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import click
import pytest
from click.testing import CliRunner, Result

import packager
from packager.cli import cli
from packager.errors import EngineError, PackagerError
from packager.steps.needed import NeededError, Use, refuse_needed
from packager.workspace.folder import FolderWorkspace
from packager.workspace.sources import Fetched
from packager.workspace.values import Content, Held, ImageRecord, Source, Version
from tests.unit.test_no_code_models import field
from tests.unit.test_outputs import hold

Run = Callable[..., Result]

#: Of the model of scikit-learn.
SHA256 = "e78d9d0c81ef7e92980f4a9a855cdcf4658c2c4f6511f2f3da5aa319206027a9"


def no_engine(_host: object) -> Any:
    raise EngineError("there is no engine")


@pytest.fixture
def here(tmp_path: Path, checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty machine, whose current folder has a model of scikit-learn, and a folder of two files."""
    for name in ("DATA", "CACHE", "CONFIG", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    monkeypatch.setattr("packager.serving.hosts.docker.engine.DockerHost.labels", no_engine)
    folder = tmp_path / "here"
    (folder / "outputs/deep").mkdir(parents=True)
    shutil.copy(checkout / "examples/diabetes/models/sklearn_regression_model.pkl", folder / "model.pkl")
    (folder / "outputs/weights.bin").write_bytes(b"weights")
    (folder / "outputs/deep/vocabulary.txt").write_text("a b c")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def run(here: Path) -> Run:
    def invoke(*words: str, code: int = 0) -> Result:
        result = CliRunner().invoke(cli, list(words))
        found = result.exception.exit_code if isinstance(result.exception, PackagerError) else result.exit_code
        assert found == code, f"{result.output}{result.exception!r}"
        return result

    return invoke


def said(result: Result) -> str:
    """What people read of an error."""
    return str(result.exception) if isinstance(result.exception, PackagerError) else result.stderr


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["score.py"], "score.py does not look like a model"),
        (["train.py", "params.yaml", "README.md"], "none of the files looks like a model"),
        (["rows.csv"], "rows.csv does not look like a model"),
        (["train.py", "weights.bin"], ""),
        (["tokenizer.json", "vocabulary.txt"], ""),
        (["trees.txt"], ""),
    ],
)
def test_what_can_be_no_model_is_registered_with_a_warning(run: Run, here: Path, names: list[str], says: str) -> None:
    (here / "given").mkdir()
    for name in names:
        (here / "given" / name).write_text("x = 1\n")
    result = run("model", "register", "-n", "churn", "-p", f"given/{names[0]}" if len(names) == 1 else "given")
    assert result.stdout == "churn:1\n"
    assert ("warning: " in result.stderr) is bool(says)
    assert says in result.stderr


def data(run: Run, *words: str) -> Any:
    """What a verb prints as JSON, held against its schema."""
    value = json.loads(run(*words, "--format", "json").stdout)
    hold("-".join(words[:2]), value)
    return value


def register(run: Run, name: str = "churn", path: str = "model.pkl", *words: str) -> str:
    return run("model", "register", "-n", name, "-p", path, *words).stdout.strip()


# --- register ---


def test_a_version_is_printed_and_counts_on(run: Run) -> None:
    assert register(run) == "churn:1"
    assert register(run) == "churn:2"
    assert register(run, "other") == "other:1"
    assert register(run, "other", "model.pkl", "--sha256", SHA256.upper()) == "other:2"


def test_all_that_is_said_of_a_model_is_kept(run: Run, here: Path) -> None:
    (here / "request.json").write_text('{"data": [[1]]}')
    found = data(
        run, "model", "register", "--name", "churn", "--model-path", "model.pkl", "--tag", "area=sales",
        "--tag", "b=c=d", "--property", "trained_by=ci", "--description", "of May",
        "--model-framework", "ScikitLearn", "--cpu-cores", "1", "--memory", "0.5", "--gpu-cores", "2",
        "--sample-input", "request.json", "--run-id", "r1", "--experiment-name", "e1",
    )  # fmt: skip
    assert found["id"] == "churn:1"
    assert (found["tags"], found["description"]) == ({"area": "sales", "b": "c=d"}, "of May")
    assert found["properties"] == {"trained_by": "ci", "experiment_name": "e1"}
    assert found["framework"] == "ScikitLearn"
    assert found["framework_version"].startswith("1.")
    assert found["resources"] == {"cpu": 1.0, "memory_gb": 0.5, "gpu": 2}
    assert found["run_id"] == "r1"
    assert [each["path"] for each in found["files"]] == ["model.pkl"]
    assert [each["path"] for each in found["samples"]] == ["request.json"]
    text = run("model", "show", "churn").stdout
    for word in ("churn:1", "ScikitLearn 1.", "area=sales", "1 processor, 0.5 GiB of memory, 2 GPUs", "request.json"):
        assert word in text


def test_the_short_flags_of_az(run: Run, here: Path) -> None:
    run(
        "model",
        "register",
        "-n",
        "churn",
        "-p",
        "model.pkl",
        "--cc",
        "1",
        "--mi",
        "0.5",
        "--gc",
        "0",
        "-t",
        "meta.json",
    )
    assert json.loads((here / "meta.json").read_text()) == {"modelId": "churn:1", "workspaceName": "default"}
    assert run("model", "register", "-n", "churn", "--asset-path", "outputs").stdout == "churn:2\n"


def test_framework_and_version_are_found(run: Run) -> None:
    register(run)
    (found,) = data(run, "model", "list", "--framework", "sklearn")
    assert (found["framework"], found["framework_version"][:2]) == ("ScikitLearn", "1.")
    assert data(run, "model", "list", "--framework", "PyTorch") == []


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("-n", "a b", "-p", "model.pkl"), 2, "'a b' is no name of a model"),
        (("-n", "a\x1b", "-p", "model.pkl"), 2, "is no name of a model"),
        (("-n", "a", "-p", "nothing"), 6, "nothing cannot be read"),
        (("-n", "a", "-p", "empty"), 6, "is empty"),
        (("-n", "a", "-p", "model.pkl", "--tag", "area"), 2, "--tag 'area' is not NAME=VALUE"),
        (("-n", "a", "-p", "model.pkl", "--tag", "area=\x07"), 2, "control character"),
        (("-n", "a", "-p", "model.pkl", "--model-framework-version", "1"), 2, "needs the framework"),
        (("-n", "a", "-p", "model.pkl", "--model-framework", "PyTorch"), 6, "PyTorch was said"),
        (("-n", "a", "-p", "model.pkl", "--model-framework", "Sklearn9"), 2, "is no framework"),
        (("-n", "a", "-p", "model.pkl", "--sha256", "aa"), 2, "'aa' is no sha256"),
        (("-n", "a", "-p", "model.pkl", "--sha256", "0" * 64), 6, f"model.pkl is {SHA256}, and {'0' * 64} was said"),
        (("-n", "a", "-p", ""), 2, "the path of the model is empty"),
        (("-n", "a", "-p", "model.pkl", "-t", "none/x.json"), 2, "there is no folder none"),
        (("-n", "a", "-p", "outputs", "--sha256", "0" * 64), 2, "this is a folder"),
        (("-n", "a", "-p", "model.pkl", "--cc", "inf"), 2, "is no number of processors"),
        (("-n", "a", "-p", "ftp://host/a"), 2, "ftp://"),
        (
            ("-n", "a", "-p", "model.pkl", "--sample-input", "model.pkl", "--sample-input", "sub/model.pkl"),
            2,
            "two sample",
        ),
        (("-n", "a"), 2, "--path"),
    ],
)
def test_what_is_not_registered(run: Run, here: Path, words: tuple[str, ...], code: int, text: str) -> None:
    (here / "empty").mkdir()
    (here / "sub").mkdir()
    shutil.copy(here / "model.pkl", here / "sub/model.pkl")
    assert text in said(run("model", "register", *words, code=code))
    assert data(run, "model", "list") == []


@pytest.fixture
def web(here: Path) -> Iterator[str]:
    """The address of a server with the files of the folder, and a login page for what is not there."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def send_error(self, *_: object, **__: object) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<html>log in</html>")

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(here))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_model_from_the_web(run: Run, web: str, here: Path, tmp_path: Path) -> None:
    digest = hashlib.sha256((here / "model.pkl").read_bytes()).hexdigest()
    assert register(run, "churn", f"{web}/model.pkl") == "churn:1"
    assert register(run, "churn", f"{web.replace('//', '//me:geheim@')}/model.pkl", "--sha256", digest) == "churn:2"
    for name in ("churn:1", "churn:2"):
        shown = data(run, "model", "show", name)
        assert shown["source"] == {"uri": f"{web}/model.pkl", "revision": f"sha256:{digest}"}
        assert (shown["framework"], [each["path"] for each in shown["files"]]) == ("ScikitLearn", ["model.pkl"])
    assert run("model", "register", "-n", "m", "-p", f"{web}/model.pkl", "--sha256", "0" * 64, code=6)
    assert "want a login" in said(run("model", "register", "-n", "m", "-p", f"{web}/none.pkl", code=6))
    assert data(run, "model", "list", "-n", "m") == []
    kept = [path for path in (*tmp_path.rglob("*.json"), *(tmp_path / "cache").rglob("*")) if path.is_file()]
    assert not [path for path in kept if b"geheim" in path.read_bytes()]
    assert list((tmp_path / "cache/packager/fetched/tmp").iterdir()) == []


# --- list, show, diff ---


def test_list_by_tag_property_and_name(run: Run) -> None:
    register(run, "a", "model.pkl", "--tag", "area=mnist", "--property", "by=ci")
    register(run, "a", "model.pkl", "--tag", "area=sales")
    register(run, "b", "outputs", "--tag", "area=mnist", "--tag", "x=", "--run-id", "r1")

    def ids(*words: str) -> list[str]:
        return [each["id"] for each in data(run, "model", "list", *words)]

    assert ids() == ["a:1", "a:2", "b:1"]
    assert ids("--tag", "area=mnist") == ["a:1", "b:1"]
    assert ids("--tag", "area") == ["a:1", "a:2", "b:1"]
    assert ids("--tag", "area", "--tag", "x") == ids("--tag", "x=") == ids("--run-id", "r1") == ["b:1"]
    assert ids("--property", "by=ci") == ids("--property", "by") == ["a:1"]
    assert ids("-n", "a", "-l") == ids("--model-name", "a", "--latest") == ["a:2"]
    assert ids("--tag", "area=mnist", "--latest") == ["a:1", "b:1"]
    assert ids("-n", "nobody") == []
    assert run("model", "list").stdout.splitlines()[2].split()[0] == "b:1"
    assert "names no tag" in said(run("model", "list", "--tag", "=x", code=2))
    assert "no such model is registered" in run("model", "list", "-n", "nobody").stderr


def test_one_version_by_each_way_to_name_it(run: Run) -> None:
    register(run)
    register(run, "churn", "outputs")
    assert data(run, "model", "show", "churn")["version"] == 2
    for words in (("churn:1",), ("-n", "churn", "-v", "1"), ("-i", "churn:1"), ("--model-id", "churn:1")):
        assert data(run, "model", "show", *words)["version"] == 1
    assert "no name is given" in said(run("model", "show", code=2))
    assert "both named" in said(run("model", "show", "churn", "-i", "churn:1", code=2))
    assert "has a version" in said(run("model", "show", "-n", "churn:1", "-v", "1", code=2))
    assert "there is no model churn:9" in said(run("model", "show", "churn:9", code=6))
    assert "no version" in said(run("model", "show", "churn:x", code=2))
    assert "no model 'nobody'" in said(run("model", "show", "nobody", code=6))


def test_diff_names_files_and_facts(run: Run, here: Path) -> None:
    register(run, "m", "outputs", "--tag", "area=a")
    (here / "outputs/weights.bin").write_bytes(b"other weights")
    (here / "outputs/new.bin").write_bytes(b"x")
    (here / "outputs/deep/vocabulary.txt").unlink()
    register(run, "m", "outputs", "--tag", "area=b")
    found = data(run, "model", "diff", "m:1", "m:2")
    assert [each["path"] for each in found["added"]] == ["outputs/new.bin"]
    assert [each["path"] for each in found["removed"]] == ["outputs/deep/vocabulary.txt"]
    assert [(each["path"], each["before"]["size"], each["after"]["size"]) for each in found["changed"]] == [
        ("outputs/weights.bin", 7, 13)
    ]
    assert {"name": "tags.area", "before": "a", "after": "b"} in found["facts"]
    text = run("model", "diff", "m:1", "m", "--exit-code", code=1).stdout
    assert "+ outputs/new.bin" in text
    assert "7 B -> 13 B" in text
    assert "tags.area: a -> b" in text
    assert "nothing differs" in run("model", "diff", "m:1", "m:1", "--exit-code").stderr


# --- update, download, delete, verify ---


def test_update_changes_what_may_and_no_digest(run: Run) -> None:
    register(run, "m", "outputs", "--tag", "a=1", "--tag", "b=2", "--property", "p=1")
    before = data(run, "model", "show", "m")
    words = ("--add-tag", "c=3", "--remove-tag", "a", "--add-property", "q=2", "-d", "approved")
    assert data(run, "model", "update", "m:1", *words)["id"] == "m:1"
    assert run("model", "update", "m:1", "-d", "approved").stdout == "m:1\n"
    after = data(run, "model", "show", "m")
    assert (after["tags"], after["properties"]) == ({"b": "2", "c": "3"}, {"p": "1", "q": "2"})
    assert (after["description"], after["digest"]) == ("approved", before["digest"])
    assert "a property never changes" in said(run("model", "update", "-i", "m:1", "--add-property", "p=2", code=2))
    assert "nothing is to be changed" in said(run("model", "update", "m:1", code=2))


def test_download_gives_the_file_or_folder_under_its_name(run: Run, here: Path) -> None:
    register(run)
    register(run, "folder", "outputs")
    assert run("model", "download", "churn:1", "-t", "to").stdout == "to/model.pkl\n"
    assert (here / "to/model.pkl").read_bytes() == (here / "model.pkl").read_bytes()
    assert not (here / "to/model.pkl").is_symlink()
    assert (here / "to/model.pkl").stat().st_nlink == 1, "never a link into the workspace"
    assert data(run, "model", "download", "-i", "folder:1", "--target-dir", "to") == {
        "id": "folder:1", "path": "to/outputs",
    }  # fmt: skip
    assert (here / "to/outputs/deep/vocabulary.txt").read_text() == "a b c"
    (here / "to/model.pkl").write_text("mine")
    assert "is there already" in said(run("model", "download", "churn:1", "-t", "to", code=6))
    assert (here / "to/model.pkl").read_text() == "mine"
    run("model", "download", "churn:1", "-t", "to", "--overwrite")
    assert (here / "to/model.pkl").read_bytes() == (here / "model.pkl").read_bytes()


def test_a_deleted_number_is_not_given_again(run: Run) -> None:
    register(run)
    register(run)
    assert data(run, "model", "delete", "churn:2") == [{"id": "churn:2", "digest": ANY}]
    assert [each["id"] for each in data(run, "model", "list")] == ["churn:1"]
    assert register(run) == "churn:3"
    assert "the model churn:2 is deleted" in said(run("model", "delete", "churn:2", code=6))
    assert "which version of churn" in said(run("model", "delete", "churn", code=2))
    assert "no version is named" in said(run("model", "delete", code=2))


def test_what_was_deleted_is_printed_though_the_next_fails(run: Run) -> None:
    register(run)
    register(run)
    result = run("model", "delete", "churn:1", "churn:7", code=6)
    assert result.stdout == "churn:1\n"
    assert "churn:7" in said(result)


def noted(images: ImageRecord) -> None:
    FolderWorkspace(Path(packager.Workspace().location)).note(images)


def test_what_an_image_holds_is_kept(run: Run) -> None:
    register(run)
    register(run)
    held = Held(name="churn", version=1, digest=data(run, "model", "show", "churn:1")["digest"])
    digest = f"sha256:{'0' * 64}"
    noted(ImageRecord(reference="registry.example.com/a:1", digest=digest, models=(held,), when="2026-01-02T03:04:05Z"))
    noted(ImageRecord(reference="registry.example.com/b:1"))
    result = run("model", "delete", "churn:1", code=6)
    assert "churn:1 is needed by the image registry.example.com/a:1" in said(result)
    assert "--force" in said(result)
    assert data(run, "model", "show", "churn:1")["used_by"] == [
        {"kind": "image", "what": "registry.example.com/a:1", "digest": digest, "when": "2026-01-02T03:04:05Z"}
    ]
    assert f"image  registry.example.com/a:1@{digest}" in run("model", "show", "churn:1").stdout
    assert data(run, "model", "show", "churn:2")["used_by"] == []
    run("model", "delete", "churn:2")
    run("model", "delete", "churn:1", "--force")


def test_what_needs_a_version_is_named_once_and_the_gravest_first() -> None:
    version = Version(kind="model", name="m", version=1)
    images = [Use(kind="image", what="a:1", digest=f"sha256:{number}") for number in range(3)]
    found = [*images, Use(kind="image", what="a:latest"), Use(kind="lock", what="/x/packager.lock")]
    with pytest.raises(NeededError) as caught:
        refuse_needed(version, [*found, Use(kind="service", what="live")])
    assert caught.value.message == (
        "m:1 is needed by the service live, the lock /x/packager.lock, the image a:1 (3 builds) and 1 more"
    )
    assert str(caught.value.remedy).startswith("`packager service delete NAME`, or update it")
    with pytest.raises(NeededError) as caught:
        refuse_needed(version, images)
    assert caught.value.message == "m:1 is needed by the image a:1 (3 builds)"
    assert str(caught.value.remedy).startswith("`packager model delete m:1 --force`")


def test_what_the_lock_of_this_folder_pins_is_kept(run: Run, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    register(run)
    digest = data(run, "model", "show", "churn:1")["digest"]
    (here / "packager.yaml").write_text("name: a\n")
    lock = {"registered": {"models": {"churn": {"version": 1, "digest": digest}}}}
    (here / "packager.lock").write_text(json.dumps(lock))
    (here / "sub").mkdir()
    monkeypatch.chdir(here / "sub")
    assert f"is needed by the lock {here}/packager.lock" in said(run("model", "delete", "churn:1", code=6))
    monkeypatch.chdir(here.parent)
    run("model", "delete", "churn:1")


def test_what_a_lock_pins_is_kept(run: Run, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    register(run)
    register(run)
    elsewhere = here.parent / "elsewhere"
    elsewhere.mkdir()
    (here / "packager.yaml").write_text("name: a\n")
    noted(ImageRecord(reference="x:1", spec=str(here / "packager.yaml")))
    run("model", "verify")
    monkeypatch.chdir(elsewhere)
    digest = data(run, "model", "show", "churn:2")["digest"]
    lock = {"registered": {"models": {"churn": {"version": 2, "digest": digest}}}}
    (here / "packager.lock").write_text(json.dumps(lock))
    assert f"is needed by the lock {here}/packager.lock" in said(run("model", "delete", "churn:2", code=6))
    run("model", "delete", "churn:1")
    (here / "packager.lock").write_text("{")
    assert data(run, "model", "show", "churn:2")["used_by"] == []
    (here / "packager.lock").write_text(json.dumps(lock))
    (here / "packager.yaml").unlink()
    run("model", "delete", "churn:2")


def test_another_workspaces_version_of_the_name_keeps_nothing(
    run: Run, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(run)
    other = f"sha256:{'0' * 64}"
    labels = {"packager.models": json.dumps([{"name": "churn", "version": 1, "digest": other}])}
    monkeypatch.setattr("packager.serving.holding.labels_of_services", lambda _say: (("live", labels),))
    held = Held(name="churn", version=1, digest=other)
    (here / "packager.yaml").write_text("name: a\n")
    (here / "packager.lock").write_text(
        json.dumps({"registered": {"models": {"churn": {"version": 1, "digest": other}}}})
    )
    noted(ImageRecord(reference="x:1", spec=str(here / "packager.yaml"), models=(held,)))
    assert data(run, "model", "show", "churn")["used_by"] == []
    run("model", "delete", "churn:1")


def test_what_a_service_runs_is_kept(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    register(run)
    wrong = {"packager.models": "nonsense"}
    digest = data(run, "model", "show", "churn:1")["digest"]
    model = {"name": "churn", "version": 1, "digest": digest, "delivery": "volume", "path": "/x"}
    labels = {"packager.models": json.dumps([model])}
    monkeypatch.setattr(
        "packager.serving.holding.labels_of_services", lambda _say: (("live", labels), ("x", wrong), ("y", {}))
    )
    assert "is needed by the service live" in said(run("model", "delete", "churn:1", code=6))
    assert data(run, "model", "show", "churn")["used_by"] == [
        {"kind": "service", "what": "live", "digest": None, "when": ""}
    ]
    run("model", "delete", "churn:1", "--force")


def test_verify_reads_every_file(run: Run) -> None:
    register(run)
    register(run, "m", "outputs")
    assert run("model", "verify").stdout.splitlines() == ["ok   churn:1", "ok   m:1"]
    assert [each["files"] for each in data(run, "model", "verify")] == [1, 2]
    path = Path(packager.Workspace().location) / "models/m/1/files/outputs/weights.bin"
    path.chmod(0o644)
    path.write_bytes(b"damaged")
    result = run("model", "verify", code=6)
    assert "FAIL m:1" in result.stdout
    assert "outputs/weights.bin" in result.stdout
    assert "1 of 2 versions" in said(result)
    run("model", "verify", "churn")
    run("model", "verify", "churn:1")
    run("model", "verify", "m:1", code=6)
    run("model", "verify", "nobody", code=6)
    result = run("model", "verify", "--format", "json", code=6)
    assert [(each["id"], len(each["wrong"])) for each in json.loads(result.stdout)] == [("churn:1", 0), ("m:1", 1)]


def test_damage_is_said_once_and_all_else_works(run: Run) -> None:
    register(run)
    register(run, "m", "outputs")
    (Path(packager.Workspace().location) / "models/m/1/version.json").write_text("{")
    result = run("model", "verify", code=6)
    assert result.stdout == "ok   churn:1\n"
    assert "one record cannot be read" in said(result)
    result = run("model", "list")
    assert result.stdout.splitlines()[0].startswith("churn:1")
    assert result.stderr.count("m:1") == 1
    assert result.stderr.startswith("warning: ")
    assert run("model", "show", "churn").stderr == ""
    assert register(run, "m", "outputs") == "m:2"


#: The registry part of Azure ML v1's documents on deploying, line for line: `az ml` is `packager`, and what they do in
#: Python is its verb. The versions of frameworks are those of the files here.
OF_DOCUMENTS = (
    (
        "model register -n sklearn_mnist --asset-path outputs/sklearn_mnist_model.pkl --experiment-name myexperiment "
        "--run-id myrunid --tag area=mnist",
        "sklearn_mnist:1",
    ),
    ("model register -n onnx_mnist -p mnist/model.onnx", "onnx_mnist:1"),
    (
        "model register -n onnx_mnist -p mnist/model.onnx --tag onnx=demo -d 'MNIST image classification'",
        "onnx_mnist:2",
    ),
    (
        "model register -n sklearn_mnist -p sklearn_mnist_model.pkl --tag data=mnist --tag type=classification "
        "-d 'Mnist handwriting recognition'",
        "sklearn_mnist:2",
    ),
    (
        "model register -n flowers -p ./flowers_model --model-framework TensorFlow --model-framework-version 1.14.0 "
        "-d 'Flowers model'",
        "flowers:1",
    ),
    (
        "model register -n mnist-sample -p mnist/model.onnx --model-framework Onnx -d 'Onnx MNIST model'",
        "mnist-sample:1",
    ),
    (
        "model register -n my-sklearn-model -p ./sklearn_mnist_model.pkl --model-framework ScikitLearn --cc 1 --mi 0.5 "
        "--tag area=diabetes --tag type=regression -d 'Ridge regression model to predict diabetes progression.'",
        "my-sklearn-model:1",
    ),
    # Several files: "set -p to the path of a folder that contains them".
    ("model register -n several -p outputs", "several:1"),
    ("model download --model-id several:1 --target-dir model_folder", "model_folder/outputs"),
    ("model download --model-id sklearn_mnist:1 --target-dir model_folder", "model_folder/sklearn_mnist_model.pkl"),
    ("model delete onnx_mnist:1", "onnx_mnist:1"),
    ("model delete -i onnx_mnist:2", "onnx_mnist:2"),
)


def test_the_registry_part_of_the_documents(run: Run, here: Path, checkout: Path) -> None:
    (here / "mnist").mkdir()
    shutil.copy(checkout / "examples/iris-onnx/models/petal_width.onnx", here / "mnist/model.onnx")
    shutil.copy(here / "model.pkl", here / "sklearn_mnist_model.pkl")
    shutil.copy(here / "model.pkl", here / "outputs/sklearn_mnist_model.pkl")
    (here / "flowers_model/variables").mkdir(parents=True)
    (here / "flowers_model/saved_model.pb").write_bytes(field(1, 1) + field(2, field(1, field(5, "1.14.0"))))
    (here / "flowers_model/variables/variables.index").write_bytes(b"x")
    for line, printed in OF_DOCUMENTS:
        assert run(*shlex.split(line)).stdout == f"{printed}\n"
    assert [each["id"] for each in data(run, "model", "list", "--tag", "area=mnist")] == ["sklearn_mnist:1"]
    assert [each["id"] for each in data(run, "model", "list", "--tag", "area", "--tag", "type=regression")] == [
        "my-sklearn-model:1"
    ]
    found = data(run, "model", "show", "sklearn_mnist:1")
    assert (found["run_id"], found["properties"]) == ("myrunid", {"experiment_name": "myexperiment"})
    assert data(run, "model", "show", "flowers")["framework_version"] == "1.14.0"
    assert (here / "model_folder/outputs/deep/vocabulary.txt").is_file()


# --- environments ---

CONDA = "name: x\nchannels: [conda-forge]\ndependencies:\n- python=3.12\n- pip:\n  - scikit-learn==1.6.1\n"


@pytest.fixture
def folder_of_v1(here: Path) -> Path:
    folder = here / "env"
    folder.mkdir()
    (folder / "conda_dependencies.yml").write_text(CONDA)
    (folder / "azureml_environment.json").write_text('{"name": "of-v1", "python": {"condaDependencies": null}}')
    (folder / "notes.txt").write_text("not part of it")
    return folder


def test_an_environment_from_the_folder_that_v1_writes(run: Run, folder_of_v1: Path) -> None:
    assert run("environment", "register", "-d", "env").stdout == "of-v1:1\n"
    assert run("environment", "register", "-d", "env", "-n", "mine", "--tag", "team=a").stdout == "mine:1\n"
    found = data(run, "environment", "show", "mine")
    assert [each["path"] for each in found["files"]] == ["azureml_environment.json", "conda_dependencies.yml"]
    assert found["environment"] == CONDA
    assert (found["kind"], found["version"], found["tags"]) == ("registered", 1, {"team": "a"})
    text = run("environment", "show", "-n", "mine", "-v", "1").stdout
    assert "scikit-learn==1.6.1" in text
    assert text.endswith("environment: {registered: mine:1}\n")


def test_an_environment_that_is_written_into_the_json(run: Run, here: Path) -> None:
    (here / "env").mkdir()
    inline = {"dependencies": ["python=3.12", {"pip": ["six"]}], "channels": ["conda-forge"]}
    (here / "env/azureml_environment.json").write_text(
        json.dumps({"name": "mine", "python": {"condaDependencies": inline}})
    )
    run("environment", "register", "-d", "env")
    found = data(run, "environment", "show", "mine:1")
    assert [each["path"] for each in found["files"]] == ["azureml_environment.json", "conda_dependencies.yml"]
    assert json.loads(found["environment"]) == inline


def test_an_environment_from_a_file_with_what_it_includes(run: Run, here: Path) -> None:
    (here / "requirements.txt").write_text("-r more.txt\nsix\n")
    (here / "more.txt").write_text("click\n")
    assert run("environment", "register", "-f", "requirements.txt", "-n", "mine").stdout == "mine:1\n"
    assert [each["path"] for each in data(run, "environment", "show", "mine")["files"]] == [
        "more.txt", "requirements.txt",
    ]  # fmt: skip
    assert run("environment", "download", "mine", "-t", "to").stdout == "to\n"
    assert (here / "to/more.txt").read_text() == "click\n"


def test_its_lock_goes_with_a_folder(run: Run, here: Path, checkout: Path) -> None:
    shutil.copytree(checkout / "examples/diabetes", here / "package")
    run("environment", "register", "-d", "package", "-n", "mine")
    paths = [each["path"] for each in data(run, "environment", "show", "mine")["files"]]
    assert paths == ["locks/cpu.requirements.txt", "packager.lock", "requirements.txt"]


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        ((), 2, "one of -d DIR and -f FILE"),
        (("-d", "outputs", "-f", "model.pkl", "-n", "a"), 2, "one of -d DIR and -f FILE"),
        (("-d", "outputs", "-n", "a"), 6, "has no environment in it"),
        (("-d", "nothing", "-n", "a"), 6, "nothing is not there"),
        (("-f", "model.pkl", "-n", "a"), 6, "defines no environment"),
        (("-f", "conda.yml"), 2, "the environment has no name"),
        (("-f", "conda.yml", "-n", "sklearn"), 2, "curated environment's name"),
        (("-f", "conda.yml", "-n", "azureml-Mine"), 2, "curated environment's name"),
        (("-f", "conda.yml", "-n", "a b"), 2, "is no name of an environment"),
        (("-f", "broken.yml", "-n", "a"), 2, "broken.yml:3"),
        (("-d", "json", "-n", "a"), 2, "azureml_environment.json:2"),
        (("-d", "list", "-n", "a"), 2, "an object is"),
        (("-d", "bare", "-n", "a"), 6, "names neither packages nor a Dockerfile"),
        (("-d", "inline", "-n", "a"), 2, "azureml_environment.json"),
        (("-d", "link", "-n", "a"), 6, "leads out of"),
    ],
)
def test_what_is_no_environment(run: Run, here: Path, words: tuple[str, ...], code: int, text: str) -> None:
    (here / "conda.yml").write_text(CONDA)
    (here / "broken.yml").write_text("dependencies:\n- [\n")
    for name, content in (
        ("json", '{"name": "a",\n x}'),
        ("list", "[]"),
        ("bare", '{"name": "a"}'),
        ("inline", '{"python": {"condaDependencies": {"dependencies": ["a b c d"]}}}'),
    ):
        (here / name).mkdir()
        (here / name / "azureml_environment.json").write_text(content)
    (here / "link").mkdir()
    (here / "link/requirements.txt").write_text("six\n")
    (here / "link/packager.lock").symlink_to(here / "model.pkl")
    assert text in said(run("environment", "register", *words, code=code))
    assert [each for each in data(run, "environment", "list") if each["kind"] == "registered"] == []


def test_environments_are_one_list(run: Run, folder_of_v1: Path) -> None:
    found = data(run, "environment", "register", "-d", "env", "-n", "mine", "--tag", "a=1", "--description", "ours")
    assert (found["id"], found["description"]) == ("mine:1", "ours")
    run("environment", "register", "-d", "env", "-n", "mine")
    found = data(run, "environment", "list")
    kinds = [each["kind"] for each in found]
    assert kinds == sorted(kinds, key=["registered", "curated", "v1"].index)
    assert [each["version"] for each in found if each["name"] == "mine"] == [1, 2]
    assert {each["curated"] for each in found if each["name"] == "AzureML-Minimal"} == {"minimal"}
    assert [each["version"] for each in data(run, "environment", "list", "--tag", "a")] == [1]
    assert [each["version"] for each in data(run, "environment", "list", "-n", "mine", "-l")] == [2]
    assert run("environment", "list", "-n", "mine").stdout.startswith("mine:1  ")
    assert "AzureML-Minimal  as minimal\n" in run("environment", "list").stdout


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("AzureML-Minimal", "minimal"),
        ("azureml-tutorial", "sklearn"),
        ("AzureML-PyTorch-1.3-CPU", "pytorch"),
        ("AzureML-onnxruntime-1.6-ubuntu18.04-py37-cpu-inference", "onnx"),
        ("AzureML-lightgbm-3.3-ubuntu18.04-py37-cpu", "lightgbm"),
    ],
)
def test_a_name_of_v1_is_the_nearest_of_ours(run: Run, name: str, ours: str, checkout: Path) -> None:
    text = (checkout / f"environments/{ours}/environment.yml").read_text()
    assert data(run, "environment", "show", name)["environment"] == text
    assert run("environment", "show", name).stdout.startswith(text)
    assert run("environment", "download", name, "-d", "to").stdout == "to/environment.yml\n"
    assert Path("to/environment.yml").read_text() == text
    assert "is there already" in said(run("environment", "download", "-n", name, "-d", "to", code=6))
    found = data(run, "environment", "download", "-n", name, "-d", "to", "--overwrite")
    assert found == {"id": name, "path": "to/environment.yml"}


def test_environments_are_verified_and_deleted(run: Run, folder_of_v1: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("environment", "register", "-d", "env", "-n", "mine")
    assert run("environment", "verify").stdout == "ok   mine:1\n"
    assert data(run, "environment", "verify", "mine") == [ANY]
    digest = data(run, "environment", "show", "mine")["digest"]
    noted(ImageRecord(reference="x:1", environment=Held(name="mine", version=1, digest=digest)))
    assert "needed by the image x:1" in said(run("environment", "delete", "mine:1", code=6))
    assert data(run, "environment", "delete", "mine:1", "--force") == [{"id": "mine:1", "digest": digest}]
    run("environment", "register", "-d", "env", "-n", "mine")
    labels = {"packager.environment": f"mine:2@{digest}"}
    monkeypatch.setattr("packager.serving.holding.labels_of_services", lambda _say: (("live", labels),))
    assert "needed by the service live" in said(run("environment", "delete", "mine:2", code=6))
    assert "needed by" not in said(run("environment", "delete", "mine:9", code=6))
    assert "curated environment's name" in said(run("environment", "delete", "sklearn:1", code=2))
    assert "which version" in said(run("environment", "delete", "mine", code=2))
    assert "did you mean 'sklearn'" in said(run("environment", "show", "sklern", code=6))


# --- workspaces and images ---


def test_a_workspace_is_made_used_and_copied(run: Run, here: Path, tmp_path: Path) -> None:
    register(run)
    (here / "conda.yml").write_text(CONDA)
    run("environment", "register", "-f", "conda.yml", "-n", "e")
    location = run("workspace", "create", "team").stdout.strip()
    assert location == str(tmp_path / "data/packager/workspaces/team")
    assert data(run, "workspace", "create", "team") == {"name": "team", "location": location}
    assert [(each["name"], each["chosen"]) for each in data(run, "workspace", "list")] == [
        ("default", True), ("team", False),
    ]  # fmt: skip
    found = data(run, "workspace", "copy", "default", "team")
    assert found == {"copied": ["churn:1", "e:1"], "present": []}
    assert data(run, "workspace", "copy", "default", "team") == {"copied": [], "present": ["churn:1", "e:1"]}
    run("workspace", "copy", "default", "./on-a-share", "churn")
    assert [each["id"] for each in data(run, "model", "list", "-w", "./on-a-share")] == ["churn:1"]
    assert data(run, "model", "show", "churn", "-w", "team")["digest"] == data(run, "model", "show", "churn")["digest"]
    run("workspace", "use", "team")
    assert data(run, "workspace", "show")["name"] == "team"
    assert "* " in run("workspace", "list").stdout
    assert "team (your defaults)" in run("workspace", "show").stdout
    assert run("config").stdout.splitlines()[-1].startswith("workspace    team")


def test_which_workspace_is_meant(run: Run, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("used", "of-v1", "of-variable", "of-option"):
        run("workspace", "create", name)

    def meant(*words: str) -> str:
        return str(data(run, "workspace", "show", *words)["name"])

    assert meant() == "default"
    assert data(run, "workspace", "use", "used")["workspace"] == "used"
    assert meant() == "used"
    (here / ".azureml").mkdir()
    (here / ".azureml/config.json").write_text('{"subscription_id": "x", "workspace_name": "of-v1"}')
    assert meant() == "of-v1"
    (here / "packager.yaml").write_text("name: a\nworkspace: ../of-spec\nwrong: [1]\n")
    run("workspace", "create", "../of-spec")
    assert meant() == "of-spec"
    (here / "sub").mkdir()
    monkeypatch.chdir(here / "sub")
    assert meant() == "of-spec", "a path of the spec is one from its folder"
    monkeypatch.chdir(here)
    (here / "packager.yaml").write_text("workspace: {\n")
    assert "--workspace" in said(run("workspace", "show", code=2)), "which one it names cannot be known"
    for wrong in ("models: {\n", "- a list\n", ""):
        (here / "packager.yaml").write_text(wrong)
        result = run("workspace", "show")
        assert result.stdout.startswith("workspace     of-v1 (")
        assert "packager.yaml is passed over, as it names no workspace" in result.stderr
    (here / "packager.yaml").write_text("workspace: {\n")
    monkeypatch.setenv("PACKAGER_WORKSPACE", "of-variable")
    assert meant() == "of-variable"
    assert meant("--workspace", "of-option") == meant("-w", "of-option") == meant("of-option") == "of-option"


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("model", "list", "-w", "nope"), 6, "there is no workspace 'nope'"),
        (("model", "list", "-w", "a b"), 2, "'a b' is no workspace"),
        (("model", "list", "-w", ""), 2, "it is empty"),
        (("lock", "-w", " "), 2, "it is empty"),
        (("model", "list", "-w", "http://127.0.0.1/a"), 2, "oci://127.0.0.1/a"),
        (("workspace", "create", "s3://a/b"), 2, "no workspace is kept by s3://"),
        (("workspace", "use", "nope"), 6, "there is no workspace 'nope'"),
        (("workspace", "copy", "nope", "default"), 6, "there is no workspace 'nope'"),
        (("workspace", "copy", "default", "default"), 2, "are one workspace"),
        (("workspace", "copy", "default", "other", "nobody"), 6, "nothing named 'nobody'"),
        (("workspace", "copy", "default", "other", "a b"), 2, "is no name"),
        (("workspace", "create", "./outputs"), 6, "has other files in it"),
        (("image", "list", "--model", "a b"), 2, "is no name"),
    ],
)
def test_what_is_no_workspace(run: Run, words: tuple[str, ...], code: int, text: str) -> None:
    register(run)
    assert text in said(run(*words, code=code))


def test_a_copy_goes_on_after_what_is_damaged(run: Run) -> None:
    for name in ("a", "b", "c"):
        register(run, name)
    for name in ("a", "b"):
        (Path(packager.Workspace().location) / f"models/{name}/1/files/model.pkl").unlink()
    result = run("workspace", "copy", "default", "other", code=6)
    assert "of a:1, is gone (and 1 more cannot be copied)" in said(result)
    assert run("model", "list", "-w", "other").stdout.startswith("c:1  ")


def test_a_folder_that_is_gone_is_said_in_words(run: Run, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "gone").mkdir()
    monkeypatch.chdir(here / "gone")
    (here / "gone").rmdir()
    result = run("model", "list", code=2)
    monkeypatch.chdir(here)
    assert "the current folder is not there any more" in said(result)


def test_a_copy_never_replaces(run: Run) -> None:
    register(run)
    run("model", "register", "-w", "./other/", "-n", "churn", "-p", "outputs", code=6)
    run("workspace", "create", "./other/")
    register(run, "churn", "outputs", "-w", "./other/")
    assert "is there with other content" in said(run("workspace", "copy", "default", "./other/", code=6))


def test_a_workspace_of_a_newer_packager(run: Run) -> None:
    register(run)
    marker = Path(packager.Workspace().location) / "workspace.json"
    marker.write_text(json.dumps({"format": "packager.workspace/9", "name": "default"}))
    for words in (("model", "list"), ("model", "register", "-n", "a", "-p", "model.pkl"), ("workspace", "show")):
        assert "use a newer packager" in said(run(*words, code=6))
    assert "use a newer packager" in said(run("workspace", "show", code=6))
    assert "packager.workspace/9" in run("workspace", "list").stderr


def test_images_of_a_model(run: Run) -> None:
    assert "no image is remembered" in run("image", "list").stderr
    held = Held(name="churn", version=2, digest=f"sha256:{'1' * 64}")
    noted(ImageRecord(reference="a:1", models=(held,), when="2026-01-01T00:00:00Z", pushed=True, package="a:1"))
    noted(ImageRecord(reference="b:1", when="2026-01-02T00:00:00Z"))
    assert [each["reference"] for each in data(run, "image", "list")] == ["a:1", "b:1"]
    assert [each["reference"] for each in data(run, "image", "list", "--model", "churn")] == ["a:1"]
    assert [each["reference"] for each in data(run, "image", "list", "--model", "churn:2")] == ["a:1"]
    assert data(run, "image", "list", "--model", "churn:1") == []
    assert run("image", "list").stdout.splitlines()[0].split() == [
        "2026-01-01T00:00:00Z", "a:1", "pushed", "-", "churn:2", "a:1",
    ]  # fmt: skip


def test_settings_keep_what_people_wrote(run: Run, tmp_path: Path) -> None:
    run("workspace", "create", "team")
    file = tmp_path / "config/packager/config.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("# mine\nbuilder: oci  # fast\nworkspace: default\n# end\n")
    run("workspace", "use", "team")
    assert file.read_text() == '# mine\nbuilder: oci  # fast\nworkspace: "team"\n# end\n'
    file.write_text("workspace:\n  default\n")
    assert "cannot be changed" in said(run("workspace", "use", "team", code=2))
    assert file.read_text() == "workspace:\n  default\n"


# --- push and pull, and Python ---


def test_push_and_pull_name_what_the_registry_has(run: Run, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The registry's own part is tested with a real one; here, what the verbs ask of it and say of it."""
    register(run)
    asked = []

    class Pushed:
        references, digest = ("registry.example.com/m:1",), f"sha256:{'2' * 64}"

    def push(_workspace: object, version: Version, reference: str, form: str) -> type[Pushed]:
        asked.append((version.id, reference, form))
        return Pushed

    monkeypatch.setattr("packager.workspace.artifacts.push_version", push)
    pushed = f"registry.example.com/m:1@{Pushed.digest}"
    assert run("model", "push", "churn", "registry.example.com/m:1").stdout == f"{pushed}\n"
    found = data(run, "model", "push", "churn:1", "registry.example.com/m:1", "--as", "image")
    assert found == {"id": "churn:1", "reference": pushed, "form": "image"}
    assert asked == [("churn:1", "registry.example.com/m:1", form) for form in ("artifact", "image")]

    def pull(uri: str, _scratch: Path, _options: object) -> Fetched:
        source = Source(uri=uri, revision=Pushed.digest)
        files = tuple(
            Content(path=name, origin=here / "outputs" / name) for name in ("deep/vocabulary.txt", "weights.bin")
        )
        return Fetched(
            path=here / "outputs", files=files, source=source, description="of theirs", run_id="r", **of_theirs
        )

    of_theirs: dict[str, Any] = {}

    monkeypatch.setattr("packager.steps.registering.fetch", pull)
    assert run("model", "pull", "registry.example.com/m:1", "-n", "got", "--tag", "a=b").stdout == "got:1\n"
    assert data(run, "model", "pull", "oci://registry.example.com/m:1", "-n", "more")["id"] == "more:1"
    refused = said(run("model", "pull", "registry.example.com/m:1", code=2))
    assert "has no name that a model can have here" in refused
    assert "-n NAME" in refused
    of_theirs.update(name="theirs", tags={"a": "x", "stage": "test"}, properties={"by": "ci"})
    assert run("model", "pull", "registry.example.com/m:1", "--tag", "a=b").stdout == "theirs:1\n"
    there = data(run, "model", "show", "theirs")
    assert (there["tags"], there["properties"]) == ({"a": "b", "stage": "test"}, {"by": "ci"})
    shown = data(run, "model", "show", "got")
    assert shown["source"] == {"uri": "oci://registry.example.com/m:1", "revision": Pushed.digest}
    assert (shown["description"], shown["run_id"], shown["tags"]) == ("of theirs", "r", {"a": "b"})
    assert [each["path"] for each in shown["files"]] == ["deep/vocabulary.txt", "weights.bin"], "as they were there"
    assert run("model", "download", "got", "-t", "to").stdout == "to\n"
    assert "revision     sha256:2" in run("model", "show", "got").stdout


def test_every_verb_that_reads_a_spec_can_be_told_its_workspace() -> None:
    def leaves(group: click.Group, name: str = "") -> Iterator[tuple[str, set[str]]]:
        for each in group.list_commands(click.Context(group)):
            found = group.get_command(click.Context(group), each)
            if isinstance(found, click.Group):
                yield from leaves(found, f"{name}{each} ")
            elif found is not None:
                yield f"{name}{each}", {option for one in found.params for option in one.opts}

    verbs = dict(leaves(cli))
    #: They look at `templates/` beside it, and for the service's name.
    others = {"target list", "target new", "target show", "score"}
    readers = {name for name, options in verbs.items() if "--file" in options} - others | {"bake", "diff"}
    assert len(readers) > 20
    assert {name for name in readers if not {"-w", "--workspace", "--insecure-registry"} <= verbs[name]} == set()


def test_the_same_from_python(here: Path) -> None:
    with packager.Workspace() as workspace:
        version = workspace.models.register("churn", "model.pkl", tags={"area": "sales"})
        assert (version.id, workspace.name) == ("churn:1", "default")
        assert workspace.models.get("churn", 1) == workspace.models.get("churn:1") == version
        assert workspace.models.list(tags=["area=sales"]) == (version,)
        assert workspace.models.download("churn", "to") == Path("to/model.pkl")
        assert workspace.models.uses(version) == ()
        assert workspace.models.update("churn", add_tags={"a": "b"}).tags == {"area": "sales", "a": "b"}
        assert workspace.models.diff("churn:1", "churn").is_empty
        assert [each.wrong for each in workspace.models.verify()] == [()]
        with pytest.raises(PackagerError, match="is not version 2"):
            workspace.models.get("churn:1", 2)
        assert workspace.models.delete("churn", 1).id == "churn:1"
        assert workspace.images() == ()


def test_names_are_completed(run: Run) -> None:
    from packager.cli import complete

    register(run)
    register(run)
    run("workspace", "create", "team")
    context: Any = type("Context", (), {"params": {}})()
    assert complete.models(context, None, "ch") == ["churn", "churn:1", "churn:2"]  # type: ignore[arg-type]
    assert complete.environments(context, None, "AzureML-Min") == ["AzureML-Minimal"]  # type: ignore[arg-type]
    assert complete.workspaces(context, None, "") == ["default", "team"]  # type: ignore[arg-type]
    context.params["workspace"] = "nope"
    assert complete.models(context, None, "") == []  # type: ignore[arg-type]
