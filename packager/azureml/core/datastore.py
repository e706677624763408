"""`Datastore`: a folder of this machine that stands for a workspace's storage."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from packager.azureml import records
from packager.azureml.arguments import held
from packager.azureml.calling import not_here, say
from packager.azureml.exceptions import UserErrorException

if TYPE_CHECKING:
    from packager.azureml.core.workspace import Workspace

_DEFAULT = "workspaceblobstore"


@held(UserErrorException)
class Datastore:
    """A folder; only the default one is there.

    Args:
        workspace: that it is of.
        name: of it; the default one's where None.

    Raises:
        UserErrorException: there is no other.
    """

    def __init__(self, workspace: Workspace, name: str | None = None) -> None:
        if name not in (None, _DEFAULT):
            raise UserErrorException(f"Could not find datastore {name}: there is {_DEFAULT} alone, a folder here")
        self.workspace, self.name, self.datastore_type = workspace, _DEFAULT, "AzureBlob"
        self._folder = records.folder(workspace, "datastore")

    @staticmethod
    def get(workspace: Workspace, datastore_name: str) -> Datastore:
        """Return a datastore by its name; see `Datastore`."""
        return Datastore(workspace, datastore_name)

    @staticmethod
    def get_default(workspace: Workspace) -> Datastore:
        """Return the default one."""
        return Datastore(workspace)

    @staticmethod
    def register_azure_blob_container(
        workspace: Workspace,
        datastore_name: str,
        container_name: str,
        account_name: str,
        sas_token: str | None = None,
        account_key: str | None = None,
        protocol: str | None = None,
        endpoint: str | None = None,
        overwrite: bool = False,
        create_if_not_exists: bool = False,
        skip_validation: bool = False,
        blob_cache_timeout: int | None = None,
        grant_workspace_access: bool = False,
        subscription_id: str | None = None,
        resource_group: str | None = None,
    ) -> NoReturn:
        """Refuse: it would be Azure's.

        Raises:
            AzureMLException: always.
        """
        not_here("a container of blobs", "copy the files here, and give their paths")

    def upload_files(
        self,
        files: Sequence[str],
        relative_root: str | None = None,
        target_path: str | None = None,
        overwrite: bool = False,
        show_progress: bool = True,
    ) -> tuple[Datastore, str]:
        """Copy files into the folder, and return where.

        Args:
            files: of this machine.
            relative_root: folder whose part of the paths is left out; the folder of each where None.
            target_path: below the folder.
            overwrite: replace those of the same names.
            show_progress: print what is done.

        Raises:
            UserErrorException: one is not there, or the target leads out.
        """
        target = self._below(target_path)
        for each in files:
            source = Path(each)
            if not source.is_file():
                raise UserErrorException(f"{each} is not there, or no file")
            name = os.path.relpath(source, relative_root) if relative_root else source.name
            self._copy(source, self._below(f"{target_path or ''}/{name}"), overwrite, show_progress)
        return self, str(target.relative_to(self._folder))

    def upload(
        self, src_dir: str, target_path: str | None = None, overwrite: bool = False, show_progress: bool = True
    ) -> tuple[Datastore, str]:
        """Copy the files of a folder into the folder; see `upload_files`."""
        files = [str(path) for path in sorted(Path(src_dir).rglob("*")) if path.is_file()]
        return self.upload_files(files, src_dir, target_path, overwrite, show_progress)

    def download(
        self, target_path: str, prefix: str | None = None, overwrite: bool = False, show_progress: bool = True
    ) -> int:
        """Copy the files of the folder to another, and return how many.

        Args:
            target_path: the other.
            prefix: below the folder.
            overwrite: replace those of the same names.
            show_progress: print what is done.
        """
        files = [path for path in sorted(self._below(prefix).rglob("*")) if path.is_file()]
        for path in files:
            self._copy(path, Path(target_path, path.relative_to(self._folder)), overwrite, show_progress)
        return len(files)

    def path(self, path: str | None = None, data_reference_name: str | None = None) -> tuple[Datastore, str]:
        """Return what a dataset takes for a file of it."""
        return self, path or ""

    def set_as_default(self) -> None:
        """Do nothing: it is."""

    def _below(self, path: str | None) -> Path:
        found = Path(os.path.normpath(self._folder / (path or "").lstrip("/")))
        if not found.is_relative_to(self._folder):
            raise UserErrorException(f"{path} leads out of the datastore")
        return found

    def _copy(self, source: Path, target: Path, overwrite: bool, show_progress: bool) -> None:
        if target.exists() and not overwrite:
            if show_progress:
                say(f"Target already exists. Skipping upload for {target.name}")
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        if show_progress:
            say(f"Uploaded {source}")
