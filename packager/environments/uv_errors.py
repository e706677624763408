"""uv's error text → our error: which class (so which exit code), in few words, with what to do. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from packager.environments.declare.import_names import local_build, refused_name
from packager.errors import ContextError, LockError, PackagerError, TemporaryError

_DEFAULTS = "azureml-defaults"
_UNPINNED = "write azureml-defaults without a version: it stands for the inference server alone then"

_CONTRIB = "azureml-contrib-services"
_SERVED = f"take {_CONTRIB} out: the inference server brings azureml.contrib.services"

#: Lines of uv's explanation that a message repeats.
MAX_LINES = 12

_INDEX_SETTINGS = "UV_DEFAULT_INDEX or PIP_INDEX_URL, or uv.toml"
_USER_INFO = re.compile(r"(?<=://)[^\s/?#]*@")
_NAME = r"`?([A-Za-z0-9][A-Za-z0-9._-]*)`?"
_NO_WHEEL = re.compile(rf"Wheels are required for {_NAME}")
_NOT_CACHED = re.compile(
    rf"(?:Because|and|that) {_NAME}(?:[=<>!~]\S*)? (?:was not found in the cache|needs to be downloaded)"
)
_NOT_CACHED_FILE = re.compile(r"wasn't found in the cache for: `([^`]+)`")
_NOT_FOUND = re.compile(rf"{_NAME} was not found in the (?:package registry|provided package locations)")
_NO_MATCH = re.compile(rf"{_NAME}(?:[=<>!~]\S*)? has no wheels with a matching")
_REQUIRED = re.compile(r"you require (\S+?)(?=,|\s|$)")
_NO_VERSION = re.compile(r"there is no version of (\S+?)(?=,|\s|$)")
_MINOR = re.compile(r"\b3\.[0-9]+\b")
_NOT_BUILT = re.compile(r"Failed to (?:download and )?build `([^`]+)`")
_DENIED = re.compile(
    r"401 Unauthorized|403 Forbidden|407 Proxy Authentication|lack of valid authentication credentials"
)
_CACHE = re.compile(r"Failed to initialize cache(?: at `([^`]+)`)?")
_CERTIFICATE = re.compile(r"peer certificate|UnknownIssuer|certificate verify", re.IGNORECASE)
_NETWORK = re.compile(
    r"error sending request|Request failed after|dns error|tcp connect error|timed out|Connection (?:refused|reset)|"
    r"HTTP status server error|HTTP status client error \((?:408|429)|error decoding response body|Failed to fetch",
)
# What the first line of our message and the remedy say in our own words, options of uv among it.
_NOISE = re.compile(r"^No solution found|--no-build|network was disabled|^error sending request|^client error \(")


def redact(text: str) -> str:
    """Return a text without the credentials of its URLs."""
    return _USER_INFO.sub("***@", text)


def explain(stderr: str, *, platform: str, python: str, hide: str = "") -> PackagerError:
    """Return the error that a failed run of uv means.

    Args:
        stderr: what uv wrote.
        platform: for which it solved.
        python: version for which it solved.
        hide: the temporary folder, which means nothing to the user.
    """
    text = redact(stderr.replace(f"{hide}/", "") if hide else stderr)
    solving_for = f"Python {python} on {platform}"
    if "network was disabled" in text or _NOT_CACHED_FILE.search(text) or "network connectivity is disabled" in text:
        return _offline(text, solving_for)
    if (cache := _CACHE.search(text)) is not None:
        return ContextError(
            f"{cache[1] or 'the cache of uv'} cannot be used as uv's cache:\n{_shortened(text)}",
            remedy="let XDG_CACHE_HOME (or UV_CACHE_DIR, where that is set) name a folder that you may write to",
        )
    if _DENIED.search(text):
        return LockError(
            f"the package index refused the credentials, or wants some:\n{_shortened(text)}",
            remedy=f"set the index with its credentials on this machine ({_INDEX_SETTINGS}; netrc works too)",
        )
    if "No solution found" not in text and _NETWORK.search(text):
        return _network(text)
    return _no_solution(text, solving_for)


def _offline(text: str, solving_for: str) -> PackagerError:
    names = sorted({*_NOT_CACHED.findall(text), *(url.rpartition("/")[2] for url in _NOT_CACHED_FILE.findall(text))})
    missing = f"not in its cache: {', '.join(names)}" if names else _shortened(text)
    return LockError(
        f"uv cannot solve offline for {solving_for}; {missing}",
        remedy="run `packager lock` once with network; the cache then has what it needs",
    )


def _network(text: str) -> PackagerError:
    lines = _shortened(text)
    if _CERTIFICATE.search(text):
        return LockError(
            f"the certificate of the package index is not trusted:\n{lines}",
            remedy="name the CA bundle of your network in SSL_CERT_FILE",
        )
    return TemporaryError(
        f"the package index does not answer:\n{lines}",
        remedy=f"try again; check the index settings ({_INDEX_SETTINGS}) and proxies; `--offline` takes what uv's "
        "cache has",
    )


def _no_solution(text: str, solving_for: str) -> PackagerError:
    lines = _shortened(text)
    built = _NOT_BUILT.search(text)
    if built:
        return LockError(
            f"{built[1]} cannot be built from source for {solving_for}:\n{lines}",
            remedy="take a version that has a wheel, and remove the name from `build_from_source`",
        )
    if "No solution found" not in text:
        return LockError(f"uv failed for {solving_for}:\n{lines}")
    from packager.environments.solve.pip_around_conda import conflicts, in_words

    given = conflicts(text)
    if given:
        brought = ", ".join(f"{name} {version}" for name, version in sorted(given.items()))
        return LockError(
            f"pip's packages do not fit what conda brings ({brought}) for {solving_for}:\n{in_words(lines)}",
            remedy=f"ask conda for another version of {' or '.join(sorted(given))}, or change pip's requirements",
        )
    wheels = sorted(set(_NO_WHEEL.findall(text)))
    unknown = sorted(set(_NOT_FOUND.findall(text)))
    remedy = "change the requirements so that they fit together"
    advice = _own_advice(text, frozenset({*wheels, *unknown, *_NO_MATCH.findall(text)}))
    if advice:
        remedy = advice
    elif wheels:
        remedy = (
            f"ask for versions of {', '.join(wheels)} that have wheels for {solving_for}, or allow a build from source "
            f"with `build_from_source: [{', '.join(wheels)}]`"
        )
    elif unknown:
        remedy = f"check the spelling of {', '.join(unknown)}, or the index of this machine ({_INDEX_SETTINGS})"
    return LockError(f"no packages fit the requirements for {solving_for}:\n{lines}", remedy=remedy)


def _own_advice(text: str, refused: frozenset[str]) -> str:
    """Return what to do about requirements of the user's own that name an import, or a build of another index."""
    asked = tuple(dict.fromkeys(_REQUIRED.findall(text)))
    said = [_meant(name, asked) for name in sorted(refused & {*map(_bare, asked)})]
    said += [_UNPINNED] if any(_bare(each).lower().replace("_", "-") == _DEFAULTS for each in asked) else []
    said += [_SERVED] if any(_bare(each).lower().replace("_", "-") == _CONTRIB for each in asked) else []
    said += [local_build(each) for each in _NO_VERSION.findall(text) if each in asked]
    return "; ".join(dict.fromkeys(each for each in said if each))


def _meant(name: str, asked: Iterable[str]) -> str | None:
    """Return what is meant by a name; of Python, with the version that is asked for."""
    said = refused_name(name)
    version = next((each for line in asked if _bare(line) == name == "python" for each in _MINOR.findall(line)), None)
    return _MINOR.sub(version, said, count=1) if said and version else said


def _bare(requirement: str) -> str:
    return re.split(r"[\[<>=!~]", requirement, maxsplit=1)[0]


def _shortened(text: str) -> str:
    """Return the part of uv's text that explains, indented, at most `MAX_LINES` lines."""
    lines = []
    for line in text.splitlines():
        line = re.sub(r"^\s*(?:error|cause|hint):\s*", "", line).rstrip()
        if not line.strip() or _NOISE.search(line):
            continue
        lines.append(f"    {line.strip()}")
    if len(lines) > MAX_LINES:
        lines = [*lines[: MAX_LINES - 1], f"    … ({len(lines) - MAX_LINES + 1} more lines)"]
    return "\n".join(lines)
