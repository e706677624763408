"""Models and environments by name and version: `packager.Workspace`."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

from packager.errors import UsageError
from packager.steps.chosen_workspace import chosen, kept
from packager.steps.needed import Use, refuse_needed, uses
from packager.steps.reporting import SILENT, Reporter
from packager.steps.telling import Telling, Verified
from packager.storage.files import write_text
from packager.workspace import actions
from packager.workspace.actions import Difference
from packager.workspace.base import Workspace as Kept
from packager.workspace.names import check_name, parse_id
from packager.workspace.selecting import Filter, select
from packager.workspace.values import Change, ImageRecord, Resources, Version

if TYPE_CHECKING:
    from packager.steps.listed_environments import Environments
    from packager.workspace.artifacts import PushForm

__all__ = [
    "Models",
    "Resources",
    "Use",
    "Verified",
    "Workspace",
    "close_workspace",
    "write_metadata",
]


class Workspace:
    """Registered models and environments, in a folder or in a registry.

        workspace = packager.Workspace()
        version = workspace.models.register("churn", "model.pkl", tags={"area": "sales"})
        print(version.id, version.digest)
        workspace.models.download("churn", "here")

    Args:
        workspace: a name of this user's workspaces, a path with a `/` (or a `Path`), or `oci://registry/prefix`. Where
            None, the first that there is of: PACKAGER_WORKSPACE, `workspace:` of the spec, `.azureml/config.json` or
            `config.json` of Azure ML v1, the workspace of this user's settings (`packager workspace use`), and the one
            named `default`.
        start: folder where spec and files of Azure ML are looked for, and above it; the current one where None.
        reporter: is told what is done, and what of the workspace is damaged.

    Attributes:
        models: the models of it.

    Raises:
        UsageError, SpecError: it is no workspace, or this user's settings are wrong.
        NotRegisteredError: it is not there; see `packager.workspace.locate.open_workspace`.
        ContextError, RegistryError, TemporaryError: it cannot be read now.
    """

    def __init__(
        self,
        workspace: str | os.PathLike[str] | None = None,
        start: str | os.PathLike[str] | None = None,
        *,
        reporter: Reporter = SILENT,
    ) -> None:
        self._open(kept(chosen(workspace, start, say=reporter.warn)), reporter)

    @classmethod
    def of(cls, workspace: Kept, *, reporter: Reporter = SILENT) -> Workspace:
        """Return what is done with a workspace that is open already."""
        made = cls.__new__(cls)
        made._open(workspace, reporter)
        return made

    def _open(self, workspace: Kept, reporter: Reporter) -> None:
        self.kept = workspace
        self._telling = Telling(workspace, reporter)
        self.models = Models(self._telling)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections to a registry, where there are any."""
        close_workspace(self.kept)

    @property
    def environments(self) -> Environments:
        """The environments of it, and the curated ones."""
        # Imported late: what reads files of environments is more than all that lists models.
        from packager.steps.listed_environments import Environments

        return Environments(self._telling)

    @property
    def name(self) -> str:
        """For people."""
        return self.kept.name

    @property
    def location(self) -> str:
        """What names it everywhere: the path of a folder, or `oci://…`."""
        return self.kept.location

    @property
    def damage(self) -> tuple[str, ...]:
        """What of the records could not be read so far, a sentence each: it is in no list, and all else works."""
        return self._telling.damage

    def images(self, model: str | None = None) -> tuple[ImageRecord, ...]:
        """Return the images that were made of what is registered, the oldest first.

        Args:
            model: those that hold this one alone: `name`, or `name:version`.

        Raises:
            UsageError: it is no name.
        """
        found = self.kept.images()
        if model is None:
            return found
        name, version = parse_id(model, "model")
        return tuple(
            image
            for image in found
            if any(held.name == name and version in (None, held.version) for held in image.models)
        )


class Models:
    """The models of a workspace; `Workspace.models`.

    Errors of all methods: UsageError for what is no name, version, tag or property; NotRegisteredError where there is
    no such version; ContextError for files; RegistryError and TemporaryError from a registry.
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
        framework: str | None = None,
        framework_version: str | None = None,
        resources: Resources | None = None,
        sample_inputs: Sequence[str | os.PathLike[str]] = (),
        sha256: str | None = None,
        run_id: str | None = None,
    ) -> Version:
        """Register the next version of a model, and return it. Nothing is unpickled, imported or run.

        Args:
            name: of letters, digits, `-`, `_` and `.`; None for the one that it has at the registry that it comes from.
            path: a file or folder, which keeps its own name; or `https://…`, `hf://ORG/NAME@REVISION`,
                `mlflow:models:/NAME/3`, `mlflow:runs:/ID/PATH` or `oci://REFERENCE`.
            tags: to find it by; they may change.
            properties: those never do.
            description: for people.
            framework: `ScikitLearn`, `PyTorch`, …; found in the file where None, and held against it where not.
            framework_version: that saved it; the same.
            resources: what a service with it wants.
            sample_inputs: files with requests as it takes them.
            sha256: of the one file that is downloaded, 64 hex digits.
            run_id: of the run that made it.

        Raises:
            UsageError: a framework's version without the framework; see above.
            ContextError: a file cannot be read, changes meanwhile, or is not what was said of it.
            TemporaryError: a source does not answer now.
        """
        # Imported late, as above.
        from packager.steps.registering import ModelWish, read_model

        wish = ModelWish(
            name=name,
            path=os.fspath(path),
            tags=dict(tags or {}),
            properties=dict(properties or {}),
            description=description,
            framework=framework,
            framework_version=framework_version,
            resources=resources,
            sample_inputs=tuple(Path(each) for each in sample_inputs),
            sha256=None if sha256 is None else sha256.lower(),
            run_id=run_id,
        )
        with read_model(wish, self._telling.reporter) as (draft, files, samples):
            return self._kept.add(draft, files, samples)

    def list(
        self,
        name: str | None = None,
        *,
        tags: Iterable[str] = (),
        properties: Iterable[str] = (),
        framework: str | None = None,
        run_id: str | None = None,
        latest: bool = False,
    ) -> tuple[Version, ...]:
        """Return versions, sorted by name and number; all where nothing is asked for.

        Args:
            name: of one model.
            tags: each `KEY`, or `KEY=VALUE`; a version has all of them.
            properties: the same.
            framework: by our name or Azure ML v1's; upper and lower case are the same.
            run_id: of the run that made them.
            latest: of each name, the latest version of those alone.
        """
        wanted = Filter(tags=tuple(tags), properties=tuple(properties), framework=framework, run_id=run_id)
        if name is not None:
            check_name(name, "model")
        return select(self._telling.versions("model", name), wanted, latest=latest)

    def get(self, name: str, version: int | None = None) -> Version:
        """Return one version.

        Args:
            name: `name`, or `name:version`.
            version: its number; the latest where neither says one.
        """
        name, number = _named(name, version)
        return self._telling.get("model", name, number)

    def update(
        self,
        name: str,
        version: int | None = None,
        *,
        description: str | None = None,
        add_tags: Mapping[str, str] | None = None,
        remove_tags: Iterable[str] = (),
        add_properties: Mapping[str, str] | None = None,
    ) -> Version:
        """Change description, tags or properties, and return the version as it is then. Its digest stays.

        Args:
            name: `name`, or `name:version`.
            version: its number; the latest where neither says one.
            description: the new one; None leaves it.
            add_tags: new, or in place of those of the same names.
            remove_tags: names.
            add_properties: new ones; one that is there never changes.
        """
        change = Change(
            description=description,
            add_tags=dict(add_tags or {}),
            remove_tags=tuple(remove_tags),
            add_properties=dict(add_properties or {}),
        )
        return self._kept.change(self.get(name, version), change)

    def download(
        self, name: str, target: str | os.PathLike[str] = ".", version: int | None = None, *, overwrite: bool = False
    ) -> Path:
        """Copy the file or folder that was registered into a folder, and return its path there.

        Args:
            name: `name`, or `name:version`.
            target: the folder; made when needed.
            version: its number; the latest where neither says one.
            overwrite: replace what has the same name there.
        """
        return actions.download(self._kept, self.get(name, version), Path(target), overwrite=overwrite)

    def diff(self, one: str, other: str) -> Difference:
        """Return what differs between two versions; each is `name:version`, or `name` for the latest."""
        return actions.compare(self.get(one), self.get(other))

    def uses(self, version: Version) -> tuple[Use, ...]:
        """Return what needs a version: images and locks that this workspace knows, services of this machine."""
        return uses(self._kept, version, self._telling.reporter.detail)

    def delete(self, name: str, version: int | None = None, *, force: bool = False) -> Version:
        """Remove one version, and return what it was; its number is never given again.

        Args:
            name: `name:version`, or `name`.
            version: its number, where the name has none.
            force: also where an image, a service of this machine, or the lock of a spec needs it.

        Raises:
            UsageError: no version is named.
            NeededError: something needs it.
        """
        name, number = _named(name, version)
        if number is None:
            raise UsageError(f"which version of {name} is to be deleted?", remedy=f"name it as {name}:1")
        found = self._telling.get("model", name, number)
        if not force:
            refuse_needed(found, self.uses(found))
        self._kept.delete(found)
        return found

    def verify(self, name: str | None = None, version: int | None = None) -> tuple[Verified, ...]:
        """Read every file, and say what is not as it was registered.

        Args:
            name: `name:version` for one, `name` for all of its versions; all models where None.
            version: its number.
        """
        return self._telling.verify("model", *((None, None) if name is None else _named(name, version)))

    def push(self, name: str, reference: str, *, form: PushForm = "artifact") -> str:
        """Write a version to any place at a registry, and return the reference with its digest.

        Args:
            name: `name:version`, or `name` for the latest.
            reference: where.
            form: `artifact` for a ModelPack artifact, with description, tags and properties as they are now; `image`
                for an image with the files at its root.
        """
        from packager.workspace.artifacts import push_version

        version = self.get(name)
        self._telling.reporter.step(f"pushing {version.id} to {reference}")
        result = push_version(self._kept, version, reference, form)
        return f"{result.references[0]}@{result.digest}"

    def pull(self, reference: str, name: str | None = None, **more: object) -> Version:
        """Register what a registry has: a ModelPack artifact, a KitOps ModelKit, or an image with the files.

        Description, tags and properties that `push` wrote are taken over; those that are given here go before them.

        Args:
            reference: of it.
            name: of the model here; the one that it has there where None.
            more: as for `register`.
        """
        uri = reference if reference.startswith("oci://") else f"oci://{reference}"
        return self.register(name, uri, **more)  # type: ignore[arg-type]


def close_workspace(workspace: Kept) -> None:
    """Close the connections of a workspace that has some."""
    close = getattr(workspace, "close", None)
    if close is not None:
        close()


def write_metadata(path: Path, version: Version, workspace: Workspace) -> None:
    """Write what a model is called as JSON, in the form of `az ml model register --output-metadata-file`.

    Raises:
        ContextError: the file cannot be written.
    """
    write_text(path, json.dumps({"modelId": version.id, "workspaceName": workspace.name}, indent=2) + "\n")


def _named(name: str, version: int | None) -> tuple[str, int | None]:
    """Return name and number of what is named in one of two ways.

    Raises:
        UsageError: it is no name or version; or it is in both, and not the same.
    """
    name, number = parse_id(name, "model")
    if version is None or number == version:
        return name, number if version is None else version
    if number is not None:
        raise UsageError(f"{name}:{number} is not version {version} of it", remedy="name one of the two")
    return parse_id(f"{name}:{version}", "model")
