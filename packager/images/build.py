"""Planned image → image: the context is staged beside the store, and BuildKit builds it."""

from __future__ import annotations

import fcntl
import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec

from packager.context.save import save
from packager.errors import ContextError, EngineError
from packager.images.buildx import BuildRequest, Built, build
from packager.images.engine import inspect_local
from packager.images.revision import build_labels, source_date_epoch
from packager.pipeline import Planned, build_context
from packager.spec.load import SpecFile
from packager.store import Store, default_root


class BuildOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a build can be asked for, besides its inputs; the names are those of `docker buildx build`."""

    tags: tuple[str, ...] = ()
    push: bool = False
    load: bool = False
    no_cache: bool = False
    pull: bool = False
    secrets: tuple[str, ...] = ()
    build_args: tuple[str, ...] = ()
    labels: Mapping[str, str] = {}
    cache_from: tuple[str, ...] = ()
    cache_to: tuple[str, ...] = ()
    network: str | None = None
    builder: str | None = None
    progress: str = "auto"
    metadata_file: Path | None = None
    iidfile: Path | None = None
    outputs: tuple[str, ...] = ()


def build_image(
    spec_file: SpecFile, planned: Planned, options: BuildOptions, *, say: Callable[[str], None] = lambda _: None
) -> Built:
    """Stage the context, and build it by BuildKit.

    Args:
        spec_file: the spec, for its folder.
        planned: the image; its models are put into the store if they are not there yet.
        options: see `BuildOptions`; `tags` take the place of the spec's references.
        say: is told what is being done.

    Raises:
        ContextError: a file changed since it was planned, or the disk is full.
        EngineError, RegistryError, TemporaryError: see `packager.images.buildx.build`.
    """
    plan = planned.plan
    if plan.base.local:
        _require_local_base(plan.base.source, plan.base.digest)
    context = build_context(planned)
    epoch = source_date_epoch()
    with _staging(spec_file, plan.target, plan.platform) as folder:
        say(f"staging {len(context.files)} files")
        save(context, spec_file.root, folder, Store(), force=True)
        request = BuildRequest(
            context=folder,
            tags=options.tags or plan.references,
            platform=plan.platform,
            push=options.push,
            load=options.load,
            no_cache=options.no_cache,
            pull=options.pull,
            secrets=options.secrets,
            build_args=options.build_args,
            labels={**build_labels(spec_file.root, epoch), **options.labels},
            cache_from=options.cache_from,
            cache_to=options.cache_to,
            network=options.network,
            outputs=options.outputs,
            builder=options.builder,
            progress=options.progress,
            source_date_epoch=epoch,
            metadata_file=options.metadata_file,
            iidfile=options.iidfile,
        )
        return build(request)


def _require_local_base(reference: str, image_id: str) -> None:
    """A tag of the engine can move between the plan and the build; the digest in labels and manifest must not lie."""
    found = inspect_local(reference, required=True)
    if found is None or found.id != image_id:
        now = "is gone" if found is None else f"is {found.id} now"
        raise EngineError(f"the base {reference} was {image_id} and {now}", remedy="run the build again")


@contextmanager
def _staging(spec_file: SpecFile, target: str, platform: str) -> Iterator[Path]:
    """Give the folder in which this spec's context is staged, held against other builds of it.

    It is the same at every build, because BuildKit remembers by path what an engine already has: unchanged weights are
    not sent again. It stays for the next build; models in it are hard links to the store.
    """
    key = hashlib.sha256(f"{spec_file.document.path.absolute()}\0{target}\0{platform}".encode()).hexdigest()[:16]
    parent = default_root().parent / "contexts"
    try:
        parent.mkdir(parents=True, exist_ok=True)
        lock = (parent / f"{key}.lock").open("w")
    except OSError as error:
        raise ContextError(f"{parent} cannot be written: {error.strerror}", remedy="set XDG_CACHE_HOME") from None
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield parent / key
