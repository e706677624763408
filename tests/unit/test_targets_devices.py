"""Targets with hardware of their own: CUDA, FPGA cards, edge devices; what they ask for, promise and refuse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from packager.checks.accelerator import check_accelerator, cuda_packages
from packager.context.artefacts import check_artefacts
from packager.dockerfile.render import render_template
from packager.environments.conda import CondaPackage, CondaRequest
from packager.environments.declare.environment import read_environment
from packager.environments.declare.request import make_request
from packager.environments.lock import LockedPackage, LockRequest
from packager.errors import ContextError, EngineError, SpecError
from packager.plan.make import artefacts
from packager.plan.plan import Layer
from packager.plan.trees import TreeFile, make_tree
from packager.resources import data_folder
from packager.serving.hosts.docker.container import create_options, start_failure
from packager.serving.service import ImageRequest, Publish
from packager.spec import parse_spec
from packager.spec.load import SpecFile
from packager.targets import load_target, read_target
from tests.unit.plans import example_plan

LEAST = 'name: iris\nversion: "1"\nentry_script: score.py\n'
CONDA = "environment: {conda: [python=3.13]}\n"
PIP = "environment: {pip: [numpy]}\n"


def parse(more: str) -> SpecFile:
    return parse_spec(LEAST + more, Path("packager.yaml"))


def request(more: str, target: str) -> LockRequest:
    own = parse(more).for_target(target)
    return make_request(own.spec, load_target(target), read_environment(own), at=own.at)


def virtual_packages(asked: LockRequest) -> dict[str, str]:
    assert isinstance(asked.conda, CondaRequest)
    return asked.conda.virtual_packages["linux/amd64"]


# --- gpu --------------------------------------------------------------------------------------------------------------


def test_the_version_of_cuda_gives_base_and_virtual_package() -> None:
    asked = request(CONDA + "targets: [gpu]\n", "gpu")
    cuda = load_target("gpu").cuda
    assert cuda is not None
    assert asked.base == str(cuda.bases["12.8"])
    assert virtual_packages(asked)["__cuda"] == "12.8"
    assert "__cuda" not in virtual_packages(request(CONDA, "cpu"))


def test_a_base_of_ones_own_may_have_any_cuda() -> None:
    more = "targets: {gpu: {cuda: '11.8', base: 'nvidia/cuda:11.8.0-runtime-ubuntu22.04'}}\n"
    asked = request(CONDA + more, "gpu")
    assert asked.base == "docker.io/nvidia/cuda:11.8.0-runtime-ubuntu22.04"
    assert virtual_packages(asked)["__cuda"] == "11.8"
    assert request(PIP + more, "gpu").base == asked.base


@pytest.mark.parametrize(
    ("more", "target", "says", "remedy"),
    [
        (PIP + "targets: [gpu]\n", "gpu", "has no Python for an environment of pip", "conda: [python=3.13]"),
        (PIP + "targets: [gpu]\n", "gpu", "has no Python for an environment of pip", "base: …"),
        (CONDA + "targets: {gpu: {cuda: '9.0'}}\n", "gpu", "no base image for CUDA 9.0", "12.8"),
        (CONDA + "targets: {cpu: {cuda: '12.8'}}\n", "cpu", "the target 'cpu' has no CUDA", "gpu"),
        (CONDA + "targets: [fpga]\n", "fpga", "has to know the version of xrt", "host: {xrt"),
        (CONDA + "targets: {cpu: {host: {xrt: '2'}}}\n", "cpu", "needs no xrt of the host", "needs nothing"),
        (PIP + "targets: {arm-edge: {platforms: [linux/arm/v7]}}\n", "arm-edge", "no platform", "linux/arm64"),
        (
            PIP + "targets: {arm-edge: {platforms: [linux/arm/v7]}}\n",
            "arm-edge",
            "needs cffi and psutil",
            "linux/arm64",
        ),
    ],
)
def test_what_a_target_cannot_do_is_told_with_a_way_out(more: str, target: str, says: str, remedy: str) -> None:
    with pytest.raises(SpecError, match=says) as caught:
        request(more, target)
    assert caught.value.where is not None
    assert caught.value.where.line in (4, 5)
    assert remedy in (caught.value.remedy or "")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (('default = "12.8"', 'default = "12.9"'), "none for the default 12.9"),
        (("24.04@sha256:", "24.04#"), "is not a valid image tag"),
        (("[cuda]", "[other]"), "other"),
    ],
)
def test_a_broken_table_of_cuda_is_named(tmp_path: Path, change: tuple[str, str], says: str) -> None:
    text = (data_folder("templates") / "gpu.toml").read_text()
    assert change[0] in text
    (tmp_path / "own.toml").write_text(text.replace(*change))
    with pytest.raises(Exception, match=says):
        read_target(tmp_path / "own.toml")


def test_bases_without_digest_are_for_targets_that_say_so(tmp_path: Path) -> None:
    text = (data_folder("templates") / "fpga.toml").read_text()
    (tmp_path / "own.toml").write_text(text.replace("resolve_bases = true", ""))
    with pytest.raises(SpecError, match=r"the base of conda has no digest"):
        read_target(tmp_path / "own.toml")
    (tmp_path / "own.toml").write_text(text.replace('base = "docker.io/xilinx/vitis-ai-cpu:2.5.0"', ""))
    with pytest.raises(SpecError, match=r"\[conda\] has no base"):
        read_target(tmp_path / "own.toml")


# --- what is locked ---------------------------------------------------------------------------------------------------


def packages(*named: str) -> tuple[LockedPackage, ...]:
    pairs = [each.split("==") for each in named]
    return tuple(LockedPackage(name=name, version=version, digests=("a" * 64,)) for name, version in pairs)


@pytest.mark.parametrize(
    ("locked", "holds"),
    [
        (("numpy==2", "nvidia-ml-py==13", "nvidian==1"), ()),
        (("nvidia-cublas-cu12==12.8",), ("nvidia-cublas-cu12",)),
        (("torch==2.9+cu128", "onnx==1"), ("torch",)),
        (("torch==2.9+cpu", "onnxruntime==1"), ()),
        (("onnxruntime-gpu==1.22", "cupy-cuda12x==13"), ("cupy-cuda12x", "onnxruntime-gpu")),
    ],
)
def test_packages_that_hold_cuda_are_known(locked: tuple[str, ...], holds: tuple[str, ...]) -> None:
    plan = example_plan()
    held = msgspec.structs.replace(plan.environment.locked, packages=packages(*locked))
    environment = msgspec.structs.replace(plan.environment, locked=held)
    plan = msgspec.structs.replace(plan, environment=environment)
    assert cuda_packages(plan) == holds
    on_cpu = [each.rule for each in check_accelerator(plan, load_target("cpu"))]
    on_gpu = [each.rule for each in check_accelerator(plan, load_target("gpu"))]
    assert (on_cpu, on_gpu) == ((["cuda-without-gpu"], []) if holds else ([], ["gpu-unused"]))


def test_builds_of_conda_for_cuda_are_known() -> None:
    def package(name: str, build: str) -> CondaPackage:
        url = f"https://conda.example.com/forge/linux-64/{name}.conda"
        return CondaPackage(name=name, version="2", build=build, platform="linux/amd64", url=url, sha256="e" * 64)

    from tests.unit.plans import example_conda_plan

    plan = example_conda_plan()
    locked = plan.environment.locked
    assert locked.conda is not None
    found = (package("pytorch", "cuda128_py313"), package("cuda-version", "h0"), package("libcublas", "h0_0"))
    locked = msgspec.structs.replace(locked, conda=msgspec.structs.replace(locked.conda, packages=found))
    environment = msgspec.structs.replace(plan.environment, locked=locked)
    assert cuda_packages(msgspec.structs.replace(plan, environment=environment)) == ("pytorch",)


# --- fpga -------------------------------------------------------------------------------------------------------------

FPGA = CONDA + "targets: {fpga: {host: {xrt: '2.13'}%s}}\n"


def model(*paths: str) -> Layer:
    files = [TreeFile(path=path, size=1, mode=0o444, digest="a" * 64, origin=path) for path in paths]
    return Layer(name="model-m-1", title="model m version 1", tree=make_tree(files))


def test_artefacts_are_named_by_the_environment() -> None:
    spec = parse(FPGA % "").spec.for_target("fpga")
    found = artefacts(spec, load_target("fpga"), (model("m/a.xclbin"), model("n/b.xmodel", "n/c.json")))
    assert found == {"XLNX_VART_FIRMWARE": "/m/a.xclbin", "PACKAGER_XMODEL": "/n/b.xmodel"}
    assert artefacts(spec, load_target("cpu"), ()) == {}


def test_missing_artefacts_stop_the_plan() -> None:
    spec = parse(FPGA % "").spec.for_target("fpga")
    with pytest.raises(ContextError, match=r"needs a compiled model \(\.xmodel\)") as caught:
        artefacts(spec, load_target("fpga"), (model("m/a.xclbin"),))
    assert "models: [{path: FILE.xmodel}]" in (caught.value.remedy or "")


def test_the_spec_says_which_of_several_artefacts_is_meant() -> None:
    models = (model("m/a.xclbin", "m/b.xclbin", "m/c.xmodel"),)
    with pytest.raises(ContextError, match=r"several files \.xclbin: /m/a\.xclbin, /m/b\.xclbin"):
        artefacts(parse(FPGA % "").spec.for_target("fpga"), load_target("fpga"), models)
    chosen = parse(FPGA % ", env: {XLNX_VART_FIRMWARE: /m/b.xclbin}").spec.for_target("fpga")
    assert artefacts(chosen, load_target("fpga"), models).keys() == {"XLNX_VART_FIRMWARE", "PACKAGER_XMODEL"}


@pytest.mark.parametrize("start", [b"\x7fELF", b"xclbin1\0rest", b"yclbin2\0rest", b"xclbin", b""])
def test_an_artefact_of_another_kind_is_refused(tmp_path: Path, start: bytes) -> None:
    (tmp_path / "packager.yaml").write_text(LEAST + FPGA % "")
    spec_file = parse_spec(LEAST + FPGA % "", tmp_path / "packager.yaml")
    plan = msgspec.structs.replace(example_plan(), models=(model("a.xclbin"),))
    (tmp_path / "a.xclbin").write_bytes(b"xclbin2\0rest")
    check_artefacts(spec_file, load_target("fpga"), plan)
    (tmp_path / "a.xclbin").write_bytes(start)
    with pytest.raises(ContextError, match=r"'a\.xclbin' is no bitstream"):
        check_artefacts(spec_file, load_target("fpga"), plan)
    check_artefacts(spec_file, load_target("cpu"), plan)


# --- running ----------------------------------------------------------------------------------------------------------


def run_options(**more: Any) -> dict[str, Any]:
    publish = Publish(container_port=5001, port=0)
    return create_options(ImageRequest(reference="iris:1", name="iris", publish=publish, **more), "127.0.0.1")


def test_a_container_gets_its_devices() -> None:
    plain = run_options()
    assert "devices" not in plain
    assert "device_requests" not in plain
    options = run_options(gpus=True, devices=("/dev/xclmgmt0", "/dev/dri/renderD128"))
    assert options["devices"] == ["/dev/xclmgmt0:/dev/xclmgmt0:rwm", "/dev/dri/renderD128:/dev/dri/renderD128:rwm"]
    (gpus,) = options["device_requests"]
    assert (gpus["Count"], gpus["Capabilities"]) == (-1, [["gpu"]])


def test_an_engine_without_gpus_is_told_with_a_way_out() -> None:
    request = ImageRequest(reference="iris:1", name="iris", publish=Publish(container_port=5001, port=0))
    error = start_failure('could not select device driver "" with capabilities: [[gpu]]', request)
    assert isinstance(error, EngineError)
    assert "--no-devices" in (error.remedy or "")


# --- arm-edge ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", ["buildkit", "plain"])
@pytest.mark.parametrize(
    "image", ["registry.example.com/ml/iris:1", "registry.example.com:5000/ml/iris:1-edge", "iris:1"]
)
def test_the_files_of_an_iot_edge_module_agree(image: str, dialect: str) -> None:
    repository, _, tag = image.rpartition(":")
    more = f"dialect: {dialect}\ndescription: 'It says \"how far\".'\n"
    more += f"image: {{repository: '{repository}', tags: ['{tag}']}}\n"
    plan = example_plan(more, target="arm-edge", platform="linux/arm64", models=0)
    deployment, module = (json.loads(render_template(f"{name}.j2", plan)) for name in reversed(plan.files))
    modules = deployment["modulesContent"]["$edgeAgent"]["properties.desired"]["modules"]
    settings = modules["diabetes"]["settings"]
    assert settings["image"] == image
    assert isinstance(settings["createOptions"], dict), "text is for manifests, an object for templates"
    assert module["description"] == 'It says "how far".'
    tags = {"version": tag, "platforms": {"arm64v8": "./Dockerfile"}}
    assert (module["image"]["repository"], module["image"]["tag"]) == (repository, tags)
    assert module["image"]["buildOptions"] == ([] if dialect == "plain" else ["--provenance=false"])
