"""`HANDOFF.md`: the exact commands for people who get a build context and have nothing but Docker."""

from __future__ import annotations

from pathlib import Path

from packager.dockerfile.render import render_template
from packager.plan.plan import Plan


def instructions(plan: Plan, templates: Path | None = None) -> str:
    """Return the text of HANDOFF.md; by a template of the user's where their folder has one.

    Raises:
        RenderError: the template is not valid.
    """
    return render_template("HANDOFF.md.j2", plan, templates)
