"""What the spec itself gives away: likely secrets, and an image that cannot be pushed."""

from __future__ import annotations

import re
from collections.abc import Iterator

from packager.checks.finding import Finding
from packager.spec.load import SpecFile

_SECRET_NAME = re.compile(
    r"(?:^|_)(?:PASSWORD|PASSWD|SECRET|TOKEN|APIKEY|API_KEY|PRIVATE_KEY|ACCESS_KEY|CREDENTIALS?)(?:_|$)"
)


def check_declared(spec_file: SpecFile) -> Iterator[Finding]:
    """Yield what is doubtful in a valid spec."""
    for name, value in spec_file.spec.env.items():
        if value and _SECRET_NAME.search(name.upper()):
            where = spec_file.at(f"env.{name}")
            yield Finding(
                rule="env-secret",
                severity="warning",
                message=f"{name} looks like a secret; everyone who has the image can read it",
                file=where.file,
                line=where.line,
                remedy="give it when the container starts: `packager run -e`, or your platform's secret store",
            )
    if spec_file.spec.image.repository is None:
        where = spec_file.at("image")
        yield Finding(
            rule="image-repository-missing",
            severity="info",
            message=f"no image.repository: the image will be {spec_file.spec.name!r}, at no registry of yours",
            file=where.file,
            line=where.line,
            remedy="name one, such as registry.example.com/ml/diabetes, to push it",
        )
