"""`Model.profile`: requests of whatever v1 hands over, and what was measured by v1's names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from packager.azureml.core import Dataset, Model, Workspace
from packager.azureml.core.inference_config import InferenceConfig
from packager.azureml.core.profile import ModelProfile
from packager.azureml.exceptions import UserErrorException, WebserviceException
from packager.azureml.profiling import bodies_of, measured
from packager.errors import ServiceError
from packager.serving.profile import Block, Limits, Row
from packager.steps.profile import GB, Profile, ProfileWish


def row(**fields: Any) -> Row:
    block = Block(latencies=(0.01, 0.01, 0.01), seconds=1.5, cpu=0.6)
    return Row(**{"limits": Limits(cpu=1, memory=GB), "blocks": (block,), "memory": GB // 4, **fields})


def made(*rows: Row, recommended: Limits | None = None) -> Profile:
    return Profile(
        name="p",
        image="image:1",
        target="cpu",
        platform="linux/amd64",
        created="2026-01-01T00:00:00+00:00",
        cpus=2,
        machine_memory=8 * GB,
        samples=("request 1",),
        rows=rows,
        recommended=recommended,
        advice="no limits held",
    )


def test_details_have_the_names_of_v1() -> None:
    found = measured(made(row(), recommended=Limits(cpu=0.5, memory=GB // 4)))
    assert found == {
        "createdTime": "2026-01-01T00:00:00+00:00",
        "state": "Succeeded",
        "requestedCpu": 1,
        "requestedMemoryInGB": 1.0,
        "requestedQueriesPerSecond": 0.0,
        "maxUtilizedMemoryInGB": 0.25,
        "maxUtilizedCpu": 0.4,
        "totalQueries": 3,
        "successQueries": 3,
        "successRate": 100.0,
        "averageLatencyInMs": 10.0,
        "latencyPercentile50InMs": 10.0,
        "latencyPercentile90InMs": 10.0,
        "latencyPercentile95InMs": 10.0,
        "latencyPercentile99InMs": 10.0,
        "latencyPercentile999InMs": 10.0,
        "measuredQueriesPerSecond": 2.0,
        "recommendedCpu": 0.5,
        "recommendedMemoryInGB": 0.25,
    }


def test_what_failed_under_the_limits_that_were_asked_for_says_why() -> None:
    found = measured(made(row(blocks=(), reason="it hangs")))
    assert (found["state"], found["error"]) == ("Failed", {"message": "it hangs"})
    found = measured(made(row(blocks=())))
    assert found["error"] == {"message": "no limits held"}


def test_where_nothing_is_recommended_it_is_what_was_asked_for() -> None:
    assert measured(made(row()))["recommendedMemoryInGB"] == 1.0


def test_requests_come_from_rows_files_and_values(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('body\n"{""n"": 1}"\n')
    assert bodies_of(Dataset.Tabular.from_delimited_files(str(tmp_path / "a.csv"))) == (b'{"n": 1}',)
    assert bodies_of(Dataset.File.from_files(str(tmp_path / "a.csv"))) == ((tmp_path / "a.csv").read_bytes(),)
    assert bodies_of('{"n": 1}') == bodies_of(b'{"n": 1}') == bodies_of({"n": 1}) == (b'{"n": 1}',)
    for wrong in (None, object()):
        with pytest.raises(UserErrorException, match="input_dataset"):
            bodies_of(wrong)


def test_a_profile_is_remembered_and_a_failed_one_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATA", "CACHE", "CONFIG"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    monkeypatch.chdir(tmp_path)
    Path("score.py").write_text("")
    Path("weights.txt").write_text("1")
    workspace = Workspace.create("team")
    asked: list[ProfileWish] = []

    def profiled(wish: ProfileWish, *, reporter: Any) -> Profile:
        asked.append(wish)
        return made(row(), recommended=Limits(cpu=0.5, memory=GB // 4))

    monkeypatch.setattr("packager.azureml.profiling.build_image", lambda *_: None)
    monkeypatch.setattr("packager.azureml.profiling.profile", profiled)
    found = Model.profile(workspace, "p", ["weights.txt"], InferenceConfig("score.py"), "{}", cpu=0.5, memory_in_gb=0.5)
    found.wait_for_profiling(True)
    assert (asked[0].cpu, asked[0].memory, asked[0].bodies) == (0.5, GB // 2, (b"{}",))
    assert (found.state, found.get_results()) == ("Succeeded", {"cpu": 0.5, "memoryInGB": 0.25})
    assert ModelProfile(workspace, "p").get_details()["totalQueries"] == 3

    def failed(*_: Any, **__: Any) -> Profile:
        raise ServiceError("it ran out of memory")

    monkeypatch.setattr("packager.azureml.profiling.profile", failed)
    bad = Model.profile(workspace, "bad", ["weights.txt"], InferenceConfig("score.py"), "{}")
    assert bad.state == "Failed"
    with pytest.raises(WebserviceException, match="ran out of memory"):
        bad.get_results()
    with pytest.raises(WebserviceException, match="not found"):
        ModelProfile(workspace, "none")
    with pytest.raises(UserErrorException, match="profile_name"):
        Model.profile(workspace, "", ["weights.txt"], InferenceConfig("score.py"), "{}")
