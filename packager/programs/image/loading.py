"""What the inference server does at every start and nobody asked for, left out while it is loaded.

It imports Azure Monitor's exporter, and uses it only where telemetry is configured: a quarter of a second, an eighth of
the whole start of a small model. And it warns of unknown keys in its configuration file that are in no file: they are
the image's variables, which it takes for keys of one.
"""

from __future__ import annotations

import importlib
import logging
import os
import re
import sys
from contextlib import contextmanager, suppress
from types import ModuleType
from typing import Any, Callable, Iterator

EXPORTER = "azure.monitor.opentelemetry.exporter"
NAMES = ("AzureMonitorLogExporter", "AzureMonitorTraceExporter")
USER = "azureml_inference_server_http.server.appinsights_client"
LOGGER = "azmlinfsrv"


def load_telemetry(user: str = USER) -> None:
    """Import the server's telemetry, with a stand-in for the exporter whose classes load it when they are called.

    Nothing else sees the stand-in: a script that imports the exporter gets the exporter. Where it fails, as with a
    server that imports more, the server loads all of it, as ever.
    """
    if EXPORTER in sys.modules or user in sys.modules:
        return
    stand_in = ModuleType(EXPORTER)
    for name in NAMES:
        setattr(stand_in, name, _later(name))
    sys.modules[EXPORTER] = stand_in
    try:
        with suppress(Exception), _without_warning():
            importlib.import_module(user)
    finally:
        del sys.modules[EXPORTER]


def _later(name: str) -> Callable[..., Any]:
    def make(*words: Any, **named: Any) -> Any:
        return getattr(importlib.import_module(EXPORTER), name)(*words, **named)

    return make


@contextmanager
def _without_warning() -> Iterator[None]:
    logger = logging.getLogger(LOGGER)
    logger.addFilter(_of_a_file)
    try:
        yield
    finally:
        logger.removeFilter(_of_a_file)


def _of_a_file(record: logging.LogRecord) -> bool:
    """Tell whether a message is not the warning of keys, or one of them is in a file indeed."""
    said, mark, listed = record.getMessage().partition("Extra keys = ")
    known = mark and said.startswith("Found extra keys in the config file")
    return not known or any(name not in os.environ for name in re.findall(r"'([^']*)'", listed))
