"""Reads the user's files: the source directory minus what does not belong into an image, and the models."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from packager.context import dockerignore
from packager.context.archive_reader import is_saved_archive
from packager.context.entries import is_bake_file, is_saved_context
from packager.context.walk import Root, walk
from packager.errors import ContextError
from packager.plan.trees import Sources, Tree, TreeFile, make_tree
from packager.spec.load import SpecFile
from packager.spec.model import Model
from packager.storage.reading import digest_file, failure, opened

#: sha256 (64 hex digits) and size in bytes of a model file: `Store.digest`, or `Store.add` to keep it in the same pass.
DigestModel = Callable[[Path], tuple[str, int]]

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

_MODEL_MODE = 0o444
_MAX_DOCKERIGNORE = 1 << 20


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
    app, left_out = _app(spec_file, root) if spec_file.spec.packages_sources else (Tree(), ())
    return Sources(app=app, models=models, left_out=left_out)


def list_models(spec_file: SpecFile) -> tuple[Tree, ...]:
    """Return the files of a spec's models with their sizes; none is read, so their digests are empty.

    Raises:
        ContextError: see `scan_sources`.
    """
    root = Root.of(spec_file.root)
    return tuple(_model(spec_file, root, model, _unread) for model in spec_file.spec.models)


def _unread(path: Path) -> tuple[str, int]:
    try:
        return "", path.stat().st_size
    except OSError as error:
        raise failure("read", path, error) from None


# --- the app ----------------------------------------------------------------------------------------------------------


class _AppSelection:
    """What of the source directory is packaged: not what the user's `.dockerignore` or our own list leaves out."""

    def __init__(self, ignored: dockerignore.Matcher, own: frozenset[str]) -> None:
        self._ignored = ignored
        self._own = own

    def keeps(self, path: str) -> bool:
        return not self._never(path) and not self._ignored.leaves_out(path)

    def keeps_below(self, folder: str) -> bool:
        return not self._never(folder) and self._ignored.may_keep_below(folder)

    def refuses(self, folder: bytes, names: Sequence[str]) -> bool:
        # `pyvenv.cfg` makes a folder a virtual environment (PEP 405).
        # The build contexts of a bake file are in a folder of its name.
        return (
            "pyvenv.cfg" in names
            or ("packager.json" in names and is_saved_context(folder))
            or is_bake_file(folder + b".json")
        )

    def _never(self, path: str) -> bool:
        name = path.rpartition("/")[2]
        return (
            name in LEFT_OUT
            or path in self._own
            or name.endswith(LEFT_OUT_SUFFIXES)
            or (name[0] == "." and UNFINISHED.match(name) is not None)
        )


def _app(spec_file: SpecFile, root: Root) -> tuple[Tree, tuple[str, ...]]:
    source_dir = _normal(spec_file.spec.source_dir)
    for model in spec_file.every_model:
        if _below(source_dir, _normal(model.path)) is not None:
            raise ContextError(
                f"the source directory {source_dir!r} is in the model {model.path!r}",
                where=spec_file.at("source_dir"),
                remedy="keep code and models in folders of their own",
            )
    start = root.join(source_dir)
    if not os.path.isdir(start):
        problem = "is not a folder" if os.path.lexists(start) else "is not there"
        raise ContextError(
            f"the source directory {source_dir!r} {problem}",
            where=spec_file.at("source_dir"),
            remedy="`source_dir` is relative to the folder of the spec",
        )
    found = walk(root, start, _AppSelection(_dockerignore(root, start), _own(spec_file, source_dir)))
    files, left_out = [], found.left_out
    for path, full in found.files:
        if is_saved_archive(full) or is_bake_file(full):
            left_out.append(path)
            continue
        digest, size, mode = digest_file(full)
        executable = 0o755 if mode & 0o111 else 0o644
        origin = path if source_dir == "." else f"{source_dir}/{path}"
        files.append(TreeFile(path=path, size=size, mode=executable, digest=digest, origin=origin))
    return make_tree(files, found.folders), tuple(sorted(left_out))


def _own(spec_file: SpecFile, source_dir: str) -> frozenset[str]:
    """Return what the spec, its lock and its models are in the source directory, where they lie in it.

    The models that only other targets have are among them: an image holds none but its own. So are targets and
    Dockerfile templates beside the spec, but no other files of that folder: services keep templates of theirs there.
    """
    paths = [spec_file.document.path.name, spec_file.lock_path.name, "locks"]
    paths += [_normal(model.path) for model in spec_file.every_model]
    ours = (each.name for each in spec_file.templates.glob("*") if each.name.endswith((".toml", ".Dockerfile.j2")))
    paths += [f"templates/{name}" for name in ours]
    return frozenset(path for path in (_below(each, source_dir) for each in paths) if path)


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


def _model(spec_file: SpecFile, root: Root, model: Model, digest_model: DigestModel) -> Tree:
    origin = _normal(model.path)
    where = spec_file.at_model(model)
    full = root.join(origin)
    if origin == ".":
        raise ContextError("a model is a file or a folder in the folder of the spec, not this folder", where=where)
    if not os.path.lexists(full):
        raise ContextError(
            f"the model {model.path!r} is not there", where=where, remedy="paths are relative to the folder of the spec"
        )
    real = root.resolve(full)
    top = posixpath.basename(origin)
    if not os.path.isdir(real):
        tree = make_tree([_model_file(top, origin, full, digest_model)])
    else:
        found = walk(root, full)
        files = [_model_file(f"{top}/{path}", f"{origin}/{path}", each, digest_model) for path, each in found.files]
        tree = make_tree(files, (top, *(f"{top}/{folder}" for folder in found.folders)))
    if not tree.size:
        raise ContextError(f"the model {model.path!r} is empty", where=where, remedy=_empty_remedy(model))
    return tree


def _empty_remedy(model: Model) -> str:
    return f"save the model {model.called!r} there; a download or a `git lfs pull` may not be complete"


def _model_file(path: str, origin: str, full: bytes, digest_model: DigestModel) -> TreeFile:
    digest, size = digest_model(Path(os.fsdecode(full)))
    return TreeFile(path=path, size=size, mode=_MODEL_MODE, digest=digest, origin=origin)


def _normal(path: str) -> str:
    return posixpath.normpath(path)


def _below(path: str, folder: str) -> str | None:
    """Return a path relative to a folder, "." for the folder itself; None when it is not in it."""
    if folder == ".":
        return path
    if path == folder:
        return "."
    return path.removeprefix(f"{folder}/") if path.startswith(f"{folder}/") else None
