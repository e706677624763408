from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from packager.cli import cli
from packager.environments.declare.curated import curated_names
from packager.environments.declare.v1_names import v1_names
from packager.errors import LockError, PackagerError, UsageError

Run = Callable[..., Result]


@pytest.fixture
def folder(tmp_path: Path, checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The example, which is locked for pip alone, as the current folder."""
    copied = Path(shutil.copytree(checkout / "examples/diabetes", tmp_path / "diabetes"))
    monkeypatch.chdir(copied)
    return copied


@pytest.fixture
def run() -> Run:
    def invoke(*words: str, code: int = 0) -> Result:
        result = CliRunner().invoke(cli, list(words))
        assert result.exit_code == code, f"{result.output}{result.exception!r}"
        return result

    return invoke


def refused(*words: str) -> PackagerError:
    result = CliRunner().invoke(cli, list(words))
    assert isinstance(result.exception, PackagerError), result.output
    return result.exception


# --- list and show ---


def test_list_names_all(run: Run) -> None:
    lines, names = run("environment", "list").stdout.splitlines(), curated_names()
    assert [line.split()[0] for line in lines[: 2 * len(names) : 2]] == list(names)
    assert {line.partition("  as ")[0]: line.partition("  as ")[2] for line in lines[2 * len(names) :]} == v1_names()
    data = json.loads(run("environment", "list", "--format", "json").stdout)
    assert [each["name"] for each in data] == [*names, *v1_names()]
    assert all(each["locked"]["cpu"] == ["linux/amd64", "linux/arm64"] for each in data)


def test_show_has_the_file_the_packages_and_the_way_to_use_it(run: Run, checkout: Path) -> None:
    text = run("environment", "show", "minimal").stdout
    assert text.startswith((checkout / "environments/minimal/environment.yml").read_text())
    assert "azureml-inference-server-http==" in text
    assert yaml.safe_load(text.splitlines()[-1])["environment"]["curated"] == "minimal"
    data = json.loads(run("environment", "show", "minimal", "--format", "json").stdout)
    assert {"name", "version", "platforms"} == set(data["packages"]["cpu"][0])
    assert "did you mean 'minimal'" in str(refused("environment", "show", "minmal"))


# --- diff ---


def change(folder: Path) -> None:
    path = folder / "locks/cpu.requirements.txt"
    text = path.read_text()
    start = text.index("click==")
    path.write_text(text[:start] + "click==0.1 " + text[text.index("\\", start) :])


def test_diff_of_folders_and_files(run: Run, folder: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(folder, tmp_path / "other"))
    assert run("environment", "diff", ".", str(other)).stdout == ""
    change(other)
    for old, new in ((".", other), ("packager.lock", other / "packager.lock"), (folder / "locks", other / "locks")):
        if Path(old).name == "locks":
            old, new = f"{old}/cpu.requirements.txt", Path(f"{new}/cpu.requirements.txt")
        text = run("environment", "diff", str(old), str(new)).stdout
        assert text.splitlines()[0] == "cpu:"
        assert text.splitlines()[1].strip().startswith("click ")
        assert text.splitlines()[1].endswith(" -> 0.1")
    run("environment", "diff", "--exit-code", ".", ".")
    data = json.loads(run("environment", "diff", "--exit-code", "--format", "json", ".", str(other), code=1).stdout)
    assert [(each["name"], each["after"]) for each in data[0]["moves"]] == [("click", "0.1")]


def git(*words: str) -> None:
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.com")
    subprocess.run(["git", *identity, *words], check=True, capture_output=True)


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_diff_with_a_revision_of_git(run: Run, folder: Path) -> None:
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "x")
    change(folder)
    for old in ("HEAD:", "HEAD:.", "HEAD:packager.lock"):
        assert "click" in run("environment", "diff", old, ".").stdout
    assert "click" in run("environment", "diff", "HEAD:locks/cpu.requirements.txt", "locks/cpu.requirements.txt").stdout
    assert "no such file" in str(refused("environment", "diff", "nope:.", "."))
    assert isinstance(refused("environment", "diff", "--", "-x:.", "."), LockError)


def test_diff_of_what_is_not_there(folder: Path) -> None:
    assert isinstance(refused("environment", "diff", ".", "nowhere"), UsageError | LockError)
    assert isinstance(refused("environment", "diff", ".", str(folder / "src")), LockError)


# --- export ---


def test_export_of_pip_alone(run: Run, folder: Path) -> None:
    text = run("export", "--format", "requirements").stdout
    assert text == (folder / "locks/cpu.requirements.txt").read_text()
    result = run("export", "--format", "environment-yml", "-o", "out.yml")
    assert result.stdout == "out.yml\n"
    data = yaml.safe_load((folder / "out.yml").read_text())
    assert data["dependencies"][:2] == ["python=3.13", "pip"]
    assert len(data["dependencies"][2]["pip"]) == text.count("==")


@pytest.mark.parametrize("form", ["conda-lock", "explicit"])
def test_export_says_what_a_format_cannot_hold(folder: Path, form: str) -> None:
    error = refused("export", "--format", form)
    assert isinstance(error, UsageError)
    assert "no conda packages" in str(error)


def test_export_of_another_platform_or_a_stale_lock(folder: Path) -> None:
    error = refused("export", "--format", "requirements", "--platform", "linux/s390x")
    assert "not locked for linux/s390x" in str(error)
    (folder / "requirements.txt").write_text("numpy\n")
    assert isinstance(refused("export", "--format", "requirements"), LockError)


def test_neither_rattler_nor_conda_lock_is_imported(folder: Path) -> None:
    (folder / "environment.yml").write_text("dependencies: [python=3.13, 'numpy>=2', {pip: [six]}]\n")
    spec = (folder / "packager.yaml").read_text().replace("requirements.txt\n", "environment.yml\n")
    (folder / "packager.yaml").write_text(spec)
    code = (
        "import sys; sys.argv[0] = 'packager'\n"
        "from packager.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    for words in (["lock", "--check"], ["environment", "list"], ["export", "--format", "conda-lock"], ["plan"]):
        done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
        loaded = set(done.stderr.split())
        assert "packager.environments.conda" in loaded
        assert not {"rattler", "conda_lock", "pydantic"} & loaded
