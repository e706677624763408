"""The conda channels that other tests stand on: real for a solver, an installer, and the interpreter in them."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.integration.conda_server import DROP, ChannelServer

# A process of its own: rattler's threads may crash an interpreter that exits.
RATTLER = """
import asyncio, json, os, sys
from pathlib import Path
import rattler

def virtual(name, version):
    return rattler.GenericVirtualPackage(
        rattler.PackageName(name), rattler.Version(version), rattler.BuildString("0")
    )

async def main(wish):
    from rattler.repo_data.gateway import SourceConfig
    gateway = rattler.Gateway(cache_dir=wish["cache"], default_config=SourceConfig(sharded_enabled=False))
    records = await rattler.solve(
        [rattler.Channel(url) for url in wish["channels"]], wish["specs"], gateway=gateway,
        platforms=[wish["platform"], "noarch"],
        virtual_packages=[virtual(*each) for each in wish["virtual"].items()],
    )
    if wish["prefix"]:
        await rattler.install(
            records, wish["prefix"], cache_dir=Path(wish["cache"], wish["platform"]),
            platform=rattler.Subdir(wish["platform"]), alternative_target_prefix=wish["final"],
            execute_link_scripts=False, show_progress=False,
        )
    return {record.name.normalized: [str(record.version), str(record.build), str(record.url)] for record in records}

try:
    answer = {"records": asyncio.run(main(json.load(sys.stdin)))}
except Exception as error:
    answer = {"error": f"{type(error).__name__}: {error}"}
print(json.dumps(answer), flush=True)
os._exit(0)
"""

NO_CUDA = {"__unix": "0", "__linux": "6.1", "__glibc": "2.36"}


def rattler(
    tmp_path: Path,
    channels: list[str],
    *specs: str,
    platform: str = "linux-64",
    virtual: dict[str, str] = NO_CUDA,
    prefix: Path | None = None,
    final: str | None = None,
) -> dict[str, Any]:
    """Solve, and install when there is a prefix; return what was found, by name, or the error."""
    wish = {
        "channels": channels,
        "specs": specs,
        "platform": platform,
        "virtual": virtual,
        "cache": str(tmp_path / "cache"),
        "prefix": str(prefix) if prefix else None,
        "final": final,
    }
    command = [sys.executable, "-c", RATTLER]
    done = subprocess.run(command, input=json.dumps(wish), capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def output(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.skipif(sys.platform != "linux", reason="runs what is installed, which is for Linux")
def test_an_environment_runs(channel_server: ChannelServer, tmp_path: Path) -> None:
    prefix = tmp_path / "env"
    specs = ("python", "scikit-learn", "greeting <2", "python-flatbuffers", "prefix-in-text", "prefix-in-binary")
    platform = {"x86_64": "linux-64", "aarch64": "linux-aarch64"}[os.uname().machine]
    found = rattler(tmp_path, [f"{channel_server.url}/forge"], *specs, platform=platform, prefix=prefix)
    assert found["records"]["greeting"][0] == "1.0"

    model = "from sklearn.linear_model import LinearRegression; print(LinearRegression().fit([[0], [1]], [0, 3]).coef_)"
    assert output(prefix / "bin/python", "-Ic", model) == "[3.]"
    where = "import site, ssl, sqlite3, sys; print(sys.prefix, *(path for path in sys.path if 'site-p' in path))"
    assert output(prefix / "bin/python", "-Ic", where) == f"{prefix} {prefix}/lib/python3.13/site-packages"
    assert output(prefix / "bin/greet") == "hello from 1.0"
    assert (prefix / "etc/prefix-in-text.conf").read_text() == f"prefix = {prefix}\ndata = {prefix}/share/data\n"
    binary = (prefix / "lib/prefix-in-binary.dat").read_bytes()
    assert binary.startswith(f"\x7f\0{prefix}/share/data\0\0".encode())
    assert binary.endswith(b"\0\x01the rest stays in its place\0")


def test_an_environment_for_another_platform_and_place(channel_server: ChannelServer, tmp_path: Path) -> None:
    found = rattler(
        tmp_path,
        [f"{channel_server.url}/forge"],
        "python",
        "scikit-learn",
        "greeting",
        platform="linux-aarch64",
        prefix=tmp_path / "opt/env",
        final="/opt/env",
    )
    assert {url.split("/")[-2] for _, _, url in found["records"].values()} == {"linux-aarch64", "noarch"}
    assert (tmp_path / "opt/env/bin/greet").read_text().startswith("#!/opt/env/bin/python3.13\n")
    machine = (tmp_path / "opt/env/bin/python3.13").read_bytes()[18]
    assert machine == 183  # AArch64


@pytest.mark.parametrize("platform", ["linux-64", "linux-aarch64"])
@pytest.mark.parametrize(
    ("cuda", "build"), [({}, "cpu_0"), ({"__cuda": "11.8"}, "cpu_0"), ({"__cuda": "12.4"}, "cuda_0")]
)
def test_cuda_builds_are_chosen_where_cuda_is(
    conda_channel: Path, tmp_path: Path, platform: str, cuda: dict[str, str], build: str
) -> None:
    channel = (conda_channel / "forge").as_uri()
    found = rattler(tmp_path, [channel], "fastmath", platform=platform, virtual={**NO_CUDA, **cuda})
    assert found["records"]["fastmath"][1] == build


def test_channels_and_labels(channel_server: ChannelServer, tmp_path: Path) -> None:
    forge, other = f"{channel_server.url}/forge", f"{channel_server.url}/other"
    assert rattler(tmp_path, [forge, other], "greeting")["records"]["greeting"][0] == "2.0"
    assert rattler(tmp_path, [other, forge], "greeting")["records"]["greeting"][0] == "3.0"
    assert rattler(tmp_path, [f"{forge}/label/dev", forge], "greeting")["records"]["greeting"][0] == "4.0"


@pytest.mark.parametrize(
    ("spec", "platform", "said"),
    [
        ("impossible", "linux-64", "does-not-exist"),
        ("needs-newer-glibc", "linux-64", "__glibc >=2.99"),
        ("only-linux-64", "linux-aarch64", "only-linux-64"),
    ],
)
def test_what_cannot_be_had(conda_channel: Path, tmp_path: Path, spec: str, platform: str, said: str) -> None:
    found = rattler(tmp_path, [(conda_channel / "forge").as_uri()], spec, platform=platform)
    assert said in found["error"]


# --- the server -----------------------------------------------------------------------------------------------------

INDEX = "forge/noarch/repodata.json"


def test_the_server_serves(channel_server: ChannelServer, conda_channel: Path) -> None:
    url = f"{channel_server.url}/{INDEX}"
    whole = requests.get(url, timeout=10)
    assert whole.content == (conda_channel / INDEX).read_bytes()
    assert whole.headers["Content-Type"] == "application/json"
    assert requests.head(url, timeout=10).headers["Content-Length"] == str(len(whole.content))
    known = {"If-None-Match": whole.headers["ETag"]}
    assert requests.get(url, headers=known, timeout=10).status_code == 304
    assert requests.get(url, headers={"Range": "bytes=2-5"}, timeout=10).content == whole.content[2:6]
    assert requests.get(f"{channel_server.url}/forge/../../", timeout=10).status_code == 404
    assert [(each.method, each.status) for each in channel_server.asked(INDEX)] == [
        ("GET", 200),
        ("HEAD", 200),
        ("GET", 304),
        ("GET", 206),
    ]


def test_the_server_fails_as_it_is_told(channel_server: ChannelServer) -> None:
    def status(path: str = INDEX, **options: Any) -> int:
        return requests.get(f"{channel_server.url}/{path}", timeout=10, **options).status_code

    channel_server.fail(503, "*/noarch/*", times=1)
    assert [status("forge/linux-64/repodata.json"), status(), status()] == [200, 503, 200]

    channel_server.fail(DROP, "*repodata.json", times=1)
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        status()

    good = requests.get(f"{channel_server.url}/{INDEX}", timeout=10).content
    channel_server.corrupt("*/repodata.json")
    bad = requests.get(f"{channel_server.url}/{INDEX}", timeout=10).content
    assert sum(a != b for a, b in zip(good, bad, strict=True)) == 1

    channel_server.recover()
    channel_server.require_basic("alice", "s3cret", "forge/*")
    channel_server.require_token("tk-1", "other/*")
    assert [status(), status(auth=("alice", "wrong")), status(auth=("alice", "s3cret"))] == [401, 401, 200]
    other = "other/noarch/repodata.json"
    assert [status(other), status(f"t/wrong/{other}"), status(f"t/tk-1/{other}")] == [401, 401, 200]

    channel_server.recover()
    channel_server.require_bearer("abc")
    assert [status(), status(headers={"Authorization": "Bearer abc"})] == [401, 200]

    channel_server.recover()
    port = channel_server.port
    channel_server.stop()
    with pytest.raises(requests.exceptions.ConnectionError):
        status()
    channel_server.start()
    assert channel_server.port == port
    assert status() == 200
