"""Where results go: a folder of this machine, or a URL, for which they are made in a folder here and then sent."""

from __future__ import annotations

import hashlib
import os
import posixpath
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from packager.batches.journal import write_summary
from packager.batches.listing import file_system, is_remote, reaching
from packager.batches.local import send
from packager.batches.values import FAILURES, JOURNAL, LOGS, RESULTS, SHARDS, SUMMARY, Summary
from packager.serving.hosts.process.folders import batches_folder
from packager.storage.locks import in_use


class Output(msgspec.Struct, frozen=True, kw_only=True):
    """Where results go.

    Attributes:
        folder: of this machine, in which they are made.
        url: where they are sent; None where the folder is the place.
    """

    folder: Path
    url: str | None = None

    def shown(self, folder: Path) -> str:
        """Return what people know a folder of the output by."""
        below = folder.relative_to(self.folder).as_posix()
        if self.url is None:
            return str(folder)
        return self.url if below == "." else f"{self.url.rstrip('/')}/{below}"

    def bring(self, folder: Path) -> None:
        """Fetch what tells that results are there already, so that a folder here looks as the place does.

        Raises:
            TemporaryError: the place does not answer.
        """
        if self.url is None or (folder / JOURNAL).exists():
            return
        with suppress(FileNotFoundError):
            (folder / SUMMARY).unlink()
        self._fetch(posixpath.join(folder.relative_to(self.folder).as_posix(), SUMMARY))

    def bring_shards(self) -> None:
        """Fetch the outputs of all shards, to be merged.

        Raises:
            TemporaryError: the place does not answer.
        """
        if self.url is None:
            return
        self._fetch(SUMMARY)
        system, path = file_system(self.url)
        with reaching(f"{self.url} cannot be listed"):
            names = [posixpath.relpath(each, path) for each in system.find(posixpath.join(path, SHARDS))]
        for name in names:
            if posixpath.basename(name) in (RESULTS, FAILURES, SUMMARY):
                self._fetch(name)

    def sent(self, summary: Summary, folder: Path) -> Summary:
        """Send results that are complete, and return what they came to, with the place that they are in now.

        Raises:
            TemporaryError: they could not be sent; they stay here.
        """
        if self.url is None or not summary.complete:
            return summary
        url = self.shown(folder)
        summary = msgspec.structs.replace(summary, output=url)
        names = [name for name in (summary.results, summary.failures) if name and (folder / name).exists()]
        names += [each.relative_to(folder).as_posix() for each in sorted((folder / LOGS).glob("*"))]
        write_summary(folder, summary)
        # The last one says that the others are there.
        send(folder, url, [*names, SUMMARY])
        if not summary.failed:
            shutil.rmtree(folder, ignore_errors=True)
        return summary

    def _fetch(self, name: str) -> None:
        assert self.url is not None
        system, path = file_system(self.url)
        target = self.folder / name
        with reaching(f"{self.url} cannot be read"), suppress(FileNotFoundError):
            target.parent.mkdir(parents=True, exist_ok=True)
            system.get_file(posixpath.normpath(posixpath.join(path, name)), str(target))


@contextmanager
def output_at(location: str) -> Iterator[Output]:
    """Give where results go.

    Args:
        location: a path, or a URL.

    Raises:
        UsageError: a URL that nothing here writes.
    """
    if not is_remote(location):
        yield Output(folder=Path(os.path.abspath(os.path.expanduser(location))))
        return
    file_system(location)
    # The same place for the same URL: a run that was killed is gone on with there.
    name = hashlib.sha256(location.rstrip("/").encode()).hexdigest()[:32]
    folder = batches_folder() / name
    with in_use(batches_folder()):
        try:
            yield Output(folder=folder, url=location)
        finally:
            # Nothing stays of a run that did not begin; other shards may be at theirs.
            if not (folder / JOURNAL).exists() and not (folder / SHARDS).exists():
                shutil.rmtree(folder, ignore_errors=True)
            with suppress(OSError):
                os.utime(folder)  # what is left of it is of use from now on: see `batch_kind`
