"""What a spec names of a workspace: pinned by the lock, and laid down on this machine before anything else sees it.

A registered model becomes an ordinary one so, whose path leads to a folder of the cache. Who plans, checks or builds
needs no workspace where this machine has the content that is pinned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

import msgspec

from packager.environments.lock import Lock, Pin, Registered
from packager.environments.locks.files import read_lock
from packager.environments.locks.status import NO_LOCK, stale
from packager.errors import ContextError, LockError, PackagerError, SpecError, UsageError
from packager.spec.framework import named
from packager.spec.laid import Laid
from packager.spec.load import SpecFile
from packager.spec.model import Model, Spec
from packager.steps.workspace_of import OpenWorkspace, WorkspaceOf
from packager.workspace.base import Workspace
from packager.workspace.names import parse_id
from packager.workspace.values import Kind

Say = Callable[[str], None]


class NotHereError(ContextError):
    """What is registered is not on this machine, and was not to be fetched."""


def _silent(_text: str) -> None:
    pass


def _fetch_nothing() -> Workspace:
    raise NotHereError("nothing is fetched for this", remedy="`packager build` fetches it")


def with_registered(spec_file: SpecFile, *, say: Say = _silent, fetch: bool = True, models: bool = True) -> SpecFile:
    """Return a spec whose registered models and environment are on this machine, as the lock pins them.

    Args:
        spec_file: the spec; one that names nothing registered is returned as it is.
        say: is told what is fetched.
        fetch: take from the workspace what this machine has not.
        models: False leaves them where they are, unless the environment follows from one.

    Raises:
        SpecError: two models are one.
        NotHereError: something is not here, and not to be fetched.
        LockError: the lock is missing, or pins not what the spec names.
        ContextError: what is pinned is neither here nor in the workspace, or has other content there.
        RegistryError, TemporaryError: a registry's workspace does not give it.
    """
    if _is_placed(spec_file, models):
        return spec_file
    lock = read_lock(spec_file)
    if reasons := unpinned(spec_file, lock):
        whole = spec_file.whole or spec_file.spec
        raise stale(dict.fromkeys((spec_file.target,) if spec_file.target else whole.target_names, reasons))
    assert lock is not None, "else nothing is pinned"
    with WorkspaceOf(spec_file) as workspace:
        return placed(spec_file, lock.pins, workspace if fetch else _fetch_nothing, say=say, models=models)


def _is_placed(spec_file: SpecFile, models: bool) -> bool:
    named = _models(spec_file) if _needs_models(spec_file, models) else ()
    environment = spec_file.registered_environment is None or spec_file.laid_environment is not None
    return environment and all(name in spec_file.laid for name in named)


def _needs_models(spec_file: SpecFile, models: bool) -> bool:
    return models or spec_file.spec.entry_script is None


def placed(
    spec_file: SpecFile,
    pins: Registered,
    workspace: OpenWorkspace,
    *,
    say: Say = _silent,
    models: bool = True,
) -> SpecFile:
    """Return a spec whose registered models and environment are on this machine.

    Args:
        spec_file: the spec.
        pins: what each of them is.
        workspace: gives the workspace, where something is fetched.
        say: is told what is fetched.
        models: see `with_registered`.

    Raises:
        SpecError, ContextError, RegistryError, TemporaryError: see `with_registered`.
    """
    _require_different(spec_file, pins)
    _require_frameworks(spec_file, pins)
    names = _models(spec_file) if _needs_models(spec_file, models) else ()
    laid = {name: bring("model", name, pins.models[name], workspace, say) for name in names}
    environment = spec_file.registered_environment
    whole = spec_file.whole
    return msgspec.structs.replace(
        spec_file,
        spec=_with_paths(spec_file.spec, laid, pins),
        whole=None if whole is None else _with_paths(whole, laid, pins),
        laid=laid,
        laid_environment=bring("environment", environment, pins.environments[environment], workspace, say)
        if environment
        else None,
    )


def bring(kind: Kind, name: str, pin: Pin, workspace: OpenWorkspace, say: Say) -> Laid:
    """Return what is pinned, laid down on this machine; fetched from the workspace where it is not.

    Args:
        kind: of it.
        name: of it; a version after it is passed over.
        pin: which version and content.
        workspace: gives the workspace.
        say: is told that it is fetched.

    Raises:
        ContextError: it is neither here nor in the workspace, or has other content there.
        RegistryError, TemporaryError: a registry's workspace does not give it.
    """
    from packager.storage.models import Store
    from packager.workspace.actions import take
    from packager.workspace.laid import lay, recall

    name, _ = parse_id(name, kind)
    store = Store()
    if (known := recall(name, pin.version, pin.digest, store)) is not None:
        return known
    try:
        opened = workspace()
        version = opened.get(kind, name, pin.version)
    except PackagerError as error:
        message = f"{name}:{pin.version} ({pin.digest[:19]}) is not on this machine; {error.message}"
        other = "--workspace or PACKAGER_WORKSPACE names the workspace that has it"
        remedy = f"{error.remedy}; or {other}" if error.remedy else other
        raise type(error)(message, where=error.where, remedy=remedy) from None
    if version.digest != pin.digest:
        raise ContextError(
            f"{version.id} in the workspace {opened.name} ({opened.location}) has the content {version.digest[:19]}, "
            f"and {pin.digest[:19]} is wanted",
            remedy="name the workspace that it is from (--workspace, PACKAGER_WORKSPACE, or `workspace:` in the spec)",
        )
    say(f"taking {version.id} from the workspace {opened.name}")
    return lay(name, pin.version, version.files, lambda: take(opened, version, store), store)


def pin(
    spec_file: SpecFile,
    before: Registered,
    workspace: OpenWorkspace,
    *,
    upgrade: bool | tuple[str, ...] = False,
    offline: bool = False,
) -> Registered:
    """Return version and digest of all that a spec names of a workspace; what is pinned stays.

    Args:
        spec_file: the spec.
        before: what is pinned so far.
        workspace: gives the workspace.
        upgrade: True moves all that have no version in the spec to the latest; or the names of some, each with the
            version that it is to take (`sklearn_mnist:3`) where that is not the latest.
        offline: no registry may be asked.

    Raises:
        UsageError: a name to upgrade is not one that may move.
        NotRegisteredError: something is not in the workspace.
        ContextError, RegistryError, TemporaryError: the workspace cannot be read.
    """
    names = {"model": _models(spec_file), "environment": _environments(spec_file)}
    asked = dict(parse_id(each, "model") for each in upgrade) if isinstance(upgrade, tuple) else {}
    _check_upgrade(asked, (*names["model"], *names["environment"]))

    def find(kind: Kind, text: str, known: Mapping[str, Pin]) -> Pin:
        name, version = parse_id(text, kind)
        moves = version is None and (upgrade is True or name in asked)
        if text in known and not moves and version in (None, known[text].version):
            return known[text]
        there = workspace()
        if offline and there.location.startswith("oci://"):
            raise LockError(f"{text} is not locked yet, and nothing is asked", remedy="lock without --offline")
        found = there.get(kind, name, asked.get(name) if moves else version)
        return Pin(
            version=found.version,
            digest=found.digest,
            framework=found.framework,
            framework_version=found.framework_version,
        )

    return Registered(
        models={text: find("model", text, before.models) for text in names["model"]},
        environments={text: find("environment", text, before.environments) for text in names["environment"]},
    )


def unpinned(spec_file: SpecFile, lock: Lock | None) -> tuple[str, ...]:
    """Return what of the registered a lock does not pin as the spec names it, a line each. Pure but for the lock."""
    if not spec_file.registers:
        return ()
    if lock is None:
        return (NO_LOCK,)
    lines = []
    for kind, names, pins in (
        ("model", _models(spec_file), lock.pins.models),
        ("environment", _environments(spec_file), lock.pins.environments),
    ):
        for text in names:
            name, _, version = text.partition(":")
            if text in pins and version in ("", str(pins[text].version)):
                continue
            others = [f"{name}:{pin.version}" for other, pin in pins.items() if other.partition(":")[0] == name]
            lines.append(
                f"{kind}: {' and '.join(others)} -> {text}" if others else f"the {kind} {text} is not locked yet"
            )
    return tuple(lines)


def unneeded(spec_file: SpecFile, lock: Lock | None) -> tuple[str, ...]:
    """Return what a lock pins that the spec names no more, a line each."""
    pins = Registered() if lock is None else lock.pins
    named = {name.partition(":")[0] for name in (*_models(spec_file), *_environments(spec_file))}
    return tuple(
        f"the spec no longer names {text}"
        for text in (*pins.models, *pins.environments)
        if text.partition(":")[0] not in named
    )


def newer(spec_file: SpecFile, lock: Lock | None, workspace: OpenWorkspace) -> Iterator[str]:
    """Yield what the workspace has that is newer than a pin which may move, a line each.

    Raises:
        PackagerError: the workspace cannot be read.
    """
    pins = Registered() if lock is None else lock.pins
    kinds: tuple[tuple[Kind, dict[str, Pin]], ...] = (("model", pins.models), ("environment", pins.environments))
    for kind, known in kinds:
        for text, own in known.items():
            if ":" in text or text not in (*_models(spec_file), *_environments(spec_file)):
                continue
            latest = workspace().get(kind, text)
            if latest.version > own.version:
                yield f"{kind} {text}:{own.version} is locked; {latest.id} is there (`packager lock --upgrade-models`)"


def _models(spec_file: SpecFile) -> tuple[str, ...]:
    return tuple(dict.fromkeys(each.registered for each in spec_file.every_model if each.registered))


def _environments(spec_file: SpecFile) -> tuple[str, ...]:
    return (spec_file.registered_environment,) if spec_file.registered_environment else ()


def _check_upgrade(asked: Iterable[str], names: tuple[str, ...]) -> None:
    for name in asked:
        if name in names:
            continue
        fixed = next((each for each in names if each.partition(":")[0] == name.partition(":")[0]), None)
        if fixed is not None:
            raise UsageError(
                f"cannot upgrade {name!r}: the spec names {fixed}",
                remedy="change the version in the spec, or leave it out",
            )
        raise UsageError(f"cannot upgrade {name!r}: the spec names no registered model of it", remedy="check the name")


def _with_paths(spec: Spec, laid: Mapping[str, Laid], pins: Registered) -> Spec:
    """Return a spec whose registered models have their versions, and paths on this machine."""
    without_code = spec.entry_script is None
    targets = spec.targets
    if isinstance(targets, dict):
        targets = {
            name: msgspec.structs.replace(options, models=_placed(options.models, laid, pins, without_code))
            for name, options in targets.items()
        }
    return msgspec.structs.replace(spec, models=_placed(spec.models, laid, pins, without_code), targets=targets)


def _placed(
    models: tuple[Model, ...], laid: Mapping[str, Laid], pins: Registered, without_code: bool
) -> tuple[Model, ...]:
    def place(model: Model, laid: Laid, pin: Pin) -> Model:
        model = msgspec.structs.replace(model, path=laid.path, version=laid.version)
        if not without_code or model.framework is not None:
            return model
        framework, version = named(pin.framework, pin.framework_version)
        return msgspec.structs.replace(model, framework=framework, framework_version=version)

    return tuple(
        model
        if model.registered is None or model.registered not in laid
        else place(model, laid[model.registered], pins.models[model.registered])
        for model in models
    )


def _require_frameworks(spec_file: SpecFile, pins: Registered) -> None:
    """Refuse a model without code of which neither the spec nor its registration says how to serve it."""
    for model in spec_file.every_model if spec_file.spec.entry_script is None else ():
        if model.registered is None or model.framework is not None:
            continue
        pin = pins.models[model.registered]
        if named(pin.framework, None)[0] is None:
            registered = f"with {pin.framework}" if pin.framework else "without one"
            raise SpecError(
                f"without an entry script the model {model.called}:{pin.version} needs a framework, "
                f"and it is registered {registered}",
                where=spec_file.at_model(model),
                remedy="say `framework: sklearn`, onnx, tensorflow or mlflow beside it; or name an `entry_script`",
            )


def _require_different(spec_file: SpecFile, pins: Registered) -> None:
    """Refuse two models that would be in one folder, now that their versions are known."""
    whole = spec_file.whole or spec_file.spec
    for target in whole.target_names:
        seen: dict[tuple[str, int], Model] = {}
        for model in whole.for_target(target).models:
            version = pins.models[model.registered].version if model.registered else model.version
            other = seen.setdefault((model.called, version), model)
            if other is not model:
                raise SpecError(
                    f"the model {model.called!r} version {version} is given twice: {other.shown} and {model.shown}",
                    where=spec_file.at_model(model),
                    remedy="give one of them its own `name:`, or name another version",
                )
