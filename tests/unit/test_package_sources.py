"""What uv, Poetry, PDM and pixi say of where packages come from: passed on or refused, never another package."""

from __future__ import annotations

import hashlib
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec
import pytest

from packager.environments.declare.environment import Environment, read_environment
from packager.environments.declare.requirement import INFERENCE_SERVER
from packager.environments.lock import LockRequest, PackageSources, changes
from packager.environments.solve.pip import Upgrade, UvSolver
from packager.errors import SpecError
from packager.spec import load_spec

PROJECT = '[project]\nname = "x"\ndependencies = ["Six_Lib", "idna"]\n'
PRIVATE = "https://index.example.com/simple"


def read(folder: Path, more: str, file: str = "pyproject.toml", project: str = PROJECT) -> Environment:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "packager.yaml").write_text(f'name: a\nversion: "1"\nentry_script: score.py\nenvironment: {file}\n')
    (folder / file).parent.mkdir(exist_ok=True)
    (folder / file).write_text(project + more)
    return read_environment(load_spec(folder))


UV_INDEX = f'[[tool.uv.index]]\nname = "ours"\nurl = "{PRIVATE}"\nexplicit = true\n'
POETRY_SOURCE = f'[[tool.poetry.source]]\nname = "ours"\nurl = "{PRIVATE}"\npriority = "explicit"\n'


@pytest.mark.parametrize(
    ("more", "place"),
    [
        ("[tool.uv.sources]\nsix-lib = { workspace = true }\n", "the workspace"),
        ('[tool.uv.sources]\n"six.lib" = { path = "../six" }\n', "a folder or file"),
        ('[tool.uv.sources]\nSIX_LIB = { git = "https://bob:hunter2@example.com/six" }\n', "a repository"),
        ('[tool.uv.sources]\nsix-lib = { url = "https://bob:hunter2@example.com/six.whl" }\n', "a URL"),
        ('[tool.uv.sources]\nsix-lib = { odd = "x" }\n', "a place that is not known here"),
        (f'{UV_INDEX}[tool.uv.sources]\nsix-lib = [{{index = "ours"}}, {{path = "x", marker = "1"}}]\n', "a folder"),
        ('[tool.poetry.dependencies]\nsix-lib = { path = "../six", develop = true }\n', "a folder or file"),
        ('[tool.poetry.dependencies]\nsix-lib = { git = "https://bob:hunter2@example.com/six" }\n', "a repository"),
        ('[tool.poetry.dependencies]\nsix-lib = [{ version = "1" }, { file = "six.whl" }]\n', "a file"),
        ('[tool.pixi.pypi-dependencies]\nsix-lib = { path = ".", editable = true }\n', "a folder or file"),
    ],
)
def test_a_place_that_cannot_be_locked_is_refused(tmp_path: Path, more: str, place: str) -> None:
    with pytest.raises(SpecError, match=place) as caught:
        read(tmp_path, more)
    assert "'six-lib'" in caught.value.message
    assert "hunter2" not in str(caught.value)
    assert caught.value.remedy
    assert str(caught.value.where).startswith(str(tmp_path / "pyproject.toml"))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ('[tool.uv.sources]\nsix-lib = { index = "ours" }\n', "no index 'ours'"),
        ('[tool.poetry.dependencies]\nsix-lib = { source = "ours" }\n', "no index 'ours'"),
        (
            UV_INDEX.replace("index.ex", "bob:hunter2@index.ex") + '[tool.uv.sources]\nsix-lib = {index = "ours"}\n',
            "cred",
        ),
        (UV_INDEX.replace(PRIVATE, "./wheels") + '[tool.uv.sources]\nsix-lib = { index = "ours" }\n', "can be asked"),
        (f'{UV_INDEX}format = "flat"\n[tool.uv.sources]\nsix-lib = {{ index = "ours" }}\n', "can be asked"),
        (POETRY_SOURCE.replace("index.ex", "bob:hunter2@index.ex").replace("explicit", "primary"), "credentials"),
        (f'[[tool.pdm.source]]\nname = "ours"\nurl = "{PRIVATE}"\ntype = "find_links"\n', "find_links"),
    ],
)
def test_an_index_that_cannot_be_asked_is_refused(tmp_path: Path, more: str, message: str) -> None:
    with pytest.raises(SpecError, match=message) as caught:
        read(tmp_path, more)
    assert "hunter2" not in str(caught.value)
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("more", "sources"),
    [
        ("", PackageSources()),
        # What is not asked for comes from nowhere, and `extra` and `group` are not the project's own dependencies.
        ('[tool.uv.sources]\nother = { git = "https://example.com/x" }\n', PackageSources()),
        (
            '[tool.uv.sources]\nsix-lib = [{ path = "x", extra = "cpu" }, { path = "y", group = "dev" }]\n',
            PackageSources(),
        ),
        ('[tool.poetry.dependencies]\nsix-lib = "^1"\nidna = { version = "3", optional = true }\n', PackageSources()),
        ('[tool.poetry.dependencies]\nsix-lib = { version = "1", source = "PyPI" }\n', PackageSources()),
        (
            UV_INDEX + '[tool.uv.sources]\nsix-lib = { index = "ours" }\n',
            PackageSources(packages={"six-lib": (f"ours={PRIVATE}",)}),
        ),
        (
            UV_INDEX + '[tool.uv.sources]\nsix-lib = [{ path = "x", extra = "cpu" }, { index = "ours" }]\n',
            PackageSources(packages={"six-lib": (f"ours={PRIVATE}",)}),
        ),
        (
            UV_INDEX + '[tool.uv.sources]\nidna = [{ index = "ours", marker = "sys_platform == \'linux\'" }]\n',
            PackageSources(packages={"idna": (f"ours={PRIVATE} ; sys_platform == 'linux'",)}),
        ),
        # uv reads those of the spec's own folder itself.
        (UV_INDEX.replace("explicit", "default"), PackageSources()),
        (
            POETRY_SOURCE + '[tool.poetry.dependencies]\nsix-lib = { version = "^1", source = "ours" }\n',
            PackageSources(packages={"six-lib": (f"ours={PRIVATE}",)}),
        ),
        (POETRY_SOURCE.replace('"explicit"', '"supplemental"'), PackageSources(indexes=(f"ours={PRIVATE}",))),
        (POETRY_SOURCE.replace('priority = "explicit"', ""), PackageSources(default=f"ours={PRIVATE}")),
        (
            POETRY_SOURCE.replace("explicit", "supplemental")
            + POETRY_SOURCE.replace("explicit", "primary").replace("ours", "more"),
            PackageSources(indexes=(f"more={PRIVATE}",), default=f"ours={PRIVATE}"),
        ),
        (f'[[tool.pdm.source]]\nname = "pypi"\nurl = "{PRIVATE}"\n', PackageSources(default=f"pypi={PRIVATE}")),
        (f'[[tool.pdm.source]]\nname = "ours"\nurl = "{PRIVATE}"\n', PackageSources(indexes=(f"ours={PRIVATE}",))),
        (
            f'[[tool.pdm.source]]\nname = "ours"\nurl = "{PRIVATE}"\ninclude_packages = ["six_*"]\n',
            PackageSources(packages={"six-lib": (f"ours={PRIVATE}",)}),
        ),
        (
            f'[tool.pixi.pypi-dependencies]\nsix-lib = {{ version = "*", index = "{PRIVATE}" }}\n',
            PackageSources(packages={"six-lib": (f"six-lib={PRIVATE}",)}),
        ),
    ],
)
def test_an_index_is_passed_on(tmp_path: Path, more: str, sources: PackageSources) -> None:
    environment = read(tmp_path, more)
    assert environment.sources == sources
    assert len(environment.notes) == len(sources.packages), "whoever builds needs it, too, and is told"


def test_uvs_indexes_of_a_folder_that_uv_does_not_look_into_are_passed_on(tmp_path: Path) -> None:
    default = '[[tool.uv.index]]\nurl = "https://default.example.com/simple"\ndefault = true\n'
    environment = read(tmp_path, UV_INDEX.replace("explicit = true", "") + default, file="sub/pyproject.toml")
    assert environment.sources == PackageSources(
        indexes=(f"ours={PRIVATE}",), default="index-2=https://default.example.com/simple"
    )


@pytest.mark.parametrize(
    ("workspace", "refuses"),
    [
        ('members = ["packages/*"]', True),
        ('members = ["./packages/app/"]', True),
        ('members = ["packages/*"]\nexclude = ["packages/app"]', False),
        ('members = ["libs/*"]', False),
    ],
)
def test_what_the_root_of_a_workspace_says_holds_for_its_members(tmp_path: Path, workspace: str, refuses: bool) -> None:
    root = f"[tool.uv.workspace]\n{workspace}\n[tool.uv.sources]\nsix-lib = {{ workspace = true }}\n"
    (tmp_path / "pyproject.toml").write_text(root)
    folder = tmp_path / "packages" / "app"
    if refuses:
        with pytest.raises(SpecError, match="the workspace"):
            read(folder, "")
    else:
        assert not read(folder, "").sources
    own = UV_INDEX + '[tool.uv.sources]\nsix-lib = { index = "ours" }\n'
    assert read(folder, own).sources.packages == {"six-lib": (f"ours={PRIVATE}",)}, "a member's own word goes first"


def test_a_lock_says_which_sources_changed() -> None:
    before = LockRequest(python="3.13", platforms={}, requirements=("six",), base="b")
    sources = PackageSources(packages={"six": (f"ours={PRIVATE}",)}, indexes=("a=https://a",), default="d=https://d")
    assert changes(before, msgspec.structs.replace(before, sources=sources)) == (
        f"source added: six from ours={PRIVATE}",
        "source added: index a=https://a",
        "source added: default index d=https://d",
    )


# --- real uv, and two indexes that have a package of one name ---------------------------------------------------------


def wheel(folder: Path, name: str, version: str) -> str:
    """Write a wheel into an index, and return its sha256."""
    place = folder / "simple" / name
    place.mkdir(parents=True)
    path = place / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    (place / "index.html").write_text(f'<a href="{path.name}#sha256={digest}">{path.name}</a>')
    return digest


class Quiet(SimpleHTTPRequestHandler):
    def log_request(self, code: object = "-", size: object = "-") -> None:
        """Say nothing."""


@pytest.fixture
def indexes(tmp_path: Path) -> Iterator[str]:
    """Two indexes, `public` and `ours`, below one URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("kind", ["packages", "indexes", "default", "none"])
def test_the_package_of_the_named_index_is_locked(indexes: str, tmp_path: Path, kind: str) -> None:
    theirs, ours = wheel(tmp_path / "public", "sixlib", "99"), wheel(tmp_path / "ours", "sixlib", "1")
    other = wheel(tmp_path / "public", "other", "2")
    if kind == "default":
        wheel(tmp_path / "ours", "other", "2")
    place = f"ours={indexes}/ours/simple"
    sources = {
        "packages": PackageSources(packages={"sixlib": (f"{place} ; sys_platform == 'linux'",)}),
        "indexes": PackageSources(indexes=(place,)),
        "default": PackageSources(default=place),
        "none": PackageSources(),
    }[kind]
    environ = {
        "UV_DEFAULT_INDEX": f"{indexes}/public/simple",
        "UV_CACHE_DIR": str(tmp_path / "cache"),
        "NO_PROXY": "127.0.0.1",
    }
    request = LockRequest(
        python="3.13",
        platforms={"linux/amd64": "x86_64-manylinux_2_28"},
        requirements=("other", "sixlib"),
        base="b",
        sources=sources,
    )
    solved = UvSolver(tmp_path, environ).solve(request, "linux/amd64", None, Upgrade(), False)
    assert {each.name: each.digests for each in solved.packages} == {
        "other": (other,),
        "sixlib": (theirs if kind == "none" else ours,),
    }


def test_without_sources_the_request_is_as_it_was(tmp_path: Path) -> None:
    assert read(tmp_path, "").requirements == (INFERENCE_SERVER, "idna", "six-lib")
    request = LockRequest(python="3.13", platforms={}, requirements=(), base="b")
    assert b"sources" not in msgspec.json.encode(request)
    assert b"hashes" not in msgspec.json.encode(request)
