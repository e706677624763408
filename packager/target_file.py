"""What a `<target>.toml` may hold, and what is wrong with one that does not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from packager.decoding import convert
from packager.errors import Location, SpecError, UsageError
from packager.mistyped import Words, explain
from packager.reference import Reference
from packager.toml_document import TomlDocument, flow, pair, parse_toml

_SHOWN = "`packager target show cpu`"
_DIGEST = "@sha256:…"
_BASE = f"docker.io/library/python:3.13-slim{_DIGEST}"


class TargetFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a `<target>.toml` holds; the comments of `templates/cpu.toml` explain each field."""

    description: str
    template: str
    platforms: Annotated[tuple[str, ...], Meta(min_length=1)]
    wheels: dict[str, str]
    without: dict[str, str] = {}
    bases: dict[str, str]
    unpinned: dict[str, str] = {}
    env: dict[str, str] = {}
    conda: CondaFile | None = None
    resolve_bases: bool = False
    run: Run | None = None
    kubernetes: Kubernetes | None = None
    cuda: CudaFile | None = None
    artefacts: tuple[Artefact, ...] = ()
    files: tuple[str, ...] = ()


class Run(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the machine has to give to a container: the table `[run]` of a `<target>.toml`.

    Attributes:
        gpus: as Docker's `--gpus` takes it; empty for none.
        devices: device files, as patterns of a shell.
        host: names of what must have the same version on the machine as in the base; the spec says which.
    """

    gpus: str = ""
    devices: tuple[str, ...] = ()
    host: tuple[str, ...] = ()


class Taint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What nodes with devices keep all else away by: one of `[[kubernetes.tolerations]]` of a `<target>.toml`.

    Attributes:
        key: of the taint.
        value: of it; any where empty.
        effect: of it (`NoSchedule`); every one where empty.
    """

    key: str
    value: str = ""
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = ""


class Kubernetes(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a cluster gives the devices of `[run]`: the table `[kubernetes]` of a `<target>.toml`.

    Attributes:
        resource: what its device plugin calls one (`nvidia.com/gpu`); empty where that hangs on the card.
        tolerations: of the nodes that have them.
    """

    resource: str = ""
    tolerations: tuple[Taint, ...] = ()


class Artefact(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A kind of file that must be among the models: one of `[[artefacts]]` of a `<target>.toml`.

    Attributes:
        title: for people.
        suffix: how its files end.
        env: the variable that has its path in the image.
        magic: its first bytes, in ASCII; empty where the format has none.
    """

    title: str
    suffix: str
    env: str
    magic: str = ""


class CudaFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The table `[cuda]` of a `<target>.toml`."""

    default: str
    bases: dict[str, str]
    env: dict[str, str] = {}


class CondaFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The table `[conda]` of a `<target>.toml`."""

    base: str | None = None
    virtual_packages: dict[str, str]
    installers: dict[str, str]


class ParsedTarget(msgspec.Struct, frozen=True, kw_only=True):
    """A target's file, read: its values, and where each stands."""

    data: TargetFile
    document: TomlDocument

    def at(self, field: str) -> Location:
        """Return the location of a field."""
        return self.document.at(field)

    def reference(self, text: str, field: str, title: str, *, pinned: bool) -> Reference:
        """Return the image that a field names.

        Args:
            text: of it.
            field: of the file.
            title: of the image, for people.
            pinned: it must have a digest.

        Raises:
            SpecError: it is no reference, or has no digest.
        """
        try:
            found = Reference.parse(text)
        except UsageError as error:
            raise SpecError(error.message, where=self.at(field), remedy=error.remedy) from None
        if pinned and found.digest is None:
            raise SpecError(f"{title} has no digest", where=self.at(field), remedy=f"pin it: NAME:TAG{_DIGEST}")
        return found

    def references(self, texts: Mapping[str, str], field: str, title: str, *, pinned: bool) -> dict[str, Reference]:
        """Return the images of a table, as `reference` does; `{}` in the title stands for each name."""
        return {
            name: self.reference(text, f"{field}.{name}", title.format(name), pinned=pinned)
            for name, text in texts.items()
        }


def parse_target(text: str, path: Path) -> ParsedTarget:
    """Return what the text of a target's file says.

    Raises:
        SpecError: it is not TOML, or has fields missing, unknown or of a wrong type; with its line.
    """
    document = parse_toml(text, path)
    try:
        return ParsedTarget(data=convert(document.data, TargetFile), document=document)
    except msgspec.ValidationError as error:
        raise explain(error, document, TargetFile, _WORDS) from None


_EXAMPLES: dict[str, dict[str, Any]] = {
    "TargetFile": {
        "description": "CPython on Debian slim",
        "template": "cpu.Dockerfile.j2",
        "platforms": ["linux/amd64"],
        "wheels": {"linux/amd64": "x86_64-manylinux_2_28"},
        "bases": {"3.13": _BASE},
        "unpinned": {"3.14": "docker.io/library/python:3.14-slim"},
        "without": {"linux/arm64": "its driver is made for linux/amd64 alone"},
        "env": {"LOG_LEVEL": "info"},
        "resolve_bases": True,
        "conda": {"base": f"docker.io/library/debian:trixie-slim{_DIGEST}"},
        "run": {"gpus": "all"},
        "kubernetes": {"resource": "nvidia.com/gpu"},
        "files": ["module.json"],
    },
    "CondaFile": {
        "base": f"docker.io/library/debian:trixie-slim{_DIGEST}",
        "virtual_packages": {"__glibc": "2.41"},
        "installers": {"rattler": _BASE},
    },
    "CudaFile": {"default": "12.8", "bases": {"12.8": f"nvidia/cuda:12.8.1-base-ubuntu24.04{_DIGEST}"}},
    "Run": {"gpus": "all", "devices": ["/dev/xclmgmt*"], "host": ["xrt"]},
    "Kubernetes": {"resource": "nvidia.com/gpu", "tolerations": [{"key": "nvidia.com/gpu"}]},
    "Taint": {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"},
    "Artefact": {"title": "bitstream", "suffix": ".xclbin", "env": "XCLBIN_PATH", "magic": "xclbin2"},
}

_WORDS = Words(
    flow=flow,
    pair=pair,
    quotes="write it in quotes",
    quoted=lambda _field, _name: True,
    reference=_SHOWN,
    examples=_EXAMPLES,
)
