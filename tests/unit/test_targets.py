from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from packager.dockerfile.lint import lint
from packager.dockerfile.render import render
from packager.errors import SpecError
from packager.resources import data_folder
from packager.spec import load_spec
from packager.targets import load_target, read_target, target_names
from packager.toml_document import flow, pair, parse_toml
from tests.unit.plans import example_plan

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.mark.parametrize("name", target_names())
def test_the_contract_of_every_target(name: str) -> None:
    target = load_target(name)
    assert target.description
    assert target.template == f"{name}.Dockerfile.j2"
    for file in target.files:
        assert (data_folder("templates") / f"{file}.j2").is_file()
    for platform in target.platforms:
        assert platform in target.wheels
    bases = {f"Python {python}": base for python, base in target.bases.items()}
    if target.cuda is not None:
        assert target.cuda.default in target.cuda.bases
        bases |= {f"CUDA {version}": base for version, base in target.cuda.bases.items()}
    if target.conda is not None and target.conda.base is not None:
        bases["conda"] = target.conda.base
    assert bases, "it has no base at all"
    for what, base in bases.items():
        assert base.digest is not None or target.resolve_bases, f"{what} is not pinned"
        assert base.tag is not None, f"{what} has no tag for people to read"
    for installer in target.conda.installers.values() if target.conda is not None else ():
        assert installer.digest is not None
    wanted = {"pip", "one model", "several models"} | ({"conda"} if target.conda is not None else set())
    assert wanted <= set().union(*map(golden_kinds, GOLDEN.glob(f"*/input/locks/{name}.requirements.txt"))), (
        "goldens are what renders and lints a target"
    )


def golden_kinds(requirements: Path) -> set[str]:
    """What a golden shows of its target: where the packages come from, and how many models it has."""
    spec_file = load_spec(requirements.parents[1])
    (name,) = spec_file.spec.target_names
    conda = (requirements.parent / f"{name}.conda-lock.yml").is_file()
    models = spec_file.for_target(name).spec.models
    return {"conda" if conda else "pip", "one model" if len(models) == 1 else "several models"}


@pytest.mark.parametrize("name", [name for name in target_names() if load_target(name).bases])
def test_every_base_of_a_target_renders(name: str) -> None:
    target = load_target(name)
    for python, base in target.bases.items():
        text = render(example_plan(target=name, python=python, platform=target.platforms[0]))
        assert f"FROM {base} AS base" in text
        assert [finding for finding in lint(text) if finding.level != "ignore"] == []


def test_pythons_3_8_to_3_14_have_a_base() -> None:
    target = load_target("cpu")
    assert {*target.bases, *target.unpinned} == {f"3.{minor}" for minor in range(8, 15)}
    for python, base in target.unpinned.items():
        assert (base.digest, (base.tag or "").partition("-")[0]) == (None, python)


def test_an_unknown_target_says_which_there_are() -> None:
    with pytest.raises(SpecError, match="unknown target 'tpu'") as caught:
        load_target("tpu")
    assert "cpu" in str(caught.value)
    with pytest.raises(SpecError):
        load_target("../cpu")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("template = ", "templat = "), "templat"),
        (("@sha256:", "@sha1:"), "not a sha256 digest"),
        (('"linux/amd64" = ', '"linux/riscv64" = '), "no wheel tags for linux/amd64"),
        (("[bases]", "[bases"), "not valid TOML"),
    ],
)
def test_a_broken_target_file_is_named(tmp_path: Path, change: tuple[str, str], says: str) -> None:
    text = (data_folder("templates") / "cpu.toml").read_text()
    file = tmp_path / "own.toml"
    file.write_text(text.replace(*change))
    with pytest.raises(Exception, match=says):
        read_target(file)
    file.write_text(text)
    assert read_target(file).name == "own"


def test_a_base_without_digest_is_refused(tmp_path: Path) -> None:
    import re

    text = (data_folder("templates") / "cpu.toml").read_text()
    file = tmp_path / "own.toml"
    file.write_text(re.sub(r"@sha256:\w+", "", text))
    with pytest.raises(SpecError, match="has no digest"):
        read_target(file)


@pytest.mark.parametrize(
    ("change", "line", "says", "remedy"),
    [
        (("template = ", "templat = "), 5, "unknown key 'templat'", "did you mean 'template'?"),
        (("template = ", "# "), 1, "'template' is missing", 'add it, such as `template = "cpu.Dockerfile.j2"`'),
        (('["linux/amd64"]', '"linux/amd64"'), 8, "`platforms` takes a list", 'write `platforms = ["linux/amd64"]`'),
        (('["linux/amd64"]', "[]"), 8, "`platforms` is empty", 'such as `platforms = ["linux/amd64"]`'),
        (("[env]", "[env]\nA = 1.5"), 31, "`A` takes text, not 1.5", "write it in quotes"),
        (
            ("[env]", "[[kubernetes.tolerations]]\nkey = 'a'\neffect = 'No'\n[env]"),
            32,
            "'No' is not",
            "NoExecute, NoSch",
        ),
        (
            ("[env]", "[kubernetes]\ntolerations = [{value = 'a'}]\n[env]"),
            31,
            "tolerations[0].key' is miss",
            'key = "nv',
        ),
        (("[bases]", "[bases"), 17, "own.toml is not valid TOML: expected ']'", "tables as `[name]`"),
        (("@sha256:", "@sha1:"), 18, "is not a sha256 digest", "64 lower-case hex digits"),
        (("@sha256:a36c", "#"), 18, "is not a valid image tag", "letters"),
        (
            ('"linux/amd64" = ', '"linux/riscv64" = '),
            8,
            "there are no wheel tags for linux/amd64",
            "add it to [wheels]",
        ),
    ],
)
def test_what_is_wrong_with_a_target_is_told_as_of_a_spec(
    tmp_path: Path, change: tuple[str, str], line: int, says: str, remedy: str
) -> None:
    text = (data_folder("templates") / "cpu.toml").read_text()
    file = tmp_path / "own.toml"
    file.write_text("\ufeff" + text.replace(*change, 1))
    with pytest.raises(SpecError) as caught:
        read_target(file)
    assert says in caught.value.message
    assert remedy in (caught.value.remedy or "")
    assert caught.value.where is not None
    assert caught.value.where.line == line
    assert "Expected `" not in str(caught.value)


def test_lines_of_toml_and_how_it_is_written() -> None:
    text = '[a]\n"b.c" = 1\nd . e = 2\n[[f]]\ng = 1\n[[f]]\ng = """\nh\n"""\n'
    document = parse_toml(text, Path("x.toml"))
    assert dict(document.lines) == {"a": 1, "a.b.c": 2, "a.d.e": 3, "f[0]": 4, "f[0].g": 5, "f[1]": 6, "f[1].g": 7}
    assert document.at("f[1].missing").line == 6
    value = {"a b": [1, True, 'x\n"y'], "c": {}}
    assert tomllib.loads(pair("k", flow(value))) == {"k": value}
