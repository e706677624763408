"""A package, laid down on this machine: what is started without Docker."""

from __future__ import annotations

from glob import glob
from pathlib import Path

from packager.errors import UsageError
from packager.plan.plan import Plan
from packager.serving.hosts.process.places import differences
from packager.serving.service import Package, Request


class LocalPackage(Package, frozen=True, kw_only=True):
    """A package that was planned for this machine, with its environment laid down.

    Attributes:
        plan: of the image that it would be.
        root: the folder of the spec.
        spec: of which it is made again by an update.
        prefix: the locked environment.
        held: descriptor that keeps `store gc` from the environment; the server inherits it.
    """

    plan: Plan
    root: Path
    spec: Path
    prefix: Path
    held: int

    @property
    def note(self) -> str:
        """In one sentence what is not as in the image."""
        return differences(self.plan)


class PackageRequest(Request, frozen=True, kw_only=True):
    """A server of a package on this machine."""

    package: LocalPackage


def require_devices(plan: Plan) -> None:
    """Refuse a target whose devices this machine lacks.

    Raises:
        UsageError: it lacks one.
    """
    # NVIDIA's driver makes this file for whatever it runs on.
    wanted = (*plan.machine.devices, *(("/dev/nvidiactl",) if plan.machine.gpus else ()))
    missing = next((each for each in wanted if not glob(each)), None)
    if missing is not None:
        raise UsageError(
            f"the target {plan.target!r} asks for the device {missing}, and this machine has none",
            remedy="run it where the device is, or start it without: --no-devices",
        )
