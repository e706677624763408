"""The build context of an image, staged for BuildKit beside the store, and one image built of it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from packager.builders.emulation import require_platform, require_runnable
from packager.context.build_context import BuildContext
from packager.context.save import save
from packager.engine.api import inspect_local
from packager.engine.buildx import BuildOptions, BuildRequest, Built, build
from packager.errors import EngineError
from packager.handoff.context import build_context
from packager.plan.planned import Planned
from packager.revision import build_labels, source_date_epoch
from packager.storage.collect import Guard, Kind
from packager.storage.locks import lock_of, turn
from packager.storage.memory import cache_root
from packager.storage.models import Store


def build_image(planned: Planned, options: BuildOptions, *, say: Callable[[str], None] = lambda _: None) -> Built:
    """Stage the context, and build it by BuildKit.

    Args:
        planned: the image; its models are put into the store if they are not there yet.
        options: see `BuildOptions`; `tags` take the place of the spec's references.
        say: is told what is being done.

    Raises:
        ContextError: a file changed since it was planned, or the disk is full.
        EngineError, RegistryError, TemporaryError: see `packager.engine.buildx.build`.
    """
    plan = planned.plan
    epoch = source_date_epoch(locked=planned.created)
    with staged(planned, say, options.builder) as (folder, _context):
        given = msgspec.structs.asdict(options) | {
            "tags": options.tags or plan.references,
            "labels": {**build_labels(planned.root, epoch), **options.labels},
        }
        request = BuildRequest(
            context=folder,
            platform=plan.platform,
            source_date_epoch=epoch,
            channels=plan.environment.channels,
            **given,
        )
        return build(request)


@contextmanager
def staged(
    planned: Planned, say: Callable[[str], None], builder: str | None = None
) -> Iterator[tuple[Path, BuildContext]]:
    """Give the folder that holds the build context of an image while BuildKit reads it, and the context.

    Args:
        planned: the image.
        say: is told what is being done.
        builder: name of the buildx builder that will build it; the current one where None.

    Raises:
        ContextError: a file changed since it was planned, or the disk is full.
        EngineError: the base is one of the engine's, and it is another by now; the builder cannot run the platform.
        RegistryError: the base is not there for the platform.
    """
    # For BuildKit, whatever the spec says of contexts for others: secrets and caches reach the steps.
    planned = planned.in_dialect("buildkit")
    plan = planned.plan
    require_runnable(plan.platform, builder)
    if plan.base.local:
        _require_local_base(plan.base.source, plan.base.digest)
    require_platform(plan.base, plan.platform)
    context = build_context(planned)
    with _staging(planned.spec, plan.target, plan.platform) as folder:
        say(f"staging {len(context.files)} files")
        save(context, planned.root, folder, Store(), force=True)
        yield folder, context


def _require_local_base(reference: str, image_id: str) -> None:
    """A tag of the engine can move between the plan and the build; the digest in labels and manifest must not lie."""
    found = inspect_local(reference, required=True)
    if found is None or found.id != image_id:
        now = "is gone" if found is None else f"is {found.id} now"
        raise EngineError(f"the base {reference} was {image_id} and {now}", remedy="run the build again")


@contextmanager
def _staging(spec: Path, target: str, platform: str) -> Iterator[Path]:
    """Give the folder in which this spec's context is staged, held against other builds of it.

    It is the same at every build, because BuildKit remembers by path what an engine already has: unchanged weights are
    not sent again. It stays for the next build; models in it are hard links to the store.
    """
    key = hashlib.sha256(f"{spec}\0{target}\0{platform}".encode()).hexdigest()[:16]
    parent = context_kind(cache_root()).root
    with turn(lock_of(parent / key)) as lock:
        os.utime(lock)
        yield parent / key


def context_kind(cache: Path) -> Kind:
    """Return the contexts of a cache that were staged for BuildKit; a build under way holds its own."""
    return Kind(
        name="staged context",
        root=cache / "contexts",
        patterns=("[!.]*",),
        things="folder",
        cost=0,
        keeps=0.0,
        marker=".lock",
        guards=(Guard(),),
    )
