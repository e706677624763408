"""`packager score`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import BinaryIO

import click

from packager.cli.common import Reporter, file_option, standard_options


@click.command("score")
@click.option("--data", type=click.File("rb"), required=True, metavar="FILE|-", help="Body of the request; - is stdin.")
@click.option("--url", metavar="URL", help="Default: /score on this machine, at the spec's port.")
@file_option
@click.option("--header", "headers", multiple=True, metavar="NAME:VALUE", help="Header of the request (repeatable).")
@click.option("--binary", is_flag=True, help="Send application/octet-stream instead of application/json.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=60.0,
    show_default=True,
    help="Seconds that the service may be silent.",
)
@standard_options
def command(
    data: BinaryIO,
    url: str | None,
    file: Path,
    headers: tuple[str, ...],
    binary: bool,
    timeout: float,
    reporter: Reporter,
) -> None:
    """Post a request to a running service and print the body of its answer, byte for byte."""
    from packager.serving.client import score

    url = url or f"http://127.0.0.1:{_port(file)}/score"
    sent = {"Content-Type": "application/octet-stream"} if binary else {}
    answer = score(url, data.read(), headers={**sent, **_headers(headers)}, timeout=timeout)
    reporter.detail(f"{answer.status}, {answer.content_type}, {len(answer.body)} bytes")
    out = sys.stdout.buffer
    out.write(answer.body)
    if sys.stdout.isatty() and not answer.body.endswith(b"\n"):
        out.write(b"\n")
    out.flush()


def _port(file: Path) -> int:
    """Return the port of the spec; where there is no spec, and none was asked for, the default one."""
    from packager.serving.service import DEFAULT_PORT
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
