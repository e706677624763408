"""A version and a change → the version as it is afterwards. Pure."""

from __future__ import annotations

import msgspec

from packager.errors import UsageError
from packager.workspace.names import check_pairs, check_text
from packager.workspace.values import Change, Version


def changed(version: Version, change: Change) -> Version:
    """Return a version with a change; the same one where that changes nothing.

    Raises:
        UsageError: a property that is there would change, or a text is none.
    """
    check_pairs(change.add_tags, "tag")
    check_pairs(change.add_properties, "property")
    for name, value in change.add_properties.items():
        if version.properties.get(name, value) != value:
            raise UsageError(
                f"{version.id} has the property {name!r} already, and a property cannot change",
                remedy="add another one, use a tag, or register a new version",
            )
    description = version.description
    if change.description is not None:
        description = check_text(change.description, "the description")
    tags = {name: value for name, value in version.tags.items() if name not in change.remove_tags} | change.add_tags
    properties = version.properties | change.add_properties
    if (description, tags, properties) == (version.description, version.tags, version.properties):
        return version
    return msgspec.structs.replace(
        version, description=description, tags=tags, properties=properties, changes=version.changes + 1
    )
