"""Entry script for a TensorFlow SavedModel without code; packager made it.

A request is a JSON object as TensorFlow Serving takes it, in rows or in columns:

    {"instances": [[1.0, 2.0], [3.0, 4.0]]}                 one input; with several, a row is {"a": 1.0, "b": "text"}
      -> {"predictions": [...]}
    {"inputs": {"a": [[1.0], [2.0]], "b": ["x", "y"]}}      by input; with one input, its values alone
      -> {"outputs": ...}

Values of an input of shape (rows, 1) may stand alone, {"instances": [1.0, 2.0]}, and so do those of the answer then.
"signature_name" names another signature than serving_default. Bytes are {"b64": "..."}.
"""

from __future__ import annotations

import base64
import binascii
import os
from typing import Any

import numpy as np
import tensorflow as tf
from packager_json import BadRequest, answered, first_line, parse, refused, shown

# The model's folder in AZUREML_MODEL_DIR.
MODEL = "@MODEL@"

KEYS = frozenset({"instances", "inputs", "signature_name"})

loaded: Any = None


def init() -> None:
    """Load the model. The server calls this once in each worker, before the first request."""
    global loaded
    loaded = tf.saved_model.load(os.path.join(os.environ["AZUREML_MODEL_DIR"], MODEL))
    if not loaded.signatures:
        raise ValueError("the SavedModel has no signatures: save it with `signatures=`, or by Keras' model.export()")


def run(data: str) -> Any:
    """Answer one request: data is its body, as text."""
    try:
        body = parse(data, KEYS)
        function = _signature(body.get("signature_name", "serving_default"))
        specs = function.structured_input_signature[1]
        if ("instances" in body) == ("inputs" in body):
            raise BadRequest("the body has one of 'instances' and 'inputs'")
        rows = "instances" in body
        values = _columns(body["instances"], specs) if rows else _named(body["inputs"], specs)
        tensors = {name: _tensor(name, values[name], spec) for name, spec in specs.items()}
        missing = {name: _missing_ones(tensors[name].shape.as_list(), _dims(spec)) for name, spec in specs.items()}
        feeds = {name: _lengthened(tensor, missing[name]) for name, tensor in tensors.items()}
        for name, spec in specs.items():
            if not spec.shape.is_compatible_with(feeds[name].shape):
                had = tensors[name].shape
                raise BadRequest(f"the input {name!r} has the shape {had}, and the model takes {spec.shape}")
        try:
            results = {name: value.numpy() for name, value in function(**feeds).items()}
            if missing and all(missing.values()):
                results = {name: _shortened(value, min(missing.values())) for name, value in results.items()}
        except (tf.errors.InvalidArgumentError, ValueError, TypeError) as error:
            raise BadRequest(f"the model does not take these values: {first_line(error)}") from error
        answer = {"predictions": _rows(results)} if rows else {"outputs": _bare(results)}
    except BadRequest as problem:
        return refused(problem)
    return answered(answer)


def _signature(name: Any) -> Any:
    known = list(loaded.signatures)
    if name not in known:
        raise BadRequest(f"the model has no signature {shown(name)}; it has {', '.join(known)}")
    return loaded.signatures[name]


def _named(values: Any, specs: dict[str, Any]) -> dict[str, Any]:
    """Return the values of the inputs by name."""
    if not isinstance(values, dict) or set(values) == {"b64"}:
        if len(specs) != 1:
            raise BadRequest(f"the inputs are an object by name: {', '.join(specs)}")
        values = {next(iter(specs)): values}
    for name in values:
        if name not in specs:
            raise BadRequest(f"the signature has no input {shown(name)}; it has {', '.join(specs)}")
    for name in specs:
        if name not in values:
            raise BadRequest(f"the input {name!r} is missing")
    return values


def _columns(instances: Any, specs: dict[str, Any]) -> dict[str, Any]:
    """Return the values of rows by input."""
    if not isinstance(instances, list) or not instances:
        raise BadRequest("'instances' is a list with at least one row")
    rows = [_named(row, specs) for row in instances]
    return {name: [row[name] for row in rows] for name in specs}


def _tensor(name: str, value: Any, spec: Any) -> Any:
    value = _with_bytes(name, value, text=spec.dtype == tf.string)
    try:
        return tf.convert_to_tensor(value, dtype=spec.dtype)
    except (ValueError, TypeError, OverflowError, tf.errors.InvalidArgumentError) as error:
        raise BadRequest(f"the input {name!r} is {spec.dtype.name}: {first_line(error)}") from None


def _dims(spec: Any) -> list[int | None] | None:
    return None if spec.shape.rank is None else spec.shape.as_list()


def _missing_ones(shape: list[int], wanted: list[int | None] | None) -> int:
    """Return how many last dimensions of 1 a shape lacks of the one that the model takes; 0 where it lacks others."""
    missing = 0 if wanted is None else len(wanted) - len(shape)
    if wanted is None or missing <= 0 or not shape or any(each != 1 for each in wanted[len(shape) :]):
        return 0
    fits = all(each in (None, own) for each, own in zip(wanted, shape))
    return missing if fits else 0


def _lengthened(tensor: Any, missing: int) -> Any:
    return tf.reshape(tensor, [*tensor.shape.as_list(), *[1] * missing]) if missing else tensor


def _shortened(value: Any, missing: int) -> Any:
    """Return an output without its last dimensions of 1, as many as the inputs lacked; as it is where it has others."""
    ends = np.ndim(value) > missing and all(each == 1 for each in np.shape(value)[-missing:])
    return np.reshape(value, np.shape(value)[:-missing]) if ends else value


def _with_bytes(name: str, value: Any, *, text: bool) -> Any:
    """Return a value with what is in base64 decoded; null is a missing number."""
    if isinstance(value, list):
        return [_with_bytes(name, each, text=text) for each in value]
    if isinstance(value, dict):
        if not text or set(value) != {"b64"}:
            raise BadRequest(f"a value of the input {name!r} is an object; bytes of text inputs are {{'b64': '...'}}")
        try:
            return base64.b64decode(value["b64"], validate=True)
        except (TypeError, ValueError, binascii.Error):
            raise BadRequest(f"a value of the input {name!r} is not base64") from None
    return float("nan") if value is None and not text else value


def _rows(results: dict[str, Any]) -> list[Any]:
    """Return results a row: the value of the one output, or an object of all."""
    lengths = {len(value) if np.ndim(value) else None for value in results.values()}
    if len(lengths) != 1 or None in lengths:
        raise BadRequest("the outputs have no rows in common: send 'inputs' in place of 'instances'")
    named = {name: _readable(name, value) for name, value in results.items()}
    if len(named) == 1:
        return list(next(iter(named.values())))
    return [dict(zip(named, row)) for row in zip(*named.values())]


def _bare(results: dict[str, Any]) -> Any:
    named = {name: _readable(name, value) for name, value in results.items()}
    return next(iter(named.values())) if len(named) == 1 else named


def _readable(name: str, value: Any) -> Any:
    """Return an output as lists. As in TensorFlow Serving, bytes of an output `*_bytes` are always base64."""
    listed = value.tolist()
    return _encoded(listed) if name.endswith("_bytes") else listed


def _encoded(value: Any) -> Any:
    if isinstance(value, list):
        return [_encoded(each) for each in value]
    return {"b64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value
