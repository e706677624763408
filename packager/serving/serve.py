"""A package, started on this machine for as long as a `with` block takes: what `run` and `test` do without Docker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from packager.serving.client import answers
from packager.serving.hosts.process.backend import Backend, bind, write_keys
from packager.serving.hosts.process.folders import run_folder
from packager.serving.hosts.process.package import Packaged
from packager.serving.service import (
    LOG_LINES,
    KeyPair,
    Publish,
    Service,
    failed,
    reachable_host,
    wait_until_healthy,
    why_it_ended,
)


@contextmanager
def serve_here(
    packaged: Packaged,
    publish: Publish,
    *,
    env: dict[str, str],
    keys: KeyPair | None,
    timeout: float,
    waiting: Callable[[float], None] = lambda _: None,
) -> Iterator[tuple[Service, Backend]]:
    """Run a package in its locked environment, and give the service as soon as it answers; at the end it is stopped.

    Args:
        packaged: what to run.
        publish: where it is reached.
        env: variables beside the image's own.
        keys: that its requests need; None where they need none.
        timeout: seconds until it must answer.
        waiting: is told the seconds so far.

    Raises:
        EngineError: the port is taken.
        ServiceError: it ended or did not answer in time; with the last lines of its log.
    """
    listening = bind(publish)
    with listening, run_folder() as folder:
        backend = Backend(folder / "backend")
        backend.lay_out(packaged)
        if keys is not None:
            write_keys(backend.keys, keys)
        address, port = listening.getsockname()[:2]
        url = f"http://{reachable_host(address, None)}:{port}/"
        try:
            process = backend.start(packaged, listening, env, tied=True)
            seconds = wait_until_healthy(backend, lambda: answers(url), timeout, waiting=waiting)
            yield Service(container_id=str(process.pid), name=packaged.title, url=url, seconds=seconds), backend
            backend.stop()
        finally:
            backend.remove()


def follow(backend: Backend, write: Callable[[bytes], None]) -> None:
    """Pass on what a server writes, from its start until it ends.

    Raises:
        ServiceError: it ended by itself.
    """
    for chunk in backend.tail(None, follow=True):
        write(chunk)
    raise failed(why_it_ended(backend.state()), backend.logs(LOG_LINES))
