"""`packager score`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from packager.cli import complete
from packager.cli.common import Reporter, file_option, standard_options

if TYPE_CHECKING:
    from packager.errors import ServiceError

#: Variable that holds the key of a service.
KEY_VARIABLE = "PACKAGER_KEY"

_REQUEST = (
    click.option("--data", type=click.File("rb"), metavar="FILE|-", help="Body; - is stdin."),
    click.option(
        "--form",
        "form",
        multiple=True,
        metavar="NAME=VALUE|NAME=@FILE",
        help="Field of a form, sent as multipart/form-data in place of --data (repeatable).",
    ),
    click.option(
        "--header", "headers", multiple=True, metavar="NAME:VALUE", help="Header of the request (repeatable)."
    ),
    click.option("--binary", is_flag=True, help="Send application/octet-stream instead of application/json."),
    click.option(
        "--timeout",
        type=click.FloatRange(min=0, min_open=True),
        default=60.0,
        show_default=True,
        help="Seconds that the service may be silent.",
    ),
)
_KEY = (
    click.option(
        "--key",
        metavar="KEY",
        envvar=KEY_VARIABLE,
        help=f"Key of the service. Other users of the machine see command lines: {KEY_VARIABLE} or --key-file hide it.",
    ),
    click.option("--key-file", type=click.File("r"), metavar="FILE|-", help="File whose first line is the key."),
)


def request_options(command: Any) -> Any:
    """Add what a request is made of."""
    for option in reversed(_REQUEST):
        command = option(command)
    return command


def key_options(command: Any) -> Any:
    """Add where the key comes from."""
    for option in reversed(_KEY):
        command = option(command)
    return command


@click.command("score")
@click.option("--url", metavar="URL", help="Default: /score on this machine, at the spec's port.")
@click.option(
    "--service",
    metavar="NAME",
    shell_complete=complete.services,
    help="A service of `packager service deploy`, instead of --url.",
)
@file_option
@request_options
@key_options
@standard_options
def command(
    url: str | None, service: str | None, file: Path, data: BinaryIO | None, reporter: Reporter, **options: Any
) -> None:
    """Post a request to a running service and print the body of its answer, byte for byte."""
    from packager.errors import UsageError

    if url and service:
        raise UsageError("--url and --service name two services", remedy="keep one of them")
    if not service:
        url = url or f"http://127.0.0.1:{_port(file)}/score"
    post(url, service, data, reporter, **options)


def post(url: str | None, service: str | None, data: BinaryIO | None, reporter: Reporter, **options: Any) -> None:
    """Post a request to a URL or to a named service, and write the answer's body to standard output."""
    from packager.errors import ServiceError
    from packager.steps.score import score

    headers = _headers(options["headers"])
    key = _key(options["key"], options["key_file"])
    if key is None and service is not None and not any(name.lower() == "authorization" for name in headers):
        key = _key_of(service)
    if key is not None:
        headers = {"Authorization": f"Bearer {key}", **headers}
    body, headers = _body(data, options["form"], headers)
    if options["binary"]:
        headers = {"Content-Type": "application/octet-stream", **headers}
    if url is None:
        url = _url_of(service or "")
    try:
        answer = score(url, body, headers=headers, timeout=options["timeout"])
    except ServiceError as error:
        raise _with_state(service, error) from None
    reporter.detail(f"{answer.status}, {answer.content_type}, {len(answer.body)} bytes")
    out = sys.stdout.buffer
    out.write(answer.body)
    if sys.stdout.isatty() and not answer.body.endswith(b"\n"):
        out.write(b"\n")
    out.flush()


def _body(data: BinaryIO | None, fields: Sequence[str], headers: dict[str, str]) -> tuple[bytes, dict[str, str]]:
    """Return the body, and the headers with its type where that is not JSON."""
    from packager.errors import UsageError

    if (data is None) is not bool(fields):
        raise UsageError("a request has one of --data and --form", remedy="--data FILE, or --form NAME=@FILE")
    if data is not None:
        return data.read(), headers
    from packager.steps.score import form

    parts: list[tuple[str, str | Path]] = []
    for field in fields:
        name, equals, value = field.partition("=")
        if not name or not equals:
            raise UsageError(f"--form {field!r} is no field", remedy="--form NAME=VALUE, or --form NAME=@FILE")
        parts.append((name, Path(value[1:]) if value.startswith("@") else value))
    body, kind = form(parts)
    return body, {"Content-Type": kind, **headers}


def _key_of(service: str) -> str | None:
    """Return the key of a named service; None where its requests need none."""
    from packager.steps.service import look, service_name, show_keys

    name = service_name(service)
    return show_keys(name).primary if look(name).auth == "key" else None


def _url_of(service: str) -> str:
    """Return where a named service takes requests.

    Raises:
        ServiceError: there is none of that name, or it is not healthy.
    """
    from packager.errors import ServiceError
    from packager.steps.service import look, service_name

    status = look(service_name(service))
    if status.state != "Healthy":
        reason = f" ({status.reason})" if status.reason else ""
        raise ServiceError(
            f"the service {service} is {status.state}{reason}", remedy=f"`packager service show {service}` says more"
        )
    return status.scoring_url


def _with_state(service: str | None, error: ServiceError) -> ServiceError:
    """Add what is known of a named service: it may have run out of memory, or be gone by now."""
    from packager.errors import PackagerError, ServiceError
    from packager.steps.service import look

    if service is None:
        return error
    try:
        status = look(service)
    except PackagerError as found:
        return ServiceError(f"{error.message}\n{found.message}", remedy=found.remedy)
    known = f"\n{service} is {status.state}: {status.reason}" if status.reason else ""
    return ServiceError(f"{error.message}{known}", remedy=f"`packager service logs {service}` has what it wrote")


def _key(key: str | None, file: Any) -> str | None:
    from packager.errors import UsageError

    if file is not None:
        key = file.readline().strip()
    # Never shown, not even when it is wrong.
    if key is not None and (not key or not key.isascii() or not key.isprintable()):
        raise UsageError("the key is empty, or holds characters that no header can", remedy="one line of ASCII text")
    return key


def _port(file: Path) -> int:
    """Return the port of the spec; where there is no spec, and none was asked for, the default one."""
    from packager.contract import DEFAULT_PORT
    from packager.spec import DEFAULT_FILE, load_spec

    if file == Path(DEFAULT_FILE) and not file.exists():
        return DEFAULT_PORT
    return load_spec(file).spec.server.port


def _headers(values: tuple[str, ...]) -> dict[str, str]:
    from packager.errors import UsageError

    headers = {}
    for each in values:
        name, colon, value = each.partition(":")
        if not colon or not name.strip() or set(each) & set("\r\n"):
            raise UsageError(f"--header {each!r} is not NAME:VALUE")
        headers[name.strip()] = value.strip()
    return headers
