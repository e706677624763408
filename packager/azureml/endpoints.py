"""Versions of an `AksEndpoint`: a thin layer over those that a named service of this machine has."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from packager.azureml.calling import LINES, ONE_AT_A_TIME, tell
from packager.azureml.deploying import find, keep, made_of, now, told_when_interrupted, wanted_service, wish_of
from packager.azureml.exceptions import WebserviceException
from packager.azureml.packaging import declare
from packager.azureml.updating import updated
from packager.errors import ServiceError
from packager.serving.traffic import version_name
from packager.steps import service as services
from packager.steps.v1_records import Record, image_of, with_version
from packager.steps.v1_wanted import Wanted

if TYPE_CHECKING:
    from packager.azureml.core.workspace import Workspace


def create_version(
    workspace: Workspace,
    endpoint: Record,
    name: str,
    wanted: Wanted,
    models: Sequence[Any] | None,
    config: Any,
    *,
    traffic: float | None,
    default: bool,
    control: bool,
) -> Record:
    """Package models, start them as another version of an endpoint, and return what is remembered of the endpoint.

    Args:
        workspace: that it is of.
        endpoint: that gets the version.
        name: of the version.
        wanted: by its configuration; keys are the endpoint's.
        models: as v1 takes them.
        config: the entry script; None for a model without code.
        traffic: share of the requests, in percent; None for nothing.
        default: it is the default version from now on.
        control: the others are held against it.

    Raises:
        WebserviceException: there is no such endpoint any more, or a version of the name.
        PackagerError: it cannot be packaged, or more than all requests are to be shared.
    """
    with ONE_AT_A_TIME:
        endpoint = _there(workspace, endpoint.name)
        _require_name(endpoint, name, "create")
        version_name(name, endpoint.name)
        if name in endpoint.versions and not endpoint.versions[name].error:
            raise WebserviceException(f"{endpoint.name} has a version {name} already: update_version() changes it")
        of = endpoint.wanted
        wanted = msgspec.structs.replace(wanted, auth=of.auth, token=of.token).within(os.cpu_count() or 1)
        declared = declare(
            workspace, f"{endpoint.name}-{name}", models or [], config,
            service=wanted_service(wanted),
        )  # fmt: skip
        at, number = now(), endpoint.number + 1
        reference = "" if services.is_without_docker(endpoint.name) else image_of(endpoint.name, number)
        record = Record(
            name=name, compute="AKS", created=at, updated=at, reference=reference, number=number,
            wanted=wanted, models=tuple(each.registered or str(each.name) for each in declared.models),
            declared=declared, tags=wanted.tags, properties=wanted.properties, description=wanted.description,
            target=endpoint.target, traffic=round(traffic or 0),
        )  # fmt: skip
        _ = with_version(endpoint, record, default=default).shares  # refused before anything is built
        keep(workspace, msgspec.structs.replace(endpoint, number=number))  # the image is nobody else's
        with told_when_interrupted(f"{endpoint.name} has no version {name}"):
            spec_file = made_of(workspace, declared, reference)
    tell(wanted.sentence(f"{endpoint.name} ({name})"))
    wish = msgspec.structs.replace(wish_of(endpoint.name, reference, wanted, spec_file), publish=None)
    try:
        services.deploy(endpoint.name, wish, spec_file, version=name, reporter=LINES)
    except ServiceError as error:
        # As v1: it has failed, and `wait_for_deployment` says why.
        failed = msgspec.structs.replace(record, error=error.message, traffic=0)
        return _changed(workspace, endpoint.name, failed, error=f"version {name}: {error.message}")
    return _changed(workspace, endpoint.name, record, default=default, control=control)


def update_version(
    workspace: Workspace,
    endpoint: Record,
    name: str,
    changes: dict[str, Any],
    *,
    traffic: float | None,
    default: bool,
    control: bool,
) -> Record:
    """Change a version of an endpoint, and return what is remembered of the endpoint.

    Args:
        workspace: that it is of.
        endpoint: that has the version.
        name: of the version.
        changes: as of `packager.azureml.updating.update`.
        traffic: share of the requests from now on, in percent; None leaves it.
        default: it is the default version from now on.
        control: the others are held against it.

    Raises:
        WebserviceException: there is no such endpoint or version any more, or nothing is to be changed.
        PackagerError: the new one cannot be packaged, does not become healthy (the old one serves on), or more than
            all requests are to be shared.
    """
    if traffic is None and not default and not control and all(value is None for value in changes.values()):
        raise WebserviceException("No parameters provided to update a version.")
    with ONE_AT_A_TIME:
        endpoint = _there(workspace, endpoint.name)
        record = _version(endpoint, name, "update")
        if traffic is not None:
            record = msgspec.structs.replace(record, traffic=round(traffic))
        _ = with_version(endpoint, record, default=default).shares  # refused before anything is built
        number = endpoint.number
        if changes.get("models") is not None or changes.get("config") is not None:
            keep(workspace, msgspec.structs.replace(endpoint, number=number + 1))
    record = updated(workspace, record, changes, endpoint.name, number=number, version=name)
    return _changed(workspace, endpoint.name, record, default=default, control=control)


def delete_version(workspace: Workspace, endpoint: Record, name: str) -> Record:
    """Remove a version of an endpoint, and return what is remembered of the endpoint.

    Its share goes to the default version; where it is the default, that is the one which gets most from now on.

    Raises:
        WebserviceException: there is no such endpoint or version any more, or no other version.
        PackagerError: see the step `service.delete`.
    """
    endpoint = _there(workspace, endpoint.name)
    _version(endpoint, name, "delete")
    made = without_version(endpoint, name)
    if name in services.traffic_of(services.look(endpoint.name)):  # `packager service delete --version` may have been
        services.set_traffic(endpoint.name, made.shares)
        services.delete(endpoint.name, version=name, reporter=LINES)
    return _kept(workspace, made)


def keep_version(workspace: Workspace, endpoint: str, record: Record) -> Record:
    """Remember what is said of a version of an endpoint; return what is remembered of the endpoint.

    Raises:
        WebserviceException: there is no such endpoint any more.
    """
    with ONE_AT_A_TIME:
        return _kept(workspace, with_version(_there(workspace, endpoint), record))


def without_version(endpoint: Record, name: str) -> Record:
    """Return an endpoint without a version.

    Raises:
        WebserviceException: there is no other version.
    """
    rest = {each: record for each, record in endpoint.versions.items() if each != name}
    if not rest:
        raise WebserviceException(f"{name} is the only version of {endpoint.name}: delete() removes the endpoint")
    shares = endpoint.shares
    default = endpoint.default if endpoint.default in rest else max(rest, key=lambda each: shares[each])
    models = tuple(dict.fromkeys(model for each in rest.values() for model in each.models))
    return msgspec.structs.replace(endpoint, versions=rest, default=default, models=models, error="", updated=now())


def _there(workspace: Workspace, name: str) -> Record:
    found = find(workspace, name)
    if found is None or not found.versions:
        raise WebserviceException(f"WebserviceNotFound: there is no endpoint {name}: it is deleted")
    return found


def _require_name(endpoint: Record, name: str, verb: str) -> None:
    if not isinstance(name, str) or not name:
        raise WebserviceException(f"No name is provided to {verb} a version in an Endpoint {endpoint.name}")


def _version(endpoint: Record, name: str, verb: str) -> Record:
    _require_name(endpoint, name, verb)
    if name not in endpoint.versions:
        raise WebserviceException(
            f"{endpoint.name} has no version {name} to {verb}; it has {', '.join(endpoint.versions)}"
        )
    return endpoint.versions[name]


def _changed(
    workspace: Workspace, name: str, record: Record, *, default: bool = False, control: bool = False, error: str = ""
) -> Record:
    """Share the requests as an endpoint's versions are to have them with one that was added or changed; remember it.

    The endpoint is read again: another thread may have added a version meanwhile.
    """
    with ONE_AT_A_TIME:
        before = _there(workspace, name)
        made = with_version(before, record, default=default, control=control)
        if not error and (made.shares != before.shares or record.name not in before.versions):
            services.set_traffic(name, made.shares)
        return _kept(workspace, msgspec.structs.replace(made, updated=now(), error=error))


def _kept(workspace: Workspace, record: Record) -> Record:
    keep(workspace, record)
    return record
