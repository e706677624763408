"""Many at once: `packager bake` with `docker buildx bake`, builds of several targets, and an index by BuildKit."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import requests

from tests.integration.conftest import Registry, RunPackager, missing, output
from tests.integration.serving_package import SCRIPT, remove_image

pytestmark = [pytest.mark.engine, pytest.mark.network]

AMD, ARM = "linux/amd64", "linux/arm64"
SPEC = """\
name: {name}
version: "1"
entry_script: score.py
environment: {{pip: []}}
targets: {{cpu: {{}}, gpu: {{base: "{base}"}}}}
image: {{repository: {repository}}}
test:
  - name: half of it
    request: {{number: 3}}
    expect: {{body: {{mark: {name}, half: 1.5}}}}
"""


class Packages(NamedTuple):
    """Two packages for two targets each, locked."""

    folder: Path
    repository: str
    base: str

    def ids(self) -> dict[str, str]:
        """Tag → image id, of what the engine has of them."""
        words = ("docker", "image", "ls", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}")
        lines = [each.split() for each in (output(*words) or "").splitlines()]
        start = f"{self.repository}-"
        return {reference.removeprefix(start): found for reference, found in lines if reference.startswith(start)}


@pytest.fixture(scope="module")
def packages(
    run_packager: RunPackager,
    base_image: str,
    registry: Registry,
    docker_config: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Packages]:
    folder = tmp_path_factory.mktemp("bake")
    found = Packages(folder, f"{registry.address}/packager-test/bake-{secrets.token_hex(4)}", base_image)
    for name in ("first", "second"):
        (folder / name).mkdir()
        (folder / name / "score.py").write_text(SCRIPT.replace('"first"', f'"{name}"'))
        base = f"{registry.address}/library/python:3.13-slim-trixie"
        spec = SPEC.format(name=name, repository=f"{found.repository}-{name}", base=base)
        (folder / name / "packager.yaml").write_text(spec)
        run_packager("lock", "-q", cwd=folder / name)
    yield found
    remove_image(*(f"{found.repository}-{reference}" for reference in found.ids()))


def bake(folder: Path, *words: str) -> str:
    """Run buildx as a team would, with nothing of packager's in reach; return what it said."""
    command = ["docker", "buildx", "bake", "--progress", "plain", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_one_bake_makes_all_images_and_installs_one_environment(
    packages: Packages, run_packager: RunPackager, tmp_path: Path
) -> None:
    file = tmp_path / "here" / "docker-bake.json"
    words = ("bake", "first", "second", "--base", packages.base, "-o", str(file))
    done = run_packager(*words, "--format", "json", cwd=packages.folder)
    assert f"the base {packages.base} is in this machine's engine alone" in done.stderr
    made = json.loads(done.stdout)
    assert [each["name"] for each in made["images"]] == ["first-cpu", "first-gpu", "second-cpu", "second-gpu"]
    assert len({name for each in made["images"] for name in each["environments"]}) == 1
    before = file.read_bytes()
    assert run_packager(*words, cwd=packages.folder).stdout == f"{file}\n"
    assert file.read_bytes() == before
    # The folder is all that the team gets, wherever it puts it.
    there = tmp_path / "there"
    shutil.move(tmp_path / "here", there)
    assert len(set(re.findall(r"^#(\d+) \[\S+ environment 1/1\] RUN", bake(there), re.MULTILINE))) == 1
    images = packages.ids()
    assert sorted(images) == ["first:1-cpu", "first:1-gpu", "second:1-cpu", "second:1-gpu"]
    assert len(set(images.values())) == 4
    second = packages.folder / "second"
    report = run_packager("test", "--target", "gpu", cwd=second).stdout
    assert "1 of 1 passed" in report, "it answers with its own mark"
    # Alone, with an environment stage of its own, it is the same image.
    words = ("build", "--builder", "engine", "--target", "cpu", "--base", packages.base)
    built = run_packager(*words, "--format", "json", cwd=second)
    assert json.loads(built.stdout)[0]["id"] == images["second:1-cpu"]


def tags(registry: Registry, repository: str) -> list[str]:
    name = repository.partition("/")[2]
    login = (registry.user, registry.password)
    answer = requests.get(f"http://{registry.address}/v2/{name}/tags/list", auth=login, timeout=30)
    return sorted(answer.json().get("tags") or ())


def test_several_targets_are_one_build_tested_and_then_pushed(
    packages: Packages, run_packager: RunPackager, registry: Registry, tmp_path: Path
) -> None:
    folder, repository = packages.folder / "first", f"{packages.repository}-first"
    words = ("build", "--builder", "default", "--base", packages.base, "--push")
    spec = folder / "packager.yaml"
    text = spec.read_text()
    spec.write_text(text.replace("half: 1.5", "half: 9"))
    failed = run_packager(*words, cwd=folder, check=False)
    spec.write_text(text)
    assert failed.returncode == 8, failed.stderr
    assert "$.half: 1.5 != 9" in failed.stderr
    assert (failed.stdout, tags(registry, repository)) == ("", [])
    metadata = tmp_path / "metadata.json"
    done = run_packager(*words, "--metadata-file", metadata, cwd=folder)
    assert done.stderr.count("building with") == 2, "one bake for the tests, one that pushes"
    found = json.loads(metadata.read_text())
    assert done.stdout.splitlines() == [
        f"{repository}:1-{target}@{found[target]['containerimage.digest']}" for target in ("cpu", "gpu")
    ]
    assert tags(registry, repository) == ["1-cpu", "1-gpu"]
    for line in done.stdout.splitlines():
        assert f"digest      {line.partition('@')[2]}" in run_packager("inspect", line).stdout


def test_a_failed_step_is_told_as_that_of_a_single_build(packages: Packages, run_packager: RunPackager) -> None:
    folder = packages.folder / "second"
    template = folder / "templates/gpu.Dockerfile.j2"
    template.parent.mkdir()
    template.write_text(
        '{% extends "gpu.Dockerfile.j2" %}\n{% block accelerator %}\nRUN echo no card && exit 3\n{% endblock %}\n'
    )
    words = ("build", "--builder", "engine", "--base", packages.base)
    failed = run_packager(*words, cwd=folder, check=False)
    shutil.rmtree(template.parent)
    assert failed.returncode == 7
    assert "a step of the build failed with exit code 3: [second-gpu" in failed.stderr
    assert "    no card" in failed.stderr
    assert failed.stdout == ""


# --- several platforms ------------------------------------------------------------------------------------------------

#: An environment that nothing has to be run for: installing under emulation takes minutes.
NO_ENVIRONMENT = """\
{% extends "cpu.Dockerfile.j2" %}
{% block environment %}
FROM base AS environment
COPY {{ plan.environment.requirements }} /layer/opt/env/requirements.txt
{% endblock %}
"""


@pytest.fixture
def index_base(base_archive: Path, registry: Registry) -> str:
    """The stand-in base for both platforms, at the registry."""
    reference = f"{registry.address}/packager-test/bake-base:3.13"
    if shutil.which("skopeo") is None:
        missing("there is no skopeo, which brings the base to the registry")
    words = [
        "skopeo",
        "copy",
        "--all",
        "--dest-tls-verify=false",
        "--dest-creds",
        f"{registry.user}:{registry.password}",
    ]
    done = subprocess.run(
        [*words, f"oci-archive:{base_archive}", f"docker://{reference}"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return reference


@pytest.fixture
def index_package(tiny: Path, registry: Registry, docker_config: Path) -> Iterator[tuple[Path, str]]:
    """The tiny package for two platforms with a template of its own, and the repository that it is pushed to."""
    repository = f"{registry.address}/packager-test/index-{secrets.token_hex(4)}"
    spec = tiny / "packager.yaml"
    spec.write_text(spec.read_text().replace("registry.example.com/ml/tiny", repository).replace('["1"]', '["1", new]'))
    (tiny / "templates").mkdir()
    (tiny / "templates/cpu.Dockerfile.j2").write_text(NO_ENVIRONMENT)
    yield tiny, repository
    remove_image(f"{repository}:1-linux-amd64", f"{repository}:1-linux-arm64", f"{repository}:1")


def test_two_platforms_by_buildkit_are_one_index(
    index_package: tuple[Path, str], index_base: str, run_packager: RunPackager, tmp_path: Path
) -> None:
    folder, repository = index_package
    words = ("build", "--builder", "engine", "--base", index_base)
    refused = run_packager(*words, "--platform", f"{AMD},{ARM}", cwd=folder, check=False)
    assert refused.returncode == 2
    assert "an engine takes one platform" in refused.stderr
    done = run_packager(*words, "--push", "--format", "json", cwd=folder)
    (made,) = json.loads(done.stdout)
    assert made["images"] == [f"{repository}:{tag}@{made['digest']}" for tag in ("1", "new")]
    assert list(made["manifests"]) == [AMD, ARM]
    assert f"{ARM}: {made['manifests'][ARM]}" in done.stderr
    shown = run_packager("inspect", f"{repository}:new", "--format", "json")
    images: list[dict[str, Any]] = json.loads(shown.stdout)["images"]
    assert {each["platform"]: each["digest"] for each in images} == made["manifests"]
    for platform, digest in made["manifests"].items():
        layout = tmp_path / platform.replace("/", "-")
        pulled = run_packager("pull", "--platform", platform, f"{repository}:1", "-o", layout)
        assert digest in pulled.stdout
        run_docker("pull", "--quiet", "--platform", platform, f"{repository}:1")
        shown_platform = run_docker("image", "inspect", "--format", "{{.Os}}/{{.Architecture}}", f"{repository}:1")
        assert shown_platform == platform
    again = run_packager(*words, "--push", "--platform", f"{AMD},{ARM}", cwd=folder)
    assert again.stdout.splitlines() == made["images"]


def run_docker(*words: str) -> str:
    done = subprocess.run(["docker", *words], capture_output=True, text=True, check=False, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
