"""Paths that a file names: relative to its own folder, or to that of the package. People do both."""

from __future__ import annotations

import posixpath
import re

from packager.init.hints import Section
from packager.spec.texts import PATH


class NamedPaths:
    """The paths that a file may name.

    Args:
        file: relative to the folder of the package.
        known: the files of that folder.
        lenient: take a path of a file that is not there, and say so.
    """

    def __init__(self, file: str, known: frozenset[str], *, lenient: bool = False) -> None:
        self.path, self.known, self._lenient = file, known, lenient

    def below(self, *parts: str) -> tuple[str, ...]:
        """Return what a path may mean, relative to the folder of the package, the likelier first."""
        cleaned = [part.replace("\\", "/") for part in parts]
        beside = posixpath.normpath(posixpath.join(posixpath.dirname(self.path), *cleaned))
        found = dict.fromkeys((beside, posixpath.normpath(posixpath.join(*cleaned))))
        return tuple(each for each in found if not each.startswith(("/", "..")) and re.match(PATH, each))

    def file(self, section: Section, key: str, *parts: str) -> str | None:
        """Return a file; where it is not there, that is noted."""
        return self._take(section, key, [each for each in self.below(*parts) if each in self.known], parts)

    def entry(self, section: Section, key: str, *parts: str) -> str | None:
        """Return a file or a folder."""
        return self._take(section, key, [each for each in self.below(*parts) if self._there(each)], parts)

    def folder(self, *parts: str) -> str | None:
        """Return a folder that holds files."""
        places = self.below(*parts)
        there = [each for each in places if self._there(each) and each not in self.known]
        return next(iter(there), places[0] if places and self._lenient else None)

    def _there(self, path: str) -> bool:
        return path == "." or path in self.known or any(each.startswith(f"{path}/") for each in self.known)

    def _take(self, section: Section, key: str, there: list[str], parts: tuple[str, ...]) -> str | None:
        if there:
            return there[0]
        places = self.below(*parts)
        named = posixpath.normpath(posixpath.join(*(part.replace("\\", "/") for part in parts)))
        if not places or not self._lenient:
            section.left(key, f"it names {named!r}, which is not below this folder", "put it there")
            return None
        section.hints.say(
            section.file, f"{section.place(key)} names {places[0]!r}, which is not there yet", "put it there"
        )
        return places[0]
