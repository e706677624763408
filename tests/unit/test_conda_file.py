"""The text of a conda-lock file: what is written is read again, and what was edited is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from packager.environments.conda import SUBDIRS, CondaPackage
from packager.environments.locks.conda_file import (
    HEADER,
    conda_lock_path,
    format_conda_lock,
    normal_depends,
    parse_conda_lock,
)
from packager.errors import LockError
from packager.given import find_conflict

AMD, ARM = "linux/amd64", "linux/arm64"
HASHES = {"linux-64": "1" * 64, "linux-aarch64": "2" * 64}
CHANNELS = ["https://conda.example.com/forge", "conda-forge"]


def package(name: str = "numpy", platform: str = AMD, subdir: str = "", **more: Any) -> CondaPackage:
    subdir = subdir or SUBDIRS[platform]
    values: dict[str, Any] = {
        "name": name,
        "version": "2.3.1",
        "build": "py313h5f3_0",
        "platform": platform,
        "url": f"https://conda.example.com/forge/{subdir}/{name}-2.3.1-py313h5f3_0.conda",
        "sha256": "a" * 64,
        "md5": "b" * 32,
        "depends": ("__glibc >=2.17,<3.0.a0", "python >=3.13,<3.14.0a0", "python_abi 3.13.* *_cp313"),
        **more,
    }
    return CondaPackage(**values)


def text_of(*packages: CondaPackage, **more: Any) -> str:
    return format_conda_lock(packages, **{"channels": CHANNELS, "content_hashes": HASHES, **more})


TEXT = f"""\
{HEADER}version: 1
metadata:
  content_hash:
    linux-64: '1111111111111111111111111111111111111111111111111111111111111111'
    linux-aarch64: '2222222222222222222222222222222222222222222222222222222222222222'
  channels:
  - url: https://conda.example.com/forge
    used_env_vars: []
  - url: conda-forge
    used_env_vars: []
  platforms:
  - linux-64
  - linux-aarch64
  sources:
  - ../environment.yml
package:
- name: numpy
  version: 2.3.1
  manager: conda
  platform: linux-64
  dependencies:
    __glibc: '>=2.17,<3.0.a0'
    python: '>=3.13,<3.14.0a0'
    python_abi: 3.13.* *_cp313
  url: https://conda.example.com/forge/linux-64/numpy-2.3.1-py313h5f3_0.conda
  hash:
    md5: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb
    sha256: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
  build: py313h5f3_0
  category: main
  optional: false
"""


def test_the_text() -> None:
    assert text_of(package(), sources=["../environment.yml"]) == TEXT


def test_the_path() -> None:
    assert conda_lock_path("gpu") == "locks/gpu.conda-lock.yml"


def test_packages_are_sorted_and_read_again() -> None:
    mine = [package("zlib"), package("numpy", ARM), package("numpy"), package("six", subdir="noarch", depends=())]
    expected = (mine[2], mine[1], mine[3], mine[0])
    text = text_of(*mine)
    assert parse_conda_lock(text) == expected
    assert text_of(*reversed(mine)) == text


def test_what_yaml_takes_for_something_else_stays_text() -> None:
    mine = package(version="3.10", build="0", depends=("y 1.0", "no", "on *", "x 1e3", "z 2001-01-01"))
    mine = msgspec.structs.replace(mine, url=mine.url.replace("2.3.1-py313h5f3_0", "3.10-0"))
    (found,) = parse_conda_lock(text_of(mine))
    assert found == msgspec.structs.replace(mine, depends=("no", "on *", "x 1e3", "y 1.0", "z 2001-01-01"))


def test_a_package_without_md5() -> None:
    assert "md5" not in text_of(package(md5=""))
    assert parse_conda_lock(text_of(package(md5="")))[0].md5 == ""


def test_what_is_said_of_one_name_is_joined() -> None:
    assert normal_depends(["b >=1", "a", "b <2 *_x", "a *", "c"]) == ("a *", "b >=1,<2 *_x", "c")


def test_a_subdir_that_two_platforms_have_is_led_back_to_the_locked_one() -> None:
    text = text_of(package(platform=ARM))
    assert parse_conda_lock(text)[0].platform == ARM
    assert parse_conda_lock(text, platforms=["linux/arm64/v8"])[0].platform == "linux/arm64/v8"


@pytest.mark.filterwarnings("ignore")  # conda-lock warns of its own parts
def test_conda_locks_own_parser_reads_it(tmp_path: Path) -> None:
    from conda_lock.lockfile import parse_conda_lock_file  # type: ignore[import-untyped]

    path = tmp_path / "cpu.conda-lock.yml"
    path.write_text(text_of(package(), package(platform=ARM), package("six", subdir="noarch")))
    found = parse_conda_lock_file(path)
    assert found.metadata.platforms == ["linux-64", "linux-aarch64"]
    assert [channel.url for channel in found.metadata.channels] == CHANNELS
    assert {(each.name, each.platform, each.hash.sha256) for each in found.package} == {
        ("numpy", "linux-64", "a" * 64),
        ("numpy", "linux-aarch64", "a" * 64),
        ("six", "linux-64", "a" * 64),
    }


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("place", ["${NAME}:${TOKEN}@conda.example.com/forge", "conda.example.com/t/${TOKEN}/forge"])
def test_channels_that_name_variables_are_as_conda_lock_writes_them(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from conda_lock.conda_lock import render_lockfile_for_platform  # type: ignore[import-untyped]
    from conda_lock.lockfile import parse_conda_lock_file
    from conda_lock.models.channel import Channel  # type: ignore[import-untyped]

    channel = f"https://{place}"
    mine = package(url=f"{channel}/linux-64/numpy-2.3.1-py313h5f3_0.conda")
    path = tmp_path / "cpu.conda-lock.yml"
    path.write_text(format_conda_lock([mine], channels=[channel], content_hashes={"linux-64": "a" * 64}))
    assert parse_conda_lock(path.read_text()) == (mine,)
    found = parse_conda_lock_file(path)
    assert found.metadata.channels == [Channel.from_string(channel)]
    monkeypatch.setenv("NAME", "lena")
    monkeypatch.setenv("TOKEN", "tok-1")
    lines = render_lockfile_for_platform(
        lockfile=found, platform="linux-64", kind="explicit", include_dev_dependencies=False, extras=set()
    )
    assert f"{mine.url}#{mine.md5}".replace("${NAME}", "lena").replace("${TOKEN}", "tok-1") in lines


@pytest.mark.parametrize(
    ("before", "after", "field"),
    [
        ("version: 1\n", "version: 2\n", "version"),
        ("version: 1\n", "", None),
        ("manager: conda", "manager: pip", "package[0].manager"),
        ("  version: 2.3.1\n", "  version: 2.3\n", "package[0].version"),
        ("sha256: aaaa", "sha256: AAAA", "package[0].hash.sha256"),
        ("    sha256: " + "a" * 64 + "\n", "", "package[0].hash"),
        ("  optional: false\n", "  optional: false\n  evil: 1\n", "package[0]"),
        ("name: numpy", "name: ../x", "package[0].name"),
        ("name: numpy", "name: -x", "package[0].name"),
        ("url: https://conda.example.com/forge/l", "url: https://a:b@conda.example.com/forge/l", "package[0].url"),
        ("url: https://conda.example.com/forge/l", "url: https://${TOKEN}/forge/l", "package[0].url"),
        ("https://conda.example.com/forge/l", "https://$A:$B@conda.example.com/forge/l", "package[0].url"),
        ("https://conda.example.com/forge/l", "https://conda.example.com/${A}/forge/l", "package[0].url"),
        (".conda\n", ".conda\\n--evil\n", "package[0].url"),
        ("platform: linux-64", "platform: win-64", "package[0]"),
        ("/linux-64/", "/linux-aarch64/", "package[0].url"),
        ("  platforms:\n  - linux-64\n", "  platforms:\n", "package[0]"),
    ],
)
def test_what_packager_does_not_write_is_named(before: str, after: str, field: str | None) -> None:
    assert before in TEXT
    with pytest.raises(LockError) as caught:
        parse_conda_lock(TEXT.replace(before, after, 1), file="locks/cpu.conda-lock.yml")
    assert caught.value.where
    assert (caught.value.where.file, caught.value.where.field) == ("locks/cpu.conda-lock.yml", field)
    assert caught.value.remedy


def test_a_package_twice() -> None:
    with pytest.raises(LockError, match="an entry is not"):
        parse_conda_lock(TEXT + TEXT[TEXT.index("- name: numpy") :])


@pytest.mark.parametrize("text", ["", "[]", "a: [1", "\t", "a: \x01", "[" * 3000, "a: 2001-99-99", "1"])
def test_what_is_no_lock_file_at_all(text: str) -> None:
    with pytest.raises(LockError):
        parse_conda_lock(text)


@pytest.mark.parametrize(("text", "line", "column"), [("version: 1\npackage: ]\n", 2, 10), ("\n\na: [1\n}\n", 4, 1)])
def test_what_is_no_yaml_is_named_with_line_and_column(text: str, line: int, column: int) -> None:
    with pytest.raises(LockError, match="not valid YAML") as caught:
        parse_conda_lock(text)
    assert caught.value.where is not None
    assert (caught.value.where.line, caught.value.where.column) == (line, column)


def test_a_merge_conflict_is_named_with_its_line() -> None:
    text = TEXT.replace("package:\n", "<<<<<<< ours\npackage:\n=======\n>>>>>>> theirs\n")
    with pytest.raises(LockError, match="merge conflict") as caught:
        parse_conda_lock(text)
    assert caught.value.where
    assert caught.value.where.line == text.splitlines().index("<<<<<<< ours") + 1
    assert find_conflict(TEXT) is None


NAMES = st.from_regex(r"[a-z0-9_][a-z0-9_.-]{0,20}", fullmatch=True)
VERSIONS = st.from_regex(r"[0-9][0-9a-z_.!+]{0,10}", fullmatch=True)
BUILDS = st.from_regex(r"[a-z0-9_]{1,12}", fullmatch=True)
DEPENDS = st.dictionaries(NAMES, st.sampled_from(["", ">=1", ">=1,<2.0a0", "3.13.* *_cp313", "1 b", "yes", "null"]))


@st.composite
def packages(draw: st.DrawFn) -> CondaPackage:
    name, version, build = draw(NAMES), draw(VERSIONS), draw(BUILDS)
    platform = draw(st.sampled_from([AMD, ARM]))
    subdir = draw(st.sampled_from([SUBDIRS[platform], "noarch"]))
    suffix = draw(st.sampled_from([".conda", ".tar.bz2"]))
    return CondaPackage(
        name=name,
        version=version,
        build=build,
        platform=platform,
        url=f"https://conda.example.com/forge/{subdir}/{name}-{version}-{build}{suffix}",
        sha256=draw(st.text("0123456789abcdef", min_size=64, max_size=64)),
        md5=draw(st.just("") | st.text("0123456789abcdef", min_size=32, max_size=32)),
        depends=tuple(f"{name} {rest}".rstrip() for name, rest in sorted(draw(DEPENDS).items())),
    )


@given(st.lists(packages(), max_size=4, unique_by=lambda each: (each.name, each.platform)))
def test_all_that_is_written_is_read_again(mine: list[CondaPackage]) -> None:
    text = text_of(*mine)
    assert sorted(parse_conda_lock(text), key=str) == sorted(mine, key=str)
    assert text_of(*parse_conda_lock(text)) == text
    assert yaml.safe_load(text)["version"] == 1


@given(st.text(max_size=200), st.text(st.characters(exclude_categories=("C", "Z")), max_size=40))
def test_any_text_is_read_or_refused(text: str, comment: str) -> None:
    for each in (text, TEXT[:700] + text + TEXT[700:]):
        try:
            found = parse_conda_lock(each)
        except LockError:
            continue
        assert parse_conda_lock(text_of(*found)) is not None, "what was read can be written"
    assert parse_conda_lock(f"{TEXT}# {comment}\n") == parse_conda_lock(TEXT) != ()
