"""Nothing is pushed untested: `packager test`, and the gate of `push` and `build --push`."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

import packager
from packager.errors import ServiceError
from tests.integration.conftest import Registry, RunPackager
from tests.integration.serving_package import build_package, remove_image, write_package

pytestmark = [pytest.mark.engine, pytest.mark.network]


class Package:
    """A built package: its folder, the image in the engine, and where it would be pushed to."""

    def __init__(self, folder: Path, repository: str, registry: Registry) -> None:
        self.folder, self.repository, self.registry = folder, repository, registry
        self.image = f"{repository}:1"

    def containers(self) -> list[str]:
        """Those of its image; other tests may run beside these."""
        words = ("docker", "ps", "--all", "--quiet", "--filter", f"ancestor={self.image}")
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()

    def tags(self) -> list[str]:
        """What the registry has of it."""
        name = self.repository.partition("/")[2]
        login = (self.registry.user, self.registry.password)
        answer = requests.get(f"http://{self.registry.address}/v2/{name}/tags/list", auth=login, timeout=30)
        return list(answer.json().get("tags") or ())

    def expect(self, half: float) -> None:
        spec = write_package(self.folder) / "packager.yaml"
        spec.write_text(spec.read_text().replace("1.49", str(half)))


@pytest.fixture(scope="module")
def package(
    run_packager: RunPackager,
    base_image: str,
    registry: Registry,
    docker_config: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Package]:
    repository = f"{registry.address}/packager-test/gate-{secrets.token_hex(4)}"
    found = Package(tmp_path_factory.mktemp("gate"), repository, registry)
    # The label gives it an id of its own: without, it is the very image of other tests, and so are its containers.
    build_package(run_packager, found.folder, base_image, found.image, "--label", f"of={repository}")
    yield found
    remove_image(found.image)


def test_a_report_of_each_test(package: Package, run_packager: RunPackager, tmp_path: Path) -> None:
    package.expect(1.49)
    junit = tmp_path / "junit.xml"
    done = run_packager("test", "--image", package.image, "--junit", junit, cwd=package.folder)
    assert "2 of 2 passed" in done.stdout
    assert ET.parse(junit).getroot()[0].get("failures") == "0"
    package.expect(1.2)
    words = ("test", "--image", package.image, "--junit", junit, "--format", "json", "-e", "MARK=other")
    done = run_packager(*words, cwd=package.folder, check=False)
    assert done.returncode == 8
    (report,) = json.loads(done.stdout)
    assert report["tests"][0]["differences"] == [
        "$.half: 1.5 != 1.2 (tolerance 0.1)",
        '$.mark: "other" != "first"',
    ] or (report["tests"][0]["differences"] == ['$.mark: "other" != "first"', "$.half: 1.5 != 1.2 (tolerance 0.1)"])
    assert any("POST /score" in line for line in report["log"])
    assert not any("Booting worker" in line for line in report["log"]), "a start tells nothing of an answer"
    assert "failed 1 test" in done.stderr
    assert "POST /score" not in done.stderr
    assert ET.parse(junit).getroot()[0].get("failures") == "1"
    assert package.containers() == []


def test_a_service_that_does_not_start_fails_its_test(package: Package, run_packager: RunPackager) -> None:
    package.expect(1.5)
    done = run_packager("test", "--image", package.image, "-e", "FAIL=weights.bin", cwd=package.folder, check=False)
    assert done.returncode == 8
    assert "init() failed" in done.stderr
    assert "no such model: weights.bin" in done.stderr


def test_interrupted_it_leaves_nothing(package: Package) -> None:
    package.expect(1.5)
    words = [sys.executable, "-m", "packager", "test", "--image", package.image, "-e", "SLOW=60"]
    running = subprocess.Popen(words, cwd=package.folder, env=dict(os.environ), stderr=subprocess.PIPE, text=True)
    while not package.containers():
        assert running.poll() is None, running.communicate()[1]
        time.sleep(0.2)
    running.send_signal(signal.SIGTERM)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "Traceback" not in said
    assert package.containers() == []


def test_nothing_that_fails_is_pushed(package: Package, run_packager: RunPackager, base_image: str) -> None:
    package.expect(9)
    done = run_packager("push", package.image, cwd=package.folder, check=False)
    assert done.returncode == 8
    assert "$.half: 1.5 != 9 (tolerance 0.1)" in done.stderr
    assert done.stdout == ""
    reference = f"{package.repository}:built"
    build = ("build", "--base", base_image, "--push", "--builder", "oci", "-t", reference)
    done = run_packager(*build, cwd=package.folder, check=False)
    assert done.returncode == 8, done.stderr
    assert "$.half: 1.5 != 9 (tolerance 0.1)" in done.stderr
    assert package.tags() == []
    # test_service.py has images of that name, too, but with tags of eight letters.
    listed = subprocess.run(
        ["docker", "image", "ls", "--format", "{{.Tag}}", "packager-test/served"], capture_output=True, text=True
    )
    assert not [tag for tag in listed.stdout.split() if len(tag) == 12], "what was loaded for the test is gone"
    done = run_packager("push", package.image, "--no-test", cwd=package.folder)
    assert "--no-test: what is pushed was not tested" in done.stderr
    assert package.tags() == ["1"]
    package.expect(1.5)
    done = run_packager(*build, cwd=package.folder)
    assert "half of it" in done.stderr
    assert done.stdout.startswith(f"{reference}@sha256:")
    assert "built" in package.tags()


def test_the_python_api_pushes_nothing_that_fails(
    package: Package, base_image: str, docker_config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The functions guarantee what the verbs do."""
    monkeypatch.setenv("DOCKER_CONFIG", str(docker_config))
    package.expect(9)
    spec_file = packager.load_spec(package.folder)
    before, tag = package.tags(), f"{package.repository}:api"
    for builder in ("oci", "engine"):
        wish = packager.BuildWish(base=base_image, builder=builder, tags=(tag,))
        with pytest.raises(ServiceError, match=r"1\.5 != 9"):
            packager.build(spec_file, wish, push=True)
    with pytest.raises(ServiceError, match=r"1\.5 != 9"):
        packager.push(package.image, spec_file=spec_file)
    assert package.tags() == before
    assert not packager.test(spec_file, image=package.image)[0].passed
    package.expect(1.5)
    wish = packager.BuildWish(base=base_image, tags=(tag,))
    (built,) = packager.build(packager.load_spec(package.folder), wish, push=True)
    assert (built.builder, built.pushed, built.references) == ("oci", True, (tag,))
    assert set(package.tags()) == {*before, "api"}


def test_the_same_with_buildkit(
    package: Package, run_packager: RunPackager, base_image: str, checkout: Path, tmp_path: Path
) -> None:
    # The example's environment is in the engine's cache for other tests, too.
    example = Path(shutil.copytree(checkout / "examples/diabetes", tmp_path / "diabetes"))
    expected = (example / "expected-answer.json").read_text()
    (example / "expected-answer.json").write_text(expected.replace("[209", "[309"))
    reference = f"{package.repository}:buildkit"
    build = ("build", "--base", base_image, "--push", "--builder", "engine", "-t", reference)
    done = run_packager(*build, cwd=example, check=False)
    assert done.returncode == 8, done.stderr
    assert "$[0]: 209.9975" in done.stderr
    assert "buildkit" not in package.tags()
    (example / "expected-answer.json").write_text(expected)
    done = run_packager(*build, cwd=example)
    assert done.stdout.startswith(f"{reference}@sha256:")
    assert "buildkit" in package.tags()
    remove_image(reference)


def test_without_an_engine_nothing_is_pushed_silently(
    package: Package, run_packager: RunPackager, base_archive: Path
) -> None:
    package.expect(1.5)
    base = f"oci-archive:{base_archive}"
    words = ("build", "--base", base, "--push", "-t", f"{package.repository}:none", "--builder", "oci")
    nowhere = {"DOCKER_HOST": "unix:///nonexistent/docker.sock"}
    done = run_packager(*words, cwd=package.folder, env=nowhere, check=False)
    assert done.returncode == 7
    assert "nothing is pushed" in done.stderr
    assert "--no-test" in done.stderr
    assert "none" not in package.tags()
    run_packager(*words, "--no-test", cwd=package.folder, env=nowhere)
    assert "none" in package.tags()
