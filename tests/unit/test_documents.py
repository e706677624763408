"""README.md and docs/: what is made from the code is as the code is, and what is said by hand names what there is."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import msgspec
import pytest
import yaml

import packager
from packager.cli import VERBS, cli
from packager.progress import working
from packager.spec import parse_spec
from packager.spec.load import SCHEMA_NAME
from packager.steps.settings import Settings, read_settings

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").rglob("*.md"))]
NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.M | re.S)


def blocks(page: Path, language: str) -> list[str]:
    return [text for word, text in FENCE.findall(page.read_text()) if word == language]


# --- what is made -----------------------------------------------------------------------------------------------------


def make_pages(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts/reference_pages.py"), *map(str, arguments)]
    # The pages must not depend on the terminal.
    return subprocess.run(command, env={**os.environ, "COLUMNS": "40"}, capture_output=True, text=True, check=False)


def test_the_reference_is_what_the_code_gives() -> None:
    done = make_pages("--check")
    assert done.returncode == 0, done.stderr


def test_a_page_that_was_edited_or_is_missing_is_named(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(ROOT / "docs/reference", tmp_path / "reference"))
    page = folder / "spec.md"
    page.write_text(page.read_text().replace("`source_dir`", "`source_folder`"))
    (folder / "verbs.md").unlink()
    done = make_pages("--check", folder)
    assert (done.returncode, "spec.md, verbs.md:" in done.stderr, (folder / "verbs.md").exists()) == (1, True, False)
    assert make_pages(folder).returncode == 0
    assert make_pages("--check", folder).returncode == 0


def build_site(folder: Path, site: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)],
        cwd=folder,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_site_has_every_page_and_fetches_nothing(tmp_path: Path) -> None:
    done = build_site(ROOT, tmp_path)
    assert done.returncode == 0, done.stderr
    for page in PAGES[1:]:
        html = (tmp_path / page.relative_to(ROOT / "docs")).with_suffix(".html").read_text()
        assert not re.findall(
            r"<(?:script|img|iframe)[^>]* src=\"?(?:https?:)?//|<link[^>]* href=\"?(?:https?:)?//", html
        )
        assert "```" not in html, f"{page}: a block that Markdown does not take for one"


def test_a_link_that_leads_nowhere_fails_the_site(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    with (tmp_path / "docs/index.md").open("a") as page:
        page.write("\n[gone](how-to/keys.md#gone)\n")
    done = build_site(tmp_path, tmp_path / "site")
    assert done.returncode == 1
    assert "#gone" in done.stderr


# --- what is said by hand ---------------------------------------------------------------------------------------------


def test_the_readme_is_short_and_has_every_verb() -> None:
    text = README.read_text()
    assert len(text.splitlines()) <= 150
    assert re.findall(r"^\| \[`([a-z]+)`\]", text, re.M) == list(VERBS)


def test_links_of_the_readme() -> None:
    for link in re.findall(r"\]\(([^)]+)\)", README.read_text()):
        name, _, anchor = link.partition("#")
        headings = re.findall(r"^#+ (.*)$", (ROOT / name).read_text(), re.M)
        anchors = {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings}
        assert not anchor or anchor in anchors, link


@pytest.mark.parametrize("page", PAGES[1:], ids=NAMES[1:])
def test_a_page_says_first_who_it_is_for(page: Path) -> None:
    assert "For whoever " in "".join(page.read_text().split("\n\n")[1:4])


def commands(page: Path) -> Iterator[list[str]]:
    """Words of each packager command that a page names, in blocks and in text, up to what follows it."""
    text = page.read_text()
    lines = re.findall(
        r"^[ -]*(?:run: )?(?:\$ )?packager ([a-z].*)$", "\n".join(text for _, text in FENCE.findall(text)), re.M
    )
    spans = re.findall(r"`packager ([a-z][^`]*)`", FENCE.sub("", text))
    for command in (*lines, *spans):
        yield re.split(r" (?:#|&&|\||--(?= ))", command)[0].split()


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_verbs_and_options_are_those_that_there_are(page: Path) -> None:
    for words in commands(page):
        command: click.Command | None = cli
        for word in words:
            if isinstance(command, click.Group):
                if word == "VERB":
                    break
                # `packager store info|verify|gc`
                command = command.get_command(click.Context(command), word.partition("|")[0])
                assert command is not None, words
            elif word == "--":
                break  # what follows is not this command's
            elif word.lstrip("[").startswith("-"):
                assert command is not None
                options = {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
                assert word.strip("[]").partition("=")[0] in {*options, "--help"}, words


def test_the_rules_of_check() -> None:
    rules: set[str] = set()
    places = ("packager/steps/check.py", "packager/cli/check.py")
    for path in (*(ROOT / "packager/checks").rglob("*.py"), *(ROOT / place for place in places)):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                first = node.args[:1] if ast.unparse(node.func).endswith(("error", "finding")) else []
                values = [*first, *(keyword.value for keyword in node.keywords if keyword.arg == "rule")]
            else:
                values = (
                    [node.value] if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_RULE" else []
                )
            for value in values:
                parts = value.values if isinstance(value, ast.JoinedStr) else [value]
                texts = [part.value if isinstance(part, ast.Constant) else None for part in parts]
                rules.add("".join("[a-z]+" if text is None else str(text) for text in texts))
    rules = {rule for rule in rules if re.fullmatch(r"[a-z]+(-([a-z]+|\[a-z\]\+))+", rule)}
    rows = re.findall(r"^\| (`.*?) \|", (ROOT / "docs/reference/checks.md").read_text(), re.M)
    documented = set(re.findall(r"`([^`]+)`", " ".join(rows)))
    assert len(documented) > 30
    assert [rule for rule in sorted(rules) if not any(re.fullmatch(rule, name) for name in documented)] == []
    assert [name for name in sorted(documented) if not any(re.fullmatch(rule, name) for rule in rules)] == []


def test_specs_in_the_guides_are_valid() -> None:
    whole, registered = blocks(ROOT / "docs/how-to/write-a-spec.md", "yaml")
    assert parse_spec(whole, Path("packager.yaml")).spec.name == "diabetes"
    least = 'name: net\nversion: "1"\nentry_script: score.py\n'
    assert [each.called for each in parse_spec(least + registered, Path("packager.yaml")).spec.models] == [
        *("sklearn_mnist", "tok", "big")
    ]
    (no_code,) = blocks(ROOT / "docs/how-to/models-without-code.md", "yaml")
    assert parse_spec(no_code, Path("packager.yaml")).spec.models[0].kind == "sklearn"
    (part,) = blocks(ROOT / "docs/how-to/several-targets-and-platforms.md", "yaml")
    spec = parse_spec(f'name: net\nversion: "1"\nentry_script: score.py\n{part}', Path("packager.yaml")).spec
    assert spec.target_names == ("cpu", "gpu", "arm-edge")


def test_recipes_are_there_and_their_specs_are_valid() -> None:
    page = ROOT / "docs/how-to/recipes.md"
    headings = re.findall(r"^## (.*)$", page.read_text(), re.M)
    for words in ("private registry", "CUDA", "proxy and certificates", "port", "fails or hangs", "in the image"):
        assert any(words in heading for heading in headings), words
    for words in ("Rolling back", "GitLab and GitHub", "No network"):
        assert any(words in heading for heading in headings), words
    place, cuda = blocks(page, "yaml")
    assert parse_spec(cuda, Path("packager.yaml")).spec.target_names == ("gpu",)
    least = 'name: a\nversion: "1"\nentry_script: score.py\nenvironment: {pip: [six]}\n'
    assert parse_spec(least + place, Path("packager.yaml")).spec.image.repository == "registry.example.com/team/model"


def test_every_verb_is_in_the_table_of_exit_codes() -> None:
    rows = re.findall(r"^\| `([a-z ]+)` \| 0, ", (ROOT / "docs/reference/exit-codes.md").read_text(), re.M)
    assert {row.split()[0] for row in rows} == set(VERBS)


def test_pipelines_are_yaml_with_commands() -> None:
    gitlab, github = (yaml.safe_load(text) for text in blocks(ROOT / "docs/how-to/ci.md", "yaml"))
    steps = [step.get("run", "") for step in github["jobs"]["package"]["steps"]]
    for lines in (gitlab["package"]["script"], steps):
        verbs = [line.split()[1] for line in lines if line.startswith("packager ")]
        assert (verbs[0], verbs[-1]) == ("lock", "build")


def test_the_defaults_in_the_guide_are_all_that_there_are(tmp_path: Path) -> None:
    text, line = blocks(ROOT / "docs/how-to/your-shell-and-editor.md", "yaml")
    (path := tmp_path / "config.yaml").write_text(text)
    settings = read_settings(path)
    assert all(getattr(settings, field.name) for field in msgspec.structs.fields(Settings))
    assert line.strip() == f"# yaml-language-server: $schema={SCHEMA_NAME}"


def test_the_check_in_the_guide_finds_what_it_says() -> None:
    (text,) = blocks(ROOT / "docs/how-to/targets-and-templates.md", "python")
    names: dict[str, Any] = {}
    exec(compile(text, "guide", "exec", dont_inherit=True), names)
    spec = 'name: a\nversion: "1"\nentry_script: score.py\nenvironment: {pip: []}\nimage:\n  repository: %s\n'
    (found,) = names["check"](parse_spec(spec % "example.com/a", Path("packager.yaml")))
    assert (found.rule, found.line) == ("example-registry", 6)
    assert list(names["check"](parse_spec(spec % "registry.example.com/a", Path("packager.yaml")))) == []


def test_functions_that_the_guides_call_are_there() -> None:
    found = "\n".join(blocks(ROOT / "docs/how-to/from-python.md", "python"))
    names = {ast.unparse(node.func) for node in ast.walk(ast.parse(found)) if isinstance(node, ast.Call)}
    ours = {name.removeprefix("packager.") for name in names if name.startswith("packager.")}
    assert len(ours) > 5
    assert ours <= set(packager.__all__)


def test_the_listener_of_the_guide_hears(capsys: pytest.CaptureFixture[str]) -> None:
    text = blocks(ROOT / "docs/how-to/from-python.md", "python")[1]

    def build(*_: object, push: bool) -> None:
        with working("pushing model weights", 5) as advance:
            advance(5)

    exec(text, {"packager": SimpleNamespace(build=build), "spec_file": None})
    assert capsys.readouterr().out == "pushing model weights 5 bytes\n"
