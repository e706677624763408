import json
import xml.etree.ElementTree as ET
from typing import Any

import pytest

from packager.serving.gate import Outcome, Report, spread_of
from packager.serving.reports import as_data, junit, report_lines

GOOD = Outcome(name="a", seconds=0.0124, differences=())
BAD = Outcome(name='<b> & "c"\x00', seconds=1.5, differences=("status: 500 != 200", "$: \x1b[0m"))


def report(*outcomes: Outcome, **values: Any) -> Report:
    return Report(**{"image": "x:1", "target": "cpu", "platform": "linux/amd64", **values}, outcomes=outcomes)


def test_lines() -> None:
    assert report_lines(report(GOOD, BAD)) == [
        "ok    a (12 ms)",
        'FAIL  <b> & "c"\x00 (1500 ms)',
        "      status: 500 != 200",
        "      $: \x1b[0m",
        "x:1: 1 of 2 passed",
    ]
    assert report_lines(report(failure="it ended"))[-1] == "FAIL  x:1: it ended"


def test_a_test_that_was_sent_often_shows_how_its_times_are_spread() -> None:
    often = Outcome(name="a", seconds=0.5, differences=(), times=(0.5, *(number / 1000 for number in range(1, 100))))
    assert report_lines(report(often))[0] == "ok    a (100 times: min 1.0, median 50.5, p95 95.0, max 500 ms)"
    (test,) = as_data(report(often))["tests"]
    assert test["latency"] == {"count": 100, "min": 0.001, "median": 0.0505, "p95": 0.095, "max": 0.5}
    assert as_data(report(GOOD))["tests"][0]["latency"] is None


@pytest.mark.parametrize(("count", "p95"), [(1, 1), (2, 2), (19, 19), (20, 19), (21, 20), (100, 95)])
def test_p95_is_the_least_that_95_percent_are_not_above(count: int, p95: int) -> None:
    times = [*range(count, 0, -1)]
    found = spread_of(times)
    assert (found.p95, found.min, found.max) == (p95, 1, count)
    assert sum(each <= p95 for each in times) >= 0.95 * count > sum(each < p95 for each in times)


def test_what_passes() -> None:
    assert report(GOOD).passed
    assert not report(GOOD, BAD).passed
    assert not report(failure="x").passed


def test_junit_can_be_read_whatever_is_in_it() -> None:
    root = ET.fromstring(junit([report(GOOD, BAD, log="l\x07og"), report(failure="it ended\n    last line")]))
    first, second = root
    assert (first.get("tests"), first.get("failures"), first.get("errors")) == ("2", "1", "0")
    assert first.find("testcase/failure") is not None
    assert first.findtext("system-err") == "l\ufffdog"
    assert (second.get("tests"), second.get("errors")) == ("1", "1")
    error = second.find("testcase/error")
    assert error is not None
    assert (error.get("message"), error.text) == ("it ended", "    last line")


def test_data_is_json() -> None:
    data = json.loads(json.dumps(as_data(report(GOOD, BAD))))
    assert data["passed"] is False
    assert [each["passed"] for each in data["tests"]] == [True, False]
