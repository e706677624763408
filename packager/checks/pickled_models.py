"""What a pickled model needs, held against the image: modules, scikit-learn's version, the protocol. Pure.

Why no version is an error: scikit-learn itself warns (`InconsistentVersionWarning`) of every difference, and loads what
it can. Within a minor version pickles are kept loadable in practice, across minor versions they are not. What certainly
cannot be loaded, because a module is not there, is an error.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from packaging.version import InvalidVersion, Version

from packager.checks.installed import provider
from packager.checks.module_search import Kind, Search
from packager.environments.declare.no_code import newest_python
from packager.finding import Finding, Severity
from packager.models.pickle_reader import PickleFacts

#: Names of files that are pickles, and nothing else.
NAMED = (".pkl", ".pickle", ".joblib")


def pickle_findings(
    facts: PickleFacts,
    file: str,
    search: Search,
    versions: Mapping[str, str],
    python: str,
    environment: str,
    *,
    main_is_made: bool,
) -> Iterator[Finding]:
    """Yield what will go wrong when a model is loaded.

    Args:
        facts: what it holds.
        file: its path, for people.
        search: finds modules in the image.
        versions: normalised name of each locked package → version.
        python: minor version of the image.
        environment: what the user calls the environment (`requirements.txt`).
        main_is_made: whether the app itself puts something into `__main__`.
    """
    if facts.broken and file.endswith(NAMED):
        yield _finding("model-broken", "error", "ends too early, or is damaged: it is no whole pickle", file, AGAIN)
    highest = 5 if int(python.partition(".")[2]) >= 8 else 4
    if facts.protocol > highest:
        message = f"has pickle protocol {facts.protocol}; Python {python} reads up to {highest}"
        yield _finding("model-protocol", "error", message, file, f"save it with protocol={highest}")
    main = sorted(name.removeprefix("__main__:") for name in facts.names if name.startswith("__main__:"))
    if main:
        yield _main(main, file, "warning" if main_is_made else "error")
    yield from _modules(facts, file, search, environment)
    yield from _sklearn(facts, file, versions, python)


AGAIN = "save the model again; a download or a `git lfs pull` may not be complete"


def _main(names: list[str], file: str, severity: Severity) -> Finding:
    shown = ", ".join(repr(each) for each in names[:3])
    message = (
        f"needs {shown} of __main__, the notebook or script that trained it; in the image, __main__ is the server, "
        "and loading fails"
    )
    remedy = "move it into a module of the app, import it from there where you train, and save the model again"
    return _finding("model-main", severity, message, file, remedy)


def needed_modules(facts: PickleFacts) -> tuple[str, ...]:
    """Return the modules that loading a pickle imports, sorted; of names that can be modules."""
    found = {each.partition(":")[0] for each in facts.names} - {"__main__"}
    return tuple(sorted(each for each in found if each and each.isprintable() and ".." not in each))


def _modules(facts: PickleFacts, file: str, search: Search, environment: str) -> Iterator[Finding]:
    told: set[str] = set()
    for module in needed_modules(facts):
        found = search.find(module)
        if found.kind is not Kind.MISSING or found.failed in told:
            continue
        told.add(found.failed)
        top = found.failed.partition(".")[0]
        package = provider(module) or top
        if top != found.failed:
            message = f"needs the module {module!r}, which the locked {top!r} does not have"
            remedy = (
                f"lock the version of {package} that the model was saved with, or save it again with the locked one"
            )
        else:
            if package == "scikit-learn" and len(facts.sklearn) == 1:
                package = f"{package}=={facts.sklearn[0]}"
            message = f"needs the module {module!r}, which no locked package and no file of the app has"
            remedy = f"add {package} to {environment} and run `packager lock`; your own module goes into source_dir"
        yield _finding("model-module-missing", "error", message, file, remedy)


def _sklearn(facts: PickleFacts, file: str, versions: Mapping[str, str], python: str) -> Iterator[Finding]:
    locked = versions.get("scikit-learn")
    for written in facts.sklearn if locked else ():
        severity = difference(written, str(locked))
        if severity is not None:
            yield _finding(
                "model-sklearn-version",
                severity,
                f"was saved by scikit-learn {written}; the lock has {locked}",
                file,
                f"{_pin(written, python)} and run `packager lock`, or save the model again with {locked}",
            )


def _pin(version: str, python: str) -> str:
    """Return what to write for a version of scikit-learn; with a Python that has wheels, where this one has none."""
    try:
        newest = newest_python("sklearn", version)
    except InvalidVersion:
        return f"pin scikit-learn=={version}"
    if int(newest.partition(".")[2]) >= int(python.partition(".")[2]):
        return f"pin scikit-learn=={version}"
    return f'set `python: "{newest}"`, for which scikit-learn {version} has wheels, pin scikit-learn=={version}'


def difference(written: str, locked: str) -> Severity | None:
    """Return how much it matters that a model was saved by one version of scikit-learn and is loaded by another."""
    try:
        old, new = Version(written), Version(locked)
    except InvalidVersion:
        return "warning" if written != locked else None
    if old == new:
        return None
    return "info" if old.release[:2] == new.release[:2] else "warning"


def _finding(rule: str, severity: Severity, message: str, file: str, remedy: str) -> Finding:
    return Finding(rule=rule, severity=severity, message=message, file=file, remedy=remedy)
