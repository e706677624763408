"""What is not looked at before BuildKit builds is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from packager.builders.starting import check_before
from packager.errors import RegistryError
from packager.plan.planned import Planned
from packager.storage.content import ContentStore
from tests.golden.cases import rendered
from tests.unit.plans import example_plan


def said(planned: Planned, tmp_path: Path) -> str:
    heard: list[str] = []
    assert check_before(planned, ContentStore(tmp_path / "content"), {}, (), heard.append) == ()
    (line,) = heard
    assert line.startswith(f"not looked at for cpu ({planned.plan.platform}): ")
    return line.partition("; ")[2]


def test_an_environment_that_is_made_from_source(tmp_path: Path) -> None:
    plan = rendered("cpu-from-source").plan
    assert plan.environment.from_source
    planned = Planned(plan=plan, spec=tmp_path / "packager.yaml", requirements="")
    assert said(planned, tmp_path).startswith(
        f"what the stage makes of the source of {plan.environment.from_source[0]}"
    )


@pytest.mark.parametrize("large", [True, False])
def test_a_base_that_is_large_or_out_of_reach(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: bool) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise RegistryError("reg.example.com does not answer\nat all")

    monkeypatch.setattr("packager.builders.starting._is_large", lambda *_, **__: large)
    monkeypatch.setattr("packager.builders.starting.fetch_base", unreachable)
    planned = Planned(plan=example_plan(), spec=tmp_path / "packager.yaml", requirements="")
    expected = (
        "the base is large, and would be fetched a second time"
        if large
        else "base or packages are not at hand: reg.example.com does not answer"
    )
    assert said(planned, tmp_path) == expected
