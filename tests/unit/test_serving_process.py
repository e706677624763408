from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from packager.errors import EngineError, ServiceError, UsageError
from packager.plan.plan import Machine
from packager.programs.child import keeper
from packager.serving.hosts.process.backend import Backend, Launch, bind
from packager.serving.hosts.process.folders import run_folder
from packager.serving.hosts.process.machine import ProcessHost
from packager.serving.hosts.process.package import require_devices
from packager.serving.hosts.process.places import Places, command, differences, environment, files
from packager.serving.hosts.process.process import Process, start
from packager.serving.hosts.process.service_backend import NamedBackend
from packager.serving.hosts.process.service_folder import ServiceFolder
from packager.serving.hosts.process.service_records import BackendRecord, ServiceRecord
from packager.serving.service import Publish, State
from packager.storage.memory import state_root
from tests.unit.plans import example_plan

PLACES = Places(root="/state/root", prefix="/cache/env", home="/state/home")


@pytest.mark.parametrize(
    ("text", "here"),
    [
        ("/var/azureml-app", "/state/root/var/azureml-app"),
        ("/var/azureml-app/azureml-models/m/1", "/state/root/var/azureml-app/azureml-models/m/1"),
        ("--config=/opt/packager/server.py", "--config=/state/root/opt/packager/server.py"),
        ("/opt/env/bin:/usr/bin:/opt/env/lib", "/cache/env/bin:/usr/bin:/cache/env/lib"),
        ('sys.path.append("/opt/packager/lib")', 'sys.path.append("/state/root/opt/packager/lib")'),
        ("/opt/environment /opt/env.d /opt/packager-x /var/azureml-app2", None),
        ("/my/opt/env", None),
        ("/usr/local/bin", None),
    ],
)
def test_paths_of_the_image_become_those_of_here(text: str, here: str | None) -> None:
    assert PLACES.rewritten(text) == (here or text)


def test_the_service_gets_the_images_variables_and_none_of_the_shells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OF_THE_SHELL", "1")
    plan = example_plan()
    found = environment(plan, PLACES, {"OWN": "/opt/env"})
    assert found.keys() == plan.config.env.keys() - {"PYTHONDONTWRITEBYTECODE"} | {"OWN"}
    assert found["AML_APP_ROOT"] == "/state/root/var/azureml-app"
    assert found["AZUREML_CONFIG_FILE"].startswith("/state/root/opt/packager/")
    assert found["PATH"].startswith("/cache/env/bin:")
    assert found["HOME"] == "/state/home"
    assert found["OWN"] == "/opt/env", "the user's own are taken as they are"
    config = msgspec.structs.replace(plan.config, env={**plan.config.env, "HOME": "/data"})
    assert environment(msgspec.structs.replace(plan, config=config), PLACES, {})["HOME"] == "/data"


def test_the_entry_point_is_the_images() -> None:
    program, script, port = command(example_plan(), PLACES, 4711)
    assert program == "/cache/env/bin/azmlinfsrv"
    assert script.startswith("--entry_script=/state/root/var/azureml-app/")
    assert port == "--port=4711"


def test_all_layers_are_one_tree() -> None:
    plan = example_plan()
    found, folders = files(plan, PLACES)
    assert {each.path for each in found} == {each.path for layer in plan.layers for each in layer.tree.files}
    assert {each.path for each in found if each.model} == {
        each.path for layer in plan.models for each in layer.tree.files
    }
    assert "var/azureml-app" in folders
    assert list(folders) == sorted(folders)


def test_what_is_not_as_in_the_image_is_said() -> None:
    assert "libgomp1" in differences(msgspec.structs.replace(example_plan(), system_packages=("libgomp1",)))
    assert "Debian packages" not in differences(msgspec.structs.replace(example_plan(), system_packages=()))


def test_a_port_that_is_taken() -> None:
    with bind(Publish(container_port=1, port=0)) as first:
        first.listen()
        address, port = first.getsockname()
        assert address == "127.0.0.1"
        with pytest.raises(EngineError, match=f"port {port} is taken"):
            bind(Publish(container_port=1, port=port))
    with pytest.raises(EngineError, match=r"192\.0\.2\.1:0 cannot be listened on"):
        bind(Publish(container_port=1, port=0, address="192.0.2.1"))


@pytest.mark.parametrize(
    ("machine", "missing"),
    [
        (Machine(devices=("/dev/null", "/dev/nonexistent*")), r"/dev/nonexistent\*"),
        (Machine(devices=("/dev/nul?",)), None),
        (Machine(gpus="all"), None if Path("/dev/nvidiactl").exists() else "/dev/nvidiactl"),
    ],
)
def test_a_device_that_is_missing(machine: Machine, missing: str | None) -> None:
    plan = msgspec.structs.replace(example_plan(), machine=machine)
    if missing is None:
        require_devices(plan)
        return
    with pytest.raises(UsageError, match=f"asks for the device {missing}, and this machine has none"):
        require_devices(plan)


def test_after_another_boot_a_service_is_gone_and_nobody_is_signalled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with subprocess.Popen(["sleep", "60"]) as innocent:
        before = Process(pid=innocent.pid, started=_ticks(innocent.pid), boot="another")
        service = ServiceFolder("a")
        (service.folder / "backends/1").mkdir(parents=True)
        record = ServiceRecord(address="127.0.0.1", port=1, forwarder=before, spec="packager.yaml", target="cpu")
        (service.folder / "service.json").write_bytes(msgspec.json.encode(record))
        (service.folder / "current").write_text("1 1\n")
        labels = {"packager.models": "[]"}
        backend = BackendRecord(
            process=before, port=1, title="t", variables=(), created="", healthy=True, labels=labels
        )
        NamedBackend(service, 1, backend).write()
        assert ProcessHost().labels() == (("a", labels),)
        status = service.status()
        assert status is not None
        assert (status.state, status.image) == ("Failed", "t")
        assert "this machine was started anew" in status.reason
        assert ProcessHost().names() == ("a",)
        service.remove()
        assert innocent.poll() is None
        innocent.terminate()
    assert ProcessHost().names() == ()


@pytest.fixture
def updated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ServiceFolder]:
    """A service that was updated with another value of B; its processes only sleep."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    service = ServiceFolder("a")
    with (tmp_path / "log").open("ab") as log:
        sleeps = [
            start(("sleep", "60"), environ={"A": "1", "B": "2", "HOME": "x"}, folder=tmp_path, log=log, descriptors=())
            for _ in range(2)
        ]
    launch = Launch(words=("server", "--port=0"), environ={}, folder=str(tmp_path), prefix=str(tmp_path / "gone"))
    for number in (1, 2):
        (service.folder / f"backends/{number}").mkdir(parents=True)
        process = sleeps[0] if number == 2 else msgspec.structs.replace(sleeps[0], started=1)
        record = BackendRecord(
            process=process, port=1, title=f"t{number}", variables=("A", "B"), created="", healthy=True,
            launch=launch, changed=("B",) if number == 2 else (),
        )  # fmt: skip
        NamedBackend(service, number, record).write()
    known = ServiceRecord(address="127.0.0.1", port=1, forwarder=sleeps[1], spec="packager.yaml", target="cpu")
    (service.folder / "service.json").write_bytes(msgspec.json.encode(known))
    (service.folder / "current").write_text("1 2\n")
    (service.folder / "kept").write_text("1\n")
    yield service
    for each in sleeps:
        each.stop(5)


def test_a_rollback_takes_the_values_that_an_update_left_alone_and_asks_for_the_others(updated: ServiceFolder) -> None:
    with pytest.raises(
        ServiceError, match="the values of B went with the process of a, for no file has them"
    ) as raised:
        updated.retired({})
    assert raised.value.remedy == "give them again: `packager service rollback a -e B=…`"
    with pytest.raises(ServiceError, match="the environment of t1 is gone: `packager store gc` freed it"):
        updated.retired({"B": "0"})()
    assert updated.current() is not None
    assert updated.kept() is not None


def test_the_kept_one_is_no_update_under_way_and_is_not_cleared(updated: ServiceFolder) -> None:
    updated.clear()
    status, kept = updated.status(), updated.kept()
    assert status is not None
    assert status.reason != "an update is under way"
    assert kept is not None
    assert kept.title == "t1"
    current = updated.current()
    assert current is not None
    current.retire()
    assert not kept.folder.exists(), "one is kept"


def test_what_was_stopped_asks_for_all_its_variables(updated: ServiceFolder) -> None:
    updated.halt()
    status = updated.status()
    assert status is not None
    assert (status.state, status.reason) == ("Stopped", "`packager service start` starts it again")
    with pytest.raises(ServiceError, match="the values of A, B went with the process") as raised:
        updated.resume({})
    assert raised.value.remedy == "give them again: `packager service start a -e A=… -e B=…`"
    with pytest.raises(ServiceError, match="the values of B"):
        updated.resume({"A": "1"})


def test_a_service_of_an_older_packager_has_nothing_to_go_back_to(updated: ServiceFolder) -> None:
    kept, current = updated.kept(), updated.current()
    assert kept is not None
    assert current is not None
    for each in (kept, current):
        each.record = msgspec.structs.replace(each.record, launch=None)
        each.write()
    with pytest.raises(ServiceError, match="nothing is kept that a ran before"):
        updated.retired({})
    with pytest.raises(ServiceError, match="nothing is left of a that could be started"):
        updated.resume({})


def kept(folder: Path, *program: str, bond: str = "stays") -> Backend:
    """A backend whose server is another program."""
    backend = Backend(folder)
    with bind(Publish(container_port=1, port=0)) as listening, backend.log_file.open("ab") as log:
        words = (sys.executable, "-I", "-S", keeper.__file__, str(listening.fileno()), str(folder / "exit"), bond)
        backend.process = start(
            (*words, *program), environ={"SECRET": "s"}, folder=folder, log=log, descriptors=(listening.fileno(),)
        )
    return backend


def ended(backend: Backend) -> State:
    assert backend.process is not None
    assert backend.process.wait(20)
    return backend.state()


def test_the_server_is_handed_its_socket_as_systemd_does(tmp_path: Path) -> None:
    code = (
        "import os, socket; s = socket.socket(fileno=3); print(s.getsockname()[0], os.environ['LISTEN_FDS'],"
        " int(os.environ['LISTEN_PID']) == os.getpid(), os.getsid(0) == os.getppid(), flush=True);"
        " os._exit(3)"
    )
    backend = kept(tmp_path, sys.executable, "-c", code)
    assert ended(backend) == State(running=False, exit_code=3)
    assert backend.logs(5) == "127.0.0.1 1 True True\n"


def test_a_missing_program_and_a_killed_one(tmp_path: Path) -> None:
    backend = kept(tmp_path, "/nonexistent/azmlinfsrv")
    assert ended(backend).exit_code == 127
    assert "/nonexistent/azmlinfsrv: No such file" in backend.logs(5)
    (tmp_path / "b").mkdir()
    backend = kept(tmp_path / "b", sys.executable, "-c", "import os; os.kill(os.getpid(), 9)")
    assert ended(backend).exit_code == 137


WAITS = "import signal, time, sys\nsignal.signal(15, lambda *_: (print('done', flush=True), sys.exit(0)))\nprint('up', flush=True)\ntime.sleep(60)"  # noqa: E501


def up(backend: Backend) -> Backend:
    end = time.monotonic() + 20
    while "up" not in backend.logs(1):
        assert time.monotonic() < end
        time.sleep(0.02)
    return backend


def test_sigterm_reaches_the_server_and_its_variables_are_known_while_it_runs(tmp_path: Path) -> None:
    backend = up(kept(tmp_path, sys.executable, "-c", WAITS))
    assert backend.process is not None
    assert backend.state().running
    assert backend.process.variables()["SECRET"] == "s"
    assert 0 <= backend.process.age() < 60
    followed = backend.tail(None, follow=True)
    assert next(followed) == b"up\n"
    backend.process.stop(20)
    assert backend.state() == State(running=False, exit_code=0)
    assert b"".join(followed) == b"done\n"
    assert backend.process.variables() == {}
    backend.remove()
    assert not tmp_path.exists()


def test_a_keeper_that_is_killed_takes_its_server_along(tmp_path: Path) -> None:
    backend = up(kept(tmp_path, sys.executable, "-c", WAITS))
    assert backend.process is not None
    children = Path(f"/proc/{backend.process.pid}/task/{backend.process.pid}/children").read_text().split()
    assert len(children) == 1
    backend.process.send(signal.SIGKILL)
    assert ended(backend).exit_code == 137, "nobody wrote down how it ended"
    end = time.monotonic() + 20
    while Path(f"/proc/{children[0]}").exists() and " Z " not in Path(f"/proc/{children[0]}/stat").read_text():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_recycled_number_is_never_signalled() -> None:
    with subprocess.Popen(["sleep", "60"]) as innocent:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        for started, its_boot in ((1, boot), (_ticks(innocent.pid), "another")):
            another = Process(pid=innocent.pid, started=started, boot=its_boot)
            assert not another.running
            another.send(signal.SIGKILL)
            another.stop(0.1)
        assert innocent.poll() is None
        itself = Process(pid=innocent.pid, started=_ticks(innocent.pid), boot=boot)
        assert itself.running
        itself.stop(5)
        assert innocent.wait(5) is not None
        itself.send(signal.SIGKILL)  # gone: no error


def _ticks(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


def test_folders_of_killed_runs_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    left = state_root() / "runs/left"
    (left / "backend").mkdir(parents=True)
    with run_folder() as first:
        assert not left.exists()
        (first / "backend").mkdir()
        with run_folder() as second:
            assert first.exists(), "that one still runs"
            assert second != first
    assert list((state_root() / "runs").iterdir()) == []
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    assert state_root() == Path.home() / ".local/state/packager"


def test_the_exit_file_may_be_nonsense(tmp_path: Path) -> None:
    (tmp_path / "exit").write_text(json.dumps({"other": 1}))
    assert Backend(tmp_path).state() == State(running=False, exit_code=137)


def test_a_version_has_a_folder_of_its_own_and_shares_the_rest(updated: ServiceFolder) -> None:
    assert updated.versions() == {}
    b = updated.of("b")
    assert (b.folder, b.key_folder, b.own) == (updated.folder, updated.key_folder, updated.folder / "versions/b")
    assert updated.of("default").own == updated.own
    current = updated.current()
    assert current is not None
    record = msgspec.structs.replace(current.record, title="of b", port=2, labels={"a": "b"}, auth=True)
    b.backend_folder(1).mkdir(parents=True)
    backend = NamedBackend(b, 1, record)
    backend.write()
    assert not backend.point(), "no forwarder answers"
    assert not updated.route({"default": 90, "b": 10})
    assert updated.versions() == {"default": 90, "b": 10}
    rows = json.loads((updated.folder / "traffic").read_text())
    assert [each["backend"] for each in rows] == ["current", "versions/b/current"]
    assert (updated.folder / rows[1]["backend"]).read_text() == "2 1\n"
    assert {"a": "b"} in updated.labels()
    with pytest.raises(ServiceError, match="the keys of a cannot be read"):
        updated.keys()
    with pytest.raises(ServiceError, match="nothing is kept that a \\(b\\) ran before") as raised:
        b.retired({})
    assert "`packager service update a --version b REF`" in str(raised.value.remedy)
    (updated.folder / "traffic").write_text("{")
    with pytest.raises(ServiceError, match="what is remembered of the versions cannot be read"):
        updated.versions()
    updated.route({"default": 100})
    before = (updated.own / "current").read_text()
    b.drop()
    assert not b.own.exists()
    assert (updated.own / "current").read_text() == before
    assert updated.versions() == {}
