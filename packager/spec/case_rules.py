"""What the types of the spec's `test:` section cannot say."""

from __future__ import annotations

import json
import re

import msgspec

from packager.errors import SpecError
from packager.spec import model as m
from packager.spec.cases import Case, Expect
from packager.spec.document import Document


def check_cases(spec: m.Spec, document: Document) -> None:
    """Refuse cases that share a name, have two bodies, or hold what JSON cannot.

    Raises:
        SpecError: the first thing found, with its file, line and field.
    """
    names = [case.name for case in spec.test]
    for index, case in enumerate(spec.test):
        field = f"test[{index}]"
        if names.index(case.name) != index:
            raise SpecError(
                f"the test {case.name!r} is given twice",
                where=document.at(f"{field}.name"),
                remedy="give each a name of its own",
            )
        _one_of(case, ("request", "text", "file", "form"), field, document)
        _one_of(case.expect, ("body", "text", "file"), f"{field}.expect", document)
        for name, value in (("request", case.request), ("expect.body", case.expect.body)):
            _is_json(value, f"{field}.{name}", document)
        for part, headers in (("headers", case.headers), ("expect.headers", case.expect.headers)):
            for header in headers:
                if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", header):
                    raise SpecError(f"{header!r} is no name of a header", where=document.at(f"{field}.{part}.{header}"))
        if case.form is not None and (not case.form or case.content_type):
            raise SpecError(
                "a form has its own content type" if case.form else "the form has no fields",
                where=document.at(f"{field}.{'content_type' if case.form else 'form'}"),
                remedy="remove `content_type:`; that of a file is `{file: …, content_type: …}`"
                if case.form
                else "form: {image: {file: cat.png}, title: a cat}",
            )
        bodies = (case.text, case.file, case.form)
        if case.content_type and case.request is msgspec.UNSET and bodies == (None, None, None):
            raise SpecError(
                "there is a content type and no body",
                where=document.at(f"{field}.content_type"),
                remedy="add `request:`, `text:` or `file:`",
            )


def _one_of(part: Case | Expect, fields: tuple[str, ...], field: str, document: Document) -> None:
    given = [name for name in fields if getattr(part, name) not in (None, msgspec.UNSET) or _is_null(part, name)]
    if len(given) > 1:
        raise SpecError(
            f"{' and '.join(given)} are two bodies", where=document.at(f"{field}.{given[1]}"), remedy="keep one of them"
        )


def _is_null(part: Case | Expect, name: str) -> bool:
    return name in ("request", "body") and getattr(part, name) is None


def _is_json(value: object, field: str, document: Document) -> None:
    if value is msgspec.UNSET:
        return
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        raise SpecError("JSON knows no such number", where=document.at(field), remedy="write null, or text") from None
