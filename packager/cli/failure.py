"""An error that ended a verb as data: what `--format json` puts in place of the result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from packager.errors import PackagerError, UsageError

FORMAT = "packager.error/1"


def json_is_asked(words: Sequence[str]) -> bool:
    """Whether a command line asks for JSON; words after `--` are another program's.

    It is read from the words, for a command line that is wrong has no options yet.
    """
    own = list(words[: words.index("--")] if "--" in words else words)
    asked = [own[at + 1] for at, word in enumerate(own[:-1]) if word == "--format"]
    asked += [word.partition("=")[2] for word in own if word.startswith("--format=")]
    return "json" in asked


def as_data(error: BaseException) -> dict[str, Any]:
    """Return an error of ours, of the command line's words, or an interruption; what is not known is null."""
    if isinstance(error, click.ClickException):
        error = UsageError(error.format_message(), remedy=_help(error))
    if not isinstance(error, PackagerError):
        return _data("Interrupted", 130, "interrupted", "interrupted")
    where = error.where
    place = {"file": where.file, "line": where.line, "column": where.column, "field": where.field} if where else {}
    return _data(type(error).__name__, error.exit_code, error.exit_name, error.message, error.remedy, **place)


def _data(kind: str, code: int, name: str, message: str, remedy: str | None = None, **place: Any) -> dict[str, Any]:
    where = {"file": None, "line": None, "column": None, "field": None} | place
    shown = {"kind": kind, "exit_code": code, "exit_name": name, "message": message, **where, "remedy": remedy}
    return {"format": FORMAT, "error": shown}


def _help(error: click.ClickException) -> str | None:
    context = getattr(error, "ctx", None)
    return f"`{context.command_path} --help`" if context is not None else None
