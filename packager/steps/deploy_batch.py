"""The step `deploy --batch`: a batch in shards → the files of a job that runs it on Kubernetes, AWS Batch or Slurm."""

from __future__ import annotations

from pathlib import Path

import msgspec

from packager.contract import CLI_LABEL, TITLE_LABEL, VERSION_LABEL
from packager.deployment.batch_job import PROGRAM, BatchJob, Platform, Share, batch_job
from packager.deployment.files import record_in, texts_in, write_changes
from packager.deployment.kubernetes.values import architectures_of
from packager.deployment.record import Record, Shipped, decide, difference, fingerprint
from packager.deployment.service_names import service_name_of
from packager.deployment.text import render_text
from packager.deployment.workload import Manifest
from packager.errors import UsageError
from packager.plan.volumes import labelled_models
from packager.spec.find import NAMES
from packager.spec.load import SpecFile
from packager.spec.service import ServiceWishes, cpu_of, memory_of
from packager.steps.deploy import Deployed, DeployedFile
from packager.steps.reporting import SILENT, Reporter
from packager.steps.selection import one_target, spec_references
from packager.steps.workloads import NO_DIGEST, Pinned, described, in_a_cluster, pin_image
from packager.targets import load_target

__all__ = ["BatchJobWish", "Share", "deploy_batch"]

_DOCKERFILE = "Dockerfile"
_MEMORY = 1 << 30


class BatchJobWish(msgspec.Struct, frozen=True, kw_only=True):
    """What a job is to run, where and how; processors, memory and GPUs of a task are those of `service:` in the spec.

    Attributes:
        to: what runs it.
        inputs: as `packager batch --input` takes them, as a task sees them.
        results: as `packager batch --output` takes it, as a task sees it.
        shards: how many tasks there are.
        options: other words of `packager batch`, such as `--entry-script`, `batch.py`.
        output: folder of the files; `deploy/batch-<platform>` beside the spec where None.
        image: its reference; the spec's first where None.
        target: one of the spec's targets.
        name: of the job; the package's with `-batch` where None.
        namespace: of Kubernetes; the spec's, or `default`, where empty.
        parallel: tasks at a time; None for all.
        share: volume that all tasks have, of Kubernetes.
        env_secret: name of a Secret of Kubernetes whose entries are variables of a task.
        tries: how often a task is started.
        task_timeout: seconds that a task may take; None for any time.
        dry_run: write nothing: what would be written is in `difference`.
        force: files that somebody edited are written anew, too.
    """

    to: Platform
    inputs: tuple[str, ...]
    results: str
    shards: int
    options: tuple[str, ...] = ()
    output: Path | None = None
    image: str | None = None
    target: str | None = None
    name: str | None = None
    namespace: str = ""
    parallel: int | None = None
    share: Share | None = None
    env_secret: str = ""
    tries: int = 3
    task_timeout: int | None = None
    dry_run: bool = False
    force: bool = False


def deploy_batch(wish: BatchJobWish, spec_file: SpecFile, *, reporter: Reporter = SILENT) -> Deployed:
    """Write the files of a job; nothing is submitted.

    Tasks run `packager batch` in the image. One that has no packager in it gets a Dockerfile that adds it, in place of
    the job's files: the image that is built of it is named next.

    Args:
        wish: what, where and how.
        spec_file: the spec.
        reporter: is told what is fetched.

    Raises:
        UsageError: the platform does not take it, or the image is of this machine's engine alone.
        ContextError: a file that somebody edited is in the way, or the folder cannot be written.
        RegistryError, TemporaryError: the image is not to be had.
    """
    spec = spec_file.spec
    folder = (wish.output or spec_file.root / "deploy" / f"batch-{wish.to}").absolute()
    name = wish.name or f"{service_name_of(spec.name)[:57].rstrip('-')}-batch"
    unmet: tuple[str, ...] = ()
    pinned = None if wish.to == "slurm" else _image(wish, spec_file, reporter)
    if pinned is not None and CLI_LABEL not in pinned.view.labels:
        text = render_text("batch/Dockerfile.j2", image=pinned.image, program=PROGRAM)
        manifests: tuple[Manifest, ...] = (Manifest(path=_DOCKERFILE, text=text),)
        apply = merge = ""
        secrets: tuple[str, ...] = (_build(pinned),)
        reporter.warn(
            f"{pinned.name} has no packager in it, which each task runs: {folder} gets a Dockerfile that adds it, and "
            f"no job; build it there, and name what comes of it: --image {_tagged(pinned)}"
        )
    else:
        files = batch_job(wish.to, _job(wish, name, spec_file, pinned))
        manifests = tuple(Manifest(path=path, text=text) for path, text in files.files.items())
        apply, merge, secrets, unmet = " && ".join(files.submit), files.merge, (), files.unmet
        for each in unmet:
            reporter.warn(each)
    shipped = Shipped(image=pinned.image if pinned else f"{name}@{NO_DIGEST}", version=spec.version)
    record = _record(folder, wish, name)
    paths = dict.fromkeys((*(each.path for each in manifests), *(record.files if record is not None else ())))
    changes = decide(record, texts_in(folder, paths), manifests, shipped, force=wish.force, refuse=not wish.dry_run)
    if not wish.dry_run:
        written = {each.path: fingerprint(each.text, shipped) for each in manifests}
        platform = f"batch-{wish.to}"
        write_changes(
            folder,
            changes,
            Record(format="packager.deploy/1", platform=platform, name=name, files=written, images=(shipped,)),
        )
    return Deployed(
        platform=f"batch-{wish.to}",
        folder=folder,
        name=name,
        image=pinned.image if pinned else "",
        version=spec.version,
        files=tuple(DeployedFile(path=each.path, kind=each.kind) for each in changes),
        difference=difference(changes),
        unmet=unmet,
        secrets=secrets,
        apply=apply,
        merge=merge,
    )


def _image(wish: BatchJobWish, spec_file: SpecFile, reporter: Reporter) -> Pinned:
    """Return the image by digest.

    Raises:
        UsageError: it is nobody's package, another one's, or of this machine's engine alone.
    """
    text = wish.image or spec_references(spec_file, one_target(spec_file, wish.target))[0]
    pinned = pin_image(text, spec_file, reporter)
    labels = pinned.view.labels
    if VERSION_LABEL not in labels or labels.get(TITLE_LABEL) != spec_file.spec.name:
        raise UsageError(
            f"{text} is no image of the package {spec_file.spec.name}", remedy="--image names another, -f another spec"
        )
    if pinned.local:
        raise UsageError(f"{text} is in this machine's engine alone", remedy=f"push it: packager push {text}")
    return pinned


def _tagged(pinned: Pinned) -> str:
    name = pinned.image.partition("@")[0]
    _, colon, tag = name.rpartition(":")
    return f"{name}-batch" if colon and "/" not in tag else f"{name}:batch"


def _build(pinned: Pinned) -> str:
    return f'docker buildx build --push --build-arg PACKAGER="$PACKAGER" --tag {_tagged(pinned)} .'


def _job(wish: BatchJobWish, name: str, spec_file: SpecFile, pinned: Pinned | None) -> BatchJob:
    service: ServiceWishes = spec_file.spec.service
    memory = memory_of(service.memory) if service.memory is not None else _MEMORY
    memory_limit = service.most_memory
    cpu = cpu_of(service.cpu) if service.cpu is not None else 1.0
    cpu_limit = cpu_of(service.cpu_limit) if service.cpu_limit is not None else None
    job = BatchJob(
        name=name,
        inputs=wish.inputs,
        output=wish.results,
        shards=wish.shards,
        parallel=wish.parallel,
        # A limit alone is the most of what nobody asked for.
        cpu=min(cpu, cpu_limit) if service.cpu is None and cpu_limit is not None else cpu,
        memory=min(memory, memory_limit) if service.memory is None and memory_limit is not None else memory,
        cpu_limit=cpu_limit,
        memory_limit=memory_limit,
        tries=wish.tries,
        options=wish.options,
        namespace=wish.namespace or service.namespace or "default",
        share=wish.share,
        secret=wish.env_secret,
        seconds=wish.task_timeout,
    )
    return _with_spec(job, wish, spec_file) if pinned is None else _with_image(job, spec_file, pinned)


def _with_spec(job: BatchJob, wish: BatchJobWish, spec_file: SpecFile) -> BatchJob:
    """Return a job whose tasks run the package in the folder of its spec: this spec, and this target of it."""
    target = one_target(spec_file, wish.target)
    path = spec_file.document.path
    words = (*(() if path.name in NAMES else ("-f", path.name)), *(("--target", target) if wish.target else ()))
    gpus = spec_file.spec.service.gpu
    if gpus is None:
        gpus = _number(load_target(target, spec_file.templates).run.gpus)
    return msgspec.structs.replace(job, folder=str(spec_file.root), gpus=gpus, options=(*words, *job.options))


def _with_image(job: BatchJob, spec_file: SpecFile, pinned: Pinned) -> BatchJob:
    """Return a job whose tasks run in the image, on nodes that have what it needs.

    Raises:
        UsageError: it mounts models, which a task has not.
    """
    labels = pinned.view.labels
    mounted = [each.id for each in labelled_models(labels, pinned.name) if each.delivery == "volume"]
    if mounted:
        raise UsageError(
            f"{pinned.name} mounts {', '.join(mounted)}, and a task of a job mounts no models",
            remedy="build an image that holds them (`delivery: image`), and name it: --image",
        )
    workload = described(pinned.view, spec_file, image=pinned.image, name=job.name)
    workload = msgspec.structs.replace(workload, platforms=pinned.platforms)
    workload = in_a_cluster(workload, labels, spec_file)
    gpus = spec_file.spec.service.gpu
    return msgspec.structs.replace(
        job,
        image=pinned.image,
        gpus=_number(workload.gpus) if gpus is None else gpus,
        device_resource=workload.device_resource or job.device_resource,
        tolerations=workload.tolerations,
        architectures=architectures_of(workload),
        user=workload.user,
    )


def _number(gpus: str) -> int:
    """Return how many GPUs a task has of an image that wants some: one, where it takes all that a machine has."""
    return int(gpus) if gpus.isdecimal() else int(bool(gpus))


def _record(folder: Path, wish: BatchJobWish, name: str) -> Record | None:
    record = record_in(folder)
    if record is not None and record.platform != f"batch-{wish.to}":
        raise UsageError(
            f"{folder} has the files of {record.name} for {record.platform}", remedy="-o DIR names another folder"
        )
    return record
