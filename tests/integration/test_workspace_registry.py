"""A workspace in a real registry with a password: two machines in turns, ten processes at once, and other tools."""

from __future__ import annotations

import base64
import importlib.util
import json
import os
import subprocess
import sys
import threading
import uuid
from pathlib import Path
from typing import Any

import pytest
import requests

from packager.errors import RegistryError
from packager.storage.content import ContentStore
from packager.workspace.artifacts import pull_artifact, pull_reference, push_version
from packager.workspace.base import NotRegisteredError
from packager.workspace.registry import RegistryWorkspace
from packager.workspace.values import Change, Content, ImageRecord, Source, Version
from tests.integration.conftest import Engine, Registry, missing, output

#: Registrations in ten processes of one interpreter, which imports once; all start when the last is ready.
REGISTER = """
import os, sys
from pathlib import Path
from packager.workspace.registry import RegistryWorkspace
from packager.workspace.values import Content, Version
location, folder = sys.argv[1], Path(sys.argv[2])

def register(who, ready, start):
    os.environ["XDG_CACHE_HOME"] = str(folder / f"home-{who}")
    with RegistryWorkspace(location) as workspace:
        workspace.versions("model")
        os.write(ready, b".")
        os.read(start, 1)
        draft = Version(kind="model", name="Same_name", tags={"who": who})
        number = workspace.add(draft, [Content(path="m.bin", origin=folder / f"{who}.bin")]).version
    os.write(1, f"{number} {who}\\n".encode())

ready, start = os.pipe(), os.pipe()
children = []
for who in range(10):
    children.append(os.fork())
    if not children[-1]:
        register(str(who), ready[1], start[0])
        os._exit(0)
for _ in children:
    os.read(ready[0], 1)
os.write(start[1], b"." * 10)
ended = [os.waitpid(child, 0)[1] for child in children]
sys.exit(f"{ended}" if any(ended) else 0)
"""


@pytest.fixture(autouse=True)
def docker_login(registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Docker configuration of the test's own, and caches of its own."""
    auth = {"auth": base64.b64encode(f"{registry.user}:{registry.password}".encode()).decode()}
    folder = tmp_path / "docker"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"auths": {registry.address: auth}}))
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder / "config.json"


@pytest.fixture
def prefix(registry: Registry) -> str:
    return f"{registry.address}/packager-test/{uuid.uuid4().hex[:8]}"


def machine(prefix: str, home: Path) -> RegistryWorkspace:
    """The workspace as another machine sees it."""
    return RegistryWorkspace(f"oci://{prefix}", content=ContentStore(home))


@pytest.fixture
def contents(tmp_path: Path) -> list[Content]:
    return model(tmp_path / "model", {"m/weights.bin": os.urandom(100_000), "m/README.md": b"hi", "m/empty": b""})


def model(folder: Path, files: dict[str, bytes]) -> list[Content]:
    found = []
    for path, data in files.items():
        at = folder / path
        at.parent.mkdir(parents=True, exist_ok=True)
        at.write_bytes(data)
        found.append(Content(path=path, origin=at))
    return found


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def expected(contents: list[Content]) -> dict[str, bytes]:
    return {each.path: each.origin.read_bytes() for each in contents}


def test_two_machines_in_turns(prefix: str, contents: list[Content], tmp_path: Path, registry: Registry) -> None:
    with machine(prefix, tmp_path / "one") as one, machine(prefix, tmp_path / "two") as two:
        first = one.add(Version(kind="model", name="Iris_v2", tags={"a": "1"}), contents)
        second = two.add(Version(kind="model", name="Iris_v2", source=Source(uri="hf://a/b")), contents)
        assert (first.version, second.version, first.digest) == (1, 2, second.digest)
        first = two.change(first, Change(add_tags={"b": "2"}, description="new"))
        first = one.change(first, Change(remove_tags=("a",)))
        assert two.versions("model") == one.versions("model") == (first, second)
        assert (first.tags, first.description) == ({"b": "2"}, "new")
        for file in first.files:
            with two.open(first, file) as path:
                assert path.read_bytes() == expected(contents)[file.path]
        one.delete(second)
        with pytest.raises(NotRegisteredError, match="is deleted"):
            two.get("model", "Iris_v2", 2)
        assert two.add(Version(kind="model", name="Iris_v2"), contents).version == 3
        assert one.names("model") == ("Iris_v2",)
        one.note(ImageRecord(reference=f"{prefix}/image:1", when="2026-01-01T00:00:00Z"))
        assert [image.reference for image in two.images()] == [f"{prefix}/image:1"]
        repository = one.repository("model", "Iris_v2").repository
    url = f"http://{registry.address}/v2/{repository}/tags/list"
    tags = requests.get(url, auth=(registry.user, registry.password), timeout=10).json()["tags"]
    # This registry deletes what is of no use any more; what stays is what each version is.
    assert sorted(tag for tag in tags if "-" not in tag) == ["1", "2.deleted", "3"]
    assert not [tag for tag in tags if "claim" in tag]


def test_ten_processes_register_one_name_at_once(prefix: str, tmp_path: Path) -> None:
    for number in range(10):
        (tmp_path / f"{number}.bin").write_text(f"content {number}")
    words = [sys.executable, "-X", "faulthandler", "-c", REGISTER, f"oci://{prefix}", str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done
    numbers = {int(number): who for number, who in map(str.split, done.stdout.splitlines())}
    assert len(numbers) == 10
    with machine(prefix, tmp_path / "fresh") as workspace:
        versions = workspace.versions("model")
        assert {version.version: version.tags["who"] for version in versions} == numbers
        assert versions == workspace.versions("model", "Same_name")
        for version in versions:
            with workspace.open(version, version.files[0]) as path:
                assert path.read_text() == f"content {version.tags['who']}"
        assert workspace.damage() == ()


def test_changes_of_several_threads_at_once_are_all_kept(prefix: str, contents: list[Content], tmp_path: Path) -> None:
    workspaces = [machine(prefix, tmp_path / str(number)) for number in range(4)]
    version = workspaces[0].add(Version(kind="model", name="a"), contents)

    def change(number: int) -> None:
        workspaces[number].change(version, Change(add_tags={str(number): "x"}))

    threads = [threading.Thread(target=change, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert workspaces[3].get("model", "a").tags == dict.fromkeys("0123", "x")
    for workspace in workspaces:
        workspace.close()


def test_of_twenty_shards_the_one_that_changed_is_sent(prefix: str, tmp_path: Path, registry: Registry) -> None:
    shards = {f"m/shard-{number:02}.bin": os.urandom(50_000) for number in range(20)}
    with machine(prefix, tmp_path / "one") as workspace:
        workspace.add(Version(kind="model", name="big"), model(tmp_path / "model", shards))
        changed = model(tmp_path / "model", {"m/shard-07.bin": os.urandom(50_000)})
        contents = [Content(path=path, origin=tmp_path / "model" / path) for path in shards]
        second = workspace.add(Version(kind="model", name="big"), contents)
        pushed = push_version(workspace, second, f"{prefix}/elsewhere:1")
        assert (len(pushed.uploaded), len(pushed.mounted), pushed.bytes_sent) == (0, 21, 0)
        again = push_version(workspace, second, f"{prefix}/elsewhere:2")
        assert (len(again.present), again.digest) == (21, pushed.digest)
    assert len(changed) == 1


def test_a_wrong_password_is_named_and_not_shown(
    prefix: str, contents: list[Content], tmp_path: Path, docker_login: Path, registry: Registry
) -> None:
    wrong = base64.b64encode(b"alice:wr0ng-secret").decode()
    docker_login.write_text(json.dumps({"auths": {registry.address: {"auth": wrong}}}))
    with machine(prefix, tmp_path / "one") as workspace, pytest.raises(RegistryError) as caught:
        workspace.add(Version(kind="model", name="a"), contents)
    assert "docker login" in str(caught.value)
    assert "wr0ng" not in str(caught.value)
    assert wrong not in str(caught.value)


# --- other tools ------------------------------------------------------------------------------------------------------


def other_tool(name: str) -> Any:
    """A package of the extra `dev`."""
    if importlib.util.find_spec(name) is None:
        missing(f"{name} is not installed (pip install -e '.[dev]')")
    return importlib.import_module(name)


def modelpack_client() -> tuple[Any, Any]:
    """Another implementation of ModelPack, and its client for the registry."""
    module = other_tool("modelpack_client")
    return module, module.ModelPackClient(insecure=True, auth_backend="basic")


def test_another_implementation_reads_what_we_write(
    prefix: str, contents: list[Content], tmp_path: Path, docker_login: Path
) -> None:
    _, client = modelpack_client()
    with machine(prefix, tmp_path / "one") as workspace:
        source = Source(uri="hf://a/b@main", revision="0123")
        version = workspace.add(Version(kind="model", name="Iris_v2", source=source), contents)
        repository = workspace.repository("model", "Iris_v2")
    found = client.pull(f"{repository.name}:{version.version}", tmp_path / "theirs", config_path=docker_login)
    assert tree(tmp_path / "theirs") == expected(contents)
    about = found.config["descriptor"]
    assert (about["name"], about["version"], about["sourceURL"]) == ("Iris_v2", "1", "hf://a/b@main")


def test_oras_reads_what_we_write(prefix: str, contents: list[Content], tmp_path: Path, docker_login: Path) -> None:
    other_tool("oras")
    client = importlib.import_module("oras.client").OrasClient(insecure=True, auth_backend="basic")
    with machine(prefix, tmp_path / "one") as workspace:
        version = workspace.add(Version(kind="model", name="a"), contents)
    reference = f"{prefix}/models/a:{version.version}"
    container = importlib.import_module("oras.container").Container(reference)
    client.auth.load_configs(container, configs=[str(docker_login)])
    client.pull(target=reference, outdir=str(tmp_path / "theirs"), config_path=str(docker_login))
    found = tree(tmp_path / "theirs")
    # It leaves empty files out.
    assert found.items() <= expected(contents).items()
    assert "m/weights.bin" in found


@pytest.mark.parametrize("packing", ["tar", "tar+gzip", "tar+zstd"])
def test_we_read_what_another_implementation_writes(
    prefix: str, contents: list[Content], tmp_path: Path, docker_login: Path, packing: str
) -> None:
    module, client = modelpack_client()
    config = module.ModelPackConfig(descriptor=module.ModelDescriptor(name="theirs", description="of them"))
    single = tmp_path / "single.safetensors"
    single.write_bytes(b"raw")
    layers = [
        module.ModelLayer(tmp_path / "model" / "m", f"application/vnd.cncf.model.weight.v1.{packing}"),
        module.ModelLayer(single, artifact_path="sub/single.safetensors"),
    ]
    pushed = client.push(f"{prefix}/theirs:1", layers, config, config_path=docker_login)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    pulled = pull_artifact(f"oci://{prefix}/theirs:1", scratch)
    assert tree(pulled.folder) == {**expected(contents), "sub/single.safetensors": b"raw"}
    assert (pulled.draft.name, pulled.draft.description) == ("theirs", "of them")
    assert pulled.draft.source == Source(uri=f"oci://{prefix}/theirs:1", revision=pushed.digest)


def test_the_engine_has_the_files_of_an_image_at_its_root(
    engine: Engine, prefix: str, contents: list[Content], tmp_path: Path, docker_login: Path, removed: list[str]
) -> None:
    with machine(prefix, tmp_path / "one") as workspace:
        version = workspace.add(Version(kind="model", name="Iris_v2"), contents)
        push_version(workspace, version, f"{prefix}/image:1", "image")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    draft, folder = pull_reference(f"{prefix}/image:1", scratch)
    assert (draft.name, tree(folder)) == ("Iris_v2", expected(contents))
    removed.append(f"{prefix}/image:1")
    assert output("docker", "pull", "--quiet", f"{prefix}/image:1") is not None
    name = f"packager-test-{uuid.uuid4().hex[:8]}"
    removed.append(name)
    assert output("docker", "create", "--name", name, f"{prefix}/image:1", "nothing") is not None
    assert output("docker", "cp", f"{name}:/m", str(tmp_path / "out")) is not None
    assert {f"m/{path}": data for path, data in tree(tmp_path / "out").items()} == expected(contents)
