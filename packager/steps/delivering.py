"""One version of a registered model → what serves it: lock, build, test, push, update; and the way back."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from packager.builders.builder import BuildWish
from packager.delivery.values import Trying
from packager.engine.api import inspect_local, name_image
from packager.environments.locks.files import read_lock
from packager.errors import ContextError, PackagerError, UsageError
from packager.spec.load import SpecFile, load_spec
from packager.steps.build import build
from packager.steps.goals import Made, WatchWish, bring, require_goal
from packager.steps.lock import lock
from packager.steps.push import push
from packager.steps.reporting import Reporter
from packager.steps.selection import one_target, refuse_unplaced, spec_references
from packager.steps.settings import current_settings, with_settings
from packager.steps.test import require_passed, test
from packager.storage.files import write_text
from packager.workspace.values import Version

#: Is told that a step begins: `lock`, `build`, `test`, `push`, `update`.
Begin = Callable[[str], None]


def require_deliverable(spec_file: SpecFile, wish: WatchWish) -> str:
    """Return the model that is watched, having refused what could never be delivered.

    Raises:
        UsageError: the spec names no such model, or its version; nothing is to be done with a version, or two things
            that exclude each other.
    """
    require_goal(wish)
    target = one_target(spec_file, wish.target)
    if wish.push:
        refuse_unplaced(spec_references(spec_file, target), spec_file)
    named = tuple(dict.fromkeys(each.registered for each in spec_file.every_model if each.registered))
    free = [each for each in named if ":" not in each]
    if wish.model is None:
        if len(free) == 1:
            return free[0]
        which = f"names {', '.join(free)}" if free else "names no registered model without its version"
        raise UsageError(
            f"which model is to be watched? The spec {which}",
            remedy="name it: --model NAME" if free else "`models: [{registered: NAME}]` in the spec",
        )
    if wish.model in free:
        return wish.model
    fixed = next((each for each in named if each.partition(":")[0] == wish.model), None)
    if fixed is not None:
        raise UsageError(
            f"the spec names {fixed}, and no other version is taken",
            where=spec_file.at("models"),
            remedy=f"leave the version out: `registered: {wish.model}`",
        )
    raise UsageError(
        f"the spec names no registered model {wish.model}",
        where=spec_file.at("models"),
        remedy=f"it names {', '.join(free)}" if free else "`models: [{registered: NAME}]` in the spec",
    )


def read_again(spec_file: SpecFile) -> SpecFile:
    """Return a spec as it is now, with this user's defaults.

    Raises:
        SpecError, UsageError: it is not valid, or the defaults are not.
    """
    return with_settings(load_spec(spec_file.document.path), current_settings(os.environ))


def before(spec_file: SpecFile, wish: WatchWish, version: Version) -> Trying:
    """Return what is needed to go back from the delivery of a version.

    Raises:
        LockError: the lock cannot be read.
        ContextError: one of its files cannot be read.
        EngineError: no engine answers.
    """
    images = {}
    if wish.docker:
        for reference in spec_references(spec_file, wish.target):
            if (found := inspect_local(reference)) is not None:
                images[reference] = found.id
    return Trying(version=version.version, files=_lock_files(spec_file), images=images)


def go_back(spec_file: SpecFile, trying: Trying) -> None:
    """Put back the lock, and the names of images, as they were before a delivery.

    Raises:
        ContextError: a file cannot be written.
    """
    for path in _lock_files(spec_file):
        if path not in trying.files:
            (spec_file.root / path).unlink(missing_ok=True)
    for path, text in trying.files.items():
        if _text(spec_file.root / path) != text:
            (spec_file.root / path).parent.mkdir(parents=True, exist_ok=True)
            write_text(spec_file.root / path, text)
    for reference, image in trying.images.items():
        # An image that is gone by now, or an engine, is no reason to keep the lock of a bad version.
        with suppress(PackagerError):
            name_image(image, reference)


def is_left_by(spec_file: SpecFile, model: str, trying: Trying) -> bool:
    """Whether the lock is as an interrupted delivery left it, and nobody changed it since."""
    try:
        found = read_lock(spec_file)
    except PackagerError:
        return False
    pin = found.pins.models.get(model) if found is not None else None
    own = str(spec_file.lock_path.relative_to(spec_file.root))
    return (pin is not None and pin.version == trying.version) or _text(spec_file.lock_path) == trying.files.get(own)


def deliver(
    spec_file: SpecFile, wish: WatchWish, model: str, version: Version, *, begin: Begin, reporter: Reporter
) -> Made:
    """Lock, build, test, push and update, in this order; nothing is done after what fails.

    Args:
        spec_file: the spec, with this user's defaults.
        wish: what is wanted.
        model: its name in the spec.
        version: of it.
        begin: is told of each step.
        reporter: is told what is done.

    Raises:
        PackagerError: of the step that fails; see each.
    """
    begin("lock")
    result = lock(load_spec(spec_file.document.path), upgrade_models=(f"{model}:{version.version}",), reporter=reporter)
    for note in result.notes:
        reporter.step(f"note: {note}")
    reference = ""
    wanted = BuildWish(target=wish.target, base=wish.base, builder=current_settings(os.environ).builder)
    if wish.docker:
        begin("build")
        build(spec_file, msgspec.structs.replace(wanted, load=True), reporter=reporter)
        reference = spec_references(spec_file, wish.target)[0]
    if spec_file.spec.test:
        begin("test")
        more = {"timeout": wish.timeout, "env": wish.env}
        reports = test(spec_file, target=wish.target, docker=wish.docker, reporter=reporter, **more)  # type: ignore[arg-type]
        require_passed(reports)
    image = reference
    if wish.push:
        begin("push")
        image = _push(spec_file, wish, wanted, reporter)
    begin("update")
    return Made(image=image, url=bring(wish, version, spec_file, reporter, reference=reference, image=image))


def _push(spec_file: SpecFile, wish: WatchWish, wanted: BuildWish, reporter: Reporter) -> str:
    """Push what was tested, and return its reference with the digest."""
    if wish.docker:
        pushed = push(spec_file=spec_file, target=wish.target, test="done", reporter=reporter)[0]
        return f"{pushed.reference}@{pushed.digest}"
    (image,) = build(spec_file, msgspec.structs.replace(wanted, push=True, test="done"), reporter=reporter)
    return image.pinned[0]


def _lock_files(spec_file: SpecFile) -> dict[str, str]:
    """Return the files of the lock as they are: path relative to the spec's folder → text; none without a lock.

    Raises:
        LockError: `packager.lock` cannot be read.
        ContextError: one of the others cannot.
    """
    found = read_lock(spec_file)
    if found is None:
        return {}
    paths = [str(spec_file.lock_path.relative_to(spec_file.root))]
    for locked in found.targets.values():
        paths.append(locked.requirements)
        if not isinstance(locked.conda, msgspec.UnsetType):
            paths.append(locked.conda.file)
    texts = {}
    for path in paths:
        text = _text(spec_file.root / path)
        if text is not None:
            texts[path] = text
    return texts


def _text(path: Path) -> str | None:
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ContextError(f"{path} cannot be read: {error}", remedy="take it back from version control") from error
