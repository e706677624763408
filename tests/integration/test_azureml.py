"""Scripts for Azure ML's SDK v1, run as they are: `python -m packager.azureml script.py`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from uv import find_uv_bin

from tests.integration.conftest import NO_ENGINE, Engine, output

Run = Callable[[str], list[str]]

PREFIX = "azureml-test"

SCORE = """
import json, os
import helper, six

def init():
    global found
    root = os.environ["AZUREML_MODEL_DIR"]
    paths = (os.path.join(folder, name) for folder, _, names in os.walk(root) for name in names)
    found = sorted(os.path.relpath(path, root) for path in paths)

def run(data, request_headers=None):
    asked = json.loads(data)
    return {"models": found, "got": asked, "helper": helper.ANSWER, "extra": json.load(open("./app_dir/extra.json"))}
"""
CONFIG = {"subscription_id": "sub", "resource_group": "group", "workspace_name": "team"}
START = """
from azureml.core import Environment, Workspace
from azureml.core.conda_dependencies import CondaDependencies
from azureml.core.model import InferenceConfig, Model

ws = Workspace.from_config()
env = Environment("env")
env.python.conda_dependencies = CondaDependencies.create(
    pip_packages=["azureml-defaults"], conda_packages=["six>=1.16"], python_version="3.13"
)
config = InferenceConfig(entry_script="score.py", source_directory="./app_dir", environment=env)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of v1: a source directory, two models, a configuration."""
    made = tmp_path_factory.mktemp("v1")
    (made / "app_dir").mkdir()
    (made / "app_dir/score.py").write_text(SCORE)
    (made / "app_dir/helper.py").write_text("ANSWER = 1\n")
    (made / "app_dir/extra.json").write_text('{"extra": true}')
    (made / "app_dir/venv").mkdir()
    (made / "app_dir/venv/pyvenv.cfg").write_text("home = /usr\n")
    (made / "weights.txt").write_text("1 2 3\n")
    (made / "vocabulary").mkdir()
    (made / "vocabulary/words.txt").write_text("a b c\n")
    (made / ".azureml").mkdir()
    (made / ".azureml/config.json").write_text(json.dumps(CONFIG))
    return made


@pytest.fixture(scope="module")
def run(
    engine: Engine, index: None, base_image: str, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Run]:
    """Runs a script in the project, and returns the lines that it prints."""
    homes = tmp_path_factory.mktemp("homes")
    environ = {
        **os.environ,
        "XDG_CACHE_HOME": str(homes / "cache"),
        "XDG_DATA_HOME": str(homes / "data"),
        "UV_CACHE_DIR": output(find_uv_bin(), "cache", "dir") or str(homes / "uv"),
        "PACKAGER_BASE": base_image,
    }
    environ.pop("PACKAGER_WORKSPACE", None)

    def ran(script: str) -> list[str]:
        (folder / "script.py").write_text(START + textwrap.dedent(script))
        done = subprocess.run(
            [sys.executable, "-m", "packager.azureml", "script.py"],
            cwd=folder,
            env=environ,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.splitlines()

    yield ran
    names = output("docker", "container", "ls", "--all", "--filter", f"name={PREFIX}", "--quiet") or ""
    if names:
        subprocess.run(["docker", "rm", "--force", *names.split()], capture_output=True, check=False)
    images = output("docker", "image", "ls", "--quiet", "--filter", f"reference={PREFIX}*") or ""
    if images:
        subprocess.run(["docker", "image", "rm", "--force", *images.split()], capture_output=True, check=False)


@pytest.mark.engine
def test_a_local_service_of_a_registered_model_takes_an_edited_script(run: Run) -> None:
    lines = run(f"""
        from pathlib import Path
        from azureml.core.webservice import LocalWebservice, Webservice
        from azureml.exceptions import WebserviceException

        model = Model.register(workspace=ws, model_path="weights.txt", model_name="weights", tags={{"area": "test"}})
        service = Model.deploy(ws, "{PREFIX}-local", [model], config, LocalWebservice.deploy_configuration())
        service.wait_for_deployment(show_output=True)
        print(service.state, service.scoring_uri == f"http://localhost:{{service.port}}/score")
        print(service.run('{{"n": 1}}'))
        Path("app_dir/helper.py").write_text("ANSWER = 2\\n")
        service.reload()
        print(service.run(input_data=b"[]")["helper"], "init" in service.get_logs().lower())
        for wrong in (lambda: service.get_keys(), lambda: service.run("{{"), lambda: service.run({{"n": 1}})):
            try:
                wrong()
            except (NotImplementedError, WebserviceException) as error:
                print(type(error).__name__)
        print(Webservice(ws, "{PREFIX}-local").compute_type, [each.name for each in Webservice.list(ws)])
        print(model.download("there"))
        service.delete()
        print(service.state)
        try:
            Webservice(ws, "{PREFIX}-local")
        except WebserviceException as error:
            print(error.message.partition(":")[0])
        """)
    assert lines[0] == "Registering model weights"
    assert lines[1].startswith("Local webservice is running at http://localhost:")
    expected = {"models": ["weights.txt"], "got": {"n": 1}, "helper": 1, "extra": {"extra": True}}
    assert lines[2:4] == ["running True", str(expected)]
    assert lines[4:] == [
        "2 True",
        "NotImplementedError",
        "WebserviceException",
        "WebserviceException",
        f"Local ['{PREFIX}-local']",
        "there/weights.txt",
        "deleted",
        "WebserviceNotFound",
    ]


@pytest.mark.engine
def test_aci_and_aks_are_this_machine_with_keys_limits_and_several_models(run: Run) -> None:
    lines = run(f"""
        import subprocess
        import requests
        from azureml.core.compute import AksCompute, ComputeTarget
        from azureml.core.compute_target import ComputeTargetException
        from azureml.core.webservice import AciWebservice, AksWebservice
        from azureml.exceptions import WebserviceException

        models = [Model.register(ws, path, path.partition(".")[0]) for path in ("weights.txt", "vocabulary")]
        aci = AciWebservice.deploy_configuration(cpu_cores=0.5, memory_gb=1, auth_enabled=True, tags={{"a": "b"}})
        service = Model.deploy(ws, "{PREFIX}-aci", models, config, aci)
        service.wait_for_deployment(True)
        print(service.state, service.tags, service.run("[]")["models"])
        primary, secondary = service.get_keys()
        def status(key):
            headers = {{"Authorization": f"Bearer {{key}}", "Content-Type": "application/json"}}
            return requests.post(service.scoring_uri, "[]", headers=headers).status_code
        print(status("no"), status(primary), status(secondary))
        service.regen_key("Primary")
        print(status(primary), status(service.get_keys()[0]), status(secondary))
        words = ["docker", "inspect", "--format", "{{{{.HostConfig.NanoCpus}}}} {{{{.HostConfig.Memory}}}}"]
        names = subprocess.run(["docker", "ps", "--quiet", "--filter", "ancestor=" + service.image_id],
                               capture_output=True, text=True).stdout.split()
        limits = subprocess.run([*words, *names], capture_output=True, text=True).stdout.split("\\n")
        print("500000000 1073741824" in limits)
        for again in (aci, None):
            try:
                Model.deploy(ws, "{PREFIX}-aci", models, config, again)
            except WebserviceException as error:
                print(error.message[:28])
        try:
            target = ComputeTarget(ws, "cluster")
        except ComputeTargetException as error:
            print(error.message.partition(":")[0])
            target = ComputeTarget.create(ws, "cluster", AksCompute.provisioning_configuration())
            target.wait_for_completion(show_output=True)
        service.delete()
        aks = Model.deploy(ws, "{PREFIX}-aks", models[:1], config, AksWebservice.deploy_configuration(), target)
        aks.wait_for_deployment(show_output=True)
        print(aks.state, aks.auth_enabled, aks.compute_name, len(aks.run("[]")["models"]))
        aks.update(models=models, tags={{"v": "2"}})
        print(aks.tags, aks.run("[]")["models"], aks.state)
        headers = {{"Content-Type": "application/json"}}
        print(requests.post(aks.scoring_uri, "[]", headers=headers).status_code)
        aks.update(token_auth_enabled=True)
        token, refresh = aks.get_token()
        asked = [headers | {{"Authorization": f"Bearer {{each}}"}} for each in (token, token.replace(".1", ".2", 1))]
        answers = [requests.post(aks.scoring_uri, "[]", headers=each).status_code for each in asked]
        print(answers, refresh > aks.updated_time, len(aks.run("[]")["models"]))
        aks.delete()
        """)
    paths = ["vocabulary/1/vocabulary/words.txt", "weights/2/weights.txt"]
    assert lines[:2] == ["Registering model weights", "Registering model vocabulary"]
    assert lines[2:6] == [
        "Running",
        "Succeeded",
        'ACI service creation operation finished, operation "Succeeded"',
        f"Healthy {{'a': 'b'}} {paths}",
    ]
    assert lines[6:8] == ["401 200 200", "401 200 200"]
    assert lines[8] == "True"
    assert lines[9:12] == [f"Service {PREFIX}-aci with the same"[:28]] * 2 + ["ComputeTargetNotFound"]
    assert lines[12:14] == ["Succeeded", 'Provisioning operation finished, operation "Succeeded"']
    assert lines[16:] == [
        'AKS service creation operation finished, operation "Succeeded"',
        "Healthy True cluster 1",
        f"{{'v': '2'}} {paths} Healthy",
        "401",
        "[200, 401] True 2",
    ]


@pytest.mark.engine
def test_an_endpoint_shares_its_requests_among_versions(run: Run) -> None:
    lines = run(f"""
        from collections import Counter
        import requests
        from azureml.core.webservice import AksEndpoint, Webservice

        weights = Model.register(ws, "weights.txt", "end-weights")
        words = Model.register(ws, "vocabulary", "end-vocabulary")
        first = AksEndpoint.deploy_configuration(version_name="a", traffic_percentile=20, compute_target_name="cluster")
        endpoint = Model.deploy(ws, "{PREFIX}-end", [weights], config, first)
        endpoint.wait_for_deployment(show_output=True)
        key, _ = endpoint.get_keys()

        def asked(times, **headers):
            headers |= {{"Authorization": f"Bearer {{key}}"}}
            answers = [requests.post(endpoint.scoring_uri, "[]", headers=headers) for _ in range(times)]
            assert {{each.status_code for each in answers}} == {{200}}
            return Counter(each.json()["models"][0].partition("/")[0] for each in answers)

        print(type(endpoint).__name__, endpoint.state, dict(asked(20)))
        endpoint.create_version("b", models=[words], inference_config=config, traffic_percentile=30, memory_gb=0.5)
        endpoint.wait_for_deployment(show_output=True)
        counted = asked(200)
        print(sorted(counted), 30 < counted["vocabulary"] < 95, endpoint.versions["b"].traffic_percentile)
        print(dict(asked(5, **{{"azureml-model-deployment": "b"}})), endpoint.versions["b"].run("[]")["models"])
        print(requests.post(endpoint.scoring_uri, "[]").status_code)
        endpoint.update_version("b", is_default=True)
        endpoint.update_version("a", models=[words], traffic_percentile=0)
        print({{name: (each.is_default, each.traffic_percentile) for name, each in endpoint.versions.items()}})
        print(dict(asked(20)), endpoint.versions["a"].run("[]")["models"])
        endpoint.delete_version("b")
        print(list(Webservice(ws, "{PREFIX}-end").versions), dict(asked(5)))
        endpoint.delete()
        """)
    done = ["Running", "Succeeded", 'AKSENDPOINT service creation operation finished, operation "Succeeded"']
    assert lines[2:5] == done
    assert lines[5:9] == ["AksEndpoint Healthy {'weights.txt': 20}", *done]
    words = "['vocabulary/words.txt']"
    assert lines[9:] == [
        "['vocabulary', 'weights.txt'] True 30",
        f"{{'vocabulary': 5}} {words}",
        "401",
        "{'a': (False, 0), 'b': (True, 100)}",
        f"{{'vocabulary': 20}} {words}",
        "['a'] {'vocabulary': 5}",
    ]


@pytest.mark.engine
def test_packages_and_images_of_the_old_api(run: Run, folder: Path) -> None:
    lines = run(f"""
        import requests
        import os
        from azureml.core.image import ContainerImage, Image
        from azureml.core.webservice import AciWebservice, Webservice

        model = Model.register(ws, "vocabulary", "vocabulary")
        package = Model.package(ws, [model], config, generate_dockerfile=True)
        package.wait_for_creation(show_output=True)
        package.save("./imagefiles")
        print(sorted(os.listdir("imagefiles"))[:1], package.state, package.get_container_registry().address)
        built = Model.package(ws, ["weights.txt"], config, image_name="{PREFIX}-package", image_label="one")
        built.pull()
        from packager.steps.profile import ProfileWish, profile
        wish = dict(reference=built.location, bodies=(b"[]",), cpu=0.5, memory=1 << 29, requests=5, seconds=1)
        found = profile(ProfileWish(**wish))
        print(found.rows[0].good, found.rows[0].memory > 1 << 20, found.recommended.memory <= 1 << 29)
        with open("old.py", "w") as stream:
            stream.write("import beside\\ndef init(): pass\\ndef run(data): return beside.ANSWER\\n")
        with open("beside.py", "w") as stream:
            stream.write("ANSWER = 'old'\\n")
        env.python.conda_dependencies.save("old.yml")
        image_config = ContainerImage.image_configuration(
            execution_script="old.py", runtime="python", conda_file="old.yml", dependencies=["beside.py"],
            tags={{"data": "old"}}, description="as it was",
        )
        image = ContainerImage.create(workspace=ws, name="{PREFIX}-image", models=[model], image_config=image_config)
        image.wait_for_creation(show_output=True)
        print(image.creation_state, image.version, [each.id for each in Image.list(ws, tags=["data"])])
        service = Webservice.deploy_from_image(workspace=ws, name="{PREFIX}-old", image=image,
                                               deployment_config=AciWebservice.deploy_configuration(auth_enabled=True))
        service.wait_for_deployment()
        print(requests.post(service.scoring_uri, "{{}}").status_code)
        print(service.run("{{}}"), [each.name for each in service.models])
        service.delete()
        image.delete()
        print(Image.list(ws))
        """)
    assert (folder / "imagefiles/Dockerfile").is_file()
    assert "Package creation Succeeded" in lines
    assert "Status: Downloaded newer image for azureml-test-package:one" in lines
    assert "10 True True" in lines
    assert f"Succeeded 1 ['{PREFIX}-image:1']" in lines
    assert lines[-3:] == ["401", "old ['vocabulary']", "[]"]


@pytest.mark.network
@pytest.mark.skipif(sys.platform != "linux", reason="--no-docker is for Linux")
def test_without_an_engine_services_are_processes_of_this_machine(index: None, tmp_path: Path) -> None:
    (tmp_path / ".azureml").mkdir()
    (tmp_path / ".azureml/config.json").write_text(json.dumps(CONFIG))
    (tmp_path / "weights.txt").write_text("1\n")
    (tmp_path / "score.py").write_text("def init(): ...\n\ndef run(data):\n    return 1\n")
    script = f"""
from azureml.core import Environment, Workspace
from azureml.core.conda_dependencies import CondaDependencies
from azureml.core.model import InferenceConfig, Model
from azureml.core.webservice import AciWebservice, AksEndpoint, LocalWebservice, Webservice
import requests

ws = Workspace.from_config()
env = Environment("env")
env.python.conda_dependencies = CondaDependencies.create(python_version="{sys.version_info[0]}.{sys.version_info[1]}")
config = InferenceConfig(entry_script="score.py", environment=env)
model = Model.register(ws, "weights.txt", "weights")
local = Model.deploy(ws, "{PREFIX}-here", [model], config, LocalWebservice.deploy_configuration())
local.wait_for_deployment()
print(local.run("[]"))
with open("score.py", "a") as script:
    script.write("    # edited\\n\\ndef run(data):\\n    return 2\\n")
local.reload()
print(local.state, local.run("[]"))
local.delete()
first = AksEndpoint.deploy_configuration(version_name="a", compute_target_name="cluster", cpu_cores=1)
end = Model.deploy(ws, "{PREFIX}-end", [model], config, first)
end.create_version("b", models=[model], inference_config=config, traffic_percentile=50)
print(end.state, [each.run("[]") for each in end.versions.values()], requests.post(end.scoring_uri, "[]").status_code)
end.delete()
print(ws.webservices)
"""
    (tmp_path / "script.py").write_text(script)
    homes = {f"XDG_{name}_HOME": str(tmp_path / name.lower()) for name in ("CACHE", "DATA", "STATE")}
    cache = output(find_uv_bin(), "cache", "dir") or str(tmp_path / "uv")
    environ = {**os.environ, **NO_ENGINE, **homes, "UV_CACHE_DIR": cache, "PACKAGER_WORKSPACE": ""}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "packager.azureml", "script.py"], cwd=tmp_path, capture_output=True, text=True,
            env=environ, timeout=300, check=False,
        )  # fmt: skip
    finally:
        for name in (f"{PREFIX}-here", f"{PREFIX}-end"):
            words = [sys.executable, "-m", "packager", "service", "delete", "-q", name]
            subprocess.run(words, env=environ, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{PREFIX}-here: there is no engine: it runs as processes of this machine" in done.stderr
    assert done.stdout.splitlines()[2:] == ["1", "running 2", "Healthy [2, 2] 401", "{}"], done.stdout
