"""The tags of one repository: all of them, however many pages; and what they name, deleted where that is allowed.

Source: OCI distribution spec 1.1, "Listing Tags" and "Deleting Manifests".
"""

from __future__ import annotations

import re

import msgspec

from packager.decoding import json_decoder
from packager.errors import RegistryError, TemporaryError
from packager.http import MAX_DOCUMENT, Answer
from packager.registry.session import RegistrySession

#: Tags of one answer. Registries that have a lower limit keep to theirs, and say how to go on.
PAGE = 10_000
#: Pages that are asked for: far above any repository that works.
_MOST = 1000

_NEXT = re.compile(r'<([^<>]+)>\s*;(?:[^,]*;)?\s*rel="?next"?', re.IGNORECASE)


class _Tags(msgspec.Struct, frozen=True):
    tags: list[str] | None = None


#: Made when there is one thread: of several that decode a new type at once, one crashes (msgspec 0.22).
_TAGS = json_decoder(_Tags)


def list_tags(session: RegistrySession) -> tuple[str, ...]:
    """Return the tags of a repository, in the registry's order; none where there is no such repository.

    Raises:
        RegistryError: it refuses, or answers something else.
        TemporaryError: it does not answer, or not now.
    """
    found: list[str] = []
    url = session.url(f"tags/list?n={PAGE}")
    for _ in range(_MOST):
        answer = session.ask("GET", url, doing=f"the tags of {session.at.name} are not known")
        if answer.status == 404:
            return tuple(found)
        found += _tags_in(session, answer)
        following = _next_page(session, answer)
        if following is None:
            return tuple(found)
        url = following
    raise RegistryError(f"{session.at.registry} lists the tags of {session.at.name} without end")


def _tags_in(session: RegistrySession, answer: Answer) -> list[str]:
    at = session.at
    if answer.status in (401, 403):
        raise session.refusal(answer)
    if answer.status != 200:
        raise RegistryError(
            f"{at.registry} answers {answer.status} to the question for the tags of {at.name}{session.words(answer)}"
        )
    if len(answer.body) > MAX_DOCUMENT:
        raise RegistryError(f"{at.registry} lists more tags of {at.name} at once than {MAX_DOCUMENT} bytes hold")
    try:
        return _TAGS.decode(answer.body).tags or []
    except (msgspec.DecodeError, RecursionError):
        raise RegistryError(
            f"{at.registry} answers something else than the tags of {at.name}",
            remedy="a page to log in, or a proxy's, may stand in between: ask the registry itself",
        ) from None


def _next_page(session: RegistrySession, answer: Answer) -> str | None:
    found = _NEXT.search(answer.headers.get("Link", ""))
    return session.absolute(found[1]) if found else None


def delete_manifest(session: RegistrySession, digest: str) -> bool:
    """Delete a manifest, and with it all tags that name it; return whether it is gone.

    Registries may refuse it (405, or for want of rights), and most keep it from accounts that may push.

    Args:
        session: of the repository; its token needs not hold the right.
        digest: `sha256:…`; of a tag, registries of distribution 2 do not delete.
    """
    at = session.at
    own = session.beside(at, (f"repository:{at.repository}:pull,push,delete",), "delete from")
    try:
        answer = own.ask("DELETE", own.url(f"manifests/{digest}"), doing=f"{digest} is still there")
    except (RegistryError, TemporaryError):
        return False
    return answer.status in (200, 202, 204, 404)
