"""Lays the conda packages of a lock down: exactly those, each checked against its sha256, for any platform.

A program of its own, which needs nothing but py-rattler and PyYAML: packager runs it in a process of its own, and a
build context carries it into the image's build stage.

    python install.py --lock conda-lock.yml --subdir linux-64 --prefix /opt/env

No code of the packages is run. `settle.py` beside it then checks the files, and makes them the same everywhere.
Format: conda-lock's unified lock file, version 1.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import sys
from base64 import b64encode
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rattler import RepoDataRecord

#: kind of a failure → exit code: as packager's own, where 75 means that trying again may help.
EXIT_CODES = {"temporary": 75, "hash": 3, "lock": 3, "absent": 3, "denied": 3}
#: The variable in which packager gives the credentials of channels that are named by URL.
ACCESS = "PACKAGER_CHANNEL_ACCESS"
_CREDENTIALS = re.compile(r"(?<=://)[^\s/?#]*@|(?<=/t/)[^\s/]+")
_VARIABLE = re.compile(r"\$\{?(\w+)\}?")


class InstallError(Exception):
    """A package cannot be laid down: `kind` is a key of `EXIT_CODES` or `other`, `package` a file name, or empty."""

    def __init__(self, kind: str, message: str, package: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.message = _CREDENTIALS.sub("***", message)
        self.package = package


@dataclass(frozen=True)
class Package:
    """One package of the lock; `depends` holds match specs."""

    name: str
    version: str
    url: str
    sha256: str
    depends: tuple[str, ...] = ()

    @property
    def file_name(self) -> str:
        """`numpy-2.3.1-py313h5f3_0.conda`."""
        return self.url.rpartition("/")[2]

    @property
    def subdir(self) -> str:
        """`linux-64` or `noarch`."""
        return self.url.split("/")[-2]

    @property
    def channel(self) -> str:
        """URL of the channel."""
        return self.url.rsplit("/", 2)[0]

    @property
    def stem(self) -> str:
        """`numpy-2.3.1-py313h5f3_0`."""
        return self.file_name.removesuffix(".conda").removesuffix(".tar.bz2")


# --- the lock ---------------------------------------------------------------------------------------------------------


def read_lock(path: Path, subdir: str) -> list[Package]:
    """Return the packages that a conda-lock file holds for a platform, sorted by name."""
    import yaml

    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        content = yaml.load(path.read_text("utf-8"), Loader=loader)
        found = [_package(each) for each in content["package"] if each["platform"] == subdir]
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise InstallError("lock", f"{path} is not a conda-lock file: {error!r}") from None
    if not found:
        raise InstallError("lock", f"{path} holds nothing for {subdir}")
    return sorted(found, key=lambda each: each.name)


def _package(entry: dict[str, Any]) -> Package:
    depends = entry.get("dependencies", {})
    package = Package(
        name=entry["name"],
        version=entry["version"],
        url=entry["url"],
        sha256=entry["hash"].get("sha256", ""),
        depends=tuple(f"{name} {rest}".rstrip() for name, rest in depends.items()),
    )
    if not re.fullmatch(r"[0-9a-f]{64}", package.sha256):
        raise InstallError("lock", f"the lock has no sha256 of {package.file_name}", package.file_name)
    return package


def mirrored(url: str, mirrors: dict[str, str]) -> str:
    """Return where to fetch a URL from: the longest start that is mapped is replaced, variables or not."""
    for start in sorted(mirrors, key=len, reverse=True):
        if bare(url).startswith(f"{start.rstrip('/')}/"):
            return mirrors[start].rstrip("/") + bare(url).removeprefix(start.rstrip("/"))
    return url


def bare(url: str) -> str:
    """Return a URL without the variables that name its credentials (`${USER}:${TOKEN}@`, `/t/${TOKEN}`)."""
    return re.sub(r"(?<=://)[^/@]*\$[^/@]*@|/t/\$\{?\w+\}?(?=/|$)", "", url)


def known_access(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return URL of a channel (`/t/*` where its token goes) → its credentials, as rattler's file has them of hosts.

    packager gives them in a variable, or in a build stage in rattler's file: there they are of hosts that nobody has.
    """
    found = {}
    with suppress(KeyError, OSError, ValueError):
        found.update(json.loads(Path(environ["RATTLER_AUTH_FILE"]).read_text("utf-8")))
    return {root: each for root, each in {**found, **json.loads(environ.get(ACCESS, "{}"))}.items() if "://" in root}


def access_steps(known: Mapping[str, Any]) -> list[Any]:
    """Return what gives rattler the credentials of channels; no URL that it reports or keeps will have them."""
    from rattler.networking import AddHeadersMiddleware, MirrorMiddleware

    mirrors, headers = {}, []
    for root, each in known.items():
        _, _, host, path = [*root.split("/", 3), ""][:4]
        if "CondaToken" in each:
            mirrors[root.replace("/t/*", "") + "/"] = [root.replace("/t/*", f"/t/{each['CondaToken']}") + "/"]
        else:
            said = "{username}:{password}".format_map(each["BasicHTTP"])
            headers.append((host.rsplit(":", 1)[0], f"/{path}/", "Basic " + b64encode(said.encode()).decode()))

    def added(host: str, path: str) -> dict[str, str] | None:
        fit = [(start, header) for name, start, header in headers if name == host and path.startswith(start)]
        return {"Authorization": max(fit)[1]} if fit else None

    return [MirrorMiddleware(mirrors), AddHeadersMiddleware(added)]


# --- laying down ------------------------------------------------------------------------------------------------------


def lay_down(packages: list[Package], subdir: str, folder: Path, options: argparse.Namespace) -> None:
    """Fetch, check and link packages into a folder, their final place (`options.prefix`) written into them."""
    import asyncio

    import rattler
    from rattler import networking as by
    from rattler.package_cache import PackageCacheLayer, ValidationMode

    mirrors = {_channel_url(name): url for name, url in (each.split("=", 1) for each in options.mirror)}
    places = [mirrored(each.url, mirrors) for each in packages]
    known = known_access(os.environ)
    records = [_record(each, bare(place)) for each, place in zip(packages, places, strict=True)]
    cache = Path(options.cache) / subdir
    cache.mkdir(parents=True, exist_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    steps = [*access_steps(known), by.RetryMiddleware(3), by.AuthenticationMiddleware()]
    client = rattler.Client([*steps, by.OciMiddleware(), by.GCSMiddleware(), by.S3Middleware()])
    # Full: somebody may have edited a file of the cache, if only through a hard link from another environment.
    layer = PackageCacheLayer(cache).with_validation_mode(ValidationMode.full())
    try:
        asyncio.run(
            rattler.install(
                records,
                folder,
                package_cache=rattler.PackageCache.from_layers([layer]),
                installed_packages=[],
                platform=rattler.Subdir(subdir),
                execute_link_scripts=False,
                show_progress=False,
                client=client,
                alternative_target_prefix=options.prefix,
                config=rattler.Config.from_toml("allow-hard-links = false") if options.copy else None,
            )
        )
    except Exception as error:  # py-rattler's own class of errors holds all there is in its text
        roots = {root.replace("/t/*", "") for root in known}
        raise explain(str(error), [each for each in places if bare(each).rsplit("/", 2)[0] not in roots]) from None


def _channel_url(name: str) -> str:
    from rattler import Channel

    return bare(name) if "://" in name else str(Channel(name).base_url)


def _record(package: Package, url: str) -> RepoDataRecord:
    import rattler
    from rattler.package.build_string import BuildString

    if url.startswith("file://"):
        # py-rattler holds only what it has downloaded against its digest (seen with 0.28).
        _check_file(package, url.removeprefix("file://"))
    record = rattler.PackageRecord(
        name=package.name,
        version=package.version,
        build=BuildString(package.stem.rsplit("-", 2)[2]),
        build_number=0,
        subdir=package.subdir,
        sha256=bytes.fromhex(package.sha256),
        depends=list(package.depends),
    )
    return rattler.RepoDataRecord(record, package.file_name, url, url.rsplit("/", 2)[0])


def _check_file(package: Package, path: str) -> None:
    from urllib.parse import unquote

    try:
        with open(unquote(path), "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        kind = "absent" if isinstance(error, FileNotFoundError) else "other"
        raise InstallError(kind, f"{path} cannot be read: {error.strerror}", package.file_name) from None
    if digest != package.sha256:
        raise _changed(package.file_name, package.sha256, digest)


def _changed(name: str, expected: str, found: str) -> InstallError:
    return InstallError("hash", f"{name} is not the file that was locked: its sha256 is {found}, not {expected}", name)


def explain(text: str, unknown: Iterable[str] = ()) -> InstallError:
    """Return the failure that an error of py-rattler means; of `unknown` URLs nobody gave the variables. Pure."""
    named = re.search(r"failed to (?:fetch|link) (\S+)", text)
    name = named[1] if named else ""
    mismatch = re.search(r"expected ([0-9a-f]{32,64}), got ([0-9a-f]{32,64})", text)
    if mismatch:
        return _changed(name, mismatch[1], mismatch[2])
    lines = [line.removeprefix("Caused by: ") for line in text.splitlines()]
    reason = next((line for line in reversed(lines) if "(" in line), lines[-1] if lines else text)
    unset = sorted({found for url in unknown if name and name in url for found in _VARIABLE.findall(url)})
    if unset and re.search(r"status client error \(40[134]", text):
        message = f"{name}: its channel wants credentials, and there is no value of {', '.join(unset)} ({reason})"
        return InstallError("denied", message, name)
    if re.search(r"status client error \(40[137]", text):
        return InstallError("denied", f"{name}: the channel wants credentials, or others: {reason}", name)
    if re.search(r"status client error \((?:404|410)", text):
        return InstallError("absent", f"{name} is no longer there: {reason}", name)
    if re.search(r"error sending request|status server error|status client error \(4[02][89]|reading a body|dns", text):
        return InstallError("temporary", f"{name} cannot be fetched: {reason}; {lines[-1]}", name)
    if "failed to fetch" in text and "(os error" not in text:
        # It came, and could not be unpacked: its digest would have been known at its end.
        return InstallError("hash", f"{name} is not the file that was locked: it is damaged ({lines[-1]})", name)
    return InstallError("other", "; ".join(lines), name)


# --- the program ------------------------------------------------------------------------------------------------------


def install(options: argparse.Namespace) -> dict[str, Any]:
    """Lay the packages of a lock down; return what there is to tell."""
    packages = read_lock(Path(options.lock), options.subdir)
    folder = Path(options.into or options.prefix)
    lay_down(packages, options.subdir, folder, options)
    _name_origins(folder, packages)
    return {"packages": len(packages)}


def _name_origins(folder: Path, packages: list[Package]) -> None:
    """Write the lock's URLs into the records of packages: mirrors may be known here alone."""
    for package in packages:
        path = folder / "conda-meta" / f"{package.stem}.json"
        if not path.is_file():
            raise InstallError("other", f"{package.file_name} was not laid down", package.file_name)
        record = json.loads(path.read_text("utf-8"))
        record |= {"url": bare(package.url), "channel": bare(package.channel), "depends": list(package.depends)}
        path.write_text(json.dumps(record), "utf-8")


def main(arguments: list[str] | None = None) -> int:
    """Run the program; return its exit code."""
    parser = argparse.ArgumentParser(description="Install the conda packages of a lock.")
    parser.add_argument("--lock", required=True, help="conda-lock.yml")
    parser.add_argument("--subdir", required=True, help="platform in conda's words, such as linux-64")
    parser.add_argument("--prefix", required=True, help="the environment's final place")
    parser.add_argument("--into", help="the folder to write to, where that is another")
    parser.add_argument("--cache", default=os.path.expanduser("~/.cache/rattler/locked"), help="for packages")
    parser.add_argument("--mirror", action="append", default=[], metavar="CHANNEL=URL", help="fetch from there instead")
    parser.add_argument("--copy", action="store_true", help="make no hard links into the cache")
    parser.add_argument("--json", action="store_true", help="print the result, or the failure, as JSON")
    options = parser.parse_args(arguments)
    try:
        result = install(options)
    except InstallError as failure:
        if options.json:
            told = {"error": failure.kind, "package": failure.package, "message": failure.message}
            sys.stdout.write(json.dumps(told) + "\n")
        else:
            sys.stderr.write(f"install.py: {failure.kind}: {failure.message}\n")
        return EXIT_CODES.get(failure.kind, 1)
    if options.json:
        sys.stdout.write(json.dumps(result, sort_keys=True) + "\n")
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # py-rattler's threads have been seen to crash the interpreter at its exit, with all done and written.
    os._exit(code)
