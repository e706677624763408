"""What a conda solve says → our error: which class (so which exit code), in few words, with what to do. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from packager.environments.channel_credentials import redact, shown
from packager.environments.conda import SUBDIRS
from packager.environments.declare.import_names import meant
from packager.environments.declare.requirement import canonical_name
from packager.errors import LockError, PackagerError, SpecError, TemporaryError

#: Lines of the solver's explanation that a message repeats.
MAX_LINES = 15

_AUTHENTICATION = (
    "put the credentials where rattler and pixi keep them: `pixi auth login` or `rattler auth login HOST`, a JSON file "
    "named by RATTLER_AUTH_FILE ({HOST: {BasicHTTP: {username, password}}}, or BearerToken, CondaToken), or .netrc"
)
_URL = re.compile(r"\(?((?:https?|file)://[^\s)'\"]+)\)?")
_SUBDIR = re.compile(r"/(?:noarch|(?:linux|osx|win)-[a-z0-9]+)(?:/.*)?$")
_NOT_CACHED = re.compile(r"no usable repodata cache")
_DENIED = re.compile(r"\((401|403|407) ")
_NOT_FOUND = re.compile(r"\(404 |could not find subdir|No such file")
_CERTIFICATE = re.compile(r"certificate|UnknownIssuer", re.IGNORECASE)
_NETWORK = re.compile(
    r"error sending request|tcp connect|dns error|timed out|[Cc]onnection (?:refused|reset|closed)|"
    r"HTTP status server error|\((?:408|429|5\d\d) |unexpected end of file|IncompleteBody|error decoding response body"
    r"|end of file before message length|request or response body error|premature"
    # What was said to somebody else who waited for the same answer.
    r"|coalesced request failed"
)
_VIRTUAL = re.compile(r"(__[a-z0-9_]+) ?(\S*), for which no candidates were found")
_NO_CANDIDATES = re.compile(r"No candidates were found for ([^\n]+?)\.?$", re.MULTILINE)
_PRIORITY = re.compile(r"strict channel priority|higher.priority", re.IGNORECASE)


def explain(error: Mapping[str, Any], virtual_packages: Mapping[str, Mapping[str, str]]) -> PackagerError:
    """Return the error that an answer of the worker means.

    Args:
        error: `kind` and `message`, and what belongs to the kind: `platform` and `elsewhere` (name → subdirs) of
            `unsolvable`; `channels` of `channel`; `spec` of `spec`; `channel` of `name`; `package` and `url` of `hash`
            and `undigested`.
        virtual_packages: what each platform promises.
    """
    message = redact(str(error.get("message", "")))
    match error.get("kind"):
        case "unsolvable":
            return _unsolvable(message, error["platform"], error["elsewhere"], virtual_packages)
        case "channel":
            return _channel(message, error.get("channels", ()))
        case "spec":
            return SpecError(
                f"{redact(error['spec'])!r} is not a requirement of conda: {message}",
                remedy="write it as `name`, `name=1.2`, `name>=1,<2` or `channel::name=1.2=build*`",
            )
        case "name":
            return SpecError(f"{redact(error['channel'])!r} is not a channel: {message}")
        case "hash":
            return LockError(
                f"the package {error['package']} is not what its channel says: {message} ({shown(error['url'])})",
                remedy="it was damaged or exchanged: try again, and tell those who keep the channel",
            )
        case "undigested":
            return LockError(
                f"the channel names no sha256 of {error['package']}, and --offline does not read the package itself",
                remedy="run `packager lock` once with network",
            )
    return PackagerError(f"the conda solver failed: {message}")


def _unsolvable(
    message: str, platform: str, elsewhere: Mapping[str, list[str]], virtual: Mapping[str, Mapping[str, str]]
) -> LockError:
    head = f"no conda packages fit the requirements for {platform}"
    if elsewhere:
        here = _subdir(platform)
        lines = [f"    {name} is not there for {here}, only for {_list(on)}" for name, on in elsewhere.items()]
        names = ", ".join(elsewhere)
        return LockError(
            "\n".join([f"{head}:", *lines]),
            remedy=f"leave {platform} out (`targets: {{NAME: {{platforms: […]}}}}`), add a channel that has it, or "
            f"take another package than {names}",
        )
    text = message.removeprefix("Cannot solve the request because of:").strip()
    return LockError(f"{head}:\n{_shortened(text)}", remedy=_remedy(message, platform, virtual))


def _subdir(platform: str) -> str:
    return f"{platform} ({SUBDIRS.get(platform, '?')})"


def _list(subdirs: list[str]) -> str:
    names = {subdir: platform for platform, subdir in reversed(SUBDIRS.items())}
    return ", ".join(f"{names[each]} ({each})" if each in names else each for each in subdirs)


def _remedy(message: str, platform: str, virtual: Mapping[str, Mapping[str, str]]) -> str:
    wanted = _VIRTUAL.search(message)
    if wanted:
        name = wanted[1]
        has = virtual.get(platform, {}).get(name)
        promise = f"promises {name} {has}" if has is not None else f"promises no {name}"
        return (
            f"the target {promise}: where every machine that runs it has more, say so by `targets: {{NAME: "
            f"{{virtual_packages: {{{name}: VERSION}}}}}}`; or ask for other versions or builds"
        )
    if _PRIORITY.search(message):
        return (
            "an earlier channel has the package in other versions: change the order of the channels, name the channel "
            "(`channel::name`), or set `conda: {channel_priority: flexible}`"
        )
    missing = _NO_CANDIDATES.search(message)
    if missing:
        named = meant(canonical_name(missing[1].partition(" ")[0]), conda=True)
        return (
            named
            or f"check the spelling and the version of {missing[1].removesuffix(' *')!r}, and the list of channels"
        )
    return "change the requirements so that they fit together"


def _channel(message: str, channels: Sequence[str]) -> PackagerError:
    found = _URL.search(message)
    # Of an index that it cannot read, rattler does not tell which it is.
    url = shown(_SUBDIR.sub("", found[1])) if found else " or ".join(shown(each) for each in channels)
    if _NOT_CACHED.search(message):
        return LockError(
            f"the channel {url} cannot be read offline: its index is not in rattler's cache",
            remedy="run `packager lock` once with network; the cache then has what it needs",
        )
    denied = _DENIED.search(message)
    if denied:
        return LockError(
            f"the channel {url} refused the credentials, or wants some (status {denied[1]})", remedy=_AUTHENTICATION
        )
    if _NOT_FOUND.search(message):
        return LockError(
            f"there is no channel {url}, or it lacks the index of `noarch`:\n{_shortened(message)}",
            remedy="check its spelling; private channels may answer so when credentials are missing",
        )
    if _CERTIFICATE.search(message):
        return LockError(
            f"the certificate of the channel {url} is not trusted:\n{_shortened(message)}",
            remedy="name the CA bundle of your network in SSL_CERT_FILE",
        )
    if _NETWORK.search(message):
        return TemporaryError(
            f"the channel {url} does not answer:\n{_shortened(message)}",
            remedy="try again; check proxies and PACKAGER_CHANNEL_MIRROR; `--offline` takes what rattler's cache has",
        )
    return LockError(
        f"the index of the channel {url} cannot be read:\n{_shortened(message)}",
        remedy="it is damaged: try again, and tell those who keep the channel",
    )


def _shortened(text: str) -> str:
    lines = [f"    {line.rstrip().removeprefix('Caused by: ')}" for line in text.splitlines() if line.strip()]
    if len(lines) > MAX_LINES:
        lines = [*lines[: MAX_LINES - 1], f"    … ({len(lines) - MAX_LINES + 1} more lines)"]
    return "\n".join(lines)
