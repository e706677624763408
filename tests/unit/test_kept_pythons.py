"""Pythons that a manager of versions keeps, and that are on no PATH."""

from __future__ import annotations

from pathlib import Path

import pytest

from packager.laying.create import kept_python


@pytest.mark.parametrize(
    ("variable", "below"),
    [("PYENV_ROOT", "versions"), ("ASDF_DATA_DIR", "installs/python"), ("MISE_DATA_DIR", "installs/python")],
)
def test_the_newest_release_that_can_run_is_taken(tmp_path: Path, variable: str, below: str) -> None:
    for name, mode in {"3.13.2": 0o755, "3.13.10": 0o755, "3.13.11": 0o644, "3.13.12t": 0o755, "3.1.3": 0o755}.items():
        program = tmp_path / below / name / "bin/python3.13"
        program.parent.mkdir(parents=True)
        program.touch(mode)
    environ = {"HOME": "/nowhere", variable: str(tmp_path)}
    assert kept_python("3.13", environ) == tmp_path / below / "3.13.10/bin/python3.13"
    assert kept_python("3.12", environ) is None
    assert kept_python("3.13", {"HOME": "/nowhere"}) is None


def test_pyenv_is_looked_for_at_home(tmp_path: Path) -> None:
    program = tmp_path / ".pyenv/versions/3.9.18/bin/python3.9"
    program.parent.mkdir(parents=True)
    program.touch(0o755)
    assert kept_python("3.9", {"HOME": str(tmp_path)}) == program
