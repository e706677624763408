"""`Model.deploy` and what follows it: a package, its image, and a named service of this machine."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from packager.azureml import records
from packager.azureml.calling import LINES, ONE_AT_A_TIME, tell
from packager.azureml.exceptions import WebserviceException
from packager.azureml.packaging import build_image, declare, declared_models, laid, require_list
from packager.contract import DEFAULT_PORT
from packager.errors import EngineError, PackagerError, ServiceError
from packager.serving.service import Mounted
from packager.steps import service as services
from packager.steps.app_copy import app_mounts, require_startable, write_app
from packager.steps.declared import Declared, package_name
from packager.steps.run import RunWish
from packager.steps.v1_records import SERVICES, Record, as_service, find_service, image_of, keep_service
from packager.steps.v1_wanted import Wanted

if TYPE_CHECKING:
    from packager.azureml.core.inference_config import InferenceConfig
    from packager.azureml.core.webservice import Webservice
    from packager.azureml.core.workspace import Workspace


#: Of copies of apps.
_COPIES = "apps"


def deploy(
    workspace: Workspace,
    name: str,
    models: Sequence[Any],
    config: InferenceConfig | None,
    deployment: Any,
    target: Any,
    *,
    overwrite: bool,
    beside: Iterable[Path] = (),
) -> Webservice:
    """Package models, and start them as a service.

    Raises:
        WebserviceException: there is a service of the name, or something cannot be packaged.
        PackagerError: see the steps `lock` and `build`.
    """
    with ONE_AT_A_TIME:
        require_list(models)
        wanted = _wanted(deployment, target, models)
        _require_free(workspace, name, wanted, overwrite=overwrite)
        declared = declare(
            workspace, name, models, config, server=_server(wanted), service=_service(wanted), beside=beside
        )
    return start(workspace, name, wanted, declared=declared, target=target)


def deploy_image(
    workspace: Workspace,
    name: str,
    reference: str,
    deployment: Any,
    target: Any,
    *,
    overwrite: bool,
    ids: Sequence[str],
) -> Webservice:
    """Start an image that is there as a service; parameters as of `deploy`."""
    wanted = _wanted(deployment, target, ())
    _require_free(workspace, name, wanted, overwrite=overwrite)
    return start(workspace, name, wanted, reference=reference, target=target, ids=tuple(ids))


def start(
    workspace: Workspace,
    name: str,
    wanted: Wanted,
    *,
    declared: Declared | None = None,
    reference: str | None = None,
    target: Any = None,
    ids: tuple[str, ...] = (),
) -> Webservice:
    """Build what is declared, or take an image, and start it; one of the name is replaced once the new one is healthy.

    A service that does not become healthy is no error here: it has failed, and says why when it is waited for.
    """
    mounts: tuple[Mounted, ...] = ()
    with ONE_AT_A_TIME:
        before = find(workspace, name)
        number = before.number + 1 if before is not None else 1
        if declared is not None:
            reference = image_of(name, number)
            with _told_when_interrupted(f"{name} {'is not started' if before is None else 'is as it was'}"):
                spec_file = build_image(workspace, declared, SERVICES, reference)
            if wanted.compute == "Local" and declared.entry_script is not None:
                mounts = write_app(spec_file, _copy_of(workspace, name, number))
    if declared is not None:
        ids = tuple(each.registered or str(each.name) for each in declared.models)
    assert reference is not None, "an image is declared, or named"
    now = _now()
    record = Record(
        name=name, compute=wanted.compute, created=now, updated=now, reference=reference, number=number,
        wanted=msgspec.structs.replace(wanted, keys=(None, None)), models=ids, declared=declared, tags=wanted.tags,
        properties=wanted.properties, description=wanted.description, target=getattr(target, "name", ""),
    )  # fmt: skip
    if wanted.compute != "Local":
        tell(wanted.sentence(name))
    wish = RunWish(
        reference=reference,
        publish=f"{wanted.port or 0}:{DEFAULT_PORT}",
        env={"SERVICE_NAME": name},
        keys="\n".join(filter(None, wanted.keys)) or None,
        memory=wanted.memory,
        cpus=wanted.cpus,
        timeout=wanted.timeout,
    )
    try:
        _start(name, wish, mounts)
    except ServiceError as error:
        record = msgspec.structs.replace(record, error=error.message)
    except KeyboardInterrupt:
        left = _left(name)
        if left is None:
            records.remove(workspace, SERVICES, name)
        tell(f"interrupted: the service {name} {left or 'is gone'}")
        raise
    with ONE_AT_A_TIME:
        keep(workspace, record)
    return service_of(workspace, record)


def _start(name: str, wish: RunWish, mounts: tuple[Mounted, ...]) -> None:
    """Start a service, with a copy of its app mounted over that of the image where the engine can."""
    if mounts:
        try:
            services.deploy(name, wish, replace=True, mounts=mounts, reporter=LINES)
            return
        except EngineError as error:
            # It may be elsewhere, and not see the folders of this machine.
            tell(f"{name}: its app is not mounted, and reload() makes an image: {error.message}")
    services.deploy(name, wish, replace=True, reporter=LINES)


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
    copy = _copy_of(workspace, record.name, record.number)
    with ONE_AT_A_TIME, laid(workspace, record.declared, SERVICES) as spec_file:
        require_startable(spec_file)
        mounts = app_mounts(spec_file, copy)
        status = services.renew(
            record.name, mounts, lambda: write_app(spec_file, copy), timeout=record.wanted.timeout, reporter=LINES
        )
    if status is None:
        tell(f"{record.name}: what runs has not its app mounted: making an image")
        return update(workspace, record, {"again": True})
    made = msgspec.structs.replace(record, updated=_now(), error="")
    keep(workspace, made)
    return made


def forget(workspace: Workspace, name: str) -> None:
    """Remove what is remembered of a service, and the copies of its app."""
    records.remove(workspace, SERVICES, name)
    for folder in records.folder(workspace, _COPIES).glob(f"{name}-*"):
        if folder.name.removeprefix(f"{name}-").isdecimal():
            shutil.rmtree(folder, ignore_errors=True)


def _copy_of(workspace: Workspace, name: str, number: int) -> Path:
    """Return the folder of the copy that the container of an image sees."""
    return records.folder(workspace, _COPIES) / f"{name}-{number}"


def redeploy(workspace: Workspace, record: Record, name: str | None, deployment: Any, target: Any) -> Webservice:
    """Start what a service is packaged from again, as another one.

    Raises:
        WebserviceException: there is one of the name; it was deployed from an image.
        PackagerError: see the steps `lock` and `build`.
    """
    own = name or record.name
    if record.declared is None:
        return deploy_image(
            workspace, own, record.reference, deployment, target, overwrite=own == record.name, ids=record.models
        )
    wanted = _wanted(deployment, target, ())
    _require_free(workspace, own, wanted, overwrite=own == record.name)
    declared = msgspec.structs.replace(
        record.declared, name=package_name(own), server=_server(wanted), service=_service(wanted)
    )
    return start(workspace, own, wanted, declared=declared, target=target)


def update(workspace: Workspace, record: Record, changes: dict[str, Any]) -> Record:
    """Replace what a service runs, what it may use, or what is said of it; requests in flight are finished.

    Args:
        workspace: that it is of.
        record: of it.
        changes: `models`, `config`, `reference`, `cpus`, `memory_gb`, `token`, `tags`, `properties`, `description`.

    Raises:
        WebserviceException: it is deleted, or the new models and scripts are not known.
        PackagerError: the new one cannot be packaged, or does not become healthy: the old one serves on.
    """
    if find(workspace, record.name) is None:
        raise WebserviceException(f"WebserviceNotFound: there is no service {record.name} to update: it is deleted")
    declared, reference, number = record.declared, changes.get("reference"), record.number
    if changes.get("models") is not None or changes.get("config") is not None or changes.get("again"):
        with ONE_AT_A_TIME, _told_when_interrupted(f"{record.name} runs on as it was"):
            declared, reference = _redeclared(workspace, record, changes), image_of(record.name, number + 1)
            build_image(workspace, declared, SERVICES, reference)
        number += 1
    wanted = record.wanted
    limits = {name: changes[name] for name in ("cpus", "memory_gb") if changes.get(name) is not None}
    if limits:
        wanted = msgspec.structs.replace(wanted, **limits).within(os.cpu_count() or 1)
    if reference is not None or limits:
        change = services.Change(
            reference=reference,
            cpus=wanted.cpus if "cpus" in limits else None,
            memory=wanted.memory if "memory_gb" in limits else None,
        )
        with _told_when_interrupted(f"{record.name} runs on as it was"):
            services.update(record.name, change, timeout=wanted.timeout, reporter=LINES)
    if changes.get("token") is not None:
        wanted = msgspec.structs.replace(wanted, token=changes["token"])
    ids = tuple(each.registered or str(each.name) for each in declared.models) if declared else record.models
    said = {name: changes[name] for name in ("tags", "properties", "description") if changes.get(name) is not None}
    made = msgspec.structs.replace(
        record, updated=_now(), declared=declared, reference=reference or record.reference, number=number, error="",
        wanted=wanted, models=ids, **said,
    )  # fmt: skip
    keep(workspace, made)
    return made


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
            workspace, record.name, known if models is None else models, config, server=old.server, service=old.service
        )
    # Other models under the same script: what else is declared stays.
    return msgspec.structs.replace(old, models=declared_models(workspace, models or ()))


def find(workspace: Workspace, name: str) -> Record | None:
    """Return what is remembered of a service; None where it is no service of the workspace."""
    return find_service(records.root(workspace), name)


def find_all(workspace: Workspace) -> tuple[Record, ...]:
    """Return all services of a workspace, by name."""
    found = (as_service(data) for data in records.read_all(workspace, SERVICES).values())
    return tuple(each for each in found if each is not None)


def keep(workspace: Workspace, record: Record) -> None:
    """Remember a service."""
    keep_service(records.root(workspace), record)


def service_of(workspace: Workspace, record: Record) -> Webservice:
    """Return v1's object for a service."""
    from packager.azureml.core.webservice import AciWebservice, AksWebservice, LocalWebservice

    kinds: dict[str, type[Webservice]] = {"Local": LocalWebservice, "ACI": AciWebservice, "AKS": AksWebservice}
    return kinds[record.compute]._of(workspace, record)


def _wanted(deployment: Any, target: Any, models: Sequence[Any]) -> Wanted:
    """Return what a configuration wants; where there is none, it is ACI's, or AKS's for a target."""
    from packager.azureml.core.webservice import AciWebservice, AksWebservice
    from packager.azureml.core.webservice.configurations import (
        AksServiceDeploymentConfiguration,
        WebserviceDeploymentConfiguration,
    )

    if deployment is None:
        resources = getattr(models[0], "resource_configuration", None) if len(models) == 1 else None
        cpu, memory = (getattr(resources, name, None) for name in ("cpu", "memory_in_gb"))
        kind = AciWebservice if target is None else AksWebservice
        deployment = kind.deploy_configuration(cpu_cores=cpu, memory_gb=memory)
    if not isinstance(deployment, WebserviceDeploymentConfiguration):
        raise WebserviceException("deployment_config is what LocalWebservice, AciWebservice or AksWebservice"
                                  ".deploy_configuration() returns")  # fmt: skip
    if isinstance(deployment, AksServiceDeploymentConfiguration) and not (target or deployment.compute_target_name):
        raise WebserviceException(
            "Must provide a deployment_target, or compute_target_name in the configuration, to deploy to AKS: "
            "AksCompute(workspace, name)"
        )
    deployment.validate_configuration()
    return deployment._wanted().within(os.cpu_count() or 1)


def _server(wanted: Wanted) -> dict[str, Any]:
    server: dict[str, Any] = {"auth": "key"} if wanted.auth else {}
    if wanted.scoring_timeout is not None:
        server["scoring_timeout"] = wanted.scoring_timeout
    return server


def _service(wanted: Wanted) -> dict[str, Any]:
    service: dict[str, Any] = {"cpu": wanted.cpus} if wanted.cpus is not None else {}
    if wanted.memory_gb is not None:
        service["memory"] = f"{round(wanted.memory_gb * 1024)}Mi"
    return service


def _require_free(workspace: Workspace, name: str, wanted: Wanted, *, overwrite: bool) -> None:
    """Refuse a name that a service has, unless it is to be replaced; a local one always is, as in v1.

    Raises:
        WebserviceException: there is one of the name.
    """
    services.service_name(name)
    try:
        services.look(name)
    except PackagerError:
        return  # one that is remembered was deleted by `packager service delete`
    there = find(workspace, name)
    if there is None:
        if not overwrite:
            raise WebserviceException(f"there is a service {name!r} on this machine that this workspace knows nothing "
                                      "of: `packager service delete` removes it, or take another name")  # fmt: skip
    elif not (overwrite or there.error or (wanted.compute == there.compute == "Local")):
        raise WebserviceException(
            f"Service {name} with the same name already exists, please use a different service name or delete the "
            "existing service: overwrite=True replaces it"
        )


@contextmanager
def _told_when_interrupted(sentence: str) -> Iterator[None]:
    """Say how the service is when the user ends it."""
    try:
        yield
    except KeyboardInterrupt:
        tell(f"interrupted: {sentence}")
        raise


def _left(name: str) -> str | None:
    """Return in words what there is of a service whose deployment was interrupted; None where it is gone."""
    try:
        return f"runs {services.look(name).image} as before"
    except PackagerError:
        return None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
