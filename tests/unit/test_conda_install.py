from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packager.environments.conda import CondaPackage
from packager.environments.install_failure import explain_install, find_install_failure
from packager.environments.locks.conda_file import format_conda_lock
from packager.errors import LockError, PackagerError, TemporaryError
from packager.programs.stage import install, settle

FORGE = "https://conda.example.com/forge"


def package(name: str, platform: str = "linux/amd64", subdir: str = "linux-64", **more: Any) -> CondaPackage:
    file = f"{FORGE}/{subdir}/{name}-1.0-h0_0.conda"
    values = {"version": "1.0", "build": "h0_0", "platform": platform, "url": file, "sha256": "a" * 64, **more}
    return CondaPackage(name=name, **values)


def written(tmp_path: Path, *packages: CondaPackage) -> Path:
    path = tmp_path / "conda-lock.yml"
    path.write_text(
        format_conda_lock(packages, channels=(FORGE,), content_hashes={"linux-64": "", "linux-aarch64": ""})
    )
    return path


# --- the lock ---------------------------------------------------------------------------------------------------------


def test_a_lock_is_read_for_one_platform(tmp_path: Path) -> None:
    arm = package("arm", "linux/arm64", "linux-aarch64")
    path = written(tmp_path, package("b", depends=("a >=1",)), package("a", subdir="noarch"), arm)
    first, second = install.read_lock(path, "linux-64")
    assert (first.name, first.subdir, first.channel) == ("a", "noarch", FORGE)
    assert (second.file_name, second.stem, second.depends) == ("b-1.0-h0_0.conda", "b-1.0-h0_0", ("a >=1",))


@pytest.mark.parametrize("text", ["", "a: [", "package: 3", "package: [{platform: linux-64}]", "- 1", "package: []"])
def test_what_is_no_lock_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "lock.yml"
    path.write_text(text)
    with pytest.raises(install.InstallError) as caught:
        install.read_lock(path, "linux-64")
    assert caught.value.kind == "lock"


def test_a_package_without_a_digest_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, package("a"))
    path.write_text(path.read_text().replace("sha256:", "md5:"))
    with pytest.raises(install.InstallError, match=r"no sha256 of a-1\.0-h0_0\.conda"):
        install.read_lock(path, "linux-64")


def test_the_longest_start_is_mirrored() -> None:
    mirrors = {"https://a.example": "https://m.example/all/", "https://a.example/forge/": "https://m.example/forge"}
    assert (
        install.mirrored("https://a.example/forge/noarch/x.conda", mirrors) == "https://m.example/forge/noarch/x.conda"
    )
    assert install.mirrored("https://a.example/b/noarch/x.conda", mirrors) == "https://m.example/all/b/noarch/x.conda"
    assert install.mirrored("https://a.example.com/x.conda", mirrors) == "https://a.example.com/x.conda"


PRIVATE = "https://${NAME}:${PASSWORD}@conda.example.com/forge"
WITH_TOKEN = "https://conda.example.com/t/${TOKEN}/forge"


@pytest.mark.parametrize("channel", [PRIVATE, WITH_TOKEN, FORGE])
def test_variables_of_a_url_are_no_part_of_it(channel: str) -> None:
    assert install.bare(f"{channel}/noarch/x.conda") == f"{FORGE}/noarch/x.conda"
    mirrors = {FORGE: "https://m.example/t/$KEY/forge"}
    assert install.mirrored(f"{channel}/noarch/x.conda", mirrors) == "https://m.example/t/$KEY/forge/noarch/x.conda"


def test_credentials_of_channels_come_by_a_variable_or_in_rattlers_file(tmp_path: Path) -> None:
    file = tmp_path / "auth.json"
    file.write_text(json.dumps({"conda.example.com": {"BearerToken": "b"}, FORGE: {"CondaToken": "old"}}))
    mine = {FORGE: {"CondaToken": "new"}}
    assert install.known_access({"RATTLER_AUTH_FILE": str(file)}) == {FORGE: {"CondaToken": "old"}}
    assert install.known_access({"RATTLER_AUTH_FILE": str(file), install.ACCESS: json.dumps(mine)}) == mine
    assert install.known_access({"RATTLER_AUTH_FILE": "/nowhere"}) == {}


def test_a_refusal_names_the_variables_without_a_value() -> None:
    text = FETCH + "HTTP status client error (401 Unauthorized) for url (https://conda.example.com/forge/x)"
    found = install.explain(text, [f"{PRIVATE}/noarch/a-1.0-h0_0.conda", f"{WITH_TOKEN}/noarch/b-1.0-h0_0.conda"])
    assert found.kind == "denied"
    assert "a-1.0-h0_0.conda: its channel wants credentials, and there is no value of NAME, PASSWORD" in found.message
    assert "no value" not in install.explain(text, [f"{WITH_TOKEN}/noarch/b-1.0-h0_0.conda"]).message


def test_a_file_of_a_channel_on_this_machine_is_checked(tmp_path: Path) -> None:
    """py-rattler does not: it only holds what it downloads against its digest."""
    folder = tmp_path / "forge" / "noarch"
    folder.mkdir(parents=True)
    (folder / "a-1.0-h0_0.conda").write_bytes(b"other")
    url = f"{(tmp_path / 'forge').as_uri()}/noarch/a-1.0-h0_0.conda"
    path = written(tmp_path, package("a", url=url))
    command = [sys.executable, "-P", install.__file__, "--lock", str(path), "--subdir", "linux-64", "--json"]
    command += ["--prefix", str(tmp_path / "env"), "--cache", str(tmp_path / "cache")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stderr
    found = json.loads(done.stdout)
    assert (found["error"], found["package"]) == ("hash", "a-1.0-h0_0.conda")
    assert hashlib.sha256(b"other").hexdigest() in found["message"]
    assert not (tmp_path / "env").exists()


# As py-rattler 0.28 says it.
FETCH = "failed to fetch a-1.0-h0_0.conda\nCaused by: failed to interact with the package cache layer.\nCaused by: "
SAID = {
    f"hash mismatch when extracting URL: expected {'0' * 64}, got {'f' * 64}, total size 3 bytes": ("hash", LockError),
    "HTTP status client error (404 File not found) for url (U)": ("absent", LockError),
    "HTTP status client error (401 Unauthorized) for url (U)": ("denied", LockError),
    "HTTP status client error (403 Forbidden) for url (U)": ("denied", LockError),
    "HTTP status client error (429 Too Many Requests) for url (U)": ("temporary", TemporaryError),
    "HTTP status server error (503 Service Unavailable) for url (U)": ("temporary", TemporaryError),
    "Request failed after 1 retries\nCaused by: error sending request for url (U)\n"
    "Caused by: client error (Connect)\nCaused by: Connection refused (os error 111)": ("temporary", TemporaryError),
    "an io error occurred: error decoding response body\nCaused by: error reading a body from connection\n"
    "Caused by: end of file before message length reached": ("temporary", TemporaryError),
    "invalid zip archive: invalid Zip archive: Invalid local file header": ("hash", LockError),
    "an io error occurred: Invalid checksum\nCaused by: Invalid checksum": ("hash", LockError),
    "an io error occurred: No space left on device (os error 28)": ("other", PackagerError),
}


@pytest.mark.parametrize(("text", "kind", "error"), [(text, *expected) for text, expected in SAID.items()])
def test_what_rattler_says_is_understood(text: str, kind: str, error: type[PackagerError]) -> None:
    found = install.explain(FETCH + text)
    assert (found.kind, found.package) == (kind, "a-1.0-h0_0.conda")
    assert "a-1.0-h0_0.conda" in found.message
    ours = explain_install(found.kind, found.message)
    assert type(ours) is error
    assert ours.exit_code == install.EXIT_CODES.get(found.kind, 1)


def test_credentials_are_not_repeated() -> None:
    text = FETCH + "HTTP status client error (404) for url (https://ann:hunter2@h.example/t/tok-en/forge/a.conda)"
    assert "hunter2" not in install.explain(text).message
    assert "tok-en" not in install.explain(text).message


def test_the_log_of_a_build_stage_tells() -> None:
    log = "Collecting x\ninstall.py: temporary: a.conda cannot be fetched\nmore\n"
    assert isinstance(find_install_failure(log), TemporaryError)
    found = find_install_failure("settle.py: a-1-0: lib/x is not what the package lists (1 such files)")
    assert isinstance(found, LockError)
    assert "lib/x" in str(found)
    assert find_install_failure("pip says install.py: no") is None


# --- settling ---------------------------------------------------------------------------------------------------------


def prefix_of(tmp_path: Path, content: bytes = b"hello\n", listed: bytes = b"hello\n") -> Path:
    """An environment of one package, as an installer leaves it on a machine."""
    folder, cache = tmp_path / "env", tmp_path / "cache" / "a-1.0-h0_0"
    for each in ("conda-meta", "lib/__pycache__", "bin", "__clobbers__/a"):
        (folder / each).mkdir(parents=True)
    (cache / "info").mkdir(parents=True)
    (cache / "info/index.json").write_text(json.dumps({"build_number": 7, "license": "MIT", "timestamp": 1}))
    (folder / "lib/a.txt").write_bytes(content)
    (folder / "lib/a.txt").chmod(0o600)
    (folder / "lib/__pycache__/a.pyc").touch()
    (folder / "bin/run").write_text("#!/bin/sh\n")
    (folder / "bin/run").chmod(0o775)
    (folder / "bin/link").symlink_to("run")
    (folder / "CACHEDIR.TAG").touch()
    paths = [
        {"_path": "lib/a.txt", "path_type": "hardlink", "sha256": hashlib.sha256(listed).hexdigest()},
        {"_path": "bin/link", "path_type": "softlink", "sha256": "0" * 64},
        {"_path": "lib/__pycache__/a.pyc", "path_type": "hardlink"},
    ]
    record = {
        "name": "a", "version": "1.0", "build": "h0_0", "build_number": 0, "depends": ["c", "b >=1"], "url": "U",
        "extracted_package_dir": str(cache), "link": {"source": str(cache), "type": 1}, "requested_specs": [],
        "paths_data": {"paths_version": 1, "paths": paths}, "files": [each["_path"] for each in paths],
    }  # fmt: skip
    (folder / "conda-meta/a-1.0-h0_0.json").write_text(json.dumps(record))
    return folder


def test_nothing_of_this_machine_stays(tmp_path: Path) -> None:
    folder = prefix_of(tmp_path)
    settle.settle(folder, modes=True)
    found = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())
    assert found == ["bin/link", "bin/run", "conda-meta/a-1.0-h0_0.json", "conda-meta/history", "lib/a.txt"]
    text = (folder / "conda-meta/a-1.0-h0_0.json").read_text()
    assert str(tmp_path) not in text
    record = json.loads(text)
    assert record["files"] == ["bin/link", "lib/a.txt"]
    assert (record["build_number"], record["license"], record["depends"]) == (7, "MIT", ["b >=1", "c"])
    assert "timestamp" not in record
    assert [(folder / each).stat().st_mode & 0o777 for each in ("lib/a.txt", "bin/run", "lib")] == [0o644, 0o755, 0o755]


@pytest.mark.parametrize("content", [b"HELLO\n", b"hello\n\n", b""])
def test_a_file_that_is_not_what_its_package_lists_is_named(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(settle.SettleError, match=r"a-1\.0-h0_0: lib/a\.txt is not what the package lists"):
        settle.settle(prefix_of(tmp_path, content))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    folder = prefix_of(tmp_path)
    (folder / "lib/a.txt").unlink()
    done = subprocess.run(
        [sys.executable, settle.__file__, "--prefix", str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 3
    assert done.stderr.startswith("settle.py: a-1.0-h0_0: lib/a.txt is not what")


def test_what_replaced_a_prefix_is_held_against_that(tmp_path: Path) -> None:
    folder = prefix_of(tmp_path, b"/opt/env\n", b"/placeholder\n")
    path = folder / "conda-meta/a-1.0-h0_0.json"
    record = json.loads(path.read_text())
    record["paths_data"]["paths"][0]["sha256_in_prefix"] = hashlib.sha256(b"/opt/env\n").hexdigest()
    path.write_text(json.dumps(record))
    settle.settle(folder)


TALK = [
    "",
    "#!/bin/sh\n# nothing\n",
    'echo "Thank you for installing this."',
    'echo "Read the manual." >>"$PREFIX/.messages.txt"',
    "echo hello >> ${PREFIX}/.messages.txt 2>&1\nexit 0\n",
    "set -euo pipefail\nprintf '%s\\n' done\ntrue\n",
]
ACTS = [
    'mkdir -p "$PREFIX/etc" && echo made >"$PREFIX/etc/post-link-needed"',
    "echo hello > $PREFIX/etc/motd",
    'echo "$(rm -rf /)"',
    "echo `date`",
    "echo a; rm b",
    "echo a | tee b",
    "echo 'an open quote",
    '"$PREFIX/bin/python" -m ipykernel install',
    "echo one &",
]


@pytest.mark.parametrize(("script", "expected"), [*((each, False) for each in TALK), *((each, True) for each in ACTS)])
def test_which_link_scripts_matter(script: str, expected: bool) -> None:
    assert settle.matters(script) is expected


@given(st.text(max_size=200))
def test_any_script_can_be_judged(script: str) -> None:
    settle.matters(script)


def test_link_scripts_run_after_those_of_what_they_need(tmp_path: Path) -> None:
    records = [
        {"name": name, "version": "1", "build": "0", "depends": depends}
        for name, depends in {"a": ["c >=1"], "b": ["a"], "c": [], "x": ["y"], "y": ["x"]}.items()
    ]
    (tmp_path / "bin").mkdir()
    for record in records:
        (tmp_path / f"bin/.{record['name']}-post-link.sh").write_text('echo "$PKG_NAME" >> "$PREFIX/order"\n')
    settle.run_scripts(tmp_path, records)
    assert (tmp_path / "order").read_text().split() == ["c", "a", "b", "x", "y"]
    assert settle.scripts_that_matter(tmp_path, records) == ["a", "b", "c", "x", "y"]
    (tmp_path / "bin/.c-post-link.sh").write_text("exit 3\n")
    with pytest.raises(settle.SettleError, match="c-1-0: its post-link script failed, code 3"):
        settle.run_scripts(tmp_path, records)
