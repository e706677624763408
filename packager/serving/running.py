"""What runs on this machine and can be asked: named services, what `packager run` started, and a service at a port."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from urllib.parse import urljoin

import msgspec

from packager.contract import SCORE_PATH
from packager.errors import ServiceError, UsageError
from packager.serving.status import Status


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """A service that can be asked.

    Attributes:
        title: what it is, for people.
        url: its root, with a final `/`.
        service: its name, where it is a named one.
        log: a command that shows what it wrote; empty where there is none.
    """

    title: str
    url: str
    service: str | None = None
    log: str = ""

    @property
    def scoring_url(self) -> str:
        """Where requests are posted."""
        return urljoin(self.url, SCORE_PATH)


def choose_running(
    services: Sequence[Status], runs: Sequence[Running], usual: Running, answers: Callable[[str], bool]
) -> Running:
    """Return the one service that runs; where nothing does, the usual place, so that its silence is told.

    Args:
        services: the named ones, whatever their states.
        runs: what `packager run` started.
        usual: this machine at the spec's port.
        answers: whether something answers at a root.

    Raises:
        UsageError: there are several.
        ServiceError: there are named services alone, and none is healthy.
    """
    named = [
        Running(title=f"the service {each.name}", url=each.url, service=each.name)
        for each in services
        if each.state == "Healthy"
    ]
    found = [*named, *runs]
    if all(each.url != usual.url for each in found) and answers(usual.url):
        found.append(usual)
    if len(found) > 1:
        listed = "\n".join(f"    {each.title}: {each.scoring_url}" for each in found)
        service = next((each.service for each in found if each.service), None)
        more = f"--service {service}, or " if service else ""
        raise UsageError(f"{len(found)} services run here:\n{listed}", remedy=f"say which: {more}--url URL")
    if found:
        return found[0]
    if services:
        listed = ", ".join(f"{each.name} is {each.state}" for each in services)
        raise ServiceError(f"no service runs here: {listed}", remedy=f"`packager service show {services[0].name}`")
    return usual
