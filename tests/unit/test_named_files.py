"""Which files scripts name."""

from __future__ import annotations

import pytest

from packager.plan.named_files import named_files

FILES = ("request.json", "samples/one.json", "data.json", "deep/er/seven.png")


@pytest.mark.parametrize(
    ("script", "named"),
    [
        ("", set()),
        ('open("request.json")', {"request.json"}),
        ('Path(__file__).parent / "samples" / name', {"samples/one.json"}),
        ('open(f"samples/{name}.json")', {"samples/one.json"}),
        ('open(name + ".json") if name == "request" else None', {"request.json"}),
        ('glob("*.png")', {"deep/er/seven.png"}),
        (r'open("deep\\er\\x")', {"deep/er/seven.png"}),
        # Names of fields are none of files.
        ('json.loads(text)["data"]; x.get("samples"); {"request": 1}; print("the request")', set()),
        # Of what cannot be parsed, whatever stands in it.
        ("print 'request.json'", {"request.json"}),
    ],
)
def test_what_a_text_names(script: str, named: set[str]) -> None:
    assert named_files(FILES, [("a.py", b"import os"), ("b.py", script.encode())]) == named


def test_what_means_another_file_does_not_count() -> None:
    assert named_files(FILES, [("a.py", b'join(folder, "request.json")')], without={"request.json"}) == frozenset()


def test_configurations_name_files_by_their_whole_names() -> None:
    assert named_files(FILES, [("config.yaml", b"sample: request.json\nfolder: samples\n")]) == {"request.json"}
    assert named_files(FILES, [("request.json", b'{"file": "request.json"}')]) == frozenset()
