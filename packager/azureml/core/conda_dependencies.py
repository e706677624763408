"""`CondaDependencies`: an environment of conda and pip that is written in Python."""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from packager.azureml.arguments import held
from packager.azureml.exceptions import UserErrorException
from packager.errors import PackagerError
from packager.spec.document import parse_yaml, read_text
from packager.steps.declared import unasked_line, unasked_python

#: Of azureml-core 1.61: what an environment has that names no Python, and what `create` asks for.
PYTHON_OF_DEFAULT, PYTHON_OF_CREATE = "3.8.13", "3.10.18"
_DEFAULTS = "azureml-defaults"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
#: Packages of the SDK: `pin_sdk_version` pins them to the version that writes the environment. Here none does.
CONDA_FILE_NAME = "conda_dependencies.yml"


@held(UserErrorException)
class CondaDependencies:
    """What conda and pip install, as a conda file has it.

    Args:
        conda_dependencies_file_path: a conda file; Python and azureml-defaults where None.
    """

    def __init__(
        self, conda_dependencies_file_path: str | None = None, _underlying_structure: dict[str, Any] | None = None
    ) -> None:
        if conda_dependencies_file_path is not None:
            text, self._data = _read(Path(conda_dependencies_file_path))
            # A Python that somebody wrote in place of the default is asked for.
            unasked = unasked_python(text)
            self._asked = unasked is None or unasked not in self.conda_packages
        elif _underlying_structure is not None:
            self._data = copy.deepcopy(_underlying_structure)
            self._asked = True
        else:
            self._asked = False
            self._data = {
                "name": "project_environment",
                "dependencies": [f"python={PYTHON_OF_DEFAULT}", {"pip": [_DEFAULTS]}],
                "channels": ["anaconda", "conda-forge"],
            }
        _check(self._data)

    @staticmethod
    def create(
        pip_indexurl: str | None = None,
        pip_packages: list[str] | None = None,
        conda_packages: list[str] | None = None,
        python_version: str = PYTHON_OF_CREATE,
        pin_sdk_version: bool = True,
    ) -> CondaDependencies:
        """Return an environment of these packages.

        Args:
            pip_indexurl: an index besides pip's own.
            pip_packages: requirements; azureml-defaults where None.
            conda_packages: of conda.
            python_version: of Python.
            pin_sdk_version: is taken, and nothing is pinned: no SDK writes this environment.
        """
        made = CondaDependencies()
        if pip_indexurl:
            made.set_pip_option(f"--extra-index-url {pip_indexurl}")
        made.set_python_version(python_version)
        made._asked = python_version != PYTHON_OF_CREATE
        if pip_packages is not None:
            made.remove_pip_package(_DEFAULTS)
            for package in pip_packages:
                made.add_pip_package(package)
        for package in conda_packages or ():
            made.add_conda_package(package)
        return made

    @staticmethod
    def merge_requirements(requirements: Iterable[str]) -> list[str]:
        """Return requirements with those of one package joined by commas."""
        merged: dict[str, list[str]] = {}
        for each in requirements:
            name = _package(each)
            merged.setdefault(name, []).append(each[len(name) :].strip())
        return [name + ",".join(filter(None, parts)) for name, parts in merged.items()]

    @staticmethod
    def sdk_origin_url() -> str:
        """Return where the SDK comes from: an empty text, for there is none."""
        return ""

    def add_channel(self, channel: str) -> None:
        """Add a channel, after the others."""
        channels = self._data.setdefault("channels", [])
        if channel not in channels:
            channels.append(channel)

    def remove_channel(self, channel: str) -> None:
        """Remove a channel; one that is not there is fine."""
        self._data["channels"] = [each for each in self._data.get("channels") or [] if each != channel]

    def add_conda_package(self, conda_package: str) -> None:
        """Add a package of conda; `python=3.8` sets its version."""
        if _package(conda_package) == "python":
            self.set_python_version(_version(conda_package) or "")
        elif conda_package not in self._packages:
            self._packages.append(conda_package)

    def remove_conda_package(self, conda_package: str) -> None:
        """Remove a package of conda, as it was added.

        Raises:
            UserErrorException: it is Python.
        """
        if _package(conda_package) == "python" and conda_package in self._packages:
            raise UserErrorException("python must stay in the environment: set_python_version() changes its version")
        self._packages[:] = [each for each in self._packages if each != conda_package]

    def add_pip_package(self, pip_package: str) -> None:
        """Add a requirement of pip, in place of another for the same package.

        Raises:
            UserErrorException: it is an option.
        """
        self.remove_pip_package(pip_package)
        self._pip.append(pip_package)

    def remove_pip_package(self, pip_package: str) -> None:
        """Remove what pip is asked for of a package, whichever version.

        Raises:
            UserErrorException: it is an option.
        """
        if pip_package.startswith("-"):
            raise UserErrorException(f"{pip_package} is an option, and no package: set_pip_option() takes it")
        name = _package(pip_package)
        self._pip[:] = [each for each in self._pip if each.startswith("-") or _package(each) != name]

    def set_pip_requirements(self, pip_requirements: list[str]) -> None:
        """Replace all that pip is asked for."""
        self._pip[:] = pip_requirements

    def set_pip_option(self, pip_option: str) -> None:
        """Set an option of pip, in place of the same one.

        Raises:
            UserErrorException: it is none.
        """
        self.remove_pip_option(pip_option)
        self._pip.append(pip_option)

    def set_pip_index_url(self, index_url: str) -> None:
        """Set where pip looks: an option with its URL, as `--index-url URL`.

        Raises:
            UserErrorException: it is no option.
        """
        self.set_pip_option(index_url)

    def remove_pip_option(self, pip_option: str) -> None:
        """Remove an option of pip.

        Raises:
            UserErrorException: it is none.
        """
        if not pip_option.startswith("-"):
            raise UserErrorException(f"{pip_option} is no option of pip: one begins with -")
        name = pip_option.split()[0]
        self._pip[:] = [each for each in self._pip if not each.startswith("-") or each.split()[0] != name]

    def set_python_version(self, version: str) -> None:
        """Set the version of Python."""
        self._asked = True
        packages = self._packages
        asked = f"python={version}" if version else "python"
        for index, each in enumerate(packages):
            if isinstance(each, str) and _package(each) == "python":
                packages[index] = asked
                return
        packages.insert(0, asked)

    def get_python_version(self) -> str | None:
        """Return the version of Python; None where none is asked for."""
        return next((_version(each) for each in self.conda_packages if _package(each) == "python"), None)

    @property
    def python_is_default(self) -> bool:
        """Whether nobody asked for a version of Python: what stands there is what azureml-core writes by itself."""
        return not self._asked

    @property
    def default_python(self) -> str:
        """The package that stands for Python."""
        return next(each for each in self.conda_packages if _package(each) == "python")

    def add_tensorflow_pip_package(self, core_type: str = "cpu", version: str | None = None) -> None:
        """Add TensorFlow from pip.

        Args:
            core_type: `cpu` or `gpu`.
            version: of it.
        """
        for each in [each for each in self.pip_packages if _package(each).startswith("tensorflow")]:
            self.remove_pip_package(each)
        name = "tensorflow-gpu" if core_type == "gpu" else "tensorflow"
        self.add_pip_package(f"{name}=={version}" if version else name)

    def add_tensorflow_conda_package(self, core_type: str = "cpu", version: str | None = None) -> None:
        """Add TensorFlow from conda.

        Args:
            core_type: `cpu` or `gpu`.
            version: of it.
        """
        name = "tensorflow-gpu" if core_type == "gpu" else "tensorflow"
        self._packages[:] = [
            each for each in self._packages if not (isinstance(each, str) and _package(each).startswith("tensorflow"))
        ]
        self._packages.append(f"{name}={version}" if version else name)

    @property
    def conda_channels(self) -> Iterator[str]:
        """Channels, the first with the highest priority."""
        return iter(list(self._data.get("channels") or []))

    @property
    def conda_packages(self) -> Iterator[str]:
        """Packages of conda, with Python."""
        return iter([each for each in self._packages if isinstance(each, str)])

    @property
    def pip_packages(self) -> Iterator[str]:
        """Requirements of pip, without options."""
        return iter([each for each in self._pip_now if not each.startswith("-")])

    @property
    def pip_options(self) -> Iterator[str]:
        """Options of pip."""
        return iter([each for each in self._pip_now if each.startswith("-")])

    def as_dict(self) -> dict[str, Any]:
        """Return the conda file as values."""
        return copy.deepcopy(self._data)

    def serialize_to_string(self) -> str:
        """Return the conda file as text; its first line says where nobody asked for the Python that it names."""
        text = yaml.safe_dump(self._data, sort_keys=False, default_flow_style=False)
        return text if self._asked else unasked_line(self.get_python_version() or "") + text

    def save(self, path: str | None = None) -> str:
        """Write the conda file, and return its path.

        Args:
            path: of the file.

        Raises:
            UserErrorException: it is a folder, or in none.
        """
        target = Path(path or CONDA_FILE_NAME)
        if target.is_dir() or not target.parent.is_dir():
            problem = "is a folder" if target.is_dir() else "is in no folder that there is"
            raise UserErrorException(f"the conda file cannot be written: {target} {problem}; name a file")
        target.write_text(self.serialize_to_string(), encoding="utf-8")
        return str(path or CONDA_FILE_NAME)

    def save_to_file(self, base_directory: str, conda_file_path: str | None = None) -> str:
        """Write the conda file into a folder, and return its path there.

        Args:
            base_directory: the folder.
            conda_file_path: the file in it; `conda_dependencies.yml` in the folder of the project's configuration (or
                in the folder itself, where it has none) where None.
        """
        if not conda_file_path:
            folder = next((each for each in (".azureml", "aml_config") if Path(base_directory, each).is_dir()), "")
            conda_file_path = f"{folder}/{CONDA_FILE_NAME}" if folder else CONDA_FILE_NAME
        Path(base_directory, conda_file_path).write_text(self.serialize_to_string(), encoding="utf-8")
        return conda_file_path.replace(os.sep, "/")

    @property
    def _packages(self) -> list[Any]:
        packages: list[Any] = self._data.setdefault("dependencies", [])
        return packages

    @property
    def _pip_now(self) -> list[str]:
        found = (each["pip"] for each in self._packages if isinstance(each, Mapping) and "pip" in each)
        return list(next(found, None) or [])

    @property
    def _pip(self) -> list[str]:
        for each in self._packages:
            if isinstance(each, dict) and "pip" in each:
                each["pip"] = each["pip"] or []
                own: list[str] = each["pip"]
                return own
        own = []
        self._packages.append({"pip": own})
        return own


def _read(path: Path) -> tuple[str, dict[str, Any]]:
    """Return a file's text, and what it says."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there")
    try:
        text = read_text(path)
        return text, parse_yaml(text, path).data
    except PackagerError as error:
        raise UserErrorException(str(error), inner_exception=error) from None


def _check(data: dict[str, Any]) -> None:
    packages = data.get("dependencies") or []
    if not isinstance(packages, list) or not all(isinstance(each, str | Mapping) for each in packages):
        raise UserErrorException("it is no conda file: `dependencies` is a list of packages")
    data["dependencies"] = packages


def _package(requirement: str) -> str:
    """Return the name of a package, without version, extras and channel."""
    found = _NAME.match(requirement.strip().rpartition("::")[2])
    return found[0] if found else requirement


def _version(requirement: str) -> str | None:
    text = requirement.strip()[len(_package(requirement)) :].strip().lstrip("=<>~! ")
    return text or None
