"""`packager`: from a model, an entry script and an environment file to a locked, reproducible container image.

Each verb of the command line is a function here, and does what the verb does, with every check and guarantee:

    import packager

    spec_file = packager.load_spec("packager.yaml")
    packager.lock(spec_file)
    for finding in packager.check(spec_file):
        print(finding)
    planned = packager.plan_image(spec_file, "cpu")
    packager.save(planned, "context")
    (image,) = packager.build(spec_file, push=True)
    print(image.digest)

Every function raises a `packager.errors.PackagerError`; its `exit_code` is that of the command line.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

__all__ = [
    "BuildWish", "DeployWish", "Workspace", "__version__", "archive", "bake", "batch", "build", "check", "ci",
    "compare", "deploy", "diff", "export", "load_spec", "lock", "plan_image", "push", "render", "report", "run", "save",
    "score", "take_over", "test", "tree", "verify", "watch", "why",
]  # fmt: skip

if TYPE_CHECKING:
    from packager.builders.builder import BuildWish
    from packager.spec.load import load_spec
    from packager.steps.bake import bake
    from packager.steps.batch import batch
    from packager.steps.build import build, compare
    from packager.steps.check import check
    from packager.steps.ci import ci
    from packager.steps.dependencies import tree, why
    from packager.steps.deploy import DeployWish, deploy
    from packager.steps.diff import diff
    from packager.steps.export import export
    from packager.steps.lock import lock
    from packager.steps.plan import plan_image
    from packager.steps.push import push
    from packager.steps.report import report
    from packager.steps.run import run
    from packager.steps.save import archive, render, save
    from packager.steps.score import score
    from packager.steps.taking_over import take_over
    from packager.steps.test import test
    from packager.steps.verify import verify
    from packager.steps.watch import watch
    from packager.steps.workspace import Workspace

#: Name → module that has it, where the module is not `packager.steps.<name>`.
_ELSEWHERE = {
    "BuildWish": "packager.builders.builder",
    "DeployWish": "packager.steps.deploy",
    "Workspace": "packager.steps.workspace",
    "archive": "packager.steps.save",
    "compare": "packager.steps.build",
    "load_spec": "packager.spec.load",
    "plan_image": "packager.steps.plan",
    "render": "packager.steps.save",
    "take_over": "packager.steps.taking_over",
    "tree": "packager.steps.dependencies",
    "why": "packager.steps.dependencies",
}


def __getattr__(name: str) -> Any:
    """Import a step when it is asked for: `packager --help` must not pay for all of them (PEP 562)."""
    if name in __all__:
        return getattr(import_module(_ELSEWHERE.get(name, f"packager.steps.{name}")), name)
    raise AttributeError(f"module 'packager' has no attribute {name!r}")
