from __future__ import annotations

from typing import Any

import pytest

from packager.errors import UsageError
from packager.serving.hosts.docker.service_members import container_of
from packager.serving.hosts.forwarder import control_command, forwarder_command
from packager.serving.killed import INIT_RETURNED
from packager.serving.service import State
from packager.serving.status import Seen, Status, decide, service_name

UP = Seen(status="running", state=State(running=True), health="starting", kept=True, age=5)
#: Of gunicorn, whose workers the kernel ends in init().
KILLED = "".join(f"[1] [ERROR] Worker (pid:{pid}) was sent SIGKILL! Perhaps out of memory?\n" for pid in (7, 8))
LIMITED = State(running=True, memory=64 << 20)


def seen(**changes: Any) -> Seen:
    values = {each: getattr(UP, each) for each in UP.__struct_fields__}
    return Seen(**{**values, **changes})


def ended(exit_code: int = 0, *, memory: bool = False, **changes: Any) -> Seen:
    state = State(running=False, exit_code=exit_code, out_of_memory=memory)
    return seen(**{"status": "exited", "state": state, **changes})


def test_what_was_stopped_is_not_what_failed() -> None:
    assert decide(ended(), ended(143), None, answers=False, stopped=True)[0] == "Stopped"
    assert decide(None, ended(137, memory=True), None, answers=False, stopped=True)[0] == "Stopped"
    # A stop that was killed half-way: what still runs is told.
    assert decide(ended(), UP, None, answers=False, stopped=True)[0] == "Failed"
    assert decide(None, None, None, answers=False, stopped=True)[0] == "Failed"


@pytest.mark.parametrize("state", ["Healthy", "Transitioning", "Stopped", "Failed", "Unhealthy", "Unschedulable"])
def test_a_stopped_service_keeps_its_name(state: Any) -> None:
    status = Status(name="a", state=state, reason="", image="x:1", url="")
    assert status.taken is (state in ("Healthy", "Transitioning", "Stopped"))
    assert status.well is (state in ("Healthy", "Transitioning"))


@pytest.mark.parametrize(
    ("forwarder", "current", "following", "answers", "state", "reason"),
    [
        (UP, UP, None, True, "Healthy", ""),
        (UP, UP, UP, True, "Healthy", "an update is under way"),
        (UP, seen(state=State(running=True, out_of_memory=True)), None, True, "Healthy", "exit code 137"),
        (UP, UP, None, False, "Transitioning", "does not answer yet"),
        (UP, seen(health=None), None, False, "Transitioning", "does not answer yet"),
        (UP, None, UP, False, "Transitioning", "replaced"),
        (UP, seen(age=200), None, False, "Unhealthy", "does not answer"),
        (UP, seen(health="unhealthy"), None, False, "Unhealthy", "does not answer"),
        (UP, seen(restarts=3), None, False, "Unhealthy", "started again 3 times"),
        (UP, seen(status="paused"), None, False, "Unhealthy", "paused"),
        (UP, seen(state=State(running=True, out_of_memory=True)), None, False, "Unhealthy", "exit code 137"),
        (UP, seen(health="healthy"), None, False, "Healthy", "busy"),
        (UP, ended(3), None, False, "Failed", "init()"),
        (UP, ended(137, memory=True), None, False, "Failed", "out of memory"),
        (UP, ended(0, kept=False), None, False, "Failed", "did not become healthy"),
        (UP, ended(0), None, False, "Failed", "by itself"),
        (
            UP,
            ended(0, kept=False, log=KILLED),
            None,
            False,
            "Failed",
            "its workers are killed, one after the other, as",
        ),
        (UP, seen(log=KILLED), None, False, "Unhealthy", "its workers are killed, one after the other, as"),
        (UP, seen(log=KILLED, state=LIMITED), None, False, "Unhealthy", "ran out of memory (limit: 64Mi)"),
        (UP, seen(log=f"{KILLED}{INIT_RETURNED}\n"), None, False, "Transitioning", "does not answer yet"),
        (UP, seen(log=KILLED), None, True, "Healthy", ""),
        (UP, ended(3, status="restarting", restarts=2), None, False, "Failed", "started again 2 times"),
        (UP, None, None, False, "Failed", "gone"),
        (None, UP, None, False, "Failed", "owns its port"),
        (ended(1), UP, None, False, "Failed", "owns its port"),
        (ended(128, error="port is taken"), UP, None, False, "Unschedulable", "port is taken"),
        (UP, ended(128, status="created", error="no such device"), None, False, "Unschedulable", "no such device"),
    ],
)
def test_states(
    forwarder: Seen | None, current: Seen | None, following: Seen | None, answers: bool, state: str, reason: str
) -> None:
    found, why = decide(forwarder, current, following, answers=answers)
    assert found == state
    assert reason in why


@pytest.mark.parametrize("name", ["a", "diabetes-2", "0", "a" * 40])
def test_names(name: str) -> None:
    assert service_name(name) == name


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a_b", "a.b", "a/b", "a" * 41, "a\n", "ä", "../x"])
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(UsageError):
        service_name(name)


def test_no_service_has_a_container_of_another() -> None:
    names = {container_of(name, "forwarder") for name in ("a", "a-current")}
    assert container_of("a", "current") not in names
    assert len(container_of("a" * 40, "previous")) <= 63  # of a DNS label


def test_addresses() -> None:
    status = Status(name="a", state="Healthy", reason="", image="x", url="http://127.0.0.1:1/")
    assert status.scoring_url == "http://127.0.0.1:1/score"
    assert status.swagger_url == "http://127.0.0.1:1/swagger.json"
    assert Status(name="a", state="Failed", reason="", image="x", url="").scoring_url == ""


def test_programs_fit_into_an_argument() -> None:
    # Linux: MAX_ARG_STRLEN is 128 KiB.
    for command in (forwarder_command(5001, "packager_a_current", 5001, "/x"), control_command("status")):
        assert max(len(word.encode()) for word in command) < 128 * 1024
        compile(command[command.index("-c") + 1], "inside", "exec")
