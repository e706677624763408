"""The workers of a container's gunicorn, started anew in place: SIGHUP, as gunicorn documents it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from packager.serving.hosts.docker.container import RunningContainer
from packager.serving.service import GRACE, State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from docker.models.containers import Container

    from packager.serving.service import Mounted

#: Seconds between two looks at the workers.
_PAUSE = 0.08
#: Exit code of azureml-inference-server-http whose worker does not come up.
_NO_WORKER = 3


class Renewed(RunningContainer):
    """A container whose workers are new; it counts as ended once the engine had to start it again.

    Args:
        container: it.
        restarts: how often it was started again before.
    """

    def __init__(self, container: Container, restarts: int) -> None:
        super().__init__(container)
        self._restarts = restarts

    def state(self) -> State:
        """Return its state now."""
        state = super().state()
        if int(self.container.attrs.get("RestartCount") or 0) > self._restarts:
            return State(running=False, exit_code=_NO_WORKER, out_of_memory=state.out_of_memory)
        return state


def has_mounted(container: Container, mounts: Sequence[Mounted], below: str) -> bool:
    """Tell whether exactly these folders are mounted below a path of a container."""
    there = {
        (each.get("Source"), each.get("Destination"))
        for each in container.attrs.get("Mounts") or ()
        if each.get("Type") == "bind" and str(each.get("Destination")).startswith(f"{below}/")
    }
    wanted = {(str(each.folder), each.path) for each in mounts}
    return bool(wanted) and wanted == there


def renew_workers(container: Container, grace: float = GRACE) -> Renewed:
    """Let a container's workers end and others begin; return when none of the old ones is left.

    Args:
        container: it.
        grace: seconds for requests in flight.
    """
    old, end = workers(container), time.monotonic() + grace
    renewed = Renewed(container, int(container.attrs.get("RestartCount") or 0))
    container.kill("SIGHUP")
    while time.monotonic() < end and renewed.state().running and workers(container) & old:
        time.sleep(_PAUSE)
    return renewed


def workers(container: Container) -> set[str]:
    """Return the processes of a container but for its first one, by their numbers on the engine's machine."""
    import docker.errors

    try:
        listed = container.top(ps_args="-o pid,ppid")
    except docker.errors.APIError:
        return set()  # it ended meanwhile
    parents = dict(listed["Processes"])
    return {pid for pid, parent in parents.items() if parent in parents}
