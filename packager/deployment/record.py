"""Files that people own: what packager wrote of them, what somebody changed since, and what is to be written. Pure."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec

from packager.contract import DEPLOY_RECORD as NAME
from packager.decoding import convert, decode_json
from packager.deployment.workload import Manifest, Wishes, Workload
from packager.errors import ContextError, UsageError

#: Images that are remembered.
REMEMBERED = 10

#: new: it was not there; changed: it is written anew; same: nothing is done; edited: somebody changed it, and what
#: packager would write is as it was; renewed: the image alone of an edited one is another; removed: it is not made any
#: more; left: it is not, and somebody changed it; conflict: it is to be written anew, and somebody changed it.
Kind = Literal["new", "changed", "same", "edited", "renewed", "removed", "left", "conflict"]


class Shipped(msgspec.Struct, frozen=True, kw_only=True):
    """An image that the files named.

    Attributes:
        image: by digest.
        version: of the package.
    """

    image: str
    version: str


#: Stands for the image in what is hashed.
_ANY = Shipped(image="image@sha256:", version="")


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What packager wrote into a folder.

    Attributes:
        format: of the record.
        platform: that the files are for.
        name: of the service.
        package: that its images are of; empty in what was written before this was kept.
        files: path → `fingerprint` of the text that packager made.
        images: that the files named, the newest first; one at least.
        wishes: fields of `Wishes` that somebody gave, and of which the files are made until somebody gives others.
        device_resource: likewise.
        model_images: `name:version` of a model that is mounted → image with its files.
    """

    format: Literal["packager.deploy/1"]
    platform: str
    name: str
    package: str = ""
    files: dict[str, str] = {}
    images: tuple[Shipped, ...]
    wishes: dict[str, str | int] = {}
    device_resource: str = ""
    model_images: dict[str, str] = {}


class FileChange(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of a file.

    Attributes:
        path: below the folder.
        kind: see `Kind`.
        before: text that is there; None where there is none.
        after: text that is to be there; None where it is to go.
    """

    path: str
    kind: Kind
    before: str | None
    after: str | None

    @property
    def writes(self) -> bool:
        """Whether anything is to be done."""
        return self.before != self.after


def read_record(text: str, where: str) -> Record:
    """Return a record.

    Args:
        text: of it.
        where: it stands, for the error.

    Raises:
        ContextError: it is damaged, or of a newer packager.
    """
    try:
        record = decode_json(text, Record)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise ContextError(
            f"{where} is not a record of this packager: {error}",
            remedy="put it back as it was committed; without it, what is there counts as edited by hand",
        ) from None
    if not record.images:
        raise ContextError(f"{where} names no image", remedy="put it back as it was")
    for path in record.files:
        if not is_below(path):
            raise ContextError(f"{where} names {path!r}, which is not in its folder", remedy="put it back as it was")
    return record


def record_text(record: Record) -> str:
    """Return the text of a record, which is read in pull requests."""
    return msgspec.json.format(msgspec.json.encode(record), indent=2).decode() + "\n"


def is_below(path: str) -> bool:
    """Whether a path stays in the folder that it is relative to."""
    parts = path.split("/")
    return bool(path) and "\\" not in path and "\0" not in path and not {"", ".", ".."} & set(parts)


def decide(
    record: Record | None,
    there: Mapping[str, str | None],
    manifests: Sequence[Manifest],
    shipped: Shipped,
    *,
    force: bool = False,
    refuse: bool = True,
) -> tuple[FileChange, ...]:
    """Return what becomes of each file, in the order of the manifests; those that go come last.

    Args:
        record: of the folder; None where there is none.
        there: path → text of what is in the folder, of all paths that the record and the manifests name.
        manifests: that are to be there.
        shipped: the image that they name.
        force: what somebody edited is written anew, too.
        refuse: an error where one would be written anew that somebody edited, or made; else it is told as a conflict.

    Raises:
        ContextError: see `refuse`.
    """
    written = record.files if record is not None else {}
    changes = []
    for manifest in manifests:
        before, mine = there.get(manifest.path), written.get(manifest.path)
        change = FileChange(path=manifest.path, kind="changed", before=before, after=manifest.text)
        if before is None:
            change = msgspec.structs.replace(change, kind="new")
        elif before == manifest.text:
            change = msgspec.structs.replace(change, kind="same")
        elif not force and not _is_ours(before, mine, record):
            if record is not None and mine == fingerprint(manifest.text, shipped):
                # What packager makes is the same but for the image, which is all that is written.
                after = with_image(before, record.images[0], shipped)
                change = msgspec.structs.replace(change, kind="edited" if after == before else "renewed", after=after)
            else:
                change = msgspec.structs.replace(change, kind="conflict")
        changes.append(change)
    in_the_way = [each.path for each in changes if each.kind == "conflict"]
    if in_the_way and refuse:
        raise ContextError(
            f"somebody edited {', '.join(in_the_way)}, and packager would write something else there now",
            remedy="--diff shows what; take over what you want of it by hand and keep the rest, or --force overwrites",
        )
    made = {each.path for each in manifests}
    for path, mine in written.items():
        before = there.get(path)
        if path in made or before is None:
            continue
        own = force or _is_ours(before, mine, record)
        kind: Kind = "removed" if own else "left"
        changes.append(FileChange(path=path, kind=kind, before=before, after=None if own else before))
    return tuple(changes)


def _is_ours(text: str, mine: str | None, record: Record | None) -> bool:
    """Whether a text is as packager made it."""
    return record is not None and mine == fingerprint(text, record.images[0])


def with_image(text: str, old: Shipped, new: Shipped) -> str:
    """Return the text of a file with another image and version: nothing else in it is touched."""
    for before, after in zip(_names(old), _names(new), strict=True):
        text = text.replace(before, after)
    return text


def _names(shipped: Shipped) -> tuple[str, ...]:
    """Return the forms in which files name an image, the longest first."""
    name, at, digest = shipped.image.rpartition("@")
    head, colon, tag = name.rpartition(":")
    untagged = head if colon and "/" not in tag else name
    # The version with the name of its label, and of IoT Edge's: a version alone may be any number.
    labels = (f'app.kubernetes.io/version: "{shipped.version}"', f'"version": "{shipped.version}"')
    return (shipped.image, f"{untagged}{at}{digest}", digest, *labels)


def remembered(wishes: Wishes, given: Iterable[str], record: Record | None) -> Wishes:
    """Return wishes with those of earlier runs where nobody gives another.

    Args:
        wishes: of this run.
        given: names of those that somebody gave though they are the default: they take back what was asked for before.
        record: of the folder; None where there is none.

    Raises:
        ContextError: the record has what no wish can be.
    """
    default = Wishes()
    own = {name: getattr(wishes, name) for name in Wishes.__struct_fields__}
    own = {name: value for name, value in own.items() if name in given or value != getattr(default, name)}
    try:
        return convert({**(record.wishes if record is not None else {}), **own}, Wishes)
    except msgspec.ValidationError as error:
        raise ContextError(f"{NAME}: {error}", remedy="put it back as it was committed") from None


def next_record(
    record: Record | None,
    workload: Workload,
    platform: str,
    wishes: Wishes,
    manifests: Sequence[Manifest],
    device_resource: str = "",
) -> Record:
    """Return the record of a folder after its files were written.

    Args:
        record: so far; None where there is none.
        workload: that the files are of.
        platform: its name.
        wishes: that they were made with.
        manifests: the files.
        device_resource: that was asked for, in this run or before.
    """
    new, default = shipped_of(workload), Wishes()
    images = record.images if record is not None else ()
    if not images or images[0] != new:
        images = (new, *(each for each in images if each != new))[:REMEMBERED]
    asked = {name: getattr(wishes, name) for name in Wishes.__struct_fields__}
    return Record(
        format="packager.deploy/1",
        platform=platform,
        name=workload.name,
        package=workload.package,
        files={each.path: fingerprint(each.text, new) for each in manifests},
        images=images,
        wishes={name: value for name, value in asked.items() if value != getattr(default, name)},
        device_resource=device_resource,
        model_images={f"{each.name}:{each.version}": each.image for each in workload.volumes if each.image},
    )


def shipped_of(workload: Workload) -> Shipped:
    """Return the image that the files of a workload name."""
    return Shipped(image=workload.image, version=workload.version)


def rolled_back(record: Record, there: Mapping[str, str | None]) -> tuple[Record, tuple[FileChange, ...]]:
    """Return what a folder becomes when its files name the image of before again; all else in them stays.

    A second one undoes the first: the two images change places.

    Args:
        record: of the folder.
        there: path → text of its files.

    Raises:
        UsageError: the files never named another image.
    """
    if len(record.images) < 2:
        raise UsageError(
            "the files never named another image, so there is nothing to go back to",
            remedy="name one: --image NAME@sha256:…",
        )
    now, before, *rest = record.images
    changes = []
    for path, text in there.items():
        if text is None or path not in record.files:
            continue
        after = with_image(text, now, before)
        kind: Kind = "same" if after == text else "changed" if _is_ours(text, record.files[path], record) else "renewed"
        changes.append(FileChange(path=path, kind=kind, before=text, after=after))
    return msgspec.structs.replace(record, images=(before, now, *rest)), tuple(changes)


def undone(record: Record, changes: Sequence[FileChange], failed: str) -> tuple[Record, tuple[FileChange, ...]]:
    """Return what a folder becomes when what was just written into it is taken back, edits and options with it.

    Args:
        record: of the folder before that.
        changes: that were written.
        failed: the image that they name; where it is another than that of before, no rollback leads to it.
    """
    back = tuple(
        FileChange(
            path=each.path,
            kind="same" if not each.writes else "removed" if each.before is None else "changed",
            before=each.after,
            after=each.before,
        )
        for each in changes
    )
    now, *others = record.images
    kept = (now, *(each for each in others if each.image != failed))
    return msgspec.structs.replace(record, images=kept), back


def difference(changes: Sequence[FileChange]) -> str:
    """Return what would be written against what is there, as a unified diff; empty where nothing differs."""
    parts: list[str] = []
    for each in changes:
        if not each.writes:
            continue
        parts += difflib.unified_diff(
            (each.before or "").splitlines(keepends=True),
            (each.after or "").splitlines(keepends=True),
            f"a/{each.path}" if each.before is not None else "/dev/null",
            f"b/{each.path}" if each.after is not None else "/dev/null",
        )
    return "".join(part if part.endswith("\n") else f"{part}\n\\ No newline at end of file\n" for part in parts)


def fingerprint(text: str, shipped: Shipped) -> str:
    """Return sha256 of a file's text without the image that it names, 64 hex digits: another image is no edit."""
    return hashlib.sha256(with_image(text, shipped, _ANY).encode("utf-8", "surrogateescape")).hexdigest()
