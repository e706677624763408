"""uv, the only way that Python packages are solved, found and laid down: where it is, what it is told, how it is run.

The settings of the machine are uv's own (`UV_*`, uv.toml, netrc, keyring) and, where uv has none, pip's environment
variables. What its error texts mean is said in `uv_errors`.
"""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote

from packager.environments.child_processes import Children, Ended
from packager.errors import PackagerError, UsageError

# uv knows nothing of pip's settings; people who sit behind a company's index have often set only these.
# ours → (pip's, further names of uv's own that go before it). Sources: pip's documentation, "Configuration", and uv's,
# "Environment variables". pip separates several by spaces, as UV_INDEX and UV_INSECURE_HOST do.
_FROM_PIP = {
    "UV_DEFAULT_INDEX": ("PIP_INDEX_URL", ("UV_INDEX_URL",)),
    "UV_INDEX": ("PIP_EXTRA_INDEX_URL", ("UV_EXTRA_INDEX_URL",)),
    "UV_FIND_LINKS": ("PIP_FIND_LINKS", ()),
    "UV_INSECURE_HOST": ("PIP_TRUSTED_HOST", ()),
    "SSL_CERT_FILE": ("PIP_CERT", ()),
}
# These would choose another interpreter than the one given, or contradict it.
_DROPPED = ("UV_PYTHON", "UV_SYSTEM_PYTHON")
# Settings of uv that would lay something else down than the lock says, or in another way.
_NOT_THE_LOCK = frozenset(
    f"UV_{name}"
    for name in (
        *("NO_VERIFY_HASHES", "NO_BINARY", "NO_BINARY_PACKAGE", "NO_BUILD", "ONLY_BINARY", "COMPILE_BYTECODE"),
        *("LINK_MODE", "CONSTRAINT", "OVERRIDE", "EXCLUDE", "EXCLUDE_NEWER", "TORCH_BACKEND", "VENV_SEED"),
    )
)
_INDEXES = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS")
_FINDING = threading.Lock()


class Uv:
    """The uv that the PyPI package `uv` brings, with the settings of a folder and a machine.

    Args:
        root: where uv looks for uv.toml and pyproject.toml, there and in the parents: the folder of the spec.
        environ: the environment variables of the machine.
    """

    def __init__(self, root: Path, environ: Mapping[str, str]) -> None:
        self._root = root
        self._environ = environ
        self._children = Children()

    def run(
        self, words: Sequence[str], *, find_links: Path | None = None, indexes: Sequence[str] = (), locked: bool = False
    ) -> Ended:
        """Run uv to its end, whatever its exit code; an exception meanwhile, such as Ctrl-C, ends it.

        Args:
            words: its arguments; `pip …` gets the switches of the index settings besides.
            find_links: a folder of wheels to look into, beside the indexes.
            indexes: `NAME=URL` of indexes that go before those of the machine.
            locked: what a lock says is laid down: settings that would make something else of it are left out.

        Raises:
            UsageError: a variable of the machine names a folder of wheels that is not there.
            PackagerError: uv is not there, or was ended by a signal.
            LockError: it was stopped.
        """
        environ = uv_environment(self._environ)
        require_find_links(environ, self._root)
        if locked:
            environ = {name: value for name, value in environ.items() if name not in _NOT_THE_LOCK}
        if find_links is not None:
            environ["UV_FIND_LINKS"] = ",".join(filter(None, (environ.get("UV_FIND_LINKS"), str(find_links))))
        if indexes:
            environ["UV_INDEX"] = " ".join((*indexes, *environ.get("UV_INDEX", "").split()))
        switches = index_switches(self._environ) if words[0] == "pip" else []
        ended = self._children.run([find_uv(), *words, *switches], cwd=self._root, environ=environ)
        if ended.code < 0:
            name = signal.Signals(-ended.code).name
            raise PackagerError(f"uv was ended by {name}", remedy="look for a memory limit, and try again")
        return ended

    def stop(self) -> None:
        """End all runs under way, which then raise, and refuse new ones."""
        self._children.stop()


def find_uv() -> str:
    """Return the path of the binary that the PyPI package `uv` brings.

    Raises:
        PackagerError: there is none.
    """
    try:
        # One at a time: `sysconfig`, which this asks, fills its table without a lock until Python 3.12; a second thread
        # would find it half full.
        with _FINDING:
            from uv import find_uv_bin

            return find_uv_bin()
    except (ImportError, FileNotFoundError):
        raise PackagerError("uv is not there", remedy="install it beside packager: pip install uv") from None


def names_indexes(environ: Mapping[str, str]) -> bool:
    """Whether the variables of a machine name an index, or a place of wheels, beside or in place of the usual one."""
    ours = uv_environment(environ)
    return any(ours.get(name) for name in _INDEXES)


def uv_version() -> str:
    """Return the version of the installed PyPI package `uv`."""
    from importlib.metadata import version

    return version("uv")


def uv_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of uv: that of the machine, pip's settings in uv's words, and nothing interactive."""
    result = {name: value for name, value in environ.items() if name not in _DROPPED}
    for ours, (pips, others) in _FROM_PIP.items():
        if result.get(pips) and not any(result.get(name) for name in (ours, *others)):
            value = result[pips]
            # uv separates these by commas, pip by spaces.
            result[ours] = ",".join(value.split()) if ours == "UV_FIND_LINKS" else value
    # Without it, uv fetches a whole CPython where the machine has no interpreter of the asked version.
    result["UV_PYTHON_DOWNLOADS"] = "never"
    result["NO_COLOR"] = "1"
    return result


def require_find_links(environ: Mapping[str, str], root: Path) -> None:
    """Refuse a folder of wheels that is not there: uv says no more than that it cannot be read, whatever is done.

    Args:
        environ: of uv.
        root: relative paths are relative to it.

    Raises:
        UsageError: there is none of that name.
    """
    places = environ.get("UV_FIND_LINKS", "")
    for place in filter(None, (each.strip() for each in places.split(","))):
        path = unquote(place.removeprefix("file://")) if place.startswith("file://") else place
        if "://" not in path and not (root / Path(path).expanduser()).exists():
            pips = environ.get("PIP_FIND_LINKS", "")
            name = "PIP_FIND_LINKS" if ",".join(pips.split()) == places else "UV_FIND_LINKS"
            raise UsageError(
                f"{name} names {path}, and there is no such folder",
                remedy=f"correct it, or `unset {name}`: wheels are looked for there, beside the indexes",
            )


def index_switches(environ: Mapping[str, str]) -> list[str]:
    """Return what pip has as a variable and uv as an option alone."""
    return ["--no-index"] if environ.get("PIP_NO_INDEX", "").lower() in ("1", "true", "yes", "on", "y", "t") else []


def index_logins(environ: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Return host → user and password of the indexes whose URLs hold them, as uv is told of them."""
    return dict(_logins(uv_environment(environ)))


def _logins(environ: Mapping[str, str]) -> Iterator[tuple[str, tuple[str, str]]]:
    for name in _INDEXES:
        for url in re.finditer(r"https?://([^/@:\s]+)(?::([^/@\s]*))?@([^/\s]+)", environ.get(name, "")):
            yield url[3], (unquote(url[1]), unquote(url[2] or ""))
