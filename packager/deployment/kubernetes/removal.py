"""What files leave behind in a cluster when they are not made any more: applying never deletes. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from packager.deployment.text import shell_word

#: The parts of a file that say what it is, as the templates write them.
_KIND = re.compile(r"^kind: (\S+)$", re.MULTILINE)
_NAME = re.compile(r"^metadata:\n  name: (\S+)\n  namespace: (\S+)$", re.MULTILINE)


def removal(texts: Iterable[str]) -> tuple[str, ...]:
    """Return the commands that take the objects of files out of the cluster, an object each.

    Args:
        texts: of files that are not made any more; one that is not as packager wrote it says nothing.
    """
    commands = []
    for text in texts:
        kind, name = _KIND.search(text), _NAME.search(text)
        if kind is not None and name is not None and kind[1] != "Kustomization":
            words = (kind[1].lower(), name[1].strip('"'), "--namespace", name[2].strip('"'))
            commands.append(f"kubectl delete {' '.join(map(shell_word, words))}")
    return tuple(commands)
