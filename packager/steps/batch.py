"""The step `batch`: the entry script over many inputs, each of which is once in the results or among the failures."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal

import msgspec

from packager.batches.listing import find_inputs, is_remote, roots_of
from packager.batches.merging import merge as merge_shards
from packager.batches.merging import shard_folder
from packager.batches.output import output_at
from packager.batches.planning import Split, split
from packager.batches.pool import Hand, Job, Limits, row_groups
from packager.batches.programs import in_container, in_environment, inside
from packager.batches.run import Run, run_batch
from packager.batches.splitting import Shard, Size, form_of, of_shard, parse_mini_batch_size, parse_shard
from packager.batches.values import LOGS, Form, Identity, InputFile, Summary, inputs_digest, stamps_digest
from packager.batches.workers import Program, Start, start_here
from packager.contract import INPUTS_LABEL
from packager.engine.api import require_local
from packager.errors import ServiceError, UsageError
from packager.serving.hosts.docker.image import image_devices, packaged_image
from packager.serving.hosts.process.folders import run_folder
from packager.similar import meant
from packager.spec.load import SpecFile
from packager.steps.package import package_on_machine
from packager.steps.reporting import SILENT, Reporter
from packager.steps.selection import one_target, spec_references
from packager.steps.stale import warn_of_stale
from packager.steps.volumes import with_mounts
from packager.storage.reading import failure

__all__ = ["BatchWish", "Summary", "as_data", "batch", "merge", "require_within"]


class BatchWish(msgspec.Struct, frozen=True, kw_only=True):
    """How inputs are run.

    Attributes:
        reference: of an image that the engine has, in containers of which workers run.
        docker: run in containers of the spec's image; else in its locked environment on this machine.
        inside: run in the image that this process is in, to which packager was added; no spec is needed.
        target: one of the spec's targets.
        entry_script: another one than the spec's, relative to `source_dir`.
        mini_batch_size: a number of items (`10`), or a size (`1MB`); where None 10 files or requests, 1 MB of a
            table.
        input_format: `files`: run() gets a list of paths; `table`: a DataFrame; `requests`: a text, one by one.
        processes: workers at a time; one for each processor where None.
        timeout: seconds that one run() may take.
        init_timeout: seconds that loading the script and init() may take.
        tries: how often a mini-batch is tried.
        error_threshold: failed items above which the run ends at once; -1 ignores failures; None tries every item, and
            takes none for well.
        append_row: keep the results, in one file; else they are only counted.
        resume: go on with a run that did not end.
        overwrite: begin anew, where results are already.
        shard: `I/N`, `auto` or `auto/N`: one of N equal parts.
        engine: `local`, or `ray` for a cluster.
        address: of the cluster.
        env: variables beside the package's own.
        devices: give containers the GPUs and devices that their target asks for.
    """

    reference: str | None = None
    docker: bool = False
    inside: bool = False
    target: str | None = None
    entry_script: str | None = None
    mini_batch_size: str | None = None
    input_format: Literal["auto", "files", "table", "requests"] = "auto"
    processes: int | None = None
    timeout: float = 60.0
    init_timeout: float = 600.0
    tries: int = 3
    error_threshold: int | None = None
    append_row: bool = True
    resume: bool = False
    overwrite: bool = False
    shard: str | None = None
    engine: Literal["local", "ray"] = "local"
    address: str | None = None
    env: dict[str, str] = {}
    devices: bool = True


class _Described(msgspec.Struct, frozen=True, kw_only=True):
    """What runs: how its worker is started, and what tells it from another one."""

    program: Program
    title: str
    digest: str


def batch(
    inputs: str | Sequence[str],
    output: str | os.PathLike[str],
    *,
    spec_file: SpecFile | None = None,
    reporter: Reporter = SILENT,
    **wishes: Any,
) -> Summary:
    """Run an entry script over inputs, and write one file of results in their order.

        summary = packager.batch("images", "labels", spec_file=spec_file, processes=4)
        packager.steps.batch.require_within(summary, None)

    Args:
        inputs: folders, patterns or files; paths, or URLs that fsspec reads.
        output: folder of the results, or its URL.
        spec_file: the spec; needed where no image is named.
        reporter: is told what is done.
        **wishes: fields of `BatchWish`.

    Returns:
        what it came to; `require_within` raises for items that failed.

    Raises:
        UsageError: something cannot be meant so.
        ContextError: an input is missing, results are there already, or the disk is full; what is done is kept.
        ServiceError: the entry script cannot be loaded, or its init() fails.
        LockError, EngineError, TemporaryError: the environment, the image or a remote input cannot be had.
    """
    wish = BatchWish(**wishes)
    locations = (inputs,) if isinstance(inputs, str) else tuple(inputs)
    _check(wish, locations, spec_file)
    asked = _asked(wish, locations)
    with output_at(os.fspath(output)) as place, ExitStack() as stack:
        shard = asked.shard
        folder = place.folder if wish.shard is None else shard_folder(place.folder, shard.number, shard.count)
        _refuse_inside(folder, locations)
        place.bring(folder)
        scratch = stack.enter_context(run_folder())
        described = _describe(wish, spec_file, locations, scratch, reporter)
        start, processes = stack.enter_context(_started(wish, described.program, _logs(folder), reporter))
        job, parts = _split(wish, asked, described.program, start, scratch)
        run = Run(
            identity=_identity(wish, asked, described.digest),
            split=parts,
            batches=of_shard(parts.batches, shard),
            job=job,
            processes=processes,
            output=folder,
            shown=place.shown(folder),
            error_threshold=wish.error_threshold,
            resume=wish.resume,
            overwrite=wish.overwrite,
        )
        reporter.step(_said(described.title, asked, run))
        summary = run_batch(run, start, reporter.warn)
        return place.sent(summary, folder)


class _Asked(msgspec.Struct, frozen=True, kw_only=True):
    """Which part of which inputs, in mini-batches of which size."""

    files: tuple[InputFile, ...]
    form: Form
    size: Size
    shard: Shard


def _asked(wish: BatchWish, locations: Sequence[str]) -> _Asked:
    shard, files = parse_shard(wish.shard, os.environ), find_inputs(locations)
    form = form_of(files, wish.input_format)
    return _Asked(files=files, form=form, size=parse_mini_batch_size(wish.mini_batch_size, form), shard=shard)


def _split(wish: BatchWish, asked: _Asked, program: Program, start: Start, scratch: Path) -> tuple[Job, Split]:
    """Split the inputs, and return what workers do with the parts; one is asked for the groups of rows in files."""
    limits = Limits(timeout=wish.timeout, init_timeout=wish.init_timeout, tries=wish.tries)
    job = Job(form=asked.form, script=program.script, files=asked.files, scratch=scratch, limits=limits)
    hand = Hand(0, job, start)
    try:
        parts = split(asked.files, asked.form, asked.size, scratch, row_groups(hand))
    finally:
        hand.kill()
    return msgspec.structs.replace(job, files=parts.files), parts


def _identity(wish: BatchWish, asked: _Asked, package: str) -> Identity:
    return Identity(
        package=package,
        script=wish.entry_script or "",
        form=asked.form,
        mini_batch_size=asked.size.text,
        inputs=inputs_digest(asked.files),
        stamps=stamps_digest(asked.files),
        keeps_rows=wish.append_row,
        shard=asked.shard.number,
        shards=asked.shard.count,
    )


def _said(title: str, asked: _Asked, run: Run) -> str:
    shard, count = asked.shard, len(run.batches)
    part = f", shard {shard.number} of {shard.count}" if shard.count > 1 else ""
    at_a_time = min(run.processes, max(count, 1))
    return f"{title}: {len(asked.files)} files, {count} mini-batches ({asked.form}){part}, {at_a_time} at a time"


def merge(output: str | os.PathLike[str], *, overwrite: bool = False) -> Summary:
    """Join the outputs of all shards below a folder into one, which is what a run without shards writes.

    Args:
        output: folder, or its URL, that was the output of each shard.
        overwrite: replace what was merged before.

    Raises:
        ContextError: a shard is missing or was another run; something is there already.
        TemporaryError: a server does not answer.
    """
    with output_at(os.fspath(output)) as place:
        place.bring_shards()
        return place.sent(merge_shards(place.folder, overwrite=overwrite), place.folder)


def require_within(summary: Summary, error_threshold: int | None) -> None:
    """Refuse a run with more failed items than there may be.

    Args:
        summary: of the run.
        error_threshold: how many may fail; -1 ignores them all; None for none.

    Raises:
        ServiceError: more failed.
    """
    if error_threshold == -1 or summary.failed <= (error_threshold or 0):
        return
    ended = "" if summary.complete else f", more than {error_threshold}: the run ended there"
    raise ServiceError(
        f"{summary.failed} of {summary.items} items failed{ended}",
        remedy=f"{summary.output}/{summary.failures} says why; --resume tries them again, --error-threshold -1 ignores",
    )


def as_data(summary: Summary) -> dict[str, Any]:
    """Return what a run came to as it is printed as JSON."""
    data: dict[str, Any] = msgspec.to_builtins(summary)
    return data


def _check(wish: BatchWish, locations: Sequence[str], spec_file: SpecFile | None) -> None:
    if not locations:
        raise UsageError("there is no input", remedy="--input DIR, 'DIR/*.csv' or FILE")
    if wish.address is not None and wish.engine != "ray":
        raise UsageError("--address names a cluster, and nothing runs there", remedy="--engine ray")
    if wish.inside and (wish.docker or wish.reference is not None):
        raise UsageError("--inside runs in the image that this is, and another one is named", remedy="keep one of them")
    if wish.reference is None and spec_file is None and not wish.inside:
        raise UsageError("there is no spec, and no image is named", remedy="run it beside packager.yaml, or name one")
    if (wish.reference or wish.docker) and any(map(is_remote, locations)):
        raise UsageError(
            "containers read inputs of this machine, and one is elsewhere",
            remedy="without --docker it is fetched; else mount or copy it to here",
        )
    least = {"processes": 1, "tries": 1, "error_threshold": -1}
    wrong = [name for name, value in least.items() if getattr(wish, name) is not None and getattr(wish, name) < value]
    if wrong:
        option = f"--{wrong[0].replace('_', '-')}"
        raise UsageError(f"{option} is less than {least[wrong[0]]}", remedy=f"{option} N")


def _refuse_inside(output: Path, locations: Sequence[str]) -> None:
    """Refuse an output below an input: a second run would read the results of the first."""
    for root in (Path(os.path.abspath(each)) for each in locations if not is_remote(each)):
        if root.is_dir() and (output == root or root in output.parents):
            raise UsageError(f"the output {output} is in the input {root}", remedy="another --output")


def _logs(folder: Path) -> Path:
    try:
        (folder / LOGS).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise failure("written", folder, error) from None
    return folder / LOGS


def _describe(
    wish: BatchWish, spec_file: SpecFile | None, locations: Sequence[str], scratch: Path, reporter: Reporter
) -> _Described:
    """Return what runs; without an image the package is laid out in a folder."""
    if wish.inside:
        program = inside(os.environ, wish.entry_script or "", wish.env)
        title = f"{os.environ.get('SERVICE_NAME', 'this image')} {os.environ.get('SERVICE_VERSION', '')}".strip()
        return _Described(program=program, title=f"{title} (inside)", digest=title)
    if wish.reference is None and not wish.docker:
        assert spec_file is not None, "that was checked"
        if wish.entry_script is not None:
            spec_file = _with_script(spec_file, wish.entry_script)
        package = package_on_machine(
            spec_file, one_target(spec_file, wish.target), devices=wish.devices, say=reporter.step
        )
        program = in_environment(package, scratch / "package", wish.env)
        return _Described(program=program, title=package.title, digest=package.labels.get(INPUTS_LABEL, ""))
    reference = wish.reference or spec_references(spec_file, wish.target)[0]  # type: ignore[arg-type]
    image = with_mounts(packaged_image(reference), spec_file, say=reporter.step)
    local = require_local(reference)
    warn_of_stale(spec_file, {reference: local}, reporter)
    gpus, devices = image_devices(image) if wish.devices else (False, ())
    program = in_container(
        image,
        wish.entry_script or "",
        (*roots_of(locations), scratch),
        wish.env,
        os.environ,
        devices,
        gpus=gpus,
    )
    return _Described(program=program, title=image.title, digest=local.id)


def _with_script(spec_file: SpecFile, script: str) -> SpecFile:
    """Return a spec with another entry script.

    Raises:
        UsageError: `source_dir` has none of that name; the spec is not at fault.
    """
    folder = spec_file.root / spec_file.spec.source_dir
    path = os.path.normpath(folder / script)
    inner = os.path.relpath(path, folder)
    within = Path(path).is_relative_to(os.path.normpath(folder))
    if not within or not os.path.isfile(path):
        raise UsageError(
            f"--entry-script {script}: source_dir ({spec_file.spec.source_dir}) has no such file",
            remedy=meant(folder, inner if within else Path(path).name) or "name it as it is called in there",
        )
    spec = msgspec.structs.replace(spec_file.spec, entry_script=inner)
    return msgspec.structs.replace(spec_file, spec=spec)


@contextmanager
def _started(wish: BatchWish, program: Program, logs: Path, reporter: Reporter) -> Iterator[tuple[Start, int]]:
    """Give what starts workers, and how many there may be."""
    if wish.engine == "local":
        yield start_here(program, logs), wish.processes or _processors()
        return
    from packager.batches.ray_workers import cluster, start_on_ray

    with cluster(wish.address) as processors:
        reporter.step(f"the Ray cluster has {processors} processors")
        yield start_on_ray(program), wish.processes or processors


def _processors() -> int:
    """Return how many processors this process may use, as far as the system tells."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
