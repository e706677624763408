"""The files of a spec's `test:`: requests and answers, which are no part of the image unless a script names them."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence

from packager.context.starts import start_of
from packager.plan.named_files import NAMING, named_files
from packager.spec.model import Case, FormFile, Spec

_MAX_TEXT = 1 << 20


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


def tests_alone(paths: frozenset[str], files: Sequence[tuple[str, bytes]]) -> frozenset[str]:
    """Return those of some files of tests that neither a script nor a configuration names.

    Args:
        paths: of files of tests, relative to the source directory.
        files: of the source directory: path, and absolute path.
    """
    there = {path for path, _ in files} & paths
    if not there:
        return frozenset()
    texts = ((path, start_of(full, _MAX_TEXT)) for path, full in files if path.endswith(NAMING) and path not in paths)
    return frozenset(there - named_files(there, texts))
