from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packager.errors import Location, SpecError
from packager.spec.document import MAX_BYTES, MAX_DEPTH, decode, parse_yaml, read_text

PATH = Path("packager.yaml")


def test_every_field_has_its_line() -> None:
    document = parse_yaml("name: a\nmodels:\n  - path: x\n    name: y\nserver: {port: 1}\n", PATH)
    assert document.data == {"name": "a", "models": [{"path": "x", "name": "y"}], "server": {"port": 1}}
    assert document.at("models[0].name").line == 4
    assert document.at("server.port").line == 5
    assert document.at("models[0].version").line == 3, "what is missing is reported where its parent stands"
    assert document.at("nowhere").line == 1


def test_every_item_of_a_list_has_its_line() -> None:
    document = parse_yaml("a:\n  - x\n  -\n    - y\n    - z\nb: [p,\n  q]\n", PATH)
    places = {"a": 1, "a[0]": 2, "a[1]": 4, "a[1][0]": 4, "a[1][1]": 5, "b": 6, "b[0]": 6, "b[1]": 7}
    assert {field: document.at(field).line for field in places} == places


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("name: a\n<<<<<<< HEAD\nversion: '1'\n=======\nversion: '2'\n>>>>>>> other\n", 2),
        ("name: a\nversion: '2'\n>>>>>>> other\n", 3),
    ],
)
@pytest.mark.parametrize("name", ["packager.yaml", "environment.yml", "requirements.txt"])
def test_an_unresolved_merge_conflict_is_called_one(text: str, line: int, name: str) -> None:
    with pytest.raises(SpecError, match=rf"^{name} has an unresolved merge conflict") as caught:
        decode(text.encode(), Path(name))
    assert caught.value.where == Location(file=name, line=line)


def test_what_only_looks_like_a_conflict_is_text() -> None:
    text = "a: |\n  <<<<<<< HEAD\nb: x\n"
    assert decode(text.encode(), PATH) == text
    assert decode(b"Title\n=======\n", PATH) == "Title\n=======\n"


@pytest.mark.parametrize("text", ["image:\n\ttags: [a]\n", "a:\n  b:\n  \tc: 1\n"])
def test_a_tab_that_indents_is_called_one(text: str) -> None:
    with pytest.raises(SpecError, match="a tab indents this line") as caught:
        parse_yaml(text, PATH)
    assert caught.value.where is not None
    assert caught.value.where.line == text.count("\n")
    assert parse_yaml("a:\tx\n", PATH).data == {"a": "x"}, "YAML takes it between"


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("a: x: y\n", "into quotes"),
        ("a: 1\nb 2\nc: 3\n", "a space after the colon"),
        ("a: [1, 2\nb: 3\n", "close the bracket"),
        ("a: @x\n", "begins with @"),
        ("a: 'x\n", "close the quotes"),
        ("a:\n  - path: x\n   name: y\n", "indent the items of one list, and their fields, alike"),
    ],
)
def test_what_is_no_yaml_says_what_is_likely_meant(text: str, remedy: str) -> None:
    with pytest.raises(SpecError, match=r"^packager\.yaml is not valid YAML") as caught:
        parse_yaml(text, PATH)
    assert remedy in str(caught.value.remedy)


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("a: 1\n3: x\n", 2, 1),
        ("a: 1\nb: {c: 1, 3: x}\n", 2, 11),
        ("a:\n    b: 1\n    b: 2\n", 3, 5),
        ("a:\n  - x\n  - !own y\n", 3, 5),
        ("a: 1\nb: ]\n", 2, 4),
        ("a: 1\nb: c: d\n", 2, 5),
    ],
)
def test_what_is_refused_has_its_line_and_column(text: str, line: int, column: int) -> None:
    with pytest.raises(SpecError) as caught:
        parse_yaml(text, PATH)
    assert caught.value.where is not None
    assert (caught.value.where.line, caught.value.where.column) == (line, column)


@pytest.mark.parametrize("parts", [("[", "]"), ("{a: ", "}")])
def test_values_are_nested_as_deep_as_is_allowed(parts: tuple[str, str]) -> None:
    start, end = parts
    assert parse_yaml(f"a: {start * (MAX_DEPTH - 1)}x{end * (MAX_DEPTH - 1)}", PATH).data["a"]
    with pytest.raises(SpecError, match="nested too deeply"):
        parse_yaml(f"a: {start * MAX_DEPTH}x{end * MAX_DEPTH}", PATH)


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        ("- a\n- b\n", "is not a mapping but a list", 1),
        ("", "is not a mapping but empty", 1),
        ("just text", "is not a mapping but a single value", 1),
        ("a: [1\nb: 2", "is not valid YAML", 2),
        ("a: 1\nb: 2\na: 3\n", "the key 'a' is given twice", 3),
        ("a: &x [1]\nb: *x\n", "aliases", 1),
        ("a: !!python/object:os.system x\n", "the YAML tag", 1),
        ("a: 1\n3: x\n", "the key '3' is not text", 2),
        ("a: 1\n--- \nb: 2\n", "is not valid YAML", 2),
        ("a: \x07\n", "is not valid YAML", None),
    ],
)
def test_what_is_not_one_plain_mapping_is_refused(text: str, message: str, line: int | None) -> None:
    with pytest.raises(SpecError, match=message) as caught:
        parse_yaml(text, PATH)
    assert caught.value.where is not None
    assert caught.value.where.line == line


def test_a_bomb_is_refused_at_once() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]
    with pytest.raises(SpecError, match="aliases"):
        parse_yaml("\n".join(lines), PATH)


def test_depth_and_number_of_values_are_bounded() -> None:
    with pytest.raises(SpecError, match="nested too deeply"):
        parse_yaml("a: " + "[" * 60 + "]" * 60, PATH)
    with pytest.raises(SpecError, match="too large or nested too deeply"):
        parse_yaml("a: [" + "1," * 30_000 + "]", PATH)
    with pytest.raises(SpecError):
        parse_yaml("a: " + "[" * 20_000, PATH)


def test_files_that_are_no_text(tmp_path: Path) -> None:
    file = tmp_path / "packager.yaml"
    with pytest.raises(SpecError, match="no such file") as missing:
        read_text(file)
    assert "packager init" in str(missing.value)
    file.write_bytes(b"name: a\nversion: \xff\xfe\n")
    with pytest.raises(SpecError, match="UTF-8") as broken:
        read_text(file)
    assert broken.value.where is not None
    assert broken.value.where.line == 2
    file.write_bytes(b"a" * (MAX_BYTES + 1))
    with pytest.raises(SpecError, match="larger than"):
        read_text(file)
    with pytest.raises(SpecError, match="cannot be read"):
        read_text(tmp_path)


def test_scalars_are_those_of_yaml() -> None:
    document = parse_yaml("a: 3\nb: 3.5\nc: yes\nd: ~\ne: 2026-11-20\nf: '3'\ng: 0x10\nh: 1:30\n", PATH)
    assert document.data == {
        "a": 3, "b": 3.5, "c": True, "d": None, "e": "2026-11-20", "f": "3", "g": "0x10", "h": "1:30",
    }  # fmt: skip


@given(st.text(max_size=200), st.text(st.characters(exclude_categories=("C", "Z")), max_size=40))
def test_any_text_gives_a_mapping_or_one_clear_error(text: str, comment: str) -> None:
    for each in (text, f"a: 1\n{text}"):
        try:
            found = parse_yaml(each, PATH)
        except SpecError:
            continue
        assert isinstance(found.data, dict)
        assert {name for name in found.lines if "." not in name and "[" not in name} >= {
            name for name in found.data if not set(".[") & set(name)
        }
    assert parse_yaml(f"a: 1 # {comment}\nb: [x]\n", PATH).data == {"a": 1, "b": ["x"]}
