"""Compose, systemd with Podman, Azure Container Instances, IoT Edge: what is decided, and how values are written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from packager.deployment import aci, compose, iot_edge, quadlet
from packager.deployment.platforms import render_for
from packager.deployment.quoting import compose_text, escaped, memory, unit_line
from packager.deployment.record import decide, next_record, rolled_back, shipped_of
from packager.deployment.terms import terms
from packager.deployment.workload import Rendering, Wishes, Workload
from packager.errors import UsageError
from packager.spec.service import Replicas, ServiceWishes, Tls
from tests.unit.workloads import HOSTILE, MACHINE, PLAIN, WHOLE

GOLDEN = Path(__file__).parents[1] / "golden"
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


def changed(workload: Workload, **changes: Any) -> Workload:
    return msgspec.structs.replace(workload, **changes)


def asking(**service: Any) -> Workload:
    return changed(PLAIN, service=ServiceWishes(**service))


def file(rendering: Rendering, path: str) -> str:
    return next(each.text for each in rendering.manifests if each.path == path)


def compose_service(workload: Workload, **wishes: Any) -> Any:
    document = yaml.safe_load(file(compose.render(workload, Wishes(**wishes)), "compose.yaml"))
    (service,) = document["services"].values()
    return service


def group(workload: Workload, **wishes: Any) -> Any:
    return yaml.safe_load(file(aci.render(workload, Wishes(**wishes)), aci.FILE))


@given(TEXTS)
def test_no_text_gets_out_of_its_quotes(text: str) -> None:
    assert yaml.safe_load(escaped(text)) == text
    assert yaml.safe_load(f"a: {compose_text(text)}\nb: 1") == {"a": text.replace("$", "$$"), "b": 1}
    assert "\n" not in escaped(text)


def test_systemd_expands_nothing_in_a_value() -> None:
    assert unit_line("100% of $HOME") == "100%% of $$HOME"


@pytest.mark.parametrize(("value", "text"), [(1 << 30, "1g"), (512 << 20, "512m"), (1500, "1500b"), (3 << 10, "3k")])
def test_memory_is_exact(value: int, text: str) -> None:
    assert memory(value) == text


def test_the_limits_are_those_that_are_asked_for() -> None:
    found = terms(asking(cpu="500m", memory="1Gi", memory_limit="2Gi", gpu=0))
    assert (found.cpu, found.cpu_limit, found.memory, found.memory_limit) == (0.5, 0.5, 1 << 30, 2 << 30)
    assert terms(changed(PLAIN, gpus="all")).gpus == "all"
    assert terms(changed(asking(gpu=3), gpus="all")).gpus == "3"
    # Who asks for none gets none, whatever the image was built for.
    assert terms(changed(asking(gpu=0), gpus="all")).gpus == ""


def test_compose_has_values_as_they_were_given() -> None:
    service = compose_service(WHOLE, publish=8080)
    assert service["environment"]["NOTE"] == HOSTILE.replace("$", "$$")
    assert service["ports"] == ["127.0.0.1:8080:5001"]
    assert service["stop_grace_period"] == "130s"
    assert service["secrets"] == [{"source": "keys", "target": "packager-keys"}]
    assert (service["healthcheck"]["interval"], service["healthcheck"]["retries"]) == ("7s", 4)
    assert service["deploy"]["resources"]["limits"] == {"cpus": "2", "memory": "1g", "pids": 4096}


@pytest.mark.parametrize("workload", [PLAIN, WHOLE, MACHINE])
def test_compose_keeps_the_images_promises(workload: Workload) -> None:
    service = compose_service(workload)
    assert service["user"] == "1000:1000"
    assert (service["read_only"], service["tmpfs"], service["cap_drop"]) == (True, ["/tmp"], ["ALL"])
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service


def test_compose_runs_what_only_this_machine_has_and_pulls_nothing() -> None:
    service = compose_service(changed(PLAIN, image=f"sha256:{'e' * 64}", local=True))
    assert (service["image"], service["pull_policy"]) == (f"sha256:{'e' * 64}", "never")
    assert "pull_policy" not in compose_service(PLAIN)


def test_an_image_of_several_platforms_runs_on_each() -> None:
    both = changed(PLAIN, platform="linux/arm64", platforms=("linux/arm64", "linux/amd64"))
    assert "platform" not in compose_service(both)
    assert compose_service(changed(PLAIN, platform="linux/arm64"))["platform"] == "linux/arm64"
    assert group(both)["properties"]["osType"] == "Linux"


def test_compose_asks_for_devices_by_variables() -> None:
    assert compose_service(MACHINE)["devices"] == [
        "${DEVICE_XCLMGMT:?set it to a device of this machine, such as /dev/xclmgmt*}",
        "${DEVICE_DRI_RENDERD:?set it to a device of this machine, such as /dev/dri/renderD*}",
    ]


def test_keys_are_in_no_file() -> None:
    for render in (compose.render, quadlet.render, aci.render, iot_edge.render):
        rendering = render(WHOLE, Wishes())
        assert any("openssl rand" in each for each in rendering.secrets)
        assert not any("openssl rand" in each for each in render(PLAIN, Wishes()).secrets)
    assert "/secrets/" in file(compose.render(WHOLE, Wishes()), ".gitignore")


def test_what_a_machine_does_not_do_is_said() -> None:
    unmet = " ".join(compose.render(asking(replicas=Replicas(min=2, max=5), auth="token"), Wishes()).unmet)
    assert "one replica runs, of 2 to 5" in unmet
    assert "in place of a token" in unmet
    assert compose.render(asking(replicas=1, memory="1Gi", auth="key"), Wishes()).unmet == ()
    assert "of 3" in quadlet.render(asking(replicas=3), Wishes()).unmet[0]


@pytest.mark.parametrize("render", [quadlet.render, aci.render, iot_edge.render])
def test_others_need_an_image_that_is_in_a_registry(render: Any) -> None:
    with pytest.raises(UsageError, match="only the engine of this machine has diabetes 1"):
        render(changed(PLAIN, local=True), Wishes())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gpus": "all"}, "has no GPUs any more"),
        ({"devices": ("/dev/xclmgmt*",)}, "no devices"),
        ({"platform": "linux/arm64"}, "the image is for linux/arm64"),
        ({"volumes": MACHINE.volumes}, "limits:1, weights:3 is outside"),
        ({"service": ServiceWishes(tls=Tls())}, "name is not known"),
        ({"service": ServiceWishes(tls=Tls(cname="a b"))}, "no name of a host"),
    ],
)
def test_azure_container_instances_refuses_what_it_has_not(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        aci.render(changed(PLAIN, **changes), Wishes())


@pytest.mark.parametrize(
    ("asked", "requests", "limits"),
    [
        # What is usual is more than the limit: that would not be one.
        ({"cpu_limit": 0.05, "memory_limit": "300Mi"}, (0.1, 0.3), None),
        ({"cpu_limit": 2}, (1, 1.5), (2, 1.5)),
        ({"memory": "1Gi", "memory_limit": "3Gi"}, (1, 1), (1, 3)),
    ],
)
def test_a_limit_alone_holds_in_a_container_group(asked: Any, requests: Any, limits: Any) -> None:
    (only,) = group(changed(PLAIN, service=ServiceWishes(**asked)))["properties"]["containers"]
    found = only["properties"]["resources"]
    assert tuple(found["requests"].values()) == requests
    assert (tuple(found["limits"].values()) if "limits" in found else None) == limits


def test_a_container_group_has_what_is_asked_for() -> None:
    properties = group(WHOLE, location="westeurope")["properties"]
    main, tls = properties["containers"]
    assert main["properties"]["resources"] == {
        "requests": {"cpu": 0.5, "memoryInGB": 0.5},
        "limits": {"cpu": 2, "memoryInGB": 1},
    }
    # Only what encrypts is reached from outside.
    assert properties["ipAddress"]["ports"] == [{"port": 443, "protocol": "TCP"}]
    assert tls["properties"]["image"].count("@sha256:") == 1
    assert group(WHOLE, location="westeurope")["location"] == "westeurope"
    usual = group(PLAIN)
    assert "location" not in usual
    assert usual["properties"]["containers"][0]["properties"]["resources"] == {
        "requests": {"cpu": 1, "memoryInGB": 1.5}
    }


def test_memory_of_a_container_group_is_rounded_up() -> None:
    requests = group(asking(cpu="120m", memory="1100Mi"))["properties"]["containers"][0]["properties"]["resources"]
    assert requests["requests"] == {"cpu": 0.2, "memoryInGB": 1.1}


def test_secrets_are_filled_in_and_nothing_else_is() -> None:
    text = file(aci.render(WHOLE, Wishes()), aci.FILE)
    names = aci.places(text)
    assert names == (*("PACKAGER_PRIMARY_KEY", "PACKAGER_SECONDARY_KEY", "TLS_CERTIFICATE_BASE64", "TLS_KEY_BASE64"),)
    # A registry's password is asked for where somebody takes its comment away.
    assert aci.places(text.replace("# imageReg", "imageReg").replace("  #   ", "    "))[-1] == "REGISTRY_PASSWORD"
    values = {name: f'{name} "${{PATH}}" \\' for name in names}
    document = yaml.safe_load(aci.filled(text, values))
    variables = document["properties"]["containers"][0]["properties"]["environmentVariables"]
    assert {each["name"]: each.get("secureValue") for each in variables}["PACKAGER_PRIMARY_KEY"] == values[names[0]]
    # A value of the service's own that looks like a place is none.
    odd = changed(WHOLE, env={"ODD": "${PACKAGER_PRIMARY_KEY}"})
    document = yaml.safe_load(aci.filled(file(aci.render(odd, Wishes()), aci.FILE), values))
    assert document["properties"]["containers"][0]["properties"]["environmentVariables"][0] == {
        "name": "ODD",
        "value": "${PACKAGER_PRIMARY_KEY}",
    }


def test_keys_without_tls_are_said_to_be_seen() -> None:
    open_to_all = changed(PLAIN, needs_key=True)
    assert any("keys cross the network unencrypted" in each for each in aci.render(open_to_all, Wishes()).unmet)
    assert not any("unencrypted" in each for each in aci.render(WHOLE, Wishes()).unmet)


@pytest.mark.parametrize(
    ("registry", "reached"), [("127.0.0.1:5000", False), ("localhost", False), ("example.azurecr.io", True)]
)
def test_azure_does_not_reach_a_registry_of_this_machine(registry: str, reached: bool) -> None:
    image = f"{registry}/ml/diabetes:1@sha256:{'a' * 64}"
    said = aci.render(changed(PLAIN, image=image), Wishes()).unmet
    assert any("Azure does not reach" in each for each in said) is not reached


def test_iot_edge_has_the_file_of_saved_contexts_with_a_digest() -> None:
    saved = (GOLDEN / "arm-edge-one-model/deployment.template.json").read_text()
    ((name, module),) = json.loads(saved)["modulesContent"]["$edgeAgent"]["properties.desired"]["modules"].items()
    image = f"{module['settings']['image']}@sha256:{'f' * 64}"
    workload = changed(PLAIN, name=name, version=module["version"], image=image, platform="linux/arm64")
    made = file(iot_edge.render(workload, Wishes()), iot_edge.TEMPLATE)
    assert made == saved.replace(module["settings"]["image"], image)


@pytest.mark.parametrize("workload", [PLAIN, MACHINE])
def test_a_hub_gets_the_options_in_pieces(workload: Workload) -> None:
    rendering = iot_edge.render(workload, Wishes())
    template, sent = (
        json.loads(file(rendering, path))["modulesContent"]["$edgeAgent"]["properties.desired"]["modules"]["diabetes"]
        for path in (iot_edge.TEMPLATE, iot_edge.MANIFEST)
    )
    pieces = {name: value for name, value in sent["settings"].items() if name.startswith("createOptions")}
    assert list(pieces) == ["createOptions", "createOptions01", "createOptions02"][: len(pieces)]
    assert all(len(each) <= 512 for each in pieces.values())
    assert json.loads("".join(pieces.values())) == template["settings"]["createOptions"]
    assert (len(pieces) > 1) is (workload is MACHINE)


@pytest.mark.parametrize(
    ("platform", "edit"),
    [
        ("compose", ("restart: unless-stopped", "restart: always")),
        ("quadlet", ("RestartSec=5", "RestartSec=9")),
        ("aci", ("osType: Linux", "osType: Linux # as always")),
        ("iot-edge", ('"restartPolicy": "always"', '"restartPolicy": "on-failure"')),
    ],
)
def test_another_version_is_all_that_changes_in_an_edited_file(platform: str, edit: tuple[str, str]) -> None:
    first, second = WHOLE, changed(WHOLE, version="2", image=f"registry.example.com/ml/diabetes:2@sha256:{'e' * 64}")
    before, after = (render_for(platform, each, Wishes()).manifests for each in (first, second))
    record = next_record(None, first, platform, Wishes(), before)
    edited = {each.path: each.text.replace(*edit) for each in before}
    assert any(each.text != edited[each.path] for each in before)
    changes = decide(record, edited, after, shipped_of(second))
    assert {each.kind for each in changes if edited[each.path] != each.after} == {"renewed"}
    assert {each.path: each.after for each in changes} == {each.path: each.text.replace(*edit) for each in after}
    # And back again: nothing of the version is left.
    back = next_record(record, second, platform, Wishes(), after)
    _, undone = rolled_back(back, {each.path: each.after for each in changes})
    assert {each.path: each.after for each in undone} == edited


def test_a_module_of_iot_edge_has_limits_and_devices() -> None:
    rendering = iot_edge.render(MACHINE, Wishes(publish=8080))
    document = json.loads(file(rendering, iot_edge.TEMPLATE))
    module = document["modulesContent"]["$edgeAgent"]["properties.desired"]["modules"]["diabetes"]
    options = module["settings"]["createOptions"]
    assert module["env"]["NOTE"] == {"value": HOSTILE}
    assert options["HostConfig"]["PortBindings"] == {"5001/tcp": [{"HostPort": "8080"}]}
    assert (options["HostConfig"]["Memory"], options["HostConfig"]["NanoCpus"]) == (1 << 30, 2 * 10**9)
    assert options["HostConfig"]["DeviceRequests"][0]["Count"] == 2
    assert options["Healthcheck"]["Interval"] == 7 * 10**9
    assert any(each.endswith(":/run/secrets/packager-keys:ro") for each in options["HostConfig"]["Binds"])
