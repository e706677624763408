"""What the start leaves out: the exporter that nobody configured, and a warning of keys that are in no file."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from packager.programs.image.loading import EXPORTER, LOGGER, load_telemetry

EXPORTER_CODE = """\
class AzureMonitorLogExporter:
    def __init__(self, **named): self.named = named
class AzureMonitorTraceExporter(AzureMonitorLogExporter): pass
class Other: pass
"""
CLIENT = f"""\
import logging
from {EXPORTER} import AzureMonitorLogExporter, AzureMonitorTraceExporter
log = logging.getLogger("{LOGGER}")
for keys in (["PACKAGED"], ["PACKAGED", "of_a_file"]):
    log.warning(f"Found extra keys in the config file that are not supported by the server.\\nExtra keys = {{keys}}")
log.warning("Found nothing")
def start(): return AzureMonitorTraceExporter(connection_string="x")
"""


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    package = tmp_path.joinpath(*EXPORTER.split("."))
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(EXPORTER_CODE)
    (tmp_path / "a_client.py").write_text(CLIENT)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PACKAGED", "1")
    before = set(sys.modules)
    yield "a_client"
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_the_exporter_is_loaded_by_whoever_uses_it(client: str) -> None:
    load_telemetry(client)
    assert EXPORTER not in sys.modules
    started = sys.modules[client].start()
    assert type(started) is sys.modules[EXPORTER].AzureMonitorTraceExporter
    assert started.named == {"connection_string": "x"}


def test_a_script_gets_the_exporter_itself(client: str) -> None:
    load_telemetry(client)
    found: dict[str, object] = {}
    exec(f"from {EXPORTER} import AzureMonitorLogExporter, Other", found)
    assert found["AzureMonitorLogExporter"] is sys.modules[EXPORTER].AzureMonitorLogExporter
    assert isinstance(found["AzureMonitorLogExporter"], type)


@pytest.mark.parametrize("code", [f"from {EXPORTER} import Other", "import no_such_module", "1 / 0"])
def test_a_server_that_imports_something_else_loads_as_ever(client: str, tmp_path: Path, code: str) -> None:
    (tmp_path / "a_client.py").write_text(code)
    load_telemetry(client)
    assert not {EXPORTER, client} & set(sys.modules)


def test_a_warning_of_keys_that_are_variables_is_not_said(client: str, caplog: pytest.LogCaptureFixture) -> None:
    load_telemetry(client)
    said = [each.getMessage() for each in caplog.records]
    assert len(said) == 2
    assert said[0].endswith("['PACKAGED', 'of_a_file']")
    assert said[1] == "Found nothing"
    assert not logging.getLogger(LOGGER).filters
