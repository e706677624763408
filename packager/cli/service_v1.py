"""`packager service run`, `get-logs`, `get-keys`, `regen-key`, `get-access-token`: names that `az ml service` has."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from packager.cli import complete
from packager.cli.common import Reporter, emit, emit_json, format_option, standard_options

if TYPE_CHECKING:
    from packager.serving.service import KeyPair

_Command = TypeVar("_Command", bound=Callable[..., Any])


def _named(command: _Command) -> _Command:
    """Let a service be named as an argument or by `-n`."""
    option = click.option(
        "-n", "--name", "by_name", metavar="NAME", shell_complete=complete.services, help="The service."
    )
    return click.argument("service", required=False, metavar="[NAME]", shell_complete=complete.services)(
        option(command)
    )


def _one(service: str | None, by_name: str | None) -> str:
    """Return the service that is named in one of the two ways.

    Raises:
        UsageError: none is named, or two are; or it is no name.
    """
    from packager.errors import UsageError
    from packager.steps.service import service_name

    said = [each for each in (service, by_name) if each is not None]
    if len(said) != 1:
        wrong = f"{said[0]} and {said[1]} are both named" if said else "no service is named"
        raise UsageError(wrong, remedy="name one, as NAME or -n NAME")
    return service_name(said[0])


@click.command("run")
@_named
@click.option("-d", "--input-data", "data", required=True, metavar="JSON|FILE|-", help="The body of the request.")
@standard_options
def run_command(service: str | None, by_name: str | None, data: str, reporter: Reporter) -> None:
    """Post a request to a service, with its key where it needs one, and print the body of the answer.

    The same as `packager service score NAME --data DATA`, for data that is JSON.
    """
    from packager.cli.score import post

    options: dict[str, Any] = {
        "form": (),
        "headers": (),
        "binary": False,
        "timeout": 60.0,
        "key": None,
        "key_file": None,
    }
    post(None, _one(service, by_name), data, reporter, output_format="text", **options)


@click.command("get-logs")
@_named
@click.option(
    "--num-lines", "lines", type=click.IntRange(min=1), default=5000, show_default=True, help="The last ones."
)
@standard_options
def get_logs_command(service: str | None, by_name: str | None, lines: int, reporter: Reporter) -> None:
    """Print the last lines that a service wrote; `packager service logs` also follows them."""
    from packager.steps.service import logs

    for chunk in logs(_one(service, by_name), lines):
        sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()


@click.command("get-keys")
@_named
@format_option
@standard_options
def get_keys_command(service: str | None, by_name: str | None, output_format: str, reporter: Reporter) -> None:
    """Print the keys of a service, as `packager service keys` does."""
    from packager.steps.service import show_keys

    _show_keys(show_keys(_one(service, by_name)), output_format)


@click.command("regen-key")
@_named
@click.option(
    "-k",
    "--key",
    "which",
    required=True,
    type=click.Choice(["Primary", "Secondary"], case_sensitive=False),
    help="The one that is made new; requests with the other go on.",
)
@format_option
@standard_options
def regen_key_command(
    service: str | None, by_name: str | None, which: str, output_format: str, reporter: Reporter
) -> None:
    """Make one key of a service new, and print both."""
    from packager.steps.service import show_keys

    chosen: Any = which.lower()
    _show_keys(show_keys(_one(service, by_name), chosen), output_format)


@click.command("get-access-token")
@_named
@format_option
@standard_options
def get_access_token_command(service: str | None, by_name: str | None, output_format: str, reporter: Reporter) -> None:
    """Print a token for requests to a service, which ends after 12 hours, or when its primary key is made new."""
    from datetime import UTC, datetime

    from packager.steps.service import access_token

    token = access_token(_one(service, by_name))
    if output_format == "json":
        refresh, end = (datetime.fromtimestamp(each, UTC).isoformat() for each in (token.refresh, token.end))
        emit_json({"access_token": token.text, "token_type": "Bearer", "refresh_after": refresh, "expires": end})
    else:
        emit(token.text)


def _show_keys(found: KeyPair, output_format: str) -> None:
    if output_format == "json":
        emit_json({"primary": found.primary, "secondary": found.secondary})
        return
    emit(f"primary    {found.primary}\nsecondary  {found.secondary}")
