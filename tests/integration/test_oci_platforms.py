"""Images for other platforms, made without running anything, and bases on which nothing could start."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import NO_ENGINE, PORT, Registry, RunPackager, output
from tests.integration.test_pipeline import docker
from tests.integration.tiny import ANSWER, REQUEST

pytestmark = pytest.mark.network

AMD64, ARM64 = PLATFORMS = ("linux/amd64", "linux/arm64")
# No engine, and no program that could emulate one either.
ALONE = {**NO_ENGINE, "PATH": "/nowhere"}


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


@pytest.fixture
def python313(tmp_path: Path, base_archive: Path, oci_base: OciBase) -> Path:
    """A folder with the CPython of the amd64 base for PATH: byte-compiling is for an interpreter of this machine."""
    tree, root = tmp_path / "amd64.tar", tmp_path / "root"
    oci_base("--layer-of", base_archive, AMD64, to=tree)
    wanted = re.compile(r"usr/bin/python3\.13|usr/lib/python3\.13/.*|usr/lib/x86_64-linux-gnu/[^/]*")
    with tarfile.open(tree) as tar:
        tar.extractall(root, [each for each in tar if wanted.fullmatch(each.name.removeprefix("./"))], filter="tar")
    program, libraries = root / "usr/bin/python3.13", root / "usr/lib/x86_64-linux-gnu"
    real = program.rename(program.with_name("cpython"))
    # By its own loader: this machine's C library may be older.
    loader = f"{libraries}/ld-linux-x86-64.so.2 --library-path {libraries}"
    program.write_text(f'#!/bin/sh\nexec {loader} --argv0 "$0" {real} "$@"\n')
    program.chmod(0o755)
    said = subprocess.run([program, "-I", "-c", "import platform"], capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr
    return program.parent


@pytest.fixture
def compiled_arm64(tmp_path: Path, base_archive: Path, oci_base: OciBase) -> Path:
    """The arm64 base with its standard library byte-compiled, as the amd64 one has it; without, a start takes minutes.

    The files of the standard library are the same for both, and so are the compiled ones.
    """
    donor, tree, archive = tmp_path / "donor.tar", tmp_path / "arm64.tree.tar", tmp_path / "arm64.oci.tar"
    oci_base("--layer-of", base_archive, AMD64, to=donor)
    oci_base("--layer-of", base_archive, ARM64, to=tree)
    with tarfile.open(donor) as source, tarfile.open(tree, "a") as target:
        for member in source:
            if re.search(r"usr/lib/python3\.13/.*__pycache__", member.name):
                target.addfile(member, source.extractfile(member) if member.isreg() else None)
    oci_base("--output", archive, f"{ARM64}={tree}")
    return archive


class Running:
    """A container of an image of the tiny package."""

    def __init__(self, image: str, platform: str) -> None:
        # Its health check is a program, too, which under emulation takes the processor away from the service.
        words = ("--detach", "--no-healthcheck", "--publish", f"127.0.0.1::{PORT}", "--platform", platform)
        self.name = docker("run", *words, image)
        self.url = f"http://{docker('port', self.name, str(PORT))}/score"

    def answer(self, seconds: float) -> object:
        """The answer to the package's request, as soon as there is one."""
        limit = time.monotonic() + seconds
        while True:
            try:
                request = urllib.request.Request(self.url, REQUEST, {"Content-Type": "application/json"})
                with urllib.request.urlopen(request, timeout=seconds) as answer:
                    return json.loads(answer.read())
            except OSError:
                if time.monotonic() > limit:
                    raise AssertionError(docker("logs", self.name)) from None
                time.sleep(0.2)


@pytest.mark.long
def test_an_arm64_image_made_without_emulation_answers_under_it(
    tiny: Path,
    tmp_path: Path,
    base: tuple[str, str],
    compiled_arm64: Path,
    python313: Path,
    run_packager: RunPackager,
    emulation: None,
    removed: list[str],
) -> None:
    # The inference server and one compiled module: scikit-learn takes minutes to be imported under emulation.
    bases = {ARM64: ("--base", f"oci-archive:{compiled_arm64}", "--compile"), AMD64: base}
    environ, running = {**ALONE, "PATH": str(python313)}, {}
    for platform, options in bases.items():
        name, archive = f"packager-test/tiny:{platform.replace('/', '-')}", tmp_path / "image.tar"
        wanted = ("--platform", platform, "-t", name, "-o", f"type=docker,dest={archive}")
        run_packager("build", "--builder", "oci", *options, *wanted, cwd=tiny, env=environ)
        docker("load", "--quiet", "--input", str(archive))
        assert platform_of(name) == platform
        # The one under emulation starts while the other one is built.
        running[platform] = Running(name, platform)
        removed += [running[platform].name, name]
    assert running[AMD64].answer(60) == ANSWER
    assert running[ARM64].answer(240) == ANSWER
    code = "import os, sys; print(os.uname().machine, sys.executable)"
    python = docker("exec", running[ARM64].name, "/opt/env/bin/python", "-c", code)
    assert python == "aarch64 /opt/env/bin/python"


def test_an_index_of_two_platforms(
    example: Path,
    base: tuple[str, str],
    run_packager: RunPackager,
    registry: Registry,
    docker_config: Path,
    removed: list[str],
) -> None:
    reference = f"{registry.address}/packager-test/two-platforms:1"
    # The platforms are those of the spec: a registry holds all of them under one tag.
    wanted = ("--push", "--no-test", "-t", reference)
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
