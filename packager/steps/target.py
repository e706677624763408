"""The steps of `packager target`."""

from __future__ import annotations

import re
from pathlib import Path

from packager.errors import UsageError
from packager.given import read_given
from packager.targets import load_target, read_target, target_files

_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_DOCKERFILE = """\
{{# The Dockerfile of target {name}: that of {start}, but for the blocks that stand here. Blocks, in their order:
   header, base, system, environment, accelerator, user, server, models, app, labels, entrypoint. #}}
{{% extends "{template}" %}}
"""


def new_target(name: str, folder: Path, *, start: str = "cpu") -> tuple[Path, ...]:
    """Write the files of a new target, to be edited, and return their paths.

    Args:
        name: of the target; with that of one of ours they take its place.
        folder: `templates`, beside the spec; it is made where it is not there.
        start: the target to start with.

    Raises:
        UsageError: no name of a target, or a file is there already.
        SpecError: there is no target to start with.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} is not a name of a target", remedy="lower-case letters, digits and `-` between them"
        )
    target = load_target(start, folder)
    template = f"{name}.Dockerfile.j2"
    text = read_given(target_files(folder)[start]).decode()
    texts = {
        folder / f"{name}.toml": re.sub(r'(?m)^template = ".*"$', f'template = "{template}"', text),
        folder / template: _DOCKERFILE.format(name=name, start=start, template=target.template),
    }
    for path in texts:
        if path.exists():
            raise UsageError(f"{path} is there already", remedy="choose another name, or remove it")
    folder.mkdir(exist_ok=True)
    for path, content in texts.items():
        path.write_text(content, "utf-8")
    read_target(folder / f"{name}.toml")
    return tuple(texts)
