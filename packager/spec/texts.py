"""The texts that a spec may hold: their patterns, and the types that refuse all others.

Patterns refuse everything that could leave its place: no value from a spec may become a Dockerfile instruction, a
shell word, an option of a program, or a path outside the folder of the spec.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

# `(?!\n)$` and not `$`, which in Python also matches before a final line break.
# Reasons for the patterns: names go into image references, folder names and labels; OCI distribution spec 1.1,
# "Pulling manifests", gives the forms of repository components and tags.
NAME = r"^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?!\n)$"
TAG = r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}(?!\n)$"
MODEL_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]*(?!\n)$"
ENV_NAME = r"^[A-Za-z_][A-Za-z0-9_]*(?!\n)$"
# Environment values reach the container byte for byte; a Dockerfile cannot hold a line break in one, and an environment
# cannot hold NUL.
PRINTABLE = r"^[^\x00-\x1f\x7f\x85\u2028\u2029]*(?!\n)$"
# Debian policy 5.6.7 and 5.6.12 (package names and versions), with apt's `:arch` and `=version`.
DEBIAN_PACKAGE = r"^[a-z0-9][a-z0-9+.-]+(?::[a-z0-9-]+)?(?:=[A-Za-z0-9.+:~-]+)?(?!\n)$"
# A name in a workspace (`workspace/names.py`), and a version of it.
REGISTERED = r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,254}(?::[1-9][0-9]{0,8})?(?!\n)$"
PYTHON = r"^3\.[0-9]{1,2}(?!\n)$"
PATH = r"^(?!-)[^\x00-\x1f\x7f\x85\u2028\u2029\\]+(?!\n)$"

Name = Annotated[
    str,
    Meta(pattern=NAME, max_length=128, description="Lower-case letters, digits and single separators `.`, `_`, `-`."),
]
Version = Annotated[str, Meta(pattern=TAG, description="Text (in quotes) that is also valid as an image tag.")]
ModelName = Annotated[
    str,
    Meta(
        pattern=MODEL_NAME,
        max_length=255,
        description="Letters, digits, `.`, `_` and `-`; starts with a letter or digit.",
    ),
]
RegisteredName = Annotated[
    str, Meta(pattern=REGISTERED, description="`name`, or `name:version`; without a version, the latest is locked.")
]
RelativePath = Annotated[
    str, Meta(pattern=PATH, max_length=1024, description="Relative to the folder of the spec, with `/`, and inside it.")
]
#: RFC 1035, as Kubernetes and Azure take it.
DNS_LABEL = r"^[a-z](?:[a-z0-9-]*[a-z0-9])?(?!\n)$"
MAX_TEXT = 32768
PrintableText = Annotated[str, Meta(pattern=PRINTABLE, max_length=MAX_TEXT, description="Text without line breaks.")]
DebianPackage = Annotated[
    str, Meta(pattern=DEBIAN_PACKAGE, description="`name` or `name=version`, as apt-get takes it.")
]
LibraryName = Annotated[
    str,
    Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.+-]*(?!\n)$", max_length=255, description="A file's name: `libGL.so.1`."),
]
WorkspaceName = Annotated[
    str, Meta(pattern=PRINTABLE, min_length=1, max_length=1024, description="A name, a folder, or `oci://…`.")
]
Platform = Annotated[
    str, Meta(pattern=r"^linux/[a-z0-9]+(?:/v[0-9]+)?(?!\n)$", description="OCI os/arch, such as linux/amd64.")
]
PythonVersion = Annotated[
    str, Meta(pattern=r"^3\.[0-9]{1,2}(?!\n)$", description='Minor version in quotes, such as "3.13".')
]
CudaVersion = Annotated[
    str, Meta(pattern=r"^[0-9]{1,2}\.[0-9]{1,2}(?!\n)$", description='Version of CUDA in quotes, such as "12.8".')
]
ORIGIN = r"^(?:\*|https?://[A-Za-z0-9.\[\]:_-]{1,255})(?!\n)$"
Origin = Annotated[str, Meta(pattern=ORIGIN, description="As browsers send it: https://app.example.com; or *.")]
Requirement = Annotated[str, Meta(min_length=1, max_length=4096, description="One requirement as in PEP 508.")]
MatchSpec = Annotated[
    str, Meta(min_length=1, max_length=4096, description="One requirement as conda takes it, such as `python=3.12`.")
]
Channel = Annotated[
    str, Meta(min_length=1, max_length=1024, description="A conda channel: a name, a URL, or `nodefaults`.")
]
