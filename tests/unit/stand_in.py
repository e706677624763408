"""Stand-ins for clients of platforms: programs that answer as they are told, and write down how they were called."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

_PROGRAM = """\
#!{python} -IS
import json, re, sys, time
words = " ".join(sys.argv[1:])
read = sys.argv[sys.argv.index("--file") + 1] if "--file" in sys.argv else ""
with open({log!r}, "a") as log:
    log.write(json.dumps({{"words": words, "file": read, "text": open(read).read() if read else ""}}) + "\\n")
for pattern, out, error, code, rest in json.loads({answers!r}):
    if re.search(pattern, words):
        print(out, end="", flush=True)
        print(error, end="", file=sys.stderr, flush=True)
        time.sleep(rest)
        sys.exit(code)
sys.exit(f"the stand-in was not told what to say to: {{words}}")
"""


class StandIn:
    """A program of a name.

    Args:
        folder: that is on PATH.
        name: of the program.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._path, self._log = folder / name, folder / f"{name}.calls"
        self._answers: list[tuple[str, str, str, int, float]] = []

    def says(self, pattern: str, out: str = "", *, error: str = "", code: int = 0, rest: float = 0) -> StandIn:
        """Answer commands that match; the answer that was told last goes first."""
        self._answers.insert(0, (pattern, out, error, code, rest))
        text = _PROGRAM.format(python=sys.executable, log=str(self._log), answers=json.dumps(self._answers))
        self._path.write_text(text)
        self._path.chmod(0o755)
        return self

    @property
    def calls(self) -> list[str]:
        """The words of each call."""
        return [each["words"] for each in self.records]

    @property
    def records(self) -> list[Any]:
        """Each call: its words, and the file that it was given with what was in it."""
        return [json.loads(line) for line in self._log.read_text().splitlines()] if self._log.exists() else []
