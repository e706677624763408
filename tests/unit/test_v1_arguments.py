"""Arguments that v1's calls cannot mean: v1's own exceptions with a sentence, and never an error inside our code."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from packager.azureml.arguments import problem
from packager.azureml.core import Environment, Model, Workspace
from packager.azureml.core.conda_dependencies import CondaDependencies
from packager.azureml.core.webservice import Webservice
from packager.azureml.exceptions import AzureMLException, UserErrorException, WebserviceException

#: Modules whose public classes are asked.
MODULES = (
    "core.model", "core.environment", "core.conda_dependencies", "core.webservice", "core.image", "core.compute",
    "core.datastore", "core.dataset", "core.profile", "core.run", "core.experiment",
)  # fmt: skip
#: Wait, or ask another program.
SKIPPED = ("from_existing_conda_environment", "deploy_local_from_model", "get_context")


class Workspaces:
    """Something that says it is a workspace."""


@pytest.mark.parametrize(
    ("annotation", "value", "said"),
    [
        ("str", "a", ""),
        ("str", Path("a"), ""),
        ("str", None, "x must be a text, and NoneType is none"),
        ("str | None", None, ""),
        ("str | None", 5, "x must be a text, and int is none"),
        ("str | bytes", b"", ""),
        ("dict[str, str] | None", ["a"], "x must be a dict, and list is none"),
        ("Sequence[Any]", None, "x must be a list, and NoneType is none: x=[x]"),
        ("Sequence[str]", ["a", Path("b")], ""),
        ("Sequence[str] | None", ["a", 5], "x must be a list of texts, and int in it is none"),
        ("Sequence[int | None]", 5, "x must be a list, and int is none: x=[x]"),
        ("InferenceConfig | None", "score.py", "x must be an InferenceConfig, and str is none"),
        ("Workspace", Workspaces(), "x must be a Workspace, and Workspaces is none: Workspace.from_config() returns"),
        ("int | None", "5", ""),
        ("str | int", object(), ""),
        ("Any", None, ""),
    ],
)
def test_a_value_is_held_against_what_is_written(annotation: str, value: Any, said: str) -> None:
    assert problem("x", value, annotation).removesuffix(" one") == said


@pytest.fixture
def ws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    for name in ("DATA", "CACHE", "CONFIG"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    monkeypatch.chdir(tmp_path)
    Path("weights.txt").write_text("1")
    return Workspace.create("team")


def calls(given: dict[str, Any]) -> Iterator[tuple[str, Callable[..., Any], dict[str, Any]]]:
    """Give every call with one argument that is wrong; what else it must have is right, or None."""
    for module in MODULES:
        owner = importlib.import_module(f"packager.azureml.{module}")
        for name in owner.__all__ if hasattr(owner, "__all__") else [each for each in vars(owner) if each.istitle()]:
            cls = getattr(owner, name)
            if not isinstance(cls, type):
                continue
            statics = [each for each in vars(cls) if isinstance(vars(cls)[each], staticmethod)]
            functions = [(name, cls), *((f"{name}.{each}", getattr(cls, each)) for each in statics if each[0] != "_")]
            for called, function in functions:
                if called.rpartition(".")[2] in SKIPPED:
                    continue
                taken = [
                    each
                    for each in inspect.signature(function).parameters.values()
                    if each.kind == each.POSITIONAL_OR_KEYWORD and each.name[0] != "_"
                ]
                needed = {each.name: given.get(each.name) for each in taken if each.default is each.empty}
                for each in taken:
                    for wrong in (None, 5, object()):
                        yield called, function, {**needed, each.name: wrong}


def test_no_wrong_argument_is_an_error_inside_our_code(ws: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    model = Model.register(ws, "weights.txt", "m")
    given = {"workspace": ws, "model_path": "weights.txt", "model_name": "m", "name": "svc", "models": [model]}
    found, asked = set(), 0
    for called, function, arguments in calls(given):
        asked += 1
        try:
            function(**arguments)
        except (AzureMLException, NotImplementedError, FileNotFoundError):
            pass
        except TypeError as error:
            if not called.startswith("Environment"):  # v1's own for its name
                found.add(f"{called}: {error!r}")
        except Exception as error:
            found.add(f"{called}: {error!r}")
    assert found == set()
    assert asked > 300


def test_what_registers_lists_and_reads_refuses_in_sentences(ws: Workspace) -> None:
    nothing: Any = None
    for call, said in (
        (lambda: Model.register(nothing, "weights.txt", "m"), "workspace must be a Workspace"),
        (lambda: Model.register(ws, nothing, "m"), "model_path must be a text"),
        (lambda: Model.register(ws, "weights.txt", nothing), "model_name must be a text"),
        (lambda: Model.register(ws, "weights.txt", "m", datasets=["x"]), "pairs of a purpose and a dataset"),
        (lambda: Model.list(ws, tags=[5]), "5 is neither a tag nor a pair"),
        (lambda: Webservice(nothing, "svc"), "workspace must be a Workspace"),
        (lambda: Webservice.deserialize(ws, {}), "deserialize"),
    ):
        with pytest.raises(WebserviceException, match=said):
            call()
    with pytest.raises(UserErrorException, match="must be a list of texts"):
        CondaDependencies.create(pip_packages=[5])  # type: ignore[list-item]


def test_one_text_is_one_tag(ws: Workspace) -> None:
    Model.register(ws, "weights.txt", "m", tags={"area": "x"})
    assert [each.id for each in Model.list(ws, tags="area")] == ["m:1"]
    assert Model.list(ws, tags="a") == []


def test_a_python_that_nobody_asked_for_is_not_asked_for_by_a_file(tmp_path: Path) -> None:
    path = tmp_path / "conda.yml"
    unasked = CondaDependencies.create(conda_packages=["numpy"])
    unasked.save(str(path))
    for read in (Environment.from_conda_specification("e", str(path)), _saved(tmp_path, unasked)):
        packages = read.python.conda_dependencies
        assert packages is not None
        assert packages.python_is_default
        assert packages.as_dict() == unasked.as_dict()
    path.write_text(path.read_text().replace("- python=3.10.18", "- python=3.11"))
    assert not CondaDependencies(str(path)).python_is_default
    CondaDependencies.create(python_version="3.12").save(str(path))
    assert not CondaDependencies(str(path)).python_is_default


def _saved(folder: Path, packages: CondaDependencies) -> Environment:
    environment = Environment("e")
    environment.python.conda_dependencies = packages
    environment.save_to_directory(str(folder / "saved"))
    return Environment.load_from_directory(str(folder / "saved"))
