"""What the verbs of a workspace print with `--format json`; see `packager.steps.outputs`."""

from __future__ import annotations

from typing import Any, Literal

from packager.steps.output import Output


class FileEntry(Output, frozen=True):
    """A file of a version.

    Attributes:
        path: its first part is the file or folder that was registered.
        size: bytes.
        sha256: of its content, 64 hex digits.
    """

    path: str
    size: int
    sha256: str


class Origin(Output, frozen=True):
    """Where a version comes from.

    Attributes:
        uri: as it was named, without passwords.
        revision: what that was at the time; null where nothing pins it.
    """

    uri: str
    revision: str | None


class Wanted(Output, frozen=True):
    """What a service with a model wants.

    Attributes:
        cpu: processors.
        memory_gb: gibibytes of memory.
        gpu: GPUs.
    """

    cpu: float | None
    memory_gb: float | None
    gpu: int | None


class RegisteredSummary(Output, frozen=True):
    """A version of a model or an environment.

    Attributes:
        id: `name:version`.
        name: of it.
        version: of it, from 1.
        digest: `sha256:…` of paths, sizes and digests of its files.
        created: when, RFC 3339 in UTC.
        size: bytes of its files.
        framework: of a model; null where neither anybody nor a file says it.
        framework_version: that saved it.
        description: for people.
        tags: to find it by.
        properties: what never changes.
    """

    id: str
    name: str
    version: int
    digest: str
    created: str
    size: int
    framework: str | None
    framework_version: str | None
    description: str
    tags: dict[str, str]
    properties: dict[str, str]


class Registered(RegisteredSummary, frozen=True):
    """A version of a model or an environment, with all that is known of it.

    Attributes:
        workspace: where it is registered.
        files: sorted by path.
        samples: files with requests as it takes them.
        resources: what a service wants; null where nobody said.
        source: where it comes from; null for a path.
        run_id: of the run that made it.
        details: what was found out of its files.
    """

    workspace: str
    files: tuple[FileEntry, ...]
    samples: tuple[FileEntry, ...]
    resources: Wanted | None
    source: Origin | None
    run_id: str | None
    details: dict[str, Any]


class UsedBy(Output, frozen=True):
    """What needs a version.

    Attributes:
        kind: `image`, `service` or `lock`.
        what: reference, name or path.
        digest: of an image, where it is known.
        when: an image was made; else empty.
    """

    kind: Literal["image", "service", "lock"]
    what: str
    digest: str | None
    when: str


class ModelShown(Registered, frozen=True):
    """A version of a model, with what holds it.

    Attributes:
        used_by: images, services of this machine, and locks.
    """

    used_by: tuple[UsedBy, ...]


class Downloaded(Output, frozen=True):
    """What was copied out of a workspace.

    Attributes:
        id: `name:version`; the name alone of a curated environment.
        path: of the file or folder.
    """

    id: str
    path: str


class ChangedFile(Output, frozen=True):
    """A file that two versions have with other content.

    Attributes:
        path: of it.
        before: as the first has it.
        after: as the second has it.
    """

    path: str
    before: FileEntry
    after: FileEntry


class ChangedFact(Output, frozen=True):
    """What is said of two versions that is not the same.

    Attributes:
        name: of the field (`tags.area`).
        before: of the first; null where it has none.
        after: of the second; null where it has none.
    """

    name: str
    before: str | None
    after: str | None


class ModelDifference(Output, frozen=True):
    """What differs between two versions.

    Attributes:
        before: `name:version` of the first.
        after: `name:version` of the second.
        added: files that only the second has.
        removed: files that only the first has.
        changed: files that both have.
        facts: tags, framework and what else is said of them.
    """

    before: str
    after: str
    added: tuple[FileEntry, ...]
    removed: tuple[FileEntry, ...]
    changed: tuple[ChangedFile, ...]
    facts: tuple[ChangedFact, ...]


class Deleted(Output, frozen=True):
    """A version that is registered no more.

    Attributes:
        id: `name:version`; the number is never given again.
        digest: of what it was.
    """

    id: str
    digest: str


class VersionVerified(Output, frozen=True):
    """A version whose files were read.

    Attributes:
        id: `name:version`.
        files: how many were read.
        size: bytes of them.
        wrong: what is wrong, a sentence each.
    """

    id: str
    files: int
    size: int
    wrong: tuple[str, ...]


class VersionPushed(Output, frozen=True):
    """A version that was written to a registry.

    Attributes:
        id: `name:version`.
        reference: with its digest.
        form: `artifact` or `image`.
    """

    id: str
    reference: str
    form: Literal["artifact", "image"]


class HeldVersion(Output, frozen=True):
    """A version that an image holds.

    Attributes:
        id: `name:version`.
        digest: of its content.
    """

    id: str
    digest: str


class ImageListed(Output, frozen=True):
    """An image that was made of what is registered.

    Attributes:
        reference: with its tag.
        digest: `sha256:…`; null where it has none that counts elsewhere.
        when: it was made, RFC 3339 in UTC.
        pushed: it is in a registry.
        models: in it, or mounted where it runs.
        environment: the registered one; null where it is another.
        spec: path of the spec, on the machine that made it.
        package: `name:version` of the spec.
    """

    reference: str
    digest: str | None
    when: str
    pushed: bool
    models: tuple[HeldVersion, ...]
    environment: HeldVersion | None
    spec: str
    package: str


class WorkspaceMade(Output, frozen=True):
    """A workspace that is there now.

    Attributes:
        name: for people.
        location: path of a folder, or `oci://…`.
    """

    name: str
    location: str


class WorkspaceUsed(Output, frozen=True):
    """The workspace that is meant from now on where nothing else says it.

    Attributes:
        workspace: it.
        file: this user's settings.
    """

    workspace: str
    file: str


class WorkspaceCopied(Output, frozen=True):
    """What was copied from one workspace to another.

    Attributes:
        copied: `name:version` of what was not there.
        present: of what was there already, with the same content.
    """

    copied: tuple[str, ...]
    present: tuple[str, ...]
