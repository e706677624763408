"""What lists what a spec can name, and `import`, print with `--format json`; see `packager.steps.outputs`."""

from __future__ import annotations

from typing import Any, Literal

from packager.steps import workspace_outputs
from packager.steps.output import Output


class CuratedSummary(Output, frozen=True):
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
        remarks: of its file.
        environment: text of its file.
        packages: target → locked packages, each with name, version and platforms.
        files: of a registered one.
    """

    remarks: tuple[str, ...]
    environment: str
    packages: dict[str, tuple[dict[str, Any], ...]]
    files: tuple[workspace_outputs.FileEntry, ...]


class TargetFile(Output, frozen=True):
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


class TakenKey(Output, frozen=True):
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


class LeftKey(Output, frozen=True):
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


class Imported(Output, frozen=True):
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
