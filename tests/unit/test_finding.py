from __future__ import annotations

import pytest

from packager.errors import Location, SpecError
from packager.finding import Finding, Severity, at_least, from_error


@pytest.mark.parametrize(
    ("line", "remedy", "text"),
    [
        (None, None, "score.py: warning a-rule: is wrong"),
        (3, None, "score.py:3: warning a-rule: is wrong"),
        (None, "mend it", "score.py: warning a-rule: is wrong (mend it)"),
        (1, "mend it", "score.py:1: warning a-rule: is wrong (mend it)"),
    ],
)
def test_a_finding_says_where_what_and_what_to_do(line: int | None, remedy: str | None, text: str) -> None:
    found = Finding(rule="a-rule", severity="warning", message="is wrong", file="score.py", line=line, remedy=remedy)
    assert str(found) == text


def test_an_error_keeps_its_place_as_a_finding() -> None:
    here = SpecError("is wrong", where=Location(file="packager.yaml", line=7), remedy="mend it")
    assert str(from_error("a-rule", here, "other.yaml")) == "packager.yaml:7: error a-rule: is wrong (mend it)"
    assert str(from_error("a-rule", SpecError("is wrong"), "other.yaml")) == "other.yaml: error a-rule: is wrong"


@pytest.mark.parametrize(
    ("threshold", "count"),
    [("info", ["info", "warning", "error"]), ("warning", ["warning", "error"]), ("error", ["error"])],
)
def test_a_threshold_takes_in_what_is_worse(threshold: Severity, count: list[str]) -> None:
    severities: tuple[Severity, ...] = ("info", "warning", "error")
    findings = [Finding(rule="r", severity=each, message="", file="f") for each in severities]
    assert [each.severity for each in at_least(findings, threshold)] == count
