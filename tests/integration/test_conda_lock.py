"""`packager lock` of conda environments with real solvers, on real channels that are served on this machine."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from packager.environments.conda import CondaPackage, LockedConda
from packager.environments.locks.status import read_inputs
from packager.spec import load_spec
from tests.integration.conda_server import ChannelServer

AMD, ARM = "linux/amd64", "linux/arm64"
SPEC = """\
name: small
version: "1"
entry_script: score.py
environment: environment.yml
targets: {cpu: {platforms: [linux/amd64, linux/arm64]}}
"""
ENVIRONMENT = """\
channels: [CHANNEL]
dependencies:
- python=3.13
- fastmath
- scikit-learn
- python-flatbuffers
- python-graphviz
- pip:
  - numpy>=2
  - six
"""
# A channel whose host is nowhere: only mirrors can answer for it.
NOWHERE = "https://conda.example.invalid/team"

Files = dict[str, tuple[bytes, int]]


def write(folder: Path, channel: str, environment: str = ENVIRONMENT, spec: str = SPEC) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "packager.yaml").write_text(spec)
    (folder / "environment.yml").write_text(environment.replace("CHANNEL", channel))
    (folder / "score.py").write_text("def init(): ...\ndef run(data): ...\n")
    return folder


def asking(*specs: str, channels: str = '"CHANNEL"') -> str:
    """An environment that asks for python and these."""
    lines = "".join(f"- {each}\n" for each in ("python=3.13", *specs))
    return f"channels: [{channels}]\ndependencies:\n{lines}"


def files(folder: Path) -> Files:
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def locked_packages(folder: Path) -> dict[tuple[str, str], CondaPackage]:
    spec_file = load_spec(folder)
    packages = read_inputs(spec_file, "cpu").lock.conda_packages
    return {(each.name, each.platform): each for each in packages}


Lock = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, conda_channel: Path, run_packager: Any) -> tuple[Path, int]:
    """A folder with a lock, and the port of the server that it was made from, which is gone."""
    folder = tmp_path_factory.mktemp("made")
    with ChannelServer(conda_channel) as server:
        write(folder, f"{server.url}/forge")
        run_packager("lock", cwd=folder, env={"RATTLER_CACHE_DIR": str(folder.parent / "rattler")})
        return folder, server.port


@pytest.fixture
def lock(made: tuple[Path, int], run_packager: Any, tmp_path: Path) -> Lock:
    """Runs `packager lock` with a cache of channels of its own. What uv needs is cached by now, and asked no more."""

    def run(folder: Path, *args: str, status: int = 0, **env: str) -> subprocess.CompletedProcess[str]:
        caches = {"RATTLER_CACHE_DIR": str(tmp_path / "rattler"), "HOME": str(tmp_path), "UV_OFFLINE": "1"}
        done: subprocess.CompletedProcess[str] = run_packager(
            "lock", *args, cwd=folder, check=False, env={**caches, **env}
        )
        assert done.returncode == status, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    return run


@pytest.fixture
def locked(made: tuple[Path, int], tmp_path: Path) -> Path:
    """A folder with a fresh lock, for each test its own; its channel is down."""
    return Path(shutil.copytree(made[0], tmp_path / "locked"))


@pytest.fixture
def channel(made: tuple[Path, int], channel_server: ChannelServer) -> ChannelServer:
    """The channel of `locked`, up again."""
    channel_server.stop()
    channel_server.port = made[1]
    channel_server.start()
    return channel_server


# --- what is locked ---------------------------------------------------------------------------------------------------


def test_two_platforms(locked: Path) -> None:
    found = locked_packages(locked)
    assert {name for name, platform in found if platform == AMD} == {
        name for name, platform in found if platform == ARM
    }
    numpy = found["numpy", ARM]
    assert numpy.subdir == "linux-aarch64"
    assert re.fullmatch("[0-9a-f]{64}", numpy.sha256)
    assert found["numpy", AMD].sha256 != numpy.sha256
    assert found["joblib", AMD].sha256 == found["joblib", ARM].sha256, "one file of noarch"
    assert {each.build for (name, _), each in found.items() if name == "fastmath"} == {"cpu_0"}
    assert all(each.sha256 and each.md5 for each in found.values())


def test_pips_half_is_solved_around_conda(locked: Path) -> None:
    lock = read_inputs(load_spec(locked), "cpu").lock
    target, packages, text = lock.locked, lock.packages, lock.requirements
    assert isinstance(target.conda, LockedConda)
    assert target.conda.provides["flatbuffers"] == "python-flatbuffers", "as its record says"
    assert target.conda.provides["graphviz"] == "python-graphviz", "as packager's map says"
    names = {each.name for each in packages}
    assert {"six", "azureml-inference-server-http"} <= names
    assert not names & set(target.conda.provides)
    assert "+conda" not in text


def test_cuda_is_the_targets_and_never_the_machines(locked: Path, channel: ChannelServer, lock: Lock) -> None:
    spec = SPEC.replace("arm64]", 'arm64], virtual_packages: {__cuda: "12.4"}')
    (locked / "packager.yaml").write_text(spec)
    lock(locked, CONDA_OVERRIDE_GLIBC="1.0")
    found = locked_packages(locked)
    assert {each.build for (name, _), each in found.items() if name == "fastmath"} == {"cuda_0"}
    (locked / "packager.yaml").write_text(SPEC)
    done = lock(locked, CONDA_OVERRIDE_CUDA="12.4")
    assert "conda fastmath 1.0 cuda_0 -> 1.0 cpu_0" in done.stdout
    assert "conda numpy" not in done.stdout, "what still fits stays"


def test_nothing_changed_needs_no_channel(locked: Path, lock: Lock, tmp_path: Path) -> None:
    before = files(locked)
    for args in ([], ["--offline"], ["--check"]):
        done = lock(locked, *args, PATH="/nowhere", UV_CACHE_DIR=str(tmp_path / "empty"))
        assert done.stdout in ("unchanged\n", "fresh\n")
        assert done.stderr == ""
    assert files(locked) == before
    assert not (tmp_path / "rattler").exists()


def test_only_pip_changed_needs_no_channel(locked: Path, lock: Lock) -> None:
    (locked / "environment.yml").write_text(
        (locked / "environment.yml").read_text().replace("- six\n", "- six==1.16.0\n")
    )
    done = lock(locked, UV_OFFLINE="0")
    assert "conda packages" not in done.stderr
    assert "packager.lock" in done.stdout
    assert "conda-lock.yml" not in done.stdout


def test_the_same_again_gives_the_same_bytes(locked: Path, channel: ChannelServer, lock: Lock) -> None:
    def contents() -> dict[str, bytes]:
        # A lock from scratch has another time, at which what it holds last changed.
        found = {name: content for name, (content, _) in files(locked).items()}
        return {name: re.sub(rb'"changed": "[^"]+"', b"", content) for name, content in found.items()}

    before = contents()
    shutil.rmtree(locked / "locks")
    (locked / "packager.lock").unlink()
    lock(locked)
    assert contents() == before


def test_versions_stay_until_they_are_upgraded(channel_server: ChannelServer, lock: Lock, tmp_path: Path) -> None:
    folder = write(tmp_path / "a", f"{channel_server.url}/forge", asking("greeting=1.0"))
    lock(folder)
    write(folder, f"{channel_server.url}/forge", asking("greeting"))
    assert json.loads(lock(folder, "--format", "json").stdout)["targets"]["cpu"]["conda"]["packages"] == []
    assert lock(folder, "--upgrade", "python").stdout == "unchanged\n"
    assert "  conda greeting 1.0 -> 2.0\n" in lock(folder, "--upgrade", "greeting").stdout


def test_channels_and_their_order(channel_server: ChannelServer, lock: Lock, tmp_path: Path) -> None:
    forge, other = (f"{channel_server.url}/{each}" for each in ("forge", "other"))
    spec = SPEC.replace(", linux/arm64", "")
    for specs, channels, version in (
        (["greeting"], f"{forge}, {other}, nodefaults", "2.0"),
        (["greeting"], f"{other}, {forge}", "3.0"),
        ([f"{other}::greeting"], forge, "3.0"),
        (["greeting"], f"{forge}/label/dev, {forge}", "4.0"),
    ):
        folder = write(tmp_path / "a", forge, asking(*specs, channels=channels), spec)
        lock(folder)
        assert locked_packages(folder)["greeting", AMD].version == version, channels
    write(folder, forge, asking("greeting>=3", channels=f"{forge}, {other}"), spec)
    done = lock(folder, status=3)
    assert "due to strict channel priority" in done.stderr
    (folder / "packager.yaml").write_text(spec + "conda: {channel_priority: flexible}\n")
    lock(folder)
    assert locked_packages(folder)["greeting", AMD].channel == other, "strict, and only then without priority"


def test_a_folder_as_channel_and_digests_that_it_does_not_name(conda_channel: Path, lock: Lock, tmp_path: Path) -> None:
    forge = (conda_channel / "forge").as_uri()
    folder = write(tmp_path / "a", forge, asking("md5-only", "no-hashes"))
    lock(folder)
    found = locked_packages(folder)["md5-only", AMD]
    assert found.file_name.endswith(".tar.bz2")
    assert len(found.sha256) == 64


def test_offline_takes_the_cache_or_says_what_it_lacks(
    channel_server: ChannelServer, lock: Lock, tmp_path: Path
) -> None:
    folder = write(tmp_path / "a", f"{channel_server.url}/forge", asking("greeting=1.0"))
    done = lock(folder, "--offline", status=3)
    assert f"the channel {channel_server.url}/forge cannot be read offline" in done.stderr
    lock(folder)
    channel_server.stop()
    write(folder, f"{channel_server.url}/forge", asking("greeting=2.0"))
    assert "conda greeting 1.0 -> 2.0" in lock(folder, "--offline").stdout


# --- conda-lock on our lock -------------------------------------------------------------------------------------------


def conda_lock(folder: Path, *args: str, **env: str) -> str:
    command = [sys.executable, "-m", "conda_lock", *args]
    done = subprocess.run(command, cwd=folder, env={**os.environ, **env}, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_conda_lock_renders_and_installs_it(locked: Path, tmp_path: Path) -> None:
    found = locked_packages(locked)
    lock_file = str(locked / "locks/cpu.conda-lock.yml")
    conda_lock(tmp_path, "render", "--kind", "explicit", "--platform", "linux-aarch64", lock_file)
    lines = (tmp_path / "conda-linux-aarch64.lock").read_text().splitlines()
    urls = lines[lines.index("@EXPLICIT") + 1 :]
    assert sorted(urls) == sorted(f"{each.url}#{each.md5}" for (_, on), each in found.items() if on == ARM)
    # The order is that of installing: what something needs comes before it.
    assert [at for at, url in enumerate(urls) if "/python-3" in url] < [
        at for at, url in enumerate(urls) if "numpy" in url
    ]
    # No conda, mamba or micromamba is in reach here: this one writes down what it is asked, and installs nothing.
    fake = executable(
        tmp_path, "import shutil, sys\nfile = sys.argv[sys.argv.index('--file') + 1]\nshutil.copy(file, 'asked')"
    )
    conda_lock(
        tmp_path,
        "install",
        "--conda",
        str(fake),
        "--prefix",
        str(tmp_path / "env"),
        "--force-platform",
        "linux-64",
        lock_file,
    )
    asked = (tmp_path / "asked").read_text()
    assert f"{found['numpy', AMD].url}#{found['numpy', AMD].md5}\n" in asked


def executable(folder: Path, code: str) -> Path:
    path = folder / "micromamba"
    version = "import sys\nif '--version' in sys.argv:\n    print('2.3.3')\n    sys.exit()\n"
    path.write_text(f"#!{sys.executable}\n{version}{textwrap.dedent(code)}\n")
    path.chmod(0o755)
    return path


# The part of micromamba's command line that conda-lock uses to solve, on rattler. The channel that conda-lock makes for
# the virtual packages is a channel like others to it.
SOLVING = """
import asyncio, json, os
from rattler import solve
words, channels, specs = iter(sys.argv[2:]), [], []
for word in words:
    if word == "--channel":
        channels.append(next(words))
    elif word == "--prefix":
        next(words)
    elif not word.startswith("--"):
        specs.append(word)
try:
    records = asyncio.run(solve(channels, specs, platforms=[os.environ["CONDA_SUBDIR"], "noarch"]))
    answer = {"actions": {"FETCH": [json.loads(each.to_json()) for each in records], "LINK": []}}
except Exception as error:
    answer = {"success": False, "message": str(error)}
print(json.dumps(answer), flush=True)
os._exit("message" in answer)
"""


def test_the_other_solver(locked: Path, channel: ChannelServer, lock: Lock, tmp_path: Path) -> None:
    """conda-lock in earnest, with an executable that stands in for micromamba."""
    before = locked_packages(locked)
    shutil.rmtree(locked / "locks")
    fake = executable(tmp_path, SOLVING)
    lock(locked, "--solver", "conda-lock", "--conda", str(fake))
    after = locked_packages(locked)
    assert {key: each.sha256 for key, each in after.items()} == {key: each.sha256 for key, each in before.items()}
    assert after["fastmath", AMD].build == "cpu_0", "no CUDA, although conda-lock assumes it"
    assert '"conda-lock": "' in (locked / "packager.lock").read_text()
    assert lock(locked).stdout == "unchanged\n"


def test_the_other_solver_finds_nothing(conda_channel: Path, lock: Lock, tmp_path: Path) -> None:
    folder = write(tmp_path / "a", (conda_channel / "forge").as_uri(), asking("impossible"))
    fake = executable(tmp_path, """print('{"message": "nothing provides does-not-exist"}')\nsys.exit(1)""")
    done = lock(folder, "--solver", "conda-lock", "--conda", str(fake), status=3)
    assert "nothing provides does-not-exist" in done.stderr


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("specs", "said"),
    [
        (["impossible"], ["linux/amd64", "impossible 1.0 would require", "does-not-exist >=1"]),
        (["nmpy"], ["No candidates were found for nmpy", "spelling"]),
        (["old-greeting", "new-greeting"], ["greeting >=2", "greeting <2"]),
        (["needs-newer-glibc"], ["__glibc >=2.99", "promises __glibc 2.41"]),
        (["fastmath=1.0=cuda*"], ["__cuda >=12", "promises no __cuda"]),
        (["only-linux-64"], ["only-linux-64 is not there for linux/arm64", "only for linux/amd64 (linux-64)"]),
    ],
)
def test_environments_that_cannot_be(
    conda_channel: Path, lock: Lock, tmp_path: Path, specs: list[str], said: list[str]
) -> None:
    folder = write(tmp_path / "a", (conda_channel / "forge").as_uri(), asking(*specs))
    done = lock(folder, status=3)
    for each in ("target 'cpu'", *said):
        assert each in done.stderr
    assert not (folder / "locks").exists()


@pytest.mark.parametrize(
    ("pip", "said"),
    [
        ("numpy<2", "conda and pip ask for different versions of numpy for linux/amd64: conda brings 2."),
        # It needs numpy<2.3: uv's own explanation, in our words.
        ("numba==0.61.2", "pip's packages do not fit what conda brings (numpy 2."),
    ],
)
def test_conda_and_pip_contradict_each_other(
    conda_channel: Path, lock: Lock, tmp_path: Path, pip: str, said: str
) -> None:
    spec = SPEC.replace(", linux/arm64", "")
    folder = write(tmp_path / "a", (conda_channel / "forge").as_uri(), asking("numpy", f"pip:\n  - {pip}"), spec)
    done = lock(folder, status=3, UV_OFFLINE="0")
    assert said in done.stderr
    assert pip in done.stderr
    assert "+conda" not in done.stderr


def failing(server: ChannelServer, how: str) -> str:
    forge = f"{server.url}/forge"
    if how == "404":
        return f"{server.url}/nothing"
    if how == "down":
        server.stop()
    elif how == "401":
        server.require_basic("alice", "s3cret")
    elif how == "corrupt":
        server.corrupt("*/repodata.json*")
    else:
        server.fail(int(how))
    return forge


@pytest.mark.parametrize(
    ("how", "status", "said"),
    [
        ("down", 75, "does not answer"),
        ("503", 75, "does not answer"),
        ("404", 3, "there is no channel"),
        ("401", 3, "refused the credentials, or wants some (status 401)"),
        ("403", 3, "status 403"),
        ("corrupt", 3, "cannot be read"),
    ],
)
def test_channels_that_fail(
    channel_server: ChannelServer, lock: Lock, tmp_path: Path, how: str, status: int, said: str
) -> None:
    channel = failing(channel_server, how)
    folder = write(tmp_path / "a", channel, asking("greeting"))
    done = lock(folder, status=status)
    assert said in done.stderr
    assert channel in done.stderr
    assert "target 'cpu'" in done.stderr
    assert not (folder / "packager.lock").exists()


def test_an_index_in_shards_that_fails_alone(channel_server: ChannelServer, lock: Lock, tmp_path: Path) -> None:
    channel_server.fail(400, "*shards*")
    lock(write(tmp_path / "a", f"{channel_server.url}/forge", asking("greeting")))


def test_a_package_that_is_not_what_its_channel_says(channel_server: ChannelServer, lock: Lock, tmp_path: Path) -> None:
    channel_server.corrupt("*/md5-only-*")
    folder = write(tmp_path / "a", f"{channel_server.url}/forge", asking("md5-only"))
    done = lock(folder, status=3)
    assert "the package md5-only is not what its channel says: md5 is" in done.stderr


def test_an_edit_by_hand_is_named_and_put_right(locked: Path, channel: ChannelServer, lock: Lock) -> None:
    path = locked / "locks/cpu.conda-lock.yml"
    text = path.read_text()
    path.write_text(text.replace("sha256: ", "sha256: 0", 1))
    done = lock(locked, "--check", status=3)
    assert "locks/cpu.conda-lock.yml was edited by hand" in done.stderr
    lock(locked)
    assert path.read_text() == text


def test_a_lock_of_another_target_is_none(conda_channel: Path, lock: Lock, run_packager: Any, tmp_path: Path) -> None:
    forge = (conda_channel / "forge").as_uri()
    spec = SPEC.replace("targets: {cpu: {platforms: [linux/amd64, linux/arm64]}}", "targets: {cpu: {}, gpu: {}}")
    folder = write(tmp_path / "a", forge, asking("fastmath"), spec.replace("{cpu: {}, gpu: {}}", "{cpu: {}}"))
    lock(folder)
    (folder / "packager.yaml").write_text(spec)
    done = run_packager("plan", "--target", "gpu", cwd=folder, check=False)
    assert done.returncode == 3
    assert "gpu" in done.stderr
    lock(folder)
    assert "fastmath-1.0-cuda_0" in (folder / "locks/gpu.conda-lock.yml").read_text()
    shutil.copy(folder / "locks/cpu.conda-lock.yml", folder / "locks/gpu.conda-lock.yml")
    done = run_packager("plan", "--target", "gpu", cwd=folder, check=False)
    assert done.returncode == 3
    assert "locks/gpu.conda-lock.yml was edited by hand" in done.stderr


def test_an_environment_without_python(conda_channel: Path, lock: Lock, tmp_path: Path) -> None:
    forge = (conda_channel / "forge").as_uri()
    folder = write(tmp_path / "a", forge, asking("libgcc").replace("- python=3.13\n", ""))
    assert "python" in lock(folder, status=2).stderr


# --- private channels and mirrors -------------------------------------------------------------------------------------


def nothing_of(secret: str, folder: Path, *texts: str) -> None:
    for text in (*texts, *(content.decode() for content, _ in files(folder).values())):
        assert secret not in text


def test_credentials_are_rattlers_and_are_nowhere(channel_server: ChannelServer, lock: Lock, tmp_path: Path) -> None:
    channel_server.require_basic("alice", "hunter2", "forge/*")
    auth = tmp_path / "auth.json"
    auth.write_text(json.dumps({"127.0.0.1": {"BasicHTTP": {"username": "alice", "password": "hunter2"}}}))
    folder = write(tmp_path / "a", f"{channel_server.url}/forge", asking("greeting", "md5-only"))
    done = lock(folder, RATTLER_AUTH_FILE=str(auth))
    nothing_of("hunter2", folder, done.stdout, done.stderr)
    nothing_of("alice", folder, done.stdout, done.stderr)
    auth.write_text(json.dumps({"127.0.0.1": {"BasicHTTP": {"username": "alice", "password": "wrong-one"}}}))
    (folder / "environment.yml").write_text(asking("numpy").replace("CHANNEL", f"{channel_server.url}/forge"))
    done = lock(folder, status=3, RATTLER_AUTH_FILE=str(auth), RATTLER_CACHE_DIR=str(tmp_path / "other"))
    assert "RATTLER_AUTH_FILE" in done.stderr
    nothing_of("wrong-one", folder, done.stdout, done.stderr)


def test_a_token_is_in_no_lock(channel_server: ChannelServer, lock: Lock, tmp_path: Path) -> None:
    channel_server.require_token("tok-123")
    auth = tmp_path / "auth.json"
    auth.write_text(json.dumps({"127.0.0.1": {"CondaToken": "tok-123"}}))
    folder = write(tmp_path / "a", f"{channel_server.url}/forge", asking("greeting"))
    done = lock(folder, "-v", RATTLER_AUTH_FILE=str(auth))
    assert any("/t/tok-123/" in each.path for each in channel_server.requests)
    nothing_of("tok-123", folder, done.stdout, done.stderr)
    assert locked_packages(folder)["greeting", AMD].channel == f"{channel_server.url}/forge"


def test_a_mirror_is_asked_and_is_in_no_lock(channel_server: ChannelServer, lock: Lock, tmp_path: Path) -> None:
    folder = write(tmp_path / "a", f"{NOWHERE}/forge", asking("greeting", "md5-only", f"{NOWHERE}/forge::numpy"))
    channel_server.require_basic("alice", "hunter2")
    auth = tmp_path / "auth.json"
    auth.write_text(json.dumps({"127.0.0.1": {"BasicHTTP": {"username": "alice", "password": "hunter2"}}}))
    env = {"PACKAGER_CHANNEL_MIRROR": f"{NOWHERE}={channel_server.url}", "RATTLER_AUTH_FILE": str(auth)}
    done = lock(folder, **env)
    nothing_of("127.0.0.1", folder, done.stdout, done.stderr)
    nothing_of("hunter2", folder, done.stdout, done.stderr)
    assert locked_packages(folder)["greeting", AMD].url.startswith(f"{NOWHERE}/forge/noarch/greeting-2.0")


def test_a_mirror_of_the_spec(channel_server: ChannelServer, lock: Lock, tmp_path: Path) -> None:
    spec = f"{SPEC}conda: {{channel_mirrors: {{{NOWHERE}/forge: {channel_server.url}/forge}}}}\n"
    folder = write(tmp_path / "a", f"{NOWHERE}/forge", asking("greeting"), spec)
    lock(folder)
    nothing_of("127.0.0.1", folder / "locks")


ALICE = {"FORGE_USER": "alice", "FORGE_PASSWORD": "hunter2@home"}
TOKEN = {"FORGE_TOKEN": "tok-12345"}
PLACES = [("http://$FORGE_USER:${FORGE_PASSWORD}@HOST", ALICE), ("http://HOST/t/$FORGE_TOKEN", TOKEN)]


def private(server: ChannelServer, place: str, values: dict[str, str]) -> str:
    """A channel that wants what these variables hold."""
    if values is ALICE:
        server.require_basic("alice", "hunter2@home", "forge/*")
    else:
        server.require_token("tok-12345", "forge/*")
    return place.replace("HOST", f"127.0.0.1:{server.port}") + "/forge"


@pytest.mark.filterwarnings("ignore")  # conda-lock warns of its own parts
@pytest.mark.parametrize(("place", "values"), PLACES)
def test_variables_in_a_channel_are_put_in_where_it_is_asked(
    place: str, values: dict[str, str], channel_server: ChannelServer, lock: Lock, tmp_path: Path
) -> None:
    from conda_lock.lockfile import parse_conda_lock_file  # type: ignore[import-untyped]

    channel = private(channel_server, place, values)
    folder = write(tmp_path / "a", channel, asking("greeting", "md5-only", f"'{channel}::numpy'"))
    done = lock(folder, "-v", **values)
    path = folder / "locks/cpu.conda-lock.yml"
    (known,) = parse_conda_lock_file(path).metadata.channels
    assert known.used_env_vars == tuple(sorted(values))
    assert locked_packages(folder)["greeting", AMD].channel == known.url
    kept = files(tmp_path)
    assert any(path.endswith(".info.json") for path in kept), "rattler's cache is there"
    # What conda-lock renders can be fetched.
    conda_lock(tmp_path, "render", "--kind", "explicit", "--platform", "linux-64", str(path), **values)
    assert all(value in (tmp_path / "conda-linux-64.lock").read_text() for value in values.values() if "@" not in value)
    # Others' credentials are no change.
    before = files(folder)
    for others in (dict.fromkeys(values, "another"), {}):
        assert lock(folder, **others).stdout == "unchanged\n"
    assert files(folder) == before
    wrong = lock(folder, "--upgrade", status=3, **{name: f"wrong-{name}" for name in values})
    assert "refused the credentials" in wrong.stderr
    unset = lock(folder, "--upgrade", status=2)
    assert f"{' and '.join(sorted(values))} " in unset.stderr
    assert f"the channel {known.url} " in unset.stderr
    for secret in ("alice", "hunter2", "tok-12345", "wrong-"):
        nothing_of(secret, folder, *(each.stdout + each.stderr for each in (done, wrong, unset)))
        assert not [path for path, content in kept.items() if secret.encode() in content[0]]


@pytest.mark.parametrize("of_the_machine", [True, False])
def test_variables_in_a_mirror(of_the_machine: bool, channel_server: ChannelServer, lock: Lock, tmp_path: Path) -> None:
    mirror = private(channel_server, *PLACES[of_the_machine])
    spec = SPEC if of_the_machine else f'{SPEC}conda: {{channel_mirrors: {{{NOWHERE}/forge: "{mirror}"}}}}\n'
    folder = write(tmp_path / "a", f"{NOWHERE}/forge", asking("greeting", "md5-only"), spec)
    machine = {"PACKAGER_CHANNEL_MIRROR": f"{NOWHERE}/forge={mirror}"} if of_the_machine else {}
    done = lock(folder, **machine, **PLACES[of_the_machine][1])
    assert locked_packages(folder)["greeting", AMD].channel == f"{NOWHERE}/forge"
    for secret in ("alice", "hunter2", "tok-12345"):
        nothing_of(secret, folder, done.stdout, done.stderr)


@pytest.mark.parametrize(("place", "values"), PLACES)
def test_variables_and_the_other_solver(
    place: str, values: dict[str, str], channel_server: ChannelServer, lock: Lock, tmp_path: Path
) -> None:
    channel = private(channel_server, place, values)
    folder = write(tmp_path / "a", channel, asking("greeting"), SPEC.replace(", linux/arm64", ""))
    values = {name: value.replace("@", "%40") for name, value in values.items()}  # as conda's tools want it
    solver = ("--solver", "conda-lock", "--conda", str(executable(tmp_path, SOLVING)))
    done = [lock(folder, *solver, **values)]
    found = locked_packages(folder)
    assert "${FORGE_" in found["greeting", AMD].url
    shutil.rmtree(folder / "locks")
    done.append(lock(folder, **values))
    assert {key: each.url for key, each in locked_packages(folder).items()} == {
        key: each.url for key, each in found.items()
    }
    channel_server.fail(503)
    done.append(lock(folder, *solver, "--upgrade", status=3, **values))
    assert "503" in done[-1].stderr
    for secret in ("alice", "hunter2", "tok-12345"):
        nothing_of(secret, folder, *(each.stdout + each.stderr for each in done))


# --- the child --------------------------------------------------------------------------------------------------------


def test_ctrl_c_ends_the_solver_and_leaves_nothing(conda_channel: Path, tmp_path: Path) -> None:
    folder = write(tmp_path / "spec", "http://CHANNEL", asking("greeting"))
    # A channel that accepts connections and never answers.
    with subprocess.Popen([sys.executable, "-c", SILENT], stdout=subprocess.PIPE, text=True) as silent:
        assert silent.stdout is not None
        port = silent.stdout.readline().strip()
        write(folder, f"http://127.0.0.1:{port}/forge", asking("greeting"))
        env = {**os.environ, "RATTLER_CACHE_DIR": str(tmp_path / "cache")}
        command = [sys.executable, "-m", "packager", "lock"]
        with subprocess.Popen(command, cwd=folder, env=env, stderr=subprocess.PIPE, text=True) as process:
            assert silent.stdout.readline(), "rattler is waiting for the channel now"
            started = time.monotonic()
            process.send_signal(signal.SIGINT)
            _, stderr = process.communicate(timeout=20)
            assert time.monotonic() - started < 5
        silent.kill()
    assert process.returncode == 130
    assert stderr.endswith("interrupted\n")
    assert sorted(path.name for path in folder.iterdir()) == ["environment.yml", "packager.yaml", "score.py"]


SILENT = """
import socket
with socket.create_server(("127.0.0.1", 0)) as server:
    print(server.getsockname()[1], flush=True)
    kept = []
    while True:
        kept.append(server.accept())
        print("connected", flush=True)
"""
