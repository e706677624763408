"""What was found out of locked packages, remembered: `plan` recalls it without what looks into wheels."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

import msgspec

from packager.decoding import json_decoder
from packager.environments.dependencies import PackageFacts
from packager.environments.lock import LockedPackage
from packager.environments.locked import LockedPlatform
from packager.storage.memory import Memory

_KIND = "packages"
#: Of what is remembered; a higher number forgets all.
_FORMAT = "1"


def recall_facts(locked: LockedPlatform, memory: Memory | None = None) -> dict[str, PackageFacts]:
    """Return the facts of those of pip's packages, by name, that were looked into on this machine.

    Args:
        locked: the environment.
        memory: of packages; this user's where None.
    """
    memory = memory if memory is not None else Memory(_KIND)
    decoder, found = json_decoder(PackageFacts), {}
    for package in locked.packages:
        with contextlib.suppress(msgspec.DecodeError, TypeError):
            found[package.name] = decoder.decode(memory.recall(*_key(package, locked)))  # type: ignore[arg-type]
    return found


def keep_facts(locked: LockedPlatform, facts: Mapping[str, PackageFacts], memory: Memory | None = None) -> None:
    """Remember facts of an environment's packages, by name; `memory` as for `recall_facts`."""
    memory = memory if memory is not None else Memory(_KIND)
    for package in locked.packages:
        if package.name in facts:
            memory.remember(msgspec.json.encode(facts[package.name]), *_key(package, locked))


def _key(package: LockedPackage, locked: LockedPlatform) -> tuple[str, ...]:
    return (_FORMAT, locked.platform, locked.python, *sorted(package.digests))
