"""`packager completion`."""

from __future__ import annotations

import click

from packager.cli.common import emit

#: Shell → what its start-up file says.
SHELLS = {
    "bash": 'eval "$(packager completion bash)"',
    "zsh": 'eval "$(packager completion zsh)"',
    "fish": "packager completion fish | source",
}


@click.command("completion")
@click.argument("shell", type=click.Choice(list(SHELLS)))
def command(shell: str) -> None:
    """Print the script by which a shell completes verbs, options and names.

    Names are targets, services, curated environments, and the images of the spec in this folder.

    \b
    bash   in ~/.bashrc:                   eval "$(packager completion bash)"
    zsh    in ~/.zshrc, after compinit:    eval "$(packager completion zsh)"
    fish   in ~/.config/fish/config.fish:  packager completion fish | source
    """  # noqa: D301
    from click.shell_completion import get_completion_class

    root = click.get_current_context().find_root().command
    completion = get_completion_class(shell)
    assert completion is not None
    # Not `source()`: for bash it would start one to ask for its version.
    script = completion(root, {}, "packager", "_PACKAGER_COMPLETE")
    emit(script.source_template % script.source_vars())
