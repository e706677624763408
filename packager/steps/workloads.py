"""An image and a spec → what a platform is told of it."""

from __future__ import annotations

import math
from collections.abc import Mapping

import msgspec

from packager.builders.inspect import ImageView, Inspected, inspect_image
from packager.contract import (
    AUTH_LABEL,
    DEFAULT_PORT,
    DEVICES_LABEL,
    GPUS_LABEL,
    SERVER_SETTINGS,
    TARGET_LABEL,
    TITLE_LABEL,
    VERSION_LABEL,
)
from packager.deployment.service_names import service_name_of
from packager.deployment.workload import Toleration, Volume, Workload
from packager.engine.api import LocalImage, inspect_local
from packager.errors import PackagerError, RegistryError, SpecError, UsageError
from packager.plan.plan import Plan
from packager.plan.volumes import labelled_models
from packager.reference import Reference
from packager.registry.mirrors import registry_mirrors
from packager.registry.resolve import resolve_digest
from packager.serving.example import Example, example_of_case
from packager.serving.service import GRACE, Package
from packager.spec.load import SpecFile
from packager.spec.model import Server
from packager.spec.service import ServiceWishes
from packager.steps.example import folder_from_here
from packager.steps.reporting import Reporter
from packager.steps.stale import changed_since
from packager.steps.wishes import decide
from packager.storage.content import ContentStore
from packager.targets import load_target

#: Seconds until gunicorn ends workers that still score after SIGTERM, where nobody tells it another number.
_GRACEFUL = 30
#: Stands for the digest of what is not built yet: no registry has an image of it.
NO_DIGEST = f"sha256:{'0' * 64}"
#: What the image has for gunicorn; behind it there is room for more.
_OWN_ARGUMENTS = f"--config={SERVER_SETTINGS}"


class Pinned(msgspec.Struct, frozen=True, kw_only=True):
    """An image, and where a platform finds it.

    Attributes:
        name: by which it was asked for.
        image: by digest; the engine's id where only this machine's engine has it.
        local: only this machine's engine has it.
        view: what it says of itself.
        platforms: that it has builds for.
    """

    name: str
    image: str
    local: bool
    view: ImageView
    platforms: tuple[str, ...]


def pin_image(text: str, spec_file: SpecFile | None, reporter: Reporter) -> Pinned:
    """Return an image by digest: the one that is given, that of the engine's image, or that of the tag at its registry.

    Args:
        text: a reference.
        spec_file: the spec, whose mirrors are asked in place of registries.
        reporter: is told what is fetched.

    Raises:
        UsageError: no reference; the engine and the registry have different images under it.
        RegistryError, TemporaryError: neither an engine nor the registry has it.
    """
    mirrors = registry_mirrors(spec_file.spec.registry_mirrors if spec_file is not None else None)
    reference, content = Reference.parse(text), ContentStore()
    try:
        found = inspect_image(text, content, mirrors, say=reporter.detail)
    except RegistryError as error:
        if reference.digest is not None:
            raise
        remedy = "push it first: packager build --push; or --image names another, with its digest"
        raise RegistryError(f"{text} has no digest yet: {error.message}", where=error.where, remedy=remedy) from None
    view = found.images[0]
    platforms = tuple(each.platform for each in found.images)
    local = inspect_local(text) if reference.digest is None else None
    if local is None:
        return Pinned(
            name=text, image=str(reference.with_digest(found.digest)), local=False, view=view, platforms=platforms
        )
    digest = _known_digest(reference, local) or _digest_at_registry(reference, found, mirrors, content, reporter)
    if digest is None:
        return Pinned(name=text, image=local.id, local=True, view=view, platforms=platforms)
    return Pinned(name=text, image=str(reference.with_digest(digest)), local=False, view=view, platforms=platforms)


def _known_digest(reference: Reference, local: LocalImage) -> str | None:
    """Return the digest that the engine has of an image's push or pull."""
    known = (Reference.parse(each) for each in local.repo_digests)
    return next((each.digest for each in known if each.name == reference.name and each.digest), None)


def _digest_at_registry(
    reference: Reference, found: Inspected, mirrors: Mapping[str, str], content: ContentStore, reporter: Reporter
) -> str | None:
    """Return the digest that the registry has of the engine's image; None where it has none of the name.

    Raises:
        UsageError: under this name it has another one.
    """
    if reference.unplaced:
        return None
    try:
        digest = resolve_digest(reference, mirrors)
        if digest == found.digest:
            return digest
        there = inspect_image(str(reference.with_digest(digest)), content, mirrors, say=reporter.detail)
    except PackagerError as error:
        reporter.detail(f"{reference.registry} has no {reference}: {error.message}")
        return None
    if there.images[0].labels != found.images[0].labels:
        raise UsageError(
            f"{reference} is another image in the engine than at {reference.registry}",
            remedy=f"push the engine's: packager push {reference}; or take the registry's: --image "
            f"{reference.with_digest(digest)}",
        )
    return digest


def pin_files(reference: str, spec_file: SpecFile | None) -> str:
    """Return the reference of an image that has a model's files, by digest.

    Raises:
        UsageError, RegistryError, TemporaryError: it is not to be had.
    """
    mirrors = registry_mirrors(spec_file.spec.registry_mirrors if spec_file is not None else None)
    parsed = Reference.parse(reference)
    return str(parsed.with_digest(resolve_digest(parsed, mirrors)))


def workload_of(
    pinned: Pinned,
    spec_file: SpecFile | None,
    *,
    name: str | None = None,
    model_images: Mapping[str, str] | None = None,
    known_images: Mapping[str, str] | None = None,
    device_resource: str = "",
    reporter: Reporter,
) -> Workload:
    """Return what a platform is told of an image.

    Args:
        pinned: the image.
        spec_file: the spec; None where there is none, and one of another package counts for nothing.
        name: of the service; what follows from the package's where None.
        model_images: name of a model (`bert`, `bert:3`) → image that has its files.
        known_images: `name:version` → the image of an earlier run; one that is not needed any more is left out.
        device_resource: what the cluster calls the devices that it needs; the target's word where empty.
        reporter: is told what may be wrong.

    Raises:
        UsageError: the image says too little of itself, or a model is named that it does not mount.
        ContextError: its label of models is not ours.
    """
    labels = pinned.view.labels
    if TITLE_LABEL not in labels or VERSION_LABEL not in labels:
        raise UsageError(
            f"{pinned.name} does not say which package it is, so packager did not make it",
            remedy="deploy an image of `packager build`",
        )
    if spec_file is not None and labels[TITLE_LABEL] != spec_file.spec.name:
        reporter.warn(
            f"the image is of the package {labels[TITLE_LABEL]}: the spec of {spec_file.spec.name} is not used"
        )
        spec_file = None
    _say_stale(pinned, spec_file, reporter)
    workload = described(
        pinned.view,
        spec_file,
        image=pinned.image,
        name=name,
        volumes=_volumes(labels, pinned.image, dict(model_images or {}), known_images or {}),
    )
    workload = msgspec.structs.replace(workload, local=pinned.local, platforms=pinned.platforms)
    workload = in_a_cluster(workload, labels, spec_file)
    return msgspec.structs.replace(workload, device_resource=device_resource) if device_resource else workload


def _say_stale(pinned: Pinned, spec_file: SpecFile | None, reporter: Reporter) -> None:
    view = pinned.view
    image = LocalImage(id=view.digest, platform=view.platform, size=0, repo_digests=(), labels=view.labels)
    if changed := changed_since(spec_file, image):
        first = f"{changed.first}, and then " if changed.first else ""
        reporter.warn(f"{changed.what} since {pinned.name} was built ({first}`packager push --build` makes another)")


def in_a_cluster(workload: Workload, labels: Mapping[str, str], spec_file: SpecFile | None) -> Workload:
    """Return a workload with how a cluster gives the devices of its target; as it is where nobody here knows that."""
    try:
        target = load_target(workload.target, spec_file.templates if spec_file is not None else None)
    except SpecError:
        return workload
    return msgspec.structs.replace(
        workload,
        device_resource=target.kubernetes.resource,
        tolerations=tuple(
            Toleration(key=each.key, operator="Equal" if each.value else "Exists", value=each.value, effect=each.effect)
            for each in target.kubernetes.tolerations
        ),
        host={name: labels[f"packager.{name}"] for name in target.run.host if f"packager.{name}" in labels},
    )


def _volumes(
    labels: Mapping[str, str], title: str, images: dict[str, str], known: Mapping[str, str]
) -> tuple[Volume, ...]:
    found = []
    for each in labelled_models(labels, title):
        if each.delivery == "volume":
            image = images.pop(each.id, images.pop(each.name, known.get(each.id, "")))
            found.append(Volume(name=each.name, version=each.version, digest=each.digest, path=each.path, image=image))
    if images:
        mounted = ", ".join(f"{each.name}:{each.version}" for each in found)
        raise UsageError(
            f"--model-image: the image mounts no model {next(iter(images))}",
            remedy=f"it mounts {mounted}" if mounted else "it mounts none: all of its models are in it",
        )
    return tuple(found)


def described(
    view: ImageView, spec_file: SpecFile | None, *, image: str, name: str | None, volumes: tuple[Volume, ...] = ()
) -> Workload:
    """Return what an image and a spec say, whatever a cluster calls it. Pure but for the name of the folder.

    Args:
        view: what the image says of itself.
        spec_file: the spec; None where there is none.
        image: its reference.
        name: of the service; what follows from the package's where None.
        volumes: models that it mounts.

    Raises:
        UsageError: the image's user is no number.
    """
    service = spec_file.spec.service if spec_file is not None else ServiceWishes()
    server = spec_file.spec.server if spec_file is not None else Server()
    labels = view.labels
    ports = [int(port.partition("/")[0]) for port in view.ports if port.endswith("/tcp")]
    package = Package(
        title=labels[TITLE_LABEL],
        target=labels.get(TARGET_LABEL, ""),
        platform=view.platform,
        port=ports[0] if len(ports) == 1 else DEFAULT_PORT,
        labels=labels,
    )
    granted = decide(service, server, package, {})
    own = dict(each.split("=", 1) for each in view.env)
    values = {**own, **granted.env}
    scoring, hung = _seconds(values, "SCORING_TIMEOUT_MS", 1000), _seconds(values, "WORKER_TIMEOUT", 1)
    grace = max(int(GRACE), math.ceil(min(each for each in (scoring, hung, 3600.0) if each is not None)))
    return Workload(
        name=name or service_name_of(labels[TITLE_LABEL]),
        package=labels[TITLE_LABEL],
        version=labels.get(VERSION_LABEL, ""),
        target=package.target,
        image=image,
        platform=view.platform,
        port=package.port,
        user=_user(view.user, image),
        needs_key=granted.package.labels.get(AUTH_LABEL) == "key",
        env={**granted.env, **_patience(own, grace)},
        service=service,
        scoring_timeout=scoring,
        workers=int(values.get("WORKER_COUNT") or 1),
        gpus=labels.get(GPUS_LABEL, ""),
        devices=tuple(filter(None, labels.get(DEVICES_LABEL, "").split(","))),
        volumes=volumes,
        sample=_sample(spec_file),
        grace=grace,
        ready_in=math.ceil(granted.ready_in),
    )


def _patience(own: Mapping[str, str], grace: int) -> dict[str, str]:
    """Return the variable by which workers that score at the end of a pod have as long as a request may take."""
    if grace <= _GRACEFUL or own.get("GUNICORN_CMD_ARGS") != _OWN_ARGUMENTS:
        return {}
    return {"GUNICORN_CMD_ARGS": f"{_OWN_ARGUMENTS} --graceful-timeout={grace}"}


def _seconds(values: Mapping[str, str], name: str, unit: int) -> float | None:
    text = values.get(name, "")
    return int(text) / unit if text.isdecimal() and int(text) else None


def _user(text: str, image: str) -> int:
    name = text.partition(":")[0]
    if name in ("", "root"):
        return 0
    if not name.isdecimal():
        raise UsageError(
            f"{image} runs as {name!r}, and a platform cannot tell by a name that this is not root",
            remedy="use an image that packager built: it runs as a number",
        )
    return int(name)


def _sample(spec_file: SpecFile | None) -> Example | None:
    if spec_file is None:
        return None
    folder = folder_from_here(spec_file.root)
    return next(filter(None, (example_of_case(case, folder) for case in spec_file.spec.test)), None)


def planned_workload(plan: Plan, spec_file: SpecFile, name: str | None = None) -> Workload:
    """Return what a platform is told of an image that is not built yet: its digest, and those of models, are zeros.

    Args:
        plan: of the image.
        spec_file: the spec.
        name: of the service; what follows from the package's where None.
    """
    config = plan.config
    view = ImageView(
        platform=plan.platform,
        digest="",
        size=0,
        created="",
        user=config.user,
        working_dir=config.working_dir,
        entrypoint=config.entrypoint,
        command=(),
        env=tuple(f"{key}={value}" for key, value in config.env.items()),
        ports=(f"{config.port}/tcp",),
        health=config.health.command,
        labels=config.labels,
        layers=(),
    )
    images = {
        model.id: f"registry.example.com/models/{model.name.lower()}:{model.version}@{NO_DIGEST}"
        for model in plan.registered
    }
    volumes = _volumes(config.labels, plan.name, {}, images)
    reference = str(Reference.parse(plan.references[0]).with_digest(NO_DIGEST))
    workload = described(view, spec_file, image=reference, name=name, volumes=volumes)
    return in_a_cluster(workload, config.labels, spec_file)
