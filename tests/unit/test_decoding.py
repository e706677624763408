"""Values of a type from JSON and parsed documents, in threads too."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import msgspec
import pytest

from packager.decoding import convert, decode_json, decode_msgpack, json_decoder


class Point(msgspec.Struct, frozen=True):
    x: int
    y: int = 0


def test_every_way_gives_a_value_of_the_type() -> None:
    assert decode_json(b'{"x": 1}', Point) == Point(1)
    assert decode_json("[]", tuple[Point, ...]) == ()
    assert decode_msgpack(msgspec.msgpack.encode({"x": 1, "y": 2}), Point) == Point(1, 2)
    assert convert({"x": 1}, dict[str, int]) == {"x": 1}
    assert json_decoder(Point) is json_decoder(Point)


@pytest.mark.parametrize("data", [b'{"x": "1"}', b'{"x": 1'])
def test_what_is_of_another_form_is_refused(data: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        decode_json(data, Point)
    with pytest.raises(msgspec.ValidationError):
        convert({"x": "1"}, Point)


def test_threads_decode_a_new_type_at_once() -> None:
    """In a process of its own: without the lock, msgspec (0.22) ends it by a segmentation fault."""
    code = """
        import sys, threading
        from packager.decoding import convert, decode_json
        sys.setswitchinterval(1e-6)
        source = "from __future__ import annotations\\nimport msgspec\\n" + "".join(
            f"class A{n}(msgspec.Struct):\\n a: int\\n b: tuple[str, ...] = ()\\n c: dict[str, int | None] = {{}}\\n"
            f" d: tuple[A{n - 1}, ...] = ()\\n" for n in range(1, 6)).replace("A0", "int")
        here = sys.modules["__main__"]
        found = []
        for turn in range(150):
            exec(source, here.__dict__)
            kinds = [here.A5, here.A4, here.A3]
            ready = threading.Barrier(3)
            def work(kind):
                ready.wait()
                found.append(convert({"a": 1, "d": [{"a": 2}]}, kind).d[0].a + decode_json('{"a": 3}', kind).a)
            threads = [threading.Thread(target=work, args=(kind,)) for kind in kinds]
            [each.start() for each in threads]
            [each.join() for each in threads]
        assert found == [5] * 450, found
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
