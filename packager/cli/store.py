"""`packager store`."""

from __future__ import annotations

import click

from packager.cli.common import Reporter, count, emit, emit_json, format_option, human_size, standard_options

#: What was of no use for so long is removed by `gc`; it can be pulled or made again.
_UNUSED_DAYS = 30.0


@click.group("store")
def command() -> None:
    """Show, check and clean the store of models.

    Models enter the store once, and every saved context links to them there. It is in $XDG_CACHE_HOME/packager/store.
    """


@command.command("info")
@format_option
@standard_options
def info(output_format: str, reporter: Reporter) -> None:
    """Show where the store is and what it holds: models, layers of images, environments; nothing is read."""
    import msgspec

    from packager.laying import kept
    from packager.storage.content import ContentStore
    from packager.storage.models import Store, default_root

    found, content, environments = Store().info(), ContentStore().info(), kept.info(default_root().parent)
    if output_format == "json":
        more = {"images": msgspec.to_builtins(content), "environments": msgspec.to_builtins(environments)}
        emit_json({**msgspec.to_builtins(found), **more})
        return
    unused = found.blobs - found.used_blobs
    emit(f"path        {found.path}")
    emit(f"files       {found.blobs}, {human_size(found.size)}")
    emit(f"in use      {found.used_blobs}, {human_size(found.used_size)}")
    emit(f"remembered  {found.remembered} digests")
    emit(f"images      {content.blobs} blobs, {human_size(content.size)}")
    emit(f"conda       {count(environments.packages, 'package')}, {human_size(environments.packages_size)}")
    emit(f"prefixes    {count(environments.prefixes, 'environment')}, {human_size(environments.prefixes_size)}")
    if unused:
        reporter.step(f"`packager store gc` frees {human_size(found.size - found.used_size)}")


@command.command("verify")
@format_option
@standard_options
def verify(output_format: str, reporter: Reporter) -> None:
    """Read every file of the store and compare its digest; exits with 6 when one is damaged.

    Damaged files are removed: models are added again by the next save, layers are pulled or made again. Contexts that
    were saved before may still hold them; `packager verify` tells.
    """
    import msgspec

    from packager.errors import ContextError
    from packager.storage.content import ContentStore
    from packager.storage.models import Store

    reporter.step("reading every file of the store")
    found, content = Store().verify(), ContentStore()
    size, blobs, layers = found.size + content.info().size, content.info().blobs, content.verify()
    damaged = [*(f"sha256:{digest}" for digest in found.damaged), *layers]
    if output_format == "json":
        emit_json({**msgspec.to_builtins(found), "images": {"checked": blobs, "damaged": list(layers)}})
    else:
        for digest in damaged:
            emit(f"damaged: {digest}")
        emit(f"{count(found.checked + blobs, 'file')}, {human_size(size)}, {len(damaged)} damaged")
    if damaged:
        raise ContextError(
            f"{len(damaged)} of {found.checked + blobs} files were damaged, and are removed",
            remedy="`packager verify DIR` on contexts that were saved before, and save again what differs",
        )


@command.command("gc")
@format_option
@standard_options
def gc(output_format: str, reporter: Reporter) -> None:
    """Remove what is of no use any more.

    Models that no saved context on this filesystem uses; layers, environments (those of `environment run`, too) and
    unpacked conda packages that were not used for 30 days; and what killed processes left. What is in use stays.
    """
    import msgspec

    from packager.laying import kept
    from packager.laying.cache import collect
    from packager.storage.content import ContentStore
    from packager.storage.models import Store, default_root

    found, content = Store().gc(), ContentStore().gc(_UNUSED_DAYS)
    environments, freed = collect(default_root().parent, _UNUSED_DAYS * 86400)
    removed = kept.collect(default_root().parent, _UNUSED_DAYS * 86400)
    if output_format == "json":
        images = {"content": msgspec.to_builtins(content), "environments": environments, "freed": freed}
        emit_json({**msgspec.to_builtins(found), "images": images, "environments": msgspec.to_builtins(removed)})
        return
    emit(f"{count(found.blobs, 'file')} removed, {human_size(found.size)} freed")
    emit(f"{count(content.blobs, 'blob')} removed, {human_size(content.size)} freed")
    emit(f"{count(environments, 'environment')} removed, {human_size(freed)} freed")
    emit(f"{count(removed.packages, 'conda package')} removed, {human_size(removed.packages_size)} freed")
    prefixes = count(removed.prefixes, "environment")
    emit(f"{prefixes} of `environment run` removed, {human_size(removed.prefixes_size)} freed")
    reporter.detail(f"{found.temporary} temporary files removed, {found.forgotten} digests forgotten")
