"""What a workspace gives, as plain data in the forms of `packager.steps.workspace_outputs`. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from packager.workspace.actions import Copied, Difference
from packager.workspace.values import File, Held, ImageRecord, Resources, Source, Version

if TYPE_CHECKING:
    from packager.steps.listed_environments import ListedEnvironment
    from packager.steps.needed import Use


def summary(version: Version) -> dict[str, Any]:
    """Return a version as `RegisteredSummary`."""
    return {
        "id": version.id,
        "name": version.name,
        "version": version.version,
        "digest": version.digest,
        "created": version.created,
        "size": version.size,
        "framework": version.framework,
        "framework_version": version.framework_version,
        "description": version.description,
        "tags": version.tags,
        "properties": version.properties,
    }


def registered(version: Version, location: str) -> dict[str, Any]:
    """Return a version of the workspace at a location as `Registered`."""
    return {
        **summary(version),
        "workspace": location,
        "files": [_file(each) for each in version.files],
        "samples": [_file(each) for each in version.samples],
        "resources": _resources(version.resources),
        "source": _source(version.source),
        "run_id": version.run_id,
        "details": version.details,
    }


def registered_files(version: Version | None) -> list[dict[str, Any]]:
    """Return the files of a version as a list of `FileEntry`; none where there is no version."""
    return [] if version is None else [_file(each) for each in version.files]


def used_by(uses: tuple[Use, ...]) -> list[dict[str, Any]]:
    """Return what needs a version as a list of `UsedBy`."""
    return [{"kind": each.kind, "what": each.what, "digest": each.digest, "when": each.when} for each in uses]


def difference(before: Version, after: Version, found: Difference) -> dict[str, Any]:
    """Return what differs between two versions as `ModelDifference`."""
    return {
        "before": before.id,
        "after": after.id,
        "added": [_file(each) for each in found.added],
        "removed": [_file(each) for each in found.removed],
        "changed": [{"path": old.path, "before": _file(old), "after": _file(new)} for old, new in found.changed],
        "facts": [{"name": name, "before": old, "after": new} for name, (old, new) in found.facts.items()],
    }


def image(record: ImageRecord) -> dict[str, Any]:
    """Return an image as `ImageListed`."""
    return {
        "reference": record.reference,
        "digest": record.digest,
        "when": record.when,
        "pushed": record.pushed,
        "models": [_held(each) for each in record.models],
        "environment": None if record.environment is None else _held(record.environment),
        "spec": record.spec,
        "package": record.package,
    }


def environment(found: ListedEnvironment) -> dict[str, Any]:
    """Return an environment as `CuratedSummary` of `packager.steps.outputs`."""
    version, curated = found.registered, found.curated
    locked = {} if curated is None else {name: list(each) for name, each in curated.platforms.items()}
    return {
        "name": found.name,
        "description": version.description if version is not None else curated.description if curated else "",
        "python": None if curated is None else curated.python,
        "locked": locked,
        "kind": found.kind,
        "version": None if version is None else version.version,
        "curated": curated.name if curated is not None and found.kind == "v1" else None,
        "digest": None if version is None else version.digest,
        "tags": {} if version is None else version.tags,
        "created": None if version is None else version.created,
    }


def copied(found: Copied) -> dict[str, Any]:
    """Return what was copied as `WorkspaceCopied`."""
    return {"copied": [each.id for each in found.copied], "present": [each.id for each in found.present]}


def _file(file: File) -> dict[str, Any]:
    return {"path": file.path, "size": file.size, "sha256": file.sha256}


def _resources(resources: Resources | None) -> dict[str, Any] | None:
    if resources is None:
        return None
    return {"cpu": resources.cpu, "memory_gb": resources.memory_gb, "gpu": resources.gpu}


def _source(source: Source | None) -> dict[str, Any] | None:
    return None if source is None else {"uri": source.uri, "revision": source.revision}


def _held(held: Held) -> dict[str, Any]:
    return {"id": f"{held.name}:{held.version}", "digest": held.digest}
