"""A disk that is full while an image is made: said in words, nothing half is kept, and with more space it goes on."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from packager.storage.content import ContentStore
from packager.storage.models import Store
from tests.integration.conftest import NO_ENGINE, RunPackager, missing, output

pytestmark = pytest.mark.network

MB = 1_000_000


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of 64 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0 or output("mount", "-t", "tmpfs", "-o", "size=64m", "packager-test", str(folder)) is None:
        missing("only root can mount a small file system")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_it_is_said_and_nothing_half_is_kept(
    tmp_path: Path, small_disk: Path, base_archive: Path, tiny: Path, run_packager: RunPackager
) -> None:
    (tiny / "models/weights.json").write_bytes(os.urandom(MB) * 100)
    environ = {**NO_ENGINE, "XDG_CACHE_HOME": str(small_disk)}
    root = small_disk / "packager"
    build = ("build", "--builder", "oci", "--base", f"oci-archive:{base_archive}")
    for words in (("save", "-o", str(tmp_path / "context")), build):
        done = run_packager(*words, cwd=tiny, env=environ, check=False)
        assert done.returncode == 6, done.stderr
        assert "the disk is full" in done.stderr
        assert "free some space" in done.stderr
        assert "Traceback" not in done.stderr
        assert not (tmp_path / "context").exists()
        assert not list(root.glob("*/tmp/*"))
        assert Store(root / "store").verify().damaged == ()
        assert ContentStore(root / "content").verify() == ()
    subprocess.run(["mount", "-o", "remount,size=1g", str(small_disk)], check=True)
    assert run_packager(*build, cwd=tiny, env=environ).stdout.startswith("sha256:")
