"""The spec's `service:` section: what may stand there, and what follows from it where a package is started."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from packager.contract import AUTH_LABEL
from packager.errors import SpecError
from packager.serving.hosts.docker.container import create_options
from packager.serving.hosts.docker.image import ImagePackage
from packager.serving.service import HealthTimes, ImageRequest, Package, Publish
from packager.spec import Spec, parse_spec
from packager.spec.model import packaged
from packager.spec.service import Probes, Replicas, memory_of
from packager.steps.reporting import SILENT, Silent
from packager.steps.wishes import READY_IN, Granted, decide, grant

LEAST = 'name: churn\nversion: "1"\nentry_script: score.py\nenvironment: {pip: []}\n'
FACTS: dict[str, Any] = {"title": "churn:1", "target": "cpu", "platform": "linux/amd64", "port": 5001}


def spec(service: str, more: str = "") -> Spec:
    return parse_spec(f"{LEAST}{more}service: {service}\n", Path("packager.yaml")).spec


def granted(service: str, *, docker: bool = True, more: str = "", labels: dict[str, str] | None = None) -> Granted:
    found = spec(service, more)
    package = (ImagePackage if docker else Package)(**FACTS, labels=labels or {})
    return decide(found.service, found.server, package, {})


@pytest.mark.parametrize(
    ("text", "size"),
    [
        *(("512Mi", 512 << 20), ("2GiB", 2 << 30), ("1.5Gi", 3 << 29), ("2 GB", 2 * 10**9), ("500M", 500 * 10**6)),
        *(("512m", 512 << 20), ("2g", 2 << 30), ("2gb", 2 << 30), ("900000kB", 9 * 10**8), (1 << 30, 1 << 30)),
    ],
)
def test_memory_is_written_as_people_do(text: str | int, size: int) -> None:
    found = spec(f"{{memory: {text}}}").service
    assert found.most_memory == size
    assert memory_of(text) == size


def test_everything_has_its_place() -> None:
    found = spec(
        "{cpu: 500m, memory: 1Gi, gpu: 1, cpu_limit: 2, memory_limit: 2Gi, replicas: {min: 2, max: 4, target: 70}, "
        "concurrency: 3, max_queue_wait: 0.5, probes: {period: 10, initial_delay: 310}, scoring_timeout: 60, auth: key,"
        " tls: {cname: a.example.com, cert: ../c.pem, key: /k.pem}, namespace: ml, dns_name: churn}"
    ).service
    assert (found.most_cpu, found.most_memory) == (2.0, 2 << 30)
    assert found.replicas == Replicas(min=2, max=4, target=70)
    assert found.probes == Probes(period=10, initial_delay=310)
    assert spec("{replicas: 3}").service.replicas == 3
    # Less than a kernel can limit ends every start.
    assert spec("{cpu: 0.001}").service.most_cpu == spec("{cpu: 1m, cpu_limit: 2m}").service.most_cpu == 0.01


def test_no_image_follows_from_it() -> None:
    assert packaged(spec("{cpu: 1, auth: key, replicas: 3}")) == packaged(spec("{}"))


@pytest.mark.parametrize(
    ("service", "field", "words"),
    [
        ("{cpu: 2, cpu_limit: 1}", "cpu_limit", "less than cpu"),
        ("{cpu: 500m, cpu_limit: 0.25}", "cpu_limit", "less than cpu"),
        ("{memory: 1.5GB, memory_limit: 1Gi}", "memory_limit", "less than memory"),
        ("{memory: 1Mi}", "memory", "6 MiB"),
        ("{memory_limit: 512}", "memory_limit", "6291456"),
        ("{memory: lots}", "memory", "'lots'"),
        ("{memory: -1Gi}", "memory", "'-1Gi'"),
        ("{cpu: 0}", "cpu", "above 0"),
        ("{cpu: true}", "cpu", "true"),
        ("{replicas: 0}", "replicas", "at least 1"),
        ("{replicas: {min: 3, max: 2}}", "replicas.max", "at least 3"),
        ("{replicas: {min: 3, target: 70}}", "replicas.target", "fixed"),
        ("{replicas: {most: 3}}", "replicas.most", "unknown key 'most'"),
        ("{probes: {period: 0}}", "probes.period", "at least 1"),
        ("{probes: {periods: 1}}", "probes.periods", "unknown key"),
        ("{auth: basic}", "auth", "'basic'"),
        ("{tls: {cert: a.pem}}", "tls.cert", "of no use without `tls.key`"),
        ("{namespace: My_Space}", "namespace", "'My_Space'"),
        ("{dns_name: -a}", "dns_name", "'-a'"),
        ("{memry: 1Gi}", "memry", "unknown key 'memry'"),
        ("[]", "", "takes a mapping"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_line(service: str, field: str, words: str) -> None:
    with pytest.raises(SpecError) as caught:
        spec(service)
    assert words in caught.value.message
    assert caught.value.where is not None
    assert (caught.value.where.line, caught.value.where.field) == (5, f"service.{field}".rstrip("."))


def test_keys_that_the_image_asks_for_are_not_taken_away() -> None:
    with pytest.raises(SpecError, match="nothing takes away"):
        spec("{auth: none}", "server: {auth: key}\n")
    with pytest.raises(SpecError, match="GUNICORN_CMD_ARGS"):
        spec("{auth: key}", "env: {GUNICORN_CMD_ARGS: --preload}\n")


def test_a_container_gets_limits_variables_and_times() -> None:
    found = granted("{cpu: 0.5, memory: 1Gi, cpu_limit: 2, concurrency: 3, scoring_timeout: 400, probes: {period: 5}}")
    assert (found.cpus, found.memory) == (2.0, 1 << 30)
    assert found.env == {"WORKER_COUNT": "3", "SCORING_TIMEOUT_MS": "400000", "WORKER_TIMEOUT": "460"}
    request = ImageRequest(name="a", publish=Publish(container_port=5001, port=0), reference="a", memory=found.memory)
    options = create_options(request, "127.0.0.1")
    assert (options["mem_limit"], "healthcheck" in options) == (1 << 30, False)


def test_what_the_image_has_already_is_no_variable() -> None:
    found = granted("{concurrency: 3, scoring_timeout: 60}", more="server: {workers: 3}\n")
    assert found.env == {"SCORING_TIMEOUT_MS": "60000"}


@pytest.mark.parametrize(("asked", "given"), [("0.5", "500"), ("0.0001", "1"), ("86400", "86400000")])
def test_a_container_is_told_how_long_requests_may_wait(asked: str, given: str) -> None:
    found = granted(f"{{max_queue_wait: {asked}}}")
    assert (found.env, found.said) == ({"PACKAGER_MAX_QUEUE_WAIT_MS": given}, "")


def test_probes_are_the_times_of_the_health_check_and_of_the_start() -> None:
    found = granted("{probes: {period: 10, initial_delay: 310, timeout: 2, failure_threshold: 3}}")
    assert found.health == HealthTimes(interval=10, timeout=2, start_period=310, retries=3)
    assert found.ready_in == 340
    request = ImageRequest(name="a", publish=Publish(container_port=1, port=0), reference="a", health=found.health)
    check = create_options(request, "127.0.0.1")["healthcheck"]
    # Without a command: the engine takes the image's.
    assert check == {"interval": 10**10, "timeout": 2 * 10**9, "start_period": 310 * 10**9, "retries": 3}
    assert granted("{probes: {period: 1}}").ready_in == READY_IN


@pytest.mark.parametrize("auth", ["key", "token"])
def test_keys_are_asked_for_where_the_service_runs(auth: str) -> None:
    found = granted(f"{{auth: {auth}}}")
    assert (found.package.labels, found.env) == ({AUTH_LABEL: "key"}, {"PACKAGER_AUTH": "key"})
    assert found.said == ""
    # An image that asks by itself needs no variable.
    assert granted("{auth: key}", labels={AUTH_LABEL: "key"}).env == {}


def test_options_go_before() -> None:
    found = spec("{auth: key, concurrency: 3}")
    given = {"WORKER_COUNT": "2", "PACKAGER_AUTH": "none"}
    decided = decide(found.service, found.server, ImagePackage(**FACTS, labels={}), given)
    assert (decided.env, decided.package.labels) == ({}, {})


def test_what_is_not_done_here_is_said_in_one_sentence() -> None:
    text = (
        "{cpu: 1, gpu: 1, replicas: {max: 10}, max_queue_wait: 1, tls: {cname: a}, namespace: ml, dns_name: churn,"
        " probes: {period: 5}}"
    )
    assert granted(text).said == (
        "of `service:` not as asked for on this machine: one replica (of 1 to 10); no TLS; no namespace and dns_name"
    )
    without = granted(text, docker=False)
    assert (without.memory, without.cpus) == (None, None)
    assert "no limits of processors and memory, which only a container has" in without.said
    assert granted("{cpu: 1, memory: 1Gi, replicas: 1}").said == ""


def test_a_spec_of_another_image_counts_for_nothing() -> None:
    found = parse_spec(f"{LEAST}service: {{memory: 1Gi}}\n", Path("packager.yaml"))
    for title, memory in (("churn", 1 << 30), ("other", None)):
        package = ImagePackage(**FACTS, labels={"org.opencontainers.image.title": title})
        assert grant(found, package, {}, SILENT).memory == memory
    assert grant(None, ImagePackage(**FACTS, labels={}), {}, SILENT).memory is None


@pytest.mark.parametrize(("labels", "said"), [({"packager.target": "cpu"}, []), ({}, ["none of packager's images"])])
def test_an_image_that_packager_did_not_make_is_told_for_one(labels: dict[str, str], said: list[str]) -> None:
    class Warned(Silent):
        def warn(self, text: str) -> None:
            warned.append(text)

    warned = list[str]()
    grant(None, ImagePackage(**FACTS, labels=labels), {}, Warned())
    assert [text in each for text, each in zip(said, warned, strict=True)] == [True] * len(said)
