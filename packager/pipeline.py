"""The way of the data, on one screen: each step takes the values of the steps before it.

`packager` (the Python API) and the verbs of the command line both go through here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import msgspec

from packager.checks.entry_script import check_entry_script
from packager.checks.finding import Finding
from packager.context.build_context import BuildContext, assemble
from packager.context.sources import DigestModel, scan_sources
from packager.environments.files import read_locked
from packager.environments.status import require_fresh
from packager.errors import ContextError, UsageError
from packager.images.reference import parse_mirrors
from packager.plan import REQUIREMENTS, Base, Plan, make_plan
from packager.spec.document import read_text
from packager.spec.load import SpecFile
from packager.targets import load_target

#: What BuildKit may read of a context: the manifest and the instructions are for people, and never change a build.
DOCKERIGNORE = "*\n!environment\n!layers\n"


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """One image, planned: the plan, and the text of its hashed requirements."""

    plan: Plan
    requirements: str


def machine_mirrors(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the registry mirrors of this machine (`PACKAGER_REGISTRY_MIRROR`).

    Raises:
        UsageError: the variable is not of the form `docker.io=127.0.0.1:5000`.
    """
    return parse_mirrors(environ.get("PACKAGER_REGISTRY_MIRROR", ""))


def select_targets(spec_file: SpecFile, target: str | None) -> tuple[str, ...]:
    """Return the targets to work on: the one that is asked for, or all of the spec.

    Raises:
        UsageError: the spec does not have this target.
    """
    names = spec_file.spec.target_names
    if target is None:
        return names
    if target not in names:
        raise UsageError(f"the spec has no target {target!r}", remedy=f"its targets: {', '.join(names)}")
    return (target,)


def plan_image(
    spec_file: SpecFile,
    target_name: str,
    platform: str | None = None,
    *,
    digest_model: DigestModel,
    base: Base | None = None,
    mirrors: Mapping[str, str] | None = None,
) -> Planned:
    """Spec, target, lock and files → plan.

    Args:
        spec_file: the spec.
        target_name: one of its targets.
        platform: OCI os/arch; the target's first where None.
        digest_model: sha256 and size of a model file: `Store.digest`, or `Store.add` when it is needed in the store.
        base: takes the place of the lock's base image (see `packager.images.base.resolve_base`).
        mirrors: registry → mirror, of this machine.

    Raises:
        SpecError: an unknown target, or a platform that it was not locked for.
        LockError: the lock is missing, stale, or was edited by hand.
        ContextError: a source file or a model is missing, empty, unreadable, or leaves the spec's folder.
    """
    spec = spec_file.spec
    target = load_target(target_name)
    require_fresh(spec_file, target_name)
    locked, packages, requirements = read_locked(spec_file, target_name)
    sources = scan_sources(spec_file, digest_model)
    chosen = platform or next(iter(spec.target_options(target_name).platforms or target.platforms))
    plan = make_plan(spec, target, chosen, locked, packages, sources, base=base, mirrors=mirrors)
    return Planned(plan=plan, requirements=requirements)


def entry_script_findings(spec_file: SpecFile) -> tuple[Finding, ...]:
    """Return what the syntax tree of the entry script tells.

    Raises:
        SpecError: it is missing, or not UTF-8.
    """
    spec = spec_file.spec
    shown = os.path.normpath(os.path.join(spec.source_dir, spec.entry_script))
    path = spec_file.root / shown
    if not path.is_file():
        raise ContextError(
            f"there is no entry script {shown!r}",
            where=spec_file.at("entry_script"),
            remedy="`entry_script` is relative to `source_dir`, which is relative to the spec",
        )
    return check_entry_script(read_text(path), shown)


def require_entry_script(spec_file: SpecFile) -> tuple[Finding, ...]:
    """Refuse to package an entry script that cannot start; return the rest of its findings.

    Raises:
        ContextError: the first error found.
    """
    findings = entry_script_findings(spec_file)
    for finding in findings:
        if finding.severity == "error":
            raise ContextError(str(finding), remedy="`packager check` lists everything")
    return findings


def build_context(planned: Planned) -> BuildContext:
    """Plan → build context: every file, with its digest; nothing is written yet.

    Raises:
        RenderError: a template is not valid.
        UsageError: the base is an archive, which no Dockerfile can name.
    """
    from packager.images.base import require_no_archive

    require_no_archive(planned.plan.base)
    from packager.dockerfile.remembered import remembered

    texts = {
        "Dockerfile": dockerfile(planned.plan),
        ".dockerignore": DOCKERIGNORE,
        REQUIREMENTS: planned.requirements,
        "HANDOFF.md": remembered("handoff", planned.plan, _handoff),
    }
    return assemble(planned.plan, texts)


def dockerfile(plan: Plan) -> str:
    """Plan → text of the Dockerfile.

    Raises:
        RenderError: a template is not valid.
    """
    from packager.dockerfile.remembered import remembered

    return remembered("dockerfile", plan, _dockerfile)


# Jinja takes a tenth of a second to import, and most commands do without.


def _dockerfile(plan: Plan) -> str:
    from packager.dockerfile.render import render

    return render(plan)


def _handoff(plan: Plan) -> str:
    from packager.handoff.instructions import instructions

    return instructions(plan)
