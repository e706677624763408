"""`packager verify`."""

from __future__ import annotations

from pathlib import Path

import click

from packager.cli.common import Reporter, count, emit, emit_json, format_option, standard_options


@click.command("verify")
@click.argument("path", metavar="DIR|FILE", type=click.Path(path_type=Path))
@format_option
@standard_options
def command(path: Path, output_format: str, reporter: Reporter) -> None:
    """Recompute every digest of a saved build context (a folder, or a .tar, .tar.gz or .tar.zst) and say what differs.

    Prints the context's digest when nothing does; exits with 6 when something does. It only reads.
    """
    from packager.errors import ContextError
    from packager.steps.verify import verify

    result = verify(path)
    if output_format == "json":
        import msgspec

        emit_json(msgspec.to_builtins(result))
    elif result.ok:
        emit(result.digest)
    for difference in () if output_format == "json" else result.differences:
        emit(str(difference))
    if not result.ok:
        raise ContextError(f"{path}: {count(len(result.differences), 'difference')} from packager.json")
    reporter.step(f"{path}: {count(result.files, 'file')} as packager.json says")
