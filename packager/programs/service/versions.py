"""The versions of a service, and the share of its requests that each one gets. Runs in the forwarder's container.

A service has one backend as long as there is no table: a file with a JSON list of `{"name", "backend", "percent"}`,
whose percentages sum to 100. Standard library only, Python 3.9 or newer.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
from contextlib import suppress

#: Asks for a version, in a request, and says which one has answered, in an answer: the header of Azure ML's endpoints.
VERSION_HEADER = b"azureml-model-deployment"

#: Seconds between two looks at where several versions are, and that one may take.
LOOK_TIME, FIND_TIME = 5.0, 4.0


class Version:
    """A backend, where it is at the moment, and its share.

    Attributes:
        name: of the version; empty for the one backend of a service without versions.
        backend: name of its container, or the file that says its port.
        percent: of the requests that ask for no version.
        address: where it was last found; None before that.
    """

    def __init__(self, name: str, backend: str, percent: int = 100) -> None:
        self.name, self.backend, self.percent = name, backend, percent
        self.address: str | None = None


class Routes:
    """What the table says.

    Args:
        table: the file; it need not be there.
        backend: of a service without versions.
    """

    def __init__(self, table: str, backend: str) -> None:
        self.table, self.backend = table, backend
        self.versions = {"": Version("", backend)}
        #: A look that began earlier must not end later: it would bring back what an update has just replaced.
        self.looking = asyncio.Lock()

    def read(self) -> None:
        """Read the table anew; what was known stays where it cannot be read, and a backend that stays is the same."""
        rows = self._rows()
        if rows is None:
            return
        known = {version.backend: version for version in self.versions.values()}
        found = {}
        for name, backend, percent in rows or [("", self.backend, 100)]:
            version = known.get(backend) or Version(name, backend)
            version.name, version.percent = name, percent
            found[name] = version
        self.versions = found

    def _rows(self) -> list[tuple[str, str, int]] | None:
        """Return what is in the table; nothing where there is none, None where it cannot be read."""
        try:
            with open(self.table, encoding="utf-8") as file:
                return [(str(row["name"]), str(row["backend"]), int(row["percent"])) for row in json.load(file)]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, KeyError, TypeError):
            return None

    async def look(self, port: int) -> None:
        """Read the table anew, and find all backends anew."""
        async with self.looking:
            self.read()
            await self._find(port)

    async def keep_up(self, port: int, pause: float = LOOK_TIME) -> None:
        """Find the backends of several versions anew every few seconds.

        One that ended and was started again has another address, and the old one may be another version's by now, which
        would answer in its place.
        """
        while True:
            await asyncio.sleep(pause)
            async with self.looking:
                if len(self.versions) > 1:
                    await self._find(port)

    async def _find(self, port: int) -> None:
        versions = tuple(self.versions.values())
        missing = set(versions)

        async def ask(version: Version) -> None:
            # A DNS that is slow to say no must not let whoever asked for `switch` (10 s) wait in vain.
            with suppress(asyncio.TimeoutError):
                if await asyncio.wait_for(find(version, port), FIND_TIME):
                    missing.discard(version)

        await asyncio.gather(*map(ask, versions))
        there = {version.address for version in versions if version not in missing}
        for version in missing:
            if version.address in there:
                version.address = None

    def pick(self, wanted: str | None) -> Version | None:
        """Return the version for a request: by chance, unless it asks for one; None where there is none of that name.

        Args:
            wanted: name that the request asks for; a service without versions does not look at it.
        """
        if "" in self.versions:
            return self.versions[""]
        if wanted is not None:
            return self.versions.get(wanted)
        versions = list(self.versions.values())
        return random.choices(versions, [version.percent for version in versions])[0]

    def has(self, version: Version) -> bool:
        """Return whether a version is one of the table still."""
        return self.versions.get(version.name) is version


async def find(version: Version, port: int) -> bool:
    """Ask the engine's DNS, or the file, where a backend is; what was known stays where there is no answer (False).

    Args:
        version: whose backend it is.
        port: on which it listens; 0 where the backend is a file.
    """
    with suppress(OSError, ValueError, IndexError):
        if port == 0:
            with open(version.backend, encoding="ascii") as file:
                version.address = f"127.0.0.1:{int(file.read().split()[0])}"
            return True
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(version.backend, port, family=socket.AF_INET, type=socket.SOCK_STREAM)
        version.address = str(found[0][4][0])
        return True
    return False


def wanted_version(headers: list[tuple[bytes, bytes]]) -> str | None:
    """Return the name of the version that a request asks for."""
    return next((value.decode("latin-1") for name, value in headers if name.lower() == VERSION_HEADER), None)


def marked(headers: list[tuple[bytes, bytes]], version: str) -> list[tuple[bytes, bytes]]:
    """Return the headers of an answer with the version that made it; as they are where there are no versions."""
    if not version:
        return headers
    return [each for each in headers if each[0].lower() != VERSION_HEADER] + [(VERSION_HEADER, version.encode())]
