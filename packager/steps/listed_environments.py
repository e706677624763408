"""Environments by name: those that are registered, the curated ones, and these under Azure ML v1's names."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

import msgspec

from packager.environments.declare.curated import FILE, Curated, curated_names, load_curated
from packager.environments.declare.v1_names import PREFIX, nearest, v1_names
from packager.errors import ContextError, UsageError
from packager.given import read_given
from packager.scratch import scratch
from packager.steps.definitions import read_definition
from packager.steps.needed import Use, refuse_needed, uses
from packager.steps.telling import Telling, Verified
from packager.storage.files import write_text
from packager.workspace import actions
from packager.workspace.base import NotRegisteredError
from packager.workspace.names import check_name, parse_id
from packager.workspace.selecting import Filter, select
from packager.workspace.values import Version


class ListedEnvironment(msgspec.Struct, frozen=True, kw_only=True):
    """An environment that has a name.

    Attributes:
        name: it.
        kind: `registered`; `curated`, which comes with packager; `v1`: a curated one by a name of Azure ML v1.
        registered: the version, of a registered one.
        curated: what comes with packager, of the others.
        text: of the file that says which packages.
    """

    name: str
    kind: Literal["registered", "curated", "v1"]
    registered: Version | None = None
    curated: Curated | None = None
    text: str = ""


class Environments:
    """The environments of a workspace, and the curated ones, which nothing changes; `Workspace.environments`.

    Errors of all methods: as of `Models`.
    """

    def __init__(self, telling: Telling) -> None:
        self._telling, self._kept = telling, telling.workspace

    def register(
        self,
        name: str | None,
        path: str | os.PathLike[str],
        *,
        tags: Mapping[str, str] | None = None,
        properties: Mapping[str, str] | None = None,
        description: str = "",
    ) -> Version:
        """Register the next version of an environment, and return it.

        Args:
            name: of letters, digits, `-`, `_` and `.`; where None, what `azureml_environment.json` says.
            path: a folder with `azureml_environment.json` and `conda_dependencies.yml` or `BaseDockerfile`, with
                `environment.yml` or with `requirements.txt`, and its lock, where it has one; or such a file.
            tags: to find it by; they may change.
            properties: those never do.
            description: for people.

        Raises:
            UsageError: the name is a curated environment's; see above.
            SpecError: a file is not valid, with its line, or says what cannot be locked.
        """
        with scratch("packager-environment-") as folder:
            definition = read_definition(Path(path), Path(folder))
            name = name or definition.name
            if name is None:
                raise UsageError("the environment has no name", remedy="give one: -n NAME")
            _refuse_curated(check_name(name, "environment"))
            draft = Version(
                kind="environment",
                name=name,
                tags=dict(tags or {}),
                properties=dict(properties or {}),
                description=description,
                details={"definition": definition.main},
            )
            self._telling.reporter.step(f"registering environment {name}")
            return self._kept.add(draft, definition.files)

    def list(
        self, name: str | None = None, *, tags: Iterable[str] = (), latest: bool = False
    ) -> tuple[ListedEnvironment, ...]:
        """Return the registered environments, then the curated ones, then these by the names of Azure ML v1.

        Args:
            name: of one alone.
            tags: each `KEY`, or `KEY=VALUE`: registered ones that have all of them.
            latest: of each registered name, the latest version of those alone.
        """
        wanted = Filter(tags=tuple(tags))
        registered = select(self._telling.versions("environment", name), wanted, latest=latest)
        found = [ListedEnvironment(name=each.name, kind="registered", registered=each) for each in registered]
        if not wanted.tags:
            known = {each: load_curated(each) for each in curated_names()}
            found += [ListedEnvironment(name=each, kind="curated", curated=known[each]) for each in known]
            found += [ListedEnvironment(name=each, kind="v1", curated=known[ours]) for each, ours in v1_names().items()]
        return tuple(each for each in found if name in (None, each.name))

    def get(self, name: str, version: int | None = None) -> ListedEnvironment:
        """Return one environment, with the text of its definition.

        Args:
            name: `name`, or `name:version`; a curated one's, or one of Azure ML v1.
            version: the number of a registered one; the latest where neither says one.
        """
        wanted, number = parse_id(name if version is None else f"{name}:{version}", "environment")
        ours = wanted if wanted in curated_names() else nearest(wanted)
        if ours is not None:
            curated = load_curated(ours)
            return ListedEnvironment(
                name=wanted, kind="curated" if ours == wanted else "v1", curated=curated, text=curated.text
            )
        try:
            found = self._telling.get("environment", wanted, number)
        except NotRegisteredError as error:
            raise _with_hint(error, wanted, self._telling) from None
        return ListedEnvironment(name=wanted, kind="registered", registered=found, text=self._text(found))

    def download(
        self, name: str, target: str | os.PathLike[str] = ".", version: int | None = None, *, overwrite: bool = False
    ) -> Path:
        """Copy the files of an environment into a folder, and return the path of its one file, or of the folder.

        Args:
            name: `name`, or `name:version`; of a curated one, its `environment.yml`.
            target: the folder; made when needed.
            version: the number of a registered one.
            overwrite: replace what has the same names there.
        """
        found = self.get(name, version)
        if found.registered is not None:
            return actions.download(self._kept, found.registered, Path(target), overwrite=overwrite)
        path = Path(target) / FILE
        if os.path.lexists(path) and not overwrite:
            raise ContextError(f"{path} is there already", remedy="use --overwrite, or another folder")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ContextError(f"{path.parent} cannot be made: {error.strerror}") from None
        write_text(path, found.text)
        return path

    def uses(self, version: Version) -> tuple[Use, ...]:
        """Return what needs a version: images and locks that this workspace knows."""
        return uses(self._kept, version, self._telling.reporter.detail)

    def delete(self, name: str, version: int | None = None, *, force: bool = False) -> Version:
        """Remove one version, and return what it was; its number is never given again.

        Args:
            name: `name:version`, or `name`.
            version: its number, where the name has none.
            force: also where an image or the lock of a spec needs it.

        Raises:
            UsageError: no version is named, or it is a curated environment.
            NeededError: something needs it.
        """
        wanted, number = parse_id(name if version is None else f"{name}:{version}", "environment")
        _refuse_curated(wanted)
        if number is None:
            raise UsageError(f"which version of {wanted} is to be deleted?", remedy=f"name it as {wanted}:1")
        found = self._telling.get("environment", wanted, number)
        if not force:
            refuse_needed(found, self.uses(found))
        self._kept.delete(found)
        return found

    def verify(self, name: str | None = None) -> tuple[Verified, ...]:
        """Read every file of registered environments, and say what is not as it was registered.

        Args:
            name: `name:version` for one, `name` for all of its versions; all that are registered where None.
        """
        return self._telling.verify("environment", *((None, None) if name is None else parse_id(name, "environment")))

    def _text(self, version: Version) -> str:
        """Return the text of the file that says which packages; empty where a version names none."""
        main = version.details.get("definition")
        file = next((each for each in version.files if each.path == main), None)
        if file is None:
            return ""
        with self._kept.open(version, file) as path:
            try:
                return read_given(path).decode("utf-8", "replace")
            except OSError as error:
                raise ContextError(f"{main} of {version.id} cannot be read: {error.strerror}") from None


def _refuse_curated(name: str) -> None:
    """Refuse a name that always means what comes with packager."""
    if name in curated_names() or name.casefold().startswith(PREFIX.casefold()):
        raise UsageError(
            f"{name} is a curated environment's name: it comes with packager, and does not change",
            remedy="take another name",
        )


def _with_hint(error: NotRegisteredError, name: str, telling: Telling) -> NotRegisteredError:
    """Return an error that names what is there instead, where something looks alike."""
    names = {*curated_names(), *telling.workspace.names("environment")}
    close = get_close_matches(name, names, n=1)
    if not close or close == [name]:
        return error
    return NotRegisteredError(error.message, remedy=f"did you mean {close[0]!r}? {error.remedy}")
