"""Files of Kubernetes: what its own schemas say of them, what they promise, and what is refused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import kubernetes_validate
import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from packager.deployment.kubernetes import names, removal, render
from packager.deployment.kubernetes.values import probes_of
from packager.deployment.text import yaml_text
from packager.deployment.workload import Volume, Wishes, Workload
from packager.errors import UsageError
from packager.programs.image.keys import DEFAULT_PATH
from packager.spec.service import Probes, Replicas, ServiceWishes
from tests.unit.kubernetes_workloads import CASES, DIGEST, OTHER, PLAIN, WHOLE

#: Of custom resources, no schema is at hand.
CUSTOM = ("kustomize.config.k8s.io", "gateway.networking.k8s.io", "serving.kserve.io")
#: Case → versions of Kubernetes that it is for: an image as a volume is unknown to those before 1.31.
VERSIONS = {"plain": ("1.25", "1.34", "1.37"), "older": ("1.25", "1.32", "1.35"), "canary": ("1.33", "1.36", "1.37")}


def objects(workload: Workload, wishes: Wishes) -> dict[str, Any]:
    """Path → object of each file."""
    return {each.path: yaml.safe_load(each.text) for each in render(workload, wishes).manifests}


def changed(workload: Workload = PLAIN, **changes: Any) -> Workload:
    return msgspec.structs.replace(workload, **changes)


def pods(workload: Workload, wishes: Wishes) -> Iterator[Any]:
    for found in objects(workload, wishes).values():
        if found["kind"] == "Deployment":
            yield found["spec"]["template"]["spec"]


@pytest.mark.parametrize(("case", "version"), [(case, each) for case, every in VERSIONS.items() for each in every])
def test_every_object_is_what_the_schema_of_the_version_says(case: str, version: str) -> None:
    checked = 0
    for found in objects(*CASES[case]).values():
        if found["apiVersion"].partition("/")[0] not in CUSTOM:
            kubernetes_validate.validate(found, version, strict=True)
            checked += 1
    assert checked >= 3


def test_the_schemas_refuse_what_they_do_not_know() -> None:
    found = objects(*CASES["canary"])["deployment.yaml"]
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(found, "1.25", strict=True)


@pytest.mark.parametrize("case", CASES)
def test_the_kustomization_has_every_other_file_and_all_have_its_namespace(case: str) -> None:
    found = objects(*CASES[case])
    kustomization = found.pop("kustomization.yaml")
    assert kustomization["resources"] == [*found]
    assert {each["metadata"]["namespace"] for each in found.values()} == {kustomization["namespace"]}


@pytest.mark.parametrize("case", ["plain", "canary", "older"])
def test_pods_keep_the_promises_of_the_image(case: str) -> None:
    for pod in pods(*CASES[case]):
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in (*pod["containers"], *pod.get("initContainers", ())):
            assert re.fullmatch(r"[^:@]+@sha256:[0-9a-f]{64}", container["image"])
            assert container["resources"]["limits"]["memory"]
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"] is True
            assert context["allowPrivilegeEscalation"] is False
            assert context["capabilities"] == {"drop": ["ALL"]}
        writable = [each["mountPath"] for each in pod["containers"][0]["volumeMounts"] if not each.get("readOnly")]
        assert writable == ["/tmp"]


def test_keys_are_mounted_where_the_server_looks_and_stand_in_no_file() -> None:
    rendering = render(*CASES["plain"])
    (pod,) = pods(*CASES["plain"])
    mounts = {each["name"]: each["mountPath"] for each in pod["containers"][0]["volumeMounts"]}
    assert mounts["keys"] == DEFAULT_PATH
    assert next(each for each in pod["volumes"] if each["name"] == "keys")["secret"]["secretName"] == "churn-keys"
    assert not any("kind: Secret" in each.text for each in rendering.manifests)
    (command,) = rendering.secrets
    assert command in next(each.text for each in rendering.manifests if each.path == "deployment.yaml")


def test_the_end_of_a_pod_leaves_time_for_the_longest_request() -> None:
    (pod,) = pods(*CASES["plain"])
    drain = int(re.search(r"sleep\((\d+)\)", str(pod["containers"][0]["lifecycle"]["preStop"]))[1])  # type: ignore[index]
    assert pod["terminationGracePeriodSeconds"] == PLAIN.grace + drain


def test_a_start_may_take_as_long_as_the_probes_say_and_probes_are_as_given() -> None:
    pod = next(pods(*CASES["canary"]))
    startup, readiness, liveness = (
        pod["containers"][0][f"{each}Probe"] for each in ("startup", "readiness", "liveness")
    )
    assert startup["periodSeconds"] * startup["failureThreshold"] >= WHOLE.ready_in
    assert (readiness["periodSeconds"], readiness["timeoutSeconds"], readiness["failureThreshold"]) == (15, 3, 4)
    assert readiness["successThreshold"] == 2
    # Kubernetes refuses another one there.
    assert liveness.get("successThreshold", 1) == startup.get("successThreshold", 1) == 1
    assert liveness["failureThreshold"] == 4
    (patient,) = pods(changed(service=ServiceWishes(probes=Probes(period=20))), Wishes())
    assert patient["containers"][0]["livenessProbe"]["periodSeconds"] == 20


def test_an_autoscaler_decides_on_replicas_alone() -> None:
    found = objects(*CASES["canary"])
    assert "replicas" not in found["deployment.yaml"]["spec"]
    scaler = found["horizontalpodautoscaler.yaml"]["spec"]
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (2, 5)
    assert scaler["metrics"][0]["resource"]["target"] == {"type": "Utilization", "averageUtilization": 60}
    fixed = objects(changed(service=ServiceWishes(replicas=3)), Wishes())
    assert fixed["deployment.yaml"]["spec"]["replicas"] == 3
    assert "poddisruptionbudget.yaml" in fixed
    assert "horizontalpodautoscaler.yaml" not in fixed
    ranged = objects(changed(service=ServiceWishes(replicas=Replicas(min=1, max=4))), Wishes())
    assert (
        ranged["horizontalpodautoscaler.yaml"]["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] == 70
    )


def test_a_canary_gets_its_share_and_whoever_asks_for_it() -> None:
    workload, wishes = CASES["canary"]
    found = objects(workload, msgspec.structs.replace(wishes, canary_percent=25))
    named, canary_named, shared = found["httproute.yaml"]["spec"]["rules"]
    assert [(each["name"], each["weight"]) for each in shared["backendRefs"]] == [("churn", 75), ("churn-canary", 25)]
    assert [each["backendRefs"][0]["name"] for each in (named, canary_named)] == ["churn", "churn-canary"]
    assert canary_named["matches"][0]["headers"] == [{"name": "azureml-model-deployment", "value": "canary"}]
    # The one Service does not take in the other's pods.
    selectors = [found[f"{each}service.yaml"]["spec"]["selector"] for each in ("", "canary-")]
    labels = [found[f"{each}deployment.yaml"]["spec"]["template"]["metadata"]["labels"] for each in ("", "canary-")]
    fits = [[selector.items() <= each.items() for each in labels] for selector in selectors]
    assert fits == [[True, False], [False, True]]


def test_a_model_is_an_image_or_is_fetched_where_the_cluster_is_older() -> None:
    workload, wishes = CASES["older"]
    (older,) = pods(workload, wishes)
    (newer,) = pods(workload, msgspec.structs.replace(wishes, kubernetes="1.36"))
    image = f"registry.example.com/models/bert@{OTHER}"
    assert next(each for each in newer["volumes"] if "image" in each)["image"]["reference"] == image
    assert "initContainers" not in newer
    assert image in older["initContainers"][0]["command"]
    path = WHOLE.volumes[0].path
    assert path in [each["mountPath"] for each in older["containers"][0]["volumeMounts"]]


def test_devices_are_asked_for_and_their_nodes_tolerated() -> None:
    (pod,) = pods(*CASES["older"])
    assert pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert pod["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    card = changed(devices=("/dev/xclmgmt*",), device_resource="xilinx.com/fpga-u200-1", target="fpga")
    (pod,) = pods(card, Wishes())
    assert pod["containers"][0]["resources"]["limits"]["xilinx.com/fpga-u200-1"] == 1
    (pod,) = pods(changed(WHOLE, service=ServiceWishes(gpu=0)), Wishes())
    assert "nvidia.com/gpu" not in str(pod["containers"][0]["resources"])


def test_a_pod_goes_where_its_image_runs() -> None:
    (pod,) = pods(changed(platform="linux/arm64"), Wishes())
    assert pod["nodeSelector"]["kubernetes.io/arch"] == "arm64"
    pod = next(pods(*CASES["canary"]))
    terms = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert terms[0]["matchExpressions"][0]["values"] == ["amd64", "arm64"]


@pytest.mark.parametrize(
    ("workload", "wishes", "said"),
    [
        (changed(local=True, image=DIGEST), Wishes(), "only this machine's engine"),
        (changed(image="registry.example.com/churn:1"), Wishes(), "has no digest"),
        (changed(user=0), Wishes(), "runs as root"),
        (changed(name="churn_model"), Wishes(), "--name churn-model"),
        (changed(name="a" * 64), Wishes(), "may have 63"),
        (changed(name="a" * 60), CASES["canary"][1], "may have 56"),
        (changed(version="1" * 64), Wishes(), "the version"),
        (changed(version="1."), Wishes(), "the version"),
        (PLAIN, Wishes(namespace="Models"), "namespace"),
        (PLAIN, Wishes(kubernetes="1.24"), "1.25"),
        (WHOLE, Wishes(kubernetes="2.0"), "no version of Kubernetes"),
        (changed(platform="windows/amd64"), Wishes(), "windows/amd64"),
        (changed(service=ServiceWishes(cpu=0.0001)), Wishes(), "less than Kubernetes can give"),
        (changed(service=ServiceWishes(cpu=2, cpu_limit=1)), Wishes(), "no node can give"),
        (changed(service=ServiceWishes(memory="2Gi", memory_limit="1Gi")), Wishes(), "no node can give"),
        (changed(devices=("/dev/xclmgmt*",)), Wishes(), "--device-resource"),
        (changed(gpus="all", device_resource="gpu"), Wishes(), "resource of a device plugin"),
        (
            changed(volumes=(Volume(name="bert", version=3, digest=OTHER, path="/x"),)),
            Wishes(),
            "packager model push bert:3 .* --as image",
        ),
        (PLAIN, Wishes(route="ingress"), "--host"),
        (PLAIN, Wishes(route="ingress", host="a b"), "name of a host"),
        (PLAIN, Wishes(route="gateway"), "--gateway NAMESPACE/NAME"),
        (PLAIN, Wishes(route="gateway", gateway="main"), "is not NAMESPACE/NAME"),
        (PLAIN, Wishes(gateway="infra/main"), "add --route"),
        (PLAIN, Wishes(canary=f"registry.example.com/churn@{OTHER}"), "--route gateway"),
        (PLAIN, Wishes(canary="registry.example.com/churn:2", route="gateway"), "has no digest"),
        (PLAIN, Wishes(canary=PLAIN.image, route="gateway", gateway="infra/main"), "is the image"),
        (PLAIN, Wishes(flavor="kserve", route="ingress"), "KServe makes routes by itself"),
        (PLAIN, Wishes(pull_secret="a b"), "--pull-secret"),
    ],
)
def test_what_cannot_be_run_is_refused(workload: Workload, wishes: Wishes, said: str) -> None:
    with pytest.raises(UsageError) as raised:
        render(workload, wishes)
    assert re.search(said, str(raised.value))


def test_what_is_asked_for_and_not_there_is_said() -> None:
    service = ServiceWishes(auth="token", dns_name="churn", memory="1Gi")
    unmet = " ".join(render(changed(service=service), Wishes()).unmet)
    assert all(word in unmet for word in ("auth", "churn"))
    assert "memory" in " ".join(render(changed(service=ServiceWishes()), Wishes()).unmet)
    assert render(*CASES["plain"]).unmet == ()


@pytest.mark.parametrize("case", CASES)
def test_every_object_can_be_taken_away(case: str) -> None:
    manifests = [each for each in render(*CASES[case]).manifests if each.path != "kustomization.yaml"]
    found = [yaml.safe_load(each.text) for each in manifests]
    words = [(each["kind"].lower(), each["metadata"]["name"], each["metadata"]["namespace"]) for each in found]
    expected = [f"kubectl delete {kind} {name} --namespace {space}" for kind, name, space in words]
    assert list(removal(each.text for each in manifests)) == expected
    assert removal(["kind: Deployment\n", "mine\n"]) == ()


@pytest.mark.parametrize(("size", "text"), [(512 << 20, "512Mi"), (1 << 30, "1Gi"), (500_000_000, "500000000")])
def test_memory_is_written_without_loss(size: int, text: str) -> None:
    assert names.memory_quantity(size) == text


@pytest.mark.parametrize(
    ("processors", "text"), [(1.0, "1"), (3.0, "3"), (0.5, "500m"), (0.001, "1m"), (1.25, "1250m"), (64.0, "64")]
)
def test_processors_are_written_to_the_thousandth(processors: float, text: str) -> None:
    assert names.cpu_quantity(processors) == text


def test_who_asks_for_nothing_gets_what_v1_gave() -> None:
    (pod,) = pods(changed(service=ServiceWishes()), Wishes())
    assert pod["containers"][0]["resources"] == {"requests": {"cpu": "100m", "memory": "512Mi"}}


def test_a_limit_alone_is_no_less_than_the_request() -> None:
    service = ServiceWishes(cpu_limit=0.05, memory_limit="256Mi")
    (pod,) = pods(changed(service=service), Wishes())
    assert pod["containers"][0]["resources"]["requests"] == {"cpu": "50m", "memory": "256Mi"}
    roomy = ServiceWishes(cpu_limit=2, memory_limit="4Gi")
    (pod,) = pods(changed(service=roomy), Wishes())
    assert pod["containers"][0]["resources"]["requests"] == {"cpu": "100m", "memory": "512Mi"}


@pytest.mark.parametrize(
    ("ready_in", "period", "expected"), [(120, None, (5, 24)), (121, None, (5, 25)), (9, 2, (2, 5))]
)
def test_a_start_is_asked_often_and_for_as_long_as_it_may_take(
    ready_in: int, period: int | None, expected: tuple[int, int]
) -> None:
    startup, readiness, liveness = probes_of(Probes(period=period), ready_in)
    assert (startup.period, startup.failures) == expected
    assert (readiness.successes, liveness.successes, startup.successes) == (1, 1, 1)
    assert (readiness.failures, liveness.failures) == (3, 6)
    assert readiness.period == (period or 10)


@pytest.mark.parametrize(("replicas", "expected"), [(None, 1), (3, 3), (Replicas(min=2, max=5), 1)])
def test_a_canary_has_as_many_replicas_as_its_sibling_and_one_where_that_is_scaled(
    replicas: Any, expected: int
) -> None:
    workload = changed(service=ServiceWishes(replicas=replicas))
    found = objects(workload, CASES["canary"][1])
    assert found["canary-deployment.yaml"]["spec"]["replicas"] == expected


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\u2028\u2029\ufffe\uffff\ufeff")))
def test_a_text_stays_a_text_in_yaml(text: str) -> None:
    assert yaml.safe_load(f"a: {yaml_text(text)}\n") == {"a": text}


@pytest.mark.parametrize("text", ["no", "Yes", "null", "1.0", "0x1f", "~", "a: b", "a #b", "-", "", "12e3", "a:"])
def test_a_word_that_means_something_else_is_quoted(text: str) -> None:
    assert yaml.safe_load(yaml_text(text)) == text


def test_values_of_a_spec_reach_the_container_as_they_are() -> None:
    value = "a: \"b\" #c ${D} 'e' \\ {{ f }} – ü"
    (pod,) = pods(changed(env={"NOTE": value}), Wishes())
    assert pod["containers"][0]["env"] == [{"name": "NOTE", "value": value}]
