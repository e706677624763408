"""Reports of the gate as lines, as data, and as JUnit XML, the form that CI systems read. Pure."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from typing import Any

import msgspec

from packager.serving.gate import Outcome, Report, Spread

#: What XML 1.0 has no way to hold (section 2.2).
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def outcome_lines(outcome: Outcome) -> list[str]:
    """Return how one test went."""
    word = "FAIL" if outcome.differences else "ok"
    head = f"{word:<6}{outcome.name} ({_times(outcome)})"
    return [head, *(f"      {each}" for each in outcome.differences)]


def _times(outcome: Outcome) -> str:
    """Return `12 ms`, or how the times are spread."""
    spread = outcome.spread
    if spread is None:
        return f"{outcome.seconds * 1000:.0f} ms"
    named = {"min": spread.min, "median": spread.median, "p95": spread.p95, "max": spread.max}
    shown = ", ".join(f"{name} {_milliseconds(seconds)}" for name, seconds in named.items())
    return f"{spread.count} times: {shown} ms"


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f}" if seconds >= 0.1 else f"{seconds * 1000:.1f}"


def report_lines(report: Report) -> list[str]:
    """Return how an image did: its tests, and a sum."""
    lines = [line for outcome in report.outcomes for line in outcome_lines(outcome)]
    if report.failure:
        return [*lines, f"FAIL  {report.image}: {report.failure}"]
    good = sum(not each.differences for each in report.outcomes)
    return [*lines, f"{report.image}: {good} of {len(report.outcomes)} passed"]


def as_data(report: Report) -> dict[str, Any]:
    """Return a report as JSON can hold it."""
    return {
        "image": report.image,
        "target": report.target,
        "platform": report.platform,
        "passed": report.passed,
        "start_seconds": round(report.start, 3),
        "failure": report.failure,
        "log": report.log.splitlines(),
        "tests": [
            {
                "name": each.name,
                "passed": not each.differences,
                "seconds": round(each.seconds, 4),
                "latency": _rounded(each.spread),
                "differences": list(each.differences),
            }
            for each in report.outcomes
        ],
    }


def _rounded(spread: Spread | None) -> dict[str, float] | None:
    if spread is None:
        return None
    values = msgspec.structs.asdict(spread)
    return {name: value if name == "count" else round(value, 5) for name, value in values.items()}


def junit(reports: Sequence[Report]) -> str:
    """Return reports as JUnit XML: one suite for each image; one that did not start is an error of its own."""
    root = ET.Element("testsuites", name="packager test")
    for report in reports:
        failures = sum(bool(each.differences) for each in report.outcomes)
        suite = ET.SubElement(
            root,
            "testsuite",
            name=_text(f"{report.image} {report.platform}"),
            tests=str(len(report.outcomes) or 1),
            failures=str(failures),
            errors=str(int(bool(report.failure))),
            time=f"{sum(each.seconds for each in report.outcomes):.3f}",
        )
        for outcome in report.outcomes:
            case = _case(suite, report, outcome.name, outcome.seconds)
            if outcome.differences:
                failure = ET.SubElement(case, "failure", message=_text(outcome.differences[0]))
                failure.text = _text("\n".join(outcome.differences))
        if report.failure:
            error = ET.SubElement(_case(suite, report, "start", 0), "error")
            first, _, rest = report.failure.partition("\n")
            error.set("message", _text(first))
            error.text = _text(rest)
        if report.log:
            ET.SubElement(suite, "system-err").text = _text(report.log)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _case(suite: ET.Element, report: Report, name: str, seconds: float) -> ET.Element:
    return ET.SubElement(suite, "testcase", classname=_text(report.image), name=_text(name), time=f"{seconds:.3f}")


def _text(text: str) -> str:
    return _NOT_XML.sub("�", text)
