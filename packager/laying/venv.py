"""Unpacked wheels → a virtual environment for its final place in the image, the same bytes on every machine.

Sources of the formats: PEP 405 (`pyvenv.cfg`), the packaging specifications "Binary distribution format" (scripts),
"Entry points" and "Recording installed projects".
"""

from __future__ import annotations

import configparser
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from packager.contract import ENVIRONMENT_PREFIX
from packager.errors import LockError
from packager.laying.recipe import BasePython
from packager.laying.records import INSTALL_TRACES, Record, Row, format_record, parse_record, row_of
from packager.programs.stage import wheels
from packager.programs.stage.wheels import OBJECT

#: How the names of folders start into which wheels are unpacked. uv writes the path of the interpreter there into
#: scripts; by this they are found.
STAGING = "packager-staging-"

_SHEBANG = f"#!{ENVIRONMENT_PREFIX}/bin/python".encode()
# uv's forms of `#!python`: the path itself, and, where it is too long or holds spaces, through the shell. What followed
# in the line goes, as it does with pip.
_REWRITTEN = re.compile(
    rb"#![^\n]*/%b[^/\n]*/bin/python[^\n]*\n|#!/bin/sh\n'''exec' [^\n]*/%b[^/\n]*/bin/python[^\n]*\n' '''\n"
    % (STAGING.encode(), STAGING.encode())
)
_SCRIPT_NAME = re.compile(r"[A-Za-z0-9_+][A-Za-z0-9_.+ -]*")
_INTERPRETER = re.compile(r"python[0-9.]*")
_REMEDY = "take another version of it, or leave it out"


def read_records(folder: Path, site: str, python: str) -> tuple[Record, ...]:
    """Move site-packages to where the image's Python looks; return what each wheel recorded, with those paths.

    Args:
        folder: of the environment.
        site: where uv has put site-packages, relative to it: it is named after this machine's Python.
        python: minor version of the image.

    Raises:
        LockError: a wheel names files outside, links, what the environment itself has, or has no RECORD.
    """
    wanted = site_of(python)
    _tidy(folder)
    records = []
    for info in sorted(each.name for each in (folder / site).glob("*.dist-info")):
        record = folder / site / info / "RECORD"
        if not record.is_file():
            raise LockError(f"{info} has no RECORD", remedy=_REMEDY)
        parsed = parse_record(record.read_text("utf-8", "surrogateescape"), info, site)
        records.append(msgspec.structs.replace(parsed, rows=tuple(_rows(parsed, site, wanted))))
    host, minor = site.split("/")[1], f"python{python}"
    for parent in (folder / "lib", folder / "include" / "site"):
        if host != minor and (parent / host).is_dir():
            # What lies there beside site-packages was refused above, so nothing is in the way.
            (parent / host).rename(parent / minor)
    (folder / wanted).mkdir(parents=True, exist_ok=True)
    return tuple(records)


def site_of(python: str) -> str:
    """Return the path of site-packages in an environment (CPython's scheme `venv` on POSIX)."""
    return f"lib/python{python}/site-packages"


def _rows(record: Record, site: str, wanted: str) -> Iterator[Row]:
    # This runs thousands of times; almost all paths are below site-packages.
    inside = f"{site}/"
    for row in record.rows:
        path = row.path
        moved = wanted + path[len(site) :] if path.startswith(inside) else _outside(path, record, site, wanted)
        if ("__pycache__" in path and "__pycache__" in path.split("/")) or _is_trace(path, site):
            continue
        yield Row(path=moved, digest=row.digest, size=row.size)


def _outside(path: str, record: Record, site: str, wanted: str) -> str:
    """Return where a path goes that is not below site-packages."""
    host, minor = site.split("/")[1], wanted.split("/")[1]
    top, _, rest = path.partition("/")
    interpreter = top == "bin" and _INTERPRETER.fullmatch(rest)
    if interpreter or top in ("pyvenv.cfg", "lib64") or path.startswith("lib/python"):
        raise LockError(f"the wheel of {record.title} brings {path!r}, which is the environment's own", remedy=_REMEDY)
    headers = f"include/site/{host}"
    return f"include/site/{minor}" + path.removeprefix(headers) if _below(path, headers) else path


def _below(path: str, folder: str) -> bool:
    return path.startswith(f"{folder}/")


def _is_trace(path: str, site: str) -> bool:
    if ".dist-info/" not in path:
        return False
    parent, _, name = path.rpartition("/")
    return name in INSTALL_TRACES and parent.endswith(".dist-info") and parent.rpartition("/")[0] == site


def _tidy(folder: Path) -> None:
    """Refuse links that are not ours; remove `__pycache__`, made by another interpreter, and by whom is not known."""
    ours = {f"{folder}/lib64", f"{folder}/bin/python"}
    stack = [str(folder)]
    while stack:
        with os.scandir(stack.pop()) as found:
            entries = list(found)
        for each in entries:
            if each.is_symlink():
                if each.path not in ours:
                    what = os.path.relpath(each.path, folder)
                    raise LockError(f"a wheel holds the symbolic link {what}", remedy=_REMEDY)
            elif each.is_dir():
                if each.name == "__pycache__":
                    shutil.rmtree(each.path)
                else:
                    stack.append(each.path)


def arrange(folder: Path, records: Iterable[Record], base: BasePython) -> None:
    """Make the environment whole: scripts, links to the interpreter, `pyvenv.cfg`, RECORDs; no traces of this host.

    Files that are changed are written anew: they may be hard links into uv's cache.
    """
    site = site_of(base.minor)
    _remove_traces(folder, site)
    (folder / "bin" / "python").unlink(missing_ok=True)
    written = _scripts(folder, site, tuple(records))
    for record in records:
        rows = {row.path: row for row in record.rows}
        rows |= {path: row for path, row in written.items() if path in rows}
        installer = row_of(f"{site}/{record.info}/INSTALLER", wheels.INSTALLER)
        _write(folder / installer.path, wheels.INSTALLER)
        rows[installer.path] = installer
        final = msgspec.structs.replace(record, rows=tuple(rows[path] for path in sorted(rows)))
        text = format_record(final, site)
        _write(folder / site / record.info / "RECORD", text.encode("utf-8", "surrogateescape"))
    # Absolute, as `python -m venv` makes it: the environment has one place, in the image.
    for name, target in (("python3", base.path), ("python", "python3"), (f"python{base.minor}", "python3")):
        link = folder / "bin" / name
        link.unlink(missing_ok=True)
        link.symlink_to(target)
    home = base.path.rpartition("/")[0]
    config = f"home = {home}\ninclude-system-site-packages = false\nversion = {base.version}\n"
    _write(folder / "pyvenv.cfg", config.encode())


def _scripts(folder: Path, site: str, records: tuple[Record, ...]) -> dict[str, Row]:
    """Write the scripts with the image's interpreter; return their rows by path."""
    written = {}
    for name in sorted(os.listdir(folder / "bin")):
        path = folder / "bin" / name
        data = path.read_bytes() if path.is_file() else b""
        rewritten = _REWRITTEN.match(data)
        if rewritten:
            data = _SHEBANG + b"\n" + data[rewritten.end() :]
            _write(path, data, 0o755)
            written[f"bin/{name}"] = row_of(f"bin/{name}", data)
    # uv's text for entry points is its own and may change with its version, so they get ours.
    for record in sorted(records, key=lambda each: each.info):
        points = folder / site / record.info / "entry_points.txt"
        text = points.read_text("utf-8") if points.is_file() else ""
        for name, reference in console_scripts(text, record.title).items():
            data = script_text(reference).encode()
            _write(folder / "bin" / name, data, 0o755)
            written[f"bin/{name}"] = row_of(f"bin/{name}", data)
    return written


def is_rewritten(path: Path) -> bool:
    """Whether uv put the interpreter of the staging folder into a script."""
    return path.is_file() and path.parent.name == "bin" and _REWRITTEN.match(path.read_bytes()) is not None


def console_scripts(text: str, title: str) -> dict[str, str]:
    """Return name → object reference of the scripts that an `entry_points.txt` declares.

    Raises:
        LockError: not an INI file, or a name or a reference that the specification does not allow.
    """
    parser = configparser.RawConfigParser(delimiters=("=",), strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # names keep their case
    try:
        parser.read_string(text)
    except configparser.Error as error:
        raise LockError(f"{title}: entry_points.txt is not understood: {error}", remedy=_REMEDY) from None
    found: dict[str, str] = {}
    for group in ("console_scripts", "gui_scripts"):
        for name, reference in parser.items(group) if parser.has_section(group) else ():
            if not _SCRIPT_NAME.fullmatch(name) or _INTERPRETER.fullmatch(name):
                raise LockError(f"{title} declares a script with the name {name!r}", remedy=_REMEDY)
            if not OBJECT.fullmatch(reference.strip()):
                raise LockError(f"{title} declares the script {name} as {reference!r}", remedy=_REMEDY)
            found[name] = reference.strip()
    return found


def script_text(reference: str) -> str:
    """Return the script that calls an entry point (`package.module:object.attribute`)."""
    parts = OBJECT.fullmatch(reference)
    if parts is None:
        raise ValueError(reference)
    return wheels.script_text(f"{ENVIRONMENT_PREFIX}/bin/python", parts["module"], parts["object"])


def _remove_traces(folder: Path, site: str) -> None:
    for info in (folder / site).glob("*.dist-info"):
        for name in INSTALL_TRACES:
            (info / name).unlink(missing_ok=True)


def _write(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write a new file in the place of an old one, which may be a hard link into uv's cache."""
    path.unlink(missing_ok=True)
    path.write_bytes(data)
    path.chmod(mode)
