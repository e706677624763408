"""Bake files on disk: what is written, what is replaced, what is refused; nothing is built."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import packager
from packager.builders.bake import BakeJob, bake_command, bake_images
from packager.cli.bake import command
from packager.context.entries import BAKE_MARK
from packager.engine.buildx import BuildOptions, Built
from packager.engine.failures import build_failure
from packager.engine.secrets import MachineSettings
from packager.errors import EngineError
from packager.steps.plan import plan_image
from packager.storage.models import Store


@pytest.fixture
def example(tmp_path: Path, checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Gives copies of the golden package for the target cpu, by name."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)

    def make(name: str = "diabetes", **changed: str) -> Path:
        folder = Path(shutil.copytree(checkout / "tests/golden/cpu-one-model/input", tmp_path / name))
        spec = folder / "packager.yaml"
        text = spec.read_text().replace("name: diabetes", f"name: {name}")
        for before, after in {"registry.example.com/ml/diabetes": f"registry.example.com/ml/{name}", **changed}.items():
            text = text.replace(before, after)
        spec.write_text(text)
        return folder

    return make


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(command, [str(each) for each in words])


def test_a_file_and_its_contexts_are_written_and_written_again_alike(example: Callable[..., Path]) -> None:
    example("one"), example("two")
    done = run("one", "two", "--push", "--label", "team=ml", "--build-arg", "A=1", "--secret", "id=ca,src=ca.pem")
    assert done.exit_code == 0, done.output
    assert done.stdout == "docker-bake.json\n"
    text = Path("docker-bake.json").read_text()
    found = json.loads(text)
    assert found["group"]["default"] == {"targets": ["one-cpu", "two-cpu"]}
    entry = found["target"]["one-cpu"]
    assert entry["output"] == ["type=registry"]
    assert entry["labels"]["team"] == "ml"
    assert entry["args"] == {"SOURCE_DATE_EPOCH": "315532800", "A": "1"}
    assert entry["secret"] == ["id=ca,src=ca.pem", "id=pip.conf,env=PACKAGER_PIP_CONF"]
    assert entry["context"] == "docker-bake/one-cpu"
    assert packager.verify("docker-bake/one-cpu").ok
    model = next(Path("docker-bake/one-cpu").rglob("*.pkl"))
    assert model.stat().st_nlink > 1, "a model is on disk once"
    run("two", "one")
    run("one", "two", "--push", "--label", "team=ml", "--build-arg", "A=1", "--secret", "id=ca,src=ca.pem")
    assert Path("docker-bake.json").read_text() == text


def test_the_time_of_the_build_is_in_the_file(example: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000000000")
    example("one")
    run("one", "-q")
    entry = json.loads(Path("docker-bake.json").read_text())["target"]["one-cpu"]
    assert entry["args"]["SOURCE_DATE_EPOCH"] == "1000000000"
    assert entry["labels"]["org.opencontainers.image.created"] == "2001-09-09T01:46:40Z"
    assert packager.verify("docker-bake/one-cpu").digest == packager.verify("docker-bake/one-cpu").digest


def test_each_image_of_a_file_is_as_old_as_its_own_lock(example: Callable[..., Path]) -> None:
    for name, year in (("one", 2025), ("two", 2026)):
        path = example(name) / "packager.lock"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"changed": f"{year}-01-01T00:00:00Z"}))
    assert run("one", "two").exit_code == 0
    targets = json.loads(Path("docker-bake.json").read_text())["target"]
    for name, year, epoch in (("one", 2025, 1735689600), ("two", 2026, 1767225600)):
        assert targets[f"{name}-cpu"]["args"]["SOURCE_DATE_EPOCH"] == str(epoch)
        assert targets[f"{name}-cpu"]["labels"]["org.opencontainers.image.created"] == f"{year}-01-01T00:00:00Z"


def test_who_builds_a_saved_context_makes_an_image_as_old_as_its_lock(example: Callable[..., Path]) -> None:
    folder = example("one")
    for created, epoch in ((None, 315532800), ("2026-01-01T00:00:00Z", 1767225600)):
        path = folder / "packager.lock"
        path.write_text(json.dumps(json.loads(path.read_text()) | ({"changed": created} if created else {})))
        planned = packager.plan_image(packager.load_spec(folder), "cpu")
        packager.save(planned, folder / "context", force=True)
        text = (folder / "context/HANDOFF.md").read_text()
        assert f"    SOURCE_DATE_EPOCH={epoch} docker buildx build " in text


def test_contexts_that_are_no_longer_named_go_unless_they_were_edited(example: Callable[..., Path]) -> None:
    example("one"), example("two"), example("three")
    run("one", "two", "three")
    dockerfile = Path("docker-bake/three-cpu/Dockerfile")
    dockerfile.chmod(0o644)
    dockerfile.write_text("FROM scratch\n")
    (Path("docker-bake") / "mine").mkdir()
    run("one")
    assert sorted(path.name for path in Path("docker-bake").iterdir()) == ["mine", "one-cpu", "three-cpu"]


def test_a_context_is_written_again_only_where_it_changed(example: Callable[..., Path]) -> None:
    (example("one") / "src/score.py").write_text("def init(): ...\ndef run(data): return 1\n")
    example("two")
    run("one", "two")
    before = {path.name: path.stat().st_ino for path in Path("docker-bake").iterdir()}
    Path("one/src/score.py").write_text("def init(): ...\ndef run(data): return 2\n")
    run("one", "two")
    after = {path.name: path.stat().st_ino for path in Path("docker-bake").iterdir()}
    assert (after["one-cpu"] == before["one-cpu"], after["two-cpu"] == before["two-cpu"]) == (False, True)
    assert packager.verify("docker-bake/one-cpu").ok
    dockerfile = Path("docker-bake/two-cpu/Dockerfile")
    dockerfile.write_text(dockerfile.read_text() + "\n")
    assert "was changed since it was saved" in str(run("one", "two").exception)
    assert run("one", "two", "--force").exit_code == 0
    assert packager.verify("docker-bake/two-cpu").ok


def test_what_is_not_ours_is_not_replaced(example: Callable[..., Path]) -> None:
    example("one")
    Path("docker-bake.json").write_text("{}")
    failed = run("one")
    assert "was not made by packager" in str(failed.exception)
    assert getattr(failed.exception, "exit_code", 0) == 6
    assert Path("docker-bake.json").read_text() == "{}"
    assert run("one", "--force").exit_code == 0
    assert BAKE_MARK in Path("docker-bake.json").read_text()
    assert "does not end with .json" in str(run("one", "-o", "docker-bake.hcl").exception)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("one", "one"), "both write the tag"),
        (("one", "same"), "both write the tag registry.example.com/ml/one:1"),
        (("one", "--target", "gpu"), "no spec has target 'gpu'"),
        (("one", "--platform", "linux/riscv64"), "no spec has linux/riscv64"),
        (("one", "--label", "x"), "--label 'x' is not NAME=VALUE"),
        (("one", "--secret", "value"), "not id=, src= or env="),
    ],
)
def test_usage_that_cannot_be_meant_so(example: Callable[..., Path], words: tuple[str, ...], message: str) -> None:
    example("one"), example("same", **{"ml/same": "ml/one"})
    failed = run(*words)
    assert message in str(failed.exception)
    assert getattr(failed.exception, "exit_code", 0) == 2
    assert not Path("docker-bake.json").exists()


def test_file_and_contexts_are_no_part_of_the_app(
    example: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = example(
        "one", **{"source_dir: src": "source_dir: .", "entry_script: score.py": "entry_script: src/score.py"}
    )
    monkeypatch.chdir(folder)

    def app() -> list[str]:
        planned = plan_image(packager.load_spec(folder), "cpu", digest_model=Store().digest)
        return [file.path for file in planned.plan.app.tree.files]

    before = app()
    assert run().exit_code == 0
    assert app() == before
    (folder / "docker-bake.json").write_text('{"target": {}}')
    assert "var/azureml-app/docker-bake.json" in app(), "one of the user's is"


def test_the_api_writes_the_same(example: Callable[..., Path]) -> None:
    spec_file = packager.load_spec(example("one"))
    run("one")
    written = Path("docker-bake.json").read_bytes()
    baked = packager.bake([spec_file], "again/docker-bake.json")
    assert (baked.path, [image.name for image in baked.images]) == (Path("again/docker-bake.json"), ["one-cpu"])
    assert baked.path.read_bytes() == written
    assert baked.contexts == {"one-cpu": packager.verify("docker-bake/one-cpu").digest}


# --- builds of several ------------------------------------------------------------------------------------------------


def test_arguments_are_named_and_their_values_left_to_buildx() -> None:
    options = BuildOptions(builder="pool", progress="quiet", build_args=("A=1", "B"))
    machine = MachineSettings(build_args=("HTTPS_PROXY",))
    assert bake_command(Path("f.json"), Path("m.json"), options, machine) == [
        *("docker", "buildx", "bake", "--file", "f.json", "--metadata-file", "m.json", "--progress", "plain"),
        *("--builder", "pool", "--set", "*.args.A=1", "--set", "*.args.B", "--set", "*.args.HTTPS_PROXY"),
    ]


def test_failures_of_a_bake_are_those_of_a_build() -> None:
    pushing = [" > [a-cpu] pushing registry.example.com/ml/a:1 with docker:", "ERROR: denied: requested access"]
    assert "registry.example.com/ml/a:1: registry.example.com does not let us in" in str(build_failure(pushing, 1))
    named = [
        'ERROR: target a-cpu: failed to solve: process "/bin/sh -c false" did not complete successfully: exit code: 3'
    ]
    assert "a step of the build failed with exit code 3" in str(build_failure(named, 1))


def test_one_bake_builds_all_and_its_metadata_tells_of_each(
    example: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    spec_file = packager.load_spec(example("one"))
    told = {"one-cpu-linux-amd64": {"containerimage.config.digest": "sha256:c", "containerimage.digest": "sha256:m"}}
    docker = tmp_path / "bin/docker"
    docker.parent.mkdir()
    docker.write_text(
        f"""#!/bin/sh
        echo "$@" > {tmp_path}/words; cp "$4" {tmp_path}/file.json; echo progress >&2; echo noise
        echo "$PACKAGER_PIP_CONF $BUILDX_NO_DEFAULT_LOAD" > {tmp_path}/environ
        echo '{json.dumps(told)}' > "$6"
        """
    )
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{docker.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("PIP_INDEX_URL", "https://user:s3cret-token@index.example.com/simple")
    planned = plan_image(spec_file, "cpu", digest_model=Store().digest)
    options = BuildOptions(push=True, progress="plain", cache_from=("type=registry,ref=r.example.com/cache",))
    (made,) = bake_images([BakeJob(planned=planned, tags=("r.example.com/one:1",))], options)
    assert made.built == Built(image_id="sha256:c", digest="sha256:m", references=("r.example.com/one:1",), pushed=True)
    assert made.metadata == told["one-cpu-linux-amd64"]
    written = (tmp_path / "file.json").read_text()
    entry = json.loads(written)["target"]["one-cpu-linux-amd64"]
    assert entry["output"] == ["type=image,push=true"]
    assert entry["cache-from"] == ["type=registry,ref=r.example.com/cache"]
    assert "id=pip.conf,env=PACKAGER_PIP_CONF" in entry["secret"]
    assert (Path(entry["context"]) / "Dockerfile").is_file()
    assert "s3cret-token" not in written + (tmp_path / "words").read_text()
    assert "s3cret-token" in (tmp_path / "environ").read_text()
    assert capfd.readouterr() == ("", "progress\n")
    docker.write_text("#!/bin/sh\necho '{' > \"$6\"\n")
    with pytest.raises(EngineError, match="metadata cannot be read"):
        bake_images([BakeJob(planned=planned, tags=("r.example.com/one:1",))], options)
