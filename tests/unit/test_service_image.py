"""Which image an update runs: nobody takes yesterday's, or the same one, for a new one without a word."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

import packager
from packager.builders.builder import BuildWish
from packager.engine.api import LocalImage
from packager.errors import UsageError
from packager.serving.status import Before, Change, Status, named
from packager.spec.load import SpecFile
from packager.steps import service_image
from packager.steps.stale import remember_inputs
from packager.storage.memory import Memory
from packager.storage.written import IMAGES, digest_of, written_as

OLD, NEW = "sha256:" + "1" * 64, "sha256:" + "2" * 64
RUNS = Status(name="s", state="Healthy", reason="", image="d:1", url="http://x/", digest=OLD)


class Engine:
    """An engine with one image of a spec; what is built takes its place."""

    def __init__(self, spec_file: SpecFile, status: Status = RUNS) -> None:
        self.status, self.image, self.built = status, self.of(spec_file, OLD), list[tuple[BuildWish, object]]()

    def of(self, spec_file: SpecFile, digest: str) -> LocalImage:
        plan = packager.plan_image(spec_file, "cpu").plan
        remember_inputs(plan, spec_file.for_target("cpu"))
        return LocalImage(id=digest, platform=plan.platform, size=1, repo_digests=(), labels=plan.config.labels)

    def look(self, name: str, *, version: str | None = None) -> Status:
        return self.status

    def require_local(self, reference: str) -> LocalImage:
        return self.image

    def build_first(
        self, spec_file: SpecFile, wish: BuildWish, references: str | Sequence[str], reporter: object
    ) -> None:
        self.built.append((wish, references))
        self.image = self.of(spec_file, NEW)


@pytest.fixture
def folder(tmp_path: Path, checkout: Path) -> Path:
    return Path(shutil.copytree(checkout / "examples/diabetes", tmp_path / "diabetes"))


@pytest.fixture
def engine(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    made = Engine(packager.load_spec(folder))
    for name in ("look", "require_local", "build_first"):
        monkeypatch.setattr(service_image, name, getattr(made, name))
    monkeypatch.setattr(service_image, "inspect_local", made.require_local)
    return made


class Told:
    """What was said, as steps and as warnings."""

    def __init__(self) -> None:
        self.steps, self.warnings = list[str](), list[str]()

    def step(self, text: str) -> None:
        self.steps.append(text)

    def detail(self, text: str) -> None:
        pass

    def warn(self, text: str) -> None:
        self.warnings.append(text)


def edit(folder: Path) -> None:
    script = folder / "src/score.py"
    script.write_text(script.read_text() + "# mended\n")


def update(folder: Path, change: Change, build: BuildWish | None = None) -> tuple[Change, Told]:
    told = Told()
    return service_image.image_of_update("s", None, change, packager.load_spec(folder), build, told), told


def test_a_stale_and_the_same_image_are_warned_of(folder: Path, engine: Engine) -> None:
    edit(folder)
    change, told = update(folder, Change())
    assert change.reference == "d:1"
    assert told.warnings == [
        "src/score.py changed since d:1 was built (--build builds it first)",
        f"d:1 (sha256:{'1' * 12}) is the image that s runs already",
    ]


def test_the_same_image_with_other_settings_is_no_mistake(folder: Path, engine: Engine) -> None:
    _, told = update(folder, Change(cpus=1.0))
    assert told.warnings == []
    assert "runs already" in told.steps[-1]


def test_it_is_built_first(folder: Path, engine: Engine) -> None:
    edit(folder)
    change, told = update(folder, Change(), BuildWish())
    assert [(wish.target, names) for wish, names in engine.built] == [("cpu", ())]
    assert change.reference == f"{packager.load_spec(folder).spec.image.repository}:1"
    assert told.warnings == []
    change, _ = update(folder, Change(reference="other:2"), BuildWish())
    assert engine.built[-1][1] == "other:2"
    assert change.reference == "other:2"


def test_a_service_of_another_spec_is_not_replaced_by_building_this_one(folder: Path, engine: Engine) -> None:
    labels = engine.image.labels | {"org.opencontainers.image.title": "another"}
    engine.image = msgspec.structs.replace(engine.image, labels=labels)
    with pytest.raises(UsageError, match=r"s runs d:1, which is not of .*packager\.yaml"):
        update(folder, Change(), BuildWish())
    assert not engine.built


def test_an_image_is_named_by_the_digest_of_its_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert (digest_of(OLD), written_as(OLD)) == (OLD, ("", ""))
    Memory(IMAGES).remember(f"{NEW} linux/amd64".encode(), OLD)
    assert digest_of(OLD) == NEW
    assert named("d:1", NEW) == str(Before(image="d:1", digest=NEW)) == f"d:1 (sha256:{'2' * 12})"
    assert named("d@sha256:3", NEW) == "d@sha256:3"
