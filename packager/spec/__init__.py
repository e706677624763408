"""`packager.yaml` → `Spec`."""

from packager.spec.find import DEFAULT_FILE
from packager.spec.load import SpecFile, load_spec, parse_spec
from packager.spec.model import Image, InlineEnvironment, Model, Server, Spec, TargetOptions, canonical
from packager.spec.tags import expand_tag

__all__ = [
    "DEFAULT_FILE",
    "Image",
    "InlineEnvironment",
    "Model",
    "Server",
    "Spec",
    "SpecFile",
    "TargetOptions",
    "canonical",
    "expand_tag",
    "load_spec",
    "parse_spec",
]
