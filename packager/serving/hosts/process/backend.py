"""One server of a package on this machine: a folder with its files, its log, and how it ended."""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import msgspec

from packager.context.walk import Root
from packager.context.writing import write_files
from packager.contract import AUTH_LABEL
from packager.errors import EngineError
from packager.programs.image.keys import KEYS_FILE, NAMES
from packager.resources import program
from packager.serving.hosts.process.package import LocalPackage
from packager.serving.hosts.process.places import Places, command, environment, files, volumes
from packager.serving.hosts.process.process import Process, start
from packager.serving.service import GRACE, LOOPBACK, KeyPair, Publish, State
from packager.storage.locks import hold
from packager.storage.models import Store
from packager.storage.reading import failure

_KEEPER = program("child/keeper.py")

#: Bytes of a log's end in which its last lines are looked for.
_TAIL = 64 * 1024


def bind(publish: Publish) -> socket.socket:
    """Return a socket that has a port of this machine; nobody is let in yet.

    Raises:
        EngineError: the port is taken, or may not be used.
    """
    address = publish.address or LOOPBACK
    found = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((address, publish.port))
        if publish.port:
            # Two may be bound to one port as long as neither listens; whoever is second is told here.
            found.listen(1024)
    except OSError as error:
        found.close()
        if error.errno == errno.EADDRINUSE:
            raise EngineError(
                f"port {publish.port} is taken on this machine", remedy="choose another one, or let it be chosen: -p 0"
            ) from None
        raise EngineError(f"{address}:{publish.port} cannot be listened on: {error.strerror}") from None
    return found


def write_keys(folder: Path, pair: KeyPair) -> None:
    """Write keys as a mounted secret has them: a file for each, which only this user reads.

    Raises:
        ContextError: they cannot be written.
    """
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        for name in NAMES:
            new = folder / f".{name}"
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(getattr(pair, name))
            new.replace(folder / name)
    except OSError as error:
        raise failure("written", folder, error) from None


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """How a server is started: what follows from its package, but for the socket and the user's variables.

    Attributes:
        words: the program and its arguments; `--port=0` among them stands for the port.
        environ: variables of the package.
        folder: it works in.
        prefix: the environment, which is there only as long as somebody uses it.
        volumes: folders of models, which are there likewise.
    """

    words: tuple[str, ...]
    environ: dict[str, str]
    folder: str
    prefix: str
    volumes: tuple[str, ...] = ()


class Backend:
    """A server in a folder of its own, as `packager.serving.service.Server`.

    Args:
        folder: of it; made by `lay_out`.
        keys: folder with those that its requests need, where there are any; they may change while it runs.
    """

    def __init__(self, folder: Path, keys: Path | None = None) -> None:
        self.folder, self.keys = folder, keys or folder / "keys"
        self.log_file = folder / "log"
        self.process: Process | None = None

    def lay_out(self, package: LocalPackage) -> None:
        """Write models and app as they are in the image; models are links to the store, or to where they lie.

        Raises:
            ContextError: a file changed since the plan was made; the disk is full.
        """
        places = self._places(package)
        root = self.folder / "root"
        try:
            for each in (self.folder, root, Path(places.home)):
                each.mkdir(mode=0o700, parents=True)
            found, folders = files(package.plan, places)
            write_files(found, folders, Root.of(package.root), os.fsencode(root), Store())
            for path, folder in volumes(package.plan).items():
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).symlink_to(folder)
        except OSError as error:
            raise failure("written", self.folder, error) from None

    def launch(self, package: LocalPackage) -> Launch:
        """Return how the server of a package is started here."""
        places = self._places(package)
        keys = {KEYS_FILE: str(self.keys)} if package.labels.get(AUTH_LABEL) == "key" else {}
        return Launch(
            words=command(package.plan, places, 0),
            environ=environment(package.plan, places, keys),
            folder=places.app_root,
            prefix=places.prefix,
            volumes=tuple(volumes(package.plan).values()),
        )

    def start(
        self, launch: Launch, held: int, listening: socket.socket, extra: dict[str, str], *, tied: bool
    ) -> Process:
        """Start the server on a socket, which is closed here.

        Args:
            launch: how; its package was laid out.
            held: descriptor that keeps `store gc` from the environment.
            listening: where it takes requests.
            extra: the user's variables; none of them takes the place of the keys.
            tied: it ends when this process does.
        """
        port = listening.getsockname()[1]
        keeper = (sys.executable, "-I", "-S", str(_KEEPER), str(listening.fileno()), str(self.folder / "exit"))
        words = (f"--port={port}" if each == "--port=0" else each for each in launch.words)
        keys = {name: value for name, value in launch.environ.items() if name == KEYS_FILE}
        with listening, _new(self.log_file) as log, _held(launch.volumes) as models:
            self.process = start(
                (*keeper, "goes" if tied else "stays", *words),
                environ={**launch.environ, **extra, **keys},
                folder=Path(launch.folder),
                log=log,
                descriptors=(listening.fileno(), held, *models),
            )
        return self.process

    def state(self) -> State:
        """Return its state now."""
        if self.process is not None and self.process.running:
            return State(running=True)
        try:
            code = int(json.loads((self.folder / "exit").read_text())["code"])
        except (OSError, ValueError, KeyError):
            code = 137  # whoever should have written it down was killed, too
        return State(running=False, exit_code=code)

    def logs(self, lines: int) -> str:
        """Return the last lines that it wrote, to standard output and standard error."""
        return b"".join(self.tail(lines)).decode(errors="replace")

    def tail(self, lines: int | None, *, follow: bool = False) -> Iterator[bytes]:
        """Give what it wrote: its last lines, or all; and what it writes until it ends."""
        with self.log_file.open("rb") as file:
            if lines is not None:
                file.seek(max(file.seek(0, os.SEEK_END) - _TAIL, 0))
                yield b"".join(file.read().splitlines(keepends=True)[-lines:])
            while True:
                ended = not follow or not self.state().running  # before the read: then nothing more can come
                while piece := file.read(_TAIL):
                    yield piece
                if ended:
                    return
                time.sleep(0.2)

    def stop(self, grace: float = GRACE) -> None:
        """Let it finish the requests in flight, and end; after so many seconds end it."""
        if self.process is not None:
            self.process.stop(grace)

    def remove(self) -> None:
        """End it at once if it still runs, and remove its files."""
        if self.process is not None:
            self.process.stop(0.5)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _places(self, package: LocalPackage) -> Places:
        return Places(root=str(self.folder / "root"), prefix=str(package.prefix), home=str(self.folder / "home"))


@contextmanager
def _held(folders: Sequence[str]) -> Iterator[tuple[int, ...]]:
    """Give descriptors that keep folders from `store gc`, for a process that inherits them."""
    descriptors: list[int] = []
    try:
        for folder in folders:
            descriptors.append(hold(Path(folder)))
        yield tuple(descriptors)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _new(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600), "ab")
