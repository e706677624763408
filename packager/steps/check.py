"""All checks of a spec, in one list."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from packager.checks.accelerator import check_accelerator
from packager.checks.declared import check_declared, check_environment, check_place, check_unlocked
from packager.checks.incompatible import check_incompatible
from packager.checks.of_extensions import extension_findings
from packager.checks.script import entry_script_findings
from packager.checks.secrets import secret_findings
from packager.checks.serving import check_config, check_cors, check_gunicorn
from packager.dockerfile.lint import Level, lint
from packager.dockerfile.text import dockerfile
from packager.environments.declare.environment import read_environments
from packager.environments.lock import Registered
from packager.environments.locks.files import read_lock
from packager.environments.locks.status import read_inputs, unlocked_inputs
from packager.environments.uv import names_indexes
from packager.errors import ContextError, LockError, PackagerError, RenderError, SpecError
from packager.finding import Finding, Severity, from_error
from packager.plan.make import EntryScriptError
from packager.spec.load import SpecFile
from packager.steps.lock import lock_status
from packager.steps.plan import plan_platforms
from packager.steps.registered import pin, placed, unpinned, with_registered
from packager.steps.reporting import SILENT, Reporter
from packager.steps.workspace_of import WorkspaceOf
from packager.storage.models import Store

if TYPE_CHECKING:
    from packager.checks.packaged import Looker

#: hadolint's rule of Debian packages without a version.
_UNPINNED = "DL3008"
#: That of variables which look like secrets.
_SENSITIVE = "DL3064"

_SEVERITY: dict[Level, Severity] = {"error": "error", "warning": "warning", "info": "info", "style": "info"}


def check(
    spec_file: SpecFile, *, offline: bool = False, start: bool = False, reporter: Reporter = SILENT
) -> tuple[Finding, ...]:
    """Return every finding: spec, lock, entry script, models and sources, and the lint of each target's Dockerfile.

    Args:
        spec_file: a spec that could be loaded.
        offline: fetch no package to look into it, where only that could tell what an import gets.
        start: start the package of each target on this machine, too, unless there is an error already.
        reporter: is told what takes long.
    """
    from packager.checks.packaged import make_looker

    findings = [
        *check_declared(spec_file),
        *check_place(spec_file),
        *check_config(spec_file),
        *check_gunicorn(spec_file),
    ]
    found = _registered(spec_file, reporter)
    if isinstance(found, Finding):
        # What models and environment are is not known, and without them nothing else is.
        return tuple(dict.fromkeys((*findings, *_entry_script(spec_file), found)))
    locks, spec_file = [*_lock(spec_file)], found
    looker = make_looker(spec_file, offline=offline, say=reporter.step)
    findings += [*_environment(spec_file, locked=not locks), *_entry_script(spec_file), *locks]
    findings += [*_withheld(spec_file), *_tests(spec_file), *extension_findings(spec_file)]
    fresh = not locks
    for target in spec_file.spec.target_names:
        # Without a lock all else is looked at, so that one run tells all.
        secrets_told = any(finding.rule == "env-secret" for finding in findings)
        findings += _planned(spec_file, target, looker, fresh=fresh, secrets_told=secrets_told)
    if start and not any(finding.severity == "error" for finding in findings):
        findings += _start(spec_file, reporter)
    return _once(findings)


def _once(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return findings without those that are told already: twice the same, or an entry script that is twice missing."""
    found: dict[tuple[object, ...], Finding] = {}
    for each in findings:
        place = (each.file, each.line, each.message)
        found.setdefault(("entry-missing",) if each.rule == "entry-missing" else place, each)
    return tuple(found.values())


def _entry_script(spec_file: SpecFile) -> tuple[Finding, ...]:
    try:
        return entry_script_findings(spec_file)
    except (ContextError, SpecError) as error:
        return (from_error("entry-missing", error, str(spec_file.document.path)),)


def _registered(spec_file: SpecFile, reporter: Reporter) -> SpecFile | Finding:
    """Return the spec with its registered models on this machine: those of the lock, else what would be locked now."""
    try:
        lock = read_lock(spec_file)
        if not unpinned(spec_file, lock):
            return with_registered(spec_file, say=reporter.step)
        with WorkspaceOf(spec_file) as workspace:
            pins = pin(spec_file, lock.pins if lock else Registered(), workspace)
            return placed(spec_file, pins, workspace, say=reporter.step)
    except LockError as error:
        if not spec_file.registers:
            return spec_file  # what is wrong with the lock is told with it
        return from_error("lock-invalid", error, spec_file.lock_path.name)
    except PackagerError as error:
        return from_error("registered-missing", error, str(spec_file.document.path))


def _tests(spec_file: SpecFile) -> Iterator[Finding]:
    if not spec_file.spec.test:
        return
    from packager.serving.cases import prepare

    try:
        prepare(spec_file)
    except (ContextError, SpecError) as error:
        yield from_error("test-invalid", error, str(spec_file.document.path))


def _withheld(spec_file: SpecFile) -> Iterator[Finding]:
    from packager.context.sources import withheld

    try:
        found = withheld(spec_file)
    except ContextError:
        return  # which is told with the sources
    for path in found:
        yield Finding(
            rule="secret-left-out",
            severity="info",
            message="is where secrets are kept, and is not packaged: nothing is to be done",
            file=os.path.normpath(os.path.join(spec_file.spec.source_dir, path)),
            remedy=f"only if the service needs it: a line `!{path.rstrip('/')}` in .dockerignore packages it",
        )


def _environment(spec_file: SpecFile, *, locked: bool) -> Iterator[Finding]:
    try:
        environments = read_environments(spec_file)
    except PackagerError:
        return  # which is told with the lock
    for environment in environments.values():
        yield from check_environment(environment, spec_file)
        if not locked:
            yield from check_unlocked(environment, spec_file, more_indexes=names_indexes(os.environ))
        yield from check_gunicorn(spec_file, environment)


def _lock(spec_file: SpecFile) -> Iterator[Finding]:
    try:
        status = lock_status(spec_file)
    except LockError as error:
        yield from_error("lock-invalid", error, str(spec_file.lock_path.name))
        return
    except ContextError as error:
        # It follows from a model that is missing, or none of its framework.
        yield from_error("source-invalid", error, str(spec_file.document.path))
        return
    except PackagerError as error:
        yield from_error("environment-invalid", error, str(spec_file.document.path))
        return
    for target, changed in status.items():
        for line in changed:
            yield Finding(
                rule="lock-stale",
                severity="error",
                message=f"target {target}: {line}",
                file=spec_file.lock_path.name,
                remedy="packager lock",
            )


def _planned(spec_file: SpecFile, target: str, looker: Looker, *, fresh: bool, secrets_told: bool) -> Iterator[Finding]:
    from packager.dockerfile.places import line_places

    try:
        inputs = read_inputs(spec_file, target) if fresh else unlocked_inputs(spec_file, target)
        (planned,) = plan_platforms(inputs, [None], base=None, digest_model=Store().digest)
    except EntryScriptError as error:
        yield from_error("entry-missing", error, str(spec_file.document.path))
        return
    except ContextError as error:
        yield from_error("source-invalid", error, str(spec_file.document.path))
        return
    except PackagerError:
        if fresh:
            raise
        # What is wrong with the environment is told with the lock.
        yield from _sources(spec_file.for_target(target))
        return
    try:
        text = dockerfile(planned)
    except RenderError as error:
        yield from_error("template-invalid", error, planned.plan.template)
        return
    yield from secret_findings(planned.plan, spec_file.root)
    if fresh:
        requirements = (*inputs.environment.requirements, *inputs.environment.constraints)
        yield from check_cors(planned.plan)
        yield from check_accelerator(planned.plan, inputs.target)
        yield from check_incompatible(planned.plan, requirements)
        yield from looker.findings(planned.plan, requirements)
    else:
        yield from looker.findings_without_lock(planned.plan, inputs.environment.requirements)
    found = [each for each in lint(text, spec_file.root) if each.level != "ignore"]
    if found:
        places = line_places(planned.plan, planned.templates, text)
        for each in found:
            own = places[each.line - 1] if 0 < each.line <= len(places) else None
            if own is None and (each.code == _UNPINNED or (each.code == _SENSITIVE and secrets_told)):
                # Of a line that packager wrote: a compiler that is in no image, or what `check_declared` has told.
                continue
            if own is None and each.code == _SENSITIVE:
                # The user has no Dockerfile: the variables are those of the spec.
                own = spec_file.for_target(target).at("env")
            yield Finding(
                rule=each.code,
                severity=_SEVERITY[each.level],
                message=each.message,
                file=own.file if own else f"Dockerfile ({target})",
                line=own.line if own else each.line,
            )


def _start(spec_file: SpecFile, reporter: Reporter) -> Iterator[Finding]:
    from packager.steps.trial import try_start

    file = str(spec_file.document.path)
    try:
        trials = try_start(spec_file, reporter=reporter)
    except PackagerError as error:
        yield from_error("start-failed", error, file)
        return
    for each in trials:
        said = f"target {each.target}: {each.message}"
        if each.outcome == "failed":
            yield Finding(rule="start-failed", severity="error", message=said, file=file, remedy=each.remedy)
        elif each.outcome == "untried":
            yield Finding(rule="start-untried", severity="info", message=said, file=file, remedy=each.remedy)


def _sources(spec_file: SpecFile) -> Iterator[Finding]:
    """Models and sources are looked at even where nothing can be planned."""
    from packager.context.sources import scan_sources

    try:
        scan_sources(spec_file, Store().digest)
    except ContextError as error:
        yield from_error("source-invalid", error, str(spec_file.document.path))
