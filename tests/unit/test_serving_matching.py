from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packager.serving.matching import SHOWN, Expected, Reply, compare, differences

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def reply(body: bytes = b"{}", status: int = 200, seconds: float = 0.0, **headers: str) -> Reply:
    pairs = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return Reply(status=status, headers=pairs, body=body, seconds=seconds)


@given(JSON)
def test_a_value_is_equal_to_itself(value: Any) -> None:
    assert list(compare(value, value)) == []


@given(JSON, JSON)
def test_it_is_the_same_question_either_way(one: Any, other: Any) -> None:
    assert bool(list(compare(one, other))) == bool(list(compare(other, one)))


@given(JSON, st.binary())
def test_any_answer_is_compared(expected: Any, body: bytes) -> None:
    """Whatever a service answers is a difference, and never an error of ours."""
    within = Expected(json=expected, absolute=0.1, relative=0.1)
    try:
        equal = json.loads(body) == expected
    except (ValueError, RecursionError):
        equal = False
    found = differences(within, reply(body))
    assert all(isinstance(line, str) and line for line in found)
    assert not (equal and found)
    assert differences(within, reply(json.dumps(expected).encode())) == ()
    assert differences(within, reply(json.dumps([expected]).encode())) or expected == [expected]


@pytest.mark.parametrize(
    ("body", "expected", "said"),
    [
        (b"1" + b"0" * 400, 1, "!= 1"),
        (b"1" + b"0" * 400, 10**400, ""),
        (b"1" + b"0" * 5000, 1, "not JSON"),
        (b"[" * 100_000, [], "not JSON"),
        (b"[NaN, Infinity]", [float("nan"), float("inf")], ""),
        (b"[NaN]", [1.5], "nan != 1.5"),
    ],
)
def test_numbers_and_depths_beyond_all_measure(body: bytes, expected: Any, said: str) -> None:
    found = differences(Expected(json=expected, relative=0.1), reply(body))
    assert bool(found) == bool(said)
    assert all(said in each for each in found)


@pytest.mark.parametrize(
    ("value", "expected", "options", "line"),
    [
        (
            {"predict": [0, 0, 0, 1.02]},
            {"predict": [0, 0, 0, 1.2]},
            {"absolute": 0.01},
            "$.predict[3]: 1.02 != 1.2 (tolerance 0.01)",
        ),
        (100, 102, {"relative": 0.01}, "$: 100 != 102 (tolerance 0.01 relative)"),
        (1, 2, {}, "$: 1 != 2"),
        ([1], [1, 2], {}, "$: 1 items != 2"),
        ([1, 2, 3], [1, 2], {}, "$: 3 items != 2"),
        ({"a": 1}, {"a": 1, "b c": {}}, {}, '$["b c"]: missing, expected {}'),
        ({"a": 1, "b": 2}, {"a": 1}, {}, '$: unexpected key "b"'),
        (True, 1, {}, "$: true != 1"),
        (None, "x", {}, '$: null != "x"'),
        ([{"a": "x" * 99}], [{"a": ""}], {}, '$[0].a: "' + "x" * 58 + '… != ""'),
    ],
)
def test_a_difference_has_its_path(value: Any, expected: Any, options: dict[str, Any], line: str) -> None:
    assert list(compare(value, expected, **options)) == [line]


def test_unexpected_keys_are_told_in_the_order_of_the_answer() -> None:
    keys = [f"key-{number * 7 % 20}" for number in range(20)]
    assert list(compare(dict.fromkeys(keys), {keys[3]: None})) == [
        f'$: unexpected key "{key}"' for key in keys if key != keys[3]
    ]


@pytest.mark.parametrize(
    ("value", "expected", "options"),
    [
        (1.005, 1.0, {"absolute": 0.01}),
        (1000.5, 1000, {"relative": 0.001}),
        (1, 1.0, {}),
        ([{"a": [0.1 + 0.2]}], [{"a": [0.3]}], {"relative": 1e-9}),
    ],
)
def test_numbers_that_are_near_enough(value: Any, expected: Any, options: dict[str, Any]) -> None:
    assert list(compare(value, expected, **options)) == []


def test_text_that_holds_json_is_pointed_at() -> None:
    (line,) = compare("[1, 2]", [1, 2])
    assert "run() returned text" in line


def test_status_and_what_was_said() -> None:
    assert differences(Expected(), reply(b'{"message": "no"}', 500)) == ('status: 500 != 200: {"message": "no"}',)
    assert differences(Expected(status=400), reply(b"", 400)) == ()


@pytest.mark.parametrize(
    ("value", "good"),
    [("application/json", True), ("application/json; charset=utf-8", True), ("text/html", False)],
)
def test_headers(value: str, good: bool) -> None:
    answer = reply(content_type="application/json; charset=utf-8")
    assert (differences(Expected(headers={"Content-Type": value}), answer) == ()) is good
    assert differences(Expected(headers={"x-own": "1"}), answer) == ('header x-own: missing, expected "1"',)


def test_parameters_of_a_header_count_but_for_those_of_the_content_type() -> None:
    answer = reply(accept="a/b; q=1", x_type="a/b; q=1", content_type="a/b; q=1")
    (accept,) = differences(Expected(headers={"accept": "a/b"}), answer)
    (own,) = differences(Expected(headers={"X-Type": "a/b"}), answer)
    assert (accept, own) == ('header accept: "a/b; q=1" != "a/b"', 'header X-Type: "a/b; q=1" != "a/b"')
    assert differences(Expected(headers={"content-type": "a/b; q=2"}), answer), "where they are asked for, they count"


def test_where_two_bodies_part_some_bytes_of_both_are_shown() -> None:
    one, other = b"0" * 40 + b"1" * 40, b"0" * 40 + b"2" * 40
    line = f"the body differs at byte 40: {b'2' * 16!r} != {b'1' * 16!r}"
    assert differences(Expected(body=one), reply(other)) == (line,)
    assert differences(Expected(body=b"ab"), reply(b"abc")) == ("the body has 3 bytes != 2",)


def test_bodies_as_bytes_and_texts() -> None:
    assert differences(Expected(body=b"abc"), reply(b"abc")) == ()
    assert differences(Expected(body=b"abcd"), reply(b"abc")) == ("the body has 3 bytes != 4",)
    assert "byte 1" in differences(Expected(body=b"abc"), reply(b"a\xff"))[0]
    assert differences(Expected(contains=("b", "x")), reply(b"abc")) == ('the body does not contain "x": "abc"',)


def test_what_is_no_json() -> None:
    assert differences(Expected(json=None), reply(b"null")) == ()
    assert differences(Expected(json={}), reply(b"<html>")) == ('the body is not JSON: "<html>"',)


def test_schema() -> None:
    schema = {"type": "object", "properties": {"predict": {"items": {"type": "number"}}}, "required": ["predict"]}
    assert differences(Expected(schema=schema), reply(b'{"predict": [1]}')) == ()
    assert differences(Expected(schema=schema), reply(b'{"predict": [1, "a"]}')) == (
        "$.predict[1]: 'a' is not of type 'number' (schema)",
    )


def test_latency() -> None:
    assert differences(Expected(max_latency=1), reply(seconds=0.9)) == ()
    assert differences(Expected(max_latency=1), reply(seconds=1.5)) == ("it took 1.50 s, more than 1 s",)


def test_many_differences_are_cut() -> None:
    found = differences(Expected(json=[0] * 30), reply(b"[" + b",".join([b"1"] * 30) + b"]"))
    assert len(found) == SHOWN + 1
    assert found[-1] == "… and 20 more"


@pytest.mark.parametrize(("status", "expected"), [(200, 401), (401, 200), (200, 201), (503, 500), (302, 200)])
def test_another_status_is_a_difference_whichever_is_larger(status: int, expected: int) -> None:
    (line,) = differences(Expected(status=expected), reply(b"", status))
    assert line.startswith(f"status: {status} != {expected}")


def test_long_lists_are_compared_by_their_length_and_items() -> None:
    assert list(compare([0] * 1000, [0] * 1000)) == []
    assert list(compare([0] * 1000, [0] * 1001)) == ["$: 1000 items != 1001"]
