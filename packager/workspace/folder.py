"""A workspace that is a folder, of files that people can read: on this machine, on a share, or in a repository.

    workspace.json                     format and name
    models/<name>/3/version.json       what was registered
    models/<name>/3/files/model.pkl    the files, read-only
    models/<name>/3/samples/           what goes with them
    models/<name>/3.1.json             description, tags and properties after the first change
    models/<name>/3.deleted            the number is not given again
    models/<name>/.numbers/3           the number is given
    images/<time>-<random>.json        an image that was made

There is no lock. What has to be one step is one: a number is given by making a file that nobody made before; a version
is written under another name and gets its own by a rename, which fails where one is; a change is a file of the next
number. That holds on every filesystem where making a file and renaming are atomic for all clients: those of this
machine, NFS from version 3, SMB. Where the clocks of clients differ, times differ, and nothing else.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from packager.decoding import decode_json
from packager.errors import ContextError
from packager.given import read_given
from packager.progress import reading
from packager.storage.models import Store
from packager.storage.reading import failure
from packager.workspace.base import TakenError, not_registered
from packager.workspace.drafts import changed, check_draft, newest, now, state_of
from packager.workspace.placing import Placed, Placer
from packager.workspace.records import Records, json_of
from packager.workspace.values import KINDS, Change, Content, File, ImageRecord, Kind, Version

FORMAT = "packager.workspace/1"
#: Seconds after which what an interrupted program left behind is nobody's any more.
_LEFT = 24 * 3600
_TRIES = 1000


class _Marker(msgspec.Struct, frozen=True, kw_only=True):
    format: str
    name: str


class FolderWorkspace:
    """See `packager.workspace.base.Workspace`.

    Args:
        root: the folder. Where it is not there, nothing is registered, and the first registration makes it.
        name: for people; what the folder says of itself, or its own name, where None.
        store: whose blobs are linked, and which remembers digests; this user's where None.

    Raises:
        ContextError: it is a folder of something else, or a newer packager's workspace.
    """

    def __init__(self, root: Path, name: str | None = None, store: Store | None = None) -> None:
        self.root = Path(os.path.abspath(root))
        marker = self._marker()
        self.name = name or (marker.name if marker else self.root.name)
        self._store = store or Store()
        self._records = {kind: Records(self.root / f"{kind}s", kind) for kind in KINDS}
        self._damage: tuple[str, ...] = ()

    @property
    def location(self) -> str:
        """The folder's path."""
        return str(self.root)

    @property
    def exists(self) -> bool:
        """Whether the folder is there as a workspace."""
        return (self.root / "workspace.json").is_file()

    def create(self) -> None:
        """Make the folder, unless it is there.

        Raises:
            ContextError: it cannot be made, or has other files in it.
        """
        if self.exists:
            return
        marker = _Marker(format=FORMAT, name=self.name)
        try:
            # Hidden ones are of somebody who began to make it, or a filesystem's own; who made it meanwhile has others.
            others = self.root.is_dir() and any(not path.name.startswith(".") for path in self.root.iterdir())
            if others and not self.exists:
                raise ContextError(
                    f"{self.root} is no workspace, and has other files in it", remedy="name a new or an empty folder"
                )
            self.root.mkdir(parents=True, exist_ok=True)
            self._make(self.root / "workspace.json", json_of(marker))
        except OSError as error:
            raise failure("written", self.root, error) from None

    def names(self, kind: Kind) -> tuple[str, ...]:
        """See `Workspace`."""
        return tuple(sorted({each.name for each in self.versions(kind)}))

    def versions(self, kind: Kind, name: str | None = None) -> tuple[Version, ...]:
        """See `Workspace`."""
        records = self._records[kind]
        if name is not None:
            found, self._damage = records.read(name)
            return tuple(found[number] for number in sorted(found))
        versions, self._damage = records.read_all()
        return versions

    def damage(self) -> tuple[str, ...]:
        """See `Workspace`."""
        return self._damage

    def get(self, kind: Kind, name: str, version: int | None = None) -> Version:
        """See `Workspace`."""
        found, self._damage = self._records[kind].read(name)
        wanted = newest(found) if version is None else found.get(version)
        if wanted is None:
            deleted = (self.root / f"{kind}s" / name / f"{version}.deleted").exists()
            raise not_registered(self.location, kind, name, version, found, deleted=deleted)
        return wanted

    def add(
        self, draft: Version, files: Sequence[Content], samples: Sequence[Content] = (), *, number: int | None = None
    ) -> Version:
        """See `Workspace`."""
        check_draft(draft, files, samples)
        if number is not None and (known := self._records[draft.kind].read(draft.name)[0].get(number)):
            return self._same(known, draft, files)
        self.create()
        folder = self.root / f"{draft.kind}s" / draft.name
        new = folder / f".new-{secrets.token_hex(8)}"
        try:
            new.mkdir(parents=True)
            _sweep(folder)
            placed = self._place(draft, files, samples, new)
            return self._commit(draft, placed, new, folder, number)
        except OSError as error:
            raise failure("written", folder, error) from None
        finally:
            shutil.rmtree(new, ignore_errors=True)

    def change(self, version: Version, change: Change) -> Version:
        """See `Workspace`."""
        folder = self._folder(version)
        for _ in range(_TRIES):
            latest = self.get(version.kind, version.name, version.version)
            after = changed(latest, change)
            if after == latest:
                return latest
            if self._make(folder.with_name(f"{version.version}.{after.changes}.json"), json_of(state_of(after))):
                return after
        raise ContextError(f"{version.id} keeps changing: others change it all the time", remedy="try again later")

    def delete(self, version: Version) -> None:
        """See `Workspace`."""
        self.get(version.kind, version.name, version.version)
        folder = self._folder(version)
        self._make(folder.with_name(f"{version.version}.deleted"), now().encode())
        gone = folder.with_name(f".gone-{secrets.token_hex(8)}")
        try:
            with contextlib.suppress(FileNotFoundError):
                folder.rename(gone)
                shutil.rmtree(gone)
        except OSError as error:
            raise failure("removed", folder, error) from None

    @contextmanager
    def open(self, version: Version, file: File) -> Iterator[Path]:
        """See `Workspace`."""
        part = "samples" if file in version.samples else "files"
        path = self._folder(version) / part / file.path
        try:
            status = path.lstat()
        except OSError:
            raise _gone(version, path, "is gone") from None
        if status.st_size != file.size or path.is_symlink() or not path.is_file():
            raise _gone(version, path, "is not what was registered")
        yield path

    def note(self, image: ImageRecord) -> None:
        """See `Workspace`."""
        self.create()
        record = msgspec.structs.replace(image, when=image.when or now())
        name = f"{record.when.replace(':', '')}-{secrets.token_hex(4)}.json"
        try:
            (self.root / "images").mkdir(exist_ok=True)
        except OSError as error:
            raise failure("written", self.root, error) from None
        self._make(self.root / "images" / name, json_of(record))

    def images(self) -> tuple[ImageRecord, ...]:
        """See `Workspace`."""
        found = []
        for path in sorted(self.root.glob("images/*.json")):
            with contextlib.suppress(OSError, msgspec.MsgspecError):
                found.append(decode_json(read_given(path), ImageRecord))
        return tuple(found)

    def _marker(self) -> _Marker | None:
        path = self.root / "workspace.json"
        try:
            marker = decode_json(read_given(path), _Marker)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno == errno.ENOTDIR:
                raise ContextError(f"{self.root} is a file, and no workspace") from None
            raise failure("read", path, error) from None
        except msgspec.MsgspecError:
            raise ContextError(f"{path} is not valid", remedy="restore it, or name another workspace") from None
        if marker.format != FORMAT:
            raise ContextError(
                f"{self.root} is a workspace of the format {marker.format!r}, and this packager knows {FORMAT!r}",
                remedy="use a newer packager",
            )
        return marker

    def _folder(self, version: Version) -> Path:
        return self.root / f"{version.kind}s" / version.name / str(version.version)

    def _place(self, draft: Version, files: Sequence[Content], samples: Sequence[Content], new: Path) -> Placed:
        """Copy or link the files into a new folder."""
        placer = Placer(self._store, self._known(draft))
        total = sum(path.origin.stat().st_size for path in (*files, *samples))
        with reading(f"registering {draft.name}", total):
            return Placed(
                files=placer.place(files, new / "files"),
                samples=placer.place(samples, new / "samples"),
            )

    def _known(self, draft: Version) -> Mapping[str, Path]:
        """Return digest → path of what versions of the same name have: the next often shares most of it."""
        found = {}
        for version in self._records[draft.kind].read(draft.name)[0].values():
            for file in version.files:
                found[file.sha256] = self._folder(version) / "files" / file.path
        return found

    def _commit(self, draft: Version, placed: Placed, new: Path, folder: Path, number: int | None) -> Version:
        made = msgspec.structs.replace(
            draft, created=draft.created or now(), files=placed.files, samples=placed.samples, changes=0
        )
        for _ in range(_TRIES):
            mine = number if number is not None else self._claim(folder)
            version = msgspec.structs.replace(made, version=mine)
            (new / "version.json").write_bytes(json_of(version))
            if number is not None:
                self._make(folder / ".numbers" / str(number), b"")
            if _rename(new, folder / str(mine), folder / f"{mine}.deleted"):
                for file in version.files:
                    self._store.note(folder / str(mine) / "files" / file.path, file.sha256)
                return version
            if number is not None:
                known = self._records[draft.kind].read(draft.name)[0].get(number)
                return self._same(known, draft, (), made)
        raise ContextError(
            f"{folder} gives no number", remedy="look whether its clients see each other's files at once"
        )

    def _claim(self, folder: Path) -> int:
        """Take the next number for good."""
        numbers = folder / ".numbers"
        numbers.mkdir(exist_ok=True)
        while True:
            seen = (*os.listdir(numbers), *(name.partition(".")[0] for name in os.listdir(folder)))
            number = max((int(name) for name in seen if name.isdecimal()), default=0) + 1
            if self._make(numbers / str(number), b""):
                return number

    def _same(
        self, known: Version | None, draft: Version, files: Sequence[Content], made: Version | None = None
    ) -> Version:
        """Return the version that is there under a number, where it is the same as one to be added.

        Raises:
            TakenError: it is another, or deleted.
        """
        if known is None:
            raise TakenError(f"that version of {draft.name} was deleted here, and a number is never given again")
        there = [(file.path, file.sha256) for file in known.files]
        if made is not None:
            wanted = [(file.path, file.sha256) for file in made.files]
        else:
            digests = ((each.path, each.sha256 or self._store.digest(each.origin, each.below)[0]) for each in files)
            wanted = sorted(digests)
        if wanted != there:
            raise TakenError(f"{known.id} is there with other content", remedy="register it as a new version")
        return known

    def _make(self, path: Path, data: bytes) -> bool:
        """Make a file with its content in one step; return whether nobody had made it."""
        temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                temporary.write_bytes(data)
                os.link(temporary, path)
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS):
                    raise
                return _make_without_links(path, data)
            finally:
                temporary.unlink(missing_ok=True)
        except OSError as error:
            raise failure("written", path, error) from None
        return True


def _gone(version: Version, path: Path, what: str) -> ContextError:
    return ContextError(
        f"{path}, of {version.id}, {what}",
        remedy=f"register its file again, as a new version, and delete this one: `packager {version.kind} delete "
        f"{version.id}`",
    )


def _rename(new: Path, path: Path, deleted: Path) -> bool:
    """Give a new folder its name; return False where the number is another's."""
    try:
        if path.exists() or deleted.exists():
            return False
        os.rename(new, path)
    except OSError as error:
        # A network filesystem may have done it, lost its answer, and then been asked again.
        if not new.exists() and path.exists():
            return True
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY):
            return False
        raise
    return True


def _make_without_links(path: Path, data: bytes) -> bool:
    try:
        with path.open("xb") as target:
            target.write(data)
    except FileExistsError:
        return False
    return True


def _sweep(folder: Path) -> None:
    """Remove what interrupted programs left behind a day ago or more."""
    for path in folder.glob(".*-*"):
        with contextlib.suppress(OSError):
            if path.name.startswith((".new-", ".gone-")) and path.stat().st_mtime < time.time() - _LEFT:
                shutil.rmtree(path)
