"""Arguments of v1's calls, held against their annotations: what cannot be meant is v1's exception, in a sentence."""

from __future__ import annotations

import functools
import inspect
import os
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from packager.azureml.exceptions import AzureMLException, WebserviceException

ClassT = TypeVar("ClassT", bound=type)

#: Annotation, without what is in its brackets → whether a value is one, and what it is called.
_SIMPLE: dict[str, tuple[Callable[[Any], bool], str]] = {
    "None": (lambda value: value is None, ""),
    "str": (lambda value: isinstance(value, str | os.PathLike), "a text"),
    "bytes": (lambda value: isinstance(value, bytes), "bytes"),
    "dict": (lambda value: isinstance(value, Mapping), "a dict"),
    "Mapping": (lambda value: isinstance(value, Mapping), "a dict"),
    "list": (lambda value: isinstance(value, Iterable), "a list"),
    "Iterable": (lambda value: isinstance(value, Iterable), "a list"),
    "Sequence": (lambda value: isinstance(value, Iterable), "a list"),
}
#: Classes of v1 that nothing else stands for.
_CLASSES = frozenset({"Workspace", "InferenceConfig", "ResourceConfiguration", "Image", "ContainerImageConfig"})
#: A part of a union: what is in brackets may have its own.
_PART = re.compile(r"[\w.]+(?:\[.*\])?")
_WORKSPACE = ": Workspace.from_config() returns one"


def held(
    kind: type[AzureMLException] = WebserviceException, *, but: tuple[str, ...] = ()
) -> Callable[[ClassT], ClassT]:
    """Return a decorator of a class: each of its public methods refuses arguments that are of another kind.

    Numbers are left to whoever reads them: v1 took texts for some, and whole numbers for others.

    Args:
        kind: of exception.
        but: methods that say it themselves.
    """

    def decorate(cls: ClassT) -> ClassT:
        for name, member in list(vars(cls).items()):
            special = name in ("__init__", "__new__")
            if name in but or (name.startswith("_") and not special):
                continue
            if isinstance(member, staticmethod | classmethod):
                setattr(cls, name, type(member)(_checked(member.__func__, kind)))
            elif inspect.isfunction(member):
                setattr(cls, name, _checked(member, kind))
        return cls

    return decorate


def _checked(function: Callable[..., Any], kind: type[AzureMLException]) -> Callable[..., Any]:
    @functools.cache
    def signature() -> inspect.Signature:
        return inspect.signature(function)

    @functools.wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        try:
            given = signature().bind(*args, **kwargs).arguments
        except TypeError:
            return function(*args, **kwargs)  # Python says what is missing
        for name, value in given.items():
            parameter = signature().parameters[name]
            if parameter.kind is not inspect.Parameter.VAR_POSITIONAL and (
                wrong := problem(name, value, str(parameter.annotation))
            ):
                raise kind(wrong)
        return function(*args, **kwargs)

    return called


def problem(name: str, value: Any, annotation: str) -> str:
    """Return in a sentence why a value cannot be what an annotation says; empty where it can, or nobody can tell. Pure.

    Args:
        name: of the parameter.
        value: that it is given.
        annotation: as it is written.
    """
    words = []
    for part in _PART.findall(annotation):
        called, inside = part.partition("[")[::2]
        if called in _CLASSES:
            if called in (each.__name__ for each in type(value).__mro__):
                return ""
            words.append(f"a{'n' if called[0] == 'I' else ''} {called}")
        elif called in _SIMPLE:
            fits, word = _SIMPLE[called]
            if fits(value):
                return _of_texts(name, value) if inside == "str]" and called != "dict" else ""
            words.append(word)
        else:
            return ""
    listed = f": {name}=[{name.removesuffix('s')}]" if words[0] == "a list" else ""
    more = _WORKSPACE if words[0] == "a Workspace" else listed
    return f"{name} must be {' or '.join(filter(None, words))}, and {type(value).__name__} is none{more}"


def entry(payload: Any, key: str) -> str:
    """Return what `serialize` wrote under a key.

    Raises:
        WebserviceException: it has none.
    """
    if key not in payload:
        raise WebserviceException(f"there is no {key!r} in it: deserialize() takes what serialize() returned")
    return str(payload[key])


def _of_texts(name: str, value: Any) -> str:
    """Return why something is no list of texts; one that can be read once only is believed."""
    if isinstance(value, list | tuple):
        wrong = next((each for each in value if not isinstance(each, str | os.PathLike)), None)
        if wrong is not None:
            return f"{name} must be a list of texts, and {type(wrong).__name__} in it is none"
    return ""
