"""A package, laid down on this machine: what is started without Docker."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from glob import glob
from pathlib import Path

import msgspec

from packager.errors import UsageError
from packager.laying.here import kept, wanted_here
from packager.pipeline import machine_mirrors, plan_image, require_entry_script
from packager.plan.plan import AUTH_LABEL, Plan
from packager.serving.keys import wanted_keys
from packager.serving.service import KeyPair
from packager.spec.load import SpecFile
from packager.storage.models import Store


class Packaged(msgspec.Struct, frozen=True, kw_only=True):
    """What is started.

    Attributes:
        plan: of the image that it would be.
        root: the folder of the spec.
        prefix: the locked environment.
        held: descriptor that keeps `store gc` from the environment; the server inherits it.
    """

    plan: Plan
    root: Path
    prefix: Path
    held: int

    @property
    def title(self) -> str:
        """What it is, for people."""
        return f"{self.plan.name} {self.plan.version} ({self.plan.target}, without Docker)"

    @property
    def keyed(self) -> bool:
        """Its requests need a key."""
        return self.plan.config.labels.get(AUTH_LABEL) == "key"

    def keys_for(self, text: str | None, environ: Mapping[str, str], variables: Mapping[str, str]) -> KeyPair | None:
        """Return the keys that its requests need; see `packager.serving.keys.keys_for`.

        Raises:
            UsageError: keys are given and it asks for none, or the variables take the keys' place.
        """
        return wanted_keys(self.plan.config.labels, self.title, text, environ, variables)


def package_here(spec_file: SpecFile, target: str, *, devices: bool = False, say: Callable[[str], None]) -> Packaged:
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
    return Packaged(plan=planned.plan, root=spec_file.root, prefix=prefix, held=held)


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
