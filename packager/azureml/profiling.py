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
from packager.steps.declared import package_name
from packager.steps.profile import Profile, profile

if TYPE_CHECKING:
    from packager.azureml.core.workspace import Workspace

KIND = "profiles"
#: v1's, where nothing is said.
_CPU, _GIGABYTES = 3.5, 15.0
_GB = 1 << 30


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
    reference = f"{package_name(name)}:profile"
    with ONE_AT_A_TIME:
        declared = declare(workspace, name, models, config)
        build_image(workspace, declared, KIND, reference)
    cpus = min(cpu or _CPU, float(os.cpu_count() or 1))
    memory = min(memory_in_gb or _GIGABYTES, _machine_gb())
    data: dict[str, Any] = {
        "description": description, "createdTime": datetime.now(UTC).isoformat(), "requestedCpu": cpus,
        "requestedMemoryInGB": memory, "requestedQueriesPerSecond": 0,
    }  # fmt: skip
    try:
        data |= {
            "state": "Succeeded",
            **details(profile(reference, bodies, cpus=cpus, memory_gb=memory, reporter=LINES)),
        }
    except PackagerError as error:
        data |= {"state": "Failed", "error": {"message": str(error)}}
    records.write(workspace, KIND, name, data)
    return {"name": name, **data}


def details(found: Profile) -> dict[str, Any]:
    """Return what was measured by the names that v1 has. Pure."""
    own = found.asked
    return {
        "maxUtilizedMemoryInGB": round(own.max_memory / _GB, 4),
        "maxUtilizedCpu": round(own.max_cpus, 4),
        "totalQueries": own.requests,
        "successQueries": own.succeeded,
        "successRate": round(100 * own.succeeded / own.requests, 4),
        "averageLatencyInMs": round(own.average, 4),
        "latencyPercentile50InMs": round(own.percentile(50), 4),
        "latencyPercentile90InMs": round(own.percentile(90), 4),
        "latencyPercentile95InMs": round(own.percentile(95), 4),
        "latencyPercentile99InMs": round(own.percentile(99), 4),
        "latencyPercentile999InMs": round(own.percentile(99.9), 4),
        "measuredQueriesPerSecond": round(own.rate, 4),
        "recommendedCpu": found.cpus,
        "recommendedMemoryInGB": found.memory_gb,
    }


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
