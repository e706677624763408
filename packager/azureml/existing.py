"""An environment that conda on this machine has."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from packager.azureml.exceptions import UserErrorException


def export_conda(name: str) -> dict[str, Any] | None:
    """Return an environment of conda as a conda file's values; None where it has none of the name.

    Raises:
        UserErrorException: there is no conda.
    """
    try:
        done = subprocess.run(
            ["conda", "env", "export", "--no-builds", "--json", "--name", name],
            capture_output=True, stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
    except FileNotFoundError:
        raise UserErrorException("there is no conda on this machine: name its packages in a conda file") from None
    try:
        data = json.loads(done.stdout)
    except ValueError:
        return None
    if done.returncode != 0 or not isinstance(data, dict) or "dependencies" not in data:
        return None
    data.pop("prefix", None)
    return data
