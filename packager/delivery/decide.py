"""What is to be delivered next, what an error says of a version, and how long to wait. Pure."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import Literal

from packager.delivery.values import State
from packager.errors import (
    ContextError,
    EngineError,
    LintError,
    LockError,
    PackagerError,
    RegistryError,
    RenderError,
    ServiceError,
    SpecError,
    TemporaryError,
)
from packager.workspace.base import NotRegisteredError
from packager.workspace.selecting import Filter, select
from packager.workspace.values import Version

#: What an error says: the version is bad; something else is away, and it is tried again; somebody has to change
#: something, and nothing is tried.
Verdict = Literal["bad", "away", "wrong"]

#: Seconds between two looks, at most, while something is away.
LONGEST = 60.0
#: Of the machine, whatever the version is.
_OF_MACHINE = {
    errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.ENOMEM, errno.EMFILE,
    errno.ENFILE, errno.ESTALE,
}  # fmt: skip


def following(versions: Sequence[Version], state: State, tags: tuple[str, ...] = ()) -> Version | None:
    """Return the version to deliver: the newest after the one that was delivered last, but for bad ones; None for none.

    A number counts with its content: where a workspace was made anew, the same numbers are other versions. With other
    tags than last time, what was delivered then does not count.

    Args:
        versions: all of a model, sorted by number.
        state: what is remembered.
        tags: that it must have, each `KEY` or `KEY=VALUE`.

    Raises:
        UsageError: a tag without a name.
    """
    digests = {each.version: each.digest for each in versions}
    done = state.done
    if done is not None and (done.tags != tags or digests.get(done.version, done.digest) != done.digest):
        done = None
    newer = [
        each
        for each in select(versions, Filter(tags=tags))
        if (done is None or each.version > done.version) and not is_bad(each, state)
    ]
    return newer[-1] if newer else None


def is_bad(version: Version, state: State) -> bool:
    """Whether a version is kept out."""
    known = state.bad.get(version.version)
    return known is not None and known.digest == version.digest


def verdict(error: PackagerError) -> Verdict:
    """Return what an error in a delivery says of the version.

    What may be of the machine, of the engine or of a registry says nothing of it.
    """
    if isinstance(error, TemporaryError | EngineError | RegistryError | NotRegisteredError):
        return "away"
    if isinstance(error, ContextError) and _is_of_machine(error):
        return "away"
    if isinstance(error, ServiceError | LintError | LockError | SpecError | RenderError | ContextError):
        return "bad"
    return "wrong"


def _is_of_machine(error: BaseException) -> bool:
    """Whether a disk, a permission or the memory is at the bottom of an error."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in _OF_MACHINE:
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def pause(interval: float, failures: int) -> float:
    """Return how many seconds to wait until the next look.

    Args:
        interval: seconds between two looks while all is well.
        failures: looks in a row, up to now, at which something was away.
    """
    if not failures:
        return interval
    return max(interval, min(LONGEST, max(interval, 1.0) * 2.0 ** min(failures - 1, 10)))
