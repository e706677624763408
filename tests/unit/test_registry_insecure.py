"""Registries that may be spoken to without TLS."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from packager.errors import UsageError
from packager.registry.insecure import may_be_plain, named_insecure


def plain(host: str, named: str = "", home: str = "/nowhere") -> bool:
    return may_be_plain(host, {"PACKAGER_INSECURE_REGISTRY": named, "HOME": home})


@pytest.mark.parametrize(
    ("named", "host", "expected"),
    [
        ("registry.lan:5000", "registry.lan:5000", True),
        ("Registry.lan:5000", "registry.LAN:5000", True),
        ("a.lan, registry.lan:5000", "registry.lan:5000", True),
        ("registry.lan", "registry.lan", True),
        ("registry.lan", "registry.lan:5000", False),
        ("registry.lan:5000", "registry.lan", False),
        ("istry.lan", "registry.lan", False),
        ("10.0.0.0/8", "10.1.2.3:5000", True),
        ("10.0.0.0/8", "11.1.2.3:5000", False),
        ("10.0.0.0/8", "registry.lan", False),
        ("fd00::/8", "[fd00::1]:5000", True),
        ("10.0.0.7:5000", "10.0.0.7:5000", True),
        ("", "registry.lan", False),
        ("", "127.0.0.1:5000", True),
    ],
)
def test_who_is_named(named: str, host: str, expected: bool) -> None:
    assert plain(host, named) is expected


@pytest.mark.parametrize("named", ["http://registry.lan", "registry.lan/x", "10.0.0.0/99", "a_b", "lan", "a:b"])
def test_what_is_no_registry(named: str) -> None:
    with pytest.raises(UsageError, match="is no registry"):
        named_insecure(named)


def test_the_setting_of_the_users_own_engine(tmp_path: Path) -> None:
    (tmp_path / ".config/docker").mkdir(parents=True)
    file = tmp_path / ".config/docker/daemon.json"
    file.write_text(json.dumps({"insecure-registries": ["registry.lan:5000", 3]}))
    assert plain("registry.lan:5000", home=str(tmp_path))
    assert not plain("other.lan:5000", home=str(tmp_path))
    for broken in ("{", "[]", '{"insecure-registries": "registry.lan:5000"}'):
        file.write_text(broken)
        assert not plain("registry.lan:5000", home=str(tmp_path))
