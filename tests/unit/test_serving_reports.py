import json
import xml.etree.ElementTree as ET
from typing import Any

from packager.serving.gate import Outcome, Report
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
