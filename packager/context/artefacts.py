"""The artefacts of a target, looked at before anything is built: whether a file is what its name says."""

from __future__ import annotations

from packager.errors import ContextError
from packager.plan.plan import Plan
from packager.spec.load import SpecFile
from packager.targets import Target


def check_artefacts(spec_file: SpecFile, target: Target, plan: Plan) -> None:
    """Read the first bytes of each artefact whose format has a mark.

    Raises:
        ContextError: a file has the suffix of an artefact and not its first bytes.
    """
    for kind in (each for each in target.artefacts if each.magic):
        found = (file for layer in (*plan.models, *plan.volumes) for file in layer.tree.files)
        for file in (each for each in found if each.path.endswith(kind.suffix)):
            expected = kind.magic.encode()
            with (spec_file.root / file.origin).open("rb") as stream:
                start = stream.read(len(expected))
            if start != expected:
                raise ContextError(
                    f"{file.origin!r} is no {kind.title}: it does not start with {kind.magic!r}",
                    remedy=f"give the {kind.suffix} that the vendor's tools wrote; a download may not be complete",
                )
