from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from packager.context import manifest as m
from packager.context.build_context import assemble, mtime_of
from packager.contract import MTIME
from packager.errors import ContextError
from tests.unit import context_factory as factory


def test_files_are_those_of_the_layers_and_the_texts(tmp_path: Path) -> None:
    spec_file = factory.write_project(tmp_path)
    plan = factory.plan(spec_file)
    context = assemble(plan, factory.TEXTS)
    by_path = {file.path: file for file in context.files}
    assert list(by_path) == sorted(by_path)
    assert set(factory.TEXTS) < set(by_path)
    for layer in plan.layers:
        for each in layer.tree.files:
            file = by_path[f"{layer.folder}/{each.path}"]
            assert (file.size, file.mode, file.digest, file.origin) == (each.size, each.mode, each.digest, each.origin)
            assert file.model == (layer in plan.models)
    assert sum(len(layer.tree.files) for layer in plan.layers) + len(factory.TEXTS) == len(by_path)
    assert by_path["Dockerfile"].digest == hashlib.sha256(factory.TEXTS["Dockerfile"].encode()).hexdigest()
    assert set(context.folders) >= {"environment", "layers", plan.app.folder, f"{plan.app.folder}/var/azureml-app/data"}
    assert context.model_folders == ("models/net",)


def test_the_manifest_lists_everything(tmp_path: Path) -> None:
    plan = factory.plan(factory.write_project(tmp_path))
    context = assemble(plan, factory.TEXTS)
    data = json.loads(context.manifest_text)
    assert context.manifest_text == json.dumps(data, indent=2, ensure_ascii=False) + "\n"
    assert list(data) == [
        *("format", "packager", "digest", "name", "version", "target", "platform", "base", "spec", "lock"),
        *("dialect", "layers", "folders", "files"),
    ]
    assert data["format"] == "packager.context/2"
    assert data["base"] == {"reference": plan.base.reference, "digest": plan.base.digest}
    assert (data["spec"], data["lock"]) == (plan.spec_digest, plan.lock_digest)
    assert [file["path"] for file in data["files"]] == [file.path for file in context.files]
    assert {file["mode"] for file in data["files"]} == {"0444", "0644", "0755"}
    assert [layer["folder"] for layer in data["layers"]] == [layer.folder for layer in plan.layers]
    manifest = m.decode_manifest(context.manifest_text.encode(), "x")
    assert m.context_digest(manifest) == data["digest"] == context.digest
    digests = m.layer_digests(manifest)
    assert {layer.folder: digests[layer.folder] for layer in plan.layers} == {
        layer.folder: f"sha256:{layer.tree.digest}" for layer in plan.layers
    }


@pytest.mark.parametrize("path", sorted(factory.TEXTS))
def test_every_text_is_in_the_digest(tmp_path: Path, path: str) -> None:
    spec_file = factory.write_project(tmp_path)
    changed = factory.context(spec_file, {path: factory.TEXTS[path] + " "})
    assert changed.digest != factory.context(spec_file).digest


def test_times_below_layers_are_one_and_others_follow_the_content() -> None:
    digest = hashlib.sha256(b"FROM a").hexdigest()
    other = hashlib.sha256(b"FROM b").hexdigest()
    assert mtime_of("layers/app-0/var/x", digest) == MTIME
    assert mtime_of("Dockerfile", digest) != mtime_of("Dockerfile", other)
    assert mtime_of("Dockerfile", digest) == mtime_of("Dockerfile", digest)


@given(st.text("0123456789abcdef", min_size=64, max_size=64))
def test_times_are_past_and_fit_every_format(digest: str) -> None:
    # 2**31 - 1 is the last second that a 32-bit time holds.
    assert MTIME <= mtime_of("Dockerfile", digest) < min(time.time(), 2**31 - 1)


def test_too_much_for_a_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = factory.plan(factory.write_project(tmp_path))
    monkeypatch.setattr(m, "MAX_BYTES", 1000)
    with pytest.raises(ContextError, match="too many"):
        assemble(plan, factory.TEXTS)


# --- reading a manifest -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    return factory.context(factory.write_project(tmp_path_factory.mktemp("project"))).manifest_text


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("format", "packager.context/1"),
        ("format", 1),
        ("digest", "md5:00"),
        ("digest", None),
        ("files", {}),
        ("files", [{"path": "a"}]),
        ("files", [{"path": "a", "size": -1, "mode": "0644", "sha256": "0" * 64}]),
        ("files", [{"path": "a", "size": 1 << 70, "mode": "0644", "sha256": "0" * 64}]),
        ("files", [{"path": "a", "size": "1", "mode": "0644", "sha256": "0" * 64}]),
        ("files", [{"path": "a", "size": 1, "mode": "4755", "sha256": "0" * 64}]),
        ("files", [{"path": "a", "size": 1, "mode": 420, "sha256": "0" * 64}]),
        ("files", [{"path": "a", "size": 1, "mode": "0644", "sha256": "0" * 63}]),
        ("files", [{"path": "a", "size": 1, "mode": "0644", "sha256": "0" * 64}] * 2),
        ("files", [{"path": "packager.json", "size": 1, "mode": "0644", "sha256": "0" * 64}]),
        ("folders", ["a", "a"]),
        ("folders", [1]),
        ("layers", None),
    ],
)
def test_wrong_types_and_values(text: str, field: str, value: object) -> None:
    data = {**json.loads(text), field: value}
    with pytest.raises(ContextError) as caught:
        m.decode_manifest(json.dumps(data).encode(), "DIR/packager.json")
    assert "DIR/packager.json" in caught.value.message


@pytest.mark.parametrize("field", ["format", "digest", "name", "base", "layers", "folders", "files"])
def test_missing_fields(text: str, field: str) -> None:
    data = json.loads(text)
    del data[field]
    with pytest.raises(ContextError, match=field):
        m.decode_manifest(json.dumps(data).encode(), "x")


@pytest.mark.parametrize(
    "path", ["../a", "/a", "a/../b", "", ".", "..", "a//b", "a/", "./a", "a\n", "a\0b", "a/\x1b[2J", "\u2028"]
)
@pytest.mark.parametrize("kind", ["files", "folders"])
def test_unsafe_paths(text: str, path: str, kind: str) -> None:
    value = [path] if kind == "folders" else [{"path": path, "size": 1, "mode": "0644", "sha256": "0" * 64}]
    with pytest.raises(ContextError, match="not a path in a context"):
        m.decode_manifest(json.dumps({**json.loads(text), kind: value}).encode(), "x")


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"format": "\xff"}', b"[" * 100_000, b'{"a":' * 100_000, b"\0" * 100],
)
def test_not_json(data: bytes) -> None:
    with pytest.raises(ContextError, match="not a manifest"):
        m.decode_manifest(data, "x")


def test_deep_json_in_an_unknown_field(text: str) -> None:
    deep = text.replace("{", '{"x": ' + "[" * 100_000 + "]" * 100_000 + ",", 1)
    with pytest.raises(ContextError):
        m.decode_manifest(deep.encode(), "x")


@given(st.binary(max_size=300))
def test_any_bytes_are_a_manifest_or_a_clear_error(data: bytes) -> None:
    with pytest.raises(ContextError):
        m.decode_manifest(data, "x")


@given(st.text(max_size=20))
def test_a_safe_path_stays_inside(path: str) -> None:
    import posixpath

    if m.is_safe(path):
        joined = posixpath.normpath(posixpath.join("/root", path))
        assert joined == f"/root/{path}"


def test_unknown_fields_of_a_later_version_are_no_error(text: str) -> None:
    data = {**json.loads(text), "comment": "x"}
    assert m.decode_manifest(msgspec.json.encode(data), "x").name == "demo"
