from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import click
import msgspec
import pytest
from click.testing import CliRunner

from packager.builders.builder import BuildWish
from packager.cli import cli
from packager.cli.common import Reporter, standard_options
from packager.errors import PackagerError, SpecError, UsageError
from packager.registry.mirrors import registry_mirrors
from packager.spec.load import parse_spec
from packager.spec.model import packaged
from packager.steps.settings import (
    Settings,
    cache_limit,
    current_settings,
    read_settings,
    settings_file,
    show_settings,
    with_settings,
)


def test_where_the_file_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert settings_file({}) == settings_file({"XDG_CONFIG_HOME": "x"}) == Path("/home/me/.config/packager/config.yaml")
    assert settings_file({"XDG_CONFIG_HOME": "/c"}) == Path("/c/packager/config.yaml")


def test_the_limit_of_the_cache(tmp_path: Path) -> None:
    environ = {"XDG_CONFIG_HOME": str(tmp_path)}
    assert cache_limit(environ) is None
    (tmp_path / "packager").mkdir()
    file = tmp_path / "packager/config.yaml"
    file.write_text("cache_limit: 20GB\n")
    assert cache_limit(environ) == 20 * 10**9
    file.write_text("cache_limit: 5000\n")
    assert cache_limit(environ) == 5000
    assert cache_limit({**environ, "PACKAGER_CACHE_LIMIT": "1MB"}) == 10**6
    assert cache_limit({**environ, "PACKAGER_CACHE_LIMIT": ""}) == 5000


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cache_limit: much\n", "is no size"),
        ("cache_limt: 20GB\n", "cache_limt"),
        ("cache_limit: [1]\n", "cache_limit"),
        ("cache_limit: {\n", "not valid YAML"),
        ("20GB\n", "not a mapping"),
    ],
)
def test_a_file_with_something_else(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "packager").mkdir()
    (tmp_path / "packager/config.yaml").write_text(text)
    with pytest.raises(PackagerError, match=said) as caught:
        cache_limit({"XDG_CONFIG_HOME": str(tmp_path)})
    assert "config.yaml" in str(caught.value)


def test_no_file_sets_nothing(tmp_path: Path) -> None:
    assert read_settings(tmp_path / "none").cache_limit is None


def shown(environ: dict[str, str]) -> dict[str, tuple[object, str]]:
    return {each.name: (each.value, each.origin) for each in show_settings(environ)}


@pytest.fixture
def mine(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    path = tmp_path / "xdg/packager/config.yaml"
    path.parent.mkdir(parents=True)
    return path, {"XDG_CONFIG_HOME": str(tmp_path / "xdg")}


def test_each_setting_says_where_it_comes_from(mine: tuple[Path, dict[str, str]]) -> None:
    path, environ = mine
    path.write_text("# mine\nregistry: registry.example.com/team\nbuilder: oci\nmirrors:\n  docker.io: m.example.com\n")
    found = shown({**environ, "PACKAGER_BUILDER": "engine", "PACKAGER_REGISTRY_MIRROR": "ghcr.io=g.example.com"})
    assert found == {
        "registry": ("registry.example.com/team", f"{path}:2"),
        "mirrors": (
            {"docker.io": "m.example.com", "ghcr.io": "g.example.com"}, f"PACKAGER_REGISTRY_MIRROR, {path}:4",
        ),
        "base": (None, "default"),
        "builder": ("engine", "PACKAGER_BUILDER"),
        "compression": (None, "default"),
        "cache_limit": (None, "default"),
        "workspace": (None, "default"),
    }  # fmt: skip


def test_the_variable_of_a_mirror_goes_before_the_file(mine: tuple[Path, dict[str, str]]) -> None:
    path, environ = mine
    path.write_text("mirrors: {docker.io: m.example.com}\n")
    environ["PACKAGER_REGISTRY_MIRROR"] = "docker.io=127.0.0.1:5000"
    assert current_settings(environ).mirrors == {"docker.io": "127.0.0.1:5000"}


def test_comments_alone_set_nothing(mine: tuple[Path, dict[str, str]]) -> None:
    path, environ = mine
    path.write_text("# registry: registry.example.com\n\n")
    assert current_settings(environ) == Settings()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("compresion: zstd", "did you mean 'compression'"),
        ("compression: lzma", "gzip, none or zstd"),
        ("registry: team", "begins with no registry's host"),
        ("registry: registry.example.com/Team", "is not a repository name"),
        ("mirrors: {docker.io: 'a b'}", "is no host"),
        ("mirrors: {docker.io: 'a.example.com,x=y'}", "is no host"),
        ("mirrors: {docker.io: a_b}", "is not a registry"),
        ("mirrors: [docker.io]", "such as {docker.io: mirror.example.com}"),
        ("builder: 3", "3 is a number to YAML"),
        ("cache_limit: much", "is no size"),
    ],
)
def test_a_wrong_line_is_named_with_its_number(mine: tuple[Path, dict[str, str]], text: str, said: str) -> None:
    path, environ = mine
    path.write_text(f"# mine\n\n{text}\n")
    with pytest.raises(SpecError, match=re.escape(said) + r"|at .*:3") as caught:
        current_settings(environ)
    assert said in str(caught.value)
    assert f"at {path}:3" in str(caught.value)
    assert "PACKAGER_" not in str(caught.value)


def test_a_wrong_variable_is_named() -> None:
    with pytest.raises(UsageError, match="PACKAGER_COMPRESSION: 'lzma' is no compression"):
        current_settings({"PACKAGER_COMPRESSION": "lzma", "XDG_CONFIG_HOME": "/nowhere"})


SPEC = "name: mine\nversion: '1'\nentry_script: score.py\nenvironment: {pip: []}\n"


@pytest.mark.parametrize(
    ("more", "repository", "compression", "base"),
    [
        ("", "registry.example.com/team/mine", "zstd", "other:1"),
        ("image: {repository: own/x}\ncompression: gzip\nbase: python:3.13\n", "own/x", "gzip", None),
        ("targets: {cpu: {base: python:3.13}}\n", "registry.example.com/team/mine", "zstd", None),
    ],
)
def test_a_spec_goes_before_the_defaults(more: str, repository: str, compression: str, base: str | None) -> None:
    settings = Settings(registry="registry.example.com/team/", compression="zstd", base="other:1")
    found = with_settings(parse_spec(SPEC + more, Path("packager.yaml")), settings)
    assert (found.spec.image.repository, found.spec.compression, found.other_base) == (repository, compression, base)


def test_no_setting_changes_what_an_image_is_made_of() -> None:
    """But its name: the digest of a spec has none of them."""
    spec_file = parse_spec(SPEC + "image: {repository: own/x}\n", Path("packager.yaml"))
    settings = Settings(registry="a.example.com", compression="zstd", base="other:1", builder="oci")
    assert packaged(with_settings(spec_file, settings).spec) == packaged(spec_file.spec)


def test_verbs_take_the_defaults_and_what_others_get_does_not(
    checkout: Path, tmp_path: Path, mine: tuple[Path, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, environ = mine
    folder = Path(shutil.copytree(checkout / "examples/diabetes", tmp_path / "diabetes"))
    text = (folder / "packager.yaml").read_text()
    (folder / "packager.yaml").write_text(re.sub(r"\n  repository: .*", "", text))
    path.write_text("registry: registry.example.com/team\n")
    monkeypatch.setenv("XDG_CONFIG_HOME", environ["XDG_CONFIG_HOME"])
    monkeypatch.chdir(folder)
    (plan,) = json.loads(CliRunner().invoke(cli, ["plan", "--format", "json"]).stdout)
    assert plan["references"][0].partition(":")[0] == "registry.example.com/team/diabetes"
    before = CliRunner().invoke(cli, ["save", "-o", "one", "--format", "json"]).stdout
    path.unlink()
    after = CliRunner().invoke(cli, ["save", "-o", "two", "--format", "json"]).stdout
    assert json.loads(before)[0]["digest"] == json.loads(after)[0]["digest"]
    # A base by default is what --base is, under it.
    monkeypatch.setenv("PACKAGER_BASE", "oci-archive:nothing.tar")
    missing = CliRunner().invoke(cli, ["plan"])
    assert "nothing.tar" in str(missing.exception)
    other = CliRunner().invoke(cli, ["plan", "--base", "oci-archive:other.tar"])
    assert "other.tar" in str(other.exception)


def test_the_verb_shows_them_and_sets_nothing(
    mine: tuple[Path, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, environ = mine
    path.write_text("mirrors: {docker.io: m.example.com}\n")
    monkeypatch.setenv("XDG_CONFIG_HOME", environ["XDG_CONFIG_HOME"])
    monkeypatch.delenv("PACKAGER_REGISTRY_MIRROR", raising=False)
    done = CliRunner().invoke(cli, ["config"])
    assert f"docker.io=m.example.com  ({path}:1; variable PACKAGER_REGISTRY_MIRROR)" in done.stdout
    listed = json.loads(CliRunner().invoke(cli, ["config", "--format", "json"]).stdout)
    assert [each["name"] for each in listed] == [field.name for field in msgspec.structs.fields(Settings)]


def test_mirrors_of_the_file_are_under_those_of_the_variable_for_one_run(
    mine: tuple[Path, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, environ = mine
    path.write_text("mirrors: {docker.io: m.example.com}\n")
    monkeypatch.setenv("XDG_CONFIG_HOME", environ["XDG_CONFIG_HOME"])
    monkeypatch.setenv("PACKAGER_REGISTRY_MIRROR", "ghcr.io=g.example.com")
    seen = []

    @click.command()
    @standard_options
    def verb(reporter: Reporter) -> None:
        seen.append(registry_mirrors({"docker.io": "of.the.spec"}))

    CliRunner().invoke(verb, [], catch_exceptions=False)
    assert seen == [{"docker.io": "m.example.com", "ghcr.io": "g.example.com"}]
    assert os.environ["PACKAGER_REGISTRY_MIRROR"] == "ghcr.io=g.example.com"


def test_the_builder_is_the_options_else_the_users_else_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "packager.yaml").write_text(SPEC)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "none"))
    wishes: list[BuildWish] = []

    def build(spec_file: object, wish: BuildWish, **_: object) -> tuple[()]:
        wishes.append(wish)
        return ()

    def push(*_: object, build: BuildWish, **__: object) -> tuple[()]:
        wishes.append(build)
        return ()

    monkeypatch.setattr("packager.steps.build.build", build)
    monkeypatch.setattr("packager.steps.push.push", push)
    for builder in (None, "engine"):
        if builder is not None:
            monkeypatch.setenv("PACKAGER_BUILDER", builder)
        for words in (["build"], ["build", "--builder", "oci"], ["push", "--build"]):
            assert CliRunner().invoke(cli, words).exit_code == 0
    assert [wish.builder for wish in wishes] == ["auto", "oci", "auto", "engine", "oci", "engine"]
