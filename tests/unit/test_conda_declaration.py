from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packager.checks.declared import check_environment
from packager.environments.declare.conda_file import Parts, read_conda_file
from packager.environments.declare.environment import Environment, read_environment, read_environments
from packager.environments.declare.requirement import INFERENCE_SERVER
from packager.errors import Location, SpecError
from packager.spec import load_spec

LEAST = 'name: a\nversion: "1"\nentry_script: score.py\n'
FULL = """\
name: diabetes
channels:
  - https://conda.example.com/private
  - conda-forge/label/rc
  - defaults
  - nodefaults
dependencies:
  - python=3.12
  - conda-forge::NumPy >=2
  - numpy >=2      # [linux]
  - pip
  - pip:
      - -r more.txt
      - -c bounds.txt
      - Flask-Login>=0.6  # a comment
variables:
  OMP_NUM_THREADS: 1
  MODE: fast
prefix: /home/me/env
"""


def read(folder: Path, text: str, *, file: str = "environment.yml", more: str = "", **others: str) -> Environment:
    """Read the environment of a spec whose folder holds some files."""
    (folder / "packager.yaml").write_text(f"{LEAST}environment: {file}\n{more}", "utf-8")
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    (folder / file).write_text(text, "utf-8")
    for name, content in others.items():
        (folder / name.replace("__", ".")).write_text(content, "utf-8")
    return read_environment(load_spec(folder))


def inline(folder: Path, environment: str, more: str = "") -> Environment:
    (folder / "packager.yaml").write_text(f"{LEAST}environment: {environment}\n{more}", "utf-8")
    return read_environment(load_spec(folder))


def refused(folder: Path, text: str, *, file: str = "environment.yml", more: str = "", **others: str) -> SpecError:
    with pytest.raises(SpecError) as caught:
        read(folder, text, file=file, more=more, **others)
    assert caught.value.remedy, f"no remedy: {caught.value}"
    return caught.value


def test_a_file_as_people_have_it(tmp_path: Path) -> None:
    found = read(tmp_path, FULL, more__txt="SIX\n", bounds__txt="six<2\n")
    assert found.conda is not None
    assert found.conda.specs == ("conda-forge::numpy >=2", "numpy >=2", "pip", "python 3.12.*")
    assert found.conda.channels == ("https://conda.example.com/private", "conda-forge/label/rc", "main", "conda-forge")
    assert found.python == "3.12"
    assert found.requirements == (INFERENCE_SERVER, "flask-login>=0.6", "six")
    assert found.constraints == ("six<2",)
    assert found.variables == {"MODE": "fast", "OMP_NUM_THREADS": "1"}
    assert sorted(found.inputs) == ["bounds.txt", "environment.yml", "more.txt"]
    assert found.inputs["environment.yml"] == f"sha256:{hashlib.sha256(FULL.encode()).hexdigest()}"
    assert [note.removeprefix(f"{tmp_path}/environment.yml:").split(":")[0] for note in found.notes] == [
        "5", "6", "10", "19",
    ]  # fmt: skip
    for note, part in zip(found.notes, ("`main`", "nodefaults", "[linux]", "prefix"), strict=True):
        assert part in note


def test_an_environment_file_in_utf_16_as_powershell_writes_it(tmp_path: Path) -> None:
    read(tmp_path, "dependencies: [python=3.13]\n")
    (tmp_path / "environment.yml").write_bytes("dependencies:\r\n- python=3.12\r\n".encode("utf-16"))
    assert read_environment(load_spec(tmp_path)).python == "3.12"


def test_the_category_of_conda_lock_is_main(tmp_path: Path) -> None:
    text = "dependencies: [python=3.13]\n"
    assert read(tmp_path, f"category: main\n{text}").conda == read(tmp_path, text).conda
    for category in ("dev", "test", "[main]", "null"):
        error = refused(tmp_path, f"{text}category: {category}\n")
        assert "category" in error.message
        assert error.where == Location(file=str(tmp_path / "environment.yml"), line=2, field="category")


def test_notes_are_findings_with_their_place(tmp_path: Path) -> None:
    read(tmp_path, FULL.replace("MODE", "API_TOKEN"), more__txt="", bounds__txt="")
    spec_file = load_spec(tmp_path)
    findings = list(check_environment(read_environment(spec_file), spec_file))
    assert [(each.rule, each.severity) for each in findings] == [
        ("env-secret", "warning"), *[("environment-note", "info")] * 4
    ]  # fmt: skip
    assert (findings[-1].file, findings[-1].line) == (str(tmp_path / "environment.yml"), 19)


def test_spelling_and_order_change_nothing(tmp_path: Path) -> None:
    one = read(tmp_path, "channels: [a, b]\ndependencies: [python=3.13, 'Numpy >= 1, < 3', six]\n")
    two = read(tmp_path, "name: x\ndependencies: [six, 'numpy>=1,<3', six, python 3.13.*]\nchannels: [a, b, a]\n")
    assert one.conda == two.conda


def test_the_order_of_channels_is_their_priority(tmp_path: Path) -> None:
    found = read(tmp_path, "channels: [b, a]\ndependencies: [python=3.13, mkl]\n")
    assert found.conda is not None
    assert found.conda.channels == ("b", "a")


def test_without_channels_it_is_conda_forge_and_said_so(tmp_path: Path) -> None:
    found = read(tmp_path, "dependencies: [python=3.13, mkl]\n")
    assert found.conda is not None
    assert found.conda.channels == ("conda-forge",)
    assert "conda-forge is asked" in found.notes[-1]


@pytest.mark.parametrize("name", ["azureml-inference-server-http", "azureml_inference_server_http=1.5"])
def test_the_inference_server_of_conda_is_enough(tmp_path: Path, name: str) -> None:
    assert read(tmp_path, f"dependencies: [python=3.13, {name}]\n").requirements == ()


def test_python_of_the_spec_is_asked_of_conda(tmp_path: Path) -> None:
    found = read(tmp_path, "dependencies: [numpy]\n", more='python: "3.12"\n')
    assert found.conda is not None
    assert found.conda.specs == ("numpy", "python 3.12.*")
    assert found.python == "3.12"


def test_conda_chooses_a_python_that_is_left_open(tmp_path: Path) -> None:
    assert read(tmp_path, "dependencies: ['python>=3.11', mkl]\n").python is None


PIP = "{pip: [six, azureml-defaults]}"


@pytest.mark.parametrize(
    ("dependencies", "more", "python"),
    [
        (f"[python=3.8.13, pip==20.2.4, {PIP}]", "", "3.8"),
        (f"[conda-forge::python=3.12, {PIP}]", "", "3.12"),
        (f"['python=3.12.1=h123_0_cpython', {PIP}]", "", "3.12"),
        (f"['python>=3.9', pip, {PIP}]", "", "3.13"),
        (f"['python<3.11', pip, {PIP}]", "", "3.10"),
        (f"['python>=3.14', {PIP}]", "", "3.14"),
        (f"[pip, {PIP}]", "", "3.13"),
        (f"[pip, {PIP}]", 'python: "3.9"\n', "3.9"),
        (f"['python>=3.9', {PIP}]", 'python: "3.11"\n', "3.11"),
    ],
)
def test_python_and_pip_alone_need_no_conda(tmp_path: Path, dependencies: str, more: str, python: str) -> None:
    text = f"channels: [private]\ndependencies: {dependencies}\nvariables: {{MODE: a}}\n"
    found = read(tmp_path, text, more=more)
    assert (found.conda, found.python, found.variables) == (None, python, {"MODE": "a"})
    assert found.requirements == ("azureml-inference-server-http", "inference-schema", "six")
    notes = "\n".join(found.notes)
    assert f"on the base image of Python {python}" in notes
    assert ("need not be 3.8.13" in notes) is ("=3.8.13" in dependencies)


@pytest.mark.parametrize(
    ("dependencies", "more"),
    [
        (f"[python=3.12, openssl, {PIP}]", ""),
        (f"['python=3.9=*_pypy', {PIP}]", ""),
        (f"[python=3.12, {PIP}]", "base: debian:trixie-slim\n"),
        (f"[python=3.12, {PIP}]", "targets: {cpu: {base: debian:trixie-slim}}\n"),
        (f"[python=3.12, {PIP}]", "targets: [gpu]\n"),
    ],
)
def test_conda_brings_what_the_base_may_not_have(tmp_path: Path, dependencies: str, more: str) -> None:
    assert read(tmp_path, f"dependencies: {dependencies}\n", more=more).conda is not None


def test_targets_with_and_without_a_python_in_their_base(tmp_path: Path) -> None:
    read(tmp_path, f"dependencies: [python=3.12, {PIP}]\n", more="targets: [cpu, gpu]\n")
    found = read_environments(load_spec(tmp_path))
    assert [each.conda is None for each in found.values()] == [True, False]


def test_a_map_of_names(tmp_path: Path) -> None:
    more = "conda: {name_map: names.yml}\n"
    found = read(
        tmp_path, "dependencies: [python=3.13, mkl]\n", more=more, names__yml="pytorch: Torch\nmy.pkg: my_pkg\n"
    )
    assert found.names == {"pytorch": "torch", "my.pkg": "my-pkg"}
    assert sorted(found.inputs) == ["environment.yml", "names.yml"]
    error = refused(tmp_path, "dependencies: [python=3.13, mkl]\n", more=more, names__yml="a: b\nc: [d]\n")
    assert str(error.where) == f"{tmp_path}/names.yml:2 (c)"


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("dependencies: []\n", 1, "names no dependencies"),
        ("channels: [a]\n", 1, "names no dependencies"),
        ("dependencies: [numpy]\n", 4, "has no python"),
        ("dependencies:\n  - python=3.13\n  - 3.10\n", 3, "3.1 is no dependency"),
        ("dependencies:\n  - python=3.13\n  - npm: [x]\n", 3, "section 'npm'"),
        ("dependencies:\n  - python=3.13\n  - pip: [1]\n", 3, "1 is not a requirement"),
        ("dependencies:\n  - python=3.13\n  - pip:\n    - git+https://example.com/x\n", 4, "VCS reference"),
        ("dependencies:\n  - python=3.13\n  - pip:\n    - --index-url https://a:hush@b/\n", 4, "--index-url"),
        ("dependencies:\n  - python=3.13\n  - pip:\n    - -r ../x.txt\n", 4, "leaves the folder"),
        ("dependencies:\n  - python=3.13\n  - pip:\n    - -e ./lib\n", 4, "editable"),
        ("dependencies:\n  - python=3.13\n  -\n", 3, "an item of `dependencies` is empty"),
        ("dependencies:\n  - python=3.13\n  - pip:\n    - six\n    -\n", 5, "an item of `pip` is empty"),
        ("dependencies:\n  - python=3.13\n  - pip:\n    - --find-links https://x/y\n", 4, "names no folder of wheels"),
        ("dependencies:\n  - python=3.13\n  - python=3.12\n", 3, "contradicts"),
        ("dependencies:\n  - python=3.13\n  - num py=1=2=3\n", 3, "not valid"),
        ("dependencies: {python: 3}\n", 1, "not a list"),
        ("channels: conda-forge\ndependencies: [python=3.13]\n", 1, "not a list"),
        ("channels:\n- a\n- https://me:hush@x/c\ndependencies: [python=3.13]\n", 3, "credentials"),
        ("channels:\n- https://me:$A-hush@x/c\ndependencies: [python=3.13]\n", 2, "one whole variable"),
        ("channels:\n- https://$HOST/c\ndependencies: [python=3.13]\n", 2, "environment variables are replaced only"),
        ("channels:\n- https://$A:hush@x/c\ndependencies: [python=3.13]\n", 2, "replaced only"),
        ("channels:\n- https://$A:$B@x/t/$C/c\ndependencies: [python=3.13]\n", 2, "both a user and a token"),
        ("channels:\n- s3://$A:$B@x/c\ndependencies: [python=3.13]\n", 2, "by s3 takes no credentials"),
        ("channels: [1]\ndependencies: [python=3.13]\n", 1, "not text"),
        ("dependencies: [python=3.13]\nextra: 1\n", 2, "unknown key 'extra'"),
        ("dependencies: [python=3.13]\nvariables:\n  A: yes\n", 3, "not text"),
        ("dependencies: [python=3.13]\nvariables:\n  A: 1.10\n", 3, "not text"),
        ("dependencies: [python=3.13]\nvariables:\n  A B: x\n", 3, "not a name"),
        ("dependencies: [python=3.13]\nvariables:\n  PATH: x\n", 3, "set by packager"),
        ('dependencies: [python=3.13]\nvariables:\n  A: "x\\ny"\n', 3, "not a line of text"),
        ("dependencies: [python=3.13]\nvariables: [A]\n", 2, "not a mapping"),
    ],
)
def test_errors_name_the_line(tmp_path: Path, text: str, line: int, message: str) -> None:
    error = refused(tmp_path, text)
    assert message in str(error)
    assert error.where is not None
    assert error.where.line == line
    assert "hush" not in str(error)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://$USER:${TOKEN}@Conda.example.com/team/", "https://${USER}:${TOKEN}@conda.example.com/team"),
        ("https://__token__:$TOKEN@x:8443/c", "https://__token__:${TOKEN}@x:8443/c"),
        ("https://$TOKEN@x/c", "https://${TOKEN}@x/c"),
        ("https://x/t/$TOKEN/c/label/dev", "https://x/t/${TOKEN}/c/label/dev"),
        ("https://x/conda/t/${TOKEN}/c", "https://x/conda/t/${TOKEN}/c"),
    ],
)
def test_variables_in_place_of_credentials(tmp_path: Path, text: str, expected: str) -> None:
    found = read(tmp_path, f"channels: ['{text}']\ndependencies: [python=3.13, '{text}::numpy']\n").conda
    assert found is not None
    assert found.channels == (expected,)
    assert f"{expected}::numpy" in found.specs


def test_python_of_spec_and_file_that_contradict(tmp_path: Path) -> None:
    error = refused(tmp_path, "dependencies:\n  - python=3.12\n", more='python: "3.13"\n')
    assert f"{tmp_path}/packager.yaml:5" in error.message
    assert str(error.where) == f"{tmp_path}/environment.yml:2 (dependencies[0])"


def test_includes_of_pip_are_relative_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "env").mkdir()
    (tmp_path / "env/base.txt").write_text("six\n")
    found = read(tmp_path, "dependencies: [python=3.13, {pip: [-r base.txt]}]\n", file="env/environment.yml")
    assert "six" in found.requirements


def test_a_file_of_azure_ml(tmp_path: Path) -> None:
    text = (
        "name: project_environment\ndependencies:\n- python=3.11\n- pip:\n  - azureml-defaults\n"
        "channels:\n- anaconda\n- conda-forge\n"
    )
    found = read(tmp_path, text, file="conda_dependencies.yml")
    assert found.python == "3.11"
    assert found.requirements == (INFERENCE_SERVER, "inference-schema")


# --- inline ---


def test_conda_and_pip_in_the_spec(tmp_path: Path) -> None:
    found = inline(tmp_path, "{channels: [forge], conda: [python=3.13, other::six], pip: [Flask], variables: {A: b}}")
    assert found.conda is not None
    assert found.conda.specs == ("other::six", "python 3.13.*")
    assert found.conda.channels == ("forge", "other")
    assert found.requirements == (INFERENCE_SERVER, "flask")
    assert found.variables == {"A": "b"}
    assert found.inputs == {}


def test_pip_alone_in_the_spec_is_no_conda(tmp_path: Path) -> None:
    found = inline(tmp_path, "{channels: [forge], pip: [six]}")
    assert found.conda is None
    assert found.python is None
    assert "channels say nothing" in found.notes[0]


def test_errors_of_what_stands_in_the_spec_name_its_lines(tmp_path: Path) -> None:
    for text, field in (
        ("conda: [python=3.13, 'a b c d']", "environment.conda[1]"),
        ("pip: ['a b']", "environment.pip[0]"),
    ):
        with pytest.raises(SpecError) as caught:
            inline(tmp_path, "\n  " + text)
        assert caught.value.where is not None
        assert (caught.value.where.line, caught.value.where.field) == (5, field)


# --- on a curated environment ---


def test_a_curated_environment_takes_python_from_the_base_image(tmp_path: Path) -> None:
    found = inline(tmp_path, "{curated: minimal, pip: [six], variables: {A: b}}")
    assert found.conda is None
    assert (found.python, found.curated) == ("3.13", "minimal")
    assert found.requirements == ("azureml-inference-server-http<2,>=1.5", "six")
    assert found.inputs == {}


def test_a_requirement_of_the_user_takes_the_place_of_the_curated_one(tmp_path: Path) -> None:
    found = inline(tmp_path, "{curated: sklearn, pip: [scikit-learn==1.7.1]}")
    assert [each for each in found.requirements if each.startswith("scikit-learn")] == ["scikit-learn==1.7.1"]
    assert "takes the place of 'scikit-learn<2,>=1.6'" in found.notes[0]


def test_conda_packages_make_a_curated_environment_conda(tmp_path: Path) -> None:
    found = inline(tmp_path, "{curated: sklearn, channels: [mine], conda: [graphviz]}")
    assert found.conda is not None
    assert found.conda.specs == ("graphviz", "python 3.13.*")
    assert found.conda.channels == ("mine", "conda-forge")
    assert "scikit-learn<2,>=1.6" in found.requirements
    assert (found.python, found.curated) == ("3.13", "sklearn")


def test_a_curated_environment_with_another_python_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"python 3\.13") as caught:
        inline(tmp_path, "{curated: sklearn}", 'python: "3.12"\n')
    assert "packager.yaml:5" in str(caught.value)


def test_a_curated_environment_that_is_none_says_which_is_near(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="no curated environment 'skleran'") as caught:
        inline(tmp_path, "{curated: skleran}")
    assert "did you mean 'sklearn'" in str(caught.value)
    assert "packager.yaml:4 (environment.curated)" in str(caught.value)


@given(st.text(max_size=200) | st.text(alphabet="-:[]{}&*!|>'\"%@` \nab=1", max_size=80))
def test_any_file_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    folder = tmp_path_factory.getbasetemp()

    def read_text(content: str) -> Parts:
        (folder / "any.yml").write_text(content, "utf-8", newline="")
        return read_conda_file(folder, folder, Path("any.yml"))

    for start in ("dependencies:\n", "dependencies:\n- python=3.13\n"):
        try:
            found = read_text(f"{start}{text}")
        except SpecError:
            continue
        assert found.files == (Path("any.yml"),)
        assert found.specs or found.requirements
    comment = "".join(each for each in text if each.isprintable())
    found = read_text(f"dependencies:\n- python=3.13 # {comment}\n")
    assert [str(each.spec) for each in found.specs] == ["python 3.13.*"]
