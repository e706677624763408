"""What a workspace holds, as values: versions of models and environments, their files, and images made of them.

A version's content never changes, and neither does what was found out of it; description, tags and properties may. Its
digest is one of the content alone, so it is the same in every workspace.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Literal

import msgspec

#: What has versions. Both are kept alike: an environment's files are its definition and its locks.
Kind = Literal["model", "environment"]
KINDS: tuple[Kind, ...] = ("model", "environment")


class _Value(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of what is written: what a newer packager adds is not known, and not in the way."""


class File(_Value, frozen=True):
    """A file of a version.

    Attributes:
        path: with `/`, below the folder of the version; its first part is the file or folder that was registered.
        size: bytes.
        sha256: of its content, 64 hex digits.
    """

    path: str
    size: int
    sha256: str


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """A file that is to be registered.

    Attributes:
        path: as of `File`.
        origin: where it is on this machine.
        sha256: of its content (64 hex digits), where it is known already: it is held against it.
        below: folder (absolute, without links) that it must be in, whoever replaces it meanwhile.
    """

    path: str
    origin: Path
    sha256: str | None = None
    below: bytes | None = None


class Source(_Value, frozen=True):
    """Where a version comes from.

    Attributes:
        uri: as it was named, without passwords (`hf://org/name@main`).
        revision: what that was at the time (a commit, `sha256:…`, a version); None where nothing pins it.
    """

    uri: str
    revision: str | None = None


class Resources(_Value, frozen=True):
    """What a service with the model wants: processors, gibibytes of memory, GPUs."""

    cpu: float | None = None
    memory_gb: float | None = None
    gpu: int | None = None


class Version(_Value, frozen=True):
    """One version of a model or an environment, as it is registered.

    Attributes:
        kind: of what.
        name: see `packager.workspace.names`.
        version: from 1; 0 before it is registered.
        created: when, RFC 3339 in UTC; empty before.
        files: sorted by path.
        samples: files that belong to it and are not part of it: requests as it takes them. Paths below a folder of
            their own.
        framework: by our name or Azure ML v1's (`sklearn`, `PyTorch`); None where nobody said and no file tells.
        framework_version: that saved it.
        resources: what a service wants.
        source: where it comes from; None for a path of this machine.
        run_id: of the run that made it (MLflow's, Azure ML's).
        details: what was found out, in plain JSON values (`signature`, `flavors`, `interface`).
        description: for people.
        tags: to find it by.
        properties: what is there cannot change.
        changes: how often description, tags or properties were changed.
    """

    kind: Kind
    name: str
    version: int = 0
    created: str = ""
    files: tuple[File, ...] = ()
    samples: tuple[File, ...] = ()
    framework: str | None = None
    framework_version: str | None = None
    resources: Resources | None = None
    source: Source | None = None
    run_id: str | None = None
    details: dict[str, Any] = {}
    description: str = ""
    tags: dict[str, str] = {}
    properties: dict[str, str] = {}
    changes: int = 0

    @property
    def id(self) -> str:
        """`name:version`."""
        return f"{self.name}:{self.version}"

    @property
    def digest(self) -> str:
        """`sha256:…` of paths, sizes and digests of the files."""
        return content_digest(self.files)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    @property
    def top(self) -> str:
        """Name of the file or folder that was registered; empty where there are several side by side."""
        tops = {file.path.partition("/")[0] for file in self.files}
        return tops.pop() if len(tops) == 1 else ""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be changed of a version.

    Attributes:
        description: the new one; None leaves it.
        add_tags: new, or in place of those of the same names.
        remove_tags: names; those that are not there are fine.
        add_properties: new ones; with the value that is there already it is no change.
    """

    description: str | None = None
    add_tags: dict[str, str] = {}
    remove_tags: tuple[str, ...] = ()
    add_properties: dict[str, str] = {}


class Held(_Value, frozen=True):
    """A version that an image holds: `name`, `version`, and `sha256:…` of the content."""

    name: str
    version: int
    digest: str


class ImageRecord(_Value, frozen=True):
    """An image that was built or pushed.

    Attributes:
        reference: with its tag, where it has one.
        digest: `sha256:…`; None where the image has none that counts elsewhere.
        when: RFC 3339 in UTC.
        pushed: whether it is in a registry.
        models: the registered ones in it, or that it wants mounted.
        environment: the registered one.
        spec: path of the spec, on the machine that made it.
        package: `name:version` of the spec.
    """

    reference: str
    digest: str | None = None
    when: str = ""
    pushed: bool = False
    models: tuple[Held, ...] = ()
    environment: Held | None = None
    spec: str = ""
    package: str = ""


def content_digest(files: tuple[File, ...]) -> str:
    """Return `sha256:…` over path, size and sha256 of every file, in the order of the paths."""
    state = hashlib.sha256()
    for file in sorted(files, key=lambda each: each.path):
        state.update(f"{file.sha256} {file.size} {file.path}\0".encode())
    return f"sha256:{state.hexdigest()}"
