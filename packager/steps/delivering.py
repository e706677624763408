"""One version of a registered model → what serves it: lock, build, test, push, update; and the way back."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from packager.builders.builder import BuildWish
from packager.delivery.values import Trying
from packager.engine.api import inspect_local, name_image
from packager.environments.locks.files import read_lock
from packager.errors import ContextError, PackagerError, ServiceError, TemporaryError, UsageError
from packager.spec.load import SpecFile, load_spec
from packager.steps import service as services
from packager.steps.build import build
from packager.steps.lock import lock
from packager.steps.push import push
from packager.steps.reporting import Reporter
from packager.steps.run import RunWish
from packager.steps.selection import one_target, refuse_unplaced, spec_references
from packager.steps.settings import current_settings, with_settings
from packager.steps.test import require_passed, test
from packager.storage.files import write_text
from packager.workspace.values import Version

#: Of a command that failed in a way that may pass (sysexits' EX_TEMPFAIL).
_TEMPORARY = 75


class WatchWish(msgspec.Struct, frozen=True, kw_only=True):
    """What is watched, and what is done with a newer version.

    Attributes:
        model: a registered model of the spec that has no version there; the only one where None.
        tags: that a version must have, each `KEY` or `KEY=VALUE`.
        service: name of the service that is updated, or deployed where it is not there.
        command: a shell's, that is run in place of an update.
        push: push the image.
        docker: False tests and serves the spec's package on this machine, without Docker; an image is built where it is
            to be pushed alone.
        target: one of the spec's targets; needed where it has several.
        base: another base of the image.
        publish: of a service that is deployed, as `packager service deploy` takes it.
        env: variables of tests and service beside the image's own.
        timeout: seconds until a service must be healthy; what the spec's probes say, or 120, where None.
        interval: seconds between two looks; 1 for a folder and 5 for a registry where None.
        once: look once, in place of going on for ever.
        retry: versions that are bad no longer.
    """

    model: str | None = None
    tags: tuple[str, ...] = ()
    service: str | None = None
    command: str | None = None
    push: bool = False
    docker: bool = True
    target: str | None = None
    base: str | None = None
    publish: str | None = None
    env: dict[str, str] = {}
    timeout: float | None = None
    interval: float | None = None
    once: bool = False
    retry: tuple[int, ...] = ()


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """What a delivery made.

    Attributes:
        image: its reference, with the digest where it was pushed; empty without one.
        url: where requests are posted; empty without a service.
    """

    image: str = ""
    url: str = ""


#: Is told that a step begins: `lock`, `build`, `test`, `push`, `update`.
Begin = Callable[[str], None]


def require_deliverable(spec_file: SpecFile, wish: WatchWish) -> str:
    """Return the model that is watched, having refused what could never be delivered.

    Raises:
        UsageError: the spec names no such model, or its version; nothing is to be done with a version, or two things
            that exclude each other.
    """
    if wish.service is not None and wish.command is not None:
        raise UsageError("--service and --exec are two goals", remedy="watch twice, or update the service by --exec")
    if wish.service is None and wish.command is None and not wish.push:
        raise UsageError("nothing is to be done with a newer version", remedy="--service NAME, --exec CMD or --push")
    if wish.service is None and wish.publish is not None:
        raise UsageError("--publish is of a service", remedy="name it: --service NAME")
    if wish.service is not None:
        services.service_name(wish.service)
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


def require_ready(wish: WatchWish) -> None:
    """Refuse to begin where the last step could not end well, whatever the version is.

    Raises:
        UsageError: the service has several versions.
        TemporaryError: it is stopped.
        EngineError: no engine answers.
    """
    if wish.docker:
        inspect_local("packager-watch", required=True)
    status = _status(wish.service)
    if status is None:
        return
    if status.state == "Stopped":
        raise TemporaryError(
            f"{status.name} is stopped, and nothing is delivered to it", remedy=f"packager service start {status.name}"
        )
    if status.versions:
        raise UsageError(
            f"{status.name} has several versions, and a newer model could be meant for any of them",
            remedy=f"watch with --exec 'packager service update {status.name} --version VERSION \"$PACKAGER_IMAGE\"'",
        )


def is_missing(wish: WatchWish) -> bool:
    """Whether the service is not there, so that what was delivered once has to be delivered again.

    Raises:
        EngineError: no engine answers.
    """
    if wish.service is not None and wish.docker:
        inspect_local("packager-watch", required=True)
    return wish.service is not None and _status(wish.service) is None


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
    url = _update(spec_file, wish, reference, reporter) if wish.service is not None else ""
    if wish.command is not None:
        _run(wish.command, {**wish.env, **_variables(version, image)})
    return Made(image=image, url=url)


def _push(spec_file: SpecFile, wish: WatchWish, wanted: BuildWish, reporter: Reporter) -> str:
    """Push what was tested, and return its reference with the digest."""
    if wish.docker:
        pushed = push(spec_file=spec_file, target=wish.target, test=False, reporter=reporter)[0]
        return f"{pushed.reference}@{pushed.digest}"
    (image,) = build(spec_file, msgspec.structs.replace(wanted, push=True, test=False), reporter=reporter)
    return image.pinned[0]


def _update(spec_file: SpecFile, wish: WatchWish, reference: str, reporter: Reporter) -> str:
    """Update the service, or deploy it where nothing runs under its name; return where requests are posted."""
    assert wish.service is not None, "else nothing is updated"
    status = _status(wish.service)
    # Of a deployment that was ended before its container was made, nothing can be updated.
    if status is None or not status.created:
        wanted = RunWish(
            reference=reference or None,
            target=wish.target,
            docker=wish.docker,
            publish=wish.publish,
            env=wish.env,
            timeout=wish.timeout,
        )
        return services.deploy(wish.service, wanted, spec_file, reporter=reporter).scoring_url
    change = services.Change(reference=reference or None, env=wish.env)
    done = services.update(wish.service, change, spec_file, timeout=wish.timeout, reporter=reporter)
    return done.scoring_url


def _status(service: str | None) -> services.Status | None:
    if service is None or service not in services.service_names():
        return None
    try:
        return services.look(service)
    except ServiceError:  # deleted meanwhile
        return None


def _variables(version: Version, image: str) -> dict[str, str]:
    return {
        "PACKAGER_IMAGE": image,
        "PACKAGER_MODEL_NAME": version.name,
        "PACKAGER_MODEL_VERSION": str(version.version),
    }


def _run(command: str, variables: dict[str, str]) -> None:
    """Run a command of a shell; what it prints goes to standard error, for standard output is for our results.

    Raises:
        TemporaryError: it ended with 75.
        ServiceError: it failed in another way.
    """
    process = subprocess.Popen(["/bin/sh", "-c", command], env={**os.environ, **variables}, stdout=2)
    try:
        code = process.wait()
    except BaseException:
        process.terminate()
        process.wait()
        raise
    if code == _TEMPORARY:
        raise TemporaryError(f"the command of --exec ended with {code}, which is: try again")
    if code:
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        # Its words may hold a password, and what is said here is kept.
        raise ServiceError(
            f"the command of --exec ended with {how}", remedy="mend it; one that ends with 75 is tried again by itself"
        )


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
