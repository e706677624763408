"""`AMLRequest` and `rawhttp` for scripts that are imported here; in an image they are those of the inference server."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

F = TypeVar("F", bound=Callable[..., object])


class AMLRequest:
    """A request as an entry script gets it; of Flask's type in an image."""


def rawhttp(function: F) -> F:
    """Mark a `run()` that takes the whole request; nothing calls it here."""
    return function
