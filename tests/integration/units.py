"""Units of Podman: what its generator makes of them, and their commands as systemd runs them."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import time
from pathlib import Path

from tests.integration.conftest import missing
from tests.integration.podman import Podman

#: What Podman 4 has not, or only with systemd around it.
_OF_SYSTEMD = {"--cgroups=split", "--sdnotify=healthy", "--rm", "--replace"}


def generator() -> str:
    """The program by which systemd has units made of Podman's files: that of Podman 5."""
    found = os.environ.get("PACKAGER_TEST_QUADLET", "/usr/libexec/podman/quadlet")
    if not os.access(found, os.X_OK):
        missing(f"there is no {found} (run ./scripts/engine)")
    return found


def services_of(folder: Path) -> dict[str, str]:
    """Name → service that systemd gets, for each of the units in a folder."""
    done = subprocess.run(
        [generator(), "-dryrun", "-no-kmsg-log"],
        env={**os.environ, "QUADLET_UNIT_DIRS": str(folder)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    parts = re.split(r"(?m)^---(.+)\.service---$", done.stdout)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def require_units(folder: Path, services: dict[str, str]) -> None:
    """Let systemd read services, where it is installed."""
    units = [folder / f"{name}.service" for name in services]
    for unit, text in zip(units, services.values(), strict=True):
        unit.write_text(text.replace("/usr/bin/podman", "/bin/true"))
    if shutil.which("systemd-analyze") is not None:
        done = subprocess.run(["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")


def command_of(service: str) -> list[str]:
    """The words of its ExecStart, as systemd has them after it has expanded them."""
    line = next(each for each in service.splitlines() if each.startswith("ExecStart="))
    specifiers = {"%": "%", "h": "/root", "t": "/run", "N": "unit"}
    words = shlex.split(re.sub(r"%(.)", lambda found: specifiers[found[1]], line.removeprefix("ExecStart=")))
    return [each.replace("$$", "$").replace("\\n", "\n") for each in words]


def run_unit(podman: Podman, words: list[str], name: str) -> None:
    """Run the command of a unit without what only systemd gives it, until the container is healthy."""
    kept = [each for each in words[1:] if each not in _OF_SYSTEMD and not each.startswith("--cidfile=")]
    kept[kept.index("journald")] = "k8s-file"
    podman.run(*kept)
    end = time.monotonic() + 90
    # In place of systemd's timer.
    while not podman.does("healthcheck", "run", name):
        assert time.monotonic() < end, podman.run("logs", name)
        time.sleep(0.3)
