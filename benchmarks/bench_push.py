"""What a rebuild and push upload after the entry script was edited, counted at the registry's own storage interface.

    python benchmarks/bench_push.py --repository 127.0.0.1:5000/bench/diabetes [--base local/python:3.13-slim]

Needs an engine, and credentials for the registry (`docker login`). A proxy in this process counts the bytes of every
request body between engine and registry, so that the figure is what really went over the wire.
"""

from __future__ import annotations

import argparse
import http.client
import http.server
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

EXAMPLE = Path(__file__).parents[1] / "examples/diabetes"


class Counting(http.server.ThreadingHTTPServer):
    """Passes every request on to a registry and counts what is sent."""

    daemon_threads = True

    def __init__(self, registry: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.registry = registry
        self.sent = 0
        self.address = f"127.0.0.1:{self.server_address[1]}"


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Counting

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _pass_on(self) -> None:
        body = self._body()
        self.server.sent += len(body)
        connection = http.client.HTTPConnection(self.server.registry, timeout=60)
        # One by one: an engine sends several `Accept` headers, and each counts.
        connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in ("transfer-encoding", "content-length"):
                connection.putheader(name, value)
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        data = answer.read()
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                self.send_header(name, value)
        length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(data))
        self.send_header("Content-Length", length or "0")
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = _pass_on

    def log_message(self, *_arguments: object) -> None:
        pass


def build_and_push(folder: Path, reference: str, base: str | None) -> float:
    command = [sys.executable, "-m", "packager", "build", "--push", "--no-test", "-q", "-t", reference]
    start = time.perf_counter()
    subprocess.run([*command, *(("--base", base) if base else ())], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repository", required=True, help="HOST:PORT/NAME at a registry that speaks plain HTTP")
    parser.add_argument("--user", required=True)
    parser.add_argument("--password", required=True)
    parser.add_argument("--base")
    options = parser.parse_args()
    host, _, name = options.repository.partition("/")
    server = Counting(host)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(shutil.copytree(EXAMPLE, Path(temporary) / "diabetes"))
        subprocess.run(
            ["docker", "login", "-u", options.user, "--password-stdin", server.address],
            input=options.password, text=True, check=True, capture_output=True,
        )  # fmt: skip
        try:
            reference = f"{server.address}/{name}:1"
            first = build_and_push(folder, reference, options.base)
            cold = server.sent
            script = folder / "src/score.py"
            script.write_text(script.read_text() + f"# {time.time()}\n")
            second = build_and_push(folder, reference, options.base)
            warm = server.sent - cold
        finally:
            subprocess.run(["docker", "logout", server.address], check=False, capture_output=True)
    figures = {
        "first build and push": {"seconds": round(first, 2), "bytes": cold},
        "after editing the entry script": {"seconds": round(second, 2), "bytes": warm},
        "bytes beyond the script (at most 100,000)": warm,
    }
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
