"""The house: which room may import which, which rooms only decide, and what starting up costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from keyword import iskeyword
from pathlib import Path

import pytest

import packager
from packager.cli import VERBS

PACKAGE = Path(packager.__file__).parent

#: Modules beside the rooms, which every room may use. They use each other in this order alone.
GROUND = (
    "packager", "errors", "decoding", "given", "docker_config", "progress",
    "scratch", "contract", "reference", "resources", "units", "interruption", "finding",
    "proxies", "connections", "http", "revision", "extensions", "similar", "debian", "mistyped",
    "toml_document", "target_file", "targets",
)  # fmt: skip

#: Room → the rooms that it may import, in the order of the way of the data. Read it from the top: each is built on
#: those before it.
ARROWS: dict[str, set[str]] = {
    "spec": set(),
    "storage": set(),
    "programs": set(),
    "models": {"spec", "storage"},
    "environments": {"spec", "models"},
    "plan": {"spec", "environments"},
    "context": {"spec", "storage", "models", "plan"},
    "dockerfile": {"spec", "storage", "plan", "context"},
    "oci": {"storage", "plan", "context"},
    "registry": {"storage", "oci"},
    "engine": {"environments", "context"},
    "handoff": {"storage", "plan", "context", "dockerfile", "engine"},
    "laying": {"spec", "storage", "programs", "environments", "oci"},
    "builders": {"spec", "storage", "plan", "context", "oci", "registry", "engine", "handoff", "laying"},
    "serving": {"spec", "storage", "programs", "plan", "context", "engine"},
    # `service:` and an image → files of platforms, and their record.
    "deployment": {"spec", "storage", "programs", "plan", "serving"},
    "batches": {"storage", "programs", "serving"},
    "checks": {"spec", "storage", "models", "environments", "plan", "laying"},
    "init": {"spec", "models", "environments", "context", "checks"},
    # It shows what others found out, as values of its own.
    "reports": set(),
    "workspace": {"spec", "storage", "models", "context", "oci", "registry"},
    "delivery": {"storage", "workspace"},
    "steps": {
        "spec", "storage", "environments", "plan", "context", "dockerfile", "registry", "engine", "handoff", "laying",
        "builders", "serving", "deployment", "batches", "checks", "init", "reports", "workspace", "delivery",
    },
    # Azure ML's v1 API: shapes of its own over what steps do.
    "azureml": {"spec", "workspace", "serving", "steps"},
    # What people ask for is a step; of a spec it needs the loader, and of the schema its text.
    "cli": {"spec", "steps"},
}  # fmt: skip

#: Rooms that decide: values in, values out.
PURE = ("plan",)
#: Modules that decide, in rooms where others act.
PURE_MODULES = (
    "batches/answers.py",
    "batches/splitting.py",
    "batches/values.py",
    "builders/choose.py",
    "context/build_context.py",
    "context/dockerignore.py",
    "contract.py",
    "delivery/decide.py",
    "delivery/values.py",
    "deployment/aci.py",
    "deployment/compose.py",
    "deployment/iot_edge.py",
    "deployment/kubernetes/names.py",
    "deployment/kubernetes/removal.py",
    "deployment/kubernetes/render.py",
    "deployment/kubernetes/values.py",
    "deployment/quadlet.py",
    "deployment/quoting.py",
    "deployment/record.py",
    "deployment/terms.py",
    "deployment/workload.py",
    "dockerfile/dialect.py",
    "dockerfile/stages.py",
    "engine/bake_file.py",
    "environments/channel_credentials.py",
    "environments/channel_mirrors.py",
    "environments/conda.py",
    "environments/declare/match_spec.py",
    "environments/declare/request.py",
    "environments/lock.py",
    "environments/locked.py",
    "environments/locks/difference.py",
    "environments/locks/formats.py",
    "environments/uv_errors.py",
    "errors.py",
    "finding.py",
    "laying/recipe.py",
    "laying/wheel_members.py",
    "models/graphs.py",
    "models/protobuf.py",
    "oci/compose.py",
    "oci/parse.py",
    "oci/values.py",
    "proxies.py",
    "reference.py",
    "reports/difference.py",
    "reports/treemap.py",
    "serving/hosts/process/places.py",
    "serving/killed.py",
    "serving/matching.py",
    "serving/picture.py",
    "serving/profile.py",
    "serving/profile_plot.py",
    "serving/profile_report.py",
    "serving/profile_samples.py",
    "serving/profile_search.py",
    "spec/cases.py",
    "spec/examples.py",
    "spec/framework.py",
    "spec/model.py",
    "spec/schema.py",
    "spec/tags.py",
    "spec/texts.py",
    "workspace/artifact.py",
    "workspace/documents.py",
    "workspace/drafts.py",
    "workspace/encoding.py",
    "workspace/file_roles.py",
    "workspace/modelpack.py",
    "workspace/names.py",
    "workspace/paths.py",
    "workspace/sources/addresses.py",
    "workspace/sources/values.py",
    "workspace/tags.py",
    "workspace/values.py",
)
ACTING = {"subprocess", "docker", "requests", "urllib.request", "socket", "time", "random", "tempfile", "shutil", "os"}


def imports(path: Path) -> set[str]:
    """Every module that a file imports when it runs, those inside functions included, those for types alone not."""
    tree = ast.parse(path.read_text())
    for_types = {
        id(node)
        for test in ast.walk(tree)
        if isinstance(test, ast.If) and isinstance(test.test, ast.Name) and test.test.id == "TYPE_CHECKING"
        for node in ast.walk(test)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            module = node.module or ""
            found |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return found


def rooms_of(path: Path) -> set[str]:
    """The rooms, and the modules beside them, that a file imports."""
    modules = (name.split(".") for name in imports(path))
    names = {parts[1] for parts in modules if parts[0] == "packager" and len(parts) > 1}
    return {name for name in names if (PACKAGE / name).is_dir() or (PACKAGE / f"{name}.py").is_file()}


def test_the_table_has_every_room_and_nothing_else() -> None:
    rooms = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}
    assert rooms == set(ARROWS)
    ground = {path.stem for path in PACKAGE.glob("*.py") if not path.stem.startswith("__")}
    assert ground | {"packager"} == set(GROUND)


def test_no_room_has_the_name_of_a_function() -> None:
    """Once the room is imported, `packager.report` would be the module."""
    assert not {*ARROWS, *GROUND} & {*packager.__all__}


def test_the_arrows_make_no_circle() -> None:
    order = list(TopologicalSorter(ARROWS).static_order())
    assert set(order) == set(ARROWS)


@pytest.mark.parametrize("room", ARROWS)
def test_a_room_imports_what_the_table_allows_and_uses_all_of_it(room: str) -> None:
    found = {path: rooms_of(path) - set(GROUND) - {room} for path in (PACKAGE / room).rglob("*.py")}
    beyond = {str(path.relative_to(PACKAGE)): names - ARROWS[room] for path, names in found.items()}
    assert {path: names for path, names in beyond.items() if names} == {}
    assert ARROWS[room] - set().union(*found.values()) == set(), "an arrow that nobody needs"


@pytest.mark.parametrize("module", GROUND[1:])
def test_the_ground_uses_only_what_lies_below_it(module: str) -> None:
    assert rooms_of(PACKAGE / f"{module}.py") <= set(GROUND[: GROUND.index(module)])


PURE_PATHS = (*PURE_MODULES, *(str(path.relative_to(PACKAGE)) for room in PURE for path in (PACKAGE / room).glob("*")))


@pytest.mark.parametrize("name", [name for name in PURE_PATHS if name.endswith(".py")])
def test_what_decides_does_not_act(name: str) -> None:
    found = imports(PACKAGE / name)
    assert not {each.partition(".")[0] for each in found} & ACTING
    assert not found & ACTING


def test_values_are_frozen() -> None:
    """But for what `init` gathers of one folder, file after file."""
    for path in PACKAGE.rglob("*.py"):
        classes = [each for each in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(each, ast.ClassDef)]
        for each in classes:
            words = {word.arg: ast.unparse(word.value) for word in each.keywords}
            if "msgspec.Struct" in map(ast.unparse, each.bases) or "frozen" in words:
                assert words.get("frozen") == "True" or each.name == "Hints", f"{path}: {each.name}"


def test_what_has_many_values_is_given_them_by_name() -> None:
    """A call that mixes them up would give another image, and no error."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef) and "msgspec.Struct" in map(ast.unparse, node.bases):
                fields = sum(isinstance(each, ast.AnnAssign) for each in node.body)
                by_name = any(each.arg == "kw_only" and ast.unparse(each.value) == "True" for each in node.keywords)
                # What is only decoded has a name of this module's own; these three are made by the thousand.
                few = fields < 4 or node.name.startswith("_") or node.name in {"Line", "Listed", "MiniBatch"}
                assert by_name or few, (path, node.name)
            if isinstance(node, ast.FunctionDef) and node.args.posonlyargs:
                # Of protocols that do not care how an argument is called.
                assert node.name in {"read", "write", "ask"}, (path, node.name)


def test_values_are_decoded_in_one_way() -> None:
    """Threads that decode a type at once crash msgspec where it is not by `packager.decoding`."""
    for path in PACKAGE.rglob("*.py"):
        for call in (each for each in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(each, ast.Call)):
            name, words = ast.unparse(call.func), {word.arg for word in call.keywords}
            typed = (
                name.endswith(".Decoder") or name == "msgspec.convert" or (name.endswith(".decode") and "type" in words)
            )
            assert not (typed and name.startswith("msgspec.")) or path.name == "decoding.py", (path, call.lineno)


def test_verbs_do_not_import_verbs() -> None:
    """But for options that two of them share, which stand in one of the two; and modules that are no verb's."""
    verbs = {f"{each}_" if iskeyword(each) else each for each in VERBS}
    own = {path.stem for path in (PACKAGE / "cli").glob("*.py")} & verbs
    assert own == verbs
    for path in (PACKAGE / "cli").glob("*.py"):
        others = {name.split(".")[2] for name in imports(path) if name.startswith("packager.cli.")}
        assert others & own <= {"batch", "run", "score"}, path


def test_programs_need_nothing_of_ours() -> None:
    for path in (PACKAGE / "programs").rglob("*.py"):
        ours = {name for name in imports(path) if name == "packager" or name.startswith("packager.")}
        assert not {name for name in ours if not name.startswith("packager.programs")}, path
    for path in (PACKAGE / "programs/image").glob("*.py"):
        own = {each.partition(".")[0] for each in imports(path) if not each.startswith("packager.programs.image")}
        assert own <= sys.stdlib_module_names | {"gunicorn"}, path


@pytest.mark.parametrize(
    "files", ["batch/worker.py", "image/*.py", "no_code/*.py", "pod/*.py", "service/*.py", "stage/wheels.py"]
)
def test_programs_of_an_image_know_no_more_than_python_3_8(files: str) -> None:
    """The oldest that has a base: annotations are texts, and neither `zip` nor `isinstance` is of a later one."""
    for path in (PACKAGE / "programs").glob(files):
        tree = ast.parse(path.read_text(), feature_version=(3, 8))
        assert "annotations" in {name.rpartition(".")[2] for name in imports(path)} or path.name == "__init__.py", path
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert not (node.func.id == "zip" and node.keywords), (path, node.lineno)
                later = node.func.id == "isinstance" and isinstance(node.args[1], ast.BinOp)
                assert not later, (path, node.lineno)
            assert not (isinstance(node, ast.AugAssign) and isinstance(node.op, ast.BitOr)
                        and isinstance(node.value, ast.Dict | ast.DictComp)), (path, node.lineno)  # fmt: skip


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
