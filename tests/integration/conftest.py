"""What integration tests stand on: a real engine, registry and package index, and the installed command line.

Where one of these is missing, the tests that ask for it are skipped, and the summary says so. With CI=true they fail.
`./scripts/engine` brings up engine, registry and base image.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, NoReturn, Protocol

import pytest
import requests
from uv import find_uv_bin

from packager.spec.model import Server
from tests.integration import conda_channel as conda_channels
from tests.integration.conda_server import ChannelServer
from tests.integration.podman import Podman
from tests.integration.tiny import make_tiny

MARKS = {"engine": "engine", "index": "network"}  # fixture: the mark of tests that use it
PORT = Server().port  # of a service in its container, where a spec names none
NO_ENGINE = {"DOCKER_HOST": "unix:///nonexistent/docker.sock"}
OLDEST_ENGINE = 23  # the first whose BuildKit knows `COPY --link`


class Engine(NamedTuple):
    """The Docker engine that answers."""

    version: str
    buildx: str


class Registry(NamedTuple):
    """A registry that asks for a password, over plain HTTP on this machine."""

    address: str
    user: str
    password: str


class RunPackager(Protocol):
    """Runs the installed command line as users do, in a process of its own."""

    def __call__(
        self,
        *args: str | os.PathLike[str],
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        check: bool = True,
        stdin: str = "",
        timeout: float = 600,
    ) -> subprocess.CompletedProcess[str]: ...


def missing(what: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what}; with CI=true nothing may be missing", pytrace=False)
    pytest.skip(what)


def output(*command: str, stdin: str = "", timeout: float = 60) -> str | None:
    """What a command prints, or None when it fails."""
    try:
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=timeout, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


@pytest.fixture(scope="session")
def engine() -> Engine:
    version = output("docker", "version", "--format", "{{.Server.Version}}")
    if not version:
        missing("no Docker engine answers (run ./scripts/engine)")
    if int(version.partition(".")[0]) < OLDEST_ENGINE:
        missing(f"Docker Engine {version} is older than {OLDEST_ENGINE}")
    buildx = output("docker", "buildx", "version")
    if not buildx:
        missing("docker has no buildx plugin (run ./scripts/engine)")
    return Engine(version, buildx)


@pytest.fixture(scope="session")
def registry() -> Registry:
    found = Registry(
        os.environ.get("PACKAGER_TEST_REGISTRY", "127.0.0.1:5000"),
        os.environ.get("PACKAGER_TEST_REGISTRY_USER", "alice"),
        os.environ.get("PACKAGER_TEST_REGISTRY_PASSWORD", "s3cret"),
    )
    try:
        answer = requests.get(f"http://{found.address}/v2/", auth=(found.user, found.password), timeout=10)
    except requests.RequestException:
        missing(f"no registry answers on {found.address} (run ./scripts/engine)")
    if answer.status_code != requests.codes.ok:
        missing(f"the registry on {found.address} does not let {found.user} in (status {answer.status_code})")
    return found


@pytest.fixture(scope="session")
def docker_config(engine: Engine, registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for DOCKER_CONFIG that is logged in to the registry; the user's own stays untouched."""
    theirs = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")
    ours = tmp_path_factory.mktemp("docker-config")
    # Their configuration may also choose the engine and bring buildx.
    host = os.environ.get("DOCKER_HOST") or output(
        "docker", "context", "inspect", "--format", "{{.Endpoints.docker.Host}}"
    )
    if (theirs / "cli-plugins").is_dir():
        (ours / "cli-plugins").symlink_to(theirs / "cli-plugins")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_CONFIG", str(ours))
        if host:
            patch.setenv("DOCKER_HOST", host)
        login = ["docker", "login", "--username", registry.user, "--password-stdin", registry.address]
        if output(*login, stdin=registry.password) is None:
            pytest.fail(f"cannot log in: {' '.join(login)}", pytrace=False)
        yield ours


@pytest.fixture(scope="module")
def podman(docker_config: Path) -> Iterator[Podman]:
    """Podman with storage of its own, used by one module at a time.

    Its folder has a short name: with a `runroot` of more than 50 characters Podman starts no container again.
    """
    if not Podman.is_there():
        missing("no Podman for root (run ./scripts/engine)")
    with (
        tempfile.TemporaryDirectory(prefix="podman-", dir="/tmp") as folder,
        Podman(Path(folder), docker_config / "config.json") as podman,
    ):
        yield podman


@pytest.fixture(scope="session")
def base_image(engine: Engine) -> str:
    """The local stand-in for the official Python image."""
    reference = os.environ.get("PACKAGER_TEST_BASE", "local/python:3.13-slim")
    if output("docker", "image", "inspect", reference) is None:
        missing(f"the base image {reference} is missing (run ./scripts/engine)")
    return reference


@pytest.fixture(scope="session")
def base_archive() -> Path:
    """The local stand-in for the official Python image as an OCI archive, for linux/amd64 and linux/arm64."""
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    path = Path(os.environ.get("PACKAGER_TEST_BASE_ARCHIVE") or caches / "packager-engine/base.oci.tar")
    if not path.is_file():
        missing(f"there is no base archive {path} (run ./scripts/engine base)")
    return path


@pytest.fixture(scope="session")
def conda_channel(base_archive: Path, index: None) -> Path:
    """A folder with conda channels: `forge`, its label `forge/label/dev`, and `other`. Made once, and kept."""
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return conda_channels.channels(caches / "packager-engine", base_archive)


@pytest.fixture
def channel_server(conda_channel: Path) -> Iterator[ChannelServer]:
    """A web server of its own for each test, with the channels; it fails as it is told."""
    with ChannelServer(conda_channel) as server:
        yield server


@pytest.fixture(scope="session")
def emulation(engine: Engine) -> None:
    """What runs programs of linux/arm64. Engines in a virtual machine of their own bring it."""
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        return
    try:
        works = Path("/proc/sys/fs/binfmt_misc/qemu-aarch64").read_text().startswith("enabled")
    except OSError:
        works = False
    if not works:
        missing("this machine does not emulate linux/arm64 (run ./scripts/engine)")


@pytest.fixture
def removed() -> Iterator[list[str]]:
    """References and containers that are removed after the test."""
    names: list[str] = []
    yield names
    for name in names:
        subprocess.run(["docker", "rm", "--force", name], capture_output=True, check=False)
        subprocess.run(["docker", "image", "rm", "--force", name], capture_output=True, check=False)


@pytest.fixture(scope="module")
def buildah(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """The start of every command of Debian's buildah, with a storage of its own."""
    if os.geteuid() != 0 or shutil.which("buildah") is None:
        missing("buildah is not here, or not for this user (as root on Debian, ./scripts/engine installs it)")
    storage = tmp_path_factory.mktemp("buildah")
    words = ["buildah", "--root", str(storage / "root"), "--runroot", str(storage / "run")]
    works = output(*words, "--storage-driver", "overlay", "info") is not None
    words += ["--storage-driver", "overlay" if works else "vfs"]
    yield words
    subprocess.run([*words, "rm", "--all"], capture_output=True, check=False)
    subprocess.run([*words, "rmi", "--all", "--force"], capture_output=True, check=False)


@pytest.fixture(scope="session")
def index() -> None:
    """A Python package index, as uv is set up to find it."""
    if not output(find_uv_bin(), "pip", "compile", "--quiet", "--no-deps", "-", stdin="click\n"):
        missing("no Python package index is in reach of uv (`echo click | uv pip compile -` says why)")


@pytest.fixture(scope="session")
def run_packager(tmp_path_factory: pytest.TempPathFactory) -> RunPackager:
    # packager's own store starts empty and is left behind for nobody; uv's downloads are worth keeping.
    # A crash of a program with compiled parts says where it was.
    caches = {"XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache")), "PYTHONFAULTHANDLER": "1"}
    downloads = output(find_uv_bin(), "cache", "dir")
    if downloads:
        caches["UV_CACHE_DIR"] = downloads

    def run(
        *args: str | os.PathLike[str],
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        check: bool = True,
        stdin: str = "",
        timeout: float = 600,
    ) -> subprocess.CompletedProcess[str]:
        words = [os.fspath(arg) for arg in args]
        done = subprocess.run(
            [sys.executable, "-m", "packager", *words],
            cwd=cwd,
            env={**os.environ, **caches, **(env or {})},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check and done.returncode:
            said = done.stdout + done.stderr
            pytest.fail(f"packager {' '.join(words)}: exit code {done.returncode}\n{said}", pytrace=False)
        return done

    return run


@pytest.fixture(scope="session")
def locked_tiny(index: None, run_packager: RunPackager, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny package, locked for linux/amd64 and linux/arm64; to be copied."""
    folder = make_tiny(tmp_path_factory.mktemp("locked") / "tiny")
    run_packager("lock", cwd=folder, env=NO_ENGINE)
    return folder


@pytest.fixture
def tiny(locked_tiny: Path, tmp_path: Path) -> Path:
    """The tiny package, locked."""
    return Path(shutil.copytree(locked_tiny, tmp_path / "tiny"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test by what it uses, so that `-m "not engine"` can be trusted."""
    for item in items:
        for fixture, mark in MARKS.items():
            if fixture in getattr(item, "fixturenames", ()):
                item.add_marker(mark)


@pytest.fixture(autouse=True)
def marks_are_kept(request: pytest.FixtureRequest) -> None:
    """A test that is marked gets what its mark stands for, whether or not it names the fixture."""
    for fixture, mark in MARKS.items():
        if request.node.get_closest_marker(mark):
            request.getfixturevalue(fixture)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say in one line for each reason what was not tested."""
    skipped: Counter[tuple[str, str]] = Counter()
    for report in terminalreporter.getreports("skipped"):
        marks = [mark for mark in MARKS.values() if mark in report.keywords]
        if marks and isinstance(report.longrepr, tuple):
            skipped[" and ".join(marks), report.longrepr[2].removeprefix("Skipped: ")] += 1
    for (marks_text, reason), count in sorted(skipped.items()):
        terminalreporter.write_line(f"NOT TESTED: {count} {marks_text} test(s) skipped: {reason}", yellow=True)
