"""What a Dockerfile says of a package: the packages of its pip and apt lines, and its Python. Nothing of it is run."""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Callable
from itertools import pairwise

from packager.init.hints import Hints

_DEBIAN = re.compile(r"[a-z0-9][a-z0-9+.-]+(?:=[A-Za-z0-9.+:~-]+)?")
_WORDS: dict[str, Callable[[str], bool]] = {
    "apt-get": lambda word: bool(_DEBIAN.fullmatch(word)),
    "pip": lambda word: bool(re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*(?:\[|[=<>!~ ]|$)", word)),
}
_TOOLS = (("apt-get", ("apt-get", "apt")), ("pip", ("pip", "pip3", "uv")))
#: A line with those that `\\` joins to it.
_WHOLE = re.compile(r"(?:[^\n]*\\[ \t]*\r?\n(?:[ \t]*#[^\n]*\n)*)*[^\n]*\n")
#: Commands whose packages are taken, and those that only go with them.
_READ = re.compile(
    r"\b(?:apt|apt-get|pip3?|uv)\b.*\binstall\b"
    r"|\bapt(?:-get)? +(?:\S+ +)*(?:update|clean|autoremove)\b|^rm\b.*/var/lib/apt"
)
_NO_PACKAGES = ("pip", "setuptools", "wheel")
_FILES = (".whl", ".txt", ".tar.gz")
_VALUED = ("-r", "--requirement", "-c", "--constraint", "-i", "--index-url", "-f", "-t")


def read_dockerfile(text: str, path: str, hints: Hints, known: frozenset[str]) -> None:
    """Take the packages of its `pip install` and `apt-get install` lines, and the Python of its FROM, as hints.

    Args:
        text: of the file.
        path: of the file.
        hints: get them.
        known: the files of the folder.
    """
    if not text:
        return
    hints.begin(path)
    joined = _joined(text)
    base = re.search(r"(?im)^FROM\s+(?:--\S+\s+)*(?:\S+/)?python:(3\.\d+)", joined)
    hints.python = hints.python or (base[1] if base else None)
    _take(joined, hints, known)
    if re.search(r"(?im)^(?:ENTRYPOINT|CMD)\s", joined):
        hints.say(path, "only its pip and apt lines are read; how the service starts is packager's")


def read_steps(text: str, hints: Hints) -> bool:
    """Take the packages of some lines of a Dockerfile, and return whether there were any.

    Args:
        text: of the lines.
        hints: get them.
    """
    before = len(hints.pip) + len(hints.system_packages)
    _take(_joined(text), hints, frozenset())
    return len(hints.pip) + len(hints.system_packages) > before


def unread(text: str) -> tuple[tuple[int, str], ...]:
    """Return what of a Dockerfile's lines is read by nobody: line number, and the beginning of it: more may be secret.

    Args:
        text: of the lines.
    """
    found, number = [], 1
    for line in _WHOLE.findall(text.rstrip("\n") + "\n"):
        first, number = number, number + line.count("\n")
        joined = _joined(line).strip()
        run = re.match(r"(?i)RUN\s+(.*)", joined, re.DOTALL)
        if run:
            commands = (each.strip() for each in re.split(r"&&|\|\||;", run[1]))
            found += [(first, _beginning(f"RUN {each}")) for each in commands if each and not _READ.search(each)]
        elif joined and not joined.startswith("#"):
            found.append((first, joined if joined.upper().startswith("FROM ") else _beginning(joined)))
    return tuple(found)


def _beginning(line: str) -> str:
    words = re.split(r"[\s=]+", line, maxsplit=2)
    return f"{' '.join(words[:2])} …" if len(words) > 2 else line


def _joined(text: str) -> str:
    return re.sub(r"\\[ \t]*\r?\n(?:[ \t]*#.*\n)*", " ", text)


def _take(joined: str, hints: Hints, known: frozenset[str]) -> None:
    for line in re.findall(r"(?im)^RUN\s+(.*)$", joined):
        for command in re.split(r"&&|\|\||;", line):
            try:
                words = shlex.split(command)
            except ValueError:
                continue
            for tool, names in _TOOLS:
                used = next((index for index, word in enumerate(words) if posixpath.basename(word) in names), None)
                if used is not None and "install" in words[used:]:
                    _installed(words[words.index("install", used) + 1 :], tool, hints, known)
                    break


def _installed(words: list[str], tool: str, hints: Hints, known: frozenset[str]) -> None:
    wanted = hints.system_packages if tool == "apt-get" else hints.pip
    skip = False
    for word in words:
        if skip:
            skip = False
        elif tool == "pip" and word in _VALUED:
            skip = True
        elif _WORDS[tool](word) and word not in (*wanted, *_NO_PACKAGES) and not word.endswith(_FILES):
            wanted.append(word)
    named = [after for word, after in pairwise(words) if word in ("-r", "--requirement")]
    for each in named if tool == "pip" else ():
        # The name in the image says nothing of the folder here.
        found = [file for file in sorted(known) if posixpath.basename(file) == posixpath.basename(each)]
        hints.environment = hints.environment or next(iter(found), None)
