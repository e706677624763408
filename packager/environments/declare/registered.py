"""A registered environment: what its files ask."""

from __future__ import annotations

from pathlib import Path

import msgspec

from packager.environments.declare.conda_file import Parts, read_conda_file, requirements_parts
from packager.environments.declare.requirements_txt import RequirementsReader
from packager.errors import Location, SpecError
from packager.spec.laid import Laid
from packager.spec.load import SpecFile

CONDA_SUFFIXES = (".yml", ".yaml")

#: Names of a definition, the first that is there; the first of all is Azure ML v1's.
_DEFINITIONS = (
    *("conda_dependencies.yml", "environment.yml", "environment.yaml"),
    *("conda.yml", "conda.yaml", "requirements.txt"),
)


def registered_parts(spec_file: SpecFile) -> tuple[Laid, Parts]:
    """Return the registered environment of a spec, and what it asks.

    Raises:
        SpecError: it has no definition, or one that cannot be locked.
    """
    laid = spec_file.laid_environment
    assert laid is not None, "whoever reads an environment has seen to what is registered"
    file = definition_of(laid, spec_file.at("environment.registered"))
    if file.suffix in CONDA_SUFFIXES:
        parts = read_conda_file(laid.folder, laid.folder, file)
    else:
        reader = RequirementsReader(laid.folder, laid.folder)
        reader.read(file)
        parts = requirements_parts(reader)
    # Its files are not the user's: the lock has its digest.
    return laid, msgspec.structs.replace(parts, files=())


def definition_of(laid: Laid, where: Location) -> Path:
    """Return the file of a registered environment that says what is asked, relative to its folder.

    Raises:
        SpecError: it has none, or several of which none has a name that says so.
    """
    own = [Path(file.path) for file in laid.files]
    depth = min(len(path.parts) for path in own)
    # Beside it may be its locks, in a folder, and whatever else belongs to it.
    known = [path for path in own if len(path.parts) == depth and path.suffix in (*CONDA_SUFFIXES, ".txt", ".in")]
    named = [path for name in _DEFINITIONS for path in known if path.name == name]
    conda = [path for path in known if path.suffix in CONDA_SUFFIXES]
    known = conda if len(conda) == 1 else known  # one of conda's may include those of pip's
    if len(known) != 1 and not named:
        raise SpecError(
            f"the registered environment {laid.id} has {'no' if not known else 'more than one'} file that could be "
            "its definition",
            where=where,
            remedy=f"register it with one of {', '.join(_DEFINITIONS)}",
        )
    return (named or known)[0]
