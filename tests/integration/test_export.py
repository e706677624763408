"""`packager export`, read by those it is for: conda-lock, uv, and the library `packaging`."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from uv import find_uv_bin

from packager.environments.locks.files import parse_requirements

pytestmark = pytest.mark.network

SPEC = """\
name: small
version: "1"
entry_script: score.py
environment: environment.yml
targets: {cpu: {platforms: [linux/amd64, linux/arm64]}}
"""
ENVIRONMENT = """\
channels: ["file://%s/forge"]
dependencies: [python=3.13, numpy, greeting=1.0, {pip: [markupsafe]}]
variables: {MODE: fast}
"""
PLATFORMS = {"linux-64": "linux/amd64", "linux-aarch64": "linux/arm64"}


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory, run_packager: Any, conda_channel: Path) -> Path:
    folder = tmp_path_factory.mktemp("export")
    (folder / "packager.yaml").write_text(SPEC)
    (folder / "environment.yml").write_text(ENVIRONMENT % conda_channel)
    (folder / "score.py").write_text("def init(): ...\ndef run(data): ...\n")
    run_packager("lock", cwd=folder)
    return folder


def export(run_packager: Any, folder: Path, form: str, *words: str) -> Path:
    path = folder / f"export.{form}"
    assert run_packager("export", "--format", form, "-o", path, *words, cwd=folder).stdout == f"{path}\n"
    return path


def read_by_conda_lock(code: str, *words: str | Path) -> Any:
    """What code that uses conda-lock prints as JSON, in a process of its own."""
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def test_conda_lock_reads_and_renders_its_own_format(locked: Path, run_packager: Any) -> None:
    code = """
import json, pathlib, sys
from conda_lock.lockfile import parse_conda_lock_file
from conda_lock.conda_lock import render_lockfile_for_platform
found = parse_conda_lock_file(pathlib.Path(sys.argv[1]))
rendered = {
    each: render_lockfile_for_platform(
        lockfile=found, include_dev_dependencies=False, extras=None, kind="explicit", platform=each
    )
    for each in found.metadata.platforms
}
print(json.dumps(rendered))
"""
    rendered = read_by_conda_lock(code, export(run_packager, locked, "conda-lock"))
    assert set(rendered) == set(PLATFORMS)
    for subdir, platform in PLATFORMS.items():
        lines = export(run_packager, locked, "explicit", "--platform", platform).read_text().splitlines()
        ours = [line.partition("#sha256:")[0] for line in lines if "://" in line]
        assert sorted(ours) == sorted(line.partition("#")[0] for line in rendered[subdir] if "://" in line)
        assert f"# platform: {subdir}" in lines
        assert sum(line.startswith("# pip ") for line in lines) > 20
        assert all(re.search(r"#sha256:[0-9a-f]{64}$", line) for line in lines if "://" in line)


def test_conda_lock_reads_the_environment_file(locked: Path, run_packager: Any) -> None:
    path = export(run_packager, locked, "environment-yml")
    # conda-lock would fetch a map of names; an empty one says that they are all the same.
    (locked / "names.yml").write_text("{}")
    code = """
import json, pathlib, sys
from conda_lock.src_parser.environment_yaml import parse_environment_file
found = parse_environment_file(pathlib.Path(sys.argv[1]), ["linux-64"], mapping_url=sys.argv[2])
print(json.dumps({each.name: [each.manager, each.version] for each in found.dependencies["linux-64"]}))
"""
    found = read_by_conda_lock(code, path, (locked / "names.yml").as_uri())
    assert found["greeting"] == ["conda", "1.0"]
    assert found["markupsafe"][0] == "pip"
    data = yaml.safe_load(path.read_text())
    assert data["variables"] == {"MODE": "fast"}


def test_uv_installs_the_requirements_of_each_platform(locked: Path, run_packager: Any, tmp_path: Path) -> None:
    for platform, tags in (("linux/amd64", "x86_64-manylinux_2_28"), ("linux/arm64", "aarch64-manylinux_2_28")):
        path = export(run_packager, locked, "requirements", "--platform", platform)
        assert not any(each.platforms for each in parse_requirements(path.read_text()))
        words = ["--python-version", "3.13", "--python-platform", tags, "--only-binary", ":all:", "--no-deps"]
        subprocess.run(
            [
                find_uv_bin(),
                "pip",
                "install",
                "--dry-run",
                "--target",
                tmp_path,
                *words,
                "--require-hashes",
                "-r",
                path,
            ],
            check=True,
        )


def test_pylock_is_valid_and_uv_takes_it(locked: Path, run_packager: Any, tmp_path: Path) -> None:
    path = export(run_packager, locked, "pylock", "--platform", "linux/arm64")
    data = tomllib.loads(path.read_text())
    assert data["requires-python"] == ">=3.13"
    pylock = pytest.importorskip("packaging.pylock", reason="packaging of before PEP 751")
    found = pylock.Pylock.from_dict(data)
    found.validate()
    hashes = {each.name: {wheel.hashes["sha256"] for wheel in each.wheels} for each in found.packages}
    text = export(run_packager, locked, "requirements", "--platform", "linux/arm64").read_text()
    for each in parse_requirements(text):
        assert hashes.pop(each.name) <= set(each.digests)
    assert not hashes
    assert "numpy" not in {each.name for each in found.packages}, "which conda brings"
    # uv holds requires-python against the interpreter that runs it, which may be an older one here.
    (locked / "pylock.toml").write_text(path.read_text().replace('requires-python = ">=3.13"', ""))
    words = [
        "--python-version",
        "3.13",
        "--python-platform",
        "aarch64-manylinux_2_28",
        "-r",
        str(locked / "pylock.toml"),
    ]
    subprocess.run([find_uv_bin(), "pip", "install", "--dry-run", "--target", str(tmp_path), *words], check=True)
