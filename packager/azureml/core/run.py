"""`Run`: this process, as a run that nobody submitted; it registers models."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn, Self

from packager.azureml.arguments import held
from packager.azureml.calling import say, training
from packager.azureml.core.experiment import Experiment
from packager.azureml.exceptions import RunEnvironmentException, UserErrorException

if TYPE_CHECKING:
    from packager.azureml.core.model import Model
    from packager.azureml.core.resource_configuration import ResourceConfiguration
    from packager.azureml.core.workspace import Workspace


@held(UserErrorException)
class Run:
    """A run: of this process, or one that is named, to register models of it.

    Args:
        experiment: that it is of.
        run_id: of it; it stays with the models that it registers.

    Attributes:
        id: of it.
        experiment: that it is of.
        metrics: what was logged, by name.
    """

    def __init__(self, experiment: Experiment | None, run_id: str, outputs: Any = None, **kwargs: Any) -> None:
        self.experiment, self.id = experiment, run_id
        self.tags: dict[str, str] = {}
        self.properties: dict[str, str] = {}
        self.metrics: dict[str, Any] = {}
        self.status, self.name, self.number, self.type = "Running", run_id, 0, None

    @classmethod
    def _offline(cls, experiment: Experiment | None) -> Self:
        return cls(experiment, f"OfflineRun_{secrets.token_hex(8)}")

    @classmethod
    def get_context(cls, allow_offline: bool = True, used_for_context_manager: bool = False, **kwargs: Any) -> Self:
        """Return this process as a run.

        Args:
            allow_offline: False refuses: nobody submitted it.
            used_for_context_manager: is not needed.
            kwargs: are not needed.

        Raises:
            RunEnvironmentException: it is not to be offline.
        """
        if not allow_offline:
            raise RunEnvironmentException()
        return cls._offline(None)

    @staticmethod
    def get(workspace: Workspace, run_id: str) -> Run:
        """Return a run of that id, to register models of it; nothing else is known of it."""
        return Run(Experiment(workspace, "unknown"), run_id)

    @property
    def _workspace(self) -> Workspace:
        from packager.azureml.core.workspace import Workspace

        return self.experiment.workspace if self.experiment is not None else Workspace.from_config()

    def register_model(
        self,
        model_name: str,
        model_path: str | None = None,
        tags: dict[str, str] | None = None,
        properties: dict[str, str] | None = None,
        model_framework: str | None = None,
        model_framework_version: str | None = None,
        description: str | None = None,
        datasets: Sequence[Any] | None = None,
        sample_input_dataset: Any = None,
        sample_output_dataset: Any = None,
        resource_configuration: ResourceConfiguration | None = None,
        **kwargs: Any,
    ) -> Model:
        """Register a file or folder of this machine as a model of this run; parameters as azureml-core 1.61 has them.

        Raises:
            WebserviceException: see `Model.register`.
        """
        from packager.azureml.core.model import Model

        return Model._register(
            self._workspace, model_path or model_name, model_name, tags, properties, description, datasets,
            model_framework, model_framework_version, None, sample_input_dataset, sample_output_dataset,
            resource_configuration, run_id=self.id if not self.id.startswith("OfflineRun_") else None,
        )  # fmt: skip

    def log(self, name: str, value: Any, description: str = "", step: int | None = None) -> None:
        """Keep a value for as long as this process runs, and print it, as v1 does offline."""
        self.metrics[name] = value
        say(f"Attempted to log scalar metric {name}:\n{value}")

    def log_list(self, name: str, value: Sequence[Any], description: str = "") -> None:
        """Keep values for as long as this process runs."""
        self.metrics[name] = list(value)

    def log_row(self, name: str, description: str | None = None, **kwargs: Any) -> None:
        """Keep a row for as long as this process runs."""
        self.metrics[name] = kwargs

    def log_table(self, name: str, value: dict[str, Any], description: str = "") -> None:
        """Keep a table for as long as this process runs."""
        self.metrics[name] = dict(value)

    def log_image(self, name: str, path: str | None = None, plot: Any = None, description: str = "") -> None:
        """Keep the path of an image for as long as this process runs."""
        self.metrics[name] = path

    def get_metrics(
        self, name: str | None = None, recursive: bool = False, run_type: Any = None, populate: bool = False
    ) -> dict[str, Any]:
        """Return what was logged, of one name where one is given."""
        return {key: value for key, value in self.metrics.items() if name in (None, key)}

    def tag(self, key: str, value: str | None = None) -> None:
        """Keep a tag for as long as this process runs."""
        self.tags[key] = str(value)

    def set_tags(self, tags: dict[str, str]) -> None:
        """Keep tags for as long as this process runs."""
        self.tags.update(tags)

    def add_properties(self, properties: dict[str, str]) -> None:
        """Keep properties for as long as this process runs."""
        self.properties.update(properties)

    def get_tags(self) -> dict[str, str]:
        """Return the tags."""
        return dict(self.tags)

    def get_properties(self) -> dict[str, str]:
        """Return the properties."""
        return dict(self.properties)

    def upload_file(self, name: str, path_or_stream: Any, datastore_name: str | None = None) -> None:
        """Do nothing: files stay where they are."""

    def upload_folder(self, name: str, path: str, datastore_name: str | None = None) -> None:
        """Do nothing: files stay where they are."""

    def complete(self, _set_status: bool = True) -> None:
        """Note that it is done."""
        self.status = "Completed"

    def fail(self, error_details: Any = None, error_code: Any = None, _set_status: bool = True) -> None:
        """Note that it failed."""
        self.status = "Failed"

    def get_status(self) -> str:
        """Return `Running`, `Completed` or `Failed`."""
        return self.status

    def flush(self, timeout_seconds: int = 300) -> None:
        """Do nothing: nothing is sent."""

    def wait_for_completion(
        self, show_output: bool = False, wait_post_processing: bool = False, raise_on_error: bool = True
    ) -> dict[str, Any]:
        """Return what is known of it: it is this process."""
        return {"runId": self.id, "status": self.status}

    def child_run(self, name: str | None = None, run_id: str | None = None, outputs: Any = None) -> NoReturn:
        """Refuse: it would train.

        Raises:
            TrainingException: always.
        """
        training("Run.child_run")

    def submit_child(self, config: Any, tags: dict[str, str] | None = None, **kwargs: Any) -> NoReturn:
        """Refuse; see `child_run`."""
        training("Run.submit_child")

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def __exit__(self, kind: Any, value: Any, traceback: Any) -> None:
        """Note how it ended."""
        self.complete() if kind is None else self.fail()
