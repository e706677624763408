"""Locked packages → pylock.toml (PEP 751) for one platform: uv finds where the locked files are.

A lock names no place, so that it works with every mirror, and pylock.toml must name one for each file: it is that of
this machine's index. Only files with the digests of the lock are taken.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from packager.environments.channel_credentials import without_credentials
from packager.environments.declare.requirement import canonical_name
from packager.environments.lock import LockedPackage, LockRequest
from packager.environments.locked import LockedPlatform
from packager.environments.solve.pip import Upgrade, solve_text
from packager.environments.uv import Uv
from packager.errors import LockError
from packager.scratch import scratch


def make_pylock(
    locked: LockedPlatform, *, root: Path, offline: bool = False, environ: Mapping[str, str] = os.environ
) -> str:
    """Return the text of a pylock.toml.

    Args:
        locked: what one platform gets.
        root: where uv looks for its settings.
        offline: take only what uv has in its cache.
        environ: the environment variables of the machine.

    Raises:
        LockError: an index does not have a locked file any more.
        TemporaryError: the index does not answer.
        PackagerError: uv is missing.
    """
    wanted = {package.name: package for package in locked.packages}
    request = LockRequest(
        python=locked.python,
        platforms={locked.platform: locked.tags},
        requirements=tuple(f"{each.name}=={each.version}" for each in wanted.values()),
        build_from_source=tuple(name for name in locked.from_source if name in wanted),
        base="",
    )
    entries: list[dict[str, Any]] = []
    if wanted:
        with scratch("packager-export-") as name:
            text = solve_text(
                Uv(root, environ),
                request,
                locked.platform,
                Path(name),
                upgrade=Upgrade(),
                offline=offline,
                dependencies=False,
            )
        entries = tomllib.loads(text).get("packages", [])
    found = {str(canonical_name(entry["name"])): entry for entry in entries}
    parts = ['lock-version = "1.0"', f'requires-python = ">={locked.python}"', 'created-by = "packager"']
    # One platform: wheels of another would not be the locked ones.
    parts.append(f"environments = [{_text(_marker(locked.platform))}]")
    for name, package in sorted(wanted.items()):
        parts += ["", *_package(package, found.get(name, {}))]
    return "\n".join([*parts, ""])


def _marker(platform: str) -> str:
    from packager.targets import machine

    return f"sys_platform == 'linux' and platform_machine == '{machine(platform)}'"


def _package(package: LockedPackage, entry: Mapping[str, Any]) -> list[str]:
    lines = ["[[packages]]", f"name = {_text(package.name)}", f"version = {_text(package.version)}"]
    if "index" in entry:
        lines.append(f"index = {_text(without_credentials(entry['index']))}")
    wheels = [each for each in entry.get("wheels", ()) if _digest(each) in package.digests]
    if wheels:
        return [*lines, "wheels = [", *(f"    {_file(each)}," for each in wheels), "]"]
    if _digest(entry.get("sdist", {})) in package.digests:
        return [*lines, f"sdist = {_file(entry['sdist'])}"]
    raise LockError(
        f"the index has no file of {package.name} {package.version} with the digest of the lock",
        remedy="use the index that the lock was made with, or run `packager lock --upgrade`",
    )


def _digest(file: Mapping[str, Any]) -> str:
    return str(file.get("hashes", {}).get("sha256", ""))


def _file(file: Mapping[str, Any]) -> str:
    name = file.get("name") or str(file.get("url") or file.get("path")).rpartition("/")[2]
    parts = [f"name = {_text(name)}"]
    parts += [f"{key} = {_text(without_credentials(file[key]))}" for key in ("url", "path") if key in file]
    if "size" in file:
        parts.append(f"size = {int(file['size'])}")
    parts.append(f"hashes = {{ sha256 = {_text(_digest(file))} }}")
    return f"{{ {', '.join(parts)} }}"


def _text(value: str) -> str:
    # A JSON text is a TOML text, but for DEL, which no name has.
    return json.dumps(str(value), ensure_ascii=False)
