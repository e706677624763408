"""What an image is made from: told when it changed, before somebody tests, runs or pushes yesterday's."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

import packager
from packager.builders.known import recall_image, remember_image
from packager.cli.common import build_wish
from packager.contract import BASE_DIGEST_LABEL, INPUTS_LABEL
from packager.engine.api import LocalImage
from packager.engine.push import Pushed
from packager.errors import ContextError, LintError, UsageError
from packager.plan.inputs import changes, with_inputs
from packager.plan.plan import Plan
from packager.steps import push as push_step
from packager.steps.stale import build_first, changed_since, refuse_stale, remember_inputs
from packager.storage.content import ContentStore
from tests.unit.oci_images import image_of, tar_of


@pytest.fixture
def folder(tmp_path: Path, checkout: Path) -> Path:
    return Path(shutil.copytree(checkout / "examples/diabetes", tmp_path / "diabetes"))


def plan_of(folder: Path) -> Plan:
    return packager.plan_image(packager.load_spec(folder), "cpu").plan


def built(folder: Path, *, remembered: bool = True) -> LocalImage:
    """What an engine would say of the image, were it built now."""
    plan = plan_of(folder)
    if remembered:
        remember_inputs(plan, packager.load_spec(folder).for_target("cpu"))
    return LocalImage(id="sha256:1", platform=plan.platform, size=1, repo_digests=(), labels=plan.config.labels)


def edit(folder: Path) -> None:
    script = folder / "src/score.py"
    script.write_text(script.read_text() + "# mended\n")


def add(folder: Path) -> None:
    (folder / "src/more.py").write_text("")


def other_model(folder: Path) -> None:
    (folder / "models/sklearn_regression_model.pkl").write_bytes(b"\x80\x04N.")


def setting(folder: Path) -> None:
    spec = folder / "packager.yaml"
    spec.write_text(spec.read_text().replace("LOG_LEVEL: info", "LOG_LEVEL: debug"))


def uncompiled(folder: Path) -> None:
    spec = folder / "packager.yaml"
    spec.write_text(spec.read_text() + "compile: false\n")


def no_lock(folder: Path) -> None:
    (folder / "requirements.txt").write_text("numpy\n")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (edit, "src/score.py changed"),
        (add, "src/more.py changed"),
        (other_model, "the model sklearn_regression_model-1 changed"),
        (setting, "the spec's settings changed"),
        (uncompiled, "the spec's settings changed"),
        (no_lock, "the lock no longer fits the spec ("),
    ],
)
def test_what_changed_is_named(folder: Path, change: Callable[[Path], None], said: str) -> None:
    image = built(folder)
    assert not changed_since(packager.load_spec(folder), image)
    change(folder)
    assert changed_since(packager.load_spec(folder), image).what.startswith(said)
    with pytest.raises(ContextError) as raised:
        refuse_stale(packager.load_spec(folder), {"a:1": image})
    assert ("`packager lock`, and then --build" in str(raised.value.remedy)) == (change is no_lock)
    assert said in raised.value.message
    assert "since a:1 was built: nothing is pushed" in raised.value.message


def test_without_a_memory_it_is_still_known_that_something_changed(folder: Path) -> None:
    setting(folder)
    edit(folder)
    image = built(folder, remembered=False)
    edit(folder)
    assert changed_since(packager.load_spec(folder), image).what == "its inputs changed"


def test_of_images_of_others_nothing_is_said(folder: Path) -> None:
    image = built(folder)
    edit(folder)
    spec_file = packager.load_spec(folder)
    for labels in (
        {name: value for name, value in image.labels.items() if name != INPUTS_LABEL},
        image.labels | {"org.opencontainers.image.title": "another"},
        image.labels | {"packager.target": "gone"},
    ):
        assert not changed_since(spec_file, msgspec.structs.replace(image, labels=labels))
    assert not changed_since(None, image)


def test_another_base_is_no_other_input(folder: Path) -> None:
    plan = plan_of(folder)
    labels = plan.config.labels | {BASE_DIGEST_LABEL: "sha256:2"}
    other = msgspec.structs.replace(plan, config=msgspec.structs.replace(plan.config, labels=labels))
    assert with_inputs(other).config.labels[INPUTS_LABEL] == plan.config.labels[INPUTS_LABEL]


def test_files_come_first_and_a_new_file_is_no_setting() -> None:
    before = {"src/a.py": "1", "packager.lock": "1", "the spec's settings": "1", "what packager adds": "1"}
    now = dict.fromkeys(before, "2")
    assert changes(before, now) == ("src/a.py", "packager.lock", "what packager adds", "the spec's settings")
    assert changes(before, before | {"src/b.py": "1", "the spec's settings": "2"}) == ("src/b.py",)
    assert changes(before, before) == ()


def test_many_changes_are_counted(folder: Path) -> None:
    image = built(folder)
    for number in range(5):
        (folder / f"src/m{number}.py").write_text("")
    assert changed_since(packager.load_spec(folder), image).what == "src/m0.py, src/m1.py, src/m2.py and 2 more changed"


def test_a_push_of_something_stale_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = built(folder)
    pushed: list[str] = []

    def push_image(reference: str, **_: object) -> Pushed:
        pushed.append(reference)
        return Pushed(reference=reference, digest="sha256:0", uploaded=0, present=0)

    monkeypatch.setattr(push_step, "require_local", lambda reference: image)
    monkeypatch.setattr(push_step, "push_image", push_image)
    edit(folder)
    spec_file = packager.load_spec(folder)
    with pytest.raises(ContextError, match=r"src/score\.py changed since registry\.example\.com/a:1 was built"):
        packager.push("registry.example.com/a:1", spec_file=spec_file, test=False)
    assert pushed == []
    packager.push("registry.example.com/a:1", spec_file=spec_file, test=False, stale=True)
    assert pushed == ["registry.example.com/a:1"]


def test_a_push_stops_at_what_check_calls_an_error(folder: Path) -> None:
    script = folder / "src/score.py"
    script.write_text("from . import beside\n" + script.read_text())
    with pytest.raises(LintError) as raised:
        packager.build(packager.load_spec(folder), push=True, test=False, tags=("127.0.0.1:9/a:1",))
    assert "src/score.py:1: error import-relative" in raised.value.message
    assert "--no-check" in str(raised.value.remedy)


def test_a_base_is_for_a_build() -> None:
    with pytest.raises(UsageError, match="nothing is built"):
        build_wish(False, "python:3.13", None)
    assert build_wish(False, None, None) is None
    wish = build_wish(True, "python:3.13", "cpu", "linux/arm64")
    assert (wish.base, wish.target, wish.platforms) == ("python:3.13", "cpu", ("linux/arm64",))
    with pytest.raises(UsageError, match="needs a spec"):
        build_first(None, wish, (), packager.steps.reporting.SILENT)


# --- images that were written here ---


def test_an_image_is_found_by_each_of_its_ids() -> None:
    content = ContentStore()
    image = image_of(content, tar_of(a=b"1"), tar_of(b=b"2"))
    for data in (image.config, image.manifest):
        content.put_bytes(data)
    assert recall_image(image.id, content) is None
    remember_image(image, ("sha256:" + "7" * 64,))
    for each in (image.id, image.digest, "sha256:" + "7" * 64):
        known = recall_image(each, content)
        assert known is not None
        assert (known.manifest, known.config) == (image.manifest, image.config)
        assert [layer.blob.digest for layer in known.layers] == [layer.blob.digest for layer in image.layers]
    assert recall_image("sha256:" + "8" * 64, content) is None


def test_an_image_of_which_something_is_gone_is_not_found() -> None:
    content = ContentStore()
    image = image_of(content, tar_of(c=b"3"))
    for data in (image.config, image.manifest):
        content.put_bytes(data)
    remember_image(image)
    for digest in (image.layers[0].blob.digest, image.id, image.digest):
        path = content.path(digest)
        aside = path.with_name("aside")
        path.rename(aside)
        assert recall_image(image.id, content) is None
        aside.rename(path)
    assert recall_image(image.id, content) is not None
