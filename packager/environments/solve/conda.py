"""CondaRequest → exact packages, by rattler in a child process: the conda half of the step that needs the network."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from packager.decoding import convert, decode_json
from packager.environments.child_processes import Children
from packager.environments.conda import SUBDIRS, CondaPackage, CondaRequest, SolvedConda, minor
from packager.environments.declare.requirement import canonical_name
from packager.environments.locks.conda_file import normal_depends
from packager.errors import LockError, PackagerError
from packager.resources import program

if TYPE_CHECKING:
    from packager.environments.solve.pip import Upgrade

_WORKER = program("child/conda_solver.py")
#: Characters of the child's standard error that an unexpected end repeats.
_TAIL = 2000


class CondaSolver(Protocol):
    """Finds the conda packages that fit a request, on all its platforms.

    Attributes:
        tools: the installed projects that it uses, whose versions `packager.lock` names.
    """

    tools: tuple[str, ...]

    def solve(
        self,
        request: CondaRequest,
        held: tuple[CondaPackage, ...],
        upgrade: Upgrade,
        offline: bool,
        before: CondaRequest | None = None,
    ) -> SolvedConda:
        """Return the packages for every platform of the request.

        Args:
            request: what is asked.
            held: the packages so far, whose versions stay where they still fit.
            upgrade: which of them may move all the same; names are conda's, normalised as PyPI's are.
            offline: take only what is cached.
            before: what was asked when `held` was found: where a virtual package or the order of channels has changed
                since, what was chosen by it is chosen anew.

        Raises:
            LockError: no packages fit, or a channel refuses.
            TemporaryError: a channel does not answer.
            SpecError: a requirement or a channel is not one.
        """
        ...


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One package as a solver answers it: of repodata's fields, those that a lock needs."""

    name: str
    version: str
    build: str
    url: str
    sha256: str
    md5: str = ""
    depends: tuple[str, ...] = ()
    purls: tuple[str, ...] = ()
    noarch: str = ""


class RattlerSolver:
    """Solves with py-rattler, in a child process: what it would do to this one at its end is kept from users.

    Channels that have a name alone, repodata caches and credentials are rattler's: RATTLER_CACHE_DIR,
    RATTLER_AUTH_FILE, the keyring, .netrc.

    Args:
        root: where relative channels start: the folder of the spec.
        mirrors: channel (its name, or the start of its URL) → what to fetch from in its place.
        environ: the environment variables of the machine.
    """

    tools: tuple[str, ...] = ("py-rattler",)

    def __init__(
        self, root: Path, mirrors: Mapping[str, str] | None = None, environ: Mapping[str, str] | None = None
    ) -> None:
        self._root = root
        self._mirrors = dict(mirrors or {})
        self._environ = os.environ if environ is None else environ
        self._children = Children()

    def solve(
        self,
        request: CondaRequest,
        held: tuple[CondaPackage, ...],
        upgrade: Upgrade,
        offline: bool,
        before: CondaRequest | None = None,
    ) -> SolvedConda:
        """See `CondaSolver.solve`."""
        from packager.environments.channel_credentials import (
            channel_access,
            hide_access,
            require_access,
            without_credentials,
        )
        from packager.environments.channel_mirrors import urls_to_fetch

        urls = urls_to_fetch(request.channels, self._mirrors)
        if not offline:
            require_access(urls, self._environ)
        question = {
            "channels": [without_credentials(each) for each in request.channels],
            "specs": [without_credentials(each) for each in request.specs],
            "access": channel_access(urls, self._environ),
            "priority": request.channel_priority,
            "root": str(self._root.resolve()),
            "mirrors": {without_credentials(start): without_credentials(url) for start, url in self._mirrors.items()},
            "offline": offline,
            "reordered": reordered(request, before),
            "platforms": {
                platform: {
                    "subdir": SUBDIRS[platform],
                    "virtual": virtual,
                    "moved": moved(request, before, platform),
                    "held": [(each.name, each.version, each.build) for each in stays(held, platform, upgrade)],
                }
                for platform, virtual in request.virtual_packages.items()
            },
        }
        command = [sys.executable, "-P", str(_WORKER)]
        ended = self._children.run(command, msgspec.json.encode(question), cwd=self._root, environ=self._environ)
        answer = _parse(ended.output, hide_access(ended.errors, urls, self._environ))
        if "error" in answer:
            from packager.environments.solve.conda_errors import explain

            raise explain(answer["error"], request.virtual_packages)
        try:
            records = convert(answer["platforms"], dict[str, tuple[Record, ...]])
        except (KeyError, msgspec.ValidationError) as error:
            raise PackagerError(f"the conda solver's answer is not understood: {error!r}") from None
        return to_solved(records, request)

    def stop(self) -> None:
        """End all solves under way, which then raise, and refuse new ones."""
        self._children.stop()


def stays(held: Iterable[CondaPackage], platform: str, upgrade: Upgrade) -> list[CondaPackage]:
    """Return the packages of a platform whose versions are to stay."""
    if upgrade.all:
        return []
    return [each for each in held if each.platform == platform and canonical_name(each.name) not in upgrade.names]


def moved(request: CondaRequest, before: CondaRequest | None, platform: str) -> list[str]:
    """Return the names of the virtual packages that are others than before on a platform, sorted."""
    if before is None or platform not in before.virtual_packages:
        return []
    old, new = before.virtual_packages[platform], request.virtual_packages[platform]
    return sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))


def reordered(request: CondaRequest, before: CondaRequest | None) -> bool:
    """Return whether other channels, or another priority of them, are asked than before."""
    if before is None:
        return False
    return (before.channels, before.channel_priority) != (request.channels, request.channel_priority)


def to_solved(records: Mapping[str, Sequence[Record]], request: CondaRequest) -> SolvedConda:
    """Return what a solver found as a lock keeps it.

    Args:
        records: platform → its packages.
        request: what was asked.

    Raises:
        LockError: there is no Python among them, or another one for each platform.
    """
    from packager.environments.channel_credentials import with_variables
    from packager.environments.solve.conda_names import Named, provides

    packages = [
        CondaPackage(
            name=each.name,
            version=each.version,
            build=each.build,
            platform=platform,
            url=with_variables(each.url, request.channels),
            sha256=each.sha256,
            md5=each.md5,
            depends=normal_depends(each.depends),
        )
        for platform, found in records.items()
        for each in found
    ]
    _check_python(packages, records)
    named = [
        Named(name=each.name, purls=each.purls, noarch=each.noarch, depends=each.depends)
        for found in records.values()
        for each in found
    ]
    return SolvedConda(
        packages=tuple(sorted(packages, key=lambda each: (each.name, SUBDIRS[each.platform]))),
        provides=provides(named, request.names),
    )


def _check_python(packages: Iterable[CondaPackage], platforms: Iterable[str]) -> None:
    pythons = {each.platform: each.version for each in packages if each.name == "python"}
    for platform in platforms:
        if platform not in pythons:
            raise LockError(
                f"the environment has no python for {platform}",
                remedy="add it to the environment: `- python=3.13`",
            )
    if len({minor(version) for version in pythons.values()}) > 1:
        found = ", ".join(f"{version} for {platform}" for platform, version in sorted(pythons.items()))
        raise LockError(
            f"the platforms would get different Pythons: {found}",
            remedy="name one minor version that all have, such as `python=3.13`",
        )


# --- the child --------------------------------------------------------------------------------------------------------


def _parse(output: str, errors: str) -> dict[str, Any]:
    """Return the child's answer. How it ended does not matter once that is complete."""
    if output.endswith("}\n"):
        with suppress(msgspec.DecodeError):
            return decode_json(output, dict[str, Any])
    if "No module named 'rattler'" in errors:
        raise PackagerError("py-rattler is not there", remedy="install it beside packager: pip install py-rattler")
    from packager.environments.channel_credentials import redact

    tail = redact(errors.strip()[-_TAIL:])
    remedy = "look for a memory limit, and try again; else report this, with the version of py-rattler"
    raise PackagerError(f"the conda solver ended without an answer:\n{tail}", remedy=remedy)
