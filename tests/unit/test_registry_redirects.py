"""Where a redirect of a registry is followed to."""

from __future__ import annotations

import pytest

from packager.errors import RegistryError
from packager.registry.redirects import next_place, place

READS = ("GET", "HEAD")
WRITES = ("POST", "PUT", "PATCH", "DELETE")
HERE = "https://reg.example.com/v2/x/blobs/y?z=1"


@pytest.mark.parametrize("method", READS)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("https://store.example.com/y?sig=1", "https://store.example.com/y?sig=1"),
        ("/other", "https://reg.example.com/other"),
        ("//store.example.com/y", "https://store.example.com/y"),
        ("http://reg.example.com/other", "https://reg.example.com/other"),
    ],
)
def test_what_reads_goes_elsewhere(method: str, status: int, location: str, target: str) -> None:
    assert next_place(method, HERE, status, location) == target


@pytest.mark.parametrize("method", [*READS, *WRITES])
@pytest.mark.parametrize(
    "location", ["http://store.example.com/y", "http://reg.example.com:80/y", "HTTP://127.0.0.1/y"]
)
def test_nothing_goes_from_tls_to_a_place_without(method: str, location: str) -> None:
    with pytest.raises(RegistryError, match="from TLS"):
        next_place(method, HERE, 307, location)


@pytest.mark.parametrize("method", [*READS, *WRITES])
@pytest.mark.parametrize(
    "location", ["http://[::1/x", "ftp://store.example.com/y", "http://", "https://a:b/", "file:///x"]
)
def test_what_is_no_place(method: str, location: str) -> None:
    with pytest.raises(RegistryError, match="no address of HTTP"):
        next_place(method, HERE, 307, location)


@pytest.mark.parametrize("method", WRITES)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("location", ["https://store.example.com/y", "https://reg.example.com:8443/y"])
def test_what_writes_stays(method: str, status: int, location: str) -> None:
    with pytest.raises(RegistryError, match="nothing is written there"):
        next_place(method, HERE, status, location)


@pytest.mark.parametrize("method", WRITES)
def test_what_writes_is_sent_again_to_the_same_host(method: str) -> None:
    assert next_place(method, HERE, 307, "/v2/x/") == "https://reg.example.com/v2/x/"
    assert next_place(method, HERE, 308, "https://reg.example.com:443/y") == "https://reg.example.com:443/y"
    assert (
        next_place(method, "http://reg.example.com/x", 308, "https://reg.example.com/x") == "https://reg.example.com/x"
    )
    for status in (301, 302, 303):
        with pytest.raises(RegistryError):
            next_place(method, HERE, status, "/v2/x/")


@pytest.mark.parametrize(("status", "location"), [(200, "/x"), (201, "/x"), (304, "/x"), (401, "/x"), (307, None)])
def test_other_answers_are_no_redirects(status: int, location: str | None) -> None:
    assert next_place("GET", HERE, status, location) is None


def test_places() -> None:
    assert (
        place("HTTPS://Reg.example.com/x") == place("https://reg.example.com:443") == ("https", "reg.example.com", 443)
    )
    assert place("http://[::1]:5000/") == ("http", "::1", 5000)
