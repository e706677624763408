from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import packager
from packager.errors import UsageError
from packager.reference import Reference, parse_mirrors

LONGEST = "a" * 255
DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("python", "docker.io/library/python"),
        ("python:3.13-slim", "docker.io/library/python:3.13-slim"),
        ("local/python:3.13", "docker.io/local/python:3.13"),
        ("index.docker.io/library/python", "docker.io/library/python"),
        ("127.0.0.1:5000/a/b:1", "127.0.0.1:5000/a/b:1"),
        ("localhost/a", "localhost/a"),
        ("registry.example.com/ml/diabetes", "registry.example.com/ml/diabetes"),
        (f"python:3@{DIGEST}", f"docker.io/library/python:3@{DIGEST}"),
        (f"[::1]:5000/a@{DIGEST}", f"[::1]:5000/a@{DIGEST}"),
    ],
)
def test_references_are_written_in_full(text: str, full: str) -> None:
    assert str(Reference.parse(text)) == full


@pytest.mark.parametrize(
    "text",
    ["", "A", "a b", "a:", "a:-x", "a@", "a@sha256:1", f"a@{DIGEST.upper()}", "a//b", "/a", "a/", "http://a/b", "a:b:c",
     "-a", "a\nb", "a:1\n", "a$b", "a`b`", "x.y:/a", "a:" + "t" * 129],
)  # fmt: skip
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        Reference.parse(text)
    assert caught.value.exit_code == 2


def test_a_url_is_no_reference() -> None:
    with pytest.raises(UsageError, match="is a URL") as caught:
        Reference.parse("https://127.0.0.1:5000/team/m:1")
    assert caught.value.remedy == "leave out https://: 127.0.0.1:5000/team/m:1"


COMPONENT = st.from_regex(r"[a-z0-9]{1,9}([._-][a-z0-9]{1,9}){0,3}", fullmatch=True)


@given(
    host=st.sampled_from(["docker.io", "127.0.0.1:5000", "r.example.com", "localhost:1"]),
    path=st.lists(COMPONENT, min_size=2, max_size=4).map("/".join),
    tag=st.none() | st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True),
    digest=st.none() | st.just(DIGEST),
)
def test_writing_and_reading_give_the_same(host: str, path: str, tag: str | None, digest: str | None) -> None:
    reference = Reference(registry=host, repository=path, tag=tag, digest=digest)
    assert Reference.parse(str(reference)) == reference


def test_a_mirror_takes_the_place_of_its_registry_alone() -> None:
    mirrors = parse_mirrors("docker.io=127.0.0.1:5000, ghcr.io=mirror.example.com/github")
    assert str(Reference.parse(f"python:3@{DIGEST}").mirrored(mirrors)) == f"127.0.0.1:5000/library/python:3@{DIGEST}"
    assert str(Reference.parse("ghcr.io/a/b").mirrored(mirrors)) == "mirror.example.com/github/a/b"
    assert str(Reference.parse("quay.io/a/b").mirrored(mirrors)) == "quay.io/a/b"
    assert parse_mirrors("") == {}


@pytest.mark.parametrize("text", ["docker.io", "=x", "docker.io=", "a b=c", "docker.io=http://x", "docker.io=x y=z\n`"])
def test_mirrors_of_another_form_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_mirrors(text)


@pytest.mark.parametrize(
    ("tag", "message"),
    [
        ("a/b:1:2", "not a valid image tag"),
        ("a/B", "not a repository name"),
        ("", "not a repository name"),
        ("a b", "not a repository name"),
        (f"a/b@sha256:{'a' * 64}", "has a digest"),
    ],
)
def test_a_build_refuses_a_name_that_no_image_can_have(tag: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "packager.yaml").write_text('name: a\nversion: "1"\nentry_script: s.py\nenvironment: r.txt\n')
    # Whatever the output is, and before anything of the package is looked at: nothing else is there.
    with pytest.raises(UsageError, match=message) as caught:
        packager.build(packager.load_spec(tmp_path), outputs=(f"type=oci,dest={tmp_path}/o",), tags=("a/b:1", tag))
    assert caught.value.remedy


def test_a_repository_has_255_characters_at_most() -> None:
    assert Reference.parse(f"r.example.com/{LONGEST}:1").repository == LONGEST
    for longer in (1, 2, 100):
        with pytest.raises(UsageError, match="not a repository name"):
            Reference.parse(f"r.example.com/{LONGEST}{'a' * longer}:1")
