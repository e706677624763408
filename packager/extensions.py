"""What installed packages add: the entry points of the groups `packager.targets` and `packager.checks`.

Nothing is looked for where the answer is known without: the metadata of all installed packages takes a while to read.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

from packager.errors import PackagerError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

#: Entry points that name a package of Python with a folder `templates` that has `<target>.toml` files; none of its
#: code is run for them.
TARGETS = "packager.targets"
#: Entry points that name a function: a spec's file → findings.
CHECKS = "packager.checks"


def extensions(group: str) -> tuple[EntryPoint, ...]:
    """Return the entry points of a group, by name."""
    from importlib.metadata import entry_points

    return tuple(sorted(entry_points(group=group), key=lambda each: (each.name, each.value)))


def title(extension: EntryPoint) -> str:
    """Return an entry point's name with the distribution that has it, for messages."""
    dist = extension.dist
    return f"{extension.name!r} of {f'{dist.name} {dist.version}' if dist is not None else 'an installed package'}"


@functools.cache
def target_folders() -> dict[Path, str]:
    """Return each folder with targets of an installed package → its title. Looked for once a process.

    Raises:
        PackagerError: an entry point names no package, or one without such a folder.
    """
    from importlib.util import find_spec

    folders = {}
    for each in extensions(TARGETS):
        try:
            found = find_spec(each.module)
        except (ImportError, ValueError, AttributeError) as error:
            raise _wrong(each, str(error)) from None
        places = (found.submodule_search_locations or ()) if found is not None else ()
        folder = next((path for place in places if (path := Path(place) / "templates").is_dir()), None)
        if folder is None:
            raise _wrong(each, f"{each.module} is no package with a folder `templates`")
        folders[folder] = title(each)
    return folders


def _wrong(extension: EntryPoint, reason: str) -> PackagerError:
    package = extension.dist.name if extension.dist is not None else "it"
    return PackagerError(
        f"the targets {title(extension)} cannot be used: {reason}",
        remedy=f"mend its entry point {extension.name!r} of {TARGETS!r}, or uninstall {package}",
    )
