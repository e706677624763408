"""Entry script for an MLflow model without code; packager made it.

A request is a JSON object with one of these, and the answer is `{"predictions": ...}`, as of MLflow's own server:

    {"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2]]}}      a table
    {"dataframe_records": [{"a": 1, "b": 2}]}                           a table
    {"instances": [[1, 2]]}    {"inputs": {"a": [1], "b": [2]}}         tensors, as TensorFlow Serving
    {"input_data": ...}                                                 Azure ML: a split table, records, or rows

"params" goes to the model with any of them.
"""

from __future__ import annotations

import os
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from packager_json import BadRequest, answered, first_line, parse, refused, shown

# The model's folder in AZUREML_MODEL_DIR.
MODEL = "@MODEL@"

FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs", "input_data")
KEYS = frozenset({*FORMS, "params"})
#: What a split table may have; pandas writes the index, too.
SPLIT = {"columns", "data", "index"}

model: Any = None
#: The columns that the model's signature names, with MLflow's types; empty where it names none.
columns: dict[str, str] = {}
#: Those of them that a request may leave out.
optional: set[str] = set()


def init() -> None:
    """Load the model. The server calls this once in each worker, before the first request."""
    global model, columns, optional
    model = mlflow.pyfunc.load_model(os.path.join(os.environ["AZUREML_MODEL_DIR"], MODEL))
    schema = model.metadata.get_input_schema()
    if schema is not None and schema.has_input_names() and not schema.is_tensor_spec():
        columns = {each.name: getattr(each.type, "name", "") for each in schema.inputs}
        optional = {each.name for each in schema.inputs if not getattr(each, "required", True)}


def run(data: str) -> Any:
    """Answer one request: data is its body, as text."""
    try:
        body = parse(data, KEYS)
        given = [name for name in FORMS if name in body]
        if len(given) != 1:
            raise BadRequest(f"the body has one of {', '.join(FORMS)}")
        values = READERS[given[0]](body[given[0]])
        params = body.get("params")
        if params is not None and not isinstance(params, dict):
            raise BadRequest("'params' is an object")
        try:
            result = model.predict(values, params=params) if params else model.predict(values)
        except (MlflowException, ValueError, TypeError) as error:
            raise BadRequest(f"the model does not take this data: {first_line(error)}") from error
    except BadRequest as problem:
        return refused(problem)
    return answered({"predictions": result})


def _split(table: Any) -> Any:
    if not isinstance(table, dict) or not {"columns", "data"} <= set(table) <= SPLIT:
        raise BadRequest('a split table is {"columns": [...], "data": [[...]]}')
    names, rows = table["columns"], table["data"]
    named = isinstance(names, list) and all(isinstance(name, (str, int)) for name in names)
    if not named or not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
        raise BadRequest("of a split table, 'columns' is a list of names and 'data' a list of rows")
    if any(len(row) != len(names) for row in rows):
        raise BadRequest(f"a row has not as many values as there are columns ({len(names)})")
    return _table(rows, names)


def _records(records: Any) -> Any:
    if not isinstance(records, list) or not all(isinstance(each, dict) for each in records):
        raise BadRequest("records are a list of objects")
    names = list(dict.fromkeys(name for record in records for name in record))
    return _table([[record.get(name) for name in names] for record in records], names)


def _table(rows: list[list[Any]], names: list[Any]) -> Any:
    if not rows:
        raise BadRequest("there are no rows")
    if columns:
        unknown = [each for each in names if each not in columns]
        missing = [each for each in columns if each not in names and each not in optional]
        if unknown:
            raise BadRequest(f"unknown column {shown(unknown[0])}; the model knows {', '.join(list(columns)[:20])}")
        if missing:
            raise BadRequest(f"the column {shown(missing[0])} is missing; null in it is a missing value")
    return _typed(pd.DataFrame(rows, columns=names))


def _typed(table: Any) -> Any:
    """Return a table with the signature's types where JSON has no word for them: 1 for a number, text for a time."""
    for name, kind in columns.items():
        if name not in table:
            continue
        try:
            if kind in ("double", "float") and table[name].dtype.kind in "iuO":
                table[name] = table[name].astype("float64" if kind == "double" else "float32")
            elif kind == "float":
                table[name] = table[name].astype("float32")
            elif kind == "integer" and table[name].dtype == "int64" and table[name].abs().max() < 2**31:
                table[name] = table[name].astype("int32")
            elif kind == "datetime":
                table[name] = pd.to_datetime(table[name])
        except (ValueError, TypeError, OverflowError) as error:
            raise BadRequest(f"the column {name!r} is {kind}: {first_line(error)}") from None
    return table


def _instances(rows: Any) -> Any:
    if not isinstance(rows, list) or not rows:
        raise BadRequest("the data is a list with at least one row")
    if columns and all(isinstance(row, list) for row in rows):
        return _split({"columns": list(columns), "data": rows})
    if not all(isinstance(row, dict) for row in rows):
        return _array(rows)
    names = list(dict.fromkeys(name for row in rows for name in row))
    if any(len(row) != len(names) for row in rows):
        raise BadRequest("the rows do not all name the same inputs")
    return _records(rows) if columns else {name: _array([row[name] for row in rows]) for name in names}


def _inputs(values: Any) -> Any:
    if not isinstance(values, dict):
        if columns:
            raise BadRequest(f"'inputs' is an object by column: {', '.join(list(columns)[:20])}")
        return _array(values)
    if columns:
        listed = {name: each if isinstance(each, list) else [each] for name, each in values.items()}
        if len({len(each) for each in listed.values()}) > 1:
            raise BadRequest("the inputs are not all of one length")
        return _table([list(row) for row in zip(*listed.values())], list(listed))
    return {name: _array(each) for name, each in values.items()}


def _input_data(value: Any) -> Any:
    if isinstance(value, dict):
        return _split(value) if {"columns", "data"} <= set(value) else _inputs(value)
    if isinstance(value, list) and value and all(isinstance(each, dict) for each in value):
        return _records(value)
    return _instances(value)


def _array(value: Any) -> Any:
    try:
        return np.array(value)
    except (ValueError, OverflowError):
        raise BadRequest("the lists are not all of one length") from None


READERS = {
    "dataframe_split": _split,
    "dataframe_records": _records,
    "instances": _instances,
    "inputs": _inputs,
    "input_data": _input_data,
}
