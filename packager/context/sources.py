"""Reads the user's files: the source directory minus what does not belong into an image, and the models."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from packager.context import dockerignore
from packager.context.archive_reader import is_saved_archive
from packager.context.entries import is_bake_file, is_saved_context
from packager.context.files_beside import files_of_tests, specs_among, unnamed
from packager.context.starts import start_of
from packager.context.strays import (
    asked_for,
    cache_folders,
    is_blobs_of_hub,
    is_cache,
    is_hub,
    is_image_archive,
    is_image_layout,
    is_pointer,
    is_private_key,
    is_secret,
    is_stray,
    is_workspace,
    pointer_error,
)
from packager.context.walk import Everything, Root, walk
from packager.context.written import is_written
from packager.contract import BATCH_JOURNAL, DEPLOY_RECORD, FILE_MODE, MODEL_MODE, PROGRAM_MODE
from packager.errors import ContextError, Location
from packager.plan.trees import Sources, Tree, TreeFile, make_tree
from packager.progress import is_heard, reading
from packager.similar import meant
from packager.spec.laid import Laid
from packager.spec.load import LOCK_NAME, SCHEMA_NAME, SpecFile
from packager.spec.model import Model
from packager.storage.reading import digest_file, failure, opened

#: sha256 (64 hex digits) and size in bytes of a model file: `Store.digest`, or `Store.add` to keep it in the same pass.
#: The second argument is the folder (absolute, without links) that what is read must be in, whoever replaces the path.
DigestModel = Callable[[Path, bytes], tuple[str, int]]

#: Never packaged, at any depth: version control, caches, and what may hold secrets or describes the packaging itself.
LEFT_OUT = frozenset(
    {
        *(".git", ".hg", ".svn"),
        *("__pycache__", ".ipynb_checkpoints", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".tox", ".nox"),
        *(".DS_Store", ".env", dockerignore.NAME),
    }
)
LEFT_OUT_SUFFIXES = (".pyc", ".pyo")

#: A folder or archive that a `save` is writing now, or that one left that was killed.
UNFINISHED = re.compile(r"\..*\.packager-[a-z0-9_]{8}\Z", re.DOTALL)

_MAX_DOCKERIGNORE = 1 << 20
_MAX_SCRIPT = 1 << 20


def scan_sources(spec_file: SpecFile, digest_model: DigestModel) -> Sources:
    """Read the source directory and the models of a spec.

    Args:
        spec_file: the spec; nothing outside its folder is packaged.
        digest_model: gives sha256 and size of a model file, whose content is not looked at here.

    Raises:
        ContextError: a file or folder is missing, empty, unreadable, special, or changes while it is read; a link
            leaves the folder of the spec; a name is not plain text.
    """
    root = Root.of(spec_file.root)
    models = tuple(_model(spec_file, root, model, digest_model) for model in spec_file.spec.models)
    if not spec_file.spec.packages_sources:
        return Sources(app=Tree(), models=models)
    app, selected = _app(spec_file, root)
    return Sources(app=app, models=models, left_out=selected.left_out, secrets=selected.secrets)


def withheld(spec_file: SpecFile) -> tuple[str, ...]:
    """Return what of the source directory is not packaged because it is a secret; folders end with `/`.

    Raises:
        ContextError: see `scan_sources`.
    """
    if not spec_file.spec.packages_sources:
        return ()
    return _select(spec_file, Root.of(spec_file.root)).secrets


def list_models(spec_file: SpecFile) -> tuple[Tree, ...]:
    """Return the files of a spec's models with their sizes; none is read, so their digests are empty.

    Raises:
        ContextError: see `scan_sources`.
    """
    root = Root.of(spec_file.root)
    return tuple(_model(spec_file, root, model, _unread) for model in spec_file.spec.models)


def _unread(path: Path, _below: bytes) -> tuple[str, int]:
    try:
        return "", path.stat().st_size
    except OSError as error:
        raise failure("read", path, error) from None


# --- the app ----------------------------------------------------------------------------------------------------------


class _AppSelection:
    """What of the source directory is packaged: not what the user's `.dockerignore` or our own list leaves out."""

    def __init__(
        self,
        ignored: dockerignore.Matcher,
        own: frozenset[str],
        caches: frozenset[bytes],
        models: tuple[bytes, ...],
    ) -> None:
        self._ignored, self._own, self._caches, self._models = ignored, own, caches, models

    def keeps(self, path: str) -> bool:
        unasked = is_stray(path) and not self._ignored.brings_back(path)
        return not (unasked or self._never(path) or self._ignored.leaves_out(path) or self.withholds(path))

    def withholds(self, path: str) -> bool:
        """Whether a path is left out because it is a secret, and the user did not ask for it."""
        return is_secret(path) and not self._ignored.brings_back(path)

    def keeps_below(self, folder: str) -> bool:
        return not self._never(folder) and self._ignored.may_keep_below(folder)

    def refuses(self, folder: bytes, names: Sequence[str], beside: Sequence[str]) -> bool:
        # `pyvenv.cfg` makes a folder a virtual environment (PEP 405), and conda's has its records in `conda-meta`.
        # The build contexts of a bake file are in a folder of its name.
        return (
            "pyvenv.cfg" in names
            or ("conda-meta" in names and "bin" in names)
            or ("packager.json" in names and is_saved_context(folder))
            # They name the image, and would change it; and people keep keys beside them.
            or DEPLOY_RECORD in names
            or BATCH_JOURNAL in names
            or is_bake_file(folder + b".json")
            or is_image_layout(names)
            or is_workspace(folder, names)
            or is_cache(folder, names)
            or is_blobs_of_hub(folder, beside)
            # Other revisions of a model lead to the same content again.
            or (is_hub(folder, names) and any(each.startswith(folder + b"/") for each in self._models))
            or os.path.realpath(folder) in self._caches
        )

    def _never(self, path: str) -> bool:
        name = path.rpartition("/")[2]
        return (
            name in LEFT_OUT
            or path in self._own
            or name.endswith(LEFT_OUT_SUFFIXES)
            or (name[0] == "." and UNFINISHED.match(name) is not None)
        )


class _WholeModel(Everything):
    """A model's folder is taken whole, but for content that links in it lead to and that is taken there."""

    def refuses(self, folder: bytes, _names: Sequence[str], beside: Sequence[str]) -> bool:
        return is_blobs_of_hub(folder, beside)


def _app(spec_file: SpecFile, root: Root) -> tuple[Tree, _Selected]:
    source_dir = _normal(spec_file.spec.source_dir)
    for path in spec_file.model_paths:
        if _below(source_dir, _normal(path)) is not None:
            raise ContextError(
                f"the source directory {source_dir!r} is in the model {path!r}",
                where=spec_file.at("source_dir"),
                remedy="keep code and models in folders of their own",
            )
    start = root.join(source_dir)
    if not os.path.isdir(start):
        problem = "is not a folder" if os.path.lexists(start) else "is not there"
        raise ContextError(
            f"the source directory {source_dir!r} {problem}",
            where=spec_file.at("source_dir"),
            remedy=meant(spec_file.root, source_dir) or "`source_dir` is relative to the folder of the spec",
        )
    selected = _select(spec_file, root)
    files = []
    for path, full in selected.files:
        digest, size, mode = digest_file(full, root.real)
        if is_pointer(full, size):
            raise pointer_error(os.fsdecode(full))
        executable = PROGRAM_MODE if mode & 0o111 else FILE_MODE
        origin = path if source_dir == "." else f"{source_dir}/{path}"
        files.append(TreeFile(path=path, size=size, mode=executable, digest=digest, origin=origin))
    _require_unasked(selected)
    return make_tree(files, selected.folders), selected


class _Selected(NamedTuple):
    """What of the source directory is packaged, and what not; paths relative to it."""

    files: list[tuple[str, bytes]]
    folders: list[str]
    left_out: tuple[str, ...]
    secrets: tuple[str, ...]


def _select(spec_file: SpecFile, root: Root) -> _Selected:
    source_dir = _normal(spec_file.spec.source_dir)
    start = root.join(source_dir)
    ignored = _ignored(root, source_dir)
    models = tuple(root.join(_normal(path)) for path in spec_file.model_paths)
    selection = _AppSelection(ignored, _own(spec_file, source_dir), cache_folders(os.environ), models)
    found = walk(root, start, selection)
    files, left_out, secrets = [], found.left_out, []
    for path, full in found.files:
        try:
            size = os.stat(full).st_size
        except OSError as error:
            raise failure("read", full, error) from None
        if is_private_key(path, full, size) and not ignored.brings_back(path):
            secrets.append(path)
            left_out.append(path)
        elif (is_written(full, size) and not ignored.brings_back(path)) or _is_saved(full, size):
            left_out.append(path)
        else:
            files.append((path, full))
    of_tests = frozenset(each for path in files_of_tests(spec_file.spec) if (each := _below(path, source_dir)))
    beside = (each for each in of_tests | specs_among(files) if not ignored.brings_back(each))
    alone = unnamed(frozenset(beside), files)
    files = [(path, full) for path, full in files if path not in alone]
    left_out += alone
    secrets += [
        path
        for path in found.left_out
        if selection.withholds(path.rstrip("/")) and not ignored.leaves_out(path.rstrip("/"))
    ]
    return _Selected(files, found.folders, tuple(sorted(left_out)), tuple(sorted(secrets)))


def _is_saved(full: bytes, size: int) -> bool:
    """Whether a file is a saved context, or an image."""
    return is_saved_archive(full) or is_image_archive(full, size)


def _require_unasked(selected: _Selected) -> None:
    """Refuse to leave out what a script asks for by its name: the service would lack it."""
    scripts = ((path, start_of(full, _MAX_SCRIPT)) for path, full in selected.files if path.endswith(".py"))
    found = asked_for((path for path in selected.secrets if not path.endswith("/")), scripts)
    if found is not None:
        script, line, path = found
        raise ContextError(
            f"{script} names {path!r}, which is a secret and not packaged",
            where=Location(file=script, line=line),
            remedy="give it to the container when it runs (a variable, or a mounted file); a line "
            f"`!{path}` in .dockerignore packages it all the same, for everybody who gets the image",
        )


def _own(spec_file: SpecFile, source_dir: str) -> frozenset[str]:
    """Return what the spec, its lock and its models are in the source directory, where they lie in it.

    The models that only other targets have are among them: an image holds none but its own. So are targets and
    Dockerfile templates beside the spec, but no other files of that folder: services keep templates of theirs there.
    """
    paths = [spec_file.document.path.name, spec_file.lock_path.name, "locks", SCHEMA_NAME]
    paths += map(_normal, spec_file.model_paths)
    tls = spec_file.spec.service.tls
    paths += [_normal(each) for each in (tls.cert, tls.key) if each] if tls is not None else []
    ours = (each.name for each in spec_file.templates.glob("*") if each.name.endswith((".toml", ".Dockerfile.j2")))
    paths += [f"templates/{name}" for name in ours]
    # Those of other specs in the folder: they say nothing of this image.
    paths += [each.name for each in spec_file.root.glob(f"*{LOCK_NAME}")]
    return frozenset(path for path in (_below(each, source_dir) for each in paths) if path)


def _ignored(root: Root, source_dir: str) -> dockerignore.Matcher:
    """Return the matcher of the source directory: its own `.dockerignore`, else that beside the spec."""
    own = root.join(source_dir)
    if source_dir == "." or os.path.lexists(os.path.join(own, dockerignore.NAME.encode())):
        return _dockerignore(root, own)
    return _dockerignore(root, root.path).below(source_dir)


def _dockerignore(root: Root, folder: bytes) -> dockerignore.Matcher:
    path = os.path.join(folder, dockerignore.NAME.encode())
    if not os.path.lexists(path):
        return dockerignore.Matcher()
    root.resolve(path)
    shown = os.fsdecode(path)
    with opened(path) as descriptor:
        try:
            data = os.read(descriptor, _MAX_DOCKERIGNORE)
            text = data.decode()
        except OSError as error:
            raise failure("read", path, error) from None
        except UnicodeDecodeError:
            raise ContextError(f"{shown} is not UTF-8 text", remedy="save the file in UTF-8") from None
    if len(data) == _MAX_DOCKERIGNORE:
        raise ContextError(f"{shown} is larger than {_MAX_DOCKERIGNORE} bytes", remedy="use patterns such as `data/**`")
    return dockerignore.parse_dockerignore(text, shown)


# --- the models -------------------------------------------------------------------------------------------------------


def _registered(laid: Laid) -> Tree:
    """Return the files of a registered model: whoever laid them down knows their digests."""
    return make_tree(
        TreeFile(
            path=file.path, size=file.size, mode=MODEL_MODE, digest=file.sha256, origin=f"{laid.folder}/{file.path}"
        )
        for file in laid.files
    )


def _model(spec_file: SpecFile, root: Root, model: Model, digest_model: DigestModel) -> Tree:
    if model.registered is not None:
        return _registered(spec_file.laid[model.registered])
    origin = _normal(model.path)
    where = spec_file.at_model(model)
    full = root.join(origin)
    if origin == ".":
        raise ContextError("a model is a file or a folder in the folder of the spec, not this folder", where=where)
    if not os.path.lexists(full):
        raise ContextError(
            f"the model {model.path!r} is not there",
            where=where,
            remedy=meant(spec_file.root, origin) or "paths are relative to the folder of the spec",
        )
    real = root.resolve(full)
    top = posixpath.basename(origin)
    if not os.path.isdir(real):
        tree = make_tree(_model_files(root, model, [(top, origin, full)], digest_model))
    else:
        found = walk(root, full, _WholeModel())
        named = [(f"{top}/{path}", f"{origin}/{path}", each) for path, each in found.files]
        files = _model_files(root, model, named, digest_model)
        tree = make_tree(files, (top, *(f"{top}/{folder}" for folder in found.folders)))
    if not tree.size:
        raise ContextError(f"the model {model.path!r} is empty", where=where, remedy=_empty_remedy(model))
    return tree


def _empty_remedy(model: Model) -> str:
    return f"save the model {model.called!r} there; a download or a `git lfs pull` may not be complete"


def _model_files(
    root: Root, model: Model, files: Sequence[tuple[str, str, bytes]], digest_model: DigestModel
) -> list[TreeFile]:
    """Return the files of a model, given by path in the image, path from the spec, and path here."""
    found, size = [], 0
    # Digests that are not taken, or that are remembered, take no time.
    total = _size(full for _, _, full in files) if is_heard() else None
    with reading(f"reading model {model.called}", total) as reached:
        for path, origin, full in files:
            found.append(_model_file(root, path, origin, full, digest_model))
            size += found[-1].size
            reached(size)
    return found


def _size(paths: Iterable[bytes]) -> int:
    """Return the bytes of all files that are there."""
    size = 0
    for path in paths:
        with suppress(OSError):
            size += os.stat(path).st_size
    return size


def _model_file(root: Root, path: str, origin: str, full: bytes, digest_model: DigestModel) -> TreeFile:
    shown = os.fsdecode(full)
    digest, size = digest_model(Path(shown), root.real)
    if is_pointer(full, size):
        raise pointer_error(shown)
    return TreeFile(path=path, size=size, mode=MODEL_MODE, digest=digest, origin=origin)


def _normal(path: str) -> str:
    return posixpath.normpath(path)


def _below(path: str, folder: str) -> str | None:
    """Return a path relative to a folder, "." for the folder itself; None when it is not in it."""
    if folder == ".":
        return path
    if path == folder:
        return "."
    return path.removeprefix(f"{folder}/") if path.startswith(f"{folder}/") else None
