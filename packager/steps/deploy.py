"""The step `deploy`: an image → the files by which a platform runs it, which are put into force on demand."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Literal

import msgspec

from packager.contract import TITLE_LABEL
from packager.deployment.files import record_in, texts_in, write_changes
from packager.deployment.platforms import refuse_wishes, removal_from, render_for
from packager.deployment.record import (
    FileChange,
    Kind,
    Record,
    decide,
    difference,
    next_record,
    remembered,
    rolled_back,
    shipped_of,
)
from packager.deployment.service_names import service_name_of
from packager.deployment.workload import Operator, Release, Rendering, Wishes, Workload
from packager.errors import UsageError
from packager.interruption import terminated_as_interrupted
from packager.spec.load import SpecFile
from packager.steps.into_force import Written, put_into_force
from packager.steps.reporting import SILENT, Reporter
from packager.steps.selection import select_targets, spec_references
from packager.steps.workloads import pin_files, pin_image, workload_of

__all__ = ["DeployWish", "Deployed", "DeployedFile", "Wishes", "deploy"]

PlatformName = Literal["kubernetes", "compose", "aci", "quadlet", "iot-edge"]


class DeployWish(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be deployed, where and how.

    Attributes:
        to: the platform.
        output: folder of the files; `deploy/<platform>` beside the spec where None.
        image: its reference; the spec's first where None.
        target: one of the spec's targets.
        name: of the service; that of the folder's files, or what follows from the package's, where None.
        wishes: what the platform is told beside the spec. What an earlier run for the folder was told holds on.
        given: names of wishes that are given though they are the default, and take back what an earlier run was told.
        device_resource: what the cluster calls the devices that the image needs; what an earlier run was told, or the
            target's word, where empty.
        model_images: name of a model that is mounted (`bert`, `bert:3`) → image that has its files.
        apply: put the files into force.
        wait: then wait until it is healthy, and send it the sample; back to what was before where it is not.
        timeout: seconds to wait; what a start may take and 300 for the image to come where None.
        rollback: let the files name the image of before again, in place of making them.
        dry_run: write nothing: what would be written is in `difference`.
        force: files that somebody edited are written anew, too.
    """

    to: PlatformName = "kubernetes"
    output: Path | None = None
    image: str | None = None
    target: str | None = None
    name: str | None = None
    wishes: Wishes = Wishes()
    given: tuple[str, ...] = ()
    device_resource: str = ""
    model_images: Mapping[str, str] = {}
    apply: bool = False
    wait: bool = False
    timeout: float | None = None
    rollback: bool = False
    dry_run: bool = False
    force: bool = False


class DeployedFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a deployment.

    Attributes:
        path: below the folder.
        kind: `new`, `changed`, `same`, `edited` (it stays as somebody edited it), `renewed` (so, with another image),
            `removed`, `left` (not made any more, and somebody edited it), `conflict` (to be written anew, and somebody
            edited it).
    """

    path: str
    kind: Kind


class Deployed(msgspec.Struct, frozen=True, kw_only=True):
    """What was deployed, or with --diff would be.

    Attributes:
        platform: its name.
        folder: of the files.
        name: of the service.
        image: by digest.
        version: of the package.
        files: what became of each.
        difference: what was, or would be, written, as a unified diff; empty where nothing differs.
        unmet: what `service:` asks for and the platform has not, a sentence each.
        secrets: commands that make what no file may hold.
        apply: the command that puts the files into force, in their folder.
        applied: they were put into force.
        url: where it is reached; empty where nobody waited for it.
        rollback: the command that goes back; empty where there is nothing to go back to.
        leftovers: commands that take away what files that are not made any more left where they were applied.
        merge: of a batch: the command that joins what its tasks wrote; empty for services.
    """

    platform: str
    folder: Path
    name: str
    image: str
    version: str
    files: tuple[DeployedFile, ...]
    difference: str = ""
    unmet: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    apply: str = ""
    applied: bool = False
    url: str = ""
    rollback: str = ""
    leftovers: tuple[str, ...] = ()
    merge: str = ""


def deploy(wish: DeployWish, spec_file: SpecFile | None = None, *, reporter: Reporter = SILENT) -> Deployed:
    """Write the files by which a platform runs an image, and put them into force where that is asked for.

        deploy(DeployWish(to="kubernetes", image="registry.example.com/team/churn:2"), spec_file)

    The files are whoever's who commits them: one that somebody edited is not written over, but for the image that it
    names. Without `apply` nothing but the folder is touched.

    Args:
        wish: what, where and how.
        spec_file: the spec; None where there is none, and image and folder are named.
        reporter: is told what is done, and what may be wrong.

    Raises:
        UsageError: something cannot be meant so, or cannot be run there.
        ContextError: a file that somebody edited is in the way, or the folder cannot be written.
        EngineError, RegistryError, TemporaryError: the image is not to be had, or the platform's client fails.
        ServiceError: what was put into force did not become healthy, or answered the sample wrongly.
    """
    _require_sense(wish)
    folder = _folder(wish, spec_file)
    with terminated_as_interrupted():
        record = _record(wish, folder)
        wishes = remembered(wish.wishes, wish.given, record)
        if wish.rollback:
            return _roll_back(wish, wishes, spec_file, folder, reporter)
        image = wish.image or _reference(wish, spec_file)
        workload = _workload(wish, image, record, spec_file, reporter)
        wishes = _pinned_wishes(wishes, workload, spec_file, reporter)
        rendering = render_for(wish.to, workload, wishes)
        paths = [each.path for each in rendering.manifests]
        there = texts_in(folder, dict.fromkeys((*paths, *(record.files if record is not None else ()))))
        changes = decide(
            record, there, rendering.manifests, shipped_of(workload), force=wish.force, refuse=not wish.dry_run
        )
        resource = _device_resource(wish, record)
        after = next_record(record, workload, wish.to, wishes, rendering.manifests, resource)
        deployed = _deployed(wish, folder, workload, rendering, changes, after)
        for each in rendering.unmet:
            reporter.warn(f"not as `service:` asks for it: {each}")
        if wish.dry_run:
            return deployed
        write_changes(folder, changes, after)
        if not wish.apply:
            return deployed
        written = Written(record=record, changes=changes)
        return _applied(wish, deployed, workload, wishes, rendering, written, reporter)


def _require_sense(wish: DeployWish) -> None:
    if wish.wait and not wish.apply:
        raise UsageError("--wait is for what is put into force", remedy="add --apply")
    if wish.dry_run and wish.apply:
        raise UsageError("--diff writes and applies nothing", remedy="leave --diff or --apply out")
    if wish.apply:
        # Who cannot apply is told before anything is written.
        operator_of(wish.to)
    if wish.rollback and wish.image is not None:
        raise UsageError("--rollback takes the image of before, and --image names one", remedy="leave one of them out")
    default = Wishes()
    asked = (name for name in Wishes.__struct_fields__ if getattr(wish.wishes, name) != getattr(default, name))
    refuse_wishes(wish.to, (*wish.given, *asked))
    if wish.device_resource and wish.to != "kubernetes":
        raise UsageError(f"--device-resource is of kubernetes, not of {wish.to}", remedy="leave it out")


def _folder(wish: DeployWish, spec_file: SpecFile | None) -> Path:
    if wish.output is not None:
        return wish.output.absolute()
    if spec_file is None:
        raise UsageError("without a spec, nobody knows where the files go", remedy="-o DIR, or -f FILE for the spec")
    return spec_file.root / "deploy" / wish.to


def _reference(wish: DeployWish, spec_file: SpecFile | None) -> str:
    """Return the spec's first reference.

    Raises:
        UsageError: there is no spec, or it has several targets and none is named.
    """
    if spec_file is None:
        raise UsageError("no image is named, and there is no spec here", remedy="--image REF, or -f FILE for the spec")
    names = select_targets(spec_file, wish.target)
    if len(names) > 1:
        raise UsageError("the spec has several targets", remedy=f"choose one: --target {names[0]}")
    return spec_references(spec_file, names[0])[0]


def _workload(
    wish: DeployWish, image: str, record: Record | None, spec_file: SpecFile | None, reporter: Reporter
) -> Workload:
    """Return what is deployed.

    Raises:
        UsageError: it is of another package than what the folder has, which would take over its service.
    """
    pinned = pin_image(image, spec_file, reporter)
    package = pinned.view.labels.get(TITLE_LABEL, "")
    if package and record is not None and record.package not in ("", package):
        raise UsageError(
            f"the folder has the files of {record.package}, and {pinned.name} is of another package, {package}",
            remedy=f"-o DIR names another folder, such as deploy/{service_name_of(package)}-{wish.to}",
        )
    images = {name: pin_files(reference, spec_file) for name, reference in wish.model_images.items()}
    return workload_of(
        pinned,
        spec_file,
        name=wish.name or (record.name if record is not None else None),
        model_images=images,
        known_images=record.model_images if record is not None else {},
        device_resource=_device_resource(wish, record),
        reporter=reporter,
    )


def _device_resource(wish: DeployWish, record: Record | None) -> str:
    return wish.device_resource or (record.device_resource if record is not None else "")


def _pinned_wishes(wishes: Wishes, workload: Workload, spec_file: SpecFile | None, reporter: Reporter) -> Wishes:
    """Return the wishes with the other image by its digest.

    Raises:
        UsageError: it is of another package, or listens on another port.
    """
    if not wishes.canary:
        return wishes
    other = workload_of(pin_image(wishes.canary, spec_file, reporter), spec_file, name=workload.name, reporter=SILENT)
    if (other.package, other.port, other.user) != (workload.package, workload.port, workload.user):
        raise UsageError(
            f"{wishes.canary} is not another image of the same service: package, port or user differ",
            remedy="name an image of the same package",
        )
    return msgspec.structs.replace(wishes, canary=other.image)


def _record(wish: DeployWish, folder: Path) -> Record | None:
    """Return the record of a folder; None where packager wrote nothing there.

    Raises:
        ContextError: it is damaged.
        UsageError: the folder has the files of another platform or service, or none and they are to be rolled back.
    """
    record = record_in(folder)
    if record is None:
        if wish.rollback:
            raise UsageError(f"packager wrote nothing into {folder}", remedy="-o DIR names another folder")
        return None
    if record.platform != wish.to or wish.name not in (None, record.name):
        raise UsageError(
            f"{folder} has the files of {record.name} for {record.platform}", remedy="-o DIR names another folder"
        )
    return record


def _deployed(
    wish: DeployWish,
    folder: Path,
    workload: Workload,
    rendering: Rendering,
    changes: tuple[FileChange, ...],
    record: Record,
) -> Deployed:
    return Deployed(
        platform=wish.to,
        folder=folder,
        name=workload.name,
        image=workload.image,
        version=workload.version,
        files=tuple(DeployedFile(path=each.path, kind=each.kind) for each in changes),
        difference=difference(changes),
        unmet=rendering.unmet,
        secrets=rendering.secrets,
        apply=rendering.apply,
        rollback=_going_back(wish) if len(record.images) > 1 else "",
        leftovers=removal_from(wish.to, [each.before or "" for each in changes if each.kind == "removed"]),
    )


def _going_back(wish: DeployWish) -> str:
    folder = ("-o", os.path.relpath(wish.output)) if wish.output is not None else ()
    return shlex.join(("packager", "deploy", "--to", wish.to, *folder, "--rollback", "--apply"))


def _roll_back(
    wish: DeployWish, wishes: Wishes, spec_file: SpecFile | None, folder: Path, reporter: Reporter
) -> Deployed:
    """Let the files name the image of before again, and put them into force where that is asked for."""
    record = record_in(folder)
    assert record is not None, "`_record` has looked"
    after, changes = rolled_back(record, texts_in(folder, record.files))
    back = after.images[0]
    deployed = Deployed(
        platform=wish.to,
        folder=folder,
        name=record.name,
        image=back.image,
        version=back.version,
        files=tuple(DeployedFile(path=each.path, kind=each.kind) for each in changes),
        difference=difference(changes),
        rollback=_going_back(wish),
    )
    if wish.dry_run:
        return deployed
    if not wish.apply:
        write_changes(folder, changes, after)
        return deployed
    # Who is asked for it first: an image that is gone is no reason to change the files.
    workload = _workload(wish, back.image, record, spec_file, reporter)
    rendering = render_for(wish.to, workload, wishes)
    write_changes(folder, changes, after)
    written = Written(record=record, changes=changes)
    return _applied(wish, deployed, workload, wishes, rendering, written, reporter)


def _applied(
    wish: DeployWish,
    deployed: Deployed,
    workload: Workload,
    wishes: Wishes,
    rendering: Rendering,
    written: Written,
    reporter: Reporter,
) -> Deployed:
    """Put files into force, and wait where that is asked for.

    Raises:
        ServiceError: the service did not become healthy; files and platform are back at what was before, if anything.
    """
    release = Release(
        platform=wish.to,
        folder=deployed.folder,
        files=tuple(each.path for each in deployed.files if each.kind != "removed"),
        workload=workload,
        wishes=wishes,
        rendering=rendering,
    )
    timeout = wish.timeout if wish.timeout is not None else workload.ready_in + 300
    url = put_into_force(operator_of(wish.to), release, written, reporter, wait=timeout if wish.wait else None)
    return msgspec.structs.replace(deployed, applied=True, url=url, apply=rendering.apply)


def operator_of(platform: str) -> Operator:
    """Return what puts the files of a platform into force."""
    operator: Operator = import_module("packager.deployment.apply.operators").operator(platform)
    return operator
