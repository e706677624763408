"""The exceptions of Azure ML's SDK v1; each has `.message`."""

from __future__ import annotations

import json
from typing import Any

__all__ = [
    "AuthenticationException", "AzureMLException", "ComputeTargetException", "ExperimentExecutionException",
    "ModelNotFoundException", "ModelPathNotFoundException", "ProjectSystemException", "RunConfigurationException",
    "RunEnvironmentException", "TrainingException", "UserErrorException", "WebserviceException", "WorkspaceException",
]  # fmt: skip


class AzureMLException(Exception):  # noqa: N818
    """Something went wrong.

    Args:
        exception_message: what.
        inner_exception: why.
        kwargs: others that callers give, and that say nothing more here.
    """

    _error_code: str | None = None

    def __init__(
        self,
        exception_message: str,
        inner_exception: BaseException | None = None,
        target: Any = None,
        details: Any = None,
        message_format: str | None = None,
        message_parameters: Any = None,
        reference_code: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(exception_message)
        self._message = str(exception_message)
        self._inner_exception = inner_exception

    @property
    def message(self) -> str:
        """What went wrong."""
        return self._message

    @message.setter
    def message(self, value: str) -> None:
        self._message = value

    @property
    def inner_exception(self) -> BaseException | None:
        """Why; None where nothing else was raised."""
        return self._inner_exception

    def __repr__(self) -> str:
        error = {**({"code": self._error_code} if self._error_code else {}), "message": self._message}
        inner = str(self._inner_exception).partition("\n")[0]
        return (
            f"{type(self).__name__}:\n\tMessage: {self._message}\n\tInnerException {inner}\n"
            f"\tErrorResponse \n{json.dumps({'error': error}, indent=4)}"
        )

    def __str__(self) -> str:
        return repr(self)


class UserErrorException(AzureMLException):
    """Something cannot be meant so."""

    _error_code = "UserError"

    def __init__(self, exception_message: str, **kwargs: Any) -> None:
        super().__init__(exception_message, **kwargs)


class AuthenticationException(UserErrorException):
    """Somebody is not let in."""

    _error_code = "Authentication"


class ComputeTargetException(AzureMLException):
    """There is no such compute target, or it cannot be had."""

    def __init__(self, exception_message: str, **kwargs: Any) -> None:
        super().__init__(exception_message, **kwargs)


class WebserviceException(AzureMLException):
    """A model, an image or a service is not there, or failed.

    Args:
        exception_message: what.
        status_code: of HTTP, where a service answered.
        logger: is not used.
        kwargs: as of `AzureMLException`.
    """

    def __init__(
        self, exception_message: str, status_code: int | None = None, logger: Any = None, **kwargs: Any
    ) -> None:
        super().__init__(exception_message, **kwargs)
        self.status_code = status_code


class ModelNotFoundException(AzureMLException):
    """There is no such model."""

    def __init__(self, exception_message: str, logger: Any = None, **kwargs: Any) -> None:
        super().__init__(exception_message, **kwargs)


class ModelPathNotFoundException(ModelNotFoundException):
    """There is no such file of a model."""


class WorkspaceException(AzureMLException):
    """There is no such workspace, or it cannot be had."""

    def __init__(self, exception_message: str, found_multiple: bool = False, **kwargs: Any) -> None:
        super().__init__(exception_message, **kwargs)
        self.found_multiple = found_multiple


class ProjectSystemException(AzureMLException):
    """A file of the project is not there, or wrong."""

    def __init__(self, exception_message: str, **kwargs: Any) -> None:
        super().__init__(exception_message, **kwargs)


class ExperimentExecutionException(ProjectSystemException):
    """An experiment cannot be had."""


class RunConfigurationException(ProjectSystemException):
    """The configuration of a run is wrong."""


class TrainingException(ProjectSystemException):
    """Training, which is not packager's."""


class RunEnvironmentException(AzureMLException):
    """There is no run that was submitted."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            kwargs.pop("exception_message", "this process is no submitted run: it has no environment of one"), **kwargs
        )
