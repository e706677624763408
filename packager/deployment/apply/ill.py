"""A service that was deployed and is not well, told with its log."""

from __future__ import annotations

from packager.errors import ServiceError
from packager.serving.service import failed

_MORE_MEMORY = (
    "give it more (`service: {memory_limit: SIZE}` in the spec, or the limit in its file), or make the model smaller"
)


def ill(reason: str, log: str) -> ServiceError:
    """Return the error for a service that a platform runs and that does not serve.

    Args:
        reason: how it ended, or that it does not answer.
        log: of it.
    """
    return failed(reason, log, _MORE_MEMORY)
