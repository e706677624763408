"""The step `plan`: spec, target, lock and files → what an image is made of."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress

import msgspec
from msgspec import UNSET

from packager.context.artefacts import check_artefacts
from packager.context.generated import app_files, serving_files
from packager.context.sources import DigestModel, scan_sources
from packager.contract import SCORE_PATH
from packager.environments.channel_mirrors import channel_mirrors
from packager.environments.dependencies import PackageFacts
from packager.environments.locked import LockedPlatform
from packager.environments.locks.status import TargetInputs, read_inputs
from packager.errors import ContextError
from packager.given import read_given
from packager.plan.inputs import with_inputs
from packager.plan.make import make_plan, require_server
from packager.plan.plan import Base, Plan
from packager.plan.planned import Planned
from packager.registry.mirrors import registry_mirrors
from packager.spec.load import SpecFile
from packager.steps.registered import with_registered
from packager.steps.reporting import SILENT, Reporter
from packager.storage.content import ContentStore
from packager.storage.memory import Memory, cache_root
from packager.storage.models import Store
from packager.storage.reading import digest_file

#: Characters of a request that is shown in a command.
SHOWN_REQUEST = 600


def plan_image(
    spec_file: SpecFile,
    target: str,
    platform: str | None = None,
    *,
    base: Base | str | None = None,
    digest_model: DigestModel | None = None,
    reporter: Reporter = SILENT,
) -> Planned:
    """Plan one image.

    Args:
        spec_file: the spec.
        target: one of its targets.
        platform: OCI os/arch; the target's first where None.
        base: another base image: a reference at a registry or in the engine, an archive, or one that was looked up.
        digest_model: gives sha256 and size of a model file; the store's `digest` where None.
        reporter: is told what is fetched of a workspace.

    Raises:
        SpecError: an unknown target, or a platform that it was not locked for.
        LockError: the lock is missing, stale, or was edited by hand.
        ContextError: a source file or a model is missing, empty, unreadable, or leaves the spec's folder; an artefact
            that the target needs is missing or of another kind.
        RegistryError, EngineError, TemporaryError: the other base is not to be had.
    """
    if isinstance(base, str):
        base = find_base(spec_file, base)
    spec_file = with_registered(spec_file, say=reporter.step)
    (planned,) = plan_platforms(
        read_inputs(spec_file, target), [platform], base=base, digest_model=digest_model or Store().digest
    )
    return planned


def plan_platforms(
    inputs: TargetInputs, platforms: Sequence[str | None], *, base: Base | None, digest_model: DigestModel
) -> tuple[Planned, ...]:
    """Plan the images of one target, one for each platform; the user's files are read once.

    Args:
        inputs: of the target.
        platforms: OCI os/arch; None for the target's first.
        base: takes the place of the lock's base image.
        digest_model: gives sha256 and size of a model file.

    Raises:
        SpecError, LockError, ContextError: see `plan_image`.
    """
    own, target = inputs.spec_file, inputs.target
    locks = [inputs.locked(platform) for platform in platforms]
    # Who looks at all but the packages has no lock, and so no digest of one.
    for locked in locks if inputs.lock.locked.digest else ():
        require_server(locked)
    sources = scan_sources(own, digest_model)
    mirrors = registry_mirrors(own.spec.registry_mirrors)
    channels = channel_mirrors(own.spec.conda.channel_mirrors, os.environ)
    template, spec = own_template(inputs), own.document.path.absolute()
    texts = own_templates(own) if template else {}
    planned, server = [], serving_files()
    for locked in locks:
        generated = app_files(own, sources, locked.python)
        plan = make_plan(
            own.spec,
            target,
            locked,
            msgspec.structs.replace(sources, generated=generated, server=server),
            base=base,
            mirrors=mirrors,
            channel_mirrors=channels,
            digests={name: each.digest for name, each in own.laid.items()},
            environment=own.laid_environment,
        )
        check_artefacts(own, target, plan)
        plan = with_inputs(msgspec.structs.replace(plan, own_template=template), texts)
        planned.append(
            Planned(
                plan=plan,
                spec=spec,
                requirements=inputs.lock.requirements,
                conda=inputs.lock.conda_text,
                secrets=sources.secrets,
                request=sample_request(own),
                created=inputs.created,
            )
        )
    return tuple(planned)


def sample_request(spec_file: SpecFile) -> str:
    """Return the first short JSON request of a test that succeeds, on one line; empty where there is none."""
    for case in spec_file.spec.test:
        if case.path != SCORE_PATH or case.expect.status != 200:
            continue
        body = case.request
        if case.file is not None and case.file.endswith(".json"):
            # A file that is missing or no JSON is told by `check`, and is no reason not to package.
            with suppress(OSError, ValueError):
                body = json.loads(read_given(spec_file.root / case.file, below=spec_file.root))
        if body is not UNSET and len(text := json.dumps(body, ensure_ascii=False)) <= SHOWN_REQUEST:
            return text
    return ""


class KnownSizes(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes that this machine knows of an image that is planned.

    Attributes:
        base: of the base's layers, as they are pulled (unpacked where only an engine has it); None where unknown.
        packages: name → bytes of its unpacked files, for pip's packages.
        conda: likewise for conda's.
    """

    base: int | None = None
    packages: dict[str, int] = {}
    conda: dict[str, int] = {}


def known_sizes(planned: Planned) -> KnownSizes:
    """Return how large the base and the packages of an image are, as far as this machine knows; nothing is fetched."""
    from packager.laying.package_memory import recall_facts

    plan, locked = planned.plan, planned.plan.environment.locked
    facts = recall_facts(locked)
    if any(each.name not in facts and each.name not in locked.from_source for each in locked.packages):
        facts = _looked_up(planned)
    return KnownSizes(
        base=_known_base(plan),
        packages={name: each.size for name, each in facts.items()},
        conda=_known_conda(locked) if locked.conda_packages else {},
    )


def _looked_up(planned: Planned) -> dict[str, PackageFacts]:
    # What looks into wheels is imported late, here and below: it takes a tenth of a `plan`.
    from packager.laying.package_facts import wheel_facts
    from packager.laying.wheels import Source

    try:
        # Once for all of them: whoever wants to know more has `packager tree`.
        source = Source.of(planned.root)
        return wheel_facts(planned.plan.environment.locked, source, cache_root(), fetch=False, tries=1)
    except ContextError:
        return {}  # a cache that cannot be written


def _known_conda(locked: LockedPlatform) -> dict[str, int]:
    from packager.laying.package_facts import conda_facts

    facts = conda_facts(locked.conda_packages, locked.subdir, cache_root())
    return {name: each.size for name, each in facts.items()}


def _known_base(plan: Plan) -> int | None:
    base, content, memory = plan.base, ContentStore(), Memory("base-sizes")
    pinned = not (base.local or base.archived)
    if pinned and (kept := memory.recall(base.digest, plan.platform)) is not None and kept.isdigit():
        return int(kept)
    if pinned and not content.has(base.digest):
        return None
    from packager.builders.base_size import base_size

    size = base_size(base, plan.platform, content)
    if pinned and size is not None:
        memory.remember(str(size).encode(), base.digest, plan.platform)
    return size


def say_secrets(planned: Iterable[Planned], reporter: Reporter) -> None:
    """Say in one line which files and folders are not packaged because secrets are kept there."""
    left_out = sorted({path for each in planned for path in each.secrets})
    if left_out:
        more = f" and {len(left_out) - 5} more" if len(left_out) > 5 else ""
        reporter.step(
            f"not packaged, as secrets are kept there: {', '.join(left_out[:5])}{more} (see `packager check`)"
        )


def find_base(spec_file: SpecFile, reference: str | None, reporter: Reporter = SILENT) -> Base | None:
    """Return the base image that a reference names, as `--base` does; None where there is none, by default either.

    Raises:
        UsageError, ContextError, RegistryError, TemporaryError: see `packager.builders.base_option.resolve_base`.
    """
    reference = reference or spec_file.other_base
    if reference is None:
        return None
    from packager.builders.base_option import resolve_base

    base = resolve_base(reference, registry_mirrors(spec_file.spec.registry_mirrors))
    reporter.detail(f"base {base.reference} is {base.digest}")
    return base


def own_templates(spec_file: SpecFile) -> dict[str, str]:
    """Return the user's templates: path from the spec's folder → sha256 of the text."""
    return {
        f"{spec_file.templates.name}/{path.name}": digest_file(path).digest
        for path in sorted(spec_file.templates.glob("*.j2"))
        if path.is_file()
    }


def own_template(inputs: TargetInputs) -> str:
    """Return the first template of the user's that the Dockerfile is made of; empty where all are ours."""
    for name in (inputs.target.template, "base.Dockerfile.j2", "conda-environment.j2"):
        if (inputs.spec_file.templates / name).is_file():
            return name
    return ""
