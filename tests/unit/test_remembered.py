"""Rendered texts are remembered, and whatever is wrong with what is remembered only costs time."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from packager import resources
from packager.dockerfile import remembered as module
from packager.dockerfile.remembered import remembered
from packager.dockerfile.render import render
from packager.plan.plan import Plan
from packager.storage.memory import Memory
from tests.unit.plans import example_plan


class Counting:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, plan: Plan) -> str:
        self.calls += 1
        return render(plan)


def test_the_same_plan_is_rendered_once(tmp_path: Path) -> None:
    make, memory, plan = Counting(), Memory("texts", tmp_path), example_plan()
    first = remembered("dockerfile", plan, make, memory)
    assert remembered("dockerfile", plan, make, memory) == first == render(plan)
    assert make.calls == 1


def test_another_plan_kind_or_template_is_rendered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make, memory, plan = Counting(), Memory("texts", tmp_path), example_plan()
    remembered("dockerfile", plan, make, memory)
    remembered("dockerfile", msgspec.structs.replace(plan, version="2"), make, memory)
    remembered("handoff", plan, make, memory)
    templates = tmp_path / "templates"
    templates.mkdir()
    monkeypatch.setattr(resources, "data_folder", lambda name: templates)
    for text in ("FROM scratch\n", "FROM scratch \n"):
        (templates / "cpu.Dockerfile.j2").write_text(text)
        for asked_once in (module._stamps, resources.own_stamp):
            asked_once.cache_clear()  # as in a new process
        remembered("dockerfile", plan, make, memory)
    module._stamps.cache_clear()
    resources.own_stamp.cache_clear()
    assert make.calls == 5


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[: len(data) // 2],
        lambda data: data.replace(b"FROM", b"FRUM"),
        lambda data: b'{"text":"FROM evil","digest":""}',
        lambda data: b"\xff" + data,
        lambda data: b"[]",
    ],
)
def test_a_damaged_memory_is_as_good_as_none(tmp_path: Path, damage: object) -> None:
    make, memory, plan = Counting(), Memory("texts", tmp_path), example_plan()
    remembered("dockerfile", plan, make, memory)
    (file,) = (tmp_path / "memory" / "texts").iterdir()
    file.write_bytes(damage(file.read_bytes()))  # type: ignore[operator]
    assert remembered("dockerfile", plan, make, memory) == render(plan)
    assert make.calls == 2
    assert remembered("dockerfile", plan, make, memory) == render(plan)
    assert make.calls == 2


def test_a_folder_that_cannot_be_written_costs_time_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    make, memory = Counting(), Memory("texts", tmp_path / "file")
    for _ in range(2):
        assert remembered("dockerfile", example_plan(), make, memory) == render(example_plan())
    assert make.calls == 2
