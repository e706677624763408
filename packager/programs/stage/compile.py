"""Byte-compiles the packages of an environment: files that Python need not check against their sources.

What is in a compiled file depends on what else its process has compiled (which strings are one object), and must depend
on neither the order nor the number of processors. So files are compiled in groups: those of one distribution, as its
RECORD names them, `TOGETHER` at most; each group in a process that is forked from one which has compiled nothing. A
process for each file would do, too, and take four times as long.

Test suites inside packages are left out: no service imports them, and they are a third of all files. So are files that
are not valid for this Python, as pip leaves them.

Needs nothing but the standard library of the Python that will read the files, from 3.8 on: packager runs it by the
base's own interpreter, and a build context carries it into the image's build stage. Format: PEP 552, unchecked hash.
"""

from __future__ import annotations

import os
import sys
from importlib.util import MAGIC_NUMBER, source_hash
from marshal import dumps

#: Files of a distribution that one process compiles: few enough for all processors to have work.
TOGETHER = 64

_SUITES = frozenset({"test", "tests"})
_SITE = "site-packages"
# PEP 552: a hash of the source follows, and nobody need check it.
_UNCHECKED = (1).to_bytes(4, "little")
_USAGE = "usage: compile.py [--from FOLDER --to FOLDER] (FOLDER… | -)\n"


def groups(folder: str) -> dict[str, list[str]]:
    """Return the files of a folder that are compiled, by whose they are: a `.dist-info`, else an entry of the folder.

    Args:
        folder: `site-packages`, or a standard library, whose `site-packages` is not looked into.

    Returns:
        paths below the folder, sorted; a file of several distributions is the last one's by name.
    """
    own = "" if os.path.basename(folder) == _SITE else "library/"
    infos = [name for name in sorted(os.listdir(folder)) if name.endswith(".dist-info")]
    owner = {path: name for name in infos for path in _recorded(os.path.join(folder, name, "RECORD"))}
    found: dict[str, list[str]] = {}
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name not in ("__pycache__", _SITE)]
        below = parent[len(folder) + 1 :]
        start = below + "/" if below else ""
        for path in (start + name for name in files if name.endswith(".py")):
            if _SUITES.isdisjoint((own + path).split("/")[1:-1]):
                found.setdefault(owner.get(path, path.split("/")[0]), []).append(path)
    return {name: sorted(found[name]) for name in sorted(found)}


def _recorded(record: str) -> list[str]:
    """Return the paths of Python files that a RECORD names (a CSV file)."""
    try:
        with open(record, encoding="utf-8", errors="surrogateescape") as stream:
            lines = [line for line in stream if ".py" in line]
    except OSError:
        return []
    return [
        line[1:].partition('",')[0].replace('""', '"') if line[0] == '"' else line.partition(",")[0] for line in lines
    ]


def cut(paths: list[str]) -> list[list[str]]:
    """Return what of one group each process compiles."""
    return [paths[start : start + TOGETHER] for start in range(0, len(paths), TOGETHER)]


def compiled_path(path: str, tag: str = "") -> str:
    """Return where an interpreter looks for a source's compiled file.

    Args:
        path: of the source.
        tag: of the interpreter (`cpython-313`); that which runs this where empty.
    """
    parent, name = os.path.split(path)
    return os.path.join(parent, "__pycache__", f"{name[:-3]}.{tag or sys.implementation.cache_tag}.pyc")


def compile_file(path: str, shown: str) -> None:
    """Write the compiled file of one source; nothing where it is not valid for this Python.

    Args:
        path: of the source.
        shown: its path in the image, which tracebacks name.

    Raises:
        OSError: it cannot be read, or the compiled file not be written.
    """
    with open(path, "rb") as stream:
        source = stream.read()
    try:
        code = compile(source, shown, "exec", dont_inherit=True, optimize=0)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    target = compiled_path(path)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    temporary = f"{target}.{os.getpid()}"
    with open(temporary, "wb") as stream:
        stream.write(MAGIC_NUMBER + _UNCHECKED + source_hash(source) + dumps(code))
    os.replace(temporary, target)


def compile_all(work: list[list[str]], strip: str, prepend: str) -> bool:
    """Compile files, each list in a process of its own, as many at once as there are processors.

    Args:
        work: paths of sources.
        strip: start of their paths here.
        prepend: what stands in its place in the image.

    Returns:
        whether all that is valid was compiled.
    """
    running, sound, most = 0, True, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    for paths in work:
        if running == most:
            sound &= os.wait()[1] == 0
            running -= 1
        if os.fork() == 0:
            _child(paths, strip, prepend)
        running += 1
    for _ in range(running):
        sound &= os.wait()[1] == 0
    return sound


def _child(paths: list[str], strip: str, prepend: str) -> None:
    """Compile some files and end the process, with 1 where one cannot be read or written."""
    code = 1
    try:
        for path in paths:
            compile_file(path, prepend + path[len(strip) :] if path.startswith(strip) else path)
        code = 0
    except OSError as error:
        sys.stderr.write(f"compile.py: {error}\n")
        sys.stderr.flush()
    finally:
        os._exit(code)


def main(words: list[str]) -> int:
    """Compile what is named: folders, or with `-` what standard input lists: NUL between files, two between lists."""
    places = {"--from": "", "--to": ""}
    while len(words) > 1 and words[0] in places:
        places[words[0]], words = words[1], words[2:]
    if not words or words[0].startswith("--"):
        sys.stderr.write(_USAGE)
        return 2
    if words == ["-"]:
        lists = os.fsdecode(sys.stdin.buffer.read()).split("\0\0")
        work = [paths.split("\0") for paths in lists if paths]
    else:
        folders = [folder.rstrip("/") for folder in words]
        found = [[f"{folder}/{path}" for path in paths] for folder in folders for paths in groups(folder).values()]
        work = [paths for each in found for paths in cut(each)]
    return 0 if compile_all(work, places["--from"], places["--to"]) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
