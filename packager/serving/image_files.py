"""The files that packager puts beside the app, for the inference server in the image."""

from __future__ import annotations

from packager.plan import SERVER_CONFIG
from packager.trees import TreeFile, generated_file


def serving_files() -> tuple[TreeFile, ...]:
    """Return the files of the app's layer that packager makes, for the server of every image."""
    return (generated_file(SERVER_CONFIG.removeprefix("/"), "{}\n"),)
