#!/usr/bin/env python3
"""Write what of docs/reference/ follows from the code: spec and its schema, verbs, what they print as JSON, exit codes.

    scripts/reference_pages.py [--check] [FOLDER]

The spec's page is made of `packager schema`, the verbs' page of what `--help` shows. With --check nothing is written,
and it ends with 1 where a page is not what the code gives. Needs packager's own environment (`scripts/docs` makes one).
"""

from __future__ import annotations

import argparse
import inspect
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import click  # noqa: E402

from packager import errors  # noqa: E402
from packager.cli import cli  # noqa: E402
from packager.cli.examples import VERB_HELP, exit_codes  # noqa: E402
from packager.cli.run import one_port  # noqa: E402
from packager.spec.schema import json_schema  # noqa: E402
from packager.steps.outputs import OUTPUTS  # noqa: E402
from packager.steps.schema import schema  # noqa: E402

MADE = "<!-- Made by scripts/docs; edit what it is made of. -->"
Schema = dict[str, Any]


def spec_page(schema: Schema) -> str:
    """Return the page of the spec: a table for each of its parts, in the order in which they are met."""
    lines = [
        "# The spec",
        "",
        MADE,
        "",
        "For whoever writes a `packager.yaml`: every field, what may stand there, and what holds where it is left out.",
        "[The spec by example](../how-to/write-a-spec.md) has most of them in one file. `packager schema` prints",
        "[the JSON Schema](packager.spec.schema.json) that this page is made of, with the pattern and length of each",
        "text; editors take it. A field that is not here is an error with its line.",
    ]
    titles = _titles(schema)
    for part, title in titles.items():
        definition = schema["$defs"][part]
        lines += ["", f"## {title}", "", definition["description"], ""]
        lines += ["| field | type | default | |", "|---|---|---|---|"]
        for name, field in definition["properties"].items():
            default = "must be given" if name in definition["required"] else _default(field)
            lines.append(f"| `{name}` | {_cell(_kind(field, titles))} | {default} | {_cell(_description(field))} |")
    return "\n".join(lines) + "\n"


def _text(schema: Schema) -> str:
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _titles(schema: Schema) -> dict[str, str]:
    """Return each part's name in the schema → the path of the first field that holds it, breadth first."""
    titles = {"Spec": "`packager.yaml`"}
    waiting = [("Spec", "")]
    while waiting:
        part, path = waiting.pop(0)
        for name, field in schema["$defs"][part]["properties"].items():
            for reference, below in _references(field, path + name):
                if reference not in titles:
                    titles[reference] = f"`{below}`"
                    waiting.append((reference, f"{below}."))
    return titles


def _references(field: Schema, path: str) -> Iterator[tuple[str, str]]:
    if "$ref" in field:
        yield field["$ref"].rpartition("/")[2], path
    for choice in field.get("anyOf", ()):
        yield from _references(choice, path)
    if field.get("type") == "array":
        yield from _references(field["items"], f"{path}[]")
    if isinstance(field.get("additionalProperties"), dict):
        yield from _references(field["additionalProperties"], f"{path}.NAME")


def _kind(field: Schema, titles: dict[str, str]) -> str:
    """Return what may stand in a field, in Markdown."""
    if "$ref" in field:
        title = titles[field["$ref"].rpartition("/")[2]]
        return f"[{title}](#{slug(title)})"
    if "anyOf" in field:
        return " or ".join(_kind(choice, titles) for choice in field["anyOf"] if choice != {"type": "null"})
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    match field.get("type"):
        case "array":
            return f"list of {_kind(field['items'], titles)}"
        case "object" if isinstance(field.get("additionalProperties"), dict):
            return f"name → {_kind(field['additionalProperties'], titles)}"
        case "object":
            return "mapping"
        case "string":
            return "text"
        case "boolean":
            return "`true` or `false`"
        case "integer":
            return f"whole number{_bounds(field)}"
        case "number":
            return f"number{_bounds(field)}"
        case _:
            return "anything that JSON knows"


def _bounds(field: Schema) -> str:
    if "maximum" in field and "exclusiveMinimum" in field:
        return f" above {field['exclusiveMinimum']}, {field['maximum']} at most"
    if "maximum" in field:
        return f", {field['minimum']} to {field['maximum']}"
    if "exclusiveMinimum" in field:
        return f" above {field['exclusiveMinimum']}"
    return f", {field['minimum']} or more" if "minimum" in field else ""


def _default(field: Schema) -> str:
    value = field.get("default")
    if isinstance(value, list) and value:
        return ", ".join(f"`{each}`" for each in value)
    # Of a part, its own table says it.
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value}`" if isinstance(value, str | int | float) and value != "" else ""


def _description(field: Schema) -> str:
    """Return what a field's schema says of it, and what the schemas of its values say besides."""
    values = (field, *field.get("anyOf", ()), field.get("items"), field.get("additionalProperties"))
    texts = [value["description"] for value in values if isinstance(value, dict) and "description" in value]
    return " ".join(dict.fromkeys(texts))


def verbs_page(group: click.Group) -> str:
    """Return the page of the verbs: what `--help` says of each, and of the verbs below it."""
    lines = [
        "# Verbs",
        "",
        MADE,
        "",
        "For whoever knows what to do and looks for the option: every verb, as `packager VERB --help` has it. The",
        "guides say what the verbs are for, and [exit codes](exit-codes.md) what they end with. Results go to standard",
        "output, progress and warnings to standard error; `-q` silences progress, `--format json` gives data. Every",
        "verb has `-h` and `--help`, and `packager --version` prints the version.",
    ]
    for path, command in _commands(group, ("packager",)):
        lines += ["", f"{'#' * len(path)} {' '.join(path)}", "", *_usage(path, command), "", *_help(command)]
        rows = [_option(each) for each in command.params if isinstance(each, click.Option) and each.help]
        if rows:
            lines += ["", "| option | |", "|---|---|", *rows]
        lines += _examples(" ".join(path[1:]))
    return "\n".join(lines) + "\n"


def _commands(group: click.Group, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(group, info_name=" ".join(path))
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from _commands(command, (*path, name))


def _usage(path: tuple[str, ...], command: click.Command) -> list[str]:
    words = [*path, *(["[OPTION]…"] if any(isinstance(each, click.Option) for each in command.params) else [])]
    if isinstance(command, click.Group):
        words = [*path, "VERB", "…"]
    for argument in (each for each in command.params if isinstance(each, click.Argument)):
        name = (argument.metavar or (argument.name or "").upper()).replace("...", "…")
        name += "…" if argument.nargs == -1 and not name.endswith("…") else ""
        words.append(name if argument.required or name.startswith("[") else f"[{name}]")
    return ["```text", " ".join(words), "```"]


def _help(command: click.Command) -> list[str]:
    """Return the paragraphs of a command's help; those that click does not wrap are shown as they stand."""
    lines: list[str] = []
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        if paragraph.startswith("\b"):
            paragraph = f"```text\n{paragraph.removeprefix(chr(8)).strip(chr(10))}\n```"
        lines += ["", *paragraph.splitlines()] if lines else paragraph.splitlines()
    return lines


def _examples(verb: str) -> list[str]:
    """Return a verb's examples and exit codes, as `--help` has them."""
    if verb not in VERB_HELP:
        return []
    return ["", "```shell", *VERB_HELP[verb][0], "```", "", f"Exit codes: {exit_codes(verb)}."]


def _option(option: click.Option) -> str:
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    if not option.is_flag and not option.count:
        choices = option.type.choices if isinstance(option.type, click.Choice) else ()
        value = option.metavar or "|".join(map(str, choices)) or option.type.name.removesuffix(" range").upper()
        names = names.removesuffix("`") + f" {value}`"
    text = option.help or ""
    if option.show_default and option.default is not None:
        text += f" Default: `{option.default}`."
    if option.multiple and option.callback is not one_port and "repeatable" not in text:
        text += " May be repeated."
    return f"| {_cell(names)} | {_cell(text)} |"


def exit_codes_page() -> str:
    """Return the page of exit codes: one for each class of errors."""
    classes = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, Exception)]
    rows = []
    for each in sorted(classes, key=lambda error: error.exit_code):
        text = re.sub(r" \(exit code .*\)\.$", ".", (each.__doc__ or "").partition("\n")[0])
        rows.append(f"| {each.exit_code} | {each.exit_name} | `{each.__name__}` | {_cell(text)} |")
    return "\n".join(
        [
            "# Exit codes",
            "",
            MADE,
            "",
            "For whoever calls packager from a script or a pipeline: what a verb ended with. An error says what is",
            "wrong, where, and what to do; from Python it is an exception with the same `exit_code` and `exit_name`.",
            "",
            "| code | name | exception | when |",
            "|---|---|---|---|",
            "| 0 | | | Done. |",
            *rows,
            "| 130 | interrupted | | Interrupted: by Ctrl-C, SIGTERM or SIGHUP. Nothing half done is left behind. |",
            "",
            "With `--format json` an error is on standard output, too, where no result stands there already:",
            "",
            "```json",
            '{"format": "packager.error/1",',
            ' "error": {"kind": "SpecError", "exit_code": 2, "exit_name": "usage",',
            '           "message": "unknown key \'verison\'",',
            '           "file": "packager.yaml", "line": 2, "column": null, "field": "verison",',
            '           "remedy": "did you mean \'version\'?"}}',
            "```",
            "",
            "## By verb",
            "",
            "Any verb can end with 1 (a defect of packager's), with 6 (a disk that is full) and with 130, too.",
            "",
            "| verb | exit codes |",
            "|---|---|",
            *(f"| `{verb}` | {', '.join(map(str, codes))} |" for verb, (_, codes) in VERB_HELP.items()),
            "",
            "- A traceback is shown for what nobody expected alone; that is a defect of packager's.",
            "- `environment diff --exit-code` ends with 1 where anything moved, `lock --check` with 3 for a stale",
            "  lock, `build --verify` with 6 where the image is another, and `test` with 8 where an answer is wrong.",
            "- `environment run` ends with the exit code, or by the signal, of the program that it ran.",
            "- 75 may pass by itself (the network, a registry that answers with 5xx): try again.",
            "- A container that wants keys and has none ends with 78.",
            "",
        ]
    )


def outputs_page() -> str:
    """Return the page of what verbs print as JSON: a table for each, and for each part that is met in them."""
    lines = [
        "# What verbs print as JSON",
        "",
        MADE,
        "",
        "For whoever reads `--format json` from a program: the fields of every verb's result. A verb whose result is",
        "one thing for each of several (targets, images, findings, services) prints a list, also where there is one or",
        "none; every other prints an object. `packager schema NAME` prints the JSON Schema, with its version in the",
        "title; a version stays as long as fields are only added, so readers must pass over fields that they do not",
        "know.",
    ]
    parts: dict[str, Schema] = {}
    for name in OUTPUTS:
        found = schema(name)
        several = found.get("type") == "array"
        top = (found["items"] if several else found)["$ref"].rpartition("/")[2]
        parts |= {part: each for part, each in found["$defs"].items() if part != top}
        about = found["$defs"][top]
        lines += ["", f"## {name}", "", f"`{found['title']}`, {'a list of objects' if several else 'an object'}. "]
        lines[-1] += about["description"].strip()
        lines += ["", *_fields(about)]
    lines += ["", "## Parts", "", "What is met in several of them, or inside of one."]
    for part, about in sorted(parts.items()):
        lines += ["", f"### {part}", "", about["description"].strip(), "", *_fields(about)]
    return "\n".join(lines) + "\n"


def _fields(definition: Schema) -> list[str]:
    titles = {part: part for part in _all_references(definition["properties"])}
    rows = ["| field | type | |", "|---|---|---|"]
    for name, field in definition["properties"].items():
        kind = _kind(field, titles) + ("" if name in definition["required"] else "; not always there")
        if {"type": "null"} in field.get("anyOf", ()):
            kind += " or null"
        rows.append(f"| `{name}` | {_cell(kind)} | {_cell(_description(field))} |")
    return rows


def _all_references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"].rpartition("/")[2]
        for each in value.values():
            yield from _all_references(each)
    elif isinstance(value, list):
        for each in value:
            yield from _all_references(each)


def slug(title: str) -> str:
    """Return a heading's anchor, as Markdown's tools make it."""
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", title).strip().lower())


def _cell(text: str) -> str:
    return text.replace("\n", " ").replace("|", "\\|").replace("<", "&lt;")


def main() -> None:
    """Write the pages, or compare them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; end with 1 where a page is another")
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "docs/reference")
    options = parser.parse_args()
    pages = {
        "spec.md": spec_page(json_schema()),
        "verbs.md": verbs_page(cli),
        "exit-codes.md": exit_codes_page(),
        "json.md": outputs_page(),
        # What `packager schema` prints, for editors and CI of people who have no packager at hand.
        **{f"packager.{name}.schema.json": _text(schema(name)) for name in ("spec", "config")},
    }
    for name, text in pages.items():
        if not options.check:
            options.folder.mkdir(parents=True, exist_ok=True)
            (options.folder / name).write_text(text, encoding="utf-8")
    stale = [
        name
        for name, text in pages.items()
        if not (options.folder / name).is_file() or (options.folder / name).read_text(encoding="utf-8") != text
    ]
    if stale:
        sys.exit(f"{options.folder}: {', '.join(stale)}: not what the code gives now\n  to do: run scripts/docs")


if __name__ == "__main__":
    main()
