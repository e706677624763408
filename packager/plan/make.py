"""Spec + Target + Lock + Sources → Plan. Pure.

The layout in the image is the contract of azureml-inference-server-http 1.5 and of Azure ML's v1 `Model` class.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from packager.contract import (
    APP_ROOT,
    AUTH_LABEL,
    BASE_DIGEST_LABEL,
    BASE_NAME_LABEL,
    DESCRIPTION_LABEL,
    DEVICES_LABEL,
    ENVIRONMENT_LABEL,
    ENVIRONMENT_PREFIX,
    GPUS_LABEL,
    LOCK_LABEL,
    MODELS_FOLDER,
    SERVER_START,
    TARGET_LABEL,
    TITLE_LABEL,
    USER,
    VERSION_LABEL,
)
from packager.environments.channel_credentials import redact, variables
from packager.environments.declare.request import check_options
from packager.environments.declare.requirement import INFERENCE_SERVER
from packager.environments.locked import LockedPlatform
from packager.errors import ContextError, LockError, SpecError, UsageError
from packager.plan.plan import (
    COMPILER,
    CONDA_LOCK,
    REQUIREMENTS,
    Base,
    CondaStage,
    Environment,
    Health,
    ImageConfig,
    Layer,
    Machine,
    Plan,
    health_command,
    model_name,
)
from packager.plan.trees import Sources, Tree, make_tree
from packager.plan.variables import image_variables, model_folder
from packager.plan.volumes import models_label, registered_models
from packager.reference import Reference
from packager.similar import similar
from packager.spec.laid import Laid
from packager.spec.model import Model, Spec, canonical, packaged
from packager.spec.tags import expand_tag
from packager.targets import Target


def make_plan(
    spec: Spec,
    target: Target,
    locked: LockedPlatform,
    sources: Sources,
    *,
    base: Base | None = None,
    mirrors: Mapping[str, str] | None = None,
    channel_mirrors: Mapping[str, str] | None = None,
    digests: Mapping[str, str] | None = None,
    environment: Laid | None = None,
) -> Plan:
    """Return the plan of one image.

    Args:
        spec: what the user declares, as it is for this target.
        target: the deployment flavour.
        locked: what is locked for the image's platform.
        sources: what the scan found.
        base: takes the place of the lock's base image.
        mirrors: registry → mirror, of the spec and this machine.
        channel_mirrors: conda channel → mirror, of the spec and this machine.
        digests: what models name that are registered (`tokenizer:3`) → digest of its content.
        environment: the registered one that the lock stands on.

    Raises:
        SpecError: the target has options that it cannot take.
        ContextError: the entry script is not among the sources, or the app hides the models.
    """
    registries, platform, digests = mirrors or {}, locked.platform, digests or {}
    check_options(spec, target)
    base = base or locked_base(locked.base, registries)
    machine = _machine(spec, target)
    models = tuple(
        model_layer(model, tree, digests.get(model.registered or "", ""))
        for model, tree in zip(spec.models, sources.models, strict=False)
    )
    variables = {**artefacts(spec, target, models), **locked.variables}
    registered = registered_models(spec.models, digests)
    labels = {**_machine_labels(machine), **models_label(registered), **_environment_label(environment)}
    return Plan(
        name=spec.name,
        version=spec.version,
        target=target.name,
        template=target.template,
        platform=platform,
        base=base,
        system_packages=spec.system_packages,
        environment=_installed(spec, locked, _conda(spec, locked, registries, channel_mirrors or {})),
        server=Layer(name="server", title="packager's files for the server", tree=make_tree(sources.server)),
        models=_delivered(spec, models, "image"),
        app=_app_layer(spec, sources),
        config=_config(spec, target, {**_labels(spec, target, base, locked.lock_digest), **labels}, variables),
        references=image_references(spec, target.name, platform),
        spec_digest=f"sha256:{hashlib.sha256(canonical(packaged(spec))).hexdigest()}",
        lock_digest=locked.lock_digest,
        machine=machine,
        files=target.files,
        dialect=spec.dialect,
        volumes=_delivered(spec, models, "volume"),
        registered=registered,
    )


def _installed(spec: Spec, locked: LockedPlatform, conda: CondaStage | None) -> Environment:
    return Environment(
        prefix=ENVIRONMENT_PREFIX,
        requirements=REQUIREMENTS,
        locked=locked,
        conda=conda,
        compiler=COMPILER if spec.compile else "",
        installer=spec.installer,
    )


def _environment_label(environment: Laid | None) -> dict[str, str]:
    return {} if environment is None else {ENVIRONMENT_LABEL: f"{environment.id}@{environment.digest}"}


def _delivered(spec: Spec, models: tuple[Layer, ...], delivery: str) -> tuple[Layer, ...]:
    """Return the models that reach a container in one way."""
    return tuple(layer for model, layer in zip(spec.models, models, strict=False) if model.delivery == delivery)


def _machine(spec: Spec, target: Target) -> Machine:
    return Machine(gpus=target.run.gpus, devices=target.run.devices, host=spec.target_options(target.name).host)


def _machine_labels(machine: Machine) -> dict[str, str]:
    """Return what an image tells of the machine that it needs; `packager run` reads it there."""
    found = {GPUS_LABEL: machine.gpus, DEVICES_LABEL: ",".join(machine.devices)}
    found |= {f"packager.{name}": version for name, version in machine.host.items()}
    return {name: value for name, value in found.items() if value}


def artefacts(spec: Spec, target: Target, models: tuple[Layer, ...]) -> dict[str, str]:
    """Return the variables that name the artefacts of a target: variable → path in the image.

    Raises:
        ContextError: one is not among the models, or there are several and the spec does not say which.
    """
    found = {}
    for kind in target.artefacts:
        paths = [f"/{file.path}" for layer in models for file in layer.tree.files if file.path.endswith(kind.suffix)]
        if not paths:
            raise ContextError(
                f"the target {target.name!r} needs a {kind.title} ({kind.suffix}), and no model is or holds one",
                remedy=f"`targets: {{{target.name}: {{models: [{{path: FILE{kind.suffix}}}]}}}}`",
            )
        if len(paths) > 1 and kind.env not in spec.env:
            raise ContextError(
                f"the models of the target {target.name!r} hold several files {kind.suffix}: {', '.join(paths)}",
                remedy=f"say which is meant: `targets: {{{target.name}: {{env: {{{kind.env}: {paths[0]}}}}}}}`",
            )
        found[kind.env] = paths[0]
    return found


def _conda(
    spec: Spec, locked: LockedPlatform, registries: Mapping[str, str], mirrors: Mapping[str, str]
) -> CondaStage | None:
    if locked.conda is None:
        return None
    _check_mirrors(spec, mirrors)
    names = variables(package.url for package in locked.conda.packages)
    if names and spec.conda.installer == "micromamba":
        raise UsageError(
            f"the installer micromamba is not given the variables of channels ({', '.join(names)})",
            remedy="`conda: {installer: rattler}`; or leave credentials out of the channels' URLs and give mamba's own "
            "file of them: `--secret id=mamba-auth,src=authentication.json`",
        )
    return CondaStage(
        file=CONDA_LOCK,
        installer=spec.conda.installer,
        installer_base=locked_base(locked.conda.installer, registries),
        mirrors=dict(mirrors),
    )


def _check_mirrors(spec: Spec, mirrors: Mapping[str, str]) -> None:
    for channel, url in mirrors.items():
        if redact(url) != url:
            raise UsageError(
                f"the mirror of the channel {redact(channel)!r} holds credentials, which would be in the Dockerfile",
                remedy="name environment variables in their place, or keep them in rattler's file of credentials "
                "(RATTLER_AUTH_FILE)",
            )
    if mirrors and spec.conda.installer == "micromamba":
        raise UsageError(
            "the installer micromamba takes packages from where the lock names them, not from mirrors of channels",
            remedy="`conda: {installer: rattler}`, or no mirror",
        )


def require_server(locked: LockedPlatform) -> None:
    """Refuse a lock without the inference server, which the image starts.

    Raises:
        LockError: there is none on this platform.
    """
    if INFERENCE_SERVER not in locked.versions:
        raise LockError(
            f"the lock of target {locked.target!r} has no {INFERENCE_SERVER} for {locked.platform}: it cannot serve",
            remedy="name it without a marker that leaves it out (or not at all: it is added), and run `packager lock`",
        )


def locked_base(reference: str, mirrors: Mapping[str, str]) -> Base:
    """Return the base image of a pinned reference, to be pulled from its mirror where one is mapped."""
    pinned = Reference.parse(reference)
    if pinned.digest is None:
        raise SpecError(f"the base {reference!r} has no digest", remedy="run `packager lock`")
    return Base(reference=str(pinned.without_digest()), digest=pinned.digest, source=str(pinned.mirrored(mirrors)))


def model_layer(model: Model, tree: Tree, content: str = "") -> Layer:
    """Return the layer of a model.

    Args:
        model: as the spec names it.
        tree: its files; of one that is not registered, below one top entry.
        content: digest of a registered one.
    """
    folder = model_folder(model.called, model.version).removeprefix("/")
    title = f"model {model.called} version {model.version}"
    registered = model.shown if model.registered is not None else ""
    return Layer(name=model_name(model), title=title, tree=tree.below(folder), registered=registered, content=content)


class EntryScriptError(ContextError):
    """The entry script is not in the app."""


def _app_layer(spec: Spec, sources: Sources) -> Layer:
    paths = {file.path for file in sources.app.files}
    if spec.entry_script is not None and spec.entry_script not in paths:
        reason = "is left out by .dockerignore" if spec.entry_script in sources.left_out else "is not there"
        close = similar(spec.entry_script, paths - {spec.entry_script})
        raise EntryScriptError(
            f"the entry script {spec.entry_script!r} {reason} (in source_dir {spec.source_dir!r})",
            remedy=f"did you mean {close!r}?"
            if close
            else "`entry_script` is relative to `source_dir`; the file must be in it",
        )
    hidden = [folder for folder in sources.app.folders if folder == MODELS_FOLDER]
    if not spec.keep_source_dir and (hidden or MODELS_FOLDER in paths):
        raise ContextError(
            f"the source directory holds {MODELS_FOLDER!r}, where the image keeps the models",
            remedy=f"rename it, or leave it out by a line `{MODELS_FOLDER}` in .dockerignore; the spec names models",
        )
    app = sources.app.below(spec.app_folder.removeprefix("/"))
    tree = make_tree((*app.files, *sources.generated), app.folders)
    return Layer(name="app", title=_app_title(spec), tree=tree)


def _app_title(spec: Spec) -> str:
    made = "" if spec.entry_script is not None else f"app made for {spec.models[0].kind}"
    return f"{made} and {spec.source_dir}" if made and spec.packages_sources else made or f"app from {spec.source_dir}"


def _config(spec: Spec, target: Target, labels: dict[str, str], variables: Mapping[str, str]) -> ImageConfig:
    port = spec.server.port
    return ImageConfig(
        env=image_variables(spec, target, variables),
        labels=labels,
        entrypoint=(
            *_server_command(spec),
            f"--entry_script={spec.app_folder}/{spec.script}",
            f"--port={port}",
        ),
        working_dir=APP_ROOT,
        user=f"{USER}:{USER}",
        port=port,
        health=Health(command=health_command(port)),
    )


def _server_command(spec: Spec) -> tuple[str, ...]:
    # Keys hang on no variable, which whoever starts the container could change.
    if spec.server.auth != "none":
        return (f"{ENVIRONMENT_PREFIX}/bin/python", SERVER_START)
    return (f"{ENVIRONMENT_PREFIX}/bin/azmlinfsrv",)


def _labels(spec: Spec, target: Target, base: Base, lock_digest: str) -> dict[str, str]:
    labels = {
        TITLE_LABEL: spec.name,
        VERSION_LABEL: spec.version,
        BASE_NAME_LABEL: base.reference,
        BASE_DIGEST_LABEL: base.digest,
        TARGET_LABEL: target.name,
        LOCK_LABEL: lock_digest,
    }
    if spec.server.auth != "none":
        labels[AUTH_LABEL] = spec.server.auth
    if spec.description:
        labels[DESCRIPTION_LABEL] = spec.description
    return labels


def image_references(spec: Spec, target: str, platform: str) -> tuple[str, ...]:
    """Return the references of one image, in the order of its spec; its name is the repository where there is none."""
    repository = spec.image.repository or spec.name
    tags = [
        expand_tag(tag, name=spec.name, version=spec.version, target=target, platform=platform)
        for tag in spec.image.tags
    ]
    return tuple(dict.fromkeys(f"{repository}:{tag}" for tag in tags))
