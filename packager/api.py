"""The steps as functions, with the adapters that the command line uses.

    import packager

    spec_file = packager.load_spec("packager.yaml")
    packager.lock(spec_file)
    for finding in packager.check(spec_file):
        print(finding)
    planned = packager.plan_image(spec_file, "cpu")
    print(packager.render(planned))
    packager.save(planned, spec_file, "context")
    built = packager.build(planned, spec_file, push=True)

Every function raises a `packager.errors.PackagerError`; its `exit_code` is that of the command line.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packager import pipeline
from packager.spec.load import SpecFile, load_spec

if TYPE_CHECKING:
    from packager.context.verify import VerifyResult
    from packager.engine.buildx import Built
    from packager.engine.push import Pushed
    from packager.environments.locks.update import LockResult
    from packager.finding import Finding
    from packager.handoff.bake import Baked
    from packager.pipeline import Planned
    from packager.plan.plan import Dialect
    from packager.serving.client import Answer
    from packager.serving.service import Service

__all__ = [
    "archive", "bake", "build", "check", "export", "load_spec", "lock", "plan_image", "push", "render", "run", "save",
    "score", "verify",
]  # fmt: skip


def lock(
    spec_file: SpecFile,
    *,
    upgrade: bool | tuple[str, ...] = False,
    upgrade_base: bool = False,
    offline: bool = False,
) -> LockResult:
    """Solve the environment of every target by rattler and uv, and write the lock; nothing where nothing changed.

    Args:
        spec_file: the spec.
        upgrade: True for all packages, or the names of some.
        upgrade_base: resolve a base without a digest anew.
        offline: use only what uv and rattler have in their caches.

    Raises:
        LockError: no solution, or a package without a wheel.
        TemporaryError: an index, a channel or a registry is out of reach.
    """
    from packager.environments.locks.update import lock as lock_step
    from packager.environments.solve.conda import RattlerSolver
    from packager.environments.solve.pip import Upgrade, UvSolver
    from packager.registry.resolve import resolve_digest

    names = upgrade if isinstance(upgrade, tuple) else ()
    mirrors = {**spec_file.spec.registry_mirrors, **pipeline.machine_mirrors()}
    return lock_step(
        spec_file,
        solver=UvSolver(spec_file.root),
        conda=RattlerSolver(spec_file.root, pipeline.channel_mirrors(spec_file)),
        resolve_base=lambda reference: resolve_digest(reference, mirrors),
        upgrade=Upgrade(all=upgrade is True, names=names),
        upgrade_base=upgrade_base,
        offline=offline,
    )


def plan_image(spec_file: SpecFile, target: str, platform: str | None = None, *, base: str | None = None) -> Planned:
    """Plan one image.

    Args:
        spec_file: the spec.
        target: one of its targets.
        platform: OCI os/arch; the target's first where None.
        base: reference of another base image for this plan, at a registry or in the engine.

    Raises:
        LockError: the lock is missing, stale, or was edited by hand.
        ContextError: a source file or a model is missing, empty, unreadable, or leaves the spec's folder.
    """
    from packager.builders.base_option import planner
    from packager.storage.models import Store

    return planner(spec_file, base, Store().digest)(target, platform)


def check(spec_file: SpecFile) -> tuple[Finding, ...]:
    """Return every finding of spec, lock, entry script, models and Dockerfile; nothing of the user is run."""
    from packager.steps.check import check as check_step

    return check_step(spec_file, lambda target: plan_image(spec_file, target))


def export(
    spec_file: SpecFile, form: str, target: str = "cpu", platform: str | None = None, *, offline: bool = False
) -> str:
    """Return the lock of a target in a format of other tools.

    Args:
        spec_file: the spec.
        form: `conda-lock`, `explicit`, `requirements`, `pylock` or `environment-yml`.
        target: one of the spec's.
        platform: OCI os/arch; the target's first where None.
        offline: for `pylock`, which asks an index: take only what uv has in its cache.

    Raises:
        LockError: the lock is missing, stale, or was edited by hand.
        UsageError: the format cannot hold this environment, or the target was not locked for the platform.
        TemporaryError: the index does not answer.
    """
    from packager.steps.export import export as export_step

    return export_step(spec_file, form, target, platform, offline=offline)


def render(planned: Planned, *, dialect: Dialect | None = None) -> str:
    """Return the Dockerfile of a planned image.

    Args:
        planned: the image.
        dialect: `plain` leaves out what only BuildKit reads; that of the spec where None.

    Raises:
        RenderError: a template is not valid.
    """
    return pipeline.dockerfile(pipeline.in_dialect(planned, dialect))


def save(
    planned: Planned,
    spec_file: SpecFile,
    folder: Path | str,
    *,
    force: bool = False,
    dialect: Dialect | None = None,
) -> Path:
    """Write the build context to a folder.

    Args:
        planned: the image.
        spec_file: its spec.
        folder: a new or empty folder, or a saved context, which is replaced.
        force: replace one of ours that was changed by hand.
        dialect: `plain` leaves out what only BuildKit reads; that of the spec where None.

    Raises:
        ContextError: the destination is not ours to replace, a file changed since it was planned, or the disk is full.
    """
    from packager.context.save import save as save_step
    from packager.storage.models import Store

    context = pipeline.build_context(pipeline.in_dialect(planned, dialect))
    return save_step(context, spec_file.root, Path(folder), Store(), force=force)


def archive(
    planned: Planned,
    spec_file: SpecFile,
    file: Path | str,
    *,
    force: bool = False,
    dialect: Dialect | None = None,
) -> Path:
    """Write the build context to one file: .tar, .tar.gz or .tar.zst, by its name; options as for `save`.

    Raises:
        UsageError: another ending.
        ContextError: as for `save`.
    """
    from packager.context.archive import archive as archive_step
    from packager.storage.models import Store

    context = pipeline.build_context(pipeline.in_dialect(planned, dialect))
    return archive_step(context, spec_file.root, Path(file), Store(), force=force)


def verify(path: Path | str) -> VerifyResult:
    """Recompute every digest of a saved build context; it only reads.

    Raises:
        ContextError: it is no build context of packager.
    """
    from packager.context.verify import verify as verify_step

    return verify_step(Path(path))


def build(planned: Planned, spec_file: SpecFile, **options: Any) -> Built:
    """Build a planned image by BuildKit; the options are the fields of `packager.engine.buildx.BuildOptions`.

    Raises:
        EngineError: no engine, no BuildKit, or a step failed.
        RegistryError: a registry refused.
        TemporaryError: the network or a registry failed in a way that may pass.
    """
    from packager.builders.buildkit import build_image
    from packager.engine.buildx import BuildOptions

    return build_image(spec_file, planned, BuildOptions(**options))


def bake(
    spec_files: Iterable[SpecFile],
    path: Path | str = "docker-bake.json",
    *,
    base: str | None = None,
    push: bool = False,
    force: bool = False,
) -> Baked:
    """Write a bake file for every target and platform of specs, with its build contexts in a folder beside it.

    Args:
        spec_files: the specs.
        path: of the file; `docker buildx bake` runs in its folder.
        base: another base image for all.
        push: the file pushes the images.
        force: replace contexts that were changed by hand, and a file that packager did not make.

    Raises:
        SpecError: two images have one name, or write one tag.
        LockError, ContextError: see `plan_image` and `save`.
    """
    from packager.builders.base_option import planner
    from packager.engine.bake_file import BakeSettings
    from packager.handoff.bake import packages_of, write_bake
    from packager.storage.models import Store

    packages = [
        package for spec_file in spec_files for package in packages_of(spec_file, planner(spec_file, base, Store().add))
    ]
    return write_bake(packages, Path(path), BakeSettings(outputs=("type=registry",) if push else ()), force=force)


def push(reference: str) -> Pushed:
    """Push an image that the engine has, with the user's Docker credentials.

    Raises:
        EngineError: no engine, or no such image.
        RegistryError: the registry refused.
        TemporaryError: it failed in a way that may pass.
    """
    from packager.engine.push import push as push_step

    return push_step(reference)


def run(reference: str, *, port: int = 5001, timeout: float = 120.0) -> AbstractContextManager[Service]:
    """Run an image as in production, and give the service (`url`, `scoring_url` …) once it is healthy.

        with packager.run("diabetes:1") as service:
            print(packager.score(service.scoring_url, b'{"data": [[1, 2]]}').body)

    Args:
        reference: an image that the engine has.
        port: of the container; it is published on a free port of 127.0.0.1.
        timeout: seconds until it must be healthy.

    Raises:
        EngineError: no engine, or no such image.
        ServiceError: it ended, or did not answer in time; with the last lines of its log.
    """
    return _run(reference, port, timeout)


@contextmanager
def _run(reference: str, port: int, timeout: float) -> Iterator[Service]:
    from packager.serving.hosts.choose import request_of
    from packager.serving.hosts.docker.image import packaged_image
    from packager.serving.keys import keys_for
    from packager.serving.serve import serve
    from packager.serving.service import container_name, parse_publish

    image = packaged_image(reference)
    keys = keys_for(image, None, os.environ, {})
    host, request = request_of(image, container_name("run"), parse_publish(f"0:{port}", port), env={}, keys=keys)
    with serve(host, request, timeout=timeout) as (service, _server):
        yield service


def score(url: str, data: bytes, *, key: str | None = None, timeout: float = 60.0) -> Answer:
    """Post a JSON request to a running service and return its answer.

    Args:
        url: of its /score.
        data: the body.
        key: where its requests need one; `service.key` of `run`.
        timeout: seconds that it may be silent.

    Raises:
        ServiceError: it does not answer, or with an error status.
        TemporaryError: it did not answer within `timeout` seconds.
    """
    from packager.serving.client import score as score_step

    headers = {"Authorization": f"Bearer {key}"} if key is not None else {}
    return score_step(url, data, headers=headers, timeout=timeout)
