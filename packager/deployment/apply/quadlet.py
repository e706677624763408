"""systemd and Podman put a unit into force: the system's where root asks, else the user's."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

from packager.deployment.apply.client import PATIENCE, Client, Say, require_free_port, version_of
from packager.deployment.apply.ill import ill
from packager.deployment.apply.sample import first_key, send_sample
from packager.deployment.quadlet import keys_name
from packager.deployment.workload import Release
from packager.errors import EngineError, PackagerError, UsageError
from packager.progress import working
from packager.serving.service import LOG_READ, LOOPBACK, State, why_it_ended, why_it_hangs
from packager.storage.files import write_bytes

_INSTALL = "install Podman 5 or newer (podman.io/docs/installation)"
#: The first whose units can wait for what is healthy.
_OLDEST = (5,)

#: Where distributions have Podman's generator.
_GENERATORS = ("/usr/libexec/podman/quadlet", "/usr/lib/podman/quadlet")

_PORT = re.compile(r"(?m)^PublishPort=(?:(?P<host>[0-9.]+|\[[0-9a-fA-F:]+\]):)?(?P<port>[0-9]+):[0-9]+\s*$")

#: Seconds between two looks.
_PAUSE = 0.5
#: Restarts after which a service that has ended is not waited for any longer: the first when it is seen to have ended,
#: as it is for some seconds; the other where nobody sees that.
_RESTARTS, _RESTARTS_UNSEEN = 1, 4

_EXITED = re.compile(r"Main process exited, code=\w+, status=(\d+)")


class Quadlet:
    """systemd with Podman, as `packager.deployment.workload.Operator`."""

    def __init__(self) -> None:
        whose = () if os.geteuid() == 0 else ("--user",)
        no_systemd = "use a machine that systemd runs; --to compose does without"
        self._podman = Client("podman", install=_INSTALL)
        self._systemctl = Client("systemctl", *whose, install=no_systemd)
        self._journal = Client("journalctl", *whose, install=no_systemd)
        self._user = bool(whose)
        #: What was logged before is of what ran before.
        self._since = f"@{int(time.time())}"

    @property
    def units(self) -> Path:
        """The folder in which systemd finds units of this kind."""
        if not self._user:
            return Path("/etc/containers/systemd")
        return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "containers/systemd"

    def apply(self, release: Release, say: Say) -> None:
        """See `Operator`: what is missing is told, and what is about to change is named, before anything is."""
        self._require_version()
        self._require_systemd()
        self._require_keys(release)
        files = [each for each in release.files if each.endswith((".container", ".image"))]
        texts = {each: (release.folder / each).read_bytes() for each in files}
        self._check(release)
        ports = [f"{each['host'] or '*'}:{each['port']}" for text in texts.values() for each in _ports(text)]
        unit = _unit(release)
        whose = "this user's" if self._user else "the system's"
        say(f"{whose} systemd, unit {unit} in {self.units}, ports {', '.join(ports) or '(none)'}")
        held = self._held(unit)
        for each in ports:
            if each.rpartition(":")[2] not in held:
                require_free_port(each, "--publish PORT, or `PublishPort` in the unit")
        try:
            self.units.mkdir(parents=True, exist_ok=True)
            for name, text in texts.items():
                write_bytes(self.units / name, text)
        except OSError as error:
            raise EngineError(f"{self.units} cannot be written: {error.strerror}", remedy="see who owns it") from None
        for words in (("daemon-reload",), ("reset-failed", unit), ("restart", "--no-block", unit)):
            say(f"  systemctl {' '.join(words)}")
            done = self._systemctl.ask(*words)
            if not done.well and words[0] != "reset-failed":  # of a unit that was never there
                raise self._systemctl.refused(done, f"do `{' '.join(words)}`")

    def wait(self, release: Release, timeout: float, say: Say) -> str:
        """See `Operator`: a unit counts as started when its container is healthy."""
        unit, end = _unit(release), time.monotonic() + timeout
        with working("waiting until it is healthy"):
            while (state := self._state(unit)).get("ActiveState") != "active":
                ended = _has_ended(state)
                if ended or time.monotonic() >= end:
                    raise self._ill(release, None if ended else timeout)
                time.sleep(_PAUSE)
        url = self._url(release)
        if not url:
            say("it is healthy, and has no port on this machine, so no sample request was sent")
            return ""
        say(f"it is healthy: {url}")
        key = None
        if release.workload.needs_key:
            name = keys_name(release.workload.name)
            said = self._podman.ask("secret", "inspect", "--showsecret", "--format", "{{.SecretData}}", name)
            key = first_key(said.out, f"Podman's secret {name}", release.rendering.secrets[0])
        send_sample(release.workload, url, key, say)
        return url

    def rollback(self, release: Release, say: Say) -> None:
        """See `Operator`: the unit names the image of before, and is started anew."""
        # What was never well has no requests to finish, and may take all of its time to end.
        self._podman.ask("stop", "--ignore", "--time", str(PATIENCE), release.workload.name)
        self.apply(release, say)
        self.wait(release, release.workload.ready_in, say)

    def _require_version(self) -> None:
        said = self._podman.ask("version", "--format", "{{.Client.Version}}")
        if version_of(said.out) < _OLDEST:
            raise EngineError(f"Podman {said.out.strip() or said.reason} is older than {_OLDEST[0]}", remedy=_INSTALL)

    def _require_systemd(self) -> None:
        said = self._systemctl.ask("show", "--property", "Version", "--value")
        if not said.well:
            raise EngineError(
                f"systemd does not answer: {said.reason}",
                remedy="log in as the user whose service it is to be (`machinectl shell`); --to compose does without",
            )

    def _require_keys(self, release: Release) -> None:
        name = keys_name(release.workload.name)
        if release.workload.needs_key and not self._podman.ask("secret", "inspect", name).well:
            raise UsageError(
                f"its requests need a key, and Podman has no secret {name}", remedy=release.rendering.secrets[0]
            )

    def _check(self, release: Release) -> None:
        """Let Podman's generator read the files, which people may have edited."""
        generator = next((each for each in _GENERATORS if os.access(each, os.X_OK)), None)
        if generator is None:
            return
        words = ("QUADLET_UNIT_DIRS=" + str(release.folder), generator, "-dryrun", "-no-kmsg-log")
        said = Client("env", install=_INSTALL).ask(*words)
        if not said.well:
            raise EngineError(
                f"Podman's generator does not take the unit: {said.reason}", remedy=f"correct it in {release.folder}"
            )

    def _state(self, unit: str) -> dict[str, str]:
        said = self._systemctl.ask("show", unit, "--property", "ActiveState,SubState,NRestarts")
        return dict(line.split("=", 1) for line in said.out.splitlines() if "=" in line)

    def _held(self, unit: str) -> set[str]:
        """Return the ports of the machine that the service has while it runs: those of the unit that is in force."""
        if self._state(unit).get("ActiveState") not in ("active", "activating", "reloading"):
            return set()
        file = self.units / f"{unit.removesuffix('.service')}.container"
        return {each["port"] for each in _ports(file.read_bytes())} if file.is_file() else set()

    def _url(self, release: Release) -> str:
        said = self._podman.ask("port", release.workload.name, str(release.workload.port))
        host, _, port = said.out.strip().partition("\n")[0].rpartition(":")
        if not said.well or not port.isdecimal():
            return ""
        return f"http://{LOOPBACK if host == '0.0.0.0' else host}:{port}/"

    def _ill(self, release: Release, timeout: float | None) -> PackagerError:
        """Return the error for a service that does not become healthy, with its log."""
        said = self._log("--unit", _unit(release))
        # Of the container alone; where none was started, what Podman and systemd say of that.
        log = self._log(f"CONTAINER_NAME={release.workload.name}") or said
        if timeout is not None:
            return ill(why_it_hangs(log, timeout), log)
        codes = _EXITED.findall(said)
        return ill(why_it_ended(State(running=False, exit_code=int(codes[-1]) if codes else 0)), log)

    def _log(self, *which: str) -> str:
        words = ("--since", self._since, "--lines", str(LOG_READ), "--output", "cat", "--no-pager", "--quiet")
        said = self._journal.ask(*which, *words)
        return "\n".join(line for line in said.out.splitlines() if line.strip())


def _has_ended(state: dict[str, str]) -> bool:
    """Whether a service ended, and did so before."""
    restarts = int(state.get("NRestarts") or 0)
    waits = state.get("SubState") == "auto-restart"
    return state.get("ActiveState") == "failed" or restarts >= (_RESTARTS if waits else _RESTARTS_UNSEEN)


def _unit(release: Release) -> str:
    return f"{release.workload.name}.service"


def _ports(text: bytes) -> list[re.Match[str]]:
    return list(_PORT.finditer(text.decode(errors="replace")))
