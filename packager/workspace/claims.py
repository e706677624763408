"""A number that nobody else takes, in a registry, which knows no compare-and-swap.

Who wants a number writes a tag that claims it, and lists the tags afterwards. Where another claim of the same number is
seen, or the number is written, both give way: they remove their claims, wait for a while of random length, and try
again. A list that is asked for after a claim was written has it (so do all registries that we know of; the distribution
spec does not demand it): of two that claim, the one that lists later sees both, so at most one goes on. What was
written is read back in any case.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec

from packager.errors import RegistryError, TemporaryError
from packager.workspace.documents import json_text
from packager.workspace.remote import Remote
from packager.workspace.tags import NumberTags, read_number_tags

#: Tries to get a number. With ten that want one at once, three or four are enough.
TRIES = 60
#: Seconds to wait at most before the second try, and before any.
_FIRST, _LONGEST = 0.1, 1.5
#: Seconds after which a claim is of somebody who was killed: between a claim and what it is for are a few requests.
_ABANDONED = 3600.0


class _Claim(msgspec.Struct, frozen=True):
    """What a claim says: when it was made, in seconds since the epoch."""

    when: float


@contextmanager
def claimed(
    remote: Remote, path: str, choose: Callable[[NumberTags], int | None], clock: Callable[[], float] = time.time
) -> Iterator[tuple[int, NumberTags] | None]:
    """Give a number that nobody else has claimed, and the tags as they were then.

    Args:
        remote: the registry.
        path: the repository.
        choose: says which number is wanted, by the tags; None to want none, which is given then.
        clock: the time now, in seconds since the epoch.

    Raises:
        RegistryError, TemporaryError: the registry refuses, or does not answer; or others are always there first.
    """
    client = remote.client(path, push=True)
    mine = set[str]()
    for attempt in range(TRIES):
        number = choose(read_number_tags(client.tags()))
        if number is None:
            yield None
            return
        own = f"{number}.claim-{secrets.token_hex(6)}"
        # Where nothing can be deleted, those of the tries before are still there.
        mine.add(own)
        digest = remote.put(path, own, "claim", json_text(_Claim(clock())))
        try:
            seen = read_number_tags(client.tags())
            others = seen.claims.get(number, frozenset()) - mine
            if number not in seen.written | seen.deleted and all(
                _is_abandoned(remote, path, tag, clock()) for tag in others
            ):
                yield number, seen
                return
        finally:
            remote.remove_digest(path, digest)
        remote.pause(wait_for(attempt))
    raise TemporaryError(
        f"others are registering at {remote.reference(path).name} all the time, and nobody gets on",
        remedy="run the command again",
    )


def wait_for(attempt: int) -> float:
    """Return the seconds, of random number, to wait after the try of a number (the first is 0) was in vain."""
    most = min(_LONGEST, _FIRST * 2.0**attempt)
    # As random as it gets: processes that were started together may share a seed.
    return most * secrets.randbelow(1 << 20) / (1 << 20)


def _is_abandoned(remote: Remote, path: str, tag: str, now: float) -> bool:
    try:
        found = remote.read(path, tag, "claim", _Claim)
    except RegistryError:
        return False
    # Gone: it gave way just now, as we have to.
    return found is not None and now - found.when > _ABANDONED
