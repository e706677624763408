"""Models that MLflow has: registered ones (`mlflow:models:/name/3`, `…/name@alias`) and a run's (`mlflow:runs:/…`).

By MLflow's own client, so which server and who we are is as the client has it: MLFLOW_TRACKING_URI and its kin. Files
are taken one by one, each whole or not at all. Nothing of a model is imported or loaded.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from packager.context.walk import MAX_FILES
from packager.errors import ContextError, PackagerError, TemporaryError, UsageError
from packager.http import TIMEOUT, readable
from packager.progress import in_thread, working
from packager.storage.reading import failure
from packager.workspace.facts import find_facts
from packager.workspace.sources.places import give, place
from packager.workspace.sources.values import Fetched, is_safe_path, missing_extra
from packager.workspace.values import Content, Source

_THREADS = 4
_CONTENT, _PARTIAL = "content", "partial"
_REMEDY = "give it as mlflow:models:/NAME/VERSION, mlflow:models:/NAME@ALIAS or mlflow:runs:/RUN/PATH"
_MODEL = re.compile(r"models:/([^/@:]+)(?:/([0-9]{1,9})|@([^/@:]+))\Z")
_RUN = re.compile(r"runs:/([A-Za-z0-9_-]{1,256})/(.+)\Z")
#: MLflow's error codes.
_MISSING = ("RESOURCE_DOES_NOT_EXIST", "NOT_FOUND", "ENDPOINT_NOT_FOUND")
_REFUSED = ("UNAUTHENTICATED", "PERMISSION_DENIED", "CUSTOMER_UNAUTHORIZED")
_PASSING = ("TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED")
#: How its client begins to tell of a server that did not answer, under a code that it gives to everything.
_NO_ANSWER = "API request to "


class MlflowAddress(msgspec.Struct, frozen=True, kw_only=True):
    """What of MLflow: a registered model's version or alias, or the path of a run's artifact."""

    name: str = ""
    version: str = ""
    alias: str = ""
    run: str = ""
    path: str = ""


class _Located(msgspec.Struct, frozen=True, kw_only=True):
    """Where artifacts are (an address of MLflow's, and a path there), and what the registry says of their model.

    What a run that has not `ended` has may change: nothing of it is kept from one try for the next.
    """

    uri: str
    called: str
    start: str = ""
    revision: str | None = None
    ended: str = ""
    run_id: str | None = None
    description: str = ""
    details: dict[str, Any] = {}


class _Artifact(msgspec.Struct, frozen=True, kw_only=True):
    """A file: its path at the server, below the model, and its bytes, where known."""

    remote: str
    path: str
    size: int | None = None


def parse_mlflow(uri: str) -> MlflowAddress:
    """Return what an address says; with or without `mlflow:` before it.

    Raises:
        UsageError: it names no model of MLflow.
    """
    text = uri.removeprefix("mlflow:")
    if (model := _MODEL.match(text)) is not None and model[1].isprintable():
        return MlflowAddress(name=model[1], version=model[2] or "", alias=model[3] or "")
    if (run := _RUN.match(text)) is not None and is_safe_path(run[2].rstrip("/")):
        return MlflowAddress(run=run[1], path=run[2].rstrip("/"))
    raise UsageError(f"{readable(uri, 100)} names no version of a model of MLflow", remedy=_REMEDY)


def fetch_mlflow(uri: str, scratch: Path, environ: Mapping[str, str] = os.environ) -> Fetched:
    """Return a model of MLflow, with its signature, flavors, run, and the example of its input as a sample.

    Args:
        uri: see `parse_mlflow`.
        scratch: see `packager.workspace.sources.fetch`.
        environ: the variables of this machine.

    Raises:
        UsageError: it is no such address, the client is not installed, or no server is named.
        ContextError: there is no such model, we may not read it, or it cannot be written here.
        TemporaryError: the server does not answer, or not now.
    """
    address = parse_mlflow(uri)
    # The client asks another server for what to tell it of its use; a tool does not speak for those who run it.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    try:
        import mlflow
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
    except ImportError:
        raise missing_extra("mlflow", "mlflow:") from None
    if not mlflow.is_tracking_uri_set():
        raise UsageError("no server of MLflow is named", remedy="name it in MLFLOW_TRACKING_URI")
    server = str(mlflow.get_tracking_uri())
    _require_answer(server)
    with _failures(uri, environ):
        found = _locate(address, mlflow.MlflowClient())
        repository = get_artifact_repository(found.uri)
        files = list_artifacts(repository, found.start)
    with place("mlflow", f"{_public(server)}\0{found.uri}\0{found.start}\0{found.revision}{found.ended}") as folder:
        if not found.revision and not found.ended:
            shutil.rmtree(folder / _CONTENT, ignore_errors=True)
        _download(repository, files, folder, f"downloading {found.called}", uri, environ)
        target = scratch / found.called
        single = len(files) == 1 and not files[0].path
        for each in files:
            give(folder / _CONTENT / each.remote, target if single else target / each.path)
    return _told(uri, target, found, folder)


def _told(uri: str, target: Path, found: _Located, folder: Path) -> Fetched:
    facts = find_facts(target)
    return Fetched(
        path=target,
        source=Source(uri=uri, revision=found.revision),
        details=facts.details | found.details,
        samples=tuple(Content(path=each.rpartition("/")[2], origin=target / each) for each in facts.samples),
        run_id=found.run_id or facts.run_id,
        description=found.description,
        kept=folder,
    )


def _locate(address: MlflowAddress, client: Any) -> _Located:
    if address.run:
        name = address.path.rpartition("/")[2]
        ended = str(client.get_run(address.run).info.end_time or "")
        return _Located(uri=f"runs:/{address.run}", ended=ended, start=address.path, called=name, run_id=address.run)
    if address.alias:
        version = client.get_model_version_by_alias(address.name, address.alias)
    else:
        version = client.get_model_version(address.name, address.version)
    registered: dict[str, Any] = {"name": address.name, "version": str(version.version)}
    if version.tags:
        registered["tags"] = {str(key): str(value) for key, value in version.tags.items()}
    return _Located(
        uri=client.get_model_version_download_uri(address.name, version.version),
        called=address.name,
        revision=str(version.version),
        run_id=version.run_id or None,
        description=version.description or "",
        details={"registered": registered},
    )


# --- the files --------------------------------------------------------------------------------------------------------


def list_artifacts(repository: Any, start: str) -> tuple[_Artifact, ...]:
    """Return all files of a folder, or the file itself; the server names only those of one folder at a time.

    Args:
        repository: of artifacts, MLflow's.
        start: path in it; empty for all of it.

    Raises:
        ContextError: there is none, there are too many, or one has a name that leads elsewhere.
    """
    found: list[_Artifact] = []
    waiting: list[str | None] = [start or None]
    while waiting:
        for each in repository.list_artifacts(waiting.pop()):
            if not is_safe_path(each.path) or (start and not each.path.startswith(f"{start}/")):
                raise ContextError(f"MLflow names a file {readable(each.path, 100)!r}, which is not one of the model")
            if each.is_dir:
                waiting.append(each.path)
            else:
                path = each.path[len(start) + 1 :] if start else each.path
                found.append(_Artifact(remote=each.path, path=path, size=each.file_size))
        if len(found) + len(waiting) > MAX_FILES:
            raise ContextError(f"the model has more than {MAX_FILES} files")
    if not found and start:
        beside = repository.list_artifacts(start.rpartition("/")[0] or None)
        found += [_Artifact(remote=start, path="", size=each.file_size) for each in beside if each.path == start]
    if not found:
        raise ContextError(f"MLflow has no files of {start or 'that model'}", remedy="check the address")
    return tuple(sorted(found, key=lambda each: each.path))


def _download(
    repository: Any, files: tuple[_Artifact, ...], folder: Path, title: str, uri: str, environ: Mapping[str, str]
) -> None:
    sizes = [each.size for each in files]
    total = sum(each or 0 for each in sizes) if None not in sizes else None
    with working(title, total) as advance, ThreadPoolExecutor(_THREADS) as pool:

        def fetch(file: _Artifact) -> None:
            with _failures(uri, environ, listed=True):
                advance(_take(repository, file, folder))

        waiting = [pool.submit(in_thread(fetch), each) for each in files]
        try:
            for each in waiting:
                each.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _take(repository: Any, file: _Artifact, folder: Path) -> int:
    """Put a file in its place, unless an earlier try has; return its bytes."""
    final, partial = folder / _CONTENT / file.remote, folder / _PARTIAL
    try:
        if file.size is not None and final.is_file() and final.stat().st_size == file.size:
            return file.size
        partial.mkdir(exist_ok=True)
        final.parent.mkdir(parents=True, exist_ok=True)
        came = Path(repository.download_artifacts(file.remote, str(partial)))
        size = came.stat().st_size
        if file.size not in (None, size):
            raise TemporaryError(
                f"MLflow sends {size} bytes of {file.path}, which has {file.size}", remedy="try again in a while"
            )
        os.replace(came, final)
    except OSError as error:
        if error.errno is None:  # what requests raises is one, too
            raise
        raise failure("written", final, error) from None
    return size


# --- what can go wrong ------------------------------------------------------------------------------------------------


def _require_answer(server: str) -> None:
    """Ask a server for anything: the client would try for minutes before it says that nobody is there.

    Raises:
        TemporaryError: it does not answer.
    """
    if not server.startswith(("http://", "https://")):
        return
    import requests

    try:
        requests.get(server, timeout=TIMEOUT, stream=True, auth=lambda request: request).close()
    except requests.exceptions.SSLError:
        return  # the client says what is wrong
    except requests.RequestException as error:
        raise TemporaryError(
            f"MLflow's server {_public(server)} does not answer ({type(error).__name__})",
            remedy="try again, or check MLFLOW_TRACKING_URI",
        ) from None


def _public(uri: str) -> str:
    """Return an address without user and password."""
    return re.sub(r"//[^/@]*@", "//", uri.partition("?")[0])


@contextmanager
def _failures(uri: str, environ: Mapping[str, str], *, listed: bool = False) -> Iterator[None]:
    """Turn what MLflow's client raises into an error of ours; what is `listed` is there, and cannot be had now."""
    try:
        yield
    except PackagerError:
        raise
    except Exception as error:
        raise _problem(error, uri, environ, listed) from None


def _problem(error: Exception, uri: str, environ: Mapping[str, str], listed: bool) -> PackagerError:
    code = str(getattr(error, "error_code", ""))
    status = getattr(getattr(error, "response", None), "status_code", None)
    said = _without_secrets(str(error), environ)
    if not listed and (code in _MISSING or status == 404 or said.endswith(" not found.")):
        return ContextError(f"MLflow has no {uri} ({said})", remedy=_REMEDY)
    if code in _REFUSED or status in (401, 403) or re.search(r"\b40[13]\b", said):
        return ContextError(
            f"MLflow's server does not let us read {uri}",
            remedy="say who you are in MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN",
        )
    passing = (
        code in (*_PASSING, *_MISSING) or status == 429 or (status or 0) >= 500 or str(error).startswith(_NO_ANSWER)
    )
    if passing or isinstance(error, ConnectionError | TimeoutError):
        return TemporaryError(f"MLflow's server fails now, and {uri} is not whole ({said})", remedy="try again")
    if isinstance(error, ImportError):
        return UsageError(f"MLflow's client needs a package for where {uri} is ({said})", remedy="install that package")
    remedy = "check the address and MLFLOW_TRACKING_URI"
    return ContextError(f"MLflow's client cannot give {uri}: {said}", remedy=remedy)


def _without_secrets(text: str, environ: Mapping[str, str]) -> str:
    text = re.sub(r"//[^/@\s]*@", "//", re.sub(r"\?[^\s'\")]*", "", text))
    for name in ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "DATABRICKS_TOKEN", "AWS_SECRET_ACCESS_KEY"):
        if value := environ.get(name):
            text = text.replace(value, "…")
    return readable(text, 200)
