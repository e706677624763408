"""The steps `render`, `save` and `archive`: a planned image → its Dockerfile, or the whole build context."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from packager.checks.script import require_entry_script
from packager.context.build_context import BuildContext
from packager.dockerfile.text import dockerfile
from packager.errors import UsageError
from packager.handoff.context import build_context, require_no_archive
from packager.plan.plan import Dialect
from packager.plan.planned import Planned
from packager.spec.load import SpecFile
from packager.steps.plan import find_base, plan_image, say_secrets
from packager.steps.registered import with_registered
from packager.steps.reporting import SILENT, Reporter
from packager.steps.selection import select_targets
from packager.storage.models import Store

if TYPE_CHECKING:
    from packager.handoff.instructions import ForPlatform


def render(planned: Planned, *, dialect: Dialect | None = None) -> str:
    """Return the Dockerfile of a planned image.

    Args:
        planned: the image.
        dialect: `plain` leaves out what only BuildKit reads; that of the spec where None.

    Raises:
        RenderError: a template is not valid.
        UsageError: the base is an archive, which no Dockerfile can name.
    """
    require_no_archive(planned.plan.base)
    return dockerfile(planned.in_dialect(dialect))


class Saved(msgspec.Struct, frozen=True, kw_only=True):
    """A build context that was written.

    Attributes:
        target: it is for.
        platform: OCI os/arch.
        dialect: of its Dockerfile.
        path: its folder, or the archive.
        digest: `sha256:…` of the context.
        files: how many.
        size: bytes of all files.
    """

    target: str
    platform: str
    dialect: Dialect
    path: Path
    digest: str
    files: int
    size: int


def save_targets(
    spec_file: SpecFile,
    *,
    output: Path | None = None,
    archive: Path | None = None,
    target: str | None = None,
    platform: str | None = None,
    base: str | None = None,
    dialect: Dialect | None = None,
    force: bool = False,
    platforms: Sequence[str] = (),
    reporter: Reporter = SILENT,
) -> Iterator[Saved]:
    """Write the build context of every target; an entry script that cannot start is refused.

    Args:
        spec_file: the spec.
        output: a folder; with several targets, it gets a folder for each.
        archive: a file in its place, for one target.
        target: one of the spec's targets.
        platform: OCI os/arch; each target's first where None.
        base: another base image.
        dialect: `plain` leaves out what only BuildKit reads; that of the spec where None.
        force: replace a saved context that was changed by hand.
        platforms: names of those whose files the context has, too, with a chapter in HANDOFF.md.
        reporter: is told what may be wrong.

    Yields:
        each context, when it is written.

    Raises:
        UsageError: no destination, or two; an archive for several targets; the image cannot be run on a platform.
        SpecError, LockError, RenderError, ContextError: see `plan_image` and `save`.
    """
    if (output is None) == (archive is None):
        raise UsageError("save needs one destination", remedy="-o DIR, or --archive FILE")
    names = select_targets(spec_file, target)
    if archive is not None and len(names) > 1:
        raise UsageError("an archive holds one target", remedy=f"choose one: --target {names[0]}")
    spec_file = with_registered(spec_file, say=reporter.step)
    for finding in require_entry_script(spec_file):
        reporter.warn(str(finding))
    other, store = find_base(spec_file, base, reporter), Store()
    for name in names:
        planned = plan_image(spec_file, name, platform, base=other, digest_model=store.add).in_dialect(dialect)
        if name == names[0]:
            say_secrets([planned], reporter)
        context = build_context(planned, _deployments(planned, spec_file, platforms))
        if output is None:
            assert archive is not None, "one of the two is given"
            path = _write_archive(context, planned, archive, force)
        else:
            path = _write_folder(context, planned, output / name if len(names) > 1 else output, force)
        yield Saved(
            target=name,
            platform=planned.plan.platform,
            dialect=planned.plan.dialect,
            path=path,
            digest=context.digest,
            files=len(context.files),
            size=sum(file.size for file in context.files),
        )


def _deployments(planned: Planned, spec_file: SpecFile, platforms: Sequence[str]) -> tuple[ForPlatform, ...]:
    """Return the files of platforms for an image that whoever gets the context builds."""
    if not platforms:
        return ()
    from packager.deployment.platforms import TITLES, render_for
    from packager.deployment.workload import Wishes
    from packager.handoff.instructions import ForPlatform
    from packager.steps.workloads import NO_DIGEST, planned_workload

    workload, found = planned_workload(planned.plan, spec_file), []
    for name in dict.fromkeys(platforms):
        rendering = render_for(name, workload, Wishes())
        files = {each.path: each.text for each in rendering.manifests}
        found.append(
            ForPlatform(
                name=name,
                title=TITLES[name],
                files=files,
                digest=NO_DIGEST if any(NO_DIGEST in text for text in files.values()) else "",
                unmet=rendering.unmet,
                secrets=rendering.secrets,
                apply=rendering.apply,
            )
        )
    return tuple(found)


def save(planned: Planned, folder: Path | str, *, force: bool = False, dialect: Dialect | None = None) -> Path:
    """Write the build context of a planned image to a folder; models in it are hard links to the store.

    Args:
        planned: the image.
        folder: a new or empty folder, or a saved context, which is replaced.
        force: replace one of ours that was changed by hand.
        dialect: `plain` leaves out what only BuildKit reads; that of the spec where None.

    Raises:
        RenderError, UsageError: see `render`.
        ContextError: the destination is not ours to replace, a file changed since it was planned, or the disk is full.
    """
    planned = planned.in_dialect(dialect)
    return _write_folder(build_context(planned), planned, Path(folder), force)


def archive(planned: Planned, file: Path | str, *, force: bool = False, dialect: Dialect | None = None) -> Path:
    """Write the build context to one file: .tar, .tar.gz or .tar.zst, by its name; options as for `save`.

    Raises:
        UsageError: another ending.
        RenderError, ContextError: as for `save`.
    """
    planned = planned.in_dialect(dialect)
    return _write_archive(build_context(planned), planned, Path(file), force)


def _write_folder(context: BuildContext, planned: Planned, folder: Path, force: bool) -> Path:
    from packager.context.save import save as write_folder

    return write_folder(context, planned.root, folder, Store(), force=force)


def _write_archive(context: BuildContext, planned: Planned, file: Path, force: bool) -> Path:
    from packager.context.archive import archive as write_archive

    return write_archive(context, planned.root, file, Store(), force=force)
