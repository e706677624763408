"""What installed packages add: each test installs a tiny one, as pip leaves it, on the path of a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from packager.checks.of_extensions import extension_findings
from packager.finding import Finding
from packager.spec.load import SpecFile, load_spec

SPEC = 'name: mine\nversion: "1"\nentry_script: score.py\nenvironment: {pip: []}\ntargets: [TARGET]\n'
RULES = """\
from packager.finding import Finding

def check(spec_file):
    yield Finding(rule="example-owner", severity="warning", message=f"{spec_file.spec.name} has no owner",
                  file=str(spec_file.document.path))

def broken(spec_file):
    yield 1 / 0
"""


def install(site: Path, entries: str, **files: str) -> None:
    """Lay a package down as an installer does: its files, and its metadata."""
    for name, text in {"__init__.py": "raise SystemExit('is imported')\n", **files}.items():
        path = site / "example_packager" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    info = site / "example_packager-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: example-packager\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entries)


def run(site: Path, *words: str, target: str = "cpu") -> subprocess.CompletedProcess[str]:
    folder = site.parent / "package"
    folder.mkdir(exist_ok=True)
    (folder / "packager.yaml").write_text(SPEC.replace("TARGET", target))
    (folder / "score.py").write_text("def init():\n    pass\n\n\ndef run(data):\n    return data\n")
    environ = {**os.environ, "PYTHONPATH": f"{site}:{os.environ.get('PYTHONPATH', '')}"}
    return subprocess.run(
        [sys.executable, "-m", "packager", *words], cwd=folder, env=environ, capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return tmp_path / "site"


@pytest.fixture
def cpu(checkout: Path) -> str:
    return (checkout / "templates/cpu.toml").read_text()


TARGETS = "[packager.targets]\nexample = example_packager\n"


def test_a_target_of_an_installed_package_is_one_as_any(site: Path, cpu: str) -> None:
    """And nothing of the package is imported for it."""
    install(site, TARGETS, **{"templates/example.toml": cpu.replace('description = "', 'description = "Example: ')})
    listed = json.loads(run(site, "target", "list", "--format", "json").stdout)
    assert {"example", "cpu"} <= {each["name"] for each in listed}
    assert "Example: " in run(site, "target", "show", "example").stdout
    unknown = run(site, "lock", "--check", target="exmaple")
    assert "example" in unknown.stderr
    # What it says now is of the lock: the target is known.
    known = run(site, "lock", "--check", target="example")
    assert (known.returncode, "unknown target" in known.stderr) == (3, False)


@pytest.mark.parametrize(
    ("entries", "files", "said"),
    [
        ("[packager.targets]\nexample = no_such_package\n", {}, "no_such_package is no package with a folder"),
        (TARGETS, {}, "example_packager is no package with a folder `templates`"),
        (TARGETS, {"templates/cpu.toml": ""}, "have a 'cpu', as packager itself has"),
    ],
)
def test_what_is_wrong_with_installed_targets_names_the_package(
    entries: str, files: dict[str, str], said: str, site: Path
) -> None:
    install(site, entries, **files)
    done = run(site, "target", "list")
    assert done.returncode == 1
    assert said in done.stderr
    assert "'example' of example-packager 1.0" in done.stderr
    # Who uses none of them is not kept from working.
    assert "example" not in run(site, "lock", "--check").stderr


def test_a_wrong_target_and_a_template_that_would_not_be_read_are_named(site: Path, cpu: str) -> None:
    own = cpu.replace('template = "cpu.Dockerfile.j2"', 'template = "own.Dockerfile.j2"')
    assert own != cpu
    files = {"templates/own.toml": own, "templates/own.Dockerfile.j2": "", "templates/bad.toml": "x = 1\n"}
    install(site, TARGETS, **files)
    done = run(site, "lock", "--check", target="own")
    assert (done.returncode, "own.Dockerfile.j2 beside it is not read" in done.stderr) == (2, True)
    assert "bad.toml" in run(site, "lock", "--check", target="bad").stderr


def test_checks_of_an_installed_package_are_among_the_findings(site: Path) -> None:
    entries = "[packager.checks]\nowner = example_packager.rules:check\nbroken = example_packager.rules:broken\n"
    install(site, entries, **{"rules.py": RULES, "__init__.py": ""})
    done = run(site, "check", "--offline", "--format", "json")
    found = {each["rule"]: each for each in json.loads(done.stdout)}
    assert found["example-owner"]["message"] == "mine has no owner"
    failed = found["check-failed"]
    assert failed["severity"] == "error"
    assert failed["message"].startswith("the check 'broken' of example-packager 1.0 ended with ZeroDivisionError")
    assert "mend example_packager.rules:broken" in failed["remedy"]
    assert "Traceback" not in done.stderr


def not_a_finding(spec_file: SpecFile) -> list[Any]:
    return ["owner is missing"]


def no_severity(spec_file: SpecFile) -> list[Any]:
    return [Finding(rule="a", severity="fatal", message="m", file="f")]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("tests.unit.test_extensions:not_a_finding", "TypeError: it gave 'owner is missing'"),
        ("tests.unit.test_extensions:no_severity", "ValueError: 'fatal' is no severity"),
        ("no_such_module:check", "ModuleNotFoundError"),
        ("json:no_such_name", "AttributeError"),
        ("json:loads", "TypeError"),
    ],
)
def test_a_check_that_is_none_is_a_finding_and_no_crash(value: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "packager.yaml").write_text(SPEC.replace("TARGET", "cpu"))
    check = EntryPoint(name="own", value=value, group="packager.checks")
    (found,) = extension_findings(load_spec(tmp_path), (check,))
    assert (found.rule, found.severity) == ("check-failed", "error")
    assert said in found.message
