"""`HANDOFF.md`: the exact commands for people who get a build context and have nothing but Docker."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from packager.dockerfile.render import render_template
from packager.plan.plan import Plan


class ForPlatform(msgspec.Struct, frozen=True, kw_only=True):
    """The files by which a platform runs the image of a context, and what is said of them.

    Attributes:
        name: of the platform, and of its folder.
        title: for people.
        files: path below that folder → text.
        digest: stands in them for the image's, which nobody knows before it is pushed; empty where they name a tag.
        unmet: what the spec asks for and the platform has not, a sentence each.
        secrets: commands that make what no file may hold, each to be run once.
        apply: the command that applies the files, in that folder.
    """

    name: str
    title: str
    files: dict[str, str]
    digest: str = ""
    unmet: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    apply: str = ""


def instructions(plan: Plan, templates: Path | None = None, deployments: Sequence[ForPlatform] = ()) -> str:
    """Return the text of HANDOFF.md; by a template of the user's where their folder has one.

    Args:
        plan: of the image.
        templates: folder of the user's templates.
        deployments: files of platforms that the context has, too.

    Raises:
        RenderError: the template is not valid.
    """
    return render_template("HANDOFF.md.j2", plan, templates, deployments=tuple(deployments))
