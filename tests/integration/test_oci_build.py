"""Images without an engine, on real parts: the same image as BuildKit's, the same bytes everywhere, and it runs."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import urllib.request
import uuid
from pathlib import Path

import pytest

from packager.contract import MTIME
from tests.integration.conftest import NO_ENGINE, Registry, RunPackager, missing
from tests.integration.test_pipeline import docker

pytestmark = [pytest.mark.engine, pytest.mark.network]

OCI = ("--builder", "oci")


@pytest.fixture
def example(tmp_path: Path, checkout: Path) -> Path:
    return Path(shutil.copytree(checkout / "examples/diabetes", tmp_path / "diabetes"))


@pytest.fixture
def mirror(registry: Registry, docker_config: Path) -> dict[str, str]:
    """The stand-in base at the registry, under the official name."""
    return {"PACKAGER_REGISTRY_MIRROR": f"docker.io={registry.address}"}


BASE = ("--base", "docker.io/library/python:3.13-slim-trixie")


def manifest_of(layout: Path) -> tuple[dict[str, object], list[str]]:
    """The configuration and the diff ids of the one image of an OCI layout."""
    blobs = layout / "blobs/sha256"
    entry, *_ = json.loads((layout / "index.json").read_text())["manifests"]  # one for each reference
    manifest = json.loads((blobs / entry["digest"].partition(":")[2]).read_text())
    config = json.loads((blobs / manifest["config"]["digest"].partition(":")[2]).read_text())
    return config, config["rootfs"]["diff_ids"]


def test_no_engine_no_docker_and_it_ends_with_an_image(
    example: Path, tmp_path: Path, run_packager: RunPackager, mirror: dict[str, str]
) -> None:
    layout = tmp_path / "layout"
    done = run_packager(
        "build",
        *OCI,
        *BASE,
        "-o",
        f"type=oci,dest={layout}",
        cwd=example,
        env={**mirror, **NO_ENGINE, "PATH": "/nowhere"},
    )
    digest = done.stdout.strip()
    assert digest.startswith("sha256:")
    config, _ = manifest_of(layout)
    assert config["config"]["User"] == "1000:1000"  # type: ignore[index]
    inspected = subprocess.run(
        ["docker", "run", "--rm", "true"], capture_output=True, check=False, env={**os.environ, **NO_ENGINE}
    )
    assert inspected.returncode != 0, "there was no engine"


def test_the_same_image_either_way(
    example: Path, tmp_path: Path, run_packager: RunPackager, mirror: dict[str, str], removed: list[str]
) -> None:
    ours, theirs = "packager-test/either:oci", "packager-test/either:engine"
    removed += [ours, theirs]
    run_packager("build", *OCI, *BASE, "--load", "-t", ours, cwd=example, env=mirror)
    run_packager("build", "--builder", "engine", *BASE, "-t", theirs, "--progress", "plain", cwd=example, env=mirror)
    first, second = (json.loads(docker("image", "inspect", name))[0] for name in (ours, theirs))
    fields = ("User", "Env", "Entrypoint", "Cmd", "Healthcheck", "Labels", "ExposedPorts", "WorkingDir", "StopSignal")
    assert {name: first["Config"].get(name) for name in fields} == {name: second["Config"].get(name) for name in fields}
    assert files_of(ours, "/var/azureml-app") == files_of(theirs, "/var/azureml-app")
    # But for bytecode, and for what `python -m venv` makes, which nothing in the image reads.
    made, more = environment_of(ours), environment_of(theirs)
    assert {path for path in made if made[path] != more.get(path)} == {"env/pyvenv.cfg"}
    assert {path.partition(".")[0].lower() for path in more.keys() - made.keys()} <= {
        "env/", "env/bin/activate", "env/include", "env/include/python3"
    }  # fmt: skip
    code = "import sklearn, numpy, azureml_inference_server_http, sys, importlib.metadata as m;"
    code += "print(sorted((d.name, d.version) for d in m.distributions()), sys.prefix)"
    listed = [docker("run", "--rm", "--entrypoint", "/opt/env/bin/python", name, "-c", code) for name in (ours, theirs)]
    assert listed[0] == listed[1]


def environment_of(reference: str) -> dict[str, tuple[object, ...]]:
    """Path → kind, mode, time and content of the files of an image's environment but bytecode."""
    container = docker("create", reference)
    try:
        done = subprocess.run(["docker", "cp", f"{container}:/opt/env", "-"], capture_output=True, check=True)
    finally:
        docker("rm", container)
    found: dict[str, tuple[object, ...]] = {}
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        for each in archive:
            if "__pycache__" not in each.name:
                content = archive.extractfile(each) if each.isreg() else None
                what = hashlib.sha256(content.read()).hexdigest() if content else each.linkname
                found[each.name] = (each.type, each.mode, each.mtime, what)
    return found


def test_content_of_a_model_is_once_in_either_image(
    example: Path, tmp_path: Path, run_packager: RunPackager, mirror: dict[str, str], removed: list[str]
) -> None:
    top = example / "hub/models--a--b"
    for name, size in (("blobs/0a", 3_000_000), ("snapshots/1/config.json", 2), ("snapshots/2/a.txt", 2)):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_bytes(os.urandom(size))
    for name in ("snapshots/1/model.safetensors", "snapshots/2/model.safetensors"):
        (top / name).symlink_to("../../blobs/0a")
    (top / "main").symlink_to("snapshots/2")
    spec = example / "packager.yaml"
    spec.write_text(
        spec.read_text().replace("models:\n", "models:\n  - {path: hub/models--a--b, name: hub, version: 1}\n")
    )
    names = {"oci": "packager-test/once:oci", "engine": "packager-test/once:engine"}
    removed += names.values()
    found = []
    for builder, name in names.items():
        run_packager("build", "--builder", builder, *BASE, "--load", "-t", name, cwd=example, env=mirror)
        files = files_of(name, "/var/azureml-app/azureml-models/hub/1")
        found.append(files)
        weights = {path: (kind, size) for path, (kind, _, _, _, size, _) in files.items() if "safetensors" in path}
        assert sorted(weights.values()) == [(tarfile.REGTYPE, 3_000_000), (tarfile.LNKTYPE, 0), (tarfile.LNKTYPE, 0)]
    assert found[0] == found[1]


def files_of(reference: str, folder: str) -> dict[str, tuple[object, ...]]:
    container = docker("create", reference)
    try:
        done = subprocess.run(["docker", "cp", f"{container}:{folder}", "-"], capture_output=True, check=True)
    finally:
        docker("rm", container)
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        return {each.name: (each.type, each.mode, each.uid, each.gid, each.size, each.mtime) for each in archive}


def test_it_runs_and_answers(
    example: Path, run_packager: RunPackager, mirror: dict[str, str], registry: Registry, removed: list[str]
) -> None:
    reference = f"{registry.address}/packager-test/oci-run:1"
    done = run_packager(
        "build", *OCI, *BASE, "--push", "--no-test", "-t", reference, cwd=example, env={**mirror, **NO_ENGINE}
    )
    pinned = done.stdout.strip()
    removed.append(pinned)
    docker("pull", "--quiet", pinned)
    started = run_packager("run", pinned, "-p", "0:5001", "--detach", "--format", "json", cwd=example)
    found = json.loads(started.stdout)
    removed.append(found["container"])
    url = found["urls"]["score"]
    request = urllib.request.Request(
        url, (example / "sample-request.json").read_bytes(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert json.loads(answer.read()) == json.loads((example / "expected-answer.json").read_text())
    raw = subprocess.run(
        ["docker", "buildx", "imagetools", "inspect", "--raw", reference], capture_output=True, text=True, check=True
    )
    assert json.loads(raw.stdout)["schemaVersion"] == 2


def test_the_digest_that_is_printed_is_the_digest_everywhere(
    example: Path, run_packager: RunPackager, mirror: dict[str, str], registry: Registry, removed: list[str]
) -> None:
    # A repository of its own: the registry keeps what an earlier run has pushed.
    reference = f"{registry.address}/packager-test/one-digest-{uuid.uuid4().hex[:8]}:1"
    pinned = run_packager("build", *OCI, *BASE, "-q", "-t", reference, cwd=example, env=mirror).stdout.strip()
    removed += [reference, pinned]
    words = ("inspect", "--format", "json")
    digest = pinned.partition("@")[2]
    # The engine has it under its name, and no registry yet.
    assert json.loads(run_packager(*words, reference, cwd=example, env=mirror).stdout)["digest"] == digest
    gone = run_packager(*words, pinned, cwd=example, env=mirror, check=False)
    assert (gone.returncode, "there is no image" in gone.stderr) == (7, True)
    assert run_packager("push", "-q", "--no-test", reference, cwd=example, env=mirror).stdout.strip() == pinned
    docker("pull", "--quiet", pinned)
    run_packager("build", *BASE, "--verify", reference, cwd=example, env=mirror)
    script = example / "src/score.py"
    script.write_text(script.read_text() + "# mended\n")
    refused = run_packager("push", "--no-test", reference, cwd=example, env=mirror, check=False)
    assert (refused.returncode, f"src/score.py changed since {reference} was built" in refused.stderr) == (6, True)
    again = run_packager("push", "-q", "--no-test", "--stale", reference, cwd=example, env=mirror)
    assert again.stdout.strip() == pinned
    rebuilt = run_packager("push", "-q", "--no-test", "--build", *BASE, reference, cwd=example, env=mirror)
    assert rebuilt.stdout.strip() not in ("", pinned)


def test_an_edit_sends_one_small_layer(
    example: Path, run_packager: RunPackager, mirror: dict[str, str], registry: Registry
) -> None:
    reference = f"{registry.address}/packager-test/oci-edit:1"
    words = ("build", *OCI, *BASE, "--push", "--no-test", "-t", reference, "--format", "json")
    (first,) = json.loads(run_packager(*words, cwd=example, env=mirror).stdout)
    (again,) = json.loads(run_packager(*words, cwd=example, env=mirror).stdout)
    assert again["digest"] == first["digest"]
    assert again["bytes_sent"] == 0
    script = example / "src/score.py"
    script.write_text(f"{script.read_text()}# {uuid.uuid4()}\n")  # the registry keeps what earlier runs sent
    (edited,) = json.loads(run_packager(*words, cwd=example, env=mirror).stdout)
    assert edited["digest"] != first["digest"]
    # The script in a tar, and the configuration (two kilobytes, of which variables and labels are half).
    assert 0 < edited["bytes_sent"] - len(gzip.compress(script.read_bytes())) < 2_500


def test_the_same_digest_whatever_the_machine_says(
    example: Path, tmp_path: Path, run_packager: RunPackager, mirror: dict[str, str], base_image: str
) -> None:
    elsewhere = tmp_path / "a" / "very" / "different folder"
    elsewhere.parent.mkdir(parents=True)
    shutil.copytree(example, elsewhere)
    for path in elsewhere.rglob("*"):
        os.utime(path, (1_700_000_000, 1_700_000_000), follow_symlinks=False)
    later = tmp_path / "later"
    later.mkdir()
    # Python's own clock, a year ahead, on seven processors: imported by every interpreter at its start.
    (later / "sitecustomize.py").write_text(
        "import os, time\nos.cpu_count = lambda: 7\nnow, nanoseconds = time.time, time.time_ns\n"
        "time.time = lambda: now() + 31e6\ntime.time_ns = lambda: nanoseconds() + 31 * 10**15\n"
    )
    modules = os.environ.get("PYTHONPATH", "")
    variations: dict[Path, dict[str, str]] = {
        example: {"PYTHONHASHSEED": "0", "TZ": "UTC", "LC_ALL": "C", "HOME": str(tmp_path / "one"), "USER": "ann"},
        elsewhere: {
            "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "LC_ALL": "C.UTF-8", "HOME": str(tmp_path / "two"),
            "USER": "bob", "LOGNAME": "bob", "PYTHONPATH": f"{later}:{modules}", "TMPDIR": str(later),
        },
    }  # fmt: skip
    digests: dict[str, list[str]] = {"gzip": [], "zstd": []}
    for number, (folder, environ) in enumerate(variations.items()):
        cache = {"XDG_CACHE_HOME": str(tmp_path / f"cache {number}")}  # all is made anew
        for compression, found in digests.items():
            command = [sys.executable, "-m", "packager", "build", *OCI, *BASE, "--compression", compression, "-q"]
            done = subprocess.run(
                [*command, "-o", f"type=oci,dest={tmp_path}/{compression}{number}.tar"],
                cwd=folder, env={**os.environ, **mirror, **environ, **cache}, umask=(0o077, 0o002)[number],
                capture_output=True, text=True, timeout=300, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            found.append(done.stdout.strip())
    for compression, (one, other) in digests.items():
        assert one == other
        assert (tmp_path / f"{compression}0.tar").read_bytes() == (tmp_path / f"{compression}1.tar").read_bytes()


@pytest.mark.long
def test_the_same_digest_for_another_user(
    tmp_path: Path, base_archive: Path, tiny: Path, run_packager: RunPackager
) -> None:
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        missing("only root can be somebody else, by setpriv")
    theirs = Path(shutil.copytree(tiny, tmp_path / "theirs/tiny")).parent
    user = {"HOME": str(theirs), "XDG_CACHE_HOME": str(theirs / "cache"), "UV_CACHE_DIR": str(theirs / "uv")}
    for path in (theirs, *theirs.rglob("*")):
        os.chown(path, 65534, 65534)
        path.chmod(0o700 if path.is_dir() else 0o600)
    # Nobody may read what is root's, as anyone may where Python is installed for all, and write nothing but their own.
    who = ("--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all,+dac_read_search")
    setpriv = ("setpriv", *who, "--bounding-set=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search")
    words = ("build", *OCI, "--no-compile", "--base", f"oci-archive:{base_archive}", "-q", "-o")
    first = run_packager(*words, f"type=oci,dest={tmp_path}/ours.tar", cwd=tiny, env=NO_ENGINE).stdout
    second = subprocess.run(
        [*setpriv, sys.executable, "-m", "packager", *words, f"type=oci,dest={theirs}/theirs.tar"],
        cwd=theirs / "tiny", env={**os.environ, **NO_ENGINE, **user, "PYTHONDONTWRITEBYTECODE": "1"},
        umask=0o077, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert second.returncode == 0, second.stderr
    assert second.stdout == first
    assert {path.lstat().st_uid for path in theirs.rglob("*")} == {65534}
    assert (tmp_path / "ours.tar").read_bytes() == (theirs / "theirs.tar").read_bytes()


@pytest.mark.long
def test_two_builds_at_once_and_one_that_is_killed(
    example: Path, tmp_path: Path, mirror: dict[str, str], run_packager: RunPackager
) -> None:
    cache = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    command = [sys.executable, "-m", "packager", "build", *OCI, *BASE, "--no-compile", "-q", "-o"]

    def start(name: str) -> subprocess.Popen[str]:
        output = f"type=oci,dest={tmp_path}/{name}.tar"
        environ = {**os.environ, **mirror, **cache}
        return subprocess.Popen([*command, output], cwd=example, env=environ, text=True, stdout=subprocess.PIPE)

    killed = start("killed")
    with pytest.raises(subprocess.TimeoutExpired):
        killed.wait(timeout=1.5)
    killed.kill()
    killed.communicate()
    assert not (tmp_path / "killed.tar").exists()
    both = [start("one"), start("two")]
    digests = {process.communicate(timeout=300)[0] for process in both}
    assert [process.returncode for process in both] == [0, 0]
    assert len(digests) == 1
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()
    done = run_packager("store", "verify", cwd=example, env=cache)
    assert "0 damaged" in done.stdout


def test_verify_says_which_file_differs(
    example: Path, run_packager: RunPackager, mirror: dict[str, str], registry: Registry
) -> None:
    reference = f"{registry.address}/packager-test/oci-verify:1"
    run_packager("build", *OCI, *BASE, "--push", "--no-test", "-t", reference, cwd=example, env=mirror)
    same = run_packager("build", *BASE, "--verify", reference, cwd=example, env=mirror)
    assert "exactly what these inputs give" in same.stdout
    script = example / "src/score.py"
    script.write_text(script.read_text() + "# edited\n")
    other = run_packager("build", *BASE, "--verify", reference, cwd=example, env=mirror, check=False)
    assert other.returncode == 6
    assert "/var/azureml-app/score.py: differs" in other.stdout


def test_the_builder_is_chosen_and_said(
    example: Path, run_packager: RunPackager, mirror: dict[str, str], base_image: str, removed: list[str]
) -> None:
    spec = example / "packager.yaml"
    spec.write_text(spec.read_text() + "\nsystem_packages: [libgomp1]\n")
    done = run_packager("build", *OCI, *BASE, cwd=example, env=mirror, check=False)
    assert done.returncode == 2
    assert "libgomp1" in done.stderr
    assert "--builder engine" in done.stderr
    done = run_packager("build", *BASE, "--progress", "quiet", cwd=example, env={**mirror, **NO_ENGINE}, check=False)
    assert done.returncode == 7
    assert "builder: engine (Debian packages have to be installed (libgomp1))" in done.stderr


def test_pull_and_inspect_need_no_engine(
    example: Path, tmp_path: Path, run_packager: RunPackager, mirror: dict[str, str], registry: Registry
) -> None:
    reference = f"{registry.address}/packager-test/oci-pull:1"
    pushed = run_packager("build", *OCI, *BASE, "--push", "--no-test", "-t", reference, cwd=example, env=mirror)
    digest = pushed.stdout.strip().partition("@")[2]
    run_packager("pull", reference, "-o", tmp_path / "layout", cwd=tmp_path, env=NO_ENGINE)
    config, diff_ids = manifest_of(tmp_path / "layout")
    assert len(diff_ids) >= 4
    assert config["config"]["Labels"]["org.opencontainers.image.title"] == "diabetes"  # type: ignore[index]
    shown = run_packager("inspect", reference, cwd=tmp_path, env=NO_ENGINE).stdout
    assert digest in shown
    assert "app from src" in shown


def test_files_carry_the_constant_time(
    example: Path, tmp_path: Path, run_packager: RunPackager, mirror: dict[str, str]
) -> None:
    layout = tmp_path / "layout"
    run_packager(
        "build", *OCI, *BASE, "--compression", "none", "-o", f"type=oci,dest={layout}", cwd=example, env=mirror
    )
    _, diff_ids = manifest_of(layout)
    with tarfile.open(layout / "blobs/sha256" / diff_ids[-1].partition(":")[2]) as app:
        assert {member.mtime for member in app} == {MTIME}
        assert "var/azureml-app/score.py" in app.getnames()
