"""Models of a Hugging Face hub (`hf://org/name@revision/path`), by the hub's own client.

Which hub, which token, proxies and certificates are as the client has them: HF_ENDPOINT, HF_TOKEN, `hf auth login`,
HTTPS_PROXY, SSL_CERT_FILE. The revision is pinned to a commit, and every file is held against what the commit says.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import msgspec

from packager.errors import ContextError, PackagerError, TemporaryError, UsageError
from packager.http import readable
from packager.progress import Advance, in_thread, working
from packager.storage.reading import BLOCK, failure
from packager.workspace.sources.places import give, place
from packager.workspace.sources.values import Fetched, Options, is_safe_path, missing_extra
from packager.workspace.values import Source

#: At once; the client itself takes as many.
_THREADS = 8
#: Below a place: where the client puts files, beside notes of its own in `.cache`.
_CONTENT = "content"
_LOGIN = "log in with `hf auth login`, or give a token in HF_TOKEN, of somebody who may; or check the name"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z")
_PINNED_REF = re.compile(r"(refs/(?:pr|convert)/[^/]+)(?:/(.*))?\Z")
_HEX = re.compile(r"[0-9a-f]{40}\Z|[0-9a-f]{64}\Z")


class HubAddress(msgspec.Struct, frozen=True, kw_only=True):
    """Which files of a hub: a repository (`org/name`), its revision, and a file or folder in it; all where empty."""

    repository: str
    revision: str | None = None
    path: str = ""


class HubFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a commit: its path, bytes, and `sha256` (of content) or `git` (sha1 of a blob), whichever is known."""

    path: str
    size: int | None = None
    sha256: str = ""
    git: str = ""


def parse_hub(uri: str) -> HubAddress:
    """Return what an `hf://` address says; a `/` in a revision is written `%2F`.

    Raises:
        UsageError: it names no model of a hub.
    """
    rest = uri.partition("://")[2]
    remedy = "give it as hf://ORG/NAME, hf://ORG/NAME@REVISION or hf://ORG/NAME@REVISION/PATH"
    before, at, after = rest.partition("@")
    parts = before.strip("/").split("/")
    if parts[0] in ("datasets", "spaces", "buckets") or not all(_NAME.match(each) for each in parts[:2]):
        raise UsageError(f"{readable(uri, 100)} names no model of a hub", remedy=remedy)
    revision, path = None, "/".join(parts[2:])
    if at:
        pinned = _PINNED_REF.match(after)
        revision, path = (pinned[1], pinned[2] or "") if pinned else (after.partition("/")[0], after.partition("/")[2])
        revision, path = unquote(revision), path.strip("/")
        if not revision or not revision.isprintable() or len(parts) > 2:
            raise UsageError(f"{readable(uri, 100)} names no revision", remedy=remedy)
    if path and not is_safe_path(path):
        raise UsageError(f"{readable(uri, 100)} names no path in a repository", remedy=remedy)
    return HubAddress(repository="/".join(parts[:2]), revision=revision, path=path)


def fetch_hub(uri: str, scratch: Path, options: Options) -> Fetched:
    """Return a model of a hub.

    Args:
        uri: see `parse_hub`.
        scratch: see `packager.workspace.sources.fetch`.
        options: patterns of the files that are wanted.

    Raises:
        UsageError: it is no such address, or the client is not installed.
        ContextError: there is no such model, revision or file; we may not read it; a file is not what the commit says.
        TemporaryError: the hub does not answer, or not now.
    """
    address = parse_hub(uri)
    try:
        import huggingface_hub
    except ImportError:
        raise missing_extra("hf", "hf://") from None
    endpoint = os.environ.get("HF_ENDPOINT") or None
    with _failures(address):
        info = huggingface_hub.HfApi(endpoint=endpoint).model_info(
            address.repository, revision=address.revision, files_metadata=True
        )
    commit = str(info.sha or "")
    if not _HEX.match(commit):
        raise ContextError(f"the hub names no commit of {address.repository}")
    files = choose_files((_file(each) for each in info.siblings or ()), address, options)
    with place("hf", f"{endpoint}\0{address.repository}\0{commit}") as folder:
        _download(address, commit, files, folder / _CONTENT, endpoint)
        name = (address.path or address.repository).rpartition("/")[2]
        single = len(files) == 1 and files[0].path == address.path
        for each in files:
            below = each.path.removeprefix(address.path).strip("/")
            give(folder / _CONTENT / each.path, scratch / name if single else scratch / name / below)
    return Fetched(
        path=scratch / name,
        source=Source(uri=uri, revision=commit),
        details=_details(info),
        kept=folder,
    )


def choose_files(files: Iterable[HubFile], address: HubAddress, options: Options) -> tuple[HubFile, ...]:
    """Return the files of a commit that are wanted, by path.

    Raises:
        ContextError: there is none, or one has a name that leads elsewhere.
    """
    from fnmatch import fnmatchcase

    found = []
    for each in files:
        if address.path and each.path != address.path and not each.path.startswith(f"{address.path}/"):
            continue
        if options.allow and not any(fnmatchcase(each.path, pattern) for pattern in options.allow):
            continue
        if any(fnmatchcase(each.path, pattern) for pattern in options.ignore):
            continue
        if not is_safe_path(each.path):
            raise ContextError(f"the hub's {address.repository} has a file of the name {readable(each.path, 100)!r}")
        found.append(each)
    if not found:
        what = f"{address.path!r}" if address.path else "file"
        raise ContextError(
            f"{address.repository} has no {what} that is wanted", remedy="check the path, and patterns of files"
        )
    return tuple(sorted(found, key=lambda each: each.path))


def _file(sibling: Any) -> HubFile:
    lfs = sibling.lfs
    sha256 = getattr(lfs, "sha256", None) or ""
    return HubFile(path=sibling.rfilename, size=sibling.size, sha256=sha256, git=sibling.blob_id or "")


def _details(info: Any) -> dict[str, Any]:
    """Return what the hub says of a model, and its card of itself."""
    card = info.card_data
    said = {
        "library": info.library_name,
        "task": info.pipeline_tag,
        "license": card.get("license") if card is not None else None,
    }
    hub = {name: value for name, value in said.items() if isinstance(value, str)}
    return {"hub": hub} if hub else {}


# --- the files --------------------------------------------------------------------------------------------------------


def _download(
    address: HubAddress, commit: str, files: tuple[HubFile, ...], content: Path, endpoint: str | None
) -> None:
    sizes = [each.size for each in files]
    total = sum(each or 0 for each in sizes) if None not in sizes else None
    # The client goes on by file, and leaves what it was writing when it was killed.
    for unfinished in content.glob(".cache/huggingface/download/**/*.incomplete"):
        unfinished.unlink(missing_ok=True)
    with working(f"downloading {address.repository}", total) as advance, ThreadPoolExecutor(_THREADS) as pool:
        stopped = threading.Event()
        fetch = _fetcher(address, commit, content, endpoint, _bar(advance, stopped))
        waiting = [pool.submit(in_thread(fetch), each) for each in files]
        try:
            for each in waiting:
                each.result()
        except BaseException:
            # Else a Ctrl-C would wait for files that are under way.
            stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _fetcher(
    address: HubAddress, commit: str, content: Path, endpoint: str | None, bar: Any
) -> Callable[[HubFile], None]:
    import huggingface_hub

    def get(file: HubFile, *, again: bool = False) -> None:
        with _failures(address):
            huggingface_hub.hf_hub_download(
                address.repository,
                file.path,
                revision=commit,
                local_dir=content,
                endpoint=endpoint,
                force_download=again,
                tqdm_class=bar,
            )

    def fetch(file: HubFile) -> None:
        get(file)
        if is_of_commit(content / file.path, file):
            return
        # Damaged on the way, or here; a second time it is the hub's copy.
        get(file, again=True)
        if not is_of_commit(content / file.path, file):
            with suppress(OSError):
                (content / file.path).unlink()
            raise ContextError(
                f"{file.path} of {address.repository} is not what commit {commit[:12]} says: its digest is another",
                remedy="the hub's copy, or a proxy in between, is damaged: try again later, or elsewhere",
            )

    return fetch


def _bar(advance: Advance, stopped: threading.Event) -> Any:
    """Return a class by which the client says how far it is; it draws nothing, and ends the work once stopped."""
    base = importlib.import_module("tqdm").tqdm

    def begin(self: Any, *args: Any, **options: Any) -> None:
        base.__init__(self, *args, **(options | {"disable": True}))

    def update(_self: Any, count: float | None = 1) -> None:
        if stopped.is_set():
            raise InterruptedError
        advance(int(count or 0))

    # No thread that looks after bars: it would stay, and a process with a second thread does not fork to share work.
    return type("Bar", (base,), {"__init__": begin, "update": update, "monitor_interval": 0})


def is_of_commit(path: Path, file: HubFile) -> bool:
    """Whether a file has the size and digest that a commit says.

    Git's digest of a file is that of `blob SIZE`, a zero byte, and the content (gitformat-loose, "Object header").

    Raises:
        ContextError: it cannot be read.
    """
    try:
        size = path.stat().st_size
        if file.size not in (None, size):
            return False
        if file.sha256:
            return _digest(path, hashlib.sha256()) == file.sha256
        if not _HEX.match(file.git):
            return False
        state = hashlib.sha1(usedforsecurity=False) if len(file.git) == 40 else hashlib.sha256()
        state.update(b"blob %d\0" % size)
        return _digest(path, state) == file.git
    except OSError as error:
        raise failure("read", path, error) from None


def _digest(path: Path, state: Any) -> str:
    with path.open("rb") as file:
        while data := file.read(BLOCK):
            state.update(data)
    return str(state.hexdigest())


# --- what can go wrong ------------------------------------------------------------------------------------------------


@contextmanager
def _failures(address: HubAddress) -> Iterator[None]:
    """Turn what the hub's client raises into an error of ours; its own words may hold addresses that are signed."""
    try:
        yield
    except (PackagerError, KeyboardInterrupt):
        raise
    except Exception as error:
        raise _problem(error, address) from None


def _problem(error: Exception, address: HubAddress) -> Exception:
    """Return the error to raise. The client's classes of failed connections differ by version: their names do not."""
    from huggingface_hub import errors

    repository = address.repository
    status = getattr(getattr(error, "response", None), "status_code", None)
    kinds = {each.__name__ for each in type(error).__mro__}
    if isinstance(error, errors.GatedRepoError):
        return ContextError(f"{repository} is gated, and the hub does not let us read it", remedy=_LOGIN)
    if isinstance(error, errors.RevisionNotFoundError):
        return ContextError(f"{repository} has no revision {address.revision}", remedy="check its name")
    if isinstance(error, errors.RepositoryNotFoundError) or (status == 404 and address.revision is None):
        return ContextError(f"the hub has no {repository}, or does not let us see it", remedy=_LOGIN)
    if isinstance(error, errors.EntryNotFoundError) and not isinstance(error, errors.LocalEntryNotFoundError):
        return ContextError(f"{repository} lacks a file that its commit names", remedy="try again, or another revision")
    if isinstance(error, errors.OfflineModeIsEnabled):
        return ContextError("HF_HUB_OFFLINE is set, and the hub must be asked", remedy="unset it")
    if status in (401, 403):
        return ContextError(f"the hub answers {status} for {repository}: the token is none that may", remedy=_LOGIN)
    if (status is not None and (status == 429 or status >= 500)) or _is_transport(error, kinds):
        said = f"answers {status}" if status is not None else f"does not answer ({type(error).__name__})"
        return TemporaryError(
            f"the hub {said}: {repository} is not whole", remedy="try again: files that are whole are kept"
        )
    if status == 404:
        return ContextError(f"{repository} has no revision {address.revision}, or is not there", remedy=_LOGIN)
    if status is not None:
        return ContextError(f"the hub answers {status} to a question for {repository}")
    if isinstance(error, errors.HFValidationError | errors.HfUriError):
        return UsageError(f"{repository!r} is no name of a model of a hub", remedy="give it as hf://ORG/NAME")
    if isinstance(error, OSError) and error.errno is not None:
        return failure("written", error.filename or "the cache", error)
    return ContextError(f"the hub's client failed ({type(error).__name__}) with {repository}", remedy="try again")


def _is_transport(error: Exception, kinds: set[str]) -> bool:
    from huggingface_hub.errors import LocalEntryNotFoundError

    cause: BaseException | None = error
    if isinstance(error, LocalEntryNotFoundError):  # it could not ask, and there is no file here
        return True
    while cause is not None:
        if {each.__name__ for each in type(cause).__mro__} & {"TransportError", "ConnectionError", "TimeoutError"}:
            return True
        cause = cause.__cause__
    return "TransportError" in kinds
