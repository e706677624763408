"""The files of an image that packager makes: a layer for the inference server, and the app of a model without code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packager.contract import ENVIRONMENT_PREFIX, OWN_FOLDER, SERVER_CONFIG, SERVER_SETTINGS, SERVER_START
from packager.plan.trees import Sources, TreeFile, generated_file
from packager.resources import program

if TYPE_CHECKING:
    from packager.spec.load import SpecFile

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


_START = f"""\
# What starts an image whose requests need keys: the inference server, with the keys in front of it.
import sys

# As for the server's own command: the folder of this file hides no module of the user's.
sys.path[0] = "{ENVIRONMENT_PREFIX}/bin"
sys.path.append("{_LIBRARY}")

from azureml_inference_server_http.amlserver import run
from {_PACKAGE}.keys import start

if __name__ == "__main__":
    start(run)
"""


def serving_files() -> tuple[TreeFile, ...]:
    """Return the files of the server's layer: the same in every image of one version of packager, whatever its spec."""
    files = {SERVER_CONFIG: "{}\n", SERVER_SETTINGS: _SETTINGS, SERVER_START: _START}
    for each in sorted(program("image").glob("*.py")):
        files[f"{_LIBRARY}/{_PACKAGE}/{each.name}"] = each.read_text().replace("packager.programs.image", _PACKAGE)
    return tuple(generated_file(path.removeprefix("/"), text) for path, text in files.items())


def app_files(spec_file: SpecFile, sources: Sources, python: str) -> tuple[TreeFile, ...]:
    """Return the files of the app's layer that packager makes: a script where the user has none.

    Args:
        spec_file: the spec, as it is for the target.
        sources: what the scan found.
        python: minor version of the image's Python.

    Raises:
        ContextError, SpecError: a model is not of its framework.
    """
    if spec_file.spec.entry_script is None:
        from packager.context.no_code import no_code_files

        return no_code_files(spec_file, python, sources.app)
    if any(model.framework for model in spec_file.spec.models):
        from packager.models.inspect import check_frameworks

        check_frameworks(spec_file)
    return ()
