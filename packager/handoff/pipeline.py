"""A pipeline for a CI system: lock check, check, build, test, push. A spec gives values, templates all else."""

from __future__ import annotations

import re
import shlex
from typing import Literal

import msgspec

from packager.dockerfile.render import make_environment, rendered

System = Literal["github", "gitlab", "azure", "tekton"]
SYSTEMS: tuple[System, ...] = ("github", "gitlab", "azure", "tekton")
#: Whose machines bring an engine; elsewhere there is one only where an image cannot be made without.
_BRING_ENGINE: tuple[System, ...] = ("github", "azure")
_GITHUBS_REGISTRY = "ghcr.io"
#: Where containers of an engine do not answer at this machine's own addresses, or there is no engine.
_APART: tuple[System, ...] = ("gitlab",)
#: What teaches an engine's machine to run programs of others.
_BINFMT = "docker run --rm --privileged tonistiigi/binfmt:qemu-v9.2.2 --install"


class Login(msgspec.Struct, frozen=True, kw_only=True):
    """A registry that a job logs in to.

    Attributes:
        registry: its host.
        suffix: of the names of variables and secrets: empty for the first, then `_2` …
        own_token: a job of GitHub does so with its own token.
    """

    registry: str
    suffix: str
    own_token: bool


class Pipeline(msgspec.Struct, frozen=True, kw_only=True):
    """What a pipeline has to know of a spec.

    Attributes:
        name: of the package.
        spec: path of the spec, from the top of the repository.
        lock: path of its lock, from there.
        python: minor version of Python (`3.13`).
        references: of all images.
        registries: hosts that the jobs log in to; the first is that of the images.
        targets: target → its platforms.
        here: targets that run without Docker on linux/amd64.
        tested: the spec has tests.
        engine: why an image cannot be made without an engine; empty where it can.
        system_packages: Debian packages of the images, which a test without Docker needs, too.
    """

    name: str
    spec: str
    lock: str
    python: str
    references: tuple[str, ...]
    registries: tuple[str, ...]
    targets: dict[str, tuple[str, ...]]
    here: tuple[str, ...]
    tested: bool
    engine: str = ""
    system_packages: tuple[str, ...] = ()

    @property
    def folder(self) -> str:
        """The folder of the spec, from the top of the repository; empty for the top."""
        return self.spec.rpartition("/")[0]

    @property
    def slug(self) -> str:
        """The name as Kubernetes takes one."""
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")

    @property
    def emulated(self) -> tuple[str, ...]:
        """The architectures (`arm64`) whose programs an engine on linux/amd64 has to run: to build, or to test."""
        found = (
            platform
            for platforms in self.targets.values()
            for platform in (platforms if self.engine else platforms[: self.tested])
        )
        return tuple(dict.fromkeys(each.split("/")[1] for each in found if each != "linux/amd64"))

    @property
    def logins(self) -> tuple[Login, ...]:
        """The registries, with the names of what is needed for each."""
        return tuple(
            Login(registry=each, suffix=f"_{number}" if number > 1 else "", own_token=each == _GITHUBS_REGISTRY)
            for number, each in enumerate(self.registries, 1)
        )

    @property
    def own_token(self) -> bool:
        """Whether a job of GitHub pushes with its own token."""
        return any(each.own_token for each in self.logins)

    @property
    def on_spec(self) -> str:
        """` -f PATH`, for a verb of a spec that is not found by itself."""
        return "" if self.spec in ("packager.yaml", "packager.yml") else f" -f {shlex.quote(self.spec)}"


class Commands(msgspec.Struct, frozen=True, kw_only=True):
    """The commands of a pipeline, in their order.

    Attributes:
        lock: holds the lock against the spec.
        check: looks for mistakes.
        build: makes the images, and brings them nowhere else.
        test: runs the spec's tests; empty where there are none, or nothing to run them on.
        push: pushes, and prints each reference with its digest on a line.
    """

    lock: str
    check: str
    build: tuple[str, ...]
    test: tuple[str, ...]
    push: str


def commands(pipeline: Pipeline, *, engine: bool, contained: bool, files: str) -> Commands:
    """Return the commands of a pipeline. Pure.

    Args:
        pipeline: what is built.
        engine: there is one, which images are loaded into; else they are written into folders.
        contained: they are tested in its containers, and once more before the push; else the package is, on its own.
        files: the folder for what is written besides, in the words of a shell.
    """
    spec = pipeline.on_spec
    build: tuple[str, ...] = (f"packager build{spec}",)
    if not engine:
        build = tuple(
            f'packager build{spec} --target {each} --builder oci -o "{files}/image-{each}"' for each in pipeline.targets
        )
    test: tuple[str, ...] = (f'packager test{spec} --junit "{files}/report.xml"',)
    if not contained:
        test = tuple(
            f'packager test{spec} --no-docker --target {each} --junit "{files}/report-{each}.xml"'
            for each in pipeline.here
        )
    return Commands(
        lock=f"packager lock{spec} --check",
        check=f"packager check{spec} --fail-on warning",
        build=build,
        test=test if pipeline.tested else (),
        push=f"packager build{spec} --push{' --no-test' if pipeline.tested and not contained else ''}",
    )


#: System → where its jobs keep what is written besides.
_FILES: dict[System, str] = {
    "github": "$RUNNER_TEMP",
    "gitlab": "/tmp/packager",
    "azure": "$(Agent.TempDirectory)",
    "tekton": "/packager",
}


def pipeline_text(pipeline: Pipeline, system: System) -> str:
    """Return the text of a pipeline.

    Args:
        pipeline: what is built.
        system: whose form it has.
    """
    engine = system in _BRING_ENGINE or bool(pipeline.engine)
    # `${{ … }}` and `$(…)` are the systems' own.
    environment = make_environment(None).overlay(
        variable_start_string="[[", variable_end_string="]]", comment_start_string="[#", comment_end_string="#]"
    )
    contained = engine and system not in _APART
    found = commands(pipeline, engine=engine, contained=contained, files=_FILES[system])
    emulated = pipeline.emulated if engine else ()
    more = {"pipeline": pipeline, "commands": found, "engine": engine, "emulated": emulated, "binfmt": _BINFMT}
    return rendered(environment, f"ci/{system}.yml.j2", False, **more)
