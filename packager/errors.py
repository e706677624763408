"""The whole error hierarchy: one class for each exit code of the command line.

An error says what is wrong, where, and what to do next. Expected errors are shown without a traceback; anything
that is not a `PackagerError` is a defect of ours and always shows one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """Where something stands in a file that the user wrote.

    `line` and `column` count from 1; `field` is the dotted path in the spec (`models[0].name`).
    """

    file: str
    line: int | None = None
    column: int | None = None
    field: str | None = None

    def __str__(self) -> str:
        text = self.file
        if self.line is not None:
            text += f":{self.line}"
            if self.column is not None:
                text += f":{self.column}"
        if self.field:
            text += f" ({self.field})"
        return text


def location_in(file: str, lines: Mapping[str, int], field: str) -> Location:
    """Return the location of a field, or of its nearest parent that stands in the file.

    Args:
        file: path of it.
        lines: line number (from 1) of each field that stands there, by its dotted path.
        field: the path of any; empty for the file as a whole.
    """
    known = field
    while known and known not in lines:
        known = known[: max(known.rfind("."), known.rfind("["), 0)]
    return Location(file=file, line=lines.get(known, 1), field=field or None)


class PackagerError(Exception):
    """Something expected went wrong.

    Args:
        message: what is wrong, in one sentence.
        where: the file, line and field at fault.
        remedy: what to do next, as an instruction.

    The exit code of the command line has a number and a name, one for the other.
    """

    exit_code: ClassVar[int] = 1
    exit_name: ClassVar[str] = "failed"

    def __init__(self, message: str, *, where: Location | None = None, remedy: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.remedy = remedy

    def __str__(self) -> str:
        lines = [self.message]
        if self.where is not None:
            lines.append(f"  at {self.where}")
        if self.remedy is not None:
            lines.append(f"  to do: {self.remedy}")
        return "\n".join(lines)


class UsageError(PackagerError):
    """The command was called wrongly (exit code 2)."""

    exit_code = 2
    exit_name = "usage"


class SpecError(PackagerError):
    """The spec, or a file that it names as a declaration, is not valid (exit code 2)."""

    exit_code = 2
    exit_name = "usage"


class LockError(PackagerError):
    """No solution, or the lock is missing, stale or edited by hand (exit code 3)."""

    exit_code = 3
    exit_name = "lock"


class RenderError(PackagerError):
    """A template cannot be rendered (exit code 4)."""

    exit_code = 4
    exit_name = "render"


class LintError(PackagerError):
    """`check` found something at or above the threshold (exit code 5)."""

    exit_code = 5
    exit_name = "lint"


class ContextError(PackagerError):
    """A source file, a model, the store or a build context is missing, changed or in the way (exit code 6)."""

    exit_code = 6
    exit_name = "context"


class EngineError(PackagerError):
    """The engine is missing, too old, or refused (exit code 7)."""

    exit_code = 7
    exit_name = "engine"


class RegistryError(PackagerError):
    """A registry refused: credentials, name or digest (exit code 7)."""

    exit_code = 7
    exit_name = "engine"


class ServiceError(PackagerError):
    """The packaged service did not start, or answered wrongly (exit code 8)."""

    exit_code = 8
    exit_name = "service"


class TemporaryError(PackagerError):
    """The network or a server failed in a way that may pass (exit code 75, as sysexits' EX_TEMPFAIL)."""

    exit_code = 75
    exit_name = "temporary"
