import base64
import gc
import hashlib
import json
import socketserver
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker.api
import docker.auth
import docker.errors
import pytest
import requests

from packager.engine import api as engine
from packager.engine.api import EngineInfo, LocalImage, engine_info, local_image
from packager.errors import EngineError, PackagerError, RegistryError, TemporaryError, UsageError

# Answers of Docker Engine 26.1.5 and buildx 0.13.1, shortened.
VERSION = {
    "Components": [{"Name": "Engine", "Version": "26.1.5+dfsg1"}, {"Name": "containerd"}],
    "Version": "26.1.5+dfsg1",
    "ApiVersion": "1.45",
    "Os": "linux",
    "Arch": "amd64",
}
INFO = {"DriverStatus": [["Backing Filesystem", "extfs"], ["Supports d_type", "true"]]}
CONTAINERD = {"DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]]}
BUILDX = "github.com/docker/buildx 0.13.1+ds1 0.13.1+ds1-3\n"
BUILDER = """\
Name:          default
Driver:        docker
Last Activity: 2026-11-20 23:33:16 +0000 UTC

Nodes:
Name:             default
Endpoint:         default
Status:           running
BuildKit version: v0.0.0+unknown
Platforms:        linux/amd64, linux/amd64/v2, linux/arm64*
Labels:
 org.mobyproject.buildkit.worker.moby.host-gateway-ip: 172.17.0.1
"""


def test_engine_and_builder() -> None:
    assert engine_info(VERSION, INFO, BUILDX, BUILDER) == EngineInfo(
        version="26.1.5+dfsg1",
        api="1.45",
        platform="linux/amd64",
        buildkit=True,
        buildx="0.13.1+ds1",
        platforms=("linux/amd64", "linux/amd64/v2", "linux/arm64"),
        containerd_store=False,
    )
    assert engine_info(VERSION, CONTAINERD, BUILDX, BUILDER).containerd_store


@pytest.mark.parametrize(
    ("version", "builder", "buildkit"),
    [
        ({"Version": "20.10.24"}, BUILDER, False),
        ({"Version": "20.10.24"}, BUILDER.replace("Driver:        docker", "Driver:        docker-container"), True),
        ({"Version": "23.0.0"}, None, True),
        ({"Version": "5.4.0", "Components": [{"Name": "Podman Engine"}]}, None, False),
        ({"Version": "99.0", "Components": [{"Name": "Podman Engine"}]}, None, False),
        ({"Version": "dev"}, None, False),
        ({}, None, False),
    ],
)
def test_which_engine_has_a_buildkit_that_knows_links(
    version: dict[str, Any], builder: str | None, buildkit: bool
) -> None:
    assert engine_info(version, {}, BUILDX, builder).buildkit is buildkit


def test_no_buildx() -> None:
    info = engine_info(VERSION, INFO, None, None)
    assert info.buildx is None
    assert info.platforms == ()


def test_a_local_image() -> None:
    values = {
        "Id": "sha256:1",
        "Os": "linux",
        "Architecture": "arm",
        "Variant": "v7",
        "Size": 5,
        "RepoDigests": ["a@sha256:2"],
        "Config": {"Labels": {"k": "v"}, "ExposedPorts": {"5001/tcp": {}, "53/udp": {}, "80/tcp": {}}},
    }
    assert local_image(values) == LocalImage(
        id="sha256:1",
        platform="linux/arm/v7",
        size=5,
        repo_digests=("a@sha256:2",),
        labels={"k": "v"},
        ports=(80, 5001),
    )


def test_an_image_that_says_little() -> None:
    bare = local_image({"Id": "sha256:1", "Os": "linux", "Architecture": "amd64", "RepoDigests": None, "Config": None})
    assert (bare.labels, bare.ports, bare.repo_digests) == ({}, (), ())


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (docker.errors.APIError("bad", explanation="it is so"), EngineError),
        (docker.errors.DockerException("Error while fetching server API version: x"), EngineError),
        (docker.errors.DockerException("Credentials store error: StoreError('docker-credential-x')"), RegistryError),
        (requests.exceptions.ReadTimeout("slow"), EngineError),
        (KeyError("ours"), KeyError),
    ],
)
def test_errors_of_the_sdk_become_ours(
    raised: Exception, expected: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Client:
        closed = False

        def close(self) -> None:
            self.closed = True

    client = Client()
    monkeypatch.setattr(docker, "from_env", lambda **_: client)
    with pytest.raises(expected) as caught, engine.connect():
        raise raised
    assert client.closed
    assert not isinstance(caught.value, PackagerError) or caught.value.exit_code == 7


def context(folder: Path, name: str, config: str = "{}") -> None:
    """Write a Docker context as `docker context create` leaves it."""
    place = folder / "contexts" / "meta" / hashlib.sha256(name.encode()).hexdigest()
    place.mkdir(parents=True)
    endpoint = {"Name": name, "Metadata": {}, "Endpoints": {"docker": {"Host": f"unix://{folder}/{name}.sock"}}}
    (place / "meta.json").write_text(json.dumps(endpoint))
    (folder / "config.json").write_text(config)


@pytest.mark.parametrize(
    ("environ", "config", "named"),
    [
        ({"DOCKER_CONTEXT": "ours"}, "{}", True),
        ({}, '{"currentContext": "ours"}', True),
        ({"DOCKER_CONTEXT": "default"}, '{"currentContext": "nope"}', False),
        ({"DOCKER_HOST": "unix:///x", "DOCKER_CONTEXT": "nope"}, '{"currentContext": "nope"}', False),
        ({}, "{}", False),
        ({}, "no json", False),
        ({}, '{"currentContext": 5}', False),
    ],
)
def test_whether_a_context_says_where_the_engine_is(
    environ: dict[str, str], config: str, named: bool, tmp_path: Path
) -> None:
    context(tmp_path, "ours", config)
    assert engine.names_context({"DOCKER_CONFIG": str(tmp_path), **environ}) is named


@pytest.mark.parametrize(
    ("environ", "config"),
    [({"DOCKER_CONTEXT": "nope"}, "{}"), ({}, '{"currentContext": "nope"}'), ({"DOCKER_CONTEXT": "../ours"}, "{}")],
)
def test_a_context_that_is_not_there_is_no_other_engine(
    environ: dict[str, str], config: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context(tmp_path, "ours", config)
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.delenv("DOCKER_CONTEXT", raising=False)
    for name, value in {"DOCKER_CONFIG": str(tmp_path), **environ}.items():
        monkeypatch.setenv(name, value)
    # Not an absence of the image either, which others would take as a reason to go on.
    with pytest.raises(UsageError, match="names the Docker context") as caught:
        engine.inspect_local("a:1")
    assert "docker context ls" in str(caught.value.remedy)


def test_a_context_without_a_config_file_is_not_looked_for_at_home(tmp_path: Path) -> None:
    context(tmp_path, "ours")
    (tmp_path / "config.json").unlink()
    with pytest.raises(UsageError, match="'ours'"):
        engine.names_context({"DOCKER_CONFIG": str(tmp_path), "DOCKER_CONTEXT": "ours"})


@pytest.mark.parametrize(("config", "known"), [(None, False), ("{}", False), ("theirs", True)])
def test_the_engine_gets_only_the_credentials_of_docker_config(
    config: str | None, known: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    login = json.dumps({"auths": {"r.example.com": {"auth": base64.b64encode(b"bob:pw").decode()}}})
    (tmp_path / "home" / ".docker").mkdir(parents=True)
    (tmp_path / "home" / ".docker" / "config.json").write_text(login)
    (tmp_path / "ours").mkdir()
    if config is not None:
        (tmp_path / "ours" / "config.json").write_text(login if config == "theirs" else config)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "ours"))
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    monkeypatch.setattr(docker.api.APIClient, "_retrieve_server_version", lambda _self: "1.45")
    with engine.connect() as client:
        found = docker.auth.resolve_authconfig(vars(client.api)["_auth_configs"], "r.example.com")
    assert (found is not None) is known


@pytest.fixture
def socket_engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[dict[str, tuple[int, str]]]:
    """An engine at a socket: path → status and body of its answers."""
    answers: dict[str, tuple[int, str]] = {}

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            _, path, version = self.rfile.readline().decode().split()
            assert version == "HTTP/1.0", "the answer has to end with the connection"
            while self.rfile.readline().strip():
                pass
            status, body = answers[path]
            self.wfile.write(f"HTTP/1.0 {status} x\r\nContent-Type: application/json\r\n\r\n{body}".encode())

    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    # A path of a socket is short.
    with (
        tempfile.TemporaryDirectory() as folder,
        socketserver.ThreadingUnixStreamServer(f"{folder}/s", Handler) as server,
    ):
        monkeypatch.setenv("DOCKER_HOST", f"unix://{folder}/s")
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield answers
        server.shutdown()
        thread.join()


def test_an_image_is_looked_up_without_the_sdk(
    socket_engine: dict[str, tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Importing that takes longer than all else of a build in which nothing changed."""

    def connect(**_: object) -> None:
        raise EngineError("by the SDK")

    monkeypatch.setattr(engine, "connect", connect)
    image = '{"Id": "sha256:1", "Os": "linux", "Architecture": "arm64", "Variant": "v8"}'
    socket_engine["/images/127.0.0.1:5000/a%20b@sha256:1/json"] = 200, image
    socket_engine["/images/none/json"] = 404, '{"message": "No such image"}'
    found = engine.inspect_local("127.0.0.1:5000/a b@sha256:1")
    assert found is not None
    assert (found.id, found.platform) == ("sha256:1", "linux/arm64/v8")
    assert engine.inspect_local("none", required=True) is None
    # What else is the matter, the SDK says.
    for answer in ((500, '{"message": "sorry"}'), (200, "cut sho"), (200, "[]")):
        socket_engine["/images/none/json"] = answer
        with pytest.raises(EngineError, match="by the SDK"):
            engine.inspect_local("none", required=True)


@pytest.mark.parametrize("name", ["DOCKER_HOST", "DOCKER_CONTEXT"])
def test_an_engine_elsewhere_is_asked_by_the_sdk(
    name: str, socket_engine: dict[str, tuple[int, str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    socket_engine["/images/a:1/json"] = 404, ""
    assert engine.inspect_local("a:1", required=True) is None
    if name == "DOCKER_CONTEXT":
        monkeypatch.delenv("DOCKER_HOST")
    monkeypatch.setenv(name, "tcp://127.0.0.1:1" if name == "DOCKER_HOST" else "elsewhere")
    with pytest.raises((EngineError, UsageError)):
        engine.inspect_local("a:1", required=True)


@pytest.fixture
def no_engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Iterator[None]:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nothing.sock")
    yield
    # Only now: what the test caught holds frames, and these the socket. A later test would be blamed for it.
    gc.collect()


def test_the_address_of_the_engine_is_named_without_a_password(tmp_path: Any) -> None:
    assert engine.engine_address({"DOCKER_HOST": "tcp://me:s3cret@h:2376"}) == "tcp://…@h:2376, of DOCKER_HOST,"
    assert engine.engine_address({"DOCKER_CONFIG": str(tmp_path)}) == "unix:///var/run/docker.sock"
    assert engine.engine_address({"DOCKER_CONFIG": str(tmp_path), "DOCKER_CONTEXT": "gone"}).startswith("unix://")


# The SDK leaves a socket that could not connect to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.usefixtures("no_engine")
def test_no_engine_is_an_absence_or_an_error() -> None:
    assert engine.inspect_local("a:1") is None
    with pytest.raises(EngineError, match=r"at unix:///.*nothing\.sock, of DOCKER_HOST, does not answer: No such file"):
        engine.inspect_local("a:1", required=True)
    with pytest.raises(EngineError, match="does not answer"):
        engine.require_local("a:1")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.usefixtures("no_engine")
@pytest.mark.parametrize("kind", [TemporaryError, RegistryError])
def test_an_image_that_an_engine_might_have_is_not_the_registrys_fault_alone(
    kind: type[PackagerError],
) -> None:
    engine_first = r"^the engine at unix://.*, of DOCKER_HOST, does not answer: .*; and docker\.io"
    with pytest.raises(kind, match=engine_first) as caught, engine.engine_or_registry("ok:1"):
        raise kind("docker.io does not answer", remedy="try again")
    assert caught.value.remedy is not None
    assert caught.value.remedy.startswith("start Docker")
    assert caught.value.remedy.endswith("; or try again")
    registry_first = pytest.raises(kind, match=r"^it refuses; and the engine at .* does not answer: ")
    with registry_first, engine.engine_or_registry("registry.example.com/ml/ok:1"):
        raise kind("it refuses")


def test_where_an_engine_answers_the_registry_is_what_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "inspect_local", lambda reference, required: None)
    with pytest.raises(RegistryError, match=r"^there is no image$"), engine.engine_or_registry("ok:1"):
        raise RegistryError("there is no image")


def info(**changes: Any) -> EngineInfo:
    values: dict[str, Any] = {"version": "26", "api": "1.45", "platform": "linux/amd64", "containerd_store": False}
    return EngineInfo(**{**values, "buildkit": True, "buildx": "0.13", "platforms": (), **changes})


@pytest.mark.parametrize(
    ("found", "docker_program", "words"),
    [
        (info(), None, "not on PATH"),
        (info(buildx=None), "/usr/bin/docker", "docker-buildx"),
        (info(buildkit=False, version="20.10"), "/usr/bin/docker", "20.10 has no BuildKit"),
        (info(), "/usr/bin/docker", None),
    ],
)
def test_what_a_build_needs(
    found: EngineInfo, docker_program: str | None, words: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda _: docker_program)
    monkeypatch.setattr(engine, "look_at_engine", lambda: found)
    if words is None:
        assert engine.check_engine() == found
    else:
        with pytest.raises(EngineError) as caught:
            engine.check_engine()
        assert words in str(caught.value)
