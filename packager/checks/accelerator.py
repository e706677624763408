"""Whether what is locked fits the target: a GPU that nothing uses, CUDA where there is no GPU. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from packager.finding import Finding
from packager.plan.plan import Plan
from packager.targets import Target

# NVIDIA's own wheels and conda packages, and those that others publish under a name of its own.
_NAME = re.compile(
    r"(?:nvidia|cuda)-.+|cuda-?toolkit|cudnn|cupy(?:-.+)?|tensorrt(?:-.+)?|onnxruntime-gpu|jax-cuda.+|.+-cu1[0-9]"
)
# Read what the driver says, or hold a version: no CUDA code is in them.
_BESIDE = frozenset({"nvidia-ml-py", "cuda-version"})


def cuda_packages(plan: Plan) -> tuple[str, ...]:
    """Return the names of the locked packages that hold CUDA code."""
    found = {each.name for each in plan.environment.packages if _by_name(each.name) or "+cu" in each.version}
    for each in plan.environment.conda_packages:
        if _by_name(each.name) or "cuda" in each.build:
            found.add(each.name)
    return tuple(sorted(found))


def _by_name(name: str) -> bool:
    return name not in _BESIDE and _NAME.fullmatch(name) is not None


def check_accelerator(plan: Plan, target: Target) -> Iterator[Finding]:
    """Yield a warning where target and packages do not agree on CUDA."""
    found = cuda_packages(plan)
    file = f"locks/{plan.target}.requirements.txt"
    if target.cuda is not None and not found:
        yield Finding(
            rule="gpu-unused",
            severity="warning",
            message=f"the target {plan.target!r} promises CUDA, and no locked package uses it",
            file=file,
            remedy=f"`targets: {{{plan.target}: {{environment: {{remove: [onnxruntime], add: {{pip: "
            "[onnxruntime-gpu]}}}}`, or use the target cpu",
        )
    if target.cuda is None and found:
        more = f" and {len(found) - 3} more" if len(found) > 3 else ""
        yield Finding(
            rule="cuda-without-gpu",
            severity="warning",
            message=f"the target {plan.target!r} has no GPU, and CUDA is locked: {', '.join(found[:3])}{more}",
            file=file,
            remedy="ask for the builds without CUDA, or use the target gpu",
        )
