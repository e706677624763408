"""What can be sent to a service that was just started: `run` and `service deploy` show it."""

from __future__ import annotations

import os
from pathlib import Path

from packager.init.azure_files import is_sample
from packager.reference import Reference
from packager.serving.client import description
from packager.serving.example import Caller, Example, commands, example_of_case, example_of_description
from packager.spec.load import SpecFile

__all__ = ["Caller", "example_lines", "find_example", "spec_of"]


def spec_of(spec_file: SpecFile | None, reference: str | None) -> SpecFile | None:
    """Return the spec where an image is of its repository, or none was named; tests of another say nothing of it."""
    if spec_file is None or reference is None:
        return spec_file
    spec = spec_file.spec
    own, given = Reference.parse(spec.image.repository or spec.name), Reference.parse(reference)
    return spec_file if (own.registry, own.repository) == (given.registry, given.repository) else None


def find_example(spec_file: SpecFile | None, swagger_url: str, key: str | None = None) -> Example | None:
    """Return a request that the service takes: of the spec's tests, its own description, or a sample beside the spec.

    Args:
        spec_file: the spec; None where there is none.
        swagger_url: of the service's description, which is asked for.
        key: of the service.
    """
    folder = "" if spec_file is None else folder_from_here(spec_file.root)
    for case in () if spec_file is None else spec_file.spec.test:
        if found := example_of_case(case, folder):
            return found
    if found := example_of_description(description(swagger_url, key)):
        return found
    if spec_file is None:
        return None
    names = sorted(path.name for path in spec_file.root.iterdir() if is_sample(path.name) and path.is_file())
    return Example(file=f"{folder}/{names[0]}" if folder else names[0]) if names else None


def example_lines(
    caller: Caller, spec_file: SpecFile | None, swagger_url: str, key: str | None = None
) -> tuple[str, ...]:
    """Return what is said of how to ask a service: a request in two forms, or where one would be found.

    Args:
        caller: how the service is reached.
        spec_file: the spec; None where there is none.
        swagger_url: of the service's description.
        key: of the service.
    """
    example = find_example(spec_file, swagger_url, key)
    if example is None:
        shown, _ = commands(Example(file="FILE"), caller)
        return (f"to ask it: {shown}   (a request in `test:` of the spec is shown here in its place)",)
    shown, asked = commands(example, caller)
    return (f"try it: {shown}", f"    or: {asked}")


def folder_from_here(folder: Path) -> str:
    """Return the name of a folder from the current one; the whole path where that is shorter."""
    whole, relative = str(folder), os.path.relpath(folder)
    if relative == ".":
        return ""
    return min(relative, whole, key=len)
