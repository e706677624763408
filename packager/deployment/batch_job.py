"""A batch in shards → the job of an array that runs them: Kubernetes' Indexed Job, AWS Batch, Slurm. Pure.

Each task runs `packager batch --shard auto`; when all have ended, `packager batch --merge` joins what they wrote. On
Kubernetes and AWS Batch the image is the package's own with packager added, in which `--inside` runs; under Slurm the
locked environment is on the share that has the spec.

Sources: kubernetes.io, "Indexed Job for Parallel Processing", "Backoff limit per index" (stable in 1.33, beta from 1.29
on); AWS Batch, RegisterJobDefinition and SubmitJob; Slurm, sbatch(1).
"""

from __future__ import annotations

import json
import math
import re
import shlex
from typing import Literal

import msgspec
import yaml
from msgspec import to_builtins

from packager.deployment.kubernetes.names import cpu_quantity, memory_quantity, namespace, object_name
from packager.deployment.workload import Toleration
from packager.errors import UsageError

Platform = Literal["kubernetes", "aws-batch", "slurm"]

#: The program, in an image to which packager was added as docs/how-to/batch.md says.
PROGRAM = "/opt/packager-cli/bin/packager"

_NAME = re.compile(r"[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?")
#: AWS Batch takes arrays of that many tasks; a single one is no array.
_AWS_LEAST, _AWS_MOST = 2, 10_000
#: Tasks of an Indexed Job with a limit of tries for each (kubernetes.io, "Backoff limit per index").
_KUBERNETES_MOST = 100_000


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """A volume that all tasks have.

    Attributes:
        claim: name of the PersistentVolumeClaim.
        path: where a task sees it, absolute.
    """

    claim: str
    path: str


class BatchJob(msgspec.Struct, frozen=True, kw_only=True):
    """A batch in shards.

    Attributes:
        name: of the job, a DNS label.
        inputs: as `--input` takes them, as a task sees them.
        output: as `--output` takes it.
        shards: how many tasks there are.
        image: by digest, with packager added; empty for Slurm, which runs in the folder of the spec.
        parallel: tasks at a time; None for all.
        cpu: processors that a task is sure to have, and so many workers.
        memory: bytes that a task is sure to have.
        cpu_limit: the most processors; None for no limit.
        memory_limit: the most bytes; `memory` where None.
        gpus: of a task.
        device_resource: what a cluster of Kubernetes calls the GPUs.
        tolerations: of the nodes that have them.
        architectures: of nodes of Kubernetes that can run the image (`amd64`); any where empty.
        user: number that the image runs as; the image's own where 0.
        tries: how often a task is started; it goes on where it was.
        options: other words of `packager batch`, such as `--entry-script`, `batch.py`.
        env: variables of a task; no secrets, which stand in no file.
        namespace: of Kubernetes.
        share: volume of Kubernetes; None where inputs and output are URLs.
        secret: name of a Secret of Kubernetes whose entries are variables of a task; empty for none.
        folder: of Slurm: that of the spec, on the share.
        seconds: that a task may take; None for any time.
    """

    name: str
    inputs: tuple[str, ...]
    output: str
    shards: int
    image: str = ""
    parallel: int | None = None
    cpu: float = 1.0
    memory: int = 1 << 30
    cpu_limit: float | None = None
    memory_limit: int | None = None
    gpus: int = 0
    device_resource: str = "nvidia.com/gpu"
    tolerations: tuple[Toleration, ...] = ()
    architectures: tuple[str, ...] = ()
    user: int = 0
    tries: int = 3
    options: tuple[str, ...] = ()
    env: dict[str, str] = {}
    namespace: str = "default"
    share: Share | None = None
    secret: str = ""
    folder: str = ""
    seconds: int | None = None

    @property
    def most_memory(self) -> int:
        """The most bytes, which is what a task gets where a platform has one number for both."""
        return self.memory if self.memory_limit is None else max(self.memory, self.memory_limit)


class JobFiles(msgspec.Struct, frozen=True, kw_only=True):
    """The files of a job.

    Attributes:
        files: path → text.
        submit: commands that submit it, in the folder of the files, in this order.
        merge: command that joins the shards when all have ended, where inputs and output are as a task sees them.
        unmet: what will be missing where a task looks for it, a sentence each.
    """

    files: dict[str, str]
    submit: tuple[str, ...]
    merge: str
    unmet: tuple[str, ...] = ()


def batch_job(platform: Platform, job: BatchJob) -> JobFiles:
    """Return the files of a job.

    Args:
        platform: that runs it.
        job: what it is.

    Raises:
        UsageError: the platform does not take it.
    """
    _check(platform, job)
    program = "packager" if platform == "slurm" else PROGRAM
    merge = shlex.join((program, "batch", "--output", job.output, "--merge"))
    if platform == "kubernetes":
        text = yaml.safe_dump(_indexed_job(job), sort_keys=False, width=120, allow_unicode=True)
        return JobFiles(
            files={"job.yaml": text}, submit=("kubectl create -f job.yaml",), merge=merge, unmet=_elsewhere(job)
        )
    if platform == "slurm":
        return JobFiles(files={"job.sh": _slurm(job)}, submit=("sbatch job.sh",), merge=merge)
    files = {"job-definition.json": _job_definition(job), "submit-job.json": _submit_job(job)}
    return JobFiles(
        files={path: json.dumps(data, indent=2, ensure_ascii=False) + "\n" for path, data in files.items()},
        submit=(
            "aws batch register-job-definition --cli-input-json file://job-definition.json",
            'aws batch submit-job --job-queue "$QUEUE" --cli-input-json file://submit-job.json',
        ),
        merge=merge,
        unmet=_elsewhere(job),
    )


def _elsewhere(job: BatchJob) -> tuple[str, ...]:
    """Return which paths a task has to itself: what it reads there is missing, and what it writes is gone with it."""
    share = job.share.path.rstrip("/") if job.share is not None else None
    own = [
        each
        for each in (*job.inputs, job.output)
        if "://" not in each and (share is None or not f"{each}/".startswith(f"{share}/"))
    ]
    if not own:
        return ()
    where = "is on no volume that all tasks have" if len(own) == 1 else "are on no volume that all tasks have"
    named = "--share CLAIM:PATH names one" if share is None else f"{share} is one"
    return (f"{', '.join(own)} {where}: {named}, and URLs need none",)


def _check(platform: Platform, job: BatchJob) -> None:
    least, most = (_AWS_LEAST, _AWS_MOST) if platform == "aws-batch" else (1, _KUBERNETES_MOST)
    if not least <= job.shards <= most:
        raise UsageError(f"{platform} runs {least} to {most} shards, and not {job.shards}", remedy="--shards N")
    if _NAME.fullmatch(job.name) is None:
        raise UsageError(
            f"{job.name!r} cannot be the name of a job: lower-case letters, digits and `-`, with a letter first",
            remedy="give it another: --name NAME",
        )
    if platform == "slurm":
        if not job.folder:
            raise UsageError("Slurm runs the spec's package, and its folder is not named", remedy="name it")
        return
    if "@sha256:" not in job.image:
        raise UsageError(f"{job.image or 'no image'} is no image by digest", remedy="REPOSITORY@sha256:…")
    for each in (*job.inputs, job.output):
        if "://" not in each and not each.startswith("/"):
            raise UsageError(
                f"{each!r} is a path of this machine, and a task sees others", remedy="write it as a task sees it: /…"
            )
    if platform == "kubernetes":
        namespace(job.namespace)
        if job.share is not None:
            object_name(job.share.claim, "--share")
        if job.secret:
            object_name(job.secret, "--env-secret")
    if platform == "aws-batch" and job.share is not None:
        raise UsageError("AWS Batch has no volume claims", remedy="inputs and output as s3:// URLs")


def _words(job: BatchJob, program: str, shard: str, *, inside: bool) -> list[str]:
    inputs = [word for each in job.inputs for word in ("--input", each)]
    words = [program, "batch", *(["--inside"] if inside else []), *inputs, "--output", job.output, "--shard", shard]
    # A task that is started again goes on; workers are as many as the processors that it has.
    return [*words, "--resume", "--processes", str(max(1, math.floor(job.cpu))), "--progress", "plain", *job.options]


def _environment(job: BatchJob) -> dict[str, str]:
    """Return the variables of a task: what it keeps while it runs is where the image's user may write."""
    return {"HOME": "/tmp", **job.env}


def _indexed_job(job: BatchJob) -> dict[str, object]:
    quantities = {"cpu": cpu_quantity(job.cpu), "memory": memory_quantity(job.memory)}
    limits = {"memory": memory_quantity(job.most_memory)}
    if job.cpu_limit is not None:
        limits["cpu"] = cpu_quantity(max(job.cpu, job.cpu_limit))
    gpus = {job.device_resource: str(job.gpus)} if job.gpus else {}
    container: dict[str, object] = {
        "name": "batch",
        "image": job.image,
        "command": _words(job, PROGRAM, f"auto/{job.shards}", inside=True),
        "env": [{"name": name, "value": value} for name, value in _environment(job).items()],
        "resources": {"requests": {**quantities, **gpus}, "limits": {**limits, **gpus}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
        },
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }
    volumes: list[dict[str, object]] = [{"name": "tmp", "emptyDir": {}}]
    if job.share is not None:
        container["volumeMounts"] = [
            {"name": "tmp", "mountPath": "/tmp"},
            {"name": "share", "mountPath": job.share.path},
        ]
        volumes.append({"name": "share", "persistentVolumeClaim": {"claimName": job.share.claim}})
    if job.secret:
        container["envFrom"] = [{"secretRef": {"name": job.secret}}]
    context: dict[str, object] = {"seccompProfile": {"type": "RuntimeDefault"}}
    if job.user:
        # The group, so that a volume that root made can be written to.
        group = {"fsGroup": job.user, "fsGroupChangePolicy": "OnRootMismatch"} if job.share is not None else {}
        context = {"runAsUser": job.user, "runAsGroup": job.user, **group, **context}
    pod: dict[str, object] = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "securityContext": context,
        "containers": [container],
        "volumes": volumes,
    }
    spec: dict[str, object] = {
        "completionMode": "Indexed",
        "completions": job.shards,
        "parallelism": min(job.parallel or job.shards, job.shards),
        "backoffLimitPerIndex": job.tries - 1,
        "template": {"metadata": {"labels": {"app.kubernetes.io/name": job.name}}, "spec": pod},
    }
    if job.seconds is not None:
        pod["activeDeadlineSeconds"] = job.seconds
    pod |= _nodes(job)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": job.name, "namespace": job.namespace, "labels": {"app.kubernetes.io/name": job.name}},
        "spec": spec,
    }


def _nodes(job: BatchJob) -> dict[str, object]:
    """Return which nodes can run a task: those of the image's processor, and with the GPUs that it needs."""
    found: dict[str, object] = {}
    if len(job.architectures) == 1:
        found["nodeSelector"] = {"kubernetes.io/os": "linux", "kubernetes.io/arch": job.architectures[0]}
    if job.gpus and job.tolerations:
        kept = ({name: value for name, value in to_builtins(each).items() if value} for each in job.tolerations)
        found["tolerations"] = list(kept)
    return found


def _job_definition(job: BatchJob) -> dict[str, object]:
    requirements = [
        # On machines of one's own (EC2), they are whole ones.
        {"type": "VCPU", "value": str(math.ceil(job.cpu))},
        {"type": "MEMORY", "value": str(math.ceil(job.most_memory / (1 << 20)))},
        *([{"type": "GPU", "value": str(job.gpus)}] if job.gpus else []),
    ]
    definition: dict[str, object] = {
        "jobDefinitionName": job.name,
        "type": "container",
        "retryStrategy": {"attempts": job.tries},
        "containerProperties": {
            "image": job.image,
            "command": _words(job, PROGRAM, "auto", inside=True),
            "environment": [{"name": name, "value": value} for name, value in _environment(job).items()],
            "resourceRequirements": requirements,
        },
    }
    return {**definition, **({"timeout": {"attemptDurationSeconds": job.seconds}} if job.seconds else {})}


def _submit_job(job: BatchJob) -> dict[str, object]:
    return {"jobName": job.name, "jobDefinition": job.name, "arrayProperties": {"size": job.shards}}


def _slurm(job: BatchJob) -> str:
    parallel = f"%{job.parallel}" if job.parallel is not None else ""
    lines = [
        "#!/bin/bash",
        f"#SBATCH --job-name={job.name}",
        f"#SBATCH --array=0-{job.shards - 1}{parallel}",
        f"#SBATCH --cpus-per-task={math.ceil(job.cpu)}",
        f"#SBATCH --mem={math.ceil(job.most_memory / (1 << 20))}M",
        *([f"#SBATCH --gpus-per-task={job.gpus}"] if job.gpus else []),
        *([f"#SBATCH --time=0:{job.seconds}"] if job.seconds is not None else []),
        "#SBATCH --requeue",
        f"#SBATCH --output={job.name}-%A-%a.log",
        "set -euo pipefail",
        *(f"export {name}={shlex.quote(value)}" for name, value in job.env.items()),
        f"cd {shlex.quote(job.folder)}",
        f"exec {shlex.join(_words(job, 'packager', f'auto/{job.shards}', inside=False))}",
    ]
    return "\n".join(lines) + "\n"
