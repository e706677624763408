"""An interpreter of a user's, who has packages of their own, and packager."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

from uv import find_uv_bin

from tests.integration.conftest import missing

ROOT = Path(__file__).parents[2]


def interpreter(folder: Path, *packages: str) -> Path:
    """Make an interpreter with packages, which finds this project and what it needs; the test is skipped without.

    Args:
        folder: is made.
        packages: requirements.
    """
    uv, made = find_uv_bin(), folder / "bin/python"
    try:
        for command in (
            [uv, "venv", "--quiet", "--python", sys.executable, str(folder)],
            [uv, "pip", "install", "--quiet", "--python", str(made), *packages],
        ):
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    except (OSError, subprocess.SubprocessError) as error:
        missing(f"{', '.join(packages)} cannot be installed: {getattr(error, 'stderr', error)}"[:300])
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "tested.pth").write_text(f"{ROOT}\n{sysconfig.get_path('purelib')}\n")
    return made
