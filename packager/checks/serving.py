"""What the server in the image will not read, or will miss: a stray config.json, gunicorn's settings, flask-cors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from packager.contract import APP_ROOT
from packager.environments.declare.environment import Environment
from packager.finding import Finding
from packager.given import read_given
from packager.plan.plan import Plan
from packager.spec.load import SpecFile
from packager.spec.rules import GUNICORN_VARIABLE

_CONFIG = "config.json"
_MAX_CONFIG = 1 << 20

# azureml-inference-server-http 1.5, `alias_mapping` in server/config.py.
_SETTINGS = frozenset(
    {
        *("AML_APP_ROOT", "AZUREML_SOURCE_DIRECTORY", "AZUREML_ENTRY_SCRIPT", "AZUREML_MODEL_DIR", "AZUREML_LOG_LEVEL"),
        *("AZUREML_DEBUG_PORT", "SERVICE_NAME", "WORKSPACE_NAME", "SERVICE_PATH_PREFIX", "SERVICE_VERSION"),
        *("SCORING_TIMEOUT_MS", "AML_CORS_ORIGINS", "AML_APP_INSIGHTS_ENABLED", "AML_APP_INSIGHTS_KEY"),
        *("AML_MODEL_DC_STORAGE_ENABLED", "APP_INSIGHTS_LOG_RESPONSE_ENABLED", "HOSTNAME"),
    }
)


def check_config(spec_file: SpecFile) -> Iterator[Finding]:
    """Yield a note for a config.json of the server where the server would look for it; it is not read."""
    spec = spec_file.spec
    if "AZUREML_CONFIG_FILE" in spec.env:
        return
    root = spec_file.root / spec.source_dir
    for folder in dict.fromkeys((PurePosixPath(), PurePosixPath(spec.script).parent)):
        path = folder / _CONFIG
        found = _keys(root / path) & _SETTINGS
        if found:
            yield Finding(
                rule="config-not-read",
                severity="info",
                message=f"the server does not read it, though it has its settings: {', '.join(sorted(found))}",
                file=(PurePosixPath(spec.source_dir) / path).as_posix(),
                remedy=f"to have it read: `env: {{AZUREML_CONFIG_FILE: {APP_ROOT}/{path}}}`",
            )


def _keys(path: Path) -> frozenset[str]:
    try:
        values = json.loads(read_given(path, _MAX_CONFIG))
    except (OSError, ValueError, RecursionError):
        return frozenset()
    return frozenset(values) if isinstance(values, dict) else frozenset()


def check_gunicorn(spec_file: SpecFile, environment: Environment | None = None) -> Iterator[Finding]:
    """Yield a note where a variable of the user's takes the place of packager's settings for gunicorn."""
    if environment is not None:
        fields = {"environment.variables": environment.variables}
    else:
        fields = {"env": spec_file.spec.env}
        for target in spec_file.spec.target_names:
            fields[f"targets.{target}.env"] = spec_file.spec.target_options(target).env
    for field, env in fields.items():
        if GUNICORN_VARIABLE in env:
            where = spec_file.at(f"{field}.{GUNICORN_VARIABLE}")
            yield Finding(
                rule="gunicorn-replaced",
                severity="info",
                message=f"{GUNICORN_VARIABLE} takes the place of packager's settings: the server uses gunicorn's own"
                " worker, and health does not answer while a request is scored",
                file=where.file,
                line=where.line,
                remedy="put settings into a file gunicorn.conf.py in `source_dir`, which is read beside packager's",
            )


def check_cors(plan: Plan) -> Iterator[Finding]:
    """Yield an error where origins are given, and the package is not there by which the server answers them."""
    names = plan.environment.locked.versions.keys()
    if "AML_CORS_ORIGINS" in plan.config.env and not names & {"flask-cors", "flask_cors"}:
        yield Finding(
            rule="cors-missing",
            severity="error",
            message="`server.cors_origins` is given, and flask-cors is not among the locked packages: the server passes"
            " it over",
            file=f"locks/{plan.target}.requirements.txt",
            remedy="add flask-cors to the environment, or take a newer azureml-inference-server-http",
        )
