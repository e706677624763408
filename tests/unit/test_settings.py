from __future__ import annotations

from pathlib import Path

import pytest

from packager.errors import PackagerError
from packager.steps.settings import cache_limit, read_settings, settings_file


def test_where_the_file_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert settings_file({}) == settings_file({"XDG_CONFIG_HOME": "x"}) == Path("/home/me/.config/packager/config.yaml")
    assert settings_file({"XDG_CONFIG_HOME": "/c"}) == Path("/c/packager/config.yaml")


def test_the_limit_of_the_cache(tmp_path: Path) -> None:
    environ = {"XDG_CONFIG_HOME": str(tmp_path)}
    assert cache_limit(environ) is None
    (tmp_path / "packager").mkdir()
    file = tmp_path / "packager/config.yaml"
    file.write_text("cache_limit: 20GB\n")
    assert cache_limit(environ) == 20 * 10**9
    file.write_text("cache_limit: 5000\n")
    assert cache_limit(environ) == 5000
    assert cache_limit({**environ, "PACKAGER_CACHE_LIMIT": "1MB"}) == 10**6
    assert cache_limit({**environ, "PACKAGER_CACHE_LIMIT": ""}) == 5000


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cache_limit: much\n", "is no size"),
        ("cache_limt: 20GB\n", "cache_limt"),
        ("cache_limit: [1]\n", "cache_limit"),
        ("cache_limit: {\n", "not valid YAML"),
        ("20GB\n", "not a mapping"),
    ],
)
def test_a_file_with_something_else(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "packager").mkdir()
    (tmp_path / "packager/config.yaml").write_text(text)
    with pytest.raises(PackagerError, match=said) as caught:
        cache_limit({"XDG_CONFIG_HOME": str(tmp_path)})
    assert "config.yaml" in str(caught.value)


def test_no_file_sets_nothing(tmp_path: Path) -> None:
    assert read_settings(tmp_path / "none").cache_limit is None
