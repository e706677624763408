"""What is nearest to a pin that has no wheels."""

from __future__ import annotations

import pytest

from packager.environments.solve.nearest import (
    Nearest,
    find_nearest,
    find_newest,
    is_general,
    other_python,
    refused_pins,
    unknown_pins,
    with_nearest,
    with_other_python,
)
from packager.environments.uv_errors import explain
from packager.errors import LockError

NO_WHEELS = (
    "  × No solution found when resolving dependencies:\n  ╰─▶ Because scikit-learn==0.22.1 has no usable wheels and "
    "you require scikit-learn==0.22.1, we can conclude that your requirements are unsatisfiable.\n\n      hint: Wheels "
    "are required for `scikit-learn` because building from source is disabled"
)


def test_the_pins_that_uv_refuses_are_found_among_those_that_were_asked() -> None:
    message = "Because scikit-learn==0.22.1 has no usable wheels and numpy==1.23.0 has no wheels with a matching ABI"
    asked = ["scikit_learn==0.22.1", "numpy[x]==1.23; python_version<'4'", "six==1.17", "pandas>=2"]
    assert refused_pins(message, asked) == (("scikit_learn", "0.22.1"), ("numpy", "1.23"))
    assert refused_pins("Because wrapt==1.11 has no usable wheels", asked) == ()
    extras = "Because pandas[excel]==2.0.3 has no usable wheels and you require pandas[excel]==2.0.3"
    assert refused_pins(extras, ["pandas[excel]==2.0.3"]) == (("pandas", "2.0.3"),)
    other_system = "Because tensorflow-intel==2.12.0 has no wheels with a matching platform tag"
    assert refused_pins(other_system, ["tensorflow-intel==2.12.0"]) == (), "no version of it is for Linux"


def test_the_nearest_python_and_the_nearest_version() -> None:
    asked: list[tuple[str, str, bool]] = []
    answers = {("a==1.0", "3.10", False): "1.0", ("a==1.0", "3.8", False): "1.0", ("a>=1.0", "3.12", True): "1.4"}

    def look(requirement: str, python: str, lowest: bool) -> str | None:
        asked.append((requirement, python, lowest))
        return answers.get((requirement, python, lowest))

    assert find_nearest("a", "1.0", "3.12", look) == Nearest(name="a", version="1.0", python="3.10", other="1.4")
    assert [each[1] for each in asked] == ["3.13", "3.11", "3.14", "3.10", "3.12"]
    # Nothing newer: what is just before it.
    older = {("a<1.0", "3.12", False): "0.9"}
    found = find_nearest("a", "1.0", "3.12", lambda *words: older.get(words))
    assert found == Nearest(name="a", version="1.0", python=None, other="0.9")


def test_another_python_is_named_where_all_that_is_asked_fits() -> None:
    asked: list[str] = []

    def fits(python: str) -> bool:
        asked.append(python)
        return python == "3.9"

    error = LockError("no packages fit", remedy="ask for versions of wrapt that have wheels for it, or build it")
    assert is_general(error)
    assert not is_general(LockError("no", remedy="json is a part of Python"))
    found = other_python("3.11", fits)
    assert (found, asked) == ("3.9", ["3.12", "3.10", "3.13", "3.9"])
    remedy = with_other_python(error, found).remedy
    assert remedy == f'all of it fits Python 3.9 (`python: "3.9"`); or {error.remedy}'
    assert with_other_python(error, other_python("3.11", lambda _: False)) is error


def test_a_version_that_was_never_released_is_answered_with_the_newest() -> None:
    text = (
        "  × No solution found when resolving dependencies:\n  ╰─▶ Because there is no version of scikit-learn==9.9 "
        "and you require scikit-learn==9.9, we can conclude that your requirements are unsatisfiable."
    )
    error = explain(text, platform="linux/amd64", python="3.13")
    assert isinstance(error, LockError)
    pins = unknown_pins(error.message, ["pandas==2", "scikit-learn==9.9"])
    assert pins == (("scikit-learn", "9.9"),)
    known = {("scikit-learn", "3.13", False): "1.9.1"}
    newest = find_newest(*pins[0], "3.13", lambda *words: known.get(words))
    assert with_nearest(error, "3.13", [newest]).remedy == "the newest for Python 3.13 is scikit-learn==1.9.1"
    nothing = find_newest(*pins[0], "3.13", lambda *_: None)
    assert with_nearest(error, "3.13", [nothing]).remedy == error.remedy


@pytest.mark.parametrize(
    ("nearest", "remedy"),
    [
        (
            Nearest(name="scikit-learn", version="0.22.1", python="3.8", other="1.5.2"),
            'scikit-learn 0.22.1 has wheels for Python 3.8 (`python: "3.8"`), and the nearest with wheels for Python '
            "3.13 is scikit-learn==1.5.2; or allow a build from source with `build_from_source: [scikit-learn]`",
        ),
        (
            Nearest(name="scikit-learn", version="0.22.1", python=None, other=None),
            "ask for versions of scikit-learn that",
        ),
    ],
)
def test_the_remedy_says_what_can_be_had(nearest: Nearest, remedy: str) -> None:
    error = explain(NO_WHEELS, platform="linux/amd64", python="3.13")
    assert isinstance(error, LockError)
    found = with_nearest(error, "3.13", [nearest])
    assert (found.message, (found.remedy or "").startswith(remedy)) == (error.message, True)


def test_an_old_release_of_azureml_defaults_is_not_needed() -> None:
    text = (
        "No solution found: Because json-logging-py==0.2 has no usable wheels and azureml-defaults==1.47.0 depends on "
        "json-logging-py==0.2, we can conclude that azureml-defaults==1.47.0 cannot be used.\nAnd because you require "
        "azureml-defaults==1.47.0, we can conclude that your requirements are unsatisfiable."
    )
    remedy = explain(text, platform="linux/amd64", python="3.8").remedy
    assert remedy == "write azureml-defaults without a version: it stands for the inference server alone then"
