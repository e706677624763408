"""Options that set a variable for one command: registries without TLS, and the workspace that is meant."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

import click

from packager.cli import complete

_Command = TypeVar("_Command", bound=Callable[..., Any])


def _allow_insecure(context: click.Context, parameter: click.Parameter, hosts: tuple[str, ...]) -> None:
    """Put registries into the variable that every connection looks at, for this command alone."""
    if not hosts:
        return
    from packager.errors import UsageError
    from packager.reference import INSECURE_VARIABLE, parse_insecure

    try:
        named = [entry for host in hosts for entry in parse_insecure(host)]
    except UsageError as error:
        raise click.BadParameter(f"{error.message}; {error.remedy}", context, parameter) from None
    before = os.environ.get(INSECURE_VARIABLE)
    set_for_this_run(INSECURE_VARIABLE, ",".join([*([before] if before else []), *named]))


def set_for_this_run(variable: str, value: str) -> None:
    """Set a variable until the command ends."""
    before = os.environ.get(variable)
    os.environ[variable] = value

    def restore() -> None:
        if before is None:
            os.environ.pop(variable, None)
        else:
            os.environ[variable] = before

    click.get_current_context().call_on_close(restore)


insecure_option = click.option(
    "--insecure-registry",
    metavar="HOST",
    multiple=True,
    expose_value=False,
    callback=_allow_insecure,
    help="A registry that may be spoken to without TLS, with its port (repeatable; or PACKAGER_INSECURE_REGISTRY).",
)


def _workspace(context: click.Context, parameter: click.Parameter, workspace: str | None) -> str | None:
    """Take no variable of a script that is empty for the default."""
    if workspace is not None and not workspace.strip():
        raise click.BadParameter("it is empty: name one, or leave the option out", context, parameter)
    return workspace


def _meant_workspace(context: click.Context, parameter: click.Parameter, workspace: str | None) -> None:
    """Put the workspace into the variable that says which, for this command alone."""
    if (named := _workspace(context, parameter, workspace)) is not None:
        set_for_this_run("PACKAGER_WORKSPACE", named)


def _workspace_option(of: str, **more: Any) -> Callable[[_Command], _Command]:
    return click.option(
        "-w",
        "--workspace",
        "--workspace-name",
        "workspace",
        metavar="NAME|PATH|oci://…",
        shell_complete=complete.workspaces,
        help=f"The workspace {of}.",
        **more,
    )


workspace_option = _workspace_option("(default: what `packager workspace show` says)", callback=_workspace)

#: Of verbs that take from it what a spec names, or an image wants mounted.
spec_workspace_option = _workspace_option(
    "of what is registered, in place of the spec's (or PACKAGER_WORKSPACE)",
    callback=_meant_workspace,
    expose_value=False,
)
