"""Plain contexts by Debian's buildah, held against what BuildKit makes of the same spec, with a private index for both.

Both stand on the Python image of `scripts/engine`, from the tests' registry as a mirror of docker.io. The inference
server is a stand-in of one file from an index that wants a password: nothing of these images is started, and pip has
one package to lay down. Images that answer are in the other modules.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import subprocess
import tarfile
import textwrap
import threading
import zipfile
from collections.abc import Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.integration.conda_server import ChannelServer
from tests.integration.conftest import Registry, RunPackager

pytestmark = [pytest.mark.engine, pytest.mark.network]

PYTHON = "docker.io/library/python:3.13-slim-trixie"
BASE = ("--base", PYTHON)
NAME = "packager-test-plain"
USER, PASSWORD = "lena", "canary-of-the-index"
# The channel and the index are on this machine, and the build's steps are in containers.
ENGINE = ("--builder", "engine", "--network", "host", "--progress", "plain")
MACHINE = ("--isolation", "chroot", "--runtime", "runc", "--tls-verify=false", "--authfile")
#: Targets of the spec: an environment of pip with a Debian package, and one of conda.
TARGETS = ("cpu", "gpu")

SPEC = """\
name: {name}
version: "1"
entry_script: score.py
source_dir: src
environment: {{channels: ["{channel}"], pip: ["azureml-inference-server-http==99.0"]}}
conda: {{installer_base: "{python}"}}
models: [{{path: models, name: net, version: 3}}]
targets:
  cpu: {{system_packages: [libgomp1]}}
  gpu: {{environment: {{add: {{conda: [python=3.13, fastmath, prefix-in-text]}}}}}}
"""


def server_wheel() -> bytes:
    """A package of the inference server's name, with a script and a module."""
    info = "azureml_inference_server_http-99.0.dist-info"
    files = {
        "azureml_inference_server_http/__init__.py": "def main():\n    print('here')\n",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: azureml-inference-server-http\nVersion: 99.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": "[console_scripts]\nazmlinfsrv = azureml_inference_server_http:main\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in (*files, f"{info}/RECORD"))
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(name), text)
    return stream.getvalue()


class Index:
    """A package index of one package, for those who know the password."""

    def __init__(self) -> None:
        wheel, name = server_wheel(), "azureml_inference_server_http-99.0-py3-none-any.whl"
        link = f'<a href="/{name}#sha256={hashlib.sha256(wheel).hexdigest()}">{name}</a>'
        pages = {"/simple/azureml-inference-server-http/": link.encode(), f"/{name}": wheel}
        word = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        self.taken = taken = list[str]()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                known = self.headers.get("Authorization") == word
                data = pages.get(self.path, b"") if known else b""
                self.send_response(
                    HTTPStatus.OK if data else HTTPStatus.NOT_FOUND if known else HTTPStatus.UNAUTHORIZED
                )
                self.send_header("WWW-Authenticate", "Basic")
                self.send_header("Content-Type", "text/html" if self.path.endswith("/") else "application/zip")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(data)
                    taken.extend([self.path] if data else [])

            def do_HEAD(self) -> None:
                self.do_GET()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://{USER}:{PASSWORD}@127.0.0.1:{self._server.server_port}/simple/"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Image(NamedTuple):
    """What is above the base: path → (kind, mode, owner, time, content's digest or link); and the configuration.

    `secret`: the password of the index is in it, in some layer or word.
    """

    files: dict[str, tuple[Any, ...]]
    config: dict[str, Any]
    secret: bool


class Package(NamedTuple):
    """The locked package, and what a machine needs for its builds."""

    folder: Path
    environ: dict[str, str]
    authfile: Path
    private: Index


@pytest.fixture(scope="module")
def package(
    conda_channel: Path,
    registry: Registry,
    docker_config: Path,
    run_packager: RunPackager,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Package]:
    folder = tmp_path_factory.mktemp("plain") / "package"
    for name in ("src/part", "models/part"):
        (folder / name).mkdir(parents=True)
    (folder / "src/score.py").write_text("def init(): ...\ndef run(data): return data\n")
    (folder / "src/part/tool.sh").write_text("#!/bin/sh\n")
    (folder / "src/part/tool.sh").chmod(0o755)
    (folder / "models/part/net.json").write_text("{}")
    authfile = folder.parent / "auth.json"
    word = base64.b64encode(f"{registry.user}:{registry.password}".encode()).decode()
    authfile.write_text(json.dumps({"auths": {registry.address: {"auth": word}}}))
    index = Index()
    environ = {"PACKAGER_REGISTRY_MIRROR": f"docker.io={registry.address}", "PIP_EXTRA_INDEX_URL": index.url}
    with ChannelServer(conda_channel) as server:
        (folder / "packager.yaml").write_text(SPEC.format(name=NAME, channel=f"{server.url}/forge", python=PYTHON))
        run_packager("lock", "-q", cwd=folder, env=environ)
        yield Package(folder, environ, authfile, index)
    index.stop()


@pytest.fixture(scope="module")
def whole(package: Package, run_packager: RunPackager) -> Iterator[dict[str, Image]]:
    """Target → the image that BuildKit made of it; the index reaches it as a secret."""
    names = {target: f"{NAME}:1-{target}" for target in TARGETS}
    for target in TARGETS:
        run_packager("build", *ENGINE, *BASE, "--target", target, cwd=package.folder, env=package.environ)
    yield {target: buildkit_image(name) for target, name in names.items()}
    subprocess.run(["docker", "image", "rm", "--force", *names.values()], capture_output=True, check=False)


@pytest.mark.parametrize("target", TARGETS)
def test_buildah_makes_the_same_of_a_plain_context(
    target: str,
    package: Package,
    whole: dict[str, Image],
    buildah: list[str],
    tmp_path: Path,
    run_packager: RunPackager,
) -> None:
    context = tmp_path / "context"
    words = ("save", "--dialect", "plain", "--target", target, *BASE, "-o", str(context))
    run_packager(*words, cwd=package.folder, env=package.environ)
    run_packager("verify", context)
    text = (context / "HANDOFF.md").read_text()
    assert '--volume "$PWD/pip.conf:/etc/pip.conf:ro"' in text
    # As HANDOFF.md has it, but for what is this machine's: its storage, its kernel, its registry without TLS.
    (section,) = re.findall(r"^## Build\n\n((?:    .*\n)+)", text, re.M)
    assert section.startswith("    buildah bud --layers --format docker ")
    (context / "pip.conf").write_text(f"[global]\nextra-index-url = {package.private.url}\n")
    secret = '--volume "$PWD/pip.conf:/etc/pip.conf:ro"'
    start = " ".join([*buildah, "bud", *MACHINE, str(package.authfile), secret])
    package.private.taken.clear()
    done = subprocess.run(
        ["sh", "-ec", textwrap.dedent(section).replace("buildah bud", start)],
        cwd=context, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert [path for path in package.private.taken if path.endswith(".whl")], "the private index was asked"
    archive = tmp_path / "image.tar"
    subprocess.run([*buildah, "push", "--quiet", f"{NAME}:1-{target}", f"docker-archive:{archive}"], check=True)
    plain = image_of(archive.read_bytes())
    assert plain.files == whole[target].files
    for path in ("opt/env/bin/azmlinfsrv", "var/azureml-app/azureml-models/net/3/models/part/net.json"):
        assert path in plain.files
    assert ("usr/lib/x86_64-linux-gnu/libgomp.so.1" in plain.files) is (target == "cpu")
    assert plain.files["var/azureml-app/part/tool.sh"][1] == 0o755
    assert len(plain.config["Env"]) > 10
    for field in ("Env", "Entrypoint", "User", "WorkingDir", "ExposedPorts", "Healthcheck", "StopSignal"):
        assert plain.config[field] == whole[target].config[field], field
    labels = {name for name in plain.config["Labels"].items() if not name[0].startswith("io.buildah.")}
    assert labels <= whole[target].config["Labels"].items()
    assert PASSWORD not in done.stdout + done.stderr
    assert not plain.secret
    assert not whole[target].secret


def buildkit_image(reference: str) -> Image:
    saved = subprocess.run(["docker", "save", reference], capture_output=True, check=True).stdout
    return image_of(saved)


def image_of(archive: bytes) -> Image:
    found: dict[str, tuple[Any, ...]] = {}
    with tarfile.open(fileobj=io.BytesIO(archive)) as outer:
        manifest = json.loads(member(outer, "manifest.json"))[0]
        config = json.loads(member(outer, manifest["Config"]))["config"]
        for name in manifest["Layers"][1:]:  # the first is the base
            with tarfile.open(fileobj=outer.extractfile(name), mode="r:") as layer:
                for each in layer:
                    content = layer.extractfile(each) if each.isreg() else None
                    what = hashlib.sha256(content.read()).hexdigest() if content else each.linkname
                    owner = (each.uid, each.gid)
                    # buildah writes the kind of a file into the mode, too.
                    path = each.name.removeprefix("./").rstrip("/")
                    found[path] = (each.type, each.mode & 0o7777, owner, each.mtime, what)
    return Image(found, config, PASSWORD.encode() in archive)


def member(archive: tarfile.TarFile, name: str) -> bytes:
    stream = archive.extractfile(name)
    assert stream is not None
    return stream.read()
