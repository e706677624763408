"""Runs an entry script over mini-batches: a process of its own, in the environment that the script is locked to.

    python worker.py

It reads a message a line from its standard input, and answers each by a line on its standard output, with so many bytes
after it as the line says under `bytes`; lines are JSON objects. `pipe.py` is the other end. The first message is
`start`, which loads the script and calls init(). What the script itself writes goes to standard error. When whoever
started it is gone, it ends, also in the middle of a run().

Standard library only (pandas and others come with the script), Python 3.8 or newer.
"""

from __future__ import annotations

import ctypes
import importlib.machinery
import importlib.util
import inspect
import io
import json
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any, BinaryIO

#: <linux/prctl.h>
_PR_SET_PDEATHSIG = 1
#: Seconds between two signs of life while the requests of one mini-batch are answered.
_ALIVE = 0.5
#: Characters of a reason.
_REASON = 2000


#: Path of the entry script, also while it is loaded.
LOADING = [""]


class NotTakenError(Exception):
    """What run() returned is no result, or says itself that it failed."""


def row_of(element: Any) -> bytes:
    """Return one result as a line: a text as it is, anything else as JSON; so is a text of several lines."""
    if isinstance(element, str) and "\n" not in element and "\r" not in element:
        return element.encode("utf-8", "surrogateescape") + b"\n"
    return json.dumps(element, default=_plain).encode() + b"\n"


def rows_of(result: Any) -> tuple[int, bytes]:
    """Return how many results a mini-batch has, and their lines: of a DataFrame without header, divided by spaces.

    Raises:
        NotTakenError: it is neither a list nor a DataFrame.
    """
    if hasattr(result, "to_csv") and hasattr(result, "columns"):
        return len(result), result.to_csv(sep=" ", header=False, index=False, lineterminator="\n").encode()
    if isinstance(result, (str, bytes, dict)) or not hasattr(result, "__iter__"):
        kind = type(result).__name__
        raise NotTakenError(
            f"run() returned {kind}: a list or a DataFrame has one element for each item that succeeded"
        )
    rows = [row_of(element) for element in result]
    return len(rows), b"".join(rows)


def _plain(value: Any) -> Any:
    """Return what JSON has for a value that it does not know: numpy's scalars and arrays, pandas' rows."""
    for name in ("tolist", "to_dict", "isoformat"):
        if hasattr(value, name):
            return getattr(value, name)()
    return str(value)


def reason_of(error: BaseException, script: str) -> str:
    """Return in a line why something failed: the error, and the last line of the script that it went through."""
    text = str(error).strip()
    said = f"{type(error).__name__}: {text}" if text else type(error).__name__
    if isinstance(error, NotTakenError):
        said = text
    places = [each for each in traceback.extract_tb(error.__traceback__) if each.filename == script]
    where = f" ({os.path.basename(script)}, line {places[-1].lineno})" if places else ""
    return said[:_REASON] + where


#: The Parquet file that was read last: opening one reads all that it says of itself.
_OPENED: dict[str, Any] = {}


def items_of(message: dict[str, Any]) -> Iterator[Callable[[], str]]:
    """Give what returns each request of a mini-batch: whole files, or the lines of a part of one."""
    if "paths" in message:
        for path in message["paths"]:
            yield partial(_file_text, path)
        return
    part = _read(message["path"], message["start"], message["stop"])
    chosen = message.get("only")
    number = -1
    for line in part.split(b"\n"):
        if not line.strip():
            continue
        number += 1
        if chosen is None or number == chosen:
            yield partial(_text, line)


def table_of(message: dict[str, Any]) -> Any:
    """Return a part of a table as a DataFrame."""
    kind, path, start, stop = message["kind"], message["path"], message["start"], message["stop"]
    if kind == "parquet":
        return _parquet(path, start, stop)
    import pandas as pd

    part = _read(path, start, stop)
    if kind == "jsonl":
        return pd.read_json(io.BytesIO(part), lines=True)
    head = _read(path, 0, message["head"])
    return pd.read_csv(io.BytesIO(head + part), sep="\t" if kind == "tsv" else ",")


def _parquet(path: str, start: int, stop: int) -> Any:
    """Return rows of a Parquet file, of which only the groups are read that have them."""
    from pyarrow.parquet import ParquetFile  # type: ignore[import-not-found,import-untyped,unused-ignore]

    if path not in _OPENED:
        _OPENED.clear()
        _OPENED[path] = ParquetFile(path)
    file = _OPENED[path]
    groups, first = _groups(
        [file.metadata.row_group(index).num_rows for index in range(file.num_row_groups)], start, stop
    )
    return file.read_row_groups(groups).slice(start - first, stop - start).to_pandas()


def _groups(sizes: Any, start: int, stop: int) -> tuple[Any, int]:
    """Return which groups have the rows from `start` to before `stop`, and the number of the first row of these."""
    found: list[int] = []
    first, begin = 0, 0
    for index, size in enumerate(sizes):
        if begin < stop and begin + size > start:
            if not found:
                first = begin
            found.append(index)
        begin += size
    return found, first


def _read(path: str, start: int, stop: int) -> bytes:
    with open(path, "rb") as file:
        file.seek(start)
        return file.read() if stop < 0 else file.read(stop - start)


def _file_text(path: str) -> str:
    return _text(_read(path, 0, -1))


def _text(data: bytes) -> str:
    return data.decode("utf-8-sig") if data[:3] == b"\xef\xbb\xbf" else data.decode()


class Script:
    """An entry script.

    Args:
        path: of it.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        LOADING[0] = path
        spec = importlib.util.spec_from_file_location("entry_module", path)
        if spec is None or spec.loader is None:
            raise ImportError(f"{path} is no Python file")
        module = importlib.util.module_from_spec(spec)
        # pickle and multiprocessing look for functions of the script by the name of its module.
        sys.modules["entry_module"] = module
        spec.loader.exec_module(module)
        missing = [name for name in ("init", "run") if not callable(getattr(module, name, None))]
        if missing:
            raise AttributeError(f"the entry script has no {missing[0]}()")
        self.run: Callable[..., Any] = module.run
        self.shutdown: Any = getattr(module, "shutdown", None)
        module.init()

    def answerer(self) -> Callable[[str], bytes]:
        """Return what answers a request as the inference server does: by its text, or as its decorators want it."""
        given = inspect.signature(self.run).parameters
        names = [name for name in given if name != "request_headers"]
        if not names:
            raise TypeError("run() takes no data")
        headers = {"Content-Type": "application/json"}
        more: dict[str, Any] = {"request_headers": headers} if "request_headers" in given else {}
        ours = [module for name, module in sys.modules.items() if name.endswith("aml_request")]
        if any(getattr(module, "_rawHttpRequested", False) for module in ours):
            return lambda text: _answer(self.run(**{names[0]: _request(text)}, **more))
        schema = sys.modules.get("inference_schema.schema_util")
        if schema is not None and schema.is_schema_decorated(self.run):
            needed = [name for name in names if given[name].default is inspect.Parameter.empty]
            return lambda text: _answer(self.run(**_parameters(text, names, needed), **more))
        return lambda text: _answer(self.run(**{names[0]: text}, **more))


def _parameters(text: str, names: list[str], needed: list[str]) -> dict[str, Any]:
    body = json.loads(text)
    missing = [name for name in needed if not isinstance(body, dict) or name not in body]
    if missing:
        raise NotTakenError(f"the request is no JSON object with {', '.join(missing)}")
    return {name: body[name] for name in names if name in body}


def _request(text: str) -> Any:
    """Return a request as @rawhttp wants it; flask comes with the inference server."""
    from flask import Request  # type: ignore[import-not-found,unused-ignore]
    from werkzeug.test import EnvironBuilder  # type: ignore[import-not-found,unused-ignore]

    return Request(EnvironBuilder("/score", method="POST", data=text, content_type="application/json").get_environ())


def _answer(result: Any) -> bytes:
    """Return an answer as a line of JSON.

    Raises:
        NotTakenError: it is a response that says that the request failed.
    """
    if hasattr(result, "status_code") and hasattr(result, "get_data"):
        body = result.get_data(as_text=True)
        if result.status_code >= 400:
            raise NotTakenError(f"run() answered {result.status_code}: {body}")
        try:
            result = json.loads(body)
        except ValueError:
            result = body
    return json.dumps(result, default=_plain).encode() + b"\n"


class ServerNames:
    """Finds the modules under which the inference server offers itself to scripts, where no others of the name are."""

    def find_spec(self, name: str, _path: Any = None, _target: Any = None) -> Any:
        """Return an empty package for what is above those modules, once the server has put them in their places."""
        if name not in ("azureml", "azureml.contrib", "azureml.contrib.services"):
            return None
        with suppress(ImportError):
            importlib.import_module("azureml_inference_server_http.server")
            return importlib.machinery.ModuleSpec(name, None, is_package=True)
        return None


class Worker:
    """Answers messages.

    Args:
        out: takes the answers.
    """

    def __init__(self, out: BinaryIO) -> None:
        self.out = out
        self.form, self.tries, self.told = "", 1, 0.0
        self.script: Any = None
        self.answer: Any = None

    def tell(self, message: dict[str, Any], payload: bytes = b"") -> None:
        """Write an answer."""
        if payload:
            message["bytes"] = len(payload)
        self.out.write(json.dumps(message).encode() + b"\n" + payload)
        self.out.flush()

    def start(self, message: dict[str, Any]) -> None:
        """Load the script, and call init()."""
        self.form, self.tries = message["form"], message["tries"]
        # Relative to the app's folder, as the spec has it; else the one that the image starts.
        source, root = (os.environ.get(name, "") for name in ("AZUREML_SOURCE_DIRECTORY", "AML_APP_ROOT"))
        entry = os.environ.get("AZUREML_ENTRY_SCRIPT", "")
        path = os.path.join(source, message["script"]) if message["script"] else os.path.join(root, entry)
        if root:
            os.chdir(root)
        self.script = Script(path)
        if self.form == "requests":
            self.answer = self.script.answerer()
        self.tell({"ready": True})

    def groups(self, message: dict[str, Any]) -> None:
        """Tell how many rows and bytes each group of a Parquet file has."""
        from pyarrow.parquet import ParquetFile  # type: ignore[import-not-found,import-untyped,unused-ignore]

        with ParquetFile(message["path"]) as file:
            found = [file.metadata.row_group(index) for index in range(file.num_row_groups)]
            self.tell({"groups": [[each.num_rows, each.total_byte_size] for each in found]})

    def batch(self, message: dict[str, Any]) -> None:
        """Call run() with a mini-batch of paths, or of rows."""
        given = message["paths"] if self.form == "files" else table_of(message)
        items = len(given)
        succeeded, rows = rows_of(self.script.run(given))
        self.tell({"items": items, "succeeded": succeeded}, rows)

    def requests(self, message: dict[str, Any]) -> None:
        """Call run() for each request of a mini-batch; those that fail are told with their reasons."""
        rows: list[bytes] = []
        failures: list[Any] = []
        self.told, items = time.monotonic(), 0
        for items, item in enumerate(items_of(message), 1):
            row, reason = self.attempt(item)
            if reason:
                failures.append([items - 1, reason, self.tries])
            else:
                rows.append(row)
        self.tell({"items": items, "succeeded": len(rows), "failures": failures}, b"".join(rows))

    def attempt(self, item: Callable[[], str]) -> tuple[bytes, str]:
        """Return the answer to a request, or why there is none, after so many tries."""
        reason = ""
        for _ in range(self.tries):
            if time.monotonic() - self.told > _ALIVE:
                self.told = time.monotonic()
                self.tell({"alive": True})
            try:
                return self.answer(item()), ""
            except (Exception, SystemExit) as error:
                reason = reason_of(error, self.script.path)
                traceback.print_exc()
        return b"", reason

    def handle(self, message: dict[str, Any]) -> None:
        """Answer one message; what goes wrong is the answer, too."""
        acts = {"start": self.start, "groups": self.groups}
        act = acts.get(message["do"], self.requests if self.form == "requests" else self.batch)
        try:
            act(message)
        except (Exception, SystemExit) as error:
            traceback.print_exc()
            self.tell({"error": reason_of(error, LOADING[0]), "kind": type(error).__name__})
        finally:
            with suppress(OSError, ValueError):
                sys.stdout.flush()
                sys.stderr.flush()


def listen(source: BinaryIO, messages: Any) -> None:
    """Pass messages on; end the process where nobody can send any more."""
    for line in source:
        messages.put(line)
    os._exit(1)


def end_with_parent() -> None:
    """Have this process killed when its parent ends, where the system can: a run() in C hears of nothing else."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def main() -> None:
    """Answer messages until one says `stop`."""
    end_with_parent()
    # Each worker is one processor's; and sums in another order would be other results.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    source, out = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    # As the inference server has it: neither this folder nor the script's own.
    sys.path[:] = [each for each in sys.path if each != os.path.dirname(os.path.abspath(__file__))]
    for name in ("AML_APP_ROOT", "AZUREML_SOURCE_DIRECTORY"):
        if os.environ.get(name) and os.environ[name] not in sys.path:
            sys.path.append(os.environ[name])
    sys.meta_path.append(ServerNames())  # type: ignore[arg-type,unused-ignore]
    messages: Any = queue.SimpleQueue()
    threading.Thread(target=listen, args=(source, messages), daemon=True).start()
    worker = Worker(out)
    while True:
        message = json.loads(messages.get())
        if message["do"] == "stop":
            break
        worker.handle(message)
    code = 0
    try:
        if worker.script is not None and callable(worker.script.shutdown):
            worker.script.shutdown()
    except (Exception, SystemExit):
        traceback.print_exc()
        code = 1
    with suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    worker.tell({"stopped": code == 0})
    # Threads of the script's libraries do not keep it.
    os._exit(code)


if __name__ == "__main__":
    main()
