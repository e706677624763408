"""The containers of one named service on the engine. Their labels and names are all the state that there is."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

from packager.errors import EngineError
from packager.serving.client import answers
from packager.serving.hosts.docker.container import (
    GRACE,
    HARDENED,
    engine_host,
    limits,
    published_on,
    start_failure,
    state_of,
)
from packager.serving.hosts.docker.volume import has_keys, mounted, put_keys
from packager.serving.hosts.forwarder import control_command, forwarder_command
from packager.serving.service import KeyPair, Publish, RunRequest, reachable_host
from packager.serving.status import IMAGE, ROLE, SERVICE, VARIABLES, Role, Seen, Status, Wanted, container_of, decide

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

#: Memory and processes of a forwarder: it holds at most 256 KiB of each request that it reads.
_FORWARDER_LIMITS: dict[str, Any] = {**limits("256m"), "pids_limit": 64}

_KEPT: Any = {"Name": "unless-stopped"}

_ROLES: tuple[Role, ...] = ("forwarder", "current", "next", "previous")


class ServiceContainers:
    """One service's containers and network.

    Args:
        client: of the engine.
        name: of the service.
    """

    def __init__(self, client: DockerClient, name: str) -> None:
        self.client, self.name = client, name

    def get(self, role: Role) -> Container | None:
        """Return the container of a role; None where there is none.

        Raises:
            EngineError: a container of that name is not ours.
        """
        import docker.errors

        name = container_of(self.name, role)
        try:
            found = self.client.containers.get(name)
        except docker.errors.NotFound:
            return None
        if found.labels.get(SERVICE) != self.name:
            raise EngineError(
                f"the container {name} is not of the service {self.name!r}", remedy=f"rename or remove {name}"
            )
        return found

    def start_forwarder(self, wanted: Wanted) -> Container:
        """Make the service's network, and start the container that owns its port.

        Raises:
            EngineError: the port is taken, or the engine refuses.
        """
        network = container_of(self.name, "forwarder")
        if not self.client.networks.list(names=[f"^{network}$"], filters={"label": f"{SERVICE}={self.name}"}):
            self.client.networks.create(network, driver="bridge", labels={SERVICE: self.name})
        publish = wanted.publish
        if publish.port == 0:
            # A port that the engine chooses would be another one after each restart of the engine: it chooses once.
            found = self._start_forwarder(wanted, publish)
            chosen = _bindings(found)[0]["HostPort"]
            found.remove(force=True, v=True)
            publish = Publish(container_port=publish.container_port, port=int(chosen), address=publish.address)
        return self._start_forwarder(wanted, publish)

    def _start_forwarder(self, wanted: Wanted, publish: Publish) -> Container:
        port = publish.container_port
        python, *words = forwarder_command(port, container_of(self.name, "current"), port)
        return self._start(
            "forwarder",
            RunRequest(reference=wanted.reference, name=container_of(self.name, "forwarder"), publish=publish),
            {
                "entrypoint": [python],
                "command": words,
                "ports": {f"{port}/tcp": (published_on(self.client, publish), publish.port or None)},
                # The image's check asks the backend, through the forwarder: that is another container's health.
                "healthcheck": {"test": ["NONE"]},
                **_FORWARDER_LIMITS,
            },
        )

    def start_backend(
        self,
        role: Role,
        reference: str,
        env: dict[str, str],
        memory: str | int | None,
        cpus: float | None,
        keys: KeyPair | None = None,
    ) -> Container:
        """Start a backend; it is started again by the engine only after `keep`.

        Raises:
            EngineError: the engine refuses.
        """
        request = RunRequest(
            reference=reference,
            name=container_of(self.name, role),
            publish=Publish(container_port=1, port=0),
            keys=keys,
        )
        options = {"environment": env, "labels": {VARIABLES: json.dumps(sorted(env))}, **limits(memory, cpus)}
        options |= mounted() if keys else {}
        return self._start(role, request, options)

    def _start(self, role: Role, request: RunRequest, options: dict[str, Any]) -> Container:
        import docker.errors

        labels = {SERVICE: self.name, ROLE: role, IMAGE: request.reference, **options.pop("labels", {})}
        network = container_of(self.name, "forwarder")
        try:
            container = self.client.containers.create(
                request.reference, name=request.name, labels=labels, network=network, **HARDENED, **options
            )
            if request.keys is not None:
                put_keys(container, request.keys)
            container.start()
        except docker.errors.APIError as error:
            self.remove(role)
            failure = start_failure(str(error.explanation or error), request)
            raise EngineError(f"{self.name} is Unschedulable: {failure.message}", remedy=failure.remedy) from None
        container.reload()
        return container

    def keep(self, *containers: Container) -> None:
        """Let the engine start them again whenever they end, and after its own restart."""
        for each in containers:
            each.update(restart_policy=_KEPT)

    def put_back(self, current: Container, following: Container) -> None:
        """Undo a switch, however far it came."""
        following.reload()
        if following.name == container_of(self.name, "current"):
            following.rename(container_of(self.name, "next"))
        current.reload()
        if current.name != container_of(self.name, "current"):
            current.rename(container_of(self.name, "current"))
        self.control("switch")
        self.remove("next")

    def control(self, *words: str) -> dict[str, Any]:
        """Ask the forwarder (see `packager/serving/control.py`); empty where it does not answer."""
        import docker.errors

        forwarder = self.get("forwarder")
        if forwarder is None:
            return {}
        with suppress(docker.errors.APIError, ValueError):
            done: Any = forwarder.exec_run(list(control_command(*words)))
            answer = json.loads(bytes(done.output))
            return answer if isinstance(answer, dict) else {}
        return {}

    def probe(self, role: Role, port: int) -> bool:
        """Ask a backend for its health, from the forwarder."""
        return self.control("probe", container_of(self.name, role), str(port)).get("status") == 200

    def remove(self, *roles: Role) -> None:
        """Remove containers at once; those that are not there are no error."""
        import docker.errors

        for role in roles or _ROLES:
            found = self.get(role)
            if found is not None:
                with suppress(docker.errors.NotFound):
                    found.remove(force=True, v=True)

    def remove_all(self) -> None:
        """Remove everything of the service; requests in flight are finished first."""
        forwarder = self.get("forwarder")
        if forwarder is not None:
            forwarder.stop(timeout=GRACE + 2)
        self.remove()
        for network in self.client.networks.list(filters={"label": f"{SERVICE}={self.name}"}):
            network.remove()

    def port(self) -> int | None:
        """Return the port of the server in its containers; None without a forwarder."""
        forwarder = self.get("forwarder")
        return None if forwarder is None else int(_port_key(forwarder).partition("/")[0])

    def status(self) -> Status | None:
        """Return the service as it is; None where there is none."""
        found = {role: self.get(role) for role in _ROLES}
        if not any(found.values()):
            return None
        current = found["current"] or found["next"] or found["previous"]
        url = self._url(found["forwarder"])
        runs = all(each is not None and each.status == "running" for each in (found["forwarder"], found["current"]))
        state, reason = decide(
            seen(found["forwarder"]),
            seen(found["current"]),
            seen(found["next"]),
            answers=bool(url) and runs and answers(url, timeout=5.0),
        )
        host = current.attrs["HostConfig"] if current is not None else {}
        return Status(
            name=self.name,
            state=state,
            reason=reason,
            image=current.labels.get(IMAGE, "") if current is not None else "",
            url=url,
            memory=int(host.get("Memory") or 0),
            cpus=int(host.get("NanoCpus") or 0) / 1e9,
            restarts=int(current.attrs.get("RestartCount") or 0) if current is not None else 0,
            created=str(current.attrs["Created"]) if current is not None else "",
            auth="key" if current is not None and has_keys(current) else "none",
        )

    def _url(self, forwarder: Container | None) -> str:
        bindings = _bindings(forwarder) if forwarder is not None else []
        if not bindings:
            return ""
        host = reachable_host(bindings[0]["HostIp"] or "0.0.0.0", engine_host(self.client))
        return f"http://{host}:{bindings[0]['HostPort']}/"


def seen(container: Container | None) -> Seen | None:
    """Return what the engine said of a container when it was last asked."""
    if container is None:
        return None
    values = container.attrs["State"]
    health = (values.get("Health") or {}).get("Status")
    return Seen(
        status=values.get("Status") or "",
        state=state_of(values),
        error=values.get("Error") or "",
        health=None if health == "none" else health,
        restarts=int(container.attrs.get("RestartCount") or 0),
        kept=(container.attrs["HostConfig"].get("RestartPolicy") or {}).get("Name") == _KEPT["Name"],
        age=max(time.time() - _seconds(values.get("StartedAt") or container.attrs["Created"]), 0.0),
    )


def variables_of(container: Container) -> dict[str, str]:
    """Return the variables that the user gave a backend. Only their names are in a label: values can be secrets."""
    names = set(json.loads(container.labels.get(VARIABLES, "[]")))
    pairs = (each.partition("=") for each in container.attrs["Config"].get("Env") or ())
    return {name: value for name, _, value in pairs if name in names}


def _port_key(forwarder: Container) -> str:
    return str(next(iter(forwarder.attrs["HostConfig"]["PortBindings"])))


def _bindings(forwarder: Container) -> list[dict[str, str]]:
    asked = forwarder.attrs["HostConfig"].get("PortBindings") or {}
    given = forwarder.attrs["NetworkSettings"]["Ports"] or {}
    return next((given.get(key) or list(values) for key, values in asked.items()), [])


def _seconds(moment: str) -> float:
    """Return a moment of the engine (RFC 3339, nanoseconds) in seconds since the epoch."""
    return datetime.fromisoformat(moment[:19] + "+00:00").timestamp()
