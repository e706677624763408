"""A version ⇄ a ModelPack artifact: manifest and configuration, one raw layer for each file. Pure: bytes and values.

What can change of a version (description, tags, properties) is in neither as a workspace has it, so its digest stays; a
copy that is pushed elsewhere has it as it was then. What else a version has is where the specification has a field for
it, and in annotations `packager.…` of the manifest where it has none.

Sources: CNCF model-spec (github.com/modelpack/model-spec, `docs/config.md`, `docs/annotations.md`,
`specs-go/v1/mediatype.go`); KitOps (github.com/kitops-ml/kitops, `pkg/lib/constants/mediatype`); OCI image spec 1.1.
"""

from __future__ import annotations

from typing import Any

import msgspec

from packager.contract import FILE_MODE, MTIME, TITLE_LABEL
from packager.decoding import decode_json
from packager.errors import ContextError, RegistryError, UsageError
from packager.http import MAX_DOCUMENT
from packager.oci.compose import rfc3339
from packager.oci.values import MANIFEST, Descriptor, digest_of
from packager.workspace.artifact import MODELPACK_CONFIG, Artifact, read_json
from packager.workspace.drafts import State, state_of
from packager.workspace.file_roles import format_of, role_of
from packager.workspace.names import check_pairs, check_text
from packager.workspace.paths import checked_path
from packager.workspace.values import KINDS, File, Kind, Resources, Source, Version

ARTIFACT_TYPE = "application/vnd.cncf.model.manifest.v1+json"
FILEPATH = "org.cncf.model.filepath"
METADATA = "org.cncf.model.file.metadata+json"
#: `true`: what a file is was told from its name.
UNTESTED = "org.cncf.model.file.mediatype.untested"

_KIND, _FRAMEWORK, _FRAMEWORK_VERSION = "packager.kind", "packager.framework", "packager.framework-version"
_RESOURCES, _RUN, _DETAILS = "packager.resources", "packager.run-id", "packager.details"
#: Of a copy: description, tags and properties.
_STATE = "packager.state"
#: Of a layer: the file is a sample, and this is its path among the samples.
_SAMPLE = "packager.sample"


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """A version as an artifact: its two documents, and what its files are as layers.

    Attributes:
        manifest: bytes of the manifest.
        config: bytes of the configuration.
        files: descriptors of the files, in their order.
        samples: descriptors of the samples, in their order.
    """

    manifest: bytes
    config: bytes
    files: tuple[Descriptor, ...]
    samples: tuple[Descriptor, ...]

    @property
    def digest(self) -> str:
        """`sha256:…` of the manifest."""
        return digest_of(self.manifest)

    @property
    def config_blob(self) -> Descriptor:
        """What the configuration is as a blob."""
        return Descriptor(media_type=MODELPACK_CONFIG, digest=digest_of(self.config), size=len(self.config))


class _About(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`descriptor` of a configuration."""

    name: str = ""
    version: str = ""
    created_at: str = msgspec.field(default="", name="createdAt")
    source_url: str = msgspec.field(default="", name="sourceURL")
    revision: str = ""
    description: str = ""
    title: str = ""
    family: str = ""
    licenses: tuple[str, ...] = ()


class _Files(msgspec.Struct, frozen=True, kw_only=True):
    """`modelfs` of a configuration."""

    type: str
    diff_ids: tuple[str, ...] = msgspec.field(name="diffIds")


class _Config(msgspec.Struct, frozen=True, kw_only=True):
    descriptor: _About
    config: dict[str, Any]
    modelfs: _Files


# --- a version → an artifact ------------------------------------------------------------------------------------------


def write_version(version: Version, *, copy: bool = False) -> Written:
    """Return the artifact of a version; the same version has the same bytes everywhere.

    Args:
        version: of a workspace.
        copy: with description, tags and properties, where it has some: no workspace is asked for those of a copy.

    Raises:
        ContextError: it has more files than a manifest has room for.
    """
    samples_at = _samples_folder(version)
    files = tuple(_layer(file, file.path) for file in version.files)
    samples = tuple(_layer(file, f"{samples_at}/{file.path}", sample=True) for file in version.samples)
    found = format_of(version.files)
    config = msgspec.json.encode(
        {
            "descriptor": _about(version),
            "config": {"format": found} if found else {},
            # Of what is neither packed nor compressed, the digest is that of the blob.
            "modelfs": {"type": "layers", "diffIds": [layer.digest for layer in (*files, *samples)]},
        },
        order="sorted",
    )
    manifest = msgspec.json.encode(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": ARTIFACT_TYPE,
            "config": Descriptor(media_type=MODELPACK_CONFIG, digest=digest_of(config), size=len(config)),
            "layers": [*files, *samples],
            "annotations": {**_annotations(version), **(_state(version) if copy else {})},
        },
        order="sorted",
    )
    for document in (manifest, config):
        if len(document) > MAX_DOCUMENT:
            count = len(version.files) + len(version.samples)
            raise ContextError(
                f"{version.name} has {count} files, more than the manifest of an artifact has room for "
                f"({len(document)} bytes, and registries take {MAX_DOCUMENT})",
                remedy="put small files together into an archive, or use a workspace in a folder",
            )
    return Written(manifest=manifest, config=config, files=files, samples=samples)


def _about(version: Version) -> _About:
    source = version.source or Source(uri="")
    return _About(
        name=version.name,
        version=str(version.version),
        created_at=version.created,
        source_url=source.uri,
        revision=source.revision or "",
    )


def _annotations(version: Version) -> dict[str, str]:
    found = {
        _KIND: version.kind,
        _FRAMEWORK: version.framework,
        _FRAMEWORK_VERSION: version.framework_version,
        _RESOURCES: version.resources and msgspec.json.encode(version.resources).decode(),
        _RUN: version.run_id,
        _DETAILS: version.details and msgspec.json.encode(version.details, order="sorted").decode(),
    }
    return {name: str(value) for name, value in found.items() if value is not None and value != {}}


def _state(version: Version) -> dict[str, str]:
    state = msgspec.structs.replace(state_of(version), changes=0)
    return {} if state == State() else {_STATE: msgspec.json.encode(state, order="sorted").decode()}


def _layer(file: File, path: str, *, sample: bool = False) -> Descriptor:
    role = "dataset" if sample else role_of(file.path)
    metadata = {
        "name": path.rpartition("/")[2],
        "mode": FILE_MODE,
        "uid": 0,
        "gid": 0,
        "size": file.size,
        "mtime": rfc3339(MTIME),
        # A regular file: `0` of tar, as a number.
        "typeflag": ord("0"),
    }
    annotations = {
        FILEPATH: path,
        TITLE_LABEL: path,
        METADATA: msgspec.json.encode(metadata).decode(),
        UNTESTED: "true",
    }
    return Descriptor(
        media_type=f"application/vnd.cncf.model.{role}.v1.raw",
        digest=f"sha256:{file.sha256}",
        size=file.size,
        annotations={**annotations, **({_SAMPLE: file.path} if sample else {})},
    )


def _samples_folder(version: Version) -> str:
    """Return where the samples are for whoever unpacks an artifact without knowing of them."""
    taken = {file.path.partition("/")[0] for file in version.files}
    folder = "samples"
    while folder in taken:
        folder = f"_{folder}"
    return folder


# --- an artifact → a version ------------------------------------------------------------------------------------------


def is_ours(artifact: Artifact) -> bool:
    """Whether an artifact is one of `write_version`."""
    return artifact.form == "modelpack" and _KIND in artifact.annotations


def read_version(artifact: Artifact, config: bytes, named: str) -> Version:
    """Return the version that an artifact of `write_version` is, without what can change of it.

    Args:
        artifact: of its manifest.
        config: its configuration.
        named: what it is, for messages.

    Raises:
        RegistryError: it is none, and what is missing or wrong of it.
    """
    kind = artifact.annotations.get(_KIND, "")
    if kind not in KINDS:
        raise RegistryError(f"{named} is no version of a workspace: {_KIND} is {kind!r}")
    found = _read_config(artifact, config, named)
    about = found.descriptor
    if not about.name or not about.version.isdecimal() or not about.version.isascii() or len(about.version) > 9:
        raise RegistryError(f"the configuration of {named} names no version: {about.name!r}, {about.version!r}")
    own = artifact.annotations
    return Version(
        kind=_as_kind(kind),
        name=about.name,
        version=int(about.version),
        created=about.created_at,
        files=_files(artifact, named, samples=False),
        samples=_files(artifact, named, samples=True),
        framework=own.get(_FRAMEWORK),
        framework_version=own.get(_FRAMEWORK_VERSION),
        resources=_annotation(own, _RESOURCES, Resources, named),
        source=Source(uri=about.source_url, revision=about.revision or None) if about.source_url else None,
        run_id=own.get(_RUN),
        details=_annotation(own, _DETAILS, dict[str, Any], named) or {},
    )


def read_state(artifact: Artifact, named: str) -> State:
    """Return description, tags and properties that an artifact of `write_version` was pushed with.

    Raises:
        RegistryError: they are none.
    """
    state = _annotation(artifact.annotations, _STATE, State, named) or State()
    try:
        check_text(state.description, "the description")
        check_pairs(state.tags, "tag")
        check_pairs(state.properties, "property")
    except UsageError as error:
        raise RegistryError(f"{_STATE} of {named} is not valid: {error.message}") from None
    return msgspec.structs.replace(state, changes=0)


def sample_path(annotations: dict[str, str]) -> str | None:
    """Return the path among the samples of a layer that is one; None of any other."""
    return annotations.get(_SAMPLE)


def read_foreign(artifact: Artifact, config: bytes, named: str) -> tuple[str, str, dict[str, Any]]:
    """Return name, description and details of an artifact that somebody else wrote.

    Raises:
        RegistryError: its configuration is not valid.
    """
    found = _read_config(artifact, config, named)
    about = decode_json(msgspec.json.encode(found.descriptor), dict[str, Any])
    about.pop("description", None)
    return found.descriptor.name, found.descriptor.description, {"modelpack": {**found.config, **about}}


def _read_config(artifact: Artifact, config: bytes, named: str) -> _Config:
    found = read_json(config, _Config, f"the configuration of {named}")
    ids = found.modelfs.diff_ids
    if len(ids) != len(artifact.layers) + artifact.skipped:
        raise RegistryError(f"{named} has {len(artifact.layers)} layers, and its configuration says {len(ids)}")
    if not artifact.skipped:
        for layer, identity in zip(artifact.layers, ids, strict=True):
            if layer.packing == "raw" and identity != layer.blob.digest:
                raise RegistryError(f"{named} says of {layer.blob.digest} that it is {identity}")
    return found


def _files(artifact: Artifact, named: str, *, samples: bool) -> tuple[File, ...]:
    found = []
    for layer in artifact.layers:
        sample = sample_path(layer.blob.annotations or {})
        if (sample is not None) != samples:
            continue
        if layer.packing != "raw":
            raise RegistryError(f"{named} is no version of a workspace: {layer.blob.media_type} is no single file")
        path = checked_path(sample if sample is not None else layer.path, named)
        found.append(File(path=path, size=layer.blob.size, sha256=layer.blob.digest.removeprefix("sha256:")))
    return tuple(sorted(found, key=lambda file: file.path))


def _annotation(annotations: dict[str, str], name: str, kind: Any, named: str) -> Any:
    text = annotations.get(name)
    return None if text is None else read_json(text.encode(), kind, f"{name} of {named}")


def _as_kind(kind: str) -> Kind:
    return "model" if kind == "model" else "environment"
