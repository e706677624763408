"""`packager model profile` of a service whose latency and memory are known: limits are in force, figures are of it."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest

from packager.steps.schema import schema
from tests.integration.conftest import RunPackager
from tests.integration.serving_package import remove_image

pytestmark = [pytest.mark.engine, pytest.mark.network]

HELD = 50 << 20
#: Touches what it holds, so that it is memory and not only an address.
SCRIPT = f"""\
import json
import os
import time


def init():
    global held
    held = bytearray(os.urandom(1 << 20)) * {HELD >> 20}


def run(data):
    asked = json.loads(data)
    if "fail" in asked:
        raise ValueError("no such row")
    time.sleep(0.005)
    return len(held)
"""
SPEC = """\
name: profiled
version: "1"
entry_script: score.py
environment: {pip: []}
test:
  - name: one
    request: {row: 1}
"""


@pytest.fixture(scope="module")
def package(
    run_packager: RunPackager, base_image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, str]]:
    folder, reference = tmp_path_factory.mktemp("profiled"), f"packager-test/profiled:{secrets.token_hex(4)}"
    (folder / "score.py").write_text(SCRIPT)
    (folder / "packager.yaml").write_text(SPEC)
    (folder / "samples.jsonl").write_text('{"row": 1}\nnot JSON\n{"row": 2}\n')
    run_packager("lock", cwd=folder)
    build = ("build", "--base", base_image, "--load", "-t", reference, "--label", f"of={reference}")
    run_packager(*build, cwd=folder)
    yield folder, reference
    remove_image(reference)


def containers(reference: str) -> list[str]:
    words = ("docker", "ps", "--all", "--quiet", "--filter", f"ancestor={reference}")
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()


def test_an_image_is_measured_under_limits(package: tuple[Path, str], run_packager: RunPackager) -> None:
    folder, reference = package
    words = ("model", "profile", reference, "--idi", "samples.jsonl", "--cc", "0.5", "--gb", "0.5", "--plot", "a.svg")
    few = ("-n", "mine", "--duration", "1", "--requests", "20", "--format", "json")
    found = json.loads(run_packager(*words, *few, cwd=folder).stdout)
    jsonschema.validate(found, schema("model-profile"))
    asked = found["details"]
    assert (asked["requestedCpu"], asked["requestedMemoryInGB"], asked["name"]) == (0.5, 0.5, "mine")
    assert (asked["state"], asked["successRate"], asked["starts"]) == ("Succeeded", 100, 2)
    assert (
        5 <= asked["latencyPercentile50InMs"] <= asked["latencyPercentile95InMs"] <= asked["latencyPercentile999InMs"]
    )
    assert HELD / 2**30 < asked["maxUtilizedMemoryInGB"] < 0.5
    # It sleeps for most of a request.
    assert 0 < asked["maxUtilizedCpu"] < 1.1
    assert 1 < asked["measuredQueriesPerSecond"] < 200
    ended = [row for row in found["rows"] if row["out_of_memory"]]
    assert ended
    assert ended[0]["requestedMemoryInGB"] < asked["maxUtilizedMemoryInGB"]
    assert "out of memory" in ended[0]["error"]
    assert len({row["requestedCpu"] for row in found["rows"]}) > 1
    assert found["recommended"]["memoryInGB"] >= asked["maxUtilizedMemoryInGB"]
    assert [each["name"] for each in found["not_sent"]] == ["samples.jsonl:2"]
    assert ET.parse(folder / "a.svg").getroot().tag.endswith("svg")
    assert containers(reference) == []


def test_an_interruption_leaves_no_container(package: tuple[Path, str]) -> None:
    folder, reference = package
    words = [sys.executable, "-m", "packager", "model", "profile", reference, "--idi", "samples.jsonl"]
    running = subprocess.Popen(words, cwd=folder, env=dict(os.environ), stderr=subprocess.PIPE, text=True)
    while not containers(reference):
        assert running.poll() is None, running.communicate()[1]
        time.sleep(0.1)
    time.sleep(1)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "Traceback" not in said
    assert containers(reference) == []


def test_what_cannot_be_measured_says_why(package: tuple[Path, str], run_packager: RunPackager) -> None:
    folder, reference = package
    (folder / "fails.json").write_text('{"fail": true}')
    words = ("model", "profile", reference, "--data", "fails.json", "--duration", "0.2", "--requests", "5")
    done = run_packager(*words, cwd=folder, check=False)
    assert done.returncode == 8
    assert "5 of 5 requests failed: /score answered 500" in done.stdout
    assert "no request was answered well" in done.stderr
    done = run_packager("model", "profile", reference, "--data", "samples.jsonl", cwd=folder, check=False)
    assert done.returncode == 2
    assert "no sample can be sent: samples.jsonl: it is no JSON" in done.stderr
    (folder / "other").mkdir()
    (folder / "other/packager.yaml").write_text(SPEC.replace("profiled", "other"))
    (folder / "other/score.py").write_text(SCRIPT)
    done = run_packager("model", "profile", reference, cwd=folder / "other", check=False)
    assert done.returncode == 2
    assert "its tests are no requests to it" in done.stderr
    assert containers(reference) == []


def test_without_an_engine_it_says_what_is_not_limited(
    package: tuple[Path, str], run_packager: RunPackager, tmp_path: Path
) -> None:
    folder = shutil.copytree(package[0], tmp_path / "here")
    (folder / "packager.yaml").write_text(f'{SPEC}python: "{sys.version_info.major}.{sys.version_info.minor}"\n')
    run_packager("lock", cwd=folder)
    words = ("model", "profile", "--no-docker", "--cc", "1", "--duration", "0.2", "--requests", "5")
    done = run_packager(*words, "--format", "json", cwd=folder, env={"DOCKER_HOST": "unix:///nonexistent"})
    found = json.loads(done.stdout)
    assert "nothing limits memory" in found["note"]
    assert found["samples"] == ["test 'one'"], "without a file the spec's tests are sent"
    assert found["details"]["requestedMemoryInGB"] is None
    assert found["details"]["maxUtilizedMemoryInGB"] > HELD / 2**30
    assert found["recommended"]["memoryInGB"] > found["details"]["maxUtilizedMemoryInGB"]
