"""What the shell completes: names of targets, services, models, environments, workspaces, images and schemas.

A wrong spec or an engine that is off completes nothing, and says nothing: people are in the middle of a line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal

import click

Complete = Callable[[click.Context, click.Parameter, str], list[str]]


def _completes(find: Callable[[click.Context], Iterable[str]]) -> Complete:
    def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
        from packager.errors import PackagerError

        try:
            return [name for name in find(context) if name.startswith(incomplete)]
        except (PackagerError, OSError):
            return []

    return complete


def _file(context: click.Context) -> Path:
    return Path(context.params.get("file") or "packager.yaml")


def _targets(context: click.Context) -> Iterable[str]:
    from packager.errors import SpecError
    from packager.spec.load import load_spec

    try:
        return load_spec(_file(context)).spec.target_names
    except SpecError:
        return _all_targets(context)


def _all_targets(context: click.Context) -> Iterable[str]:
    from packager.targets import target_names

    file = _file(context)
    return target_names((file if file.is_dir() else file.parent) / "templates")


def _references(context: click.Context) -> Iterable[str]:
    from packager.cli.common import load_spec
    from packager.steps.selection import spec_references

    return spec_references(load_spec(_file(context)))


def _curated(context: click.Context) -> Iterable[str]:
    from packager.steps.environment import curated_names

    return curated_names()


def _models(context: click.Context) -> Iterable[str]:
    return _registered(context, "model")


def _environments(context: click.Context) -> Iterable[str]:
    from packager.steps.environment import v1_names

    return (*_curated(context), *v1_names(), *_registered(context, "environment"))


def _registered(context: click.Context, kind: Literal["model", "environment"]) -> Iterable[str]:
    """Return names, each alone and with its versions."""
    from packager.steps.workspace import Workspace

    versions = Workspace(context.params.get("workspace")).kept.versions(kind)
    return (*dict.fromkeys(each.name for each in versions), *(each.id for each in versions))


def _workspaces(context: click.Context) -> Iterable[str]:
    from packager.steps.workspaces import names

    return names()


def _services(context: click.Context) -> Iterable[str]:
    from packager.steps.service import service_names

    return service_names()


def _service_versions(context: click.Context) -> Iterable[str]:
    from packager.steps.service import look, traffic_of

    return tuple(traffic_of(look(str(context.params["name"]))))


def _service_shares(context: click.Context) -> Iterable[str]:
    return (f"{version}=" for version in _service_versions(context))


def _schemas(context: click.Context) -> Iterable[str]:
    from packager.steps.schema import names

    return names()


#: Of the spec, or all where there is none.
targets = _completes(_targets)
all_targets = _completes(_all_targets)
references = _completes(_references)
curated = _completes(_curated)
services = _completes(_services)
service_versions = _completes(_service_versions)
service_shares = _completes(_service_shares)
models = _completes(_models)
environments = _completes(_environments)
workspaces = _completes(_workspaces)
schemas = _completes(_schemas)
