"""What verbs print with `--format json`: one type for each, with its version.

A verb whose result is one thing for each of several (targets, images, findings, services) prints a list, also where
there is one or none; every other prints an object. A version stays as long as fields are only added. What is printed as
it is has its own type here; there is another one where a verb prints it in other words.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from packager.batches.values import Summary as BatchSummary
from packager.builders.inspect import Inspected
from packager.context.verify import VerifyResult
from packager.delivery.values import Event
from packager.finding import Finding
from packager.reports.difference import Difference
from packager.steps import deploy_outputs, profile_outputs, workspace_outputs
from packager.steps.settings import Setting
from packager.steps.store import KindSummary
from packager.steps.workspaces import WorkspaceSummary


class _Output(msgspec.Struct, frozen=True, kw_only=True):
    """Base of what is printed; a reader must expect fields that are newer than it."""


class Failure(_Output, frozen=True):
    """What is wrong, where, and what to do.

    Attributes:
        kind: class of `packager.errors`.
        exit_code: of the command.
        exit_name: the exit code's name.
        message: what is wrong.
        file: where; null where nothing of a file is wrong, as for those that follow.
        line: in the file, from 1.
        column: in the line, from 1.
        field: dotted path in the file (`models[0].name`).
        remedy: what to do.
    """

    kind: str
    exit_code: int
    exit_name: str
    message: str
    file: str | None
    line: int | None
    column: int | None
    field: str | None
    remedy: str | None


class Error(_Output, frozen=True):
    """An error that ended a verb with `--format json`, where no result stands on standard output.

    Attributes:
        format: of this object.
        error: the error.
    """

    format: Literal["packager.error/1"]
    error: Failure


class LockedConda(_Output, frozen=True):
    """Conda's half of a lock.

    Attributes:
        file: path beside the spec.
        digest: of the file.
        installer: image of the stage that installs.
        packages: those that moved.
    """

    file: str
    digest: str
    installer: Any
    packages: tuple[Moved, ...]


class Moved(_Output, frozen=True):
    """A package that moved.

    Attributes:
        name: normalised.
        before: version so far; null where it is new.
        after: version now; null where it is gone.
    """

    name: str
    before: str | None
    after: str | None


class MovedPin(_Output, frozen=True):
    """What became of something registered.

    Attributes:
        before: version so far; null where it is new.
        after: version now; null where it is gone.
    """

    before: str | None
    after: str | None


class LockedTarget(_Output, frozen=True):
    """What a target was locked to.

    Attributes:
        base: image, with its digest.
        requirements: file of pip's half.
        digest: of that file.
        packages: pip's packages that moved.
        conda: conda's half; not there without conda packages.
    """

    base: str
    requirements: str
    digest: str
    packages: tuple[Moved, ...]
    conda: LockedConda | msgspec.UnsetType = msgspec.UNSET


class Locked(_Output, frozen=True):
    """What `lock` wrote.

    Attributes:
        changed: anything moved.
        written: files.
        targets: name → what it was locked to.
        registered: what the spec names of a workspace and moved; only where it names some.
    """

    changed: bool
    written: tuple[str, ...]
    targets: dict[str, LockedTarget]
    registered: dict[str, MovedPin] | msgspec.UnsetType = msgspec.UNSET


class Freshness(_Output, frozen=True):
    """What `lock --check` found.

    Attributes:
        fresh: the lock is for this spec.
        targets: name → what changed since.
        newer: what of the registered has a newer version than the locked one, a line each; only where there is some.
    """

    fresh: bool
    targets: dict[str, tuple[str, ...]]
    newer: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET


class Planned(_Output, frozen=True):
    """What an image will be made of.

    Attributes:
        name: of the package.
        version: of the package.
        target: deployment flavour.
        platform: OCI os/arch.
        template: of the Dockerfile.
        references: that the image gets.
        base: reference, digest, source and whether only the engine has it.
        system_packages: Debian packages.
        environment: Python, packages, channels and digest.
        server: layer of packager's own files.
        models: a layer each, with digest, folder, size and files.
        app: layer of the app.
        config: of the image: variables, labels, entrypoint, user, port.
        spec_digest: of the spec.
        lock_digest: of the lock.
        machine: what running it needs.
        files: of the build context for people.
        dialect: of the Dockerfile.
        volumes: models that are mounted, as those of the layers; only where there are some.
        registered: models that a workspace has: name, version, digest, whether in the image or mounted, and where;
            only where there are some.
    """

    name: str
    version: str
    target: str
    platform: str
    template: str
    references: tuple[str, ...]
    base: dict[str, Any]
    system_packages: tuple[str, ...]
    environment: dict[str, Any]
    server: dict[str, Any]
    models: tuple[dict[str, Any], ...]
    app: dict[str, Any]
    config: dict[str, Any]
    spec_digest: str
    lock_digest: str
    machine: dict[str, Any]
    files: tuple[str, ...]
    dialect: str
    volumes: tuple[dict[str, Any], ...] | msgspec.UnsetType = msgspec.UNSET
    registered: tuple[dict[str, Any], ...] | msgspec.UnsetType = msgspec.UNSET


class SavedContext(_Output, frozen=True):
    """A build context that was written.

    Attributes:
        target: it is for.
        platform: OCI os/arch.
        dialect: of its Dockerfile.
        path: folder or archive.
        digest: of the context.
        files: how many.
        size: bytes of all files.
    """

    target: str
    platform: str
    dialect: str
    path: str
    digest: str
    files: int
    size: int


class Built(_Output, frozen=True):
    """An image that was built.

    Attributes:
        target: of the spec.
        builder: `oci` or `engine`.
        platforms: OCI os/arch.
        manifests: platform → digest of its manifest.
        digest: that registries have; empty where there is none.
        id: of the image in the engine.
        images: references, with the digest where there is one.
        pushed: they are at their registries.
        timings: seconds of each step, for each platform; of the builder oci, as the two that follow.
        loaded: the engine has them.
        bytes_sent: to registries.
    """

    target: str
    builder: str
    platforms: tuple[str, ...]
    manifests: dict[str, str]
    digest: str
    id: str
    images: tuple[str, ...]
    pushed: bool
    timings: tuple[dict[str, float], ...] | msgspec.UnsetType = msgspec.UNSET
    loaded: bool | msgspec.UnsetType = msgspec.UNSET
    bytes_sent: int | msgspec.UnsetType = msgspec.UNSET


class Compared(_Output, frozen=True):
    """What `build --verify` found.

    Attributes:
        target: of the spec.
        builder: `oci`.
        platforms: OCI os/arch, one.
        timings: seconds of each step, for each platform.
        digest: of the image that these inputs give.
        reference: the image that it was compared with.
        differences: empty where it is the same.
    """

    target: str
    builder: str
    platforms: tuple[str, ...]
    timings: tuple[dict[str, float], ...]
    digest: str
    reference: str
    differences: tuple[str, ...]


class BakedImage(_Output, frozen=True):
    """An image of a bake file.

    Attributes:
        name: of its target in the file.
        package: its spec's name.
        target: deployment flavour.
        platforms: OCI os/arch.
        references: that it gets.
        contexts: name of a context → its digest.
        environments: targets of the file that make environments.
    """

    name: str
    package: str
    target: str
    platforms: tuple[str, ...]
    references: tuple[str, ...]
    contexts: dict[str, str]
    environments: tuple[str, ...]


class Baked(_Output, frozen=True):
    """A bake file that was written.

    Attributes:
        path: of the file.
        images: that it builds.
    """

    path: str
    images: tuple[BakedImage, ...]


class Pushed(_Output, frozen=True):
    """An image that a registry has now.

    Attributes:
        reference: of the image.
        digest: at the registry.
        image: reference with digest.
        uploaded: layers that were sent.
        present: layers that were there.
    """

    reference: str
    digest: str
    image: str
    uploaded: int
    present: int


class Pulled(_Output, frozen=True):
    """An image that was fetched.

    Attributes:
        reference: as it was asked for, in full.
        top: descriptor of its manifest or index, as the OCI image specification has it.
        blobs: digests of all that it is made of.
        size: bytes of all of them.
        output: the folder or file.
    """

    reference: str
    top: dict[str, Any]
    blobs: tuple[str, ...]
    size: int
    output: str


class Urls(_Output, frozen=True):
    """Where a service is; empty where nothing is published.

    Attributes:
        root: with a final `/`.
        score: where requests are posted.
        swagger: its description.
    """

    root: str
    score: str
    swagger: str


class Running(_Output, frozen=True):
    """A container, or a process without Docker, that was started.

    Attributes:
        container: id of the container.
        name: of the container.
        urls: where it is reached.
    """

    container: str
    name: str
    urls: Urls


class ServedBefore(_Output, frozen=True):
    """What a service ran before its last update.

    Attributes:
        image: that it ran.
        digest: of it, as of a service.
        created: when its container was made, RFC 3339.
    """

    image: str
    digest: str
    created: str


class ServiceVersion(_Output, frozen=True):
    """One of several versions of a service.

    Attributes:
        name: of the version.
        traffic: share of the requests, in percent.
        state: as of a service.
        reason: in a sentence; empty for a healthy one.
        image: that it runs.
        memory: limit in bytes; 0 for none.
        cpus: limit; 0 for none.
        restarts: how often it was started again.
        created: when its container was made, RFC 3339.
        digest: as of a service.
        before: what a rollback of it goes back to; null where there is nothing.
    """

    name: str
    traffic: int
    state: str
    reason: str
    image: str
    memory: int
    cpus: float
    restarts: int
    created: str
    digest: str
    before: ServedBefore | None


class Service(_Output, frozen=True):
    """A named service; with versions, what is not of all of them is of the one that gets most requests.

    Attributes:
        name: of the service.
        state: in the words of Azure ML.
        reason: in a sentence; empty for a healthy one.
        image: that it runs.
        urls: where it is reached.
        memory: limit in bytes; 0 for none.
        cpus: limit; 0 for none.
        restarts: how often it was started again.
        created: when its container was made, RFC 3339.
        auth: `key` where requests need one, else `none`.
        versions: where it has some, those behind its one address.
        digest: of the image, as `packager build` printed it; of one that was not built here, the engine's id of it.
            Without Docker, that of what it is made of.
        before: what a rollback goes back to; null where there is nothing, or the versions have theirs.
        log: last lines, of `service show`.
    """

    name: str
    state: str
    reason: str
    image: str
    urls: Urls
    memory: int
    cpus: float
    restarts: int
    created: str
    auth: str
    versions: tuple[ServiceVersion, ...]
    digest: str
    before: ServedBefore | None
    log: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET


class DeployedModels(Service, frozen=True, kw_only=True):
    """A named service that was deployed from models and files of Azure ML v1.

    Attributes:
        name: of the service.
        state: in the words of Azure ML.
        reason: in a sentence; empty for a healthy one.
        image: that it runs.
        urls: where it is reached.
        memory: limit in bytes; 0 for none.
        cpus: limit; 0 for none.
        restarts: how often it was started again.
        created: when its container was made, RFC 3339.
        auth: `key` where requests need one, else `none`.
        versions: where it has some, those behind its one address.
        digest: of the image, as `packager build` printed it; of one that was not built here, the engine's id of it.
        before: what a rollback goes back to; null where there is nothing.
        log: last lines, of `service show`.
        compute: Local, ACI or AKS: what this machine is to it.
        target: name of the compute target; empty where none was named.
        models: `name:version`, or names of unregistered ones.
    """

    compute: str
    target: str
    models: tuple[str, ...]


class PackagedModels(_Output, frozen=True):
    """What `model package` made.

    Attributes:
        image: its reference; null where a build context was written.
        output: folder of the build context; null where an image was built.
        models: `name:version`, or names of unregistered ones.
        folder: of the package that it was made of, with its packager.yaml and lock.
    """

    image: str | None
    output: str | None
    models: tuple[str, ...]
    folder: str


class AccessToken(_Output, frozen=True):
    """A token for requests to a service.

    Attributes:
        access_token: it.
        token_type: Bearer.
        refresh_after: when another one is to be asked for (RFC 3339).
        expires: when it ends (RFC 3339); it ends earlier when the primary key is made new.
    """

    access_token: str
    token_type: str
    refresh_after: str
    expires: str


class Keys(_Output, frozen=True):
    """The keys of a service.

    Attributes:
        primary: the one.
        secondary: the other.
    """

    primary: str
    secondary: str


class Test(_Output, frozen=True):
    """A test of the spec.

    Attributes:
        name: of the test.
        passed: the answer is as expected.
        seconds: until the answer.
        latency: how often it was asked, and min, median, p95 and max in seconds; null where it was asked once.
        differences: from what was expected.
    """

    name: str
    passed: bool
    seconds: float
    latency: dict[str, float] | None
    differences: tuple[str, ...]


class Tested(_Output, frozen=True):
    """What an image answered.

    Attributes:
        image: reference.
        target: deployment flavour.
        platform: OCI os/arch.
        passed: all tests did.
        start_seconds: until it was healthy.
        failure: why it did not start; empty where it did.
        log: its last lines, where something failed.
        tests: each with its outcome.
    """

    image: str
    target: str
    platform: str
    passed: bool
    start_seconds: float
    failure: str
    log: tuple[str, ...]
    tests: tuple[Test, ...]


class CuratedSummary(_Output, frozen=True):
    """An environment that has a name: a registered or a curated one.

    Attributes:
        name: by which a spec takes it.
        description: one line.
        python: minor version; null for a registered one.
        locked: target → platforms that it is locked for.
        kind: `registered`; `curated`, which comes with packager; `v1`: a curated one by a name of Azure ML v1.
        version: of a registered one.
        curated: of a name of Azure ML v1: the nearest of the curated ones.
        digest: of a registered one.
        tags: of a registered one.
        created: when one was registered, RFC 3339 in UTC.
    """

    name: str
    description: str
    python: str | None
    locked: dict[str, tuple[str, ...]]
    kind: Literal["registered", "curated", "v1"]
    version: int | None
    curated: str | None
    digest: str | None
    tags: dict[str, str]
    created: str | None


class CuratedDetails(CuratedSummary, frozen=True):
    """An environment that has a name, with what is in it.

    Attributes:
        name: by which a spec takes it.
        description: one line.
        python: minor version; null for a registered one.
        locked: target → platforms that it is locked for.
        kind: `registered`; `curated`, which comes with packager; `v1`: a curated one by a name of Azure ML v1.
        version: of a registered one.
        curated: of a name of Azure ML v1: the nearest of the curated ones.
        digest: of a registered one.
        tags: of a registered one.
        created: when one was registered, RFC 3339 in UTC.
        remarks: of its file.
        environment: text of its file.
        packages: target → locked packages, each with name, version and platforms.
        files: of a registered one.
    """

    remarks: tuple[str, ...]
    environment: str
    packages: dict[str, tuple[dict[str, Any], ...]]
    files: tuple[workspace_outputs.FileEntry, ...]


class PackageMove(Moved, frozen=True):
    """A package that moved between two locks.

    Attributes:
        name: normalised.
        before: version so far; null where it is new.
        after: version now; null where it is gone.
        manager: `pip` or `conda`.
    """

    manager: str


class TargetMoves(_Output, frozen=True):
    """What moved in one target between two locks.

    Attributes:
        target: its name.
        status: `changed`, or `added` and `removed` for a target that only one of the locks has.
        moves: packages.
    """

    target: str
    status: str
    moves: tuple[PackageMove, ...]


class TargetFile(_Output, frozen=True):
    """A target: what its file holds, and where it is from.

    Attributes:
        name: of the target.
        description: one line.
        template: of its Dockerfile.
        file: path of its file.
        own: it stands beside the spec.
    """

    name: str
    description: str
    template: str
    file: str
    own: bool


class Examined(_Output, frozen=True):
    """A tool or setting that `doctor` looked at.

    Attributes:
        name: of what was looked for.
        status: `ok`, `missing`, or `warning` for what works only in part.
        detail: what is there.
        remedy: what to do.
        required: `lock`, `check` and `save` need it.
    """

    name: str
    status: Literal["ok", "missing", "warning"]
    detail: str
    remedy: str | None
    required: bool


class StoreInfo(_Output, frozen=True):
    """What is kept on this machine.

    Attributes:
        size: bytes on the disk.
        frees: bytes that `store gc` frees.
        kinds: each kind.
    """

    size: int
    frees: int
    kinds: tuple[KindSummary, ...]


class CheckedImages(_Output, frozen=True):
    """Layers that were read.

    Attributes:
        checked: how many.
        damaged: digests of damaged ones.
    """

    checked: int
    damaged: tuple[str, ...]


class StoreVerified(_Output, frozen=True):
    """What `store verify` found.

    Attributes:
        checked: models that were read.
        size: bytes of these.
        damaged: digests of damaged ones.
        images: the same of layers.
    """

    checked: int
    size: int
    damaged: tuple[str, ...]
    images: CheckedImages


class Removed(_Output, frozen=True):
    """What went of one kind.

    Attributes:
        removed: how many.
        freed: bytes.
    """

    removed: int
    freed: int


class Collected(_Output, frozen=True):
    """What `store gc` removed.

    Attributes:
        freed: bytes.
        dry_run: nothing was removed: it is what would be.
        kinds: name → what went of it.
    """

    freed: int
    dry_run: bool
    kinds: dict[str, Removed]


#: Name for `packager schema` → type; that of a verb below a verb has both words.
class NeededBy(_Output, frozen=True):
    """A package that needs another one.

    Attributes:
        name: of the package.
        version: of the package.
        as: the requirement, as it has it.
    """

    name: str
    version: str
    as_: str = msgspec.field(name="as")


class Freed(_Output, frozen=True):
    """What would go with a package.

    Attributes:
        size: bytes, as far as they are known.
        packages: names.
    """

    size: int
    packages: tuple[str, ...]


class Why(_Output, frozen=True):
    """Why a package is in an environment.

    Attributes:
        target: deployment flavour.
        platform: OCI os/arch.
        name: of the package.
        version: that is locked.
        manager: `pip` or `conda`.
        size: bytes of its files; null where it is not known.
        asked: what the environment asks for; null where it does not.
        needed_by: packages that need it.
        ways: from what is asked for to the package, each as names.
        alone: what nobody else needs.
    """

    target: str
    platform: str
    name: str
    version: str
    manager: str
    size: int | None
    asked: str | None
    needed_by: tuple[NeededBy, ...]
    ways: tuple[tuple[str, ...], ...]
    alone: Freed


class Need(_Output, frozen=True):
    """A package that is needed.

    Attributes:
        name: of the package.
        as: the requirement, as it is written.
    """

    name: str
    as_: str = msgspec.field(name="as")


class TreePackage(_Output, frozen=True):
    """A package of an environment.

    Attributes:
        name: of the package.
        version: that is locked.
        manager: `pip` or `conda`.
        size: bytes of its files; null where it is not known.
        total_size: with all that it needs, as far as that is known.
        license: as the package says; empty where it does not.
        asked: what the environment asks for; null where it does not.
        needs: packages; null where they are not known.
    """

    name: str
    version: str
    manager: str
    size: int | None
    total_size: int
    license: str
    asked: str | None
    needs: tuple[Need, ...] | None


class Tree(_Output, frozen=True):
    """The packages of an environment.

    Attributes:
        target: deployment flavour.
        platform: OCI os/arch.
        size: bytes of all whose size is known.
        packages: the largest first.
    """

    target: str
    platform: str
    size: int
    packages: tuple[TreePackage, ...]


class Answered(_Output, frozen=True):
    """What a service answered.

    Attributes:
        url: that was asked.
        status: of HTTP.
        content_type: of the body.
        bytes: of the body.
        body: JSON as it is, or a text; not there where it is neither.
        base64: the body, where it is no text.
    """

    url: str
    status: int
    content_type: str
    bytes: int
    body: Any = msgspec.UNSET
    base64: str | msgspec.UnsetType = msgspec.UNSET


class TakenKey(_Output, frozen=True):
    """A key of a file that is in the spec.

    Attributes:
        file: relative to the folder of the spec.
        key: its dotted path; empty for the file as a whole.
        field: of the spec.
        note: what of it is not as it was; empty where all is.
    """

    file: str
    key: str
    field: str
    note: str


class LeftKey(_Output, frozen=True):
    """A key of a file that is not in the spec.

    Attributes:
        file: relative to the folder of the spec.
        key: its dotted path; empty for what the file says as a whole.
        kind: `left`, `unknown` where packager knows no such key, `empty` where it says nothing.
        reason: why.
        instead: the way to the same end; empty where there is none.
    """

    file: str
    key: str
    kind: Literal["left", "unknown", "empty"]
    reason: str
    instead: str


class Imported(_Output, frozen=True):
    """The spec that follows from files of Azure ML, and what became of each of their keys.

    Attributes:
        spec: path of the spec; null where it was not written.
        text: of the spec.
        read: the files that were read, relative to its folder.
        written: the files that were written, relative to its folder.
        taken: what is in the spec.
        left: what is not.
    """

    spec: str | None
    text: str
    read: tuple[str, ...]
    written: tuple[str, ...]
    taken: tuple[TakenKey, ...]
    left: tuple[LeftKey, ...]


OUTPUTS: dict[str, Any] = {
    "bake": Baked,
    "batch": BatchSummary,
    "build": list[Built],
    "build-verify": Compared,
    "check": list[Finding],
    "config-list": list[Setting],
    "deploy": deploy_outputs.DeployedTo,
    "diff": Difference,
    "doctor": list[Examined],
    "environment-delete": list[workspace_outputs.Deleted],
    "environment-diff": list[TargetMoves],
    "environment-download": workspace_outputs.Downloaded,
    "environment-list": list[CuratedSummary],
    "environment-register": workspace_outputs.Registered,
    "environment-show": CuratedDetails,
    "environment-verify": list[workspace_outputs.VersionVerified],
    "error": Error,
    "image-list": list[workspace_outputs.ImageListed],
    "import": Imported,
    "inspect": Inspected,
    "lock": Locked,
    "lock-check": Freshness,
    "model-delete": list[workspace_outputs.Deleted],
    "model-deploy": DeployedModels,
    "model-diff": workspace_outputs.ModelDifference,
    "model-download": workspace_outputs.Downloaded,
    "model-list": list[workspace_outputs.RegisteredSummary],
    "model-package": PackagedModels,
    "model-profile": profile_outputs.Profiled,
    "model-pull": workspace_outputs.Registered,
    "model-push": workspace_outputs.VersionPushed,
    "model-register": workspace_outputs.Registered,
    "model-show": workspace_outputs.ModelShown,
    "model-update": workspace_outputs.Registered,
    "model-verify": list[workspace_outputs.VersionVerified],
    "plan": list[Planned],
    "pull": Pulled,
    "push": list[Pushed],
    "run": Running,
    "save": list[SavedContext],
    "score": Answered,
    "service-deploy": Service,
    "service-get-access-token": AccessToken,
    "service-get-keys": Keys,
    "service-keys": Keys,
    "service-list": list[Service],
    "service-regen-key": Keys,
    "service-rollback": Service,
    "service-score": Answered,
    "service-show": Service,
    "service-start": Service,
    "service-traffic": Service,
    "service-update": Service,
    "store-gc": Collected,
    "store-info": StoreInfo,
    "store-verify": StoreVerified,
    "target-list": list[TargetFile],
    "target-show": TargetFile,
    "test": list[Tested],
    "tree": list[Tree],
    "verify": VerifyResult,
    "watch": Event,
    "why": list[Why],
    "workspace-copy": workspace_outputs.WorkspaceCopied,
    "workspace-create": workspace_outputs.WorkspaceMade,
    "workspace-list": list[WorkspaceSummary],
    "workspace-show": WorkspaceSummary,
    "workspace-use": workspace_outputs.WorkspaceUsed,
}
#: All are of this version so far.
VERSION = 1
