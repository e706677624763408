"""`azureml.telemetry`: nothing is collected."""

from __future__ import annotations

from typing import Any


def set_diagnostics_collection(send_diagnostics: bool = True, verbosity: Any = None) -> None:
    """Take the wish, and collect nothing: packager sends no diagnostics anywhere."""


def get_diagnostics_collection_info(*args: Any, **kwargs: Any) -> tuple[bool, None]:
    """Return that nothing is collected."""
    return False, None
