"""What the verbs of a workspace share: which version is meant, and how one is shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from packager.cli import complete
from packager.cli.common import emit, emit_json, human_size, workspace_option
from packager.cli.terminal import table

if TYPE_CHECKING:
    from packager.cli.common import Reporter
    from packager.steps.needed import Use
    from packager.steps.workspace import Verified, Workspace
    from packager.workspace.values import File, Version

_Command = TypeVar("_Command", bound=Callable[..., Any])

tag_filter = click.option(
    "--tag", "tags", multiple=True, metavar="KEY[=VALUE]", help="Those with this tag (repeatable: with all of them)."
)
add_tags = click.option("--tag", "tags", multiple=True, metavar="KEY=VALUE", help="Tag (repeatable).")
add_properties = click.option(
    "--property", "properties", multiple=True, metavar="KEY=VALUE", help="Property, which never changes (repeatable)."
)
description_option = click.option("-d", "--description", default="", metavar="TEXT", help="For people.")
overwrite_option = click.option("--overwrite", is_flag=True, help="Replace what has the same name there.")
model_id_option = click.option(
    "-i", "--model-id", "by_id", metavar="NAME:VERSION", shell_complete=complete.models, help="The same as ID."
)
model_argument = click.argument("model", required=False, metavar="[ID]", shell_complete=complete.models)
force_option = click.option(
    "--force", is_flag=True, help="Also where an image, a service of this machine or a spec's lock needs it."
)


def of_workspace(command: _Command) -> _Command:
    """Add `--workspace`, and the registries that may be spoken to without TLS."""
    from packager.cli.common import insecure_option

    return workspace_option(insecure_option(command))


def open_workspace(workspace: str | None, reporter: Reporter) -> Workspace:
    """Return the workspace that is meant.

    Raises:
        PackagerError: it is not there, or cannot be read.
    """
    from packager.steps.workspace import Workspace

    opened = Workspace(workspace, reporter=reporter)
    click.get_current_context().call_on_close(opened.close)
    return opened


def one_of(positional: str | None, by_id: str | None, name: str | None = None, version: int | None = None) -> str:
    """Return the one `name` or `name:version` that is named in one of the ways there are.

    Raises:
        UsageError: none is named, or more than one.
    """
    from packager.errors import UsageError

    said = [each for each in (positional, by_id, name) if each is not None]
    if len(said) != 1:
        raise UsageError(
            "no name is given" if not said else f"{said[0]} and {said[1]} are both named",
            remedy="name one, as NAME, NAME:VERSION, -i NAME:VERSION or -n NAME -v VERSION",
        )
    if version is None:
        return said[0]
    if ":" in said[0]:
        raise UsageError(f"{said[0]} has a version, and so has -v {version}", remedy="name one of the two")
    return f"{said[0]}:{version}"


def show_id(version: Version, workspace: Workspace, output_format: str) -> None:
    """Print what a version is called, or all of it as JSON."""
    from packager.steps.workspace_data import registered

    if output_format == "json":
        emit_json(registered(version, workspace.location))
    else:
        emit(version.id)


def version_lines(version: Version, uses: tuple[Use, ...] = ()) -> list[str]:
    """Return a version as lines for people."""
    framework = " ".join(each for each in (version.framework, version.framework_version) if each)
    rows = [
        ("digest", version.digest),
        ("created", version.created),
        ("framework", framework),
        ("description", version.description),
        ("tags", _pairs(version.tags)),
        ("properties", _pairs(version.properties)),
        ("resources", _resources(version)),
        ("source", version.source.uri if version.source else ""),
        ("revision", (version.source.revision or "") if version.source else ""),
        ("run", version.run_id or ""),
    ]
    lines = [version.id, *table([row for row in rows if row[1]], indent="  ")]
    lines += ["  files", *_file_lines(version.files)]
    if version.samples:
        lines += ["  samples", *_file_lines(version.samples)]
    if uses:
        lines += ["  used by", *table([(each.kind, _used(each), each.when) for each in uses], indent="    ")]
    return lines


def verified(found: tuple[Verified, ...], damage: tuple[str, ...], output_format: str) -> None:
    """Print what reading every file has found.

    Args:
        found: it.
        damage: records that could not be read, so that their files were not; said already.
        output_format: `text` or `json`.

    Raises:
        ContextError: something is wrong.
    """
    from packager.errors import ContextError

    if output_format == "json":
        emit_json(
            [
                {
                    "id": each.version.id,
                    "files": len(each.version.files) + len(each.version.samples),
                    "size": each.version.size,
                    "wrong": list(each.wrong),
                }
                for each in found
            ]
        )
    else:
        for each in found:
            emit(f"{'FAIL' if each.wrong else 'ok  '} {each.version.id}", paint=True)
            for sentence in each.wrong:
                emit(f"     {sentence}")
    wrong = [each for each in found if each.wrong]
    if wrong:
        raise ContextError(
            f"{len(wrong)} of {len(found)} versions are not what was registered",
            remedy="register the files again, as new versions, and delete these",
        )
    if damage:
        raise ContextError(
            "one record cannot be read" if len(damage) == 1 else f"{len(damage)} records cannot be read",
            remedy="restore what is named above from a copy, or remove it by hand: its number is not given again",
        )


def deleted(found: list[Version], output_format: str) -> None:
    """Print what is registered no more."""
    if output_format == "json":
        emit_json([{"id": each.id, "digest": each.digest} for each in found])
    else:
        for each in found:
            emit(each.id)


def _pairs(pairs: dict[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in pairs.items())


def _resources(version: Version) -> str:
    wanted = version.resources
    if wanted is None:
        return ""
    named = ((wanted.cpu, "processor", "s"), (wanted.memory_gb, "GiB of memory", ""), (wanted.gpu, "GPU", "s"))
    return ", ".join(
        f"{value:g} {what}{'' if value == 1 else plural}" for value, what, plural in named if value is not None
    )


def _used(use: Use) -> str:
    return f"{use.what}@{use.digest}" if use.digest else use.what


def _file_lines(files: tuple[File, ...]) -> list[str]:
    return table([(each.path, human_size(each.size), f"sha256:{each.sha256}") for each in files], indent="    ")
