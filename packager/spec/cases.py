"""`test:` of the spec as values: requests to the packaged service, and what its answers must be."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from packager.contract import SCORE_PATH
from packager.spec.texts import PRINTABLE, PrintableText, RelativePath


class _Struct(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the parts of a case: frozen, by keyword, and without unknown keys."""


class Tolerance(_Struct, frozen=True):
    """How far numbers may be apart; either is enough.

    Attributes:
        absolute: an amount.
        relative: a part of the larger one.
    """

    absolute: Annotated[float, Meta(ge=0)] = 0.0
    relative: Annotated[float, Meta(ge=0)] = 0.0


class Expect(_Struct, frozen=True):
    """What an answer must be; at most one of body, text and file.

    Attributes:
        status: HTTP's.
        headers: those that it must have, with these values.
        body: the whole answer, as JSON; by default, it is not compared.
        text: the whole answer, as text.
        file: the whole answer, as JSON or bytes by the file's ending.
        tolerance: how far numbers of a JSON answer may be apart.
        schema: JSON Schema of the answer, inline or a file.
        contains: texts that must be in it.
        max_latency: the longest that the answer may take.
    """

    status: Annotated[int, Meta(ge=100, le=599)] = 200
    headers: dict[str, PrintableText] = {}
    body: Any = msgspec.UNSET
    text: str | None = None
    file: RelativePath | None = None
    tolerance: Annotated[float, Meta(ge=0)] | Tolerance = 0.0
    # Not RelativePath: msgspec 0.22 frees the pattern of such a union twice when the program ends.
    schema: dict[str, Any] | str | None = None
    contains: str | tuple[str, ...] = ()
    max_latency: Annotated[float, Meta(gt=0, description="Seconds.")] | None = None


class FormFile(_Struct, frozen=True):
    """A file in a field of a form.

    Attributes:
        file: a file with its content.
        content_type: the file's; by default, by its ending.
    """

    file: RelativePath
    content_type: PrintableText | None = None


class Case(_Struct, frozen=True):
    """One request to the packaged service, and its answer. At most one of request, text, file and form.

    Attributes:
        name: for people, and for reports.
        request: the body, as JSON; by default, there is none.
        text: the body, as text.
        file: a file with the body.
        form: fields of a form (multipart/form-data), each a text or `{file: …}`.
        content_type: the body's; by default, by its form.
        method: by default, POST with a body and GET without.
        path: where the request is sent.
        headers: besides those that follow from the body.
        key: send a key, where the image asks for one.
        expect: the answer.
    """

    name: Annotated[str, Meta(pattern=PRINTABLE, min_length=1, max_length=200)]
    request: Any = msgspec.UNSET
    text: str | None = None
    file: RelativePath | None = None
    form: dict[str, str | FormFile] | None = None
    content_type: PrintableText | None = None
    method: Annotated[str, Meta(pattern=r"^[A-Z]{1,20}(?!\n)$")] | None = None
    path: Annotated[str, Meta(pattern=r"^/[!-~]*(?!\n)$", description="With its query, such as /score?x=1.")] = (
        SCORE_PATH
    )
    headers: dict[str, PrintableText] = {}
    key: bool = True
    expect: Expect = Expect()
