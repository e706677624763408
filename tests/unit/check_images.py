"""Images for the tests of the checks: files as text, packages as lists of modules."""

from __future__ import annotations

import posixpath

from packager.checks.code_findings import gone_findings, model_findings
from packager.checks.import_findings import import_findings
from packager.checks.installed import Installed, wheel_modules
from packager.checks.reach import Image, Reached, reach
from packager.finding import Finding

ROOT = "/var/azureml-app"

#: As in the real wheels: regular packages, a package with parts, a single module, and the server with its own folder.
SERVER = tuple(f"azureml_inference_server_http/{name}.py" for name in ("__init__", "server/__init__", "server/utils"))
WHEELS = {
    "azureml-inference-server-http": SERVER,
    "numpy": (
        "numpy/__init__.py",
        "numpy/linalg/__init__.py",
        "numpy/_core/_multiarray.cpython-313-x86_64-linux-gnu.so",
    ),
    "scikit-learn": ("sklearn/__init__.py", "sklearn/linear_model/__init__.py", "sklearn/linear_model/_base.py"),
    "six": ("six.py",),
    "azure-core": ("azure/core/__init__.py",),
    "joblib": ("joblib/__init__.py", "joblib/numpy_pickle.py"),
}
VERSIONS = {"numpy": "2.5.5", "scikit-learn": "1.9.1", "azureml-inference-server-http": "1.5.1"}


def installed(*unknown: str, **more: tuple[str, ...]) -> Installed:
    wheels = {
        name: wheel_modules(paths, {"six": "sys.modules[__name__]"} if name == "six" else {})
        for name, paths in {**WHEELS, **{name.replace("_", "-"): paths for name, paths in more.items()}}.items()
        if name not in unknown
    }
    return Installed(wheels, unknown)


def image(
    files: dict[str, str],
    *,
    entry: str = "score.py",
    models: dict[tuple[str, int], str] | None = None,
    python: str = "3.13",
    environ: dict[str, str] | None = None,
    model_files: tuple[str, ...] = (),
) -> Image:
    """Return an image; model paths are relative to `azureml-models`."""
    models = {("m", 1): "m/1/model.pkl"} if models is None else models
    base = f"{ROOT}/azureml-models"
    paths = {f"{ROOT}/{path}": f"src/{path}" for path in files}
    paths |= {f"{base}/{path}": f"models/{path}" for path in (*models.values(), *model_files)}
    for path in model_files:
        # A folder as a model: its files stand for it.
        paths = {each: shown for each, shown in paths.items() if not f"{base}/{path}".startswith(f"{each}/")}
    env = {"AML_APP_ROOT": ROOT, **(environ or {})}
    if len(models) == 1:
        (name, version) = next(iter(models))
        env["AZUREML_MODEL_DIR"] = f"{base}/{name}/{version}"
    elif models:
        env["AZUREML_MODEL_DIR"] = base
    folders: set[str] = set()
    for path in paths:
        folder = posixpath.dirname(path)
        while path.endswith(".py") and folder != "/":
            folders.add(folder)
            folder = posixpath.dirname(folder)
    return Image(
        entry=f"{ROOT}/{entry}",
        root=ROOT,
        python=python,
        files=paths,
        folders=frozenset(folders),
        environ=env,
        unset=frozenset({"AZUREML_MODEL_DIR"} - env.keys()),
        models={key: f"{base}/{path}" for key, path in models.items()},
    )


def follow(files: dict[str, str], packages: Installed | None = None, **options: object) -> tuple[Image, Reached]:
    made = image(files, **options)  # type: ignore[arg-type]
    return made, reach(made, packages or installed(), lambda path: files[path.removeprefix(f"{ROOT}/")].encode())


def all_findings(files: dict[str, str] | str, packages: Installed | None = None, **options: object) -> list[Finding]:
    files = {"score.py": files} if isinstance(files, str) else files
    packages = packages or installed()
    made, reached = follow(files, packages, **options)
    return [
        *reached.problems,
        *import_findings(made, reached, "requirements.txt", lambda _name: None),
        *gone_findings(made, reached, VERSIONS),
        *model_findings(made, reached, packages.names),
    ]


def short(findings: list[Finding]) -> list[tuple[str, str, str, int | None]]:
    return [(each.rule, each.severity, each.file.removeprefix("src/"), each.line) for each in findings]
