"""Solves conda environments with rattler, in a process of its own; it needs nothing but py-rattler.

One request (JSON) comes on standard input, one answer (JSON) goes to standard output. The process then ends at once:
with rattler loaded, an interpreter that ends in its usual way may crash (seen with py-rattler 0.28).

Request: `channels`, `specs`, `priority`, `root` (relative channels start there), `mirrors` (channel → URL), `access`
(URL of a channel → its credentials, in the words of rattler's file), `offline`, `platforms`: {platform: {`subdir`,
`virtual`: {name: "version[=build]"}, `moved`: [name of a virtual package, …], `held`: [[name, version, build], …]}},
`reordered`: whether the held ones are from a time with other channels.
Answer: {`platforms`: {platform: [record, …]}}, or {`error`: {`kind`, `message`, …}}; `explain` has the kinds.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

from rattler import (
    BuildString,
    Channel,
    ChannelConfig,
    Gateway,
    GenericVirtualPackage,
    MatchSpec,
    PackageName,
    RepoDataRecord,
    SourceConfig,
    Subdir,
    Version,
    solve,
)
from rattler.channel import ChannelPriority
from rattler.exceptions import GatewayError, InvalidChannelError, InvalidMatchSpecError, InvalidUrlError, SolverError
from rattler.networking import (
    AuthenticationMiddleware,
    Client,
    GCSMiddleware,
    MirrorMiddleware,
    OciMiddleware,
    RetryMiddleware,
    S3Middleware,
)
from rattler.package_streaming import download_to_path

#: Where else a package that is missing is looked for.
SUBDIRS = ("linux-64", "linux-aarch64", "linux-ppc64le", "osx-64", "osx-arm64", "win-64")
FIELDS = ("name", "version", "build", "url", "sha256", "md5", "depends", "purls", "noarch", "size")

_NONE = re.compile(r"No candidates were found for ([a-z0-9_][a-z0-9._-]*)")
_NONE_FOR = re.compile(r"([a-z0-9][a-z0-9._-]*)(?: [^\n]*?)?, for which no candidates were found")


class RefusedError(Exception):
    """The request has no answer; `details` says why."""

    def __init__(self, kind: str, message: str, **details: Any) -> None:
        super().__init__(message)
        self.details = {"kind": kind, "message": message, **details}


class Request:
    """A request with what rattler makes of it."""

    def __init__(self, request: dict[str, Any], *, sharded: bool) -> None:
        self.config = ChannelConfig(root_dir=request["root"])
        self.specs = [self._spec(text) for text in request["specs"]]
        self.channels = self._channels(request["channels"])
        # conda's flexible priority falls back on other channels only where the first has no solution.
        strict = request["priority"] != "disabled"
        self.priorities = [ChannelPriority.Strict] if strict else []
        if request["priority"] != "strict":
            self.priorities.append(ChannelPriority.Disabled)
        self.platforms: dict[str, dict[str, Any]] = request["platforms"]
        self.offline: bool = request["offline"]
        self.reordered: bool = request["reordered"]
        self.client = self._client(request["mirrors"], request["access"])
        kept = os.environ.get("RATTLER_CACHE_DIR")  # py-rattler itself does not look at it (seen with 0.28)
        self.gateway = Gateway(
            cache_dir=Path(kept) / "repodata" if kept else None,
            default_config=SourceConfig(
                sharded_enabled=sharded, cache_action="force-cache-only" if self.offline else "cache-or-fetch"
            ),
            client=self.client,
        )

    def _spec(self, text: str) -> MatchSpec:
        try:
            return MatchSpec(text)
        except (InvalidMatchSpecError, InvalidChannelError) as error:
            raise RefusedError("spec", str(error), spec=text) from None

    def _channel(self, text: str) -> Channel:
        try:
            return Channel(text, self.config)
        except (InvalidChannelError, InvalidUrlError) as error:
            raise RefusedError("name", str(error), channel=text) from None

    def _channels(self, names: list[str]) -> list[Channel]:
        found = {channel.base_url: channel for channel in map(self._channel, names)}
        # As conda does: a channel that only `channel::package` names is asked too, after the others.
        for spec in self.specs:
            if spec.channel is not None:
                found.setdefault(spec.channel.base_url, spec.channel)
        return list(found.values())

    def _client(self, mirrors: dict[str, str], access: dict[str, Any]) -> Client:
        urls = {self._channel(channel).base_url: [url.rstrip("/") + "/"] for channel, url in mirrors.items()}
        steps: list[Any] = [MirrorMiddleware(urls)]
        if access:
            from packager.programs.stage.install import access_steps

            steps += access_steps(access)
        # rattler's own order but for these; other credentials are found where rattler and pixi keep them.
        steps += [RetryMiddleware(3), AuthenticationMiddleware(), OciMiddleware(), GCSMiddleware(), S3Middleware()]
        return Client(steps)

    @property
    def queries(self) -> list[MatchSpec]:
        """What is asked of the solver.

        Of a package that a spec narrows, the gateway answers only fitting records; strict priority would then take it
        from a later channel although an earlier one has it. The bare name beside it brings all records.
        """
        if len(self.channels) == 1 or self.priorities[0] is not ChannelPriority.Strict:
            return self.specs
        bare = {spec.name.normalized for spec in self.specs if spec.name is not None and spec.channel is None}
        return [*self.specs, *map(MatchSpec, sorted(bare))]


async def answer(request: Request) -> dict[str, list[dict[str, Any]]]:
    """Solve all platforms, side by side; of errors, raise that of who did the download, not of who waited for it."""
    names = list(request.platforms)
    solved = await asyncio.gather(*(_platform(request, name) for name in names), return_exceptions=True)
    failed = [found for found in solved if isinstance(found, BaseException)]
    if failed:
        raise min(failed, key=lambda error: "coalesced request failed" in str(error))
    return {name: found for name, found in zip(names, solved, strict=True) if not isinstance(found, BaseException)}


async def _platform(request: Request, platform: str) -> list[dict[str, Any]]:
    wanted = request.platforms[platform]
    try:
        records = await _solve(request, wanted)
    except SolverError as error:
        elsewhere = await _elsewhere(request, str(error), wanted["subdir"])
        raise RefusedError("unsolvable", str(error), platform=platform, elsewhere=elsewhere) from None
    found = []
    for record in records:
        fields = json.loads(record.to_json())
        entry = {name: fields[name] for name in FIELDS if fields.get(name) is not None}
        if "sha256" not in entry or "md5" not in entry:
            entry.update(await _digests(request, entry))
        found.append(entry)
    return found


async def _solve(request: Request, wanted: dict[str, Any]) -> list[RepoDataRecord]:
    platforms = [Subdir(wanted["subdir"]), Subdir("noarch")]
    held = await _held(request, wanted["held"], wanted["moved"], platforms)
    for last, priority in enumerate(request.priorities, 1):
        try:
            return await solve(
                request.channels,
                request.queries,
                gateway=request.gateway,
                platforms=platforms,
                locked_packages=held,
                virtual_packages=[_virtual(*each) for each in wanted["virtual"].items()],
                channel_priority=priority,
                # The channels that were asked for, and no others that these may name.
                channel_relations="disabled",
            )
        except SolverError:
            if last == len(request.priorities):
                raise
    raise AssertionError("there is at least one priority")


def _virtual(name: str, text: str) -> GenericVirtualPackage:
    version, _, build = text.partition("=")
    return GenericVirtualPackage(PackageName(name), Version(version), BuildString(build or "0"))


async def _held(
    request: Request, held: list[list[str]], moved: list[str], platforms: list[Subdir]
) -> list[RepoDataRecord]:
    """Return the channels' own records of the locked packages: a lock does not know all of a record (`constrains`).

    What has, in the same version, a build for a virtual package that has changed, is left out: a target that gets a
    `__cuda` is to get the CUDA build, although the other one fits as well as before. So is what strict priority would
    now take from an earlier channel; the solver does not ask that of what it is given.
    """
    specs = []
    for name, version, _build in held:
        try:
            specs.append(MatchSpec(name if request.reordered else f"{name} =={version}"))
        except InvalidMatchSpecError:
            continue  # no longer to be had: its version is free
    if not specs:
        return []
    wanted = {tuple(each) for each in held}
    found = await request.gateway.query(
        request.channels, platforms, specs, recursive=False, channel_relations="disabled"
    )
    records: dict[str, RepoDataRecord] = {}
    free: set[str] = set()
    owners: dict[str, int] = {}
    for at, record in ((at, each) for at, records in enumerate(found) for each in records):
        name = record.name.normalized
        first = owners.setdefault(name, at)
        if first != at and request.priorities[0] is ChannelPriority.Strict:
            continue
        if (name, str(record.version), str(record.build)) in wanted:
            records.setdefault(name, record)
        if any(each.split(" ")[0] in moved for each in record.depends):
            free.add(name)
    return [record for name, record in records.items() if name not in free]


async def _digests(request: Request, entry: dict[str, Any]) -> dict[str, str]:
    """Return the digests of a package whose channel does not tell both, by reading it once."""
    url = entry["url"]
    if request.offline:
        raise RefusedError("undigested", "the channel names no sha256 of it", package=entry["name"], url=url)
    with tempfile.TemporaryDirectory(prefix="packager-conda-") as folder:
        path = Path(folder) / "package"
        if url.startswith("file://"):
            path = Path(_local(url))
        else:
            try:
                await download_to_path(request.client, url, path)
            except Exception as error:  # rattler raises several here, none of them documented
                raise RefusedError("channel", str(error), channels=[url]) from None
        found = {name: _digest(path, name) for name in ("sha256", "md5")}
    for name, digest in found.items():
        if entry.get(name, digest) != digest:
            message = f"{name} is {digest}, its channel says {entry[name]}"
            raise RefusedError("hash", message, package=entry["name"], url=url)
    return found


def _local(url: str) -> str:
    from urllib.parse import unquote, urlsplit

    return unquote(urlsplit(url).path)


def _digest(path: Path, name: str) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.new(name, usedforsecurity=False)).hexdigest()


async def _elsewhere(request: Request, message: str, subdir: str) -> dict[str, list[str]]:
    """Return, for packages that this platform does not have, the platforms that do."""
    names = {each for pattern in (_NONE, _NONE_FOR) for each in pattern.findall(message)}
    names = {each for each in names if not each.startswith("__")}
    mine = [Subdir(subdir), Subdir("noarch")]
    others = [Subdir(each) for each in SUBDIRS if each != subdir]
    if not names or request.offline:
        return {}
    specs = [MatchSpec(each) for each in sorted(names)]
    try:
        here = await request.gateway.query(request.channels, mine, specs, recursive=False, channel_relations="disabled")
        there = await request.gateway.query(
            request.channels, others, specs, recursive=False, channel_relations="disabled"
        )
    except GatewayError:
        return {}  # the first error is the one to tell
    known = {record.name.normalized for records in here for record in records}
    found: dict[str, set[str]] = {}
    for record in (each for records in there for each in records):
        if record.name.normalized not in known:
            found.setdefault(record.name.normalized, set()).add(record.subdir)
    return {name: sorted(subdirs) for name, subdirs in sorted(found.items())}


def run(request: dict[str, Any]) -> dict[str, Any]:
    """Answer a request."""
    try:
        try:
            return {"platforms": asyncio.run(answer(Request(request, sharded=True)))}
        except GatewayError as error:
            if not _shards_alone(str(error)):
                raise
            return {"platforms": asyncio.run(answer(Request(request, sharded=False)))}
    except GatewayError as error:
        return {"error": {"kind": "channel", "message": str(error), "channels": request["channels"]}}
    except RefusedError as error:
        return {"error": error.details}


def _shards_alone(message: str) -> bool:
    """Whether the index in shards failed in a way in which the whole index need not."""
    return "shard" in message and not re.search(r"\((?:401|403|429|502|503|504) |error sending request", message)


def main() -> None:
    """Read the request, write the answer, and end without a word more."""
    text = json.dumps(run(json.load(sys.stdin)))
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    try:
        main()
    except BaseException:
        import traceback

        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
