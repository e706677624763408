"""What `model deploy` and `service` share: what is asked for in v1's words, and how a service is shown."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from packager.cli import complete
from packager.cli.common import Reporter, emit, emit_json

if TYPE_CHECKING:
    from packager.serving.status import Status
    from packager.steps.v1_deploy import Asked, Deployed

FILE = click.Path(path_type=Path, dir_okay=False)

models_option = click.option(
    "-m",
    "--model",
    "models",
    multiple=True,
    metavar="NAME:VERSION",
    shell_complete=complete.models,
    help="A registered model, or a file or folder (repeatable).",
)
inference_option = click.option(
    "--ic",
    "--inference-config-file",
    "inference",
    type=FILE,
    metavar="FILE",
    help="inferenceconfig.json: entry script, source directory, environment.",
)


def asked_for(
    models: tuple[str, ...],
    inference: Path | None,
    metadata: tuple[Path, ...] = (),
    deployment: Path | None = None,
    target: str | None = None,
) -> Asked:
    """Return options as what is asked for."""
    from packager.steps.v1_deploy import Asked

    return Asked(models=models, inference=inference, metadata=metadata, deployment=deployment, target=target)


def show_deployed(deployed: Deployed, output_format: str, reporter: Reporter, *, whole: bool = True) -> None:
    """Print the URL of a service, or all that is known of it as JSON; `whole`: with what it was deployed from."""
    status, record = deployed.status, deployed.record
    reporter.step(f"{status.state}: {status.name} runs {status.shown}")
    if output_format == "json":
        own = {"compute": record.compute, "target": record.target, "models": list(record.models)} if whole else {}
        emit_json({**service_data(status), **own})
        return
    if status.auth == "key":
        reporter.step(f"requests need a key: packager service get-keys {status.name}")
    emit(status.scoring_url)


def service_data(status: Status) -> dict[str, Any]:
    """Return a service as JSON has it."""
    import msgspec

    urls = {"root": status.url, "score": status.scoring_url, "swagger": status.swagger_url}
    values = msgspec.to_builtins(status)
    del values["url"]
    return {**values, "urls": urls}
