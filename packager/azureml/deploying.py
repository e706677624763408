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
from packager.azureml.packaging import build_image, declare, laid, require_list
from packager.contract import DEFAULT_PORT
from packager.errors import EngineError, PackagerError, ServiceError
from packager.serving.keys import AUTH_VARIABLE
from packager.serving.service import Mounted
from packager.serving.traffic import DEFAULT, LONGEST, version_name
from packager.spec.load import SpecFile
from packager.steps import service as services
from packager.steps.app_copy import write_app
from packager.steps.declared import Declared, package_name
from packager.steps.run import RunWish
from packager.steps.v1_records import SERVICES, Record, as_service, find_service, image_of, keep_service
from packager.steps.v1_wanted import Wanted, in_force

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
        first_version(name, wanted)
        declared = declare(workspace, name, models, config, service=wanted_service(wanted), beside=beside)
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
    spec_file: SpecFile | None = None
    with ONE_AT_A_TIME:
        before = find(workspace, name)
        number = before.number + 1 if before is not None else 1
        docker = declared is None or with_engine(name)
        if declared is not None:
            reference = image_of(name, number) if docker else ""
            with told_when_interrupted(f"{name} {'is not started' if before is None else 'is as it was'}"):
                spec_file = made_of(workspace, declared, reference)
            if docker and wanted.compute == "Local" and declared.entry_script is not None:
                mounts = write_app(spec_file, copy_of(workspace, name, number))
    if declared is not None:
        ids = tuple(each.registered or str(each.name) for each in declared.models)
    assert reference is not None, "an image is declared, or named"
    at = now()
    record = Record(
        name=name, compute=wanted.compute, created=at, updated=at, reference=reference, number=number,
        wanted=msgspec.structs.replace(wanted, keys=(None, None)), models=ids, declared=declared, tags=wanted.tags,
        properties=wanted.properties, description=wanted.description, target=getattr(target, "name", ""),
    )  # fmt: skip
    if wanted.compute != "Local":
        tell(wanted.sentence(name))
    wish, version = wish_of(name, reference, wanted, spec_file), first_version(name, wanted)
    try:
        if version or (before is not None and before.versions) or not docker or services.is_without_docker(name):
            _make_way(name)
        _start(name, wish, spec_file, mounts, version)
    except ServiceError as error:
        record = msgspec.structs.replace(record, error=error.message)
    except KeyboardInterrupt:
        left = _left(name)
        if left is None:
            records.remove(workspace, SERVICES, name)
        tell(f"interrupted: the service {name} {left or 'is gone'}")
        raise
    if version:
        record = endpoint_of(record, version)
    with ONE_AT_A_TIME:
        keep(workspace, record)
    return service_of(workspace, record)


def with_engine(name: str) -> bool:
    """Tell whether there is an engine to build and run an image; where there is none, it is said what is done."""
    if services.engine_answers():
        return True
    tell(f"{name}: there is no engine: it runs as processes of this machine, without an image and without limits")
    return False


def made_of(workspace: Workspace, declared: Declared, reference: str) -> SpecFile:
    """Build the image of what is declared, or lay it out and lock it where that has no reference; return its spec.

    Raises:
        PackagerError: see `packager.azureml.packaging.build_image`.
    """
    if reference:
        return build_image(workspace, declared, SERVICES, reference)
    with laid(workspace, declared, SERVICES) as spec_file:
        return spec_file


def wish_of(name: str, reference: str, wanted: Wanted, spec_file: SpecFile | None) -> RunWish:
    """Return what is asked of the service that runs an image; without a spec, a variable asks for keys."""
    env = {"SERVICE_NAME": name}
    docker = bool(reference)
    return RunWish(
        reference=reference or None,
        docker=docker,
        publish=f"{wanted.port or 0}:{DEFAULT_PORT}",
        env={**env, AUTH_VARIABLE: "key"} if wanted.auth and spec_file is None else env,
        keys="\n".join(filter(None, wanted.keys)) or None,
        memory=wanted.memory if docker else None,
        cpus=wanted.cpus if docker else None,
        timeout=wanted.timeout,
    )


def _make_way(name: str) -> None:
    """Remove what cannot be replaced in place: an endpoint, what is none, and what runs without Docker."""
    if name in services.service_names():
        services.delete(name)
        tell(f"{name}: what was there is deleted")


def _start(name: str, wish: RunWish, spec_file: SpecFile | None, mounts: tuple[Mounted, ...], version: str) -> None:
    """Start a service, or the first version of an endpoint, with a copy of its app mounted where the engine can."""
    if version:
        services.deploy(name, wish, spec_file, version=version, reporter=LINES)
        return
    if mounts:
        try:
            services.deploy(name, wish, spec_file, replace=True, mounts=mounts, reporter=LINES)
            return
        except EngineError as error:
            # It may be elsewhere, and not see the folders of this machine.
            tell(f"{name}: its app is not mounted, and reload() makes an image: {error.message}")
    services.deploy(name, wish, spec_file, replace=True, reporter=LINES)


def forget(workspace: Workspace, name: str) -> None:
    """Remove what is remembered of a service, and the copies of its app."""
    records.remove(workspace, SERVICES, name)
    for folder in records.folder(workspace, _COPIES).glob(f"{name}-*"):
        if folder.name.removeprefix(f"{name}-").isdecimal():
            shutil.rmtree(folder, ignore_errors=True)


def copy_of(workspace: Workspace, name: str, number: int) -> Path:
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
        record.declared, name=package_name(own), server={}, service=wanted_service(wanted)
    )
    return start(workspace, own, wanted, declared=declared, target=target)


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
    from packager.azureml.core.webservice import AciWebservice, AksEndpoint, AksWebservice, LocalWebservice

    kinds: dict[str, type[Webservice]] = {
        "Local": LocalWebservice, "ACI": AciWebservice, "AKS": AksWebservice, "AKSENDPOINT": AksEndpoint,
    }  # fmt: skip
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


def wanted_service(wanted: Wanted) -> dict[str, Any]:
    """Return the fields of the spec's `service` that a configuration wants: no image follows from them."""
    service: dict[str, Any] = {"cpu": wanted.cpus} if wanted.cpus is not None else {}
    if wanted.memory_gb is not None:
        service["memory"] = f"{round(wanted.memory_gb * 1024)}Mi"
    service |= in_force(wanted.asked)
    if wanted.auth:
        service["auth"] = "token" if wanted.token else "key"
    return service


def _require_free(workspace: Workspace, name: str, wanted: Wanted, *, overwrite: bool) -> None:
    """Refuse a name that a service has, unless it is to be replaced; a local one always is, as in v1.

    Raises:
        WebserviceException: there is one of the name.
    """
    services.service_name(name)
    try:
        status = services.look(name)
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
    if there is None or not there.versions:
        services.require_one_backend(status)  # before anything is built


@contextmanager
def told_when_interrupted(sentence: str) -> Iterator[None]:
    """Say how the service is when the user ends it."""
    try:
        yield
    except KeyboardInterrupt:
        tell(f"interrupted: {sentence}")
        raise


def first_version(name: str, wanted: Wanted) -> str:
    """Return the name of the version that an endpoint begins with: its own, as in v1; empty where it is no endpoint.

    Raises:
        UsageError: it cannot be one.
    """
    if wanted.compute != "AKSENDPOINT":
        return ""
    return version_name(wanted.version or (name if 2 * len(name) <= LONGEST else DEFAULT), name)


def endpoint_of(record: Record, version: str) -> Record:
    """Return what is remembered of an endpoint that begins with a version. Pure.

    Args:
        record: of the version, as if it were a service.
        version: name of it.
    """
    wanted = msgspec.structs.replace(record.wanted, compute="AKS")
    first = msgspec.structs.replace(
        record, name=version, compute="AKS", wanted=wanted, traffic=round(record.wanted.traffic or 0)
    )
    return msgspec.structs.replace(record, declared=None, versions={version: first}, default=version)


def _left(name: str) -> str | None:
    """Return in words what there is of a service whose deployment was interrupted; None where it is gone."""
    try:
        return f"runs {services.look(name).image} as before"
    except PackagerError:
        return None


def now() -> str:
    """Return the time as records have it."""
    return datetime.now(UTC).isoformat(timespec="microseconds")
