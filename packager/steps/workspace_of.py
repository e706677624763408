"""Which workspace a spec, or an image, is about."""

from __future__ import annotations

import os
from collections.abc import Callable
from types import TracebackType

from packager.spec.load import SpecFile
from packager.steps.chosen_workspace import chosen
from packager.steps.settings import current_settings
from packager.workspace.base import Workspace
from packager.workspace.locate import Choice, choose

#: Gives a workspace; asked only where it is needed, for it may be a registry.
OpenWorkspace = Callable[[], Workspace]


class WorkspaceOf:
    """The workspace of a spec: PACKAGER_WORKSPACE's, the spec's own, the user's, this machine's; opened when asked for.

    Args:
        spec_file: the spec; None where there is none: then it is the workspace that is meant in this folder.
    """

    def __init__(self, spec_file: SpecFile | None) -> None:
        self._spec_file = spec_file
        self._opened: Workspace | None = None

    def __call__(self) -> Workspace:
        """Return it.

        Raises:
            UsageError, SpecError: what names it is wrong.
            NotRegisteredError: it is not there.
            ContextError, RegistryError, TemporaryError: it cannot be read.
        """
        if self._opened is None:
            from packager.workspace.locate import open_workspace

            choice = choice_of(self._spec_file)
            # A path in a spec is one from its folder.
            from_spec = self._spec_file is not None and choice.by == "the spec"
            self._opened = open_workspace(choice, base=self._spec_file.root if self._spec_file and from_spec else None)
        return self._opened

    def __enter__(self) -> WorkspaceOf:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close its connections, where it has some."""
        close = getattr(self._opened, "close", None)
        self._opened = None
        if close is not None:
            close()


def choice_of(spec_file: SpecFile | None) -> Choice:
    """Return which workspace is meant.

    Raises:
        UsageError, SpecError: this user's settings, or a file of Azure ML v1, is wrong.
    """
    if spec_file is None:
        return chosen()
    used = current_settings(os.environ).workspace
    return choose(spec=spec_file.spec.workspace, used=used, start=spec_file.root)


def is_chosen(spec_file: SpecFile | None) -> bool:
    """Whether somebody chose a workspace, so that what is built is to be remembered there.

    Raises:
        UsageError, SpecError: see `choice_of`.
    """
    return choice_of(spec_file).by != "the default"
