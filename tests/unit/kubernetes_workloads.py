"""Workloads for Kubernetes, as values."""

from __future__ import annotations

import msgspec

from packager.deployment.workload import Toleration, Volume, Wishes, Workload
from packager.spec.service import Probes, Replicas, ServiceWishes, Tls

DIGEST = f"sha256:{'1' * 64}"
OTHER = f"sha256:{'2' * 64}"

#: Processors alone, with keys: what most people deploy.
PLAIN = Workload(
    name="churn",
    package="churn",
    version="1.2",
    target="cpu",
    image=f"registry.example.com/team/churn:1.2@{DIGEST}",
    platform="linux/amd64",
    port=5001,
    user=1000,
    needs_key=True,
    env={"PACKAGER_AUTH": "key", "WORKER_COUNT": "2"},
    service=ServiceWishes(cpu="500m", memory="1GiB", concurrency=2, auth="key"),
    workers=2,
    grace=300,
)

#: All that there is: GPUs, a model beside the image, an autoscaler, probes, TLS, two kinds of processors.
WHOLE = msgspec.structs.replace(
    PLAIN,
    target="gpu",
    gpus="all",
    device_resource="nvidia.com/gpu",
    tolerations=(Toleration(key="nvidia.com/gpu", effect="NoSchedule"),),
    platforms=("linux/amd64", "linux/arm64"),
    service=ServiceWishes(
        cpu=2,
        cpu_limit=4,
        memory="8Gi",
        memory_limit="16Gi",
        replicas=Replicas(min=2, max=5, target=60),
        probes=Probes(period=15, initial_delay=240, timeout=3, success_threshold=2, failure_threshold=4),
        scoring_timeout=60,
        auth="key",
        tls=Tls(cname="churn.example.com", cert="tls/churn.pem", key="tls/churn key.pem"),
        namespace="models",
    ),
    volumes=(
        Volume(
            name="bert",
            version=3,
            digest=OTHER,
            path="/var/azureml-app/azureml-models/bert/3",
            image=f"registry.example.com/models/bert:3@{OTHER}",
        ),
    ),
    scoring_timeout=60.0,
    grace=60,
    ready_in=300,
    host={"xrt": "2.14"},
)

#: Case → workload and wishes.
CASES: dict[str, tuple[Workload, Wishes]] = {
    "plain": (PLAIN, Wishes()),
    "canary": (
        WHOLE,
        Wishes(route="gateway", gateway="infra/main", canary=f"registry.example.com/team/churn:2@{OTHER}"),
    ),
    "older": (
        WHOLE,
        Wishes(
            kubernetes="1.32", route="ingress", ingress_class="nginx", pull_secret="registry", namespace="production"
        ),
    ),
    "kserve": (WHOLE, Wishes(flavor="kserve")),
}
