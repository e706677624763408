"""Plan + generated texts → build context: every file with its digest, before anything is written. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import msgspec

from packager import __version__
from packager.context import manifest as m
from packager.context.manifest import mtime_of
from packager.contract import FILE_MODE
from packager.errors import ContextError
from packager.plan.plan import Layer, Plan
from packager.plan.trees import parent_of

__all__ = ["BuildContext", "ContextFile", "assemble", "mtime_of"]


class ContextFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a context, with where its bytes come from: `text` or `origin`.

    Attributes:
        path: in the context.
        size: bytes.
        mode: permission bits.
        digest: sha256 of the content, 64 hex digits.
        text: the content of a generated file.
        origin: the file to copy, relative to the folder of the spec.
        model: it belongs to a model, and comes from the store.
        same_as: path of an earlier file of the model that has the same content: it is a hard link to that.
    """

    path: str
    size: int
    mode: int
    digest: str
    text: str | None = None
    origin: str | None = None
    model: bool = False
    same_as: str = ""


class BuildContext(msgspec.Struct, frozen=True, kw_only=True):
    """The directory that `docker build` gets.

    Attributes:
        files: all but `packager.json`, sorted by path.
        folders: all, sorted.
        manifest_text: `packager.json`.
        digest: `sha256:…` over folders and files.
        model_folders: models that are folders, relative to the folder of the spec.
    """

    files: tuple[ContextFile, ...]
    folders: tuple[str, ...]
    manifest_text: str
    digest: str
    model_folders: tuple[str, ...] = ()

    @property
    def manifest_file(self) -> ContextFile:
        """`packager.json` as a file of the context."""
        return _text_file(m.NAME, self.manifest_text)


def assemble(plan: Plan, texts: Mapping[str, str]) -> BuildContext:
    """Return the build context of a plan.

    Args:
        plan: the image.
        texts: generated files by their path in the context (`Dockerfile`, `.dockerignore`, `HANDOFF.md`, …).

    Raises:
        ContextError: there is more of it than a manifest may list.
    """
    files = [_text_file(path, text) for path, text in texts.items()]
    folders = {folder for path in texts for folder in _parents(path)}
    for layer in plan.layers:
        # Asked for once: its name holds a digest over all files.
        folder = layer.folder
        files += layer_files(layer, folder, model=layer in plan.models)
        folders.update(_parents(f"{folder}/"), (f"{folder}/{each}" for each in layer.tree.folders))
    ordered = tuple(sorted(files, key=lambda file: file.path))
    manifest = _manifest(plan, tuple(sorted(folders)), ordered)
    text = m.encode_manifest(manifest)
    if len(text.encode()) > m.MAX_BYTES:
        raise ContextError(
            f"the context has {len(ordered)} files with long names: too many for {m.NAME}",
            remedy="leave folders out by .dockerignore",
        )
    return BuildContext(
        files=ordered,
        folders=manifest.folders,
        manifest_text=text,
        digest=manifest.digest,
        model_folders=tuple(each for each in map(_model_folder, plan.models) if each is not None),
    )


def _text_file(path: str, text: str) -> ContextFile:
    data = text.encode()
    return ContextFile(path=path, size=len(data), mode=FILE_MODE, digest=hashlib.sha256(data).hexdigest(), text=text)


def layer_files(layer: Layer, folder: str, *, model: bool) -> list[ContextFile]:
    """Return the files of a layer, below a folder; `model` says that they come from the store."""
    twins = layer.tree.twins if model else {}
    return [
        ContextFile(
            path=f"{folder}/{file.path}",
            size=file.size,
            mode=file.mode,
            digest=file.digest,
            text=file.text,
            origin=file.origin if file.text is None else None,
            model=model,
            same_as=f"{folder}/{twins[file.path]}" if file.path in twins else "",
        )
        for file in layer.tree.files
    ]


def _manifest(plan: Plan, folders: tuple[str, ...], files: tuple[ContextFile, ...]) -> m.Manifest:
    listed = tuple(
        m.ManifestFile(path=file.path, size=file.size, mode=f"{file.mode:04o}", sha256=file.digest) for file in files
    )
    manifest = m.Manifest(
        packager=__version__,
        digest="",
        name=plan.name,
        version=plan.version,
        target=plan.target,
        platform=plan.platform,
        base=m.ManifestBase(reference=plan.base.reference, digest=plan.base.digest),
        spec=plan.spec_digest,
        lock=plan.lock_digest,
        dialect=plan.dialect,
        layers=tuple(
            m.ManifestLayer(
                name=layer.name,
                title=layer.title,
                folder=layer.folder,
                digest=f"sha256:{layer.tree.digest}",
                size=layer.tree.size,
            )
            for layer in plan.layers
        ),
        folders=folders,
        files=listed,
    )
    return msgspec.structs.replace(manifest, digest=m.context_digest(manifest))


def _parents(path: str) -> list[str]:
    """Return the folders above a path; of one that ends with `/` it is the first."""
    parents = []
    while path := parent_of(path):
        parents.append(path)
    return parents


def _model_folder(layer: Layer) -> str | None:
    """Return the origin of a model that is a folder: what is left of a file's origin without its path in the model."""
    for file in layer.tree.files if not layer.registered else ():
        # var/azureml-app/azureml-models/<name>/<version>/<top>/<rest>
        parts = file.path.split("/", 6)
        if len(parts) == 7:
            return file.origin.removesuffix(f"/{parts[6]}")
    return None
