"""What a service takes: requests that are timed, percentiles, the most processors, and which limits are advised."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from packager.azureml.core import Dataset, Model, Workspace
from packager.azureml.core.inference_config import InferenceConfig
from packager.azureml.core.profile import ModelProfile
from packager.azureml.exceptions import UserErrorException, WebserviceException
from packager.azureml.profiling import bodies_of, details
from packager.errors import ServiceError, UsageError
from packager.serving.profiling import Measured, Sample, measure, most_cpus
from packager.steps import profile as step
from packager.steps.profile import GIGABYTES, Profile, smallest

GB = 1 << 30


def measured(cpus: float = 1, median: float = 10.0, **fields: Any) -> Measured:
    own = {
        "cpus": cpus,
        "memory": GB,
        "requests": 3,
        "succeeded": 3,
        "seconds": 1.5,
        "latencies": (median, median, median),
        "max_cpus": 0.4,
        "max_memory": GB // 4,
    }
    return Measured(**{**own, **fields})


class Answers(http.server.BaseHTTPRequestHandler):
    """Answers a body of `good` well, and asks for the key `k`."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        good = body == b"good" and self.headers["Authorization"] == "Bearer k"
        self.send_response(200 if good else 500)
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/score"
    server.shutdown()
    thread.join()
    server.server_close()


def sample(at: float = 0.0, cpu: float = 0.0, memory: int = 7) -> Sample:
    return Sample(at=at, cpu=cpu, memory=memory)


def test_requests_are_sent_in_turns_counted_and_timed(url: str) -> None:
    found = measure(url, [b"good", b"bad"], sample, key="k", most=5, seconds=60, cpus=0.5, memory=9)
    assert (found.requests, found.succeeded, len(found.latencies), found.max_memory) == (5, 3, 3, 7)
    assert "500" in found.error
    assert found.latencies == tuple(sorted(found.latencies))
    assert (found.cpus, found.memory) == (0.5, 9)
    assert found.rate == pytest.approx(3 / found.seconds)
    one = measure(url, [b"good"], sample, key="k", most=5, seconds=0, cpus=None, memory=None)
    assert one.requests == 1
    assert measure(url, [b"good"], sample, most=2, seconds=60, cpus=None, memory=None).succeeded == 0


def test_percentiles_are_of_the_answers_that_there_are() -> None:
    found = measured(latencies=tuple(float(each) for each in range(1, 101)))
    assert [found.percentile(each) for each in (50, 90, 99, 99.9)] == [50, 90, 99, 100]
    assert found.average == 50.5
    none = measured(latencies=(), succeeded=0, seconds=0.0)
    assert (none.percentile(50), none.average, none.rate) == (0, 0, 0)


def test_processors_are_averaged_over_half_a_second_at_least() -> None:
    samples = [sample(0, 0), sample(0.1, 0.1), sample(0.6, 0.3), sample(1.2, 1.5)]
    assert most_cpus(samples) == pytest.approx(2.0)
    assert most_cpus([sample(0, 0), sample(0.1, 0.05)]) == pytest.approx(0.5)
    assert most_cpus([]) == most_cpus([sample()]) == 0


def test_the_smallest_step_that_is_enough_is_at_most_what_was_asked_for() -> None:
    assert smallest(GIGABYTES, 0.3, 4) == 0.5
    assert smallest(GIGABYTES, 0.01, 0.1) == 0.1
    assert smallest(GIGABYTES, 500, 600) == 600


@pytest.fixture
def medians(monkeypatch: pytest.MonkeyPatch) -> dict[float, float]:
    """Processors → median latency of a service that is none."""
    found: dict[float, float] = {}

    @contextmanager
    def started(*_: Any) -> Iterator[None]:
        yield None

    def under(_service: Any, cpus: float, memory_gb: float, *_: Any) -> Measured:
        return measured(cpus, found[cpus], memory=round(memory_gb * GB), succeeded=3 if found[cpus] else 0)

    monkeypatch.setattr(step, "_started", started)
    monkeypatch.setattr(step, "_under", under)
    return found


def test_the_smallest_limit_that_is_as_fast_is_advised(medians: dict[float, float]) -> None:
    medians.update({2: 10, 0.25: 40, 0.5: 12, 1: 10.9})
    found = step.profile("image:1", [b""], cpus=2, memory_gb=4)
    assert (found.cpus, found.memory_gb, [each.cpus for each in found.tried]) == (1, 0.5, [0.25, 0.5, 1])


def test_where_no_smaller_one_is_as_fast_what_was_asked_for_is_advised(medians: dict[float, float]) -> None:
    medians.update({0.5: 10, 0.25: 40})
    found = step.profile("image:1", [b""], cpus=0.5, memory_gb=0.25)
    assert (found.cpus, found.memory_gb) == (0.5, 0.25)


def test_a_service_that_answers_nothing_well_has_no_profile(medians: dict[float, float]) -> None:
    medians.update({1: 0})
    with pytest.raises(ServiceError, match="none of 3 requests"):
        step.profile("image:1", [b""], cpus=1, memory_gb=1)
    with pytest.raises(UsageError, match="no request"):
        step.profile("image:1", [], cpus=1, memory_gb=1)


def test_details_have_the_names_of_v1() -> None:
    found = details(Profile(asked=measured(), tried=(), cpus=0.5, memory_gb=0.25))
    assert found == {
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
    asked: dict[str, float] = {}

    def profiled(_reference: str, _bodies: Any, *, cpus: float, memory_gb: float, reporter: Any) -> Profile:
        asked.update(cpus=cpus, memory=memory_gb)
        return Profile(asked=measured(), tried=(), cpus=0.5, memory_gb=0.25)

    monkeypatch.setattr("packager.azureml.profiling.build_image", lambda *_: None)
    monkeypatch.setattr("packager.azureml.profiling.profile", profiled)
    found = Model.profile(workspace, "p", ["weights.txt"], InferenceConfig("score.py"), "{}", cpu=0.5, memory_in_gb=0.5)
    found.wait_for_profiling(True)
    assert asked == {"cpus": 0.5, "memory": 0.5}
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
