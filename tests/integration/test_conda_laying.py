"""Conda packages laid down by py-rattler in a process of its own: what its cache holds is not trusted."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from packager.environments.conda import CondaPackage
from packager.errors import LockError, TemporaryError
from packager.laying.conda_packages import lay_packages
from tests.integration.conda_server import ChannelServer

WANTED = {"python": "3.13.5", "python_abi": "3.13", "greeting": "2.0", "libgcc": "14.2.0"}
SCRIPT = "lib/python3.13/site-packages/greeting/__init__.py"


def packages(forge: Path, url: str) -> list[CondaPackage]:
    found = []
    for subdir in ("linux-64", "noarch"):
        for file, entry in json.loads((forge / subdir / "repodata.json").read_text())["packages.conda"].items():
            if WANTED.get(entry["name"]) == entry["version"]:
                found.append(
                    CondaPackage(
                        name=entry["name"], version=entry["version"], build=entry["build"], platform="linux/amd64",
                        url=f"{url}/{subdir}/{file}", sha256=entry["sha256"], depends=tuple(entry["depends"]),
                    )
                )  # fmt: skip
    return found


def lay(wanted: list[CondaPackage], folder: Path, cache: Path, mirrors: dict[str, str] | None = None) -> Path:
    lay_packages(wanted, "linux-64", "/opt/env", folder, cache, mirrors=mirrors or {}, environ=dict(os.environ))
    return folder


def test_what_was_edited_in_the_cache_is_fetched_anew(
    conda_channel: Path, channel_server: ChannelServer, tmp_path: Path
) -> None:
    wanted = packages(conda_channel / "forge", f"{channel_server.url}/forge")
    cache = tmp_path / "cache"
    before = (lay(wanted, tmp_path / "one", cache) / SCRIPT).read_bytes()
    # As through a hard link: somebody edits a file of another environment.
    with (tmp_path / "one" / SCRIPT).open("ab") as stream:
        stream.write(b"import os\n")
    channel_server.requests.clear()
    assert (lay(wanted, tmp_path / "two", cache) / SCRIPT).read_bytes() == before
    assert [each.path for each in channel_server.requests] == ["/forge/noarch/greeting-2.0-pyhd8ed1ab_0.conda"]
    channel_server.stop()
    old = time.time() - 40 * 86400
    packages_of = [path for path in (cache / "linux-64").iterdir() if path.is_dir()]
    for path in packages_of:
        os.utime(path, (old, old))
    lay(wanted, tmp_path / "three", cache)
    assert min(path.stat().st_mtime for path in packages_of) > old + 86400, "for `store gc`: they were used"
    assert len(packages_of) == len(WANTED)


def test_a_mirror_is_in_no_file(conda_channel: Path, channel_server: ChannelServer, tmp_path: Path) -> None:
    forge = "https://conda.example.com/forge"
    mirrors = {forge: f"{channel_server.url}/forge"}
    folder = lay(packages(conda_channel / "forge", forge), tmp_path / "env", tmp_path / "cache", mirrors)
    records = [json.loads(path.read_text()) for path in (folder / "conda-meta").glob("*.json")]
    assert {each["channel"] for each in records} == {forge}
    host = f"127.0.0.1:{channel_server.port}"  # the number alone may be part of a size or a digest
    assert host in channel_server.url
    assert not [path for path in (folder / "conda-meta").iterdir() if host in path.read_text()]


@pytest.mark.parametrize("place", ["http://$NAME:${WORD}@HOST/forge", "http://HOST/t/${WORD}/forge"])
def test_credentials_that_a_channel_names_are_in_no_file(
    place: str, conda_channel: Path, channel_server: ChannelServer, tmp_path: Path
) -> None:
    if "@" in place:
        channel_server.require_basic("lena", "wo/rd-123")
    else:
        channel_server.require_token("word-123")
    word = "wo/rd-123" if "@" in place else "word-123"
    wanted = packages(conda_channel / "forge", place.replace("HOST", f"127.0.0.1:{channel_server.port}"))
    with pytest.raises(LockError, match=r"its channel wants credentials, and there is no value of (NAME, )?WORD"):
        lay(wanted, tmp_path / "nothing", tmp_path / "empty")
    channel_server.requests.clear()
    environ = {**os.environ, "NAME": "lena", "WORD": word}
    lay_packages(wanted, "linux-64", "/opt/env", tmp_path / "env", tmp_path / "cache", mirrors={}, environ=environ)
    assert {each.status for each in channel_server.requests} == {200}
    written = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert len(written) > 1000
    assert not [path for path, content in written.items() if b"rd-123" in content or b"bGVuYTp3by9yZC0xMjM" in content]
    records = [json.loads(path.read_text()) for path in (tmp_path / "env/conda-meta").glob("*.json")]
    assert {each["channel"] for each in records} == {f"{channel_server.url}/forge"}


def test_a_package_that_is_not_the_locked_one_is_named(
    conda_channel: Path, channel_server: ChannelServer, tmp_path: Path
) -> None:
    channel_server.corrupt("*/greeting-*")
    wanted = packages(conda_channel / "forge", f"{channel_server.url}/forge")
    with pytest.raises(LockError, match=r"greeting-2\.0-pyhd8ed1ab_0\.conda is not the file that was locked"):
        lay(wanted, tmp_path / "env", tmp_path / "cache")


@pytest.mark.parametrize(("status", "error"), [(404, LockError), (401, LockError), (503, TemporaryError)])
def test_a_channel_that_fails_names_the_package(
    status: int, error: type[Exception], conda_channel: Path, channel_server: ChannelServer, tmp_path: Path
) -> None:
    channel_server.fail(status, "*/greeting-*")
    with pytest.raises(error, match=r"greeting-2\.0-pyhd8ed1ab_0\.conda"):
        lay(packages(conda_channel / "forge", f"{channel_server.url}/forge"), tmp_path / "env", tmp_path / "cache")


def test_another_digest_than_the_locked_one_is_named(
    conda_channel: Path, channel_server: ChannelServer, tmp_path: Path
) -> None:
    wanted = packages(conda_channel / "forge", f"{channel_server.url}/forge")
    other = [
        CondaPackage(
            name=each.name, version=each.version, build=each.build, platform=each.platform, url=each.url,
            sha256="0" * 64 if each.name == "greeting" else each.sha256,
        )
        for each in wanted
    ]  # fmt: skip
    with pytest.raises(LockError, match=r"greeting-2\.0-pyhd8ed1ab_0\.conda is not the file that was locked"):
        lay(other, tmp_path / "env", tmp_path / "cache")
