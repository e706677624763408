"""Entry script for a scikit-learn model without code; packager made it.

A request is a JSON object, and its answer `{"predict": [...]}`, by the name of the method:

    {"data": [[1.5, 2], [3, 4]]}                            rows; a row alone, as [1.5, 2], is one of them
    {"data": [{"age": 41, "sex": "f"}]}                     records, for a model that knows the names of its columns
    {"data": {"age": [41], "sex": ["f"]}}                   the same by column; also as pandas' to_json writes it
    {"columns": ["age", "sex"], "data": [[41, "f"]]}        the same as pandas splits a table; also inside "data"
    {"data": [[1.5, 2]], "method": "predict_proba"}         another method of the model
"""

from __future__ import annotations

import os
from typing import Any

import joblib
import numpy as np
import pandas as pd
from packager_json import BadRequest, answered, depth_of, first_line, parse, refused, shown

# The model's file in AZUREML_MODEL_DIR.
MODEL = "@MODEL@"

#: What a request may call; nothing that changes the model.
METHODS = (
    "predict",
    "predict_proba",
    "predict_log_proba",
    "decision_function",
    "score_samples",
    "transform",
    "inverse_transform",
    "apply",
)
KEYS = frozenset({"data", "columns", "method"})
SPLIT = {"columns", "data"}

model: Any = None


def init() -> None:
    """Load the model. The server calls this once in each worker, before the first request."""
    global model
    model = joblib.load(os.path.join(os.environ["AZUREML_MODEL_DIR"], MODEL))


def run(data: str) -> Any:
    """Answer one request: data is its body, as text."""
    try:
        body = parse(data, KEYS)
        method = body.get("method", "predict")
        function = _method(method)
        rows = _rows(body)
        try:
            result = function(rows)
        except (ValueError, TypeError, AttributeError) as error:
            # By these, scikit-learn says that it cannot take its input: text for numbers, a missing value, no text.
            raise BadRequest(f"the model does not take this data: {first_line(error)}") from error
    except BadRequest as problem:
        return refused(problem)
    return answered({method: result})


def _method(name: Any) -> Any:
    known = [each for each in METHODS if hasattr(model, each)]
    if name not in known:
        raise BadRequest(f"the model has no method {shown(name)}; it has {', '.join(known)}")
    return getattr(model, name)


def _rows(body: dict[str, Any]) -> Any:
    """Return the rows of a request: a table where the model or the request names columns, else an array or texts."""
    if "data" not in body:
        raise BadRequest("'data' is missing: a list of rows")
    data: Any = body["data"]
    columns = body.get("columns")
    if isinstance(data, dict):
        if columns is None and set(data) - {"index"} == SPLIT and isinstance(data["data"], list):
            data, columns = data["data"], data["columns"]
        else:
            data = _records_of(data)
    if not isinstance(data, list) or not data:
        raise BadRequest("'data' is a list with at least one row")
    if all(isinstance(each, dict) for each in data):
        if columns is not None:
            raise BadRequest("records name their columns themselves: leave 'columns' out")
        return _of_records(data)
    if any(isinstance(each, dict) for each in data):
        raise BadRequest("some rows are records and some are not")
    return _of_lists(data, columns)


def _records_of(data: dict[str, Any]) -> list[Any]:
    """Return the records of an object: it is one, or a table by column, as pandas' to_json and to_dict write it."""
    columns = list(data.values())
    if not columns or not all(isinstance(each, dict) for each in columns):
        if not columns or not all(isinstance(each, list) for each in columns):
            return [data]
        columns = [dict(enumerate(each)) for each in columns]
    rows = columns[0]
    if any(each.keys() != rows.keys() for each in columns):
        raise BadRequest("the columns do not all have the same rows")
    return [{name: each[row] for name, each in zip(data, columns)} for row in rows]


def _names() -> list[str] | None:
    found = getattr(model, "feature_names_in_", None)
    return None if found is None else [str(each) for each in found]


def _width() -> int | None:
    found = getattr(model, "n_features_in_", None)
    return None if found is None else int(found)


def _of_records(records: list[dict[str, Any]]) -> Any:
    columns = list(dict.fromkeys(name for record in records for name in record))
    return _table([[record.get(name) for name in columns] for record in records], columns)


def _of_lists(rows: list[Any], columns: Any) -> Any:
    width = _width()
    nested = [isinstance(each, list) for each in rows]
    if not any(nested):
        if width is None:
            return rows  # a list of texts, for a model that makes its own features of them
        if len(rows) != width:
            raise BadRequest(
                f"'data' is a row of {len(rows)} values, and the model takes {width}; several rows are lists"
            )
        rows = [rows]
    elif not all(nested):
        raise BadRequest("some rows are lists and some are not")
    if columns is not None:
        return _table(rows, columns)
    names = _names()
    wanted = width if width is not None else len(rows[0])
    for index, row in enumerate(rows):
        if len(row) != wanted:
            raise BadRequest(
                f"row {index} has {len(row)} values, and {'the model takes' if width else 'row 0 has'} {wanted}"
            )
    return _table(rows, names) if names is not None else _array(rows)


def _table(rows: list[list[Any]], columns: Any) -> Any:
    names = _names()
    if not isinstance(columns, list) or not all(isinstance(each, str) for each in columns):
        raise BadRequest("'columns' is a list of names")
    if len(set(columns)) != len(columns):
        raise BadRequest("'columns' names one column twice")
    if any(isinstance(value, dict) for row in rows for value in row):
        raise BadRequest("a value in a row is a number or a text, not an object")
    if any(len(row) != len(columns) for row in rows):
        raise BadRequest(f"a row has not as many values as there are columns ({len(columns)})")
    if names is None:
        raise BadRequest("the model was not fitted with names of columns: send rows as lists")
    unknown = [each for each in columns if each not in names]
    missing = [each for each in names if each not in columns]
    if unknown:
        raise BadRequest(f"unknown column {shown(unknown[0])}; the model knows {', '.join(names[:20])}")
    if missing:
        raise BadRequest(f"the column {shown(missing[0])} is missing; null in it is a missing value")
    return pd.DataFrame(rows, columns=columns)[names]


def _array(rows: list[list[Any]]) -> Any:
    if depth_of(rows) != 2 or any(isinstance(value, (list, dict)) for row in rows for value in row):
        raise BadRequest("a value in a row is a number or a text, not a list or an object")
    numbers = all(value is None or isinstance(value, (int, float)) for row in rows for value in row)
    if not numbers:
        return np.array(rows, dtype=object)
    try:
        if any(value is None or isinstance(value, float) for row in rows for value in row):
            return np.array(rows, dtype=float)
        whole = np.array(rows)
        return whole.astype(float) if whole.dtype == object else whole
    except OverflowError:
        raise BadRequest("a number is too large") from None
