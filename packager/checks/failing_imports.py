"""Packages whose import fails with what is locked beside them, told by their wheels: no rule has to know them.

Modules that were compiled for NumPy 1 do not load with NumPy 2, and what Python or setuptools gave up is not there.
Only what is certainly imported counts: by the script or the server, or by a package that the environment asks for.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from packager.checks.import_findings import imported_surely
from packager.checks.installed import Installed
from packager.checks.known_modules import BACK, REMOVED, SERVER_PACKAGE
from packager.checks.made_for import Certain, missing_modules, needs_other_numpy
from packager.checks.reach import Image, Reached
from packager.environments.declare.requirement import requirement_name
from packager.environments.locked import LockedPlatform
from packager.finding import Finding, Severity

#: What starts in every image, whatever the script imports.
_SERVER = tuple(
    Certain(module, ())
    for module in (
        "azureml_inference_server_http.amlserver_linux",
        "azureml_inference_server_http.server.entry",
        "gunicorn.workers.sync",
    )
)
#: The newest Python for which there are wheels of NumPy 1 (1.26).
_LAST_OF_NUMPY_1 = 12
#: The oldest Python that has a base.
_FIRST_PYTHON = 8


class Start(NamedTuple):
    """An import that certainly runs, and where it stands."""

    statement: Certain
    severity: Severity
    file: str
    line: int | None = None


class Cause(NamedTuple):
    """Why a module cannot be imported: its package, and the module that is missing; `numpy` where it is another."""

    package: str
    missing: str


def causes(
    installed: Installed, locked: LockedPlatform, told: Collection[str] = (), imported: Iterable[Start] = ()
) -> dict[str, Cause]:
    """Return the modules that cannot be imported, each with its cause.

    Many packages have modules for their own installation, which nothing imports. To find that out would take a look
    into the whole environment, so only those count that are imported with their package, or whose package the app
    itself imports.

    Args:
        installed: the modules of the environment, as far as they are known.
        locked: the environment.
        told: packages of which a rule has told it.
        imported: what the app imports.
    """
    versions = locked.versions
    named = {each.statement.module.partition(".")[0] for each in imported}
    gone = missing_modules(installed, versions, locked.python)
    found = {
        module: Cause(package, lost[0])
        for module, (package, wanted) in installed.gone.items()
        if (module in installed.at_once or module.partition(".")[0] in named)
        and (lost := [each for each in wanted if each in gone])
    }
    if needs_other_numpy(versions):
        found |= {module: Cause(package, "numpy") for module, package in installed.for_numpy_1.items()}
    return {module: cause for module, cause in found.items() if cause.package not in {*told, "numpy"}}


def starts_of_app(image: Image, reached: Reached, locks: str) -> tuple[Start, ...]:
    """Return what certainly is imported when the service starts: by the app, and as the server.

    Args:
        image: the image.
        reached: what the app imports.
        locks: the lock's file, for people.
    """
    ours = [
        Start(Certain(each.target, each.statement.names), "error", image.files[each.module.path], each.statement.line)
        for each in imported_surely(reached)
    ]
    return (*ours, *(Start(each, "error", locks) for each in _SERVER))


def starts_of_packages(installed: Installed, requirements: Iterable[str], locks: str) -> tuple[Start, ...]:
    """Return the imports of the packages that an environment asks for.

    Args:
        installed: the modules of the environment.
        requirements: normal forms.
        locks: the lock's file, for people.
    """
    names = dict.fromkeys(map(requirement_name, requirements))
    return tuple(Start(Certain(top, ()), "warning", locks) for name in names for top in installed.tops_of(name))


def failing_imports(
    found: Mapping[str, Cause],
    ways: Iterable[tuple[Sequence[Start], Mapping[str, tuple[str, ...]]]],
    locked: LockedPlatform,
    requirements: Iterable[str],
    environment: str,
) -> Iterator[Finding]:
    """Yield one finding for each package that cannot be imported and each cause of it.

    Args:
        found: see `causes`.
        ways: groups of starts, each with the modules that it reaches and how.
        locked: the environment.
        requirements: what the user asks for; normal forms.
        environment: what the user calls the environment (`requirements.txt`).
    """
    asked = {requirement_name(line): line for line in requirements}
    told: set[Cause] = set()
    for starts, reached in ways:
        for module, way in sorted(reached.items(), key=lambda item: (len(item[1]), item[0])):
            cause = found[module]
            start = next((each for each in starts if _begins(each.statement, way[0])), None)
            if start is None or cause in told:
                continue
            told.add(cause)
            yield Finding(
                rule="package-import-fails",
                severity=start.severity,
                message=_message(cause, way, locked),
                file=start.file,
                line=start.line,
                remedy=_remedy(cause, locked.python, asked, environment),
            )


def _begins(statement: Certain, first: str) -> bool:
    modules = (statement.module, *(f"{statement.module}.{name}" for name in statement.names))
    return any(f"{each}.".startswith(f"{first}.") for each in modules)


def _message(cause: Cause, way: Sequence[str], locked: LockedPlatform) -> str:
    versions = locked.versions
    whose = f"{way[-1]} of {cause.package} {versions[cause.package]}"
    if cause.missing == "numpy":
        why = f"{whose} was compiled for NumPy 1, and the lock has numpy {versions['numpy']}"
    elif cause.missing == "pkg_resources":
        setuptools = versions.get("setuptools")
        has = f"the locked setuptools {setuptools} has no longer" if setuptools else "no locked package has"
        why = f"{whose} imports pkg_resources, which {has}"
    else:
        why = f"{whose} imports {cause.missing}, which Python {locked.python} has no longer"
    return f"`import {way[0]}` fails: {why}"


def _remedy(cause: Cause, python: str, asked: Mapping[str, str], environment: str) -> str:
    newer = f"a newer {cause.package}"
    lock = f"in {environment} and run `packager lock`"
    instead = {"numpy": "numpy<2", "pkg_resources": "setuptools<81", "distutils": "setuptools<81"} | BACK
    wanted = instead.get(cause.missing)
    if wanted is None:
        older = REMOVED[cause.missing] - 1
        other = f', or set `python: "3.{older}"` and run `packager lock`' if older >= _FIRST_PYTHON else ""
        return f"ask for {newer} {lock}{other}"
    yours = asked.get(requirement_name(wanted), "")
    where = f"`{wanted}` in place of your `{yours}`" if yours not in ("", requirement_name(wanted)) else f"`{wanted}`"
    if cause.missing == "numpy" and int(python.partition(".")[2]) > _LAST_OF_NUMPY_1:
        return (
            f"ask for {newer} {lock}; or for {where}, with `python: "
            f'"3.{_LAST_OF_NUMPY_1}"`: NumPy 1 has no wheel for Python {python}'
        )
    return f"ask for {where} {lock}, or for {newer}" if cause.package != SERVER_PACKAGE else f"ask for {where} {lock}"
