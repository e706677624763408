"""Names that are imported from a module which certainly does not have them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from packager.checks.exported import Exported, exported, lacks
from packager.checks.import_findings import imported_from, name_findings
from packager.checks.standard_library import standard_exported
from packager.checks.wheel_contents import WheelContents
from packager.storage.memory import Memory
from tests.unit.check_images import follow
from tests.unit.test_checks_wheels import source as source
from tests.unit.test_checks_wheels import wheel, wheels

GETATTR = "def __getattr__(name):\n"
GONE = "    raise AttributeError(f'module has no {name}')\n"


def is_gone(text: str, name: str = "gone", *, package: bool = True) -> bool:
    return lacks({"m": exported(text, "m", package=package)}, "m", name)


@pytest.mark.parametrize(
    "text",
    [
        "import os\nthere = 1\n",
        "def there(): gone = 1\nclass A:\n    gone = 2\n",
        "print([gone for gone in 'x'.split()]) if False else None\n".replace("gone", "other"),
        GETATTR + "    if name == 'there':\n        return 1\n" + GONE,
        "import warnings\n"
        + GETATTR
        + "    if name in ('there', 'x'):\n        warnings.warn(f'{name} is old')\n"
        + GONE,
        "import importlib\n" + GETATTR + "    return importlib.import_module(f'm.{name}')\n" + GONE,
        "for each in ('a', 'b'):\n    globals()[each] = 1\n",
        "def __dir__():\n    return globals().keys()\n",
        "here = 'x' in globals()\n",
    ],
)
def test_a_name_that_no_line_of_a_module_makes_is_not_there(text: str) -> None:
    assert is_gone(text)


@pytest.mark.parametrize(
    "text",
    [
        "gone = 1\n",
        "gone: int = 1\n",
        "from x import y as gone\n",
        "import gone.below\n",
        "def gone(): ...\n",
        "async def gone(): ...\n",
        "class gone: ...\n",
        "if x:\n    try:\n        pass\n    except E:\n        gone = None\n",
        "for gone in (): ...\n",
        "with x as gone: ...\n",
        "(a, [*gone]) = x\n",
        "if (gone := 1): ...\n",
        "match x:\n    case [gone]: ...\n",
        "def f():\n    global gone\n    gone = 1\n",
        "from .part import *\n",
        "from other import *\n",
        "globals().update(x)\n",
        "globals()[f'g{1}'] = 1\n",
        "for each in x:\n    globals()[each] = 1\n",
        "for each in ('gone', 'b'):\n    globals()[each] = 1\n",
        "g = globals()\n",
        "fill(globals())\n",
        "exec(text)\n",
        "import sys\nsys.modules[__name__] = x\n",
        "import m\nsetattr(m, x, 1)\n",
        "import enum\n@enum.global_enum\nclass A(enum.IntFlag): ...\n",
        "from lazy import attach\n__getattr__, __dir__, __all__ = attach(__name__)\n",
        "from lazy import __getattr__\n",
        GETATTR + "    return getattr(impl, name)\n" + GONE,
        GETATTR + "    return LAZY[name]\n" + GONE,
        GETATTR + "    return load(name)\n" + GONE,
        GETATTR + "    return 1\n",
        GETATTR + "    if name == 'gone':\n        return 1\n" + GONE,
        "def f(:\n",
        *(
            GETATTR + f"    if name != 'x':\n        return {each}()[name]\n" + GONE
            for each in ("cache", "vars", "own.globals")
        ),
    ],
)
def test_what_a_module_may_have_is_not_doubted(text: str) -> None:
    assert not is_gone(text)


def test_names_that_begin_with_an_underscore_are_left_alone() -> None:
    assert not is_gone("there = 1\n", "_C")


def test_all_names_of_another_module_are_followed() -> None:
    found = {
        "m": exported("from .a import *\nfrom m.b import *\n", "m", package=True),
        "m.a": exported("from . import x\none = 1\nfrom .b import *\n", "m.a", package=False),
        "m.b": exported("two = 1\nfrom .a import *\n", "m.b", package=False),
    }
    assert found["m"].stars == ("m.a", "m.b") or set(found["m"].stars) == {"m.a", "m.b"}
    assert [lacks(found, "m", name) for name in ("one", "two", "three")] == [False, False, True]
    assert not lacks({**found, "m.b": Exported(open=True)}, "m", "three")
    del found["m.b"]
    assert not lacks(found, "m", "three")


def names_found(text: str, exports: dict[str, Exported], python: str = "3.13") -> list[tuple[str, int | None, str]]:
    image, reached = follow({"score.py": text}, python=python)
    found = name_findings(image, reached, exports, {"numpy": "2.5.5"})
    return [(each.severity, each.line, each.message) for each in found]


@pytest.mark.parametrize(
    ("module", "text", "package", "star"),
    [
        ("a.b", "from c import *", False, "c"),
        ("a.b", "from .c import *", False, "a.c"),
        ("a.b", "from . import *", False, "a"),
        ("a.b", "from .c import *", True, "a.b.c"),
        ("a.b", "from . import *", True, "a.b"),
        ("a.b.c.d", "from ...e.f import *", False, "a.e.f"),
        ("a.b.c.d", "from ...e import *", True, "a.b.e"),
        ("a.b.c.d", "from ....e import *", True, "a.e"),
    ],
)
def test_stars_of_relative_imports_are_those_of_the_package(module: str, text: str, package: bool, star: str) -> None:
    assert exported(text, module, package=package).stars == (star,)


def test_the_finding_names_package_and_version() -> None:
    text = "from numpy import asscalar, array\ndef f():\n    from numpy import asscalar\ntry:\n"
    text += "    from numpy import asscalar\nexcept ImportError:\n    pass\nfrom numpy import *\n"
    message = "numpy, as it is locked (numpy 2.5.5), has no 'asscalar'"
    assert names_found(text, {"numpy": Exported(names=("array",))}) == [("error", 1, message), ("warning", 3, message)]
    assert names_found(text, {"numpy": Exported(open=True)}) == []


def test_which_modules_are_asked() -> None:
    _, reached = follow({"score.py": "import json\nfrom numpy import x\nfrom helper import y\n", "helper.py": ""})
    assert imported_from(reached) == ("numpy",)


def test_the_standard_library_by_the_source_of_this_one() -> None:
    ours = f"3.{sys.version_info[1]}"
    for python in (ours, "3.8", "3.15"):
        found = standard_exported(["json", "collections", "os", "time"], python)
        assert lacks(found, "json", "no_such_name")
        assert not lacks(found, "json", "loads")
        assert not lacks(found, "json", "decoder"), "a module below it"
        assert not lacks(found, "time", "no_such_name"), "it has no source"
    assert [each[2] for each in names_found("from json import no_such_name", found)] == [
        "json of Python 3.13 has no 'no_such_name'"
    ]


def test_a_name_that_older_ones_had_is_doubted_where_the_image_has_this_python() -> None:
    ours, module, name = f"3.{sys.version_info[1]}", "asyncio.coroutines", "coroutine"
    assert lacks(standard_exported([module], ours), module, name)
    assert not lacks(standard_exported([module], "3.99"), module, name)


def test_a_name_that_another_python_has_is_not_doubted() -> None:
    found = standard_exported(["typing", "datetime"], "3.99")
    for name in ("NoExtraItems", "ReadOnly", "override"):
        assert not lacks(found, "typing", name)


def test_a_wheel_is_read_once_for_the_names_of_a_module(tmp_path: Path, source: object) -> None:
    files = {"one/__init__.py": "from .part import *\nhere = 1\n", "one/part.py": "there = 1\n", "one/deep.py": ""}
    package = wheel(tmp_path / "wheels", "one", files)
    contents = WheelContents(Memory("facts", tmp_path / "memory"), source, tmp_path / "scratch")  # type: ignore[arg-type]
    for _ in range(2):
        found = contents.exported(wheels(package), {"one": "one", "two": "two"}, offline=False)
        assert [lacks(found, "one", name) for name in ("here", "there", "deep", "gone")] == [False] * 3 + [True]
        for path in (tmp_path / "wheels").iterdir():
            path.unlink()
    assert contents.exported(wheels(package), {"one.part": "one"}, offline=True).keys() <= {"one.part"}
