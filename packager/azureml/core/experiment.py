"""`Experiment`: a name; runs of it are training."""

from __future__ import annotations

import builtins
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NoReturn

from packager.azureml.arguments import held
from packager.azureml.calling import training
from packager.azureml.exceptions import UserErrorException

if TYPE_CHECKING:
    from packager.azureml.core.run import Run
    from packager.azureml.core.workspace import Workspace


@held(UserErrorException)
class Experiment:
    """A name for runs.

    Args:
        workspace: that it is of.
        name: of it.
    """

    def __init__(
        self,
        workspace: Workspace,
        name: str,
        _skip_name_validation: bool = False,
        _id: str | None = None,
        _archived_time: Any = None,
        _create_in_cloud: bool = True,
        _experiment_dto: Any = None,
        **kwargs: Any,
    ) -> None:
        self.workspace, self.name, self.id = workspace, name, _id or name
        self.tags: dict[str, str] = {}

    def submit(self, config: Any, tags: dict[str, str] | None = None, **kwargs: Any) -> NoReturn:
        """Refuse: it would train.

        Raises:
            TrainingException: always.
        """
        training("Experiment.submit")

    def start_logging(self, *args: Any, **kwargs: Any) -> Run:
        """Return a run of this process, which keeps what is logged for itself."""
        from packager.azureml.core.run import Run

        return Run._offline(self)

    def get_runs(
        self, type: str | None = None, tags: Any = None, properties: Any = None, include_children: bool = False
    ) -> Iterator[Run]:
        """Return no run: none is kept."""
        return iter(())

    @staticmethod
    def list(
        workspace: Workspace, experiment_name: str | None = None, view_type: str = "ActiveOnly", tags: Any = None
    ) -> builtins.list[Experiment]:
        """Return no experiment: none is kept."""
        return []
