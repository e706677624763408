"""What the spec says of a model's framework, held against its file and the lock. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from packager.checks.pickled_models import difference
from packager.finding import Finding
from packager.spec.model import Model

_RULE = "model-framework-version"


def framework_findings(model: Model, written: tuple[str, ...], versions: Mapping[str, str]) -> Iterator[Finding]:
    """Yield what does not fit a `framework_version`.

    Args:
        model: of the spec.
        written: versions of scikit-learn that wrote the file, as far as it tells.
        versions: normalised name of each locked package → version.
    """
    declared = model.framework_version
    if declared is None:
        return
    # That a pickle's own version is not the locked one is told of the pickle.
    for each in written if model.kind == "sklearn" else ():
        if not _fits(declared, each):
            message = f"the spec says that scikit-learn {declared} saved it, and the file {each}"
            yield _finding(model, message, f'`framework_version: "{each}"`, or leave it out')
    locked = versions.get("tensorflow") if model.kind == "tensorflow" else None
    if locked is not None and not _fits(declared, locked):
        message = f"was saved by TensorFlow {declared}, as the spec says; the lock has {locked}"
        yield _finding(model, message, f"pin tensorflow=={declared} and run `packager lock`, or save the model again")


def _fits(declared: str, version: str) -> bool:
    """Whether a version is the one that is declared, or of it where that names only a minor version."""
    return difference(declared, version) is None or (declared.count(".") < 2 and version.startswith(f"{declared}."))


def _finding(model: Model, message: str, remedy: str) -> Finding:
    return Finding(rule=_RULE, severity="warning", message=message, file=model.shown, remedy=remedy)
