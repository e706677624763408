"""A package whose service does what its requests and variables ask for; small, so that it starts at once."""

from __future__ import annotations

import http.client
import json
import subprocess
from pathlib import Path
from typing import Any

from tests.integration.conftest import RunPackager

SCRIPT = """\
import json
import os
import time

held = []


def init():
    time.sleep(float(os.environ.get("SLOW", 0)))
    if "FAIL" in os.environ:
        raise RuntimeError("no such model: " + os.environ["FAIL"])


def run(data):
    asked = json.loads(data)
    time.sleep(asked.get("sleep", 0))
    held[:] = [bytearray(asked.get("allocate", 0))]
    return {"mark": os.environ.get("MARK", "first"), "half": asked.get("number", 1) / 2}
"""

SPEC = """\
name: served
version: "1"
entry_script: score.py
environment: {pip: []}
test:
  - name: half of it
    request: {number: 3}
    expect: {body: {mark: first, half: 1.49}, tolerance: 0.1}
  - name: not JSON
    text: "{"
    expect: {status: 500, headers: {x-ms-run-function-failed: "True"}}
"""


def write_package(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "score.py").write_text(SCRIPT)
    (folder / "packager.yaml").write_text(SPEC)
    return folder


def build_package(run: RunPackager, folder: Path, base: str, reference: str) -> None:
    run("lock", cwd=write_package(folder))
    run("build", "--base", base, "--load", "-t", reference, cwd=folder)


def ask(port: int, body: bytes | dict[str, Any], timeout: float = 60) -> tuple[int, bytes]:
    """Post one request on a connection of its own; status and body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        connection.request("POST", "/score", sent, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def containers(label: str) -> list[str]:
    words = ("docker", "ps", "--all", "--format", "{{.Names}}", "--filter", f"label={label}")
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()


def remove_image(*references: str) -> None:
    subprocess.run(["docker", "image", "rm", "--force", *references], capture_output=True, check=False)
