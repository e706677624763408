"""Shares of requests as values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packager.errors import ServiceError, UsageError
from packager.programs.service import versions as program
from packager.serving.status import StateName, Status, Version
from packager.serving.traffic import (
    VERSION_HEADER,
    address_in,
    combined,
    in_flight,
    parse_shares,
    shares_of,
    table_of,
    taken_over,
    version_name,
    with_share,
    with_version,
)


def test_both_sides_mean_the_same_header() -> None:
    assert program.VERSION_HEADER.decode() == VERSION_HEADER


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("a=90", "b=20"), r"sum to 110 %, not to 100 % \(90 \+ 20\)"),
        (("a=0",), "sum to 0 %"),
        (("a",), "'a' is no share"),
        (("a=1.5", "b=98.5"), "'a=1.5' is no share"),
        (("a=-10", "b=110"), "'a=-10' is no share"),
        (("=100",), "'=100' is no share"),
        (("a=50", "a=50"), "'a' is named twice"),
        ((), "sum to 0 %"),
    ],
)
def test_shares_that_are_none(words: tuple[str, ...], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        parse_shares(words)


def test_shares_in_words() -> None:
    assert parse_shares(["a=90", "b=10%"]) == {"a": 90, "b": 10}
    assert parse_shares(["b=0", "a=100"]) == {"b": 0, "a": 100}


@pytest.mark.parametrize(
    ("before", "version", "share", "after"),
    [
        ({"default": 100}, "b", 10, {"default": 90, "b": 10}),
        ({"default": 100}, "b", 0, {"default": 100, "b": 0}),
        ({"default": 100}, "b", 100, {"default": 0, "b": 100}),
        ({"a": 60, "b": 40}, "c", 10, {"a": 54, "b": 36, "c": 10}),
        ({"a": 50, "b": 50}, "c", 1, {"a": 50, "b": 49, "c": 1}),
        ({"a": 90, "b": 10}, "b", 50, {"a": 50, "b": 50}),
        ({}, "a", 100, {"a": 100}),
        ({"a": 100, "b": 0}, "a", 100, {"a": 100, "b": 0}),
    ],
)
def test_one_gets_another_share_and_the_others_keep_their_proportions(
    before: dict[str, int], version: str, share: int, after: dict[str, int]
) -> None:
    assert with_share(before, version, share) == after
    assert list(after) == list(with_share(before, version, share)), "in the order in which they came"


@given(st.lists(st.integers(0, 100), min_size=1, max_size=6), st.integers(0, 100))
def test_shares_always_sum_to_a_hundred(weights: list[int], share: int) -> None:
    shares = {"a": 100}
    for number, each in enumerate(weights):
        shares = with_share(shares, f"v{number}", min(each, 99))
    shares = with_share(shares, "last", share)
    assert sum(shares.values()) == 100
    assert all(each >= 0 for each in shares.values())
    assert shares["last"] == share


def test_requests_cannot_be_left_to_nobody() -> None:
    with pytest.raises(UsageError, match="a is the only version, and 40 % of the requests leave 60 % to nobody"):
        with_share({}, "a", 40)
    with pytest.raises(UsageError, match="nobody gets the other 1 %"):
        with_share({"a": 0, "b": 100}, "b", 99)
    with pytest.raises(UsageError, match="--traffic 101 is no share"):
        with_share({"a": 100}, "b", 101)


@pytest.mark.parametrize("name", ["", "A", "a_b", "-a", "a b", "x" * 41])
def test_names_of_versions(name: str) -> None:
    with pytest.raises(UsageError, match="cannot be the name of a version"):
        version_name(name, "s")
    assert version_name("b-2", "s") == "b-2"


def test_the_engines_dns_finds_the_longest_names() -> None:
    service, version = "s" * 25, "v" * 20
    assert version_name(version, service) == version
    assert len(f"packager_{service}_{version}_current") == 63
    with pytest.raises(UsageError, match="more than 45 characters together"):
        version_name(version + "v", service)


def test_a_table_is_read_as_it_was_written() -> None:
    table = table_of({"a": 90, "b": 10}, lambda version: f"at-{version}")
    assert shares_of(table) == {"a": 90, "b": 10}
    assert b'"backend": "at-b"' in table
    assert shares_of(table_of({"default": 100}, str)) == {}, "a service with one version is as it was"
    assert shares_of(table_of({"b": 100}, str)) == {"b": 100}
    for broken in (b"", b"{", b"[1]", b'[{"name": "a"}]', b"7"):
        with pytest.raises(ServiceError, match="what is remembered of the versions cannot be read"):
            shares_of(broken)


def test_what_a_forwarder_answers() -> None:
    answer = {
        "address": "1", "addresses": {"a": "1", "b": "2"}, "traffic": {"a": 90, "b": 10},
        "in_flight": {"1": 4, "2": 5, "3": 6},
    }  # fmt: skip
    assert in_flight(answer) == 6, "requests on the versions that are there end where they are"
    assert in_flight({"address": "1", "in_flight": {"1": 4, "2": 5}}) == 5, "a forwarder of an older packager"
    assert (address_in(answer, None), address_in(answer, "b"), address_in({}, "b")) == ("1", "2", None)
    assert taken_over(answer, {"a": 90, "b": 10})
    assert not taken_over(answer, {"a": 10, "b": 90})
    assert taken_over({"traffic": {"": 100}}, {"default": 100})
    assert not taken_over({}, {"default": 100})


def status(state: StateName, image: str = "i", reason: str = "") -> Status:
    return Status(name="s", state=state, reason=reason, image=image, url="http://x/", restarts=1)


@pytest.mark.parametrize(
    ("shares", "states", "state", "reason"),
    [
        ((90, 10), ("Healthy", "Healthy"), "Healthy", ""),
        ((90, 10), ("Healthy", "Failed"), "Failed", "version b: why"),
        ((100, 0), ("Healthy", "Failed"), "Healthy", ""),
        ((0, 100), ("Unhealthy", "Transitioning"), "Transitioning", "version b: why"),
        ((50, 50), ("Stopped", "Failed"), "Stopped", "why"),
    ],
)
def test_a_service_is_as_well_as_the_worst_version_that_gets_requests(
    shares: tuple[int, int], states: tuple[StateName, StateName], state: str, reason: str
) -> None:
    found = {
        name: status(each, name, "" if each == "Healthy" else "why") for name, each in zip("ab", states, strict=True)
    }
    whole = combined("s", dict(zip("ab", shares, strict=True)), found)
    assert (whole.state, whole.reason) == (state, reason)
    assert whole.image == max("ab", key=lambda name: shares["ab".index(name)])
    assert [(each.name, each.traffic, each.state) for each in whole.versions] == list(
        zip("ab", shares, states, strict=True)
    )
    assert whole.restarts == 2


def test_services_that_have_a_version() -> None:
    versions = tuple(Version(name=each, traffic=50, state="Healthy", reason="", image="i") for each in "ab")
    two = Status(name="two", state="Healthy", reason="", image="i", url="", versions=versions)
    assert [
        (each.name, [one.name for one in each.versions]) for each in with_version([status("Healthy"), two], "b")
    ] == [("two", ["b"])]
