"""The steps `model deploy`, `model package` and `service update -m`: Azure ML v1's commands, on its own files."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from packager.contract import DEFAULT_PORT
from packager.errors import PackagerError, ServiceError, UsageError
from packager.serving.traffic import DEFAULT
from packager.spec.service import cpu_of, memory_of
from packager.steps import service as services
from packager.steps.declared import Declared, lock_key, package_name, spec_text
from packager.steps.reporting import SILENT, Reporter
from packager.steps.run import RunWish
from packager.steps.v1_files import Asked, Deployment, declare, find_models, read_deployment
from packager.steps.v1_images import LOCKS, build_laid, laid
from packager.steps.v1_records import SERVICES, Record, find_service, image_of, keep_service, root_of, with_version
from packager.steps.v1_wanted import Wanted, asked_of
from packager.steps.workspace import Workspace

__all__ = ["Asked", "Deployed", "Packaged", "deploy", "package", "spec_of", "update"]

_PACKAGES = "packages"


class Deployed(msgspec.Struct, frozen=True, kw_only=True):
    """A service that was deployed or updated.

    Attributes:
        status: of it.
        record: what is remembered of it.
    """

    status: services.Status
    record: Record


class Packaged(msgspec.Struct, frozen=True, kw_only=True):
    """What `model package` made.

    Attributes:
        image: reference of the image; None where a build context was written.
        output: folder of the build context; None where an image was built.
        models: that are in it.
        folder: of the package that it was made of.
    """

    image: str | None
    output: Path | None
    models: tuple[str, ...]
    folder: Path


def spec_of(workspace: Workspace, name: str, asked: Asked, *, reporter: Reporter = SILENT) -> str:
    """Return the spec that files are, with a comment that says where its lock is kept; nothing is written.

    Raises:
        PackagerError: see `packager.steps.v1_files.declare`.
    """
    declared = declare(workspace, name, asked, reporter)
    lock = _root(workspace) / LOCKS / lock_key(declared) / "packager.lock"
    there = "the lock is kept in" if lock.is_file() else "the lock will be kept in"
    return f"# {there} {lock}\n{spec_text(declared)}"


def deploy(
    workspace: Workspace,
    name: str,
    asked: Asked,
    *,
    overwrite: bool = False,
    docker: bool = True,
    reporter: Reporter = SILENT,
) -> Deployed:
    """Package models, and start them as a named service of this machine.

    Args:
        workspace: that has the models.
        name: of the service.
        asked: files and models.
        overwrite: replace a service of the name.
        docker: False runs it as processes of this machine, without an image and without limits.
        reporter: is told what is done.

    Raises:
        UsageError: there is a service of the name; AKS without a target; and see `packager.steps.v1_files.declare`.
        ServiceError: it does not become healthy; one that was well before serves on.
        PackagerError: it cannot be packaged, or the engine refuses.
    """
    services.service_name(name)
    deployment = read_deployment(asked.deployment, asked.target)
    root = _root(workspace)
    before = find_service(root, name)
    _require_free(name, before, overwrite=overwrite, workspace=workspace)
    declared = declare(workspace, name, asked, reporter)
    number = before.number + 1 if before is not None else 1
    reference = image_of(name, number) if docker else ""
    if deployment.compute != "Local":
        reporter.step(f"{name}: this machine is {deployment.compute} here")
    with laid(_root(workspace), declared, SERVICES, reporter=reporter) as spec_file:
        if docker:
            build_laid(spec_file, reference, reporter=reporter)
        elif services.is_without_docker(name):
            services.delete(name, reporter=reporter)  # nothing of it can be kept
        wish = RunWish(
            reference=reference or None,
            docker=docker,
            publish=f"{deployment.port or 0}:{DEFAULT_PORT}",
            env={"SERVICE_NAME": name},
            keys="\n".join(deployment.keys) or None if declared.service.get("auth") in ("key", "token") else None,
        )
        record = _record(name, deployment, declared, reference, number)
        try:
            status = services.deploy(name, wish, spec_file, replace=True, reporter=reporter)
        except ServiceError as error:
            keep_service(root, msgspec.structs.replace(record, error=error.message))
            raise
    keep_service(root, record)
    return Deployed(status=status, record=record)


def update(
    workspace: Workspace,
    name: str,
    asked: Asked,
    change: services.Change,
    *,
    version: str | None = None,
    reporter: Reporter = SILENT,
    **more: Any,
) -> Deployed:
    """Replace models or script of a service that was deployed from files or by v1's classes, without losing a request.

    Args:
        workspace: that it is of.
        name: of the service.
        asked: what is new; models or script stay where they are not named.
        change: limits and variables that are new.
        version: of the service, where it has several: the one that it was deployed as, `default`, or one of an
            endpoint of v1's classes.
        reporter: is told what is done.
        **more: as of `packager.steps.service.update`.

    Raises:
        UsageError: the workspace knows nothing of the service, or it, or the version, was deployed from an image.
        ServiceError: it is deleted, or the new one does not become healthy: the old one serves on.
        PackagerError: the new one cannot be packaged.
    """
    root = _root(workspace)
    whole = find_service(root, services.service_name(name))
    _require_there(name, whole)
    record = whole
    if whole is not None and whole.versions:
        version = next(iter(whole.versions)) if version is None and len(whole.versions) == 1 else version
        record = whole.versions.get(version or "")
        if record is None:
            raise UsageError(
                f"{name} is an endpoint with the versions {', '.join(whole.versions)}", remedy="--version says which"
            )
    elif version not in (None, DEFAULT):
        raise UsageError(
            f"version {version} of {name} was not deployed from models and files of the workspace {workspace.name}",
            remedy=f"`packager service update {name} REF --version {version}`",
        )
    if whole is None or record is None or record.declared is None:
        raise UsageError(
            f"the service {name!r} was not deployed from models and files of the workspace {workspace.name}",
            remedy=f"`packager model deploy -n {name} … --overwrite`; or `packager service update {name} REF`",
        )
    number = whole.number + 1
    declared = _changed(workspace, record.declared, asked, reporter)
    reference = "" if services.is_without_docker(name) else image_of(name, number)
    with laid(_root(workspace), declared, SERVICES, reporter=reporter) as spec_file:
        if reference:
            build_laid(spec_file, reference, reporter=reporter)
        change = msgspec.structs.replace(change, reference=reference or None)
        status = services.update(name, change, spec_file, version=version, reporter=reporter, **more)
    made = msgspec.structs.replace(
        record, updated=_now(), declared=declared, reference=reference, number=number, error="",
        models=_names(declared),
    )  # fmt: skip
    keep_service(root, made if record is whole else with_version(whole, made))
    return Deployed(status=status, record=made)


def package(
    workspace: Workspace,
    asked: Asked,
    *,
    output: Path | None = None,
    image_name: str | None = None,
    image_label: str | None = None,
    reporter: Reporter = SILENT,
) -> Packaged:
    """Make an image of models, or a build context for `docker build`.

    Args:
        workspace: that has the models; an image is pushed beside one that is a registry.
        asked: files and models.
        output: folder for the build context, in place of an image.
        image_name: of the image; `package` where None.
        image_label: its tag; the time where None.
        reporter: is told what is done.

    Raises:
        UsageError: a folder and a name of an image are both given; and see `packager.steps.v1_files.declare`.
        PackagerError: it cannot be packaged.
    """
    if output is not None and (image_name or image_label):
        raise UsageError("a build context has no name of an image", remedy="leave --output-path out, or --in and --il")
    name = image_name or "package"
    label = image_label or time.strftime("%Y%m%d%H%M%S", time.gmtime())
    declared = declare(workspace, name.rpartition("/")[2], asked, reporter)
    place = f"{declared.name}-{package_name(label)}" if output is None else declared.name
    models, folder = _names(declared), _root(workspace) / _PACKAGES / place
    with laid(_root(workspace), declared, _PACKAGES, place=place, reporter=reporter) as spec_file:
        if output is not None:
            from packager.steps.save import save_targets

            for _ in save_targets(spec_file, output=output, reporter=reporter):
                pass
            return Packaged(image=None, output=output, models=models, folder=folder)
        prefix = (
            workspace.location.removeprefix("oci://").rstrip("/") if workspace.location.startswith("oci://") else ""
        )
        image = f"{prefix}/{name}:{label}" if prefix else f"{name}:{label}"
        build_laid(spec_file, image, reporter=reporter)
    if prefix:
        from packager.steps.push import push

        push([image], reporter=reporter)
    return Packaged(image=image, output=None, models=models, folder=folder)


def _root(workspace: Workspace) -> Path:
    return root_of(workspace.name, workspace.location)


def _changed(workspace: Workspace, old: Declared, asked: Asked, reporter: Reporter) -> Declared:
    """Return what a service is packaged from, with other models or another script."""
    named = bool(asked.models or asked.metadata)
    if asked.inference is None:
        found = find_models(workspace, asked, code=old.entry_script is not None) if named else old.models
        return msgspec.structs.replace(old, models=found)
    if not named:
        asked = msgspec.structs.replace(asked, models=tuple(each.registered or str(each.path) for each in old.models))
    new = declare(workspace, old.name, asked, reporter)
    return msgspec.structs.replace(new, server={**old.server, **new.server}, service=old.service)


def _record(name: str, deployment: Deployment, declared: Declared, reference: str, number: int) -> Record:
    now = _now()
    return Record(
        name=name, compute=deployment.compute, created=now, updated=now, reference=reference, number=number,
        wanted=_wanted(deployment, declared), models=_names(declared), declared=declared, tags=deployment.tags,
        properties=deployment.properties, description=deployment.description, target=deployment.target,
    )  # fmt: skip


def _wanted(deployment: Deployment, declared: Declared) -> Wanted:
    """Return what the spec's `service:` has as v1's classes have it."""
    service = declared.service
    auth = service.get("auth")
    cpu, memory = service.get("cpu_limit", service.get("cpu")), service.get("memory_limit", service.get("memory"))
    wanted = Wanted(
        compute=deployment.compute,
        port=deployment.port,
        cpus=None if cpu is None else cpu_of(cpu),
        memory_gb=None if memory is None else memory_of(memory) / 2**30,
        auth=auth in ("key", "token"),
        token=auth == "token",
        asked=asked_of(service) if deployment.compute == "AKS" else {},
        description=deployment.description,
        tags=deployment.tags,
        properties=deployment.properties,
    )
    return wanted.within(os.cpu_count() or 1)


def _names(declared: Declared) -> tuple[str, ...]:
    return tuple(each.registered or str(each.name) for each in declared.models)


def _require_free(name: str, before: Record | None, *, overwrite: bool, workspace: Workspace) -> None:
    """Refuse a name that a service has, unless it is to be replaced, or has failed; one with versions always.

    Raises:
        UsageError: there is one of the name.
    """
    try:
        status = services.look(name)
    except PackagerError:
        return
    services.require_one_backend(status)  # before anything is built
    if overwrite or (before is not None and before.error):
        return
    if status.taken:
        known = "" if before is not None else f", of which the workspace {workspace.name} knows nothing"
        raise UsageError(
            f"there is a service {name!r} already ({status.state}, {status.image}){known}",
            remedy=f"--overwrite replaces it; `packager service update {name} -m … --ic …` keeps its address and keys",
        )


def _require_there(name: str, record: Record | None) -> None:
    """Refuse to update what is not there.

    Raises:
        ServiceError: it is deleted, or never was.
    """
    try:
        services.look(name)
    except ServiceError:
        if record is None:
            raise
        raise ServiceError(
            f"the service {name!r} is deleted, and cannot be updated",
            remedy=f"`packager model deploy -n {name} …` deploys it again",
        ) from None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
