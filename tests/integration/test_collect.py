"""What builds leave on this machine, and what a collection frees of it: with a real engine, and without one."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

import pytest

from tests.integration.conftest import NO_ENGINE, RunPackager

pytestmark = [pytest.mark.network]

SIZE = 64 << 20


@pytest.fixture
def large(tiny: Path) -> Path:
    """The tiny package with a second model, which is large."""
    (tiny / "models/large.bin").write_bytes(os.urandom(SIZE))
    spec = (tiny / "packager.yaml").read_text()
    model = "  - {path: models/large.bin, name: large, version: 1}\n"
    (tiny / "packager.yaml").write_text(spec.replace("models:\n", f"models:\n{model}"))
    return tiny


def summary(run_packager: RunPackager, environ: dict[str, str]) -> dict[str, dict[str, int]]:
    data = json.loads(run_packager("store", "info", "--format", "json", env=environ).stdout)
    return {kind["name"]: kind for kind in data["kinds"]}


@pytest.mark.engine
def test_a_model_that_buildkit_built_is_freed_with_its_context(
    large: Path, base_image: str, docker_config: Path, run_packager: RunPackager, tmp_path: Path, removed: list[str]
) -> None:
    environ = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "XDG_STATE_HOME": str(tmp_path / "state")}
    image = "packager-test/collect:1"
    removed.append(image)
    run_packager("build", "--builder", "engine", "--base", base_image, "-t", image, cwd=large, env=environ)
    (context,) = (path for path in (tmp_path / "cache/packager/contexts").iterdir() if path.is_dir())
    (model,) = context.rglob("large.bin")
    assert model.stat().st_nlink == 2
    found = summary(run_packager, environ)
    assert SIZE <= found["model"]["size"] < SIZE + 100_000
    assert found["staged context"]["size"] < 10_000_000, "a file with two names is counted once"
    assert found["model"]["frees"] == found["model"]["size"]
    # Another build of it is under way: it keeps its context, and by that the models.
    with context.with_name(f"{context.name}.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        run_packager("store", "gc", "--all", env=environ)
        assert model.stat().st_nlink == 2
    done = run_packager("store", "gc", "--format", "json", env=environ)
    freed = json.loads(done.stdout)
    assert freed["kinds"]["staged context"]["removed"] == 1
    assert freed["kinds"]["model"]["removed"] == 2
    assert freed["freed"] >= SIZE
    assert not context.exists()
    assert not list((tmp_path / "cache/packager/store").glob("sha256/*/*"))
    run_packager("build", "--builder", "engine", "--base", base_image, "-t", image, cwd=large, env=environ)


@pytest.mark.long
def test_a_build_keeps_the_limit(large: Path, base_archive: Path, run_packager: RunPackager, tmp_path: Path) -> None:
    environ = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "XDG_STATE_HOME": str(tmp_path / "state"), **NO_ENGINE}
    build = ("build", "--builder", "oci", "--base", f"oci-archive:{base_archive}", "-o")
    first = run_packager(*build, f"type=oci,dest={tmp_path / 'first.tar'}", cwd=large, env=environ)
    assert "freed" not in first.stderr
    before = summary(run_packager, environ)
    assert before["layer"]["size"] > SIZE
    limited = {**environ, "PACKAGER_CACHE_LIMIT": "50MB"}
    second = run_packager(*build, f"type=oci,dest={tmp_path / 'second.tar'}", cwd=large, env=limited)
    assert " freed, to keep the cache below 50.0 MB\n" in second.stderr
    after = summary(run_packager, environ)
    assert sum(kind["size"] for kind in after.values()) < 50_000_000
    assert after["note"]["entries"] >= before["note"]["entries"], "what is little and saves much goes last"
    # And what went is made again, the same.
    third = run_packager(*build, f"type=oci,dest={tmp_path / 'third.tar'}", cwd=large, env=limited)
    assert first.stdout == second.stdout == third.stdout
    assert "freed" not in third.stderr, "it was looked at just now"
