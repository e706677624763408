"""The words of the spec for a value of another type than its field's. Pure."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from packager import mistyped
from packager.errors import SpecError
from packager.spec.document import Document
from packager.spec.examples import EXAMPLES
from packager.spec.rules import TAG_FORM

_EXACT = ("environment.variables.", "targets.")
_QUOTES = 'write it in quotes, so that YAML keeps it as it is, such as "3.10"'
_PACKAGE_NAME = "lower-case letters, digits and single `.`, `_`, `-` between them"
_VARIABLES = "text in quotes, on one line and without control characters"
_LABEL = "lower-case letters, digits and `-`, starting with a letter, at most 63 of them"
_CPU = "processors, such as 0.5 or 500m"
_MEMORY = "a size with its unit, such as 512Mi, 2GiB or 2GB"

#: What may be written, by a field's name, or by that of the part that it belongs to where they differ.
_PATTERNS = {
    "cache_limit": "a size: 20GB",
    "workspace": "a name, a path with a `/`, or oci://registry.example.com/ml",
    "mirrors": "a registry and the host to ask in its place, such as {docker.io: mirror.example.com}",
    "max_body": "a size such as 100Mi, 5MB or 4096 (bytes)",
    "Spec.version": TAG_FORM,
    "Spec.name": _PACKAGE_NAME,
    "InlineEnvironment.curated": "the name of a curated environment: `packager environment list`",
    "Model.name": "letters, digits, `.`, `_` and `-`, starting with a letter or a digit",
    "Model.version": "a whole number, such as 1",
    "Case.name": "text on one line, at most 200 characters",
    "Case.path": "the path of a URL with its query, such as /score or /swagger.json",
    "python": 'a minor version in quotes, such as "3.13"',
    "system_packages": "Debian package names, such as libgomp1 or libgomp1=14.2.0-19",
    "allow_missing": "names of libraries, such as [libGL.so.1]",
    "platforms": "an OCI platform, such as linux/amd64 or linux/arm64",
    "host": 'a version in quotes, such as {xrt: "2.13.466"}',
    "cuda": 'a version of CUDA in quotes, such as "12.8"',
    "virtual_packages": 'a version in quotes, such as {__cuda: "12.4"}',
    "variables": _VARIABLES,
    "registered": "a name in the workspace, or a version of it, such as sklearn_mnist or sklearn_mnist:3",
    "framework": "sklearn, onnx, tensorflow or mlflow",
    "framework_version": 'a version in quotes, such as "1.9.1"',
    "env": _VARIABLES,
    "headers": _VARIABLES,
    "cpu": _CPU,
    "cpu_limit": _CPU,
    "memory": _MEMORY,
    "memory_limit": _MEMORY,
    "replicas": "a number, or the least and the most: {min: 1, max: 4, target: 70}",
    "namespace": _LABEL,
    "dns_name": _LABEL,
    "method": "an HTTP method in capitals, such as GET",
}
_PATHS = ("path", "entry_script", "source_dir", "environment", "name_map", "file", "cert", "key")
_RELATIVE = "a path relative to the folder of the spec, with `/`, not starting with `-`, without line breaks"

#: Part of the spec → the field that somebody means who writes its value alone.
_MEANT = {"Model": "path", "InlineEnvironment": "pip", "AddedPackages": "pip", "Image": "repository", "Expect": "body"}


def explain(error: msgspec.ValidationError, document: Document, kind: type) -> SpecError:
    """Return what is wrong with a spec, or another declaration in YAML; see `packager.mistyped.explain`."""
    return mistyped.explain(error, document, kind, _WORDS)


def flow(value: Any) -> str:
    """Return a value as YAML on one line; texts are in double quotes where they need some."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{flow(key)}: {flow(each)}' for key, each in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(flow, value))}]"
    if not isinstance(value, str):
        return json.dumps(value)
    import yaml

    plain = yaml.safe_dump([value], default_flow_style=True, allow_unicode=True, width=1 << 20)[1:-2]
    return json.dumps(value, ensure_ascii=False) if plain[:1] in ("'", '"') else plain


def _quoted(field: str, name: str) -> bool:
    if field.startswith("service."):
        return False
    exact = field.split(".")[0] in ("version", "python", "env") or name == "framework_version"
    return exact or field.startswith(_EXACT)


_WORDS = mistyped.Words(
    flow=flow,
    pair=lambda name, text: f"{name}: {text}",
    quotes=_QUOTES,
    quoted=_quoted,
    reference="`packager schema`",
    examples=EXAMPLES,
    patterns=_PATTERNS,
    paths=_PATHS,
    relative=_RELATIVE,
    meant=_MEANT,
)
