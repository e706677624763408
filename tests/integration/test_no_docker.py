"""A package's service on this machine without Docker, asked by real clients. No engine answers in these tests."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import NO_ENGINE, RunPackager
from tests.integration.serving_package import Load, ask, write_package

pytestmark = [pytest.mark.network, pytest.mark.skipif(sys.platform != "linux", reason="--no-docker is for Linux")]

PYTHON = f'python: "{sys.version_info.major}.{sys.version_info.minor}"\n'
MODELS = "models: [{path: weights.json, name: weights, version: 3}]\nenv: {WHERE: /var/azureml-app/notes.txt}\n"
#: Answers with what it was given beside its own.
MORE = """

def environ(names):
    return {name: os.environ.get(name) for name in names}


started, plain = init, run


def init():
    started()
    with open(os.path.join(os.environ["AZUREML_MODEL_DIR"], "weights.json")) as file:
        assert json.load(file) == [1, 2]


def run(data):
    asked = json.loads(data)
    found = environ(asked.get("environ", ()))
    files = {name: open(name).read() for name in asked.get("files", ())}
    return {**plain(data), **found, **files}
"""


class Here:
    """A locked package, and the command line with a state folder of its own."""

    def __init__(self, run: RunPackager, folder: Path, state: Path) -> None:
        self.run_packager, self.folder, self.state = run, folder, state
        self.env = {**NO_ENGINE, "XDG_STATE_HOME": str(state)}

    def run(self, *words: str, code: int = 0, stdin: str = "") -> subprocess.CompletedProcess[str]:
        done = self.run_packager(*words, cwd=self.folder, env=self.env, check=False, stdin=stdin)
        assert done.returncode == code, done.stderr
        assert "Traceback (most recent call last)" not in done.stderr.partition("\n    ")[0]
        return done

    def deploy(self, name: str, *options: str) -> int:
        done = self.run("service", "deploy", name, "--no-docker", "-p", "0:1", "--format", "json", *options)
        found = json.loads(done.stdout)
        assert found["state"] == "Healthy"
        assert "without Docker it runs as you" in done.stderr
        return int(found["urls"]["root"].rstrip("/").rpartition(":")[2])

    def show(self, name: str) -> Any:
        return json.loads(self.run("service", "show", name, "--format", "json").stdout)

    def processes(self) -> list[str]:
        """The processes that were started from this state folder."""
        found = []
        for each in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = each.read_bytes()
            except OSError:
                continue
            if str(self.state).encode() in words:
                found.append(words.replace(b"\0", b" ").decode())
        return found


@pytest.fixture(scope="module")
def here(run_packager: RunPackager, index: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Here]:
    folder = write_package(tmp_path_factory.mktemp("here"))
    spec = folder / "packager.yaml"
    spec.write_text(spec.read_text() + PYTHON + MODELS)
    (folder / "weights.json").write_text("[1, 2]")
    (folder / "notes.txt").write_text("a note")
    script = folder / "score.py"
    script.write_text(script.read_text() + MORE)
    found = Here(run_packager, folder, tmp_path_factory.mktemp("state"))
    found.run("lock")
    yield found
    for each in found.state.glob("packager/services/*"):
        found.run("service", "delete", each.name)
    assert found.processes() == []
    assert list(found.state.glob("packager/*/*")) == []


def test_an_update_loses_no_request_and_a_bad_one_changes_nothing(here: Here) -> None:
    port = here.deploy("load", "-e", "OWN=kept", "-e", "SECRET=4711")
    with Load(port) as load:
        here.run("service", "update", "load", "-e", "MARK=second")
        before = load.marks["second"]
        said = here.run("service", "update", "load", "-e", "FAIL=weights.bin", code=8).stderr
        while load.marks["second"] < before + 20 and not load.lost:
            time.sleep(0.05)
    load.check("first", "second")
    assert "no such model: weights.bin" in said
    assert "load still runs served 1 (cpu, without Docker)" in said
    assert json.loads(ask(port, {"environ": ["OWN"]})[1])["OWN"] == "kept", "variables stay across updates"
    assert len(here.processes()) == 4, "a forwarder, a keeper, the server and its worker"
    kept = [each.read_bytes() for each in here.state.rglob("*") if each.is_file()]
    assert not any(b"4711" in each for each in kept), "values of variables are in no file"
    # A spec that cannot be packaged any more changes nothing either, and one that can is what runs.
    script = here.folder / "score.py"
    text = script.read_text()
    script.write_text(text + "def broken(:\n")
    said = here.run("service", "update", "load", code=6).stderr
    assert f"score.py:{len(text.splitlines()) + 1}" in said
    assert "still runs" in said
    script.write_text(text.replace("/ 2", "/ 4"))
    here.run("service", "update", "load")
    script.write_text(text)
    assert json.loads(ask(port, {"number": 4})[1])["half"] == 1.0


def test_a_service_from_its_first_day_to_its_last(here: Here) -> None:
    port = here.deploy("days")
    assert here.run("service", "score", "days", "--data", "-", stdin='{"number": 5}').stdout == (
        '{"mark": "first", "half": 2.5}'
    )
    assert here.run("score", "--service", "days", "--data", "-", stdin="{}").stdout
    assert "without Docker" in here.show("days")["image"]
    listed = here.run("service", "list")
    assert "days" in listed.stdout
    assert "those on the engine are not listed" in listed.stderr
    asked = {"environ": ["AZUREML_MODEL_DIR", "AML_APP_ROOT", "WHERE", "SSH_AUTH_SOCK", "VIRTUAL_ENV", "HOME", "PATH"]}
    found = json.loads(ask(port, {**asked, "files": ["notes.txt"]})[1])
    assert found["notes.txt"] == "a note", "its working directory is the app root"
    assert found["WHERE"] == f"{found['AML_APP_ROOT']}/notes.txt"
    assert found["SSH_AUTH_SOCK"] is found["VIRTUAL_ENV"] is None
    assert found["HOME"].startswith(str(here.state))
    model = Path(found["AZUREML_MODEL_DIR"]) / "weights.json"
    assert model.parent == Path(found["AML_APP_ROOT"]) / "azureml-models/weights/3"
    assert model.stat().st_nlink >= 2, "a link to the store, no copy"
    # What nobody used for a month would go, and its environment is in use.
    prefix = Path(found["PATH"].partition(":")[0]).parent
    os.utime(prefix, (0, 0))
    here.run("store", "gc")
    assert (prefix / "bin/azmlinfsrv").exists()
    assert model.read_text() == "[1, 2]"
    # Only this machine can reach it, and it is not in the way of others.
    listening = subprocess.run(["cat", "/proc/net/tcp"], capture_output=True, text=True, check=True).stdout.split()
    assert f"0100007F:{port:04X}" in listening
    assert f"00000000:{port:04X}" not in listening
    assert "already" in here.run("service", "deploy", "days", "--no-docker", code=2).stderr
    said = here.run("service", "deploy", "other", "--no-docker", "-p", f"{port}:1", code=7).stderr
    assert f"port {port} is taken" in said
    assert "takes no image" in here.run("service", "update", "days", "--memory", "1g", code=2).stderr
    # A killed server: said so, and deployed anew.
    record = json.loads(next((here.state / "packager/services/days/backends").glob("*/backend.json")).read_text())
    os.kill(record["process"]["pid"], signal.SIGKILL)
    while ask_quietly(port) == 200:
        time.sleep(0.05)
    assert here.show("days")["state"] == "Failed"
    said = here.run("service", "score", "days", "--data", "-", code=8, stdin="{}").stderr
    assert "days is Failed" in said
    here.run("service", "delete", "days")
    here.run("service", "show", "days", code=7)  # it may be on the engine, which does not answer


def test_a_rollback_and_a_pause(here: Here) -> None:
    port = here.deploy("back", "-e", "OWN=kept", "-e", "MARK=one")
    assert "nothing is kept that back ran before" in here.run("service", "rollback", "back", code=8).stderr

    def own() -> list[str]:
        return [each for each in here.processes() if "/services/back/" in each]

    script = here.folder / "score.py"
    text = script.read_text()
    script.write_text(text.replace("/ 2", "/ 4"))
    here.run("service", "update", "back", "-e", "MARK=two")
    script.write_text(text)
    assert json.loads(ask(port, {"number": 4})[1]) == {"mark": "two", "half": 1.0}
    said = here.run("service", "rollback", "back", code=8).stderr
    assert "to do: give them again: `packager service rollback back -e MARK=…`" in said
    with Load(port) as load:
        here.run("service", "rollback", "back", "-e", "MARK=one")
        before = load.marks["one"]
        while load.marks["one"] < before + 20 and not load.lost:
            time.sleep(0.05)
    load.check("two", "one")
    found = json.loads(ask(port, {"number": 4, "environ": ["OWN"]})[1])
    assert found == {"mark": "one", "half": 2.0, "OWN": "kept"}, "the script of before, though its file is another now"
    assert len(own()) == 4, "the kept one has ended"
    here.run("service", "rollback", "back", "-e", "MARK=three")
    assert json.loads(ask(port, {"number": 4})[1]) == {"mark": "three", "half": 1.0}
    # A pause: the port is free, the name is not.
    here.run("service", "stop", "back")
    assert own() == []
    assert here.show("back")["state"] == "Stopped"
    assert "packager service start back" in here.run("service", "deploy", "back", "--no-docker", code=2).stderr
    assert "back is stopped" in here.run("service", "update", "back", code=8).stderr
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        said = here.run("service", "start", "back", "-e", "OWN=kept", "-e", "MARK=four", code=7).stderr
        assert f"port {port} is taken" in said
    assert "-e MARK=… -e OWN=…" in here.run("service", "start", "back", code=8).stderr
    started = here.run("service", "start", "back", "-e", "OWN=kept", "-e", "MARK=four")
    assert started.stdout == f"http://127.0.0.1:{port}/score\n"
    assert json.loads(ask(port, {"number": 4})[1]) == {"mark": "four", "half": 1.0}
    assert "runs already" in here.run("service", "start", "back").stderr
    kept = [each.read_bytes() for each in here.state.rglob("*.json") if each.is_file()]
    assert not any(b"four" in each for each in kept), "values of variables are in no file"
    here.run("service", "delete", "back")


def test_versions_come_change_and_go_while_requests_run(here: Here) -> None:
    port = here.deploy("split", "-e", "MARK=old")
    deploy = ("service", "deploy", "split", "--no-docker")
    with Load(port) as load:
        here.run(*deploy, "--version", "b", "--traffic", "50", "-e", "MARK=new")
        before = load.marks["new"]
        while load.marks["new"] < before + 10 and not load.lost:
            time.sleep(0.05)
        here.run("service", "update", "split", "--version", "b", "-e", "MARK=newer")
        while load.marks["newer"] < 10 and not load.lost:
            time.sleep(0.05)
    load.check("old", "new", "newer")
    assert "one address" in here.run(*deploy, "--version", "c", "-p", "0:1", code=2).stderr
    assert [(each["name"], each["traffic"], each["state"]) for each in here.show("split")["versions"]] == [
        ("default", 50, "Healthy"), ("b", 50, "Healthy"),
    ]  # fmt: skip
    # The shares outlive a pause; each version asks for the values that went with its process.
    here.run("service", "stop", "split")
    assert here.show("split")["state"] == "Stopped"
    assert "-e MARK=…" in here.run("service", "start", "split", code=8).stderr
    here.run("service", "start", "split", "-e", "MARK=again")
    assert here.run("service", "traffic", "split").stdout == "default=50\nb=50\n"
    # One that ends by itself is started again while the other goes on.
    folder = here.state / "packager/services/split/versions/b"
    record = json.loads(
        (folder / "backends" / (folder / "current").read_text().split()[1] / "backend.json").read_text()
    )
    os.kill(record["process"]["pid"], signal.SIGKILL)
    while here.show("split")["versions"][1]["state"] == "Healthy":
        time.sleep(0.05)
    # The worker of the one that was killed sees after some seconds that it is alone.
    end = time.monotonic() + 60
    while any("/versions/b/" in each for each in here.processes()) and time.monotonic() < end:
        time.sleep(0.05)
    here.run("service", "start", "split", "--version", "b", "-e", "MARK=again")
    assert [each["state"] for each in here.show("split")["versions"]] == ["Healthy", "Healthy"]
    here.run("service", "traffic", "split", "b=100")
    here.run("service", "delete", "split", "--version", "default")
    status, body = ask(port, {})
    assert (status, json.loads(body)["mark"]) == (200, "again")
    assert len([each for each in here.processes() if "/services/split/" in each]) == 4, "the other one has ended"
    here.run("service", "delete", "split")


def ask_quietly(port: int) -> int:
    try:
        return ask(port, {})[0]
    except OSError:
        return 0


def test_a_service_that_does_not_start_says_why_and_makes_room(here: Here) -> None:
    said = here.run("service", "deploy", "late", "--no-docker", "-p", "0:1", "-e", "FAIL=weights.bin", code=8).stderr
    assert "no such model: weights.bin" in said
    assert "init() failed" in said
    shown = here.show("late")
    assert shown["state"] == "Failed"
    assert "no such model: weights.bin" in "\n".join(shown["log"])
    assert "weights.bin" in here.run("service", "logs", "late").stdout
    here.deploy("late")


def test_a_wrong_model_file_is_told_in_the_services_own_words(here: Here) -> None:
    model = here.folder / "weights.json"
    right = model.read_bytes()
    model.write_bytes(b"PK\x03\x04 another format")
    said = here.run("test", "--no-docker", code=8).stderr
    model.write_bytes(right)
    assert "init() failed (exit code 3)" in said
    assert "JSONDecodeError" in said


def test_requests_need_a_key_where_the_spec_says_so(here: Here) -> None:
    spec = here.folder / "packager.yaml"
    text = spec.read_text()
    spec.write_text(text + "server: {auth: key}\n")
    try:
        here.run("test", "--no-docker")
        port = here.deploy("keyed")
        assert ask(port, {})[0] == 401
        keys = json.loads(here.run("service", "keys", "keyed", "--format", "json").stdout)
        assert here.run("service", "score", "keyed", "--data", "-", stdin="{}").stdout
        anew = json.loads(here.run("service", "keys", "keyed", "--regenerate", "secondary", "--format", "json").stdout)
        assert anew["primary"] == keys["primary"]
        assert anew["secondary"] != keys["secondary"]
        for key, status in ((keys["primary"], 200), (anew["secondary"], 200), (keys["secondary"], 401)):
            assert ask(port, {}, Authorization=f"Bearer {key}")[0] == status
        here.run("service", "update", "keyed")
        assert ask(port, {}, Authorization=f"Bearer {anew['secondary']}")[0] == 200
        here.run("service", "deploy", "keyed", "--no-docker", "--version", "b")
        anew = json.loads(here.run("service", "keys", "keyed", "--regenerate", "primary", "--format", "json").stdout)
        for version in ("default", "b"):
            asks = {"azureml-model-deployment": version}
            assert ask(port, {}, 60, Authorization=f"Bearer {anew['primary']}", **asks)[0] == 200, "one pair for all"
            assert ask(port, {}, 60, **asks)[0] == 401
        log = here.run("service", "logs", "keyed", "--version", "b").stdout
        for key in {*keys.values(), *anew.values()}:
            assert key not in log
        for each in (here.state / "packager/services/keyed/keys").iterdir():
            assert each.stat().st_mode & 0o077 == 0
    finally:
        spec.write_text(text)


def test_run_until_it_is_told_to_end_and_test(here: Here, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "packager", "run", "--no-docker", "-p", "0:1"]
    env = {**os.environ, **here.env}
    # Its last line says that it may be stopped; a process that is killed takes the server along all the same.
    for number, code in ((signal.SIGINT, 0), (signal.SIGKILL, -signal.SIGKILL)):
        running = subprocess.Popen(words, cwd=here.folder, env=env, text=True, stdout=subprocess.PIPE)
        assert running.stdout is not None
        url = running.stdout.readline().strip()
        port = int(url.removesuffix("/score").rpartition(":")[2])
        assert ask(port, {"number": 4}) == (200, b'{"mark": "first", "half": 2.0}')
        running.send_signal(number)
        assert running.wait(60) == code
        running.stdout.close()
        end = time.monotonic() + 30
        while any("/runs/" in each for each in here.processes()):
            assert time.monotonic() < end, here.processes()
            time.sleep(0.05)
    # The next one removes what was left, and tests the same package.
    junit = tmp_path / "junit.xml"
    done = here.run("test", "--no-docker", "--junit", str(junit), "--format", "json")
    (report,) = json.loads(done.stdout)
    assert report["passed"]
    assert report["target"] == "cpu"
    assert [each["passed"] for each in report["tests"]] == [True, True]
    assert ET.parse(junit).getroot()[0].get("failures") == "0"
    done = here.run("test", "--no-docker", "-e", "MARK=other", code=8)
    assert '$.mark: "other" != "first"' in done.stdout
    assert list((here.state / "packager/runs").iterdir()) == []


def test_what_cannot_be(here: Here, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        said = here.run("run", "--no-docker", "-p", f"{port}:1", code=7).stderr
    assert f"port {port} is taken on this machine" in said
    for words in (("run", "image:1"), ("run", "--memory", "1g"), ("run", "--detach"), ("test", "--image", "image:1")):
        said = here.run(*words, "--no-docker", code=2).stderr
        assert "--no-docker" in said
    script = here.folder / "score.py"
    text = script.read_text()
    script.write_text(text.replace("def run(", "def ran("))
    said = here.run("run", "--no-docker", code=6).stderr
    script.write_text(text)
    assert "score.py" in said
    assert "has no run(data)" in said
    other = write_package(tmp_path / "arm")
    with (other / "packager.yaml").open("a") as file:
        file.write(PYTHON + "targets: {cpu: {platforms: [linux/arm64]}}\n")
    arm = Here(here.run_packager, other, here.state)
    arm.run("lock")
    if os.uname().machine == "x86_64":
        said = arm.run("run", "--no-docker", code=2).stderr
        assert "locked for linux/arm64, and this machine is linux on x86_64" in said
