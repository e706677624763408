"""pylock.toml, as uv writes it and as it is told what was locked before."""

from __future__ import annotations

import pytest

from packager.environments.lock import LockedPackage
from packager.environments.solve.pylock import format_preferences, parse_pylock
from packager.errors import LockError

A, B, C = "a" * 64, "b" * 64, "c" * 64
AMD = "x86_64-manylinux_2_28"


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
    assert format_preferences({"six": "1.17.0"}) == (
        'lock-version = "1.0"\ncreated-by = "packager"\n\n[[packages]]\nname = "six"\nversion = "1.17.0"\n'
    )
