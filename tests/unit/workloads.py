"""Workloads for tests: the plainest one, and one that asks for all that there is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from packager.deployment.workload import Release, Rendering, Volume, Wishes, Workload
from packager.serving.example import Example
from packager.spec.service import Probes, Replicas, ServiceWishes, Tls

IMAGE = f"registry.example.com/ml/diabetes:1@sha256:{'a' * 64}"

PLAIN = Workload(
    name="diabetes",
    package="diabetes",
    version="1",
    target="cpu",
    image=IMAGE,
    platform="linux/amd64",
    port=5001,
    user=1000,
)

#: What a value may hold: variables of Compose, systemd and Azure, quotes, a line break and no ASCII.
HOSTILE = "a $HOME ${PATH} \"q\" %h 'w' \\ # ü\n- b: c"

WHOLE = msgspec.structs.replace(
    PLAIN,
    needs_key=True,
    env={"WORKER_COUNT": "2", "NOTE": HOSTILE},
    service=ServiceWishes(
        cpu="500m",
        memory="512Mi",
        cpu_limit=2,
        memory_limit="1Gi",
        replicas=Replicas(min=1, max=3),
        probes=Probes(period=7, failure_threshold=4),
        scoring_timeout=120.0,
        auth="token",
        max_queue_wait=3.0,
        tls=Tls(cname="scoring.example.com", cert="tls/certificate.pem", key="tls/key.pem"),
        dns_name="diabetes-scoring",
    ),
    scoring_timeout=120.0,
    grace=130,
    workers=2,
    sample=Example(text='{"data": [[1, 2]]}'),
)

#: With what only a machine of one's own has.
MACHINE = msgspec.structs.replace(
    WHOLE,
    target="gpu",
    gpus="2",
    devices=("/dev/xclmgmt*", "/dev/dri/renderD*"),
    volumes=(
        Volume(name="limits", version=1, digest=f"sha256:{'b' * 64}", path="/var/azureml-app/azureml-models/limits/1"),
        Volume(
            name="weights",
            version=3,
            digest=f"sha256:{'c' * 64}",
            path="/var/azureml-app/azureml-models/weights/3",
            image=f"registry.example.com/models/weights:3@sha256:{'d' * 64}",
        ),
    ),
)


def release_in(folder: Path, platform: str, workload: Workload, rendering: Rendering, **wishes: Any) -> Release:
    """Write the files of a rendering into a folder, as `packager deploy` does, and return what they are of."""
    for each in rendering.manifests:
        path = folder / each.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(each.text)
    return Release(
        platform=platform,
        folder=folder,
        files=tuple(each.path for each in rendering.manifests),
        workload=workload,
        wishes=Wishes(**wishes),
        rendering=rendering,
    )
