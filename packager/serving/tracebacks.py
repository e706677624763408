"""What the log of a service that did not start says: the exception of the entry script, and what helps. Pure."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable

import msgspec

from packager.debian import DEBIAN_PACKAGES

#: Characters of an exception that are repeated.
_LONGEST = 200
_TRACEBACK = "Traceback (most recent call last):"
_FROM = "The above exception was the direct cause of the following exception:"
_FRAME = re.compile(r'\s+File "(?P<file>[^"]+)", line (?P<line>\d+)')
_RAISED = re.compile(r"(?:[A-Za-z_]\w*\.)*(?P<kind>_?[A-Z]\w*)(?::\s?(?P<text>.*))?")
#: The server's own, which it raises from that of the script.
_WRAPPERS = "UserScript"
_APP = "/azureml-app/"
_INSTALLED = re.compile(r"/site-packages/(\w+)")


class Raised(msgspec.Struct, frozen=True, kw_only=True):
    """An exception, as its traceback shows it.

    Attributes:
        kind: its class, without the module.
        text: what it says; the first line with something to say.
        frames: (file, line) of where it went through, the deepest last.
        cause: what it was raised from (`raise … from`), the first of several.
    """

    kind: str
    text: str = ""
    frames: tuple[tuple[str, int], ...] = ()
    cause: Raised | None = None

    def __str__(self) -> str:
        shown = f"{self.kind}: {self.text}" if self.text else self.kind
        return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}…"

    @property
    def said(self) -> str:
        """What people need of it: of an import, what it says names all (`No module named 'pandas'`)."""
        own = self.text if self.kind in _IMPORTS and self.text else str(self)
        return f"{own} ({self.cause.said})" if self.cause is not None and self.cause.text != self.text else own

    @property
    def line(self) -> str:
        """The line of the app that it went through last, for people (`score.py:3`); empty where there is none."""
        ours = [(file.rpartition(_APP)[2], line) for file, line in self.frames if _APP in file]
        return f"{ours[-1][0]}:{ours[-1][1]}" if ours else ""

    @property
    def is_ours(self) -> bool:
        """Whether the app itself raised it, and no package that it called."""
        return bool(self.frames) and _APP in self.frames[-1][0]


def raised_in(log: str) -> Raised | None:
    """Return the exception of the entry script that a log ends with; None where there is none.

    Args:
        log: of the service; the server raises an exception of its own from that of the script.
    """
    found = None
    cause: Raised | None = None
    frames: list[tuple[str, int]] | None = None
    wordless = False
    for line in log.splitlines():
        if wordless and found is not None and line.startswith((" ", "\t")):
            # azureml-core's own: their class, and what they say in the line below.
            found = msgspec.structs.replace(found, text=line.strip().removeprefix("Message: "))
        wordless = False
        frame = _FRAME.match(line)
        if line == _FROM and found is not None:
            cause = found.cause or found
        elif line.endswith(_TRACEBACK):
            frames = []
        elif frame and frames is not None:
            frames.append((frame["file"], int(frame["line"])))
        elif frames is not None and not line.startswith((" ", "\t")) and (raised := _RAISED.fullmatch(line.rstrip())):
            if not raised["kind"].startswith(_WRAPPERS):
                found = Raised(kind=raised["kind"], text=raised["text"] or "", frames=tuple(frames), cause=cause)
                wordless = found.text.rstrip(":") in ("", found.kind) and line.rstrip().endswith(":")
            frames, cause = None, None
    return found


def known(log: str) -> str | None:
    """Return what to do where a log says that what is locked is at fault, whoever raised it; None of any other."""
    return next((remedy for words, remedy in _IN_LOGS if any(word in log for word in words)), None)


#: What is locked is at fault, whoever raised it.
_IN_LOGS = (
    (
        ("numpy.dtype size changed", "_ARRAY_API not found", "numpy.core.multiarray failed to import"),
        "a package was compiled for NumPy 1: add `numpy<2` to the environment, or take a newer release of that package",
    ),
    (
        ("No module named 'pkg_resources'",),
        "a package imports pkg_resources: add `setuptools<81` to the environment, or take a newer release of it",
    ),
    (
        ("No module named 'distutils'",),
        "a package imports distutils, which Python has no longer since 3.12: add `setuptools<81` to the environment, or"
        " take a newer release of it",
    ),
)


def advice(raised: Raised) -> str:
    """Return what to do about an exception that stopped a start: of script, environment, model or machine."""
    for each in (raised, *((raised.cause,) if raised.cause else ())):
        for kinds, pattern, remedy in _RULES:
            found = re.search(pattern, each.text) if not kinds or each.kind in kinds else None
            if found is not None:
                return remedy(found, each)
    at = f" (line {raised.line})" if raised.line else ""
    if raised.frames and not raised.is_ours:
        return f"see the traceback above: a package that the entry script calls{at} refuses what it is given"
    return f"mend the entry script{at}"


_Remedy = Callable[[re.Match[str], Raised], str]


def _always(text: str) -> _Remedy:
    return lambda _found, _raised: text


def _no_module(found: re.Match[str], _: Raised) -> str:
    name = found[1]
    top = name.partition(".")[0]
    if top != name:
        return (
            f"the image has {top}, and no {name}: the code, or the model that it loads, is for another version of it; "
            f"lock the version of {top} that has it, or save the model again with the one that is locked"
        )
    return (
        f"the image has no module {name}: `packager check` names the package to add to the environment, or the file of "
        "yours that is left out"
    )


def _no_name(found: re.Match[str], raised: Raised) -> str:
    top = found[2].partition(".")[0]
    if top not in sys.stdlib_module_names:
        return f"the locked {top} has no {found[1]}: ask for a version that has it, or correct the name"
    inside = _INSTALLED.search(raised.frames[-1][0]) if raised.frames else None
    if inside is None:
        return f"this Python's {found[2]} has no {found[1]}: correct the name, or lock another Python (`python:`)"
    importer = inside[1]
    return (
        f"{importer} wants {found[1]} of Python's {found[2]}, which this Python does not have: lock a release of "
        f"{importer} that is for it, or the Python that it is for (`python:`)"
    )


def _no_library(found: re.Match[str], _: Raised) -> str:
    name = found[1]
    headless = " (or take opencv-python-headless in place of opencv-python)" if name.startswith("libGL") else ""
    package = DEBIAN_PACKAGES.get(name, "")
    brought = (
        f"`system_packages: [{package}]`" if package else "the Debian package that brings it, in `system_packages`"
    )
    return f"the base has no {name}: add {brought} to the spec{headless}"


def _at(raised: Raised) -> str:
    return f" in {raised.line}" if raised.line else ""


def _no_file(found: re.Match[str], raised: Raised) -> str:
    at = _at(raised)
    if "azureml-models" in found[1] or "AZUREML_MODEL_DIR" in found[1]:
        return f"correct the path{at}, or `models:` of the spec: `packager check` compares the two"
    return (
        f"{found[1]} is not in the image: put it into `source_dir` or `models:` of the spec, or correct the path{at} "
        "(a model's folder is os.environ['AZUREML_MODEL_DIR'])"
    )


def _unset(found: re.Match[str], raised: Raised) -> str:
    if not any(re.search(r"(?:^|/|<frozen )os(?:\.py|>)$", file) for file, _ in raised.frames):
        return f"mend the entry script (line {raised.line})" if raised.line else "mend the entry script"
    return f"the variable {found[1]} is not set: `env:` of the spec, or -e {found[1]}=… where the service starts"


_MEMORY = "give it more memory (--memory), or make the model smaller"
_VERSION = (
    "the model was saved by another version of a package than is locked: lock the version that saved it (`packager "
    "check` tells that of scikit-learn), or save it again with what is locked"
)
_NETWORK = (
    "init() asks the network, which the service may not have: package what it fetches (`models:` of the spec), and "
    "load it from there"
)
_OF_OS = ("FileNotFoundError", "NotADirectoryError")
_IMPORTS = ("ImportError", "ModuleNotFoundError")

#: Kinds of exceptions (none: any), a pattern in what they say, and the advice; the first that fits counts.
_RULES: tuple[tuple[Iterable[str], str, _Remedy], ...] = (
    (("MemoryError", "OutOfMemoryError"), "", _always(_MEMORY)),
    (
        (),
        r"CUDA out of memory|Unable to allocate|can't allocate memory|Cannot allocate memory|bad_alloc",
        _always(_MEMORY),
    ),
    (_IMPORTS, r"No module named '([\w.]+)'", _no_module),
    ((), r"(\S+\.so[.\d]*): cannot open shared object file", _no_library),
    (
        (),
        r"version `(\S+)' not found",
        lambda found, _: (
            f"a package wants {found[1]}, newer than the base has: take a newer base (`base:`), or an older "
            "release of that package"
        ),
    ),
    (
        (),
        r"attribute '(\w+)' on <module '__(?:mp_)?main__'",
        lambda found, _: (
            f"the model holds {found[1]} of the script that trained it: define it in a module that both "
            "import, and save the model again"
        ),
    ),
    (
        (),
        r"Can't get attribute|node array from the pickle|unsupported pickle protocol|invalid load key",
        _always(_VERSION),
    ),
    (
        (),
        r"[Uu]nsupported (?:model )?IR version|Unsupported model|_RemainderColsList|incompatible dtype",
        _always(_VERSION),
    ),
    (
        ("ImportError",),
        r"cannot import name '(\w+)' from '([\w.]+)'",
        lambda found, raised: _no_name(found, raised),
    ),
    (
        (),
        r"on a CUDA device but torch\.cuda\.is_available\(\) is False|Found no NVIDIA driver|No CUDA GPUs",
        _always("the service has no GPU: load the model with map_location='cpu', or run a target that has one (`gpu`)"),
    ),
    (
        ("ModelNotFoundException",),
        r"Model (\S+) not found",
        lambda found, raised: (
            f"the package has no model that is called {found[1]}: correct the name{_at(raised)}, or register the model "
            "under it (os.environ['AZUREML_MODEL_DIR'] is the folder of the models)"
        ),
    ),
    (_OF_OS, r"'([^']*)'", _no_file),
    (
        ("PermissionError",),
        "",
        _always("the image does not run as root, and its files are not to be written: let the script write below /tmp"),
    ),
    (("KeyError",), r"^'([A-Z][A-Z0-9_]+)'$", _unset),
    (
        ("gaierror", "URLError", "ConnectionError", "MaxRetryError", "ConnectTimeout", "LocalEntryNotFoundError"),
        "",
        _always(_NETWORK),
    ),
    ((), r"Name or service not known|Temporary failure in name resolution|Max retries exceeded", _always(_NETWORK)),
)
