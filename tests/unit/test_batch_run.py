"""Batches that are run: workers that fail, hang and end, journals of runs that were killed, tables, requests."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from packager.batches.journal import opened
from packager.batches.merging import merge
from packager.batches.pool import Limits
from packager.batches.splitting import Shard
from packager.batches.values import FAILURES, JOURNAL, RESULTS, Failure
from packager.errors import ContextError, ServiceError
from tests.unit.batch_runs import NAMES, run_here

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="workers are known by Linux's means")

#: Fails, hangs or ends for the file that an environment variable names, as often as it says.
ODD = """\
import os, time

def init():
    pass

def once(name):
    with open(os.environ["MARKS"], "a") as marks:
        marks.write(name + "\\n")
    return open(os.environ["MARKS"]).read().split().count(name)

def run(mini_batch):
    out = []
    for path in mini_batch:
        name = os.path.basename(path)
        if name in os.environ:
            act, times = os.environ[name].split(":")
            if once(name) <= int(times):
                if act == "hang":
                    time.sleep(60)
                if act == "kill":
                    os.kill(os.getpid(), 9)
                if act == "raise":
                    raise ValueError("not this one")
                if act == "skip":
                    continue
        out.append(name)
    return out
"""


def inputs_of(folder: Path, count: int) -> str:
    (folder / "in").mkdir()
    for number in range(count):
        (folder / f"in/{number:04d}").write_text(f"{number}\n")
    return str(folder / "in")


def results(folder: Path, output: str = "out") -> list[str]:
    return (folder / output / RESULTS).read_text().splitlines()


def failures(folder: Path, output: str = "out") -> list[Failure]:
    import msgspec

    lines = (folder / output / FAILURES).read_bytes().splitlines()
    return [msgspec.json.decode(line, type=Failure) for line in lines]


def test_results_are_in_the_order_of_inputs_whatever_the_number_of_workers(tmp_path: Path) -> None:
    inputs = inputs_of(tmp_path, 57)

    for processes in (1, 3):
        summary = run_here(tmp_path, NAMES, inputs, processes=processes, output=f"out{processes}")
        assert (summary.items, summary.succeeded, summary.failed, summary.mini_batches) == (57, 57, 0, 6)

    assert results(tmp_path, "out1") == [f"{number:04d} {number}" for number in range(57)]
    assert (tmp_path / "out1" / RESULTS).read_bytes() == (tmp_path / "out3" / RESULTS).read_bytes()
    assert not (tmp_path / "out1" / JOURNAL).exists()


@pytest.mark.parametrize("act", ["hang", "kill", "raise"])
def test_what_goes_wrong_once_is_tried_again_and_then_is_in_its_place(act: str, tmp_path: Path) -> None:
    env = {"0005": f"{act}:1", "MARKS": str(tmp_path / "marks")}

    summary = run_here(
        tmp_path, ODD, inputs_of(tmp_path, 9), size="2", processes=2, limits=Limits(timeout=1, tries=2), env=env
    )

    assert (summary.failed, summary.tried_again) == (0, 1)
    assert results(tmp_path) == [f"{number:04d}" for number in range(9)]


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        ("hang", "run() took longer than 1 s"),
        ("kill", "the worker was ended by signal SIGKILL (out of memory?)"),
        ("raise", "ValueError: not this one (batch_script.py, line 23)"),
    ],
)
def test_what_goes_wrong_each_time_is_listed_with_its_reason(act: str, reason: str, tmp_path: Path) -> None:
    env = {"0005": f"{act}:9", "MARKS": str(tmp_path / "marks")}

    summary = run_here(tmp_path, ODD, inputs_of(tmp_path, 9), size="2", limits=Limits(timeout=1, tries=2), env=env)

    assert (summary.items, summary.succeeded, summary.failed) == (9, 7, 2)
    assert results(tmp_path) == ["0000", "0001", "0002", "0003", "0006", "0007", "0008"]
    assert failures(tmp_path) == [Failure(mini_batch=2, inputs=("0004", "0005"), failed=2, reason=reason, tries=2)]
    assert (tmp_path / "marks").read_text().split() == ["0005"] * 2


def test_items_without_a_result_are_counted_and_a_later_run_tries_just_these(tmp_path: Path) -> None:
    inputs, env = inputs_of(tmp_path, 9), {"0005": "skip:1", "MARKS": str(tmp_path / "marks")}

    first = run_here(tmp_path, ODD, inputs, size="2", env=env)
    assert (first.failed, first.succeeded) == (1, 8)
    assert failures(tmp_path)[0].reason.startswith("run() returned 1 results for 2 items")

    second = run_here(tmp_path, ODD, inputs, size="2", env=env, resume=True)
    assert (second.failed, second.succeeded, second.taken_over, second.mini_batches) == (0, 9, 4, 5)
    assert results(tmp_path) == [f"{number:04d}" for number in range(9)]
    assert not (tmp_path / "out" / FAILURES).exists()

    third = run_here(tmp_path, ODD, inputs, size="2", env=env, resume=True)
    assert (third.taken_over, third.items_per_second) == (5, None)


def test_a_run_ends_at_once_above_its_error_threshold_and_is_gone_on_with(tmp_path: Path) -> None:
    script = NAMES.replace("return", "open(mini_batch[0] + '.seen', 'w'); 1 / (len(mini_batch) - 1); return")
    inputs = inputs_of(tmp_path, 40)

    summary = run_here(tmp_path, script, inputs + "/00??", size="1", error_threshold=3)

    assert (summary.complete, summary.failed, summary.results) == (False, 4, None)
    assert len(list((tmp_path / "in").glob("*.seen"))) < 40
    assert "ZeroDivisionError" in failures(tmp_path)[0].reason


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("def run(mini_batch): return []", "AttributeError: the entry script has no init()"),
        ("import nowhere", "ModuleNotFoundError: No module named 'nowhere' (batch_script.py, line 1)"),
        ("def init(): open('/nowhere')\ndef run(data): pass", "FileNotFoundError"),
        ("import os\ndef init(): os._exit(3)\ndef run(data): pass", "no worker can start: the worker ended by itself"),
    ],
)
def test_a_script_that_cannot_start_ends_the_run(script: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ServiceError) as error:
        run_here(tmp_path, script, inputs_of(tmp_path, 3), processes=2)

    assert said in error.value.message


def test_what_a_script_prints_goes_to_its_log_and_shutdown_is_called(tmp_path: Path) -> None:
    script = NAMES + "\nprint('loaded')\n\ndef shutdown():\n    print('over')\n"

    run_here(tmp_path, script, inputs_of(tmp_path, 3))

    assert (tmp_path / "out/logs/worker-0.log").read_text().splitlines() == ["loaded", "over"]
    assert len(results(tmp_path)) == 3


REQUESTS = """\
import json, os, time

def init():
    pass

def run(data):
    asked = json.loads(data)
    if asked == "kill":
        os._exit(9)
    if asked == "hang":
        time.sleep(60)
    return {"twice": asked["number"] * 2, "text": "a\\nb"}
"""


def test_requests_are_answered_one_by_one_and_one_that_ends_the_worker_takes_none_with_it(tmp_path: Path) -> None:
    lines = [json.dumps({"number": number}) for number in range(20)]
    lines[3], lines[7], lines[12], lines[15] = '"kill"', "no JSON", '{"other": 1}', '"hang"'
    (tmp_path / "requests.jsonl").write_text("\n\n".join(lines))  # with blank lines, and no end of the last

    summary = run_here(
        tmp_path, REQUESTS, str(tmp_path / "requests.jsonl"), size="5", limits=Limits(timeout=1, tries=1), processes=2
    )

    assert (summary.items, summary.succeeded, summary.failed) == (20, 16, 4)
    expected = [number for number in range(20) if number not in (3, 7, 12, 15)]
    assert [json.loads(line)["twice"] // 2 for line in results(tmp_path)] == expected
    found = failures(tmp_path)
    assert [each.record for each in found] == [4, 8, 13, 16]
    assert [each.reason.partition(":")[0] for each in found] == [
        "the worker ended by itself with exit code 9",
        "JSONDecodeError",
        "KeyError",
        "run() took longer than 1 s",
    ]
    assert {each.inputs for each in found} == {("requests.jsonl",)}


def test_whole_files_are_requests_too_and_compressed_lines_are_read(tmp_path: Path) -> None:
    import gzip

    (tmp_path / "in").mkdir()
    for number in range(5):
        (tmp_path / f"in/{number}.json").write_text(json.dumps({"number": number}))
    with gzip.open(tmp_path / "in/9.jsonl.gz", "wb") as file:
        file.write(b'{"number": 9}\n{"number": 10}\n')
    (tmp_path / "in/8.jsonl.gz").write_bytes(b"no gzip")

    summary = run_here(tmp_path, REQUESTS, str(tmp_path / "in"), form="requests", size="2")

    assert [json.loads(line)["twice"] // 2 for line in results(tmp_path)] == [0, 1, 2, 3, 4, 9, 10]
    assert (summary.items, summary.failed) == (8, 1)
    assert failures(tmp_path)[0].reason.startswith("it cannot be read: Not a gzipped file")


TABLE = """\
def init():
    pass

def run(mini_batch):
    import pandas
    assert isinstance(mini_batch, pandas.DataFrame)
    mini_batch["sum"] = mini_batch["a"] + mini_batch["b"]
    return mini_batch[["name", "sum"]]
"""


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet"])
def test_tables_come_as_data_frames_in_parts_and_rows_keep_their_order(kind: str, tmp_path: Path) -> None:
    import pandas

    names = [f'n{number}, "q"' if number % 5 else "two\nlines" for number in range(100)]
    frame = pandas.DataFrame({"name": names, "a": range(100), "b": range(100, 200)})
    path = tmp_path / f"table.{kind}"
    if kind == "parquet":
        frame.to_parquet(path, row_group_size=33)
    elif kind == "jsonl":
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_csv(path, index=False, sep="\t" if kind == "tsv" else ",")

    # One of them is enough to tell that the size of a mini-batch changes nothing.
    sizes = {"7": 15, "1MB": 1} if kind == "parquet" else {"7": 15}
    for size, count in sizes.items():
        summary = run_here(tmp_path, TABLE, str(path), form="table", size=size, output=size)
        assert (summary.items, summary.failed, summary.mini_batches) == (100, 0, count)

    joined = pandas.read_csv(tmp_path / "7" / RESULTS, sep=" ", header=None)
    assert joined[0].to_list() == names
    assert joined[1].to_list() == [100 + 2 * number for number in range(100)]
    if len(sizes) > 1:
        assert (tmp_path / "7" / RESULTS).read_bytes() == (tmp_path / "1MB" / RESULTS).read_bytes()


def test_a_table_that_is_damaged_is_listed_and_the_others_are_run(tmp_path: Path) -> None:
    import pandas

    (tmp_path / "in").mkdir()
    pandas.DataFrame({"name": ["x"], "a": [1], "b": [2]}).to_parquet(tmp_path / "in/1.parquet")
    (tmp_path / "in/2.parquet").write_bytes((tmp_path / "in/1.parquet").read_bytes()[:-9])
    (tmp_path / "in/3.csv").write_text("name,a,b\ny,1,x\n")
    (tmp_path / "in/4.csv").write_text("name,a,b\ny,1,4\n")
    (tmp_path / "in/5.csv").write_bytes(b"name,a,b\n\xff,1,4\n")

    summary = run_here(tmp_path, TABLE, str(tmp_path / "in"), limits=Limits(tries=2))

    assert results(tmp_path) == ["x 3", "y 5"]
    assert (summary.items, summary.failed) == (5, 3)
    assert [each.inputs[0] for each in failures(tmp_path)] == ["2.parquet", "3.csv", "5.csv"]


def test_shards_are_merged_to_what_one_run_writes(tmp_path: Path) -> None:
    inputs, env = inputs_of(tmp_path, 33), {"0005": "skip:9", "0031": "raise:9", "MARKS": str(tmp_path / "marks")}
    run_here(tmp_path, ODD, inputs, size="3", env=env)
    for number in (0, 1, 3):
        run_here(tmp_path, ODD, inputs, size="3", env=env, output="parts", shard=Shard(number, 4))
    with pytest.raises(ContextError, match="1 of 4 shards have not ended: 2"):
        merge(tmp_path / "parts")
    run_here(tmp_path, ODD, inputs, size="3", env=env, output="parts", shard=Shard(2, 4))

    merged = merge(tmp_path / "parts")

    assert (merged.items, merged.failed) == (33, 4)
    for name in (RESULTS, FAILURES):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "out" / name).read_bytes()
    with pytest.raises(ContextError, match="has the results of a run"):
        merge(tmp_path / "parts")


def test_shards_of_other_inputs_are_not_merged(tmp_path: Path) -> None:
    inputs = inputs_of(tmp_path, 4)
    run_here(tmp_path, NAMES, inputs, output="parts", shard=Shard(0, 2))
    (tmp_path / "in/0004").write_text("4")
    run_here(tmp_path, NAMES, inputs, output="parts", shard=Shard(1, 2))

    with pytest.raises(ContextError, match=r"is of another run than .*: the inputs differ"):
        merge(tmp_path / "parts")


KILLED = """\
import sys, time
from pathlib import Path
from tests.unit.batch_runs import NAMES, run_here

run_here(Path(sys.argv[1]), NAMES.replace("return", "import time; time.sleep(0.01); return"), sys.argv[2],
         size="2", processes=2, resume=True)
"""


def test_a_run_that_is_killed_is_gone_on_with_and_ends_the_same(tmp_path: Path) -> None:
    inputs = inputs_of(tmp_path, 300)
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    words = (sys.executable, str(script), str(tmp_path), inputs)
    root = str(Path(__file__).parents[2])
    journal = tmp_path / "out" / JOURNAL / "journal"
    workers = f"{tmp_path}/batch_script.py".encode()

    for least in (20, 60):
        process = subprocess.Popen(words, env={**os.environ, "PYTHONPATH": root})
        while not journal.exists() or journal.read_bytes().count(b"\n") < least:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        with journal.open("ab") as file:
            file.write(b'[{"half of a li')  # as a power cut leaves it
    before = journal.read_bytes().count(b"\n")
    subprocess.run(words, env={**os.environ, "PYTHONPATH": root}, check=True)

    assert 60 <= before < 150
    assert results(tmp_path) == [f"{number:04d} {number}" for number in range(300)]
    end = time.monotonic() + 20
    while [each for each in Path("/proc").glob("[0-9]*/cmdline") if workers in _bytes(each)]:
        assert time.monotonic() < end, "workers outlive their run"
        time.sleep(0.01)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_results_that_a_power_cut_took_are_made_again(tmp_path: Path) -> None:
    inputs = inputs_of(tmp_path, 10)
    env = {"0009": "raise:1", "MARKS": str(tmp_path / "marks")}
    run_here(tmp_path, ODD, inputs, size="2", env=env)
    kept = tmp_path / "out" / JOURNAL / "results"
    data = kept.read_bytes()
    kept.write_bytes(b"\0" * 10 + data[10:30])

    summary = run_here(tmp_path, ODD, inputs, size="2", env=env, resume=True)

    assert (summary.taken_over, summary.failed) == (2, 0)
    assert results(tmp_path) == [f"{number:04d}" for number in range(10)]


def test_results_of_another_run_are_neither_mixed_nor_replaced_unasked(tmp_path: Path) -> None:
    inputs = inputs_of(tmp_path, 10)
    env = {"0009": "raise:9", "MARKS": str(tmp_path / "marks")}
    run_here(tmp_path, ODD, inputs, env=env)
    with pytest.raises(ContextError, match="a run that has not ended, or had failures"):
        run_here(tmp_path, ODD, inputs, env=env)
    (tmp_path / "in/0003").write_text("other")
    with pytest.raises(ContextError, match="the inputs, the content of the inputs changed since"):
        run_here(tmp_path, ODD, inputs, env=env, resume=True)

    assert run_here(tmp_path, NAMES, inputs, overwrite=True).failed == 0
    with pytest.raises(ContextError, match="has the results of a run"):
        run_here(tmp_path, NAMES, inputs)


def test_two_runs_do_not_write_to_one_folder(tmp_path: Path) -> None:
    inputs = inputs_of(tmp_path, 3)
    summary = run_here(tmp_path, NAMES, inputs)

    held = opened(tmp_path / "two", summary.identity, resume=False, overwrite=False)
    with held, pytest.raises(ContextError, match="another run is writing"):
        run_here(tmp_path, NAMES, inputs, output="two")


def test_a_full_disk_ends_the_run_and_keeps_what_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    from packager.batches import journal

    inputs = inputs_of(tmp_path, 10)
    add = journal.Journal.add

    def full(self: journal.Journal, outcome: object) -> None:
        if len(self.done) == 2:
            self._results = _Full()  # type: ignore[assignment]
        add(self, outcome)  # type: ignore[arg-type]

    class _Full:
        def write(self, _: bytes) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(journal.Journal, "add", full)
    with pytest.raises(ContextError, match="the disk is full") as error:
        run_here(tmp_path, NAMES, inputs, size="2")
    assert "--resume" in (error.value.remedy or "")
    monkeypatch.undo()

    summary = run_here(tmp_path, NAMES, inputs, size="2", resume=True)
    assert (summary.taken_over, summary.succeeded) == (2, 10)


def test_results_are_counted_only_where_that_is_asked_for(tmp_path: Path) -> None:
    summary = run_here(tmp_path, NAMES, inputs_of(tmp_path, 12), keeps_rows=False)

    assert (summary.succeeded, summary.results) == (12, None)
    assert not (tmp_path / "out" / RESULTS).exists()
