"""What everything that verbs print with `--format json` has in common; see `packager.steps.outputs`."""

from __future__ import annotations

from typing import Literal

import msgspec


class Output(msgspec.Struct, frozen=True, kw_only=True):
    """Base of what is printed; a reader must expect fields that are newer than it."""


class Failure(Output, frozen=True):
    """What is wrong, where, and what to do.

    Attributes:
        kind: class of `packager.errors`.
        exit_code: of the command.
        exit_name: the exit code's name.
        message: what is wrong.
        file: where; null where nothing of a file is wrong, as for those that follow.
        line: in the file, from 1.
        column: in the line, from 1.
        field: dotted path in the file (`models[0].name`).
        remedy: what to do.
    """

    kind: str
    exit_code: int
    exit_name: str
    message: str
    file: str | None
    line: int | None
    column: int | None
    field: str | None
    remedy: str | None


class Error(Output, frozen=True):
    """An error that ended a verb with `--format json`, where no result stands on standard output.

    Attributes:
        format: of this object.
        error: the error.
    """

    format: Literal["packager.error/1"]
    error: Failure
