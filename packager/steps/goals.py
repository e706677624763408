"""Where a watched model's versions go: a named service, the files of a platform, a command; and what is asked for."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, cast

import msgspec

from packager.deployment.files import record_in
from packager.engine.api import inspect_local
from packager.errors import ContextError, ServiceError, TemporaryError, UsageError
from packager.spec.load import SpecFile
from packager.steps import service as services
from packager.steps.reporting import Reporter
from packager.steps.run import RunWish
from packager.workspace.values import Version

if TYPE_CHECKING:
    from packager.steps.deploy import PlatformName

#: Of a command that failed in a way that may pass (sysexits' EX_TEMPFAIL).
_TEMPORARY = 75


class WatchWish(msgspec.Struct, frozen=True, kw_only=True):
    """What is watched, and what is done with a newer version.

    Attributes:
        model: a registered model of the spec that has no version there; the only one where None.
        tags: that a version must have, each `KEY` or `KEY=VALUE`.
        service: name of the service that is updated, or deployed where it is not there.
        deploy: folder with the files of a platform, as `packager deploy` wrote them: they are made for the new image.
        apply: put them into force, and wait until the service is healthy.
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
    deploy: Path | None = None
    apply: bool = False
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


def require_goal(wish: WatchWish) -> None:
    """Refuse what names no place for a version, or several.

    Raises:
        UsageError: nothing is to be done with a version, or two things that exclude each other.
        ContextError: what is noted of the files of a platform cannot be read.
    """
    goals = {"--service": wish.service, "--deploy": wish.deploy, "--exec": wish.command}
    given = [name for name, goal in goals.items() if goal is not None]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} are {len(given)} goals", remedy="choose one, or watch once for each")
    if not given and not wish.push:
        raise UsageError(
            "nothing is to be done with a newer version", remedy="--service NAME, --deploy DIR, --exec CMD or --push"
        )
    if wish.apply and wish.deploy is None:
        raise UsageError("--apply is of the files of a platform", remedy="name their folder: --deploy DIR")
    if wish.deploy is not None:
        _platform(wish.deploy)
        if not wish.docker and not wish.push:
            raise UsageError("without Docker there is no image that the files could name", remedy="add --push")
    if wish.service is None and wish.publish is not None:
        raise UsageError("--publish is of a service", remedy="name it: --service NAME")
    if wish.service is not None:
        services.service_name(wish.service)


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


def bring(
    wish: WatchWish, version: Version, spec_file: SpecFile, reporter: Reporter, *, reference: str, image: str
) -> str:
    """Bring a version to where it is wanted, and return where requests are posted; empty without a service.

    Args:
        wish: says where.
        version: of the model.
        spec_file: the spec.
        reporter: is told what is done.
        reference: of the image in the engine; empty without one.
        image: its reference for others, with the digest where it was pushed; empty without one.

    Raises:
        ServiceError: it does not become healthy, or the command failed.
        PackagerError: see `packager.steps.service.update` and `packager.steps.deploy.deploy`.
    """
    if wish.service is not None:
        return _update(spec_file, wish, reference, reporter)
    if wish.deploy is not None:
        return _deploy(wish, wish.deploy, image, spec_file, reporter)
    if wish.command is not None:
        _run(wish.command, {**wish.env, **_variables(version, image)})
    return ""


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


def _platform(folder: Path) -> PlatformName:
    """Return the platform whose files a folder has.

    Raises:
        UsageError: it has none.
        ContextError: what is noted of them cannot be read.
    """
    record = record_in(folder.absolute())
    if record is None:
        raise UsageError(
            f"{folder} has no files of a platform", remedy=f"packager deploy --to PLATFORM -o {folder} writes them"
        )
    return cast("PlatformName", record.platform)


def _deploy(wish: WatchWish, folder: Path, image: str, spec_file: SpecFile, reporter: Reporter) -> str:
    """Make the files of a platform for an image, and put them into force where that is asked for; return the URL."""
    from packager.steps.deploy import DeployWish, deploy

    wanted = DeployWish(
        to=_platform(folder), output=folder, image=image, target=wish.target, apply=wish.apply, wait=wish.apply
    )
    if wish.timeout is not None:
        wanted = msgspec.structs.replace(wanted, timeout=wish.timeout)
    try:
        done = deploy(wanted, spec_file, reporter=reporter)
    except ContextError as error:  # of somebody's edit in the folder, and not of the version
        raise TemporaryError(error.message, where=error.where, remedy=error.remedy) from error
    reporter.step(f"{sum(each.kind != 'same' for each in done.files)} files in {folder} are others")
    return done.url


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
