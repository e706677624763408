"""Images for other platforms, made without running anything, and bases on which nothing could start."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import Registry, RunPackager, output
from tests.integration.test_pipeline import docker

pytestmark = pytest.mark.network

AMD64, ARM64 = PLATFORMS = ("linux/amd64", "linux/arm64")
# No engine, and no program that could emulate one either.
ALONE = {"DOCKER_HOST": "unix:///nonexistent/docker.sock", "PATH": "/nowhere"}


@pytest.fixture(scope="session")
def locked(index: None, checkout: Path, run_packager: RunPackager, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example, locked for both platforms."""
    folder = tmp_path_factory.mktemp("platforms") / "diabetes"
    shutil.copytree(checkout / "examples/diabetes", folder)
    spec = folder / "packager.yaml"
    text = spec.read_text()
    assert "targets: [cpu]" in text
    spec.write_text(text.replace("targets: [cpu]", "targets: {cpu: {platforms: [linux/amd64, linux/arm64]}}"))
    run_packager("lock", cwd=folder, env=ALONE)
    return folder


@pytest.fixture
def example(locked: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(locked, tmp_path / "diabetes"))


@pytest.fixture(scope="session")
def base(base_archive: Path) -> tuple[str, str]:
    return "--base", f"oci-archive:{base_archive}"


@pytest.fixture
def removed() -> Iterator[list[str]]:
    """References and containers that are removed after the test."""
    names: list[str] = []
    yield names
    for name in names:
        subprocess.run(["docker", "rm", "--force", name], capture_output=True, check=False)
        subprocess.run(["docker", "image", "rm", "--force", name], capture_output=True, check=False)


OciBase = Callable[..., None]


@pytest.fixture
def oci_base(checkout: Path) -> OciBase:
    """Runs `scripts/oci_base.py`; `to` takes its standard output."""

    def run(*words: str | Path, to: Path | None = None) -> None:
        with (to or Path(os.devnull)).open("wb") as stdout:
            command = [sys.executable, str(checkout / "scripts/oci_base.py"), *map(str, words)]
            done = subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr

    return run


def platform_of(reference: str) -> str:
    return docker("image", "inspect", reference, "--format", "{{.Os}}/{{.Architecture}}")


def manifest(reference: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(docker("buildx", "imagetools", "inspect", "--raw", reference))
    return found


def test_an_arm64_image_made_without_emulation_runs_under_it(
    example: Path, tmp_path: Path, base: tuple[str, str], run_packager: RunPackager, emulation: None, removed: list[str]
) -> None:
    # Importing scikit-learn takes minutes under emulation, so /score is not asked there: a compiled module of the
    # environment is loaded, and the console script's interpreter is the one that runs it.
    name, archive = "packager-test/platforms:linux-arm64", tmp_path / "arm64.tar"
    removed.append(name)
    wanted = ("--platform", ARM64, "-t", name, "-o", f"type=docker,dest={archive}")
    run_packager("build", "--builder", "oci", *base, *wanted, cwd=example, env=ALONE)
    docker("load", "--quiet", "--input", str(archive))
    assert platform_of(name) == ARM64
    code = "import os, sys, psutil; print(os.uname().machine, sys.executable, psutil.Process().pid > 0)"
    command = ("run", "--rm", "--platform", ARM64, "--entrypoint", "/opt/env/bin/python", name, "-c", code)
    assert docker(*command) == "aarch64 /opt/env/bin/python True"
    script = ("run", "--rm", "--platform", ARM64, "--entrypoint", "head", name, "-n", "1", "/opt/env/bin/azmlinfsrv")
    assert docker(*script).startswith("#!/opt/env/bin/python")


def test_an_index_of_two_platforms(
    example: Path,
    base: tuple[str, str],
    run_packager: RunPackager,
    registry: Registry,
    docker_config: Path,
    removed: list[str],
) -> None:
    reference = f"{registry.address}/packager-test/two-platforms:1"
    wanted = ("--platform", ",".join(PLATFORMS), "--push", "--no-test", "-t", reference)
    done = run_packager("build", "--builder", "oci", *base, *wanted, cwd=example, env=ALONE)
    assert done.stdout.strip().startswith(f"{reference}@sha256:")

    entries = manifest(reference)["manifests"]
    assert [f"{each['platform']['os']}/{each['platform']['architecture']}" for each in entries] == [AMD64, ARM64]
    for platform, entry in zip(PLATFORMS, entries, strict=True):
        pinned = f"{registry.address}/packager-test/two-platforms@{entry['digest']}"
        removed += [reference, pinned]
        docker("pull", "--quiet", "--platform", platform, reference)
        assert platform_of(reference) == platform
        docker("pull", "--quiet", pinned)
        assert platform_of(pinned) == platform
    layers = [
        {layer["digest"] for layer in manifest(f"{reference.rpartition(':')[0]}@{entry['digest']}")["layers"]}
        for entry in entries
    ]
    assert len(layers[0] & layers[1]) >= 2, "model and app are the same blobs for both"
    if shutil.which("skopeo"):
        words = ("skopeo", "inspect", "--tls-verify=false", "--creds", f"{registry.user}:{registry.password}")
        for platform in PLATFORMS:
            architecture = platform.partition("/")[2]
            found = output(*words, "--override-os=linux", f"--override-arch={architecture}", f"docker://{reference}")
            assert found is not None
            assert json.loads(found)["Architecture"] == architecture


def test_a_base_without_libstdcxx_is_refused(
    example: Path, tmp_path: Path, base_archive: Path, oci_base: OciBase, run_packager: RunPackager
) -> None:
    whole, less, archive = (tmp_path / name for name in ("whole.tar", "less.tar", "less.oci.tar"))
    oci_base("--layer-of", base_archive, AMD64, to=whole)
    gone = []
    with tarfile.open(whole) as source, tarfile.open(less, "w") as target:
        for member in source:
            if "libstdc++.so" in member.name:
                gone.append(member.name)
            else:
                target.addfile(member, source.extractfile(member) if member.isreg() else None)
    assert gone
    oci_base("--output", archive, f"{AMD64}={less}")
    done = build(run_packager, example, archive, AMD64, tmp_path)
    assert done.returncode == 6
    assert "libstdc++.so.6 is not in the base" in done.stderr
    assert "the Debian package libstdc++6 brings it" in done.stderr
    assert not (tmp_path / "image").exists()


def test_a_base_for_another_platform_is_refused(
    example: Path, tmp_path: Path, base_archive: Path, oci_base: OciBase, run_packager: RunPackager
) -> None:
    tree, archive = tmp_path / "tree.tar", tmp_path / "arm64.oci.tar"
    oci_base("--layer-of", base_archive, ARM64, to=tree)
    oci_base("--output", archive, f"{ARM64}={tree}")
    done = build(run_packager, example, archive, AMD64, tmp_path)
    assert done.returncode not in (0, 1)
    assert "linux/amd64" in done.stderr
    assert "linux/arm64" in done.stderr
    assert "Traceback" not in done.stderr
    # What is called amd64 and is not is found out by its files.
    oci_base("--output", archive, f"{AMD64}={tree}")
    done = build(run_packager, example, archive, AMD64, tmp_path)
    assert done.returncode not in (0, 1)
    assert "linux/amd64" in done.stderr
    assert not (tmp_path / "image").exists()


def build(
    run_packager: RunPackager, example: Path, archive: Path, platform: str, tmp_path: Path
) -> subprocess.CompletedProcess[str]:
    words = ("--builder", "oci", "--base", f"oci-archive:{archive}", "--platform", platform)
    return run_packager(
        "build", *words, "-o", f"type=oci,dest={tmp_path / 'image'}", cwd=example, env=ALONE, check=False
    )


def test_the_same_trees_give_the_same_archive(tmp_path: Path, oci_base: OciBase) -> None:
    trees = []
    for platform in PLATFORMS:
        path = tmp_path / f"{platform.replace('/', '-')}.tar"
        with tarfile.open(path, "w") as tar:
            tar.addfile(tarfile.TarInfo(platform))
        trees.append(f"{platform}={path}")
    first, second, back = tmp_path / "first.tar", tmp_path / "second.tar", tmp_path / "back.tar"
    oci_base("--output", first, *trees)
    oci_base("--output", second, *trees)
    oci_base("--output", tmp_path / "folder", *trees)
    assert first.read_bytes() == second.read_bytes()
    with tarfile.open(first) as tar:
        for member in tar:
            stream = tar.extractfile(member)
            assert stream is not None
            assert (tmp_path / "folder" / member.name).read_bytes() == stream.read()
    oci_base("--layer-of", first, ARM64, to=back)
    assert back.read_bytes() == Path(trees[1].partition("=")[2]).read_bytes()
