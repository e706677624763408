"""Where registered models come from: a path, `https://`, `hf://`, `mlflow:` and `oci://`. One function, `fetch`.

What fetches is imported when it is asked for: a client of another's is an extra, and heavy.
"""

from __future__ import annotations

import re
from pathlib import Path

from packager.errors import ContextError, UsageError
from packager.workspace.sources.values import Fetched, Options

__all__ = ["Fetched", "Options", "fetch", "forget", "is_address"]

_SCHEME = re.compile(r"(?:([A-Za-z][A-Za-z0-9+.-]*)://|(mlflow|models|runs):)")


def is_address(text: str) -> bool:
    """Whether a text names something elsewhere, and is no path of this machine."""
    return _SCHEME.match(text) is not None


def fetch(uri: str, scratch: Path, options: Options = Options()) -> Fetched:  # noqa: B008 - it is a value
    """Return a model, from wherever it is.

    Args:
        uri: address or path.
        scratch: a folder that is the caller's, and empty. On the filesystem of the cache nothing is copied into it.
        options: what else is asked; what does not fit the source is an error.

    Raises:
        UsageError: this is no address that is understood, or a client is not installed.
        ContextError: nothing is there, it is no model, or not the one that was meant; it may not be read.
        TemporaryError: the network or a server failed in a way that may pass; another try goes on from there.
        RegistryError: as `pull_artifact`, and where a certificate is not trusted.
    """
    found = _SCHEME.match(uri)
    scheme = (found[1] or found[2]).lower() if found is not None else ""
    _check(scheme, options)
    match scheme:
        case "":
            return _path(uri)
        case "http" | "https":
            from packager.workspace.sources.web import fetch_web

            return fetch_web(uri, scratch, options)
        case "hf":
            from packager.workspace.sources.hub import fetch_hub

            return fetch_hub(uri, scratch, options)
        case "mlflow" | "models" | "runs":
            from packager.workspace.sources.mlflow_server import fetch_mlflow

            return fetch_mlflow(uri, scratch)
        case "oci":
            from packager.workspace.sources.registry import fetch_reference

            return fetch_reference(uri, scratch)
        case _:
            raise UsageError(
                f"models cannot be fetched by {scheme}://",
                remedy="name a path, or https://…, hf://org/name, mlflow:models:/name/1 or oci://registry/name:tag",
            )


def forget(fetched: Fetched) -> None:
    """Remove what the cache keeps of a model for another try: it is registered now."""
    if fetched.kept is not None:
        from packager.workspace.sources.places import remove_place

        remove_place(fetched.kept)


def _check(scheme: str, options: Options) -> None:
    if options.sha256 is not None and scheme not in ("http", "https"):
        raise UsageError("a sha256 can be given with https:// alone", remedy="leave it out: other sources verify files")
    if (options.allow or options.ignore) and scheme != "hf":
        raise UsageError("patterns of files can be given with hf:// alone", remedy="leave them out")


def _path(text: str) -> Fetched:
    path = Path(text)
    if not path.exists():
        problem = "leads nowhere" if path.is_symlink() else "is not there"
        raise ContextError(f"{text} {problem}", remedy="check the path; others than paths start with https:// or hf://")
    return Fetched(path=path)
