"""Images of a conda environment, on real parts: a channel that wants a password, an engine, and none."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import pytest
from uv import find_uv_bin

from tests.integration.conda_channel import File, Package, write_channel
from tests.integration.conda_server import ChannelServer
from tests.integration.conftest import Registry, RunPackager, output
from tests.integration.test_pipeline import Service, docker

pytestmark = [pytest.mark.engine, pytest.mark.network]

PYTHON = "docker.io/library/python:3.13-slim-trixie"
BASE = ("--base", PYTHON)
OCI = ("--builder", "oci")
# The channel is on this machine, and the build's steps are in containers.
ENGINE = ("--builder", "engine", "--network", "host", "--progress", "plain")
NO_ENGINE = {"DOCKER_HOST": "unix:///nonexistent/docker.sock"}
USER, PASSWORD = "lena", "correct-horse-battery"
# Of another channel on the same host, which names variables for them.
TEAM = {"TEAM_USER": "mia", "TEAM_PASSWORD": "purple@staple"}
# In the clear, and as a header has them.
SECRETS = (
    PASSWORD.encode(), b"bGVuYTpjb3JyZWN0LWhvcnNlLWJhdHRlcnk",
    b"purple@staple", b"purple%40staple", b"bWlhOnB1cnBsZUBzdGFwbGU",
)  # fmt: skip

SPEC = """\
name: diabetes
version: "1"
entry_script: score.py
source_dir: src
models:
  - {{path: models/sklearn_regression_model.pkl, name: sklearn_regression_model, version: 1}}
environment:
  channels: ["{channel}"]
  conda: {conda}
  pip: ["inference-schema[numpy-support]"]
  variables: {{FROM_THE_ENVIRONMENT: "yes"}}
conda: {{installer_base: "{installer}"}}
targets: {{cpu: {{platforms: [{platforms}]}}}}
"""
WHOLE = "[python=3.13, scikit-learn=1.9, joblib, numpy, greeting=2.0, prefix-in-text, prefix-in-binary, {}]".format(
    "post-link-echo, unseen"
)


class Shop(NamedTuple):
    """A channel that wants a password, and what a machine has to have for it."""

    server: ChannelServer
    environ: dict[str, str]


@pytest.fixture(scope="module")
def shop(
    conda_channel: Path, registry: Registry, docker_config: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shop]:
    credentials = tmp_path_factory.mktemp("auth") / "credentials.json"
    with ChannelServer(conda_channel) as server:
        credentials.write_text(json.dumps({"127.0.0.1": {"BasicHTTP": {"username": USER, "password": PASSWORD}}}))
        server.require_basic(USER, PASSWORD)
        yield Shop(
            server,
            {"RATTLER_AUTH_FILE": str(credentials), "PACKAGER_REGISTRY_MIRROR": f"docker.io={registry.address}"},
        )


def locked(
    shop: Shop, folder: Path, conda: str, checkout: Path, run_packager: RunPackager,
    platforms: str = "linux/amd64", team: str = "",
) -> Path:  # fmt: skip
    shutil.copytree(checkout / "examples/diabetes", folder, ignore=shutil.ignore_patterns("locks", "packager.lock"))
    channel = f'{shop.server.url}/forge", "{team}' if team else f"{shop.server.url}/forge"
    text = SPEC.format(channel=channel, conda=conda, installer=PYTHON, platforms=platforms)
    (folder / "packager.yaml").write_text(text)
    run_packager("lock", "-q", cwd=folder, env={**shop.environ, **(TEAM if team else {})})
    return folder


@pytest.fixture(scope="module")
def unseen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChannelServer]:
    """A channel of one package that no cache has, not even BuildKit's of earlier runs."""
    folder = tmp_path_factory.mktemp("served")
    content = {"share/unseen": File(uuid4().hex.encode())}
    package = Package("unseen", "1.0", uuid4().hex[:8], files=content, noarch="generic")
    write_channel(folder / "team", [package])
    with ChannelServer(folder) as server:
        server.require_basic(*TEAM.values())
        yield server


@pytest.fixture(scope="module")
def whole(
    shop: Shop,
    unseen: ChannelServer,
    checkout: Path,
    run_packager: RunPackager,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The example's model and script, with an environment of conda, from two channels with passwords."""
    team = f"http://$TEAM_USER:${{TEAM_PASSWORD}}@127.0.0.1:{unseen.port}/team"
    folder = tmp_path_factory.mktemp("whole") / "diabetes"
    return locked(shop, folder, WHOLE, checkout, run_packager, "linux/amd64, linux/arm64", team)


class Images(NamedTuple):
    """References of one spec's images, and all that was printed when they were made."""

    oci: str
    engine: str
    log: str


@pytest.fixture(scope="module")
def bare_base(base_archive: Path, checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stand-in base without its Python, as Debian's own image is."""
    folder = tmp_path_factory.mktemp("bare")
    script = str(checkout / "scripts/oci_base.py")
    before, after, archive = (folder / name for name in ("before.tar", "after.tar", "bare.oci.tar"))
    with before.open("wb") as stream:
        subprocess.run(
            [sys.executable, script, "--layer-of", str(base_archive), "linux/amd64"], stdout=stream, check=True
        )
    with tarfile.open(before) as source, tarfile.open(after, "w") as target:
        for member in source:
            if "python" not in member.name:
                target.addfile(member, source.extractfile(member) if member.isreg() else None)
    subprocess.run([sys.executable, script, "--output", str(archive), f"linux/amd64={after}"], check=True)
    return archive


@pytest.fixture(scope="module")
def images(
    whole: Path, shop: Shop, unseen: ChannelServer, bare_base: Path, run_packager: RunPackager
) -> Iterator[Images]:
    environ = {**shop.environ, **TEAM}
    unseen.requests.clear()
    oci, engine = "packager-test/conda:oci", "packager-test/conda:engine"
    without = ("--base", f"oci-archive:{bare_base}", "--compression", "none", "--load", "-t", oci, "-v")
    done = [run_packager("build", *OCI, *without, cwd=whole, env=environ)]
    done.append(run_packager("build", *ENGINE, *BASE, "-v", "-t", engine, cwd=whole, env=environ))
    assert [each.status for each in unseen.asked("*/unseen-*")] == [200, 200], "each builder had the credentials"
    yield Images(oci, engine, "".join(each.stdout + each.stderr for each in done))
    subprocess.run(["docker", "image", "rm", "--force", oci, engine], capture_output=True, check=False)


@pytest.mark.parametrize("builder", ["oci", "engine"])
def test_the_image_answers_with_the_models_own_prediction(
    builder: str, images: Images, whole: Path, run_packager: RunPackager
) -> None:
    served = Service(run_packager, getattr(images, builder), whole)
    try:
        assert served.get("/") == b"Healthy"
        expected = json.loads((whole / "expected-answer.json").read_text())
        assert served.score((whole / "sample-request.json").read_bytes()) == pytest.approx(expected)
        assert docker("exec", served.id, "greet") == "hello from 2.0"
        assert docker("exec", served.id, "printenv", "FROM_THE_ENVIRONMENT") == "yes"
        shown = docker("exec", served.id, "cat", "/opt/env/etc/prefix-in-text.conf")
        assert "/opt/env" in shown
        assert "placehold" not in shown
    finally:
        docker("rm", "--force", served.id)


def test_the_same_environment_either_way(images: Images) -> None:
    """Whoever installed pip's half, conda's or we, leaves no trace of it, and whoever compiled it, the same bytes."""
    first, second = (content_of(reference).environment for reference in (images.oci, images.engine))
    assert sorted(first) == sorted(second)
    assert {path for path in first if first[path] != second[path]} == set()
    assert sum(path.endswith(".pyc") for path in first) > 500, "compiled files are compared, too"
    assert {"opt/env/bin/gunicorn", "opt/env/bin/azmlinfsrv", "opt/env/bin/greet"} <= first.keys()


def test_nothing_of_the_installer_is_inside(images: Images) -> None:
    for reference in (images.oci, images.engine):
        names = {path.rpartition("/")[2] for path in content_of(reference).environment}
        assert not names & {"conda", "mamba", "micromamba", "rattler", "pip", "install.py", "CACHEDIR.TAG"}


def test_credentials_are_nowhere(images: Images, whole: Path, shop: Shop, run_packager: RunPackager) -> None:
    context = whole.parent / "context"
    run_packager("save", *BASE, "-o", context, cwd=whole, env=shop.environ)
    written = [path for folder in (whole, context) for path in folder.rglob("*") if path.is_file()]
    assert any(path.name == "conda-lock.yml" for path in written)
    texts = [path.read_bytes() for path in written] + [images.log.encode()]
    texts += [json.dumps(docker("image", "inspect", each)).encode() for each in (images.oci, images.engine)]
    texts += [docker("history", "--no-trunc", images.engine).encode()]
    for secret in SECRETS:
        assert not [text[:60] for text in texts if secret in text]
    assert content_of(images.oci).secrets == content_of(images.engine).secrets == []


def test_another_platform_without_emulation(
    whole: Path, shop: Shop, base_archive: Path, tmp_path: Path, run_packager: RunPackager
) -> None:
    layout = tmp_path / "layout"
    base = ("--base", f"oci-archive:{base_archive}", "--platform", "linux/arm64")
    environ = {**shop.environ, **TEAM, **NO_ENGINE, "PATH": "/nowhere"}
    run_packager("build", *OCI, *base, "--compression", "none", "-o", f"type=oci,dest={layout}", cwd=whole, env=environ)
    blobs = layout / "blobs/sha256"
    index = json.loads((layout / "index.json").read_text())
    manifest = json.loads((blobs / index["manifests"][0]["digest"].partition(":")[2]).read_text())
    layer = next(each for each in manifest["layers"] if holds(blobs, each, "opt/env/bin/python3.13"))
    with tarfile.open(blobs / layer["digest"].partition(":")[2]) as archive:
        python = archive.extractfile("opt/env/bin/python3.13")
        assert python is not None
        assert python.read(20)[18:] == b"\xb7\x00", "a program for AArch64"


def holds(blobs: Path, layer: dict[str, str], path: str) -> bool:
    with tarfile.open(blobs / layer["digest"].partition(":")[2]) as archive:
        return path in archive.getnames()


@pytest.mark.long
def test_the_same_bytes_whatever_the_machine(
    shop: Shop, checkout: Path, tmp_path: Path, base_archive: Path, run_packager: RunPackager
) -> None:
    conda = "[python=3.13, greeting=2.0, prefix-in-text, prefix-in-binary, post-link-message]"
    first = locked(shop, tmp_path / "one" / "diabetes", conda, checkout, run_packager)
    second = Path(shutil.copytree(first, tmp_path / "another place" / "diabetes"))
    downloads = output(find_uv_bin(), "cache", "dir") or ""
    base = f"oci-archive:{base_archive}"
    command = [sys.executable, "-m", "packager", "build", *OCI, "--no-compile", "--base", base, "-q"]
    digests = []
    for number, folder in enumerate((first, second)):
        environ = {**os.environ, **shop.environ, "UV_CACHE_DIR": downloads}
        environ |= {"XDG_CACHE_HOME": str(tmp_path / f"cache {number}"), "TZ": ("UTC", "Asia/Tokyo")[number]}
        words = ("-o", f"type=oci,dest={tmp_path}/{number}.tar", "--compression", "none")
        done = subprocess.run(
            [*command, *words], cwd=folder, env=environ, umask=(0o077, 0o002)[number],
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        digests.append(done.stdout.strip())
    assert digests[0] == digests[1]


@pytest.mark.parametrize("builder", ["oci", "engine"])
def test_a_tampered_package_stops_the_build(
    builder: str, shop: Shop, checkout: Path, tmp_path: Path, run_packager: RunPackager
) -> None:
    # Never downloaded as it should be, so that no cache has it.
    folder = locked(shop, tmp_path / "diabetes", "[python=3.13, only-linux-64]", checkout, run_packager)
    shop.server.corrupt("*/only-linux-64-*.conda")
    try:
        words = (*(OCI if builder == "oci" else ENGINE), *BASE, "-t", "packager-test/no:1")
        done = run_packager("build", *words, cwd=folder, env=shop.environ, check=False)
    finally:
        shop.server._corrupted.clear()
    assert done.returncode == 3, done.stderr
    last = done.stderr[done.stderr.rindex("error: ") :]
    assert "only-linux-64-1.0-h0_0.conda is not the file that was locked" in last


def test_a_link_script_that_matters_is_for_the_engine(
    shop: Shop, checkout: Path, tmp_path: Path, run_packager: RunPackager
) -> None:
    folder = locked(shop, tmp_path / "diabetes", "[python=3.13, post-link-needed]", checkout, run_packager)
    environ = {**shop.environ, **NO_ENGINE}
    image = ("-t", "packager-test/no:1", "-o", f"type=oci,dest={tmp_path}/x.tar")
    done = run_packager("build", *OCI, *BASE, *image, cwd=folder, env=environ, check=False)
    assert done.returncode == 3
    assert "post-link-needed" in done.stderr
    assert "--builder engine" in done.stderr
    done = run_packager("build", *BASE, *image, cwd=folder, env=environ, check=False)
    assert "builder: engine (the post-link script of post-link-needed has to run in a container)" in done.stderr
    assert done.returncode == 7, "it went on with an engine, which is not there"
    prefix = tmp_path / "env"
    run_packager("environment", "create", prefix, cwd=folder, env=environ)
    assert (prefix / "etc/post-link-needed").read_text() == "made\n"


def test_the_environment_on_this_machine(whole: Path, shop: Shop, tmp_path: Path, run_packager: RunPackager) -> None:
    prefix = tmp_path / "env"
    done = run_packager("environment", "create", prefix, cwd=whole, env=shop.environ)
    assert done.stdout.strip() == str(prefix)
    code = "import sklearn, flask, sys; print(sys.prefix)"
    assert subprocess.check_output([prefix / "bin/python", "-c", code], text=True).strip() == str(prefix)
    assert subprocess.check_output([prefix / "bin/greet"], text=True) == "hello from 2.0\n"
    assert str(prefix) in (prefix / "etc/prefix-in-text.conf").read_text()
    assert (prefix / "bin/flask").read_text().startswith(f"#!{prefix}/bin/python")
    # Already there, as it is locked: nothing is asked of the channel.
    shop.server.requests.clear()
    run_packager("environment", "create", prefix, cwd=whole, env=shop.environ)
    code = "import os, sys; print(os.environ['FROM_THE_ENVIRONMENT'], os.environ['CONDA_PREFIX']); sys.exit(7)"
    words = ("environment", "run", "-p", prefix, "--", "python", "-c", code)
    done = run_packager(*words, cwd=whole, env=shop.environ, check=False)
    assert (done.returncode, done.stdout) == (7, f"yes {prefix}\n")
    killed = run_packager(*words[:5], "sh", "-c", "kill -TERM $$", cwd=whole, env=shop.environ, check=False)
    assert killed.returncode == -15
    assert shop.server.requests == []
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "file").touch()
    done = run_packager("environment", "create", theirs, "--force", cwd=whole, env=shop.environ, check=False)
    assert done.returncode == 6
    assert [path.name for path in theirs.iterdir()] == ["file"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["env", "theirs"]


def test_half_an_environment_is_left_for_nobody(
    shop: Shop, whole: Path, tmp_path: Path, run_packager: RunPackager
) -> None:
    shop.server.fail(503, "*/scipy-*")
    try:
        cache = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
        environ = {**shop.environ, **TEAM, **cache}
        done = run_packager("environment", "create", tmp_path / "env", cwd=whole, env=environ, check=False)
    finally:
        shop.server._faults.clear()
    assert done.returncode == 75
    assert "scipy" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache"]


def test_an_environment_of_pip_alone_on_this_machine(tmp_path: Path, run_packager: RunPackager) -> None:
    python = f"{sys.version_info[0]}.{sys.version_info[1]}"
    if python not in ("3.11", "3.12", "3.13"):
        pytest.skip("the digest of no base for this Python is shipped, and another is asked of a registry")
    (tmp_path / "score.py").write_text("def init(): ...\ndef run(data): return data\n")
    (tmp_path / "packager.yaml").write_text(
        f'name: a\nversion: "1"\nentry_script: score.py\npython: "{python}"\nenvironment: {{pip: [colorama]}}\n'
    )
    run_packager("lock", "-q", cwd=tmp_path)
    code = "import colorama, os, sys; print(sys.prefix == os.environ['VIRTUAL_ENV'], 'CONDA_PREFIX' in os.environ)"
    done = run_packager("environment", "run", "--", "python", "-c", code, cwd=tmp_path, env={"CONDA_PREFIX": "/x"})
    assert done.stdout == "True False\n"
    # Nobody has used it for a long time, and somebody does now.
    code = (
        "import os, subprocess, sys; os.utime(sys.prefix, (0, 0)); "
        "subprocess.run([sys.argv[1], '-m', 'packager', 'store', 'gc', '-q'], check=True); "
        "print(os.path.exists(sys.prefix))"
    )
    done = run_packager("environment", "run", "--", "python", "-c", code, sys.executable, cwd=tmp_path)
    assert done.stdout.endswith(" freed in all\nTrue\n")
    assert "local environment" not in done.stdout


# --- what is in an image ----------------------------------------------------------------------------------------------


class Content(NamedTuple):
    """What an image has below /opt (content's digest, kind, mode, owner, time, link), and which secrets are in it."""

    environment: dict[str, tuple[object, ...]]
    secrets: list[bytes]


@functools.cache
def content_of(reference: str) -> Content:
    # Layers are stored as they are unpacked, so that their text can be looked at.
    archive = subprocess.run(["docker", "save", reference], capture_output=True, check=True).stdout
    found: dict[str, tuple[object, ...]] = {}
    with tarfile.open(fileobj=io.BytesIO(archive)) as outer:
        manifest = outer.extractfile("manifest.json")
        assert manifest is not None
        for name in json.load(manifest)[0]["Layers"]:
            with tarfile.open(fileobj=outer.extractfile(name), mode="r:") as layer:
                for each in layer:
                    if each.name.startswith("opt"):
                        content = layer.extractfile(each) if each.isreg() else None
                        digest = hashlib.sha256(content.read()).hexdigest() if content else ""
                        owner = (each.uid, each.gid)
                        found[each.name.rstrip("/")] = (digest, each.type, each.mode, owner, each.mtime, each.linkname)
    return Content(found, [secret for secret in SECRETS if secret in archive])
