"""The step `report`: a page about a package, of what the other steps tell."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from msgspec import UNSET

from packager import __version__
from packager.builders.base_size import base_size
from packager.builders.inspect import inspect_image
from packager.builders.known import recall_image
from packager.contract import (
    AUTH_LABEL,
    BASE_DIGEST_LABEL,
    BASE_NAME_LABEL,
    INPUTS_LABEL,
    SCORE_PATH,
    TARGET_LABEL,
    TITLE_LABEL,
)
from packager.engine.api import inspect_local
from packager.environments.dependencies import Dependencies
from packager.environments.locks.status import TargetInputs, read_inputs
from packager.errors import PackagerError
from packager.plan.plan import Base, Plan
from packager.reference import Reference
from packager.registry.mirrors import registry_mirrors
from packager.registry.resolve import require_digest
from packager.reports.page import ChangedPart, ImagePart, LayerRow, PackageRow, Page, TestPart, TestRow, html
from packager.reports.treemap import Block
from packager.serving.gate import Report, spread_of
from packager.spec.cases import Case
from packager.spec.load import SpecFile
from packager.steps.check import check
from packager.steps.dependencies import looked_into
from packager.steps.plan import SHOWN_REQUEST, find_base, plan_platforms
from packager.steps.registered import with_registered
from packager.steps.reporting import SILENT, Reporter
from packager.steps.selection import one_target, select_targets, spec_references
from packager.steps.stale import changes_since
from packager.steps.test import test
from packager.storage.content import ContentStore
from packager.storage.files import require_place, write_text
from packager.storage.models import Store


def report(
    spec_file: SpecFile,
    output: Path,
    *,
    target: str | None = None,
    platform: str | None = None,
    base: str | None = None,
    image: str | None = None,
    tests: bool = False,
    docker: bool = True,
    repeat: int = 1,
    since: str | None = None,
    offline: bool = False,
    reporter: Reporter = SILENT,
) -> Page:
    """Write a page about a package: one HTML file that fetches nothing.

    Args:
        spec_file: the spec.
        output: the file.
        target: one of its targets; all where None.
        platform: OCI os/arch; each target's first where None.
        base: another base image, as `--base` of `build` names it; where None, that of the engine's image, which may
            have been built on another one than the lock's.
        image: the engine's image that is tested and whose digest is shown; the spec's own where None.
        tests: run the spec's tests, too.
        docker: False runs them in the locked environment on this machine.
        repeat: how often each of their requests is sent.
        since: a reference at a registry, since which it is told what changed; the spec's own where None.
        offline: ask no registry, and fetch no package to look into it.
        reporter: is told what takes long.

    Returns:
        what the page shows.

    Raises:
        SpecError, LockError, ContextError, UsageError: the spec, its lock or its files are not in order; the page
            cannot be written.
        EngineError: the tests cannot be run.
        TemporaryError: an index does not answer.
    """
    require_place(output)
    names = (one_target(spec_file, target),) if image else select_targets(spec_file, target)
    other = find_base(spec_file, base, reporter)
    findings = check(spec_file, offline=offline, reporter=reporter)
    done: dict[str, Report] = {}
    if tests:
        found = test(
            spec_file,
            image=image,
            target=target,
            platform=platform,
            docker=docker,
            repeat=repeat,
            reporter=reporter,
        )
        done = dict(zip(names, found, strict=True))
        for each in found:
            if not each.passed:
                reporter.warn(f"{each.image} failed its tests: the page says how")
    images = tuple(
        _image(
            _choose(spec_file, name, platform, other, image),
            image,
            done.get(name),
            since,
            offline=offline,
            reporter=reporter,
        )
        for name in names
    )
    page = Page(
        name=spec_file.spec.name,
        version=spec_file.spec.version,
        description=spec_file.spec.description or "",
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        by=__version__,
        findings=findings,
        images=images,
    )
    write_text(output, html(page))
    return page


def _base_of_image(spec_file: SpecFile, target: str, image: str | None) -> Base | None:
    """Return the base that the engine's image of a target was built on, by its own labels; None where it has none.

    Args:
        spec_file: the spec.
        target: one of its targets.
        image: in place of the spec's own.
    """
    local = inspect_local(image or spec_references(spec_file, target)[0])
    if local is None:
        return None
    if (local.labels.get(TITLE_LABEL), local.labels.get(TARGET_LABEL)) != (spec_file.spec.name, target):
        return None
    name, digest = local.labels.get(BASE_NAME_LABEL, ""), local.labels.get(BASE_DIGEST_LABEL, "")
    if not (name and digest):
        return None
    there = inspect_local(name)
    if there is not None and there.id == digest:
        return Base(reference=name, digest=digest, source=name, local=True)
    return Base(reference=name, digest=digest, source=f"{name}@{digest}")


class _Chosen(msgspec.Struct, frozen=True, kw_only=True):
    """What a part of the page is about."""

    inputs: TargetInputs
    plan: Plan


def _choose(spec_file: SpecFile, target: str, platform: str | None, base: Base | None, image: str | None) -> _Chosen:
    inputs = read_inputs(with_registered(spec_file), target)
    if base is None:
        of_image = _base_of_image(spec_file, target, image)
        base = None if of_image is None or inputs.lock.locked.base.endswith(of_image.digest) else of_image
    (planned,) = plan_platforms(inputs, [platform], base=base, digest_model=Store().digest)
    return _Chosen(inputs=inputs, plan=planned.plan)


def _image(
    chosen: _Chosen, image: str | None, tested: Report | None, since: str | None, *, offline: bool, reporter: Reporter
) -> ImagePart:
    inputs, plan, own = chosen.inputs, chosen.plan, chosen.inputs.spec_file
    packages = looked_into(inputs, plan.platform, offline=offline, reporter=reporter)
    size = base_size(plan.base, plan.platform, ContentStore())
    unknown = [f"{len(packages.unknown)} of the packages"] if packages.unknown else []
    unknown += ["the base"] if size is None else []
    note = "Packages, models and files are as large as they are unpacked; the base is as it is pulled."
    if unknown:
        note += f" Not in the drawing, for their size is not known on this machine: {' and '.join(unknown)}."
    untested = "They were not run (--test runs them)." if own.spec.test else "The spec has none."
    return ImagePart(
        target=plan.target,
        platform=plan.platform,
        references=plan.references,
        blocks=blocks_of(plan, packages, size),
        note=note,
        layers=_layers(plan, packages, size),
        packages=tuple(_package_row(packages, key) for key in (each.key for each in packages.by_size())),
        changed=_changed(plan, own, since, offline=offline),
        tests=None if tested is None else _tests(tested),
        untested=untested,
        digests=_digests(plan, image),
        commands=commands_of(plan, own.spec.test),
        config=_config(plan),
    )


def blocks_of(plan: Plan, packages: Dependencies, base: int | None) -> tuple[Block, ...]:
    """Return what an image is made of, by size; what nobody knows the size of is left out. Pure."""
    parts = tuple(
        Block(title=each.title, kind="environment", size=each.size) for each in packages.by_size() if each.size
    )
    found = [Block(title="environment", kind="environment", size=packages.size, parts=parts)]
    if base is not None:
        found.insert(0, Block(title="base", kind="base", size=base))
    found.append(Block(title="server", kind="server", size=plan.server.tree.size))
    for model in plan.models:
        title = model.title.removeprefix("model ")
        found.append(Block(title=title, kind="model", size=model.tree.size, parts=_files(model, "model")))
    return (*found, Block(title="app", kind="app", size=plan.app.tree.size, parts=_files(plan.app, "app")))


def _files(layer: Any, kind: str) -> tuple[Block, ...]:
    """Return the files of a layer, where there are several."""
    files = layer.tree.files
    if len(files) < 2:
        return ()
    return tuple(Block(title=each.path.rpartition("/")[2], kind=kind, size=each.size) for each in files)


def _layers(plan: Plan, packages: Dependencies, base: int | None) -> tuple[LayerRow, ...]:
    environment = plan.environment
    locks = f"locks/{plan.target}.requirements.txt"
    rows = [
        LayerRow(title="base", files="", size=base, origin=plan.base.reference, digest=plan.base.digest),
        LayerRow(
            title=environment.title,
            files="",
            size=None if packages.unknown else packages.size,
            origin=f"{environment.conda.file}, {locks}" if environment.conda else locks,
            digest=plan.lock_digest,
        ),
    ]
    if plan.system_packages:
        names = ", ".join(plan.system_packages)
        rows.insert(1, LayerRow(title="system", files=names, size=None, origin="the base's Debian sources", digest=""))
    for layer in plan.layers:
        origins = {file.origin for file in layer.tree.files if file.text is None}
        origin = (
            origins.pop() if len(origins) == 1 else f"{len(origins)} files of the user's" if origins else "packager"
        )
        if layer.registered:
            origin = f"{layer.registered} of the workspace ({layer.content[:19]})"
        number = len(layer.tree.files)
        files = f"{number} file" if number == 1 else f"{number} files"
        digest = f"sha256:{layer.tree.digest}"
        rows.append(LayerRow(title=layer.title, files=files, size=layer.tree.size, origin=origin, digest=digest))
    for layer in plan.volumes:
        title, origin = f"{layer.title} (mounted)", f"{layer.registered} of the workspace"
        files = f"{len(layer.tree.files)} files, not in the image"
        rows.append(LayerRow(title=title, files=files, size=layer.tree.size, origin=origin, digest=layer.content))
    return tuple(rows)


def _package_row(packages: Dependencies, key: str) -> PackageRow:
    package = packages.packages[key]
    needed = [each.name for each, _ in packages.needed_by(key)]
    more = f" and {len(needed) - 3} more" if len(needed) > 3 else ""
    by = f"needed by {', '.join(needed[:3])}{more}" if needed else ""
    why = f"asked for: {package.asked}" if package.asked else by
    return PackageRow(
        name=package.name,
        version=package.version,
        manager=package.manager,
        license=package.license,
        size=package.size,
        why=why or "not known",
    )


def _tests(done: Report) -> TestPart:
    rows = []
    for each in done.outcomes:
        spread = spread_of(each.times or (each.seconds,))
        times = {name: 1000 * value for name, value in msgspec.structs.asdict(spread).items()}
        rows.append(
            TestRow(
                name=each.name,
                differences=each.differences,
                times=spread.count,
                least=times["min"],
                median=times["median"],
                p95=times["p95"],
                most=times["max"],
            )
        )
    return TestPart(start=done.start, failure=done.failure, rows=tuple(rows))


def _changed(plan: Plan, spec_file: SpecFile, since: str | None, *, offline: bool) -> ChangedPart:
    """Return what changed since a registry was given the image under its name; that it cannot be told is no error."""
    if offline:
        return ChangedPart(unknown="no registry was asked (--offline).")
    if since is None and spec_file.spec.image.repository is None:
        return ChangedPart(unknown="the spec names no image.repository.")
    named, mirrors = since or plan.references[0], registry_mirrors(spec_file.spec.registry_mirrors)
    try:
        reference = Reference.parse(named)
        digest = require_digest(reference, mirrors)
        pinned = str(reference.with_digest(digest))
        (view,) = inspect_image(pinned, ContentStore(), mirrors, platform=plan.platform).images
    except PackagerError as error:
        first = error.message.splitlines()[0]
        return ChangedPart(unknown=f"{named} could not be looked at ({first}).")
    if INPUTS_LABEL not in view.labels:
        return ChangedPart(unknown=f"{named} does not say what it was made from.")
    return ChangedPart(since=named, digest=digest, lines=changes_since(plan, spec_file, view.labels))


def _digests(plan: Plan, image: str | None) -> dict[str, str]:
    found = {"base": plan.base.digest, "lock": plan.lock_digest, "spec": plan.spec_digest}
    found["inputs"] = plan.config.labels[INPUTS_LABEL]
    local = inspect_local(image or plan.references[0])
    known = None if local is None else recall_image(local.id, ContentStore())
    if local is not None and local.labels.get(INPUTS_LABEL) == plan.config.labels[INPUTS_LABEL]:
        return ({"image": known.digest} if known else {"image id in the engine": local.id}) | found
    return found


def _config(plan: Plan) -> dict[str, str]:
    config = plan.config
    return {
        "user": config.user,
        "port": str(config.port),
        "starts": shlex.join(config.entrypoint),
        "variables": ", ".join(sorted(config.env)),
        "health": shlex.join(config.health.command),
    }


def commands_of(plan: Plan, cases: Sequence[Case]) -> dict[str, str]:
    """Return how an image is run and asked: a heading → lines of a shell. Pure."""
    port = plan.config.port
    key = AUTH_LABEL in plan.config.labels
    run = [
        f"docker run --rm --publish 127.0.0.1:{port}:{port} \\",
        "    --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges \\",
    ]
    run += [f"    --gpus {shlex.quote(plan.machine.gpus)} \\"] if plan.machine.gpus else []
    run += ['    --volume "$PWD/keys:/run/secrets/packager-keys:ro" \\'] if key else []
    for each in (each for each in plan.registered if each.delivery == "volume"):
        source = f'"$PWD/models/{each.name}/{each.version}"'
        run.append(f"    --mount type=bind,source={source},target={each.path},readonly \\")
    case = next((each for each in cases if each.path == SCORE_PATH and each.form is None), None)
    data, content = "@request.json", "application/json"
    if case is not None and case.file:
        data, content = f"@{case.file}", case.content_type or content
    elif case is not None and case.request is not UNSET:
        text = json.dumps(case.request)
        data = text if len(text) <= SHOWN_REQUEST else data
    asked = ["curl"] + (['--header "Authorization: Bearer $(cat keys/primary)"'] if key else [])
    asked += ["--header", shlex.quote(f"Content-Type: {content}"), "--data-binary", shlex.quote(data)]
    return {
        "With packager:": f"packager run --target {plan.target}",
        "With Docker alone:": "\n".join([*run, f"    {plan.references[0]}"]),
        "A request:": " ".join([*asked, f"http://127.0.0.1:{port}{SCORE_PATH}"]),
    }
