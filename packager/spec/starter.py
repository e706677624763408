"""`packager init`: what a folder tells of itself, and the commented spec that follows. Nothing of the folder is run."""

from __future__ import annotations

import ast
import os
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from packager.checks.entry_script import defines_contract
from packager.errors import SpecError
from packager.spec import model as m
from packager.spec import words
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
    ]
)
#: A folder with one of these files is a model as a whole (TensorFlow SavedModel, MLflow, Hugging Face).
MODEL_MARKERS = frozenset({"saved_model.pb", "MLmodel", "model.safetensors", "pytorch_model.bin"})
#: Names of entry scripts, the likeliest first.
ENTRY_NAMES = ("score.py", "entry.py", "inference.py", "main.py")
#: Import name → package, where they differ.
PACKAGES = {
    "PIL": "pillow",
    "bs4": "beautifulsoup4",
    "cv2": "opencv-python-headless",
    "dateutil": "python-dateutil",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}
#: Names of conda's environment files, the likeliest first; the last is Azure ML's.
CONDA_FILES = (
    "environment.yml",
    "environment.yaml",
    "conda.yml",
    "conda.yaml",
    "conda_dependencies.yml",
    "conda_dependencies.yaml",
)
#: Import names that come with the inference server.
SERVED = {"azureml", "inference_schema", "flask", "werkzeug"}
# A dependency on Python in one of them: `- python=3.12`, `- conda-forge::python`.
_PYTHON = re.compile(r"^\s*-\s*[\"']?(?:\S+::)?python(?![\w.-])", re.MULTILINE)
_SKIPPED = {"node_modules", "__pycache__", "site-packages", "locks", "tests", "test"}
_MAX_ENTRIES = 20_000


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What `look` saw; paths are relative to the folder, with `/`; `python` is empty where the environment names it."""

    name: str
    version: str
    entry_scripts: tuple[str, ...]
    models: tuple[str, ...]
    environment: str | None
    imports: tuple[str, ...]
    python: str


def look(folder: Path, entry_script: str | None = None) -> Found:
    """Look at a folder: file names, the syntax trees of its Python files, and its pyproject.toml.

    Args:
        folder: the folder.
        entry_script: taken as the entry script, relative to the folder.

    Raises:
        SpecError: there is no such folder, or nothing in it can be an entry script.
    """
    if not folder.is_dir():
        raise SpecError(f"{folder} is not a folder", remedy="name the folder that holds the entry script")
    files, model_folders = _walk(folder)
    scripts = [path for path in files if path.endswith(".py")]
    entries = [entry_script] if entry_script else sorted(_entries(folder, scripts), key=_entry_rank)
    if not entries:
        raise SpecError(
            f"no Python file below {folder} defines both init() and run()",
            remedy="write one (`def init(): …`, `def run(data): …`), or name it: --entry-script FILE",
        )
    if entry_script and entry_script not in files:
        raise SpecError(f"there is no {entry_script!r} in {folder}", remedy="give it relative to that folder")
    inside = tuple(f"{each}/" for each in model_folders)
    models = [path for path in files if Path(path).suffix.lower() in MODEL_SUFFIXES and not path.startswith(inside)]
    project = _project(folder)
    environment = _environment(files, project)
    return Found(
        name=_name(str(project.get("name") or folder.resolve().name)),
        version=_version(project.get("version")),
        entry_scripts=tuple(entries),
        models=tuple(sorted([*model_folders, *models])),
        environment=environment,
        imports=_imports(folder, entries[0], scripts),
        python=_python(folder, project, environment),
    )


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


def _entries(folder: Path, scripts: list[str]) -> Iterator[str]:
    for path in scripts:
        text = _text(folder / path)
        if "run" in text and "init" in text and defines_contract(text):
            yield path


def _entry_rank(path: str) -> tuple[int, int, str]:
    name = path.rpartition("/")[2]
    known = ENTRY_NAMES.index(name) if name in ENTRY_NAMES else len(ENTRY_NAMES)
    return known, path.count("/"), path


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8") if path.stat().st_size <= 1 << 20 else ""
    except (OSError, UnicodeDecodeError):
        return ""


def _project(folder: Path) -> dict[str, object]:
    try:
        project = tomllib.loads(_text(folder / "pyproject.toml")).get("project", {})
    except tomllib.TOMLDecodeError:
        return {}
    return project if isinstance(project, dict) else {}


def _environment(files: list[str], project: dict[str, object]) -> str | None:
    """Return the environment file; conda's before pip's, for who has both installs pip's into conda's."""
    conda = [name for name in CONDA_FILES if name in files]
    if conda or "requirements.txt" in files:
        return conda[0] if conda else "requirements.txt"
    if project.get("dependencies"):
        return "pyproject.toml"
    deeper = [path for path in files if path.endswith("/requirements.txt")]
    deeper += [path for path in files if path.rpartition("/")[2] in CONDA_FILES]
    return next(iter(deeper), None)


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
    return tuple(sorted(PACKAGES.get(name, name) for name in found))


def _python(folder: Path, project: dict[str, object], environment: str | None) -> str:
    """Return the newest Python that the cpu target has and the folder admits; empty where a conda file names it."""
    if environment and environment.rpartition("/")[2] in CONDA_FILES and _PYTHON.search(_text(folder / environment)):
        return ""
    known = sorted(load_target("cpu").bases, key=lambda text: int(text.partition(".")[2]), reverse=True)
    pinned = re.match(r"(?:cpython-|python-)?(3\.\d+)", _text(folder / ".python-version").strip())
    if pinned and pinned[1] in known:
        return pinned[1]
    required = project.get("requires-python")
    if isinstance(required, str):
        from packaging.specifiers import InvalidSpecifier, SpecifierSet

        try:
            admitted = SpecifierSet(required)
        except InvalidSpecifier:
            return known[0]
        return next((each for each in known if admitted.contains(f"{each}.99")), known[0])
    return known[0]


def _name(text: str) -> str:
    name = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    return name[:128].strip("-") or "model"


def _version(value: object) -> str:
    return value if isinstance(value, str) and re.match(words.TAG, value) else "1"


def starter_spec(found: Found) -> str:
    """Return the text of a commented `packager.yaml`."""
    source_dir, entry = _split(found)
    others = "".join(f"\n# also defines init() and run(): {path}" for path in found.entry_scripts[1:4])
    return f"""\
# What to package. `packager schema` describes every field; `packager check` looks at all of this.
name: {found.name}
version: "{found.version}"

# Defines init() and run(). It is looked for in source_dir, which is copied into the image (what .dockerignore names,
# caches, virtual environments, the spec and the models stay out of it).
entry_script: {_scalar(entry)}{others}
source_dir: {_scalar(source_dir)}

{_models(found)}
{_python_text(found)}
{_environment_text(found)}
targets: [cpu]

# Where the image goes. Tags may hold {{name}}, {{version}}, {{target}} and {{platform}}.
image:
  repository: {found.name}   # to push it: registry.example.com/team/{found.name}
  tags: ["{{version}}", latest]

# Environment variables of the container, Debian packages of the image, and the inference server.
env: {{}}
system_packages: []
server: {{port: 5001, workers: 1, timeout: 300}}
"""


def _split(found: Found) -> tuple[str, str]:
    """Return source_dir and entry script: a top folder that holds neither models nor environment is the source."""
    entry = found.entry_scripts[0]
    top, _, rest = entry.partition("/")
    beside = [path for path in (*found.models, found.environment or "") if path.startswith(f"{top}/")]
    return (top, rest) if rest and not beside else (".", entry)


def _models(found: Found) -> str:
    if not found.models:
        return (
            "# No model file was found. A model is a file or a folder; the script finds it below AZUREML_MODEL_DIR.\n"
            "models: []\n#  - path: models/model.pkl\n#    name: model\n#    version: 1\n"
        )
    lines = ["# Each is a file or a folder, with the name and version under which the script finds it.", "models:"]
    used: set[str] = set()
    for path in found.models:
        called = m.Model(path=path).called
        name = re.sub(r"[^A-Za-z0-9_.-]+", "-", called).strip("-._") or "model"
        while name in used:
            name += "-2"
        used.add(name)
        lines += [f"  - path: {_scalar(path)}", f"    name: {_scalar(name)}", "    version: 1"]
    return "\n".join(lines) + "\n"


def _python_text(found: Found) -> str:
    added = "The\n# inference server is added. `packager lock` solves it and writes down every version and sha256."
    if not found.python:
        return f"# The environment: conda's file, which names Python too (the target's base image needs none). {added}"
    kinds = "environment.yml, requirements.txt, pyproject.toml, or inline."
    return f'# Minor version of Python, and the environment: {kinds} {added}\npython: "{found.python}"'


def _environment_text(found: Found) -> str:
    if found.environment:
        return f"environment: {_scalar(found.environment)}\n"
    if not found.imports:
        return "environment: {pip: []}\n"
    guess = "# From the imports of the entry script: check the names, and add versions.\n"
    return guess + "environment:\n  pip:\n" + "".join(f"    - {_scalar(name)}\n" for name in found.imports)


def _scalar(text: str) -> str:
    """Return text as a YAML scalar: plain where nothing in it could mean something else, else in double quotes."""
    if re.fullmatch(r"[A-Za-z_./][A-Za-z0-9_./-]*", text) and text.lower() not in _YAML_WORDS:
        return text
    import json

    return json.dumps(text, ensure_ascii=False)


_YAML_WORDS = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}
