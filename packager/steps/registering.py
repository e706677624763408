"""From what somebody registers as a model to what a workspace takes: fetched where needed, looked at, never loaded."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from packager.errors import ContextError, UsageError
from packager.steps.reporting import Reporter
from packager.storage.memory import cache_root
from packager.storage.models import Store
from packager.storage.reading import failure
from packager.workspace.contents import scan_contents
from packager.workspace.facts import find_facts, settle
from packager.workspace.file_roles import has_no_model
from packager.workspace.names import check_name, check_pairs, check_text
from packager.workspace.sources import Fetched, Options, fetch, forget, is_address
from packager.workspace.values import Content, Resources, Version

_SHA256 = re.compile(r"[0-9a-f]{64}\Z", re.ASCII)


class ModelWish(msgspec.Struct, frozen=True, kw_only=True):
    """A model that is to be registered; fields as the parameters of `packager.Workspace.models.register`.

    Without a name it gets that which it has where it comes from.
    """

    name: str | None
    path: str
    tags: dict[str, str] = {}
    properties: dict[str, str] = {}
    description: str = ""
    framework: str | None = None
    framework_version: str | None = None
    resources: Resources | None = None
    sample_inputs: tuple[Path, ...] = ()
    sha256: str | None = None
    run_id: str | None = None


Read = tuple[Version, tuple[Content, ...], tuple[Content, ...]]


@contextmanager
def read_model(wish: ModelWish, reporter: Reporter) -> Iterator[Read]:
    """Give a version without its number, its files, and its samples; what was fetched goes at the end of the `with`.

    Args:
        wish: what is to be registered.
        reporter: is told what is done.

    Raises:
        UsageError: name, tags, properties, resources or digest are none.
        ContextError: a file is missing, or not what was said of it.
        RegistryError, TemporaryError: a source refuses, or does not answer now.
    """
    _check(wish)
    reporter.step(f"registering model {wish.name or wish.path}")
    if not is_address(wish.path):
        path = Path(wish.path)
        files = scan_contents(path)
        files = files if wish.sha256 is None else _with_digest(files, wish.sha256)
        yield _read(wish, Fetched(path=path), files, reporter)
        return
    with large_scratch() as scratch:
        fetched = fetch(wish.path, scratch, Options(sha256=wish.sha256))
        if fetched.source is not None:
            reporter.step(f"fetched {fetched.source.uri}")
        yield _read(wish, fetched, fetched.files or scan_contents(fetched.path), reporter)
        forget(fetched)


def _check(wish: ModelWish) -> None:
    """Refuse at once what would be refused after a long download."""
    if wish.name is not None:
        check_name(wish.name, "model")
    if not wish.path:
        raise UsageError("the path of the model is empty", remedy="name a file or folder; `.` is this one")
    check_pairs(wish.tags, "tag")
    check_pairs(wish.properties, "property")
    check_text(wish.description, "the description")
    check_text(wish.run_id or "", "the id of the run")
    if wish.framework is None and wish.framework_version is not None:
        raise UsageError("a version of a framework needs the framework", remedy="say --model-framework, too")
    if wish.sha256 is not None and not _SHA256.match(wish.sha256):
        raise UsageError(f"{wish.sha256!r} is no sha256", remedy="64 digits 0 to 9 and a to f")
    for value, what in _amounts(wish.resources):
        if value is not None and not 0 <= value < 1e9:
            raise UsageError(f"{value:g} is no number of {what}")


def _amounts(resources: Resources | None) -> tuple[tuple[float | None, str], ...]:
    if resources is None:
        return ()
    return ((resources.cpu, "processors"), (resources.memory_gb, "gigabytes"), (resources.gpu, "GPUs"))


def _read(wish: ModelWish, fetched: Fetched, files: tuple[Content, ...], reporter: Reporter) -> Read:
    path = fetched.path
    facts = find_facts(path)
    if facts.framework is None and has_no_model(each.path for each in files):
        what = "none of the files looks" if len(files) > 1 else f"{path.name} does not look"
        reporter.warn(f"{what} like a model: if it is none, register the file or folder that the script loads")
    framework = wish.framework or fetched.framework
    framework, version = settle(facts, framework, wish.framework_version or fetched.framework_version)
    draft = Version(
        kind="model",
        name=_name(wish, fetched),
        framework=framework,
        framework_version=version,
        resources=wish.resources or fetched.resources,
        source=fetched.source,
        run_id=wish.run_id or fetched.run_id or facts.run_id,
        details={**facts.details, **fetched.details},
        description=wish.description or fetched.description,
        tags=fetched.tags | wish.tags,
        properties=fetched.properties | wish.properties,
    )
    return draft, files, _samples(wish, fetched, [path / each for each in facts.samples])


def _name(wish: ModelWish, fetched: Fetched) -> str:
    if wish.name is not None:
        return wish.name
    try:
        return check_name(fetched.name, "model")
    except UsageError:
        raise UsageError(f"{wish.path} has no name that a model can have here", remedy="give it one: -n NAME") from None


def _samples(wish: ModelWish, fetched: Fetched, found: list[Path]) -> tuple[Content, ...]:
    """Return requests as the model takes them: those that were named, else those that come with it."""
    if not wish.sample_inputs and fetched.samples:
        return fetched.samples
    contents = tuple(content for path in wish.sample_inputs or found for content in scan_contents(path))
    names = [each.path for each in contents]
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UsageError(f"two samples are called {twice!r}", remedy="rename one")
    return contents


def _with_digest(files: tuple[Content, ...], sha256: str) -> tuple[Content, ...]:
    if len(files) != 1:
        raise UsageError("a sha256 is one of a file, and this is a folder", remedy="leave --sha256 out")
    found, _ = Store().digest(files[0].origin, files[0].below)
    if found != sha256:
        raise ContextError(
            f"the sha256 of {files[0].origin} is {found}, and {sha256} was said",
            remedy="get the file anew, or say its own",
        )
    return (msgspec.structs.replace(files[0], sha256=sha256),)


@contextmanager
def large_scratch() -> Iterator[Path]:
    """Give a folder beside the cache, where large files fit; what a killed process leaves there, `store gc` removes."""
    folder = cache_root() / "fetched/tmp"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        made = tempfile.TemporaryDirectory(prefix=f"{os.getpid()}-", dir=folder)
    except OSError as error:
        raise failure("written", folder, error) from None
    with made as name:
        yield Path(name)
