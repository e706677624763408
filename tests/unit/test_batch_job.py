"""Jobs of an array that run the shards of a batch."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import msgspec
import pytest
import yaml

from packager.batches.splitting import Shard, parse_shard
from packager.cli.batch import command
from packager.deployment.batch_job import BatchJob, Share, batch_job
from packager.deployment.workload import Toleration
from packager.errors import UsageError

JOB = BatchJob(
    name="labels",
    inputs=("s3://bucket/in", "s3://bucket/it's more"),
    output="s3://bucket/out",
    shards=8,
    image=f"registry.example.com/ml/labels@sha256:{'0' * 64}",
    parallel=4,
    cpu=2.5,
    memory=3 << 30,
    gpus=1,
    options=("--entry-script", "batch.py"),
    env={"MODE": "it's on"},
    secret="bucket-keys",
    folder="/share/the spec",
    seconds=3600,
)


def parsed(words: list[str]) -> dict[str, Any]:
    """What the verb makes of words: it takes each of them."""
    assert words[1] == "batch"
    with command.make_context("batch", words[2:]) as context:
        return context.params


def test_an_indexed_job_runs_a_shard_in_each_pod() -> None:
    files = batch_job("kubernetes", msgspec.structs.replace(JOB, share=Share(claim="data", path="/share")))

    job = yaml.safe_load(files.files["job.yaml"])
    for version in ("1.29", "1.34"):
        kubernetes_validate.validate(job, version, strict=True)
    assert (job["apiVersion"], job["kind"], job["spec"]["completionMode"]) == ("batch/v1", "Job", "Indexed")
    assert (job["spec"]["completions"], job["spec"]["parallelism"], job["spec"]["backoffLimitPerIndex"]) == (8, 4, 2)
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["restartPolicy"] == "Never"
    assert pod["activeDeadlineSeconds"] == 3600
    assert {each["name"] for each in container["volumeMounts"]} == {each["name"] for each in pod["volumes"]}
    assert container["resources"]["requests"] == {"cpu": "2500m", "memory": "3Gi", "nvidia.com/gpu": "1"}
    assert container["resources"]["limits"] == {"memory": "3Gi", "nvidia.com/gpu": "1"}
    options = parsed(container["command"])
    assert (options["inside"], options["resume"], options["processes"]) == (True, True, 2)
    assert options["inputs"] == JOB.inputs
    assert parse_shard(options["shard"], {"JOB_COMPLETION_INDEX": "7"}) == Shard(7, 8)
    assert parsed(shlex.split(files.merge))["merge"]


def test_a_task_may_write_to_its_share_and_stands_on_a_node_that_can_run_it() -> None:
    job = msgspec.structs.replace(
        JOB, share=Share(claim="data", path="/share"), user=1000, memory_limit=5 << 30, cpu_limit=4.0,
        architectures=("amd64",), device_resource="example.com/gpu",
        tolerations=(Toleration(key="example.com/gpu", effect="NoSchedule"),),
    )  # fmt: skip
    made = yaml.safe_load(batch_job("kubernetes", job).files["job.yaml"])
    for version in ("1.29", "1.34"):
        kubernetes_validate.validate(made, version, strict=True)
    pod = made["spec"]["template"]["spec"]
    asked = {"runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 1000, "fsGroupChangePolicy": "OnRootMismatch"}
    assert pod["securityContext"] == {**asked, "seccompProfile": {"type": "RuntimeDefault"}}
    assert pod["nodeSelector"] == {"kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
    assert pod["tolerations"] == [{"key": "example.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    assert pod["containers"][0]["resources"]["limits"] == {"cpu": "4", "memory": "5Gi", "example.com/gpu": "1"}
    # Where one number is all that there is, it is the most.
    assert "#SBATCH --mem=5120M\n" in batch_job("slurm", job).files["job.sh"]


@pytest.mark.parametrize(
    ("share", "output", "said"),
    [
        ("", "s3://bucket/out", ""),
        ("/share/", "/share", ""),
        ("/share", "/shared/out", "/shared/out is on no volume that all tasks have: /share is one"),
        ("", "/out", "/out is on no volume that all tasks have: --share CLAIM:PATH names one"),
    ],
)
def test_what_a_task_has_to_itself_is_told(share: str, output: str, said: str) -> None:
    job = msgspec.structs.replace(JOB, output=output, share=Share(claim="data", path=share) if share else None)
    assert "".join(batch_job("kubernetes", job).unmet).partition(", and URLs")[0] == said


def test_aws_batch_gets_a_definition_and_an_array() -> None:
    files = batch_job("aws-batch", JOB).files

    definition, submitted = (json.loads(files[name]) for name in ("job-definition.json", "submit-job.json"))
    properties = definition["containerProperties"]
    assert submitted == {"jobName": "labels", "jobDefinition": "labels", "arrayProperties": {"size": 8}}
    assert {each["type"]: each["value"] for each in properties["resourceRequirements"]} == {
        "VCPU": "3",
        "MEMORY": "3072",
        "GPU": "1",
    }
    assert {"name": "HOME", "value": "/tmp"} in properties["environment"], "the image's user has no other"
    environ = {"AWS_BATCH_JOB_ARRAY_INDEX": "3", "AWS_BATCH_JOB_ARRAY_SIZE": "8"}
    assert parse_shard(parsed(properties["command"])["shard"], environ) == Shard(3, 8)


def test_a_script_of_slurm_is_one_for_a_shell_and_its_words_are_kept(tmp_path: Path) -> None:
    text = batch_job("slurm", msgspec.structs.replace(JOB, folder=str(tmp_path))).files["job.sh"]
    (tmp_path / "packager").write_text('#!/bin/bash\nprintf "%s\\n" "$MODE" "$PWD" "$@"\n')
    (tmp_path / "packager").chmod(0o755)

    done = subprocess.run(
        ["/bin/bash"], input=text, env={"PATH": f"{tmp_path}:/bin"}, capture_output=True, text=True, check=True
    )

    mode, folder, *words = done.stdout.splitlines()
    assert (mode, folder) == ("it's on", str(tmp_path))
    options = parsed(["packager", *words])
    assert options["inputs"] == JOB.inputs
    assert options["entry_script"] == "batch.py"
    environ = {"SLURM_ARRAY_TASK_ID": "5", "SLURM_ARRAY_TASK_MIN": "0", "SLURM_ARRAY_TASK_COUNT": "8"}
    assert parse_shard(options["shard"], environ) == Shard(5, 8)
    assert "#SBATCH --array=0-7%4\n" in text
    assert "#SBATCH --mem=3072M\n" in text


@pytest.mark.parametrize(
    ("platform", "change", "said"),
    [
        ("aws-batch", {"shards": 1}, "runs 2 to 10000 shards"),
        ("kubernetes", {"shards": 0}, "runs 1 to 100000 shards"),
        ("kubernetes", {"name": "Labels"}, "cannot be the name"),
        ("kubernetes", {"image": "labels:1"}, "no image by digest"),
        ("kubernetes", {"namespace": "A b"}, "cannot be the name of a namespace"),
        ("kubernetes", {"secret": "A b"}, "no name of an object"),
        ("kubernetes", {"share": Share(claim="A b", path="/share")}, "no name of an object"),
        ("kubernetes", {"output": "out"}, "'out' is a path of this machine"),
        ("aws-batch", {"inputs": ("in/*.csv",)}, "a path of this machine"),
        ("slurm", {"folder": ""}, "its folder is not named"),
        ("aws-batch", {"share": Share(claim="data", path="/share")}, "no volume claims"),
    ],
)
def test_what_a_platform_does_not_take_is_refused(platform: Any, change: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        batch_job(platform, msgspec.structs.replace(JOB, **change))
