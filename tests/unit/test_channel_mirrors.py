"""Mirrors of channels, as the machine and the spec name them."""

from __future__ import annotations

import pytest

from packager.environments.channel_credentials import redact, without_credentials
from packager.environments.channel_mirrors import check_mirrors, is_below, parse_channel_mirrors, urls_to_fetch
from packager.errors import UsageError


def test_mirrors_of_the_machine() -> None:
    text = " conda-forge=https://m.example.com/cf , https://a.example.com/x=http://127.0.0.1:8000/x,"
    assert parse_channel_mirrors(text) == {
        "conda-forge": "https://m.example.com/cf",
        "https://a.example.com/x": "http://127.0.0.1:8000/x",
    }
    assert parse_channel_mirrors("") == {}


def test_a_mirror_whose_credentials_are_variables() -> None:
    for url in ("https://$NAME:${TOKEN}@m.example.com/cf", "https://m.example.com/t/$TOKEN/cf"):
        assert parse_channel_mirrors(f"conda-forge={url}") == {"conda-forge": url}
        assert redact(url) == url
        assert without_credentials(url) == "https://m.example.com/cf"


@pytest.mark.parametrize("text", ["conda-forge", "=https://x.example.com", "a=b", "a=file:///x", "a=https://x y"])
def test_mirrors_that_are_none(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_channel_mirrors(text)
    assert "PACKAGER_CHANNEL_MIRROR" in caught.value.message
    assert caught.value.remedy


def test_a_mirror_of_the_spec_names_its_place() -> None:
    with pytest.raises(UsageError, match=r"conda\.channel_mirrors"):
        check_mirrors({"a": "oci://x"}, source="conda.channel_mirrors")


@pytest.mark.parametrize(
    "url",
    [
        "https://bob:hunter2@m.example.com/a",
        "https://m.example.com/t/hunter2/a",
        "https://$NAME:hunter2@m.example.com/a",
        "https://m.example.com/t/$A-hunter2/a",
    ],
)
def test_a_mirror_with_credentials(url: str) -> None:
    with pytest.raises(UsageError, match="holds credentials") as caught:
        parse_channel_mirrors(f"a={url}")
    assert "hunter2" not in str(caught.value)


def test_what_is_fetched_from() -> None:
    mirrors = {"https://a.example.com/x/": "https://m.example.com/x", "other": "https://m.example.com/other"}
    channels = ["https://bob:pw@a.example.com/x/label/rc", "https://a.example.com/xy", "conda-forge"]
    assert urls_to_fetch(channels, mirrors) == (
        "https://a.example.com/xy",
        "conda-forge",
        "https://m.example.com/x",
        "https://m.example.com/other",
    )


@pytest.mark.parametrize(
    ("channel", "below"),
    [("https://a/x", True), ("https://a/x/y", True), ("https://a/xy", False), ("https://a", False)],
)
def test_what_a_start_names(channel: str, below: bool) -> None:
    assert is_below("https://a/x/", channel) is below
