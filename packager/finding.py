"""Findings: what `packager check` reports, each with the id of its rule."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from packager.errors import Location, PackagerError

Severity = Literal["error", "warning", "info"]

#: From the mildest; a threshold takes in itself and all after it.
SEVERITIES: tuple[Severity, ...] = ("info", "warning", "error")


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is, or may be, wrong.

    Attributes:
        rule: its id (`entry-run-missing`; hadolint's own are `DL…` and `SC…`).
        severity: `error` stops a build, `warning` may go wrong, `info` is good to know.
        message: what is wrong.
        file: path as the user knows it; `Dockerfile` for the rendered one.
        line: from 1, where known.
        remedy: what to do.
    """

    rule: str
    severity: Severity
    message: str
    file: str
    line: int | None = None
    remedy: str | None = None

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        text = f"{where}: {self.severity} {self.rule}: {self.message}"
        return f"{text} ({self.remedy})" if self.remedy else text


def from_error(rule: str, error: PackagerError, file: str) -> Finding:
    """Return an error of another step as a finding."""
    where = error.where or Location(file=file)
    return Finding(
        rule=rule, severity="error", message=error.message, file=where.file, line=where.line, remedy=error.remedy
    )


def at_least(findings: Iterable[Finding], threshold: Severity) -> tuple[Finding, ...]:
    """Return the findings of this severity and above."""
    counted = SEVERITIES[SEVERITIES.index(threshold) :]
    return tuple(finding for finding in findings if finding.severity in counted)
