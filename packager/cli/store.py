"""`packager store`."""

from __future__ import annotations

import click

from packager.cli.common import Reporter, emit, emit_json, format_option, human_size, standard_options


@click.group("store")
def command() -> None:
    """Show, check and clean the store of models.

    Models enter the store once, and every saved context links to them there. It is in $XDG_CACHE_HOME/packager/store.
    """


@command.command("info")
@format_option
@standard_options
def info(output_format: str, reporter: Reporter) -> None:
    """Show where the store is and what it holds; no model is read."""
    import msgspec

    from packager.store import Store

    found = Store().info()
    if output_format == "json":
        emit_json(msgspec.to_builtins(found))
        return
    unused = found.blobs - found.used_blobs
    emit(f"path        {found.path}")
    emit(f"files       {found.blobs}, {human_size(found.size)}")
    emit(f"in use      {found.used_blobs}, {human_size(found.used_size)}")
    emit(f"remembered  {found.remembered} digests")
    if unused:
        reporter.step(f"`packager store gc` frees {human_size(found.size - found.used_size)}")


@command.command("verify")
@format_option
@standard_options
def verify(output_format: str, reporter: Reporter) -> None:
    """Read every file of the store and compare its digest; exits with 6 when one is damaged.

    Damaged files are removed from the store: the next save adds them again from the model. Contexts that were saved
    before may still hold them; `packager verify` tells.
    """
    import msgspec

    from packager.errors import ContextError
    from packager.store import Store

    reporter.step("reading every file of the store")
    found = Store().verify()
    if output_format == "json":
        emit_json(msgspec.to_builtins(found))
    else:
        for digest in found.damaged:
            emit(f"damaged: sha256:{digest}")
        emit(f"{found.checked} files, {human_size(found.size)}, {len(found.damaged)} damaged")
    if found.damaged:
        raise ContextError(
            f"{len(found.damaged)} of {found.checked} files were damaged, and are removed",
            remedy="`packager verify DIR` on contexts that were saved before, and save again what differs",
        )


@command.command("gc")
@format_option
@standard_options
def gc(output_format: str, reporter: Reporter) -> None:
    """Remove models that no saved context on this filesystem uses, and what killed processes left."""
    import msgspec

    from packager.store import Store

    found = Store().gc()
    if output_format == "json":
        emit_json(msgspec.to_builtins(found))
        return
    emit(f"{found.blobs} files removed, {human_size(found.size)} freed")
    reporter.detail(f"{found.temporary} temporary files removed, {found.forgotten} digests forgotten")
