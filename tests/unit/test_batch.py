"""What a batch decides before anything runs: inputs, forms, mini-batches, shards, and how workers are started."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import fsspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import packager
from packager.batches.listing import find_inputs, is_remote, roots_of
from packager.batches.local import fetched
from packager.batches.output import output_at
from packager.batches.planning import record_ends
from packager.batches.programs import in_container, inside
from packager.batches.splitting import (
    Shard,
    Size,
    form_of,
    of_files,
    of_groups,
    of_records,
    of_shard,
    parse_mini_batch_size,
    parse_shard,
)
from packager.batches.values import RESULTS, Failure, InputFile, MiniBatch, said_of
from packager.errors import ContextError, UsageError
from packager.serving.hosts.docker.image import ImagePackage
from packager.serving.service import Mounted
from packager.spec import load_spec
from packager.steps.batch import batch, require_within
from tests.unit.batch_runs import NAMES, run_here


def file(name: str, size: int = 1) -> InputFile:
    return InputFile(name=name, path=f"/in/{name}", size=size)


@pytest.mark.parametrize(
    ("text", "form", "expected"),
    [
        (None, "files", Size(items=10, text="10")),
        (None, "requests", Size(items=10, text="10")),
        (None, "table", Size(size=10**6, text="1MB")),
        ("25", "table", Size(items=25, text="25")),
        ("1KB", "files", Size(size=1000, text="1KB")),
        ("2MiB", "table", Size(size=2 << 20, text="2MiB")),
    ],
)
def test_a_mini_batch_size_is_a_number_of_items_or_bytes(text: str | None, form: Any, expected: Size) -> None:
    assert parse_mini_batch_size(text, form) == expected


@pytest.mark.parametrize("text", ["0", "-1", "ten", "0MB", "1 parsec"])
def test_a_mini_batch_size_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_mini_batch_size(text, "files")


@pytest.mark.parametrize(
    ("names", "asked", "expected"),
    [
        (["a.png", "b.csv"], "auto", "files"),
        (["a.csv", "b/c.PARQUET", "d.tsv"], "auto", "table"),
        (["a.csv.gz"], "auto", "table"),
        (["a.jsonl", "b.ndjson"], "auto", "requests"),
        (["a.jsonl", "b.csv"], "auto", "table"),
        (["a.jsonl"], "table", "table"),
        (["a.json"], "requests", "requests"),
        (["a.csv"], "files", "files"),
    ],
)
def test_the_form_follows_from_the_endings_unless_it_is_said(names: list[str], asked: str, expected: str) -> None:
    assert form_of([file(name) for name in names], asked) == expected


def test_a_table_without_an_ending_of_one_is_refused() -> None:
    with pytest.raises(UsageError, match=r"notes\.txt is no table"):
        form_of([file("a.csv"), file("notes.txt")], "table")


@given(sizes=st.lists(st.integers(0, 50), max_size=40), size=st.integers(1, 60), by_items=st.booleans())
def test_each_file_is_in_one_mini_batch_and_in_its_order(sizes: list[int], size: int, by_items: bool) -> None:
    files = [file(str(index), each) for index, each in enumerate(sizes)]
    asked = Size(items=size, text="") if by_items else Size(size=size, text="")

    parts = list(of_files(files, 3, asked))

    assert [index for first, count in parts for index in range(first, first + count)] == list(range(3, 3 + len(files)))
    for first, count in parts[:-1]:
        chosen = sizes[first - 3 : first - 3 + count]
        assert count == size if by_items else sum(chosen) >= size > sum(chosen[:-1])


@given(lengths=st.lists(st.integers(1, 30), max_size=40), size=st.integers(1, 60), by_items=st.booleans())
def test_records_are_cut_without_a_gap(lengths: list[int], size: int, by_items: bool) -> None:
    ends = [7 + sum(lengths[: index + 1]) for index in range(len(lengths))]
    asked = Size(items=size, text="") if by_items else Size(size=size, text="")

    parts = list(of_records(ends, 7, asked))

    assert [start for start, *_ in parts] == [7, *(stop for _, stop, _, _ in parts)][: len(parts)]
    assert not parts or parts[-1][1] == ends[-1]
    assert [first for _, _, first, _ in parts] == [sum(each[3] for each in parts[:n]) for n in range(len(parts))]
    assert sum(count for *_, count in parts) == len(lengths)


def test_rows_of_parquet_are_cut_by_number_or_by_their_mean_size() -> None:
    groups = [(100, 1000), (50, 500)]

    assert list(of_groups(groups, Size(items=60, text="60"))) == [(0, 60), (60, 120), (120, 150)]
    assert list(of_groups(groups, Size(size=700, text="700B"))) == [(0, 70), (70, 140), (140, 150)]
    assert list(of_groups([], Size(size=1, text="1B"))) == []


@pytest.mark.parametrize(
    ("data", "quoted", "records"),
    [
        (b"a\nb\n", False, [b"a\n", b"b\n"]),
        (b"a\n\n \r\nb", False, [b"a\n", b"\n \r\nb"]),
        (b'h,i\n"x\ny",1\n"a ""q"" \n",2\n', True, [b"h,i\n", b'"x\ny",1\n', b'"a ""q"" \n",2\n']),
        (b'"never\nclosed\n', True, [b'"never\nclosed\n']),
        (b"", True, []),
        (b"\n\n", False, []),
    ],
)
def test_a_record_ends_with_its_line_or_with_its_quotes(
    data: bytes, quoted: bool, records: list[bytes], tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(data)

    ends = list(record_ends(str(tmp_path / "file"), quoted=quoted))

    assert [data[start:end] for start, end in pairwise([0, *ends])] == records


@pytest.mark.parametrize(
    ("text", "environ", "expected"),
    [
        (None, {}, Shard(0, 1)),
        ("2/8", {}, Shard(2, 8)),
        ("auto/8", {"JOB_COMPLETION_INDEX": "7"}, Shard(7, 8)),
        ("auto", {"JOB_COMPLETION_INDEX": "0", "PACKAGER_SHARDS": "3"}, Shard(0, 3)),
        ("auto", {"AWS_BATCH_JOB_ARRAY_INDEX": "1", "AWS_BATCH_JOB_ARRAY_SIZE": "2"}, Shard(1, 2)),
        (
            "auto",
            {"SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_COUNT": "4", "SLURM_ARRAY_TASK_MIN": "1"},
            Shard(2, 4),
        ),
        (
            "auto",
            {
                "SLURM_ARRAY_TASK_ID": "14",
                "SLURM_ARRAY_TASK_COUNT": "5",
                "SLURM_ARRAY_TASK_MIN": "10",
                "SLURM_ARRAY_TASK_STEP": "2",
            },
            Shard(2, 5),
        ),
    ],
)
def test_a_shard_is_said_or_asked_of_the_job(text: str | None, environ: dict[str, str], expected: Shard) -> None:
    assert parse_shard(text, environ) == expected


@pytest.mark.parametrize("text", ["8/8", "1", "-1/2", "a/b", "auto", "auto/2", "0/0"])
def test_a_shard_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_shard(text, {"JOB_COMPLETION_INDEX": "5"})


@given(count=st.integers(0, 100), shards=st.integers(1, 12))
def test_shards_in_order_are_all_mini_batches(count: int, shards: int) -> None:
    batches = [MiniBatch(number, number, 1, 1) for number in range(count)]

    parts = [of_shard(batches, Shard(number, shards)) for number in range(shards)]

    assert [each for part in parts for each in part] == batches
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_inputs_are_all_files_below_a_folder_links_included(tmp_path: Path) -> None:
    (tmp_path / "in/sub").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    for path in ("in/b", "in/sub/a", "in/.hidden", "elsewhere/x", "in/a b\n"):
        (tmp_path / path).write_text("text")
    (tmp_path / "in/loop").symlink_to(tmp_path / "in")
    (tmp_path / "in/linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in/broken").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "in/pipe")
    (tmp_path / os.fsdecode(b"in/\xff")).write_text("text")

    found = find_inputs([str(tmp_path / "in")])

    names = [".hidden", "a b\n", "b", "broken", "linked/x", "sub/a", "\udcff"]
    assert [each.name for each in found] == names
    assert [each.size for each in found] == [4, 4, 4, 0, 4, 4, 4]


def test_patterns_and_several_inputs_name_each_file_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in/sub").mkdir(parents=True)
    for path in ("in/b.csv", "in/sub/a.csv", "in/c.txt"):
        (tmp_path / path).write_text("text")

    assert [each.name for each in find_inputs(["in/**/*.csv"])] == ["b.csv", "sub/a.csv"]
    assert [each.name for each in find_inputs(["in/c.txt"])] == ["c.txt"]
    assert [each.name for each in find_inputs(["in/c.txt", "in/*.csv", "in"])] == [
        *("in/c.txt: c.txt", "in/*.csv: b.csv", "in: sub/a.csv"),
    ]
    assert roots_of(["in", "in/*.csv", "in/c.txt", "i*/b.csv", "memory://x"]) == (tmp_path / "in", tmp_path)


@pytest.mark.parametrize("location", ["nowhere", "*.csv", ".", "memory://nowhere/at-all"])
def test_an_input_without_files_is_refused(location: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ContextError, match=r"is not there|has no files"):
        find_inputs([location])


def test_a_url_that_nothing_reads_says_what_is_missing() -> None:
    assert is_remote("s3://bucket/folder")
    assert not is_remote("folder/a:b")
    with pytest.raises(UsageError, match="Protocol not known"):
        find_inputs(["nonsense://bucket"])


def test_inputs_elsewhere_are_fetched_for_their_mini_batch_and_results_are_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    system = fsspec.filesystem("memory")
    for number in range(7):
        system.pipe(f"/batch-in/sub/{number}", str(number).encode())

    with output_at("memory://batch-out") as place:
        summary = run_here(
            tmp_path, NAMES, "memory://batch-in", size="3", output=str(place.folder), shown=place.shown(place.folder)
        )
        sent = place.sent(summary, place.folder)

    assert sent.output == "memory://batch-out"
    assert system.cat(f"/batch-out/{RESULTS}") == b"".join(b"%d %d\n" % (n, n) for n in range(7))
    assert [each for each in (tmp_path / "scratch").rglob("*") if each.is_file()] == []
    with output_at("memory://batch-out") as place:
        place.bring(place.folder)
        with pytest.raises(ContextError, match="memory://batch-out has the results of a run"):
            run_here(tmp_path, NAMES, "memory://batch-in", output=str(place.folder), shown=place.shown(place.folder))
    assert list((tmp_path / "state/packager/batches").iterdir()) == []


def test_two_files_of_one_name_elsewhere_do_not_meet(tmp_path: Path) -> None:
    system = fsspec.filesystem("memory")
    for folder in ("one", "two"):
        system.pipe(f"/batch-same/{folder}/name.txt", folder.encode())

    with fetched(find_inputs(["memory://batch-same"]), tmp_path) as paths:
        assert [Path(path).read_text() for path in paths] == ["one", "two"]
        assert {Path(path).name for path in paths} == {"name.txt"}

    assert list(tmp_path.rglob("*")) == []


def test_a_container_sees_the_inputs_and_gets_no_value_of_a_variable_in_its_command() -> None:
    image = ImagePackage(
        title="labels:1",
        target="gpu",
        platform="linux/amd64",
        port=5001,
        labels={},
        mounts=(Mounted(folder=Path("/store/m"), path="/var/azureml-app/azureml-models/m/1"),),
    )

    found = in_container(image, "batch.py", [Path("/data/in")], {"TOKEN": "s3cret"}, {"PATH": "/bin"}, ["/dev/x"])

    line = " ".join(found.words)
    for part in (
        "docker run --rm --interactive",
        "--read-only --tmpfs=/tmp --cap-drop=ALL --security-opt=no-new-privileges",
        "--mount=type=bind,source={program},target=/opt/packager-batch,readonly",
        "--mount=type=bind,source=/data/in,target=/data/in,readonly",
        "--mount=type=bind,source=/store/m,target=/var/azureml-app/azureml-models/m/1,readonly",
        "--device=/dev/x:/dev/x:rwm",
        "--env=TOKEN --entrypoint=python labels:1 /opt/packager-batch/worker.py",
    ):
        assert part in line
    assert "s3cret" not in line
    assert found.environ["TOKEN"] == "s3cret"
    assert found.end[:3] == ("docker", "rm", "--force")
    assert "--gpus=all" in in_container(image, "", [], {}, {}, gpus=True).words
    with pytest.raises(UsageError, match="no comma"):
        in_container(image, "", [Path("/a,b")], {}, {})


def test_inside_of_an_image_its_own_python_and_variables_are_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("packager.batches.programs.ENVIRONMENT_PREFIX", str(tmp_path))
    with pytest.raises(UsageError, match="this is no image of packager's: there is no AML_APP_ROOT"):
        inside({}, "", {})
    with pytest.raises(UsageError, match=r"there is no .*/bin/python"):
        inside({"AML_APP_ROOT": "/app"}, "", {})
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python").touch()

    found = inside({"AML_APP_ROOT": "/app", "A": "1"}, "batch.py", {"A": "2"})

    assert found.words == (f"{tmp_path}/bin/python", "{program}/worker.py")
    assert (found.folder, found.script, found.environ["A"]) == ("/app", "batch.py", "2")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"inputs": ()}, "there is no input"),
        ({"address": "h:1"}, "--address names a cluster"),
        ({}, "there is no spec"),
        ({"reference": "a:1", "inputs": "s3://b/c"}, "containers read inputs of this machine"),
        ({"reference": "a:1", "inside": True}, "--inside runs in the image that this is"),
        ({"reference": "a:1", "tries": 0}, "--tries is less than 1"),
        ({"reference": "a:1", "error_threshold": -2}, "--error-threshold is less than -1"),
        ({"reference": "a:1", "shard": "3/2"}, "is no shard"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_done(more: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        batch(more.pop("inputs", "in"), "out", **more)


@pytest.mark.parametrize("script", ["src/batch.py", "../batch.py", "/etc/hostname", "bacth.py", "."])
def test_a_script_that_is_not_there_is_no_fault_of_the_spec(script: str, tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    for path in ("src/batch.py", "src/score.py", "batch.py", "in.txt"):
        (tmp_path / path).write_text("")
    (tmp_path / "packager.yaml").write_text(
        'name: a\nversion: "1"\nentry_script: score.py\nsource_dir: src\nenvironment: {pip: []}\n'
    )
    with pytest.raises(UsageError, match=r"--entry-script .*: source_dir \(src\) has no such file") as raised:
        batch(str(tmp_path / "in.txt"), tmp_path / "out", spec_file=load_spec(tmp_path), entry_script=script)
    if script.endswith("py"):
        assert raised.value.remedy == "did you mean 'batch.py'?"


def test_the_function_is_there_however_often_it_is_asked_for() -> None:
    # A room of the same name would take its place once it is imported.
    assert packager.batch is batch
    assert packager.batch is batch


def test_failed_items_are_refused_above_the_threshold(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(3):
        (tmp_path / f"in/{number}").write_text("x")
    told: list[str] = []
    summary = run_here(
        tmp_path, "def init(): pass\ndef run(batch): return batch[1:]", str(tmp_path / "in"), warn=told.append
    )

    for threshold in (-1, 1, 5):
        require_within(summary, threshold)
    for refused in (None, 0):
        with pytest.raises(Exception, match="1 of 3 items failed") as error:
            require_within(summary, refused)
        assert getattr(error.value, "exit_code", None) == 8
    assert told == ["0 and 2 more: run() returned 2 results for 3 items: it does not say which failed"]


def test_a_failure_says_which_record_it_is() -> None:
    one = Failure(mini_batch=1, inputs=("a.csv",), failed=1, reason="no\nmore", tries=1, record=7)
    several = Failure(mini_batch=1, inputs=("a.csv",), failed=2, reason="no", tries=1, records=(7, 9))

    assert said_of(one) == "a.csv, record 7: no"
    assert said_of(several) == "a.csv, records 7 to 9: no"
