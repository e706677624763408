"""`packager init`: what a folder tells of itself. Nothing of it is run."""

from __future__ import annotations

import ast
import os
import posixpath
import re
import sys
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from packager.checks.entry_script import defines_contract, half_of_contract
from packager.checks.literal_paths import literal_paths
from packager.environments.declare.import_names import PACKAGES
from packager.environments.declare.poetry import has_own_dependencies, project_of
from packager.errors import SpecError
from packager.given import read_given
from packager.init.asked_models import AskedModels, asked_models, meant_models, placed_models
from packager.init.azure_files import WORKSPACE_CONFIG, read_hints
from packager.init.elsewhere import is_broken_entry, loose_requirements, other_ways, python_of_model
from packager.init.hints import Hints
from packager.init.model_packages import ModelPackage, model_packages, newest_of
from packager.spec import texts
from packager.spec.document import parse_yaml, source_text
from packager.spec.framework import Kind
from packager.targets import load_target

#: Endings of model files, by the frameworks that write them.
MODEL_SUFFIXES = frozenset(
    [
        ".pkl",
        ".joblib",
        ".onnx",
        ".h5",
        ".hdf5",
        ".keras",
        ".pt",
        ".pth",
        ".safetensors",
        ".bst",
        ".ubj",
        ".cbm",
        ".tflite",
        ".pmml",
        ".xmodel",
        ".sav",
        ".bin",
        ".gguf",
        ".pickle",
        ".skops",
        ".model",
        ".ckpt",
    ]
)
#: A folder with one of these files is a model as a whole (TensorFlow SavedModel, MLflow, Hugging Face).
MODEL_MARKERS = frozenset({"saved_model.pb", "MLmodel", "model.safetensors", "pytorch_model.bin"})
#: Names of entry scripts, the likeliest first.
ENTRY_NAMES = ("score.py", "entry.py", "inference.py", "main.py")
#: Names of conda's environment files, the likeliest first; the last is Azure ML's.
CONDA_FILES = (
    "environment.yml",
    "environment.yaml",
    "env.yml",
    "env.yaml",
    "conda.yml",
    "conda.yaml",
    "conda_dependencies.yml",
    "conda_dependencies.yaml",
    "conda_env.yml",
    "conda_env.yaml",
)
#: Files with dependencies that are not read, and what to do with them.
UNREAD = {
    "Pipfile": "`pipenv requirements > requirements.txt` writes one that is",
    "setup.py": "list its install_requires in a requirements.txt",
    "setup.cfg": "list its install_requires in a requirements.txt",
    # Beside a pyproject.toml that is the environment, their versions lead.
    "uv.lock": "`uv export --no-dev --no-emit-project -o requirements.txt` writes one that is",
    "poetry.lock": "`poetry export -o requirements.txt` (of poetry-plugin-export) writes one that is",
    "pdm.lock": "`pdm export --prod -o requirements.txt` writes one that is",
    "Pipfile.lock": "`pipenv requirements > requirements.txt` writes one that is",
}
#: Import names that come with the inference server.
SERVED = {"azureml", "inference_schema", "flask", "werkzeug"}
# A dependency on Python in one of them: `- python=3.12`, `- conda-forge::python`, `[python=3.12, pip]`.
_PYTHON = re.compile(r"^(?:\s*-|[^#\n]*[\[,])\s*[\"']?(?:\S+::)?python(?![\w.-])", re.MULTILINE)
_SKIPPED = {"node_modules", "__pycache__", "site-packages", "locks", "tests", "test"}
_MAX_ENTRIES = 20_000


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What `look` saw; paths are relative to the folder, with `/`; `python` is empty where the environment names it.

    `needed` are the packages of its models, `framework` that of the one model, where there is no entry script. `hints`
    are what files of Azure ML and a Dockerfile say, `names` are name and version of a model where the script tells
    them, `named_folders` those of which a script in them opens a file by the folder's own name (`app/extra.json` in
    `app/score.py`), `notes` what was not read, and why.
    """

    name: str
    version: str
    entry_scripts: tuple[str, ...]
    models: tuple[str, ...]
    environment: str | None
    imports: tuple[str, ...]
    python: str
    needed: tuple[ModelPackage, ...] = ()
    framework: Kind | None = None
    hints: Hints = msgspec.field(default_factory=Hints)
    names: dict[str, tuple[str, int]] = {}
    named_folders: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def look(folder: Path, entry_script: str | None = None, named: Sequence[str] | None = None) -> Found:
    """Look at a folder: file names, the syntax trees of its Python files, and its pyproject.toml.

    Args:
        folder: the folder.
        entry_script: taken as the entry script, relative to the folder.
        named: files of Azure ML that are to be read, and no others, relative to the folder; what they name need not be
            there, and a spec follows whatever is missing. None looks for them.

    Raises:
        SpecError: there is no such folder, or nothing in it can be an entry script; a named file cannot be taken over.
    """
    if not folder.is_dir():
        raise SpecError(f"{folder} is not a folder", remedy="name the folder that holds the entry script")
    walked, model_folders = _walk(folder)
    files = [path for path in walked if re.match(texts.PATH, path)]
    notes = [f"{path!r} is left out: a spec names no file like that; rename it" for path in walked if path not in files]
    model_folders = [path for path in model_folders if re.match(texts.PATH, path)]
    scripts = [path for path in files if path.endswith(".py")]
    hints = read_hints(folder, [*files, *_hidden(folder, files)], named)
    entries = [entry_script] if entry_script else sorted(_entries(folder, scripts), key=_entry_rank)
    if hints.entry_script is not None and not entry_script:
        entries = [hints.entry_script, *(each for each in entries if each != hints.entry_script)]
    if entry_script and entry_script not in files:
        raise SpecError(f"there is no {entry_script!r} in {folder}", remedy="give it relative to that folder")
    inside = tuple(f"{each}/" for each in model_folders)
    models = [path for path in files if Path(path).suffix.lower() in MODEL_SUFFIXES and not path.startswith(inside)]
    every = sorted({*meant_models([*model_folders, *models]), *hints.models})
    asked = asked_models(_text(folder / entries[0]), entries[0]) if entries else AskedModels()
    models, names = placed_models(every, files, asked)
    framework = _framework(folder, models) if not entries else None
    if not entries and framework is None and named is not None:
        entries = [_missing_script(hints)]
    halves = () if entries else tuple(_halves(folder, scripts))
    if not entries and framework is None:
        raise SpecError(
            "; ".join([f"no Python file below {folder} defines both init() and run()", *halves]),
            remedy="write one (`def init(): …`, `def run(data): …`), or name it: --entry-script FILE; one model of "
            "scikit-learn, ONNX, TensorFlow or MLflow needs none",
        )
    project = _project(folder)
    written = hints.curated or hints.registered or (named is not None and (hints.conda or hints.pip))
    environment = hints.environment or (None if written else _environment(folder, files, project))
    notes += [
        *hints.notes,
        *_unread(files, environment),
        *(f"{each}, so that it is no entry script" for each in halves),
    ]
    notes += [f"{each} is not read: it is a spec of packager" for each in hints.specs]
    notes += other_ways(folder, files, entries, environment, _text)
    notes += [f"{each} defines init() and run(), too: `entry_script:` names one of them" for each in entries[1:]]
    if models and {*models} < {*every}:
        others = ", ".join(each for each in every if each not in models)
        notes.append(f"{others}: no model of the spec, as {entries[0]} asks for {', '.join(models)} alone")
    needed = model_packages(folder, models, scripts) if entries and not environment else ()
    return Found(
        name=_name(str(project.get("name") or folder.resolve().name)),
        version=_version(project.get("version")),
        entry_scripts=tuple(entries),
        models=tuple(models),
        environment=environment,
        imports=_imports(folder, entries[0], scripts) if entries else (),
        python=_python(folder, project, environment, hints, newest_of(needed)),
        needed=needed,
        framework=framework,
        hints=hints,
        names=names,
        named_folders=_named_folders(folder, scripts, files) if entries else (),
        notes=tuple(dict.fromkeys(notes)),
    )


def _hidden(folder: Path, files: list[str]) -> tuple[str, ...]:
    """Return the files in hidden folders that are read all the same."""
    there = (folder / WORKSPACE_CONFIG).is_file()
    return (WORKSPACE_CONFIG,) if there and WORKSPACE_CONFIG not in files else ()


def _missing_script(hints: Hints) -> str:
    """Return the name of an entry script that nothing names, and say that it has to be written or named."""
    hints.say(
        next(iter(hints.read), "packager.yaml"),
        f"no file names an entry script, and none is here: {ENTRY_NAMES[0]} is put into the spec",
        "write it with init() and run(), or name yours as `entry_script`",
    )
    return ENTRY_NAMES[0]


def _walk(folder: Path) -> tuple[list[str], list[str]]:
    """Return the files below a folder (not inside hidden or installed ones), and the folders that are models."""
    files: list[str] = []
    models: list[str] = []
    for where, folders, names in os.walk(folder):
        relative = Path(where).relative_to(folder).as_posix()
        prefix = "" if relative == "." else f"{relative}/"
        if "pyvenv.cfg" in names or "packager.json" in names:
            folders.clear()
            continue
        if prefix and not MODEL_MARKERS.isdisjoint(names):
            models.append(relative)
        folders[:] = sorted(each for each in folders if not each.startswith(".") and each not in _SKIPPED)
        files += [prefix + name for name in sorted(names)]
        if len(files) > _MAX_ENTRIES:
            raise SpecError(f"{folder} holds more than {_MAX_ENTRIES} files", remedy="run init in the package's folder")
    return files, models


#: Endings and marks of models that need no script.
_FRAMEWORKS: dict[str, Kind] = {".pkl": "sklearn", ".joblib": "sklearn", ".onnx": "onnx"}
_MARKED: dict[str, Kind] = {"MLmodel": "mlflow", "saved_model.pb": "tensorflow"}


def _framework(folder: Path, models: list[str]) -> Kind | None:
    """Return the framework of the one model by its name; None where there are several, or it tells none."""
    if len(models) != 1:
        return None
    marks = (kind for name, kind in _MARKED.items() if (folder / models[0] / name).is_file())
    return next(marks, _FRAMEWORKS.get(Path(models[0]).suffix.lower()))


def _entries(folder: Path, scripts: list[str]) -> Iterator[str]:
    for path in scripts:
        text = _text(folder / path)
        if "run" in text and "init" in text and (defines_contract(text) or is_broken_entry(text)):
            yield path


def _halves(folder: Path, scripts: list[str]) -> Iterator[str]:
    """Yield what is missing in scripts that are likely meant as the entry script."""
    for path in scripts:
        half = half_of_contract(_text(folder / path))
        # A run() alone is often something else.
        if half.startswith("has init()") or (half and path in ENTRY_NAMES):
            yield f"{path} {half}"


def _entry_rank(path: str) -> tuple[int, int, str]:
    name = path.rpartition("/")[2]
    known = ENTRY_NAMES.index(name) if name in ENTRY_NAMES else len(ENTRY_NAMES)
    return known, path.count("/"), path


def _text(path: Path) -> str:
    try:
        raw = read_given(path)
    except OSError:
        return ""
    try:
        return source_text(raw) if path.suffix == ".py" else raw.decode("utf-8-sig")
    except (SyntaxError, UnicodeError):
        # Python refuses such a script, and `check` says so; it is the entry script all the same.
        return raw.decode("latin-1") if path.suffix == ".py" else ""


def _project(folder: Path) -> dict[str, object]:
    try:
        data = tomllib.loads(_text(folder / "pyproject.toml"))
        project = project_of(data) if has_own_dependencies(data) else data.get("project", {})
    except (tomllib.TOMLDecodeError, ValueError):
        return {}
    return project if isinstance(project, dict) else {}


def _environment(folder: Path, files: list[str], project: dict[str, object]) -> str | None:
    """Return the environment file; conda's before pip's, for who has both installs pip's into conda's."""
    conda = [name for name in CONDA_FILES if name in files]
    if conda or "requirements.txt" in files:
        return conda[0] if conda else "requirements.txt"
    if project.get("dependencies"):
        return "pyproject.toml"
    other = [path for path in files if path.endswith((".yml", ".yaml")) and _has_dependencies(folder / path)]
    other.sort(key=lambda path: path.count("/"))
    if other and "/" not in other[0]:
        return other[0]
    deeper = [path for path in files if path.endswith("/requirements.txt")]
    deeper += [path for path in files if path.rpartition("/")[2] in CONDA_FILES]
    return next(iter([*deeper, *other, *loose_requirements(files)]), None)


def _has_dependencies(path: Path) -> bool:
    """Whether a YAML file is one of conda's, whatever it is called."""
    text = _text(path)
    if "dependencies" not in text:
        return False
    try:
        data = parse_yaml(text, path).data
    except SpecError:
        return False
    return isinstance(data.get("dependencies"), list) and data.keys() <= {*CONDA_KEYS}


#: What an environment file of conda's has on its top level.
CONDA_KEYS = ("name", "channels", "dependencies", "variables", "prefix", "platforms", "category")


def _unread(files: list[str], environment: str | None) -> list[str]:
    """Say which other files name dependencies, and that they were not read."""
    notes = [f"{path}: not read: {UNREAD[path]}" for path in files if path in UNREAD and environment is None]
    kinds = (*CONDA_FILES, "requirements.txt")
    said = f"not read, as {environment} is the environment; `environment:` names one of them"
    return notes + [f"{path}: {said}" for path in files if path in kinds and path != environment and environment]


def _imports(folder: Path, entry: str, scripts: list[str]) -> tuple[str, ...]:
    """Return the packages that the entry script imports: not the standard library, not modules of the folder."""
    try:
        module = ast.parse(_text(folder / entry))
    except (SyntaxError, ValueError):
        return ()
    found: set[str] = set()
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    local = {part for path in scripts for part in path.removesuffix(".py").split("/")}
    found -= local | SERVED | set(sys.stdlib_module_names)
    return tuple(sorted({PACKAGES.get(name, name) for name in found}))


def _named_folders(folder: Path, scripts: list[str], files: list[str]) -> tuple[str, ...]:
    """Return the folders of which a script in them opens what they hold by the folder's own name, and can only so."""
    there = {parent for path in files for parent in (path, *(each.as_posix() for each in Path(path).parents))}
    found: set[str] = set()
    for script in scripts:
        above = [each.as_posix() for each in Path(script).parents if each.name]
        try:
            tree = ast.parse(_text(folder / script)) if above else ast.Module([], [])
        except (SyntaxError, ValueError, RecursionError):
            continue
        for text, _ in literal_paths(tree):
            path = posixpath.normpath(text)
            for source in above:
                beside, _, name = source.rpartition("/")
                own = path == name or path.startswith(f"{name}/")
                if own and posixpath.join(beside, path) in there and f"{source}/{path}" not in there:
                    found.add(source)
    return tuple(sorted(found))


def _python(folder: Path, project: dict[str, object], environment: str | None, hints: Hints, newest: str | None) -> str:
    """Return the newest Python that the cpu target has and the folder admits; empty where the environment names it.

    Where nothing says which, it is none after `newest`.
    """
    if environment and environment.endswith((".yml", ".yaml")) and _PYTHON.search(_text(folder / environment)):
        return ""
    if not environment and _PYTHON.search("".join(f"- {each}\n" for each in hints.conda)):
        return ""
    if not environment and (hints.curated or hints.registered):
        return ""  # it has its own
    target = load_target("cpu")
    # Those with a shipped digest first: the newest of all is rarely what has wheels.
    known = [each for bases in (target.bases, target.unpinned) for each in sorted(bases, key=_minor, reverse=True)]
    of_model = python_of_model(folder, environment, _text)
    for text in (of_model, _text(folder / ".python-version"), _text(folder / "runtime.txt"), hints.python or ""):
        pinned = re.match(r"(?:cpython-|python-)?(3\.\d+)", text.strip())
        # Of what a declaration asks for, the lock says why it cannot be had.
        if pinned and (pinned[1] in known or text in (of_model, hints.python)):
            return pinned[1]
    required = project.get("requires-python")
    if isinstance(required, str):
        from packaging.specifiers import InvalidSpecifier, SpecifierSet

        try:
            admitted = SpecifierSet(required)
        except InvalidSpecifier:
            return known[0]
        return next((each for each in known if admitted.contains(f"{each}.99")), known[0])
    fitting = [each for each in known if newest is None or _minor(each) <= _minor(newest)]
    return (fitting or known)[0]


def _minor(python: str) -> int:
    return int(python.partition(".")[2])


def _name(text: str) -> str:
    name = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    return name[:128].strip("-") or "model"


def _version(value: object) -> str:
    return value if isinstance(value, str) and re.match(texts.TAG, value) else "1"
