"""The spec's `test:` section → requests with the answers that they must get; all files are read before the start."""

from __future__ import annotations

import json
import mimetypes
from pathlib import Path
from typing import Any

import msgspec

from packager.errors import ContextError, SpecError
from packager.given import read_given
from packager.serving.matching import Expected, schema_errors
from packager.serving.multipart import Part, encode
from packager.similar import meant
from packager.spec.cases import Case, FormFile, Tolerance
from packager.spec.load import SpecFile

# The machine's own table would make the same spec send different types on different machines.
_TYPES = mimetypes.MimeTypes()


#: Bytes of a file of a test; it is held in memory, as the request that it becomes is in the server.
MAX_FILE = 256 << 20


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """One test, ready to be sent.

    Attributes:
        name: unique in the spec.
        method: of HTTP.
        path: with its query.
        headers: of the request.
        body: of the request; None for none.
        key: it is sent with a key, where the image asks for one.
        expected: the answer.
    """

    name: str
    method: str
    path: str
    headers: dict[str, str]
    body: bytes | None
    expected: Expected
    key: bool = True


def prepare(spec_file: SpecFile) -> tuple[Prepared, ...]:
    """Return the tests of a spec with their files read.

    Raises:
        ContextError: a file is missing or cannot be read.
        SpecError: a file or a schema is not what it should be.
    """
    return tuple(_prepare(case, f"test[{index}]", spec_file) for index, case in enumerate(spec_file.spec.test))


def _prepare(case: Case, field: str, spec_file: SpecFile) -> Prepared:
    body, content_type = _body(case, field, spec_file)
    headers = dict(case.headers)
    if body is not None and not any(name.lower() == "content-type" for name in headers):
        headers["Content-Type"] = case.content_type or content_type
    return Prepared(
        name=case.name,
        method=case.method or ("GET" if body is None else "POST"),
        path=case.path,
        headers=headers,
        body=body,
        key=case.key,
        expected=_expected(case, f"{field}.expect", spec_file),
    )


def _body(case: Case, field: str, spec_file: SpecFile) -> tuple[bytes | None, str]:
    if case.request is not msgspec.UNSET:
        return json.dumps(case.request).encode(), "application/json"
    if case.text is not None:
        return case.text.encode(), "text/plain; charset=utf-8"
    if case.file is not None:
        body, kind = _read(case.file, f"{field}.file", spec_file), _type_of(case.file)
        # What is not JSON may be sent on purpose: the service has to refuse it then.
        if (case.content_type or kind) == "application/json" and case.expect.status < 400:
            _json(body, f"{field}.file", spec_file, of=case.file)
        return body, kind
    if case.form is not None:
        return encode([_part(name, part, f"{field}.form.{name}", spec_file) for name, part in case.form.items()])
    return None, ""


def _part(name: str, given: str | FormFile, field: str, spec_file: SpecFile) -> Part:
    if isinstance(given, str):
        return Part(name=name, content=given.encode())
    kind = given.content_type or _type_of(given.file)
    return Part(name=name, content=_read(given.file, field, spec_file), file=given.file, content_type=kind)


def _type_of(file: str) -> str:
    return _TYPES.guess_type(file)[0] or "application/octet-stream"


def _expected(case: Case, field: str, spec_file: SpecFile) -> Expected:
    expect = case.expect
    value: Any = expect.body
    body = expect.text.encode() if expect.text is not None else None
    if expect.file is not None:
        body = _read(expect.file, f"{field}.file", spec_file)
        if expect.file.endswith(".json"):
            value, body = _json(body, f"{field}.file", spec_file, of=expect.file), None
    near = expect.tolerance if isinstance(expect.tolerance, Tolerance) else Tolerance(absolute=expect.tolerance)
    return Expected(
        status=expect.status,
        headers=expect.headers,
        json=value,
        body=body,
        absolute=near.absolute,
        relative=near.relative,
        schema=_schema(expect.schema, f"{field}.schema", spec_file),
        contains=(expect.contains,) if isinstance(expect.contains, str) else expect.contains,
        max_latency=expect.max_latency,
    )


def _schema(given: dict[str, Any] | str | None, field: str, spec_file: SpecFile) -> dict[str, Any] | None:
    if given is None:
        return None
    schema = _json(_read(given, field, spec_file), field, spec_file, of=given) if isinstance(given, str) else given
    if not isinstance(schema, dict):
        raise SpecError(f"{given} is not a JSON Schema but another value", where=spec_file.at(field))
    from jsonschema.exceptions import SchemaError
    from jsonschema.validators import Draft202012Validator, validator_for
    from referencing.exceptions import Unresolvable

    try:
        validator_for(schema, default=Draft202012Validator).check_schema(schema)
        list(schema_errors(None, schema))
    except SchemaError as error:
        raise SpecError(f"the schema is not a JSON Schema: {error.message}", where=spec_file.at(field)) from None
    except Unresolvable as error:
        raise SpecError(
            f"the JSON Schema refers to {error.ref}, which is not in it",
            where=spec_file.at(field),
            remedy="nothing is fetched: put the definition into the schema, under $defs",
        ) from None
    return schema


def _json(text: bytes, field: str, spec_file: SpecFile, of: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SpecError(
            f"{of!r} is not JSON: {error}",
            where=spec_file.at(field),
            remedy="mend it; what the service has to refuse is sent with `expect: {status: 400}`",
        ) from None


def _read(path: str, field: str, spec_file: SpecFile) -> bytes:
    file: Path = spec_file.root / path
    try:
        return read_given(file, MAX_FILE, spec_file.root)
    except OSError as error:
        raise ContextError(
            f"{path!r} cannot be read: {error.strerror}",
            where=spec_file.at(field),
            remedy=meant(spec_file.root, path)
            or "files of tests are regular files in the folder of the spec, named relative to it",
        ) from None
