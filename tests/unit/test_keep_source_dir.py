"""The folder of the app in the image, and literal paths that lead out of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from packager.builders.starting import script_of
from packager.checks.installed import Installed
from packager.checks.literal_paths import literal_path_findings
from packager.checks.packaged import image_of
from packager.checks.reach import reach
from packager.errors import SpecError
from packager.plan.plan import Plan
from packager.plan.planned import Planned
from packager.spec.load import SpecFile, load_spec
from packager.spec.model import packaged
from tests.unit import context_factory as factory

ROOT = "/var/azureml-app"
SPEC = 'name: demo\nversion: "1"\nentry_script: score.py\nenvironment: {pip: [six==1.17.0]}\n'


def project(folder: Path, more: str, files: dict[str, str]) -> tuple[SpecFile, Plan]:
    factory.write_files(folder, {"packager.yaml": SPEC + more, **files})
    spec_file = load_spec(folder)
    return spec_file, factory.plan(spec_file)


def found(folder: Path, more: str, files: dict[str, str]) -> list[tuple[str, str | None]]:
    """Path and remedy of each finding."""
    spec_file, plan = project(folder, more, files)
    image = image_of(spec_file.spec, plan)

    def read(path: str) -> bytes:
        return (folder / image.files[path]).read_bytes()

    reached = reach(image, Installed({}), read)
    findings = literal_path_findings(image, reached, spec_file.spec, read, lambda path: (folder / path).exists())
    return [(each.message.partition(" is beside")[0].strip("'"), each.remedy) for each in findings]


def test_the_source_directory_keeps_its_name(tmp_path: Path) -> None:
    files = {"code/app/score.py": "import helper\n", "code/app/helper.py": "", "code/app/extra.json": "{}"}
    spec_file, plan = project(tmp_path, "source_dir: code/app\nkeep_source_dir: true\n", files)
    assert {f"/{file.path}" for file in plan.app.tree.files} >= {f"{ROOT}/app/score.py", f"{ROOT}/app/extra.json"}
    assert plan.config.working_dir == ROOT
    assert f"--entry_script={ROOT}/app/score.py" in plan.config.entrypoint
    assert plan.config.env["AZUREML_SOURCE_DIRECTORY"] == f"{ROOT}/app"
    assert plan.config.env["AZUREML_ENTRY_SCRIPT"] == "app/score.py"
    script = script_of(Planned(plan=plan, spec=tmp_path / "packager.yaml", requirements=""))
    assert script.entry == "score"
    assert script.modules["helper"] == f"{tmp_path}/code/app/helper.py"
    assert spec_file.spec.app_folder == f"{ROOT}/app"


def test_without_it_nothing_is_other_than_before(tmp_path: Path) -> None:
    spec_file, plan = project(tmp_path, "source_dir: app\nkeep_source_dir: false\n", {"app/score.py": ""})
    assert plan.config.env["AZUREML_SOURCE_DIRECTORY"] == ROOT
    assert plan.config.env["AZUREML_ENTRY_SCRIPT"] == "score.py"
    assert "keep_source_dir" not in packaged(spec_file.spec)


@pytest.mark.parametrize("more", ["", "source_dir: .\n", "source_dir: azureml-models\n"])
def test_a_directory_without_a_name_of_its_own_cannot_keep_it(tmp_path: Path, more: str) -> None:
    with pytest.raises(SpecError, match="name of its own"):
        project(tmp_path, f"{more}keep_source_dir: true\n", {"score.py": ""})


# --- literal paths ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call",
    [
        *("open('./app/extra.json')", "json.load(open('app/extra.json', 'r'))", "pd.read_csv('app/extra.json')"),
        *("open(os.path.join('app', 'extra.json'))", "open(os.path.join('.', Path('app', 'extra.json')))"),
    ],
)
def test_a_path_from_beside_the_spec_is_told(tmp_path: Path, call: str) -> None:
    files = {"app/score.py": f"def init():\n    {call}\n", "app/extra.json": "{}"}
    ((path, remedy),) = found(tmp_path, "source_dir: app\n", files)
    assert path.endswith("app/extra.json")
    assert "keep_source_dir: true" in str(remedy)
    assert found(tmp_path, "source_dir: app\nkeep_source_dir: true\n", files) == []


@pytest.mark.parametrize(
    ("source", "path", "advice", "not_said"),
    [
        ("app", "app/x.json", "open it as 'x.json'", "the app's folder"),
        ("./app/", "app/in/x.json", "open it as 'in/x.json'", "the app's folder"),
        ("src/app", "src/app/x.json", "open it as 'x.json': the app's folder", "keep_source_dir"),
        ("app", "data/x.json", "put it into `source_dir`", "open it as"),
        ("app", "app2/x.json", "put it into `source_dir`", "open it as"),
    ],
)
def test_the_advice_for_a_literal_path(tmp_path: Path, source: str, path: str, advice: str, not_said: str) -> None:
    script = f"{source}/score.py".replace("//", "/").removeprefix("./")
    files = {script: f"def init():\n    open({path!r})\n", path: "{}"}
    ((_, remedy),) = found(tmp_path, f"source_dir: {source}\n", files)
    assert advice in str(remedy)
    assert not_said not in str(remedy)


def test_what_is_left_out_or_is_a_model(tmp_path: Path) -> None:
    files = {
        "score.py": "import helper\nimport joblib\nDATA = open('data/a.csv')\nMODEL = joblib.load('m.pkl')\n",
        "helper.py": "open('kept.txt')\nopen('folder/')\n",
        "data/a.csv": "1",
        "m.pkl": "x",
        "kept.txt": "",
        "folder/x": "",
        ".dockerignore": "data\n",
    }
    first, second = found(tmp_path, "models: [{path: m.pkl}]\n", files)
    assert first[0] == "data/a.csv"
    assert ".dockerignore" in str(first[1])
    assert second[0] == "m.pkl"
    assert "AZUREML_MODEL_DIR" in str(second[1])


@pytest.mark.parametrize(
    "call",
    [
        *("open('data/a.csv', 'w')", "open('data/a.csv', mode='ab')", "open('/data/a.csv')", "open('gone.csv')"),
        *("os.path.join(FOLDER, 'data/a.csv')", "print('data/a.csv')", "open(name)", "open()"),
    ],
)
def test_what_is_no_path_that_is_read(tmp_path: Path, call: str) -> None:
    files = {"score.py": f"def run(data):\n    {call}\n", "data/a.csv": "", ".dockerignore": "data\n"}
    assert found(tmp_path, "", files) == []
