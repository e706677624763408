from __future__ import annotations

import pytest

from packager.errors import UsageError
from packager.units import human_size, parse_age, parse_size, visible


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0), ("500", 500), ("10B", 10), ("20GB", 20 * 10**9), ("20g", 20 * 10**9), ("1.5 MB", 1_500_000),
        ("1kB", 1000), ("2KiB", 2048), ("1 GiB", 2**30), (" 3TB ", 3 * 10**12), ("1Mi", 2**20),
        ("2TiB", 2 * 1_099_511_627_776), ("3 mb", 3_000_000),
    ],
)  # fmt: skip
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text, "x") == size


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "1e9", "10 PB", "1 GB more", "1,5GB", "10GBB", "9" * 400, "1GB\n2"])
def test_no_sizes(text: str) -> None:
    with pytest.raises(UsageError, match=r"--max-size: .* is no size"):
        parse_size(text, "--max-size")


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("12h", 43200), ("7d", 604800), ("2w", 1209600)]
)
def test_times(text: str, seconds: int) -> None:
    assert parse_age(text, "x") == seconds


@pytest.mark.parametrize("text", ["", "7", "d", "7 days", "-1d", "1D"])
def test_no_times(text: str) -> None:
    with pytest.raises(UsageError, match=r"--older-than: .* is no time"):
        parse_age(text, "--older-than")


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (1234, "1.2 kB"), (999_949, "999.9 kB"), (999_950, "1.0 MB"),
        (999_950_000, "1.0 GB"), (20 * 10**9, "20.0 GB"), (10**12, "1.0 TB"), (7_500 * 10**12, "7500.0 TB"),
    ],
)  # fmt: skip
def test_a_size_has_the_unit_that_keeps_it_short(size: int, text: str) -> None:
    assert human_size(size) == text


@pytest.mark.parametrize("size", [0, 999, 1000, 1_300_000, 2 * 10**9, 3 * 10**12])
def test_what_is_shown_can_be_written(size: int) -> None:
    assert parse_size(human_size(size), "x") == size


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("\x9b2J\x7f\x00", "\\x9b2J\\x7f\\x00"),
        ("good\rbad", "good\\rbad"),
        ("\u202egnp.exe\u2028", "\\u202egnp.exe\\u2028"),
        ("caf\udce9", "caf\\udce9"),
        ("two\tcolumns\r\nand ünïcode\n", "two\tcolumns\r\nand ünïcode\n"),
    ],
)
def test_what_a_terminal_would_obey_is_written_out(text: str, shown: str) -> None:
    assert visible(text) == shown
