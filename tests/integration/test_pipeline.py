"""The main job on real parts: from the examples to running, pushed images."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import textwrap
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from packager.contract import MTIME
from tests.integration.conftest import Registry, RunPackager

pytestmark = [pytest.mark.engine, pytest.mark.network]


def docker(*words: str, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        ["docker", *words], capture_output=True, text=True, timeout=600, env={**os.environ, **(env or {})}, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def layers(reference: str) -> list[str]:
    return list(json.loads(docker("image", "inspect", reference, "--format", "{{json .RootFS.Layers}}")))


@pytest.fixture
def example(tmp_path: Path, checkout: Path) -> Path:
    return Path(shutil.copytree(checkout / "examples/diabetes", tmp_path / "diabetes"))


@pytest.fixture
def iris(tmp_path: Path, checkout: Path) -> Path:
    return Path(shutil.copytree(checkout / "examples/iris-onnx", tmp_path / "iris"))


#: What test_oci_build.py tests for the builder without an engine is tested here for BuildKit.
ENGINE = ("--builder", "engine", "--progress", "plain")


class Builder:
    """Builds one folder's package again and again, under tags of its own."""

    def __init__(self, run: RunPackager, base: str, name: str) -> None:
        self.run, self.base, self.name = run, base, name
        self.tags: list[str] = []

    def __call__(self, folder: Path, tag: str, *options: str) -> str:
        reference = f"{self.name}:{tag}"
        self.tags.append(reference)
        self.run("build", *ENGINE, "--base", self.base, "-t", reference, *options, cwd=folder)
        return reference


@pytest.fixture
def build(
    run_packager: RunPackager, base_image: str, docker_config: Path, request: pytest.FixtureRequest
) -> Iterator[Builder]:
    name = "packager-test/" + request.node.name.lower().replace("_", "-").replace("[", "-").replace("]", "")
    builder = Builder(run_packager, base_image, name)
    yield builder
    for reference in builder.tags:
        subprocess.run(["docker", "image", "rm", "--force", reference], capture_output=True, check=False)


class Service:
    """A container started by `packager run --detach`."""

    def __init__(self, run: RunPackager, reference: str, folder: Path) -> None:
        done = run("run", reference, "-p", "0:5001", "--detach", "--format", "json", cwd=folder)
        found = json.loads(done.stdout)
        self.id: str = found["container"]
        self.url: str = found["urls"]["root"].rstrip("/")

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(self.url + path, timeout=30) as answer:
            return bytes(answer.read())

    def score(self, data: bytes) -> object:
        request = urllib.request.Request(self.url + "/score", data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())

    def inside(self, *command: str) -> str:
        return docker("exec", self.id, *command)


@pytest.fixture
def serve(run_packager: RunPackager) -> Iterator[type]:
    started: list[str] = []

    class Started(Service):
        def __init__(self, reference: str, folder: Path) -> None:
            super().__init__(run_packager, reference, folder)
            started.append(self.id)

    yield Started
    for container in started:
        subprocess.run(["docker", "rm", "--force", container], capture_output=True, check=False)


def test_the_service_answers_as_the_model_does(example: Path, build: Builder, serve: type) -> None:
    reference = build(example, "serve")
    service = serve(reference, example)
    expected = json.loads((example / "expected-answer.json").read_text())
    assert service.get("/") == b"Healthy"
    assert service.score((example / "sample-request.json").read_bytes()) == expected
    assert "data" in json.dumps(json.loads(service.get("/swagger.json")))
    inspected = json.loads(docker("inspect", service.id))[0]
    assert inspected["HostConfig"]["ReadonlyRootfs"] is True
    assert inspected["HostConfig"]["CapDrop"] == ["ALL"]
    assert inspected["Config"]["User"] == "1000:1000"
    assert service.inside("id", "-u") == "1000"
    model_dir = service.inside("sh", "-c", "cd $AZUREML_MODEL_DIR && pwd && ls")
    assert model_dir.split() == [
        "/var/azureml-app/azureml-models/sklearn_regression_model/1",
        "sklearn_regression_model.pkl",
    ]
    docker("stop", "--time", "30", service.id)
    assert docker("inspect", service.id, "--format", "{{.State.ExitCode}}") == "0", "SIGTERM ends it gracefully"


def test_several_models_in_one_service(iris: Path, build: Builder, serve: type) -> None:
    service = serve(build(iris, "serve"), iris)
    expected = json.loads((iris / "expected-answer.json").read_text())
    assert service.score((iris / "sample-request.json").read_bytes()) == expected
    assert service.inside("sh", "-c", "ls $AZUREML_MODEL_DIR").split() == ["petal-width", "species"]


def test_nothing_that_only_builds_is_left_inside(example: Path, build: Builder) -> None:
    reference = build(example, "clean")
    as_root = ("run", "--rm", "--user", "0", "--entrypoint", "find", reference)
    listing = docker(*as_root, "/opt", "/var/azureml-app", "/root", "/tmp")
    names = {line.rpartition("/")[2] for line in listing.splitlines()}
    assert not names & {"pip", "uv", "setuptools", "gcc", ".cache", "requirements.txt"}
    assert "score.py" in names
    times = docker(*as_root, "/opt", "/var/azureml-app", "-newermt", f"@{MTIME}")
    assert times == "", "every file has the one constant time"


@pytest.mark.long
def test_two_builds_without_cache_give_the_same_digest(example: Path, build: Builder) -> None:
    spec = example / "packager.yaml"
    spec.write_text(spec.read_text() + "\nsystem_packages: [libgomp1]\n")
    first, second = build(example, "one", "--no-cache"), build(example, "two", "--no-cache")
    ids = docker("image", "inspect", first, second, "--format", "{{.Id}}").split()
    assert ids[0] == ids[1]
    found = docker("run", "--rm", "--entrypoint", "sh", first, "-c", "ldconfig -p | grep libgomp; dpkg -s libgomp1")
    assert "install ok installed" in found


def test_each_edit_changes_its_own_layer_and_uploads_no_other(
    iris: Path, build: Builder, run_packager: RunPackager, registry: Registry
) -> None:
    builder_name = build.name
    build.name = f"{registry.address}/{builder_name}"
    before = build(iris, "before")
    run_packager("push", "--no-test", before, cwd=iris)
    script = iris / "src/iris/score.py"
    # Never the same edit: a registry keeps what earlier runs of this test have pushed.
    script.write_text(f"{script.read_text()}# {uuid.uuid4()}\n")
    edited = build(iris, "edited")
    changed = [
        number for number, pair in enumerate(zip(layers(before), layers(edited), strict=True)) if pair[0] != pair[1]
    ]
    app = len(layers(before)) - 2  # the last one is the empty layer that WORKDIR makes
    assert changed == [app]
    pushed = json.loads(run_packager("push", "--no-test", edited, "--format", "json", cwd=iris).stdout)
    assert pushed[0]["uploaded"] == 1
    model = iris / "models/petal_width.onnx"
    model.write_bytes(model.read_bytes() + uuid.uuid4().bytes)
    remodelled = build(iris, "model")
    changed = [
        number for number, pair in enumerate(zip(layers(edited), layers(remodelled), strict=True)) if pair[0] != pair[1]
    ]
    assert len(changed) == 1
    assert changed != [app]
    pushed = json.loads(run_packager("push", "--no-test", remodelled, "--format", "json", cwd=iris).stdout)
    assert pushed[0]["uploaded"] == 1


def test_an_edit_of_the_same_length_reaches_the_image(example: Path, build: Builder) -> None:
    script = example / "src/score.py"
    text = script.read_text()
    script.write_text(text + "MARK = 1\n")
    first = build(example, "first")
    script.write_text(text + "MARK = 2\n")
    os.utime(script, (MTIME, MTIME))
    second = build(example, "second")
    show = ("--rm", "--entrypoint", "tail")
    assert docker("run", *show, first, "-n1", "/var/azureml-app/score.py") == "MARK = 1"
    assert docker("run", *show, second, "-n1", "/var/azureml-app/score.py") == "MARK = 2"


def test_an_edit_by_hand_reaches_the_image(
    example: Path, tmp_path: Path, run_packager: RunPackager, base_image: str, build: Builder
) -> None:
    context = tmp_path / "context"
    run_packager("save", "--base", base_image, "-o", context, cwd=example)
    image = f"{build.name}:plain"
    build.tags.append(image)
    docker("build", "--quiet", "--tag", image, str(context))
    (script,) = context.glob("layers/app-*/var/azureml-app/score.py")
    text = script.read_text()
    script.write_text(text.replace("loaded", "LOADED"))
    docker("build", "--quiet", "--tag", image, str(context))
    assert "LOADED" in docker("run", "--rm", "--entrypoint", "cat", image, "/var/azureml-app/score.py")
    done = run_packager("verify", context, check=False)
    assert done.returncode == 6
    assert "score.py" in done.stdout


def test_the_commands_of_the_handoff_work_as_written(
    example: Path, tmp_path: Path, run_packager: RunPackager, base_image: str, build: Builder, serve: type
) -> None:
    spec = example / "packager.yaml"
    spec.write_text(spec.read_text().replace("registry.example.com/ml/diabetes", build.name))
    context = tmp_path / "context"
    run_packager("save", "--base", base_image, "-o", context, cwd=example)
    build.tags += [f"{build.name}:1", f"{build.name}:latest"]
    sections = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", (context / "HANDOFF.md").read_text(), re.M | re.S))
    commands = {
        name: textwrap.dedent("\n".join(re.findall(r"^    .*$", text, re.M))) for name, text in sections.items()
    }
    subprocess.run(["sh", "-ec", commands["Build"]], cwd=context, check=True, capture_output=True)
    first = docker("image", "inspect", f"{build.name}:1", f"{build.name}:latest", "--format", "{{.Id}}").split()
    assert len(set(first)) == 1
    port = free_port()
    command = commands["Run"].replace("127.0.0.1:5001:", f"127.0.0.1:{port}:").replace("--rm", "--rm --detach", 1)
    container = subprocess.run(["sh", "-ec", command], check=True, capture_output=True, text=True).stdout.strip()
    try:
        tried = (
            commands["Try"]
            .replace(":5001/", f":{port}/")
            .replace("curl ", "curl --silent --fail --retry 30 --retry-all-errors --retry-delay 1 ")
        )
        answers = subprocess.run(["sh", "-ec", tried], cwd=context, check=True, capture_output=True, text=True).stdout
        assert answers.startswith("Healthy")
        assert json.loads((example / "expected-answer.json").read_text())[0] == pytest.approx(209.9975, abs=1e-3)
        assert "209.99" in answers
        assert '"swagger"' in answers
    finally:
        subprocess.run(["docker", "rm", "--force", container], capture_output=True, check=False)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


HOSTILE = {
    "DOLLAR": "$HOME ${PATH} $$ \\$x",
    "QUOTES": '"double" \'single\' `id` \\" \\\\',
    "HASH": "# no comment \\",
    "SPACES": "  two  spaces ",
    "HEREDOC": "<<EOF",
    "UNICODE": "ä→🐍",
    "RUN": "RUN touch /pwned",
    "EMPTY": "",
}


def test_values_arrive_as_they_were_written(example: Path, build: Builder) -> None:
    spec = example / "packager.yaml"
    text = spec.read_text().replace("env:\n  LOG_LEVEL: info\n", f"env: {json.dumps(HOSTILE, ensure_ascii=False)}\n")
    assert "HEREDOC" in text
    spec.write_text(text + 'description: "\\"$HOME\\" \\\\ `id` # x"\n')
    reference = build(example, "env")
    code = "import json, os; print(json.dumps(dict(os.environ)))"
    inside = json.loads(docker("run", "--rm", "--entrypoint", "python3", reference, "-c", code))
    assert {name: inside[name] for name in HOSTILE} == HOSTILE
    labels = json.loads(docker("image", "inspect", reference, "--format", "{{json .Config.Labels}}"))
    assert labels["org.opencontainers.image.description"] == '"$HOME" \\ `id` # x'


def test_labels_ids_and_metadata(
    example: Path, tmp_path: Path, run_packager: RunPackager, base_image: str, build: Builder
) -> None:
    for command in ("init -q", "add -A", "-c user.name=a -c user.email=a@example.com commit -q -m x"):
        subprocess.run(["git", *command.split()], cwd=example, check=True)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=example, check=True, capture_output=True, text=True)
    ids, metadata = tmp_path / "iid", tmp_path / "metadata.json"
    tags = [f"{build.name}:a", f"{build.name}:b"]
    build.tags += tags
    done = run_packager(
        *(
            "build",
            *ENGINE,
            "--base",
            base_image,
            "-t",
            tags[0],
            "-t",
            tags[1],
            "--iidfile",
            ids,
            "--metadata-file",
            metadata,
        ),
        *("--label", "team=ml"),
        cwd=example,
        env={"SOURCE_DATE_EPOCH": "1700000000"},
    )
    image = ids.read_text().strip()
    # An ordinary store knows no manifest, and so no digest that a registry will have.
    assert done.stdout.split() == tags
    assert json.loads(metadata.read_text())["containerimage.config.digest"] == image
    labels = json.loads(docker("image", "inspect", tags[0], "--format", "{{json .Config.Labels}}"))
    assert labels["org.opencontainers.image.created"] == "2023-11-14T22:13:20Z"
    assert labels["org.opencontainers.image.revision"] == commit.stdout.strip()
    assert labels["org.opencontainers.image.title"] == "diabetes"
    assert labels["org.opencontainers.image.base.name"] == base_image
    assert labels["org.opencontainers.image.base.digest"].startswith("sha256:")
    assert labels["team"] == "ml"
    assert docker("image", "inspect", tags[0], "--format", "{{.Created}}").startswith("2023-11-14T22:13:20")


def test_build_and_push_to_a_registry_and_back(
    example: Path, run_packager: RunPackager, base_image: str, registry: Registry, docker_config: Path, serve: type
) -> None:
    repository = f"{registry.address}/packager-test/round-trip"
    references = [f"{repository}:1", f"{repository}:latest"]
    done = run_packager(
        *("build", *ENGINE, "--base", base_image, "--push", "--no-test"),
        *(word for reference in references for word in ("-t", reference)),
        cwd=example,
    )
    pinned = done.stdout.split()
    assert [each.partition("@")[0] for each in pinned] == references
    assert len({each.partition("@")[2] for each in pinned}) == 1
    docker("image", "rm", "--force", *references)
    digest = pinned[0].partition("@")[2]
    docker("pull", "--quiet", f"{repository}@{digest}")
    service = serve(f"{repository}@{digest}", example)
    expected = json.loads((example / "expected-answer.json").read_text())
    assert service.score((example / "sample-request.json").read_bytes()) == expected
    done = run_packager("score", "--url", f"{service.url}/score", "--data", "sample-request.json", cwd=example)
    assert json.loads(done.stdout) == expected


def test_a_base_of_the_spec_is_locked_through_a_mirror(
    example: Path, run_packager: RunPackager, registry: Registry, docker_config: Path, index: None, build: Builder
) -> None:
    spec = example / "packager.yaml"
    spec.write_text(spec.read_text() + "\nbase: python:3.13-slim-trixie\n")
    mirror = {"PACKAGER_REGISTRY_MIRROR": f"docker.io={registry.address}"}
    run_packager("lock", cwd=example, env=mirror)
    locked = json.loads((example / "packager.lock").read_text())["targets"]["cpu"]
    assert locked["base"].startswith("docker.io/library/python:3.13-slim-trixie@sha256:")
    assert registry.address not in (example / "packager.lock").read_text()
    text = run_packager("render", cwd=example, env=mirror).stdout
    assert f"FROM {registry.address}/library/python:3.13-slim-trixie@sha256:" in text
    tag = f"{build.name}:mirror"
    build.tags.append(tag)
    run_packager("build", *ENGINE, "-t", tag, cwd=example, env=mirror)
    labels = json.loads(docker("image", "inspect", tag, "--format", "{{json .Config.Labels}}"))
    assert labels["org.opencontainers.image.base.name"] == "docker.io/library/python:3.13-slim-trixie"
    assert locked["base"].endswith(labels["org.opencontainers.image.base.digest"])


def test_a_base_with_another_python_is_refused_in_words(
    example: Path, run_packager: RunPackager, base_image: str, docker_config: Path, index: None
) -> None:
    spec = example / "packager.yaml"
    spec.write_text(spec.read_text().replace('python: "3.13"', 'python: "3.12"'))
    run_packager("lock", cwd=example)
    done = run_packager("build", *ENGINE, "--base", base_image, cwd=example, check=False)
    assert done.returncode == 7
    assert "The base has Python 3.13, the lock is for 3.12." in done.stderr


def test_a_package_that_is_not_the_locked_one_stops_the_build(
    example: Path, tmp_path: Path, run_packager: RunPackager, base_image: str, docker_config: Path
) -> None:
    context = tmp_path / "context"
    run_packager("save", "--base", base_image, "-o", context, cwd=example)
    requirements = context / "environment/requirements.txt"
    head, _, tail = requirements.read_text().partition("--hash=sha256:")
    requirements.write_text(f"{head}--hash=sha256:{'0' * 64}{tail[64:]}")
    done = subprocess.run(["docker", "build", "--progress", "plain", str(context)], capture_output=True, text=True)
    assert done.returncode != 0
    assert "Hash mismatch for" in done.stderr
    assert "0" * 64 in done.stderr
