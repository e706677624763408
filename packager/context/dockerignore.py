"""Docker's `.dockerignore`, as a pure matcher.

The rules are those of moby's patternmatcher (`MatchesOrParentMatches`), which BuildKit and the Docker CLI use: Go's
`filepath.Match` for each pattern, `**` for any number of folders, `!` for exceptions, the last match wins, and what
matches a folder matches everything below it.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from itertools import groupby

import msgspec

from packager.errors import ContextError, Location

NAME = ".dockerignore"


class Pattern(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a `.dockerignore`.

    Attributes:
        text: cleaned, without `!` and without a leading slash.
        exception: it takes back what earlier lines left out.
        expression: regular expression for the whole of a path.
    """

    text: str
    exception: bool
    expression: str


class Matcher:
    """Tells which paths are left out. Paths are relative, with `/`, without `.` and `..` parts."""

    def __init__(self, patterns: Iterable[Pattern] = ()) -> None:
        self.patterns = tuple(patterns)
        # The last match wins, so neighbours that say the same are tried at once, from the end. A pattern that matches
        # a parent matches too: hence the optional rest.
        groups = [(exception, list(group)) for exception, group in groupby(self.patterns, lambda each: each.exception)]
        self._rules = tuple(
            (
                not exception,
                re.compile(f"(?:{'|'.join(each.expression for each in group)})(?:/.*)?", re.DOTALL).fullmatch,
            )
            for exception, group in reversed(groups)
        )
        self._exceptions = tuple(_Below(each) for each in self.patterns if each.exception)

    def leaves_out(self, path: str) -> bool:
        """Whether a file or folder is left out."""
        for left_out, match in self._rules:
            if match(path):
                return left_out
        return False

    def brings_back(self, path: str) -> bool:
        """Whether the last pattern that matches a path is an exception: the user asks for it."""
        return next((not left_out for left_out, match in self._rules if match(path)), False)

    def below(self, folder: str) -> Matcher:
        """Return the same patterns for paths that are relative to a folder below."""
        return _Moved(self.patterns, folder)

    def may_keep_below(self, folder: str) -> bool:
        """Whether an exception could match something below a folder that is left out itself."""
        return any(each.possible(folder) for each in self._exceptions)


class _Moved(Matcher):
    """Patterns of a folder above."""

    def __init__(self, patterns: Iterable[Pattern], folder: str) -> None:
        super().__init__(patterns)
        self._folder = folder

    def leaves_out(self, path: str) -> bool:
        return super().leaves_out(f"{self._folder}/{path}")

    def brings_back(self, path: str) -> bool:
        return super().brings_back(f"{self._folder}/{path}")

    def may_keep_below(self, folder: str) -> bool:
        return super().may_keep_below(f"{self._folder}/{folder}")


class _Below:
    """Whether a pattern could match something below a folder, told part by part; in doubt it could."""

    def __init__(self, pattern: Pattern) -> None:
        parts = pattern.text.split("/")
        # A class may match `/`, and an escape may stand before one: such patterns cannot be cut into parts.
        if re.search(r"[\[\\]", pattern.text):
            parts = ["**"]
        self._open = any("**" in part for part in parts)
        closed = parts[: next((index for index, part in enumerate(parts) if "**" in part), len(parts))]
        self._parts = tuple(re.compile(_translate(part), re.DOTALL).fullmatch for part in closed)

    def possible(self, folder: str) -> bool:
        steps = folder.split("/")
        if len(steps) >= len(self._parts) and not self._open:
            return False
        return all(match(step) for match, step in zip(self._parts, steps, strict=False))


def parse_dockerignore(text: str, name: str = NAME) -> Matcher:
    """Return the matcher of a `.dockerignore`.

    Args:
        text: its content.
        name: the file, for messages.

    Raises:
        ContextError: a pattern is not valid, with its line.
    """
    patterns = []
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        if line.startswith("#"):
            continue
        line = line.strip()
        exception = line.startswith("!")
        cleaned = _clean(line[1:].strip() if exception else line)
        try:
            if exception and not cleaned:
                raise ValueError("`!` stands alone")
            if cleaned:
                patterns.append(Pattern(text=cleaned, exception=exception, expression=_translate(cleaned)))
        except ValueError as error:
            raise ContextError(
                f"the pattern {line!r} is not valid: {error}",
                where=Location(file=name, line=number),
                remedy="put `\\` before a special character that is meant as itself",
            ) from None
    return Matcher(patterns)


def _clean(pattern: str) -> str:
    """Go's `filepath.Clean`, then without the leading slash: patterns start at the top of the folder anyway."""
    if not pattern:
        return ""
    cleaned = posixpath.normpath(pattern)
    # POSIX gives two leading slashes a meaning of their own, which Python keeps and Go does not.
    return cleaned.lstrip("/") or "/"


def _translate(pattern: str) -> str:
    """Return the regular expression of a pattern.

    Raises:
        ValueError: a class without end, or a last backslash.
    """
    # moby compares a pattern whose only special part is a leading `**` by its end: `**.py` matches `a/b.py`.
    if pattern.startswith("**") and not re.search(r"[*?\[\]\\]", pattern[2:]) and pattern[2:3] not in ("", "/"):
        return ".*" + re.escape(pattern[2:])
    result, index = "", 0
    while index < len(pattern):
        char = pattern[index]
        index += 1
        if char == "*" and pattern[index : index + 1] == "*":
            index += 2 if pattern[index + 1 : index + 2] == "/" else 1
            result += ".*" if index == len(pattern) else "(?:.*/)?"
        elif char == "*":
            result += "[^/]*"
        elif char == "?":
            result += "[^/]"
        elif char == "[":
            text, index = _class(pattern, index)
            result += text
        elif char == "\\":
            if index == len(pattern):
                raise ValueError("it ends with a backslash")
            result += re.escape(pattern[index])
            index += 1
        else:
            result += re.escape(char)
    return result


def _class(pattern: str, index: int) -> tuple[str, int]:
    """Translate the class that starts before `index`; return it and the index behind it."""
    negated = pattern[index : index + 1] == "^"
    index += negated
    items = ""
    while pattern[index : index + 1] != "]" or not items:
        low, index = _class_character(pattern, index)
        high = low
        if pattern[index : index + 1] == "-":
            high, index = _class_character(pattern, index + 1)
        if low > high:
            raise ValueError(f"the range {low}-{high} is empty")
        items += f"{re.escape(low)}-{re.escape(high)}"
    return f"[{'^' if negated else ''}{items}]", index + 1


def _class_character(pattern: str, index: int) -> tuple[str, int]:
    if pattern[index : index + 1] == "\\":
        index += 1
    elif pattern[index : index + 1] in ("-", "]"):
        raise ValueError("a class holds `-` or `]` without `\\` before it")
    if index >= len(pattern):
        raise ValueError("a class has no end")
    return pattern[index], index + 1
