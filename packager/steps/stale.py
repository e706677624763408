"""Whether an image is still of the files that are here: nobody should test, run or push yesterday's by mistake."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

import msgspec

from packager.builders.builder import BuildWish
from packager.contract import (
    BASE_DIGEST_LABEL,
    BASE_NAME_LABEL,
    INPUTS_LABEL,
    LOCK_LABEL,
    TARGET_LABEL,
    TITLE_LABEL,
)
from packager.decoding import decode_json
from packager.engine.api import LocalImage
from packager.environments.locks.status import read_inputs
from packager.errors import ContextError, LockError, PackagerError, UsageError
from packager.plan.inputs import changes, digest_of, inputs_of
from packager.plan.plan import Plan
from packager.spec.load import SpecFile
from packager.steps.plan import own_templates, plan_platforms
from packager.steps.registered import NotHereError, with_registered
from packager.steps.reporting import Reporter
from packager.storage.memory import Memory
from packager.storage.models import Store

_KIND = "inputs"
#: Memory of digest of a target's lock and platform → package → version.
_LOCKED = "locked"
#: What is named of what changed.
_NAMED = 3


def remember_inputs(plan: Plan, spec_file: SpecFile) -> None:
    """Remember what an image is made from, so that it can be told later what changed."""
    inputs, memory = _inputs(plan, spec_file), Memory(_KIND)
    digest = digest_of(inputs)
    if memory.recall(digest) is None:
        memory.remember(msgspec.json.encode(inputs), digest)
    locked, versions = (plan.lock_digest, plan.platform), Memory(_LOCKED)
    if versions.recall(*locked) is None:
        versions.remember(msgspec.json.encode(plan.environment.locked.versions), *locked)


def changes_since(plan: Plan, spec_file: SpecFile, labels: Mapping[str, str]) -> tuple[str, ...]:
    """Return what changed since an image was built, a line each: inputs, packages, base; nothing where all is equal.

    Inputs and packages are named where the image was built on this machine.

    Args:
        plan: as it is now.
        spec_file: the spec, as it is for the plan's target.
        labels: of the image.
    """
    lines = []
    if (label := labels.get(INPUTS_LABEL, "")) != plan.config.labels[INPUTS_LABEL]:
        before = _recalled(_KIND, label.removeprefix("sha256:"))
        names = changes(before, _inputs(plan, spec_file)) if before else ()
        lines += [f"{name} changed" for name in names] or ["its inputs changed (which is known where it was built)"]
    if labels.get(LOCK_LABEL) != plan.lock_digest:
        old, new = _recalled(_LOCKED, labels.get(LOCK_LABEL, ""), plan.platform), plan.environment.locked.versions
        for name in sorted({*old, *new}) if old else ():
            if old.get(name) != new.get(name):
                lines.append(f"{name}: {old.get(name, 'not there')} -> {new.get(name, 'not there')}")
    if (digest := labels.get(BASE_DIGEST_LABEL)) and digest != plan.base.digest:
        lines.append(f"base: {labels.get(BASE_NAME_LABEL, '')}@{digest} -> {plan.base.reference}@{plan.base.digest}")
    return tuple(lines)


def _recalled(kind: str, *key: str) -> dict[str, str]:
    with suppress(msgspec.DecodeError):
        return decode_json(Memory(kind).recall(*key) or b"{}", dict[str, str])
    return {}


class Changed(msgspec.Struct, frozen=True, kw_only=True):
    """What changed since an image was built.

    Attributes:
        what: in words that `since … was built` can follow; empty where nothing did.
        first: what to do before it can be built again, where something is.
    """

    what: str = ""
    first: str = ""

    def __bool__(self) -> bool:
        return bool(self.what)


def changed_since(spec_file: SpecFile | None, image: LocalImage) -> Changed:
    """Return what changed since an image was built of a spec (`src/score.py changed`).

    That is nothing, too, where it cannot be told: there is no spec, the image is another one's, or of an older
    packager.

    Args:
        spec_file: the spec.
        image: of the engine.
    """
    label, target = image.labels.get(INPUTS_LABEL), image.labels.get(TARGET_LABEL, "")
    if spec_file is None or label is None or image.labels.get(TITLE_LABEL) != spec_file.spec.name:
        return Changed()
    if target not in spec_file.spec.target_names:
        return Changed()
    try:
        spec_file = with_registered(spec_file, fetch=False)
        (planned,) = plan_platforms(
            read_inputs(spec_file, target), [image.platform], base=None, digest_model=Store().digest
        )
    except NotHereError:
        return Changed()  # an image of a workspace's model that another machine built
    except PackagerError as error:
        return _unknown(error, target)
    if planned.plan.config.labels[INPUTS_LABEL] == label:
        return Changed()
    before = _recalled(_KIND, label.removeprefix("sha256:"))
    names = changes(before, _inputs(planned.plan, spec_file)) if before else ()
    return Changed(what=_sentence(names))


def _unknown(error: PackagerError, target: str) -> Changed:
    """Return that nobody can tell what changed, because the spec, its lock or a file is not as it should be."""
    first, *more = error.message.splitlines()
    if not isinstance(error, LockError):
        what = f"{first.rstrip(':')}, so it is not known what changed"
        return Changed(what=what, first=error.remedy or "mend that")
    reasons = "; ".join(line.strip().removeprefix(f"{target}: ") for line in more)
    what = f"the lock no longer fits the spec ({reasons})" if more else first
    return Changed(what=f"{what}, so it is not known what changed", first="`packager lock`")


def build_first(
    spec_file: SpecFile | None, wish: BuildWish, references: str | Sequence[str], reporter: Reporter
) -> None:
    """Build what a verb works on, and load it into the engine, before it does: `--build`.

    Args:
        spec_file: the spec.
        wish: of the build; it is loaded.
        references: names that the image gets in place of the spec's, where there are some.
        reporter: is told what is done.

    Raises:
        UsageError: there is no spec.
        PackagerError: see `packager.steps.build.build`.
    """
    from packager.steps.build import build

    if spec_file is None:
        raise UsageError("--build needs a spec, and there is none here", remedy="-f FILE names it")
    tags = (references,) if isinstance(references, str) else tuple(references)
    build(spec_file, msgspec.structs.replace(wish, load=True, tags=tags), reporter=reporter)


def warn_of_stale(spec_file: SpecFile | None, images: Mapping[str, LocalImage], reporter: Reporter) -> None:
    """Say of each image that it is not of the files that are here.

    Args:
        spec_file: the spec; None where there is none.
        images: reference → the engine's image.
        reporter: is told.
    """
    for reference, image in images.items():
        if changed := changed_since(spec_file, image):
            build = f"{changed.first}, and then --build" if changed.first else "--build builds it first"
            reporter.warn(f"{changed.what} since {reference} was built ({build})")


def refuse_stale(spec_file: SpecFile | None, images: Mapping[str, LocalImage]) -> None:
    """Refuse images that are not of the files that are here.

    Args:
        spec_file: the spec; None where there is none.
        images: reference → the engine's image.

    Raises:
        ContextError: one is not.
    """
    for reference, image in images.items():
        if changed := changed_since(spec_file, image):
            raise ContextError(
                f"{changed.what} since {reference} was built: nothing is pushed",
                remedy=f"{f'{changed.first}, and then ' if changed.first else ''}--build builds it first; "
                "--stale pushes what is there",
            )


def _inputs(plan: Plan, spec_file: SpecFile) -> dict[str, str]:
    return inputs_of(plan, own_templates(spec_file) if plan.own_template else None)


def _sentence(names: Sequence[str]) -> str:
    if not names:
        return "its inputs changed"
    more = len(names) - _NAMED
    listed = ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
    return f"{listed} changed"
