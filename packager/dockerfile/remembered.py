"""Rendered texts, remembered: the same plan by the same templates and code gives the same text.

Importing Jinja and compiling the templates takes longer than all else that `render` and a repeated `save` do. What is
remembered is found by all that it depends on, and carries a digest of its own, so that a file that was cut short, or
that something else has written, is as good as none.
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Callable
from importlib.util import find_spec

import msgspec

from packager import __version__
from packager.decoding import decode_json
from packager.plan.plan import Plan
from packager.resources import own_stamp
from packager.spec.model import canonical
from packager.storage.memory import Memory


class _Note(msgspec.Struct, frozen=True, kw_only=True):
    text: str
    digest: str


def remembered(what: str, plan: Plan, make: Callable[[Plan], str], memory: Memory | None = None) -> str:
    """Return what `make` makes of a plan, without calling it where that is known.

    Args:
        what: names `make`.
        plan: the image.
        make: plan → text, by the templates alone.
        memory: of texts made before; this user's where None.

    Raises:
        RenderError: what `make` raises.
    """
    memory = memory if memory is not None else Memory("texts")
    key = (what, __version__, _stamps(), hashlib.sha256(canonical(plan)).hexdigest())
    data = memory.recall(*key)
    if data is not None:
        try:
            note = decode_json(data, _Note)
        except msgspec.MsgspecError:
            note = _Note(text="", digest="")
        if note.digest == _digest(note.text):
            return note.text
    text = make(plan)
    memory.remember(msgspec.json.encode(_Note(text=text, digest=_digest(text))), *key)
    return text


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@functools.cache
def _stamps() -> str:
    """Return what changes with any template, with our code (a plan has properties that are computed) and with Jinja."""
    jinja = find_spec("jinja2")
    path = (jinja.origin if jinja else "") or ""
    stat = os.stat(path) if path else None
    return _digest(f"{own_stamp()} {stat.st_size if stat else ''} {stat.st_mtime_ns if stat else ''}")
