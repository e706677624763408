"""What is known of the versions of a model that were delivered, or could not be. Pure."""

from __future__ import annotations

from typing import Literal

import msgspec


class Delivered(msgspec.Struct, frozen=True, kw_only=True):
    """The version that was delivered last.

    Attributes:
        version: its number.
        digest: of its content, `sha256:…`.
        tags: that were asked for then, each `KEY` or `KEY=VALUE`.
        image: reference of the image; empty without one.
        when: RFC 3339 in UTC.
    """

    version: int
    digest: str
    tags: tuple[str, ...] = ()
    image: str = ""
    when: str = ""


class Bad(msgspec.Struct, frozen=True, kw_only=True):
    """A version that is kept out.

    Attributes:
        version: its number.
        digest: of its content, `sha256:…`.
        step: what failed: `lock`, `build`, `test`, `push` or `update`.
        reason: why, in one line.
        when: RFC 3339 in UTC.
    """

    version: int
    digest: str
    step: str
    reason: str
    when: str = ""


class Trying(msgspec.Struct, frozen=True, kw_only=True):
    """A version whose delivery began, with what is needed to go back should it fail, or be ended in the midst.

    Attributes:
        version: its number.
        files: of the lock as it was before: path relative to the spec's folder → text.
        images: reference → id that it had in the engine before.
    """

    version: int
    files: dict[str, str]
    images: dict[str, str] = {}


class State(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered.

    Attributes:
        done: delivered last; None where nothing was.
        bad: versions that are kept out, by their numbers.
        trying: whose delivery began and did not end.
    """

    done: Delivered | None = None
    bad: dict[int, Bad] = {}
    trying: Trying | None = None


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """Who watches.

    Attributes:
        pid: number of the process.
        host: name of its machine.
        since: RFC 3339 in UTC.
        spec: path of its spec.
    """

    pid: int
    host: str
    since: str
    spec: str


#: What happens while watching.
Happened = Literal["watching", "newer", "step", "delivered", "bad", "away", "back", "nothing", "retry"]


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened while watching.

    Attributes:
        event: `watching` (it began), `newer` (there is a version to deliver), `step` (one of its steps is done),
            `delivered`, `bad` (a version is kept out), `away` (something does not answer, and is waited for), `back`
            (it does again), `nothing` (with `--once`, there was nothing newer), `retry` (a version is bad no longer).
        when: RFC 3339 in UTC.
        model: name of the model.
        version: of it; null where the event is of none.
        step: `lock`, `build`, `test`, `push` or `update`, that is done or failed; empty where none is meant.
        seconds: that the step, or the whole delivery, took; null for other events.
        image: its reference, of what was delivered; with the digest where it was pushed.
        url: where the service is asked, of what was delivered.
        message: for people.
    """

    event: Happened
    when: str
    model: str
    version: int | None = None
    step: str = ""
    seconds: float | None = None
    image: str = ""
    url: str = ""
    message: str = ""
