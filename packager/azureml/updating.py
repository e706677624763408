"""What follows a deployment: other models, another script, other limits, and scripts as they are now."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import msgspec

from packager.azureml.calling import LINES, ONE_AT_A_TIME, tell
from packager.azureml.deploying import copy_of, find, keep, made_of, now, told_when_interrupted
from packager.azureml.exceptions import WebserviceException
from packager.azureml.packaging import declare, declared_models, laid
from packager.spec.model import Server
from packager.spec.service import ServiceWishes
from packager.steps import service as services
from packager.steps.app_copy import app_mounts, require_startable, write_app
from packager.steps.declared import Declared
from packager.steps.v1_records import SERVICES, Record, image_of
from packager.steps.v1_wanted import in_force
from packager.steps.wishes import variables

if TYPE_CHECKING:
    from packager.azureml.core.workspace import Workspace


def update(workspace: Workspace, record: Record, changes: dict[str, Any]) -> Record:
    """Replace what a service runs, what it may use, or what is said of it; requests in flight are finished.

    Args:
        workspace: that it is of.
        record: of it.
        changes: `models`, `config`, `reference`, `cpus`, `memory_gb`, `token`, `asked`, `tags`, `properties`,
            `description`.

    Raises:
        WebserviceException: it is deleted, or the new models and scripts are not known.
        PackagerError: the new one cannot be packaged, or does not become healthy: the old one serves on.
    """
    if find(workspace, record.name) is None:
        raise WebserviceException(f"WebserviceNotFound: there is no service {record.name} to update: it is deleted")
    made = updated(workspace, record, changes, record.name)
    keep(workspace, made)
    return made


def updated(
    workspace: Workspace,
    record: Record,
    changes: dict[str, Any],
    service: str,
    *,
    number: int | None = None,
    version: str | None = None,
) -> Record:
    """Put changes into force, and return what is to be remembered.

    Args:
        workspace: that it is of.
        record: of a service, or of a version of an endpoint.
        changes: see `update`.
        service: name of it.
        number: of images that were made for it; the record's where None.
        version: name of the version; None for a service.

    Raises:
        WebserviceException, PackagerError: see `update`.
    """
    declared, reference = record.declared, changes.get("reference")
    number, spec_file = record.number if number is None else number, None
    docker = not services.is_without_docker(service)
    if reference is not None and not docker:
        raise WebserviceException(f"{service} runs without Docker, and takes no image: deploy it again")
    if changes.get("models") is not None or changes.get("config") is not None or changes.get("again"):
        number += 1
        with ONE_AT_A_TIME, told_when_interrupted(f"{record.name} runs on as it was"):
            declared = _redeclared(workspace, record, changes)
            reference = image_of(service, number) if docker else ""
            spec_file = made_of(workspace, declared, reference)
    wanted, fields = record.wanted, in_force(changes.get("asked") or {})
    if fields and declared is not None:
        declared = msgspec.structs.replace(declared, service={**declared.service, **fields})
    limits = {name: changes[name] for name in ("cpus", "memory_gb") if changes.get(name) is not None}
    if limits:
        wanted = msgspec.structs.replace(wanted, **limits).within(os.cpu_count() or 1)
    if reference is not None or (limits and docker) or fields:
        change = services.Change(
            reference=reference or None,
            env=_variables(fields),
            cpus=wanted.cpus if "cpus" in limits and docker else None,
            memory=wanted.memory if "memory_gb" in limits and docker else None,
        )
        with told_when_interrupted(f"{record.name} runs on as it was"):
            services.update(service, change, spec_file, version=version, timeout=wanted.timeout, reporter=LINES)
    if changes.get("token") is not None:
        wanted = msgspec.structs.replace(wanted, token=changes["token"])
    if changes.get("asked") is not None:
        wanted = msgspec.structs.replace(wanted, asked={**wanted.asked, **changes["asked"]})
    ids = tuple(each.registered or str(each.name) for each in declared.models) if declared else record.models
    said = {name: changes[name] for name in ("tags", "properties", "description") if changes.get(name) is not None}
    return msgspec.structs.replace(
        record, updated=now(), declared=declared, reference=reference or record.reference, number=number, error="",
        wanted=wanted, models=ids, **said,
    )  # fmt: skip


def _variables(fields: dict[str, Any]) -> dict[str, str]:
    """Return what a container is told of fields of `service`; one worker, too, which may have been several."""
    env = variables(ServiceWishes(**fields), Server())
    return {**env, "WORKER_COUNT": str(fields["concurrency"])} if "concurrency" in fields else env


def _redeclared(workspace: Workspace, record: Record, changes: dict[str, Any]) -> Declared:
    """Return what a service is packaged from, with new models or a new script."""
    old = record.declared
    if old is None:
        raise WebserviceException(f"{record.name} was deployed from an image: update it with another image")
    models, config = changes.get("models"), changes.get("config")
    if config is None and models is None:
        return old
    if config is not None or old.entry_script is None:
        known = [each.registered or str(each.path) for each in old.models]
        return declare(
            workspace, old.name, known if models is None else models, config, server=old.server, service=old.service
        )
    # Other models under the same script: what else is declared stays.
    return msgspec.structs.replace(old, models=declared_models(workspace, models or ()))


def reload(workspace: Workspace, record: Record) -> Record:
    """Let a service take its script and source directory as they are now; environment and models stay.

    Its workers begin anew in place, without another image, where its app is mounted; else it is updated.

    Raises:
        WebserviceException: it is deleted, or was deployed from an image.
        PackagerError: the script cannot start. Where it is found out before, the old one serves on.
    """
    if find(workspace, record.name) is None:
        raise WebserviceException(f"WebserviceNotFound: there is no service {record.name} to reload: it is deleted")
    if record.declared is None or record.declared.entry_script is None:
        return update(workspace, record, {"again": True})
    copy = copy_of(workspace, record.name, record.number)
    with ONE_AT_A_TIME, laid(workspace, record.declared, SERVICES) as spec_file:
        require_startable(spec_file)
        mounts = app_mounts(spec_file, copy)
        status = services.renew(
            record.name, mounts, lambda: write_app(spec_file, copy), timeout=record.wanted.timeout, reporter=LINES
        )
    if status is None:
        if record.reference:
            tell(f"{record.name}: what runs has not its app mounted: making an image")
        return update(workspace, record, {"again": True})
    made = msgspec.structs.replace(record, updated=now(), error="")
    keep(workspace, made)
    return made
