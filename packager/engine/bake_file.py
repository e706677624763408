"""Images → the text of a `docker-bake.json`, which `docker buildx bake` builds in parallel. Pure.

Source: docs.docker.com/build/bake/reference (the file), and buildx 0.13's `bake/bake.go`: a target that others refer to
as `target:NAME` is built once and gives its result to all of them. Strings are templates of HCL there.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from packager.context.entries import BAKE_MARK
from packager.errors import SpecError

#: Attestations hold dates, and put entries of the platform unknown/unknown beside the image.
_NO_ATTESTATIONS = ["type=provenance,disabled=true", "type=sbom,disabled=true"]


class BakePlatform(msgspec.Struct, frozen=True, kw_only=True):
    """An image for one platform.

    Attributes:
        platform: OCI os/arch.
        context: path of its build context, relative to the folder that buildx runs in.
        labels: of this build.
        created: time of the image, in seconds since the epoch.
        secrets: what it gets, as `--secret` takes it.
        environment: digest of what its environment stage is made of; stages with the same are built once. Empty where
            the Dockerfile has no stage of that name.
    """

    platform: str
    context: str
    labels: Mapping[str, str] = {}
    created: int
    secrets: tuple[str, ...] = ()
    environment: str = ""


class BakeImage(msgspec.Struct, frozen=True, kw_only=True):
    """An image for one platform, or one with an index for several.

    Attributes:
        package: name of the spec.
        target: one of the spec's.
        tags: references that it gets.
        platforms: at least one.
        apart: the target's other platforms are images of their own, with tags of their own.
    """

    package: str
    target: str
    tags: tuple[str, ...]
    platforms: tuple[BakePlatform, ...]
    apart: bool = False

    @property
    def name(self) -> str:
        """The target's name in the file; of several platforms, that of the target which joins them."""
        name = slug(f"{self.package}-{self.target}")
        return f"{name}-{slug(self.platforms[0].platform)}" if self.apart else name

    def platform_name(self, platform: str) -> str:
        """The name of the target for one platform."""
        return self.name if len(self.platforms) == 1 else f"{self.name}-{slug(platform)}"


class BakeSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What all images of a file have in common, in the words of `docker buildx build`.

    Attributes:
        args: build arguments.
        outputs: what `-o` takes; none leaves it to `--push` and `--load`.
    """

    args: Mapping[str, str] = {}
    no_cache: bool = False
    pull: bool = False
    cache_from: tuple[str, ...] = ()
    cache_to: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()


def slug(text: str) -> str:
    """Return a text as a name of a target (`linux/arm64` → `linux-arm64`): letters, digits, `_` and `-` only."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", text.replace("/", "-"))


def bake_document(images: Sequence[BakeImage], settings: BakeSettings) -> dict[str, Any]:
    """Return what the file holds, as JSON data.

    Groups are `default`, one for each package and one for each target (`cpu`).

    Raises:
        SpecError: two images have one name or write one tag, or a group has the name of a target.
    """
    _check_tags(images)
    targets: dict[str, Any] = {}
    stages = _shared_stages(images)
    for image in images:
        for platform, entry in _entries(image, settings, stages):
            if platform in targets:
                raise SpecError(
                    f"two images would both be called {platform!r} in the file",
                    remedy="give the specs different names, and name each spec once",
                )
            targets[platform] = entry
    for name, first in stages.values():
        targets[name] = {**_common(first, settings, output=["type=cacheonly"]), "target": "environment"}
    document = {"//": BAKE_MARK, "group": _groups(images, targets), "target": targets}
    escaped: dict[str, Any] = _escaped(document)
    return escaped


def bake_text(images: Sequence[BakeImage], settings: BakeSettings) -> str:
    """Return the text of the file; see `bake_document`."""
    return json.dumps(bake_document(images, settings), indent=2, ensure_ascii=False) + "\n"


# --- targets and groups -----------------------------------------------------------------------------------------------


def _entries(
    image: BakeImage, settings: BakeSettings, stages: Mapping[str, tuple[str, BakePlatform]]
) -> Iterable[tuple[str, dict[str, Any]]]:
    single = len(image.platforms) == 1
    for each in image.platforms:
        entry = _common(each, settings, output=list(settings.outputs) if single else [])
        if each.environment in stages:
            entry["contexts"] = {"environment": f"target:{stages[each.environment][0]}"}
        if single:
            entry["tags"] = list(image.tags)
        entry["labels"] = dict(each.labels)
        yield image.platform_name(each.platform), entry
    if not single:
        yield image.name, _joining(image, settings)


def _joining(image: BakeImage, settings: BakeSettings) -> dict[str, Any]:
    """Return the target that makes one index of the images for several platforms, each as it is.

    BuildKit builds it once for each platform, and gives the variables of the platform to its FROM.
    """
    first = image.platforms[0]
    entry = _common(first, settings, output=list(settings.outputs))
    del entry["secret"]
    return {
        **entry,
        "dockerfile-inline": "FROM image-$TARGETOS-$TARGETARCH$TARGETVARIANT\n",
        "contexts": {
            _variables(each.platform): f"target:{image.platform_name(each.platform)}" for each in image.platforms
        },
        "platforms": [each.platform for each in image.platforms],
        "tags": list(image.tags),
    }


def _variables(platform: str) -> str:
    """Return what the FROM of a joining target asks for on a platform (`linux/arm/v7` → `image-linux-armv7`)."""
    system, _, rest = platform.partition("/")
    return f"image-{system}-{rest.replace('/', '')}"


def _common(each: BakePlatform, settings: BakeSettings, output: list[str]) -> dict[str, Any]:
    time = {"SOURCE_DATE_EPOCH": str(each.created)}
    entry: dict[str, Any] = {
        "context": each.context,
        "platforms": [each.platform],
        "args": {**time, **settings.args},
        "secret": list(each.secrets),
        "attest": _NO_ATTESTATIONS,
    }
    if settings.no_cache:
        entry["no-cache"] = True
    if settings.pull:
        entry["pull"] = True
    for name, values in (("cache-from", settings.cache_from), ("cache-to", settings.cache_to), ("output", output)):
        if values:
            entry[name] = list(values)
    return entry


def _shared_stages(images: Sequence[BakeImage]) -> dict[str, tuple[str, BakePlatform]]:
    """Return the environment stages that two or more images have: key → name, and the first image that has it."""
    every = [each for image in images for each in image.platforms if each.environment]
    counts = Counter(each.environment for each in every)
    firsts = {each.environment: each for each in reversed(every)}
    return {
        key: (f"environment-{key[:12]}", firsts[key])
        for key in dict.fromkeys(each.environment for each in every)
        if counts[key] > 1
    }


def _groups(images: Sequence[BakeImage], targets: Mapping[str, Any]) -> dict[str, Any]:
    groups: dict[str, list[str]] = {"default": [image.name for image in images]}
    kinds = {"default": "the group of all images"}
    for kind in ("package", "target"):
        for image in images:
            name = slug(getattr(image, kind))
            if kinds.setdefault(name, f"a {kind}") != f"a {kind}" or name in targets:
                other = "an image" if name in targets else kinds[name]
                raise SpecError(
                    f"the {kind} {name!r} has the name of {other} in the file, where both would be one group",
                    remedy="give the spec another `name:`",
                )
            groups.setdefault(name, []).append(image.name)
    return {name: {"targets": members} for name, members in groups.items()}


def _check_tags(images: Sequence[BakeImage]) -> None:
    written: dict[str, BakeImage] = {}
    for image in images:
        for tag in image.tags:
            other = written.setdefault(tag, image)
            if other is not image:
                raise SpecError(
                    f"{other.package} ({other.target}) and {image.package} ({image.target}) both write the tag {tag}",
                    remedy="give them different repositories or tags (`image:` in the spec)",
                )


def _escaped(value: Any) -> Any:
    """Return a value whose strings mean themselves: `${` and `%{` start a template in HCL."""
    if isinstance(value, str):
        return re.sub(r"([$%])\{", r"\1\1{", value)
    if isinstance(value, Mapping):
        return {key: _escaped(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_escaped(each) for each in value]
    return value
