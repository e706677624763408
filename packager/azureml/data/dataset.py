"""Datasets as far as they hold sample requests: delimited text, a row each, or files."""

from __future__ import annotations

import builtins
import csv
import io
import shutil
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Self

from packager.azureml import records
from packager.azureml.arguments import held
from packager.azureml.calling import training
from packager.azureml.core.datastore import Datastore
from packager.azureml.data.dataset_type_definitions import PromoteHeadersBehavior
from packager.azureml.exceptions import UserErrorException
from packager.scratch import scratch_until_exit

if TYPE_CHECKING:
    from packager.azureml.core.workspace import Workspace

_KIND = "datasets"


@held(UserErrorException)
class _Dataset:
    """What both kinds have.

    Attributes:
        name: that it is registered under.
        version: of it.
        id: of it.
        tags: to find it by.
        description: for people.
    """

    _type = ""

    def __init__(self, paths: Sequence[Path], **options: Any) -> None:
        self._paths, self._options = tuple(paths), options
        self.name: str | None = None
        self.version: int | None = None
        self.description: str | None = None
        self.tags: dict[str, str] = {}

    @property
    def id(self) -> str | None:
        """`name:version`; None before it is registered."""
        return f"{self.name}:{self.version}" if self.name else None

    def register(
        self,
        workspace: Workspace,
        name: str,
        description: str | None = None,
        tags: dict[str, str] | None = None,
        create_new_version: bool = False,
    ) -> Self:
        """Remember where its files are, under a name.

        Args:
            workspace: that remembers it.
            name: of it.
            description: for people.
            tags: to find it by.
            create_new_version: one of the name may be there.

        Raises:
            UserErrorException: one of the name is there, of other files.
        """
        before = records.read(workspace, _KIND, name)
        data = {"type": self._type, "paths": [str(each) for each in self._paths], "options": self._options}
        if before is not None and before.get("paths") == data["paths"]:
            return self._named(before)
        if before is not None and not create_new_version:
            raise UserErrorException(
                f"There is already a dataset registered under name {name}: create_new_version=True"
            )
        version = int(before["version"]) + 1 if before is not None else 1
        record = {**data, "name": name, "version": version, "description": description, "tags": tags or {}}
        records.write(workspace, _KIND, name, record)
        return self._named(record)

    def _named(self, data: Mapping[str, Any]) -> Self:
        self.name, self.version = str(data["name"]), int(data["version"])
        self.description, self.tags = data.get("description"), dict(data.get("tags") or {})
        return self

    def as_named_input(self, name: str) -> NoReturn:
        """Refuse: it would be an input of a run.

        Raises:
            TrainingException: always.
        """
        training("a dataset as the input of a run")

    def unregister_all_versions(self) -> None:
        """Do nothing: `Dataset.get_by_name` gives the newest one, and nothing else is kept."""


@held(UserErrorException)
class TabularDataset(_Dataset):
    """Delimited text; each row is a request body."""

    _type = "tabular"

    def rows(self) -> Iterator[list[str]]:
        """Yield the rows, without those that name the columns."""
        for number, path in enumerate(self._paths):
            reader = csv.reader(io.StringIO(path.read_text(encoding="utf-8")), delimiter=self._separator)
            rows = list(reader)
            yield from rows[1:] if self._has_header(number) else rows

    @property
    def _separator(self) -> str:
        return str(self._options.get("separator") or ",")

    def _has_header(self, number: int) -> bool:
        header = self._options.get("header", True)
        if header == PromoteHeadersBehavior.ONLY_FIRST_FILE_HAS_HEADERS.value and header is not True:
            return number == 0
        return bool(header)

    def take(self, count: int) -> TabularDataset:
        """Return it: nothing is read before it is needed, and its files are small."""
        return self

    def to_pandas_dataframe(self, on_error: str = "null", out_of_range_datetime: str = "null") -> Any:
        """Return the rows as a DataFrame; pandas is yours.

        Raises:
            ImportError: there is no pandas.
        """
        import pandas

        names = None
        if self._paths and self._has_header(0):
            with self._paths[0].open(encoding="utf-8", newline="") as stream:
                names = next(csv.reader(stream, delimiter=self._separator), None)
        return pandas.DataFrame(list(self.rows()), columns=names)


@held(UserErrorException)
class FileDataset(_Dataset):
    """Files."""

    _type = "file"

    def to_path(self) -> list[str]:
        """Return their names."""
        return [f"/{each.name}" for each in self._paths]

    def download(
        self, target_path: str | None = None, overwrite: bool = False, ignore_not_found: bool = False
    ) -> list[str]:
        """Copy them into a folder, and return their paths there."""
        folder = Path(target_path or ".")
        folder.mkdir(parents=True, exist_ok=True)
        made = []
        for each in self._paths:
            target = folder / each.name
            if target.exists() and not overwrite:
                raise UserErrorException(f"{target} is there already: overwrite=True replaces it")
            shutil.copyfile(each, target)
            made.append(str(target))
        return made


@held(UserErrorException)
class _TabularFactory:
    """`Dataset.Tabular`."""

    @staticmethod
    def from_delimited_files(
        path: Any,
        validate: bool = True,
        include_path: bool = False,
        infer_column_types: bool = True,
        set_column_types: Any = None,
        separator: str = ",",
        header: Any = True,
        partition_format: str | None = None,
        support_multi_line: bool = False,
        empty_as_string: bool = False,
        encoding: str = "utf8",
    ) -> TabularDataset:
        """Return the rows of delimited text.

        Args:
            path: `(datastore, path)`, a path of this machine or a URL, or a list of them.
            separator: between columns.
            header: whether files begin with the names of columns, or a `PromoteHeadersBehavior`.
            validate: is not needed: a row is text.
            include_path: is not needed.
            infer_column_types: is not needed.
            set_column_types: is not needed.
            partition_format: is not needed.
            support_multi_line: is not needed.
            empty_as_string: is not needed.
            encoding: is not needed: files are UTF-8.

        Raises:
            UserErrorException: a file is not there.
        """
        value = header.value if isinstance(header, PromoteHeadersBehavior) else bool(header)
        return TabularDataset(_files(path), separator=separator, header=value)


@held(UserErrorException)
class _FileFactory:
    """`Dataset.File`."""

    @staticmethod
    def from_files(
        path: Any, validate: bool = True, partition_format: str | None = None, is_file: bool = False
    ) -> FileDataset:
        """Return files; `path` as of `Dataset.Tabular.from_delimited_files`."""
        return FileDataset(_files(path))


@held(UserErrorException)
class Dataset:
    """Datasets by name, and what makes them."""

    Tabular = _TabularFactory
    File = _FileFactory

    def __init__(
        self, definition: Any, workspace: Workspace | None = None, name: str | None = None, id: str | None = None
    ) -> None:
        raise UserErrorException("Dataset.Tabular.from_delimited_files and Dataset.File.from_files make datasets")

    @staticmethod
    def get_by_name(workspace: Workspace, name: str, version: Any = "latest", **kwargs: Any) -> Any:
        """Return a dataset that is registered.

        Raises:
            UserErrorException: there is none.
        """
        data = records.read(workspace, _KIND, name)
        if data is None or (version not in ("latest", None) and int(version) != data["version"]):
            raise UserErrorException(f"Cannot find dataset registered with name {name!r} (version: {version})")
        return _of(data)

    @staticmethod
    def get_by_id(workspace: Workspace, id: str, **kwargs: Any) -> Any:
        """Return a dataset that is registered, by `name:version`; see `get_by_name`."""
        name, _, version = id.partition(":")
        return Dataset.get_by_name(workspace, name, version or "latest")

    @staticmethod
    def get_all(workspace: Workspace) -> dict[str, Any]:
        """Return name → dataset."""
        return {name: _of(data) for name, data in records.read_all(workspace, _KIND).items()}


def _of(data: Mapping[str, Any]) -> TabularDataset | FileDataset:
    kind = TabularDataset if data.get("type") == "tabular" else FileDataset
    return kind([Path(each) for each in data["paths"]], **data.get("options", {}))._named(data)


def _files(path: Any) -> builtins.list[Path]:
    """Return the files that somebody names, sorted where a name has wildcards."""
    if isinstance(path, builtins.list):
        return [each for one in path for each in _files(one)]
    if isinstance(path, tuple):
        datastore, relative = path
        if not isinstance(datastore, Datastore):
            raise UserErrorException("a dataset is of (datastore, path), and the first is no datastore")
        return _expanded(datastore._below(str(relative)), str(relative))
    text = str(path)
    if text.startswith(("http://", "https://")):
        return [_fetched(text)]
    return _expanded(Path(text).absolute(), text)


def _expanded(path: Path, shown: str) -> builtins.list[Path]:
    if path.is_file():
        return [path]
    found: Iterable[Path] = (
        path.rglob("*") if path.is_dir() else Path(path.anchor).glob(str(path.relative_to(path.anchor)))
    )
    files = sorted(each for each in found if each.is_file())
    if not files:
        raise UserErrorException(f"Cannot load any data from the specified path: {shown} is not there")
    return files


def _fetched(url: str) -> Path:
    """Fetch what a dataset names into a temporary file, which stays as long as this process: it may be read again."""
    folder = Path(scratch_until_exit("packager-dataset-"))
    target = folder / (url.rpartition("/")[2].partition("?")[0] or "data")
    try:
        with urllib.request.urlopen(url, timeout=60) as answer, target.open("wb") as stream:
            shutil.copyfileobj(answer, stream)
    except OSError as error:
        raise UserErrorException(f"{url} cannot be fetched: {error}") from None
    return target
