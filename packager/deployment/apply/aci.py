"""az puts a container group into force. Secrets are filled in on the way: into a file that only this user can read."""

from __future__ import annotations

import http.client
import json
import os
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from packager.deployment.aci import FILE, filled, places
from packager.deployment.apply.client import Client, Say
from packager.deployment.apply.ill import ill
from packager.deployment.apply.sample import send_sample
from packager.deployment.workload import Release
from packager.errors import EngineError, PackagerError, UsageError
from packager.programs.image.keys import VARIABLES
from packager.progress import working
from packager.serving.service import LOG_READ, State, why_it_ended, why_it_hangs

_INSTALL = "install Azure's command line (learn.microsoft.com/cli/azure/install-azure-cli)"

#: Seconds between two looks, and ends after which a service is not waited for any longer.
_PAUSE, _RESTARTS = 5.0, 2


class ContainerInstances:
    """Azure's command line, as `packager.deployment.workload.Operator`.

    Args:
        pause: seconds between two looks.
    """

    def __init__(self, pause: float = _PAUSE) -> None:
        self._az, self._pause = Client("az", install=_INSTALL), pause

    def apply(self, release: Release, say: Say) -> None:
        """See `Operator`: what is missing is told, and what is about to change is named, before anything is."""
        account, group = self._account(), self._group()
        text = (release.folder / FILE).read_text("utf-8")
        values = _values(places(text), release, os.environ)
        name = release.workload.name
        say(f"Azure's subscription {account}, resource group {group}, container group {name}")
        with _readable_by_us(filled(text, values)) as path:
            words = ("container", "create", "--resource-group", group, "--file", str(path), "--output", "none")
            done = self._az.run(*words, say=say)
        if not done.well:
            raise self._az.refused(done, f"make the container group {name}")

    def wait(self, release: Release, timeout: float, say: Say) -> str:
        """See `Operator`."""
        group, end = self._group(), time.monotonic() + timeout
        with working("waiting until it is healthy"):
            while not (_runs(shown := self._show(group, release)) and _answers(_url(shown, release))):
                view = _view(shown, release.workload.name)
                ended = (view.get("restartCount") or 0) >= _RESTARTS
                if ended or time.monotonic() >= end:
                    raise self._ill(group, release, view, None if ended else timeout)
                time.sleep(self._pause)
        url = _url(shown, release)
        say(f"it is healthy: {url}")
        key = os.environ.get(VARIABLES[0]) if release.workload.needs_key else None
        send_sample(release.workload, url, key, say)
        return url

    def rollback(self, release: Release, say: Say) -> None:
        """See `Operator`: the file names the image of before, and Azure starts the group anew."""
        self.apply(release, say)
        self.wait(release, release.workload.ready_in, say)

    def _account(self) -> str:
        said = self._az.ask("account", "show", "--output", "json")
        if not said.well:
            raise EngineError("az is not logged in", remedy="az login")
        return str(json.loads(said.out).get("name", "?"))

    def _group(self) -> str:
        """Return the resource group: az's own default, which it keeps or gets from its environment."""
        group = os.environ.get("AZURE_DEFAULTS_GROUP", "")
        if not group:
            said = self._az.ask("config", "get", "defaults.group", "--query", "value", "--output", "tsv")
            group = said.out.strip() if said.well else ""
        if not group:
            raise UsageError(
                "az has no default resource group, so it is not known where the service is to be",
                remedy="az config set defaults.group=NAME, or AZURE_DEFAULTS_GROUP in the environment",
            )
        if not self._az.ask("group", "show", "--name", group, "--output", "none").well:
            raise UsageError(
                f"there is no resource group {group}, or it is not to be seen by this account",
                remedy=f"az group create --name {group} --location LOCATION; az account set --subscription NAME",
            )
        return group

    def _show(self, group: str, release: Release) -> Any:
        words = ("container", "show", "--resource-group", group, "--name", release.workload.name, "--output", "json")
        said = self._az.ask(*words)
        if not said.well:
            raise self._az.refused(said, "show the container group")
        return json.loads(said.out)

    def _ill(self, group: str, release: Release, view: Any, timeout: float | None) -> PackagerError:
        name = release.workload.name
        words = ("container", "logs", "--resource-group", group, "--name", name, "--container-name", name)
        log = "\n".join(self._az.ask(*words).out.splitlines()[-LOG_READ:])
        events = [str(each.get("message", "")) for each in view.get("events") or ()]
        if timeout is None:
            state = view.get("previousState") or view.get("currentState") or {}
            return ill(why_it_ended(State(running=False, exit_code=int(state.get("exitCode") or 0))), log)
        return ill(why_it_hangs(log, timeout), log or "\n".join(events))


def _values(names: tuple[str, ...], release: Release, environ: Mapping[str, str]) -> dict[str, str]:
    """Return what is to be filled in.

    Raises:
        UsageError: a variable has no value.
    """
    missing = [name for name in names if not environ.get(name)]
    if missing:
        known = [each for each in release.rendering.secrets if any(f" {name}=" in each for name in missing)]
        raise UsageError(
            f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not set, and to be filled into {FILE}",
            remedy="; ".join(known) or f"export {missing[0]}=…",
        )
    return {name: environ[name] for name in names}


@contextmanager
def _readable_by_us(text: str) -> Iterator[Path]:
    """Give a file with a text, which nobody else can read, and remove it at the end of the block."""
    descriptor, name = tempfile.mkstemp(prefix="packager-", suffix=".yaml")
    path = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        yield path
    finally:
        path.unlink(missing_ok=True)


def _view(shown: Any, name: str) -> Any:
    for each in shown.get("containers") or ():
        if each.get("name") == name:
            return each.get("instanceView") or {}
    return {}


def _runs(shown: Any) -> bool:
    """Whether all containers of a group run, and Azure sees the group as running."""
    views = [each.get("instanceView") or {} for each in shown.get("containers") or ()]
    running = all((each.get("currentState") or {}).get("state") == "Running" for each in views)
    return bool(views) and running and (shown.get("instanceView") or {}).get("state") == "Running"


def _answers(url: str) -> bool:
    """Ask for its health once, from here: Azure keeps what its own probes see to itself."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == http.HTTPStatus.OK)
    except (OSError, http.client.HTTPException):
        return False


def _url(shown: Any, release: Release) -> str:
    address = shown.get("ipAddress") or {}
    tls = release.workload.service.tls
    host = (
        (release.wishes.host or tls.cname if tls is not None else "") or address.get("fqdn") or address.get("ip") or ""
    )
    if tls is not None:
        return f"https://{host}/"
    return f"http://{host}:{release.workload.port}/"
