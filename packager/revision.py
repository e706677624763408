"""What stands on an image and is not of its files: the time, and the revision in git."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from packager.contract import CREATED_LABEL, MTIME, REVISION_LABEL
from packager.errors import UsageError


def source_date_epoch(environ: Mapping[str, str] = os.environ, *, locked: int | None = None) -> int:
    """Return the time `created` of an image: SOURCE_DATE_EPOCH, else that of its lock, else the one of all our files.

    Never the clock, which would make each build another image (reproducible-builds.org/specs/source-date-epoch).

    Args:
        environ: variables of the process.
        locked: when the lock last changed, in seconds since the epoch; None for a lock that does not say.

    Returns:
        seconds since the epoch.

    Raises:
        UsageError: the variable is set and no whole number.
    """
    text = environ.get("SOURCE_DATE_EPOCH", "").strip()
    if not text:
        return MTIME if locked is None else locked
    if not text.isascii() or not text.isdigit() or len(text) > 11:
        raise UsageError(
            f"SOURCE_DATE_EPOCH={text!r} is no time", remedy="seconds since 1970, such as $(git log -1 --format=%ct)"
        )
    return int(text)


def lock_time(environ: Mapping[str, str] = os.environ, clock: Callable[[], float] = time.time) -> datetime:
    """Return the time that a lock gets which changes now: SOURCE_DATE_EPOCH, else the clock's, in whole seconds.

    Raises:
        UsageError: the variable is set and no whole number.
    """
    return datetime.fromtimestamp(source_date_epoch(environ, locked=int(clock())), UTC)


def git_revision(folder: Path) -> str | None:
    """Return the commit that a folder is at, with `-dirty` where the folder differs from it; None outside git."""
    commit = _git(folder, "rev-parse", "--verify", "HEAD")
    if not commit:
        return None
    tracked = _git(folder, "ls-files", "--", ".")
    if not tracked:
        return None
    changed = _git(folder, "status", "--porcelain", "--", ".")
    return f"{commit}-dirty" if changed else commit


def build_labels(folder: Path, epoch: int) -> dict[str, str]:
    """Return `created`, and `revision` where git knows one (OCI image spec, annotations.md)."""
    created = datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    labels = {CREATED_LABEL: created}
    revision = git_revision(folder)
    if revision is not None:
        labels[REVISION_LABEL] = revision
    return labels


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
