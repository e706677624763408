"""`packager batch` in the locked environment, in containers and on a cluster: each writes the same bytes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from uv import find_uv_bin

from packager.batches.values import FAILURES, JOURNAL, RESULTS
from tests.integration.batch_package import expected, gone, kill_at, write_batch_package, write_files
from tests.integration.conftest import NO_ENGINE, RunPackager

pytestmark = [pytest.mark.network, pytest.mark.skipif(sys.platform != "linux", reason="without Docker it is for Linux")]

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture(scope="module")
def package(run_packager: RunPackager, index: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_batch_package(run_packager, tmp_path_factory.mktemp("batch"), HERE)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("batch-cache"))


@pytest.fixture
def env(cache: str, tmp_path: Path) -> Iterator[dict[str, str]]:
    """Variables of every run; afterwards none of its processes is left."""
    found = {**NO_ENGINE, "XDG_STATE_HOME": str(tmp_path / "state"), "XDG_CACHE_HOME": cache}
    yield found
    assert gone(str(tmp_path / "state"))


def test_a_script_of_a_service_answers_lines(
    run_packager: RunPackager, package: Path, env: dict[str, str], tmp_path: Path
) -> None:
    lines = [json.dumps({"row": [number, 1]}) for number in range(95)]
    lines[40] = "no JSON"
    (tmp_path / "requests.jsonl").write_text("\n".join(lines))
    words = ("batch", "--input", str(tmp_path / "requests.jsonl"), "--output", str(tmp_path / "out"))

    done = run_packager(*words, "--format", "json", cwd=package, env=env, check=False)

    assert done.returncode == 8, done.stderr
    assert "1 of 95 items failed" in done.stderr
    summary = json.loads(done.stdout)
    assert (summary["items"], summary["failed"], summary["mini_batches"]) == (95, 1, 10)
    answers = [json.loads(line)["sum"] for line in (tmp_path / "out" / RESULTS).read_text().splitlines()]
    assert answers == [2 * (number + 1) for number in range(95) if number != 40]
    assert json.loads((tmp_path / "out" / FAILURES).read_text())["record"] == 41

    again = run_packager(*words, "--resume", "--error-threshold", "-1", cwd=package, env=env)
    assert again.stdout == f"{tmp_path}/out/{RESULTS}\n"
    assert "9 of 10 mini-batches done before" in again.stderr


@pytest.mark.parametrize(
    ("script", "lines", "answers", "reason"),
    [
        ("raw.py", ["abc", "bad"], [{"method": "POST", "size": 3}], "run() answered 400: not this"),
        (
            "schema.py",
            ['{"row": [1, 2], "factor": 3}', '{"row": [1]}'],
            [[3, 6]],
            "the request is no JSON object with factor",
        ),
    ],
)
def test_requests_come_as_the_inference_server_gives_them(
    script: str,
    lines: list[str],
    answers: list[object],
    reason: str,
    run_packager: RunPackager,
    package: Path,
    env: dict[str, str],
    tmp_path: Path,
) -> None:
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    words = ("batch", "--input", str(tmp_path / "in.jsonl"), "-o", str(tmp_path / "out"), "--entry-script", script)

    run_packager(*words, "--error-threshold", "1", cwd=package, env=env)

    assert [json.loads(line) for line in (tmp_path / "out" / RESULTS).read_text().splitlines()] == answers
    assert json.loads((tmp_path / "out" / FAILURES).read_text())["reason"] == reason


def test_a_run_that_is_killed_is_gone_on_with_and_shards_are_merged(
    run_packager: RunPackager, package: Path, env: dict[str, str], tmp_path: Path
) -> None:
    inputs = write_files(tmp_path / "in", 400)
    words = [
        "batch",
        "--input",
        str(inputs),
        "--entry-script",
        "batch.py",
        "--mini-batch-size",
        "4",
        "--processes",
        "2",
    ]
    killed = [*words, "--output", str(tmp_path / "killed"), "-e", "EACH=0.005"]

    run_packager(*words, "--output", str(tmp_path / "whole"), cwd=package, env=env)
    done = kill_at(killed, package, env, tmp_path / "killed" / JOURNAL / "journal", 20)
    after = run_packager(*killed, "--resume", "--format", "json", cwd=package, env=env)

    assert json.loads(after.stdout)["taken_over"] == done < 100
    for number in (2, 0, 1):
        run_packager(*words, "--output", str(tmp_path / "parts"), "--shard", f"{number}/3", cwd=package, env=env)
    run_packager("batch", "--output", str(tmp_path / "parts"), "--merge", cwd=package, env=env)
    for name in ("whole", "killed", "parts"):
        assert (tmp_path / name / RESULTS).read_text() == expected(400), name
    assert not (tmp_path / "killed" / JOURNAL).exists()


def test_an_interruption_leaves_what_is_done_and_no_process(
    run_packager: RunPackager, package: Path, env: dict[str, str], tmp_path: Path
) -> None:
    inputs = write_files(tmp_path / "in", 100)
    words = ["batch", "--input", str(inputs), "--output", str(tmp_path / "out"), "--entry-script", "batch.py"]
    words += ["--mini-batch-size", "1", "-e", "EACH=0.05"]
    process = subprocess.Popen(
        [sys.executable, "-m", "packager", *words], cwd=package, env={**os.environ, **env}, stderr=subprocess.PIPE
    )
    journal = tmp_path / "out" / JOURNAL / "journal"
    while not journal.exists() or not journal.read_bytes():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)

    assert process.returncode == 130, said
    assert b"Traceback" not in said
    assert gone(str(tmp_path / "state"))
    run_packager(*words, "--resume", "-e", "EACH=0", cwd=package, env=env)
    assert (tmp_path / "out" / RESULTS).read_text() == expected(100)


@pytest.mark.long  # docs/how-to/batch.md runs a container in every run
@pytest.mark.engine
def test_containers_of_the_image_write_the_same_and_one_that_hangs_is_removed(
    run_packager: RunPackager,
    base_image: str,
    docker_config: Path,
    tmp_path: Path,
    removed: list[str],
) -> None:
    (tmp_path / "package").mkdir()
    folder = write_batch_package(run_packager, tmp_path / "package", "3.13")
    removed.append("batch-test:1")
    run_packager("build", "--base", base_image, "--load", "-t", "batch-test:1", cwd=folder)
    inputs = write_files(tmp_path / "in", 24)
    words = ("batch", "batch-test:1", "--input", str(inputs), "--entry-script", "batch.py", "--mini-batch-size", "6")

    run_packager(*words, "--output", str(tmp_path / "out"), cwd=folder)
    hung = run_packager(
        *(*words, "--output", str(tmp_path / "hung"), "-e", "HANG=1", "--timeout", "2", "--tries", "1"),
        cwd=folder,
        check=False,
    )

    assert (tmp_path / "out" / RESULTS).read_text() == expected(24)
    assert hung.returncode == 8, hung.stderr
    lines = expected(24).splitlines(keepends=True)
    assert (tmp_path / "hung" / RESULTS).read_text() == "".join([*lines[:12], *lines[18:]])
    assert "run() took longer than 2 s" in (tmp_path / "hung" / FAILURES).read_text()
    left = subprocess.run(["docker", "ps", "-a", "--format", "{{.Names}} {{.Image}}"], capture_output=True, text=True)
    assert "batch-test:1" not in left.stdout


@pytest.mark.long
@pytest.mark.parametrize("kind", ["files", "lines"])
def test_twenty_thousand_items_are_the_same_on_one_two_and_four_workers_and_after_a_kill(
    kind: str, run_packager: RunPackager, package: Path, env: dict[str, str], tmp_path: Path
) -> None:
    count = 20_000
    if kind == "files":
        words = ["batch", "--input", str(write_files(tmp_path / "in", count)), "--entry-script", "batch.py"]
    else:
        lines = (json.dumps({"row": [number]}) for number in range(count))
        (tmp_path / "in.jsonl").write_text("\n".join(lines))
        words = ["batch", "--input", str(tmp_path / "in.jsonl")]
    for processes in (1, 2, 4):
        out = str(tmp_path / str(processes))
        run_packager(*words, "--output", out, "--processes", str(processes), cwd=package, env=env)
    killed = [*words, "--output", str(tmp_path / "killed"), "--processes", "2"]
    done = kill_at(killed, package, env, tmp_path / "killed" / JOURNAL / "journal", 500)
    after = run_packager(*killed, "--resume", "--format", "json", cwd=package, env=env)

    assert json.loads(after.stdout)["taken_over"] == done < count // 10
    first = (tmp_path / "1" / RESULTS).read_text()
    assert first == expected(count) if kind == "files" else first.count("\n") == count
    for name in ("2", "4", "killed"):
        assert (tmp_path / name / RESULTS).read_text() == first


@pytest.fixture
def cluster(index: None, tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """The Python of an environment with packager and Ray, and a cluster of two nodes on this machine."""
    venv, address = tmp_path / "venv", "127.0.0.1:6391"
    root = Path(__file__).parents[2]
    uv = find_uv_bin()
    subprocess.run([uv, "venv", "-q", "--python", sys.executable, venv], check=True)
    subprocess.run([uv, "pip", "install", "-q", "--python", venv / "bin/python", "-e", f"{root}[ray]"], check=True)
    common = ["--block", "--num-cpus", "1", "--disable-usage-stats", "--node-ip-address", "127.0.0.1"]
    common += ["--object-store-memory", "100000000"]
    # Its sockets' paths may not be long.
    temporary = Path(f"/tmp/packager-ray-{os.getpid()}")
    own = tmp_path / "nodes"
    own.mkdir()
    nodes: list[subprocess.Popen[bytes]] = []

    def node(*words: str) -> None:
        log = (tmp_path / f"node-{len(nodes)}.log").open("wb")
        command = [str(venv / "bin/ray"), "start", *words, *common]
        environ = {**os.environ, "TMPDIR": str(own)}
        nodes.append(subprocess.Popen(command, env=environ, stdout=log, stderr=log, start_new_session=True))
        log.close()

    count = (
        f"import ray; ray.init('{address}', logging_level='ERROR', log_to_driver=False); "
        "print(int(ray.cluster_resources().get('CPU', 0)))"
    )
    try:
        node("--head", "--port", "6391", "--include-dashboard", "false", "--temp-dir", str(temporary))
        for wanted in ("1", "2"):
            end = time.monotonic() + 120
            while True:
                words = [str(venv / "bin/python"), "-c", count]
                if subprocess.run(words, capture_output=True, text=True).stdout.strip() == wanted:
                    break
                assert time.monotonic() < end, (tmp_path / "node-0.log").read_text()
            if wanted == "1":
                node("--address", address)
        yield venv / "bin/python", address
    finally:
        for process in reversed(nodes):
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        subprocess.run(["rm", "-rf", str(temporary)], check=True)


@pytest.mark.long
def test_a_cluster_of_two_nodes_writes_the_same_and_replaces_a_worker_that_hangs(
    cluster: tuple[Path, str], run_packager: RunPackager, package: Path, env: dict[str, str], tmp_path: Path
) -> None:
    python, address = cluster
    inputs = write_files(tmp_path / "in", 200)
    words = ["batch", "--input", str(inputs), "--entry-script", "batch.py", "--mini-batch-size", "5"]
    words += ["--engine", "ray", "--address", address]

    def run(*more: str) -> subprocess.CompletedProcess[str]:
        command = [str(python), "-m", "packager", *words, *more]
        done = subprocess.run(command, cwd=package, env={**os.environ, **env}, capture_output=True, text=True)
        assert "Traceback" not in done.stderr, done.stderr
        return done

    whole = run("--output", str(tmp_path / "whole"))
    hung = run("--output", str(tmp_path / "hung"), "-e", "HANG=1", "--timeout", "2", "--tries", "2")

    assert whole.returncode == 0, whole.stderr
    assert "the Ray cluster has 2 processors" in whole.stderr
    assert (tmp_path / "whole" / RESULTS).read_text() == expected(200)
    assert hung.returncode == 8, hung.stderr
    assert list((tmp_path / "nodes").glob("packager-batch-*")) == [], "of workers that were ended"
    lines = expected(200).splitlines(keepends=True)
    assert (tmp_path / "hung" / RESULTS).read_text() == "".join([*lines[:10], *lines[15:]])
    assert json.loads((tmp_path / "hung" / FAILURES).read_text())["tries"] == 2
