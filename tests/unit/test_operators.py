"""Who puts files into force, with stand-ins for the clients: what is asked first, and what is made of what they say."""

from __future__ import annotations

import json
import os
import re
import socket
import stat
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest

from packager.deployment.apply import sample
from packager.deployment.apply.aci import ContainerInstances
from packager.deployment.apply.client import Client, Said, require_free_port, version_of
from packager.deployment.apply.kubernetes import reason_of
from packager.deployment.apply.operators import operator
from packager.deployment.apply.quadlet import Quadlet
from packager.deployment.apply.sample import request_of
from packager.deployment.platforms import render_for
from packager.deployment.workload import Operator, Release, Wishes, Workload
from packager.errors import EngineError, PackagerError, ServiceError, TemporaryError, UsageError
from packager.serving.example import Example
from packager.spec.service import ServiceWishes
from tests.unit.stand_in import StandIn
from tests.unit.workloads import IMAGE, PLAIN, release_in

KEY = "a-key-of-this-test-alone"


class _Scorer(BaseHTTPRequestHandler):
    """A service that wants the key for /score."""

    asked: ClassVar[list[tuple[str, str, bytes]]] = []

    def do_GET(self) -> None:
        self._answer(200, b"Healthy")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        type(self).asked.append((self.path, self.headers.get("Authorization", ""), body))
        self._answer(200 if self.headers.get("Authorization") == f"Bearer {KEY}" else 401, b'{"message": "x"}')

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def service() -> Iterator[int]:
    """The port of a service of this machine."""
    _Scorer.asked.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), _Scorer) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all of PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return folder


#: A workload with a sample, whose requests need keys.
KEYED = msgspec.structs.replace(
    PLAIN, needs_key=True, service=ServiceWishes(auth="key"), sample=Example(text='{"data": [1]}')
)


def released(tmp_path: Path, platform: str, workload: Workload = KEYED, **wishes: Any) -> Release:
    rendering = render_for(platform, workload, Wishes(**wishes))
    return release_in(tmp_path / "files", platform, workload, rendering, **wishes)


def fails(kind: type[PackagerError], act: Any) -> str:
    with pytest.raises(kind) as found:
        act()
    return str(found.value)


class Heard(list[str]):
    """What was said."""

    @property
    def text(self) -> str:
        return "\n".join(self)


def test_each_platform_has_somebody() -> None:
    for name in ("kubernetes", "compose", "quadlet", "aci"):
        found: Operator = operator(name)
        assert {"apply", "wait", "rollback"} <= set(dir(found))
    assert "az iot edge set-modules" in fails(UsageError, lambda: operator("iot-edge"))
    assert "there is no platform 'nomad'" in fails(UsageError, lambda: operator("nomad"))


@pytest.mark.parametrize(
    ("platform", "remedy"),
    [
        ("kubernetes", "install kubectl"),
        ("compose", "install Docker"),
        ("quadlet", "install Podman 5"),
        ("aci", "Azure's"),
    ],
)
def test_a_client_that_is_not_there(platform: str, remedy: str, programs: Path, tmp_path: Path) -> None:
    said = fails(EngineError, lambda: operator(platform).apply(released(tmp_path, platform), print))
    assert "is not installed here" in said
    assert remedy in said


# --- kubectl ---


@pytest.fixture
def kubectl(programs: Path) -> StandIn:
    """As it answers where all is well."""
    return (
        StandIn(programs, "kubectl")
        .says("^version --client", '{"clientVersion": {"gitVersion": "v1.32.4"}}')
        .says("^version --output", '{"serverVersion": {"gitVersion": "v1.34.1"}}')
        .says("^config current-context", "staging\n")
        .says("^get namespace", "namespace/default\n")
        .says("^get secret diabetes-keys .*name$", "secret/diabetes-keys\n")
        .says("^apply", "deployment.apps/diabetes serverside-applied\n")
        .says("^rollout status", "deployment successfully rolled out\n")
        .says("go-template", KEY)
    )


def test_kubernetes_names_where_before_it_changes_anything(kubectl: StandIn, tmp_path: Path) -> None:
    heard, release = Heard(), released(tmp_path, "kubernetes", namespace="scoring")
    operator("kubernetes").apply(release, heard.append)
    assert heard[0].startswith("kubectl's context staging, cluster v1.34.1, namespace scoring: deployment.yaml")
    assert heard[1].strip() == "deployment.apps/diabetes serverside-applied"
    assert kubectl.calls[-1] == f"apply --server-side -k {release.folder}"
    # Whatever is asked before changes nothing.
    assert all(each.split()[0] in ("version", "config", "get") for each in kubectl.calls[:-1])


def test_kubernetes_sends_the_sample_by_a_forwarded_port(kubectl: StandIn, service: int, tmp_path: Path) -> None:
    kubectl.says("^port-forward", f"Forwarding from 127.0.0.1:{service} -> 5001\n", rest=60)
    heard = Heard()
    url = operator("kubernetes").wait(released(tmp_path, "kubernetes"), 60, heard.append)
    assert url == "http://diabetes.default.svc/"
    operator("kubernetes").wait(released(tmp_path / "short", "kubernetes"), 0.2, heard.append)
    assert any(each.endswith("--timeout=1s") for each in kubectl.calls), "0 is for ever"
    assert _Scorer.asked == [("/score", f"Bearer {KEY}", b'{"data": [1]}')] * 2
    assert "status 200" in heard.text
    assert KEY not in heard.text


def test_a_sample_that_is_not_answered_is_no_passing_trouble(
    kubectl: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It listens, and says nothing: what was deployed is to be taken back."""
    monkeypatch.setattr(sample, "_AROUND", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        kubectl.says("^port-forward", f"Forwarding from 127.0.0.1:{silent.getsockname()[1]} -> 5001\n", rest=60)
        workload = msgspec.structs.replace(KEYED, scoring_timeout=0.1)
        release = released(tmp_path, "kubernetes", workload)
        fails(ServiceError, lambda: operator("kubernetes").wait(release, 60, print))


@pytest.mark.parametrize(
    ("pattern", "answer", "kind", "message", "remedy"),
    [
        ("^version --client", ('{"clientVersion": {"gitVersion": "v1.18.0"}}', "", 0), EngineError, "v1.18.0 is older",
         "install kubectl"),
        ("^config current", ("", "error: current-context is not set", 1), EngineError, "no context is chosen",
         "use-context"),
        ("^version --output", ("", "The connection to the server 10.0.0.1:6443 was refused: i/o timeout", 1),
         TemporaryError, "could not reach the cluster of context staging", "try again"),
        ("^get namespace", ("", 'Error from server (NotFound): namespaces "default" not found', 1), UsageError,
         "no namespace default", "kubectl create namespace default"),
        ("^get secret", ("", 'Error from server (NotFound): secrets "diabetes-keys" not found', 1), UsageError,
         "has no Secret diabetes-keys", "kubectl create secret generic diabetes-keys"),
        ("^apply", ("", "error: Apply failed with 1 conflict: conflict with kubectl-edit", 1), EngineError,
         "somebody else changed the same fields", "--force-conflicts"),
        ("^apply", ("", "deployments.apps is forbidden: User x cannot patch", 1), EngineError, "forbidden",
         "ask for the rights"),
    ],
)  # fmt: skip
def test_kubernetes_says_what_is_missing(
    pattern: str,
    answer: tuple[str, str, int],
    kind: type[PackagerError],
    message: str,
    remedy: str,
    kubectl: StandIn,
    tmp_path: Path,
) -> None:
    out, error, code = answer
    kubectl.says(pattern, out, error=error, code=code)
    said = fails(kind, lambda: operator("kubernetes").apply(released(tmp_path, "kubernetes"), print))
    assert message in said
    assert remedy in said
    # What cannot succeed is not begun.
    assert pattern == "^apply" or not any(each.startswith("apply") for each in kubectl.calls)


def test_who_may_not_look_at_namespaces_may_work_in_one(kubectl: StandIn, tmp_path: Path) -> None:
    kubectl.says("^get namespace", error='namespaces "default" is forbidden: User cannot get', code=1)
    operator("kubernetes").apply(released(tmp_path, "kubernetes"), print)
    assert kubectl.calls[-1].startswith("apply")


def pod(**status: Any) -> dict[str, Any]:
    return {"metadata": {"name": "diabetes-1", "creationTimestamp": "2026-11-28T08:00:00Z"}, "status": status}


def container(**status: Any) -> dict[str, Any]:
    return pod(containerStatuses=[{"ready": False, **status}])


@pytest.mark.parametrize(
    ("found", "reason", "name", "before"),
    [
        (container(state={"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}),
         "ImagePullBackOff: no such image", "diabetes-1", False),
        (container(state={"waiting": {"reason": "CrashLoopBackOff"}}, lastState={"terminated": {"exitCode": 3}}),
         "could not load the entry script", "diabetes-1", True),
        (container(state={"running": {}}, lastState={"terminated": {"exitCode": 137, "reason": "OOMKilled"}}),
         "ran out of memory", "diabetes-1", True),
        (container(state={"terminated": {"exitCode": 78}}), "needs? a key, and it has none", "diabetes-1", False),
        (container(state={"waiting": {"reason": "ContainerCreating"}}), "", "diabetes-1", False),
        (container(state={"running": {}}), "", "diabetes-1", False),
        (pod(conditions=[{"type": "PodScheduled", "status": "False", "message": "Insufficient nvidia.com/gpu"}]),
         "no node takes it: Insufficient nvidia.com/gpu", "", False),
    ],
)  # fmt: skip
def test_why_a_pod_is_not_ready(found: dict[str, Any], reason: str, name: str, before: bool) -> None:
    well = {"metadata": {"name": "old", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "status": {"containerStatuses": [{"ready": True}]}}  # fmt: skip
    said, which, earlier = reason_of({"items": [well, found]})
    assert (which, earlier) == (name, before)
    assert (said == "") is (reason == "")
    assert re.search(reason, said)


def test_an_update_that_never_becomes_healthy_has_its_reason_and_log(kubectl: StandIn, tmp_path: Path) -> None:
    crashed = container(state={"waiting": {"reason": "CrashLoopBackOff"}}, lastState={"terminated": {"exitCode": 3}})
    kubectl.says("^rollout", error="error: timed out waiting for the condition", code=1)
    kubectl.says("^get pods", json.dumps({"items": [crashed]})).says("^logs", "ValueError: no such model\n")
    said = fails(ServiceError, lambda: operator("kubernetes").wait(released(tmp_path, "kubernetes"), 1, print))
    assert "could not load the entry script" in said
    assert "ValueError: no such model" in said
    assert "--previous" in kubectl.calls[-1]


def test_both_images_of_a_canary_are_waited_for_and_kserves_own_object(kubectl: StandIn, tmp_path: Path) -> None:
    wishes = {"route": "gateway", "gateway": "infra/public", "host": "scoring.example.com"}
    release = released(tmp_path, "kubernetes", PLAIN, canary=IMAGE.replace("a" * 64, "b" * 64), **wishes)
    silent = msgspec.structs.replace(release, workload=msgspec.structs.replace(PLAIN, sample=None))
    kubectl.says("^port-forward", "Forwarding from 127.0.0.1:1 -> 5001\n", rest=60)
    heard = Heard()
    assert operator("kubernetes").wait(silent, 60, heard.append) == "http://scoring.example.com/"
    assert [each.split()[2] for each in kubectl.calls if each.startswith("rollout")] == [
        *("deployment/diabetes", "deployment/diabetes-canary"),
    ]
    assert "no sample request is known" in heard.text
    kubectl.says("^wait", "condition met\n")
    operator("kubernetes").wait(released(tmp_path, "kubernetes", PLAIN, flavor="kserve"), 60, print)
    assert kubectl.calls[-1].startswith("wait --for=condition=Ready inferenceservice/diabetes")


# --- docker compose; its own engine is in tests/integration ---


@pytest.fixture
def docker(programs: Path, service: int) -> StandIn:
    """As it answers where all is well, and nothing runs yet."""
    project = {"name": "diabetes", "services": {"diabetes": {"ports": [{"host_ip": "127.0.0.1", "published": "0"}]}}}
    return (
        StandIn(programs, "docker")
        .says("^compose version", "2.26.1\n")
        .says("^compose config", json.dumps(project))
        .says("^version", "26.1.5\n")
        .says("^context inspect", "default (unix:///var/run/docker.sock)\n")
        .says("^compose ps", "")
        .says("^inspect .*Health", "healthy\n")
        .says("^inspect .*(Ports|Labels)", error="No such object", code=1)
        .says("^compose --progress plain up", " Container diabetes-diabetes-1  Started\n0123456789ab Downloading\n")
        .says("^compose port", f"0.0.0.0:{service}\n")
    )


def of_compose(tmp_path: Path) -> Release:
    release = released(tmp_path, "compose")
    (release.folder / "secrets").mkdir()
    (release.folder / "secrets/packager-keys").write_text(f"{KEY}\n")
    return release


def test_compose_names_where_and_passes_on_what_matters(docker: StandIn, service: int, tmp_path: Path) -> None:
    heard, release = Heard(), of_compose(tmp_path)
    operator("compose").apply(release, heard.append)
    assert heard == [
        "Docker's context default (unix:///var/run/docker.sock), project diabetes, ports 127.0.0.1:0",
        "  Container diabetes-diabetes-1  Started",
    ]
    assert operator("compose").wait(release, 30, heard.append) == f"http://127.0.0.1:{service}/"
    assert [asked[1] for asked in _Scorer.asked] == [f"Bearer {KEY}"]


_UP = "^compose --progress plain up"


@pytest.mark.parametrize(
    ("pattern", "error", "kind", "message", "remedy"),
    [
        ("^compose version", "docker: 'compose' is not a docker command.", EngineError, "no plugin for Compose",
         "docs.docker.com/compose/install"),
        ("^compose config", "required variable DEVICE_XCLMGMT is missing a value: set it to a device", UsageError,
         "DEVICE_XCLMGMT has no value: set it to a device", ".env"),
        ("^compose config", "yaml: line 4: did not find expected key", EngineError, "line 4", "--force"),
        ("^version", "Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?", EngineError,
         "no Docker engine answers", "docker context use"),
        (_UP, "Bind for 127.0.0.1:80 failed: port is already allocated", UsageError, "a port is taken", "--publish"),
        (_UP, "bind source path does not exist: /srv/models/x", UsageError, "has no /srv/models/x", "openssl"),
        (_UP, 'could not select device driver "nvidia" with capabilities: [[gpu]]', EngineError, "cannot give GPUs",
         "container toolkit"),
        (_UP, "Error response from daemon: manifest unknown", EngineError, "manifest unknown", "see what it says"),
        (_UP, "Get https://registry.example.com/v2/: i/o timeout", TemporaryError, "i/o timeout", "try again"),
    ],
)  # fmt: skip
def test_compose_says_what_is_missing(
    pattern: str, error: str, kind: type[PackagerError], message: str, remedy: str, docker: StandIn, tmp_path: Path
) -> None:
    docker.says(pattern, error=error, code=1)
    said = fails(kind, lambda: operator("compose").apply(of_compose(tmp_path), print))
    assert message in said
    assert remedy in said
    assert pattern == _UP or not any(re.search(_UP, each) for each in docker.calls)


@pytest.mark.usefixtures("systemd")
def test_a_service_behind_another_has_no_port_and_is_well(docker: StandIn, programs: Path, tmp_path: Path) -> None:
    """Somebody took the port out of the file: that is no reason to take an update back."""
    heard = Heard()
    docker.says("^compose port", ":0\n")
    assert operator("compose").wait(of_compose(tmp_path / "compose"), 30, heard.append) == ""
    StandIn(programs, "podman").says("^port", error="no port", code=1)
    assert operator("quadlet").wait(released(tmp_path / "quadlet", "quadlet"), 30, heard.append) == ""
    assert heard == ["it is healthy, and has no port on this machine, so no sample request was sent"] * 2
    assert _Scorer.asked == []


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [
        ("", 0o644, "holds no key"),
        ("short\n", 0o644, "what cannot be a key"),
        (f"{KEY}\n{KEY}2\n{KEY}3\n", 0o644, "more than two keys"),
        (f"{KEY}\n", 0o600, "the container's user (4321) cannot read"),
    ],
)
def test_keys_with_which_no_server_starts_are_told_before_what_runs_ends(
    text: str, mode: int, said: str, docker: StandIn, tmp_path: Path
) -> None:
    release = of_compose(tmp_path)
    release = msgspec.structs.replace(release, workload=msgspec.structs.replace(release.workload, user=4321))
    keys = release.folder / "secrets/packager-keys"
    keys.write_text(text)
    keys.chmod(mode)
    assert said in fails(UsageError, lambda: operator("compose").apply(release, print))
    assert not any(re.search(_UP, each) for each in docker.calls)


def test_an_old_compose_is_told(docker: StandIn, tmp_path: Path) -> None:
    docker.says("^compose version", "2.6.0\n")
    assert "2.6.0 is older than 2.17" in fails(
        EngineError, lambda: operator("compose").apply(of_compose(tmp_path), print)
    )


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ('3 {"Running": true, "Restarting": true, "ExitCode": 3}', "could not load the entry script"),
        ('0 {"Running": false, "OOMKilled": true, "ExitCode": 137}', "ran out of memory"),
        ('0 {"Running": false, "OOMKilled": true, "ExitCode": 137}', "service: {memory_limit: SIZE}"),
        ('0 {"Running": true, "ExitCode": 0}', "did not answer within 5 s"),
    ],
)
def test_why_a_container_of_compose_is_ill(state: str, reason: str, docker: StandIn, tmp_path: Path) -> None:
    docker.says(_UP, error="container is unhealthy", code=1).says("^compose ps", "0123456789ab\n")
    docker.says("^inspect", state).says("^compose logs", "ValueError: no such model\n")
    said = fails(ServiceError, lambda: operator("compose").wait(of_compose(tmp_path), 5, print))
    assert reason in said
    assert "ValueError: no such model" in said


def test_compose_says_whose_service_it_takes_the_place_of(docker: StandIn, tmp_path: Path) -> None:
    docker.says("^compose ps", "0123456789ab\n").says("^inspect .*Labels", "/srv/other\n")
    heard, release = Heard(), of_compose(tmp_path)
    operator("compose").apply(release, heard.append)
    assert "; it takes the place of what /srv/other started: another --name" in heard[0]
    docker.says("^inspect .*Labels", f"{release.folder}\n")
    operator("compose").apply(release, heard.append)
    assert "takes the place" not in heard[2]


def test_an_update_at_a_port_that_is_taken_leaves_what_runs(docker: StandIn, service: int, tmp_path: Path) -> None:
    """Compose ends the container of before first, whose own port is no obstacle."""
    project = {"services": {"diabetes": {"ports": [{"host_ip": "127.0.0.1", "published": str(service)}]}}}
    docker.says("^compose config", json.dumps(project)).says("^compose ps", "0123456789ab\n")
    docker.says("^inspect .*Ports", json.dumps({"5001/tcp": [{"HostPort": "5001"}], "8000/tcp": None}))
    release = of_compose(tmp_path)
    assert f"port {service} is taken" in fails(UsageError, lambda: operator("compose").apply(release, print))
    assert not any(re.search(_UP, each) for each in docker.calls)
    docker.says("^inspect .*Ports", json.dumps({"5001/tcp": [{"HostPort": str(service)}]}))
    operator("compose").apply(release, print)


def test_an_update_that_ends_what_ran_and_does_not_start_is_a_service_that_is_down(
    docker: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = [{"5001"}, set[str]()]
    monkeypatch.setattr("packager.deployment.apply.compose.Compose._held", lambda *_: held.pop(0))
    docker.says(_UP, " Container diabetes-diabetes-1  Recreated\n", error="Bind for 0.0.0.0:80 failed", code=1)
    said = fails(ServiceError, lambda: operator("compose").apply(of_compose(tmp_path), print))
    assert "Bind for 0.0.0.0:80 failed" in said
    assert "Recreated" not in said


def test_compose_is_not_believed_that_a_container_is_well(docker: StandIn, tmp_path: Path) -> None:
    docker.says("^compose ps", "0123456789ab\n").says("^compose logs", "Invoking user's init function\n")
    docker.says("^inspect .*State", '0 {"Running": true}').says("^inspect .*Health", "starting\n")
    said = fails(ServiceError, lambda: operator("compose").wait(of_compose(tmp_path), 0.2, print))
    assert "init() has not returned" in said


def test_a_container_of_compose_that_is_gone(docker: StandIn, tmp_path: Path) -> None:
    docker.says(_UP, code=1).says("^inspect", error="No such object", code=1).says("^compose logs", "")
    assert "its container is gone" in fails(
        ServiceError, lambda: operator("compose").wait(of_compose(tmp_path), 5, print)
    )


# --- az ---


def shown(port: int, state: str = "Running", restarts: int = 0, code: int | None = None) -> str:
    view: dict[str, Any] = {"currentState": {"state": state}, "restartCount": restarts}
    if code is not None:
        view["previousState"] = {"exitCode": code}
    return json.dumps({
        "instanceView": {"state": state}, "ipAddress": {"ip": "127.0.0.1"},
        "containers": [{"name": "diabetes", "instanceView": view}],
    })  # fmt: skip


@pytest.fixture
def az(programs: Path, service: int, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    monkeypatch.setenv("PACKAGER_PRIMARY_KEY", KEY)
    monkeypatch.setenv("PACKAGER_SECONDARY_KEY", 'another "key" of this test')
    monkeypatch.setenv("AZURE_DEFAULTS_GROUP", "ml")
    return (
        StandIn(programs, "az")
        .says("^account show", '{"name": "Pay-as-you-go"}')
        .says("^group show")
        .says("^container create", error="Running ..\n")
        .says("^container show", shown(service))
        .says("^container logs", "ValueError: no such model\n")
    )


def of_azure(tmp_path: Path, service: int) -> Release:
    return released(tmp_path, "aci", msgspec.structs.replace(KEYED, port=service))


def test_azure_gets_secrets_in_a_file_that_is_gone_afterwards(az: StandIn, service: int, tmp_path: Path) -> None:
    heard, release = Heard(), of_azure(tmp_path, service)
    deploy = ContainerInstances(pause=0.01)
    deploy.apply(release, heard.append)
    assert heard[0] == "Azure's subscription Pay-as-you-go, resource group ml, container group diabetes"
    call = next(each for each in az.records if each["words"].startswith("container create"))
    assert KEY in call["text"]
    assert not Path(call["file"]).exists()
    assert not Path(call["file"]).is_relative_to(release.folder)
    assert KEY not in "".join(each.read_text() for each in release.folder.iterdir())
    assert KEY not in call["words"]
    assert deploy.wait(release, 30, heard.append) == f"http://127.0.0.1:{service}/"
    assert [asked[1] for asked in _Scorer.asked] == [f"Bearer {KEY}"]


def test_azures_file_can_be_read_by_nobody_else() -> None:
    from packager.deployment.apply.aci import _readable_by_us

    with _readable_by_us("secret") as path:
        assert (stat.S_IMODE(path.stat().st_mode), path.read_text()) == (0o600, "secret")
    assert not path.exists()


def test_azure_wants_what_is_to_be_filled_in(
    az: StandIn, service: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PACKAGER_SECONDARY_KEY")
    said = fails(UsageError, lambda: ContainerInstances().apply(of_azure(tmp_path, service), print))
    assert "PACKAGER_SECONDARY_KEY is not set" in said
    assert 'export PACKAGER_SECONDARY_KEY="$(openssl rand -hex 32)"' in said
    assert not any(each.startswith("container") for each in az.calls)


def test_azure_wants_a_login_and_a_group(
    az: StandIn, service: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = of_azure(tmp_path, service)
    az.says("^group show", error="ResourceGroupNotFound", code=3)
    assert "no resource group ml" in fails(UsageError, lambda: ContainerInstances().apply(release, print))
    monkeypatch.delenv("AZURE_DEFAULTS_GROUP")
    az.says("^config get", error="Configuration 'defaults.group' is not set.", code=1)
    assert "az config set defaults.group" in fails(UsageError, lambda: ContainerInstances().apply(release, print))
    az.says("^account", error="Please run 'az login'", code=1)
    assert "az login" in fails(EngineError, lambda: ContainerInstances().apply(release, print))


def test_a_container_group_that_ends_again_and_again(az: StandIn, service: int, tmp_path: Path) -> None:
    az.says("^container show", shown(service, "Waiting", restarts=3, code=3))
    said = fails(ServiceError, lambda: ContainerInstances(0.01).wait(of_azure(tmp_path, service), 30, print))
    assert "could not load the entry script" in said
    assert "ValueError: no such model" in said


# --- systemd and Podman ---


@pytest.fixture
def systemd(programs: Path, service: int, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    # As a user, whose units are in a folder of the test.
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    (
        StandIn(programs, "podman")
        .says("^version", "5.4.2\n")
        .says("^secret inspect diabetes-keys$", "[]")
        .says("showsecret", f"{KEY}\n")
        .says("^port", f"127.0.0.1:{service}\n")
    )
    (
        StandIn(programs, "journalctl")
        .says("--unit diabetes.service", "Main process exited, code=exited, status=3/NOTIMPLEMENTED\n")
        .says("CONTAINER_NAME=diabetes ", "ValueError: no such model\n\n")
    )
    return (
        StandIn(programs, "systemctl")
        .says("--property Version", "257\n")
        .says("show diabetes.service", "ActiveState=active\nNRestarts=0\n")
        .says("daemon-reload|restart")
        .says("reset-failed", error="Unit diabetes.service not loaded.", code=1)
    )


def test_a_unit_is_put_where_systemd_finds_it(systemd: StandIn, tmp_path: Path) -> None:
    heard, release = Heard(), released(tmp_path, "quadlet")
    operator("quadlet").apply(release, heard.append)
    units = tmp_path / "config/containers/systemd"
    assert heard[0] == f"this user's systemd, unit diabetes.service in {units}, ports 127.0.0.1:5001"
    assert (units / "diabetes.container").read_bytes() == (release.folder / "diabetes.container").read_bytes()
    assert systemd.calls[-3:] == [
        f"--user {each}"
        for each in ("daemon-reload", "reset-failed diabetes.service", "restart --no-block diabetes.service")
    ]
    operator("quadlet").wait(release, 30, heard.append)
    assert [asked[1] for asked in _Scorer.asked] == [f"Bearer {KEY}"]


def test_a_unit_that_runs_has_its_own_port_and_no_other(systemd: StandIn, service: int, tmp_path: Path) -> None:
    release = released(tmp_path, "quadlet", publish=service)
    said = fails(UsageError, lambda: operator("quadlet").apply(release, print))
    assert f"port {service} is taken" in said
    assert not any("restart" in each for each in systemd.calls)
    installed = tmp_path / "config/containers/systemd"
    installed.mkdir(parents=True)
    (installed / "diabetes.container").write_bytes((release.folder / "diabetes.container").read_bytes())
    operator("quadlet").apply(release, print)
    assert any("restart" in each for each in systemd.calls)


def test_a_unit_that_never_becomes_healthy(systemd: StandIn, tmp_path: Path) -> None:
    release = released(tmp_path, "quadlet")
    systemd.says("show diabetes", "ActiveState=activating\nSubState=auto-restart\nNRestarts=1\n")
    said = fails(ServiceError, lambda: operator("quadlet").wait(release, 30, print))
    assert "could not load the entry script" in said
    assert "ValueError: no such model" in said
    systemd.says("show diabetes", "ActiveState=activating\nSubState=start\nNRestarts=1\n")
    assert "did not answer within 0 s" in fails(ServiceError, lambda: operator("quadlet").wait(release, 0, print))


def test_podman_says_what_is_missing(systemd: StandIn, programs: Path, tmp_path: Path) -> None:
    release = released(tmp_path, "quadlet")
    podman = StandIn(programs, "podman").says("^version", "5.4.2\n").says("^secret", code=125)
    assert "podman secret create diabetes-keys" in fails(UsageError, lambda: Quadlet().apply(release, print))
    systemd.says("--property Version", error="Failed to connect to bus", code=1)
    assert "Failed to connect to bus" in fails(EngineError, lambda: Quadlet().apply(release, print))
    podman.says("^version", "4.3.1\n")
    assert "Podman 4.3.1 is older than 5" in fails(EngineError, lambda: Quadlet().apply(release, print))
    assert not (tmp_path / "config").exists()


# --- going back ---


def test_going_back_is_applying_and_waiting(
    docker: StandIn, kubectl: StandIn, az: StandIn, systemd: StandIn, service: int, tmp_path: Path
) -> None:
    """So that it is said to be back only when it answers."""
    operator("compose").rollback(of_compose(tmp_path / "compose"), print)
    assert any(each.endswith("--wait --wait-timeout 120") for each in docker.calls)
    # What was never well is not waited for as long as a request may take.
    assert any(each.endswith("--timeout 10") for each in docker.calls)
    kubectl.says("^port-forward", f"Forwarding from 127.0.0.1:{service} -> 5001\n", rest=60)
    operator("kubernetes").rollback(released(tmp_path / "kubernetes", "kubernetes"), print)
    assert [each.split()[0] for each in kubectl.calls][-4:] == ["apply", "rollout", "get", "port-forward"]
    operator("quadlet").rollback(released(tmp_path / "quadlet", "quadlet"), print)
    ContainerInstances(0.01).rollback(of_azure(tmp_path / "aci", service), print)
    assert len(_Scorer.asked) == 4


# --- what all of them share ---


def test_a_port_that_is_taken_is_told(service: int) -> None:
    said = fails(UsageError, lambda: require_free_port(f"127.0.0.1:{service}", "another one"))
    assert f"port {service} is taken" in said
    require_free_port("127.0.0.1:0", "another one")
    require_free_port("nonsense", "another one")


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("v2.26.1-4", (2, 26, 1)), ("5.4", (5, 4)), ("Docker Compose v2.40.3", (2, 40, 3)), ("none", ())],
)
def test_versions(text: str, numbers: tuple[int, ...]) -> None:
    assert version_of(text) == numbers


def test_what_may_pass_is_told_from_what_does_not() -> None:
    client = Client("kubectl", install="")
    assert isinstance(client.refused(Said(code=1, out="", error="dial tcp: i/o timeout"), "x"), TemporaryError)
    assert isinstance(client.refused(Said(code=1, out="", error="denied"), "x"), EngineError)
    assert "exit code 4" in str(client.refused(Said(code=4, out=""), "x"))


def test_progress_is_passed_on_line_by_line(programs: Path) -> None:
    heard = Heard()
    StandIn(programs, "az").says("go", "\x1b[32mfirst\x1b[0m\n", error="second\n", code=4)
    said = Client("az", install="").run("go", say=heard.append)
    assert (said.code, sorted(heard)) == (4, ["  first", "  second"])


def test_a_client_that_hangs_is_not_waited_for(programs: Path) -> None:
    StandIn(programs, "az").says("hang", rest=30)
    assert "did not end within 0.3 s" in fails(
        TemporaryError, lambda: Client("az", install="").ask("hang", timeout=0.3)
    )


def test_samples_are_what_packager_score_sends(tmp_path: Path) -> None:
    image = tmp_path / "seven.png"
    image.write_bytes(b"\x89PNG")
    assert request_of(Example(text="{}", headers={"A": "b"})) == (b"{}", {"A": "b"})
    assert request_of(Example(file=str(image)))[0] == b"\x89PNG"
    body, headers = request_of(Example(form=(("n", "1"), ("image", f"@{image}"))))
    assert headers["Content-Type"].startswith("multipart/form-data; boundary=")
    assert b'filename="seven.png"' in body
    assert "cannot be read" in fails(UsageError, lambda: request_of(Example(file=str(tmp_path / "none"))))
