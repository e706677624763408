"""Between v1's calls and packager's steps: errors of one become those of the other, and lines are printed."""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, NoReturn, ParamSpec, TypeVar

from packager.azureml.exceptions import AzureMLException, TrainingException, WebserviceException
from packager.errors import PackagerError, UsageError

P = ParamSpec("P")
T = TypeVar("T")

#: Held while something is registered, read or packaged. msgspec 0.22 looks at a type when it is first used, and two
#: threads that do so at once end the process (seen: a segmentation fault in `msgspec.convert`).
ONE_AT_A_TIME = threading.RLock()


class Lines:
    """Hears what steps do, and writes it to standard error: standard output has what v1 prints."""

    def step(self, text: str) -> None:
        """Write what is done."""
        tell(text)

    def detail(self, text: str) -> None:
        """Leave out what only matters when looking closely."""

    def warn(self, text: str) -> None:
        """Write what may be wrong."""
        tell(f"warning: {text}")


LINES = Lines()


def tell(text: str) -> None:
    """Write a line to standard error."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def say(text: str, end: str = "\n") -> None:
    """Print what v1 prints."""
    sys.stdout.write(f"{text}{end}")
    sys.stdout.flush()


@contextmanager
def raised_as(kind: type[AzureMLException] = WebserviceException) -> Iterator[None]:
    """Let errors of packager be v1's, with the same sentences.

    Args:
        kind: of exception.
    """
    try:
        yield
    except PackagerError as error:
        raise kind(str(error), inner_exception=error) from error


def raises(
    kind: type[AzureMLException] = WebserviceException, *, waits: bool = False
) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Return a decorator: `raised_as` for a whole function, while no other thread is in one.

    Args:
        kind: of exception.
        waits: it waits for a service, and others may go on meanwhile.
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        @functools.wraps(function)
        def called(*args: P.args, **kwargs: P.kwargs) -> T:
            with raised_as(kind), nullcontext() if waits else ONE_AT_A_TIME:
                return function(*args, **kwargs)

        return called

    return decorate


def training(what: str) -> NoReturn:
    """Refuse what trains.

    Raises:
        TrainingException: always.
    """
    raise TrainingException(
        f"{what} is training on Azure, which packager does not do: train where you like, and register the file with "
        "Model.register(workspace, model_path, model_name)"
    )


def not_here(what: str, remedy: str) -> NoReturn:
    """Refuse what only Azure has.

    Args:
        what: begins the sentence.
        remedy: what to do.

    Raises:
        AzureMLException: always.
    """
    raise AzureMLException(str(UsageError(f"{what} is Azure's, and packager has no Azure", remedy=remedy)))


def trains(name: str) -> type[Any]:
    """Return a class of training: whoever makes one is told that it is none of packager's."""

    def refuse(cls: type[Any], *args: Any, **kwargs: Any) -> NoReturn:
        training(name)

    return type(name, (), {"__new__": refuse, "__doc__": "Training: raises when it is made."})
