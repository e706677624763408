"""`packager lock`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from packager.cli import common
from packager.errors import UsageError

if TYPE_CHECKING:
    from packager.environments.locking import LockResult
    from packager.environments.solve import Upgrade
    from packager.images.reference import Reference
    from packager.spec.load import SpecFile


@click.command("lock")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@common.file_option
@click.option("--check", is_flag=True, help="Write nothing; exit with 3 and name what changed when the lock is stale.")
@click.option("--upgrade", is_flag=True, help="Take newer versions: of the packages NAME, or of all.")
@click.option("--upgrade-base", is_flag=True, help="Resolve the spec's own `base` to its digest of today.")
@click.option("--offline", is_flag=True, help="Ask no index and no registry; take what uv's cache has.")
@common.format_option
@common.standard_options
def command(
    names: tuple[str, ...],
    file: Path,
    check: bool,
    upgrade: bool,
    upgrade_base: bool,
    offline: bool,
    output_format: str,
    reporter: common.Reporter,
) -> None:
    """Solve the environment and write the lock.

    Writes locks/TARGET.requirements.txt (exact versions, sha256 of every file) for each target, and packager.lock,
    beside the spec; commit them. Versions stay as they are locked unless the requirements ask for others, or --upgrade
    is given. When nothing has changed, nothing is solved, asked or written.

    Index settings are those of the machine: UV_* and PIP_* variables, uv.toml, netrc. PACKAGER_REGISTRY_MIRROR
    (docker.io=HOST, several with commas) names mirrors of the base image's registry.

    \b
    --format json prints
      {"changed": bool, "written": [PATH, …],
       "targets": {TARGET: {"base": REF, "requirements": PATH, "digest": DIGEST,
                            "packages": [{"name", "before", "after"}, …]}}}
    and with --check
      {"fresh": bool, "targets": {TARGET: [CHANGE, …]}}
    """  # noqa: D301 - click reads the backspace character, not the two letters
    from packager.spec.load import load_spec

    if names and not upgrade:
        raise UsageError(f"{names[0]!r}: names of packages go with --upgrade", remedy="packager lock --upgrade NAME …")
    if check and (upgrade or upgrade_base or offline):
        raise UsageError("--check writes nothing", remedy="use it without --upgrade, --upgrade-base and --offline")
    spec_file = load_spec(file)
    if check:
        _check(spec_file, output_format)
        return
    result = _lock(spec_file, _upgrade(names, upgrade), upgrade_base, offline, reporter)
    if output_format == "json":
        common.emit_json(_as_json(result))
    else:
        common.emit("\n".join(_as_text(result)))


def _lock(
    spec_file: SpecFile, upgrade: Upgrade, upgrade_base: bool, offline: bool, reporter: common.Reporter
) -> LockResult:
    from packager.environments.locking import lock
    from packager.environments.solve import UvSolver
    from packager.images.reference import parse_mirrors

    # Those of the machine go before those of the spec, which everyone shares.
    mirrors = {**spec_file.spec.registry_mirrors, **parse_mirrors(os.environ.get("PACKAGER_REGISTRY_MIRROR", ""))}

    def resolve(reference: Reference) -> str:
        from packager.images.registry import resolve_digest

        return resolve_digest(reference, mirrors)

    return lock(
        spec_file,
        solver=UvSolver(spec_file.root),
        resolve_base=resolve,
        upgrade=upgrade,
        upgrade_base=upgrade_base,
        offline=offline,
        report=reporter.step,
    )


def _upgrade(names: tuple[str, ...], upgrade: bool) -> Upgrade:
    from packager.environments.requirement import canonical_name
    from packager.environments.solve import Upgrade

    return Upgrade(all=upgrade and not names, names=tuple(sorted({canonical_name(name) for name in names})))


def _check(spec_file: SpecFile, output_format: str) -> None:
    from packager.environments.status import lock_status, stale

    status = lock_status(spec_file)
    changed = {name: reasons for name, reasons in status.items() if reasons}
    if output_format == "json":
        common.emit_json({"fresh": not changed, "targets": {name: list(reasons) for name, reasons in status.items()}})
    if changed:
        raise stale(changed)
    if output_format == "text":
        common.emit("fresh")


def _as_text(result: LockResult) -> list[str]:
    # A comment that changed alone makes packager.lock be written again, for its digests of the inputs: no news.
    if not result.changed and set(result.written) <= {"packager.lock"}:
        return ["unchanged"]
    lines = list(result.written)
    for target in result.lock.targets:
        moved = [f"  {_move(move.name, move.before, move.after)}" for move in result.changes[target]]
        if target in result.bases:
            before, after = result.bases[target]
            moved.insert(0, f"  base {after}" if before is None else f"  base {before} -> {after}")
        lines += [f"{target}:", *moved] if moved else []
    return lines


def _move(name: str, before: str | None, after: str | None) -> str:
    if before is None:
        return f"+ {name} {after}"
    if after is None:
        return f"- {name} {before}"
    return f"{name} {before} -> {after}" if before != after else f"{name} {after} (other files)"


def _as_json(result: LockResult) -> dict[str, Any]:
    targets = {
        name: {
            "base": locked.base,
            "requirements": locked.requirements,
            "digest": locked.digest,
            "packages": [
                {"name": move.name, "before": move.before, "after": move.after} for move in result.changes[name]
            ],
        }
        for name, locked in result.lock.targets.items()
    }
    return {"changed": result.changed, "written": list(result.written), "targets": targets}
