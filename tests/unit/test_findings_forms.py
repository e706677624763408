from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from click.testing import CliRunner

from packager.cli.check import command
from packager.cli.findings import github, placed, sarif
from packager.finding import Finding

#: What SARIF 2.1.0 asks of the parts that are used, and none besides.
_LOCATION = {
    "type": "object",
    "required": ["artifactLocation"],
    "additionalProperties": False,
    "properties": {
        "artifactLocation": {
            "required": ["uri"], "additionalProperties": False, "properties": {"uri": {"pattern": r"^[!-~]+$"}},
        },
        "region": {"additionalProperties": False, "properties": {"startLine": {"type": "integer", "minimum": 1}}},
    },
}  # fmt: skip
_RESULT = {
    "type": "object",
    "required": ["message", "ruleId", "ruleIndex", "level", "locations"],
    "additionalProperties": False,
    "properties": {
        "ruleId": {"type": "string"},
        "ruleIndex": {"type": "integer", "minimum": 0},
        "level": {"enum": ["none", "note", "warning", "error"]},
        "message": {"required": ["text"], "properties": {"text": {"type": "string", "minLength": 1}}},
        "locations": {"items": {"required": ["physicalLocation"], "properties": {"physicalLocation": _LOCATION}}},
    },
}
SARIF = {
    "type": "object",
    "required": ["version", "runs"],
    "properties": {
        "version": {"const": "2.1.0"},
        "runs": {
            "type": "array",
            "items": {
                "required": ["tool", "results"],
                "properties": {
                    "tool": {"required": ["driver"], "properties": {"driver": {"required": ["name", "rules"]}}},
                    "results": {"type": "array", "items": _RESULT},
                },
            },
        },
    },
}


def finding(**fields: Any) -> Finding:
    return Finding(**{"rule": "a-rule", "severity": "error", "message": "is wrong", "file": "score.py"} | fields)


def test_sarif_has_what_the_standard_asks() -> None:
    found = [
        finding(line=3, remedy="mend it"),
        finding(severity="warning", rule="b"),
        finding(severity="info", file="a folder/ä#?.py"),
        finding(file="/elsewhere/x y.py"),
    ]
    log = sarif(found)
    jsonschema.validate(log, SARIF)
    results = log["runs"][0]["results"]
    assert [each["level"] for each in results] == ["error", "warning", "note", "error"]
    assert [rule["id"] for rule in log["runs"][0]["tool"]["driver"]["rules"]] == ["a-rule", "b"]
    assert [each["ruleIndex"] for each in results] == [0, 1, 0, 0]
    assert results[0]["message"]["text"] == "is wrong (mend it)"
    uris = [each["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for each in results]
    assert uris == ["score.py", "score.py", "a%20folder/%C3%A4%23%3F.py", "file:///elsewhere/x%20y.py"]


def test_nothing_found_is_a_whole_log() -> None:
    jsonschema.validate(sarif([]), SARIF)


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (finding(line=3), "::error file=score.py,line=3,title=packager a-rule::is wrong"),
        (finding(severity="info"), "::notice file=score.py,title=packager a-rule::is wrong"),
        (finding(severity="warning"), "::warning file=score.py,title=packager a-rule::is wrong"),
        # What could end the command early, or begin another.
        (finding(message="100%\r\n::error::x"), "::error file=score.py,title=packager a-rule::100%25%0D%0A::error::x"),
        (finding(file="a,b:c%.py"), "::error file=a%2Cb%3Ac%25.py,title=packager a-rule::is wrong"),
    ],
)
def test_a_workflow_command_is_one_line_whatever_is_in_it(given: Finding, line: str) -> None:
    assert github(given) == line


def test_files_are_called_as_from_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = tmp_path / "models/packager.yaml"
    (spec.parent / "src").mkdir(parents=True)
    for path in (spec, spec.parent / "src/score.py"):
        path.write_text("")
    monkeypatch.chdir(tmp_path)
    named = Path("models/packager.yaml")
    found = [
        finding(file=str(named), line=2),
        finding(file="src/score.py", line=4),
        finding(file="Dockerfile (cpu)", line=9),
    ]
    own, script, image = placed(found, named)
    assert (own.file, own.line) == ("models/packager.yaml", 2)
    assert (script.file, script.line) == ("models/src/score.py", 4)
    assert (image.file, image.line, image.message) == ("models/packager.yaml", None, "Dockerfile (cpu):9: is wrong")


@pytest.mark.parametrize("form", ["sarif", "github"])
def test_an_invalid_spec_is_a_finding_where_reports_are_uploaded(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "packager.yaml").write_text("name: a\nverison: '1'\n")
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(command, ["--format", form])
    assert done.exit_code != 0
    if form == "sarif":
        (result,) = json.loads(done.stdout)["runs"][0]["results"]
        assert result["ruleId"] == "spec-invalid"
        assert result["locations"][0]["physicalLocation"]["region"]["startLine"] == 2
    else:
        assert done.stdout.startswith("::error file=packager.yaml,line=2,title=packager spec-invalid::unknown key")
