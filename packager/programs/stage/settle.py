"""Makes an environment that a conda installer has just laid down the same everywhere, and checks what is in it.

Every file is held against the list of its package (`paths.json`). What names the machine or the moment is taken out of
`conda-meta`; permissions are two; `__pycache__` folders go, for what is in them is out of date once times are fixed.
Link scripts run only when they are asked for.

Needs nothing but Python: packager imports it, and a build context carries it into the image's build stage as a program.
Formats: `conda-meta` as conda's `PrefixRecord`; link scripts as `conda.core.link.run_script` runs them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

# Of the package's own `index.json`; what a lock cannot hold.
_OF_THE_PACKAGE = ("arch", "build_number", "constrains", "license", "license_family", "noarch", "platform")
# What of a record is the same wherever and however the package is laid down.
_KEPT = ("build", "channel", "depends", "fn", "md5", "name", "sha256", "size", "subdir", "url", "version")
_PATH_KEPT = ("_path", "path_type", "sha256", "sha256_in_prefix", "size_in_bytes", "file_mode", "prefix_placeholder")
_MESSAGES = re.compile(r">>?\s*\"?\$\{?PREFIX\}?\"?/\.messages\.txt\"?(?:\s+2>&1)?\s*$")
_TALK = frozenset({"echo", "printf", "exit", "true", ":", "set"})

Record = dict[str, Any]


class SettleError(Exception):
    """Something in the environment is not what its package lists, or a link script failed.

    Args:
        package: `numpy-2.3.1-py313h5f3_0`.
        message: what is wrong, in one sentence; it names the package.
    """

    def __init__(self, package: str, message: str) -> None:
        super().__init__(message)
        self.package = package
        self.message = message


def settle(folder: Path, *, modes: bool = False) -> list[Record]:
    """Check and normalise an environment; return the records of its packages.

    Args:
        folder: of the environment.
        modes: set permissions, too; not where files are hard links into a cache.

    Raises:
        SettleError: a file is missing or not what its package lists.
    """
    records = read_records(folder)
    check_files(folder, records)
    shutil.rmtree(folder / "__clobbers__", ignore_errors=True)  # files of which another package's took the place
    for name in ("CACHEDIR.TAG", "conda-meta/history"):
        (folder / name).unlink(missing_ok=True)
    for top, folders, _ in os.walk(folder):
        if "__pycache__" in folders:
            folders.remove("__pycache__")
            shutil.rmtree(f"{top}/__pycache__")
    normal = [normal_record(each) for each in records]
    for record in normal:
        path = folder / "conda-meta" / f"{stem(record)}.json"
        path.unlink()
        path.write_text(json.dumps(record, indent=2, sort_keys=True) + "\n", "utf-8")
    # conda takes a folder without it for no environment.
    (folder / "conda-meta/history").write_text("")
    if modes:
        fix_modes(folder)
    return normal


def read_records(folder: Path) -> list[Record]:
    """Return the records in `conda-meta`, sorted by name."""
    found = [json.loads(path.read_text("utf-8")) for path in (folder / "conda-meta").glob("*.json")]
    return sorted(found, key=lambda each: str(each["name"]))


def stem(record: Record) -> str:
    """Return `numpy-2.3.1-py313h5f3_0`."""
    return "-".join(record[name] for name in ("name", "version", "build"))


def check_files(folder: Path, records: list[Record]) -> None:
    """Check what was laid down against the digests that packages list, prefixes replaced."""
    wanted: dict[str, tuple[set[str], str]] = {}
    for record in records:
        for each in record["paths_data"]["paths"]:
            digest = each.get("sha256_in_prefix") or each.get("sha256")
            if each["path_type"] in ("hardlink", "unix_python_entry_point") and digest:
                # Of several packages that have one path, one has won; its list is checked like the others'.
                wanted.setdefault(each["_path"], (set(), stem(record)))[0].add(digest)

    def wrong(path: str) -> bool:
        try:
            with open(f"{folder}/{path}", "rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest() not in wanted[path][0]
        except OSError:
            return True

    paths = sorted(wanted)
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        bad = [path for path, is_wrong in zip(paths, pool.map(wrong, paths), strict=True) if is_wrong]
    if bad:
        name = wanted[bad[0]][1]
        raise SettleError(name, f"{name}: {bad[0]} is not what the package lists ({len(bad)} such files)")


def normal_record(record: Record) -> Record:
    """Return a package's record without this machine, with what the package says of itself."""
    index = json.loads(Path(record["extracted_package_dir"], "info/index.json").read_text("utf-8"))
    kept = {name: record[name] for name in _KEPT if record.get(name) is not None}
    kept |= {name: index[name] for name in _OF_THE_PACKAGE if index.get(name) is not None}
    kept["depends"] = sorted(record.get("depends", ()))
    paths = [{name: each[name] for name in _PATH_KEPT if name in each} for each in record["paths_data"]["paths"]]
    stay = [each for each in paths if "__pycache__" not in each["_path"] and "__clobbers__/" not in each["_path"]]
    kept["paths_data"] = {"paths_version": 1, "paths": sorted(stay, key=lambda each: str(each["_path"]))}
    kept["files"] = [each["_path"] for each in kept["paths_data"]["paths"]]
    return kept


def fix_modes(folder: Path) -> None:
    """Give folders and programs 0755, other files 0644."""
    for top, folders, files in os.walk(folder):
        os.chmod(top, 0o755)
        for path in (f"{top}/{name}" for name in (*folders, *files)):
            if not os.path.islink(path) and not os.path.isdir(path):
                os.chmod(path, 0o755 if os.stat(path).st_mode & 0o100 else 0o644)


# --- link scripts -----------------------------------------------------------------------------------------------------


def link_scripts(folder: Path, records: list[Record]) -> list[tuple[Record, Path]]:
    """Return the scripts that packages want run after they are linked, those of what they depend on first."""
    found = ((each, folder / "bin" / f".{each['name']}-post-link.sh") for each in _ordered(records))
    return [(record, path) for record, path in found if path.is_file()]


def _ordered(records: list[Record]) -> list[Record]:
    """Return records, each after what it depends on; where they go in circles, by name."""
    named = {str(each["name"]): each for each in records}
    left = {name: {spec.split(" ", 1)[0] for spec in named[name]["depends"]} - {name} for name in named}
    done: list[Record] = []
    while left:
        ready = sorted(name for name, needs in left.items() if not needs & left.keys()) or [min(left)]
        done += [named[name] for name in ready]
        for name in ready:
            del left[name]
    return done


def matters(script: str) -> bool:
    """Whether a link script does more than talk: all but `echo` and the like, to the terminal or conda's messages."""
    for line in script.splitlines():
        said = _MESSAGES.sub("", line.strip())
        if not said or said.startswith("#"):
            continue
        try:
            words = list(shlex.shlex(said, posix=True, punctuation_chars=True))
        except ValueError:
            return True
        # An operator may do anything, and so may what is substituted.
        if words[0] not in _TALK or re.search(r"[`<>;|&]|\$\(", said):
            return True
    return False


def scripts_that_matter(folder: Path, records: list[Record]) -> list[str]:
    """Return the names of packages of which a link script has to run, sorted."""
    found = link_scripts(folder, records)
    return sorted(each["name"] for each, path in found if matters(path.read_text("utf-8", "replace")))


def run_scripts(folder: Path, records: list[Record]) -> None:
    """Run the link scripts of packages; the folder is their final place. What they print goes to standard error.

    Raises:
        SettleError: one fails.
    """
    for record, path in link_scripts(folder, records):
        environ = {**os.environ, "PREFIX": str(folder), "PKG_NAME": record["name"], "PKG_VERSION": record["version"]}
        environ |= {
            "PKG_BUILDNUM": str(record.get("build_number", 0)),
            "PATH": f"{folder}/bin:{os.environ.get('PATH', '/usr/bin:/bin')}",
        }
        shell = shutil.which("bash") or "/bin/sh"
        command = [shell, str(path)]
        done = subprocess.run(command, cwd=path.parent, env=environ, stdin=subprocess.DEVNULL, stdout=2, check=False)
        if done.returncode:
            raise SettleError(stem(record), f"{stem(record)}: its post-link script failed, code {done.returncode}")
    messages = folder / ".messages.txt"
    if messages.is_file():
        sys.stderr.write(messages.read_text("utf-8", "replace"))
        messages.unlink()


def main(arguments: list[str] | None = None) -> int:
    """Run the program; return its exit code."""
    parser = argparse.ArgumentParser(description="Check a conda environment, and make it the same everywhere.")
    parser.add_argument("--prefix", required=True, help="of the environment")
    parser.add_argument("--link-scripts", action="store_true", help="run the post-link scripts of packages")
    options = parser.parse_args(arguments)
    folder = Path(options.prefix)
    try:
        records = settle(folder)
        if options.link_scripts:
            run_scripts(folder, records)
        fix_modes(folder)
    except SettleError as error:
        sys.stderr.write(f"settle.py: {error.message}\n")
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
