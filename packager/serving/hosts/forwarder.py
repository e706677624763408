"""Programs of ours that run by the Python of a packaged image: the commands with their text.

A container with a read-only root file system takes no files, so a program travels as an argument of `python -c`. It is
kept in the container's configuration, and so survives a restart of the engine.
"""

from __future__ import annotations

from packager.contract import ENVIRONMENT_PREFIX
from packager.resources import program

#: -I: nothing of the app or of the user's variables gets in between.
PYTHON = (f"{ENVIRONMENT_PREFIX}/bin/python", "-I", "-c")
#: -S: it needs no packages, and is started while somebody waits.
_QUICK = (f"{ENVIRONMENT_PREFIX}/bin/python", "-I", "-S", "-c")

# Makes the two modules that the forwarder imports, as if our package were there.
_WITH_MODULES = """\
import sys, types
for name in ("packager", "packager.programs", "packager.programs.service"):
    sys.modules[name] = types.ModuleType(name)
for name, text in (("messages", {messages!r}), ("versions", {versions!r})):
    name = "packager.programs.service." + name
    sys.modules[name] = types.ModuleType(name)
    exec(text, sys.modules[name].__dict__)
exec({forwarder!r}, {{"__name__": "__main__"}})
"""


def forwarder_command(listen: int, backend: str, port: int, table: str) -> tuple[str, ...]:
    """Return the command of the forwarder's container.

    Args:
        listen: port on which it takes requests.
        backend: name of the container that gets them.
        port: of that container.
        table: file in its container with the versions of the service, once there are some.
    """
    return (*PYTHON, forwarder_text(), str(listen), backend, str(port), table)


def forwarder_text() -> str:
    """Return the forwarder as one program."""
    texts = {name: program(f"service/{name}.py").read_text() for name in ("messages", "versions", "forwarder")}
    return _WITH_MODULES.format(**texts)


def control_command(*words: str) -> tuple[str, ...]:
    """Return a command that asks the forwarder, inside its container (see `packager/programs/service/control.py`)."""
    return (*_QUICK, program("service/control.py").read_text(), *words)
