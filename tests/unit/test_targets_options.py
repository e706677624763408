"""What differs by target: merged into the spec, the environment, the models and the tags of that target alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from packager.context.sources import scan_sources
from packager.environments.declare.environment import read_environment, read_environments
from packager.environments.declare.request import make_request
from packager.environments.declare.requirement import INFERENCE_SERVER
from packager.errors import SpecError
from packager.plan.make import image_references
from packager.spec import load_spec, parse_spec
from packager.spec.load import SpecFile
from packager.spec.model import Model, canonical, packaged
from packager.steps.selection import select_targets
from packager.targets import load_target

LEAST = 'name: iris\nversion: "1"\nentry_script: score.py\n'
PIP = "environment: {pip: [numpy, onnxruntime==1.20.*]}\n"
TWO = """\
models: [{path: models/a.onnx}, {path: models/b.onnx}]
env: {LEVEL: info, WHERE: cloud}
system_packages: [libgomp1]
python: "3.13"
targets:
  cpu: {}
  arm-edge:
    base: registry.example.com/edge/python:3.12
    python: "3.12"
    models: [{path: edge/b.int8.onnx, name: b}, {path: edge/c.onnx}]
    env: {WHERE: edge}
    tags: ["{version}-edge"]
    system_packages: [libgomp1, libatlas3-base]
    environment: {remove: [onnxruntime], add: {pip: ["tflite-runtime>=2"]}}
"""


def parse(more: str) -> SpecFile:
    return parse_spec(LEAST + more, Path("packager.yaml"))


def test_a_target_has_the_spec_with_what_differs_there() -> None:
    spec = parse(PIP + TWO).spec
    edge, cpu = spec.for_target("arm-edge"), spec.for_target("cpu")
    assert [each.path for each in edge.models] == ["models/a.onnx", "edge/b.int8.onnx", "edge/c.onnx"]
    assert edge.env == {"LEVEL": "info", "WHERE": "edge"}
    assert edge.system_packages == ("libgomp1", "libatlas3-base")
    assert (edge.python, edge.base) == ("3.12", "registry.example.com/edge/python:3.12")
    assert image_references(edge, "arm-edge", "linux/arm64") == ("iris:1-edge",)
    assert edge.for_target("arm-edge") == edge
    assert (cpu.python, cpu.base, cpu.models, cpu.env) == ("3.13", None, spec.models, spec.env)
    assert image_references(cpu, "cpu", "linux/amd64") == ("iris:1-cpu",)


def test_a_target_does_not_hear_of_another() -> None:
    before = parse(PIP + TWO).spec.for_target("cpu")
    after = parse(PIP + TWO.replace("edge/c.onnx", "edge/d.onnx")).spec.for_target("cpu")
    assert canonical(packaged(before)) == canonical(packaged(after))
    one, two = (parse(f"{PIP}targets: {names}\nimage: {{tags: ['{{target}}']}}\n") for names in ("[cpu]", "[cpu, gpu]"))
    assert one.spec.for_target("cpu") == two.spec.for_target("cpu")


def test_each_target_asks_for_its_own_environment() -> None:
    spec_file = parse(PIP + TWO)
    found = read_environments(spec_file)
    assert found["cpu"].requirements == (INFERENCE_SERVER, "numpy", "onnxruntime==1.20.*")
    assert found["arm-edge"].requirements == (INFERENCE_SERVER, "numpy", "tflite-runtime>=2")
    request = make_request(spec_file.spec, load_target("cpu"), found["cpu"])
    assert request.python == "3.13"


def test_equal_environments_are_read_once() -> None:
    found = read_environments(parse(PIP + "targets: {cpu: {}, gpu: {env: {A: b}}}\n"))
    assert found["cpu"] is found["gpu"]


def test_a_target_adds_conda_packages_to_an_environment_of_pip() -> None:
    more = PIP + "targets: {cpu: {}, gpu: {environment: {add: {conda: [cudnn=9, python=3.13]}}}}\n"
    found = read_environments(parse(more))
    assert found["cpu"].conda is None
    assert found["gpu"].conda is not None
    assert any(each.startswith("cudnn") for each in found["gpu"].conda.specs)


def test_names_of_conda_are_removed_from_files_too(tmp_path: Path) -> None:
    (tmp_path / "environment.yml").write_text("dependencies: [python=3.12, mkl, blas, {pip: [onnxruntime]}]\n")
    (tmp_path / "packager.yaml").write_text(
        LEAST + "environment: environment.yml\ntargets: {cpu: {environment: {remove: [MKL, onnxruntime]}}}\n"
    )
    found = read_environment(load_spec(tmp_path).for_target("cpu"))
    assert found.conda is not None
    assert [each.split()[0] for each in found.conda.specs] == ["blas", "python"]
    assert found.requirements == (INFERENCE_SERVER,)


@pytest.mark.parametrize(
    ("changes", "says", "line"),
    [
        ("{remove: [torch]}", "does not ask for 'torch'", 6),
        ("{remove: ['numpy>=2']}", "is not the name of a package", 6),
        ("{add: {pip: ['git+https://example.com/x']}}", "VCS reference", 6),
        ("{ad: {pip: [numpy]}}", "unknown key 'ad'", 6),
    ],
)
def test_changes_that_cannot_be_are_named_with_their_line(changes: str, says: str, line: int) -> None:
    with pytest.raises(SpecError, match=says) as caught:
        read_environment(parse(f"{PIP}targets:\n  cpu: {{environment: {changes}}}\n").for_target("cpu"))
    assert caught.value.where is not None
    assert caught.value.where.line == line
    assert (caught.value.where.field or "").startswith("targets.cpu.environment")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("models: [{path: ../m.onnx}]", "leaves the folder"),
        ("models: [{path: a/m.onnx}, {path: b/m.onnx}]", "is given twice"),
        ("env: {PATH: /bin}", "PATH is set by packager"),
        ("system_packages: [curl, curl]", "'curl' is given twice"),
        ("base: Not/Valid", "'Not/Valid' is not valid"),
        ("tags: ['{branch}']", r"tags know no \{branch\}"),
        ("cuda: 12.8", "12.8 is a number to YAML"),
        ("cuda: new", "'new' is not valid here"),
    ],
)
def test_what_a_target_says_is_checked_as_the_spec_is(options: str, says: str) -> None:
    with pytest.raises(SpecError, match=says) as caught:
        parse(f"{PIP}targets:\n  cpu: {{{options}}}\n")
    assert caught.value.where is not None
    assert (caught.value.where.line, (caught.value.where.field or "")[:12]) == (
        6,
        "targets.cpu.",
    ) or caught.value.where.line == 6


def test_tags_of_several_targets_tell_them_apart() -> None:
    assert parse(PIP + "targets: [cpu, gpu]\n").spec.image.tags == ("{version}-{target}",)
    assert parse(PIP + "targets: [cpu]\n").spec.image.tags == ("{version}",)


@pytest.mark.parametrize(
    ("more", "line"),
    [
        ('targets: [cpu, gpu]\nimage: {tags: ["{version}"]}\n', 6),
        ('targets:\n  cpu: {}\n  gpu:\n    tags: ["{version}-cpu"]\n', 8),
    ],
)
def test_two_targets_do_not_write_one_tag(more: str, line: int) -> None:
    with pytest.raises(SpecError, match="the targets 'cpu' and 'gpu' would both write the tag") as caught:
        parse(PIP + more)
    assert caught.value.where is not None
    assert caught.value.where.line == line
    assert "{target}" in (caught.value.remedy or "")


def test_platforms_tell_targets_apart_where_they_differ() -> None:
    tags = 'image: {tags: ["{version}-{platform}"]}\n'
    arm = "{platforms: [linux/arm64]}"
    assert select_targets(parse(f"{PIP}targets: {{cpu: {{}}, arm-edge: {arm}}}\n{tags}"), None) == ("cpu", "arm-edge")
    with pytest.raises(SpecError, match="would both write the tag '1-linux-arm64'"):
        select_targets(parse(f"{PIP}targets: {{cpu: {arm}, arm-edge: {arm}}}\n{tags}"), None)


def test_an_image_holds_no_model_of_another_target(tmp_path: Path) -> None:
    (tmp_path / "score.py").write_text("def init(): ...\n")
    for name in ("a.onnx", "b.onnx"):
        (tmp_path / name).write_text(name)
    (tmp_path / "packager.yaml").write_text(
        LEAST + PIP + "models: [{path: a.onnx, name: m}]\n"
        "targets: {cpu: {}, arm-edge: {models: [{path: b.onnx, name: m}]}}\n"
    )
    spec_file = load_spec(tmp_path)
    for target, model in (("cpu", "a.onnx"), ("arm-edge", "b.onnx")):
        sources = scan_sources(spec_file.for_target(target), lambda path, _: ("0" * 64, path.stat().st_size))
        assert [file.path for tree in sources.models for file in tree.files] == [model]
        assert [file.path for file in sources.app.files] == ["score.py"]


def test_the_place_of_a_model_is_where_it_stands() -> None:
    spec_file = parse(
        "environment: {pip: []}\nmodels:\n- path: a\n- path: b\ntargets:\n  cpu:\n    models:\n    - {path: x/a}\n"
    )
    own = spec_file.for_target("cpu")
    assert [own.at_model(each).line for each in own.spec.models] == [7, 11]
    assert own.at_model(Model(path="x/a")).field == "targets.cpu.models[0].path"
