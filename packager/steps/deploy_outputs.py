"""What `deploy` prints with `--format json`; see `packager.steps.outputs`."""

from __future__ import annotations

from pathlib import Path

import msgspec

from packager.steps.deploy import Deployed
from packager.steps.output import Output

#: What `deploy` returns, with every field there and its folder as text.
DeployedTo = msgspec.defstruct(
    "DeployedTo",
    [(each.name, str if each.type is Path else each.type) for each in msgspec.structs.fields(Deployed)],
    bases=(Output,),
    namespace={"__doc__": Deployed.__doc__},
    frozen=True,
    kw_only=True,
)
