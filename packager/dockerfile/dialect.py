"""What of a Dockerfile only BuildKit reads: the plain dialect is without it. Pure.

Sources: the Dockerfile reference (which flags came with which frontend), and buildah 1.28 and kaniko 1.9, which refuse
or pass over what is listed here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_FLAGS = {
    "RUN": ("--mount", "--network", "--security", "--device"),
    "COPY": ("--link", "--parents", "--exclude", "--chmod"),
    "ADD": ("--link", "--parents", "--exclude", "--chmod", "--checksum", "--keep-git-dir", "--unpack"),
}
_HEREDOC = re.compile(r"<<-?[\"']?[A-Za-z_]")


def buildkit_only(text: str) -> Iterator[tuple[int, str]]:
    """Yield the line of each instruction that other builders than BuildKit cannot read, and what it is about it."""
    for line, words in _instructions(text):
        name = words[0].upper()
        for word in words[1:]:
            if not word.startswith("--"):
                break
            flag = word.partition("=")[0]
            if flag in _FLAGS.get(name, ()):
                yield line, f"{name} {flag}"
        if name in _FLAGS and any(_HEREDOC.match(word) for word in words):
            yield line, f"a heredoc of {name}"


def _instructions(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield each instruction's first line and its words, with continued lines joined."""
    start, words = 0, list[str]()
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if stripped.startswith("#") or not stripped:
            continue
        start = start if words else number
        words += stripped.removesuffix("\\").split()
        if not stripped.endswith("\\") and words:
            yield start, words
            words = []
    if words:
        yield start, words
