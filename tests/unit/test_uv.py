"""uv's own files and words: pylock.toml, arguments, environment, and what its errors mean."""

from __future__ import annotations

import os
import stat
import threading
import time
from pathlib import Path

import pytest

from packager.environments.lock import LockedPackage, LockRequest
from packager.environments.solve.pip import Stoppable, Upgrade, UvSolver, arguments, uv_environment
from packager.environments.solve.pylock import format_preferences, parse_pylock
from packager.environments.uv_errors import MAX_LINES, explain, redact
from packager.errors import LockError, PackagerError, TemporaryError

A, B, C = "a" * 64, "b" * 64, "c" * 64
AMD = "x86_64-manylinux_2_28"
REQUEST = LockRequest(
    python="3.13",
    platforms={"linux/amd64": AMD},
    requirements=("numpy", "six<2"),
    constraints=("idna<4",),
    base="docker.io/library/python:3.13",
)
FOLDER = Path("/tmp/x")


def pylock(*packages: str) -> str:
    return "\n".join(['lock-version = "1.0"', 'created-by = "uv"', *packages])


def wheels(name: str, version: str, *files: tuple[str, str]) -> str:
    entries = ", ".join(
        f'{{ url = "https://example.com/{file}", hashes = {{ sha256 = "{digest}" }} }}' for file, digest in files
    )
    return f'[[packages]]\nname = "{name}"\nversion = "{version}"\nwheels = [{entries}]'


def only(text: str, *, python: str = "3.13", tags: str = AMD) -> LockedPackage:
    (package,) = parse_pylock(text, python=python, tags=tags)
    return package


# --- pylock.toml ---


def test_the_wheel_that_an_installer_would_take() -> None:
    text = pylock(
        wheels(
            "x",
            "1",
            ("x-1-py3-none-any.whl", A),
            ("x-1-cp313-cp313-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", B),
            ("x-1-cp37-abi3-manylinux_2_28_x86_64.whl", C),
        )
    )
    assert only(text) == LockedPackage(name="x", version="1", digests=(B,))


def test_a_newer_glibc_goes_first_and_then_a_higher_build() -> None:
    text = pylock(
        wheels(
            "x",
            "1",
            ("x-1-1-cp313-cp313-manylinux_2_28_x86_64.whl", A),
            ("x-1-2-cp313-cp313-manylinux_2_28_x86_64.whl", B),
            ("x-1-9-cp313-cp313-manylinux_2_17_x86_64.whl", C),
        )
    )
    assert only(text).digests == (B,)


def test_wheels_that_rank_alike_are_all_kept() -> None:
    text = pylock(wheels("x", "1", ("x-1-py3-none-any.whl", B), ("x-1-py3-none-any.whl", A)))
    assert only(text).digests == (A, B)
    strange = pylock(wheels("x", "1", ("x-1-cp313-cp313-musllinux_1_2_x86_64.whl", B), ("odd", A)))
    assert only(strange, tags="x86_64-unknown-linux-musl").digests == (A, B)


def test_local_versions_and_quoted_names() -> None:
    text = pylock(wheels("Torch", "2.1.0+cpu", ("torch-2.1.0%2Bcpu-cp313-cp313-manylinux_2_28_x86_64.whl", A)))
    assert only(text) == LockedPackage(name="torch", version="2.1.0+cpu", digests=(A,))


def test_an_sdist_where_there_is_no_wheel() -> None:
    sdist = f'[[packages]]\nname = "docopt"\nversion = "0.6.2"\nsdist = {{ hashes = {{ sha256 = "{A}" }} }}'
    assert only(pylock(sdist)).digests == (A,)


def test_packages_are_sorted() -> None:
    text = pylock(*(wheels(name, "1", (f"{name}-1-py3-none-any.whl", A)) for name in "cab"))
    assert [each.name for each in parse_pylock(text, python="3.13", tags=AMD)] == ["a", "b", "c"]
    assert parse_pylock(pylock(), python="3.13", tags=AMD) == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("oops", "not understood"),
        (pylock("packages = 3"), "not understood"),
        (pylock('[[packages]]\nversion = "1"'), "not understood"),
        (pylock('[[packages]]\nname = "x"\nversion = "1"'), "not understood"),
        (pylock('[[packages]]\nname = "x"\ndirectory = { path = "." }'), "no version of its own"),
        (pylock(wheels("x", "1", ("x-1-py3-none-any.whl", "12"))), "no sha256 of x"),
    ],
)
def test_what_uv_should_not_answer(text: str, message: str) -> None:
    with pytest.raises(LockError, match=message):
        parse_pylock(text, python="3.13", tags=AMD)


def test_preferences_hold_names_and_versions() -> None:
    assert format_preferences([LockedPackage(name="six", version="1.17.0", digests=(A,))]) == (
        'lock-version = "1.0"\ncreated-by = "packager"\n\n[[packages]]\nname = "six"\nversion = "1.17.0"\n'
    )


# --- arguments and environment ---


def test_wheels_only() -> None:
    words = arguments(REQUEST, "linux/amd64", Upgrade(), False, FOLDER)
    assert " ".join(words).startswith("pip compile /tmp/x/requirements.in --constraints /tmp/x/constraints.in ")
    assert words[words.index("--only-binary") + 1] == ":all:"
    assert words[words.index("--python-version") + 1] == "3.13"
    assert words[words.index("--python-platform") + 1] == AMD
    assert "--python" in words
    assert not {"--no-binary", "--upgrade", "--upgrade-package", "--offline"} & set(words)


def test_exceptions_upgrades_and_offline() -> None:
    request = LockRequest(
        python="3.13", platforms=REQUEST.platforms, requirements=(), build_from_source=("docopt", "x"), base="b"
    )
    words = " ".join(arguments(request, "linux/amd64", Upgrade(names=("a", "b")), True, FOLDER))
    assert "--only-binary :all: --no-binary docopt --no-binary x --upgrade-package a --upgrade-package b" in words
    assert words.endswith("--offline")
    assert "--python " not in words, "a build wants an interpreter of the right version"
    assert "--upgrade" in arguments(request, "linux/amd64", Upgrade(all=True), False, FOLDER)


def test_pips_settings_are_told_to_uv() -> None:
    found = uv_environment(
        {
            "PIP_INDEX_URL": "https://a/simple",
            "PIP_EXTRA_INDEX_URL": "https://b/simple https://c/simple",
            "PIP_FIND_LINKS": "/one /two",
            "PIP_TRUSTED_HOST": "a b",
            "PIP_CERT": "/ca.pem",
            "UV_PYTHON": "3.9",
            "HOME": "/home/me",
        }
    )
    assert found == {
        "PIP_INDEX_URL": "https://a/simple",
        "PIP_EXTRA_INDEX_URL": "https://b/simple https://c/simple",
        "PIP_FIND_LINKS": "/one /two",
        "PIP_TRUSTED_HOST": "a b",
        "PIP_CERT": "/ca.pem",
        "UV_DEFAULT_INDEX": "https://a/simple",
        "UV_INDEX": "https://b/simple https://c/simple",
        "UV_FIND_LINKS": "/one,/two",
        "UV_INSECURE_HOST": "a b",
        "SSL_CERT_FILE": "/ca.pem",
        "UV_PYTHON_DOWNLOADS": "never",
        "NO_COLOR": "1",
        "HOME": "/home/me",
    }


@pytest.mark.parametrize("name", ["UV_DEFAULT_INDEX", "UV_INDEX_URL"])
def test_uvs_own_settings_go_first(name: str) -> None:
    found = uv_environment({name: "https://uv/simple", "PIP_INDEX_URL": "https://pip/simple"})
    assert found[name] == "https://uv/simple"
    assert "https://pip/simple" not in {value for key, value in found.items() if key.startswith("UV_")}


# --- what its errors mean ---


def meaning(text: str) -> PackagerError:
    return explain(text, platform="linux/arm64", python="3.13", hide="/tmp/packager-lock-x")


def test_no_solution_is_explained_in_uvs_words() -> None:
    error = meaning(
        "error: No solution found when resolving dependencies\n"
        "  cause: Because a==1 depends on b<2 and you require a==1, we can conclude that b<2.\n"
        "         And because you require b>=2, we can conclude that your requirements are unsatisfiable.\n"
    )
    assert isinstance(error, LockError)
    assert error.message.splitlines() == [
        "no packages fit the requirements for Python 3.13 on linux/arm64:",
        "    Because a==1 depends on b<2 and you require a==1, we can conclude that b<2.",
        "    And because you require b>=2, we can conclude that your requirements are unsatisfiable.",
    ]
    assert error.remedy == "change the requirements so that they fit together"


def test_a_long_explanation_is_cut() -> None:
    lines = [f"         And because {number}" for number in range(30)]
    error = meaning("error: No solution found when resolving dependencies\n  cause: Because x\n" + "\n".join(lines))
    assert len(error.message.splitlines()) == 1 + MAX_LINES
    assert error.message.endswith("… (20 more lines)")


def test_a_missing_wheel_names_the_package_and_the_way_out() -> None:
    error = meaning(
        "error: No solution found when resolving dependencies\n"
        "  cause: Because docopt==0.6.2 has no usable wheels and you require docopt==0.6.2, we can conclude…\n\n"
        "hint: Wheels are required for `docopt` because building from source is disabled for all packages "
        "(i.e., with `--no-build`)\n"
    )
    assert isinstance(error, LockError)
    assert "`build_from_source: [docopt]`" in str(error.remedy)
    assert "--no-build" not in str(error)


def test_an_unknown_package() -> None:
    error = meaning("error: No solution found\n  cause: Because nmpy was not found in the package registry and …\n")
    assert isinstance(error, LockError)
    assert "spelling of nmpy" in str(error.remedy)


@pytest.mark.parametrize(
    "text",
    [
        "error: Request failed after 3 retries in 7.2s\n  cause: Failed to fetch: http://h/six/\n"
        "  cause: client error (Connect)\n  cause: tcp connect error\n  cause: Connection refused (os error 111)",
        "error: Failed to fetch: http://h/six/\n  cause: client error (Connect)\n  cause: dns error",
        "error: Failed to fetch: http://h/six/\n  cause: operation timed out",
        "error: Failed to fetch: http://h/six/\n  cause: HTTP status server error (503 Service Unavailable) for url",
        "error: Failed to fetch: http://h/six/\n  cause: HTTP status client error (429 Too Many Requests) for url",
    ],
)
def test_no_network_is_temporary(text: str) -> None:
    error = meaning(text)
    assert isinstance(error, TemporaryError)
    assert "--offline" in str(error.remedy)


def test_an_untrusted_certificate_is_not_temporary() -> None:
    error = meaning(
        "error: Failed to fetch: https://h/six/\n  cause: client error (Connect)\n"
        "  cause: invalid peer certificate: UnknownIssuer"
    )
    assert isinstance(error, LockError)
    assert "SSL_CERT_FILE" in str(error.remedy)


@pytest.mark.parametrize(
    "text",
    [
        "error: No solution found\n  cause: Because six was not found in the package registry\n\n"
        "hint: An index URL (http://h/simple) could not be queried due to a lack of valid authentication credentials "
        "(401 Unauthorized)",
        "error: No solution found\n  cause: Because six was not found in the package registry\n\n"
        "hint: An index (http://h/simple) returned a 403 Forbidden error. Check that …",
        "error: Failed to fetch: http://h/six/\n  cause: HTTP status client error (403 Forbidden) for url",
    ],
)
def test_refused_credentials(text: str) -> None:
    error = meaning(text)
    assert isinstance(error, LockError)
    assert "credentials" in error.message
    assert "UV_DEFAULT_INDEX" in str(error.remedy)


def test_offline_names_what_the_cache_lacks() -> None:
    hint = "\n\nhint: Packages were unavailable because the network was disabled. When …"
    error = meaning("error: No solution found\n  cause: Because idna was not found in the cache and you require" + hint)
    assert isinstance(error, LockError)
    assert error.message == "uv cannot solve offline for Python 3.13 on linux/arm64; not in its cache: idna"
    error = meaning("error: No solution found\n  cause: Because six==1.15.0 needs to be downloaded from a reg" + hint)
    assert "not in its cache: six" in error.message
    error = meaning(
        "error: Network connectivity is disabled, but the requested data wasn't found in the cache for: "
        "`https://u:p@h/six-1-py3-none-any.whl.metadata`"
    )
    assert "not in its cache: six-1-py3-none-any.whl.metadata" in error.message
    assert "--offline" not in str(error.remedy)


def test_a_failed_build() -> None:
    error = meaning("error: Failed to build `numpy==1.19.0`\n  cause: The build backend returned an error")
    assert isinstance(error, LockError)
    assert error.message.startswith("numpy==1.19.0 cannot be built from source for Python 3.13 on linux/arm64")


def test_anything_else_is_shown() -> None:
    error = meaning("error: Failed to parse: /tmp/packager-lock-x/uv.toml\n  cause: oops")
    assert error.message == "uv failed for Python 3.13 on linux/arm64:\n    Failed to parse: uv.toml\n    oops"


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("at https://bob:hunter2@h/simple and", "at https://***@h/simple and"),
        ("http://hunter2@h", "http://***@h"),
        ("https://a:p@ss@h/x", "https://***@h/x"),
        ("https://h/a@b", "https://h/a@b"),
    ],
)
def test_credentials_of_urls_are_not_repeated(text: str, redacted: str) -> None:
    assert redact(text) == redacted
    assert "hunter2" not in str(meaning(f"error: {text}"))


# --- the process ---


def program(folder: Path, script: str) -> None:
    path = folder / "uv"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def fake_uv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose program `uv` is run in place of the real one."""
    monkeypatch.setattr("uv.find_uv_bin", lambda: str(tmp_path / "uv"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    return tmp_path


def test_files_arguments_and_preferences_reach_uv(fake_uv: Path) -> None:
    program(
        fake_uv,
        f'pwd > "{fake_uv}/cwd"; cp "$3" "{fake_uv}/requirements"; cp "$5" "{fake_uv}/constraints"\n'
        f'cp "$7" "{fake_uv}/preferences"; echo "$@" > "{fake_uv}/args"\n'
        f"cat > \"$7\" <<'E'\n{pylock(wheels('six', '1', ('six-1-py3-none-any.whl', A)))}\nE\n",
    )
    root = fake_uv / "root"
    root.mkdir()
    preferences = (
        f"six==0.9 \\\n    --hash=sha256:{B}\narm==1 ; platform_machine == 'aarch64' \\\n  --hash=sha256:{B}\n"
    )
    solver = UvSolver(root, {**os.environ, "PIP_NO_INDEX": "1"})
    solved = solver.solve(REQUEST, "linux/amd64", preferences, Upgrade(all=True), True)
    assert solved == (LockedPackage(name="six", version="1", digests=(A,)),)
    assert (fake_uv / "cwd").read_text() == f"{root}\n", "uv.toml is looked for from the folder of the spec"
    assert (fake_uv / "requirements").read_text() == "numpy\nsix<2\n"
    assert (fake_uv / "constraints").read_text() == "idna<4\n"
    assert 'name = "six"\nversion = "0.9"' in (fake_uv / "preferences").read_text()
    assert "arm" not in (fake_uv / "preferences").read_text(), "versions of another platform say nothing"
    assert (fake_uv / "args").read_text().endswith("--upgrade --offline --no-index\n")
    assert list((fake_uv / "tmp").iterdir()) == []


@pytest.mark.parametrize("preferences", [None, "", "<<<<<<< ours\n"])
def test_without_usable_preferences_uv_gets_none(fake_uv: Path, preferences: str | None) -> None:
    program(fake_uv, f'test ! -e "$7" || exit 9\ncat > "$7" <<\'E\'\n{pylock()}\nE\n')
    assert UvSolver(fake_uv).solve(REQUEST, "linux/amd64", preferences, Upgrade(), False) == ()


def test_a_failure_is_explained_and_leaves_nothing(fake_uv: Path) -> None:
    program(fake_uv, "echo 'error: No solution found' >&2; echo '  cause: Because of rain' >&2; exit 1")
    with pytest.raises(LockError, match="Because of rain"):
        UvSolver(fake_uv).solve(REQUEST, "linux/amd64", None, Upgrade(), False)
    assert list((fake_uv / "tmp").iterdir()) == []


def test_a_killed_uv_is_named(fake_uv: Path) -> None:
    program(fake_uv, "kill -9 $$")
    with pytest.raises(PackagerError, match="ended by SIGKILL"):
        UvSolver(fake_uv).solve(REQUEST, "linux/amd64", None, Upgrade(), False)


def test_stop_ends_uv_and_what_it_started(fake_uv: Path) -> None:
    program(fake_uv, f'sleep 60 & echo $! > "{fake_uv}/pid.new"; mv "{fake_uv}/pid.new" "{fake_uv}/pid"; wait')
    solver = UvSolver(fake_uv)
    assert isinstance(solver, Stoppable)
    failed: list[PackagerError] = []

    def work() -> None:
        try:
            solver.solve(REQUEST, "linux/amd64", None, Upgrade(), False)
        except PackagerError as error:
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    while not (fake_uv / "pid").exists():
        time.sleep(0.01)
    solver.stop()
    thread.join(timeout=10)
    assert not thread.is_alive()
    assert len(failed) == 1
    assert list((fake_uv / "tmp").iterdir()) == []
    assert gone(int((fake_uv / "pid").read_text()))
    with pytest.raises(LockError, match="stopped"):
        solver.solve(REQUEST, "linux/amd64", None, Upgrade(), False)


def gone(pid: int) -> bool:
    """Whether a process ends within two seconds; one that only waits to be reaped has ended."""
    for _ in range(200):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.01)
    return False


def test_a_missing_uv(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def missing() -> str:
        raise FileNotFoundError("uv")

    monkeypatch.setattr("uv.find_uv_bin", missing)
    with pytest.raises(PackagerError, match="uv is not there") as caught:
        UvSolver(tmp_path).solve(REQUEST, "linux/amd64", None, Upgrade(), False)
    assert "pip install uv" in str(caught.value.remedy)
