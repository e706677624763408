"""Looks into the file of a model whose framework the spec names: is it one, where is it, what does it take and give.

Nothing is unpickled, loaded or run.
"""

from __future__ import annotations

from pathlib import Path

from packager.errors import ContextError
from packager.models.pickle_reader import PickleFacts
from packager.models.readers import At, Inspected, MismatchError, read_model
from packager.similar import meant
from packager.spec.load import SpecFile
from packager.spec.model import Model

__all__ = ["Inspected", "check_frameworks", "inspect_model"]


def inspect_model(spec_file: SpecFile, model: Model) -> Inspected:
    """Return what the file of a model tells, whose framework the spec names.

    Raises:
        ContextError: it is missing, or no model of that framework.
        SpecError: the MLmodel of an MLflow model is not valid.
    """
    assert model.kind is not None, "asked only where there is one"
    path = spec_file.root / model.path
    if not path.exists():
        raise ContextError(
            f"the model {model.shown!r} is not there",
            where=spec_file.at_model(model),
            remedy=meant(spec_file.root, model.path) or "paths are relative to the folder of the spec",
        )
    at = At(
        path=path,
        top=model.top,
        shown=spec_file.document.path.parent / model.path,
        root=spec_file.above(model),
    )
    try:
        return read_model(model.kind, at, _remembered)
    except MismatchError as error:
        where = spec_file.at_model(model, "framework")
        raise ContextError(f"the model {model.shown!r} {error.found}", where=where, remedy=error.remedy) from None
    except OSError as error:
        raise ContextError(
            f"the model {model.shown!r} cannot be read: {error.strerror}", where=spec_file.at_model(model)
        ) from None


def check_frameworks(spec_file: SpecFile) -> None:
    """Refuse models that are of another framework than the spec says.

    Raises:
        ContextError: the first one found.
        SpecError: the MLmodel of an MLflow model is not valid.
    """
    for model in spec_file.spec.models:
        if model.kind is not None:
            inspect_model(spec_file, model)


def _remembered(path: Path) -> PickleFacts | None:
    """Return what a pickle holds; one that was read before is not walked again."""
    from packager.models.remembered_pickle import remembered_pickle
    from packager.storage.memory import Memory
    from packager.storage.models import Store

    return remembered_pickle(path, Store().digest(path)[0], Memory("facts"))
