"""Files that packager itself wrote of a package: each is another one at every run, and says what the image holds.

They are known by what they are, whatever they are called; what people make of their own is never one of them.
"""

from __future__ import annotations

import os
import re

from packager.context.entries import BAKE_MARK
from packager.context.starts import start_of

#: A file of the digest alone, which `--iidfile` writes.
_IMAGE_ID = re.compile(rb"sha256:[0-9a-f]{64}\n?\Z")
_IMAGE_ID_SIZES = (71, 72)
_START = 1024

#: What each begins with, by the ends of their names.
_JSON = (
    # `build --metadata-file`, of one image and of several.
    rb'\{\s*(?:"[^"\\]*":\s*\{\s*)?"(?:containerimage\.|buildx\.)',
    # `model register --output-metadata-file`, in the form of az.
    rb'\{\s*"modelId":\s*"[^"\\]*",\s*"workspaceName":',
    # `schema`: of the spec, of the defaults, of a verb's JSON.
    rb'\{\s*"\$schema":\s*"[^"\\]*",\s*"title":\s*'
    rb'(?:"packager\.[a-z/0-9-]+"|"config\.yaml",\s*"\$ref":\s*"#/\$defs/Settings")',
    # `check --format sarif`.
    rb'\{\s*"\$schema":\s*"[^"\\]*sarif[^"\\]*",\s*"version":\s*"2\.1\.0",\s*"runs":\s*\[\s*\{\s*'
    rb'"tool":\s*\{\s*"driver":\s*\{\s*"name":\s*"packager"',
    # `--format json` of check, test, build and model profile: by their first keys.
    rb'\[\s*\{\s*"rule":\s*"[^"\\]*",\s*"severity":\s*"',
    rb'\[\s*\{\s*"image":\s*"[^"\\]*",\s*"target":\s*"[^"\\]*",\s*"platform":\s*"[^"\\]*",\s*"passed":',
    rb'\[\s*\{\s*"target":\s*"[^"\\]*",\s*"builder":\s*"',
    rb'\{\s*"name":\s*"[^"\\]*",\s*"description":\s*"[^"\\]*",\s*"image":\s*"[^"\\]*",\s*'
    rb'"target":\s*"[^"\\]*",\s*"platform":',
    # `bake`.
    rb'\{\s*"//":\s*"' + re.escape(BAKE_MARK.encode()),
)
_FORMS: dict[str, re.Pattern[bytes]] = {
    ".json": re.compile(b"|".join(_JSON)),
    # `test --junit`.
    ".xml": re.compile(rb'<\?xml[^>]*\?>\s*<testsuites name="packager test"'),
    # `report` and `model profile --plot`.
    ".html": re.compile(rb'<!DOCTYPE html>\s*<html[^>]*>\s*<head>\s*<meta name="generator" content="packager report">'),
    ".svg": re.compile(rb'<svg [^>]*data-made-by="packager model profile"'),
    # What is before its first text, the size of the picture, has 33 bytes.
    ".png": re.compile(rb"\x89PNG\r\n\x1a\n.{25}.{4}tEXtSoftware\0packager model profile", re.DOTALL),
    # `ci`; the lock of a package.
    ".yml": re.compile(rb"# Made by `packager ci [a-z]+`|# Made by packager, in the format of conda-lock"),
    ".txt": re.compile(rb"# Made by packager; do not edit: `packager lock`"),
    ".lock": re.compile(
        rb'\{\s*(?:"changed":\s*"[^"\\]*",\s*)?"inputs":\s*\{\s*'
        rb'(?:"[^"\\]*":\s*"sha256:|\},\s*"(?:registered|targets)":)'
    ),
}
_SAME = {".sarif": ".json", ".htm": ".html", ".yaml": ".yml"}
#: `render` and what a bake file's folder has.
_DOCKERFILE = re.compile(rb"# [^\n]{1,600}\. Made by packager; edit the spec, not this file\.")


def is_written(path: bytes, size: int) -> bool:
    """Whether a file is what a verb of packager wrote: a report, results of tests, a plot, a pipeline, metadata.

    Args:
        path: of the file.
        size: bytes.
    """
    name = os.path.basename(path).decode("utf-8", "replace")
    suffix = os.path.splitext(name)[1].lower()
    suffix = _SAME.get(suffix, suffix)
    if suffix in _FORMS:
        return _FORMS[suffix].match(start_of(path, _START)) is not None
    if "Dockerfile" in name:
        return _DOCKERFILE.match(start_of(path, _START)) is not None
    return size in _IMAGE_ID_SIZES and _IMAGE_ID.match(start_of(path, _START)) is not None
