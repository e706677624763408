"""What the tags of a workspace in a registry say. Pure.

In the repository of a name (`<prefix>/models/<encoded name>`), N and K being numbers:

    N                   a version
    N.deleted           it is deleted: its number is never given again
    N.K-RANDOM          a change of description, tags or properties of version N: the K-th, or one of several at once
    N.claim-RANDOM      somebody is about to write N

In `<prefix>/workspace`:

    format              which layout this is
    models.NAME         there is such a name (encoded); `environments.NAME`
    index-K-RANDOM.models.NAME    all versions of the name in one document, the only one of the highest K counts
    busy-TIME-RANDOM.models.NAME  somebody is about to change what the index has to say
    all-K-RANDOM.models           many indexes in one document; the highest K has the most
    image.TIME-RANDOM   an image that was built

No tag ever moves, so registries in which none can hold a workspace, too; what is of no use any more is deleted where a
registry allows that.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from packager.workspace.values import Kind

FORMAT_TAG = "format"
FOLDERS: dict[Kind, str] = {"model": "models", "environment": "environments"}
KIND_OF: dict[str, Kind] = {folder: kind for kind, folder in FOLDERS.items()}

_NUMBERED = re.compile(r"([1-9][0-9]{0,8})(?:\.(?:([0-9]{1,9})-[0-9a-f]+|(claim)-[0-9a-f]+|(deleted)))?\Z", re.ASCII)
_NAMED = re.compile(
    r"(?:(?P<index>index)-(?P<rank>[0-9]{1,6})-[0-9a-f]+\.|(?P<busy>busy)-[0-9a-f]+-[0-9a-f]+\.)?"
    r"(?P<folder>models|environments)\.(?P<name>.+)\Z",
    re.ASCII,
)
_BUNDLE = re.compile(r"all-([0-9]{1,6})-[0-9a-f]+\.(models|environments)\Z", re.ASCII)

#: A name: kind, and encoded.
Name = tuple[Kind, str]


class NumberTags(msgspec.Struct, frozen=True, kw_only=True):
    """The tags in the repository of a name.

    Attributes:
        written: versions that were written, deleted ones included where their tags are still there.
        deleted: numbers of deleted ones.
        edits: number → tags of its changes, in their order.
        claims: number → the tags that claim it.
    """

    written: frozenset[int]
    deleted: frozenset[int]
    edits: dict[int, tuple[str, ...]]
    claims: dict[int, frozenset[str]]

    @property
    def live(self) -> tuple[int, ...]:
        """The versions that there are."""
        return tuple(sorted(self.written - self.deleted))

    @property
    def highest(self) -> int:
        """The highest number that anything was ever written or claimed of."""
        return max((0, *self.written, *self.deleted, *self.edits, *self.claims))

    def count(self, number: int) -> int:
        """Return how many changes of a version there are. None is ever removed, so the count tells which there are."""
        return len(self.edits.get(number, ()))

    def next_edit(self, number: int) -> int:
        """Return the K of a change after all that there are."""
        edits = self.edits.get(number)
        return edit_rank(edits[-1]) + 1 if edits else 0


def edit_tag(number: int, rank: int, chance: str) -> str:
    """Return the tag of a change."""
    return f"{number}.{rank}-{chance}"


def edit_rank(tag: str) -> int:
    """Return the K of a tag of `edit_tag`."""
    return int(tag.partition(".")[2].partition("-")[0])


def read_number_tags(tags: Iterable[str]) -> NumberTags:
    """Return what the tags of a name's repository say; others than ours are not looked at."""
    written, deleted = set[int](), set[int]()
    edits, claims = dict[int, list[str]](), dict[int, set[str]]()
    for tag in tags:
        found = _NUMBERED.match(tag)
        if found is None:
            continue
        number = int(found[1])
        if found[4]:
            deleted.add(number)
        elif found[3]:
            claims.setdefault(number, set()).add(tag)
        elif found[2]:
            edits.setdefault(number, []).append(tag)
        else:
            written.add(number)
    return NumberTags(
        written=frozenset(written),
        deleted=frozenset(deleted),
        edits={number: tuple(sorted(each, key=lambda tag: (edit_rank(tag), tag))) for number, each in edits.items()},
        claims={number: frozenset(each) for number, each in claims.items()},
    )


class WorkspaceTags(msgspec.Struct, frozen=True, kw_only=True):
    """The tags in the repository that is the workspace's own.

    Attributes:
        names: that there are, or were.
        indexes: name → (K, tag) of its indexes, the highest last.
        busy: name → tags of those who are about to change something.
        images: tags of images.
        bundles: kind → (K, tag) of what has many indexes, the highest last.
    """

    names: frozenset[Name]
    indexes: dict[Name, tuple[tuple[int, str], ...]]
    busy: dict[Name, frozenset[str]]
    images: tuple[str, ...]
    bundles: dict[Kind, tuple[tuple[int, str], ...]] = {}

    def rank(self, name: Name) -> int:
        """Return the highest K of a name's indexes; 0 where it has none."""
        found = self.indexes.get(name)
        return found[-1][0] if found else 0

    def tops(self, name: Name) -> tuple[str, ...]:
        """Return the tags of the indexes of the highest K; more than one, where two wrote at once."""
        rank = self.rank(name)
        return tuple(tag for each, tag in self.indexes.get(name, ()) if each == rank)


def read_workspace_tags(tags: Iterable[str]) -> WorkspaceTags:
    """Return what the tags of the workspace's own repository say."""
    names, images = set[Name](), list[str]()
    indexes, busy = dict[Name, list[tuple[int, str]]](), dict[Name, set[str]]()
    bundles = dict[Kind, list[tuple[int, str]]]()
    for tag in tags:
        if tag.startswith("image."):
            images.append(tag)
            continue
        if bundle := _BUNDLE.match(tag):
            bundles.setdefault(KIND_OF[bundle[2]], []).append((int(bundle[1]), tag))
            continue
        found = _NAMED.match(tag)
        if found is None:
            continue
        name = (KIND_OF[found["folder"]], found["name"])
        if found["index"]:
            indexes.setdefault(name, []).append((int(found["rank"]), tag))
        elif found["busy"]:
            busy.setdefault(name, set()).add(tag)
        else:
            names.add(name)
    return WorkspaceTags(
        names=frozenset(names | indexes.keys() | busy.keys()),
        indexes={name: tuple(sorted(each)) for name, each in indexes.items()},
        busy={name: frozenset(each) for name, each in busy.items()},
        images=tuple(sorted(images)),
        bundles={kind: tuple(sorted(each)) for kind, each in bundles.items()},
    )


def name_tag(name: Name) -> str:
    """Return the tag that says that there is a name."""
    return f"{FOLDERS[name[0]]}.{name[1]}"


def index_tag(name: Name, rank: int, chance: str) -> str:
    """Return the tag of an index."""
    return f"index-{rank}-{chance}.{name_tag(name)}"


def bundle_tag(kind: Kind, rank: int, chance: str) -> str:
    """Return the tag of what has many indexes."""
    return f"all-{rank}-{chance}.{FOLDERS[kind]}"


def busy_tag(name: Name, now: float, chance: str) -> str:
    """Return the tag of somebody who is about to change something."""
    return f"busy-{int(now):x}-{chance}.{name_tag(name)}"


def busy_since(tag: str) -> float:
    """Return when a tag of `busy_tag` was written, in seconds since the epoch by its writer's clock."""
    return float(int(tag.split("-")[1], 16))
