"""What verbs print with `--format json` is what `packager schema` says of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import jsonschema
import pytest
from click.testing import CliRunner

from packager.builders.builder import BuiltImage
from packager.builders.inspect import FileView, ImageView, Inspected, LayerView
from packager.cli import cli
from packager.cli.failure import as_data
from packager.engine.push import Pushed
from packager.errors import SpecError
from packager.oci.values import Descriptor
from packager.registry.pull import Pulled
from packager.serving.gate import Outcome, Report
from packager.serving.service import KeyPair, Service
from packager.serving.status import Status
from packager.steps.build import Comparison
from packager.steps.deploy import Deployed, DeployedFile
from packager.steps.outputs import OUTPUTS
from packager.steps.schema import names, schema

DIGEST = f"sha256:{'0' * 64}"


def hold(name: str, value: Any) -> None:
    """Fail where a value is not what the schema of this name says, or has fields of which it says nothing."""
    found = schema(name)
    jsonschema.Draft202012Validator.check_schema(found)
    jsonschema.validate(value, found)
    top = found["items"]["$ref"] if isinstance(value, list) else found["$ref"]
    known = found["$defs"][top.rpartition("/")[2]]["properties"]
    for each in value if isinstance(value, list) else [value]:
        assert OPEN.get(name) or set(each) <= set(known), name


#: What is in a target's file is described in `templates/cpu.toml`; the plan has a field for the builder's use alone.
OPEN = {"target-list": True, "target-show": True, "plan": True}


@pytest.fixture
def folder(tmp_path: Path, checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(shutil.copytree(checkout / "examples/diabetes", tmp_path / "diabetes"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "diabetes"


def printed(*words: str) -> Any:
    done = CliRunner().invoke(cli, [*words, "--format", "json"])
    assert done.stdout, done.exception
    return json.loads(done.stdout)


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield "-".join((*path, name)), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


def test_every_verb_with_json_has_a_schema() -> None:
    """A new one gets a type in `packager/steps/outputs.py`, which says where types are, and a value in this file."""
    found = {
        "config-list" if name == "config" else name
        for name, command in commands(cli)
        for option in command.params
        if "--format" in option.opts and isinstance(option.type, click.Choice) and "json" in option.type.choices
    }
    assert found | {"error", "lock-check", "build-verify"} == set(OUTPUTS)
    assert set(names()) == {"spec", "config", *OUTPUTS}


def test_every_schema_has_its_version_and_describes_every_field() -> None:
    for name in OUTPUTS:
        found = schema(name)
        assert found["title"] == f"packager.{name}/1"
        for part, definition in found["$defs"].items():
            assert definition["description"], part
            for field, about in definition["properties"].items():
                assert about["description"], f"{name}: {part}.{field}"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("bake", ("bake",)),
        ("check", ("check", "--offline")),
        ("config-list", ("config",)),
        ("doctor", ("doctor",)),
        ("environment-list", ("environment", "list")),
        ("environment-show", ("environment", "show", "sklearn")),
        ("lock", ("lock", "--offline")),
        ("lock-check", ("lock", "--check")),
        ("plan", ("plan",)),
        ("save", ("save", "-o", "context")),
        ("store-gc", ("store", "gc", "--dry-run")),
        ("store-info", ("store", "info")),
        ("store-verify", ("store", "verify")),
        ("target-list", ("target", "list")),
        ("target-show", ("target", "show", "gpu")),
        ("tree", ("tree", "--offline")),
        ("why", ("why", "numpy", "--offline")),
        ("diff", ("diff", ".", "packager.lock")),
    ],
)
def test_what_a_verb_prints_without_an_engine(name: str, words: tuple[str, ...], folder: Path) -> None:
    if name == "check":
        (folder / "src/score.py").write_text("def init():\n    pass\n")
    hold(name, printed(*words))


def test_a_stale_lock_and_what_moved(folder: Path) -> None:
    old = shutil.copytree(folder, folder.parent / "old")
    requirements = folder / "locks/cpu.requirements.txt"
    for path in (old / "locks/cpu.requirements.txt",):
        path.write_text(requirements.read_text().replace("numpy==", "numpy==0."))
    moved = printed("environment", "diff", str(old / "locks/cpu.requirements.txt"), str(requirements))
    assert moved
    hold("environment-diff", moved)
    (folder / "requirements.txt").write_text("scikit-learn==1.5.2\n")
    stale = printed("lock", "--check")
    assert stale["fresh"] is False
    hold("lock-check", stale)


def test_a_context_that_was_changed(folder: Path) -> None:
    printed("save", "-o", "context")
    (folder / "context/HANDOFF.md").write_text("edited")
    verified = printed("verify", "context")
    assert verified["differences"]
    hold("verify", verified)


def test_errors() -> None:
    hold("error", as_data(SpecError("is wrong")))
    hold("error", as_data(KeyboardInterrupt()))


BUILT = BuiltImage(
    target="cpu", builder="oci", platforms=("linux/amd64",), manifests={"linux/amd64": DIGEST}, digest=DIGEST,
    id=DIGEST, references=("x:1",), pushed=True, loaded=True, bytes_sent=1, timings=({"app": 0.5},),
)  # fmt: skip
BUILDKIT = BuiltImage(target="gpu", builder="engine", platforms=("linux/amd64",), manifests={}, digest="", id=DIGEST)
COMPARED = Comparison(
    target="cpu", platform="linux/amd64", digest=DIGEST, reference="x:1", differences=("a",), timings={"a": 1.0}
)
DEPLOYED = Deployed(
    platform="kubernetes", folder=Path("/x"), name="a", image=f"r.example.com/a@{DIGEST}", version="1",
    files=(DeployedFile(path="deployment.yaml", kind="new"),), difference="+a", unmet=("b",), secrets=("c",), apply="d",
    applied=True, url="http://127.0.0.1:1/", rollback="e", leftovers=("f",),
)  # fmt: skip
KEYS = KeyPair(primary="p", secondary="s")
STATUS = Status(name="a", state="Healthy", reason="", image="x:1", url="http://127.0.0.1:1/")
REPORT = Report(
    image="x:1", target="cpu", platform="linux/amd64", outcomes=(Outcome(name="a", seconds=0.1, differences=("b",)),)
)
IMAGE = ImageView(
    platform="linux/amd64", digest=DIGEST, size=1, created="1980-01-01T00:00:00Z", user="1000", working_dir="/",
    entrypoint=("a",), command=(), env=("A=b",), ports=("5001/tcp",), health=("CMD",), labels={"a": "b"},
    layers=(
        LayerView(
            digest=DIGEST, diff_id=DIGEST, media_type="m", size=1, title="app",
            files=(FileView(path="a", kind="file", mode="644", owner="0:0", size=1),),
        ),
    ),
)  # fmt: skip
RUNNING = Service(container_id="c", name="a", url="http://127.0.0.1:1/")


@contextmanager
def _started(*_: object, **__: object) -> Iterator[tuple[Service, None]]:
    yield RUNNING, None


@pytest.mark.parametrize(
    ("name", "words", "place", "result"),
    [
        ("build", ("build",), "packager.steps.build.build", (BUILT, BUILDKIT)),
        (
            "build-verify",
            ("build", "--verify", "x:1"),
            "packager.steps.build.compare",
            Comparison(
                target="cpu",
                platform="linux/amd64",
                digest=DIGEST,
                reference="x:1",
                differences=("a",),
                timings={"a": 1.0},
            ),
        ),
        (
            "push",
            ("push", "x:1"),
            "packager.steps.push.push",
            (Pushed(reference="x:1", digest=DIGEST, uploaded=1, present=2),),
        ),
        (
            "pull",
            ("pull", "x:1", "-o", "out"),
            "packager.steps.pull.pull",
            Pulled(reference="x:1", top=Descriptor(media_type="m", digest=DIGEST, size=1), blobs=(DIGEST,), size=1),
        ),
        (
            "inspect",
            ("inspect", "x:1"),
            "packager.steps.inspect.inspect",
            Inspected(name="x:1", digest=DIGEST, images=(IMAGE,)),
        ),
        ("deploy", ("deploy", "--image", "x:1"), "packager.steps.deploy.deploy", DEPLOYED),
        ("service-deploy", ("service", "deploy", "a", "x:1"), "packager.steps.service.deploy", STATUS),
        ("service-update", ("service", "update", "a", "x:2"), "packager.steps.service.update", STATUS),
        ("service-list", ("service", "list"), "packager.steps.service.list_services", (STATUS,)),
        (
            "service-keys",
            ("service", "keys", "a"),
            "packager.steps.service.show_keys",
            KeyPair(primary="p", secondary="s"),
        ),
        ("test", ("test",), "packager.steps.test.test", (REPORT,)),
    ],
)
def test_what_a_verb_prints_of_its_result(
    name: str, words: tuple[str, ...], place: str, result: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, lambda *_, **__: result)
    hold(name, printed(*words))


def test_what_a_service_prints_that_is_looked_at(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("packager.steps.service.look", lambda *_, **__: STATUS)
    monkeypatch.setattr("packager.steps.service.logs", lambda *_, **__: iter([b"a\n"]))
    hold("service-show", printed("service", "show", "a"))


def test_what_run_prints(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("packager.steps.run.start", _started)
    hold("run", printed("run", "x:1", "--detach"))


def test_answers_of_services() -> None:
    from packager.cli.score import _as_data
    from packager.serving.client import Answer

    for kind, body, field in (
        ("application/json", b"[1]", "body"),
        ("application/json", b"no json", "body"),
        ("text/plain", b"yes", "body"),
        ("image/png", b"\xff", "base64"),
    ):
        answer = _as_data("http://127.0.0.1:1/score", Answer(status=200, content_type=kind, body=body))
        assert field in answer
        for name in ("score", "service-score"):
            hold(name, answer)
