"""The step `diff`: what differs between two of images, specs and locks."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

import msgspec

from packager.builders.inspect import ImageView, inspect_image
from packager.contract import (
    APP_ROOT,
    BASE_DIGEST_LABEL,
    BASE_NAME_LABEL,
    CREATED_LABEL,
    ENVIRONMENT_PREFIX,
    INPUTS_LABEL,
    OWN_FOLDER,
    REVISION_LABEL,
)
from packager.environments.locks.difference import Side
from packager.errors import UsageError
from packager.laying.image_contents import contents_of
from packager.plan.plan import Plan
from packager.registry.mirrors import registry_mirrors
from packager.reports.difference import Change, Contents, Difference, File, FileChange, SizeChange, compare
from packager.spec import DEFAULT_FILE
from packager.spec.load import load_spec
from packager.steps.environment import read_side
from packager.steps.plan import plan_image
from packager.steps.reporting import SILENT, Reporter
from packager.steps.selection import one_target
from packager.storage.content import ContentStore

__all__ = ["Change", "Contents", "Difference", "File", "FileChange", "SizeChange", "diff"]

#: Of a build and not of what it is made from; or told by all else that is compared.
_PASSING = (CREATED_LABEL, REVISION_LABEL, INPUTS_LABEL)
#: Labels that name the base.
_BASE = (BASE_NAME_LABEL, BASE_DIGEST_LABEL)
_LOCKS = (".lock", ".conda-lock.yml", ".requirements.txt")


def diff(
    old: str,
    new: str,
    *,
    target: str | None = None,
    platform: str | None = None,
    all_files: bool = False,
    reporter: Reporter = SILENT,
) -> Difference:
    """Return what differs between two sides: packages, files, configuration and sizes, as far as both can tell.

    Args:
        old: an image (a reference, `oci:DIR`, a file), a spec or its folder, or a lock (a file of one, or one in git as
            `REV:PATH`).
        new: likewise.
        target: of specs and locks that have several.
        platform: OCI os/arch; the first of each where None.
        all_files: name the files of packages, too.
        reporter: is told what takes long.

    Raises:
        UsageError: a side is nothing of these, or a target must be named.
        SpecError, LockError, ContextError: a spec, its lock or its files are not in order.
        EngineError, RegistryError, TemporaryError: an image is not to be had.
    """
    content = ContentStore()
    sides = [_side(text, target, platform) for text in (old, new)]
    views = [_view(each, content, platform, reporter) if isinstance(each, str) else None for each in sides]
    shared = _shared(views)
    contents = [
        each if isinstance(each, Contents) else _image(each, view, shared, content, platform, reporter)
        for each, view in zip(sides, views, strict=True)
    ]
    return compare(contents[0], contents[1], ENVIRONMENT_PREFIX, all_files=all_files)


def _side(text: str, target: str | None, platform: str | None) -> Contents | str:
    """Return what a spec or lock holds; the text itself where it names an image."""
    path = Path(text)
    if path.is_dir() and (path / DEFAULT_FILE).is_file():
        return _spec(path / DEFAULT_FILE, text, target, platform)
    if text.endswith(_LOCKS) or (path / "packager.lock").is_file():
        return _lock(read_side(text), text, target, platform)
    # A file that is not there is said to be so, and looked for at no registry.
    if text.endswith((".yaml", ".yml")):
        return _spec(path, text, target, platform)
    if path.is_dir() and not (path / "oci-layout").is_file() and text.startswith((".", "/")):
        raise UsageError(
            f"there is neither a {DEFAULT_FILE} nor a packager.lock in {text}, nor is it an image",
            remedy="name a file, or an image by its reference",
        )
    return text


def _spec(path: Path, name: str, target: str | None, platform: str | None) -> Contents:
    spec_file = load_spec(path)
    plan = plan_image(spec_file, one_target(spec_file, target), platform).plan
    locked = plan.environment.locked
    packages = {f"conda {each.name}": each.version for each in locked.conda_packages}
    packages |= {f"pip {each.name}": each.version for each in locked.packages}
    return Contents(
        name=name,
        kind="spec",
        packages=packages,
        files={
            f"/{file.path}": File(size=file.size, mode=f"{file.mode:o}", content=f"sha256:{file.digest}")
            for layer in plan.layers
            for file in layer.tree.files
        },
        folders=(APP_ROOT, OWN_FOLDER),
        config=_planned_config(plan),
        whole=False,
        sizes={layer.title: layer.tree.size for layer in plan.layers},
    )


def _lock(sides: dict[str, Side], name: str, target: str | None, platform: str | None) -> Contents:
    if (target is None and len(sides) != 1) or (target is not None and target not in sides):
        raise UsageError(f"{name} is the lock of {', '.join(sides) or 'nothing'}", remedy="choose one: --target NAME")
    side = sides[target or next(iter(sides))]
    packages: dict[str, str] = {}
    for conda in side.conda or ():
        if platform in (None, conda.platform):
            packages.setdefault(f"conda {conda.name}", conda.version)
    for package in side.pip or ():
        if platform is None or not package.platforms or platform in package.platforms:
            packages.setdefault(f"pip {package.name}", package.version)
    return Contents(name=name, kind="lock", packages=packages)


def _view(
    name: str, content: ContentStore, platform: str | None, reporter: Reporter, *, files: bool = False
) -> ImageView:
    found = inspect_image(name, content, registry_mirrors(), platform=platform, files=files, say=reporter.detail)
    if not found.images:
        raise UsageError(f"{name} holds no image", remedy="name another")
    return found.images[0]


def _shared(views: list[ImageView | None]) -> frozenset[str]:
    """Return the layers that both sides have, into which nobody has to look."""
    layers = [{layer.diff_id for layer in view.layers} if view else set() for view in views]
    return frozenset(layers[0] & layers[1])


def _image(
    name: str,
    view: ImageView | None,
    shared: frozenset[str],
    content: ContentStore,
    platform: str | None,
    reporter: Reporter,
) -> Contents:
    assert view is not None, "an image was looked at"
    layers = [layer for layer in view.layers if layer.diff_id not in shared]
    if not all(content.has(layer.digest) for layer in layers):
        reporter.step(f"looking into {name}")
        view = _view(name, content, platform, reporter, files=True)
        layers = [layer for layer in view.layers if layer.diff_id not in shared]
    inside = contents_of(content.path(layer.digest) for layer in layers)
    sizes: dict[str, int] = {}
    for number, layer in enumerate(view.layers, 1):
        # How many packages it has is told by the packages.
        title = "environment" if layer.title.startswith("environment of ") else layer.title or f"layer {number}"
        sizes[title] = sizes.get(title, 0) + layer.size
    return Contents(
        name=name,
        kind="image",
        packages={f"{each.manager} {each.name}": each.version for each in inside.packages},
        files={path: File(**msgspec.structs.asdict(each)) for path, each in inside.files.items()},
        config=_config(view),
        sizes=sizes,
    )


def _planned_config(plan: Plan) -> dict[str, str]:
    config = plan.config
    found = {
        "user": config.user,
        "folder": config.working_dir,
        "entry": shlex.join(config.entrypoint),
        "ports": f"{config.port}/tcp",
    }
    found |= {f"env {name}": value for name, value in config.env.items()}
    return found | _labels(config.labels)


def _labels(labels: Mapping[str, str]) -> dict[str, str]:
    """Return the labels that are compared; those two that name the base are one thing."""
    found = {f"label {name}": value for name, value in labels.items() if name not in (*_PASSING, *_BASE)}
    base = "@".join(labels[name] for name in _BASE if labels.get(name))
    return found | ({"base": base} if base else {})


def _config(view: ImageView) -> dict[str, str]:
    found = {
        "user": view.user,
        "folder": view.working_dir,
        "entry": shlex.join(view.entrypoint),
        "command": shlex.join(view.command),
        "ports": ", ".join(view.ports),
        "health": shlex.join(view.health),
    }
    for each in view.env:
        name, _, value = each.partition("=")
        found[f"env {name}"] = value
    found |= _labels(view.labels)
    return {name: value for name, value in found.items() if value}
