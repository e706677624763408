"""The outputs of all shards → one, as a run without shards has it."""

from __future__ import annotations

import os
import re
import shutil
from contextlib import suppress
from pathlib import Path

import msgspec

from packager.batches.journal import differences, write_summary
from packager.batches.values import FAILURES, RESULTS, SHARDS, SUMMARY, Summary
from packager.decoding import decode_json
from packager.errors import ContextError
from packager.storage.reading import failure

_NAME = re.compile(r"([0-9]+)-of-([0-9]+)")


def shard_folder(output: Path, number: int, count: int) -> Path:
    """Return the folder of a shard's output."""
    return output / SHARDS / f"{number:05d}-of-{count:05d}"


def merge(output: Path, *, overwrite: bool = False) -> Summary:
    """Join the outputs of all shards below a folder, in order, and return what they came to.

    Args:
        output: folder that was the output of each shard.
        overwrite: replace what was merged before.

    Raises:
        ContextError: a shard is missing, has not ended, or was another run; something is there already.
    """
    if not overwrite and any((output / name).exists() for name in (RESULTS, SUMMARY)):
        raise ContextError(f"{output} has the results of a run", remedy="--overwrite replaces them")
    shards = _shards(output)
    summaries = [_summary(folder) for folder in shards]
    for folder, summary in zip(shards, summaries, strict=True):
        before, now = (msgspec.structs.replace(each.identity, shard=0, stamps="") for each in (summaries[0], summary))
        if changed := differences(before, now):
            raise ContextError(
                f"{folder} is of another run than {shards[0]}: {', '.join(changed)} differ",
                remedy="run that shard again with --overwrite",
            )
    keeps, lost = summaries[0].identity.keeps_rows, sum(each.failed for each in summaries)
    try:
        for name, wanted in ((RESULTS, keeps), (FAILURES, bool(lost))):
            if wanted:
                _join([folder / name for folder in shards], output / name)
            else:
                with suppress(FileNotFoundError):
                    (output / name).unlink()
    except OSError as error:
        raise failure("written", output, error) from None
    seconds = max(each.seconds for each in summaries)
    items = sum(each.items for each in summaries)
    merged = Summary(
        identity=msgspec.structs.replace(summaries[0].identity, shard=0, shards=1),
        output=str(output),
        results=RESULTS if keeps else None,
        failures=FAILURES if lost else None,
        items=items,
        succeeded=sum(each.succeeded for each in summaries),
        failed=lost,
        mini_batches=sum(each.mini_batches for each in summaries),
        tried_again=sum(each.tried_again for each in summaries),
        taken_over=sum(each.taken_over for each in summaries),
        seconds=seconds,
        items_per_second=round(items / seconds, 1) if seconds else None,
        complete=True,
    )
    write_summary(output, merged)
    return merged


def _shards(output: Path) -> list[Path]:
    """Return the folders of all shards, in order."""
    named = {}
    with suppress(FileNotFoundError):
        named = {each: found for each in (output / SHARDS).iterdir() if (found := _NAME.fullmatch(each.name))}
    counts = {int(found[2]) for found in named.values()}
    if not named:
        raise ContextError(f"{output} has no outputs of shards", remedy="packager batch --shard I/N --output DIR")
    if len(counts) > 1:
        said = ", ".join(map(str, sorted(counts)))
        raise ContextError(
            f"{output / SHARDS} has shards of several runs: of {said}", remedy="remove those of the other"
        )
    count = counts.pop()
    missing = [n for n in range(count) if not (shard_folder(output, n, count) / SUMMARY).exists()]
    if missing:
        said = ", ".join(map(str, missing[:10])) + (" …" if len(missing) > 10 else "")
        raise ContextError(
            f"{len(missing)} of {count} shards have not ended: {said}", remedy=f"--shard {missing[0]}/{count} --resume"
        )
    return [shard_folder(output, number, count) for number in range(count)]


def _summary(folder: Path) -> Summary:
    try:
        summary = decode_json((folder / SUMMARY).read_bytes(), Summary)
    except (OSError, msgspec.DecodeError) as error:
        raise ContextError(f"{folder / SUMMARY} cannot be read: {error}") from None
    if not summary.complete:
        shard = f"{summary.identity.shard}/{summary.identity.shards}"
        raise ContextError(f"shard {shard} ended at its error threshold", remedy=f"--shard {shard} --resume")
    return summary


def _join(parts: list[Path], path: Path) -> None:
    new = path.with_name(f".{path.name}.new")
    with new.open("wb") as target:
        for part in parts:
            if part.name == FAILURES and not part.exists():
                continue
            with part.open("rb") as source:
                shutil.copyfileobj(source, target, 1 << 20)
        target.flush()
        os.fsync(target.fileno())
    new.replace(path)
