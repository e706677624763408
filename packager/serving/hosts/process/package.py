"""A package, laid down on this machine: what is started without Docker."""

from __future__ import annotations

from collections.abc import Callable
from glob import glob
from pathlib import Path

from packager.errors import UsageError
from packager.laying.native import kept, wanted_here
from packager.pipeline import machine_mirrors, plan_image, require_entry_script
from packager.plan.plan import Plan
from packager.serving.hosts.process.places import differences
from packager.serving.service import Package, Request
from packager.spec.load import SpecFile
from packager.storage.models import Store


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


def package_here(
    spec_file: SpecFile, target: str, *, devices: bool = False, say: Callable[[str], None]
) -> LocalPackage:
    """Plan a target for this machine, and lay its environment down.

    Args:
        spec_file: the spec.
        target: one of its targets.
        devices: this machine must have what the target asks for.
        say: is told what is done.

    Raises:
        UsageError: the lock is not for this machine's platform, or a device is missing.
        LockError: the lock is missing or stale, or there is no Python for it.
        ContextError: a file is missing, or the entry script cannot start.
        TemporaryError: the package index does not answer.
    """
    for finding in require_entry_script(spec_file.for_target(target)):
        say(f"warning: {finding}")
    wanted, here = wanted_here(spec_file, target)
    planned = plan_image(spec_file, target, wanted.platform, digest_model=Store().add, mirrors=machine_mirrors())
    if devices:
        require_devices(planned.plan)
    prefix, held = kept(wanted, here, say=say)
    plan = planned.plan
    return LocalPackage(
        title=f"{plan.name} {plan.version} ({plan.target}, without Docker)",
        target=plan.target,
        platform=plan.platform,
        port=spec_file.spec.server.port,
        labels=plan.config.labels,
        plan=plan,
        root=spec_file.root,
        spec=spec_file.document.path.absolute(),
        prefix=prefix,
        held=held,
    )


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
