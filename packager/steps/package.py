"""A package, laid down on this machine: what `run`, `test` and `service deploy` start without Docker."""

from __future__ import annotations

import os
from collections.abc import Callable

from packager.checks.script import require_entry_script
from packager.laying.native import kept_environment, native_environment
from packager.serving.hosts.process.package import LocalPackage, require_devices
from packager.serving.service import Package
from packager.spec.load import SpecFile
from packager.steps.plan import plan_image
from packager.steps.registered import with_registered
from packager.storage.models import Store


def package_on_machine(
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
    spec_file = with_registered(spec_file, say=say)
    for finding in require_entry_script(spec_file.for_target(target)):
        say(f"warning: {finding}")
    locked, machine = native_environment(spec_file, target)
    plan = plan_image(spec_file, target, locked.platform, digest_model=Store().add).plan
    if devices:
        require_devices(plan)
    prefix, descriptor = kept_environment(locked, machine, say=say)
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
        held=descriptor,
    )


def let_go(package: Package) -> None:
    """Let the environment of a package be removed, unless a server runs that has inherited it; it is used no more."""
    if isinstance(package, LocalPackage):
        os.close(package.held)
