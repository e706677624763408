"""What a worker answers → what became of a mini-batch. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from packager.batches.values import Failure, InputFile, MiniBatch, Outcome


def failed(batch: MiniBatch, files: Sequence[InputFile], reason: str, tries: int) -> Outcome:
    """Return the outcome of a mini-batch of which no item has a result. Pure."""
    return Outcome(
        number=batch.number,
        items=batch.items,
        succeeded=0,
        failures=(_failure(batch, files, batch.items, reason, tries),),
        tries=tries,
    )


def answered(batch: MiniBatch, files: Sequence[InputFile], answer: dict[str, Any], data: bytes, tries: int) -> Outcome:
    """Return the outcome that a worker's answer tells. Pure."""
    items, rows = answer["items"], answer["succeeded"]
    if "failures" in answer:
        failures = tuple(
            _failure(one_of(batch, index), files, 1, reason, tried) for index, reason, tried in answer["failures"]
        )
    else:
        # More results than items is the script's own business: each item has one then.
        short = max(items - rows, 0)
        reason = f"run() returned {rows} results for {items} items: it does not say which failed"
        failures = (_failure(batch, files, short, reason, tries),) if short else ()
    lost = sum(each.failed for each in failures)
    return Outcome(number=batch.number, items=items, succeeded=items - lost, data=data, failures=failures, tries=tries)


def one_of(batch: MiniBatch, index: int) -> MiniBatch:
    """Return one item of a mini-batch as one of its own; of records, with the bytes of all of them."""
    if batch.whole:
        return msgspec.structs.replace(batch, file=batch.file + index, files=1, items=1)
    return msgspec.structs.replace(batch, first=batch.first + index, items=1)


def _failure(batch: MiniBatch, files: Sequence[InputFile], count: int, reason: str, tries: int) -> Failure:
    chosen = files[batch.file : batch.file + batch.files]
    first, last = batch.first + 1, batch.first + batch.items
    return Failure(
        mini_batch=batch.number,
        inputs=tuple(each.name for each in chosen),
        failed=count,
        reason=reason,
        tries=tries,
        record=first if not batch.whole and batch.items == 1 else None,
        records=(first, last) if not batch.whole and batch.items > 1 else None,
    )
