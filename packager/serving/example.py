"""One request that can be sent as it stands: what is known of one → the commands that send it. Pure."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

import msgspec

from packager.contract import SCORE_PATH
from packager.spec.cases import Case, FormFile

#: Characters of a body that is written into a command; people read it, and copy it.
MAX_INLINE = 300

_JSON = "application/json"
#: What `packager score --data` takes for JSON as it stands.
_INLINE = ("{", "[", '"')


class Example(msgspec.Struct, frozen=True, kw_only=True):
    """A request.

    Attributes:
        text: its body, where that is short; None for a file or a form.
        file: that holds its body, as it is named from here.
        form: fields, each a text or `@FILE`.
        headers: beside `Content-Type: application/json`.
    """

    text: str | None = None
    file: str | None = None
    form: tuple[tuple[str, str], ...] = ()
    headers: dict[str, str] = {}


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """How a service is reached.

    Attributes:
        url: its /score.
        service: its name, where it is a named one.
        key_command: prints a key of it; empty where its requests need none.
    """

    url: str
    service: str | None = None
    key_command: str = ""


def example_of_case(case: Case, folder: str) -> Example | None:
    """Return the request of a test, where it is one to /score that is meant to succeed, and can be shown.

    Args:
        case: the test.
        folder: of the spec, as it is named from here; empty for this one.
    """
    if case.path.partition("?")[0] != SCORE_PATH or case.method not in (None, "POST") or case.expect.status != 200:
        return None
    headers = dict(case.headers)
    if case.content_type:
        headers = {"Content-Type": case.content_type} | headers
    if case.file is not None:
        return Example(file=_below(folder, case.file), headers=headers)
    if case.form is not None:
        fields = ((name, part) for name, part in case.form.items())
        form = tuple((n, f"@{_below(folder, p.file)}" if isinstance(p, FormFile) else p) for n, p in fields)
        return None if case.content_type else Example(form=form, headers=headers)
    if case.text is not None:
        return _short(case.text, {"Content-Type": "text/plain; charset=utf-8"} | headers)
    return None if case.request is msgspec.UNSET else _short(_compact(case.request), headers)


def example_of_description(document: Any) -> Example | None:
    """Return the example that a service's own description has (Swagger 2, OpenAPI 3); None where it has none."""
    for path in (("definitions",), ("components", "schemas")):
        schema: Any = document
        for step in (*path, "ServiceInput"):
            schema = schema.get(step) if isinstance(schema, dict) else None
        found = schema.get("example") if isinstance(schema, dict) else None
        # That of a parameter of which nothing is known is an empty text.
        if found and not (isinstance(found, dict) and all(value == "" for value in found.values())):
            return _short(_compact(found), {})
    return None


def commands(example: Example, caller: Caller) -> tuple[str, str]:
    """Return the commands that send a request: `packager score …`, and one for curl.

    Args:
        example: the request.
        caller: how the service is reached.
    """
    ours = ["packager", "score", *(("--service", caller.service) if caller.service else ("--url", caller.url))]
    curl = ["curl"]
    for name, value in example.headers.items():
        ours += ["--header", f"{name}: {value}"]
    headers: Mapping[str, str] = example.headers
    if not example.form and not any(name.lower() == "content-type" for name in headers):
        headers = {"Content-Type": _JSON} | dict(headers)
    for name, value in headers.items():
        curl += ["-H", f"{name}: {value}"]
    if example.form:
        for name, value in example.form:
            ours += ["--form", f"{name}={value}"]
            # `-F` takes `<` and `;` in a text for something else.
            curl += ["-F" if value.startswith("@") else "--form-string", f"{name}={value}"]
    elif example.file is not None:
        ours += ["--data", f"@{example.file}" if example.file.startswith((*_INLINE, "-", "@")) else example.file]
        curl += ["--data-binary", f"@{example.file}"]
    else:
        text = example.text or ""
        # What is neither an object, an array nor a string of JSON could be the name of a file.
        ours += ["--data", text if text.startswith(_INLINE) else "-"]
        curl += ["--data-binary", text]
    piped = ours[-2:] == ["--data", "-"]
    shown, asked = shlex.join(ours), shlex.join(curl)
    if caller.key_command:
        # Within double quotes the shell puts in what the command prints.
        shown += "" if caller.service else f' --key "$({caller.key_command})"'
        asked += f' -H "Authorization: Bearer $({caller.key_command})"'
    shown = f"printf %s {shlex.quote(example.text or '')} | {shown}" if piped else shown
    return shown, f"{asked} {shlex.quote(caller.url)}"


def _below(folder: str, file: str) -> str:
    return f"{folder}/{file}" if folder else file


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _short(text: str, headers: dict[str, str]) -> Example | None:
    # A line break or another control character cannot be copied from a terminal.
    return Example(text=text, headers=headers) if len(text) <= MAX_INLINE and text.isprintable() else None
