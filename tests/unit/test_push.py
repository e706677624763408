"""The records are those of Docker Engine 26.1.5."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from packager.checks.declared import check_place
from packager.engine import push as push_module
from packager.engine.push import Pushed, push_image, read_push, tagged
from packager.errors import EngineError, PackagerError, RegistryError, TemporaryError, UsageError
from packager.progress import listening
from packager.spec import load_spec, parse_spec
from packager.steps.build import build
from packager.steps.push import push
from packager.steps.selection import refuse_unplaced, spec_references
from tests.unit.heard import Heard

DIGEST = "sha256:" + "5" * 64
REFERENCE = "127.0.0.1:5000/e/p:1"
START = {"status": "The push refers to repository [127.0.0.1:5000/e/p]"}
END = {"progressDetail": {}, "aux": {"Tag": "1", "Digest": DIGEST, "Size": 738}}


def layer(status: str, name: str, **detail: int) -> dict[str, Any]:
    return {"status": status, "progressDetail": detail, "id": name}


RECORDS = [
    START,
    layer("Preparing", "a"),
    layer("Preparing", "b"),
    layer("Preparing", "c"),
    layer("Mounted from exp/x", "a"),
    layer("Layer already exists", "b"),
    layer("Pushing", "c", current=10, total=20),
    layer("Pushed", "c"),
    {"status": f"1: digest: {DIGEST} size: 738"},
    END,
]


def test_what_was_pushed() -> None:
    heard = Heard()
    with listening(heard):
        pushed = read_push(REFERENCE, RECORDS)
    assert pushed == Pushed(reference=REFERENCE, digest=DIGEST, uploaded=1, present=2)
    assert pushed.pinned == f"{REFERENCE}@{DIGEST}"
    assert heard.told == [("pushing c", 20, 10)]


def test_each_layer_is_told_until_it_is_pushed() -> None:
    heard = Heard()

    def records() -> Iterator[dict[str, Any]]:
        for name in ("a", "b"):
            yield layer("Pushing", name, current=10, total=20)
            yield layer("Pushing", name, current=25, total=20)
        yield layer("Pushed", "a")
        assert heard.told == [("pushing a", 20, 25)]
        assert [work.title for work in heard.running] == ["pushing b"]
        yield {"error": "blob upload invalid"}

    with listening(heard), pytest.raises(RegistryError):
        read_push(REFERENCE, records())
    assert heard.titles == ["pushing a", "pushing b"]


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("unauthorized: authentication required", RegistryError),
        ("no basic auth credentials", RegistryError),
        ("denied: requested access to the resource is denied", RegistryError),
        ("An image does not exist locally with the tag: 127.0.0.1:5000/e/p", EngineError),
        ('Get "http://127.0.0.1:1/v2/": dial tcp 127.0.0.1:1: connect: connection refused', TemporaryError),
        ("received unexpected HTTP status: 500 Internal Server Error", TemporaryError),
        ('Put "http://127.0.0.1:1/v2/x": unexpected EOF', TemporaryError),
        ("blob upload invalid", RegistryError),
    ],
)
def test_the_last_record_holds_the_error(message: str, kind: type[PackagerError]) -> None:
    with pytest.raises(kind) as caught:
        read_push(REFERENCE, [START, {"errorDetail": {"message": message}, "error": message}])
    assert type(caught.value) is kind
    with pytest.raises(kind):
        read_push(REFERENCE, [START, {"errorDetail": {"message": message}}])


def test_a_push_that_just_ends_was_none() -> None:
    with pytest.raises(RegistryError, match="without a digest"):
        read_push(REFERENCE, RECORDS[:-1])


@pytest.mark.parametrize(
    ("given", "expected"),
    [("a/b", "a/b:latest"), ("a/b:1", "a/b:1"), ("127.0.0.1:5000/b", "127.0.0.1:5000/b:latest")],
)
def test_a_reference_gets_a_tag(given: str, expected: str) -> None:
    assert tagged(given) == expected


@pytest.mark.parametrize("given", [f"a/b@{DIGEST}", "A B", "-x", "a:b:c"])
def test_a_reference_that_cannot_be_pushed(given: str) -> None:
    with pytest.raises(UsageError):
        tagged(given)


def test_the_engine_is_asked_for_one_tag(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Api:
        def push(self, repository: str, **options: Any) -> Iterator[dict[str, Any]]:
            asked.append((repository, options))
            return iter(RECORDS)

    @contextmanager
    def connect() -> Iterator[SimpleNamespace]:
        yield SimpleNamespace(api=Api())

    monkeypatch.setattr(push_module, "connect", connect)
    monkeypatch.setattr(push_module, "require_local", lambda _: None)
    assert push_image("127.0.0.1:5000/e/p").reference == "127.0.0.1:5000/e/p:latest"
    assert asked == [("127.0.0.1:5000/e/p", {"tag": "latest", "stream": True, "decode": True})]


SPEC = """\
name: diabetes
version: "1"
entry_script: score.py
environment: requirements.txt
image: {repository: registry.example.com/ml/diabetes, tags: ["{version}", "{platform}", latest]}
"""


def test_references_of_a_spec(tmp_path: Path) -> None:
    spec = tmp_path / "packager.yaml"
    spec.write_text(SPEC)
    repository = "registry.example.com/ml/diabetes"
    assert spec_references(load_spec(spec)) == (f"{repository}:1", f"{repository}:linux-amd64", f"{repository}:latest")
    assert spec_references(load_spec(spec), platform="linux/arm64")[1] == f"{repository}:linux-arm64"
    with pytest.raises(PackagerError, match="gpu"):
        spec_references(load_spec(spec), "gpu")


LEAST = 'name: m\nversion: "1"\nentry_script: score.py\nenvironment: requirements.txt\n'


@pytest.mark.parametrize(
    ("image", "line"), [("", 1), ("image:\n  repository: m   # init's\n", 6), ("image: {repository: docker.io/m}\n", 5)]
)
def test_the_name_that_init_knows_is_no_place_to_push_to(image: str, line: int) -> None:
    spec_file = parse_spec(LEAST + image, Path("packager.yaml"))
    with pytest.raises(UsageError, match="names no registry") as caught:
        refuse_unplaced(spec_references(spec_file), spec_file)
    assert caught.value.where is not None
    assert caught.value.where.line == line
    assert "repository: registry.example.com/team/m}" in str(caught.value.remedy)
    # Nothing is looked at, tested or sent before.
    with pytest.raises(UsageError, match="names no registry"):
        push(spec_file=spec_file)
    with pytest.raises(UsageError, match="names no registry"):
        build(spec_file, push=True, check=False)


def test_a_name_of_one_word_that_is_given_is_no_place_to_push_to() -> None:
    with pytest.raises(UsageError, match=r"^first:1 names no registry") as caught:
        push("first:1")
    assert "docker tag first:1" in str(caught.value.remedy)


@pytest.mark.parametrize("name", ["registry.example.com/ml/m:1", "localhost:5000/m", "team/m:1", "127.0.0.1:5000/m"])
def test_what_has_a_place_is_pushed(name: str) -> None:
    refuse_unplaced([name])


@pytest.mark.parametrize(
    ("image", "found"),
    [
        ("", 1),
        ("image: {repository: m}\n", 1),
        ("targets: [cpu, gpu]\n", 1),
        ("image: {repository: registry.example.com/ml/m}\n", 0),
    ],
)
def test_check_says_that_an_image_cannot_be_pushed_under_its_name(image: str, found: int) -> None:
    findings = list(check_place(parse_spec(LEAST + image, Path("packager.yaml"))))
    assert [(each.rule, each.severity) for each in findings] == [("image-unplaced", "info")] * found
