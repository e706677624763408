"""requirements.txt, by pip's grammar, to normalised requirements and constraints.

Source of the grammar: pip's documentation, "Requirements File Format", and its `req_file.py` (the order in which
lines are joined and comments cut).
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from packager.environments.declare.requirement import has_extras, normalise
from packager.errors import Location, SpecError
from packager.spec.document import decode, read_bytes

#: Files and requirements of one environment: far above any real one, far below what could hurt.
MAX_FILES = 100
MAX_REQUIREMENTS = 10_000

_CODING = re.compile(rb"coding[:=]\s*([-\w.]+)")
_LINE_END = re.compile(r"\r\n|\n|\r")
_COMMENT = re.compile(r"(?:^|\s+)#.*$")
_HASH = re.compile(r"\s--hash(?:=|\s+)(\S+)")
# In normal form: one version, without `*`.
_PINNED = re.compile(r"[^=<>!~;,]+={2,3}[^,;*]+(?:;.*)?")
_OPTION = re.compile(r"^(--?[A-Za-z][A-Za-z-]*)(?:=|\s+|$)(.*)$")
_SHORT = re.compile(r"^(-[rcief])(?=[^\s=-])(.*)$")
# The project whose folder it is, editable or not: `-e .`, `--editable=./`, `.[extra]`.
_ITSELF = re.compile(r"(?:(?:-e|--editable)(?:\s+|=)?)?[\"']?\./?(?:\[[\w., -]*\])?[\"']?")
# https://bugs.launchpad.net/ubuntu/+source/python-pip/+bug/1635463
_NO_PACKAGE = "pkg-resources==0.0.0"
_INCLUDES = {"-r": "requirements", "--requirement": "requirements", "-c": "constraints", "--constraint": "constraints"}
_INDEXES = ("-i", "--index-url", "--pypi-url", "--extra-index-url")
#: Without credentials, variables and queries; each as the machine's own setting would name it.
_INDEX_URL = re.compile(r"https?://[A-Za-z0-9.-]+(?::[0-9]+)?(?:/[A-Za-z0-9._~/+-]*)?")
_PUBLIC = re.compile(r"https?://(?:www\.)?(?:pypi\.org|pypi\.python\.org)(?:/(?:simple|pypi))?/?")
#: Options that ask for what is done anyway, or for nothing that a lock has.
_NEEDLESS = {
    "--require-hashes": "every package of a lock is installed by its hashes",
    "--prefer-binary": "only wheels are taken",
    "--only-binary": "only wheels are taken",
    "--use-feature": "it is of pip's own resolver",
    "--use-deprecated": "it is of pip's own resolver",
    "--no-cache-dir": "the cache is in no image",
    "--progress-bar": "it is pip's own",
    "--disable-pip-version-check": "it is pip's own",
    "--default-timeout": "UV_HTTP_TIMEOUT of the machine says it",
    "--timeout": "UV_HTTP_TIMEOUT of the machine says it",
    "--retries": "UV_HTTP_RETRIES of the machine says it",
    "--trusted-host": "which host needs no TLS is for the machine to say (UV_INSECURE_HOST)",
}
_REMEDIES = {
    "--pre": "name the pre-release in the requirement, such as name>=2.0rc1",
    "--no-binary": "use `build_from_source: [name]` in the spec",
}


def logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield (line number from 1, text) of each line that says something: continuations joined, comments cut."""
    parts: list[str] = []
    start = 1
    lines = _LINE_END.split(text)
    for number, line in enumerate(lines, 1):
        if not parts:
            start = number
        comment = _COMMENT.match(line) is not None
        # A comment ends a continuation, even when it ends with a backslash: so pip has it.
        if line.endswith("\\") and not comment and number < len(lines):
            parts.append(line[:-1])
            continue
        joined = "".join([*parts, f" {line}" if comment and parts else line.removesuffix("\\")])
        parts = []
        joined = _COMMENT.sub("", joined).strip()
        if joined:
            yield start, joined


def _encoding(raw: bytes) -> str:
    """Return the encoding that a comment in the first two lines names (PEP 263), as pip looks for it; else UTF-8."""
    for line in raw.split(b"\n")[:2]:
        found = _CODING.search(line) if line.startswith(b"#") else None
        if found:
            return found[1].decode("ascii")
    return "utf-8"


class RequirementsReader:
    """Reads requirements files and what they include.

    Args:
        root: the folder of the spec, which no include may leave.
        shown: the same folder as messages name it.

    Attributes:
        requirements: normal forms, in the order met.
        constraints: normal forms, in the order met.
        hashes: normal form of what names its files by `--hash=` → the sha256 that all its lines admit.
        files: each file that was read, relative to `root`.
        indexes: URLs of indexes that are asked before the default one, in the order met.
        default: URL of the index that takes the default one's place; empty for none.
        notes: what was passed over, each with its place.
    """

    def __init__(self, root: Path, shown: Path) -> None:
        self.requirements: list[str] = []
        self.constraints: list[str] = []
        self.hashes: dict[str, frozenset[str]] = {}
        self.files: list[Path] = []
        self.indexes: list[str] = []
        self.default = ""
        self.notes: list[str] = []
        self._root = root
        self._shown = shown
        self._done: set[tuple[Path, str]] = set()

    def read(self, path: Path, kind: str = "requirements", chain: tuple[Path, ...] = ()) -> None:
        """Read a file and its includes.

        Args:
            path: relative to the root.
            kind: `requirements` or `constraints`: what its lines are.
            chain: the files that include it, outermost first.

        Raises:
            SpecError: with file, line and what to do.
        """
        # A file that two others include is read once; without this, includes could multiply without bound.
        if (path, kind) in self._done:
            return
        self._done.add((path, kind))
        if path not in self.files:
            self.files.append(path)
        shown = self._shown / path
        raw = read_bytes(shown, self._root)
        for number, line in logical_lines(decode(raw, shown, _encoding(raw))):
            self._line(line, Location(file=str(shown), line=number), kind, (*chain, path))

    def read_text(self, text: str, where: Location, including: Path) -> None:
        """Read lines that stand in a file of another kind: a `pip:` section.

        Args:
            text: one line or several.
            where: named in errors.
            including: the file that they stand in, relative to the root; includes are relative to its folder.

        Raises:
            SpecError: as for `read`.
        """
        for _, line in logical_lines(text):
            self._line(line, where, "requirements", (including,))

    def _line(self, line: str, where: Location, kind: str, chain: tuple[Path, ...]) -> None:
        if _ITSELF.fullmatch(line):
            said = (
                f"`{line}` is passed over: `source_dir` packages the code of this folder; what the project needs "
                "itself (install_requires, dependencies) is to be named here"
            )
            self.notes.append(note(where, said))
        elif line.startswith("-"):
            self._option(line, where, kind, chain)
        else:
            self._requirement(line, where, kind)

    def _requirement(self, line: str, where: Location, kind: str) -> None:
        text = normalise(_HASH.sub("", line), where)
        if text == _NO_PACKAGE:
            self.notes.append(
                note(where, f"{text} is passed over: `pip freeze` of Debian writes it, and nothing has it")
            )
            return
        found = self.requirements if kind == "requirements" else self.constraints
        if kind == "constraints" and has_extras(text):
            raise SpecError("a constraint cannot have extras", where=where, remedy="put the extras on the requirement")
        if len(found) >= MAX_REQUIREMENTS:
            raise SpecError(f"there are more than {MAX_REQUIREMENTS} {kind}", where=where)
        found.append(text)
        hashes = frozenset(_sha256(_unquoted(each), where) for each in _HASH.findall(line))
        if hashes:
            if not _PINNED.fullmatch(text):
                raise SpecError(
                    f"{text!r} has hashes, which name files of one version, and admits several",
                    where=where,
                    remedy="pin it, such as name==1.2.3, or remove the hashes",
                )
            # What two lines say of one package holds together, as in pip.
            self.hashes[text] = self.hashes.get(text, hashes) & hashes

    def _option(self, line: str, where: Location, kind: str, chain: tuple[Path, ...]) -> None:
        # pip takes `-rother.txt` too.
        found = _SHORT.match(line) or _OPTION.match(line)
        option, value = (found[1], found[2].strip()) if found else ("that starts this line", "")
        if option in _NEEDLESS:
            self.notes.append(note(where, f"{option} is passed over: {_NEEDLESS[option]}"))
            return
        if option in _INDEXES and _INDEX_URL.fullmatch(_unquoted(value)):
            self._index(option, _unquoted(value), where)
            return
        if option not in _INCLUDES:
            raise _refused(option, where)
        if len(self.files) >= MAX_FILES:
            raise SpecError(f"more than {MAX_FILES} files are included", where=where)
        included = self._inside(_unquoted(value), where, chain[-1])
        # What constraints include are constraints, as in pip.
        into = "constraints" if kind == "constraints" else _INCLUDES[option]
        if included in chain:
            loop = " -> ".join(str(self._shown / each) for each in (*chain[chain.index(included) :], included))
            raise SpecError(f"files include each other: {loop}", where=where, remedy="remove one of these includes")
        self.read(included, into, chain)

    def _index(self, option: str, url: str, where: Location) -> None:
        """Take an index; the public one is that of the machine, which may have a mirror of it."""
        if _PUBLIC.fullmatch(url):
            return
        if option != "--extra-index-url":
            self.default = url
        elif url not in self.indexes:
            self.indexes.append(url)
        text = f"packages are locked from {url}, too: whoever builds the image needs it as UV_INDEX (no lock names it)"
        self.notes.append(note(where, text))

    def _inside(self, value: str, where: Location, including: Path) -> Path:
        if "://" in value or "${" in value:
            raise SpecError(
                "an included file must be a local one, named without variables",
                where=where,
                remedy="download it, and include the copy",
            )
        if not value or any(ord(each) < 32 for each in value):
            raise SpecError("no file is named to include", where=where, remedy="such as `-r base.txt`")
        joined = Path(os.path.normpath(including.parent / value))
        real = (self._root / joined).resolve()
        if joined.is_absolute() or ".." in joined.parts or not real.is_relative_to(self._root.resolve()):
            raise SpecError(
                f"the included file {value!r} leaves the folder of the spec",
                where=where,
                remedy="copy it below that folder",
            )
        if not real.is_file():
            raise SpecError(f"the included file {value!r} is not there", where=where, remedy="correct its name")
        return joined


def note(where: Location, text: str) -> str:
    """Return a note with its place: `FILE:LINE: text`."""
    return f"{where.file}:{where.line or 1}: {text}"


def _sha256(value: str, where: Location) -> str:
    """Return the digits of a hash that a lock can hold to."""
    algorithm, _, digits = value.partition(":")
    if algorithm != "sha256" or not re.fullmatch(r"[0-9a-fA-F]{64}", digits):
        raise SpecError(
            f"the hash {value[:100]!r} is none that a lock can hold to",
            where=where,
            remedy="write it as --hash=sha256: and 64 hex digits (`pip hash FILE` tells them), or remove it",
        )
    return digits.lower()


def _unquoted(value: str) -> str:
    try:
        words = shlex.split(value)
    except ValueError:
        return value
    return words[0] if len(words) == 1 else value


def _refused(option: str, where: Location) -> SpecError:
    """The values of options are never repeated: index URLs hold credentials."""
    if option in ("-e", "--editable"):
        return SpecError(
            "an editable install cannot be locked: it is a folder of this machine",
            where=where,
            remedy="publish it as a wheel to a package index, or put its code into `source_dir`",
        )
    remedy = (
        "remove it and set the index of the machine instead: UV_DEFAULT_INDEX or PIP_INDEX_URL (UV_INDEX or "
        "PIP_EXTRA_INDEX_URL for more, UV_FIND_LINKS for a folder of wheels), or uv.toml"
    )
    if option in _INDEXES:
        said = (
            "is taken from a requirements file only with the http(s) URL of an index, without credentials and variables"
        )
        return SpecError(f"the option {option} {said}", where=where, remedy=remedy)
    if option in ("-f", "--find-links", "--no-index"):
        said = "is not taken from a requirements file: a lock names no folder of wheels, so that it works everywhere"
        return SpecError(f"the option {option} {said}", where=where, remedy=remedy)
    return SpecError(f"the option {option} is not supported", where=where, remedy=_REMEDIES.get(option, "remove it"))
