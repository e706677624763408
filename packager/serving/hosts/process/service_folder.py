"""The folder of a service without Docker, and the processes that belong to it.

All that is remembered of a service is in its folder:

    service.json     where its port is, and the process of the forwarder
    forwarder.py     the forwarder, with its modules in it; forwarder.log
    current          port and number of the backend that gets the requests; the forwarder reads it
    kept             number of the backend that was the current one before the last update; it is ended
    stopped          is there while the service is stopped
    keys/            those that its requests need, as a mounted secret has them
    control          the forwarder's Unix socket
    backends/N/      files, log and backend.json of each backend: the current one, the kept one, that of an update
    traffic          the versions of the service with their shares, once it has some; the forwarder reads it
    versions/V/      `current`, `kept` and `backends` of a version; those of `default` are where they were before

Values of the user's variables are in no file: they can be secrets. An update takes them from the process that has them.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

from packager.errors import ServiceError, UsageError
from packager.programs.image.keys import NAMES
from packager.serving.client import answers
from packager.serving.hosts.process.backend import bind, write_keys
from packager.serving.hosts.process.package import PackageRequest
from packager.serving.hosts.process.process import Process
from packager.serving.hosts.process.service_backend import NamedBackend
from packager.serving.hosts.process.service_members import Members, own_folder
from packager.serving.hosts.process.service_records import (
    BackendRecord,
    ServiceRecord,
    changed_names,
    digest_in,
    values_in,
)
from packager.serving.keys import keys_for
from packager.serving.ports import reachable_host
from packager.serving.service import LOG_READ, KeyPair, Publish, State
from packager.serving.status import Before, Change, Seen, Status, decide, nothing_before
from packager.serving.traffic import VERSION_HEADER, shares_of, table_of, taken_over
from packager.storage.files import write_bytes
from packager.storage.reading import failure

#: Seconds for requests in flight at the end of a forwarder, which itself gives them 30.
_FORWARDER_GRACE = 32.0


class ServiceFolder(Members):
    """One service's folder, as `packager.serving.host.Deployment`.

    Args:
        name: of the service.
        version: of which the backends are; None for a service as a whole.
    """

    unit, spec = "process", "its spec"

    def source(self) -> Path:
        """Return the spec that its current backend was made of.

        Raises:
            ServiceError: the service is not there, or what is there cannot be read.
        """
        current = self.current()
        return Path((current.record.spec if current is not None else "") or self.record().spec)

    def first(self, request: PackageRequest) -> NamedBackend:
        """Make the folder, start the backend as the current one, and the forwarder.

        Raises:
            ContextError: the folder cannot be written, a file changed meanwhile, or the disk is full.
            EngineError: the port is taken.
        """
        package = request.package
        with bind(request.publish) as listening:
            address, port = listening.getsockname()[:2]
            try:
                self.folder.mkdir(mode=0o700, parents=True)
                self.own.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as error:
                raise failure("written", self.folder, error) from None
            if request.keys is not None:
                write_keys(self.key_folder, request.keys)
            backend = self.start_backend(package, request.env)
            backend.point()
            record = ServiceRecord(
                address=address,
                port=port,
                forwarder=self.start_forwarder(listening),
                spec=str(package.spec),
                target=package.target,
            )
            write_bytes(self.folder / "service.json", msgspec.json.encode(record))
        return backend

    def anew(self, request: PackageRequest) -> None:
        """Return None: whatever is deployed in place of it begins from nothing."""

    def replacement(self, change: Change, say: Callable[[str], None]) -> Callable[[], NamedBackend]:
        """Return what makes the package anew of its spec and starts it, with the variables that there are.

        Raises:
            ServiceError: a process of it is gone, or the values of its variables are.
            UsageError: an image or limits are given.
        """
        if change.reference or change.memory or change.cpus:
            raise UsageError(
                f"{self.name} runs without Docker: it takes no image and no limits",
                remedy="leave them out: what it runs is made anew of its spec; or delete it, and deploy the image",
            )
        current, service = self.current(), self.record()
        if current is None or not service.forwarder.running:
            raise ServiceError(f"a process of {self.name} is gone", remedy="deploy it again")
        old = current.record
        if not old.process.running and old.variables:
            raise ServiceError(
                f"{self.name} does not run, and the values of its variables ({', '.join(old.variables)}) went with it",
                remedy="deploy it again",
            )
        before = values_in(old)
        env = before | change.env

        def start_again() -> NamedBackend:
            assert change.remake is not None, "whoever updates a service without Docker can make its package"
            package = change.remake(Path(old.spec or service.spec), old.target or service.target)
            keys = keys_for(package, None, {}, env)
            if keys is not None and not self.key_folder.is_dir():
                write_keys(self.key_folder, keys)
            return self.start_backend(package, env, before)

        return start_again

    def retired(self, env: dict[str, str]) -> Callable[[], NamedBackend]:
        """Return what starts the backend again that was the current one before the last update.

        Raises:
            ServiceError: there is none, a process of the service is gone, or values of its variables are.
        """
        kept, current, service = self.kept(), self.current(), self.record()
        if kept is None or kept.record.launch is None:
            raise nothing_before(self.name, self.version)
        if current is None or not service.forwarder.running:
            raise ServiceError(f"a process of {self.name} is gone", remedy=f"`packager service start {self.name}`")
        now = values_in(current.record)
        # What the update changed had another value then, and no file has that.
        same = {name: value for name, value in now.items() if name not in current.record.changed}
        values = self._complete(kept.record, same | env, "rollback")
        return lambda: self.restart(kept, values, changed=changed_names(now, values))

    def halt(self) -> None:
        """End forwarder and backends; requests in flight are finished first."""
        write_bytes(self.folder / "stopped", b"")
        self.record().forwarder.stop(_FORWARDER_GRACE)
        for each in self._each():
            current = each.current()
            if current is not None:
                current.stop()

    def resume(self, env: dict[str, str]) -> NamedBackend:
        """Start both again.

        Raises:
            EngineError: the port is taken meanwhile.
            ServiceError: its backend is gone, or values of its variables are.
        """
        current, service = self.current(), self.record()
        if current is None or current.record.launch is None:
            raise ServiceError(f"nothing is left of {self.name} that could be started", remedy="deploy it again")
        values = self._complete(current.record, values_in(current.record) | env, "start")
        if self.version is not None and service.forwarder.running:  # another version may be answering
            current.stop()
            backend = self.restart(current, values, changed=current.record.changed)
            backend.point()
            return backend
        service.forwarder.stop(_FORWARDER_GRACE)
        current.stop()
        with bind(Publish(container_port=1, port=service.port, address=service.address)) as listening:
            backend = self.restart(current, values, changed=current.record.changed)
            backend.point()
            service = msgspec.structs.replace(service, forwarder=self.start_forwarder(listening))
            write_bytes(self.folder / "service.json", msgspec.json.encode(service))
        (self.folder / "stopped").unlink(missing_ok=True)
        return backend

    def _complete(self, record: BackendRecord, values: dict[str, str], verb: str) -> dict[str, str]:
        """Return the values of a backend's variables, of those that are known.

        Raises:
            ServiceError: one is not known.
        """
        missing = [name for name in record.variables if name not in values]
        if missing:
            again = "".join(f" -e {name}=…" for name in missing)
            which = f" --version {self.version}" if self.version is not None and verb != "start" else ""
            raise ServiceError(
                f"the values of {', '.join(missing)} went with the process of {self.title}, for no file has them",
                remedy=f"give them again: `packager service {verb} {self.name}{which}{again}`",
            )
        return {name: value for name, value in values.items() if name in record.variables}

    def clear(self) -> None:
        """Remove at once all backends but the current and the kept one."""
        current, kept = self.current(), self.kept()
        if current is not None:
            self.remove_backends(but={current.number, *((kept.number,) if kept is not None else ())})

    def keys(self) -> KeyPair | None:
        """Return the keys; None where its requests need none.

        Raises:
            ServiceError: they cannot be read.
        """
        backends = (each.current() for each in self._each())
        if not any(current is not None and current.record.auth for current in backends):
            return None
        try:
            texts = {name: (self.key_folder / name).read_text("ascii").strip() for name in NAMES}
        except OSError as error:
            raise ServiceError(f"the keys of {self.name} cannot be read: {error}", remedy="deploy it again") from None
        return KeyPair(primary=texts["primary"], secondary=texts["secondary"])

    def put_keys(self, pair: KeyPair) -> None:
        """Replace the keys."""
        write_keys(self.key_folder, pair)

    def remove(self) -> None:
        """Remove everything of the service; requests in flight are finished first."""
        if self.exists:
            self.record().forwarder.stop(_FORWARDER_GRACE)
        for each in self._all():
            each.drop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def versions(self) -> dict[str, int]:
        """Return the share of each version in percent; empty where the service has one backend and no versions.

        Raises:
            ServiceError: what is remembered of them cannot be read.
        """
        try:
            return shares_of((self.folder / "traffic").read_bytes())
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise failure("read", self.folder, error) from None

    def of(self, version: str) -> ServiceFolder:
        """Return the service as one of its versions, whether it is there or not."""
        return ServiceFolder(self.name, version)

    def _each(self) -> list[ServiceFolder]:
        return [self.of(version) for version in self.versions()] or [self]

    def _all(self) -> list[ServiceFolder]:
        """Return the service as each of its versions, also those that a killed deployment left."""
        with suppress(OSError):
            return [self, *(self.of(path.name) for path in sorted((self.folder / "versions").iterdir()))]
        return [self]

    def route(self, shares: Mapping[str, int]) -> bool:
        """Remember these shares, and tell the forwarder; return whether it has them."""
        table = table_of(shares, lambda version: str(own_folder(version) / "current"))
        write_bytes(self.folder / "traffic", table)
        return taken_over(self.forwarder.ask("switch"), shares)

    def join(self, request: PackageRequest) -> NamedBackend:
        """Start the backend of this version in a service that is there, with the service's keys.

        Raises:
            ContextError: the folder cannot be written, a file changed meanwhile, or the disk is full.
        """
        if request.keys is not None and not self.key_folder.is_dir():
            write_keys(self.key_folder, request.keys)
        try:
            self.own.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise failure("written", self.own, error) from None
        return self.start_backend(request.package, request.env)

    def drop(self) -> None:
        """Remove at once all backends of this version."""
        self.remove_backends()
        for name in ("current", "kept"):
            (self.own / name).unlink(missing_ok=True)
        if self.own != self.folder:
            shutil.rmtree(self.own, ignore_errors=True)

    def labels(self) -> tuple[dict[str, str], ...]:
        """Return the labels of the packages of its backends, those of all versions and kept ones among them."""
        return tuple(record.labels for record in self._records())

    def needs(self) -> tuple[str, ...]:
        """Return the environments and folders of models that its backends, ended ones too, are started with."""
        launches = (record.launch for record in self._records() if record.launch is not None)
        return tuple(path for launch in launches for path in (launch.prefix, *launch.volumes))

    def _records(self) -> Iterator[BackendRecord]:
        backends = (each.backend(number) for each in self._all() for number in each.numbers())
        return (backend.record for backend in backends if backend is not None)

    def status(self) -> Status | None:
        """Return the service as it is; None where there is none.

        Raises:
            ServiceError: what is remembered of it cannot be read.
        """
        if not self.exists:
            return None
        record, backend = self.record(), self.current()
        url = f"http://{reachable_host(record.address, None)}:{record.port}/"
        forwarder = _seen(record.forwarder, State(running=record.forwarder.running), kept=True)
        current = _seen(backend.record.process, backend.state(), kept=backend.record.healthy) if backend else None
        runs = current is not None and current.state.running and forwarder.state.running
        more = len(self.numbers()) - (self.kept() is not None)
        following = forwarder if more > 1 else None  # which one it is does not matter
        stopped = (self.folder / "stopped").exists()
        asks = {} if self.version is None else {VERSION_HEADER: self.version}
        well = runs and answers(url, timeout=5.0, headers=asks)
        if backend is not None and current is not None and not well:
            with suppress(OSError):
                current = msgspec.structs.replace(current, log=backend.logs(LOG_READ))
        state, reason = decide(forwarder, current, following, answers=well, stopped=stopped)
        if not record.forwarder.of_this_boot and not stopped:
            reason = f"this machine was started anew: `packager service start {self.name}` starts it again"
        return Status(
            name=self.name,
            state=state,
            reason=reason,
            image=backend.title if backend else "",
            url=url,
            created=backend.record.created if backend else "",
            auth="key" if backend and backend.record.auth else "none",
            digest=digest_in(backend.record) if backend else "",
            before=_before(self.kept()),
        )


def _before(kept: NamedBackend | None) -> Before | None:
    if kept is None:
        return None
    return Before(image=kept.title, digest=digest_in(kept.record), created=kept.record.created)


def _seen(process: Process, state: State, *, kept: bool) -> Seen:
    return Seen(
        status="running" if state.running else "exited",
        state=state,
        kept=kept,
        age=process.age() if state.running else 0.0,
    )
