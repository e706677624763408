"""Planned image → the texts that templates make of it, remembered where they are all ours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from packager.dockerfile.remembered import remembered
from packager.plan.plan import Plan
from packager.plan.planned import Planned

#: Makes a text of a plan; the folder is that of the user's templates, which need not be there.
Make = Callable[[Plan, Path], str]


def dockerfile(planned: Planned) -> str:
    """Return the text of the Dockerfile.

    Raises:
        RenderError: a template is not valid, or a user's has what only BuildKit reads in the plain dialect.
    """
    text = rendered(planned.plan.template, planned)
    if planned.plan.dialect == "plain" and planned.templates.is_dir():
        from packager.dockerfile.places import require_plain

        require_plain(planned.plan, planned.templates, text)
    return text


def rendered(name: str, planned: Planned, make: Make | None = None) -> str:
    """Return the text of a template.

    Args:
        name: of the template.
        planned: the image.
        make: makes the text; the template alone does where None.

    Raises:
        RenderError: the template is not valid.
    """

    def render(plan: Plan) -> str:
        # Jinja takes a tenth of a second to import, and most commands do without.
        from packager.dockerfile.render import render_template

        return make(plan, planned.templates) if make else render_template(name, plan, planned.templates)

    return render(planned.plan) if planned.templates.is_dir() else remembered(name, planned.plan, render)
