"""Docker's config.json: where it is, and what is in it. Others wrote it; who logs in does, with its own programs."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from pathlib import Path

from packager.errors import UsageError
from packager.given import read_given


def config_file(environ: Mapping[str, str]) -> Path:
    """Return where Docker's config.json is: below DOCKER_CONFIG, else in the home folder."""
    folder = environ.get("DOCKER_CONFIG")
    return (Path(folder) if folder else Path.home() / ".docker") / "config.json"


def read_config(environ: Mapping[str, str]) -> bytes:
    """Return the content of Docker's config.json; nothing where there is none, or we may not read it, as to Docker.

    Raises:
        UsageError: it is a named pipe, a folder or a device, or has no end: Docker's own library would hang over it.
    """
    path = config_file(environ)
    try:
        return read_given(path)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.EFBIG):
            remedy = "put Docker's own file there, or let DOCKER_CONFIG name another folder"
            raise UsageError(f"{path} cannot be read: {error.strerror}", remedy=remedy) from None
        return b""
