"""Where the image's folders are on this machine, and what the plan says of them in its terms. Pure."""

from __future__ import annotations

import re

import msgspec

from packager.context.build_context import ContextFile, layer_files
from packager.contract import APP_ROOT, ENVIRONMENT_PREFIX, OWN_FOLDER
from packager.plan.plan import Plan
from packager.plan.trees import make_tree

#: Until what a path of the image may be written: `/opt/env/bin` is in it, `/opt/environment` is not.
_PATHS = re.compile(
    rf"(?<![\w./-])(?:{'|'.join(map(re.escape, (APP_ROOT, OWN_FOLDER, ENVIRONMENT_PREFIX)))})(?![\w.-])"
)

#: What the image says because it is read-only: HOME is the one folder that is not, and there is no place for bytecode.
#: Here there is, and the second start takes half the time.
_IMAGE_HOME, _NO_BYTECODE = "/tmp", "PYTHONDONTWRITEBYTECODE"


class Places(msgspec.Struct, frozen=True, kw_only=True):
    """Folders of this machine.

    Attributes:
        root: in the place of the image's `/`, for the app and what packager puts beside it.
        prefix: in the place of the image's environment.
        home: for what programs write below HOME.
    """

    root: str
    prefix: str
    home: str

    @property
    def app_root(self) -> str:
        """In the place of the image's app root."""
        return f"{self.root}{APP_ROOT}"

    def rewritten(self, text: str) -> str:
        """Return a text with the image's paths in it replaced by those of here."""
        return _PATHS.sub(lambda found: self._place(found[0]), text)

    def _place(self, path: str) -> str:
        return self.prefix if path == ENVIRONMENT_PREFIX else f"{self.root}{path}"


def environment(plan: Plan, places: Places, extra: dict[str, str]) -> dict[str, str]:
    """Return the environment variables of the service: the image's, and nothing of this shell's.

    Args:
        plan: of the image.
        places: where its folders are.
        extra: the user's; they are taken as they are.
    """
    found = {name: places.rewritten(value) for name, value in plan.config.env.items()}
    if found.get("HOME") == _IMAGE_HOME:
        found["HOME"] = places.home
    found.pop(_NO_BYTECODE, None)
    return {**found, **extra}


def command(plan: Plan, places: Places, port: int) -> tuple[str, ...]:
    """Return the image's entry point as it is run here."""
    words = (places.rewritten(each) for each in plan.config.entrypoint)
    return tuple(f"--port={port}" if each.startswith("--port=") else each for each in words)


def files(plan: Plan, places: Places) -> tuple[tuple[ContextFile, ...], tuple[str, ...]]:
    """Return all files of the models and the app, and the folders that hold them, below `places.root`.

    The texts that packager makes name paths of the image, which are rewritten as well.
    """
    layers = (layer_files(layer, "", model=layer in plan.models) for layer in plan.layers)
    found = [_placed(each, places) for files in layers for each in files]
    tree = make_tree((file for layer in plan.layers for file in layer.tree.files), _folders(plan))
    return tuple(found), tree.folders


def volumes(plan: Plan) -> dict[str, str]:
    """Return the models that are in no layer: their folder below `places.root` → where it is on this machine."""
    found = {}
    for layer in plan.volumes:
        first = layer.tree.files[0]
        # var/azureml-app/azureml-models/<name>/<version>/<path>
        *parts, path = first.path.split("/", 5)
        found["/".join(parts)] = first.origin.removesuffix(f"/{path}")
    return found


def _folders(plan: Plan) -> tuple[str, ...]:
    app_root = APP_ROOT.removeprefix("/")
    return (app_root, *(folder for layer in plan.layers for folder in layer.tree.folders))


def _placed(file: ContextFile, places: Places) -> ContextFile:
    file = msgspec.structs.replace(file, path=file.path.removeprefix("/"), same_as=file.same_as.removeprefix("/"))
    return file if file.text is None else msgspec.structs.replace(file, text=places.rewritten(file.text))


def differences(plan: Plan) -> str:
    """Return in one sentence what is not as in the image."""
    packages = f"; Debian packages of the spec are not installed: {', '.join(plan.system_packages)}"
    return (
        "without Docker it runs as you, may write wherever you may, has no limits, and sees this machine's system "
        f"libraries in place of the base's{packages if plan.system_packages else ''}"
    )
