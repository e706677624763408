"""Spec + Target + Lock + Sources → Plan: everything an image is made of, as data, before anything is written. Pure.

The plan does not know who executes it: it says what is in each layer, in order, not how a Dockerfile puts it there.
The layout in the image is the contract of azureml-inference-server-http 1.5 and of Azure ML's v1 `Model` class.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import msgspec

from packager.environments.lock import LockedPackage, LockedTarget
from packager.errors import ContextError, SpecError
from packager.images.reference import Reference
from packager.spec.model import Spec, canonical, expand_tag, packaged
from packager.targets import Target
from packager.trees import MTIME, Sources, Tree

APP_ROOT = "/var/azureml-app"
MODELS_FOLDER = "azureml-models"
ENVIRONMENT_PREFIX = "/opt/env"
REQUIREMENTS = "environment/requirements.txt"
USER = 1000

#: How `--base` names an image in a folder or file; as skopeo does.
ARCHIVES = ("oci-archive:", "docker-archive:", "oci:")


class Base(msgspec.Struct, frozen=True, kw_only=True):
    """The base image.

    Attributes:
        reference: its name in full, as people know it, with tag where known.
        digest: `sha256:…`: of its manifest or index; of its configuration for an image that only an engine has.
        source: what a build pulls: the reference at its mirror with the digest, the tag of a local image, or an archive
            (`oci:DIR`, `oci-archive:FILE`, `docker-archive:FILE`).
        local: it is in an engine and at no registry.
    """

    reference: str
    digest: str
    source: str
    local: bool = False

    @property
    def archived(self) -> bool:
        """It is a folder or file on this machine, which only the builder without an engine can read."""
        return not self.local and self.source.startswith(ARCHIVES)


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """The environment layer: the packages of the lock, installed below `prefix`.

    Attributes:
        prefix: absolute folder in the image.
        python: minor version that the base must have.
        requirements: path of the hashed lock in the build context.
        digest: `sha256:…` of that file.
        wheels: the wheel tags that the platform can load, in uv's words (`x86_64-manylinux_2_28`).
        packages: what it holds for this platform.
        from_source: names that are built from an sdist, so that the stage needs a compiler (the image does not).
    """

    prefix: str
    python: str
    requirements: str
    digest: str
    wheels: str = ""
    packages: tuple[LockedPackage, ...]
    from_source: tuple[str, ...] = ()

    @property
    def prefix_parent(self) -> str:
        """The folder that holds the prefix."""
        return self.prefix.rpartition("/")[0]


class Layer(msgspec.Struct, frozen=True, kw_only=True):
    """A layer that is a tree: one folder of the context, one `COPY`, one blob.

    Attributes:
        name: unique in the plan (`app`, `model-<name>-<version>`).
        title: for people.
        tree: laid out from the root of the image.
    """

    name: str
    title: str
    tree: Tree

    @property
    def folder(self) -> str:
        """Folder in the context. The digest is in its name because BuildKit compares files by size and time alone."""
        return f"layers/{self.name}-{self.tree.digest[:16]}"


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """The health check: a command of the image's own Python, and its times in seconds."""

    command: tuple[str, ...]
    interval: int = 10
    timeout: int = 10
    start_period: int = 120
    retries: int = 3


class ImageConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The image's configuration, in the words of the OCI image spec."""

    env: dict[str, str]
    labels: dict[str, str]
    entrypoint: tuple[str, ...]
    working_dir: str
    user: str
    port: int
    health: Health
    stop_signal: str = "SIGTERM"


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that one image (one target, one platform) is made of, in layer order."""

    name: str
    version: str
    target: str
    template: str
    platform: str
    base: Base
    system_packages: tuple[str, ...]
    environment: Environment
    models: tuple[Layer, ...]
    app: Layer
    config: ImageConfig
    references: tuple[str, ...]
    spec_digest: str
    lock_digest: str

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers that are trees: models first, for the app changes most."""
        return (*self.models, self.app)

    @property
    def mtime(self) -> int:
        """Modification time of every file that the image gets from us, in seconds since the epoch."""
        return MTIME


def make_plan(
    spec: Spec,
    target: Target,
    platform: str,
    locked: LockedTarget,
    packages: tuple[LockedPackage, ...],
    sources: Sources,
    *,
    base: Base | None = None,
    mirrors: Mapping[str, str] | None = None,
) -> Plan:
    """Return the plan of one image.

    Args:
        spec: what the user declares.
        target: the deployment flavour.
        platform: OCI os/arch; one of those that were locked.
        locked: this target's part of the lock.
        packages: the content of its requirements file.
        sources: what the scan found.
        base: takes the place of the lock's base image.
        mirrors: registry → mirror, from the machine; they go before those of the spec.

    Raises:
        SpecError: the platform is not one of the target's, or was not locked.
        ContextError: the entry script is not among the sources, or the app hides the models.
    """
    if platform not in locked.request.platforms:
        raise SpecError(
            f"target {target.name!r} is not locked for {platform}",
            remedy=f"locked: {', '.join(locked.request.platforms)}; name others under `targets: "
            f"{{{target.name}: {{platforms: […]}}}}` and run `packager lock`",
        )
    base = base or locked_base(locked.base, {**spec.registry_mirrors, **(mirrors or {})})
    environment = Environment(
        prefix=ENVIRONMENT_PREFIX,
        python=locked.request.python,
        requirements=REQUIREMENTS,
        digest=locked.digest,
        wheels=locked.request.platforms[platform],
        packages=tuple(each for each in packages if not each.platforms or platform in each.platforms),
        from_source=locked.request.build_from_source,
    )
    spec_digest = f"sha256:{hashlib.sha256(canonical(packaged(spec))).hexdigest()}"
    lock_digest = f"sha256:{hashlib.sha256(canonical(locked)).hexdigest()}"
    return Plan(
        name=spec.name,
        version=spec.version,
        target=target.name,
        template=target.template,
        platform=platform,
        base=base,
        system_packages=spec.system_packages,
        environment=environment,
        models=_model_layers(spec, sources),
        app=_app_layer(spec, sources),
        config=_config(spec, target, base, lock_digest),
        references=image_references(spec, target.name, platform),
        spec_digest=spec_digest,
        lock_digest=lock_digest,
    )


def locked_base(reference: str, mirrors: Mapping[str, str]) -> Base:
    """Return the base image of a pinned reference, to be pulled from its mirror where one is mapped."""
    pinned = Reference.parse(reference)
    if pinned.digest is None:
        raise SpecError(f"the base {reference!r} has no digest", remedy="run `packager lock`")
    return Base(reference=str(pinned.without_digest()), digest=pinned.digest, source=str(pinned.mirrored(mirrors)))


def model_folder(name: str, version: int) -> str:
    """Return the folder of a model version in the image (Azure ML v1's `Model.get_model_path` looks there)."""
    return f"{APP_ROOT}/{MODELS_FOLDER}/{name}/{version}"


def _model_layers(spec: Spec, sources: Sources) -> tuple[Layer, ...]:
    layers = []
    for model, tree in zip(spec.models, sources.models, strict=True):
        folder = model_folder(model.called, model.version).removeprefix("/")
        title = f"model {model.called} version {model.version}"
        # `_` and upper case are valid in model names and in folder names alike, so the name can be used as it is.
        layers.append(Layer(name=f"model-{model.called}-{model.version}", title=title, tree=tree.below(folder)))
    return tuple(layers)


def _app_layer(spec: Spec, sources: Sources) -> Layer:
    paths = {file.path for file in sources.app.files}
    if spec.entry_script not in paths:
        reason = "is left out by .dockerignore" if spec.entry_script in sources.left_out else "is not there"
        raise ContextError(
            f"the entry script {spec.entry_script!r} {reason} (in source_dir {spec.source_dir!r})",
            remedy="`entry_script` is relative to `source_dir`; the file must be in it",
        )
    hidden = [folder for folder in sources.app.folders if folder == MODELS_FOLDER]
    if hidden or MODELS_FOLDER in paths:
        raise ContextError(
            f"the source directory holds {MODELS_FOLDER!r}, where the image keeps the models",
            remedy=f"rename it, or leave it out by a line `{MODELS_FOLDER}` in .dockerignore; the spec names models",
        )
    return Layer(name="app", title=f"app from {spec.source_dir}", tree=sources.app.below(APP_ROOT.removeprefix("/")))


def _config(spec: Spec, target: Target, base: Base, lock_digest: str) -> ImageConfig:
    port = spec.server.port
    probe = f"import urllib.request as r; r.urlopen('http://127.0.0.1:{port}/', timeout=8).close()"
    return ImageConfig(
        env=_env(spec, target),
        labels=_labels(spec, target, base, lock_digest),
        entrypoint=(
            f"{ENVIRONMENT_PREFIX}/bin/azmlinfsrv",
            f"--entry_script={APP_ROOT}/{spec.entry_script}",
            f"--port={port}",
        ),
        working_dir=APP_ROOT,
        user=f"{USER}:{USER}",
        port=port,
        health=Health(command=(f"{ENVIRONMENT_PREFIX}/bin/python", "-c", probe)),
    )


def _env(spec: Spec, target: Target) -> dict[str, str]:
    env = {
        "PATH": f"{ENVIRONMENT_PREFIX}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        # gunicorn and many libraries write below HOME; /tmp is the one place that a read-only container has.
        "HOME": "/tmp",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "AML_APP_ROOT": APP_ROOT,
        "AZUREML_ENTRY_SCRIPT": spec.entry_script,
        "AZUREML_SOURCE_DIRECTORY": APP_ROOT,
        "WORKER_COUNT": str(spec.server.workers),
        "WORKER_TIMEOUT": str(spec.server.timeout),
        "SERVICE_NAME": spec.name,
        "SERVICE_VERSION": spec.version,
    }
    if len(spec.models) == 1:
        env["AZUREML_MODEL_DIR"] = model_folder(spec.models[0].called, spec.models[0].version)
    elif spec.models:
        env["AZUREML_MODEL_DIR"] = f"{APP_ROOT}/{MODELS_FOLDER}"
    return env | target.env | spec.env


def _labels(spec: Spec, target: Target, base: Base, lock_digest: str) -> dict[str, str]:
    labels = {
        "org.opencontainers.image.title": spec.name,
        "org.opencontainers.image.version": spec.version,
        "org.opencontainers.image.base.name": base.reference,
        "org.opencontainers.image.base.digest": base.digest,
        "packager.target": target.name,
        "packager.lock": lock_digest,
    }
    if spec.description:
        labels["org.opencontainers.image.description"] = spec.description
    return labels


def image_references(spec: Spec, target: str, platform: str) -> tuple[str, ...]:
    """Return the references of one image, in the spec's order; its name is the repository where it gives none."""
    repository = spec.image.repository or spec.name
    tags = [
        expand_tag(tag, name=spec.name, version=spec.version, target=target, platform=platform)
        for tag in spec.image.tags
    ]
    return tuple(dict.fromkeys(f"{repository}:{tag}" for tag in tags))
