"""`Workspace`: a workspace of packager, under the name that `config.json` has."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packager.azureml.arguments import held
from packager.azureml.calling import not_here, raises, tell
from packager.azureml.exceptions import UserErrorException, WorkspaceException

if TYPE_CHECKING:
    from packager.azureml.core.compute import ComputeTarget
    from packager.azureml.core.datastore import Datastore
    from packager.azureml.core.environment import Environment
    from packager.azureml.core.image import Image
    from packager.azureml.core.model import Model
    from packager.azureml.core.webservice import Webservice

_CONFIG, _FOLDER = "config.json", ".azureml"
#: What an attribute is that no file says.
_PLACE = {"subscription_id": "00000000-0000-0000-0000-000000000000", "resource_group": "local", "location": "local"}


class Warnings:
    """Hears what may be wrong, and nothing else: v1 prints lines of its own."""

    def step(self, text: str) -> None:
        """Leave out what is done."""

    def detail(self, text: str) -> None:
        """Leave out what only matters when looking closely."""

    def warn(self, text: str) -> None:
        """Write what may be wrong."""
        tell(f"warning: {text}")


@held(WorkspaceException)
class Workspace:
    """A workspace of packager, made with the first thing that is registered.

    Args:
        subscription_id: is kept, and says nothing here.
        resource_group: is kept, and says nothing here.
        workspace_name: of the workspace; PACKAGER_WORKSPACE goes before it.
        auth: is not used.
    """

    @raises(WorkspaceException)
    def __init__(
        self,
        subscription_id: str,
        resource_group: str,
        workspace_name: str,
        auth: Any = None,
        _location: str | None = None,
        _disable_service_check: bool = False,
        _workspace_id: str | None = None,
        sku: str = "basic",
        tags: dict[str, str] | None = None,
        _cloud: str = "AzureCloud",
    ) -> None:
        self._fill(workspace_name, "Workspace()", subscription_id, resource_group, _location)

    def _fill(
        self,
        name: str | None,
        by: str,
        subscription_id: str | None = None,
        resource_group: str | None = None,
        location: str | None = None,
    ) -> None:
        from packager.steps.chosen_workspace import chosen, kept
        from packager.steps.workspace import Workspace as Facade
        from packager.workspace.locate import VARIABLE, Choice

        choice = Choice(wish=name, by=by, make=True) if name and not os.environ.get(VARIABLE) else chosen()
        self._facade = Facade.of(kept(choice), reporter=Warnings())
        self._name = name or self._facade.name
        self._subscription_id = subscription_id or _PLACE["subscription_id"]
        self._resource_group = resource_group or _PLACE["resource_group"]
        self._location = location or _PLACE["location"]

    @staticmethod
    @raises(WorkspaceException)
    def from_config(
        path: str | None = None, auth: Any = None, _logger: Any = None, _file_name: str | None = None
    ) -> Workspace:
        """Return the workspace that `.azureml/config.json` or `config.json` names, here or in a folder above.

        Without such a file it is the one that packager's verbs take; standard error says which.

        Args:
            path: a file, or the folder to look in.
            auth: is not used.

        Raises:
            UserErrorException: the file that is named is not there, or none of Azure ML.
        """
        found = _find_config(path, _file_name or _CONFIG)
        made = Workspace.__new__(Workspace)
        if found is None:
            if path is not None:
                raise UserErrorException(
                    f"The workspace configuration file {_file_name or _CONFIG}, could not be found in {path} or its "
                    "parent directories."
                )
            made._fill(None, "")
            tell(f"no {_CONFIG} of Azure ML here: taking the workspace {made.name} ({made._facade.location})")
            return made
        file, data = found
        made._fill(data["workspace_name"], str(file), data.get("subscription_id"), data.get("resource_group"))
        return made

    @staticmethod
    def get(
        name: str,
        auth: Any = None,
        subscription_id: str | None = None,
        resource_group: str | None = None,
        location: str | None = None,
        cloud: str = "AzureCloud",
        id: str | None = None,
    ) -> Workspace:
        """Return a workspace that is there; one that names its place in Azure is taken as config.json's is.

        Raises:
            WorkspaceException: it is not there, and the call says no subscription and resource group that it was in.
        """
        made = Workspace(subscription_id or "", resource_group or "", name, _location=location)
        if not _is_there(made) and subscription_id and resource_group:
            tell(f"the workspace {name} was in Azure, and is a new one here ({made._facade.location})")
        elif not _is_there(made):
            raise WorkspaceException(f"Workspaces not found: there is no workspace {name!r}; Workspace.create makes it")
        return made

    @staticmethod
    @raises(WorkspaceException)
    def create(
        name: str,
        auth: Any = None,
        subscription_id: str | None = None,
        resource_group: str | None = None,
        location: str | None = None,
        create_resource_group: bool = True,
        sku: str = "basic",
        tags: dict[str, str] | None = None,
        friendly_name: str | None = None,
        storage_account: str | None = None,
        key_vault: str | None = None,
        app_insights: str | None = None,
        container_registry: str | None = None,
        adb_workspace: Any = None,
        primary_user_assigned_identity: str | None = None,
        cmk_keyvault: str | None = None,
        resource_cmk_uri: str | None = None,
        hbi_workspace: bool = False,
        default_cpu_compute_target: Any = None,
        default_gpu_compute_target: Any = None,
        private_endpoint_config: Any = None,
        private_endpoint_auto_approval: bool = True,
        exist_ok: bool = False,
        show_output: bool = True,
        user_assigned_identity_for_cmk_encryption: str | None = None,
        system_datastores_auth_mode: str = "accessKey",
        v1_legacy_mode: bool | None = None,
    ) -> Workspace:
        """Make a workspace; what else is said is for Azure, and passed over.

        Raises:
            WorkspaceException: it is there, and `exist_ok` is not said.
        """
        made = Workspace(subscription_id or "", resource_group or "", name, _location=location)
        if _is_there(made) and not exist_ok:
            raise WorkspaceException(f"Workspace with name {name!r} already exists; exist_ok=True takes it")
        if create := getattr(made._facade.kept, "create", None):
            create()
        return made

    @staticmethod
    def list(subscription_id: str, auth: Any = None, resource_group: str | None = None) -> dict[str, list[Workspace]]:
        """Return name → the workspaces of this user that have it."""
        from packager.workspace.locate import workspaces_root

        names = sorted(path.parent.name for path in workspaces_root().glob("*/workspace.json"))
        return {name: [Workspace(subscription_id, resource_group or "", name)] for name in names}

    @staticmethod
    def setup() -> Workspace:
        """Return what `from_config` does."""
        return Workspace.from_config()

    def write_config(self, path: str | None = None, file_name: str | None = None) -> None:
        """Write `.azureml/config.json` below a folder.

        Args:
            path: the folder; the current one where None.
            file_name: in place of `config.json`.
        """
        folder = Path(path or ".") / _FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        data = {
            "subscription_id": self.subscription_id, "resource_group": self.resource_group, "workspace_name": self.name,
        }  # fmt: skip
        (folder / (file_name or _CONFIG)).write_text(json.dumps(data, indent=4) + "\n", encoding="utf-8")

    @property
    def name(self) -> str:
        """The workspace's name, as `config.json` has it."""
        return self._name

    @property
    def subscription_id(self) -> str:
        """As `config.json` has it; zeros where it does not."""
        return self._subscription_id

    @property
    def resource_group(self) -> str:
        """As `config.json` has it; `local` where it does not."""
        return self._resource_group

    @property
    def location(self) -> str:
        """As it was given; `local` where it was not. Where the workspace is, `packager workspace show` says."""
        return self._location

    @property
    def sku(self) -> str:
        """`basic`: there is no other."""
        return "basic"

    @property
    def tags(self) -> dict[str, str]:
        """None: a workspace has no tags here."""
        return {}

    @property
    def models(self) -> Mapping[str, Model]:
        """Name → the latest version of each model."""
        from packager.azureml.core.model import Model

        return {each.name: each for each in Model.list(self, latest=True)}

    @property
    def environments(self) -> Mapping[str, Environment]:
        """Name → environment: the latest registered ones, and curated ones under v1's names."""
        from packager.azureml.core.environment import Environment

        return Environment.list(self)

    @property
    def webservices(self) -> Mapping[str, Webservice]:
        """Name → service."""
        from packager.azureml.core.webservice import Webservice

        return {each.name: each for each in Webservice.list(self)}

    @property
    def images(self) -> Mapping[str, Image]:
        """Name → image that the old image API made."""
        from packager.azureml.core.image import Image

        return {each.name: each for each in Image.list(self)}

    @property
    def compute_targets(self) -> Mapping[str, ComputeTarget]:
        """Name → compute target: all of them are this machine."""
        from packager.azureml.core.compute import ComputeTarget

        return {each.name: each for each in ComputeTarget.list(self)}

    @property
    def datastores(self) -> Mapping[str, Datastore]:
        """The default one."""
        return {"workspaceblobstore": self.get_default_datastore()}

    @property
    def datasets(self) -> Mapping[str, Any]:
        """Name → dataset that is registered."""
        from packager.azureml.core.dataset import Dataset

        return Dataset.get_all(self)

    @property
    def experiments(self) -> Mapping[str, Any]:
        """None: what trains is not packager's."""
        return {}

    def get_default_datastore(self) -> Datastore:
        """Return the folder that stands for the default datastore."""
        from packager.azureml.core.datastore import Datastore

        return Datastore.get_default(self)

    def get_details(self) -> dict[str, Any]:
        """Return name, place and placeholders."""
        return {
            "name": self.name, "location": self.location, "sku": {"name": self.sku},
            "workspaceid": self._facade.location, "friendlyName": self._facade.name,
        }  # fmt: skip

    def get_mlflow_tracking_uri(self, _with_auth: bool = False) -> str:
        """Refuse: runs are not kept here.

        Raises:
            AzureMLException: always.
        """
        not_here("the tracking server of a workspace", "name your own: MLFLOW_TRACKING_URI")

    def delete(self, delete_dependent_resources: bool = False, no_wait: bool = False) -> None:
        """Refuse: a script does not remove what others registered.

        Raises:
            WorkspaceException: always.
        """
        raise WorkspaceException(f"a workspace is deleted by hand: remove {self._facade.location}")

    def __repr__(self) -> str:
        return (
            f"Workspace.create(name={self.name!r}, subscription_id={self.subscription_id!r}, "
            f"resource_group={self.resource_group!r})"
        )


def _is_there(workspace: Workspace) -> bool:
    return bool(getattr(workspace._facade.kept, "exists", True))


def _find_config(path: str | None, file_name: str) -> tuple[Path, dict[str, Any]] | None:
    start = Path(path or ".")
    if start.is_file():
        return start, _config(start)
    if path is not None and not start.is_dir():
        return None
    for folder in (start.absolute(), *start.absolute().parents):
        for each in (folder / _FOLDER / file_name, folder / "aml_config" / file_name, folder / file_name):
            if each.is_file():
                try:
                    return each, _config(each)
                except UserErrorException:
                    # A `config.json` of something else is passed over; one in a folder of Azure ML's own is wrong.
                    if each.parent != folder:
                        raise
    return None


def _config(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise UserErrorException(f"{path} is not valid JSON: {error}") from None
    if not isinstance(data, dict) or not isinstance(data.get("workspace_name"), str):
        raise UserErrorException(f"{path} names no workspace_name")
    return data
