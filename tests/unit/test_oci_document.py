"""The documents of an image: what BuildKit would make of the same plan, as the same bytes every time."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from packager.errors import ContextError
from packager.oci.compose import image_config, make_image, make_index, manifest, merged_env, rfc3339
from packager.oci.values import (
    CONFIG,
    DOCKER_LAYER_GZIP,
    INDEX,
    LAYER_GZIP,
    MANIFEST,
    BaseImage,
    Descriptor,
    Image,
    Layer,
    digest_of,
)
from tests.unit.oci_content import FolderContent
from tests.unit.plans import example_plan

EPOCH = 1_700_000_000
LABELS = {"org.opencontainers.image.revision": "abc"}


def layer(name: str, media_type: str = LAYER_GZIP) -> Layer:
    blob = Descriptor(media_type=media_type, digest=digest_of(name.encode()), size=len(name))
    return Layer(blob=blob, diff_id=digest_of(f"{name} unpacked".encode()), title=name)


def base(config: dict[str, Any] | None = None, **more: Any) -> BaseImage:
    history = [{"created_by": "ADD rootfs"}, {"created_by": "CMD python3", "empty_layer": True}]
    document = {
        "architecture": "amd64",
        "os": "linux",
        "config": config or {},
        "history": history,
        "created": "2026-01-01T00:00:00Z",
        "container_config": {"Hostname": "x"},
        "docker_version": "26",
        **more,
    }
    return BaseImage(config=document, layers=(layer("base", DOCKER_LAYER_GZIP),))


OURS = (layer("environment"), layer("model"), layer("app"))


def config_of(base_image: BaseImage, **options: Any) -> dict[str, Any]:
    found = json.loads(image_config(example_plan(**options), base_image, OURS, LABELS, EPOCH))
    assert isinstance(found, dict)
    return found


def test_the_configuration_is_the_plans() -> None:
    plan = example_plan()
    found = config_of(base())["config"]
    assert found["User"] == "1000:1000"
    assert found["WorkingDir"] == "/var/azureml-app"
    assert found["Entrypoint"] == list(plan.config.entrypoint)
    assert found["ExposedPorts"] == {f"{plan.config.port}/tcp": {}}
    assert found["StopSignal"] == "SIGTERM"
    assert found["Env"] == [f"{name}={value}" for name, value in plan.config.env.items()]
    assert found["Labels"] == {**plan.config.labels, **LABELS}
    assert found["Healthcheck"] == {
        "Test": ["CMD", *plan.config.health.command],
        "Interval": 10 * 10**9,
        "Timeout": 10 * 10**9,
        "StartPeriod": 120 * 10**9,
        "Retries": 3,
    }


def test_what_the_base_has_is_inherited_or_reset() -> None:
    inherited = {
        "Env": ["LANG=C.UTF-8", "PATH=/usr/bin", "EMPTY=", "EQUALS=a=b"],
        "Cmd": ["python3"],
        "Entrypoint": ["/entry"],
        "User": "root",
        "WorkingDir": "/",
        "Labels": {"vendor": "x", "org.opencontainers.image.title": "base"},
        "ExposedPorts": {"80/tcp": {}},
        "Volumes": {"/data": {}},
        "StopSignal": "SIGKILL",
        "Shell": ["/bin/bash", "-c"],
        "Hostname": "builder",
        "AttachStdin": False,
        "OnBuild": None,
    }
    found = config_of(base(inherited))["config"]
    config = example_plan().config
    assert found["Env"][:4] == ["LANG=C.UTF-8", f"PATH={config.env['PATH']}", "EMPTY=", "EQUALS=a=b"]
    assert found["Env"][4] == "HOME=/tmp"
    assert found["Labels"]["vendor"] == "x"
    assert found["Labels"]["org.opencontainers.image.title"] == "diabetes"
    assert found["ExposedPorts"] == {"80/tcp": {}, f"{config.port}/tcp": {}}
    assert (found["Volumes"], found["Shell"]) == ({"/data": {}}, ["/bin/bash", "-c"])
    assert found["StopSignal"] == "SIGTERM"
    assert not {"Cmd", "Hostname", "AttachStdin", "OnBuild"} & found.keys()


def test_null_is_as_absent() -> None:
    nothing = dict.fromkeys(["Env", "Labels", "ExposedPorts", "Volumes", "OnBuild"])
    assert config_of(base(nothing)) == config_of(base())
    assert config_of(base(), platform="linux/amd64")["created"] == "2023-11-14T22:13:20Z"


def test_instructions_for_later_need_an_engine() -> None:
    with pytest.raises(ContextError, match="ONBUILD") as caught:
        config_of(base({"OnBuild": ["RUN true"]}))
    assert "--builder engine" in str(caught.value)


def test_the_top_of_the_configuration() -> None:
    more: dict[str, Any] = {"variant": "v8", "author": "somebody", "os.version": "1"}
    found = config_of(base(**more))
    assert (found["architecture"], found["os"], found["variant"]) == ("amd64", "linux", "v8")
    assert (found["author"], found["os.version"]) == ("somebody", "1")
    assert not {"container_config", "docker_version"} & found.keys()
    assert found["rootfs"] == {"type": "layers", "diff_ids": [each.diff_id for each in (layer("base"), *OURS)]}


def test_history_names_every_layer() -> None:
    history = config_of(base())["history"]
    assert history[:2] == base().config["history"]
    real = [each["created_by"] for each in history if not each.get("empty_layer")]
    assert real == ["ADD rootfs", "environment", "model", "app"]
    # An edit of a script sends it anew, so it says nothing twice.
    assert {tuple(each) for each in history[2:]} == {("created_by",)}


@pytest.mark.parametrize("history", [None, [], [{"created_by": "a"}, {"created_by": "b"}]])
def test_a_history_that_does_not_fit_is_replaced(history: Any) -> None:
    found = config_of(base(history=history))["history"]
    assert [each["created_by"] for each in found if not each.get("empty_layer")][:2] == ["base", "environment"]


def test_the_manifest_lists_what_is_there() -> None:
    config = b"{}"
    found = json.loads(manifest(config, OURS))
    assert found == {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, "digest": digest_of(config), "size": 2},
        "layers": [{"mediaType": LAYER_GZIP, "digest": each.blob.digest, "size": each.blob.size} for each in OURS],
    }


def test_an_image_is_put_whole_into_the_store(tmp_path: Path) -> None:
    content = FolderContent(tmp_path / "content")
    made = make_image(example_plan(), base(), OURS, LABELS, EPOCH, content)
    assert content.path(made.digest).read_bytes() == made.manifest
    assert content.path(made.id).read_bytes() == made.config
    assert json.loads(made.manifest)["config"]["digest"] == made.id
    # The base's layer keeps its bytes, but a manifest of the OCI has the OCI's media types.
    assert {each.blob.media_type for each in made.layers} == {LAYER_GZIP}
    assert [each.title for each in made.layers] == ["base", "environment", "model", "app"]
    again = make_image(example_plan(), base(), OURS, dict(reversed(LABELS.items())), EPOCH, content)
    assert again == made
    assert content.puts == 2


def test_an_index_names_platforms() -> None:
    images = [
        Image(platform=platform, manifest=platform.encode(), config=b"{}", layers=())
        for platform in ("linux/amd64", "linux/arm64/v8")
    ]
    found = json.loads(make_index(images))
    assert found["mediaType"] == INDEX
    assert [each["platform"] for each in found["manifests"]] == [
        {"os": "linux", "architecture": "amd64"},
        {"os": "linux", "architecture": "arm64", "variant": "v8"},
    ]
    assert [each["digest"] for each in found["manifests"]] == [each.digest for each in images]


def test_env_keeps_its_order() -> None:
    assert merged_env(["B=1", "A=2"], {"C": "3", "A": "4"}) == ["B=1", "A=4", "C=3"]
    assert merged_env([], {}) == []


def test_times() -> None:
    assert rfc3339(0) == "1970-01-01T00:00:00Z"


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/St_Johns"])
def test_times_do_not_depend_on_the_machines_time_zone(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert rfc3339(EPOCH) == "2023-11-14T22:13:20Z"
        assert config_of(base())["created"] == "2023-11-14T22:13:20Z"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_every_document_has_its_keys_in_one_order(tmp_path: Path) -> None:
    """Whatever the order of the base's configuration, and of the labels, was."""
    config = {"Labels": {"z": "1", "a": "2"}, "Volumes": {"/z": {}, "/a": {}}}
    one = make_image(example_plan(), base(config), OURS, {"z": "1", "b": "2"}, EPOCH, FolderContent(tmp_path))
    turned = {"Volumes": {"/a": {}, "/z": {}}, "Labels": {"a": "2", "z": "1"}}
    other = make_image(example_plan(), base(turned), OURS, {"b": "2", "z": "1"}, EPOCH, FolderContent(tmp_path))
    assert one.config == other.config
    for document in (one.config, one.manifest, make_index([one])):
        text = json.dumps(json.loads(document), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert document.decode() == text


def test_labels_of_the_build_go_before_those_of_the_plan_and_these_before_the_bases() -> None:
    name = next(iter(example_plan().config.labels))
    mine = {name: "mine", "theirs": "mine"}
    found = json.loads(image_config(example_plan(), base({"Labels": {"theirs": "x", "kept": "x"}}), OURS, mine, EPOCH))
    assert found["config"]["Labels"] == {**example_plan().config.labels, **mine, "kept": "x"}
    planned = config_of(base({"Labels": {name: "of the base"}}))["config"]["Labels"]
    assert planned[name] == example_plan().config.labels[name]
