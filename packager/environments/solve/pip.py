"""LockRequest → exact packages, by uv: the step that needs the network."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import msgspec
from msgspec import UnsetType

from packager.environments.child_processes import Ended
from packager.environments.conda import Provided, minor
from packager.environments.dependencies import marker_words
from packager.environments.lock import LockedPackage, LockRequest, PackageSources
from packager.environments.locks.files import parse_requirements
from packager.environments.uv import Uv, uv_version
from packager.errors import LockError
from packager.scratch import scratch

if TYPE_CHECKING:
    from packager.environments.solve.incompatibilities import Asked, Dated

#: Name of the file in which uv answers, and finds what was locked before.
_ANSWER = "pylock.solved.toml"
#: Name of the file in which uv is told of indexes for single packages.
_PROJECT = "pyproject.toml"


class Upgrade(msgspec.Struct, frozen=True, kw_only=True):
    """Which versions may move although they still fit.

    Attributes:
        all: every package's.
        names: those of these packages, normalised.
    """

    all: bool = False
    names: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.all or bool(self.names)


class Solved(msgspec.Struct, frozen=True, kw_only=True):
    """What a solve for one platform found.

    Attributes:
        packages: sorted by name, `platforms` left empty.
        notes: what was decided beside the requirements, for people.
    """

    packages: tuple[LockedPackage, ...]
    notes: tuple[str, ...] = ()


class Solver(Protocol):
    """Finds the packages that fit a request on one platform."""

    def solve(
        self,
        request: LockRequest,
        platform: str,
        preferences: str | None,
        upgrade: Upgrade,
        offline: bool,
        provided: Provided | None = None,
    ) -> Solved:
        """Return the packages for one platform.

        Args:
            request: what is asked.
            platform: one of the request's.
            preferences: the text of the requirements file so far, whose versions stay where they still fit.
            upgrade: which of them may move all the same.
            offline: take only what is cached.
            provided: what conda brings, which is neither solved nor in the result; None where there is no conda.

        Raises:
            LockError: no packages fit.
            TemporaryError: the index does not answer.
        """
        ...


class UvSolver:
    """Solves with uv.

    Args:
        root: where uv looks for uv.toml and pyproject.toml, there and in the parents: the folder of the spec.
        environ: the environment variables of the machine.
    """

    def __init__(self, root: Path, environ: Mapping[str, str] | None = None) -> None:
        self._uv = Uv(root, dict(os.environ if environ is None else environ))

    def solve(
        self,
        request: LockRequest,
        platform: str,
        preferences: str | None,
        upgrade: Upgrade,
        offline: bool,
        provided: Provided | None = None,
    ) -> Solved:
        """See `Solver.solve`; what is known not to run together is not in the answer.

        Raises:
            LockError: no packages fit; with uv's explanation, shortened, and what packager knows besides.
            TemporaryError: the index does not answer.
            PackagerError: uv is missing.
        """
        # Imported here, because most runs of `packager lock` find nothing to solve.

        from packager.environments.solve.pylock import format_preferences

        if provided:
            request = msgspec.structs.replace(request, python=provided.python)
        with scratch("packager-lock-") as name:
            solve = _Solve(self._uv, request, platform, Path(name), upgrade, offline, provided)
            project = _of_project(request, platform)
            known = {each.name: each.version for each in _preferred(preferences, platform, request)} | project
            try:
                solved = solve.to_the_end(format_preferences(known) if known else None)
            except LockError as error:
                raise solve.with_nearest(error) from None
            moved = [each.name for each in solved.packages if known.get(each.name) != each.version]
            notes = (*solved.notes, *solve.held_back(solved, moved), *_unfit(project, solved, upgrade))
            return msgspec.structs.replace(solved, notes=notes)

    def stop(self) -> None:
        """End all solves under way, which then raise, and refuse new ones."""
        self._uv.stop()


class _Solve:
    """One solve for one platform: as often as what packager knows makes another one necessary."""

    def __init__(
        self,
        uv: Uv,
        request: LockRequest,
        platform: str,
        folder: Path,
        upgrade: Upgrade,
        offline: bool,
        provided: Provided | None,
    ) -> None:
        self._uv, self._request, self._platform, self._folder = uv, request, platform, folder
        self._upgrade, self._offline, self._provided = upgrade, offline, provided
        self._asked: tuple[Asked, ...] = ()

    def to_the_end(self, preferences: str | None) -> Solved:
        """Solve until no rule asks for more.

        Args:
            preferences: the text of the answer before this one.
        """
        from packager.environments.solve.incompatibilities import give_way, unsolvable

        asked: tuple[Asked, ...] = ()
        doubted: tuple[Asked, ...] = ()
        while True:
            try:
                text, packages = self._once(asked, preferences)
            except LockError as error:
                if not asked:
                    raise
                guesses = tuple(each for each in asked if not each.sure)
                if not guesses:
                    raise unsolvable(error, asked, minor(self._request.python)) from None
                # A date is no proof: without it there is a solution, which may run. The other dates keep their say.
                given_up = give_way(guesses, error.message)
                asked, doubted = tuple(each for each in asked if each not in given_up), (*doubted, *given_up)
                continue
            more = tuple(each for each in self._more(text, packages) if each not in (*asked, *doubted))
            if not more:
                self._asked = asked
                return Solved(packages=packages, notes=_words(asked, doubted))
            asked += more

    def _once(self, asked: Iterable[Asked], preferences: str | None) -> tuple[str, tuple[LockedPackage, ...]]:
        from packager.environments.solve.pylock import parse_pylock

        request = self._request
        needed = [each.requirement for each in asked if each.needed]
        limits = [each.requirement for each in asked if not each.needed]
        request = msgspec.structs.replace(
            request,
            requirements=tuple(dict.fromkeys((*request.requirements, *needed))),
            constraints=tuple(dict.fromkeys((*request.constraints, *limits))),
        )
        # uv takes the file that it is to write for what was locked before, as pip-compile does.
        (self._folder / _ANSWER).unlink(missing_ok=True)
        if preferences is not None:
            (self._folder / _ANSWER).write_text(preferences, "utf-8")
        text = solve_text(
            self._uv,
            request,
            self._platform,
            self._folder,
            upgrade=self._upgrade,
            offline=self._offline,
            provided=self._provided,
        )
        packages = parse_pylock(
            text,
            python=minor(request.python),
            tags=request.platforms[self._platform],
            without=self._provided.versions if self._provided else (),
            allowed=_allowed(request, self._platform, self._provided),
        )
        return text, packages

    def _more(self, text: str, packages: Iterable[LockedPackage]) -> tuple[Asked, ...]:
        from packager.environments.solve.incompatibilities import asked_besides, held_names, old_wheels, pinned_names

        lines = (*self._request.requirements, *self._request.constraints)
        return asked_besides(
            {each.name: each.version for each in packages},
            given=self._provided.versions if self._provided else {},
            python=minor(self._request.python),
            pinned=pinned_names(lines),
            old=self._that_need_it(old_wheels(text, held_names(lines)), packages),
        )

    def held_back(self, solved: Solved, moved: Iterable[str]) -> tuple[str, ...]:
        """Return what kept newer releases of what was asked for out, of packages that moved."""
        if _sources(self._request):
            return ()  # a project's own indexes have other releases; the machine's is not asked for names of theirs
        from packager.environments.declare.requirement import requirement_name
        from packager.environments.solve.held_back import held_back

        lines = (*self._request.requirements, *self._request.constraints)
        asked = {requirement_name(line) for line in self._request.requirements}
        # What a rule limits has its note; what is built from an sdist would be built to be asked.
        told = {requirement_name(each.requirement) for each in self._asked} | {*self._request.build_from_source}
        names = sorted((asked & {*moved}) - told)
        return tuple(held_back(solved.packages, lines, names, minor(self._request.python), self._ask))

    def with_nearest(self, error: LockError) -> LockError:
        """Return an error that says, of pins without wheels or of no release, what is nearest."""
        from packager.environments.solve.nearest import (
            find_nearest,
            find_newest,
            is_general,
            other_python,
            refused_pins,
            unknown_pins,
            with_nearest,
            with_other_python,
        )

        # What conda brings fixes Python; a project's own indexes are not asked for more than the project asks.
        if self._provided or self._offline or _sources(self._request):
            return error
        python = minor(self._request.python)
        asked = self._request.requirements
        found = [find_nearest(*pin, python, self._look) for pin in refused_pins(error.message, asked)]
        found += [find_newest(*pin, python, self._look) for pin in unknown_pins(error.message, asked)]
        if found or not is_general(error):
            return with_nearest(error, python, found)
        lines = [*asked, *self._request.constraints]
        if self._request.build_from_source:
            return error  # it would be built to be asked
        return with_other_python(error, other_python(python, lambda each: self._ask(lines, each, True).code == 0))

    def _look(self, requirement: str, python: str, lowest: bool) -> str | None:
        """Return the version that uv takes for one requirement alone; None where there is none with a wheel."""
        folder = self._folder / "nearest"
        folder.mkdir(exist_ok=True)
        (folder / "requirements.in").write_text(f"{requirement}\n", "utf-8")
        (folder / "constraints.in").write_text("", "utf-8")
        request = msgspec.structs.replace(self._request, python=python, build_from_source=())
        words = _printing(arguments(request, self._platform, Upgrade(), self._offline, folder))
        ended = self._uv.run([*words, "--no-annotate", "--no-deps", *(["--resolution", "lowest"] if lowest else [])])
        found = re.search(r"^[^\s#=]+==(\S+)", ended.output, re.MULTILINE) if ended.code == 0 else None
        return found[1] if found else None

    def _ask(self, lines: list[str], python: str, together: bool) -> Ended:
        """Ask uv for a solution without one of before; alone, a package is looked for in what is cached."""
        folder = self._folder / "newer"
        folder.mkdir(exist_ok=True)
        limits = [each.requirement for each in self._asked] if together else []
        (folder / "requirements.in").write_text("\n".join([*lines, ""]), "utf-8")
        (folder / "constraints.in").write_text("\n".join([*limits, ""]), "utf-8")
        own = self._request.python
        request = msgspec.structs.replace(self._request, python=own if python == minor(own) else python)
        words = _printing(arguments(request, self._platform, Upgrade(), self._offline or not together, folder))
        words += ["--no-annotate"] if together else ["--no-annotate", "--no-deps"]
        if together and self._provided:
            words += ["--constraints", str(self._folder / "constraints.in")]
            words += ["--overrides", str(self._folder / "overrides.in")]
        return self._uv.run(words, find_links=self._folder / "stubs" if self._provided else None)

    def _that_need_it(
        self, old: Mapping[Dated, Collection[str]], packages: Iterable[LockedPackage]
    ) -> dict[Dated, tuple[str, ...]]:
        """Return rule → those of some packages of a solution that need what it limits themselves, as uv tells it."""
        if not old:
            return {}
        solution = self._folder / "solution.in"
        solution.write_text("".join(f"{each.name}=={each.version}\n" for each in packages), "utf-8")
        # The same solve with every version given: `numpy==2.4.6  # via scipy`.
        words = _printing(arguments(self._request, self._platform, Upgrade(), self._offline, self._folder))
        words += ["--constraints", str(solution), "--annotation-style", "line"]
        words += ["--overrides", str(self._folder / "overrides.in")] if self._provided else []
        sources = _sources(self._request)
        words += ["--default-index", sources.default] if sources.default else []
        stubs = self._folder / "stubs" if self._provided else None
        ended = self._uv.run(words, find_links=stubs, indexes=sources.indexes)
        via = dict(re.findall(r"^(\S+)==\S+\s+# via (.+)$", ended.output, re.MULTILINE)) if ended.code == 0 else {}
        return {rule: tuple({*names} & {*via.get(rule.name, "").split(", ")}) for rule, names in old.items()}


def _printing(words: list[str]) -> list[str]:
    """Return arguments with which uv prints its answer as requirements, and writes no file."""
    for option in ("--output-file", "--format"):
        at = words.index(option)
        words = [*words[:at], *words[at + 2 :]]
    return words


def _words(asked: Iterable[Asked], doubted: Iterable[Asked]) -> tuple[str, ...]:
    from packager.environments.solve.incompatibilities import together

    said = [*together(asked)]
    said += [
        f"{each.package} {each.version} {each.because}, as its date says, and {each.requirement} does not fit the rest:"
        " it may not start (`packager lock --try` tells)"
        for each in doubted
    ]
    return tuple(dict.fromkeys(said))


def solve_text(
    uv: Uv,
    request: LockRequest,
    platform: str,
    folder: Path,
    *,
    upgrade: Upgrade,
    offline: bool,
    provided: Provided | None = None,
    dependencies: bool = True,
) -> str:
    """Return the pylock.toml with which uv answers a request.

    Args:
        uv: is asked.
        request: what is asked.
        platform: one of the request's.
        folder: for what uv reads and writes.
        upgrade: which versions of the answer before this one, if the folder holds it, may move.
        offline: take only what is cached.
        provided: what conda brings; None where there is no conda.
        dependencies: solve for those, too.

    Raises:
        LockError: no packages fit.
        TemporaryError: the index does not answer.
        PackagerError: uv is missing.
    """
    _write_inputs(folder, request, platform, provided)
    words = arguments(request, platform, upgrade, offline, folder)
    words += ["--overrides", str(folder / "overrides.in")] if provided else []
    words += [] if dependencies else ["--no-deps"]
    sources = _sources(request)
    words += ["--default-index", sources.default] if sources.default else []
    ended = uv.run(words, find_links=folder / "stubs" if provided else None, indexes=sources.indexes)
    if ended.code != 0:
        from packager.environments.uv_errors import explain

        raise explain(ended.errors, platform=platform, python=request.python, hide=str(folder))
    return (folder / _ANSWER).read_text("utf-8")


def _write_inputs(folder: Path, request: LockRequest, platform: str, provided: Provided | None) -> None:
    texts = {"requirements": list(request.requirements), "constraints": list(request.constraints)}
    if provided:
        from packager.environments.solve.pip_around_conda import check_direct, constraints, overrides, write_stubs

        check_direct([*request.requirements, *request.constraints], provided, platform)
        write_stubs(provided, folder / "stubs")
        texts["constraints"] += constraints(provided)
        texts["overrides"] = overrides(provided)
    for name, lines in texts.items():
        (folder / f"{name}.in").write_text("\n".join([*lines, ""]), "utf-8")
    sources = _sources(request)
    if sources.packages:
        (folder / _PROJECT).write_text(project_text(request.requirements, sources), "utf-8")


def _sources(request: LockRequest) -> PackageSources:
    return PackageSources() if isinstance(request.sources, UnsetType) else request.sources


def project_text(requirements: Iterable[str], sources: PackageSources) -> str:
    """Return a pyproject.toml that asks for packages from their indexes: uv is told in no other way. Pure."""
    lines = ["[project]", 'name = "packager-request"', 'version = "0"', "dependencies = ["]
    lines += [*(f"    {_toml(each)}," for each in requirements), "]", "[tool.uv.sources]"]
    indexes: dict[str, str] = {}
    for package, places in sources.packages.items():
        entries = []
        for place in places:
            index, _, marker = place.partition(" ; ")
            name, _, url = index.partition("=")
            indexes[name] = url
            entries.append(f"{{ index = {_toml(name)}" + (f", marker = {_toml(marker)} }}" if marker else " }"))
        lines.append(f"{_toml(package)} = [{', '.join(entries)}]")
    for name, url in indexes.items():
        lines += ["[[tool.uv.index]]", f"name = {_toml(name)}", f"url = {_toml(url)}", "explicit = true"]
    return "\n".join([*lines, ""])


def _toml(text: str) -> str:
    # A JSON text is a TOML text, but for DEL, which no requirement may hold.
    return msgspec.json.encode(text).decode()


def arguments(request: LockRequest, platform: str, upgrade: Upgrade, offline: bool, folder: Path) -> list[str]:
    """Return uv's arguments for one solve; `folder` holds requirements.in and constraints.in, and gets the answer."""
    asked = _PROJECT if _sources(request).packages else "requirements.in"
    words = ["pip", "compile", str(folder / asked), "--constraints", str(folder / "constraints.in")]
    words += ["--output-file", str(folder / _ANSWER), "--format", "pylock.toml"]
    words += ["--python-version", request.python, "--python-platform", request.platforms[platform]]
    words += ["--no-header", "--quiet", "--only-binary", ":all:"]
    # Together with `--only-binary :all:`, uv reads this as the exceptions: these come from an sdist, and only these.
    for name in request.build_from_source:
        words += ["--no-binary", name]
    if not request.build_from_source:
        # Nothing is run, so any interpreter will do: looking for one of the right version would take 0.7 s.
        words += ["--python", sys.executable]
    if upgrade.all:
        words.append("--upgrade")
    for name in upgrade.names:
        words += ["--upgrade-package", name]
    return [*words, "--offline"] if offline else words


def _allowed(request: LockRequest, platform: str, provided: Provided | None) -> dict[str, frozenset[str]]:
    """Return package → the sha256 that the hashes of the environment admit on a platform.

    Raises:
        LockError: conda brings one of these packages, and so another file.
    """
    if isinstance(request.hashes, UnsetType):
        return {}
    from packaging.requirements import Requirement

    python = minor(request.python)
    words = marker_words(python, platform)
    found: dict[str, frozenset[str]] = {}
    for line, digests in request.hashes.items():
        requirement = Requirement(line)
        if requirement.marker is not None and not requirement.marker.evaluate(words):
            continue
        if provided and requirement.name in provided.versions:
            raise LockError(
                f"conda brings {requirement.name}, and the hashes of `{line}` name other files",
                remedy="remove these hashes, or the package of conda",
            )
        found[requirement.name] = found.get(requirement.name, frozenset(digests)) & frozenset(digests)
    return found


def _preferred(text: str | None, platform: str, request: LockRequest) -> list[LockedPackage]:
    try:
        packages = parse_requirements(text or "", request.platforms)
    except LockError:
        return []  # a file that was broken by hand is no reason not to write it anew
    return [package for package in packages if not package.platforms or platform in package.platforms]


def _of_project(request: LockRequest, platform: str) -> dict[str, str]:
    if isinstance(request.versions, UnsetType):
        return {}
    from packager.environments.declare.project_lock import of_image

    return of_image(request.versions, marker_words(minor(request.python), platform))


def _unfit(project: Mapping[str, str], solved: Solved, upgrade: Upgrade) -> tuple[str, ...]:
    """Return which versions of the project's lock were not taken, unless newer ones were asked for."""
    moved = [
        f"{each.name} {project[each.name]} ({each.version} is locked)"
        for each in solved.packages
        if project.get(each.name, each.version) != each.version and not upgrade.all and each.name not in upgrade.names
    ]
    return (f"versions of the project's lock that do not fit here: {', '.join(moved)}",) if moved else ()


def tool_versions(*more: str) -> dict[str, str]:
    """Return the versions of what solves, for `packager.lock`; `more` names installed projects beside uv."""
    from importlib.metadata import PackageNotFoundError, version

    from packager import __version__

    found = {"packager": __version__, "uv": uv_version()}
    for name in more:
        # Of a solver that is no project of ours, nothing is known.
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found
