"""What v1's classes remember beside a workspace (`packager.steps.v1_records`), by v1's object of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from packager.steps import v1_records

if TYPE_CHECKING:
    from packager.azureml.core.workspace import Workspace


def root(workspace: Workspace) -> Path:
    """Return the folder of all that is remembered; it need not be there."""
    return v1_records.root_of(workspace.name, workspace._facade.location)


def folder(workspace: Workspace, kind: str) -> Path:
    """Return the folder of what is remembered of one kind; it need not be there."""
    return root(workspace) / kind


def read(workspace: Workspace, kind: str, name: str) -> dict[str, Any] | None:
    """Return one record; None where there is none, or it is no record any more."""
    return v1_records.read(root(workspace), kind, name)


def read_all(workspace: Workspace, kind: str) -> dict[str, dict[str, Any]]:
    """Return name → record, sorted by name."""
    return v1_records.read_all(root(workspace), kind)


def write(workspace: Workspace, kind: str, name: str, data: dict[str, Any]) -> None:
    """Write one record, in one step.

    Raises:
        ContextError: it cannot be written.
    """
    v1_records.write(root(workspace), kind, name, data)


def remove(workspace: Workspace, kind: str, name: str) -> None:
    """Remove one record; one that is not there is fine."""
    v1_records.remove(root(workspace), kind, name)
