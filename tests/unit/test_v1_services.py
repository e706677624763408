"""What v1's deployments ask of packager's services: by a host that is none, so without an engine."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from threading import Barrier
from typing import Any

import msgspec
import pytest

from packager.azureml import deploying, endpoints, records, updating
from packager.azureml.calling import ONE_AT_A_TIME
from packager.azureml.core import Model, Workspace
from packager.azureml.core.compute import AksCompute, ComputeTarget
from packager.azureml.core.image import ContainerImage, Image
from packager.azureml.core.inference_config import InferenceConfig
from packager.azureml.core.webservice import (
    AciWebservice,
    AksEndpoint,
    AksWebservice,
    LocalWebservice,
    Webservice,
    aks_endpoint,
    aks_service,
)
from packager.azureml.core.webservice import webservice as webservices
from packager.azureml.exceptions import WebserviceException
from packager.errors import EngineError, ServiceError
from packager.serving.keys import Token, token_of
from packager.serving.service import KeyPair
from packager.serving.status import Change, StateName, Status, Version, service_name
from packager.serving.taken import require_one_backend
from packager.spec.load import SpecFile, load_spec
from packager.steps.declared import Declared, lay_out
from packager.steps.run import RunWish
from packager.steps.service import traffic_of
from packager.workspace.values import Held, ImageRecord


class Services:
    """Named services as `packager.steps.service` has them, that are remembered and not run."""

    Change = Change
    service_name = staticmethod(service_name)
    traffic_of = staticmethod(traffic_of)
    require_one_backend = staticmethod(require_one_backend)

    def __init__(self) -> None:
        self.running: dict[str, Status] = {}
        self.wishes: dict[str, RunWish] = {}
        self.specs: dict[str, SpecFile | None] = {}
        self.changes: list[tuple[str, Any]] = []
        self.failing = ""
        self.engine = True
        self.elsewhere = False
        self.mounted: dict[str, Any] = {}
        self.renewed: list[str] = []
        self.pair = KeyPair(primary="first", secondary="second")
        self.shares: dict[str, int] = {}

    def deploy(
        self,
        name: str,
        wish: RunWish,
        spec_file: Any = None,
        *,
        version: str | None = None,
        replace: bool = False,
        mounts: Any = (),
        reporter: Any = None,
    ) -> Status:
        if version is not None:
            return self.add(name, version, wish)
        assert replace or name not in self.running
        if mounts and self.elsewhere:
            raise EngineError("the engine's machine has no folder")
        self.mounted[name] = mounts
        self.wishes[name] = wish
        self.specs[name] = spec_file
        state: StateName = "Failed" if self.failing else "Healthy"
        self.running[name] = Status(
            name=name, state=state, reason=self.failing, image=str(wish.reference), url="http://127.0.0.1:4711/"
        )
        if self.failing:
            raise ServiceError(self.failing)
        return self.running[name]

    def add(self, name: str, version: str, wish: RunWish) -> Status:
        """Add a version without requests; the first gets all."""
        assert (name in self.running) == (wish.publish is None), "one address"
        self.wishes[version] = wish
        if self.failing:
            raise ServiceError(self.failing)
        old = self.running.get(name)
        self.shares = {**self.shares, version: 0} if old is not None else {version: 100}
        made = Version(
            name=version, traffic=self.shares[version], state="Healthy", reason="", image=str(wish.reference)
        )
        versions = (*(old.versions if old is not None else ()), made)
        self.running[name] = Status(
            name=name, state="Healthy", reason="", image="", url="http://127.0.0.1:4711/", versions=versions
        )
        return self.running[name]

    def set_traffic(self, name: str, shares: dict[str, int]) -> Status:
        assert sum(shares.values()) == 100
        assert set(shares) <= {each.name for each in self.look(name).versions}
        self.shares = shares
        found = self.look(name)
        versions = tuple(msgspec.structs.replace(each, traffic=shares.get(each.name, 0)) for each in found.versions)
        self.running[name] = msgspec.structs.replace(found, versions=versions)
        return self.look(name)

    def update(
        self,
        name: str,
        change: Any,
        spec_file: Any = None,
        *,
        version: str | None = None,
        timeout: float = 120.0,
        reporter: Any = None,
    ) -> Status:
        if self.failing:
            raise ServiceError(f"{name} still runs: {self.failing}")
        self.changes.append((name if version is None else f"{name} {version}", change))
        return self.look(name)

    def engine_answers(self) -> bool:
        return self.engine

    def is_without_docker(self, name: str) -> bool:
        return name in self.running and name in self.wishes and not self.wishes[name].docker

    def service_names(self) -> tuple[str, ...]:
        return tuple(self.running)

    def renew(self, name: str, mounts: Any, write: Any, *, timeout: float, reporter: Any) -> Status | None:
        if not mounts or self.mounted[name] != mounts:
            return None
        write()
        self.renewed.append(name)
        return self.look(name)

    def look(self, name: str, *, version: str | None = None) -> Status:
        if name not in self.running:
            raise ServiceError(f"there is no service {name!r}")
        return self.running[name]

    def delete(self, name: str, *, version: str | None = None, reporter: Any = None) -> None:
        found = self.look(name)
        if version is None:
            del self.running[name]
            return
        assert not self.shares.get(version), "it gets requests"
        rest = tuple(each for each in found.versions if each.name != version)
        self.running[name] = msgspec.structs.replace(found, versions=rest)

    def logs(self, name: str, lines: int, *, version: str | None = None) -> Iterator[bytes]:
        yield f"{name} {f'{version} ' if version else ''}{lines}".encode()

    def access_token(self, name: str) -> Token:
        return token_of(self.show_keys(name), time.time())

    def show_keys(self, name: str, regenerate: Any = None) -> KeyPair:
        if regenerate:
            self.pair = self.pair.regenerated(regenerate)
        return self.pair


@pytest.fixture
def services(monkeypatch: pytest.MonkeyPatch) -> Services:
    made = Services()
    for module in (deploying, updating, endpoints, webservices, aks_service, aks_endpoint):
        monkeypatch.setattr(module, "services", made)
    return made


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Declared]]:
    """Images that were to be built: reference, and what of."""
    images: list[tuple[str, Declared]] = []

    def build(workspace: Workspace, declared: Declared, kind: str, reference: str) -> SpecFile:
        images.append((reference, declared))
        with laid(workspace, declared, kind) as spec_file:
            return spec_file

    @contextmanager
    def laid(workspace: Workspace, declared: Declared, kind: str) -> Iterator[SpecFile]:
        folder = records.folder(workspace, kind) / declared.name
        lay_out(declared, folder)
        yield load_spec(folder / "packager.yaml")

    for module in (deploying, updating):
        monkeypatch.setattr(module, "laid", laid)
    monkeypatch.setattr(deploying, "build_image", build)
    monkeypatch.setattr("packager.azureml.imaging.build_image", build)
    return images


@pytest.fixture
def ws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    for name in ("DATA", "CACHE", "CONFIG"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "score.py").write_text("def init(): ...\ndef run(data): ...\n")
    (tmp_path / "weights.txt").write_text("1")
    return Workspace.create("team")


@pytest.fixture
def config(ws: Workspace) -> InferenceConfig:
    return InferenceConfig("score.py")


def test_a_local_service_is_started_on_its_port_and_replaced_by_the_next(
    ws: Workspace, config: InferenceConfig, services: Services, built: list[tuple[str, Declared]]
) -> None:
    model = Model.register(ws, "weights.txt", "m")
    local = LocalWebservice.deploy_configuration(port=8890)
    service: Any = Model.deploy(ws, "svc", [model, "weights.txt"], config, local)
    assert isinstance(service, LocalWebservice)
    assert (service.state, service.port, service.scoring_uri) == ("running", 4711, "http://localhost:4711/score")
    wish = services.wishes["svc"]
    assert (wish.reference, wish.publish, wish.cpus, wish.memory, wish.keys) == ("svc:1", "8890:5001", None, None, None)
    ((_, declared),) = built
    assert [each.registered or each.name for each in declared.models] == ["m:1", "weights.txt"]
    assert declared.server == {}
    assert Model.deploy(ws, "svc", [model], config, local).image_id == "svc:2"
    assert [each.id for each in Webservice(ws, "svc").models] == ["m:1"]
    assert [each.name for each in LocalWebservice.list(ws, model_name="m")] == ["svc"]
    assert LocalWebservice.list(ws, model_name="other") == []
    assert LocalWebservice(ws, "none", must_exist=False).state == "unknown"
    with pytest.raises(NotImplementedError):
        service.get_keys()


def test_limits_keys_and_timeouts_of_a_configuration_are_asked_for(
    ws: Workspace,
    config: InferenceConfig,
    services: Services,
    built: list[tuple[str, Declared]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    target = ComputeTarget.attach(ws, "cluster", AksCompute.attach_configuration(resource_id="x"))
    wanted = AksWebservice.deploy_configuration(
        cpu_cores_limit=0.5, memory_gb=0.5, scoring_timeout_ms=1500, primary_key="k" * 32, num_replicas=2
    )
    service: Any = Model.deploy(ws, "svc", ["weights.txt"], config, wanted, target)
    assert "svc: this machine is AKS here, with processors: 0.5, memory: 0.5 GB, keys" in capsys.readouterr().err
    assert (service.auth_enabled, service.compute_name, service.state) == (True, "cluster", "Healthy")
    wish = services.wishes["svc"]
    assert (wish.cpus, wish.memory, wish.keys) == (0.5, "512m", "k" * 32)
    resources = service.container_resource_requirements
    assert (resources.cpu, resources.cpu_limit, resources.memory_in_gb) == (0.5, 0.5, 0.5)
    assert (service.num_replicas, service.autoscaler.autoscale_enabled, service.scoring_timeout_ms) == (2, False, 1500)
    assert service.liveness_probe_requirements.serialize()["failureThreshold"] == 3
    service.update(failure_threshold=5, autoscale_max_replicas=4)
    again: Any = Webservice(ws, "svc")
    assert (again.liveness_probe_requirements.failure_threshold, again.autoscaler.max_replicas) == (5, 4)
    assert services.changes == [], "nothing of it is this machine's"
    service.update(max_request_wait_time=700, replica_max_concurrent_requests=2)
    ((_, change),) = services.changes
    assert (change.reference, change.cpus, change.env) == (
        None, None, {"PACKAGER_MAX_QUEUE_WAIT_MS": "700", "WORKER_COUNT": "2"},
    )  # fmt: skip
    held = deploying.find(ws, "svc")
    assert held is not None
    assert held.declared is not None
    assert held.declared.service == {
        "cpu": 0.5, "memory": "512Mi", "scoring_timeout": 1.5, "auth": "key", "max_queue_wait": 0.7, "concurrency": 2,
    }, "the next image does not forget it"  # fmt: skip
    service.update(replica_max_concurrent_requests=1)
    assert services.changes[-1][1].env == {"WORKER_COUNT": "1"}
    wrong: Any
    for wrong in (-5, "500", True, 0):
        with pytest.raises(WebserviceException, match="max_request_wait_time must be greater than zero"):
            service.update(max_request_wait_time=wrong)
        with pytest.raises(WebserviceException, match="max_request_wait_time must be greater than zero"):
            AksWebservice.deploy_configuration(max_request_wait_time=wrong)
    assert len(services.changes) == 2
    assert built[0][1].server == {}, "no image follows from what a configuration wants"
    assert built[0][1].service == {"cpu": 0.5, "memory": "512Mi", "scoring_timeout": 1.5, "auth": "key"}
    spec_file = services.specs["svc"]
    assert spec_file is not None
    assert spec_file.spec.service.needs_key
    assert service.get_keys() == ("first", "second")
    service.regen_key("Primary")
    assert service.get_keys()[1] == "second"
    assert service.get_keys()[0] != "first"
    for which in ("Third", ""):
        with pytest.raises(WebserviceException, match="Primary, Secondary"):
            service.regen_key(which)
    record = (next((Path.cwd() / "data/packager/azureml").rglob("svc.json"))).read_text()
    assert "k" * 32 not in record


def test_without_a_configuration_it_is_acis_and_aks_wants_a_target(
    ws: Workspace, config: InferenceConfig, services: Services, built: list[tuple[str, Declared]]
) -> None:
    assert isinstance(Model.deploy(ws, "svc", ["weights.txt"], config), AciWebservice)
    with pytest.raises(WebserviceException, match="deployment_target"):
        Model.deploy(ws, "aks", ["weights.txt"], config, AksWebservice.deploy_configuration())
    with pytest.raises(WebserviceException, match="deploy_configuration"):
        Model.deploy(ws, "aks", ["weights.txt"], config, {"cpu": 1})
    with pytest.raises(WebserviceException, match="cannot be the name of a service"):
        Model.deploy(ws, "Not_A_Name", ["weights.txt"], config)


def test_a_name_that_is_taken_is_refused_unless_it_is_to_be_replaced(
    ws: Workspace, config: InferenceConfig, services: Services, built: list[tuple[str, Declared]]
) -> None:
    Model.deploy(ws, "svc", ["weights.txt"], config)
    with pytest.raises(WebserviceException, match="same name already exists"):
        Model.deploy(ws, "svc", ["weights.txt"], config)
    assert Model.deploy(ws, "svc", ["weights.txt"], config, overwrite=True).image_id == "svc:2"
    services.add("svc", "b", RunWish(reference="svc:1"))
    with pytest.raises(WebserviceException, match="a deployment in its place ends all"):
        Model.deploy(ws, "svc", ["weights.txt"], config, overwrite=True)
    services.running["theirs"] = services.running["svc"]
    with pytest.raises(WebserviceException, match="this workspace knows nothing of"):
        Model.deploy(ws, "theirs", ["weights.txt"], config)
    with pytest.raises(WebserviceException, match="already exists"):
        Webservice.check_for_existing_webservice(ws, "svc")


def test_a_service_that_the_verbs_deleted_is_not_in_the_way(
    ws: Workspace, config: InferenceConfig, services: Services, built: list[tuple[str, Declared]]
) -> None:
    Model.deploy(ws, "svc", ["weights.txt"], config)
    del services.running["svc"]
    assert Model.deploy(ws, "svc", ["weights.txt"], config).image_id == "svc:2"


def test_whoever_is_interrupted_is_told_how_the_service_is(
    ws: Workspace,
    config: InferenceConfig,
    services: Services,
    built: list[tuple[str, Declared]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    service: Any = Model.deploy(ws, "svc", ["weights.txt"], config)
    for owner, name, call, told, left in (
        (deploying, "build_image", lambda: Model.deploy(ws, "new", [], config), "new is not started", ["svc"]),
        (deploying, "build_image", lambda: service.update(models=[]), "svc runs on as it was", ["svc"]),
        (services, "update", lambda: service.update(models=[]), "svc runs on as it was", ["svc"]),
        (
            services,
            "deploy",
            lambda: Model.deploy(ws, "svc", [], config, overwrite=True),
            "svc runs svc:1 as before",
            ["svc"],
        ),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, interrupted)
            with pytest.raises(KeyboardInterrupt):
                call()
        assert told in capsys.readouterr().err
        assert list(ws.webservices) == list(services.running) == left


def test_models_are_a_list(
    ws: Workspace, config: InferenceConfig, services: Services, built: list[tuple[str, Declared]]
) -> None:
    wrongs: tuple[Any, ...] = (Model.register(ws, "weights.txt", "m"), None, "weights.txt")
    for wrong in wrongs:
        for configs in ((config,), (None,), (config, LocalWebservice.deploy_configuration())):
            with pytest.raises(WebserviceException, match=r"models=\[model\]"):
                Model.deploy(ws, "svc", wrong, *configs)


def test_what_does_not_become_healthy_is_an_object_that_says_why(
    ws: Workspace, config: InferenceConfig, services: Services, built: list[tuple[str, Declared]]
) -> None:
    services.failing = "score.py:1: RuntimeError: no such thing"
    service: Any = Model.deploy(ws, "svc", ["weights.txt"], config)
    assert service.state == "Failed"
    with pytest.raises(WebserviceException, match="no such thing"):
        service.wait_for_deployment(show_output=True)
    assert service.get_logs(10) == "svc 10"
    services.failing = ""
    assert Model.deploy(ws, "svc", ["weights.txt"], config).state == "Healthy"


def copies(ws: Workspace) -> dict[str, str]:
    folder = records.folder(ws, "apps")
    return {each.relative_to(folder).as_posix(): each.read_text() for each in folder.rglob("*") if each.is_file()}


def test_a_reload_writes_the_copy_that_is_mounted_and_makes_no_image(
    ws: Workspace, config: InferenceConfig, services: Services, built: list[tuple[str, Declared]]
) -> None:
    service: Any = Model.deploy(ws, "svc", ["weights.txt"], config, LocalWebservice.deploy_configuration())
    old = "def init(): ...\ndef run(data): ...\n"
    assert copies(ws) == {"svc-1/score.py": old}
    assert [each.path for each in services.mounted["svc"]] == ["/var/azureml-app/score.py"]
    Path("score.py").write_text(f"{old}# edited\n")
    service.reload()
    assert (services.renewed, services.changes, len(built)) == (["svc"], [], 1)
    assert copies(ws) == {"svc-1/score.py": f"{old}# edited\n"}
    Path("score.py").write_text("def init(: ...\n")
    with pytest.raises(WebserviceException, match=r"score\.py"):
        service.reload()
    assert copies(ws) == {"svc-1/score.py": f"{old}# edited\n"}, "what cannot start is not written"
    service.delete()
    assert copies(ws) == {}
    with pytest.raises(WebserviceException, match="it is deleted"):
        service.reload()


def test_a_reload_makes_an_image_where_nothing_is_mounted(
    ws: Workspace, config: InferenceConfig, services: Services, built: list[tuple[str, Declared]]
) -> None:
    services.elsewhere = True
    service: Any = Model.deploy(ws, "svc", ["weights.txt"], config, LocalWebservice.deploy_configuration())
    service.reload()
    assert services.renewed == []
    assert [change.reference for _, change in services.changes] == ["svc:2"]


def test_one_that_serves_on_after_a_failed_replacement_has_failed(
    ws: Workspace, config: InferenceConfig, services: Services, built: list[tuple[str, Declared]]
) -> None:
    local = LocalWebservice.deploy_configuration()
    Model.deploy(ws, "svc", ["weights.txt"], config, local)
    old, deploy = services.running["svc"], services.deploy

    def fails(name: str, wish: RunWish, spec_file: Any = None, **more: Any) -> Status:
        try:
            return deploy(name, wish, spec_file, **more)
        finally:
            services.running["svc"] = old

    services.failing, services.deploy = "svc still runs svc:1", fails  # type: ignore[method-assign]
    service: Any = Model.deploy(ws, "svc", ["weights.txt"], config, local)
    assert service.state == "failed"
    with pytest.raises(WebserviceException, match=r"svc still runs svc:1"):
        service.wait_for_deployment()


def test_an_update_changes_what_is_named_and_keeps_the_rest(
    ws: Workspace, config: InferenceConfig, services: Services, built: list[tuple[str, Declared]]
) -> None:
    model = Model.register(ws, "weights.txt", "m")
    wanted = AciWebservice.deploy_configuration(tags={"a": "1"})
    service: Any = Model.deploy(ws, "svc", ["weights.txt"], config, wanted)
    service.update(tags={"b": "2"}, description="said")
    assert (service.tags, service.description, services.changes) == ({"b": "2"}, "said", [])
    service.update(models=[model])
    ((_, change),) = services.changes
    assert (change.reference, [each.id for each in service.models]) == ("svc:2", ["m:1"])
    assert built[-1][1].entry_script == "score.py"
    with pytest.raises(WebserviceException, match="deploy it again"):
        service.update(auth_enabled=True)
    service.add_tags({"c": "3"})
    service.remove_tags(["b"])
    assert Webservice(ws, "svc").tags == {"c": "3"}
    assert [each.name for each in Webservice.list(ws, tags=["c"], compute_type="aci")] == ["svc"]
    assert Webservice.list(ws, tags=[["c", "4"]]) == []
    assert [each.name for each in Webservice.list(ws, tags="c")] == ["svc"]
    services.failing = "it hangs"
    with pytest.raises(WebserviceException, match="still runs"):
        service.update(models=["weights.txt"])
    assert Webservice(ws, "svc").image_id == "svc:2"


def test_without_an_engine_it_is_processes_of_this_machine(
    ws: Workspace,
    config: InferenceConfig,
    services: Services,
    built: list[tuple[str, Declared]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    services.engine = False
    wanted = AciWebservice.deploy_configuration(cpu_cores=1, memory_gb=1, auth_enabled=True)
    service: Any = Model.deploy(ws, "svc", ["weights.txt"], config, wanted)
    assert "svc: there is no engine: it runs as processes of this machine" in capsys.readouterr().err
    wish = services.wishes["svc"]
    assert (wish.docker, wish.reference, wish.cpus, wish.memory, wish.env) == (
        False, None, None, None, {"SERVICE_NAME": "svc"},
    )  # fmt: skip
    assert (built, service.state, services.mounted["svc"]) == ([], "Healthy", ())
    spec_file = services.specs["svc"]
    assert spec_file is not None
    assert spec_file.spec.service.needs_key
    service.update(models=[])
    ((_, change),) = services.changes
    assert (change.reference, change.cpus, built) == (None, None, [])
    # The engine is back: what runs without it makes way.
    services.engine = True
    again = Model.deploy(ws, "svc", ["weights.txt"], config, wanted, overwrite=True)
    assert (again.image_id, services.wishes["svc"].docker) == ("svc:3", True)


def test_a_deleted_service_is_gone_for_all(
    ws: Workspace, config: InferenceConfig, services: Services, built: list[tuple[str, Declared]]
) -> None:
    service: Any = Model.deploy(ws, "svc", ["weights.txt"], config)
    service.delete()
    assert (service.state, ws.webservices, services.running) == ("Deleting", {}, {})
    for gone in (lambda: Webservice(ws, "svc"), lambda: service.update(tags={"a": "b"})):
        with pytest.raises(WebserviceException, match="WebserviceNotFound"):
            gone()
    with pytest.raises(WebserviceException, match="scoring_uri unavailable"):
        service.run("{}")
    with pytest.raises(WebserviceException, match="str or bytes"):
        service.run({"a": 1})


def test_a_local_service_goes_to_the_cloud(
    ws: Workspace, config: InferenceConfig, services: Services, built: list[tuple[str, Declared]]
) -> None:
    local = Model.deploy(ws, "svc", ["weights.txt"], config, LocalWebservice.deploy_configuration())
    assert isinstance(local, LocalWebservice)
    cloud = local.deploy_to_cloud("cloud", AciWebservice.deploy_configuration(auth_enabled=True))
    assert (cloud.compute_type, built[-1][1].name, built[-1][1].server) == ("ACI", "cloud", {})


@pytest.fixture
def endpoint(
    ws: Workspace, config: InferenceConfig, services: Services, built: list[tuple[str, Declared]]
) -> AksEndpoint:
    """An endpoint with the version `a`."""
    wanted = AksEndpoint.deploy_configuration(version_name="a", traffic_percentile=20, compute_target_name="aks")
    made = Model.deploy(ws, "end", ["weights.txt"], config, wanted)
    assert isinstance(made, AksEndpoint)
    return made


def shares(endpoint: AksEndpoint) -> dict[str, tuple[bool, int]]:
    return {name: (each.is_default, each.traffic_percentile) for name, each in endpoint.versions.items()}


def test_versions_of_an_endpoint_come_change_and_go(
    ws: Workspace, config: InferenceConfig, services: Services, endpoint: AksEndpoint
) -> None:
    model = Model.register(ws, "weights.txt", "m")
    assert (endpoint.compute_type, endpoint.state, shares(endpoint)) == ("AKSENDPOINT", "Healthy", {"a": (True, 100)})
    endpoint.create_version(
        "b", models=[model], inference_config=config, tags={"v": "2"}, traffic_percentile=10, memory_gb=0.5,
        is_control_version_type=True,
    )  # fmt: skip
    assert services.shares == {"a": 90, "b": 10}
    wish = services.wishes["b"]
    assert (wish.reference, wish.publish, wish.keys, wish.memory) == ("end:2", None, None, "512m")
    version = Webservice(ws, "end").versions["b"]  # type: ignore[attr-defined]
    assert (version.name, version.tags, [each.id for each in version.models]) == ("b", {"v": "2"}, ["m:1"])
    assert [each.version_type.value for each in endpoint.versions.values()] == ["Treatment", "Control"]
    assert (version.scoring_uri, version.get_keys()) == (endpoint.scoring_uri, ("first", "second"))
    assert (version.get_logs(3), endpoint.get_logs(3)) == ("end b 3", "==> a <==\nend a 3\n==> b <==\nend b 3")
    endpoint.update_version("b", description="said", traffic_percentile=40, is_default=True)
    assert (shares(endpoint), services.changes) == ({"a": (False, 20), "b": (True, 80)}, [])
    assert endpoint.versions["b"].description == "said"
    endpoint.update_version("a", models=[model])
    ((changed, change),) = services.changes
    assert (changed, change.reference) == ("end a", "end:3")
    endpoint.versions["a"].add_tags({"c": "3"})
    services.set_traffic("end", {"a": 60, "b": 40})
    assert shares(endpoint) == {"a": (False, 60), "b": (True, 40)}, "as `packager service traffic` said"
    endpoint.delete_version("b")
    assert (shares(endpoint), services.shares) == ({"a": (True, 100)}, {"a": 100})
    assert Webservice(ws, "end").versions["a"].tags == {"c": "3"}  # type: ignore[attr-defined]
    endpoint.delete()
    assert (ws.webservices, services.running) == ({}, {})


def test_what_cannot_be_of_an_endpoint_is_refused_before_anything_is_built(
    ws: Workspace,
    config: InferenceConfig,
    services: Services,
    built: list[tuple[str, Declared]],
    endpoint: AksEndpoint,
) -> None:
    def create(name: Any, **more: Any) -> None:
        endpoint.create_version(name, models=["weights.txt"], inference_config=config, **more)

    create("b", traffic_percentile=60)
    for call, told in (
        (lambda: create("b"), "has a version b already"),
        (lambda: create("c", traffic_percentile=41), "to get 101 %"),
        (lambda: create("c", traffic_percentile=1.5), "whole percents"),
        (lambda: create("c", traffic_percentile=101), "from 0 to 100"),
        (lambda: create(None), "No name is provided to create"),
        (lambda: create("Not_A_Name"), "cannot be the name of a version"),
        (lambda: endpoint.update_version("none", traffic_percentile=1), "has no version none"),
        (lambda: endpoint.update_version("b"), "No parameters"),
        (lambda: endpoint.delete_version("none"), "has no version none"),
        (lambda: endpoint.versions["a"].update(tags={}), "update_version"),
        (lambda: AksWebservice(ws, "end"), "is of the type AKSENDPOINT"),
    ):
        with pytest.raises(WebserviceException, match=told):
            call()
    assert (len(built), services.shares) == (2, {"a": 40, "b": 60})
    services.set_traffic("end", {"a": 100})
    services.delete("end", version="b")
    endpoint.delete_version("b")
    with pytest.raises(WebserviceException, match="only version"):
        endpoint.versions["a"].delete()


def test_a_version_that_fails_gets_no_requests_and_can_be_made_again(
    ws: Workspace, config: InferenceConfig, services: Services, endpoint: AksEndpoint
) -> None:
    services.failing = "score.py:1: it hangs"
    endpoint.create_version("b", models=["weights.txt"], inference_config=config, traffic_percentile=10)
    with pytest.raises(WebserviceException, match=r"version b: score\.py:1"):
        endpoint.wait_for_deployment()
    assert (endpoint.versions["b"].state, services.shares) == ("Failed", {"a": 100})
    services.failing = ""
    endpoint.create_version("b", models=["weights.txt"], inference_config=config, traffic_percentile=10)
    endpoint.wait_for_deployment()
    assert services.shares == {"a": 90, "b": 10}


def test_versions_that_threads_make_at_once_are_all_there(
    ws: Workspace,
    config: InferenceConfig,
    services: Services,
    built: list[tuple[str, Declared]],
    endpoint: AksEndpoint,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    both, add = Barrier(2, timeout=30), services.add

    def slow(name: str, version: str, wish: RunWish) -> Status:
        both.wait()  # neither is remembered yet
        with ONE_AT_A_TIME:
            return add(name, version, wish)

    monkeypatch.setattr(services, "add", slow)

    def create(name: str) -> None:
        AksEndpoint(ws, "end").create_version(
            name, models=["weights.txt"], inference_config=config, traffic_percentile=10
        )

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(create, ("b", "c")))
    endpoint.update_deployment_state()
    assert shares(endpoint) == {"a": (True, 80), "b": (False, 10), "c": (False, 10)}
    assert services.shares == {"a": 80, "b": 10, "c": 10}
    assert sorted(reference for reference, _ in built) == ["end:1", "end:2", "end:3"]


def test_an_endpoint_makes_way_for_another_deployment(
    ws: Workspace, config: InferenceConfig, services: Services, endpoint: AksEndpoint
) -> None:
    wanted = AksEndpoint.deploy_configuration(compute_target_name="aks")
    again = Model.deploy(ws, "end", ["weights.txt"], config, wanted, overwrite=True)
    assert (list(again.versions), services.shares) == (["end"], {"end": 100})  # type: ignore[attr-defined]
    assert isinstance(Model.deploy(ws, "end", [], config, overwrite=True), AciWebservice)


def test_tokens_are_of_aks_that_asks_for_them(
    ws: Workspace, config: InferenceConfig, services: Services, built: list[tuple[str, Declared]]
) -> None:
    wanted = AksWebservice.deploy_configuration(token_auth_enabled=True, compute_target_name="aks")
    service: Any = Model.deploy(ws, "svc", ["weights.txt"], config, wanted)
    token, refresh = service.get_token()
    assert (service.token_auth_enabled, service.auth_enabled) == (True, False)
    assert token.startswith("packager-token.")
    assert timedelta(hours=10) < refresh - service.created_time < timedelta(hours=12)
    other = Model.deploy(ws, "aci", ["weights.txt"], config)
    with pytest.raises(NotImplementedError):
        other.get_token()


def test_a_service_with_keys_goes_over_to_tokens_and_back(
    ws: Workspace, config: InferenceConfig, services: Services, built: list[tuple[str, Declared]]
) -> None:
    wanted = AksWebservice.deploy_configuration(compute_target_name="aks")
    service: Any = Model.deploy(ws, "svc", ["weights.txt"], config, wanted)
    with pytest.raises(NotImplementedError):
        service.get_token()
    service.update(token_auth_enabled=True, auth_enabled=False)
    assert (service.token_auth_enabled, service.auth_enabled, service.get_token()[0][:14]) == (
        True,
        False,
        "packager-token",
    )
    with pytest.raises(WebserviceException, match="cannot both be True"):
        service.update(token_auth_enabled=True, auth_enabled=True)
    service.update(auth_enabled=True)
    assert (service.token_auth_enabled, service.auth_enabled) == (False, True)


def test_a_service_that_is_deleted_already_is_no_other_workspaces(
    ws: Workspace, config: InferenceConfig, services: Services, built: list[tuple[str, Declared]]
) -> None:
    service = Model.deploy(ws, "svc", ["weights.txt"], config)
    service.delete()
    Model.deploy(Workspace.create("other"), "svc", ["weights.txt"], config)
    service.delete()
    assert list(services.running) == ["svc"]


def test_what_deployments_leave_holds_no_model_and_an_image_of_the_old_api_does(
    ws: Workspace, services: Services, built: list[tuple[str, Declared]]
) -> None:
    model = Model.register(ws, "weights.txt", "m")
    image = Image.create(ws, "img", [model], ContainerImage.image_configuration("score.py", "python"))
    for kind, reference in (("services", "svc:1"), ("packages", image.image_location)):
        folder = records.folder(ws, kind) / "laid"
        note(ws, folder, reference)
    with pytest.raises(WebserviceException, match="m:1 is needed by the image img:1"):
        model.delete()
    image.delete()
    note(ws, Path.cwd() / "verbs", "theirs:1")
    with pytest.raises(WebserviceException, match=r"needed by the lock .*verbs/packager.lock, the image theirs:1\n"):
        model.delete()
    shutil.rmtree("verbs")
    note(ws, records.folder(ws, "services") / "laid", "theirs:1", when="2026-01-02")
    model.delete()
    assert Model.list(ws) == []


def note(ws: Workspace, folder: Path, reference: str, when: str = "2026-01-01") -> None:
    """Lay out a spec with its lock, and remember the image of it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "packager.yaml").write_text("")
    (folder / "packager.lock").write_text('{"registered": {"models": {"m": {"version": 1}}}}')
    held = Held(name="m", version=1, digest=ws._facade.models.get("m:1").digest)
    spec = str(folder / "packager.yaml")
    ws._facade.kept.note(ImageRecord(reference=reference, when=when, models=(held,), spec=spec))


def test_the_old_image_api_makes_images_and_deploys_them(
    ws: Workspace, services: Services, built: list[tuple[str, Declared]]
) -> None:
    Path("beside.py").write_text("")
    wanted = ContainerImage.image_configuration("score.py", "python", dependencies=["beside.py"], tags={"t": "1"})
    model = Model.register(ws, "weights.txt", "m")
    first = ContainerImage.create(ws, "img", [model], wanted)
    second = Image.create(ws, "img", [model], wanted)
    assert [first.id, second.id, Image(ws, "img").id, Image(ws, id="img:1").id] == ["img:1", "img:2", "img:2", "img:1"]
    assert [path.name for path in built[0][1].beside] == ["beside.py"]
    service: Any = Webservice.deploy_from_image(ws, "svc", second)
    assert (service.image_id, [each.id for each in service.models]) == ("img:2", ["m:1"])
    with pytest.raises(WebserviceException, match="deployed from an image"):
        service.update(models=[model])
    service.update(image=first)
    assert services.changes[-1][1].reference == "img:1"
    old = Webservice.deploy(ws, "old", ["weights.txt"], wanted, AciWebservice.deploy_configuration())
    assert [each.id for each in old.models] == ["weights.txt:1"]
    first.add_tags({"u": "2"})
    assert [each.id for each in Image.list(ws, tags=["u"])] == ["img:1"]
    first.delete()
    with pytest.raises(WebserviceException, match="ImageNotFound"):
        Image(ws, id="img:1")
    with pytest.raises(WebserviceException, match="doesn't exist"):
        ContainerImage.image_configuration("score.py", "python", dependencies=["none.py"])
