"""Models that a script asks for and the image has not, and names that the locked packages have no more. Pure."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from difflib import get_close_matches

from packaging.version import InvalidVersion, Version

from packager.checks.constants import MODEL_DIR
from packager.checks.known_modules import GONE
from packager.checks.module_facts import ModelCall, PathUse, Sure
from packager.checks.reach import Image, Module, Reached
from packager.contract import MODELS_FOLDER
from packager.finding import Finding, Severity

_CORE = "azureml-core"


def model_findings(image: Image, reached: Reached, packages: frozenset[str]) -> Iterator[Finding]:
    """Yield each model or path of one that a reached module asks for, and that is not in the image.

    Args:
        image: the image.
        reached: its modules.
        packages: normalised names of what is locked.
    """
    for module in reached.modules:
        for call in module.facts.calls:
            yield from _call(image, module, call, packages)
        for use in module.facts.paths:
            yield from _path(image, module, use)
        for each in module.facts.unset:
            if min(module.sure, each.sure) is not Sure.NEVER:
                yield Finding(
                    rule="model-dir-unset",
                    severity="warning",
                    message=f"{MODEL_DIR} is not set in the image: the spec names no models",
                    file=image.files[module.path],
                    line=each.line,
                    remedy="name them in the spec: `models: [{path: …}]`",
                )


def _call(image: Image, module: Module, call: ModelCall, packages: frozenset[str]) -> Iterator[Finding]:
    sure = min(module.sure, call.sure)
    if sure is Sure.NEVER:
        return
    file = image.files[module.path]
    if _CORE not in packages:
        yield Finding(
            rule="model-path-without-azureml-core",
            severity="error" if sure is Sure.CERTAIN else "warning",
            message="Model.get_model_path needs azureml-core, which is not in the lock",
            file=file,
            line=call.line,
            remedy=f'read os.environ["{MODEL_DIR}"] in its place ({_model_dir(image)})',
        )
    if call.clear and call.name is not None and image.model_path(call.name, call.version) is None:
        names = sorted({name for name, _ in image.models})
        versions = sorted(version for name, version in image.models if name == call.name)
        message = f"the spec has no model {call.name!r}"
        if versions:
            message = f"the spec has the model {call.name!r} in version {_list(versions)}, not {call.version}"
        yield Finding(
            rule="model-unknown",
            severity="warning",
            message=message,
            file=file,
            line=call.line,
            remedy=f"it has {_list(names)}; set `name:` and `version:` of the model"
            if names
            else "name it in `models:`",
        )


def _model_dir(image: Image) -> str:
    paths = sorted(image.models.values())
    if len(paths) == 1:
        return f"the model is {posixpath.basename(paths[0])!r} in it"
    return "models are at <name>/<version>/<file> in it" if paths else "the spec names no models"


def _path(image: Image, module: Module, use: PathUse) -> Iterator[Finding]:
    path = posixpath.normpath(posixpath.join(image.root, use.text))
    sure = min(module.sure, use.sure)
    base = image.environ.get(MODEL_DIR, "")
    # A pattern is not a path, and what lies elsewhere may be made at run time.
    inside = path == base or path.startswith(f"{image.root}/{MODELS_FOLDER}/")
    if sure is Sure.NEVER or not inside or any(each in path for each in "*?["):
        return
    folders = {f"{image.root}/{MODELS_FOLDER}"}
    for file in image.files:
        while (file := posixpath.dirname(file)) not in folders and len(file) > len(image.root):
            folders.add(file)
    if path in image.files or path in folders:
        return
    shown = posixpath.relpath(path, base)
    present = [posixpath.relpath(each, base) for each in image.files if each.startswith(f"{base}/")]
    yield Finding(
        rule="model-path-missing",
        severity="warning",
        message=f"{MODEL_DIR}/{shown} is not in the image; there {_are(present)}",
        file=image.files[module.path],
        line=use.line,
        remedy=_remedy(shown, present, image),
    )


def _are(paths: list[str]) -> str:
    shown = ", ".join(sorted(paths)[:5]) + (f" and {len(paths) - 5} more" if len(paths) > 5 else "")
    return f"is {shown}" if len(paths) == 1 else f"are {shown}" if paths else "is nothing"


def _remedy(wanted: str, present: list[str], image: Image) -> str:
    same = [each for each in present if posixpath.basename(each) == posixpath.basename(wanted)]
    close = same or get_close_matches(wanted, present, n=1, cutoff=0.6) or (present if len(present) == 1 else [])
    several = len(image.models) > 1
    rule = (
        "with several models, paths in it start with <name>/<version>/" if several else "correct the path, or the spec"
    )
    return f"did you mean {close[0]!r}? {rule}" if close else rule


def _list(items: list[str] | list[int]) -> str:
    return ", ".join(str(each) for each in items)


# --- names that are gone ----------------------------------------------------------------------------------------------


def gone_findings(image: Image, reached: Reached, versions: Mapping[str, str]) -> Iterator[Finding]:
    """Yield each use of a name that the locked version of its package has no more.

    Args:
        image: the image.
        reached: its modules.
        versions: normalised name of each locked package → version.
    """
    known = {**versions, "python": image.python}
    for module in reached.modules:
        imported: set[str] = set()
        for statement in module.facts.imports:
            if not statement.level:
                names = [statement.module, *(f"{statement.module}.{each}" for each in statement.names)]
                found = next(filter(None, (_gone(name, known) for name in names)), None)
                if found is not None:
                    imported.add(found[0])
                    yield from _one(image, module, found, statement.line, statement.sure)
        seen = set(imported)
        for use in module.facts.uses:
            found = _gone(use.dotted, known)
            if found is not None and found[0] not in seen:
                seen.add(found[0])
                yield from _one(image, module, found, use.line, use.sure)


def _gone(dotted: str, versions: Mapping[str, str]) -> tuple[str, str, str] | None:
    """Return the gone name that a dotted name is or is below, why, and what to do."""
    parts = dotted.split(".")
    for count in range(len(parts), 1, -1):
        name = ".".join(parts[:count])
        gone = GONE.get(name)
        if gone is None or gone.package not in versions:
            continue
        try:
            version = Version(versions[gone.package])
        except InvalidVersion:
            continue
        if version >= Version(gone.since) and not (gone.until and version >= Version(gone.until)):
            title = "Python" if gone.package == "python" else gone.package
            reason = f"{name} is gone since {title} {gone.since}; the image has {versions[gone.package]}"
            return name, reason, gone.instead
    return None


def _one(image: Image, module: Module, found: tuple[str, str, str], line: int, sure: Sure) -> Iterator[Finding]:
    sure = min(module.sure, sure)
    severity: Severity = "error" if sure is Sure.CERTAIN else "warning"
    if sure is not Sure.NEVER:
        yield Finding(
            rule="api-removed",
            severity=severity,
            message=found[1],
            file=image.files[module.path],
            line=line,
            remedy=found[2],
        )
