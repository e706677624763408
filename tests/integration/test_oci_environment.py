"""Real wheels, laid down for two platforms without an engine, then run by one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from packager.environments.lock import LockedPackage, LockRequest
from packager.environments.locked import LockedPlatform
from packager.environments.locks.status import read_inputs
from packager.environments.solve.pip import Upgrade, UvSolver
from packager.laying.base_files import BaseFiles, FileBlob, find_python, read_base_files
from packager.laying.compile import Compiler
from packager.laying.environment import LaidDown, lay_down
from packager.laying.libraries import check_starts
from packager.laying.recipe import BasePython, Interpreter, Recipe, make_recipe
from packager.laying.wheels import Source
from packager.spec import load_spec
from packager.storage.memory import Memory
from tests.integration.conftest import missing, output
from tests.unit.test_oci_environment import snapshot

BASE = BasePython(path="/usr/local/bin/python3", version="3.13")
TAGS = {"linux/amd64": "x86_64-manylinux_2_28", "linux/arm64": "aarch64-manylinux_2_28"}
ARM_BASE = "local/python:3.13-slim-arm64"


def recipe_of(packages: tuple[LockedPackage, ...], platform: str) -> Recipe:
    locked = LockedPlatform(
        target="cpu", platform=platform, tags=TAGS[platform], python="3.13", base="", packages=packages
    )
    return make_recipe(locked, BASE)


@pytest.fixture(scope="module")
def diabetes(checkout: Path) -> Recipe:
    return make_recipe(read_inputs(load_spec(checkout / "examples/diabetes"), "cpu").locked("linux/amd64"), BASE)


@pytest.fixture(scope="module")
def amd64(index: None, diabetes: Recipe, tmp_path_factory: pytest.TempPathFactory) -> LaidDown:
    folder = tmp_path_factory.mktemp("amd64")
    return lay_down(diabetes, folder / "env", Source.of(folder))


@pytest.fixture(scope="module")
def arm64(index: None, tmp_path_factory: pytest.TempPathFactory) -> LaidDown:
    folder = tmp_path_factory.mktemp("arm64")
    platform = "linux/arm64"
    request = LockRequest(
        python="3.13",
        platforms={platform: TAGS[platform]},
        requirements=("scikit-learn==1.9.*", "azureml-inference-server-http"),
        base="docker.io/library/python:3.13-slim",
    )
    packages = UvSolver(folder).solve(request, platform, None, Upgrade(), False).packages
    return lay_down(recipe_of(packages, platform), folder / "env", Source.of(folder))


def base_files(reference: str, folder: Path) -> BaseFiles:
    """The files of an image that the engine has."""
    archive = folder / "base.tar"
    subprocess.run(["docker", "save", "--output", str(archive), reference], check=True, timeout=300)
    with tarfile.open(archive) as opened:
        opened.extractall(folder, filter="data")
    layers = json.loads((folder / "manifest.json").read_text())[0]["Layers"]
    blobs = [FileBlob(digest=f"sha256:{name.rpartition('/')[2]}", path=str(folder / name)) for name in layers]
    return read_base_files(blobs, Memory("base-files", folder))


def in_container(image: str, environment: LaidDown, *command: str, code: int = 0) -> str:
    words = ["docker", "run", "--rm", "--read-only", "--user", "1000:1000", "--cap-drop", "ALL", "--env", "HOME=/tmp"]
    words += ["--volume", f"{environment.folder}:/opt/env:ro", "--entrypoint", command[0], image, *command[1:]]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def readable(amd64: LaidDown) -> Iterator[LaidDown]:
    """pytest's folders are for their user alone; the container's user has to get through."""
    with _open_to_others(Path(amd64.folder)):
        yield amd64


@contextmanager
def _open_to_others(folder: Path) -> Iterator[None]:
    # A bind mount is of the folder itself: only that one counts, and pytest's parents stay closed.
    mode = folder.stat().st_mode
    folder.chmod(0o755)
    yield
    folder.chmod(mode)


def test_it_runs_on_the_base(readable: LaidDown, base_image: str) -> None:
    code = "import sys, sklearn.linear_model, numpy; print(sys.prefix, sklearn.__file__)"
    said = in_container(base_image, readable, "/opt/env/bin/python", "-c", code)
    assert said.split() == ["/opt/env", "/opt/env/lib/python3.13/site-packages/sklearn/__init__.py"]
    # The server's own exit code after its help is 1.
    assert "--entry_script" in in_container(base_image, readable, "/opt/env/bin/azmlinfsrv", "--help", code=1)


def test_the_base_has_what_it_needs(amd64: LaidDown, base_image: str, tmp_path: Path) -> None:
    files = base_files(base_image, tmp_path)
    assert find_python(files) == BASE
    assert check_starts(Path(amd64.folder), files, "linux/amd64", TAGS["linux/amd64"]) == ()


def test_a_base_without_the_cpp_runtime_is_found_out(amd64: LaidDown, base_image: str, tmp_path: Path) -> None:
    files = base_files(base_image, tmp_path)
    less = {path: target for path, target in files.paths.items() if "libstdc++.so" not in path}
    found = check_starts(
        Path(amd64.folder), msgspec.structs.replace(files, paths=less), "linux/amd64", TAGS["linux/amd64"]
    )
    assert [(problem.what, problem.package) for problem in found] == [("libstdc++.so.6", "libstdc++6")]
    assert "numpy/_core/_multiarray_umath" in " ".join(found[0].needed_by)


def test_another_platform_without_emulation(arm64: LaidDown) -> None:
    modules = [path for path in Path(arm64.folder).rglob("*.so") if "aarch64" in path.name]
    assert len(modules) > 50
    assert not list(Path(arm64.folder).rglob("*x86_64-linux-gnu.so"))
    # e_machine of each is EM_AARCH64.
    assert {path.read_bytes()[18:20] for path in modules} == {b"\xb7\0"}


def test_the_arm64_base_is_held_against_it(arm64: LaidDown, engine: object, tmp_path: Path) -> None:
    if output("docker", "image", "inspect", ARM_BASE) is None:
        missing(f"the base image {ARM_BASE} is missing (run ./scripts/engine)")
    files = base_files(ARM_BASE, tmp_path)
    assert files.machine == "aarch64"
    found = check_starts(Path(arm64.folder), files, "linux/arm64", TAGS["linux/arm64"])
    has = {name for name in ("libstdc++.so.6", "libgcc_s.so.1") if any(path.endswith(name) for path in files.paths)}
    assert {problem.what for problem in found} == {"libstdc++.so.6", "libgcc_s.so.1"} - has


@pytest.mark.network
def test_the_same_tree_whoever_makes_it(amd64: LaidDown, diabetes: Recipe, tmp_path: Path) -> None:
    (tmp_path / "recipe.json").write_bytes(msgspec.json.encode(diabetes))
    code = (
        "import os, sys; from pathlib import Path; import msgspec; os.umask(0o077)\n"
        "from packager.laying.environment import lay_down\n"
        "from packager.laying.recipe import Recipe\n"
        "from packager.laying.wheels import Source\n"
        "recipe = msgspec.json.decode(Path('recipe.json').read_bytes(), type=Recipe)\n"
        "lay_down(recipe, Path('env').absolute(), Source.of(Path.cwd()))\n"
    )
    cache = output("uv", "cache", "dir") or str(tmp_path / "uv")
    changed = {"TZ": "Pacific/Auckland", "LC_ALL": "C", "PYTHONHASHSEED": "1", "USER": "other", "UV_CACHE_DIR": cache}
    changed |= {"HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=os.environ | changed, check=True, timeout=600)
    assert snapshot(tmp_path / "env") == snapshot(Path(amd64.folder))


@pytest.mark.network
def test_compiled_twice_the_same(tmp_path: Path, checkout: Path) -> None:
    minor = f"{sys.version_info[0]}.{sys.version_info[1]}"
    request = LockRequest(
        python=minor, platforms={"linux/arm64": TAGS["linux/arm64"]}, requirements=("flask", "pydantic"), base=""
    )
    packages = UvSolver(tmp_path).solve(request, "linux/arm64", None, Upgrade(), False).packages
    base = BasePython(path="/usr/bin/python3", version=minor)
    locked = LockedPlatform(
        target="cpu", platform="linux/arm64", tags=TAGS["linux/arm64"], python=minor, base="", packages=packages
    )
    recipe = Recipe(locked=locked, base=base, compiler=".".join(map(str, sys.version_info[:3])))
    for name in ("one", "two"):
        # Each with a cache of its own: both are compiled.
        compiler = Compiler(lambda prefix: Interpreter(command=(sys.executable,)), tmp_path / f"cache-{name}")
        lay_down(recipe, tmp_path / name, Source.of(tmp_path), compiler)
    assert snapshot(tmp_path / "one") == snapshot(tmp_path / "two")
    assert len(list((tmp_path / "one").rglob("*.pyc"))) > 100
