"""Newer versions of a model, delivered to a service that is asked all the while."""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from uv import find_uv_bin

from packager.workspace.base import Workspace
from packager.workspace.folder import FolderWorkspace
from packager.workspace.registry import RegistryWorkspace
from packager.workspace.values import Content, Version
from tests.integration.conftest import PORT, Registry, output
from tests.integration.serving_package import Load, containers, remove_image

pytestmark = [pytest.mark.engine, pytest.mark.network]

SPEC = """\
name: %s
version: "1"
entry_script: score.py
source_dir: src
workspace: %s
models: [{registered: marks}]
environment: {pip: []}
image: {repository: %s}
"""
TESTS = "test: [{name: a mark, request: {}, expect: {status: 200}}]\n"
SCRIPT = """\
import json
import os
import time
from pathlib import Path


def init():
    global mark
    mark = json.loads((Path(os.environ["AZUREML_MODEL_DIR"]) / "model.json").read_text())["mark"]


def run(data):
    time.sleep(json.loads(data).get("sleep", 0))
    return {"mark": mark}
"""
#: The script finds no mark in it.
BAD = {"label": "bad"}


class Watched:
    """A package whose model is registered, and who watches it.

    Attributes:
        name: of the service.
        folder: of the spec.
        reference: of its image.
    """

    def __init__(
        self, folder: Path, base: str, env: dict[str, str], workspace: Workspace, registry: Registry, more: str
    ) -> None:
        self.name, self.folder, self.base, self.env = f"t-{secrets.token_hex(4)}", folder, base, env
        self.workspace = workspace
        name = f"watched-{secrets.token_hex(4)}"
        repository = f"{registry.address}/packager-test/{name}"
        self.reference = f"{repository}:1"
        spec = SPEC % (name, workspace.location, repository) + more
        (folder / "src").mkdir()
        (folder / "src/score.py").write_text(SCRIPT)
        (folder / "packager.yaml").write_text(spec)
        self.log, self.process = folder / "events.jsonl", None
        self.log.touch()
        self.started: list[subprocess.Popen[bytes]] = []

    def register(self, mark: dict[str, str], **more: Any) -> int:
        file = self.folder / "new.json"
        file.write_text(json.dumps(mark))
        version = Version(kind="model", name="marks", **more)
        return self.workspace.add(version, [Content(path="model.json", origin=file)]).version

    def command(self, *more: str) -> list[str]:
        words = ("watch", "--service", self.name, "-p", f"0:{PORT}", "--base", self.base, "--format", "json", "-q")
        return [sys.executable, "-m", "packager", *words, *more]

    def start(self, *more: str) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log, (self.folder / "errors").open("ab") as errors:
            started = subprocess.Popen(
                self.command(*more), cwd=self.folder, env={**os.environ, **self.env}, stdout=log, stderr=errors
            )
        self.started.append(started)
        return started

    def run(self, *more: str) -> subprocess.CompletedProcess[str]:
        words = self.command(*more)
        return subprocess.run(
            words, cwd=self.folder, env={**os.environ, **self.env}, capture_output=True, text=True, timeout=300
        )

    def events(self, kind: str, **values: object) -> list[dict[str, Any]]:
        found = [json.loads(line) for line in self.log.read_text().splitlines() if line.endswith("}")]
        return [
            each
            for each in found
            if each["event"] == kind and all(each[name] == value for name, value in values.items())
        ]

    def until(self, kind: str, seconds: float = 180, **values: object) -> dict[str, Any]:
        """Wait for an event, and return it."""
        end = time.monotonic() + seconds
        while not (found := self.events(kind, **values)):
            said = (self.folder / "errors").read_text()
            assert time.monotonic() < end, (kind, values, self.log.read_text(), said)
            assert self.started[-1].poll() is None, said
            time.sleep(0.02)
        return found[-1]

    @property
    def locked(self) -> int:
        lock = json.loads((self.folder / "packager.lock").read_text())
        return int(lock["registered"]["models"]["marks"]["version"])

    @property
    def opened(self) -> int:
        """Files and connections that the watcher has open, once it waits."""
        time.sleep(0.5)
        return len(list(Path(f"/proc/{self.started[-1].pid}/fd").iterdir()))

    def load(self) -> Load:
        return Load(int(self.events("delivered")[0]["url"].rpartition(":")[2].partition("/")[0]), clients=3)


@pytest.fixture(scope="module")
def caches(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    # What a restart builds again is there for all of this file; uv's downloads are the machine's.
    return {
        "XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache")),
        "UV_CACHE_DIR": output(find_uv_bin(), "cache", "dir") or "",
    }


@pytest.fixture
def watched(
    tmp_path: Path, base_image: str, caches: dict[str, str], docker_config: Path, registry: Registry
) -> Iterator[Callable[[Workspace, str], Watched]]:
    made: list[Watched] = []

    def make(workspace: Workspace, more: str = TESTS) -> Watched:
        env = {**caches, "XDG_DATA_HOME": str(tmp_path / "data")}
        made.append(Watched(tmp_path, base_image, env, workspace, registry, more))
        return made[-1]

    yield make
    for each in made:
        for process in each.started:
            process.kill()
            process.wait()
        words = [sys.executable, "-m", "packager", "service", "delete", each.name, "-q"]
        subprocess.run(words, env={**os.environ, **each.env}, check=False)
        remove_image(each.reference)
        assert not containers(f"packager.service={each.name}")


def test_a_version_that_is_newer_bad_or_killed_and_a_second_watcher(
    watched: Callable[[Workspace], Watched], tmp_path: Path
) -> None:
    here = watched(FolderWorkspace(tmp_path / "ws"))
    here.register({"mark": "one"})
    first = here.start()
    here.until("delivered", version=1)
    opened = here.opened
    with here.load() as load:
        here.register({"mark": "two"})
        here.until("delivered", version=2)
        assert here.opened == opened, "a version leaves nothing open: there may be thousands"
        second = here.run()
        assert second.returncode == 75
        assert f"service {here.name} is watched already by process {first.pid} on " in second.stderr
        here.register(BAD)
        bad = here.until("bad", version=3)
        assert bad["step"] == "test"
        assert "KeyError: 'mark'" in bad["message"]
        assert here.locked == 2, "the lock is put back"
        here.register({"mark": "four"})
        here.until("step", version=4, step="test")
        first.kill()
        first.wait()
        here.start("--push")
        pushed = here.until("delivered", version=4)["image"]
        assert pushed.startswith(f"{here.reference}@sha256:")
        while load.marks["four"] < 10 and not load.lost:
            time.sleep(0.05)
    load.check("one", "two", "four")
    assert here.locked == 4
    here.started[-1].send_signal(signal.SIGTERM)
    assert here.started[-1].wait(30) == 130
    assert len(here.events("bad")) == 1
    nothing = here.run("--once")
    assert nothing.returncode == 1
    assert json.loads(nothing.stdout.splitlines()[-1])["message"].startswith(
        "nothing of marks is newer than 4; marks:3"
    )
    none = here.run("--once", "--tag", "stage=production")
    assert none.returncode == 1, "no version has that tag"
    files_of_a_platform(here)


def files_of_a_platform(here: Watched) -> None:
    """Files that `packager deploy` wrote name the image of a newer version, and what somebody put into them stays."""

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        words = (sys.executable, "-m", "packager", *words)
        return subprocess.run(
            words, cwd=here.folder, env={**os.environ, **here.env}, capture_output=True, text=True, timeout=300
        )

    assert "has no files of a platform" in run("watch", "--deploy", "deploy", "--once").stderr
    assert run("push", "--no-test").returncode == 0
    made = run("deploy", "--to", "kubernetes", "-o", "deploy")
    assert made.returncode == 0, made.stderr
    (file,) = (path for path in (here.folder / "deploy").glob("*.yaml") if " image: " in path.read_text())
    before = file.read_text()
    file.write_text(f"{before}# ours\n")
    here.register({"mark": "five"})
    done = run("watch", "--push", "--deploy", "deploy", "--once", "--base", here.base)
    assert done.returncode == 0, done.stderr
    assert here.locked == 5
    image = done.stdout.split()[1]
    assert re.fullmatch(rf"{here.reference}@sha256:[0-9a-f]{{64}}", image)
    after = file.read_text()
    assert after.endswith("# ours\n")
    assert image.partition("@")[2] in after
    assert image.partition("@")[2] not in before


@pytest.mark.long
@pytest.mark.parametrize("place", ["folder", "registry"])
def test_ten_versions_one_of_them_bad_and_kills_under_load(
    watched: Callable[[Workspace, str], Watched], tmp_path: Path, registry: Registry, place: str
) -> None:
    location = f"oci://{registry.address}/packager-test/watched-{secrets.token_hex(4)}"
    workspace = FolderWorkspace(tmp_path / "ws") if place == "folder" else RegistryWorkspace(location)
    # Without tests of the spec a bad version is found when the service does not become healthy.
    here = watched(workspace, "" if place == "registry" else TESTS)
    here.register({"mark": "1"})
    here.start()
    here.until("delivered", version=1)
    latencies = []
    with here.load() as load:
        for number in range(2, 12):
            registered = time.monotonic()
            assert here.register({"mark": str(number)} if number != 6 else BAD) == number
            if number == 6:
                bad = here.until("bad", version=6)
                assert bad["step"] == ("update" if place == "registry" else "test")
                assert "KeyError: 'mark'" in bad["message"]
                assert here.locked == 5
                continue
            if number in (4, 9, 11):
                step = {4: "lock", 9: "build", 11: "test" if place == "folder" else "build"}[number]
                here.until("step", version=number, step=step)
                time.sleep(secrets.randbelow(30) / 10)
                here.started[-1].kill()
                here.started[-1].wait()
                here.start()
            here.until("delivered", version=number)
            while not load.marks[str(number)] and not load.lost:
                time.sleep(0.01)
            if number not in (4, 9, 11):
                build = here.events("step", version=number, step="build")[-1]["seconds"]
                latencies.append(time.monotonic() - registered - build)
    load.check(*(str(number) for number in range(1, 12) if number != 6))
    assert here.locked == 11
    assert len(here.events("bad")) == 1
    print(
        place,
        "seconds from a new version to the first answer, beyond the build:",
        [f"{each:.1f}" for each in latencies],
    )
    print("requests:", sum(load.marks.values()))
