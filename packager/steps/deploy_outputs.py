"""What `deploy` prints with `--format json`; see `packager.steps.outputs`."""

from __future__ import annotations

import msgspec

from packager.steps.deploy import DeployedFile


class DeployedTo(msgspec.Struct, frozen=True, kw_only=True):
    """What was deployed, or with --diff would be.

    Attributes:
        platform: its name.
        folder: of the files.
        name: of the service.
        image: by digest.
        version: of the package.
        files: what became of each.
        difference: what was, or would be, written, as a unified diff; empty where nothing differs.
        unmet: what `service:` asks for and the platform has not, a sentence each.
        secrets: commands that make what no file may hold.
        apply: the command that puts the files into force, in their folder.
        applied: they were put into force.
        url: where it is reached; empty where nobody waited for it.
        rollback: the command that goes back; empty where there is nothing to go back to.
        leftovers: commands that take away what files that are not made any more left where they were applied.
        merge: of a batch: the command that joins what its tasks wrote; empty for services.
    """

    platform: str
    folder: str
    name: str
    image: str
    version: str
    files: tuple[DeployedFile, ...]
    difference: str
    unmet: tuple[str, ...]
    secrets: tuple[str, ...]
    apply: str
    applied: bool
    url: str
    rollback: str
    leftovers: tuple[str, ...]
    merge: str
