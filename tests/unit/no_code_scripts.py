"""The entry scripts for models without code, with stand-ins for what they import: the server, and the runtimes."""

from __future__ import annotations

import json
import sys
import types
from typing import Any

import pytest

from packager.context.no_code import script_text
from packager.resources import program
from packager.spec.framework import Kind

HELPER = program("no_code/packager_json.py")


class Response:
    """As AMLResponse is made; it keeps what it is given."""

    def __init__(
        self, message: Any, status: int, headers: dict[str, str] | None = None, json_str: bool = False
    ) -> None:
        self.status = status
        # Strict, as the JSON of other languages is.
        self.body = json.loads(json.dumps(message) if json_str else message, parse_constant=pytest.fail)
        self.headers = headers


class Script(types.ModuleType):
    """A script, loaded; names that it defines are its attributes."""

    run: Any

    def ask(self, body: Any) -> tuple[int, Any]:
        answer = self.run(body if isinstance(body, str) else json.dumps(body))
        return answer.status, answer.body

    def refusal(self, body: Any) -> str:
        """The one sentence with which a request is refused."""
        status, answer = self.ask(body)
        assert status == 400, answer
        (message,) = answer.values()
        assert isinstance(message, str)
        assert "\n" not in message
        assert "Traceback" not in message
        return message


def load(kind: Kind, patch: pytest.MonkeyPatch, **modules: Any) -> Script:
    """Load the script of a framework; `modules` take the place of what it imports."""
    response = types.ModuleType("azureml.contrib.services.aml_response")
    response.AMLResponse = Response  # type: ignore[attr-defined]
    for name in ("azureml", "azureml.contrib", "azureml.contrib.services"):
        patch.setitem(sys.modules, name, types.ModuleType(name))
    patch.setitem(sys.modules, response.__name__, response)
    for name, module in modules.items():
        patch.setitem(sys.modules, name.replace("__", "."), module)
    patch.setitem(sys.modules, "packager_json", run_module("packager_json", HELPER.read_text("utf-8")))
    return run_module(f"{kind}_score", script_text(kind, "model"))


def run_module(name: str, text: str) -> Script:
    module = Script(name)
    exec(compile(text, f"{name}.py", "exec"), module.__dict__)
    return module


def module(name: str, **values: Any) -> types.ModuleType:
    made = types.ModuleType(name)
    for key, value in values.items():
        setattr(made, key, value)
    return made
