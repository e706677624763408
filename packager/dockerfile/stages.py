"""What a Dockerfile says of its stages and of the secrets that it mounts. Pure."""

from __future__ import annotations

import hashlib
import re

from packager.context.build_context import BuildContext

_STAGE = re.compile(r"FROM(?:\s+--\S+)*\s+(\S+)(?:\s+AS\s+(\S+))?\s*\Z", re.IGNORECASE)
_FROM_STAGE = re.compile(r"--(?:from|mount=\S*?from)=([^\s,]+)")
_SECRET = re.compile(r"--mount=type=secret,(?:\S*?,)?id=([^\s,]+)")


def environment_key(dockerfile: str, context: BuildContext, platform: str, base: str) -> str:
    """Return a digest of all that the stage `environment` of a Dockerfile is made of; empty where it has none.

    That is its text with that of the stages it builds on, and the files that it mounts; layers have digests in their
    names.

    Args:
        dockerfile: the text.
        context: the build context that it stands in.
        platform: OCI os/arch.
        base: digest of the base image: the name of one that only an engine has can move.
    """
    text = _stage_text(dockerfile, "environment")
    if text is None:
        return ""
    files = [f"{file.path} {file.digest}" for file in context.files if file.path.startswith("environment/")]
    return hashlib.sha256("\0".join([platform, base, text, *files]).encode()).hexdigest()


def secret_ids(dockerfile: str) -> tuple[str, ...]:
    """Return the ids of the secrets that a Dockerfile mounts, sorted."""
    return tuple(sorted(set(_SECRET.findall(dockerfile))))


def secret_from_variable(name: str) -> str:
    """Return the secret of an id as an environment variable of whoever runs bake, in buildx's words.

    An unset variable gives an empty secret, where a file that is missing would be an error. The text of pip.conf has
    the name that it has with `packager build` (`PACKAGER_PIP_CONF`).
    """
    variable = re.sub(r"[^A-Z0-9]", "_", name.upper())
    return f"id={name},env=PACKAGER_{variable}"


def _stage_text(dockerfile: str, name: str) -> str | None:
    """Return the text of a stage, with that of the stages that it is made of and of what stands before the first."""
    start: list[str] = []
    stages: dict[str, tuple[str, list[str]]] = {}
    lines = start
    for line in dockerfile.splitlines():
        if line.startswith("#") or not line.strip():
            continue
        stage = _STAGE.match(line)
        if stage:
            lines = [line]
            stages[stage[2] or str(len(stages))] = (stage[1], lines)
        else:
            lines.append(line)
    if name not in stages:
        return None
    wanted, found = [name], list[str]()
    while wanted:
        each = wanted.pop()
        if each in stages and each not in found:
            found.append(each)
            parent, lines = stages[each]
            wanted += [parent, *_FROM_STAGE.findall("\n".join(lines))]
    return "\n".join([*start, *(line for each in sorted(found) for line in stages[each][1])])
