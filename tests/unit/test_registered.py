"""Specs that name what a workspace has: rules, pins, what is laid down here, and what an image tells of it."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from packager.builders.builder import BuiltImage, Job
from packager.checks.literal_paths import _remedy
from packager.cli import cli
from packager.context.sources import scan_sources
from packager.contract import ENVIRONMENT_LABEL, MODELS_LABEL
from packager.environments.declare.environment import read_environment
from packager.environments.declare.registered import definition_of
from packager.environments.lock import Lock, Pin, Registered
from packager.environments.locks.files import format_lock, read_lock
from packager.errors import ContextError, Location, LockError, PackagerError, SpecError, UsageError
from packager.models.inspect import inspect_model
from packager.plan.inputs import inputs_of
from packager.plan.make import make_plan
from packager.plan.plan import Plan
from packager.plan.planned import Planned
from packager.plan.trees import make_tree
from packager.plan.volumes import labelled_models
from packager.serving.hosts.docker.image import ImagePackage
from packager.serving.hosts.process.places import volumes
from packager.spec import load_spec, parse_spec
from packager.spec.laid import Laid, LaidFile
from packager.spec.load import SpecFile
from packager.spec.model import packaged
from packager.spec.schema import json_schema
from packager.steps import store
from packager.steps.check import check
from packager.steps.lock import lock_status
from packager.steps.noting import note_built, note_pushed
from packager.steps.registered import NotHereError, newer, pin, placed, unneeded, unpinned, with_registered
from packager.steps.volumes import mounts_of
from packager.steps.workspace_of import WorkspaceOf
from packager.storage.collect import Policy, collect
from packager.storage.memory import Memory, cache_root
from packager.storage.models import Store, model_kind
from packager.targets import load_target
from packager.workspace.base import NotRegisteredError, Workspace
from packager.workspace.folder import FolderWorkspace
from packager.workspace.laid import folder_of, mark_mounted, mounted_once, recall, registered_kind
from packager.workspace.values import Content, Held, Version
from tests.unit.plans import example_locked, example_platform, example_sources

HEAD = 'name: tiny\nversion: "1"\nentry_script: score.py\nenvironment: requirements.txt\nworkspace: ./ws\n'
MODELS = "models: [{registered: mnist}, {registered: tokenizer:1, name: tok, delivery: volume}]\n"


def spec_of(text: str) -> SpecFile:
    return parse_spec(HEAD + text, Path("packager.yaml"))


class Here:
    """A folder with a spec and a workspace."""

    def __init__(self, root: Path) -> None:
        self.root, self.workspace = root, FolderWorkspace(root / "ws")

    def add(self, name: str, files: dict[str, bytes], kind: Any = "model") -> Version:
        contents = []
        for number, (path, data) in enumerate(files.items()):
            origin = self.root / f".{number}"
            origin.write_bytes(data)
            contents.append(Content(path=path, origin=origin))
        return self.workspace.add(Version(kind=kind, name=name), contents)

    def spec(self, more: str = MODELS, head: str = HEAD) -> SpecFile:
        (self.root / "packager.yaml").write_text(head + more)
        return load_spec(self.root)

    def write_lock(self, pins: Registered) -> None:
        (self.root / "packager.lock").write_text(format_lock(Lock(registered=pins)))

    def locked(self, more: str = MODELS) -> SpecFile:
        spec_file = self.spec(more)
        self.write_lock(pin(spec_file, Registered(), WorkspaceOf(spec_file)))
        return spec_file

    def opened(self) -> Workspace:
        return self.workspace


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Here:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("packager.workspace.laid._held", {})
    (tmp_path / "score.py").write_text("def init(): ...\n\n\ndef run(data): ...\n")
    (tmp_path / "requirements.txt").write_text("numpy\n")
    found = Here(tmp_path)
    found.add("mnist", {"model.pkl": b"one"})
    found.add("mnist", {"model.pkl": b"two"})
    found.add("tokenizer", {"tok/vocab.txt": b"a b", "tok/merges.txt": b""})
    return found


# --- what a spec may say ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("models: [{name: m}]", 6, "neither 'path' nor 'registered'"),
        ("models:\n- {path: m.pkl, registered: m}", 7, "both 'path' and 'registered'"),
        ("models:\n- registered: m\n  version: 0", 8, "the version of a registered model is that in the workspace"),
        ("models:\n- path: m.pkl\n  delivery: volume", 8, "only a registered model can be mounted"),
        ("models:\n- registered: m:0", 7, "is not valid here"),
        ("models:\n- registered: ../m", 7, "is not valid here"),
        ("models:\n- registered: _m", 7, "no model name follows from '_m'"),
        ("models:\n- {registered: m, delivery: nfs}", 7, "'nfs' is not valid here"),
        ("models:\n- registered: m\n- registered: m", 8, "the model 'm' version latest is given twice"),
        ("targets: {cpu: {models: [{registered: a, path: b}]}}", 6, "both 'path' and 'registered'"),
    ],
)
def test_what_does_not_go_together_is_refused_with_its_line(text: str, line: int, said: str) -> None:
    with pytest.raises(SpecError, match=said) as caught:
        spec_of(text + "\n")
    assert caught.value.where is not None
    assert caught.value.where.line == line
    assert caught.value.remedy


def test_an_environment_stands_on_one_other() -> None:
    text = HEAD.replace("environment: requirements.txt\n", "environment: {registered: e:2, curated: sklearn}\n")
    with pytest.raises(SpecError, match="both curated and registered"):
        parse_spec(text, Path("packager.yaml"))


def test_the_schema_asks_for_one_of_the_two() -> None:
    assert json_schema()["$defs"]["Model"]["oneOf"] == [{"required": ["path"]}, {"required": ["registered"]}]


def test_names_are_the_registered_ones_unless_others_are_given() -> None:
    spec_file = spec_of(MODELS)
    assert [(each.called, each.shown) for each in spec_file.spec.models] == [("mnist", "mnist"), ("tok", "tokenizer:1")]
    assert spec_file.registers
    assert not spec_of("models: [{path: m.pkl}]\n").registers
    assert spec_file.model_paths == ()


# --- pins -------------------------------------------------------------------------------------------------------------


def test_a_pin_is_the_latest_at_first_and_stays(here: Here) -> None:
    spec_file = here.spec()
    pins = pin(spec_file, Registered(), WorkspaceOf(spec_file))
    assert {name: each.version for name, each in pins.models.items()} == {"mnist": 2, "tokenizer:1": 1}
    assert pins.models["mnist"].digest == here.workspace.get("model", "mnist", 2).digest
    here.add("mnist", {"model.pkl": b"three"})

    def gone() -> Workspace:
        raise AssertionError("what is pinned is asked for nowhere")

    assert pin(spec_file, pins, gone) == pins
    assert list(newer(spec_file, Lock(registered=pins), here.opened)) == [
        "model mnist:2 is locked; mnist:3 is there (`packager lock --upgrade-models`)"
    ]
    assert pin(spec_file, pins, here.opened, upgrade=True).models["mnist"].version == 3
    assert pin(spec_file, pins, here.opened, upgrade=("mnist",)).models["mnist"].version == 3
    here.add("tokenizer", {"tok/vocab.txt": b"c"})
    assert pin(spec_file, pins, here.opened, upgrade=True).models["tokenizer:1"].version == 1, (
        "the spec names that version"
    )


@pytest.mark.parametrize("name", ["tokenizer", "tokenizer:1", "other"])
def test_what_may_not_move_is_no_name_to_upgrade(here: Here, name: str) -> None:
    with pytest.raises(UsageError, match="cannot upgrade"):
        pin(here.spec(), Registered(), here.opened, upgrade=(name,))


def test_a_version_that_is_not_there_is_told(here: Here) -> None:
    with pytest.raises(NotRegisteredError, match="no model mnist:7"):
        pin(here.spec("models: [{registered: mnist:7}]\n"), Registered(), here.opened)


def test_a_lock_is_stale_where_the_spec_names_another_version(here: Here) -> None:
    spec_file = here.locked()
    assert unpinned(spec_file, read_lock(spec_file)) == ()
    other = here.spec(MODELS.replace("tokenizer:1", "tokenizer:2").replace("mnist", "new"))
    lock = read_lock(other)
    assert unpinned(other, lock) == ("the model new is not locked yet", "model: tokenizer:1 -> tokenizer:2")
    assert unneeded(other, lock) == ("the spec no longer names mnist",)
    assert lock_status(other) == {"cpu": ("the model new is not locked yet", "model: tokenizer:1 -> tokenizer:2")}
    with pytest.raises(LockError, match="the model new is not locked yet"):
        with_registered(other)
    edited = Registered(models={"tokenizer:2": Pin(version=1, digest="sha256:" + "0" * 64)})
    assert "model: tokenizer:1 -> tokenizer:2" in unpinned(other, Lock(registered=edited))


def test_a_lock_without_anything_registered_is_as_it_was(here: Here) -> None:
    assert "registered" not in json.loads(format_lock(Lock()))
    spec_file = here.spec("models: [{path: m.pkl}]\n")
    assert pin(spec_file, Registered(), WorkspaceOf(spec_file)) == Registered()
    assert with_registered(spec_file) is spec_file


# --- on this machine --------------------------------------------------------------------------------------------------


def test_a_registered_model_becomes_an_ordinary_one(here: Here) -> None:
    spec_file = with_registered(here.locked())
    mnist, tok = spec_file.spec.models
    digest = here.workspace.get("model", "mnist", 2).digest
    assert mnist.path == str(folder_of(digest) / "model.pkl")
    assert (mnist.version, mnist.top, tok.top, tok.version) == (2, "model.pkl", "tok", 1)
    blob = Store().path(spec_file.laid["mnist"].files[0].sha256)
    assert os.path.samefile(mnist.path, blob)
    assert Path(mnist.path).stat().st_mode & 0o777 == 0o444
    assert folder_of(digest).stat().st_mode & 0o777 == 0o755
    assert folder_of(digest).parent.stat().st_mode & 0o777 == 0o700, "it may be private"
    first, second = scan_sources(spec_file, _unasked).models
    assert [file.path for file in first.files] == ["model.pkl"]
    assert [file.path for file in second.files] == ["tok/merges.txt", "tok/vocab.txt"]
    assert with_registered(spec_file) is spec_file
    assert "path" not in packaged(spec_file.spec)["models"][0], "where it lies changes no digest"


def _unasked(_path: Path, _below: bytes) -> tuple[str, int]:
    raise AssertionError("its digests are known")


def test_without_the_workspace_it_comes_from_the_store(here: Here) -> None:
    spec_file = here.locked()
    laid = with_registered(spec_file).laid["mnist"]
    shutil.rmtree(here.root / "ws")
    assert with_registered(spec_file).laid["mnist"] == laid
    keep = here.root / "keep"
    Store().link(laid.files[0].sha256, keep)  # a saved context has it still
    shutil.rmtree(laid.folder)
    assert with_registered(spec_file).laid["mnist"] == laid, "laid again, of blobs and what is remembered"
    assert (laid.folder / "model.pkl").read_bytes() == b"two"


def test_a_list_of_files_that_is_forgotten_is_read_again(here: Here) -> None:
    spec_file = here.locked()
    laid = with_registered(spec_file).laid["tokenizer:1"]
    shutil.rmtree(here.root / "ws")
    Memory("files", cache_root() / "registered").forget(laid.digest)
    assert with_registered(spec_file).laid["tokenizer:1"] == laid


DAMAGES: dict[str, Callable[[Path], None]] = {
    "written to": lambda folder: _write(folder / "tok/vocab.txt"),
    "removed": lambda folder: (folder / "tok/vocab.txt").unlink(),
    "added": lambda folder: _add(folder / "tok/more.txt"),
    "linked away": lambda folder: _link_away(folder / "tok/vocab.txt"),
}


def _add(path: Path) -> None:
    path.write_bytes(b"x")


def _write(path: Path) -> None:
    path.chmod(0o644)
    path.write_bytes(b"A B")


def _link_away(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/hostname")


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("listed", [True, False])
def test_what_is_not_as_registered_is_laid_again(here: Here, how: str, listed: bool) -> None:
    version = here.workspace.get("model", "tokenizer", 1)
    # A workspace on another filesystem: its file is no link to the store's.
    file = here.root / "ws/models/tokenizer/1/files/tok/vocab.txt"
    data = file.read_bytes()
    file.unlink()
    file.write_bytes(data)
    spec_file = here.locked()
    laid = with_registered(spec_file).laid["tokenizer:1"]
    if not listed:
        Memory("files", cache_root() / "registered").forget(laid.digest)
    DAMAGES[how](laid.folder)
    again = with_registered(spec_file).laid["tokenizer:1"]
    assert again.digest == version.digest
    assert {path.name: path.read_bytes() for path in (laid.folder / "tok").iterdir()} == {
        "vocab.txt": b"a b",
        "merges.txt": b"",
    }
    assert not (laid.folder / "tok/vocab.txt").is_symlink()


def test_what_only_needs_the_environment_fetches_no_model(here: Here) -> None:
    spec_file = here.locked()
    assert with_registered(spec_file, fetch=False, models=False) is spec_file
    flow = 'name: tiny\nversion: "1"\nworkspace: ./ws\nmodels: [{registered: mnist, framework: sklearn}]\n'
    without_code = here.spec(flow, "")
    here.write_lock(pin(without_code, Registered(), WorkspaceOf(without_code)))
    assert with_registered(without_code, models=False).laid.keys() == {"mnist"}


def test_what_is_nowhere_is_told_with_its_name(here: Here) -> None:
    spec_file = here.locked()
    shutil.rmtree(here.root / "ws")
    with pytest.raises(PackagerError, match=r"mnist:2 \(sha256:[0-9a-f]{12}\) is not on this machine; ") as caught:
        with_registered(spec_file)
    assert "PACKAGER_WORKSPACE" in (caught.value.remedy or "")
    with pytest.raises(NotHereError):
        with_registered(spec_file, fetch=False)


def test_other_content_under_the_number_is_refused(here: Here) -> None:
    spec_file = here.spec("models: [{registered: mnist}]\n")
    here.write_lock(Registered(models={"mnist": Pin(version=2, digest="sha256:" + "0" * 64)}))
    with pytest.raises(ContextError, match=r"mnist:2 in the workspace ws .* has the content sha256:"):
        with_registered(spec_file)


def test_paths_that_leave_are_not_laid(here: Here) -> None:
    from packager.workspace.laid import lay
    from packager.workspace.values import File

    for path in ("../x", "/x", "a/../../x", "a\nb"):
        with pytest.raises(ContextError):
            lay("m", 1, (File(path=path, size=1, sha256="0" * 64),), lambda: None)


def test_two_names_of_one_version_are_one_model_too_many(here: Here) -> None:
    spec_file = here.spec("models: [{registered: mnist}, {registered: mnist:2}]\n")
    pins = pin(spec_file, Registered(), WorkspaceOf(spec_file))
    with pytest.raises(SpecError, match="the model 'mnist' version 2 is given twice"):
        placed(spec_file, pins, here.opened)
    apart = here.spec("models: [{registered: mnist}, {registered: mnist:1}]\n")
    assert [each.version for each in placed(apart, pin(apart, Registered(), here.opened), here.opened).spec.models] == [
        2,
        1,
    ]


def test_models_of_targets_are_registered_ones_as_well(here: Here) -> None:
    text = "models: [{path: score.py, name: mnist}]\ntargets: {cpu: {models: [{registered: mnist:1}]}, gpu: {}}\n"
    spec_file = here.locked(text)
    own = with_registered(spec_file.for_target("cpu"))
    assert [each.version for each in own.spec.models] == [1]
    assert [each.version for each in with_registered(spec_file).for_target("cpu").spec.models] == [1]
    assert own.at_model(own.spec.models[0]).field == "targets.cpu.models[0].registered"
    assert own.above(own.spec.models[0]) == own.laid["mnist:1"].folder


def test_files_side_by_side_have_no_folder_around_them(here: Here) -> None:
    here.add("pair", {"a.onnx": b"a", "b.json": b"{}"})
    spec_file = with_registered(here.locked("models: [{registered: pair, framework: onnx}]\n"))
    (model,) = spec_file.spec.models
    assert (model.top, model.path[-1]) == ("", "/")
    (tree,) = scan_sources(spec_file, _unasked).models
    assert [file.path for file in tree.files] == ["a.onnx", "b.json"]
    with pytest.raises(ContextError, match="the model 'pair:1' is no ONNX graph"):
        inspect_model(spec_file, model)


# --- collections ------------------------------------------------------------------------------------------------------


def test_a_collection_takes_what_nobody_uses(here: Here) -> None:
    spec_file = here.locked()
    laid = with_registered(spec_file).laid["mnist"]
    shutil.rmtree(here.root / "ws")
    cache, later = cache_root(), time.time() + 1000

    def gone(kept: tuple[str, ...] = ()) -> set[str]:
        kinds = (model_kind(cache), registered_kind(cache, kept))
        return {entry.path for entry in collect(kinds, Policy(older_than=0), later).gone}

    assert gone() == set(), "this process uses it"
    _let_go()
    assert str(laid.folder) not in gone((str(laid.folder),)), "a container has it mounted"
    mark_mounted(laid.folder)
    assert mounted_once(cache) == (laid.folder,)
    assert str(laid.folder) in gone()
    assert mounted_once(cache) == ()
    assert not Store().has(laid.files[0].sha256), "and the blob that it was a link to"


def _let_go() -> None:
    from packager.workspace import laid

    for descriptor in laid._held.values():
        os.close(descriptor)
    laid._held.clear()


@pytest.mark.parametrize("answers", [True, False])
def test_what_containers_have_is_kept_and_all_of_it_where_no_engine_answers(
    here: Here, monkeypatch: pytest.MonkeyPatch, answers: bool
) -> None:
    from packager.errors import EngineError
    from packager.serving.hosts.docker.engine import DockerHost

    first, second = (each.folder for each in with_registered(here.locked()).laid.values())
    mark_mounted(first)
    mark_mounted(second)

    def mounted(_host: DockerHost) -> frozenset[str]:
        if not answers:
            raise EngineError("no engine")
        return frozenset({str(first), "/elsewhere"})

    monkeypatch.setattr(DockerHost, "mounted", mounted)
    assert set(store._mounted(cache_root())) == ({str(first)} if answers else {str(first), str(second)})


# --- plans ------------------------------------------------------------------------------------------------------------


def plan_of(spec_file: SpecFile, environment: Laid | None = None) -> Plan:
    sources = msgspec.structs.replace(example_sources(0), models=scan_sources(spec_file, _unasked).models)
    return make_plan(
        spec_file.spec.for_target("cpu"),
        load_target("cpu"),
        example_platform(example_locked()),
        sources,
        digests={name: each.digest for name, each in spec_file.laid.items()},
        environment=environment,
    )


def test_a_mounted_model_is_in_no_layer_and_the_variables_are_the_same(here: Here) -> None:
    mounted = plan_of(with_registered(here.locked()))
    inside = plan_of(with_registered(here.locked(MODELS.replace(", delivery: volume", ""))))
    assert [layer.name for layer in mounted.models] == ["model-mnist-2"]
    assert [layer.name for layer in mounted.volumes] == ["model-tok-1"]
    assert [layer.name for layer in inside.models] == ["model-mnist-2", "model-tok-1"]
    assert mounted.config.env == inside.config.env
    assert mounted.models[0] == inside.models[0]
    assert mounted.environment == inside.environment
    told = labelled_models(mounted.config.labels, "x")
    assert [(each.id, each.delivery, each.path) for each in told] == [
        ("mnist:2", "image", "/var/azureml-app/azureml-models/mnist/2"),
        ("tokenizer:1", "volume", "/var/azureml-app/azureml-models/tok/1"),
    ]
    assert told == mounted.registered
    assert mounted.of_model(with_registered(here.locked()).spec.models[1]) == mounted.volumes[0]
    assert {"the model mnist:2", "the model tok-1 (tokenizer:1)"} <= inputs_of(mounted).keys()
    folder = with_registered(here.locked()).laid["tokenizer:1"].folder
    assert volumes(mounted) == {"var/azureml-app/azureml-models/tok/1": str(folder)}
    assert volumes(inside) == {}


def test_an_image_of_nothing_registered_has_no_label() -> None:
    from tests.unit.plans import example_plan

    plan = example_plan()
    assert not {MODELS_LABEL, ENVIRONMENT_LABEL} & plan.config.labels.keys()
    assert (plan.volumes, plan.registered) == ((), ())
    assert labelled_models(plan.config.labels, "x") == ()


@pytest.mark.parametrize(
    "label",
    [
        "",
        "[",
        "[[[[" * 1000,
        '[{"name": "m"}]',
        '[{"name":"m","version":1,"digest":"x","delivery":"volume","path":"/var/azureml-app/azureml-models/m/1"}]',
        '[{"name":"m","version":1,"digest":"sha256:%s","delivery":"volume","path":"/etc"}]' % ("0" * 64),
        '[{"name":"m","version":1,"digest":"sha256:%s","delivery":"volume","path":"/var/azureml-app/azureml-models/../1"}]'
        % ("0" * 64),
    ],
)
def test_a_label_that_is_not_ours_mounts_nothing(label: str) -> None:
    with pytest.raises(ContextError, match=r"the label packager\.models of img is not of this packager's form"):
        labelled_models({MODELS_LABEL: label}, "img")


# --- what is started --------------------------------------------------------------------------------------------------


def image_of(plan: Plan) -> ImagePackage:
    return ImagePackage(title="img:1", target="cpu", platform="linux/amd64", port=5001, labels=plan.config.labels)


def test_an_image_says_what_is_mounted(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    spec_file = with_registered(here.locked())
    image = image_of(plan_of(spec_file))
    (mount,) = mounts_of(image, None, say=print)
    assert (mount.folder, mount.path) == (
        spec_file.laid["tokenizer:1"].folder,
        "/var/azureml-app/azureml-models/tok/1",
    )
    assert mounted_once(cache_root()) == (mount.folder,)
    # On another machine, it comes from the workspace.
    monkeypatch.setenv("XDG_CACHE_HOME", str(here.root / "other"))
    with pytest.raises(NotRegisteredError, match=r"tokenizer:1 .* is not on this machine"):
        mounts_of(image, None, say=print)
    said: list[str] = []
    monkeypatch.setenv("PACKAGER_WORKSPACE", str(here.root / "ws"))
    (other,) = mounts_of(image, None, say=said.append)
    monkeypatch.delenv("PACKAGER_WORKSPACE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(here.root / "third"))
    monkeypatch.chdir(here.root)
    (third,) = mounts_of(image, None, say=print)
    assert third.folder.is_relative_to(here.root / "third"), "as the spec of this folder says"
    assert other.folder.is_relative_to(here.root / "other")
    assert said == ["taking tokenizer:1 from the workspace ws"]


class Heard:
    """A reporter that keeps warnings."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def step(self, text: str) -> None: ...

    def detail(self, text: str) -> None: ...

    def warn(self, text: str) -> None:
        self.warnings.append(text)


def built(reference: str) -> BuiltImage:
    digest = "sha256:" + "a" * 64
    return BuiltImage(
        target="cpu", builder="oci", platforms=(), manifests={}, digest=digest, id="", references=(reference,)
    )


def test_what_was_made_of_what_is_remembered(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    spec_file, heard = with_registered(here.locked()), Heard()
    planned = Planned(plan=plan_of(spec_file), spec=here.root / "packager.yaml", requirements="")
    job = Job(planned=(planned,), references=("r.example.com/tiny:1",))
    note_built(spec_file, [job], [built("r.example.com/tiny:1")], heard)
    note_pushed(spec_file, "r.example.com/tiny:1", "sha256:" + "b" * 64, planned.plan.config.labels, heard)
    first, second = here.workspace.images()
    held = tuple(Held(name=each.name, version=each.version, digest=each.digest) for each in planned.plan.registered)
    assert first.models == second.models == held
    assert {first.pushed, second.pushed} == {False, True}
    assert heard.warnings == []
    shutil.rmtree(here.root / "ws")
    (here.root / "ws").write_text("a file")
    note_built(spec_file, [job], [built("r.example.com/tiny:1")], heard)
    assert "r.example.com/tiny:1 is not remembered in the workspace" in heard.warnings[0]
    note_pushed(None, "x:1", "sha256:" + "b" * 64, {MODELS_LABEL: "["}, heard)
    assert "x:1 is not remembered" in heard.warnings[1]


def test_nothing_is_noted_where_nobody_chose_a_workspace(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(here.root / "data"))
    spec_file, heard = here.spec("models: []\n", HEAD.replace("workspace: ./ws\n", "")), Heard()
    note_built(spec_file, [], [built("x:1")], heard)
    note_pushed(None, "x:1", "sha256:" + "b" * 64, {}, heard)
    assert not (here.root / "data").exists()
    monkeypatch.setenv("PACKAGER_WORKSPACE", "./ws")
    monkeypatch.chdir(here.root)
    note_pushed(None, "x:1", "sha256:" + "b" * 64, {}, heard)
    assert [each.reference for each in here.workspace.images()] == ["x:1"]
    assert heard.warnings == []


# --- environments -----------------------------------------------------------------------------------------------------


ENVIRONMENT = HEAD.replace("environment: requirements.txt", "environment: {registered: env, pip: [dill, numpy==2.1.0]}")


@pytest.mark.parametrize(
    ("files", "conda"),
    [
        ({"requirements.txt": b"numpy\nscipy\n"}, False),
        ({"env/requirements.txt": b"numpy\nscipy\n", "env/locks/cpu.requirements.txt": b"x\n"}, False),
        ({"env/environment.yml": b"dependencies: [python=3.12, pip: [numpy, scipy]]\n", "env/notes.txt": b""}, False),
        ({"conda_dependencies.yml": b"dependencies: [python=3.12, libxgboost, pip: [numpy, scipy]]\n"}, True),
    ],
)
def test_an_environment_stands_on_a_registered_one(here: Here, files: dict[str, bytes], conda: bool) -> None:
    here.add("env", files, kind="environment")
    spec_file = here.spec("", ENVIRONMENT)
    pins = pin(spec_file, Registered(), WorkspaceOf(spec_file))
    assert pins.environments["env"].version == 1
    here.write_lock(pins)
    spec_file = with_registered(spec_file)
    shutil.rmtree(here.root / "ws")
    found = read_environment(spec_file)
    assert set(found.requirements) == {"azureml-inference-server-http", "dill", "numpy==2.1.0", "scipy"}
    assert any("takes the place of 'numpy' of the registered environment 'env:1'" in note for note in found.notes)
    assert found.inputs == {}, "the lock has its digest"
    assert (found.conda is not None) == conda
    assert str(here.root) not in format_lock(Lock(registered=pins))
    assert spec_file.laid_environment is not None
    label = plan_of(spec_file, spec_file.laid_environment).config.labels[ENVIRONMENT_LABEL]
    assert label == f"env:1@{pins.environments['env'].digest}"


def test_an_environment_says_what_its_definition_is() -> None:
    def of(*paths: str) -> Laid:
        files = tuple(LaidFile(path, 1, "0" * 64) for path in paths)
        return Laid(name="env", version=1, digest="sha256:" + "0" * 64, folder=Path("/x"), files=files)

    where = Location(file="packager.yaml")
    assert definition_of(of("own.yml"), where) == Path("own.yml")
    assert definition_of(of("d/a.txt", "d/requirements.txt", "d/environment.yml"), where) == Path("d/environment.yml")
    for wrong, said in ((of("a.json"), "no file"), (of("a.txt", "b.txt"), "more than one file")):
        with pytest.raises(SpecError, match=said):
            definition_of(wrong, where)


def test_a_model_without_code_is_read_where_it_lies(here: Here) -> None:
    here.add("flow", {"flow/MLmodel": b"flavors: {python_function: {loader_module: x}}\n",
                      "flow/requirements.txt": b"mlflow==3.1.0\nscikit-learn==1.7.0\n"})  # fmt: skip
    head = 'name: tiny\nversion: "1"\nworkspace: ./ws\n'
    spec_file = here.spec("models: [{registered: flow, framework: mlflow}]\n", head)
    here.write_lock(pin(spec_file, Registered(), WorkspaceOf(spec_file)))
    found = read_environment(with_registered(spec_file).for_target("cpu"))
    assert "scikit-learn==1.7.0" in found.requirements
    assert found.inputs == {}


HEAD_WITHOUT_CODE = 'name: tiny\nversion: "1"\nworkspace: ./ws\n'


@pytest.mark.parametrize(
    ("framework", "version", "spec", "found"),
    [
        ("ScikitLearn", "1.7.0", "", ("ScikitLearn", "1.7.0")),
        ("ScikitLearn", "1.7.0", ", framework: sklearn", ("sklearn", None)),
        ("ScikitLearn", "1.7.0-own", "", ("ScikitLearn", None)),
        ("Onnx", "1.19.0", "", ("Onnx", None)),
    ],
)
def test_a_model_without_code_is_of_the_framework_that_it_is_registered_with(
    here: Here, framework: str, version: str, spec: str, found: tuple[str, str | None]
) -> None:
    said = Version(kind="model", name="said", framework=framework, framework_version=version)
    (here.root / "model.bin").write_bytes(b"model")
    here.workspace.add(said, [Content(path="model.bin", origin=here.root / "model.bin")])
    spec_file = here.spec(f"models: [{{registered: said{spec}}}]\n", HEAD_WITHOUT_CODE)
    pins = pin(spec_file, Registered(), WorkspaceOf(spec_file))
    assert pins.models["said"].framework == framework
    here.write_lock(pins)
    for each in (with_registered(spec_file), with_registered(spec_file).for_target("cpu")):
        (model,) = each.spec.models
        assert (model.framework, model.framework_version) == found


@pytest.mark.parametrize(("framework", "said"), [(None, "without one"), ("PyTorch", "with PyTorch")])
def test_a_model_without_code_that_nobody_can_serve_is_refused(here: Here, framework: str | None, said: str) -> None:
    (here.root / "model.bin").write_bytes(b"model")
    content = Content(path="model.bin", origin=here.root / "model.bin")
    here.workspace.add(Version(kind="model", name="other", framework=framework), [content])
    spec_file = here.spec("models: [{registered: other}]\n", HEAD_WITHOUT_CODE)
    pins = pin(spec_file, Registered(), WorkspaceOf(spec_file))
    with pytest.raises(SpecError, match=f"model other:1 needs a framework, and it is registered {said}") as caught:
        placed(spec_file, pins, here.opened, models=False)
    assert caught.value.where is not None
    assert caught.value.where.line == 4


def test_a_path_that_a_script_names_is_no_registered_models(here: Here) -> None:
    spec = with_registered(here.locked()).spec
    assert "put it into `source_dir`" in _remedy("ws/x", spec)


def test_a_workspace_beside_the_script_is_not_packaged(here: Here) -> None:
    spec_file = with_registered(here.locked())
    app = scan_sources(spec_file, _unasked).app
    assert [file.path for file in app.files if file.path.startswith("ws")] == []
    assert make_tree(app.files).files


def test_recall_is_none_where_nothing_is(here: Here) -> None:
    assert recall("m", 1, "sha256:" + "0" * 64) is None


# --- the command line -------------------------------------------------------------------------------------------------


@pytest.fixture
def golden(checkout: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(checkout / "tests/golden/cpu-registered/input", tmp_path / "golden"))


def said(*words: str | Path, code: int = 0) -> str:
    """Return what the command line says; one that fails raises, for the exit code is `main`'s."""
    done = CliRunner().invoke(cli, [str(each) for each in words])
    if not code:
        assert done.exit_code == 0, done.output
        return done.output
    assert isinstance(done.exception, PackagerError), done.output
    assert done.exception.exit_code == code
    return f"{done.output}{done.exception}"


def test_the_lock_says_what_is_newer_and_moves_it_when_asked(golden: Path) -> None:
    assert said("lock", "--check", "-f", golden) == "fresh\n"
    workspace = FolderWorkspace(golden / "models")
    new = Content(path="petal_width.onnx", origin=golden / "packager.yaml")
    workspace.add(Version(kind="model", name="petal-width"), [new])
    newer = "model petal-width:2 is locked; petal-width:3 is there (`packager lock --upgrade-models`)"
    assert said("lock", "--check", "-f", golden) == f"fresh\n{newer}\n"
    told = json.loads(said("lock", "--check", "--format", "json", "-f", golden))
    assert told == {"fresh": True, "targets": {"cpu": []}, "newer": [newer]}
    assert "unchanged" in said("lock", "--offline", "-f", golden)
    done = json.loads(said("lock", "--upgrade-models", "petal-width", "--format", "json", "-q", "-f", golden))
    assert done["registered"] == {"petal-width": {"before": "2", "after": "3"}}
    assert done["changed"]
    assert "changed" in json.loads((golden / "packager.lock").read_text()), "images have another time"
    assert "registered: petal-width 3 -> 2" in said("lock", "--upgrade-models", "petal-width:2", "-f", golden)
    assert "registered: petal-width 2 -> 3" in said("lock", "--upgrade-models", "-f", golden)
    workspace.delete(workspace.get("model", "petal-width", 3))
    assert "registered: petal-width 3 -> 2" in said("lock", "--upgrade-models", "-f", golden)
    shutil.rmtree(golden / "models")
    assert "whether there are newer models cannot be told" in said("lock", "--check", "-f", golden)
    for words in (("petal-width",), ("--upgrade", "--upgrade-models", "x"), ("--check", "--upgrade-models")):
        said("lock", "-f", golden, *words, code=2)
    assert "the spec names species:1" in said("lock", "--upgrade-models", "species", "-f", golden, code=2)
    assert "the spec names species:1" in said("lock", "--upgrade-models", "species:2", "-f", golden, code=2)


def test_a_verb_of_a_spec_takes_another_workspace(golden: Path, tmp_path: Path) -> None:
    shutil.move(golden / "models", tmp_path / "moved")
    assert "whether there are newer models cannot be told" in said("lock", "--check", "-f", golden)
    moved = ("-w", tmp_path / "moved")
    assert said("lock", "--check", "-f", golden, *moved) == "fresh\n"
    assert "species:1 sha256:12edc23c694f" in said("plan", "-f", golden, *moved)
    assert "PACKAGER_WORKSPACE" not in os.environ
    wrong = said("lock", "--upgrade-models", "-f", golden, "-w", tmp_path / "nowhere", code=6)
    assert f"there is no workspace '{tmp_path}/nowhere'" in wrong


def test_plan_and_report_name_what_is_registered(golden: Path, tmp_path: Path) -> None:
    text = said("plan", "-f", golden)
    assert "species:1 sha256:12edc23c694f" in text
    assert "not in the image  petal-width:2" in text
    assert "mounted at /var/azureml-app/azureml-models/petal-width/2" in text
    assert "0444     261 B  /var/azureml-app/azureml-models/petal-width/2/petal_width.onnx  petal-width:2" in said(
        "plan", "--files", "-f", golden
    )
    (plan,) = json.loads(said("plan", "--format", "json", "-f", golden))
    assert [each["delivery"] for each in plan["registered"]] == ["image", "volume"]
    assert [each["registered"] for each in plan["volumes"]] == ["petal-width:2"]
    said("report", "--offline", "-f", golden, "-o", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "species:1 of the workspace" in page
    assert "model petal-width version 2 (mounted)" in page


def test_a_check_looks_at_all_without_a_lock_and_says_what_is_missing(golden: Path) -> None:
    (golden / "packager.lock").unlink()
    shutil.rmtree(golden / "locks")
    assert rules(golden) == ["lock-stale"]
    shutil.rmtree(golden / "models")
    assert rules(golden) == ["registered-missing"]


def rules(golden: Path) -> list[str]:
    return [each.rule for each in check(load_spec(golden), offline=True) if each.severity == "error"]
