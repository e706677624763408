"""Docker Compose puts its file into force."""

from __future__ import annotations

import json
import os
import re
import stat
import sys
import time
from shlex import quote
from typing import Any

import msgspec

from packager.deployment.apply.client import PATIENCE, Client, Said, Say, require_free_port, version_of
from packager.deployment.apply.ill import ill
from packager.deployment.apply.sample import first_key, send_sample
from packager.deployment.compose import FILE, KEYS_FILE
from packager.deployment.workload import Release
from packager.errors import EngineError, PackagerError, ServiceError, UsageError
from packager.serving.service import LOG_READ, LOOPBACK, State, why_it_ended, why_it_hangs

_INSTALL = "install Docker with its plugin for Compose 2 (docs.docker.com/compose/install)"

#: The first that limits how long it waits for what is healthy.
_OLDEST = (2, 17)

_TAKEN = re.compile(r"port is already allocated|address already in use|failed to bind (?:host )?port", re.IGNORECASE)
_NO_ENGINE = re.compile(r"Cannot connect to the Docker daemon|docker daemon running", re.IGNORECASE)
_NO_FOLDER = re.compile(r"bind source path does not exist: (?P<path>.+)")
_NO_GPU = re.compile(r"could not select device driver", re.IGNORECASE)
_NO_VALUE = re.compile(r"required variable (?P<name>\S+) is missing a value: (?P<why>.*)")

#: Of layers as they come, which are many lines; the image's own say enough.
_OF_LAYERS = re.compile(r"[0-9a-f]{12} ")
#: Of what went well before something did not, which was passed on already.
_OF_PROGRESS = re.compile(r"(?:Container|Network|Volume) \S+ +[A-Z][a-z]+$")

#: Seconds in which a container that starts again and again is seen between two starts, and between two looks.
_SEEN_ENDING, _PAUSE = 15.0, 0.1

_HEALTH = "{{if .State.Health}}{{.State.Health.Status}}{{else}}{{.State.Status}}{{end}}"

_UP = ("--progress", "plain", "up", "--detach", "--no-build")


class Compose:
    """Docker Compose, as `packager.deployment.workload.Operator`."""

    def __init__(self) -> None:
        self._docker = Client("docker", install=_INSTALL)
        self._compose = Client("docker", "compose", install=_INSTALL)

    def apply(self, release: Release, say: Say) -> None:
        """See `Operator`: what is missing is told, and what is about to change is named, before anything is."""
        self._apply(release, say)

    def _apply(self, release: Release, say: Say, *more: str) -> None:
        self._require_version()
        project = self._project(release)
        _require_keys(release)
        service = project.get("services", {}).get(release.workload.name, {})
        ports = [f"{each.get('host_ip', '*')}:{each.get('published', '?')}" for each in service.get("ports") or ()]
        context, container = self._context(), self._container(release)
        say(
            f"Docker's context {context}, project {project.get('name')}, ports {', '.join(ports) or '(none)'}"
            + self._in_place_of(container, release)
        )
        # Compose ends the container that is there before it starts another, so what would fail must be seen before.
        held = self._held(container)
        if "unix://" in context:
            for each in ports:
                if each.rpartition(":")[2] not in held:
                    require_free_port(each, f"--publish PORT, or `ports` in {release.folder / FILE}")
        done = self._compose.run(*_UP, *more, say=_without_layers(say), folder=release.folder)
        if not done.well:
            refused = self._refused(done, release)
            if held and not self._held(self._container(release)):
                # What ran has ended for it: that is no question that may be asked again, but a service that is down.
                raise ServiceError(refused.message, where=refused.where, remedy=refused.remedy)
            raise refused

    def wait(self, release: Release, timeout: float, say: Say) -> str:
        """See `Operator`."""
        seconds, end = str(max(1, round(timeout))), time.monotonic() + timeout
        done = self._compose.run(*_UP, "--wait", "--wait-timeout", seconds, say=_unheard, folder=release.folder)
        # Compose 2.26 was seen to be content with a container that was just made anew, and whose health nobody knew.
        if not done.well or not self._healthy(self._container(release), end):
            raise self._ill(release, timeout)
        url = self._url(release)
        if not url:
            # Somebody took it out of the file: what stands in front of it is another service of the project.
            say("it is healthy, and has no port on this machine, so no sample request was sent")
            return ""
        say(f"it is healthy: {url}")
        key = None
        if release.workload.needs_key:
            file = release.folder / KEYS_FILE
            key = first_key(file.read_text("ascii", "replace"), str(file), release.rendering.secrets[0])
        send_sample(release.workload, url, key, say)
        return url

    def rollback(self, release: Release, say: Say) -> None:
        """See `Operator`: the file names the image of before, and Compose replaces the container."""
        # What was never well has no requests to finish, and may take all of its time to end.
        self._apply(release, say, "--timeout", str(PATIENCE))
        self.wait(release, release.workload.ready_in, say)

    def _require_version(self) -> None:
        said = self._compose.ask("version", "--short")
        if not said.well:
            raise EngineError("docker has no plugin for Compose here", remedy=_INSTALL)
        if version_of(said.out) < _OLDEST:
            oldest = ".".join(map(str, _OLDEST))
            raise EngineError(f"Docker Compose {said.out.strip()} is older than {oldest}", remedy=_INSTALL)

    def _context(self) -> str:
        """Return which engine it is, once it answers."""
        said = self._docker.ask("version", "--format", "{{.Server.Version}}")
        if not said.well:
            if not _NO_ENGINE.search(said.error):
                raise self._docker.refused(said, "reach its engine")
            raise EngineError("no Docker engine answers", remedy="start it, or choose another: docker context use NAME")
        return self._docker.ask("context", "inspect", "--format", "{{.Name}} ({{.Endpoints.docker.Host}})").out.strip()

    def _project(self, release: Release) -> Any:
        """Return what Compose makes of the file, which people may have edited."""
        said = self._compose.ask("config", "--format", "json", folder=release.folder)
        if said.well:
            return json.loads(said.out)
        if (missing := _NO_VALUE.search(said.error)) is not None:
            raise UsageError(
                f"{missing['name']} has no value: {missing['why'].strip()}",
                remedy=f"write {missing['name']}=… into {release.folder / '.env'}",
            )
        raise self._compose.refused(said, f"read {release.folder / FILE}", "correct it, or --force writes it anew")

    def _container(self, release: Release) -> str:
        """Return the id of the service's container; empty where there is none."""
        words = ("ps", "--all", "--quiet", release.workload.name)
        return self._compose.ask(*words, folder=release.folder).out.strip().partition("\n")[0]

    def _healthy(self, container: str, end: float) -> bool:
        """Whether a container is well, as soon as that is known; one that nobody asks is, while it runs."""
        while True:
            status = self._docker.ask("inspect", "--format", _HEALTH, container or "none").out.strip()
            if status != "starting" or time.monotonic() >= end:
                return status in ("healthy", "running")
            time.sleep(_PAUSE)

    def _in_place_of(self, container: str, release: Release) -> str:
        """Return whose service ends, where a file of the same project in another folder started it."""
        label = '{{index .Config.Labels "com.docker.compose.project.working_dir"}}'
        said = self._docker.ask("inspect", "--format", label, container or "none")
        folder = said.out.strip()
        if not said.well or folder in ("", str(release.folder), os.path.realpath(release.folder)):
            return ""
        return f"; it takes the place of what {folder} started: another --name, in a new folder, runs beside it"

    def _held(self, container: str) -> set[str]:
        """Return the ports of the machine that a container has while it runs."""
        said = self._docker.ask("inspect", "--format", "{{json .NetworkSettings.Ports}}", container or "none")
        bound = (json.loads(said.out) if said.well else None) or {}
        return {str(each["HostPort"]) for addresses in bound.values() for each in addresses or ()}

    def _url(self, release: Release) -> str:
        workload = release.workload
        said = self._compose.ask("port", workload.name, str(workload.port), folder=release.folder)
        host, _, port = said.out.strip().rpartition(":")
        # Compose 2 tells 0 for a port that is not published.
        if not said.well or not port.isdecimal() or port == "0":
            return ""
        return f"http://{LOOPBACK if host in ('0.0.0.0', '[::]') else host}:{port}/"

    def _refused(self, said: Said, release: Release) -> PackagerError:
        if _NO_ENGINE.search(said.out):
            return EngineError(
                "no Docker engine answers", remedy="start it, or choose another: docker context use NAME"
            )
        if _TAKEN.search(said.out):
            return UsageError(
                f"a port is taken on the engine's machine: {said.reason}",
                remedy=f"--publish PORT, or `ports` in {release.folder / FILE}",
            )
        if (folder := _NO_FOLDER.search(said.out)) is not None:
            return UsageError(
                f"the engine's machine has no {folder['path'].strip()}",
                remedy="; ".join((f"cd {quote(str(release.folder))}", *release.rendering.secrets)),
            )
        if _NO_GPU.search(said.out):
            remedy = "install NVIDIA's driver and container toolkit on its machine"
            return EngineError("the engine cannot give GPUs to containers", remedy=remedy)
        lines = (line for line in said.out.splitlines() if not _OF_PROGRESS.match(line.strip()))
        return self._compose.refused(msgspec.structs.replace(said, out="\n".join(lines)), "start it")

    def _ill(self, release: Release, timeout: float) -> PackagerError:
        """Return the error for a service that does not become healthy, with its log."""
        words = ("logs", "--no-color", "--no-log-prefix", "--tail", str(LOG_READ), release.workload.name)
        log = self._compose.ask(*words, folder=release.folder).out
        state = self._state(self._container(release))
        if state is None:
            return ill("its container is gone", log)
        return ill(why_it_hangs(log, timeout) if state.running else why_it_ended(state), log)

    def _state(self, container: str) -> State | None:
        """Return how a container is, or how it ended last; None where it is gone."""
        end = time.monotonic() + _SEEN_ENDING
        while True:
            said = self._docker.ask("inspect", "--format", "{{.RestartCount}} {{json .State}}", container or "none")
            if not said.well:
                return None
            restarts, _, text = said.out.partition(" ")
            found = json.loads(text)
            running = bool(found.get("Running")) and not found.get("Restarting")
            # How it ended is not told while it runs again, which is not for long.
            if not running or restarts == "0" or time.monotonic() >= end:
                code, memory = int(found.get("ExitCode") or 0), bool(found.get("OOMKilled"))
                return State(running=running, exit_code=code, out_of_memory=memory)
            time.sleep(_PAUSE)


def _require_keys(release: Release) -> None:
    """Refuse keys with which the server would not start: what runs ends before it does.

    Raises:
        UsageError: there are none, they are none that the server takes, or its user cannot read them.
    """
    if not release.workload.needs_key:
        return
    file, inside = release.folder / KEYS_FILE, f"cd {quote(str(release.folder))} && "
    remedy = f"{inside}{release.rendering.secrets[0]}"
    if not file.is_file():
        raise UsageError(f"its requests need a key, and there is no {file}", remedy=remedy)
    try:
        text, found = file.read_text("ascii", "replace"), file.stat()
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}", remedy="see who owns it") from None
    first_key(text, str(file), remedy)
    # Compose mounts it with its owner and mode; elsewhere than on Linux, who shares files decides.
    user, mode = release.workload.user, found.st_mode
    may = mode & stat.S_IROTH or found.st_uid == user or (mode & stat.S_IRGRP and found.st_gid == user)
    if sys.platform == "linux" and not may:
        raise UsageError(
            f"the container's user ({user}) cannot read {file}",
            remedy=f"{inside}chmod 644 {KEYS_FILE}; the mode of its folder keeps others out",
        )


def _without_layers(say: Say) -> Say:
    return lambda line: None if _OF_LAYERS.match(line.strip()) else say(line)


def _unheard(_: str) -> None:
    """Waiting starts with what `apply` did, and said, already."""
