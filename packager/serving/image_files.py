"""The files that packager puts beside the app, for the inference server in the image."""

from __future__ import annotations

from pathlib import Path

from packager.plan import OWN_FOLDER, SERVER_CONFIG, SERVER_SETTINGS
from packager.trees import TreeFile, generated_file

#: Folder of the image from which the settings load our package; at the end of the way, so that it hides nothing.
_LIBRARY = f"{OWN_FOLDER}/lib"
_PACKAGE = "packager_server"

_SETTINGS = f"""\
# gunicorn reads this file (GUNICORN_CMD_ARGS). The code is beside it, in lib/{_PACKAGE}.
import sys

sys.path.append("{_LIBRARY}")

from {_PACKAGE}.settings import settings

globals().update(settings())
"""


def serving_files() -> tuple[TreeFile, ...]:
    """Return the files of the app's layer that packager makes, for the server of every image."""
    files = {SERVER_CONFIG: "{}\n", SERVER_SETTINGS: _SETTINGS}
    for each in sorted((Path(__file__).parent / "in_image").glob("*.py")):
        files[f"{_LIBRARY}/{_PACKAGE}/{each.name}"] = each.read_text().replace("packager.serving.in_image", _PACKAGE)
    return tuple(generated_file(path.removeprefix("/"), text) for path, text in files.items())
