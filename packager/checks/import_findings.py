"""Imports that will fail in the image, and what to do about each. Pure."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Iterator, Mapping

from packager.checks.exported import Exported, lacks
from packager.checks.installed import candidates, provider
from packager.checks.known_modules import INSTEAD, NOT_ON_LINUX, REMOVED, is_standard
from packager.checks.module_facts import Sure
from packager.checks.module_search import Kind
from packager.checks.reach import Image, Imported, Reached, unclear_paths
from packager.finding import Finding, Severity


def import_findings(
    image: Image, reached: Reached, environment: str, left_out: Callable[[str], str | None]
) -> Iterator[Finding]:
    """Yield what is wrong with the imports of all modules that are reached.

    Args:
        image: the image.
        reached: its modules, and what their imports get.
        environment: what the user calls the environment (`requirements.txt`).
        left_out: returns the path of a file of the user's that would be this top-level module and is not packaged.
    """
    told: set[tuple[str, str]] = set()
    for each in reached.imported:
        sure = min(each.module.sure, each.statement.sure)
        if sure is Sure.NEVER:
            continue
        finding = _finding(image, reached, each, sure, environment, left_out)
        # One package that is missing is told once for each file, where it is imported first.
        key = (each.module.path, f"{each.found.kind} {each.found.failed or each.target}")
        if finding is not None and key not in told:
            told.add(key)
            yield finding
    yield from _dynamic(image, reached)


def undecided(reached: Reached) -> tuple[str, ...]:
    """Return the imports that only a look into all packages can decide, sorted."""
    return tuple(sorted({each.found.failed for each in undecided_imports(reached)}))


def undecided_imports(reached: Reached) -> Iterator[Imported]:
    """Iterate over the imports that only a look into all packages can decide."""
    return (
        each
        for each in reached.imported
        if each.found.kind is Kind.UNDECIDED and min(each.module.sure, each.statement.sure) is not Sure.NEVER
    )


def imported_from(reached: Reached) -> tuple[str, ...]:
    """Return the modules of packages from which names are imported, sorted."""
    return tuple(
        sorted(
            {
                each.target
                for each in reached.imported
                if each.found.kind is Kind.INSTALLED and each.statement.names and not each.statement.level
            }
        )
    )


def imported_surely(reached: Reached) -> tuple[Imported, ...]:
    """Return the imports of packages that run whenever the service starts or answers."""
    return tuple(
        each
        for each in reached.imported
        if each.found.kind is Kind.INSTALLED
        and not each.statement.level
        and min(each.module.sure, each.statement.sure) is Sure.CERTAIN
    )


def name_findings(
    image: Image, reached: Reached, exports: Mapping[str, Exported], versions: Mapping[str, str]
) -> Iterator[Finding]:
    """Yield each name that is imported from a module of a package, and that certainly is not in it.

    Args:
        image: the image.
        reached: its modules.
        exports: the names of modules, as far as they could be read.
        versions: normalised name of each locked package → version.
    """
    for each in reached.imported:
        sure = min(each.module.sure, each.statement.sure)
        if sure is Sure.NEVER or each.target not in exports or each.target != each.statement.module:
            continue
        for name in each.statement.names:
            if name != "*" and lacks(exports, each.target, name):
                yield _nameless(image, each, name, sure, versions)


def _nameless(image: Image, each: Imported, name: str, sure: Sure, versions: Mapping[str, str]) -> Finding:
    package = next((package for package in candidates(each.target) if package in versions), None)
    if is_standard(each.target.partition(".")[0], image.python):
        message = f"{each.target} of Python {image.python} has no {name!r}"
        remedy = "correct the name, or take what is in its place today"
    else:
        of = f", as it is locked ({package} {versions[package]})," if package else ""
        message = f"{each.target}{of} has no {name!r}"
        remedy = (
            f"correct the name, or ask for a version of {package or 'its package'} that has it (release notes tell)"
        )
    return Finding(
        rule="import-name-missing",
        severity="error" if sure is Sure.CERTAIN else "warning",
        message=message,
        file=image.files[each.module.path],
        line=each.statement.line,
        remedy=remedy,
    )


def _finding(
    image: Image, reached: Reached, each: Imported, sure: Sure, environment: str, left_out: Callable[[str], str | None]
) -> Finding | None:
    file, line = image.files[each.module.path], each.statement.line
    severity: Severity = "error" if sure is Sure.CERTAIN else "warning"
    found = each.found
    if found.kind is Kind.HIDDEN:
        message, remedy = _hidden(image, each)
        return Finding(rule="import-hidden", severity=severity, message=message, file=file, line=line, remedy=remedy)
    if found.own is not None and found.own != each.module.path:
        name = each.target.partition(".")[0]
        message = f"`import {name}` gets the one of {_whose(name, image)}, not {image.files[found.own]}"
        remedy = "rename yours, or put it into a package (a folder with __init__.py) of another name"
        return Finding(rule="import-hidden", severity="warning", message=message, file=file, line=line, remedy=remedy)
    if found.kind is not Kind.MISSING:
        return None
    if each.statement.level and not found.failed:
        message, remedy = _relative(image, each)
        return Finding(rule="import-relative", severity=severity, message=message, file=file, line=line, remedy=remedy)
    message, remedy = _missing(image, reached, each, environment, left_out)
    unclear = unclear_paths(reached)
    if unclear:
        path, where = next(iter(unclear.items()))
        severity = "warning"
        message += f"; unless sys.path, as {image.files[path]}:{where} changes it, has it"
    if found.loose:
        severity = "warning"
    return Finding(rule="import-missing", severity=severity, message=message, file=file, line=line, remedy=remedy)


def _whose(name: str, image: Image) -> str:
    return "Python's standard library" if is_standard(name, image.python) else "a package"


def _hidden(image: Image, each: Imported) -> tuple[str, str]:
    name, theirs = each.target.partition(".")[0], each.found.failed.replace(".", "/")
    message = f"`import {name}` gets {theirs}.py of the inference server, whose folder goes before the app on sys.path"
    if each.found.own is None:
        return message, "import what you mean by its own name"
    return (
        f"{message}, and not {image.files[each.found.own]}",
        f"rename {name}, or put it into a package (a folder with __init__.py) of another name",
    )


def _relative(image: Image, each: Imported) -> tuple[str, str]:
    dots = "." * each.statement.level
    shown = f"from {dots}{each.statement.module} import {', '.join(each.statement.names)}"
    if each.module.package is None:
        folder = posixpath.relpath(posixpath.dirname(each.module.path), image.root)
        package = "" if folder == "." else folder.replace("/", ".")
        absolute = ".".join(part for part in (package, each.statement.module) if part)
        wanted = f"from {absolute} import …" if absolute else f"import {each.statement.names[0]}"
        return f"`{shown}`: the server loads the entry script on its own, not as part of a package", f"write `{wanted}`"
    return f"`{shown}` leads out of the package {each.module.package!r}", "write the import from the root of source_dir"


def _missing(
    image: Image, reached: Reached, each: Imported, environment: str, left_out: Callable[[str], str | None]
) -> tuple[str, str]:
    failed = each.found.failed
    top = failed.partition(".")[0]
    if top == failed:
        local = reached.search.elsewhere(top)
        if local is not None:
            return _not_on_path(image, each, top, local)
        host = left_out(top)
        if host is not None:
            remedy = "change .dockerignore or `source_dir` (a folder that holds both, and its subfolders on sys.path)"
            return f"no module {top!r}: {host} is not in the image", remedy
    if top in NOT_ON_LINUX:
        return f"{top!r} is there on Windows alone", "guard it: `if sys.platform == 'win32':`"
    if top in REMOVED and top == failed:
        message = f"{top!r} is not in the standard library since Python 3.{REMOVED[top]}; the image has {image.python}"
        return message, INSTEAD.get(top, f"set `python:` to one before 3.{REMOVED[top]}, or do without it")
    owner = _app_owner(image, reached, failed)
    if owner is not None:
        return f"no module {failed!r}: {owner} has none", "correct the name; the file may also be left out of the image"
    if each.found.loose:
        return f"the locked {top!r} has no module {failed!r}", "look into the release notes of the locked version"
    package = provider(each.target)
    if top == "azureml" and package == "azureml-core":
        message = f"no module {failed!r}: azureml-core is not in the lock"
        return message, (
            'read os.environ["AZUREML_MODEL_DIR"] in place of Model.get_model_path; '
            f"or add azureml-core to {environment} and run `packager lock`"
        )
    message = f"no module {failed!r}: no locked package and no file of the app has it"
    if package == "setuptools" and package in reached.search.packages:
        message = f"no module {failed!r}: the locked setuptools has it no more"
        return message, f"ask for `setuptools<81` in {environment} and run `packager lock`, or use importlib.resources"
    if package is not None:
        return message, f"add {package} to {environment} and run `packager lock`"
    likely = candidates(failed)[-1]
    return message, f"add the package that has it ({likely}?) to {environment} and run `packager lock`"


def _not_on_path(image: Image, each: Imported, name: str, local: str) -> tuple[str, str]:
    shown = image.files[local]
    holder = posixpath.dirname(local.removesuffix("/__init__.py"))
    folder = posixpath.relpath(holder, image.root)
    beside = holder == posixpath.dirname(each.module.path)
    where = "which is beside the script, and the script's own folder" if beside else "whose folder"
    message = f"no module {name!r}: there is {shown}, {where} is not on sys.path (only the root of source_dir is)"
    dotted = folder.replace("/", ".")
    if all(part.isidentifier() for part in dotted.split(".")):
        return message, f"write `from {dotted} import {name}`, or move it to the root of source_dir"
    return message, "move it to the root of source_dir, or put its folder on sys.path in the script"


def _app_owner(image: Image, reached: Reached, failed: str) -> str | None:
    """Return the app's package or module that lacks a module, for people."""
    above = failed.rpartition(".")[0]
    if not above:
        return None
    holder = reached.search.find(above)
    if holder.kind in (Kind.APP_MODULE, Kind.APP_PACKAGE) and holder.paths:
        return image.files[holder.paths[0]]
    return posixpath.relpath(holder.paths[0], image.root) + "/" if holder.paths else None


def _dynamic(image: Image, reached: Reached) -> Iterable[Finding]:
    for module in reached.modules:
        for line in module.facts.dynamic[:1]:
            yield Finding(
                rule="import-dynamic",
                severity="info",
                message="what is imported here is decided at run time, and was not checked",
                file=image.files[module.path],
                line=line,
            )


def unknown_finding(names: Iterable[str], unknown: Iterable[str], reason: str, remedy: str, file: str) -> Finding:
    """Return the finding for imports that could not be decided."""
    return Finding(
        rule="imports-unchecked",
        severity="info",
        message=f"could not check the import of {_some(names)}: {_some(unknown)} could not be looked into ({reason})",
        file=file,
        remedy=remedy,
    )


def _some(names: Iterable[str], most: int = 5) -> str:
    ordered = sorted(names)
    more = f" and {len(ordered) - most} more" if len(ordered) > most else ""
    return ", ".join(ordered[:most]) + more
