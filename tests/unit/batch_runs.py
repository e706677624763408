"""Batches of scripts that need nothing, run by the tests' own Python."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from packager.batches.listing import find_inputs
from packager.batches.planning import split
from packager.batches.pool import Hand, Job, Limits, row_groups
from packager.batches.run import Run, run_batch
from packager.batches.splitting import Shard, form_of, of_shard, parse_mini_batch_size
from packager.batches.values import LOGS, Identity, Summary, inputs_digest, stamps_digest
from packager.batches.workers import Program, start_here

NAMES = """\
import os

def init():
    pass

def run(mini_batch):
    return [os.path.basename(path) + " " + open(path).read().strip() for path in mini_batch]
"""


def described(script: Path, **env: str) -> Program:
    """How the worker runs a script with the tests' own Python."""
    words = (sys.executable, "{program}/worker.py")
    return Program(words=words, environ={**os.environ, **env}, folder=str(script.parent), script=str(script))


def run_here(
    folder: Path,
    text: str,
    inputs: str | Sequence[str],
    *,
    form: str = "auto",
    size: str | None = None,
    processes: int = 1,
    limits: Limits | None = None,
    output: str = "out",
    shard: Shard = Shard(),  # noqa: B008 - it is frozen
    keeps_rows: bool = True,
    warn: Callable[[str], None] = lambda _: None,
    env: dict[str, str] | None = None,
    **options: Any,
) -> Summary:
    """Run a script over inputs, into a folder."""
    script = folder / "batch_script.py"
    script.write_text(text)
    place = folder / output if shard.count == 1 else folder / output / f"shards/{shard.number:05d}-of-{shard.count:05d}"
    files = find_inputs((inputs,) if isinstance(inputs, str) else inputs)
    form_found = form_of(files, form)
    parsed = parse_mini_batch_size(size, form_found)
    start = start_here(described(script, **(env or {})), _made(place / LOGS))
    scratch = _made(folder / "scratch")
    job = Job(form=form_found, script=str(script), files=files, scratch=scratch, limits=limits or Limits(tries=1))
    hand = Hand(0, job, start)
    try:
        parts = split(files, form_found, parsed, scratch, row_groups(hand))
    finally:
        hand.kill()
    identity = Identity(
        package="test",
        script=text,
        form=form_found,
        mini_batch_size=parsed.text,
        inputs=inputs_digest(files),
        stamps=stamps_digest(files),
        keeps_rows=keeps_rows,
        shard=shard.number,
        shards=shard.count,
    )
    run = Run(
        identity=identity,
        split=parts,
        batches=of_shard(parts.batches, shard),
        job=Job(form=form_found, script=str(script), files=parts.files, scratch=scratch, limits=job.limits),
        processes=processes,
        output=place,
        **options,
    )
    return run_batch(run, start, warn)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
