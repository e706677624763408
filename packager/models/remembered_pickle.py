"""What pickles hold, remembered by their content: a walk takes a second or two, and every command asks."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path

import msgspec

from packager.decoding import decode_json
from packager.models.pickle_reader import PickleFacts, read_pickle
from packager.storage.memory import Memory

#: Of the facts that are remembered; a higher number forgets all.
_FORMAT = 2


def remembered_pickle(path: Path, digest: str, memory: Memory) -> PickleFacts | None:
    """Return what a pickle holds; None where a file is no pickle.

    Args:
        path: the file.
        digest: sha256 of its content.
        memory: of facts.

    Raises:
        OSError: it cannot be read.
    """
    key = hashlib.sha256(f"pickle {_FORMAT} {digest}".encode()).hexdigest()
    kept = memory.recall(key)
    if kept is not None:
        with suppress(msgspec.DecodeError):
            return decode_json(kept, PickleFacts | None)
    with path.open("rb") as file:
        facts = read_pickle(file)
    memory.remember(msgspec.json.encode(facts), key)
    return facts
