"""The environment variables of an image: the contract with the inference server, and what spec and target say. Pure."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping

from packager.contract import APP_ROOT, ENVIRONMENT_PREFIX, MODELS_FOLDER, SERVER_CONFIG, SERVER_SETTINGS
from packager.errors import SpecError
from packager.spec.model import Server, Spec
from packager.targets import Target, cuda_version
from packager.units import parse_size


def model_folder(name: str, version: int) -> str:
    """Return the folder of a model version in the image (Azure ML v1's `Model.get_model_path` looks there)."""
    return f"{APP_ROOT}/{MODELS_FOLDER}/{name}/{version}"


def image_variables(spec: Spec, target: Target, variables: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of an image.

    Args:
        spec: for this target.
        target: the deployment flavour.
        variables: those of the environment and of the target's artefacts; they go before the target's own.

    Raises:
        SpecError: requests need a key, and a variable would take away what asks for it.
    """
    env = {
        "PATH": f"{ENVIRONMENT_PREFIX}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        # gunicorn and many libraries write below HOME; /tmp is the one place that a read-only container has.
        "HOME": "/tmp",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "AML_APP_ROOT": APP_ROOT,
        "AZUREML_ENTRY_SCRIPT": posixpath.relpath(f"{spec.app_folder}/{spec.script}", APP_ROOT),
        "AZUREML_SOURCE_DIRECTORY": spec.app_folder,
        "AZUREML_CONFIG_FILE": SERVER_CONFIG,
        "GUNICORN_CMD_ARGS": f"--config={SERVER_SETTINGS}",
        "WORKER_COUNT": str(spec.server.workers),
        "WORKER_TIMEOUT": str(spec.server.timeout),
        "SERVICE_NAME": spec.name,
        "SERVICE_VERSION": spec.version,
    }
    env |= _server(spec.server)
    if len(spec.models) == 1:
        env["AZUREML_MODEL_DIR"] = model_folder(spec.models[0].called, spec.models[0].version)
    elif spec.models:
        env["AZUREML_MODEL_DIR"] = f"{APP_ROOT}/{MODELS_FOLDER}"
    merged = env | target.env | _cuda_env(spec, target) | dict(variables) | spec.env
    if spec.server.auth != "none" and merged["GUNICORN_CMD_ARGS"] != env["GUNICORN_CMD_ARGS"]:
        raise SpecError(
            "GUNICORN_CMD_ARGS takes the place of packager's settings, which ask for the key",
            remedy="put these settings into a file gunicorn.conf.py in `source_dir`, which is read beside them",
        )
    return merged


def _server(server: Server) -> dict[str, str]:
    env = {}
    if server.scoring_timeout is not None:
        env["SCORING_TIMEOUT_MS"] = str(round(server.scoring_timeout * 1000))
    if server.cors_origins:
        env["AML_CORS_ORIGINS"] = ",".join(server.cors_origins)
    if server.auth != "none":
        env["PACKAGER_AUTH"] = server.auth
    if server.max_body is not None:
        env["PACKAGER_MAX_BODY"] = str(parse_size(str(server.max_body), "server.max_body"))
    return env


def _cuda_env(spec: Spec, target: Target) -> dict[str, str]:
    version = cuda_version(target, spec.target_options(target.name).cuda)
    if target.cuda is None or version is None:
        return {}
    return {name: value.replace("{cuda}", version) for name, value in target.cuda.env.items()}
