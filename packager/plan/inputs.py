"""What an image is made from, by names that its users know: to tell whether it is still of these files.

The base image is left out: `--base` takes its place for one build, and the lock, which names it, is among the inputs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import msgspec

from packager.contract import BASE_DIGEST_LABEL, BASE_NAME_LABEL, INPUTS_LABEL, LOCK_LABEL
from packager.plan.plan import Layer, Plan
from packager.spec.model import canonical

#: What is no file of the user's, in the words of messages.
_OWN, _SETTINGS, _LOCK = "what packager adds", "the spec's settings", "packager.lock"


def with_inputs(plan: Plan, templates: Mapping[str, str] | None = None) -> Plan:
    """Return a plan whose image says by a label what it is made from.

    Args:
        plan: of an image.
        templates: path of a template of the user's → sha256 of its text.
    """
    labels = plan.config.labels | {INPUTS_LABEL: f"sha256:{digest_of(inputs_of(plan, templates))}"}
    return msgspec.structs.replace(plan, config=msgspec.structs.replace(plan.config, labels=labels))


def inputs_of(plan: Plan, templates: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return what an image is made from: a file as the user calls it, or a word for what is no file → its digest."""
    files = plan.app.tree.files
    own = sorted((file.path, file.digest) for file in files if not file.origin)
    config = msgspec.to_builtins(plan.config)
    config["labels"] = {
        name: value
        for name, value in plan.config.labels.items()
        if name not in (BASE_NAME_LABEL, BASE_DIGEST_LABEL, INPUTS_LABEL, LOCK_LABEL)
    }
    settings = {
        "config": config,
        "system": plan.system_packages,
        "template": plan.template,
        "compiled": bool(plan.environment.compiler),
        "modes": [(file.path, file.mode) for file in files],
        "folders": plan.app.tree.folders,
    }
    return {
        **{file.origin: file.digest for file in files if file.origin},
        **{f"the model {_called(layer)}": layer.tree.digest for layer in (*plan.models, *plan.volumes)},
        **(templates or {}),
        _LOCK: plan.lock_digest,
        _SETTINGS: digest_of(settings),
        _OWN: digest_of([own, plan.server.tree.digest]),
    }


def _called(layer: Layer) -> str:
    """Return `name-version`; of a registered model, what the workspace calls it, too."""
    own = layer.name.removeprefix("model-")
    if not layer.registered:
        return own
    return layer.registered if own == layer.registered.replace(":", "-") else f"{own} ({layer.registered})"


def digest_of(value: object) -> str:
    """Return the sha256 (64 hex digits) of inputs, or of a part of them."""
    return hashlib.sha256(canonical(value)).hexdigest()


def changes(before: Mapping[str, str], now: Mapping[str, str]) -> tuple[str, ...]:
    """Return what of the inputs is not as it was, most telling first: files and models, then the rest."""
    names = [name for name in sorted({*before, *now}) if before.get(name) != now.get(name)]
    files = [name for name in names if name not in (_LOCK, _SETTINGS, _OWN)]
    # A file more or less is a change of the settings, too, which then tells nothing.
    settings = _SETTINGS in names and all(name in before and name in now for name in files)
    others = [_SETTINGS] if settings else []
    return (*files, *(name for name in (_LOCK, _OWN) if name in names), *others)
