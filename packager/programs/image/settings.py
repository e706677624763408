"""The settings that gunicorn gets in the image."""

from __future__ import annotations

import inspect
import os
import runpy
import sys
from pathlib import Path
from typing import Any, Dict

#: What gunicorn reads where no other file is named; ours is, so it falls to us to respect the user's.
USERS_FILE = "gunicorn.conf.py"

#: Our worker, as gunicorn's configuration names it.
OURS = f"{__name__.rpartition('.')[0]}.worker.Worker"

#: The parts of gunicorn's worker that ours builds on, with their parameters (gunicorn 20.1 to 27).
_PARTS = {
    "handle": ["self", "listener", "client", "addr"],
    "load_wsgi": ["self"],
    "notify": ["self"],
    "is_parent_alive": ["self"],
    "handle_abort": ["self", "sig", "frame"],
    "run": ["self"],
}


def settings(folder: str = ".") -> Dict[str, Any]:
    """Return the settings: name → value.

    Args:
        folder: the app's, which may have a configuration file of the user's; what that says goes before ours.
    """
    found: Dict[str, Any] = {}
    if (Path(folder) / USERS_FILE).is_file():
        found = runpy.run_path(str(Path(folder) / USERS_FILE))
    if not {"worker_class", "threads"} & set(found):
        worker = worker_class()
        if worker is not None:
            found["worker_class"] = worker
    if "control_socket" not in found:
        # gunicorn 25.1 and newer open one for their own command, which nobody has here; an older one ignores this.
        found.setdefault("control_socket_disable", True)
    # Most images ask for no keys, and what is here is compiled at every start.
    if "PACKAGER_AUTH" in os.environ:
        from packager.programs.image import keys

        if keys.wanted(os.environ):
            _guard(found)
    if found.get("worker_class") != OURS:
        _bound(found)
    return found


def _bound(found: Dict[str, Any]) -> None:
    """Put the limits of requests, which our worker keeps by itself, before one that is not ours."""
    from packager.programs.image.bounded import Bounded
    from packager.programs.image.scoring import body_limit
    from packager.programs.image.turns import longest_wait

    others_init, limits = found.get("post_worker_init"), (body_limit(os.environ), longest_wait(os.environ))

    def post_worker_init(worker: Any) -> None:
        worker.wsgi = Bounded(worker.wsgi, *limits)
        if others_init is not None:
            others_init(worker)

    found.update(post_worker_init=post_worker_init)


def _guard(found: Dict[str, Any]) -> None:
    """Put keys in front of whatever worker there is."""
    from packager.programs.image import keys

    store, users_fork, users_init = keys.load(os.environ), found.get("post_fork"), found.get("post_worker_init")

    def post_fork(server: Any, worker: Any) -> None:
        for name in keys.VARIABLES:
            os.environ.pop(name, None)
        if users_fork is not None:
            users_fork(server, worker)

    def post_worker_init(worker: Any) -> None:
        worker.wsgi = keys.Guard(worker.wsgi, store)
        if users_init is not None:
            users_init(worker)

    found.update(post_fork=post_fork, post_worker_init=post_worker_init)


def worker_class() -> Any:
    """Return our worker, or None where this gunicorn is not as it has to be; then the server's own works as ever.

    It is named, and not given: before gunicorn 23, settings are texts.
    """
    try:
        from gunicorn.config import Config
        from gunicorn.workers.sync import SyncWorker

        for name, parameters in _PARTS.items():
            there = list(inspect.signature(getattr(SyncWorker, name)).parameters)
            if there != parameters:
                raise TypeError(f"SyncWorker.{name} takes {there}")
        from packager.programs.image.worker import Worker

        name = OURS
        # What gunicorn makes of it is seen here, where it can still be done without, and not when it starts.
        config = Config()
        config.set("worker_class", name)
        if config.worker_class is not Worker or not config.worker_class_str:
            raise TypeError(f"worker_class is taken for {config.worker_class!r}")
    except Exception as error:
        sys.stderr.write(
            f"packager: this gunicorn is not one that our worker knows ({error!r}); its own worker is used: health does"
            " not answer while a request is scored\n"
        )
        return None
    return name
