"""What `lock`, `environment diff`, `why` and `tree` print with `--format json`; see `packager.steps.outputs`."""

from __future__ import annotations

from typing import Any

import msgspec

from packager.steps.output import Output


class LockedConda(Output, frozen=True):
    """Conda's half of a lock.

    Attributes:
        file: path beside the spec.
        digest: of the file.
        installer: image of the stage that installs.
        packages: those that moved.
    """

    file: str
    digest: str
    installer: Any
    packages: tuple[Moved, ...]


class Moved(Output, frozen=True):
    """A package that moved.

    Attributes:
        name: normalised.
        before: version so far; null where it is new.
        after: version now; null where it is gone.
    """

    name: str
    before: str | None
    after: str | None


class MovedPin(Output, frozen=True):
    """What became of something registered.

    Attributes:
        before: version so far; null where it is new.
        after: version now; null where it is gone.
    """

    before: str | None
    after: str | None


class LockedTarget(Output, frozen=True):
    """What a target was locked to.

    Attributes:
        base: image, with its digest.
        requirements: file of pip's half.
        digest: of that file.
        packages: pip's packages that moved.
        conda: conda's half; not there without conda packages.
    """

    base: str
    requirements: str
    digest: str
    packages: tuple[Moved, ...]
    conda: LockedConda | msgspec.UnsetType = msgspec.UNSET


class Locked(Output, frozen=True):
    """What `lock` wrote.

    Attributes:
        changed: anything moved.
        written: files.
        targets: name → what it was locked to.
        registered: what the spec names of a workspace and moved; only where it names some.
    """

    changed: bool
    written: tuple[str, ...]
    targets: dict[str, LockedTarget]
    registered: dict[str, MovedPin] | msgspec.UnsetType = msgspec.UNSET


class Freshness(Output, frozen=True):
    """What `lock --check` found.

    Attributes:
        fresh: the lock is for this spec.
        targets: name → what changed since.
        newer: what of the registered has a newer version than the locked one, a line each; only where there is some.
    """

    fresh: bool
    targets: dict[str, tuple[str, ...]]
    newer: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET


class PackageMove(Moved, frozen=True):
    """A package that moved between two locks.

    Attributes:
        manager: `pip` or `conda`.
    """

    manager: str


class TargetMoves(Output, frozen=True):
    """What moved in one target between two locks.

    Attributes:
        target: its name.
        status: `changed`, or `added` and `removed` for a target that only one of the locks has.
        moves: packages.
    """

    target: str
    status: str
    moves: tuple[PackageMove, ...]


class NeededBy(Output, frozen=True):
    """A package that needs another one.

    Attributes:
        name: of the package.
        version: of the package.
        as: the requirement, as it has it.
    """

    name: str
    version: str
    as_: str = msgspec.field(name="as")


class Freed(Output, frozen=True):
    """What would go with a package.

    Attributes:
        size: bytes, as far as they are known.
        packages: names.
    """

    size: int
    packages: tuple[str, ...]


class Why(Output, frozen=True):
    """Why a package is in an environment.

    Attributes:
        target: deployment flavour.
        platform: OCI os/arch.
        name: of the package.
        version: that is locked.
        manager: `pip` or `conda`.
        size: bytes of its files; null where it is not known.
        asked: what the environment asks for; null where it does not.
        needed_by: packages that need it.
        ways: from what is asked for to the package, each as names.
        alone: what nobody else needs.
    """

    target: str
    platform: str
    name: str
    version: str
    manager: str
    size: int | None
    asked: str | None
    needed_by: tuple[NeededBy, ...]
    ways: tuple[tuple[str, ...], ...]
    alone: Freed


class Need(Output, frozen=True):
    """A package that is needed.

    Attributes:
        name: of the package.
        as: the requirement, as it is written.
    """

    name: str
    as_: str = msgspec.field(name="as")


class TreePackage(Output, frozen=True):
    """A package of an environment.

    Attributes:
        name: of the package.
        version: that is locked.
        manager: `pip` or `conda`.
        size: bytes of its files; null where it is not known.
        total_size: with all that it needs, as far as that is known.
        license: as the package says; empty where it does not.
        asked: what the environment asks for; null where it does not.
        needs: packages; null where they are not known.
    """

    name: str
    version: str
    manager: str
    size: int | None
    total_size: int
    license: str
    asked: str | None
    needs: tuple[Need, ...] | None


class Tree(Output, frozen=True):
    """The packages of an environment.

    Attributes:
        target: deployment flavour.
        platform: OCI os/arch.
        size: bytes of all whose size is known.
        packages: the largest first.
    """

    target: str
    platform: str
    size: int
    packages: tuple[TreePackage, ...]
