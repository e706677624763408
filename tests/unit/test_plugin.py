"""buildx is called by itself where `docker` would run just this program, and by `docker` everywhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from packager.engine.plugin import buildx_words

BY_DOCKER = ["docker", "buildx"]


def put(path: Path, content: bytes = b"\x7fELF...", mode: int = 0o755) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(mode)
    return path


@pytest.fixture
def words(tmp_path: Path) -> object:
    environ = {"PATH": str(tmp_path / "bin"), "DOCKER_CONFIG": str(tmp_path / "config")}
    put(tmp_path / "bin/docker")
    return lambda: buildx_words(environ, (str(tmp_path / "first"), str(tmp_path / "second")))


def test_the_users_own_goes_before_those_of_the_machine(words: object, tmp_path: Path) -> None:
    assert callable(words)
    assert words() == BY_DOCKER
    second = put(tmp_path / "second/docker-buildx")
    assert words() == [str(second)]
    first = put(tmp_path / "first/docker-buildx")
    assert words() == [str(first)]
    own = put(tmp_path / "config/cli-plugins/docker-buildx")
    assert words() == [str(own)]


@pytest.mark.parametrize(
    ("path", "content", "mode"),
    [
        ("bin/docker", b'#!/bin/sh\nexec podman "$@"\n', 0o755),
        ("first/docker-buildx", b"#!/bin/sh\n", 0o755),
        ("first/docker-buildx", b"\x7fELF", 0o644),
        ("config/config.json", b'{"cliPluginsExtraDirs": ["/opt/plugins"]}', 0o600),
    ],
)
def test_docker_is_asked_where_it_may_run_another(
    words: object, tmp_path: Path, path: str, content: bytes, mode: int
) -> None:
    put(tmp_path / "second/docker-buildx")
    put(tmp_path / path, content, mode)
    assert callable(words)
    assert words() == BY_DOCKER


def test_without_docker_it_is_docker_that_is_missing(tmp_path: Path) -> None:
    put(tmp_path / "first/docker-buildx")
    assert (
        buildx_words({"PATH": str(tmp_path), "DOCKER_CONFIG": str(tmp_path)}, (str(tmp_path / "first"),)) == BY_DOCKER
    )
