"""What a request costs in the image's worker, beside the inference server's own worker.

    python benchmarks/bench_worker.py --server ENV/bin/azmlinfsrv [--requests 2000] [--rounds 5]

ENV is any environment with azureml-inference-server-http. Both servers run here, one process each, with a `run()` that
does nothing, and are asked in turns: by one client, and by eight at once. Then what the worker is for: how long health
takes while a request is scored (asleep, and in a loop of Python), and what a client that stands still with half of a
large body costs others. Compare the ratios, not the milliseconds of two machines.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

from packager.context.generated import serving_files

SCRIPT = """\
import json, time
def init(): pass
def run(data):
    if len(data) < 100:
        asked = json.loads(data)
        time.sleep(asked.get("sleep", 0))
        end = time.perf_counter() + asked.get("work", 0)
        while time.perf_counter() < end: pass
    return {}
"""


def score(body: bytes = b"{}") -> bytes:
    head = f"POST /score HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


HEALTH = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


def ask(port: int, request: bytes) -> float:
    """Return the seconds that an answer took, from the connection's start to its end."""
    start = time.perf_counter()
    with closing(socket.create_connection(("127.0.0.1", port))) as sock:
        sock.sendall(request)
        answer = b""
        while chunk := sock.recv(65536):
            answer += chunk
    if b" 200 " not in answer[:20]:
        raise RuntimeError(answer[:200].decode("latin-1"))
    return time.perf_counter() - start


@contextmanager
def serving(server: str, folder: Path, ours: bool) -> Iterator[int]:
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    (folder / "score.py").write_text(SCRIPT)
    for each in serving_files():
        path = folder / each.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text((each.text or "").replace("/opt/packager", f"{folder}/opt/packager"))
    environ = {**os.environ, "AML_APP_ROOT": str(folder), "AZUREML_CONFIG_FILE": f"{folder}/opt/packager/server.json"}
    if ours:
        environ["GUNICORN_CMD_ARGS"] = f"--config={folder}/opt/packager/server.py"
    words = [server, "--entry_script", "score.py", "--port", str(port)]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(words, cwd=folder, env=environ, stdout=log, stderr=log)
    try:
        end = time.monotonic() + 60
        while True:
            try:
                ask(port, HEALTH)
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > end:
                    raise RuntimeError((folder / "log").read_text()) from None
                time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait()


def throughput(port: int, requests: int, clients: int) -> float:
    """Return requests a second."""
    request = score()
    begin = time.perf_counter()

    def client(_: int) -> None:
        for _ in range(requests // clients):
            ask(port, request)

    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(client, range(clients)))
    return requests / (time.perf_counter() - begin)


def during(port: int, body: bytes, measure: Callable[[], float]) -> list[float]:
    """Return how long something takes, again and again while a request is scored."""
    scored = threading.Thread(target=ask, args=(port, score(body)))
    scored.start()
    time.sleep(0.1)
    times = []
    for _ in range(15):
        times.append(measure())
        time.sleep(0.05)
    scored.join()
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", required=True)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        own_folder, our_folder = Path(one), Path(two)
        with (
            serving(options.server, own_folder, ours=False) as own,
            serving(options.server, our_folder, ours=True) as our,
        ):
            medians: dict[int, list[float]] = {own: [], our: []}
            rates: dict[int, list[float]] = {own: [], our: []}
            for number in range(options.rounds + 1):
                for port in (own, our):
                    median = statistics.median(ask(port, score()) for _ in range(options.requests))
                    rate = throughput(port, options.requests, 8)
                    if number:  # the first round warms up
                        medians[port].append(median)
                        rates[port].append(rate)
            first, second = (statistics.median(medians[port]) for port in (own, our))
            print(f"one client:    {first * 1000:.3f} ms its own, {second * 1000:.3f} ms ours: {second / first:.2f}")
            first, second = (statistics.median(rates[port]) for port in (own, our))
            print(f"eight clients: {first:.0f}/s its own, {second:.0f}/s ours: {second / first:.2f}")
            for name, body in (("asleep", b'{"sleep": 2}'), ("in a loop of Python", b'{"work": 2}')):
                times = during(our, body, lambda: ask(our, HEALTH))
                print(
                    f"health while run() is {name}: median {statistics.median(times) * 1000:.1f} ms, longest"
                    f" {max(times) * 1000:.1f} ms"
                )
            with closing(socket.create_connection(("127.0.0.1", our))) as slow:
                slow.sendall(score(bytes(64 << 20))[: 48 << 20])
                for size in (200, 100_000, 8 << 20):
                    times = [ask(our, score(b'"' + b"x" * size + b'"')) for _ in range(5)]
                    print(f"beside a large body that stands still, {size} bytes: longest {max(times) * 1000:.1f} ms")


if __name__ == "__main__":
    main()
