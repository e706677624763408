"""A real server of MLflow, in an environment of its own, and a model that MLflow's own library logs there."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from uv import find_uv_bin

#: Runs in the server's environment. It imports, which takes seconds, while the server starts.
_LOG = """
import sys, time, urllib.request
import mlflow, mlflow.sklearn, pandas
from mlflow.models import infer_signature
from sklearn.linear_model import LinearRegression
for _ in range(900):
    try:
        urllib.request.urlopen(sys.argv[1] + "/health", timeout=5)
        break
    except OSError:
        time.sleep(0.2)
table = pandas.DataFrame({"a": [1.0, 2.0, 3.0], "b": [0.0, 1.0, 0.5]})
model = LinearRegression().fit(table, [1.0, 2.0, 3.5])
with mlflow.start_run() as run:
    signature = infer_signature(table, model.predict(table))
    mlflow.sklearn.log_model(model, name="model", input_example=table.head(2), signature=signature,
                             registered_model_name="line", pip_requirements=["scikit-learn"])
    mlflow.log_text("plain", "notes/plain.txt")
client = mlflow.MlflowClient()
client.set_registered_model_alias("line", "champion", 1)
client.update_model_version("line", 1, description="A line.")
client.set_model_version_tag("line", 1, "area", "tests")
print(f"run={run.info.run_id}")
"""


class Logged(NamedTuple):
    """Where the server is, and the run that logged the model `line`."""

    url: str
    run: str


def environment(caches: Path) -> Path:
    """Return a folder with Python and MLflow of the client's version: made once, and kept.

    Raises:
        subprocess.CalledProcessError: the index does not have it.
    """
    found = caches / f"mlflow-{version('mlflow-skinny')}-{sys.version_info[0]}.{sys.version_info[1]}"
    if not (found / "whole").exists():
        caches.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(found, ignore_errors=True)
        uv = find_uv_bin()
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, found], check=True)
        wanted = f"mlflow=={version('mlflow-skinny')}"
        install: list[str | Path] = [uv, "pip", "install", "--quiet", "--python", found / "bin/python", wanted]
        subprocess.run(install, check=True, timeout=300)
        (found / "whole").touch()
    return found


@contextmanager
def serving(environment: Path) -> Iterator[Logged]:
    """Run a server on SQLite with a model in it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        url = f"http://127.0.0.1:{port}"
        listen = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
        database, artifacts = f"sqlite:///{folder}/db", f"{folder}/artifacts"
        kept = ["--backend-store-uri", database, "--artifacts-destination", artifacts]
        command: list[str | Path] = [environment / "bin/mlflow", "server", *listen, *kept]
        # Half of its start would be what executes jobs.
        own = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        env = {**os.environ, **own, "MLFLOW_TRACKING_URI": url, "GIT_PYTHON_REFRESH": "quiet"}
        log_model: list[str | Path] = [environment / "bin/python", "-c", _LOG, url]
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env=env, start_new_session=True)
        try:
            done = subprocess.run(log_model, cwd=folder, env=env, capture_output=True, text=True, timeout=300)
            assert done.returncode == 0, done.stderr + (folder / "log").read_text()[-2000:]
            yield Logged(url, done.stdout.partition("run=")[2].split()[0])
        finally:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()
