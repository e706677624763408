"""`packager lock`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from packager.cli import common
from packager.errors import UsageError

if TYPE_CHECKING:
    from packager.spec.load import SpecFile
    from packager.steps.lock import LockResult, Move

#: Packages of a target that are listed.
MOST = 10


@click.command("lock")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@common.file_option
@common.spec_workspace_option
@click.option("--check", is_flag=True, help="Write nothing; exit with 3 and name what changed when the lock is stale.")
@click.option("--upgrade", is_flag=True, help="Take newer versions: of the packages NAME, or of all.")
@click.option("--upgrade-base", is_flag=True, help="Resolve the spec's own `base` to its digest of today.")
@click.option(
    "--upgrade-models",
    is_flag=True,
    help="Take the latest version of registered models and environments that have none in the spec: NAME, or all; "
    "NAME:VERSION takes that one.",
)
@click.option("--offline", is_flag=True, help="Ask no index, channel or registry; take what the caches have.")
@click.option(
    "--try",
    "trial",
    is_flag=True,
    help="Then start the package on this machine: server, the script's modules and init(), as `run --no-docker` does.",
)
@click.option(
    "--solver",
    "solver",
    type=click.Choice(["rattler", "conda-lock"]),
    default="rattler",
    show_default=True,
    help="What solves conda packages.",
)
@click.option(
    "--conda", "executable", metavar="EXE", help="The conda, mamba or micromamba that --solver conda-lock uses."
)
@common.insecure_option
@common.format_option
@common.standard_options
def command(
    names: tuple[str, ...],
    file: Path,
    check: bool,
    upgrade: bool,
    upgrade_base: bool,
    upgrade_models: bool,
    offline: bool,
    trial: bool,
    solver: str,
    executable: str | None,
    output_format: str,
    reporter: common.Reporter,
) -> None:
    """Solve the environment and write the lock.

    Writes for each target locks/TARGET.conda-lock.yml (conda packages, in conda-lock's format; where there are any)
    and locks/TARGET.requirements.txt (what pip adds to them), with exact versions and the sha256 of every file, and
    packager.lock, beside the spec; commit them. Those of a spec that is called NAME.yaml are locks/NAME/TARGET… and
    NAME.packager.lock. Versions stay as they are locked unless the requirements ask for
    others, or --upgrade is given. When nothing has changed, nothing is solved, asked or written.

    conda packages are solved for each target's platforms and virtual packages (`__cuda`, `__glibc` …), whatever this
    machine is, and what they bring is taken as given when pip's half is solved.

    Index settings are those of the machine: UV_* and PIP_* variables, uv.toml, netrc. Credentials of channels are
    those of rattler: RATTLER_AUTH_FILE, its login, netrc. PACKAGER_REGISTRY_MIRROR (docker.io=HOST, several with
    commas) names mirrors of the base image's registry, PACKAGER_CHANNEL_MIRROR (conda-forge=URL) those of channels; no
    lock names one.

    Registered models and environments (`registered:` in the spec) are locked by version and content; those that have
    no version in the spec stay at the one that was the latest at their first lock. --check says what is newer, which is
    no error.

    With --try, what was locked is laid down here and started until it answers, as the container would; the lock is
    written in any case, and the exit code is 8 where it does not start.

    \b
    --format json prints
      {"changed": bool, "written": [PATH, …], "registered": {NAME: {"before", "after"}, …},
       "targets": {TARGET: {"base": REF, "requirements": PATH, "digest": DIGEST,
                            "packages": [{"name", "before", "after"}, …],
                            "conda": {"file": PATH, "digest": DIGEST, "installer": REF,
                                      "packages": [{"name", "before", "after"}, …]}}}}
    and with --check
      {"fresh": bool, "targets": {TARGET: [CHANGE, …]}, "newer": [LINE, …]}
    """  # noqa: D301 - click reads the backspace character, not the two letters
    from packager.spec.load import load_spec
    from packager.steps.lock import lock

    if names and not (upgrade or upgrade_models):
        raise UsageError(
            f"{names[0]!r}: names go with --upgrade or --upgrade-models", remedy="packager lock --upgrade NAME …"
        )
    if names and upgrade and upgrade_models:
        raise UsageError(
            f"{names[0]!r} could be a package or a model", remedy="upgrade them by two commands, or all without names"
        )
    if check and (upgrade or upgrade_base or upgrade_models or offline or trial):
        raise UsageError(
            "--check writes nothing",
            remedy="use it without --upgrade, --upgrade-base, --upgrade-models, --offline and --try; "
            "`packager check --start` starts it",
        )
    if (solver == "conda-lock") != (executable is not None):
        raise UsageError(
            "--solver conda-lock and --conda EXE go together",
            remedy="name a conda, mamba or micromamba: packager lock --solver conda-lock --conda /path/to/micromamba",
        )
    spec_file = load_spec(file)
    if check:
        _check(spec_file, output_format, reporter)
        return
    result = lock(
        spec_file,
        upgrade=(names or True) if upgrade else False,
        upgrade_base=upgrade_base,
        upgrade_models=(names or True) if upgrade_models else False,
        offline=offline,
        conda=executable,
        reporter=reporter,
    )
    for note in result.notes:
        reporter.step(f"note: {note}")
    if output_format == "json":
        common.emit_json(_as_json(result))
    elif reporter.verbosity >= 0:
        common.emit("\n".join(_as_text(result, most=None if reporter.verbosity else MOST)))
    if trial:
        from packager.steps.trial import require_started, try_start

        require_started(try_start(spec_file, reporter=reporter), reporter)


def _check(spec_file: SpecFile, output_format: str, reporter: common.Reporter) -> None:
    from packager.errors import PackagerError
    from packager.steps.lock import lock_status, newer_models, stale

    status = lock_status(spec_file, reporter=reporter)
    newer: tuple[str, ...] = ()
    try:
        newer = newer_models(spec_file)
    except PackagerError as error:
        reporter.step(f"note: whether there are newer models cannot be told: {error.message}")
    changed = {name: reasons for name, reasons in status.items() if reasons}
    if output_format == "json":
        targets = {name: list(reasons) for name, reasons in status.items()}
        more = {"newer": list(newer)} if spec_file.registers else {}
        common.emit_json({"fresh": not changed, "targets": targets, **more})
    if changed:
        raise stale(changed)
    if output_format == "text":
        common.emit("\n".join(["fresh", *newer]))


def _as_text(result: LockResult, most: int | None = MOST) -> list[str]:
    """Return what was done; of each target at most so many packages that changed, and none where all are new."""
    # A comment that changed alone makes packager.lock be written again, for its digests of the inputs: no news.
    if not result.changed and all(each.endswith("packager.lock") for each in result.written):
        return ["unchanged"]
    lines = list(result.written)
    for name, (before, after) in result.pins.items():
        lines.append(f"registered: {_pin_move(name, before, after)}")
    for target in result.lock.targets:
        images = []
        for title, moved in (("base", result.bases), ("installer", result.installers)):
            if target in moved:
                before, after = moved[target]
                images.append(f"  {title} {after}" if before is None else f"  {title} {before} -> {after}")
        moves = result.changes[target]
        if moves or images or target in result.counts:
            summary, listed = _changes(moves, result.counts.get(target, 0), most)
            lines += [f"{target}: {summary}" if summary else f"{target}:", *images, *listed]
    return lines


def _pin_move(name: str, before: str | None, after: str | None) -> str:
    if before is None:
        return f"+ {name} {after}"
    if after is None:
        return f"- {name} {before}"
    return f"{name} {before} -> {after}" if before != after else f"{name} {after} (other content)"


def _changes(moves: tuple[Move, ...], total: int, most: int | None) -> tuple[str, list[str]]:
    """Return `56 packages: 2 added, 1 updated`, and lines of what they are."""
    if not moves:
        return (f"{common.count(total, 'package')}: unchanged" if total else ""), []
    added = sum(move.before is None for move in moves)
    removed = sum(move.after is None for move in moves)
    counts = {"added": added, "removed": removed, "updated": len(moves) - added - removed}
    said = ", ".join(f"{number} {word}" for word, number in counts.items() if number)
    if total == added == len(moves):
        # Locked for the first time: its files list them.
        said, most = "all new", 0 if most is not None else None
    shown = [f"  {_move(move)}" for move in moves[:most]]
    if shown and len(shown) < len(moves):
        shown.append(f"  and {len(moves) - len(shown)} more (-v)")
    return f"{common.count(total, 'package')}: {said}", shown


def _move(move: Move) -> str:
    name = move.name if move.manager == "pip" else f"{move.manager} {move.name}"
    if move.before is None:
        return f"+ {name} {move.after}"
    if move.after is None:
        return f"- {name} {move.before}"
    if move.before == move.after:
        return f"{name} {move.after} (other files)"
    return f"{name} {move.before} -> {move.after}"


def _as_json(result: LockResult) -> dict[str, Any]:
    from msgspec import UnsetType

    targets: dict[str, Any] = {}
    for name, locked in result.lock.targets.items():
        moves = result.changes[name]
        targets[name] = {
            "base": locked.base,
            "requirements": locked.requirements,
            "digest": locked.digest,
            "packages": _moves(moves, "pip"),
        }
        if not isinstance(locked.conda, UnsetType):
            conda = locked.conda
            targets[name]["conda"] = {
                "file": conda.file,
                "digest": conda.digest,
                "installer": conda.installer,
                "packages": _moves(moves, "conda"),
            }
    pins = {name: {"before": before, "after": after} for name, (before, after) in result.pins.items()}
    more = {"registered": pins} if result.lock.pins or pins else {}
    return {"changed": result.changed, "written": list(result.written), "targets": targets, **more}


def _moves(moves: tuple[Move, ...], manager: str) -> list[dict[str, str | None]]:
    return [
        {"name": move.name, "before": move.before, "after": move.after} for move in moves if move.manager == manager
    ]
