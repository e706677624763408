"""What a watcher remembers, in files below `$XDG_DATA_HOME/packager/watch`, and that there is one for each goal.

    <goal>-<digest>.lock            held by the watcher that delivers there; says who it is
    lock-<path>-<digest>.turn       held while what that lock pins is delivered to one of several goals
    <goal>-<digest>/done.json       delivered last
    <goal>-<digest>/trying.json     whose delivery began
    <goal>-<digest>/bad/7.json      a version that is kept out

A file is written in one step, and removing one is one, too: a second program may forget a bad version while the first
watches. What cannot be read counts as not there: a version is delivered again then, which changes nothing.
"""

from __future__ import annotations

import hashlib
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import msgspec

from packager.decoding import decode_json
from packager.delivery.values import Bad, Delivered, Holder, State, Trying
from packager.errors import ContextError, TemporaryError
from packager.storage.files import write_bytes
from packager.storage.locks import alone
from packager.workspace.drafts import now
from packager.workspace.locate import workspaces_root

_Value = TypeVar("_Value", bound=msgspec.Struct)


class Records:
    """What is remembered of what is delivered to one goal.

    Args:
        goal: where to: `service churn`, `command of /srv/churn/packager.yaml`; it names files, and is shown.
        source: what of: the workspace's location and the model's name.
        root: folder of all; this user's where None.
    """

    def __init__(self, goal: str, source: tuple[str, str], root: Path | None = None) -> None:
        self.goal = goal
        folder = root or workspaces_root().parent / "watch"
        # One watcher a goal, whatever it watches; what is remembered is of both.
        self._lock = folder / f"{_name(goal)}.lock"
        self._folder = folder / _name("\0".join((goal, *source)))

    @contextmanager
    def held(self, spec: Path) -> Iterator[None]:
        """Be the one watcher of the goal.

        Args:
            spec: is told to whoever comes later.

        Raises:
            TemporaryError: there is one; it is said which.
            ContextError: the folder cannot be written.
        """
        with alone(self._lock) as free:
            if not free:
                self._folder_can_be_written()
                raise TemporaryError(
                    f"{self.goal} is watched already{self._shown_holder()}",
                    remedy="end that one, or leave it to it; `--retry VERSION` tells it to try a bad version again",
                )
            holder = Holder(pid=os.getpid(), host=socket.gethostname(), since=now(), spec=str(spec))
            self._write(self._lock, holder, in_place=True)
            try:
                yield
            finally:
                with suppress(OSError):
                    os.truncate(self._lock, 0)

    @contextmanager
    def alone_with(self, lock: Path) -> Iterator[None]:
        """Be the one that delivers what a lock pins: a spec may be watched for several goals.

        Args:
            lock: path of the spec's.

        Raises:
            TemporaryError: somebody else does.
        """
        with alone(self._lock.with_name(f"{_name(f'lock {lock}')}.turn")) as free:
            if not free:
                raise TemporaryError(
                    f"another one delivers what {lock} pins", remedy="it is waited for; or watch a copy of the spec"
                )
            yield

    def read(self) -> State:
        """Return what is remembered."""
        bad = (_read(path, Bad) for path in sorted((self._folder / "bad").glob("*.json")))
        return State(
            done=_read(self._folder / "done.json", Delivered),
            bad={each.version: each for each in bad if each is not None},
            trying=_read(self._folder / "trying.json", Trying),
        )

    def begin(self, trying: Trying) -> None:
        """Remember that a delivery begins.

        Raises:
            ContextError: it cannot be written, as for the other methods that remember.
        """
        self._write(self._folder / "trying.json", trying)

    def end(self) -> None:
        """Remember that none is under way."""
        self._remove(self._folder / "trying.json")

    def delivered(self, done: Delivered) -> None:
        """Remember what was delivered; it was a bad version perhaps, and is none any more."""
        self._write(self._folder / "done.json", done)
        self.forget(done.version)
        self.end()

    def keep_out(self, bad: Bad) -> None:
        """Remember a bad version."""
        self._write(self._folder / "bad" / f"{bad.version}.json", bad)

    def forget(self, version: int) -> bool:
        """Forget that a version is bad; whether it was."""
        return self._remove(self._folder / "bad" / f"{version}.json")

    def _shown_holder(self) -> str:
        holder = _read(self._lock, Holder)
        if holder is None:
            return " by another process"
        return f" by process {holder.pid} on {holder.host}, since {holder.since}, for {holder.spec}"

    def _folder_can_be_written(self) -> None:
        if not os.access(self._lock, os.W_OK):
            raise ContextError(f"{self._lock} cannot be written", remedy="set XDG_DATA_HOME")

    def _write(self, path: Path, value: msgspec.Struct, *, in_place: bool = False) -> None:
        data = msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if in_place:  # another file of the name would have a lock of its own
                path.write_bytes(data)
                return
        except OSError as error:
            raise ContextError(f"{path} cannot be written: {error.strerror}", remedy="set XDG_DATA_HOME") from error
        write_bytes(path, data)

    def _remove(self, path: Path) -> bool:
        try:
            path.unlink()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise ContextError(f"{path} cannot be removed: {error.strerror}", remedy="set XDG_DATA_HOME") from error
        return True


def _name(text: str) -> str:
    words = re.sub(r"[^A-Za-z0-9._-]+", "-", text.partition("\0")[0]).strip("-")[:40]
    return f"{words}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _read(path: Path, kind: type[_Value]) -> _Value | None:
    try:
        return decode_json(path.read_bytes(), kind)
    except (OSError, msgspec.MsgspecError):
        return None
