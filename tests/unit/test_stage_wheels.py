"""The program that lays wheels down in a build stage, on folders as pip and uv leave them; uv and pip are stand-ins."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import os
import sys
import threading
import zipfile
from pathlib import Path

import pytest

from packager.laying.venv import script_text
from packager.programs.stage import wheels

SITE = "lib/python3.13/site-packages"
PASSWORD = "canary"


def settings(tmp_path: Path, text: str = "", **environ: str) -> dict[str, str]:
    (tmp_path / "pip.conf").write_text(text)
    return wheels.pip_settings(environ, [str(tmp_path / "pip.conf")])


# --- pip's settings in uv's words -------------------------------------------------------------------------------------


def test_pip_conf_is_told_to_uv(tmp_path: Path) -> None:
    text = f"""\
[global]
index-url = https://lena:{PASSWORD}%40x@index.example/simple
extra_index_url = https://one.example/simple
    https://two.example/simple
trusted-host = one.example
    two.example:8080
find-links = /one /two
timeout = 20
retries = many
cert = /of/global.pem
[install]
cert = /of/install.pem
[download]
client-cert = /none
"""
    found = wheels.uv_environment({"PATH": "/bin"}, settings(tmp_path, text))
    assert found["UV_DEFAULT_INDEX"] == f"https://lena:{PASSWORD}%40x@index.example/simple"
    assert found["UV_INDEX"] == "https://one.example/simple https://two.example/simple"
    assert found["UV_INSECURE_HOST"] == "one.example two.example:8080"
    assert found["UV_FIND_LINKS"] == "/one,/two"
    assert found["SSL_CERT_FILE"] == "/of/install.pem"
    assert found["UV_HTTP_TIMEOUT"] == "20"
    assert not {"UV_HTTP_RETRIES", "SSL_CLIENT_CERT"} & found.keys()
    assert found["PATH"] == "/bin"


def test_variables_of_pip_go_before_its_files_unless_they_are_empty(tmp_path: Path) -> None:
    text = "[global]\nindex-url = https://file/simple\ncert = /file.pem\n"
    found = settings(tmp_path, text, PIP_INDEX_URL="https://variable/simple", PIP_CERT="")
    assert found == {"index-url": "https://variable/simple", "cert": "/file.pem"}


def test_later_files_go_before_earlier_ones(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).write_text(f"[global]\nindex-url = https://{name}\n")
    files = [str(tmp_path / name) for name in ("one", "two", "none")]
    assert wheels.pip_settings({}, files) == {"index-url": "https://two"}
    assert wheels.pip_settings({"PIP_CONFIG_FILE": os.devnull}, files) == {"config-file": os.devnull}


def test_settings_of_uv_in_the_base_count_for_nothing_as_with_pip() -> None:
    environ = {"UV_INDEX_URL": "https://other", "UV_NO_BINARY": "1", "UV_LINK_MODE": "symlink", "HOME": "/root"}
    found = wheels.uv_environment(environ, {})
    assert not environ.keys() & found.keys() - {"HOME"}
    assert found["UV_INDEX_STRATEGY"] == "unsafe-best-match"


def test_certificates_are_those_that_pip_would_take(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    system = tmp_path / "system.pem"
    monkeypatch.setattr(wheels, "_SYSTEM_CERTIFICATES", str(system))
    assert "SSL_CERT_FILE" not in wheels.uv_environment({}, {})
    system.touch()
    assert wheels.uv_environment({}, {})["SSL_CERT_FILE"] == str(system)
    assert wheels.uv_environment({"REQUESTS_CA_BUNDLE": "/r"}, {})["SSL_CERT_FILE"] == "/r"
    assert wheels.uv_environment({"SSL_CERT_FILE": "/s"}, {"cert": "/pip"})["SSL_CERT_FILE"] == "/pip"


def test_a_proxy_of_pip_goes_before_those_of_the_machine() -> None:
    found = wheels.uv_environment({"https_proxy": "http://other"}, {"proxy": "http://proxy:3128"})
    assert found["https_proxy"] == found["HTTPS_PROXY"] == found["HTTP_PROXY"] == "http://proxy:3128"


@pytest.mark.parametrize("text", [f"index-url = https://u:{PASSWORD}@i\n", f"[global\nx = {PASSWORD}\n"])
def test_a_file_that_is_none_is_refused_without_its_text(text: str, tmp_path: Path) -> None:
    with pytest.raises(wheels.WheelsError) as caught:
        settings(tmp_path, text)
    assert "pip.conf" in str(caught.value)
    assert PASSWORD not in str(caught.value)


# --- uv ---------------------------------------------------------------------------------------------------------------

#: Writes down how it was called, as the environment's uv.
PROGRAM = f"""\
#!{sys.executable}
import json, os, sys
with open(os.environ["SEEN"], "a") as file:
    file.write(json.dumps([sys.argv[1:], dict(os.environ)]) + "\\n")
sys.exit(int(os.environ.get("CODE", "0")))
"""


def uv_wheel(path: Path, text: str = PROGRAM) -> str:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("uv-1.data/scripts/uvx", "no")
        archive.writestr("uv-1.data/scripts/uv", text)
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEEN", str(tmp_path / "seen"))
    return tmp_path / "seen"


def stand_in_for_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wheel: Path) -> Path:
    """What `pip download` does: the wheel is put where `--dest` says; how often is in the file."""
    program, calls = tmp_path / "pip.py", tmp_path / "calls"
    program.write_text(
        "import shutil, sys\n"
        f"open({str(calls)!r}, 'a').write('x')\n"
        f"shutil.copy({str(wheel)!r}, sys.argv[sys.argv.index('--dest') + 1])\n"
    )
    monkeypatch.setattr(wheels, "pip_command", lambda: [sys.executable, str(program)])
    calls.touch()
    return calls


def run(tmp_path: Path, digest: str, *more: str) -> int:
    (tmp_path / "uv.txt").write_text(f"# why\nuv==1 \\\n    --hash=sha256:{digest}\n")
    (tmp_path / "r.txt").write_text("one==1 \\\n    --hash=sha256:0\ntwo.x==2 \\\n    --hash=sha256:0\n")
    words = ["--prefix", f"{tmp_path}/env", "--uv", f"{tmp_path}/uv.txt", "--requirements", f"{tmp_path}/r.txt"]
    return wheels.main([*words, *more])


def test_uv_is_fetched_once_and_its_kept_wheel_is_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seen: Path
) -> None:
    wheel, cache = tmp_path / "uv-1-py3-none-any.whl", tmp_path / "cache"
    digest = uv_wheel(wheel)
    calls = stand_in_for_pip(tmp_path, monkeypatch, wheel)
    for _ in range(2):
        assert run(tmp_path, digest, "--cache", str(cache)) == 0
    assert calls.read_text() == "x"
    # Whoever else may write into the cache does not choose what is run.
    (kept,) = cache.glob("uv-*/*.whl")
    uv_wheel(kept, PROGRAM.replace("sys.exit", "sys.exit('other') or"))
    assert run(tmp_path, digest, "--cache", str(cache)) == 0
    assert calls.read_text() == "xx"
    arguments, _ = json.loads(seen.read_text().splitlines()[-1])
    assert arguments[arguments.index("--cache-dir") + 1] == f"{cache}/uv"
    assert arguments[-3:] == [":all:", "--requirement", f"{tmp_path}/r.txt"]
    assert {"--require-hashes", "--no-deps", "--no-config", "--no-compile-bytecode"} <= set(arguments)


def test_a_cache_serves_builds_for_several_processors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seen: Path
) -> None:
    """The pins have the digests of all of them, and a program for another one ends with exit code 127."""
    one, other, cache = tmp_path / "uv-1-py3-none-one.whl", tmp_path / "uv-1-py3-none-other.whl", tmp_path / "cache"
    digests = f"{uv_wheel(one)} --hash=sha256:{uv_wheel(other, PROGRAM + 'pass')}"
    for wheel in (one, other, one):
        monkeypatch.setattr("sysconfig.get_config_var", lambda name, machine=wheel.stem[14:]: f"{machine}-linux-gnu")
        stand_in_for_pip(tmp_path, monkeypatch, wheel)
        assert run(tmp_path, digests, "--cache", str(cache)) == 0
    names = sorted(str(path.relative_to(cache)) for path in cache.glob("uv-*/*"))
    assert names == [f"uv-one-linux-gnu/{one.name}", f"uv-other-linux-gnu/{other.name}"]


def test_steps_of_one_number_fill_the_cache_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seen: Path
) -> None:
    wheel, cache = tmp_path / "uv-1-py3-none-any.whl", tmp_path / "cache"
    digest = uv_wheel(wheel)
    stand_in_for_pip(tmp_path, monkeypatch, wheel)
    monkeypatch.setattr(os, "getpid", lambda: 1)  # each step of a build is the first process of its own
    replace, waiting = os.replace, threading.Barrier(2, timeout=20)

    def together(source: str, target: str) -> None:
        waiting.wait()
        replace(source, target)

    monkeypatch.setattr(os, "replace", together)
    fetched: list[Path] = []

    def fetch(number: int) -> None:
        (scratch := tmp_path / str(number)).mkdir()
        (pins := scratch / "uv.txt").write_text(f"uv==1 --hash=sha256:{digest}\n")
        fetched.append(wheels.fetch_uv(pins, cache, scratch))

    threads = [threading.Thread(target=fetch, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(fetched) == 2
    assert [path.name for path in cache.glob("uv-*/*")] == [wheel.name]


def test_passwords_are_in_no_argument(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seen: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    wheel = tmp_path / "uv-1-py3-none-any.whl"
    digest = uv_wheel(wheel)
    stand_in_for_pip(tmp_path, monkeypatch, wheel)
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", f"https://lena:{PASSWORD}@index.example/simple")
    monkeypatch.setenv("PIP_NO_INDEX", "true")
    monkeypatch.setenv("CODE", "2")
    assert run(tmp_path, digest, "--no-binary", "One") == 3
    ((arguments, environ),) = [json.loads(line) for line in seen.read_text().splitlines()]
    assert environ["UV_INDEX"] == f"https://lena:{PASSWORD}@index.example/simple"
    assert PASSWORD not in " ".join(arguments)
    # uv refuses to build anything beside `--only-binary :all:`.
    assert {"--no-cache", "--no-index", "--no-binary=one", "--only-binary=two.x"} <= set(arguments)
    assert ":all:" not in arguments
    shown = "".join(capfd.readouterr())
    assert shown == "wheels.py: uv ended with exit code 2\n"


def test_another_uv_than_the_pinned_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seen: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    wheel = tmp_path / "uv-1-py3-none-any.whl"
    uv_wheel(wheel)
    stand_in_for_pip(tmp_path, monkeypatch, wheel)
    assert run(tmp_path, "0" * 64) == 3
    assert not seen.exists()
    assert "uv==1 cannot be had from the index; `installer: pip`" in capfd.readouterr().err


def test_the_pip_of_this_python_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Installed, else what ensurepip or the distribution keeps for virtual environments."""
    monkeypatch.setattr(wheels, "find_spec", lambda name: object() if name == "pip" else None)
    assert wheels.pip_command() == [sys.executable, "-m", "pip"]
    monkeypatch.setattr(wheels, "find_spec", lambda name: None)
    monkeypatch.setattr("sysconfig.get_config_var", lambda name: str(tmp_path))
    with pytest.raises(wheels.WheelsError, match="python3-venv"):
        wheels.pip_command()
    (tmp_path / "pip-25.1.1-py3-none-any.whl").touch()
    assert wheels.pip_command() == [sys.executable, f"{tmp_path}/pip-25.1.1-py3-none-any.whl/pip"]


# --- what is left behind ----------------------------------------------------------------------------------------------


ENTRY_POINTS = b"[console_scripts]\nTool = tool:a.main [x]\nbad = no object\nno = tool:b\n"


def digest_of(data: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def laid_down(prefix: Path, installer: str) -> Path:
    """A package as an installer leaves it: its name, a script of its making, rows in its order."""
    info = prefix / SITE / "tool-1.dist-info"
    module = b"def main(): ...\n"
    files = {
        f"{SITE}/tool.py": module,
        f"{SITE}/tool-1.dist-info/METADATA": b"Name: tool\n",
        f"{SITE}/tool-1.dist-info/INSTALLER": installer.encode(),
        f"{SITE}/tool-1.dist-info/REQUESTED": b"",
        f"{SITE}/tool-1.dist-info/direct_url.json": b"{}",
        f"{SITE}/tool-1.dist-info/entry_points.txt": ENTRY_POINTS,
        "bin/Tool": f"#!/x\n# by {installer}\n".encode(),
        "bin/bad": b"#!/x\n",
        "share/tool/page": b"page",
    }
    for path, data in files.items():
        (prefix / path).parent.mkdir(parents=True, exist_ok=True)
        (prefix / path).write_bytes(data)
    order = sorted(files, reverse=installer == "uv")
    rows = [(os.path.relpath(path, SITE), digest_of(files[path]), str(len(files[path]))) for path in order]
    rows += [("__pycache__/tool.cpython-313.pyc", "", ""), ("tool-1.dist-info/RECORD", "", "")]
    with (info / "RECORD").open("w", newline="") as file:
        csv.writer(file, lineterminator="\r\n").writerows(rows)
    return info


def contents(prefix: Path) -> dict[str, bytes]:
    return {str(path.relative_to(prefix)): path.read_bytes() for path in prefix.rglob("*") if path.is_file()}


def test_nobody_can_tell_who_laid_it_down(tmp_path: Path) -> None:
    # Scripts name the environment, and it is the same here for both.
    made = []
    for installer in ("pip", "uv"):
        laid_down(tmp_path / "env", f"{installer}\n" if installer == "pip" else installer)
        (tmp_path / "env/.lock").touch()
        wheels.settle(tmp_path / "env")
        made.append(contents(tmp_path / "env"))
        (tmp_path / "env").rename(tmp_path / installer)
    assert made[0] == made[1]
    found = made[0]
    info = f"{SITE}/tool-1.dist-info"
    assert found[f"{info}/INSTALLER"] == b"packager\n"
    assert not {f"{info}/REQUESTED", f"{info}/direct_url.json", ".lock", "bin/no"} & found.keys()
    assert found["bin/bad"] == b"#!/x\n", "what is no object reference stays as it was made"
    assert (
        found["bin/Tool"]
        == (
            f"#!{tmp_path}/env/bin/python\nimport sys\nfrom tool import a\n\n"
            'if __name__ == "__main__":\n    sys.exit(a.main())\n'
        ).encode()
    )
    rows = list(csv.reader(found[f"{info}/RECORD"].decode().splitlines()))
    named = {os.path.normpath(f"{SITE}/{path}"): (digest, size) for path, digest, size in rows}
    assert named.keys() == found.keys()
    for path, (digest, size) in named.items():
        assert (digest, size) == (
            ("", "") if path.endswith("RECORD") else (digest_of(found[path]), str(len(found[path])))
        )
    assert list(named) == sorted(named)


def test_scripts_are_those_of_images_without_an_engine() -> None:
    assert script_text("tool:a.main") == wheels.script_text("/opt/env/bin/python", "tool", "a.main")


def test_what_conda_has_laid_down_is_left_alone(tmp_path: Path) -> None:
    laid_down(tmp_path, "conda")
    before = contents(tmp_path)
    wheels.settle(tmp_path)
    assert contents(tmp_path) == before


def test_nothing_is_laid_down_where_it_is_not_asked_for(tmp_path: Path) -> None:
    laid_down(tmp_path, "pip")
    assert wheels.main(["--prefix", str(tmp_path)]) == 0
    assert (tmp_path / SITE / "tool-1.dist-info/INSTALLER").read_bytes() == b"packager\n"
