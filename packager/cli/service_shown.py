"""`packager service`: what shows services, asks them, and prints their keys."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from packager.cli import complete
from packager.cli.common import Reporter, emit, emit_json, format_option, standard_options
from packager.cli.deployed import service_data
from packager.cli.score import key_options, post, request_options
from packager.cli.terminal import table

if TYPE_CHECKING:
    from packager.serving.service import Which
    from packager.serving.status import Before

version_option = click.option(
    "--version",
    "version",
    metavar="VERSION",
    shell_complete=complete.service_versions,
    help="Which version, of a service that has several.",
)


@click.command("list")
@click.option("--version", "version", metavar="VERSION", help="Those alone that have this version, and it alone.")
@format_option
@standard_options
def list_command(version: str | None, output_format: str, reporter: Reporter) -> None:
    """List all services with their states, and below each its versions with their shares of the requests."""
    from packager.steps.service import list_services, with_version

    found = list_services(reporter.warn)
    if version is not None:
        found = with_version(found, version)
    if output_format == "json":
        emit_json([service_data(each) for each in found])
        return
    rows = []
    for each in found:
        rows.append((each.name, each.state, each.shown, _moment(each.created), each.scoring_url))
        rows += [
            (f"  {one.name} {one.traffic} %", one.state, one.shown, _moment(one.created), "") for one in each.versions
        ]
    for line in table(rows):
        emit(line)
    if not rows:
        reporter.step("no services")


@click.command("show")
@click.argument("name", shell_complete=complete.services)
@version_option
@format_option
@standard_options
def show_command(name: str, version: str | None, output_format: str, reporter: Reporter) -> None:
    """Show a service: its state with the reason, addresses, limits, and its last log lines where it is not healthy."""
    from packager.steps.service import LOG_LINES, logs, look

    status = look(named(name), version=version)
    log = ""
    if not status.taken and status.created:
        of = version or next((each.name for each in status.versions if each.state == status.state), None)
        log = b"".join(logs(name, LOG_LINES, version=of)).decode(errors="replace")
    if output_format == "json":
        emit_json({**service_data(status), "log": log.splitlines()})
        return
    lines = {
        "state": f"{status.state} ({status.reason})" if status.reason else status.state,
        "image": f"{status.shown}, since {_moment(status.created)}",
        **({"before": _before(status.before)} if status.before is not None else {}),
        "score": status.scoring_url,
        "swagger": status.swagger_url,
        "memory": f"{status.memory} bytes" if status.memory else "no limit",
        "cpus": f"{status.cpus:g}" if status.cpus else "no limit",
        "keys": f"packager service keys {status.name}" if status.auth == "key" else "none: requests need no key",
        "restarts": str(status.restarts),
    }
    emit("\n".join([status.name, *(f"  {word:<9}{text}" for word, text in lines.items())]))
    for each in status.versions:
        reason = f" ({each.reason})" if each.reason else ""
        before = f"; before: {_before(each.before)}" if each.before is not None else ""
        emit(f"  version  {each.name} {each.traffic} %: {each.state}{reason}, {each.shown}{before}")
    if log:
        emit("  log\n" + "\n".join(f"    {line}" for line in log.splitlines()))


@click.command("logs")
@click.argument("name", shell_complete=complete.services)
@version_option
@click.option("-n", "--tail", type=click.IntRange(min=1), metavar="N", help="The last lines alone.")
@click.option("--follow", is_flag=True, help="Go on with what it writes, until Ctrl-C.")
@standard_options
def logs_command(name: str, version: str | None, tail: int | None, follow: bool, reporter: Reporter) -> None:
    """Print what the service wrote."""
    from packager.steps.service import logs

    for chunk in logs(named(name), tail, version=version, follow=follow):
        sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()


@click.command("score")
@click.argument("name", shell_complete=complete.services)
@version_option
@request_options
@key_options
@format_option
@standard_options
def score_command(name: str, version: str | None, data: str | None, reporter: Reporter, **options: Any) -> None:
    """Post a request to service NAME and print the body of its answer, byte for byte."""
    if version is not None:
        from packager.steps.service import VERSION_HEADER

        options["headers"] = (*options["headers"], f"{VERSION_HEADER}: {version}")
    post(None, named(name), data, reporter, **options)


@click.command("keys")
@click.argument("name", shell_complete=complete.services)
@click.option(
    "--regenerate",
    type=click.Choice(["primary", "secondary"]),
    help="Make this one new first; requests with the other one go on, and none is lost.",
)
@format_option
@standard_options
def keys_command(name: str, regenerate: Which | None, output_format: str, reporter: Reporter) -> None:
    """Print the keys of service NAME; requests to it need either of them.

    To replace both: --regenerate secondary, give the new one to the clients, then --regenerate primary.
    """
    from packager.steps.service import show_keys

    found = show_keys(named(name), regenerate)
    if regenerate:
        reporter.step(f"the {regenerate} key of {name} is new")
    if output_format == "json":
        emit_json({"primary": found.primary, "secondary": found.secondary})
        return
    emit(f"primary    {found.primary}\nsecondary  {found.secondary}")


def named(name: str) -> str:
    """Return the name of a service, checked.

    Raises:
        UsageError: it cannot be one.
    """
    from packager.steps.service import service_name

    return service_name(name)


def _moment(created: str) -> str:
    """Return a moment to the second, in UTC: engines write nanoseconds."""
    return f"{created[:19]}Z" if len(created) >= _SECOND else created


_SECOND = 19


def _before(before: Before) -> str:
    return f"{before}, since {_moment(before.created)}; `packager service rollback` goes back to it"
