"""Lay the conda packages of a lock down by `install` and `settle`: the first in a process of its own.

py-rattler's threads have crashed the interpreter at its exit, with all done and written: what counts is the answer.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from packager.environments.channel_credentials import channel_access, hide_access
from packager.environments.channel_mirrors import urls_to_fetch
from packager.environments.conda import CondaPackage
from packager.environments.install_failure import explain_install
from packager.environments.locks.conda_file import format_conda_lock
from packager.errors import LockError, PackagerError
from packager.laying.kinds import used
from packager.programs.stage.install import ACCESS
from packager.programs.stage.settle import Record, SettleError, settle
from packager.resources import program
from packager.scratch import scratch
from packager.storage.locks import in_use


def lay_packages(
    packages: Iterable[CondaPackage],
    subdir: str,
    prefix: str,
    folder: Path,
    cache: Path,
    *,
    mirrors: Mapping[str, str],
    environ: Mapping[str, str],
    copy: bool = False,
) -> list[Record]:
    """Lay packages down, each checked against its sha256, and make them the same everywhere; none of their code is run.

    Args:
        packages: of one platform.
        subdir: that platform, in conda's words.
        prefix: final place of the environment, which is written into files.
        folder: new; it gets the files.
        cache: where downloads are kept.
        mirrors: channel (name, or start of its URL) → where to fetch from in its place.
        environ: environment variables of this machine: proxies, certificates, credentials, what channels name.
        copy: no hard links into the cache, and permissions set.

    Returns:
        the records of the packages, as `conda-meta` has them.

    Raises:
        LockError: a package is not what was locked, or is gone, or the channel refuses credentials.
        TemporaryError: the channel does not answer.
        PackagerError: py-rattler is missing, or the disk is full.
    """
    if importlib.util.find_spec("rattler") is None:
        raise PackagerError("py-rattler is not there", remedy="install it beside packager: pip install py-rattler")
    packages = tuple(packages)
    urls = urls_to_fetch({each.channel for each in packages}, mirrors)
    with scratch("packager-conda-") as name:
        lock = Path(name) / "conda-lock.yml"
        lock.write_text(format_conda_lock(packages, channels=(), content_hashes={subdir: ""}), "utf-8")
        # -P: what stands beside the program are modules of packager, not of the program.
        command = [sys.executable, "-P", str(program("stage/install.py")), "--json", "--lock", str(lock)]
        command += ["--subdir", subdir, "--prefix", prefix, "--into", str(folder), "--cache", str(cache)]
        for channel, url in mirrors.items():
            command += ["--mirror", f"{channel}={url}"]
        command += ["--copy"] if copy else []
        access = channel_access(urls, environ)
        done = _run(command, {**environ, ACCESS: json.dumps(access)} if access else environ, cache)
    answer = _answer(done.stdout, done.returncode, hide_access(done.stderr, urls, environ))
    if "error" in answer:
        raise explain_install(answer["error"], hide_access(answer["message"], urls, environ))
    used(cache / subdir / each.file_name.removesuffix(".conda").removesuffix(".tar.bz2") for each in packages)
    try:
        return settle(folder, modes=copy)
    except SettleError as error:
        raise LockError(
            f"{error.message}; somebody changed it in {cache}",
            remedy=f"remove {cache / subdir}, then run the command again",
        ) from None


def _run(command: list[str], environ: Mapping[str, str], cache: Path) -> subprocess.CompletedProcess[str]:
    with in_use(cache):
        return subprocess.run(
            command,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )


def _answer(stdout: str, code: int, stderr: str) -> dict[str, Any]:
    try:
        answer = json.loads(stdout)
    except ValueError:
        said = "\n".join(stderr.strip().splitlines()[-12:])
        raise PackagerError(f"py-rattler ended without an answer (code {code}):\n{said}", remedy="try again") from None
    assert isinstance(answer, dict)
    return answer
