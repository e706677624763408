"""What a service without code says of itself: Swagger 2 and OpenAPI 3, from what the model's file tells. Pure.

The server serves these files in place of its own (azureml-inference-server-http 1.5, `server/swagger.py`). One schema
goes into all of them, so it keeps to what Swagger 2 knows.
"""

from __future__ import annotations

import json
import math
from typing import Any

from packager.contract import HEALTH_PATH, SCORE_PATH
from packager.models.graphs import Interface, Port
from packager.models.inspect import Inspected
from packager.spec.model import Spec

#: Values of an example: it is for people.
_MAX_EXAMPLE = 64
_EXAMPLES: dict[str, Any] = {"number": 0.5, "integer": 1, "boolean": True, "string": "text"}
_ANY: dict[str, Any] = {}


def swagger_texts(spec: Spec, inspected: Inspected) -> dict[str, str]:
    """Return the texts of the swagger files by their names in the app's folder."""
    request, answer = _schemas(inspected)
    return {
        "swagger2.json": _text(_swagger2(spec, request, answer)),
        "swagger3.json": _text(_openapi(spec, request, answer, "3.0.3")),
        "swagger3.1.json": _text(_openapi(spec, request, answer, "3.1.0")),
    }


def _text(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


# --- the schemas of a request and its answer --------------------------------------------------------------------------


def _schemas(inspected: Inspected) -> tuple[dict[str, Any], dict[str, Any]]:
    signatures = inspected.signatures
    found = signatures.get("serving_default") or next(iter(signatures.values()), Interface())
    return {"sklearn": _sklearn, "onnx": _onnx, "tensorflow": _tensorflow, "mlflow": _mlflow}[inspected.kind](found)


def _sklearn(_found: Interface) -> tuple[dict[str, Any], dict[str, Any]]:
    data = {"description": "Rows as lists, or as objects by column.", "type": "array", "items": _ANY}
    columns = {"description": "Names of the values of a row.", "type": "array", "items": {"type": "string"}}
    method = {"description": "Method of the model.", "type": "string", "default": "predict"}
    request = _object({"data": data, "columns": columns, "method": method}, ["data"])
    return request, _object({"predict": _array(_ANY)}, [])


def _onnx(found: Interface) -> tuple[dict[str, Any], dict[str, Any]]:
    inputs = _object({each.name: _schema(each) for each in found.inputs}, [each.name for each in found.inputs])
    chosen = {"description": "Names of the outputs to answer.", "type": "array", "items": {"type": "string"}}
    request = _object({"inputs": inputs, "outputFilter": chosen}, ["inputs"])
    request["description"] = "Or `data` in place of `inputs`, or tensors as ONNX Runtime Server's JSON writes them."
    outputs = _object({each.name: _schema(each) for each in found.outputs}, [])
    return _with_example(request, found, "inputs"), _object({"outputs": outputs}, ["outputs"])


def _tensorflow(found: Interface) -> tuple[dict[str, Any], dict[str, Any]]:
    inputs = _object({each.name: _schema(each) for each in found.inputs}, [])
    name = {"type": "string", "default": "serving_default"}
    request = _object({"instances": _array(_ANY), "inputs": inputs, "signature_name": name}, [])
    request["description"] = "Rows in `instances`, or columns in `inputs`, as TensorFlow Serving takes them."
    return _with_example(request, found, "inputs"), _object({"predictions": _array(_ANY), "outputs": _ANY}, [])


def _mlflow(found: Interface) -> tuple[dict[str, Any], dict[str, Any]]:
    split = _object({"columns": _array({"type": "string"}), "data": _array(_array(_ANY))}, ["columns", "data"])
    forms = {"dataframe_split": split, "dataframe_records": _array({"type": "object"}), "instances": _ANY}
    request = _object({**forms, "inputs": _ANY, "input_data": _ANY, "params": {"type": "object"}}, [])
    request["description"] = "One of dataframe_split, dataframe_records, instances, inputs and input_data."
    if found.inputs and all(each.name and each.shape == () for each in found.inputs):
        row = [_example(each) for each in found.inputs]
        request["example"] = {"dataframe_split": {"columns": [each.name for each in found.inputs], "data": [row]}}
    elif found.inputs and all(each.name for each in found.inputs):
        request = _with_example(request, found, "inputs")
    return request, _object({"predictions": _ANY}, ["predictions"])


def _object(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    found = {"type": "object", "properties": properties}
    return {**found, "required": required} if required else found


def _array(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _schema(port: Port) -> dict[str, Any]:
    """Return the schema of a port's values: lists in lists, with the lengths that are fixed."""
    if port.shape is None or not port.kind:
        return {}
    found: dict[str, Any] = {"type": port.kind}
    for length in reversed(port.shape):
        found = _array(found)
        if length is not None:
            found |= {"minItems": length, "maxItems": length}
    return found


def _with_example(request: dict[str, Any], found: Interface, field: str) -> dict[str, Any]:
    if any(each.shape is None or not each.kind or _size(each) > _MAX_EXAMPLE for each in found.inputs):
        return request
    return {**request, "example": {field: {each.name: _example(each) for each in found.inputs}}}


def _size(port: Port) -> int:
    return math.prod(length or 1 for length in port.shape or ())


def _example(port: Port) -> Any:
    value = _EXAMPLES.get(port.kind)
    for length in reversed(port.shape or ()):
        value = [value] * (length or 1)
    return value


# --- the documents ----------------------------------------------------------------------------------------------------

_HEALTH = "The service is up."
_SCORED = "The model's answer."
_REFUSED = "What is wrong with the request, in one sentence."
_MESSAGE = {"type": "object", "properties": {"message": {"type": "string"}}}


def _info(spec: Spec) -> dict[str, Any]:
    return {"title": spec.name, "description": spec.description or f"The model {spec.name}.", "version": spec.version}


def _swagger2(spec: Spec, request: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    def response(description: str, name: str) -> dict[str, Any]:
        return {"description": description, "schema": {"$ref": f"#/definitions/{name}"}}

    body = {"name": "body", "in": "body", "required": True, "schema": {"$ref": "#/definitions/ServiceInput"}}
    score = {
        "operationId": "RunMLService",
        "consumes": ["application/json"],
        "produces": ["application/json"],
        "parameters": [body],
        "responses": {"200": response(_SCORED, "ServiceOutput"), "400": response(_REFUSED, "ErrorResponse")},
    }
    health = {"operationId": "ServiceHealthCheck", "responses": {"200": {"description": _HEALTH}}}
    return {
        "swagger": "2.0",
        "info": _info(spec),
        "paths": {HEALTH_PATH: {"get": health}, SCORE_PATH: {"post": score}},
        "definitions": {"ServiceInput": request, "ServiceOutput": answer, "ErrorResponse": _MESSAGE},
    }


def _openapi(spec: Spec, request: dict[str, Any], answer: dict[str, Any], version: str) -> dict[str, Any]:
    def content(name: str) -> dict[str, Any]:
        return {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}

    score = {
        "operationId": "RunMLService",
        "requestBody": {"required": True, "content": content("ServiceInput")},
        "responses": {
            "200": {"description": _SCORED, "content": content("ServiceOutput")},
            "400": {"description": _REFUSED, "content": content("ErrorResponse")},
        },
    }
    health = {"operationId": "ServiceHealthCheck", "responses": {"200": {"description": _HEALTH}}}
    return {
        "openapi": version,
        "info": _info(spec),
        "paths": {HEALTH_PATH: {"get": health}, SCORE_PATH: {"post": score}},
        "components": {"schemas": {"ServiceInput": request, "ServiceOutput": answer, "ErrorResponse": _MESSAGE}},
    }
