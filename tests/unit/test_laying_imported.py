"""What an environment loads when it is imported: the difference between an error and a warning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from packager.builders.starting import StartCheck, judge, recipe_of
from packager.errors import ContextError
from packager.laying.environment import LaidDown
from packager.laying.imported import Script, loaded_on_import
from packager.laying.libraries import Problem, check_starts
from packager.oci.values import LAYER, BaseImage, Descriptor, Layer
from packager.plan.planned import Planned
from packager.storage.content import ContentStore
from packager.storage.listing import list_folder
from tests.unit.context_factory import plan, write_files, write_spec
from tests.unit.test_oci_libraries import BASE, TAGS, base, make_elf, make_tar

SITE = "lib/python3.13/site-packages"
EXT = "cpython-313-x86_64-linux-gnu.so"


def loaded(
    folder: Path, files: Mapping[str, str], libraries: Sequence[str] = (), script: Script | None = None
) -> set[str]:
    """Paths below site-packages."""
    write_files(folder, {f"{SITE}/{path}": text for path, text in files.items()})
    asked = [f"{SITE}/{path}" for path in libraries]
    found = loaded_on_import(folder, tuple(list_folder(folder)), asked, script)
    return {path.removeprefix(f"{SITE}/") for path in found}


@pytest.mark.parametrize(
    "text",
    [
        "from . import _c",
        "from p._c import thing",
        "import p._c",
        "try:\n    from . import _c\nexcept ImportError as error:\n    raise ImportError('broken') from error\n",
        "try:\n    from . import _c\nexcept ModuleNotFoundError:\n    _c = None\n",
        "if __package__ or '.' in __name__:\n    from . import _c\nelse:\n    import _c\n",
        "if SETUP:\n    pass\nelse:\n    from . import _c\n",
        "import importlib\ndef boot():\n    importlib.import_module('._c', __name__)\nboot()\n",
        "class A:\n    from . import _c\n",
        "for name in ['a']:\n    import p._c\n",
        "from .sub import thing",
    ],
)
def test_what_has_to_be_imported(tmp_path: Path, text: str) -> None:
    files = {"p/__init__.py": text, f"p/_c.{EXT}": "", "p/sub.py": "from ._c import thing\n"}
    assert loaded(tmp_path, files) == {f"p/_c.{EXT}"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "def later():\n    from . import _c\n",
        "try:\n    from . import _c\nexcept ImportError:\n    _c = None\n",
        "try:\n    from . import _c\nexcept (ImportError, OSError):\n    pass\n",
        "try:\n    import p._c\nexcept:\n    pass\n",
        "from contextlib import suppress\nwith suppress(ImportError):\n    from . import _c\n",
        "if HAS_CUDA:\n    from . import _c\n",
        "if find_spec('cuda'):\n    from . import _c\n",
        "if __name__ == '__main__':\n    from . import _c\n",
        "def __getattr__(name):\n    import importlib\n    return importlib.import_module('p._c')\n",
        "this is no Python",
    ],
)
def test_what_nothing_has_to_import(tmp_path: Path, text: str) -> None:
    assert loaded(tmp_path, {"p/__init__.py": text, f"p/_c.{EXT}": ""}) == set()


def test_a_package_whose_compiled_module_has_its_own_name(tmp_path: Path) -> None:
    text = "import importlib\ndef bootstrap():\n    native = importlib.import_module('p')\nbootstrap()\n"
    assert loaded(tmp_path, {"p/__init__.py": text, "p/p.abi3.so": ""}) == {"p/p.abi3.so"}


def test_a_package_in_a_namespace_and_a_compiled_module_at_the_top(tmp_path: Path) -> None:
    files = {"g/p/__init__.py": "import _top", f"_top.{EXT}": "", f"_other.{EXT}": "", f"g/p/_x.{EXT}": ""}
    assert loaded(tmp_path, files) == {f"_top.{EXT}", f"_other.{EXT}"}


def test_a_library_that_ctypes_loads_on_import(tmp_path: Path) -> None:
    files = {
        "p/__init__.py": "from .core import thing",
        "p/core.py": "import ctypes\nfrom .places import find\ndef load():\n"
        "    for each in find():\n        try:\n            return ctypes.cdll.LoadLibrary(each)\n"
        "        except OSError:\n            pass\nLIB = load()\n",
        "p/places.py": "def find():\n    return ['lib/libp.so']\ndef plugin():\n    return 'libplugin.so'\n",
        "p/lib/libp.so": "",
        "p/lib/libplugin.so": "",
        "q/__init__.py": "import ctypes\ndef preload():\n    ctypes.CDLL(name())\ndef name():\n    return 'libq.so'\n",
        "q/libq.so": "",
    }
    libraries = ["p/lib/libp.so", "p/lib/libplugin.so", "q/libq.so"]
    assert loaded(tmp_path, files, libraries) == {"p/lib/libp.so"}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("def init():\n    import p.special\n", True),
        ("import helper\n", True),
        ("def other():\n    import p.special\n", False),
    ],
)
def test_what_the_entry_script_imports_counts(tmp_path: Path, text: str, found: bool) -> None:
    app = write_files(tmp_path / "app", {"score.py": text, "helper.py": "from p import special\n"})
    script = Script(modules={name: f"{app}/{name}.py" for name in ("score", "helper")}, entry="score")
    files = {"p/__init__.py": "", "p/special.py": "from . import _c\n", f"p/_c.{EXT}": ""}
    assert loaded(tmp_path / "env", files, script=script) == ({f"p/_c.{EXT}"} if found else set())


# --- held against a base ----------------------------------------------------------------------------------------------


def problems(folder: Path, files: Mapping[str, str | bytes]) -> dict[str, bool]:
    """Missing library → whether it is certain."""
    write_files(folder, {f"{SITE}/{path}": content for path, content in files.items()})
    found = check_starts(folder, base(), "linux/amd64", TAGS)
    return {problem.what: problem.certain for problem in found}


def test_pools_and_providers_are_warnings_and_what_is_imported_is_not(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "p/__init__.py": "from . import _core\ntry:\n    from . import tbbpool\nexcept ImportError:\n    pass\n",
        f"p/_core.{EXT}": make_elf(needed=["libinner-1a.so.1"]),
        "p.libs/libinner-1a.so.1": make_elf(needed=["libGL.so.1", "libcrypto-2b.so.1.1.1k"], soname="libinner-1a.so.1"),
        "p.libs/libcrypto-2b.so.1.1.1k": make_elf(),
        f"p/tbbpool.{EXT}": make_elf(needed=["libtbb.so.12"]),
        "p/plugins/libprovider.so": make_elf(needed=["libnvinfer.so.10"]),
    }
    assert problems(tmp_path, files) == {"libGL.so.1": True, "libtbb.so.12": False, "libnvinfer.so.10": False}


def test_a_message_names_what_is_loaded_and_says_what_will_not_work(tmp_path: Path) -> None:
    elf = make_elf(needed=["libGL.so.1"])
    files: dict[str, str | bytes] = {
        "p/__init__.py": "from . import b",
        f"p/a.{EXT}": elf,
        f"p/b.{EXT}": elf,
        f"q/c.{EXT}": make_elf(needed=["x"]),
    }
    write_files(tmp_path, {f"{SITE}/{path}": content for path, content in files.items()})
    loaded_one, optional = check_starts(tmp_path, base(), "linux/amd64", TAGS)
    assert loaded_one.needed_by == (f"{SITE}/p/b.{EXT}",)
    assert "p/a." not in loaded_one.message
    assert f"q/c.{EXT} cannot be loaded without (nothing that is imported at the start needs it" in optional.message


# --- the verdict ------------------------------------------------------------------------------------------------------

GL = Problem(kind="library", what="libGL.so.1", needed_by=("a",), message="no libGL", package="libgl1")
ODD = Problem(kind="library", what="libodd.so.1", needed_by=("a",), message="no libodd", certain=False)
LIBC = Problem(kind="version", what="GLIBC_9", needed_by=("a",), message="too old")


def test_a_certain_problem_refuses_with_what_to_do() -> None:
    with pytest.raises(ContextError, match="no libGL") as caught:
        judge([GL, ODD], "base", (), ())
    assert "no libodd" not in caught.value.message
    assert "system_packages: [libgl1]" in str(caught.value.remedy)
    assert "--allow-missing libGL.so.1" in str(caught.value.remedy)


def test_what_is_accepted_or_brought_is_not_told() -> None:
    assert judge([GL, ODD], "base", ("libGL.so.1",), ()) == ("no libodd",)
    assert judge([GL, ODD], "base", ("libodd.so.1",), ("libgl1=1.7",)) == ()


def test_other_packages_or_a_template_may_bring_it() -> None:
    assert judge([GL], "base", (), ("curl",)) == ("no libGL",)
    assert judge([GL], "base", (), (), changed=True) == ("no libGL",)
    with pytest.raises(ContextError, match="too old") as caught:
        judge([LIBC], "base", (), ("curl",))
    assert "allow-missing" not in str(caught.value.remedy)


def test_a_verdict_is_remembered_until_the_app_imports_something_else(tmp_path: Path) -> None:
    content = ContentStore(tmp_path / "content")
    data = make_tar(BASE)
    digest = content.put_bytes(data)
    blob = Descriptor(media_type=LAYER, digest=digest, size=len(data))
    image = BaseImage(config={}, layers=(Layer(blob=blob, diff_id=digest, title="base"),))
    missing = make_elf(needed=["libGL.so.1"])
    env = write_files(tmp_path / "env", {f"{SITE}/p/__init__.py": "", f"{SITE}/p/_c.abi3.so": missing})
    laid = LaidDown(folder=str(env), files=2, size=1, listing=tuple(list_folder(env)))

    def check(script: str, accepted: tuple[str, ...] = ()) -> StartCheck:
        write_files(tmp_path, {"src/score.py": script})
        spec_file = write_spec(tmp_path, models=())
        planned = Planned(plan=plan(spec_file), spec=tmp_path / "packager.yaml", requirements="")
        recipe = recipe_of(planned.plan, image, content)
        return StartCheck(planned, recipe, image, content, accepted)

    first = check("import json\n")
    assert first.recall() is None
    (warning,) = first.check(laid)
    assert warning.startswith("libGL.so.1 is not in the base, and p/_c.abi3.so cannot be loaded without")
    assert check("import json\n").recall() == (warning,)
    other = check("import p._c\n")
    assert other.recall() is None
    with pytest.raises(ContextError, match=r"libGL\.so\.1"):
        other.check(laid)
    assert other.recall() is None
    assert check("import p._c\n", ("libGL.so.1",)).check(laid) == ()
