"""Everyday pins are locked so that they start: the solver, the index and the server are the real ones."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from packager.environments.locks.status import read_inputs
from packager.spec import load_spec

pytestmark = [pytest.mark.network, pytest.mark.skipif(sys.platform != "linux", reason="--try is for Linux")]

MINOR = f"{sys.version_info.major}.{sys.version_info.minor}"
SPEC = f'name: a\nversion: "1"\nentry_script: score.py\nenvironment: requirements.txt\npython: "{MINOR}"\n'
SCRIPT = "import {0}\n\n\ndef init(): ...\n\n\ndef run(data): return 1\n"
OLD_WHEELS = pytest.mark.skipif(sys.version_info[:2] > (3, 11), reason="that release has no wheels for newer Pythons")


def write(folder: Path, requirement: str, script: str) -> Path:
    (folder / "packager.yaml").write_text(SPEC)
    (folder / "requirements.txt").write_text(f"{requirement}\n")
    (folder / "score.py").write_text(script)
    return folder


@pytest.mark.parametrize(
    ("requirement", "module", "locked", "note"),
    [
        ("pydantic<2", "pydantic", "setuptools", "setuptools<81 is asked for besides: gunicorn 20.1.0"),
        pytest.param(
            "werkzeug==2.0.3", "werkzeug", "gunicorn", "`werkzeug==2.0.3` keeps it out", marks=pytest.mark.long
        ),
        ("azureml-defaults", "azureml.core", "azureml-core", "azureml-defaults is taken for"),
        pytest.param(
            "pandas==1.5.3", "pandas", "numpy", "numpy<2 is asked for besides: pandas 1.5.3", marks=OLD_WHEELS
        ),
        pytest.param(
            "h5py==3.8.0",
            "h5py",
            "numpy",
            "numpy<2 is asked for besides: h5py 3.8.0",
            marks=[OLD_WHEELS, pytest.mark.long],
        ),
        pytest.param(
            "dask[dataframe]==2023.5.0",
            "dask.dataframe",
            "pandas",
            "pandas<3 is asked for besides: dask 2023.5.0",
            marks=pytest.mark.long,
        ),
    ],
)
def test_what_is_locked_starts(
    tmp_path: Path, run_packager: Any, index: None, requirement: str, module: str, locked: str, note: str
) -> None:
    write(tmp_path, requirement, SCRIPT.format(module))
    done = run_packager("lock", "--try", cwd=tmp_path)
    assert note in done.stderr
    assert "started, and init() returned" in done.stderr
    assert locked in read_inputs(load_spec(tmp_path), "cpu").locked().versions


def test_what_does_not_start_is_told_and_locked(tmp_path: Path, run_packager: Any, index: None) -> None:
    write(tmp_path, "six", "def init(): raise ValueError('no weights')\n\n\ndef run(data): return 1\n")
    done = run_packager("lock", "--try", cwd=tmp_path, check=False)
    assert done.returncode == 8
    assert "no weights" in done.stderr
    assert (tmp_path / "packager.lock").is_file()
    checked = run_packager("check", "--start", cwd=tmp_path, check=False)
    assert checked.returncode == 5
    assert "start-failed" in checked.stdout
