"""What does not run together: the rules, what they ask of a solution, and the solves that they make necessary."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from packager.checks.incompatible import check_incompatible
from packager.environments.conda import Provided
from packager.environments.declare.requirement import canonical_name
from packager.environments.lock import LockedPackage, LockRequest
from packager.environments.solve.incompatibilities import (
    Asked,
    Dated,
    Known,
    Rule,
    asked_besides,
    give_way,
    held_names,
    known,
    old_wheels,
    pinned_names,
    together,
    unsolvable,
)
from packager.environments.solve.pip import Upgrade, UvSolver
from packager.errors import LockError
from tests.unit.plans import example_plan
from tests.unit.test_pip import AMD, fake_uv, program

__all__ = ["fake_uv"]

BESIDES = {"gunicorn": "27.0.1", "werkzeug": "3.1.9", "jinja2": "3.1.6"}


def asked(packages: dict[str, str], python: str = "3.13", pinned: tuple[str, ...] = ()) -> set[str]:
    versions = BESIDES | packages
    return {each.requirement for each in asked_besides(versions, given={}, python=python, pinned=pinned)}


# --- the data ---


def test_every_rule_can_be_followed() -> None:
    rules = known().rule
    assert rules
    for rule in rules:
        assert rule.of, rule
        assert rule.limit or rule.needs, rule
        assert rule.because, rule
        SpecifierSet(rule.python)
        for line in (*rule.of, *rule.limit, *rule.needs):
            assert Requirement(line).marker is None
            assert Requirement(line).name == canonical_name(Requirement(line).name)
        assert all(Requirement(line).specifier for line in rule.limit), "a limit without a version limits nothing"
    for dated in known().dated:
        assert Requirement(dated.limit).name == dated.name
        assert dated.because


@pytest.mark.parametrize(
    ("packages", "wanted"),
    [
        ({"scikit-learn": "1.2.2", "numpy": "2.4.6"}, {"numpy<2"}),
        ({"onnxruntime": "1.16.3", "numpy": "2.0.0"}, {"numpy<2"}),
        ({"opencv-python-headless": "4.8.1.78", "numpy": "2.4.6"}, {"numpy<2"}),
        ({"pandas": "1.5.3", "numpy": "2.4.6"}, {"numpy<2"}),
        ({"torch": "2.2.2+cpu", "numpy": "2.1.0"}, {"numpy<2"}),
        ({"torch": "2.2.2+cpu"}, set()),
        ({"scikit-learn": "1.2.2", "numpy": "1.26.4"}, set()),
        ({"scikit-learn": "1.6.1", "numpy": "2.4.6"}, set()),
        ({"gunicorn": "20.1.0", "setuptools": "84.2.1"}, {"setuptools<81"}),
        ({"gunicorn": "20.0.4"}, {"setuptools<81"}),
        ({"gunicorn": "20.1.0", "setuptools": "65.0"}, set()),
        ({"azureml-inference-server-http": "1.3.4"}, {"setuptools<81"}),
        ({"azureml-inference-server-http": "1.5.1"}, set()),
        ({"flask": "2.1.3"}, {"werkzeug<3"}),
        ({"flask": "2.2.5"}, set()),
        ({"flask": "1.1.4", "markupsafe": "3.0"}, {"werkzeug<2.1", "jinja2<3.1", "markupsafe<2.1", "werkzeug<3"}),
        ({"azureml-core": "1.0.45"}, {"azureml-core>=1.50", "setuptools<81"}),
        ({"azureml-core": "1.61.0.post1", "setuptools": "84"}, {"setuptools<81"}),
        ({"azureml-core": "1.61.0.post4", "setuptools": "84"}, set()),
        ({"imbalanced-learn": "0.12.4", "scikit-learn": "1.9.1"}, {"scikit-learn<1.6"}),
        ({"statsmodels": "0.14.2", "scipy": "1.17.1"}, {"scipy<1.16"}),
        ({"lightgbm": "4.5.0", "scikit-learn": "1.9.1"}, {"scikit-learn<1.8"}),
        ({"lightgbm": "4.6.0", "scikit-learn": "1.9.1"}, set()),
        ({"catboost": "1.2.8", "scikit-learn": "1.9.1"}, {"scikit-learn<1.7"}),
        ({"hyperopt": "0.2.7"}, {"setuptools<81"}),
        ({"xgboost": "1.5.2", "setuptools": "84"}, {"setuptools<81"}),
        ({"prophet": "1.1.7", "cmdstanpy": "1.3.2"}, {"cmdstanpy<1.3"}),
        ({"pandas": "1.5.3", "sqlalchemy": "2.0.44"}, {"sqlalchemy<2"}),
    ],
)
def test_what_is_asked_besides(packages: dict[str, str], wanted: set[str]) -> None:
    assert asked(packages) == wanted


def test_distutils_is_in_older_pythons() -> None:
    assert asked({"azureml-inference-server-http": "1.3.4"}, "3.11") == set()
    assert asked({"azureml-inference-server-http": "1.3.4"}, "3.12") == {"setuptools<81"}


def test_a_pin_is_a_pin() -> None:
    pinned = tuple(pinned_names(("azureml-core==1.0.45", "numpy", "six<2", "b[x]")))
    assert set(pinned) == {"azureml-core", "six"}
    assert asked({"azureml-core": "1.0.45"}, pinned=pinned) == {"setuptools<81"}


def test_what_conda_brings_counts_and_has_no_rules_of_its_own() -> None:
    found = asked_besides(
        {"h5py": "3.8.0"}, given={"numpy": "2.4"}, python="3.13", pinned=(), old={known().dated[0]: ("h5py",)}
    )
    assert [(each.requirement, each.package, each.sure) for each in found] == [("numpy<2", "h5py", False)]
    assert asked_besides({}, given={"pandas": "1.5.3", "numpy": "2.4"}, python="3.13", pinned=()) == ()
    assert asked_besides({"pandas": "1.5.3"}, given={"numpy": "9e"}, python="3.13", pinned=()) == ()


# --- a lock that is older than a rule ---


def test_check_holds_a_lock_against_the_rules() -> None:
    plan = example_plan(models=0)
    packages = tuple(
        LockedPackage(name=name, version=version, digests=("a" * 64,))
        for name, version in {"pandas": "1.5.3", "numpy": "2.4.6", "azure-storage-blob": "12.1"}.items()
    )
    locked = msgspec.structs.replace(plan.environment.locked, packages=packages)
    plan = msgspec.structs.replace(plan, environment=msgspec.structs.replace(plan.environment, locked=locked))
    found = {each.message: each.remedy for each in check_incompatible(plan, ("pandas==1.5.3",))}
    assert found == {
        "pandas 1.5.3 has modules that were compiled for NumPy 1; the lock has numpy 2.4.6": (
            "packager lock --upgrade numpy: it asks for numpy<2"
        ),
        "azure-storage-blob 12.1 imports six, which newer ones of azure-core do not bring; the lock has no six": (
            "packager lock --upgrade azure-storage-blob: it asks for six"
        ),
    }


# --- by the date ---

OLD, NEW = "2023-03-09T09:57:30Z", "2024-04-09T09:57:30Z"


def entry(name: str, version: str, file: str, uploaded: str | None) -> str:
    date = f"upload-time = {uploaded}, " if uploaded else ""
    return (
        f'[[packages]]\nname = "{name}"\nversion = "{version}"\n'
        f'wheels = [{{ url = "https://x/{file}", {date}hashes = {{ sha256 = "{"a" * 64}" }} }}]\n'
    )


def solution(numpy: str, *entries: str) -> str:
    of_numpy = entry("numpy", numpy, f"numpy-{numpy}-cp311-cp311-manylinux_2_28_x86_64.whl", NEW)
    return "\n".join(['lock-version = "1.0"', of_numpy, *entries])


def limits(old: dict[Dated, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    return {rule.limit: packages for rule, packages in old.items()}


def test_old_wheels_with_modules_are_found_by_their_date() -> None:
    entries = (
        entry("h5py", "3.8.0", "h5py-3.8.0-cp311-cp311-manylinux_2_17_x86_64.whl", OLD),
        entry("opencv-python", "4.8.1.78", "opencv_python-4.8.1.78-cp37-abi3-manylinux_2_17_x86_64.whl", OLD),
        entry("xgboost", "1.7.6", "xgboost-1.7.6-py3-none-manylinux2014_x86_64.whl", OLD),
        entry("nltk", "3.8", "nltk-3.8-py3-none-any.whl", OLD),
        entry("new", "1", "new-1-cp311-cp311-manylinux_2_17_x86_64.whl", NEW),
        entry("undated", "1", "undated-1-cp311-cp311-manylinux_2_17_x86_64.whl", None),
        entry("odd", "1", "odd.whl", OLD),
    )
    assert limits(old_wheels(solution("2.4.6", *entries))) == {"numpy<2": ("h5py", "opencv-python")}
    assert old_wheels(solution("1.26.4", *entries)) == {}
    assert old_wheels("\n".join(entries)) == {}, "without NumPy none of them needs it"


def test_old_wheels_of_any_kind_may_need_an_old_setuptools() -> None:
    entries = (
        entry("setuptools", "84.2.1", "setuptools-84.2.1-py3-none-any.whl", "2026-03-01T00:00:00Z"),
        entry("jsonschema", "3.2", "jsonschema-3.2-py3-none-any.whl", OLD),
        entry("torch", "2.12", "torch-2.12-cp311-cp311-manylinux_2_28_x86_64.whl", "2026-03-01T00:00:00Z"),
    )
    assert limits(old_wheels(solution("1.26.4", *entries))) == {"setuptools<81": ("jsonschema", "numpy")}


def test_an_old_release_that_the_user_holds_is_of_an_environment_of_its_time() -> None:
    def found(dask: str, *requirements: str) -> set[str]:
        entries = (
            entry("dask", "1", "dask-1-py3-none-any.whl", dask),
            entry("pandas", "3.0.1", "pandas-3.0.1-cp311-cp311-manylinux_2_17_x86_64.whl", "2026-03-01T00:00:00Z"),
        )
        old = old_wheels(solution("2.4.6", *entries), held_names(requirements))
        return {rule.limit for rule, packages in old.items() if "dask" in packages}

    assert found(OLD, "dask==1") == found(OLD, "dask[array]~=1.0") == {"numpy<2", "pandas<3"}
    assert found("2022-03-09T09:57:30Z", "dask<2") == {"numpy<2", "pandas<2", "pandas<3"}
    assert found("2025-03-09T09:57:30Z", "dask<2") == set()
    assert found("2023-04-09T09:57:30Z", "dask==1") == {"numpy<2", "pandas<3"}
    assert found(OLD, "dask>=0.5", "numpy==2.4.6") == set(), "the newest runs with what is new"


def test_what_is_asked_for_one_reason_is_said_once() -> None:
    first = Asked(requirement="numpy<2", package="a", version="1", because="is old")
    others = [msgspec.structs.replace(first, package=name) for name in "bc"]
    odd = msgspec.structs.replace(first, package="d", because="is odd")
    assert [*together([first, odd, *others, first])] == [
        "numpy<2 is asked for besides: a 1 is old (and so b 1, c 1)",
        "numpy<2 is asked for besides: d 1 is odd",
    ]


def test_what_fits_nothing_gives_way_alone() -> None:
    guesses = tuple(
        Asked(requirement=each, package="a", version="1", because="is old", sure=False)
        for each in ("numpy<1.24", "numpy<2", "pandas<3")
    )
    assert give_way(guesses, "numpy<1.24 has no usable wheels") == guesses[:1]
    assert give_way(guesses, "you require pandas==3.0.1 and pandas<3") == guesses[2:]
    assert give_way(guesses, "b needs pandas>=3") == guesses[2:]
    assert give_way(guesses, "nothing fits") == guesses[:1]


# --- the solves ---

REQUEST = LockRequest(
    python="3.11", platforms={"linux/amd64": AMD}, requirements=("h5py==3.8.0", "pyyaml==6.0"), base="python:3.11"
)
ENTRIES = (
    entry("h5py", "3.8.0", "h5py-3.8.0-cp311-cp311-manylinux_2_17_x86_64.whl", OLD),
    entry("pyyaml", "6.0", "pyyaml-6.0-cp311-cp311-manylinux_2_17_x86_64.whl", OLD),
)


def answering(folder: Path, *, refuse: bool = False, numpy: str = "2.4.6") -> None:
    """A uv that takes NumPy 1 where that is asked, and says who needs NumPy."""
    limited = "echo 'error: No solution found: numpy<2' >&2; exit 1" if refuse else "answer=1.26.4"
    (folder / f"{numpy}.toml").write_text(solution(numpy, *ENTRIES))
    (folder / "1.26.4.toml").write_text(solution("1.26.4", *ENTRIES))
    program(
        folder,
        f"""echo "$@" >> "{folder}/runs"
answer={numpy}
if grep -q 'numpy<2' "$5"; then {limited}; fi
case "$6" in
--output-file) cp "{folder}/$answer.toml" "$7" ;;
*) echo "numpy=={numpy}     # via h5py" ;;
esac""",
    )


def test_a_solution_is_solved_again_until_nothing_is_asked(fake_uv: Path) -> None:
    answering(fake_uv)
    solved = UvSolver(fake_uv).solve(REQUEST, "linux/amd64", None, Upgrade(), False)
    assert {each.name: each.version for each in solved.packages}["numpy"] == "1.26.4"
    assert solved.notes == ("numpy<2 is asked for besides: h5py 3.8.0 has modules that were compiled for NumPy 1",)
    assert len((fake_uv / "runs").read_text().splitlines()) == 3, "two solves, and one question about who needs NumPy"


def test_what_only_a_date_tells_gives_way_with_a_word(fake_uv: Path) -> None:
    answering(fake_uv, refuse=True)
    solved = UvSolver(fake_uv).solve(REQUEST, "linux/amd64", None, Upgrade(), False)
    assert {each.name: each.version for each in solved.packages}["numpy"] == "2.4.6"
    (note,) = solved.notes
    assert "h5py 3.8.0" in note
    assert "it may not start" in note


def test_what_is_known_does_not_give_way(fake_uv: Path) -> None:
    answering(fake_uv, refuse=True)
    old = solution("2.4.6", entry("pandas", "1.5.3", "pandas-1.5.3-py3-none-any.whl", None))
    (fake_uv / "2.4.6.toml").write_text(old)
    with pytest.raises(LockError) as refused:
        UvSolver(fake_uv).solve(REQUEST, "linux/amd64", None, Upgrade(), False)
    assert "numpy<2 is asked for besides: pandas 1.5.3 has modules that were compiled for NumPy 1" in str(refused.value)
    assert refused.value.remedy is not None
    assert "take pandas>=2.2.2" in refused.value.remedy


def test_a_sound_solution_is_solved_once(fake_uv: Path) -> None:
    answering(fake_uv, numpy="1.25.0")
    assert UvSolver(fake_uv).solve(REQUEST, "linux/amd64", None, Upgrade(), False).notes == ()
    assert len((fake_uv / "runs").read_text().splitlines()) == 1


def test_conda_is_told_what_its_numpy_does_to_a_wheel(fake_uv: Path) -> None:
    answering(fake_uv, numpy="2.4.6+conda")
    (fake_uv / "2.4.6+conda.toml").write_text(
        solution("2.4.6+conda", entry("pandas", "1.5.3", "pandas-1.5.3-py3-none-any.whl", None))
    )
    given = Provided(python="3.11.9", versions={"numpy": "2.4.6"})
    with pytest.raises(LockError) as refused:
        UvSolver(fake_uv).solve(REQUEST, "linux/amd64", None, Upgrade(), False, given)
    assert "conda brings 2.4.6" in str(refused.value)
    assert "pandas 1.5.3 has modules" in str(refused.value)


def test_the_error_names_the_rules_that_matter() -> None:
    of_numpy = Asked(requirement="numpy<2", package="pandas", version="1.5.3", because="is old", until="2.2.2")
    other = msgspec.structs.replace(of_numpy, requirement="scipy<1", package="b", because="is odd", until=None)
    error = unsolvable(LockError("no packages fit: numpy==2"), (of_numpy, other), "3.13")
    assert "pandas 1.5.3 is old" in str(error)
    assert "is odd" not in str(error)
    assert "another version of b" in str(unsolvable(LockError("why?"), (other,), "3.13"))
    advised = unsolvable(LockError("why?", remedy="take x out: the server brings it"), (other,), "3.13").remedy
    assert str(advised).startswith("take x out: the server brings it; or take another version of b")
    general = LockError("why?", remedy="change the requirements so that they fit together")
    assert str(unsolvable(general, (other,), "3.13").remedy).startswith("take another version of b")


def test_a_rule_of_one_python_holds_for_that_alone() -> None:
    rule = Rule(of=("a<2",), because="x", python="==3.12.*", needs=("b",))
    rules = Known(rule=(rule,))
    for python, count in (("3.12", 1), ("3.13", 0)):
        found = asked_besides({"a": "1"}, given={}, python=python, pinned=(), rules=rules)
        assert len(found) == count
