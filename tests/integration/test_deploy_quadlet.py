"""Units of `packager deploy --to quadlet`: read by Podman's generator and systemd, and run by Podman as they say."""

from __future__ import annotations

import json
import secrets
import socket
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from packager.deployment.quadlet import render
from packager.deployment.workload import Wishes, Workload
from packager.spec.service import Probes, ServiceWishes
from tests.integration.conftest import Registry, RunPackager
from tests.integration.podman import Podman
from tests.integration.serving_package import ask, write_package
from tests.integration.units import command_of, require_units, run_unit, services_of
from tests.unit.workloads import HOSTILE, MACHINE, PLAIN

KEY = "a-key-of-this-test-alone"


def generated(folder: Path, workload: Workload, publish: int | None = None) -> dict[str, str]:
    """The services that systemd gets of a workload."""
    for each in render(workload, Wishes(publish=publish)).manifests:
        (folder / each.path).write_text(each.text)
    return services_of(folder)


@pytest.mark.parametrize("workload", [PLAIN, MACHINE], ids=["plain", "machine"])
def test_podmans_generator_and_systemd_take_it(workload: Workload, tmp_path: Path) -> None:
    services = generated(tmp_path, workload)
    assert "Type=notify" in services[workload.name]
    # What mounts an image waits until another unit has fetched it.
    fetched = [name for name in services if name.endswith("-image")]
    assert len(fetched) == sum(bool(each.image) for each in workload.volumes)
    assert all(f"After={name}.service" in services[workload.name] for name in fetched)
    units = tmp_path / "services"
    units.mkdir()
    require_units(units, services)


def test_values_reach_podman_as_they_were_given(tmp_path: Path) -> None:
    words = command_of(generated(tmp_path, MACHINE, publish=8080)[MACHINE.name])
    after = dict(pairwise(words))
    assert f"NOTE={HOSTILE}" in words
    assert after["--publish"] == "127.0.0.1:8080:5001"
    assert json.loads(after["--health-cmd"])[0] == "/opt/env/bin/python"
    assert after["--user"] == "1000:1000"
    assert after["--cap-drop"] == "all"
    assert {"--read-only", "--security-opt=no-new-privileges", "--memory=1g", "--cpus=2"} <= set(words)
    assert words.count("--device") == 4


@pytest.mark.engine
@pytest.mark.network
def test_podman_runs_what_the_unit_says(
    podman: Podman,
    docker_config: Path,
    registry: Registry,
    base_archive: Path,
    index: None,
    run_packager: RunPackager,
    tmp_path: Path,
) -> None:
    """By the command of the unit, without what only systemd gives it: Podman's own part of it is tried here."""
    folder = write_package(tmp_path / "package")
    name = f"quadlet-{secrets.token_hex(4)}"
    tag = f"{registry.address}/packager-test/{name}:1"
    run_packager("lock", cwd=folder)
    pushed = run_packager("build", "--base", f"oci-archive:{base_archive}", "--push", "-t", tag, cwd=folder)
    image = next(line for line in pushed.stdout.splitlines() if "@sha256:" in line).strip()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    workload = msgspec.structs.replace(
        PLAIN,
        name=name,
        image=image,
        needs_key=True,
        env={"MARK": "a $HOME 100% \"q\" 'w'", "PACKAGER_AUTH": "key"},
        service=ServiceWishes(auth="key", memory="256Mi", cpu=1, probes=Probes(period=1)),
    )
    units = tmp_path / "units"
    units.mkdir()
    words = command_of(generated(units, workload, publish=port)[name])
    keys = tmp_path / "keys"
    keys.write_text(f"{KEY}\n")
    podman.run("secret", "create", f"{name}-keys", str(keys))
    podman.run("pull", "--tls-verify=false", "--authfile", str(docker_config / "config.json"), image)
    run_unit(podman, words, name)
    status, body = ask(port, {"number": 3}, 60, Authorization=f"Bearer {KEY}")
    assert (status, json.loads(body)) == (200, {"mark": workload.env["MARK"], "half": 1.5})
    assert ask(port, {"number": 3})[0] == 401
    inside = "import os; print(os.getuid(), os.access('/', os.W_OK), open('/proc/self/status').read())"
    seen = podman.run("exec", name, "/opt/env/bin/python", "-c", inside)
    assert seen.startswith("1000 False ")
    assert "CapEff:\t0000000000000000\n" in seen
    assert "NoNewPrivs:\t1\n" in seen
