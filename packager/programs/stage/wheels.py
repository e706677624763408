"""Lays the wheels of an environment down by uv in a build stage, and makes what they leave the same everywhere.

uv's own wheel is fetched by pip, from the same index and checked against its sha256, as every other. What pip is told
of indexes, certificates and proxies (pip.conf, `PIP_*`) is told to uv in its own words, by the environment of the
process: no URL and no password is in an argument, a file or a line that is printed.

Afterwards an environment tells neither who installed it nor when: INSTALLER, the scripts of entry points and RECORD are
what packager writes without an engine. That holds for pip's work, too (without `--uv`, only this is done).

Needs nothing but Python and, for `--uv`, the pip of its `ensurepip`: packager imports it, and a build context carries
it into the build stage as a program. Formats: pip's "Configuration", uv's "Environment variables", the packaging
specifications "Entry points" and "Recording installed projects".
"""

from __future__ import annotations

import argparse
import base64
import configparser
import csv
import hashlib
import io
import os
import platform
import posixpath
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

#: What a package manager writes into `.dist-info` of how and whence it installed.
TRACES = ("REQUESTED", "direct_url.json", "uv_build.json", "uv_cache.json")
INSTALLER = b"packager\n"
OBJECT = re.compile(r"(?P<module>\w+(?:\.\w+)*)\s*:\s*(?P<object>\w+(?:\.\w+)*)\s*(?:\[[^\]]*\])?", re.ASCII)

# Those that leave their name in INSTALLER; what conda has laid down is not touched.
_INSTALLERS = (b"pip", b"uv")
# pip's setting → uv's variable, and what stands between several values there.
_IN_UVS_WORDS = {
    "index-url": ("UV_DEFAULT_INDEX", ""),
    "extra-index-url": ("UV_INDEX", " "),
    "find-links": ("UV_FIND_LINKS", ","),
    "trusted-host": ("UV_INSECURE_HOST", " "),
    "cert": ("SSL_CERT_FILE", ""),
    "client-cert": ("SSL_CLIENT_CERT", ""),
}
_YES = ("1", "true", "t", "yes", "y", "on")
_NUMBERS = {"timeout": "UV_HTTP_TIMEOUT", "retries": "UV_HTTP_RETRIES"}
# pip reads these variables, and takes certificates of the system besides its own.
_CERTIFICATES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_SYSTEM_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"


class WheelsError(Exception):
    """uv cannot be had, or does not lay the wheels down; the message is one sentence."""


# --- uv ---------------------------------------------------------------------------------------------------------------


def pip_settings(environ: Mapping[str, str], files: Sequence[str] | None = None) -> dict[str, str]:
    """Return pip's settings, by the long names of its options: of its files, and over them of the variables `PIP_*`.

    Args:
        environ: variables.
        files: later ones go before earlier ones; pip's own places where None.
    """
    named = environ.get("PIP_CONFIG_FILE", "")
    if files is None:
        home = environ.get("HOME", "/root")
        users = (f"{home}/.pip/pip.conf", f"{home}/.config/pip/pip.conf")
        files = ("/etc/xdg/pip/pip.conf", "/etc/pip.conf", *users, f"{sys.prefix}/pip.conf", named)
    parser = configparser.RawConfigParser()
    try:
        parser.read([] if named == os.devnull else [each for each in files if each], "utf-8")
    except (configparser.Error, UnicodeDecodeError):
        # Its text may hold a password.
        raise WheelsError("pip.conf is not an INI file as pip reads it") from None
    said = [pair for each in ("global", "install") if parser.has_section(each) for pair in parser.items(each)]
    said += [(name[4:], value) for name, value in environ.items() if name.startswith("PIP_")]
    return {name.lower().replace("_", "-"): value for name, value in said if value.strip()}


def uv_environment(environ: Mapping[str, str], settings: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of uv: variables without those of uv, which pip would not know either, and pip's settings.

    Args:
        environ: variables.
        settings: pip's; see `pip_settings`.
    """
    result = {name: value for name, value in environ.items() if not name.startswith("UV_")}
    bundles = [environ[name] for name in _CERTIFICATES if environ.get(name)]
    bundles += [_SYSTEM_CERTIFICATES] if os.path.exists(_SYSTEM_CERTIFICATES) else []
    if bundles:
        result["SSL_CERT_FILE"] = bundles[0]
    for name, (variable, between) in _IN_UVS_WORDS.items():
        if name in settings:
            words = settings[name].split()
            result[variable] = between.join(words) if between else settings[name].strip()
    for name, variable in _NUMBERS.items():
        if settings.get(name, "").isdigit():
            result[variable] = settings[name]
    if "proxy" in settings:
        result.update(dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), settings["proxy"]))
    # pip takes a version from any of its indexes, and the lock says of which file.
    return {**result, "UV_INDEX_STRATEGY": "unsafe-best-match", "UV_PYTHON_DOWNLOADS": "never", "NO_COLOR": "1"}


def pip_command() -> list[str]:
    """Return the command of the pip that this Python brings: installed, or the wheel that `ensurepip` has.

    Raises:
        WheelsError: there is none.
    """
    if find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    # Where Linux distributions keep it instead.
    folders = [sysconfig.get_config_var("WHEEL_PKG_DIR") or "/usr/share/python-wheels"]
    bundled = find_spec("ensurepip")
    if bundled is not None and bundled.origin:
        folders.insert(0, posixpath.join(posixpath.dirname(bundled.origin), "_bundled"))
    for folder in folders:
        for wheel in sorted(Path(folder).glob("pip-*.whl"), reverse=True):
            return [sys.executable, str(wheel / "pip")]
    raise WheelsError("this Python has neither pip nor ensurepip with it; install python3-venv in the base")


def pinned(text: str) -> tuple[str, list[str]]:
    """Return the requirement of uv and the digests that its wheel may have (64 hex digits each)."""
    (requirement,) = re.findall(r"^(uv==[^\s\\]+)", text, re.M)
    return requirement, re.findall(r"--hash=sha256:([0-9a-f]{64})", text)


def fetch_uv(pins: Path, cache: Path | None, scratch: Path) -> Path:
    """Return the program uv, taken from its wheel, which is downloaded where the cache has none.

    Args:
        pins: requirements with uv and its digests.
        cache: keeps the wheel; None for no cache.
        scratch: a new folder.

    Raises:
        WheelsError: there is no wheel, or another than the pinned.
    """
    requirement, digests = pinned(pins.read_text("utf-8"))
    # One cache may serve builds for several processors, and the digests are those of all of them.
    kept = (cache or scratch) / f"uv-{sysconfig.get_config_var('MULTIARCH') or platform.machine()}"
    wheel = _wheel_in(kept, digests)
    if wheel is None:
        words = ["--disable-pip-version-check", "--no-input", "download", "--quiet", "--no-deps", "--require-hashes"]
        words += ["--only-binary", ":all:", "--no-cache-dir", "--dest", str(scratch), "--requirement", str(pins)]
        done = subprocess.run([*pip_command(), *words], stdin=subprocess.DEVNULL, check=False)
        wheel = _wheel_in(scratch, digests)
        if done.returncode or wheel is None:
            raise WheelsError(
                f"{requirement} cannot be had from the index; `installer: pip` in the spec does without it"
            )
        if cache is not None:
            kept.mkdir(parents=True, exist_ok=True)
            # Two builds may use the cache at once, and each step of a build may be the same number to itself.
            descriptor, name = tempfile.mkstemp(dir=kept)
            with os.fdopen(descriptor, "wb") as target, wheel.open("rb") as source:
                shutil.copyfileobj(source, target, 1 << 20)
            os.replace(name, kept / wheel.name)
    with zipfile.ZipFile(wheel) as archive:
        (member,) = (name for name in archive.namelist() if name.endswith(".data/scripts/uv"))
        program = scratch / "uv"
        with archive.open(member) as source, program.open("wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
    program.chmod(0o755)
    return program


def _wheel_in(folder: Path, digests: Sequence[str]) -> Path | None:
    """Return the file of a folder with one of the digests; a cache is not believed."""
    for path in sorted(folder.glob("uv-*.whl")):
        if hashlib.sha256(path.read_bytes()).hexdigest() in digests:
            return path
    return None


def install(uv: Path, python: str, requirements: Path, from_source: Sequence[str], cache: Path | None) -> None:
    """Lay down what the requirements name, each checked against its sha256; nothing is solved.

    Args:
        uv: the program.
        python: interpreter of the environment.
        requirements: with hashes.
        from_source: names that are built from an sdist; all others are wheels.
        cache: uv's; None for none.

    Raises:
        WheelsError: uv fails; it has said why.
    """
    words = [str(uv), "pip", "install", "--no-config", "--no-progress", "--python", python, "--no-deps"]
    words += ["--require-hashes", "--link-mode", "copy", "--no-compile-bytecode"]
    words += ["--cache-dir", str(cache)] if cache is not None else ["--no-cache"]
    words += ["--only-binary", ":all:"] if not from_source else _exceptions(requirements, from_source)
    settings = pip_settings(os.environ)
    words += ["--no-index"] if settings.get("no-index", "").lower() in _YES else []
    words += ["--requirement", str(requirements)]
    done = subprocess.run(words, env=uv_environment(os.environ, settings), stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise WheelsError(f"uv ended with exit code {done.returncode}")


def _exceptions(requirements: Path, from_source: Sequence[str]) -> list[str]:
    """Return uv's options for `all as wheels but these`, which it takes by name alone."""
    names = re.findall(r"^([A-Za-z0-9._-]+)==", requirements.read_text("utf-8"), re.M)
    built = set(map(_normal, from_source))
    return [f"--{'no' if _normal(name) in built else 'only'}-binary={name}" for name in names]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


# --- what is left behind ----------------------------------------------------------------------------------------------


def settle(prefix: Path) -> None:
    """Make what pip or uv laid down the same, whichever did.

    Args:
        prefix: of the environment, at its final place: scripts name its interpreter.
    """
    if (prefix / ".lock").exists():  # uv's
        (prefix / ".lock").unlink()
    for info in sorted(prefix.glob("lib/python3*/site-packages/*.dist-info")):
        installer = info / "INSTALLER"
        if (info / "RECORD").is_file() and installer.is_file() and installer.read_bytes().strip() in _INSTALLERS:
            _settle_one(prefix, info)


def _settle_one(prefix: Path, info: Path) -> None:
    site = info.parent.relative_to(prefix).as_posix()
    record = info / "RECORD"
    rows = {}
    with record.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        for line in csv.reader(file):
            if line:
                path, digest, size = (*line, "", "")[:3]
                rows[posixpath.normpath(posixpath.join(site, path))] = (digest, size)
    for name in TRACES:
        rows.pop(f"{site}/{info.name}/{name}", None)
        if (info / name).exists():
            (info / name).unlink()
    written = {f"{site}/{info.name}/INSTALLER": INSTALLER}
    points = info / "entry_points.txt"
    if points.is_file():
        for name, module, called in entry_points(points.read_text("utf-8")):
            if f"bin/{name}" in rows:
                written[f"bin/{name}"] = script_text(f"{prefix}/bin/python", module, called).encode()
    for path, data in written.items():
        (prefix / path).write_bytes(data)
        rows[path] = (_digest(data), str(len(data)))
    rows[f"{site}/{info.name}/RECORD"] = ("", "")
    record.write_text(record_text(rows, site), "utf-8", "surrogateescape")


def record_text(rows: Mapping[str, tuple[str, str]], site: str) -> str:
    """Return the text of a RECORD, paths relative to site-packages.

    Args:
        rows: path, relative to the environment → digest and size as they are written there.
        site: path of site-packages, relative to the environment.
    """
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    for path in sorted(rows):
        # Other algorithms are as none, and bytecode is none of the package's.
        digest, size = rows[path]
        if "__pycache__" not in path.split("/"):
            writer.writerow((posixpath.relpath(path, site), digest if digest.startswith("sha256=") else "", size))
    return stream.getvalue()


def entry_points(text: str) -> Iterator[tuple[str, str, str]]:
    """Yield name, module and object of the scripts that an `entry_points.txt` declares, as far as they are valid."""
    parser = configparser.RawConfigParser(delimiters=("=",), strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # names keep their case
    parser.read_string(text)
    for group in ("console_scripts", "gui_scripts"):
        for name, reference in parser.items(group) if parser.has_section(group) else ():
            parts = OBJECT.fullmatch(reference.strip())
            if parts is not None:
                yield name, parts["module"], parts["object"]


def script_text(interpreter: str, module: str, called: str) -> str:
    """Return the script that calls an entry point.

    Args:
        interpreter: path of Python in the image.
        module: to import.
        called: object in it, with dots.
    """
    return (
        f"#!{interpreter}\nimport sys\nfrom {module} import {called.partition('.')[0]}\n\n"
        f'if __name__ == "__main__":\n    sys.exit({called}())\n'
    )


def _digest(data: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def main(arguments: list[str] | None = None) -> int:
    """Run the program; return its exit code."""
    parser = argparse.ArgumentParser(description="Lay wheels down by uv, and make the environment the same everywhere.")
    parser.add_argument("--prefix", required=True, type=Path, help="of the environment, which has a Python")
    parser.add_argument(
        "--uv", type=Path, metavar="PINS", help="requirements with uv; without it, nothing is laid down"
    )
    parser.add_argument("--requirements", type=Path, help="what to lay down, with hashes")
    parser.add_argument("--cache", type=Path, help="folder for wheels; none without it")
    parser.add_argument("--no-binary", action="append", default=[], metavar="NAME", help="build it from its sdist")
    options = parser.parse_args(arguments)
    try:
        if options.uv is not None:
            with tempfile.TemporaryDirectory() as scratch:
                uv = fetch_uv(options.uv, options.cache, Path(scratch))
                cache = options.cache / "uv" if options.cache is not None else None
                install(uv, f"{options.prefix}/bin/python", options.requirements, options.no_binary, cache)
        settle(options.prefix)
    except WheelsError as error:
        sys.stderr.write(f"wheels.py: {error}\n")
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
