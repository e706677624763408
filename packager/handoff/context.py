"""Planned image → the build context that operations get: every file with its digest, before anything is written."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from packager.context.build_context import BuildContext, assemble
from packager.dockerfile.text import dockerfile, rendered
from packager.errors import UsageError
from packager.plan.plan import (
    COMPILER,
    CONDA_INSTALLER,
    CONDA_LOCK,
    CONDA_SETTLER,
    INSTALLER_REQUIREMENTS,
    REQUIREMENTS,
    UV_REQUIREMENTS,
    WHEELS_INSTALLER,
    Base,
    Plan,
)
from packager.plan.planned import Planned
from packager.resources import data_folder, program

if TYPE_CHECKING:
    from packager.handoff.instructions import ForPlatform

#: Folder of a context with the files of platforms.
DEPLOY_FOLDER = "deploy"

#: What BuildKit may read of a context: the manifest and the instructions are for people, and never change a build.
DOCKERIGNORE = "*\n!environment\n!layers\n"


def build_context(planned: Planned, deployments: Sequence[ForPlatform] = ()) -> BuildContext:
    """Return the build context of an image; nothing is written yet.

    Args:
        planned: the image.
        deployments: files of platforms that it is to have, too.

    Raises:
        RenderError: a template is not valid.
        UsageError: the base is an archive, which no Dockerfile can name.
    """
    require_no_archive(planned.plan.base)
    texts = {
        "Dockerfile": dockerfile(planned),
        ".dockerignore": DOCKERIGNORE,
        REQUIREMENTS: planned.requirements,
        "HANDOFF.md": _asked(_timed(_handoff(planned, deployments), planned), planned),
        **{name: rendered(f"{name}.j2", planned) for name in planned.plan.files},
        **_wheels_texts(planned.plan),
        **_conda_texts(planned),
        **{f"{DEPLOY_FOLDER}/{each.name}/{path}": text for each in deployments for path, text in each.files.items()},
    }
    if planned.plan.environment.compiler:
        texts[COMPILER] = program("stage/compile.py").read_text("utf-8")
    return assemble(planned.plan, texts)


def require_no_archive(base: Base) -> None:
    """Refuse a base that only the builder without an engine can read.

    Raises:
        UsageError: the base is an archive.
    """
    if base.archived:
        raise UsageError(
            f"BuildKit cannot build on {base.source}: a Dockerfile's FROM names images, not files",
            remedy="`--builder oci` can; or give it to the engine first (`docker load`), or to a registry",
        )


def _handoff(planned: Planned, deployments: Sequence[ForPlatform]) -> str:
    if not deployments:
        return rendered("HANDOFF.md.j2", planned, _instructions)
    # What is remembered of a plan knows nothing of platforms.
    from packager.handoff.instructions import instructions

    return instructions(planned.plan, planned.templates, deployments)


def _instructions(plan: Plan, templates: Path) -> str:
    # Imported late, as Jinja behind it.
    from packager.handoff.instructions import instructions

    return instructions(plan, templates)


def _timed(text: str, planned: Planned) -> str:
    """Return instructions whose image is as old as the lock: a plan knows the time of its files alone."""
    if planned.created is None:
        return text
    return text.replace(f"SOURCE_DATE_EPOCH={planned.plan.mtime} ", f"SOURCE_DATE_EPOCH={planned.created} ")


def _asked(text: str, planned: Planned) -> str:
    """Return instructions that ask as a test of the spec does: a plan knows nothing of tests."""
    if not planned.request:
        return text
    text = text.replace("--data @request.json ", f"--data {shlex.quote(planned.request)} ")
    return text.replace(
        "`request.json` is a request in the form that", "the request is that of a test, in the form that"
    )


def _wheels_texts(plan: Plan) -> dict[str, str]:
    """Return what the build stage needs for wheels: the program that lays them down, and uv's pins."""
    texts = {WHEELS_INSTALLER: program("stage/wheels.py").read_text("utf-8")}
    if plan.environment.installer == "uv":
        texts[UV_REQUIREMENTS] = (data_folder("templates") / "uv.txt").read_text("utf-8")
    return texts


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
