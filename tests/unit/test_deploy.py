"""The step `deploy` and its verb: which image, which folder, and what happens when it is applied."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from packager.builders.inspect import ImageView, Inspected
from packager.cli import cli
from packager.contract import AUTH_LABEL, GPUS_LABEL, MODELS_LABEL, TARGET_LABEL, TITLE_LABEL, VERSION_LABEL
from packager.deployment.kubernetes.names import service_name as kubernetes_name
from packager.deployment.platforms import PLATFORMS
from packager.deployment.service_names import require_service_name, service_name_of
from packager.deployment.workload import Release, Wishes
from packager.engine.api import LocalImage
from packager.errors import ContextError, EngineError, RegistryError, ServiceError, UsageError
from packager.spec import load_spec
from packager.steps import workloads
from packager.steps.deploy import Deployed, DeployWish, deploy
from packager.steps.workloads import Pinned, described, pin_image, workload_of

SPEC = """\
name: churn
version: "2"
entry_script: score.py
environment: {pip: []}
image: {repository: registry.example.com/team/churn}
service: {cpu: 250m, memory: 1Gi, scoring_timeout: 90, max_queue_wait: 0.5, auth: key, namespace: models}
test:
  - {name: a, request: {rows: [1]}}
"""
NAME = "registry.example.com/team/churn"


class Told:
    """Keeps what a step says."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.warnings: list[str] = []

    def step(self, text: str) -> None:
        self.steps.append(text)

    def detail(self, text: str) -> None: ...

    def warn(self, text: str) -> None:
        self.warnings.append(text)


def digest(number: int) -> str:
    return f"sha256:{number:064x}"


def view(number: int = 2, **labels: str) -> ImageView:
    own = {TITLE_LABEL: "churn", VERSION_LABEL: str(number), TARGET_LABEL: "cpu"}
    env = ("GUNICORN_CMD_ARGS=--config=/opt/packager/server.py", "WORKER_TIMEOUT=300", "WORKER_COUNT=1")
    return ImageView(
        platform="linux/amd64", digest=digest(number), size=1, created="", user="1000", working_dir="/", entrypoint=(),
        command=(), env=env, ports=("5001/tcp",), health=(), labels={**own, **labels}, layers=(),
    )  # fmt: skip


def pinned(number: int) -> Pinned:
    image = f"{NAME}:{number}@{digest(number)}"
    return Pinned(name=image, image=image, local=False, view=view(number), platforms=("linux/amd64",))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a spec; its registry has the images of any number."""

    def pin(text: str, *_: Any) -> Pinned:
        name, *at = text.split("@sha256:")
        return pinned(int(at[0], 16) if at else int(name.rpartition(":")[2]))

    monkeypatch.setattr("packager.steps.deploy.pin_image", pin)
    (tmp_path / "packager.yaml").write_text(SPEC)
    (tmp_path / "score.py").write_text("")
    monkeypatch.chdir(tmp_path)
    return tmp_path


class FakeOperator:
    """Remembers what it was asked for, and which image the files named then."""

    def __init__(self) -> None:
        self.done: list[tuple[str, str]] = []
        self.ill: set[str] = set()
        self.broken = False
        self.refuses = False

    def _note(self, what: str, release: Release) -> str:
        text = (release.folder / "deployment.yaml").read_text()
        named = next(each for each in (digest(number) for number in range(1, 9)) if each in text)
        assert release.workload.image.endswith(named)
        self.done.append((what, named))
        return named

    def apply(self, release: Release, say: Callable[[str], None]) -> None:
        self._note("apply", release)
        if self.refuses:
            raise UsageError("there is no such namespace", remedy="name another")

    def wait(self, release: Release, timeout: float, say: Callable[[str], None]) -> str:
        if self._note("wait", release) in self.ill:
            raise ServiceError("it did not become healthy", remedy="look")
        return "http://127.0.0.1:1/score"

    def rollback(self, release: Release, say: Callable[[str], None]) -> None:
        self._note("rollback", release)
        if self.broken:
            raise EngineError("the cluster is gone")


@pytest.fixture
def operator(monkeypatch: pytest.MonkeyPatch) -> FakeOperator:
    found = FakeOperator()
    monkeypatch.setattr("packager.steps.deploy.operator_of", lambda _: found)
    return found


def run(folder: Path, **wish: Any) -> Deployed:
    return deploy(DeployWish(**wish), load_spec(folder))


def test_a_spec_is_deployed_beside_it_with_its_first_reference(folder: Path) -> None:
    told = Told()
    deployed = deploy(DeployWish(), load_spec(folder), reporter=told)
    assert deployed.folder == folder / "deploy/kubernetes"
    assert deployed.image == f"{NAME}:2@{digest(2)}"
    text = (deployed.folder / "deployment.yaml").read_text()
    assert f"{NAME}@{digest(2)}" in text
    assert "namespace: models" in text
    assert (deployed.applied, deployed.rollback) == (False, "")
    assert {each.kind for each in deployed.files} == {"new"}
    assert [each.kind for each in run(folder).files] == ["same"] * len(deployed.files)


def test_what_was_asked_for_holds_for_the_folder(folder: Path) -> None:
    run(folder, wishes=Wishes(namespace="staging"), name="other")
    deployed = run(folder, image=f"{NAME}:3")
    assert deployed.name == "other"
    assert deployed.rollback
    text = (deployed.folder / "deployment.yaml").read_text()
    assert "namespace: staging" in text
    run(folder, given=("namespace",))
    assert "namespace: models" in (deployed.folder / "deployment.yaml").read_text()
    with pytest.raises(UsageError, match="has the files of other"):
        run(folder, name="third")


def test_another_package_does_not_take_over_the_service_of_a_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two specs in one folder have one default for their files."""
    run(folder)
    before = (folder / "deploy/kubernetes/deployment.yaml").read_text()
    other = replace(pinned(3), view=view(3, **{TITLE_LABEL: "my.other"}))
    monkeypatch.setattr("packager.steps.deploy.pin_image", lambda *_: other)
    with pytest.raises(UsageError, match=r"the files of churn, and .*:3@.* is of another package, my\.other") as raised:
        run(folder)
    assert "deploy/my-other-kubernetes" in (raised.value.remedy or "")
    assert (folder / "deploy/kubernetes/deployment.yaml").read_text() == before
    for platform in PLATFORMS:
        assert run(folder, to=platform, output=folder / platform).name == "my-other"


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("name", ["a b", "-x", "café", "../x", "a/b", "a" * 64, "$(x)"])
def test_a_name_that_a_platform_does_not_take_is_told_before_anything_is_written(
    name: str, platform: str, folder: Path
) -> None:
    with pytest.raises(UsageError, match=r"the name of a [Ss]ervice|has 64 characters"):
        run(folder, to=platform, name=name)
    assert not (folder / "deploy").exists()


@pytest.mark.parametrize(
    ("package", "name"),
    [("churn", "churn"), ("my.model_2", "my-model-2"), ("3d", "service-3d"), ("a" * 62 + "-b", "a" * 62)],
)
def test_what_a_service_is_called_where_nobody_names_it(package: str, name: str) -> None:
    assert service_name_of(package) == name
    for platform in PLATFORMS:
        require_service_name(platform, service_name_of(package))
    assert kubernetes_name(name) == name


def test_a_dry_run_writes_nothing(folder: Path) -> None:
    deployed = run(folder, dry_run=True)
    assert "+++ b/deployment.yaml" in deployed.difference
    assert not (folder / "deploy").exists()


def test_what_is_applied_and_healthy_is_told_with_the_way_back(folder: Path, operator: FakeOperator) -> None:
    run(folder, image=f"{NAME}:1")
    deployed = run(folder, apply=True, wait=True)
    assert operator.done == [("apply", digest(2)), ("wait", digest(2))]
    assert (deployed.applied, deployed.url) == (True, "http://127.0.0.1:1/score")
    assert deployed.rollback == "packager deploy --to kubernetes --rollback --apply"
    back = run(folder, rollback=True, apply=True)
    assert operator.done[2:] == [("apply", digest(1))]
    assert back.image == f"{NAME}:1@{digest(1)}"


def test_what_does_not_become_healthy_is_taken_back(folder: Path, operator: FakeOperator) -> None:
    run(folder, image=f"{NAME}:1", apply=True)
    operator.ill = {digest(2)}
    with pytest.raises(ServiceError, match=r"did not become healthy\nfiles and platform are back at .*churn:1@"):
        run(folder, apply=True, wait=True)
    assert operator.done[1:] == [("apply", digest(2)), ("wait", digest(2)), ("rollback", digest(1))]
    assert digest(1) in (folder / "deploy/kubernetes/deployment.yaml").read_text()
    # What failed is nothing to go back to.
    with pytest.raises(UsageError, match="nothing to go back to"):
        run(folder, rollback=True)
    operator.broken = True
    with pytest.raises(ServiceError, match=r"going back to .* failed, too: the cluster is gone"):
        run(folder, apply=True, wait=True)


def test_files_are_taken_back_whatever_changed_in_them(folder: Path, operator: FakeOperator) -> None:
    """A limit or an option may be at fault, and the image of before with it would be as ill."""
    run(folder, apply=True)
    edited = folder / "deploy/kubernetes/service.yaml"
    edited.write_text(edited.read_text() + "# mine\n")
    before = {each.name: each.read_text() for each in edited.parent.iterdir()}
    (folder / "packager.yaml").write_text(SPEC.replace("1Gi", "8Mi"))
    # Only now: of before, it was well.
    operator.ill = {digest(2)}
    with pytest.raises(
        ServiceError, match=r"are back at .*churn:2@.* as it was before\n.*delete ingress churn"
    ) as raised:
        run(folder, apply=True, wait=True, wishes=Wishes(route="ingress", host="a.example.com"))
    assert raised.value.remedy == "look"
    assert operator.done[1:] == [("apply", digest(2)), ("wait", digest(2)), ("rollback", digest(2))]
    assert {each.name: each.read_text() for each in edited.parent.iterdir()} == before
    # Another image and another limit at once, and a rollback that fails.
    operator.ill = {digest(3)}
    with pytest.raises(ServiceError, match="are back at"):
        run(folder, apply=True, wait=True, image=f"{NAME}:3")
    assert {each.name: each.read_text() for each in edited.parent.iterdir()} == before
    run(folder, image=f"{NAME}:3")
    now = (edited.parent / "deployment.yaml").read_text()
    operator.ill = {digest(2)}
    with pytest.raises(ServiceError, match=r"are back at .*churn:3@"):
        run(folder, rollback=True, apply=True, wait=True)
    assert (edited.parent / "deployment.yaml").read_text() == now
    with pytest.raises(UsageError, match="nothing to go back to"):
        run(folder, rollback=True)


@pytest.mark.parametrize("wait", [True, False])
def test_an_option_that_is_refused_does_not_hold_for_the_folder(
    wait: bool, folder: Path, operator: FakeOperator
) -> None:
    operator.refuses = True
    with pytest.raises(UsageError, match=r"^there is no such namespace\n"):
        run(folder, apply=True, wait=wait, wishes=Wishes(namespace="first"))
    files = folder / "deploy/kubernetes"
    before = {each.name: each.read_text() for each in files.iterdir()}
    assert "namespace: first" in before["service.yaml"], "what is to be made for them is made in that folder"
    with pytest.raises(UsageError, match="no such namespace; the files are as they were before"):
        run(folder, apply=True, wait=wait, wishes=Wishes(namespace="typo"))
    assert {each.name: each.read_text() for each in files.iterdir()} == before


def test_the_first_image_has_nothing_before_it(folder: Path, operator: FakeOperator) -> None:
    operator.ill = {digest(2)}
    with pytest.raises(ServiceError, match="no image of before to go back to"):
        run(folder, apply=True, wait=True)
    assert [what for what, _ in operator.done] == ["apply", "wait"]


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ({"wait": True}, "add --apply"),
        ({"dry_run": True, "apply": True}, "--diff writes"),
        ({"rollback": True, "image": f"{NAME}:1"}, "leave one of them out"),
        ({"rollback": True}, "wrote nothing"),
        ({"wishes": Wishes(location="westeurope")}, "--location is of aci"),
        ({"to": "compose", "wishes": Wishes(host="a.example.com")}, "--host is of kubernetes"),
        ({"to": "compose", "given": ("kubernetes",)}, "--kubernetes-version is of kubernetes"),
        ({"to": "compose", "device_resource": "nvidia.com/gpu"}, "--device-resource is of kubernetes"),
        ({"to": "nowhere"}, "no platform"),
    ],
)
def test_what_cannot_be_meant_is_refused(folder: Path, wish: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as raised:
        run(folder, **wish)
    assert said in str(raised.value)


def test_who_cannot_apply_is_told_before_anything_is_written(folder: Path) -> None:
    with pytest.raises(UsageError, match="devices take modules of IoT Edge over"):
        run(folder, to="iot-edge", apply=True)
    assert not (folder / "deploy").exists()


def test_a_canary_is_another_image_of_the_same_service(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wishes = Wishes(route="gateway", gateway="infra/main", canary=f"{NAME}:3")
    deployed = run(folder, wishes=wishes)
    assert digest(3) in (deployed.folder / "canary-deployment.yaml").read_text()
    ended = run(folder, given=("canary",))
    assert not (deployed.folder / "canary-deployment.yaml").exists()
    assert ended.leftovers == (
        "kubectl delete deployment churn-canary --namespace models",
        "kubectl delete service churn-canary --namespace models",
    )
    other = replace(pinned(3), view=view(3, **{TITLE_LABEL: "other"}))
    monkeypatch.setattr("packager.steps.deploy.pin_image", lambda text, *_: other if text.endswith(":3") else pinned(2))
    with pytest.raises(UsageError, match="not another image of the same service"):
        run(folder, wishes=wishes)


def test_the_verb_prints_the_folder_and_says_what_comes_next(folder: Path) -> None:
    done = CliRunner().invoke(cli, ["deploy", "--route", "ingress", "--host", "churn.example.com"])
    assert done.exit_code == 0, done.output
    assert done.stdout == f"{folder / 'deploy/kubernetes'}\n"
    assert "once, before it is applied: kubectl create secret generic churn-keys" in done.stderr
    assert "to apply: the same with --apply --wait; or in that folder: kubectl apply" in done.stderr
    same = CliRunner().invoke(cli, ["deploy", "--diff", "--exit-code"])
    assert (same.exit_code, same.stdout) == (0, "")
    other = CliRunner().invoke(cli, ["deploy", "--diff", "--exit-code", "--image", f"{NAME}:3"])
    assert other.exit_code == 1
    assert f"+          image: {NAME}@{digest(3)}" in other.stdout
    taken = CliRunner().invoke(cli, ["deploy", "--route", "none", "--host", "", "--format", "json"])
    files = {each["path"]: each["kind"] for each in json.loads(taken.stdout)["files"]}
    assert files["ingress.yaml"] == "removed"


# --- which image ----------------------------------------------------------------------------------------------------


def local(repo_digests: tuple[str, ...] = ()) -> LocalImage:
    return LocalImage(id=digest(9), platform="linux/amd64", size=1, repo_digests=repo_digests, labels={})


class Around:
    """What engine and registry have."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.engine: LocalImage | None = None
        self.there: dict[str, ImageView] = {}
        self.remembered = ""
        monkeypatch.setattr(workloads, "inspect_local", lambda _: self.engine)
        monkeypatch.setattr(workloads, "inspect_image", self.inspect)
        monkeypatch.setattr(workloads, "resolve_digest", self.resolve)

    def inspect(self, text: str, *_: Any, **__: Any) -> Inspected:
        if "@" not in text and self.engine is not None:
            return Inspected(name=text, digest=self.remembered, images=(view(),))
        return Inspected(name=text, digest=self.resolve(text), images=(self.there[text.partition("@")[0]],))

    def resolve(self, text: Any, *_: Any) -> str:
        found = self.there.get(str(text).partition("@")[0])
        if found is None:
            raise RegistryError(f"there is no image {text}")
        return found.digest


@pytest.fixture
def around(monkeypatch: pytest.MonkeyPatch) -> Around:
    return Around(monkeypatch)


def test_a_digest_that_is_given_is_taken(around: Around) -> None:
    around.there = {f"{NAME}:2": view()}
    around.engine = local()
    assert pin_image(f"{NAME}:2@{digest(2)}", None, Told()).image == f"{NAME}:2@{digest(2)}"


def test_without_an_engine_the_registry_is_asked(around: Around) -> None:
    around.there = {f"{NAME}:2": view()}
    assert pin_image(f"{NAME}:2", None, Told()).image == f"{NAME}:2@{digest(2)}"
    with pytest.raises(RegistryError, match="has no digest yet") as raised:
        pin_image(f"{NAME}:7", None, Told())
    assert "push it first" in str(raised.value)


def test_the_engine_knows_the_digest_of_what_it_pushed(around: Around) -> None:
    around.engine = local(repo_digests=(f"docker.io/library/x@{digest(1)}", f"{NAME}@{digest(5)}"))
    found = pin_image(f"{NAME}:2", None, Told())
    assert (found.image, found.local) == (f"{NAME}:2@{digest(5)}", False)


def test_what_packager_pushed_is_found_at_the_registry(around: Around) -> None:
    around.engine, around.remembered = local(), digest(2)
    around.there = {f"{NAME}:2": view()}
    assert pin_image(f"{NAME}:2", None, Told()).image == f"{NAME}:2@{digest(2)}"
    # The engine packs layers anew, into another digest; labels say that it is the same image.
    around.remembered = ""
    assert pin_image(f"{NAME}:2", None, Told()).image == f"{NAME}:2@{digest(2)}"


def test_another_image_under_the_tag_is_not_taken_for_it(around: Around) -> None:
    around.engine = local()
    around.there = {f"{NAME}:2": view(2, **{"packager.inputs": "other"})}
    with pytest.raises(UsageError, match="is another image in the engine"):
        pin_image(f"{NAME}:2", None, Told())


def test_what_nobody_pushed_is_of_this_machine_alone(around: Around) -> None:
    around.engine = local()
    for name in (f"{NAME}:2", "churn:2"):
        found = pin_image(name, None, Told())
        assert (found.image, found.local) == (digest(9), True)


# --- what is told of it ---------------------------------------------------------------------------------------------


def test_service_is_put_in_force_by_variables_and_the_end_waits_for_requests(folder: Path) -> None:
    workload = workload_of(pinned(2), load_spec(folder), reporter=Told())
    assert workload.needs_key
    assert workload.env["PACKAGER_AUTH"] == "key"
    assert workload.env["SCORING_TIMEOUT_MS"] == "90000"
    assert workload.env["PACKAGER_MAX_QUEUE_WAIT_MS"] == "500"
    assert (workload.scoring_timeout, workload.grace) == (90.0, 90)
    assert workload.env["GUNICORN_CMD_ARGS"] == "--config=/opt/packager/server.py --graceful-timeout=90"
    assert workload.sample is not None
    assert workload.sample.text == '{"rows": [1]}'


def test_own_arguments_of_gunicorn_stay_and_short_requests_need_no_more_time() -> None:
    own = replace(view(), env=("GUNICORN_CMD_ARGS=--threads=2", "WORKER_TIMEOUT=120"))
    workload = described(own, None, image=NAME, name=None)
    assert (workload.env, workload.grace) == ({}, 120)
    short = replace(view(), env=("WORKER_TIMEOUT=300", "SCORING_TIMEOUT_MS=1500"))
    assert described(short, None, image=NAME, name=None).grace == 30
    # As long as gunicorn gives by itself.
    env = ("GUNICORN_CMD_ARGS=--config=/opt/packager/server.py", "WORKER_TIMEOUT=30")
    assert described(replace(view(), env=env), None, image=NAME, name=None).env == {}


@pytest.mark.parametrize(
    ("ports", "port"), [(("8080/tcp",), 8080), ((), 5001), (("1/tcp", "2/tcp"), 5001), (("53/udp", "8080/tcp"), 8080)]
)
def test_the_port_is_the_one_that_the_image_listens_on(ports: tuple[str, ...], port: int) -> None:
    assert described(replace(view(), ports=ports), None, image=NAME, name=None).port == port


def test_a_spec_of_another_package_counts_for_nothing(folder: Path) -> None:
    told = Told()
    found = replace(pinned(2), view=view(2, **{TITLE_LABEL: "other"}))
    workload = workload_of(found, load_spec(folder), reporter=told)
    assert (workload.name, workload.needs_key, workload.service.cpu) == ("other", False, None)
    assert any("the spec of churn is not used" in each for each in told.warnings)


def test_the_image_says_what_it_needs() -> None:
    models = [
        {
            "name": "bert",
            "version": 3,
            "digest": digest(7),
            "delivery": "volume",
            "path": "/var/azureml-app/azureml-models/bert/3",
        }
    ]
    labels = {TARGET_LABEL: "gpu", GPUS_LABEL: "all", AUTH_LABEL: "key", MODELS_LABEL: json.dumps(models)}
    found = replace(pinned(2), view=view(2, **labels))
    workload = workload_of(found, None, model_images={"bert": f"m@{digest(8)}"}, reporter=Told())
    assert (workload.gpus, workload.device_resource) == ("all", "nvidia.com/gpu")
    assert workload.tolerations[0].key == "nvidia.com/gpu"
    assert workload.needs_key
    assert workload.volumes[0].image == f"m@{digest(8)}"
    known = {"bert:3": f"k@{digest(8)}", "bert:2": f"old@{digest(8)}"}
    assert workload_of(found, None, known_images=known, reporter=Told()).volumes[0].image == known["bert:3"]
    with pytest.raises(UsageError, match="mounts no model gpt"):
        workload_of(found, None, model_images={"gpt": "m"}, reporter=Told())


@pytest.mark.parametrize(("user", "number"), [("1000:1000", 1000), ("", 0), ("root", 0)])
def test_the_user_is_a_number(user: str, number: int) -> None:
    assert described(replace(view(), user=user), None, image=NAME, name=None).user == number


def test_what_says_nothing_of_itself_is_refused() -> None:
    with pytest.raises(UsageError, match="packager did not make it"):
        workload_of(replace(pinned(2), view=replace(view(), labels={})), None, reporter=Told())
    with pytest.raises(UsageError, match="by a name"):
        described(replace(view(), user="app"), None, image=NAME, name=None)
    with pytest.raises(ContextError):
        workload_of(replace(pinned(2), view=view(2, **{MODELS_LABEL: "x"})), None, reporter=Told())


def test_a_saved_context_has_files_of_platforms_and_says_how_they_get_their_digest(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = shutil.copytree(checkout / "examples/diabetes", tmp_path / "diabetes")
    with (spec / "packager.yaml").open("a") as file:
        file.write("service: {auth: key, replicas: 2}\n")
    done = CliRunner().invoke(cli, ["save", str(spec), "-o", str(tmp_path / "context"), "--for", "kubernetes"])
    assert done.exit_code == 0, done.output
    deployment = (tmp_path / "context/deploy/kubernetes/deployment.yaml").read_text()
    text = (tmp_path / "context/HANDOFF.md").read_text()
    command = next(line.strip() for line in text.splitlines() if "sed -i" in line)
    zeros = command.split("/")[1]
    assert zeros in deployment
    subprocess.run(["bash", "-c", command], cwd=tmp_path / "context", env={"digest": digest(7)}, check=True)
    image = f"@{digest(7)}"
    assert (
        deployment.replace(f"@{zeros}", image) == (tmp_path / "context/deploy/kubernetes/deployment.yaml").read_text()
    )
    assert "kubectl create secret generic diabetes-keys" in text
    assert "kubectl apply --server-side -k ." in text
    refused = CliRunner().invoke(cli, ["save", str(spec), "-o", str(tmp_path / "other"), "--for", "nowhere"])
    assert isinstance(refused.exception, UsageError)
