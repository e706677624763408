"""`Model.profile`, done by the step `profile`."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packager.azureml import records
from packager.azureml.calling import LINES, ONE_AT_A_TIME
from packager.azureml.exceptions import UserErrorException
from packager.azureml.packaging import build_image, declare
from packager.errors import PackagerError
from packager.steps.profile import GB, Profile, ProfileWish, details, profile
from packager.steps.v1_profile import PROFILES, image_of_profile

if TYPE_CHECKING:
    from packager.azureml.core.workspace import Workspace

KIND = PROFILES
#: Under each limits: v1's users wait for a profile.
_REQUESTS, _SECONDS, _READY_IN = 200, 3.0, 300.0


def profile_models(
    workspace: Workspace,
    name: str,
    models: Sequence[Any],
    config: Any,
    samples: Any,
    cpu: float | None,
    memory_in_gb: float | None,
    description: str | None,
) -> dict[str, Any]:
    """Package models, measure the image, and return what is remembered of it; a failed one, too.

    Raises:
        UserErrorException: there is no request.
        WebserviceException, PackagerError: it cannot be packaged.
    """
    if not name:
        raise UserErrorException("profile_name cannot be None or empty.")
    bodies = bodies_of(samples)
    reference = image_of_profile(name)
    with ONE_AT_A_TIME:
        declared = declare(workspace, name, models, config)
        build_image(workspace, declared, KIND, reference)
    wish = ProfileWish(
        reference=reference,
        name=name,
        description=description or "",
        bodies=bodies,
        # What this machine has not cannot be given; without a wish, the step takes v1's own and what there is.
        cpu=None if cpu is None else min(cpu, float(os.cpu_count() or 1)),
        memory=None if memory_in_gb is None else round(min(memory_in_gb, _machine_gb()) * GB),
        requests=_REQUESTS,
        seconds=_SECONDS,
        timeout=_READY_IN,
    )
    data: dict[str, Any] = {"description": description, "createdTime": datetime.now(UTC).isoformat()}
    try:
        data |= measured(profile(wish, reporter=LINES))
    except PackagerError as error:
        data |= {"state": "Failed", "error": {"message": str(error)}}
    records.write(workspace, KIND, name, data)
    return {"name": name, **data}


def measured(found: Profile) -> dict[str, Any]:
    """Return what was measured under the limits that were asked for, and what is recommended, by v1's names. Pure."""
    first = found.rows[0]
    data = {key: value for key, value in details(found, first).items() if key not in ("name", "description", "error")}
    if first.state == "Failed":
        return {**data, "error": {"message": first.reason or found.advice}}
    limits = found.recommended or first.limits
    memory = None if limits.memory is None else round(limits.memory / GB, 4)
    return {**data, "recommendedCpu": limits.cpu, "recommendedMemoryInGB": memory}


def bodies_of(samples: Any) -> tuple[bytes, ...]:
    """Return request bodies: of a dataset's rows or files, of a text or bytes, or of what JSON has.

    Raises:
        UserErrorException: there is none.
    """
    if hasattr(samples, "rows"):
        found = tuple(row[0].encode() for row in samples.rows() if row)
    elif hasattr(samples, "_paths"):
        found = tuple(Path(path).read_bytes() for path in samples._paths)
    elif samples is None:
        found = ()
    else:
        found = (samples if isinstance(samples, bytes) else _text(samples).encode(),)
    if not found:
        raise UserErrorException("input_dataset has no request: each row of its first column is the body of one")
    return found


def _text(samples: Any) -> str:
    try:
        return samples if isinstance(samples, str) else json.dumps(samples)
    except (TypeError, ValueError):
        raise UserErrorException(
            f"input_dataset is a dataset, or a request: {type(samples).__name__} is none"
        ) from None


def _machine_gb() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // (1 << 28) / 4
