"""Files that are no part of the image unless a script names them: those of `test:`, and specs of other packages."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from packager.context.starts import start_of
from packager.errors import SpecError
from packager.plan.named_files import NAMING, named_files
from packager.spec.cases import Case, FormFile
from packager.spec.document import parse_yaml
from packager.spec.load import is_spec
from packager.spec.model import Spec

_MAX_TEXT = 1 << 20
#: Without this line no file is parsed.
_VERSION = re.compile(rb"^version *:", re.MULTILINE)


def files_of_tests(spec: Spec) -> frozenset[str]:
    """Return the files that the tests of a spec send or compare with; paths relative to the folder of the spec."""
    found = (posixpath.normpath(path) for case in spec.test for path in _of_case(case))
    # A module may be both, and is imported without being named.
    return frozenset(each for each in found if not each.endswith(".py"))


def _of_case(case: Case) -> Iterator[str]:
    yield from filter(None, (case.file, case.expect.file))
    if isinstance(case.expect.schema, str):
        yield case.expect.schema
    yield from (part.file for part in (case.form or {}).values() if isinstance(part, FormFile))


def unnamed(paths: frozenset[str], files: Sequence[tuple[str, bytes]]) -> frozenset[str]:
    """Return those of some files, of tests or of other packages, that neither a script nor a configuration names.

    Args:
        paths: of these files, relative to the source directory.
        files: of the source directory: path, and absolute path.
    """
    there = {path for path, _ in files} & paths
    if not there:
        return frozenset()
    texts = ((path, start_of(full, _MAX_TEXT)) for path, full in files if path.endswith(NAMING) and path not in paths)
    return frozenset(there - named_files(there, texts))


def specs_among(files: Sequence[tuple[str, bytes]]) -> frozenset[str]:
    """Return the specs among the files of the source directory: each is another package's, and no part of this one."""
    yaml = ((path, full) for path, full in files if path.endswith((".yaml", ".yml")))
    return frozenset(path for path, full in yaml if _is_spec(start_of(full, _MAX_TEXT), path))


def _is_spec(data: bytes, path: str) -> bool:
    if not _VERSION.search(data):
        return False
    try:
        return is_spec(parse_yaml(data.decode(), Path(path)).data)
    except (SpecError, UnicodeDecodeError):
        return False  # no spec that could be read
