"""The step `watch`: newer versions of a registered model, delivered as they come."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any

import msgspec

from packager.delivery.decide import following, is_bad, pause, verdict
from packager.delivery.records import Records
from packager.delivery.values import Bad, Delivered, Event, Happened, Trying
from packager.errors import PackagerError, TemporaryError
from packager.spec.load import SpecFile
from packager.steps.delivering import before, deliver, go_back, is_left_by, read_again, require_deliverable
from packager.steps.goals import Made, WatchWish, is_missing, require_ready
from packager.steps.reporting import SILENT, Reporter
from packager.steps.workspace_of import WorkspaceOf
from packager.workspace.drafts import now
from packager.workspace.laid import let_go
from packager.workspace.values import Version

__all__ = ["Delivered", "Event", "WatchWish", "watch"]

#: Seconds between two looks at a folder, and at a registry.
INTERVAL, INTERVAL_OF_REGISTRY = 1.0, 5.0


def watch(
    spec_file: SpecFile,
    wish: WatchWish | None = None,
    *,
    on_event: Callable[[Event], None] = lambda event: None,
    reporter: Reporter = SILENT,
    sleep: Callable[[float], None] = time.sleep,
    **wishes: Any,
) -> Delivered | None:
    """Deliver each newer version of a registered model: lock, build, test, push, update; it ends by an interruption.

    A version that fails is kept out, and tried no second time; the lock is put back, and what runs, runs on. What does
    not answer is waited for. What was delivered, and what is bad, is remembered for each goal on this machine.

        packager.watch(spec_file, model="churn", service="churn", once=True)

    Args:
        spec_file: the spec; it is read again for each version.
        wish: what is watched, and what is done.
        on_event: is told what happens.
        reporter: is told what each step does.
        sleep: waits, in seconds.
        **wishes: fields of `WatchWish` that take the place of `wish`'s.

    Returns:
        with `once`, what was delivered; None where nothing was newer, or the one that watches was told to try again.

    Raises:
        UsageError: something cannot be meant so.
        SpecError: the spec is not valid when it begins.
        TemporaryError: another one watches; with `once`, something does not answer.
        PackagerError: with `once`, why the newest version is bad.
        KeyboardInterrupt: it was interrupted; what was under way is undone.
    """
    wish = msgspec.structs.replace(wish or WatchWish(), **wishes)
    model = require_deliverable(spec_file, wish)
    with WorkspaceOf(spec_file) as workspace:
        location = workspace().location
    records = Records(_goal(spec_file, wish), (location, model))
    watcher = _Watcher(spec_file, wish, model, records, on_event, reporter)
    forgotten = watcher.forget()
    with ExitStack() as stack:
        try:
            stack.enter_context(records.held(spec_file.document.path.absolute()))
        except TemporaryError:
            if not forgotten:
                raise
            reporter.step("the one that watches tries it")
            return None
        watcher.tell("watching", message=f"watching {model} in {location} for {records.goal}")
        watcher.recover()
        if wish.once:
            return watcher.once()
        usual = INTERVAL_OF_REGISTRY if location.startswith("oci://") else INTERVAL
        while True:
            watcher.look()
            sleep(pause(usual if wish.interval is None else wish.interval, watcher.failures))


def _goal(spec_file: SpecFile, wish: WatchWish) -> str:
    if wish.service is not None:
        return f"service {wish.service}"
    if wish.deploy is not None:
        return f"folder {wish.deploy.absolute()}"
    what = "command" if wish.command is not None else "push"
    return f"{what} of {spec_file.document.path.absolute()}"


class _BadVersionError(Exception):
    """A version is kept out from now on; it was told why."""

    def __init__(self, error: PackagerError) -> None:
        super().__init__(error.message)
        self.error = error


class _Watcher:
    """Looks, and delivers what is newer.

    Attributes:
        failures: looks in a row at which something did not answer.
    """

    def __init__(
        self,
        spec_file: SpecFile,
        wish: WatchWish,
        model: str,
        records: Records,
        on_event: Callable[[Event], None],
        reporter: Reporter,
    ) -> None:
        self._spec_file, self._wish, self._model = spec_file, wish, model
        self._records, self._on_event, self._reporter = records, on_event, reporter
        self.failures = 0
        self._said = ""
        self._damage: set[str] = set()
        self._again = False
        self._newer = 0

    def tell(self, event: Happened, version: int | None = None, message: str = "", **more: Any) -> None:
        """Tell what happens."""
        told = Event(event=event, when=now(), model=self._model, version=version, message=message)
        self._on_event(msgspec.structs.replace(told, **more))

    def forget(self) -> bool:
        """Forget that the versions of `retry` are bad; whether one of them was."""
        found = False
        for number in self._wish.retry:
            was = self._records.forget(number)
            found = found or was
            message = f"{self._model}:{number} is {'bad no longer' if was else 'not among those that are bad'}"
            self.tell("retry", number, message)
        return found

    def recover(self) -> None:
        """See whether what was delivered last has to be delivered again.

        The service is gone; or that was done already, and ended in the midst: who knows how far it came.
        """
        with suppress(PackagerError):  # the first look says it
            with self._records.alone_with(self._spec_file.lock_path):
                self._again = self._put_back()
            self._again = self._again or is_missing(self._wish)

    def _put_back(self) -> bool:
        """Put back what a delivery left that was ended in the midst; whether its version had been delivered before.

        Raises:
            ContextError: a file cannot be written.
        """
        state = self._records.read()
        if state.trying is None:
            return False
        if is_left_by(self._spec_file, self._model, state.trying):
            go_back(self._spec_file, state.trying)
        self._records.end()
        return state.done is not None and state.trying.version <= state.done.version

    def once(self) -> Delivered | None:
        """Deliver the newest version that is not bad, and return it; None where there is nothing newer.

        Raises:
            PackagerError: why there was something newer, and nothing was delivered.
        """
        first: PackagerError | None = None
        while (version := self._following()) is not None:
            try:
                return self._deliver(version)
            except _BadVersionError as bad:
                first = first or bad.error
        if first is not None:
            raise first
        self.tell("nothing", message=self._nothing())
        return None

    def look(self) -> None:
        """Look once, and deliver what is newer; what does not answer is told once.

        Raises:
            PackagerError: somebody has to change something.
        """
        version = None
        try:
            if (version := self._following()) is not None:
                self._deliver(version)
        except _BadVersionError:
            pass
        except PackagerError as error:
            if verdict(error) == "wrong":
                raise
            self.failures += 1
            if error.message != self._said:
                self._said = error.message
                message = f"{error.message}; it is tried again" + (f" ({error.remedy})" if error.remedy else "")
                self.tell("away", None if version is None else version.version, message)
            return
        self._came_back()

    def _came_back(self) -> None:
        if self.failures:
            self.tell("back", message="what was away answers again")
        self.failures, self._said = 0, ""

    def _following(self) -> Version | None:
        versions, state = self._versions(), self._records.read()
        if self._again:
            state = msgspec.structs.replace(state, done=None)
        return following(versions, state, self._wish.tags)

    def _versions(self) -> tuple[Version, ...]:
        with WorkspaceOf(self._spec_file) as workspace:
            opened = workspace()
            versions = opened.versions("model", self._model)
            for sentence in opened.damage():
                if sentence not in self._damage:
                    self._damage.add(sentence)
                    self._reporter.warn(sentence)
        return versions

    def _nothing(self) -> str:
        versions, state = self._versions(), self._records.read()
        bad = [each for each in versions if is_bad(each, state)]
        message = f"nothing of {self._model} is newer than {state.done.version}" if state.done else "nothing is there"
        if bad:
            message += f"; {bad[-1].id} is kept out since {state.bad[bad[-1].version].when} (--retry {bad[-1].version})"
        return message

    def _deliver(self, version: Version) -> Delivered:
        """Deliver a version, and remember it; where that fails, all is put back.

        Raises:
            _BadVersionError: it is kept out from now on.
            PackagerError: what failed, and is not the version's fault.
        """
        start = time.monotonic()
        with self._records.alone_with(self._spec_file.lock_path):
            self._put_back()
            spec_file = read_again(self._spec_file)
            require_ready(self._wish)
            trying = before(spec_file, self._wish, version)
            if version.version != self._newer:
                self._newer = version.version
                self.tell("newer", version.version, f"{version.id} is newer: delivering it")
            self._records.begin(trying)
            made = self._make(spec_file, version, trying)
            done = Delivered(
                version=version.version, digest=version.digest, tags=self._wish.tags, image=made.image, when=now()
            )
            self._records.delivered(done)
        self._again = False
        seconds = round(time.monotonic() - start, 3)
        self.tell("delivered", version.version, version.id, seconds=seconds, image=made.image, url=made.url)
        return done

    def _make(self, spec_file: SpecFile, version: Version, trying: Trying) -> Made:
        """Take the steps, and tell how long each took; put all back where one fails.

        Raises:
            _BadVersionError, PackagerError: see `_deliver`.
        """
        step, begun = "", 0.0

        def begin(following: str) -> None:
            nonlocal step, begun
            if step:
                self.tell("step", version.version, step=step, seconds=round(time.monotonic() - begun, 3))
            step, begun = following, time.monotonic()

        reporter = SILENT if self.failures else self._reporter  # all of it was said the first time
        try:
            with let_go():
                made = deliver(spec_file, self._wish, self._model, version, begin=begin, reporter=reporter)
        except BaseException as error:
            self._undo(spec_file, trying)
            if not isinstance(error, PackagerError) or verdict(error) != "bad":
                raise
            self._keep_out(version, step, error)
            raise _BadVersionError(error) from error
        begin("")
        return made

    def _undo(self, spec_file: SpecFile, trying: Trying) -> None:
        try:
            go_back(spec_file, trying)
            self._records.end()
        except PackagerError as error:  # what is remembered is put back before the next delivery
            self._reporter.warn(f"the lock is not put back yet: {error.message}")

    def _keep_out(self, version: Version, step: str, error: PackagerError) -> None:
        self._newer = 0
        # Of the reason, what the service wrote is not kept.
        reason = error.message.partition("\n")[0]
        self._records.keep_out(
            Bad(version=version.version, digest=version.digest, step=step, reason=reason, when=now())
        )
        again = f"what was delivered before stays; --retry {version.version} tries it again"
        self.tell("bad", version.version, f"{version.id} is kept out, as {step} failed: {error}\n  {again}", step=step)
