"""Byte-compilation of environments; each package is compiled once on a machine, by the Python that will read its files.

Their bytes depend on its patch version (of 3,566 files of a scikit-learn environment, 3.13.0 and 3.13.5 write 1,183
differently), so that is part of what names an environment. What was compiled is kept by the content of the sources,
their place in the image, and that version: wheels of several platforms with the same sources share it.
"""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import msgspec

from packager.contract import ENVIRONMENT_PREFIX
from packager.decoding import decode_json
from packager.environments.uv import Uv
from packager.errors import LockError, PackagerError
from packager.laying.recipe import COMPILING, Interpreter
from packager.programs.stage.compile import compiled_path, cut, groups
from packager.progress import working
from packager.resources import program
from packager.spec.model import canonical
from packager.storage.collect import Kind
from packager.storage.content import content_guard
from packager.storage.memory import Memory

#: Options with which the compiling program is started, in a build stage, too: nothing of the user's or the machine's.
OPTIONS = ("-S", "-s", "-B", "-W", "ignore")


def find_interpreter(version: str, environ: Mapping[str, str] | None = None) -> Interpreter | None:
    """Return the CPython of exactly a version that uv finds on this machine; None where there is none.

    Args:
        version: in full (`3.13.5`).
        environ: environment variables; those of this process where None.
    """
    environ = dict(os.environ if environ is None else environ)
    words = ["python", "find", "--no-python-downloads", "--no-project", f"cpython@{version}"]
    try:
        ended = Uv(Path(), environ).run(words)
    except PackagerError:
        return None
    path = ended.output.strip() if ended.code == 0 else ""
    return Interpreter(command=(path,)) if path and version_of(Interpreter(command=(path,))) == version else None


def version_of(interpreter: Interpreter) -> str:
    """Return the version that an interpreter says it is, in full; empty where it does not run."""
    command = [*interpreter.command, *OPTIONS, "-c", "import sys; print('%d.%d.%d' % sys.version_info[:3])"]
    try:
        done = subprocess.run(
            command, env=_variables(interpreter), capture_output=True, text=True, check=False, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


class Compiler:
    """Compiles environments, and keeps what it compiled.

    Args:
        find: returns the interpreter, for the folder of an environment; asked where something has to be compiled.
        cache: the folder of all that packager remembers.
    """

    def __init__(self, find: Callable[[Path], Interpreter], cache: Path) -> None:
        # An environment has two folders to compile, and one interpreter.
        self.find, self._root = functools.cache(find), cache / "bytecode"
        self._memory = Memory("bytecode", cache / "content")

    def compile(self, prefix: Path, folder: Path, version: str) -> None:
        """Write the `__pycache__` folders of an environment, which name the place that it will have in the image.

        Args:
            prefix: folder of the environment.
            folder: `site-packages` or the standard library in it.
            version: of Python, in full.

        Raises:
            LockError: no interpreter, or it fails.
            OSError: the disk is full or not writable.
        """
        tag = f"cpython-{''.join(version.split('.')[:2])}"
        found = groups(str(folder))
        place = f"{ENVIRONMENT_PREFIX}/{folder.relative_to(prefix)}"
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            digests = pool.map(lambda paths: [(path, _digest(folder / path)) for path in paths], found.values())
            keys = [hashlib.sha256(canonical((COMPILING, version, place, each))).hexdigest() for each in digests]
            known = pool.map(lambda key: self._lay_known(key, folder), keys)
        missing = [each for each, laid in zip(zip(keys, found.values(), strict=True), known, strict=True) if not laid]
        if not missing:
            return
        with working(f"byte-compiling {len(missing)} packages"):
            self._run(self.find(prefix), prefix, folder, [paths for _, paths in missing])
        for key, paths in missing:
            self._keep(key, folder, (compiled_path(path, tag) for path in paths))

    def _lay_known(self, key: str, folder: Path) -> bool:
        """Lay down what was compiled before, by links; return whether all of it was there, as it was written."""
        kept, data = self._root / key, self._memory.recall(key)
        with suppress(FileNotFoundError, msgspec.DecodeError):
            digests = decode_json(data or b"", dict[str, str])
            os.utime(kept)  # it was used: see `bytecode_kind`
            # Somebody may have edited an environment, whose files these are.
            if all(_digest(kept / path) == digest for path, digest in digests.items()):
                for path in digests:
                    _link(kept / path, folder / path)
                return True
        shutil.rmtree(kept, ignore_errors=True)
        return False

    def _run(self, interpreter: Interpreter, prefix: Path, folder: Path, missing: Iterable[list[str]]) -> None:
        work = [[f"{folder}/{path}" for path in part] for paths in missing for part in cut(paths)]
        command = [*interpreter.command, *OPTIONS, str(program("stage/compile.py"))]
        command += ["--from", str(prefix), "--to", ENVIRONMENT_PREFIX, "-"]
        data = os.fsencode("\0\0".join("\0".join(paths) for paths in work))
        try:
            done = subprocess.run(
                command, input=data, env=_variables(interpreter), cwd="/", capture_output=True, check=False
            )
        except OSError as error:
            raise _failed(str(error)) from None
        if done.returncode != 0:
            said = done.stderr.decode("utf-8", "replace").strip().splitlines()[-4:]
            raise _failed("\n".join(said) or f"exit code {done.returncode}")

    def _keep(self, key: str, folder: Path, paths: Iterable[str]) -> None:
        """Keep compiled files of an environment under a key; what another process kept meanwhile is as good."""
        self._root.mkdir(parents=True, exist_ok=True)
        making = Path(tempfile.mkdtemp(prefix=f".{key[:16]}.packager-", dir=self._root))
        kept = {}
        try:
            for path in paths:
                if (folder / path).is_file():
                    _link(folder / path, making / path)
                    kept[path] = _digest(folder / path)
            with suppress(OSError):
                os.rename(making, self._root / key)
                self._memory.remember(msgspec.json.encode(kept), key)
        finally:
            shutil.rmtree(making, ignore_errors=True)


def bytecode_kind(cache_root: Path) -> Kind:
    """Return the compiled packages of a cache; environments hold other names of their files."""
    return Kind(
        name="compiled package",
        root=cache_root / "bytecode",
        patterns=("[!.]*",),
        things="folder",
        cost=1,
        guards=(content_guard(cache_root),),
    )


def no_interpreter(version: str, why: str) -> LockError:
    """Return the error for an environment that cannot be compiled on this machine.

    Args:
        version: of Python, in full.
        why: the image's own cannot be used here.
    """
    return LockError(
        f"the environment is byte-compiled by Python {version}, which does not run on this machine: {why}",
        remedy=f"install it (`uv python install {version}`), build with an engine (`--builder engine`), "
        "or leave it uncompiled: `compile: false` in the spec",
    )


def _failed(said: str) -> LockError:
    return LockError(
        f"byte-compilation failed:\n{said}", remedy="run the command again, or set `compile: false` in the spec"
    )


def _variables(interpreter: Interpreter) -> dict[str, str]:
    # No setting of this machine: PYTHONOPTIMIZE or PYTHONPYCACHEPREFIX would give other files, or none.
    return {"PYTHONHASHSEED": "0", "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", **interpreter.variables}


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _link(source: Path, target: Path) -> None:
    """Give a file another name; a copy where its filesystem has no links, or no more of them."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:
        target.unlink(missing_ok=True)  # never written into: it may be another name of something that is kept
        shutil.copyfile(source, target)
