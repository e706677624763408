"""Findings in the forms of other tools: SARIF 2.1.0, and the workflow commands of GitHub Actions."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from packager import __version__
from packager.finding import Finding, Severity

_LEVELS: dict[Severity, str] = {"error": "error", "warning": "warning", "info": "note"}
_COMMANDS: dict[Severity, str] = {"error": "error", "warning": "warning", "info": "notice"}


def placed(findings: Sequence[Finding], spec: Path) -> tuple[Finding, ...]:
    """Return findings whose files are all there, as they are called from the working directory.

    Both forms are read beside a checkout: what is in no file of it (`Dockerfile (cpu)`) stands at the spec.

    Args:
        findings: of `check`, whose paths are from the folder of the spec, or as the spec was named.
        spec: the spec's file.
    """
    return tuple(_placed(finding, spec) for finding in findings)


def _placed(finding: Finding, spec: Path) -> Finding:
    import msgspec

    if finding.file == str(spec):
        return msgspec.structs.replace(finding, file=_from_here(spec))
    for path in (spec.parent / finding.file, Path(finding.file)):
        if path.is_file():
            return msgspec.structs.replace(finding, file=_from_here(path))
    line = "" if finding.line is None else f":{finding.line}"
    message = f"{finding.file}{line}: {finding.message}"
    return msgspec.structs.replace(finding, file=_from_here(spec), line=None, message=message)


def _from_here(path: Path) -> str:
    found = os.path.relpath(path)
    return os.path.abspath(path) if found.startswith("..") else found.replace(os.sep, "/")


def sarif(findings: Sequence[Finding]) -> dict[str, Any]:
    """Return a SARIF log with one run, for code scanning.

    Source of the form: Static Analysis Results Interchange Format 2.1.0 (OASIS).
    """
    rules = list(dict.fromkeys(finding.rule for finding in findings))
    driver = {"name": "packager", "version": __version__, "rules": [{"id": rule} for rule in rules]}
    results = [
        {
            "ruleId": finding.rule,
            "ruleIndex": rules.index(finding.rule),
            "level": _LEVELS[finding.severity],
            "message": {"text": _text(finding)},
            "locations": [{"physicalLocation": _location(finding)}],
        }
        for finding in findings
    ]
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "results": results}],
    }


def _location(finding: Finding) -> dict[str, Any]:
    # Absolute where it is not below the working directory; a relative reference must not begin as a scheme does.
    path = quote(finding.file)
    uri = f"file://{path}" if path.startswith("/") else path
    location: dict[str, Any] = {"artifactLocation": {"uri": uri}}
    return location if finding.line is None else location | {"region": {"startLine": finding.line}}


def _text(finding: Finding) -> str:
    return f"{finding.message} ({finding.remedy})" if finding.remedy else finding.message


def github(finding: Finding) -> str:
    """Return one finding as a workflow command, which GitHub Actions shows at the line of a pull request."""
    where = {"file": finding.file, "line": finding.line, "title": f"packager {finding.rule}"}
    fields = ",".join(f"{name}={_property(str(value))}" for name, value in where.items() if value is not None)
    return f"::{_COMMANDS[finding.severity]} {fields}::{_message(_text(finding))}"


def _message(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _message(text).replace(":", "%3A").replace(",", "%2C")
