"""What a docker-bake.json holds, and which environments it shares."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from packager.context.build_context import BuildContext, assemble
from packager.dockerfile.render import render
from packager.dockerfile.stages import environment_key, secret_from_variable, secret_ids
from packager.engine.bake_file import BakeImage, BakePlatform, BakeSettings, bake_document, bake_text, slug
from packager.errors import SpecError
from packager.plan.plan import Plan
from tests.unit.plans import example_conda_plan, example_plan, example_sources

AMD, ARM, ARMV7 = "linux/amd64", "linux/arm64", "linux/arm/v7"


def image(package: str = "a", target: str = "cpu", *platforms: str, tag: str = "", **more: Any) -> BakeImage:
    found = tuple(
        BakePlatform(
            platform=each,
            context=f"docker-bake/{package}-{target}",
            created=7,
            secrets=("id=ca,env=PACKAGER_CA",),
            environment=more.get("environment", ""),
        )
        for each in platforms or (AMD,)
    )
    tags = (tag or f"registry.example.com/{package}:1-{target}",)
    return BakeImage(package=package, target=target, tags=tags, platforms=found, apart=more.get("apart", False))


def document(*images: BakeImage, **settings: Any) -> dict[str, Any]:
    return bake_document(images, BakeSettings(**settings))


def test_groups_are_for_all_for_each_package_and_for_each_target() -> None:
    found = document(image("a", "cpu"), image("a", "gpu"), image("b.c", "cpu"))
    groups = {name: group["targets"] for name, group in found["group"].items()}
    assert groups == {
        "default": ["a-cpu", "a-gpu", "b_c-cpu"],
        "a": ["a-cpu", "a-gpu"],
        "b_c": ["b_c-cpu"],
        "cpu": ["a-cpu", "b_c-cpu"],
        "gpu": ["a-gpu"],
    }
    assert found["target"]["b_c-cpu"]["tags"] == ["registry.example.com/b.c:1-cpu"]


def test_a_target_says_all_that_a_build_is_told() -> None:
    entry = document(image(), args={"A": "1"}, no_cache=True, pull=True, outputs=("type=registry",))["target"]["a-cpu"]
    assert entry == {
        "context": "docker-bake/a-cpu",
        "platforms": [AMD],
        "args": {"SOURCE_DATE_EPOCH": "7", "A": "1"},
        "secret": ["id=ca,env=PACKAGER_CA"],
        "attest": ["type=provenance,disabled=true", "type=sbom,disabled=true"],
        "no-cache": True,
        "pull": True,
        "output": ["type=registry"],
        "tags": ["registry.example.com/a:1-cpu"],
        "labels": {},
    }


def test_an_environment_that_two_images_have_is_a_target_of_its_own() -> None:
    images = [image(name, environment="e" * 64) for name in ("a", "b")]
    targets = document(*images, image("c", environment="f" * 64), outputs=("type=registry",))["target"]
    shared = "environment-eeeeeeeeeeee"
    assert targets[shared]["target"] == "environment"
    assert targets[shared]["context"] == "docker-bake/a-cpu"
    assert targets[shared]["output"] == ["type=cacheonly"]
    assert "tags" not in targets[shared]
    for name in ("a-cpu", "b-cpu"):
        assert targets[name]["contexts"] == {"environment": f"target:{shared}"}
    assert "contexts" not in targets["c-cpu"]
    assert shared not in document(*images)["group"]["default"]["targets"]


def test_several_platforms_are_joined_by_a_target_of_the_images_name() -> None:
    targets = document(image("a", "cpu", AMD, ARM, ARMV7), outputs=("type=registry",))["target"]
    assert set(targets) == {"a-cpu", "a-cpu-linux-amd64", "a-cpu-linux-arm64", "a-cpu-linux-arm-v7"}
    joined = targets["a-cpu"]
    assert joined["dockerfile-inline"] == "FROM image-$TARGETOS-$TARGETARCH$TARGETVARIANT\n"
    assert joined["contexts"] == {
        "image-linux-amd64": "target:a-cpu-linux-amd64",
        "image-linux-arm64": "target:a-cpu-linux-arm64",
        "image-linux-armv7": "target:a-cpu-linux-arm-v7",
    }
    assert joined["platforms"] == [AMD, ARM, ARMV7]
    assert joined["output"] == ["type=registry"]
    single = targets["a-cpu-linux-arm64"]
    assert "tags" not in single
    assert "output" not in single


def test_platforms_with_tags_of_their_own_are_images_of_their_own() -> None:
    images = [image("a", "cpu", each, tag=f"a:{slug(each)}", apart=True) for each in (AMD, ARM)]
    found = document(*images)
    assert found["group"]["cpu"]["targets"] == ["a-cpu-linux-amd64", "a-cpu-linux-arm64"]


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ((image("a"), image("a")), "would both be called|both write the tag"),
        ((image("a"), image("a", tag="other:1")), "would both be called 'a-cpu'"),
        ((image("a.b"), image("a_b")), "would both be called 'a_b-cpu'"),
        ((image("a", tag="x:1"), image("b", tag="x:1")), r"a \(cpu\) and b \(cpu\) both write the tag x:1"),
        ((image("cpu"),), "the target 'cpu' has the name of a package"),
        ((image("default"),), "'default' has the name of the group of all images"),
        ((image("a"), image("a-cpu")), "'a-cpu' has the name of an image"),
    ],
)
def test_what_cannot_be_told_apart_is_refused(images: tuple[BakeImage, ...], message: str) -> None:
    with pytest.raises(SpecError, match=message) as caught:
        document(*images)
    assert caught.value.exit_code == 2


def test_no_text_is_taken_for_a_template() -> None:
    labelled = image()
    platform = msgspec.structs.replace(labelled.platforms[0], labels={"x": "${HOME} %{if} $1 $${a}"})
    text = bake_text([msgspec.structs.replace(labelled, platforms=(platform,))], BakeSettings(args={"A": "${B}"}))
    target = json.loads(text)["target"]["a-cpu"]
    assert target["labels"] == {"x": "$${HOME} %%{if} $1 $$${a}"}
    assert target["args"] == {"SOURCE_DATE_EPOCH": "7", "A": "$${B}"}


# --- which environments are the same ----------------------------------------------------------------------------------


def key(plan: Plan, dockerfile: str | None = None, requirements: str = "six==1") -> str:
    text = dockerfile or render(plan)
    context: BuildContext = assemble(plan, {"Dockerfile": text, "environment/requirements.txt": requirements})
    return environment_key(text, context, plan.platform, plan.base.digest)


def test_the_environment_does_not_depend_on_model_app_or_configuration() -> None:
    one = key(example_plan())
    other = example_plan("env: {A: b}\nserver: {port: 6000}\n", models=0, sources=example_sources(0, more="x"))
    assert render(other) != render(example_plan())
    assert one == key(other)
    assert len(one) == 64


def test_the_environment_depends_on_lock_platform_base_and_text() -> None:
    plan = example_plan()
    moved = msgspec.structs.replace(plan, base=msgspec.structs.replace(plan.base, digest="sha256:" + "9" * 64))
    text = render(plan)
    keys = {
        key(plan),
        key(plan, requirements="six==2"),
        key(msgspec.structs.replace(plan, platform=ARM)),
        key(moved),
        key(plan, text.replace("python3 -m venv", "python3.13 -m venv")),
        key(plan, text.replace("AS base", "AS base\nRUN touch /somewhere")),
        key(example_conda_plan()),
    }
    assert len(keys) == 7


def test_a_stage_that_the_environment_copies_from_counts_too() -> None:
    start = "FROM a AS base\nFROM a AS extra\nRUN {}\nFROM base AS environment\n{}\nFROM base\n"
    copy, mount = "COPY --link --from=extra /x /x", "RUN --mount=type=bind,from=extra,target=/x true"
    plan = example_plan()
    for line in (copy, mount):
        assert key(plan, start.format("one", line)) != key(plan, start.format("two", line))
    assert key(plan, start.format("one", "RUN true")) == key(plan, start.format("two", "RUN true"))
    assert key(plan, "FROM a AS base\nFROM base\n") == "", "a template of the user's may have no such stage"


def test_what_stands_before_the_first_stage_counts_too() -> None:
    """It is in scope of every FROM line, and a comment there may choose the reader of the whole text."""
    plan, text = example_plan(), "FROM a:$VERSION AS environment\nRUN true\n"
    keys = {key(plan, f"{start}{text}") for start in ("", "ARG VERSION=1\n", "ARG VERSION=2\n")}
    assert len(keys) == 3


def test_secrets_come_from_variables() -> None:
    assert secret_ids(render(example_plan())) == ("ca", "pip.conf")
    assert secret_ids(render(example_conda_plan())) == ("ca", "pip.conf", "rattler-auth")
    assert secret_from_variable("pip.conf") == "id=pip.conf,env=PACKAGER_PIP_CONF"
