"""Podman, set up so that it runs pods in a container without privileges and without systemd."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

#: runc refuses to raise limits of processes where the kernel does; nothing here needs them.
_RUNTIME = """#!{python}
import json, os, sys

def strip(path, *keys):
    with open(path) as file:
        config = json.load(file)
    place = config
    for key in keys:
        place = place[key]
    place.pop("rlimits", None)
    with open(path, "w") as file:
        json.dump(config, file)

words = sys.argv[1:]
for option in ("--bundle", "-b"):
    if option in words:
        strip(os.path.join(words[words.index(option) + 1], "config.json"), "process")
if "exec" in words:
    for option in ("--process", "-p"):
        if option in words:
            strip(words[words.index(option) + 1])
os.execvp("runc", ["runc", *words])
"""

_CONTAINERS = """[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "packager"
[engine.runtimes]
packager = ["{runtime}"]
[network]
network_config_dir = "{folder}/networks"
"""

_STORAGE = """[storage]
driver = "overlay"
graphroot = "{folder}/graph"
runroot = "{folder}/run"
"""


class Podman:
    """Podman with storage and settings of its own; it sees nothing of the machine's.

    Args:
        folder: for all that it keeps.
        auth: Docker's config.json with the registry's password.
    """

    def __init__(self, folder: Path, auth: Path) -> None:
        # All have one bridge and subnet, each with an address book of its own: one at a time, over all workers.
        self._turn = (Path(tempfile.gettempdir()) / "packager-tests-podman.lock").open("w")
        fcntl.flock(self._turn, fcntl.LOCK_EX)
        runtime = folder / "runtime"
        runtime.write_text(_RUNTIME.replace("{python}", sys.executable))
        runtime.chmod(0o755)
        (folder / "containers.conf").write_text(_CONTAINERS.format(runtime=runtime, folder=folder))
        (folder / "storage.conf").write_text(_STORAGE.format(folder=folder))
        self._auth, self._folder = auth, folder
        self._environ = {
            **os.environ,
            "CONTAINERS_CONF": str(folder / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
        }

    @staticmethod
    def is_there() -> bool:
        return shutil.which("podman") is not None and os.geteuid() == 0

    def run(self, *words: str) -> str:
        """Run one command; what it prints."""
        done = subprocess.run(["podman", *words], env=self._environ, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def play(self, file: Path) -> None:
        """Run what a file of Kubernetes says, in place of what ran before."""
        self.run("pod", "rm", "--all", "--force", "--time", "0")
        # Newer ones make ports of containers reachable where they are asked to alone.
        major = self.run("version", "--format", "{{.Client.Version}}").partition(".")[0]
        newer = ["--publish-all"] if int(major) > 4 else []
        self.run("kube", "play", "--tls-verify=false", "--authfile", str(self._auth), *newer, str(file))

    def container(self, name: str) -> str:
        """The whole name of the one container whose name ends so; what pods are called differs by version."""
        (found,) = self.run("ps", "--filter", f"name=-{name}$", "--format", "{{.Names}}").split()
        return found

    def does(self, *words: str) -> bool:
        """Run one command; whether it did what it was asked."""
        done = subprocess.run(["podman", *words], env=self._environ, capture_output=True, timeout=120)
        return done.returncode == 0

    def __enter__(self) -> Podman:
        return self

    def __exit__(self, *_: object) -> None:
        """End all, and leave nothing mounted; `system reset` takes half a minute."""
        try:
            self.run("pod", "rm", "--all", "--force", "--time", "0")
            self.run("rm", "--all", "--force", "--time", "0")
            subprocess.run(["umount", "--recursive", self._folder / "graph/overlay"], capture_output=True, check=False)
        finally:
            self._turn.close()
