"""Specs → a `docker-bake.json` with the build contexts that it refers to, in a folder of its name beside it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from packager.context.build_context import BuildContext
from packager.context.entries import is_bake_file, is_saved_context
from packager.context.manifest import NAME
from packager.context.save import changes_by_hand, new_parents, save
from packager.dockerfile.stages import environment_key, secret_from_variable, secret_ids
from packager.engine.bake_file import BakeImage, BakePlatform, BakeSettings, bake_text
from packager.engine.secrets import parse_secret
from packager.errors import ContextError, UsageError
from packager.handoff.context import build_context
from packager.plan.planned import Planned
from packager.revision import build_labels, source_date_epoch
from packager.storage.files import write_text
from packager.storage.models import Store

Say = Callable[[str], None]


class Package(msgspec.Struct, frozen=True, kw_only=True):
    """What of a spec goes into a file: the plans of one image, one for each of its platforms.

    `apart`: the target's other platforms are images of their own, with tags of their own.
    """

    planned: tuple[Planned, ...]
    apart: bool = False

    @property
    def root(self) -> Path:
        """The folder of the spec."""
        return self.planned[0].root


class Baked(msgspec.Struct, frozen=True, kw_only=True):
    """What was written.

    Attributes:
        path: of the file.
        images: what it builds.
        contexts: the name of each target for one platform → digest of its build context.
    """

    path: Path
    images: tuple[BakeImage, ...]
    contexts: dict[str, str]


def write_bake(
    packages: Sequence[Package],
    destination: Path,
    settings: BakeSettings,
    *,
    secrets: Sequence[str] = (),
    labels: Mapping[str, str] | None = None,
    force: bool = False,
    say: Say = lambda text: None,
) -> Baked:
    """Write a bake file and its build contexts; models in them are hard links to the store.

    Args:
        packages: the images, in the file's order.
        destination: of the file; the contexts are in a folder beside it that has its name without the ending.
        settings: what all images have in common.
        secrets: for all images, as `--secret` takes them; what else a Dockerfile asks for comes from variables.
        labels: for all images.
        force: replace contexts that were changed by hand, and a file that is not ours.
        say: is told what is done.

    Raises:
        SpecError: two images have one name, or write one tag.
        UsageError: the file has no name that ends with `.json`; a secret that is none.
        ContextError: something else is at the destination, or a source file changed; see `save`.
        RenderError: a template is not valid.
    """
    folder = _contexts_of(destination)
    _check_place(destination, force)
    # Whoever runs bake has BuildKit, whatever the spec's own dialect is.
    packages = [
        msgspec.structs.replace(each, planned=tuple(one.in_dialect("buildkit") for one in each.planned))
        for each in packages
    ]
    contexts = [[build_context(each) for each in package.planned] for package in packages]
    # git takes longer than all else that is done for an image.
    built = {key: build_labels(key[0], source_date_epoch(locked=key[1])) for key in {_key(each) for each in packages}}
    images = tuple(
        _image(package, found, folder.name, {**built[_key(package)], **(labels or {})}, secrets)
        for package, found in zip(packages, contexts, strict=True)
    )
    # What the file cannot hold is told before anything is written.
    text = bake_text(images, settings)
    digests = {}
    with new_parents(destination):
        for image, package, found in zip(images, packages, contexts, strict=True):
            for each, context in zip(image.platforms, found, strict=True):
                path = destination.parent / each.context
                if not _is_there(context, path):
                    save(context, package.root, path, Store(), force=force)
                digests[image.platform_name(each.platform)] = context.digest
                say(f"{image.platform_name(each.platform)}: {len(context.files)} files, {context.digest}")
        write_text(destination, text)
    _remove_stale(folder, {Path(each.context).name for image in images for each in image.platforms}, force)
    return Baked(path=destination, images=images, contexts=digests)


def _key(package: Package) -> tuple[Path, int | None]:
    """Return what the labels of a build hang on: the folder, whose revision git knows, and the lock's time."""
    return package.root, package.planned[0].created


def _image(
    package: Package,
    contexts: Sequence[BuildContext],
    folder: str,
    labels: Mapping[str, str],
    secrets: Sequence[str],
) -> BakeImage:
    plan = package.planned[0].plan
    platforms = [
        bake_platform(each, context, "", labels, secrets)
        for each, context in zip(package.planned, contexts, strict=True)
    ]
    image = BakeImage(
        package=plan.name,
        target=plan.target,
        tags=plan.references,
        platforms=tuple(platforms),
        apart=package.apart,
    )
    placed = [
        msgspec.structs.replace(each, context=f"{folder}/{image.platform_name(each.platform)}") for each in platforms
    ]
    return msgspec.structs.replace(image, platforms=tuple(placed))


def bake_platform(
    planned: Planned,
    context: BuildContext,
    path: str,
    labels: Mapping[str, str],
    secrets: Iterable[str],
    *,
    from_variables: bool = True,
) -> BakePlatform:
    """Return an image for one platform as a bake file has it.

    Args:
        planned: the image.
        context: its build context.
        path: where that is.
        labels: of this build.
        secrets: given ones, as `--secret` takes them.
        from_variables: what the Dockerfile asks for besides is looked for in variables of whoever runs bake.
    """
    text = next(file.text or "" for file in context.files if file.path == "Dockerfile")
    given = [parse_secret(each) for each in secrets]
    asked = secret_ids(text) if from_variables else ()
    missing = [secret_from_variable(each) for each in asked if each not in {secret.id for secret in given}]
    return BakePlatform(
        platform=planned.plan.platform,
        context=path,
        labels=labels,
        created=source_date_epoch(locked=planned.created),
        secrets=(*(secret.argument for secret in given), *missing),
        environment=environment_key(text, context, planned.plan.platform, planned.plan.base.digest),
    )


def _contexts_of(destination: Path) -> Path:
    if destination.suffix != ".json":
        raise UsageError(f"{destination} does not end with .json", remedy="-o docker-bake.json; buildx looks for that")
    return destination.with_suffix("")


def _is_there(context: BuildContext, path: Path) -> bool:
    """Whether a folder is a context as it would be written: of hundreds of packages, few change from day to day."""
    try:
        return (path / NAME).read_text("utf-8") == context.manifest_text and not changes_by_hand(path)
    except (OSError, UnicodeDecodeError, ContextError):
        return False


def _remove_stale(folder: Path, written: Container[str], force: bool) -> None:
    """Remove the contexts that an earlier file referred to; what was changed by hand stays."""
    for path in folder.iterdir():
        if path.name not in written and is_saved_context(os.fsencode(path)) and (force or not changes_by_hand(path)):
            shutil.rmtree(path, ignore_errors=True)


def _check_place(destination: Path, force: bool) -> None:
    if force or not os.path.lexists(destination) or is_bake_file(os.fsencode(destination)):
        return
    raise ContextError(
        f"{destination} is there and was not made by packager", remedy="name another file, or use --force"
    )
