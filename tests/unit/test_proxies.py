"""Which proxy a request goes through."""

from __future__ import annotations

import pytest

from packager.proxies import host_of, is_loopback, proxy_for

PROXY = "http://bob:pw@proxy.example.com:3128"


def through(url: str, **environ: str) -> str | None:
    found = proxy_for(url, environ)
    return None if found is None else found.variable


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST", "localhost.", "127.0.0.1", "127.9.9.9", "[::1]", "[0:0:0:0:0:0:0:1]"],
)
@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
def test_this_machine_is_asked_directly(host: str, variable: str) -> None:
    assert through(f"http://{host}:5000/v2/", **{variable: PROXY}) is None
    assert through("http://registry.example.com/v2/", **{variable: PROXY}) == variable


@pytest.mark.parametrize(
    ("environ", "plain", "secure"),
    [
        ({"HTTP_PROXY": PROXY}, "HTTP_PROXY", None),
        ({"HTTPS_PROXY": PROXY}, None, "HTTPS_PROXY"),
        ({"HTTP_PROXY": PROXY, "ALL_PROXY": "socks5://x"}, "HTTP_PROXY", "ALL_PROXY"),
        ({"HTTP_PROXY": PROXY, "http_proxy": PROXY}, "http_proxy", None),
        ({"HTTP_PROXY": PROXY, "http_proxy": ""}, "HTTP_PROXY", None),
        ({"HTTP_PROXY": PROXY, "REQUEST_METHOD": "GET"}, None, None),
        ({}, None, None),
    ],
)
def test_the_variable_of_the_scheme(environ: dict[str, str], plain: str | None, secure: str | None) -> None:
    assert through("http://registry.example.com/", **environ) == plain
    assert through("https://registry.example.com/", **environ) == secure


@pytest.mark.parametrize(
    ("entry", "url", "direct"),
    [
        ("registry.lan:5000", "http://registry.lan:5000/", True),
        ("registry.lan:5000", "http://registry.lan:5001/", False),
        ("registry.lan:443", "https://registry.lan/", True),
        ("registry.lan:443", "http://registry.lan/", False),
        ("10.0.0.7:5000", "http://10.0.0.7:5000/", True),
        ("10.0.0.7:5000", "http://10.0.0.7:80/", False),
        ("10.0.0.7", "http://10.0.0.7:5000/", True),
        ("10.0.0.0/8", "http://10.1.2.3:5000/", True),
        ("10.0.0.0/8", "http://11.1.2.3:5000/", False),
        ("10.0.0.0/99", "http://10.1.2.3:5000/", False),
        ("[fd00::7]:5000", "http://[fd00::7]:5000/", True),
        ("[fd00::7]:5000", "http://[fd00::7]:5001/", False),
        ("fd00::7", "http://[fd00:0::7]:5000/", True),
        ("lan", "http://registry.lan/", True),
        ("LAN", "http://registry.lan/", True),
        (".lan", "http://registry.lan/", True),
        ("*.lan", "http://registry.lan/", True),
        (".registry.lan", "http://registry.lan/", False),
        ("istry.lan", "http://registry.lan/", False),
        ("a.example, registry.lan", "http://registry.lan/", True),
        ("*", "http://registry.lan/", True),
        ("", "http://registry.lan/", False),
        (",:,/", "http://registry.lan/", False),
    ],
)
def test_what_no_proxy_leaves_out(entry: str, url: str, direct: bool) -> None:
    environ = {"HTTP_PROXY": PROXY, "HTTPS_PROXY": PROXY}
    for name in ("NO_PROXY", "no_proxy"):
        assert (proxy_for(url, {**environ, name: entry}) is None) is direct


def test_a_proxy_without_a_scheme_speaks_http() -> None:
    found = proxy_for("http://registry.lan/", {"http_proxy": "proxy.lan:3128"})
    assert found is not None
    assert found.url == "http://proxy.lan:3128"


def test_the_password_of_a_proxy_is_not_shown() -> None:
    assert "pw" not in repr(proxy_for("http://registry.lan/", {"http_proxy": PROXY}))


@pytest.mark.parametrize("url", ["http://[::1/x", "http://registry.lan:x/"])
def test_what_is_no_url_has_no_proxy(url: str) -> None:
    assert proxy_for(url, {"http_proxy": PROXY}) is None


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://bob:pw@Reg.example.com:5000/x", "reg.example.com"),
        ("http://[::1]:5000", "::1"),
        ("http://[::1/x", ""),
        ("http://[zz]/", ""),
        ("", ""),
    ],
)
def test_hosts(url: str, host: str) -> None:
    assert host_of(url) == host


@pytest.mark.parametrize(("name", "own"), [("localhost.example.com", False), ("128.0.0.1", False), ("::2", False)])
def test_other_machines_are_not_this_one(name: str, own: bool) -> None:
    assert is_loopback(name) is own
