"""The way of the data, on one screen: each step takes the values of the steps before it.

`packager` (the Python API) and the verbs of the command line both go through here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from packager.checks.entry_script import check_entry_script
from packager.context.artefacts import check_artefacts
from packager.context.build_context import BuildContext, assemble
from packager.context.generated import app_files
from packager.context.sources import DigestModel, scan_sources
from packager.environments.channel_mirrors import VARIABLE, parse_channel_mirrors
from packager.environments.conda import minor
from packager.environments.declare.environment import read_environment
from packager.environments.locks.files import read_conda, read_locked
from packager.environments.locks.status import require_fresh
from packager.errors import ContextError, UsageError
from packager.finding import Finding
from packager.plan.make import make_plan
from packager.plan.plan import (
    CONDA_INSTALLER,
    CONDA_LOCK,
    CONDA_SETTLER,
    INSTALLER_REQUIREMENTS,
    REQUIREMENTS,
    Base,
    Dialect,
    Plan,
)
from packager.plan.selection import target_platforms
from packager.reference import parse_mirrors
from packager.resources import data_folder, program
from packager.spec.document import read_text
from packager.spec.load import SpecFile
from packager.spec.rules import check_written_tags
from packager.targets import load_target

#: What BuildKit may read of a context: the manifest and the instructions are for people, and never change a build.
DOCKERIGNORE = "*\n!environment\n!layers\n"


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """One image, planned.

    Attributes:
        plan: of the image.
        requirements: text of the hashed requirements.
        conda: text of the conda-lock file; empty for an environment of pip alone.
        templates: folder of the user's templates; it need not be there.
    """

    plan: Plan
    requirements: str
    conda: str = ""
    templates: Path | None = None


def machine_mirrors(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the registry mirrors of this machine (`PACKAGER_REGISTRY_MIRROR`).

    Raises:
        UsageError: the variable is not of the form `docker.io=127.0.0.1:5000`.
    """
    return parse_mirrors(environ.get("PACKAGER_REGISTRY_MIRROR", ""))


def machine_channel_mirrors(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the mirrors of conda channels of this machine (`PACKAGER_CHANNEL_MIRROR`).

    Raises:
        UsageError: the variable is not of the form `conda-forge=https://host/path`.
    """
    return parse_channel_mirrors(environ.get(VARIABLE, ""))


def channel_mirrors(spec_file: SpecFile) -> dict[str, str]:
    """Return channel → mirror: those of this machine go before those of the spec, which everyone shares.

    Raises:
        UsageError: see `machine_channel_mirrors`.
    """
    return {**spec_file.spec.conda.channel_mirrors, **machine_channel_mirrors()}


def select_targets(spec_file: SpecFile, target: str | None) -> tuple[str, ...]:
    """Return the targets to work on: the one that is asked for, or all of the spec.

    Raises:
        UsageError: the spec does not have this target.
        SpecError: two targets would write one tag.
    """
    spec = spec_file.spec
    names = spec.target_names
    if len(names) > 1 and any("{platform}" in tag for name in names for tag in spec.for_target(name).image.tags):
        platforms = {name: target_platforms(spec_file, name) for name in names}
        check_written_tags(spec, spec_file.document, platforms)
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
        base: takes the place of the lock's base image (see `packager.builders.base_option.resolve_base`).
        mirrors: registry → mirror, of this machine.

    Raises:
        SpecError: an unknown target, or a platform that it was not locked for.
        LockError: the lock is missing, stale, or was edited by hand.
        ContextError: a source file or a model is missing, empty, unreadable, or leaves the spec's folder; an artefact
            that the target needs is missing or of another kind.
    """
    own = spec_file.for_target(target_name)
    spec = own.spec
    target = load_target(target_name, spec_file.templates, spec_file.at_target(target_name))
    environment = read_environment(own)
    require_fresh(spec_file, target_name, environment=environment)
    locked, packages, requirements = read_locked(spec_file, target_name)
    conda_packages, conda = read_conda(spec_file, locked)
    sources = scan_sources(own, digest_model)
    python = next((minor(each.version) for each in conda_packages if each.name == "python"), locked.request.python)
    generated = app_files(own, sources, python)
    sources = msgspec.structs.replace(sources, generated=generated)
    chosen = platform or next(iter(spec.target_options(target_name).platforms or target.platforms))
    plan = make_plan(
        spec,
        target,
        chosen,
        locked,
        packages,
        sources,
        conda=conda_packages,
        variables=environment.variables,
        base=base,
        mirrors=mirrors,
        channel_mirrors=machine_channel_mirrors() if conda else None,
    )
    check_artefacts(own, target, plan)
    plan = msgspec.structs.replace(plan, own_template=_own_template(spec_file, plan))
    return Planned(plan=plan, requirements=requirements, conda=conda, templates=spec_file.templates)


def _own_template(spec_file: SpecFile, plan: Plan) -> str:
    """Return the first template of the user's that the Dockerfile is made of; empty where all are ours."""
    for name in (plan.template, "base.Dockerfile.j2", "conda-environment.j2"):
        if (spec_file.templates / name).is_file():
            return name
    return ""


def entry_script_findings(spec_file: SpecFile) -> tuple[Finding, ...]:
    """Return what the syntax tree of the entry script tells.

    Raises:
        SpecError: it is missing, or not UTF-8.
    """
    spec = spec_file.spec
    if spec.entry_script is None:
        # Of all targets: the scripts of two frameworks differ, and each is what packager itself has.
        return ()
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
    from packager.builders.base_option import require_no_archive

    require_no_archive(planned.plan.base)
    texts = {
        "Dockerfile": dockerfile(planned),
        ".dockerignore": DOCKERIGNORE,
        REQUIREMENTS: planned.requirements,
        "HANDOFF.md": _rendered("HANDOFF.md.j2", planned, _handoff),
        **{name: _rendered(f"{name}.j2", planned) for name in planned.plan.files},
        **_conda_texts(planned),
    }
    return assemble(planned.plan, texts)


def _conda_texts(planned: Planned) -> dict[str, str]:
    """Return what the build stage of a conda environment needs: the lock, and the programs that lay it down."""
    conda = planned.plan.environment.conda
    if conda is None:
        return {}
    texts = {CONDA_LOCK: planned.conda, CONDA_SETTLER: program("stage/settle.py").read_text("utf-8")}
    if conda.installer == "rattler":
        texts[CONDA_INSTALLER] = program("stage/install.py").read_text("utf-8")
        texts[INSTALLER_REQUIREMENTS] = (data_folder("templates") / "conda-installer.txt").read_text("utf-8")
    return texts


def dockerfile(planned: Planned) -> str:
    """Plan → text of the Dockerfile.

    Raises:
        RenderError: a template is not valid, or a user's has what only BuildKit reads in the plain dialect.
    """
    text = _rendered(planned.plan.template, planned)
    if planned.plan.dialect == "plain" and planned.templates is not None and planned.templates.is_dir():
        from packager.dockerfile.places import require_plain

        require_plain(planned.plan, planned.templates, text)
    return text


def in_dialect(planned: Planned, dialect: Dialect | None) -> Planned:
    """Return an image that is planned for builders of another dialect; what it is made of stays the same.

    Args:
        planned: the image.
        dialect: None leaves that of the spec.
    """
    if dialect is None or dialect == planned.plan.dialect:
        return planned
    return msgspec.structs.replace(planned, plan=msgspec.structs.replace(planned.plan, dialect=dialect))


def _handoff(plan: Plan, templates: Path | None) -> str:
    from packager.handoff.instructions import instructions

    return instructions(plan, templates)


def _rendered(name: str, planned: Planned, make: Callable[[Plan, Path | None], str] | None = None) -> str:
    def render(plan: Plan) -> str:
        # Jinja takes a tenth of a second to import, and most commands do without.
        from packager.dockerfile.render import render_template

        return make(plan, planned.templates) if make else render_template(name, plan, planned.templates)

    if planned.templates is not None and planned.templates.is_dir():
        return render(planned.plan)
    from packager.dockerfile.remembered import remembered

    return remembered(name, planned.plan, render)
