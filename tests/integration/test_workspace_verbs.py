"""The verbs of a workspace: several programs at once, one that is killed, and the way to a registry and back."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

import packager
from packager.cli import cli
from tests.integration.conftest import Registry

AT_ONCE = 10


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    homes = {f"XDG_{name}_HOME": str(tmp_path / name.lower()) for name in ("DATA", "CACHE", "CONFIG", "STATE")}
    return {**os.environ, **homes, "DOCKER_HOST": "unix:///nonexistent/docker.sock"}


def start(environ: dict[str, str], *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "packager", *words],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(environ: dict[str, str], *words: str) -> str:
    with start(environ, *words) as process:
        out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out


def test_ten_at_once_get_ten_versions(tmp_path: Path, environ: dict[str, str]) -> None:
    paths = [tmp_path / f"model-{number}.bin" for number in range(AT_ONCE)]
    for number, path in enumerate(paths):
        path.write_bytes(b"%d" % number)
    processes = [start(environ, "model", "register", "-n", "m", "-p", str(path)) for path in paths]
    ended = [(*process.communicate(timeout=120), process.returncode) for process in processes]
    assert [said for _, said, code in ended if code != 0] == []
    assert sorted(out for out, _, _ in ended) == sorted(f"m:{number}\n" for number in range(1, AT_ONCE + 1))
    assert run(environ, "model", "verify").count("ok ") == AT_ONCE
    there = {
        each.id: each.top for each in packager.Workspace(tmp_path / "data/packager/workspaces/default").models.list()
    }
    told = {out.strip(): path.name for path, (out, _, _) in zip(paths, ended, strict=True)}
    assert there == told, "each is told the version that has its own file"


def test_one_that_is_killed_leaves_no_half(tmp_path: Path, environ: dict[str, str]) -> None:
    model = tmp_path / "model.bin"
    model.write_bytes(os.urandom(1 << 20) * 32)
    with start(environ, "model", "register", "-n", "m", "-p", str(model)) as process:
        # In the middle of it, wherever that is on this machine.
        folder = tmp_path / "data/packager/workspaces/default/models/m"
        end = time.monotonic() + 60
        while not folder.exists() and process.poll() is None and time.monotonic() < end:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
    before = run(environ, "model", "list").splitlines()
    assert len(before) <= 1
    version = run(environ, "model", "register", "-q", "-n", "m", "-p", str(model)).strip()
    assert version in ("m:1", "m:2", "m:3")
    assert len(run(environ, "model", "list").splitlines()) == len(before) + 1
    assert run(environ, "model", "verify").count("ok ") == len(before) + 1


@pytest.mark.engine
@pytest.mark.network
@pytest.mark.usefixtures("docker_config")
def test_a_registry_and_back(
    tmp_path: Path, registry: Registry, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    environ["DOCKER_CONFIG"] = os.environ["DOCKER_CONFIG"]
    place = f"{registry.address}/packager-test/ws-{secrets.token_hex(4)}"
    folder = tmp_path / "outputs"
    (folder / "deep").mkdir(parents=True)
    (folder / "weights.bin").write_bytes(b"w" * 1000)
    (folder / "deep/vocabulary.txt").write_text("a b c")

    for name, value in environ.items():
        monkeypatch.setenv(name, value)

    def verb(*words: str) -> str:
        """Run a verb in this process: what a program is, the tests above show, and each would import for long."""
        result = CliRunner().invoke(cli, list(words), catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.stdout

    def shown(name: str, workspace: str | None = None) -> tuple[str, list[str], str]:
        with packager.Workspace(workspace, start=tmp_path) as opened:
            found = opened.models.get(name)
        return found.digest, [each.path for each in found.files], found.description

    register = ("model", "register", "-q", "-n", "Mixed_Case", "-p", str(folder))
    assert verb(*register, "--tag", "area=a", "-d", "first") == "Mixed_Case:1\n"
    here = shown("Mixed_Case")
    # To a registry, changed there, and back: numbers, digests and texts stay.
    assert verb("workspace", "copy", "-q", "default", f"oci://{place}") == "Mixed_Case:1\n"
    assert verb("workspace", "copy", "-q", "default", f"oci://{place}") == ""
    in_registry = ("-w", f"oci://{place}")
    assert shown("Mixed_Case", f"oci://{place}") == here
    assert verb(*register, *in_registry) == "Mixed_Case:2\n"
    verb("model", "update", "Mixed_Case:1", "--add-tag", "b=c", *in_registry)
    assert verb("model", "list", "--tag", "b=c", *in_registry).startswith("Mixed_Case:1  ")
    assert run(environ, "model", "delete", "Mixed_Case:2", *in_registry) == "Mixed_Case:2\n"
    assert verb(*register, *in_registry) == "Mixed_Case:3\n"
    assert verb("workspace", "copy", "-q", f"oci://{place}", str(tmp_path / "back")).split() == [
        "Mixed_Case:1", "Mixed_Case:3",
    ]  # fmt: skip
    assert shown("Mixed_Case:1", str(tmp_path / "back")) == here
    # To any place, in both forms, and registered from there.
    for form in ("artifact", "image"):
        pushed = verb("model", "push", "-q", "Mixed_Case", f"{place}/copied:{form}", "--as", form).strip()
        assert pushed.startswith(f"{place}/copied:{form}@sha256:")
        version = verb("model", "pull", "-q", pushed.partition("@")[0], "-n", form).strip()
        assert shown(version)[:2] == here[:2]
    assert verb("model", "download", "-q", "artifact", "-t", str(tmp_path / "to")) == f"{tmp_path}/to/outputs\n"
    assert (tmp_path / "to/outputs/deep/vocabulary.txt").read_text() == "a b c"
