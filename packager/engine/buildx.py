"""A build context → an image, by `docker buildx build` (the engine's own API cannot drive BuildKit)."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from packager.decoding import decode_json
from packager.engine.failures import build_failure, no_docker
from packager.engine.plugin import buildx_words
from packager.engine.process import run_shown, show_on_stderr
from packager.engine.secrets import (
    RATTLER_AUTH,
    MachineSettings,
    Secret,
    index_secrets,
    parse_secret,
    proxy_args,
    with_access,
)
from packager.environments.channel_credentials import channel_access
from packager.errors import EngineError, UsageError
from packager.scratch import scratch

#: moby/buildkit session/secrets: MaxSecretSize, in bytes.
MAX_SECRET = 500 * 1024


class BuildOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a build can be asked for, besides its inputs; the names are those of `docker buildx build`.

    Attributes:
        tags: references that the image gets.
        push: upload it under every tag.
        load: put it into the engine; so it is also done without `push` and `outputs`.
        secrets: `id=…,src=…` or `id=…,env=…`, never a value.
        build_args: `NAME=VALUE`, or `NAME` for a variable of this process.
        outputs: what `-o` takes.
        network: of the steps: `default`, `host` or `none`.
        builder: name of a buildx builder; the current one by default.
        progress: `auto`, `tty`, `plain` or `quiet`; shown on standard error.
        metadata_file: gets BuildKit's metadata, as JSON.
        iidfile: gets the image's id.
    """

    tags: tuple[str, ...] = ()
    push: bool = False
    load: bool = False
    no_cache: bool = False
    pull: bool = False
    secrets: tuple[str, ...] = ()
    build_args: tuple[str, ...] = ()
    labels: Mapping[str, str] = {}
    cache_from: tuple[str, ...] = ()
    cache_to: tuple[str, ...] = ()
    network: str | None = None
    outputs: tuple[str, ...] = ()
    builder: str | None = None
    progress: str = "auto"
    metadata_file: Path | None = None
    iidfile: Path | None = None


class BuildRequest(BuildOptions, frozen=True, kw_only=True):
    """One build: the options, and what it is of.

    Attributes:
        context: folder with a Dockerfile in it.
        platform: OCI os/arch.
        source_date_epoch: seconds; becomes `created` in the image's configuration and history.
        channels: URLs of the conda channels that are fetched from; those that name variables get their values.
    """

    context: Path
    platform: str
    source_date_epoch: int
    channels: tuple[str, ...] = ()


class Built(msgspec.Struct, frozen=True, kw_only=True):
    """What a build made.

    Attributes:
        image_id: digest of the image's configuration, by which an engine with the default store knows it. Empty for
            outputs that are no image.
        digest: where the image was pushed, or the engine keeps manifests (containerd store): of the manifest; else the
            image id. Empty for outputs that are no image.
        references: the tags.
        pushed: they are at their registries.
    """

    image_id: str
    digest: str
    references: tuple[str, ...]
    pushed: bool


def buildx_command(
    request: BuildRequest, metadata_file: Path, iidfile: Path | None, machine: MachineSettings | None = None
) -> list[str]:
    """Return the command of a build. Pure.

    Args:
        request: what to build.
        metadata_file: where BuildKit writes its metadata.
        iidfile: where it writes the image's id.
        machine: what the build gets from this machine's environment.

    Raises:
        UsageError: a secret that is none, or an output to standard output, which is for the result.
    """
    machine = machine or MachineSettings()
    check_outputs(request.outputs)
    secrets = (*(parse_secret(each) for each in request.secrets), *machine.secrets)
    words = ["docker", "buildx", "build"]
    # Attestations hold dates, and put entries of the platform unknown/unknown beside the image.
    words += ["--provenance=false", "--sbom=false"]
    # A quiet buildx would keep the failed step's log to itself, so it is we who keep still.
    words += ["--progress", "plain" if request.progress == "quiet" else request.progress]
    words += ["--platform", request.platform, "--metadata-file", str(metadata_file)]
    if iidfile is not None:
        words += ["--iidfile", str(iidfile)]
    if request.builder is not None:
        words += ["--builder", request.builder]
    if request.network is not None:
        words += ["--network", request.network]
    load = request.load or not (request.push or request.outputs)
    flags = {"--no-cache": request.no_cache, "--pull": request.pull, "--push": request.push, "--load": load}
    words += [flag for flag, wanted in flags.items() if wanted]
    words += _each("--tag", request.tags)
    words += _each("--secret", [secret.argument for secret in secrets])
    words += _each("--build-arg", (*request.build_args, *machine.build_args))
    words += _each("--label", [f"{name}={value}" for name, value in request.labels.items()])
    words += _each("--cache-from", request.cache_from)
    words += _each("--cache-to", request.cache_to)
    words += _each("--output", request.outputs)
    return [*words, "--", str(request.context)]


def check_outputs(outputs: Sequence[str]) -> None:
    """Refuse an output to standard output, which is for the result.

    Raises:
        UsageError: there is one.
    """
    for output in outputs:
        if output == "-" or "dest=-" in output.split(","):
            raise UsageError(f"-o {output}: standard output is for the image's reference", remedy="name a file")


def build(request: BuildRequest, environ: Mapping[str, str] | None = None) -> Built:
    """Build an image, showing BuildKit's progress on standard error.

    Args:
        request: what to build.
        environ: this machine's environment; `os.environ` by default. Its proxies, package index and CA bundle reach
            the build by name only.

    Raises:
        UsageError: an option that cannot be meant so.
        EngineError: no engine, no BuildKit, a failed step, a full disk.
        RegistryError: the base is not there, or a registry does not let us in.
        TemporaryError: a network or a registry failed in a way that may pass.
        KeyboardInterrupt: after the build was stopped.
    """
    environ = os.environ if environ is None else environ
    machine = checked_settings(request, environ, request.channels)
    with scratch("packager-build-") as folder:
        metadata = request.metadata_file or Path(folder) / "metadata.json"
        command = buildx_command(request, metadata, request.iidfile, machine)
        variables = {**environ, **machine.environ, "SOURCE_DATE_EPOCH": str(request.source_date_epoch)}
        run_buildx(command, variables, request.progress)
        return built_from(_read(metadata), request)


def run_buildx(command: Sequence[str], environ: Mapping[str, str], progress: str) -> None:
    """Run a build to its end, showing its progress on standard error.

    Args:
        command: `docker buildx …`; buildx itself is called where it can be.
        environ: its whole environment.
        progress: `auto`, `tty`, `plain` or `quiet`.

    Raises:
        EngineError, RegistryError, TemporaryError, KeyboardInterrupt: see `build`.
    """
    drawn = progress == "tty" or (progress == "auto" and sys.stderr.isatty())
    show = None if progress == "quiet" else show_on_stderr
    try:
        finished = run_shown([*buildx_words(environ), *command[2:]], environ=environ, show=show, terminal=drawn)
    except FileNotFoundError:
        raise no_docker() from None
    if finished.code != 0:
        raise build_failure(finished.lines, finished.code)


def checked_settings(
    options: BuildOptions, environ: Mapping[str, str], channels: Sequence[str] = ()
) -> MachineSettings:
    """Return what a build gets from this machine besides its options.

    Args:
        options: of the build.
        environ: of this machine.
        channels: see `BuildRequest`.

    Raises:
        UsageError: a secret that is none, or whose value is not there.
    """
    secrets = [parse_secret(each) for each in options.secrets]
    _require_values(secrets, environ)
    return machine_settings(environ, secrets, options.build_args, channels)


def machine_settings(
    environ: Mapping[str, str],
    secrets: Sequence[Secret] = (),
    build_args: Sequence[str] = (),
    channels: Sequence[str] = (),
) -> MachineSettings:
    """Return what a build gets from this machine; what the user gives goes first, and what is not there is left out."""
    settings = index_secrets(environ, secrets)
    kept = tuple(each for each in settings.secrets if each.file is None or _fits(Path(each.file)))
    settings = msgspec.structs.replace(settings, secrets=kept, build_args=proxy_args(environ, build_args))
    access = channel_access(channels, environ)
    if not access or any(each.id == RATTLER_AUTH for each in secrets):
        return settings
    own = next((each.file for each in kept if each.id == RATTLER_AUTH and each.file), None)
    return with_access(settings, access, Path(own).read_text("utf-8", errors="replace") if own else "")


def built_from(metadata: bytes, request: BuildRequest) -> Built:
    """Return what the metadata file says of a build. Pure.

    With the engine's own builder and default store, `containerimage.digest` is the manifest's digest after `--push`
    (equal to the registry's Docker-Content-Digest) and the configuration's, which is the image id, without it.

    Raises:
        EngineError: it is no JSON.
    """
    try:
        values = decode_json(metadata or b"{}", dict[str, object])
    except msgspec.DecodeError as error:
        raise EngineError(f"BuildKit's metadata cannot be read: {error}") from None
    digest = str(values.get("containerimage.digest", ""))
    config = str(values.get("containerimage.config.digest", digest))
    return Built(image_id=config, digest=digest or config, references=request.tags, pushed=request.push)


def _each(option: str, values: Sequence[str]) -> list[str]:
    return [word for value in values for word in (option, value)]


def _require_values(secrets: Sequence[Secret], environ: Mapping[str, str]) -> None:
    for secret in secrets:
        if secret.file is not None and not Path(secret.file).is_file():
            raise UsageError(f"--secret id={secret.id}: there is no file {secret.file}")
        if secret.variable is not None and secret.variable not in environ:
            raise UsageError(f"--secret id={secret.id}: the environment variable {secret.variable} is not set")


def _fits(file: Path) -> bool:
    try:
        return file.is_file() and 0 < file.stat().st_size <= MAX_SECRET
    except OSError:
        return False


def _read(file: Path) -> bytes:
    # BuildKit writes no metadata for some outputs (`type=local`).
    return file.read_bytes() if file.exists() else b""
