"""`packager lock` with the real uv, a real index, and a real registry."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import requests
from uv import find_uv_bin

from packager.environments.locks.status import read_inputs
from packager.spec import load_spec

# Nothing listens on port 1; uv need not try three times.
CLOSED = {"UV_DEFAULT_INDEX": "http://bob:hunter2@127.0.0.1:1/simple", "UV_HTTP_RETRIES": "0"}
SPEC = """\
name: small
version: "1"
entry_script: score.py
environment: requirements.txt
targets: {cpu: {platforms: [linux/amd64, linux/arm64]}}
"""
# Of the ABI of CPython (markupsafe), of an older one (psutil: abi3), and pure; the inference server brings more.
REQUIREMENTS = "markupsafe==3.0.*\npsutil\nsix==1.16.0\n"

pytestmark = pytest.mark.network


def write(folder: Path, requirements: str = REQUIREMENTS, spec: str = SPEC) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "packager.yaml").write_text(spec)
    (folder / "requirements.txt").write_text(requirements)
    (folder / "score.py").write_text("def init(): ...\ndef run(data): ...\n")
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, run_packager: Any, index: None) -> Path:
    folder = write(tmp_path_factory.mktemp("made"))
    run_packager("lock", cwd=folder)
    return folder


@pytest.fixture
def locked(made: Path, tmp_path: Path) -> Path:
    """A folder with a fresh lock, for each test its own."""
    return Path(shutil.copytree(made, tmp_path / "locked"))


def files(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_lock_for_two_platforms(locked: Path) -> None:
    lock = read_inputs(load_spec(locked), "cpu").lock
    target, packages, text = lock.locked, lock.packages, lock.requirements
    found = {package.name: package for package in packages}
    assert found["six"].version == "1.16.0"
    assert len(found["six"].digests) == 1, "one file for both platforms"
    assert len(found["markupsafe"].digests) == 2, "one file for each platform"
    assert not found["markupsafe"].platforms
    assert "azureml-inference-server-http" in found
    assert target.base.startswith("docker.io/library/python:3.13")
    assert "://" not in text
    assert str(Path.home()) not in text + (locked / "packager.lock").read_text()


def test_the_same_again_gives_the_same_bytes(locked: Path, run_packager: Any) -> None:
    before = {name: content for name, (content, _) in files(locked).items()}
    shutil.rmtree(locked / "locks")
    run_packager("lock", cwd=locked)
    assert {name: content for name, (content, _) in files(locked).items()} == before


def test_unchanged_needs_neither_network_nor_uv(locked: Path, run_packager: Any) -> None:
    before = files(locked)
    env = {
        **CLOSED,
        "PATH": "/nowhere",
        "UV_CACHE_DIR": str(locked.parent / "empty"),
        "HTTPS_PROXY": "http://127.0.0.1:1",
    }
    for args in (["lock"], ["lock", "--offline"], ["lock", "--check"]):
        done = run_packager(*args, cwd=locked, env=env)
        assert done.stdout in ("unchanged\n", "fresh\n")
        assert done.stderr == ""
    assert files(locked) == before
    assert not (locked.parent / "empty").exists()


def test_versions_of_the_projects_own_lock_lead(tmp_path: Path, run_packager: Any, index: None) -> None:
    """uv wrote the lock while the project asked for these; a range that it fits does not move them, ours cannot."""
    folder = write(tmp_path / "project", spec=SPEC.replace("requirements.txt", "pyproject.toml"))
    project = '[project]\nname = "p"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = ["six{}", "idna{}"]\n'
    (folder / "pyproject.toml").write_text(project.format("==1.16.0", "==3.6"))
    subprocess.run([find_uv_bin(), "lock", "--quiet", "--python", sys.executable], cwd=folder, check=True, timeout=300)
    (folder / "pyproject.toml").write_text(project.format("", ">=3.7"))
    done = run_packager("lock", cwd=folder)
    found = {each.name: each.version for each in read_inputs(load_spec(folder), "cpu").lock.packages}
    assert found["six"] == "1.16.0"
    assert "uv.lock:1: its versions lead where they fit (2 packages)" in done.stderr
    assert f"versions of the project's lock that do not fit here: idna 3.6 ({found['idna']} is locked)" in done.stderr


@pytest.mark.parametrize("tags", ["x86_64-manylinux_2_28", "aarch64-manylinux_2_28"])
def test_uv_installs_the_lock_by_its_hashes(locked: Path, tmp_path: Path, tags: str) -> None:
    install = [
        find_uv_bin(),
        "pip",
        "install",
        "--quiet",
        "--target",
        str(tmp_path / "env"),
        "--python-version",
        "3.13",
    ]
    hashes = ["--python-platform", tags, "--no-deps", "--require-hashes", "--only-binary", ":all:"]
    subprocess.run([*install, *hashes, "-r", str(locked / "locks/cpu.requirements.txt")], check=True, timeout=300)
    extensions = [path.name for path in (tmp_path / "env" / "markupsafe").glob("*.so")]
    assert len(extensions) == 1
    assert tags.partition("-")[0] in extensions[0]


@pytest.mark.long
def test_pip_takes_the_lock_by_its_hashes(tmp_path: Path, run_packager: Any) -> None:
    minor = f"3.{sys.version_info.minor}"
    folder = write(tmp_path / "pip", "six==1.16.0\n", SPEC + f'python: "{minor}"\nbase: python:3@sha256:{"0" * 64}\n')
    run_packager("lock", cwd=folder)
    packages = read_inputs(load_spec(folder), "cpu").lock.packages
    # A dry run asks the index for every file and compares its hash; nothing is installed.
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True, timeout=300)
    options = ["--dry-run", "--no-deps", "--require-hashes", "--ignore-installed", "--disable-pip-version-check"]
    done = subprocess.run(
        [venv / "bin/python", "-m", "pip", "install", *options, "-r", folder / "locks/cpu.requirements.txt"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    would = re.search(r"Would install (.*)", done.stdout)
    assert would
    assert len(would[1].split()) == len([each for each in packages if _fits(each.platforms)])


def _fits(platforms: tuple[str, ...]) -> bool:
    here = {"x86_64": "linux/amd64", "aarch64": "linux/arm64"}[os.uname().machine]
    return not platforms or here in platforms


def test_versions_stay_until_they_are_upgraded(locked: Path, run_packager: Any) -> None:
    (locked / "requirements.txt").write_text("markupsafe==3.0.*\npsutil\nsix\n")
    assert run_packager("lock", "--check", cwd=locked, check=False).returncode == 3
    done = run_packager("lock", "--format", "json", cwd=locked)
    assert json.loads(done.stdout)["targets"]["cpu"]["packages"] == [], "1.16.0 still fits"
    done = run_packager("lock", "--upgrade", "six", cwd=locked)
    moved = [line for line in done.stdout.splitlines() if line.startswith("  ")]
    assert len(moved) == 1
    assert moved[0].startswith("  six 1.16.0 -> 1.")


def test_an_edit_by_hand_is_named_and_put_right(locked: Path, run_packager: Any) -> None:
    path = locked / "locks/cpu.requirements.txt"
    text = path.read_text()
    path.write_text(text.replace("six==1.16.0", "six==1.15.0"))
    done = run_packager("lock", "--check", cwd=locked, check=False)
    assert done.returncode == 3
    assert "locks/cpu.requirements.txt was edited by hand" in done.stderr
    run_packager("lock", cwd=locked)
    assert path.read_text() == text


def test_an_impossible_environment_says_why(tmp_path: Path, run_packager: Any) -> None:
    folder = write(tmp_path / "impossible", "flask==3.0.0\nwerkzeug<3\n")
    done = run_packager("lock", cwd=folder, check=False)
    assert done.returncode == 3
    assert "target 'cpu'" in done.stderr
    assert "flask==3.0.0 depends on werkzeug>=3" in done.stderr
    assert "/tmp" not in done.stderr
    assert "Traceback" not in done.stderr
    assert not (folder / "packager.lock").exists()
    assert not (folder / "locks").exists()


def test_no_network_is_temporary_and_changes_nothing(locked: Path, run_packager: Any, tmp_path: Path) -> None:
    (locked / "requirements.txt").write_text("six\n")
    before = files(locked)
    env = {**CLOSED, "UV_CACHE_DIR": str(tmp_path / "cache")}
    done = run_packager("lock", cwd=locked, env=env, check=False)
    assert done.returncode == 75
    assert "does not answer" in done.stderr
    assert "hunter2" not in done.stdout + done.stderr
    assert files(locked) == before


def test_pips_index_setting_is_honoured(tmp_path: Path, run_packager: Any) -> None:
    folder = write(tmp_path / "pip", "six\n")
    env = {"PIP_INDEX_URL": CLOSED["UV_DEFAULT_INDEX"], "UV_HTTP_RETRIES": "0", "UV_CACHE_DIR": str(tmp_path / "cache")}
    done = run_packager("lock", cwd=folder, env=env, check=False)
    assert done.returncode == 75
    assert "127.0.0.1:1" in done.stderr
    assert "hunter2" not in done.stderr


def test_a_uv_toml_beside_the_spec_is_honoured(tmp_path: Path, run_packager: Any) -> None:
    folder = write(tmp_path / "configured", "six\n")
    (folder / "uv.toml").write_text('[[index]]\nurl = "http://127.0.0.1:1/simple"\ndefault = true\n')
    env = {"UV_HTTP_RETRIES": "0", "UV_CACHE_DIR": str(tmp_path / "cache")}
    done = run_packager("lock", "-f", folder, cwd=tmp_path, env=env, check=False)
    assert done.returncode == 75
    assert "127.0.0.1:1" in done.stderr


def test_offline_takes_the_cache_or_names_what_it_lacks(locked: Path, run_packager: Any, tmp_path: Path) -> None:
    shutil.rmtree(locked / "locks")
    run_packager("lock", "--offline", cwd=locked)
    shutil.rmtree(locked / "locks")
    env = {"UV_CACHE_DIR": str(tmp_path / "cache")}
    done = run_packager("lock", "--offline", cwd=locked, env=env, check=False)
    assert done.returncode == 3
    assert re.search(r"not in its cache: [a-z]", done.stderr)


def test_an_sdist_only_package_needs_leave(tmp_path: Path, run_packager: Any) -> None:
    folder = write(tmp_path / "sdist", "docopt==0.6.2\n")
    done = run_packager("lock", cwd=folder, check=False)
    assert done.returncode == 3
    assert "`build_from_source: [docopt]`" in done.stderr
    write(folder, "docopt==0.6.2\n", SPEC + "build_from_source: [docopt]\n")
    run_packager("lock", cwd=folder)
    packages = read_inputs(load_spec(folder), "cpu").lock.packages
    (docopt,) = [package for package in packages if package.name == "docopt"]
    # The sdist's digest is known from its index page since 2014.
    assert docopt.digests == ("49b3a825280bd66b3aa83585ef59c4a8c82f2c8a522dbe754a8bc8d08c85c491",)


def test_ctrl_c_ends_uv_and_leaves_nothing(tmp_path: Path) -> None:
    folder = write(tmp_path / "spec", "six\n")
    (tmp_path / "tmp").mkdir()
    # An index that accepts connections and never answers.
    with subprocess.Popen(
        [sys.executable, "-c", SILENT], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as silent:
        assert silent.stdout is not None
        port = silent.stdout.readline().strip()
        env = {
            **os.environ,
            "UV_DEFAULT_INDEX": f"http://127.0.0.1:{port}/simple",
            "UV_CACHE_DIR": str(tmp_path / "cache"),
            "TMPDIR": str(tmp_path / "tmp"),
        }
        with subprocess.Popen(
            [sys.executable, "-m", "packager", "lock"], cwd=folder, env=env, stderr=subprocess.PIPE, text=True
        ) as process:
            assert silent.stdout.readline(), "uv is waiting for the index now"
            started = time.monotonic()
            process.send_signal(signal.SIGINT)
            _, stderr = process.communicate(timeout=20)
            assert time.monotonic() - started < 5
        silent.kill()
    assert process.returncode == 130
    assert stderr.endswith("interrupted\n")
    assert list((tmp_path / "tmp").iterdir()) == []
    assert sorted(path.name for path in folder.iterdir()) == ["packager.yaml", "requirements.txt", "score.py"]


SILENT = """
import socket
with socket.create_server(("127.0.0.1", 0)) as server:
    print(server.getsockname()[1], flush=True)
    kept = []
    while True:
        kept.append(server.accept())
        print("connected", flush=True)
"""


# --- the base at a real registry --------------------------------------------------------------------------------------


def push_manifest(registry: Any, repository: str, tag: str) -> str:
    """Put an image without layers into a registry, by its API; return its digest."""
    auth = (registry.user, registry.password)
    config = b"{}"
    digest = f"sha256:{sha256(config).hexdigest()}"
    base = f"http://{registry.address}/v2/{repository}"
    upload = requests.post(f"{base}/blobs/uploads/", auth=auth, timeout=30)
    upload.raise_for_status()
    requests.put(
        upload.headers["Location"], params={"digest": digest}, data=config, auth=auth, timeout=30
    ).raise_for_status()
    kind = "application/vnd.docker.distribution.manifest.v2+json"
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": kind,
            "config": {
                "mediaType": "application/vnd.docker.container.image.v1+json",
                "size": len(config),
                "digest": digest,
            },
            "layers": [],
        }
    ).encode()
    headers = {"Content-Type": kind}
    requests.put(f"{base}/manifests/{tag}", data=manifest, headers=headers, auth=auth, timeout=30).raise_for_status()
    return f"sha256:{sha256(manifest).hexdigest()}"


@pytest.mark.engine
def test_the_base_is_resolved_at_its_registry(
    locked: Path, registry: Any, docker_config: Path, run_packager: Any
) -> None:
    digest = push_manifest(registry, "library/packager-lock-test", "3.13")
    (locked / "packager.yaml").write_text(SPEC + "base: packager-lock-test:3.13\n")
    env = {**CLOSED, "PACKAGER_REGISTRY_MIRROR": f"docker.io={registry.address}"}
    done = run_packager("lock", cwd=locked, env=env)
    named = f"docker.io/library/packager-lock-test:3.13@{digest}"
    assert f"-> {named}\n" in done.stdout, "under its own name, not that of the mirror"
    assert "for linux/" not in done.stderr, "only the base had changed, so nothing is solved"
    assert registry.address not in (locked / "packager.lock").read_text()
    assert run_packager("lock", cwd=locked, env=CLOSED).stdout == "unchanged\n"


@pytest.mark.engine
def test_a_wrong_registry_password(locked: Path, registry: Any, run_packager: Any, tmp_path: Path) -> None:
    push_manifest(registry, "library/packager-lock-test", "3.13")
    (locked / "packager.yaml").write_text(SPEC + f"base: {registry.address}/library/packager-lock-test:3.13\n")
    config = tmp_path / "docker"
    config.mkdir()
    # base64 of `alice:hunter2`
    (config / "config.json").write_text(json.dumps({"auths": {registry.address: {"auth": "YWxpY2U6aHVudGVyMg=="}}}))
    before = files(locked)
    done = run_packager("lock", cwd=locked, env={"DOCKER_CONFIG": str(config)}, check=False)
    assert done.returncode == 7
    assert f"docker login {registry.address}" in done.stderr
    assert "hunter2" not in done.stderr
    assert files(locked) == before


@pytest.mark.engine
def test_an_unknown_base(locked: Path, registry: Any, docker_config: Path, run_packager: Any) -> None:
    (locked / "packager.yaml").write_text(SPEC + f"base: {registry.address}/library/packager-lock-test:none\n")
    done = run_packager("lock", cwd=locked, check=False)
    assert done.returncode == 7
    assert f"there is no image {registry.address}/library/packager-lock-test:none" in done.stderr
