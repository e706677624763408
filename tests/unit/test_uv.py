"""uv: its settings, and how it is run."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from packager.environments.uv import Uv, index_logins, require_find_links, uv_environment
from packager.errors import UsageError


def test_pips_settings_are_told_to_uv() -> None:
    found = uv_environment(
        {
            "PIP_INDEX_URL": "https://a/simple",
            "PIP_EXTRA_INDEX_URL": "https://b/simple https://c/simple",
            "PIP_FIND_LINKS": "/one /two",
            "PIP_TRUSTED_HOST": "a b",
            "PIP_CERT": "/ca.pem",
            "UV_PYTHON": "3.9",
            "HOME": "/home/me",
        }
    )
    assert found == {
        "PIP_INDEX_URL": "https://a/simple",
        "PIP_EXTRA_INDEX_URL": "https://b/simple https://c/simple",
        "PIP_FIND_LINKS": "/one /two",
        "PIP_TRUSTED_HOST": "a b",
        "PIP_CERT": "/ca.pem",
        "UV_DEFAULT_INDEX": "https://a/simple",
        "UV_INDEX": "https://b/simple https://c/simple",
        "UV_FIND_LINKS": "/one,/two",
        "UV_INSECURE_HOST": "a b",
        "SSL_CERT_FILE": "/ca.pem",
        "UV_PYTHON_DOWNLOADS": "never",
        "NO_COLOR": "1",
        "HOME": "/home/me",
    }


@pytest.mark.parametrize("name", ["UV_DEFAULT_INDEX", "UV_INDEX_URL"])
def test_uvs_own_settings_go_first(name: str) -> None:
    found = uv_environment({name: "https://uv/simple", "PIP_INDEX_URL": "https://pip/simple"})
    assert found[name] == "https://uv/simple"
    assert "https://pip/simple" not in {value for key, value in found.items() if key.startswith("UV_")}


def test_logins_of_indexes_are_those_that_uv_is_told() -> None:
    environ = {"PIP_INDEX_URL": "https://bob:p%40ss@a/simple", "UV_INDEX": "https://token@b:8080/x https://c/y"}
    assert index_logins(environ) == {"a": ("bob", "p@ss"), "b:8080": ("token", "")}


@pytest.fixture
def shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder; in place of uv, a program prints its folder, its arguments and its environment."""
    program = tmp_path / "uv"
    code = "import os, sys; print(os.getcwd(), sys.argv[1:], sorted(n for n in os.environ if n.startswith('UV_')))"
    program.write_text(f"#!{sys.executable}\n{code}\nprint(os.environ.get('UV_FIND_LINKS'))\n")
    program.chmod(0o755)
    monkeypatch.setattr("uv.find_uv_bin", lambda: str(program))
    return tmp_path


def test_index_switches_are_for_what_asks_an_index(shown: Path) -> None:
    uv = Uv(shown, {**os.environ, "PIP_NO_INDEX": "yes"})
    assert f"{shown} ['pip', 'compile', '--no-index'] " in uv.run(["pip", "compile"]).output
    assert f"{shown} ['venv', 'x'] " in uv.run(["venv", "x"]).output


def test_settings_do_not_change_what_a_lock_says(shown: Path) -> None:
    uv = Uv(shown, {"UV_NO_VERIFY_HASHES": "1", "UV_CONSTRAINT": "x", "UV_CACHE_DIR": "c"})
    assert "['UV_CACHE_DIR', 'UV_PYTHON_DOWNLOADS']" in uv.run(["pip", "install"], locked=True).output
    assert "'UV_CONSTRAINT', 'UV_NO_VERIFY_HASHES'" in uv.run(["pip", "compile"]).output


def test_a_folder_of_wheels_goes_beside_those_of_the_machine(shown: Path) -> None:
    assert uv_links(Uv(shown, {}), shown) == str(shown)
    assert uv_links(Uv(shown, {"UV_FIND_LINKS": "/,/usr"}), shown) == f"/,/usr,{shown}"


def uv_links(uv: Uv, folder: Path) -> str:
    return uv.run(["pip"], find_links=folder).output.splitlines()[1]


@pytest.mark.parametrize(
    ("environ", "name", "path"),
    [
        ({"PIP_FIND_LINKS": "/no/such"}, "PIP_FIND_LINKS", "/no/such"),
        ({"PIP_FIND_LINKS": "wheels /no/such"}, "PIP_FIND_LINKS", "/no/such"),
        ({"UV_FIND_LINKS": "wheels,missing"}, "UV_FIND_LINKS", "missing"),
        ({"UV_FIND_LINKS": "file:///no/such%20one"}, "UV_FIND_LINKS", "/no/such one"),
        ({"UV_FIND_LINKS": "/no/such", "PIP_FIND_LINKS": "wheels"}, "UV_FIND_LINKS", "/no/such"),
    ],
)
def test_a_folder_of_wheels_that_is_not_there_is_named(
    environ: dict[str, str], name: str, path: str, tmp_path: Path
) -> None:
    (tmp_path / "wheels").mkdir()
    with pytest.raises(UsageError) as caught:
        Uv(tmp_path, environ).run(["pip", "compile"])
    assert caught.value.message == f"{name} names {path}, and there is no such folder"
    assert f"unset {name}" in str(caught.value.remedy)


@pytest.mark.parametrize("value", ["", "wheels", "https://wheels.example.com/simple", "wheels,https://x/y", "a.html"])
def test_places_of_wheels_that_are_there_or_elsewhere_are_uvs_business(value: str, tmp_path: Path) -> None:
    (tmp_path / "wheels").mkdir()
    (tmp_path / "a.html").touch()
    require_find_links({"UV_FIND_LINKS": value}, tmp_path)
