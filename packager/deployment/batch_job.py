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
        cpu: processors of a task, and so many workers.
        memory: bytes of a task.
        gpus: of a task.
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
    gpus: int = 0
    tries: int = 3
    options: tuple[str, ...] = ()
    env: dict[str, str] = {}
    namespace: str = "default"
    share: Share | None = None
    secret: str = ""
    folder: str = ""
    seconds: int | None = None


class JobFiles(msgspec.Struct, frozen=True, kw_only=True):
    """The files of a job.

    Attributes:
        files: path → text.
        submit: commands that submit it, in the folder of the files, in this order.
        merge: command that joins the shards when all have ended, where inputs and output are as a task sees them.
    """

    files: dict[str, str]
    submit: tuple[str, ...]
    merge: str


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
        return JobFiles(files={"job.yaml": text}, submit=("kubectl create -f job.yaml",), merge=merge)
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
    )


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
    elif "@sha256:" not in job.image:
        raise UsageError(f"{job.image or 'no image'} is no image by digest", remedy="REPOSITORY@sha256:…")
    if platform == "aws-batch" and job.share is not None:
        raise UsageError("AWS Batch has no volume claims", remedy="inputs and output as s3:// URLs")


def _words(job: BatchJob, program: str, shard: str, *, inside: bool) -> list[str]:
    inputs = [word for each in job.inputs for word in ("--input", each)]
    words = [program, "batch", *(["--inside"] if inside else []), *inputs, "--output", job.output, "--shard", shard]
    # A task that is started again goes on; workers are as many as the processors that it has.
    return [*words, "--resume", "--processes", str(max(1, math.floor(job.cpu))), "--progress", "plain", *job.options]


def _indexed_job(job: BatchJob) -> dict[str, object]:
    quantities: dict[str, str] = {"cpu": f"{round(job.cpu * 1000)}m", "memory": str(job.memory)}
    gpus = {"nvidia.com/gpu": str(job.gpus)} if job.gpus else {}
    container: dict[str, object] = {
        "name": "batch",
        "image": job.image,
        "command": _words(job, PROGRAM, f"auto/{job.shards}", inside=True),
        "env": [{"name": name, "value": value} for name, value in {"HOME": "/tmp", **job.env}.items()],
        "resources": {"requests": {**quantities, **gpus}, "limits": {"memory": str(job.memory), **gpus}},
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
    pod: dict[str, object] = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
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
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": job.name, "namespace": job.namespace, "labels": {"app.kubernetes.io/name": job.name}},
        "spec": spec,
    }


def _job_definition(job: BatchJob) -> dict[str, object]:
    requirements = [
        {"type": "VCPU", "value": f"{job.cpu:g}"},
        {"type": "MEMORY", "value": str(math.ceil(job.memory / (1 << 20)))},
        *([{"type": "GPU", "value": str(job.gpus)}] if job.gpus else []),
    ]
    definition: dict[str, object] = {
        "jobDefinitionName": job.name,
        "type": "container",
        "retryStrategy": {"attempts": job.tries},
        "containerProperties": {
            "image": job.image,
            "command": _words(job, PROGRAM, "auto", inside=True),
            "environment": [{"name": name, "value": value} for name, value in job.env.items()],
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
        f"#SBATCH --mem={math.ceil(job.memory / (1 << 20))}M",
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
