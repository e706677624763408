"""Checks of installed packages: a company's own rules, beside ours."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import EntryPoint
from typing import Any

from packager.extensions import CHECKS, extensions, title
from packager.finding import SEVERITIES, Finding
from packager.spec.load import SpecFile


def extension_findings(spec_file: SpecFile, checks: tuple[EntryPoint, ...] | None = None) -> Iterator[Finding]:
    """Yield what the checks of installed packages find; one that fails is a finding itself, and the others go on.

    Args:
        spec_file: the spec, which each of them is called with.
        checks: entry points that name functions; those of the group `packager.checks` where None.
    """
    for check in extensions(CHECKS) if checks is None else checks:
        try:
            found = [_finding(each) for each in check.load()(spec_file)]
        except Exception as error:
            # Whatever is wrong in somebody else's code is told as theirs, and hides no other finding.
            yield Finding(
                rule="check-failed",
                severity="error",
                message=f"the check {title(check)} ended with {type(error).__name__}: {error}",
                file=str(spec_file.document.path),
                remedy=f"mend {check.value}, or uninstall the package",
            )
        else:
            yield from found


def _finding(value: Any) -> Finding:
    if not isinstance(value, Finding):
        raise TypeError(f"it gave {value!r}, which is no packager.finding.Finding")
    if value.severity not in SEVERITIES:
        raise ValueError(f"{value.severity!r} is no severity: {', '.join(SEVERITIES)}")
    return value
