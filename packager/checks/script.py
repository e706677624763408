"""The entry script of a spec, looked at before anything is packaged; it is never run."""

from __future__ import annotations

import os

from packager.checks.entry_script import check_entry_script
from packager.errors import ContextError
from packager.finding import Finding
from packager.similar import meant
from packager.spec.document import read_source
from packager.spec.load import SpecFile


def entry_script_findings(spec_file: SpecFile) -> tuple[Finding, ...]:
    """Return what the syntax tree of the entry script tells.

    Raises:
        ContextError: it is missing.
        SpecError: it is not in the encoding that it names, or in UTF-8.
    """
    spec = spec_file.spec
    if spec.entry_script is None:
        # Of all targets: the scripts of two frameworks differ, and each is what packager itself has.
        return ()
    shown = os.path.normpath(os.path.join(spec.source_dir, spec.entry_script))
    path = spec_file.root / shown
    if not path.is_file():
        raise ContextError(
            f"there is no entry script {shown!r}",
            where=spec_file.at("entry_script"),
            remedy=meant(spec_file.root / spec.source_dir, spec.entry_script)
            or "`entry_script` is relative to `source_dir`, which is relative to the spec",
        )
    return check_entry_script(read_source(path), shown)


def require_entry_script(spec_file: SpecFile) -> tuple[Finding, ...]:
    """Refuse to package an entry script that cannot start; return the rest of its findings.

    Raises:
        ContextError: the first error found.
    """
    findings = entry_script_findings(spec_file)
    for finding in findings:
        if finding.severity == "error":
            raise ContextError(str(finding), remedy="`packager check` lists everything")
    return findings
