"""What is declared in v1's words, laid out beside a workspace, and images of it; for the commands and the classes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from packager.builders.builder import BuildWish
from packager.spec.load import SpecFile
from packager.steps.declared import Declared, package_of, taking_turns
from packager.steps.reporting import SILENT, Reporter

#: Folder of the locks, by what they are of.
LOCKS = "locks"


@contextmanager
def laid(
    root: Path, declared: Declared, kind: str, *, place: str | None = None, reporter: Reporter = SILENT
) -> Iterator[SpecFile]:
    """Lay a package out and lock it, in its folder beside the workspace; nobody else remakes it meanwhile.

    Args:
        root: of all that is remembered beside the workspace.
        declared: what it is made of.
        kind: of the folder.
        place: name of the folder; the package's where None.
        reporter: is told what is done.

    Raises:
        PackagerError: see `packager.steps.declared.package_of`.
    """
    folder = root / kind / (place or declared.name)
    with taking_turns(folder):
        yield package_of(declared, folder, root / LOCKS, reporter=reporter)


def build_laid(spec_file: SpecFile, reference: str, *, reporter: Reporter = SILENT) -> None:
    """Build the image of a package that is laid out into the engine.

    Raises:
        PackagerError: see `packager.steps.build.build`.
    """
    from packager.steps.build import build

    build(spec_file, BuildWish(load=True, tags=(reference,)), reporter=reporter)
