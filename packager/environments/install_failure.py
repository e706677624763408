"""What `install` and `settle` say when they fail → one of our errors, with what to do. Pure."""

from __future__ import annotations

import re

from packager.errors import LockError, PackagerError, TemporaryError

_AUTHENTICATION = (
    "give the credentials where conda's tools look for them: rattler's file (RATTLER_AUTH_FILE, or what `rattler auth "
    "login` and `pixi auth login` write), netrc, or the environment variables that the channel's URL names"
)
# What the two programs write to standard error in a build stage.
_INSTALL = re.compile(r"^install\.py: (\w+): (.+)$", re.MULTILINE)
_SETTLE = re.compile(r"^settle\.py: (.+)$", re.MULTILINE)


def explain_install(kind: str, message: str) -> PackagerError:
    """Return the error that a failure of `install` means.

    Args:
        kind: a key of `install.EXIT_CODES`, or `other`.
        message: what `install` says of it.
    """
    if kind == "temporary":
        return TemporaryError(message, remedy="try again; check proxies and PACKAGER_CHANNEL_MIRROR")
    if kind == "denied":
        return LockError(message, remedy=_AUTHENTICATION)
    if kind == "hash":
        return LockError(
            message, remedy="find out why the channel serves another file; `packager lock --upgrade` takes what it has"
        )
    if kind == "absent":
        return LockError(message, remedy="name a channel that keeps it as a mirror, or run `packager lock --upgrade`")
    if "No space left" in message:
        return PackagerError("the disk is full, or the one of packager's cache", remedy="free some space")
    return LockError(message, remedy="run `packager lock`") if kind == "lock" else PackagerError(message)


def find_install_failure(log: str) -> PackagerError | None:
    """Return the error that the log of a build stage tells of; None where it tells of none."""
    failed = _INSTALL.search(log)
    if failed:
        return explain_install(failed[1], failed[2])
    settled = _SETTLE.search(log)
    return LockError(settled[1], remedy="see the log of the step above") if settled else None
