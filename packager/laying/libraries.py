"""Will it start: what the environment's compiled modules need, held against the files of the base image.

Without this, a wheel that needs libstdc++ on a base that lacks it fails at run time only. The search is that of the
dynamic loader (ld.so(8)), made lenient where a package loads its libraries itself: what is anywhere in the environment
counts as found.
"""

from __future__ import annotations

import mmap
import os
import posixpath
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from pathlib import Path

import msgspec

from packager.debian import DEBIAN_PACKAGES
from packager.laying.base_files import BaseFiles
from packager.laying.elf import Elf, NotElf, parse_elf
from packager.laying.imported import Script, loaded_on_import
from packager.storage.listing import Listed, list_folder
from packager.targets import machine as machine_of

# The container runtime puts these into the container, from the machine's driver.
_FROM_DRIVER = re.compile(r"lib(?:cuda|nvidia-[a-z-]+|nvcuvid|nvoptix)\.so(?:\.\d+)?")
# Versions have letters, too: `libcrypto-1a2b.so.1.1.1k`.
_SHARED = re.compile(r".+\.so(?:\.[0-9][\w.+-]*)?")
_EXTENSION = re.compile(r"\.(?:cpython-[^/.]+|abi3)\.so$")
_IMPORTED = re.compile(r"\.(?:cpython-[^/.]+-linux-[^/.]+|abi3)\.so$")
_PROGRAM = re.compile(r"bin/python[0-9.]*")
_MANYLINUX = re.compile(r".*-manylinux(?:_(\d+)_(\d+)|(2014))")
_SHOWN = 3
# Where the loader looks when nothing says otherwise, and Debian's folders for a machine.
_FOLDERS = ("lib64", "usr/lib64", "lib", "usr/lib", "usr/local/lib")
_TRIPLETS = {"x86_64": "x86_64-linux-gnu", "aarch64": "aarch64-linux-gnu", "arm": "arm-linux-gnueabihf"}


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """A reason why the environment will not work on the base, or may not.

    Attributes:
        kind: `library`, `version`, `machine`, `libc` or `damaged`.
        what: the library, or the version, that is missing.
        needed_by: files of the environment, sorted.
        message: for people, in one sentence.
        package: the Debian package that brings it; empty where that is not known or does not help.
        certain: it will not work; else something is odd that nothing may ever use.
    """

    kind: str
    what: str
    needed_by: tuple[str, ...]
    message: str
    package: str = ""
    certain: bool = True


class Module(msgspec.Struct, frozen=True, kw_only=True):
    """A compiled file of the environment: its path there, and what it asks for."""

    path: str
    elf: Elf


class Modules(msgspec.Struct, frozen=True, kw_only=True):
    """The compiled files of an environment, and those that look like one but cannot be read."""

    found: tuple[Module, ...]
    unreadable: tuple[str, ...] = ()


def check_starts(
    folder: Path,
    files: BaseFiles,
    platform: str,
    tags: str,
    library_path: Iterable[str] = (),
    listing: Iterable[Listed] | None = None,
    script: Script | None = None,
) -> tuple[Problem, ...]:
    """Return why the environment in a folder will not work on a base; empty when nothing is found.

    Args:
        folder: of the environment (`LaidDown.folder`).
        files: of the base and of what else the image has below the environment.
        platform: OCI os/arch of the image.
        tags: of the lock, in uv's words (`x86_64-manylinux_2_28`).
        library_path: folders of LD_LIBRARY_PATH, where base or spec set it.
        listing: of the folder, where it is known.
        script: the app that is started there.
    """
    listing = tuple(list_folder(folder) if listing is None else listing)
    modules = read_modules(folder, listing)
    problems = find_problems(modules, files, platform, tags, library_path)
    needed_by = {path for problem in problems if problem.kind in _LOADING for path in problem.needed_by}
    if not needed_by:
        return problems
    # Thousands of files are read to tell: only where something is missing.
    asked = with_dependents(modules, needed_by)
    loaded = loaded_on_import(folder, listing, asked, script)
    return weigh(problems, with_dependencies(modules, loaded | _interpreters(modules)))


#: Kinds of problems that matter only where the file that has them is loaded.
_LOADING = frozenset({"library", "version", "damaged"})


def weigh(problems: Iterable[Problem], loaded: Set[str]) -> tuple[Problem, ...]:
    """Return problems with those uncertain that only files have which nothing has to load.

    Args:
        problems: as `find_problems` has them.
        loaded: files of the environment that are loaded when its packages are imported.
    """
    weighed = []
    for problem in problems:
        certain = tuple(path for path in problem.needed_by if path in loaded)
        # What is damaged itself was weighed by its name.
        own = problem.what in problem.needed_by
        if own or problem.kind not in _LOADING or not problem.needed_by or not problem.certain:
            weighed.append(problem)
        elif certain:
            message = problem.message.replace(_named(problem.needed_by), _named(certain), 1)
            weighed.append(msgspec.structs.replace(problem, needed_by=certain, message=message))
        else:
            message = f"{problem.message} (nothing that is imported at the start needs it: what uses it will not work)"
            weighed.append(msgspec.structs.replace(problem, message=message, certain=False))
    return tuple(weighed)


def with_dependencies(modules: Modules, paths: Set[str]) -> frozenset[str]:
    """Return some compiled files with those of the environment that they need, and these in turn."""
    needed, by_name = {module.path: module.elf.needed for module in modules.found}, _by_name(modules)
    return _closure(paths, lambda path: (each for name in needed.get(path, ()) for each in by_name.get(name, ())))


def with_dependents(modules: Modules, paths: Set[str]) -> frozenset[str]:
    """Return some compiled files with those of the environment that need them, and so on."""
    dependents: defaultdict[str, list[str]] = defaultdict(list)
    by_name = _by_name(modules)
    for module in modules.found:
        for name in module.elf.needed:
            for path in by_name.get(name, ()):
                dependents[path].append(module.path)
    return _closure(paths, lambda path: dependents.get(path, ()))


def _by_name(modules: Modules) -> Mapping[str, Sequence[str]]:
    found: defaultdict[str, list[str]] = defaultdict(list)
    for module in modules.found:
        for name in {posixpath.basename(module.path), module.elf.soname}:
            found[name].append(module.path)
    return found


def _closure(start: Iterable[str], following: Callable[[str], Iterable[str]]) -> frozenset[str]:
    seen = set(start)
    waiting = list(seen)
    while waiting:
        new = set(following(waiting.pop())) - seen
        seen |= new
        waiting += new
    return frozenset(seen)


def _interpreters(modules: Modules) -> frozenset[str]:
    return frozenset(module.path for module in modules.found if _PROGRAM.fullmatch(module.path))


def read_modules(folder: Path, listing: Iterable[Listed] | None = None) -> Modules:
    """Return the compiled files of an environment; those that are damaged are noted, never an error."""
    found, unreadable = [], []
    for path in sorted(_candidates(list_folder(folder) if listing is None else listing)):
        try:
            elf = _read(f"{folder}/{path}")
        except NotElf:
            if _SHARED.fullmatch(posixpath.basename(path)):
                unreadable.append(path)
            continue
        found.append(Module(path=path, elf=elf))
    return Modules(found=tuple(found), unreadable=tuple(unreadable))


def _candidates(listing: Iterable[Listed]) -> Iterator[str]:
    for each in listing:
        if each.kind != "file":
            continue
        name = each.name
        if (".so" in name and _SHARED.fullmatch(name)) or (each.executable and "." not in name):
            yield each.path


def _read(path: str) -> Elf:
    with open(path, "rb") as file:
        if os.fstat(file.fileno()).st_size == 0 or file.read(4) != b"\x7fELF":
            raise NotElf("no ELF header")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return parse_elf(data)


def find_problems(
    modules: Modules, files: BaseFiles, platform: str, tags: str, library_path: Iterable[str] = ()
) -> tuple[Problem, ...]:
    """Return why an environment would not start in its image, each reason once.

    Args:
        modules: the extension modules and libraries of the environment, as their files say what they need.
        files: the libraries of the base image.
        platform: OCI os/arch of the image.
        tags: the same in uv's words, with the version of glibc.
        library_path: folders that LD_LIBRARY_PATH names in the image.
    """
    machine = _MACHINE_ALIASES.get(machine_of(platform), machine_of(platform))
    # Debuggers and profilers carry libraries for other machines as data; what Python imports says so in its name.
    wrong = [module for module in modules.found if module.elf.machine != machine and _EXTENSION.search(module.path)]
    problems = [*_of_base(files, machine, platform, tags, modules), *_damaged(modules.unreadable)]
    for other in sorted({module.elf.machine for module in wrong}):
        paths = tuple(module.path for module in wrong if module.elf.machine == other)
        problems.append(
            Problem(
                kind="machine",
                what=other,
                needed_by=paths,
                message=f"{_named(paths)}: compiled for {other}, the image is for {platform}",
            )
        )
    right = [module for module in modules.found if module.elf.machine == machine]
    if any(problem.kind == "libc" for problem in problems):
        return tuple(problems)
    search = (*library_path, *files.loader_folders, *_folders(machine))
    return (*problems, *_missing(right, files, search))


_MACHINE_ALIASES = {"armv7l": "arm", "armv6l": "arm"}


def _folders(machine: str) -> Iterator[str]:
    triplet = _TRIPLETS.get(machine, f"{machine}-linux-gnu")
    yield from (f"lib/{triplet}", f"usr/lib/{triplet}", f"usr/local/lib/{triplet}", *_FOLDERS)


def _of_base(files: BaseFiles, machine: str, platform: str, tags: str, modules: Modules) -> Iterator[Problem]:
    if files.machine and files.machine != machine:
        message = f"the base is for {files.machine}, the image for {platform}"
        yield Problem(kind="machine", what=files.machine, needed_by=(), message=message)
    wanted = _MANYLINUX.fullmatch(tags)
    compiled = tuple(module.path for module in modules.found)
    if not wanted or not compiled:
        return
    least = (2, 17) if wanted[3] else (int(wanted[1]), int(wanted[2]))
    if files.musl and files.glibc is None:
        message = f"the base has musl (Alpine), the wheels of the lock are for glibc: {_named(compiled)}"
        yield Problem(kind="libc", what="glibc", needed_by=compiled, message=message)
    elif files.glibc is not None and files.glibc < least:
        has = ".".join(map(str, files.glibc))
        message = f"the base has glibc {has}, the lock allows wheels that need {least[0]}.{least[1]}"
        yield Problem(kind="version", what=f"glibc {least[0]}.{least[1]}", needed_by=(), message=message)


def _damaged(paths: Iterable[str]) -> Iterator[Problem]:
    # What Python itself imports must be whole. Others may be data of a package's own: a linker's script, a library of
    # another system, a broken one for its tests.
    for path in paths:
        message = f"{_named([path])} is no ELF file, or one that is cut off: it cannot be loaded"
        yield Problem(
            kind="damaged", what=path, needed_by=(path,), message=message, certain=_IMPORTED.search(path) is not None
        )


def _missing(modules: Iterable[Module], files: BaseFiles, search: tuple[str, ...]) -> Iterator[Problem]:
    modules = tuple(modules)
    # By file name and by soname: a package may load a library before the module that needs it is imported.
    inside = {posixpath.basename(module.path) for module in modules} | {module.elf.soname for module in modules}
    libraries: defaultdict[str, list[str]] = defaultdict(list)
    versions: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    found: dict[str, str | None] = {}
    for module in modules:
        for name in module.elf.needed:
            if name in inside or _FROM_DRIVER.fullmatch(name):
                continue
            if name not in found:
                found[name] = _in_base(name, files, search)
            if found[name] is None:
                libraries[name].append(module.path)
        for name, version in module.elf.wants:
            offered = files.offers.get(found.get(name) or "")
            if offered and name not in inside and version not in offered:
                versions[name, version].append(module.path)
    for name, path in sorted((name, path) for name, path in found.items() if path in files.damaged):
        needed_by = tuple(module.path for module in modules if name in module.elf.needed)
        message = f"/{path} of the base is damaged, and {_named(needed_by)} cannot be loaded without"
        yield Problem(kind="damaged", what=name, needed_by=needed_by, message=message)
    for name, paths in sorted(libraries.items()):
        package = DEBIAN_PACKAGES.get(name, "")
        brought = f"; the Debian package {package} brings it" if package else ""
        message = f"{name} is not in the base, and {_named(paths)} cannot be loaded without{brought}"
        yield Problem(kind="library", what=name, needed_by=tuple(paths), message=message, package=package)
    for (name, version), paths in sorted(versions.items()):
        message = f"{name} of the base is too old: {_named(paths)} cannot be loaded without its {version}"
        yield Problem(kind="version", what=version, needed_by=tuple(paths), message=message)


def _in_base(name: str, files: BaseFiles, search: tuple[str, ...]) -> str | None:
    if "/" in name:
        return files.resolve(name)
    for folder in search:
        path = files.resolve(f"{folder.strip('/')}/{name}")
        if path is not None:
            return path
    return None


def _named(paths: Iterable[str]) -> str:
    """Return the first few of some paths, short, for a message."""
    names = [re.sub(r"^lib/python[0-9.]+/site-packages/", "", path) for path in paths]
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
