"""MLflow's `MLmodel`: flavors, signature, version. Source: MLflow's documentation, "MLflow Models"."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from packager.models.graphs import Interface, Port
from packager.spec.document import parse_yaml, read_text

_KINDS = {
    "double": "number",
    "float": "number",
    "long": "integer",
    "integer": "integer",
    "boolean": "boolean",
    "string": "string",
    "datetime": "string",
    "binary": "string",
}


class MlflowModel(msgspec.Struct, frozen=True, kw_only=True):
    """What an MLmodel file says.

    Attributes:
        flavors: their names, sorted.
        version: of MLflow that wrote it; None where it does not say.
        interface: of its signature; empty where it has none.
    """

    flavors: tuple[str, ...]
    version: str | None = None
    interface: Interface = Interface()


class MlflowDetails(msgspec.Struct, frozen=True, kw_only=True):
    """What an MLmodel file says of how its model was made, in plain JSON values.

    Attributes:
        flavors: name → what it says in single values (`sklearn_version`).
        version: of MLflow that wrote it; None where it does not say.
        signature: `inputs`, `outputs` and `params`, where it has them.
        run_id: of the run that logged it.
        samples: paths below the model's folder of requests as it takes them, best first; they need not be there.
    """

    flavors: dict[str, dict[str, str]]
    version: str | None = None
    signature: dict[str, Any] = {}
    run_id: str | None = None
    samples: tuple[str, ...] = ()


def read_mlflow_details(path: Path, root: Path | None = None) -> MlflowDetails:
    """Read an MLmodel file for what it says besides what serving it needs; one that links out of `root` is refused.

    Raises:
        SpecError: it is no YAML mapping.
    """
    data = parse_yaml(read_text(path, root), path).data
    flavors = data.get("flavors")
    example = data.get("saved_input_example_info")
    example = example if isinstance(example, dict) else {}
    return MlflowDetails(
        flavors={str(name): _single(each) for name, each in flavors.items()} if isinstance(flavors, dict) else {},
        version=_text(data.get("mlflow_version")),
        signature=_signature(data.get("signature")),
        run_id=_text(data.get("run_id")),
        samples=tuple(each for key in ("serving_input_path", "artifact_path") if (each := _text(example.get(key)))),
    )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _single(flavor: Any) -> dict[str, str]:
    """Return what a flavor says in single values; configurations of environments are another file's."""
    listed = flavor.items() if isinstance(flavor, dict) else ()
    return {str(key): str(value) for key, value in listed if isinstance(value, str | int | float)}


def _signature(value: Any) -> dict[str, Any]:
    found = {}
    for key in ("inputs", "outputs", "params"):
        try:
            found[key] = json.loads(value[key])
        except (TypeError, ValueError, LookupError, RecursionError):
            continue
    return {key: each for key, each in found.items() if each is not None}


def read_mlmodel(path: Path, root: Path | None = None) -> MlflowModel:
    """Read an MLmodel file; one that links out of `root` is refused.

    Raises:
        SpecError: it is no YAML mapping.
    """
    data = parse_yaml(read_text(path, root), path).data
    flavors, version = data.get("flavors"), data.get("mlflow_version")
    signature = data.get("signature")
    signature = signature if isinstance(signature, dict) else {}
    return MlflowModel(
        flavors=tuple(sorted(flavors)) if isinstance(flavors, dict) else (),
        version=version if isinstance(version, str) else None,
        interface=Interface(inputs=_ports(signature.get("inputs")), outputs=_ports(signature.get("outputs"))),
    )


def _ports(text: Any) -> tuple[Port, ...]:
    """Return a half of a signature, which is JSON in a text; nothing where it is of a form that we do not know."""
    try:
        listed = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return ()
    return tuple(_port(each) for each in listed if isinstance(each, dict)) if isinstance(listed, list) else ()


def _port(entry: dict[str, Any]) -> Port:
    name = entry.get("name")
    name = name if isinstance(name, str) else ""
    tensor = entry.get("tensor-spec")
    if not isinstance(tensor, dict):
        return Port(name=name, kind=_KINDS.get(str(entry.get("type")), ""), shape=())
    dtype, axes = str(tensor.get("dtype")), tensor.get("shape")
    kind = (
        "number" if dtype.startswith("float") else "integer" if "int" in dtype else "boolean" if dtype == "bool" else ""
    )
    shape = [each if isinstance(each, int) and each > 0 else None for each in axes] if isinstance(axes, list) else None
    return Port(name=name, kind=kind or "string", shape=None if shape is None else tuple(shape))
