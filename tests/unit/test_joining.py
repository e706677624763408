"""Images for one platform each that a registry has, joined to an index."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from packager.errors import RegistryError, UsageError
from packager.oci.values import DOCKER_INDEX, DOCKER_MANIFEST, INDEX, MANIFEST, digest_of
from packager.registry.join import join_platforms, platform_tags
from tests.unit.oci_images import config_of, manifest_of
from tests.unit.registry_fake import FakeRegistry, running

AMD, ARM = "linux/amd64", "linux/arm64"


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeRegistry]:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with running() as server:
        yield server


def pushed(registry: FakeRegistry, repository: str, kind: str = DOCKER_MANIFEST) -> dict[str, str]:
    """Put an image for each platform into a repository; platform → digest."""
    found = {}
    for platform in (AMD, ARM):
        data = manifest_of(config_of([], platform), mediaType=kind)
        found[platform] = digest_of(data)
        registry.manifests[repository, found[platform]] = (kind, data)
    return found


@pytest.mark.parametrize(("kind", "index"), [(DOCKER_MANIFEST, DOCKER_INDEX), (MANIFEST, INDEX)])
def test_every_tag_becomes_an_index_of_all_platforms(registry: FakeRegistry, kind: str, index: str) -> None:
    images = pushed(registry, "ml/a", kind)
    pushed(registry, "ml/b", kind)
    references = [f"{registry.address}/ml/{each}" for each in ("a:1", "b:1", "a:latest")]
    digest = join_platforms(references, images)
    for repository, tag in (("ml/a", "1"), ("ml/a", "latest"), ("ml/b", "1")):
        media_type, data = registry.manifests[repository, tag]
        assert (media_type, digest_of(data)) == (index, digest)
    document: dict[str, Any] = json.loads(data)
    assert document["mediaType"] == index
    assert [
        (each["platform"]["architecture"], each["digest"], each["mediaType"]) for each in document["manifests"]
    ] == [
        ("amd64", images[AMD], kind),
        ("arm64", images[ARM], kind),
    ]


def test_an_image_that_a_builder_put_into_an_index_is_taken_out_of_it(registry: FakeRegistry) -> None:
    images = pushed(registry, "ml/a", MANIFEST)
    entry = {
        "mediaType": MANIFEST,
        "digest": images[ARM],
        "size": 1,
        "platform": {"os": "linux", "architecture": "arm64"},
    }
    wrapped = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}).encode()
    registry.manifests["ml/a", digest_of(wrapped)] = (INDEX, wrapped)
    join_platforms([f"{registry.address}/ml/a:1"], {AMD: images[AMD], ARM: digest_of(wrapped)})
    data = registry.manifests["ml/a", "1"][1]
    assert [each["digest"] for each in json.loads(data)["manifests"]] == [images[AMD], images[ARM]]


def test_nothing_is_written_where_one_is_missing(registry: FakeRegistry) -> None:
    images = pushed(registry, "ml/a")
    with pytest.raises(RegistryError, match="there is no image"):
        join_platforms([f"{registry.address}/ml/a:1"], {**images, ARM: "sha256:" + "0" * 64})
    assert ("ml/a", "1") not in registry.manifests


def test_each_platform_has_a_tag_of_its_own_in_each_repository() -> None:
    references = ("r.example.com/ml/a:1", "r.example.com/ml/a:latest", "r.example.com/ml/b")
    assert platform_tags(references, "linux/arm/v7") == (
        "r.example.com/ml/a:1-linux-arm-v7",
        "r.example.com/ml/b:latest-linux-arm-v7",
    )
    with pytest.raises(UsageError, match="not a valid image tag"):
        platform_tags([f"r.example.com/ml/a:{'1' * 120}"], ARM)
