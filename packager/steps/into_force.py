"""Files of a platform that were just written are put into force, and taken back where it does not get well of them."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from packager.deployment.files import record_in, texts_in, write_changes
from packager.deployment.platforms import removal_from
from packager.deployment.record import FileChange, Record, remembered, rolled_back, undone
from packager.deployment.workload import Operator, Release, Wishes
from packager.errors import PackagerError, ServiceError, UsageError
from packager.steps.reporting import Reporter

__all__ = ["Written", "put_into_force"]


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """What this run wrote into the folder.

    Attributes:
        record: of the folder before; None where packager had written nothing there.
        changes: of its files.
    """

    record: Record | None
    changes: tuple[FileChange, ...]


def put_into_force(
    operator: Operator, release: Release, written: Written, reporter: Reporter, *, wait: float | None
) -> str:
    """Put files into force, and return how the service is reached; empty where nobody waits for it.

    Args:
        operator: of the platform.
        release: the files.
        written: what this run changed in them, which is taken back where the service is not well.
        reporter: is told what is done.
        wait: seconds until it must be healthy; None where nobody waits, and nothing is taken back.

    Raises:
        ServiceError: the service did not become healthy; files and platform are back at what was before, if anything.
        UsageError: something that it needs is missing; the files are as they were before, if there were any.
        PackagerError: see `Operator.apply`; the files stay as they were written.
    """
    try:
        operator.apply(release, reporter.step)
    except UsageError as error:
        raise _withdrawn(release, error, written) from None
    except ServiceError as error:
        if wait is None:
            raise
        raise _taken_back(operator, release, error, written, reporter) from None
    if wait is None:
        return ""
    try:
        return operator.wait(release, wait, reporter.step)
    except ServiceError as error:
        raise _taken_back(operator, release, error, written, reporter) from None


def _withdrawn(release: Release, error: UsageError, written: Written) -> UsageError:
    """Let files and options be as they were, where a new one is refused: it would hold for the folder from then on."""
    if written.record is None or not any(each.writes for each in written.changes):
        return error
    after, changes = undone(written.record, written.changes, release.workload.image)
    write_changes(release.folder, changes, after)
    return UsageError(f"{error.message}; the files are as they were before", where=error.where, remedy=error.remedy)


def _taken_back(
    operator: Operator, release: Release, error: ServiceError, written: Written, reporter: Reporter
) -> ServiceError:
    """Go back to what was before, and return the error with what was done."""
    record = record_in(release.folder)
    wrote = any(each.writes for each in written.changes)
    if written.record is not None and wrote:
        # Whatever changed may be at fault: limits as well as the image.
        after, changes = undone(written.record, written.changes, release.workload.image)
    elif record is not None and len(record.images) > 1:
        after, changes = rolled_back(record, texts_in(release.folder, record.files))
        # What failed is no image to go back to: the next rollback leads to the one before.
        after = msgspec.structs.replace(after, images=(after.images[0], *after.images[2:]))
    else:
        return ServiceError(
            f"{error.message}\nthere is no image of before to go back to: it stays as it is",
            where=error.where,
            remedy=error.remedy,
        )
    back = after.images[0]
    what = back.image if back.image != release.workload.image else f"{back.image} as it was before"
    reporter.step(f"going back to {what}")
    write_changes(release.folder, changes, after)
    workload = msgspec.structs.replace(release.workload, image=back.image, version=back.version)
    earlier = msgspec.structs.replace(
        release,
        workload=workload,
        wishes=remembered(Wishes(), (), after),
        files=tuple(each.path for each in changes if each.after is not None),
    )
    try:
        operator.rollback(earlier, reporter.step)
    except PackagerError as failed:
        done = f"and going back to {what} failed, too: {failed.message}"
    else:
        done = f"files and platform are back at {what}"
    return ServiceError(f"{error.message}\n{done}{_left(release, changes)}", where=error.where, remedy=error.remedy)


def _left(release: Release, changes: Sequence[FileChange]) -> str:
    """Return how to take away what files had made that are not there any more."""
    gone = [each.before for each in changes if each.after is None and each.before is not None]
    return "".join(f"\nit made what nothing names now: {each}" for each in removal_from(release.platform, gone))
