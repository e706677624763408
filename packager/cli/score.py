"""`packager score`."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from packager.cli import complete
from packager.cli.common import Reporter, emit_json, file_option, format_option, standard_options, was_named

if TYPE_CHECKING:
    from packager.errors import ServiceError
    from packager.steps.score import Answer

#: What of JSON has no bracket and no quote.
_SCALAR = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null")

#: Variable that holds the key of a service.
KEY_VARIABLE = "PACKAGER_KEY"

_REQUEST = (
    click.option(
        "--data",
        metavar="FILE|JSON|-",
        help="Body: a file (also as @FILE), JSON as it stands, such as '{\"rows\": [1]}', or - for standard input.",
    ),
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
@click.option(
    "--url",
    metavar="URL",
    help="Default: /score of the one service that runs on this machine, else of what is at the spec's port.",
)
@click.option(
    "--service",
    metavar="NAME",
    shell_complete=complete.services,
    help="A service of `packager service deploy`, instead of --url.",
)
@file_option
@request_options
@key_options
@format_option
@standard_options
def command(
    url: str | None, service: str | None, file: Path, data: str | None, reporter: Reporter, **options: Any
) -> None:
    """Post a request to a running service and print the body of its answer, byte for byte.

    --format json prints {"url", "status", "content_type", "bytes", "body"} instead: `body` is the answer's JSON, or its
    text; an answer of other bytes has `base64` in its place.
    """
    from packager.errors import UsageError

    if url and service:
        raise UsageError("--url and --service name two services", remedy="keep one of them")
    post(url, service, data, reporter, file=file, **options)


def post(
    url: str | None,
    service: str | None,
    data: str | None,
    reporter: Reporter,
    *,
    file: Path | None = None,
    **options: Any,
) -> None:
    """Post a request to a URL or to a named service, and write the answer's body to standard output.

    Where neither is given, it goes to the one service that runs, or to the port of the spec `file`.
    """
    from packager.errors import ServiceError
    from packager.steps.score import find_running, score

    headers = _headers(options["headers"])
    body, headers = _body(data, options["form"], headers, binary=options["binary"])
    if options["binary"]:
        headers = {"Content-Type": "application/octet-stream", **headers}
    key = _key(options["key"], options["key_file"])
    if file is not None and not url and not service:
        found = find_running(_port(file))
        reporter.step(f"asking {found.title} at {found.scoring_url}")
        url, service = (None, found.service) if found.service else (found.scoring_url, None)
    if key is None and service is not None and not any(name.lower() == "authorization" for name in headers):
        key = _key_of(service)
    if key is not None:
        headers = {"Authorization": f"Bearer {key}", **headers}
    if url is None:
        url = _url_of(service or "")
    try:
        answer = score(url, body, headers=headers, timeout=options["timeout"])
    except ServiceError as error:
        raise _with_state(service, url, error) from None
    reporter.detail(f"{answer.status}, {answer.content_type}, {len(answer.body)} bytes")
    if options["output_format"] == "json":
        emit_json(_as_data(url, answer))
        return
    out = sys.stdout.buffer
    out.write(answer.body)
    if sys.stdout.isatty() and not answer.body.endswith(b"\n"):
        out.write(b"\n")
    out.flush()


def _body(
    data: str | None, fields: Sequence[str], headers: dict[str, str], *, binary: bool = False
) -> tuple[bytes, dict[str, str]]:
    """Return the body, and the headers with its type where that is not JSON."""
    from packager.errors import UsageError

    if (data is None) is not bool(fields):
        remedy = "--data FILE, --data '{\"rows\": [1]}', or --form NAME=@FILE"
        raise UsageError("a request has one of --data and --form", remedy=remedy)
    if data is not None:
        typed = binary or any(name.lower() == "content-type" for name in headers)
        return _data(data, plain=not typed), headers
    from packager.steps.score import form

    parts: list[tuple[str, str | Path]] = []
    for field in fields:
        name, equals, value = field.partition("=")
        if not name or not equals:
            raise UsageError(f"--form {field!r} is no field", remedy="--form NAME=VALUE, or --form NAME=@FILE")
        parts.append((name, Path(value[1:]) if value.startswith("@") else value))
    body, kind = form(parts)
    return body, {"Content-Type": kind, **headers}


def _data(text: str, *, plain: bool) -> bytes:
    """Return the body that `--data` means.

    Args:
        text: JSON as it stands, `-`, a file, or `@` and a file.
        plain: no other type of the body was given: what stands there must be JSON.

    Raises:
        UsageError: it is no JSON, and no file that can be read.
    """
    import json

    from packager.errors import UsageError

    if text in ("-", "@-"):
        return sys.stdin.buffer.read()
    if text.lstrip()[:1] in ("{", "[", '"'):
        try:
            json.loads(text)
        except ValueError as error:
            if plain:
                remedy = "mend it at that place; @FILE sends a file"
                if '"' not in text:
                    # The shell takes the quotes away.
                    remedy = "quote it for the shell: --data '{\"rows\": [1]}'; @FILE sends a file"
                raise UsageError(f"--data is no JSON: {error}", remedy=remedy) from None
        return text.encode()
    path = Path(text.removeprefix("@"))
    try:
        content = path.read_bytes()
    except OSError as error:
        if isinstance(error, FileNotFoundError) and _SCALAR.fullmatch(text):
            return text.encode()
        remedy = "--data FILE, or JSON as it stands: --data '{\"rows\": [1]}'"
        raise UsageError(f"--data {text}: it cannot be read: {error.strerror}", remedy=remedy) from None
    if plain and path.suffix == ".json":
        try:
            json.loads(content)
        except ValueError as error:
            remedy = "mend it; --header 'Content-Type: text/plain' sends it as it is"
            raise UsageError(f"{path} is no JSON: {error}", remedy=remedy) from None
    return content


def _as_data(url: str, answer: Answer) -> dict[str, Any]:
    """Return an answer as it is printed as JSON."""
    import base64
    import json

    known = {"url": url, "status": answer.status, "content_type": answer.content_type, "bytes": len(answer.body)}
    try:
        text = answer.body.decode()
    except UnicodeDecodeError:
        return {**known, "base64": base64.b64encode(answer.body).decode()}
    if "json" not in answer.content_type:
        return {**known, "body": text}
    try:
        return {**known, "body": json.loads(text)}
    except ValueError:
        return {**known, "body": text}


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


def _with_state(service: str | None, url: str, error: ServiceError) -> ServiceError:
    """Add what is known of who was asked: a named service may have run out of memory, or be gone; and has a log."""
    from packager.errors import PackagerError, ServiceError
    from packager.steps.service import look

    if service is None:
        from packager.steps.score import log_command

        if "log" not in (error.remedy or "") or not (command := log_command(url)):
            return error
        return ServiceError(error.message, remedy=f"`{command}` has what it wrote")
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
    from packager.spec import load_spec

    if not was_named() and not file.exists():
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
