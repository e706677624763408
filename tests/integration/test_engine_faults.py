"""What goes wrong between us, the engine and a registry: real ones, and one registry that fails on purpose."""

import base64
import http.server
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from packager.engine.buildx import BuildRequest, Built, build
from packager.errors import EngineError, PackagerError, RegistryError, TemporaryError

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("docker_config")]

EPOCH = 315532800

SERVER = """\
import http.server, os, signal, sys, time

mode = os.environ.get("MODE")
print("starting", mode, flush=True)
if mode == "fail":
    print("Exception: init() did not find its model", flush=True)
    sys.exit(3)
if mode == "hungry":
    everything = [bytearray(10_000_000) for _ in range(100)]
if mode == "slow":
    time.sleep(60)

class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self):
        self.answer(b"Healthy")
    def do_POST(self):
        self.answer(self.rfile.read(int(self.headers["Content-Length"])))

signal.signal(signal.SIGTERM, lambda *_: (print("graceful", flush=True), sys.exit(0)))
http.server.ThreadingHTTPServer(("", 5001), Handler).serve_forever()
"""


def docker(*words: str) -> str:
    return subprocess.run(["docker", *words], capture_output=True, text=True, check=True).stdout.strip()


def built(folder: Path, dockerfile: str, **changes: Any) -> Built:
    """Build a Dockerfile that stands alone, quietly."""
    (folder / "Dockerfile").write_text(dockerfile)
    values = {"tags": (), "platform": "linux/amd64", "progress": "quiet", "source_date_epoch": EPOCH, **changes}
    return build(BuildRequest(context=folder, **values))


@pytest.fixture(scope="module")
def image(base_image: str, docker_config: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service without any environment, which starts at once."""
    folder = tmp_path_factory.mktemp("service")
    (folder / "server.py").write_text(SERVER)
    reference = f"packager-test/service:{uuid4().hex[:8]}"
    built(
        folder,
        f"FROM {base_image}\nCOPY server.py /\nEXPOSE 5001\nUSER 1000:1000\n"
        'ENTRYPOINT ["python3", "-u", "/server.py"]\n',
        tags=(reference,),
    )
    yield reference
    left = containers(reference)
    docker("image", "rm", "--force", reference)
    assert not left, "a container was left behind"


def containers(reference: str) -> list[str]:
    return docker("ps", "--all", "--quiet", "--filter", f"ancestor={reference}").split()


@pytest.fixture
def named(image: str) -> Iterator[Callable[[str], str]]:
    """Gives the image another name, for as long as the test runs."""
    names: list[str] = []

    def name(reference: str) -> str:
        docker("tag", image, reference)
        names.append(reference)
        return reference

    yield name
    docker("image", "rm", *names)


def login(folder: Path, registry: str, user: str, password: str) -> dict[str, str]:
    """A Docker configuration of its own, with these credentials."""
    auth = base64.b64encode(f"{user}:{password}".encode()).decode()
    (folder / "config.json").write_text(json.dumps({"auths": {registry: {"auth": auth}}}))
    return {"DOCKER_CONFIG": str(folder)}


class FailingRegistry(http.server.BaseHTTPRequestHandler):
    """Has every blob and takes no manifest, so that the engine does not spend a minute on trying uploads again."""

    protocol_version = "HTTP/1.1"

    def say(self, status: int) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(status)
        self.send_header("Content-Length", "0")
        if "/blobs/" in self.path:
            self.send_header("Docker-Content-Digest", self.path.rpartition("/")[2])
        self.end_headers()

    def do_GET(self) -> None:
        self.say(200 if self.path == "/v2/" else 500)

    def do_HEAD(self) -> None:
        self.say(200 if "/blobs/" in self.path else 500)

    def do_PUT(self) -> None:
        self.say(500)

    def do_POST(self) -> None:
        self.say(500)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def failing_registry() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), FailingRegistry) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


# push


def test_push_tells_digests_and_counts_layers(registry: Any, named: Any, run_packager: Any) -> None:
    repository = f"{registry.address}/packager-test/{uuid4().hex[:8]}"
    first, second = named(f"{repository}:1"), named(f"{repository}:2")
    results = json.loads(run_packager("push", "--format", "json", first, second).stdout)
    assert [each["reference"] for each in results] == [first, second]
    assert results[0]["digest"] == results[1]["digest"]
    assert results[0]["uploaded"] + results[0]["present"] == 2
    assert (results[1]["uploaded"], results[1]["present"]) == (0, 2)
    assert (
        docker("image", "inspect", "--format", "{{.RepoDigests}}", first)
        == f"[{results[0]['image'].replace(':1@', '@')}]"
    )
    assert run_packager("push", first).stdout == f"{first}@{results[0]['digest']}\n"


def test_a_wrong_password(registry: Any, named: Any, run_packager: Any, tmp_path: Path) -> None:
    reference = named(f"{registry.address}/packager-test/denied:1")
    env = login(tmp_path, registry.address, registry.user, "wrong")
    done = run_packager("push", reference, env=env, check=False)
    assert (done.returncode, done.stdout) == (7, "")
    assert f"docker login {registry.address}" in done.stderr
    assert "Traceback" not in done.stderr


def test_no_password(registry: Any, named: Any, run_packager: Any, tmp_path: Path) -> None:
    reference = named(f"{registry.address}/packager-test/denied:2")
    done = run_packager("push", reference, env={"DOCKER_CONFIG": str(tmp_path)}, check=False)
    assert done.returncode == 7
    assert f"docker login {registry.address}" in done.stderr


def test_a_credential_helper_that_is_not_installed(
    registry: Any, named: Any, run_packager: Any, tmp_path: Path
) -> None:
    reference = named(f"{registry.address}/packager-test/denied:3")
    (tmp_path / "config.json").write_text('{"credsStore": "no-such-helper"}')
    done = run_packager("push", reference, env={"DOCKER_CONFIG": str(tmp_path)}, check=False)
    assert done.returncode == 7
    assert "docker-credential-no-such-helper" in done.stderr


def test_a_registry_in_trouble(failing_registry: str, named: Any, run_packager: Any) -> None:
    done = run_packager("push", named(f"{failing_registry}/a/b:1"), check=False)
    assert done.returncode == 75
    assert "500" in done.stderr


def test_a_registry_that_is_not_there(named: Any, run_packager: Any) -> None:
    done = run_packager("push", named("127.0.0.1:1/a/b:1"), check=False)
    assert done.returncode == 75
    assert "connection refused" in done.stderr


def test_an_image_that_was_not_built(run_packager: Any) -> None:
    for verb in ("push", "run"):
        done = run_packager(verb, "packager-test/no-such:1", check=False)
        assert done.returncode == 7
        assert "packager build" in done.stderr


# no engine


def test_no_engine(run_packager: Any, tmp_path: Path) -> None:
    env = {"DOCKER_HOST": f"unix://{tmp_path}/nothing.sock"}
    for verb in ("push", "run"):
        done = run_packager(verb, "packager-test/a:1", env=env, check=False)
        assert done.returncode == 7
        assert "DOCKER_HOST" in done.stderr
    with pytest.raises(EngineError, match="does not answer"):
        build_with({**os.environ, **env}, tmp_path)
    assert run_packager("doctor", env=env).returncode == 0


def test_no_docker_program(run_packager: Any, tmp_path: Path) -> None:
    env = {"PATH": str(tmp_path)}
    with pytest.raises(EngineError, match="not on PATH"):
        build_with({**os.environ, **env}, tmp_path)
    assert "is not on PATH" in run_packager("doctor", env=env).stdout


def build_with(environ: dict[str, str], folder: Path) -> Built:
    (folder / "Dockerfile").write_text("FROM scratch\n")
    request = BuildRequest(context=folder, tags=(), platform="linux/amd64", progress="quiet", source_date_epoch=EPOCH)
    return build(request, environ)


# build


def test_the_digest_is_that_of_the_registry(registry: Any, base_image: str, tmp_path: Path) -> None:
    reference = f"{registry.address}/packager-test/{uuid4().hex[:8]}:1"
    made = built(tmp_path, f"FROM {base_image}\nENV A=b\n", tags=(reference,), push=True)
    try:
        assert made.pushed
        assert made.digest != made.image_id
        digests = docker("image", "inspect", "--format", "{{.RepoDigests}}", reference)
        assert made.digest in digests
        again = built(tmp_path, f"FROM {base_image}\nENV A=b\n", tags=(reference,), push=True, no_cache=True)
        assert again == made
    finally:
        docker("image", "rm", reference)


def test_a_base_that_is_nowhere(registry: Any, tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match=r"the base image \S+/no/such:1 is not at"):
        built(tmp_path, f"FROM {registry.address}/no/such:1\n")


def test_a_base_behind_a_password(registry: Any, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(f"FROM {registry.address}/no/such:1\n")
    request = BuildRequest(context=tmp_path, tags=(), platform="linux/amd64", progress="quiet", source_date_epoch=EPOCH)
    with pytest.raises(RegistryError) as caught:
        build(request, {**os.environ, **login(tmp_path, registry.address, registry.user, "wrong")})
    assert f"docker login {registry.address}" in str(caught.value)


def test_a_base_at_a_closed_port(tmp_path: Path) -> None:
    with pytest.raises(TemporaryError, match="connection refused"):
        built(tmp_path, "FROM 127.0.0.1:1/no/such:1\n")


@pytest.mark.parametrize(
    ("step", "kind", "words"),
    [
        ("RUN seq 1 40; echo bad news >&2; exit 9", EngineError, "exit code 9"),
        ("RUN --mount=type=tmpfs,target=/x,size=100000 head -c 1000000 /dev/zero > /x/y", EngineError, "disk is full"),
        ("RUN python3 -c \"import urllib.request as r; r.urlopen('http://127.0.0.1:1/')\"", TemporaryError, "network"),
        ("COPY foreign /bin/sh\nRUN true", EngineError, "binfmt"),
    ],
)
def test_a_step_that_fails(step: str, kind: type[PackagerError], words: str, base_image: str, tmp_path: Path) -> None:
    # The header of a program for s390x, which nothing here can run.
    header = struct.pack(">4sBBB9xHHIQQQIHHHHHH", b"\x7fELF", 2, 2, 1, 2, 22, 1, 1 << 24, 64, 0, 0, 64, 56, 0, 0, 0, 0)
    (tmp_path / "foreign").write_bytes(header)
    (tmp_path / "foreign").chmod(0o755)
    with pytest.raises(kind) as caught:
        built(tmp_path, f"FROM {base_image}\n{step}\n")
    assert type(caught.value) is kind
    assert words in str(caught.value)


def test_secrets_reach_a_step_and_nothing_else(base_image: str, tmp_path: Path) -> None:
    token = f"token-{uuid4().hex}"
    (tmp_path / "Dockerfile").write_text(
        f"FROM {base_image}\n"
        "RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf grep -q token- /etc/pip.conf && touch /seen\n"
    )
    request = BuildRequest(
        context=tmp_path,
        tags=(),
        platform="linux/amd64",
        progress="quiet",
        source_date_epoch=EPOCH,
        no_cache=True,
        metadata_file=tmp_path / "metadata.json",
    )
    made = build(request, {**os.environ, "PIP_INDEX_URL": f"https://user:{token}@index.example.com/simple"})
    try:
        assert token not in (tmp_path / "metadata.json").read_text()
        assert token not in docker("history", "--no-trunc", made.image_id) + docker("inspect", made.image_id)
    finally:
        docker("image", "rm", "--force", made.image_id)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_build_leaves_nothing(number: int, base_image: str, tmp_path: Path) -> None:
    seconds = str(100_000 + uuid4().int % 100_000)
    (tmp_path / "Dockerfile").write_text(f"FROM {base_image}\nRUN sleep {seconds}\n")
    program = (
        "import sys\nfrom pathlib import Path\nfrom packager.engine.buildx import BuildRequest, build\n"
        "build(BuildRequest(context=Path(sys.argv[1]), tags=(), platform='linux/amd64', source_date_epoch=0))\n"
    )
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        env={**os.environ, "TMPDIR": str(temporary)},
        stderr=subprocess.DEVNULL,
    )
    until(lambda: f"sleep {seconds}" in processes())
    process.send_signal(number)
    assert process.wait(timeout=20) == -signal.SIGINT  # how Python ends of a KeyboardInterrupt
    until(lambda: f"sleep {seconds}" not in processes())
    assert str(tmp_path) not in processes()
    assert not list(temporary.iterdir())


def processes() -> str:
    return subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.1)


# run


def test_run_detached_and_score(image: str, run_packager: Any) -> None:
    done = run_packager("run", image, "-d", "-p", "0:5001", "--format", "json")
    started = json.loads(done.stdout)
    try:
        assert f"docker rm --force --volumes {started['name']}" in done.stderr
        answer = run_packager("score", "--data", "-", "--url", started["urls"]["score"], stdin='{"data": [1]}')
        assert answer.stdout == '{"data": [1]}'
        settings = json.loads(docker("inspect", started["container"]))[0]["HostConfig"]
        assert settings["ReadonlyRootfs"]
        assert settings["CapDrop"] == ["ALL"]
        assert settings["SecurityOpt"] == ["no-new-privileges"]
        assert settings["PortBindings"]["5001/tcp"][0]["HostIp"] == "127.0.0.1"
        # The port that it got is taken now.
        port = started["urls"]["root"].rstrip("/").rpartition(":")[2]
        taken = run_packager("run", image, "-p", f"{port}:5001", check=False)
        assert taken.returncode == 7
        assert f"port {port} is taken" in taken.stderr
        assert len(containers(image)) == 1
        # And so is the name; the container that has it stays.
        same = run_packager("run", image, "-p", "0:5001", "--name", started["name"], check=False)
        assert same.returncode == 7
        assert len(containers(image)) == 1
    finally:
        docker("rm", "--force", started["container"])
    gone = run_packager("score", "--data", "-", "--url", started["urls"]["score"], check=False)
    assert gone.returncode == 8
    assert "packager run" in gone.stderr


def test_a_port_that_another_program_has(image: str, run_packager: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        done = run_packager("run", image, "-p", f"{port}:5001", check=False)
    assert done.returncode == 7
    assert f"port {port} is taken" in done.stderr
    assert not containers(image)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("-e", "MODE=fail"), ("init()", "did not find its model")),
        (("-e", "MODE=hungry", "--memory", "100m"), ("out of memory",)),
        (("-e", "MODE=slow", "--timeout", "1"), ("within 1 s", "starting slow")),
    ],
)
def test_a_service_that_does_not_start(
    options: tuple[str, ...], words: tuple[str, ...], image: str, run_packager: Any
) -> None:
    done = run_packager("run", image, "-p", "0:5001", *options, check=False)
    assert (done.returncode, done.stdout) == (8, "")
    assert all(word in done.stderr for word in words)
    assert not containers(image)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_service_gracefully(number: int, image: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "packager", "run", image, "-p", "0:5001"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("http://127.0.0.1:")
    process.send_signal(number)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "starting" in said
    assert not containers(image)


def test_what_a_killed_run_left_behind_goes_with_the_next(image: str, run_packager: Any) -> None:
    words = [sys.executable, "-m", "packager", "run", image, "-p", "0:5001"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    with process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("http://127.0.0.1:")
        (left,) = containers(image)
        process.kill()
    assert containers(image) == [left], "nobody was told of the kill"
    run_packager("run", image, "-p", "0:5001", "-e", "MODE=fail", check=False)
    assert not containers(image)


def test_a_port_on_which_nobody_listens_is_not_published(image: str, run_packager: Any) -> None:
    done = run_packager("run", image, "-p", "7711:80", check=False)
    assert done.returncode == 2
    assert "-p 7711:5001" in done.stderr
    assert not containers(image)


def test_a_signal_before_it_is_healthy(image: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "packager", "run", image, "-p", "0:5001", "-e", "MODE=slow"], stderr=subprocess.DEVNULL
    )
    until(lambda: bool(containers(image)))
    start = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 130
    assert time.monotonic() - start < 5  # nothing is in flight yet, so nothing is waited for
    assert not containers(image)


def test_a_service_that_ends_while_we_watch(image: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "packager", "run", image, "-p", "0:5001"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    docker("kill", *containers(image))
    _, said = process.communicate(timeout=30)
    assert process.returncode == 8
    assert "killed" in said
    assert not containers(image)
