"""Byte-compilation on real bases: the same bytes from both builders, for every platform, and each wheel once."""

from __future__ import annotations

import hashlib
import io
import json
import re
import subprocess
import tarfile
from pathlib import Path

import msgspec
import pytest

from packager.builders import compiling
from packager.builders.base import fetch_base
from packager.builders.base_option import resolve_base
from packager.builders.compiling import make_compiler
from packager.builders.engine_interpreter import engine_interpreter
from packager.builders.starting import base_files
from packager.laying.base_files import exact_version, find_python
from packager.laying.compile import OPTIONS, Compiler
from packager.resources import program
from packager.storage.content import ContentStore
from tests.integration.conftest import NO_ENGINE, RunPackager
from tests.integration.test_pipeline import docker
from tests.unit.plans import example_plan

pytestmark = pytest.mark.network

#: One of plain Python, one with a compiled module, and what they and the server bring.
PYC = re.compile(r"(?:\./)?opt/env/(?P<path>.+\.pyc)")


@pytest.fixture
def base(base_archive: Path) -> tuple[str, str]:
    return "--base", f"oci-archive:{base_archive}"


def compiled(tar: tarfile.TarFile) -> dict[str, str]:
    """Digests of the compiled files of an environment's layer, or of a whole image."""
    found = {}
    for member in tar:
        name = PYC.fullmatch(member.name)
        if name and member.isreg():
            content = tar.extractfile(member)
            assert content is not None
            found[name["path"]] = hashlib.sha256(content.read()).hexdigest()
    return found


def compiled_in_layout(layout: Path) -> dict[str, dict[str, str]]:
    """Platform → the compiled files of the environment of an image in an OCI layout."""

    def blob(digest: str) -> Path:
        return layout / "blobs/sha256" / digest.partition(":")[2]

    found: dict[str, dict[str, str]] = {}
    manifests = [json.loads((layout / "index.json").read_text())]
    while manifests:
        document = manifests.pop()
        manifests += [json.loads(blob(each["digest"]).read_text()) for each in document.get("manifests", ())]
        if "layers" in document:
            config = json.loads(blob(document["config"]["digest"]).read_text())
            own = found.setdefault(f"{config['os']}/{config['architecture']}", {})
            for layer in document["layers"]:
                with tarfile.open(blob(layer["digest"])) as tar:
                    own |= compiled(tar)
    return found


@pytest.mark.engine
def test_both_builders_compile_to_the_same_bytes(
    tiny: Path, tmp_path: Path, base: tuple[str, str], base_image: str, run_packager: RunPackager, removed: list[str]
) -> None:
    words = ("--platform", "linux/amd64", "-o", f"type=oci,dest={tmp_path / 'layout'}")
    run_packager("build", "--builder", "oci", *base, *words, cwd=tiny, env=NO_ENGINE)
    (ours,) = compiled_in_layout(tmp_path / "layout").values()
    name = "packager-test/bytecode:1"
    removed.append(name)
    run_packager("build", "--builder", "engine", "--base", base_image, "-t", name, "--load", cwd=tiny)
    container = docker("create", name)
    removed.append(container)
    exported = subprocess.run(["docker", "cp", f"{container}:/opt/env", "-"], capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(exported)) as tar:
        theirs = {
            member.name.removeprefix("env/"): hashlib.sha256(content.read()).hexdigest()
            for member in tar
            if member.name.endswith(".pyc") and (content := tar.extractfile(member)) is not None
        }
    assert len(ours) > 500
    assert not any("/tests/" in path for path in ours)
    assert ours == theirs


def test_the_files_of_two_platforms_are_the_same(
    tiny: Path, tmp_path: Path, base: tuple[str, str], run_packager: RunPackager
) -> None:
    """The arm64 image is compiled by the amd64 base of the same index, and most of it is not compiled twice."""
    words = ("--platform", "linux/amd64,linux/arm64", "-o", f"type=oci,dest={tmp_path / 'layout'}")
    run_packager("build", "--builder", "oci", *base, *words, cwd=tiny, env=NO_ENGINE)
    found = compiled_in_layout(tmp_path / "layout")
    assert set(found) == {"linux/amd64", "linux/arm64"}
    one, two = found["linux/amd64"], found["linux/arm64"]
    assert len(one.keys() & two.keys()) > 500
    assert {path for path in one.keys() & two.keys() if one[path] != two[path]} == set()


@pytest.mark.engine
@pytest.mark.long
def test_a_foreign_interpreter_writes_the_same_bytes(
    tiny: Path, tmp_path: Path, base: tuple[str, str], run_packager: RunPackager, emulation: None
) -> None:
    """What the amd64 base compiles for arm64 is what the arm64 base would have compiled, under emulation."""
    words = ("--platform", "linux/arm64", "-o", f"type=oci,dest={tmp_path / 'layout'}")
    run_packager("build", "--builder", "oci", *base, *words, cwd=tiny, env=NO_ENGINE)
    ((_, ours),) = compiled_in_layout(tmp_path / "layout").items()
    site = tmp_path / "env/lib/python3.13/site-packages"
    for blob in (tmp_path / "layout/blobs/sha256").iterdir():
        if tarfile.is_tarfile(blob):
            with tarfile.open(blob) as tar:
                wanted = re.compile(r"opt/(env/lib/python3\.13/site-packages/(?:flask|werkzeug|flask-.*dist-info)/.*)")
                for member in tar:
                    name = wanted.fullmatch(member.name.removeprefix("./"))
                    if name and member.isreg() and not name[1].endswith(".pyc"):
                        member.name = name[1]
                        tar.extract(member, tmp_path, filter="data")
    assert (site / "flask/app.py").is_file()
    mounts = ("--volume", f"{program('stage/compile.py')}:/compile.py:ro", "--volume", f"{tmp_path / 'env'}:/opt/env")
    image, options = "local/python:3.13-slim-arm64", ("--platform", "linux/arm64", "--env", "PYTHONHASHSEED=0")
    command = ("python3", *OPTIONS, "/compile.py", "/opt/env/lib/python3.13/site-packages")
    docker("run", "--rm", *options, *mounts, image, *command)
    theirs = {
        str(path.relative_to(tmp_path / "env")): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in site.rglob("*.pyc")
        if "/flask/" in str(path)
    }
    assert len(theirs) > 15
    assert theirs == {path: ours[path] for path in theirs}


@pytest.mark.engine
def test_a_base_in_a_container_compiles_as_it_does_by_its_own_loader(
    tmp_path: Path, base_image: str, base_archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where neither the base's loader nor a Python of the version runs here, the engine's container compiles."""
    content = ContentStore(tmp_path / "content")
    base = resolve_base(f"oci-archive:{base_archive}", {})
    files = base_files(fetch_base(base, "linux/amd64", content), content)
    python = find_python(files)
    assert python is not None
    version = exact_version(files, python)
    local = resolve_base(base_image, {})
    assert local.local
    plan = msgspec.structs.replace(example_plan(), base=local)
    compiled = []
    for number, system in enumerate(("linux", "darwin")):
        site = tmp_path / f"{number}" / "lib/python3.13/site-packages"
        site.mkdir(parents=True)
        (site / "one.py").write_text("def f(a, b=1):\n    return {a: 'one', 'two': b}\n")
        monkeypatch.setattr(compiling, "find_interpreter", lambda version: None)
        found = make_compiler(plan, fetch_base(base, "linux/amd64", content), version, content, {}, system=system)
        Compiler(found.find, tmp_path / f"cache{number}").compile(tmp_path / f"{number}", site, version)
        assert (found.find(tmp_path / f"{number}").command[0] == "docker") == (system == "darwin")
        (file,) = site.glob("__pycache__/*.pyc")
        compiled.append((file.name, file.read_bytes(), file.stat().st_uid))
    assert compiled[0] == compiled[1]
    assert engine_interpreter(local, python.path, "3.99.1", tmp_path) is None
    assert engine_interpreter(local, python.path, version, tmp_path / "not-there") is None
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere.sock")
    assert engine_interpreter(local, python.path, version, tmp_path) is None
