"""Which model somebody means, as v1 says it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from packager.azureml.calling import ONE_AT_A_TIME
from packager.azureml.exceptions import WebserviceException
from packager.errors import PackagerError
from packager.workspace.base import NotRegisteredError

if TYPE_CHECKING:
    from packager.azureml.core.workspace import Workspace
    from packager.workspace.values import Version


def texts(pairs: Mapping[str, Any] | None) -> dict[str, str]:
    """Return tags or properties with their values as texts.

    Raises:
        WebserviceException: they are no mapping.
    """
    if pairs is not None and not isinstance(pairs, Mapping):
        raise WebserviceException("Tags must be a dict")
    return {str(name): str(value) for name, value in (pairs or {}).items()}


def filters(wanted: Sequence[Any] | Mapping[str, Any] | None) -> list[str]:
    """Return what v1 filters by (`['area', ['type', 'regression']]`) as packager has it (`area`, `type=regression`).

    One text is one key.

    Raises:
        WebserviceException: one is neither a text nor a pair of them.
    """
    return ["=".join(each) for each in wanted_tags(wanted)]


def wanted_tags(wanted: Sequence[Any] | Mapping[str, Any] | None) -> list[tuple[str, ...]]:
    """Return what v1 filters by, each as a key alone, or with its value.

    Raises:
        WebserviceException: one is neither a text nor a pair of them.
    """
    if isinstance(wanted, Mapping):
        wanted = list(wanted.items())
    found: list[tuple[str, ...]] = []
    for each in [wanted] if isinstance(wanted, str) else wanted or ():
        if isinstance(each, str):
            found.append((each,))
        elif isinstance(each, list | tuple) and len(each) == 2:
            found.append((str(each[0]), str(each[1])))
        else:
            raise WebserviceException(f"{each!r} is neither a tag nor a pair: tags=['area', ['type', 'regression']]")
    return found


def find_version(
    workspace: Workspace,
    name: str | None,
    id: str | None,
    tags: Sequence[Any] | None,
    properties: Sequence[Any] | None,
    version: int | None,
    run_id: str | None,
    framework: str | None,
) -> Version:
    """Return the latest version that has all that is asked for.

    Raises:
        WebserviceException: there is none.
    """
    models = workspace._facade.models
    try:
        with ONE_AT_A_TIME:
            if id is not None:
                return models.get(id)
            if name is not None and not (tags or properties or run_id or framework):
                return models.get(name, version)
            found = models.list(
                name, tags=filters(tags), properties=filters(properties), framework=framework, run_id=run_id
            )
    except NotRegisteredError as error:
        raise _missing(id or name, version, error) from None
    except PackagerError as error:
        raise WebserviceException(str(error), inner_exception=error) from error
    fitting = [each for each in found if version in (None, each.version)]
    if not fitting:
        raise _missing(id or name, version, None)
    return max(fitting, key=lambda each: (each.created, each.version))


def _missing(name: str | None, version: int | None, error: PackagerError | None) -> WebserviceException:
    wanted = f"id {name}" if name and ":" in name else f"name {name}" if name else "these tags"
    more = f" and version {version}" if version is not None else ""
    why = f" ({error.message})" if error is not None else ""
    return WebserviceException(
        f"ModelNotFound: Model with {wanted}{more} not found in provided workspace{why}", inner_exception=error
    )
