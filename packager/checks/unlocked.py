"""Modules that nobody can look up now, and whose package is known by their name: is it locked? Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from packager.checks.import_findings import undecided_imports
from packager.checks.installed import candidates, provider
from packager.checks.module_search import Kind, Search
from packager.checks.reach import Image, Reached
from packager.finding import Finding


def undecided_modules(modules: Iterable[str], search: Search) -> tuple[str, ...]:
    """Return the modules that only a look into all packages can decide: the part of each that is not known, sorted."""
    found = map(search.find, modules)
    return tuple(sorted({each.failed for each in found if each.kind is Kind.UNDECIDED}))


def unlocked_findings(
    image: Image, reached: Reached, needed: Mapping[str, Collection[str]], environment: str
) -> Iterator[Finding]:
    """Yield a warning for each module that is known to be of a package, where that package is not locked.

    It is a warning, because another package may bring a module of that name: only a look into the wheels could tell.

    Args:
        image: the image.
        reached: its modules, with what their imports get as far as that is known.
        needed: file of a model, for people → the modules that it needs.
        environment: what the user calls the environment (`requirements.txt`).
    """
    told: set[tuple[str, str]] = set()
    for each in undecided_imports(reached):
        file = image.files[each.module.path]
        if (package := _unlocked(each.target, reached.search)) and (file, package) not in told:
            told.add((file, package))
            message = f"imports {each.found.failed!r}, which is known to be of {package}, and that is not locked"
            yield _finding("import-missing", message, file, package, environment, each.statement.line)
    for file, modules in needed.items():
        for module in modules:
            search = reached.search
            for failed in undecided_modules([module], search):
                if (package := _unlocked(module, search)) and (file, package) not in told:
                    told.add((file, package))
                    message = f"needs the module {failed!r}, which is known to be of {package}, and that is not locked"
                    yield _finding("model-module-missing", message, file, package, environment, None)


def _unlocked(module: str, search: Search) -> str | None:
    package = provider(module)
    return package if package is not None and search.packages.isdisjoint(candidates(module)) else None


def _finding(rule: str, message: str, file: str, package: str, environment: str, line: int | None) -> Finding:
    return Finding(
        rule=rule,
        severity="warning",
        message=message,
        file=file,
        line=line,
        remedy=f"add {package} to {environment} and run `packager lock`",
    )
