from __future__ import annotations

import secrets
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# A busy machine is no defect: nothing here is about time.
settings.register_profile("packager", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("packager")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite what tests/golden expects")
    parser.addoption("--all", action="store_true", help="run what takes minutes and seldom changes, too (marker long)")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put what waits for engines and networks first, and leave out what takes minutes, unless it is asked for.

    A whole run is to end within twenty of them, and it ends when the last file does, which had better be a short one.
    """
    items.sort(key=lambda item: "integration" not in item.path.parts)
    long = [] if config.getoption("--all") else [item for item in items if item.get_closest_marker("long")]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test has a store of its own, and no setting of the machine that changes results."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
    # Not made before something is registered, and nobody else's.
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path_factory.getbasetemp() / f"data-{secrets.token_hex(4)}"))
    for name in ("PACKAGER_CHANNEL_MIRROR", "PACKAGER_REGISTRY_MIRROR", "PACKAGER_WORKSPACE", "SOURCE_DATE_EPOCH"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def checkout() -> Path:
    return Path(__file__).parents[1]
