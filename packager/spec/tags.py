"""Tags of the spec: what may stand in braces, and what it becomes."""

from __future__ import annotations

import re

from packager.spec.texts import TAG

#: What a tag of the spec may name in braces.
TAG_FIELDS = ("name", "version", "target", "platform")
PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


def expand_tag(template: str, *, name: str, version: str, target: str, platform: str) -> str:
    """Return a tag with its placeholders replaced; `linux/arm64` becomes `linux-arm64`.

    Raises:
        ValueError: the result is no valid tag.
    """
    values = {"name": name, "version": version, "target": target, "platform": platform.replace("/", "-")}
    tag = PLACEHOLDER.sub(lambda found: values[found[1]], template)
    if not re.match(TAG, tag):
        raise ValueError(f"{tag!r} is not a valid image tag")
    return tag
