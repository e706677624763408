"""Looks into the wheels of a lock for the modules they bring, and remembers them: a wheel is looked into once.

uv lays wheels down as for an image without an engine (each is checked against its sha256; nothing of theirs is run),
from its cache where it has them. What is remembered is a cache: whatever is wrong with it, wheels are looked into anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from packaging.utils import canonicalize_name

from packager.checks.exported import Exported, exported
from packager.checks.installed import Installed, WheelModules, modules_of, wheel_modules
from packager.checks.known_modules import LARGE
from packager.checks.made_for import Certain, gone_imports, needs_numpy_1
from packager.checks.wheel_walk import ways
from packager.decoding import decode_json
from packager.environments.lock import LockedPackage
from packager.environments.locked import LockedPlatform
from packager.errors import PackagerError
from packager.laying.records import record_rows
from packager.laying.venv import STAGING
from packager.storage.memory import Memory

if TYPE_CHECKING:
    from packager.laying.wheels import Source

#: Of what is remembered; a higher number forgets all.
_FORMAT = 2

#: Bytes of a module's source that are looked at for what changes `__path__` or `sys.modules`.
_HEAD = 1 << 18

#: How uv names a package that is not in its cache, whichever way it finds out.
_ABSENT = re.compile(
    r"(?:Because|not in its cache:|download `?)\s*([A-Za-z0-9][A-Za-z0-9._]*(?:-[A-Za-z_][A-Za-z0-9_.]*)*)"
)


class WheelContents:
    """Knows what wheels bring.

    Args:
        memory: where it is remembered.
        source: index settings of this machine; its `offline` is not looked at.
        scratch: folder below which wheels are laid down for a moment.
    """

    def __init__(self, memory: Memory, source: Source, scratch: Path) -> None:
        self._memory = memory
        self._source = source
        self._scratch = scratch

    def known(self, locked: LockedPlatform, *, tries: int = 4) -> Installed:
        """Return the modules of all packages that are remembered or in uv's cache; the others stay unknown.

        Args:
            locked: the environment; packages of conda are no wheels, and known by name alone.
            tries: how often uv is asked again without a package that its cache has not.
        """
        found, waiting = self._recalled(locked)
        for _ in range(tries if waiting else 0):
            try:
                found |= self._look(locked, waiting.values(), offline=True)
            except PackagerError as error:
                absent = _absent(error.message, waiting)
                if not absent or not waiting:
                    break
                for name in absent:
                    del waiting[name]
                if not waiting:
                    break
                continue
            break
        return self._installed(locked, found)

    def fetched(self, locked: LockedPlatform) -> Installed:
        """Return the modules of all packages; what is nowhere on this machine is fetched from the index.

        Raises:
            LockError: a wheel is not what was locked, or is not there for this platform.
            TemporaryError: the index does not answer.
        """
        found, waiting = self._recalled(locked)
        if waiting:
            found |= self._look(locked, waiting.values(), offline=False)
        return self._installed(locked, found)

    def exported(self, locked: LockedPlatform, modules: Mapping[str, str], *, offline: bool) -> dict[str, Exported]:
        """Return the names that modules of packages export, and those of the modules whose names they take in turn.

        What is neither remembered nor in uv's cache is fetched, but for packages of hundreds of megabytes; what cannot
        be had is left out.

        Args:
            locked: the environment.
            modules: module → its package.
            offline: fetch nothing.
        """
        packages = {each.name: each for each in locked.packages if each.name not in locked.from_source}
        found: dict[str, Exported] = {}
        missing: dict[str, list[str]] = {}
        for module, name in modules.items():
            if name in packages:
                kept = self._memory.recall(_key(packages[name], locked, f"names of {module}"))
                read = _decoded(kept)
                if read is None:
                    missing.setdefault(name, []).append(module)
                else:
                    found |= read
        for name, asked in missing.items():
            for without in (True,) if offline or name in LARGE else (True, False):
                try:
                    with self._laid_down(locked, [packages[name]], offline=without) as site:
                        each = {module: _exported(site, module) for module in asked}
                except PackagerError:
                    continue
                for module, read in each.items():
                    key = _key(packages[name], locked, f"names of {module}")
                    self._memory.remember(msgspec.json.encode(read), key)
                    found |= read
                break
        return found

    def ways(
        self, locked: LockedPlatform, starts: Sequence[Sequence[Certain]], wanted: Iterable[str], *, offline: bool
    ) -> list[dict[str, tuple[str, ...]]]:
        """Return how modules of packages are certainly reached: see `wheel_walk.ways`.

        What is not in uv's cache is fetched, but for packages of hundreds of megabytes; nothing is told where what is
        needed cannot be had.

        Args:
            locked: the environment.
            starts: imports that certainly run, in groups.
            wanted: modules that are asked about.
            offline: fetch nothing.
        """
        asked = ["ways", _FORMAT, locked.content_key, starts, sorted(wanted)]
        key = hashlib.sha256(msgspec.json.encode(asked)).hexdigest()
        kept = self._memory.recall(key)
        if kept is not None:
            with contextlib.suppress(msgspec.DecodeError):
                return decode_json(kept, list[dict[str, tuple[str, ...]]])
        packages = [each for each in locked.packages if each.name not in locked.from_source]
        for without in (True,) if offline else (True, False):
            here = packages if without else [each for each in packages if each.name not in LARGE]
            with contextlib.suppress(PackagerError), self._laid_down(locked, here, offline=without) as site:
                found = ways(site, starts, frozenset(wanted), locked.python)
                self._memory.remember(msgspec.json.encode(found), key)
                return found
        return [{} for _ in starts]

    def _installed(self, locked: LockedPlatform, found: dict[str, WheelModules]) -> Installed:
        names = {*(each.name for each in locked.packages), *(package.name for package in locked.conda_packages)}
        return Installed(found, names - found.keys())

    def _recalled(self, locked: LockedPlatform) -> tuple[dict[str, WheelModules], dict[str, LockedPackage]]:
        found: dict[str, WheelModules] = {}
        waiting: dict[str, LockedPackage] = {}
        for package in locked.packages:
            kept = self._memory.recall(_key(package, locked))
            modules = None
            if kept is not None:
                with contextlib.suppress(msgspec.DecodeError):
                    modules = decode_json(kept, WheelModules)
            if modules is not None:
                found[package.name] = modules
            elif package.name not in locked.from_source:
                waiting[package.name] = package
        return found, waiting

    def _look(
        self, locked: LockedPlatform, packages: Iterable[LockedPackage], *, offline: bool
    ) -> dict[str, WheelModules]:
        """Lay wheels down, read what they bring, and remove them again."""
        wanted = {each.name: each for each in packages}
        with self._laid_down(locked, wanted.values(), offline=offline) as site:
            found = {name: modules for name, modules in _read(site, locked.python) if name in wanted}
        for name, modules in found.items():
            self._memory.remember(msgspec.json.encode(modules), _key(wanted[name], locked))
        return found

    @contextlib.contextmanager
    def _laid_down(self, locked: LockedPlatform, packages: Iterable[LockedPackage], *, offline: bool) -> Iterator[Path]:
        """Lay wheels down for as long as the folder is looked at."""
        # Seldom: a wheel is looked into once.
        from packager.laying.wheels import unpack

        source = msgspec.structs.replace(self._source, offline=offline)
        try:
            self._scratch.mkdir(parents=True, exist_ok=True)
            outer = Path(tempfile.mkdtemp(prefix=".looking-", dir=self._scratch))
        except OSError as error:
            raise PackagerError(f"{self._scratch} cannot be written: {error.strerror}") from None
        try:
            staging = outer / f"{STAGING}0"
            site = staging / unpack(packages, locked.python, locked.platform, locked.tags, source, staging)
            yield site
        finally:
            shutil.rmtree(outer, ignore_errors=True)


def _key(package: LockedPackage, locked: LockedPlatform, of: str = "wheel") -> str:
    # One version may have a wheel of its own for each platform, and the lock names them side by side. What a module's
    # import imports depends on Python, by its conditions.
    text = f"{of} {_FORMAT} {locked.platform} {locked.python} {' '.join(sorted(package.digests))}"
    return hashlib.sha256(text.encode()).hexdigest()


def _absent(message: str, waiting: dict[str, LockedPackage]) -> list[str]:
    names = {str(canonicalize_name(each)) for each in _ABSENT.findall(message)}
    # A wheel's file name, where uv names its address instead: `numpy-2.5.5-cp313-….whl`.
    names |= {str(canonicalize_name(each)) for each in re.findall(r"([A-Za-z0-9_.]+)-[0-9][^\s/,]*\.whl", message)}
    return sorted(names & waiting.keys())


def _read(site: Path, python: str) -> list[tuple[str, WheelModules]]:
    """Return package and modules for each `.dist-info` of a folder; for a minor version of Python."""
    found = []
    for info in sorted(site.glob("*.dist-info")):
        try:
            record = (info / "RECORD").read_bytes().decode("utf-8", "surrogateescape")
            paths = [path for path, _, _ in record_rows(record)]
        except (OSError, ValueError):
            continue
        name = str(canonicalize_name(info.name.removesuffix(".dist-info").partition("-")[0]))
        modules = wheel_modules(paths, _texts(site, paths))
        compiled = {module: path for path in paths if path.endswith(".so") for module in modules_of([path])[0]}
        for_numpy_1 = sorted(module for module, path in compiled.items() if _is_for_numpy_1(site / path))
        gone = dict(_gone(site, paths, python))
        tops = [Certain(each, ()) for each in modules.modules if "." not in each]
        (at_once,) = ways(site, [tops], gone, python) if gone else ({},)
        found.append(
            (
                name,
                msgspec.structs.replace(
                    modules, for_numpy_1=tuple(for_numpy_1), gone=gone, at_once=tuple(sorted(at_once))
                ),
            )
        )
    return found


def _is_for_numpy_1(path: Path) -> bool:
    # An empty file cannot be mapped.
    with (
        contextlib.suppress(OSError, ValueError),
        path.open("rb") as stream,
        mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data,
    ):
        return needs_numpy_1(data)
    return False


def _gone(site: Path, paths: Iterable[str], python: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    for path in paths:
        for module in modules_of([path])[0] if path.endswith(".py") else ():
            with contextlib.suppress(OSError):
                package = path.endswith("/__init__.py")
                if gone := gone_imports((site / path).read_bytes(), module, python, package=package):
                    yield module, gone


def _decoded(kept: bytes | None) -> dict[str, Exported] | None:
    if kept is not None:
        with contextlib.suppress(msgspec.DecodeError):
            return decode_json(kept, dict[str, Exported])
    return None


def _exported(site: Path, module: str, most: int = 200) -> dict[str, Exported]:
    """Return the names of a module, and of those that it takes all names of: of modules below its own package."""
    found: dict[str, Exported] = {}
    waiting = [module]
    while waiting and len(found) < most:
        name = waiting.pop()
        if name in found:
            continue
        found[name] = Exported(open=True)
        for end, package in (("/__init__.py", True), (".py", False)):
            path = site / (name.replace(".", "/") + end)
            with contextlib.suppress(OSError, UnicodeDecodeError):
                read = exported(path.read_bytes().decode(), name, package=package)
                # Modules below a package are names of it, too.
                below = {each.name.partition(".")[0] for each in path.parent.iterdir()} if package else set()
                found[name] = msgspec.structs.replace(read, names=tuple(sorted({*read.names, *below})))
                waiting += read.stars
                break
    return found


def _texts(site: Path, paths: list[str]) -> dict[str, str]:
    """Read the source of modules of the upper two levels, and of the `__init__.py` of the third."""
    texts = {}
    for path in paths:
        levels = path.count("/")
        if not path.endswith(".py") or levels > 2 or (levels == 2 and not path.endswith("/__init__.py")):
            continue
        modules, _ = modules_of([path])
        for module in modules:
            with contextlib.suppress(OSError), open(os.path.join(site, path), "rb") as stream:
                texts[module] = stream.read(_HEAD).decode("utf-8", "replace")
    return texts
