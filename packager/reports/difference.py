"""Two of images, specs and locks → what differs between them, as far as both can tell. Pure."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec


class File(msgspec.Struct, frozen=True, kw_only=True):
    """A file of an image.

    Attributes:
        size: bytes.
        mode: permissions, octal; empty for what has none.
        content: what tells its content.
    """

    size: int
    mode: str
    content: str


class Contents(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be compared.

    Attributes:
        name: as it was asked for.
        kind: `image`, `spec` or `lock`.
        packages: manager and name (`pip numpy`) → version.
        files: absolute path → file; None where it says nothing of files.
        folders: that `files` are all of; empty for the whole image.
        config: name (`env LOG_LEVEL`) → value; None where it says nothing of it.
        whole: whether `config` is all there is: a spec does not say what its base adds.
        sizes: title of a layer → bytes.
    """

    name: str
    kind: str
    packages: dict[str, str]
    files: dict[str, File] | None = None
    folders: tuple[str, ...] = ()
    config: dict[str, str] | None = None
    whole: bool = True
    sizes: dict[str, int] = {}


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What is not the same.

    Attributes:
        name: of it.
        before: what it was; null where there was nothing of that name.
        after: what it is; null where there is nothing of that name.
    """

    name: str
    before: str | None
    after: str | None


class FileChange(msgspec.Struct, frozen=True, kw_only=True):
    """A file that is not the same.

    Attributes:
        path: in the image.
        before: as it was; null where it was not there.
        after: as it is; null where it is gone.
    """

    path: str
    before: File | None
    after: File | None


class SizeChange(msgspec.Struct, frozen=True, kw_only=True):
    """A layer that is not as large as it was.

    Attributes:
        layer: its title.
        before: bytes; null where it was not there.
        after: bytes; null where it is gone.
    """

    layer: str
    before: int | None
    after: int | None


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """What differs.

    Attributes:
        packages: by manager and name.
        files: but for those of packages, whose versions tell.
        package_files: how many files of packages differ.
        config: by name.
        sizes: layers by title, and all in all; nothing where images and specs are compared, whose sizes are other ones.
        compared: which of `packages`, `files`, `configuration` and `sizes` both sides could tell of.
    """

    packages: tuple[Change, ...]
    files: tuple[FileChange, ...]
    package_files: int
    config: tuple[Change, ...]
    sizes: tuple[SizeChange, ...]
    compared: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.packages or self.files or self.package_files or self.config)


def compare(old: Contents, new: Contents, environment: str, *, all_files: bool = False) -> Difference:
    """Return what differs between two sides.

    Args:
        old: one side.
        new: the other.
        environment: folder of packages in an image, whose files are counted and not named.
        all_files: name them, too.
    """
    compared = ["packages"]
    files: list[FileChange] = []
    if old.files is not None and new.files is not None:
        compared.append("files")
        files = _files(old, new)
    inside = [each for each in files if each.path.startswith(f"{environment}/")]
    config: tuple[Change, ...] = ()
    if old.config is not None and new.config is not None:
        compared.append("configuration")
        # What one side leaves to its base is the base's.
        names = [side.config for side in (old, new) if not side.whole] or [{**old.config, **new.config}]
        kept = {name for each in names for name in each or ()}
        config = _changes(
            {name: value for name, value in old.config.items() if name in kept},
            {name: value for name, value in new.config.items() if name in kept},
        )
    sizes: tuple[SizeChange, ...] = ()
    if old.kind == new.kind and old.sizes and new.sizes:
        compared.append("sizes")
        sizes = _sizes(old.sizes, new.sizes)
    return Difference(
        packages=_changes(old.packages, new.packages),
        files=tuple(files if all_files else [each for each in files if each not in inside]),
        package_files=0 if all_files else len(inside),
        config=config,
        sizes=sizes,
        compared=tuple(compared),
    )


def _changes(old: Mapping[str, str], new: Mapping[str, str]) -> tuple[Change, ...]:
    return tuple(
        Change(name=name, before=old.get(name), after=new.get(name))
        for name in sorted({*old, *new})
        if old.get(name) != new.get(name)
    )


def _files(old: Contents, new: Contents) -> list[FileChange]:
    before, after = old.files or {}, new.files or {}
    folders = old.folders or new.folders
    found = []
    for path in sorted({*before, *after}):
        if before.get(path) == after.get(path):
            continue
        if not folders or path.startswith(tuple(f"{each}/" for each in folders)):
            found.append(FileChange(path=path, before=before.get(path), after=after.get(path)))
    return found


def _sizes(old: Mapping[str, int], new: Mapping[str, int]) -> tuple[SizeChange, ...]:
    rows = [(title, old.get(title), new.get(title)) for title in dict.fromkeys([*old, *new])]
    rows.append(("in all", sum(old.values()), sum(new.values())))
    return tuple(
        SizeChange(layer=title, before=before, after=after) for title, before, after in rows if before != after
    )
