"""`packager init`: the commented spec that follows from what a folder tells."""

from __future__ import annotations

import json
import posixpath
import re

from packager.contract import DEFAULT_PORT, MODELS_FOLDER
from packager.init.hints import Hints, shown
from packager.init.look import Found
from packager.init.starter_service import left_text, service_text
from packager.spec import model as m


def starter_spec(found: Found) -> str:
    """Return the text of a commented `packager.yaml`."""
    if found.framework is not None:
        return _no_code(found)
    source_dir, entry = _split(found)
    others = "".join(f"\n# also defines init() and run(): {path}" for path in found.entry_scripts[1:4])
    return f"""\
# What to package. `packager schema` describes every field; `packager check` looks at all of this.
name: {_scalar(found.name)}
version: "{found.version}"
{_described(found.hints)}
# Defines init() and run(). It is looked for in source_dir, which is copied into the image (what .dockerignore names,
# caches, virtual environments, the spec and the models stay out of it).
entry_script: {_scalar(entry)}{_origin(found.hints, "entry_script")}{others}
source_dir: {_scalar(source_dir)}{_origin(found.hints, "source_dir")}
{_kept(found, source_dir)}
{_models(found)}
{_python_text(found)}
{_environment_text(found)}
{_targets(found.hints)}

# Where the image goes. Tags may hold {{name}}, {{version}}, {{target}} and {{platform}}.
image:
  repository: {_scalar(found.name)}   # to push it: registry.example.com/team/{found.name}
  tags: ["{{version}}", latest]

# Environment variables of the container, Debian packages of the image, and the inference server.
{_settings(found.hints)}
{service_text(found.hints)}{_tests(found.hints)}{left_text(found.hints)}"""


def _no_code(found: Found) -> str:
    """Return the spec of a model without code: what is not in it follows from the framework."""
    called = m.Model(path=found.models[0]).called
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", called).strip("-._") or "model"
    inside = (found.environment or "").startswith(f"{found.models[0]}/")
    own = f"environment: {_scalar(found.environment)}\n" if found.environment and not inside else ""
    own = f'python: "{found.python}"\n{own}' if own and found.python else own
    return f"""\
# What to package. `packager schema` describes every field; `packager check` looks at all of this.
name: {_scalar(found.name)}
version: "{found.version}"
{_described(found.hints)}
# No Python file here defines init() and run(): entry script and swagger are made for the framework, and so is the
# environment, where none is named. `packager plan --files` lists them.
models:
  - path: {_scalar(found.models[0])}
    name: {_scalar(name)}
    version: 1
    framework: {found.framework}
{own}
{_targets(found.hints)}

# Where the image goes. Tags may hold {{name}}, {{version}}, {{target}} and {{platform}}.
image:
  repository: {_scalar(found.name)}   # to push it: registry.example.com/team/{found.name}
  tags: ["{{version}}", latest]
{service_text(found.hints)}{_tests(found.hints)}{left_text(found.hints)}"""


def _described(hints: Hints) -> str:
    """Return description and workspace, where a file has them."""
    lines = []
    if hints.description:
        lines.append(f"description: {_quoted(hints.description)}{_origin(hints, 'description')}\n")
    if hints.workspace is not None:
        lines.append(f"workspace: {_quoted(hints.workspace)}{_origin(hints, 'workspace')}\n")
    return "".join(lines)


def _origin(hints: Hints, field: str) -> str:
    """Return the comment that says which key of which file a field comes from."""
    origin = hints.origins.get(field)
    return f"   # {shown(origin)}" if origin else ""


def _targets(hints: Hints) -> str:
    origin = _origin(hints, "targets") or _origin(hints, "service.gpu")
    return f"targets: [gpu]{origin}" if hints.gpu else "targets: [cpu]"


def _settings(hints: Hints) -> str:
    env = "".join(f"\n  {name}: {_quoted(value)}{_origin(hints, f'env.{name}')}" for name, value in hints.env.items())
    packages = ", ".join(map(_scalar, hints.system_packages))
    told = "   # of the Dockerfile's apt lines: remove what only a build needs" if packages else ""
    server = {"port": DEFAULT_PORT, "workers": 1, "timeout": 300} | hints.server
    fields = ", ".join(f"{name}: {value}" for name, value in server.items())
    origins = [origin for name in hints.server if (origin := hints.origins.get(f"server.{name}"))]
    of_server = f"   # {'; '.join(map(shown, origins))}" if origins else ""
    return f"env:{env or ' {}'}\nsystem_packages: [{packages}]{told}\nserver: {{{fields}}}{of_server}"


def _tests(hints: Hints) -> str:
    """Return sample requests as tests, which `packager test` sends, and `push` before it pushes; else how one looks."""
    if not hints.tests:
        return _TEST_TO_WRITE
    lines = ["\n# Sent by `packager test`, and before every push; `expect:` says what the answer must be.", "test:"]
    for path in hints.tests[:5]:
        lines += [f"  - name: {_scalar(path)}", f"    file: {_scalar(path)}"]
    return "\n".join(lines) + "\n"


_TEST_TO_WRITE = """
# Requests that `packager test` sends, and `push` before it pushes; `packager run` shows the first as a command. Take
# away the `#`, and put in what run() takes: as JSON, or `file:` and the name of a file.
# test:
#   - name: one row
#     request: {data: [[1, 2, 3]]}
#     expect: {status: 200}
"""


def _split(found: Found) -> tuple[str, str]:
    """Return source_dir and entry script: a top folder that holds neither models nor environment is the source."""
    entry = found.entry_scripts[0]
    source = found.hints.source_dir
    if source is not None and entry == found.hints.entry_script:
        return source, entry if source == "." else entry.removeprefix(f"{source}/")
    top, _, rest = entry.partition("/")
    beside = [path for path in (*found.models, found.environment or "") if path.startswith(f"{top}/")]
    return (top, rest) if rest and not beside else (".", entry)


def _kept(found: Found, source_dir: str) -> str:
    """Return the field by which the source directory keeps its name in the image, where its scripts count on that."""
    as_v1 = found.hints.keeps_name and source_dir == found.hints.source_dir
    able = source_dir != "." and posixpath.basename(source_dir) != MODELS_FOLDER
    if not able or not (as_v1 or source_dir in found.named_folders):
        return ""
    return "# The folder keeps its name below the working directory, as Azure ML v1 has it.\nkeep_source_dir: true\n"


def _models(found: Found) -> str:
    registered = [
        f"  - registered: {_scalar(each)}{_origin(found.hints, 'models')}" for each in found.hints.registered_models
    ]
    if not found.models and not registered:
        return (
            "# No model file was found. A model is a file or a folder; the script finds it below AZUREML_MODEL_DIR.\n"
            "models: []\n#  - path: models/model.pkl\n#    name: model\n#    version: 1\n"
        )
    lines = ["# Each is a file or a folder, with the name and version under which the script finds it.", "models:"]
    used: set[str] = set()
    for path in found.models:
        called, version = found.names.get(path, (m.Model(path=path).called, 1))
        name = re.sub(r"[^A-Za-z0-9_.-]+", "-", called).strip("-._") or "model"
        while name in used:
            name += "-2"
        used.add(name)
        lines += [f"  - path: {_scalar(path)}", f"    name: {_scalar(name)}", f"    version: {version}"]
    lines += registered
    return "\n".join(lines) + "\n"


def _python_text(found: Found) -> str:
    added = "The\n# inference server is added. `packager lock` solves it and writes down every version and sha256."
    if not found.python and (found.hints.curated or found.hints.registered):
        return f"# The environment, by its name; it says which Python. {added}"
    if not found.python:
        return f"# The environment: conda's file, which names Python too (the target's base image needs none). {added}"
    kinds = "environment.yml, requirements.txt, pyproject.toml, or inline."
    origin = _origin(found.hints, "python")
    return f'# Minor version of Python, and the environment: {kinds} {added}\npython: "{found.python}"{origin}'


def _environment_text(found: Found) -> str:
    hints = found.hints
    origin = _origin(hints, "environment")
    if found.environment:
        return f"environment: {_scalar(found.environment)}{origin}\n"
    by_name = {"curated": hints.curated, "registered": hints.registered}
    named = {kind: name for kind, name in by_name.items() if name}
    if named or hints.conda or hints.pip:
        lines = ["environment:"]
        for kind, name in named.items():
            lines.append(f"  {kind}: {_scalar(name)}{_origin(hints, f'environment.{kind}')}")
        parts = (("channels", hints.channels), ("conda", hints.conda), ("pip", hints.pip))
        for kind, asked in parts:
            lines += [f"  {kind}:{origin}", *(f"    - {_quoted(each)}" for each in asked)] if asked else []
        told = "" if origin or named else f"# As {', '.join(hints.read)} has it.\n"
        return told + "\n".join(lines) + "\n"
    of_model = {each.name for each in found.needed}
    lines = [f"    - {_scalar(name)}\n" for name in found.imports if name not in of_model]
    lines += [f"    - {_scalar(each.requirement)}   # from {each.file}\n" for each in found.needed]
    if not lines:
        return "environment: {pip: []}\n"
    of_models = ", and of what the models need" if found.needed else ""
    guess = f"# From the imports of the entry script{of_models}: check the names, and add versions.\n"
    return guess + "environment:\n  pip:\n" + "".join(lines)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _scalar(text: str) -> str:
    """Return text as a YAML scalar: plain where nothing in it could mean something else, else in double quotes."""
    if re.fullmatch(r"[A-Za-z_./][A-Za-z0-9_./-]*", text) and text.lower() not in _YAML_WORDS:
        return text
    return _quoted(text)


_YAML_WORDS = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}
