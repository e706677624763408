"""What a spec may say of models and environments of a workspace."""

from __future__ import annotations

from packager.errors import SpecError
from packager.spec import model as m
from packager.spec.document import Document


def check_registered(model: m.Model, field: str, document: Document) -> None:
    """Refuse a model that is neither a path nor registered, or both, and what only one of the two can have.

    Args:
        model: as the spec names it.
        field: that has it.
        document: the text of the spec.

    Raises:
        SpecError: with its file, line and field.
    """
    if model.registered is None and not model.path:
        raise SpecError(
            "the model has neither 'path' nor 'registered'",
            where=document.at(f"{field}.path"),
            remedy="`path:` names a file or folder, `registered:` a model of the workspace",
        )
    if model.registered is None:
        if model.delivery != "image":
            raise SpecError(
                "only a registered model can be mounted: others have no digest that a container could ask for",
                where=document.at(f"{field}.delivery"),
                remedy=f"`packager model register -n {model.called} -p {model.path}`, and `registered: {model.called}`",
            )
        return
    if model.path:
        raise SpecError(
            "the model has both 'path' and 'registered'",
            where=document.at(f"{field}.registered"),
            remedy="keep `path:` for the file here, or `registered:` for what the workspace has",
        )
    if f"{field}.version" in document.lines:
        name = model.registered.partition(":")[0]
        raise SpecError(
            "the version of a registered model is that in the workspace",
            where=document.at(f"{field}.version"),
            remedy=f"remove the line; `registered: {name}:{model.version or 1}` names one version",
        )


def check_environment(environment: m.InlineEnvironment, document: Document) -> None:
    """Refuse an environment that is added to two others.

    Raises:
        SpecError: with its file, line and field.
    """
    if environment.registered is not None and environment.curated is not None:
        raise SpecError(
            "the environment is both curated and registered",
            where=document.at("environment.registered"),
            remedy="keep one of them; what both have can be registered as an environment of its own",
        )
