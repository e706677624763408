from __future__ import annotations

import json

import msgspec
import pytest

from packager.environments.channel_mirrors import channel_mirrors
from packager.errors import ContextError, LockError, SpecError, UsageError
from packager.plan.make import locked_base, require_server
from packager.plan.plan import Base
from packager.plan.trees import Sources
from packager.plan.variables import model_folder
from packager.registry.mirrors import registry_mirrors
from packager.spec.model import Server, Spec, packaged
from tests.unit.plans import (
    PACKAGES,
    example_conda_plan,
    example_locked,
    example_plan,
    example_platform,
    example_sources,
    example_spec,
)

TWO = "models: [{path: a/m.pkl, name: one}, {path: b/m.pkl, name: two, version: 3}]\n"


def test_one_model_is_where_azure_ml_puts_it() -> None:
    plan = example_plan()
    assert [file.path for file in plan.models[0].tree.files] == ["var/azureml-app/azureml-models/m/1/m.pkl"]
    assert plan.config.env["AZUREML_MODEL_DIR"] == "/var/azureml-app/azureml-models/m/1"
    assert plan.config.env["AML_APP_ROOT"] == "/var/azureml-app"
    assert plan.config.env["AZUREML_ENTRY_SCRIPT"] == "score.py"


def test_several_models_share_their_parent() -> None:
    plan = example_plan(TWO, models=2)
    assert plan.config.env["AZUREML_MODEL_DIR"] == "/var/azureml-app/azureml-models"
    assert [layer.name for layer in plan.layers] == ["server", "model-one-0", "model-two-3", "app"]
    assert model_folder("two", 3) == "/var/azureml-app/azureml-models/two/3"


def test_names_that_look_alike_have_layers_of_their_own() -> None:
    names = ("app", "server", "a", "a-1", "a_1", "A", "model-a", "a.1")
    models = ", ".join(f"{{path: m/m.pkl, name: {name}, version: {version}}}" for name in names for version in (1, 11))
    sources = example_sources(2 * len(names))
    same = msgspec.structs.replace(sources, models=(sources.models[0],) * (2 * len(names)))
    for each in (sources, same):
        plan = example_plan(f"models: [{models}]\n", sources=each)
        assert len({layer.name for layer in plan.layers}) == 2 * len(names) + 2
        assert len({layer.folder for layer in plan.layers}) == 2 * len(names) + 2
        paths = [file.path for layer in plan.layers for file in layer.tree.files]
        assert len(paths) == len(set(paths))


def test_without_models_no_model_folder_is_promised() -> None:
    assert "AZUREML_MODEL_DIR" not in example_plan("models: []\n", models=0).config.env


def test_each_layer_depends_on_its_own_files_alone() -> None:
    before = example_plan(TWO, models=2)
    edited = example_plan(TWO, sources=example_sources(2, **{"score.py": "def init(): pass"}))
    assert [layer.folder for layer in edited.models] == [layer.folder for layer in before.models]
    assert edited.app.folder != before.app.folder
    respecced = example_plan(TWO + "env: {A: b}\ndescription: other\n", models=2)
    assert [layer.folder for layer in respecced.layers] == [layer.folder for layer in before.layers]


def test_an_edit_that_keeps_the_length_renames_the_folder() -> None:
    one = example_plan(sources=example_sources(1, **{"score.py": "x = 1"}))
    two = example_plan(sources=example_sources(1, **{"score.py": "x = 2"}))
    assert one.app.tree.size == two.app.tree.size
    assert one.app.folder != two.app.folder


def test_a_changed_mode_renames_the_folder() -> None:
    sources = example_sources()
    file = msgspec.structs.replace(sources.app.files[0], mode=0o755)
    changed = msgspec.structs.replace(sources, app=msgspec.structs.replace(sources.app, files=(file,)))
    assert example_plan(sources=changed).app.folder != example_plan(sources=sources).app.folder


def test_the_packages_are_those_of_the_platform() -> None:
    names = [package.name for package in example_plan().environment.packages]
    assert names == ["azureml-inference-server-http", "numpy"]
    locked = example_locked(platforms={"linux/arm64": "aarch64-manylinux_2_28"})
    arm = example_plan(platform="linux/arm64", locked=locked)
    assert "only-arm" in [package.name for package in arm.environment.packages]


def test_a_platform_that_was_not_locked_is_refused() -> None:
    with pytest.raises(SpecError, match="not locked for linux/arm64") as caught:
        example_plan(platform="linux/arm64")
    assert "packager lock" in str(caught.value)


def test_the_entry_script_must_be_among_the_sources() -> None:
    with pytest.raises(ContextError, match=r"the entry script 'score.py' is not there"):
        example_plan(sources=Sources(app=example_sources().app.__class__(), models=example_sources().models))
    left_out = Sources(app=example_sources().app.__class__(), models=example_sources().models, left_out=("score.py",))
    with pytest.raises(ContextError, match="dockerignore"):
        example_plan(sources=left_out)


def test_an_app_that_would_hide_the_models_is_refused() -> None:
    with pytest.raises(ContextError, match="azureml-models"):
        example_plan(sources=example_sources(1, **{"azureml-models/x": "y"}))


def test_mirrors_change_what_is_pulled_and_not_what_is_named() -> None:
    reference = example_locked().base
    plain = locked_base(reference, {})
    mirrored = locked_base(reference, {"docker.io": "127.0.0.1:5000"})
    assert plain.source == reference
    assert mirrored.source == reference.replace("docker.io", "127.0.0.1:5000")
    assert (mirrored.reference, mirrored.digest) == (plain.reference, plain.digest)
    assert "@" not in plain.reference
    with pytest.raises(SpecError, match="no digest"):
        locked_base("docker.io/library/python:3", {})


def test_the_machine_goes_before_the_spec() -> None:
    own, machine = {"docker.io": "a.example.com"}, {"PACKAGER_REGISTRY_MIRROR": "docker.io=b.example.com"}
    assert registry_mirrors(own, {}) == own
    assert registry_mirrors(own, machine) == {"docker.io": "b.example.com"}
    plan = example_plan(mirrors=own)
    assert plan.base.source.startswith("a.example.com/library/python:")


def test_another_base_is_recorded_in_the_labels() -> None:
    base = Base(reference="local/python:3.13", digest="sha256:" + "9" * 64, source="local/python:3.13", local=True)
    labels = example_plan(base=base).config.labels
    assert labels["org.opencontainers.image.base.name"] == "local/python:3.13"
    assert labels["org.opencontainers.image.base.digest"] == base.digest


def test_references_follow_the_tags_of_the_spec() -> None:
    image = "image: {repository: r.example.com/ml/d, tags: ['{version}', '{version}-{target}', latest, latest]}\n"
    assert example_plan(image, models=0).references == (
        "r.example.com/ml/d:1",
        "r.example.com/ml/d:1-cpu",
        "r.example.com/ml/d:latest",
    )
    assert example_plan().references == ("diabetes:1",)


def test_the_image_runs_as_a_numeric_user_and_is_probed_by_its_own_python() -> None:
    config = example_plan("server: {port: 6000, workers: 3, timeout: 9}\n", models=0).config
    assert config.user == "1000:1000"
    assert config.port == 6000
    assert config.entrypoint[-1] == "--port=6000"
    assert "127.0.0.1:6000" in config.health.command[-1]
    assert (config.env["WORKER_COUNT"], config.env["WORKER_TIMEOUT"]) == ("3", "9")


def test_the_digests_say_which_spec_and_lock() -> None:
    one, two = example_plan(), example_plan("env: {A: b}\n", models=0)
    assert one.spec_digest != two.spec_digest
    assert one.lock_digest == two.lock_digest
    assert example_plan().spec_digest == one.spec_digest


def test_a_field_that_nobody_uses_is_in_no_digest_of_a_spec() -> None:
    class Later(Spec, frozen=True, kw_only=True):
        colour: str = "red"
        words: tuple[str, ...] = ()

    least = "models: [{path: models/m.pkl, version: 1}]\n"
    spec = example_spec(least).spec
    fields = {name: getattr(spec, name) for name in spec.__struct_fields__}
    assert packaged(Later(**fields)) == packaged(spec)
    assert packaged(Later(**fields, colour="blue")) == {**packaged(spec), "colour": "blue"}
    server = f"{{port: {Server().port}, timeout: {Server().timeout}}}"
    written = f"server: {server}\nimage: {{}}\nenv: {{}}\ndialect: plain\ncompression: zstd\ntest: [{{name: one}}]\n"
    assert packaged(example_spec(least + written).spec) == packaged(spec)
    assert packaged(spec) == {
        "name": "diabetes",
        "version": "1",
        "entry_script": "score.py",
        "environment": "requirements.txt",
        "models": [{"path": "models/m.pkl", "version": 1}],
    }


def test_what_a_spec_says_of_its_target_is_in_its_digest() -> None:
    targets = {"cpu": {"host": {"xrt": "2"}, "environment": {"add": {"pip": ["six"]}}}}
    spec = example_spec(f"targets: {json.dumps(targets)}\nserver: {{timeout: 301}}\n").spec
    said = packaged(spec.for_target("cpu"))
    assert (said["targets"], said["server"]) == (targets, {"timeout": 301})


def test_conda_brings_python_and_variables_which_the_specs_own_go_before() -> None:
    variables = {"MODE": "fast", "LOG_LEVEL": "debug"}
    plan = example_conda_plan("models: []\nenv: {LOG_LEVEL: info}\n", models=0, variables=variables)
    assert plan.environment.python == "3.13"
    assert plan.environment.conda is not None
    assert plan.environment.locked.subdir == "linux-64"
    assert [each.name for each in plan.environment.conda_packages] == ["numpy", "python"]
    assert (plan.config.env["MODE"], plan.config.env["LOG_LEVEL"]) == ("fast", "info")
    assert plan.environment.title == "environment of 2 conda packages and 2 Python packages"


def test_the_machines_mirrors_of_channels_go_before_the_specs() -> None:
    own = {"a": "https://spec.example/a", "b": "https://spec.example/b"}
    mirrors = channel_mirrors(own, {"PACKAGER_CHANNEL_MIRROR": "a=https://machine.example/a"})
    assert mirrors == {"a": "https://machine.example/a", "b": "https://spec.example/b"}
    plan = example_conda_plan(channel_mirrors=mirrors)
    assert plan.environment.conda is not None
    assert plan.environment.conda.mirrors == mirrors


@pytest.mark.parametrize("url", ["https://ann:hunter2@m.example/a", "https://m.example/t/tok-en/a"])
def test_a_mirror_with_credentials_would_be_in_the_dockerfile(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        example_conda_plan(channel_mirrors={"a": url})
    assert "hunter2" not in str(caught.value)
    assert "tok-en" not in str(caught.value)
    assert "RATTLER_AUTH_FILE" in str(caught.value)


def test_micromamba_knows_no_mirrors_of_urls() -> None:
    with pytest.raises(UsageError, match="micromamba"):
        example_conda_plan(
            "models: []\nconda: {installer: micromamba}\n", models=0, channel_mirrors={"a": "https://m.example/a"}
        )


def test_a_lock_without_the_inference_server_is_refused() -> None:
    locked = example_platform(example_locked())
    require_server(msgspec.structs.replace(locked, packages=PACKAGES))
    with pytest.raises(LockError, match="has no azureml-inference-server-http for linux/amd64"):
        require_server(msgspec.structs.replace(locked, packages=PACKAGES[1:]))
