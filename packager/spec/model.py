"""The spec as values: what `packager.yaml` may say, with its types and bounds."""

from __future__ import annotations

import posixpath
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from packager.contract import APP_ROOT, DEFAULT_PORT
from packager.spec.cases import Case
from packager.spec.framework import NO_CODE_SCRIPT, Framework, FrameworkVersion, Kind, kind_of
from packager.spec.service import ServiceWishes
from packager.spec.texts import (
    PATH,
    Channel,
    CudaVersion,
    DebianPackage,
    LibraryName,
    MatchSpec,
    ModelName,
    Name,
    Origin,
    Platform,
    PrintableText,
    PythonVersion,
    RegisteredName,
    RelativePath,
    Requirement,
    Version,
    WorkspaceName,
)


class _Struct(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the parts of the spec: frozen, by keyword, and without unknown keys."""


class Model(_Struct, frozen=True):
    """One model: a file or folder, or a registered one, with the name and version by which the entry script finds it.

    Attributes:
        path: the file or folder; in place of `registered`.
        registered: a model of the workspace; its version there is the one that the entry script finds.
        name: by default, the registered one, or the file's name without its last suffix.
        version: a whole number, as Azure ML's; of a registered one it follows.
        delivery: volume leaves a registered model out of the image; containers get it mounted where it would be.
        framework: what it is a model of; held against the file.
        framework_version: pins scikit-learn or TensorFlow in place of what the file tells.
    """

    path: RelativePath = ""
    registered: RegisteredName | None = None
    name: ModelName | None = None
    version: Annotated[int, Meta(ge=0, le=2**31 - 1)] = 0
    delivery: Literal["image", "volume"] = "image"
    framework: Framework | None = None
    framework_version: FrameworkVersion | None = None

    @property
    def kind(self) -> Kind | None:
        """The framework by our name for it; None where the spec names none."""
        return kind_of(self.framework)

    @property
    def called(self) -> str:
        """The model's name: as given, else the registered one, or the file's name without its last suffix."""
        if self.name is not None:
            return self.name
        if self.registered is not None:
            return self.registered.partition(":")[0]
        last = self.path.rstrip("/").rpartition("/")[2]
        return last.rpartition(".")[0] or last

    @property
    def shown(self) -> str:
        """What it is, for people: the path, or what is registered, with its version once that is known."""
        if self.registered is None:
            return self.path
        return f"{self.registered.partition(':')[0]}:{self.version}" if self.version else self.registered

    @property
    def top(self) -> str:
        """Name of the file or folder that it is; empty of a registered one that is several side by side."""
        if self.registered is not None and self.path.endswith("/"):
            return ""
        return posixpath.basename(posixpath.normpath(self.path))


class InlineEnvironment(_Struct, frozen=True):
    """An environment written into the spec: packages of pip, conda or both, alone or added to another environment.

    Attributes:
        curated: name of the environment that the others are added to (`packager environment list`).
        registered: an environment of the workspace that the others are added to.
        channels: where conda packages come from, the first with the highest priority.
        conda: match specs.
        pip: requirements.
        variables: environment variables of the image, as conda's `variables`; `env` of the spec goes before them.
    """

    curated: Name | None = None
    registered: RegisteredName | None = None
    channels: tuple[Channel, ...] = ()
    conda: tuple[MatchSpec, ...] = ()
    pip: tuple[Requirement, ...] = ()
    variables: dict[str, PrintableText] = {}


class CondaOptions(_Struct, frozen=True):
    """How conda packages are solved and installed; nothing of it matters where there are none.

    Attributes:
        channel_priority: strict takes a package from the first channel that has it, and from no other.
        installer: what lays the packages down in the image's build stage.
        installer_base: image of that stage, in place of the target's.
        name_map: a YAML file, conda name: PyPI name, for packages whose names differ.
        channel_mirrors: start of a channel's URL → what to fetch from in its place; locks keep the channel's own.
    """

    channel_priority: Literal["strict", "flexible", "disabled"] = "strict"
    installer: Literal["rattler", "micromamba"] = "rattler"
    installer_base: Annotated[str, Meta(min_length=1, max_length=512)] | None = None
    name_map: RelativePath | None = None
    channel_mirrors: dict[str, str] = {}


class AddedPackages(_Struct, frozen=True):
    """Requirements that one target has besides those of the environment.

    Attributes:
        conda: match specs.
        pip: requirements.
    """

    conda: tuple[MatchSpec, ...] = ()
    pip: tuple[Requirement, ...] = ()


class EnvironmentChanges(_Struct, frozen=True):
    """How the environment of one target differs: names that it does not ask for, and requirements that it does.

    Attributes:
        remove: names of packages, of conda or pip, that this target does not ask for.
        add: requirements that it has besides.
    """

    remove: tuple[Requirement, ...] = ()
    add: AddedPackages = AddedPackages()


class TargetOptions(_Struct, frozen=True):
    """What differs for one target.

    Attributes:
        platforms: those to build for, in place of the target's.
        virtual_packages: conda's `__cuda`, `__glibc` …: what this target promises, in place of its own.
        base: the base image, in place of the spec's and the target's.
        python: minor version of Python, in place of the spec's.
        cuda: version of CUDA, one that the target has a base for.
        environment: what is taken from the environment and added to it.
        models: for this target only; one of the name of another takes its place.
        env: environment variables; they go before those of the spec.
        tags: in place of those under `image`.
        system_packages: Debian packages besides those of the spec.
        host: name (`xrt`) → version that the machine must have, for targets that ask for it.
    """

    platforms: tuple[Platform, ...] | None = None
    virtual_packages: dict[str, PrintableText] = {}
    base: Annotated[str, Meta(min_length=1, max_length=512)] | None = None
    python: PythonVersion | None = None
    cuda: CudaVersion | None = None
    environment: EnvironmentChanges = EnvironmentChanges()
    models: tuple[Model, ...] = ()
    env: dict[str, PrintableText] = {}
    tags: Annotated[tuple[str, ...], Meta(min_length=1)] | None = None
    system_packages: tuple[DebianPackage, ...] = ()
    host: dict[str, Version] = {}


class Image(_Struct, frozen=True):
    """Where the image goes.

    Attributes:
        repository: with its registry and without a tag; by default, the name of the package.
        tags: may hold {name}, {version}, {target} and {platform}; of several targets, `{version}-{target}` by default.
    """

    repository: Annotated[str, Meta(min_length=1, max_length=255)] | None = None
    tags: Annotated[tuple[str, ...], Meta(min_length=1)] = ("{version}",)


#: Where several targets are named and no tags are given.
TAGS_OF_SEVERAL = ("{version}-{target}",)


#: Decimal (`5MB`, `5M`) or binary (`5MiB`, `5Mi`); at most 999999 GiB.
Size = Annotated[str, Meta(pattern=r"^[1-9][0-9]{0,5}([kKMG]i?)?B?(?!\n)$")]


class Server(_Struct, frozen=True):
    """The inference server in the image.

    Attributes:
        port: in the container.
        workers: processes; each scores one request at a time.
        timeout: seconds until a worker that scores is taken for hung, and replaced.
        scoring_timeout: until run() is interrupted and the answer is 500; by default, an hour.
        cors_origins: whose pages may send requests from browsers; nobody's where empty.
        auth: `key` where requests need a key.
        max_body: of a request (100Mi, 5MB, 4096 bytes), else 413; default: an eighth of the memory, at most 1 GiB.
    """

    port: Annotated[int, Meta(ge=1024, le=65535)] = DEFAULT_PORT
    workers: Annotated[int, Meta(ge=1, le=1024)] = 1
    timeout: Annotated[int, Meta(ge=1, le=86400)] = 300
    scoring_timeout: Annotated[float, Meta(ge=0.001, le=86400, description="Seconds.")] | None = None
    cors_origins: tuple[Origin, ...] = ()
    auth: Literal["none", "key"] = "none"
    max_body: Annotated[int, Meta(ge=1, le=1 << 40)] | Size | None = None


#: Of an environment without conda, where the spec names none.
DEFAULT_PYTHON = "3.13"


class Spec(_Struct, frozen=True):
    """What the user declares: `packager.yaml`, checked.

    Attributes:
        name: the package's, and its image's where `image` names no repository.
        version: the package's.
        entry_script: the script with `init()` and `run()`, in `source_dir`; left out for a model without code.
        environment: an environment file, or the environment itself; left out, it follows from a model without code.
        description: for people, and a label of the image.
        workspace: where models and environments are registered; by default, the one that this machine's user chose.
        source_dir: the folder that is packaged; what its `.dockerignore` names stays out.
        keep_source_dir: the app keeps the folder's name, below the working directory, as Azure ML v1 has it.
        models: each has a layer of its own.
        python: by default 3.13; an environment of conda says its own.
        build_from_source: packages that are built from an sdist; all others are wheels.
        installer: what lays pip's packages down in the image's build stage: uv, or nothing but the base's own pip.
        targets: names, or what differs by name.
        conda: how conda packages are solved and installed.
        base: the base image, at a registry, in place of the target's; one that an engine has is given as `--base`.
        registry_mirrors: a registry's host → the host to ask in its place.
        image: where the image goes.
        env: environment variables of the image.
        system_packages: Debian packages.
        allow_missing: libraries that the image may lack, because nothing that the service does needs them.
        compile: byte-compile the environment, by the image's own Python; false for a smaller image that starts later.
        server: the inference server.
        service: what it wants where it runs: processors, memory, replicas; no image follows from it.
        test: what `packager test` asks, and `push` before it pushes.
        dialect: what `save` and `render` write; plain is for builders that are not BuildKit.
        compression: of the layers that packager writes without an engine; zstd is smaller, for engines that read it.
    """

    name: Name
    version: Version
    entry_script: RelativePath | None = None
    environment: Annotated[str, Meta(pattern=PATH)] | InlineEnvironment | None = None
    description: PrintableText = ""
    workspace: WorkspaceName | None = None
    source_dir: RelativePath = "."
    keep_source_dir: bool = False
    models: tuple[Model, ...] = ()
    python: PythonVersion | None = None
    build_from_source: tuple[Requirement, ...] = ()
    installer: Literal["uv", "pip"] = "uv"
    targets: tuple[str, ...] | dict[str, TargetOptions] = ("cpu",)
    conda: CondaOptions = CondaOptions()
    base: Annotated[str, Meta(min_length=1, max_length=512)] | None = None
    registry_mirrors: dict[str, str] = {}
    image: Image = Image()
    env: dict[str, PrintableText] = {}
    system_packages: tuple[DebianPackage, ...] = ()
    allow_missing: tuple[LibraryName, ...] = ()
    compile: bool = True
    server: Server = Server()
    service: ServiceWishes = ServiceWishes()
    test: tuple[Case, ...] = ()
    dialect: Literal["buildkit", "plain"] = "buildkit"
    compression: Literal["gzip", "zstd", "none"] = "gzip"

    @property
    def script(self) -> str:
        """Path of the entry script below the app's root: the user's, or that of a model without code."""
        return NO_CODE_SCRIPT if self.entry_script is None else self.entry_script

    @property
    def app_folder(self) -> str:
        """Where the app is in the image: the working directory, or a folder of the source directory's name in it."""
        return (
            f"{APP_ROOT}/{posixpath.basename(posixpath.normpath(self.source_dir))}"
            if self.keep_source_dir
            else APP_ROOT
        )

    @property
    def packages_sources(self) -> bool:
        """Whether files of a source directory are packaged: without an entry script, of one that is named."""
        return self.entry_script is not None or self.source_dir != "."

    @property
    def target_names(self) -> tuple[str, ...]:
        """The targets' names, in the order of the spec."""
        return tuple(self.targets)

    def target_options(self, name: str) -> TargetOptions:
        """What the spec says of one target; nothing where it only names it."""
        return self.targets.get(name, TargetOptions()) if isinstance(self.targets, dict) else TargetOptions()

    def for_target(self, name: str) -> Spec:
        """Return the spec as it is for one target: what differs there stands in its place, and no other is named.

        What a target alone knows stays in its options: platforms, virtual packages, CUDA, changes of the environment.
        """
        if not isinstance(self.targets, dict):
            return msgspec.structs.replace(self, targets=(name,))
        options = self.target_options(name)
        replaced = {each.called for each in options.models}
        kept = msgspec.structs.replace(
            options, base=None, python=None, models=(), env={}, tags=None, system_packages=()
        )
        return msgspec.structs.replace(
            self,
            targets={name: kept},
            base=options.base or self.base,
            python=options.python or self.python,
            models=(*(each for each in self.models if each.called not in replaced), *options.models),
            env=self.env | options.env,
            image=msgspec.structs.replace(self.image, tags=options.tags or self.image.tags),
            system_packages=tuple(dict.fromkeys((*self.system_packages, *options.system_packages))),
        )


def canonical(value: Any) -> bytes:
    """Return the one JSON text of a value: keys sorted, no white space. Digests are made of it."""
    return msgspec.json.encode(value, order="sorted")


def packaged(spec: Spec) -> dict[str, Any]:
    """Return what of a spec decides an image's files, as JSON's types, without defaults.

    Tests, what a service wants, dialect, workspace, what is accepted and how layers are compressed change none of them.

    What has its default is left out, written or not, so that a field that is new here changes no digest of a spec.
    """
    values: dict[str, Any] = _without_defaults(
        msgspec.structs.replace(
            spec,
            service=ServiceWishes(),
            test=(),
            dialect="buildkit",
            allow_missing=(),
            compression="gzip",
            workspace=None,
            models=tuple(map(_unplaced, spec.models)),
        )
    )
    return values


def _unplaced(model: Model) -> Model:
    """Return a model without the place that a registered one has on this machine."""
    return model if model.registered is None else msgspec.structs.replace(model, path="")


def _without_defaults(value: Any) -> Any:
    # Not msgspec's omit_defaults: it compares by identity, and would tell `timeout: 300` from no timeout.
    if isinstance(value, msgspec.Struct):
        fields = ((field, getattr(value, field.name)) for field in msgspec.structs.fields(value))
        return {field.name: _without_defaults(own) for field, own in fields if own != _default(field)}
    if isinstance(value, dict):
        return {name: _without_defaults(own) for name, own in value.items()}
    return [_without_defaults(own) for own in value] if isinstance(value, tuple) else value


def _default(field: msgspec.structs.FieldInfo) -> Any:
    made = field.default_factory
    return field.default if made is msgspec.NODEFAULT else made()
