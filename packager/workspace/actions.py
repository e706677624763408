"""What is done with a workspace, whoever keeps it: download, compare, verify, copy to another, take into the store."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec

from packager.contract import FILE_MODE
from packager.errors import ContextError
from packager.progress import count_read, reading
from packager.storage.models import Store
from packager.storage.reading import clone, copy_hashed, digest_file, failure, hash_descriptor, opened
from packager.workspace.base import Workspace
from packager.workspace.values import Content, File, Kind, Version


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """What differs between two versions.

    Attributes:
        added: files that only the second has.
        removed: files that only the first has.
        changed: files that both have, with other content: as the first has them, and as the second.
        facts: name of a field (`tags.area`, `framework`) → its value in either; None where there is none.
    """

    added: tuple[File, ...]
    removed: tuple[File, ...]
    changed: tuple[tuple[File, File], ...]
    facts: dict[str, tuple[str | None, str | None]]

    @property
    def is_empty(self) -> bool:
        """Whether nothing differs."""
        return not (self.added or self.removed or self.changed or self.facts)


class Copied(msgspec.Struct, frozen=True, kw_only=True):
    """What was copied to another workspace: versions that it did not have, and those that it had."""

    copied: tuple[Version, ...]
    present: tuple[Version, ...]


def download(workspace: Workspace, version: Version, target: Path, *, overwrite: bool = False) -> Path:
    """Copy what was registered into a folder, under its own name; never a link into a workspace.

    Args:
        workspace: has it.
        version: of a model or an environment.
        target: the folder; made when needed.
        overwrite: replace a file or folder of the name.

    Returns:
        the path of the file or folder: of the target, where a version has several side by side.

    Raises:
        ContextError: something of the name is there, or a file is not what was registered. Nothing is left behind.
        RegistryError, TemporaryError: from a registry's workspace.
    """
    tops = sorted({file.path.partition("/")[0] for file in version.files})
    for top in tops:
        if os.path.lexists(target / top) and not overwrite:
            raise ContextError(f"{target / top} is there already", remedy="use --overwrite, or another folder")
    new, store = target / f".{version.name}-{secrets.token_hex(8)}.new", Store()
    try:
        new.mkdir(parents=True)
        with reading(f"downloading {version.id}", version.size):
            for file in version.files:
                with workspace.open(version, file) as origin:
                    _copy(version, file, origin, new / file.path, store)
        for top in tops:
            _replace(new / top, target / top)
    except OSError as error:
        raise failure("written", target, error) from None
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return target / tops[0] if len(tops) == 1 else target


def verify(workspace: Workspace, version: Version) -> tuple[str, ...]:
    """Return what is wrong with the files of a version, a sentence each, having read all of them.

    Raises:
        RegistryError, TemporaryError: from a registry's workspace.
    """
    wrong = []
    with reading(f"reading {version.id}", version.size):
        for file in (*version.files, *version.samples):
            try:
                with workspace.open(version, file) as path:
                    found = digest_file(path).digest
            except ContextError as error:
                wrong.append(error.message)
                continue
            if found != file.sha256:
                wrong.append(f"{file.path} of {version.id} is not what was registered: its sha256 is {found} now")
    return tuple(wrong)


def compare(one: Version, other: Version) -> Difference:
    """Return what differs between two versions."""
    first, second = ({file.path: file for file in each.files} for each in (one, other))
    both = [path for path in first if path in second and first[path].sha256 != second[path].sha256]
    facts, others = _facts(one), _facts(other)
    return Difference(
        added=tuple(file for path, file in second.items() if path not in first),
        removed=tuple(file for path, file in first.items() if path not in second),
        changed=tuple((first[path], second[path]) for path in both),
        facts={
            name: (facts.get(name), others.get(name))
            for name in sorted({*facts, *others})
            if facts.get(name) != others.get(name)
        },
    )


def copy(source: Workspace, target: Workspace, versions: Iterable[Version]) -> Copied:
    """Copy versions to another workspace, with their numbers; what it has is not sent again.

    Raises:
        TakenError: it has another version of the name and number; the others are copied.
        ContextError: files of a version are gone or altered, or cannot be written; likewise.
        RegistryError, TemporaryError: see `Workspace`. What was copied before stays.
    """
    copied, present, failed = [], [], list[ContextError]()
    there: dict[Kind, dict[str, dict[int, Version]]] = {"model": {}, "environment": {}}
    for version in versions:
        names = there[version.kind]
        if version.name not in names:
            names[version.name] = {each.version: each for each in target.versions(version.kind, version.name)}
        known = names[version.name].get(version.version)
        if known is not None and known.digest == version.digest:
            present.append(known)
            continue
        try:
            with contents(source, version) as (files, samples):
                copied.append(target.add(version, files, samples, number=version.version))
        except ContextError as error:
            failed.append(error)
    if failed:
        more = f" (and {len(failed) - 1} more cannot be copied)" if len(failed) > 1 else ""
        raise type(failed[0])(f"{failed[0].message}{more}", where=failed[0].where, remedy=failed[0].remedy)
    return Copied(copied=tuple(copied), present=tuple(present))


@contextmanager
def contents(workspace: Workspace, version: Version) -> Iterator[tuple[list[Content], list[Content]]]:
    """Give the files and samples of a version as what may be registered elsewhere; fetched where needed."""
    with ExitStack() as stack:

        def given(files: Iterable[File]) -> list[Content]:
            return [
                Content(path=file.path, origin=stack.enter_context(workspace.open(version, file)), sha256=file.sha256)
                for file in files
            ]

        yield given(version.files), given(version.samples)


def take(workspace: Workspace, version: Version, store: Store) -> None:
    """Take the files of a version into this machine's store, where it has them not: linked where that can be.

    Raises:
        ContextError: one is gone, or not what was registered; the disk is full.
        RegistryError, TemporaryError: from a registry's workspace.
    """
    missing = {file.sha256: file for file in version.files if not store.has(file.sha256, file.size)}
    if not missing:
        return
    with reading(f"fetching {version.id}", sum(file.size for file in missing.values())):
        for file in missing.values():
            with workspace.open(version, file) as path:
                if not store.adopt(path, file.sha256, file.size):
                    raise _other(version, file)


def _copy(version: Version, file: File, origin: Path, path: Path, store: Store) -> None:
    """Copy a file, and hash it on the way, unless nothing changed since it was written or read here."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if store.recall(origin) == (file.sha256, file.size):
        shutil.copyfile(origin, path)
        count_read(file.size)
        return
    with opened(origin) as source:
        target = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, FILE_MODE)
        try:
            digest, _ = hash_descriptor(target) if clone(source, target) else copy_hashed(source, target)
        finally:
            os.close(target)
    if digest != file.sha256:
        raise _other(version, file)
    store.note(origin, digest)


def _other(version: Version, file: File) -> ContextError:
    return ContextError(
        f"{file.path} of {version.id} is not what was registered",
        remedy=f"`packager {version.kind} verify` says what else is; register its file again, as a new version",
    )


def _replace(new: Path, path: Path) -> None:
    """Put a file or folder in the place of another, which is away only between two renames."""
    old = new.with_name(f"{new.name}.old")
    if os.path.lexists(path):
        os.rename(path, old)
    try:
        os.rename(new, path)
    except BaseException:
        if os.path.lexists(old):
            os.rename(old, path)
        raise


def _facts(version: Version) -> dict[str, str]:
    """Return what people wrote and what was found out, by the names of fields."""
    plain = {
        "framework": version.framework,
        "framework_version": version.framework_version,
        "description": version.description or None,
        "run_id": version.run_id,
        "source": version.source.uri if version.source else None,
        "source.revision": version.source.revision if version.source else None,
    }
    resources = msgspec.to_builtins(version.resources) if version.resources else {}
    facts = {name: value for name, value in plain.items() if value is not None}
    for start, values in (("tags", version.tags), ("properties", version.properties), ("resources", resources)):
        facts |= {f"{start}.{name}": str(value) for name, value in values.items()}
    return facts | {f"details.{name}": msgspec.json.encode(value).decode() for name, value in version.details.items()}
