from __future__ import annotations

from pathlib import Path

import pytest

from packager.environments.declare.curated import (
    curated_names,
    load_curated,
    locked_packages,
    preferences,
    read_curated,
)
from packager.environments.declare.environment import read_environment
from packager.environments.declare.request import make_request
from packager.environments.declare.requirement import INFERENCE_SERVER, requirement_name
from packager.environments.locks.files import digest_of
from packager.errors import LockError, SpecError
from packager.spec import parse_spec
from packager.targets import load_target

NAMES = curated_names()
SPEC = 'name: a\nversion: "1"\nentry_script: score.py\nenvironment: {{curated: {0}}}\n'


def test_those_that_are_promised_are_there() -> None:
    assert {"minimal", "sklearn", "onnx", "lightgbm", "xgboost", "tensorflow", "pytorch"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_each_is_described_and_has_python_and_the_inference_server(name: str, checkout: Path) -> None:
    curated = load_curated(name)
    assert curated.description.endswith(".")
    assert 20 < len(curated.description) <= 100
    assert curated.python in load_target("cpu").bases
    assert INFERENCE_SERVER in {requirement_name(each) for each in curated.parts.requirements}
    assert all("<" in each for each in curated.parts.requirements), "a range without an end"
    assert f"`{name}`" in (checkout / "environments/README.md").read_text()


@pytest.mark.parametrize("name", NAMES)
def test_each_lock_fits_its_environment(name: str) -> None:
    """Without a network; `scripts/update-curated` makes them fit again."""
    curated = load_curated(name)
    spec_file = parse_spec(SPEC.format(name), Path("packager.yaml"))
    environment = read_environment(spec_file)
    assert curated.lock.targets
    for target, locked in curated.lock.targets.items():
        platforms = {target: {"platforms": list(locked.request.platforms)}}
        text = f"{SPEC.format(name)}targets: {platforms}\n"
        wanted = make_request(
            parse_spec(text, Path("packager.yaml")).spec, load_target(target), environment, at=spec_file.at
        )
        assert locked.request.same_solve(wanted)
        assert digest_of(preferences(name, target) or "") == locked.digest
        packages = locked_packages(curated, target)
        assert {requirement_name(each) for each in environment.requirements} <= {each.name for each in packages}


def test_what_is_not_locked_has_no_preferences() -> None:
    assert preferences("minimal", "no-such-target") is None
    assert locked_packages(load_curated("minimal"), "no-such-target") == ()


def folder(path: Path, text: str) -> Path:
    (path / "environment.yml").write_text(text)
    return path


def test_the_comment_at_the_top_describes(tmp_path: Path) -> None:
    text = "# One\n# sentence.\n#\n# More of\n# it.\n#\n\ndependencies: [python=3.12]\n# not this\n"
    curated = read_curated(folder(tmp_path, text))
    assert (curated.description, curated.remarks) == ("One sentence.", ("More of it.",))
    assert (curated.python, curated.platforms) == ("3.12", {})
    assert curated.name == tmp_path.name
    assert read_curated(folder(tmp_path, "dependencies: [python=3.12]\n")).description == ""


def test_one_that_leaves_python_open_is_a_defect(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="one minor version"):
        read_curated(folder(tmp_path, "dependencies: ['python>=3.11']\n"))


def test_a_broken_lock_is_named(tmp_path: Path) -> None:
    folder(tmp_path, "dependencies: [python=3.12]\n")
    (tmp_path / "packager.lock").write_text("{")
    with pytest.raises(LockError, match="not a lock"):
        read_curated(tmp_path)
