"""Which Python byte-compiles an environment: the image's own, to the patch version, run here or by the engine."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from packager.builders.base import fetch_base
from packager.builders.engine_interpreter import engine_interpreter
from packager.builders.starting import base_files, key_of
from packager.errors import PackagerError
from packager.laying.base_files import FileBlob, exact_version, find_python
from packager.laying.compile import Compiler, find_interpreter, no_interpreter, version_of
from packager.laying.interpreters import base_interpreter, prefix_interpreter
from packager.laying.recipe import Interpreter
from packager.oci.values import BaseImage, Content
from packager.plan.plan import Plan
from packager.storage.memory import cache_root
from packager.targets import machine

#: Returns an interpreter, for the folder of an environment; None where there is none of this kind.
Way = Callable[[Path], Interpreter | None]


def make_compiler(
    plan: Plan,
    base: BaseImage,
    version: str,
    content: Content,
    mirrors: Mapping[str, str],
    *,
    here: str = os.uname().machine,
    system: str = sys.platform,
) -> Compiler:
    """Return what compiles the environment of a plan; interpreters are looked for when there is something to compile.

    Args:
        plan: of the image.
        base: in the content store.
        version: of Python, in full.
        content: the store.
        mirrors: registry → mirror.
        here: what `platform.machine()` says on this machine.
        system: what `sys.platform` says.
    """
    native = system == "linux" and machine(plan.platform) == here
    minor = plan.environment.python

    def blobs(image: BaseImage) -> Iterator[FileBlob]:
        digests = (layer.blob.digest for layer in image.layers)
        return (FileBlob(digest=each, path=str(content.path(each))) for each in digests)

    def of_base(prefix: Path) -> Interpreter | None:
        image = base if native else _sibling(plan, here, content, mirrors) if system == "linux" else None
        if image is None:
            return None
        files = base_files(image, content)
        python = find_python(files)
        if python is None or exact_version(files, python) != version:
            return None
        return base_interpreter(files, blobs(image), python, key_of(image), cache_root())

    def of_prefix(prefix: Path) -> Interpreter | None:
        variables = {"PYTHONHOME": str(prefix)}
        return Interpreter(command=(f"{prefix}/bin/python{minor}",), variables=variables) if native else None

    def of_prefix_by_base(prefix: Path) -> Interpreter | None:
        files = base_files(base, content)
        return prefix_interpreter(prefix, minor, files, blobs(base), key_of(base), cache_root()) if native else None

    def of_machine(prefix: Path) -> Interpreter | None:
        return find_interpreter(version)

    def of_engine(prefix: Path) -> Interpreter | None:
        if plan.environment.conda:
            return engine_interpreter(plan.base, f"{prefix}/bin/python{minor}", version, prefix, str(prefix))
        python = find_python(base_files(base, content))
        return engine_interpreter(plan.base, python.path, version, prefix) if python else None

    own: tuple[Way, ...] = (of_prefix, of_prefix_by_base) if plan.environment.conda else ()
    # A base of the very version that conda has serves as well, where conda's own does not run here. An engine comes
    # last: it may have to pull the base, or to emulate it.
    return Compiler(
        functools.partial(_first, version, plan.platform, (*own, of_base, of_machine, of_engine)), cache_root()
    )


def _first(version: str, platform: str, ways: tuple[Way, ...], prefix: Path) -> Interpreter:
    """Return the first interpreter that runs here and is of the very version."""
    for way in ways:
        found = way(prefix)
        if found is not None and version_of(found) == version:
            return found
    raise no_interpreter(version, f"the image is for {platform}")


def _sibling(plan: Plan, here: str, content: Content, mirrors: Mapping[str, str]) -> BaseImage | None:
    """Return the base for this machine's platform: compiled files are the same for all platforms of one version."""
    if plan.base.local:
        return None
    own = next((each for each in ("linux/amd64", "linux/arm64") if machine(each) == here), None)
    try:
        return fetch_base(plan.base, own, content, mirrors) if own else None
    except PackagerError:
        return None  # the base has one platform; or it cannot be had now, and another way is tried
