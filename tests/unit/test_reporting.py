from __future__ import annotations

import logging
import subprocess
import sys

import pytest

from packager.steps.reporting import SILENT


def test_functions_tell_the_logger_what_they_do(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "packager")
    SILENT.step("locking 100%")
    SILENT.detail("the base %s")
    SILENT.warn("no tests")
    assert [(each.name, each.levelname, each.getMessage()) for each in caplog.records] == [
        ("packager", "INFO", "locking 100%"), ("packager", "DEBUG", "the base %s"), ("packager", "WARNING", "no tests"),
    ]  # fmt: skip


def test_who_configures_no_logging_hears_nothing() -> None:
    code = "from packager.steps.reporting import SILENT\nSILENT.warn('no tests')\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert (done.stdout, done.stderr) == ("", "")
