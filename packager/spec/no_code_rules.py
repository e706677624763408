"""What a spec must have without an entry script: exactly one model, and its framework."""

from __future__ import annotations

from packager.errors import SpecError
from packager.spec import model as m
from packager.spec.document import Document

_EXAMPLE = "`models: [{path: model.pkl, framework: sklearn}]`"


def check_no_code(spec: m.Spec, document: Document) -> None:
    """Refuse a spec that has neither an entry script nor what stands in for one, and frameworks that say too little.

    Raises:
        SpecError: the first thing found, with its file, line and field.
    """
    for field, model in _models(spec):
        if model.framework_version is not None and model.kind in (None, "mlflow"):
            raise SpecError(
                "framework_version says nothing without a framework"
                if model.kind is None
                else "an MLflow model names its versions itself",
                where=document.at(f"{field}.framework_version"),
                remedy="add `framework:`" if model.kind is None else "remove framework_version",
            )
    if spec.entry_script is not None:
        if spec.environment is None:
            raise SpecError(
                "'environment' is missing", where=document.at("environment"), remedy="add it; see `packager schema`"
            )
        return
    if not any(model.framework or model.registered for _, model in _models(spec)):
        raise SpecError(
            "'entry_script' is missing",
            where=document.at("entry_script"),
            remedy=f"name the .py file that has init() and run(); or, without code, a model's framework: {_EXAMPLE}",
        )
    if spec.source_dir == "." and "source_dir" in document.lines:
        raise SpecError(
            "without an entry script, the whole folder of the spec is no source directory",
            where=document.at("source_dir"),
            remedy="remove `source_dir`, or name a folder below it that has the modules which the model needs",
        )
    for target in spec.target_names:
        _check_one_model(spec.for_target(target).models, target, spec, document)


def _models(spec: m.Spec) -> list[tuple[str, m.Model]]:
    found = [(f"models[{index}]", model) for index, model in enumerate(spec.models)]
    for name in spec.target_names:
        own = spec.target_options(name).models
        found += [(f"targets.{name}.models[{index}]", model) for index, model in enumerate(own)]
    return found


def _check_one_model(models: tuple[m.Model, ...], target: str, spec: m.Spec, document: Document) -> None:
    of_target = f" for the target {target!r}" if len(spec.target_names) > 1 else ""
    if len(models) != 1:
        raise SpecError(
            f"without an entry script there is exactly one model, and there are {len(models)}{of_target}",
            where=document.at("models"),
            remedy="keep one, or name an `entry_script` that serves them all",
        )
    # What is registered has one, mostly: that is seen when it is locked.
    if models[0].framework is None and models[0].registered is None:
        field = next(field for field, model in _models(spec) if model == models[0])
        raise SpecError(
            f"without an entry script the model{of_target} needs a framework",
            where=document.at(field),
            remedy=f"sklearn, onnx, tensorflow or mlflow, such as {_EXAMPLE}; or name an `entry_script`",
        )
