"""What an image is made of, as data, before anything is written: the values that `planning` makes. Pure.

The plan does not know who executes it: it says what is in each layer, in order, not how a Dockerfile puts it there.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from packager.contract import APP_ROOT, ENVIRONMENT_PREFIX, HEALTH_PATH, MTIME
from packager.environments.conda import CondaPackage
from packager.environments.lock import LockedPackage
from packager.environments.locked import LockedPlatform
from packager.plan.trees import Tree
from packager.plan.volumes import RegisteredModel
from packager.spec.framework import NO_CODE_SCRIPT
from packager.spec.model import Model

REQUIREMENTS = "environment/requirements.txt"
#: conda-lock's name for it, by which micromamba tells that it is a lock.
CONDA_LOCK = "environment/conda-lock.yml"
CONDA_INSTALLER = "environment/install.py"
CONDA_SETTLER = "environment/settle.py"
WHEELS_INSTALLER = "environment/wheels.py"
UV_REQUIREMENTS = "environment/uv.txt"
INSTALLER_REQUIREMENTS = "environment/installer.txt"
#: The program that byte-compiles in the build stage.
COMPILER = "environment/compile.py"
#: What a Dockerfile is written for: BuildKit, or every builder (older engines, podman, buildah, kaniko).
Dialect = Literal["buildkit", "plain"]

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


class CondaStage(msgspec.Struct, frozen=True, kw_only=True):
    """The build stage that lays conda's packages down.

    Attributes:
        file: path of the conda-lock file in the build context; it may hold other platforms, too.
        installer: what lays them down: `rattler` or `micromamba`.
        installer_base: image of the stage.
        mirrors: start of a channel's URL → where to fetch from in its place, of the spec and this machine.
    """

    file: str
    installer: str
    installer_base: Base
    mirrors: dict[str, str] = {}

    @property
    def credentials(self) -> str:
        """Where the build stage finds the credentials of channels, in the form that the installer reads."""
        return "/run/rattler-auth.json" if self.installer == "rattler" else "/root/.mamba/auth/authentication.json"


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """The environment layer: the packages of the lock, installed below `prefix`.

    Attributes:
        prefix: absolute folder in the image.
        requirements: path of the hashed requirements in the build context.
        locked: what it holds.
        conda: how conda's packages are laid down in a build stage; None where the base's Python is used.
        compiler: path in the build context of the program that byte-compiles it; empty where nothing is compiled.
        installer: what lays pip's packages down in a build stage: `uv`, or the base's own `pip`.
    """

    prefix: str
    requirements: str
    locked: LockedPlatform
    conda: CondaStage | None = None
    compiler: str = COMPILER
    installer: str = "uv"

    @property
    def python(self) -> str:
        """Minor version: that the base must have, or that conda brings."""
        return self.locked.python

    @property
    def library(self) -> str:
        """Folder of the standard library below the prefix, and of `site-packages`."""
        return f"{self.prefix}/lib/python{self.python}"

    @property
    def packages(self) -> tuple[LockedPackage, ...]:
        """What pip installs."""
        return self.locked.packages

    @property
    def conda_packages(self) -> tuple[CondaPackage, ...]:
        """What conda installs."""
        return self.locked.conda_packages

    @property
    def from_source(self) -> tuple[str, ...]:
        """Names that are built from an sdist, so that the stage needs a compiler (the image does not)."""
        return self.locked.from_source

    @property
    def channels(self) -> tuple[str, ...]:
        """URLs of the channels and mirrors that conda's packages are fetched from."""
        mirrors = self.conda.mirrors.values() if self.conda else ()
        return tuple(sorted({*(package.channel for package in self.conda_packages), *mirrors}))

    @property
    def title(self) -> str:
        """What the layer is, for people (`environment of 25 packages`)."""
        both = f"{len(self.conda_packages)} conda packages and " if self.conda else ""
        return f"environment of {both}{len(self.packages)} {'Python packages' if both else 'packages'}"

    @property
    def prefix_parent(self) -> str:
        """The folder that holds the prefix."""
        return self.prefix.rpartition("/")[0]


class Layer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A layer that is a tree: one folder of the context, one `COPY`, one blob.

    Attributes:
        name: unique in the plan (`server`, `model-<name>-<version>`, `app`).
        title: for people.
        tree: laid out from the root of the image.
        registered: the model of a workspace that it holds, as `name:version`; empty of all else.
        content: digest of that (`sha256:…`), by which the workspace knows it.
    """

    name: str
    title: str
    tree: Tree
    registered: str = ""
    content: str = ""

    @property
    def folder(self) -> str:
        """Folder in the context. The digest is in its name because BuildKit compares files by size and time alone."""
        return f"layers/{self.name}-{self.tree.digest[:16]}"


def model_name(model: Model) -> str:
    """Return the name of a model's layer."""
    # `_` and upper case are valid in model names and in folder names alike, so the name can be used as it is.
    return f"model-{model.called}-{model.version}"


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """The health check: a command of the image's own Python, and its times in seconds."""

    command: tuple[str, ...]
    interval: int = 10
    timeout: int = 10
    start_period: int = 120
    retries: int = 3


def health_command(port: int) -> tuple[str, ...]:
    """Return what asks a server for its health from within its container, by the image's own Python."""
    probe = f"import urllib.request as r; r.urlopen('http://127.0.0.1:{port}{HEALTH_PATH}', timeout=8).close()"
    return (f"{ENVIRONMENT_PREFIX}/bin/python", "-c", probe)


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


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """What the machine has to give to a container.

    Attributes:
        gpus: as Docker's `--gpus` takes it; empty for none.
        devices: device files, as patterns of a shell.
        host: name (`xrt`) → version that must be installed there.
    """

    gpus: str = ""
    devices: tuple[str, ...] = ()
    host: dict[str, str] = {}


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that one image (one target, one platform) is made of, in layer order.

    `machine` is what running it needs; `files` are those of the build context for people besides HANDOFF.md;
    `own_template` names a template of the user's that the Dockerfile is made of; `dialect` says what its builder reads.
    `volumes` are models that are in no layer: they are mounted where they would be. `registered` are those that a
    workspace has, with those among them, in the order of the spec.
    """

    name: str
    version: str
    target: str
    template: str
    platform: str
    base: Base
    system_packages: tuple[str, ...]
    environment: Environment
    server: Layer
    models: tuple[Layer, ...]
    app: Layer
    config: ImageConfig
    references: tuple[str, ...]
    spec_digest: str
    lock_digest: str
    machine: Machine = Machine()
    files: tuple[str, ...] = ()
    own_template: str = ""
    dialect: Dialect = "buildkit"
    volumes: tuple[Layer, ...] = ()
    registered: tuple[RegisteredModel, ...] = ()

    def of_model(self, model: Model) -> Layer:
        """Return what a model of the spec is here, in a layer or mounted."""
        name = model_name(model)
        return next(each for each in (*self.models, *self.volumes) if each.name == name)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers that are trees: what changes least first, so that an edit of the app sends the app alone."""
        return (self.server, *self.models, self.app)

    @property
    def made_script(self) -> str:
        """Path of the entry script below the root of the image where packager made it; empty where it is the user's."""
        script = f"{APP_ROOT}/{NO_CODE_SCRIPT}".removeprefix("/")
        return next((file.path for file in self.app.tree.files if file.path == script and file.text is not None), "")

    @property
    def mtime(self) -> int:
        """Modification time of every file that the image gets from us, in seconds since the epoch."""
        return MTIME
