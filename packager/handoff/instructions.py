"""`HANDOFF.md`: the exact commands for people who get a build context and have nothing but Docker."""

from __future__ import annotations

from packager.dockerfile.render import render_template
from packager.plan import Plan


def instructions(plan: Plan) -> str:
    """Return the text of HANDOFF.md.

    Raises:
        RenderError: the template is not valid.
    """
    return render_template("HANDOFF.md.j2", plan)
