"""The house: pure modules import nothing that acts, and starting up is free."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import packager

PACKAGE = Path(packager.__file__).parent

#: Modules that decide: values in, values out.
PURE = (
    "checks/code_findings.py",
    "checks/constants.py",
    "checks/declared.py",
    "checks/entry_script.py",
    "finding.py",
    "checks/frameworks.py",
    "checks/import_findings.py",
    "checks/installed.py",
    "checks/known_modules.py",
    "checks/module_facts.py",
    "checks/module_reader.py",
    "checks/module_search.py",
    "models/pickle_reader.py",
    "models/pickle_stream.py",
    "checks/pickled_models.py",
    "checks/reach.py",
    "context/build_context.py",
    "context/dockerignore.py",
    "dockerfile/stages.py",
    "spec/channel.py",
    "environments/declare/match_spec.py",
    "environments/declare/conda_python.py",
    "environments/locks/difference.py",
    "environments/locks/formats.py",
    "environments/lock.py",
    "environments/declare/request.py",
    "errors.py",
    "handoff/instructions.py",
    "plan/variables.py",
    "engine/bake_file.py",
    "builders/choose.py",
    "oci/values.py",
    "oci/compose.py",
    "oci/parse.py",
    "builders/output_option.py",
    "laying/recipe.py",
    "reference.py",
    "environments/conda.py",
    "plan/plan.py",
    "models/graphs.py",
    "models/protobuf.py",
    "spec/framework.py",
    "spec/texts.py",
    "plan/make.py",
    "serving/hosts/process/places.py",
    "spec/model.py",
    "spec/schema.py",
    "plan/trees.py",
)
ACTING = {"subprocess", "docker", "requests", "urllib", "socket", "time", "random", "tempfile", "shutil", "os"}
ADAPTERS = (
    "packager.cli",
    "packager.storage.models",
    "packager.storage.files",
    "packager.pipeline",
    "packager.engine.api",
    "packager.engine.buildx",
    "packager.registry.resolve",
    "packager.environments.solve.pip",
    "packager.context.save",
    "packager.context.sources",
)


def imports(path: Path) -> set[str]:
    """Every module that a file imports, those inside functions included."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            module = node.module or ""
            found |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("name", PURE)
def test_pure_modules_do_not_act(name: str) -> None:
    found = imports(PACKAGE / name)
    assert not {each.partition(".")[0] for each in found} & ACTING
    assert not [each for each in found if each.startswith(ADAPTERS)]


def test_only_the_command_line_imports_the_command_line() -> None:
    for path in PACKAGE.rglob("*.py"):
        relative = path.relative_to(PACKAGE)
        if relative.parts[0] == "cli" or relative.name == "__main__.py":
            continue
        assert not [each for each in imports(path) if each.startswith("packager.cli")], relative


def test_what_runs_in_the_image_needs_nothing_of_ours() -> None:
    for path in (PACKAGE / "programs/image").glob("*.py"):
        own = {each.partition(".")[0] for each in imports(path) if not each.startswith("packager.programs.image")}
        assert own <= sys.stdlib_module_names | {"gunicorn"}, path
        ast.parse(path.read_text(), feature_version=(3, 9))


@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_starting_up_imports_nothing_heavy(argument: str) -> None:
    code = (
        "import sys; sys.argv = ['packager', sys.argv[1]]\n"
        "from packager.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, argument], capture_output=True, text=True, check=True)
    loaded = set(done.stderr.split())
    assert "packager.cli" in loaded
    heavy = {"jinja2", "docker", "conda_lock", "rattler", "rich", "requests", "msgspec", "yaml", "uv", "sqlite3"}
    assert not loaded & heavy
