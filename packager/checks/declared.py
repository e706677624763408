"""What spec and environment give away: likely secrets, an image that cannot be pushed, what is passed over."""

from __future__ import annotations

import re
from collections.abc import Iterator

from packager.environments.declare.environment import Environment
from packager.environments.declare.import_names import local_build, meant
from packager.environments.declare.requirement import requirement_name
from packager.errors import Location
from packager.finding import Finding
from packager.reference import Reference
from packager.spec.load import SpecFile

_SECRET_NAME = re.compile(
    r"(?:^|_)(?:PASSWORD|PASSWD|SECRET|TOKEN|APIKEY|API_KEY|PRIVATE_KEY|ACCESS_KEY|ACCOUNT_KEY|STORAGE_KEY|CREDENTIALS?"
    r"|CONNECTION_?STRING|[A-Z]*CONNSTR|CONN_STR|SAS)(?:_|$)"
)
# Whatever the variable is called: keys of connection strings, signatures of Azure's URLs, a password in a URL, a
# private key, and the first letters by which providers mark theirs.
_SECRET_VALUE = re.compile(
    r"(?:^|;)\s*(?:AccountKey|SharedAccessKey|SharedAccessSignature|Password|Pwd)\s*=|[?&]sig=[A-Za-z0-9%]{20}"
    r"|://[^/\s:@]*:[^/\s@]+@|-----BEGIN [A-Z ]*PRIVATE KEY-----"
    r"|^(?:AKIA[0-9A-Z]{16}|ghp_|github_pat_|glpat-|xox[abp]-|hf_[A-Za-z]{30}|sk-[A-Za-z0-9_-]{20})",
    re.IGNORECASE,
)
# As `environments.conda.declaration.note` writes it.
_PLACED = re.compile(r"(?P<file>.+?):(?P<line>\d+): (?P<text>.*)")


def check_declared(spec_file: SpecFile) -> Iterator[Finding]:
    """Yield what is doubtful in a valid spec."""
    for target in spec_file.spec.target_names:
        own = spec_file.for_target(target)
        for name, value in own.spec.env.items():
            yield from _secret(name, value, own.at(f"env.{name}"))
        unpinned = [each for each in own.spec.system_packages if "=" not in each]
        if unpinned:
            where = own.at("system_packages")
            yield Finding(
                rule="debian-unpinned",
                severity="info",
                message=f"{', '.join(unpinned)}: whatever version Debian has on the day of the build",
                file=where.file,
                line=where.line,
                remedy="where two builds must be the same for months: `name=version`, and a base with snapshot sources",
            )


def check_place(spec_file: SpecFile) -> Iterator[Finding]:
    """Yield a name of the image under which nobody can push it: that of `init` before it is replaced, or none."""
    repository = spec_file.spec.image.repository or spec_file.spec.name
    if Reference.parse(repository).unplaced:
        where = spec_file.at("image.repository")
        yield Finding(
            rule="image-unplaced",
            severity="info",
            message=f"{repository} names no registry: the image runs here, and cannot be pushed",
            file=where.file,
            line=where.line,
            remedy=f"to push it: `image: {{repository: HOST/TEAM/{spec_file.spec.name}}}`",
        )


def check_environment(environment: Environment, spec_file: SpecFile) -> Iterator[Finding]:
    """Yield what is doubtful in a valid environment, and what of it is passed over."""
    for name, value in environment.variables.items():
        yield from _secret(name, value, spec_file.at(f"environment.variables.{name}"))
    for text in environment.notes:
        place = _PLACED.fullmatch(text)
        yield Finding(
            rule="environment-note",
            severity="info",
            message=place["text"] if place else text,
            file=place["file"] if place else str(spec_file.document.path),
            line=int(place["line"]) if place else None,
        )


def check_unlocked(environment: Environment, spec_file: SpecFile, *, more_indexes: bool) -> Iterator[Finding]:
    """Yield requirements that `lock` will hardly find: names of imports, and builds that are on an index of their own.

    Args:
        environment: without a lock that fits; what is locked was found.
        spec_file: the spec.
        more_indexes: this machine names others than the usual index.
    """
    source = spec_file.spec.environment
    for line in environment.requirements:
        name = requirement_name(line)
        there = more_indexes or name in environment.sources.packages
        advice = meant(name) or (None if there else local_build(line))
        if advice:
            yield Finding(
                rule="requirement-doubtful",
                severity="warning",
                message=f"`{line}` will hardly be found",
                file=source if isinstance(source, str) else str(spec_file.document.path),
                remedy=advice,
            )


def looks_secret(name: str) -> bool:
    """Whether a variable is named as one that holds a secret."""
    return _SECRET_NAME.search(name.upper()) is not None


def _secret(name: str, value: str, where: Location) -> Iterator[Finding]:
    if value and (looks_secret(name) or _SECRET_VALUE.search(value)):
        yield Finding(
            rule="env-secret",
            severity="warning",
            message=f"{name} looks like a secret; everyone who has the image can read it",
            file=where.file,
            line=where.line,
            remedy="give it when the container starts: `packager run -e`, or your platform's secret store",
        )
