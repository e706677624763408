"""`packager`: from a model, an entry script and an environment file to a locked, reproducible container image.

The steps of the command line are functions of this module; `packager.api` documents them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

__all__ = [
    "__version__", "archive", "bake", "build", "check", "export", "load_spec", "lock", "plan_image", "push", "render",
    "run", "save", "score", "verify",
]  # fmt: skip

if TYPE_CHECKING:
    from packager.api import (
        archive,
        bake,
        build,
        check,
        export,
        load_spec,
        lock,
        plan_image,
        push,
        render,
        run,
        save,
        score,
        verify,
    )  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import a step when it is asked for: `packager --help` must not pay for all of them (PEP 562)."""
    if name in __all__:
        from packager import api

        return getattr(api, name)
    raise AttributeError(f"module 'packager' has no attribute {name!r}")
