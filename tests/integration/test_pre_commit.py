"""The hooks of `.pre-commit-hooks.yaml`, by pre-commit itself."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import uv
import yaml

pytestmark = pytest.mark.network


def pre_commit(folder: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [uv.find_uv_bin(), "tool", "run", "--quiet", "pre-commit", *words], cwd=folder,
        env={**os.environ, **variables}, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip


def git(folder: Path, *words: str) -> None:
    subprocess.run(["git", "-C", folder, "-c", "user.name=a", "-c", "user.email=a@example.com", *words], check=True)


def hooks(checkout: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load((checkout / ".pre-commit-hooks.yaml").read_text())
    return found


def test_pre_commit_takes_the_manifest(checkout: Path) -> None:
    done = pre_commit(checkout, "validate-manifest", ".pre-commit-hooks.yaml")
    assert done.returncode == 0, done


def test_a_commit_is_stopped_by_a_stale_lock_and_by_a_wrong_script(checkout: Path, tmp_path: Path) -> None:
    """With the entries as they are, and the packager that is here: pre-commit would install one of its own."""
    folder = Path(shutil.copytree(checkout / "examples/diabetes", tmp_path / "diabetes"))
    program = tmp_path / "bin/packager"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\nfrom packager.cli import main\n\nmain()\n")
    program.chmod(0o755)
    local = [{**hook, "language": "system"} for hook in hooks(checkout)]
    (folder / ".pre-commit-config.yaml").write_text(yaml.safe_dump({"repos": [{"repo": "local", "hooks": local}]}))
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    more = {"PATH": f"{program.parent}:{os.environ['PATH']}", "PYTHONPATH": str(checkout)}

    fine = pre_commit(folder, "run", "--all-files", **more)
    assert (fine.returncode, fine.stdout.count("Passed")) == (0, 2), fine

    (folder / "requirements.txt").write_text("scikit-learn==1.5.2\n")
    stale = pre_commit(folder, "run", "packager-lock", "--files", "requirements.txt", **more)
    assert (stale.returncode, "exit code: 3" in stale.stdout) == (1, True), stale
    git(folder, "checkout", "--quiet", "requirements.txt")

    (folder / "src/score.py").write_text("def init():\n    pass\n")
    wrong = pre_commit(folder, "run", "packager-check", "--files", "src/score.py", **more)
    assert (wrong.returncode, "entry-run-missing" in wrong.stdout) == (1, True), wrong


@pytest.mark.parametrize(
    ("path", "lock", "check"),
    [
        ("packager.yaml", True, True),
        ("models/a/packager.yml", True, True),
        ("locks/cpu.requirements.txt", True, True),
        ("requirements-dev.in", True, True),
        ("conda_env.yml", True, True),
        ("templates/mine.toml", True, True),
        ("templates/mine.Dockerfile.j2", False, True),
        ("src/score.py", False, True),
        ("README.md", False, False),
        ("models/model.pkl", False, False),
    ],
)
def test_hooks_run_where_what_they_look_at_changed(path: str, lock: bool, check: bool, checkout: Path) -> None:
    found = {hook["id"]: re.search(hook["files"], path) is not None for hook in hooks(checkout)}
    assert found == {"packager-lock": lock, "packager-check": check}
