"""A real server of MLflow, in an environment of its own, and a model that MLflow's own library logged there.

Environment and model are made once, and kept: a server starts on a copy of what was logged.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from uv import find_uv_bin

#: What of the package mlflow its server needs beside mlflow-skinny; of the rest, pyarrow and matplotlib are the half.
_SERVER = ("flask", "flask-cors", "sqlalchemy", "alembic", "cryptography", "graphene", "huey", "aiohttp")

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
    """Return a folder with Python, MLflow of the client's version, and what was logged: made once, and kept.

    Raises:
        subprocess.CalledProcessError: the index does not have it.
    """
    found = caches / f"mlflow-server-{version('mlflow-skinny')}-{sys.version_info[0]}.{sys.version_info[1]}"
    if not (found / "whole").exists():
        caches.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(found, ignore_errors=True)
        uv = find_uv_bin()
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, found], check=True)
        wanted = (f"mlflow-skinny=={version('mlflow-skinny')}", *_SERVER, "pandas", "scikit-learn", "skops")
        install: list[str | Path] = [uv, "pip", "install", "--quiet", "--python", found / "bin/python", *wanted]
        subprocess.run(install, check=True, timeout=300)
        _log(found)
        (found / "whole").touch()
    return found


def _log(environment: Path) -> None:
    """Log the model into the folder `logged` of the environment."""
    folder = environment / "logged"
    folder.mkdir()
    with _server(environment, folder) as (url, env):
        log_model: list[str | Path] = [environment / "bin/python", "-c", _LOG, url]
        done = subprocess.run(log_model, cwd=folder, env=env, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr + (folder / "log").read_text()[-2000:]
    (folder / "run").write_text(done.stdout.partition("run=")[2].split()[0])


@contextmanager
def serving(environment: Path) -> Iterator[Logged]:
    """Run a server on SQLite with a model in it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(shutil.copytree(environment / "logged", Path(name) / "logged"))
        with _server(environment, folder) as (url, _):
            _wait(url, folder / "log")
            yield Logged(url, (folder / "run").read_text())


@contextmanager
def _server(environment: Path, folder: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Start a server on what a folder has, and give its address and the variables of its clients."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    # What `mlflow server` does, in one process in place of two, each of which would import for seconds.
    app = ["-W", "ignore", "-m", "uvicorn", "--host", "127.0.0.1", "--port", str(port), "mlflow.server.fastapi_app:app"]
    own = {
        "_MLFLOW_SERVER_FILE_STORE": f"sqlite:///{folder}/db",
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
        "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": f"{folder}/artifacts",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    command: list[str | Path] = [environment / "bin/python", *app]
    env = {**os.environ, **own, "MLFLOW_TRACKING_URI": url, "GIT_PYTHON_REFRESH": "quiet"}
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env=env, start_new_session=True)
    try:
        yield url, env
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _wait(url: str, log: Path) -> None:
    end = time.monotonic() + 180
    while True:
        try:
            urllib.request.urlopen(f"{url}/health", timeout=5).close()
            return
        except OSError:
            assert time.monotonic() < end, log.read_text()[-2000:]
            time.sleep(0.1)
