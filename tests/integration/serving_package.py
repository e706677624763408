"""A package whose service does what its requests and variables ask for; small, so that it starts at once."""

from __future__ import annotations

import http.client
import json
import subprocess
import threading
import time
from collections import Counter
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


def build_package(run: RunPackager, folder: Path, base: str, reference: str, *options: str) -> None:
    run("lock", cwd=write_package(folder))
    run("build", "--base", base, "--load", "-t", reference, *options, cwd=folder)


def ask(port: int, body: bytes | dict[str, Any], timeout: float = 60, **headers: str) -> tuple[int, bytes]:
    """Post one request on a connection of its own; status and body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        connection.request("POST", "/score", sent, {"Content-Type": "application/json", **headers})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


class Load:
    """Clients that ask without a pause, on kept connections and on new ones; any failure is a lost request.

    Attributes:
        marks: answers by the backend that gave them.
        lost: what went wrong.
        asked: requests that were sent, by client; clients with an even number keep their connection.
        seconds: from the first request to the last answer.
    """

    def __init__(self, port: int, clients: int = 4) -> None:
        self.port, self.marks, self.lost = port, Counter[str](), list[str]()
        self.asked = Counter[int]()
        self.seconds = 0.0
        self.lock, self.stop = threading.Lock(), threading.Event()
        self.threads = [threading.Thread(target=self.client, args=(number,)) for number in range(clients)]

    def client(self, number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        while not self.stop.is_set():
            self.asked[number] += 1
            try:
                connection.request("POST", "/score", b'{"sleep": 0.02}', {"Content-Type": "application/json"})
                answer = connection.getresponse()
                body = answer.read()
                assert answer.status == 200, (answer.status, body)
                with self.lock:
                    self.marks[json.loads(body)["mark"]] += 1
            except (OSError, http.client.HTTPException, AssertionError, ValueError) as error:
                self.lost.append(repr(error))
            if number % 2:
                connection.close()
        connection.close()

    def __enter__(self) -> Load:
        self.seconds = -time.monotonic()
        for each in self.threads:
            each.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        for each in self.threads:
            each.join()
        self.seconds += time.monotonic()

    def check(self, *marks: str) -> None:
        """Each request got one answer, and each of these backends gave some of them."""
        assert self.lost == []
        assert len(self.asked) == len(self.threads)
        assert sum(self.asked.values()) == sum(self.marks.values())
        assert set(self.marks) == set(marks)


def containers(label: str) -> list[str]:
    words = ("docker", "ps", "--all", "--format", "{{.Names}}", "--filter", f"label={label}")
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()


def remove_image(*references: str) -> None:
    subprocess.run(["docker", "image", "rm", "--force", *references], capture_output=True, check=False)
