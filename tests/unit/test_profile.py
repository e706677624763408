"""Profiles: statistics, the search for limits, and measuring, with a clock and a service that are not real."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import jsonschema
import msgspec
import pytest
from PIL import Image, ImageColor

from packager.errors import ContextError, ServiceError, UsageError
from packager.serving.hosts.docker.usage import usage_of
from packager.serving.hosts.process.usage import on_processors, process_usage, this_machine
from packager.serving.picture import Disc, Text, svg
from packager.serving.profile import (
    GB,
    Block,
    Limits,
    Profile,
    Row,
    Skipped,
    block_size,
    is_steady,
    joined,
    percentile,
    quartiles,
    remarks,
    too_few,
)
from packager.serving.profile_plot import nice, picture
from packager.serving.profile_report import advice_line, details, remark_lines, rows_of
from packager.serving.profile_run import Answered, Asked, Bounds, measure
from packager.serving.profile_samples import Sample, one, rows
from packager.serving.profile_search import Wish, grid, next_limits, recommend, step_up
from packager.serving.service import Package
from packager.serving.usage import Most, Usage, watching
from packager.steps.profile import ProfileWish, _Measuring, check_plot, read_samples, require_profiled, write_plot
from packager.steps.profile_outputs import as_data
from packager.steps.reporting import SILENT
from packager.steps.run import RunWish
from packager.steps.schema import schema
from packager.steps.wishes import Granted

MB = 1 << 20
FAILED = "#d1242f"


# --- statistics -------------------------------------------------------------------------------------------------------


def test_percentiles_are_the_nearest_rank() -> None:
    values = [float(each) for each in range(1, 1001)]
    assert [percentile(values, each) for each in (50, 90, 95, 99, 99.9, 100)] == [500, 900, 950, 990, 999, 1000]
    assert percentile([7.0], 99.9) == 7.0
    assert percentile([1.0, 2.0], 50) == 1.0


def test_quartiles_of_one_and_of_several() -> None:
    assert quartiles([3.0]).spread == 0
    found = quartiles([1.0, 2.0, 3.0, 4.0, 5.0])
    assert (found.low, found.median, found.high) == (2, 3, 4)


def test_a_block_has_whole_rounds_of_samples_where_it_has_the_time() -> None:
    assert block_size(0.01, 3, 0.25) == 27
    assert block_size(0.1, 7, 0.25) == 2, "no round fits"
    assert block_size(5.0, 1, 0.25) == 1
    assert block_size(0.0, 1, 0.25) > 1


def blocks(*averages: float, failures: tuple[str, ...] = ()) -> tuple[Block, ...]:
    return tuple(
        Block(latencies=(each,) * 20, failures=failures, seconds=each * 20, cpu=each * 10) for each in averages
    )


def test_it_is_steady_when_enough_blocks_differ_little() -> None:
    assert is_steady(blocks(*[0.01] * 8))
    assert not is_steady(blocks(*[0.01] * 7))
    assert not is_steady(blocks(*[0.01, 0.012] * 4))


def test_the_figures_of_azure_ml() -> None:
    row = Row(limits=Limits(cpu=0.5, memory=GB), blocks=blocks(0.01, 0.02, failures=("500",)), memory=GB // 4)
    found = details(_profile([row]), row)
    assert found == {
        "name": "p",
        "description": "",
        "createdTime": "2026-01-01T00:00:00+00:00",
        "state": "Succeeded",
        "requestedCpu": 0.5,
        "requestedMemoryInGB": 1.0,
        "requestedQueriesPerSecond": 0.0,
        "maxUtilizedCpu": 0.5,
        "maxUtilizedMemoryInGB": 0.25,
        "totalQueries": 42,
        "successQueries": 40,
        "successRate": 95.24,
        "averageLatencyInMs": 15.0,
        "latencyPercentile50InMs": 10.0,
        "latencyPercentile90InMs": 20.0,
        "latencyPercentile95InMs": 20.0,
        "latencyPercentile99InMs": 20.0,
        "latencyPercentile999InMs": 20.0,
        "measuredQueriesPerSecond": 75.0,
        "error": None,
    }
    nothing = details(_profile([row]), Row(limits=row.limits, reason="it hangs"))
    assert nothing["state"] == "Failed"
    assert nothing["error"] == "it hangs"
    assert nothing["averageLatencyInMs"] is nothing["maxUtilizedCpu"] is None


def test_what_somebody_should_know_of_a_row() -> None:
    few = Row(limits=Limits(cpu=1, memory=GB), blocks=blocks(0.01))
    assert remarks(few) == ["1 block of requests: too few for a spread"]
    assert "±" not in "".join(rows_of(_profile([few]))[1])
    assert "10.0" in rows_of(_profile([few]))[1]
    assert "1500" in rows_of(_profile([Row(limits=few.limits, blocks=blocks(1.5))]))[1]
    row = Row(limits=few.limits, blocks=blocks(*[0.01, 0.05] * 2, failures=("500 run() raised",)))
    assert remarks(row) == [
        "4 of 84 requests failed: 500 run() raised",
        "its blocks differ much: the machine does other things, or the requests do",
    ]
    assert "99th and 99.9th" in too_few([few])
    assert "the 99.9th percentile" in too_few([Row(limits=row.limits, blocks=blocks(*[0.1] * 5))])
    assert too_few([Row(limits=row.limits, blocks=blocks(*[0.1] * 50))]) == ""


def test_two_measurements_become_one() -> None:
    first = Row(limits=Limits(cpu=1, memory=GB), blocks=blocks(0.01), memory=5)
    again = joined(first, Row(limits=first.limits, blocks=blocks(0.02), memory=7, reason="it hangs"))
    assert (len(again.blocks), again.memory, again.starts, again.reason) == (2, 7, 2, "it hangs")


# --- the search -------------------------------------------------------------------------------------------------------

WISH = Wish(requested=Limits(cpu=2.0, memory=8 * GB), cpus=4, memory=16 * GB)
Serve = Callable[[Limits], Row]


def service(work: float = 0.01, threads: float = 1.0, needs: int = 200 * MB) -> Serve:
    """One that works so many seconds for a request on at most so many processors, and needs so much memory."""

    def serve(limits: Limits) -> Row:
        if limits.memory is not None and limits.memory < needs:
            return Row(limits=limits, reason="the service ran out of memory", out_of_memory=True)
        return Row(limits=limits, blocks=blocks(*[work / min(limits.cpu, threads)] * 8), memory=needs)

    return serve


def searched(wish: Wish, serve: Serve) -> list[Row]:
    found: list[Row] = []
    while (limits := next_limits(wish, found)) is not None:
        assert limits not in [row.limits for row in found], "nothing is measured twice"
        found.append(serve(limits))
        assert len(found) < 20
    return found


def test_the_grid_is_of_doubles_and_what_was_asked_for() -> None:
    assert grid(WISH) == [0.25, 0.5, 1, 2, 4]
    asked = Limits(cpu=3.5, memory=GB)
    assert grid(Wish(requested=asked, cpus=6, memory=GB)) == [0.25, 0.5, 1, 2, 3.5, 4, 6]
    assert grid(Wish(requested=asked, cpus=4, memory=GB, whole=True)) == [1, 2, 3.5, 4]


def test_smaller_and_larger_limits_are_tried_and_the_least_is_recommended() -> None:
    found = searched(WISH, service())
    used = 200 * MB
    assert [(row.limits.cpu, row.limits.memory) for row in found] == [
        (2, 8 * GB),  # what was asked for
        (4, 8 * GB),  # does not help
        (1, 8 * GB),  # holds
        (0.5, 8 * GB),  # does not
        (1, step_up(used * 1.25)),
        (1, step_up(used * 0.75)),  # runs out
    ]
    assert found[-1].out_of_memory
    recommended, why = recommend(WISH, found)
    assert recommended == Limits(cpu=1.0, memory=256 * MB)
    assert "within 10 % of the best" in why


def test_more_processors_are_tried_as_long_as_they_help() -> None:
    wish = Wish(requested=Limits(cpu=1.0, memory=GB), cpus=8, memory=16 * GB)
    found = searched(wish, service(threads=4))
    assert [row.limits.cpu for row in found if row.limits.memory == GB] == [1, 2, 4, 8, 0.5]
    recommended, _ = recommend(wish, found)
    assert recommended is not None
    assert recommended.cpu == 4


def test_a_latency_that_is_asked_for_is_enough() -> None:
    wish = Wish(requested=WISH.requested, cpus=4, memory=16 * GB, latency=0.021)
    recommended, why = recommend(wish, searched(wish, service()))
    assert recommended == Limits(cpu=0.5, memory=256 * MB)
    assert "at most 21 ms" in why
    hopeless = Wish(requested=WISH.requested, cpus=4, memory=16 * GB, latency=0.001)
    recommended, why = recommend(hopeless, searched(hopeless, service()))
    assert recommended is None
    assert why == "no limits hold 1 ms: at best, 95 of 100 answers take 10.0 ms"


def test_memory_that_is_too_little_is_doubled() -> None:
    wish = Wish(requested=Limits(cpu=1.0, memory=128 * MB), cpus=1, memory=16 * GB)
    found = searched(wish, service(needs=300 * MB))
    assert [row.limits.memory for row in found][:3] == [128 * MB, 256 * MB, 512 * MB]
    recommended, _ = recommend(wish, found)
    assert recommended == Limits(cpu=1.0, memory=step_up(375 * MB))


def test_a_machine_with_too_little_memory() -> None:
    wish = Wish(requested=Limits(cpu=1.0, memory=128 * MB), cpus=1, memory=200 * MB)
    found = searched(wish, service(needs=300 * MB))
    assert [row.limits.memory for row in found] == [128 * MB, 200 * MB]
    assert recommend(wish, found) == (None, "no limits held: the service ran out of memory")


def test_two_profiles_of_one_service_agree_within_their_spread() -> None:
    import random

    def profiled(seed: int) -> Row:
        chance = random.Random(seed)
        made = [blocks(chance.gauss(0.02, 0.002))[0] for _ in range(16)]
        return Row(limits=WISH.requested, blocks=tuple(made))

    for seed in range(40):
        one, other = profiled(seed).latency, profiled(1000 + seed).latency
        assert one is not None
        assert other is not None
        assert abs(one.median - other.median) <= one.spread + other.spread


def test_what_does_not_serve_is_not_tried_further() -> None:
    found = searched(WISH, lambda limits: Row(limits=limits, reason="init() raised"))
    assert len(found) == 1
    assert recommend(WISH, found) == (None, "no limits held: init() raised")


def test_a_row_with_more_failures_does_not_hold() -> None:
    def serve(limits: Limits) -> Row:
        failures = ("no answer",) if limits.cpu < 2 else ()
        return Row(limits=limits, blocks=blocks(*[0.01] * 8, failures=failures), memory=MB)

    recommended, _ = recommend(WISH, searched(WISH, serve))
    assert recommended is not None
    assert recommended.cpu == 2


def test_a_sample_that_always_fails_keeps_nothing_from_being_recommended() -> None:
    def serve(limits: Limits) -> Row:
        return Row(limits=limits, blocks=blocks(*[0.01] * 8, failures=("400",)), memory=MB)

    recommended, _ = recommend(WISH, searched(WISH, serve))
    assert recommended is not None
    assert recommended.cpu == 0.25


def test_a_busy_machine_does_not_make_a_difference_of_none() -> None:
    noisy = {4.0: blocks(*[0.010, 0.014] * 4), 2.0: blocks(*[0.011, 0.016] * 4), 1.0: blocks(*[0.012, 0.017] * 4)}

    def serve(limits: Limits) -> Row:
        return Row(limits=limits, blocks=noisy.get(limits.cpu, blocks(*[0.04] * 8)), memory=MB)

    recommended, _ = recommend(WISH, searched(WISH, serve))
    assert recommended is not None
    assert recommended.cpu == 1


def test_the_row_with_the_largest_spread_is_not_the_one_that_holds() -> None:
    """What a newcomer saw: 13.4 ± 2.8 ms were within 10 % of 6.6 ms."""
    seen = {2.0: (0.0066,) * 8, 1.0: (0.0070,) * 8, 0.5: (0.0060, 0.0100) * 4, 0.25: (0.0070, 0.0198) * 4}

    def serve(limits: Limits) -> Row:
        return Row(limits=limits, blocks=blocks(*seen[min(limits.cpu, 2.0)]), memory=MB)

    recommended, why = recommend(WISH, searched(WISH, serve))
    assert recommended is not None
    assert recommended.cpu == 0.5
    assert "within 21 % of the best, which is no more than the spread (the spread is large: measure again" in why


def test_where_nothing_counts_it_is_said_and_not_zero() -> None:
    bare = tuple(msgspec.structs.replace(each, cpu=None) for each in blocks(*[0.01] * 8))
    row = Row(limits=WISH.requested, blocks=bare)
    assert row.cpu is None
    assert details(_profile([row]), row)["maxUtilizedCpu"] is None
    assert rows_of(_profile([row]))[1][8:10] == ("-", "-")
    recommended, why = recommend(WISH, [row])
    assert recommended == WISH.requested
    assert "nothing counts it here" in why


def test_what_is_true_of_many_rows_is_said_once() -> None:
    found = [Row(limits=Limits(cpu=cpu, memory=GB), blocks=blocks(*[0.01, 0.05] * 4)) for cpu in (1, 2, 4)]
    assert [each for each in remark_lines(_profile(found)) if "differ much" in each] == [
        "3 of 3 rows: its blocks differ much: the machine does other things, or the requests do"
    ]
    (line,) = (each for each in remark_lines(_profile(found[:2])) if "differ much" in each)
    assert line.startswith("1 cpu, 1Gi; 2 cpu, 1Gi: ")


def test_something_is_recommended_whatever_chance_does_with_few_blocks() -> None:
    import random

    for seed in range(200):
        chance = random.Random(seed)

        def serve(limits: Limits, chance: random.Random = chance) -> Row:
            return Row(limits=limits, blocks=blocks(chance.uniform(0.01, 0.05)), memory=200 * MB)

        assert recommend(WISH, searched(WISH, serve))[0] is not None


def test_without_a_memory_limit_what_was_used_is_recommended() -> None:
    wish = Wish(requested=Limits(cpu=2.0, memory=None), cpus=2, memory=16 * GB, whole=True)
    found = searched(wish, service())
    assert [row.limits for row in found] == [Limits(cpu=2.0, memory=None), Limits(cpu=1.0, memory=None)]
    recommended, why = recommend(wish, found)
    assert recommended == Limits(cpu=1.0, memory=256 * MB)
    assert "a quarter more than the 200Mi that were used" in why


def test_less_than_a_quarter_left_is_tried_with_more() -> None:
    wish = Wish(requested=Limits(cpu=1.0, memory=208 * MB), cpus=1, memory=16 * GB)
    found = searched(wish, service())
    assert 256 * MB in [row.limits.memory for row in found]
    assert recommend(wish, found)[0] == Limits(cpu=1.0, memory=256 * MB)
    little = Wish(requested=Limits(cpu=1.0, memory=208 * MB), cpus=1, memory=210 * MB)
    recommended, why = recommend(little, searched(little, service()))
    assert recommended == Limits(cpu=1.0, memory=208 * MB)
    assert "little for what comes" in why


# --- measuring --------------------------------------------------------------------------------------------------------


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Fake:
    """A service whose answers take so long by a clock that only it turns."""

    def __init__(self, clock: Clock, latencies: Sequence[float], answers: dict[int, Answered] | None = None) -> None:
        self.clock, self.latencies, self.answers = clock, latencies, answers or {}
        self.start, self.asked, self.killed = 1.5, list[str](), False
        self.ended = False

    def ask(self, sample: Sample) -> Answered:
        number = len(self.asked)
        self.asked.append(sample.name)
        answered = self.answers.get(number, Answered(seconds=self.latencies[number % len(self.latencies)]))
        self.clock.now += answered.seconds
        self.killed = self.killed or answered.failure == "killed"
        return answered

    def usage(self) -> Usage:
        return Usage(cpu=self.clock.now / 2, memory=100 + len(self.asked), cache=10, peak=500)

    def out_of_memory(self) -> bool:
        return self.killed

    @contextmanager
    def started(self) -> Iterator[Asked]:
        try:
            yield self
        finally:
            self.ended = True


SAMPLES = (Sample(name="a", body=b"1"), Sample(name="b", body=b"2"))
LIMITS = Limits(cpu=1.0, memory=GB)
BOUNDS = Bounds(seconds=5, requests=1000, silence=3, ready=60)


def measured(fake: Fake, bounds: Bounds = BOUNDS) -> Row:
    row = measure(fake.started, LIMITS, SAMPLES, bounds, clock=fake.clock)
    assert fake.ended
    return row


def test_the_first_requests_are_not_measured_and_it_ends_when_it_is_steady() -> None:
    fake = Fake(Clock(), [0.01], {0: Answered(seconds=3.0)})
    row = measured(fake)
    assert len(row.blocks) == 8
    assert row.latencies[-1] == 0.01, "the first request took three seconds"
    assert row.total == 8 * 26, "a quarter of a second, in whole rounds"
    assert fake.asked[3:7] == ["b", "a", "b", "a"] or fake.asked[3:7] == ["a", "b", "a", "b"]
    assert row.cpu == pytest.approx(0.5)
    assert row.memory == 490, "the counter's peak, but for the files that were seen"
    assert (row.start, row.state) == (1.5, "Succeeded")


def test_it_ends_when_time_is_up() -> None:
    fake = Fake(Clock(), [0.001 * each for each in range(1, 97)])
    row = measured(fake)
    assert not is_steady(row.blocks)
    assert sum(block.seconds for block in row.blocks) <= 5.2
    assert row.state == "Succeeded"


def test_it_ends_after_so_many_requests() -> None:
    row = measured(Fake(Clock(), [0.01]), Bounds(seconds=5, requests=30, silence=3, ready=60))
    assert row.total == 30


def test_a_slow_service_is_measured_all_the_same() -> None:
    row = measured(Fake(Clock(), [20.0]))
    assert row.good == 1
    assert row.latency is not None


def test_failures_are_counted_and_their_times_are_not() -> None:
    wrong = {number: Answered(seconds=0.5, failure="500") for number in range(20, 24)}
    row = measured(Fake(Clock(), [0.01], wrong))
    assert row.total - row.good == 4
    assert row.latencies[-1] == 0.01
    assert row.state == "Succeeded"
    assert remarks(row)[0] == f"4 of {row.total} requests failed: 500"


@pytest.mark.parametrize("number", [1, 40])
def test_a_service_that_runs_out_of_memory_says_so(number: int) -> None:
    row = measured(Fake(Clock(), [0.01], {number: Answered(seconds=0.1, failure="killed")}))
    assert row.out_of_memory
    assert row.state == "Failed"
    assert "out of memory" in row.reason


@pytest.mark.parametrize("number", [1, 40])
def test_a_service_that_hangs_is_not_waited_for_again(number: int) -> None:
    fake = Fake(Clock(), [0.01], {number: Answered(seconds=3, failure="no answer within 3 s (a)", silent=True)})
    row = measured(fake)
    assert len(fake.asked) == number + 1
    assert row.state == "Failed"
    assert row.reason == "no answer within 3 s (a)"


def test_a_service_that_does_not_start_is_a_row() -> None:
    class Broken(Fake):
        @contextmanager
        def started(self) -> Iterator[Asked]:
            if self.start:
                raise ServiceError("the service ran out of memory and was ended (exit code 137)\n    its log")
            yield self

    row = measure(Broken(Clock(), []).started, LIMITS, SAMPLES, BOUNDS)
    assert row.reason == "the service ran out of memory and was ended (exit code 137)"
    assert row.out_of_memory


def test_an_interruption_ends_the_service() -> None:
    class Interrupted(Fake):
        def ask(self, sample: Sample) -> Answered:
            raise KeyboardInterrupt

    fake = Interrupted(Clock(), [0.01])
    with pytest.raises(KeyboardInterrupt):
        measure(fake.started, LIMITS, SAMPLES, BOUNDS, clock=fake.clock)
    assert fake.ended


# --- what is used -----------------------------------------------------------------------------------------------------


def test_what_the_engine_says_with_either_version_of_cgroups() -> None:
    cpu = {"cpu_usage": {"total_usage": 2_500_000_000}}
    first = {"usage": 300, "max_usage": 900, "stats": {"total_inactive_file": 100, "inactive_file": 7}}
    assert usage_of({"cpu_stats": cpu, "memory_stats": first}) == Usage(cpu=2.5, memory=200, cache=100, peak=900)
    second = {"usage": 300, "stats": {"inactive_file": 50}}
    assert usage_of({"cpu_stats": cpu, "memory_stats": second}) == Usage(cpu=2.5, memory=250, cache=50)
    assert usage_of({"cpu_stats": {"cpu_usage": {"total_usage": 0}}, "memory_stats": {}}) is None
    assert usage_of({}) is None


def test_memory_is_watched_where_no_counter_keeps_its_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    monkeypatch.setattr("packager.serving.usage._PAUSE", 0.001)
    looks, seen = iter([5, 80, *[5] * 10**6]), threading.Event()

    def look() -> Usage:
        found = Usage(cpu=0, memory=next(looks))
        if found.memory == 80:
            seen.set()
        return found

    most = Most()
    with watching(look, most):
        assert seen.wait(10)
    assert most.memory == 80
    assert Most().memory is None


def test_what_a_process_and_its_children_use(tmp_path: Path) -> None:
    for pid, children, ticks, pss in ((10, "11", 100, 40), (11, "", 50, 60)):
        folder = tmp_path / str(pid) / "task" / str(pid)
        folder.mkdir(parents=True)
        (folder / "children").write_text(children)
        (tmp_path / str(pid) / "stat").write_text(f"{pid} (a ) name) S {' '.join(['0'] * 10)} {ticks} 0 0 0 20")
        (tmp_path / str(pid) / "smaps_rollup").write_text(f"Rss: 90 kB\nPss:  {pss} kB\nPss_Anon: 1 kB\n")
    found = process_usage(10, tmp_path)
    assert found is not None
    assert found.memory == 100 * 1024
    assert found.cpu == pytest.approx(1.5, rel=0.5)
    assert process_usage(12, tmp_path) is None


def test_processors_are_given_back() -> None:
    before = this_machine().cpus
    with on_processors(1):
        assert this_machine().cpus == 1
    assert this_machine().cpus == before


# --- samples ----------------------------------------------------------------------------------------------------------


def bodies(found: Sequence[Sample | Skipped]) -> list[object]:
    return [each.body if isinstance(each, Sample) else each.reason for each in found]


def test_rows_of_json_lines_and_of_csv() -> None:
    assert bodies(rows("a.jsonl", b'{"data": [1, 2]}\n\n[3]\n')) == [b'{"data": [1, 2]}', b"[3]"]
    # As v1's samples are written: a line each, whatever the file's ending.
    assert bodies(rows("a.csv", b'\xef\xbb\xbf{"data": [1, 2]}\n')) == [b'{"data": [1, 2]}']
    quoted = b'request\n"{""data"": [1, 2]}"\n"{""data"": [3]}"\n'
    assert bodies(rows("a.csv", quoted)) == [b'{"data": [1, 2]}', b'{"data": [3]}']


def test_rows_that_are_no_request_are_told_with_their_line() -> None:
    found = rows("a.jsonl", b'[1]\n{"data": \n[2]\n')
    assert bodies(found)[0::2] == [b"[1]", b"[2]"]
    assert isinstance(found[1], Skipped)
    assert found[1].name == "a.jsonl:2"
    assert "no JSON" in found[1].reason
    (_, wide) = rows("a.csv", b"a,b\n1,2\n")
    assert isinstance(wide, Skipped)
    assert "2 columns" in wide.reason
    assert bodies(rows("a.csv", b"\xff\xfe")) == ["it is not UTF-8"]
    assert rows("a.csv", b"") == []
    (deep,) = rows("a.jsonl", b"[" * 200_000)
    assert isinstance(deep, Skipped)


def test_a_broken_first_row_is_no_name_of_a_column() -> None:
    assert isinstance(rows("a.jsonl", b'{"data": \n[2]\n')[0], Skipped)


def test_a_file_that_is_no_json_is_sent_only_where_it_is_said_to_be_binary() -> None:
    assert isinstance(one("cat.png", b"\x89PNG"), Skipped)
    found = one("cat.png", b"\x89PNG", binary=True)
    assert isinstance(found, Sample)
    assert found.content_type == "application/octet-stream"


def test_no_samples_is_said_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there are no requests"):
        read_samples(ProfileWish(), None)
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(UsageError, match="no sample can be sent"):
        read_samples(ProfileWish(data=(tmp_path / "a.json",)), None)
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(UsageError, match="no rows"):
        read_samples(ProfileWish(dataset=tmp_path / "empty.csv"), None)


# --- what is shown ----------------------------------------------------------------------------------------------------


def _profile(found: Sequence[Row], recommended: Limits | None = None, name: str = "p") -> Profile:
    return Profile(
        name=name,
        image="ml/churn:1",
        target="cpu",
        platform="linux/amd64",
        created="2026-01-01T00:00:00+00:00",
        cpus=4,
        machine_memory=16 * GB,
        samples=("a",),
        skipped=(Skipped(name="b", reason="it is no JSON"),),
        rows=tuple(found),
        recommended=recommended,
        advice="because",
    )


def test_the_table_marks_what_is_recommended_and_names_what_went_wrong() -> None:
    found = searched(WISH, service())
    profile = _profile(found, recommend(WISH, found)[0])
    head, *shown = rows_of(profile)
    assert len({len(each) for each in (head, *shown)}) == 1
    assert [each[:2] for each in shown if "*" in each[2]] == [("1", "256Mi")]
    assert "out of memory" in [each[2] for each in shown]
    lines = remark_lines(profile)
    assert "1 cpu, 160Mi: the service ran out of memory" in lines
    assert "not sent: b: it is no JSON" in lines
    assert advice_line(profile) == "recommended: because\nservice: {cpu: 1, memory: 256Mi}"
    require_profiled(profile)


def test_json_is_as_its_schema_says() -> None:
    found = searched(WISH, service())
    for recommended in (None, recommend(WISH, found)[0]):
        data = as_data(_profile(found, recommended))
        jsonschema.validate(data, schema("model-profile"))
        assert set(data) == set(schema("model-profile")["$defs"]["Profiled"]["properties"])
        assert set(data["details"]) == set(schema("model-profile")["$defs"]["ProfiledRow"]["properties"])
        assert data["details"]["requestedCpu"] == 2


class Now:
    def __init__(self, now: list[float]) -> None:
        self.now = now

    def monotonic(self) -> float:
        return self.now[0]


@pytest.mark.parametrize(("at_most", "count", "cut"), [(None, 8, False), (35.0, 3, True), (1.0, 1, True)])
def test_no_more_is_tried_than_there_is_time_for(
    monkeypatch: pytest.MonkeyPatch, at_most: float | None, count: int, cut: bool
) -> None:
    now, starts = [0.0], list[Limits]()

    class Measured(_Measuring, frozen=True):
        def row(self, limits: Limits, first: Row | None) -> Row:
            now[0] += 10
            starts.append(limits)
            return service()(limits)

    monkeypatch.setattr("packager.steps.profile.time", Now(now))
    package = Package(title="x", target="cpu", platform="linux/amd64", port=1, labels={})
    measuring = Measured(
        run=RunWish(),
        granted=Granted(package=package),
        samples=(),
        wish=ProfileWish(at_most=at_most),
        reporter=SILENT,
    )
    found, ended = measuring.rows(WISH)
    assert ended is cut
    assert len(starts) == count
    assert recommend(WISH, found)[0] is not None
    assert at_most is None or now[0] <= max(at_most, 10)


def test_nothing_measured_is_an_error() -> None:
    with pytest.raises(ServiceError, match="could not be measured: because"):
        require_profiled(_profile([Row(limits=LIMITS, reason="init() raised")]))


@pytest.mark.parametrize("made", [service(), lambda limits: Row(limits=limits, reason="init() raised")])
def test_the_picture_is_svg_with_a_mark_for_each_row(made: Serve) -> None:
    found = searched(WISH, made)
    drawn = ET.fromstring(svg(picture(_profile(found, recommend(WISH, found)[0], name="<&>\x1b"))))
    spaces = "{http://www.w3.org/2000/svg}"
    texts = [each.text for each in drawn.iter(f"{spaces}text")]
    assert "<&>�: ml/churn:1" in texts
    assert texts.count("latency (ms)") == texts.count("requests/s") == 2
    by_cpu = sum(row.limits.memory == WISH.requested.memory for row in found)
    crosses = [each for each in drawn.iter(f"{spaces}polyline") if each.get("stroke") == FAILED]
    assert len([*drawn.iter(f"{spaces}circle")]) + len(crosses) / 2 >= 2 * by_cpu
    width, height = (float(each) for each in drawn.attrib["viewBox"].split()[2:])
    for each in (*drawn.iter(f"{spaces}text"), *drawn.iter(f"{spaces}circle")):
        x, y = (float(each.get(name) or each.get(f"c{name}") or "-1") for name in "xy")
        assert 0 <= x <= width, ET.tostring(each)
        assert 0 <= y <= height, ET.tostring(each)


def darkest(image: Image.Image, box: tuple[float, float, float, float]) -> object:
    return image.crop(tuple(round(2 * edge) for edge in box)).convert("L").getextrema()[0]  # type: ignore[arg-type]


def test_the_picture_as_png_has_the_same_marks_in_the_same_places(tmp_path: Path) -> None:
    rows = searched(WISH, service())
    found = _profile(rows, recommend(WISH, rows)[0], name="<&>\x1b, churn")
    drawn = picture(found)
    for name in ("a.svg", "a.PNG"):
        write_plot(found, tmp_path / name)
    assert (tmp_path / "a.svg").read_text() == svg(drawn)
    with Image.open(tmp_path / "a.PNG") as file:
        image = file.convert("RGB")
    assert image.size == (2 * drawn.width, 2 * drawn.height)
    discs = [each for each in drawn.shapes if isinstance(each, Disc)]
    assert {each.colour for each in discs} == {"#1f6feb", "#1a7f37"}
    for disc in discs:
        assert image.getpixel((round(2 * disc.x), round(2 * disc.y))) == ImageColor.getrgb(disc.colour)
    for text in (each for each in drawn.shapes if isinstance(each, Text)):
        left = text.x - {"start": 0, "middle": len(text.words) * 4, "end": len(text.words) * 8}[text.anchor]
        box = (left, text.y - text.size, left + 8 * len(text.words), text.y + 2)
        assert cast("int", darkest(image, box)) < 100, text
    assert darkest(image, (0, 0, drawn.width, 4)) == 255


def test_axes_end_at_round_figures() -> None:
    assert [nice(each) for each in (0, 0.3, 1, 3, 17, 90, 100)] == [1, pytest.approx(0.4), 1, 4, 20, 100, 100]


def test_a_plot_that_cannot_be_drawn_is_refused_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.SVG", "a.png"):
        check_plot(tmp_path / name)
    with pytest.raises(UsageError, match=r"drawn as SVG or PNG, not as \.jpg"):
        check_plot(tmp_path / "a.jpg")
    with pytest.raises(ContextError, match="no folder"):
        check_plot(tmp_path / "none/a.png")
    monkeypatch.setitem(sys.modules, "PIL", None)
    check_plot(tmp_path / "a.svg")
    with pytest.raises(UsageError, match="drawn by Pillow, which is not installed") as caught:
        check_plot(tmp_path / "a.png")
    assert "pip install 'packager[plot]'" in str(caught.value.remedy)
