"""The step `ci`: a spec → the pipeline of a CI system that locks, checks, builds, tests and pushes it."""

from __future__ import annotations

import os
import re
from pathlib import Path

from packager.builders.choose import needs_engine
from packager.environments.locks.status import read_inputs
from packager.errors import UsageError
from packager.handoff.pipeline import SYSTEMS, Pipeline, System, pipeline_text
from packager.reference import Reference
from packager.spec.load import SpecFile
from packager.steps.plan import own_template
from packager.steps.registered import with_registered
from packager.steps.reporting import SILENT, Reporter
from packager.steps.selection import refuse_unplaced, spec_references
from packager.steps.workspace_of import choice_of
from packager.storage.files import write_text
from packager.workspace.locate import folder_of

__all__ = ["SYSTEMS", "System", "ci", "write_text"]

#: A path that stands in YAML, in a shell and in patterns as it is.
_PLAIN_PATH = re.compile(r"[A-Za-z0-9._/-]+")
_OCI = "oci://"
#: The Pythons that packager runs in; whoever packages an older one has uv fetch it for tests without Docker.
_OLDEST, _NEWEST = (3, 11), (3, 13)


def ci(spec_file: SpecFile, system: System, *, reporter: Reporter = SILENT) -> str:
    """Return the text of a pipeline: lock check, check, build, test, push, with a cache, and digests as its output.

    Args:
        spec_file: the spec; its lock fits.
        system: `github`, `gitlab`, `azure` or `tekton`.
        reporter: is told what a pipeline will not be able to do.

    Raises:
        UsageError: its images have no place to be pushed to; the path of the spec cannot stand in a pipeline.
        LockError: the lock is missing or stale.
        SpecError, ContextError: the spec cannot be read, or what it names.
    """
    references = spec_references(spec_file)
    refuse_unplaced(references, spec_file)
    inputs = [
        read_inputs(with_registered(spec_file, say=reporter.step, models=False), name)
        for name in spec_file.spec.target_names
    ]
    spec = _from_top(spec_file, spec_file.document.path.absolute())
    reasons = (
        needs_engine(
            each.spec_file.spec.system_packages, each.lock.locked.request.build_from_source, own_template(each)
        )
        for each in inputs
    )
    here = [
        each
        for each in inputs
        if "linux/amd64" in each.platforms and not (each.target.run.gpus or each.target.run.devices)
    ]
    return pipeline_text(
        Pipeline(
            name=spec_file.spec.name,
            spec=spec,
            lock=_from_top(spec_file, spec_file.lock_path),
            python=_python(inputs[0].locked().python),
            references=references,
            registries=tuple(dict.fromkeys((*_registries(references), *_of_workspace(spec_file, reporter)))),
            targets={each.target.name: each.platforms for each in inputs},
            here=tuple(each.target.name for each in here),
            tested=bool(spec_file.spec.test),
            engine=next(filter(None, reasons), None) or "",
            system_packages=tuple(
                dict.fromkeys(name for each in inputs for name in each.spec_file.spec.system_packages)
            ),
        ),
        system,
    )


def _python(version: str) -> str:
    """Return the Python of a pipeline's machine: the package's own, where packager runs in it."""
    return version if tuple(map(int, version.split("."))) >= _OLDEST else ".".join(map(str, _NEWEST))


def _registries(references: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(Reference.parse(each).registry for each in references)


def _of_workspace(spec_file: SpecFile, reporter: Reporter) -> tuple[str, ...]:
    """Return the registry of the workspace that a spec names something of, where it is one."""
    if not spec_file.registers:
        return ()
    wish = choice_of(spec_file).wish
    if wish.startswith(_OCI):
        return (wish.removeprefix(_OCI).partition("/")[0],)
    folder = Path(os.path.normpath(folder_of(wish, base=spec_file.root)))
    if not folder.is_relative_to(_top(spec_file.root)):
        reporter.warn(
            f"the workspace {wish} is on this machine, and no pipeline finds there what the spec names: "
            "`workspace: oci://…` in the spec, or a folder of the repository"
        )
    return ()


def _top(folder: Path) -> Path:
    """Return the top of the repository that a folder is in; the folder itself outside of any."""
    return next((each for each in (folder, *folder.parents) if (each / ".git").exists()), folder)


def _from_top(spec_file: SpecFile, path: Path) -> str:
    shown = path.relative_to(_top(spec_file.root)).as_posix()
    if not _PLAIN_PATH.fullmatch(shown):
        raise UsageError(
            f"{shown!r} cannot stand in a pipeline, where it would mean several things",
            remedy="use letters, digits, `-`, `_` and `.` in the names of folder and spec",
        )
    return shown
