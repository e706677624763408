"""Whether an environment is byte-compiled, and by which Python: what spec, wish and base say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
import pytest

from packager.builders import compiling
from packager.builders.builder import BuildWish
from packager.builders.compiling import make_compiler
from packager.builders.starting import recipe_of
from packager.dockerfile.render import render
from packager.errors import ContextError, LockError
from packager.laying.recipe import Interpreter
from packager.oci.values import LAYER, BaseImage, Descriptor, Layer
from packager.plan.plan import Base, Dialect, Plan
from packager.steps.build import wished
from packager.storage.content import ContentStore
from tests.unit.plans import example_conda_plan, example_plan, example_spec
from tests.unit.test_base_interpreter import BASE
from tests.unit.test_oci_libraries import make_tar


@pytest.fixture
def content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ContentStore:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return ContentStore()


def image(content: ContentStore, changes: Mapping[str, bytes | str] | None = None) -> BaseImage:
    data = make_tar({**BASE, **(changes or {})})
    digest = content.put_bytes(data)
    blob = Descriptor(media_type=LAYER, digest=digest, size=len(data))
    return BaseImage(config={}, layers=(Layer(blob=blob, diff_id=digest, title="base"),))


# --- whether ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", ["buildkit", "plain"])
@pytest.mark.parametrize("make", [example_plan, example_conda_plan])
def test_the_spec_says_whether(make: Callable[..., Plan], dialect: Dialect) -> None:
    compiled, plain = (
        msgspec.structs.replace(make(f"models: []\ncompile: {word}\n", models=0), dialect=dialect)
        for word in ("true", "false")
    )
    assert "compile.py" in render(compiled)
    assert "compile.py" not in render(plain)
    assert compiled.spec_digest != plain.spec_digest
    assert compiled.spec_digest == make("models: []\n", models=0).spec_digest


@pytest.mark.parametrize(("asked", "said"), [(None, False), (True, True), (False, False)])
def test_a_build_may_say_otherwise(asked: bool | None, said: bool) -> None:
    spec_file = example_spec("models: []\ncompile: false\n")
    assert wished(spec_file, BuildWish(compile=asked)).spec.compile is said


def test_the_recipe_has_the_version_of_the_bases_python(content: ContentStore) -> None:
    assert recipe_of(example_plan(), image(content), content, compiled=True).compiler == "3.13.5"
    assert recipe_of(example_plan(), image(content), content).compiler == ""
    assert (
        recipe_of(
            example_plan("models: []\ncompile: false\n", models=0), image(content), content, compiled=True
        ).compiler
        == ""
    )
    assert recipe_of(example_conda_plan(), image(content), content, compiled=True).compiler == "3.13.5"


def test_a_base_that_does_not_tell_its_version(content: ContentStore) -> None:
    base = image(content, {"usr/local/lib/libpython3.13.so.1.0": b"nothing"})
    with pytest.raises(ContextError, match="does not tell its version") as caught:
        recipe_of(example_plan(), base, content, compiled=True)
    assert "`compile: false`" in str(caught.value.remedy)
    assert recipe_of(example_plan(), base, content).compiler == ""


# --- by which Python --------------------------------------------------------------------------------------------------


def asked_for(monkeypatch: pytest.MonkeyPatch, runs: str) -> list[Interpreter]:
    """Every interpreter that is tried; those whose command has `runs` in it are of the version."""
    tried: list[Interpreter] = []

    def version_of(interpreter: Interpreter) -> str:
        tried.append(interpreter)
        return "3.13.5" if runs in " ".join(interpreter.command) else "3.13.4"

    monkeypatch.setattr(compiling, "version_of", version_of)
    monkeypatch.setattr(compiling, "find_interpreter", lambda version: Interpreter(command=("/found/by/uv",)))
    in_engine = Interpreter(command=("/in/an/engine",))
    monkeypatch.setattr(compiling, "engine_interpreter", lambda *_: in_engine if runs == "/in/an/engine" else None)
    return tried


def find(plan: Plan, content: ContentStore, tmp_path: Path, here: str = "x86_64", system: str = "linux") -> Interpreter:
    compiler = make_compiler(plan, image(content), "3.13.5", content, {}, here=here, system=system)
    return compiler.find(tmp_path / "prefix")


def test_the_bases_own_is_taken_first(content: ContentStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = asked_for(monkeypatch, "interpreters")
    found = find(example_plan(), content, tmp_path)
    assert found.command[0].startswith(str(tmp_path / "packager/interpreters"))
    assert tried == [found]


def test_conda_s_own_is_run_as_it_is_or_by_the_bases_loader(
    content: ContentStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = f"{tmp_path}/prefix/bin/python3.13"
    tried = asked_for(monkeypatch, program)
    assert find(example_conda_plan(), content, tmp_path).command == (program,)
    tried = asked_for(monkeypatch, "--library-path")
    found = find(example_conda_plan(), content, tmp_path)
    assert [each.command[0] for each in tried] == [program, found.command[0]]
    assert found.command[0].endswith("/loader")
    assert found.command[-1] == program
    assert found.variables == {"PYTHONHOME": f"{tmp_path}/prefix"}


@pytest.mark.parametrize(("here", "system"), [("aarch64", "linux"), ("x86_64", "darwin")])
@pytest.mark.parametrize("make", [example_plan, example_conda_plan])
def test_a_machine_that_cannot_run_it_takes_one_of_the_very_version(
    make: Callable[..., Plan],
    here: str,
    system: str,
    content: ContentStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    only_in_an_engine = msgspec.structs.replace(make(), base=Base(reference="x", digest="x", source="x", local=True))
    tried = asked_for(monkeypatch, "/found/by/uv")
    assert find(only_in_an_engine, content, tmp_path, here, system).command == ("/found/by/uv",)
    assert len(tried) == 1
    asked_for(monkeypatch, "/in/an/engine")
    assert find(only_in_an_engine, content, tmp_path, here, system).command == ("/in/an/engine",)
    asked_for(monkeypatch, "nothing")
    with pytest.raises(LockError, match=r"Python 3\.13\.5, which does not run on this machine") as caught:
        find(only_in_an_engine, content, tmp_path, here, system)
    for way in ("`uv python install 3.13.5`", "`--builder engine`", "`compile: false`"):
        assert way in str(caught.value.remedy)


def test_another_platforms_is_the_same_index_for_this_machine(
    content: ContentStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched: list[str] = []

    def fetch_base(base: Base, platform: str, *_: object) -> BaseImage:
        fetched.append(platform)
        return image(content, {"usr/local/lib/python3.13/mine.py": b"mine"})

    monkeypatch.setattr(compiling, "fetch_base", fetch_base)
    asked_for(monkeypatch, "interpreters")
    found = find(example_plan(), content, tmp_path, "aarch64")
    assert fetched == ["linux/arm64"]
    assert (Path(found.variables["PYTHONHOME"]) / "lib/python3.13/mine.py").is_file()


def test_the_index_may_have_another_version_for_this_machine(
    content: ContentStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = {"usr/local/lib/libpython3.13.so.1.0": b"\x7fELF\0" + b"3.13.4" + b"\0"}
    monkeypatch.setattr(compiling, "fetch_base", lambda *_: image(content, older))
    asked_for(monkeypatch, "/found/by/uv")
    found = find(example_plan(), content, tmp_path, "aarch64")
    assert found.command == ("/found/by/uv",)
    assert not (tmp_path / "packager/interpreters").exists()
