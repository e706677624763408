"""Platforms whose programs a builder can run, by what `docker buildx inspect` says."""

from __future__ import annotations

import pytest

from packager.builders import emulation
from packager.builders.emulation import require_platform, require_runnable
from packager.engine.api import LocalImage, engine_info, runnable
from packager.errors import EngineError, TemporaryError
from packager.oci import parse as documents
from packager.oci.parse import WrongPlatformError
from packager.plan.plan import Base

# As Docker 26.1 with buildx 0.13 prints it.
INSPECTED = """\
Name:          default
Driver:        docker
Last Activity: 2026-11-26 13:26:30 +0000 UTC

Nodes:
Name:             default
Endpoint:         default
Status:           running
BuildKit version: v0.0.0+unknown
Platforms:        linux/amd64, linux/amd64/v2, linux/386{more}
Labels:
 org.mobyproject.buildkit.worker.moby.host-gateway-ip: 172.17.0.1
"""
TWO = "Name: a\nPlatforms: linux/amd64*, linux/386\nName: b\nPlatforms: linux/arm64*, linux/arm/v7\n"
ASLEEP = "Name: a\nDriver: docker-container\nStatus: inactive\nPlatforms:\nLabels:\n"


def ask(platform: str, text: str, builder: str | None = None) -> list[str | None]:
    asked: list[str | None] = []

    def inspect(name: str | None) -> str:
        asked.append(name)
        return text

    require_runnable(platform, builder, here="x86_64", inspect=inspect)
    return asked


def test_a_platform_without_emulation_is_refused_before_the_build() -> None:
    with pytest.raises(EngineError, match=r"cannot run programs of linux/arm64 \(it runs linux/amd64, ") as caught:
        ask("linux/arm64", INSPECTED.format(more=""))
    assert "register emulation" in (caught.value.remedy or "")
    assert "--builder oci" in (caught.value.remedy or "")
    assert caught.value.exit_code == 7


@pytest.mark.parametrize("platform", ["linux/arm64", "linux/arm64/v8"])
@pytest.mark.parametrize("more", [", linux/arm64", ", linux/arm64/v8, linux/riscv64", ", linux/arm64*"])
def test_a_platform_with_emulation_is_built(platform: str, more: str) -> None:
    assert ask(platform, INSPECTED.format(more=more), "theirs") == ["theirs"]


def test_any_node_of_a_builder_will_do() -> None:
    assert runnable(TWO) == ("linux/amd64", "linux/386", "linux/arm64", "linux/arm/v7")
    assert ask("linux/arm/v7", TWO) == [None]


@pytest.mark.parametrize("text", ["", ASLEEP, "ERROR: no builder"])
def test_a_builder_that_says_nothing_is_given_a_try(text: str) -> None:
    assert ask("linux/arm64", text) == [None]


def test_the_machines_own_platform_is_not_asked_for() -> None:
    assert ask("linux/amd64", "Platforms: linux/arm64\n") == []


# --- the base ---------------------------------------------------------------------------------------------------------

INDEX = Base(reference="r.example.com/p:3", digest="sha256:" + "1" * 64, source="r.example.com/p@sha256:" + "1" * 64)
HERE = Base(reference="p:3", digest="sha256:" + "2" * 64, source="p:3", local=True)


def describe(monkeypatch: pytest.MonkeyPatch, error: Exception | None) -> list[str]:
    asked: list[str] = []

    def describe_base(base: Base, platform: str) -> None:
        asked.append(platform)
        if error is not None:
            raise error

    monkeypatch.setattr(emulation, "describe_base", describe_base)
    return asked


def test_a_base_at_a_registry_is_asked_for_another_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = describe(monkeypatch, documents.wrong_platform("the base p", "linux/arm64", ["linux/amd64"]))
    with pytest.raises(WrongPlatformError, match="not there for linux/arm64, only for linux/amd64"):
        require_platform(INDEX, "linux/arm64", here="x86_64")
    require_platform(INDEX, "linux/amd64", here="x86_64")
    assert asked == ["linux/arm64"]
    describe(monkeypatch, TemporaryError("the registry does not answer"))
    require_platform(INDEX, "linux/arm64", here="x86_64")


@pytest.mark.parametrize(("store", "refused"), [(False, True), (True, False)])
def test_a_base_of_the_engine_says_what_it_is_for(store: bool, refused: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    image = LocalImage(id=HERE.digest, platform="linux/amd64", size=1, repo_digests=(), labels={})
    info = engine_info({}, {"DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]] if store else []}, "", "")
    monkeypatch.setattr(emulation, "require_local", lambda reference: image)
    monkeypatch.setattr(emulation, "look_at_engine", lambda: info)
    require_platform(HERE, "linux/amd64")
    if refused:
        with pytest.raises(WrongPlatformError, match="the base p:3 is not there for linux/arm64"):
            require_platform(HERE, "linux/arm64")
    else:
        require_platform(HERE, "linux/arm64")
