"""What rattler says, in the user's words, with the exit code that belongs to it. Texts are rattler's own."""

from __future__ import annotations

from typing import Any

import pytest

from packager.environments.solve.conda_errors import explain
from packager.errors import LockError, PackagerError, SpecError, TemporaryError

AMD = "linux/amd64"
VIRTUAL = {AMD: {"__glibc": "2.41", "__archspec": "1=x86_64"}}
GLIBC = """\
Cannot solve the request because of: needs-newer-glibc * cannot be installed because there are no viable options:
└─ needs-newer-glibc 1.0 would require
   └─ __glibc >=2.99, for which no candidates were found.
"""


def of(kind: str, message: str = "", **more: Any) -> PackagerError:
    return explain({"kind": kind, "message": message, **more}, VIRTUAL)


def unsolvable(message: str, **elsewhere: list[str]) -> PackagerError:
    return of("unsolvable", message, platform=AMD, elsewhere=elsewhere)


def test_the_solvers_reason() -> None:
    error = unsolvable(GLIBC)
    assert isinstance(error, LockError)
    assert error.message == (
        "no conda packages fit the requirements for linux/amd64:\n"
        "    needs-newer-glibc * cannot be installed because there are no viable options:\n"
        "    └─ needs-newer-glibc 1.0 would require\n"
        "       └─ __glibc >=2.99, for which no candidates were found."
    )
    assert error.remedy
    assert "promises __glibc 2.41" in error.remedy
    assert "{virtual_packages: {__glibc: VERSION}}" in error.remedy


@pytest.mark.parametrize(
    ("message", "remedy"),
    [
        (GLIBC.replace("__glibc >=2.99", "__cuda >=12"), "promises no __cuda"),
        (GLIBC.replace(">=2.99", ">=2.99,<3.0.a0"), "promises __glibc 2.41"),
        ("Cannot solve the request because of: No candidates were found for nmpy *.\n", "the version of 'nmpy'"),
        ("No candidates were found for numpy >=9.\n", "of 'numpy >=9'"),
        ("└─ a 3.0 is excluded because due to strict channel priority not using this option from: 'x'", "flexible"),
        ("The following packages are incompatible", "fit together"),
    ],
)
def test_what_to_do(message: str, remedy: str) -> None:
    assert remedy in str(unsolvable(message).remedy)


def test_a_package_of_another_platform_names_both() -> None:
    error = unsolvable("No candidates were found for mine *.", mine=["linux-aarch64", "osx-arm64"])
    said = "mine is not there for linux/amd64 (linux-64), only for linux/arm64 (linux-aarch64), osx-arm64"
    assert said in error.message
    assert error.exit_code == 3


def test_long_reasons_are_shortened() -> None:
    lines = unsolvable("\n".join(f"line {number}" for number in range(40))).message.splitlines()
    assert len(lines) == 16
    assert lines[-1] == "    … (26 more lines)"


URL = "http://127.0.0.1:1/forge/noarch/repodata.json.zst"


@pytest.mark.parametrize(
    ("message", "kind", "said"),
    [
        ("no usable repodata cache for http://127.0.0.1:1/forge/linux-64/", LockError, "offline"),
        (f"HTTP status client error (401 Unauthorized) for url ({URL})", LockError, "status 401"),
        (f"HTTP status client error (403 Forbidden) for url ({URL})", LockError, "status 403"),
        (
            "could not find subdir 'noarch' in channel 'http://127.0.0.1:1/forge/'\n"
            f"Caused by: HTTP status client error (404 File not found) for url ({URL})",
            LockError,
            "there is no channel http://127.0.0.1:1/forge, or",
        ),
        (f"HTTP status server error (503 Service Unavailable) for url ({URL})", TemporaryError, "does not answer"),
        (
            f"Request failed after 3 retries\nerror sending request for url ({URL})\nCaused by: tcp connect error\n"
            "Caused by: Connection refused (os error 111)",
            TemporaryError,
            "    Connection refused (os error 111)",
        ),
        (f"error sending request for url ({URL})\nCaused by: invalid peer certificate", LockError, "trusted"),
        (f"failed to parse {URL}: expected value at line 503 column 401", LockError, "cannot be read"),
    ],
)
def test_channels_that_fail(message: str, kind: type[PackagerError], said: str) -> None:
    error = of("channel", message)
    assert type(error) is kind
    assert said in error.message
    assert "http://127.0.0.1:1/forge" in error.message
    assert error.remedy


def test_an_index_that_rattler_does_not_name() -> None:
    error = of("channel", "expected value at line 1", channels=["https://a:b@x.example.com/f", "other"])
    assert "the index of the channel https://***@x.example.com/f or other cannot be read" in error.message


def test_where_credentials_go_is_said() -> None:
    assert "RATTLER_AUTH_FILE" in str(of("channel", "HTTP status client error (401 Unauthorized)").remedy)


def test_nothing_secret_is_repeated() -> None:
    url = "https://bob:hunter2@h.example.com/t/tok-123/forge/noarch/repodata.json"
    for error in (
        of("channel", f"HTTP status client error (401 Unauthorized) for url ({url})"),
        of("channel", f"HTTP status server error (500) for url ({url})"),
        of("hash", "sha256 is …", package="x", url=url),
        of("spec", "no", spec=f"{url}::x"),
        of("name", "no", channel=url),
    ):
        assert "hunter2" not in str(error)
        assert "tok-123" not in str(error)
        assert "h.example.com" in str(error)


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (of("spec", "missing range", spec="python 3.12"), SpecError, "'python 3.12' is not a requirement of conda"),
        (of("name", "invalid", channel="a b"), SpecError, "'a b' is not a channel"),
        (of("hash", "sha256 is a, its channel says b", package="x", url="u"), LockError, "the package x is not what"),
        (of("undigested", "", package="x", url="u"), LockError, "no sha256 of x"),
        (of("unheard-of", "oh"), PackagerError, "failed: oh"),
    ],
)
def test_other_kinds(error: PackagerError, kind: type[PackagerError], said: str) -> None:
    assert type(error) is kind
    assert said in error.message
