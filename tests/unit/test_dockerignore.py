from __future__ import annotations

import re
from collections.abc import Sequence

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from packager.context.dockerignore import Matcher, parse_dockerignore
from packager.errors import ContextError


def left_out(text: str, *paths: str) -> list[str]:
    matcher = parse_dockerignore(text)
    return [path for path in paths if matcher.leaves_out(path)]


@pytest.mark.parametrize(
    ("text", "out", "kept"),
    [
        # Examples of Docker's own documentation ("Dockerfile reference", .dockerignore file).
        ("*/temp*", ["somedir/temporary.txt", "somedir/temp"], ["temp", "a/b/temp"]),
        ("*/*/temp*", ["somedir/subdir/temporary.txt"], ["somedir/temp"]),
        ("temp?", ["tempa", "tempb"], ["temp", "tempab", "a/tempa"]),
        ("**/*.go", ["a.go", "x/y/b.go"], ["a.gox"]),
        ("*.md\n!README.md", ["a.md"], ["README.md"]),
        ("*.md\n!README*.md\nREADME-secret.md", ["README-secret.md", "x.md"], ["README.md", "README-x.md"]),
        ("*.md\nREADME-secret.md\n!README*.md", ["x.md"], ["README-secret.md"]),
        # One line matches a folder: all below it follows.
        ("data", ["data", "data/a/b"], ["mydata", "x/data", "data2"]),
        ("data\n!data/keep.txt", ["data", "data/a"], ["data/keep.txt"]),
        ("!a", [], ["a", "b"]),
        # Slashes, dots, blanks, comments, byte order mark.
        ("/data/", ["data/x"], ["x/data"]),
        ("//data", ["data"], []),
        ("./data/../data/.", ["data"], []),
        ("  data  ", ["data"], []),
        ("! data", [], ["data"]),
        ("a\n! a", [], ["a"]),
        ("# data\n #x", ["#x"], ["data", "# data"]),
        ("\ufeffdata\r\nother\r", ["data", "other"], []),
        (".", [], ["a", ".a"]),
        ("/", [], ["a"]),
        ("..", [], ["a"]),
        ("../a", [], ["a"]),
        ("\n\n", [], ["a"]),
        # `**`
        ("**", ["a", "a/b"], []),
        ("**/", ["a", "a/b"], []),
        ("a/**", ["a/b", "a/b/c"], ["a", "ab"]),
        ("a/**/b", ["a/b", "a/x/b", "a/x/y/b/c"], ["b", "a/xb"]),
        ("**/b", ["b", "a/b", "a/b/c"], ["ab", "a/bc"]),
        ("**b", ["b", "ab", "a/cb"], ["bc"]),
        ("a**", ["a", "ab", "ab/c"], ["b"]),
        ("**?", ["a", "b/c"], ["ab"]),
        ("**[bc]d", ["bd", "a/cd"], ["d", "abd"]),
        ("*/**/*.tmp", ["a/x.tmp", "a/b/x.tmp"], ["x.tmp"]),
        # Classes and escapes, as Go's filepath.Match has them.
        ("[ab]c", ["ac", "bc"], ["cc"]),
        ("[a-c]1", ["b1"], ["d1"]),
        ("[^a]c", ["bc"], ["ac"]),
        ("[\\]]c", ["]c"], ["\\c"]),
        ("[!a]c", ["!c", "ac"], ["bc"]),
        ("a\\*b", ["a*b"], ["axb"]),
        ("a.b+(c)", ["a.b+(c)"], ["axb+(c)"]),
        ("{a,b}", ["{a,b}"], ["a"]),
        ("a]b", ["a]b"], []),
        ("ünï*", ["ünïcode"], ["uni"]),
    ],
)
def test_table(text: str, out: list[str], kept: list[str]) -> None:
    assert left_out(text, *out, *kept) == out


@pytest.mark.parametrize("pattern", ["[", "[]a]", "[a", "a\\", "[b-a]", "[-a]", "!", "![", "[a-]", "[^]"])
def test_bad_patterns_name_their_line(pattern: str) -> None:
    with pytest.raises(ContextError) as caught:
        parse_dockerignore(f"good\n{pattern}\n", "src/.dockerignore")
    assert str(caught.value.where) == "src/.dockerignore:2"
    assert caught.value.remedy


# --- against two other implementations --------------------------------------------------------------------------------


def moby(patterns: Sequence[str], path: str) -> bool:
    """moby's patternmatcher.MatchesOrParentMatches, written down as it is in Go, for patterns without `[` and `\\`."""
    matched = False
    for pattern in patterns:
        exclusion = pattern.startswith("!")
        cleaned = pattern.removeprefix("!")
        if exclusion != matched:
            continue
        parts = path.split("/")
        found = any(moby_match(cleaned, "/".join(parts[: length + 1])) for length in range(len(parts)))
        if found:
            matched = not exclusion
    return matched


def moby_match(pattern: str, path: str) -> bool:
    kind, expression, index = "exact", "^", 0
    while index < len(pattern):
        first = index == 0
        char = pattern[index]
        index += 1
        if char == "*" and pattern[index : index + 1] == "*":
            index += 1
            if pattern[index : index + 1] == "/":
                index += 1
            if index == len(pattern):
                if kind == "exact":
                    kind = "prefix"
                else:
                    expression, kind = expression + ".*", "regexp"
            else:
                expression, kind = expression + "(.*/)?", "regexp"
            if first:
                kind = "suffix"
        elif char == "*":
            expression, kind = expression + "[^/]*", "regexp"
        elif char == "?":
            expression, kind = expression + "[^/]", "regexp"
        else:
            expression += re.escape(char)
    if kind == "exact":
        return path == pattern
    if kind == "prefix":
        return path.startswith(pattern[:-2])
    if kind == "suffix":
        suffix = pattern[2:]
        return path.endswith(suffix) or (suffix[:1] == "/" and path == suffix[1:])
    return re.search(expression + r"\Z", path, re.DOTALL) is not None


PART = st.sampled_from(["a", "b", "ab", "*", "?", "a*", "*b", "**", "a?", "**b", "a**", "**a*", "**?", ".a"])
PATTERN = st.builds(
    lambda no, parts: no + "/".join(parts), st.sampled_from(["", "", "!"]), st.lists(PART, min_size=1, max_size=4)
)
NAME = st.sampled_from(["a", "b", "ab", "ba", "abc", ".a", "c"])
PATH = st.lists(NAME, min_size=1, max_size=4).map("/".join)


@given(st.lists(PATTERN, min_size=1, max_size=5), PATH)
@example(["**"], "a")
@example(["a/**", "!a/b"], "a/b/c")
@example(["**a*"], "ba")
def test_same_as_moby(patterns: list[str], path: str) -> None:
    assert parse_dockerignore("\n".join(patterns)).leaves_out(path) == moby(patterns, path)


@given(st.lists(PATTERN, min_size=1, max_size=5), PATH)
def test_same_as_the_docker_sdk_but_for_known_differences(patterns: list[str], path: str) -> None:
    from docker.utils.build import PatternMatcher

    # The SDK, unlike Docker, compares only that parent which has as many parts as the pattern (wrong with `**`), takes
    # a `**` before a name for whole folders, and always keeps .dockerignore.
    assume(not any("**" in pattern for pattern in patterns))
    expected = PatternMatcher(patterns).matches(path)  # type: ignore[arg-type]  # it wants text, and says PathLike
    assert parse_dockerignore("\n".join(patterns)).leaves_out(path) == expected


@given(st.lists(PATTERN, min_size=1, max_size=5), PATH, PATH)
def test_a_pruned_folder_holds_nothing_that_is_kept(patterns: list[str], folder: str, rest: str) -> None:
    matcher = parse_dockerignore("\n".join(patterns))
    if matcher.leaves_out(folder) and not matcher.may_keep_below(folder):
        assert matcher.leaves_out(f"{folder}/{rest}")


@pytest.mark.parametrize(
    ("exception", "folder", "possible"),
    [
        ("!a/b/c", "a", True),
        ("!a/b/c", "a/b", True),
        ("!a/b/c", "a/b/c", False),
        ("!a/b/c", "b", False),
        ("!*.md", "a", False),
        ("!*/x.md", "a", True),
        ("!a/**/c", "a/x/y", True),
        ("!a/**/c", "b", False),
        ("![ab]/c", "z", True),
    ],
)
def test_pruning(exception: str, folder: str, possible: bool) -> None:
    assert parse_dockerignore(f"*\n{exception}").may_keep_below(folder) is possible


@given(st.text(alphabet="ab*?[]^-!\\/.# \n", max_size=40), PATH)
def test_any_text_is_a_matcher_or_a_clear_error(text: str, path: str) -> None:
    try:
        matcher = parse_dockerignore(text)
    except ContextError:
        return
    assert not matcher.leaves_out(path) or text.strip(), "what says nothing leaves nothing out"
    # What is named by itself, after all else, is out whatever stands before.
    named = parse_dockerignore(f"{text}\n{path}")
    assert named.leaves_out(path)


def test_nothing_is_left_out_without_patterns() -> None:
    assert not Matcher().leaves_out("a")
    assert not Matcher().may_keep_below("a")
